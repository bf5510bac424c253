//! Questions in flight towards upstreams: asked, asked again elsewhere, matched with replies, shared by everybody who
//! waits for them.
//!
//! A question is a `Resolve` in a slab. Its attempts are exchanges with one server each, over UDP (a socket and an id)
//! or TCP (an exchange number); all stay open until one of them brings the answer, so that a late reply of the first
//! server still counts after the second was asked. What wakes a question: a reply ([`Resolver::on_reply_udp`],
//! [`Resolver::on_reply_tcp`]), a failed connection ([`Resolver::on_failure_tcp`]), or its timer
//! ([`Resolver::expire`]). It ends as a [`Finished`]. A question never outlives its deadline.

mod timers;

use std::net::SocketAddr;
use std::time::Duration;

use hashbrown::HashTable;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use smallvec::SmallVec;

use crate::cache::{Answer, Key};
use crate::images::{Bounds, CacheSettings};
use crate::limits::{ATTEMPTS_MAX, ID_TRIES_MAX, WAITERS_MAX};
use crate::telemetry::Counters;
use crate::time::Time;
use crate::upstream::{Candidate, Kind, Protocol};
use crate::wire::edns::{self, OPT_OCTETS};
use crate::wire::message::{HEADER_OCTETS, Header, flags};
use crate::wire::name::{self, HashKey};
use crate::wire::rdata::CLASS_IN;
use crate::wire::u16_at;
use timers::Timers;

/// The questions of one core. `W` is what the caller must remember of somebody who waits.
#[derive(Debug)]
pub struct Resolver<W> {
    hash_key: HashKey,
    bounds: Bounds,
    random: ChaCha12Rng,
    slots: Vec<Slot<W>>,
    free: Vec<u32>,
    /// Slot by hash of the question, for those who ask the same.
    questions: HashTable<u32>,
    /// Open UDP attempts by socket and id.
    flights: HashTable<Flight>,
    timers: Timers,
    waiters: usize,
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
    candidates: SmallVec<[Candidate; 4]>,
    /// Bit set: this candidate answered with an error or could not be reached; it is not asked again.
    failed: u64,
    /// One of them answered with an error.
    error_came: bool,
    /// The candidate to be asked next.
    next: usize,
    attempts: SmallVec<[Attempt; 2]>,
    /// When it ends, whatever happens.
    deadline: Time,
    /// How long one attempt is waited for before the next.
    patience: Duration,
    waiters: SmallVec<[W; 1]>,
}

#[derive(Clone, Copy, Debug)]
struct Attempt {
    candidate: u8,
    open: bool,
    over: Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Udp { socket: u8, id: u16 },
    Tcp { id: u16 },
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    socket: u8,
    id: u16,
    attempt: u8,
    slot: u32,
}

/// A query that is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asking {
    slot: u32,
    generation: u32,
    attempt: u8,
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
    /// Where to count.
    pub counters: &'e mut Counters,
    /// Who hears what is to be done.
    pub orders: &'e mut dyn FnMut(Order),
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
    /// Everybody who waits.
    pub waiters: SmallVec<[W; 1]>,
    /// The answer, or why there is none.
    pub result: Result<Answer, Failure>,
}

/// Why a question got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No server could be reached, or none answered in time.
    Unreachable,
    /// A server answered, with an error, and nobody else had an answer.
    Errors,
}

/// A question in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question(u32);

/// Why somebody was not taken in to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Too many questions are in flight.
    Resolves,
    /// Too many wait, for this question or on this core.
    Waiters,
}

/// Who waits, and for which question.
#[derive(Debug)]
pub struct Ask<'a, W> {
    /// [`Key::hash`] of the question.
    pub hash: u64,
    /// Its name, in lower case.
    pub name: &'a [u8],
    /// Type and bits.
    pub key: Key,
    /// Who waits: asked for once there is room.
    pub waiter: W,
}

