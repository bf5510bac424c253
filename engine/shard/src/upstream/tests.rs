//! [`Servers`] in virtual time: who is asked, who fails, who is back.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::limits::ATTEMPTS_MAX;
use crate::time::Time;
use crate::wire::name::{HashKey, KeyedName, Name};

const QUESTION: (&[u8], u16) = (b"\x07example\x04test\0", 1);
const TIMEOUT: Duration = Duration::from_secs(2);

fn server(port: u16) -> Server {
    Server { protocol: Protocol::Udp, address: ([192, 0, 2, 1], port).into() }
}

fn pool(strategy: Strategy, ports: Range<u16>) -> Arc<Pool> {
    let servers = ports.map(|port| server(port).into()).collect();
    Arc::new(Pool {
        name: "pool".into(),
        servers,
        kind: Kind::Authoritative,
        strategy,
        timeout: TIMEOUT,
        spec: Box::default(),
    })
}

fn servers(pools: &[Arc<Pool>]) -> Servers {
    Servers::new([5; 32], pools)
}

fn name(text: &str) -> KeyedName {
    let name = text.parse::<Name>().unwrap();
    KeyedName::new(&HashKey::from_seed([1; 16]), name.as_wire()).unwrap()
}

fn millis(millis: u64) -> Time {
    Time::from_micros(millis * 1_000)
}

fn ports(choice: &Choice) -> Vec<u16> {
    choice.candidates.iter().map(|candidate| candidate.server.address.port()).collect()
}

fn first(servers: &mut Servers, name: &KeyedName) -> u16 {
    ports(&servers.choose(Time::ZERO, &[0], name, 1))[0]
}

fn number(servers: &mut Servers, pools: &[u32], port: u16) -> ServerNumber {
    let choice = servers.choose(Time::ZERO, pools, &name("example.test"), 1);
    choice.candidates.iter().find(|candidate| candidate.server == server(port)).unwrap().number
}

/// Lets a server go down.
fn refuse(servers: &mut Servers, now: Time, number: ServerNumber) {
    for _ in 0..3 {
        servers.asked(now, number);
        servers.unreachable(now, number);
    }
}

fn state(servers: &Servers, port: u16) -> ServerState {
    servers.states().find(|state| state.server == server(port)).unwrap()
}

#[test]
fn an_outage_moves_the_names_of_the_lost_server_alone_and_spreads_them() {
    const NAMES: usize = 4_000;
    let names: Vec<KeyedName> = (0..NAMES).map(|i| name(&format!("www.zone{i}.test"))).collect();
    for n in [2, 3, 8] {
        let mut servers = servers(&[pool(Strategy::Uniform, 0..n)]);
        let before: Vec<u16> = names.iter().map(|name| first(&mut servers, name)).collect();
        for lost in 0..n {
            let number = number(&mut servers, &[0], lost);
            refuse(&mut servers, Time::ZERO, number);
            let mut taken_over = vec![0; usize::from(n)];
            for (name, &before) in names.iter().zip(&before) {
                let after = first(&mut servers, name);
                assert!(after != lost && (before == lost || after == before));
                taken_over[usize::from(after)] += usize::from(before == lost);
            }
            let moved: usize = taken_over.iter().sum();
            assert!(moved <= NAMES / usize::from(n) + NAMES / 50, "{moved} of {n}");
            let share = moved / usize::from(n - 1);
            let others = (0..n).filter(|&port| port != lost).map(|port| taken_over[usize::from(port)]);
            assert!(
                others.clone().all(|taken| taken.abs_diff(share) < share / 3 + 30),
                "{:?}",
                others.collect::<Vec<_>>()
            );
            servers.asked(Time::ZERO, number);
            servers.answered(Time::ZERO, number, Duration::ZERO);
            while state(&servers, lost).standing == Standing::Down {
                servers.answered(Time::ZERO, number, Duration::ZERO);
            }
            assert!(names.iter().zip(&before).all(|(name, &before)| first(&mut servers, name) == before));
        }
    }
}

#[test]
fn a_server_taken_off_the_end_of_the_list_moves_its_names_alone() {
    let names: Vec<KeyedName> = (0..10_000).map(|i| name(&format!("zone{i}.test"))).collect();
    for n in 2..=8 {
        let mut servers = servers(&[pool(Strategy::Uniform, 0..n)]);
        let before: Vec<u16> = names.iter().map(|name| first(&mut servers, name)).collect();
        servers.set_pools(Time::ZERO, &[pool(Strategy::Uniform, 0..n - 1)]);
        let moved = names.iter().zip(&before).filter(|&(name, &before)| {
            let after = first(&mut servers, name);
            assert!(before == n - 1 || after == before);
            after != before
        });
        assert!(moved.count() <= 10_000 / usize::from(n) + 200);
    }
}

