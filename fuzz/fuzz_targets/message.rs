//! Messages of clients and upstreams are read, and what is made of them is written and read again.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use ringdns_shard::cache::{Answer, Reply};
use ringdns_shard::images::CacheSettings;
use ringdns_shard::limits::{NAME_OCTETS_MAX, RECORDS_MAX};
use ringdns_shard::wire::edns::{EdnsOption, ExtendedError, ReplyOpt};
use ringdns_shard::wire::message::{HEADER_OCTETS, Header, Query, flags, records};
use ringdns_shard::wire::name::{self, HashKey, KeyedName, Name};

fuzz_target!(|message: &[u8]| {
    names(message);
    let Some(header) = Header::parse(message) else {
        assert!(message.len() < HEADER_OCTETS);
        return;
    };
    request(header, message);
    let question = question(message);
    walk(message, header, question.map_or(HEADER_OCTETS, |octets| HEADER_OCTETS + octets));
    if let Some(octets) = question
        && header.counts[0] == 1
    {
        answer(message, octets);
    }
});

/// Octets of the question, where there is one.
fn question(message: &[u8]) -> Option<usize> {
    let octets = name::measure(&message[HEADER_OCTETS..])? + 4;
    (message.len() >= HEADER_OCTETS + octets).then_some(octets)
}

/// Names at every offset.
fn names(message: &[u8]) {
    let key = HashKey::from_seed([3; 16]);
    let mut expanded = [0; NAME_OCTETS_MAX];
    for at in 0..message.len().min(512) {
        let skipped = name::skip(message, at);
        if let Some((octets, end)) = name::expand(message, at, &mut expanded) {
            assert_eq!(skipped, Some(end));
            let wire = &expanded[..octets];
            assert_eq!(name::measure(wire), Some(octets));
            let keyed = KeyedName::new(&key, wire).expect("what was expanded is a name");
            let named = Name::from_wire(wire).expect("what was expanded is a name");
            assert!(name::same(keyed.as_wire(), wire) && keyed.as_wire() == named.as_wire());
            assert_eq!((keyed.labels(), keyed.labels()), (named.labels(), name::labels(wire).count()));
            assert_eq!(named.to_string().parse(), Ok(named), "what is shown is read as the same name");
        }
        let measured = name::measure(&message[at..]);
        assert_eq!(KeyedName::default().set(&key, &message[at..]), measured);
    }
}

/// The message as a client's.
fn request(header: Header, message: &[u8]) {
    let key = HashKey::from_seed([3; 16]);
    let mut name = KeyedName::default();
    let Ok(query) = Query::parse(header, message, &key, &mut name) else { return };
    assert_eq!(name::measure(query.question), Some(query.question.len() - 4));
    assert!(name::same(&query.question[..query.question.len() - 4], name.as_wire()));
    let Some(edns) = query.edns else { return };
    assert!((512..=1232).contains(&edns.udp_reply_octets()));
    let octets: usize = edns
        .options()
        .map(|option| match option {
            EdnsOption::Nsid(data) | EdnsOption::Cookie(data) | EdnsOption::Unknown { data, .. } => 4 + data.len(),
            EdnsOption::Keepalive(tenths) => 4 + tenths.map_or(0, |_| 2),
            EdnsOption::ExtendedError(_, text) => 6 + text.len(),
        })
        .sum();
    assert!(octets <= message.len());
}

/// Records from `at` on.
fn walk(message: &[u8], header: Header, at: usize) -> Option<usize> {
    let (mut end, mut count, mut section) = (at, 0, None);
    for record in records(message, header, at) {
        let record = record.ok()?;
        assert!(record.owner_at == end && record.ttl_at + 6 == record.data.start);
        assert!(record.data.end <= message.len() && Some(record.section) >= section);
        (end, count, section) = (record.data.end, count + 1, Some(record.section));
    }
    assert!(count <= RECORDS_MAX);
    assert_eq!(count, header.counts[1..].iter().map(|&count| usize::from(count)).sum());
    Some(end)
}

/// The message as an upstream's: what is made of it must be whole, however it is written.
fn answer(message: &[u8], question_octets: usize) {
    let settings = CacheSettings {
        octets: 1 << 20,
        min_ttl: Duration::from_secs(u64::from(message[0] & 7)),
        max_ttl: Duration::from_secs(86_400),
        negative_max_ttl: Duration::from_secs(3_600),
        ..CacheSettings::PLAIN
    };
    let message = &message[..message.len().min(65_535)];
    let Ok(answer) = Answer::parse(message, question_octets, &settings, message[1] & 1 != 0) else { return };
    assert!(answer.lifetime() <= settings.max_ttl);
    let asked = message[HEADER_OCTETS..][..question_octets].to_ascii_uppercase();
    let question =
        [&asked[..question_octets - 4], &message[HEADER_OCTETS..][question_octets - 4..question_octets]].concat();
    let opt = ReplyOpt {
        extended_rcode: 0,
        dnssec_ok: true,
        nsid: Some(b"node"),
        cookie: Some([7; 24]),
        keepalive: Some(1),
        error: Some(ExtendedError::Other),
    };
    let mut out = vec![0; 65_535];
    for (limit, opt, age) in
        [(512, None, 0), (512, Some(opt), 1), (1232, Some(opt), 70_000), (65_535, None, 0), (65_535, Some(opt), 3)]
    {
        let reply = Reply { id: 0x0abc, flags: flags::RD | flags::RA, question: &question, opt, limit, stale: false };
        let (octets, truncated) = answer.write(&mut out, Duration::from_secs(age), &reply);
        assert!(octets <= limit);
        let written = &out[..octets];
        let header = Header::parse(written).expect("what is written has a header");
        assert_eq!((header.id, header.counts[0], header.has(flags::TC)), (0x0abc, 1, truncated));
        assert_eq!(&written[HEADER_OCTETS..][..question_octets], question);
        let end = walk(written, header, HEADER_OCTETS + question_octets);
        assert_eq!(end, Some(octets), "what was read and written reads again: {written:02x?}");
        let again = Answer::parse(written, question_octets, &settings, true).expect("what was written is an answer");
        assert!(truncated || again.rcode() & 0x0f == answer.rcode() & 0x0f);
    }
}
