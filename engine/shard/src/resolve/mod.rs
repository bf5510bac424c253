//! Questions in flight towards upstreams: asked, asked again elsewhere, matched with replies, shared by everybody who
//! waits for them.
//!
//! A question is a `Resolve` in a slab. Its attempts are queries to one server each, over UDP (a socket and an id) or TCP (an
//! exchange number); all stay open until one of them brings the answer, so that a late reply of the first server still counts
//! after the second was asked. What wakes a question: a reply ([`Resolver::on_reply_udp`], [`Resolver::on_reply_tcp`]), a
//! query that failed ([`Resolver::on_failure_udp`], [`Resolver::on_failure_tcp`]), or its timer ([`Resolver::expire`]): the
//! patience with an attempt, the moment from which those who wait get a stale answer (RFC 8767 §5), or the deadline, which no
//! question outlives. It ends as a [`Finished`].
//!
//! | file | owns |
//! |---|---|
//! | `attempts` | whom a question asks, how, and what of it is told to [`Servers`] |
//! | `query` | how a query looks: case, EDNS, cookie |
//! | `reply` | which messages are replies |
//! | `flights` | whose reply a message is |
//! | `probes` | questions to servers that are down |
//! | `zones` | questions by zone |
//! | `timers` | when questions want to be looked at |

mod attempts;
mod flights;
mod probes;
mod query;
mod reply;
mod timers;
mod zones;

use std::net::SocketAddr;
use std::time::Duration;

use hashbrown::HashTable;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use smallvec::SmallVec;

pub use crate::cache::Failure;
use crate::cache::{Answer, Key};
use crate::images::{Bounds, CacheSettings};
use crate::limits::{ATTEMPTS_MAX, WAITERS_MAX};
use crate::telemetry::tap::{self, Tap};
use crate::telemetry::{Counters, Telemetry, log};
use crate::time::Time;
use crate::upstream::{Candidate, Choice, Kind, ServerNumber, Servers};
use crate::wire::message::Header;
use crate::wire::name::HashKey;
use attempts::{Attempt, Marks, State};
use flights::{Flights, Over, Whose};
use probes::Probes;
use query::{Asked, CLIENT_COOKIE_OCTETS};
use timers::Timers;
use zones::ZoneCounts;

/// The part of `resolves` that background questions may take.
const BACKGROUND_PART: usize = 4;

/// The questions of one core. `W` is what the caller must remember of somebody who waits.
#[derive(Debug)]
pub struct Resolver<W> {
    bounds: Bounds,
    random: ChaCha12Rng,
    slots: Vec<Slot<W>>,
    free: Vec<u32>,
    /// Slot by hash of the question, for those who ask the same.
    questions: HashTable<u32>,
    flights: Flights,
    probes: Probes,
    timers: Timers,
    zones: ZoneCounts,
    waiters: usize,
    /// Questions that nobody has waited for yet.
    background: usize,
    /// See [`Resolver::take_back`].
    back: SmallVec<[ServerNumber; 1]>,
    /// Where messages are rewritten of which not all may be believed.
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct Slot<W> {
    /// Counted up when the slot is given up, so that what is left of a former question is told from the next.
    generation: u32,
    resolve: Option<Resolve<W>>,
}

/// A question in flight.
#[derive(Debug)]
struct Resolve<W> {
    hash: u64,
    name: Box<[u8]>,
    key: Key,
    zone: u64,
    suffix_labels: usize,
    candidates: SmallVec<[Candidate; 4]>,
    /// Candidates that answered with an error or could not be reached; they are not asked again.
    failed: Marks,
    /// Candidates that are asked without EDNS.
    plain: Marks,
    /// Candidates that were asked once more with the cookie that they wanted.
    cookie_renewed: Marks,
    /// One of them answered with an error.
    error_came: bool,
    /// What a resolver said that had nothing to say, and which one: better than a failure.
    empty: Option<(Answer, log::Asked)>,
    /// The candidate whose turn is next.
    next: u8,
    attempts: SmallVec<[Attempt; 2]>,
    /// So many there may be: one more than [`ATTEMPTS_MAX`] once a server is back.
    attempts_max: usize,
    /// No id was free, or a server is back: when to ask again.
    again_at: Option<Time>,
    /// From when on those who wait get a stale answer.
    stale_at: Option<Time>,
    /// The caller was told of that.
    stale_told: bool,
    /// When it ends, whatever happens.
    deadline: Time,
    /// The longest that one attempt is waited for before the next.
    patience_max: Duration,
    background: bool,
    waiters: SmallVec<[W; 1]>,
}

/// A query that is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asking {
    whose: Whose,
    generation: u32,
}

