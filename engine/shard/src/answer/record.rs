//! What is recorded of a request beside what is counted: how long its client waited, its entry in the query log, and the
//! messages themselves for dnstap.
//!
//! How a request is dealt with is noted on the way, where that is decided ([`Note`]): a few octets stored, whether anybody
//! reads them or not. Two places read them, and no other writes entries: [`Shard::on_query_recorded`] for whoever is answered
//! at once or gets nothing, and [`Shard::record_late`] for those who waited. With log and tap off a request that is
//! answered at once passes one branch.
//!
//! **Each request** whose header can be read, thus every one of `queries_udp` and `queries_tcp`, has one entry or is
//! counted in `log_sampled_out`, once it has its reply or will get none. Chance draws when the entry would be written:
//! then what each entry stands for is what its chunk says, also for those who waited while that changed.
//!
//! **The tap** gets requests as they came, malformed ones too, but for those whose header cannot be read or says that they
//! are responses: nothing of these is answered. It gets replies as they went, but for the messages of transfers, of which
//! there may be thousands to one request; and of upstreams what came from the server that was asked under the id of the
//! query, whether it is believed or not.

use std::net::SocketAddr;

use super::forward::Late;
use super::{Asker, Client, Event, Outcome, Shard, Waiter};
use crate::images::Recording;
use crate::limits::NAME_OCTETS_MAX;
use crate::telemetry::log::{self, Asked, Entry, Log, Policy};
use crate::telemetry::tap::{self, Tap};
use crate::telemetry::{Counters, Telemetry};
use crate::time::Time;
use crate::transport::Transport;
use crate::wire::message::HEADER_OCTETS;

/// How the request at hand is dealt with, as far as that is decided.
#[derive(Clone, Copy, Debug)]
#[repr(align(8))] // Begun with one store.
pub(super) struct Note {
    pub(super) outcome: log::Outcome,
    pub(super) policy: Policy,
    /// The response code, all twelve bits.
    rcode: u16,
    /// Octets of the question; none where it could not be read.
    question_octets: u16,
    dnssec_ok: bool,
    is_request: bool,
}

const _: () = assert!(size_of::<Note>() == 8);

impl Note {
    /// A request that nothing is known of yet: an error is what comes of it, unless somebody knows better.
    pub(super) const NEW: Note = Note {
        outcome: log::Outcome::Refused,
        policy: Policy::None,
        rcode: 0,
        question_octets: 0,
        dnssec_ok: false,
        is_request: true,
    };
    /// Octets that are no request: nothing is recorded of them.
    pub(super) const NO_REQUEST: Note = Note { is_request: false, ..Note::NEW };

    /// A request whose question could be read, of so many octets.
    #[inline]
    pub(super) fn asked(question_octets: u16, dnssec_ok: bool) -> Note {
        Note { question_octets, dnssec_ok, ..Note::NEW }
    }

    /// A request that is answered from a zone of ours, without an error.
    #[inline]
    pub(super) fn copied(question_octets: u16, dnssec_ok: bool) -> Note {
        Note { outcome: log::Outcome::Zone, ..Note::asked(question_octets, dnssec_ok) }
    }

    /// The question could be read.
    #[inline]
    pub(super) fn asks(&mut self, question: &[u8], asker: &Asker) {
        self.question_octets = question.len() as u16;
        self.dnssec_ok = asker.edns.is_some_and(|edns| edns.dnssec_ok);
    }

    /// A reply has been written: counts it.
    #[inline(always)] // Most callers know what it says.
    pub(super) fn replied(&mut self, counters: &mut Counters, rcode: u16, truncated: bool) {
        self.rcode = rcode;
        counters.reply(rcode, truncated);
    }

    /// The reply comes from there.
    #[inline]
    pub(super) fn is(&mut self, outcome: log::Outcome) {
        self.outcome = outcome;
    }

    /// A policy had its way, and this is what comes of it.
    pub(super) fn by(&mut self, outcome: log::Outcome, policy: Policy) {
        (self.outcome, self.policy) = (outcome, policy);
    }
}

/// What a core has recorded.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) telemetry: Telemetry,
    pub(super) log: Log,
    pub(super) tap: Tap,
    recording: Recording,
    /// Log or tap of requests.
    is_on: bool,
    draws: Draws,
    /// What [`Record::on_sent`] knows already.
    settled: [Settled; Transport::COUNT],
    /// Requests without a reply at once, so far.
    later: [u64; Transport::COUNT],
}

/// The requests of a transport, as they were when replies were last sent.
#[derive(Clone, Copy, Debug, Default)]
struct Settled {
    queries: u64,
    later: u64,
}

/// Chance, for those who need not fear that it is guessed: xorshift64* (Vigna, 2016).
#[derive(Debug)]
struct Draws(u64);

impl Draws {
    /// Whether this one of so many is drawn.
    #[inline]
    fn is_drawn(&mut self, of: u32) -> bool {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let word = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        (word * u64::from(of)) >> 32 == 0
    }
}

