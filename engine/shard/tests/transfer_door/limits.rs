//! The limit on equal responses over UDP, where it stands among the other steps.

use std::sync::Arc;
use std::time::Duration;

use ringdns_shard::guard::rrl::Settings;
use ringdns_shard::tsig::Transaction;
use ringdns_shard::wire::rdata::rtype;
use ringdns_shard::{Outcome, Time, Transport};

use crate::world::{ASKER, CLOCK, Engine, images, key, query, query_with_edns, rcode};

fn settings(rate: u32, slip: u8) -> Settings {
    Settings { rate, slip, prefix4: 24, prefix6: 56, entries: 1024, ..Settings::default() }
}

fn engine(rate: u32, slip: u8) -> Engine {
    let mut images = images();
    images.rrl = Some(settings(rate, slip));
    Engine::with(images)
}

/// How many of ten are answered in full.
fn answered(engine: &mut Engine, via: Transport, request: &[u8]) -> usize {
    (0..10)
        .filter(|_| match engine.ask(ASKER, via, request) {
            Outcome::Reply(_) => engine.buffer[2] & 2 == 0,
            Outcome::Silence => false,
            outcome => panic!("{outcome:?}"),
        })
        .count()
}

#[test]
fn equal_responses_are_limited_by_what_they_say() {
    let mut engine = engine(3, 0);
    for (what, owner, qtype, expected) in [
        ("an answer", "h1.example.test", rtype::A, 3),
        ("another type of it without data", "h1.example.test", rtype::TXT, 3),
        ("no data of another name, in the same zone", "h2.example.test", rtype::TXT, 0),
        ("another answer", "h2.example.test", rtype::A, 3),
        ("no such name", "none1.example.test", rtype::A, 3),
        ("another one", "none2.example.test", rtype::A, 0),
        ("no such name of another zone", "none.closed.test", rtype::A, 3),
        ("a refusal", "elsewhere.test", rtype::A, 3),
        ("a zone that has expired", "expired.test", rtype::A, 0),
    ] {
        assert_eq!(answered(&mut engine, Transport::Udp, &query(owner, qtype)), expected, "{what}");
    }
    let counters = engine.shard.counters();
    assert_eq!((counters.rrl_dropped, counters.rrl_slipped, counters.replies), (90 - 18, 0, 18));
}

#[test]
fn a_slip_is_short_and_sends_the_asker_to_tcp() {
    let mut engine = engine(1, 1);
    let request = query_with_edns("h1.example.test", rtype::A, 1232);
    engine.reply(ASKER, Transport::Udp, &request);
    let slip = engine.reply(ASKER, Transport::Udp, &request);
    assert_eq!((slip.len(), rcode(&slip)), (request.len(), 0));
    assert_eq!((slip[2], &slip[4..12], &slip[..2]), (0x83, &[0, 1, 0, 0, 0, 0, 0, 1][..], &request[..2]));
    let counters = engine.shard.counters();
    assert_eq!((counters.rrl_slipped, counters.truncated, counters.replies), (1, 1, 2));
}

#[test]
fn who_shows_its_address_is_not_limited() {
    let mut engine = engine(1, 0);
    let mut signed = query("h1.example.test", rtype::A);
    Transaction::sign(&key("other"), CLOCK, &mut signed);
    assert_eq!(answered(&mut engine, Transport::Tcp, &query("h1.example.test", rtype::A)), 10);
    assert_eq!(answered(&mut engine, Transport::Udp, &signed), 10);
    assert_eq!(answered(&mut engine, Transport::Udp, &query("h1.example.test", rtype::A)), 1);
}

#[test]
fn settings_that_change_begin_anew_and_others_do_not() {
    let mut engine = engine(2, 0);
    let request = query("h1.example.test", rtype::A);
    let mut after = |rrl: Option<Settings>| {
        let mut images = images();
        images.rrl = rrl;
        images.bounds.tcp_idle = Duration::from_secs(5);
        drop(engine.shard.on_images(Time::ZERO, Arc::new(images)));
        answered(&mut engine, Transport::Udp, &request)
    };
    assert_eq!(after(Some(settings(2, 0))), 2);
    assert_eq!(after(Some(settings(2, 0))), 0);
    assert_eq!(after(Some(settings(4, 0))), 4);
    assert_eq!(after(None), 10);
    assert_eq!(after(Some(settings(4, 0))), 4);
}
