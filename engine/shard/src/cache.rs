//! Answers kept as wire, with their response code; TTLs are counted down when they are read (RFC 1035 §3.2.1,
//! RFC 2308). Bounded in octets, overheads counted.
//!
//! An [`Answer`] holds the upstream's message without its OPT record, the question in lower case; written to a client it
//! is copied once and patched: id, flags, TTLs, and the name asked for as the client spelt it, in the question and wherever
//! the upstream repeated it instead of pointing there.

use std::rc::Rc;
use std::time::Duration;

use hashbrown::HashTable;

use crate::images::CacheSettings;
use crate::limits::{CACHE_ENTRY_OCTETS_MAX, TTL_SECONDS_MAX};
use crate::telemetry::Counters;
use crate::time::Time;
use crate::wire::edns::ReplyOpt;
use crate::wire::message::{self, HEADER_OCTETS, Header, Malformed, Section, flags};
use crate::wire::name::{self, HashKey, KeyedName};
use crate::wire::rdata::rtype;

/// What an answer is kept under, beside the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Type asked for.
    pub qtype: u16,
    /// The asker's DO bit: with it, signatures are in the answer.
    pub dnssec_ok: bool,
    /// The asker's CD bit: with it, the upstream did not validate.
    pub checking_disabled: bool,
    /// Counted up when names begin to go to other servers, so that late answers of the former ones are never found.
    pub era: u16,
}

impl Key {
    /// The hash of `name` under this key.
    #[inline]
    pub fn hash(&self, hash_key: &HashKey, name: &KeyedName) -> u64 {
        hash_key.mix(name.name_hash(), self.word())
    }

    fn word(&self) -> u64 {
        u64::from(self.qtype)
            | u64::from(self.dnssec_ok) << 16
            | u64::from(self.checking_disabled) << 17
            | u64::from(self.era) << 32
            | 1 << 48
    }
}

/// An answer of an upstream, made ready to be written many times. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Offsets of two octets each in native order: where TTLs stand in the message, and where an owner is spelt out
    /// that is the name asked for; then the message.
    octets: Rc<[u8]>,
    ttls: u16,
    spellings: u16,
    /// Where the additional section begins.
    additional_at: u16,
    /// The upper bits of the response code, from the OPT record that was taken off.
    extended_rcode: u8,
    /// How long it may be kept; zero: not at all.
    lifetime: Duration,
}

/// How a reply differs from the answer it is made of.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    /// The client's id.
    pub id: u16,
    /// Flags to set beside those of the answer: RD and CD as asked, RA.
    pub flags: u16,
    /// Name, type and class as the client spelt them.
    pub question: &'a [u8],
    /// Our OPT record, where the client sent one.
    pub opt: Option<ReplyOpt<'a>>,
    /// Octets that the client takes.
    pub limit: usize,
}

