//! What the kernel says of the process, under the names that every exporter of Prometheus has for it.

use std::fs;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// The process, as of now. What the kernel does not tell is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Usage {
    /// CPU time of all threads.
    pub(super) cpu: Duration,
    pub(super) resident_octets: Option<u64>,
    pub(super) virtual_octets: Option<u64>,
    pub(super) threads: Option<u64>,
    pub(super) descriptors: Option<u64>,
    /// `None` where there is no bound.
    pub(super) descriptors_max: Option<u64>,
    /// When it began, in seconds since the beginning of 1970.
    pub(super) began: f64,
}

impl Usage {
    /// Asks the kernel. The process has been there for `uptime`.
    pub(super) fn now(uptime: Duration) -> Usage {
        // Once: where the clock is set anew, the process has not begun at another time.
        static BEGAN: OnceLock<f64> = OnceLock::new();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        Usage {
            cpu: Duration::new(cpu.tv_sec.unsigned_abs(), cpu.tv_nsec.unsigned_abs() as u32),
            resident_octets: kibibytes(&status, "VmRSS:"),
            virtual_octets: kibibytes(&status, "VmSize:"),
            threads: line(&status, "Threads:").and_then(|rest| rest.parse().ok()),
            // The look itself takes one.
            descriptors: fs::read_dir("/proc/self/fd").ok().map(|all| (all.count() as u64).saturating_sub(1)),
            descriptors_max: getrlimit(Resource::Nofile).current,
            began: *BEGAN.get_or_init(|| {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                now.saturating_sub(uptime).as_secs_f64()
            }),
        }
    }
}

/// What stands behind a word at the beginning of a line.
fn line<'s>(status: &'s str, word: &str) -> Option<&'s str> {
    status.lines().find_map(|line| line.strip_prefix(word)).map(str::trim)
}

fn kibibytes(status: &str, word: &str) -> Option<u64> {
    line(status, word)?.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_threads_and_descriptors() {
        let usage = Usage::now(Duration::ZERO);
        assert!(usage.resident_octets.is_some_and(|octets| octets > 100_000), "{usage:?}");
        assert!(usage.virtual_octets >= usage.resident_octets && usage.threads >= Some(1), "{usage:?}");
        // Standard input, output and error.
        assert!(usage.descriptors.is_some_and(|open| (3..=usage.descriptors_max.unwrap_or(u64::MAX)).contains(&open)));
        assert!(usage.began > 1_600_000_000.0 && usage.began == Usage::now(Duration::from_secs(9)).began);
    }

    #[test]
    fn what_the_kernel_does_not_tell_is_not_invented() {
        let status = "Name:\tringdns\nVmSize:\t   90112 kB\nVmRSS:\t 2048 MB\nThreads:\tmany\n";
        assert_eq!((kibibytes(status, "VmSize:"), kibibytes(status, "VmRSS:")), (Some(90_112 * 1_024), None));
        assert_eq!(line(status, "Threads:").and_then(|rest| rest.parse::<u64>().ok()), None);
        assert_eq!(kibibytes("VmRSS: 18446744073709551615 kB", "VmRSS:"), None);
    }
}