/// What the caller must do after a call: queries to send and connections to close, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Send this query: see [`Resolver::write_query`].
    Ask(Asking),
    /// Close the connection of this exchange.
    EndTcp(u64),
}

/// What every call comes with.
pub struct Event<'e> {
    /// When it happens.
    pub now: Time,
    /// How answers are to be kept.
    pub settings: &'e CacheSettings,
    /// What is known of the servers; told what comes of each attempt.
    pub servers: &'e mut Servers,
    /// Where to count.
    pub counters: &'e mut Counters,
    /// The same for spans.
    pub telemetry: &'e mut Telemetry,
    /// Who gets the replies of servers, as they came, where anybody wants them.
    pub tap: Option<&'e mut Tap>,
    /// Who hears what is to be done.
    pub orders: &'e mut dyn FnMut(Order),
}

impl Event<'_> {
    /// A reply that matches came to what was asked of a server at `sent`. Whether the server was down and is up again.
    fn answered(&mut self, server: ServerNumber, sent: Time) -> bool {
        let after = self.now - sent;
        self.telemetry.round_trips.record(after.as_micros() as u64);
        self.servers.answered(self.now, server, after)
    }

    /// A message came from a server that was asked at `sent`, under the id of the query.
    fn heard(&mut self, server: SocketAddr, over: Over, sent: Time, message: &[u8]) {
        if let Some(tap) = &mut self.tap {
            let (kind, tcp) = (tap::Kind::UpstreamResponse, matches!(over, Over::Tcp { .. }));
            let (asked, at, local) = (sent, self.now, None);
            tap.push(&tap::Message { kind, tcp, asked, at, peer: server, local, listener: 0, octets: message });
            self.counters.tap_messages += 1;
        }
    }
}

/// Where a query goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// As a datagram from this socket.
    Udp(u8),
    /// Over a connection, under this exchange number.
    Tcp(u64),
}

/// A question that came to its end.
#[derive(Debug)]
pub struct Finished<W> {
    /// The hash it was begun with.
    pub hash: u64,
    /// The name, in lower case.
    pub name: Box<[u8]>,
    /// Type and bits.
    pub key: Key,
    /// What the server is to us that answered, or the first one where none did.
    pub kind: Kind,
    /// Everybody who waits: nobody where all of them were taken, or nobody ever did.
    pub waiters: SmallVec<[W; 1]>,
    /// The answer and who gave it, or why there is none.
    pub result: Result<(Answer, log::Asked), Failure>,
}

/// What time has brought.
#[derive(Debug)]
pub enum Woken<W> {
    /// A question came to its end.
    Finished(Finished<W>),
    /// Those who wait for this question have waited long enough for a fresh answer: where there is a stale one, it is
    /// theirs ([`Resolver::take_waiters`]). Said once a question; the question itself goes on.
    Stale(Question),
}

/// A question in flight: good until the next call that may end one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question(u32);

/// Why nothing is asked, or somebody was not taken in to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Too many questions are in flight.
    Resolves,
    /// Too many wait, for this question or on this core.
    Waiters,
    /// Too many questions are in flight for names of this zone.
    Zone,
    /// Too many questions are in flight that nobody waits for.
    Background,
    /// There is no server to ask.
    NoServers,
}

