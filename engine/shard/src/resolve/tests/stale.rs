//! Those who wait get a stale answer in time, and the question goes on.

use super::*;

const STALE_AFTER: Duration = Duration::from_millis(800);

fn stale_question(rig: &mut Rig) -> Question {
    loop {
        match rig.wake() {
            Some(Woken::Stale(question)) => return question,
            Some(Woken::Finished(finished)) => panic!("{finished:?}"),
            None => {}
        }
    }
}

#[test]
fn a_question_goes_on_when_those_who_waited_have_been_served() {
    let mut rig = Rig::new(&[UDP]);
    rig.begin_as(1, |ask| ask.stale_at = Some(Time::ZERO + STALE_AFTER)).unwrap();
    let sent = rig.sent_one();
    let question = rig.question(1).unwrap();
    rig.resolver.join(question, || 10).unwrap();
    assert!(!rig.resolver.is_late(question, Time::ZERO));
    let question = stale_question(&mut rig);
    let waited = rig.now - Time::ZERO;
    assert!(waited <= STALE_AFTER && waited + Duration::from_millis(2) > STALE_AFTER, "{waited:?}");
    assert_eq!(rig.resolver.details(question), (1, &name(1)[..], KEY));
    assert_eq!(rig.resolver.take_waiters(question)[..], [1, 10]);
    assert_eq!((rig.resolver.waiters(), rig.resolver.in_flight()), (0, 1));
    assert!(rig.resolver.is_late(question, rig.now));
    // Somebody may wait all the same.
    rig.resolver.join(question, || 11).unwrap();
    let finished = rig.reply(&sent, &sent.answer()).unwrap();
    assert!(finished.result.is_ok());
    assert_eq!(finished.waiters[..], [11]);
    rig.assert_nothing_is_left();
}

#[test]
fn it_is_said_once_and_the_deadline_stays() {
    let mut rig = Rig::new(&[UDP]);
    rig.begin_as(1, |ask| ask.stale_at = Some(Time::ZERO + STALE_AFTER)).unwrap();
    let question = stale_question(&mut rig);
    rig.resolver.take_waiters(question);
    let mut ended = None;
    while ended.is_none() {
        ended = rig.wake();
    }
    let Some(Woken::Finished(finished)) = ended else { panic!("{ended:?}") };
    assert_eq!((finished.result.unwrap_err(), finished.waiters.len()), (Failure::Unreachable, 0));
    assert!(rig.now <= Time::ZERO + TIMEOUT);
    rig.assert_nothing_is_left();
}

#[test]
fn a_moment_that_is_past_comes_at_once() {
    let mut rig = Rig::new(&[UDP]);
    rig.now = Time::ZERO + Duration::from_secs(10);
    rig.begin_as(1, |ask| ask.stale_at = Some(Time::ZERO + Duration::from_secs(9))).unwrap();
    let question = rig.question(1).unwrap();
    assert!(rig.resolver.is_late(question, rig.now));
    let now = rig.now;
    assert_eq!(stale_question(&mut rig), question);
    assert_eq!(rig.now, now);
}

#[test]
fn who_joins_a_question_that_began_without_a_stale_answer_waits_no_longer_than_others() {
    let mut rig = Rig::new(&[UDP]);
    rig.begin_as(1, |ask| ask.waiter = None).unwrap();
    let question = rig.question(1).unwrap();
    rig.resolver.join(question, || 5).unwrap();
    rig.resolver.stale_from(question, Time::ZERO + STALE_AFTER);
    // Who comes later changes nothing.
    rig.resolver.stale_from(question, Time::ZERO + STALE_AFTER * 2);
    let woken = stale_question(&mut rig);
    assert!(rig.now <= Time::ZERO + STALE_AFTER);
    assert_eq!(rig.resolver.take_waiters(woken)[..], [5]);
    rig.wake_until_finished();
    rig.assert_nothing_is_left();
}

#[test]
fn a_question_whose_deadline_comes_first_is_not_stale_before_it_ends() {
    let mut rig = Rig::new(&[UDP]);
    rig.begin_as(1, |ask| ask.stale_at = Some(Time::ZERO + TIMEOUT * 2)).unwrap();
    let finished = loop {
        match rig.wake() {
            Some(Woken::Finished(finished)) => break finished,
            Some(Woken::Stale(question)) => panic!("{question:?}"),
            None => {}
        }
    };
    assert_eq!(finished.waiters[..], [1]);
    rig.assert_nothing_is_left();
}