impl Answer {
    /// Reads an upstream's message whose question, at its usual place, is `question_octets` long and known to be the
    /// one asked. TTLs are clamped as `settings` say. With `authoritative` the AA bit is kept.
    pub fn parse(
        message: &[u8],
        question_octets: usize,
        settings: &CacheSettings,
        authoritative: bool,
    ) -> Result<Answer, Malformed> {
        let mut header = Header::parse(message).ok_or(Malformed)?;
        let records_at = HEADER_OCTETS + question_octets;
        let mut reader = TtlReader::new(settings, message, records_at);
        let name_octets = question_octets - 4;
        let mut spellings = Vec::new();
        let mut end = records_at;
        let mut additional_at = None;
        let mut additionals = 0;
        let mut dropping = false;
        let mut extended_rcode = 0;
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
                    extended_rcode = (record.ttl >> 24) as u8;
                }
                if dropping {
                    continue;
                }
                additionals += 1;
            }
            end = record.data.end;
            reader.read(&record);
            let spelt = message.get(record.owner_at..record.owner_at + name_octets);
            if spelt.is_some_and(|spelt| name::same(spelt, &message[HEADER_OCTETS..][..name_octets])) {
                spellings.push(record.owner_at as u16);
            }
        }
        header.counts[3] = additionals;
        let kept_flags = flags::QR | flags::RCODE | if authoritative { flags::AA } else { 0 };
        let (ttls, lifetime) = reader.finish(header);
        let body_at = (ttls.len() + spellings.len()) * 2;
        let mut octets = vec![0; body_at + end];
        let offsets = ttls.iter().map(|(offset, _)| offset).chain(&spellings);
        for (field, offset) in octets.as_chunks_mut::<2>().0.iter_mut().zip(offsets) {
            *field = offset.to_ne_bytes();
        }
        let body = &mut octets[body_at..];
        body.copy_from_slice(&message[..end]);
        body[..2].fill(0);
        body[2..4].copy_from_slice(&(header.flags & kept_flags).to_be_bytes());
        body[10..12].copy_from_slice(&header.counts[3].to_be_bytes());
        body[HEADER_OCTETS..][..name_octets].make_ascii_lowercase();
        for &(offset, ttl) in &ttls {
            body[usize::from(offset)..][..4].copy_from_slice(&ttl.to_be_bytes());
        }
        Ok(Answer {
            octets: octets.into(),
            ttls: ttls.len() as u16,
            spellings: spellings.len() as u16,
            additional_at: additional_at.unwrap_or(end).min(end) as u16,
            extended_rcode,
            lifetime,
        })
    }

    /// How long it may be kept.
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    #[inline]
    fn parts(&self) -> (&[[u8; 2]], &[[u8; 2]], &[u8]) {
        let (ttls, rest) = self.octets.split_at(usize::from(self.ttls) * 2);
        let (spellings, message) = rest.split_at(usize::from(self.spellings) * 2);
        (ttls.as_chunks().0, spellings.as_chunks().0, message)
    }

    /// The response code, all twelve bits of it.
    #[inline]
    pub fn rcode(&self) -> u16 {
        u16::from(self.extended_rcode) << 4 | u16::from(self.parts().2[3]) & flags::RCODE
    }

    /// Writes the answer as it is after `age` to the start of `out`. Returns the length of the message, and whether it
    /// was cut short. The additional section goes first (RFC 2181 §9: its lack is not worth a TC bit), then all.
    #[inline]
    pub fn write(&self, out: &mut [u8], age: Duration, reply: &Reply<'_>) -> (usize, bool) {
        let (ttls, spellings, body) = self.parts();
        let opt_octets = reply.opt.map_or(0, |opt| opt.octets());
        let room = reply.limit - opt_octets;
        let question_end = HEADER_OCTETS + reply.question.len();
        let (end, keep_additional, truncated) = match body.len() {
            whole if whole <= room => (whole, true, false),
            _ if usize::from(self.additional_at) <= room => (usize::from(self.additional_at), false, false),
            _ => (question_end, false, true),
        };
        out[..end].copy_from_slice(&body[..end]);
        let age = age.as_secs() as u32;
        for offset in ttls {
            let at = usize::from(u16::from_ne_bytes(*offset));
            let Some(field) = out[..end].get_mut(at..at + 4) else { break };
            let field: &mut [u8; 4] = field.try_into().expect("four octets");
            *field = u32::from_be_bytes(*field).saturating_sub(age).to_be_bytes();
        }
        out[HEADER_OCTETS..question_end].copy_from_slice(reply.question);
        let name = &reply.question[..reply.question.len() - 4];
        for offset in spellings {
            let at = usize::from(u16::from_ne_bytes(*offset));
            let Some(field) = out[..end].get_mut(at..at + name.len()) else { break };
            field.copy_from_slice(name);
        }
        out[..2].copy_from_slice(&reply.id.to_be_bytes());
        let cut = if truncated { flags::TC } else { 0 };
        let word = u16::from_be_bytes([body[2], body[3]]) | reply.flags | cut;
        out[2..4].copy_from_slice(&word.to_be_bytes());
        if truncated {
            out[6..10].fill(0);
        }
        let mut additionals = if keep_additional { u16::from_be_bytes([body[10], body[11]]) } else { 0 };
        let mut length = end;
        if let Some(opt) = reply.opt {
            additionals += 1;
            length += opt.write(&mut out[end..end + opt_octets]);
        }
        out[10..12].copy_from_slice(&additionals.to_be_bytes());
        (length, truncated)
    }
}

