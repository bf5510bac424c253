//! What the cores have counted, core by core (`/cores`, `/cache`) and all together (`/stats`).

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringdns_shard::telemetry::{Histogram, Telemetry, TypeClass};
use ringdns_shard::transport::Transport;
use serde::Serialize;
use utoipa::ToSchema;

use crate::cores::{CoreStatus, Snapshot};

/// Figures by name; the members that are told say it in full, for the description to have it as a map.
type Named = BTreeMap<&'static str, u64>;

/// What the sockets drop, and which of their counters says so.
const DROPPED_BY_SOCKETS: [(&str, &str); 5] = [
    ("kernel", "udp_kernel_drops"),
    ("oversize", "udp_oversize"),
    ("bad_source", "udp_bad_source"),
    ("unheard", "udp_unheard"),
    ("not_sent", "udp_send_dropped"),
];

/// A core that answered in time, or did not.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Core<T> {
    /// It did.
    Answering(T),
    /// It did not.
    Silent(SilentCore),
}

/// A core that did not answer in time.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SilentCore {
    core: usize,
    /// Always false.
    answers: bool,
}

/// What every core that answered has to say; and those that did not.
pub(super) fn of_each<T>(
    snapshots: &[Option<Snapshot>],
    statuses: &[Option<CoreStatus>],
    of: impl Fn(&Snapshot, &CoreStatus) -> T,
) -> Vec<Core<T>> {
    let cores = snapshots.iter().zip(statuses).enumerate();
    let said = cores.map(|(core, answer)| match answer {
        (Some(snapshot), Some(status)) => Core::Answering(of(snapshot, status)),
        _ => Core::Silent(SilentCore { core, answers: false }),
    });
    said.collect()
}

/// What has been counted, by one core or by all of them.
#[derive(Debug, Default, Serialize, ToSchema)]
struct Counted {
    /// Queries by transport.
    queries: BTreeMap<&'static str, u64>,
    /// Replies by response code.
    replies: BTreeMap<&'static str, u64>,
    /// Queries by type: `DNSSEC`, `transfer` and `other` are several types each.
    types: BTreeMap<&'static str, u64>,
    /// What is under way or waits.
    queues: Queues,
    /// Requests that were dropped, and replies that could not be sent, by reason.
    drops: BTreeMap<&'static str, u64>,
    /// The cache.
    cache: CacheFigures,
}

/// What is under way or waits.
#[derive(Debug, Default, Serialize, ToSchema)]
struct Queues {
    /// Questions in flight towards upstreams.
    questions_in_flight: usize,
    /// Clients that wait for an answer.
    waiters: usize,
    /// TCP connections of clients.
    tcp_connections: usize,
    /// Connections to upstreams.
    upstream_connections: usize,
    /// Replies as datagrams that wait for their socket.
    datagrams_waiting: usize,
    /// Messages of other threads that wait for a core.
    messages_waiting: usize,
}

/// What a cache holds, and what came of it.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct CacheFigures {
    /// Answers.
    entries: usize,
    /// Memory that they take, overheads counted.
    octets: usize,
    /// Memory that they may take.
    octets_max: usize,
    /// Queries answered from it.
    hits: u64,
    /// Questions that it could not answer.
    misses: u64,
    /// Answers put into it.
    inserts: u64,
    /// Answers put out of it for want of room.
    evictions: u64,
    /// Answers that ran out and were removed.
    expired: u64,
    /// Answers served after they ran out.
    stale: u64,
    /// Queries that joined a question already in flight.
    coalesced: u64,
    /// Answers fetched before they ran out.
    refreshes: u64,
}

impl Counted {
    fn add(&mut self, snapshot: &Snapshot, status: &CoreStatus) {
        let shard = &snapshot.shard;
        let mut add = |to: fn(&mut Counted) -> &mut Named, name, value| *to(self).entry(name).or_default() += value;
        for (transport, count) in [(Transport::Udp, shard.queries_udp), (Transport::Tcp, shard.queries_tcp)] {
            add(|counted| &mut counted.queries, transport.name(), count);
        }
        for (code, count) in [
            ("NOERROR", shard.rcode_noerror),
            ("NXDOMAIN", shard.rcode_nxdomain),
            ("SERVFAIL", shard.rcode_servfail),
            ("FORMERR", shard.rcode_formerr),
            ("NOTIMP", shard.rcode_notimp),
            ("REFUSED", shard.rcode_refused),
            ("NOTAUTH", shard.rcode_notauth),
            ("other", shard.rcode_other),
        ] {
            add(|counted| &mut counted.replies, code, count);
        }
        for &class in TypeClass::ALL {
            add(|counted| &mut counted.types, class.name(), snapshot.telemetry.types[class as usize]);
        }
        for (reason, count) in [
            ("malformed", shard.dropped_malformed),
            ("rate", shard.rate_dropped),
            ("rrl", shard.rrl_dropped),
            ("abandoned", shard.waiters_abandoned),
        ] {
            add(|counted| &mut counted.drops, reason, count);
        }
        for (reason, counter) in DROPPED_BY_SOCKETS {
            let count = snapshot.rim.iter().find(|(name, ..)| *name == counter).map_or(0, |(_, _, count)| *count);
            add(|counted| &mut counted.drops, reason, count);
        }
        self.queues.add(snapshot);
        self.cache.add(snapshot, status);
    }

