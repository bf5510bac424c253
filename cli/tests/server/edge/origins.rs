//! In front of the name servers of an origin: what they say comes through as from a secondary of theirs, and they are
//! spared what need not be asked.

use super::{IN_ORDER, ORIGIN, ZONE, configuration, last_octet, origin};
use crate::common::dns::{BOTH, NOERROR, NXDOMAIN, REFUSED, Reply, Via, ask, query, with_edns};
use crate::common::peer::{Kind, Peer, PeerZone};
use crate::common::server::Server;
use crate::common::upstream::{ANSWER, Upstream, address};
use crate::common::wait_until;

const QUESTIONS: [(&str, &str); 15] = [
    ("origin.test", "SOA"),
    ("origin.test", "NS"),
    ("origin.test", "MX"),
    ("www.origin.test", "A"),
    ("WWW.Origin.test", "AAAA"),
    ("www.origin.test", "TXT"),
    ("alias.origin.test", "A"),
    ("alias.origin.test", "CNAME"),
    ("x.wild.origin.test", "TXT"),
    ("x.wild.origin.test", "A"),
    ("srv.origin.test", "SRV"),
    ("x.old.origin.test", "A"),
    ("none.origin.test", "A"),
    ("empty.origin.test", "A"),
    ("below.sub.origin.test", "A"),
];

/// Addresses of one name: as many as fit no datagram, and no more than BIND takes.
const MANY: usize = 90;

fn zone() -> String {
    let mut text = format!(
        "$ORIGIN {ZONE}.\n$TTL 300\n@ SOA ns hostmaster 1 3600 900 604800 60\n@ NS ns\n@ MX 10 mail\nns A 192.0.2.1\n\
         mail A 192.0.2.25\nwww A 192.0.2.80\nwww AAAA 2001:db8::80\nalias CNAME www\n*.wild TXT \"any\"\n\
         srv SRV 0 5 53 ns\nold DNAME new\nx.new A 192.0.2.7\nbelow.empty TXT \"below\"\nsub NS ns.sub\n\
         ns.sub A 192.0.2.53\n"
    );
    for last in 0..MANY {
        text += &format!("many A 192.0.2.{last}\n");
    }
    text
}

/// Whether a reply offers recursion.
fn offers_recursion(reply: &Reply) -> bool {
    reply.octets[3] & 0x80 != 0
}

/// The same from the origin and through the server.
#[track_caller]
fn same(through: &Reply, direct: &Reply) {
    let ((rcode, answer, authority), direct_content) = (through.content(), direct.content());
    assert_eq!((rcode, &answer), (direct_content.0, &direct_content.1), "{}", through.question());
    if answer.is_empty() {
        assert_eq!(authority, direct_content.2, "{}", through.question());
    }
    assert_eq!(through.is_authoritative(), direct.is_authoritative(), "{}", through.question());
    assert!(!offers_recursion(through), "{}", through.question());
}

fn is_spoken_for(kind: Kind) {
    let Some(origin) = origin(kind, &zone()) else { return };
    let server = Server::start(&configuration(ZONE, &[origin.address], ORIGIN), &[]);
    for (name, rtype) in QUESTIONS {
        let direct = ask(origin.address, Via::Tcp, &query(name, rtype));
        for via in BOTH {
            let through = server.ask(via, &query(name, rtype));
            assert_eq!(through.question(), format!("{name} {rtype}"));
            same(&through, &direct);
        }
    }
    assert!(!server.answer("below.sub.origin.test", "A").is_authoritative(), "a referral is not the origin's own word");
    // The second of each came from the cache; only for referrals the origin is asked each time.
    assert_eq!((server.counter("cache_lookups{outcome=hit}"), server.counter("cache_lookups{outcome=miss}")), (14, 17));

    // Cut short over UDP, whole over TCP: to the origin as to the client.
    assert!(server.answer("many.origin.test", "A").is_truncated());
    let whole = server.ask(Via::Tcp, &query("many.origin.test", "A"));
    assert_eq!(whole.answer().len(), MANY);
    assert!(server.counter("upstream_queries{transport=tcp}") >= 1);

    // Nothing is below a name that does not exist; ANY and other suffixes are none of the origin's business.
    let asked = server.counter("upstream_queries{transport=udp}");
    let below = server.answer("below.none.origin.test", "A");
    assert_eq!((below.rcode(), below.is_authoritative()), (NXDOMAIN, true));
    server.counts("cache_misses_spared{by=ancestor}", 1);
    for via in BOTH {
        let any = server.ask(via, &query("www.origin.test", "ANY"));
        assert_eq!((any.rcode(), any.answer().len(), any.is_authoritative()), (NOERROR, 1, true));
        assert!(any.answer()[0].contains(" IN HINFO "), "{:?}", any.answer());
    }
    assert_eq!(server.answer("other.test", "A").rcode(), REFUSED);
    assert_eq!(server.counter("upstream_queries{transport=udp}"), asked, "none of that was asked");
    assert_eq!(server.counter("upstream_ignored{reason=case_changed}"), 0, "the origin keeps the case of names");
}

