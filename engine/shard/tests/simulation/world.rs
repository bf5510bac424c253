//! The shard, its clients and servers, and the clock; what must hold is checked at every event.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ringdns_shard::guard::Acl;
use ringdns_shard::images::{Bounds, CacheSettings, Listener, Recording};
use ringdns_shard::limits::{ATTEMPTS_MAX, MESSAGE_OCTETS_MAX, PROBES_MAX, STALE_TTL_SECONDS, UDP_REPLY_OCTETS_MAX};
use ringdns_shard::telemetry::Counters;
use ringdns_shard::tsig::{Algorithm, Key, Transaction};
use ringdns_shard::upstream::{Kind, Member, Pool, Protocol, Routes, Server, Standing, Strategy, Target};
use ringdns_shard::wire::message::{Section, flags};
use ringdns_shard::wire::name::{HashKey, Name};
use ringdns_shard::wire::rdata::rtype;
use ringdns_shard::{Action, Client, Images, Outcome, Shard, Time, Transport, wire};

use crate::packet::{self, Asking, View};
use crate::random::Random;
use crate::recorded::{BATCH_MICROS_MAX, Recorded};
use crate::servers::{Datagram, Mood, Servers, Stream, Told, edition};
use crate::truth::{Question, Truth, apex, suffix};

/// Sockets towards servers.
pub(crate) const UDP_PORTS: u8 = 4;
/// Queries of a run.
const QUERIES: u64 = 4_000;
/// Names that are asked for again and again.
const NAMES: u64 = 300;
/// How long clients ask.
const ASKING: Duration = Duration::from_secs(60);
/// How long all servers are silent.
const OUTAGE: Duration = Duration::from_secs(8);
const TIMEOUT: Duration = Duration::from_secs(1);
/// A tick of the shard's timers.
const TICK: Duration = Duration::from_micros(1_024);
const CACHE: CacheSettings = CacheSettings {
    octets: 64_000,
    min_ttl: Duration::ZERO,
    max_ttl: Duration::from_secs(40),
    negative_max_ttl: Duration::from_secs(10),
    failure_ttl: Duration::from_secs(1),
    stale: Duration::from_secs(60),
    stale_after: Duration::from_millis(300),
    prefetch: true,
};
const BOUNDS: Bounds = Bounds {
    resolves: 24,
    waiters: 5,
    tcp_connections: 1,
    tcp_idle: Duration::from_secs(10),
    udp_ports: UDP_PORTS,
    zone_resolves: 9,
    zone_rate: 0,
};
/// Where names go: the zone, how many servers it has, how they are asked, in which order, and what they are.
const ZONES: [(&str, usize, Protocol, Strategy, Kind); 6] = [
    ("uniform.test", 5, Protocol::Udp, Strategy::Uniform, Kind::Resolver),
    ("tcp.test", 1, Protocol::Tcp, Strategy::Fallback, Kind::Resolver),
    ("minload.test", 3, Protocol::Udp, Strategy::Minload, Kind::Resolver),
    ("parallel.test", 5, Protocol::Udp, Strategy::Parallel, Kind::Resolver),
    ("balanced.test", 2, Protocol::Udp, Strategy::Balanced, Kind::Resolver),
    ("origin.test", 3, Protocol::Udp, Strategy::Uniform, Kind::Authoritative),
];
/// Actions at one moment beyond which the shard is taken to go round in circles.
const ACTIVITY_MAX: usize = 10_000;
/// Of what was told for a question, so much is remembered.
const TOLD_MAX: usize = 64;