    fn of(snapshot: &Snapshot, status: &CoreStatus) -> Counted {
        let mut counted = Counted::default();
        counted.add(snapshot, status);
        counted
    }
}

impl Queues {
    fn add(&mut self, snapshot: &Snapshot) {
        self.questions_in_flight += snapshot.resolves;
        self.waiters += snapshot.waiters;
        self.tcp_connections += snapshot.tcp_connections;
        self.upstream_connections += snapshot.upstream_connections;
        self.datagrams_waiting += snapshot.datagrams_waiting;
        self.messages_waiting += snapshot.messages_waiting;
    }
}

impl CacheFigures {
    fn add(&mut self, snapshot: &Snapshot, status: &CoreStatus) {
        let shard = &snapshot.shard;
        self.entries += status.cache.entries;
        self.octets += status.cache.octets;
        self.octets_max += status.cache.octets_max;
        self.hits += shard.cache_hits;
        self.misses += shard.cache_misses;
        self.inserts += shard.cache_inserts;
        self.evictions += shard.cache_evictions;
        self.expired += shard.cache_expired;
        self.stale += shard.stale_down + shard.stale_slow + shard.stale_failed + shard.stale_limited;
        self.coalesced += shard.coalesced;
        self.refreshes += shard.refreshes;
    }

    fn of(snapshot: &Snapshot, status: &CoreStatus) -> CacheFigures {
        let mut figures = CacheFigures::default();
        figures.add(snapshot, status);
        figures
    }

    /// The figures of all cores that answered.
    pub(super) fn of_all(snapshots: &[Option<Snapshot>], statuses: &[Option<CoreStatus>]) -> CacheFigures {
        let mut figures = CacheFigures::default();
        both(snapshots, statuses).for_each(|(snapshot, status)| figures.add(snapshot, status));
        figures
    }
}

/// The cores that answered both questions.
pub(super) fn both<'a>(
    snapshots: &'a [Option<Snapshot>],
    statuses: &'a [Option<CoreStatus>],
) -> impl Iterator<Item = (&'a Snapshot, &'a CoreStatus)> {
    snapshots.iter().zip(statuses).filter_map(|(snapshot, status)| snapshot.as_ref().zip(status.as_ref()))
}

/// How long something took: half of it, nine of ten, and so on, at most so long. A figure is at most a quarter too high.
#[derive(Debug, Serialize, ToSchema)]
struct Spans {
    /// How often it happened.
    count: u64,
    /// All together, in microseconds.
    sum_us: u64,
    p50_us: Option<u64>,
    p90_us: Option<u64>,
    p99_us: Option<u64>,
    p999_us: Option<u64>,
}

impl From<&Histogram> for Spans {
    fn from(histogram: &Histogram) -> Spans {
        let quantile = |share| histogram.quantile(share).map(|span: Duration| span.as_micros() as u64);
        Spans {
            count: histogram.count(),
            sum_us: histogram.sum_micros(),
            p50_us: quantile(0.5),
            p90_us: quantile(0.9),
            p99_us: quantile(0.99),
            p999_us: quantile(0.999),
        }
    }
}

/// How often something took how long.
#[derive(Debug, Serialize, ToSchema)]
struct Buckets {
    /// How often it happened.
    count: u64,
    /// All together, in microseconds.
    sum_us: u64,
    /// The longest span of a bucket in microseconds, and how often it took longer than the bucket before, but not longer
    /// than this. Buckets without anything in them are left out.
    buckets: Vec<(u64, u64)>,
}

impl From<&Histogram> for Buckets {
    fn from(histogram: &Histogram) -> Buckets {
        let buckets = histogram.buckets().collect();
        Buckets { count: histogram.count(), sum_us: histogram.sum_micros(), buckets }
    }
}

/// How long clients waited, by what the answer had to wait for.
#[derive(Debug, Serialize, ToSchema)]
struct Waits<T> {
    /// The answer was there at once.
    at_once: T,
    /// An upstream was asked.
    waited: T,
}

/// How long clients waited, by transport.
fn latency<'t, T: From<&'t Histogram>>(telemetry: &'t Telemetry) -> BTreeMap<&'static str, Waits<T>> {
    let by_transport = Transport::ALL.iter().map(|transport| {
        let index = *transport as usize;
        let (at_once, waited) = (&telemetry.at_once[index], &telemetry.waited[index]);
        (transport.name(), Waits { at_once: at_once.into(), waited: waited.into() })
    });
    by_transport.collect()
}

/// What each core has counted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Cores {
    cores: Vec<Core<CoreFigures>>,
}

