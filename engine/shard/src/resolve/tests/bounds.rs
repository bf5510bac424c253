//! Every bound, and what is left when questions end.

use super::*;
use crate::limits::PROBES_MAX;

fn rig(resolves: usize, waiters: usize) -> Rig {
    let bounds = Bounds { resolves, waiters, udp_ports: 1, zone_resolves: usize::MAX, ..Bounds::DEFAULT };
    Rig::with(bounds, Kind::Resolver, Strategy::Fallback, &[UDP])
}

#[test]
fn attempts_are_bounded() {
    let mut rig = Rig::new(&[TCP; ATTEMPTS_MAX]);
    rig.begin(1).unwrap();
    let mut attempts = 0;
    let finished = loop {
        attempts += 1;
        let sent = rig.sent_one();
        // Each server could be asked twice: the second time without EDNS.
        if let Some(finished) = rig.reply(&sent, &sent.reply(1, [0; 3], &[])) {
            break finished;
        }
    };
    assert_eq!((attempts, finished.result.unwrap_err()), (ATTEMPTS_MAX, Failure::Errors));
    assert!(rig.counters.upstream_attempts_exhausted > 0);
    rig.assert_nothing_is_left();
}

#[test]
fn what_is_left_of_a_former_question_does_not_touch_the_next() {
    let mut rig = Rig::new(&[TCP]);
    rig.begin(1).unwrap();
    let former = rig.sent_one();
    rig.fail(&former).unwrap();
    rig.begin(2).unwrap();
    let present = rig.sent_one();
    assert_ne!(former.route, present.route);
    assert!(rig.fail(&former).is_none());
    assert!(rig.reply(&former, &former.answer()).is_none());
    assert_eq!((rig.resolver.in_flight(), rig.counters.upstream_unexpected), (1, 1));
    assert!(rig.fail(&present).is_some());
    rig.assert_nothing_is_left();
}

#[test]
fn a_query_of_an_ended_attempt_is_not_written() {
    let mut rig = Rig::new(&[UDP]);
    rig.begin(1).unwrap();
    let [Order::Ask(first)] = rig.orders[..] else { panic!("{:?}", rig.orders) };
    let sent = rig.sent_one();
    assert!(rig.reply(&sent, &sent.reply(flags::TC, [0; 3], &[])).is_none());
    let mut out = [0; 512];
    assert!(rig.resolver.write_query(&rig.servers, first, &mut out).is_none(), "it is asked over TCP now");
    let connection = rig.sent_one();
    rig.reply(&connection, &connection.answer()).unwrap();
    assert!(rig.resolver.write_query(&rig.servers, first, &mut out).is_none(), "the question is over");
    rig.assert_nothing_is_left();
}

#[test]
fn a_deadline_ends_a_question_and_closes_its_connection() {
    let mut rig = Rig::new(&[TCP]);
    rig.begin(1).unwrap();
    let sent = rig.sent_one();
    let finished = rig.wake_until_finished();
    assert!(rig.now <= Time::ZERO + TIMEOUT && rig.now + Duration::from_millis(2) > Time::ZERO + TIMEOUT);
    assert_eq!((finished.result.unwrap_err(), &finished.waiters[..]), (Failure::Unreachable, &[1][..]));
    assert!(rig.ended().contains(&sent.exchange()));
    rig.assert_nothing_is_left();
}

#[test]
fn ids_that_run_out_are_counted_and_the_question_waits_for_one() {
    let mut rig = rig(1 << 17, 10);
    let mut begun = 0;
    while rig.counters.upstream_ids_exhausted == 0 {
        begun += 1;
        rig.begin(begun).unwrap();
    }
    assert!(begun > 30_000, "{begun}: ids are tried several times before they count as used up");
    assert_eq!(rig.counters.upstream_udp, u64::from(begun) - 1);
    assert_eq!(rig.resolver.in_flight(), begun as usize);
    rig.now = Time::ZERO + TIMEOUT;
    let ended = std::iter::from_fn(|| rig.on(Resolver::expire)).count();
    assert_eq!(ended, begun as usize, "the one without an id ends as well");
    rig.assert_nothing_is_left();
}

#[test]
fn an_id_that_is_free_again_is_taken() {
    let mut rig = rig(1 << 17, 10);
    let mut last = 0;
    while rig.counters.upstream_ids_exhausted == 0 {
        last += 1;
        rig.begin(last).unwrap();
    }
    let sent = rig.sent();
    for sent in &sent[..sent.len() / 2] {
        rig.reply(sent, &sent.answer()).unwrap();
    }
    let asks_last = |sent: &Sent| sent.question()[..name(last).len()].eq_ignore_ascii_case(&name(last));
    while !rig.sent().iter().any(asks_last) {
        rig.wake();
    }
    assert!(rig.now < Time::ZERO + TIMEOUT);
}

