//! What each core does, and what its part of the cache holds.

use serde_json::Value;

use super::items;
use crate::ctl::table::Column::{self, Figures, Words};
use crate::ctl::table::Table;
use crate::ctl::text::{absent, figure, micros, octets, seconds_of, share};

/// The sum of a member's members.
fn sum(object: &Value) -> Option<u64> {
    let members = object.as_object()?;
    Some(members.values().filter_map(Value::as_u64).fold(0, u64::saturating_add))
}

fn told(figure: Option<u64>) -> String {
    figure.map_or_else(absent, |figure| figure.to_string())
}

const COLUMNS: [Column; 16] = [
    Words("CORE"),
    Figures("CPU"),
    Figures("CPU TIME"),
    Figures("UDP"),
    Figures("TCP"),
    Figures("NOERROR"),
    Figures("NXDOMAIN"),
    Figures("SERVFAIL"),
    Figures("REFUSED"),
    Figures("OTHERS"),
    Figures("DROPPED"),
    Figures("HITS"),
    Figures("IN FLIGHT"),
    Figures("WAITING"),
    Figures("CONNECTIONS"),
    Figures("QUEUED"),
];

fn row(core: &Value) -> [String; 16] {
    let (replies, queues) = (&core["replies"], &core["queues"]);
    let shown = ["NOERROR", "NXDOMAIN", "SERVFAIL", "REFUSED"];
    let others =
        sum(replies).map(|all| shown.iter().filter_map(|rcode| replies[rcode].as_u64()).fold(all, u64::saturating_sub));
    let queued = ["datagrams_waiting", "messages_waiting"].map(|queue| queues[queue].as_u64());
    let hits = core["cache"]["hits"].as_u64().zip(core["cache"]["misses"].as_u64());
    [
        figure(&core["core"]) + if core["answers"] == false { " silent" } else { "" },
        figure(&core["cpu"]),
        core["cpu_us"].as_u64().map_or_else(absent, seconds_of),
        figure(&core["queries"]["udp"]),
        figure(&core["queries"]["tcp"]),
        figure(&replies["NOERROR"]),
        figure(&replies["NXDOMAIN"]),
        figure(&replies["SERVFAIL"]),
        figure(&replies["REFUSED"]),
        told(others),
        told(sum(&core["drops"])),
        hits.map_or_else(absent, |(hits, misses)| share(hits, hits.saturating_add(misses))),
        figure(&queues["questions_in_flight"]),
        figure(&queues["waiters"]),
        figure(&queues["tcp_connections"]),
        told(queued[0].zip(queued[1]).map(|(datagrams, messages)| datagrams.saturating_add(messages))),
    ]
}

const LATENCY_COLUMNS: [Column; 7] = [
    Words("CORE"),
    Words("LATENCY OF"),
    Figures("COUNT"),
    Figures("P50"),
    Figures("P90"),
    Figures("P99"),
    Figures("P99.9"),
];

/// How long clients waited and upstreams took, where any did.
fn latencies(core: &Value) -> Vec<[String; 7]> {
    let spans = [
        ("UDP, at once", &core["latency"]["udp"]["at_once"]),
        ("UDP, waited", &core["latency"]["udp"]["waited"]),
        ("TCP, at once", &core["latency"]["tcp"]["at_once"]),
        ("TCP, waited", &core["latency"]["tcp"]["waited"]),
        ("upstreams", &core["round_trips"]),
    ];
    let row = |(title, spans): (&str, &Value)| {
        let [p50, p90, p99, p999] = ["p50_us", "p90_us", "p99_us", "p999_us"].map(|share| micros(&spans[share]));
        [figure(&core["core"]), title.to_owned(), figure(&spans["count"]), p50, p90, p99, p999]
    };
    spans.into_iter().filter(|(_, spans)| spans["count"].as_u64().is_some_and(|count| count > 0)).map(row).collect()
}

/// Each core: a line with what it has counted, then how long things took.
pub(in crate::ctl) fn cores(object: &Value) -> String {
    let rows: Vec<[String; 16]> = items(object, "cores").map(row).collect();
    let latencies: Vec<[String; 7]> = items(object, "cores").flat_map(latencies).collect();
    let latencies = if latencies.is_empty() { String::new() } else { Table::whole(LATENCY_COLUMNS, &latencies) };
    Table::whole(COLUMNS, &rows) + &latencies
}

