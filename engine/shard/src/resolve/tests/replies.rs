//! What servers, and those who pretend to be one, may send.

use super::*;
use crate::cache::Reply;

const NO_RECORDS: [u16; 3] = [0; 3];

/// What a client gets of the answer to question `number`.
fn written(answer: &Answer, number: u32) -> Vec<u8> {
    let question = [&name(number)[..], &[0, 1, 0, 1]].concat();
    let reply = Reply { id: 1, flags: 0, question: &question, opt: None, limit: 512, stale: false };
    let mut out = [0; 512];
    let (octets, _) = answer.write(&mut out, Duration::ZERO, &reply);
    out[..octets].to_vec()
}

#[test]
fn what_is_no_reply_is_counted_and_changes_nothing() {
    let mut rig = Rig::new(&[UDP]);
    rig.begin(1).unwrap();
    let sent = rig.sent_one();
    let other_id = |octets: &mut Vec<u8>| octets[0] ^= 1;
    let other_name = |octets: &mut Vec<u8>| octets[20] ^= 1;
    let other_type = |octets: &mut Vec<u8>| octets[HEADER_OCTETS + name(1).len() + 1] = 28;
    let other_class = |octets: &mut Vec<u8>| octets[HEADER_OCTETS + name(1).len() + 3] = 3;
    let no_question = |octets: &mut Vec<u8>| octets[5] = 0;
    let two_questions = |octets: &mut Vec<u8>| octets[5] = 2;
    let a_query = |octets: &mut Vec<u8>| octets[2] &= 0x7f;
    let other_opcode = |octets: &mut Vec<u8>| octets[2] |= 0x10;
    let cut = |octets: &mut Vec<u8>| octets.truncate(octets.len() - 1);
    let header_cut = |octets: &mut Vec<u8>| octets.truncate(11);
    let more_promised = |octets: &mut Vec<u8>| octets[7] = 2;
    let too_many_promised = |octets: &mut Vec<u8>| octets[6] = 0xff;
    let opt = b"\0\0\x29\x04\xd0\0\0\0\0\0\0";
    let two_opts = |octets: &mut Vec<u8>| {
        octets[11] = 2;
        octets.extend_from_slice(&[&opt[..], opt].concat());
    };
    let opt_of_a_name = |octets: &mut Vec<u8>| {
        octets[11] = 1;
        octets.extend_from_slice(&[b"\x01a", &opt[..]].concat());
    };
    let opt_as_an_answer = |octets: &mut Vec<u8>| {
        octets[7] = 2;
        octets.extend_from_slice(opt);
    };
    type Change<'a> = (&'a dyn Fn(&mut Vec<u8>), fn(&Counters) -> u64);
    let changes: [Change<'_>; 15] = [
        (&other_id, |c| c.upstream_unexpected),
        (&other_name, |c| c.upstream_mismatched),
        (&other_type, |c| c.upstream_mismatched),
        (&other_class, |c| c.upstream_mismatched),
        (&no_question, |c| c.upstream_mismatched),
        (&two_questions, |c| c.upstream_mismatched),
        (&a_query, |c| c.upstream_malformed),
        (&other_opcode, |c| c.upstream_malformed),
        (&cut, |c| c.upstream_malformed),
        (&header_cut, |c| c.upstream_malformed),
        (&more_promised, |c| c.upstream_malformed),
        (&too_many_promised, |c| c.upstream_malformed),
        (&two_opts, |c| c.upstream_malformed),
        (&opt_of_a_name, |c| c.upstream_malformed),
        (&opt_as_an_answer, |c| c.upstream_malformed),
    ];
    for (i, (change, counter)) in changes.into_iter().enumerate() {
        let mut octets = sent.answer();
        change(&mut octets);
        let before = counter(&rig.counters);
        assert!(rig.reply(&sent, &octets).is_none(), "change {i}");
        assert_eq!(counter(&rig.counters), before + 1, "change {i}");
    }
    let stranger = Sent { server: address(9), ..sent.clone() };
    assert!(rig.reply(&stranger, &sent.answer()).is_none());
    let Route::Udp(socket) = sent.route else { panic!("{sent:?}") };
    let elsewhere = Sent { route: Route::Udp(socket ^ 1), ..sent.clone() };
    assert!(rig.reply(&elsewhere, &sent.answer()).is_none());
    assert_eq!(rig.counters.upstream_unexpected, 3);
    assert_eq!((rig.state(0).answered, rig.state(0).in_flight), (0, 1), "none of it was a reply");

    assert!(rig.reply(&sent, &sent.answer()).unwrap().result.is_ok());
    assert!(rig.reply(&sent, &sent.answer()).is_none(), "once");
    assert_eq!(rig.counters.upstream_unexpected, 4);
    rig.assert_nothing_is_left();
}

