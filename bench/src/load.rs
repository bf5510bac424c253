//! An engine with a zone and a warm cache, and questions for it.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use ringdns_shard::guard::Acl;
use ringdns_shard::images::{Bounds, CacheSettings, Listener, Recording, Zone};
use ringdns_shard::upstream::{Kind, Pool, Protocol, Routes, Server, Strategy, Target};
use ringdns_shard::wire::name::{HashKey, Name};
use ringdns_shard::wire::rdata::rtype;
use ringdns_shard::zone::{Builder, Image, Place};
use ringdns_shard::{Action, Client, Images, Outcome, Shard, Time, Transport};

/// The cases, and what each asks for.
pub const CASES: &[(&str, &str)] = &[
    ("auth", "an A record of a zone of 100,000 names"),
    ("auth-edns", "the same, asked with EDNS and DO"),
    ("nxdomain", "a name that the zone does not have"),
    ("cache", "a cached answer of an upstream, 20,000 names"),
    ("cache-log", "the same with the query log on"),
    ("cache-log-10", "the same with one query of ten logged"),
    ("cache-tap", "the same with the requests and replies taken for dnstap"),
    ("refused", "a name outside every route"),
];

/// Names of the zone.
const ZONE_NAMES: u32 = 100_000;
/// Names in the cache.
const CACHED_NAMES: u32 = 20_000;
/// Different questions of a case.
const QUESTIONS: u32 = 20_000;
/// Questions of a batch, whose replies are sent together.
const BATCH: usize = 64;

/// An engine, and what it is asked.
pub struct Load {
    /// The engine.
    pub shard: Shard,
    /// Who asks.
    pub client: Client,
    /// What is asked.
    pub requests: Vec<Vec<u8>>,
    /// Room for a reply.
    pub reply: Vec<u8>,
}

impl Load {
    /// The engine and questions of a case, which must be known.
    pub fn new(case: &str) -> Load {
        let key = HashKey::from_seed(*b"one of 2^128 key");
        let client = Client {
            peer: ([127, 0, 0, 1], 40_000).into(),
            local: None,
            via: Transport::Udp,
            listener: 0,
            connection: 0,
        };
        let mut load = Load {
            shard: Shard::new(Arc::new(Images { recording: recording(case), ..images(key) }), [5; 32]),
            client,
            requests: Vec::new(),
            reply: vec![0; 65_535],
        };
        // A multiplier prime to the number of names visits them in an order that no prefetcher knows.
        let scattered = |i: u32, names: u32| (u64::from(i) * 7_919 % u64::from(names)) as u32;
        let owner: Box<dyn Fn(u32) -> String> = match case {
            "auth" | "auth-edns" => Box::new(move |i| format!("h{}.example.com", scattered(i, ZONE_NAMES))),
            "nxdomain" => Box::new(|i| format!("none{i}.example.com")),
            "cache" | "cache-log" | "cache-log-10" | "cache-tap" => {
                Box::new(move |i| format!("h{}.cached.test", scattered(i, CACHED_NAMES)))
            }
            "refused" => Box::new(|i| format!("h{i}.elsewhere.invalid")),
            other => unreachable!("{other} is no case"),
        };
        load.requests = (0..QUESTIONS).map(|i| request(&owner(i), case == "auth-edns")).collect();
        if case.starts_with("cache") {
            for i in 0..CACHED_NAMES {
                load.fill(&request(&format!("h{i}.cached.test"), false));
            }
        }
        load
    }

    /// Asks `queries` questions, each of which must be answered at once, and takes what is recorded. Returns how many
    /// chunks that was.
    pub fn ask(&mut self, queries: usize) -> usize {
        let Load { shard, client, requests, reply } = self;
        let (began, sent, mut chunks) = (Time::from_secs(2), Time::from_micros(2_000_150), 0);
        let mut requests = requests.iter().map(Vec::as_slice).cycle().take(queries);
        let mut batch: [&[u8]; BATCH] = [&[]; BATCH];
        loop {
            let mut asked = 0;
            for (place, request) in batch.iter_mut().zip(requests.by_ref()) {
                *place = request;
                asked += 1;
            }
            shard.look_ahead(batch[..asked].iter().copied(), |octets| _ = black_box(octets));
            for request in &batch[..asked] {
                let outcome = shard.on_query(began, client, black_box(request), reply);
                assert!(matches!(outcome, Outcome::Reply(_)), "{outcome:?}");
            }
            if asked == 0 {
                return chunks;
            }
            shard.on_sent(began, sent);
            chunks += usize::from(shard.log().is_full() && black_box(shard.log().take()).is_some());
            chunks += usize::from(shard.tap().is_full() && black_box(shard.tap().take()).is_some());
        }
    }

