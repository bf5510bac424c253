//! The query log of the server that runs: every request is in it once, or counted where it is not.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::common::dns::{FORMERR, NOERROR, NOTIMP, NXDOMAIN, REFUSED, Via, query, receive, udp_socket};
use crate::common::server::{LISTEN, Server};
use crate::common::wait_until;

const ZONE: &str = "$TTL 60\n@ SOA ns h 1 60 60 60 60\n@ NS ns\nns A 192.0.2.1\n";
const ZONES: &str = "[[zone]]\nname = \"a.test\"\nfile = \"a.zone\"\n";

fn configuration(cores: u32, query_log: &str) -> String {
    format!("[server]\ncores = {cores}\n{LISTEN}{ZONES}[query_log]\nfile = \"queries.sqlite\"\n{query_log}")
}

fn serving(cores: u32, query_log: &str) -> Server {
    let server = Server::start(&configuration(cores, query_log), &[("a.zone", ZONE)]);
    wait_until("the query log is open", || server.counter("query_log_up") == 1);
    server
}

/// What a page of the interface answers.
#[track_caller]
fn object(server: &Server, path: &str) -> Value {
    let page = server.page(&format!("/api/v1{path}"));
    let body = page.split("\r\n\r\n").nth(1).unwrap_or_default();
    serde_json::from_str(body).unwrap_or_else(|_| panic!("{page}"))
}

/// Asks for a name each over UDP; what is refused or denied is an answer, too.
fn ask(server: &Server, names: impl Iterator<Item = u32>) {
    let socket = udp_socket(server.address());
    for name in names {
        socket.send(&query(&format!("n{name}.a.test"), "A")).expect("it is sent");
        assert_eq!(u16::from(receive(&socket)[3] & 15), NXDOMAIN);
    }
}

/// Waits until every request is accounted for: stored, lost, or passed over by chance.
#[track_caller]
fn settled(server: &Server) {
    let counters = ["query_log_stored", "query_log_dropped", "query_log_sampled_out"];
    let accounted = || counters.iter().map(|counter| server.counter(counter)).sum::<u64>();
    wait_until("every request is accounted for", || accounted() == server.counter("queries"));
}

#[test]
fn every_request_has_a_row_that_says_what_came_of_it() {
    let server = serving(1, "enabled = true\n");
    let cut_short = query("cut.a.test", "A")[..20].to_vec();
    let mut notify_like = query("ns.a.test", "A");
    notify_like[2] = 0x28; // Opcode 5, UPDATE.
    for (request, via, rcode) in [
        (query("ns.a.test", "A"), Via::Udp, NOERROR),
        (query("NS.a.test", "AAAA"), Via::Tcp, NOERROR),
        (query("b.a.test", "MX"), Via::Tcp, NXDOMAIN),
        (query("elsewhere.test", "A"), Via::Udp, REFUSED),
        (cut_short, Via::Udp, FORMERR),
        (notify_like, Via::Tcp, NOTIMP),
    ] {
        assert_eq!(server.ask(via, &request).rcode(), rcode);
    }
    settled(&server);
    let rows = object(&server, "/queries?limit=100");
    let rows = rows["queries"].as_array().expect("rows").iter();
    let told = rows.map(|row| {
        let words = ["name", "type", "transport", "rcode", "outcome", "policy"].map(|member| match &row[member] {
            Value::String(word) => word.clone(),
            other => other.to_string(),
        });
        assert_eq!(
            (&row["client"], &row["sample"], &row["core"]),
            (&json!("127.0.0.1"), &json!(1), &json!(0)),
            "{row}"
        );
        words.join(" ")
    });
    let mut told: Vec<String> = told.collect();
    told.reverse();
    assert_eq!(
        told[..4],
        [
            "ns.a.test. A udp NOERROR zone none",
            "ns.a.test. AAAA tcp NOERROR zone none",
            "b.a.test. MX tcp NXDOMAIN zone none",
            "elsewhere.test. A udp REFUSED refused route",
        ]
    );
    // What could not be read is there all the same.
    assert_eq!(told.len(), 6, "{told:?}");
    assert!(told[4].contains(" udp FORMERR refused ") && told[5].contains(" tcp NOTIMP refused "), "{told:?}");
    let blocked = object(&server, "/queries/top?of=blocked_names");
    assert_eq!(blocked["ranked"], json!([{ "value": "elsewhere.test.", "queries": 1 }]));
}

