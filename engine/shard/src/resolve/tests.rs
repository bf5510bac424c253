//! What the scenarios of the whole shard do not reach: bounds, forgeries, the word on servers, and what is left of
//! questions that ended.

mod bounds;
mod random;
mod replies;
mod servers;
mod stale;

use std::sync::Arc;

use super::*;
use crate::upstream::{Pool, Probe, Protocol, Server, ServerState, Strategy};
use crate::wire::message::{HEADER_OCTETS, flags};
use crate::wire::name::KeyedName;
use crate::wire::rdata::rtype;

const SETTINGS: CacheSettings = CacheSettings {
    octets: 1 << 20,
    min_ttl: Duration::ZERO,
    max_ttl: Duration::from_secs(86_400),
    negative_max_ttl: Duration::from_secs(3600),
    ..CacheSettings::PLAIN
};
const KEY: Key = Key { qtype: rtype::A, dnssec_ok: false, checking_disabled: false, era: 0 };
const TIMEOUT: Duration = Duration::from_secs(2);
const UDP: Protocol = Protocol::Udp;
const TCP: Protocol = Protocol::Tcp;

/// What begins a question: who waits is boxed, so that nobody may.
type Begin<'a> = Ask<'a, Box<dyn FnOnce() -> u32>>;

/// A resolver with what its calls need.
struct Rig {
    resolver: Resolver<u32>,
    servers: Servers,
    counters: Counters,
    telemetry: Telemetry,
    orders: Vec<Order>,
    now: Time,
}

/// A query as a server gets it.
#[derive(Clone, Debug)]
struct Sent {
    route: Route,
    server: SocketAddr,
    octets: Vec<u8>,
}

impl Rig {
    /// One whose questions go to these servers in this order.
    fn new(protocols: &[Protocol]) -> Rig {
        Rig::with(Bounds { udp_ports: 4, ..Bounds::DEFAULT }, Kind::Resolver, Strategy::Fallback, protocols)
    }

    fn with(bounds: Bounds, kind: Kind, strategy: Strategy, protocols: &[Protocol]) -> Rig {
        let mut rig = Rig {
            resolver: Resolver::new(key(), bounds, [2; 32]),
            servers: Servers::new([3; 32], &[]),
            counters: Counters::default(),
            telemetry: Telemetry::default(),
            orders: Vec::new(),
            now: Time::ZERO,
        };
        rig.set_servers(kind, strategy, protocols);
        rig
    }

    /// From now on questions go to these servers.
    fn set_servers(&mut self, kind: Kind, strategy: Strategy, protocols: &[Protocol]) {
        let server = |(i, &protocol)| Server { protocol, address: address(i) }.into();
        let servers = (0..).zip(protocols).map(server).collect();
        let pool = Pool { name: "pool".into(), servers, kind, strategy, timeout: TIMEOUT, spec: Box::default() };
        self.servers.set_pools(self.now, &[Arc::new(pool)]);
    }

