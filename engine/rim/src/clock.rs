//! The clock: the only place where time is read. One read serves a whole batch.

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
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux has a monotonic clock");
    Time::from_micros(now.tv_sec() as u64 * 1_000_000 + now.tv_nsec() as u64 / 1_000)
}
