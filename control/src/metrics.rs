//! The figures of every core as a page that Prometheus reads (OpenMetrics text).

use std::fmt::{self, Debug};
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use ringdns_shard::upstream::{ServerState, Standing};

use crate::api::servers::{self, SERVERS_SHOWN_MAX, Seen};
use crate::cores::{CoreStatus, Figure, Snapshot};
use crate::status::{Status, Zone};

/// The media type of [`page`].
pub(crate) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The page. A core that did not answer has no figures in it but that. `refused` are requests for changes that came from
/// those who may not.
pub(crate) fn page(
    snapshots: Vec<Option<Snapshot>>,
    statuses: Vec<Option<CoreStatus>>,
    status: Arc<Status>,
    refused: u64,
) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Figures { snapshots, statuses, status, refused }));
    let mut page = String::new();
    text::encode(&mut page, &registry)?;
    Ok(page)
}

/// Name, meaning, and how the value is read from what it is of.
type Gauge<T> = (&'static str, &'static str, fn(&T) -> i64);

/// The same for what the views of all cores add up to.
type Sum = (&'static str, &'static str, fn(&ServerState) -> u64);

#[derive(Debug)]
struct Figures {
    snapshots: Vec<Option<Snapshot>>,
    statuses: Vec<Option<CoreStatus>>,
    status: Arc<Status>,
    refused: u64,
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let cores: Vec<&Snapshot> = self.snapshots.iter().flatten().collect();
        counters(&mut encoder, "", &cores, |core| core.shard.each().collect())?;
        counters(&mut encoder, "rim_", &cores, |core| core.rim.clone())?;
        self.of_cores(&mut encoder, &cores)?;
        self.of_upstreams(&mut encoder)?;
        self.of_zones(&mut encoder)?;
        self.of_the_process(&mut encoder)
    }
}

impl Figures {
    fn of_cores(&self, encoder: &mut DescriptorEncoder<'_>, cores: &[&Snapshot]) -> fmt::Result {
        let gauges: [Gauge<Snapshot>; 6] = [
            ("ringdns_resolves", "Questions in flight towards upstreams.", |core| core.resolves as i64),
            ("ringdns_waiters", "Clients waiting for an answer.", |core| core.waiters as i64),
            ("ringdns_tcp_connections", "TCP connections of clients.", |core| core.tcp_connections as i64),
            ("ringdns_cache_entries", "Answers in the cache.", |core| core.cache_entries as i64),
            ("ringdns_cache_bytes", "Memory that cached answers take, overheads counted.", |core| {
                core.cache_octets as i64
            }),
            ("ringdns_core_cpu", "The CPU to which the core is pinned.", |core| core.cpu as i64),
        ];
        for (name, help, value) in gauges {
            let values = cores.iter().map(|core| (core.core.to_string(), ConstGauge::new(value(core))));
            family(encoder, name, help, MetricType::Gauge, "core", values)?;
        }
        let up = self.snapshots.iter().enumerate();
        let up = up.map(|(core, answered)| (core.to_string(), ConstGauge::new(i64::from(answered.is_some()))));
        family(encoder, "ringdns_core_up", "Whether the core answered this page.", MetricType::Gauge, "core", up)
    }

