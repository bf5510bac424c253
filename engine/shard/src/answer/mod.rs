//! The one door: every transport brings its requests to [`Shard::on_query`], and this module alone knows the order of
//! the steps.
//!
//! **The life of a query that is answered at once.** [`Shard::on_query`] reads header, question and OPT in place
//! ([`Query::parse`]), which also folds and hashes the name into the shard's scratch; checks the asker
//! ([`Acl`](crate::guard::Acl)), class and type; finds the longest route. For a zone of ours, `authoritative` follows
//! RFC 1034 §4.3.2 with [`lookup`](crate::zone::lookup::lookup) and writes RRsets straight from the image. For
//! upstreams, [`Cache::find`] has the answer and [`Answer::write`] copies and patches it. Neither path allocates.
//!
//! **The life of a query that is resolved.** On a cache miss the asker becomes a `Waiter` of a question in flight
//! ([`Resolver::find`], [`Resolver::join`]) or of a new one ([`Resolver::begin`]), and the rim is told
//! [`Outcome::Pending`]. [`Shard::poll_action`] gives the rim the query to send. Its reply comes back through
//! [`Shard::on_reply_udp`] or [`Shard::on_reply_tcp`]; a silent server is noticed in [`Shard::on_deadline`]. When the
//! question has come to its end, the answer goes to the cache and to everybody who waits, again as actions.
//!
//! **What takes another way.** A request with TSIG is verified first, and its reply signed at the end (`signed`). AXFR and
//! IXFR (`transfer`) and NOTIFY (`notify`) are for the peers that a zone lists, whoever else may ask at the listener. Over
//! UDP equal answers of zones may be limited (`limited`). None of these costs a plain query more than a look.

mod asker;
mod authoritative;
mod chaos;
mod forward;
mod limited;
mod notify;
mod signed;
mod transfer;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use smallvec::SmallVec;

use crate::cache::{Answer, Cache};
use crate::guard::rrl::Limiter;
use crate::images::Images;
use crate::limits::{IDENTITY_OCTETS_MAX, MESSAGE_OCTETS_MAX, RESOLVES_MAX};
use crate::resolve::{self, Failure, Order, Resolver};
use crate::telemetry::Counters;
use crate::time::Time;
use crate::upstream::Target;
use crate::wire::edns::{self, ExtendedError};
use crate::wire::message::{HEADER_OCTETS, Header, Query, Rcode, flags, opcode};
use crate::wire::name::KeyedName;
use crate::wire::rdata::{CLASS_IN, rtype};
use crate::wire::writer::{Compressor, Writer};
use asker::Asker;
use authoritative::Chain;
use signed::Signature;
pub use transfer::TransferMessage;
use transfer::Transfers;

/// How a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A datagram.
    Udp,
    /// A TCP connection.
    Tcp,
}

/// Who asked, and how the answer goes back. The shard reads `peer`, `via` and `listener`, and returns the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The asker's address and port.
    pub peer: SocketAddr,
    /// The address of ours that was asked, where the rim needs it for the reply (UDP).
    pub local: Option<IpAddr>,
    /// How the request came in.
    pub via: Transport,
    /// Index of the listener in [`Images::listeners`].
    pub listener: u16,
    /// The rim's own mark of the connection; zero for UDP.
    pub connection: u64,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The reply stands in the first octets of the buffer: send them.
    Reply(usize),
    /// The answer comes later, as [`Action::Reply`].
    Pending,
    /// The answer is a sequence of messages, under this number: ask [`Shard::transfer_message`] for each of them, or
    /// call [`Shard::end_transfer`] when the connection is gone. Over TCP only.
    Transfer(u32),
    /// Nothing is to be sent, now or later.
    Silence,
}

/// What the rim must do. The octets meant are the first `octets` of the buffer given to [`Shard::poll_action`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send the octets to this client.
    Reply {
        /// The client, as it was given to [`Shard::on_query`].
        client: Client,
        /// Length of the reply.
        octets: usize,
    },
    /// Send the octets from upstream socket `socket` (of the server's address family) to `server`.
    AskUdp {
        /// Index of the socket, below [`Bounds::udp_ports`](crate::images::Bounds::udp_ports).
        socket: u8,
        /// Where to.
        server: SocketAddr,
        /// Length of the query.
        octets: usize,
    },
    /// Open a TCP connection to `server`, send the octets (with the length prefix of RFC 1035 §4.2.2, which the
    /// rim adds), and hand the reply to [`Shard::on_reply_tcp`] or the failure to [`Shard::on_failure_tcp`].
    AskTcp {
        /// The shard's mark of this exchange.
        exchange: u64,
        /// Where to.
        server: SocketAddr,
        /// Length of the query.
        octets: usize,
    },
    /// A primary says that a secondary zone has changed (RFC 1996); it is answered already.
    Notified {
        /// The zone, by its index in the images in force.
        zone: u32,
        /// The serial that the primary tells, where it tells one.
        serial: Option<u32>,
        /// The primary.
        peer: IpAddr,
    },
    /// Close the connection of this exchange; its reply is no longer wanted.
    EndTcp {
        /// As in the [`Action::AskTcp`] that opened it.
        exchange: u64,
    },
}

