//! An answer of an upstream: read once, written many times.
//!
//! Kept is the upstream's message without its OPT record, the question in lower case. Written to a client it is copied
//! once and patched: id, flags, TTLs, and the name asked for as the client spelt it, in the question and wherever the
//! upstream repeated it instead of pointing there. TTLs are counted down by the answer's age (RFC 1035 §3.2.1, RFC 2308
//! §5), or say [`STALE_TTL_SECONDS`] where the answer has run out (RFC 8767 §4).

use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use crate::images::CacheSettings;
use crate::limits::{NAME_OCTETS_MAX, STALE_TTL_SECONDS, TTL_SECONDS_MAX};
use crate::wire::edns::{self, Edns, EdnsOption, ReplyOpt};
use crate::wire::message::{self, HEADER_OCTETS, Header, Malformed, Record, Section, flags};
use crate::wire::name;
use crate::wire::rdata::{self, rtype};

/// An answer of an upstream, made ready to be written many times. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Answer {
    octets: Rc<[u8]>,
    about: About,
}

/// An answer, wherever it lies: the cache keeps its answers in memory of its own.
#[derive(Clone, Copy, Debug)]
pub struct AnswerRef<'a> {
    /// Offsets of two octets each in native order: where TTLs stand in the message, and where an owner is spelt out
    /// that is the name asked for; then the message.
    octets: &'a [u8],
    about: About,
}

/// What is known of an answer beside its octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct About {
    /// How many TTLs there are.
    pub(super) ttls: u16,
    /// How many owners are spelt out.
    pub(super) spellings: u16,
    /// Where the additional section begins, in the message.
    pub(super) additional_at: u16,
    /// Octets of the name in the question.
    pub(super) name_octets: u8,
    /// The upper bits of the response code, from the OPT record that was taken off.
    pub(super) extended_rcode: u8,
    /// See [`facts`].
    pub(super) facts: u8,
    /// Labels of the zone's apex, as the SOA record of a negative answer tells; [`NO_LABELS`] where there is none.
    pub(super) zone_labels: u8,
    /// How long it may be kept, in seconds; zero: not at all.
    pub(super) lifetime: u32,
}

/// No name has so many labels.
const NO_LABELS: u8 = u8::MAX;

/// Bits of [`About::facts`].
mod facts {
    /// No data of the type, or no such name.
    pub(super) const NEGATIVE: u8 = 1;
    /// The very name asked for does not exist.
    pub(super) const DENIES_NAME: u8 = 2;
    /// Nor does anything below it.
    pub(super) const CUTS: u8 = 4;
}

/// Octets of the longest message that may be written for names below its own: every place in it is then still in reach
/// of a compression pointer (14 bits) when a longer name stands in its question.
const CUT_OCTETS_MAX: usize = 0x3fff - NAME_OCTETS_MAX;

/// How a reply differs from the answer it is made of.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    /// The client's id.
    pub id: u16,
    /// Flags to set beside those of the answer: RD and CD as asked.
    pub flags: u16,
    /// Name, type and class as the client spelt them.
    pub question: &'a [u8],
    /// Our OPT record, where the client sent one.
    pub opt: Option<ReplyOpt<'a>>,
    /// Octets that the client takes.
    pub limit: usize,
    /// The answer has run out: all its records have a TTL of [`STALE_TTL_SECONDS`].
    pub stale: bool,
}

