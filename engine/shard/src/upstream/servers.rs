//! [`Servers`]: what one core knows of all servers of all pools.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use ring::hmac;
use smallvec::SmallVec;

use super::habits::Habits;
use super::health::Health;
use super::order::{self, Order};
use super::probes::{self, Probe, Question};
use super::{Candidate, Choice, Kind, Member, Pool, Server, ServerNumber, Standing, Strategy};
use crate::limits::{ATTEMPTS_MAX, POOL_SERVERS_MAX, ROUTE_POOLS_MAX};
use crate::time::Time;
use crate::wire::name::KeyedName;

/// Servers of a [`Strategy::Parallel`] pool that are asked together: half of all attempts, so that truncated replies
/// can be fetched again over TCP.
const TOGETHER_MAX: usize = ATTEMPTS_MAX / 2;
/// Labels below a route's suffix that count for [`Strategy::Uniform`]: about a zone's name.
const ZONE_LABELS: usize = 2;
/// The least patience. A resolver that had the answer in its cache, and now has not, is no slower than is to be
/// expected.
const PATIENCE_MIN_RESOLVER: Duration = Duration::from_millis(100);
const PATIENCE_MIN_AUTHORITATIVE: Duration = Duration::from_millis(20);
/// Doublings of patience at most.
const BACKOFF_MAX: u32 = 6;

/// What one core knows of the servers of all pools.
///
/// Whoever asks tells what comes of it. Every attempt begins with [`asked`](Servers::asked) and ends with exactly one
/// of [`answered`](Servers::answered), [`unreachable`](Servers::unreachable) and [`released`](Servers::released). In
/// between it may be told once as [`silent`](Servers::silent): it goes on, and a late reply still counts.
#[derive(Debug)]
pub struct Servers {
    slots: Vec<Slot>,
    free: Vec<u32>,
    pools: Vec<Members>,
    /// When servers that are not up are probed next, by slot.
    due: BTreeSet<(Time, u32)>,
    /// No probe before.
    quiet_until: Time,
    random: ChaCha12Rng,
    cookie_secret: hmac::Key,
}

/// A pool, and the slots of its servers.
#[derive(Debug)]
struct Members {
    pool: Arc<Pool>,
    slots: Box<[u32]>,
}

#[derive(Debug)]
struct Slot {
    /// Counted up when the server goes.
    generation: u32,
    known: Option<Known>,
}

/// What is known of one server.
#[derive(Debug)]
struct Known {
    server: Server,
    /// As in the first of its pools.
    kind: Kind,
    patience: (Duration, Duration),
    health: Health,
    habits: Habits,
    /// Its entry in `due`, while it is not up.
    due: Option<Time>,
    question: Question,
    in_flight: u32,
    asked: u64,
    answered: u64,
    /// Microseconds of the round trips of those that were answered.
    round_trip_micros: u64,
    silent: u64,
    unreachable: u64,
    probes: u64,
}

/// How a server is doing, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerState {
    /// The server.
    pub server: Server,
    /// Indices of the pools that it is in.
    pub pools: SmallVec<[u32; 2]>,
    /// Whether it answers.
    pub standing: Standing,
    /// Since when that is so; the moment it was configured, where nothing has happened since.
    pub since: Time,
    /// Smoothed round trip, once it has answered.
    pub round_trip: Option<Duration>,
    /// Percent of attempts that were left unanswered, of late.
    pub loss_percent: u8,
    /// Attempts in flight.
    pub in_flight: u32,
    /// Attempts so far, probes included.
    pub asked: u64,
    /// Replies that matched.
    pub answered: u64,
    /// Round trips measured: one a reply that matched.
    pub round_trips: u64,
    /// All of them together, in microseconds.
    pub round_trip_micros: u64,
    /// Attempts whose patience ran out.
    pub silent: u64,
    /// Attempts that did not reach it.
    pub unreachable: u64,
    /// Times it went down.
    pub outages: u64,
    /// Probes ordered.
    pub probes: u64,
}

impl Servers {
    /// Of servers that nothing is known of yet. `seed` must be unpredictable: our cookies are made of it.
    pub fn new(seed: [u8; 32], pools: &[Arc<Pool>]) -> Servers {
        let mut random = ChaCha12Rng::from_seed(seed);
        let mut secret = [0; 32];
        random.fill_bytes(&mut secret);
        let mut servers = Servers {
            slots: Vec::new(),
            free: Vec::new(),
            pools: Vec::new(),
            due: BTreeSet::new(),
            quiet_until: Time::ZERO,
            random,
            cookie_secret: hmac::Key::new(hmac::HMAC_SHA256, &secret),
        };
        servers.set_pools(Time::ZERO, pools);
        servers
    }

