//! dnstap, to readers of other makes: what they get is what came and went, and whether they are there nobody's answer
//! depends on.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::common::dns::{NOERROR, Via, query};
use crate::common::server::{LISTEN, Server, ended, signal};
use crate::common::upstream::{ANSWER, Upstream, address};
use crate::common::{free_port, needed, wait_until};

const ZONE: &str = "$TTL 300\n@ SOA ns h 1 3600 600 86400 60\n@ NS ns\nns A 192.0.2.1\nwww A 192.0.2.80\n";
const CONTROL: &str = "[control]\nlisten = \"127.0.0.1:0\"\n";

/// Where a reader listens.
#[derive(Clone, Copy)]
enum At {
    Socket,
    Port,
}

/// fstrm_capture, which writes what it gets to a file; it ends with the test.
struct Capture {
    child: Child,
    folder: tempfile::TempDir,
    /// As the configuration names it.
    to: String,
    options: Vec<String>,
}

impl Capture {
    fn start(at: At) -> Option<Capture> {
        needed("fstrm_capture", "fstrm-bin")?;
        let folder = tempfile::tempdir().expect("a folder");
        let (to, options) = match at {
            At::Socket => {
                let path = folder.path().join("tap.sock").display().to_string();
                (format!("unix:{path}"), vec!["-u".to_owned(), path])
            }
            At::Port => {
                let address = free_port();
                let (ip, port) = (address.ip().to_string(), address.port().to_string());
                (format!("tcp:{address}"), vec!["-a".to_owned(), ip, "-p".to_owned(), port])
            }
        };
        let child = Capture::spawn(&folder, &options)?;
        Some(Capture { child, folder, to, options })
    }

    fn spawn(folder: &tempfile::TempDir, options: &[String]) -> Option<Child> {
        let log = fs::OpenOptions::new().create(true).append(true).open(folder.path().join("log")).expect("a file");
        let child = Command::new(needed("fstrm_capture", "fstrm-bin")?)
            .args(["-d", "-d", "-d", "-d", "-d", "-t", "protobuf:dnstap.Dnstap", "-w"])
            .arg(folder.path().join("messages"))
            .args(options)
            .stdin(Stdio::null())
            .stderr(log)
            .spawn();
        Some(child.expect("it runs"))
    }

    fn kill(&mut self) {
        signal(self.child.id(), "KILL");
        ended(&mut self.child);
        // What listens again begins with a socket of its own.
        let _ = fs::remove_file(self.folder.path().join("tap.sock"));
    }

    fn start_again(&mut self) {
        self.child = Capture::spawn(&self.folder, &self.options).expect("it is installed");
    }