#[test]
fn the_names_of_a_zone_keep_to_one_server() {
    let mut servers = servers(&[pool(Strategy::Uniform, 0..8)]);
    let of_zone = first(&mut servers, &name("a.example.test"));
    for host in 0..100 {
        assert_eq!(first(&mut servers, &name(&format!("host{host}.a.example.test"))), of_zone);
    }
    assert!((0..100).any(|zone| first(&mut servers, &name(&format!("zone{zone}.example.test"))) != of_zone));
    let root = servers.choose(Time::ZERO, &[0], &name("."), 0);
    assert_eq!(root.candidates.len(), 8);
}

#[test]
fn pools_come_in_order_then_lossy_servers_then_those_that_are_down() {
    let mut servers =
        servers(&[pool(Strategy::Fallback, 1..4), pool(Strategy::Fallback, 3..6), pool(Strategy::Uniform, 9..9)]);
    let any = name("www.example.test");
    let choose = |servers: &mut Servers, pools: &[u32]| servers.choose(Time::ZERO, pools, &any, 1);
    assert_eq!(ports(&choose(&mut servers, &[0, 2, 1])), [1, 2, 3, 4, 5], "each once");
    let [one, two, four] = [1, 2, 4].map(|port| number(&mut servers, &[0, 1], port));
    refuse(&mut servers, Time::ZERO, one);
    for _ in 0..40 {
        servers.silent(Time::ZERO, two, QUESTION);
    }
    assert_eq!(state(&servers, 2).standing, Standing::Lossy);
    assert_eq!(ports(&choose(&mut servers, &[0, 1])), [3, 4, 5, 2, 1]);
    refuse(&mut servers, Time::ZERO, four);
    let choice = choose(&mut servers, &[0, 1]);
    assert_eq!((ports(&choice), choice.at_once, choice.all_down), (vec![3, 5, 2, 1, 4], 1, false));
    for port in [3, 5] {
        let number = number(&mut servers, &[0, 1], port);
        refuse(&mut servers, Time::ZERO, number);
    }
    assert!(!servers.all_down(&[0, 1]) && servers.all_down(&[1]), "a lossy server is not down");
    refuse(&mut servers, Time::ZERO, two);
    let choice = choose(&mut servers, &[0, 1]);
    assert_eq!((ports(&choice), choice.all_down), (vec![1, 2, 3, 4, 5], true), "all are asked all the same");
    assert!(servers.all_down(&[0, 1]) && servers.all_down(&[2]));
    let nobody = choose(&mut servers, &[2]);
    assert!(nobody.candidates.is_empty() && nobody.all_down && nobody.at_once == 1);
}

#[test]
fn a_choice_is_no_longer_than_what_can_be_asked() {
    let mut servers = servers(&[pool(Strategy::Uniform, 0..32), pool(Strategy::Fallback, 40..72)]);
    let down = servers.choose(Time::ZERO, &[0], &name("example.test"), 1).candidates;
    assert_eq!(down.len(), ATTEMPTS_MAX);
    for candidate in down {
        refuse(&mut servers, Time::ZERO, candidate.number);
    }
    let choice = servers.choose(Time::ZERO, &[0, 1], &name("example.test"), 1);
    let up = |port: &u16| state(&servers, *port).standing == Standing::Up;
    assert!(ports(&choice).iter().all(up) && choice.candidates.len() == ATTEMPTS_MAX);
}

#[test]
fn parallel_asks_several_of_those_that_are_up() {
    for (n, at_once) in [(1, 1), (2, 2), (3, 3), (4, 4), (20, 4)] {
        let mut servers = servers(&[pool(Strategy::Parallel, 0..n), pool(Strategy::Parallel, 40..44)]);
        let choice = servers.choose(Time::ZERO, &[0, 1], &name("example.test"), 1);
        assert_eq!(choice.at_once, at_once);
        assert!(ports(&choice)[..usize::from(at_once)].iter().all(|port| (0..n).contains(port)));
    }
    let mut servers = servers(&[pool(Strategy::Parallel, 0..3), pool(Strategy::Fallback, 40..44)]);
    let numbers = [0, 1, 2].map(|port| number(&mut servers, &[0], port));
    refuse(&mut servers, Time::ZERO, numbers[1]);
    assert_eq!(servers.choose(Time::ZERO, &[0, 1], &name("example.test"), 1).at_once, 2);
    refuse(&mut servers, Time::ZERO, numbers[0]);
    refuse(&mut servers, Time::ZERO, numbers[2]);
    let choice = servers.choose(Time::ZERO, &[0, 1], &name("example.test"), 1);
    assert_eq!((choice.at_once, ports(&choice)[0]), (1, 40), "as the pool of the first has it");
    assert_eq!(servers.choose(Time::ZERO, &[0], &name("example.test"), 1).at_once, 3);
}