impl Answer {
    /// Reads an upstream's message whose question, at its usual place, is `question_octets` long and known to be the
    /// one asked. TTLs are clamped as `settings` say. What it is from decides what its flags say to clients: a resolver
    /// means RA; with `authoritative` it is from an origin that we stand in for, and AA is set but in a referral.
    pub fn parse(
        message: &[u8],
        question_octets: usize,
        settings: &CacheSettings,
        authoritative: bool,
    ) -> Result<Answer, Malformed> {
        let mut header = Header::parse(message).ok_or(Malformed)?;
        let records_at = HEADER_OCTETS + question_octets;
        let mut reader = Reader::new(settings, header, message, question_octets - 4);
        let mut end = records_at;
        let mut additional_at = None;
        let mut additionals = 0;
        let mut dropping = false;
        for record in message::records(message, header, records_at) {
            let record = record?;
            let between_neighbours = matches!(record.rtype, rtype::OPT | rtype::TSIG);
            if between_neighbours && record.section != Section::Additional {
                return Err(Malformed);
            }
            if record.section == Section::Additional {
                additional_at.get_or_insert(record.owner_at);
                // An OPT or TSIG record is between two neighbours, not for ours; what follows it goes with it, since
                // names there may point across it.
                dropping |= between_neighbours;
                if record.rtype == rtype::OPT {
                    reader.read_opt(&record);
                }
                if dropping {
                    continue;
                }
                additionals += 1;
            }
            end = record.data.end;
            reader.read(&record);
        }
        header.counts[3] = additionals;
        let additional_at = additional_at.unwrap_or(end).min(end);
        let about = reader.finish(header, additional_at, authoritative);
        let said = match authoritative {
            false => flags::RA,
            true if reader.is_referral(header) => 0,
            true => flags::AA,
        };
        let Reader { ttls, spellings, .. } = reader;
        let body_at = (ttls.len() + spellings.len()) * 2;
        let mut octets = vec![0; body_at + end];
        let offsets = ttls.iter().map(|(offset, _)| offset).chain(&spellings);
        for (field, offset) in octets.as_chunks_mut::<2>().0.iter_mut().zip(offsets) {
            *field = offset.to_ne_bytes();
        }
        let body = &mut octets[body_at..];
        body.copy_from_slice(&message[..end]);
        body[..2].fill(0);
        body[2..4].copy_from_slice(&(header.flags & (flags::QR | flags::RCODE) | said).to_be_bytes());
        body[10..12].copy_from_slice(&header.counts[3].to_be_bytes());
        body[HEADER_OCTETS..records_at].make_ascii_lowercase();
        for &(offset, ttl) in &ttls {
            body[usize::from(offset)..][..4].copy_from_slice(&ttl.to_be_bytes());
        }
        Ok(Answer { octets: octets.into(), about })
    }

    /// The answer as the cache has it.
    #[inline]
    pub fn as_ref(&self) -> AnswerRef<'_> {
        AnswerRef { octets: &self.octets, about: self.about }
    }

    /// See [`AnswerRef::lifetime`].
    pub fn lifetime(&self) -> Duration {
        self.as_ref().lifetime()
    }

    /// See [`AnswerRef::rcode`].
    #[inline]
    pub fn rcode(&self) -> u16 {
        self.as_ref().rcode()
    }

    /// See [`AnswerRef::is_negative`].
    pub fn is_negative(&self) -> bool {
        self.as_ref().is_negative()
    }

    /// See [`AnswerRef::denies_name`].
    pub fn denies_name(&self) -> bool {
        self.as_ref().denies_name()
    }

    /// See [`AnswerRef::cuts`].
    pub fn cuts(&self) -> bool {
        self.as_ref().cuts()
    }

    /// See [`AnswerRef::zone_labels`].
    pub fn zone_labels(&self) -> Option<u8> {
        self.as_ref().zone_labels()
    }

    /// See [`AnswerRef::write`].
    #[inline]
    pub fn write(&self, out: &mut [u8], age: Duration, reply: &Reply<'_>) -> (usize, bool) {
        self.as_ref().write(out, age, reply)
    }
}

impl<'a> AnswerRef<'a> {
    /// The answer whose octets lie in the cache.
    #[inline]
    pub(super) fn new(octets: &'a [u8], about: About) -> AnswerRef<'a> {
        AnswerRef { octets, about }
    }

    #[inline]
    pub(super) fn octets(&self) -> &'a [u8] {
        self.octets
    }

    #[inline]
    pub(super) fn about(&self) -> About {
        self.about
    }

    /// A copy that outlives the cache's.
    pub fn to_answer(&self) -> Answer {
        Answer { octets: self.octets.into(), about: self.about }
    }

    /// How long it may be kept.
    pub fn lifetime(&self) -> Duration {
        Duration::from_secs(self.about.lifetime.into())
    }

