use super::super::testing::{SETTINGS, a, denial_of, message, name, question, soa, soa_at, vouched};
use super::*;
use crate::limits::NAME_OCTETS_MAX;
use crate::wire::name::{KeyedName, Name};

const OPT: &[u8] = b"\0\0\x29\x04\xd0\0\0\0\0\0\0";
const OWNER: &[u8] = b"\x03www\x04test\0";

fn parse(message: &[u8]) -> Answer {
    Answer::parse(message, OWNER.len() + 4, &SETTINGS, false).unwrap()
}

fn write(answer: &Answer, age: u64, owner: &[u8], limit: usize) -> (Vec<u8>, bool) {
    written(answer, age, &question(owner), limit, false)
}

fn written(answer: &Answer, age: u64, question: &[u8], limit: usize, stale: bool) -> (Vec<u8>, bool) {
    let mut out = vec![0xee; 65_535];
    let reply = Reply { id: 0x1234, flags: flags::RA, question, opt: None, limit, stale };
    let (length, truncated) = answer.write(&mut out, Duration::from_secs(age), &reply);
    out.truncate(length);
    (out, truncated)
}

#[test]
fn a_reply_is_the_answer_with_its_age_and_the_askers_spelling() {
    let spelt_out = [OWNER, &a(60)[2..]].concat();
    let stored = parse(&message(0, OWNER, [&[&a(300), &spelt_out], &[], &[&a(50), OPT]]));
    assert_eq!(stored.lifetime(), Duration::from_secs(50));
    let (reply, truncated) = write(&stored, 40, b"\x03wWw\x04TesT\0", 1232);
    let spelt_out = [b"\x03wWw\x04TesT\0", &a(20)[2..]].concat();
    let mut expected = message(0, b"\x03wWw\x04TesT\0", [&[&a(260), &spelt_out], &[], &[&a(10)]]);
    expected[..4].copy_from_slice(&[0x12, 0x34, 0x80, 0x80]);
    assert_eq!((reply, truncated), (expected, false));
    assert_eq!(write(&stored, 9999, OWNER, 1232).0.len(), write(&stored, 0, OWNER, 1232).0.len());
}

#[test]
fn a_stale_reply_says_thirty_seconds_everywhere() {
    let stored = parse(&message(0, OWNER, [&[&a(300), &a(5)], &[], &[&a(50), OPT]]));
    let (reply, truncated) = written(&stored, 9999, &question(OWNER), 1232, true);
    let mut expected = message(0, OWNER, [&[&a(30), &a(30)], &[], &[&a(30)]]);
    expected[..4].copy_from_slice(&[0x12, 0x34, 0x80, 0x80]);
    assert_eq!((reply, truncated), (expected, false));
}

#[test]
fn what_does_not_fit_goes_the_additional_section_first() {
    let stored = parse(&message(0, OWNER, [&[&a(60)], &[], &[&a(60), &a(60)]]));
    let whole = write(&stored, 0, OWNER, 1232).0.len();
    let without_additional = write(&stored, 0, OWNER, whole - 1);
    assert_eq!((without_additional.0.len(), without_additional.1), (whole - 32, false));
    assert_eq!(without_additional.0[6..12], [0, 1, 0, 0, 0, 0]);
    let cut = write(&stored, 0, OWNER, whole - 33);
    assert_eq!((cut.0.len(), cut.1), (HEADER_OCTETS + OWNER.len() + 4, true));
    assert_eq!((cut.0[2] & 2, &cut.0[6..12]), (2, &[0; 6][..]));
}

#[test]
fn lifetimes_are_those_of_the_rfcs() {
    let lifetime = |message: Vec<u8>| parse(&message).lifetime().as_secs();
    assert_eq!(lifetime(message(0, OWNER, [&[&a(300), &a(200)], &[], &[]])), 200);
    assert_eq!(lifetime(message(0, OWNER, [&[&a(1 << 31)], &[], &[]])), 0, "RFC 2181 section 8");
    assert_eq!(lifetime(message(0, OWNER, [&[&a(1_000_000)], &[], &[]])), 86_400);
    assert_eq!(lifetime(message(3, OWNER, [&[], &[&soa(600, 30)], &[]])), 30);
    assert_eq!(lifetime(message(3, OWNER, [&[], &[&soa(20, 30)], &[]])), 20);
    assert_eq!(lifetime(message(0, OWNER, [&[], &[&soa(99_999, 88_888)], &[]])), 3600);
    assert_eq!(lifetime(message(0, OWNER, [&[], &[], &[]])), 0, "no SOA, no caching");
    assert_eq!(lifetime(message(3, OWNER, [&[], &[], &[]])), 0);
    assert_eq!(lifetime(message(6, OWNER, [&[&a(60)], &[], &[]])), 0, "other codes are passed on alone");
    let badvers = b"\0\0\x29\x04\xd0\x01\0\0\0\0\0";
    assert_eq!(lifetime(message(0, OWNER, [&[&a(60)], &[], &[badvers]])), 0, "nor are extended ones kept");
    let floor = CacheSettings { min_ttl: Duration::from_secs(10), ..SETTINGS };
    let zero = message(0, OWNER, [&[&a(0)], &[], &[]]);
    let clamped = Answer::parse(&zero, OWNER.len() + 4, &floor, false).unwrap();
    assert_eq!(clamped.lifetime().as_secs(), 10);
    assert_eq!(write(&clamped, 3, OWNER, 1232).0[HEADER_OCTETS + OWNER.len() + 4 + 9], 7);
}

