//! The names that most queries of the last minutes were for, where the server logs queries.

use serde_json::Value;

use crate::ctl::exchange::Request;
use crate::ctl::text::{harmless, words};
use crate::ctl::whom::Server;

/// Of how long queries are counted.
pub(super) const WINDOW_MINUTES: u64 = 5;
const WINDOW_MICROS: u64 = WINDOW_MINUTES * 60_000_000;
/// Names that are told.
const NAMES_MAX: usize = 50;

/// What is known of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// Nobody has told anything yet.
    Unknown,
    /// The server does not log queries.
    Off,
    /// It does, and cannot tell; why.
    Trouble(String),
    /// Names and their queries, the most first.
    Ranked(Vec<(String, Option<u64>)>),
}

/// Asks for names. The minutes are counted back from the newest query that is logged: the server's clock is not ours.
pub(super) fn ask(server: &Server) -> Names {
    let log = match server.object(&Request::look("/status")) {
        Ok(mut status) => status["query_log"].take(),
        Err(failure) => return Names::Trouble(harmless(&failure.to_string())),
    };
    if log["enabled"] != true {
        return Names::Off;
    }
    let Some(newest) = log["newest"]["unix_us"].as_u64() else { return Names::Ranked(Vec::new()) };
    let from = newest.saturating_sub(WINDOW_MICROS);
    let request = Request::look("/queries/top")
        .with("of", "names")
        .with("limit", &NAMES_MAX.to_string())
        .with("from", &format!("{}.{:06}", from / 1_000_000, from % 1_000_000));
    match server.object(&request) {
        Ok(object) => ranked(&object),
        Err(failure) => Names::Trouble(harmless(&failure.to_string())),
    }
}

fn ranked(object: &Value) -> Names {
    let all = object["ranked"].as_array().into_iter().flatten().take(NAMES_MAX);
    Names::Ranked(all.map(|ranked| (words(&ranked["value"]), ranked["queries"].as_u64())).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ranked_names_are_taken_as_they_come() {
        let object = json!({ "ranked": [{ "value": "a\u{1b}.test.", "queries": 9 }, { "queries": "x" }, 7] });
        let names = [("a?.test.", Some(9)), ("-", None), ("-", None)].map(|(name, queries)| (name.to_owned(), queries));
        assert_eq!(ranked(&object), Names::Ranked(names.to_vec()));
        let many = json!({ "ranked": vec![json!({ "value": "a.", "queries": 1 }); 2 * NAMES_MAX] });
        assert!(matches!(ranked(&many), Names::Ranked(all) if all.len() == NAMES_MAX));
        assert_eq!(ranked(&json!(null)), Names::Ranked(Vec::new()));
    }
}
