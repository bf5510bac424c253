//! Records made from arbitrary octets: owners of few labels, so that names meet, with the hashes of other names among
//! them; data that mostly fits its type, since what does not is refused and leads no further.

use arbitrary::Arbitrary;
use ringdns_shard::wire::name::Name;
use ringdns_shard::wire::rdata::rtype;
use ringdns_shard::zone::nsec3;

use crate::request::{Octets, Rare};

/// Labels below the apex.
const LABELS_MAX: usize = 4;
/// Labels that owners are made of; the last is as long as a label may be.
const LABELS: [&[u8]; 8] = [
    b"a",
    b"b",
    b"*",
    b"A",
    b"ns",
    b"\0\x01",
    b"a.b",
    b"sixty-three octets ............................................",
];
/// The types of the records; those that make a zone what it is come more than once.
const TYPES: [u16; 20] = [
    rtype::A,
    rtype::A,
    rtype::NS,
    rtype::NS,
    rtype::CNAME,
    rtype::DNAME,
    rtype::DS,
    rtype::NSEC,
    rtype::NSEC,
    rtype::NSEC3,
    rtype::NSEC3,
    rtype::NSEC3PARAM,
    rtype::RRSIG,
    rtype::RRSIG,
    rtype::TXT,
    rtype::MX,
    rtype::SOA,
    rtype::SRV,
    rtype::SVCB,
    65_280,
];
/// Parameters of NSEC3; the last ones are not to be used: for their flags, and for a hash that is unknown.
const PARAMETERS: [&[u8]; 5] =
    [&[1, 0, 0, 0, 0], &[1, 0, 0, 1, 1, 0xaa], &[1, 0, 0, 0, 1, 7], &[1, 1, 0, 0, 0], &[2, 0, 0, 0, 0]];

/// A record of a zone that may not be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Its owner on the wire, in any case; it may be too long.
    pub owner: Vec<u8>,
    /// Its type.
    pub rtype: u16,
    /// Its TTL.
    pub ttl: u32,
    /// Its data.
    pub data: Vec<u8>,
}

/// What a record is made of.
#[derive(Clone, Debug, Arbitrary)]
pub struct RecordPick<'a> {
    owner: OwnerPick<'a>,
    /// The owner is instead the hash of it, as of an NSEC3 record, under these parameters.
    hashed: Rare<u8>,
    rtype: u8,
    other_type: Rare<u16>,
    ttl: u8,
    long_ttl: Rare<u32>,
    variant: u8,
    target: OwnerPick<'a>,
    /// Instead of data that fits the type.
    data: Rare<Octets<'a>>,
    /// Data of as many octets.
    long_data: Rare<u16>,
}

/// A name in the zone, or too long for one.
#[derive(Clone, Debug, Arbitrary)]
pub struct OwnerPick<'a> {
    /// Three bits a label, then their number.
    labels: u16,
    /// A first label of any octets.
    first: Rare<Octets<'a>>,
}

impl OwnerPick<'_> {
    /// The name on the wire.
    pub fn wire(&self, apex: &Name) -> Vec<u8> {
        let mut wire = Vec::new();
        let count = usize::from(self.labels >> 12) % (LABELS_MAX + 1);
        let labels = (0..count).map(|at| LABELS[usize::from(self.labels >> (3 * at)) % LABELS.len()]);
        for label in self.first.0.iter().map(|Octets(label)| *label).chain(labels) {
            let label = &label[..label.len().min(63)];
            if !label.is_empty() {
                wire.push(label.len() as u8);
                wire.extend(label);
            }
        }
        wire.extend(apex.as_wire());
        wire
    }
}

impl RecordPick<'_> {
    /// The record, for a zone of this name.
    pub fn record(&self, apex: &Name) -> Made {
        let listed = TYPES[usize::from(self.rtype) % TYPES.len()];
        let rtype = self.other_type.0.unwrap_or(listed);
        let owner = self.owner.wire(apex);
        let owner = match (rtype, self.hashed.0) {
            (rtype::NSEC3, _) | (_, Some(_)) => hashed(&owner, self.parameters(), apex),
            (rtype::NSEC3PARAM, _) if self.variant & 64 == 0 => apex.as_wire().to_vec(),
            _ => owner,
        };
        let mut data = match &self.data.0 {
            Some(Octets(octets)) => octets.to_vec(),
            None => self.fitting_data(rtype, apex),
        };
        if let Some(octets) = self.long_data.0 {
            data.resize(octets.into(), self.variant);
        }
        let ttl = self.long_ttl.0.unwrap_or_else(|| u32::from(self.ttl % 3) * 60);
        Made { owner, rtype, ttl, data }
    }

    fn parameters(&self) -> &'static [u8] {
        PARAMETERS[usize::from(self.variant) % PARAMETERS.len()]
    }

    fn fitting_data(&self, rtype: u16, apex: &Name) -> Vec<u8> {
        let (target, few) = (self.target.wire(apex), self.variant % 4);
        match rtype {
            rtype::A => vec![192, 0, 2, few],
            rtype::MX => [&[0, few], &*target].concat(),
            rtype::SRV => [&[0, 0, 0, few, 0, 53], &*target].concat(),
            rtype::SVCB => [&[0, few], &*target, &[0, 1, 0, 3, 2, b'h', b'2'][..7 * usize::from(few % 2)]].concat(),
            rtype::SOA => [&*target, &*target, &[self.variant; 20]].concat(),
            rtype::DS => vec![few; 36],
            rtype::NSEC => [&*target, &[0, 1, self.variant | 1]].concat(),
            rtype::NSEC3PARAM => self.parameters().to_vec(),
            rtype::NSEC3 => [self.parameters(), &[20], &[few; 20], &[0, 1, 0x40]].concat(),
            rtype::RRSIG => {
                let covered = TYPES[usize::from(self.variant) % TYPES.len()];
                [&covered.to_be_bytes()[..], &[few; 16], apex.as_wire(), &[few; 8]].concat()
            }
            rtype::TXT => [&[few][..], &vec![b't'; usize::from(few)]].concat(),
            _ => target,
        }
    }
}

/// The owner of the NSEC3 record of a name.
fn hashed(name: &[u8], parameters: &[u8], apex: &Name) -> Vec<u8> {
    let (iterations, salt) = (u16::from_be_bytes([parameters[2], parameters[3]]), &parameters[5..]);
    let hash = nsec3::hash(&name.to_ascii_lowercase(), salt, iterations);
    let mut wire = vec![nsec3::LABEL_OCTETS as u8];
    for five in hash.chunks(5) {
        let word = five.iter().fold(0, |word: u64, octet| word << 8 | u64::from(*octet));
        wire.extend((0..8).rev().map(|digit| b"0123456789abcdefghijklmnopqrstuv"[(word >> (5 * digit)) as usize & 31]));
    }
    wire.extend(apex.as_wire());
    wire
}
