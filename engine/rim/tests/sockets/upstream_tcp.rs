//! Exchanges over TCP with upstreams, over real sockets: fake servers on loopback.

use std::collections::HashMap;
use std::io::Read;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;

use crate::common::{
    PATIENCE, Running, SERVFAIL, Setup, answer, framed, id_of, query, rcode_of, read_frame, send_frame,
};
use ringdns_shard::upstream::Protocol;

/// A fake server, and cores that ask it over TCP alone.
fn start() -> (TcpListener, Running) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, start_for(address))
}

fn start_for(address: SocketAddr) -> Running {
    Setup { upstream: Some((Protocol::Tcp, address)), ..Setup::default() }.start()
}

fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The name that a query asks for, as written there, in lower case.
fn name_of(message: &[u8]) -> Vec<u8> {
    let rest = &message[12..];
    let end = rest.iter().position(|&octet| octet == 0).unwrap();
    rest[..end].to_ascii_lowercase()
}

/// The rcodes of the next `count` replies, by id.
fn replies(socket: &UdpSocket, count: usize) -> HashMap<u16, u8> {
    let mut octets = [0; 2048];
    (0..count)
        .map(|_| {
            let length = socket.recv(&mut octets).expect("a reply comes");
            (id_of(&octets[..length]), rcode_of(&octets[..length]))
        })
        .collect()
}

fn all_good(count: u16) -> HashMap<u16, u8> {
    (0..count).map(|id| (id, 0)).collect()
}

#[test]
fn queries_are_pipelined_and_answered_in_any_order() {
    const COUNT: u16 = 10;
    let (listener, server) = start();
    let socket = server.udp();
    for id in 0..COUNT {
        socket.send(&query(id, &format!("pipe{id}"))).unwrap();
    }
    let mut stream = accept(&listener);
    // On a busy machine one of them may be asked twice.
    let mut asked = HashMap::new();
    while asked.len() < COUNT.into() {
        let query = read_frame(&mut stream).unwrap();
        asked.insert(name_of(&query), query);
    }
    for name in (0..COUNT).rev() {
        let label = format!("pipe{name}");
        let query = asked.iter().find(|(name, _)| name[1..].starts_with(label.as_bytes())).unwrap().1;
        send_frame(&mut stream, &answer(query, 0));
    }
    assert_eq!(replies(&socket, COUNT.into()), all_good(COUNT));
    let counters = server.counters();
    assert_eq!(counters.upstream_tcp_opened, 1, "{counters:?}");
    assert!(counters.upstream_tcp_reused >= u64::from(COUNT) - 1, "{counters:?}");
}

#[test]
fn a_connection_serves_one_question_after_the_other() {
    let (listener, server) = start();
    let socket = server.udp();
    let answering = thread::spawn(move || {
        let mut stream = accept(&listener);
        while let Some(query) = read_frame(&mut stream) {
            // In pieces, as a network may deliver them.
            for piece in framed(&answer(&query, 0)).chunks(7) {
                std::io::Write::write_all(&mut stream, piece).unwrap();
            }
        }
    });
    for id in 0..20 {
        socket.send(&query(id, &format!("again{id}"))).unwrap();
        assert_eq!(replies(&socket, 1), HashMap::from([(id, 0)]));
    }
    let counters = server.counters();
    assert_eq!((counters.upstream_tcp_opened, counters.upstream_tcp_errors), (1, 0), "{counters:?}");
    assert!(counters.upstream_tcp_reused >= 19, "{counters:?}");
    assert_eq!(server.cores.snapshots(PATIENCE)[0].as_ref().unwrap().upstream_connections, 1);
    drop(server);
    answering.join().unwrap();
}

#[test]
fn a_connection_that_breaks_in_use_is_replaced_and_nobody_notices() {
    let (listener, server) = start();
    let socket = server.udp();
    socket.send(&query(1, "first")).unwrap();
    let mut stream = accept(&listener);
    let asked = read_frame(&mut stream).unwrap();
    send_frame(&mut stream, &answer(&asked, 0));
    assert_eq!(replies(&socket, 1), HashMap::from([(1, 0)]));
    // It takes the next question, and goes away.
    socket.send(&query(2, "second")).unwrap();
    read_frame(&mut stream).unwrap();
    drop(stream);
    let mut stream = accept(&listener);
    let asked = read_frame(&mut stream).unwrap();
    send_frame(&mut stream, &answer(&asked, 0));
    assert_eq!(replies(&socket, 1), HashMap::from([(2, 0)]));
    // It is closed between two questions.
    drop(stream);
    socket.send(&query(3, "third")).unwrap();
    let mut stream = accept(&listener);
    let asked = read_frame(&mut stream).unwrap();
    send_frame(&mut stream, &answer(&asked, 0));
    assert_eq!(replies(&socket, 1), HashMap::from([(3, 0)]));
    let counters = server.counters();
    assert_eq!((counters.upstream_tcp_opened, counters.upstream_tcp_errors), (3, 0), "{counters:?}");
    assert!(counters.upstream_tcp_retried >= 1, "{counters:?}");
}

