//! What processes cost, from `/proc`: exact CPU time and memory, of all that live in a network namespace.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// CPU time by process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cpu(HashMap<u32, u64>);

impl Cpu {
    /// What these processes have used, threads that have ended among them: the kernel's exact run time, which
    /// `/proc/PID/task/*/schedstat` has too, and not the one that is sampled by ticks.
    #[must_use]
    pub fn of(processes: &[u32]) -> Cpu {
        let used = processes.iter().filter_map(|&process| Some((process, nanoseconds(process)?)));
        Cpu(used.collect())
    }

    /// Nanoseconds used since `before`; processes that have begun since count from their beginning.
    #[must_use]
    pub fn since(&self, before: &Cpu) -> u64 {
        self.0.iter().map(|(process, now)| now - before.0.get(process).unwrap_or(&0).min(now)).sum()
    }
}

/// The process's CPU clock (clock_getcpuclockid(3)).
fn nanoseconds(process: u32) -> Option<u64> {
    let clock = clock_getcpuclockid(Pid::from_raw(process as i32)).ok()?;
    let time = clock_gettime(clock).ok()?;
    Some(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}

/// The processes that live in the network namespace of this name, but for `others`.
#[must_use]
pub fn in_namespace(name: &str, others: &[u32]) -> Vec<u32> {
    let Some(wanted) = inode(Path::new(&format!("/run/netns/{name}"))) else { return Vec::new() };
    let others: HashSet<u32> = others.iter().copied().collect();
    numbers_in(Path::new("/proc"))
        .into_iter()
        .filter(|process| !others.contains(process))
        .filter(|process| inode(Path::new(&format!("/proc/{process}/ns/net"))) == Some(wanted))
        .collect()
}

fn inode(path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).ok().map(|found| found.ino())
}

fn numbers_in(folder: &Path) -> Vec<u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Octets that processes hold now, what they share counted once (PSS).
#[must_use]
pub fn memory(processes: &[u32]) -> u64 {
    processes.iter().filter_map(|process| field(&format!("/proc/{process}/smaps_rollup"), "Pss:")).sum()
}

/// The most octets that the largest of these processes ever held.
#[must_use]
pub fn peak_memory(processes: &[u32]) -> u64 {
    processes.iter().filter_map(|process| field(&format!("/proc/{process}/status"), "VmHWM:")).max().unwrap_or(0)
}

fn field(path: &str, name: &str) -> Option<u64> {
    kilobytes(&fs::read_to_string(path).ok()?, name)
}

/// The line `name N kB`, in octets.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_counts_what_processes_used_between() {
        let before = Cpu(HashMap::from([(1, 100), (2, 50), (3, 7)]));
        let after = Cpu(HashMap::from([(1, 150), (2, 50), (4, 5)]));
        assert_eq!(after.since(&before), 55);
    }

    #[test]
    fn this_process_uses_time_and_memory() {
        let own = [std::process::id()];
        let before = Cpu::of(&own);
        // A thread that has ended counts.
        let thread = std::thread::spawn(|| {
            let begin = std::time::Instant::now();
            while begin.elapsed() < std::time::Duration::from_millis(5) {}
        });
        thread.join().unwrap();
        assert!(Cpu::of(&own).since(&before) > 100_000);
        assert!(memory(&own) > 0 && peak_memory(&own) > 0);
    }

    #[test]
    fn a_field_is_read_in_octets() {
        let text = "Name:\tx\nVmHWM:\t    1234 kB\nPss:  7 kB\n";
        assert_eq!(kilobytes(text, "VmHWM:"), Some(1234 * 1024));
        assert_eq!(kilobytes(text, "Pss:"), Some(7 * 1024));
        assert_eq!(kilobytes(text, "Rss:"), None);
    }
}
