//! Requests with TSIG: replies are signed whatever they say and whenever they come, faults are answered as RFC 8945 has
//! it.

use std::sync::Arc;

use ringdns_shard::tsig::{Algorithm, BadAnswer, Key, Transaction};
use ringdns_shard::wire::rdata::rtype;
use ringdns_shard::zone::{Builder, Place};
use ringdns_shard::{Action, Outcome, Transport};

use crate::world::{ASKER, CLOCK, Engine, NOW, STRANGER, hash_key, image, images, key, name, query, rcode};

/// A request, signed.
fn signed(mut request: Vec<u8>, key: &Arc<Key>, at: u64) -> (Transaction, Vec<u8>) {
    let transaction = Transaction::sign(key, at, &mut request);
    (transaction, request)
}

#[test]
fn whatever_is_answered_is_signed() {
    for (peer, owner, qtype, expected) in [
        (ASKER, "example.test", rtype::SOA, 0),
        (ASKER, "h1.example.test", rtype::A, 0),
        (ASKER, "none.example.test", rtype::A, 3),
        (ASKER, "expired.test", rtype::A, 2),
        (ASKER, "elsewhere.test", rtype::A, 5),
        (STRANGER, "example.test", rtype::A, 5),
        (STRANGER, "closed.test", rtype::IXFR, 5),
        (ASKER, "example.test", rtype::OPT, 1),
    ] {
        for via in [Transport::Udp, Transport::Tcp] {
            let mut engine = Engine::default();
            let (transaction, request) = signed(query(owner, qtype), &key("other"), CLOCK + 200);
            let mut reply = engine.reply(peer, via, &request);
            assert_eq!(rcode(&reply), expected, "{owner} {qtype}");
            transaction.verify(CLOCK, &mut reply).unwrap();
            assert_eq!(reply[..2], request[..2]);
            let counters = engine.shard.counters();
            assert_eq!((counters.tsig_verified, counters.replies), (1, 1));
        }
    }
}

#[test]
fn an_answer_that_comes_later_is_signed_too() {
    let mut engine = Engine::default();
    let (transaction, request) = signed(query("www.up.test", rtype::A), &key("move"), CLOCK);
    assert_eq!(engine.ask(ASKER, Transport::Udp, &request), Outcome::Pending);
    // Somebody without a signature joins, and gets none.
    assert_eq!(engine.ask(ASKER, Transport::Tcp, &query("www.up.test", rtype::A)), Outcome::Pending);
    let action = engine.shard.poll_action(&mut engine.buffer);
    let Some(Action::AskUdp { socket, server, .. }) = action else { panic!("{action:?}") };
    let mut answer = engine.buffer[..12 + name("www.up.test").as_wire().len() + 4].to_vec();
    assert_eq!(engine.buffer[10..12], [0, 1], "an OPT record and no signature");
    answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    answer.extend(b"\xc0\x0c\0\x01\0\x01\0\0\x0e\x10\0\x04\xc0\0\x02\x01");
    engine.shard.on_clock(CLOCK + 2);
    engine.shard.on_reply_udp(NOW, socket, server, &answer);
    for is_signed in [true, false] {
        let action = engine.shard.poll_action(&mut engine.buffer);
        let Some(Action::Reply { octets, .. }) = action else { panic!("{action:?}") };
        let mut reply = engine.buffer[..octets].to_vec();
        let verdict = transaction.verify(CLOCK + 2, &mut reply);
        assert_eq!(verdict, if is_signed { Ok(()) } else { Err(BadAnswer::Unsigned) });
        assert_eq!((rcode(&reply), reply[7]), (0, 1));
    }
    // And what the cache has.
    let mut reply = engine.reply(ASKER, Transport::Udp, &request);
    transaction.verify(CLOCK + 2, &mut reply).unwrap();
}

#[test]
fn faults_are_answered_and_counted_each_in_its_way() {
    let wrong = Arc::new(Key::new(&name("move"), Algorithm::HmacSha256, b"another secret"));
    let stranger = key("unheard.of");
    let other_algorithm = Arc::new(Key::new(&name("move"), Algorithm::HmacSha512, b"secret of move"));
    for (what, key, at, expected) in [
        ("key", &stranger, CLOCK, BadAnswer::PeerKey),
        ("algorithm", &other_algorithm, CLOCK, BadAnswer::PeerKey),
        ("signature", &wrong, CLOCK, BadAnswer::PeerMac),
        ("late", &key("move"), CLOCK - 301, BadAnswer::PeerTime),
        ("early", &key("move"), CLOCK + 301, BadAnswer::PeerTime),
    ] {
        for mut request in [query("example.test", rtype::SOA), query("www.up.test", rtype::A)] {
            let mut engine = Engine::default();
            // NOTIFY and UPDATE apart, the opcode is no matter.
            request[2] |= 1;
            let (transaction, request) = signed(request, key, at);
            let mut reply = engine.reply(ASKER, Transport::Udp, &request);
            assert_eq!((rcode(&reply), &reply[6..10]), (9, &[0; 4][..]), "{what}: NOTAUTH, and no records");
            assert_eq!(transaction.verify(CLOCK, &mut reply), Err(expected), "{what}");
            let counters = engine.shard.counters();
            let counted = match expected {
                BadAnswer::PeerKey => counters.tsig_unknown_key,
                BadAnswer::PeerMac => counters.tsig_bad_signature,
                _ => counters.tsig_bad_time,
            };
            assert_eq!((counted, counters.tsig_verified, counters.replies), (1, 0, 1), "{what}");
        }
    }
}