impl<W> Resolver<W> {
    /// One with nothing in flight. `seed` decides the ids and sockets of queries and must be unpredictable.
    pub fn new(hash_key: HashKey, bounds: Bounds, seed: [u8; 32]) -> Resolver<W> {
        assert!(bounds.udp_ports > 0 && bounds.resolves > 0 && bounds.waiters > 0);
        Resolver {
            hash_key,
            bounds,
            random: ChaCha12Rng::from_seed(seed),
            slots: Vec::new(),
            free: Vec::new(),
            questions: HashTable::new(),
            flights: HashTable::new(),
            timers: Timers::new(),
            waiters: 0,
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

    /// The question in flight for `name` under `key`, `hash` being [`Key::hash`].
    pub fn find(&self, hash: u64, name: &[u8], key: Key) -> Option<Question> {
        let is_it = |&slot: &u32| {
            let resolve = self.slots[slot as usize].resolve.as_ref();
            resolve.is_some_and(|resolve| resolve.hash == hash && resolve.key == key && *resolve.name == *name)
        };
        self.questions.find(hash, is_it).map(|&slot| Question(slot))
    }

    /// Waits for a question that was found just now. `waiter` is asked for who waits once there is room.
    pub fn join(&mut self, question: Question, waiter: impl FnOnce() -> W) -> Result<(), Refused> {
        let resolve = self.slots[question.0 as usize].resolve.as_mut().expect("it was found just now");
        if resolve.waiters.len() >= self.bounds.waiters || self.waiters >= WAITERS_MAX {
            return Err(Refused::Waiters);
        }
        resolve.waiters.push(waiter());
        self.waiters += 1;
        Ok(())
    }

    /// Begins a question: the first of `candidates` is asked, which must not be empty.
    pub fn begin(
        &mut self,
        event: &mut Event<'_>,
        ask: Ask<'_, impl FnOnce() -> W>,
        candidates: SmallVec<[Candidate; 4]>,
        timeout: Duration,
    ) -> Result<(), Refused> {
        assert!(!candidates.is_empty() && candidates.len() <= u8::MAX.into());
        if self.questions.len() >= self.bounds.resolves {
            return Err(Refused::Resolves);
        }
        if self.waiters >= WAITERS_MAX {
            return Err(Refused::Waiters);
        }
        let mut waiters = SmallVec::new();
        waiters.push((ask.waiter)());
        self.waiters += 1;
        let resolve = Resolve {
            hash: ask.hash,
            name: ask.name.into(),
            key: ask.key,
            candidates,
            failed: 0,
            error_came: false,
            next: 0,
            attempts: SmallVec::new(),
            deadline: Timers::floor(event.now + timeout),
            patience: timeout / 4,
            waiters,
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, resolve: None });
            (self.slots.len() - 1) as u32
        });
        self.slots[slot as usize].resolve = Some(resolve);
        let slots = &self.slots;
        self.questions.insert_unique(ask.hash, slot, |&slot| {
            slots[slot as usize].resolve.as_ref().expect("questions in the table are in flight").hash
        });
        self.ask_next(event, slot).expect("a new question has somebody left to ask");
        Ok(())
    }

    /// Writes the query of an order to `out`. Returns where it goes and its length; `None` when the question ended
    /// before the query could be sent.
    pub fn write_query(&self, asking: Asking, out: &mut [u8]) -> Option<(Route, SocketAddr, usize)> {
        let slot = &self.slots[asking.slot as usize];
        let resolve = slot.resolve.as_ref().filter(|_| slot.generation == asking.generation)?;
        let attempt = resolve.attempts[usize::from(asking.attempt)];
        let candidate = resolve.candidates[usize::from(attempt.candidate)];
        let (route, id) = match attempt.over {
            Over::Udp { socket, id } => (Route::Udp(socket), id),
            Over::Tcp { id } => (Route::Tcp(exchange(asking.slot, slot.generation, asking.attempt)), id),
        };
        let recursion = if candidate.kind == Kind::Resolver { flags::RD } else { 0 };
        let checking = if resolve.key.checking_disabled { flags::CD } else { 0 };
        let words = [id, recursion | checking, 1, 0, 0, 1];
        for (field, word) in out[..HEADER_OCTETS].as_chunks_mut::<2>().0.iter_mut().zip(words) {
            *field = word.to_be_bytes();
        }
        let name_end = HEADER_OCTETS + resolve.name.len();
        out[HEADER_OCTETS..name_end].copy_from_slice(&resolve.name);
        out[name_end..name_end + 2].copy_from_slice(&resolve.key.qtype.to_be_bytes());
        out[name_end + 2..name_end + 4].copy_from_slice(&CLASS_IN.to_be_bytes());
        let opt_flags = if resolve.key.dnssec_ok { edns::DNSSEC_OK } else { 0 };
        let end = name_end + 4 + OPT_OCTETS;
        out[name_end + 4..end].copy_from_slice(&edns::opt(0, opt_flags));
        Some((route, candidate.server.address, end))
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
            self.flight(socket, header.id).filter(|flight| self.server_of(flight.slot, flight.attempt) == Some(server));
        let Some(flight) = expected else {
            event.counters.upstream_unexpected += 1;
            return None;
        };
        self.on_message(event, flight.slot, flight.attempt, header, message)
    }

    /// The reply of a TCP exchange came.
    pub fn on_reply_tcp(&mut self, event: &mut Event<'_>, exchange: u64, message: &[u8]) -> Option<Finished<W>> {
        let Some((slot, attempt)) = self.open_exchange(exchange) else {
            event.counters.upstream_unexpected += 1;
            return None;
        };
        let id = match self.attempt(slot, attempt).over {
            Over::Tcp { id } | Over::Udp { id, .. } => id,
        };
        match Header::parse(message) {
            Some(header) if header.id == id => {
                let taken = self.on_message(event, slot, attempt, header, message);
                // The connection brought what it had to bring; where that was of no use, the next server is asked.
                if taken.is_some() || self.open_exchange(exchange).is_none() {
                    return taken;
                }
            }
            Some(_) => event.counters.upstream_unexpected += 1,
            None => event.counters.upstream_malformed += 1,
        }
        self.give_up_server(event, slot, attempt)
    }

    /// A query could not be sent from `socket`.
    pub fn on_failure_udp(&mut self, event: &mut Event<'_>, socket: u8, id: u16) -> Option<Finished<W>> {
        let Flight { slot, attempt, .. } = self.flight(socket, id)?;
        event.counters.upstream_failures += 1;
        self.give_up_server(event, slot, attempt)
    }

    /// A TCP exchange failed.
    pub fn on_failure_tcp(&mut self, event: &mut Event<'_>, exchange: u64) -> Option<Finished<W>> {
        let (slot, attempt) = self.open_exchange(exchange)?;
        event.counters.upstream_failures += 1;
        self.give_up_server(event, slot, attempt)
    }

    /// The next moment at which [`Resolver::expire`] may have something to do.
    pub fn deadline(&self) -> Option<Time> {
        self.timers.next()
    }

    /// Looks at one question whose time has come: asks on, or ends it. Call it until it returns `None`.
    pub fn expire(&mut self, event: &mut Event<'_>) -> Option<Finished<W>> {
        while let Some(slot) = self.timers.expired(event.now) {
            let resolve = self.slots[slot as usize].resolve.as_ref().expect("only questions in flight have a timer");
            event.counters.upstream_timeouts += 1;
            if event.now >= resolve.deadline {
                let failure = resolve.failure();
                return Some(self.finish(event, slot, Err(failure)));
            }
            if let Err(failure) = self.ask_next(event, slot) {
                return Some(self.finish(event, slot, Err(failure)));
            }
        }
        None
    }

    /// A message came for an open attempt, from the right server under the right id.
    fn on_message(
        &mut self,
        event: &mut Event<'_>,
        slot: u32,
        attempt: u8,
        header: Header,
        message: &[u8],
    ) -> Option<Finished<W>> {
        let resolve = self.slots[slot as usize].resolve.as_ref().expect("an open attempt has a question");
        let question = resolve.name.len() + 4;
        let error = !is_answer(header.flags & flags::RCODE);
        if !header.has(flags::QR) || header.opcode() != 0 {
            event.counters.upstream_malformed += 1;
            return None;
        }
        // Servers that could not read our query say so without a question.
        let without_question = error && header.counts[0] == 0 && message.len() == HEADER_OCTETS;
        if !without_question && !resolve.is_question(header, message) {
            event.counters.upstream_mismatched += 1;
            return None;
        }
        if error {
            return self.on_error(event, slot, attempt);
        }
        let over_udp = matches!(resolve.attempts[usize::from(attempt)].over, Over::Udp { .. });
        match (header.has(flags::TC), over_udp) {
            (false, _) => {}
            (true, true) => return self.ask_over_tcp(event, slot, attempt),
            // Cut short where nothing needs to be: such an answer is not whole, and there is no other way to ask.
            (true, false) => {
                event.counters.upstream_malformed += 1;
                return None;
            }
        }
        let kind = resolve.candidates[usize::from(resolve.attempts[usize::from(attempt)].candidate)].kind;
        match Answer::parse(message, question, event.settings, kind == Kind::Authoritative) {
            Ok(answer) if !is_answer(answer.rcode()) => self.on_error(event, slot, attempt),
            Ok(answer) => {
                self.close(slot, attempt);
                Some(self.finish(event, slot, Ok(answer)))
            }
            Err(_) => {
                event.counters.upstream_malformed += 1;
                None
            }
        }
    }

    /// The server answered with an error: SERVFAIL, REFUSED and the like say nothing of the name.
    fn on_error(&mut self, event: &mut Event<'_>, slot: u32, attempt: u8) -> Option<Finished<W>> {
        event.counters.upstream_errors += 1;
        self.slots[slot as usize].resolve.as_mut().expect("an open attempt has a question").error_came = true;
        self.give_up_server(event, slot, attempt)
    }

    /// Asks the next server that did not fail, and sets the timer. Nothing is asked once [`ATTEMPTS_MAX`] is reached:
    /// what is open may still answer. Fails when nothing is open and nobody is left to ask.
    fn ask_next(&mut self, event: &mut Event<'_>, slot: u32) -> Result<(), Failure> {
        let resolve = self.slots[slot as usize].resolve.as_mut().expect("the caller has a question");
        let count = resolve.candidates.len();
        let usable = (0..count).map(|i| (resolve.next + i) % count).find(|&i| resolve.failed & failed_bit(i) == 0);
        let wake = (event.now + resolve.patience).min(resolve.deadline);
        match usable {
            Some(candidate) if resolve.attempts.len() < ATTEMPTS_MAX => {
                resolve.next = candidate + 1;
                match resolve.candidates[candidate].server.protocol {
                    Protocol::Udp => self.attempt_udp(event, slot, candidate as u8),
                    Protocol::Tcp => self.attempt_tcp(event, slot, candidate as u8),
                }
            }
            _ if resolve.attempts.iter().any(|attempt| attempt.open) => {}
            _ => return Err(resolve.failure()),
        }
        self.timers.set(slot, wake);
        Ok(())
    }

    fn attempt_udp(&mut self, event: &mut Event<'_>, slot: u32, candidate: u8) {
        for _ in 0..ID_TRIES_MAX {
            let random = self.random.next_u64();
            let socket = ((random >> 32) % u64::from(self.bounds.udp_ports)) as u8;
            let id = random as u16;
            if self.flight(socket, id).is_none() {
                let hash = flight_hash(&self.hash_key, socket, id);
                let attempt = self.push_attempt(event, slot, candidate, Over::Udp { socket, id });
                let hash_key = self.hash_key;
                self.flights.insert_unique(hash, Flight { socket, id, attempt, slot }, |flight| {
                    flight_hash(&hash_key, flight.socket, flight.id)
                });
                event.counters.upstream_udp += 1;
                return;
            }
        }
        event.counters.upstream_ids_exhausted += 1;
    }

    fn attempt_tcp(&mut self, event: &mut Event<'_>, slot: u32, candidate: u8) {
        let id = self.random.next_u64() as u16;
        self.push_attempt(event, slot, candidate, Over::Tcp { id });
        event.counters.upstream_tcp += 1;
    }

    fn push_attempt(&mut self, event: &mut Event<'_>, slot: u32, candidate: u8, over: Over) -> u8 {
        let Slot { generation, resolve } = &mut self.slots[slot as usize];
        let resolve = resolve.as_mut().expect("the caller has a question");
        let attempt = resolve.attempts.len() as u8;
        resolve.attempts.push(Attempt { candidate, open: true, over });
        (event.orders)(Order::Ask(Asking { slot, generation: *generation, attempt }));
        attempt
    }

    /// The reply was cut short: the same server is asked over TCP (RFC 7766 §5).
    fn ask_over_tcp(&mut self, event: &mut Event<'_>, slot: u32, attempt: u8) -> Option<Finished<W>> {
        let candidate = self.attempt(slot, attempt).candidate;
        self.close(slot, attempt);
        let resolve = self.slots[slot as usize].resolve.as_ref().expect("an open attempt has a question");
        // Two datagrams to one server may both come back cut short: one connection is enough.
        let open_tcp =
            |other: &Attempt| other.open && other.candidate == candidate && matches!(other.over, Over::Tcp { .. });
        if resolve.attempts.iter().any(open_tcp) {
            return None;
        }
        if resolve.attempts.len() == ATTEMPTS_MAX {
            return self.give_up_server(event, slot, attempt);
        }
        let wake = (event.now + resolve.patience).min(resolve.deadline);
        self.attempt_tcp(event, slot, candidate);
        self.timers.set(slot, wake);
        None
    }

    /// The server of this attempt is of no use for this question, whichever attempt asked it: ask the next at once.
    fn give_up_server(&mut self, event: &mut Event<'_>, slot: u32, attempt: u8) -> Option<Finished<W>> {
        let candidate = self.attempt(slot, attempt).candidate;
        self.close(slot, attempt);
        for other in 0..self.resolve(slot).attempts.len() as u8 {
            if self.attempt(slot, other).candidate == candidate {
                self.end_attempt(event, slot, other);
            }
        }
        let resolve = self.slots[slot as usize].resolve.as_mut().expect("the caller has a question");
        resolve.failed |= failed_bit(candidate.into());
        match self.ask_next(event, slot) {
            Ok(()) => None,
            Err(failure) => Some(self.finish(event, slot, Err(failure))),
        }
    }

    /// Ends a question: its attempts are closed, its slot is free.
    fn finish(&mut self, event: &mut Event<'_>, slot: u32, result: Result<Answer, Failure>) -> Finished<W> {
        for attempt in 0..self.resolve(slot).attempts.len() as u8 {
            self.end_attempt(event, slot, attempt);
        }
        self.timers.unset(slot);
        let hash = self.resolve(slot).hash;
        self.questions.find_entry(hash, |&other| other == slot).expect("a question in flight is in the table").remove();
        let Slot { generation, resolve } = &mut self.slots[slot as usize];
        let resolve = resolve.take().expect("the caller has a question");
        *generation = generation.wrapping_add(1);
        self.free.push(slot);
        self.waiters -= resolve.waiters.len();
        Finished { hash, name: resolve.name, key: resolve.key, waiters: resolve.waiters, result }
    }

    /// Closes an attempt that is still open, and its connection.
    fn end_attempt(&mut self, event: &mut Event<'_>, slot: u32, attempt: u8) {
        let Attempt { open, over, .. } = self.attempt(slot, attempt);
        if open && matches!(over, Over::Tcp { .. }) {
            (event.orders)(Order::EndTcp(exchange(slot, self.slots[slot as usize].generation, attempt)));
        }
        self.close(slot, attempt);
    }

    /// Closes an attempt: replies to it are no longer expected.
    fn close(&mut self, slot: u32, attempt: u8) {
        let resolve = self.slots[slot as usize].resolve.as_mut().expect("the caller has a question");
        let attempt = &mut resolve.attempts[usize::from(attempt)];
        if let Over::Udp { socket, id } = attempt.over
            && attempt.open
        {
            let hash = flight_hash(&self.hash_key, socket, id);
            let entry = self.flights.find_entry(hash, |flight| flight.socket == socket && flight.id == id);
            entry.expect("an open attempt is in the table").remove();
        }
        attempt.open = false;
    }

    fn resolve(&self, slot: u32) -> &Resolve<W> {
        self.slots[slot as usize].resolve.as_ref().expect("the caller has a question")
    }

    fn attempt(&self, slot: u32, attempt: u8) -> Attempt {
        self.resolve(slot).attempts[usize::from(attempt)]
    }

    /// The open attempt with this id on this socket.
    fn flight(&self, socket: u8, id: u16) -> Option<Flight> {
        let hash = flight_hash(&self.hash_key, socket, id);
        self.flights.find(hash, |flight| flight.socket == socket && flight.id == id).copied()
    }

    fn server_of(&self, slot: u32, attempt: u8) -> Option<SocketAddr> {
        let resolve = self.slots.get(slot as usize)?.resolve.as_ref()?;
        let attempt = resolve.attempts.get(usize::from(attempt))?;
        Some(resolve.candidates[usize::from(attempt.candidate)].server.address)
    }

    /// Slot and attempt of a TCP exchange that is still open.
    fn open_exchange(&self, exchange: u64) -> Option<(u32, u8)> {
        let (slot, generation, attempt) =
            ((exchange >> 8) as u32 & 0x00ff_ffff, (exchange >> 32) as u32, exchange as u8);
        let found = self.slots.get(slot as usize).filter(|found| found.generation == generation)?;
        let resolve = found.resolve.as_ref()?;
        resolve.attempts.get(usize::from(attempt)).filter(|attempt| attempt.open)?;
        Some((slot, attempt))
    }
}

