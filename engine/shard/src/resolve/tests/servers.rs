//! Which servers are asked when, and what is said of them.

use super::*;

#[test]
fn a_query_that_cannot_be_sent_goes_to_the_next_server_at_once() {
    let mut rig = Rig::new(&[UDP, UDP]);
    rig.begin(1).unwrap();
    let first = rig.sent_one();
    assert!(rig.fail(&first).is_none());
    let second = rig.sent_one();
    assert_ne!(first.server, second.server);
    let finished = rig.fail(&second).unwrap();
    assert_eq!((finished.result.unwrap_err(), &finished.waiters[..]), (Failure::Unreachable, &[1][..]));
    assert!(rig.fail(&second).is_none(), "it is over");
    assert_eq!(rig.counters.upstream_failures, 2);
    assert_eq!((rig.state(0).unreachable, rig.state(1).unreachable), (1, 1));
    rig.assert_nothing_is_left();
}

#[test]
fn a_silent_server_is_left_for_the_next_and_its_late_reply_is_welcome() {
    let mut rig = Rig::new(&[UDP, UDP]);
    rig.begin(1).unwrap();
    let first = rig.sent_one();
    assert!(rig.wake().is_none());
    let patience = rig.now - Time::ZERO;
    assert!(patience <= TIMEOUT / 2, "{patience:?}");
    assert_eq!((rig.counters.upstream_timeouts, rig.state(0).silent), (1, 1));
    let second = rig.sent_one();
    assert_ne!(second.server, first.server);
    rig.now = rig.now + Duration::from_millis(5);
    assert!(rig.reply(&first, &first.answer()).unwrap().result.is_ok());
    assert!(rig.state(0).round_trip.unwrap() > patience, "the round trip is that of the attempt that was answered");
    assert_eq!((rig.state(1).answered, rig.state(1).round_trip), (0, None));
    assert!(rig.reply(&second, &second.answer()).is_none());
    assert_eq!(rig.counters.upstream_unexpected, 1);
    rig.assert_nothing_is_left();
}

#[test]
fn one_server_that_is_silent_is_asked_again_with_growing_patience() {
    let mut rig = Rig::new(&[UDP]);
    rig.begin(1).unwrap();
    let mut asked_at = vec![Time::ZERO];
    rig.sent_one();
    while rig.resolver.in_flight() > 0 {
        rig.wake();
        asked_at.extend(rig.sent().iter().map(|_| rig.now));
    }
    assert!((2..=ATTEMPTS_MAX).contains(&asked_at.len()), "{asked_at:?}");
    let waits: Vec<Duration> = asked_at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.is_sorted(), "{waits:?}");
    let state = rig.state(0);
    assert_eq!((state.asked, state.answered), (asked_at.len() as u64, 0));
    assert!(state.silent >= state.asked - 1);
    rig.assert_nothing_is_left();
}

#[test]
fn several_servers_at_once_and_the_first_good_answer_wins() {
    let mut rig = Rig::with(Bounds::DEFAULT, Kind::Resolver, Strategy::Parallel, &[UDP, TCP, UDP]);
    rig.begin(1).unwrap();
    let sent = rig.sent();
    assert_eq!(sent.len(), 3);
    let mut others = sent.into_iter();
    let bad = others.find(Sent::is_udp).unwrap();
    assert!(rig.reply(&bad, &bad.reply(2, [0; 3], &[])).is_none());
    assert!(rig.sent().is_empty(), "the others are being asked already");
    rig.begin(2).unwrap();
    let sent = rig.sent();
    let (good, rest): (Vec<_>, Vec<_>) = sent.into_iter().partition(|sent| sent.server == address(0));
    assert!(rig.reply(&good[0], &good[0].answer()).unwrap().result.is_ok());
    assert_eq!(rig.ended().len(), 1, "the connection is not needed");
    for late in &rest {
        assert!(rig.reply(late, &late.answer()).is_none());
    }
    assert_eq!(rig.counters.upstream_unexpected, rest.len() as u64);
    rig.wake_until_finished();
    rig.assert_nothing_is_left();
}

