//! Faults that fuzzing and simulation found, each in the few octets that show it.

use std::sync::Arc;
use std::time::Duration;

use ringdns_shard::cache::{Answer, Reply};
use ringdns_shard::guard::Acl;
use ringdns_shard::images::{Bounds, CacheSettings, Listener};
use ringdns_shard::limits::{MESSAGE_OCTETS_MAX, NAME_OCTETS_MAX};
use ringdns_shard::upstream::{Kind, Pool, Protocol, Routes, Server, Strategy, Target};
use ringdns_shard::wire::message::{Header, flags, records};
use ringdns_shard::wire::name::{self, HashKey, Name};
use ringdns_shard::{Action, Client, Images, Outcome, Shard, Time, Transport};

const CACHE: CacheSettings = CacheSettings {
    octets: 1 << 16,
    min_ttl: Duration::ZERO,
    max_ttl: Duration::from_secs(86_400),
    negative_max_ttl: Duration::from_secs(3_600),
    ..CacheSettings::PLAIN
};
const QUESTION: &[u8] = b"\x01a\x04test\0\0\x01\0\x01";
/// Where the first record begins.
const RECORDS_AT: usize = 12 + QUESTION.len();

/// An upstream's reply to [`QUESTION`] with records of so many in each section.
fn message(counts: [u8; 3], records: &[&[u8]]) -> Vec<u8> {
    let [answers, authorities, additionals] = counts;
    let header = [0x12, 0x34, 0x81, 0x80, 0, 1, 0, answers, 0, authorities, 0, additionals];
    [&header[..], QUESTION, &records.concat()].concat()
}

/// Writes an upstream's message as a client gets it after `age`, where it is taken at all, and reads it again.
fn passed_on(message: &[u8], age: u64) -> Option<Result<usize, &'static str>> {
    let answer = Answer::parse(message, QUESTION.len(), &CACHE, false).ok()?;
    let mut out = vec![0; MESSAGE_OCTETS_MAX];
    let reply =
        Reply { id: 0x4007, flags: flags::RD | flags::RA, question: QUESTION, opt: None, limit: 1232, stale: false };
    let (octets, _) = answer.write(&mut out, Duration::from_secs(age), &reply);
    let header = Header::parse(&out).expect("a reply has a header");
    let mut opts = 0;
    for record in records(&out[..octets], header, RECORDS_AT) {
        match record {
            Err(_) => return Some(Err("a client cannot read it")),
            Ok(record) => opts += usize::from(record.rtype == 41),
        }
    }
    Some(Ok(opts))
}

/// Fuzz target `message`: the label that a pointer led to ran over the pointer and into an OPT record, which is taken
/// off before the answer is passed on.
#[test]
fn a_name_does_not_run_over_the_pointer_that_led_to_it() {
    let octets = b"\x05x\xc0\0yz\0";
    assert_eq!(name::expand(octets, 2, &mut [0; NAME_OCTETS_MAX]), None);
    let running_over = b"\xc0\x0c\0\x10\0\x01\0\0\0\x3c\0\x02\x1fx";
    let target = (RECORDS_AT + 12) as u8;
    let pointing = [&[0xc0, target][..], b"\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01"].concat();
    let opt = b"\0\0\x29\x04\xd0\0\0\0\0\0\x06\0\x0a\0\x02\0\0";
    let message = message([2, 0, 1], &[running_over, &pointing, opt]);
    assert!(matches!(passed_on(&message, 0), None | Some(Ok(0))), "{:?}", passed_on(&message, 0));
}

/// Fuzz target `on_query`: an OPT record outside of the additional section was passed on (RFC 6891 §6.1.1).
#[test]
fn an_opt_record_among_the_answers_is_not_passed_on() {
    let opt = b"\0\0\x29\x04\xd0\0\0\0\0\0\0";
    for counts in [[1, 0, 0], [0, 1, 0]] {
        assert!(matches!(passed_on(&message(counts, &[opt]), 0), None | Some(Ok(0))), "{counts:?}");
    }
}

