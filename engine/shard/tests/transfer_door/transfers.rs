//! AXFR and IXFR: who gets which answer.

use std::sync::Arc;

use ringdns_shard::limits::TRANSFERS_MAX;
use ringdns_shard::transfer::{Fault, Received};
use ringdns_shard::wire::rdata::rtype;
use ringdns_shard::zone::image::Record;
use ringdns_shard::zone::journal::Journal;
use ringdns_shard::zone::{Builder, Image, Place};
use ringdns_shard::{Outcome, Time, TransferMessage, Transport};

use crate::world::{
    ASKER, Engine, LISTED, STRANGER, extended_error, hash_key, history, image, images, key, name, query,
    query_with_edns, rcode, shared,
};

/// The request of an IXFR from `serial` on.
fn ixfr(zone: &str, serial: u32) -> Vec<u8> {
    let mut request = query(zone, rtype::IXFR);
    request[9] = 1;
    request.extend([0xc0, 12, 0, 6, 0, 1, 0, 0, 0, 0, 0, 22, 0, 0]);
    request.extend([serial, 0, 0, 0, 0].map(u32::to_be_bytes).concat());
    request
}

fn same(received: Received, expected: &Image) {
    let Received::Whole { builder, serial } = received else { panic!("{received:?}") };
    let built = builder.finish().unwrap();
    assert_eq!(serial, expected.serial());
    assert!(built.each_record().eq(expected.each_record()));
}

#[test]
fn a_zone_comes_whole_message_by_message() {
    let [.., third] = history();
    for key in [None, Some(key("move"))] {
        let mut engine = Engine::default();
        let peer = if key.is_some() { STRANGER } else { LISTED };
        let answer = engine.transfer(peer, Transport::Tcp, "example.test", None, key.as_ref());
        let (received, messages) = answer.unwrap_or_else(|fault| panic!("with {key:?}: {fault}"));
        same(received, &third);
        let counters = engine.shard.counters();
        assert_eq!((counters.transfers_axfr, counters.transfers_ixfr, counters.replies), (1, 0, 1));
        assert_eq!(counters.transfer_messages, messages as u64);
        assert_eq!(counters.tsig_verified, u64::from(key.is_some()));
        assert_eq!(engine.shard.transfers(), 0);
    }
}

#[test]
fn only_listed_peers_and_keys_may_have_a_zone() {
    let sealed = |key_name| {
        let mut request = query("example.test", rtype::AXFR);
        ringdns_shard::tsig::Sequence::sign(&key(key_name), crate::world::CLOCK, &mut request);
        request
    };
    let plain = query("example.test", rtype::AXFR);
    let closed = query("closed.test", rtype::AXFR);
    for (peer, request, allowed) in [
        (LISTED, &plain, true),
        ("[::ffff:192.0.2.9]:4000", &plain, true),
        (STRANGER, &plain, false),
        // Who may ask questions may not have the zone.
        (ASKER, &plain, false),
        (STRANGER, &sealed("move"), true),
        (STRANGER, &sealed("other"), false),
        // An entry without a key is for every request from there.
        (LISTED, &sealed("other"), true),
        (LISTED, &closed, false),
    ] {
        let mut engine = Engine::default();
        match engine.ask(peer, Transport::Tcp, request) {
            Outcome::Transfer(_) => assert!(allowed, "{peer}"),
            Outcome::Reply(_) => {
                assert!(!allowed, "{peer}");
                assert_eq!((rcode(&engine.buffer), engine.shard.counters().transfers_refused), (5, 1));
            }
            outcome => panic!("{outcome:?}"),
        }
    }
    let refused = Engine::default().reply(ASKER, Transport::Tcp, &query_with_edns("example.test", rtype::AXFR, 1232));
    assert_eq!(extended_error(&refused), Some(18));
}

#[test]
fn who_may_have_a_zone_may_ask_for_its_serial() {
    let soa = query("example.test", rtype::SOA);
    let mut sealed = soa.clone();
    ringdns_shard::tsig::Sequence::sign(&key("move"), crate::world::CLOCK, &mut sealed);
    for (peer, request, expected) in [
        (LISTED, soa.clone(), 0),
        (STRANGER, sealed, 0),
        (STRANGER, soa, 5),
        // And nothing else, where the listener is not for them.
        (LISTED, query("example.test", rtype::NS), 5),
        (LISTED, query("h1.example.test", rtype::SOA), 5),
        (LISTED, query("closed.test", rtype::SOA), 5),
    ] {
        for via in [Transport::Udp, Transport::Tcp] {
            let reply = Engine::default().reply(peer, via, &request);
            assert_eq!(rcode(&reply), expected, "{peer} {via:?}");
        }
    }
}

