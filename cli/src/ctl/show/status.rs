//! How the server does, and how its upstream servers do.

use std::fmt::Write as _;

use serde_json::Value;

use super::items;
use crate::ctl::table::Column::{self, Figures, Words};
use crate::ctl::table::{Table, indented};
use crate::ctl::text::{absent, figure, list, milliseconds, octets, seconds, words};

/// How the server does: a line each subject, then a line each upstream server.
pub(in crate::ctl) fn status(object: &Value) -> String {
    let of = |pointer: &str| object.pointer(pointer).map_or_else(absent, figure);
    let cores = object["cores"].as_array().map_or(0, Vec::len);
    let mut text = format!(
        "ringdns {}, up for {}; {} of {cores} cores answer{}\n",
        words(&object["version"]),
        seconds(&object["uptime_seconds"]),
        of("/cores_answering"),
        if object["draining"] == true { "; draining" } else { "" },
    );
    let cache = &object["cache"];
    let restoring = if object["restoring"] == true { "; being read from its file" } else { "" };
    let lines = [
        (
            "cache",
            Some(format!(
                "{} answers, {} of {}; {} hits, {} misses{restoring}",
                figure(&cache["entries"]),
                octets(&cache["octets"]),
                octets(&cache["octets_max"]),
                figure(&cache["hits"]),
                figure(&cache["misses"])
            )),
        ),
        ("clients", Some(format!("{} waiting, {} TCP connections", of("/waiters"), of("/tcp_connections")))),
        ("zones", Some(zones(&object["zones"]))),
        ("reloads", Some(format!("{} done, {} failed", of("/reloads/done"), of("/reloads/failed")))),
        ("query log", query_log(&object["query_log"])),
        ("dnstap", dnstap(&object["dnstap"])),
        ("upstreams", Some(format!("{} questions in flight", of("/questions_in_flight")))),
    ];
    for (title, line) in lines {
        if let Some(line) = line {
            writeln!(text, "  {title:10} {line}").expect("a string takes every write");
        }
    }
    text + &indented(&servers(object), 4)
}

fn zones(zones: &Value) -> String {
    let mut line = format!("{} served, {} records", figure(&zones["served"]), figure(&zones["records"]));
    for (trouble, told) in [
        ("missing", "not loaded"),
        ("absent", "not transferred yet"),
        ("expired", "expired"),
        ("troubled", "in trouble"),
    ] {
        if zones[trouble].as_u64().is_some_and(|count| count > 0) {
            write!(line, ", {} {told}", figure(&zones[trouble])).expect("a string takes every write");
        }
    }
    line
}

/// `None` where it is off.
fn query_log(log: &Value) -> Option<String> {
    (log["enabled"] == true).then(|| {
        let state = if log["open"] == true { "open" } else { "not open" };
        let figures = format!("{} stored, {} dropped", figure(&log["stored"]), figure(&log["dropped"]));
        format!("{state}; {figures}; {}{}", octets(&log["octets"]), trouble(log))
    })
}

fn dnstap(tap: &Value) -> Option<String> {
    (tap["enabled"] == true).then(|| {
        let state = if tap["connected"] == true { "connected" } else { "not connected" };
        let figures = format!("{} sent, {} dropped", figure(&tap["sent"]), figure(&tap["dropped"]));
        format!("{state} to {}; {figures}{}", words(&tap["to"]), trouble(tap))
    })
}

fn trouble(of: &Value) -> String {
    of["trouble"].as_str().map_or_else(String::new, |_| format!("; {}", words(&of["trouble"])))
}

const COLUMNS: [Column; 11] = [
    Words("SERVER"),
    Words("POOLS"),
    Words("STATE"),
    Figures("FOR"),
    Figures("ROUND TRIP"),
    Figures("LOSS"),
    Figures("ASKED"),
    Figures("ANSWERED"),
    Figures("SILENT"),
    Figures("UNREACHABLE"),
    Figures("OUTAGES"),
];

/// A table of the upstream servers, and the pools that have none; or that there are neither.
pub(in crate::ctl) fn upstreams(object: &Value) -> String {
    let text = servers(object);
    if text.is_empty() { "no upstream servers: nothing is forwarded\n".into() } else { text }
}

