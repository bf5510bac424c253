//! `ringdns ctl` against the server that runs, and the control plane's interface behind it.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::dns::{NOERROR, Via};
use crate::common::server::{Server, binary};
use crate::common::upstream::{ANSWER, Upstream, address};
use crate::common::{free_port, wait_until};
use crate::forwarding;

const TOKEN: &str = "one-token-0123456789";
const OTHER_TOKEN: &str = "two-token-0123456789";

/// Forwards to `upstream`; the control plane is asked at a free port, at `ctl.sock`, and with the token of a file.
fn configuration(upstream: SocketAddr) -> String {
    let control = "[control]\nlisten = \"127.0.0.1:0\"\nsocket = \"ctl.sock\"\ntoken_file = \"token\"\n";
    forwarding::configuration(&[format!("udp://{upstream}")], "30s") + control
}

fn answering() -> Upstream {
    Upstream::start(|asked| Some(asked.reply(ANSWER, &[address(300, 7)])))
}

fn serving(upstream: &Upstream) -> Server {
    Server::start(&configuration(upstream.address), &[("token", TOKEN), ("wrong", OTHER_TOKEN)])
}

/// Exit status, standard output and standard error of `ringdns ctl` in a folder.
fn ctl(folder: &Path, words: &[&str]) -> (Option<i32>, String, String) {
    let output = binary().arg("ctl").args(words).current_dir(folder).output().expect("the binary runs");
    let text = |octets| String::from_utf8(octets).expect("the output is text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The object that comes with `--json`, where all went well.
#[track_caller]
fn object(server: &Server, words: &[&str]) -> Value {
    let (status, out, err) = ctl(server.folder(), &[words, &["--json", "-c", "r.toml"]].concat());
    assert_eq!((status, err.as_str()), (Some(0), ""), "{out}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
}

#[test]
fn status_shows_upstreams_and_cache() {
    let upstream = answering();
    let server = serving(&upstream);
    for name in ["a.test", "b.test", "a.test"] {
        assert_eq!(server.answer(name, "A").rcode(), NOERROR);
    }
    let status = object(&server, &["status"]);
    let named = format!("udp://{}", upstream.address);
    for (pointer, value) in [
        ("/cores_answering", json!(1)),
        ("/cache/entries", json!(2)),
        ("/cache/hits", json!(1)),
        ("/cache/octets_max", json!(256 << 20)),
        ("/pools", json!([{ "name": "up", "servers": 1 }])),
        ("/upstreams/0/server", json!(named)),
        ("/upstreams/0/standing", json!("up")),
        ("/upstreams/0/asked", json!(2)),
        ("/upstreams/0/answered", json!(2)),
        ("/upstreams/0/in_flight", json!(0)),
        ("/questions_in_flight", json!(0)),
    ] {
        assert_eq!(status.pointer(pointer), Some(&value), "{pointer} in {status}");
    }
    assert!(status["upstreams"][0]["round_trip_us"].as_u64().is_some(), "{status}");
    // The same at the address, where nobody need have a token to look.
    let (code, out, err) = ctl(server.folder(), &["--control", &server.pages.to_string(), "status"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.starts_with(&format!("ringdns {}, up for ", env!("CARGO_PKG_VERSION"))), "{out}");
    assert!(out.contains("; 1 of 1 cores answer\n  cache      2 answers, "), "{out}");
    let row = out.lines().find(|line| line.contains(&named)).unwrap_or_else(|| panic!("{out}"));
    assert!(row.contains("  up    up on 1 of 1 cores  ") || row.contains("  up     up on 1 of 1 cores  "), "{out}");
    assert_eq!(server.counter("upstream_server_asked"), 2);
    assert_eq!(server.counter("upstream_server_cores_up"), 1);
}

#[test]
fn an_outage_is_seen() {
    let server = Server::start(&configuration(free_port()).replace("\"30s\"", "\"1s\""), &[("token", TOKEN)]);
    let standing = || object(&server, &["status"])["upstreams"][0]["standing"].clone();
    wait_until("the server is down", || {
        let _ = server.answer("a.test", "A");
        standing() == "down"
    });
    let (_, out, _) = ctl(server.folder(), &["-c", "r.toml", "status"]);
    assert!(out.contains("down on 1 of 1 cores"), "{out}");
    assert_eq!(server.counter("upstream_server_cores_down"), 1);
}

#[test]
fn what_is_flushed_is_asked_for_anew() {
    let upstream = answering();
    let server = serving(&upstream);
    let ask = |names: &[&str]| {
        names.iter().for_each(|name| assert_eq!(server.answer(name, "A").rcode(), NOERROR));
        upstream.count(Via::Udp)
    };
    let names = ["a.test", "www.a.test", "b.test"];
    assert_eq!((ask(&names), ask(&names)), (3, 3));
    assert_eq!(object(&server, &["flush", "A.test"]), json!({ "flushed": 1 }));
    assert_eq!(ask(&names), 4, "the name alone is asked for again");
    let (code, out, _) = ctl(server.folder(), &["-c", "r.toml", "flush", "a.test", "--subtree"]);
    assert_eq!((code, out.as_str()), (Some(0), "flushed: 2\n"));
    assert_eq!(ask(&names), 6, "what is below it, too");
    assert_eq!(object(&server, &["flush", "--all"]), json!({ "flushed": 3 }));
    assert_eq!(object(&server, &["flush", "--all"]), json!({ "flushed": 0 }));
    assert_eq!(ask(&names), 9);
}

#[test]
fn changes_need_the_token_or_the_socket() {
    let upstream = answering();
    let server = serving(&upstream);
    let at = server.pages.to_string();
    let flush = |words: &[&str]| ctl(server.folder(), &[&["--control", &at, "flush", "--all"], words].concat());
    for words in [&[][..], &["--token-file", "wrong"]] {
        let (code, out, err) = flush(words);
        assert_eq!((code, out.as_str()), (Some(3), ""));
        assert!(err.contains("`token_file` in [control]") && err.contains("`socket` in [control]"), "{err}");
    }
    assert_eq!(server.counter("control_refused"), 2);
    for words in [&["--token-file", "token"][..], &["-c", "r.toml"]] {
        assert_eq!(flush(words), (Some(0), "flushed: 0\n".to_owned(), String::new()));
    }
    // A new token is in force with the next reload, and the old one is not.
    server.replace("token", OTHER_TOKEN);
    let (code, out, err) = ctl(server.folder(), &["reload", "-c", "r.toml"]);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "reloaded; zones: 0 read, 0 unchanged, 0 faulty\n", ""));
    assert_eq!(flush(&["--token-file", "wrong"]).0, Some(0));
    server.replace("old", TOKEN);
    assert_eq!(flush(&["--token-file", "old"]).0, Some(3));
    assert_eq!(server.counter("control_refused"), 3);
}

#[test]
fn a_reload_says_what_is_wrong() {
    let upstream = answering();
    let server = serving(&upstream);
    let well = configuration(upstream.address);
    server.replace("r.toml", &format!("{well}[cache]\nsize = 1\n"));
    let (code, out, err) = ctl(server.folder(), &["reload", "-c", "r.toml"]);
    let line = well.lines().count() + 2;
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.starts_with("nothing is changed, for the configuration cannot be used:\n"), "{err}");
    assert!(err.contains(&format!("r.toml:{line}:8: `size` in [cache]: found the number `1`")), "{err}");
    assert_eq!(server.counter("reloads_failed"), 1);
    let zones = "[[zone]]\nname = \"z.test\"\nfile = \"z.zone\"\n[[zone]]\nname = \"y.test\"\nfile = \"y.zone\"\n";
    server.replace("y.zone", "$TTL 60\n@ SOA ns h 1 60 60 60 60\n@ NS ns\nns A 192.0.2.1\n");
    server.replace("r.toml", &format!("{}{zones}", well.replace("cores = 1", "cores = \"all\"")));
    let (code, out, err) = ctl(server.folder(), &["reload", "-c", "r.toml"]);
    let told =
        "reloaded; zones: 1 read, 0 unchanged, 1 faulty\nchanged, and in force after a restart: `cores` in [server]\n";
    assert_eq!((code, out.as_str()), (Some(1), told), "{err}");
    assert!(err.starts_with("the zone z.test.: ") && err.contains("z.zone"), "{err}");
    assert_eq!(server.answer("ns.y.test", "A").rcode(), NOERROR);
}

#[test]
fn the_socket_is_the_owners_and_lives_as_long_as_the_server() {
    let upstream = answering();
    let mut server = serving(&upstream);
    let socket = server.folder().join("ctl.sock");
    let file = fs::metadata(&socket).expect("the socket is there");
    assert!(file.file_type().is_socket() && file.mode() & 0o777 == 0o600, "{:o}", file.mode());
    // A process that is killed leaves it behind; the next one takes its place.
    server.signal("KILL");
    server.ended();
    assert!(socket.exists());
    let (code, _, err) = ctl(server.folder(), &["status", "--control", "./ctl.sock"]);
    assert!(code == Some(3) && err.contains("no server answers: ./ctl.sock: Connection refused"), "{err}");
    server.start_again();
    assert_eq!(object(&server, &["status"])["cores_answering"], 1);
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0));
    assert!(!socket.exists(), "{}", server.log());
    server.start_again();
}