    /// Other pools, by the indices that routes name. What is known of servers that stay is kept; numbers of those that
    /// go mean nobody from now on.
    pub fn set_pools(&mut self, now: Time, pools: &[Arc<Pool>]) {
        if self.pools.iter().map(|members| &members.pool).eq(pools) {
            return;
        }
        let known = self.slots.iter().enumerate().filter_map(|(i, slot)| Some((slot.known.as_ref()?.server, i as u32)));
        let mut before: BTreeMap<Server, u32> = known.collect();
        let mut after: BTreeMap<Server, u32> = BTreeMap::new();
        self.pools = Vec::with_capacity(pools.len());
        for pool in pools {
            let members = pool.servers.iter().take(POOL_SERVERS_MAX);
            let slots = members.map(|&Member { server, .. }| {
                let patience = (patience_min(pool.kind), pool.timeout / 2);
                if let Some(&slot) = after.get(&server) {
                    let known = self.slots[slot as usize].known.as_mut().expect("it was found just now");
                    known.patience.1 = known.patience.1.min(patience.1);
                    return slot;
                }
                let slot = before.remove(&server).unwrap_or_else(|| add(&mut self.slots, &mut self.free, server, now));
                let known = self.slots[slot as usize].known.as_mut().expect("it was found or added just now");
                (known.kind, known.patience) = (pool.kind, patience);
                after.insert(server, slot);
                slot
            });
            self.pools.push(Members { slots: slots.collect(), pool: Arc::clone(pool) });
        }
        for slot in before.into_values() {
            self.remove(slot);
        }
    }

    fn remove(&mut self, slot: u32) {
        let Slot { generation, known } = &mut self.slots[slot as usize];
        *generation = generation.wrapping_add(1);
        if let Some(due) = known.take().and_then(|known| known.due) {
            self.due.remove(&(due, slot));
        }
        self.free.push(slot);
    }

    /// Whom to ask for `name`, which a route with a suffix of `suffix_labels` labels sends to `pools`.
    pub fn choose(&mut self, now: Time, pools: &[u32], name: &KeyedName, suffix_labels: usize) -> Choice {
        let mut found: SmallVec<[(Standing, u32, Candidate); 8]> = SmallVec::new();
        let mut of_standing = [0; 3];
        for &pool in pools.iter().take(ROUTE_POOLS_MAX) {
            let order = self.order(now, pool, name, suffix_labels);
            let Members { pool: of, slots } = &self.pools[pool as usize];
            for slot in order.into_iter().map(|place| slots[usize::from(place)]) {
                let Slot { generation, known } = &self.slots[slot as usize];
                let known = known.as_ref().expect("members of pools are known");
                let (standing, number) = (known.health.standing(), ServerNumber { slot, generation: *generation });
                let is_new = || found.iter().all(|(_, _, other)| other.number != number);
                if of_standing[standing as usize] < ATTEMPTS_MAX && is_new() {
                    of_standing[standing as usize] += 1;
                    found.push((standing, pool, Candidate { number, server: known.server, kind: of.kind }));
                }
            }
        }
        found.sort_by_key(|&(standing, ..)| standing);
        found.truncate(ATTEMPTS_MAX);
        let first = found.first().map(|&(standing, pool, _)| (standing, pool));
        let together = |&&(standing, pool, _): &&(Standing, u32, Candidate)| first == Some((standing, pool));
        let at_once = match first {
            Some((_, pool)) if self.pools[pool as usize].pool.strategy == Strategy::Parallel => {
                found.iter().take_while(together).count().min(TOGETHER_MAX) as u8
            }
            _ => 1,
        };
        let all_down = first.is_none_or(|(standing, _)| standing == Standing::Down);
        Choice { candidates: found.into_iter().map(|(.., candidate)| candidate).collect(), at_once, all_down }
    }

