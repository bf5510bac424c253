//! Names that go to upstreams: from the cache, or later.
//!
//! **The order of the steps** for a question that the cache has no fresh answer to:
//!
//! 1. an ancestor that does not exist answers for what is below it (RFC 8020);
//! 2. a failure of a moment ago is not repeated (RFC 9520): what has run out is served at once (RFC 8767), else SERVFAIL;
//! 3. with every server down, what has run out is served at once;
//! 4. the asker waits for the question that is in flight, or for a new one: until it ends, or until `stale_after` has passed
//!    where there is something that has run out;
//! 5. a bound that is reached means what has run out, else REFUSED.
//!
//! A question ends with an answer, which is kept and given to all who wait, or with a failure, which is remembered. It
//! goes on when those who waited have been served what had run out: its answer is for the next.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use smallvec::SmallVec;

use super::authoritative::{ANY_HINFO, ANY_TTL};
use super::record::Note;
use super::{Asker, Client, Outcome, Queued, Refusal, Shard, Waiter};
use crate::cache::{Answer, AnswerRef, Failure, Found, Key, Plain, Reply, Written};
use crate::images::Images;
use crate::limits::{REFRESHES_A_SECOND_MAX, REFRESHES_AT_ONCE_MAX};
use crate::resolve::{self, Ask, Event, Finished, Question, Resolver, Woken};
use crate::telemetry::Counters;
use crate::telemetry::log::{self, Policy};
use crate::time::Time;
use crate::upstream::Kind;
use crate::wire::edns::ExtendedError;
use crate::wire::message::{Query, Rcode, Section, flags};
use crate::wire::rdata::rtype;
use crate::wire::writer::{QUESTION_NAME, Writer};

const NXDOMAIN: u16 = Rcode::NxDomain as u16;

/// What those who waited for a question get.
#[derive(Debug)]
pub(super) enum Late {
    /// An answer that came just now, from there.
    Fresh(Answer, log::Asked),
    /// One that has run out.
    Stale(Stale),
    /// SERVFAIL.
    Failed(Failure),
}

/// An answer that has run out.
#[derive(Debug)]
pub(super) struct Stale {
    answer: Answer,
    age: Duration,
}

/// A question for upstreams, as the cache knows it.
#[derive(Clone, Copy, Debug)]
struct Asked {
    key: Key,
    hash: u64,
    kind: Kind,
    /// Labels of the route's suffix.
    suffix_labels: usize,
}

/// Lets so many refreshes through a second, and a few more at once: a bucket of tokens, kept as the time at which it is full.
#[derive(Debug, Default)]
pub(super) struct Pace(Time);

impl Pace {
    fn admits(&mut self, now: Time) -> bool {
        const EACH: Duration = Duration::from_micros(1_000_000 / REFRESHES_A_SECOND_MAX);
        let full_at = self.0.max(now) + EACH;
        let admitted = full_at <= now + EACH * REFRESHES_AT_ONCE_MAX;
        if admitted {
            self.0 = full_at;
        }
        admitted
    }
}

impl Shard {
    /// From the cache, or later.
    #[inline]
    pub(super) fn answer_from_upstream(
        &mut self,
        now: Time,
        client: &Client,
        query: &Query<'_>,
        asker: Asker,
        reply: &mut [u8],
    ) -> Result<Outcome, Refusal> {
        let key = self.key(query, &asker);
        if let Some(opt) = asker.plain_opt() {
            let (question, limit) = (query.question, asker.limit.into());
            let form = Plain { id: asker.id, flags: asker.flags, question, opt, limit };
            let hash = key.hash(&self.images.hash_key, &self.name);
            let hit = self.cache.find_plainly(now, hash, &self.name, key);
            if let Some(written) = hit.and_then(|hit| hit.write(form, reply)) {
                return Ok(self.is_hit(now, key, written));
            }
        }
        self.answer_otherwise(now, client, query, asker, reply)
    }

    /// The reply to the question at hand, which is kept under `key`, has been written from the cache: counts it.
    #[inline(always)] // A part of the way of most hits.
    pub(super) fn is_hit(&mut self, now: Time, key: Key, written: Written) -> Outcome {
        self.counters.cache_hits += 1;
        self.note.is(log::Outcome::Cache);
        self.note.replied(&mut self.counters, written.rcode, false);
        if written.refresh {
            self.refresh_asked(now, key);
        }
        Outcome::Reply(written.octets)
    }

