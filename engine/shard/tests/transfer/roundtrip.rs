//! What `Outgoing` writes `Incoming` reads.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use ringdns_shard::transfer::{Content, Progress, Received};
use ringdns_shard::wire::rdata::rtype;
use ringdns_shard::zone::Image;
use ringdns_shard::zone::difference::Difference;

use super::common::*;

/// Names with common suffixes, so that there is something to compress.
fn owner() -> impl Strategy<Value = String> {
    let label =
        prop::sample::select(vec!["a", "b", "www", "mail", "xn--abc", "a-rather-long-label-of-forty-one-octets-x"]);
    prop::collection::vec(label, 1..5).prop_map(|labels| labels.join(".") + ".example.test")
}

fn record() -> impl Strategy<Value = Made> {
    let data = prop_oneof![
        any::<[u8; 4]>().prop_map(|data| (rtype::A, data.to_vec())),
        any::<[u8; 16]>().prop_map(|data| (rtype::AAAA, data.to_vec())),
        (any::<u16>(), owner()).prop_map(|(p, name)| (rtype::MX, [&p.to_be_bytes()[..], &wire(&name)].concat())),
        (any::<[u8; 6]>(), owner()).prop_map(|(p, name)| (rtype::SRV, [&p[..], &wire(&name)].concat())),
        owner().prop_map(|name| (rtype::PTR, wire(&name))),
        prop::collection::vec(any::<u8>(), 1..400).prop_map(|data| (65_280, data)),
    ];
    (owner(), data).prop_map(|(owner, (rtype, data))| made(&owner, rtype, &data))
}

fn zone_records() -> impl Strategy<Value = Vec<Made>> {
    prop::collection::vec(record(), 0..60)
}

fn differences(images: &[Arc<Image>]) -> Vec<Arc<Difference>> {
    images.windows(2).map(|pair| Arc::new(Difference::between(&pair[0], &pair[1]).unwrap())).collect()
}

fn as_set(image: &Image) -> BTreeSet<Made> {
    records(image).into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_whole_zone_arrives_as_it_was(
        zone_records in zone_records(),
        serial: u32,
        octets in 512..4_000usize,
        with_key: bool,
        incremental: bool,
    ) {
        let image = zone(serial, &zone_records);
        let key = with_key.then(key);
        let old = soa(serial.wrapping_sub(1));
        let (mut incoming, request) = ask(incremental.then_some(&old), key.as_ref(), false);
        let messages = answer(&request, &image, Content::Whole, key.as_deref(), octets);
        for (number, message) in messages.iter().enumerate() {
            prop_assert_eq!((&message[2..4], message[5]), (&[0x84, 0][..], u8::from(number == 0)));
            prop_assert!(message.len() <= octets || message[6..8] == [0, 1]);
        }
        let (last, before) = messages.split_last().unwrap();
        prop_assert!(feed(&mut incoming, before).unwrap().is_none());
        let Ok(Progress::Done(Received::Whole { builder, serial: got })) = incoming.take(NOW, &mut last.clone()) else {
            panic!("it ends with its last message");
        };
        let arrived = builder.finish().unwrap();
        prop_assert_eq!((got, records(&arrived)), (serial, records(&image)));
    }

    #[test]
    fn differences_arrive_as_they_were(
        versions in prop::collection::vec(zone_records(), 2..5),
        serial: u32,
        octets in 512..4_000usize,
        with_key: bool,
    ) {
        let images: Vec<_> = (0..).zip(&versions).map(|(i, records)| zone(serial.wrapping_add(i), records)).collect();
        let steps = differences(&images);
        let key = with_key.then(key);
        let old = soa(serial);
        let (mut incoming, request) = ask(Some(&old), key.as_ref(), false);
        let last = images.last().unwrap();
        let messages = answer(&request, last, Content::Differences(steps.clone()), key.as_deref(), octets);
        let Some(Received::Differences(arrived)) = feed(&mut incoming, &messages).unwrap() else {
            panic!("they are differences");
        };
        prop_assert!(arrived.iter().eq(steps.iter().map(|step| &**step)));
        let mut now = as_set(&images[0]);
        for step in &arrived {
            step.removed().for_each(|record| assert!(now.remove(&record.into())));
            step.added().for_each(|record| assert!(now.insert(record.into())));
        }
        prop_assert_eq!(now, as_set(last));
    }

    /// However a signed answer is bent, there is no zone, and no difference, other than the true one.
    #[test]
    fn a_bent_answer_never_makes_a_zone(
        zone_records in zone_records(),
        at: prop::sample::Index,
        octet: prop::sample::Index,
        bit in 0..8u8,
        what in 0..5u8,
    ) {
        let image = zone(7, &zone_records);
        let key = key();
        let (mut incoming, request) = ask(None, Some(&key), false);
        let mut messages = answer(&request, &image, Content::Whole, Some(&key), 700);
        let number = at.index(messages.len());
        let message = &mut messages[number];
        match what {
            0 => {
                let octet = octet.index(message.len());
                message[octet] ^= 1 << bit;
            }
            1 => message.truncate(octet.index(message.len())),
            2 => {
                messages.remove(number);
            }
            3 => {
                let again = message.clone();
                messages.insert(number, again);
            }
            _ => messages.rotate_left(number),
        }
        match feed(&mut incoming, &messages) {
            Ok(Some(Received::Whole { builder, .. })) => prop_assert_eq!(records(&builder.finish().unwrap()), records(&image)),
            Ok(Some(other)) => panic!("{other:?}"),
            Ok(None) | Err(_) => {}
        }
    }
}

#[test]
fn a_signed_zone_with_nsec3_arrives_as_it_was() {
    // An NSEC3 record's owner is no name of the zone, and its records come last.
    let hash = "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example.test";
    let nsec3 = [&[1, 0, 0, 0, 0, 20][..], &[7; 20], &[0, 1, 0x40]].concat();
    let zone_records = [
        made("example.test", rtype::NSEC3PARAM, &[1, 0, 0, 0, 0]),
        made(hash, rtype::NSEC3, &nsec3),
        made(hash, rtype::RRSIG, &[&[0, 50][..], &[0; 17], &wire("example.test"), &[9; 8]].concat()),
        a("b.c.d.example.test", 1),
    ];
    let image = zone(1, &zone_records);
    assert_eq!(records(&image).len(), 6);
    for octets in [64, 16_384] {
        let (mut incoming, request) = ask(None, None, false);
        let messages = answer(&request, &image, Content::Whole, None, octets);
        assert_eq!(messages.len() > 1, octets == 64);
        let Ok(Some(Received::Whole { builder, .. })) = feed(&mut incoming, &messages) else { panic!() };
        assert_eq!(records(&builder.finish().unwrap()), records(&image));
    }
}
