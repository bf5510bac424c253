//! What gets no answer, or an error for one. Each case comes over UDP and over TCP, and after each the server goes on.

use std::io::Write;

use crate::common::dns::{
    BADVERS, BOTH, EDE_PROHIBITED, FORMERR, HEADER, NOERROR, NOTAUTH, NOTIMP, REFUSED, Via, ask, connection, framed,
    query, read_frame, receive, udp_socket, wire, with_edns,
};
use crate::common::server::{LISTEN, Server};

const ZONE: &str = "$TTL 60\n@ SOA ns h 1 60 60 60 60\n@ NS ns\nns A 192.0.2.1\n";
const ZONES: &str = "[[zone]]\nname = \"a.test\"\nfile = \"a.zone\"\n";

/// Letters in the asker's own case, to see them come back.
fn good() -> Vec<u8> {
    query("nS.a.test", "A")
}

fn server() -> Server {
    Server::start(&format!("{LISTEN}{ZONES}"), &[("a.zone", ZONE)])
}

/// Sends `messages` and then a good query, on one socket: the first reply must be the good query's.
fn silence(server: &Server, via: Via, messages: &[Vec<u8>]) {
    let good = good();
    let first = match via {
        Via::Udp => {
            let socket = udp_socket(server.address());
            for message in messages.iter().chain([&good]) {
                socket.send(message).expect("it is sent");
            }
            receive(&socket)
        }
        Via::Tcp => {
            let mut stream = connection(server.address());
            for message in messages.iter().chain([&good]) {
                stream.write_all(&framed(message)).expect("it is sent");
            }
            read_frame(&mut stream).expect("a reply")
        }
    };
    assert_eq!(first[..2], good[..2], "there is a reply to what must get none");
}

#[test]
fn what_is_shorter_than_a_header_or_a_response_gets_nothing() {
    let server = server();
    let mut response = good();
    response[2] |= 0x80;
    // Over TCP a length of zero ends the connection: that is a case of its own.
    let short = |from: usize| (from..HEADER).map(|length| good()[..length].to_vec());
    silence(&server, Via::Udp, &short(0).chain([response.clone()]).collect::<Vec<_>>());
    server.counts("dropped{reason=malformed}", 13);
    silence(&server, Via::Tcp, &short(1).chain([response]).collect::<Vec<_>>());
    server.counts("dropped{reason=malformed}", 25);
    assert_eq!(server.counter("replies"), 2);
}

/// Replaces octets of a message.
fn with(mut message: Vec<u8>, at: usize, octets: &[u8]) -> Vec<u8> {
    message[at..at + octets.len()].copy_from_slice(octets);
    message
}

fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