#[test]
fn an_answer_for_one_network_is_not_kept() {
    let lifetime = |option: &[u8]| {
        let opt = [&OPT[..10], &[option.len() as u8], option].concat();
        parse(&message(0, OWNER, [&[&a(60)], &[], &[&opt]])).lifetime().as_secs()
    };
    assert_eq!(lifetime(b"\0\x08\0\x07\0\x01\x18\0\xc0\0\x02"), 60, "it holds for everybody");
    assert_eq!(lifetime(b"\0\x08\0\x07\0\x01\x18\x18\xc0\0\x02"), 0);
    assert_eq!(lifetime(b"\0\x08\0\x03\0\x01\x18"), 0, "its scope is cut off");
    assert_eq!(lifetime(b"\0\x08\0\x07\0\x01\x18\0\xc0\0"), 0, "the options are cut off");
    assert_eq!(lifetime(b"\0\x03\0\x01n"), 60, "other options are nobody's business here");
}

#[test]
fn the_soa_of_a_negative_answer_counts_down_from_its_limit() {
    let stored = parse(&message(3, OWNER, [&[], &[&soa(600, 30)], &[]]));
    let (reply, _) = write(&stored, 10, OWNER, 1232);
    let ttl_at = HEADER_OCTETS + OWNER.len() + 4 + 6;
    assert_eq!(reply[ttl_at..ttl_at + 4], [0, 0, 0, 20]);
    assert_eq!(stored.rcode(), 3);
}

#[test]
fn the_extended_code_is_read_and_the_record_taken_off() {
    let badvers = b"\0\0\x29\x04\xd0\x01\0\0\0\0\0";
    assert_eq!(parse(&message(0, OWNER, [&[], &[], &[badvers]])).rcode(), 16);
    let behind = message(0, OWNER, [&[&a(60)], &[], &[OPT, &a(60)]]);
    assert_eq!(write(&parse(&behind), 0, OWNER, 1232).0[10..12], [0, 0], "what follows the OPT goes with it");
}

#[test]
fn a_denial_is_one_of_the_name_asked_for_and_of_what_is_below_where_somebody_vouches() {
    let facts = |message: &[u8], authoritative| {
        let answer = Answer::parse(message, OWNER.len() + 4, &SETTINGS, authoritative).unwrap();
        (answer.is_negative(), answer.denies_name(), answer.cuts())
    };
    let soa = soa_at(16, 600, 30);
    let denial = message(3, OWNER, [&[], &[&soa], &[]]);
    assert_eq!(facts(&denial, false), (true, true, false));
    assert_eq!(facts(&denial, true), (true, true, true));
    assert_eq!(facts(&vouched(denial), false), (true, true, true));
    let alias = b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x04\x01x\xc0\x10";
    assert_eq!(facts(&vouched(message(3, OWNER, [&[alias], &[&soa], &[]])), true), (true, false, false), "its target");
    assert_eq!(facts(&message(0, OWNER, [&[], &[&soa], &[]]), true), (true, false, false), "no data");
    assert_eq!(facts(&message(0, OWNER, [&[&a(1)], &[], &[]]), true), (false, false, false));
    let of_itself = message(3, OWNER, [&[], &[&soa_at(12, 600, 30)], &[]]);
    assert_eq!(facts(&of_itself, true), (true, true, false), "a zone that is there does not deny its name");
    let with_ns = b"\xc0\x10\0\x02\0\x01\0\0\0\x3c\0\x02\xc0\x0c";
    assert_eq!(facts(&message(3, OWNER, [&[], &[&soa, with_ns], &[]]), true), (true, true, false));
}

#[test]
fn a_name_that_points_into_the_type_asked_for_is_not_written_for_another() {
    // The first octet of type A reads as the root.
    let type_at = (HEADER_OCTETS + OWNER.len()) as u8;
    let denial = message(3, OWNER, [&[], &[&soa_at(type_at, 600, 30)], &[]]);
    let answer = parse(&denial);
    assert_eq!((answer.rcode(), answer.denies_name(), answer.cuts()), (3, false, false));
}

#[test]
fn the_zone_of_a_negative_answer_is_known_by_its_labels() {
    let labels = |soa: &[u8]| parse(&message(3, OWNER, [&[], &[soa], &[]])).zone_labels();
    assert_eq!(labels(&soa_at(12, 1, 1)), Some(2));
    assert_eq!(labels(&soa_at(16, 1, 1)), Some(1));
    assert_eq!(labels(&soa_at(21, 1, 1)), Some(0));
    assert_eq!(labels(&[b"\x05other\0", &soa_at(16, 1, 1)[2..]].concat()), None);
    assert_eq!(labels(&[b"\x04TEST\0", &soa_at(16, 1, 1)[2..]].concat()), Some(1));
    assert_eq!(parse(&message(0, OWNER, [&[&a(1)], &[&soa(1, 1)], &[]])).zone_labels(), None);
}

