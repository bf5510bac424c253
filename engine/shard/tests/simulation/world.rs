//! The shard, its clients and servers, and the clock; what must hold is checked at every event.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use ringdns_shard::guard::Acl;
use ringdns_shard::images::{Bounds, CacheSettings, Listener};
use ringdns_shard::limits::{ATTEMPTS_MAX, MESSAGE_OCTETS_MAX, UDP_REPLY_OCTETS_MAX};
use ringdns_shard::telemetry::Counters;
use ringdns_shard::tsig::{Algorithm, Key, Transaction};
use ringdns_shard::upstream::{Kind, Pool, Protocol, Routes, Server, Strategy, Target};
use ringdns_shard::wire::message::{Section, flags};
use ringdns_shard::wire::name::{HashKey, Name};
use ringdns_shard::{Action, Client, Images, Outcome, Shard, Time, Transport};

use crate::packet::{self, Asking, View};
use crate::random::Random;
use crate::servers::{Datagram, Servers, Stream};
use crate::truth::{Question, Record};

/// Sockets towards servers.
pub(crate) const UDP_PORTS: u8 = 4;
/// Queries of a run.
const QUERIES: u64 = 4_000;
/// Names that are asked for again and again.
const NAMES: u64 = 300;
/// How long clients ask.
const ASKING: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(1);
/// A tick of the shard's timers.
const TICK: Duration = Duration::from_micros(1_024);
const CACHE: CacheSettings = CacheSettings {
    octets: 24_000,
    min_ttl: Duration::ZERO,
    max_ttl: Duration::from_secs(40),
    negative_max_ttl: Duration::from_secs(10),
    ..CacheSettings::PLAIN
};
const BOUNDS: Bounds =
    Bounds { resolves: 24, waiters: 5, tcp_idle: Duration::from_secs(10), udp_ports: UDP_PORTS, ..Bounds::DEFAULT };
/// Actions at one moment beyond which the shard is taken to go round in circles.
const ACTIVITY_MAX: usize = 10_000;

enum Event {
    /// A client asks, and says when the next one will.
    Ask,
    /// Many ask at once: the same name, or a name each.
    Crowd,
    Mood,
    Datagram(Datagram),
    Stream(u64, Stream),
}

/// A client's query.
struct Asked {
    client: Client,
    /// Where it was signed.
    transaction: Option<Transaction>,
    question: Question,
    asking: Asking,
    at: Time,
}

pub(crate) struct World {
    random: Random,
    shard: Shard,
    servers: Servers,
    now: Time,
    /// By time, then by number.
    agenda: BinaryHeap<Reverse<(Time, u64)>>,
    events: HashMap<u64, Event>,
    numbers: u64,
    /// Those without an answer, by the mark of their connection.
    waiting: BTreeMap<u64, Asked>,
    /// TCP exchanges that the shard has open.
    exchanges: HashSet<u64>,
    /// When the truth was last told to the shard.
    told: HashMap<Question, Time>,
    buffer: Vec<u8>,
    asked: u64,
    signed: u64,
    errors: u64,
    refused: u64,
    sent_udp: u64,
    sent_tcp: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> World {
        let mut random = Random::new(seed);
        let servers = Servers::new();
        let shard_seed = std::array::from_fn(|_| random.word() as u8);
        let mut world = World {
            random,
            shard: Shard::new(Arc::new(images(&servers)), shard_seed),
            servers,
            now: Time::from_secs(1),
            agenda: BinaryHeap::new(),
            events: HashMap::new(),
            numbers: 0,
            waiting: BTreeMap::new(),
            exchanges: HashSet::new(),
            told: HashMap::new(),
            buffer: vec![0; MESSAGE_OCTETS_MAX],
            asked: 0,
            signed: 0,
            errors: 0,
            refused: 0,
            sent_udp: 0,
            sent_tcp: 0,
        };
        world.shard.on_clock(world.clock());
        for event in [Event::Ask, Event::Crowd, Event::Mood] {
            world.plan(Duration::ZERO, event);
        }
        world
    }