/// What a core has counted since it started.
#[derive(Debug, Serialize, ToSchema)]
struct CoreFigures {
    core: usize,
    /// Always true.
    answers: bool,
    /// The CPU to which it is pinned.
    cpu: usize,
    /// CPU time that it has used, in microseconds.
    cpu_us: u64,
    /// The same in seconds.
    cpu_seconds: f64,
    #[serde(flatten)]
    counted: Counted,
    /// How long clients waited, by transport.
    latency: BTreeMap<&'static str, Waits<Spans>>,
    /// How long upstreams took to answer.
    round_trips: Spans,
}

impl Cores {
    pub(super) fn of(snapshots: &[Option<Snapshot>], statuses: &[Option<CoreStatus>]) -> Cores {
        let figures = |snapshot: &Snapshot, status: &CoreStatus| CoreFigures {
            core: snapshot.core,
            answers: true,
            cpu: snapshot.cpu,
            cpu_us: snapshot.cpu_micros,
            cpu_seconds: snapshot.cpu_micros as f64 / 1e6,
            counted: Counted::of(snapshot, status),
            latency: latency(&snapshot.telemetry),
            round_trips: (&snapshot.telemetry.round_trips).into(),
        };
        Cores { cores: of_each(snapshots, statuses, figures) }
    }
}

/// What the cores together have counted: take the difference of two answers for what happened in between.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Stats {
    /// Microseconds since the process began. Where it is less than before, the process has begun anew.
    now_us: u64,
    /// Microseconds since the beginning of 1970.
    unix_us: u64,
    uptime_seconds: u64,
    cores_answering: usize,
    /// What is told of each core.
    cores: Vec<Core<CoreLoad>>,
    #[serde(flatten)]
    counted: Counted,
    /// How long clients waited, by transport.
    latency: BTreeMap<&'static str, Waits<Buckets>>,
    /// How long upstreams took to answer.
    round_trips: Buckets,
    /// Every counter of the cores, by its name.
    counters: BTreeMap<&'static str, u64>,
    /// Every counter of their sockets, by its name.
    rim: BTreeMap<&'static str, u64>,
}

/// How busy a core is.
#[derive(Debug, Serialize, ToSchema)]
struct CoreLoad {
    core: usize,
    /// Always true.
    answers: bool,
    /// The CPU to which it is pinned.
    cpu: usize,
    /// CPU time that it has used, in microseconds.
    cpu_us: u64,
    /// Queries that came.
    queries: u64,
    /// Requests that were dropped, and replies that could not be sent.
    dropped: u64,
}

impl Stats {
    pub(super) fn of(snapshots: &[Option<Snapshot>], statuses: &[Option<CoreStatus>], uptime: Duration) -> Stats {
        let mut counted = Counted::default();
        let (mut counters, mut rim) = (Named::new(), Named::new());
        let mut telemetry = Telemetry::default();
        for (snapshot, status) in both(snapshots, statuses) {
            counted.add(snapshot, status);
            add(&mut telemetry, &snapshot.telemetry);
            snapshot.shard.each().for_each(|(name, _, value)| *counters.entry(name).or_default() += value);
            snapshot.rim.iter().for_each(|(name, _, value)| *rim.entry(name).or_default() += value);
        }
        let load = |snapshot: &Snapshot, status: &CoreStatus| CoreLoad {
            core: snapshot.core,
            answers: true,
            cpu: snapshot.cpu,
            cpu_us: snapshot.cpu_micros,
            queries: snapshot.shard.queries_udp + snapshot.shard.queries_tcp,
            dropped: Counted::of(snapshot, status).drops.values().sum(),
        };
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Stats {
            now_us: uptime.as_micros() as u64,
            unix_us: unix.as_micros() as u64,
            uptime_seconds: uptime.as_secs(),
            cores_answering: both(snapshots, statuses).count(),
            cores: of_each(snapshots, statuses, load),
            counted,
            latency: latency(&telemetry),
            round_trips: (&telemetry.round_trips).into(),
            counters,
            rim,
        }
    }
}

/// Adds the histograms of a core to those of others. The types are in [`Counted`].
fn add(sum: &mut Telemetry, core: &Telemetry) {
    let pairs = sum.at_once.iter_mut().zip(&core.at_once).chain(sum.waited.iter_mut().zip(&core.waited));
    pairs.for_each(|(sum, core)| sum.add(core));
    sum.round_trips.add(&core.round_trips);
}

/// What the caches hold.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Cache {
    #[serde(flatten)]
    all: CacheFigures,
    /// The same for each core.
    cores: Vec<Core<CoreCache>>,
}

/// What a core's cache holds.
#[derive(Debug, Serialize, ToSchema)]
struct CoreCache {
    core: usize,
    /// Always true.
    answers: bool,
    #[serde(flatten)]
    cache: CacheFigures,
}

impl Cache {
    pub(super) fn of(snapshots: &[Option<Snapshot>], statuses: &[Option<CoreStatus>]) -> Cache {
        let cache = |snapshot: &Snapshot, status: &CoreStatus| CoreCache {
            core: snapshot.core,
            answers: true,
            cache: CacheFigures::of(snapshot, status),
        };
        Cache { all: CacheFigures::of_all(snapshots, statuses), cores: of_each(snapshots, statuses, cache) }
    }
}