#[test]
fn balanced_draws_by_weight() {
    let servers_of = |weights: &[u16]| {
        let members = (1..).zip(weights).map(|(port, &weight)| Member { server: server(port), weight });
        let pool = Pool { servers: members.collect(), ..Pool::clone(&pool(Strategy::Balanced, 0..0)) };
        servers(&[Arc::new(pool)])
    };
    let mut servers = servers_of(&[1, 2, 5]);
    let mut times = [0u32; 4];
    let any = name("example.test");
    for _ in 0..8_000 {
        times[usize::from(first(&mut servers, &any))] += 1;
    }
    assert!(
        times.iter().zip([0u32, 1_000, 2_000, 5_000]).all(|(times, share)| times.abs_diff(share) < 200),
        "{times:?}"
    );
    let heavy = number(&mut servers, &[0], 3);
    refuse(&mut servers, Time::ZERO, heavy);
    let ones = (0..9_000).filter(|_| first(&mut servers, &any) == 1).count();
    assert!(ones.abs_diff(3_000) < 250, "{ones}");
}

#[test]
fn minload_prefers_who_is_fast_and_has_little_to_do() {
    let mut servers = servers(&[pool(Strategy::Minload, 0..4)]);
    let any = name("example.test");
    for (port, round_trip) in [(0, 100), (1, 10), (2, 10), (3, 10)] {
        let number = number(&mut servers, &[0], port);
        servers.asked(Time::ZERO, number);
        servers.answered(Time::ZERO, number, Duration::from_millis(round_trip));
    }
    let mut times = [0u32; 4];
    for _ in 0..3_000 {
        times[usize::from(first(&mut servers, &any))] += 1;
    }
    assert!(times[0] == 0 && times[1..].iter().all(|&times| times > 800), "{times:?}");
    // Each keeps what it is asked: the loads must come to lie as one to ten.
    for _ in 0..3_100 {
        let chosen = servers.choose(Time::ZERO, &[0], &any, 1).candidates[0].number;
        servers.asked(Time::ZERO, chosen);
    }
    let loads = [0, 1, 2, 3].map(|port| state(&servers, port).in_flight);
    assert!((60..160).contains(&loads[0]) && loads[1..].iter().all(|&load| load.abs_diff(1_000) < 50), "{loads:?}");
}

#[test]
fn patience_follows_the_round_trip_within_bounds() {
    let resolver = Pool { kind: Kind::Resolver, ..Pool::clone(&pool(Strategy::Fallback, 1..2)) };
    let mut servers = servers(&[pool(Strategy::Fallback, 0..1), Arc::new(resolver)]);
    let [origin, resolver] = [0, 1].map(|port| number(&mut servers, &[0, 1], port));
    let millis = |servers: &Servers, number, tries| servers.patience(number, tries).as_millis();
    assert_eq!([0, 1, 2, 99].map(|tries| millis(&servers, origin, tries)), [376, 752, 1_000, 1_000]);
    for number in [origin, resolver] {
        servers.asked(Time::ZERO, number);
        servers.answered(Time::ZERO, number, Duration::from_millis(1));
    }
    assert_eq!([0, 1, 2].map(|tries| millis(&servers, origin, tries)), [20, 40, 80]);
    assert_eq!(millis(&servers, resolver, 0), 100);
    servers.asked(Time::ZERO, origin);
    servers.answered(Time::ZERO, origin, Duration::from_secs(60));
    assert_eq!(millis(&servers, origin, 0), 1_000, "half of the time-out");
}

