//! Names that are asked of others.

use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::dns::{
    BOTH, EDE_NO_REACHABLE_AUTHORITY, NOERROR, NXDOMAIN, REFUSED, Reply, SERVFAIL, Via, ask, query, receive,
    udp_socket, wire, with_edns,
};
use crate::common::nsd::Nsd;
use crate::common::server::{LISTEN, Server};
use crate::common::upstream::{ANSWER, TRUNCATED, Upstream, address, reply};
use crate::common::{PATIENCE, wait_until};

/// Everything goes to these servers, the first before the others. One core, so that there is one cache to look into.
pub(crate) fn configuration(servers: &[String], timeout: &str) -> String {
    let servers: Vec<String> = servers.iter().map(|server| format!("\"{server}\"")).collect();
    format!(
        "[server]\ncores = 1\n{LISTEN}[[upstream]]\nname = \"up\"\nstrategy = \"fallback\"\ntimeout = \"{timeout}\"\n\
         servers = [{}]\n[[route]]\nsuffix = \".\"\nto = [\"up\"]\n",
        servers.join(", ")
    )
}

fn udp(address: SocketAddr) -> String {
    format!("udp://{address}")
}

/// Forwards to `upstream` with a time-out that no test runs into.
fn forwarding_to(address: SocketAddr) -> Server {
    Server::start(&configuration(&[udp(address)], "30s"), &[])
}

/// A server that never answers.
fn silent() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").expect("a socket")
}

fn local(socket: &UdpSocket) -> SocketAddr {
    socket.local_addr().expect("an address")
}

#[test]
fn a_second_query_is_answered_from_the_cache() {
    let upstream = Upstream::start(|asked| Some(asked.reply(ANSWER, &[address(300, 7)])));
    let server = forwarding_to(upstream.address);
    let began = Instant::now();
    let first = server.answer("Www.Kept.test", "A");
    assert_eq!((first.rcode(), first.ttl()), (NOERROR, 300));
    thread::sleep(Duration::from_millis(2_100));
    for (name, via) in [("wWW.kEPT.TEST", Via::Udp), ("www.kept.test", Via::Tcp)] {
        let second = server.ask(via, &query(name, "A"));
        assert_eq!(second.question(), format!("{name} A"), "the question is in the asker's spelling");
        let (owner, data) = (format!("{name}. "), " IN A 192.0.2.7");
        let record = &second.answer()[0];
        assert!(record.starts_with(&owner) && record.ends_with(data), "so is the answer: {record}");
        assert!(second.ttl() <= 298, "the TTL has gone down: {record}");
        assert!(u64::from(second.ttl()) + began.elapsed().as_secs() >= 299, "and by no more than the time: {record}");
    }
    assert_eq!(upstream.count(Via::Udp), 1, "only the first query reaches the upstream");
    assert_eq!((server.counter("cache_lookups{outcome=hit}"), server.counter("cache_lookups{outcome=miss}")), (2, 1));
}

#[test]
fn every_core_keeps_what_it_was_answered() {
    let upstream = Upstream::start(|asked| Some(asked.reply(ANSWER, &[address(300, 7)])));
    let server =
        Server::start(&configuration(&[udp(upstream.address)], "30s").replace("cores = 1", "cores = \"all\""), &[]);
    let cores = server.values("core_up").len();
    for _ in 0..50 {
        // A socket of its own each time: the kernel deals them out to the cores.
        let answer = server.answer("kept.test", "A").answer();
        assert!(answer.len() == 1 && answer[0].ends_with(" 192.0.2.7"), "{answer:?}");
    }
    assert!(upstream.count(Via::Udp) <= cores, "{} queries from {cores} cores", upstream.count(Via::Udp));
}

#[test]
fn that_a_name_does_not_exist_is_kept_too() {
    let upstream = Upstream::start(|asked| {
        let mut reply = asked.reply(0x8183, &[]);
        // An SOA record of the root, with a minimum of 60.
        reply[9] = 1;
        let soa = [1u32, 3600, 600, 86_400, 60].map(u32::to_be_bytes).concat();
        reply.extend([&[0, 0, 6, 0, 1, 0, 0, 1, 0, 0, 22, 0, 0][..], &soa].concat());
        Some(reply)
    });
    let server = forwarding_to(upstream.address);
    for _ in 0..3 {
        let reply = server.answer("none.test", "A");
        assert_eq!((reply.rcode(), reply.authority().len()), (NXDOMAIN, 1));
    }
    assert_eq!(upstream.count(Via::Udp), 1);
}

