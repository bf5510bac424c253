//! `ringdns ctl` against the server that runs, and the control plane's interface behind it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::dns::{NOERROR, Via};
use crate::common::scripted::{Request, Scripted};
use crate::common::server::{LISTEN, Server, binary};
use crate::common::upstream::{ANSWER, Upstream, address};
use crate::common::{PATIENCE, free_port, wait_until};
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
    assert_eq!(server.counter("upstream_server_cores{standing=up}"), 1);
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
    assert_eq!(server.counter("upstream_server_cores{standing=down}"), 1);
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
        (&["status", "--control", "127.0.0.1:0"], 2, "no server is asked at port 0"),
        (&["status", "--control", "x"], 2, "neither an address such as 127.0.0.1:8053 nor a path"),
        (&["flush"], 2, "<NAME>"),
        (&["flush", "a..b"], 2, "it is no domain name"),
        (&["flush", "a.test", "--all"], 2, "cannot be used with"),
        (&["flush", "--all", "--subtree"], 2, "cannot be used with"),
        (&["zones", "show", "a..b"], 2, "it is no domain name"),
        (&["zones", "list", "--limit", "0"], 2, "it is no number from 1 on"),
        (&["drain", "--seconds", "3601"], 2, "3601 is not in 0..=3600"),
        (&["log", "loud"], 2, "[possible values: off, error, warn, info, debug, trace]"),
        (&["queries", "--outcome", "lost"], 2, "[possible values: zone, cache, stale,"),
        (&["queries", "--min-latency", "5"], 2, "it is no span such as 250ms"),
        (&["queries", "series", "--bucket", "0"], 2, "0 is not in 1.."),
        (&["queries", "--subtree", "--control", "127.0.0.1:1"], 2, "--subtree needs --name NAME"),
        (&["queries", "--follow", "--to", "1h", "--control", "127.0.0.1:1"], 2, "--follow cannot be used with `top`"),
        (&["queries", "--follow", "--control", "127.0.0.1:1", "top"], 2, "--follow cannot be used with `top`"),
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

/// What `words` ask a server for that says `told` (HTTP status and body), and what comes of it.
#[track_caller]
fn asked(words: &[&str], told: (u16, Value)) -> (Vec<Request>, (Option<i32>, String, String)) {
    let scripted = Scripted::start(move |_| (told.0, told.1.to_string()));
    let folder = tempfile::tempdir().expect("a folder");
    let at = scripted.address.to_string();
    let came = ctl(folder.path(), &[words, &["--control", &at]].concat());
    (scripted.asked(), came)
}