#[test]
fn what_cannot_be_transferred_is_told_apart() {
    for (what, via, request, expected) in [
        ("AXFR over UDP", Transport::Udp, query("example.test", rtype::AXFR), 4),
        ("no apex", Transport::Tcp, query("h1.example.test", rtype::AXFR), 9),
        ("no zone of ours", Transport::Tcp, query("elsewhere.test", rtype::AXFR), 9),
        ("at an upstream", Transport::Tcp, query("up.test", rtype::IXFR), 9),
        ("no records", Transport::Tcp, query("expired.test", rtype::AXFR), 2),
        ("IXFR without SOA", Transport::Tcp, query("example.test", rtype::IXFR), 1),
        ("IXFR with an SOA of another name", Transport::Tcp, other_soa(), 1),
    ] {
        let mut engine = Engine::default();
        assert_eq!(rcode(&engine.reply(LISTED, via, &request)), expected, "{what}");
        let counters = engine.shard.counters();
        let counted = match expected {
            1 => counters.formerr,
            2 => counters.servfail_zone,
            4 => counters.notimp,
            _ => counters.notauth,
        };
        assert_eq!((counted, counters.replies, engine.shard.transfers()), (1, 1, 0), "{what}");
    }
    // In other classes there is nothing to transfer, whoever asks.
    let mut chaos = query("example.test", rtype::AXFR);
    *chaos.last_mut().unwrap() = 3;
    assert_eq!(rcode(&Engine::default().reply(LISTED, Transport::Tcp, &chaos)), 5);
}

fn other_soa() -> Vec<u8> {
    let mut request = ixfr("example.test", 1);
    // The owner points to the zone above.
    let owner_at = query("example.test", 1).len();
    request[owner_at + 1] = 12 + 8;
    request
}

#[test]
fn a_zone_without_records_is_servfail_and_its_neighbours_are_not() {
    let mut engine = Engine::default();
    for qtype in [rtype::A, rtype::SOA, rtype::DS, rtype::ANY] {
        let reply = engine.reply(ASKER, Transport::Udp, &query_with_edns("www.expired.test", qtype, 1232));
        assert_eq!((rcode(&reply), extended_error(&reply)), (2, Some(14)), "{qtype}");
        assert_eq!(rcode(&engine.reply(ASKER, Transport::Udp, &query("example.test", qtype))), 0);
    }
    // DS at its apex belongs to the parent: nobody has that here, so that the zone answers for itself.
    assert_eq!(rcode(&engine.reply(ASKER, Transport::Udp, &query("expired.test", rtype::DS))), 2);
    assert_eq!(engine.shard.counters().servfail_zone, 5);
}

#[test]
fn an_incremental_transfer_brings_what_the_asker_lacks() {
    let [first, second, third] = history();
    let mut engine = Engine::default();
    let mut ask = |since: &Image| engine.transfer(LISTED, Transport::Tcp, "example.test", Some(since), None).unwrap().0;
    for (since, serials) in [(&first, &[(1, 2), (2, 3)][..]), (&second, &[(2, 3)])] {
        let Received::Differences(steps) = ask(since) else { panic!("differences") };
        let steps: Vec<_> = steps.iter().map(|step| (step.from_serial(), step.to_serial())).collect();
        assert_eq!(steps, serials);
    }
    for serial in [3, 4, 3 + (1 << 30)] {
        let received = ask(&image("example.test", serial, 0));
        assert!(matches!(received, Received::Current { serial: 3 }), "{serial}: {received:?}");
    }
    // Nothing is known of these.
    for serial in [0, 0x9000_0000] {
        same(ask(&image("example.test", serial, 0)), &third);
    }
    assert_eq!(engine.shard.counters().transfers_ixfr, 7);
}

#[test]
fn differences_larger_than_the_zone_are_not_sent() {
    let mut images = images();
    let (old, new) = (image("example.test", 1, 300), Arc::new(image("example.test", 2, 1)));
    let mut journal = Journal::default();
    journal.push(Arc::new(ringdns_shard::zone::difference::Difference::between(&old, &new).unwrap()));
    images.zones[0] = shared("example.test", Some(new.clone()), journal.clone());
    let received = Engine::with(images).transfer(LISTED, Transport::Tcp, "example.test", Some(&old), None).unwrap().0;
    same(received, &new);
}

#[test]
fn a_journal_that_leads_elsewhere_is_not_used() {
    let mut images = images();
    let [first, second, third] = history();
    let mut journal = Journal::default();
    journal.push(Arc::new(ringdns_shard::zone::difference::Difference::between(&first, &second).unwrap()));
    images.zones[0] = shared("example.test", Some(third.clone()), journal);
    let received = Engine::with(images).transfer(LISTED, Transport::Tcp, "example.test", Some(&first), None).unwrap().0;
    same(received, &third);
}

