//! A run of a shard: clients, upstreams and clock, driven step by step; after each step everything that a shard promises
//! must hold.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use arbitrary::Arbitrary;
use ringdns_shard::cache::Figures;
use ringdns_shard::limits::{MESSAGE_OCTETS_MAX, TRANSFERS_MAX, UDP_REPLY_OCTETS_MAX, UDP_REQUEST_OCTETS_MAX};
use ringdns_shard::wire::name::KeyedName;
use ringdns_shard::{Action, Client, Outcome, Shard, Time, TransferMessage, Transport};

use crate::request::{Octets, Rare, Request};
use crate::response::{self, Response};
use crate::{reply, world};

/// Steps of a run.
pub const STEPS_MAX: usize = 256;
/// Actions and deadlines in one step beyond which the shard is taken to go round in circles.
const ACTIVITY_MAX: usize = 10_000;
/// Queries towards upstreams that are remembered.
const QUERIES_MAX: usize = 64;
/// The time of the day at which a run begins.
const CLOCK: u64 = 1_700_000_000;
/// A tick of the shard's timers.
const TICK: Duration = Duration::from_micros(1024);

/// One thing that happens.
#[derive(Clone, Debug, Arbitrary)]
pub enum Step<'a> {
    /// A client asks.
    Ask {
        /// Over TCP.
        tcp: bool,
        /// Bits of who asks where, where they are not at home.
        who: Rare<u8>,
        /// What.
        request: Request<'a>,
    },
    /// An upstream answers a query, which may be an old one, perhaps from elsewhere.
    Answer {
        /// Counted back from the latest query.
        which: Rare<u8>,
        /// Added to the number of the socket.
        other_socket: Rare<u8>,
        /// The sender, where it is not the server that was asked.
        other_server: Rare<u8>,
        /// What it says.
        response: Response<'a>,
    },
    /// An upstream answers a query as it should.
    Serve {
        /// Counted back from the latest query.
        which: Rare<u8>,
        /// Octets of data.
        data: u8,
    },
    /// A connection to an upstream fails, or a datagram to it cannot be sent.
    Fail {
        /// Counted back from the latest query.
        which: Rare<u8>,
    },
    /// A reply comes of an exchange that may never have been.
    Exchange {
        /// Its number.
        number: u64,
        /// The reply; none: it failed.
        message: Option<Octets<'a>>,
    },
    /// Time passes.
    Pass {
        /// So many milliseconds.
        millis: u8,
        /// So many seconds beside.
        seconds: Rare<u8>,
        /// The rim wakes at the end alone, not at each deadline.
        late: bool,
    },
    /// Images are swapped in.
    Swap(Rare<u8>),
    /// A transfer goes on, or its connection is closed.
    Transfer {
        /// Of those under way.
        which: u8,
        /// The connection is closed.
        close: Rare<()>,
    },
}

/// A transfer under way.
struct Transfer {
    number: u32,
    request: Vec<u8>,
    /// Messages so far.
    messages: usize,
}

/// A client whose answer is to come.
struct Waiting {
    client: Client,
    request: Vec<u8>,
    until: Time,
}

/// A query of the shard's.
struct Upstream {
    socket: u8,
    /// Of TCP, as long as it is open.
    exchange: Option<u64>,
    tcp: bool,
    server: SocketAddr,
    octets: Vec<u8>,
}

/// A run.
pub struct Run {
    shard: Shard,
    now: Time,
    variant: usize,
    /// By the mark of their connection.
    waiting: BTreeMap<u64, Waiting>,
    transfers: Vec<Transfer>,
    queries: Vec<Upstream>,
    servers: Vec<SocketAddr>,
    buffer: Vec<u8>,
    marks: u64,
    answerable: u64,
    silent: u64,
}

impl Default for Run {
    fn default() -> Run {
        let mut shard = Shard::new(world::images(0), [3; 32]);
        shard.on_clock(CLOCK);
        Run {
            shard,
            now: Time::from_secs(1),
            variant: 0,
            waiting: BTreeMap::new(),
            transfers: Vec::new(),
            queries: Vec::new(),
            servers: world::servers(),
            buffer: vec![0; MESSAGE_OCTETS_MAX],
            marks: 0,
            answerable: 0,
            silent: 0,
        }
    }
}

