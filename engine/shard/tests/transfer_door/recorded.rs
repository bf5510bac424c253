//! What is left of each request in the query log, at the tap and among the spans, whatever comes of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ringdns_shard::guard::rrl::Settings;
use ringdns_shard::images::Recording;
use ringdns_shard::limits::{LOG_CHUNK_OCTETS, TRANSFERS_MAX};
use ringdns_shard::telemetry::log::{Asked, Entry, Outcome as Came, Policy};
use ringdns_shard::telemetry::tap::Kind;
use ringdns_shard::telemetry::{Telemetry, TypeClass, log, tap};
use ringdns_shard::tsig::{Algorithm, Key, Transaction};
use ringdns_shard::wire::name::measure;
use ringdns_shard::wire::rdata::rtype;
use ringdns_shard::zone::{Builder, Place};
use ringdns_shard::{Action, Client, Images, Outcome, Time, Transport};

use crate::world::{ASKER, CLOCK, Engine, LISTED, NOW, STRANGER, hash_key, images, key, name, query, query_with_edns};

const ALL: Recording = Recording { log_sample: 1, tap_clients: true, tap_upstreams: true };
const UDP: Transport = Transport::Udp;
const TCP: Transport = Transport::Tcp;
const SERVER: &str = "192.0.2.200:53";

fn recorded(images: Images) -> Engine {
    Engine::with(Images { recording: ALL, ..images })
}

/// Every chunk of the log, none of which may be empty.
fn chunks(engine: &mut Engine) -> Vec<log::Chunk> {
    let chunks: Vec<log::Chunk> = std::iter::from_fn(|| engine.shard.log().take()).collect();
    assert!(chunks.iter().all(|chunk| chunk.entries > 0 && chunk.entries().count() == chunk.entries as usize));
    chunks
}