#[test]
fn what_is_known_of_servers_that_stay_is_kept_and_former_numbers_mean_nobody() {
    let mut servers = servers(&[pool(Strategy::Fallback, 1..4)]);
    let [one, two] = [1, 2].map(|port| number(&mut servers, &[0], port));
    refuse(&mut servers, millis(5), one);
    refuse(&mut servers, millis(5), two);
    servers.habits_mut(two).unwrap().refuses_edns(millis(5));
    servers.asked(millis(5), two);
    let secret_of_two = servers.habits(two).cookie_option().unwrap();
    servers.set_pools(millis(9), &[pool(Strategy::Uniform, 8..9), pool(Strategy::Fallback, 2..5)]);
    assert_eq!(number(&mut servers, &[0, 1], 2), two);
    let state_of_two = state(&servers, 2);
    assert_eq!(
        (state_of_two.standing, state_of_two.in_flight, state_of_two.pools.to_vec()),
        (Standing::Down, 1, vec![1])
    );
    assert!(!servers.habits(two).edns(millis(9)) && servers.habits(two).cookie_option() == Some(secret_of_two));
    assert_eq!((state(&servers, 8).since, servers.states().count()), (millis(9), 4));

    // One has gone, and somebody else has its place.
    let before: Vec<ServerState> = servers.states().collect();
    servers.asked(millis(9), one);
    servers.silent(millis(9), one, QUESTION);
    servers.unreachable(millis(9), one);
    servers.released(one);
    assert!(!servers.answered(millis(9), one, Duration::ZERO) && servers.habits_mut(one).is_none());
    assert_eq!(servers.habits(one).cookie_option(), None);
    assert!(servers.patience(one, 3) > Duration::ZERO);
    assert_eq!(servers.states().collect::<Vec<_>>(), before);
    while let Some(due) = servers.next_probe().filter(|&due| due <= millis(100)) {
        assert_eq!(servers.probe(due).unwrap().candidate.number, two, "who has gone is not probed");
    }
    servers.set_pools(millis(200), &[]);
    assert_eq!((servers.next_probe(), servers.states().count()), (None, 0));
}

#[test]
fn a_server_in_two_pools_is_one_server() {
    let short = Pool { timeout: Duration::from_millis(200), ..Pool::clone(&pool(Strategy::Fallback, 1..2)) };
    let mut servers = servers(&[pool(Strategy::Fallback, 1..3), Arc::new(short)]);
    let one = number(&mut servers, &[0], 1);
    assert_eq!(number(&mut servers, &[1], 1), one);
    assert_eq!(servers.patience(one, 0), Duration::from_millis(100), "half of the shorter time-out");
    assert_eq!(state(&servers, 1).pools.to_vec(), [0, 1]);
    refuse(&mut servers, Time::ZERO, one);
    assert!(servers.all_down(&[1]) && !servers.all_down(&[0, 1]));
}

#[test]
fn every_attempt_is_in_flight_until_it_ends() {
    let mut servers = servers(&[pool(Strategy::Fallback, 1..2)]);
    let one = number(&mut servers, &[0], 1);
    for _ in 0..4 {
        servers.asked(millis(1), one);
    }
    servers.silent(millis(2), one, QUESTION);
    assert_eq!(state(&servers, 1).in_flight, 4, "a late reply still counts");
    servers.answered(millis(3), one, Duration::from_millis(2));
    servers.unreachable(millis(3), one);
    servers.released(one);
    servers.released(one);
    servers.released(one);
    let ServerState { in_flight, asked, answered, silent, unreachable, .. } = state(&servers, 1);
    assert_eq!((in_flight, asked, answered, silent, unreachable), (0, 4, 1, 1, 1));
}

#[test]
fn probes_of_many_servers_are_paced() {
    let pools: Vec<Arc<Pool>> = (0..10).map(|i| pool(Strategy::Fallback, i * 8..i * 8 + 8)).collect();
    let mut servers = servers(&pools);
    for pool in 0..10 {
        for candidate in servers.choose(Time::ZERO, &[pool], &name("test"), 1).candidates {
            refuse(&mut servers, millis(1), candidate.number);
        }
    }
    let mut last = None;
    let (mut probes, mut of_server) = (0, [0; 80]);
    while let Some(due) = servers.next_probe().filter(|&due| due < Time::from_secs(60)) {
        assert_eq!(servers.probe(Time::from_micros(due.as_micros().saturating_sub(1))), None, "not before");
        let probe = servers.probe(due).expect("it is due");
        assert!(last.is_none_or(|last| due - last >= Duration::from_millis(5)));
        last = Some(due);
        probes += 1;
        of_server[usize::from(probe.candidate.server.address.port())] += 1;
    }
    assert!((80 * 30..80 * 40).contains(&probes) && of_server.iter().all(|&times| (28..43).contains(&times)));
}