impl Run {
    /// Takes one step. Panics where the shard breaks a promise.
    pub fn step(&mut self, step: &Step<'_>) {
        match step {
            Step::Ask { tcp, who, request } => self.ask(*tcp, who.0.unwrap_or(0x81), request.octets(self.clock())),
            Step::Answer { which, other_socket, other_server, response } => {
                let Some(index) = self.query(which.0.unwrap_or(0)) else { return };
                let query = &self.queries[index];
                let message = response.octets(&query.octets);
                let socket = query.socket.wrapping_add(other_socket.0.unwrap_or(0)) % world::UDP_PORTS;
                let server = other_server.0.map_or(query.server, |i| self.servers[usize::from(i) % self.servers.len()]);
                self.reply(index, socket, server, &message);
            }
            Step::Serve { which, data } => {
                let Some(index) = self.query(which.0.unwrap_or(0)) else { return };
                let Upstream { socket, server, octets, .. } = &self.queries[index];
                let (socket, server, message) = (*socket, *server, response::plain(octets, *data));
                self.reply(index, socket, server, &message);
            }
            Step::Fail { which } => {
                let Some(index) = self.query(which.0.unwrap_or(0)) else { return };
                let query = &mut self.queries[index];
                match (query.tcp, query.exchange.take()) {
                    (false, _) => {
                        let id = u16::from_be_bytes([query.octets[0], query.octets[1]]);
                        self.shard.on_failure_udp(self.now, query.socket, id);
                    }
                    (true, Some(exchange)) => self.shard.on_failure_tcp(self.now, exchange),
                    (true, None) => {}
                }
            }
            Step::Exchange { number, .. } if self.queries.iter().any(|query| query.exchange == Some(*number)) => {}
            Step::Exchange { number, message: Some(Octets(message)) } => {
                self.shard.on_reply_tcp(self.now, *number, message)
            }
            Step::Exchange { number, message: None } => self.shard.on_failure_tcp(self.now, *number),
            Step::Pass { millis, seconds, late } => {
                let millis = u64::from(*millis) + 1000 * u64::from(seconds.0.unwrap_or(0));
                self.pass(Duration::from_millis(millis), *late);
            }
            Step::Swap(variant) => {
                let Rare(Some(variant)) = *variant else { return };
                self.variant = usize::from(variant) % world::VARIANTS;
                self.shard.on_images(self.now, world::images(self.variant));
            }
            Step::Transfer { which, close } => {
                let Some(last) = self.transfers.len().checked_sub(1) else { return };
                let index = usize::from(*which).min(last);
                match close {
                    Rare(Some(())) => self.shard.end_transfer(self.transfers.swap_remove(index).number),
                    Rare(None) => self.transfer(index),
                }
            }
        }
        self.act();
        self.check();
    }

    /// The time of the day.
    fn clock(&self) -> u64 {
        CLOCK + self.now.as_micros() / 1_000_000
    }

    /// Takes the next message of a transfer.
    fn transfer(&mut self, index: usize) {
        let Transfer { number, request, messages } = &mut self.transfers[index];
        let message = self.shard.transfer_message(*number, &mut self.buffer);
        let (TransferMessage::More(octets) | TransferMessage::Last(octets)) = message else {
            panic!("every record of the zones fits a message")
        };
        reply::check_transfer(request, *messages == 0, &self.buffer[..octets]);
        *messages += 1;
        assert!(*messages < 10, "the zones are small");
        if matches!(message, TransferMessage::Last(_)) {
            self.transfers.swap_remove(index);
        }
    }

    /// Lets all time-outs pass and all transfers come to their end: then nobody waits and nothing is in flight.
    pub fn end(mut self) {
        while let Some(last) = self.transfers.len().checked_sub(1) {
            self.transfer(last);
        }
        assert_eq!(self.shard.transfers(), 0);
        self.pass(world::TIMEOUT_SLOW + TICK, false);
        assert!(self.waiting.is_empty());
        assert_eq!((self.shard.waiters(), self.shard.resolves_in_flight()), (0, 0));
        let open = self.queries.iter().filter(|query| query.exchange.is_some()).count();
        assert_eq!(open, 0, "every connection was closed");
        assert_eq!(self.shard.deadline(), None);
    }

    fn ask(&mut self, tcp: bool, who: u8, mut request: Vec<u8>) {
        let (via, longest, room) = match tcp {
            true => (Transport::Tcp, MESSAGE_OCTETS_MAX, MESSAGE_OCTETS_MAX),
            false => (Transport::Udp, UDP_REQUEST_OCTETS_MAX, UDP_REPLY_OCTETS_MAX),
        };
        request.truncate(longest);
        self.marks += 1;
        let host = if who & 0xe0 == 0 { Ipv4Addr::new(203, 0, 113, who) } else { Ipv4Addr::new(127, 0, 0, who) };
        let client = Client {
            peer: (host, 4000).into(),
            local: None,
            via,
            listener: u16::from(who & 7 == 7),
            connection: self.marks,
        };
        let answerable = reply::is_answerable(&request);
        let dropped = self.dropped();
        self.answerable += u64::from(answerable);
        self.silent += u64::from(!answerable);
        match self.shard.on_query(self.now, &client, &request, &mut self.buffer[..room]) {
            Outcome::Reply(octets) => {
                assert!(answerable);
                reply::check(&request, via, &self.buffer[..octets]);
            }
            Outcome::Silence => assert!(!answerable || self.dropped() == dropped + 1),
            Outcome::Transfer(number) => {
                assert!(via == Transport::Tcp);
                self.transfers.push(Transfer { number, request, messages: 0 });
            }
            Outcome::Pending => {
                let until = self.now + timeout(&request) + TICK;
                self.waiting.insert(self.marks, Waiting { client, request, until });
            }
        }
    }