    /// Until nothing is to come any more.
    pub(crate) fn run(&mut self) {
        loop {
            let event = self.agenda.peek().map(|&Reverse((time, _))| time);
            let deadline = self.shard.deadline();
            match (event, deadline) {
                (None, None) => return,
                (Some(event), deadline) if deadline.is_none_or(|deadline| event < deadline) => {
                    let Some(Reverse((time, number))) = self.agenda.pop() else { unreachable!("it was seen just now") };
                    self.now = self.now.max(time);
                    let event = self.events.remove(&number).expect("an event has one number");
                    self.happen(event);
                }
                (_, Some(deadline)) => {
                    // The rim wakes a little late.
                    self.now = self.now.max(deadline) + Duration::from_micros(self.random.below(100));
                    self.shard.on_deadline(self.now);
                    assert!(self.shard.deadline().is_none_or(|next| next > self.now), "a deadline is dealt with once");
                }
                (Some(_), None) => unreachable!("the event comes before no deadline"),
            }
            self.act();
            self.check();
            self.shard.on_clock(self.clock());
        }
    }

    /// What must hold when nothing is to come any more. Returns what was counted.
    pub(crate) fn end(self) -> Counters {
        assert!(self.waiting.is_empty() && self.exchanges.is_empty());
        assert_eq!((self.shard.waiters(), self.shard.resolves_in_flight()), (0, 0));
        let counters = self.shard.counters();
        assert!(self.asked > QUERIES / 2);
        assert_eq!(counters.queries_udp + counters.queries_tcp, self.asked);
        assert_eq!(counters.replies, self.asked);
        assert_eq!(counters.tsig_verified, self.signed);
        assert_eq!(counters.cache_hits + counters.cache_misses, self.asked);
        assert_eq!(counters.resolves_failed, self.errors);
        assert_eq!(counters.rcode_servfail, self.errors);
        assert_eq!(counters.refused_resolves + counters.refused_waiters, self.refused);
        assert_eq!(counters.rcode_other, self.refused);
        assert_eq!((counters.upstream_udp, counters.upstream_tcp), (self.sent_udp, self.sent_tcp));
        assert_eq!(counters.rcode_noerror + counters.rcode_nxdomain, self.asked - self.errors - self.refused);
        let (entries, _) = self.shard.cached();
        let gone = counters.cache_evictions + counters.cache_expired;
        assert!(gone + entries as u64 <= counters.cache_inserts);
        counters.clone()
    }

    /// The time of the day.
    fn clock(&self) -> u64 {
        1_700_000_000 + self.now.as_micros() / 1_000_000
    }

    fn plan(&mut self, after: Duration, event: Event) {
        self.numbers += 1;
        self.agenda.push(Reverse((self.now + after, self.numbers)));
        self.events.insert(self.numbers, event);
    }

    fn happen(&mut self, event: Event) {
        let is_day = self.now - Time::from_secs(1) < ASKING;
        match event {
            Event::Ask => {
                let question = self.question();
                self.ask(question);
                if is_day {
                    let pause = self.random.below(2 * ASKING.as_micros() as u64 / QUERIES);
                    self.plan(Duration::from_micros(pause), Event::Ask);
                }
            }
            Event::Crowd => {
                let same = self.random.percent(50).then(|| self.question());
                for _ in 0..self.random.between(10, 50) {
                    let question = same.clone().unwrap_or_else(|| self.question());
                    self.ask(question);
                }
                if is_day {
                    let pause = self.random.below(4_000);
                    self.plan(Duration::from_millis(pause), Event::Crowd);
                }
            }
            Event::Mood => {
                self.servers.change_mood(&mut self.random);
                if is_day {
                    let pause = self.random.between(100, 1_200);
                    self.plan(Duration::from_millis(pause), Event::Mood);
                }
            }
            Event::Datagram(Datagram { socket, sender, octets, truth_of }) => {
                self.tell(truth_of);
                self.shard.on_reply_udp(self.now, socket, sender, &octets);
            }
            // The shard may have closed the connection meanwhile: then the rim has nothing to say of it.
            Event::Stream(exchange, stream) if self.exchanges.remove(&exchange) => match stream.octets {
                Some(octets) => {
                    self.tell(stream.truth_of);
                    self.shard.on_reply_tcp(self.now, exchange, &octets);
                }
                None => self.shard.on_failure_tcp(self.now, exchange),
            },
            Event::Stream(..) => {}
        }
    }

    fn tell(&mut self, truth_of: Option<Question>) {
        if let Some(question) = truth_of {
            self.told.insert(question, self.now);
        }
    }

