//! Removal by order, and answers over a restart.

use std::time::Duration;

use proptest::prelude::*;

use super::super::testing::*;
use super::super::*;
use crate::wire::message::Malformed;
use crate::wire::rdata::rtype;

fn world_with(names: &[&str]) -> World {
    let mut world = World::new(CacheSettings { stale: Duration::from_secs(1000), ..SETTINGS });
    for text in names {
        let name = world.keep_a(text, 3600);
        let aaaa = Key { qtype: rtype::AAAA, dnssec_ok: true, era: 3, ..KEY };
        world.keep(&name, aaaa, &message(0, name.as_wire(), [&[], &[&soa(600, 600)], &[]]));
    }
    world
}

fn flush(world: &mut World, what: &Flush) -> usize {
    world.cache.flush(what, &mut world.counters)
}

const NAMES: [&str; 5] = ["a.test", "b.a.test", "c.b.a.test", "ba.test", "test"];

#[test]
fn a_name_is_flushed_with_all_its_types_and_nothing_else() {
    let mut world = world_with(&NAMES);
    assert_eq!(flush(&mut world, &Flush::Name(wire("a.test"))), 2);
    assert_eq!(NAMES.map(|text| world.is_fresh(&name(text), KEY)), [false, true, true, true, true]);
    assert_eq!(flush(&mut world, &Flush::Name(wire("a.test"))), 0);
    assert_eq!(world.counters.cache_flushed, 2);
    world.cache.store.check();
}

#[test]
fn a_subtree_is_flushed_at_label_boundaries() {
    let mut world = world_with(&NAMES);
    assert_eq!(flush(&mut world, &Flush::Subtree(wire("a.test"))), 6);
    assert_eq!(NAMES.map(|text| world.is_fresh(&name(text), KEY)), [false, false, false, true, true]);
    assert_eq!(flush(&mut world, &Flush::Subtree(wire("."))), 4);
    assert_eq!((world.cache.entries(), world.counters.cache_flushed), (0, 10));
}

#[test]
fn denials_above_and_failures_go_with_what_is_flushed() {
    let mut world = World::new(CacheSettings { failure_ttl: Duration::from_secs(5), ..SETTINGS });
    let gone = name("gone.test");
    world.keep(&gone, KEY, &denial_of(&gone, 600));
    world.cache.failed(world.now, 7, Failure::Errors, &mut world.counters);
    assert_eq!(flush(&mut world, &Flush::Name(wire("gone.test.test"))), 0);
    assert_eq!(flush(&mut world, &Flush::Name(wire("x.gone.test"))), 1);
    assert_eq!(world.cache.failure(world.now, 7), None);
}

#[test]
fn flushing_goes_in_steps_and_finds_what_moves_meanwhile() {
    let mut world = World::new(CacheSettings { octets: 4 << 20, ..SETTINGS });
    (0..15_000).for_each(|i| _ = world.keep_a(&format!("n{i}.flushed.test"), 3600));
    (0..3_000).for_each(|i| _ = world.keep_a(&format!("n{i}.other.test"), 3600));
    let before = world.cache.entries();
    let what = Flush::Subtree(wire("flushed.test"));
    let (mut gone, mut cursor, mut steps) = (0, Some(0), 0);
    while let Some(at) = cursor {
        let (more, next) = world.cache.flush_step(&what, at, &mut world.counters);
        assert!(more <= 6_000, "{more}");
        (gone, cursor, steps) = (gone + more, next, steps + 1);
        (0..100).for_each(|i| _ = world.keep_a(&format!("n{steps}-{i}.other.test"), 3600));
    }
    assert!(steps > 2 && gone > before - 3_100, "{steps} {gone}");
    assert_eq!(flush(&mut world, &what), 0);
    world.cache.store.check();
}

#[test]
fn everything_is_flushed_and_its_memory_given_back() {
    let mut world = World::new(CacheSettings { octets: 4 << 20, ..SETTINGS });
    let empty = world.cache.octets();
    (0..10_000).for_each(|i| _ = world.keep_a(&format!("n{i}.test"), 3600));
    let entries = world.cache.entries();
    assert_eq!(flush(&mut world, &Flush::All), entries);
    assert_eq!(world.cache.entries(), 0);
    world.clean(world.now + Duration::from_secs(10));
    assert_eq!(world.cache.octets(), empty);
    let name = world.keep_a("n.test", 60);
    assert!(world.is_fresh(&name, KEY));
}