/// Somebody who waits for an answer.
#[derive(Debug)]
struct Waiter {
    client: Client,
    asker: Asker,
    /// The question as the client spelt it.
    question: SmallVec<[u8; 48]>,
    /// Where the answer must be signed.
    signature: Option<Box<Signature>>,
}

/// What waits to be handed to the rim.
#[derive(Debug)]
enum Queued {
    Reply { waiter: Waiter, result: Result<Answer, Failure> },
    Order(Order),
    Notified { zone: u32, serial: Option<u32>, peer: IpAddr },
}

/// One core's engine.
///
/// Calling order: after any `on_…` call, call [`Shard::poll_action`] until it returns `None`, then arrange to call
/// [`Shard::on_deadline`] no later than [`Shard::deadline`].
#[derive(Debug)]
pub struct Shard {
    images: Arc<Images>,
    /// The name asked for, then each further name of its chain.
    name: KeyedName,
    /// Names that lead to additional records.
    other: KeyedName,
    chain: Chain,
    compressor: Compressor,
    cache: Cache,
    /// See [`Key::era`].
    era: u16,
    resolver: Resolver<Waiter>,
    queue: VecDeque<Queued>,
    counters: Counters,
    /// The time of the day, for TSIG.
    unix_seconds: u64,
    /// That of the request at hand, once it is verified, until somebody takes it over for the reply.
    signature: Option<Box<Signature>>,
    transfers: Transfers,
    /// Limits what goes out over UDP, where that is configured.
    limiter: Option<Limiter>,
    limiter_seed: [u8; 16],
}

/// The reason of a refusal, and which counter holds it.
struct Refusal {
    rcode: Rcode,
    error: Option<ExtendedError>,
    counter: fn(&mut Counters) -> &mut u64,
}

impl Shard {
    /// An engine with nothing cached and nothing in flight. `seed` must be unpredictable to others: ids and sockets
    /// of upstream queries come from it.
    pub fn new(images: Arc<Images>, seed: [u8; 32]) -> Shard {
        check(&images);
        let limiter_seed = limited::seed(seed);
        Shard {
            name: KeyedName::default(),
            other: KeyedName::default(),
            chain: Chain::default(),
            compressor: Compressor::default(),
            cache: Cache::new(images.cache),
            era: 0,
            resolver: Resolver::new(images.hash_key, images.bounds, seed),
            queue: VecDeque::new(),
            counters: Counters::default(),
            unix_seconds: 0,
            signature: None,
            transfers: Transfers::default(),
            limiter: images.rrl.as_ref().and_then(|rrl| Limiter::new(rrl, limiter_seed)),
            limiter_seed,
            images,
        }
    }

    /// The time of the day, in seconds since the beginning of 1970, by which signatures are made and verified: to be
    /// told before the first event, and whenever it may have changed since the last.
    pub fn on_clock(&mut self, unix_seconds: u64) {
        self.unix_seconds = unix_seconds;
    }

    /// A request came in. `request` is the message without a length prefix; the reply is written to `reply`, which
    /// must hold [`UDP_REPLY_OCTETS_MAX`](crate::limits::UDP_REPLY_OCTETS_MAX) octets for UDP,
    /// [`MESSAGE_OCTETS_MAX`] otherwise.
    pub fn on_query(&mut self, now: Time, client: &Client, request: &[u8], reply: &mut [u8]) -> Outcome {
        let Some(header) = Header::parse(request).filter(|header| !header.has(flags::QR)) else {
            self.counters.dropped_malformed += 1;
            return Outcome::Silence;
        };
        match client.via {
            Transport::Udp => self.counters.queries_udp += 1,
            Transport::Tcp => self.counters.queries_tcp += 1,
        }
        if !matches!(header.opcode(), opcode::QUERY | opcode::NOTIFY) {
            self.counters.notimp += 1;
            return self.bare(header, Rcode::NotImp, reply);
        }
        let Ok(query) = Query::parse(header, request, &self.images.hash_key, &mut self.name) else {
            self.counters.formerr += 1;
            return self.bare(header, Rcode::FormErr, reply);
        };
        let mut asker = Asker::new(client, &query);
        if query.is_signed
            && let Err(outcome) = self.verify(request, &query, &mut asker, reply)
        {
            return outcome;
        }
        let answered = match header.opcode() {
            opcode::QUERY => self.answer(now, client, request, &query, asker, reply),
            _ => self.on_notify(client, request, &query, reply),
        };
        let outcome = match answered {
            Ok(outcome) => outcome,
            Err(refusal) => self.refuse(now, client, &query, asker, refusal, reply),
        };
        if query.is_signed {
            return self.sign_outcome(&query, &asker, outcome, reply);
        }
        outcome
    }

