//! Answers over a restart: written out in portions, read back with as much care as an upstream's message. Whoever keeps the
//! portions knows whether they are whole (a checksum) and whether the names still go to the same servers.
//!
//! A portion is one octet, its version, then records, all integers big-endian:
//!
//! ```text
//! 1 octet    bits: 1 DO, 2 CD, 4 somebody vouches for a denial, 8 of the main queue, 16–64 how often it was asked for
//! 8 octets   when the answer came, in seconds since 1970
//! 2 octets   the length of the message
//!            the message: id zero, TTLs as they were when it came, flags as they are passed on
//! ```

use std::time::Duration;

use super::answer::Answer;
use super::entry::Heat;
use super::store::Start;
use super::{Cache, Key, moment};
use crate::images::CacheSettings;
use crate::telemetry::Counters;
use crate::time::Time;
use crate::wire::message::{HEADER_OCTETS, Header, Malformed, flags};
use crate::wire::name::KeyedName;
use crate::wire::rdata::CLASS_IN;
use crate::wire::u16_at;

/// The version of the format.
const VERSION: u8 = 1;
/// Octets of a record before its message.
const RECORD_OCTETS: usize = 11;
/// Entries that are looked at for one portion.
const PORTION_ENTRIES: usize = 2_048;

const DNSSEC_OK: u8 = 1;
const CHECKING_DISABLED: u8 = 2;
const VOUCHED_FOR: u8 = 4;
const MAIN: u8 = 8;
const OFTEN_SHIFT: u32 = 4;

/// A record that was read.
struct Record {
    hash: u64,
    key: Key,
    name: Box<[u8]>,
    answer: Answer,
    stored: Time,
    heat: Heat,
    start: Start,
}

impl Cache {
    /// Writes a portion to the end of `out`: answers of `era`, until it has `octets_max` octets or one message more, or
    /// enough entries were looked at; nothing where none of them is of that era. `cursor` is zero at first, then what the
    /// call before returned; `None`: that was all. Answers that come or move between two calls may be left out.
    pub fn out(
        &self,
        now: Time,
        unix_seconds: u64,
        era: u16,
        cursor: u64,
        octets_max: usize,
        out: &mut Vec<u8>,
    ) -> Option<u64> {
        let (mut part, mut from) = ((cursor >> 32) as usize, cursor as u32 as usize);
        let begin = out.len();
        let mut looked_at = 0;
        while part < self.store.table().parts() {
            for (slot, place) in self.store.table().places(part, from) {
                if out.len() - begin >= octets_max || looked_at == PORTION_ENTRIES {
                    return Some((part as u64) << 32 | slot as u64);
                }
                looked_at += 1;
                let head = self.store.head(place);
                let now = moment(now);
                if head.key().era != era || head.expires() + self.settings.stale <= now {
                    continue;
                }
                if out.len() == begin {
                    out.push(VERSION);
                }
                let answer = self.store.answer(place);
                let bit = |is, bit| if is { bit } else { 0 };
                out.push(
                    bit(head.key().dnssec_ok, DNSSEC_OK)
                        | bit(head.key().checking_disabled, CHECKING_DISABLED)
                        | bit(answer.cuts(), VOUCHED_FOR)
                        | bit(self.store.is_in_main(place), MAIN)
                        | head.heat().often() << OFTEN_SHIFT,
                );
                let age = (now - head.stored()).as_micros().div_ceil(1_000_000) as u64;
                out.extend(unix_seconds.saturating_sub(age).to_be_bytes());
                out.extend((answer.message().len() as u16).to_be_bytes());
                out.extend(answer.message());
            }
            (part, from) = (part + 1, 0);
        }
        None
    }

    /// Takes in a portion of [`Cache::out`], under `era`. What has run out for good meanwhile is left out, and what is known
    /// anew already. Returns how many answers were taken; none of a portion that is not whole.
    pub fn take_in(
        &mut self,
        now: Time,
        unix_seconds: u64,
        era: u16,
        portion: &[u8],
        counters: &mut Counters,
    ) -> Result<usize, Malformed> {
        let Some((&version, mut rest)) = portion.split_first() else { return Ok(0) };
        if version != VERSION {
            return Err(Malformed);
        }
        let mut records = Vec::new();
        while !rest.is_empty() {
            let length = usize::from(u16_at(rest, RECORD_OCTETS - 2).ok_or(Malformed)?);
            let record = rest.get(..RECORD_OCTETS + length).ok_or(Malformed)?;
            rest = &rest[record.len()..];
            records.extend(self.read(now, unix_seconds, era, record)?);
        }
        let mut taken = 0;
        for Record { hash, key, name, answer, stored, heat, start } in records {
            if self.store.find(hash, &name, key).is_none() {
                taken += usize::from(self.put(stored, hash, key, heat, start, &answer, counters));
            }
        }
        counters.cache_reloaded += taken as u64;
        Ok(taken)
    }

    /// Reads a record; `None` where it has run out for good, or may not be kept.
    fn read(&mut self, now: Time, unix_seconds: u64, era: u16, record: &[u8]) -> Result<Option<Record>, Malformed> {
        let (&[bits, ref received @ .., _, _], message) =
            record.split_first_chunk::<RECORD_OCTETS>().ok_or(Malformed)?;
        let header = Header::parse(message).ok_or(Malformed)?;
        let answers = matches!(header.flags & flags::RCODE, 0 | 3);
        if !header.has(flags::QR) || header.opcode() != 0 || header.has(flags::TC) || !answers || header.counts[0] != 1
        {
            return Err(Malformed);
        }
        let name: &mut KeyedName = &mut self.name;
        let name_octets = name.set(&self.hash_key, &message[HEADER_OCTETS..]).ok_or(Malformed)?;
        let qtype = u16_at(message, HEADER_OCTETS + name_octets).ok_or(Malformed)?;
        let qclass = u16_at(message, HEADER_OCTETS + name_octets + 2).ok_or(Malformed)?;
        if qclass != CLASS_IN {
            return Err(Malformed);
        }
        // RA tells the answers of resolvers from those of origins, and AD that somebody vouched for one of the former.
        // TTLs were raised when the answer came.
        let settings = CacheSettings { min_ttl: Duration::ZERO, ..self.settings };
        let mut message = message.to_vec();
        let vouched = if bits & VOUCHED_FOR != 0 { flags::AD } else { 0 };
        message[2..4].copy_from_slice(&(header.flags & !flags::AD | vouched).to_be_bytes());
        let answer = Answer::parse(&message, name_octets + 4, &settings, !header.has(flags::RA))?;
        let age = Duration::from_secs(unix_seconds.saturating_sub(u64::from_be_bytes(*received)));
        let stored =
            Time::from_micros(moment(now).as_micros().saturating_sub(age.as_micros().min(u64::MAX.into()) as u64));
        if answer.lifetime().is_zero() || age >= (answer.lifetime() + self.settings.stale).min(super::BEFORE) {
            return Ok(None);
        }
        let key =
            Key { qtype, dnssec_ok: bits & DNSSEC_OK != 0, checking_disabled: bits & CHECKING_DISABLED != 0, era };
        let key = if answer.denies_name() { key.denial() } else { key };
        Ok(Some(Record {
            hash: key.hash(&self.hash_key, name),
            key,
            name: name.as_wire().into(),
            answer,
            stored,
            heat: Heat::default().with_often(bits >> OFTEN_SHIFT),
            start: if bits & MAIN != 0 { Start::Main } else { Start::New },
        }))
    }
}
