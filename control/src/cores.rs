//! What the control plane asks of the cores. The binary puts the running ones behind it, tests a set of their own.

use std::sync::Arc;
use std::time::Duration;

use ringdns_shard::Images;
use ringdns_shard::telemetry::Counters;

/// A counter: its name, its meaning, its value.
pub type Figure = (&'static str, &'static str, u64);

/// What a core has counted and holds.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The core, from 0.
    pub core: usize,
    /// The CPU to which it is pinned.
    pub cpu: usize,
    /// What its shard has counted.
    pub shard: Counters,
    /// What its sockets have counted.
    pub rim: Vec<Figure>,
    /// Questions in flight towards upstreams.
    pub resolves: usize,
    /// Clients waiting for an answer.
    pub waiters: usize,
    /// TCP connections of clients.
    pub tcp_connections: usize,
    /// Answers in the cache.
    pub cache_entries: usize,
    /// Octets that they take.
    pub cache_octets: usize,
}

/// The running cores. Every call may block for as long as its limit says.
pub trait Cores: Send + Sync + 'static {
    /// Gives each core its new images; the error names the cores that did not take them in time.
    fn swap(&self, images: Vec<Arc<Images>>, limit: Duration) -> Result<(), String>;
    /// What each core has counted; `None` for one that did not answer in time.
    fn snapshots(&self, limit: Duration) -> Vec<Option<Snapshot>>;
    /// Whether every core answers within the limit.
    fn probe(&self, limit: Duration) -> bool;
    /// Why a core has ended that should not have.
    fn failed(&self) -> Option<String>;
    /// Ends the cores once what is in flight is answered, or after `drain`.
    fn stop(&self, drain: Duration);
}

/// Cores that are none, for tests.
#[cfg(test)]
pub(crate) mod fake {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// Two cores. They take images as long as they hear; the second answers questions as long as it is awake.
    pub(crate) struct Fake {
        pub(crate) hears: AtomicBool,
        pub(crate) awake: AtomicBool,
        pub(crate) failure: Mutex<Option<String>>,
        pub(crate) swaps: Mutex<Vec<Vec<Arc<Images>>>>,
    }

    impl Default for Fake {
        fn default() -> Fake {
            let (hears, awake) = (AtomicBool::new(true), AtomicBool::new(true));
            Fake { hears, awake, failure: Mutex::default(), swaps: Mutex::default() }
        }
    }

    impl Cores for Fake {
        fn swap(&self, images: Vec<Arc<Images>>, _: Duration) -> Result<(), String> {
            if !self.hears.load(Ordering::Relaxed) {
                return Err("no answer in time from core 1".to_owned());
            }
            self.swaps.lock().unwrap().push(images);
            Ok(())
        }

        fn snapshots(&self, _: Duration) -> Vec<Option<Snapshot>> {
            let snapshot = |core: usize| Snapshot {
                core,
                cpu: core + 4,
                shard: Counters { cache_hits: 40 + core as u64, ..Counters::default() },
                rim: vec![("udp_sent", " Replies sent.", 7)],
                resolves: 3,
                waiters: 5,
                tcp_connections: 1,
                cache_entries: 1,
                cache_octets: 100,
            };
            vec![Some(snapshot(0)), self.awake.load(Ordering::Relaxed).then(|| snapshot(1))]
        }

        fn probe(&self, _: Duration) -> bool {
            self.awake.load(Ordering::Relaxed)
        }

        fn failed(&self) -> Option<String> {
            self.failure.lock().unwrap().clone()
        }

        fn stop(&self, _: Duration) {}
    }
}