#[test]
fn nsd_is_spoken_for() {
    is_spoken_for(Kind::Nsd);
}

#[test]
fn knot_is_spoken_for() {
    is_spoken_for(Kind::Knot);
}

#[test]
fn bind_is_spoken_for() {
    is_spoken_for(Kind::Bind);
}

#[test]
fn signatures_come_through_to_who_wants_them() {
    let zones = [PeerZone { signs: true, ..PeerZone::primary(ZONE, &zone(), None) }];
    let Some(origin) = Peer::start(Kind::Knot, None, &zones) else { return };
    let server = Server::start(&configuration(ZONE, &[origin.address], ORIGIN), &[]);
    let wanting = |name: &str, rtype: &str| {
        let mut query = with_edns(query(name, rtype), 0);
        let flags_at = query.len() - 4;
        query[flags_at] = 0x80;
        query
    };
    let signatures = |reply: &Reply| {
        let records = [reply.answer(), reply.authority()].concat();
        records.iter().filter(|record| record.contains(" RRSIG ")).count()
    };
    wait_until("signatures", || signatures(&ask(origin.address, Via::Tcp, &wanting(ZONE, "SOA"))) > 0);
    for (name, rtype) in QUESTIONS {
        let direct = ask(origin.address, Via::Tcp, &wanting(name, rtype));
        for _ in 0..2 {
            let through = server.ask(Via::Tcp, &wanting(name, rtype));
            same(&through, &direct);
            assert_eq!(signatures(&through) > 0, signatures(&direct) > 0, "{name} {rtype}");
            assert_eq!(signatures(&server.ask(Via::Tcp, &query(name, rtype))), 0, "{name} {rtype}");
        }
    }
}

#[test]
fn an_origin_is_not_asked_to_recurse_and_a_resolver_is() {
    for (keys, is_origin) in [(ORIGIN, true), (IN_ORDER, false)] {
        // It claims to recurse, and to have no authority.
        let upstream = Upstream::start(|asked| Some(asked.reply(ANSWER, &[address(60, 1)])));
        let server = Server::start(&configuration(ZONE, &[upstream.address], keys), &[]);
        let name = "a-name-with-many-letters.origin.test";
        for via in BOTH {
            let reply = server.ask(via, &query(name, "A"));
            assert_eq!(last_octet(&reply), 1);
            assert_eq!((reply.is_authoritative(), offers_recursion(&reply)), (is_origin, !is_origin), "over {via:?}");
        }
        assert_eq!(server.answer(name, "ANY").rcode(), NOERROR);
        let queries = upstream.queries();
        let types: Vec<u8> = queries.iter().map(|asked| asked.octets[12 + name.len() + 2 + 1]).collect();
        assert_eq!(types.contains(&255), !is_origin, "{types:?}");
        for asked in &queries {
            assert_eq!(asked.octets[2] & 1 != 0, !is_origin, "RD");
            let name = asked.name();
            assert_ne!(name, name.to_ascii_lowercase(), "some letters are capitals");
            assert_ne!(name, name.to_ascii_uppercase(), "and some are not");
        }
    }
}