#[test]
fn an_answer_brings_who_waits_and_what_the_server_is() {
    let mut rig = Rig::with(Bounds::DEFAULT, Kind::Authoritative, Strategy::Fallback, &[UDP]);
    rig.begin(7).unwrap();
    let question = rig.question(7).unwrap();
    assert_eq!(rig.resolver.details(question), (7, &name(7)[..], KEY));
    rig.resolver.join(question, || 70).unwrap();
    let sent = rig.sent_one();
    rig.now = Time::ZERO + Duration::from_millis(30);
    let finished = rig.reply(&sent, &sent.answer()).unwrap();
    assert_eq!((finished.hash, &*finished.name, finished.key), (7, &name(7)[..], KEY));
    assert_eq!((finished.kind, &finished.waiters[..]), (Kind::Authoritative, &[7, 70][..]));
    assert_eq!(finished.result.unwrap().0.lifetime(), Duration::from_secs(3600));
    assert_eq!(rig.state(0).round_trip, Some(Duration::from_millis(30)));
    rig.assert_nothing_is_left();
}

#[test]
fn letters_of_other_case_are_confirmed_over_tcp() {
    let mut rig = Rig::new(&[UDP]);
    rig.begin(1).unwrap();
    let sent = rig.sent_one();
    assert!(sent.question().iter().any(u8::is_ascii_uppercase) && sent.question().iter().any(u8::is_ascii_lowercase));
    let lower = |sent: &Sent| {
        let mut octets = sent.answer();
        octets[HEADER_OCTETS..HEADER_OCTETS + name(1).len()].make_ascii_lowercase();
        octets
    };
    assert!(rig.reply(&sent, &lower(&sent)).is_none());
    assert_eq!(rig.counters.upstream_case_changed, 1);
    let connection = rig.sent_one();
    assert!(!connection.is_udp() && connection.server == sent.server);
    assert!(rig.reply(&sent, &lower(&sent)).is_none(), "a second one opens no second connection");
    assert!(rig.sent().is_empty());
    // Over a connection, it is the server's own word: from now on it is asked in small letters.
    let finished = rig.reply(&connection, &lower(&connection)).unwrap();
    assert!(finished.result.is_ok());
    rig.assert_nothing_is_left();
    rig.begin(2).unwrap();
    let sent = rig.sent_one();
    assert!(!sent.question().iter().any(u8::is_ascii_uppercase));
    assert!(rig.reply(&sent, &sent.answer()).is_some());
    rig.assert_nothing_is_left();
}

#[test]
fn the_right_datagram_is_welcome_while_a_doubt_is_settled() {
    let mut rig = Rig::new(&[UDP]);
    rig.begin(1).unwrap();
    let sent = rig.sent_one();
    let mut forged = sent.answer();
    forged[HEADER_OCTETS + 1] ^= 0x20;
    assert!(rig.reply(&sent, &forged).is_none());
    let connection = rig.sent_one();
    assert!(rig.reply(&sent, &sent.answer()).unwrap().result.is_ok());
    assert_eq!(rig.ended(), [connection.exchange()]);
    rig.assert_nothing_is_left();
    // The server keeps case, as its reply has shown: whatever a forger does, it is asked with capitals on.
    for number in 2..20 {
        rig.begin(number).unwrap();
        let sent = rig.sent_one();
        assert!(sent.question().iter().any(u8::is_ascii_uppercase), "{number}");
        let mut forged = sent.answer();
        forged[HEADER_OCTETS..HEADER_OCTETS + name(1).len()].make_ascii_lowercase();
        assert!(rig.reply(&sent, &forged).is_none());
        let connection = rig.sent_one();
        assert!(rig.reply(&connection, &connection.answer()).is_some());
    }
    rig.assert_nothing_is_left();
}

