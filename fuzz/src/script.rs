//! A run of a shard: clients, upstreams and clock, driven step by step; after each step everything that a shard promises
//! must hold.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use arbitrary::Arbitrary;
use ringdns_shard::cache::{Figures, Flush};
use ringdns_shard::limits::{
    ATTEMPTS_MAX, MESSAGE_OCTETS_MAX, PROBES_MAX, TRANSFERS_MAX, UDP_REPLY_OCTETS_MAX, UDP_REQUEST_OCTETS_MAX,
};
use ringdns_shard::upstream::Standing;
use ringdns_shard::wire::name::{KeyedName, Name};
use ringdns_shard::wire::rdata::rtype;
use ringdns_shard::{Action, Client, Outcome, Shard, Time, TransferMessage, Transport};

use crate::manner::Manner;
use crate::recorded::{self, Recorded};
use crate::request::{NamePick, Octets, Rare, Request};
use crate::response::Response;
use crate::{reply, world};

/// Steps of a run.
pub const STEPS_MAX: usize = 256;
/// Actions and deadlines in one step beyond which the shard is taken to go round in circles.
const ACTIVITY_MAX: usize = 10_000;
/// Queries towards upstreams that are remembered.
const QUERIES_MAX: usize = 64;
/// Requests that are remembered.
const REQUESTS_MAX: usize = 8;
/// Requests of a flood.
const FLOOD_MAX: u8 = 24;
/// Portions of the cache that are remembered.
const PORTIONS_MAX: usize = 16;
/// Parts of the cache beyond which flushing it, or writing it out, is taken to go round in circles.
const PARTS_MAX: usize = 1_000;
/// After so long every server that answers again is up, whatever it has done before: a dozen replies bring it back, a
/// quarter of a second apart, and the first is waited for two seconds and a half.
const RETURN: Duration = Duration::from_secs(10);
/// Seconds that pass: mostly none, else about as many as answers live.
const SECONDS: [u64; 8] = [0, 0, 0, 0, 1, 11, 13, 61];
/// Bits of a client at [`world::HOME`].
const AT_HOME: u8 = world::HOME.octets()[3];
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
    /// A client asks what somebody has asked before.
    Again {
        /// Over TCP.
        tcp: bool,
        /// Counted back from the latest request.
        which: u8,
    },
    /// A client asks for many names below one, each once.
    Flood {
        /// How many.
        count: u8,
        /// The label that the first of them begins with.
        first: u8,
        /// Of those that go to upstreams.
        below: u8,
        /// The type.
        address: bool,
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
        /// How.
        manner: Manner,
    },
    /// Servers begin to answer all queries as they should; the others say nothing from now on, unless in other steps.
    Live {
        /// Bit i: server i answers.
        servers: u16,
        /// How all of them do.
        manner: Manner,
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
        /// So many seconds beside: one of [`SECONDS`].
        seconds: u8,
        /// Seconds instead of those.
        other_seconds: Rare<u8>,
        /// The rim wakes at the end alone, not at each deadline.
        late: bool,
    },
    /// Images are swapped in.
    Swap(Rare<u8>),
    /// A part of the cache is flushed.
    Flush {
        /// Everything, or what is below the name as well.
        more: Rare<bool>,
        /// What is flushed.
        name: NamePick<'a>,
    },
    /// The cache is written out, in portions of so many octets.
    Out {
        /// Octets that a portion may have.
        octets: u16,
    },
    /// A portion of a cache is taken in.
    In {
        /// Which of those that came out.
        which: u8,
        /// Octets of it that are changed: where, and by which bits.
        flips: Rare<Vec<(u16, u8)>>,
        /// Whatever octets instead, behind a version or not.
        raw: Rare<(bool, Octets<'a>)>,
    },
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

/// A message on its way to the shard.
struct Mail {
    socket: u8,
    exchange: Option<u64>,
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
    /// The latest requests.
    requests: VecDeque<Vec<u8>>,
    servers: Vec<SocketAddr>,
    /// Bit i: server i answers, in this manner.
    live: u16,
    manner: Manner,
    /// By the time at which it comes, then by number.
    mail: BTreeMap<(Time, u64), Mail>,
    /// Portions of the cache.
    portions: Vec<Vec<u8>>,
    buffer: Vec<u8>,
    marks: u64,
    answerable: u64,
    silent: u64,
    /// Queries that the shard had sent, over UDP and over TCP.
    sent: [u64; 2],
    recorded: Recorded,
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
            requests: VecDeque::new(),
            servers: world::servers(),
            live: 0,
            manner: Manner::default(),
            mail: BTreeMap::new(),
            portions: Vec::new(),
            buffer: vec![0; MESSAGE_OCTETS_MAX],
            marks: 0,
            answerable: 0,
            silent: 0,
            sent: [0; 2],
            recorded: Recorded::default(),
        }
    }
}

