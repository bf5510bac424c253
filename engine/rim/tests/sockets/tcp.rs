//! Connections of clients, over real sockets.

use std::io::{Read, Write};
use std::net::{Shutdown, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{
    HEADER, PATIENCE, REFUSED, SHORT, Setup, answer, expect_closed, framed, id_of, query, rcode_of, read_frame,
    send_frame,
};
use ringdns_shard::upstream::Protocol;
use socket2::SockRef;

#[test]
fn a_hundred_queries_in_one_write_get_their_replies() {
    let server = Setup::default().start();
    let mut stream = server.tcp();
    let all: Vec<u8> = (0..100).flat_map(|id| framed(&query(id, "pipe"))).collect();
    stream.write_all(&all).unwrap();
    let mut ids: Vec<u16> = (0..100)
        .map(|_| {
            let reply = read_frame(&mut stream).unwrap();
            assert_eq!(rcode_of(&reply), REFUSED);
            id_of(&reply)
        })
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..100).collect::<Vec<_>>());
}

#[test]
fn a_query_may_come_octet_by_octet() {
    let server = Setup::default().start();
    let mut stream = server.tcp();
    stream.set_nodelay(true).unwrap();
    for octet in framed(&query(3, "slow")) {
        stream.write_all(&[octet]).unwrap();
    }
    assert_eq!(id_of(&read_frame(&mut stream).unwrap()), 3);
}

#[test]
fn a_message_of_the_greatest_length_is_taken() {
    let server = Setup::default().start();
    let mut stream = server.tcp();
    let mut long = query(4, "long");
    long.resize(65_535, 0);
    send_frame(&mut stream, &long);
    send_frame(&mut stream, &query(5, "next"));
    let ids: Vec<u16> = (0..2).map(|_| id_of(&read_frame(&mut stream).unwrap())).collect();
    assert_eq!(ids, [4, 5]);
}

#[test]
fn a_client_that_closes_its_side_gets_its_replies() {
    let upstream = UdpSocket::bind("127.0.0.1:0").unwrap();
    upstream.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = upstream.local_addr().unwrap();
    let server = Setup { upstream: Some((Protocol::Udp, address)), ..Setup::default() }.start();
    let mut stream = server.tcp();
    for id in [1, 2] {
        send_frame(&mut stream, &query(id, &format!("half{id}")));
    }
    stream.shutdown(Shutdown::Write).unwrap();
    let mut asked = Vec::new();
    for _ in 0..2 {
        let mut octets = [0; 512];
        let (length, from) = upstream.recv_from(&mut octets).unwrap();
        asked.push((octets[..length].to_vec(), from));
    }
    // Over two sockets they come in any order: by the digit of their names.
    asked.sort_by_key(|(query, _)| query[HEADER + "half1".len()]);
    // In the other order, to see that replies go as they come.
    let mut ids = Vec::new();
    for (query, from) in asked.iter().rev() {
        upstream.send_to(&answer(query, 0), from).unwrap();
        ids.push(id_of(&read_frame(&mut stream).unwrap()));
    }
    assert_eq!(ids, [2, 1]);
    assert_eq!(read_frame(&mut stream), None, "then the connection ends");
}

#[test]
fn a_length_of_zero_ends_the_connection() {
    let server = Setup::default().start();
    let mut stream = server.tcp();
    let mut both = framed(&query(1, "zero"));
    both.extend_from_slice(&[0, 0]);
    stream.write_all(&both).unwrap();
    assert_eq!(id_of(&read_frame(&mut stream).unwrap()), 1, "what came before is answered");
    expect_closed(&mut stream);
    assert_eq!(server.counters().tcp_zero_length, 1);
}

#[test]
fn a_message_that_never_ends_closes_its_connection_and_no_other() {
    let server = Setup { tcp_idle: SHORT, ..Setup::default() }.start();
    let mut good = server.tcp();
    let mut bad = server.tcp();
    let feeder = {
        let mut stream = bad.try_clone().unwrap();
        thread::spawn(move || {
            // An octet now and then is no way to stay.
            let mut octets = vec![0x00, 0xFF];
            octets.resize(200, 7);
            for octet in octets {
                if stream.write_all(&[octet]).is_err() {
                    return;
                }
                thread::sleep(Duration::from_millis(50));
            }
            panic!("the connection stays open");
        })
    };
    let end = Instant::now() + PATIENCE;
    while server.counters().tcp_frame_timeouts == 0 {
        assert!(Instant::now() < end);
        send_frame(&mut good, &query(1, "good"));
        assert_eq!(id_of(&read_frame(&mut good).unwrap()), 1);
        thread::sleep(Duration::from_millis(20));
    }
    expect_closed(&mut bad);
    feeder.join().unwrap();
    send_frame(&mut good, &query(2, "good"));
    assert_eq!(id_of(&read_frame(&mut good).unwrap()), 2);
}

