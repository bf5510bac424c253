//! Zones of the server's own.

use std::net::UdpSocket;

use crate::common::dns::{BOTH, NOERROR, NXDOMAIN, Via, ask, query};
use crate::common::server::{LISTEN, Server};
use crate::common::skipped;

const ZONE: &str = "\
$TTL 1h
@       SOA   ns1 hostmaster 7 1h 15m 1w 5m
        NS    ns1
        NS    ns2.elsewhere.test.
        MX    10 mail
ns1     A     192.0.2.1
mail    AAAA  2001:db8::25
www 60  A     192.0.2.80
        A     192.0.2.81
alias   CNAME www
out     CNAME www.elsewhere.test.
text    TXT   \"one\" \"two; three\"
*.wild  A     192.0.2.42
below.deep A  192.0.2.9
sub     NS    ns.sub
ns.sub  A     192.0.2.53
old     DNAME new
x.new   A     192.0.2.7
unknown TYPE65280 \\# 3 010203
$GENERATE 1-3 host$ A 192.0.2.$
";

fn configuration(listen: &str) -> String {
    format!("{listen}[[zone]]\nname = \"a.test\"\nfile = \"a.zone\"\n")
}

fn sorted(mut records: Vec<String>) -> Vec<String> {
    records.sort_unstable();
    records
}

/// Name, type, response code, whether authoritative, then the three sections.
type Expected =
    (&'static str, &'static str, u16, bool, &'static [&'static str], &'static [&'static str], &'static [&'static str]);

const SOA: &str = "a.test. 300 IN SOA ns1.a.test. hostmaster.a.test. 7 3600 900 604800 300";

const EXPECTED: &[Expected] = &[
    ("www.a.test", "A", NOERROR, true, &["www.a.test. 60 IN A 192.0.2.80", "www.a.test. 60 IN A 192.0.2.81"], &[], &[]),
    ("WwW.a.TEST", "A", NOERROR, true, &["www.a.test. 60 IN A 192.0.2.80", "www.a.test. 60 IN A 192.0.2.81"], &[], &[]),
    ("www.a.test", "AAAA", NOERROR, true, &[], &[SOA], &[]),
    ("none.a.test", "A", NXDOMAIN, true, &[], &[SOA], &[]),
    ("deep.a.test", "A", NOERROR, true, &[], &[SOA], &[]),
    (
        "a.test",
        "MX",
        NOERROR,
        true,
        &["a.test. 3600 IN MX 10 mail.a.test."],
        &[],
        &["mail.a.test. 3600 IN AAAA 2001:db8::25"],
    ),
    (
        "alias.a.test",
        "A",
        NOERROR,
        true,
        &[
            "alias.a.test. 3600 IN CNAME www.a.test.",
            "www.a.test. 60 IN A 192.0.2.80",
            "www.a.test. 60 IN A 192.0.2.81",
        ],
        &[],
        &[],
    ),
    ("out.a.test", "A", NOERROR, true, &["out.a.test. 3600 IN CNAME www.elsewhere.test."], &[], &[]),
    ("text.a.test", "TXT", NOERROR, true, &["text.a.test. 3600 IN TXT \"one\" \"two; three\""], &[], &[]),
    ("x.y.wild.a.test", "A", NOERROR, true, &["x.y.wild.a.test. 3600 IN A 192.0.2.42"], &[], &[]),
    (
        "www.sub.a.test",
        "A",
        NOERROR,
        false,
        &[],
        &["sub.a.test. 3600 IN NS ns.sub.a.test."],
        &["ns.sub.a.test. 3600 IN A 192.0.2.53"],
    ),
    (
        "x.old.a.test",
        "A",
        NOERROR,
        true,
        &[
            "old.a.test. 3600 IN DNAME new.a.test.",
            "x.new.a.test. 3600 IN A 192.0.2.7",
            "x.old.a.test. 3600 IN CNAME x.new.a.test.",
        ],
        &[],
        &[],
    ),
    ("unknown.a.test", "TYPE65280", NOERROR, true, &["unknown.a.test. 3600 IN TYPE65280 \\# 3 01 02 03"], &[], &[]),
    ("host3.a.test", "A", NOERROR, true, &["host3.a.test. 3600 IN A 192.0.2.3"], &[], &[]),
];