#[test]
fn a_server_without_connections_that_loses_case_is_asked_in_small_letters_in_the_end() {
    let mut rig = Rig::new(&[UDP]);
    let mut failed = 0;
    for number in 1..10 {
        rig.begin(number).unwrap();
        let sent = rig.sent_one();
        let mut octets = sent.answer();
        octets[HEADER_OCTETS..HEADER_OCTETS + name(1).len()].make_ascii_lowercase();
        if let Some(finished) = rig.reply(&sent, &octets) {
            assert!(finished.result.is_ok());
            break;
        }
        let connection = rig.sent_one();
        assert_eq!(rig.fail(&connection).unwrap().result.unwrap_err(), Failure::Unreachable);
        failed += 1;
    }
    assert_eq!((failed, rig.state(0).unreachable), (3, 0), "that it takes no connections does not make it unreachable");
    rig.assert_nothing_is_left();
}

#[test]
fn cookies_are_sent_and_a_strange_one_is_a_forgery() {
    let mut rig = Rig::new(&[UDP]);
    rig.begin(1).unwrap();
    let sent = rig.sent_one();
    let client = sent.cookie().to_vec();
    assert_eq!(client.len(), 8);
    let strange = [client.iter().map(|octet| !octet).collect(), vec![7; 16]].concat();
    let too_long = [client.clone(), vec![7; 33]].concat();
    let too_short = [client.clone(), vec![7; 7]].concat();
    for (i, forged) in [&strange, &too_long, &too_short, &client[..3].to_vec()].into_iter().enumerate() {
        assert!(rig.reply(&sent, &sent.answer_with_cookie(forged, 0)).is_none());
        assert_eq!(rig.counters.upstream_cookies_forged, i as u64 + 1);
    }
    // A server that makes none sends ours back, or nothing.
    assert!(rig.reply(&sent, &sent.answer_with_cookie(&client, 0)).is_some());
    rig.begin(2).unwrap();
    let sent = rig.sent_one();
    assert_eq!(sent.cookie(), client);
    let whole = [client, vec![7; 16]].concat();
    assert!(rig.reply(&sent, &sent.answer_with_cookie(&whole, 0)).is_some());
    rig.begin(3).unwrap();
    assert_eq!(rig.sent_one().cookie(), whole);
}

#[test]
fn a_cookie_that_is_missing_is_asked_for_over_tcp() {
    let mut rig = Rig::new(&[UDP]);
    rig.begin(1).unwrap();
    let sent = rig.sent_one();
    let whole = [sent.cookie(), &[7; 8]].concat();
    rig.reply(&sent, &sent.answer_with_cookie(&whole, 0)).unwrap();

    rig.begin(2).unwrap();
    let sent = rig.sent_one();
    assert!(rig.reply(&sent, &sent.answer()).is_none());
    assert!(rig.reply(&sent, &sent.answer_with_cookie(&whole[..8], 0)).is_none());
    assert!(rig.reply(&sent, &[&sent.id().to_be_bytes()[..], &[0x80, 5, 0, 0, 0, 0, 0, 0, 0, 0]].concat()).is_none());
    assert_eq!(rig.counters.upstream_cookies_missing, 3);
    let connection = rig.sent_one();
    assert_eq!(connection.cookie(), whole);
    // It has no cookies any more: over a connection it is believed.
    let (_, by) = rig.reply(&connection, &connection.answer()).unwrap().result.unwrap();
    assert_eq!(by, log::Asked { tcp: true, server: connection.server });
    rig.begin(3).unwrap();
    let sent = rig.sent_one();
    assert_eq!(sent.cookie(), &whole[..8]);
    assert!(rig.reply(&sent, &sent.answer()).is_some());
    rig.assert_nothing_is_left();
}

#[test]
fn a_wanted_cookie_is_brought_once_and_then_a_connection_made() {
    let mut rig = Rig::new(&[UDP, UDP]);
    rig.begin(1).unwrap();
    let sent = rig.sent_one();
    let wanted = [sent.cookie(), &[1; 8]].concat();
    // BADCOOKIE is 23: 1 in the OPT record, 7 in the header.
    let bad_cookie = |sent: &Sent, server: u8| {
        let mut octets = sent.answer_with_cookie(&[&wanted[..8], &[server; 8]].concat(), 1);
        octets[3] |= 7;
        octets
    };
    assert!(rig.reply(&sent, &bad_cookie(&sent, 1)).is_none());
    let again = rig.sent_one();
    assert_eq!((again.is_udp(), again.server, again.cookie()), (true, sent.server, &wanted[..]));
    assert!(rig.reply(&again, &bad_cookie(&again, 2)).is_none());
    let connection = rig.sent_one();
    assert_eq!((connection.is_udp(), connection.server), (false, sent.server));
    assert!(rig.reply(&connection, &bad_cookie(&connection, 3)).is_none());
    let next = rig.sent_one();
    assert_ne!(next.server, sent.server, "it does not even take a connection");
    assert_eq!((rig.counters.upstream_bad_cookies, rig.counters.upstream_errors), (2, 1));
    assert!(rig.reply(&next, &next.answer()).is_some());
    rig.assert_nothing_is_left();
}

