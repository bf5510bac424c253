//! The servers of all pools, each as all cores together see it.

use std::collections::BTreeMap;
use std::time::Duration;

use ringdns_shard::upstream::{Protocol, Server, ServerState, Standing};
use serde_json::{Value, json};

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
    pub(super) fn to_json(&self, pools: &[Box<str>]) -> Value {
        let names = self.pools().iter().filter_map(|&pool| pools.get(pool as usize));
        let by_core = self.views.iter().map(|&(core, since, state)| {
            json!({
                "core": core,
                "standing": word(state.standing),
                "since_seconds": since.as_secs(),
                "round_trip_us": micros(state.round_trip),
                "loss_percent": state.loss_percent,
                "in_flight": state.in_flight,
                "asked": state.asked,
                "answered": state.answered,
                "silent": state.silent,
                "unreachable": state.unreachable,
                "outages": state.outages,
                "probes": state.probes,
            })
        });
        let worst = self.worst();
        json!({
            "server": title(&self.server),
            "pools": names.collect::<Vec<_>>(),
            "standing": worst.map(|(standing, _)| word(standing)),
            "since_seconds": worst.map(|(_, since)| since.as_secs()),
            "cores_up": self.cores(Standing::Up),
            "cores_lossy": self.cores(Standing::Lossy),
            "cores_down": self.cores(Standing::Down),
            "round_trip_us": micros(self.round_trip()),
            "loss_percent": self.views.iter().map(|(_, _, state)| state.loss_percent).max(),
            "in_flight": self.sum(|state| state.in_flight.into()),
            "asked": self.sum(|state| state.asked),
            "answered": self.sum(|state| state.answered),
            "silent": self.sum(|state| state.silent),
            "unreachable": self.sum(|state| state.unreachable),
            "outages": self.sum(|state| state.outages),
            "probes": self.sum(|state| state.probes),
            "by_core": by_core.collect::<Vec<_>>(),
        })
    }
}