    /// The steps of a well-formed query, in their order.
    #[inline]
    fn answer(
        &mut self,
        now: Time,
        client: &Client,
        request: &[u8],
        query: &Query<'_>,
        asker: Asker,
        reply: &mut [u8],
    ) -> Result<Outcome, Refusal> {
        if query.edns.is_some_and(|edns| edns.version > edns::VERSION) {
            return Err(Refusal { rcode: Rcode::BadVers, error: None, counter: |c| &mut c.badvers });
        }
        if query.qclass == CLASS_IN && matches!(query.qtype, rtype::IXFR | rtype::AXFR) {
            // Each zone has a list of its own, whoever may ask at this listener.
            return self.answer_transfer(client, request, query, asker, reply);
        }
        let listener = self.images.listeners.get(usize::from(client.listener));
        if !listener.is_some_and(|listener| listener.allow.contains(client.peer.ip()))
            && !self.is_refresh(client, query)
        {
            return Err(Refusal::prohibited(|c| &mut c.refused_acl));
        }
        if query.qclass != CLASS_IN {
            return self.answer_chaos(query, asker, reply);
        }
        match query.qtype {
            0 | rtype::OPT => return Err(Refusal::formerr()),
            rtype::TKEY..=rtype::MAILA => return Err(Refusal::prohibited(|c| &mut c.refused_type)),
            _ => {}
        }
        let images = &self.images;
        match images.route(&self.name, query.qtype) {
            Some(&Target::Zone(zone)) if images.image(zone).is_none() => Err(Refusal::not_ready()),
            Some(&Target::Zone(zone)) => {
                if self.limiter.is_some()
                    && let Some(outcome) = self.limit_answer(now, client, zone, query, asker, reply)
                {
                    return Ok(outcome);
                }
                Ok(self.answer_from_zone(zone, query, asker, reply))
            }
            Some(Target::Pools(_)) => self.answer_from_upstream(now, client, query, asker, reply),
            Some(Target::Refuse) | None => Err(Refusal::prohibited(|c| &mut c.refused_route)),
        }
    }

    /// The next moment at which [`Shard::on_deadline`] has something to do.
    pub fn deadline(&self) -> Option<Time> {
        self.resolver.deadline()
    }

    /// The next thing for the rim to do. `buffer` must hold [`MESSAGE_OCTETS_MAX`] octets.
    pub fn poll_action(&mut self, buffer: &mut [u8]) -> Option<Action> {
        assert!(buffer.len() >= MESSAGE_OCTETS_MAX);
        loop {
            match self.queue.pop_front()? {
                Queued::Reply { mut waiter, result } => {
                    let mut octets = self.write_reply(&waiter, &result, buffer);
                    if let Some(signature) = &mut waiter.signature {
                        octets = self.sign(signature, &waiter.asker, &waiter.question, buffer, octets);
                    }
                    return Some(Action::Reply { client: waiter.client, octets });
                }
                Queued::Notified { zone, serial, peer } => return Some(Action::Notified { zone, serial, peer }),
                Queued::Order(Order::EndTcp(exchange)) => return Some(Action::EndTcp { exchange }),
                Queued::Order(Order::Ask(asking)) => {
                    // Between order and poll the question may have ended: then there is nothing to send.
                    if let Some((route, server, octets)) = self.resolver.write_query(asking, buffer) {
                        return Some(match route {
                            resolve::Route::Udp(socket) => Action::AskUdp { socket, server, octets },
                            resolve::Route::Tcp(exchange) => Action::AskTcp { exchange, server, octets },
                        });
                    }
                }
            }
        }
    }

    /// New images take the place of the old ones, which are returned to be freed elsewhere. Transfers under way keep the
    /// records that they began with: who frees images must see to it that such a reference is never the last. Questions in flight end
    /// with the servers they began with. What is cached stays unless names go elsewhere now; then nobody joins those
    /// questions any more, and their answers are not found later.
    pub fn on_images(&mut self, images: Arc<Images>) -> Arc<Images> {
        check(&images);
        assert!(images.hash_key == self.images.hash_key, "names are hashed under one key in a process");
        let same = images.routes.forward_alike(&self.images.routes)
            && images.pools == self.images.pools
            && images.cache == self.images.cache;
        if !same {
            self.cache = Cache::new(images.cache);
            self.era = self.era.wrapping_add(1);
        }
        self.resolver.set_bounds(images.bounds);
        if images.rrl != self.images.rrl {
            self.limiter = images.rrl.as_ref().and_then(|rrl| Limiter::new(rrl, self.limiter_seed));
        }
        std::mem::replace(&mut self.images, images)
    }