/// All portions of a dump.
fn dump(world: &World, unix_seconds: u64, octets_max: usize) -> Vec<Vec<u8>> {
    let (mut portions, mut cursor) = (Vec::new(), Some(0));
    while let Some(at) = cursor {
        let mut portion = Vec::new();
        cursor = world.cache.out(world.now, unix_seconds, 0, at, octets_max, &mut portion);
        assert!(portion.len() < octets_max + 1500, "{}", portion.len());
        portions.push(portion);
        assert!(portions.len() < 1000);
    }
    portions
}

/// A world of another process, which has just begun.
fn reload(portions: &[Vec<u8>], unix_seconds: u64) -> (World, usize) {
    let mut world = World::new(CacheSettings { stale: Duration::from_secs(1000), ..SETTINGS });
    world.now = Time::from_secs(1);
    let World { cache, counters, now } = &mut world;
    let taken = portions.iter().map(|portion| cache.take_in(*now, unix_seconds, 9, portion, counters).unwrap()).sum();
    (world, taken)
}

#[test]
fn a_dump_is_taken_in_with_its_ages() {
    let mut world = World::new(CacheSettings { stale: Duration::from_secs(1000), ..SETTINGS });
    let long = world.keep_a("long.test", 600);
    let short = world.keep_a("short.test", 60);
    let gone = name("gone.test");
    world.keep(&gone, KEY, &denial_of(&gone, 600));
    let signed = Key { dnssec_ok: true, checking_disabled: true, ..KEY };
    world.keep(&long, signed, &message(0, long.as_wire(), [&[&a(600), &a(600)], &[], &[]]));
    world.keep(&name("old.test"), Key { era: 4, ..KEY }, &message(0, name("old.test").as_wire(), [&[&a(9)], &[], &[]]));
    world.pass(30);
    let portions = dump(&world, 1_000_000, 100);
    assert!(portions.len() > 1);
    let (mut again, taken) = reload(&portions, 1_000_100);
    assert_eq!((taken, again.counters.cache_reloaded), (4, 4), "what is of another era stays behind");
    let key = |key: Key| Key { era: 9, ..key };
    let Found::Fresh(hit) = again.find(&long, key(KEY)) else { panic!("it lives for 600 seconds") };
    assert_eq!((hit.age, hit.answer.lifetime()), (Duration::from_secs(130), Duration::from_secs(600)));
    assert!(matches!(again.find(&short, key(KEY)), Found::Stale(_)));
    let Found::Fresh(hit) = again.find(&long, key(signed)) else { panic!("it is kept under its own key") };
    assert_eq!(hit.answer.message()[6..8], [0, 2]);
    let (Found::Fresh(then), Found::Fresh(now)) = (world.find(&long, KEY), again.find(&long, key(KEY))) else {
        panic!("both are fresh")
    };
    assert_eq!(then.answer.message(), now.answer.message());
    let below = name("below.gone.test");
    assert!(again.cache.find_above(again.now, &below, key(KEY), 0).is_some(), "who vouched for it is remembered");
    let (_, taken) = reload(&portions, 1_000_000 + 1_100);
    assert_eq!(taken, 3, "what has run out for good is left out");
    assert_eq!(reload(&portions, 1_000_000 + 10_000).1, 0);
    assert_eq!(reload(&portions, 0).1, 4, "a clock that was set back makes nothing older");
}

#[test]
fn an_origin_stays_one() {
    let mut world = World::new(SETTINGS);
    let gone = name("gone.test");
    let answer = Answer::parse(&denial_of(&gone, 60), gone.as_wire().len() + 4, &SETTINGS, true).unwrap();
    let World { cache, counters, now } = &mut world;
    cache.insert(*now, KEY.hash(&hash_key(), &gone), gone.as_wire(), KEY, &answer, counters);
    let (mut again, taken) = reload(&dump(&world, 1_000, 4096), 1_000);
    let Found::Fresh(hit) = again.find(&gone, Key { era: 9, ..KEY }) else { panic!("it is there") };
    assert_eq!((taken, hit.answer.cuts(), hit.answer.message()), (1, true, answer.as_ref().message()));
}