#[test]
fn identical_questions_in_flight_are_asked_once() {
    let upstream =
        Upstream::start_late(|asked| vec![(Duration::from_millis(500), asked.reply(ANSWER, &[address(60, 1)]))]);
    let server = forwarding_to(upstream.address);
    let sockets: Vec<UdpSocket> = (0..20).map(|_| udp_socket(server.address())).collect();
    for socket in &sockets {
        socket.send(&query("same.test", "A")).expect("it is sent");
    }
    for socket in &sockets {
        // Some may come from the cache, a second later.
        let answer = Reply::read(receive(socket)).answer();
        assert!(answer.len() == 1 && answer[0].ends_with(" IN A 192.0.2.1"), "{answer:?}");
    }
    // It was sent more than once only where the answer took too long.
    assert!(upstream.count(Via::Udp) as u64 <= 1 + server.counter("upstream_failures{reason=timeout}"));
    assert_eq!(server.counter("cache_misses_spared{by=in_flight}") + server.counter("cache_lookups{outcome=hit}"), 19);
}

#[test]
fn a_truncated_reply_is_fetched_over_tcp() {
    let upstream = Upstream::start(|asked| {
        Some(match asked.via {
            Via::Udp => asked.reply(TRUNCATED, &[]),
            Via::Tcp => asked.reply(ANSWER, &[address(60, 5)]),
        })
    });
    let server = forwarding_to(upstream.address);
    for via in BOTH {
        let answer = server.ask(via, &query("long.test", "A")).answer();
        assert!(answer.len() == 1 && answer[0].ends_with(" IN A 192.0.2.5"), "{answer:?}");
    }
    assert_eq!((upstream.count(Via::Udp), upstream.count(Via::Tcp)), (1, 1));
}

#[test]
fn an_upstream_is_asked_over_tcp_alone_where_it_says_so() {
    let upstream = Upstream::start(|asked| Some(asked.reply(ANSWER, &[address(60, 5)])));
    let server = Server::start(&configuration(&[format!("tcp://{}", upstream.address)], "30s"), &[]);
    assert_eq!(server.answer("a.test", "A").answer().len(), 1);
    assert_eq!((upstream.count(Via::Udp), upstream.count(Via::Tcp)), (0, 1));
}

#[test]
fn a_second_server_is_asked_when_the_first_is_silent() {
    let (silent, upstream) = (silent(), Upstream::start(|asked| Some(asked.reply(ANSWER, &[address(60, 2)]))));
    let servers = [udp(local(&silent)), udp(upstream.address)];
    let server = Server::start(&configuration(&servers, "30s"), &[]);
    assert_eq!(server.answer("a.test", "A").answer(), ["a.test. 60 IN A 192.0.2.2"]);
    assert_eq!(upstream.count(Via::Udp), 1);
    assert!(server.counter("upstream_failures{reason=timeout}") >= 1);
    silent.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    silent.recv(&mut [0; 512]).expect("the first was asked");
}

#[test]
fn a_second_server_is_asked_when_the_first_cannot_answer() {
    let broken = Upstream::start(|asked| Some(asked.reply(0x8182, &[])));
    let upstream = Upstream::start(|asked| Some(asked.reply(ANSWER, &[address(60, 2)])));
    let server = Server::start(&configuration(&[udp(broken.address), udp(upstream.address)], "30s"), &[]);
    assert_eq!(server.answer("a.test", "A").answer(), ["a.test. 60 IN A 192.0.2.2"]);
    assert_eq!((broken.count(Via::Udp), upstream.count(Via::Udp)), (1, 1));
    assert_eq!(server.counter("upstream_failures{reason=rcode}"), 1);
}

