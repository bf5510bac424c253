//! Questions and servers of all sorts, thrown about: each question ends once and in time, who waits is told once, and
//! nothing is left.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// The longest that nobody looks at the clock.
const JUMP: Duration = Duration::from_millis(300);

/// What must come of each question that was begun.
#[derive(Default)]
struct Ledger {
    /// Until when each question must end.
    open: BTreeMap<u64, Time>,
    waiting: BTreeSet<u32>,
    answered: usize,
    failed: usize,
}

impl Ledger {
    fn finish(&mut self, now: Time, finished: &Finished<u32>) {
        let deadline = self.open.remove(&finished.hash).expect("a question ends once");
        assert!(now <= deadline + JUMP);
        for waiter in &finished.waiters {
            assert!(self.waiting.remove(waiter), "{waiter} is told once");
        }
        match finished.result {
            Ok(_) => self.answered += 1,
            Err(_) => self.failed += 1,
        }
    }
}

fn run(seed: u8) {
    let mut random = ChaCha12Rng::from_seed([seed; 32]);
    let mut below = move |bound: u32| ((u64::from(random.next_u32()) * u64::from(bound)) >> 32) as u32;
    let strategy =
        [Strategy::Fallback, Strategy::Parallel, Strategy::Minload, Strategy::Uniform][usize::from(seed % 4)];
    let kind = [Kind::Resolver, Kind::Authoritative][usize::from(seed / 4 % 2)];
    let bounds = Bounds { resolves: 60, waiters: 4, udp_ports: 2, zone_resolves: 20, ..Bounds::DEFAULT };
    let mut rig = Rig::with(bounds, kind, strategy, &[UDP, TCP, UDP]);
    let (mut ledger, mut sent, mut waiter) = (Ledger::default(), Vec::<Sent>::new(), 0);
    for step in 0..4_000 {
        rig.now = rig.now + Duration::from_micros(below(3_000).into());
        waiter += 1;
        match below(12) {
            0..=2 => {
                let number = below(200);
                let stale_at = (below(2) == 0).then(|| rig.now + Duration::from_millis(below(900).into()));
                let taken = match rig.question(number) {
                    Some(question) => rig.resolver.join(question, || waiter).map(|()| true),
                    None => {
                        let waits = below(5) > 0;
                        let begun = rig.begin_as(number, |ask| {
                            (ask.zone, ask.stale_at) = (u64::from(number % 5), stale_at);
                            ask.waiter = waits.then(|| Box::new(move || waiter) as Box<dyn FnOnce() -> u32>);
                        });
                        begun.map(|()| {
                            ledger.open.insert(number.into(), rig.now + TIMEOUT);
                            waits
                        })
                    }
                };
                if taken == Ok(true) {
                    ledger.waiting.insert(waiter);
                }
            }
            3..=8 if !sent.is_empty() => {
                let place = below(sent.len() as u32) as usize;
                let to = sent[place].clone();
                let done = if below(8) == 0 { rig.fail(&to) } else { rig.reply(&to, &message(&to, &mut below)) };
                if below(3) > 0 {
                    sent.swap_remove(place);
                }
                done.iter().for_each(|finished| ledger.finish(rig.now, finished));
            }
            9 => rig.now = rig.now + Duration::from_millis(below(JUMP.as_millis() as u32).into()),
            10 if step % 200 == 0 => rig.set_servers(kind, strategy, &[UDP, UDP, TCP][..1 + below(3) as usize]),
            _ => {}
        }
        while let Some(woken) = rig.on(Resolver::expire) {
            match woken {
                Woken::Finished(finished) => ledger.finish(rig.now, &finished),
                Woken::Stale(question) => {
                    for waiter in rig.resolver.take_waiters(question) {
                        assert!(ledger.waiting.remove(&waiter));
                    }
                }
            }
        }
        while let Some(probe) = rig.servers.probe(rig.now) {
            rig.on(|resolver, event| resolver.probe(event, probe));
        }
        sent.extend(rig.sent());
        rig.ended();
        assert_eq!((rig.resolver.in_flight(), rig.resolver.waiters()), (ledger.open.len(), ledger.waiting.len()));
    }
    while let Some(deadline) = rig.resolver.deadline() {
        rig.now = rig.now.max(deadline);
        match rig.on(Resolver::expire) {
            Some(Woken::Finished(finished)) => ledger.finish(rig.now, &finished),
            Some(Woken::Stale(_)) | None => {}
        }
    }
    assert!(ledger.open.is_empty() && ledger.waiting.is_empty());
    assert!(ledger.answered > 30 && ledger.failed > 10, "{} {}", ledger.answered, ledger.failed);
    // Servers come and go, and what is known of those that have gone goes with them.
    let measured: u64 = rig.servers.states().map(|state| state.round_trips).sum();
    let micros: u64 = rig.servers.states().map(|state| state.round_trip_micros).sum();
    let all = &rig.telemetry.round_trips;
    assert!(measured > 0 && measured <= all.count() && micros <= all.sum_micros(), "{measured} {micros} {all:?}");
    rig.assert_nothing_is_left();
}

/// What a server may say, or somebody in its place.
fn message(to: &Sent, below: &mut impl FnMut(u32) -> u32) -> Vec<u8> {
    // A probe may ask for the root: what is made of its query is malformed, and that is a message as well.
    if to.octets.len() < HEADER_OCTETS + name(0).len() + 4 {
        return to.octets.clone();
    }
    let (kind, server) = (below(12), [below(4) as u8; 16]);
    let with_cookie = |upper| {
        let client = to.cookie().get(..8).unwrap_or_default();
        let whole = if client.is_empty() { Vec::new() } else { [client, &server].concat() };
        to.answer_with_cookie(&whole, upper)
    };
    let mut octets = match kind {
        0..=4 => to.answer(),
        5 => with_cookie(0),
        6 => {
            let mut octets = with_cookie(1);
            octets[3] |= 7;
            octets
        }
        7 => to.reply(flags::TC, [0; 3], &[]),
        8 => to.reply(1, [0; 3], &[]),
        9 => to.reply(flags::RA, [0; 3], &[]),
        _ => to.reply(below(16) as u16, [0; 3], &[]),
    };
    match below(10) {
        0 => octets[HEADER_OCTETS..HEADER_OCTETS + 30].make_ascii_lowercase(),
        1 => {
            let place = below(octets.len() as u32) as usize;
            octets[place] ^= 1 << below(8);
        }
        2 => octets.truncate(below(octets.len() as u32) as usize),
        _ => {}
    }
    octets
}

#[test]
fn every_question_ends_once_and_nothing_is_left() {
    for seed in 0..16 {
        println!("seed {seed}");
        run(seed);
    }
}