    /// The name in the question, in lower case.
    #[inline]
    pub fn name(&self) -> &'a [u8] {
        &self.message()[HEADER_OCTETS..][..usize::from(self.about.name_octets)]
    }

    #[inline]
    fn parts(&self) -> (&'a [[u8; 2]], &'a [[u8; 2]], &'a [u8]) {
        let (ttls, rest) = self.octets.split_at(usize::from(self.about.ttls) * 2);
        let (spellings, message) = rest.split_at(usize::from(self.about.spellings) * 2);
        (ttls.as_chunks().0, spellings.as_chunks().0, message)
    }

    /// The message, its id zero, its TTLs as they were when it came.
    #[inline]
    pub(super) fn message(&self) -> &'a [u8] {
        &self.octets[(usize::from(self.about.ttls) + usize::from(self.about.spellings)) * 2..]
    }

    /// The response code, all twelve bits of it.
    #[inline]
    pub fn rcode(&self) -> u16 {
        u16::from(self.about.extended_rcode) << 4 | u16::from(self.message()[3]) & flags::RCODE
    }

    /// There is no data of the type asked for, or no such name (RFC 2308 §2).
    pub fn is_negative(&self) -> bool {
        self.about.facts & facts::NEGATIVE != 0
    }

    /// The very name asked for does not exist, whatever type is asked for (RFC 2308 §5): NXDOMAIN without an alias.
    pub fn denies_name(&self) -> bool {
        self.about.facts & facts::DENIES_NAME != 0
    }

    /// It [denies the name](AnswerRef::denies_name), and nothing is below (RFC 8020 §2): somebody says so who has the
    /// zone, or who has validated its signatures.
    pub fn cuts(&self) -> bool {
        self.about.facts & facts::CUTS != 0
    }

    /// Labels of the name of the zone that a negative answer is from: of its SOA record's owner, where that is the name
    /// asked for or above it.
    pub fn zone_labels(&self) -> Option<u8> {
        (self.about.zone_labels != NO_LABELS).then_some(self.about.zone_labels)
    }

    /// Writes the answer as it is after `age` to the start of `out`. Returns the length of the message, and whether it
    /// was cut short. The additional section goes first (RFC 2181 §9: its lack is not worth a TC bit), then all.
    ///
    /// The question must be the answer's own, but for type and case; for an answer that [cuts](AnswerRef::cuts) it may
    /// be for a name below.
    #[inline]
    pub fn write(&self, out: &mut [u8], age: Duration, reply: &Reply<'_>) -> (usize, bool) {
        if reply.question.len() != usize::from(self.about.name_octets) + 4 {
            return self.write_below(out, age, reply);
        }
        let (ttls, spellings, body) = self.parts();
        let room = reply.room();
        let question_end = HEADER_OCTETS + reply.question.len();
        let additional_at = usize::from(self.about.additional_at);
        let (end, keep_additional, truncated) = match body.len() {
            whole if whole <= room => (whole, true, false),
            _ if additional_at <= room => (additional_at, false, false),
            _ => (question_end, false, true),
        };
        out[..end].copy_from_slice(&body[..end]);
        let aged = Aged::new(age, reply.stale);
        for offset in ttls {
            let at = usize::from(u16::from_ne_bytes(*offset));
            let Some(field) = out[..end].get_mut(at..at + 4) else { break };
            aged.patch(field.try_into().expect("four octets"));
        }
        out[HEADER_OCTETS..question_end].copy_from_slice(reply.question);
        let name = &reply.question[..reply.question.len() - 4];
        for offset in spellings {
            let at = usize::from(u16::from_ne_bytes(*offset));
            let Some(field) = out[..end].get_mut(at..at + name.len()) else { break };
            field.copy_from_slice(name);
        }
        if truncated {
            out[6..10].fill(0);
        }
        let additionals = if keep_additional { u16::from_be_bytes([body[10], body[11]]) } else { 0 };
        (self.finish(out, end, additionals, truncated, reply), truncated)
    }

    /// The answer to a question for a name below: what follows the question moves back by what the name is longer, and
    /// so do the places that compression pointers name, since the answer's own name ends the longer one.
    #[cold]
    fn write_below(&self, out: &mut [u8], age: Duration, reply: &Reply<'_>) -> (usize, bool) {
        assert!(self.cuts(), "the question is the answer's own, or for a name below one that does not exist");
        let (ttls, _, body) = self.parts();
        let longer = reply.question.len() - 4 - usize::from(self.about.name_octets);
        assert!(name::same(&reply.question[longer..reply.question.len() - 4], self.name()));
        let question_end = HEADER_OCTETS + reply.question.len();
        let body = &body[..usize::from(self.about.additional_at)];
        let truncated = body.len() + longer > reply.room();
        let end = if truncated { question_end } else { body.len() + longer };
        out[..HEADER_OCTETS].copy_from_slice(&body[..HEADER_OCTETS]);
        out[HEADER_OCTETS..question_end].copy_from_slice(reply.question);
        if truncated {
            out[6..10].fill(0);
            return (self.finish(out, end, 0, true, reply), true);
        }
        out[question_end..end].copy_from_slice(&body[question_end - longer..]);
        let header = Header::parse(body).expect("what is kept has a header");
        for record in message::records(
            body,
            Header { counts: [1, header.counts[1], header.counts[2], 0], ..header },
            question_end - longer,
        ) {
            let record = record.expect("what is kept was walked before");
            for_each_pointer(body, &record, |name_end| {
                let pointer = &mut out[name_end + longer - 2..name_end + longer];
                let target = u16::from_be_bytes([pointer[0], pointer[1]]) + longer as u16;
                pointer.copy_from_slice(&target.to_be_bytes());
            });
        }
        let aged = Aged::new(age, reply.stale);
        for offset in ttls {
            let at = usize::from(u16::from_ne_bytes(*offset)) + longer;
            let Some(field) = out[..end].get_mut(at..at + 4) else { break };
            aged.patch(field.try_into().expect("four octets"));
        }
        (self.finish(out, end, 0, false, reply), false)
    }

    /// Writes id, flags, the count of additional records and our OPT record. Returns the length of the message.
    #[inline]
    fn finish(&self, out: &mut [u8], end: usize, mut additionals: u16, truncated: bool, reply: &Reply<'_>) -> usize {
        let body = self.message();
        out[..2].copy_from_slice(&reply.id.to_be_bytes());
        let cut = if truncated { flags::TC } else { 0 };
        let word = u16::from_be_bytes([body[2], body[3]]) | reply.flags | cut;
        out[2..4].copy_from_slice(&word.to_be_bytes());
        let mut length = end;
        if let Some(opt) = reply.opt {
            additionals += 1;
            length += opt.write(&mut out[end..end + opt.octets()]);
        }
        out[10..12].copy_from_slice(&additionals.to_be_bytes());
        length
    }
}

