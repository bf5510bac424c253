//! What the query log has.

use serde_json::Value;

use super::items;
use crate::ctl::table::Column::{self, Figures, Words};
use crate::ctl::table::Table;
use crate::ctl::text::{absent, figure, micros, words};

pub(in crate::ctl) const QUERY_COLUMNS: [Column; 10] = [
    Words("TIME"),
    Words("CLIENT"),
    Words("OVER"),
    Words("NAME"),
    Words("TYPE"),
    Words("RCODE"),
    Words("OUTCOME"),
    Figures("LATENCY"),
    Words("UPSTREAM"),
    Words("SAMPLE"),
];

/// A query. A policy that had its way stands behind the outcome, and how many it stands for where that is not one.
pub(in crate::ctl) fn query_row(query: &Value) -> [String; 10] {
    let outcome = match query["policy"].as_str() {
        None | Some("none") => words(&query["outcome"]),
        Some(_) => format!("{}: {}", words(&query["outcome"]), words(&query["policy"])),
    };
    let sample = query["sample"].as_u64().filter(|&sample| sample != 1);
    [
        words(&query["time"]),
        words(&query["client"]),
        words(&query["transport"]),
        words(&query["name"]),
        words(&query["type"]),
        words(&query["rcode"]),
        outcome,
        micros(&query["latency_us"]),
        words(&query["upstream"]),
        sample.map_or_else(String::new, |sample| format!("1 of {sample}")),
    ]
}

/// What most queries were for, or came from.
pub(in crate::ctl) fn ranked(object: &Value) -> String {
    let rows: Vec<[String; 2]> =
        items(object, "ranked").map(|ranked| [figure(&ranked["queries"]), words(&ranked["value"])]).collect();
    let inexact = match object["error"].as_u64() {
        Some(error @ 1..) => format!("too many to count each: figures are too low by at most {error}\n"),
        _ => String::new(),
    };
    match &rows[..] {
        [] => "no queries\n".to_owned(),
        rows => Table::whole([Figures("QUERIES"), Words(title(&object["of"]))], rows) + &inexact,
    }
}

fn title(of: &Value) -> &'static str {
    match of.as_str() {
        Some("names" | "blocked_names") => "NAME",
        Some("clients" | "blocked_clients") => "CLIENT",
        Some("types") => "TYPE",
        Some("rcodes") => "RCODE",
        Some("upstreams") => "UPSTREAM",
        Some("outcomes") => "OUTCOME",
        Some("policies") => "POLICY",
        Some("transports") => "TRANSPORT",
        _ => "VALUE",
    }
}

/// Queries by time.
pub(in crate::ctl) fn series(object: &Value) -> String {
    let outcomes = |bucket: &Value| {
        let outcomes = bucket["outcomes"].as_object().into_iter().flatten();
        let told: Vec<String> = outcomes
            .map(|(name, count)| format!("{} {}", words(&Value::String(name.clone())), figure(count)))
            .collect();
        if told.is_empty() { absent() } else { told.join(", ") }
    };
    let row = |bucket: &Value| {
        let mean = micros(&bucket["mean_latency_us"]);
        [words(&bucket["time"]), figure(&bucket["queries"]), figure(&bucket["blocked"]), mean, outcomes(bucket)]
    };
    let columns = [Words("TIME"), Figures("QUERIES"), Figures("BLOCKED"), Figures("MEAN LATENCY"), Words("OUTCOMES")];
    let rows: Vec<[String; 5]> = items(object, "buckets").map(row).collect();
    match &rows[..] {
        [] => "no queries\n".to_owned(),
        rows => Table::whole(columns, rows),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn queries_are_rows() {
        let query = json!({
            "time": "2026-11-20T12:00:00.000001Z", "unix_us": 1, "core": 0, "client": "192.0.2.9", "transport": "udp",
            "name": "a\u{7}.test.", "type": "A", "rcode": null, "outcome": "dropped", "policy": "rate", "latency_us": 12,
            "upstream": null, "sample": 10,
        });
        let row = query_row(&query);
        let cells = ["192.0.2.9", "udp", "a?.test.", "A", "-", "dropped: rate", "12 µs", "-", "1 of 10"];
        assert_eq!(row[1..], cells);
        assert_eq!(
            query_row(&json!({ "policy": "none", "outcome": "cache", "sample": 1 }))[6..],
            ["cache", "-", "-", ""]
        );
    }

    #[test]
    fn ranks_and_series_are_tables() {
        let object = json!({ "of": "names", "ranked": [{ "value": "a.test.", "queries": 12 }, { "value": 7 }] });
        assert_eq!(ranked(&object), "QUERIES  NAME\n     12  a.test.\n      -  -\n");
        let object = json!({ "of": "clients", "ranked": [{ "value": "192.0.2.9", "queries": 12 }], "error": 3 });
        assert!(ranked(&object).ends_with("  192.0.2.9\ntoo many to count each: figures are too low by at most 3\n"));
        assert_eq!(ranked(&json!({})), "no queries\n");
        let object = json!({ "bucket_seconds": 60, "buckets": [
            { "time": "t", "queries": 3, "blocked": 1, "mean_latency_us": 7, "outcomes": { "cache": 2, "refused": 1 } },
            { "time": "u", "queries": 0, "blocked": 0, "outcomes": {} },
        ] });
        let told = "\
TIME  QUERIES  BLOCKED  MEAN LATENCY  OUTCOMES
t           3        1          7 µs  cache 2, refused 1
u           0        0             -  -
";
        assert_eq!(series(&object), told);
        assert_eq!(series(&json!({ "buckets": null })), "no queries\n");
    }
}
