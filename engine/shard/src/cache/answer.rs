//! An answer of an upstream: read once, written many times.
//!
//! Kept is the upstream's message without its OPT record, the question in lower case. Written to a client it is copied
//! once and patched: id, flags, TTLs, and the name asked for as the client spelt it, in the question and wherever the
//! upstream repeated it instead of pointing there. TTLs are counted down by the answer's age (RFC 1035 §3.2.1, RFC 2308
//! §5), or say [`STALE_TTL_SECONDS`] where the answer has run out (RFC 8767 §4).
//!
//! Behind the message stand the *places* of what is patched, two octets each in native order: of the TTLs after the first,
//! which is found by the length of its owner, then of the owners spelt out. Most answers have one record, and no list.

mod read;

use std::rc::Rc;
use std::time::Duration;

use smallvec::SmallVec;

use self::read::Reader;
use super::Plain;
use crate::images::CacheSettings;
use crate::limits::STALE_TTL_SECONDS;
use crate::wire::edns::{self, OPT_OCTETS, ReplyOpt};
use crate::wire::message::{self, HEADER_OCTETS, Header, Malformed, Record, Section, flags};
use crate::wire::name;
use crate::wire::rdata::{self, rtype};
use crate::wire::u16_at;

/// An answer of an upstream, made ready to be written many times. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The message and the places behind it.
    octets: Rc<[u8]>,
    about: About,
}

/// An answer, wherever it lies: the cache keeps its answers in memory of its own.
#[derive(Clone, Copy, Debug)]
pub struct AnswerRef<'a> {
    /// The message, its id zero, its TTLs as they were when it came.
    message: &'a [u8],
    /// Where the TTLs after the first stand in the message, then where an owner is spelt out that is the name asked for.
    places: &'a [u8],
    about: About,
}

/// What is known of an answer beside its octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct About {
    /// How many TTLs there are: one for each record.
    pub(super) ttls: u16,
    /// How many owners are spelt out.
    pub(super) spellings: u16,
    /// Octets of the name in the question.
    pub(super) name_octets: u8,
    /// Octets of the first record's owner; zero without records.
    pub(super) owner_octets: u8,
    /// The upper bits of the response code, from the OPT record that was taken off. Zero in what is kept.
    pub(super) extended_rcode: u8,
    /// See [`facts`].
    pub(super) facts: u8,
    /// Labels of the zone's apex, as the SOA record of a negative answer tells; [`NO_LABELS`] where there is none, and
    /// in the cache, where nobody asks for it.
    pub(super) zone_labels: u8,
    /// How long it may be kept, in seconds; zero: not at all.
    pub(super) lifetime: u32,
}

impl About {
    /// Octets of the places behind the message.
    #[inline]
    pub(super) fn place_octets(&self) -> usize {
        if !self.has_places() {
            return 0;
        }
        (usize::from(self.ttls).saturating_sub(1) + usize::from(self.spellings)) * 2
    }

    /// Whether there is more to know than the first TTL: not where there is one record, and its owner a pointer.
    #[inline]
    fn has_places(&self) -> bool {
        u32::from(self.ttls) | u32::from(self.spellings) << 16 != 1
    }

    /// Where the first record begins.
    #[inline]
    fn records_at(&self) -> usize {
        HEADER_OCTETS + usize::from(self.name_octets) + 4
    }

    /// Where the first TTL stands, if there is one.
    #[inline]
    fn first_ttl_at(&self) -> Option<usize> {
        // Type and class stand between owner and TTL.
        (self.ttls > 0).then(|| self.records_at() + usize::from(self.owner_octets) + 4)
    }
}

/// No name has so many labels.
pub(super) const NO_LABELS: u8 = u8::MAX;

/// Bits of [`About::facts`].
mod facts {
    /// No data of the type, or no such name.
    pub(super) const NEGATIVE: u8 = 1;
    /// The very name asked for does not exist.
    pub(super) const DENIES_NAME: u8 = 2;
    /// Nor does anything below it.
    pub(super) const CUTS: u8 = 4;
}

