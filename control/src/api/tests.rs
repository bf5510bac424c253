//! The interface over real connections, by both doors.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ringdns_shard::cache::{Cached, Flush, Looked};
use ringdns_shard::wire::name::Name;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::asked::BODY_OCTETS_MAX;
use super::reloads::{self, Outcome, Reloads};
use super::*;
use crate::config::{Fault, Faults, Place, Refused, Settings};
use crate::configuration::Configuration;
use crate::cores::Cores;
use crate::cores::fake::Fake;
use crate::http::{Doors, OpenDoors, Turns};
use crate::load::ZoneFaults;
use crate::orders::{self, NotBegun, Order, Orders, ZoneKind, ZonePage, ZoneReload, ZoneState, ZoneView};
use crate::plane::{NotReloaded, Reloaded};
use crate::socket::ControlSocket;
use crate::status::Board;
use crate::zones::Report;

mod description;

const TOKEN: &str = "0123456789abcdef";

/// An interface that is served on a thread which lives as long as the test's process.
struct Scene {
    address: SocketAddr,
    socket: PathBuf,
    cores: Arc<Fake>,
    access: Arc<Access>,
    board: Arc<Board>,
    configuration: Arc<Configuration>,
    folder: tempfile::TempDir,
}

/// Settings with these lines in [control].
fn settings(folder: &Path, control: &str) -> Settings {
    std::fs::write(folder.join("token"), TOKEN).unwrap();
    crate::config::parse("r.toml", &format!("[control]\n{control}\n"), folder).unwrap()
}

fn bare_settings() -> Settings {
    crate::config::parse("r.toml", "", Path::new("/")).unwrap()
}

/// A process with three zones, which has to think for two seconds of what follows `slow.test`. It has a file for its cache, reads `a.test` anew, asks about `b.test`, and is busy with
/// `c.test`.
async fn process(mut orders: Orders, configuration: Arc<Configuration>) {
    while let Some(order) = orders.next().await {
        let view = |name: &str| ZoneView {
            name: format!("{name}."),
            kind: ZoneKind::Primary,
            state: ZoneState::Served,
            troubled: false,
            member: false,
            serial: Some(7),
            names: 2,
            records: 3,
            octets: 100,
            expires_in: None,
        };
        let all = ["a.test", "b.test", "c.test"];
        let is = |name: &Name, text: &str| *name == text.parse().unwrap();
        let _ = match order {
            Order::Zones { after, limit, told } => {
                if after.as_ref().is_some_and(|after| is(after, "slow.test")) {
                    tokio::time::sleep(Duration::from_secs(2)).await;
                }
                let begin =
                    after.map_or(0, |after| all.iter().take_while(|name| after >= name.parse().unwrap()).count());
                let zones: Vec<ZoneView> = all[begin..].iter().take(limit).map(|name| view(name)).collect();
                let more = begin + zones.len() < all.len();
                told.send(ZonePage { zones, total: all.len(), more }).is_ok()
            }
            Order::Zone(name, told) => told.send(all.into_iter().find(|one| is(&name, one)).map(view)).is_ok(),
            Order::ReloadZone(name, told) if is(&name, "a.test") => {
                let read = Outcome::of(&Ok(Reloaded { faults: faults(), ..Reloaded::default() }), &[]);
                told.send(Ok(ZoneReload::Read(read))).is_ok()
            }
            Order::ReloadZone(name, told) if is(&name, "b.test") => told.send(Ok(ZoneReload::Asking)).is_ok(),
            Order::ReloadZone(name, told) if is(&name, "c.test") => {
                told.send(Err(NotBegun::Impossible("a reload is under way"))).is_ok()
            }
            Order::ReloadZone(_, told) => told.send(Err(NotBegun::Unknown)).is_ok(),
            Order::Drain(_, told) | Order::ForgetDump(told) => told.send(()).is_ok(),
            Order::DumpCache(told) => told.send(Ok(77)).is_ok(),
            Order::Settings(told) => told.send(Arc::clone(&configuration)).is_ok(),
        };
    }
}

