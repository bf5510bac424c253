//! What clients together cost the origins behind this server, and this server.

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{IN_ORDER, ORIGIN, ZONE, configuration, head, last_octet, pool, route};
use crate::common::dns::{
    BOTH, NOERROR, NXDOMAIN, REFUSED, Reply, Via, ask, connection, framed, query, read_frame, receive, udp_socket,
};
use crate::common::server::Server;
use crate::common::upstream::{ANSWER, Asked, Upstream, address, reply};
use crate::common::{PATIENCE, wait_until};

/// Answers names that begin with `hot`, and is silent about all others.
fn hot_and_silent() -> Upstream {
    Upstream::start(|asked| {
        let hot = asked.name().to_ascii_lowercase().starts_with("hot");
        hot.then(|| asked.reply(ANSWER, &[address(300, 7)]))
    })
}

/// Names that a server was asked for, each once, without those that begin with `hot`, and without probes.
fn cold(upstream: &Upstream) -> HashSet<String> {
    let names = upstream.queries().into_iter().map(|asked: Asked| asked.name().to_ascii_lowercase());
    names.filter(|name| !name.starts_with("hot") && name.ends_with("test")).collect()
}

/// A server that a test answers for.
fn by_hand() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    let address = socket.local_addr().expect("an address");
    (socket, address)
}

#[test]
fn a_hundred_clients_cost_one_question() {
    let (upstream, at) = by_hand();
    let server = Server::start(&configuration(".", &[at], IN_ORDER), &[]);
    let datagrams: Vec<UdpSocket> = (0..50).map(|_| udp_socket(server.address())).collect();
    let mut streams: Vec<TcpStream> = (0..50).map(|_| connection(server.address())).collect();
    for (socket, stream) in datagrams.iter().zip(&mut streams) {
        socket.send(&query("same.test", "A")).expect("it is sent");
        stream.write_all(&framed(&query("same.test", "A"))).expect("it is sent");
    }
    server.counts("waiters", 100);
    assert_eq!((server.counter("resolves"), server.counter("cache_misses_spared{by=in_flight}")), (1, 99));
    // What was sent more than once was sent since no answer came.
    let mut buffer = [0; 512];
    let (length, engine) = upstream.recv_from(&mut buffer).expect("it is asked");
    assert!(
        server.counter("upstream_queries{transport=udp}") <= 1 + server.counter("upstream_failures{reason=timeout}")
    );
    upstream.send_to(&reply(&buffer[..length], ANSWER, &[address(60, 9)]), engine).expect("it is sent");
    for (socket, stream) in datagrams.iter().zip(&mut streams) {
        assert_eq!(last_octet(&Reply::read(receive(socket))), 9);
        assert_eq!(last_octet(&Reply::read(read_frame(stream).expect("a reply"))), 9);
    }
    assert_eq!((server.counter("resolves"), server.counter("waiters")), (0, 0));
}

#[test]
fn hits_are_served_while_nobody_else_may_wait() {
    let upstream = hot_and_silent();
    let limits = "[limits]\nwaiters = 3\nresolves = 10\n";
    let server = Server::start(&(configuration(".", &[upstream.address], IN_ORDER) + limits), &[]);
    assert_eq!(last_octet(&server.answer("hot.test", "A")), 7);
    let waiting: Vec<UdpSocket> = (0..12).map(|_| udp_socket(server.address())).collect();
    for (number, socket) in waiting.iter().enumerate() {
        // Three for one name, one each for nine others.
        socket.send(&query(&format!("n{}.test", number.saturating_sub(2)), "A")).expect("it is sent");
    }
    server.counts("waiters", 12);
    for via in BOTH {
        assert_eq!(server.ask(via, &query("n0.test", "A")).rcode(), REFUSED, "over {via:?}");
        assert_eq!(server.ask(via, &query("another.test", "A")).rcode(), REFUSED, "over {via:?}");
        assert_eq!(last_octet(&server.ask(via, &query("hot.test", "A"))), 7, "over {via:?}");
    }
    assert_eq!((server.counter("refused{reason=waiters}"), server.counter("refused{reason=resolves}")), (2, 2));
    assert_eq!(cold(&upstream).len(), 10);
}