    fn on<T>(&mut self, handle: impl FnOnce(&mut Resolver<u32>, &mut Event<'_>) -> T) -> T {
        let Rig { resolver, servers, counters, telemetry, orders, now } = self;
        let orders = &mut |order| orders.push(order);
        let settings = &SETTINGS;
        handle(resolver, &mut Event { now: *now, settings, servers, counters, telemetry, tap: None, orders })
    }

    /// Begins question `number`, for which `number` waits.
    fn begin(&mut self, number: u32) -> Result<(), Refused> {
        self.begin_as(number, |_| {})
    }

    fn begin_as(&mut self, number: u32, change: impl FnOnce(&mut Begin<'_>)) -> Result<(), Refused> {
        let name = name(number);
        let choice = self.servers.choose(self.now, &[0], &KeyedName::new(&key(), &name).unwrap(), 0);
        let (hash, zone) = (number.into(), number.into());
        let waiter: Box<dyn FnOnce() -> u32> = Box::new(move || number);
        let waiter = Some(waiter);
        let mut ask = Ask { hash, name: &name, key: KEY, waiter, zone, suffix_labels: 0, stale_at: None };
        change(&mut ask);
        self.on(|resolver, event| resolver.begin(event, ask, choice, TIMEOUT))
    }

    fn question(&self, number: u32) -> Option<Question> {
        self.resolver.find(number.into(), &name(number), KEY)
    }

    /// The queries ordered since the last call.
    fn sent(&mut self) -> Vec<Sent> {
        let asked = self.orders.extract_if(.., |order| matches!(order, Order::Ask(_))).collect::<Vec<_>>();
        let written = asked.into_iter().filter_map(|order| {
            let Order::Ask(asking) = order else { return None };
            let mut query = [0; 512];
            let (route, server, octets) = self.resolver.write_query(&self.servers, asking, &mut query)?;
            Some(Sent { route, server, octets: query[..octets].to_vec() })
        });
        written.collect()
    }

    /// The only one of them.
    fn sent_one(&mut self) -> Sent {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.remove(0)
    }

    /// The exchanges ended since the last call.
    fn ended(&mut self) -> Vec<u64> {
        let ended = self.orders.extract_if(.., |order| matches!(order, Order::EndTcp(_)));
        ended.map(|order| if let Order::EndTcp(exchange) = order { exchange } else { unreachable!() }).collect()
    }

    /// A message comes from the server that was sent this, the way that it was sent.
    fn reply(&mut self, to: &Sent, message: &[u8]) -> Option<Finished<u32>> {
        let Sent { route, server, .. } = *to;
        self.on(|resolver, event| match route {
            Route::Udp(socket) => resolver.on_reply_udp(event, socket, server, message),
            Route::Tcp(exchange) => resolver.on_reply_tcp(event, exchange, message),
        })
    }

    /// What was sent fails.
    fn fail(&mut self, sent: &Sent) -> Option<Finished<u32>> {
        self.on(|resolver, event| match sent.route {
            Route::Udp(socket) => resolver.on_failure_udp(event, socket, sent.id()),
            Route::Tcp(exchange) => resolver.on_failure_tcp(event, exchange),
        })
    }

    /// Time comes to the next deadline. What that brings.
    fn wake(&mut self) -> Option<Woken<u32>> {
        self.now = self.now.max(self.resolver.deadline().expect("something is to come"));
        self.on(Resolver::expire)
    }

    /// Time passes until a question ends.
    fn wake_until_finished(&mut self) -> Finished<u32> {
        for _ in 0..100 {
            if let Some(Woken::Finished(finished)) = self.wake() {
                return finished;
            }
        }
        panic!("no question ends");
    }

    /// Its servers stay silent until one is down. Returns the number of the last question.
    fn bring_down(&mut self) -> u32 {
        for number in 1..20 {
            if self.servers.next_probe().is_some() {
                self.sent();
                return number - 1;
            }
            self.begin(number).unwrap();
            self.wake_until_finished();
        }
        panic!("no server goes down");
    }

    /// The next probe, when its time comes.
    fn next_probe(&mut self) -> Probe {
        for _ in 0..100 {
            if let Some(probe) = self.servers.probe(self.now) {
                return probe;
            }
            self.now = self.now.max(self.servers.next_probe().expect("a server is down"));
        }
        panic!("no probe is due");
    }

    fn state(&self, i: u16) -> ServerState {
        self.servers.states().find(|state| state.server.address == address(i)).expect("it is configured")
    }

    fn assert_nothing_is_left(&self) {
        assert!(self.resolver.is_idle(), "{:?}", self.resolver);
        assert_eq!((self.resolver.in_flight(), self.resolver.waiters(), self.resolver.deadline()), (0, 0, None));
        assert!(self.servers.states().all(|server| server.in_flight == 0));
    }
}

impl Sent {
    fn id(&self) -> u16 {
        u16::from_be_bytes([self.octets[0], self.octets[1]])
    }

    fn exchange(&self) -> u64 {
        let Route::Tcp(exchange) = self.route else { panic!("{self:?} went over UDP") };
        exchange
    }

    fn is_udp(&self) -> bool {
        matches!(self.route, Route::Udp(_))
    }

    fn question(&self) -> &[u8] {
        &self.octets[HEADER_OCTETS..HEADER_OCTETS + name(0).len() + 4]
    }

    fn has_edns(&self) -> bool {
        self.octets[11] == 1
    }

    /// The content of its cookie option; empty where it has none.
    fn cookie(&self) -> &[u8] {
        let opt = &self.octets[HEADER_OCTETS + self.question().len()..];
        match opt.get(11..13) {
            Some(code) => assert_eq!(code, [0, 10], "a cookie is the only option"),
            None => return &[],
        }
        &opt[15..]
    }

    /// A reply with these flags and records, the question as it was asked.
    fn reply(&self, flags: u16, counts: [u16; 3], records: &[u8]) -> Vec<u8> {
        let header = [self.id(), flags | flags::QR, 1, counts[0], counts[1], counts[2]].map(u16::to_be_bytes).concat();
        [&header[..], self.question(), records].concat()
    }

    /// An answer of one address.
    fn answer(&self) -> Vec<u8> {
        self.reply(flags::RA, [1, 0, 0], ADDRESS)
    }

    /// The same with an OPT record that has this cookie, where it has any, and the upper bits of a response code.
    fn answer_with_cookie(&self, cookie: &[u8], upper: u8) -> Vec<u8> {
        let mut records = ADDRESS.to_vec();
        records.extend_from_slice(&[0, 0, 41, 4, 208, upper, 0, 0, 0]);
        let option = if cookie.is_empty() { Vec::new() } else { [&[0, 10, 0, cookie.len() as u8], cookie].concat() };
        records.extend_from_slice(&(option.len() as u16).to_be_bytes());
        records.extend_from_slice(&option);
        self.reply(flags::RA, [1, 0, 1], &records)
    }
}

/// 192.0.2.1 for an hour, for the name of the question.
const ADDRESS: &[u8] = &[0xc0, 12, 0, 1, 0, 1, 0, 0, 14, 16, 0, 4, 192, 0, 2, 1];

fn key() -> HashKey {
    HashKey::from_seed([1; 16])
}

fn address(i: u16) -> SocketAddr {
    ([192, 0, 2, 1], 5000 + i).into()
}

/// Names of the same length, with many letters.
fn name(number: u32) -> Vec<u8> {
    [&[30][..], format!("abcdefghijklmnopqrstuv{number:08}").as_bytes(), b"\x07example\x04test\0"].concat()
}