/// Names that point where a reply is patched would read otherwise in each reply, or not at all.
#[test]
fn a_name_does_not_stand_in_header_or_ttl() {
    // The id at the start of the header reads as a label's length, and the label ends where the question's name does.
    let into_header = b"\xc0\0\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01";
    let from_header = [&[7][..], &message([1, 0, 0], &[into_header])[1..]].concat();
    assert_eq!(name::measure(&from_header), Some(9));
    assert_eq!(passed_on(&from_header, 0).filter(Result::is_err), None);
    // The last octet of a TTL of 256 seconds reads as the root, that of 255 seconds does not.
    let with_ttl = b"\xc0\x0c\0\x01\0\x01\0\0\x01\0\0\x04\xc0\0\x02\x01";
    let ttl_end = (RECORDS_AT + 9) as u8;
    let into_ttl = [&[0xc0, ttl_end][..], b"\0\x01\0\x01\0\0\x01\0\0\x04\xc0\0\x02\x01"].concat();
    let message = message([2, 0, 0], &[with_ttl, &into_ttl]);
    for age in [0, 1, 57, 100] {
        assert_eq!(passed_on(&message, age).filter(Result::is_err), None, "after {age} s");
    }
}

/// A shard whose names below `test` go to one of two servers, or nowhere.
fn images(target: Target) -> Arc<Images> {
    let hash_key = HashKey::from_seed([2; 16]);
    let pool = |host| {
        let server = Server { protocol: Protocol::Udp, address: ([192, 0, 2, host], 53).into() };
        Arc::new(Pool {
            name: host.to_string(),
            servers: vec![server.into()],
            kind: Kind::Resolver,
            strategy: Strategy::Fallback,
            timeout: Duration::from_secs(1),
            spec: Box::default(),
        })
    };
    let test: Name = "test".parse().expect("a name of ours");
    Arc::new(Images {
        listeners: vec![Listener { allow: Acl::local_and_private() }],
        routes: Arc::new(Routes::new(&hash_key, vec![(test, target)])),
        pools: vec![pool(1), pool(2)],
        cache: CACHE,
        bounds: Bounds { resolves: 1, waiters: 2, tcp_idle: Duration::from_secs(1), udp_ports: 1, ..Bounds::DEFAULT },
        ..Images::bare(hash_key)
    })
}

fn ask(shard: &mut Shard, question: &[u8], buffer: &mut [u8]) -> Outcome {
    let client =
        Client { peer: ([127, 0, 0, 1], 9).into(), local: None, via: Transport::Udp, listener: 0, connection: 0 };
    let request = [b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0", question].concat();
    shard.on_query(Time::from_secs(1), &client, &request, buffer)
}

/// The servers that a question began with may answer it, but not those who ask after the route has changed.
#[test]
fn an_answer_of_a_former_route_is_not_kept() {
    let mut buffer = vec![0; MESSAGE_OCTETS_MAX];
    let mut shard = Shard::new(images(Target::Pools(vec![0])), [1; 32]);
    assert_eq!(ask(&mut shard, QUESTION, &mut buffer), Outcome::Pending);
    let Some(Action::AskUdp { socket, server, .. }) = shard.poll_action(&mut buffer) else { panic!("no query") };
    let (id, spelt) = ([buffer[0], buffer[1]], buffer[12..RECORDS_AT].to_vec());
    shard.on_images(Time::from_secs(1), images(Target::Pools(vec![1])));
    let mut reply = message([1, 0, 0], &[b"\xc0\x0c\0\x01\0\x01\0\0\x0e\x10\0\x04\xc0\0\x02\x01"]);
    reply[..2].copy_from_slice(&id);
    reply[12..RECORDS_AT].copy_from_slice(&spelt);
    shard.on_reply_udp(Time::from_secs(1), socket, server, &reply);
    assert!(matches!(shard.poll_action(&mut buffer), Some(Action::Reply { .. })), "who asked before gets the answer");
    assert_eq!(ask(&mut shard, QUESTION, &mut buffer), Outcome::Pending, "who asks now is asked for elsewhere");
}

/// Recursion is available, even where a bound is reached at the moment.
#[test]
fn a_refusal_for_a_bound_says_that_recursion_is_available() {
    let mut buffer = vec![0; MESSAGE_OCTETS_MAX];
    let mut shard = Shard::new(images(Target::Pools(vec![0])), [1; 32]);
    assert_eq!(ask(&mut shard, QUESTION, &mut buffer), Outcome::Pending);
    let outcome = ask(&mut shard, b"\x01b\x04test\0\0\x01\0\x01", &mut buffer);
    assert!(matches!(outcome, Outcome::Reply(_)));
    let header = Header::parse(&buffer).expect("a reply has a header");
    assert_eq!(header.flags, flags::QR | flags::RD | flags::RA | 5);
}
