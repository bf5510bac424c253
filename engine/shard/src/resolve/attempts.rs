//! The attempts of a question: which server is asked next and how, what its reply is good for, and what each attempt
//! that ends says of the server.
//!
//! Each attempt is told to [`Servers`](crate::upstream::Servers) when it begins (`asked`) and once when it ends:
//! `answered`, whatever the reply says; `unreachable`; or `released`, where another server's answer ended it. In between
//! comes `silent`, when patience has run out; the attempt stays open all the same, for late is better than never.

use std::time::Duration;

use rand_chacha::rand_core::Rng;

use super::flights::{Over, Whose};
use super::query::Form;
use super::reply::{self, Expected, Taken, is_answer};
use super::timers::Timers;
use super::{Asking, Event, Failure, Finished, Order, Resolve, Resolver, Slot};
use crate::cache::scrub::{Scrubbed, Source, Why, scrub};
use crate::cache::{Answer, Key};
use crate::limits::ATTEMPTS_MAX;
use crate::telemetry::log;
use crate::time::Time;
use crate::upstream::{Candidate, Kind, Protocol, ServerNumber};
use crate::wire::message::{HEADER_OCTETS, Header, flags};

/// The least that an attempt is waited for: two ticks of the timer wheel.
const PATIENCE_MIN: Duration = Duration::from_millis(2);

/// Questions that ask a server anew which is back do so one after the other, within so many milliseconds.
const ANEW_SPREAD_MILLIS: u32 = 256;

/// Response codes that tell of the query, and not of the name.
mod rcode {
    pub(super) const FORMERR: u16 = 1;
    pub(super) const NOTIMP: u16 = 4;
    pub(super) const BADVERS: u16 = 16;
    pub(super) const BADCOOKIE: u16 = 23;
}

/// One query to one server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    /// Its place among the candidates.
    pub candidate: u8,
    pub state: State,
    pub over: Over,
    pub form: Form,
    pub sent: Time,
    /// When patience runs out.
    pub until: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Its reply is waited for.
    Open,
    /// Patience with it is over; should the reply come, it is welcome.
    Silent,
    /// Over.
    Closed,
}

/// What an attempt that ends says of its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Answered,
    Unreachable,
    /// Nothing: it ends for other reasons.
    Released,
}

/// Marks of candidates, a bit each. No more than [`ATTEMPTS_MAX`] are kept: each takes an attempt at least.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marks(u8);

const _: () = assert!(ATTEMPTS_MAX <= u8::BITS as usize);

impl Marks {
    fn has(self, candidate: u8) -> bool {
        self.0 >> candidate & 1 == 1
    }

    /// Sets a mark. Returns whether it is new.
    fn set(&mut self, candidate: u8) -> bool {
        let new = !self.has(candidate);
        self.0 |= 1 << candidate;
        new
    }
}

impl<W> Resolve<W> {
    /// The candidate whose turn it is: none that has failed, and none that is still waited for.
    fn next_candidate(&self) -> Option<u8> {
        let count = self.candidates.len() as u8;
        let waited_for = |candidate| self.attempts.iter().any(|a| a.candidate == candidate && a.state == State::Open);
        let turns = (0..count).map(|i| (self.next + i) % count);
        turns.into_iter().find(|&candidate| !self.failed.has(candidate) && !waited_for(candidate))
    }

    /// Whom an attempt asks, and over what.
    fn asked(&self, attempt: u8) -> log::Asked {
        let Attempt { candidate, over, .. } = self.attempts[usize::from(attempt)];
        let server = self.candidates[usize::from(candidate)].server.address;
        log::Asked { tcp: matches!(over, Over::Tcp { .. }), server }
    }

    fn number(&self, candidate: u8) -> ServerNumber {
        self.candidates[usize::from(candidate)].number
    }

    /// Why there is no answer, should there be none.
    pub(super) fn failure(&self) -> Failure {
        if self.error_came { Failure::Errors } else { Failure::Unreachable }
    }

    /// Whether a connection to this candidate is waited for.
    fn connects(&self, candidate: u8) -> bool {
        let connects = |a: &Attempt| a.state == State::Open && matches!(a.over, Over::Tcp { .. });
        self.attempts.iter().any(|attempt| attempt.candidate == candidate && connects(attempt))
    }