/// Two servers in an order, asked every fifty milliseconds by somebody who goes on to the second where the first is
/// silent.
struct World {
    servers: Servers,
    /// So many questions each time.
    load: usize,
    now: u64,
    /// When replies of probes are there, or the probes' patience has run out.
    probes: Vec<(u64, Probe, bool)>,
    random: u64,
}

impl World {
    fn new(seed: u64, load: usize) -> World {
        let mut seeds = [0; 32];
        seeds[..8].copy_from_slice(&seed.to_le_bytes());
        let servers = Servers::new(seeds, &[pool(Strategy::Fallback, 1..3)]);
        World { servers, load, now: 0, probes: Vec::new(), random: seed | 1 }
    }

    /// Whether the first server answers, as likely as `percent` says.
    fn chance(&mut self, percent: u64) -> bool {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % 100 < percent
    }

    /// Goes on by fifty milliseconds, in which the first server answers `percent` of what it is asked. Returns whom the
    /// last question asked first.
    fn step(&mut self, percent: u64) -> u16 {
        self.now += 50;
        let now = millis(self.now);
        while let Some(probe) = self.servers.probe(now) {
            self.servers.asked(now, probe.candidate.number);
            let answers = self.chance(percent);
            let after = if answers { 2 } else { probe.patience.as_millis() as u64 };
            self.probes.push((self.now + after, probe, answers));
        }
        for (_, probe, answers) in self.probes.extract_if(.., |probe| probe.0 <= now.as_micros() / 1_000) {
            let number = probe.candidate.number;
            if answers {
                self.servers.answered(now, number, Duration::from_millis(2));
            } else {
                self.servers.silent(now, number, (&probe.name, probe.qtype));
                self.servers.released(number);
            }
        }
        let asked = (0..self.load).map(|_| self.question(now, percent));
        asked.last().expect("there is load")
    }

    fn question(&mut self, now: Time, percent: u64) -> u16 {
        let choice = self.servers.choose(now, &[0], &name("www.example.test"), 1);
        for candidate in &choice.candidates {
            self.servers.asked(now, candidate.number);
            if candidate.server == server(2) || self.chance(percent) {
                self.servers.answered(now, candidate.number, Duration::from_millis(2));
                break;
            }
            let late = now + self.servers.patience(candidate.number, 0);
            self.servers.silent(late, candidate.number, QUESTION);
            self.servers.released(candidate.number);
        }
        choice.candidates[0].server.address.port()
    }

    fn first_after(&mut self, steps: usize, percent: u64) -> Vec<u16> {
        (0..steps).map(|_| self.step(percent)).collect()
    }
}

#[test]
fn a_server_that_dies_is_out_within_two_seconds_and_back_within_five() {
    for seed in 0..12 {
        let mut world = World::new(seed, if seed % 2 == 0 { 1 } else { 20 });
        assert!(world.first_after(200, 100).iter().all(|&first| first == 1));
        let dying = world.first_after(40, 0);
        assert_eq!(dying.last(), Some(&2), "seed {seed}: two seconds of load");
        // Dead for some time, at other moments of the pace of probes.
        let dead = world.first_after(100 + 37 * seed as usize, 0);
        assert!(dead.iter().all(|&first| first == 2), "seed {seed}");
        assert_eq!(world.servers.states().filter(|state| state.standing == Standing::Up).count(), 1);
        let returned = world.first_after(100, 100);
        assert_eq!(returned.last(), Some(&1), "seed {seed}: five seconds");
        assert!(world.servers.next_probe().is_none(), "nobody is probed who is up");
    }
}

#[test]
fn a_server_that_answers_every_tenth_question_is_seldom_asked_first() {
    for seed in 0..10 {
        let mut world = World::new(seed, 1);
        world.first_after(200, 100);
        let first = world.first_after(20 * 600, 10).iter().filter(|&&first| first == 1).count();
        assert!(first < 20 * 600 / 20, "seed {seed}: {first} of 12000");
        let returned = world.first_after(20 * 20, 100);
        assert_eq!(returned.last(), Some(&1), "seed {seed}: once it answers everything it is up");
    }
}

#[test]
fn a_server_with_some_loss_stays() {
    let mut world = World::new(3, 1);
    let first = world.first_after(20 * 600, 70);
    assert!(first.iter().all(|&first| first == 1));
}
