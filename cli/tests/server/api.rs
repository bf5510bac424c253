//! The control plane's interface over its real doors: who is let in, what is told, what is changed, and what those get
//! who mean no good.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::dns::{NOERROR, NXDOMAIN};
use crate::common::server::Server;
use crate::common::upstream::{ANSWER, Upstream, address};
use crate::common::{PATIENCE, free_port, wait_until};
use crate::forwarding;

const TOKEN: &str = "0123456789abcdef-token";
const ZONE: &str = "$TTL 60\n@ SOA ns h 1 60 60 60 60\n@ NS ns\nns A 192.0.2.1\nwww A 192.0.2.2\n";

fn answering() -> Upstream {
    Upstream::start(|asked| Some(asked.reply(ANSWER, &[address(300, 7)])))
}

/// Forwards to `upstream`, has a zone, and logs queries; `control` stands in [control].
fn configuration(upstream: SocketAddr, control: &str) -> String {
    let zone = "[[zone]]\nname = \"z.test\"\nfile = \"z.zone\"\n[query_log]\nenabled = true\nfile = \"queries\"\n";
    let forwarding = forwarding::configuration(&[format!("udp://{upstream}")], "30s");
    format!("{forwarding}{zone}[control]\n{control}token_file = \"token\"\n")
}

fn serving(upstream: &Upstream) -> Server {
    let control = "listen = \"127.0.0.1:0\"\nsocket = \"ctl.sock\"\n";
    Server::start(&configuration(upstream.address, control), &[("token", TOKEN), ("z.zone", ZONE)])
}

/// Status, head and object of an answer; of none where the connection ends without.
fn exchanged(mut stream: impl Read + Write, request: &str) -> (u16, String, Value) {
    let mut answer = String::new();
    let _ = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut answer));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    (status, head.to_owned(), serde_json::from_str(body).unwrap_or_default())
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the control plane listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream
}

/// What an address answers to a request with these lines in its head.
fn at(address: SocketAddr, request: &str, head: &[&str]) -> (u16, String, Value) {
    let head: String = head.iter().map(|line| format!("{line}\r\n")).collect();
    exchanged(connect(address), &format!("{request} HTTP/1.1\r\nConnection: close\r\n{head}\r\n"))
}

const HOST: &str = "Host: localhost";
const BEARER: &str = "Authorization: Bearer 0123456789abcdef-token";

