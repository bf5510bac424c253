//! Who gives way when connections of clients become many, over real sockets.

use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};

use crate::common::{PATIENCE, Running, Setup, answer, expect_closed, id_of, query, read_frame, send_frame};
use ringdns_shard::upstream::Protocol;
use socket2::{Domain, Socket, Type};

/// Room for 40: one client may have 10 while half of it is free, and 4 when nothing is.
const ROOM: usize = 40;

fn start() -> Running {
    Setup { tcp_clients: ROOM, ..Setup::default() }.start()
}

/// A connection from this address of the machine's, that has been served: so it has its slot.
fn connect_from(server: &Running, address: &str) -> TcpStream {
    let mut stream = reach_from(server, address);
    ask(&mut stream);
    stream
}

fn reach_from(server: &Running, address: &str) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let address: IpAddr = address.parse().unwrap();
    socket.bind(&SocketAddr::new(address, 0).into()).unwrap();
    socket.connect(&server.address().into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn ask(stream: &mut TcpStream) {
    send_frame(stream, &query(7, "here"));
    assert_eq!(id_of(&read_frame(stream).expect("the connection is served")), 7);
}

#[test]
fn a_client_that_has_its_share_loses_its_oldest_connection() {
    let server = start();
    let mut other = connect_from(&server, "127.0.0.9");
    let mut own: Vec<_> = (0..10).map(|_| connect_from(&server, "127.0.0.1")).collect();
    assert_eq!(server.counters().tcp_recycled, 0);
    own.push(connect_from(&server, "127.0.0.1"));
    expect_closed(&mut own.remove(0));
    own.iter_mut().for_each(ask);
    ask(&mut other);
    let counters = server.counters();
    assert_eq!((counters.tcp_recycled, counters.tcp_over_cap, counters.tcp_accepted), (1, 0, 12), "{counters:?}");
}

#[test]
fn a_connection_in_use_outlives_one_that_is_idle() {
    let upstream = UdpSocket::bind("127.0.0.1:0").unwrap();
    upstream.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = Some((Protocol::Udp, upstream.local_addr().unwrap()));
    let server = Setup { tcp_clients: ROOM, upstream: address, ..Setup::default() }.start();
    let mut octets = [0; 512];
    let mut busy = reach_from(&server, "127.0.0.1");
    send_frame(&mut busy, &query(1, "busy"));
    let (length, from) = upstream.recv_from(&mut octets).unwrap();
    let query = octets[..length].to_vec();
    let mut idle: Vec<_> = (0..9).map(|_| reach_from(&server, "127.0.0.1")).collect();
    server.wait_for("all to be let in", |counters| counters.tcp_accepted == 10);
    let _one_more = reach_from(&server, "127.0.0.1");
    expect_closed(&mut idle[0]);
    upstream.send_to(&answer(&query, 0), from).unwrap();
    assert_eq!(id_of(&read_frame(&mut busy).unwrap()), 1);
    assert_eq!(server.counters().tcp_recycled, 1);
}

#[test]
fn when_all_slots_are_taken_the_client_with_the_most_makes_room() {
    let server = start();
    let mut many: Vec<_> = (0..10).map(|_| connect_from(&server, "127.0.0.1")).collect();
    let mut others: Vec<_> = (1..=ROOM - 10).map(|host| connect_from(&server, &format!("127.0.1.{host}"))).collect();
    assert_eq!(server.cores.snapshots(PATIENCE)[0].as_ref().unwrap().tcp_connections, ROOM);
    for host in 1..=6 {
        others.push(connect_from(&server, &format!("127.0.2.{host}")));
        expect_closed(&mut many.remove(0));
    }
    let counters = server.counters();
    assert_eq!((counters.tcp_recycled, counters.tcp_over_cap), (6, 0), "{counters:?}");
    // Nobody has more than a few now: the next one is not let in, and nobody suffers from it.
    expect_closed(&mut reach_from(&server, "127.0.2.7"));
    many.iter_mut().for_each(ask);
    others.iter_mut().for_each(ask);
    let counters = server.counters();
    assert_eq!((counters.tcp_recycled, counters.tcp_over_cap), (6, 1), "{counters:?}");
}

#[test]
fn another_cap_comes_with_other_images() {
    let server = start();
    let mut held: Vec<_> = (1..=6).map(|host| connect_from(&server, &format!("127.0.1.{host}"))).collect();
    let set = |tcp_clients| {
        let setup = Setup { tcp_clients, ..server.setup.clone() };
        server.cores.swap(vec![setup.images()], PATIENCE).unwrap();
    };
    set(4);
    held.iter_mut().for_each(ask);
    expect_closed(&mut reach_from(&server, "127.0.2.1"));
    held.iter_mut().for_each(ask);
    let counters = server.counters();
    assert_eq!((counters.tcp_over_cap, counters.tcp_recycled), (1, 0), "those who were there stay");
    set(7);
    held.push(connect_from(&server, "127.0.2.1"));
    expect_closed(&mut reach_from(&server, "127.0.2.2"));
    held.iter_mut().for_each(ask);
    assert_eq!(server.counters().tcp_over_cap, 2);
}