#[test]
fn words_and_files_that_say_nothing_of_use_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |file: &str, text: &str| fs::write(folder.path().join(file), text).expect("the file is written");
    write("off.toml", "[control]\nlisten = \"\"\n");
    write("free.toml", "[control]\nlisten = \"127.0.0.1:0\"\n");
    write("bad.toml", "[control]\nlisten = 1\n");
    write("elsewhere.toml", &format!("[control]\nlisten = \"{}\"\n[cache]\nsize = 1\n", free_port()));
    for (words, status, part) in [
        (&["status", "-c", "off.toml"][..], 1, "off.toml: the control plane is turned off; set `socket` or `listen`"),
        (&["status", "-c", "free.toml"], 1, "free.toml: `listen` in [control] is any free port; name the one"),
        (&["status", "-c", "bad.toml"], 1, "bad.toml:2:10: `listen` in [control]: found the number `1`"),
        (&["status", "-c", "absent.toml"], 1, "absent.toml: cannot be read"),
        // Mistakes elsewhere in the file are none of its business.
        (&["status", "-c", "elsewhere.toml"], 3, "no server answers: 127.0.0.1:"),
        (&["status", "--token-file", "absent"], 1, "absent cannot be read"),
        (&["status", "--control", "192.0.2.1:8053"], 2, "loopback addresses only"),
        (&["status", "--control", "x"], 2, "neither an address such as 127.0.0.1:8053 nor a path"),
        (&["flush"], 2, "<NAME>"),
        (&["flush", "a..b"], 2, "it is no domain name"),
        (&["flush", "a.test", "--all"], 2, "cannot be used with"),
        (&["flush", "--all", "--subtree"], 2, "cannot be used with"),
        (&[], 2, "Usage"),
    ] {
        let (code, out, err) = ctl(folder.path(), words);
        assert_eq!((code, out.as_str()), (Some(status), ""), "{words:?}: {err}");
        assert!(err.contains(part), "{words:?}: {err}");
    }
    // What answers, and is no ringdns.
    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = other.local_addr().expect("an address").to_string();
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = other.accept().expect("somebody asks");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time-out");
        let _ = std::io::Read::read(&mut stream, &mut [0; 4096]).expect("a request");
        std::io::Write::write_all(&mut stream, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").expect("it reads");
    });
    let (code, _, err) = ctl(folder.path(), &["status", "--control", &at]);
    assert!(code == Some(3) && err.contains("is no ringdns that knows of this"), "{err}");
    answering.join().expect("the other server ends");
}
