//! In front of a resolver.

use super::{IN_ORDER, configuration};
use crate::common::dns::{BOTH, EDE_NETWORK_ERROR, SERVFAIL, Via, ask, query, with_edns};
use crate::common::server::Server;
use crate::common::unbound::Unbound;

/// What Unbound knows: all of a zone, and nothing else.
fn data() -> Vec<String> {
    let mut data: Vec<String> = [
        "site.test. 300 IN SOA ns.site.test. hostmaster.site.test. 1 3600 900 604800 60",
        "site.test. 300 IN NS ns.site.test.",
        "www.site.test. 300 IN A 192.0.2.80",
        "www.site.test. 300 IN AAAA 2001:db8::80",
        "mail.site.test. 300 IN MX 10 www.site.test.",
    ]
    .map(str::to_owned)
    .to_vec();
    for name in ["one", "two", "three"] {
        data.extend((0..150).map(|last| format!("{name}.site.test. 300 IN A 192.0.2.{last}")));
    }
    data
}

#[test]
fn unbound_says_the_same_through_ringdns() {
    let Some(unbound) = Unbound::start("site.test", &data()) else { return };
    let server = Server::start(&configuration(".", &[unbound.address], IN_ORDER), &[]);
    let questions = [
        ("www.site.test", "A"),
        ("WWW.site.test", "AAAA"),
        ("www.site.test", "TXT"),
        ("mail.site.test", "MX"),
        ("site.test", "SOA"),
        ("none.site.test", "A"),
        ("none.site.test", "MX"),
    ];
    for (name, rtype) in questions {
        let direct = ask(unbound.address, Via::Udp, &query(name, rtype));
        for via in BOTH {
            let through = server.ask(via, &query(name, rtype));
            assert_eq!(through.content(), direct.content(), "{name} {rtype}");
            let flags = u16::from_be_bytes([through.octets[2], through.octets[3]]);
            assert_eq!(flags & 0x0580, 0x0180, "{name} {rtype}: not AA, RD, RA");
        }
    }
    // The second of each came from the cache; that a name does not exist holds for every type.
    assert_eq!((server.counter("cache_lookups{outcome=hit}"), server.counter("cache_lookups{outcome=miss}")), (8, 6));
    assert_eq!(server.counter("cache_entries"), 6);
}

#[test]
fn unbound_is_asked_for_long_answers_over_one_connection() {
    let Some(unbound) = Unbound::start("site.test", &data()) else { return };
    let server = Server::start(&configuration(".", &[unbound.address], IN_ORDER), &[]);
    for name in ["one.site.test", "two.site.test", "three.site.test"] {
        for _ in 0..2 {
            assert_eq!(server.ask(Via::Tcp, &query(name, "A")).answer().len(), 150);
        }
    }
    let tcp = server.counter("upstream_queries{transport=tcp}");
    assert!(tcp >= 3, "{tcp}");
    assert_eq!(server.counter("upstream_tcp_opened") + server.counter("upstream_tcp_queries{outcome=reused}"), tcp);
    assert!(server.counter("upstream_tcp_queries{outcome=reused}") >= 1);
}

#[test]
fn what_unbound_refuses_is_servfail_and_not_asked_again_at_once() {
    let Some(unbound) = Unbound::start("site.test", &data()) else { return };
    let server = Server::start(
        &format!("{}[cache]\nfailure_ttl = \"5m\"\n", configuration(".", &[unbound.address], IN_ORDER)),
        &[],
    );
    let ask = || server.ask(Via::Udp, &with_edns(query("www.elsewhere.test", "A"), 0));
    let reply = ask();
    assert_eq!((reply.rcode(), reply.ede()), (SERVFAIL, Some(EDE_NETWORK_ERROR)));
    let (errors, asked) =
        (server.counter("upstream_failures{reason=rcode}"), server.counter("upstream_queries{transport=udp}"));
    assert_eq!(errors, 1);
    assert_eq!(ask().rcode(), SERVFAIL);
    assert_eq!(
        (server.counter("cache_misses_spared{by=failure}"), server.counter("upstream_queries{transport=udp}")),
        (1, asked)
    );
}
