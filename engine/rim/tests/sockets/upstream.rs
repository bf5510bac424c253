//! Traffic towards upstreams: fake servers on loopback.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{PATIENCE, SERVFAIL, SHORT, Setup, answer, id_of, query, rcode_of, read_frame, send_frame};
use crate::ports::free_port;
use crate::udp::{held_by_notify, notify, zone};
use ringdns_shard::upstream::Protocol;
use socket2::{Domain, Socket, Type};

fn fake_udp() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut octets = [0; 2048];
    let length = socket.recv(&mut octets).expect("a message comes");
    octets[..length].to_vec()
}

#[test]
fn forwarded_queries_come_back() {
    let upstream = fake_udp();
    let address = upstream.local_addr().unwrap();
    thread::spawn(move || {
        let mut octets = [0; 2048];
        // On a busy machine some are asked twice. It ends when it has been asked nothing for long.
        while let Ok((length, from)) = upstream.recv_from(&mut octets) {
            let _ = upstream.send_to(&answer(&octets[..length], 0), from);
        }
    });
    let server = Setup { upstream: Some((Protocol::Udp, address)), ..Setup::default() }.start();
    let socket = server.udp();
    for round in 0..10 {
        for id in 0..50 {
            socket.send(&query(id, &format!("n{round}-{id}"))).unwrap();
        }
        let mut ids: Vec<u16> = (0..50)
            .map(|_| {
                let reply = receive(&socket);
                assert_eq!(rcode_of(&reply), 0);
                id_of(&reply)
            })
            .collect();
        ids.sort_unstable();
        assert_eq!(ids, (0..50).collect::<Vec<_>>());
    }
    let counters = server.counters();
    assert!(counters.upstream_sent >= 500 && counters.upstream_received >= 500, "{counters:?}");
    assert_eq!(counters.udp_sent, 500);
}

#[test]
fn a_silent_upstream_is_noticed_in_time() {
    let upstream = fake_udp();
    let timeout = Duration::from_millis(400);
    let setup = Setup { upstream: Some((Protocol::Udp, upstream.local_addr().unwrap())), timeout, ..Setup::default() };
    let server = setup.start();
    let socket = server.udp();
    let began = Instant::now();
    socket.send(&query(7, "silence")).unwrap();
    let reply = receive(&socket);
    assert_eq!((id_of(&reply), rcode_of(&reply)), (7, SERVFAIL));
    assert!(began.elapsed() >= timeout - Duration::from_millis(1), "{:?}", began.elapsed());
    let counters = server.counters();
    assert!((1..=20).contains(&counters.alarms), "{counters:?}");
}

#[test]
fn a_truncated_reply_is_asked_for_again_over_tcp() {
    let address = free_port();
    let upstream = UdpSocket::bind(address).unwrap();
    upstream.set_read_timeout(Some(PATIENCE)).unwrap();
    let listener = TcpListener::bind(address).unwrap();
    let server = Setup { upstream: Some((Protocol::Udp, address)), ..Setup::default() }.start();
    let socket = server.udp();
    socket.send(&query(8, "long")).unwrap();
    let mut octets = [0; 2048];
    let (length, from) = upstream.recv_from(&mut octets).unwrap();
    upstream.send_to(&answer(&octets[..length], 0x0200), from).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let asked = read_frame(&mut stream).unwrap();
    // In two parts, as a network may deliver it.
    let reply = crate::common::framed(&answer(&asked, 0));
    for part in [&reply[..5], &reply[5..]] {
        std::io::Write::write_all(&mut stream, part).unwrap();
        thread::sleep(Duration::from_millis(20));
    }
    let reply = receive(&socket);
    assert_eq!((id_of(&reply), rcode_of(&reply)), (8, 0));
    assert_eq!(server.counters().upstream_tcp_opened, 1);
    let answered = Instant::now();
    assert_eq!(read_frame(&mut stream), None, "the connection is closed when nobody needs it any more");
    assert!(answered.elapsed() > Duration::from_secs(5), "but not at once");
    assert_eq!(server.counters().upstream_tcp_idle_closed, 1);
}

#[test]
fn connections_that_fail_are_told_to_the_shard() {
    // Held by a socket that does not listen: connections are refused, and nobody else can take it.
    let closed = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    closed.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = closed.local_addr().unwrap().as_socket().unwrap();
    let server = Setup { upstream: Some((Protocol::Tcp, address)), ..Setup::default() }.start();
    let socket = server.udp();
    socket.send(&query(9, "refused")).unwrap();
    assert_eq!(rcode_of(&receive(&socket)), SERVFAIL);
    assert!(server.counters().upstream_tcp_errors >= 1);
}

#[test]
fn a_connection_without_a_reply_is_ended() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = Setup { upstream: Some((Protocol::Tcp, address)), timeout: SHORT, ..Setup::default() }.start();
    let mut client = server.tcp();
    send_frame(&mut client, &query(1, "stuck"));
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(rcode_of(&read_frame(&mut client).unwrap()), SERVFAIL);
    let mut asked = 0;
    while read_frame(&mut stream).is_some() {
        asked += 1;
    }
    assert!(asked > 0, "our side has closed it after the last question");
}

#[test]
fn queries_that_the_kernel_refuses_fail_at_once() {
    // Broadcast is for sockets that have asked for it.
    let nobody = "255.255.255.255:53".parse().unwrap();
    let server = Setup { upstream: Some((Protocol::Udp, nobody)), ..Setup::default() }.start();
    let socket = server.udp();
    // More than one batch of queries, in batches of requests.
    let count = 200;
    for id in 0..count {
        socket.send(&query(id, &format!("n{id}"))).unwrap();
    }
    let mut ids: Vec<u16> = (0..count)
        .map(|_| {
            let reply = receive(&socket);
            assert_eq!(rcode_of(&reply), SERVFAIL);
            id_of(&reply)
        })
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..count).collect::<Vec<_>>());
    let counters = server.counters();
    assert_eq!(counters.upstream_sent, 0);
    assert!(counters.upstream_send_errors >= 1, "{counters:?}");
    assert_eq!(server.cores.snapshots(PATIENCE)[0].as_ref().unwrap().waiters, 0);
}

#[test]
fn what_the_kernel_drops_of_upstreams_is_counted_to_the_last_one() {
    let upstream = fake_udp();
    let (hear, open) = held_by_notify();
    let address = upstream.local_addr().unwrap();
    let setup = Setup { upstream: Some((Protocol::Udp, address)), zone: Some(zone()), ..Setup::default() };
    let server = setup.start_with(hear);
    let socket = server.udp();
    // Outside of the zone, so that the upstream is asked; of all that it says nothing is a reply to it.
    let mut elsewhere = query(1, "x");
    elsewhere.truncate(elsewhere.len() - 4 - b"example.".len() - 1);
    elsewhere.extend_from_slice(b"\x04test\0\0\x01\0\x01");
    socket.send(&elsewhere).unwrap();
    let (_, core) = upstream.recv_from(&mut [0; 512]).unwrap();
    socket.send(&notify()).unwrap();
    let sent = 20_000;
    for _ in 0..sent {
        upstream.send_to(&[0; 40], core).unwrap();
    }
    open.send(()).unwrap();
    server.wait_for("each datagram, one way or the other", |counters| {
        counters.upstream_received + counters.upstream_kernel_drops >= sent
    });
    let counters = server.counters();
    assert_eq!(counters.upstream_received + counters.upstream_kernel_drops, sent);
    assert!(counters.upstream_kernel_drops > 0, "{counters:?}");
}
