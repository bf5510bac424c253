//! Upstreams' messages made from arbitrary octets: the true query is answered, then what is said is twisted.

use arbitrary::Arbitrary;
use ringdns_shard::wire::message::{HEADER_OCTETS, flags};
use ringdns_shard::wire::name;
use ringdns_shard::wire::rdata::rtype;

use crate::request::{NamePick, Octets, Rare, TypePick};

/// What an upstream says to a query; single parts may be wrong.
#[derive(Clone, Debug, Arbitrary)]
pub struct Response<'a> {
    /// Whatever octets, instead of all that follows, behind the true id or not.
    raw: Rare<(bool, Octets<'a>)>,
    truncated: Rare<()>,
    no_such_name: bool,
    flags: Rare<u16>,
    records: Vec<Record<'a>>,
    extended_rcode: Option<Rare<u8>>,
    /// In the OPT record, where there is one; the client's part may be that of the query.
    cookie: Rare<(bool, Octets<'a>)>,
    /// The question comes back in small letters.
    folds_case: Rare<()>,
    /// Octets that are changed: where, and by which bits.
    flips: Rare<Vec<(u16, u8)>>,
    cut: Rare<u16>,
}

#[derive(Clone, Debug, Arbitrary)]
struct Record<'a> {
    section: u8,
    owner: Named<'a>,
    ttl: Rare<u32>,
    kind: Kind<'a>,
}

#[derive(Clone, Debug, Arbitrary)]
enum Kind<'a> {
    /// Of the type asked for.
    Asked(Octets<'a>),
    Alias(Named<'a>),
    Soa {
        mname: Named<'a>,
        rname: Named<'a>,
        minimum: u16,
    },
    Named {
        rtype: TypePick,
        before: Octets<'a>,
        name: Named<'a>,
    },
    Other {
        rtype: TypePick,
        data: Octets<'a>,
    },
    Long(u16),
}

#[derive(Clone, Debug, Arbitrary)]
enum Named<'a> {
    /// A pointer to the question.
    Question,
    /// The question's name, spelt out.
    Spelt,
    /// A label, then a pointer.
    Pointer {
        label: Option<u8>,
        to: u16,
    },
    Other(NamePick<'a>),
}

/// The TTL of most records, in seconds.
const TTL: u32 = 60;

/// The octets of a query's question.
fn question(query: &[u8]) -> &[u8] {
    let name_octets = name::measure(&query[HEADER_OCTETS..]).expect("a query of ours has a name");
    &query[HEADER_OCTETS..HEADER_OCTETS + name_octets + 4]
}

impl Response<'_> {
    /// The message that answers `query`, which is one of the shard's.
    pub fn octets(&self, query: &[u8]) -> Vec<u8> {
        match &self.raw.0 {
            Some((true, Octets(octets))) => return [&query[..2], octets].concat(),
            Some((false, Octets(octets))) => return octets.to_vec(),
            None => {}
        }
        let question = question(query);
        let cut_short = if self.truncated.0.is_some() { flags::TC } else { 0 };
        let plain = flags::QR | flags::AA | flags::RA | cut_short | if self.no_such_name { 3 } else { 0 };
        let flags = self.flags.0.unwrap_or(plain);
        let mut octets = [&query[..2], &flags.to_be_bytes(), &[0, 1, 0, 0, 0, 0, 0, 0], question].concat();
        if self.folds_case.0.is_some() {
            let type_at = octets.len() - 4;
            octets[HEADER_OCTETS..type_at].make_ascii_lowercase();
        }
        let mut records: Vec<&Record<'_>> = self.records.iter().take(64).collect();
        records.sort_by_key(|record| record.section % 3);
        for record in records {
            octets[7 + 2 * usize::from(record.section % 3)] += 1;
            record.write(&mut octets, question);
        }
        if let Some(Rare(extended_rcode)) = self.extended_rcode {
            octets[11] += 1;
            octets.extend([0, 0, 41, 4, 208, extended_rcode.unwrap_or(0), 0, 0, 0]);
            self.write_cookie(query, &mut octets);
        }
        for &(at, bits) in self.flips.0.iter().flatten().take(16) {
            let at = usize::from(at) % octets.len();
            octets[at] ^= bits;
        }
        if let Rare(Some(cut)) = self.cut {
            octets.truncate(usize::from(cut));
        }
        octets.truncate(65_535);
        octets
    }

    /// The length of the options, and the options.
    fn write_cookie(&self, query: &[u8], octets: &mut Vec<u8>) {
        let Rare(Some((is_ours, Octets(cookie)))) = self.cookie else { return octets.extend([0; 2]) };
        // A query of ours ends with its cookie, if it has one.
        let ours = query.windows(12).rfind(|octets| octets[..3] == [0, 10, 0]).filter(|_| is_ours);
        let cookie = [ours.map_or(&[][..], |option| &option[4..]), cookie].concat();
        let length = cookie.len() as u8;
        octets.extend([0, 4 + length, 0, 10, 0, length]);
        octets.extend(cookie);
    }
}

impl Record<'_> {
    fn write(&self, octets: &mut Vec<u8>, question: &[u8]) {
        let asked = u16::from_be_bytes([question[question.len() - 4], question[question.len() - 3]]);
        let rtype = match &self.kind {
            Kind::Asked(_) | Kind::Long(_) => asked,
            Kind::Alias(_) => rtype::CNAME,
            Kind::Soa { .. } => rtype::SOA,
            Kind::Named { rtype, .. } | Kind::Other { rtype, .. } => rtype.number(),
        };
        self.owner.write(octets, question);
        octets.extend(rtype.to_be_bytes());
        octets.extend([0, 1]);
        octets.extend(self.ttl.0.unwrap_or(TTL).to_be_bytes());
        let length_at = octets.len();
        octets.extend([0, 0]);
        match &self.kind {
            Kind::Asked(data) | Kind::Other { data, .. } => octets.extend(data.0),
            Kind::Alias(name) => name.write(octets, question),
            Kind::Named { before, name, .. } => {
                octets.extend(before.0);
                name.write(octets, question);
            }
            Kind::Soa { mname, rname, minimum } => {
                mname.write(octets, question);
                rname.write(octets, question);
                octets.extend([0; 18]);
                octets.extend(minimum.to_be_bytes());
            }
            Kind::Long(length) => octets.resize(octets.len() + usize::from(length % 4096), 0x2a),
        }
        let length = (octets.len() - length_at - 2) as u16;
        octets[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    }
}

impl Named<'_> {
    fn write(&self, octets: &mut Vec<u8>, question: &[u8]) {
        match self {
            Named::Question => octets.extend([0xc0, HEADER_OCTETS as u8]),
            Named::Spelt => octets.extend(&question[..question.len() - 4]),
            Named::Pointer { label, to } => {
                if let Some(label) = label {
                    octets.extend([1, *label]);
                }
                octets.extend((0xc000 | to).to_be_bytes());
            }
            Named::Other(name) => octets.extend(name.wire()),
        }
    }
}