#[test]
fn a_sample_stands_for_all_and_none_is_lost_uncounted() {
    const QUERIES: u64 = 4_000;
    let mut server = serving(2, "enabled = true\nsample = 4\n");
    // From some sockets, so that each core gets its share.
    (0..8).for_each(|part| ask(&server, part * 500..(part + 1) * 500));
    settled(&server);
    let (stored, out) = (server.counter("query_log_stored"), server.counter("query_log_sampled_out"));
    assert_eq!((server.counter("query_log_dropped"), stored + out), (0, QUERIES));
    // A quarter, give or take what chance gives and takes once in many years.
    assert!((QUERIES / 8..QUERIES / 2).contains(&stored), "{stored}");
    assert_eq!(server.counter("query_log_stored_queries"), 4 * stored);
    server.restart();
    wait_until("the query log is open", || server.counter("query_log_up") == 1);
    assert_eq!(server.counter("query_log_rows"), stored);
    let series = object(&server, "/queries/series?bucket=86400");
    let sum = |member: &str| {
        series["buckets"]
            .as_array()
            .expect("buckets")
            .iter()
            .map(|bucket| bucket[member].as_u64().unwrap_or(0))
            .sum::<u64>()
    };
    assert_eq!((sum("queries"), sum("blocked")), (4 * stored, 0));
    // Page by page, each row comes once.
    let (mut names, mut cursor) = (BTreeMap::<String, u32>::new(), String::new());
    loop {
        let page = object(&server, &format!("/queries?limit=100{cursor}"));
        for row in page["queries"].as_array().expect("rows") {
            *names.entry(row["name"].to_string()).or_default() += 1;
        }
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!((names.len() as u64, names.values().max()), (stored, Some(&1)));
}

#[test]
fn a_reload_turns_the_log_on_and_off_and_keeps_less_of_addresses() {
    let server = Server::start(&configuration(1, ""), &[("a.zone", ZONE)]);
    ask(&server, 0..5);
    assert_eq!((server.counter("query_log_enabled"), server.counter("query_log_entries")), (0, 0));
    assert!(!server.folder().join("queries.sqlite").exists());
    let control = "\n[control]\nlisten = \"127.0.0.1:0\"\n";
    let turn = |query_log: &str, up| {
        server.replace("r.toml", &(configuration(1, query_log) + control));
        assert!(server.reload(), "{}", server.log());
        wait_until("the query log has followed", || server.counter("query_log_up") == up);
    };
    let logged = |entries| {
        wait_until("the entries are stored", || server.counter("query_log_stored") == entries);
        assert_eq!(server.counter("query_log_entries"), entries);
    };
    turn("enabled = true\n", 1);
    ask(&server, 5..10);
    logged(5);
    turn("enabled = true\nclient_prefix_v4 = 8\n", 1);
    ask(&server, 10..12);
    logged(7);
    let clients = object(&server, "/queries/top?of=clients");
    let expected = json!([{ "value": "127.0.0.1", "queries": 5 }, { "value": "127.0.0.0", "queries": 2 }]);
    assert_eq!(clients["ranked"], expected);
    turn("", 0);
    ask(&server, 12..15);
    assert_eq!((server.counter("query_log_entries"), server.counter("query_log_dropped")), (7, 0));
    assert!(server.page("/api/v1/queries").starts_with("HTTP/1.1 409 "));
    assert!(server.folder().join("queries.sqlite").exists(), "what is there stays");
}
