//! What people see of a cache: the answers of a name, and a list of all. To look at an answer is not to ask for it: nothing
//! here counts for eviction or for fetching anew.

use super::answer::Reply;
use super::entry::Head;
use super::flush::is_within;
use super::table::Place;
use super::{Cache, Key, moment};
use crate::limits::MESSAGE_OCTETS_MAX;
use crate::time::Time;
use crate::wire::message::{HEADER_OCTETS, flags};
use crate::wire::name::{KeyedName, Name};
use crate::wire::u16_at;

/// The types that a name is looked up with: those that the registry has given out, and those for private use (RFC 6895
/// §3.1). Zero is where denials of the name are.
const TYPES: [core::ops::RangeInclusive<u16>; 3] = [0..=261, 32_768..=32_769, 65_280..=65_534];
/// Answers of one name that are shown.
const LOOK_ANSWERS: usize = 64;
/// Octets of their messages, all together: whoever fills a cache with long answers does not get to hold a core up.
const LOOK_OCTETS: usize = 256 << 10;
/// Entries that are looked at for one part of a list.
const LIST_ENTRIES: usize = 1_024;

/// An answer that is kept, as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cached {
    /// The name asked for.
    pub name: Name,
    /// The type asked for; of a denial of the name, which is for every type, the one that brought it.
    pub qtype: u16,
    /// It is for those who asked for DNSSEC records (DO).
    pub dnssec_ok: bool,
    /// It is for those who asked not to check it (CD).
    pub checking_disabled: bool,
    /// The response code.
    pub rcode: u16,
    /// Seconds until it runs out; negative: so long ago it did.
    pub seconds_left: i64,
    /// Octets that it takes in the cache.
    pub octets: usize,
    /// The reply that would be made of it, as a message of its own; empty in lists.
    pub message: Vec<u8>,
}

/// The answers that are kept for a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// The first of them: 64 at most, with messages of 256 KiB at most.
    pub answers: Vec<Cached>,
    /// Further ones.
    pub left_out: usize,
}

/// A part of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// The answers.
    pub answers: Vec<Cached>,
    /// The cursor of the next part; `None`: there is no more.
    pub next: Option<u64>,
}

impl Cache {
    /// The answers of `era` that are kept for a name, whatever their type, as far as `TYPES` has it: some two thousand
    /// looks into the table, and `LOOK_OCTETS` to copy.
    pub fn look(&self, now: Time, era: u16, name: &Name) -> Looked {
        let Some(name) = KeyedName::new(&self.hash_key, name.as_wire()) else { return Looked::default() };
        let (mut looked, mut room) = (Looked::default(), LOOK_OCTETS);
        for qtype in TYPES.into_iter().flatten() {
            for (dnssec_ok, checking_disabled) in [(false, false), (true, false), (false, true), (true, true)] {
                let key = Key { qtype, dnssec_ok, checking_disabled, era };
                if let Some((place, head)) = self.store.find(key.hash(&self.hash_key, &name), name.as_wire(), key)
                    && let Some(cached) = self.cached(now, place, &head)
                {
                    let octets = self.store.answer_behind(place, &head).message().len();
                    if looked.answers.len() == LOOK_ANSWERS || octets > room {
                        looked.left_out += 1;
                        continue;
                    }
                    room -= octets;
                    let message = self.reply_of(now, place, &head);
                    looked.answers.push(Cached { message, ..cached });
                }
            }
        }
        looked
    }

    /// A part of the answers of `era` for `below` and the names below it, in the order of the table. `cursor` is zero at
    /// first, then what the call before returned. Answers that come or move between two calls may be left out, or come
    /// twice.
    pub fn list(&self, now: Time, era: u16, below: &Name, cursor: u64) -> Listed {
        let mut answers = Vec::new();
        let (mut part, mut from) = ((cursor >> 32) as usize, cursor as u32 as usize);
        let mut looked_at = 0;
        while part < self.store.table().parts() {
            for (slot, place) in self.store.table().places(part, from) {
                if looked_at == LIST_ENTRIES {
                    return Listed { answers, next: Some((part as u64) << 32 | slot as u64) };
                }
                looked_at += 1;
                let head = self.store.head(place);
                if head.key().era == era && is_within(self.store.answer_behind(place, &head).name(), below.as_wire()) {
                    answers.extend(self.cached(now, place, &head));
                }
            }
            (part, from) = (part + 1, 0);
        }
        Listed { answers, next: None }
    }

    /// What is told of an entry; `None`: it has run out for good, and only waits to be removed.
    fn cached(&self, now: Time, place: Place, head: &Head) -> Option<Cached> {
        let (now, expires) = (moment(now), head.expires());
        let answer = self.store.answer_behind(place, head);
        let is_kept = now < expires + self.settings.stale;
        let name = Name::from_wire(answer.name())?;
        let micros_left = expires.as_micros() as i64 - now.as_micros() as i64;
        is_kept.then(|| Cached {
            qtype: u16_at(answer.message(), HEADER_OCTETS + answer.name().len()).unwrap_or(head.key().qtype),
            name,
            dnssec_ok: head.key().dnssec_ok,
            checking_disabled: head.key().checking_disabled,
            rcode: answer.rcode(),
            seconds_left: micros_left.div_euclid(1_000_000),
            octets: head.size(),
            message: Vec::new(),
        })
    }

    /// The reply to somebody without EDNS who takes messages of any length.
    fn reply_of(&self, now: Time, place: Place, head: &Head) -> Vec<u8> {
        let now = moment(now);
        let answer = self.store.answer_behind(place, head);
        let stored = answer.message();
        let reply = Reply {
            id: 0,
            flags: if head.key().checking_disabled { flags::CD } else { 0 },
            question: &stored[HEADER_OCTETS..HEADER_OCTETS + answer.name().len() + 4],
            opt: None,
            limit: MESSAGE_OCTETS_MAX,
            stale: now >= head.expires(),
        };
        let mut message = vec![0; stored.len()];
        let (octets, _) = answer.write(&mut message, head.age(now), &reply);
        message.truncate(octets);
        message
    }
}

impl Cached {
    /// One that stands for any other, for tests of what shows them.
    pub fn sample(name: &Name) -> Cached {
        Cached {
            name: name.clone(),
            qtype: 1,
            dnssec_ok: false,
            checking_disabled: false,
            rcode: 0,
            seconds_left: 60,
            octets: 100,
            message: Vec::new(),
        }
    }
}
