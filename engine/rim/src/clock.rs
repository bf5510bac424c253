//! The clock: the only place where time is read. One read serves a whole batch.

use nix::time::{ClockId, clock_gettime};
use ringdns_shard::Time;

/// The monotonic clock now.
pub(crate) fn now() -> Time {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux has a monotonic clock");
    Time::from_micros(now.tv_sec() as u64 * 1_000_000 + now.tv_nsec() as u64 / 1_000)
}