/// The only entry since the last call.
fn entry(engine: &mut Engine, look: impl FnOnce(&Entry<'_>)) {
    let chunks = chunks(engine);
    let entries: Vec<Entry<'_>> = chunks.iter().flat_map(log::Chunk::entries).collect();
    assert_eq!(entries.len(), 1, "{entries:?}");
    look(&entries[0]);
}

fn messages(engine: &mut Engine) -> Option<tap::Chunk> {
    engine.shard.tap().take()
}

fn signed(mut request: Vec<u8>, key: &Arc<Key>) -> Vec<u8> {
    Transaction::sign(key, CLOCK, &mut request);
    request
}

fn notify(zone: &str) -> Vec<u8> {
    let mut request = query(zone, rtype::SOA);
    request[2] = 4 << 3;
    request
}

/// IXFR from this serial.
fn ixfr(zone: &str, serial: u32) -> Vec<u8> {
    let mut request = query(zone, rtype::IXFR);
    request[9] = 1;
    request.extend(b"\xc0\x0c\0\x06\0\x01\0\0\0\0\0\x16\0\0");
    request.extend([serial, 0, 0, 0, 0].map(u32::to_be_bytes).concat());
    request
}

/// The upstream gives an address for what was asked of it.
fn answer(engine: &mut Engine, at: Time) -> Vec<u8> {
    let action = engine.shard.poll_action(&mut engine.buffer);
    let Some(Action::AskUdp { socket, server, octets }) = action else { panic!("{action:?}") };
    let question_octets = measure(&engine.buffer[12..octets]).expect("a name") + 4;
    let mut message = engine.buffer[..12 + question_octets].to_vec();
    message[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    message.extend(b"\xc0\x0c\0\x01\0\x01\0\0\x0e\x10\0\x04\xc0\0\x02\x01");
    engine.shard.on_reply_udp(at, socket, server, &message);
    message
}

/// Everything that the shard wants done, replies sent.
fn replies(engine: &mut Engine) -> usize {
    let actions = std::iter::from_fn(|| engine.shard.poll_action(&mut engine.buffer));
    actions.filter(|action| matches!(action, Action::Reply { .. })).count()
}

#[test]
fn an_entry_says_what_came_of_its_request() {
    let wrong = Arc::new(Key::new(&name("move"), Algorithm::HmacSha256, b"another secret"));
    let mut broken = signed(query("h1.example.test", rtype::A), &key("move"));
    *broken.last_mut().unwrap() = 1;
    for (what, peer, via, request, expected) in [
        ("a zone", ASKER, UDP, query("h1.example.test", rtype::A), (Came::Zone, Policy::None, Some(0))),
        ("no name", ASKER, TCP, query("none.example.test", rtype::A), (Came::Zone, Policy::None, Some(3))),
        ("expired", ASKER, UDP, query("expired.test", rtype::A), (Came::Failed, Policy::None, Some(2))),
        ("a stranger", STRANGER, UDP, query("h1.example.test", rtype::A), (Came::Refused, Policy::Acl, Some(5))),
        ("no route", ASKER, UDP, query("elsewhere.test", rtype::A), (Came::Refused, Policy::Route, Some(5))),
        ("a meta type", ASKER, UDP, query("h1.example.test", 253), (Came::Refused, Policy::Type, Some(5))),
        ("OPT", ASKER, UDP, query("h1.example.test", rtype::OPT), (Came::Refused, Policy::None, Some(1))),
        ("AXFR", LISTED, TCP, query("example.test", rtype::AXFR), (Came::Transfer, Policy::None, Some(0))),
        ("AXFR over UDP", LISTED, UDP, query("example.test", rtype::AXFR), (Came::Refused, Policy::Type, Some(4))),
        ("IXFR", LISTED, UDP, ixfr("example.test", 3), (Came::Transfer, Policy::None, Some(0))),
        ("IXFR without SOA", LISTED, UDP, query("example.test", rtype::IXFR), (Came::Refused, Policy::None, Some(1))),
        ("not to you", STRANGER, TCP, query("example.test", rtype::AXFR), (Came::Refused, Policy::Acl, Some(5))),
        ("no zone", LISTED, TCP, query("elsewhere.test", rtype::AXFR), (Came::Refused, Policy::Route, Some(9))),
        ("no records", LISTED, TCP, query("expired.test", rtype::AXFR), (Came::Failed, Policy::None, Some(2))),
        ("NOTIFY", LISTED, UDP, signed(notify("example.test"), &key("move")), (Came::Local, Policy::None, Some(0))),
        ("NOTIFY of others", ASKER, UDP, notify("example.test"), (Came::Refused, Policy::Acl, Some(5))),
        (
            "signed",
            ASKER,
            UDP,
            signed(query("h1.example.test", rtype::A), &key("other")),
            (Came::Zone, Policy::None, Some(0)),
        ),
        (
            "wrong",
            ASKER,
            UDP,
            signed(query("h1.example.test", rtype::A), &wrong),
            (Came::Refused, Policy::Signature, Some(9)),
        ),
        ("broken", ASKER, UDP, broken, (Came::Refused, Policy::Signature, Some(1))),
    ] {
        let mut engine = recorded(images());
        let outcome = engine.ask(peer, via, &request);
        entry(&mut engine, |entry| {
            assert_eq!((entry.outcome, entry.policy, entry.rcode), expected, "{what}");
            assert_eq!((entry.client, entry.transport, entry.at), (peer.parse().unwrap(), via, NOW), "{what}");
            assert_eq!((entry.upstream, entry.dnssec_ok), (None, false), "{what}");
            let question = &request[12..][..entry.name.len() + 2];
            assert_eq!(question, [entry.name, &entry.qtype.to_be_bytes()].concat(), "{what}");
            let octets = if let Outcome::Reply(octets) = outcome { octets } else { 0 };
            assert_eq!(usize::from(entry.reply_octets), octets, "{what}");
        });
        assert_eq!(engine.shard.counters().log_entries, 1, "{what}");
    }
}

#[test]
fn what_cannot_be_read_has_an_entry_without_a_name() {
    let mut two_questions = query("h1.example.test", rtype::A);
    two_questions[5] = 2;
    let mut update = query("example.test", rtype::SOA);
    update[2] = 5 << 3;
    for (request, rcode) in [(two_questions, 1), (update, 4)] {
        let mut engine = recorded(images());
        engine.ask(ASKER, UDP, &request);
        entry(&mut engine, |entry| {
            let said = (entry.outcome, entry.policy, entry.rcode, entry.name, entry.qtype);
            assert_eq!(said, (Came::Refused, Policy::None, Some(rcode), &[][..], 0));
        });
        let chunk = messages(&mut engine).unwrap();
        assert_eq!(chunk.messages().next().unwrap().octets, request, "the tap has it as it came");
    }
    let mut engine = recorded(images());
    let mut response = query("h1.example.test", rtype::A);
    response[2] |= 0x80;
    for octets in [&response[..], &response[..11], &[]] {
        assert_eq!(engine.ask(ASKER, UDP, octets), Outcome::Silence);
    }
    assert_eq!(engine.shard.counters().dropped_malformed, 3);
    assert!(chunks(&mut engine).is_empty() && messages(&mut engine).is_none(), "these are no requests");
    assert_eq!(engine.shard.telemetry(), &Telemetry::default());
}

#[test]
fn the_name_is_the_one_asked_for_wherever_aliases_lead() {
    let (apex, alias) = (name("example.test"), name("alias.example.test"));
    let mut builder = Builder::new(apex.clone(), hash_key());
    let soa = [apex.as_wire(), apex.as_wire(), &[0; 20]].concat();
    for (owner, rtype, data) in [
        (&apex, rtype::SOA, &soa[..]),
        (&apex, rtype::NS, apex.as_wire()),
        (&apex, rtype::A, &[192, 0, 2, 1]),
        (&alias, rtype::CNAME, apex.as_wire()),
    ] {
        builder.push(owner.as_wire(), rtype, 60, data, Place::default()).unwrap();
    }
    let mut images = images();
    images.zones[0].image = Some(Arc::new(builder.finish().unwrap()));
    let mut engine = recorded(images);
    let mut request = query_with_edns("alias.example.test", rtype::A, 1232);
    request[13] = b'A';
    let do_at = request.len() - 4;
    request[do_at] = 0x80;
    let peer: SocketAddr = "[2001:db8::5]:4000".parse().unwrap();
    let client = Client { peer, local: Some([192, 0, 2, 1].into()), via: UDP, listener: 0, connection: 0 };
    let Outcome::Reply(_) = engine.shard.on_query(NOW, &client, &request, &mut engine.buffer) else { panic!() };
    entry(&mut engine, |entry| {
        assert_eq!((entry.name, entry.qtype, entry.dnssec_ok), (alias.as_wire(), rtype::A, true));
        assert_eq!((entry.client, entry.outcome), (peer, Came::Refused), "the listener is for others");
    });
    let chunk = messages(&mut engine).unwrap();
    let tapped: Vec<_> = chunk.messages().map(|message| (message.peer, message.local, message.listener)).collect();
    assert_eq!(tapped, [(peer, client.local, 0); 2]);
    engine.reply(ASKER, TCP, &request);
    assert_eq!(engine.buffer[7], 2, "the alias and the address");
    entry(&mut engine, |entry| assert_eq!((entry.name, entry.outcome), (alias.as_wire(), Came::Zone)));
}

#[test]
fn limits_on_equal_responses_are_told() {
    for (slip, expected) in [(0, (Came::Dropped, Policy::Rrl, None)), (1, (Came::Local, Policy::Rrl, Some(0)))] {
        for owner in ["h1.example.test", "elsewhere.test"] {
            let rrl = Settings { rate: 1, slip, prefix4: 24, prefix6: 56, entries: 1024, ..Settings::default() };
            let mut engine = recorded(Images { rrl: Some(rrl), ..images() });
            engine.ask(ASKER, UDP, &query(owner, rtype::A));
            chunks(&mut engine);
            engine.ask(ASKER, UDP, &query(owner, rtype::A));
            entry(&mut engine, |entry| assert_eq!((entry.outcome, entry.policy, entry.rcode), expected, "{owner}"));
            engine.shard.on_sent(NOW, NOW);
            let telemetry = engine.shard.telemetry();
            assert_eq!(telemetry.at_once[UDP as usize].count(), engine.shard.counters().replies);
        }
    }
}

#[test]
fn a_bound_on_transfers_is_told() {
    let mut engine = recorded(images());
    let request = query("example.test", rtype::AXFR);
    for _ in 0..TRANSFERS_MAX {
        assert!(matches!(engine.ask(LISTED, TCP, &request), Outcome::Transfer(_)));
    }
    chunks(&mut engine);
    engine.ask(LISTED, TCP, &request);
    entry(&mut engine, |entry| {
        assert_eq!((entry.outcome, entry.policy, entry.rcode), (Came::Refused, Policy::Bound, Some(2)));
    });
}

#[test]
fn who_waits_has_an_entry_when_the_answer_comes() {
    let mut engine = recorded(images());
    let request = query("WWW.up.test", rtype::A);
    assert_eq!(engine.ask(ASKER, UDP, &request), Outcome::Pending);
    assert_eq!(engine.ask("127.0.0.1:4001", TCP, &request), Outcome::Pending);
    assert!(chunks(&mut engine).is_empty());
    let after = NOW + Duration::from_micros(70_500);
    let message = answer(&mut engine, after);
    let server: SocketAddr = SERVER.parse().unwrap();
    let told: Vec<Outcome> = (0..2)
        .map(|_| match engine.shard.poll_action(&mut engine.buffer) {
            Some(Action::Reply { octets, .. }) => Outcome::Reply(octets),
            other => panic!("{other:?}"),
        })
        .collect();
    // A later batch says nothing of their latency.
    engine.shard.on_sent(after, after + Duration::from_secs(3));
    let chunks = chunks(&mut engine);
    let entries: Vec<Entry<'_>> = chunks.iter().flat_map(log::Chunk::entries).collect();
    assert_eq!(entries.iter().map(|entry| entry.transport).collect::<Vec<_>>(), [UDP, TCP]);
    for (entry, told) in entries.iter().zip(told) {
        assert_eq!((entry.outcome, entry.policy, entry.rcode), (Came::Resolved, Policy::None, Some(0)));
        assert_eq!(entry.upstream, Some(Asked { tcp: false, server }));
        assert_eq!((entry.at, entry.latency_micros), (NOW, 70_500));
        assert_eq!((entry.name, Outcome::Reply(entry.reply_octets.into())), (&b"\x03www\x02up\x04test\0"[..], told));
    }
    let chunk = messages(&mut engine).unwrap();
    let tapped: Vec<_> = chunk.messages().map(|m| (m.kind, m.peer.port(), m.asked, m.at)).collect();
    let (query, response) = (Kind::ClientQuery, Kind::ClientResponse);
    let asked = [(query, 4000, NOW, NOW), (query, 4001, NOW, NOW), (Kind::UpstreamQuery, 53, NOW, NOW)];
    let answered =
        [(Kind::UpstreamResponse, 53, NOW, after), (response, 4000, NOW, after), (response, 4001, NOW, after)];
    assert_eq!(tapped, [asked, answered].concat());
    assert_eq!(chunk.messages().nth(3).unwrap().octets, message);
    let telemetry = engine.shard.telemetry();
    let counts = |histograms: &[ringdns_shard::telemetry::Histogram; 2]| histograms.each_ref().map(|h| h.count());
    assert_eq!((counts(&telemetry.waited), counts(&telemetry.at_once)), ([1, 1], [0, 0]));
    assert_eq!((telemetry.waited[0].sum_micros(), telemetry.round_trips.sum_micros()), (70_500, 70_500));
    let state = &engine.shard.server_states()[0];
    assert_eq!((state.round_trips, state.round_trip_micros), (1, 70_500));
}

#[test]
fn who_waits_in_vain_has_an_entry_all_the_same() {
    let mut engine = recorded(images());
    for port in 0..5 {
        let request = query(&format!("n{}.up.test", port / 2), rtype::A);
        assert_eq!(engine.ask(&format!("127.0.0.1:{}", 4000 + port), UDP, &request), Outcome::Pending);
    }
    answer(&mut engine, NOW);
    assert_eq!(engine.shard.waiters(), 3, "two have their reply, which nobody has sent");
    engine.shard.abandon_waiters(NOW + Duration::from_millis(2));
    assert_eq!((engine.shard.waiters(), replies(&mut engine)), (0, 0));
    let chunks = chunks(&mut engine);
    let entries: Vec<Entry<'_>> = chunks.iter().flat_map(log::Chunk::entries).collect();
    let mut ports: Vec<u16> = entries.iter().map(|entry| entry.client.port()).collect();
    ports.sort_unstable();
    assert_eq!(ports, [4000, 4001, 4002, 4003, 4004]);
    for entry in entries {
        assert_eq!((entry.outcome, entry.rcode, entry.latency_micros), (Came::Dropped, None, 2_000));
    }
    let counters = engine.shard.counters();
    assert_eq!((counters.waiters_abandoned, counters.log_entries, counters.replies), (5, 5, 0));
}

#[test]
fn what_is_answered_at_once_takes_as_long_as_its_batch() {
    let mut engine = recorded(images());
    for (count, via) in [(3, UDP), (2, TCP)] {
        (0..count).for_each(|_| drop(engine.reply(ASKER, via, &query("h1.example.test", rtype::A))));
    }
    engine.ask(ASKER, TCP, &query("late.up.test", rtype::A));
    let sent = NOW + Duration::from_micros(340);
    engine.shard.on_sent(NOW, sent);
    engine.shard.on_sent(sent, sent + Duration::from_secs(1));
    let latencies: Vec<u32> = chunks(&mut engine)
        .iter()
        .flat_map(|chunk| chunk.entries().map(|e| e.latency_micros).collect::<Vec<_>>())
        .collect();
    assert_eq!(latencies, [340; 5]);
    let telemetry = engine.shard.telemetry();
    let counts = telemetry.at_once.each_ref().map(|histogram| (histogram.count(), histogram.sum_micros()));
    assert_eq!(counts, [(3, 3 * 340), (2, 2 * 340)]);
    assert_eq!(telemetry.types[TypeClass::A as usize], 6);
    let chunk = messages(&mut engine).unwrap();
    let responses = chunk.messages().filter(|message| message.kind == Kind::ClientResponse);
    assert_eq!(responses.map(|message| (message.asked, message.at)).collect::<Vec<_>>(), [(NOW, sent); 5]);
}

#[test]
fn one_of_so_many_is_drawn_and_the_others_are_counted() {
    let sampled = |log_sample| Recording { log_sample, ..Recording::default() };
    let mut engine = Engine::with(Images { recording: sampled(10), ..images() });
    let request = query("h1.example.test", rtype::A);
    let queries = 20_000;
    let mut entries: BTreeMap<u32, u64> = BTreeMap::new();
    for of in [10, 2] {
        // Another sample begins a chunk of its own, whoever takes them when.
        engine.shard.on_images(NOW, Arc::new(Images { recording: sampled(of), ..images() }));
        for _ in 0..queries {
            engine.ask(ASKER, UDP, &request);
            if engine.shard.log().is_full() {
                for chunk in chunks(&mut engine) {
                    *entries.entry(chunk.sample).or_default() += u64::from(chunk.entries);
                }
            }
        }
    }
    for chunk in chunks(&mut engine) {
        *entries.entry(chunk.sample).or_default() += u64::from(chunk.entries);
    }
    // Within five standard deviations.
    let [(2, halves), (10, tenths)] = entries.into_iter().collect::<Vec<_>>()[..] else { panic!("two samples") };
    assert!((9_650..10_350).contains(&halves) && (1_790..2_210).contains(&tenths), "{halves} {tenths}");
    let counters = engine.shard.counters().clone();
    assert_eq!(counters.log_entries, halves + tenths);
    assert_eq!(counters.log_entries + counters.log_sampled_out, 2 * queries);
    assert!(messages(&mut engine).is_none(), "nobody wants them");
    engine.shard.on_images(NOW, Arc::new(images()));
    (0..100).for_each(|_| drop(engine.reply(ASKER, UDP, &request)));
    assert!(chunks(&mut engine).is_empty());
    let off = engine.shard.counters();
    assert_eq!((off.log_entries, off.log_sampled_out), (counters.log_entries, counters.log_sampled_out));
}

#[test]
fn each_side_of_the_tap_is_opened_by_itself() {
    for (tap_clients, tap_upstreams) in [(true, false), (false, true), (false, false)] {
        let recording = Recording { log_sample: 0, tap_clients, tap_upstreams };
        let mut engine = Engine::with(Images { recording, ..images() });
        engine.ask(ASKER, UDP, &query("www.up.test", rtype::A));
        answer(&mut engine, NOW);
        assert_eq!(replies(&mut engine), 1);
        engine.reply(ASKER, UDP, &query("h1.example.test", rtype::A));
        let kinds: Vec<Kind> = messages(&mut engine)
            .iter()
            .flat_map(|chunk| chunk.messages().map(|m| m.kind).collect::<Vec<_>>())
            .collect();
        let (query, response) = (Kind::ClientQuery, Kind::ClientResponse);
        let clients = [query, response, query, response];
        let upstreams = [Kind::UpstreamQuery, Kind::UpstreamResponse];
        let expected: &[Kind] = match (tap_clients, tap_upstreams) {
            (true, _) => &clients,
            (_, true) => &upstreams,
            _ => &[],
        };
        assert_eq!(kinds, expected);
        assert_eq!(engine.shard.counters().tap_messages, expected.len() as u64);
        assert!(chunks(&mut engine).is_empty());
    }
}

#[test]
fn a_reply_that_is_not_believed_is_tapped_and_one_of_nobody_is_not() {
    let mut engine = recorded(images());
    engine.ask(ASKER, UDP, &query("www.up.test", rtype::A));
    let action = engine.shard.poll_action(&mut engine.buffer);
    let Some(Action::AskUdp { socket, server, octets }) = action else { panic!("{action:?}") };
    let mut other_question = engine.buffer[..octets].to_vec();
    other_question[2] |= 0x80;
    other_question[13] ^= 1;
    engine.shard.on_reply_udp(NOW, socket, server, &other_question);
    let mut other_id = other_question.clone();
    other_id[0] ^= 1;
    engine.shard.on_reply_udp(NOW, socket, server, &other_id);
    engine.shard.on_reply_udp(NOW, socket, ASKER.parse().unwrap(), &other_question);
    let counters = engine.shard.counters();
    assert_eq!((counters.upstream_mismatched, counters.upstream_unexpected), (1, 2));
    let chunk = messages(&mut engine).unwrap();
    let heard = chunk.messages().filter(|message| message.kind == Kind::UpstreamResponse);
    assert_eq!(heard.map(|message| message.octets.to_vec()).collect::<Vec<_>>(), [other_question]);
}

#[test]
fn chunks_are_full_at_their_bound() {
    let mut engine = recorded(images());
    let request = query("h1.example.test", rtype::A);
    let mut asked = 0;
    while !engine.shard.log().is_full() {
        engine.ask(ASKER, UDP, &request);
        asked += 1;
    }
    let octets = 64 + name("h1.example.test").as_wire().len();
    assert_eq!(asked, LOG_CHUNK_OCTETS.div_ceil(octets));
    entry_count(&mut engine, asked);
    assert!(!engine.shard.log().is_full());
}

fn entry_count(engine: &mut Engine, expected: usize) {
    let chunks = chunks(engine);
    assert_eq!((chunks.len(), chunks[0].entries as usize), (1, expected));
}