/// Collects where TTLs stand, and the least of them.
struct TtlReader<'a> {
    settings: &'a CacheSettings,
    message: &'a [u8],
    /// Where each TTL stands, and what it is to be.
    ttls: Vec<(u16, u32)>,
    least: u32,
    /// The answer section is not empty.
    answers: bool,
    /// How long the SOA of the authority section lets a negative answer be kept.
    soa: Option<u32>,
}

impl<'a> TtlReader<'a> {
    fn new(settings: &'a CacheSettings, message: &'a [u8], records_at: usize) -> TtlReader<'a> {
        assert!(records_at <= message.len(), "the question was read already");
        TtlReader { settings, message, ttls: Vec::new(), least: u32::MAX, answers: false, soa: None }
    }

    fn read(&mut self, record: &message::Record) {
        // RFC 2181 §8: a TTL with the uppermost bit set counts as zero.
        let mut ttl = if record.ttl > TTL_SECONDS_MAX { 0 } else { record.ttl };
        if record.section == Section::Authority && record.rtype == rtype::SOA {
            let minimum = self.message[..record.data.end].last_chunk().expect("an SOA's data was checked");
            ttl = ttl.min(u32::from_be_bytes(*minimum));
            self.soa = Some(self.soa.map_or(ttl, |soa| soa.min(ttl)));
        }
        let ttl = ttl.clamp(seconds(self.settings.min_ttl), seconds(self.settings.max_ttl));
        self.answers |= record.section == Section::Answer;
        self.least = self.least.min(ttl);
        self.ttls.push((record.ttl_at as u16, ttl));
    }

    /// The TTLs, and how long the answer may be kept: positive ones until their least TTL; negative ones as long as
    /// their SOA says and not without one (RFC 2308 §5); others not at all.
    fn finish(mut self, header: Header) -> (Vec<(u16, u32)>, Duration) {
        let rcode = header.flags & flags::RCODE;
        let negative = rcode == 3 || !self.answers;
        let longest = if negative { self.settings.negative_max_ttl } else { self.settings.max_ttl };
        let lifetime = match (rcode, negative, self.soa) {
            (0, false, _) => self.least,
            (0 | 3, true, Some(_)) => self.least.min(seconds(longest)),
            _ => 0,
        };
        if negative {
            // No record of a negative answer may be believed longer than the answer (RFC 2308 §3).
            self.ttls.iter_mut().for_each(|(_, ttl)| *ttl = (*ttl).min(seconds(longest)));
        }
        (self.ttls, Duration::from_secs(lifetime.into()))
    }
}

fn seconds(span: Duration) -> u32 {
    u32::try_from(span.as_secs()).unwrap_or(TTL_SECONDS_MAX)
}

/// One core's answers.
///
/// A table of slot numbers by hash, and the slots. Eviction is second chance ("CLOCK"; Corbató, 1968): a hand passes
/// over the slots, takes the mark from those that were read since, and puts out the first without one.
#[derive(Debug)]
pub struct Cache {
    settings: CacheSettings,
    table: HashTable<u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    hand: usize,
    octets: usize,
}

#[derive(Debug)]
struct Slot {
    hash: u64,
    stored: Time,
    expires: Time,
    key: Key,
    read: bool,
    answer: Option<Answer>,
}

const _: () = assert!(size_of::<Slot>() <= 80);