/// A signed denial of a name of three labels, with every kind of name in it: pointers to the name, into it, to each
/// other, and names spelt out.
fn denial() -> (KeyedName, Answer) {
    let name = name("x.sub.test");
    let zone_at = 12 + 2;
    let soa_at = HEADER_OCTETS + name.as_wire().len() + 4;
    let soa = [
        &[0xc0, zone_at][..],
        b"\0\x06\0\x01\0\0\0\x3c\0\x1c",
        b"\x03ns1",
        &[0xc0, zone_at, 0xc0, (soa_at + 12) as u8],
        &[0; 19],
        &[30],
    ]
    .concat();
    let nsec = [&[0xc0, zone_at][..], b"\0\x2f\0\x01\0\0\0\x3c\0\x0d", b"\x03sub\x04test\0\0\x01\x40"].concat();
    let signature =
        [&[0xc0, zone_at][..], b"\0\x2e\0\x01\0\0\0\x3c\0\x20", &[7; 18], b"\x03sub\x04test\0", b"sign"].concat();
    let spelt_out = [name.as_wire(), b"\0\x32\0\x01\0\0\0\x3c\0\x01\x01"].concat();
    let message = vouched(message(3, name.as_wire(), [&[], &[&soa, &nsec, &signature, &spelt_out], &[OPT]]));
    let answer = Answer::parse(&message, name.as_wire().len() + 4, &SETTINGS, false).unwrap();
    (name, answer)
}

/// Owner, type, TTL and data of the records of a message, with all names spelt out.
fn records(message: &[u8]) -> Vec<(Vec<u8>, u16, u32, Vec<u8>)> {
    let header = Header::parse(message).unwrap();
    let at = HEADER_OCTETS + name::measure(&message[HEADER_OCTETS..]).unwrap() + 4;
    let expand = |at| {
        let mut out = [0; NAME_OCTETS_MAX];
        let (length, end) = name::expand(message, at, &mut out).unwrap();
        (out[..length].to_vec(), end)
    };
    message::records(message, header, at)
        .map(|record| {
            let record = record.unwrap();
            let mut data = message[record.data.clone()].to_vec();
            if record.rtype == rtype::SOA {
                let (first, end) = expand(record.data.start);
                let (second, end) = expand(end);
                data = [&first[..], &second, &message[end..record.data.end]].concat();
            }
            (expand(record.owner_at).0, record.rtype, record.ttl, data)
        })
        .collect()
}

#[test]
fn a_denial_is_written_for_a_name_below() {
    let (owner, answer) = denial();
    assert!(answer.cuts());
    let (own, _) = write(&answer, 10, owner.as_wire(), 1232);
    assert_eq!(records(&own).len(), 4);
    for below in ["a.x.sub.test", "Some.MORE.of.It.X.sub.tesT"] {
        let below = Name::from_wire(name(below).as_wire()).unwrap();
        let (reply, truncated) = write(&answer, 10, below.as_wire(), 1232);
        let longer = below.as_wire().len() - owner.as_wire().len();
        assert_eq!((reply.len(), truncated), (own.len() + longer, false));
        assert_eq!(reply[..HEADER_OCTETS], own[..HEADER_OCTETS]);
        assert_eq!(reply[HEADER_OCTETS..][..below.as_wire().len() + 4], question(below.as_wire()));
        assert_eq!(records(&reply), records(&own));
        let ttls: Vec<u32> = records(&reply).iter().map(|(_, _, ttl, _)| *ttl).collect();
        assert_eq!(ttls, [20, 50, 50, 50]);
        let stale = written(&answer, 99, &question(below.as_wire()), 1232, true).0;
        assert!(records(&stale).iter().all(|(_, _, ttl, _)| *ttl == 30));
        let (cut, truncated) = write(&answer, 0, below.as_wire(), reply.len() - 1);
        assert_eq!((cut.len(), truncated), (HEADER_OCTETS + below.as_wire().len() + 4, true));
        assert_eq!((cut[2] & 2, &cut[6..12]), (2, &[0; 6][..]));
    }
}

#[test]
fn the_longest_name_below_is_answered() {
    let owner = name("x.test");
    let answer = Answer::parse(&denial_of(&owner, 60), owner.as_wire().len() + 4, &SETTINGS, false).unwrap();
    let label = "a".repeat(63);
    let below = name(&format!("{label}.{label}.{label}.{}.x.test", "b".repeat(54)));
    assert_eq!(below.as_wire().len(), NAME_OCTETS_MAX);
    let (reply, truncated) = write(&answer, 0, below.as_wire(), 512);
    assert_eq!((records(&reply)[0].0.as_slice(), truncated), (&b"\x04test\0"[..], false));
}
