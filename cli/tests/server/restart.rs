//! The cache over a restart.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crate::common::dns::{NOERROR, NXDOMAIN, Via};
use crate::common::server::{LISTEN, Server};
use crate::common::upstream::{ANSWER, Upstream, address};
use crate::common::wait_until;
use crate::forwarding::configuration;

/// An upstream that has an address for every name but those that begin with `none`.
fn upstream() -> Upstream {
    Upstream::start(|asked| {
        let flags = if asked.name().starts_with("none") { ANSWER | NXDOMAIN } else { ANSWER };
        let records = if flags == ANSWER { vec![address(300, 7)] } else { Vec::new() };
        Some(asked.reply(flags, &records))
    })
}

fn serving(upstream: &Upstream) -> Server {
    Server::start(&configuration(&[format!("udp://{}", upstream.address)], "30s"), &[])
}

fn file(server: &Server) -> PathBuf {
    server.folder().join("state/cache")
}

#[track_caller]
fn stop(server: &mut Server) {
    server.signal("TERM");
    assert!(server.ended().success(), "{}", server.log());
}

#[test]
fn what_was_known_is_known_after_a_restart_and_older() {
    let upstream = upstream();
    let mut server = serving(&upstream);
    for number in 0..50 {
        assert_eq!(server.answer(&format!("kept{number}.test"), "A").ttl(), 300);
    }
    let asked = upstream.count(Via::Udp);
    thread::sleep(Duration::from_millis(2_100));
    for restart in 1..=2 {
        server.restart();
        wait_until("the cache", || server.counter("cache_reloaded") == 50 && !file(&server).exists());
        assert_eq!(server.values("cache_restoring"), [0]);
        for number in 0..50 {
            let answer = server.answer(&format!("KEPT{number}.test"), "A");
            assert_eq!((answer.rcode(), answer.answer().len()), (NOERROR, 1));
            assert!((200..=298).contains(&answer.ttl()), "restart {restart}: {}", answer.ttl());
        }
        assert_eq!(upstream.count(Via::Udp), asked, "nothing is asked again");
        assert_eq!(server.values("cache_entries"), [50]);
    }
    assert_eq!(server.counter("cache_files_refused"), 0);
    assert_eq!(server.log().matches("the cache is as it was: 50 answers").count(), 2, "{}", server.log());
}

#[test]
fn a_damaged_file_is_put_aside_and_the_server_serves() {
    let upstream = upstream();
    let mut server = serving(&upstream);
    assert_eq!(server.answer("kept.test", "A").rcode(), NOERROR);
    stop(&mut server);
    let mut octets = fs::read(file(&server)).expect("the cache is kept");
    let middle = octets.len() / 2;
    octets[middle] ^= 0x10;
    fs::write(file(&server), octets).expect("it is written");
    server.start_again();
    wait_until("the refusal", || server.counter("cache_files_refused") == 1);
    assert_eq!(server.counter("cache_reloaded"), 0);
    let line = "state/cache is refused: it is damaged: the checksum of a portion is wrong";
    assert!(server.log().contains(line), "{}", server.log());
    assert!(!file(&server).exists() && server.folder().join("state/cache.refused").exists());
    assert_eq!(server.answer("kept.test", "A").ttl(), 300, "it is asked anew");
    assert_eq!(upstream.count(Via::Udp), 2);
}

#[test]
fn what_other_servers_said_is_not_taken_for_what_these_would_say() {
    let (before, now) = (upstream(), upstream());
    let mut server = serving(&before);
    assert_eq!(server.answer("kept.test", "A").rcode(), NOERROR);
    stop(&mut server);
    let text = fs::read_to_string(server.folder().join("r.toml")).expect("the configuration");
    server.replace("r.toml", &text.replace(&before.address.to_string(), &now.address.to_string()));
    server.start_again();
    wait_until("the refusal", || server.counter("cache_files_refused") == 1);
    assert!(server.log().contains("routes or upstreams have been changed"), "{}", server.log());
    assert_eq!(server.answer("kept.test", "A").rcode(), NOERROR);
    assert_eq!((before.count(Via::Udp), now.count(Via::Udp)), (1, 1));
}

#[test]
fn a_cache_that_is_not_to_be_kept_leaves_no_file() {
    let upstream = upstream();
    let text = configuration(&[format!("udp://{}", upstream.address)], "30s");
    let mut server = Server::start(&format!("{text}[cache]\npersist = false\n"), &[]);
    assert_eq!(server.answer("kept.test", "A").rcode(), NOERROR);
    server.restart();
    assert_eq!(server.answer("kept.test", "A").rcode(), NOERROR);
    assert_eq!(upstream.count(Via::Udp), 2);
    assert!(!file(&server).exists());
}

#[test]
fn a_server_that_cannot_keep_its_cache_serves_all_the_same() {
    let upstream = upstream();
    let text = configuration(&[format!("udp://{}", upstream.address)], "30s")
        .replace("[server]\n", "[server]\nstate = \"taken\"\n");
    let mut server = Server::start(&text, &[("taken", "a file stands where the folder is to be")]);
    assert_eq!(server.answer("kept.test", "A").rcode(), NOERROR);
    assert!(server.log().contains("the cache will not outlive a restart"), "{}", server.log());
    stop(&mut server);
}

#[test]
fn a_server_of_zones_alone_has_no_file() {
    let zone = "$TTL 60\n@ SOA ns h 1 60 60 60 60\n@ NS ns\nns A 192.0.2.1\n";
    let mut server = Server::start(&format!("{LISTEN}[[zone]]\nname = \"a.test\"\nfile = \"z\"\n"), &[("z", zone)]);
    stop(&mut server);
    // The sandbox has it made, so that a reload may use it.
    assert!(fs::read_dir(server.folder().join("state")).is_ok_and(|mut state| state.next().is_none()));
}