fn servers(object: &Value) -> String {
    let rows: Vec<[String; 11]> = items(object, "upstreams").map(row).collect();
    let mut text = if rows.is_empty() { String::new() } else { Table::whole(COLUMNS, &rows) };
    if let Some(more @ 1..) = object["upstreams_left_out"].as_u64() {
        text += &format!("and {more} more\n");
    }
    for pool in items(object, "pools").filter(|pool| pool["servers"] == 0) {
        text += &format!("the pool {} has no addresses yet\n", words(&pool["name"]));
    }
    text
}

/// What the most pessimistic core thinks, and how many cores that are of how many.
pub(crate) fn standing(server: &Value) -> (&'static str, u64, u64) {
    let count = |member: &str| server[member].as_u64().unwrap_or(0);
    let (up, lossy, down) = (count("cores_up"), count("cores_lossy"), count("cores_down"));
    let (worst, cores) = match () {
        () if down > 0 => ("down", down),
        () if lossy > 0 => ("lossy", lossy),
        () => ("up", up),
    };
    (worst, cores, up.saturating_add(lossy).saturating_add(down))
}

fn row(server: &Value) -> [String; 11] {
    let (worst, cores, all) = standing(server);
    [
        words(&server["server"]),
        list(&server["pools"]),
        format!("{worst} on {cores} of {all} cores"),
        seconds(&server["since_seconds"]),
        milliseconds(&server["round_trip_us"]),
        format!("{} %", figure(&server["loss_percent"])),
        figure(&server["asked"]),
        figure(&server["answered"]),
        figure(&server["silent"]),
        figure(&server["unreachable"]),
        figure(&server["outages"]),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn status_is_a_page_for_people() {
        let server = |address: &str, up: u64, down: u64| {
            json!({
                "server": address, "pools": ["origin", "spare"], "since_seconds": 3_725, "cores_up": up, "cores_lossy": 0,
                "cores_down": down, "round_trip_us": if up > 0 { json!(1_260) } else { Value::Null }, "loss_percent": 5,
                "asked": 12_000, "answered": 11_000, "silent": 9, "unreachable": 3, "outages": 2,
            })
        };
        let object = json!({
            "version": "0.1.0", "uptime_seconds": 90_061, "cores_answering": 1, "cores": [{}, {}], "draining": true,
            "restoring": true,
            "cache": { "entries": 3, "octets": 2_048, "octets_max": 268_435_456u64, "hits": 8, "misses": 4 },
            "waiters": 1, "tcp_connections": 2, "questions_in_flight": 5, "reloads": { "done": 1, "failed": 0 },
            "zones": { "served": 2, "records": 10, "missing": 1, "absent": 0 },
            "query_log": { "enabled": true, "open": false, "stored": 9, "dropped": 1, "octets": 4_096, "trouble": "full" },
            "dnstap": { "enabled": true, "connected": true, "to": "unix:/run/tap", "sent": 4, "dropped": 0, "trouble": null },
            "upstreams": [server("udp://192.0.2.1:53", 2, 0), server("udp://[2001:db8::1]:53", 0, 1)],
            "upstreams_left_out": 4, "pools": [{ "name": "origin", "servers": 2 }, { "name": "na\u{1b}med", "servers": 0 }],
        });
        let told = "\
ringdns 0.1.0, up for 1d01h; 1 of 2 cores answer; draining
  cache      3 answers, 2.0 KiB of 256.0 MiB; 8 hits, 4 misses; being read from its file
  clients    1 waiting, 2 TCP connections
  zones      2 served, 10 records, 1 not loaded
  reloads    1 done, 0 failed
  query log  not open; 9 stored, 1 dropped; 4.0 KiB; full
  dnstap     connected to unix:/run/tap; 4 sent, 0 dropped
  upstreams  5 questions in flight
    SERVER                  POOLS         STATE                   FOR  ROUND TRIP  LOSS  ASKED  ANSWERED  SILENT  UNREACHABLE  OUTAGES
    udp://192.0.2.1:53      origin,spare  up on 2 of 2 cores    1h02m      1.3 ms   5 %  12000     11000       9            3        2
    udp://[2001:db8::1]:53  origin,spare  down on 1 of 1 cores  1h02m           -   5 %  12000     11000       9            3        2
    and 4 more
    the pool na?med has no addresses yet
";
        assert_eq!(status(&object), told);
        let bare = status(&json!({}));
        assert!(bare.starts_with("ringdns -, up for -; - of 0 cores answer\n"), "{bare}");
        assert!(!bare.contains("query log") && !bare.contains("dnstap") && !bare.contains("SERVER"), "{bare}");
        assert!(!bare.contains("no upstream servers") && upstreams(&json!({})).starts_with("no upstream servers"));
    }
}
