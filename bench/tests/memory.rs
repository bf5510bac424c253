//! The cache takes the memory that it is allowed, as the process has it: with the allocator of the binary, full, after long
//! churn of answers of all lengths, and after those have changed.

use std::fs;
use std::time::Duration;

use ringdns_shard::cache::{Answer, Cache, Flush, Found, Key};
use ringdns_shard::images::CacheSettings;
use ringdns_shard::telemetry::Counters;
use ringdns_shard::time::Time;
use ringdns_shard::wire::name::{HashKey, KeyedName};
use ringdns_shard::wire::rdata::rtype;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const OCTETS: usize = 64 << 20;
const KEY: Key = Key { qtype: rtype::A, dnssec_ok: false, checking_disabled: false, era: 0 };

/// Octets of memory that the process has for itself.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("the kernel tells");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("the kernel tells");
    line.trim().split(' ').next().and_then(|text| text.parse::<usize>().ok()).expect("a number of kB") << 10
}

struct World {
    cache: Cache,
    counters: Counters,
    hash_key: HashKey,
    random: u64,
    now: Time,
}

impl World {
    fn random(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }

    /// Keeps answers for so many names, of as many address records as told, but for one in two hundred, which is long;
    /// asks for every other a few times. A millisecond passes with each.
    fn churn(&mut self, names: u64, records: u64) {
        let hash_key = self.hash_key;
        for _ in 0..names {
            let number = self.random(4_000_000) as u32;
            let label = format!("{:0width$x}", number, width = 8 + (number % 24) as usize);
            let mut wire = vec![label.len() as u8];
            wire.extend(label.as_bytes());
            wire.extend(b"\x05churn\x04test\0");
            let name = KeyedName::new(&hash_key, &wire).expect("a name of ours");
            let hash = KEY.hash(&hash_key, &name);
            self.now = self.now + Duration::from_millis(1);
            if let Found::Fresh(_) = self.cache.find(self.now, hash, &name, KEY) {
                continue;
            }
            let records = if self.random(200) == 0 { 100 + self.random(900) } else { 1 + self.random(records) };
            let mut message = vec![0, 0, 0x81, 0x80, 0, 1, (records >> 8) as u8, records as u8, 0, 0, 0, 0];
            message.extend(&wire);
            message.extend(b"\0\x01\0\x01");
            let ttl = 30 + self.random(3600) as u16;
            for _ in 0..records {
                message.extend(b"\xc0\x0c\0\x01\0\x01\0\0");
                message.extend(ttl.to_be_bytes());
                message.extend(b"\0\x04\xc0\0\x02\x01");
            }
            let World { cache, counters, now, .. } = self;
            let answer = Answer::parse(&message, wire.len() + 4, cache.settings(), false).expect("an answer of ours");
            cache.insert(*now, hash, &wire, KEY, &answer, counters);
            for _ in 0..number % 3 {
                cache.find(*now, hash, &name, KEY);
            }
            if number.is_multiple_of(64) {
                cache.janitor(*now, counters);
            }
        }
    }
}

#[test]
fn the_cache_takes_what_it_is_allowed_and_no_more() {
    let before = resident();
    let hash_key = HashKey::from_seed(*b"one of 2^128 key");
    let settings = CacheSettings { octets: OCTETS, stale: Duration::from_secs(600), ..CacheSettings::PLAIN };
    let mut world = World {
        cache: Cache::new(settings, hash_key),
        counters: Counters::default(),
        hash_key,
        random: 1,
        now: Time::from_secs(1),
    };
    assert!(resident() - before < OCTETS / 50, "an empty cache takes nothing");
    let mut taken = Vec::new();
    // Short answers, long ones, all lengths: a quarter of an hour of a thousand questions a second.
    for (names, records) in [(380_000, 2), (60_000, 20), (60_000, 30), (400_000, 8)] {
        world.churn(names, records);
        taken.push((resident() - before, world.cache.octets(), world.cache.entries()));
    }
    eprintln!("resident, counted, entries: {taken:?}");
    for &(resident, counted, _) in &taken {
        assert!(counted <= OCTETS && counted > OCTETS * 9 / 10, "{taken:?}");
        assert!(resident <= OCTETS / 10 * 11 && resident > OCTETS / 10 * 9, "{taken:?}");
    }
    let World { cache, counters, now, .. } = &mut world;
    cache.flush(&Flush::All, counters);
    while let Some(next) = cache.janitor(*now, counters) {
        *now = next;
    }
    assert!(cache.octets() < OCTETS / 50);
}