#[test]
fn what_cannot_be_read_gets_formerr() {
    let server = server();
    let opt: &[u8] = &[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
    let two_opts = with(joined(&[&good(), opt, opt]), 10, &[0, 2]);
    let named_opt = with(joined(&[&good(), &wire("x"), &opt[1..]]), 10, &[0, 1]);
    let a_record: &[u8] = &[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1];
    let header = &good()[..HEADER];
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("no question", with(good(), 4, &[0, 0])),
        ("two questions, and one there", with(good(), 4, &[0, 2])),
        ("two questions", with(joined(&[&good(), &good()[HEADER..]]), 4, &[0, 2])),
        ("65535 questions", with(good(), 4, &[255, 255])),
        ("a header alone", header.to_vec()),
        ("a name that ends in the middle", good()[..HEADER + 3].to_vec()),
        ("no type and class", good()[..good().len() - 4].to_vec()),
        ("half a class", good()[..good().len() - 1].to_vec()),
        ("a pointer for a name", joined(&[header, &[0xc0, 12, 0, 1, 0, 1]])),
        ("a label of a kind that is not", joined(&[header, &[0x41, b'x', 0, 0, 1, 0, 1]])),
        ("a name of 256 octets", {
            let label = joined(&[&[62], &[b'x'; 62]]);
            joined(&[header, &label, &label, &label, &label, &[2, b'y', b'y', 0, 0, 1, 0, 1]])
        }),
        ("two OPT records", two_opts),
        ("an OPT with a name", named_opt),
        ("an OPT whose data run past the end", with(joined(&[&good(), &opt[..9], &[0, 9]]), 10, &[0, 1])),
        ("an option that runs past its OPT", { with(joined(&[&good(), &opt[..9], &[0, 4, 0, 3, 0, 9]]), 10, &[0, 1]) }),
        ("an answer that is not there", with(good(), 6, &[0, 1])),
        ("an authority that is not there", with(good(), 8, &[0, 1])),
        ("an additional record that is not there", with(good(), 10, &[0, 1])),
        ("counts beyond what any message holds", with(good(), 6, &[255; 6])),
        ("a record that ends in the middle", {
            with(joined(&[&good(), &a_record[..a_record.len() - 1]]), 10, &[0, 1])
        }),
    ];
    for (number, (what, message)) in cases.iter().enumerate() {
        for (time, via) in BOTH.into_iter().enumerate() {
            let reply = ask(server.address(), via, message);
            assert_eq!((reply.rcode(), reply.opcode()), (FORMERR, 0), "{what} over {via:?}");
            assert!(reply.octets[2] & 0x80 != 0, "a reply has QR set");
            assert_eq!(
                server.counter("request_errors{reason=malformed}"),
                (2 * number + time + 1) as u64,
                "{what} over {via:?}"
            );
        }
    }
    assert_eq!(server.answer("ns.a.test", "A").rcode(), NOERROR);
}

#[test]
fn other_opcodes_get_notimp_and_their_opcode() {
    let server = server();
    // NOTIFY is read: its answer has tests of its own.
    for opcode in (1..16u8).filter(|opcode| *opcode != 4) {
        for via in BOTH {
            let reply = ask(server.address(), via, &with(good(), 2, &[opcode << 3]));
            assert_eq!((reply.rcode(), reply.opcode()), (NOTIMP, opcode), "over {via:?}");
        }
    }
    assert_eq!(server.counter("request_errors{reason=opcode}"), 28);
    // The opcode decides what the rest means: it is not looked at.
    let message = with(good()[..HEADER].to_vec(), 2, &[5 << 3]);
    assert_eq!(server.ask(Via::Udp, &message).rcode(), NOTIMP);
}

#[test]
fn other_versions_of_edns_get_badvers_and_our_own() {
    let server = server();
    for version in [1, 2, 255] {
        for via in BOTH {
            let reply = server.ask(via, &with_edns(good(), version));
            assert_eq!((reply.rcode(), reply.edns()), (BADVERS, Some(0)), "version {version} over {via:?}");
            assert_eq!(reply.answer(), Vec::<String>::new());
        }
    }
    assert_eq!(server.counter("request_errors{reason=edns_version}"), 6);
    let reply = server.ask(Via::Udp, &with_edns(good(), 0));
    assert_eq!((reply.rcode(), reply.edns()), (NOERROR, Some(0)));
}

/// REFUSED over both ways, with the reason where the asker spoke EDNS and without an OPT where not.
#[track_caller]
fn refused(server: &Server, listener: usize, query: &[u8]) {
    let address = server.addresses[listener];
    for via in BOTH {
        let plain = ask(address, via, query);
        assert_eq!((plain.rcode(), plain.edns()), (REFUSED, None), "over {via:?}");
        let reply = ask(address, via, &with_edns(query.to_vec(), 0));
        assert_eq!((reply.rcode(), reply.ede()), (REFUSED, Some(EDE_PROHIBITED)), "over {via:?}");
        assert!(reply.answer().is_empty() && reply.authority().is_empty() && reply.additional().is_empty());
    }
}