    /// Asks once and plays the upstream, so that the answer is cached.
    fn fill(&mut self, request: &[u8]) {
        let now = Time::from_secs(1);
        let outcome = self.shard.on_query(now, &self.client, request, &mut self.reply);
        assert_eq!(outcome, Outcome::Pending);
        let action = self.shard.poll_action(&mut self.reply);
        let Some(Action::AskUdp { socket, server, octets }) = action else { panic!("{action:?}") };
        let mut answer = self.reply[..request.len().min(octets)].to_vec();
        answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        answer.extend(b"\xc0\x0c\0\x01\0\x01\0\0\x0e\x10\0\x04\xc0\0\x02\x01");
        self.shard.on_reply_udp(now, socket, server, &answer);
        assert!(matches!(self.shard.poll_action(&mut self.reply), Some(Action::Reply { .. })));
        assert_eq!(self.shard.poll_action(&mut self.reply), None);
    }
}

fn recording(case: &str) -> Recording {
    Recording {
        log_sample: match case {
            "cache-log" => 1,
            "cache-log-10" => 10,
            _ => 0,
        },
        tap_clients: case == "cache-tap",
        tap_upstreams: false,
    }
}

fn name(text: &str) -> Name {
    text.parse().expect("a name of ours")
}

/// A question for A records, with RD set.
fn request(owner: &str, with_edns: bool) -> Vec<u8> {
    let mut request = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(with_edns)];
    request.extend(name(owner).as_wire());
    request.extend([0, 1, 0, 1]);
    if with_edns {
        request.extend([0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0]);
    }
    request
}

fn images(key: HashKey) -> Images {
    let server = Server { protocol: Protocol::Udp, address: ([127, 0, 0, 1], 53).into() };
    let pool = Pool {
        name: "origin".into(),
        servers: vec![server.into()],
        kind: Kind::Resolver,
        strategy: Strategy::Uniform,
        timeout: Duration::from_secs(2),
        spec: Box::default(),
    };
    let routes = vec![(name("example.com"), Target::Zone(0)), (name("cached.test"), Target::Pools(vec![0]))];
    Images {
        listeners: vec![Listener { allow: Acl::local_and_private() }],
        routes: Arc::new(Routes::new(&key, routes)),
        zones: vec![Zone::new(Arc::new(zone(key)))],
        pools: vec![Arc::new(pool)],
        cache: CacheSettings {
            octets: 64 << 20,
            min_ttl: Duration::ZERO,
            max_ttl: Duration::from_secs(86_400),
            negative_max_ttl: Duration::from_secs(3600),
            ..CacheSettings::PLAIN
        },
        bounds: Bounds {
            resolves: 1000,
            waiters: 10,
            tcp_idle: Duration::from_secs(10),
            udp_ports: 8,
            ..Bounds::DEFAULT
        },
        ..Images::bare(key)
    }
}

/// `h0` to `h99999`, an address each.
fn zone(key: HashKey) -> Image {
    let apex = name("example.com");
    let server = name("ns1.example.com");
    let timers = [1u32, 3600, 600, 86_400, 300].map(u32::to_be_bytes).concat();
    let soa = [server.as_wire(), server.as_wire(), &timers].concat();
    let mut builder = Builder::new(apex.clone(), key);
    let mut push = |owner: &Name, rtype: u16, data: &[u8]| {
        builder.push(owner.as_wire(), rtype, 300, data, Place::default()).expect("a record of ours");
    };
    push(&apex, rtype::SOA, &soa);
    push(&apex, rtype::NS, server.as_wire());
    push(&server, rtype::A, &[127, 0, 0, 1]);
    for i in 0..ZONE_NAMES {
        push(&name(&format!("h{i}.example.com")), rtype::A, &[10, (i >> 16) as u8, (i >> 8) as u8, i as u8]);
    }
    builder.finish().expect("a zone of ours")
}