    /// The places of a pool in the order of its strategy.
    fn order(&mut self, now: Time, pool: u32, name: &KeyedName, suffix_labels: usize) -> Order {
        let Members { pool, slots } = &self.pools[pool as usize];
        let random = &mut self.random;
        let below = |bound: u32| ((u64::from(random.next_u32()) * u64::from(bound)) >> 32) as u32;
        match pool.strategy {
            Strategy::Fallback => order::listed(slots.len()),
            Strategy::Uniform => {
                let zone = name.suffix((suffix_labels + ZONE_LABELS).min(name.labels()));
                order::uniform(order::stable_hash(zone), slots.len())
            }
            Strategy::Parallel => order::shuffled(slots.len(), below),
            Strategy::Balanced => {
                let weights: SmallVec<[u16; POOL_SERVERS_MAX]> =
                    pool.servers.iter().take(slots.len()).map(|member| member.weight).collect();
                order::weighted(&weights, below)
            }
            Strategy::Minload => {
                let mut order = order::shuffled(slots.len(), below);
                let known = |place: u8| {
                    let slot = &self.slots[slots[usize::from(place)] as usize];
                    slot.known.as_ref().expect("members of pools are known")
                };
                let mut ups = (0..order.len()).filter(|&at| known(order[at]).health.standing() == Standing::Up);
                if let (Some(first), Some(second)) = (ups.next(), ups.next()) {
                    let cost = |at: usize| known(order[at]).health.cost(now, known(order[at]).in_flight);
                    if cost(second) < cost(first) {
                        order.swap(first, second);
                    }
                }
                order
            }
        }
    }

    /// Whether every server of these pools is known to be down, or there is none.
    pub fn all_down(&self, pools: &[u32]) -> bool {
        let mut slots = pools.iter().take(ROUTE_POOLS_MAX).flat_map(|&pool| self.pools[pool as usize].slots.iter());
        slots.all(|&slot| self.slots[slot as usize].known.as_ref().is_none_or(|known| known.health.is_down()))
    }

    /// How long the reply of a server is waited for before another attempt is made, when it was asked `tries` times for
    /// the same before. At most half of the time-out of its pools.
    pub fn patience(&self, number: ServerNumber, tries: u32) -> Duration {
        let Some(known) = self.known(number) else { return PATIENCE_MIN_RESOLVER };
        let (least, most) = known.patience;
        (known.health.patience().max(least) * (1 << tries.min(BACKOFF_MAX))).min(most)
    }

    /// A server is being asked: its wire looks as its [`habits`](Servers::habits) say from now on.
    pub fn asked(&mut self, now: Time, number: ServerNumber) {
        let Servers { slots, cookie_secret, .. } = self;
        if let Some(known) = known_mut(slots, number) {
            known.habits.renew_cookie(cookie_secret, known.server.address, now);
            known.asked += 1;
            known.in_flight += 1;
        }
    }

    /// A reply that matches came, whatever it says, so long after the attempt. Whether the server was down and is up
    /// again.
    pub fn answered(&mut self, now: Time, number: ServerNumber, after: Duration) -> bool {
        let Some(known) = known_mut(&mut self.slots, number) else { return false };
        known.answered += 1;
        known.round_trip_micros = known.round_trip_micros.saturating_add(after.as_micros() as u64);
        known.in_flight = known.in_flight.saturating_sub(1);
        let back = known.health.answered(now, after);
        let again = known.question.answered(now);
        if known.health.standing() != Standing::Up {
            self.set_due(number.slot, Some(again));
        } else if known.due.is_some() {
            self.set_due(number.slot, None);
        }
        back
    }

    /// An attempt's patience ran out. Its question (the name in lower case) is remembered for probes.
    pub fn silent(&mut self, now: Time, number: ServerNumber, question: (&[u8], u16)) {
        let Some(known) = known_mut(&mut self.slots, number) else { return };
        known.silent += 1;
        known.question.set(question.0, question.1);
        if known.health.silent(now) {
            self.set_due(number.slot, Some(now));
        }
    }

    /// An attempt did not reach the server: refused, reset, not sent.
    pub fn unreachable(&mut self, now: Time, number: ServerNumber) {
        let Some(known) = known_mut(&mut self.slots, number) else { return };
        known.unreachable += 1;
        known.in_flight = known.in_flight.saturating_sub(1);
        if known.health.unreachable(now) {
            self.set_due(number.slot, Some(now));
        }
    }

    /// An attempt ended without a reply: the question was answered by somebody else, or has come to its end.
    pub fn released(&mut self, number: ServerNumber) {
        if let Some(known) = known_mut(&mut self.slots, number) {
            known.in_flight = known.in_flight.saturating_sub(1);
        }
    }

