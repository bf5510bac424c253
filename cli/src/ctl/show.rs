//! Answers of the control plane for people. What a server leaves out is a `-`.

mod cores;
mod queries;
mod status;

use serde_json::Value;

use super::table::Column::{self, Figures, Words};
use super::table::Table;
use super::text::{figure, harmless, octets, seconds, truth, words};

pub(super) use cores::{cache, cores};
pub(super) use queries::{QUERY_COLUMNS, query_row, ranked, series};
pub(crate) use status::standing;
pub(super) use status::{status, upstreams};

/// The items of a member that is a list.
fn items<'o>(object: &'o Value, member: &str) -> impl Iterator<Item = &'o Value> {
    object[member].as_array().into_iter().flatten()
}

/// The configuration in force.
pub(super) fn config(object: &Value) -> String {
    let lines = object["toml"].as_str().unwrap_or_default().lines();
    lines.map(|line| harmless(line) + "\n").collect()
}

/// What came of a flush.
pub(super) fn flushed(object: &Value) -> String {
    format!("flushed: {}\n", figure(&object["flushed"]))
}

/// What came of writing the cache to its file.
pub(super) fn dumped(object: &Value) -> String {
    format!("written: {}\n", octets(&object["octets"]))
}

/// What came of a reload that is in force.
pub(super) fn reloaded(object: &Value) -> String {
    let figure = |member: &str| figure(&object[member]);
    let (read, unchanged, faulty) = (figure("zones_read"), figure("zones_unchanged"), figure("zones_faulty"));
    let mut text = format!("reloaded; zones: {read} read, {unchanged} unchanged, {faulty} faulty\n");
    for key in items(object, "needs_restart") {
        text += &format!("changed, and in force after a restart: {}\n", words(key));
    }
    text
}

/// What came of an order to stop.
pub(super) fn draining(object: &Value) -> String {
    format!("draining: not ready from now on, and stops after {} s\n", figure(&object["seconds"]))
}

/// The level of the log.
pub(super) fn level(object: &Value) -> String {
    format!("level: {}\n", words(&object["level"]))
}

pub(super) const ZONE_COLUMNS: [Column; 8] = [
    Words("NAME"),
    Words("KIND"),
    Words("STATE"),
    Figures("SERIAL"),
    Figures("NAMES"),
    Figures("RECORDS"),
    Figures("MEMORY"),
    Figures("EXPIRES IN"),
];

pub(super) fn zone_row(zone: &Value) -> [String; 8] {
    let kind = words(&zone["kind"]) + if zone["member"] == true { ", of a catalog" } else { "" };
    let state = words(&zone["state"]) + if zone["troubled"] == true { ", in trouble" } else { "" };
    [
        words(&zone["name"]),
        kind,
        state,
        figure(&zone["serial"]),
        figure(&zone["names"]),
        figure(&zone["records"]),
        octets(&zone["octets"]),
        seconds(&zone["expires_in"]),
    ]
}

/// One zone.
pub(super) fn zone(object: &Value) -> String {
    Table::whole(ZONE_COLUMNS, &[zone_row(object)])
}

/// What came of an order to read a zone anew.
pub(super) fn zone_reloaded(object: &Value) -> String {
    let told = match object["asking"].as_bool() {
        Some(true) => {
            "its primaries are being asked; `zones show` tells when the serial changes, the log when that fails"
        }
        Some(false) => "read",
        None => "-",
    };
    told.to_owned() + "\n"
}

pub(super) const ENTRY_COLUMNS: [Column; 8] = [
    Words("NAME"),
    Words("TYPE"),
    Words("RCODE"),
    Words("DO"),
    Words("CD"),
    Figures("LEFT"),
    Figures("MEMORY"),
    Figures("CORE"),
];

pub(super) fn entry_row(entry: &Value) -> [String; 8] {
    [
        words(&entry["name"]),
        words(&entry["type"]),
        words(&entry["rcode"]),
        truth(&entry["dnssec_ok"]),
        truth(&entry["checking_disabled"]),
        left(&entry["seconds_left"]),
        octets(&entry["octets"]),
        figure(&entry["core"]),
    ]
}

/// Seconds until an answer runs out.
fn left(value: &Value) -> String {
    match value.as_i64() {
        Some(0..) => seconds(value),
        Some(past) => format!("-{}", super::text::span(past.unsigned_abs())),
        None => super::text::absent(),
    }
}