    /// Of each server what all cores together say; of servers beyond so many nothing, for a page of them all would be
    /// one that nobody reads.
    fn of_upstreams(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let limits = self.statuses.iter().flatten();
        let limits = limits.map(|core| (core.core.to_string(), ConstGauge::new(core.cache.octets_max as i64)));
        let help = "Memory that cached answers may take.";
        family(encoder, "ringdns_cache_bytes_max", help, MetricType::Gauge, "core", limits)?;
        let mut seen = servers::seen(&self.statuses, std::time::Duration::MAX);
        seen.truncate(SERVERS_SHOWN_MAX);
        let titles: Vec<String> = seen.iter().map(|seen| servers::title(&seen.server)).collect();
        let gauges: [Gauge<Seen<'_>>; 4] = [
            ("ringdns_upstream_server_cores_up", "Cores for which the server answers.", |s| {
                s.cores(Standing::Up) as i64
            }),
            ("ringdns_upstream_server_cores_lossy", "Cores for which it leaves most unanswered.", |s| {
                s.cores(Standing::Lossy) as i64
            }),
            ("ringdns_upstream_server_cores_down", "Cores for which it has not answered for a while.", |s| {
                s.cores(Standing::Down) as i64
            }),
            ("ringdns_upstream_server_in_flight", "Attempts at the server that are in flight.", |s| {
                s.sum(|state| state.in_flight.into()) as i64
            }),
        ];
        for (name, help, value) in gauges {
            let values = titles.iter().zip(&seen).map(|(title, seen)| (title.clone(), ConstGauge::new(value(seen))));
            family(encoder, name, help, MetricType::Gauge, "server", values)?;
        }
        let answering = titles.iter().zip(&seen).filter_map(|(title, seen)| Some((title, seen.round_trip()?)));
        let answering = answering.map(|(title, span)| (title.clone(), ConstGauge::new(span.as_secs_f64())));
        let help = "Smoothed round trip to the server, the median of the cores.";
        family(encoder, "ringdns_upstream_server_round_trip_seconds", help, MetricType::Gauge, "server", answering)?;
        // A sum without one of the cores would look as if it had begun anew.
        if self.statuses.iter().any(Option::is_none) {
            return Ok(());
        }
        let counters: [Sum; 6] = [
            ("ringdns_upstream_server_asked", "Attempts at the server, probes included.", |state| state.asked),
            ("ringdns_upstream_server_answered", "Replies of the server that matched.", |state| state.answered),
            ("ringdns_upstream_server_silent", "Attempts at the server that got no reply in time.", |state| {
                state.silent
            }),
            ("ringdns_upstream_server_unreachable", "Attempts that did not reach the server.", |state| {
                state.unreachable
            }),
            ("ringdns_upstream_server_outages", "Times that the server went down, core by core.", |state| {
                state.outages
            }),
            ("ringdns_upstream_server_probes", "Probes of the server.", |state| state.probes),
        ];
        for (name, help, value) in counters {
            let values = titles.iter().zip(&seen);
            let values = values.map(|(title, seen)| (title.clone(), ConstCounter::new(seen.sum(value))));
            family(encoder, name, help, MetricType::Counter, "server", values)?;
        }
        Ok(())
    }

    fn of_zones(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let zones = &self.status.zones;
        let gauges: [Gauge<Zone>; 4] = [
            ("ringdns_zone_serial", "The serial number of the zone.", |zone| i64::from(zone.serial)),
            ("ringdns_zone_names", "Names in the zone.", |zone| zone.names as i64),
            ("ringdns_zone_records", "Records in the zone.", |zone| zone.records as i64),
            ("ringdns_zone_memory_bytes", "Memory of the zone, all copies together.", |zone| zone.octets as i64),
        ];
        for (name, help, value) in gauges {
            let values = zones.iter().map(|zone| (zone.name.to_string(), ConstGauge::new(value(zone))));
            family(encoder, name, help, MetricType::Gauge, "zone", values)?;
        }
        let expiring = zones.iter().filter_map(|zone| Some((zone.name.to_string(), zone.expires_in?)));
        let expiring = expiring.map(|(name, seconds)| (name, ConstGauge::new(seconds as i64)));
        let help = "Seconds until the copy of the zone is given up, unless a primary is heard.";
        family(encoder, "ringdns_zone_expires_seconds", help, MetricType::Gauge, "zone", expiring)
    }