    /// What a question is kept under.
    #[inline]
    fn key(&self, query: &Query<'_>, asker: &Asker) -> Key {
        Key {
            qtype: query.qtype,
            dnssec_ok: asker.dnssec_ok(),
            checking_disabled: asker.flags & flags::CD != 0,
            era: self.era,
        }
    }

    /// From the cache where that takes more than the short way, or later.
    #[inline(never)] // So that a hit has a short way.
    pub(super) fn answer_otherwise(
        &mut self,
        now: Time,
        client: &Client,
        query: &Query<'_>,
        asker: Asker,
        reply: &mut [u8],
    ) -> Result<Outcome, Refusal> {
        let key = self.key(query, &asker);
        let hash = key.hash(&self.images.hash_key, &self.name);
        let stale = match self.cache.find(now, hash, &self.name, key) {
            Found::Fresh(hit) => {
                self.counters.cache_hits += 1;
                self.note.is(log::Outcome::Cache);
                let (said, tally) = ((hit.answer, hit.age), (&mut self.note, &mut self.counters));
                let octets = write_answer(&self.images, tally, &asker, query.question, said, reply);
                if hit.refresh {
                    self.refresh(now, key, hash);
                }
                return Ok(Outcome::Reply(octets));
            }
            Found::Stale(hit) => Some(Stale { answer: hit.answer.to_answer(), age: hit.age }),
            Found::Nothing => None,
        };
        self.answer_missed(now, client, query, asker, (key, hash, stale), reply)
    }

    /// The same without a fresh answer in the cache.
    fn answer_missed(
        &mut self,
        now: Time,
        client: &Client,
        query: &Query<'_>,
        asker: Asker,
        (key, hash, stale): (Key, u64, Option<Stale>),
        reply: &mut [u8],
    ) -> Result<Outcome, Refusal> {
        self.counters.cache_misses += 1;
        let (pools, suffix_labels) = self.images.pools_of(&self.name, query.qtype);
        let all_down = self.servers.all_down(pools);
        let asked = Asked { key, hash, kind: self.images.kind_of(pools), suffix_labels };
        if asked.kind == Kind::Authoritative && query.qtype == rtype::ANY {
            self.note.is(log::Outcome::Local);
            return Ok(Outcome::Reply(self.write_any(&asker, query, reply)));
        }
        if let Some(hit) = self.cache.find_above(now, &self.name, key, suffix_labels) {
            self.counters.cache_cuts += 1;
            self.note.is(log::Outcome::Cache);
            let (said, tally) = ((hit.answer, hit.age), (&mut self.note, &mut self.counters));
            let octets = write_answer(&self.images, tally, &asker, query.question, said, reply);
            return Ok(Outcome::Reply(octets));
        }
        if self.cache.failure(now, hash).is_some() {
            self.counters.failures_repeated += 1;
            let Some(stale) = stale else {
                let error = ExtendedError::CachedError;
                self.note.is(log::Outcome::Failed);
                return Ok(Outcome::Reply(self.write_failed(&asker, query.question, asked.kind, error, reply)));
            };
            self.counters.stale_failed += 1;
            self.note.is(log::Outcome::Stale);
            return Ok(Outcome::Reply(self.write_stale(&asker, query.question, &stale, reply)));
        }
        if let Some(stale) = &stale {
            let late = || {
                let question = self.resolver.find(hash, self.name.as_wire(), key)?;
                Some(self.resolver.is_late(question, now))
            };
            let counter = match () {
                () if all_down => Some(&mut self.counters.stale_down),
                () if late() == Some(true) => Some(&mut self.counters.stale_slow),
                () => None,
            };
            if let Some(counter) = counter {
                *counter += 1;
                self.note.is(log::Outcome::Stale);
                return Ok(Outcome::Reply(self.write_stale(&asker, query.question, stale, reply)));
            }
        }
        let Err(refused) = self.wait(now, client, query, asker, asked, stale.is_some()) else {
            self.record.later(client);
            return Ok(Outcome::Pending);
        };
        let Some(stale) = stale else { return Err(Refusal::limited(refused, asked.kind)) };
        self.counters.stale_limited += 1;
        self.note.by(log::Outcome::Stale, Policy::Bound);
        Ok(Outcome::Reply(self.write_stale(&asker, query.question, &stale, reply)))
    }