    /// Something that people ask for.
    fn question(&mut self) -> Question {
        let number = self.random.zipf(NAMES);
        let place = if self.random.percent(80) { "udp" } else { "tcp" };
        let text = if number.is_multiple_of(7) {
            format!("n{number}.a-longer-name.{place}.test")
        } else {
            format!("n{number}.{place}.test")
        };
        let name: Name = text.parse().expect("a name of ours");
        Question {
            name: name.as_wire().to_vec(),
            qtype: if self.random.percent(70) { 1 } else { 28 },
            dnssec_ok: self.random.percent(20),
            checking_disabled: self.random.percent(10),
        }
    }

    /// A client asks.
    fn ask(&mut self, question: Question) {
        self.asked += 1;
        let random = &mut self.random;
        let via = if random.percent(80) { Transport::Udp } else { Transport::Tcp };
        let edns = (question.dnssec_ok || random.percent(40)).then(|| random.between(400, 1500) as u16);
        let spelt = [&*random.spelt(&question.name), &question.qtype.to_be_bytes(), &[0, 1]].concat();
        let asking = Asking { id: random.word() as u16, recursion_desired: random.percent(90), edns, spelt };
        let client = Client {
            peer: ([127, 0, 0, 1], random.between(1_024, 65_535) as u16).into(),
            local: None,
            via,
            listener: 0,
            connection: self.asked,
        };
        let mut query = packet::query(&asking, &question);
        let transaction = self.random.percent(10).then(|| Transaction::sign(&key(), self.clock(), &mut query));
        self.signed += u64::from(transaction.is_some());
        let asked = Asked { client, transaction, question, asking, at: self.now };
        let room = if via == Transport::Udp { UDP_REPLY_OCTETS_MAX } else { MESSAGE_OCTETS_MAX };
        match self.shard.on_query(self.now, &client, &query, &mut self.buffer[..room]) {
            Outcome::Reply(octets) => self.answered(&asked, octets),
            Outcome::Pending => {
                self.waiting.insert(self.asked, asked);
            }
            Outcome::Silence | Outcome::Transfer(_) => panic!("a client that asks well gets no answer"),
        }
        self.act();
    }

    /// Does what the shard wants done.
    fn act(&mut self) {
        for _ in 0..ACTIVITY_MAX {
            let Some(action) = self.shard.poll_action(&mut self.buffer) else { return };
            match action {
                Action::Reply { client, octets } => {
                    let asked = self.waiting.remove(&client.connection).expect("who is answered waits, once");
                    assert_eq!(client, asked.client);
                    self.answered(&asked, octets);
                }
                Action::AskUdp { socket, server, octets } => {
                    assert!(socket < UDP_PORTS);
                    self.sent_udp += 1;
                    let query = self.buffer[..octets].to_vec();
                    if self.random.percent(1) {
                        // The kernel refuses to send it.
                        self.shard.on_failure_udp(self.now, socket, u16::from_be_bytes([query[0], query[1]]));
                        continue;
                    }
                    for (delay, datagram) in self.servers.on_datagram(&mut self.random, socket, server, &query) {
                        self.plan(delay, Event::Datagram(datagram));
                    }
                }
                Action::AskTcp { exchange, server, octets } => {
                    self.sent_tcp += 1;
                    assert!(self.exchanges.insert(exchange), "an exchange has one number");
                    let query = self.buffer[..octets].to_vec();
                    if let Some((delay, stream)) = self.servers.on_stream(&mut self.random, server, &query) {
                        self.plan(delay, Event::Stream(exchange, stream));
                    }
                }
                Action::Notified { .. } => panic!("nobody notifies of anything"),
                Action::EndTcp { exchange } => {
                    assert!(self.exchanges.remove(&exchange), "a connection that is closed was open");
                }
            }
        }
        panic!("the shard goes round in circles");
    }

    /// A reply of `octets` octets stands in the buffer: it must be the truth, or an error.
    fn answered(&mut self, asked: &Asked, octets: usize) {
        let Asked { asking, question, at, transaction, .. } = asked;
        let took = self.now - *at;
        assert!(took <= TIMEOUT + TICK, "a client waited for {took:?}");
        let over_udp = asked.client.via == Transport::Udp;
        let limit = if over_udp { asking.edns.map_or(512, |payload| payload.clamp(512, 1232)) } else { u16::MAX };
        assert!(octets <= limit.into());
        let mut reply = self.buffer[..octets].to_vec();
        if let Some(transaction) = transaction {
            transaction.verify(self.clock(), &mut reply).expect("a reply to a signed query is signed");
        }
        let View { header, records, opt } = packet::view(&reply, &asking.spelt);
        assert_eq!(header.id, asking.id);
        assert_eq!(opt, asking.edns.map(|_| question.dnssec_ok));
        assert!(header.has(flags::QR) && !header.has(flags::AA));
        assert_eq!(header.has(flags::RD), asking.recursion_desired);
        assert_eq!(header.has(flags::CD), question.checking_disabled);
        let rcode = header.flags & flags::RCODE;
        assert!(header.has(flags::RA) || rcode == 5);
        match rcode {
            2 => self.errors += 1,
            5 => self.refused += 1,
            _ => return self.hold_against_truth(asked, header.has(flags::TC), rcode, &records),
        }
        assert!(records.is_empty() && !header.has(flags::TC), "an error holds no records");
    }