    /// An upstream's message comes, over the connection that the query went over or from `server` to `socket`.
    fn reply(&mut self, index: usize, socket: u8, server: SocketAddr, message: &[u8]) {
        let query = &mut self.queries[index];
        match (query.tcp, query.exchange.take()) {
            (false, _) => self.shard.on_reply_udp(self.now, socket, server, message),
            (true, Some(exchange)) => self.shard.on_reply_tcp(self.now, exchange, message),
            (true, None) => {}
        }
    }

    /// The query that a step means.
    fn query(&self, which: u8) -> Option<usize> {
        self.queries.len().checked_sub(1 + usize::from(which) % QUERIES_MAX)
    }

    fn pass(&mut self, span: Duration, late: bool) {
        let end = self.now + span;
        for _ in 0..ACTIVITY_MAX {
            match self.shard.deadline().filter(|&deadline| deadline <= end) {
                None => break,
                Some(_) if late => self.now = end,
                Some(deadline) => self.now = self.now.max(deadline),
            }
            self.shard.on_deadline(self.now);
            self.act();
        }
        assert!(self.shard.deadline().is_none_or(|deadline| deadline > end), "the shard goes round in circles");
        self.now = end;
        self.shard.on_clock(self.clock());
        for waiting in self.waiting.values() {
            assert!(waiting.until >= self.now, "a client was left without an answer: {:02x?}", waiting.request);
        }
    }

    /// Does what the shard wants done.
    fn act(&mut self) {
        for _ in 0..ACTIVITY_MAX {
            let Some(action) = self.shard.poll_action(&mut self.buffer) else { return };
            match action {
                Action::Reply { client, octets } => {
                    let waiting = self.waiting.remove(&client.connection).expect("who is answered waits, once");
                    assert_eq!(waiting.client, client);
                    reply::check(&waiting.request, client.via, &self.buffer[..octets]);
                }
                Action::AskUdp { socket, server, octets } => {
                    assert!(socket < world::UDP_PORTS);
                    self.asked(socket, None, server, octets);
                }
                Action::Notified { zone, .. } => {
                    assert!(!self.shard.images().zones[zone as usize].about.notify_from.is_empty());
                }
                Action::AskTcp { exchange, server, octets } => self.asked(0, Some(exchange), server, octets),
                Action::EndTcp { exchange } => {
                    let open = self.queries.iter_mut().find(|query| query.exchange == Some(exchange));
                    open.expect("a connection that is closed was open").exchange = None;
                }
            }
        }
        panic!("the shard goes round in circles");
    }

    /// The shard asks a server.
    fn asked(&mut self, socket: u8, exchange: Option<u64>, server: SocketAddr, octets: usize) {
        assert!(self.servers.contains(&server));
        let octets = self.buffer[..octets].to_vec();
        let query = reply::query(&octets, &world::key(), &mut KeyedName::default());
        assert!(query.is_some_and(|query| query.edns.is_some()), "a query of ours is well-formed: {octets:02x?}");
        if self.queries.len() == QUERIES_MAX
            && let Some(oldest) = self.queries.iter().position(|query| query.exchange.is_none())
        {
            self.queries.remove(oldest);
        }
        self.queries.push(Upstream { socket, exchange, tcp: exchange.is_some(), server, octets });
    }

    /// Requests without a reply since somebody asked too often.
    fn dropped(&self) -> u64 {
        let counters = self.shard.counters();
        counters.rrl_dropped + counters.rate_dropped
    }

    /// What holds after every step.
    fn check(&self) {
        let counters = self.shard.counters();
        let waiting = self.waiting.len();
        assert_eq!(self.shard.waiters(), waiting);
        assert_eq!(counters.queries_udp + counters.queries_tcp, self.answerable);
        assert_eq!(counters.dropped_malformed, self.silent);
        assert_eq!(counters.replies + waiting as u64 + self.dropped(), self.answerable);
        assert_eq!(self.shard.transfers(), self.transfers.len());
        assert!(self.transfers.len() <= TRANSFERS_MAX);
        let by_rcode =
            counters.rcode_noerror + counters.rcode_nxdomain + counters.rcode_servfail + counters.rcode_other;
        assert_eq!(by_rcode, counters.replies);
        let begun = counters.cache_misses - counters.coalesced - counters.refused_resolves;
        assert!(counters.upstream_udp + counters.upstream_tcp + counters.upstream_ids_exhausted >= begun);
        assert!(self.shard.resolves_in_flight() <= world::RESOLVES);
        assert!(waiting <= world::RESOLVES * world::WAITERS);
        let Figures { entries, octets, .. } = self.shard.cache_figures();
        assert!(octets <= world::images(self.variant).cache.octets && (entries == 0) == (octets == 0));
    }
}

/// How long the asker of `request` may have to wait.
fn timeout(request: &[u8]) -> Duration {
    let mut name = KeyedName::default();
    reply::query(request, &world::key(), &mut name).expect("only a well-formed query waits");
    if name.as_wire().ends_with(b"\x04slow\x04test\0") { world::TIMEOUT_SLOW } else { world::TIMEOUT }
}
