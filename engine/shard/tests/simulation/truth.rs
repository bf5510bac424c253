//! What is true of a name: a function of the question alone, so that every reply can be held against it.

use ringdns_shard::wire::message::Section;
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
const TTLS: [u32; 6] = [0, 1, 2, 5, 30, 3600];

/// The zone that all names lie in, as far as negative answers know.
const APEX: &[u8] = b"\x04test\0";

impl Question {
    /// The only answer that an honest server has.
    pub(crate) fn truth(&self) -> Truth {
        let seed = self.name.iter().fold(u64::from(self.qtype), |hash, &octet| scramble(hash ^ u64::from(octet)));
        let mut truth = Truth { rcode: 0, records: Vec::new() };
        let ttl = TTLS[(seed >> 8) as usize % TTLS.len()];
        let alias = [b"\x05alias", &*self.name].concat();
        match seed % 16 {
            0..5 => truth.set(Section::Answer, &self.name, self.qtype, ttl, seed, 1 + seed % 3),
            5..7 => {
                truth.push(Section::Answer, &self.name, rtype::CNAME, ttl, &alias);
                truth.set(Section::Answer, &alias, self.qtype, 30, seed, 2);
            }
            7 => truth.set(Section::Answer, &self.name, self.qtype, ttl, seed, 90),
            // The answer fits where its additional records do not.
            8 => {
                let mail = [&[0, 10, 4][..], b"mail", &self.name].concat();
                truth.push(Section::Answer, &self.name, rtype::MX, ttl, &mail);
                truth.set(Section::Additional, &mail[2..], rtype::A, 30, seed, 40);
            }
            9..11 => {
                truth.rcode = 3;
                truth.soa(ttl);
            }
            11..13 => truth.soa(ttl),
            13 => {
                truth.push(Section::Answer, &self.name, rtype::CNAME, ttl, &alias);
                truth.rcode = 3;
                truth.soa(5);
            }
            // It does not validate.
            14 if !self.checking_disabled => truth.rcode = 2,
            14 => truth.set(Section::Answer, &self.name, self.qtype, ttl, seed, 1),
            // No data, and nothing that says for how long.
            _ => {}
        }
        if self.dnssec_ok {
            truth.sign();
        }
        truth
    }
}

impl Truth {
    fn push(&mut self, section: Section, owner: &[u8], rtype: u16, ttl: u32, data: &[u8]) {
        self.records.push(Record { section, owner: owner.into(), rtype, ttl, data: data.into() });
    }

    /// `count` records of data without names.
    fn set(&mut self, section: Section, owner: &[u8], rtype: u16, ttl: u32, seed: u64, count: u64) {
        for i in 0..count {
            let data = scramble(seed ^ i).to_be_bytes();
            self.push(section, owner, rtype, ttl, &data[..4]);
        }
    }

    fn soa(&mut self, ttl: u32) {
        let data = [b"\x02ns", APEX, b"\x04host", APEX, &[0; 16], &ttl.to_be_bytes()].concat();
        self.push(Section::Authority, APEX, rtype::SOA, ttl, &data);
    }

    /// Puts a signature behind each RRset.
    fn sign(&mut self) {
        let mut signed = Vec::new();
        for set in self.records.chunk_by(|a, b| (&a.owner, a.rtype) == (&b.owner, b.rtype)) {
            signed.extend_from_slice(set);
            let data = [&set[0].rtype.to_be_bytes()[..], &[13; 16], APEX, &[0x51; 32]].concat();
            signed.push(Record { rtype: rtype::RRSIG, data, ..set[0].clone() });
        }
        self.records = signed;
    }
}