    /// The asker waits for the question in flight, or for a new one; or a bound is reached: `None` where it is counted
    /// already.
    fn wait(
        &mut self,
        now: Time,
        client: &Client,
        query: &Query<'_>,
        asker: Asker,
        asked: Asked,
        has_stale: bool,
    ) -> Result<(), Option<resolve::Refused>> {
        let Shard { name, cache, resolver, zones, counters, .. } = self;
        let Asked { key, hash, kind, suffix_labels } = asked;
        let stale_at = has_stale.then(|| now + cache.settings().stale_after);
        // Whoever waits takes the signature along; who is refused needs it at once.
        let mut signature = self.signature.take();
        let waiter = || Waiter {
            client: *client,
            came: now,
            asker,
            question: query.question.into(),
            kind,
            signature: signature.take(),
        };
        let taken = if let Some(question) = resolver.find(hash, name.as_wire(), key) {
            counters.coalesced += 1;
            let joined = resolver.join(question, waiter);
            if let (Ok(()), Some(at)) = (joined, stale_at) {
                resolver.stale_from(question, at);
            }
            joined.map_err(Some)
        } else {
            // A name that is known is none of a flood.
            let zone = match has_stale {
                true => Some(zones.zone_of(name, suffix_labels).0),
                false => zones.charge(now, name, suffix_labels, counters),
            };
            match zone {
                Some(zone) => self.begin(now, (key, hash), Some(waiter), zone, stale_at).map_err(Some),
                None => Err(None),
            }
        };
        self.signature = signature;
        taken
    }

    /// Begins a question for the name at hand.
    fn begin(
        &mut self,
        now: Time,
        (key, hash): (Key, u64),
        waiter: Option<impl FnOnce() -> Waiter>,
        zone: u64,
        stale_at: Option<Time>,
    ) -> Result<(), resolve::Refused> {
        self.moment = now;
        let Shard { images, name, cache, resolver, servers, queue, counters, record, .. } = self;
        let (pools, suffix_labels) = images.pools_of(name, key.qtype);
        let choice = servers.choose(now, pools, name, suffix_labels);
        let ask = Ask { hash, name: name.as_wire(), key, waiter, zone, suffix_labels, stale_at };
        let orders = &mut |order| queue.push_back(Queued::Order(order));
        let (telemetry, tap) = record.of_questions();
        let mut event = Event { now, settings: cache.settings(), servers, counters, telemetry, tap, orders };
        resolver.begin(&mut event, ask, choice, images.timeout_of(pools))
    }

    /// As [`Shard::refresh`], for the question at hand, which is kept under `key`.
    #[cold]
    #[inline(never)]
    fn refresh_asked(&mut self, now: Time, key: Key) {
        self.refresh(now, key, key.hash(&self.images.hash_key, &self.name));
    }

    /// Asks anew for a name that is asked for often, before its answer runs out; nobody waits for it.
    fn refresh(&mut self, now: Time, key: Key, hash: u64) {
        let Shard { images, name, resolver, servers, zones, counters, pace, .. } = self;
        let (pools, suffix_labels) = images.pools_of(name, key.qtype);
        if resolver.find(hash, name.as_wire(), key).is_some() || servers.all_down(pools) {
            return;
        }
        if !pace.admits(now) {
            counters.refreshes_held_back += 1;
            return;
        }
        let zone = zones.zone_of(name, suffix_labels).0;
        match self.begin(now, (key, hash), None::<fn() -> Waiter>, zone, None) {
            Ok(()) => self.counters.refreshes += 1,
            Err(_) => self.counters.refreshes_held_back += 1,
        }
    }

    /// A datagram came from `server` on upstream socket `socket`.
    pub fn on_reply_udp(&mut self, now: Time, socket: u8, server: SocketAddr, message: &[u8]) {
        self.on_event(now, |resolver, event| resolver.on_reply_udp(event, socket, server, message));
    }

    /// The reply of a TCP exchange came, without its length prefix.
    pub fn on_reply_tcp(&mut self, now: Time, exchange: u64, message: &[u8]) {
        self.on_event(now, |resolver, event| resolver.on_reply_tcp(event, exchange, message));
    }