/// What the socket answers, where all went well.
#[track_caller]
fn well(server: &Server, method: &str, path: &str, body: &str) -> Value {
    let stream = UnixStream::connect(server.folder().join("ctl.sock")).expect("the control plane listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    let octets = body.len();
    let head = format!("Host: localhost\r\nConnection: close\r\nContent-Length: {octets}\r\n");
    let (status, head, object) = exchanged(stream, &format!("{method} /api/v1{path} HTTP/1.1\r\n{head}\r\n{body}"));
    assert_eq!(status, 200, "{method} {path}: {head} {object}");
    object
}

#[test]
fn what_was_asked_is_counted_kept_and_logged() {
    let upstream = answering();
    let server = serving(&upstream);
    wait_until("the query log is open", || well(&server, "GET", "/status", "")["query_log"]["open"] == json!(true));
    for (name, rtype) in [("a.test", "A"), ("a.test", "A"), ("b.test", "A"), ("www.z.test", "A")] {
        assert_eq!(server.answer(name, rtype).rcode(), NOERROR);
    }
    let cores = well(&server, "GET", "/cores", "");
    for (pointer, value) in [
        ("/cores/0/answers", json!(true)),
        ("/cores/0/queries/udp", json!(4)),
        ("/cores/0/replies/NOERROR", json!(4)),
        ("/cores/0/types/A", json!(4)),
        ("/cores/0/latency/udp/at_once/count", json!(2)),
        ("/cores/0/latency/udp/waited/count", json!(2)),
        ("/cores/0/round_trips/count", json!(2)),
        ("/cores/0/cache/entries", json!(2)),
    ] {
        assert_eq!(cores.pointer(pointer), Some(&value), "{pointer} in {cores}");
    }
    let stats = well(&server, "GET", "/stats", "");
    let buckets = stats["latency"]["udp"]["at_once"]["buckets"].as_array().expect("a list");
    assert_eq!(buckets.iter().map(|bucket| bucket[1].as_u64().expect("a number")).sum::<u64>(), 2, "{stats}");
    // What is told as dropped is counted under these names.
    for counter in ["udp_kernel_drops", "udp_oversize", "udp_bad_source", "udp_unheard", "udp_send_dropped"] {
        assert_eq!(stats["rim"][counter], json!(0), "{stats}");
    }
    let entries = well(&server, "GET", "/cache/entries?below=test", "");
    let mut names: Vec<&str> =
        entries["entries"].as_array().expect("a list").iter().filter_map(|entry| entry["name"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["a.test.", "b.test."], "{entries}");
    let found = well(&server, "GET", "/cache/lookup?name=A.test", "");
    let record = found["entries"][0]["records"][0].clone();
    assert_eq!(record["section"], "answer", "{found}");
    let text = record["text"].as_str().expect("a text");
    assert!(text.starts_with("a.test. ") && text.ends_with(" IN A 192.0.2.7"), "{found}");
    wait_until("the queries are logged", || {
        let queries = well(&server, "GET", "/queries", "");
        queries["queries"].as_array().is_some_and(|rows| rows.len() == 4)
    });
    let resolved = well(&server, "GET", "/queries?outcome=resolved&name=test&subtree=true&limit=1", "");
    assert_eq!(
        (&resolved["queries"][0]["name"], resolved["next"].is_string()),
        (&json!("b.test."), true),
        "{resolved}"
    );
    assert_eq!(resolved["queries"][0]["upstream"], json!(format!("udp://{}", upstream.address)), "{resolved}");
    assert_eq!(server.answer("nothing.z.test", "A").rcode(), NXDOMAIN);
    wait_until("the denial is logged", || {
        let denied = well(&server, "GET", "/queries?rcode=NXDOMAIN", "");
        denied["queries"][0]["rcode"] == json!("NXDOMAIN") && denied["queries"][0]["name"] == json!("nothing.z.test.")
    });
    let top = well(&server, "GET", "/queries/top?of=names&limit=1", "");
    assert_eq!(top, json!({ "of": "names", "ranked": [{ "value": "a.test.", "queries": 2 }], "error": 0 }));
    let series = well(&server, "GET", "/queries/series?bucket=3600", "");
    let all =
        series["buckets"].as_array().expect("a list").iter().map(|bucket| bucket["queries"].as_u64().unwrap_or(0));
    assert_eq!(all.sum::<u64>(), 5, "{series}");
}

#[test]
fn zones_configuration_and_log_are_shown_and_changed() {
    let upstream = answering();
    let server = serving(&upstream);
    let zones = well(&server, "GET", "/zones", "");
    assert_eq!((&zones["total"], &zones["next"]), (&json!(1), &Value::Null), "{zones}");
    let zone = well(&server, "GET", "/zones/z.test", "");
    assert_eq!((&zone["serial"], &zone["kind"], &zone["state"]), (&json!(1), &json!("primary"), &json!("served")));
    server.replace("z.zone", &ZONE.replace("h 1 ", "h 2 "));
    assert_eq!(well(&server, "POST", "/zones/z.test/reload", ""), json!({ "asking": false, "faults": [] }));
    assert_eq!(well(&server, "GET", "/zones/z.test", "")["serial"], 2);
    let toml = well(&server, "GET", "/config", "")["toml"].as_str().expect("a text").to_owned();
    assert!(toml.contains("name = \"z.test.\"") && !toml.contains(TOKEN), "{toml}");
    assert_eq!(well(&server, "PUT", "/log", r#"{"level": "debug"}"#), json!({ "level": "debug" }));
    assert!(server.reload());
    assert_eq!(well(&server, "GET", "/log", ""), json!({ "level": "info" }));
    let description = well(&server, "GET", "/openapi.json", "");
    assert_eq!(description["servers"][0]["url"], "/api/v1");
}

#[test]
fn nobody_is_let_in_who_should_not_be() {
    let upstream = answering();
    let server = serving(&upstream);
    let pages = server.pages;
    let flush = |head: &[&str]| {
        let body = r#"{"all": true}"#;
        let length = format!("Content-Length: {}\r\n\r\n{body}", body.len());
        at(pages, "POST /api/v1/cache/flush", &[head, &[&length]].concat())
    };
    assert_eq!(flush(&[HOST, BEARER]).0, 200);
    let (status, head, problem) = flush(&[HOST]);
    assert_eq!((status, &problem["title"]), (401, &json!("Unauthorized")));
    assert!(head.contains("\r\nwww-authenticate: Bearer realm=\"ringdns\""), "{head}");
    assert!(head.contains("\r\nconnection: close"), "{head}");
    let began = Instant::now();
    let (status, head, _) = flush(&[HOST, "Authorization: Bearer 0123456789abcdef-tokem"]);
    assert_eq!(status, 403);
    assert!(head.contains("\r\nconnection: close") && began.elapsed() >= Duration::from_millis(500), "{head}");
    for head in [
        &[HOST, BEARER, "Origin: http://evil.example"][..],
        &[HOST, BEARER, "Sec-Fetch-Site: cross-site"],
        &[HOST, BEARER, BEARER],
    ] {
        assert!([401, 403].contains(&flush(head).0), "{head:?}");
    }
    for (head, status) in [
        (&["Host: evil.example"][..], 421),
        (&["Host: 127.0.0.1.evil.example"], 421),
        (&[][..], 400),
        (&[HOST, HOST], 400),
        (&[HOST, "Origin: http://evil.example"], 200),
        (&[HOST, "Sec-Fetch-Site: cross-site"], 403),
    ] {
        let (answered, head_back, _) = at(pages, "GET /api/v1/log", head);
        assert_eq!(answered, status, "{head:?}");
        assert!(!head_back.to_ascii_lowercase().contains("access-control"), "{head_back}");
    }
    let control = well(&server, "GET", "/status", "")["control"].clone();
    assert_eq!((&control["refused"], &control["wrong_tokens"]), (&json!(10), &json!(1)));
}

#[test]
fn from_elsewhere_everything_needs_the_token() {
    let upstream = answering();
    let port = free_port().port();
    let control = format!("listen = \"0.0.0.0:{port}\"\nhosts = [\"dns.example.test\"]\n");
    let server = Server::start(&configuration(upstream.address, &control), &[("token", TOKEN), ("z.zone", ZONE)]);
    let pages = SocketAddr::from(([127, 0, 0, 1], port));
    for path in ["/health", "/ready", "/metrics", "/api/v1/status", "/api/v1/openapi.json", "/nothing"] {
        let wish = format!("GET {path}");
        assert_eq!(at(pages, &wish, &[HOST]).0, 401, "{path}");
        let answered = at(pages, &wish, &["Host: dns.example.test", BEARER]).0;
        assert_eq!(answered, if path == "/nothing" { 404 } else { 200 }, "{path}");
    }
    drop(server);
}

#[test]
fn a_thousand_idle_connections_keep_nobody_out_and_answers_come() {
    const IDLE: usize = 1_000;
    let upstream = answering();
    let server = serving(&upstream);
    // Half of them begin to ask, and go no further.
    let idle = |index: usize| {
        let mut stream = connect(server.pages);
        if index.is_multiple_of(2) {
            // It may be closed already, to make room.
            let _ = stream.write_all(b"GET /health HTTP/1.1\r\nHo");
        }
        stream
    };
    let held: Vec<TcpStream> = (0..IDLE).map(idle).collect();
    let began = Instant::now();
    assert_eq!(at(server.pages, "GET /health", &[HOST]).0, 200);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(server.answer("www.z.test", "A").rcode(), NOERROR);
    let put_out = well(&server, "GET", "/status", "")["control"]["put_out"].as_u64().expect("a number");
    assert!(put_out >= IDLE as u64 / 2, "{put_out}");
    drop(held);
}

#[test]
fn who_asks_without_a_token_keeps_nobody_out_who_has_it() {
    const ASKING: usize = 100;
    let upstream = answering();
    let port = free_port().port();
    let control = format!("listen = \"0.0.0.0:{port}\"\n");
    let server = Server::start(&configuration(upstream.address, &control), &[("token", TOKEN), ("z.zone", ZONE)]);
    let pages = SocketAddr::from(([127, 0, 0, 1], port));
    let (is_over, end) = (AtomicBool::new(false), Instant::now() + Duration::from_secs(60));
    let goes_on = || !is_over.load(Ordering::Relaxed) && Instant::now() < end;
    thread::scope(|scope| {
        // Each asks again as soon as it is turned away, over the same connection where it can.
        let asks = || {
            while goes_on() {
                let Ok(mut stream) = TcpStream::connect_timeout(&pages, PATIENCE) else { continue };
                let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
                let mut answer = [0; 4_096];
                while goes_on()
                    && stream.write_all(b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n").is_ok()
                    && stream.read(&mut answer).is_ok_and(|octets| octets > 0)
                {
                    thread::sleep(Duration::from_millis(20));
                }
                thread::sleep(Duration::from_millis(20));
            }
        };
        (0..ASKING).for_each(|_| drop(scope.spawn(asks)));
        thread::sleep(Duration::from_millis(500));
        let began = Instant::now();
        let answered: Vec<u16> = (0..5).map(|_| at(pages, "GET /ready", &[HOST, BEARER]).0).collect();
        let took = began.elapsed();
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(answered, [200; 5], "{took:?}");
        assert!(took < Duration::from_secs(5), "{took:?}");
    });
    drop(server);
}

#[test]
fn octets_of_any_kind_harm_nobody() {
    let upstream = answering();
    let server = serving(&upstream);
    let deep = "[".repeat(16 << 10);
    let long = "a".repeat(64 << 10);
    for (request, status) in [
        (format!("GET /api/v1/queries?name={long} HTTP/1.1\r\nHost: localhost\r\n\r\n"), 431),
        ("GET /api/v1/zones/%00%ff HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_owned(), 400),
        ("GET /api/v1/zones/..%2f..%2fetc HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_owned(), 400),
        ("GET /api/v1/queries?from=%F0%9F%A6%80 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".into(), 400),
        ("\0\0\0\r\n\r\n".to_owned(), 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), 400),
        (
            format!(
                "POST /api/v1/drain HTTP/1.1\r\nHost: localhost\r\n{BEARER}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{deep}",
                deep.len()
            ),
            400,
        ),
        (
            format!(
                "POST /api/v1/drain HTTP/1.1\r\nHost: localhost\r\n{BEARER}\r\nConnection: close\r\nContent-Length: 99999999999\r\n\r\n"
            ),
            413,
        ),
    ] {
        let (answered, _, problem) = exchanged(connect(server.pages), &request);
        // Where octets are left unread, the kernel may take the answer away with the connection.
        assert!([status, 0].contains(&answered), "{answered} for {:?}: {problem}", &request[..60.min(request.len())]);
    }
    assert_eq!(at(server.pages, "GET /health", &[HOST]).0, 200);
}

#[test]
fn the_doors_move_with_a_reload() {
    let upstream = answering();
    let first = free_port();
    let (second, taken) = (free_port(), TcpListener::bind("127.0.0.1:0").expect("a port"));
    let taken_at = taken.local_addr().expect("an address");
    let at_address = |address: SocketAddr| {
        configuration(upstream.address, &format!("listen = \"{address}\"\nsocket = \"ctl.sock\"\n"))
    };
    let server = Server::start(&at_address(first), &[("token", TOKEN), ("z.zone", ZONE)]);
    let is_open = |address| TcpStream::connect(address).is_ok();
    assert!(is_open(first));
    server.replace("r.toml", &at_address(second));
    let told = well(&server, "POST", "/reload", "");
    assert_eq!((&told["faults"], &told["needs_restart"]), (&json!([]), &json!([])));
    assert_eq!(at(second, "GET /health", &[HOST]).0, 200);
    wait_until("the old door is shut", || !is_open(first));
    server.replace("r.toml", &at_address(taken_at));
    let told = well(&server, "POST", "/reload", "");
    let why = told["faults"][0]["message"].as_str().expect("a text");
    assert!(why.contains("`listen` in [control]") && why.contains(&format!("it stays at {second}")), "{why}");
    assert_eq!(at(second, "GET /health", &[HOST]).0, 200);
    assert_eq!(well(&server, "GET", "/status", "")["reloads"], json!({ "done": 1, "failed": 1 }));
    drop(taken);
    thread::sleep(Duration::from_millis(10));
    let told = well(&server, "POST", "/reload", "");
    assert_eq!(told["faults"], json!([]), "what was in the way has gone");
    assert_eq!(at(taken_at, "GET /health", &[HOST]).0, 200);
}
