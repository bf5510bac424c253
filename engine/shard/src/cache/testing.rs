//! Messages and names for the tests of the cache.

use std::time::Duration;

use super::answer::Answer;
use super::{Cache, Found, Key};
use crate::images::CacheSettings;
use crate::telemetry::Counters;
use crate::time::Time;
use crate::wire::name::{HashKey, KeyedName, Name};
use crate::wire::rdata::rtype;

pub(super) const SETTINGS: CacheSettings = CacheSettings {
    octets: 1 << 20,
    min_ttl: Duration::ZERO,
    max_ttl: Duration::from_secs(86_400),
    negative_max_ttl: Duration::from_secs(3600),
    ..CacheSettings::PLAIN
};
pub(super) const KEY: Key = Key { qtype: rtype::A, dnssec_ok: false, checking_disabled: false, era: 0 };

pub(super) fn hash_key() -> HashKey {
    HashKey::from_seed(*b"one of 2^128 key")
}

pub(super) fn wire(text: &str) -> Name {
    text.parse().unwrap()
}

pub(super) fn name(text: &str) -> KeyedName {
    KeyedName::new(&hash_key(), wire(text).as_wire()).unwrap()
}

pub(super) fn question(name: &[u8]) -> Vec<u8> {
    [name, &[0, 1, 0, 1]].concat()
}

/// A message with the records given, each of them octets from the owner on.
pub(super) fn message(rcode: u8, owner: &[u8], sections: [&[&[u8]]; 3]) -> Vec<u8> {
    let counts = sections.map(|records| (records.len() as u16).to_be_bytes());
    let mut message = vec![0xab, 0xcd, 0x85, 0x90 | rcode, 0, 1];
    message.extend(counts.concat());
    message.extend(question(owner));
    message.extend(sections.concat().concat());
    message
}

/// The same with AD set: somebody vouches for it.
pub(super) fn vouched(mut message: Vec<u8>) -> Vec<u8> {
    message[3] |= 0x20;
    message
}

pub(super) fn a(ttl: u32) -> Vec<u8> {
    [&b"\xc0\x0c\0\x01\0\x01"[..], &ttl.to_be_bytes(), b"\0\x04\xc0\0\x02\x01"].concat()
}

/// An SOA record whose owner, and first name, is at the place told.
pub(super) fn soa_at(owner: u8, ttl: u32, minimum: u32) -> Vec<u8> {
    let fixed = [&[0xc0, owner][..], b"\0\x06\0\x01", &ttl.to_be_bytes(), b"\0\x17", &[0xc0, owner], b"\0"].concat();
    [&fixed[..], &[0; 16], &minimum.to_be_bytes()].concat()
}

pub(super) fn soa(ttl: u32, minimum: u32) -> Vec<u8> {
    soa_at(12, ttl, minimum)
}

/// A denial of a name of at least one label, by the zone right above it.
pub(super) fn denial_of(name: &KeyedName, ttl: u32) -> Vec<u8> {
    let parent_at = 12 + 1 + name.as_wire()[0];
    vouched(message(3, name.as_wire(), [&[], &[&soa_at(parent_at, ttl, ttl)], &[]]))
}

/// A cache, what it counts, and its clock.
pub(super) struct World {
    pub(super) cache: Cache,
    pub(super) counters: Counters,
    pub(super) now: Time,
}

impl World {
    pub(super) fn new(settings: CacheSettings) -> World {
        World { cache: Cache::new(settings, hash_key()), counters: Counters::default(), now: Time::from_secs(100) }
    }

    pub(super) fn pass(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
    }

    /// Keeps what an upstream said of a name.
    pub(super) fn keep(&mut self, name: &KeyedName, key: Key, message: &[u8]) {
        let World { cache, counters, now } = self;
        let answer = Answer::parse(message, name.as_wire().len() + 4, cache.settings(), false).unwrap();
        cache.insert(*now, key.hash(&hash_key(), name), name.as_wire(), key, &answer, counters);
    }

    /// Keeps an address.
    pub(super) fn keep_a(&mut self, text: &str, ttl: u32) -> KeyedName {
        let name = name(text);
        self.keep(&name, KEY, &message(0, name.as_wire(), [&[&a(ttl)], &[], &[]]));
        name
    }

    pub(super) fn find(&mut self, name: &KeyedName, key: Key) -> Found<'_> {
        self.cache.find(self.now, key.hash(&hash_key(), name), name, key)
    }

    pub(super) fn is_fresh(&mut self, name: &KeyedName, key: Key) -> bool {
        matches!(self.find(name, key), Found::Fresh(_))
    }

    /// Calls the janitor as often as he wants to be called until `until`, and returns how often that was.
    pub(super) fn clean(&mut self, until: Time) -> usize {
        for calls in 1..100_000 {
            let next = self.cache.janitor(self.now, &mut self.counters);
            match next.filter(|&next| next <= until) {
                Some(next) => {
                    assert!(next > self.now);
                    self.now = next;
                }
                None => {
                    self.now = until;
                    return calls;
                }
            }
        }
        panic!("the janitor comes to no end");
    }
}