impl<W> Resolve<W> {
    /// Why there is no answer, should there be none.
    fn failure(&self) -> Failure {
        if self.error_came { Failure::Errors } else { Failure::Unreachable }
    }

    /// Whether the question of a reply is the one asked (RFC 5452 §4.2). The name must stand there uncompressed: it is
    /// the first of the message.
    fn is_question(&self, header: Header, message: &[u8]) -> bool {
        let name_end = HEADER_OCTETS + self.name.len();
        header.counts[0] == 1
            && message.get(HEADER_OCTETS..name_end).is_some_and(|name| name::same(name, &self.name))
            && u16_at(message, name_end) == Some(self.key.qtype)
            && u16_at(message, name_end + 2) == Some(CLASS_IN)
    }
}

/// Whether a response code answers the question: NOERROR, NXDOMAIN, and YXDOMAIN where a DNAME made the name too long.
fn is_answer(rcode: u16) -> bool {
    matches!(rcode, 0 | 3 | 6)
}

/// The bit of a candidate among those that failed. Beyond 64 candidates none is marked: [`ATTEMPTS_MAX`] bounds the work.
fn failed_bit(candidate: usize) -> u64 {
    1u64.checked_shl(candidate as u32).unwrap_or(0)
}

fn flight_hash(key: &HashKey, socket: u8, id: u16) -> u64 {
    key.mix(u64::from(id), u64::from(socket) << 32 | 1 << 48)
}

/// The number of a TCP exchange: generation, slot, attempt.
fn exchange(slot: u32, generation: u32, attempt: u8) -> u64 {
    u64::from(generation) << 32 | u64::from(slot) << 8 | u64::from(attempt)
}

#[cfg(test)]
mod tests;