#[test]
fn a_server_that_cannot_read_edns_is_asked_without() {
    for rcode in [1, 4] {
        let mut rig = Rig::new(&[UDP, UDP]);
        rig.begin(1).unwrap();
        let sent = rig.sent_one();
        assert!(sent.has_edns());
        // A header alone is what such servers send.
        let bare = [&sent.id().to_be_bytes()[..], &[0x80, rcode, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
        assert!(rig.reply(&sent, &bare).is_none());
        let plain = rig.sent_one();
        assert_eq!((plain.has_edns(), plain.server), (false, sent.server));
        assert!(rig.reply(&plain, &plain.answer()).unwrap().result.is_ok());
        assert_eq!((rig.counters.upstream_edns_refused, rig.counters.upstream_errors), (1, 0));
        rig.begin(2).unwrap();
        let sent = rig.sent_one();
        assert!(!sent.has_edns(), "it is known now");
        assert!(rig.reply(&sent, &sent.answer()).is_some());
        rig.now = rig.now + Duration::from_hours(2);
        rig.begin(3).unwrap();
        let sent = rig.sent_one();
        assert!(sent.has_edns(), "it may have learnt");
        rig.reply(&sent, &sent.answer()).unwrap();
        rig.assert_nothing_is_left();
    }
}

#[test]
fn a_server_that_answers_formerr_whatever_it_is_asked_is_left_for_the_next() {
    let mut rig = Rig::new(&[UDP, UDP]);
    rig.begin(1).unwrap();
    for has_edns in [true, false] {
        let sent = rig.sent_one();
        assert_eq!((sent.has_edns(), sent.server), (has_edns, address(0)));
        assert!(rig.reply(&sent, &sent.reply(1, NO_RECORDS, &[])).is_none());
    }
    let next = rig.sent_one();
    assert_eq!((next.has_edns(), next.server), (true, address(1)));
    assert_eq!(rig.counters.upstream_errors, 1);
    rig.reply(&next, &next.answer()).unwrap();
    rig.begin(2).unwrap();
    assert!(rig.sent_one().has_edns(), "EDNS was not what it minded");
}

#[test]
fn what_is_no_answer_sends_to_the_next_server() {
    // NS of test., which is above the suffix.
    let referral = b"\x04test\0\0\x02\0\x01\0\0\x0e\x10\0\x0b\x02ns\x01a\x04test\0";
    let foreign = b"\x01a\x04test\0\0\x01\0\x01\0\0\x0e\x10\0\x04\xc0\0\x02\x01";
    type Reply<'a> = (&'a dyn Fn(&Sent) -> Vec<u8>, u64, u64);
    let replies: [Reply<'_>; 5] = [
        (&|sent| sent.reply(2, NO_RECORDS, &[]), 1, 0),
        (&|sent| sent.reply(5, NO_RECORDS, &[]), 1, 0),
        (&|sent| sent.reply(0, NO_RECORDS, &[]), 0, 1),
        (&|sent| sent.reply(0, [0, 1, 0], referral), 0, 1),
        (&|sent| sent.reply(0, [1, 0, 0], foreign), 0, 1),
    ];
    for (i, (bad, errors, useless)) in replies.into_iter().enumerate() {
        let mut rig = Rig::with(Bounds::DEFAULT, Kind::Authoritative, Strategy::Fallback, &[UDP, TCP]);
        rig.begin_as(1, |ask| ask.suffix_labels = 2).unwrap();
        let first = rig.sent_one();
        assert!(rig.reply(&first, &bad(&first)).is_none(), "{i}");
        let second = rig.sent_one();
        assert_eq!((rig.counters.upstream_errors, rig.counters.upstream_useless), (errors, useless), "{i}");
        let finished = rig.reply(&second, &bad(&second)).unwrap();
        assert_eq!(finished.result.unwrap_err(), Failure::Errors, "{i}");
        assert_eq!((rig.state(0).answered, rig.state(1).answered), (1, 1), "they are there, though");
        rig.assert_nothing_is_left();
    }
}

#[test]
fn what_else_comes_with_an_answer_is_left_out() {
    let mut rig = Rig::new(&[UDP]);
    rig.begin(1).unwrap();
    let sent = rig.sent_one();
    let foreign = b"\x04evil\x04test\0\0\x01\0\x01\0\0\x0e\x10\0\x04\xc0\0\x02\x02";
    let octets = sent.reply(flags::RA, [2, 0, 0], &[ADDRESS, foreign].concat());
    let (answer, _) = rig.reply(&sent, &octets).unwrap().result.unwrap();
    assert_eq!(rig.counters.upstream_scrubbed, 1);
    let octets = written(&answer, 1);
    assert_eq!((octets[7], &octets[octets.len() - 4..]), (1, &[192, 0, 2, 1][..]));
    rig.assert_nothing_is_left();
}

#[test]
fn the_empty_answer_of_a_resolver_is_the_last_resort() {
    let mut rig = Rig::new(&[UDP, UDP]);
    rig.begin(1).unwrap();
    let first = rig.sent_one();
    assert!(rig.reply(&first, &first.reply(flags::RA, [0, 0, 1], ADDRESS)).is_none());
    let second = rig.sent_one();
    let finished = rig.reply(&second, &second.reply(2, NO_RECORDS, &[])).unwrap();
    let (answer, by) = finished.result.unwrap();
    assert_eq!((answer.rcode(), answer.lifetime()), (0, Duration::ZERO));
    assert_eq!(by, log::Asked { tcp: false, server: first.server }, "who said it, not who was asked last");
    assert_eq!(written(&answer, 1)[6..12], [0; 6], "what came beside the question is none of it");

    rig.begin(2).unwrap();
    let first = rig.sent_one();
    assert!(rig.reply(&first, &first.reply(flags::RA, NO_RECORDS, &[])).is_none());
    let second = rig.sent_one();
    let finished = rig.reply(&second, &second.answer()).unwrap();
    let (answer, by) = finished.result.unwrap();
    assert!(!answer.lifetime().is_zero(), "a server with more to say is believed");
    assert_eq!(by.server, second.server);
    rig.assert_nothing_is_left();
}

#[test]
fn two_truncated_replies_of_one_server_open_one_connection() {
    let mut rig = Rig::new(&[UDP]);
    rig.begin(1).unwrap();
    let first = rig.sent_one();
    assert!(rig.wake().is_none());
    let second = rig.sent_one();
    // What is cut short may end in the middle of a record.
    assert!(rig.reply(&first, &first.reply(flags::TC, [1, 0, 0], &ADDRESS[..5])).is_none());
    let connection = rig.sent_one();
    assert!(!connection.is_udp());
    assert!(rig.reply(&second, &second.reply(flags::TC, NO_RECORDS, &[])).is_none());
    assert_eq!(rig.orders, []);
    assert!(rig.fail(&connection).is_some());
    assert_eq!(rig.state(0).unreachable, 0);
    rig.assert_nothing_is_left();
}

#[test]
fn a_truncated_reply_over_tcp_is_no_answer() {
    let mut rig = Rig::new(&[TCP]);
    rig.begin(1).unwrap();
    let sent = rig.sent_one();
    let finished = rig.reply(&sent, &sent.reply(flags::TC, NO_RECORDS, &[])).unwrap();
    assert_eq!(finished.result.unwrap_err(), Failure::Unreachable);
    assert_eq!(rig.counters.upstream_malformed, 1);
    rig.assert_nothing_is_left();
}

#[test]
fn what_comes_over_a_connection_and_is_no_reply_sends_to_the_next_server() {
    let mut rig = Rig::new(&[TCP, TCP, TCP, UDP]);
    rig.begin(1).unwrap();
    let first = rig.sent_one();
    let mut other_id = first.answer();
    other_id[1] ^= 1;
    assert!(rig.reply(&first, &other_id).is_none());
    let second = rig.sent_one();
    assert!(rig.reply(&second, &second.answer()[..7]).is_none());
    let third = rig.sent_one();
    let mut other_name = third.answer();
    other_name[HEADER_OCTETS + 1] = b'-';
    assert!(rig.reply(&third, &other_name).is_none());
    let Counters { upstream_unexpected, upstream_malformed, upstream_mismatched, .. } = rig.counters;
    assert_eq!((upstream_unexpected, upstream_malformed, upstream_mismatched), (1, 1, 1));
    let last = rig.sent_one();
    assert!(rig.reply(&last, &last.answer()).is_some());
    assert_eq!(rig.ended(), [], "each exchange was over with its reply");
    rig.assert_nothing_is_left();
}
