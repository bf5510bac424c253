//! How the server does, as one object.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use super::access::Access;
use super::figures::{CacheFigures, Core, both, of_each};
use super::moment::Moment;
use super::servers::Upstreams;
use crate::cores::{CoreStatus, Snapshot};
use crate::status::Totals;
use crate::{dnstap, query_log, status};

/// How the server does.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Status)]
pub(super) struct View {
    #[schema(example = "0.1.0")]
    version: &'static str,
    uptime_seconds: u64,
    /// Whether it is on its way to stop: it answers still, and is not ready any more.
    draining: bool,
    /// Whether the cores are being given what their caches had before the start.
    restoring: bool,
    /// Cores that answered in time.
    cores_answering: usize,
    /// Each core; of one that did not answer in time, that alone.
    cores: Vec<Core<CoreState>>,
    /// Questions in flight towards upstreams.
    questions_in_flight: usize,
    /// Clients that wait for an answer.
    waiters: usize,
    /// TCP connections of clients.
    tcp_connections: usize,
    /// The caches of all cores.
    cache: CacheFigures,
    #[serde(flatten)]
    upstreams: Upstreams,
    zones: ZonesView,
    reloads: ReloadsView,
    control: ControlView,
    /// What is known of the query log.
    query_log: LogView,
    /// What is known of dnstap.
    dnstap: TapView,
}

/// What a core does.
#[derive(Debug, Serialize, ToSchema)]
struct CoreState {
    core: usize,
    /// Always true.
    answers: bool,
    /// The CPU to which it is pinned.
    cpu: usize,
    questions_in_flight: usize,
    waiters: usize,
    tcp_connections: usize,
    cache: CoreCache,
}

/// What the cache of a core holds.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CoreCacheSize)]
struct CoreCache {
    entries: usize,
    octets: usize,
    octets_max: usize,
}

/// The zones.
#[derive(Debug, Serialize, ToSchema)]
struct ZonesView {
    served: usize,
    records: usize,
    /// Memory of all copies.
    octets: usize,
    /// Configured, and could not be loaded.
    missing: usize,
    /// Not transferred yet.
    absent: usize,
    /// Given up, for no primary was heard.
    expired: usize,
    /// The last refresh or transfer failed.
    troubled: usize,
}

/// Reloads since the start.
#[derive(Debug, Serialize, ToSchema)]
struct ReloadsView {
    done: u64,
    failed: u64,
}

/// Who asked here in vain.
#[derive(Debug, Serialize, ToSchema)]
struct ControlView {
    /// Requests that were not let in.
    refused: u64,
    /// Of these, those with a wrong token.
    wrong_tokens: u64,
    /// Connections that made room for others.
    put_out: u64,
}

/// The query log.
#[derive(Debug, Default, Serialize, ToSchema)]
struct LogView {
    /// Whether queries are to be logged.
    enabled: bool,
    /// Whether the data base takes them.
    open: bool,
    /// The data base.
    file: Option<String>,
    /// Why it does not take them, or what is wrong with it.
    trouble: Option<String>,
    /// Entries written since the start.
    stored: u64,
    /// Entries that could not be.
    dropped: u64,
    /// Attempts to open or to write that failed.
    failures: u64,
    /// Rows that there are.
    rows: u64,
    /// The size of the data base and its write-ahead log.
    octets: u64,
    oldest: Option<Moment>,
    newest: Option<Moment>,
}

/// The way to a reader of dnstap.
#[derive(Debug, Default, Serialize, ToSchema)]
struct TapView {
    /// Whether messages are to be sent.
    enabled: bool,
    /// Whether there is a reader.
    connected: bool,
    /// Where it listens.
    to: Option<String>,
    /// Why there is none.
    trouble: Option<String>,
    /// Messages given to the kernel.
    sent: u64,
    /// Messages that could not be: the sum of the following.
    dropped: u64,
    /// The queue from the cores was full.
    dropped_queue: u64,
    /// There was no reader.
    dropped_unread: u64,
    /// The reader went away or was too slow.
    dropped_cut: u64,
}

/// What is known when somebody asks.
pub(super) struct Known<'k> {
    pub(super) snapshots: &'k [Option<Snapshot>],
    pub(super) statuses: &'k [Option<CoreStatus>],
    pub(super) board: &'k status::Status,
    pub(super) access: &'k Access,
    pub(super) query_log: Option<(query_log::Figures, String)>,
    pub(super) dnstap: Option<dnstap::Figures>,
    pub(super) uptime: Duration,
}

impl View {
    pub(super) fn of(known: Known<'_>) -> View {
        let Known { snapshots, statuses, board, access, query_log, dnstap, uptime } = known;
        let sum = |figure: fn(&Snapshot) -> usize| snapshots.iter().flatten().map(figure).sum();
        View {
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: uptime.as_secs(),
            draining: board.is_draining,
            restoring: board.is_restoring,
            cores_answering: both(snapshots, statuses).count(),
            cores: of_each(snapshots, statuses, CoreState::of),
            questions_in_flight: sum(|core| core.resolves),
            waiters: sum(|core| core.waiters),
            tcp_connections: sum(|core| core.tcp_connections),
            cache: CacheFigures::of_all(snapshots, statuses),
            upstreams: Upstreams::of(statuses, &board.pools, uptime),
            zones: ZonesView::of(&board.totals),
            reloads: ReloadsView { done: board.reloads, failed: board.reloads_failed },
            control: ControlView {
                refused: access.refused(),
                wrong_tokens: access.wrong_tokens(),
                put_out: access.put_out(),
            },
            query_log: query_log.map(|(figures, file)| LogView::of(figures, file)).unwrap_or_default(),
            dnstap: dnstap.map(TapView::of).unwrap_or_default(),
        }
    }
}

impl CoreState {
    fn of(snapshot: &Snapshot, status: &CoreStatus) -> CoreState {
        let cache = &status.cache;
        CoreState {
            core: snapshot.core,
            answers: true,
            cpu: snapshot.cpu,
            questions_in_flight: snapshot.resolves,
            waiters: snapshot.waiters,
            tcp_connections: snapshot.tcp_connections,
            cache: CoreCache { entries: cache.entries, octets: cache.octets, octets_max: cache.octets_max },
        }
    }
}

impl ZonesView {
    fn of(totals: &Totals) -> ZonesView {
        let &Totals { served, records, octets, missing, absent, expired, troubled, .. } = totals;
        ZonesView { served, records, octets, missing, absent, expired, troubled }
    }
}

impl LogView {
    fn of(figures: query_log::Figures, file: String) -> LogView {
        LogView {
            enabled: figures.is_enabled,
            open: figures.is_open,
            file: Some(file),
            trouble: figures.trouble,
            stored: figures.stored,
            dropped: figures.dropped,
            failures: figures.failures,
            rows: figures.rows,
            octets: figures.file_octets + figures.wal_octets,
            oldest: figures.oldest.map(Moment::at),
            newest: figures.newest.map(Moment::at),
        }
    }
}

impl TapView {
    fn of(figures: dnstap::Figures) -> TapView {
        TapView {
            enabled: figures.to.is_some(),
            connected: figures.is_connected,
            to: figures.to,
            trouble: figures.trouble,
            sent: figures.sent,
            dropped: figures.dropped_queue + figures.dropped_unread + figures.dropped_cut,
            dropped_queue: figures.dropped_queue,
            dropped_unread: figures.dropped_unread,
            dropped_cut: figures.dropped_cut,
        }
    }
}
