//! What is found, and for how long.

use std::time::Duration;

use super::super::testing::*;
use super::super::*;
use crate::images::CacheSettings;
use crate::wire::rdata::rtype;

const STALE: CacheSettings = CacheSettings { stale: Duration::from_secs(1000), prefetch: true, ..SETTINGS };

#[test]
fn answers_are_found_until_they_run_out_and_only_under_their_key() {
    let mut world = World::new(SETTINGS);
    let name = world.keep_a("n1.test", 60);
    world.pass(59);
    assert!(world.is_fresh(&name, KEY));
    world.pass(1);
    assert!(matches!(world.find(&name, KEY), Found::Nothing));
    world.keep_a("n1.test", 60);
    assert_eq!(world.cache.entries(), 1, "the new answer takes the place of the old");
    assert!(world.is_fresh(&name, KEY));
    for other in [
        Key { qtype: rtype::AAAA, ..KEY },
        Key { dnssec_ok: true, ..KEY },
        Key { checking_disabled: true, ..KEY },
        Key { era: 1, ..KEY },
    ] {
        assert!(matches!(world.find(&name, other), Found::Nothing), "{other:?}");
    }
    assert!(!world.is_fresh(&super::super::testing::name("n2.test"), KEY));
}

#[test]
fn what_has_run_out_is_stale_for_its_time() {
    let mut world = World::new(STALE);
    let name = world.keep_a("n1.test", 60);
    world.pass(60);
    let Found::Stale(hit) = world.find(&name, KEY) else { panic!("it has run out") };
    assert_eq!((hit.age, hit.answer.rcode(), hit.refresh), (Duration::from_secs(60), 0, false));
    assert_eq!(hit.answer.to_answer().lifetime(), Duration::from_secs(60));
    world.pass(999);
    assert!(matches!(world.find(&name, KEY), Found::Stale(_)));
    world.pass(1);
    assert!(matches!(world.find(&name, KEY), Found::Nothing));
    world.keep_a("n1.test", 60);
    assert!(world.is_fresh(&name, KEY));
}

#[test]
fn a_name_that_does_not_exist_is_found_for_every_type() {
    let mut world = World::new(STALE);
    let name = name("none.test");
    let aaaa = Key { qtype: rtype::AAAA, ..KEY };
    world.keep(&name, KEY, &denial_of(&name, 60));
    for key in [KEY, aaaa] {
        let Found::Fresh(hit) = world.find(&name, key) else { panic!("{key:?}") };
        assert_eq!((hit.answer.rcode(), hit.answer.denies_name()), (3, true));
    }
    assert!(matches!(world.find(&name, Key { dnssec_ok: true, ..aaaa }), Found::Nothing), "without its proof");
    world.pass(61);
    assert!(matches!(world.find(&name, aaaa), Found::Stale(_)));
    world.keep_a("none.test", 60);
    assert!(world.is_fresh(&name, KEY));
    assert!(matches!(world.find(&name, aaaa), Found::Nothing), "the name has come into being");
    assert_eq!((world.cache.entries(), world.counters.cache_superseded), (1, 1));
    world.pass(61);
    world.keep(&name, KEY, &denial_of(&name, 60));
    assert_eq!((world.cache.entries(), world.counters.cache_superseded), (1, 2), "and is gone again");
}

#[test]
fn the_denial_of_an_alias_target_is_kept_for_its_type_alone() {
    let mut world = World::new(SETTINGS);
    let name = name("alias.test");
    let alias = b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x04\x01x\xc0\x12";
    world.keep(&name, KEY, &vouched(message(3, name.as_wire(), [&[alias], &[&soa_at(18, 60, 60)], &[]])));
    let Found::Fresh(hit) = world.find(&name, KEY) else { panic!("it is kept (RFC 2308 section 2.1)") };
    assert_eq!((hit.answer.rcode(), hit.answer.denies_name()), (3, false));
    assert!(!world.is_fresh(&name, Key { qtype: rtype::CNAME, ..KEY }), "the alias itself exists");
}

#[test]
fn a_fresh_answer_comes_before_a_denial_and_the_later_of_two_stale_ones_before_the_other() {
    let mut world = World::new(STALE);
    let name = world.keep_a("n.test", 600);
    let aaaa = Key { qtype: rtype::AAAA, ..KEY };
    world.pass(10);
    world.keep(&name, aaaa, &denial_of(&name, 60));
    let rcode = |world: &mut World, key| match world.find(&name, key) {
        Found::Fresh(hit) => (true, hit.answer.rcode()),
        Found::Stale(hit) => (false, hit.answer.rcode()),
        Found::Nothing => panic!("nothing is found"),
    };
    assert_eq!((rcode(&mut world, KEY), rcode(&mut world, aaaa)), ((true, 0), (true, 3)));
    world.pass(700);
    assert_eq!(rcode(&mut world, KEY), (false, 3));
    let mut world = World::new(STALE);
    world.keep_a("n.test", 5);
    world.pass(10);
    world.keep(&name, aaaa, &denial_of(&name, 60));
    assert_eq!(rcode(&mut world, KEY), (true, 3), "a fresh denial comes before a stale answer");
}