/// Octets that an entry takes beside its answer: slot, place in the free list, place in the table (four octets and a
/// control octet, at a load of 7/8 at most), the counts of the shared allocation and its rounding.
const ENTRY_OCTETS: usize = size_of::<Slot>() + 4 + 8 + 16 + 16;
/// The least that an entry takes: a header, the question for the root, one record without data, where its TTL stands.
const ENTRY_OCTETS_MIN: usize = ENTRY_OCTETS + HEADER_OCTETS + 5 + 11 + 2;
/// Slots that the hand passes over for one entry before it takes the next, read or not.
const HAND_STEPS_MAX: usize = 64;

/// What the cache has for a question.
#[derive(Clone, Copy, Debug)]
pub struct Hit<'c> {
    /// The answer.
    pub answer: &'c Answer,
    /// How long ago it came.
    pub age: Duration,
}

impl Cache {
    /// An empty one. The table has its final size from the start, so that it never stalls to grow.
    pub fn new(settings: CacheSettings) -> Cache {
        let entries = settings.octets / ENTRY_OCTETS_MIN;
        Cache {
            settings,
            table: HashTable::with_capacity(entries),
            slots: Vec::with_capacity(entries),
            free: Vec::new(),
            hand: 0,
            octets: 0,
        }
    }

    /// Its settings.
    pub fn settings(&self) -> &CacheSettings {
        &self.settings
    }

    /// Octets in use, overheads counted.
    pub fn octets(&self) -> usize {
        self.octets
    }

    /// Answers held.
    pub fn entries(&self) -> usize {
        self.table.len()
    }

    /// The answer for `name` under `key`, `hash` being [`Key::hash`].
    #[inline]
    pub fn find(&mut self, now: Time, hash: u64, name: &KeyedName, key: Key) -> Option<Hit<'_>> {
        let slots = &mut self.slots;
        let &number = self.table.find(hash, |&number| {
            let slot = &slots[number as usize];
            slot.hash == hash && slot.key == key && slot.holds(name.as_wire())
        })?;
        let slot = &mut slots[number as usize];
        if slot.expires <= now {
            return None;
        }
        slot.read = true;
        let answer = slot.answer.as_ref().expect("a slot in the table holds an answer");
        Some(Hit { answer, age: now - slot.stored })
    }

    /// Keeps an answer that may be kept; it takes the place of one for the same question.
    pub fn insert(&mut self, now: Time, hash: u64, name: &[u8], key: Key, answer: &Answer, counters: &mut Counters) {
        let octets = ENTRY_OCTETS + answer.octets.len();
        if answer.lifetime.is_zero() {
            return;
        }
        if answer.octets.len() > CACHE_ENTRY_OCTETS_MAX || octets > self.settings.octets {
            counters.cache_too_long += 1;
            return;
        }
        let slots = &self.slots;
        let same = self.table.find(hash, |&number| {
            let slot = &slots[number as usize];
            slot.hash == hash && slot.key == key && slot.holds(name)
        });
        if let Some(&number) = same {
            self.remove(number);
        }
        while self.octets + octets > self.settings.octets {
            self.evict(now, counters);
        }
        let slot =
            Slot { hash, stored: now, expires: now + answer.lifetime, key, read: false, answer: Some(answer.clone()) };
        let number = match self.free.pop() {
            Some(number) => {
                self.slots[number as usize] = slot;
                number
            }
            None => {
                self.slots.push(slot);
                (self.slots.len() - 1) as u32
            }
        };
        let slots = &self.slots;
        self.table.insert_unique(hash, number, |&number| slots[number as usize].hash);
        self.octets += octets;
        counters.cache_inserts += 1;
    }

    /// Puts out one entry: the first that the hand meets which ran out or was not read since it last came by.
    fn evict(&mut self, now: Time, counters: &mut Counters) {
        let mut steps = 0;
        loop {
            let number = self.hand;
            self.hand = (self.hand + 1) % self.slots.len();
            let slot = &mut self.slots[number];
            if slot.answer.is_none() {
                continue;
            }
            steps += 1;
            let expired = slot.expires <= now;
            if !expired && slot.read && steps <= HAND_STEPS_MAX {
                slot.read = false;
                continue;
            }
            match expired {
                true => counters.cache_expired += 1,
                false => counters.cache_evictions += 1,
            }
            return self.remove(number as u32);
        }
    }

    fn remove(&mut self, number: u32) {
        let slot = &mut self.slots[number as usize];
        let answer = slot.answer.take().expect("a slot in the table holds an answer");
        self.octets -= ENTRY_OCTETS + answer.octets.len();
        let entry = self.table.find_entry(slot.hash, |&other| other == number).expect("a full slot is in the table");
        entry.remove();
        self.free.push(number);
    }
}

