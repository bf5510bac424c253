//! What other threads ask of the cores' caches and upstreams: flushes, parts for a dump, how servers do.

use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use crate::common::{PATIENCE, Running, Setup, answer, id_of, query, rcode_of};
use ringdns_shard::cache::{Flush, Looked};
use ringdns_shard::upstream::{Protocol, Standing};
use ringdns_shard::wire::name::Name;

/// A fake server that answers everything.
fn upstream() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut octets = [0; 2048];
        // Until a test has been silent for long: then it is over.
        while let Ok((length, from)) = socket.recv_from(&mut octets) {
            let _ = socket.send_to(&answer(&octets[..length], 0), from);
        }
    });
    address
}

fn start(cores: usize, upstream: SocketAddr) -> Running {
    Setup { cores, upstream: Some((Protocol::Udp, upstream)), ..Setup::default() }.start()
}

/// Asks for the addresses of `label`.example, and expects the fake server's answer.
fn ask(socket: &UdpSocket, label: &str) {
    socket.send(&query(9, label)).unwrap();
    let mut octets = [0; 2048];
    let length = socket.recv(&mut octets).expect("a reply comes");
    assert_eq!((id_of(&octets), rcode_of(&octets)), (9, 0));
    assert_eq!(octets[length - 4..length], [192, 0, 2, 1]);
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn entries(server: &Running) -> usize {
    server.cores.statuses(PATIENCE).into_iter().map(|status| status.unwrap().cache.entries).sum()
}

#[test]
fn caches_of_all_cores_are_flushed() {
    let server = start(2, upstream());
    // Several sockets: the kernel spreads them over the cores, so that some names are kept twice.
    let sockets: Vec<_> = (0..8).map(|_| server.udp()).collect();
    for socket in &sockets {
        ["one", "two", "three"].into_iter().for_each(|label| ask(socket, label));
    }
    let kept = entries(&server) as u64;
    let cores = kept / 3;
    assert!(kept == 3 * cores && (1..=2).contains(&cores), "{kept}");
    let hits = || server.shard_counters().cache_hits;
    assert_eq!(hits(), 24 - kept);
    assert_eq!(server.cores.flush(&Flush::Name(name("two.example.")), PATIENCE), Ok(cores));
    assert_eq!(server.cores.flush(&Flush::Name(name("example.")), PATIENCE), Ok(0));
    sockets.iter().for_each(|socket| ask(socket, "one"));
    assert_eq!(hits(), 32 - kept);
    sockets.iter().for_each(|socket| ask(socket, "two"));
    assert_eq!(hits(), 40 - kept - cores);
    assert_eq!(server.cores.flush(&Flush::Subtree(name("example.")), PATIENCE), Ok(kept));
    assert_eq!(entries(&server), 0);
    ask(&sockets[0], "one");
    assert_eq!(server.cores.flush(&Flush::All, PATIENCE), Ok(1));
}

#[test]
fn a_cache_goes_out_in_parts_and_into_another_process() {
    const NAMES: usize = 2_000;
    let upstream = upstream();
    let server = start(1, upstream);
    let socket = server.udp();
    (0..NAMES).for_each(|number| ask(&socket, &format!("kept{number}")));
    assert_eq!(entries(&server), NAMES);
    let mut portions = Vec::new();
    let mut cursor = Some(0);
    while let Some(from) = cursor {
        let portion = server.cores.cache_out(0, from, PATIENCE).unwrap();
        assert!(portion.octets.len() < 66 << 10);
        cursor = portion.next;
        portions.push(portion.octets);
    }
    assert!(portions.len() > 1, "a part at a time");
    drop(server);
    let server = start(1, upstream);
    assert!(server.cores.cache_in(0, vec![0xFF; 100], PATIENCE).unwrap().is_err(), "no part of a cache");
    assert_eq!(entries(&server), 0);
    let taken: usize = portions
        .into_iter()
        .map(|portion| server.cores.cache_in(0, portion, PATIENCE).unwrap().expect("it was written just now"))
        .sum();
    assert_eq!((taken, entries(&server)), (NAMES, NAMES));
    let socket = server.udp();
    (0..NAMES).for_each(|number| ask(&socket, &format!("kept{number}")));
    let counters = server.shard_counters();
    assert_eq!((counters.cache_hits, counters.cache_misses), (NAMES as u64, 0));
}

#[test]
fn a_cache_is_looked_into_and_listed() {
    const NAMES: usize = 300;
    let server = start(1, upstream());
    let socket = server.udp();
    (0..NAMES).for_each(|number| ask(&socket, &format!("seen{number}")));
    let [Some(found)] = &server.cores.cache_look(&name("seen7.example."), PATIENCE)[..] else { panic!("one core") };
    let [found] = &found.answers[..] else { panic!("one answer: {found:?}") };
    assert_eq!((&found.name, found.qtype, found.rcode), (&name("seen7.example."), 1, 0));
    assert!((1..=60).contains(&found.seconds_left) && found.octets > 0, "{found:?}");
    assert!(found.message.ends_with(&[192, 0, 2, 1]), "{found:?}");
    assert_eq!(server.cores.cache_look(&name("example."), PATIENCE), [Some(Looked::default())]);

    let list = |below: &str| {
        let mut names = Vec::new();
        let mut cursor = Some(0);
        while let Some(from) = cursor {
            let part = server.cores.cache_list(0, &name(below), from, PATIENCE).unwrap();
            names.extend(part.answers.into_iter().map(|answer| answer.name.to_string()));
            assert!(part.next != Some(from), "it goes on");
            cursor = part.next;
        }
        names.sort();
        names
    };
    let mut expected: Vec<_> = (0..NAMES).map(|number| name(&format!("seen{number}.example.")).to_string()).collect();
    expected.sort();
    assert_eq!(list("example."), expected);
    assert_eq!((list("."), list("seen12.example.")), (expected, vec![name("seen12.example.").to_string()]));
    assert!(list("elsewhere.test.").is_empty());
}

#[test]
fn a_core_tells_how_servers_do() {
    let upstream = upstream();
    let server = start(1, upstream);
    ask(&server.udp(), "state");
    let [Some(status)] = &server.cores.statuses(PATIENCE)[..] else { panic!("one core tells") };
    let [state] = &status.servers[..] else { panic!("one server: {status:?}") };
    assert_eq!((state.server.address, state.standing), (upstream, Standing::Up));
    assert!(state.answered >= 1 && state.asked >= state.answered && state.since <= status.now, "{state:?}");
    assert_eq!((status.core, status.cache.entries), (0, 1));
    assert!(status.cache.octets > 0 && status.cache.octets <= status.cache.octets_max);
}

#[test]
fn cores_that_have_ended_are_named() {
    let server = Setup::default().start();
    assert_eq!(server.cores.count(), 1);
    server.cores.stop(Duration::ZERO);
    assert_eq!(server.cores.flush(&Flush::All, PATIENCE).unwrap_err().cores, [0]);
    assert_eq!(server.cores.cache_out(0, 0, PATIENCE).unwrap_err().cores, [0]);
    assert_eq!(server.cores.cache_in(0, Vec::new(), PATIENCE).unwrap_err().cores, [0]);
    assert_eq!(server.cores.statuses(PATIENCE), [None]);
    assert_eq!(server.cores.cache_look(&name("example."), PATIENCE), [None]);
    assert_eq!(server.cores.cache_list(0, &name("example."), 0, PATIENCE).unwrap_err().cores, [0]);
}
