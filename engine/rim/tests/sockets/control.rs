//! Starting, swapping images, stopping, failing.

use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{PATIENCE, REFUSED, Setup, answer, id_of, query, rcode_of, read_frame, send_frame};
use crate::ports::free_port;
use ringdns_rim::{Listen, Plan, bind, cpus_online};
use ringdns_shard::upstream::Protocol;
use ringdns_shard::wire::name::HashKey;

fn plan(address: &str, udp: bool, tcp: bool) -> Plan {
    Plan {
        cpus: cpus_online().unwrap(),
        listens: vec![Listen { address: address.parse().unwrap(), udp, tcp }],
        spin: Duration::ZERO,
        tcp_clients: 10,
        udp_ports: 1,
    }
}

#[test]
fn a_port_that_is_taken_is_named_with_the_way_to_its_holder() {
    let udp = UdpSocket::bind(free_port()).unwrap();
    let tcp = TcpListener::bind(free_port()).unwrap();
    for (address, protocol, command) in
        [(udp.local_addr().unwrap(), "UDP", "ss -lunp"), (tcp.local_addr().unwrap(), "TCP", "ss -ltnp")]
    {
        let trouble = bind(plan(&address.to_string(), true, true)).unwrap_err().to_string();
        for part in [protocol, &address.to_string(), command, &address.port().to_string()] {
            assert!(trouble.contains(part), "{part}: {trouble}");
        }
        assert!(!trouble.contains('\n'));
    }
}

#[test]
fn a_second_server_does_not_slip_in() {
    let address = free_port().to_string();
    let first = bind(plan(&address, true, true)).unwrap();
    assert!(bind(plan(&address, true, false)).is_err(), "its sockets share the port, but with each other only");
    assert!(bind(plan(&address, false, true)).is_err());
    drop(first);
    bind(plan(&address, true, true)).unwrap();
}

#[test]
fn listeners_of_one_plan_may_overlap() {
    let port = free_port().port();
    let mut both = plan(&format!("0.0.0.0:{port}"), true, true);
    both.listens.push(Listen { address: format!("127.0.0.1:{port}").parse().unwrap(), udp: true, tcp: true });
    bind(both).unwrap();
}

#[test]
fn images_are_swapped_under_load_without_a_lost_query() {
    let server = Setup { cores: 2, ..Setup::default() }.start();
    let over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (socket, over) = (server.udp(), over.clone());
            thread::spawn(move || {
                let mut octets = [0; 512];
                let mut asked = 0u16;
                while !over.load(Ordering::Relaxed) {
                    asked = asked.wrapping_add(1);
                    socket.send(&query(asked, "load")).unwrap();
                    let length = socket.recv(&mut octets).expect("no query is lost");
                    assert_eq!((id_of(&octets[..length]), rcode_of(&octets[..length])), (asked, REFUSED));
                }
            })
        })
        .collect();
    let count = server.cores.snapshots(PATIENCE).len();
    let mut last = Vec::new();
    for _ in 0..100 {
        let images: Vec<_> = (0..count).map(|_| server.setup.images()).collect();
        let next: Vec<_> = images.iter().map(Arc::downgrade).collect();
        server.cores.swap(images, PATIENCE).unwrap();
        assert!(last.iter().all(|old: &std::sync::Weak<_>| old.strong_count() == 0), "old images are freed");
        last = next;
    }
    assert!(server.cores.probe(PATIENCE));
    over.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| client.join().unwrap());
}