enum Event {
    /// A client asks, and says when the next one will.
    Ask,
    /// Many ask at once: the same name, or a name each.
    Crowd,
    Mood,
    /// All servers fall silent.
    Outage,
    /// All servers are honest.
    Recovery,
    /// Some servers go or come, others are asked in another order.
    Reload,
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
    /// All servers are silent.
    outage: bool,
    reloads: usize,
    /// Every request is logged, whatever is loaded.
    logs_all: bool,
    recorded: Recorded,
    now: Time,
    /// By time, then by number.
    agenda: BinaryHeap<Reverse<(Time, u64)>>,
    events: HashMap<u64, Event>,
    numbers: u64,
    /// Those without an answer, by the mark of their connection.
    waiting: BTreeMap<u64, Asked>,
    /// TCP exchanges that the shard has open.
    exchanges: HashSet<u64>,
    /// When the truth was told to the shard, and in which edition.
    told: HashMap<Question, VecDeque<(Time, u64)>>,
    buffer: Vec<u8>,
    asked: u64,
    signed: u64,
    errors: u64,
    refused: u64,
    /// Answers that said they were.
    stale: u64,
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
            shard: Shard::new(Arc::new(images(&servers, 0)), shard_seed),
            servers,
            outage: false,
            reloads: 0,
            logs_all: seed % 2 == 1,
            recorded: Recorded::default(),
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
            stale: 0,
            sent_udp: 0,
            sent_tcp: 0,
        };
        world.shard.on_clock(world.clock());
        for event in [Event::Ask, Event::Crowd, Event::Mood] {
            world.plan(Duration::ZERO, event);
        }
        world.plan(ASKING / 3, Event::Outage);
        world.plan(ASKING / 10, Event::Reload);
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
            let took = Duration::from_micros(self.random.between(1, BATCH_MICROS_MAX));
            self.recorded.take(&mut self.shard, self.now, took, TIMEOUT + TICK);
            self.shard.on_clock(self.clock());
        }
    }

    /// What must hold when nothing is to come any more. Returns what was counted.
    pub(crate) fn end(self) -> Counters {
        assert!(self.waiting.is_empty() && self.exchanges.is_empty());
        assert!(self.shard.is_idle(), "{:?}", self.shard);
        for state in self.shard.server_states() {
            assert_eq!((state.in_flight, state.standing), (0, Standing::Up), "{state:?}");
            assert!(state.answered + state.unreachable <= state.asked, "{state:?}");
        }
        let counters = self.shard.counters();
        assert!(self.asked > QUERIES / 2);
        assert_eq!(counters.queries_udp + counters.queries_tcp, self.asked);
        assert_eq!(counters.replies, self.asked);
        assert_eq!(counters.tsig_verified, self.signed);
        assert_eq!(counters.cache_hits + counters.cache_misses, self.asked);
        assert_eq!(counters.rcode_servfail, self.errors);
        assert_eq!(counters.refused_resolves + counters.refused_waiters + counters.refused_zone, self.refused);
        assert_eq!((counters.rcode_refused, counters.rcode_other), (self.refused, 0));
        self.recorded.end(counters, self.shard.telemetry(), self.logs_all);
        assert_eq!((counters.upstream_udp, counters.upstream_tcp), (self.sent_udp, self.sent_tcp));
        assert_eq!(counters.rcode_noerror + counters.rcode_nxdomain, self.asked - self.errors - self.refused);
        let stale = counters.stale_down + counters.stale_slow + counters.stale_failed + counters.stale_limited;
        assert!(self.stale <= stale, "{} stale answers were seen, and {stale} counted", self.stale);
        assert_eq!(self.shard.cache_figures().entries, 0, "time has removed everything");
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
            Event::Mood if is_day => {
                if !self.outage {
                    self.servers.change_mood(&mut self.random);
                }
                let pause = self.random.between(100, 1_200);
                self.plan(Duration::from_millis(pause), Event::Mood);
            }
            // At night all is well, so that every server is up again in the end.
            Event::Mood => self.servers.all_are(Mood::Honest),
            Event::Outage => {
                self.servers.all_are(Mood::Silent);
                self.outage = true;
                self.plan(OUTAGE, Event::Recovery);
            }
            Event::Reload => {
                self.reloads += 1;
                let mut images = images(&self.servers, self.reloads);
                if !self.logs_all {
                    images.recording.log_sample = 1 + (self.reloads % 3) as u32;
                }
                self.shard.on_images(self.now, Arc::new(images));
                if is_day {
                    let pause = self.random.between(500, 10_000);
                    self.plan(Duration::from_millis(pause), Event::Reload);
                }
            }
            Event::Recovery => {
                self.servers.all_are(Mood::Honest);
                self.outage = false;
            }
            Event::Datagram(Datagram { socket, sender, octets, told }) => {
                self.tell(told);
                self.shard.on_reply_udp(self.now, socket, sender, &octets);
            }
            // The shard may have closed the connection meanwhile: then the rim has nothing to say of it.
            Event::Stream(exchange, stream) if self.exchanges.remove(&exchange) => match stream.octets {
                Some(octets) => {
                    self.tell(stream.told);
                    self.shard.on_reply_tcp(self.now, exchange, &octets);
                }
                None => self.shard.on_failure_tcp(self.now, exchange),
            },
            Event::Stream(..) => {}
        }
    }

    fn tell(&mut self, told: Option<Told>) {
        let Some(Told { question, edition }) = told else { return };
        let before = self.told.entry(question).or_default();
        before.push_front((self.now, edition));
        before.truncate(TOLD_MAX);
    }

    /// Something that people ask for.
    fn question(&mut self) -> Question {
        let number = self.random.zipf(NAMES);
        let (zone, ..) = ZONES[self.random.below(ZONES.len() as u64) as usize];
        let host = match self.random.below(10) {
            0 => format!("below.n{number}"),
            1 => format!("n{number}.a-longer-name"),
            _ => format!("n{number}"),
        };
        let name: Name = format!("{host}.{zone}").parse().expect("a name of ours");
        Question {
            name: name.as_wire().to_vec(),
            qtype: [rtype::A, rtype::A, rtype::A, rtype::AAAA, rtype::MX][self.random.below(5) as usize],
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
        self.recorded.ask(self.now, &client, &question);
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
                    let (now, path) = (self.now, (socket, server));
                    for (delay, datagram) in self.servers.on_datagram(&mut self.random, now, path, &query) {
                        self.plan(delay, Event::Datagram(datagram));
                    }
                }
                Action::AskTcp { exchange, server, octets } => {
                    self.sent_tcp += 1;
                    assert!(self.exchanges.insert(exchange), "an exchange has one number");
                    let query = self.buffer[..octets].to_vec();
                    if let Some((delay, stream)) = self.servers.on_stream(&mut self.random, self.now, server, &query) {
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
        let view = packet::view(&reply, &asking.spelt);
        let header = view.header;
        assert_eq!(header.id, asking.id);
        assert_eq!(view.opt, asking.edns.map(|_| question.dnssec_ok));
        let is_origin = apex(&question.name) == b"\x06origin\x04test\0";
        assert!(header.has(flags::QR) && !header.has(flags::AD));
        assert_eq!((header.has(flags::RA), header.has(flags::RD)), (!is_origin, asking.recursion_desired));
        assert_eq!(header.has(flags::CD), question.checking_disabled);
        match header.flags & flags::RCODE {
            2 => self.errors += 1,
            5 => self.refused += 1,
            _ => {
                assert_eq!(header.has(flags::AA), is_origin);
                return self.hold_against_truth(asked, took, &view);
            }
        }
        assert!(
            !header.has(flags::AA) && view.records.is_empty() && !header.has(flags::TC),
            "an error holds no records"
        );
    }

    /// What was told must be what somebody has told the shard, young enough; or, where it is marked as stale, old enough.
    fn hold_against_truth(&mut self, asked: &Asked, took: Duration, view: &View) {
        let question = &asked.question;
        let is_stale = matches!(view.error, Some(3 | 19));
        assert!(is_stale || view.error.is_none(), "{question:?}: {:?}", view.error);
        if is_stale {
            self.stale += 1;
            assert!(took <= CACHE.stale_after + TICK, "a client waited {took:?} for a stale answer");
        }
        // Without EDNS it cannot be told.
        let ages: &[bool] = if is_stale {
            &[true]
        } else if view.opt.is_some() {
            &[false]
        } else {
            &[false, true]
        };
        let tellers = tellers(question, view.header.flags & flags::RCODE);
        let of = |teller| self.told.get(teller).into_iter().flatten().map(move |told| (teller, told));
        let told = tellers.iter().flat_map(of);
        let mut truths = HashMap::new();
        let is_true = told.clone().any(|(teller, &(told, edition))| {
            let dnssec_ok = teller.dnssec_ok;
            let about = || Question { dnssec_ok, ..question.clone() };
            let truth = truths.entry((dnssec_ok, edition)).or_insert_with(|| about().truth(edition));
            ages.iter().any(|&stale| is_said(asked, truth, view, self.now - told, stale))
        });
        assert!(
            is_true,
            "{question:?} at {:?}: {:?} {:?} is none of what was told: {:?}\nthe truth now: {:?}",
            self.now,
            view.header,
            view.records,
            told.collect::<Vec<_>>(),
            question.truth(edition(self.now)),
        );
    }

    /// What holds after every event.
    fn check(&self) {
        assert_eq!(self.shard.waiters(), self.waiting.len());
        let mut waiters: HashMap<&Question, usize> = HashMap::new();
        for asked in self.waiting.values() {
            *waiters.entry(&asked.question).or_default() += 1;
            assert!(self.now - asked.at <= TIMEOUT + TICK, "a client was forgotten: {:?}", asked.question);
        }
        // Some questions go on for the cache alone.
        let in_flight = self.shard.resolves_in_flight();
        assert!(waiters.len() <= in_flight && in_flight <= BOUNDS.resolves);
        assert!(waiters.values().all(|&count| count <= BOUNDS.waiters));
        let figures = self.shard.cache_figures();
        assert!(figures.octets <= CACHE.octets, "{figures:?}");
        assert!(self.exchanges.len() <= in_flight * (ATTEMPTS_MAX + 1) + PROBES_MAX);
    }
}

/// The questions whose answers may have brought this one: a denial is of the name, for every type, and for names below; and
/// a server without EDNS does not hear of DO.
fn tellers(question: &Question, rcode: u16) -> Vec<Question> {
    let mut tellers = vec![question.clone()];
    if question.dnssec_ok {
        tellers.extend(self::tellers(&Question { dnssec_ok: false, ..question.clone() }, rcode));
    }
    if rcode == 3 {
        let labels = wire::name::labels(&question.name).count();
        let names = (0..labels).map(|below| suffix(&question.name, below));
        let types = [rtype::A, rtype::AAAA, rtype::MX];
        let of_name = |name: &[u8]| types.map(|qtype| Question { name: name.to_vec(), qtype, ..question.clone() });
        tellers.extend(names.flat_map(of_name));
    }
    tellers
}

/// Whether a reply is what the truth says, told so long ago.
fn is_said(asked: &Asked, truth: &Truth, view: &View, age: Duration, stale: bool) -> bool {
    if view.header.flags & flags::RCODE != truth.rcode {
        return false;
    }
    let negative = truth.rcode == 3 || packet::section(&truth.records, Section::Answer).is_empty();
    let longest = if negative { CACHE.negative_max_ttl } else { CACHE.max_ttl }.as_secs() as u32;
    let least = truth.records.iter().map(|record| record.ttl).min().unwrap_or(0).min(longest);
    let life = Duration::from_secs(least.into());
    // An answer without anything in it is held back: somebody else may have more to say.
    let held_back = truth.records.is_empty() && age <= TIMEOUT;
    let young = age < life || age.is_zero() || held_back;
    // Times are kept in a coarser form than they are given.
    let old = age + TICK >= life && age < life + CACHE.stale && least > 0;
    if if stale { !old } else { !young } {
        return false;
    }
    if view.header.has(flags::TC) {
        return asked.client.via == Transport::Udp && view.records.is_empty();
    }
    let is_said = [Section::Answer, Section::Authority, Section::Additional].into_iter().all(|part| {
        let (said, true_part) = (packet::section(&view.records, part), packet::section(&truth.records, part));
        said == true_part || part == Section::Additional && said.is_empty()
    });
    let age = age.as_secs() as u32;
    is_said
        && view.records.iter().zip(&truth.records).all(|(record, true_record)| match stale {
            true => record.ttl == STALE_TTL_SECONDS,
            false => record.ttl <= true_record.ttl.min(longest).saturating_sub(age),
        })
}

/// The key of clients that sign.
fn key() -> Arc<Key> {
    let name = "a-client".parse::<Name>().expect("a name of ours");
    Arc::new(Key::new(&name, Algorithm::HmacSha512, b"known to both"))
}

/// What the shard is told after so many reloads.
fn images(servers: &Servers, reloads: usize) -> Images {
    let hash_key = HashKey::from_seed([9; 16]);
    // Every zone has all its servers again after the same number of reloads.
    let count = |zone: &str, count: usize| count - (reloads + zone.len()) % 3 % count;
    let pool = |(zone, servers_max, protocol, strategy, kind): (&str, usize, Protocol, Strategy, Kind)| {
        let member = |(weight, address)| Member { server: Server { protocol, address }, weight };
        Arc::new(Pool {
            name: zone.into(),
            servers: (1..).zip(servers.addresses).take(count(zone, servers_max)).map(member).collect(),
            kind,
            strategy,
            timeout: TIMEOUT,
            // Mostly only their addresses change, and sometimes they become others: then the cache begins anew.
            spec: format!("{zone} {}", reloads / 8).into(),
        })
    };
    let name = |text: &str| text.parse::<Name>().expect("a name of ours");
    let routes = (0..).zip(ZONES).map(|(i, (zone, ..))| (name(zone), Target::Pools(vec![i])));
    Images {
        listeners: vec![Listener { allow: Acl::local_and_private() }],
        routes: Arc::new(Routes::new(&hash_key, routes.collect())),
        keys: Arc::new([Arc::unwrap_or_clone(key())].into_iter().collect()),
        pools: ZONES.map(pool).to_vec(),
        cache: CACHE,
        bounds: BOUNDS,
        recording: Recording { log_sample: 1, tap_clients: true, tap_upstreams: true },
        ..Images::bare(hash_key)
    }
}