/// Octets of an answer that is made ready without memory of the heap, but for what it is kept in.
const COMMON_OCTETS_MAX: usize = 1024;

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
        let about = reader.finish(header, records_at, additional_at, authoritative);
        let said = match authoritative {
            false => flags::RA,
            true if reader.is_referral(header) => 0,
            true => flags::AA,
        };
        let Reader { ttls, spellings, .. } = reader;
        let mut octets = SmallVec::<[u8; COMMON_OCTETS_MAX]>::from_slice(&message[..end]);
        octets[..2].fill(0);
        octets[2..4].copy_from_slice(&(header.flags & (flags::QR | flags::RCODE) | said).to_be_bytes());
        octets[10..12].copy_from_slice(&header.counts[3].to_be_bytes());
        octets[HEADER_OCTETS..records_at].make_ascii_lowercase();
        for &(at, ttl) in &ttls {
            octets[usize::from(at)..][..4].copy_from_slice(&ttl.to_be_bytes());
        }
        let places = ttls.iter().map(|&(at, _)| at).skip(1).chain(spellings);
        places.for_each(|at| octets.extend_from_slice(&at.to_ne_bytes()));
        Ok(Answer { octets: octets.as_slice().into(), about })
    }

    /// The answer as the cache has it.
    #[inline]
    pub fn as_ref(&self) -> AnswerRef<'_> {
        let message_octets = self.octets.len() - self.about.place_octets();
        AnswerRef::new(&self.octets, message_octets, self.about).expect("message and places are all there is")
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
    pub fn write(&self, out: &mut [u8], age: Duration, reply: &Reply<'_>) -> (usize, bool) {
        self.as_ref().write(out, age, reply)
    }
}

impl<'a> AnswerRef<'a> {
    /// The answer whose message, of so many octets, and places begin `octets`, if there are so many.
    #[inline(always)]
    pub(super) fn new(octets: &'a [u8], message_octets: usize, about: About) -> Option<AnswerRef<'a>> {
        let (message, rest) = octets.split_at_checked(message_octets)?;
        let places = rest.get(..about.place_octets())?;
        Some(AnswerRef { message, places, about })
    }

    /// Octets of the message and of the places behind it.
    pub(super) fn octets(&self) -> usize {
        self.message.len() + self.places.len()
    }

    /// Writes message and places to the start of `out`.
    pub(super) fn put(&self, out: &mut [u8]) {
        let (message, rest) = out.split_at_mut(self.message.len());
        message.copy_from_slice(self.message);
        rest[..self.places.len()].copy_from_slice(self.places);
    }

    #[inline]
    pub(super) fn about(&self) -> About {
        self.about
    }

    /// A copy that outlives the cache's.
    pub fn to_answer(&self) -> Answer {
        let mut octets = vec![0; self.octets()];
        self.put(&mut octets);
        Answer { octets: octets.into(), about: self.about }
    }

    /// How long it may be kept.
    pub fn lifetime(&self) -> Duration {
        Duration::from_secs(self.about.lifetime.into())
    }

    /// The name in the question, in lower case.
    #[inline]
    pub fn name(&self) -> &'a [u8] {
        &self.message[HEADER_OCTETS..][..usize::from(self.about.name_octets)]
    }