#[test]
fn a_flood_of_random_names_does_not_reach_the_origin() {
    let upstream = hot_and_silent();
    let limits = "[limits]\nzone_resolves = 20\n";
    let server = Server::start(&(configuration(ZONE, &[upstream.address], ORIGIN) + limits), &[]);
    assert_eq!(last_octet(&server.answer("hot.origin.test", "A")), 7);
    let flood = udp_socket(server.address());
    for number in 0..500 {
        flood.send(&query(&format!("r{number}.origin.test"), "A")).expect("it is sent");
        if number >= 20 {
            assert_eq!(Reply::read(receive(&flood)).rcode(), REFUSED);
        }
        if number % 50 == 0 {
            assert_eq!(last_octet(&server.answer("hot.origin.test", "A")), 7, "hits are served all the time");
        }
    }
    assert_eq!((server.counter("resolves"), server.counter("refused{reason=zone_resolves}")), (20, 480));
    assert_eq!(server.counter("cache_lookups{outcome=hit}"), 10);
    assert_eq!(cold(&upstream).len(), 20);
}

#[test]
fn random_names_reach_an_origin_that_answers_no_oftener_than_allowed() {
    let upstream = Upstream::start(|asked| {
        let mut reply = asked.reply(0x8583, &[]);
        // An SOA record of the zone, whose name ends the one asked for, with a minimum of 60.
        reply[9] = 1;
        let zone_at = asked.name().len() - ZONE.len() + 12;
        let soa = [1u32, 3600, 600, 86_400, 60].map(u32::to_be_bytes).concat();
        reply.extend([&[0xc0, zone_at as u8, 0, 6, 0, 1, 0, 0, 1, 0, 0, 22, 0, 0][..], &soa].concat());
        Some(reply)
    });
    let limits = "[limits]\nzone_rate = 20\n";
    let server = Server::start(&(configuration(ZONE, &[upstream.address], ORIGIN) + limits), &[]);
    let began = Instant::now();
    let mut answered = 0;
    for number in 0..200 {
        let reply = server.answer(&format!("r{number}.origin.test"), "A");
        assert!([NXDOMAIN, REFUSED].contains(&reply.rcode()), "{}", reply.rcode());
        answered += u64::from(reply.rcode() == NXDOMAIN);
    }
    let allowed = 20 * (began.elapsed().as_secs() + 2);
    assert!((20..=allowed).contains(&answered), "{answered} of {allowed}");
    assert_eq!(server.counter("refused{reason=zone_rate}"), 200 - answered);
    assert_eq!(cold(&upstream).len() as u64, answered);
}

#[test]
fn a_name_that_is_asked_for_often_is_fetched_before_it_runs_out() {
    let upstream = Upstream::start(|asked| Some(asked.reply(ANSWER, &[address(10, 7)])));
    let server = Server::start(&configuration(".", &[upstream.address], IN_ORDER), &[]);
    // Its last second is when it is fetched; on a busy machine that may pass without a question.
    wait_until("a refresh", || {
        for _ in 0..20 {
            assert_eq!(last_octet(&server.answer("often.test", "A")), 7);
            thread::sleep(Duration::from_millis(5));
        }
        server.counter("cache_refreshes{outcome=asked}") >= 1
    });
    wait_until("the fresh answer", || upstream.count(Via::Udp) >= 2);
    assert_eq!(server.counter("waiters"), 0, "nobody waits for it");
}

#[test]
fn a_client_that_opens_connection_after_connection_loses_its_own() {
    if UdpSocket::bind("[::1]:0").is_err() {
        crate::common::skipped("no IPv6 on loopback");
        return;
    }
    let upstream = Upstream::start(|asked| Some(asked.reply(ANSWER, &[address(300, 7)])));
    let listen = "[[listen]]\naddress = \"[::1]:0\"\n";
    let configuration = head() + listen + &pool("up", &[upstream.address], IN_ORDER) + &route(".", &["up"]);
    let server = Server::start(&format!("{configuration}[limits]\ntcp_clients = 8\ntcp_idle = \"5m\"\n"), &[]);
    let uses = |stream: &mut TcpStream| {
        stream.write_all(&framed(&query("a.test", "A"))).expect("it is read");
        read_frame(stream).is_some_and(|reply| last_octet(&Reply::read(reply)) == 7)
    };
    let opened = |listener: usize| {
        let mut stream = connection(server.addresses[listener]);
        assert!(uses(&mut stream));
        stream
    };
    // Four are all that one client may have of eight.
    let mut neighbour: Vec<TcpStream> = (0..3).map(|_| opened(1)).collect();
    let mut greedy: Vec<TcpStream> = (0..12).map(|_| opened(0)).collect();
    assert_eq!((server.counter("tcp_closed{reason=recycled}"), server.counter("tcp_connections")), (8, 7));
    for (number, stream) in greedy.iter_mut().enumerate() {
        if number < 8 {
            assert_eq!(read_frame(stream), None, "its oldest are closed");
        } else {
            assert!(uses(stream), "its latest are open");
        }
    }
    assert!(neighbour.iter_mut().all(uses), "others keep theirs");
    assert_eq!(server.counter("tcp_closed{reason=over_cap}"), 0);
}

