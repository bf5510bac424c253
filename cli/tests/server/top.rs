//! `ringdns top`, in a terminal of its own and without one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use serde_json::{Value, json};

use crate::common::scripted::{Request, Scripted};
use crate::common::server::{LISTEN, Server, binary, ended, signal};
use crate::common::{free_port, wait_until};

/// A server that has had a hundred queries more each time it is asked, a second later.
fn told() -> impl Fn(&Request) -> (u16, String) + Send + 'static {
    let looks = AtomicU64::new(1);
    move |request| {
        let object = match request.line.as_str() {
            "GET /api/v1/stats" => stats(looks.fetch_add(1, Ordering::Relaxed)),
            "GET /api/v1/status" => json!({
                "version": "9.9.9", "upstreams": [{ "server": "udp://192.0.2.1:53", "cores_up": 1, "loss_percent": 0 }],
                "query_log": { "enabled": true, "newest": { "unix_us": 1_000_000_000u64 } },
            }),
            "GET /api/v1/queries/top?of=names&limit=50&from=700.000000" => {
                json!({ "of": "names", "ranked": [{ "value": "often\u{1b}.example.test.", "queries": 17 }] })
            }
            line => panic!("{line}"),
        };
        (200, object.to_string())
    }
}

fn stats(second: u64) -> Value {
    json!({
        "now_us": second * 1_000_000, "uptime_seconds": second,
        "cores": [{ "core": 0, "answers": true, "cpu": 1, "cpu_us": 250_000 * second, "queries": 100 * second, "dropped": 0 }],
        "queries": { "udp": 100 * second, "tcp": 0 }, "replies": { "NOERROR": 100 * second }, "drops": { "rate": 0 },
        "latency": { "udp": { "at_once": { "buckets": [[7, 100 * second]] } } },
        "cache": { "entries": 5, "hits": 75 * second, "misses": 25 * second },
    })
}