impl Reply<'_> {
    /// Octets that are left for the message beside our OPT record.
    #[inline]
    fn room(&self) -> usize {
        self.limit - self.opt.map_or(0, |opt| opt.octets())
    }
}

/// What becomes of TTLs.
struct Aged {
    seconds: u32,
    stale: bool,
}

impl Aged {
    #[inline]
    fn new(age: Duration, stale: bool) -> Aged {
        Aged { seconds: age.as_secs() as u32, stale }
    }

    #[inline]
    fn patch(&self, ttl: &mut [u8; 4]) {
        let left = if self.stale { STALE_TTL_SECONDS } else { u32::from_be_bytes(*ttl).saturating_sub(self.seconds) };
        *ttl = left.to_be_bytes();
    }
}

/// Calls `pointed` with the end of each name of a record that ends in a compression pointer. The record was walked.
fn for_each_pointer(message: &[u8], record: &Record, mut pointed: impl FnMut(usize)) {
    for_each_name(message, record, |at, end| {
        let mut label = at;
        while matches!(message[label], 1..0xc0) {
            label += usize::from(message[label]) + 1;
        }
        if message[label] >= 0xc0 {
            pointed(end);
        }
    });
}

/// Calls `look` with begin and end of each name of a record that may be compressed. The record was walked.
fn for_each_name(message: &[u8], record: &Record, mut look: impl FnMut(usize, usize)) {
    let mut next = |at: usize| {
        let end = name::skip(message, at).expect("the record was walked before");
        look(at, end);
        end
    };
    next(record.owner_at);
    if let Some(layout) = rdata::layout(record.rtype) {
        let mut at = record.data.start + layout.before;
        for _ in 0..layout.names {
            at = next(at);
        }
    }
}

/// Collects what must be known of a message while its records are walked.
struct Reader<'a> {
    settings: &'a CacheSettings,
    message: &'a [u8],
    name: &'a [u8],
    /// Where each TTL stands, and what it is to be.
    ttls: Vec<(u16, u32)>,
    /// Where owners are spelt out that are the name asked for.
    spellings: Vec<u16>,
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
    fn new(settings: &'a CacheSettings, header: Header, message: &'a [u8], name_octets: usize) -> Reader<'a> {
        assert!(HEADER_OCTETS + name_octets + 4 <= message.len(), "the question was read already");
        Reader {
            settings,
            message,
            name: &message[HEADER_OCTETS..][..name_octets],
            ttls: Vec::new(),
            spellings: Vec::new(),
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

    fn read(&mut self, record: &Record) {
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

    fn read_opt(&mut self, record: &Record) {
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
    fn is_referral(&self, header: Header) -> bool {
        header.flags & flags::RCODE == 0 && !self.answers && self.soa.is_none() && self.delegates
    }

    /// How long the answer may be kept, and what it says: positive ones until their least TTL; negative ones as long as
    /// their SOA says and not without one (RFC 2308 §5); others not at all.
    fn finish(&mut self, header: Header, additional_at: usize, authoritative: bool) -> About {
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
            additional_at: additional_at as u16,
            name_octets: self.name.len() as u8,
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

#[cfg(test)]
mod tests;
