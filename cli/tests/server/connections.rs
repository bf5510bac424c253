//! TCP connections of clients, good and bad.

use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::common::dns::{BOTH, NOERROR, ask, connection, framed, query, read_frame};
use crate::common::server::{LISTEN, Server};
use crate::common::upstream::{ANSWER, Upstream, address};
use crate::common::{PATIENCE, wait_until};
use crate::forwarding;

const ZONE: &str = "$TTL 60\n@ SOA ns h 1 60 60 60 60\n@ NS ns\nns A 192.0.2.1\n";

/// The idle time-out of these tests: one that no step runs into on a machine that is busy with other things.
const IDLE: Duration = Duration::from_secs(2);

/// One core serves a small zone with a short idle time-out, so that every connection is its neighbour's neighbour.
fn server(limits: &str) -> Server {
    server_with(&format!("{}ms", IDLE.as_millis()), limits)
}

fn server_with(idle: &str, limits: &str) -> Server {
    let zone = "[[zone]]\nname = \"a.test\"\nfile = \"a.zone\"\n";
    let many: String = (0..200).map(|last| format!("many A 192.0.2.{last}\n")).collect();
    let configuration = format!("[server]\ncores = 1\n{LISTEN}{zone}[limits]\ntcp_idle = \"{idle}\"\n{limits}");
    Server::start(&configuration, &[("a.zone", &format!("{ZONE}{many}"))])
}

/// Asks over UDP and new connections for as long as it lives: every query must be answered.
struct Neighbour {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u32>>,
}

impl Neighbour {
    fn of(server: &Server) -> Neighbour {
        let (address, stop) = (server.address(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut answers = 0;
            while !stopped.load(Ordering::Relaxed) || answers == 0 {
                for via in BOTH {
                    assert_eq!(ask(address, via, &query("ns.a.test", "A")).rcode(), NOERROR);
                    answers += 1;
                }
                thread::sleep(Duration::from_millis(20));
            }
            answers
        });
        Neighbour { stop, thread: Some(thread) }
    }

    fn answers(mut self) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("it is taken once").join().expect("the neighbour is answered")
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Waits for the connection's end, with nothing before it.
#[track_caller]
fn closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => assert_eq!(rest, b"", "octets before the end"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "the connection does not end"),
    }
}

/// The same for a connection that was last used after `began`: it ends when it has been idle, and soon.
#[track_caller]
fn closed_in_time(stream: &mut TcpStream, began: Instant) {
    closed(stream);
    let took = began.elapsed();
    assert!(took >= IDLE && took < 10 * IDLE, "{took:?}");
}

#[test]
fn two_hundred_queries_of_one_connection_are_answered_as_answers_come() {
    // Every second name takes its time, so that answers overtake each other.
    let upstream = Upstream::start_late(|asked| {
        let slow = asked.name().ends_with("0.pipe.test");
        vec![(Duration::from_millis(if slow { 400 } else { 0 }), asked.reply(ANSWER, &[address(60, 1)]))]
    });
    let server = Server::start(&forwarding::configuration(&[format!("udp://{}", upstream.address)], "30s"), &[]);
    let mut stream = connection(server.address());
    let queries: Vec<Vec<u8>> = (0..200).map(|number| query(&format!("n{number}.pipe.test"), "A")).collect();
    let all: Vec<u8> = queries.iter().flat_map(|query| framed(query)).collect();
    stream.write_all(&all).expect("it is read");
    let wanted: Vec<[u8; 2]> = queries.iter().map(|query| [query[0], query[1]]).collect();
    let mut came: Vec<[u8; 2]> = Vec::new();
    for _ in 0..200 {
        let reply = read_frame(&mut stream).expect("a reply");
        assert_eq!((reply[3] & 15, reply[7]), (0, 1));
        let asked = &queries[wanted.iter().position(|id| *id == reply[..2]).expect("an id of ours")];
        assert_eq!(reply[12..asked.len()], asked[12..], "the question belongs to the id");
        came.push([reply[0], reply[1]]);
    }
    assert_ne!(came, wanted, "the fast ones do not wait for the slow ones");
    came.sort_unstable();
    let mut wanted = wanted;
    wanted.sort_unstable();
    assert_eq!(came, wanted);
    // What was sent more than once was sent since the answer took its time.
    let names: HashSet<String> = upstream.queries().iter().map(|asked| asked.name().to_ascii_lowercase()).collect();
    assert_eq!((names.len(), server.counter("cache_misses_spared{by=in_flight}")), (200, 0));
}