fn faults() -> Vec<ZoneFaults> {
    vec![ZoneFaults { zone: "a.test.".to_owned(), lines: vec!["a.zone:1:1: no SOA".to_owned()] }]
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
    let (desk, orders) = orders::channel();
    let pages = Pages {
        cores: cores_seen,
        board: Arc::clone(&board),
        access: Arc::clone(&access),
        reloads: wishes,
        orders: desk,
        query_log: None,
        dnstap: None,
        started,
        turns: Turns::default(),
    };
    let settings = settings(folder.path(), "");
    access.want(&settings.control);
    let configuration = Arc::new(Configuration::new(bare_settings()));
    let in_force = Arc::clone(&configuration);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let _open: OpenDoors = doors.open(pages).unwrap();
            tokio::spawn(process(orders, in_force));
            while let Some(asker) = reloads.wished().await {
                reloads.wait(asker, false);
                reloads.tell(&report(), &[]);
            }
        });
    });
    Scene { address, socket, cores, access, board, configuration, folder }
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
        "{method} /api/v1{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
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
        self.access.want(&settings(self.folder.path(), "token_file = \"token\"").control);
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
        ("/cache/octets_max", json!(2000)),
        ("/cache/hits", json!(81)),
        ("/draining", json!(false)),
        ("/query_log/enabled", json!(false)),
        ("/dnstap/connected", json!(false)),
        ("/control", json!({ "refused": 0, "wrong_tokens": 0, "put_out": 0 })),
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
    for (path, body) in [("/cache/flush", flush), ("/reload", "")] {
        let (code, problem) = scene.at_address("POST", path, &bearer, body);
        let detail = problem["detail"].as_str().unwrap();
        assert_eq!((code, &problem["title"]), (403, &json!("Forbidden")));
        assert!(detail.contains("`token_file` in [control]") && detail.contains("`socket`"), "{detail}");
        assert_eq!(scene.at_socket("POST", path, body).0, 200);
    }
    scene.set_token();
    for (headers, status) in [
        ("", 401),
        ("Authorization: Bearer 0123456789abcdeg\r\n", 403),
        ("Authorization: Basic 0123456789abcdef\r\n", 401),
    ] {
        let (code, problem) = scene.at_address("POST", "/cache/flush", headers, flush);
        let detail = problem["detail"].as_str().unwrap();
        assert_eq!(code, status);
        assert!(detail.contains("`token_file`") && detail.contains("`socket`") && !detail.contains(TOKEN), "{detail}");
    }
    assert_eq!((scene.access.refused(), scene.access.wrong_tokens()), (5, 1));
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
        ("GET", "/stat", "", 404, "there is no `/stat`; known below /api/v1: /openapi.json, /status"),
        ("POST", "/status", "", 405, "takes GET"),
        ("GET", "/cache/flush", "", 405, "POST"),
        ("GET", "/status?x=1", "", 400, "unknown field `x`"),
        ("GET", "/cache/lookup", "", 400, "`name` is missing"),
        ("GET", "/cache/lookup?name=a..b", "", 400, "`name`: `a..b` is no domain name"),
        ("GET", "/cache/lookup?nam=a", "", 400, "unknown field `nam`, expected `name`"),
        ("GET", "/cache/entries?limit=0", "", 400, "`limit`: found `0`; accepted: a number from 1 to 1000"),
        ("GET", "/cache/entries?limit=1001", "", 400, "`limit`"),
        ("GET", "/cache/entries?limit=1&limit=1", "", 400, "duplicate field `limit`"),
        ("GET", "/cache/entries?cursor=7", "", 400, "`cursor`: found `7`"),
        ("GET", "/cache/entries?cursor=2-0-0", "", 400, "there is no core 2"),
        ("GET", "/zones?after=a..b", "", 400, "`after`: `a..b` is no domain name"),
        ("GET", "/zones/d.test", "", 404, "there is no zone d.test."),
        ("GET", "/zones/a..b", "", 400, "the name in the path: `a..b`"),
        ("GET", "/zones/%ff", "", 400, "the name in the path is not UTF-8"),
        ("POST", "/zones/d.test/reload", "", 404, "there is no zone d.test."),
        ("POST", "/zones/c.test/reload", "", 409, "a reload is under way"),
        ("POST", "/zones/a.test/reload", "{}", 400, "takes no body"),
        ("POST", "/drain", "", 400, "the body is no JSON"),
        ("POST", "/drain", "{}", 400, "`seconds` is missing"),
        ("POST", "/drain", r#"{"seconds": -1}"#, 400, "`seconds` is missing, or no number in its range"),
        ("POST", "/drain", r#"{"seconds": 3601}"#, 400, "from 0 to 3600"),
        ("POST", "/drain", r#"{"seconds": "1"}"#, 400, "`seconds`"),
        ("POST", "/drain", r#"{"second": 1}"#, 400, "`second` is not known"),
        ("PUT", "/log", r#"{"level": "loud"}"#, 400, "`level` is missing, or none that there is"),
        ("PUT", "/log", r#"{"level": 3}"#, 400, "`level`"),
        ("PUT", "/log", r#"{"level": "info", "for": 1}"#, 400, "`for` is not known"),
        ("GET", "/queries", "", 409, "no queries are logged"),
        ("GET", "/queries/series?bucket=0", "", 400, "`bucket`: found `0`"),
        ("GET", "/queries/series?limit=1", "", 400, "unknown field `limit`"),
        ("GET", "/queries/top?of=everything", "", 400, "`of`: found `everything`; accepted: names"),
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
    write!(stream, "POST /api/v1/cache/flush HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{{").unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 408");
}

#[test]
fn a_reload_answers_with_what_came_of_it() {
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
    reloads.tell(&Err(NotReloaded::Bug), &[]);
    assert!(matches!(first.try_recv(), Ok(Outcome::Failed(_))));
    assert!(second.try_recv().is_err());
    reloads.tell(&nothing_new(), &[]);
    assert!(matches!(second.try_recv(), Ok(Outcome::InForce(_))));
}

#[test]
fn what_a_door_that_stays_shut_says_is_in_the_answer() {
    let Outcome::InForce(told) = Outcome::of(&nothing_new(), &["`listen` in [control]: no".to_owned()]) else {
        panic!("it is in force")
    };
    let told = serde_json::to_value(told).unwrap();
    assert_eq!(told["faults"], json!([{ "message": "`listen` in [control]: no" }]));
}

#[test]
fn cores_and_stats_say_what_was_counted() {
    let scene = serving(nothing_new);
    let (code, cores) = scene.at_address("GET", "/cores", "", "");
    assert_eq!(code, 200);
    for (pointer, value) in [
        ("/cores/0/cpu", json!(4)),
        ("/cores/0/cpu_seconds", json!(1.5)),
        ("/cores/0/queries", json!({ "udp": 0, "tcp": 0 })),
        ("/cores/0/replies/REFUSED", json!(0)),
        ("/cores/0/types/AAAA", json!(0)),
        ("/cores/0/latency/tcp/waited/p99_us", json!(null)),
        ("/cores/0/round_trips/count", json!(0)),
        ("/cores/0/queues/waiters", json!(5)),
        ("/cores/0/drops/kernel", json!(0)),
        ("/cores/1/cache/hits", json!(41)),
    ] {
        assert_eq!(cores.pointer(pointer), Some(&value), "{pointer} in {cores}");
    }
    scene.cores.awake.store(false, Ordering::Relaxed);
    let (_, stats) = scene.at_address("GET", "/stats", "", "");
    for (pointer, value) in [
        ("/cores_answering", json!(1)),
        ("/cores/0/cpu_us", json!(1_500_000)),
        ("/cores/1", json!({ "core": 1, "answers": false })),
        ("/queues/questions_in_flight", json!(3)),
        ("/cache/hits", json!(40)),
        ("/counters/cache_hits", json!(40)),
        ("/rim/udp_sent", json!(7)),
        ("/latency/udp/at_once", json!({ "count": 0, "sum_us": 0, "buckets": [] })),
    ] {
        assert_eq!(stats.pointer(pointer), Some(&value), "{pointer} in {stats}");
    }
    assert!(stats["now_us"].as_u64().is_some_and(|now| now >= 75_000_000), "{stats}");
}

#[test]
fn zones_are_listed_in_parts_and_read_anew() {
    let scene = serving(nothing_new);
    let (mut after, mut names) = (String::new(), Vec::new());
    loop {
        let (code, part) = scene.at_socket("GET", &format!("/zones?limit=2{after}"), "");
        assert_eq!((code, &part["total"]), (200, &json!(3)));
        names.extend(part["zones"].as_array().unwrap().iter().map(|zone| zone["name"].as_str().unwrap().to_owned()));
        let Some(next) = part["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(names, ["a.test.", "b.test.", "c.test."]);
    let (code, zone) = scene.at_socket("GET", "/zones/B%2etest", "");
    assert_eq!((code, &zone["kind"], &zone["state"]), (200, &json!("primary"), &json!("served")));
    let fault = json!([{ "zone": "a.test.", "message": "a.zone:1:1: no SOA" }]);
    let read = scene.at_socket("POST", "/zones/a.test/reload", "");
    assert_eq!(read, (200, json!({ "asking": false, "faults": fault })));
    let asked = scene.at_socket("POST", "/zones/b.test/reload", "");
    assert_eq!(asked, (200, json!({ "asking": true, "faults": [] })));
}

#[test]
fn a_configuration_that_is_long_in_the_making_holds_nobody_up() {
    let scene = serving(nothing_new);
    let scene = &scene;
    std::thread::scope(|scope| {
        let (begun, has_begun) = std::sync::mpsc::channel();
        let (release, held) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            scene.configuration.page(|_| {
                begun.send(()).unwrap();
                let _ = held.recv();
                Page::of(&json!({ "toml": "long" })).0
            })
        });
        has_begun.recv().unwrap();
        let asking = scope.spawn(|| scene.at_socket("GET", "/config", ""));
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(scene.at_socket("GET", "/zones/a.test", "").0, 200);
        assert!(!asking.is_finished());
        drop(release);
        assert_eq!(asking.join().unwrap(), (200, json!({ "toml": "long" })));
    });
}

#[test]
fn few_wait_for_a_list_of_zones() {
    let scene = serving(nothing_new);
    let scene = &scene;
    std::thread::scope(|scope| {
        let slow = || scene.at_socket("GET", "/zones?after=slow.test", "").0;
        // One has its turn, others wait.
        let asking: Vec<_> = (0..20).map(|_| scope.spawn(slow)).collect();
        std::thread::sleep(Duration::from_secs(1));
        let begun = Instant::now();
        let (code, problem) = scene.at_socket("GET", "/zones", "");
        assert_eq!((code, problem["detail"].as_str().unwrap().contains("too much is being asked")), (503, true));
        assert_eq!(scene.at_socket("GET", "/zones/a.test", "").0, 200);
        assert!(begun.elapsed() < Duration::from_secs(3));
        let codes: Vec<u16> = asking.into_iter().map(|asking| asking.join().unwrap()).collect();
        let refused = codes.iter().filter(|code| **code == 503).count();
        assert!(
            codes.contains(&200) && refused >= 3 && codes.iter().all(|code| [200, 503].contains(code)),
            "{codes:?}"
        );
    });
}

#[test]
fn the_cache_is_listed_core_by_core_and_looked_up() {
    let scene = serving(nothing_new);
    let (mut cursor, mut cores) = (String::new(), Vec::new());
    loop {
        let (code, part) = scene.at_socket("GET", &format!("/cache/entries?below=example.test&limit=2{cursor}"), "");
        assert_eq!(code, 200);
        cores.extend(part["entries"].as_array().unwrap().iter().map(|entry| entry["core"].as_u64().unwrap()));
        let Some(next) = part["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
        assert!(cores.len() <= 6, "it comes to an end");
    }
    assert_eq!(cores, [0, 0, 0, 1, 1, 1]);
    let entry = json!({
        "core": 0, "name": "www.example.test.", "type": "A", "dnssec_ok": false, "checking_disabled": false,
        "rcode": "NOERROR", "seconds_left": 60, "octets": 100, "records": [], "records_left_out": 0,
    });
    let found = json!({ "name": "www.example.test.", "entries": [entry], "entries_left_out": 0, "cores_silent": [] });
    assert_eq!(scene.at_socket("GET", "/cache/lookup?name=WWW.example.test", ""), (200, found));
    scene.cores.awake.store(false, Ordering::Relaxed);
    let (_, found) = scene.at_socket("GET", "/cache/lookup?name=www.example.test", "");
    assert_eq!(found["cores_silent"], json!([1]));
    let (code, problem) = scene.at_socket("GET", "/cache/entries", "");
    assert_eq!((code, problem["detail"].as_str().unwrap().contains("no answer in time from core 0")), (503, true));
}

#[test]
fn of_a_name_that_is_full_of_long_answers_some_are_told() {
    const ANSWERS: usize = 64;
    let scene = serving(nothing_new);
    let name: Name = "full.example.test".parse().unwrap();
    // As many records as an answer takes, each with one octet of data that is shown as four.
    let mut message = vec![0, 0, 0x80, 0x80, 0, 1, 0, 100, 0, 0, 0, 0];
    message.extend_from_slice(&[name.as_wire(), &[0, 16, 0, 1]].concat());
    (0..100).for_each(|_| {
        message.extend_from_slice(b"\xc0\x0c\0\x10\0\x01\0\0\0\x3c\0\x78\x77");
        message.extend_from_slice(&[7; 0x77]);
    });
    let answer = Cached { message, ..Cached::sample(&name) };
    *scene.cores.looked.lock().unwrap() = Some(Looked { answers: vec![answer; ANSWERS], left_out: 3 });
    let (code, found) = scene.at_socket("GET", "/cache/lookup?name=full.example.test", "");
    assert_eq!((code, &found["entries_left_out"]), (200, &json!(6)));
    let entries = found["entries"].as_array().unwrap();
    let records = |entry: &Value| entry["records"].as_array().unwrap().len();
    let shown: usize = entries.iter().map(records).sum();
    let left_out: u64 = entries.iter().map(|entry| entry["records_left_out"].as_u64().unwrap()).sum();
    assert_eq!((entries.len(), shown + left_out as usize), (2 * ANSWERS, 2 * ANSWERS * 100));
    assert_eq!((records(&entries[0]), records(&entries[2 * ANSWERS - 1])), (100, 0));
    let octets = found.to_string().len();
    assert!((1 << 20..3 << 20).contains(&octets), "{octets}");
}

#[test]
fn the_process_is_told_what_to_do() {
    let scene = serving(nothing_new);
    assert_eq!(
        scene.at_socket("POST", "/drain", r#"{"seconds": 30}"#),
        (200, json!({ "draining": true, "seconds": 30 }))
    );
    assert_eq!(scene.at_socket("POST", "/cache/dump", ""), (200, json!({ "octets": 77 })));
    assert_eq!(scene.at_socket("GET", "/config", ""), (200, json!({ "toml": bare_settings().to_toml() })));
    let (code, upstreams) = scene.at_socket("GET", "/upstreams", "");
    assert_eq!((code, &upstreams["upstreams"][0]["server"]), (200, &json!("udp://192.0.2.1:53")));
    let (code, cache) = scene.at_socket("GET", "/cache", "");
    assert_eq!((code, &cache["entries"], &cache["cores"][1]["entries"]), (200, &json!(2), &json!(1)));
    assert_eq!(scene.at_socket("PUT", "/log", r#"{"level": "Debug"}"#), (200, json!({ "level": "debug" })));
    assert_eq!(scene.at_socket("GET", "/log", ""), (200, json!({ "level": "debug" })));
}