/// What is kept for a name: each answer, and the records in it.
pub(super) fn looked_up(object: &Value) -> String {
    let mut text = String::new();
    for entry in items(object, "entries") {
        let of = |member: &str| words(&entry[member]);
        let flags = [("dnssec_ok", ", DO"), ("checking_disabled", ", CD")];
        let flags: String = flags.iter().filter(|(flag, _)| entry[flag] == true).map(|(_, told)| *told).collect();
        text += &format!(
            "{}  {}  {}{flags}: {} left on core {}, {}\n",
            of("name"),
            of("type"),
            of("rcode"),
            left(&entry["seconds_left"]),
            figure(&entry["core"]),
            octets(&entry["octets"])
        );
        for record in items(entry, "records") {
            text += &format!("    {:10}  {}\n", words(&record["section"]), words(&record["text"]));
        }
        if let Some(more @ 1..) = entry["records_left_out"].as_u64() {
            text += &format!("    and {more} more\n");
        }
    }
    if let Some(more @ 1..) = object["entries_left_out"].as_u64() {
        text += &format!("and {more} more answers\n");
    }
    if text.is_empty() {
        text = format!("nothing is kept for {}\n", words(&object["name"]));
    }
    for core in items(object, "cores_silent") {
        text += &format!("core {} did not answer in time\n", figure(core));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn short_answers_are_a_line() {
        let object = json!({ "zones_read": 2, "zones_unchanged": 1, "zones_faulty": 0, "needs_restart": ["`user`"] });
        let told = "reloaded; zones: 2 read, 1 unchanged, 0 faulty\nchanged, and in force after a restart: `user`\n";
        assert_eq!(reloaded(&object), told);
        assert!(zone_reloaded(&json!({ "asking": true })).starts_with("its primaries are being asked; "));
        assert_eq!(
            (zone_reloaded(&json!({ "asking": false })), zone_reloaded(&json!(7))),
            ("read\n".into(), "-\n".into())
        );
        assert_eq!(flushed(&json!({ "flushed": u64::MAX })), "flushed: 18446744073709551615\n");
        assert_eq!(dumped(&json!({ "octets": 2_048 })), "written: 2.0 KiB\n");
        assert_eq!(draining(&json!({ "seconds": 5 })), "draining: not ready from now on, and stops after 5 s\n");
        assert_eq!(level(&json!({ "level": "debug" })), "level: debug\n");
        assert_eq!(config(&json!({ "toml": "[server]\ncores = 1 # \u{1b}[2J\n" })), "[server]\ncores = 1 # ?[2J\n");
        assert_eq!(config(&json!({})), "");
    }

    #[test]
    fn zones_and_answers_are_rows() {
        let object = json!({
            "name": "a.test.", "kind": "secondary", "state": "served", "troubled": true, "member": true, "serial": 7,
            "names": 2, "records": 3, "octets": 4_096, "expires_in": 3_700,
        });
        let told = "\
NAME     KIND                     STATE               SERIAL  NAMES  RECORDS   MEMORY  EXPIRES IN
a.test.  secondary, of a catalog  served, in trouble       7      2        3  4.0 KiB       1h01m
";
        assert_eq!(zone(&object), told);
        assert_eq!(zone_row(&json!("odd")), ["-"; 8]);
        let entry = json!({ "core": 1, "name": "a.test.", "type": "A", "dnssec_ok": true, "checking_disabled": false,
            "rcode": "NOERROR", "seconds_left": -61, "octets": 130 });
        assert_eq!(entry_row(&entry), ["a.test.", "A", "NOERROR", "yes", "no", "-1m01s", "130 B", "1"]);
        assert_eq!(left(&json!(i64::MIN)), "-106751991167300d15h");
    }

    #[test]
    fn what_is_kept_for_a_name_is_told_with_its_records() {
        let object = json!({
            "name": "a.test.", "cores_silent": [1], "entries_left_out": 5,
            "entries": [{
                "core": 0, "name": "a.test.", "type": "A", "dnssec_ok": true, "checking_disabled": true,
                "rcode": "NOERROR", "seconds_left": 57, "octets": 130, "records_left_out": 2,
                "records": [{ "section": "answer", "text": "a.test. 57 IN TXT \"\u{1b}\"" }],
            }],
        });
        let told = "\
a.test.  A  NOERROR, DO, CD: 57s left on core 0, 130 B
    answer      a.test. 57 IN TXT \"?\"
    and 2 more
and 5 more answers
core 1 did not answer in time
";
        assert_eq!(looked_up(&object), told);
        assert_eq!(looked_up(&json!({ "name": "b.test.", "entries": [] })), "nothing is kept for b.test.\n");
        assert_eq!(looked_up(&json!({ "entries": [7] })), "-  -  -: - left on core -, -\n");
    }
}