#[test]
fn a_zone_answers_over_udp_and_tcp() {
    let server = Server::start(&configuration(LISTEN), &[("a.zone", ZONE)]);
    for via in BOTH {
        for &(name, rtype, rcode, authoritative, answer, authority, additional) in EXPECTED {
            let reply = server.ask(via, &query(name, rtype));
            let what = format!("{name} {rtype} over {via:?}");
            assert_eq!((reply.rcode(), reply.is_authoritative()), (rcode, authoritative), "{what}");
            assert_eq!(reply.question(), format!("{name} {rtype}"), "the question comes back as it was spelt");
            let lower = |records: Vec<String>| {
                sorted(records.into_iter().map(|record| record.replace("WwW.a.TEST", "www.a.test")).collect())
            };
            assert_eq!(lower(reply.answer()), answer, "{what}");
            assert_eq!(sorted(reply.authority()), authority, "{what}");
            assert_eq!(sorted(reply.additional()), additional, "{what}");
            assert_eq!(reply.edns(), None, "{what}");
        }
    }
    assert_eq!(server.counter("zone_answers"), 2 * EXPECTED.len() as u64);
    assert_eq!(server.counter("queries{transport=udp}"), EXPECTED.len() as u64);
    assert_eq!(server.counter("queries{transport=tcp}"), EXPECTED.len() as u64);
    assert!(server.counter("responses{rcode=NXDOMAIN}") == 2 && server.counter("responses{rcode=NOERROR}") > 2);
}

#[test]
fn a_chain_stands_in_its_order() {
    let server = Server::start(&configuration(LISTEN), &[("a.zone", ZONE)]);
    let answer = server.answer("alias.a.test", "A").answer();
    assert!(answer[0].contains(" CNAME "), "{answer:?}");
}

#[test]
fn a_zone_answers_over_ipv4_and_ipv6() {
    if UdpSocket::bind("[::1]:0").is_err() {
        return skipped("this machine has no IPv6");
    }
    let listen = format!("{LISTEN}[[listen]]\naddress = \"[::1]:0\"\n");
    let server = Server::start(&configuration(&listen), &[("a.zone", ZONE)]);
    assert!(server.addresses[0].is_ipv4() && server.addresses[1].is_ipv6());
    for address in &server.addresses {
        for via in BOTH {
            let reply = ask(*address, via, &query("host1.a.test", "A"));
            assert_eq!(reply.answer(), ["host1.a.test. 3600 IN A 192.0.2.1"]);
        }
    }
}

#[test]
fn the_address_that_was_asked_answers() {
    let server = Server::start(&configuration("[[listen]]\naddress = \"0.0.0.0:0\"\n"), &[("a.zone", ZONE)]);
    let port = server.address().port();
    for last in [1, 2, 77] {
        // The socket is connected: a reply from another address does not reach it.
        let reply = ask(([127, 0, 0, last], port).into(), Via::Udp, &query("host1.a.test", "A"));
        assert_eq!(reply.answer().len(), 1);
    }
}

#[test]
fn what_does_not_fit_a_datagram_is_had_over_tcp() {
    let many: String = (0..100).map(|last| format!("many A 192.0.2.{last}\n")).collect();
    let server = Server::start(&configuration(LISTEN), &[("a.zone", &format!("{ZONE}{many}"))]);
    let over_udp = server.ask(Via::Udp, &query("many.a.test", "A"));
    assert!(over_udp.is_truncated() && over_udp.octets.len() <= 512);
    assert_eq!(over_udp.answer(), Vec::<String>::new(), "a cut reply has no records that somebody could take for all");
    let over_tcp = server.ask(Via::Tcp, &query("many.a.test", "A"));
    assert_eq!((over_tcp.is_truncated(), over_tcp.answer().len()), (false, 100));
    assert_eq!(server.counter("responses_truncated"), 1);
}
