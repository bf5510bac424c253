//! What figures were measured on, and with what.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

/// The machine and the programs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// CPUs.
    pub cpus: usize,
    /// Whether it is a virtual machine, whose CPUs others may use too.
    pub is_virtual: bool,
    /// The kernel's release.
    pub kernel: String,
    /// The day, as 2026-01-31.
    pub day: String,
    /// Names and versions of the servers and the generator.
    pub programs: Vec<String>,
}

impl Machine {
    /// This one.
    #[must_use]
    pub fn here(programs: Vec<String>) -> Machine {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Machine {
            processor: processor(&cpuinfo).unwrap_or("unknown processor").to_owned(),
            cpus: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            is_virtual: cpuinfo.lines().any(|line| line.starts_with("flags") && line.contains(" hypervisor")),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            day: output("date", "+%F"),
            programs,
        }
    }

    /// As lines.
    #[must_use]
    pub fn text(&self) -> String {
        let Machine { processor, cpus, kernel, day, programs, .. } = self;
        let shared = if self.is_virtual { " of a virtual machine, which others may use too" } else { "" };
        format!(
            "machine   {processor}, {cpus} CPUs{shared}\nkernel    {kernel}\nday       {day}\nprograms  {}\n",
            programs.join("; ")
        )
    }

    /// As JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "processor": self.processor,
            "cpus": self.cpus,
            "virtual": self.is_virtual,
            "kernel": self.kernel,
            "day": self.day,
            "programs": self.programs,
        })
    }
}

fn processor(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, name)| name.trim())
}

fn output(program: &str, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output();
    output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_has_a_name() {
        assert_eq!(processor("vendor_id\t: X\nmodel name\t: Some CPU 7\n"), Some("Some CPU 7"));
        assert_eq!(processor("Processor: ARM"), None);
    }

    #[test]
    fn the_machine_is_told_in_lines() {
        let machine = Machine::here(vec!["nsd 4.6.1".to_owned()]);
        assert!(machine.cpus > 0 && !machine.kernel.is_empty());
        assert_eq!(machine.text().lines().count(), 4);
        assert!(machine.text().contains("nsd 4.6.1"));
    }
}
