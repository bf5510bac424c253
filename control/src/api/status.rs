//! How the server does, as one object.

use std::time::Duration;

use serde_json::{Value, json};

use super::servers::{self, SERVERS_SHOWN_MAX, Seen};
use crate::cores::{CoreStatus, Snapshot};
use crate::status::Status;

/// The object. Of a core that did not answer, it says that alone.
pub(super) fn object(
    snapshots: &[Option<Snapshot>],
    statuses: &[Option<CoreStatus>],
    board: &Status,
    uptime: Duration,
) -> Value {
    let cores = snapshots.iter().zip(statuses).enumerate();
    let cores: Vec<Value> =
        cores.map(|(core, (snapshot, status))| of_core(core, snapshot.as_ref().zip(status.as_ref()))).collect();
    let seen = servers::seen(statuses, uptime);
    let shown = seen.iter().take(SERVERS_SHOWN_MAX);
    let sum = |figure: fn(&CoreStatus) -> usize| statuses.iter().flatten().map(figure).sum::<usize>();
    let counted = |figure: fn(&Snapshot) -> u64| snapshots.iter().flatten().map(figure).sum::<u64>();
    let totals = &board.totals;
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": uptime.as_secs(),
        "cores_answering": snapshots.iter().zip(statuses).filter(|(a, b)| a.is_some() && b.is_some()).count(),
        "cores": cores,
        "questions_in_flight": counted(|core| core.resolves as u64),
        "waiters": counted(|core| core.waiters as u64),
        "tcp_connections": counted(|core| core.tcp_connections as u64),
        "cache": {
            "entries": sum(|core| core.cache.entries),
            "octets": sum(|core| core.cache.octets),
            "octets_max": sum(|core| core.cache.octets_max),
            "hits": counted(|core| core.shard.cache_hits),
            "misses": counted(|core| core.shard.cache_misses),
        },
        "pools": of_pools(&board.pools, &seen),
        "upstreams": shown.map(|seen| seen.to_json(&board.pools)).collect::<Vec<Value>>(),
        "upstreams_left_out": seen.len().saturating_sub(SERVERS_SHOWN_MAX),
        "zones": {
            "served": totals.served,
            "records": totals.records,
            "octets": totals.octets,
            "missing": totals.missing,
            "absent": totals.absent,
            "expired": totals.expired,
            "troubled": totals.troubled,
        },
        "reloads": { "done": board.reloads, "failed": board.reloads_failed },
    })
}

fn of_core(core: usize, answer: Option<(&Snapshot, &CoreStatus)>) -> Value {
    let Some((snapshot, status)) = answer else {
        return json!({ "core": core, "answers": false });
    };
    json!({
        "core": core,
        "answers": true,
        "cpu": snapshot.cpu,
        "questions_in_flight": snapshot.resolves,
        "waiters": snapshot.waiters,
        "tcp_connections": snapshot.tcp_connections,
        "cache": {
            "entries": status.cache.entries,
            "octets": status.cache.octets,
            "octets_max": status.cache.octets_max,
        },
    })
}

/// Each pool with the number of its servers: none where their names have no addresses yet.
fn of_pools(pools: &[Box<str>], seen: &[Seen<'_>]) -> Vec<Value> {
    let mut servers = vec![0usize; pools.len()];
    for &pool in seen.iter().flat_map(Seen::pools) {
        // A core may still know of pools that a reload has just taken away.
        if let Some(count) = servers.get_mut(pool as usize) {
            *count += 1;
        }
    }
    pools.iter().zip(servers).map(|(name, servers)| json!({ "name": name, "servers": servers })).collect()
}
