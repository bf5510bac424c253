//! Answers of the control plane for people. What a server leaves out is a `-`.

use std::fmt::Write as _;

use serde_json::Value;

/// Columns of the table of upstreams that are words; figures follow, and stand at the right.
const WORD_COLUMNS: usize = 3;

/// How the server does: a line each subject, then a line each upstream server.
pub(super) fn status(object: &Value) -> String {
    let figure = |pointer: &str| figure(object.pointer(pointer));
    let cores = object["cores"].as_array().map_or(0, Vec::len);
    let mut text = format!(
        "ringdns {}, up for {}; {} of {cores} cores answer\n",
        words(&object["version"]),
        object["uptime_seconds"].as_u64().map_or_else(absent, span),
        figure("/cores_answering"),
    );
    let cache = &object["cache"];
    let lines = [
        (
            "cache",
            format!(
                "{} answers, {} of {}; {} hits, {} misses",
                figure("/cache/entries"),
                octets(&cache["octets"]),
                octets(&cache["octets_max"]),
                figure("/cache/hits"),
                figure("/cache/misses")
            ),
        ),
        ("clients", format!("{} waiting, {} TCP connections", figure("/waiters"), figure("/tcp_connections"))),
        ("zones", zones(object)),
        ("reloads", format!("{} done, {} failed", figure("/reloads/done"), figure("/reloads/failed"))),
        ("upstreams", format!("{} questions in flight", figure("/questions_in_flight"))),
    ];
    for (title, line) in lines {
        writeln!(text, "  {title:10} {line}").expect("a string takes every write");
    }
    text + &upstreams(object)
}

fn zones(object: &Value) -> String {
    let zones = &object["zones"];
    let mut line = format!("{} served, {} records", figure(zones.get("served")), figure(zones.get("records")));
    for (trouble, told) in [
        ("missing", "not loaded"),
        ("absent", "not transferred yet"),
        ("expired", "expired"),
        ("troubled", "in trouble"),
    ] {
        if zones[trouble].as_u64().is_some_and(|count| count > 0) {
            write!(line, ", {} {told}", figure(zones.get(trouble))).expect("a string takes every write");
        }
    }
    line
}

/// A table of the upstream servers, and the pools that have none.
fn upstreams(object: &Value) -> String {
    let servers = object["upstreams"].as_array().map_or(&[][..], Vec::as_slice);
    let title = "SERVER POOLS STATE FOR ROUND-TRIP LOSS ASKED ANSWERED SILENT UNREACHABLE OUTAGES";
    let title = title.split(' ').map(|word| word.replace('-', " ")).collect();
    let rows: Vec<Vec<String>> = std::iter::once(title).chain(servers.iter().map(row)).collect();
    let mut text = if servers.is_empty() { String::new() } else { table(&rows) };
    if let Some(more @ 1..) = object["upstreams_left_out"].as_u64() {
        text += &format!("    and {more} more\n");
    }
    for pool in object["pools"].as_array().into_iter().flatten().filter(|pool| pool["servers"] == 0) {
        text += &format!("    the pool {} has no addresses yet\n", words(&pool["name"]));
    }
    text
}

fn row(server: &Value) -> Vec<String> {
    let count = |member: &str| server[member].as_u64().unwrap_or(0);
    let (up, lossy, down) = (count("cores_up"), count("cores_lossy"), count("cores_down"));
    let (worst, cores) = match () {
        () if down > 0 => ("down", down),
        () if lossy > 0 => ("lossy", lossy),
        () => ("up", up),
    };
    let pools: Vec<String> = server["pools"].as_array().into_iter().flatten().map(words).collect();
    let mut row = vec![
        words(&server["server"]),
        pools.join(","),
        format!("{worst} on {cores} of {} cores", up + lossy + down),
        server["since_seconds"].as_u64().map_or_else(absent, span),
        server["round_trip_us"].as_u64().map_or_else(absent, |micros| format!("{:.1} ms", micros as f64 / 1_000.0)),
        format!("{} %", figure(server.get("loss_percent"))),
    ];
    let figures = ["asked", "answered", "silent", "unreachable", "outages"];
    row.extend(figures.map(|member| figure(server.get(member))));
    row
}

/// Rows of as many cells each, in columns.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> =
        (0..columns).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
            0..WORD_COLUMNS => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        text += &format!("    {}\n", cells.collect::<Vec<String>>().join("  "));
    }
    text
}

/// What came of a flush.
pub(super) fn flushed(object: &Value) -> String {
    format!("flushed: {}\n", figure(object.get("flushed")))
}

/// What came of a reload that is in force.
pub(super) fn reloaded(object: &Value) -> String {
    let figure = |member: &str| figure(object.get(member));
    let (read, unchanged, faulty) = (figure("zones_read"), figure("zones_unchanged"), figure("zones_faulty"));
    let mut text = format!("reloaded; zones: {read} read, {unchanged} unchanged, {faulty} faulty\n");
    for key in object["needs_restart"].as_array().into_iter().flatten() {
        text += &format!("changed, and in force after a restart: {}\n", words(key));
    }
    text
}

