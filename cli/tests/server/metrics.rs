//! The page of figures, read by those who read it in earnest: promtool, and a Prometheus that scrapes it.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ringdns_rim::RimCounters;
use ringdns_shard::telemetry::{Counters, TypeClass};
use serde_json::Value;

use crate::common::dns::{NOERROR, NXDOMAIN, Via, query};
use crate::common::server::{LISTEN, Server, ended, signal};
use crate::common::upstream::{ANSWER, Upstream, address};
use crate::common::{PATIENCE, free_port, needed, wait_until};

const ZONE: &str = "$TTL 60\n@ SOA ns h 1 60 60 60 60\n@ NS ns\nns A 192.0.2.1\n";

/// A server with all that has figures: two cores, a zone, an upstream server.
fn server(upstream: SocketAddr) -> Server {
    let configuration = format!(
        "[server]\ncores = 2\n{LISTEN}[[zone]]\nname = \"a.test\"\nfile = \"a.zone\"\n\
         [[upstream]]\nname = \"up\"\nservers = [\"udp://{upstream}\"]\n[[route]]\nsuffix = \".\"\nto = [\"up\"]\n"
    );
    Server::start(&configuration, &[("a.zone", ZONE)])
}

fn answering() -> Upstream {
    Upstream::start(|asked| Some(asked.reply(ANSWER, &[address(300, 7)])))
}

/// The body of the page in a format.
fn page(server: &Server, accept: &str) -> String {
    let mut stream = TcpStream::connect_timeout(&server.pages, PATIENCE).expect("the control plane listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    let head = "Host: localhost\r\nConnection: close\r\n\r\n";
    write!(stream, "GET /metrics HTTP/1.1\r\nAccept: {accept}\r\n{head}").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    body.to_owned()
}

fn shipped(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../control/prometheus").join(file)
}

#[test]
fn every_counter_of_a_core_is_on_the_page_once() {
    let upstream = answering();
    let server = server(upstream.address);
    let page = page(&server, "*/*");
    let of_core = page.lines().filter(|line| {
        let name = line.split('{').next().unwrap_or_default();
        name.ends_with("_total") && line.contains("{core=\"0\"")
    });
    let counters = Counters::default().each().count() + RimCounters::default().each().count();
    // Queries by type, and the CPU time of the core.
    assert_eq!(of_core.count(), counters + TypeClass::COUNT + 1, "{page}");
    assert!(!page.contains("ringdns_other_total"), "counters without a family:\n{page}");
    // In the sandbox, too, the process may look at itself.
    for name in ["cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds", "threads", "start_time_seconds"] {
        assert!(page.contains(&format!("\nprocess_{name} ")), "{name} in\n{page}");
    }
}

#[test]
fn what_happens_is_on_the_page() {
    let upstream = answering();
    let server = server(upstream.address);
    for via in [Via::Udp, Via::Tcp] {
        assert_eq!(server.ask(via, &query("ns.a.test", "A")).rcode(), NOERROR);
        assert_eq!(server.ask(via, &query("nobody.a.test", "AAAA")).rcode(), NXDOMAIN);
        assert_eq!(server.ask(via, &query("b.test", "A")).rcode(), NOERROR);
        assert_eq!(server.ask(via, &query("b.test", "A")).rcode(), NOERROR);
    }
    assert_eq!(server.counter("queries{transport=udp}") + server.counter("queries{transport=tcp}"), 8);
    assert_eq!(server.counter("responses{rcode=NXDOMAIN}"), 2);
    assert_eq!((server.counter("queries_by_type{type=A}"), server.counter("queries_by_type{type=AAAA}")), (6, 2));
    let waited = server.counter("response_duration_seconds_count{path=waited}");
    assert_eq!(server.counter("response_duration_seconds_count{path=at_once}") + waited, 8);
    assert!((1..=2).contains(&waited), "each core asks once: {waited}");
    assert_eq!(server.counter("upstream_round_trip_seconds_count"), waited);
    assert_eq!(server.counter("cache_lookups{outcome=miss}"), waited);
    assert_eq!(server.counter("upstream_server_round_trips"), waited);
    assert_eq!(server.counter("core_up"), 2);
    let ready = server.page("/ready");
    assert!(ready.starts_with("HTTP/1.1 200 ") && ready.contains("\"draining\":false"), "{ready}");
    // The questions of the process's own are nobody's.
    assert_eq!(server.counter("replies"), 8);
}

#[test]
fn promtool_takes_the_page() {
    let Some(promtool) = needed("promtool", "prometheus") else { return };
    let upstream = answering();
    let server = server(upstream.address);
    let file = server.folder().join("page");
    fs::write(&file, page(&server, "text/plain")).expect("the file is written");
    let input = fs::File::open(&file).expect("it is there");
    let output = Command::new(promtool).args(["check", "metrics"]).stdin(input).output().expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

/// Prometheus, with the rules that are shipped.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Prometheus {
    fn start(program: &Path, target: SocketAddr) -> Prometheus {
        let (folder, address) = (tempfile::tempdir().expect("a folder"), free_port());
        let rules = shipped("alerts.yml").canonicalize().expect("the rules are there");
        let configuration = fs::read_to_string(shipped("prometheus.yml"))
            .expect("the sample is there")
            .replace("127.0.0.1:8053", &target.to_string())
            .replace("- alerts.yml", &format!("- {}", rules.display()))
            .replace("10s", "1s");
        fs::write(folder.path().join("prometheus.yml"), configuration).expect("the file is written");
        let log = fs::File::create(folder.path().join("log")).expect("a file");
        let child = Command::new(program)
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address={address}"))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("it runs");
        Prometheus { child, address, folder }
    }

    /// The object under `data` that a path of its interface answers; `None` as long as it does not listen.
    fn ask(&self, path: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        write!(stream, "GET /api/v1/{path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        Some(serde_json::from_str::<Value>(body).ok()?["data"].take())
    }

    /// The value of an expression that has one.
    fn value(&self, expression: &str) -> Option<f64> {
        let data = self.ask(&format!("query?query={expression}"))?;
        data.pointer("/result/0/value/1")?.as_str()?.parse().ok()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        signal(self.child.id(), "TERM");
        ended(&mut self.child);
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(self.folder.path().join("log")).unwrap_or_default());
        }
    }
}