#[test]
fn a_fresh_connection_that_breaks_is_a_failure() {
    let (listener, server) = start();
    let closing = thread::spawn(move || {
        // As often as the question is asked, until the core is gone.
        listener.set_nonblocking(false).unwrap();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            if read_frame(&mut stream).is_none() {
                return;
            }
        }
    });
    let socket = server.udp();
    socket.send(&query(1, "broken")).unwrap();
    assert_eq!(replies(&socket, 1), HashMap::from([(1, SERVFAIL)]));
    let counters = server.counters();
    assert!(counters.upstream_tcp_errors >= 1, "{counters:?}");
    assert_eq!(counters.upstream_tcp_retried, 0, "{counters:?}");
    // The fake server ends with a connection over which nothing comes.
    drop(TcpStream::connect(server.setup.upstream.unwrap().1).unwrap());
    closing.join().unwrap();
}

#[test]
fn a_server_that_answers_once_a_connection_answers_everything() {
    const COUNT: u16 = 30;
    let (listener, server) = start();
    let address = listener.local_addr().unwrap();
    let answering = thread::spawn(move || {
        let mut connections = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let Some(query) = read_frame(&mut stream) else { break };
            send_frame(&mut stream, &answer(&query, 0));
            // Closed in an orderly way: what came meanwhile is read, so that there is no reset that overtakes the reply.
            stream.shutdown(Shutdown::Write).unwrap();
            connections.push(thread::spawn(move || while matches!(stream.read(&mut [0; 512]), Ok(1..)) {}));
        }
        connections.into_iter().for_each(|connection| connection.join().unwrap());
    });
    let socket = server.udp();
    for id in 0..COUNT {
        socket.send(&query(id, &format!("once{id}"))).unwrap();
    }
    assert_eq!(replies(&socket, COUNT.into()), all_good(COUNT));
    let counters = server.counters();
    assert!(counters.upstream_tcp_retried > 0, "{counters:?}");
    assert_eq!(counters.upstream_tcp_errors, 0, "{counters:?}");
    drop(server);
    drop(TcpStream::connect(address).unwrap());
    answering.join().unwrap();
}

#[test]
fn a_message_that_replies_to_nothing_is_counted_and_harms_nobody() {
    let (listener, server) = start();
    let socket = server.udp();
    socket.send(&query(1, "odd")).unwrap();
    let mut stream = accept(&listener);
    let asked = read_frame(&mut stream).unwrap();
    let mut other = answer(&asked, 0);
    other[0] ^= 1;
    send_frame(&mut stream, &other);
    server.wait_for("the odd message", |counters| counters.upstream_tcp_unexpected == 1);
    send_frame(&mut stream, &answer(&asked, 0));
    assert_eq!(replies(&socket, 1), HashMap::from([(1, 0)]));
    // What has no id ends the connection; the next question gets another.
    send_frame(&mut stream, &[7]);
    assert_eq!(stream.read(&mut [0; 512]).unwrap(), 0);
    assert_eq!(server.counters().upstream_tcp_unexpected, 2);
    socket.send(&query(2, "even")).unwrap();
    let mut stream = accept(&listener);
    let asked = read_frame(&mut stream).unwrap();
    send_frame(&mut stream, &answer(&asked, 0));
    assert_eq!(replies(&socket, 1), HashMap::from([(2, 0)]));
}

#[test]
fn a_reply_that_comes_late_is_counted_and_harms_nobody() {
    let (listener, server) = start();
    let socket = server.udp();
    socket.send(&query(1, "late")).unwrap();
    let mut stream = accept(&listener);
    // The only server there is: it is asked once more, and the second reply overtakes the first.
    let first = read_frame(&mut stream).unwrap();
    let second = read_frame(&mut stream).unwrap();
    assert_eq!(name_of(&first), name_of(&second));
    send_frame(&mut stream, &answer(&second, 0));
    assert_eq!(replies(&socket, 1), HashMap::from([(1, 0)]));
    send_frame(&mut stream, &answer(&first, 0));
    server.wait_for("the late reply", |counters| counters.upstream_tcp_late == 1);
    assert_eq!(server.counters().upstream_tcp_unexpected, 0);
}

#[test]
fn more_questions_than_connections_carry_are_refused_and_counted() {
    // Four connections of 64 queries each: nobody answers them.
    const COUNT: u16 = 300;
    let (listener, server) = start();
    let mut clients: Vec<_> = (0..3).map(|_| server.tcp()).collect();
    for (place, client) in clients.iter_mut().enumerate() {
        (0..COUNT / 3).for_each(|id| send_frame(client, &query(id, &format!("much{place}-{id}"))));
    }
    let connections = || server.cores.snapshots(PATIENCE)[0].as_ref().unwrap().upstream_connections;
    server.wait_for("the bound", |counters| {
        assert!(connections() <= 4);
        counters.upstream_tcp_over_cap > 0
    });
    // Whoever is refused hears of it.
    for client in &mut clients {
        assert_eq!(rcode_of(&read_frame(client).unwrap()), SERVFAIL);
    }
    drop(server);
    drop(listener);
}