#[test]
fn a_query_may_come_octet_by_octet_and_its_side_be_closed() {
    let server = server("");
    let mut stream = connection(server.address());
    for octet in framed(&query("ns.a.test", "A")) {
        stream.write_all(&[octet]).expect("it is read");
    }
    stream.shutdown(Shutdown::Write).expect("it is open");
    assert!(read_frame(&mut stream).is_some(), "what was asked is answered");
    assert_eq!(read_frame(&mut stream), None, "then the connection ends");
}

#[test]
fn a_length_of_zero_ends_the_connection() {
    let server = server("");
    let neighbour = Neighbour::of(&server);
    let mut stream = connection(server.address());
    stream.write_all(&[0, 0]).expect("it is read");
    closed(&mut stream);
    assert_eq!(server.counter("tcp_closed{reason=zero_length}"), 1);
    assert!(neighbour.answers() > 0);
}

#[test]
fn a_length_that_never_comes_ends_the_connection_in_time() {
    let server = server("");
    let neighbour = Neighbour::of(&server);
    // Half a length, a length alone, and a message that stops.
    let beginnings: [&[u8]; 3] = [&[0], &[0, 40], &framed(&query("ns.a.test", "A"))[..20]];
    for beginning in beginnings {
        let began = Instant::now();
        let mut stream = connection(server.address());
        stream.write_all(beginning).expect("it is read");
        closed_in_time(&mut stream, began);
    }
    assert_eq!(server.counter("tcp_closed{reason=frame_timeout}"), 3);
    assert!(neighbour.answers() > 0);
}

#[test]
fn a_trickle_of_octets_does_not_keep_a_connection() {
    let server = server("");
    let neighbour = Neighbour::of(&server);
    let mut stream = connection(server.address());
    let end = Instant::now() + PATIENCE;
    // A length of 255, and then an octet now and then.
    let mut octets = [0u8, 255].into_iter().chain(std::iter::repeat(7));
    while stream.write_all(&[octets.next().expect("without end")]).is_ok() {
        assert!(Instant::now() < end, "the connection stays open");
        thread::sleep(IDLE / 10);
    }
    assert_eq!(server.counter("tcp_closed{reason=frame_timeout}"), 1);
    assert!(neighbour.answers() > 0);
}

#[test]
fn a_client_that_never_reads_is_closed() {
    let server = server("");
    let neighbour = Neighbour::of(&server);
    let mut stream = connection(server.address());
    let queries: Vec<u8> = (0..100).flat_map(|_| framed(&query("many.a.test", "A"))).collect();
    let end = Instant::now() + PATIENCE;
    let error = loop {
        if let Err(error) = stream.write_all(&queries) {
            break error;
        }
        assert!(Instant::now() < end, "the server reads on and on");
    };
    assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
    assert_eq!(server.counter("tcp_closed{reason=stalled}"), 1);
    assert!(server.counter("tcp_pauses{reason=output}") > 0, "it stops reading before it gives up");
    assert!(neighbour.answers() > 0);
}

#[test]
fn an_idle_connection_is_closed_in_time() {
    let server = server("");
    let neighbour = Neighbour::of(&server);
    let began = Instant::now();
    let mut stream = connection(server.address());
    stream.write_all(&framed(&query("ns.a.test", "A"))).expect("it is read");
    read_frame(&mut stream).expect("a reply");
    closed_in_time(&mut stream, began);
    // One on which nothing ever comes.
    let began = Instant::now();
    closed_in_time(&mut connection(server.address()), began);
    assert!(server.counter("tcp_closed{reason=idle}") >= 2);
    assert!(neighbour.answers() > 0);
}

#[test]
fn connections_are_capped_and_the_rest_is_answered() {
    let server = server_with("30s", "tcp_clients = 3\n");
    let mut held: Vec<TcpStream> = (0..3).map(|_| connection(server.address())).collect();
    for stream in &mut held {
        stream.write_all(&framed(&query("ns.a.test", "A"))).expect("it is read");
        read_frame(stream).expect("a reply");
    }
    assert_eq!(server.counter("tcp_connections"), 3);
    for _ in 0..3 {
        closed(&mut connection(server.address()));
    }
    assert_eq!(server.counter("tcp_closed{reason=over_cap}"), 3);
    assert_eq!(server.answer("ns.a.test", "A").rcode(), NOERROR, "datagrams are answered all the same");
    for stream in &mut held {
        stream.write_all(&framed(&query("ns.a.test", "A"))).expect("it is read");
        read_frame(stream).expect("those that are open are answered");
    }
    held.pop();
    wait_until("room", || server.counter("tcp_connections") == 2);
    assert_eq!(ask(server.address(), crate::common::dns::Via::Tcp, &query("ns.a.test", "A")).rcode(), NOERROR);
}
