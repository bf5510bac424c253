//! The one door: every transport brings its requests to [`Shard::on_query`], and this module alone knows the order of
//! the steps.
//!
//! **The life of a query that is answered at once.** A plain request (`plain` says what that is) is read by a few
//! comparisons, or was read with its batch already ([`Shard::look_ahead`]); any other by [`Query::parse`], in place. Either
//! folds and hashes the name into the shard's scratch. Then the asker ([`Acl`](crate::guard::Acl)), class and type are
//! checked and the longest route found. For a zone of ours, an RRset without names is copied as it lies in the image, and
//! so is the SOA record of a denial; everything else follows RFC 1034 §4.3.2 in `authoritative`, with
//! [`lookup`](crate::zone::lookup::lookup) and the writer. For upstreams, `Cache::find_plainly` has the
//! answer and `PlainHit::write` copies and patches it; what takes more steps goes by [`Cache::find`] and
//! [`AnswerRef::write`](crate::cache::AnswerRef::write). Neither path allocates.
//!
//! **The life of a query that is resolved.** On a cache miss (`forward` has the order of the steps) the asker becomes a `Waiter` of a question in flight
//! ([`Resolver::find`], [`Resolver::join`]) or of a new one ([`Resolver::begin`]), and the rim is told
//! [`Outcome::Pending`]. [`Shard::poll_action`] gives the rim the query to send. Its reply comes back through
//! [`Shard::on_reply_udp`] or [`Shard::on_reply_tcp`]; a silent server is noticed in [`Shard::on_deadline`]. When the
//! question has come to its end, the answer goes to the cache and to everybody who waits, again as actions.
//!
//! **What takes another way.** A request with TSIG is verified first, and its reply signed at the end (`signed`). AXFR and
//! IXFR (`transfer`) and NOTIFY (`notify`) are for the peers that a zone lists, whoever else may ask at the listener. Over
//! UDP equal answers of zones may be limited (`limited`), and whoever asks too often is held off before anything is looked
//! up; a cookie shows that an address is the asker's own. None of these costs a plain query more than a look.
//!
//! **What is left behind.** Each step that decides how a request is dealt with notes it; at the end `record` counts, and
//! logs and taps where that is wanted.

mod ahead;
mod asker;
mod authoritative;
mod chaos;
mod forward;
mod limited;
mod notify;
mod plain;
mod probe;
mod record;
mod refusal;
mod signed;
mod transfer;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use smallvec::SmallVec;

use crate::cache::{Cache, Figures, Flush, Listed, Looked};
use crate::guard::budget::Zones;
use crate::guard::rate::{self, Address};
use crate::guard::rrl::Limiter;
use crate::images::Images;
use crate::limits::{IDENTITY_OCTETS_MAX, MESSAGE_OCTETS_MAX, RESOLVES_MAX};
use crate::resolve::{self, Order, Resolver};
use crate::telemetry::log::{self, Policy};
use crate::telemetry::{Counters, TypeClass};
use crate::time::Time;
use crate::transport::Transport;
use crate::upstream::{Kind, ServerState, Servers, Target};
use crate::wire::edns::{self, Edns};
use crate::wire::message::{HEADER_OCTETS, Header, Malformed, Query, Rcode, flags, opcode};
use crate::wire::name::{KeyedName, Name};
use crate::wire::rdata::{CLASS_IN, rtype};
use crate::wire::writer::{Compressor, Writer};
use ahead::Ahead;
use asker::Asker;
use authoritative::Chain;
use forward::{Late, Pace};
use record::{Note, Record};
use refusal::Refusal;
use signed::Signature;
pub use transfer::TransferMessage;
use transfer::Transfers;

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
    /// Send the octets over a TCP connection to `server`, a new one or one that is there (with the length prefix of
    /// RFC 1035 §4.2.2, which the rim adds), and hand the reply to [`Shard::on_reply_tcp`] or the failure to
    /// [`Shard::on_failure_tcp`].
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
    /// Forget this exchange; its reply is no longer wanted.
    EndTcp {
        /// As in the [`Action::AskTcp`] that opened it.
        exchange: u64,
    },
}