    fn hold_against_truth(&self, asked: &Asked, truncated: bool, rcode: u16, records: &[Record]) {
        let question = &asked.question;
        let truth = question.truth();
        assert_eq!(rcode, truth.rcode, "{question:?}");
        let told = self.told.get(question).expect("nobody knows what was never told");
        if truncated {
            assert!(asked.client.via == Transport::Udp && records.is_empty());
            return;
        }
        for part in [Section::Answer, Section::Authority, Section::Additional] {
            let (said, true_part) = (packet::section(records, part), packet::section(&truth.records, part));
            let left_out = part == Section::Additional && said.is_empty();
            assert!(left_out || said == true_part, "{question:?}: {said:?} is not {true_part:?}");
        }
        let age = (self.now - *told).as_secs() as u32;
        let negative = rcode == 3 || packet::section(&truth.records, Section::Answer).is_empty();
        let longest = if negative { CACHE.negative_max_ttl } else { CACHE.max_ttl };
        let least = truth.records.iter().map(|record| record.ttl).min().unwrap_or(0).min(longest.as_secs() as u32);
        assert!(age < least || *told == self.now, "{question:?}: an answer for {least} s is {age} s old");
        for (record, true_record) in records.iter().zip(&truth.records) {
            let most = true_record.ttl.min(longest.as_secs() as u32).saturating_sub(age);
            assert!(record.ttl <= most, "{question:?}: after {age} s a TTL of {} is above {most}", record.ttl);
        }
    }

    /// What holds after every event.
    fn check(&self) {
        assert_eq!(self.shard.waiters(), self.waiting.len());
        let mut waiters: HashMap<&Question, usize> = HashMap::new();
        for asked in self.waiting.values() {
            *waiters.entry(&asked.question).or_default() += 1;
            assert!(self.now - asked.at <= TIMEOUT + TICK, "a client was forgotten: {:?}", asked.question);
        }
        assert_eq!(self.shard.resolves_in_flight(), waiters.len());
        assert!(waiters.len() <= BOUNDS.resolves && waiters.values().all(|&count| count <= BOUNDS.waiters));
        assert!(self.shard.cached().1 <= CACHE.octets);
        assert!(self.exchanges.len() <= waiters.len() * ATTEMPTS_MAX);
    }
}

/// The key of clients that sign.
fn key() -> Arc<Key> {
    let name = "a-client".parse::<Name>().expect("a name of ours");
    Arc::new(Key::new(&name, Algorithm::HmacSha512, b"known to both"))
}

fn images(servers: &Servers) -> Images {
    let hash_key = HashKey::from_seed([9; 16]);
    let pool = |name: &str, protocol, strategy| {
        let servers = servers.addresses.map(|address| Server { protocol, address }).to_vec();
        Arc::new(Pool { name: name.into(), servers, kind: Kind::Resolver, strategy, timeout: TIMEOUT })
    };
    let name = |text: &str| text.parse::<Name>().expect("a name of ours");
    Images {
        hash_key,
        listeners: vec![Listener { allow: Acl::local_and_private() }],
        identity: Box::default(),
        version: Box::default(),
        routes: Arc::new(Routes::new(
            &hash_key,
            vec![(name("udp.test"), Target::Pools(vec![0])), (name("tcp.test"), Target::Pools(vec![1]))],
        )),
        zones: Vec::new(),
        keys: Arc::new([Arc::unwrap_or_clone(key())].into_iter().collect()),
        pools: vec![pool("udp", Protocol::Udp, Strategy::Uniform), pool("tcp", Protocol::Tcp, Strategy::Fallback)],
        cache: CACHE,
        bounds: BOUNDS,
        ..Images::bare(hash_key)
    }
}
