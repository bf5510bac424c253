//! What the control plane asks of the cores. The binary puts the running ones behind it, tests a set of their own.

use std::sync::Arc;
use std::time::Duration;

use ringdns_shard::cache::{Figures, Flush, Listed, Looked};
use ringdns_shard::telemetry::{Counters, Telemetry};
use ringdns_shard::upstream::ServerState;
use ringdns_shard::wire::name::Name;
use ringdns_shard::{Images, Time};

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
    /// What it has counted in more than one number.
    pub telemetry: Box<Telemetry>,
    /// Microseconds of CPU time that its thread has used.
    pub cpu_micros: u64,
    /// What its sockets have counted.
    pub rim: Vec<Figure>,
    /// Questions in flight towards upstreams.
    pub resolves: usize,
    /// Clients waiting for an answer.
    pub waiters: usize,
    /// TCP connections of clients.
    pub tcp_connections: usize,
    /// Connections to upstreams.
    pub upstream_connections: usize,
    /// Replies as datagrams that wait for their socket.
    pub datagrams_waiting: usize,
    /// Messages of other threads that wait for the core.
    pub messages_waiting: usize,
    /// Answers in the cache.
    pub cache_entries: usize,
    /// Octets that they take.
    pub cache_octets: usize,
}

/// A part of a core's cache, as cores write and read them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Portion {
    /// The part; empty where nothing is to be kept of what was looked at.
    pub octets: Vec<u8>,
    /// The cursor of the next part; `None`: there is no more.
    pub next: Option<u64>,
}

/// Why a core has not taken in a part of a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// It is no such part.
    Malformed,
    /// The core did not answer in time; what to tell people.
    Unresponsive(String),
}

/// What a core knows of its upstreams and of its cache.
#[derive(Clone, Debug)]
pub struct CoreStatus {
    /// The core, from 0.
    pub core: usize,
    /// When it told, by the clock of [`ServerState::since`].
    pub now: Time,
    /// How each server does.
    pub servers: Vec<ServerState>,
    /// What its cache holds.
    pub cache: Figures,
}

/// The running cores. Every call may block for as long as its limit says.
pub trait Cores: Send + Sync + 'static {
    /// Gives each core its new images; the error names the cores that did not take them in time.
    fn swap(&self, images: Vec<Arc<Images>>, limit: Duration) -> Result<(), String>;
    /// What each core has counted; `None` for one that did not answer in time.
    fn snapshots(&self, limit: Duration) -> Vec<Option<Snapshot>>;
    /// What each core knows of its upstreams and of its cache; `None` for one that did not answer in time.
    fn statuses(&self, limit: Duration) -> Vec<Option<CoreStatus>>;
    /// Forgets answers on every core; how many. The error names the cores that did not do all of it in time.
    fn flush(&self, what: &Flush, limit: Duration) -> Result<u64, String>;
    /// What each core's cache has for a name, of every type; `None` for one that did not answer in time.
    fn cache_look(&self, name: &Name, limit: Duration) -> Vec<Option<Looked>>;
    /// A part of what a core's cache has at and below a name, from `cursor` on, which is 0 at first; the error says that
    /// the core did not answer in time. A part may be empty though there is more.
    fn cache_list(&self, core: usize, below: &Name, cursor: u64, limit: Duration) -> Result<Listed, String>;
    /// Has every core hand over what it has recorded so far; false where one did not in time.
    fn hand_over(&self, limit: Duration) -> bool;
    /// Whether every core answers within the limit.
    fn probe(&self, limit: Duration) -> bool;
    /// The part of a core's cache from `cursor` on, which is 0 at first; the error says that the core did not answer in
    /// time.
    fn cache_out(&self, core: usize, cursor: u64, limit: Duration) -> Result<Portion, String>;
    /// Gives a core a part of a cache, whichever core it came from. Returns how many answers were kept of it.
    fn cache_in(&self, core: usize, portion: Vec<u8>, limit: Duration) -> Result<usize, NotTaken>;
    /// Why a core has ended that should not have.
    fn failed(&self) -> Option<String>;
    /// Gives memory that is free back to the kernel; for when much has been freed.
    fn give_back(&self);
    /// Has the calling thread, and those that it starts, run only while nobody else wants its CPU, a core least of all.
    fn stand_aside(&self);
    /// Gives the thread `thread` of this process, which stands aside, its share of a CPU again; the least that there is.
    fn come_forward(&self, thread: i32);
    /// Ends the cores once what is in flight is answered, or after `drain`.
    fn stop(&self, drain: Duration);
}

/// Cores that are none, for tests.
#[cfg(test)]
pub(crate) mod fake {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use ringdns_shard::cache::Cached;
    use ringdns_shard::upstream::{Protocol, Server, Standing};

    use super::*;

