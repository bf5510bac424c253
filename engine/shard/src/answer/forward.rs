//! Names that go to upstreams: from the cache, or later.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Asker, Client, Outcome, Queued, Refusal, Shard, Waiter};
use crate::cache::{Answer, Key, Reply};
use crate::resolve::{self, Ask, Event, Failure, Finished, Resolver};
use crate::time::Time;
use crate::wire::edns::ExtendedError;
use crate::wire::message::{Query, Rcode, flags};
use crate::wire::writer::Writer;

impl Shard {
    /// From the cache, or later.
    pub(super) fn answer_from_upstream(
        &mut self,
        now: Time,
        client: &Client,
        query: &Query<'_>,
        asker: Asker,
        reply: &mut [u8],
    ) -> Result<Outcome, Refusal> {
        let key = Key {
            qtype: query.qtype,
            dnssec_ok: asker.edns.is_some_and(|edns| edns.dnssec_ok),
            checking_disabled: asker.flags & flags::CD != 0,
            era: self.era,
        };
        let hash = key.hash(&self.images.hash_key, &self.name);
        if let Some(hit) = self.cache.find(now, hash, &self.name, key) {
            self.counters.cache_hits += 1;
            let form = asker.reply(&self.images, query.question, None);
            let (octets, truncated) = hit.answer.write(reply, hit.age, &form);
            self.counters.reply(hit.answer.rcode(), truncated);
            return Ok(Outcome::Reply(octets));
        }
        self.counters.cache_misses += 1;
        let Shard { images, name, cache, resolver, queue, counters, signature, .. } = self;
        let waiter = || Waiter { client: *client, asker, question: query.question.into(), signature: signature.take() };
        let taken = match resolver.find(hash, name.as_wire(), key) {
            Some(question) => {
                counters.coalesced += 1;
                resolver.join(question, waiter)
            }
            None => {
                let (candidates, timeout) = images.servers(name, query.qtype);
                let orders = &mut |order| queue.push_back(Queued::Order(order));
                let mut event = Event { now, settings: cache.settings(), counters, orders };
                let ask = Ask { hash, name: name.as_wire(), key, waiter };
                resolver.begin(&mut event, ask, candidates, timeout)
            }
        };
        match taken {
            Ok(()) => Ok(Outcome::Pending),
            Err(refused) => Err(Refusal {
                rcode: Rcode::Refused,
                error: Some(ExtendedError::Other),
                counter: match refused {
                    resolve::Refused::Resolves => |c| &mut c.refused_resolves,
                    resolve::Refused::Waiters => |c| &mut c.refused_waiters,
                },
            }),
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

    /// The query of an [`Action::AskUdp`] could not be sent from `socket`: the next server is asked at once. `id` is the
    /// query's, in its first two octets.
    pub fn on_failure_udp(&mut self, now: Time, socket: u8, id: u16) {
        self.on_event(now, |resolver, event| resolver.on_failure_udp(event, socket, id));
    }

    /// A TCP exchange failed: not connected, reset, closed without a reply.
    pub fn on_failure_tcp(&mut self, now: Time, exchange: u64) {
        self.on_event(now, |resolver, event| resolver.on_failure_tcp(event, exchange));
    }

    /// Time has come to [`Shard::deadline`], or passed it.
    pub fn on_deadline(&mut self, now: Time) {
        while self.on_event(now, Resolver::expire) {}
    }

    /// Hands an event to the questions in flight. Returns whether one of them came to its end: then its answer is kept,
    /// and given to everybody who waits.
    fn on_event(
        &mut self,
        now: Time,
        handle: impl FnOnce(&mut Resolver<Waiter>, &mut Event<'_>) -> Option<Finished<Waiter>>,
    ) -> bool {
        let Shard { resolver, cache, counters, queue, .. } = self;
        let orders = &mut |order| queue.push_back(Queued::Order(order));
        let mut event = Event { now, settings: cache.settings(), counters, orders };
        let Some(Finished { hash, name, key, waiters, result }) = handle(resolver, &mut event) else { return false };
        match &result {
            Ok(answer) => cache.insert(now, hash, &name, key, answer, counters),
            Err(_) => counters.resolves_failed += waiters.len() as u64,
        }
        queue.extend(waiters.into_iter().map(|waiter| Queued::Reply { waiter, result: result.clone() }));
        true
    }

    pub(super) fn write_reply(
        &mut self,
        waiter: &Waiter,
        result: &Result<Answer, Failure>,
        buffer: &mut [u8],
    ) -> usize {
        let Shard { images, counters, compressor, .. } = self;
        let Waiter { asker, question, .. } = waiter;
        match result {
            Ok(answer) => {
                let (octets, truncated) = answer.write(buffer, Duration::ZERO, &asker.reply(images, question, None));
                counters.reply(answer.rcode(), truncated);
                octets
            }
            Err(failure) => {
                let error = match failure {
                    Failure::Unreachable => ExtendedError::NoReachableAuthority,
                    Failure::Errors => ExtendedError::NetworkError,
                };
                let Reply { id, flags, question, opt, limit } = asker.reply(images, question, Some(error));
                let writer = Writer::new(buffer, limit, question, opt, compressor, images.hash_key);
                counters.reply(Rcode::ServFail as u16, false);
                writer.finish(id, flags | flags::QR, Rcode::ServFail)
            }
        }
    }
}
