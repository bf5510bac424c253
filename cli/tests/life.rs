//! The life of a serving process: start, reload, watchdog, stop, as systemd and people see it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// No step takes longer, even on a machine that is busy with other things: zones are prepared at the lowest priority, which
/// gets a hundredth of a CPU that others want, too.
const PATIENCE: Duration = Duration::from_secs(300);

/// A process that is serving; it ends with the test.
struct Serving {
    child: Child,
    dns: SocketAddr,
    pages: SocketAddr,
    greeting: String,
    folder: tempfile::TempDir,
    /// What systemd is told, message by message.
    notices: Receiver<String>,
}

const CONFIGURATION: &str = "[server]\ncores = 1\n[[listen]]\naddress = \"127.0.0.1:0\"\n[control]\nlisten = \"127.0.0.1:0\"\n\
    [log]\nformat = \"json\"\n[[zone]]\nname = \"a.test\"\nfile = \"a.zone\"\n";

fn zone(serial: u32) -> String {
    format!("$TTL 60\n@ SOA ns h {serial} 60 60 60 60\n@ NS ns\nns A 192.0.2.1\n")
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringdns"));
    command.current_dir(folder).args(["serve", "-c", "r.toml"]).stdin(Stdio::null());
    command
}

fn written(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (file, text) in files {
        fs::write(folder.path().join(file), text).expect("the file is written");
    }
    folder
}

/// What comes over systemd's socket in a folder. It is read at once, as by systemd: a process waits where its notices are
/// not taken.
fn notices(folder: &Path) -> Receiver<String> {
    let notify = UnixDatagram::bind(folder.join("notify")).expect("a socket");
    let (send, notices) = mpsc::channel();
    thread::spawn(move || {
        let mut message = [0; 4096];
        while let Ok(length) = notify.recv(&mut message) {
            if send.send(String::from_utf8_lossy(&message[..length]).into_owned()).is_err() {
                return;
            }
        }
    });
    notices
}

impl Serving {
    fn start() -> Serving {
        let folder = written(&[("r.toml", CONFIGURATION), ("a.zone", &zone(1))]);
        let notices = notices(folder.path());
        let log = fs::File::create(folder.path().join("log")).expect("a file");
        let mut child = command(folder.path())
            .env("NOTIFY_SOCKET", folder.path().join("notify"))
            .env("WATCHDOG_USEC", "400000")
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the binary runs");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
        let (mut dns, mut pages, mut greeting) = (None, None, String::new());
        for line in &mut lines {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["listening", address, ..] => dns = address.parse().ok(),
                ["control", address, ..] => pages = address.strip_prefix("http://").and_then(|a| a.parse().ok()),
                _ => {}
            }
            greeting.push_str(&line);
            greeting.push('\n');
            if words.first() == Some(&"try") {
                break;
            }
        }
        let log = || fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        let (dns, pages) = dns.zip(pages).unwrap_or_else(|| panic!("it does not serve:\n{greeting}{}", log()));
        Serving { child, dns, pages, greeting, folder, notices }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits until systemd is told `state`; what it was told before and with it.
    fn told(&self, state: &str) -> Vec<String> {
        let mut told = Vec::new();
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let message = self.notices.recv_timeout(PATIENCE).expect("systemd is told in time");
            told.extend(message.lines().map(str::to_owned));
            if told.iter().any(|line| line == state) {
                return told;
            }
        }
        panic!("{state} does not come:\n{told:#?}");
    }

    fn page(&self, path: &str) -> String {
        let mut stream = TcpStream::connect_timeout(&self.pages, PATIENCE).expect("the control plane listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }

    /// The serial of a.test, from the SOA record at the end of the only answer.
    fn serial(&self) -> u32 {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        let query = b"\x12\x34\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x04test\x00\x00\x06\x00\x01";
        socket.send_to(query, self.dns).expect("it is sent");
        let mut reply = [0; 512];
        let length = socket.recv(&mut reply).expect("an answer");
        assert_eq!((&reply[..2], reply[3] & 15, &reply[6..8]), (&query[..2], 0, &[0, 1][..]), "{:?}", &reply[..length]);
        let soa = reply.windows(4).rposition(|fields| fields == 60u32.to_be_bytes()).expect("the SOA's minimum");
        u32::from_be_bytes(reply[soa - 16..soa - 12].try_into().expect("four octets"))
    }

    fn log(&self) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.folder.path().join("log")).expect("the log is there");
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
    }

    fn logged(&self, level: &str, part: &str) -> bool {
        let is_it = |line: &serde_json::Value| {
            line["level"] == level && line["message"].as_str().is_some_and(|message| message.contains(part))
        };
        self.log().iter().any(is_it)
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.folder.path().join(file), text).expect("the file is written");
    }

    /// The exit status.
    fn ended(&mut self) -> Option<i32> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                return status.code();
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("it does not end");
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It has ended already, or the test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_process_starts_reloads_and_stops() {
    let mut serving = Serving::start();
    let told = serving.told("READY=1");
    assert!(told.contains(&"STATUS=serving; zones: 1, records: 3".to_owned()), "{told:?}");
    serving.told("WATCHDOG=1");
    let dns = serving.dns;
    assert!(
        serving.greeting.contains(&format!("dig @127.0.0.1 -p {} a.test. SOA", dns.port())),
        "{}",
        serving.greeting
    );
    assert!(serving.page("/ready").starts_with("HTTP/1.1 200 "));
    assert_eq!(serving.serial(), 1);
    assert!(serving.page("/metrics").contains("\nringdns_queries_total{core=\"0\",transport=\"udp\"} 1\n"));

    serving.write("a.zone", &zone(2));
    serving.signal("HUP");
    let told = serving.told("RELOADING=1");
    assert!(told.iter().any(|line| line.starts_with("MONOTONIC_USEC=")), "{told:?}");
    serving.told("READY=1");
    assert_eq!(serving.serial(), 2);
    assert!(serving.page("/metrics").contains("\nringdns_zone_serial{zone=\"a.test.\"} 2\n"));

    serving.signal("TERM");
    serving.told("STOPPING=1");
    assert_eq!(serving.ended(), Some(0));
    let targets = ["ringdns_control::server", "ringdns_rim::sandbox"];
    let by_them = |line: &serde_json::Value| targets.iter().any(|target| line["target"] == *target);
    assert!(serving.log().iter().all(|line| line["time"].is_string() && by_them(line)));
}