#[test]
fn names_outside_every_route_are_refused() {
    let configuration = format!("{LISTEN}{ZONES}[[route]]\nsuffix = \"closed.test\"\nto = [\"refuse\"]\n");
    let server = Server::start(&configuration, &[("a.zone", ZONE)]);
    for name in ["www.elsewhere.test", "test", ".", "xa.test", "www.closed.test"] {
        refused(&server, 0, &query(name, "A"));
    }
    assert_eq!(server.counter("refused{reason=route}"), 20);
}

#[test]
fn askers_outside_allow_are_refused() {
    let closed = "[[listen]]\naddress = \"127.0.0.1:0\"\nallow = [\"192.0.2.0/24\", \"127.0.0.2\"]\n";
    let server = Server::start(&format!("{LISTEN}{closed}{ZONES}"), &[("a.zone", ZONE)]);
    refused(&server, 1, &good());
    assert_eq!(server.counter("refused{reason=acl}"), 4);
    assert_eq!(ask(server.addresses[0], Via::Udp, &good()).rcode(), NOERROR);
    let inside = std::net::UdpSocket::bind("127.0.0.2:0").expect("a socket");
    inside.connect(server.addresses[1]).expect("an address of this machine");
    inside.set_read_timeout(Some(crate::common::PATIENCE)).expect("a time-out");
    inside.send(&good()).expect("it is sent");
    assert_eq!(receive(&inside)[3] & 15, NOERROR as u8);
}

fn in_class(mut query: Vec<u8>, class: u16) -> Vec<u8> {
    let end = query.len();
    query[end - 2..].copy_from_slice(&class.to_be_bytes());
    query
}

#[test]
fn other_classes_are_refused() {
    const CHAOS: u16 = 3;
    let server = server();
    for class in [2, CHAOS, 4, 254, 255, 65_280] {
        refused(&server, 0, &in_class(good(), class));
    }
    for name in ["version.bind", "id.server"] {
        refused(&server, 0, &in_class(query(name, "TXT"), CHAOS));
    }
    assert_eq!(server.counter("refused{reason=class}"), 32);

    let texts = "[server]\nidentity = \"here\"\nversion = \"the newest\"\n";
    let server = Server::start(&format!("{texts}{LISTEN}{ZONES}"), &[("a.zone", ZONE)]);
    for (name, text) in [("version.bind", "the newest"), ("VERSION.server", "the newest"), ("id.server", "here")] {
        for via in BOTH {
            let reply = server.ask(via, &in_class(query(name, "TXT"), CHAOS));
            let answer = reply.answer();
            assert_eq!((reply.rcode(), answer.len()), (NOERROR, 1), "{name}");
            assert!(answer[0].ends_with(&format!(" 0 CH TXT \"{text}\"")), "{answer:?}");
        }
    }
    refused(&server, 0, &in_class(query("other.server", "TXT"), CHAOS));
}

#[test]
fn transfers_and_meta_types_are_refused() {
    let server = server();
    refused(&server, 0, &query("a.test", "MAILB"));
    assert_eq!(server.counter("refused{reason=type}"), 4);
    // Transfers are for those whom the zone names, and AXFR is for TCP (RFC 5936 §4.2).
    for (via, rtype, rcode) in [
        (Via::Tcp, "AXFR", REFUSED),
        (Via::Tcp, "IXFR", REFUSED),
        (Via::Udp, "IXFR", REFUSED),
        (Via::Udp, "AXFR", NOTIMP),
    ] {
        let reply = server.ask(via, &query("a.test", rtype));
        assert_eq!((reply.rcode(), reply.answer().len()), (rcode, 0), "{rtype} over {via:?}");
    }
    assert_eq!(server.counter("refused{reason=transfer}"), 3);
    assert_eq!(server.ask(Via::Tcp, &query("www.a.test", "AXFR")).rcode(), NOTAUTH);
}

#[test]
fn a_datagram_longer_than_a_request_is_dropped() {
    let server = server();
    let mut long = good();
    long.resize(5_000, 0);
    silence(&server, Via::Udp, &[long]);
    server.counts("dropped{reason=oversize}", 1);
}
