//! What each core has counted and holds.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::OnceLock;

use prometheus_client::encoding::DescriptorEncoder;
use ringdns_shard::telemetry::{Histogram, Telemetry, TypeClass};
use ringdns_shard::transport::Transport;

use super::families::{Counter, FAMILIES, Family, OTHER};
use super::write::{Labels, counters, gauges, histograms, seconds};
use crate::cores::Snapshot;

/// A core by its number, and what it told.
struct Core<'s> {
    title: String,
    told: &'s Snapshot,
    counted: HashMap<Counter, u64>,
}

/// Name, meaning, and how the value is read.
type Gauge = (&'static str, &'static str, fn(&Snapshot) -> usize);

const GAUGES: [Gauge; 6] = [
    ("ringdns_resolves", "Questions in flight towards upstreams.", |core| core.resolves),
    ("ringdns_waiters", "Clients waiting for an answer.", |core| core.waiters),
    ("ringdns_tcp_connections", "TCP connections of clients.", |core| core.tcp_connections),
    ("ringdns_upstream_tcp_connections", "TCP connections to upstreams.", |core| core.upstream_connections),
    ("ringdns_cache_entries", "Answers in the cache.", |core| core.cache_entries),
    ("ringdns_cache_bytes", "Memory that cached answers take, overheads counted.", |core| core.cache_octets),
];

/// One of the histograms of a core.
type Spans = fn(&Telemetry) -> &Histogram;

pub(super) fn encode(encoder: &mut DescriptorEncoder<'_>, snapshots: &[Option<Snapshot>]) -> fmt::Result {
    let titles: Vec<String> = (0..snapshots.len()).map(|core| core.to_string()).collect();
    let up = snapshots.iter().zip(&titles);
    let up = up.map(|(told, title)| ([("core", title.as_str())], f64::from(u8::from(told.is_some()))));
    gauges(encoder, "ringdns_core_up", "Whether the core answered this page.", up)?;
    let cores: Vec<Core<'_>> = snapshots.iter().flatten().map(Core::new).collect();
    for family in FAMILIES.iter().copied().flatten() {
        counted(encoder, family, &cores)?;
    }
    other(encoder, &cores)?;
    let types = cores.iter().flat_map(|core| {
        let by_type = TypeClass::ALL.iter().zip(core.told.telemetry.types);
        by_type.map(|(class, count)| ([("core", core.title.as_str()), ("type", class.name())], count))
    });
    counters(encoder, "ringdns_queries_by_type", "Queries by the type asked for.", types)?;
    for (name, help, value) in GAUGES {
        gauges(encoder, name, help, cores.iter().map(|core| (core.label(), value(core.told) as f64)))?;
    }
    let depths = cores.iter().flat_map(|core| {
        let depths = [("datagrams", core.told.datagrams_waiting), ("messages", core.told.messages_waiting)];
        depths.map(|(queue, depth)| ([("core", core.title.as_str()), ("queue", queue)], depth as f64))
    });
    let help = "What waits at a core: datagrams to be sent to clients, messages of other threads.";
    gauges(encoder, "ringdns_queue_depth", help, depths)?;
    let spent = cores.iter().map(|core| (core.label(), core.told.cpu_micros));
    seconds(encoder, "ringdns_core_cpu_seconds", "CPU time that the core's thread has used.", spent)?;
    let cpus: Vec<String> = cores.iter().map(|core| core.told.cpu.to_string()).collect();
    let pinned =
        cores.iter().zip(&cpus).map(|(core, cpu)| ([("core", core.title.as_str()), ("cpu", cpu.as_str())], 1.0));
    gauges(encoder, "ringdns_core_info", "The CPU to which the core is pinned.", pinned)?;
    // A sum without one of the cores would look as if it had begun anew.
    if cores.len() == snapshots.len() { spans(encoder, &cores) } else { Ok(()) }
}

impl<'s> Core<'s> {
    fn new(told: &'s Snapshot) -> Core<'s> {
        let shard = told.shard.each().map(|(name, _, value)| (Counter::Shard(name), value));
        let rim = told.rim.iter().map(|&(name, _, value)| (Counter::Rim(name), value));
        Core { title: told.core.to_string(), told, counted: shard.chain(rim).collect() }
    }

    fn label(&self) -> Labels<'_, 1> {
        [("core", &self.title)]
    }
}

/// A family of counters: a value a core, and for each value of its label.
fn counted(encoder: &mut DescriptorEncoder<'_>, family: &Family, cores: &[Core<'_>]) -> fmt::Result {
    let Family { name, help, label, counters: of } = family;
    let values = cores.iter().flat_map(|core| {
        let known = of.iter().filter_map(|(value, counter)| Some((core, *value, *core.counted.get(counter)?)));
        known.collect::<Vec<_>>()
    });
    if label.is_empty() {
        counters(encoder, name, help, values.map(|(core, _, count)| (core.label(), count)))
    } else {
        let labelled = values.map(|(core, value, count)| ([("core", core.title.as_str()), (*label, value)], count));
        counters(encoder, name, help, labelled)
    }
}

/// The counters that no family has.
fn other(encoder: &mut DescriptorEncoder<'_>, cores: &[Core<'_>]) -> fmt::Result {
    static SHOWN: OnceLock<HashSet<Counter>> = OnceLock::new();
    let shown = SHOWN.get_or_init(|| {
        FAMILIES.iter().copied().flatten().flat_map(|family| family.counters).map(|&(_, counter)| counter).collect()
    });
    let mut rest: Vec<(&Core<'_>, &'static str, u64)> = Vec::new();
    for core in cores {
        for (&counter, &count) in core.counted.iter().filter(|(counter, _)| !shown.contains(*counter)) {
            let (Counter::Shard(name) | Counter::Rim(name)) = counter;
            rest.push((core, name, count));
        }
    }
    if rest.is_empty() {
        return Ok(());
    }
    let (name, help) = OTHER;
    let rest = rest.into_iter();
    counters(
        encoder,
        name,
        help,
        rest.map(|(core, name, count)| ([("core", core.title.as_str()), ("counter", name)], count)),
    )
}

/// How long clients and we have waited, all cores together.
fn spans(encoder: &mut DescriptorEncoder<'_>, cores: &[Core<'_>]) -> fmt::Result {
    let sum = |of: &dyn Fn(&Telemetry) -> &Histogram| {
        let mut sum = Histogram::default();
        cores.iter().for_each(|core| sum.add(of(&core.told.telemetry)));
        sum
    };
    let waits = Transport::ALL.into_iter().flat_map(|via| {
        let at_once = sum(&|telemetry| &telemetry.at_once[via as usize]);
        let waited = sum(&|telemetry| &telemetry.waited[via as usize]);
        [("at_once", at_once), ("waited", waited)]
            .map(|(path, spans)| ([("transport", via.name()), ("path", path)], spans))
    });
    let help = "From when a request was read until its reply was sent: those answered at once, and those that waited for \
                an upstream.";
    histograms(encoder, "ringdns_response_duration_seconds", help, waits)?;
    let round_trips: Spans = |telemetry| &telemetry.round_trips;
    let help = "From a query to an upstream until its reply.";
    histograms(encoder, "ringdns_upstream_round_trip_seconds", help, [([], sum(&round_trips))])
}