#[test]
fn when_all_are_silent_there_is_servfail_in_time() {
    let sockets = [silent(), silent()];
    let server = Server::start(&configuration(&sockets.each_ref().map(|socket| udp(local(socket))), "1s"), &[]);
    for (via, [one, other]) in [(Via::Udp, ["a.test", "b.test"]), (Via::Tcp, ["c.test", "d.test"])] {
        let began = Instant::now();
        let reply = server.ask(via, &with_edns(query(one, "A"), 0));
        let took = began.elapsed();
        assert_eq!((reply.rcode(), reply.ede()), (SERVFAIL, Some(EDE_NO_REACHABLE_AUTHORITY)), "over {via:?}");
        assert!(took >= Duration::from_millis(990), "not before its time: {took:?}");
        assert!(took < Duration::from_secs(10), "not long after its time: {took:?}");
        let plain = server.ask(via, &query(other, "A"));
        assert_eq!((plain.rcode(), plain.edns()), (SERVFAIL, None), "over {via:?}");
    }
    assert_eq!(server.counter("servfail{reason=upstreams}"), 4);
    assert_eq!(server.counter("resolves"), 0, "nothing stays in flight");
}

#[test]
fn where_nobody_listens_there_is_servfail_in_time() {
    // A socket that is connected to itself lets no one in, and nobody else can take its port.
    let closed = silent();
    closed.connect(local(&closed)).expect("an address of this machine");
    let server = Server::start(&configuration(&[udp(local(&closed))], "1s"), &[]);
    let began = Instant::now();
    let reply = server.ask(Via::Udp, &with_edns(query("a.test", "A"), 0));
    assert_eq!((reply.rcode(), reply.ede()), (SERVFAIL, Some(EDE_NO_REACHABLE_AUTHORITY)));
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn what_waits_for_upstreams_is_bounded() {
    let silent = silent();
    silent.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    let configuration = configuration(&[udp(local(&silent))], "1m");
    let server = Server::start(&format!("{configuration}[limits]\nresolves = 2\nwaiters = 3\n"), &[]);
    // Three wait for one name and one for another: the bounds are reached.
    for name in ["one.test", "one.test", "one.test", "two.test"] {
        let waiting = udp_socket(server.address());
        waiting.send(&query(name, "A")).expect("it is sent");
    }
    wait_until("four wait", || server.counter("waiters") == 4);
    assert_eq!(server.counter("resolves"), 2);
    assert_eq!(server.answer("one.test", "A").rcode(), REFUSED);
    assert_eq!(server.answer("three.test", "A").rcode(), REFUSED);
    assert_eq!((server.counter("refused{reason=waiters}"), server.counter("refused{reason=resolves}")), (1, 1));
}

#[test]
fn what_is_not_the_reply_is_ignored() {
    let upstream = silent();
    upstream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    let server = forwarding_to(local(&upstream));
    let client = udp_socket(server.address());
    client.send(&query("www.true.test", "A")).expect("it is sent");
    let mut buffer = [0; 512];
    let (length, engine) = upstream.recv_from(&mut buffer).expect("the upstream is asked");
    let asked = &buffer[..length];

    let lie = reply(asked, ANSWER, &[address(60, 66)]);
    let altered = |at: usize, octet: u8| {
        let mut altered = lie.clone();
        altered[at] ^= octet;
        altered
    };
    let after_name = 12 + wire("www.true.test").len();
    let unexpected = [altered(0, 0x40), altered(1, 1)];
    let mismatched = [
        ("another name", altered(13, 1)),
        ("another type", altered(after_name + 1, 28 ^ 1)),
        ("another class", altered(after_name + 3, 2)),
    ];
    let malformed = [
        ("an answer that is not there", reply(asked, ANSWER, &[address(60, 66)])[..lie.len() - 16].to_vec()),
        ("a record that ends in the middle", lie[..lie.len() - 1].to_vec()),
    ];
    for other in [silent(), UdpSocket::bind("127.0.0.2:0").expect("a socket")] {
        other.send_to(&lie, engine).expect("it is sent");
    }
    for message in unexpected.iter().chain(mismatched.iter().chain(&malformed).map(|(_, message)| message)) {
        upstream.send_to(message, engine).expect("it is sent");
    }
    // Neither a header nor a response.
    for message in [&asked[..11], b"", &asked[..length]] {
        upstream.send_to(message, engine).expect("it is sent");
    }
    let ignored = |server: &Server| {
        ["unexpected", "mismatched", "malformed"]
            .map(|reason| server.counter(&format!("upstream_ignored{{reason={reason}}}")))
    };
    let sent = 2 + 2 + 3 + 2 + 3;
    wait_until("the lies are counted", || ignored(&server).iter().sum::<u64>() == sent);
    let [by_id_or_sender, by_question, by_form] = ignored(&server);
    assert!(by_id_or_sender >= 4 && by_question >= 3 && by_form >= 2, "{:?}", ignored(&server));

    upstream.send_to(&reply(asked, ANSWER, &[address(60, 1)]), engine).expect("it is sent");
    assert_eq!(Reply::read(receive(&client)).answer(), ["www.true.test. 60 IN A 192.0.2.1"]);
    assert_eq!(server.answer("www.true.test", "A").answer()[0].rsplit(' ').next(), Some("192.0.2.1"));
}

#[test]
fn the_upstream_is_asked_from_ports_and_with_ids_that_vary() {
    let upstream = Upstream::start(|asked| Some(asked.reply(ANSWER, &[address(60, 1)])));
    let server = forwarding_to(upstream.address);
    for number in 0..40 {
        server.answer(&format!("n{number}.test"), "A");
    }
    let mut ids: Vec<[u8; 2]> = upstream.queries().iter().map(|asked| [asked.octets[0], asked.octets[1]]).collect();
    ids.sort_unstable();
    ids.dedup();
    // Forty random ids of 65,536: two pairs that are equal happen once in a few ten thousand runs.
    assert!(ids.len() >= 38, "{ids:?}");
}

const NSD_ZONE: &str = "$TTL 300\n@ SOA ns h 1 3600 900 604800 60\n@ NS ns\n@ MX 10 mail\nns A 192.0.2.1\n\
    www A 192.0.2.80\nwww AAAA 2001:db8::80\nalias CNAME www\nmail A 192.0.2.25\n*.wild TXT \"any\"\n\
    srv SRV 0 5 53 ns\ncaa CAA 0 issue \"ca.test\"\nsub NS ns.sub\nns.sub A 192.0.2.53\nold DNAME new\nx.new A 192.0.2.7\n";

#[test]
fn nsd_says_the_same_through_ringdns() {
    let many: String = (0..150).map(|last| format!("many A 192.0.2.{last}\n")).collect();
    let Some(nsd) = Nsd::start("origin.test", &format!("{NSD_ZONE}{many}")) else { return };
    let server = forwarding_to(nsd.address);
    for (name, rtype) in [
        ("origin.test", "SOA"),
        ("origin.test", "NS"),
        ("origin.test", "MX"),
        ("www.origin.test", "A"),
        ("WWW.origin.test", "AAAA"),
        ("www.origin.test", "TXT"),
        ("alias.origin.test", "A"),
        ("x.wild.origin.test", "TXT"),
        ("srv.origin.test", "SRV"),
        ("caa.origin.test", "CAA"),
        ("none.origin.test", "A"),
        ("x.old.origin.test", "A"),
        ("many.origin.test", "A"),
    ] {
        let direct = ask(nsd.address, Via::Tcp, &query(name, rtype));
        // Once from NSD and once from the cache.
        for _ in 0..2 {
            let through = server.ask(Via::Tcp, &query(name, rtype));
            let of_answer = |reply: &Reply| (reply.content().0, reply.content().1);
            assert_eq!(of_answer(&through), of_answer(&direct), "{name} {rtype}");
            if direct.answer().is_empty() {
                assert_eq!(through.content(), direct.content(), "{name} {rtype}");
            }
        }
    }
    assert!(server.answer("many.origin.test", "A").is_truncated());
    assert_eq!(server.counter("upstream_queries{transport=tcp}"), 1, "the long answer came over TCP");
    assert_eq!(server.counter("upstream_queries{transport=udp}"), 13);
}
