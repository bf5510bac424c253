//! A master file is read, its zone built, and asked for names that it has and names that it has not.
//!
//! The text ends at the first octet of zero; what follows it are names to ask for, as wire.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use ringdns_fuzz::{reply, world};
use ringdns_shard::limits::{MESSAGE_OCTETS_MAX, UDP_REPLY_OCTETS_MAX};
use ringdns_shard::wire::name::{self, KeyedName};
use ringdns_shard::wire::rdata::rtype;
use ringdns_shard::zone::{self, Builder, Image, lookup};
use ringdns_shard::{Client, Outcome, Shard, Time, Transport};

/// Records of a zone; `$GENERATE` makes many of few octets.
const RECORDS_MAX: usize = 3_000;
/// Names that a zone is asked for.
const NAMES_MAX: usize = 48;
/// Files included.
const INCLUDES_MAX: usize = 4;

const TYPES: [u16; 11] = [
    rtype::A,
    rtype::NS,
    rtype::CNAME,
    rtype::SOA,
    rtype::MX,
    rtype::TXT,
    rtype::DNAME,
    rtype::DS,
    rtype::RRSIG,
    rtype::ANY,
    65_280,
];

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(2, |&octet| octet == 0);
    let text = parts.next().unwrap_or_default();
    let Some(image) = read(text) else { return };
    let mut names: Vec<Vec<u8>> = image.nodes().take(NAMES_MAX / 2).map(|node| node.name().to_vec()).collect();
    let mut rest = parts.next().unwrap_or_default();
    while let Some(octets) = name::measure(rest).filter(|_| names.len() < NAMES_MAX) {
        let (prefix, after) = rest.split_at(octets);
        rest = after;
        // It stands below a name of the zone, for names elsewhere never come here.
        let below = &names[names.len() % image.names().min(NAMES_MAX / 2)];
        let name = [&prefix[..octets - 1], below].concat();
        if name.len() <= 255 {
            names.push(name);
        }
    }
    let image = Arc::new(image);
    let mut shard = Shard::new(Arc::new(world::of_zone(image.clone())), [1; 32]);
    for name in &names {
        let keyed = KeyedName::new(&world::key(), name).expect("a name of ours is whole");
        for qtype in TYPES {
            check_lookup(&image, &keyed, qtype);
            check_replies(&mut shard, name, qtype);
        }
    }
});

fn read(text: &[u8]) -> Option<Image> {
    let apex = world::name("zone.test");
    let mut builder = Builder::new(apex.clone(), world::key());
    let (mut records, mut includes) = (0, 0);
    let mut open = |path: &str, _: &str| {
        includes += 1;
        // A file that includes itself is one of the mistakes to be survived.
        if includes > INCLUDES_MAX { Err("no more files".into()) } else { Ok((path.to_owned(), text.to_vec())) }
    };
    let mut take = |record: zone::file::Record<'_>| {
        assert_eq!(name::measure(record.owner), Some(record.owner.len()));
        assert!(record.rdata.len() <= 65_535 && record.ttl <= i32::MAX as u32 && record.place.line > 0);
        records += 1;
        if records > RECORDS_MAX {
            return Err("too many records".into());
        }
        builder.push(record.owner, record.rtype, record.ttl, record.rdata, record.place)
    };
    match zone::file::read(&apex, "zone", text, &mut open, &mut take) {
        Ok(summary) => assert_eq!(summary.records, records as u64),
        Err(faults) => {
            assert!((1..=zone::file::FAULTS_MAX).contains(&faults.len()));
            assert!(faults.iter().all(|fault| fault.line > 0 && fault.column > 0 && !fault.message.is_empty()));
            return None;
        }
    }
    match builder.finish() {
        Ok(image) => Some(image),
        Err(faults) => {
            assert!(!faults.is_empty());
            None
        }
    }
}

/// What is found must be what the outcome says.
fn check_lookup(image: &Image, name: &KeyedName, qtype: u16) {
    use lookup::Outcome;
    let found = lookup::lookup(image, name, qtype);
    let node = found.node;
    let is_name = node.name() == name.as_wire();
    let encloses = node.labels() <= name.labels() && name.suffix(node.labels()) == node.name();
    assert!(if found.wildcard { node.name().starts_with(b"\x01*") } else { encloses });
    let set = match found.outcome {
        Outcome::Answer(set) => {
            assert_eq!(set.rtype, qtype);
            set
        }
        Outcome::Cname(set) => {
            assert_eq!((set.rtype, set.count), (rtype::CNAME, 1));
            set
        }
        Outcome::Dname(set) => {
            assert!((set.rtype, set.count) == (rtype::DNAME, 1) && !is_name);
            set
        }
        Outcome::Delegation(set) => {
            assert!(set.rtype == rtype::NS && node.is_cut() && !(is_name && qtype == rtype::DS));
            set
        }
        Outcome::Any | Outcome::Signatures => return assert!(!node.is_empty()),
        Outcome::NoData => return assert!(is_name || found.wildcard),
        Outcome::NxDomain => {
            return assert!(!is_name && image.node(name, name.labels()).is_none());
        }
    };
    assert!(set.count > 0 && set.records.iter().count() == usize::from(set.count));
}

/// Whatever the zone says, the replies must be whole.
fn check_replies(shard: &mut Shard, name: &[u8], qtype: u16) {
    let mut buffer = vec![0; MESSAGE_OCTETS_MAX];
    for (via, edns) in [(Transport::Udp, false), (Transport::Udp, true), (Transport::Tcp, true)] {
        let mut request = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns)];
        request.extend(name);
        request.extend(qtype.to_be_bytes());
        request.extend([0, 1]);
        if edns {
            request.extend([0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0]);
        }
        let client = Client { peer: ([127, 0, 0, 1], 4000).into(), local: None, via, listener: 0, connection: 0 };
        let room = if via == Transport::Udp { UDP_REPLY_OCTETS_MAX } else { MESSAGE_OCTETS_MAX };
        let outcome = shard.on_query(Time::ZERO, &client, &request, &mut buffer[..room]);
        let Outcome::Reply(octets) = outcome else { panic!("{outcome:?} to a question for a zone of ours") };
        reply::check(&request, via, &buffer[..octets]);
    }
}