impl Run {
    /// Takes one step. Panics where the shard breaks a promise.
    pub fn step(&mut self, step: &Step<'_>) {
        match step {
            Step::Ask { tcp, who, request } => {
                let request = request.octets(self.clock());
                self.requests.truncate(REQUESTS_MAX - 1);
                self.requests.push_front(request.clone());
                self.ask(*tcp, who.0.unwrap_or(AT_HOME), request);
            }
            Step::Again { tcp, which } => {
                let Some(last) = self.requests.len().checked_sub(1) else { return };
                let request = self.requests[usize::from(*which).min(last)].clone();
                self.ask(*tcp, AT_HOME, request);
            }
            Step::Flood { count, first, below, address } => {
                let base = world::name(world::FORWARDED[usize::from(*below) % world::FORWARDED.len()]);
                let qtype = if *address { rtype::A } else { rtype::TXT };
                for number in 0..count % FLOOD_MAX {
                    let label = [2, b'x', first.wrapping_add(number)];
                    let question = [&label, base.as_wire(), &qtype.to_be_bytes(), &[0, 1]].concat();
                    let request = [&[0, number, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0], &question[..]].concat();
                    self.ask(true, AT_HOME, request);
                    self.act();
                }
            }
            Step::Answer { which, other_socket, other_server, response } => {
                let Some(index) = self.query(which.0.unwrap_or(0)) else { return };
                let query = &self.queries[index];
                let message = response.octets(&query.octets);
                let socket = query.socket.wrapping_add(other_socket.0.unwrap_or(0)) % world::UDP_PORTS;
                let server = other_server.0.map_or(query.server, |i| self.servers[usize::from(i) % self.servers.len()]);
                self.reply(index, socket, server, &message);
            }
            Step::Serve { which, manner } => {
                let Some(index) = self.query(which.0.unwrap_or(0)) else { return };
                let Upstream { socket, server, octets, tcp, .. } = &self.queries[index];
                let (socket, server, message) = (*socket, *server, manner.reply(octets, *tcp));
                self.reply(index, socket, server, &message);
            }
            Step::Live { servers, manner } => (self.live, self.manner) = (*servers, manner.clone()),
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
            Step::Pass { millis, seconds, other_seconds, late } => {
                let seconds = other_seconds.0.map_or(SECONDS[usize::from(*seconds) % SECONDS.len()], u64::from);
                let millis = u64::from(*millis) + 1000 * seconds;
                self.pass(Duration::from_millis(millis), *late);
            }
            Step::Swap(variant) => {
                let Rare(Some(variant)) = *variant else { return };
                self.variant = usize::from(variant) % world::VARIANTS;
                self.shard.on_images(self.now, world::images(self.variant));
            }
            Step::Flush { more, name } => {
                let Some(name) = Name::from_wire(&name.wire()) else { return };
                recorded::look(&self.shard, self.now, &name);
                self.flush(match more {
                    Rare(None) => Flush::Name(name),
                    Rare(Some(false)) => Flush::Subtree(name),
                    Rare(Some(true)) => Flush::All,
                });
            }
            Step::Out { octets } => self.take_out(usize::from(*octets)),
            Step::In { which, flips, raw } => self.take_in(usize::from(*which), flips, raw),
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
        self.recorded.take(&mut self.shard, self.now, TICK);
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

    /// Flushes a part of the cache.
    fn flush(&mut self, what: Flush) {
        let (mut cursor, mut gone) = (Some(0), 0);
        let before = self.shard.cache_figures().entries;
        for _ in 0..PARTS_MAX {
            let Some(at) = cursor else { break };
            let (more, next) = self.shard.flush_step(&what, at);
            (gone, cursor) = (gone + more, next);
        }
        assert_eq!(cursor, None);
        let left = self.shard.cache_figures().entries;
        assert_eq!(left + gone, before);
        assert!(left == 0 || what != Flush::All);
    }

    /// Writes out the cache; what was written before is forgotten.
    fn take_out(&mut self, octets_max: usize) {
        self.portions.clear();
        let mut cursor = Some(0);
        for _ in 0..PARTS_MAX {
            let Some(at) = cursor else { break };
            let mut portion = Vec::new();
            // A portion without room would never come to an end.
            cursor = self.shard.cache_out(self.now, at, octets_max.max(1), &mut portion);
            assert!(portion.len() <= octets_max + MESSAGE_OCTETS_MAX + 16);
            self.portions.push(portion);
            self.portions.truncate(PORTIONS_MAX);
        }
        assert_eq!(cursor, None);
    }

    /// Takes in what was written out, as it was or not.
    fn take_in(&mut self, which: usize, flips: &Rare<Vec<(u16, u8)>>, raw: &Rare<(bool, Octets<'_>)>) {
        if let Rare(Some((has_version, Octets(octets)))) = raw {
            let version: &[u8] = if *has_version { &[1] } else { &[] };
            // It may be taken or not, as long as it does no harm.
            let _ = self.shard.cache_in(self.now, &[version, octets].concat());
            return;
        }
        let Some(last) = self.portions.len().checked_sub(1) else { return };
        let mut portion = self.portions[which.min(last)].clone();
        if let Rare(Some(flips)) = flips
            && !portion.is_empty()
        {
            for (at, bits) in flips.iter().take(16) {
                let at = usize::from(*at) % portion.len();
                portion[at] ^= bits;
            }
        }
        let is_changed = portion != self.portions[which.min(last)];
        let taken = self.shard.cache_in(self.now, &portion);
        assert!(taken.is_ok() || is_changed, "what came out goes in");
    }

    /// Lets all time-outs pass and all transfers come to their end: then nobody waits, and no question is in flight. With
    /// servers that answer, or without servers, nothing is expected any more either. When everything has run out,
    /// nothing is left.
    pub fn end(mut self) {
        while let Some(last) = self.transfers.len().checked_sub(1) {
            self.transfer(last);
        }
        assert_eq!(self.shard.transfers(), 0);
        self.pass(world::TIMEOUT_SLOW + TICK, false);
        assert!(self.waiting.is_empty());
        assert_eq!((self.shard.waiters(), self.shard.resolves_in_flight()), (0, 0));
        (self.live, self.manner) = (u16::MAX, Manner::default());
        self.pass(RETURN, false);
        assert!(self.shard.is_idle(), "{:?}", self.shard);
        for state in self.shard.server_states() {
            assert_eq!((state.in_flight, state.standing), (0, Standing::Up), "{state:?}");
        }
        let open = self.queries.iter().filter(|query| query.exchange.is_some()).count();
        assert_eq!(open, 0, "every exchange was answered or ended");
        self.pass(world::KEPT, false);
        assert_eq!((self.shard.cache_figures().entries, self.shard.deadline()), (0, None));
        self.recorded.take(&mut self.shard, self.now, TICK);
        self.check();
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
                self.recorded.begun += 1;
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
            let mail = self.mail.first_key_value().map(|(&(at, _), _)| at);
            let Some(next) = [mail, self.shard.deadline()].into_iter().flatten().min().filter(|&next| next <= end)
            else {
                break;
            };
            self.now = if late { end } else { self.now.max(next) };
            if self.shard.deadline().is_some_and(|deadline| deadline <= self.now) {
                self.shard.on_deadline(self.now);
                assert!(self.shard.deadline().is_none_or(|next| next > self.now), "a deadline is dealt with once");
            }
            self.act();
        }
        assert!(self.shard.deadline().is_none_or(|deadline| deadline > end), "the shard goes round in circles");
        self.now = end;
        self.shard.on_clock(self.clock());
        for waiting in self.waiting.values() {
            assert!(waiting.until >= self.now, "a client was left without an answer: {:02x?}", waiting.request);
        }
    }

    /// Does what the shard wants done, and hands it what has come.
    fn act(&mut self) {
        for _ in 0..ACTIVITY_MAX {
            self.poll();
            match self.mail.first_entry() {
                Some(mail) if mail.key().0 <= self.now => {
                    let mail = mail.remove();
                    self.deliver(mail);
                }
                _ => return,
            }
        }
        panic!("the shard goes round in circles");
    }

    fn deliver(&mut self, mail: Mail) {
        let Mail { socket, exchange, server, octets } = mail;
        let Some(exchange) = exchange else { return self.shard.on_reply_udp(self.now, socket, server, &octets) };
        // It may have been closed meanwhile.
        if let Some(query) = self.queries.iter_mut().find(|query| query.exchange == Some(exchange)) {
            query.exchange = None;
            self.shard.on_reply_tcp(self.now, exchange, &octets);
        }
    }

    fn poll(&mut self) {
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
        let number = self.servers.iter().position(|&other| other == server).expect("a server of a pool is asked");
        let octets = self.buffer[..octets].to_vec();
        let query = reply::query(&octets, &world::key(), &mut KeyedName::default());
        assert!(query.is_some(), "a query of ours is well-formed: {octets:02x?}");
        let tcp = exchange.is_some();
        self.sent[usize::from(tcp)] += 1;
        if self.live >> number & 1 == 1 {
            let at = self.now + Duration::from_millis(self.manner.millis());
            let mail = Mail { socket, exchange, server, octets: self.manner.reply(&octets, tcp) };
            self.mail.insert((at, self.sent[0] + self.sent[1]), mail);
        }
        if self.queries.len() == QUERIES_MAX
            && let Some(oldest) = self.queries.iter().position(|query| query.exchange.is_none())
        {
            self.queries.remove(oldest);
        }
        self.queries.push(Upstream { socket, exchange, tcp, server, octets });
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
        let by_rcode = counters.each().filter(|(name, ..)| name.starts_with("rcode_")).map(|(.., value)| value);
        assert_eq!(by_rcode.sum::<u64>(), counters.replies);
        self.recorded.check(&self.shard, self.answerable, self.sent.iter().sum());
        let [sent_udp, sent_tcp] = self.sent;
        assert!(sent_udp <= counters.upstream_udp && sent_tcp <= counters.upstream_tcp);
        let questions = counters.cache_misses - counters.coalesced + counters.refreshes;
        // One more where a server comes back that was asked in vain.
        let attempts_max = ATTEMPTS_MAX as u64 + 1;
        assert!(sent_udp + sent_tcp <= questions * attempts_max + counters.upstream_probes);
        assert!(self.shard.resolves_in_flight() <= world::RESOLVES);
        assert!(waiting <= world::RESOLVES * world::WAITERS);
        let open = self.queries.iter().filter(|query| query.exchange.is_some()).count();
        assert!(open <= self.shard.resolves_in_flight() * (ATTEMPTS_MAX + 1) + PROBES_MAX);
        // What is beyond a lowered limit goes bit by bit, and tables grow in steps after room was made for these.
        let Figures { entries, octets, .. } = self.shard.cache_figures();
        assert!(octets <= world::CACHE_OCTETS + world::CACHE_OCTETS / 20, "{octets} octets");
        assert!(entries == 0 || octets > 0);
    }
}

/// How long the asker of `request` may have to wait.
fn timeout(request: &[u8]) -> Duration {
    let mut name = KeyedName::default();
    reply::query(request, &world::key(), &mut name).expect("only a well-formed query waits");
    if name.as_wire().ends_with(b"\x04slow\x04test\0") { world::TIMEOUT_SLOW } else { world::TIMEOUT }
}