/// A request that came in. One word leads to all of it: what a step does not need takes none of its registers.
struct Event<'e> {
    now: Time,
    client: &'e Client,
    request: &'e [u8],
    reply: &'e mut [u8],
}

/// Somebody who waits for an answer.
#[derive(Debug)]
struct Waiter {
    client: Client,
    /// When the request came.
    came: Time,
    asker: Asker,
    /// The question as the client spelt it.
    question: SmallVec<[u8; 48]>,
    /// Whom the question goes to.
    kind: Kind,
    /// Where the answer must be signed.
    signature: Option<Box<Signature>>,
}

/// What waits to be handed to the rim.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a box for each reply would cost more than the room of the few orders")]
enum Queued {
    Reply { waiter: Waiter, late: Rc<Late> },
    Order(Order),
    Notified { zone: u32, serial: Option<u32>, peer: IpAddr },
}

/// One core's engine.
///
/// Calling order: before a batch of requests, [`Shard::look_ahead`], if one likes. After any `on_…` call, or those of a
/// batch, call [`Shard::poll_action`] until it returns `None`, then arrange to call [`Shard::on_deadline`] no later than
/// [`Shard::deadline`]. When the replies have been sent, of one request or of a batch,
/// call [`Shard::on_sent`], then take what is full of [`Shard::log`] and [`Shard::tap`].
#[derive(Debug)]
pub struct Shard {
    images: Arc<Images>,
    /// The name asked for, then each further name of its chain.
    name: Box<KeyedName>,
    /// What is known of the requests to come.
    ahead: Ahead,
    /// Names that lead to additional records.
    other: KeyedName,
    chain: Chain,
    compressor: Compressor,
    cache: Cache,
    /// See [`Key::era`].
    era: u16,
    resolver: Resolver<Waiter>,
    servers: Servers,
    zones: Zones,
    /// How often answers are fetched before they run out.
    pace: Pace,
    /// When the cache is tidied next.
    tidy_at: Option<Time>,
    queue: VecDeque<Queued>,
    counters: Counters,
    /// How the request at hand is dealt with.
    note: Note,
    record: Record,
    /// When the last event of questions in flight was, whose actions are polled.
    moment: Time,
    /// The time of the day, for TSIG.
    unix_seconds: u64,
    /// That of the request at hand, once it is verified, until somebody takes it over for the reply.
    signature: Option<Box<Signature>>,
    transfers: Transfers,
    /// Limits what goes out over UDP, where that is configured.
    limiter: Option<Limiter>,
    /// Limits how often clients may ask, where that is configured.
    rate: Option<rate::Limiter>,
    /// Whether there is one of these.
    is_limited: bool,
    limiter_seed: [u8; 16],
}

