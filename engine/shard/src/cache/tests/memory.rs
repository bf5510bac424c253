//! The janitor, and that the store's books are right whatever is done in whatever order.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;

use super::super::testing::*;
use super::super::*;

#[test]
fn what_has_run_out_for_good_goes_in_small_steps_and_its_memory_with_it() {
    let mut world = World::new(CacheSettings { octets: 4 << 20, stale: Duration::from_secs(100), ..SETTINGS });
    let empty = world.cache.octets();
    assert_eq!(world.cache.janitor(world.now, &mut world.counters), None);
    (0..10_000).for_each(|i| _ = world.keep_a(&format!("short{i}.test"), 60));
    (0..1_000).for_each(|i| _ = world.keep_a(&format!("long{i}.test"), 3000));
    let entries = world.cache.entries();
    let full = world.cache.octets();
    let next = world.cache.janitor(world.now, &mut world.counters).unwrap();
    assert_eq!(next, world.now + Duration::from_secs(160), "then the first of them are to go");
    world.pass(159);
    world.clean(world.now);
    assert_eq!(world.cache.entries(), entries, "they are stale");
    world.pass(1);
    let before = world.counters.cache_expired;
    world.cache.janitor(world.now, &mut world.counters);
    let step = world.counters.cache_expired - before;
    assert!((1..2_000).contains(&step), "{step}");
    world.clean(world.now + Duration::from_secs(5));
    assert_eq!((world.counters.cache_expired, world.cache.entries()), (10_000, 1_000));
    assert!(world.cache.octets() < full / 4, "{} of {full}", world.cache.octets());
    world.cache.store.check();
    world.pass(3100);
    world.clean(world.now + Duration::from_secs(5));
    assert_eq!((world.cache.entries(), world.cache.octets()), (0, empty));
    assert_eq!(world.cache.janitor(world.now, &mut world.counters), None);
}

#[test]
fn holes_are_closed() {
    let mut world = World::new(CacheSettings { octets: 4 << 20, ..SETTINGS });
    (0..12_000)
        .for_each(|i| _ = world.keep_a(&format!("n{i}.{}.test", if i % 4 == 0 { "stays" } else { "goes" }), 3600));
    world.cache.flush(&Flush::Subtree(wire("goes.test")), &mut world.counters);
    let before = world.cache.octets();
    let left = world.cache.entries();
    world.clean(world.now + Duration::from_secs(10));
    let after = world.cache.octets();
    assert!(after < before / 2, "{before} {after}");
    assert_eq!(world.cache.entries(), left);
    let found = (0..12_000).step_by(4).filter(|i| world.is_fresh(&name(&format!("n{i}.stays.test")), KEY)).count();
    assert_eq!(found, left);
    world.cache.store.check();
}

#[test]
fn a_large_cache_is_small_before_it_is_used() {
    let mut world = World::new(CacheSettings { octets: 4 << 30, ..SETTINGS });
    (0..100).for_each(|i| _ = world.keep_a(&format!("n{i}.test"), 3600));
    // Two segments of a mebibyte, and the directory of the table.
    assert!(world.cache.store.taken() < 3 << 20, "{}", world.cache.store.taken());
    assert_eq!(world.cache.figures().entries, 100);
}

/// What is done to a cache.
#[derive(Clone, Debug)]
enum Step {
    Keep { name: u8, records: u8, ttl: u8 },
    Deny { name: u8, ttl: u8 },
    Find { name: u8 },
    Flush { name: u8, subtree: bool },
    Limit { kibibytes: u8 },
    Janitor,
    Pass { seconds: u8 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (any::<u8>(), any::<u8>(), any::<u8>()).prop_map(|(name, records, ttl)| Step::Keep { name, records, ttl }),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(name, ttl)| Step::Deny { name, ttl }),
        8 => any::<u8>().prop_map(|name| Step::Find { name }),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(name, subtree)| Step::Flush { name, subtree }),
        1 => any::<u8>().prop_map(|kibibytes| Step::Limit { kibibytes }),
        2 => Just(Step::Janitor),
        2 => any::<u8>().prop_map(|seconds| Step::Pass { seconds }),
    ];
    prop::collection::vec(step, 1..400)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// A model remembers what came last for each name: the cache may forget, and never finds anything else.
    #[test]
    fn the_books_are_right_whatever_is_done(steps in steps()) {
        let settings = CacheSettings { octets: 24 << 10, stale: Duration::from_secs(50), ..SETTINGS };
        let mut world = World::new(settings);
        let mut model: HashMap<u8, (u8, Time, u8)> = HashMap::new();
        let text = |name: u8| format!("n{}.s{}.test", name, name % 4);
        let records = vec![a(0); 64];
        let mut was_lowered = false;
        for step in steps {
            match step {
                Step::Keep { name: i, records: count, ttl } => {
                    let count = 1 + count / 8 * u8::from(count % 8 == 0);
                    let mut records: Vec<Vec<u8>> = records[..count.into()].to_vec();
                    records.iter_mut().for_each(|record| record[9] = ttl);
                    let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
                    let name = name(&text(i));
                    world.keep(&name, KEY, &message(0, name.as_wire(), [&records, &[], &[]]));
                    if ttl > 0 {
                        model.insert(i, (count, world.now, ttl));
                    }
                }
                Step::Deny { name: i, ttl } => {
                    let name = name(&text(i));
                    world.keep(&name, KEY, &denial_of(&name, ttl.into()));
                    if ttl > 0 {
                        model.insert(i, (0, world.now, ttl));
                    }
                }
                Step::Find { name: i } => {
                    let (hit, fresh) = match world.find(&name(&text(i)), KEY) {
                        Found::Fresh(hit) => (hit, true),
                        Found::Stale(hit) => (hit, false),
                        Found::Nothing => continue,
                    };
                    let found = (hit.answer.message()[7], hit.age);
                    let &(count, came, ttl) = model.get(&i).expect("only what came is found");
                    let age = world.now - came;
                    prop_assert_eq!(found, (count, age));
                    prop_assert_eq!(fresh, age < Duration::from_secs(ttl.into()));
                    prop_assert!(age < Duration::from_secs(u64::from(ttl) + 50));
                }
                Step::Flush { name: i, subtree } => {
                    let what = wire(&text(i));
                    let what = if subtree { Flush::Subtree(what) } else { Flush::Name(what) };
                    world.cache.flush(&what, &mut world.counters);
                    prop_assert!(matches!(world.find(&name(&text(i)), KEY), Found::Nothing));
                }
                Step::Limit { kibibytes } => {
                    let octets = (4 + usize::from(kibibytes) / 8) << 10;
                    was_lowered |= octets < world.cache.settings().octets;
                    world.cache.set_settings(CacheSettings { octets, ..settings });
                }
                Step::Janitor => _ = world.cache.janitor(world.now, &mut world.counters),
                Step::Pass { seconds } => world.pass(seconds.into()),
            }
            world.cache.store.check();
            prop_assert!(was_lowered || world.cache.octets() <= world.cache.settings().octets);
        }
        let until = world.now + Duration::from_secs(400);
        world.clean(until);
        prop_assert!(world.cache.octets() <= world.cache.settings().octets);
        prop_assert_eq!(world.cache.entries(), 0);
    }
}
