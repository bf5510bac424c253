//! What must be known of a message before it is kept: how long it may be, what it says, and where it is patched.

use std::ops::Range;
use std::time::Duration;

use smallvec::SmallVec;

use super::{About, NO_LABELS, facts, for_each_name};
use crate::images::CacheSettings;
use crate::limits::{NAME_OCTETS_MAX, TTL_SECONDS_MAX};
use crate::wire::edns::{self, Edns, EdnsOption};
use crate::wire::message::{HEADER_OCTETS, Header, Record, Section, flags};
use crate::wire::name;
use crate::wire::rdata::rtype;

/// Octets of the longest message that may be written for names below its own: every place in it is then still in reach
/// of a compression pointer (14 bits) when a longer name stands in its question.
const CUT_OCTETS_MAX: usize = 0x3fff - NAME_OCTETS_MAX;

/// Collects what must be known of a message while its records are walked.
pub(super) struct Reader<'a> {
    settings: &'a CacheSettings,
    message: &'a [u8],
    name: &'a [u8],
    /// Where each TTL stands, and what it is to be.
    pub(super) ttls: SmallVec<[(u16, u32); 8]>,
    /// Where owners are spelt out that are the name asked for.
    pub(super) spellings: SmallVec<[u16; 8]>,
    least: u32,
    /// The answer section is not empty.
    answers: bool,
    /// The authority section has an NS record.
    delegates: bool,
    /// How long the SOA of the authority section lets a negative answer be kept.
    soa: Option<u32>,
    zone_labels: u8,
    extended_rcode: u8,
    /// It is for clients of one network alone (RFC 7871 §7.3.1).
    scoped: bool,
    /// The response code says that there is no such name.
    denying: bool,
    /// Names in it point into type or class of the question: it can not be written for another type.
    entangled: bool,
    /// Records stand in it that can not be written for a name below.
    immovable: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        settings: &'a CacheSettings,
        header: Header,
        message: &'a [u8],
        name_octets: usize,
    ) -> Reader<'a> {
        assert!(HEADER_OCTETS + name_octets + 4 <= message.len(), "the question was read already");
        Reader {
            settings,
            message,
            name: &message[HEADER_OCTETS..][..name_octets],
            ttls: SmallVec::new(),
            spellings: SmallVec::new(),
            least: u32::MAX,
            answers: false,
            delegates: false,
            soa: None,
            zone_labels: NO_LABELS,
            extended_rcode: 0,
            scoped: false,
            denying: header.flags & flags::RCODE == 3,
            entangled: false,
            immovable: false,
        }
    }

    pub(super) fn read(&mut self, record: &Record) {
        // RFC 2181 §8: a TTL with the uppermost bit set counts as zero.
        let mut ttl = if record.ttl > TTL_SECONDS_MAX { 0 } else { record.ttl };
        if record.section == Section::Authority && record.rtype == rtype::SOA {
            let minimum = self.message[..record.data.end].last_chunk().expect("an SOA's data was checked");
            ttl = ttl.min(u32::from_be_bytes(*minimum));
            self.soa = Some(self.soa.map_or(ttl, |soa| soa.min(ttl)));
            self.zone_labels = self.labels_of(record.owner_at);
        }
        let ttl = ttl.clamp(seconds(self.settings.min_ttl), seconds(self.settings.max_ttl));
        self.answers |= record.section == Section::Answer;
        self.delegates |= record.section == Section::Authority && record.rtype == rtype::NS;
        self.least = self.least.min(ttl);
        self.ttls.push((record.ttl_at as u16, ttl));
        let spelt = self.message.get(record.owner_at..record.owner_at + self.name.len());
        if spelt.is_some_and(|spelt| name::same(spelt, self.name)) {
            self.spellings.push(record.owner_at as u16);
        }
        if self.denying {
            self.entangled |= self.is_entangled(record);
            self.immovable |= record.section == Section::Authority && !self.is_movable(record);
        }
    }

    pub(super) fn read_opt(&mut self, record: &Record) {
        self.extended_rcode = (record.ttl >> 24) as u8;
        // Of a client subnet only the scope counts, its fourth octet; an option that is cut short is taken for the worst.
        let is_scoped = |option| match option {
            EdnsOption::Unknown { code: edns::CLIENT_SUBNET, data } => data.get(3).is_none_or(|&scope| scope != 0),
            _ => false,
        };
        let options = &self.message[record.data.clone()];
        self.scoped |= Edns::parse(record.class, record.ttl, options).is_none_or(|edns| edns.options().any(is_scoped));
    }

    /// The labels of the name at `at`, where that is the name asked for or above it.
    fn labels_of(&self, at: usize) -> u8 {
        let mut owner = [0; NAME_OCTETS_MAX];
        let Some((octets, _)) = name::expand(self.message, at, &mut owner) else { return NO_LABELS };
        let owner = &owner[..octets];
        let mut rest = self.name;
        loop {
            if name::same(rest, owner) {
                return name::labels(owner).count() as u8;
            }
            match rest {
                [0] | [] => return NO_LABELS,
                [octets, ..] => rest = &rest[usize::from(*octets) + 1..],
            }
        }
    }

    /// Whether a name of the record points into type or class of the question.
    fn is_entangled(&self, record: &Record) -> bool {
        let name_end = HEADER_OCTETS + self.name.len();
        let mut entangled = false;
        for_each_name(self.message, record, |at, _| {
            let apart = |stretch: Range<usize>| stretch.end <= name_end || stretch.start >= name_end + 4;
            entangled |= name::walk(self.message, at, &mut [0; NAME_OCTETS_MAX], apart).is_none();
        });
        entangled
    }

    /// Whether the record is one of those that a denial consists of, with no names in its data but those that a walk
    /// finds.
    fn is_movable(&self, record: &Record) -> bool {
        let name_at = match record.rtype {
            rtype::SOA | rtype::NSEC3 => return true,
            rtype::NSEC => 0,
            rtype::RRSIG => 18,
            _ => return false,
        };
        self.message[record.data.clone()].get(name_at..).is_some_and(|name| name::measure(name).is_some())
    }

    /// Whether the name is others' (RFC 1034 §4.3.2, step 3b).
    pub(super) fn is_referral(&self, header: Header) -> bool {
        header.flags & flags::RCODE == 0 && !self.answers && self.soa.is_none() && self.delegates
    }

    /// How long the answer may be kept, and what it says: positive ones until their least TTL; negative ones as long as
    /// their SOA says and not without one (RFC 2308 §5); others not at all.
    pub(super) fn finish(
        &mut self,
        header: Header,
        records_at: usize,
        additional_at: usize,
        authoritative: bool,
    ) -> About {
        let rcode = u16::from(self.extended_rcode) << 4 | header.flags & flags::RCODE;
        let negative = rcode == 3 || !self.answers;
        let longest = if negative { self.settings.negative_max_ttl } else { self.settings.max_ttl };
        let lifetime = match (rcode, negative, self.soa) {
            _ if self.scoped => 0,
            (0, false, _) => self.least,
            (0 | 3, true, Some(_)) => self.least.min(seconds(longest)),
            _ => 0,
        };
        if negative {
            // No record of a negative answer may be believed longer than the answer (RFC 2308 §3).
            self.ttls.iter_mut().for_each(|(_, ttl)| *ttl = (*ttl).min(seconds(longest)));
        }
        let denies = rcode == 3 && !self.answers && !self.entangled;
        let believed = authoritative || header.has(flags::AD);
        let above = usize::from(self.zone_labels) < name::labels(self.name).count();
        let cuts = denies && believed && above && !self.immovable && additional_at <= CUT_OCTETS_MAX;
        let bit = |is, bit| if is { bit } else { 0 };
        About {
            ttls: self.ttls.len() as u16,
            spellings: self.spellings.len() as u16,
            name_octets: self.name.len() as u8,
            // The first record stands right behind the question, and its TTL four octets behind its owner.
            owner_octets: self.ttls.first().map_or(0, |&(at, _)| (usize::from(at) - 4 - records_at) as u8),
            extended_rcode: self.extended_rcode,
            facts: bit(negative, facts::NEGATIVE) | bit(denies, facts::DENIES_NAME) | bit(cuts, facts::CUTS),
            zone_labels: if negative { self.zone_labels } else { NO_LABELS },
            lifetime,
        }
    }
}

fn seconds(span: Duration) -> u32 {
    u32::try_from(span.as_secs()).unwrap_or(TTL_SECONDS_MAX)
}
