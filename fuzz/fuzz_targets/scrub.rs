//! Upstreams' messages are looked through, and what is left is held against what they said.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use ringdns_fuzz::records::{OwnerPick, RecordPick};
use ringdns_fuzz::request::{Octets, Rare};
use ringdns_shard::cache::scrub::{Scrubbed, Source, scrub};
use ringdns_shard::limits::NAME_OCTETS_MAX;
use ringdns_shard::wire::message::{HEADER_OCTETS, Header, Section, flags, records};
use ringdns_shard::wire::name::{self, Name};
use ringdns_shard::wire::rdata::{self, CLASS_IN, rtype};

/// A question, and what somebody says to it.
#[derive(Debug, Arbitrary)]
struct Said<'a> {
    name: OwnerPick<'a>,
    qtype: u8,
    rcode: u8,
    flags: Rare<u16>,
    source: u8,
    records: Vec<Record<'a>>,
    opt: bool,
    /// Instead of all records.
    raw: Rare<([u8; 3], Octets<'a>)>,
    /// Octets behind the question that are changed: where, and by which bits.
    flips: Rare<Vec<(u16, u8)>>,
}

#[derive(Debug, Arbitrary)]
struct Record<'a> {
    section: u8,
    /// The owner is the name asked, as a pointer.
    points: bool,
    class: Rare<u16>,
    pick: RecordPick<'a>,
}

/// Types that are asked for.
const QTYPES: [u16; 8] =
    [rtype::A, rtype::A, rtype::AAAA, rtype::MX, rtype::NS, rtype::CNAME, rtype::ANY, rtype::HTTPS];
const RECORDS_MAX: usize = 96;

fuzz_target!(|said: Said<'_>| {
    let apex: Name = "zone.test".parse().expect("a name of ours");
    let name = said.name.wire(&apex).to_ascii_lowercase();
    if name.len() > NAME_OCTETS_MAX {
        return;
    }
    let authoritative = said.source & 1 != 0;
    let labels = name::labels(&name).count();
    let suffix_labels = usize::from(said.source >> 1) % (labels + 1);
    let source = Source { authoritative, suffix_labels };
    let qtype = QTYPES[usize::from(said.qtype) % QTYPES.len()];
    let message = message(&said, &apex, &name, qtype);
    check(&message, &name, qtype, &source);
});

fn message(said: &Said<'_>, apex: &Name, name: &[u8], qtype: u16) -> Vec<u8> {
    let word =
        said.flags.0.unwrap_or(flags::AA) & !flags::RCODE | flags::QR | [0, 0, 3, 6][usize::from(said.rcode % 4)];
    let mut octets = [&[0, 7][..], &word.to_be_bytes(), &[0, 1, 0, 0, 0, 0, 0, 0], name].concat();
    octets.extend([qtype.to_be_bytes(), CLASS_IN.to_be_bytes()].concat());
    let question_end = octets.len();
    match &said.raw.0 {
        Some((counts, Octets(raw))) => {
            counts.iter().enumerate().for_each(|(i, &count)| octets[7 + 2 * i] = count);
            octets.extend(*raw);
        }
        None => {
            let mut picks: Vec<&Record<'_>> = said.records.iter().take(RECORDS_MAX).collect();
            picks.sort_by_key(|record| record.section % 3);
            picks.iter().for_each(|record| record.write(&mut octets, apex));
        }
    }
    if said.opt {
        octets[11] = octets[11].wrapping_add(1);
        octets.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    }
    for &(at, bits) in said.flips.0.iter().flatten().take(16) {
        if let Some(octet) = octets[question_end..].get_mut(usize::from(at)) {
            *octet ^= bits;
        }
    }
    octets
}

impl Record<'_> {
    fn write(&self, octets: &mut Vec<u8>, apex: &Name) {
        let made = self.pick.record(apex);
        octets[7 + 2 * usize::from(self.section % 3)] += 1;
        match self.points {
            true => octets.extend([0xc0, HEADER_OCTETS as u8]),
            false => octets.extend(&made.owner),
        }
        octets.extend(made.rtype.to_be_bytes());
        octets.extend(self.class.0.unwrap_or(CLASS_IN).to_be_bytes());
        octets.extend(made.ttl.to_be_bytes());
        octets.extend((made.data.len() as u16).to_be_bytes());
        octets.extend(&made.data);
    }
}