impl Slot {
    #[inline]
    fn holds(&self, name: &[u8]) -> bool {
        let Some(answer) = &self.answer else { return false };
        answer.parts().2.get(HEADER_OCTETS..HEADER_OCTETS + name.len()) == Some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::name::Name;

    const SETTINGS: CacheSettings = CacheSettings {
        octets: 1 << 20,
        min_ttl: Duration::ZERO,
        max_ttl: Duration::from_secs(86_400),
        negative_max_ttl: Duration::from_secs(3600),
        ..CacheSettings::PLAIN
    };
    const KEY: Key = Key { qtype: rtype::A, dnssec_ok: false, checking_disabled: false, era: 0 };

    fn hash_key() -> HashKey {
        HashKey::from_seed([4; 16])
    }

    fn name(text: &str) -> KeyedName {
        KeyedName::new(&hash_key(), text.parse::<Name>().unwrap().as_wire()).unwrap()
    }

    fn question(name: &[u8]) -> Vec<u8> {
        [name, &[0, 1, 0, 1]].concat()
    }

    /// A message with the records given, each of them octets from the owner on.
    fn message(rcode: u8, owner: &[u8], sections: [&[&[u8]]; 3]) -> Vec<u8> {
        let counts = sections.map(|records| records.len() as u8);
        let mut message = vec![0xab, 0xcd, 0x85, 0xb0 | rcode, 0, 1, 0, counts[0], 0, counts[1], 0, counts[2]];
        message.extend(question(owner));
        message.extend(sections.concat().concat());
        message
    }

    fn a(ttl: u32) -> Vec<u8> {
        [&b"\xc0\x0c\0\x01\0\x01"[..], &ttl.to_be_bytes(), b"\0\x04\xc0\0\x02\x01"].concat()
    }

    fn soa(ttl: u32, minimum: u32) -> Vec<u8> {
        let fixed = [&b"\xc0\x0c\0\x06\0\x01"[..], &ttl.to_be_bytes(), b"\0\x16\0\0"].concat();
        [&fixed[..], &[0; 16], &minimum.to_be_bytes()].concat()
    }

    const OPT: &[u8] = b"\0\0\x29\x04\xd0\0\0\0\0\0\0";
    const OWNER: &[u8] = b"\x03www\x04test\0";

    fn parse(message: &[u8]) -> Answer {
        Answer::parse(message, OWNER.len() + 4, &SETTINGS, false).unwrap()
    }

    fn write(answer: &Answer, age: u64, owner: &[u8], limit: usize) -> (Vec<u8>, bool) {
        let mut out = vec![0xee; 65_535];
        let question = question(owner);
        let reply = Reply { id: 0x1234, flags: flags::RA, question: &question, opt: None, limit };
        let (length, truncated) = answer.write(&mut out, Duration::from_secs(age), &reply);
        out.truncate(length);
        (out, truncated)
    }

    #[test]
    fn a_reply_is_the_answer_with_its_age_and_the_askers_spelling() {
        let spelt_out = [OWNER, &a(60)[2..]].concat();
        let stored = parse(&message(0, OWNER, [&[&a(300), &spelt_out], &[], &[&a(50), OPT]]));
        assert_eq!(stored.lifetime(), Duration::from_secs(50));
        let (reply, truncated) = write(&stored, 40, b"\x03wWw\x04TesT\0", 1232);
        let spelt_out = [b"\x03wWw\x04TesT\0", &a(20)[2..]].concat();
        let mut expected = message(0, b"\x03wWw\x04TesT\0", [&[&a(260), &spelt_out], &[], &[&a(10)]]);
        expected[..4].copy_from_slice(&[0x12, 0x34, 0x80, 0x80]);
        assert_eq!((reply, truncated), (expected, false));
        assert_eq!(write(&stored, 9999, OWNER, 1232).0.len(), write(&stored, 0, OWNER, 1232).0.len());
    }

    #[test]
    fn what_does_not_fit_goes_the_additional_section_first() {
        let stored = parse(&message(0, OWNER, [&[&a(60)], &[], &[&a(60), &a(60)]]));
        let whole = write(&stored, 0, OWNER, 1232).0.len();
        let without_additional = write(&stored, 0, OWNER, whole - 1);
        assert_eq!((without_additional.0.len(), without_additional.1), (whole - 32, false));
        assert_eq!(without_additional.0[6..12], [0, 1, 0, 0, 0, 0]);
        let cut = write(&stored, 0, OWNER, whole - 33);
        assert_eq!((cut.0.len(), cut.1), (HEADER_OCTETS + OWNER.len() + 4, true));
        assert_eq!((cut.0[2] & 2, &cut.0[6..12]), (2, &[0; 6][..]));
    }

    #[test]
    fn lifetimes_are_those_of_the_rfcs() {
        let lifetime = |message: Vec<u8>| parse(&message).lifetime().as_secs();
        assert_eq!(lifetime(message(0, OWNER, [&[&a(300), &a(200)], &[], &[]])), 200);
        assert_eq!(lifetime(message(0, OWNER, [&[&a(1 << 31)], &[], &[]])), 0, "RFC 2181 section 8");
        assert_eq!(lifetime(message(0, OWNER, [&[&a(1_000_000)], &[], &[]])), 86_400);
        assert_eq!(lifetime(message(3, OWNER, [&[], &[&soa(600, 30)], &[]])), 30);
        assert_eq!(lifetime(message(3, OWNER, [&[], &[&soa(20, 30)], &[]])), 20);
        assert_eq!(lifetime(message(0, OWNER, [&[], &[&soa(99_999, 88_888)], &[]])), 3600);
        assert_eq!(lifetime(message(0, OWNER, [&[], &[], &[]])), 0, "no SOA, no caching");
        assert_eq!(lifetime(message(3, OWNER, [&[], &[], &[]])), 0);
        assert_eq!(lifetime(message(6, OWNER, [&[&a(60)], &[], &[]])), 0, "other codes are passed on alone");
        let floor = CacheSettings { min_ttl: Duration::from_secs(10), ..SETTINGS };
        let zero = message(0, OWNER, [&[&a(0)], &[], &[]]);
        let clamped = Answer::parse(&zero, OWNER.len() + 4, &floor, false).unwrap();
        assert_eq!(clamped.lifetime().as_secs(), 10);
        assert_eq!(write(&clamped, 3, OWNER, 1232).0[HEADER_OCTETS + OWNER.len() + 4 + 9], 7);
    }

    #[test]
    fn the_soa_of_a_negative_answer_counts_down_from_its_limit() {
        let stored = parse(&message(3, OWNER, [&[], &[&soa(600, 30)], &[]]));
        let (reply, _) = write(&stored, 10, OWNER, 1232);
        let ttl_at = HEADER_OCTETS + OWNER.len() + 4 + 6;
        assert_eq!(reply[ttl_at..ttl_at + 4], [0, 0, 0, 20]);
        assert_eq!(stored.rcode(), 3);
    }

    #[test]
    fn the_extended_code_is_read_and_the_record_taken_off() {
        let badvers = b"\0\0\x29\x04\xd0\x01\0\0\0\0\0";
        assert_eq!(parse(&message(0, OWNER, [&[], &[], &[badvers]])).rcode(), 16);
        let behind = message(0, OWNER, [&[&a(60)], &[], &[OPT, &a(60)]]);
        assert_eq!(write(&parse(&behind), 0, OWNER, 1232).0[10..12], [0, 0], "what follows the OPT goes with it");
    }

    fn insert(cache: &mut Cache, counters: &mut Counters, now: Time, i: u32, ttl: u32) -> KeyedName {
        let name = name(&format!("n{i}.test"));
        let message = message(0, name.as_wire(), [&[&a(ttl)], &[], &[]]);
        let answer = Answer::parse(&message, name.as_wire().len() + 4, &SETTINGS, false).unwrap();
        cache.insert(now, KEY.hash(&hash_key(), &name), name.as_wire(), KEY, &answer, counters);
        name
    }

    fn find(cache: &mut Cache, now: Time, name: &KeyedName, key: Key) -> bool {
        cache.find(now, key.hash(&hash_key(), name), name, key).is_some()
    }

    #[test]
    fn answers_are_found_until_they_run_out_and_only_under_their_key() {
        let (mut cache, mut counters) = (Cache::new(SETTINGS), Counters::default());
        let name = insert(&mut cache, &mut counters, Time::from_secs(100), 1, 60);
        assert!(find(&mut cache, Time::from_secs(159), &name, KEY));
        assert!(!find(&mut cache, Time::from_secs(160), &name, KEY));
        for other in
            [Key { qtype: rtype::AAAA, ..KEY }, Key { dnssec_ok: true, ..KEY }, Key { checking_disabled: true, ..KEY }]
        {
            assert!(!find(&mut cache, Time::from_secs(100), &name, other), "{other:?}");
        }
        insert(&mut cache, &mut counters, Time::from_secs(200), 1, 60);
        assert_eq!(cache.entries(), 1, "the new answer takes the place of the old");
        assert!(find(&mut cache, Time::from_secs(201), &name, KEY));
    }

    #[test]
    fn octets_stay_within_the_setting_and_what_is_read_stays() {
        let settings = CacheSettings { octets: 64 << 10, ..SETTINGS };
        let (mut cache, mut counters) = (Cache::new(settings), Counters::default());
        let now = Time::from_secs(1);
        let hot = insert(&mut cache, &mut counters, now, 0, 3600);
        for i in 1..5000 {
            insert(&mut cache, &mut counters, now, i, 3600);
            assert!(cache.octets() <= settings.octets);
            assert!(find(&mut cache, now, &hot, KEY), "{i}");
        }
        assert_eq!(counters.cache_inserts, 5000);
        assert_eq!(counters.cache_evictions as usize, 5000 - cache.entries());
        assert!(cache.entries() > 100);
        let later = Time::from_secs(5000);
        insert(&mut cache, &mut counters, later, 9999, 3600);
        assert_eq!(counters.cache_expired, 1, "what ran out goes first");
    }

    #[test]
    fn an_answer_larger_than_the_cache_is_not_kept_and_counted() {
        let settings = CacheSettings { octets: 300, ..SETTINGS };
        let (mut cache, mut counters) = (Cache::new(settings), Counters::default());
        let name = name("big.test");
        let records: Vec<Vec<u8>> = (0..50).map(|_| a(60)).collect();
        let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
        let answer = Answer::parse(
            &message(0, name.as_wire(), [&records, &[], &[]]),
            name.as_wire().len() + 4,
            &settings,
            false,
        );
        cache.insert(Time::ZERO, 7, name.as_wire(), KEY, &answer.unwrap(), &mut counters);
        assert_eq!((cache.entries(), counters.cache_too_long, counters.cache_inserts), (0, 1, 0));
    }
}