    /// The message, its id zero, its TTLs as they were when it came.
    #[inline]
    pub(super) fn message(&self) -> &'a [u8] {
        self.message
    }

    /// Where TTLs stand, in ascending order.
    fn ttls(&self) -> impl Iterator<Item = usize> {
        self.about.first_ttl_at().into_iter().chain(places(self.places_of().0))
    }

    /// The places of the TTLs after the first, and those where owners are spelt out.
    #[inline(always)]
    fn places_of(&self) -> (&'a [u8], &'a [u8]) {
        self.places.split_at(self.places.len() - usize::from(self.about.spellings) * 2)
    }

    /// Where the additional section begins.
    fn additional_at(&self) -> usize {
        let [_, _, _, _, _, _, a, b, c, d, ..] = *self.message else { unreachable!("what is kept has a header") };
        let before = usize::from(u16::from_be_bytes([a, b])) + usize::from(u16::from_be_bytes([c, d]));
        let Some(last) = before.checked_sub(1) else { return self.about.records_at() };
        let ttl_at = self.ttls().nth(last).expect("each record has a TTL");
        let data_octets = u16_at(self.message, ttl_at + 4).expect("the record was walked before");
        ttl_at + 6 + usize::from(data_octets)
    }

    /// The response code, all twelve bits of it.
    #[inline]
    pub fn rcode(&self) -> u16 {
        u16::from(self.about.extended_rcode) << 4 | u16::from(self.message[3]) & flags::RCODE
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
    pub fn write(&self, out: &mut [u8], age: Duration, reply: &Reply<'_>) -> (usize, bool) {
        if reply.question.len() != usize::from(self.about.name_octets) + 4 {
            return self.write_below(out, age, reply);
        }
        if self.message.len() > reply.room() {
            return self.write_part(out, age, reply);
        }
        let end = self.message.len();
        self.write_whole(&mut out[..end], Aged::new(age, reply.stale), reply.question);
        (self.finish(out, end, false, reply), false)
    }

    /// Writes the answer as [`AnswerRef::write`] does, where `out` has room for all of it. Returns the length of the message.
    #[inline(always)]
    pub(super) fn write_plainly(&self, out: &mut [u8], age: Duration, form: Plain<'_>) -> Option<usize> {
        let (message, rest) = out.split_at_mut_checked(self.message.len())?;
        if form.question.len() != usize::from(self.about.name_octets) + 4 {
            return None;
        }
        self.write_whole(message, Aged::new(age, false), form.question);
        self.write_head(message, form.id, form.flags);
        let Some(flags) = form.opt else { return Some(message.len()) };
        count_one_more(message);
        *rest.first_chunk_mut()? = edns::opt(0, flags);
        Some(message.len() + OPT_OCTETS)
    }

    /// Writes all of the message but for id and flags.
    #[inline(always)]
    fn write_whole(&self, message: &mut [u8], aged: Aged, question: &[u8]) {
        copy(message, self.message);
        if let Some(at) = self.about.first_ttl_at()
            && let Some(ttl) = message.get_mut(at..at + 4)
        {
            aged.patch(ttl, 0);
        }
        copy(&mut message[HEADER_OCTETS..][..question.len()], question);
        if self.about.has_places() {
            let (ttls, spellings) = self.places_of();
            patch_places(message, ttls, spellings, aged, question);
        }
    }

    /// The answer where it does not fit as a whole.
    #[inline(never)]
    fn write_part(&self, out: &mut [u8], age: Duration, reply: &Reply<'_>) -> (usize, bool) {
        let (question_end, additional_at) = (self.about.records_at(), self.additional_at());
        let truncated = additional_at > reply.room();
        let end = if truncated { question_end } else { additional_at };
        let message = &mut out[..end];
        message.copy_from_slice(&self.message[..end]);
        message[HEADER_OCTETS..question_end].copy_from_slice(reply.question);
        message[10..12].fill(0);
        if truncated {
            message[6..10].fill(0);
        } else {
            let aged = Aged::new(age, reply.stale);
            self.about.first_ttl_at().filter(|at| at + 4 <= end).into_iter().for_each(|at| aged.patch(message, at));
            let (ttls, spellings) = self.places_of();
            patch_places(message, ttls, spellings, aged, reply.question);
        }
        (self.finish(out, end, truncated, reply), truncated)
    }

    /// The answer to a question for a name below: what follows the question moves back by what the name is longer, and
    /// so do the places that compression pointers name, since the answer's own name ends the longer one.
    #[cold]
    fn write_below(&self, out: &mut [u8], age: Duration, reply: &Reply<'_>) -> (usize, bool) {
        assert!(self.cuts(), "the question is the answer's own, or for a name below one that does not exist");
        let longer = reply.question.len() - 4 - usize::from(self.about.name_octets);
        assert!(name::same(&reply.question[longer..reply.question.len() - 4], self.name()));
        let question_end = HEADER_OCTETS + reply.question.len();
        let body = &self.message[..self.additional_at()];
        let truncated = body.len() + longer > reply.room();
        let end = if truncated { question_end } else { body.len() + longer };
        out[..HEADER_OCTETS].copy_from_slice(&body[..HEADER_OCTETS]);
        out[HEADER_OCTETS..question_end].copy_from_slice(reply.question);
        out[10..12].fill(0);
        if truncated {
            out[6..10].fill(0);
            return (self.finish(out, end, true, reply), true);
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
        for at in self.ttls().map(|at| at + longer).take_while(|at| at + 4 <= end) {
            aged.patch(out, at);
        }
        (self.finish(out, end, false, reply), false)
    }

    /// Writes id and flags and, behind the `end` octets of the message that stand in `out`, our OPT record. Returns the
    /// length of the message.
    fn finish(&self, out: &mut [u8], end: usize, truncated: bool, reply: &Reply<'_>) -> usize {
        self.write_head(out, reply.id, reply.flags | if truncated { flags::TC } else { 0 });
        let Some(opt) = reply.opt else { return end };
        count_one_more(out);
        end + opt.write(&mut out[end..end + opt.octets()])
    }

    /// Writes the id, and the flags of the answer and others.
    #[inline(always)]
    fn write_head(&self, out: &mut [u8], id: u16, others: u16) {
        let [_, _, high, low, ..] = *self.message else { unreachable!("what is kept has a header") };
        let said = u16::from_be_bytes([high, low]) | others;
        out[..4].copy_from_slice(&(u32::from(id) << 16 | u32::from(said)).to_be_bytes());
    }
}

/// Counts one more record in the additional section of a message.
#[inline(always)]
fn count_one_more(message: &mut [u8]) {
    let additionals = u16::from_be_bytes([message[10], message[11]]) + 1;
    message[10..12].copy_from_slice(&additionals.to_be_bytes());
}

/// Patches TTLs and spellings at the places told, as far as they stand in `message`.
#[inline(never)] // What is known of an answer goes in registers as long as nobody takes it by reference.
fn patch_places(message: &mut [u8], ttls: &[u8], spellings: &[u8], aged: Aged, question: &[u8]) {
    let end = message.len();
    for at in places(ttls).take_while(|at| at + 4 <= end) {
        aged.patch(message, at);
    }
    let name = &question[..question.len() - 4];
    for at in places(spellings).take_while(|at| at + name.len() <= end) {
        message[at..at + name.len()].copy_from_slice(name);
    }
}

/// The places that stand in `octets`.
fn places(octets: &[u8]) -> impl Iterator<Item = usize> {
    octets.as_chunks::<2>().0.iter().map(|place| u16::from_ne_bytes(*place).into())
}

/// Copies octets to a place of the same length: what is of common length by a few moves that may overlap, in place of the
/// calls that were a good part of a cached answer's instructions.
#[inline(always)]
fn copy(to: &mut [u8], from: &[u8]) {
    match from.len() {
        16..=32 => copy_ends::<16>(to, from),
        33..=64 => copy_ends::<32>(to, from),
        65..=128 => copy_ends::<64>(to, from),
        _ => to.copy_from_slice(from),
    }
}

/// Copies the first and the last octets, which are all there are.
#[inline(always)]
fn copy_ends<const N: usize>(to: &mut [u8], from: &[u8]) {
    assert!(to.len() == from.len() && (N..=2 * N).contains(&from.len()));
    if let (Some(to), Some(from)) = (to.first_chunk_mut::<N>(), from.first_chunk()) {
        *to = *from;
    }
    if let (Some(to), Some(from)) = (to.last_chunk_mut::<N>(), from.last_chunk()) {
        *to = *from;
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
#[derive(Clone, Copy)]
struct Aged {
    seconds: u32,
    stale: bool,
}

impl Aged {
    #[inline]
    fn new(age: Duration, stale: bool) -> Aged {
        Aged { seconds: age.as_secs() as u32, stale }
    }

    /// Writes what becomes of the TTL at `at`.
    #[inline]
    fn patch(&self, message: &mut [u8], at: usize) {
        let ttl = message[at..].first_chunk_mut().expect("a TTL has four octets");
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

#[cfg(test)]
mod tests;
