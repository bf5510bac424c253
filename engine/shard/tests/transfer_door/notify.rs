//! NOTIFY: whose word is taken, and what is handed on.

use ringdns_shard::transfer::Notice;
use ringdns_shard::tsig::Transaction;
use ringdns_shard::wire::rdata::rtype;
use ringdns_shard::{Action, Transport};

use crate::world::{ASKER, CLOCK, Engine, LISTED, STRANGER, extended_error, history, key, name, query, rcode};

const NOTIFY: u8 = 4 << 3;

fn plain(zone: &str) -> Vec<u8> {
    let mut request = query(zone, rtype::SOA);
    request[2] = NOTIFY;
    request
}

#[test]
fn a_primary_on_the_list_is_heard_and_answered() {
    let [.., third] = history();
    for (soa, serial) in [(None, None), (Some(third.soa().first()), Some(3))] {
        for via in [Transport::Udp, Transport::Tcp] {
            let mut engine = Engine::default();
            let (notice, request) = Notice::begin(&name("example.test"), soa, 9, Some(&key("move")), CLOCK);
            let mut reply = engine.reply(LISTED, via, &request);
            assert_eq!(reply[2], 0x80 | NOTIFY | 4, "QR, the opcode, AA");
            notice.take(CLOCK, &mut reply).unwrap();
            let action = engine.shard.poll_action(&mut engine.buffer);
            assert_eq!(action, Some(Action::Notified { zone: 0, serial, peer: [192, 0, 2, 53].into() }));
            assert_eq!(engine.shard.poll_action(&mut engine.buffer), None);
            assert_eq!((engine.shard.counters().notifies, engine.shard.counters().notifies_refused), (1, 0));
        }
    }
}

#[test]
fn a_zone_that_has_expired_is_notified_of() {
    let mut engine = Engine::default();
    let (notice, request) = Notice::begin(&name("expired.test"), None, 9, Some(&key("move")), CLOCK);
    let mut reply = engine.reply(LISTED, Transport::Udp, &request);
    notice.take(CLOCK, &mut reply).unwrap();
    let action = engine.shard.poll_action(&mut engine.buffer);
    assert!(matches!(action, Some(Action::Notified { zone: 1, .. })), "{action:?}");
}

#[test]
fn nobody_else_is_heard() {
    let signed = |zone: &str, key_name: &str| {
        let mut request = plain(zone);
        Transaction::sign(&key(key_name), CLOCK, &mut request);
        request
    };
    let mut other_type = query("example.test", rtype::A);
    other_type[2] = NOTIFY;
    Transaction::sign(&key("move"), CLOCK, &mut other_type);
    let mut other_class = plain("example.test");
    *other_class.last_mut().unwrap() = 3;
    for (what, peer, request, expected) in [
        ("no key", LISTED, plain("example.test"), 5),
        ("another key", LISTED, signed("example.test", "other"), 5),
        ("another address", STRANGER, signed("example.test", "move"), 5),
        ("who may ask", ASKER, plain("example.test"), 5),
        ("no secondary", LISTED, signed("closed.test", "move"), 5),
        ("no apex", LISTED, signed("h1.example.test", "move"), 9),
        ("no zone of ours", LISTED, signed("elsewhere.test", "move"), 9),
        ("at an upstream", LISTED, signed("up.test", "move"), 9),
        ("another class", LISTED, other_class, 9),
        ("another type", LISTED, other_type, 1),
    ] {
        let mut engine = Engine::default();
        let reply = engine.reply(peer, Transport::Udp, &request);
        assert_eq!((rcode(&reply), reply[2] & 0x78), (expected, NOTIFY), "{what}");
        assert_eq!(engine.shard.poll_action(&mut engine.buffer), None, "{what}");
        let counters = engine.shard.counters();
        assert_eq!(counters.notifies, 0);
        let counted = match expected {
            1 => counters.formerr,
            5 => counters.notifies_refused,
            _ => counters.notauth,
        };
        assert_eq!(counted, 1, "{what}");
    }
}

#[test]
fn a_refusal_says_why_and_other_opcodes_are_not_implemented() {
    let mut request = plain("example.test");
    request[11] = 1;
    request.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    assert_eq!(extended_error(&Engine::default().reply(LISTED, Transport::Udp, &request)), Some(18));
    // UPDATE, signed or not.
    let mut update = query("example.test", rtype::SOA);
    update[2] = 5 << 3;
    assert_eq!(rcode(&Engine::default().reply(LISTED, Transport::Udp, &update)), 4);
    Transaction::sign(&key("move"), CLOCK, &mut update);
    assert_eq!(rcode(&Engine::default().reply(LISTED, Transport::Udp, &update)), 4);
}
