//! Who stays when there is no room for all.

use std::time::Duration;

use super::super::testing::*;
use super::super::*;

/// Random numbers of a fixed seed (SplitMix64; Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, count: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ word >> 31) % count
    }
}

/// Asks for a name, and keeps it where it is not there. Returns whether it was.
fn ask(world: &mut World, text: &str) -> bool {
    let hit = world.is_fresh(&name(text), KEY);
    if !hit {
        world.keep_a(text, 3600);
    }
    hit
}

#[test]
fn octets_stay_within_the_setting_and_what_is_read_stays() {
    for octets in [1200, 8 << 10, 64_000, 1 << 20] {
        let mut world = World::new(CacheSettings { octets, ..SETTINGS });
        for i in 0..5000 {
            ask(&mut world, &format!("n{i}.test"));
            assert!(world.cache.octets() <= octets, "{i} of {octets}: {}", world.cache.octets());
            let hot = ask(&mut world, "hot.test");
            assert!(hot || i < 20, "{i} of {octets}");
        }
        let (entries, counters) = (world.cache.entries() as u64, &world.counters);
        assert_eq!(counters.cache_evictions + entries, counters.cache_inserts, "{octets}: {counters:?}");
        assert_eq!(counters.cache_no_room, 0);
        let least = if octets < 8 << 10 { 2 } else { octets as u64 / 192 };
        assert!(entries >= least.min(4900), "{octets}: {entries}");
    }
}

#[test]
fn what_ran_out_goes_as_such() {
    let mut world = World::new(CacheSettings { octets: 64 << 10, ..SETTINGS });
    (0..100).for_each(|i| _ = world.keep_a(&format!("old{i}.test"), 10));
    world.pass(20);
    (0..5000).for_each(|i| _ = world.keep_a(&format!("n{i}.test"), 3600));
    assert_eq!(world.counters.cache_expired, 100);
}

#[test]
fn a_scan_passes_through() {
    let mut world = World::new(CacheSettings { octets: 1 << 20, ..SETTINGS });
    let mut random = Random(1);
    let mut rate = |world: &mut World, rounds: u64, scan: u64| {
        let mut hits = 0;
        for round in 0..rounds {
            hits += u64::from(ask(world, &format!("hot{}.test", random.below(1000))));
            (0..scan).for_each(|i| _ = ask(world, &format!("once-{round}-{i}.test")));
        }
        hits as f64 / rounds as f64
    };
    rate(&mut world, 10_000, 0);
    let before = rate(&mut world, 5_000, 0);
    let during = rate(&mut world, 5_000, 10);
    assert!(before > 0.999 && before - during < 0.05, "{before} {during}");
    assert!(world.counters.cache_evictions > 40_000);
}

#[test]
fn names_that_come_back_soon_are_known() {
    let mut world = World::new(CacheSettings { octets: 256 << 10, ..SETTINGS });
    // A loop over more names than the small queue holds: without ghosts none of them would ever stay.
    let mut hits = 0;
    for round in 0..20 {
        for i in 0..600 {
            hits += usize::from(ask(&mut world, &format!("loop{i}.test")));
            ask(&mut world, &format!("once-{round}-{i}-a.test"));
            ask(&mut world, &format!("once-{round}-{i}-b.test"));
        }
    }
    assert!(hits > 19 * 600 / 2, "{hits}");
}

#[test]
fn long_answers_and_short_ones_share_the_room() {
    let octets = 1 << 20;
    let mut world = World::new(CacheSettings { octets, ..SETTINGS });
    let mut random = Random(2);
    let records = vec![a(3600); 1500];
    let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    let mut hits = [0, 0];
    for i in 0..20_000_u64 {
        let long = random.below(50) == 0;
        let text =
            format!("{}{}.test", if long { "long" } else { "short" }, random.below(if long { 40 } else { 2000 }));
        let name = name(&text);
        if world.is_fresh(&name, KEY) {
            hits[usize::from(long)] += 1;
            continue;
        }
        let count = if long { 100 + random.below(1400) as usize } else { 1 + random.below(4) as usize };
        world.keep(&name, KEY, &message(0, name.as_wire(), [&records[..count], &[], &[]]));
        assert!(world.cache.octets() <= octets, "{i}");
        if i % 500 == 0 {
            world.cache.store.check();
        }
    }
    assert!(hits[0] > 15_000 && hits[1] > 100, "{hits:?}");
    assert_eq!(world.counters.cache_no_room, 0);
}

#[test]
fn an_answer_that_comes_anew_with_another_length_takes_its_place_all_the_same() {
    let mut world = World::new(CacheSettings { octets: 64 << 10, ..SETTINGS });
    let name = name("n.test");
    let records = vec![a(60); 300];
    let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    for count in [1, 1, 40, 2, 300, 5, 200, 1] {
        world.keep(&name, KEY, &message(0, name.as_wire(), [&records[..count], &[], &[]]));
        let Found::Fresh(hit) = world.find(&name, KEY) else { panic!("{count}") };
        assert_eq!(hit.answer.message()[6..8], (count as u16).to_be_bytes());
        assert_eq!(world.cache.entries(), 1);
        world.cache.store.check();
    }
    for _ in 0..10_000 {
        for count in [1, 2] {
            world.keep(&name, KEY, &message(0, name.as_wire(), [&records[..count], &[], &[]]));
        }
    }
    world.cache.store.check();
    assert_eq!((world.cache.entries(), world.counters.cache_evictions), (1, 0));
}

#[test]
fn a_long_answer_is_not_kept_where_much_more_is_held_than_may_be() {
    let settings = CacheSettings { octets: 8 << 20, ..SETTINGS };
    let mut world = World::new(settings);
    (0..60_000).for_each(|i| _ = ask(&mut world, &format!("n{i}.test")));
    world.cache.set_settings(CacheSettings { octets: 256 << 10, ..settings });
    let records = vec![a(3600); 1200];
    let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    let long = name("long.test");
    world.keep(&long, KEY, &message(0, long.as_wire(), [&records, &[], &[]]));
    assert_eq!((world.is_fresh(&long, KEY), world.counters.cache_no_room), (false, 1));
    assert!(ask(&mut world, "short.test") || ask(&mut world, "short.test"), "a short one is");
    world.cache.store.check();
}

#[test]
fn the_limit_may_rise_and_fall_without_losing_everything() {
    let settings = CacheSettings { octets: 4 << 20, ..SETTINGS };
    let mut world = World::new(settings);
    (0..20_000).for_each(|i| _ = ask(&mut world, &format!("n{i}.test")));
    let full = world.cache.entries();
    world.cache.set_settings(CacheSettings { octets: 1 << 20, ..settings });
    assert_eq!(world.cache.entries(), full);
    assert!(world.cache.octets() > 1 << 20);
    // Even before the janitor comes it grows no further.
    let before = world.cache.octets();
    (0..2000).for_each(|i| _ = ask(&mut world, &format!("m{i}.test")));
    assert!(world.cache.octets() <= before + (1 << 16));
    let until = world.now + Duration::from_secs(60);
    let calls = world.clean(until);
    assert!(calls > 5 && world.cache.octets() <= 1 << 20, "{calls} {}", world.cache.octets());
    assert!(world.cache.entries() > full / 8);
    world.cache.store.check();
    world.cache.set_settings(CacheSettings { octets: 3 << 20, ..settings });
    (0..50_000).for_each(|i| _ = ask(&mut world, &format!("o{i}.test")));
    assert!(world.cache.octets() > 2 << 20 && world.cache.octets() <= 3 << 20);
    world.cache.store.check();
}
