//! Digests over whole zones: the ZONEMD record (RFC 8976).
//!
//! A digest says that a zone arrived as it was published; without DNSSEC it guards against accidents alone. The scheme
//! SIMPLE with SHA-384 and SHA-512 is known, which is all there is (RFC 8976 §5).

use core::cmp::Ordering;
use core::fmt;
use core::ops::Range;

use ring::digest::{Context, Digest, SHA384, SHA512};

use super::image::{Image, Node};
use crate::wire::name;
use crate::wire::rdata::{CLASS_IN, rtype};

/// The only scheme (RFC 8976 §2.2.2).
const SIMPLE: u8 = 1;

/// The hash of a digest (RFC 8976 §2.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    fn number(self) -> u8 {
        match self {
            Algorithm::Sha384 => 1,
            Algorithm::Sha512 => 2,
        }
    }

    fn begin(self) -> Context {
        Context::new(match self {
            Algorithm::Sha384 => &SHA384,
            Algorithm::Sha512 => &SHA512,
        })
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Algorithm::Sha384 => "SHA-384",
            Algorithm::Sha512 => "SHA-512",
        })
    }
}

/// What a zone's digest says of a zone that may be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verified {
    /// The zone has no digest.
    Absent,
    /// The digest is that of the zone.
    Good(Algorithm),
    /// The zone has digests, of schemes and hashes that are not known: nothing is verified.
    Unsupported,
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verified::Absent => f.write_str("absent"),
            Verified::Good(algorithm) => write!(f, "good ({algorithm})"),
            Verified::Unsupported => f.write_str("not verified: its schemes and hash algorithms are not supported"),
        }
    }
}

/// A zone that is not what its digest was taken of; it must not be served. Why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong(pub String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for Wrong {}

/// Verifies the ZONEMD records at the apex (RFC 8976 §4): one of the known scheme and a known hash must be right.
///
/// # Errors
/// What is wrong with each of them.
pub fn verify(image: &Image) -> Result<Verified, Wrong> {
    let Some(set) = image.apex_node().rrset(rtype::ZONEMD) else { return Ok(Verified::Absent) };
    let mut wrong = Vec::new();
    let mut usable = Vec::new();
    for algorithm in [Algorithm::Sha384, Algorithm::Sha512] {
        let mut published = set.records.iter().filter_map(|data| Published::read(data, algorithm));
        match (published.next(), published.next()) {
            (Some(only), None) if only.serial == image.serial() => usable.push(only),
            (Some(only), None) => {
                wrong.push(format!("the ZONEMD is of serial {}, the SOA has {}", only.serial, image.serial()));
            }
            (Some(_), Some(_)) => wrong.push(format!("there is more than one ZONEMD with {algorithm}")),
            (None, _) => {}
        }
    }
    for published in usable {
        if published.digest == digest(image, published.algorithm).as_ref() {
            return Ok(Verified::Good(published.algorithm));
        }
        wrong.push(format!("the {} digest of the ZONEMD is not that of the zone", published.algorithm));
    }
    if wrong.is_empty() { Ok(Verified::Unsupported) } else { Err(Wrong(wrong.join("; "))) }
}

/// A ZONEMD record of the known scheme.
struct Published<'z> {
    serial: u32,
    algorithm: Algorithm,
    digest: &'z [u8],
}

impl<'z> Published<'z> {
    /// Reads the data of a record with this algorithm; `None` for any other record.
    fn read(data: &'z [u8], algorithm: Algorithm) -> Option<Published<'z>> {
        let (&[a, b, c, d, scheme, hash], digest) = data.split_first_chunk()?;
        let serial = u32::from_be_bytes([a, b, c, d]);
        (scheme == SIMPLE && hash == algorithm.number()).then_some(Published { serial, algorithm, digest })
    }
}

/// The digest of a zone: names in canonical order, those of NSEC3 records among them, with what is glue or occluded;
/// without the ZONEMD records of the apex and their signatures (RFC 8976 §3.3).
fn digest(image: &Image, algorithm: Algorithm) -> Digest {
    let mut context = algorithm.begin();
    let mut owner = Owner::default();
    let (mut names, mut links) = (image.nodes().peekable(), image.chain_nodes().peekable());
    loop {
        let order = match (names.peek(), links.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(name), Some(link)) => name::canonical_order(name.name(), link.name()),
        };
        owner.clear();
        if order.is_le() {
            let node = names.next().expect("peeked at just now");
            owner.add(node, node.is(&image.apex_node()));
        }
        if order.is_ge() {
            owner.add(links.next().expect("peeked at just now"), false);
        }
        context.update(owner.canonical());
    }
    context.finish()
}

