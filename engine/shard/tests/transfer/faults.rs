//! Answers that break a rule, each told by its rule; and answers that look odd and break none.

use ringdns_shard::transfer::{Ask, Bounds, Content, Fault, Incoming, Progress, Received};
use ringdns_shard::tsig::{Algorithm, BadAnswer, Key};
use ringdns_shard::wire::rdata::rtype::{self, AXFR, IXFR};

use super::common::*;

/// Feeds messages to a request for the whole zone.
fn whole(messages: &[Vec<u8>]) -> Result<Option<Received>, Fault> {
    feed(&mut ask(None, None, false).0, messages)
}

/// Feeds messages to a request for the differences since serial 5.
fn since_5(messages: &[Vec<u8>]) -> Result<Option<Received>, Fault> {
    feed(&mut ask(Some(&soa(5)), None, false).0, messages)
}

fn one(qtype: u16, answers: &[Made]) -> Vec<Vec<u8>> {
    vec![message(Some(qtype), answers)]
}

fn ns() -> Made {
    made("example.test", rtype::NS, &wire("ns.example.test"))
}

/// With one octet changed.
fn with(mut message: Vec<u8>, at: usize, octet: u8) -> Vec<Vec<u8>> {
    message[at] = octet;
    vec![message]
}

#[track_caller]
fn assert_fault(got: Result<Option<Received>, Fault>, text: &str) {
    match got {
        Err(fault) => assert!(fault.to_string().contains(text), "{fault}, not {text}"),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn the_requests_are_as_they_should_be() {
    let (_, axfr) = ask(None, None, false);
    let question = |qtype: u8| [&wire("example.test")[..], &[0, qtype, 0, 1]].concat();
    assert_eq!(axfr, [&[0x5a, 0xa5, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], &question(252)].concat());
    let (_, ixfr) = ask(Some(&soa(5)), None, false);
    let data = soa(5);
    let record = [&[0xc0, 12, 0, 6, 0, 1, 0, 0, 0, 0, 0, data.len() as u8][..], &data].concat();
    assert_eq!(ixfr, [&[0x5a, 0xa5, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0][..], &question(251), &record].concat());
    let (_, signed) = ask(Some(&soa(5)), Some(&key()), false);
    assert_eq!((signed.len(), signed[11]), (ixfr.len() + key().record_octets(), 1));
}

#[test]
fn an_answer_to_something_else_is_not_ours() {
    let good = message(Some(AXFR), &[made_soa(1), ns(), made_soa(1)]);
    assert!(matches!(whole(std::slice::from_ref(&good)), Ok(Some(_))));
    let question_at = 12 + apex().as_wire().len();
    for (what, bent) in [
        ("it is no response", with(good.clone(), 2, 0x04)),
        ("the id differs", with(good.clone(), 1, 0)),
        ("the opcode differs", with(good.clone(), 2, 0xa4)),
        ("the question differs", with(good.clone(), question_at + 1, 251)),
        ("the question differs", with(good.clone(), question_at + 3, 3)),
        ("the question differs", with(good.clone(), 13, b'f')),
        ("it has no question", vec![message(None, &[made_soa(1), ns(), made_soa(1)])]),
        ("malformed", with(good.clone(), 5, 2)),
        ("malformed", with(good.clone(), 7, 4)),
        ("malformed", vec![Vec::new()]),
        ("malformed", vec![good[..good.len() - 1].to_vec()]),
    ] {
        assert_fault(whole(&bent), what);
    }
    for rcode in 1..16 {
        let bent = with(good.clone(), 3, rcode);
        assert_eq!(whole(&bent).unwrap_err(), Fault::Refused(rcode.into()));
    }
    let mut upper = good;
    upper[13] = b'E';
    assert!(matches!(whole(&[upper]), Ok(Some(_))), "the question may come in another case");
}

#[test]
fn a_whole_zone_begins_and_ends_with_its_soa() {
    let a = || a("www.example.test", 1);
    let split = [message(Some(AXFR), &[made_soa(1)]), message(None, &[ns(), a()]), message(Some(AXFR), &[made_soa(1)])];
    assert!(matches!(whole(&split), Ok(Some(Received::Whole { serial: 1, .. }))));
    assert!(matches!(whole(&split[..2]), Ok(None)), "no zone before its end");
    for (what, messages) in [
        ("its first record is no SOA", one(AXFR, &[ns(), made_soa(1)])),
        ("a message has no records", one(AXFR, &[])),
        ("a message has no records", vec![split[0].clone(), message(None, &[])]),
        ("the last SOA is not the first one", one(AXFR, &[made_soa(1), ns(), made_soa(2)])),
        ("records follow the last SOA", one(AXFR, &[made_soa(1), ns(), made_soa(1), a()])),
        ("not of the zone", one(AXFR, &[made_soa(1), made("sub.example.test", rtype::SOA, &soa(1))])),
        ("not of the zone", one(AXFR, &[made("test", rtype::SOA, &soa(1))])),
        ("malformed", one(AXFR, &[made("example.test", rtype::SOA, &soa(1)[..50])])),
        (
            "www.example.org. is not in the zone example.test.",
            one(AXFR, &[made_soa(1), made("www.example.org", rtype::A, &[1; 4])]),
        ),
        ("not 4 octets", one(AXFR, &[made_soa(1), made("www.example.test", rtype::A, &[1; 5])])),
        ("type 41 does not belong", one(AXFR, &[made_soa(1), made("example.test", rtype::OPT, &[])])),
        ("malformed", one(AXFR, &[made_soa(1), made("www.example.test", rtype::MX, &[0, 1, 0xc0, 0xff])])),
    ] {
        assert_fault(whole(&messages), what);
    }
    let mut other_class = message(Some(AXFR), &[made_soa(1), ns()]);
    let class_at = 12 + 2 * apex().as_wire().len() + 4 + 3;
    other_class[class_at] = 3;
    assert_fault(whole(&[other_class]), "its class is not IN");
}

#[test]
fn after_its_end_and_after_a_fault_a_transfer_takes_nothing() {
    let good = message(Some(AXFR), &[made_soa(1), ns(), made_soa(1)]);
    let (mut incoming, _) = ask(None, None, false);
    assert!(matches!(feed(&mut incoming, std::slice::from_ref(&good)), Ok(Some(_))));
    assert_eq!(feed(&mut incoming, std::slice::from_ref(&good)).unwrap_err(), Fault::Over);
    let (mut incoming, _) = ask(None, None, false);
    assert!(feed(&mut incoming, &one(AXFR, &[made_soa(1), made_soa(2)])).is_err());
    assert_eq!(feed(&mut incoming, &[good]).unwrap_err(), Fault::Over);
}

#[test]
fn the_form_of_an_incremental_answer_is_recognised() {
    let (b, c) = (a("b.example.test", 1), a("c.example.test", 2));
    let steps = |answers: &[Made]| match since_5(&one(IXFR, answers)) {
        Ok(Some(Received::Differences(steps))) => {
            steps.iter().map(|step| (step.from_serial(), step.to_serial(), step.records())).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    let one_step = [made_soa(7), made_soa(5), b.clone(), made_soa(7), c.clone(), c.clone(), made_soa(7)];
    assert_eq!(steps(&one_step), [(5, 7, 5)]);
    let two_steps =
        [made_soa(7), made_soa(5), b.clone(), made_soa(6), made_soa(6), made_soa(7), c.clone(), made_soa(7)];
    assert_eq!(steps(&two_steps), [(5, 6, 3), (6, 7, 3)]);
    // The whole zone instead, at once or behind a message with the SOA alone.
    let whole = [message(Some(IXFR), &[made_soa(7)]), message(None, &[ns(), b.clone(), made_soa(7)])];
    assert!(matches!(since_5(&whole), Ok(Some(Received::Whole { serial: 7, .. }))));
    assert!(matches!(since_5(&one(IXFR, &[made_soa(7), ns(), made_soa(7)])), Ok(Some(Received::Whole { .. }))));
    // A zone of its SOA alone is a zone in form; that it has no NS is for the builder to say.
    let Ok(Some(Received::Whole { builder, .. })) = since_5(&one(IXFR, &[made_soa(7), made_soa(7)])) else { panic!() };
    assert!(builder.finish().is_err());
    for serial in [5, 4, 5u32.wrapping_sub(0x7fff_ffff)] {
        match since_5(&one(IXFR, &[made_soa(serial), ns()])) {
            Ok(Some(Received::Current { serial: told })) => assert_eq!(told, serial),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn differences_that_do_not_fit_together_are_a_fault() {
    let b = || a("b.example.test", 1);
    for (what, answers) in [
        ("do not begin at the serial that we have", vec![made_soa(7), made_soa(6), b(), made_soa(7)]),
        ("does not begin where the one before ends", vec![made_soa(7), made_soa(5), made_soa(6), b(), made_soa(5)]),
        ("does not begin where the one before ends", vec![made_soa(7), made_soa(5), made_soa(6), b(), made_soa(7)]),
        ("records follow the last SOA", vec![made_soa(7), made_soa(5), made_soa(7), b(), made_soa(7), b()]),
        ("is not in the zone", vec![made_soa(7), made_soa(5), made("example.org", rtype::A, &[1; 4])]),
        ("not of the zone", vec![made_soa(7), made_soa(5), made("b.example.test", rtype::SOA, &soa(7))]),
        ("last SOA is not the first", {
            let mut other = soa(7);
            *other.last_mut().unwrap() = 61;
            vec![made_soa(7), made_soa(5), made_soa(7), b(), made("example.test", rtype::SOA, &other)]
        }),
    ] {
        assert_fault(since_5(&one(IXFR, &answers)), what);
    }
    let cut = [made_soa(7), made_soa(5), b(), made_soa(7)];
    assert!(matches!(since_5(&one(IXFR, &cut)), Ok(None)), "no differences before their end");
}

#[test]
fn over_udp_the_answer_is_one_message() {
    let udp = |message: Vec<u8>| feed(&mut ask(Some(&soa(5)), None, true).0, &[message]);
    let all = [made_soa(7), made_soa(5), made_soa(7), a("b.example.test", 1), made_soa(7)];
    assert!(matches!(udp(message(Some(IXFR), &all)), Ok(Some(Received::Differences(_)))));
    assert!(matches!(udp(message(Some(IXFR), &[made_soa(5)])), Ok(Some(Received::Current { .. }))));
    assert_eq!(udp(message(Some(IXFR), &[made_soa(7)])).unwrap_err(), Fault::NeedsTcp, "it does not fit");
    assert_eq!(udp(message(Some(IXFR), &all[..4])).unwrap_err(), Fault::NeedsTcp);
    assert_eq!(udp(with(message(Some(IXFR), &all), 2, 0x86).remove(0)).unwrap_err(), Fault::NeedsTcp);
}

#[test]
fn what_does_not_end_is_cut_at_the_bounds() {
    let records: Vec<_> = (0..100).map(|i| a(&format!("host{i}.example.test"), i)).collect();
    let image = zone(1, &records);
    let octets: usize = image.each_record().map(|r| 10 + r.owner.len() + r.data.len()).sum();
    let soa_octets = 10 + apex().as_wire().len() + soa(1).len();
    let exact = Bounds { records: 103, octets: (octets + soa_octets) as u64 };
    let run = |bounds: Bounds| {
        let ask = Ask { zone: &apex(), since: None, id: ID, key: None, over_udp: false };
        let (mut incoming, request) = Incoming::begin(&ask, bounds, hash_key(), NOW);
        feed(&mut incoming, &answer(&request, &image, Content::Whole, None, 600))
    };
    assert!(matches!(run(exact), Ok(Some(Received::Whole { .. }))));
    assert_eq!(run(Bounds { records: 102, ..exact }).unwrap_err(), Fault::Bound("records"));
    assert_eq!(run(Bounds { octets: exact.octets - 1, ..exact }).unwrap_err(), Fault::Bound("octets"));
    // Short messages, long names: what counts is what it takes here.
    let long = format!("{0}.{0}.{0}.example.test", "x".repeat(60));
    let mut compressed = message(Some(AXFR), &[made_soa(1), made(&long, rtype::PTR, &wire(&long))]);
    compressed[7] = 102;
    let at = (compressed.len() - 2 * wire(&long).len() - 10) as u16;
    for _ in 0..100 {
        compressed.extend((0xc000 | at).to_be_bytes());
        compressed.extend([0, 12, 0, 1, 0, 0, 0, 1, 0, 2]);
        compressed.extend((0xc000 | at).to_be_bytes());
    }
    let ask = Ask { zone: &apex(), since: None, id: ID, key: None, over_udp: false };
    let bounds = Bounds { records: 1_000, octets: 20_000 };
    let (mut incoming, _) = Incoming::begin(&ask, bounds, hash_key(), NOW);
    assert!(compressed.len() < 2_500);
    assert_eq!(feed(&mut incoming, &[compressed]).unwrap_err(), Fault::Bound("octets"));
}

#[test]
fn empty_non_terminals_count_as_what_they_take() {
    // A name of many labels takes a node for each of them, unless the name before has had them laid out.
    let apart = |i: u8| a(&format!("{}h{i}.example.test", "x.".repeat(100)), i);
    let together = |i: u8| a(&format!("h{i}.{}example.test", "x.".repeat(100)), i);
    let run = |records: Vec<Made>, octets: u64| {
        let ask = Ask { zone: &apex(), since: None, id: ID, key: None, over_udp: false };
        let (mut incoming, _) = Incoming::begin(&ask, Bounds { records: 1_000, octets }, hash_key(), NOW);
        let answers = [vec![made_soa(1), ns()], records, vec![made_soa(1)]].concat();
        feed(&mut incoming, &one(AXFR, &answers))
    };
    let Ok(Some(Received::Whole { builder, .. })) = run((0..20).map(together).collect(), 25_000) else { panic!() };
    assert!(builder.finish().unwrap().octets() < 25_000);
    assert_eq!(run((0..20).map(apart).collect(), 25_000).unwrap_err(), Fault::Bound("octets"));
    let Ok(Some(Received::Whole { builder, .. })) = run((0..20).map(apart).collect(), 400_000) else { panic!() };
    assert!((200_000..400_000).contains(&builder.finish().unwrap().octets()));
}

#[test]
fn names_come_back_uncompressed_and_owners_in_lower_case() {
    let naptr = |name: &[u8]| [&[0, 1, 0, 2, 1, b'u', 3, b'E', b'2', b'U', 0][..], name].concat();
    let answers = [
        made_soa(1),
        ns(),
        Made {
            owner: b"\x01B\xc0\x0c".to_vec(),
            ..made("b.example.test", rtype::SRV, &[&[0; 6][..], b"\x02Ns\xc0\x0c"].concat())
        },
        made("n.example.test", rtype::NAPTR, &naptr(b"\x01x\xc0\x0c")),
        Made { data: [&b"\x02NS\xc0\x0c\x04host\xc0\x0c"[..], &soa(1)[soa(1).len() - 20..]].concat(), ..made_soa(1) },
    ];
    let Ok(Some(Received::Whole { builder, .. })) = whole(&one(AXFR, &answers)) else { panic!() };
    let image = builder.finish().unwrap();
    let find = |rtype: u16| records(&image).into_iter().find(|record| record.rtype == rtype).unwrap();
    assert_eq!(
        find(rtype::SRV),
        made("b.example.test", rtype::SRV, &[&[0; 6][..], b"\x02Ns\x07example\x04test\0"].concat())
    );
    assert_eq!(find(rtype::NAPTR).data, naptr(b"\x01x\x07example\x04test\0"));
    for cut in 0..11 {
        let short = made("n.example.test", rtype::NAPTR, &naptr(b"")[..cut]);
        assert_fault(whole(&one(AXFR, &[made_soa(1), short])), "malformed");
    }
}

#[test]
fn an_unsigned_or_wrongly_signed_answer_is_not_taken() {
    let image = zone(1, &[a("b.example.test", 1)]);
    let (mut incoming, request) = ask(None, Some(&key()), false);
    let unsigned = answer(&request, &image, Content::Whole, None, 600);
    assert_eq!(feed(&mut incoming, &unsigned).unwrap_err(), Fault::Signature(BadAnswer::Unsigned));
    // An error is told as what it is, signed or not.
    let (mut incoming, _) = ask(None, Some(&key()), false);
    assert_eq!(feed(&mut incoming, &with(unsigned[0].clone(), 3, 5)).unwrap_err(), Fault::Refused(5));
    // Another's answer, to a request of the same key and id.
    let (mut incoming, _) = ask(Some(&soa(0)), Some(&key()), false);
    let signed = answer(&request, &image, Content::Whole, Some(&key()), 600);
    let mut of_ixfr = signed;
    of_ixfr[0][12 + apex().as_wire().len() + 1] = 251;
    assert_eq!(feed(&mut incoming, &of_ixfr).unwrap_err(), Fault::Signature(BadAnswer::Mac));
    let guessed = std::sync::Arc::new(Key::new(key().name(), Algorithm::HmacSha256, b"guessed"));
    let (mut incoming, request) = ask(None, Some(&guessed), false);
    let (_, true_request) = ask(None, Some(&key()), false);
    assert_ne!(request, true_request);
    let signed = answer(&true_request, &image, Content::Whole, Some(&key()), 600);
    assert_eq!(feed(&mut incoming, &signed).unwrap_err(), Fault::Signature(BadAnswer::Mac));
    let (mut late, request) = ask(None, Some(&key()), false);
    let signed = answer(&request, &image, Content::Whole, Some(&key()), 600);
    assert_eq!(late.take(NOW + 301, &mut signed[0].clone()).unwrap_err(), Fault::Signature(BadAnswer::Time));
}

#[test]
fn a_transfer_whose_last_message_is_unsigned_is_not_taken() {
    let image = zone(1, &(0..60).map(|i| a(&format!("host{i}.example.test"), i)).collect::<Vec<_>>());
    let (mut incoming, request) = ask(None, Some(&key()), false);
    let mut messages = answer(&request, &image, Content::Whole, Some(&key()), 600);
    let unsigned = answer(&request, &image, Content::Whole, None, 600 - key().record_octets());
    assert_eq!(messages.len(), unsigned.len());
    *messages.last_mut().unwrap() = unsigned.last().unwrap().clone();
    let (last, before) = messages.split_last().unwrap();
    assert!(matches!(feed(&mut incoming, before), Ok(None)));
    assert_eq!(incoming.take(NOW, &mut last.clone()).unwrap_err(), Fault::Signature(BadAnswer::ManyUnsigned));
    // Unsigned ones before a signed one are under its signature (RFC 8945 §5.3.1): none may be slipped in.
    let (mut incoming, request) = ask(None, Some(&key()), false);
    let mut messages = answer(&request, &image, Content::Whole, Some(&key()), 600);
    messages.insert(1, message(None, &[a("slipped-in.example.test", 1)]));
    assert!(matches!(incoming.take(NOW, &mut messages[0].clone()), Ok(Progress::More)));
    assert!(matches!(incoming.take(NOW, &mut messages[1].clone()), Ok(Progress::More)));
    assert_eq!(incoming.take(NOW, &mut messages[2].clone()).unwrap_err(), Fault::Signature(BadAnswer::Mac));
}
