//! Answers kept as wire, failures remembered, and what a denial says of other names. Bounded in octets, as the process
//! really takes them from its allocator.
//!
//! | module | owns |
//! |---|---|
//! | [`scrub`] | what of an upstream's message may be believed |
//! | `answer` | an answer: read once, written many times |
//! | `ahead` | what a look will need, told before it is |
//! | `store` | the memory of answers, and who is put out of it |
//! | `plain` | the short way of most hits |
//! | `entry` | how an answer lies in that memory |
//! | `table` | where it lies, by keyed hash |
//! | `ghost` | who was put out a short time ago |
//! | `denial` | denials that hold for names below |
//! | `failures` | failures remembered for a short time |
//! | `flush` | removal by order |
//! | `dump` | answers over a restart |
//! | `view` | answers as people see them |
//!
//! An answer is fresh until its TTL has run out, and stale for [`CacheSettings::stale`] after that (RFC 8767); only then is it
//! gone for good, unless its room is needed before. A denial of a name is kept under a type of its own, so that it is
//! found whatever is asked for (RFC 2308 §5), and for names below by [`Cache::find_above`] (RFC 8020). Nothing is
//! allocated for what is found: a hit touches the table, the entry's head, and what is copied.

mod ahead;
mod answer;
mod denial;
mod dump;
mod entry;
mod failures;
mod flush;
mod ghost;
mod plain;
pub mod scrub;
mod store;
mod table;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod view;

use std::time::Duration;

pub use self::answer::{Answer, AnswerRef, Reply};
use self::entry::{BEFORE, Head, Heat};
pub use self::failures::Failure;
use self::failures::Failures;
pub use self::flush::Flush;
pub(crate) use self::plain::{Plain, Written};
use self::store::{Start, Store};
use self::table::Place;
pub use self::view::{Cached, Listed, Looked};
use crate::images::CacheSettings;
use crate::limits::CACHE_ENTRY_OCTETS_MAX;
use crate::telemetry::Counters;
use crate::time::Time;
use crate::wire::name::{HashKey, KeyedName};

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

/// The type that denials of a name are kept under; nobody asks for it (RFC 6895 §3.1).
const DENIAL: u16 = 0;

impl Key {
    /// The hash of `name` under this key.
    #[inline]
    pub fn hash(&self, hash_key: &HashKey, name: &KeyedName) -> u64 {
        self.hash_suffix(hash_key, name, name.labels())
    }

    #[inline]
    fn hash_suffix(&self, hash_key: &HashKey, name: &KeyedName, labels: usize) -> u64 {
        hash_key.mix(name.suffix_hash(labels), self.word() | 1 << 48)
    }

    /// All of it, as heads of entries have it.
    #[inline]
    fn word(&self) -> u64 {
        u64::from(self.qtype)
            | u64::from(self.dnssec_ok) << 16
            | u64::from(self.checking_disabled) << 17
            | u64::from(self.era) << 32
    }

    /// The key of a denial of the name.
    fn denial(self) -> Key {
        Key { qtype: DENIAL, ..self }
    }
}

/// One core's answers and failures.
#[derive(Debug)]
pub struct Cache {
    settings: CacheSettings,
    hash_key: HashKey,
    store: Store,
    failures: Failures,
    /// Scratch: the name of an answer that comes in.
    name: KeyedName,
}

/// An answer found.
#[derive(Clone, Copy, Debug)]
pub struct Hit<'c> {
    /// The answer.
    pub answer: AnswerRef<'c>,
    /// How long ago it came, in whole seconds.
    pub age: Duration,
    /// It is asked for often and runs out soon, and should be fetched anew behind the scenes: at least three times since it
    /// came, at least ten seconds long, and less than a tenth of that is left. Said once for each time that it came.
    pub refresh: bool,
}

/// What the cache has for a question.
#[derive(Clone, Copy, Debug)]
pub enum Found<'c> {
    /// An answer whose TTL has not run out.
    Fresh(Hit<'c>),
    /// One that has run out, to be served where no other is to be had (RFC 8767 §4).
    Stale(Hit<'c>),
    /// Nothing.
    Nothing,
}

/// Figures of a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Answers held, stale ones among them.
    pub entries: usize,
    /// Octets taken from the allocator.
    pub octets: usize,
    /// Octets that may be taken.
    pub octets_max: usize,
}

/// A moment of the caller's as entries have it.
fn moment(now: Time) -> Time {
    now + BEFORE
}

impl Cache {
    /// An empty one. Memory is taken as it is needed, in small steps.
    pub fn new(settings: CacheSettings, hash_key: HashKey) -> Cache {
        let failures = Failures::new(settings.octets);
        Cache {
            settings,
            hash_key,
            store: Store::new(settings.octets.saturating_sub(failures.octets_max()), settings.stale),
            failures,
            name: KeyedName::default(),
        }
    }

    /// Its settings.
    pub fn settings(&self) -> &CacheSettings {
        &self.settings
    }

    /// Other settings. What is kept stays; what is beyond a lower limit goes bit by bit, with the calls of
    /// [`Cache::janitor`].
    pub fn set_settings(&mut self, settings: CacheSettings) {
        self.settings = settings;
        self.store.set_limit(settings.octets.saturating_sub(self.failures.octets_max()), settings.stale);
    }

    /// Octets in use, overheads counted.
    pub fn octets(&self) -> usize {
        self.store.octets() + self.failures.octets()
    }

    /// Answers held, stale ones among them.
    pub fn entries(&self) -> usize {
        self.store.entries()
    }

    /// Its figures.
    pub fn figures(&self) -> Figures {
        Figures { entries: self.entries(), octets: self.octets(), octets_max: self.settings.octets }
    }