/// The records of one owner name, on their way into canonical order and form.
#[derive(Default)]
struct Owner {
    name: Vec<u8>,
    records: Vec<Canonical>,
    /// The data of the records, names in lower case.
    data: Vec<u8>,
    out: Vec<u8>,
}

/// A record of an owner.
struct Canonical {
    rtype: u16,
    ttl: u32,
    /// In [`Owner::data`].
    data: Range<usize>,
}

impl Owner {
    fn clear(&mut self) {
        self.name.clear();
        self.records.clear();
        self.data.clear();
    }

    /// Adds what a node has; of the apex all but the digest and its signatures.
    fn add(&mut self, node: Node<'_>, is_apex: bool) {
        self.name.clear();
        self.name.extend(node.name());
        let is_digest = |rtype: u16, data: &[u8]| {
            rtype == rtype::ZONEMD || rtype == rtype::RRSIG && data.starts_with(&rtype::ZONEMD.to_be_bytes())
        };
        for record in node.rrsets().flat_map(|set| node.records_of(set)) {
            if is_apex && is_digest(record.rtype, record.data) {
                continue;
            }
            let begin = self.data.len();
            self.data.extend(record.data);
            fold_names(record.rtype, &mut self.data[begin..]);
            let data = begin..self.data.len();
            self.records.push(Canonical { rtype: record.rtype, ttl: record.ttl, data });
        }
    }

    /// The records as they go into a digest (RFC 4034 §6.2 and §6.3), each once.
    fn canonical(&mut self) -> &[u8] {
        let data = &self.data;
        let key = |record: &Canonical| (record.rtype, &data[record.data.clone()]);
        self.records.sort_unstable_by(|a, b| key(a).cmp(&key(b)));
        self.records.dedup_by(|b, a| key(a) == key(b));
        self.out.clear();
        for Canonical { rtype, ttl, data } in &self.records {
            self.out.extend(&self.name);
            self.out.extend(rtype.to_be_bytes());
            self.out.extend(CLASS_IN.to_be_bytes());
            self.out.extend(ttl.to_be_bytes());
            self.out.extend((data.len() as u16).to_be_bytes());
            self.out.extend(&self.data[data.clone()]);
        }
        &self.out
    }
}

/// Folds the names in record data to lower case, in the types whose canonical form asks for it (RFC 4034 §6.2, without
/// NSEC by RFC 6840 §5.1). Data that ends early is left as it is from there on.
fn fold_names(rtype: u16, data: &mut [u8]) {
    let (before, names) = match rtype {
        rtype::NS | rtype::CNAME | rtype::PTR | rtype::MB | rtype::MD | rtype::MF | rtype::MG | rtype::MR => (0, 1),
        rtype::DNAME | rtype::NXT => (0, 1),
        rtype::SOA | rtype::MINFO | rtype::RP => (0, 2),
        rtype::MX | rtype::AFSDB | rtype::RT | rtype::KX => (2, 1),
        rtype::PX => (2, 2),
        rtype::SRV => (6, 1),
        rtype::RRSIG | rtype::SIG => (18, 1),
        rtype::NAPTR => (behind_naptr_texts(data).unwrap_or(data.len()), 1),
        rtype::A6 => (1 + data.first().map_or(0, |&prefix| usize::from(128_u8.saturating_sub(prefix).div_ceil(8))), 1),
        _ => return,
    };
    let mut at = before;
    for _ in 0..names {
        let Some(octets) = data.get(at..).and_then(name::measure) else { return };
        data[at..at + octets].make_ascii_lowercase();
        at += octets;
    }
}

/// Where the name begins in the data of a NAPTR record: behind two numbers and three texts (RFC 3403 §4.1).
fn behind_naptr_texts(data: &[u8]) -> Option<usize> {
    (0..3).try_fold(4, |at, _| Some(at + 1 + usize::from(*data.get(at)?)))
}

#[cfg(test)]
mod tests;
