//! What the cores know of upstream servers: of each server what all cores together say.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::DescriptorEncoder;
use ringdns_shard::upstream::{ServerState, Standing};

use super::write::{Labels, counters, gauges, seconds};
use crate::api::servers::{self, SERVERS_SHOWN_MAX, Seen};
use crate::cores::CoreStatus;

// A help text says so.
const _: () = assert!(SERVERS_SHOWN_MAX == 1_000);

/// Name, meaning, and what is added up over the cores.
type Sum = (&'static str, &'static str, fn(&ServerState) -> u64);

const SUMS: [Sum; 7] = [
    ("ringdns_upstream_server_asked", "Attempts at the server, probes included.", |state| state.asked),
    ("ringdns_upstream_server_answered", "Replies of the server that matched.", |state| state.answered),
    ("ringdns_upstream_server_silent", "Attempts at the server that got no reply in time.", |state| state.silent),
    ("ringdns_upstream_server_unreachable", "Attempts that did not reach the server.", |state| state.unreachable),
    ("ringdns_upstream_server_outages", "Times that the server went down, core by core.", |state| state.outages),
    ("ringdns_upstream_server_probes", "Probes of the server.", |state| state.probes),
    ("ringdns_upstream_server_round_trips", "Round trips to the server that were measured.", |state| state.round_trips),
];

const STANDINGS: [(Standing, &str); 3] = [(Standing::Up, "up"), (Standing::Lossy, "lossy"), (Standing::Down, "down")];

pub(super) fn encode(encoder: &mut DescriptorEncoder<'_>, statuses: &[Option<CoreStatus>]) -> fmt::Result {
    let titles: Vec<(String, f64)> =
        statuses.iter().flatten().map(|core| (core.core.to_string(), core.cache.octets_max as f64)).collect();
    let limits = titles.iter().map(|(core, limit)| ([("core", core.as_str())], *limit));
    gauges(encoder, "ringdns_cache_bytes_max", "Memory that cached answers may take.", limits)?;
    let mut seen = servers::seen(statuses, Duration::MAX);
    let hidden = seen.len().saturating_sub(SERVERS_SHOWN_MAX);
    let help = "Upstream servers without figures of their own: those beyond the first 1,000.";
    super::write::gauge(encoder, "ringdns_upstream_servers_hidden", help, hidden as f64)?;
    seen.truncate(SERVERS_SHOWN_MAX);
    let titled: Vec<(String, Seen<'_>)> = seen.into_iter().map(|seen| (servers::title(&seen.server), seen)).collect();
    states(encoder, &titled)?;
    // A sum without one of the cores would look as if it had begun anew.
    if statuses.iter().any(Option::is_none) {
        return Ok(());
    }
    for (name, help, value) in SUMS {
        counters(encoder, name, help, titled.iter().map(|(title, seen)| (label(title), seen.sum(value))))?;
    }
    let spans = titled.iter().map(|(title, seen)| (label(title), seen.sum(|state| state.round_trip_micros)));
    let help = "All those round trips together.";
    seconds(encoder, "ringdns_upstream_server_round_trips_seconds", help, spans)
}

fn states(encoder: &mut DescriptorEncoder<'_>, titled: &[(String, Seen<'_>)]) -> fmt::Result {
    let help = "For how many cores the server answers (up), leaves most unanswered (lossy), has been silent for a while (down).";
    let standings = titled.iter().flat_map(|(title, seen)| {
        STANDINGS
            .map(|(standing, word)| ([("server", title.as_str()), ("standing", word)], seen.cores(standing) as f64))
    });
    gauges(encoder, "ringdns_upstream_server_cores", help, standings)?;
    let in_flight = titled.iter().map(|(title, seen)| (label(title), seen.sum(|state| state.in_flight.into()) as f64));
    gauges(encoder, "ringdns_upstream_server_in_flight", "Attempts at the server that are in flight.", in_flight)?;
    let losses = titled.iter().map(|(title, seen)| (label(title), loss(seen)));
    let help = "Share of attempts that were left unanswered of late, the mean of the cores.";
    gauges(encoder, "ringdns_upstream_server_loss_ratio", help, losses)?;
    let answering = titled.iter().filter_map(|(title, seen)| Some((label(title), seen.round_trip()?.as_secs_f64())));
    let help = "Smoothed round trip to the server, the median of the cores.";
    gauges(encoder, "ringdns_upstream_server_round_trip_seconds", help, answering)
}

fn label(title: &str) -> Labels<'_, 1> {
    [("server", title)]
}

fn loss(seen: &Seen<'_>) -> f64 {
    let cores: usize = STANDINGS.iter().map(|&(standing, _)| seen.cores(standing)).sum();
    seen.sum(|state| state.loss_percent.into()) as f64 / (100 * cores.max(1)) as f64
}