/// A question, and who waits for it.
#[derive(Debug)]
pub struct Ask<'a, W> {
    /// [`Key::hash`] of the question.
    pub hash: u64,
    /// Its name, in lower case.
    pub name: &'a [u8],
    /// Type and bits.
    pub key: Key,
    /// Who waits: asked for once there is room. `None`: nobody, the answer is for the cache.
    pub waiter: Option<W>,
    /// A keyed hash of the zone that it is counted for.
    pub zone: u64,
    /// Labels of the suffix of the route that led to the servers: beyond it their word is not taken.
    pub suffix_labels: usize,
    /// When those who wait get a stale answer, where there is one.
    pub stale_at: Option<Time>,
}

impl<W> Resolver<W> {
    /// One with nothing in flight. `seed` decides the ids and sockets of queries and must be unpredictable.
    pub fn new(hash_key: HashKey, bounds: Bounds, seed: [u8; 32]) -> Resolver<W> {
        assert!(bounds.udp_ports > 0 && bounds.resolves > 0 && bounds.waiters > 0);
        Resolver {
            bounds,
            random: ChaCha12Rng::from_seed(seed),
            slots: Vec::new(),
            free: Vec::new(),
            questions: HashTable::new(),
            flights: Flights::new(hash_key),
            probes: Probes::default(),
            timers: Timers::new(),
            zones: ZoneCounts::default(),
            waiters: 0,
            background: 0,
            back: SmallVec::new(),
            scratch: Vec::new(),
        }
    }