#[test]
fn a_denial_holds_for_names_below_where_somebody_vouches() {
    let mut world = World::new(STALE);
    let owner = name("gone.zone.test");
    let below = name("a.b.gone.zone.test");
    let above = |world: &mut World, name: &KeyedName, labels| {
        let found = world.cache.find_above(world.now, name, KEY, labels);
        found.map(|hit| hit.answer.name().to_vec())
    };
    assert_eq!(above(&mut world, &below, 0), None);
    let mut plain = denial_of(&owner, 60);
    plain[3] &= !0x20;
    world.keep(&owner, KEY, &plain);
    assert_eq!(above(&mut world, &below, 0), None, "nobody vouches for it");
    world.keep(&owner, KEY, &denial_of(&owner, 60));
    for labels in 0..3 {
        assert_eq!(above(&mut world, &below, labels).as_deref(), Some(owner.as_wire()));
    }
    assert_eq!(above(&mut world, &below, 3), None, "another route has what is below");
    assert_eq!(above(&mut world, &owner, 0), None, "the name itself is found as it is");
    assert_eq!(above(&mut world, &name("a.b.here.zone.test"), 0), None);
    let signed = world.cache.find_above(world.now, &below, Key { dnssec_ok: true, ..KEY }, 0);
    assert!(signed.is_none());
    world.pass(60);
    assert_eq!(above(&mut world, &below, 0), None, "a stale one holds for its own name alone");
    world.keep(&owner, KEY, &denial_of(&owner, 60));
    assert!(above(&mut world, &below, 0).is_some());
    world.keep_a("a.b.gone.zone.test", 60);
    assert_eq!(above(&mut world, &name("c.gone.zone.test"), 0), None, "a name below exists: so does the name");
    assert_eq!(world.counters.cache_superseded, 1);
}

#[test]
fn what_is_asked_for_often_is_said_to_run_out_once() {
    let mut world = World::new(STALE);
    let name = world.keep_a("hot.test", 100);
    let refresh = |world: &mut World| match world.find(&name, KEY) {
        Found::Fresh(hit) => hit.refresh,
        _ => panic!("it is fresh"),
    };
    world.pass(90);
    assert!(!refresh(&mut world) && !refresh(&mut world), "a tenth of its time is left");
    world.pass(1);
    assert!(refresh(&mut world), "asked for three times");
    assert!(!refresh(&mut world), "said once");
    world.keep_a("hot.test", 100);
    world.pass(95);
    assert_eq!([0; 4].map(|_| refresh(&mut world)), [false, false, true, false], "and again for the next answer");
    world.keep_a("hot.test", 9);
    world.pass(8);
    assert_eq!([0; 4].map(|_| refresh(&mut world)), [false; 4], "it is too short");
    world.cache.set_settings(CacheSettings { prefetch: false, ..STALE });
    world.keep_a("hot.test", 100);
    world.pass(95);
    assert_eq!([0; 4].map(|_| refresh(&mut world)), [false; 4], "it is turned off");
}

#[test]
fn failures_are_remembered_until_an_answer_comes() {
    let settings = CacheSettings { failure_ttl: Duration::from_secs(5), ..SETTINGS };
    let mut world = World::new(settings);
    let name = name("bad.test");
    let hash = KEY.hash(&hash_key(), &name);
    let World { cache, counters, now } = &mut world;
    cache.failed(*now, hash, Failure::Errors, counters);
    assert_eq!(cache.failure(*now, hash), Some(Failure::Errors));
    cache.forget_failures();
    assert_eq!(cache.failure(*now, hash), None);
    cache.failed(*now, hash, Failure::Unreachable, counters);
    world.keep_a("bad.test", 0);
    assert_eq!(world.cache.failure(world.now, hash), None, "an answer came, if one that may not be kept");
    let World { cache, counters, now } = &mut world;
    cache.set_settings(SETTINGS);
    cache.failed(*now, hash, Failure::Errors, counters);
    assert_eq!((cache.failure(*now, hash), counters.cache_failures_displaced), (None, 0), "they are not remembered");
    cache.set_settings(CacheSettings { octets: 32 << 10, ..settings });
    (0..1000).for_each(|i| cache.failed(*now, i << 9, Failure::Errors, counters));
    assert!(counters.cache_failures_displaced > 0);
}

#[test]
fn an_answer_longer_than_a_quarter_of_the_cache_is_not_kept_and_counted() {
    let mut world = World::new(CacheSettings { octets: 4000, ..SETTINGS });
    let name = name("big.test");
    let records = vec![a(60); 100];
    let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    world.keep(&name, KEY, &message(0, name.as_wire(), [&records, &[], &[]]));
    assert_eq!((world.cache.entries(), world.counters.cache_too_long, world.counters.cache_inserts), (0, 1, 0));
    world.keep(&name, KEY, &message(0, name.as_wire(), [&records[..20], &[], &[]]));
    assert_eq!((world.cache.entries(), world.counters.cache_inserts), (1, 1));
}
