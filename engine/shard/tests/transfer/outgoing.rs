//! How the answer to a transfer request is cut into messages.

use ringdns_shard::limits::TRANSFER_MESSAGE_OCTETS;
use ringdns_shard::transfer::{Asked, Content, Outgoing, Received};
use ringdns_shard::wire::message::Header;
use ringdns_shard::wire::rdata::rtype;

use super::common::*;

fn outgoing(records: &[Made]) -> Outgoing {
    let (_, request) = ask(None, None, false);
    Outgoing::new(&asked(&request), zone(1, records), Content::Whole, None)
}

#[test]
fn the_first_message_alone_has_question_and_opt() {
    let image = zone(1, &(0..200).map(|i| a(&format!("host{i}.example.test"), i)).collect::<Vec<_>>());
    let (_, request) = ask(None, None, false);
    for (dnssec_ok, bits) in [(None, 0), (Some(false), 0), (Some(true), 0x80)] {
        let asked = Asked { flags: 0x0110, dnssec_ok, ..asked(&request) };
        let messages = drain(Outgoing::new(&asked, image.clone(), Content::Whole, None).with_message_octets(1_000));
        assert!(messages.len() > 2);
        for (number, message) in messages.iter().enumerate() {
            let header = Header::parse(message).unwrap();
            assert_eq!((header.id, header.flags), (ID, 0x8500), "AA, and RD as it was asked");
            let first = u16::from(number == 0);
            assert_eq!(header.counts[0], first);
            assert_eq!(header.counts[3], if dnssec_ok.is_some() { first } else { 0 });
        }
        if dnssec_ok.is_some() {
            assert_eq!(messages[0][messages[0].len() - 11..], [0, 0, 41, 4, 208, 0, 0, bits, 0, 0, 0]);
        }
    }
}

#[test]
fn the_soa_alone_is_one_message() {
    let (mut incoming, request) = ask(Some(&soa(7)), None, true);
    let messages = answer(&request, &zone(7, &[a("b.example.test", 1)]), Content::Current, None, 512);
    assert_eq!((messages.len(), &messages[0][6..8]), (1, &[0, 1][..]));
    assert!(matches!(feed(&mut incoming, &messages), Ok(Some(Received::Current { serial: 7 }))));
}

#[test]
fn messages_are_full_and_no_longer_than_they_may_be() {
    let records: Vec<_> = (0..5_000).map(|i| a(&format!("host{i}.example.test"), i as u8)).collect();
    let messages = drain(outgoing(&records));
    for message in &messages[..messages.len() - 1] {
        assert!((TRANSFER_MESSAGE_OCTETS - 40..=TRANSFER_MESSAGE_OCTETS).contains(&message.len()), "{}", message.len());
    }
    // The owner's first label, a pointer, the fixed fields, the address: nothing is written twice.
    let octets: usize = messages.iter().map(Vec::len).sum();
    let least: usize = (0..5_000).map(|i| format!("host{i}").len() + 1 + 2 + 10 + 4).sum();
    assert!(octets < least + 60 * messages.len() + 200, "{octets} for at least {least}");
}

#[test]
fn a_record_longer_than_a_message_should_be_has_one_for_itself() {
    let long = [made("b.example.test", 65_280, &[7; 40_000]), a("c.example.test", 1), a("a.example.test", 1)];
    let messages = drain(outgoing(&long));
    let longest = messages.iter().map(Vec::len).max().unwrap();
    assert!(messages.len() == 3 && longest > 40_000);
    let (mut incoming, _) = ask(None, None, false);
    let Ok(Some(Received::Whole { builder, .. })) = feed(&mut incoming, &messages) else { panic!() };
    assert_eq!(records(&builder.finish().unwrap()), records(&zone(1, &long)));
}

#[test]
fn a_record_that_fits_no_message_ends_the_answer() {
    let mut answer = outgoing(&[made("b.example.test", 65_280, &[7; 65_535])]);
    let mut buffer = vec![0; 65_535];
    assert!(answer.next(NOW, &mut buffer).is_some(), "what comes before it");
    for _ in 0..2 {
        assert_eq!(answer.next(NOW, &mut buffer), None);
        assert!(answer.has_failed() && !answer.is_done());
    }
}

#[test]
fn a_buffer_without_room_ends_the_answer_and_is_not_written_behind_its_end() {
    let (_, request) = ask(None, Some(&key()), false);
    for room in 0..400 {
        let signer = signer(&request, &key());
        let image = zone(1, &[a("b.example.test", 1)]);
        let mut answer = Outgoing::new(&asked(&request), image, Content::Whole, Some(signer));
        let mut buffer = [0; 400];
        let mut octets = 0;
        while let Some(message) = answer.next(NOW, &mut buffer[..room]) {
            assert!(message <= room);
            octets += message;
        }
        assert!(answer.has_failed() != answer.is_done());
        assert_eq!(answer.is_done(), octets > 0 && !answer.has_failed(), "{room}");
    }
}

/// The step from one message to the next does not depend on how many came before.
#[test]
fn a_set_of_many_records_goes_on_where_it_stopped() {
    let many: Vec<_> =
        (0..9_000u16).map(|i| made("b.example.test", rtype::TXT, &[&[2][..], &i.to_be_bytes()].concat())).collect();
    let messages = drain(outgoing(&many));
    assert!(messages.len() > 8);
    let (mut incoming, _) = ask(None, None, false);
    let Ok(Some(Received::Whole { builder, .. })) = feed(&mut incoming, &messages) else { panic!() };
    assert_eq!(records(&builder.finish().unwrap()), records(&zone(1, &many)));
}

#[test]
fn names_that_overflow_the_table_are_written_out_and_read_back() {
    let many: Vec<_> = (0..3_000)
        .map(|i| {
            made(&format!("{i}.a{i}.b{i}.c{i}.example.test"), rtype::PTR, &wire(&format!("x.c{}.example.test", i / 2)))
        })
        .collect();
    let (mut incoming, request) = ask(None, None, false);
    let messages = answer(&request, &zone(1, &many), Content::Whole, None, 65_535);
    let Ok(Some(Received::Whole { builder, .. })) = feed(&mut incoming, &messages) else { panic!() };
    assert_eq!(records(&builder.finish().unwrap()), records(&zone(1, &many)));
}
