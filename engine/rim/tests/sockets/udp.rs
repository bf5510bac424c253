//! Datagrams of clients, over real sockets.

use std::collections::HashSet;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use ringdns_rim::{Event, Events};
use ringdns_shard::wire::name::{HashKey, Name};
use ringdns_shard::wire::rdata::rtype;
use ringdns_shard::zone::{Builder, Image, Place};

use crate::common::{PATIENCE, REFUSED, Setup, id_of, query, rcode_of, read_frame, send_frame, udp_to};
use crate::ports::free_port;

/// Sends `count` queries, at most 50 on their way at a time, and expects each reply once.
fn ask_many(socket: &UdpSocket, count: u16) {
    let mut open = HashSet::new();
    let mut next = 0;
    let mut octets = [0; 2048];
    while next < count || !open.is_empty() {
        while next < count && open.len() < 50 {
            socket.send(&query(next, "many")).unwrap();
            open.insert(next);
            next += 1;
        }
        let length = socket.recv(&mut octets).expect("no reply is lost");
        assert_eq!(rcode_of(&octets[..length]), REFUSED);
        assert!(open.remove(&id_of(&octets[..length])), "a reply comes once");
    }
}

#[test]
fn a_thousand_queries_get_a_thousand_replies() {
    let server = Setup { cores: 2, ..Setup::default() }.start();
    // Several sockets: the kernel spreads them over the cores.
    for _ in 0..4 {
        ask_many(&server.udp(), 250);
    }
    let counters = server.counters();
    assert_eq!((counters.udp_received, counters.udp_sent, counters.udp_send_errors), (1_000, 1_000, 0));
    assert!(counters.udp_batches <= 1_000);
}

#[test]
fn replies_come_from_the_address_that_was_asked() {
    let server = Setup { listens: vec!["0.0.0.0:0".parse().unwrap()], ..Setup::default() }.start();
    for address in ["127.0.0.1", "127.0.0.2", "127.1.2.3"] {
        // A connected socket hears nothing from any other address.
        ask_many(&udp_to(SocketAddr::new(address.parse().unwrap(), server.address().port())), 100);
    }
}

#[test]
fn both_families_are_served_side_by_side() {
    if UdpSocket::bind("[::1]:0").is_err() {
        eprintln!("skipped: this machine has no IPv6");
        return;
    }
    let port = free_port().port();
    let everywhere = SocketAddr::new("::".parse().unwrap(), port);
    let listens = vec!["[::1]:0".parse().unwrap(), everywhere, "127.0.0.1:0".parse().unwrap()];
    let server = Setup { listens, ..Setup::default() }.start();
    for address in &server.addresses {
        let asked = if address.ip().is_unspecified() {
            SocketAddr::new("::1".parse().unwrap(), address.port())
        } else {
            *address
        };
        ask_many(&udp_to(asked), 100);
    }
    // `[::]` leaves IPv4 alone.
    let free = UdpSocket::bind(("127.0.0.1", port));
    assert!(free.is_ok(), "{free:?}");
}

#[test]
fn a_flood_leaves_their_turn_to_the_others() {
    let server = Setup::default().start();
    let over = Arc::new(AtomicBool::new(false));
    let floods: Vec<_> = (0..2)
        .map(|_| {
            let (socket, over) = (server.udp(), over.clone());
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    // What the kernel does not take is part of a flood too.
                    let _ = socket.send(&query(0, "flood"));
                }
            })
        })
        .collect();
    server.wait_for("the flood", |counters| counters.udp_received > 10_000);
    let mut stream = server.tcp();
    for id in 0..20 {
        send_frame(&mut stream, &query(id, "tcp"));
        assert_eq!(id_of(&read_frame(&mut stream).unwrap()), id);
        assert!(server.cores.probe(PATIENCE));
    }
    over.store(true, Ordering::Relaxed);
    floods.into_iter().for_each(|flood| flood.join().unwrap());
}

#[test]
fn what_is_too_long_is_dropped_and_counted() {
    let server = Setup::default().start();
    let socket = server.udp();
    socket.send(&[0; 4_097]).unwrap();
    socket.send(&[0; 9_000]).unwrap();
    ask_many(&socket, 10);
    let counters = server.counters();
    assert_eq!((counters.udp_oversize, counters.udp_received, counters.udp_sent), (2, 12, 10));
}

#[test]
fn what_is_no_query_gets_nothing() {
    let server = Setup::default().start();
    let socket = server.udp();
    let mut reply = query(1, "reply");
    reply[2] |= 0x80;
    socket.send(&reply).unwrap();
    socket.send(&[]).unwrap();
    socket.send(&[1, 2, 3]).unwrap();
    // These came first; were they answered, the replies expected here would not be the first to come.
    ask_many(&socket, 10);
    let snapshot = server.cores.snapshots(PATIENCE)[0].clone().unwrap();
    assert_eq!((snapshot.rim.udp_received, snapshot.rim.udp_sent), (13, 10));
    assert_eq!(snapshot.shard.dropped_malformed, 3);
}

/// `example.`, which has nothing but its SOA record.
pub(crate) fn zone() -> Arc<Image> {
    let apex: Name = "example".parse().unwrap();
    let mut builder = Builder::new(apex.clone(), HashKey::from_seed([9; 16]));
    for (rtype, numbers) in [(rtype::SOA, &[1u32, 60, 60, 60, 60][..]), (rtype::NS, &[])] {
        let names =
            if rtype == rtype::SOA { [apex.as_wire(), apex.as_wire()].concat() } else { apex.as_wire().to_vec() };
        let data = [names, numbers.iter().flat_map(|number| number.to_be_bytes()).collect()].concat();
        builder.push(apex.as_wire(), rtype, 60, &data, Place::default()).unwrap();
    }
    Arc::new(builder.finish().unwrap())
}

/// That `example.` has changed (RFC 1996).
pub(crate) fn notify() -> Vec<u8> {
    [&[0, 9, 0x24, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], b"\x07example\0\0\x06\0\x01"].concat()
}

/// Who hears of events such that a core that has heard of a NOTIFY reads nothing until it is let go.
pub(crate) fn held_by_notify() -> (Events, mpsc::Sender<()>) {
    let (open, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let hear = move |event| {
        if matches!(event, Event::Notified { .. }) {
            let _ = gate.lock().unwrap().recv_timeout(PATIENCE);
        }
    };
    (Arc::new(hear), open)
}

#[test]
fn what_the_kernel_drops_is_counted_to_the_last_one() {
    let (hear, open) = held_by_notify();
    let server = Setup { zone: Some(zone()), ..Setup::default() }.start_with(hear);
    let socket = server.udp();
    for round in 1..=2u64 {
        socket.send(&notify()).unwrap();
        for id in 0..20_000 {
            socket.send(&query(id, "many")).unwrap();
        }
        open.send(()).unwrap();
        let sent = round * 20_001;
        server.wait_for("each datagram, one way or the other", |counters| {
            counters.udp_received + counters.udp_kernel_drops >= sent
        });
        let counters = server.counters();
        assert_eq!(counters.udp_received + counters.udp_kernel_drops, sent);
        assert!(counters.udp_kernel_drops > 0, "{counters:?}");
    }
    // The last snapshot says the same.
    let before = server.counters();
    let last = server.cores.stop(PATIENCE)[0].clone().unwrap();
    assert_eq!(last.rim.udp_kernel_drops, before.udp_kernel_drops);
}