/// What is left was there before, is such as may be left, and loses nothing more.
fn check(message: &[u8], name: &[u8], qtype: u16, source: &Source) {
    let header = Header::parse(message).expect("it has a header");
    let (mut scratch, mut again) = (Vec::new(), Vec::new());
    let (left, is_clean) = match scrub(message, header, name, qtype, source, &mut scratch) {
        Scrubbed::Clean(left) => (left, true),
        Scrubbed::Rewritten(left) => (left, false),
        Scrubbed::Refused(_) => return,
    };
    let left_header = Header::parse(left).expect("what is left has a header");
    assert_eq!((left_header.id, left_header.counts[0]), (header.id, 1));
    assert_eq!((left_header.flags ^ header.flags) & !flags::RCODE, 0);
    assert_eq!(&left[HEADER_OCTETS..][..name.len()], name);
    let kept = read(left, left_header, name);
    if is_clean {
        assert_eq!(left, message, "it is the message itself");
    } else {
        let mut said = read(message, header, name);
        assert!(kept.len() <= said.len());
        for record in &kept {
            let same = said.iter().position(|other| other == record);
            said.swap_remove(same.unwrap_or_else(|| panic!("{record:02x?} was never said")));
        }
    }
    kept.iter().for_each(|record| record.check(name, source));
    let mut answers = kept.iter().filter(|record| record.section == Section::Answer);
    assert!(answers.clone().count() == 0 || answers.any(|record| record.owner == name || record.rtype == rtype::DNAME));
    assert_eq!(scrub(left, left_header, name, qtype, source, &mut again), Scrubbed::Clean(left));
}

/// A record as it is compared: names spelt out, in lower case.
#[derive(Debug, PartialEq)]
struct Read {
    section: Section,
    owner: Vec<u8>,
    rtype: u16,
    class: u16,
    ttl: u32,
    data: Vec<u8>,
}

fn read(message: &[u8], header: Header, name: &[u8]) -> Vec<Read> {
    let spelt_out = |at: usize| {
        let mut octets = [0; NAME_OCTETS_MAX];
        let (length, end) = name::expand(message, at, &mut octets).expect("names of records were checked");
        (octets[..length].to_ascii_lowercase(), end)
    };
    let records = records(message, header, HEADER_OCTETS + name.len() + 4).map(|record| {
        let record = record.expect("what is not refused parses");
        let mut at = record.data.start;
        let mut data = Vec::new();
        if let Some(layout) = rdata::layout(record.rtype) {
            data.extend(&message[at..at + layout.before]);
            at += layout.before;
            for _ in 0..layout.names {
                let (name, end) = spelt_out(at);
                data.extend(name);
                at = end;
            }
        }
        data.extend(&message[at..record.data.end]);
        let (owner, _) = spelt_out(record.owner_at);
        Read { section: record.section, owner, rtype: record.rtype, class: record.class, ttl: record.ttl, data }
    });
    records.collect()
}

impl Read {
    /// Whether it may be left at all.
    fn check(&self, name: &[u8], source: &Source) {
        if matches!(self.rtype, rtype::OPT | rtype::TSIG) {
            assert_eq!(self.section, Section::Additional);
            return;
        }
        let may_stay = match self.section {
            Section::Answer => true,
            Section::Authority => {
                matches!(self.rtype, rtype::SOA | rtype::NS | rtype::DS | rtype::NSEC | rtype::NSEC3 | rtype::RRSIG)
            }
            Section::Additional => {
                matches!(self.rtype, rtype::A | rtype::AAAA | rtype::SVCB | rtype::HTTPS | rtype::RRSIG)
            }
        };
        let octets = self.data.len();
        let fits = match self.rtype {
            rtype::A => octets == 4,
            rtype::AAAA => octets == 16,
            _ => true,
        };
        assert!(may_stay && fits && self.class == CLASS_IN, "{self:02x?}");
        if source.authoritative && self.section == Section::Additional {
            let above = name::labels(name).count() - source.suffix_labels;
            let suffix = name::labels(name).skip(above).flat_map(|label| [&[label.len() as u8], label].concat());
            let suffix: Vec<u8> = suffix.chain([0]).collect();
            assert!(self.owner.ends_with(&suffix), "{self:02x?} is out of bailiwick");
        }
    }
}