    /// Ends it, and reads by dnstap-ldns what it has written. `None` where that is not installed.
    fn end(&mut self) -> Option<Vec<Tapped>> {
        signal(self.child.id(), "TERM");
        ended(&mut self.child);
        let mut reader = Command::new(needed("dnstap-ldns", "dnstap-ldns")?);
        let output = reader.arg("-y").arg("-r").arg(self.folder.path().join("messages")).output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("text");
        Some(text.split("---\n").filter(|text| !text.trim().is_empty()).map(|text| Tapped(text.to_owned())).collect())
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // Also where it has been stopped.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A message as dnstap-ldns writes it.
#[derive(Debug)]
struct Tapped(String);

impl Tapped {
    /// The value of a field.
    #[track_caller]
    fn field(&self, name: &str) -> &str {
        let value = self.0.lines().find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix(": "));
        value.unwrap_or_else(|| panic!("no {name} in\n{}", self.0)).trim_matches('"')
    }

    /// What the message is: there is another field of this name around it.
    fn kind(&self) -> &str {
        self.0.lines().find_map(|line| line.strip_prefix("  type: ")).expect("a type")
    }

    /// Seconds of the day, and when they were.
    fn time(&self, field: &str) -> String {
        self.field(field).trim_start_matches("!!timestamp ").to_owned()
    }

    /// In whatever letters: servers are asked in random ones.
    fn has_question(&self, name: &str) -> bool {
        self.0.to_ascii_lowercase().contains(&format!(";{name}.\tin\ta"))
    }
}

/// A zone, a resolver for `forwarded.test`, an origin for `origin.test`. One core, so that there is one order.
fn configuration(upstream: &Upstream, tap: &str) -> String {
    let pool = |name: &str, kind: &str| {
        format!(
            "[[upstream]]\nname = \"{name}\"\nkind = \"{kind}\"\ntimeout = \"30s\"\nservers = [\"udp://{}\"]\n\
             [[route]]\nsuffix = \"{name}.test\"\nto = [\"{name}\"]\n",
            upstream.address
        )
    };
    format!(
        "[server]\ncores = 1\nidentity = \"ns1.test\"\n{LISTEN}[[zone]]\nname = \"example.test\"\nfile = \"z\"\n{}{}{tap}{CONTROL}",
        pool("forwarded", "resolver"),
        pool("origin", "authoritative")
    )
}

fn tap(to: &str) -> String {
    format!("[dnstap]\nto = \"{to}\"\n")
}

fn upstream() -> Upstream {
    Upstream::start(|asked| {
        // AA for the origin, and RD as it was asked.
        let desired = u16::from(asked.octets[2] & 1) << 8;
        Some(asked.reply(ANSWER & !0x0180 | 0x0480 | desired, &[address(300, 7)]))
    })
}

fn serve(upstream: &Upstream, tap: &str) -> Server {
    Server::start(&configuration(upstream, tap), &[("z", ZONE)])
}

#[track_caller]
fn answered(server: &Server, name: &str, via: Via) {
    assert_eq!(server.ask(via, &query(name, "A")).rcode(), NOERROR, "{name}");
}

/// Waits until every message that the core has written is sent or dropped. How many it is.
#[track_caller]
fn settled(server: &Server, at_least: u64) -> u64 {
    let mut messages = 0;
    wait_until("every message is sent or dropped", || {
        let all = server.counter("dnstap_messages");
        messages = server.counter("dnstap_sent") + server.counter("dnstap_dropped");
        all >= at_least && messages == all
    });
    messages
}

/// The time of the day in UTC, as dnstap-ldns writes it.
fn now() -> String {
    let output = Command::new("date").args(["-u", "+%F %T.%6N"]).output().expect("date runs");
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

fn everything_is_read(at: At) {
    let Some(mut capture) = Capture::start(at) else { return };
    let (upstream, before) = (upstream(), now());
    let mut server = serve(&upstream, &tap(&capture.to));
    server.counts("dnstap_connected", 1);
    answered(&server, "www.example.test", Via::Udp);
    answered(&server, "www.example.test", Via::Tcp);
    answered(&server, "a.forwarded.test", Via::Udp);
    answered(&server, "a.forwarded.test", Via::Udp);
    answered(&server, "a.origin.test", Via::Udp);
    let messages = settled(&server, 14);
    assert_eq!(server.counter("dnstap_dropped"), 0, "{}", server.log());
    // The last of it comes with the end.
    answered(&server, "ns.example.test", Via::Udp);
    let (ours, port) = (server.address().ip().to_string(), server.address().port().to_string());
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0), "{}", server.log());
    let Some(tapped) = capture.end() else { return };
    let after = now();
    assert_eq!(tapped.len() as u64, messages + 2);
    let find = |kind: &str, name: &str, via: &str| -> Vec<&Tapped> {
        let alike = |one: &&Tapped| one.kind() == kind && one.has_question(name) && one.field("socket_protocol") == via;
        tapped.iter().filter(alike).collect()
    };
    for (name, via, count) in [
        ("www.example.test", "UDP", 1),
        ("www.example.test", "TCP", 1),
        ("a.forwarded.test", "UDP", 2),
        ("a.origin.test", "UDP", 1),
        ("ns.example.test", "UDP", 1),
    ] {
        let (queries, responses) = (find("CLIENT_QUERY", name, via), find("CLIENT_RESPONSE", name, via));
        assert_eq!((queries.len(), responses.len()), (count, count), "{name} over {via}: {tapped:#?}");
        for one in queries.iter().chain(&responses) {
            assert_eq!((one.field("response_address"), one.field("response_port")), (&*ours, &*port));
            assert_eq!((one.field("query_address"), one.field("socket_family")), ("127.0.0.1", "INET"));
            assert_eq!(
                (one.field("identity"), one.field("version")),
                ("ns1.test", concat!("ringdns ", env!("CARGO_PKG_VERSION")))
            );
        }
        for response in responses {
            let (asked, at) = (response.time("query_time"), response.time("response_time"));
            assert!(before <= asked && asked <= at && at <= after, "{before} {asked} {at} {after}");
            assert!(response.0.contains("\tA\t192.0.2."), "the response is there as it went out: {}", response.0);
        }
    }
    let server_port = upstream.address.port().to_string();
    for (query, response, name) in [
        ("FORWARDER_QUERY", "FORWARDER_RESPONSE", "a.forwarded.test"),
        ("RESOLVER_QUERY", "RESOLVER_RESPONSE", "a.origin.test"),
    ] {
        // Where the answer takes too long, there is more than one.
        let (queries, responses) = (find(query, name, "UDP"), find(response, name, "UDP"));
        assert!(!queries.is_empty() && !responses.is_empty(), "{name}: {tapped:#?}");
        for one in queries.iter().chain(&responses) {
            assert_eq!((one.field("response_address"), one.field("response_port")), ("127.0.0.1", &*server_port));
        }
        assert!(responses[0].0.contains("\tA\t192.0.2.7"), "{}", responses[0].0);
    }
}