#[test]
fn prometheus_scrapes_the_page_and_no_alert_fires() {
    let Some(program) = needed("prometheus", "prometheus") else { return };
    let upstream = answering();
    let server = server(upstream.address);
    let prometheus = Prometheus::start(&program, server.pages);
    wait_until("a scrape", || prometheus.value("up").is_some());
    let targets = prometheus.ask("targets").expect("it answers");
    assert_eq!(prometheus.value("up"), Some(1.0), "{targets}");
    assert_eq!(server.answer("ns.a.test", "A").rcode(), NOERROR);
    wait_until("the query", || prometheus.value("sum(ringdns_queries_total)") == Some(1.0));
    assert!(prometheus.value("histogram_quantile(1,sum(ringdns_response_duration_seconds_bucket)by(le))").is_some());
    // As many as the page has: the reader of Prometheus has passed none over.
    let samples = page(&server, "application/openmetrics-text").lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(prometheus.value("scrape_samples_scraped"), Some(samples as f64));
    let rules = || {
        let groups = prometheus.ask("rules")?;
        groups.pointer("/groups/0/rules")?.as_array().cloned()
    };
    wait_until("the rules", || rules().is_some_and(|rules| rules.iter().all(|rule| rule["health"] == "ok")));
    let rules = rules().expect("it answers");
    assert!(rules.len() >= 20 && rules.iter().all(|rule| rule["state"] == "inactive"), "{rules:?}");
}