impl Shard {
    /// An engine with nothing cached and nothing in flight. `seed` must be unpredictable to others: ids and sockets
    /// of upstream queries come from it.
    pub fn new(images: Arc<Images>, seed: [u8; 32]) -> Shard {
        check(&images);
        let limiter_seed = *share(seed, 1).first_chunk().expect("32 octets hold 16");
        Shard {
            name: Box::default(),
            ahead: Ahead::default(),
            other: KeyedName::default(),
            chain: Chain::default(),
            compressor: Compressor::default(),
            cache: Cache::new(images.cache, images.hash_key),
            era: 0,
            resolver: Resolver::new(images.hash_key, images.bounds, seed),
            servers: Servers::new(share(seed, 2), &images.pools),
            zones: Zones::new(images.bounds.zone_rate, limiter_seed),
            pace: Pace::default(),
            tidy_at: None,
            queue: VecDeque::new(),
            counters: Counters::default(),
            note: Note::NEW,
            record: Record::new(images.recording, share(seed, 3)),
            moment: Time::ZERO,
            unix_seconds: 0,
            signature: None,
            transfers: Transfers::default(),
            limiter: images.rrl.as_ref().and_then(|rrl| Limiter::new(rrl, limiter_seed)),
            rate: images.rate.as_ref().and_then(|rate| rate::Limiter::new(rate, limiter_seed)),
            is_limited: images.rate.is_some() || images.rrl.is_some(),
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
        if self.record.is_on() {
            return self.on_query_recorded(now, client, request, reply);
        }
        self.on_message(&mut Event { now, client, request, reply })
    }

    /// The same, whatever is recorded.
    #[inline(never)] // So that where nothing is recorded nothing is kept for it.
    fn on_message(&mut self, event: &mut Event<'_>) -> Outcome {
        self.answer_plain(event)
    }

    /// The same for whatever comes.
    #[inline(never)] // So that what is plain has a short way.
    fn on_any_message(&mut self, event: &mut Event<'_>) -> Outcome {
        let &mut Event { now, client, request, ref mut reply } = event;
        let Some(header) = Header::parse(request).filter(|header| !header.has(flags::QR)) else {
            self.counters.dropped_malformed += 1;
            self.note = Note::NO_REQUEST;
            return Outcome::Silence;
        };
        match client.via {
            Transport::Udp => self.counters.queries_udp += 1,
            Transport::Tcp => self.counters.queries_tcp += 1,
        }
        self.note = Note::NEW;
        if !matches!(header.opcode(), opcode::QUERY | opcode::NOTIFY) {
            return self.not_understood(now, client, header, Rcode::NotImp, reply);
        }
        let Ok(query) = Query::parse(header, request, &self.images.hash_key, &mut self.name) else {
            if let Some(outcome) = self.answer_cookie(now, client, header, request, reply) {
                return outcome;
            }
            return self.not_understood(now, client, header, Rcode::FormErr, reply);
        };
        self.record.telemetry.types[TypeClass::of(query.qtype) as usize] += 1;
        let mut asker = Asker::new(client, &query);
        self.note.asks(query.question, &asker);
        if query.is_signed
            && let Err(outcome) = self.verify((now, client), request, &query, &mut asker, reply)
        {
            return outcome;
        }
        let answered = match self.check_sender(now, client, &query, &mut asker, reply) {
            Some(settled) => settled,
            None if header.opcode() == opcode::QUERY => self.answer(now, client, request, &query, asker, reply),
            None => self.on_notify(client, request, &query, reply),
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

    /// Whether the asker's address is its own, and whether it may ask so often; `None`: go on.
    #[inline]
    fn check_sender(
        &mut self,
        now: Time,
        client: &Client,
        query: &Query<'_>,
        asker: &mut Asker,
        reply: &mut [u8],
    ) -> Option<Result<Outcome, Refusal>> {
        if let Some(option) = query.edns.as_ref().and_then(Edns::cookie) {
            let Shard { images, counters, unix_seconds, .. } = self;
            let cookie = images.cookies.check(Some(option), client.peer.ip(), *unix_seconds, counters);
            if !asker.take_cookie(cookie) {
                return Some(Err(Refusal { policy: Policy::Signature, ..Refusal::formerr() }));
            }
        }
        if self.signature.is_some() {
            asker.address = Address::Proven;
        }
        if self.rate.is_none() { None } else { self.limit_rate(now, client, query, *asker, reply) }
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
            return Err(Refusal {
                rcode: Rcode::BadVers,
                error: None,
                recursion: 0,
                policy: Policy::None,
                counter: Some(|c| &mut c.badvers),
            });
        }
        if query.qclass == CLASS_IN && matches!(query.qtype, rtype::IXFR | rtype::AXFR) {
            // Each zone has a list of its own, whoever may ask at this listener.
            return self.answer_transfer(client, request, query, asker, reply);
        }
        let listener = self.images.listeners.get(usize::from(client.listener));
        if !listener.is_some_and(|listener| listener.allow.contains(client.peer.ip()))
            && !self.is_refresh(client, query)
        {
            return Err(Refusal::prohibited(Policy::Acl, |c| &mut c.refused_acl));
        }
        if query.qclass != CLASS_IN {
            return self.answer_chaos(query, asker, reply);
        }
        match query.qtype {
            0 | rtype::OPT => return Err(Refusal::formerr()),
            rtype::TKEY..=rtype::MAILA => return Err(Refusal::prohibited(Policy::Type, |c| &mut c.refused_type)),
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
                Ok(self.answer_from_zone(zone, query, &asker, reply))
            }
            Some(Target::Pools(_)) => self.answer_from_upstream(now, client, query, asker, reply),
            Some(Target::Refuse) | None => Err(Refusal::prohibited(Policy::Route, |c| &mut c.refused_route)),
        }
    }

    /// The next thing for the rim to do. `buffer` must hold [`MESSAGE_OCTETS_MAX`] octets.
    pub fn poll_action(&mut self, buffer: &mut [u8]) -> Option<Action> {
        assert!(buffer.len() >= MESSAGE_OCTETS_MAX);
        loop {
            match self.queue.pop_front()? {
                Queued::Reply { mut waiter, late } => {
                    let mut octets = self.write_late(&waiter, &late, buffer);
                    if let Some(signature) = &mut waiter.signature {
                        octets = self.sign(signature, &waiter.asker, &waiter.question, buffer, octets);
                    }
                    self.record_late(&waiter, &late, &buffer[..octets]);
                    return Some(Action::Reply { client: waiter.client, octets });
                }
                Queued::Notified { zone, serial, peer } => return Some(Action::Notified { zone, serial, peer }),
                Queued::Order(Order::EndTcp(exchange)) => return Some(Action::EndTcp { exchange }),
                Queued::Order(Order::Ask(asking)) => {
                    // Between order and poll the question may have ended: then there is nothing to send.
                    if let Some((route, server, octets)) = self.resolver.write_query(&self.servers, asking, buffer) {
                        self.record_asked(server, matches!(route, resolve::Route::Tcp(_)), &buffer[..octets]);
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
    pub fn on_images(&mut self, now: Time, images: Arc<Images>) -> Arc<Images> {
        check(&images);
        assert!(images.hash_key == self.images.hash_key, "names are hashed under one key in a process");
        if !images.forwards_like(&self.images) {
            self.cache = Cache::new(images.cache, images.hash_key);
            self.era = self.era.wrapping_add(1);
        } else if images.cache != self.images.cache {
            self.cache.set_settings(images.cache);
        }
        if images.pools != self.images.pools {
            self.servers.set_pools(now, &images.pools);
        }
        self.resolver.set_bounds(images.bounds);
        self.zones.set_rate(images.bounds.zone_rate);
        if images.rate != self.images.rate {
            self.rate = images.rate.as_ref().and_then(|rate| rate::Limiter::new(rate, self.limiter_seed));
        }
        if images.rrl != self.images.rrl {
            self.limiter = images.rrl.as_ref().and_then(|rrl| Limiter::new(rrl, self.limiter_seed));
        }
        self.is_limited = images.rate.is_some() || images.rrl.is_some();
        self.record.set(images.recording);
        self.ahead.clear();
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

    /// Whether nothing is in flight, expected or waited for.
    pub fn is_idle(&self) -> bool {
        self.resolver.is_idle() && self.queue.is_empty()
    }

    /// Figures of the cache.
    pub fn cache_figures(&self) -> Figures {
        self.cache.figures()
    }

    /// What is known of the upstream servers.
    pub fn server_states(&self) -> Vec<ServerState> {
        self.servers.states().collect()
    }

    /// Flushes a part of the cache, from `cursor` on, which is 0 at first. Returns how many answers went, and the cursor
    /// for the next call, if there is more to look at: a call takes no longer than a batch of queries.
    pub fn flush_step(&mut self, what: &Flush, cursor: u64) -> (usize, Option<u64>) {
        self.cache.flush_step(what, cursor, &mut self.counters)
    }

    /// What the cache has for a name, and what it would answer: for the types of the registry and those for private use.
    /// However much that is, a call takes no longer than a batch of queries.
    pub fn cache_look(&self, now: Time, name: &Name) -> Looked {
        self.cache.look(now, self.era, name)
    }

    /// A part of what the cache has for `below` and the names below it, from `cursor` on, which is 0 at first. A call takes
    /// no longer than a batch of queries.
    pub fn cache_list(&self, now: Time, below: &Name, cursor: u64) -> Listed {
        self.cache.list(now, self.era, below, cursor)
    }

    /// Appends a part of the cache to `out`, for [`Shard::cache_in`] of another process: about `octets_max` octets, which
    /// is not 0, from `cursor` on, which is 0 at first. Returns the cursor for the next call, if there is more.
    pub fn cache_out(&mut self, now: Time, cursor: u64, octets_max: usize, out: &mut Vec<u8>) -> Option<u64> {
        self.cache.out(now, self.unix_seconds, self.era, cursor, octets_max, out)
    }

    /// Takes a part of a cache that [`Shard::cache_out`] gave, here or in a former process. Returns how many answers are
    /// kept of it; what has run out meanwhile is not. Nothing is kept of a part that is malformed.
    pub fn cache_in(&mut self, now: Time, part: &[u8]) -> Result<usize, Malformed> {
        let kept = self.cache.take_in(now, self.unix_seconds, self.era, part, &mut self.counters)?;
        self.tidy_at = self.tidy_at.or_else(|| self.cache.janitor(now, &mut self.counters));
        Ok(kept)
    }

    /// A request of another opcode, or one that cannot be read: NOTIMP or FORMERR, unless its sender asks too often.
    #[cold]
    fn not_understood(
        &mut self,
        now: Time,
        client: &Client,
        header: Header,
        rcode: Rcode,
        reply: &mut [u8],
    ) -> Outcome {
        let Counters { formerr, notimp, .. } = &mut self.counters;
        *if rcode == Rcode::FormErr { formerr } else { notimp } += 1;
        if !self.is_within_rate(now, client) {
            return self.silence(client, Policy::Rate);
        }
        self.bare(header, rcode, reply)
    }

    /// The reply to a request for nothing but a cookie (RFC 7873 §5.4), if this is one.
    #[cold]
    fn answer_cookie(
        &mut self,
        now: Time,
        client: &Client,
        header: Header,
        request: &[u8],
        reply: &mut [u8],
    ) -> Option<Outcome> {
        let Shard { images, counters, unix_seconds, .. } = self;
        let peer = client.peer.ip();
        let (octets, rcode) = images.cookies.answer_alone(header, request, peer, *unix_seconds, reply, counters)?;
        if !self.is_within_rate(now, client) {
            return Some(self.silence(client, Policy::Rate));
        }
        self.note.is(log::Outcome::Local);
        self.note.replied(&mut self.counters, rcode as u16, false);
        Some(Outcome::Reply(octets))
    }

    /// A header alone: the request was not understood, so nothing of it is repeated but id, opcode and RD.
    fn bare(&mut self, header: Header, rcode: Rcode, reply: &mut [u8]) -> Outcome {
        let word = flags::QR | header.flags & (flags::OPCODE | flags::RD) | rcode as u16;
        let mut octets = [0; HEADER_OCTETS];
        octets[..2].copy_from_slice(&header.id.to_be_bytes());
        octets[2..4].copy_from_slice(&word.to_be_bytes());
        reply[..HEADER_OCTETS].copy_from_slice(&octets);
        self.note.replied(&mut self.counters, rcode as u16, false);
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
}

/// A part's share of a shard's seed: a stream of numbers of its own, so that it tells nothing of the others.
fn share(seed: [u8; 32], part: u64) -> [u8; 32] {
    let mut random = ChaCha12Rng::from_seed(seed);
    random.set_stream(part);
    let mut share = [0; 32];
    random.fill_bytes(&mut share);
    share
}

/// What the control plane promises of images.
fn check(images: &Images) {
    assert!(images.identity.len() <= IDENTITY_OCTETS_MAX && images.version.len() <= IDENTITY_OCTETS_MAX);
    assert!(images.bounds.resolves <= RESOLVES_MAX);
    assert!(images.cache.min_ttl <= images.cache.max_ttl);
}