    /// The answer for `name` under `key`, `hash` being [`Key::hash`]. A name that is known not to exist is found for every
    /// type; a fresh answer for the type itself comes first.
    pub fn find(&mut self, now: Time, hash: u64, name: &KeyedName, key: Key) -> Found<'_> {
        let now = moment(now);
        let exact = self.store.find(hash, name.as_wire(), key);
        if let Some((place, head)) = &exact
            && now < head.expires()
        {
            return Found::Fresh(self.hit(now, *place, head));
        }
        let key = key.denial();
        let denial = self.store.find(key.hash(&self.hash_key, name), name.as_wire(), key);
        let (place, head) = match (exact, denial) {
            (None, None) => return Found::Nothing,
            (Some(one), None) | (None, Some(one)) => one,
            // The later one knows better.
            (Some(exact), Some(denial)) if exact.1.stored() > denial.1.stored() => exact,
            (Some(_), Some(denial)) => denial,
        };
        let stale = self.settings.stale;
        let hit = self.hit(now, place, &head);
        match head.expires() {
            expires if now < expires => Found::Fresh(hit),
            expires if now < expires + stale => Found::Stale(hit),
            _ => Found::Nothing,
        }
    }

    /// A fresh denial of a name above `name` that has more than `above_labels` labels, where it holds for all below
    /// (RFC 8020 §2). It is written as usual, with the asker's question.
    pub fn find_above(&mut self, now: Time, name: &KeyedName, key: Key, above_labels: usize) -> Option<Hit<'_>> {
        let now = moment(now);
        let key = key.denial();
        let mut depths = self.store.depths().between(above_labels, name.labels());
        let (place, head) = depths.find_map(|labels| {
            let hash = key.hash_suffix(&self.hash_key, name, labels);
            let (place, head) = self.store.find(hash, name.suffix(labels), key)?;
            (now < head.expires() && self.store.answer(place).cuts()).then_some((place, head))
        })?;
        Some(self.hit(now, place, &head))
    }

    fn hit(&mut self, now: Time, place: Place, head: &Head) -> Hit<'_> {
        let (heat, refresh) = head.asked(now, self.settings.prefetch);
        if heat != head.heat() {
            self.store.set_heat(place, heat);
        }
        Hit { answer: self.store.answer_behind(place, head), age: head.age(now), refresh }
    }

    /// Keeps an answer that may be kept; it takes the place of one for the same question. `name` is the one asked for, in
    /// lower case.
    pub fn insert(&mut self, now: Time, hash: u64, name: &[u8], key: Key, answer: &Answer, counters: &mut Counters) {
        self.failures.remove(hash);
        if answer.lifetime().is_zero() {
            return;
        }
        self.name.set(&self.hash_key, name).expect("what was asked for has a name");
        let denial = key.denial();
        let denial_hash = denial.hash(&self.hash_key, &self.name);
        let (gone, hash, key) = match answer.denies_name() {
            true => (self.store.find(hash, name, key), denial_hash, denial),
            false => (self.store.find(denial_hash, name, denial), hash, key),
        };
        if let Some((place, _)) = gone {
            self.store.remove(place);
            counters.cache_superseded += 1;
        }
        if answer.rcode() == 0 {
            self.remove_above(denial, counters);
        }
        self.put(moment(now), hash, key, Heat::default(), Start::New, answer, counters);
    }

    /// The name in the scratch exists: so do all above it, whatever was heard before.
    fn remove_above(&mut self, denial: Key, counters: &mut Counters) {
        let labels = self.name.labels();
        for labels in self.store.depths().between(0, labels) {
            let hash = denial.hash_suffix(&self.hash_key, &self.name, labels);
            if let Some((place, _)) = self.store.find(hash, self.name.suffix(labels), denial)
                && self.store.answer(place).cuts()
            {
                self.store.remove(place);
                counters.cache_superseded += 1;
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "an entry is what it is")]
    fn put(
        &mut self,
        stored: Time,
        hash: u64,
        key: Key,
        heat: Heat,
        start: Start,
        answer: &Answer,
        counters: &mut Counters,
    ) -> bool {
        let answer = answer.as_ref();
        let size = entry::size(answer.octets());
        if answer.message().len() > CACHE_ENTRY_OCTETS_MAX || size > self.store.entry_octets_max() {
            counters.cache_too_long += 1;
            return false;
        }
        let head = Head::new(hash, stored, key, answer, heat);
        let taken = self.store.insert(stored, head, answer, start, counters);
        match taken {
            true => counters.cache_inserts += 1,
            false => counters.cache_no_room += 1,
        }
        taken
    }

    /// Remembers that the question with this [`Key::hash`] failed (RFC 9520).
    pub fn failed(&mut self, now: Time, hash: u64, failure: Failure, counters: &mut Counters) {
        if !self.settings.failure_ttl.is_zero() {
            let displaced = self.failures.insert(now, hash, failure, self.settings.failure_ttl);
            counters.cache_failures_displaced += u64::from(displaced);
        }
    }

    /// How the question with this [`Key::hash`] failed a short time ago.
    #[inline]
    pub fn failure(&self, now: Time, hash: u64) -> Option<Failure> {
        self.failures.find(now, hash)
    }

    /// Forgets all failures: a server is back.
    pub fn forget_failures(&mut self) {
        self.failures.clear();
    }

    /// Does some of what is to be done from time to time: removes what has run out for good, puts out what is beyond a
    /// lowered limit, gives memory back. Returns when to call it again; `None`: when something has been inserted.
    pub fn janitor(&mut self, now: Time, counters: &mut Counters) -> Option<Time> {
        let next = self.store.sweep(moment(now), counters)?;
        Some(Time::ZERO + (next - moment(Time::ZERO)))
    }
}
