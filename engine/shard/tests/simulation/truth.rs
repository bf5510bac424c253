//! What is true of a name: a function of the question and the time, so that every reply can be held against it.

use ringdns_shard::wire::message::Section;
use ringdns_shard::wire::name;
use ringdns_shard::wire::rdata::rtype;

use crate::random::scramble;

/// What a question is about; the name in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    pub(crate) name: Vec<u8>,
    pub(crate) qtype: u16,
    pub(crate) dnssec_ok: bool,
    pub(crate) checking_disabled: bool,
}

/// A record: names uncompressed, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) section: Section,
    pub(crate) owner: Vec<u8>,
    pub(crate) rtype: u16,
    pub(crate) ttl: u32,
    pub(crate) data: Vec<u8>,
}

/// The answer of an honest server.
#[derive(Clone, Debug)]
pub(crate) struct Truth {
    pub(crate) rcode: u16,
    /// In the order of a message.
    pub(crate) records: Vec<Record>,
}

/// Longest TTL; some are longer than a run, some shorter than a second.
const TTLS: [u32; 6] = [0, 1, 2, 12, 30, 3600];
/// Labels of the zones that names lie in; a zone exists.
const APEX_LABELS: usize = 2;

impl Question {
    /// The only answer that an honest server has. Addresses change from one edition to the next, and nothing else does.
    pub(crate) fn truth(&self, edition: u64) -> Truth {
        let seed = scramble(seed_of(&self.name) ^ u64::from(self.qtype));
        let data = scramble(seed ^ edition);
        let mut truth = Truth { rcode: 0, records: Vec::new() };
        let ttl = TTLS[(seed >> 8) as usize % TTLS.len()];
        let alias = [b"\x05alias", &*self.name].concat();
        if let Some(denied) = denied(&self.name) {
            truth.rcode = 3;
            truth.soa(&self.name, TTLS[(seed_of(denied) >> 8) as usize % TTLS.len()]);
            if self.dnssec_ok {
                truth.sign();
            }
            return truth;
        }
        match seed % 16 {
            _ if self.qtype == rtype::MX && seed % 16 < 6 => {
                let mail = [&[0, 10, 4][..], b"mail", &self.name].concat();
                truth.push(Section::Answer, &self.name, rtype::MX, ttl, &mail);
                // The answer fits where its additional records do not.
                truth.set(Section::Additional, &mail[2..], rtype::A, 30, data, 40);
            }
            0..5 => truth.set(Section::Answer, &self.name, self.qtype, ttl, data, 1 + seed % 3),
            5..8 => {
                truth.push(Section::Answer, &self.name, rtype::CNAME, ttl, &alias);
                truth.set(Section::Answer, &alias, self.qtype, 30, data, 2);
            }
            8 | 9 => truth.set(Section::Answer, &self.name, self.qtype, ttl, data, 90),
            10..12 => truth.soa(&self.name, ttl),
            12 => {
                truth.push(Section::Answer, &self.name, rtype::CNAME, ttl, &alias);
                truth.rcode = 3;
                truth.soa(&self.name, 5);
            }
            // It does not validate.
            13 if !self.checking_disabled => truth.rcode = 2,
            13 => truth.set(Section::Answer, &self.name, self.qtype, ttl, data, 1),
            // No data, and nothing that says for how long.
            _ => {}
        }
        if self.dnssec_ok {
            truth.sign();
        }
        truth
    }
}

fn seed_of(name: &[u8]) -> u64 {
    name.iter().fold(0, |hash, &octet| scramble(hash ^ u64::from(octet)))
}

/// The name that does not exist, of this one and those above it.
pub(crate) fn denied(name: &[u8]) -> Option<&[u8]> {
    let below = name::labels(name).count().saturating_sub(APEX_LABELS);
    let mut suffixes = (0..below).rev().map(|labels| suffix(name, labels));
    suffixes.find(|suffix| seed_of(suffix).is_multiple_of(5))
}

/// The name without so many labels.
pub(crate) fn suffix(name: &[u8], labels: usize) -> &[u8] {
    &name[name::labels(name).take(labels).map(|label| label.len() + 1).sum::<usize>()..]
}

/// The zone that a name lies in.
pub(crate) fn apex(name: &[u8]) -> &[u8] {
    suffix(name, name::labels(name).count().saturating_sub(APEX_LABELS))
}

impl Truth {
    fn push(&mut self, section: Section, owner: &[u8], rtype: u16, ttl: u32, data: &[u8]) {
        self.records.push(Record { section, owner: owner.into(), rtype, ttl, data: data.into() });
    }

    /// `count` records of random data.
    fn set(&mut self, section: Section, owner: &[u8], rtype: u16, ttl: u32, seed: u64, count: u64) {
        for i in 0..count {
            let random = scramble(seed ^ i).to_be_bytes();
            let data = match rtype {
                rtype::MX => [&random[..2], b"\x01m\0"].concat(),
                // What servers that are down are probed with.
                rtype::NS => b"\x01m\0".to_vec(),
                rtype::AAAA => [random, random].concat(),
                _ => random[..4].to_vec(),
            };
            self.push(section, owner, rtype, ttl, &data);
        }
    }

    fn soa(&mut self, name: &[u8], ttl: u32) {
        let apex = apex(name);
        let data = [b"\x02ns", apex, b"\x04host", apex, &[0; 16], &ttl.to_be_bytes()].concat();
        self.push(Section::Authority, apex, rtype::SOA, ttl, &data);
    }

    /// Puts a signature behind each RRset.
    fn sign(&mut self) {
        let mut signed = Vec::new();
        for set in self.records.chunk_by(|a, b| (&a.owner, a.rtype) == (&b.owner, b.rtype)) {
            signed.extend_from_slice(set);
            let labels = name::labels(&set[0].owner).count() as u8;
            let fixed = [&set[0].rtype.to_be_bytes()[..], &[13, labels], &[7; 14]].concat();
            let data = [&fixed[..], apex(&set[0].owner), &[0x51; 32]].concat();
            signed.push(Record { rtype: rtype::RRSIG, data, ..set[0].clone() });
        }
        self.records = signed;
    }
}
