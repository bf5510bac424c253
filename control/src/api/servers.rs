//! The servers of all pools, each as all cores together see it.

use std::collections::BTreeMap;
use std::time::Duration;

use ringdns_shard::upstream::{Protocol, Server, ServerState, Standing};
use serde::Serialize;
use utoipa::ToSchema;

use crate::cores::CoreStatus;

/// Servers that are told of one by one; of further ones, the number is.
pub(crate) const SERVERS_SHOWN_MAX: usize = 1_000;

/// A server, as each core sees it.
#[derive(Debug)]
pub(crate) struct Seen<'s> {
    pub(crate) server: Server,
    /// Since when its standing is so, and what the core knows else, core by core.
    views: Vec<(usize, Duration, &'s ServerState)>,
}

/// Each server that a core knows, in the order of the pools. `uptime` is the server's own: nothing has been so for longer.
pub(crate) fn seen(statuses: &[Option<CoreStatus>], uptime: Duration) -> Vec<Seen<'_>> {
    let mut all: Vec<Seen<'_>> = Vec::new();
    let mut places: BTreeMap<Server, usize> = BTreeMap::new();
    for status in statuses.iter().flatten() {
        for state in &status.servers {
            let place = *places.entry(state.server).or_insert_with(|| {
                all.push(Seen { server: state.server, views: Vec::new() });
                all.len() - 1
            });
            all[place].views.push((status.core, (status.now - state.since).min(uptime), state));
        }
    }
    all.sort_by_key(|seen| seen.pools().first().copied());
    all
}

/// A server as the configuration writes it.
pub(crate) fn title(server: &Server) -> String {
    let Server { protocol, address } = server;
    match protocol {
        Protocol::Udp => format!("udp://{address}"),
        Protocol::Tcp => format!("tcp://{address}"),
    }
}

fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Up => "up",
        Standing::Lossy => "lossy",
        Standing::Down => "down",
    }
}

fn micros(span: Option<Duration>) -> Option<u64> {
    span.map(|span| span.as_micros() as u64)
}

impl Seen<'_> {
    /// The pools that it is in, by their place in the configuration.
    pub(crate) fn pools(&self) -> &[u32] {
        self.views.first().map_or(&[], |(_, _, state)| &state.pools)
    }

    /// The number of cores for which it stands so.
    pub(crate) fn cores(&self, standing: Standing) -> usize {
        self.views.iter().filter(|(_, _, state)| state.standing == standing).count()
    }

    /// The worst that a core thinks of it, and for how long one has thought so.
    fn worst(&self) -> Option<(Standing, Duration)> {
        self.views.iter().map(|&(_, since, state)| (state.standing, since)).max()
    }

    /// The median over those cores that have had an answer from it.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        let mut all: Vec<Duration> = self.views.iter().filter_map(|(_, _, state)| state.round_trip).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied()
    }

    /// The sum of a figure over the cores.
    pub(crate) fn sum(&self, figure: impl Fn(&ServerState) -> u64) -> u64 {
        self.views.iter().map(|(_, _, state)| figure(state)).sum()
    }

    /// All of it; `pools` are the names of the pools by their place.
    fn view(&self, pools: &[Box<str>]) -> UpstreamView {
        let names = self.pools().iter().filter_map(|&pool| pools.get(pool as usize));
        let by_core = self.views.iter().map(|&(core, since, state)| UpstreamOfCore {
            core,
            standing: word(state.standing),
            since_seconds: since.as_secs(),
            round_trip_us: micros(state.round_trip),
            loss_percent: state.loss_percent,
            tally: Tally::of(state),
        });
        let worst = self.worst();
        UpstreamView {
            server: title(&self.server),
            pools: names.map(|name| name.to_string()).collect(),
            standing: worst.map(|(standing, _)| word(standing)),
            since_seconds: worst.map(|(_, since)| since.as_secs()),
            cores_up: self.cores(Standing::Up),
            cores_lossy: self.cores(Standing::Lossy),
            cores_down: self.cores(Standing::Down),
            round_trip_us: micros(self.round_trip()),
            loss_percent: self.views.iter().map(|(_, _, state)| state.loss_percent).max(),
            tally: Tally {
                in_flight: self.sum(|state| state.in_flight.into()),
                asked: self.sum(|state| state.asked),
                answered: self.sum(|state| state.answered),
                silent: self.sum(|state| state.silent),
                unreachable: self.sum(|state| state.unreachable),
                outages: self.sum(|state| state.outages),
                probes: self.sum(|state| state.probes),
            },
            by_core: by_core.collect(),
        }
    }
}

