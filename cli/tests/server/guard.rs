//! DNS cookies of clients and query rates, over real sockets.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::dns::{NOERROR, Via, query, udp_socket};
use crate::common::needed;
use crate::common::server::{LISTEN, Server};

const ZONE: &str = "$TTL 60\n@ SOA ns h 1 60 60 60 60\n@ NS ns\nns A 192.0.2.1\n";
const ZONES: &str = "[[zone]]\nname = \"a.test\"\nfile = \"a.zone\"\n";

fn server(configuration: &str) -> Server {
    Server::start(&format!("[server]\ncores = 1\n{configuration}{LISTEN}{ZONES}"), &[("a.zone", ZONE)])
}

fn question() -> Vec<u8> {
    query("ns.a.test", "A")
}

/// A question with a cookie.
fn with_cookie(cookie: &[u8]) -> Vec<u8> {
    let mut query = question();
    query[11] += 1;
    let octets = cookie.len() as u8;
    query.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, octets + 4, 0, 10, 0, octets]);
    query.extend(cookie);
    query
}

/// The cookie that `server` gives to who sends this one: the last option of the last record of its reply.
fn given(server: &Server, cookie: &[u8]) -> Vec<u8> {
    let reply = server.ask(Via::Udp, &with_cookie(cookie));
    assert_eq!((reply.rcode(), reply.answer().len()), (NOERROR, 1));
    let at = reply.octets.len() - 28;
    assert_eq!(reply.octets[at..at + 4], [0, 10, 0, 24]);
    reply.octets[at + 4..].to_vec()
}

#[test]
fn servers_with_one_secret_take_each_others_cookies() {
    const SECRETS: &str = "cookie_secrets = [\"00112233445566778899aabbccddeeff\"]\n";
    const ROLLED: &str =
        "cookie_secrets = [\"ffeeddccbbaa99887766554433221100\", \"00112233445566778899aabbccddeeff\"]\n";
    let [one, other, alone] = [SECRETS, ROLLED, ""].map(server);
    let cookie = given(&one, b"client--");
    assert_eq!(given(&one, &cookie), cookie);
    assert_eq!(given(&other, &cookie), cookie);
    assert_ne!(given(&alone, &cookie), cookie);
    one.counts("cookies{kind=valid}", 1);
    other.counts("cookies{kind=valid}", 1);
    alone.counts("cookies{kind=invalid}", 1);
    // What the second secret makes way for is not known to the first server.
    let rolled = given(&other, b"client--");
    given(&one, &rolled);
    one.counts("cookies{kind=invalid}", 1);
    // A secret that nobody configured outlasts a reload.
    let own = given(&alone, b"client--");
    assert!(alone.reload());
    assert_eq!(given(&alone, &own), own);
}

#[test]
fn dig_finds_its_cookie_good() {
    let Some(dig) = needed("dig", "bind9-dnsutils") else { return };
    let server = server("");
    let port = server.address().port().to_string();
    let ask = |cookie: &str| {
        let output = Command::new(&dig)
            .args(["-r", "@127.0.0.1", "-p", &port, "+tries=1", "+time=20", cookie, "ns.a.test", "A"])
            .output()
            .expect("dig runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let said = ask("+cookie=0011223344556677");
    let line = said.lines().find(|line| line.contains("COOKIE: ")).unwrap_or_else(|| panic!("{said}"));
    assert!(line.ends_with("(good)"), "{said}");
    let whole = line.split_ascii_whitespace().nth(2).expect("the cookie").to_owned();
    assert_eq!(whole.len(), 48, "{line}");
    let said = ask(&format!("+cookie={whole}"));
    assert!(said.contains(&format!("COOKIE: {whole} (good)")) && said.contains("192.0.2.1"), "{said}");
    server.counts("cookies{kind=valid}", 1);
}

/// Fifty questions at once over UDP, of which five are let through, and TCP as if they had not been.
#[test]
fn who_asks_too_often_is_dropped_or_sent_to_tcp() {
    for (action, truncated) in [("drop", 0), ("truncate", 45)] {
        let limits = format!("[limits]\nrate = [{{ prefix = 32, qps = 5 }}]\nrate_action = \"{action}\"\n");
        let server = server(&limits);
        let socket = udp_socket(server.address());
        let begin = Instant::now();
        for _ in 0..50 {
            socket.send(&question()).expect("it is sent");
        }
        server.counts("queries{transport=udp}", 50);
        let more = 5 * begin.elapsed().as_secs() + 5;
        socket.set_read_timeout(Some(Duration::from_secs(1))).expect("a time-out");
        let mut buffer = [0; 512];
        let (mut answers, mut cut) = (0, 0);
        while let Ok(octets) = socket.recv(&mut buffer) {
            let (tc, records) = (buffer[2] & 2 != 0, buffer[7]);
            assert!(octets >= 12 && tc == (records == 0));
            *if tc { &mut cut } else { &mut answers } += 1;
        }
        // On a busy machine they come in less quickly: as many more as the time allows are answered.
        assert!((5..=5 + more).contains(&answers), "{action}: {answers}");
        assert_eq!(cut > 0, truncated > 0, "{action}");
        let told = server.counter("dropped{reason=rate}") + server.counter("rate_truncated{limit=rate}");
        assert_eq!(told + answers, 50, "{action}");
        assert_eq!(server.counter("rate_truncated{limit=rate}"), cut, "{action}");
        let reply = server.ask(Via::Tcp, &question());
        assert_eq!((reply.rcode(), reply.answer().len()), (NOERROR, 1), "{action}");
    }
}

#[test]
fn a_dry_run_answers_everybody_and_counts() {
    let server = server("[limits]\nrate = [{ prefix = 8, qps = 1 }]\nrate_action = \"refuse\"\nrate_dry_run = true\n");
    for _ in 0..100 {
        assert_eq!(server.ask(Via::Udp, &question()).rcode(), NOERROR);
    }
    assert!(server.counter("rate_dry_run") > 0 && server.counter("refused{reason=rate}") == 0);
}