#[test]
fn a_signature_that_is_no_signature_is_formerr() {
    let (_, good) = signed(query("example.test", rtype::SOA), &key("move"), CLOCK);
    let record_at = query("example.test", rtype::SOA).len();
    let class_at = record_at + 6 + 2;
    let mut other_class = good.clone();
    other_class[class_at + 1] = 1;
    let mut ttl = good.clone();
    ttl[class_at + 5] = 1;
    // Another record behind it.
    let mut not_last = good.clone();
    not_last[11] = 2;
    not_last.extend([0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0]);
    for request in [other_class, ttl, not_last] {
        let mut engine = Engine::default();
        assert_eq!(rcode(&engine.reply(ASKER, Transport::Udp, &request)), 1);
        assert_eq!((engine.shard.counters().formerr, engine.shard.counters().tsig_verified), (1, 0));
    }
    // Where the message changed on the way, the signature does not hold.
    let mut changed = good;
    changed[13] = b'E';
    let mut engine = Engine::default();
    assert_eq!(rcode(&engine.reply(ASKER, Transport::Udp, &changed)), 9);
    assert_eq!(engine.shard.counters().tsig_bad_signature, 1);
}

/// `long.test` with one RRset of TXT records of this many octets.
fn with_text(octets: usize) -> Engine {
    let mut images = images();
    let small = image("closed.test", 1, 0);
    let mut builder = Builder::new(name("closed.test"), hash_key());
    for record in small.each_record() {
        builder.push(record.owner, record.rtype, record.ttl, record.data, Place::default()).unwrap();
    }
    let text = [&[(octets - 1) as u8][..], &vec![b'x'; octets - 1]].concat();
    builder.push(name("t.closed.test").as_wire(), rtype::TXT, 60, &text, Place::default()).unwrap();
    images.zones[2] = ringdns_shard::images::Zone::new(Arc::new(builder.finish().unwrap()));
    let long_name = ["k".repeat(63), "e".repeat(63), "y".repeat(63), "s".repeat(60)].join(".");
    let keys = [Arc::unwrap_or_clone(key("move")), Key::new(&name(&long_name), Algorithm::HmacSha512, b"secret")];
    images.keys = Arc::new(keys.into_iter().collect());
    Engine::with(images)
}

#[test]
fn room_is_left_for_the_signature() {
    for octets in 200..256 {
        let mut engine = with_text(octets);
        for owner in ["t.closed.test".to_owned(), format!("{}.closed.test", "n".repeat(60))] {
            let (transaction, request) = signed(query(&owner, rtype::TXT), &key("move"), CLOCK);
            let mut reply = engine.reply(ASKER, Transport::Udp, &request);
            assert!(reply.len() <= 512, "{octets}");
            transaction.verify(CLOCK, &mut reply).unwrap();
            assert_eq!(reply[2] & 2, 0, "TC is not set where all fits");
        }
    }
}

#[test]
fn a_reply_that_does_not_fit_with_its_signature_is_cut_short() {
    let long_name = ["k".repeat(63), "e".repeat(63), "y".repeat(63), "s".repeat(60)].join(".");
    let long = Arc::new(Key::new(&name(&long_name), Algorithm::HmacSha512, b"secret"));
    let mut engine = with_text(255);
    let (transaction, request) = signed(query("t.closed.test", rtype::TXT), &long, CLOCK);
    let mut reply = engine.reply(ASKER, Transport::Udp, &request);
    assert!(reply.len() <= 512 && reply[2] & 2 != 0 && reply[7] == 0, "TC, and no records");
    transaction.verify(CLOCK, &mut reply).unwrap();
    let mut whole = engine.reply(ASKER, Transport::Tcp, &request);
    assert_eq!((whole[2] & 2, whole[7]), (0, 1));
    transaction.verify(CLOCK, &mut whole).unwrap();
    // The longest names of all: not even the question fits, and the header goes alone.
    let owner = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(45), "closed.test".to_owned()].join(".");
    let (_, request) = signed(query(&owner, rtype::TXT), &long, CLOCK);
    let reply = engine.reply(ASKER, Transport::Udp, &request);
    assert_eq!((reply.len(), rcode(&reply), &reply[4..]), (12, 3, &[0; 8][..]));
    // So does the answer to a key of such a name that is not known.
    let unknown = Arc::new(Key::new(&name(&long_name.replace('k', "q")), Algorithm::HmacSha512, b"secret"));
    let (_, request) = signed(query(&owner, rtype::TXT), &unknown, CLOCK);
    let reply = engine.reply(ASKER, Transport::Udp, &request);
    assert_eq!((reply.len(), rcode(&reply)), (12, 9));
    let counters = engine.shard.counters();
    assert_eq!((counters.tsig_no_room, counters.truncated), (2, 2));
}
