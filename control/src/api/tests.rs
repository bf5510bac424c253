//! The interface over real connections, by both doors.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ringdns_shard::cache::Flush;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::reloads::{self, Outcome, Reloads};
use super::*;
use crate::config::{Fault, Faults, Place, Refused, TokenFile};
use crate::cores::Cores;
use crate::cores::fake::Fake;
use crate::http::Doors;
use crate::load::ZoneFaults;
use crate::plane::{NotReloaded, Reloaded};
use crate::socket::ControlSocket;
use crate::status::Board;
use crate::zones::Report;

const TOKEN: &str = "0123456789abcdef";

/// An interface that is served on a thread which lives as long as the test's process.
struct Scene {
    address: SocketAddr,
    socket: PathBuf,
    cores: Arc<Fake>,
    access: Arc<Access>,
    board: Arc<Board>,
    folder: tempfile::TempDir,
}

/// Each reload ends as `report` says, one after the other.
fn serving(report: impl Fn() -> Report + Send + 'static) -> Scene {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("control");
    let doors = Doors {
        address: Some(std::net::TcpListener::bind("127.0.0.1:0").unwrap()),
        socket: Some(ControlSocket::bind(&socket).unwrap()),
    };
    let address = doors.address.as_ref().unwrap().local_addr().unwrap();
    let (cores, access, board) = (Arc::new(Fake::default()), Arc::<Access>::default(), Arc::new(Board::default()));
    board.change(|status| {
        status.pools = ["origin".into(), "nowhere".into()].into();
        (status.totals.served, status.reloads_failed) = (2, 1);
    });
    let (wishes, mut reloads) = reloads::channel();
    let cores_seen: Arc<dyn Cores> = Arc::clone(&cores) as Arc<dyn Cores>;
    let started = Instant::now() - Duration::from_secs(75);
    let pages =
        Pages { cores: cores_seen, board: Arc::clone(&board), access: Arc::clone(&access), reloads: wishes, started };
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            doors.open(&pages).unwrap();
            while let Some(asker) = reloads.wished().await {
                reloads.wait(asker, false);
                reloads.tell(&report());
            }
        });
    });
    Scene { address, socket, cores, access, board, folder }
}

/// Status and object of an answer.
fn exchanged(mut stream: impl Read + Write, request: &str) -> (u16, Value) {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
    let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
    let media = if status == 200 { "content-type: application/json" } else { "content-type: application/problem+json" };
    assert!(head.lines().any(|line| line == media), "{answer}");
    let object: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"));
    if status != 200 {
        assert_eq!(object["status"], status, "{answer}");
    }
    (status, object)
}

fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    format!(
        "{method} /api/v1{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

impl Scene {
    fn at_address(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, Value) {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        exchanged(stream, &request(method, path, headers, body))
    }

    fn at_socket(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        exchanged(stream, &request(method, path, "", body))
    }

    fn set_token(&self) {
        let file = self.folder.path().join("token");
        std::fs::write(&file, TOKEN).unwrap();
        self.access.set_token(Some(TokenFile::read(&file).unwrap().token));
    }
}

fn nothing_new() -> Report {
    Ok(Reloaded::default())
}

#[test]
fn status_tells_of_cores_cache_and_upstreams_without_a_token() {
    let scene = serving(nothing_new);
    scene.set_token();
    let (code, status) = scene.at_address("GET", "/status", "", "");
    assert_eq!(code, 200);
    assert!(status["uptime_seconds"].as_u64().is_some_and(|seconds| seconds >= 75), "{status}");
    for (pointer, value) in [
        ("/version", json!(env!("CARGO_PKG_VERSION"))),
        ("/cores_answering", json!(2)),
        ("/cores/1/cpu", json!(5)),
        ("/cores/1/cache/octets", json!(100)),
        ("/questions_in_flight", json!(6)),
        ("/cache", json!({ "entries": 2, "octets": 200, "octets_max": 2000, "hits": 81, "misses": 0 })),
        ("/pools", json!([{ "name": "origin", "servers": 1 }, { "name": "nowhere", "servers": 0 }])),
        ("/upstreams/0/server", json!("udp://192.0.2.1:53")),
        ("/upstreams/0/pools", json!(["origin"])),
        ("/upstreams/0/standing", json!("down")),
        ("/upstreams/0/since_seconds", json!(60)),
        ("/upstreams/0/cores_up", json!(1)),
        ("/upstreams/0/cores_down", json!(1)),
        ("/upstreams/0/round_trip_us", json!(5000)),
        ("/upstreams/0/loss_percent", json!(10)),
        ("/upstreams/0/asked", json!(20)),
        ("/upstreams/0/by_core/0/standing", json!("up")),
        ("/upstreams/0/by_core/1/standing", json!("down")),
        ("/upstreams_left_out", json!(0)),
        ("/zones/served", json!(2)),
        ("/reloads", json!({ "done": 0, "failed": 1 })),
    ] {
        assert_eq!(status.pointer(pointer), Some(&value), "{pointer} in {status}");
    }
    scene.cores.awake.store(false, Ordering::Relaxed);
    let (code, status) = scene.at_socket("GET", "/status", "");
    assert_eq!((code, &status["cores_answering"]), (200, &json!(1)));
    assert_eq!(status["cores"][1], json!({ "core": 1, "answers": false }));
    assert_eq!(status["upstreams"][0]["standing"], "up");
}

#[test]
fn changes_come_with_the_token_or_over_the_socket() {
    let scene = serving(nothing_new);
    let flush = r#"{"name": "www.example.test", "subtree": true}"#;
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    for path in ["/cache/flush", "/reload"] {
        let (code, problem) = scene.at_address("POST", path, &bearer, flush);
        let detail = problem["detail"].as_str().unwrap();
        assert_eq!((code, &problem["title"]), (403, &json!("Forbidden")));
        assert!(detail.contains("`token_file` in [control]") && detail.contains("`socket`"), "{detail}");
        assert_eq!(scene.at_socket("POST", path, flush).0, 200);
    }
    scene.set_token();
    for headers in ["", "Authorization: Bearer 0123456789abcdeg\r\n", "Authorization: Basic 0123456789abcdef\r\n"] {
        let (code, problem) = scene.at_address("POST", "/cache/flush", headers, flush);
        let detail = problem["detail"].as_str().unwrap();
        assert_eq!(code, 403);
        assert!(detail.contains("`token_file`") && detail.contains("`socket`") && !detail.contains(TOKEN), "{detail}");
    }
    assert_eq!(scene.access.refused(), 5);
    assert_eq!(scene.at_address("POST", "/cache/flush", &bearer, flush), (200, json!({ "flushed": 7 })));
    let name = || "www.example.test".parse().unwrap();
    assert_eq!(*scene.cores.flushes.lock().unwrap(), [Flush::Subtree(name()), Flush::Subtree(name())]);
    scene.cores.awake.store(false, Ordering::Relaxed);
    let (code, problem) = scene.at_socket("POST", "/cache/flush", r#"{"all": true}"#);
    assert_eq!(code, 503);
    assert_eq!(problem["detail"], "not all is flushed: no answer in time from core 1; ask again");
}

#[test]
fn nothing_is_flushed_while_the_cache_is_being_read() {
    let scene = serving(nothing_new);
    scene.board.change(|status| status.is_restoring = true);
    let (code, problem) = scene.at_socket("POST", "/cache/flush", r#"{"all": true}"#);
    let detail = problem["detail"].as_str().unwrap();
    assert_eq!((code, detail), (503, "the cache is being read from its file; ask again in a moment"));
    assert!(scene.cores.flushes.lock().unwrap().is_empty());
    scene.board.change(|status| status.is_restoring = false);
    assert_eq!(scene.at_socket("POST", "/cache/flush", r#"{"all": true}"#).0, 200);
}

#[test]
fn what_is_asked_wrongly_is_a_problem() {
    let scene = serving(nothing_new);
    for (method, path, body, code, part) in [
        ("GET", "/stat", "", 404, "GET /status"),
        ("POST", "/status", "", 405, "takes GET"),
        ("GET", "/cache/flush", "", 405, "POST"),
        ("POST", "/cache/flush", "", 400, "no JSON"),
        ("POST", "/cache/flush", r#"{"name": "a..b"}"#, 400, "no domain name"),
        ("POST", "/cache/flush", &" ".repeat(BODY_OCTETS_MAX + 1), 413, "more than 16384 octets"),
        ("POST", "/cache/flush", &"[".repeat(BODY_OCTETS_MAX), 400, "no JSON"),
    ] {
        let (answered, problem) = scene.at_socket(method, path, body);
        assert_eq!(answered, code, "{method} {path}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(part)), "{problem}");
    }
    assert!(scene.cores.flushes.lock().unwrap().is_empty());
    // A body that does not come holds nothing up for long.
    let mut stream = UnixStream::connect(&scene.socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(stream, "POST /api/v1/cache/flush HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{{").unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 408");
}

#[test]
fn a_reload_answers_with_what_came_of_it() {
    let faults = || vec![ZoneFaults { zone: "a.test.".to_owned(), lines: vec!["a.zone:1:1: no SOA".to_owned()] }];
    let reloaded =
        move || Ok(Reloaded { faults: faults(), waiting: vec!["`user` in [server]"], read: 2, ..Reloaded::default() });
    let told = json!({
        "zones_read": 2, "zones_unchanged": 0, "zones_faulty": 1, "needs_restart": ["`user` in [server]"],
        "faults": [{ "zone": "a.test.", "message": "a.zone:1:1: no SOA" }],
    });
    assert_eq!(serving(reloaded).at_socket("POST", "/reload", ""), (200, told));
    let mistaken = || {
        let list = vec![Fault { place: Place { line: 3, column: 4 }, message: "what".to_owned() }];
        Err(NotReloaded::Refused(Refused::Faults(Faults { file: "r.toml".to_owned(), list })))
    };
    let (code, problem) = serving(mistaken).at_socket("POST", "/reload", "");
    assert_eq!((code, &problem["title"]), (422, &json!("Unprocessable Entity")));
    assert_eq!(problem["faults"], json!([{ "file": "r.toml", "line": 3, "column": 4, "message": "what" }]));
    let (code, problem) = serving(|| Err(NotReloaded::Cores("core 1".to_owned()))).at_socket("POST", "/reload", "");
    assert_eq!((code, problem["detail"].as_str().unwrap().contains("core 1")), (503, true));
    assert_eq!(serving(|| Err(NotReloaded::Bug)).at_socket("POST", "/reload", "").0, 500);
}

/// Somebody who asks; what it is told comes out of the other end.
fn asking(reloads: &mut Reloads, is_reloading: bool) -> oneshot::Receiver<Outcome> {
    let (asker, outcome) = oneshot::channel();
    reloads.wait(asker, is_reloading);
    outcome
}

#[test]
fn who_asks_during_a_reload_hears_of_the_next_one() {
    let (_wishes, mut reloads) = reloads::channel();
    let mut first = asking(&mut reloads, false);
    let mut second = asking(&mut reloads, true);
    reloads.tell(&Err(NotReloaded::Bug));
    assert!(matches!(first.try_recv(), Ok(Outcome::Failed(_))));
    assert!(second.try_recv().is_err());
    reloads.tell(&nothing_new());
    assert!(matches!(second.try_recv(), Ok(Outcome::InForce(_))));
}
