//! Answers as people see them.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::testing::*;
use super::super::*;
use crate::images::CacheSettings;
use crate::wire::name::Name;
use crate::wire::rdata::rtype;

const STALE: CacheSettings = CacheSettings { stale: Duration::from_secs(1000), prefetch: true, ..SETTINGS };

/// All that is kept for a name.
fn look(world: &World, text: &str) -> Vec<Cached> {
    let Looked { answers, left_out } = world.cache.look(world.now, KEY.era, &wire(text));
    assert_eq!(left_out, 0);
    answers
}

/// Every part of a list.
fn list(world: &World, era: u16, below: &Name) -> Vec<Vec<Cached>> {
    let (mut parts, mut cursor) = (Vec::new(), Some(0));
    while let Some(at) = cursor {
        let listed = world.cache.list(world.now, era, below, at);
        assert!(listed.next.is_none_or(|next| next > at), "a list goes on");
        parts.push(listed.answers);
        cursor = listed.next;
    }
    parts
}

#[test]
fn a_name_is_shown_with_every_type_and_what_would_be_answered() {
    let mut world = World::new(STALE);
    let name = world.keep_a("n1.test", 60);
    world.keep_a("below.n1.test", 60);
    let text = Key { qtype: 65_300, dnssec_ok: true, checking_disabled: true, ..KEY };
    let mut other = message(0, name.as_wire(), [&[&a(20)], &[], &[]]);
    other[12 + name.as_wire().len()..][..2].copy_from_slice(&65_300_u16.to_be_bytes());
    world.keep(&name, text, &other);
    world.keep(&name, Key { era: 1, ..KEY }, &message(0, name.as_wire(), [&[&a(5)], &[], &[]]));
    world.pass(15);
    let found = look(&world, "N1.test");
    let told: Vec<_> = found.iter().map(|cached| (cached.qtype, cached.seconds_left, cached.rcode)).collect();
    assert_eq!(told, [(rtype::A, 45, 0), (65_300, 5, 0)]);
    assert_eq!(
        found.iter().map(|cached| (cached.dnssec_ok, cached.checking_disabled)).collect::<Vec<_>>(),
        [(false, false), (true, true)]
    );
    assert!(found.iter().all(|cached| cached.name == wire("n1.test") && cached.octets > cached.message.len()));
    let [ref first, ref second] = found[..] else { panic!("{found:?}") };
    assert_eq!(first.message, {
        let mut expected = message(0, name.as_wire(), [&[&a(45)], &[], &[]]);
        expected[..4].copy_from_slice(&[0, 0, 0x80, 0x80]);
        expected
    });
    assert_eq!(second.message[3] & 0x10, 0x10, "CD");
    world.pass(10);
    let told: Vec<_> = look(&world, "n1.test").iter().map(|cached| (cached.qtype, cached.seconds_left)).collect();
    assert_eq!(told, [(rtype::A, 35), (65_300, -5)]);
    let stale = &look(&world, "n1.test")[1].message;
    assert_eq!(stale[stale.len() - 7], 30, "the TTL of a stale answer");
    assert!(look(&world, "n2.test").is_empty());
    world.pass(1_000);
    assert_eq!(look(&world, "n1.test").len(), 1, "what has run out for good is not shown");
}

#[test]
fn a_denial_is_shown_once_with_the_type_that_brought_it() {
    let mut world = World::new(SETTINGS);
    let name = name("none.test");
    world.keep(&name, KEY, &denial_of(&name, 60));
    let found = look(&world, "none.test");
    assert_eq!(found.iter().map(|cached| (cached.qtype, cached.rcode)).collect::<Vec<_>>(), [(rtype::A, 3)]);
    assert_eq!(found[0].message[3] & 15, 3);
}

#[test]
fn of_many_or_long_answers_some_are_shown_and_all_are_counted() {
    const KEPT: u16 = 100;
    for (data, shown) in [(4, 64), (60_000, 4)] {
        let mut world = World::new(CacheSettings { octets: 64 << 20, ..SETTINGS });
        let name = name("n1.test");
        let head = [&b"\xc0\x0c\xff\0\0\x01\0\0\0\x3c"[..], &(data as u16).to_be_bytes()].concat();
        let record = [head, vec![0; data]].concat();
        for qtype in 65_280..65_280 + KEPT {
            world.keep(&name, Key { qtype, ..KEY }, &message(0, name.as_wire(), [&[&record], &[], &[]]));
        }
        let looked = world.cache.look(world.now, KEY.era, &wire("n1.test"));
        assert_eq!((looked.answers.len(), looked.left_out), (shown, usize::from(KEPT) - shown), "{data}");
        assert!(looked.answers.iter().all(|cached| cached.message.len() > data));
        world.pass(61);
        assert_eq!(world.cache.look(world.now, KEY.era, &wire("n1.test")), Looked::default(), "what is gone is gone");
    }
}

#[test]
fn a_list_comes_in_parts_and_has_each_answer_once() {
    let mut world = World::new(SETTINGS);
    for i in 0..3_000 {
        world.keep_a(&format!("n{i}.{}.test", if i % 10 == 0 { "one" } else { "other" }), 60);
    }
    world.keep_a("one.test", 60);
    world.keep_a("none.test", 60);
    let kept = world.cache.entries();
    assert!(kept > 2_500, "{kept}");
    let all = list(&world, KEY.era, &Name::root());
    assert!(all.len() > 2 && all.iter().all(|part| part.len() <= 1_024), "{}", all.len());
    let names: BTreeSet<Name> = all.iter().flatten().map(|cached| cached.name.clone()).collect();
    assert_eq!((names.len(), all.iter().flatten().count()), (kept, kept));
    assert!(all.iter().flatten().all(|cached| cached.message.is_empty() && cached.seconds_left == 60));
    let below: Vec<Cached> = list(&world, KEY.era, &wire("One.test")).concat();
    assert!(below.len() > 200 && below.iter().all(|cached| cached.name.to_string().contains("one.test")));
    assert!(below.iter().all(|cached| cached.name != wire("none.test")));
    assert!(list(&world, 1, &Name::root()).concat().is_empty());
    assert!(list(&world, KEY.era, &wire("elsewhere.test")).concat().is_empty());
    // Wherever somebody says that the last part has ended.
    assert_eq!(world.cache.list(world.now, KEY.era, &Name::root(), u64::MAX), Listed::default());
}

#[test]
fn to_look_is_not_to_ask() {
    let mut world = World::new(STALE);
    let name = world.keep_a("n1.test", 100);
    world.pass(95);
    for _ in 0..10 {
        look(&world, "n1.test");
        list(&world, KEY.era, &Name::root());
    }
    let asked: Vec<bool> = (0..3)
        .map(|_| match world.find(&name, KEY) {
            Found::Fresh(hit) => hit.refresh,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(asked, [false, false, true], "it is fetched anew when it has been asked for three times");
}
