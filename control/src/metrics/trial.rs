//! Figures of everything that there can be, for tests.

use std::sync::Arc;
use std::time::Duration;

use ringdns_shard::transport::Transport;

use super::Figures;
use super::families::{Counter, FAMILIES};
use crate::cores::Cores;
use crate::cores::fake::Fake;
use crate::status::{Status, Zone};
use crate::{dnstap, query_log};

const LIMIT: Duration = Duration::from_secs(1);

/// Two cores with an upstream server, a zone, a query log and a reader of dnstap.
pub(crate) fn figures() -> Figures {
    let cores = Fake::default();
    let mut snapshots = cores.snapshots(LIMIT);
    for (core, snapshot) in snapshots.iter_mut().flatten().enumerate() {
        let thousands = 1_000 * (core as u64 + 1);
        (snapshot.shard.queries_udp, snapshot.shard.queries_tcp) = (thousands + 1, thousands + 2);
        let listed = FAMILIES.iter().copied().flatten().flat_map(|family| family.counters);
        let rim = listed.filter_map(|&(_, counter)| match counter {
            Counter::Rim(name) => Some((name, "", 7)),
            Counter::Shard(_) => None,
        });
        snapshot.rim = rim.chain([("made_up", "", 5)]).collect();
        snapshot.telemetry.types[1] = 101;
        let udp = Transport::Udp as usize;
        snapshot.telemetry.at_once[udp].record(1_000);
        snapshot.telemetry.at_once[udp].record(100_000_000);
        snapshot.telemetry.round_trips.record(5_000);
        (snapshot.datagrams_waiting, snapshot.messages_waiting) = (11, 12);
    }
    let mut status = Status::default();
    let (name, expires_in) = ("a\"b\\.test.".into(), Some(60));
    status.zones.push(Zone { name, serial: 9, names: 2, records: 3, octets: 100, expires_in });
    status.totals.served = 1;
    let (oldest, newest) = (Some(1_700_000_000_000_000), Some(1_700_000_000_500_000));
    Figures {
        snapshots,
        statuses: cores.statuses(LIMIT),
        status: Arc::new(status),
        refused: 0,
        wrong_tokens: 0,
        put_out: 0,
        lines_left_out: 0,
        query_log: Some(query_log::Figures { is_enabled: true, is_open: true, oldest, newest, ..Default::default() }),
        dnstap: Some(dnstap::Figures { is_connected: true, ..Default::default() }),
        uptime: Duration::from_secs(90),
    }
}