/// The servers that queries go to, and how they do.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Upstreams {
    /// The pools, in the order of the configuration.
    pools: Vec<PoolView>,
    /// The servers of all pools, each once.
    upstreams: Vec<UpstreamView>,
    /// Further servers that are not told of one by one.
    upstreams_left_out: usize,
}

/// A pool.
#[derive(Debug, Serialize, ToSchema)]
struct PoolView {
    name: String,
    /// Its servers: none where their names have no addresses yet.
    servers: usize,
}

/// A server as all cores together see it.
#[derive(Debug, Serialize, ToSchema)]
struct UpstreamView {
    /// As the configuration writes it.
    #[schema(example = "udp://192.0.2.1:53")]
    server: String,
    /// The pools that it is in.
    pools: Vec<String>,
    /// The worst that a core thinks of it: `up`, `lossy` (leaves most unanswered) or `down`.
    standing: Option<&'static str>,
    /// For how long a core has thought so.
    since_seconds: Option<u64>,
    cores_up: usize,
    cores_lossy: usize,
    cores_down: usize,
    /// Smoothed, in microseconds: the median of the cores.
    round_trip_us: Option<u64>,
    /// The share of attempts that get no answer: the highest of the cores.
    loss_percent: Option<u8>,
    #[serde(flatten)]
    tally: Tally,
    /// What each core thinks of it.
    by_core: Vec<UpstreamOfCore>,
}

/// A server as one core sees it.
#[derive(Debug, Serialize, ToSchema)]
struct UpstreamOfCore {
    core: usize,
    /// `up`, `lossy` or `down`.
    standing: &'static str,
    /// For how long.
    since_seconds: u64,
    /// Smoothed, in microseconds.
    round_trip_us: Option<u64>,
    loss_percent: u8,
    #[serde(flatten)]
    tally: Tally,
}

/// What a server was asked, and what came of it.
#[derive(Debug, Serialize, ToSchema)]
struct Tally {
    /// Attempts that are in flight.
    in_flight: u64,
    /// Attempts, probes included.
    asked: u64,
    /// Replies that matched.
    answered: u64,
    /// Attempts that got no reply in time.
    silent: u64,
    /// Attempts that did not reach it.
    unreachable: u64,
    /// Times that it went down, core by core.
    outages: u64,
    /// Probes while it was down.
    probes: u64,
}

impl Tally {
    fn of(state: &ServerState) -> Tally {
        Tally {
            in_flight: state.in_flight.into(),
            asked: state.asked,
            answered: state.answered,
            silent: state.silent,
            unreachable: state.unreachable,
            outages: state.outages,
            probes: state.probes,
        }
    }
}

impl Upstreams {
    /// What the cores know; `pools` are the names of the pools by their place.
    pub(super) fn of(statuses: &[Option<CoreStatus>], pools: &[Box<str>], uptime: Duration) -> Upstreams {
        let seen = seen(statuses, uptime);
        let mut servers = vec![0; pools.len()];
        for &pool in seen.iter().flat_map(Seen::pools) {
            // A core may still know of pools that a reload has just taken away.
            if let Some(count) = servers.get_mut(pool as usize) {
                *count += 1;
            }
        }
        let named = pools.iter().zip(servers);
        Upstreams {
            pools: named.map(|(name, servers)| PoolView { name: name.to_string(), servers }).collect(),
            upstreams: seen.iter().take(SERVERS_SHOWN_MAX).map(|seen| seen.view(pools)).collect(),
            upstreams_left_out: seen.len().saturating_sub(SERVERS_SHOWN_MAX),
        }
    }
}
