//! What keeps floods from others and from this server, through the one door: cookies, query rates, budgets of zones; and what
//! clients say of others' networks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ringdns_shard::guard::rate::{Action as Above, Family, Prefix};
use ringdns_shard::guard::{Acl, Network, rate, rrl};
use ringdns_shard::images::{Bounds, Listener, Zone};
use ringdns_shard::limits::UDP_REPLY_OCTETS_MAX;
use ringdns_shard::upstream::{Kind, Pool, Protocol, Routes, Server, Strategy, Target};
use ringdns_shard::wire::edns::{Edns, EdnsOption};
use ringdns_shard::wire::message::{Header, Query, flags};
use ringdns_shard::wire::name::{HashKey, KeyedName, Name};
use ringdns_shard::zone::{Builder, Place};
use ringdns_shard::{Action, Client, Images, Outcome, Shard, Time, Transport};

const KEY: [u8; 16] = *b"a key for names!";
const SECRET: [u8; 16] = *b"sixteen octets!!";
const NOW: Time = Time::from_secs(1_000);
const DAY: u64 = 1_900_000_000;

const COOKIE: u16 = 10;
const CLIENT_SUBNET: u16 = 8;
const A: u16 = 1;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// Names below `ours.test` are a zone's; all others go to a server.
fn images() -> Images {
    let key = HashKey::from_seed(KEY);
    let apex = name("ours.test");
    let mut builder = Builder::new(apex.clone(), key);
    let soa = [apex.as_wire(), apex.as_wire(), &[0; 20]].concat();
    builder.push(apex.as_wire(), 6, 60, &soa, Place::default()).unwrap();
    builder.push(apex.as_wire(), 2, 60, apex.as_wire(), Place::default()).unwrap();
    builder.push(name("www.ours.test").as_wire(), A, 60, &[192, 0, 2, 1], Place::default()).unwrap();
    let server = Server { protocol: Protocol::Udp, address: ([192, 0, 2, 53], 53).into() };
    let routes = vec![(Name::root(), Target::Pools(vec![0])), (apex, Target::Zone(0))];
    let everybody = ["0.0.0.0/0", "::/0"].iter().map(|network| network.parse::<Network>().unwrap());
    Images {
        listeners: vec![Listener { allow: everybody.collect() }],
        routes: Arc::new(Routes::new(&key, routes)),
        zones: vec![Zone::new(Arc::new(builder.finish().unwrap()))],
        pools: vec![Arc::new(Pool {
            name: "far".into(),
            servers: vec![server.into()],
            kind: Kind::Resolver,
            strategy: Strategy::Uniform,
            timeout: Duration::from_secs(2),
            spec: Box::default(),
        })],
        cookies: Arc::new([SECRET].into_iter().collect()),
        ..Images::bare(key)
    }
}

fn rates(qps: u32, action: Above, dry_run: bool) -> rate::Settings {
    let prefixes = vec![Prefix { family: Family::Ipv4, bits: 24, qps }];
    rate::Settings { prefixes, action, dry_run, exempt: Acl::default(), entries: 1 << 10 }
}

/// A question for an address, with an OPT record of these options where there are any.
fn question(owner: &str, options: &[(u16, &[u8])]) -> Vec<u8> {
    let mut request = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(!options.is_empty())];
    request.extend(name(owner).as_wire());
    request.extend([0, 1, 0, 1]);
    opt(&mut request, options);
    request
}

fn opt(request: &mut Vec<u8>, options: &[(u16, &[u8])]) {
    if options.is_empty() {
        return;
    }
    let data: Vec<u8> = options
        .iter()
        .flat_map(|(code, data)| [&code.to_be_bytes()[..], &(data.len() as u16).to_be_bytes(), data].concat())
        .collect();
    request.extend([0, 0, 41, 4, 208, 0, 0, 0, 0]);
    request.extend((data.len() as u16).to_be_bytes());
    request.extend(data);
}

/// Header and OPT record of a message of one question, or of none, and of no other records.
fn read(message: &[u8]) -> (Header, Option<Edns<'_>>) {
    let header = Header::parse(message).unwrap();
    match Query::parse(header, message, &HashKey::from_seed(KEY), &mut KeyedName::default()) {
        Ok(query) => (header, query.edns),
        Err(_) => (header, Edns::alone(header, message)),
    }
}

struct Engine {
    shard: Shard,
    buffer: Vec<u8>,
}

impl Engine {
    fn new(images: Images) -> Engine {
        let mut shard = Shard::new(Arc::new(images), [3; 32]);
        shard.on_clock(DAY);
        Engine { shard, buffer: vec![0; 65_535] }
    }