    /// Whether this is how the candidate is asked first. That it fails otherwise says nothing of whether it is there.
    fn is_usual(&self, candidate: u8, over: Over) -> bool {
        self.candidates[usize::from(candidate)].server.protocol == over.protocol()
    }

    /// The answer in a message, as far as it may be believed, and what its server is to us.
    fn read(
        &self,
        event: &mut Event<'_>,
        attempt: u8,
        header: Header,
        message: &[u8],
        scratch: &mut Vec<u8>,
    ) -> Result<(Kind, Answer), Why> {
        let Attempt { candidate, .. } = self.attempts[usize::from(attempt)];
        let Candidate { kind, .. } = self.candidates[usize::from(candidate)];
        let Key { qtype, .. } = self.key;
        let authoritative = kind == Kind::Authoritative;
        let source = Source { authoritative, suffix_labels: self.suffix_labels };
        let believed = match scrub(message, header, &self.name, qtype, &source, scratch) {
            Scrubbed::Clean(message) => message,
            Scrubbed::Rewritten(message) => {
                event.counters.upstream_scrubbed += 1;
                message
            }
            Scrubbed::Refused(why) => return Err(why),
        };
        let answer = Answer::parse(believed, self.name.len() + 4, event.settings, authoritative);
        Ok((kind, answer.map_err(|_| Why::Malformed)?))
    }

    /// A resolver says NOERROR and nothing else. Some say so, out of their cache, where the type has no data; where no
    /// server has more to say, that is the answer.
    fn keep_empty(&mut self, event: &Event<'_>, attempt: u8, message: &[u8]) {
        let Candidate { kind, .. } = self.candidates[usize::from(self.attempts[usize::from(attempt)].candidate)];
        if kind == Kind::Resolver && self.empty.is_none() {
            // Whatever came beside the question is none of it.
            let question_octets = self.name.len() + 4;
            let mut bare = message[..HEADER_OCTETS + question_octets].to_vec();
            bare[6..HEADER_OCTETS].fill(0);
            let answer = Answer::parse(&bare, question_octets, event.settings, false).ok();
            self.empty = answer.map(|answer| (answer, self.asked(attempt)));
        }
    }

    fn is_over(&self) -> bool {
        self.again_at.is_none() && self.attempts.iter().all(|attempt| attempt.state == State::Closed)
    }

    /// When it wants to be looked at.
    fn wake(&self) -> Time {
        let patience = self.attempts.iter().filter(|a| a.state == State::Open).map(|attempt| attempt.until);
        let stale = self.stale_at.filter(|_| !self.stale_told);
        patience.chain(stale).chain(self.again_at).fold(self.deadline, Time::min)
    }
}

impl<W> Resolver<W> {
    /// Asks the next server in turn. Nothing is asked once [`ATTEMPTS_MAX`] is reached, or all that are left are waited for
    /// already. Fails when nobody is waited for.
    pub(super) fn ask_next(&mut self, event: &mut Event<'_>, slot: u32) -> Result<(), Failure> {
        let resolve = self.resolve_mut(slot);
        if let Some(candidate) = resolve.next_candidate() {
            resolve.next = (candidate + 1) % resolve.candidates.len() as u8;
            let protocol = resolve.candidates[usize::from(candidate)].server.protocol;
            self.ask(event, slot, candidate, protocol);
        }
        let resolve = self.resolve(slot);
        if resolve.is_over() { Err(resolve.failure()) } else { Ok(()) }
    }

    /// Asks a server, if there may be another attempt. Returns whether it is asked, now or as soon as an id is free.
    fn ask(&mut self, event: &mut Event<'_>, slot: u32, candidate: u8, protocol: Protocol) -> bool {
        let resolve = self.resolve(slot);
        if resolve.attempts.len() >= resolve.attempts_max {
            event.counters.upstream_attempts_exhausted += 1;
            return false;
        }
        let Candidate { number, .. } = resolve.candidates[usize::from(candidate)];
        let plain = resolve.plain.has(candidate);
        let silent = |attempt: &&Attempt| attempt.candidate == candidate && attempt.state == State::Silent;
        // A connection has to be made first: that is waited for as for one attempt more.
        let tries = resolve.attempts.iter().filter(silent).count() as u32 + u32::from(protocol == Protocol::Tcp);
        let patience = event.servers.patience(number, tries).min(resolve.patience_max).max(PATIENCE_MIN);
        let until = Timers::floor(event.now + patience);
        let over = match protocol {
            Protocol::Udp => self.flights.choose(&mut self.random, self.bounds.udp_ports),
            Protocol::Tcp => Some(Over::Tcp { id: self.random_id() }),
        };
        let Some(over) = over else {
            event.counters.upstream_ids_exhausted += 1;
            self.resolve_mut(slot).again_at = Some(until);
            return true;
        };
        event.servers.asked(event.now, number);
        over.count(event.counters);
        let form = self.form(event, number, !plain);
        let Slot { generation, resolve } = &mut self.slots[slot as usize];
        let resolve = resolve.as_mut().expect("the caller has a question");
        let whose = Whose::Attempt { slot, attempt: resolve.attempts.len() as u8 };
        resolve.attempts.push(Attempt { candidate, state: State::Open, over, form, sent: event.now, until });
        self.flights.insert(over, whose);
        (event.orders)(Order::Ask(Asking { whose, generation: *generation }));
        true
    }