#[test]
fn what_is_known_anew_is_not_replaced() {
    let mut world = World::new(SETTINGS);
    let name = world.keep_a("n.test", 600);
    let portions = dump(&world, 1_000, 4096);
    world.pass(5);
    world.keep_a("n.test", 600);
    let World { cache, counters, now } = &mut world;
    assert_eq!(cache.take_in(*now, 1_100, 0, &portions[0], counters), Ok(0));
    let Found::Fresh(hit) = world.find(&name, KEY) else { panic!("it is there") };
    assert_eq!(hit.age, Duration::ZERO);
}

#[test]
fn the_order_of_eviction_survives() {
    let mut world = World::new(CacheSettings { octets: 256 << 10, ..SETTINGS });
    let hot: Vec<KeyedName> = (0..200).map(|i| world.keep_a(&format!("hot{i}.test"), 3600)).collect();
    for i in 0..3_000 {
        hot.iter().step_by(1 + i % 7).for_each(|name| _ = world.is_fresh(name, KEY));
        world.keep_a(&format!("once{i}.test"), 3600);
    }
    let portions = dump(&world, 1_000, 4096);
    let mut again = World::new(CacheSettings { octets: 256 << 10, ..SETTINGS });
    let World { cache, counters, now } = &mut again;
    portions.iter().for_each(|portion| _ = cache.take_in(*now, 1_000, 0, portion, counters).unwrap());
    (0..3_000).for_each(|i| _ = again.keep_a(&format!("other{i}.test"), 3600));
    let left = hot.iter().filter(|name| again.is_fresh(name, KEY)).count();
    assert!(left > 190, "{left}");
}

#[test]
fn a_portion_that_is_not_whole_is_refused_as_a_whole() {
    let mut world = World::new(SETTINGS);
    (0..3).for_each(|i| _ = world.keep_a(&format!("n{i}.test"), 600));
    let portion = dump(&world, 1_000, 4096).remove(0);
    let take = |portion: &[u8]| {
        let mut world = World::new(SETTINGS);
        let taken = world.cache.take_in(world.now, 1_000, 0, portion, &mut world.counters);
        assert!(taken.is_ok() || world.cache.entries() == 0);
        taken
    };
    assert_eq!((take(&portion), take(&[])), (Ok(3), Ok(0)));
    let length = (portion.len() - 1) / 3;
    for end in 1..portion.len() {
        let whole = (end - 1) % length == 0;
        assert_eq!(take(&portion[..end]), if whole { Ok((end - 1) / length) } else { Err(Malformed) }, "{end}");
    }
    let changed = |at: usize, octet: u8| {
        let mut portion = portion.clone();
        portion[at] = octet;
        take(&portion)
    };
    let message_at = 1 + 11;
    assert_eq!(changed(0, 2), Err(Malformed), "another version");
    assert_eq!(changed(message_at + 2, 0), Err(Malformed), "a question");
    assert_eq!(changed(message_at + 2, 0x82), Err(Malformed), "cut short");
    assert_eq!(changed(message_at + 2, 0xa0), Err(Malformed), "another opcode");
    assert_eq!(changed(message_at + 3, 2), Err(Malformed), "an error");
    assert_eq!(changed(message_at + 5, 2), Err(Malformed), "two questions");
    assert_eq!(changed(message_at + 12, 64), Err(Malformed), "no name");
    assert_eq!(changed(message_at + 12 + 9 + 3, 3), Err(Malformed), "another class");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_octets_do_harm(noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8), cut in any::<prop::sample::Index>()) {
        let mut world = world_with(&NAMES);
        let gone = name("gone.test");
        world.keep(&gone, KEY, &denial_of(&gone, 600));
        let mut portion = dump(&world, 1_000, 4096).remove(0);
        for (at, octet) in noise {
            let at = at.index(portion.len());
            portion[at] = octet;
        }
        portion.truncate(1 + cut.index(portion.len()));
        let mut again = World::new(CacheSettings { octets: 16 << 10, ..SETTINGS });
        let taken = again.cache.take_in(again.now, 1_000, 0, &portion, &mut again.counters);
        prop_assert!(taken.is_ok() || again.cache.entries() == 0);
        again.cache.store.check();
        // What was taken can be written.
        let mut out = Vec::new();
        again.cache.out(again.now, 1_000, 0, 0, 1 << 20, &mut out);
        let mut third = World::new(SETTINGS);
        prop_assert_eq!(third.cache.take_in(again.now, 1_000, 0, &out, &mut third.counters), Ok(again.cache.entries()));
    }
}