    /// The reply to a request; `None`: there is none at once.
    fn ask(&mut self, peer: &str, via: Transport, request: &[u8]) -> Option<Vec<u8>> {
        let peer = SocketAddr::new(peer.parse().unwrap(), 4_000);
        let client = Client { peer, local: None, via, listener: 0, connection: 0 };
        let room = if via == Transport::Udp { UDP_REPLY_OCTETS_MAX } else { 65_535 };
        match self.shard.on_query(NOW, &client, request, &mut self.buffer[..room]) {
            Outcome::Reply(octets) => Some(self.buffer[..octets].to_vec()),
            _ => None,
        }
    }

    fn udp(&mut self, peer: &str, request: &[u8]) -> Option<Vec<u8>> {
        self.ask(peer, Transport::Udp, request)
    }

    /// How many of `count` requests get a reply at once.
    fn answered(&mut self, peer: &str, via: Transport, request: &[u8], count: usize) -> usize {
        (0..count).filter(|_| self.ask(peer, via, request).is_some()).count()
    }

    /// The next query that goes upstream: where from, where to, and the message.
    fn asked(&mut self) -> Option<(u8, SocketAddr, Vec<u8>)> {
        loop {
            match self.shard.poll_action(&mut self.buffer)? {
                Action::AskUdp { socket, server, octets } => {
                    return Some((socket, server, self.buffer[..octets].to_vec()));
                }
                Action::Reply { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The upstream says that the name is not there; its zone is `apex`.
    fn deny(&mut self, (socket, server, query): (u8, SocketAddr, Vec<u8>), apex: &str) {
        let question = 12 + ringdns_shard::wire::name::measure(&query[12..]).unwrap() + 4;
        let mut reply = query[..question].to_vec();
        reply[2..12].copy_from_slice(&[0x81, 0x83, 0, 1, 0, 0, 0, 1, 0, 0]);
        reply.extend(name(apex).as_wire());
        reply.extend(b"\0\x06\0\x01\0\0\x0e\x10\0\x16\0\0");
        reply.extend([[0; 4], [0; 4], [0; 4], [0; 4], 3_600u32.to_be_bytes()].concat());
        self.shard.on_reply_udp(NOW, socket, server, &reply);
    }
}

fn cookie_of(reply: &[u8]) -> Vec<u8> {
    read(reply).1.expect("an OPT record").cookie().expect("a cookie").to_vec()
}

#[test]
fn a_client_learns_a_cookie_and_is_known_by_it() {
    let mut engine = Engine::new(images());
    let first = engine.udp("198.51.100.7", &question("none.ours.test", &[(COOKIE, b"client--")])).unwrap();
    assert_eq!(Header::parse(&first).unwrap().flags & flags::RCODE, 3);
    // The reply has an SOA before its OPT record: the cookie is its last option.
    let cookie = first[first.len() - 24..].to_vec();
    assert_eq!(cookie[..8], *b"client--");
    for (peer, valid, invalid) in [("198.51.100.7", 1, 0), ("198.51.100.8", 1, 1)] {
        let refused = question("id.server", &[(COOKIE, &cookie), (COOKIE, b"not looked at")]);
        let mut chaos = refused.clone();
        let class_at = 12 + name("id.server").as_wire().len() + 3;
        chaos[class_at] = 3;
        let reply = engine.udp(peer, &chaos).unwrap();
        assert_eq!(cookie_of(&reply) == cookie, peer == "198.51.100.7", "another address gets another one");
        let counters = engine.shard.counters();
        assert_eq!((counters.cookies_first, counters.cookies_valid, counters.cookies_invalid), (1, valid, invalid));
    }
    engine.shard.on_clock(DAY + 3_700);
    engine.udp("198.51.100.7", &question("www.ours.test", &[(COOKIE, &cookie)])).unwrap();
    assert_eq!(engine.shard.counters().cookies_invalid, 2, "an hour later it is no longer taken");
}

#[test]
fn a_malformed_cookie_is_a_malformed_request() {
    for octets in [0, 7, 9, 15, 41] {
        let mut engine = Engine::new(images());
        let reply = engine.udp("198.51.100.7", &question("www.ours.test", &[(COOKIE, &[1; 41][..octets])])).unwrap();
        let (header, edns) = read(&reply);
        assert_eq!((header.flags & flags::RCODE, header.counts[1]), (1, 0), "{octets}");
        assert!(edns.is_none_or(|edns| edns.cookie().is_none()), "{octets}");
        assert_eq!((engine.shard.counters().cookies_malformed, engine.shard.counters().formerr), (1, 1));
    }
}

#[test]
fn a_cookie_can_be_asked_for_alone() {
    let mut engine = Engine::new(images());
    let mut request = b"\x12\x34\x01\0\0\0\0\0\0\0\0\x01".to_vec();
    opt(&mut request, &[(COOKIE, b"client--")]);
    let reply = engine.udp("198.51.100.7", &request).unwrap();
    assert_eq!(read(&reply).0.flags & flags::RCODE, 0);
    let cookie = cookie_of(&reply);
    let reply = engine.udp("198.51.100.7", &question("www.ours.test", &[(COOKIE, &cookie)])).unwrap();
    assert_eq!((Header::parse(&reply).unwrap().counts[1], engine.shard.counters().cookies_valid), (1, 1));
    let mut none = b"\x12\x34\x01\0\0\0\0\0\0\0\0\x01".to_vec();
    opt(&mut none, &[(3, b"")]);
    let reply = engine.udp("198.51.100.7", &none).unwrap();
    assert_eq!(read(&reply).0.flags & flags::RCODE, 1, "without a cookie it is no request");
}

#[test]
fn who_has_a_cookie_is_not_limited_by_equal_responses() {
    let rrl = rrl::Settings { rate: 3, slip: 0, prefix4: 24, prefix6: 56, exempt: Acl::default(), entries: 1 << 10 };
    let mut engine = Engine::new(Images { rrl: Some(rrl), ..images() });
    let peer = "198.51.100.7";
    let first = engine.udp(peer, &question("www.ours.test", &[(COOKIE, b"client--")])).unwrap();
    let cookie = first[first.len() - 24..].to_vec();
    assert_eq!(engine.answered(peer, Transport::Udp, &question("www.ours.test", &[]), 20), 2, "three in all");
    let with_cookie = question("www.ours.test", &[(COOKIE, &cookie)]);
    assert_eq!(engine.answered(peer, Transport::Udp, &with_cookie, 20), 20);
    assert_eq!(engine.answered("198.51.100.8", Transport::Udp, &with_cookie, 20), 0, "it is another's");
}

#[test]
fn a_network_above_its_rate_is_told_what_is_configured() {
    let plain = question("www.ours.test", &[]);
    let first = question("www.ours.test", &[(COOKIE, b"client--")]);
    let malformed = &plain[..plain.len() - 1];
    for (action, replies) in [(Above::Drop, false), (Above::Truncate, true), (Above::Refuse, true)] {
        let mut engine = Engine::new(Images { rate: Some(rates(5, action, false)), ..images() });
        let peer = "198.51.100.7";
        assert_eq!(engine.answered(peer, Transport::Udp, &plain, 4), 4);
        let cookie = engine.udp(peer, &first).map(|reply| reply[reply.len() - 24..].to_vec()).unwrap();
        let above = engine.udp(peer, &first);
        assert_eq!(above.is_some(), replies, "{action:?}");
        if let Some(reply) = above {
            let (header, _) = read(&reply);
            let (word, counts) = match action {
                Above::Truncate => (flags::TC, [1, 0, 0, 1]),
                _ => (5, [1, 0, 0, 1]),
            };
            assert_eq!((header.flags & (flags::TC | flags::RCODE), header.counts), (word, counts), "{action:?}");
            assert_eq!(cookie_of(&reply).len(), 24, "{action:?}");
        }
        assert_eq!(engine.udp(peer, malformed), None, "{action:?}: FORMERR is not sent either");
        // Over TCP, and with a cookie, the address is its own: what was forged in its name counts for nothing.
        let proven = question("www.ours.test", &[(COOKIE, &cookie)]);
        assert_eq!(engine.answered("198.51.100.9", Transport::Tcp, &plain, 3), 3);
        let counted = |reply: Option<Vec<u8>>| reply.is_some_and(|reply| Header::parse(&reply).unwrap().counts[1] == 1);
        let answered = (0..9).filter(|_| counted(engine.udp(peer, &proven))).count();
        assert_eq!(answered, 2, "{action:?}");
        assert!(counted(engine.udp("203.0.113.1", &plain)), "another network");
        let counters = engine.shard.counters();
        let told = (counters.rate_dropped, counters.rate_truncated, counters.rate_refused);
        let expected = match action {
            Above::Drop => (9, 0, 0),
            Above::Truncate => (1, 1, 7),
            Above::Refuse => (1, 0, 8),
        };
        assert_eq!(told, expected, "{action:?}");
    }
}

#[test]
fn a_dry_run_counts_and_answers() {
    let mut engine = Engine::new(Images { rate: Some(rates(5, Above::Drop, true)), ..images() });
    assert_eq!(engine.answered("198.51.100.7", Transport::Udp, &question("www.ours.test", &[]), 20), 20);
    assert_eq!((engine.shard.counters().rate_dry_run, engine.shard.counters().rate_dropped), (15, 0));
}

#[test]
fn rates_change_with_images() {
    let plain = question("www.ours.test", &[]);
    let mut engine = Engine::new(images());
    let peer = "198.51.100.7";
    assert_eq!(engine.answered(peer, Transport::Udp, &plain, 20), 20);
    engine.shard.on_images(NOW, Arc::new(Images { rate: Some(rates(5, Above::Drop, false)), ..images() }));
    assert_eq!(engine.answered(peer, Transport::Udp, &plain, 20), 5);
    // Images that do not concern the rates leave what was counted.
    engine.shard.on_images(NOW, Arc::new(Images { rate: Some(rates(5, Above::Drop, false)), ..images() }));
    assert_eq!(engine.answered(peer, Transport::Udp, &plain, 20), 0);
    engine.shard.on_images(NOW, Arc::new(images()));
    assert_eq!(engine.answered(peer, Transport::Udp, &plain, 20), 20);
}

/// A thousand random names below one zone at once, with a rate of ten: ten go upstream, and one more for each zone
/// that is asked for beside it. What is known to be denied goes on being answered.
#[test]
fn a_flood_of_random_names_stops_at_the_budget_of_its_zone() {
    let bounds = Bounds { zone_rate: 10, ..Bounds::DEFAULT };
    let mut engine = Engine::new(Images { bounds, ..images() });
    let peer = "198.51.100.7";
    assert_eq!(engine.udp(peer, &question("first.victim.co.test", &[])), None, "it is pending");
    let query = engine.asked().expect("the first one goes upstream");
    engine.deny(query, "victim.co.test");
    let mut upstream = 1;
    for nth in 0..1_000 {
        engine.udp(peer, &question(&format!("x{nth}.victim.co.test"), &[]));
        if let Some(query) = engine.asked() {
            upstream += 1;
            engine.deny(query, "victim.co.test");
        }
    }
    // The first one was counted for what was known then: the suffix of two labels.
    assert_eq!(upstream, 11);
    assert_eq!(engine.shard.counters().refused_zone_rate, 990);
    for (owner, goes) in [("www.other.co.test", true), ("www.victim.net.test", true), ("y.victim.co.test", false)] {
        engine.udp(peer, &question(owner, &[]));
        assert_eq!(engine.asked().is_some(), goes, "{owner}");
    }
    let known = engine.udp(peer, &question("first.victim.co.test", &[])).expect("from the cache");
    assert_eq!(Header::parse(&known).unwrap().flags & flags::RCODE, 3);
}

/// Subnets that clients tell of (RFC 7871) go nowhere: not upstream, not into the reply, and nobody's answer depends
/// on them.
#[test]
fn subnets_of_clients_are_passed_over() {
    let mut engine = Engine::new(images());
    let subnet = |last: u8| [0, 1, 24, 0, 203, 0, last];
    for last in [113, 114] {
        let request = question("www.far.test", &[(CLIENT_SUBNET, &subnet(last))]);
        assert_eq!(engine.udp("198.51.100.7", &request), None);
    }
    assert_eq!(engine.shard.counters().coalesced, 1, "one question for both");
    let (socket, server, query) = engine.asked().expect("it goes upstream");
    let options: Vec<EdnsOption<'_>> = read(&query).1.expect("an OPT record").options().collect();
    assert!(options.iter().all(|option| matches!(option, EdnsOption::Cookie(_))), "{options:?}");
    assert!(engine.asked().is_none());
    engine.deny((socket, server, query), "far.test");
    let mut replies = 0;
    while let Some(action) = engine.shard.poll_action(&mut engine.buffer) {
        let Action::Reply { octets, .. } = action else { panic!("{action:?}") };
        let reply = &engine.buffer[..octets];
        assert_eq!(reply[octets - 11..octets - 8], [0, 0, 41], "the OPT record is the last and has no option");
        assert_eq!(reply[octets - 2..], [0, 0]);
        replies += 1;
    }
    assert_eq!(replies, 2);
    let request = question("www.far.test", &[(CLIENT_SUBNET, &subnet(115))]);
    assert!(engine.udp("198.51.100.7", &request).is_some(), "from the cache");
}
