//! What the scenarios of the whole shard do not reach: bounds, and what is left of questions that ended.

use super::*;
use crate::upstream::Server;
use crate::wire::message::flags;
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

/// A resolver with what its calls need.
struct Rig {
    resolver: Resolver<u32>,
    counters: Counters,
    orders: Vec<Order>,
}

impl Rig {
    fn new(resolves: usize, waiters: usize) -> Rig {
        let bounds = Bounds { resolves, waiters, tcp_idle: Duration::from_secs(10), udp_ports: 1, ..Bounds::DEFAULT };
        Rig {
            resolver: Resolver::new(HashKey::from_seed([1; 16]), bounds, [2; 32]),
            counters: Counters::default(),
            orders: Vec::new(),
        }
    }

    fn on<T>(&mut self, now: Time, handle: impl FnOnce(&mut Resolver<u32>, &mut Event<'_>) -> T) -> T {
        let Rig { resolver, counters, orders } = self;
        let orders = &mut |order| orders.push(order);
        handle(resolver, &mut Event { now, settings: &SETTINGS, counters, orders })
    }

    fn begin(&mut self, number: u32, servers: &[Protocol]) -> Result<(), Refused> {
        let candidates = (0..)
            .zip(servers)
            .map(|(i, &protocol)| Candidate { server: Server { protocol, address: address(i) }, kind: Kind::Resolver });
        let name = name(number);
        let ask = Ask { hash: number.into(), name: &name, key: KEY, waiter: || number };
        self.on(Time::ZERO, |resolver, event| resolver.begin(event, ask, candidates.collect(), TIMEOUT))
    }

    /// Where the only query ordered since the last call goes, and its id.
    fn asked(&mut self) -> (Route, SocketAddr, u16) {
        let [Order::Ask(asking)] = self.orders[..] else { panic!("{:?}", self.orders) };
        self.orders.clear();
        let mut query = [0; 512];
        let (route, server, _) = self.resolver.write_query(asking, &mut query).unwrap();
        (route, server, u16::from_be_bytes([query[0], query[1]]))
    }

    fn reply_udp(&mut self, server: SocketAddr, message: &[u8]) -> Option<Finished<u32>> {
        self.on(Time::ZERO, |resolver, event| resolver.on_reply_udp(event, 0, server, message))
    }

    fn reply_tcp(&mut self, exchange: u64, message: &[u8]) -> Option<Finished<u32>> {
        self.on(Time::ZERO, |resolver, event| resolver.on_reply_tcp(event, exchange, message))
    }

    fn fail_udp(&mut self, id: u16) -> Option<Finished<u32>> {
        self.on(Time::ZERO, |resolver, event| resolver.on_failure_udp(event, 0, id))
    }

    fn fail_tcp(&mut self, exchange: u64) -> Option<Finished<u32>> {
        self.on(Time::ZERO, |resolver, event| resolver.on_failure_tcp(event, exchange))
    }

    fn expire(&mut self, now: Time) -> Option<Finished<u32>> {
        self.on(now, Resolver::expire)
    }

    fn assert_nothing_is_left(&self) {
        assert_eq!((self.resolver.in_flight(), self.resolver.waiters(), self.resolver.deadline()), (0, 0, None));
        assert_eq!(self.resolver.flights.len(), 0);
        assert_eq!(self.resolver.free.len(), self.resolver.slots.len());
    }
}

fn address(i: u16) -> SocketAddr {
    ([127, 0, 0, 1], 5000 + i).into()
}

fn name(number: u32) -> Vec<u8> {
    [&[8][..], format!("{number:08}").as_bytes(), &[0]].concat()
}

/// A reply without records to question `number`.
fn reply(number: u32, id: u16, flags: u16) -> Vec<u8> {
    let header = [id, flags | flags::QR, 1, 0, 0, 0].map(u16::to_be_bytes).concat();
    [&header[..], &name(number), &[0, 1, 0, 1]].concat()
}

#[test]
fn a_query_that_cannot_be_sent_goes_to_the_next_server_at_once() {
    let mut rig = Rig::new(10, 10);
    rig.begin(1, &[Protocol::Udp, Protocol::Udp]).unwrap();
    let (_, first, id) = rig.asked();
    assert!(rig.fail_udp(id).is_none());
    let (_, second, id) = rig.asked();
    assert_ne!(first, second);
    let finished = rig.fail_udp(id).unwrap();
    assert_eq!((finished.result.unwrap_err(), &finished.waiters[..]), (Failure::Unreachable, &[1][..]));
    assert!(rig.fail_udp(id).is_none(), "it is over");
    assert_eq!(rig.counters.upstream_failures, 2);
    rig.assert_nothing_is_left();
}

#[test]
fn two_truncated_replies_of_one_server_open_one_connection() {
    let mut rig = Rig::new(10, 10);
    rig.begin(1, &[Protocol::Udp]).unwrap();
    let (_, server, first) = rig.asked();
    let wake = rig.resolver.deadline().unwrap();
    assert!(rig.expire(wake).is_none());
    let (_, _, second) = rig.asked();
    assert!(rig.reply_udp(server, &reply(1, first, flags::TC)).is_none());
    let (Route::Tcp(exchange), ..) = rig.asked() else { panic!("a connection is due") };
    assert!(rig.reply_udp(server, &reply(1, second, flags::TC)).is_none());
    assert_eq!(rig.orders, []);
    assert!(rig.fail_tcp(exchange).is_some());
    rig.assert_nothing_is_left();
}

#[test]
fn a_truncated_reply_over_tcp_is_no_answer() {
    let mut rig = Rig::new(10, 10);
    rig.begin(1, &[Protocol::Tcp]).unwrap();
    let (Route::Tcp(exchange), _, id) = rig.asked() else { panic!("a connection is due") };
    let finished = rig.reply_tcp(exchange, &reply(1, id, flags::TC)).unwrap();
    assert_eq!(finished.result.unwrap_err(), Failure::Unreachable);
    assert_eq!(rig.counters.upstream_malformed, 1);
    rig.assert_nothing_is_left();
}

#[test]
fn attempts_are_bounded() {
    let mut rig = Rig::new(10, 10);
    rig.begin(1, &[Protocol::Tcp; 3 * ATTEMPTS_MAX]).unwrap();
    let mut attempts = 0;
    let finished = loop {
        attempts += 1;
        let (Route::Tcp(exchange), ..) = rig.asked() else { panic!("a connection is due") };
        if let Some(finished) = rig.fail_tcp(exchange) {
            break finished;
        }
    };
    assert_eq!((attempts, finished.result.unwrap_err()), (ATTEMPTS_MAX, Failure::Unreachable));
    rig.assert_nothing_is_left();
}

#[test]
fn what_is_left_of_a_former_question_does_not_touch_the_next() {
    let mut rig = Rig::new(10, 10);
    rig.begin(1, &[Protocol::Tcp]).unwrap();
    let (Route::Tcp(former), ..) = rig.asked() else { panic!("a connection is due") };
    rig.fail_tcp(former).unwrap();
    rig.begin(2, &[Protocol::Tcp]).unwrap();
    let (Route::Tcp(present), ..) = rig.asked() else { panic!("a connection is due") };
    assert_ne!(former, present);
    assert!(rig.fail_tcp(former).is_none());
    assert_eq!(rig.resolver.in_flight(), 1);
    assert!(rig.fail_tcp(present).is_some());
    rig.assert_nothing_is_left();
}

#[test]
fn a_deadline_ends_a_question_and_closes_its_connection() {
    let mut rig = Rig::new(10, 10);
    rig.begin(1, &[Protocol::Tcp]).unwrap();
    let (Route::Tcp(exchange), ..) = rig.asked() else { panic!("a connection is due") };
    let (now, finished) = loop {
        let now = rig.resolver.deadline().unwrap();
        if let Some(finished) = rig.expire(now) {
            break (now, finished);
        }
    };
    assert!(now <= Time::ZERO + TIMEOUT && now + Duration::from_millis(2) > Time::ZERO + TIMEOUT);
    assert_eq!(finished.result.unwrap_err(), Failure::Unreachable);
    assert!(rig.orders.contains(&Order::EndTcp(exchange)));
    rig.assert_nothing_is_left();
}

#[test]
fn ids_that_run_out_are_counted_and_the_question_waits_for_one() {
    let mut rig = Rig::new(1 << 17, 10);
    let mut begun = 0;
    while rig.counters.upstream_ids_exhausted == 0 {
        begun += 1;
        rig.begin(begun, &[Protocol::Udp]).unwrap();
    }
    assert!(begun > 30_000, "{begun}: ids are tried several times before they count as used up");
    assert_eq!(rig.counters.upstream_udp, u64::from(begun) - 1);
    assert_eq!(rig.resolver.in_flight(), begun as usize);
    let end = Time::ZERO + TIMEOUT;
    let ended = std::iter::from_fn(|| rig.expire(end)).count();
    assert_eq!(ended, begun as usize, "the one without an id ends as well");
    rig.assert_nothing_is_left();
}

#[test]
fn waiters_and_questions_are_bounded() {
    let mut rig = Rig::new(2, 3);
    rig.begin(1, &[Protocol::Udp]).unwrap();
    rig.begin(2, &[Protocol::Udp]).unwrap();
    assert_eq!(rig.begin(3, &[Protocol::Udp]), Err(Refused::Resolves));
    let question = rig.resolver.find(1, &name(1), KEY).unwrap();
    assert_eq!(rig.resolver.find(1, &name(1), Key { dnssec_ok: true, ..KEY }), None);
    let joined: Vec<_> = (0..4).map(|waiter| rig.resolver.join(question, || waiter).is_ok()).collect();
    assert_eq!(joined, [true, true, false, false]);
    assert_eq!(rig.resolver.waiters(), 4);

    let mut rig = Rig::new(WAITERS_MAX, WAITERS_MAX + 10);
    rig.begin(1, &[Protocol::Udp]).unwrap();
    let question = rig.resolver.find(1, &name(1), KEY).unwrap();
    let joined = (0..WAITERS_MAX as u32 + 5).filter(|&waiter| rig.resolver.join(question, || waiter).is_ok()).count();
    assert_eq!(joined, WAITERS_MAX - 1);
    assert_eq!(rig.begin(2, &[Protocol::Udp]), Err(Refused::Waiters));
}