    /// A server is back. A question that has asked it in vain has its turn soon, even where it has asked as often as it may:
    /// it would wait for its deadline, and fail for what is over.
    pub(super) fn ask_anew(&mut self, now: Time, slot: u32, number: ServerNumber) {
        let Some(resolve) = &mut self.slots[slot as usize].resolve else { return };
        let is_it = |candidate: &Candidate| candidate.number == number;
        let Some(candidate) = resolve.candidates.iter().position(is_it).map(|place| place as u8) else { return };
        if resolve.failed.has(candidate) {
            return;
        }
        // What it was asked while it was away is not waited for any more, and no silence of the time after.
        for attempt in resolve.attempts.iter_mut().filter(|a| a.candidate == candidate && a.state == State::Open) {
            attempt.state = State::Silent;
        }
        resolve.attempts_max = (resolve.attempts.len() + 1).clamp(ATTEMPTS_MAX, ATTEMPTS_MAX + 1);
        resolve.next = candidate;
        if resolve.attempts.iter().all(|attempt| attempt.state != State::Open) {
            let spread = Duration::from_millis((slot % ANEW_SPREAD_MILLIS).into());
            resolve.again_at = Some(Timers::floor(now + spread.min((resolve.deadline - now) / 2)));
        }
        self.set_timer(slot);
    }

    /// How the next query to a server looks.
    pub(super) fn form(&mut self, event: &Event<'_>, number: ServerNumber, with_edns: bool) -> Form {
        let habits = event.servers.habits(number);
        let edns = with_edns && habits.edns(event.now);
        let cookie = habits.cookie_option().filter(|_| edns);
        Form {
            case: habits.mixes_case(event.now).then(|| self.random.next_u64()),
            edns,
            client_cookie: cookie.and_then(|cookie| cookie.first_chunk().copied()),
        }
    }

    /// A message came for an attempt that is waited for, from the right server under the right id.
    pub(super) fn on_message(
        &mut self,
        event: &mut Event<'_>,
        (slot, attempt): (u32, u8),
        header: Header,
        message: &[u8],
    ) -> Option<Finished<W>> {
        let resolve = self.resolve(slot);
        let Attempt { candidate, over, form, sent, .. } = resolve.attempts[usize::from(attempt)];
        event.heard(resolve.candidates[usize::from(candidate)].server.address, over, sent, message);
        let datagram = matches!(over, Over::Udp { .. });
        let expected = Expected { name: &resolve.name, qtype: resolve.key.qtype, form, datagram };
        let reply = match reply::take(event, resolve.number(candidate), message, header, &expected) {
            Taken::Reply(reply) => reply,
            Taken::Doubted => return self.confirm(event, slot, candidate),
            Taken::Ignored => return None,
        };
        let of_the_query = matches!(reply.rcode, rcode::FORMERR | rcode::NOTIMP | rcode::BADVERS);
        if !form.edns && !of_the_query && resolve.plain.has(candidate) {
            // With EDNS it was an error, and without it is none.
            let habits = event.servers.habits_mut(resolve.number(candidate));
            habits.into_iter().for_each(|habits| habits.refuses_edns(event.now));
        }
        match reply.rcode {
            rcode::BADCOOKIE if datagram && form.client_cookie.is_some() => self.on_bad_cookie(event, slot, attempt),
            _ if of_the_query && form.edns && self.resolve_mut(slot).plain.set(candidate) => {
                event.counters.upstream_edns_refused += 1;
                self.ask_again(event, slot, attempt, over.protocol())
            }
            code if !is_answer(code) => {
                event.counters.upstream_errors += 1;
                self.on_error(event, slot, attempt)
            }
            // RFC 7766 §5.
            _ if reply.truncated && datagram => self.ask_again(event, slot, attempt, Protocol::Tcp),
            // Cut short where nothing needs to be: such an answer is not whole, and there is no other way to ask.
            _ if reply.truncated => {
                event.counters.upstream_malformed += 1;
                None
            }
            _ => self.on_answer(event, slot, attempt, header, message),
        }
    }