#[test]
fn over_udp_an_increment_comes_whole_or_the_soa_alone() {
    let [first, second, third] = history();
    for key in [None, Some(key("move"))] {
        let mut engine = Engine::default();
        let mut ask = |since: &Image| {
            engine
                .transfer(LISTED, Transport::Udp, "example.test", Some(since), key.as_ref())
                .map(|(received, _)| received)
        };
        assert!(matches!(ask(&third), Ok(Received::Current { serial: 3 })));
        // 98 hosts are too many for 512 octets: the SOA says that there is something to come for.
        assert!(matches!(ask(&second), Err(Fault::NeedsTcp)));
        assert!(matches!(ask(&first), Err(Fault::NeedsTcp)));
        let counters = engine.shard.counters();
        assert_eq!((counters.transfers_ixfr, counters.transfer_messages), (3, 3));
    }
    let mut images = images();
    let mut journal = Journal::default();
    journal.push(Arc::new(ringdns_shard::zone::difference::Difference::between(&first, &second).unwrap()));
    images.zones[0] = shared("example.test", Some(second), journal);
    let received = Engine::with(images).transfer(LISTED, Transport::Udp, "example.test", Some(&first), None).unwrap().0;
    assert!(matches!(&received, Received::Differences(steps) if steps.len() == 1), "{received:?}");
}

#[test]
fn the_opt_record_of_the_request_is_answered_once() {
    let mut engine = Engine::default();
    let request = query_with_edns("example.test", rtype::AXFR, 1232);
    let Outcome::Transfer(number) = engine.ask(LISTED, Transport::Tcp, &request) else { panic!("a transfer") };
    let additionals: Vec<u8> = engine.messages(number).iter().map(|message| message[11]).collect();
    assert_eq!(additionals[0], 1);
    assert!(additionals[1..].iter().all(|&count| count == 0));
}

#[test]
fn transfers_at_once_are_bounded() {
    let mut engine = Engine::default();
    let request = query_with_edns("example.test", rtype::AXFR, 1232);
    let mut begin = || match engine.ask(LISTED, Transport::Tcp, &request) {
        Outcome::Transfer(number) => Ok(number),
        Outcome::Reply(octets) => Err(engine.buffer[..octets].to_vec()),
        outcome => panic!("{outcome:?}"),
    };
    let mut numbers: Vec<u32> = (0..TRANSFERS_MAX).map(|_| begin().unwrap()).collect();
    let refused = begin().unwrap_err();
    assert_eq!((rcode(&refused), extended_error(&refused)), (2, Some(0)));
    let number = numbers.swap_remove(7);
    engine.shard.end_transfer(number);
    assert_eq!(engine.shard.counters().transfers_over_limit, 1);
    assert_eq!(engine.shard.counters().transfers_cut, 1);
    // The others are what they were, and there is room for one again.
    let Outcome::Transfer(number) = engine.ask(LISTED, Transport::Tcp, &request) else { panic!("room") };
    numbers.push(number);
    assert_eq!(engine.shard.transfers(), TRANSFERS_MAX);
    let lengths: Vec<usize> = numbers.iter().map(|&number| engine.messages(number).concat().len()).collect();
    assert!(lengths.iter().all(|&length| length == lengths[0]));
    assert_eq!(engine.shard.transfers(), 0);
}

#[test]
fn a_transfer_ends_with_the_image_that_it_began_with() {
    let mut engine = Engine::default();
    let request = query("example.test", rtype::AXFR);
    let Outcome::Transfer(number) = engine.ask(LISTED, Transport::Tcp, &request) else { panic!("a transfer") };
    let before = Arc::clone(engine.shard.images().zones[0].image.as_ref().unwrap());
    let mut next = images();
    next.zones[0] = shared("example.test", None, Journal::default());
    drop(engine.shard.on_images(Time::ZERO, Arc::new(next)));
    assert_eq!(Arc::strong_count(&before), 2, "the transfer holds it, and whoever swaps must");
    let octets: usize = engine.messages(number).iter().map(Vec::len).sum();
    assert!(octets > 500 * 16);
    assert_eq!(Arc::strong_count(&before), 1);
}

#[test]
fn a_record_that_fits_no_message_breaks_the_transfer_off() {
    let apex = name("example.test");
    let mut builder = Builder::new(apex.clone(), hash_key());
    let small = image("example.test", 1, 0);
    for Record { owner, rtype, ttl, data } in small.each_record() {
        builder.push(owner, rtype, ttl, data, Place::default()).unwrap();
    }
    builder.push(apex.as_wire(), 65_280, 60, &[7; 65_535], Place::default()).unwrap();
    let mut images = images();
    images.zones[0] = shared("example.test", Some(Arc::new(builder.finish().unwrap())), Journal::default());
    let mut engine = Engine::with(images);
    let Outcome::Transfer(number) = engine.ask(LISTED, Transport::Tcp, &query("example.test", rtype::AXFR)) else {
        panic!("a transfer")
    };
    let first = engine.shard.transfer_message(number, &mut engine.buffer);
    assert!(matches!(first, TransferMessage::More(_)), "{first:?}");
    assert_eq!(engine.shard.transfer_message(number, &mut engine.buffer), TransferMessage::Failed);
    assert_eq!((engine.shard.counters().transfers_failed, engine.shard.transfers()), (1, 0));
}