    /// The query of an [`Action::AskUdp`](super::Action::AskUdp) could not be sent from `socket`: the next server is asked
    /// at once. `id` is the query's, in its first two octets.
    pub fn on_failure_udp(&mut self, now: Time, socket: u8, id: u16) {
        self.on_event(now, |resolver, event| resolver.on_failure_udp(event, socket, id));
    }

    /// A TCP exchange failed: not connected, reset, closed without a reply.
    pub fn on_failure_tcp(&mut self, now: Time, exchange: u64) {
        self.on_event(now, |resolver, event| resolver.on_failure_tcp(event, exchange));
    }

    /// Hands an event to the questions in flight, and sees to the one that it ended.
    fn on_event(
        &mut self,
        now: Time,
        handle: impl FnOnce(&mut Resolver<Waiter>, &mut Event<'_>) -> Option<Finished<Waiter>>,
    ) {
        if let Some(finished) = self.handle(now, handle) {
            self.finish(now, finished);
        }
    }

    fn handle<T>(&mut self, now: Time, handle: impl FnOnce(&mut Resolver<Waiter>, &mut Event<'_>) -> T) -> T {
        self.moment = now;
        let Shard { resolver, cache, servers, counters, queue, record, .. } = self;
        let orders = &mut |order| queue.push_back(Queued::Order(order));
        let (telemetry, tap) = record.of_questions();
        let mut event = Event { now, settings: cache.settings(), servers, counters, telemetry, tap, orders };
        let done = handle(resolver, &mut event);
        if resolver.take_back(now) {
            // What failed without the server may succeed with it.
            cache.forget_failures();
        }
        done
    }

    /// Time has come to [`Shard::deadline`], or passed it.
    pub fn on_deadline(&mut self, now: Time) {
        while let Some(woken) = self.handle(now, Resolver::expire) {
            match woken {
                Woken::Finished(finished) => self.finish(now, finished),
                Woken::Stale(question) => self.serve_stale(now, question),
            }
        }
        while let Some(probe) = self.servers.probe(now) {
            self.handle(now, |resolver, event| resolver.probe(event, probe));
        }
        if self.tidy_at.is_some_and(|at| at <= now) {
            self.tidy_at = self.cache.janitor(now, &mut self.counters);
        }
    }

    /// The next moment at which [`Shard::on_deadline`] has something to do.
    pub fn deadline(&self) -> Option<Time> {
        [self.resolver.deadline(), self.servers.next_probe(), self.tidy_at].into_iter().flatten().min()
    }

    /// A question came to its end: its answer is kept, or its failure, and everybody who waits gets it.
    fn finish(&mut self, now: Time, finished: Finished<Waiter>) {
        let Finished { hash, name, key, waiters, result, .. } = finished;
        let waiting = waiters.len() as u64;
        let late = match result {
            Ok((answer, by)) => {
                let Shard { images, cache, zones, other, counters, .. } = self;
                cache.insert(now, hash, &name, key, &answer, counters);
                if let Some(apex) = answer.zone_labels()
                    && other.set(&images.hash_key, &name).is_some()
                {
                    zones.learn(other, apex.into());
                }
                self.tidy_at = self.tidy_at.or_else(|| self.cache.janitor(now, &mut self.counters));
                Late::Fresh(answer, by)
            }
            Err(failure) => {
                self.cache.failed(now, hash, failure, &mut self.counters);
                match self.stale(now, hash, &name, key) {
                    Some(stale) => {
                        self.counters.stale_failed += waiting;
                        Late::Stale(stale)
                    }
                    None => {
                        self.counters.resolves_failed += waiting;
                        Late::Failed(failure)
                    }
                }
            }
        };
        self.reply_later(waiters, late);
    }

    /// Everybody who waited gets this.
    fn reply_later(&mut self, waiters: SmallVec<[Waiter; 1]>, late: Late) {
        let late = Rc::new(late);
        self.queue.extend(waiters.into_iter().map(|waiter| Queued::Reply { waiter, late: Rc::clone(&late) }));
    }

    /// Those who wait have waited long enough for a fresh answer. Where what had run out was put out of the cache
    /// meanwhile, they go on waiting.
    fn serve_stale(&mut self, now: Time, question: Question) {
        let (hash, name, key) = self.resolver.details(question);
        let name: SmallVec<[u8; 64]> = name.into();
        let Some(stale) = self.stale(now, hash, &name, key) else { return };
        let waiters = self.resolver.take_waiters(question);
        self.counters.stale_slow += waiters.len() as u64;
        self.reply_later(waiters, Late::Stale(stale));
    }

    /// What has run out for a question.
    fn stale(&mut self, now: Time, hash: u64, name: &[u8], key: Key) -> Option<Stale> {
        self.other.set(&self.images.hash_key, name)?;
        match self.cache.find(now, hash, &self.other, key) {
            Found::Stale(hit) => Some(Stale { answer: hit.answer.to_answer(), age: hit.age }),
            _ => None,
        }
    }

    /// Writes the reply to somebody who waited. Returns its length.
    pub(super) fn write_late(&mut self, waiter: &Waiter, late: &Late, reply: &mut [u8]) -> usize {
        let Waiter { asker, question, kind, .. } = waiter;
        match late {
            Late::Fresh(answer, _) => {
                let (said, tally) = ((answer.as_ref(), Duration::ZERO), (&mut self.note, &mut self.counters));
                write_answer(&self.images, tally, asker, question, said, reply)
            }
            Late::Stale(stale) => self.write_stale(asker, question, stale, reply),
            Late::Failed(failure) => {
                let error = match failure {
                    Failure::Unreachable => ExtendedError::NoReachableAuthority,
                    Failure::Errors => ExtendedError::NetworkError,
                };
                self.write_failed(asker, question, *kind, error, reply)
            }
        }
    }

    fn write_stale(&mut self, asker: &Asker, question: &[u8], stale: &Stale, reply: &mut [u8]) -> usize {
        let Stale { answer, age } = stale;
        let error = match answer.rcode() {
            NXDOMAIN => ExtendedError::StaleNxDomain,
            _ => ExtendedError::StaleAnswer,
        };
        let form = Reply { stale: true, ..asker.reply(&self.images, question, Some(error)) };
        let (octets, truncated) = answer.write(reply, *age, &form);
        self.note.replied(&mut self.counters, answer.rcode(), truncated);
        octets
    }

    fn write_failed(
        &mut self,
        asker: &Asker,
        question: &[u8],
        kind: Kind,
        error: ExtendedError,
        reply: &mut [u8],
    ) -> usize {
        let Shard { images, counters, note, compressor, .. } = self;
        let Reply { id, flags, question, opt, limit, .. } = asker.reply(images, question, Some(error));
        let writer = Writer::new(reply, limit, question, opt, compressor, images.hash_key);
        note.replied(counters, Rcode::ServFail as u16, false);
        writer.finish(id, flags | flags::QR | kind.recursion(), Rcode::ServFail)
    }

    /// ANY for a name of an origin: the origin is spared (RFC 8482 §4.2).
    #[cold]
    fn write_any(&mut self, asker: &Asker, query: &Query<'_>, reply: &mut [u8]) -> usize {
        let Shard { images, counters, note, compressor, .. } = self;
        let Reply { id, flags, question, opt, limit, .. } = asker.reply(images, query.question, None);
        let mut writer = Writer::new(reply, limit, question, opt, compressor, images.hash_key);
        let hinfo = [ANY_HINFO].into_iter();
        let truncated = writer.rrset(Section::Answer, QUESTION_NAME, rtype::HINFO, ANY_TTL, hinfo).is_err();
        if truncated {
            writer.truncate();
        }
        note.replied(counters, Rcode::NoError as u16, truncated);
        writer.finish(id, flags | flags::QR | flags::AA, Rcode::NoError)
    }
}

/// Writes the reply that is made of an answer of this age. Returns its length.
fn write_answer(
    images: &Images,
    (note, counters): (&mut Note, &mut Counters),
    asker: &Asker,
    question: &[u8],
    (answer, age): (AnswerRef<'_>, Duration),
    reply: &mut [u8],
) -> usize {
    let (octets, truncated) = answer.write(reply, age, &asker.reply(images, question, None));
    note.replied(counters, answer.rcode(), truncated);
    octets
}