    fn of_the_process(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (totals, figures) = (&self.status.totals, &self.status.figures);
        let kinds =
            [("primary", totals.primaries), ("secondary", totals.secondaries), ("catalog", totals.catalogs_made)];
        let kinds = kinds.into_iter().map(|(kind, count)| (kind.to_owned(), ConstGauge::new(count as i64)));
        let help = "Zones, by where their records come from.";
        family(encoder, "ringdns_zones_by_kind", help, MetricType::Gauge, "kind", kinds)?;
        let gauges: [(&str, &str, i64); 12] = [
            ("ringdns_zones", "Zones that are served.", totals.served as i64),
            ("ringdns_zones_missing", "Zones that are configured and could not be loaded.", totals.missing as i64),
            ("ringdns_zones_members", "Secondary zones that come from a catalog.", totals.members as i64),
            ("ringdns_zones_expired", "Secondary zones that have expired.", totals.expired as i64),
            ("ringdns_zones_absent", "Secondary zones that have not been transferred yet.", totals.absent as i64),
            ("ringdns_zones_troubled", "Secondary zones whose last refresh failed.", totals.troubled as i64),
            ("ringdns_zones_records", "Records of all zones.", totals.records as i64),
            ("ringdns_zones_memory_bytes", "Memory of all zones, all copies together.", totals.octets as i64),
            ("ringdns_zones_retired", "Replaced versions that a transfer still reads.", figures.retired as i64),
            ("ringdns_notifies_waiting", "NOTIFYs that wait to be sent.", figures.notices_waiting as i64),
            (
                "ringdns_upstream_names_unresolved",
                "Names of upstream servers that have no address yet.",
                self.status.names.unresolved as i64,
            ),
            (
                "ringdns_cache_restoring",
                "Whether the cache is being read from its file.",
                i64::from(self.status.is_restoring),
            ),
        ];
        for (name, help, value) in gauges {
            let metric = ConstGauge::new(value);
            metric.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        let status = &self.status;
        let counters: [(&str, &str, u64); 19] = [
            ("ringdns_upstream_names_asked", "Look-ups of names of upstream servers.", status.names.look_ups),
            ("ringdns_upstream_names_failed", "Those of them that failed.", status.names.failures),
            ("ringdns_cache_files_refused", "Files with a cache that were of no use.", status.caches_refused),
            ("ringdns_control_refused", "Requests for changes by those who may not.", self.refused),
            ("ringdns_reloads", "Reloads that took effect.", status.reloads),
            ("ringdns_reloads_failed", "Reloads that met mistakes.", status.reloads_failed),
            ("ringdns_swaps", "Times that the cores were given new images.", figures.swaps),
            ("ringdns_refreshes_current", "Primaries asked that had nothing newer.", figures.refreshes_current),
            ("ringdns_refreshes_failed", "Primaries asked in vain, for a serial or a zone.", figures.refreshes_failed),
            ("ringdns_transfers_in_axfr", "Zones taken in as a whole.", figures.transfers_whole),
            ("ringdns_transfers_in_ixfr", "Zones taken in as differences.", figures.transfers_differences),
            ("ringdns_transfers_in_failed", "Transfers that changed nothing.", figures.transfers_failed),
            ("ringdns_zones_unwritten", "Versions of zones that could not be kept on disk.", figures.unwritten),
            ("ringdns_zone_expirations", "Times that a zone expired.", figures.expired),
            ("ringdns_notifies_in", "NOTIFYs that were heard.", figures.notices_in),
            ("ringdns_notifies_in_idle", "NOTIFYs that said nothing new.", figures.notices_in_idle),
            ("ringdns_notifies_in_dropped", "NOTIFYs that found the queue full.", figures.notices_in_dropped),
            ("ringdns_notifies_out", "NOTIFYs that were answered.", figures.notices_out),
            ("ringdns_notifies_out_failed", "NOTIFYs that were given up.", figures.notices_out_failed),
        ];
        for (name, help, value) in counters {
            let metric = ConstCounter::new(value);
            metric.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        Ok(())
    }
}

/// Every counter of a kind, a value a core.
fn counters(
    encoder: &mut DescriptorEncoder<'_>,
    prefix: &str,
    cores: &[&Snapshot],
    each: impl Fn(&Snapshot) -> Vec<Figure>,
) -> fmt::Result {
    let of_cores: Vec<(String, Vec<Figure>)> = cores.iter().map(|core| (core.core.to_string(), each(core))).collect();
    let Some((_, first)) = of_cores.first() else { return Ok(()) };
    for (index, (name, help, _)) in first.iter().enumerate() {
        let values = of_cores.iter().map(|(core, figures)| (core.clone(), ConstCounter::new(figures[index].2)));
        family(encoder, &format!("ringdns_{prefix}{name}"), help.trim(), MetricType::Counter, "core", values)?;
    }
    Ok(())
}

/// One metric with a value for each value of `label`.
fn family<M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    kind: MetricType,
    label: &str,
    values: impl Iterator<Item = (String, M)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
    for (value, of_value) in values {
        of_value.encode(metric.encode_family(&[(label, value.as_str())])?)?;
    }
    Ok(())
}