    /// When [`Servers::probe`] has something to ask; `None` while everybody is up.
    pub fn next_probe(&self) -> Option<Time> {
        self.due.first().map(|&(due, _)| due.max(self.quiet_until))
    }

    /// What to ask now of a server that is not up; `None`: nothing yet.
    pub fn probe(&mut self, now: Time) -> Option<Probe> {
        let slot = self.due.first().filter(|&&(due, _)| now >= due && now >= self.quiet_until)?.1;
        self.quiet_until = now + probes::PROBE_GAP;
        let random = self.random.next_u32();
        let Slot { generation, known } = &mut self.slots[slot as usize];
        let known = known.as_mut().expect("who is due is known");
        known.probes += 1;
        let next = probes::next_time(now, now - known.health.since(), random);
        let (name, qtype) = known.question.next();
        let number = ServerNumber { slot, generation: *generation };
        let candidate = Candidate { number, server: known.server, kind: known.kind };
        self.set_due(slot, Some(next));
        Some(Probe { candidate, name, qtype, patience: probes::PROBE_PATIENCE })
    }

    /// What the wire of a server looks like; of one that is gone, as of one that nothing is known of.
    pub fn habits(&self, number: ServerNumber) -> Habits {
        self.known(number).map_or_else(Habits::default, |known| known.habits)
    }

    /// The same, to be changed; `None`: it is gone.
    pub fn habits_mut(&mut self, number: ServerNumber) -> Option<&mut Habits> {
        known_mut(&mut self.slots, number).map(|known| &mut known.habits)
    }

    /// How every server is doing.
    pub fn states(&self) -> impl Iterator<Item = ServerState> {
        let mut pools: Vec<SmallVec<[u32; 2]>> = vec![SmallVec::new(); self.slots.len()];
        for (index, pool) in self.pools.iter().enumerate() {
            for &slot in &pool.slots {
                pools[slot as usize].push(index as u32);
            }
        }
        self.slots.iter().zip(pools).filter_map(|(Slot { known, .. }, pools)| {
            let known = known.as_ref()?;
            Some(ServerState {
                server: known.server,
                pools,
                standing: known.health.standing(),
                since: known.health.since(),
                round_trip: known.health.round_trip(),
                loss_percent: known.health.loss_percent(),
                in_flight: known.in_flight,
                asked: known.asked,
                answered: known.answered,
                round_trips: known.answered,
                round_trip_micros: known.round_trip_micros,
                silent: known.silent,
                unreachable: known.unreachable,
                outages: known.health.outages,
                probes: known.probes,
            })
        })
    }

    fn set_due(&mut self, slot: u32, due: Option<Time>) {
        let known = self.slots[slot as usize].known.as_mut().expect("the caller has found it");
        if let Some(former) = std::mem::replace(&mut known.due, due) {
            self.due.remove(&(former, slot));
        }
        self.due.extend(due.map(|due| (due, slot)));
    }

    fn known(&self, number: ServerNumber) -> Option<&Known> {
        let slot = self.slots.get(number.slot as usize).filter(|slot| slot.generation == number.generation)?;
        slot.known.as_ref()
    }
}

fn known_mut(slots: &mut [Slot], number: ServerNumber) -> Option<&mut Known> {
    slots.get_mut(number.slot as usize).filter(|slot| slot.generation == number.generation)?.known.as_mut()
}

fn patience_min(kind: Kind) -> Duration {
    match kind {
        Kind::Resolver => PATIENCE_MIN_RESOLVER,
        Kind::Authoritative => PATIENCE_MIN_AUTHORITATIVE,
    }
}

/// Takes in a server that nothing is known of. Returns its slot.
fn add(slots: &mut Vec<Slot>, free: &mut Vec<u32>, server: Server, now: Time) -> u32 {
    let known = Known {
        server,
        kind: Kind::Resolver,
        patience: (Duration::ZERO, Duration::ZERO),
        health: Health::new(now),
        habits: Habits::default(),
        due: None,
        question: Question::default(),
        in_flight: 0,
        asked: 0,
        answered: 0,
        round_trip_micros: 0,
        silent: 0,
        unreachable: 0,
        probes: 0,
    };
    let slot = free.pop().unwrap_or_else(|| {
        slots.push(Slot { generation: 0, known: None });
        slots.len() as u32 - 1
    });
    slots[slot as usize].known = Some(known);
    slot
}