#[test]
fn waiters_and_questions_are_bounded() {
    let mut rig = rig(2, 3);
    rig.begin(1).unwrap();
    rig.begin(2).unwrap();
    assert_eq!(rig.begin(3), Err(Refused::Resolves));
    let question = rig.question(1).unwrap();
    assert_eq!(rig.resolver.find(1, &name(1), Key { dnssec_ok: true, ..KEY }), None);
    let joined: Vec<_> = (0..4).map(|waiter| rig.resolver.join(question, || waiter).is_ok()).collect();
    assert_eq!(joined, [true, true, false, false]);
    assert_eq!(rig.resolver.waiters(), 4);
}

#[test]
fn those_who_wait_are_bounded_over_all_questions() {
    let mut rig = rig(WAITERS_MAX, WAITERS_MAX + 10);
    rig.begin(1).unwrap();
    let question = rig.question(1).unwrap();
    let joined = (0..WAITERS_MAX as u32 + 5).filter(|&waiter| rig.resolver.join(question, || waiter).is_ok()).count();
    assert_eq!(joined, WAITERS_MAX - 1);
    assert_eq!(rig.begin(2), Err(Refused::Waiters));
    rig.begin_as(3, |ask| ask.waiter = None).unwrap();
}

#[test]
fn questions_of_a_zone_are_bounded() {
    let bounds = Bounds { zone_resolves: 2, ..Bounds::DEFAULT };
    let mut rig = Rig::with(bounds, Kind::Authoritative, Strategy::Fallback, &[UDP]);
    rig.begin_as(1, |ask| ask.zone = 77).unwrap();
    rig.begin_as(2, |ask| ask.zone = 77).unwrap();
    assert_eq!(rig.begin_as(3, |ask| ask.zone = 77), Err(Refused::Zone));
    assert_eq!(rig.begin_as(3, |ask| (ask.zone, ask.waiter) = (77, None)), Err(Refused::Zone));
    rig.begin_as(4, |ask| ask.zone = 78).unwrap();
    let first = rig.sent().remove(0);
    rig.reply(&first, &first.answer()).unwrap();
    rig.begin_as(3, |ask| ask.zone = 77).expect("a place is free again");
    while rig.resolver.in_flight() > 0 {
        rig.wake();
    }
    rig.assert_nothing_is_left();
}

#[test]
fn a_quarter_of_the_questions_may_be_for_nobody() {
    let mut rig = rig(8, 3);
    rig.begin_as(1, |ask| ask.waiter = None).unwrap();
    rig.begin_as(2, |ask| ask.waiter = None).unwrap();
    assert_eq!(rig.begin_as(3, |ask| ask.waiter = None), Err(Refused::Background));
    rig.begin(4).unwrap();
    // Somebody waits for the first now, so that it is as any other.
    let question = rig.question(1).unwrap();
    rig.resolver.join(question, || 1).unwrap();
    rig.begin_as(3, |ask| ask.waiter = None).unwrap();
    assert_eq!(rig.begin_as(5, |ask| ask.waiter = None), Err(Refused::Background));
    for sent in rig.sent() {
        let finished = rig.reply(&sent, &sent.answer()).unwrap();
        let waits = matches!(finished.hash, 1 | 4);
        assert_eq!(finished.waiters.len(), usize::from(waits));
    }
    rig.assert_nothing_is_left();
}

#[test]
fn without_servers_nothing_is_begun() {
    let mut rig = Rig::new(&[]);
    assert_eq!(rig.begin(1), Err(Refused::NoServers));
    rig.assert_nothing_is_left();
}

#[test]
fn probes_are_bounded() {
    let mut rig = Rig::new(&[UDP]);
    rig.bring_down();
    let probe = rig.next_probe();
    for _ in 0..PROBES_MAX + 3 {
        rig.on(|resolver, event| resolver.probe(event, probe.clone()));
    }
    assert_eq!((rig.counters.upstream_probes_over_limit, rig.counters.upstream_probes), (3, PROBES_MAX as u64));
    assert!(rig.wake().is_none());
    rig.assert_nothing_is_left();
    rig.on(|resolver, event| resolver.probe(event, probe));
    assert_eq!(rig.counters.upstream_probes, PROBES_MAX as u64 + 1, "there is room again");
}