impl Record {
    pub(super) fn new(recording: Recording, seed: [u8; 32]) -> Record {
        let seed = u64::from_le_bytes(*seed.first_chunk().expect("32 octets hold eight"));
        let mut record = Record {
            telemetry: Telemetry::default(),
            log: Log::default(),
            tap: Tap::default(),
            recording: Recording::default(),
            is_on: false,
            // Zero would stay zero.
            draws: Draws(seed | 1),
            settled: Default::default(),
            later: Default::default(),
        };
        record.set(recording);
        record
    }

    /// What is recorded from now on.
    pub(super) fn set(&mut self, recording: Recording) {
        self.is_on = recording.log_sample > 0 || recording.tap_clients;
        self.recording = recording;
        self.log.set_sample(recording.log_sample);
    }

    /// Whether anything is recorded of requests of clients, beside what is counted.
    #[inline]
    pub(super) fn is_on(&self) -> bool {
        self.is_on
    }

    /// A request gets no reply at once: it waits, or gets none at all.
    #[inline]
    pub(super) fn later(&mut self, client: &Client) {
        self.later[client.via as usize] += 1;
    }

    /// The tap, where it is open for what is said between upstreams and us.
    #[inline]
    fn upstream_tap(&mut self) -> Option<&mut Tap> {
        self.recording.tap_upstreams.then_some(&mut self.tap)
    }

    /// Where what comes of questions in flight is recorded.
    pub(super) fn of_questions(&mut self) -> (&mut Telemetry, Option<&mut Tap>) {
        let Record { telemetry, tap, recording, .. } = self;
        (telemetry, recording.tap_upstreams.then_some(tap))
    }

    fn on_sent(&mut self, began: Time, now: Time, queries: [u64; Transport::COUNT]) {
        let micros = (now - began).as_micros() as u64;
        for (transport, queries) in queries.into_iter().enumerate() {
            let is = Settled { queries, later: self.later[transport] };
            let was = std::mem::replace(&mut self.settled[transport], is);
            let replies = (is.queries - was.queries) - (is.later - was.later);
            if replies > 0 {
                self.telemetry.at_once[transport].record_many(micros, replies);
            }
        }
        self.log.sent(latency(began, now));
        self.tap.sent(now);
    }
}

fn latency(came: Time, sent: Time) -> u32 {
    u32::try_from((sent - came).as_micros()).unwrap_or(u32::MAX)
}

impl Shard {
    /// The replies of the events since the last call have been sent: their requests came at `began`, it is `now`.
    pub fn on_sent(&mut self, began: Time, now: Time) {
        let Counters { queries_udp, queries_tcp, .. } = self.counters;
        self.record.on_sent(began, now, [queries_udp, queries_tcp]);
    }

    /// The query log, where one is kept: whoever calls the shard takes its chunks, whenever it is full after a batch.
    pub fn log(&mut self) -> &mut Log {
        &mut self.record.log
    }

    /// The messages for dnstap, where any are wanted, to be taken like chunks of the log.
    pub fn tap(&mut self) -> &mut Tap {
        &mut self.record.tap
    }

    /// What was counted so far in more than one number.
    pub fn telemetry(&self) -> &Telemetry {
        &self.record.telemetry
    }

    /// The core ends: those who wait get no reply any more, and an entry that says so.
    pub fn abandon_waiters(&mut self, now: Time) {
        let queued = std::mem::take(&mut self.queue);
        let mut abandoned = self.resolver.take_all_waiters();
        for queued in queued {
            match queued {
                super::Queued::Reply { waiter, .. } => abandoned.push(waiter),
                other => self.queue.push_back(other),
            }
        }
        self.counters.waiters_abandoned += abandoned.len() as u64;
        for waiter in abandoned {
            self.note = Note { outcome: log::Outcome::Dropped, ..Note::NEW };
            self.log_waiter(&waiter, now, None, None);
        }
    }

    /// [`Shard::on_query`] where requests are logged or tapped.
    #[inline(never)]
    pub(super) fn on_query_recorded(
        &mut self,
        now: Time,
        client: &Client,
        request: &[u8],
        reply: &mut [u8],
    ) -> Outcome {
        let outcome = self.on_message(&mut Event { now, client, request, reply: &mut *reply });
        if self.note.is_request {
            self.record(now, client, request, outcome, reply);
        }
        outcome
    }

    /// A request has been dealt with, or is left for later.
    fn record(&mut self, now: Time, client: &Client, request: &[u8], outcome: Outcome, reply: &[u8]) {
        if self.record.recording.tap_clients {
            self.record.tap.push(&tapped(tap::Kind::ClientQuery, client, (now, now), request));
            self.counters.tap_messages += 1;
            if let Outcome::Reply(octets) = outcome {
                let message = tapped(tap::Kind::ClientResponse, client, (now, now), &reply[..octets]);
                self.record.tap.push_unsent(&message);
                self.counters.tap_messages += 1;
            }
        }
        let (rcode, reply_octets) = match outcome {
            Outcome::Reply(octets) => (Some(self.note.rcode), octets as u16),
            Outcome::Transfer(_) => (Some(self.note.rcode), 0),
            Outcome::Silence => {
                self.note.is(log::Outcome::Dropped);
                (None, 0)
            }
            Outcome::Pending => return,
        };
        if !self.is_drawn() {
            return;
        }
        let question = &request[HEADER_OCTETS..][..usize::from(self.note.question_octets)];
        let asked = (question, self.note.dnssec_ok);
        self.log_entry(now, client, asked, (rcode, reply_octets), None, None);
    }