/// Exit status, standard output and standard error of `ringdns top` without a terminal.
fn top(address: SocketAddr, words: &[&str]) -> (Option<i32>, String, String) {
    let at = address.to_string();
    let output = binary()
        .args([&["top", "--control", &at], words].concat())
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    let text = |octets| String::from_utf8(octets).expect("the output is text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn one_page_needs_no_terminal() {
    let scripted = Scripted::start(told());
    let (status, out, err) = top(scripted.address, &["--once", "--interval", "100ms"]);
    assert_eq!((status, err.as_str()), (Some(0), ""));
    let head = format!("ringdns 9.9.9 at {}, up for 2s; 1 of 1 cores answer\n", scripted.address);
    assert!(out.starts_with(&head), "{out}");
    for line in [
        "udp          100    NOERROR    100  100.0 %    udp, at once    100     7 µs     7 µs     7 µs     7 µs",
        "dropped        0                               tcp, waited       0        -        -        -        -",
        "5 answers, - of -; 75.0 % hits",
        "0     answers    1  25.0 %        100          0",
        "udp://192.0.2.1:53  -      up on 1 of 1           -   0 %        -         -          -",
        "     17  often?.example.test.",
    ] {
        assert!(out.lines().any(|told| told == line), "no {line:?} in\n{out}");
    }
    let (status, out, _) = top(scripted.address, &["--once", "--json", "--interval", "100ms"]);
    let object: Value = serde_json::from_str(&out).expect("one JSON object");
    assert_eq!((status, &object["queries_per_second"]), (Some(0), &json!({ "udp": 100.0, "tcp": 0.0 })));
    assert_eq!((&object["cores"][0]["busy"], &object["cache"]["hits"]), (&json!(0.25), &json!(0.75)));
}

#[test]
fn the_server_that_runs_is_shown() {
    let zone = "[[zone]]\nname = \"a.test\"\nfile = \"a.zone\"\n";
    let text = "$TTL 60\n@ SOA ns h 1 60 60 60 60\n@ NS ns\nns A 192.0.2.1\n";
    let server = Server::start(&format!("[server]\ncores = 1\n{LISTEN}{zone}"), &[("a.zone", text)]);
    let at = server.pages;
    let showing = thread::spawn(move || top(at, &["--once", "--json", "--interval", "2s"]));
    let mut asked = 0;
    while !showing.is_finished() {
        let _ = server.answer("ns.a.test", "A");
        asked += 1;
        thread::sleep(Duration::from_millis(5));
    }
    let (status, out, err) = showing.join().expect("it ends");
    assert_eq!((status, err.as_str()), (Some(0), ""));
    let object: Value = serde_json::from_str(&out).expect("one JSON object");
    let udp = object["queries_per_second"]["udp"].as_f64().expect("a rate");
    assert!(udp > 0.5 && udp <= asked as f64, "{udp} a second of {asked}: {out}");
    assert_eq!(object["replies_per_second"]["NOERROR"], object["queries_per_second"]["udp"], "{out}");
    assert!(object["latencies"][0]["p99_us"].as_u64().is_some_and(|micros| micros > 0), "{out}");
    assert_eq!((&object["cores"][0]["answers"], &object["cores_answering"]), (&json!(true), &json!(1)), "{out}");
    let (status, out, _) = top(at, &["--once", "--interval", "100ms"]);
    assert_eq!(status, Some(0));
    assert!(out.contains("\nthe query log is off\n") && out.contains("\nnobody is asked\n"), "{out}");
}

#[test]
fn where_nothing_can_be_shown_it_says_why() {
    for (words, status, part) in [
        (&["--once"][..], 3, "no server answers: 127.0.0.1:"),
        (&["--json"], 3, "no server answers: 127.0.0.1:"),
        (&[], 3, "there is no terminal to draw on; --once prints one page"),
        (&["--interval", "1ms"], 2, "it is not between 100ms and 1h"),
        (&["--interval", "soon"], 2, "it is no span such as 250ms"),
    ] {
        let (code, out, err) = top(free_port(), words);
        assert_eq!((code, out.as_str()), (Some(status), ""), "{words:?}: {err}");
        assert!(err.contains(part), "{words:?}: {err}");
    }
}

/// `ringdns top` in a terminal of its own.
struct Shown {
    child: Option<Child>,
    terminal: OwnedFd,
    /// What has been written.
    output: Arc<Mutex<String>>,
    /// Nothing is read from the terminal any more.
    is_closing: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

const SIZE: Winsize = Winsize { ws_row: 40, ws_col: 140, ws_xpixel: 0, ws_ypixel: 0 };

impl Shown {
    #[track_caller]
    fn start(address: SocketAddr) -> Shown {
        // Not the tests' own terminal, whose end would be theirs.
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let terminal = openpt(flags).expect("a terminal");
        grantpt(&terminal).and_then(|()| unlockpt(&terminal)).expect("a terminal");
        let inside = ioctl_tiocgptpeer(&terminal, flags).expect("a terminal");
        tcsetwinsize(&terminal, SIZE).expect("a size");
        let end = || Stdio::from(inside.try_clone().expect("a descriptor"));
        let mut command = binary();
        command.args(["top", "--interval", "200ms", "--control", &address.to_string()]);
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("the binary runs");
        drop(command);
        let output = Arc::<Mutex<String>>::default();
        let is_closing = Arc::<AtomicBool>::default();
        let (written, is_over) = (Arc::clone(&output), Arc::clone(&is_closing));
        let mut reading = File::from(terminal.try_clone().expect("a descriptor"));
        let reader = thread::spawn(move || {
            let mut octets = Vec::new();
            let mut part = [0; 4096];
            // What is cut in the middle of a character is read with what follows.
            while let Ok(count @ 1..) = reading.read(&mut part) {
                octets.extend_from_slice(&part[..count]);
                *written.lock().expect("no thread has failed") = String::from_utf8_lossy(&octets).into_owned();
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        Shown { child: Some(child), terminal, output, is_closing, reader: Some(reader) }
    }

    fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Closes the terminal from outside; the process that was in it.
    fn close(mut self) -> Child {
        self.is_closing.store(true, Ordering::Relaxed);
        let child = self.child.take().expect("it runs");
        self.reader.take().expect("a thread").join().expect("it reads until then");
        child
    }

    /// Waits until `part` stands in a line.
    #[track_caller]
    fn shows(&self, part: &str) {
        wait_until(part, || self.lines().iter().any(|line| line.contains(part)));
    }

    /// What stands in the terminal: whatever was written, as far as it is text and tells where it stands.
    fn lines(&self) -> Vec<String> {
        let output = self.output.lock().expect("no thread has failed").clone();
        let mut cells: BTreeMap<(usize, usize), char> = BTreeMap::new();
        let (mut row, mut column) = (1, 1);
        let mut rest = output.chars();
        while let Some(character) = rest.next() {
            if character != '\u{1b}' {
                cells.insert((row, column), character);
                column += 1;
                continue;
            }
            let mut sequence = String::new();
            while !sequence.ends_with(|last: char| last.is_ascii_alphabetic()) {
                let Some(next) = rest.next() else { break };
                sequence.push(next);
            }
            match sequence.strip_prefix('[').unwrap_or_default() {
                "2J" => cells.clear(),
                place if place.ends_with('H') => {
                    let (down, right) = place.trim_end_matches('H').split_once(';').unwrap_or(("1", "1"));
                    (row, column) = (down.parse().expect("a row"), right.parse().expect("a column"));
                }
                _ => {}
            }
        }
        let last = cells.keys().next_back().map_or(0, |(row, _)| *row);
        let line = |row| {
            let end = cells.range((row, 0)..(row + 1, 0)).next_back().map_or(0, |((_, column), _)| *column);
            (1..=end).map(|column| cells.get(&(row, column)).copied().unwrap_or(' ')).collect()
        };
        (1..=last).map(line).collect()
    }

    fn press(&self, keys: &str) {
        let mut terminal = File::from(self.terminal.try_clone().expect("a descriptor"));
        terminal.write_all(keys.as_bytes()).expect("it is written");
    }

    fn is_raw(&self) -> bool {
        let modes = tcgetattr(self.terminal.as_fd()).expect("modes").local_modes;
        !modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    /// Waits for the end, after which the terminal is as it was. The exit status.
    #[track_caller]
    fn ends(mut self) -> Option<i32> {
        let status = ended(self.child.as_mut().expect("it runs"));
        let written = || self.output.lock().expect("no thread has failed").clone();
        wait_until("the cursor is shown", || written().ends_with("\u{1b}[?25h"));
        assert!(!self.is_raw(), "the terminal is given back");
        let output = written();
        assert_eq!(output.matches("\u{1b}[?1049h").count(), 1, "{output:?}");
        assert_eq!(output.matches("\u{1b}[?1049l").count(), 1, "{output:?}");
        status.code()
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn a_terminal_shows_figures_and_takes_keys() {
    let scripted = Scripted::start(told());
    let shown = Shown::start(scripted.address);
    shown.shows("often?.example.test.");
    assert!(shown.is_raw());
    shown.press("+");
    shown.shows("500ms");
    shown.press("p");
    shown.shows("PAUSED");
    // The keys that go nowhere do no harm, nor does what is no key.
    shown.press("\t\u{1b}[A\u{1b}[B\u{1b}[5~\u{1b}[6~zzz\u{1b}[999;999R\u{fffd}p");
    wait_until("it goes on", || shown.lines().last().is_some_and(|line| line.starts_with("every 500ms  q quit")));
    tcsetwinsize(&shown.terminal, Winsize { ws_row: 3, ws_col: 30, ..SIZE }).expect("a size");
    signal(shown.pid(), "WINCH");
    wait_until("it is small", || shown.lines().len() == 3);
    tcsetwinsize(&shown.terminal, SIZE).expect("a size");
    signal(shown.pid(), "WINCH");
    shown.shows("often?.example.test.");
    shown.press("q");
    assert_eq!(shown.ends(), Some(0));
}

#[test]
fn every_end_gives_the_terminal_back() {
    let scripted = Scripted::start(told());
    for name in ["TERM", "INT", "HUP", "QUIT"] {
        let shown = Shown::start(scripted.address);
        shown.shows("QUERIES");
        signal(shown.pid(), name);
        assert_eq!(shown.ends(), Some(0), "{name}");
    }
    let shown = Shown::start(scripted.address);
    shown.shows("QUERIES");
    shown.press("\u{3}");
    assert_eq!(shown.ends(), Some(0));
}

#[test]
fn a_terminal_that_is_closed_takes_it_along() {
    let scripted = Scripted::start(told());
    let shown = Shown::start(scripted.address);
    shown.shows("QUERIES");
    let mut child = shown.close();
    let status = ended(&mut child);
    assert_eq!((status.code(), status.signal()), (Some(3), None));
}

#[test]
fn a_server_that_goes_away_is_waited_for() {
    let scripted = Scripted::start(told());
    let address = scripted.address;
    let shown = Shown::start(address);
    shown.shows("often?.example.test.");
    drop(scripted);
    shown.shows(&format!("asking again: no server answers: {address}: "));
    assert!(shown.lines()[1].starts_with("no figures for "), "{:?}", shown.lines());
    // What it knows is still there.
    assert!(shown.lines().iter().any(|line| line.starts_with("QUERIES ")), "{:?}", shown.lines());
    let _scripted = Scripted::start_at(address, told());
    // The page moves up by the line that is gone: all of it is written anew.
    wait_until("the server is back", || !shown.lines().get(1).is_some_and(|line| line.starts_with("no figures for ")));
    shown.shows("often?.example.test.");
    shown.press("q");
    assert_eq!(shown.ends(), Some(0));
}