#[test]
fn a_server_that_is_back_is_told_by_a_probe() {
    let mut rig = Rig::new(&[UDP]);
    rig.bring_down();
    assert!(!rig.resolver.take_back(rig.now));
    let probe = |rig: &mut Rig| {
        let probe = rig.next_probe();
        let begins = (probe.name.clone(), probe.qtype);
        rig.on(|resolver, event| resolver.probe(event, probe));
        assert!(!rig.resolver.is_idle() && rig.resolver.in_flight() == 0, "it takes the place of no question");
        (begins, rig.sent_one())
    };
    // The first is not answered.
    let ((name, _), sent) = probe(&mut rig);
    assert!(sent.octets[HEADER_OCTETS..].to_ascii_lowercase().starts_with(&name));
    let timeouts = rig.counters.upstream_timeouts;
    assert!(rig.wake().is_none());
    assert_eq!(rig.counters.upstream_timeouts, timeouts + 1);
    rig.assert_nothing_is_left();
    assert!(rig.reply(&sent, &sent.octets).is_none());
    assert_eq!(rig.counters.upstream_unexpected, 1);
    // The next is, with an error: it is there.
    let (_, sent) = probe(&mut rig);
    let mut forged = sent.octets.clone();
    forged[2] |= 0x80;
    forged[HEADER_OCTETS + 1] = 0x7f;
    assert!(rig.reply(&sent, &forged).is_none());
    assert!(rig.servers.next_probe().is_some() && rig.counters.upstream_mismatched == 1);
    assert!(rig.reply(&sent, &[&sent.id().to_be_bytes()[..], &[0x80, 5, 0, 0, 0, 0, 0, 0, 0, 0]].concat()).is_none());
    assert!(rig.resolver.take_back(rig.now) && !rig.resolver.take_back(rig.now));
    assert_eq!(rig.servers.next_probe(), None);
    assert_eq!(rig.counters.upstream_probes, 2);
    rig.assert_nothing_is_left();
}

#[test]
fn a_server_that_is_back_is_asked_once_more_by_who_has_asked_in_vain() {
    let mut rig = Rig::new(&[UDP]);
    let last = rig.bring_down();
    let (spent, open) = (last + 1, last + 2);
    // One asks as often as it may, and has time left; the other has just asked.
    let (spent_name, hash) = (name(spent), spent.into());
    let choice = rig.servers.choose(rig.now, &[0], &KeyedName::new(&key(), &spent_name).unwrap(), 0);
    let waiter = Some(move || spent);
    let ask = Ask { hash, name: &spent_name, key: KEY, waiter, zone: 0, suffix_labels: 0, stale_at: None };
    rig.on(|resolver, event| resolver.begin(event, ask, choice, Duration::from_secs(1_000))).unwrap();
    while rig.counters.upstream_attempts_exhausted == 0 {
        assert!(rig.wake().is_none(), "it has not ended");
    }
    rig.begin(open).unwrap();
    rig.sent();
    let probe = rig.next_probe();
    rig.on(|resolver, event| resolver.probe(event, probe));
    let probe = rig.sent_one();
    let refused = probe.reply(5, [0; 3], &[]);
    assert!(rig.reply(&probe, &refused).is_none());
    assert!(rig.resolver.take_back(rig.now));
    let (back, mut sent) = (rig.now, Vec::new());
    while sent.len() < 2 {
        assert!(rig.wake().is_none());
        sent.extend(rig.sent());
    }
    assert!(rig.now - back <= Duration::from_millis(256), "{:?}", rig.now - back);
    assert!(sent.len() == 2 && sent[0].question() != sent[1].question(), "each asks once more: {sent:?}");
    for sent in sent {
        assert!(rig.reply(&sent, &sent.answer()).unwrap().result.is_ok());
    }
    rig.assert_nothing_is_left();
}

#[test]
fn a_probe_over_tcp_ends_with_its_exchange() {
    let mut rig = Rig::new(&[TCP]);
    while rig.servers.next_probe().is_none() {
        rig.begin(1).unwrap();
        let sent = rig.sent_one();
        rig.fail(&sent).unwrap();
    }
    let probe = |rig: &mut Rig| {
        let probe = rig.next_probe();
        rig.on(|resolver, event| resolver.probe(event, probe));
        rig.sent_one()
    };
    let refused = probe(&mut rig);
    assert!(rig.fail(&refused).is_none());
    rig.assert_nothing_is_left();
    assert!(rig.fail(&refused).is_none());
    let silent = probe(&mut rig);
    assert_ne!(silent.route, refused.route);
    assert!(rig.wake().is_none());
    assert_eq!(rig.ended(), [silent.exchange()]);
    rig.assert_nothing_is_left();
    let garbage = probe(&mut rig);
    assert!(rig.reply(&garbage, b"garbage").is_none());
    rig.assert_nothing_is_left();
    let answered = probe(&mut rig);
    let mut octets = answered.octets[..HEADER_OCTETS].to_vec();
    octets[2..].copy_from_slice(&[0x80, 2, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert!(rig.reply(&answered, &octets).is_none());
    assert!(rig.resolver.take_back(rig.now));
    rig.assert_nothing_is_left();
}

#[test]
fn questions_end_with_the_servers_that_they_began_with() {
    let mut rig = Rig::new(&[UDP, UDP]);
    rig.begin(1).unwrap();
    rig.begin(2).unwrap();
    let sent = rig.sent();
    rig.set_servers(Kind::Resolver, Strategy::Fallback, &[]);
    assert!(rig.reply(&sent[0], &sent[0].answer()).unwrap().result.is_ok());
    assert!(rig.wake().is_none());
    let next = rig.sent_one();
    assert_eq!(next.server, address(1));
    assert!(rig.reply(&next, &next.answer()).unwrap().result.is_ok());
    rig.assert_nothing_is_left();
}