    /// The reply to somebody who waited is written, in so many octets of `reply`.
    pub(super) fn record_late(&mut self, waiter: &Waiter, late: &Late, reply: &[u8]) {
        let (now, via) = (self.moment, waiter.client.via);
        self.record.telemetry.waited[via as usize].record((now - waiter.came).as_micros() as u64);
        if !self.record.is_on {
            return;
        }
        if self.record.recording.tap_clients {
            self.record.tap.push(&tapped(tap::Kind::ClientResponse, &waiter.client, (waiter.came, now), reply));
            self.counters.tap_messages += 1;
        }
        let (outcome, upstream) = match late {
            Late::Fresh(_, by) => (log::Outcome::Resolved, Some(*by)),
            Late::Stale(_) => (log::Outcome::Stale, None),
            Late::Failed(_) => (log::Outcome::Failed, None),
        };
        self.note.by(outcome, Policy::None);
        self.log_waiter(waiter, now, Some(reply.len()), upstream);
    }

    /// A query to an upstream is written.
    #[inline]
    pub(super) fn record_asked(&mut self, server: SocketAddr, tcp: bool, octets: &[u8]) {
        let (kind, asked, at) = (tap::Kind::UpstreamQuery, self.moment, self.moment);
        if let Some(tap) = self.record.upstream_tap() {
            tap.push(&tap::Message { kind, tcp, asked, at, peer: server, local: None, listener: 0, octets });
            self.counters.tap_messages += 1;
        }
    }

    /// The entry of somebody who waited; without octets: in vain.
    fn log_waiter(&mut self, waiter: &Waiter, now: Time, octets: Option<usize>, upstream: Option<Asked>) {
        if !self.is_drawn() {
            return;
        }
        let dnssec_ok = waiter.asker.edns.is_some_and(|edns| edns.dnssec_ok);
        let said = octets.map_or((None, 0), |octets| (Some(self.note.rcode), octets as u16));
        let latency = Some(latency(waiter.came, now));
        self.log_entry(waiter.came, &waiter.client, (&waiter.question, dnssec_ok), said, latency, upstream);
    }

    /// Whether this request has an entry; it is counted either way, where there is a log.
    fn is_drawn(&mut self) -> bool {
        let of = self.record.recording.log_sample;
        if of == 0 {
            return false;
        }
        let is_drawn = self.record.draws.is_drawn(of);
        *if is_drawn { &mut self.counters.log_entries } else { &mut self.counters.log_sampled_out } += 1;
        is_drawn
    }

    /// Writes an entry; without a latency: that is known when the batch has been sent.
    fn log_entry(
        &mut self,
        at: Time,
        client: &Client,
        (question, dnssec_ok): (&[u8], bool),
        (rcode, reply_octets): (Option<u16>, u16),
        latency_micros: Option<u32>,
        upstream: Option<Asked>,
    ) {
        let (asked, [t0, t1, ..]) = question.split_last_chunk().unwrap_or((&[], &[0; 4]));
        let mut name = [0; NAME_OCTETS_MAX];
        let name = &mut name[..asked.len()];
        name.copy_from_slice(asked);
        name.make_ascii_lowercase();
        let entry = Entry {
            at,
            latency_micros: latency_micros.unwrap_or(0),
            client: client.peer,
            transport: client.via,
            name,
            qtype: u16::from_be_bytes([*t0, *t1]),
            rcode,
            reply_octets,
            dnssec_ok,
            outcome: self.note.outcome,
            policy: self.note.policy,
            upstream,
        };
        self.record.log.push(&entry, latency_micros.is_none() && rcode.is_some());
    }
}

fn tapped<'m>(kind: tap::Kind, client: &Client, (asked, at): (Time, Time), octets: &'m [u8]) -> tap::Message<'m> {
    let Client { peer, local, via, listener, .. } = *client;
    tap::Message { kind, tcp: via == Transport::Tcp, asked, at, peer, local, listener, octets }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_draws_one_of_so_many() {
        for of in [1, 2, 10, 1_000] {
            let mut draws = Draws(7);
            let drawn = (0..1_000_000).filter(|_| draws.is_drawn(of)).count() as f64;
            let expected = 1e6 / f64::from(of);
            // Five standard deviations.
            assert!((drawn - expected).abs() <= 5.0 * expected.sqrt() * f64::from(of > 1), "{drawn} of one in {of}");
        }
    }
}