    /// Two cores. They take images as long as they hear; the second answers questions as long as it is awake.
    pub(crate) struct Fake {
        pub(crate) hears: AtomicBool,
        pub(crate) awake: AtomicBool,
        pub(crate) failure: Mutex<Option<String>>,
        pub(crate) swaps: Mutex<Vec<Vec<Arc<Images>>>>,
        pub(crate) flushes: Mutex<Vec<Flush>>,
        /// What both have for every name that is looked up, where it is not a bare answer of the first.
        pub(crate) looked: Mutex<Option<Looked>>,
        /// What the cores have in their caches, portion by portion.
        pub(crate) caches: [Mutex<Vec<Vec<u8>>>; 2],
        /// How often a thread has stood aside, and the threads that came forward.
        pub(crate) aside: AtomicUsize,
        pub(crate) forward: Mutex<Vec<i32>>,
    }

    impl Default for Fake {
        fn default() -> Fake {
            let (hears, awake) = (AtomicBool::new(true), AtomicBool::new(true));
            Fake {
                hears,
                awake,
                failure: Mutex::default(),
                swaps: Mutex::default(),
                flushes: Mutex::default(),
                looked: Mutex::default(),
                caches: Default::default(),
                aside: AtomicUsize::default(),
                forward: Mutex::default(),
            }
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
                telemetry: Box::default(),
                cpu_micros: 1_500_000,
                tcp_connections: 1,
                upstream_connections: 2,
                datagrams_waiting: 0,
                messages_waiting: 0,
                cache_entries: 1,
                cache_octets: 100,
            };
            vec![Some(snapshot(0)), self.awake.load(Ordering::Relaxed).then(|| snapshot(1))]
        }

        fn statuses(&self, _: Duration) -> Vec<Option<CoreStatus>> {
            let status = |core: u32, standing| {
                let state = ServerState {
                    server: Server { protocol: Protocol::Udp, address: "192.0.2.1:53".parse().unwrap() },
                    pools: [0].into_iter().collect(),
                    standing,
                    since: Time::from_micros(1_000_000),
                    round_trip: Some(Duration::from_millis(4 + u64::from(core))),
                    loss_percent: 10 * core as u8,
                    in_flight: core,
                    asked: 10,
                    answered: 9,
                    round_trips: 9,
                    round_trip_micros: 9 * (4_000 + 1_000 * u64::from(core)),
                    silent: 1,
                    unreachable: 2,
                    outages: 3,
                    probes: 4,
                };
                let cache = Figures { entries: 1, octets: 100, octets_max: 1_000 };
                CoreStatus { core: core as usize, now: Time::from_micros(61_500_000), servers: vec![state], cache }
            };
            let second = self.awake.load(Ordering::Relaxed).then(|| status(1, Standing::Down));
            vec![Some(status(0, Standing::Up)), second]
        }

        fn flush(&self, what: &Flush, _: Duration) -> Result<u64, String> {
            self.flushes.lock().unwrap().push(what.clone());
            if self.awake.load(Ordering::Relaxed) { Ok(7) } else { Err("no answer in time from core 1".to_owned()) }
        }

        fn cache_look(&self, name: &Name, _: Duration) -> Vec<Option<Looked>> {
            if let Some(looked) = &*self.looked.lock().unwrap() {
                return vec![Some(looked.clone()); 2];
            }
            let first = Looked { answers: vec![Cached::sample(name)], left_out: 0 };
            vec![Some(first), self.awake.load(Ordering::Relaxed).then(Looked::default)]
        }

        fn cache_list(&self, core: usize, below: &Name, cursor: u64, _: Duration) -> Result<Listed, String> {
            if !self.awake.load(Ordering::Relaxed) {
                return Err(format!("no answer in time from core {core}"));
            }
            Ok(Listed { answers: vec![Cached::sample(below)], next: (cursor < 2).then_some(cursor + 1) })
        }

        fn hand_over(&self, _: Duration) -> bool {
            self.awake.load(Ordering::Relaxed)
        }

        fn probe(&self, _: Duration) -> bool {
            self.awake.load(Ordering::Relaxed)
        }

        fn cache_out(&self, core: usize, cursor: u64, _: Duration) -> Result<Portion, String> {
            if !self.awake.load(Ordering::Relaxed) {
                return Err(format!("no answer in time from core {core}"));
            }
            let cache = self.caches[core].lock().unwrap();
            let next = Some(cursor + 1).filter(|next| (*next as usize) < cache.len());
            Ok(Portion { octets: cache.get(cursor as usize).cloned().unwrap_or_default(), next })
        }

        /// A part that begins with `!` is malformed.
        fn cache_in(&self, core: usize, portion: Vec<u8>, _: Duration) -> Result<usize, NotTaken> {
            if !self.awake.load(Ordering::Relaxed) {
                return Err(NotTaken::Unresponsive(format!("no answer in time from core {core}")));
            }
            if portion.first() == Some(&b'!') {
                return Err(NotTaken::Malformed);
            }
            let answers = portion.len();
            self.caches[core].lock().unwrap().push(portion);
            Ok(answers)
        }

        fn failed(&self) -> Option<String> {
            self.failure.lock().unwrap().clone()
        }

        fn give_back(&self) {}

        fn stand_aside(&self) {
            self.aside.fetch_add(1, Ordering::Relaxed);
        }

        fn come_forward(&self, thread: i32) {
            self.forward.lock().unwrap().push(thread);
        }

        fn stop(&self, _: Duration) {}
    }
}