#[test]
fn mistakes_in_a_reload_are_told_and_change_nothing() {
    let mut serving = Serving::start();
    serving.told("READY=1");
    serving.write("a.zone", "nonsense\n");
    serving.signal("HUP");
    serving.told("READY=1");
    assert!(serving.logged("error", "/a.zone:1:"), "{:?}", serving.log());
    assert_eq!(serving.serial(), 1);

    serving.write("a.zone", &zone(2));
    serving.write("r.toml", "[server]\ncores = 0\n");
    serving.signal("HUP");
    serving.told("READY=1");
    assert!(serving.logged("error", "r.toml:2:9: `cores` in [server]"), "{:?}", serving.log());
    assert_eq!(serving.serial(), 1);
    assert!(serving.page("/metrics").contains("\nringdns_reloads_failed_total 2\n"));

    serving.write("r.toml", &CONFIGURATION.replace("127.0.0.1:0\"\n[control]", "127.0.0.1:1\"\n[control]"));
    serving.signal("HUP");
    serving.told("READY=1");
    assert!(serving.logged("warn", "[[listen]]"), "{:?}", serving.log());
    assert_eq!(serving.serial(), 2);

    serving.write("r.toml", &CONFIGURATION.replace("\"json\"", "\"text\"\nlevel = \"error\""));
    let lines_before = serving.log().len();
    serving.signal("HUP");
    serving.told("READY=1");
    serving.write("a.zone", "nonsense\n");
    serving.signal("HUP");
    serving.told("READY=1");
    let log = fs::read_to_string(serving.folder.path().join("log")).expect("the log is there");
    let text: Vec<&str> = log.lines().skip(lines_before).filter(|line| !line.starts_with('{')).collect();
    assert_eq!(text.len(), 2, "only the two lines of the mistake are errors: {text:#?}");
    assert!(text.iter().all(|line| line.contains("Z ERROR ")), "{text:#?}");

    serving.signal("INT");
    assert_eq!(serving.ended(), Some(0));
}

#[test]
fn a_wish_to_reload_is_remembered_while_the_process_starts() {
    // Zones that take a while; the signal comes when the sockets are bound and the zones are not loaded.
    let zones: String =
        (0..3000).map(|number| format!("[[zone]]\nname = \"z{number}.test\"\nfile = \"a.zone\"\n")).collect();
    let folder = written(&[("r.toml", &format!("{CONFIGURATION}{zones}")), ("a.zone", &zone(1))]);
    let notices = notices(folder.path());
    let mut child = command(folder.path())
        .env("NOTIFY_SOCKET", folder.path().join("notify"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary runs");
    let caught = |child: &Child| {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).map(str::trim).unwrap_or("0");
        u64::from_str_radix(mask, 16).unwrap_or(0) & 1 != 0
    };
    let end = Instant::now() + PATIENCE;
    while !caught(&child) && Instant::now() < end {
        thread::sleep(Duration::from_millis(1));
    }
    assert!(Command::new("kill").args(["-HUP", &child.id().to_string()]).status().expect("kill runs").success());
    let mut told = String::new();
    while !told.contains("RELOADING=1") {
        told.push_str(&notices.recv_timeout(PATIENCE).expect("it starts and reloads in time"));
    }
    assert!(told.starts_with("READY=1"), "{told}");
    child.kill().expect("it is ended");
    child.wait().expect("it has ended");
}

#[test]
fn a_port_that_is_taken_ends_with_3() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    for text in [
        format!("[[listen]]\naddress = \"{address}\"\n[control]\nlisten = \"\"\n"),
        format!("[[listen]]\naddress = \"127.0.0.1:0\"\n[control]\nlisten = \"{address}\"\n"),
    ] {
        let folder = written(&[("r.toml", &text)]);
        let output = command(folder.path()).output().expect("the binary runs");
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{err}");
        assert!(err.contains(&address.to_string()) && err.lines().count() == 1, "{err}");
    }
}