#[test]
fn stopping_answers_what_is_in_flight() {
    let upstream = UdpSocket::bind("127.0.0.1:0").unwrap();
    upstream.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = upstream.local_addr().unwrap();
    let listens = vec![free_port()];
    let server = Setup { listens, upstream: Some((Protocol::Udp, address)), ..Setup::default() }.start();
    let (udp, mut tcp) = (server.udp(), server.tcp());
    udp.send(&query(1, "udp")).unwrap();
    send_frame(&mut tcp, &query(2, "tcp"));
    let asked: Vec<_> = (0..2)
        .map(|_| {
            let mut octets = [0; 512];
            let (length, from) = upstream.recv_from(&mut octets).unwrap();
            (octets[..length].to_vec(), from)
        })
        .collect();
    let cores = server.cores.clone();
    let stopping = thread::spawn(move || cores.stop(PATIENCE));
    let end = Instant::now() + PATIENCE;
    // A new connection is refused once the doors are closed.
    while std::net::TcpStream::connect(server.address()).is_ok() {
        assert!(Instant::now() < end);
        thread::sleep(Duration::from_millis(5));
    }
    assert!(!stopping.is_finished(), "two clients wait");
    for (query, from) in asked {
        upstream.send_to(&answer(&query, 0), from).unwrap();
    }
    let mut octets = [0; 512];
    udp.recv(&mut octets).unwrap();
    assert_eq!(id_of(&octets), 1);
    assert_eq!(id_of(&read_frame(&mut tcp).unwrap()), 2);
    assert_eq!(read_frame(&mut tcp), None);
    let last = stopping.join().unwrap()[0].clone().expect("a last snapshot");
    assert_eq!((last.rim.udp_sent, last.waiters, last.tcp_connections), (1, 0, 0));
    assert_eq!(server.cores.failed(), None);
}

#[test]
fn stopping_does_not_wait_for_ever() {
    let upstream = UdpSocket::bind("127.0.0.1:0").unwrap();
    upstream.set_read_timeout(Some(PATIENCE)).unwrap();
    let upstream_at = Some((Protocol::Udp, upstream.local_addr().unwrap()));
    let server = Setup { listens: vec![free_port()], upstream: upstream_at, ..Setup::default() }.start();
    let mut tcp = server.tcp();
    send_frame(&mut tcp, &query(1, "never"));
    upstream.recv(&mut [0; 512]).unwrap();
    let began = Instant::now();
    let last = server.cores.stop(Duration::from_millis(200));
    assert!(began.elapsed() < PATIENCE / 2);
    assert_eq!(last[0].as_ref().map(|last| last.waiters), Some(1));
    crate::common::expect_closed(&mut tcp);
    // The port is free again, and a second stop finds nothing.
    bind(plan(&server.address().to_string(), true, true)).unwrap();
    assert_eq!(server.cores.stop(Duration::ZERO), [None]);
    assert!(!server.cores.probe(Duration::from_secs(1)));
}

#[test]
fn cores_end_with_their_last_handle() {
    let server = Setup { listens: vec![free_port()], ..Setup::default() }.start();
    let address = server.address().to_string();
    drop(server);
    let end = Instant::now() + PATIENCE;
    while let Err(trouble) = bind(plan(&address, true, true)) {
        assert!(Instant::now() < end, "{trouble}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_core_that_panics_is_told_of() {
    let server = Setup { cores: 2, ..Setup::default() }.start();
    assert_eq!(server.cores.failed(), None);
    // Images under another hash key are a mistake of the caller's that a shard does not survive.
    let count = server.cores.snapshots(PATIENCE).len();
    let mut images: Vec<_> = (0..count).map(|_| server.setup.images()).collect();
    images[0] = server.setup.images_with(HashKey::from_seed([1; 16]));
    let began = Instant::now();
    let error = server.cores.swap(images, PATIENCE).unwrap_err();
    assert_eq!((error.cores.as_slice(), error.to_string().as_str()), (&[0][..], "no answer in time from core 0"));
    assert!(began.elapsed() < PATIENCE, "a core that is gone is not waited for");
    let end = Instant::now() + PATIENCE;
    while server.cores.failed().is_none() {
        assert!(Instant::now() < end);
        thread::sleep(Duration::from_millis(5));
    }
    assert!(server.cores.failed().unwrap().starts_with("core 0 on CPU "));
    assert!(!server.cores.probe(PATIENCE));
    let last = server.cores.stop(Duration::ZERO);
    assert_eq!(
        last.iter().map(Option::is_some).collect::<Vec<_>>(),
        (0..count).map(|core| core > 0).collect::<Vec<_>>()
    );
}