    /// The server wants another cookie and has sent it: it is asked with that, and where it is not content then, over TCP
    /// (RFC 7873 §5.3).
    fn on_bad_cookie(&mut self, event: &mut Event<'_>, slot: u32, attempt: u8) -> Option<Finished<W>> {
        event.counters.upstream_bad_cookies += 1;
        let resolve = self.resolve_mut(slot);
        let first = resolve.cookie_renewed.set(resolve.attempts[usize::from(attempt)].candidate);
        let protocol = if first { Protocol::Udp } else { Protocol::Tcp };
        self.ask_again(event, slot, attempt, protocol)
    }

    /// The answer is there, if it is one.
    fn on_answer(
        &mut self,
        event: &mut Event<'_>,
        slot: u32,
        attempt: u8,
        header: Header,
        message: &[u8],
    ) -> Option<Finished<W>> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let read = self.resolve(slot).read(event, attempt, header, message, &mut scratch);
        self.scratch = scratch;
        match read {
            Ok((kind, answer)) => {
                let by = self.resolve(slot).asked(attempt);
                self.end(event, slot, attempt, Verdict::Answered);
                Some(self.finish(event, slot, kind, Ok((answer, by))))
            }
            Err(Why::Malformed) => {
                event.counters.upstream_malformed += 1;
                None
            }
            Err(why @ (Why::NotAnAnswer | Why::LameReferral | Why::Empty)) => {
                event.counters.upstream_useless += 1;
                if why == Why::Empty && header.has(flags::RA) {
                    self.resolve_mut(slot).keep_empty(event, attempt, message);
                }
                self.on_error(event, slot, attempt)
            }
        }
    }

    /// The server answered, and nothing of use: SERVFAIL, REFUSED and the like say nothing of the name.
    fn on_error(&mut self, event: &mut Event<'_>, slot: u32, attempt: u8) -> Option<Finished<W>> {
        self.end(event, slot, attempt, Verdict::Answered);
        let resolve = self.resolve_mut(slot);
        resolve.error_came = true;
        let candidate = resolve.attempts[usize::from(attempt)].candidate;
        self.give_up(event, slot, candidate)
    }

    /// An attempt failed: nothing was sent, or the connection broke, or brought what is no reply.
    pub(super) fn on_attempt_failure(&mut self, event: &mut Event<'_>, slot: u32, attempt: u8) -> Option<Finished<W>> {
        let candidate = self.resolve(slot).attempts[usize::from(attempt)].candidate;
        self.end(event, slot, attempt, Verdict::Unreachable);
        self.give_up(event, slot, candidate)
    }

    /// A datagram is in doubt: whether it was the server's, a connection tells. The right datagram may come yet.
    fn confirm(&mut self, event: &mut Event<'_>, slot: u32, candidate: u8) -> Option<Finished<W>> {
        if !self.resolve(slot).connects(candidate) && self.ask(event, slot, candidate, Protocol::Tcp) {
            self.set_timer(slot);
        }
        None
    }

    /// The server has replied, and is asked once more in another way.
    fn ask_again(&mut self, event: &mut Event<'_>, slot: u32, attempt: u8, protocol: Protocol) -> Option<Finished<W>> {
        self.end(event, slot, attempt, Verdict::Answered);
        let resolve = self.resolve(slot);
        let candidate = resolve.attempts[usize::from(attempt)].candidate;
        // Two datagrams to one server may both come back cut short: one connection is enough.
        let asked = protocol == Protocol::Tcp && resolve.connects(candidate);
        if !asked && !self.ask(event, slot, candidate, protocol) {
            return self.give_up(event, slot, candidate);
        }
        self.set_timer(slot);
        None
    }

    /// A server is of no use for this question, whichever attempt asked it: the next is asked at once.
    fn give_up(&mut self, event: &mut Event<'_>, slot: u32, candidate: u8) -> Option<Finished<W>> {
        for attempt in 0..self.resolve(slot).attempts.len() as u8 {
            if self.resolve(slot).attempts[usize::from(attempt)].candidate == candidate {
                self.end(event, slot, attempt, Verdict::Released);
            }
        }
        self.resolve_mut(slot).failed.set(candidate);
        match self.ask_next(event, slot) {
            Ok(()) => {
                self.set_timer(slot);
                None
            }
            Err(failure) => Some(self.fail(event, slot, failure)),
        }
    }

    /// Servers whose time is over are told to be silent. Returns how many.
    pub(super) fn fall_silent(&mut self, event: &mut Event<'_>, slot: u32) -> usize {
        let resolve = self.resolve_mut(slot);
        let mut silent = 0;
        for place in 0..resolve.attempts.len() {
            let attempt = &mut resolve.attempts[place];
            if attempt.state != State::Open || event.now < attempt.until {
                continue;
            }
            attempt.state = State::Silent;
            silent += 1;
            let Attempt { candidate, over, .. } = *attempt;
            if resolve.is_usual(candidate, over) {
                event.servers.silent(event.now, resolve.number(candidate), (&resolve.name, resolve.key.qtype));
            }
        }
        event.counters.upstream_timeouts += silent as u64;
        silent
    }

    /// Ends an attempt, unless it has ended: its reply is no longer expected, its connection not needed, and what it says
    /// of its server is told.
    fn end(&mut self, event: &mut Event<'_>, slot: u32, attempt: u8, verdict: Verdict) {
        let Slot { generation, resolve } = &mut self.slots[slot as usize];
        let resolve = resolve.as_mut().expect("the caller has a question");
        let Attempt { candidate, state, over, sent, .. } = resolve.attempts[usize::from(attempt)];
        if state == State::Closed {
            return;
        }
        resolve.attempts[usize::from(attempt)].state = State::Closed;
        self.flights.remove(over);
        let number = resolve.number(candidate);
        match verdict {
            Verdict::Answered => {
                if event.answered(number, sent) {
                    self.back.push(number);
                }
            }
            Verdict::Unreachable if resolve.is_usual(candidate, over) => event.servers.unreachable(event.now, number),
            Verdict::Unreachable | Verdict::Released => event.servers.released(number),
        }
        // What brought a reply, or failed, is over already.
        if verdict == Verdict::Released && matches!(over, Over::Tcp { .. }) {
            let exchange = Whose::Attempt { slot, attempt }.exchange(*generation);
            (event.orders)(Order::EndTcp(exchange));
        }
    }

    /// Ends a question that nobody has a good answer to.
    pub(super) fn fail(&mut self, event: &mut Event<'_>, slot: u32, failure: Failure) -> Finished<W> {
        let resolve = self.resolve_mut(slot);
        match resolve.empty.take() {
            Some(empty) => self.finish(event, slot, Kind::Resolver, Ok(empty)),
            None => {
                let kind = resolve.candidates[0].kind;
                self.finish(event, slot, kind, Err(failure))
            }
        }
    }

    /// Ends a question: nothing of it is expected any more, its slot is free.
    fn finish(
        &mut self,
        event: &mut Event<'_>,
        slot: u32,
        kind: Kind,
        result: Result<(Answer, log::Asked), Failure>,
    ) -> Finished<W> {
        for attempt in 0..self.resolve(slot).attempts.len() as u8 {
            self.end(event, slot, attempt, Verdict::Released);
        }
        self.timers.unset(slot);
        let hash = self.resolve(slot).hash;
        self.questions.find_entry(hash, |&other| other == slot).expect("a question in flight is in the table").remove();
        let Slot { generation, resolve } = &mut self.slots[slot as usize];
        let resolve = resolve.take().expect("the caller has a question");
        *generation = generation.wrapping_add(1);
        self.free.push(slot);
        self.waiters -= resolve.waiters.len();
        self.background -= usize::from(resolve.background);
        self.zones.remove(resolve.zone);
        let Resolve { hash, name, key, waiters, .. } = resolve;
        Finished { hash, name, key, kind, waiters, result }
    }

    pub(super) fn set_timer(&mut self, slot: u32) {
        self.timers.set(slot, self.resolve(slot).wake());
    }
}