    /// The images in force.
    pub fn images(&self) -> &Images {
        &self.images
    }

    /// What was counted so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Questions in flight towards upstreams.
    pub fn resolves_in_flight(&self) -> usize {
        self.resolver.in_flight()
    }

    /// Clients waiting for an answer.
    pub fn waiters(&self) -> usize {
        self.resolver.waiters()
    }

    /// Answers in the cache, and the octets that they take.
    pub fn cached(&self) -> (usize, usize) {
        (self.cache.entries(), self.cache.octets())
    }

    /// A header alone: the request was not understood, so nothing of it is repeated but id, opcode and RD.
    fn bare(&mut self, header: Header, rcode: Rcode, reply: &mut [u8]) -> Outcome {
        let word = flags::QR | header.flags & (flags::OPCODE | flags::RD) | rcode as u16;
        let mut octets = [0; HEADER_OCTETS];
        octets[..2].copy_from_slice(&header.id.to_be_bytes());
        octets[2..4].copy_from_slice(&word.to_be_bytes());
        reply[..HEADER_OCTETS].copy_from_slice(&octets);
        self.counters.reply(rcode as u16, false);
        Outcome::Reply(HEADER_OCTETS)
    }

    /// Writes the shortest reply that makes the asker come again over TCP, in place of the one that stands in the
    /// buffer: its flags and response code stay. Returns its length.
    fn cut_short(&mut self, asker: &Asker, question: &[u8], reply: &mut [u8]) -> usize {
        const TC: u8 = (flags::TC >> 8) as u8;
        let (high, low) = (reply[2], reply[3]);
        self.counters.truncated += u64::from(high & TC == 0);
        let Shard { images, compressor, .. } = self;
        let opt = asker.opt(images, None);
        let mut writer = Writer::new(reply, asker.limit.into(), question, opt, compressor, images.hash_key);
        writer.truncate();
        let octets = writer.finish(asker.id, 0, Rcode::NoError);
        (reply[2], reply[3]) = (high | TC, low);
        octets
    }

    /// A reply without records.
    #[cold]
    fn refuse(
        &mut self,
        now: Time,
        client: &Client,
        query: &Query<'_>,
        asker: Asker,
        refusal: Refusal,
        reply: &mut [u8],
    ) -> Outcome {
        *(refusal.counter)(&mut self.counters) += 1;
        if self.limiter.is_some()
            && let Some(outcome) = self.limit_refusal(now, client, query, asker, reply)
        {
            return outcome;
        }
        let Shard { images, compressor, counters, .. } = self;
        let opt = asker.opt(images, refusal.error);
        let writer = Writer::new(reply, asker.limit.into(), query.question, opt, compressor, images.hash_key);
        counters.reply(refusal.rcode as u16, false);
        // Where a bound is reached, recursion is available all the same.
        let available = if refusal.error == Some(ExtendedError::Other) { flags::RA } else { 0 };
        Outcome::Reply(writer.finish(asker.id, asker.flags | flags::QR | available, refusal.rcode))
    }
}

/// What the control plane promises of images.
fn check(images: &Images) {
    assert!(images.identity.len() <= IDENTITY_OCTETS_MAX && images.version.len() <= IDENTITY_OCTETS_MAX);
    assert!(images.bounds.resolves <= RESOLVES_MAX);
    assert!(images.cache.min_ttl <= images.cache.max_ttl);
}

impl Refusal {
    fn formerr() -> Refusal {
        Refusal { rcode: Rcode::FormErr, error: None, counter: |c| &mut c.formerr }
    }

    /// The name is no zone of ours, as a transfer or NOTIFY would have it.
    fn not_auth() -> Refusal {
        Refusal { rcode: Rcode::NotAuth, error: None, counter: |c| &mut c.notauth }
    }

    fn prohibited(counter: fn(&mut Counters) -> &mut u64) -> Refusal {
        Refusal { rcode: Rcode::Refused, error: Some(ExtendedError::Prohibited), counter }
    }

    /// The zone is not loaded, or has expired: others may have it, and the asker shall go on to them.
    fn not_ready() -> Refusal {
        let error = Some(ExtendedError::NotReady);
        Refusal { rcode: Rcode::ServFail, error, counter: |c| &mut c.servfail_zone }
    }
}