#[test]
fn each_action_is_a_request() {
    for (words, line, body) in [
        (&["status"][..], "GET /api/v1/status", ""),
        (&["cores"], "GET /api/v1/cores", ""),
        (&["config"], "GET /api/v1/config", ""),
        (&["reload"], "POST /api/v1/reload", ""),
        (&["zones", "show", "A.test"], "GET /api/v1/zones/a.test.", ""),
        (&["zones", "show", "."], "GET /api/v1/zones/.", ""),
        (&["zones", "reload", r"a\/b.test"], "POST /api/v1/zones/a%2Fb.test./reload", ""),
        (&["upstreams"], "GET /api/v1/upstreams", ""),
        (&["cache"], "GET /api/v1/cache", ""),
        (&["cache", "status"], "GET /api/v1/cache", ""),
        (&["cache", "lookup", "a.test"], "GET /api/v1/cache/lookup?name=a.test.", ""),
        (&["cache", "dump"], "POST /api/v1/cache/dump", ""),
        (&["cache", "flush", "a.test"], "POST /api/v1/cache/flush", r#"{"name":"a.test.","subtree":false}"#),
        (&["flush", "a.test", "--subtree"], "POST /api/v1/cache/flush", r#"{"name":"a.test.","subtree":true}"#),
        (&["flush", "--all"], "POST /api/v1/cache/flush", r#"{"all":true}"#),
        (&["drain"], "POST /api/v1/drain", r#"{"seconds":10}"#),
        (&["drain", "--seconds", "0"], "POST /api/v1/drain", r#"{"seconds":0}"#),
        (&["log"], "GET /api/v1/log", ""),
        (&["log", "debug"], "PUT /api/v1/log", r#"{"level":"debug"}"#),
        (&["queries", "top"], "GET /api/v1/queries/top?of=names", ""),
        (
            &["queries", "--client", "2001:db8::/32", "top", "blocked_names", "--limit", "3"],
            "GET /api/v1/queries/top?client=2001%3Adb8%3A%3A%2F32&of=blocked_names&limit=3",
            "",
        ),
        (
            &["queries", "series", "--bucket", "5", "--blocked", "--min-latency", "5ms"],
            "GET /api/v1/queries/series?blocked=true&min_latency_us=5000&bucket=5",
            "",
        ),
        (
            &[
                "queries",
                "series",
                "--from",
                "2026-11-20T12:00:00+01:00",
                "--to",
                "17",
                "--name",
                "a.test",
                "--subtree",
            ],
            "GET /api/v1/queries/series?from=2026-11-20T12%3A00%3A00%2B01%3A00&to=17&name=a.test.&subtree=true&bucket=60",
            "",
        ),
        (
            &[
                "queries",
                "series",
                "--type",
                "A&limit=1",
                "--rcode",
                "none",
                "--transport",
                "udp",
                "--outcome",
                "cache",
            ],
            "GET /api/v1/queries/series?type=A%26limit%3D1&rcode=none&transport=udp&outcome=cache&bucket=60",
            "",
        ),
        (
            &["queries", "series", "--policy", "rrl", "--blocked=false"],
            "GET /api/v1/queries/series?policy=rrl&blocked=false&bucket=60",
            "",
        ),
    ] {
        // Of an answer that says nothing, nothing is made up, and nothing fails.
        let (asked, (status, out, err)) = asked(words, (200, json!({})));
        let expected = Request { line: line.to_owned(), body: body.to_owned(), token: None };
        assert_eq!(asked, [expected], "{words:?}");
        assert_eq!((status, err.as_str()), (Some(0), ""), "{words:?}: {out}");
    }
}

#[test]
fn what_the_server_says_is_told_without_what_a_terminal_obeys() {
    let nasty = "\u{1b}]0;x\u{7}\u{9b}2J\r\n\u{202e}";
    let everything = |value: Value| {
        let entry = json!({ "name": nasty, "records": [{ "section": nasty, "text": nasty }], "seconds_left": value });
        let of = [
            "version",
            "toml",
            "level",
            "cores",
            "upstreams",
            "pools",
            "needs_restart",
            "cores_silent",
            "kind",
            "state",
            "serial",
            "octets",
            "expires_in",
            "flushed",
            "answers",
            "seconds",
            "draining",
            "query_log",
            "dnstap",
        ];
        let mut object: serde_json::Map<String, Value> =
            of.iter().map(|member| ((*member).to_owned(), value.clone())).collect();
        for (member, items) in [("entries", json!([entry])), ("ranked", json!([{ "value": nasty, "queries": value }]))]
        {
            object.insert(member.to_owned(), items);
        }
        object.insert("buckets".to_owned(), json!([{ "time": nasty, "outcomes": { nasty: value } }]));
        Value::Object(object)
    };
    let values =
        [json!(nasty), json!(u64::MAX), json!(-1), json!(1e300), json!([nasty, 7, null]), json!({ nasty: nasty })];
    for value in values {
        for words in [
            &["status"][..],
            &["cores"],
            &["config"],
            &["zones", "show", "a.test"],
            &["upstreams"],
            &["cache"],
            &["cache", "lookup", "a.test"],
            &["log"],
            &["queries", "top"],
            &["queries", "series"],
        ] {
            let (_, (status, out, err)) = asked(words, (200, everything(value.clone())));
            assert_eq!((status, err.as_str()), (Some(0), ""), "{words:?}");
            let bad =
                out.chars().find(|&character| character.is_control() && character != '\n' || character == '\u{202e}');
            assert_eq!(bad, None, "{words:?}: {out:?}");
        }
    }
    let problem = json!({ "title": "x", "detail": nasty, "faults": [{ "file": nasty, "message": nasty }] });
    let (_, (status, out, err)) = asked(&["reload"], (422, problem));
    assert_eq!((status, out.as_str()), (Some(1), ""));
    assert_eq!(err, "?]0;x??2J???:\n?]0;x??2J???: ?]0;x??2J???\n");
}

#[test]
fn lists_are_asked_for_part_by_part() {
    let folder = tempfile::tempdir().expect("a folder");
    let zones = |request: &Request| {
        let zone = |name: &str| json!({ "name": name, "kind": "primary", "state": "served", "serial": 7 });
        let (names, next): (&[&str], _) = match request.line.as_str() {
            line if line.contains("after=b.test.") => (&[], json!("c.test.")),
            line if line.contains("after=c.test.") => (&["longer.test."], Value::Null),
            _ => (&["a.test.", "b.test."], json!("b.test.")),
        };
        let zones: Vec<Value> = names.iter().map(|name| zone(name)).collect();
        (200, json!({ "zones": zones, "total": 3, "next": next }).to_string())
    };
    let scripted = Scripted::start(zones);
    let at = scripted.address.to_string();
    let (status, out, err) = ctl(folder.path(), &["zones", "--control", &at]);
    assert_eq!((status, err.as_str()), (Some(0), ""));
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 4, "{out}");
    assert!(lines[0].starts_with("NAME     KIND ") && lines[3].starts_with("longer.test.  primary "), "{out}");
    let asked: Vec<String> = scripted.asked().into_iter().map(|request| request.line).collect();
    let parts = ["limit=1000", "limit=1000&after=b.test.", "limit=1000&after=c.test."];
    assert_eq!(asked, parts.map(|parameters| format!("GET /api/v1/zones?{parameters}")));
    let (status, out, _) = ctl(folder.path(), &["zones", "list", "--json", "--control", &at]);
    let names: Vec<Value> =
        out.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["name"].clone()).collect();
    assert_eq!((status, names), (Some(0), vec![json!("a.test."), json!("b.test."), json!("longer.test.")]));
    let (_, out, _) = ctl(folder.path(), &["zones", "list", "--limit", "1", "--control", &at]);
    assert!(out.lines().count() == 3 && out.ends_with("and more; --limit COUNT shows them\n"), "{out}");

    for (told, status, part) in [
        (json!({ "zones": [], "next": null }), 0, ""),
        (json!({ "zones": [], "next": "a.test." }), 3, "the server's list goes in circles"),
        (json!({ "entries": [] }), 3, "the server's answer has no `zones`"),
        (json!({ "zones": 7, "next": 7 }), 3, "the server's answer has no `zones`"),
    ] {
        let scripted = Scripted::start(move |_| (200, told.to_string()));
        let (code, out, err) = ctl(folder.path(), &["zones", "--control", &scripted.address.to_string()]);
        assert!(code == Some(status) && err.contains(part), "{out}{err}");
        assert_eq!(out, if status == 0 { "no zones\n" } else { "" });
    }
    let scripted = Scripted::start(|_| {
        (200, json!({ "entries": vec![json!({ "name": "a.test." }); 3], "next": "17" }).to_string())
    });
    let at = scripted.address.to_string();
    let (_, out, _) = ctl(folder.path(), &["cache", "list", "--below", "Test", "--limit", "2", "--control", &at]);
    assert_eq!((out.lines().count(), out.ends_with("and more; --limit COUNT shows them\n")), (4, true), "{out}");
    assert_eq!(scripted.asked()[0].line, "GET /api/v1/cache/entries?below=test.&limit=2");
}

#[test]
fn followed_queries_are_told_once_and_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let query =
        |second: u64, name: &str| json!({ "time": "t", "unix_us": second * 1_000_000, "name": name, "type": "A" });
    let looks = Mutex::new(0);
    let scripted = Scripted::start(move |request| {
        let mut looks = looks.lock().expect("one thread");
        *looks += 1;
        let queries = match *looks {
            1 => vec![query(100, "c."), query(99, "b."), query(80, "a.")],
            2 => vec![query(100, "c."), query(99, "b.")],
            3 => vec![query(101, "e."), query(100, "c."), query(100, "c."), query(99, "late."), query(99, "b.")],
            _ => vec![query(101, "e.")],
        };
        assert!(request.line.starts_with("GET /api/v1/queries?type=A"), "{request:?}");
        (200, json!({ "queries": queries, "next": null }).to_string())
    });
    let words = ["ctl", "queries", "--follow", "--json", "--type", "A", "--control", &scripted.address.to_string()];
    let mut child =
        binary().args(words).current_dir(folder.path()).stdout(Stdio::piped()).spawn().expect("the binary runs");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let name = |line: String| serde_json::from_str::<Value>(&line).expect("JSON")["name"].clone();
    let names: Vec<Value> = lines.take(6).map(name).collect();
    assert_eq!(names, ["a.", "b.", "c.", "late.", "c.", "e."].map(Value::from));
    // The pipe is closed by now. Nothing more comes, though, so that nobody notices.
    wait_until("it asks again", || scripted.asked().len() > 4);
    child.kill().and_then(|()| child.wait()).expect("it ends");
    let asked: Vec<String> = scripted.asked().into_iter().map(|request| request.line).collect();
    assert!(asked[0].ends_with("&limit=10") && asked[1].ends_with("&from=90.000000&limit=1000"), "{asked:?}");
    assert!(asked[3].contains("&from=91.000000&"), "{asked:?}");
}

#[test]
fn tokens_go_where_they_are_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("token"), TOKEN).expect("the file is written");
    let scripted = Scripted::start(|request| match &request.token {
        None => (401, json!({ "detail": "a token is needed" }).to_string()),
        Some(_) => (200, json!({ "level": "info" }).to_string()),
    });
    let at = scripted.address.to_string();
    let (status, out, err) = ctl(folder.path(), &["log", "--control", &at]);
    assert_eq!((status, out.as_str(), err.as_str()), (Some(3), "", "a token is needed\n"));
    let (status, out, _) = ctl(folder.path(), &["log", "--control", &at, "--token-file", "token"]);
    assert_eq!((status, out.as_str()), (Some(0), "level: info\n"));
    assert_eq!(scripted.asked()[1].token.as_deref(), Some(TOKEN));
    // With --json the problem is told to programs, too.
    let (status, out, err) = ctl(folder.path(), &["log", "--control", &at, "--json"]);
    assert_eq!((status, out.as_str()), (Some(3), "{\"detail\":\"a token is needed\"}\n"), "{err}");
}

#[test]
fn the_server_that_runs_does_what_it_is_told() {
    let upstream = answering();
    let zone = "[[zone]]\nname = \"z.test\"\nfile = \"z.zone\"\n[query_log]\nenabled = true\n";
    let text = |serial: u32| format!("$TTL 60\n@ SOA ns h {serial} 60 60 60 60\n@ NS ns\nns A 192.0.2.1\n");
    let files = [("token", TOKEN), ("z.zone", &text(1))];
    let mut server = Server::start(&(configuration(upstream.address) + zone), &files);
    let told = |words: &[&str]| {
        let (status, out, err) = ctl(server.folder(), &[words, &["-c", "r.toml"]].concat());
        assert_eq!((status, err.as_str()), (Some(0), ""), "{words:?}: {out}");
        out
    };
    for name in ["a.test", "b.test", "a.test", "ns.z.test"] {
        assert_eq!(server.answer(name, "A").rcode(), NOERROR);
    }
    let cores = told(&["cores"]);
    assert!(cores.starts_with("CORE  CPU ") && cores.contains("\n0     UDP, waited       2 "), "{cores}");
    assert!(told(&["config"]).contains("\n[query_log]\nenabled = true\n"));
    assert!(told(&["upstreams"]).starts_with("SERVER "));

    assert!(told(&["zones"]).contains("\nz.test.  primary  served       1 "));
    server.replace("z.zone", &text(7));
    assert_eq!(told(&["zones", "reload", "z.test"]), "read\n");
    assert_eq!(object(&server, &["zones", "show", "z.test"])["serial"], 7);
    let (status, _, err) = ctl(server.folder(), &["zones", "show", "y.test", "-c", "r.toml"]);
    assert!(status == Some(1) && err.starts_with("there is no zone y.test."), "{err}");

    let cache = told(&["cache"]);
    let all: Vec<&str> = cache.lines().last().map(|line| line.split_whitespace().collect()).unwrap_or_default();
    assert_eq!(all[..2], ["all", "2"], "{cache}");
    let kept = told(&["cache", "lookup", "a.test"]);
    assert!(kept.starts_with("a.test.  A  NOERROR: ") && kept.contains("\n    answer      a.test. "), "{kept}");
    assert_eq!(told(&["cache", "lookup", "c.test"]), "nothing is kept for c.test.\n");
    let listed = told(&["cache", "list", "--below", "b.test"]);
    assert!(listed.lines().count() == 2 && listed.contains("\nb.test.  A     NOERROR  no  no "), "{listed}");
    assert!(told(&["cache", "dump"]).starts_with("written: "));
    assert_eq!(told(&["cache", "flush", "--all"]), "flushed: 2\n");
    assert_eq!(told(&["cache", "list"]), "nothing is kept\n");

    assert_eq!((told(&["log"]), told(&["log", "warn"])), ("level: info\n".to_owned(), "level: warn\n".to_owned()));
    assert_eq!(told(&["log"]), "level: warn\n");

    // The log is opened, and filled, in the background.
    let logged = || ctl(server.folder(), &["queries", "--json", "-c", "r.toml"]).1;
    wait_until("the queries are logged", || logged().lines().count() == 4);
    let shown = told(&["queries", "--outcome", "cache"]);
    assert!(
        shown.lines().count() == 2 && shown.contains("  127.0.0.1  udp   a.test.  A     NOERROR  cache "),
        "{shown}"
    );
    assert!(told(&["queries", "top", "--limit", "1"]).ends_with("\n      2  a.test.\n"));
    assert!(told(&["queries", "--from", "1h", "series", "--bucket", "3600"]).contains("resolved 2, zone 1"));
    let (status, _, err) = ctl(server.folder(), &["queries", "--client", "me", "-c", "r.toml"]);
    assert!(status == Some(1) && err.starts_with("`client`: found `me`; accepted: "), "{err}");

    let drained = told(&["drain", "--seconds", "0"]);
    assert_eq!(drained, "draining: not ready from now on, and stops after 0 s\n");
    assert_eq!(server.ended().code(), Some(0), "{}", server.log());
}

#[test]
fn shells_and_manuals_know_of_every_action() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = binary().args(["completions", "bash"]).output().expect("the binary runs");
    let completions = String::from_utf8(output.stdout).expect("text");
    for words in ["ringdns__subcmd__top", "ringdns__subcmd__ctl__subcmd__queries__subcmd__series"] {
        assert!(completions.contains(words), "{words}");
    }
    for word in ["blocked_names", "resolved", "--min-latency"] {
        assert!(completions.contains(word), "{word}");
    }
    let status = binary().arg("man").arg(folder.path()).status().expect("the binary runs");
    assert!(status.success());
    for page in ["ringdns-top.1", "ringdns-ctl.1", "ringdns-ctl-zones-reload.1", "ringdns-ctl-queries-top.1"] {
        assert!(folder.path().join(page).exists(), "{page}");
    }
}