/// The mistakes that an answer names, a line each.
pub(super) fn faults(object: &Value) -> String {
    let line = |fault: &Value| {
        let place = match (&fault["file"], &fault["line"], &fault["column"]) {
            (Value::String(_), Value::Number(line), Value::Number(column)) => {
                format!("{}:{line}:{column}: ", words(&fault["file"]))
            }
            (Value::String(_), ..) => format!("{}: ", words(&fault["file"])),
            _ if fault["zone"].is_string() => format!("the zone {}: ", words(&fault["zone"])),
            _ => String::new(),
        };
        place + &words(&fault["message"])
    };
    object["faults"].as_array().into_iter().flatten().map(line).collect::<Vec<String>>().join("\n")
}

/// Why the server has not done what it was asked for.
pub(super) fn problem(status: u16, object: &Value) -> String {
    let detail = match &object["detail"] {
        Value::String(_) => words(&object["detail"]),
        _ => format!("the server answers with HTTP status {status}"),
    };
    match faults(object) {
        faults if faults.is_empty() => detail,
        faults => format!("{detail}:\n{faults}"),
    }
}

fn absent() -> String {
    "-".to_owned()
}

fn figure(value: Option<&Value>) -> String {
    value.and_then(Value::as_u64).map_or_else(absent, |figure| figure.to_string())
}

/// Text without what a terminal would obey.
fn words(value: &Value) -> String {
    value.as_str().map_or_else(absent, |text| text.replace(|character: char| character.is_control(), "?"))
}

fn octets(value: &Value) -> String {
    match value.as_u64() {
        None => absent(),
        Some(octets @ 0..1024) => format!("{octets} B"),
        Some(octets @ 1024..1_048_576) => format!("{:.1} KiB", octets as f64 / 1024.0),
        Some(octets) => format!("{:.1} MiB", octets as f64 / 1_048_576.0),
    }
}

/// A span in its two largest units.
fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
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
            "version": "0.1.0", "uptime_seconds": 90_061, "cores_answering": 1, "cores": [{}, {}],
            "cache": { "entries": 3, "octets": 2_048, "octets_max": 268_435_456u64, "hits": 8, "misses": 4 },
            "waiters": 1, "tcp_connections": 2, "questions_in_flight": 5, "reloads": { "done": 1, "failed": 0 },
            "zones": { "served": 2, "records": 10, "missing": 1, "absent": 0 },
            "upstreams": [server("udp://192.0.2.1:53", 2, 0), server("udp://[2001:db8::1]:53", 0, 1)],
            "upstreams_left_out": 4, "pools": [{ "name": "origin", "servers": 2 }, { "name": "na\u{1b}med", "servers": 0 }],
        });
        let told = "\
ringdns 0.1.0, up for 1d01h; 1 of 2 cores answer
  cache      3 answers, 2.0 KiB of 256.0 MiB; 8 hits, 4 misses
  clients    1 waiting, 2 TCP connections
  zones      2 served, 10 records, 1 not loaded
  reloads    1 done, 0 failed
  upstreams  5 questions in flight
    SERVER                  POOLS         STATE                   FOR  ROUND TRIP  LOSS  ASKED  ANSWERED  SILENT  UNREACHABLE  OUTAGES
    udp://192.0.2.1:53      origin,spare  up on 2 of 2 cores    1h02m      1.3 ms   5 %  12000     11000       9            3        2
    udp://[2001:db8::1]:53  origin,spare  down on 1 of 1 cores  1h02m           -   5 %  12000     11000       9            3        2
    and 4 more
    the pool na?med has no addresses yet
";
        assert_eq!(status(&object), told);
        assert!(status(&json!({})).starts_with("ringdns -, up for -; - of 0 cores answer\n"));
    }

    #[test]
    fn what_went_wrong_is_told_with_its_place() {
        let object = json!({ "detail": "nothing is changed", "faults": [
            { "file": "r.toml", "line": 3, "column": 4, "message": "what" },
            { "file": "r.toml", "message": "cannot be read" },
            { "zone": "a.test.", "message": "a.zone:1:1: no SOA" },
        ] });
        let told =
            "nothing is changed:\nr.toml:3:4: what\nr.toml: cannot be read\nthe zone a.test.: a.zone:1:1: no SOA";
        assert_eq!(problem(422, &object), told);
        assert_eq!(problem(502, &json!({})), "the server answers with HTTP status 502");
        let object = json!({ "zones_read": 2, "zones_unchanged": 1, "zones_faulty": 0, "needs_restart": ["`user`"] });
        let told = "reloaded; zones: 2 read, 1 unchanged, 0 faulty\nchanged, and in force after a restart: `user`\n";
        assert_eq!((reloaded(&object).as_str(), faults(&object).as_str()), (told, ""));
    }
}
