//! The clock: the only place where time is read. One read serves a whole batch.

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};
use ringdns_shard::Time;

/// Seconds since the beginning of 1970, from the clock that people set: a tick of the kernel old at most, and cheap.
pub(crate) fn unix_seconds() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_REALTIME_COARSE).expect("Linux has a clock of the day");
    // A clock before 1970 is set wrongly, whatever it says.
    u64::try_from(now.tv_sec()).unwrap_or(0)
}

/// The monotonic clock now.
pub(crate) fn now() -> Time {
    Time::from_micros(micros(clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux has a monotonic clock")))
}

/// Microseconds since the beginning of 1970, from the clock that people set.
pub(crate) fn unix_micros() -> u64 {
    micros(clock_gettime(ClockId::CLOCK_REALTIME).expect("Linux has a clock of the day"))
}

/// Microseconds of CPU time that the calling thread has used.
pub(crate) fn cpu_micros() -> u64 {
    micros(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("Linux counts what a thread uses"))
}

/// A clock before its beginning is set wrongly, whatever it says.
fn micros(time: TimeSpec) -> u64 {
    u64::try_from(time.tv_sec()).map_or(0, |seconds| seconds * 1_000_000 + time.tv_nsec() as u64 / 1_000)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn clocks_tell_what_they_are_for() {
        let day = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros();
        assert!(
            u128::from(unix_micros()).abs_diff(day) < 60_000_000
                && unix_seconds().abs_diff(day as u64 / 1_000_000) < 60
        );
        let (before, used) = (now(), cpu_micros());
        std::thread::sleep(Duration::from_millis(20));
        assert!(now() >= before + Duration::from_millis(20));
        assert!(cpu_micros() - used < 20_000, "sleeping uses none");
        while cpu_micros() < used + 1_000 {
            std::hint::spin_loop();
        }
        assert_eq!(micros(TimeSpec::new(-3, 5)), 0);
    }
}