    /// New bounds; what is in flight beyond them ends as it would have.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        // The sockets were opened with the core: their number stays.
        self.bounds = Bounds { udp_ports: self.bounds.udp_ports, ..bounds };
    }

    /// Questions in flight.
    pub fn in_flight(&self) -> usize {
        self.questions.len()
    }

    /// How many wait, all questions together.
    pub fn waiters(&self) -> usize {
        self.waiters
    }

    /// Whether nothing at all is in flight, expected or waited for.
    pub fn is_idle(&self) -> bool {
        self.questions.is_empty()
            && self.flights.len() == 0
            && self.probes.is_empty()
            && self.zones.is_empty()
            && (self.waiters, self.background, self.free.len()) == (0, 0, self.slots.len())
            && self.deadline().is_none()
    }

    /// Whether a server that was down has come back since the last call: failures that are remembered may be none any
    /// more. Questions that have asked it in vain will ask it once more, lest they end as failures of a time that is over.
    pub fn take_back(&mut self, now: Time) -> bool {
        let back = std::mem::take(&mut self.back);
        for &number in &back {
            for slot in 0..self.slots.len() as u32 {
                self.ask_anew(now, slot, number);
            }
        }
        !back.is_empty()
    }

    /// The question in flight for `name` under `key`, `hash` being [`Key::hash`].
    pub fn find(&self, hash: u64, name: &[u8], key: Key) -> Option<Question> {
        let is_it = |&slot: &u32| {
            let resolve = self.resolve(slot);
            resolve.hash == hash && resolve.key == key && *resolve.name == *name
        };
        self.questions.find(hash, is_it).map(|&slot| Question(slot))
    }

    /// Waits for a question that was found just now. `waiter` is asked for who waits once there is room.
    pub fn join(&mut self, question: Question, waiter: impl FnOnce() -> W) -> Result<(), Refused> {
        let (waiters, waiters_max) = (self.waiters, self.bounds.waiters);
        let resolve = self.resolve_mut(question.0);
        if resolve.waiters.len() >= waiters_max || waiters >= WAITERS_MAX {
            return Err(Refused::Waiters);
        }
        resolve.waiters.push(waiter());
        let was_background = std::mem::take(&mut resolve.background);
        self.waiters += 1;
        self.background -= usize::from(was_background);
        Ok(())
    }

    /// Those who wait for this question get a stale answer from `at` on, or from when that was to be already. For a
    /// question that was begun without one: refreshed ahead, and the answer ran out meanwhile.
    pub fn stale_from(&mut self, question: Question, at: Time) {
        let resolve = self.resolve_mut(question.0);
        if resolve.stale_at.is_none() {
            resolve.stale_at = Some(Timers::floor(at));
            self.set_timer(question.0);
        }
    }

    /// Whether those who wait for this question have waited long enough for a fresh answer: who comes now gets a stale one
    /// at once.
    pub fn is_late(&self, question: Question, now: Time) -> bool {
        self.resolve(question.0).stale_at.is_some_and(|at| at <= now)
    }

    /// Everybody who waits for this question, to be answered otherwise. The question goes on, for the cache.
    pub fn take_waiters(&mut self, question: Question) -> SmallVec<[W; 1]> {
        let waiters = std::mem::take(&mut self.resolve_mut(question.0).waiters);
        self.waiters -= waiters.len();
        waiters
    }

    /// Everybody who waits, to be told that there will be no answer. The questions go on, for the cache.
    pub fn take_all_waiters(&mut self) -> Vec<W> {
        self.waiters = 0;
        let resolves = self.slots.iter_mut().filter_map(|slot| slot.resolve.as_mut());
        resolves.flat_map(|resolve| std::mem::take(&mut resolve.waiters)).collect()
    }

    /// Hash, name in lower case and key of a question.
    pub fn details(&self, question: Question) -> (u64, &[u8], Key) {
        let resolve = self.resolve(question.0);
        (resolve.hash, &resolve.name, resolve.key)
    }

    /// Begins a question: the first servers of `choice` are asked. It ends after `timeout` at the latest.
    pub fn begin(
        &mut self,
        event: &mut Event<'_>,
        ask: Ask<'_, impl FnOnce() -> W>,
        choice: Choice,
        timeout: Duration,
    ) -> Result<(), Refused> {
        let Choice { candidates, at_once, .. } = choice;
        assert!(candidates.len() <= ATTEMPTS_MAX);
        if candidates.is_empty() {
            return Err(Refused::NoServers);
        }
        self.check_room(&ask)?;
        let together = usize::from(at_once).clamp(1, candidates.len());
        let background = ask.waiter.is_none();
        let waiters: SmallVec<[W; 1]> = ask.waiter.map(|waiter| waiter()).into_iter().collect();
        self.waiters += waiters.len();
        self.background += usize::from(background);
        self.zones.add(ask.zone);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, resolve: None });
            (self.slots.len() - 1) as u32
        });
        self.slots[slot as usize].resolve = Some(Resolve {
            hash: ask.hash,
            name: ask.name.into(),
            key: ask.key,
            zone: ask.zone,
            suffix_labels: ask.suffix_labels,
            candidates,
            failed: Marks::default(),
            plain: Marks::default(),
            cookie_renewed: Marks::default(),
            error_came: false,
            empty: None,
            next: 0,
            attempts: SmallVec::new(),
            attempts_max: ATTEMPTS_MAX,
            again_at: None,
            stale_at: ask.stale_at.map(Timers::floor),
            stale_told: false,
            deadline: Timers::floor(event.now + timeout),
            patience_max: timeout / 2,
            background,
            waiters,
        });
        let slots = &self.slots;
        self.questions.insert_unique(ask.hash, slot, |&slot| {
            slots[slot as usize].resolve.as_ref().expect("questions in the table are in flight").hash
        });
        for _ in 0..together {
            self.ask_next(event, slot).expect("a new question has somebody left to ask");
        }
        self.set_timer(slot);
        Ok(())
    }

    /// Whether there may be one more question.
    fn check_room(&self, ask: &Ask<'_, impl FnOnce() -> W>) -> Result<(), Refused> {
        let Bounds { resolves, zone_resolves, .. } = self.bounds;
        match ask.waiter {
            None if self.background >= resolves / BACKGROUND_PART => return Err(Refused::Background),
            Some(_) if self.waiters >= WAITERS_MAX => return Err(Refused::Waiters),
            _ => {}
        }
        if self.questions.len() >= resolves {
            return Err(Refused::Resolves);
        }
        if self.zones.of(ask.zone) >= zone_resolves { Err(Refused::Zone) } else { Ok(()) }
    }

    /// Writes the query of an order to `out`, which holds 512 octets. Returns where it goes and its length; `None` when the
    /// question ended before the query could be sent.
    pub fn write_query(&self, servers: &Servers, asking: Asking, out: &mut [u8]) -> Option<(Route, SocketAddr, usize)> {
        let Asking { whose, generation } = asking;
        let (candidate, asked, over, form) = match whose {
            Whose::Attempt { slot, attempt } => {
                let slot = &self.slots[slot as usize];
                let resolve = slot.resolve.as_ref().filter(|_| slot.generation == generation)?;
                let Attempt { candidate, state, over, form, .. } = resolve.attempts[usize::from(attempt)];
                if state == State::Closed {
                    return None;
                }
                let candidate = resolve.candidates[usize::from(candidate)];
                (candidate, Asked { name: &resolve.name, key: resolve.key, kind: candidate.kind }, over, form)
            }
            Whose::Probe(place) => {
                let probing = self.probes.of(place, generation)?;
                let Candidate { kind, .. } = probing.probe.candidate;
                let key = Key { qtype: probing.probe.qtype, dnssec_ok: false, checking_disabled: false, era: 0 };
                (probing.probe.candidate, Asked { name: &probing.probe.name, key, kind }, probing.over, probing.form)
            }
        };
        let option = servers.habits(candidate.number).cookie_option().unwrap_or_default();
        let server_cookie = match option.split_first_chunk::<CLIENT_COOKIE_OCTETS>() {
            Some((client, server)) if Some(*client) == form.client_cookie => server,
            _ => &[],
        };
        let route = match over {
            Over::Udp { socket, .. } => Route::Udp(socket),
            Over::Tcp { .. } => Route::Tcp(whose.exchange(generation)),
        };
        let octets = query::write(&asked, &form, over.id(), server_cookie, out);
        Some((route, candidate.server.address, octets))
    }

    /// A datagram came from `server` on `socket`.
    pub fn on_reply_udp(
        &mut self,
        event: &mut Event<'_>,
        socket: u8,
        server: SocketAddr,
        message: &[u8],
    ) -> Option<Finished<W>> {
        let Some(header) = Header::parse(message) else {
            event.counters.upstream_malformed += 1;
            return None;
        };
        let expected =
            self.flights.find(socket, header.id).filter(|&whose| self.candidate(whose).server.address == server);
        match expected {
            Some(Whose::Attempt { slot, attempt }) => self.on_message(event, (slot, attempt), header, message),
            Some(Whose::Probe(place)) => {
                self.on_probe_message(event, place, header, message);
                None
            }
            None => {
                event.counters.upstream_unexpected += 1;
                None
            }
        }
    }

    /// The reply of a TCP exchange came. The exchange is over.
    pub fn on_reply_tcp(&mut self, event: &mut Event<'_>, exchange: u64, message: &[u8]) -> Option<Finished<W>> {
        let Some((whose, id)) = self.open_exchange(exchange) else {
            event.counters.upstream_unexpected += 1;
            return None;
        };
        match Header::parse(message) {
            Some(header) if header.id == id => {
                let taken = match whose {
                    Whose::Attempt { slot, attempt } => self.on_message(event, (slot, attempt), header, message),
                    Whose::Probe(place) => {
                        self.on_probe_message(event, place, header, message);
                        None
                    }
                };
                if taken.is_some() || self.open_exchange(exchange).is_none() {
                    return taken;
                }
            }
            Some(_) => event.counters.upstream_unexpected += 1,
            None => event.counters.upstream_malformed += 1,
        }
        // What came was of no use, and nothing else will.
        self.on_failure(event, whose)
    }

    /// A query could not be sent from `socket`.
    pub fn on_failure_udp(&mut self, event: &mut Event<'_>, socket: u8, id: u16) -> Option<Finished<W>> {
        let whose = self.flights.find(socket, id)?;
        event.counters.upstream_failures += 1;
        self.on_failure(event, whose)
    }

    /// A TCP exchange failed.
    pub fn on_failure_tcp(&mut self, event: &mut Event<'_>, exchange: u64) -> Option<Finished<W>> {
        let (whose, _) = self.open_exchange(exchange)?;
        event.counters.upstream_failures += 1;
        self.on_failure(event, whose)
    }

    fn on_failure(&mut self, event: &mut Event<'_>, whose: Whose) -> Option<Finished<W>> {
        match whose {
            Whose::Attempt { slot, attempt } => self.on_attempt_failure(event, slot, attempt),
            Whose::Probe(place) => {
                self.on_probe_failure(event, place);
                None
            }
        }
    }

    /// The next moment at which [`Resolver::expire`] may have something to do.
    pub fn deadline(&self) -> Option<Time> {
        self.timers.next().into_iter().chain(self.probes.deadline()).min()
    }

    /// Looks at what time has come for: asks on, ends questions, says who has waited long enough for a fresh answer. Call it
    /// until it returns `None`.
    pub fn expire(&mut self, event: &mut Event<'_>) -> Option<Woken<W>> {
        while let Some(slot) = self.timers.expired(event.now) {
            let mut due = self.fall_silent(event, slot);
            let resolve = self.resolve_mut(slot);
            if event.now >= resolve.deadline {
                let failure = resolve.failure();
                return Some(Woken::Finished(self.fail(event, slot, failure)));
            }
            due += usize::from(resolve.again_at.take_if(|at| *at <= event.now).is_some());
            let stale = !resolve.stale_told && resolve.stale_at.is_some_and(|at| at <= event.now);
            resolve.stale_told |= stale;
            for _ in 0..due {
                if let Err(failure) = self.ask_next(event, slot) {
                    return Some(Woken::Finished(self.fail(event, slot, failure)));
                }
            }
            self.set_timer(slot);
            if stale {
                return Some(Woken::Stale(Question(slot)));
            }
        }
        self.expire_probes(event);
        None
    }

    fn resolve(&self, slot: u32) -> &Resolve<W> {
        self.slots[slot as usize].resolve.as_ref().expect("the caller has a question")
    }

    fn resolve_mut(&mut self, slot: u32) -> &mut Resolve<W> {
        self.slots[slot as usize].resolve.as_mut().expect("the caller has a question")
    }

    fn random_id(&mut self) -> u16 {
        self.random.next_u32() as u16
    }

    /// Who was asked.
    fn candidate(&self, whose: Whose) -> Candidate {
        match whose {
            Whose::Attempt { slot, attempt } => {
                let resolve = self.resolve(slot);
                resolve.candidates[usize::from(resolve.attempts[usize::from(attempt)].candidate)]
            }
            Whose::Probe(place) => self.probes.at(place).expect("what is in flight is out").probe.candidate,
        }
    }

    /// What a TCP exchange that is still open belongs to, and its id.
    fn open_exchange(&self, exchange: u64) -> Option<(Whose, u16)> {
        let (whose, generation) = Whose::of_exchange(exchange);
        let over = match whose {
            Whose::Attempt { slot, attempt } => {
                let found = self.slots.get(slot as usize).filter(|found| found.generation == generation)?;
                let attempt = found.resolve.as_ref()?.attempts.get(usize::from(attempt))?;
                Some(attempt.over).filter(|_| attempt.state != State::Closed)?
            }
            Whose::Probe(place) => self.probes.of(place, generation)?.over,
        };
        Some((whose, over.id()))
    }
}

#[cfg(test)]
mod tests;