const CACHE_COLUMNS: [Column; 12] = [
    Words("CORE"),
    Figures("ANSWERS"),
    Figures("MEMORY"),
    Figures("OF"),
    Figures("HITS"),
    Figures("MISSES"),
    Figures("INSERTED"),
    Figures("EVICTED"),
    Figures("EXPIRED"),
    Figures("STALE"),
    Figures("COALESCED"),
    Figures("REFRESHED"),
];

fn cache_row(title: String, of: &Value) -> [String; 12] {
    [
        title,
        figure(&of["entries"]),
        octets(&of["octets"]),
        octets(&of["octets_max"]),
        figure(&of["hits"]),
        figure(&of["misses"]),
        figure(&of["inserts"]),
        figure(&of["evictions"]),
        figure(&of["expired"]),
        figure(&of["stale"]),
        figure(&of["coalesced"]),
        figure(&of["refreshes"]),
    ]
}

/// What the cache holds: each core's part, and all together.
pub(in crate::ctl) fn cache(object: &Value) -> String {
    let mut rows: Vec<[String; 12]> = items(object, "cores")
        .map(|core| {
            let silent = if core["answers"] == false { " silent" } else { "" };
            cache_row(figure(&core["core"]) + silent, core)
        })
        .collect();
    rows.push(cache_row("all".to_owned(), object));
    Table::whole(CACHE_COLUMNS, &rows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cores_are_rows_and_silent_ones_are_named() {
        let spans =
            json!({ "count": 8, "sum_us": 99, "p50_us": 3, "p90_us": 1_500, "p99_us": 20_000, "p999_us": null });
        let none = json!({ "count": 0, "sum_us": 0, "p50_us": null, "p90_us": null, "p99_us": null, "p999_us": null });
        let object = json!({ "cores": [{
            "core": 0, "answers": true, "cpu": 4, "cpu_us": 61_500_000,
            "queries": { "udp": 10, "tcp": 2 },
            "replies": { "NOERROR": 7, "NXDOMAIN": 2, "SERVFAIL": 1, "REFUSED": 0, "FORMERR": 1, "other": 1 },
            "drops": { "malformed": 1, "kernel": 2 },
            "cache": { "hits": 3, "misses": 1 },
            "queues": { "questions_in_flight": 1, "waiters": 2, "tcp_connections": 3, "datagrams_waiting": 4,
                "messages_waiting": 5 },
            "latency": { "udp": { "at_once": spans, "waited": none } }, "round_trips": none,
        }, { "core": 1, "answers": false }] });
        let told = "\
CORE      CPU  CPU TIME  UDP  TCP  NOERROR  NXDOMAIN  SERVFAIL  REFUSED  OTHERS  DROPPED    HITS  IN FLIGHT  WAITING  CONNECTIONS  QUEUED
0           4     1m01s   10    2        7         2         1        0       2        3  75.0 %          1        2            3       9
1 silent    -         -    -    -        -         -         -        -       -        -       -          -        -            -       -
CORE  LATENCY OF    COUNT   P50      P90      P99  P99.9
0     UDP, at once      8  3 µs  1.50 ms  20.0 ms      -
";
        assert_eq!(cores(&object), told);
        assert_eq!(cores(&json!({ "cores": 7 })).lines().count(), 1);
    }

    #[test]
    fn the_cache_is_told_core_by_core() {
        let figures = |entries: u64| {
            json!({ "core": 0, "answers": true, "entries": entries, "octets": 2_048, "octets_max": 4_096, "hits": 1,
                "misses": 2, "inserts": 3, "evictions": 4, "expired": 5, "stale": 6, "coalesced": 7, "refreshes": 8 })
        };
        let mut object = figures(12);
        object["cores"] = json!([figures(12), { "core": 1, "answers": false }]);
        let told = "\
CORE      ANSWERS   MEMORY       OF  HITS  MISSES  INSERTED  EVICTED  EXPIRED  STALE  COALESCED  REFRESHED
0              12  2.0 KiB  4.0 KiB     1       2         3        4        5      6          7          8
1 silent        -        -        -     -       -         -        -        -      -          -          -
all            12  2.0 KiB  4.0 KiB     1       2         3        4        5      6          7          8
";
        assert_eq!(cache(&object), told);
    }
}