#[test]
fn clients_above_their_rate_are_refused_and_others_are_not() {
    let upstream = Upstream::start(|asked| Some(asked.reply(ANSWER, &[address(300, 7)])));
    let limits = "[limits]\nrate = [{ prefix = 24, qps = 5 }]\nrate_action = \"refuse\"\n";
    let server = Server::start(&(configuration(".", &[upstream.address], IN_ORDER) + limits), &[]);
    let mut refused = 0;
    wait_until("refusals", || {
        let reply = server.answer("a.test", "A");
        assert!([NOERROR, REFUSED].contains(&reply.rcode()), "{}", reply.rcode());
        refused += u64::from(reply.rcode() == REFUSED);
        refused >= 5
    });
    assert_eq!(server.counter("refused{reason=rate}"), refused);
    // Whose address is certain is counted apart from those that may be forged.
    assert_eq!(ask(server.address(), Via::Tcp, &query("a.test", "A")).rcode(), NOERROR);
}

/// Octets of memory that a process has for itself.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the kernel tells");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("the kernel tells");
    line.trim().split(' ').next().and_then(|text| text.parse::<u64>().ok()).expect("a number of kB") << 10
}

/// Answers everything with sixty addresses, a thousand octets, as fast as it can.
struct Generous {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Generous {
    fn start() -> Generous {
        let (socket, address) = by_hand();
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a time-out");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let records: Vec<Vec<u8>> = (0..60).map(|last| self::address(86_400, last)).collect();
            let mut buffer = [0; 512];
            while !stopped.load(Ordering::Relaxed) {
                let Ok((length, engine)) = socket.recv_from(&mut buffer) else { continue };
                socket.send_to(&reply(&buffer[..length], ANSWER, &records), engine).expect("it is sent");
            }
        });
        Generous { address, stop, thread: Some(thread) }
    }
}

impl Drop for Generous {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().expect("it is taken once").join();
        assert!(ended.is_ok() || thread::panicking(), "the server that answers panicked");
    }
}

/// Asks for these names, a few at a time; each gets an answer.
fn fill(server: &Server, names: std::ops::Range<usize>) {
    let socket = udp_socket(server.address());
    let mut waiting = 0;
    for number in names {
        socket.send(&query(&format!("filler{number}.test"), "A")).expect("it is sent");
        waiting += 1;
        if waiting == 32 {
            receive(&socket);
            waiting -= 1;
        }
    }
    (0..waiting).for_each(|_| drop(receive(&socket)));
}

#[test]
fn a_cache_that_overflows_takes_the_memory_that_it_may() {
    const SIZE: u64 = 8 << 20;
    let upstream = Generous::start();
    let cache = "[cache]\nsize = \"8MiB\"\n";
    let server = Server::start(&(configuration(".", &[upstream.address], IN_ORDER) + cache), &[]);
    // Whatever else grows with use has grown.
    fill(&server, 0..500);
    let (memory, taken) = (resident(server.pid()), server.counter("cache_bytes"));
    fill(&server, 500..16_000);
    let grown = resident(server.pid()).saturating_sub(memory);
    let filled = server.counter("cache_bytes");
    assert!(
        server.counter("cache_removals{reason=evicted}") > 5_000,
        "{}",
        server.counter("cache_removals{reason=evicted}")
    );
    assert!(filled <= SIZE && filled > SIZE / 10 * 9, "{filled}");
    let bound = (SIZE - taken) / 10 * 11 + (2 << 20);
    assert!(grown <= bound, "it has grown by {grown}, not by {bound} at most");
    assert!(grown > SIZE / 2, "{grown}");
}
