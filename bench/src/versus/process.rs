//! What processes cost, from `/proc`: exact CPU time and memory, of all that live in a network namespace.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

/// CPU time by thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cpu(HashMap<u32, u64>);

impl Cpu {
    /// What all threads of these processes have used: the kernel's exact run time, not the one that is sampled by ticks.
    #[must_use]
    pub fn of(processes: &[u32]) -> Cpu {
        let mut threads = HashMap::new();
        for process in processes {
            for thread in numbers_in(Path::new(&format!("/proc/{process}/task"))) {
                let text = fs::read_to_string(format!("/proc/{process}/task/{thread}/schedstat")).unwrap_or_default();
                if let Some(nanoseconds) = text.split(' ').next().and_then(|word| word.parse().ok()) {
                    threads.insert(thread, nanoseconds);
                }
            }
        }
        Cpu(threads)
    }

    /// Nanoseconds used since `before`; threads that have begun since count from their beginning.
    #[must_use]
    pub fn since(&self, before: &Cpu) -> u64 {
        self.0.iter().map(|(thread, now)| now - before.0.get(thread).unwrap_or(&0).min(now)).sum()
    }
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
    fn time_counts_what_threads_used_between() {
        let before = Cpu(HashMap::from([(1, 100), (2, 50), (3, 7)]));
        let after = Cpu(HashMap::from([(1, 150), (2, 50), (4, 5)]));
        assert_eq!(after.since(&before), 55);
    }

    #[test]
    fn this_process_uses_time_and_memory() {
        let own = [std::process::id()];
        let before = Cpu::of(&own);
        let mut sum = 0_u64;
        while Cpu::of(&own).since(&before) == 0 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
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
