//! The zones: each of the first [`ZONES_SHOWN_MAX`](crate::status::ZONES_SHOWN_MAX) by itself, and all together.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::write::{counters, gauge, gauges};
use crate::status::{Status, ZONES_SHOWN_MAX, Zone};

// The help texts say so.
const _: () = assert!(ZONES_SHOWN_MAX == 1_000);

/// Name, meaning, and how the value is read.
type Gauge = (&'static str, &'static str, fn(&Zone) -> f64);

const GAUGES: [Gauge; 4] = [
    ("ringdns_zone_serial", "The serial number of the zone; of the first 1,000 zones.", |zone| zone.serial.into()),
    ("ringdns_zone_names", "Names in the zone; of the first 1,000 zones.", |zone| zone.names as f64),
    ("ringdns_zone_records", "Records in the zone; of the first 1,000 zones.", |zone| zone.records as f64),
    ("ringdns_zone_memory_bytes", "Memory of the zone, all copies together; of the first 1,000 zones.", |zone| {
        zone.octets as f64
    }),
];

pub(super) fn encode(encoder: &mut DescriptorEncoder<'_>, status: &Status) -> fmt::Result {
    for (name, help, value) in GAUGES {
        gauges(encoder, name, help, status.zones.iter().map(|zone| ([("zone", &*zone.name)], value(zone))))?;
    }
    let expiring = status.zones.iter().filter_map(|zone| Some(([("zone", &*zone.name)], zone.expires_in? as f64)));
    let help = "Seconds until the copy of the zone is given up, unless a primary is heard; of the first 1,000 zones.";
    gauges(encoder, "ringdns_zone_expires_seconds", help, expiring)?;
    together(encoder, status)?;
    transfers(encoder, status)
}

fn together(encoder: &mut DescriptorEncoder<'_>, status: &Status) -> fmt::Result {
    let (totals, figures) = (&status.totals, &status.figures);
    let kinds = [("primary", totals.primaries), ("secondary", totals.secondaries), ("catalog", totals.catalogs_made)];
    let kinds = kinds.map(|(kind, count)| ([("kind", kind)], count as f64));
    gauges(encoder, "ringdns_zones_by_kind", "Zones, by where their records come from.", kinds)?;
    for (name, help, value) in [
        ("ringdns_zones", "Zones that are served.", totals.served),
        ("ringdns_zones_missing", "Zones that are configured and could not be loaded.", totals.missing),
        ("ringdns_zones_members", "Secondary zones that come from a catalog.", totals.members),
        ("ringdns_zones_expired", "Secondary zones that have expired.", totals.expired),
        ("ringdns_zones_absent", "Secondary zones that have not been transferred yet.", totals.absent),
        ("ringdns_zones_troubled", "Secondary zones whose last refresh failed.", totals.troubled),
        ("ringdns_zones_records", "Records of all zones.", totals.records),
        ("ringdns_zones_memory_bytes", "Memory of all zones, all copies together.", totals.octets),
        ("ringdns_zones_retired", "Replaced versions that a transfer still reads.", figures.retired as usize),
        ("ringdns_notifies_waiting", "NOTIFYs that wait to be sent.", figures.notices_waiting as usize),
    ] {
        gauge(encoder, name, help, value as f64)?;
    }
    Ok(())
}

fn transfers(encoder: &mut DescriptorEncoder<'_>, status: &Status) -> fmt::Result {
    let figures = &status.figures;
    let help = "Primaries that were asked and had nothing newer, or were asked in vain.";
    let asked = [("current", figures.refreshes_current), ("failed", figures.refreshes_failed)];
    counters(encoder, "ringdns_refreshes", help, asked.map(|(outcome, count)| ([("outcome", outcome)], count)))?;
    let help = "Zones taken in: whole, as differences, and transfers that changed nothing.";
    let taken = [
        ("axfr", figures.transfers_whole),
        ("ixfr", figures.transfers_differences),
        ("failed", figures.transfers_failed),
    ];
    counters(encoder, "ringdns_transfers_in", help, taken.map(|(outcome, count)| ([("outcome", outcome)], count)))?;
    for (name, help, value) in [
        ("ringdns_swaps", "Times that the cores were given new images.", figures.swaps),
        ("ringdns_zones_unwritten", "Versions of zones that could not be kept on disk.", figures.unwritten),
        ("ringdns_zone_expirations", "Times that a zone expired.", figures.expired),
        ("ringdns_notifies_in", "NOTIFYs that were heard.", figures.notices_in),
        ("ringdns_notifies_in_idle", "NOTIFYs that said nothing new.", figures.notices_in_idle),
        ("ringdns_notifies_in_dropped", "NOTIFYs that found the queue full.", figures.notices_in_dropped),
        ("ringdns_notifies_out", "NOTIFYs that were answered.", figures.notices_out),
        ("ringdns_notifies_out_failed", "NOTIFYs that were given up.", figures.notices_out_failed),
    ] {
        super::write::counter(encoder, name, help, value)?;
    }
    Ok(())
}