#[test]
fn a_client_that_never_reads_is_closed() {
    let server = Setup { tcp_idle: SHORT, ..Setup::default() }.start();
    let mut stream = server.tcp();
    SockRef::from(&stream).set_recv_buffer_size(4_096).unwrap();
    let many: Vec<u8> = (0..1_000).flat_map(|id| framed(&query(id, "deaf"))).collect();
    let end = Instant::now() + PATIENCE;
    while stream.write_all(&many).is_ok() {
        assert!(Instant::now() < end, "the server reads on and on");
    }
    let counters = server.counters();
    assert_eq!(counters.tcp_stalled, 1, "{counters:?}");
    assert!(counters.tcp_output_pauses > 0, "{counters:?}");
    server.wait_for("the connection's end", |_| open_connections(&server) == 0);
}

#[test]
fn a_client_that_reads_late_gets_everything() {
    const COUNT: usize = 200_000;
    let server = Setup::default().start();
    let mut stream = server.tcp();
    let mut writer = stream.try_clone().unwrap();
    let writing = thread::spawn(move || {
        let many: Vec<u8> = (0..COUNT).flat_map(|id| framed(&query(id as u16, "late"))).collect();
        writer.write_all(&many).unwrap();
    });
    server.wait_for("the server to wait for its client", |counters| counters.tcp_output_pauses > 0);
    for id in 0..COUNT {
        assert_eq!(id_of(&read_frame(&mut stream).unwrap()), id as u16);
    }
    writing.join().unwrap();
}

#[test]
fn an_idle_connection_is_closed() {
    let server = Setup { tcp_idle: SHORT, ..Setup::default() }.start();
    let mut stream = server.tcp();
    let began = Instant::now();
    send_frame(&mut stream, &query(1, "idle"));
    read_frame(&mut stream).unwrap();
    assert_eq!(read_frame(&mut stream), None);
    assert!(began.elapsed() >= SHORT, "not before its time");
    assert_eq!(server.counters().tcp_idle_closed, 1);
}

#[test]
fn one_connection_too_many_is_closed_at_once() {
    let server = Setup { tcp_clients: 2, ..Setup::default() }.start();
    let mut held: Vec<_> = (0..2).map(|_| server.tcp()).collect();
    for stream in &mut held {
        send_frame(stream, &query(1, "held"));
        read_frame(stream).unwrap();
    }
    expect_closed(&mut server.tcp());
    assert_eq!(server.counters().tcp_over_cap, 1);
    // With one gone there is room again.
    held.pop();
    server.wait_for("room", |_| open_connections(&server) == 1);
    let mut stream = server.tcp();
    send_frame(&mut stream, &query(2, "room"));
    assert_eq!(id_of(&read_frame(&mut stream).unwrap()), 2);
}

#[test]
fn requests_in_flight_are_bounded_a_connection() {
    let upstream = UdpSocket::bind("127.0.0.1:0").unwrap();
    upstream.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = upstream.local_addr().unwrap();
    let server = Setup { upstream: Some((Protocol::Udp, address)), ..Setup::default() }.start();
    let mut stream = server.tcp();
    // All for one name: one question in flight, and all these wait for it.
    let all: Vec<u8> = (0..400).flat_map(|id| framed(&query(id, "one"))).collect();
    stream.write_all(&all).unwrap();
    server.wait_for("a pause", |counters| counters.tcp_in_flight_pauses > 0);
    let waiters = server.cores.snapshots(PATIENCE)[0].as_ref().unwrap().waiters;
    assert_eq!(waiters, 128);
    let mut octets = [0; 512];
    let (length, from) = upstream.recv_from(&mut octets).unwrap();
    upstream.send_to(&answer(&octets[..length], 0), from).unwrap();
    let mut ids: Vec<u16> = (0..400).map(|_| id_of(&read_frame(&mut stream).unwrap())).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..400).collect::<Vec<_>>());
}

#[test]
fn a_reply_for_a_connection_that_is_gone_is_counted() {
    let upstream = UdpSocket::bind("127.0.0.1:0").unwrap();
    upstream.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = upstream.local_addr().unwrap();
    let server = Setup { upstream: Some((Protocol::Udp, address)), ..Setup::default() }.start();
    let mut stream = server.tcp();
    send_frame(&mut stream, &query(1, "gone"));
    let mut octets = [0; 512];
    let (length, from) = upstream.recv_from(&mut octets).unwrap();
    // A reset, so that the server does not take it for a half-close.
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
    server.wait_for("the connection's end", |_| open_connections(&server) == 0);
    // Its slot has the next connection, which must not hear what was meant for the last.
    let mut next = server.tcp();
    upstream.send_to(&answer(&octets[..length], 0), from).unwrap();
    server.wait_for("the late reply", |counters| counters.tcp_gone == 1);
    send_frame(&mut next, &query(2, "gone"));
    assert_eq!(id_of(&read_frame(&mut next).unwrap()), 2);
    next.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(next.read(&mut octets).is_err(), "nothing else comes");
}

fn open_connections(server: &crate::common::Running) -> usize {
    server.cores.snapshots(PATIENCE)[0].as_ref().unwrap().tcp_connections
}