#[test]
fn a_reload_asked_for_while_a_zone_is_read_is_answered() {
    let zone = |serial: u32| {
        let mut text = format!("$TTL 60\n@ SOA ns h {serial} 60 60 60 60\n@ NS ns\nns A 192.0.2.1\n");
        (0..100_000).for_each(|number| text += &format!("h{number} A 192.0.2.1\n"));
        text
    };
    let control = "[control]\nlisten = \"127.0.0.1:0\"\nsocket = \"ctl.sock\"\n";
    let configuration = format!("{LISTEN}[[zone]]\nname = \"a.test\"\nfile = \"a.zone\"\n{control}");
    let server = Server::start(&configuration, &[("a.zone", &zone(1))]);
    server.replace("a.zone", &zone(2));
    let (told, answers) = std::sync::mpsc::channel();
    let ask = |words: &'static [&'static str]| {
        let (folder, told) = (server.folder().to_owned(), told.clone());
        std::thread::spawn(move || told.send(ctl(&folder, &[words, &["-c", "r.toml"]].concat()).0))
    };
    ask(&["zones", "reload", "a.test"]);
    wait_until("the zone is being read", || {
        // While one is read, no other is looked for.
        ctl(server.folder(), &["zones", "reload", "none.test", "-c", "r.toml"]).2.contains("under way")
            || server.answer("a.test", "SOA").answer()[0].contains(" 2 ")
    });
    ask(&["reload"]);
    for _ in 0..2 {
        let answer = answers.recv_timeout(PATIENCE);
        assert_eq!(answer, Ok(Some(0)), "{}", server.log());
    }
}