#[test]
fn a_reader_at_a_unix_socket_reads_everything() {
    everything_is_read(At::Socket);
}

#[test]
fn a_reader_at_a_tcp_port_reads_everything() {
    everything_is_read(At::Port);
}

#[test]
fn answers_go_on_while_the_reader_is_gone_and_its_return_is_noticed() {
    let Some(mut capture) = Capture::start(At::Socket) else { return };
    let upstream = upstream();
    let server = serve(&upstream, &tap(&capture.to));
    server.counts("dnstap_connected", 1);
    answered(&server, "www.example.test", Via::Udp);
    settled(&server, 2);
    capture.kill();
    server.counts("dnstap_connected", 0);
    (0..500).for_each(|_| answered(&server, "www.example.test", Via::Udp));
    assert_eq!(settled(&server, 1_002), 1_002);
    assert!(server.counter("dnstap_dropped") > 0);
    capture.start_again();
    server.counts("dnstap_connected", 1);
    answered(&server, "www.example.test", Via::Udp);
    assert_eq!(settled(&server, 1_004), 1_004);
    assert_eq!(server.counter("dnstap_connections"), 2);
    let lines = |what: &str| server.log().lines().filter(|line| line.contains(what)).count();
    assert_eq!((lines("there is no reader at"), lines("there is a reader at")), (1, 1), "{}", server.log());
}

#[test]
fn a_reader_that_stands_still_does_not_hold_up_the_end() {
    let Some(capture) = Capture::start(At::Socket) else { return };
    let upstream = upstream();
    let mut server = serve(&upstream, &tap(&capture.to));
    server.counts("dnstap_connected", 1);
    signal(capture.child.id(), "STOP");
    (0..100).for_each(|_| answered(&server, "www.example.test", Via::Udp));
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0), "{}", server.log());
    assert!(server.log().contains("has all messages is not sure"), "{}", server.log());
}

#[test]
fn a_reload_begins_and_ends_it() {
    let Some(mut capture) = Capture::start(At::Socket) else { return };
    let upstream = upstream();
    let server = serve(&upstream, "");
    answered(&server, "www.example.test", Via::Udp);
    let only_clients = format!("{}messages = [\"client\"]\n", tap(&capture.to));
    server.replace("r.toml", &configuration(&upstream, &only_clients));
    assert!(server.reload(), "{}", server.log());
    server.counts("dnstap_connected", 1);
    answered(&server, "a.forwarded.test", Via::Udp);
    // And at once: what was recorded until then goes to the reader.
    server.replace("r.toml", &configuration(&upstream, ""));
    assert!(server.reload(), "{}", server.log());
    answered(&server, "a.origin.test", Via::Udp);
    server.counts("dnstap_connected", 0);
    assert_eq!((settled(&server, 2), server.counter("dnstap_dropped")), (2, 0));
    let Some(tapped) = capture.end() else { return };
    let kinds: Vec<&str> = tapped.iter().map(Tapped::kind).collect();
    assert_eq!(kinds, ["CLIENT_QUERY", "CLIENT_RESPONSE"]);
    let log: PathBuf = capture.folder.path().join("log");
    assert!(fs::read_to_string(&log).is_ok_and(|log| log.contains("FSTRM_CONTROL_STOP")), "the reader is told the end");
}
