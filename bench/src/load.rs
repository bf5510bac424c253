//! An engine with a zone and a warm cache, and questions for it.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use ringdns_shard::guard::Acl;
use ringdns_shard::images::{Bounds, CacheSettings, Listener, Recording, Zone};
use ringdns_shard::upstream::{Kind, Pool, Protocol, Routes, Server, Strategy, Target};
use ringdns_shard::wire::name::{HashKey, Name, canonical_order, labels};
use ringdns_shard::wire::rdata::rtype;
use ringdns_shard::zone::{Builder, Image, Place, nsec3};
use ringdns_shard::{Action, Client, Images, Outcome, Shard, Time, Transport};

/// The cases, and what each asks for.
pub const CASES: &[(&str, &str)] = &[
    ("auth", "an A record of a zone of 100,000 names"),
    ("auth-edns", "the same, asked with EDNS and DO"),
    ("nxdomain", "a name that the zone does not have"),
    ("nodata", "a name of the zone, for a type that it does not have"),
    ("referral", "a name below one of 10,000 cuts, whose server lies below it"),
    ("nsec", "a name that a zone of 10,000 names with NSEC does not have, asked with DO"),
    ("nsec3", "the same with NSEC3"),
    ("cache", "a cached answer of an upstream, 20,000 names"),
    ("cache-log", "the same with the query log on"),
    ("cache-log-10", "the same with one query of ten logged"),
    ("cache-tap", "the same with the requests and replies taken for dnstap"),
    ("refused", "a name outside every route"),
];

/// Names of the zone.
const ZONE_NAMES: u32 = 100_000;
/// Names of a zone with cuts or signatures.
const LADEN_NAMES: u32 = 10_000;
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
        let names = match case {
            _ if case.starts_with("cache") => CACHED_NAMES,
            "referral" | "nsec" | "nsec3" => LADEN_NAMES,
            _ => ZONE_NAMES,
        };
        Load::sized(case, names)
    }

    /// The same with so many names in the case's zone, or in its cache.
    pub fn sized(case: &str, names: u32) -> Load {
        let key = HashKey::from_seed(*b"one of 2^128 key");
        let mut load = Load {
            shard: Shard::new(Arc::new(Images { recording: recording(case), ..images(key, case, names) }), [5; 32]),
            client: client(),
            requests: Vec::new(),
            reply: vec![0; 65_535],
        };
        // A multiplier prime to the number of names visits them in an order that no prefetcher knows.
        let scattered = |i: u32, names: u32| (u64::from(i) * 7_919 % u64::from(names)) as u32;
        let owner: Box<dyn Fn(u32) -> String> = match case {
            "auth" | "auth-edns" | "nodata" => Box::new(move |i| format!("h{}.example.com", scattered(i, names))),
            "nxdomain" | "nsec" | "nsec3" => Box::new(|i| format!("none{i}.example.com")),
            "referral" => Box::new(move |i| format!("www.h{}.example.com", scattered(i, names))),
            "cache" | "cache-log" | "cache-log-10" | "cache-tap" => {
                Box::new(move |i| format!("h{}.cached.test", scattered(i, names)))
            }
            "refused" => Box::new(|i| format!("h{i}.elsewhere.invalid")),
            other => unreachable!("{other} is no case"),
        };
        let with_edns = matches!(case, "auth-edns" | "nsec" | "nsec3");
        load.requests = (0..QUESTIONS).map(|i| request(&owner(i), with_edns)).collect();
        if case == "nodata" {
            load.requests.iter_mut().for_each(|request| {
                let qtype_at = request.len() - 3;
                request[qtype_at] = rtype::AAAA as u8;
            });
        }
        if case.starts_with("cache") {
            for i in 0..names {
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
    pub fn fill(&mut self, request: &[u8]) {
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

/// A question for A records, with RD set; with EDNS, DO is set as well.
pub fn request(owner: &str, with_edns: bool) -> Vec<u8> {
    let mut request = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(with_edns)];
    request.extend(name(owner).as_wire());
    request.extend([0, 1, 0, 1]);
    if with_edns {
        request.extend([0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0]);
    }
    request
}

fn images(key: HashKey, case: &str, names: u32) -> Images {
    let routes = vec![(name("example.com"), Target::Zone(0)), (name("cached.test"), Target::Pools(vec![0]))];
    let zones = vec![Zone::new(Arc::new(zone(key, case, names)))];
    Images { zones, ..forwarding(key, routes, (64 << 20).max(names as usize * 512)) }
}

/// Who asks in all cases.
pub(crate) fn client() -> Client {
    Client { peer: ([127, 0, 0, 1], 40_000).into(), local: None, via: Transport::Udp, listener: 0, connection: 0 }
}

/// An engine with one pool of one server, and a cache of so many octets.
pub(crate) fn forwarding(key: HashKey, routes: Vec<(Name, Target)>, cache_octets: usize) -> Images {
    let server = Server { protocol: Protocol::Udp, address: ([127, 0, 0, 1], 53).into() };
    let pool = Pool {
        name: "origin".into(),
        servers: vec![server.into()],
        kind: Kind::Resolver,
        strategy: Strategy::Uniform,
        timeout: Duration::from_secs(2),
        spec: Box::default(),
    };
    Images {
        listeners: vec![Listener { allow: Acl::local_and_private() }],
        routes: Arc::new(Routes::new(&key, routes)),
        pools: vec![Arc::new(pool)],
        cache: CacheSettings {
            octets: cache_octets,
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

/// A zone of a case: `h0`, `h1` and so on, an address each, or a cut each.
fn zone(key: HashKey, case: &str, names: u32) -> Image {
    let mut zone = Records { builder: Builder::new(name(APEX), key), signed: Vec::new() };
    let (apex, server) = (name(APEX), name("ns1.example.com"));
    let names = if case.starts_with("cache") { 0 } else { names };
    let timers = [1u32, 3600, 600, 86_400, 300].map(u32::to_be_bytes).concat();
    let soa = [server.as_wire(), server.as_wire(), &timers].concat();
    zone.push(apex.as_wire(), rtype::SOA, &soa);
    zone.push(apex.as_wire(), rtype::NS, server.as_wire());
    zone.push(server.as_wire(), rtype::A, &[127, 0, 0, 1]);
    for i in 0..names {
        let (owner, address) = (name(&format!("h{i}.{APEX}")), [10, (i >> 16) as u8, (i >> 8) as u8, i as u8]);
        if case == "referral" {
            let server = name(&format!("ns.h{i}.{APEX}"));
            zone.push(owner.as_wire(), rtype::NS, server.as_wire());
            zone.push(server.as_wire(), rtype::A, &address);
        } else {
            zone.push(owner.as_wire(), rtype::A, &address);
        }
    }
    match case {
        "nsec" => zone.link_names(),
        "nsec3" => zone.link_hashes(),
        _ => {}
    }
    zone.builder.finish().expect("a zone of ours")
}

const APEX: &str = "example.com";

/// Records of a zone on their way.
struct Records {
    builder: Builder,
    /// Owners and types of what was added.
    signed: Vec<(Vec<u8>, u16)>,
}

impl Records {
    fn push(&mut self, owner: &[u8], rtype: u16, data: &[u8]) {
        self.builder.push(owner, rtype, 300, data, Place::default()).expect("a record of ours");
        if rtype != rtype::RRSIG {
            self.signed.push((owner.to_vec(), rtype));
        }
    }

    /// Signatures of everything, as long as those of ECDSA with P-256 are; nobody verifies them here.
    fn sign(&mut self) {
        for (owner, rtype) in std::mem::take(&mut self.signed) {
            let labels = labels(&owner).count() as u8;
            let fixed = [&rtype.to_be_bytes()[..], &[13, labels], &[0; 14]].concat();
            self.push(&owner, rtype::RRSIG, &[&fixed, name(APEX).as_wire(), &[7; 64]].concat());
        }
    }

    fn owners(&self) -> Vec<Vec<u8>> {
        let mut owners: Vec<_> = self.signed.iter().map(|(owner, _)| owner.clone()).collect();
        owners.sort_by(|a, b| canonical_order(a, b));
        owners.dedup();
        owners
    }

    /// An NSEC record for each name.
    fn link_names(&mut self) {
        let owners = self.owners();
        for (owner, next) in owners.iter().zip(owners.iter().cycle().skip(1)) {
            self.push(owner, rtype::NSEC, &[next, &[0, 6, 0x40, 0, 0, 0, 0, 3][..]].concat());
        }
        self.sign();
    }

    /// An NSEC3 record for each name, without salt and further rounds.
    fn link_hashes(&mut self) {
        let mut hashes: Vec<_> = self.owners().iter().map(|owner| nsec3::hash(owner, &[], 0)).collect();
        hashes.sort_unstable();
        for (hash, next) in hashes.iter().zip(hashes.iter().cycle().skip(1)) {
            let data = [&[1, 0, 0, 0, 0, 20], &next[..], &[0, 6, 0x40, 0, 0, 0, 0, 2]].concat();
            self.push(name(&format!("{}.{APEX}", base32(hash))).as_wire(), rtype::NSEC3, &data);
        }
        self.push(name(APEX).as_wire(), rtype::NSEC3PARAM, &[1, 0, 0, 0, 0]);
        self.sign();
    }
}

/// A hash as a label (RFC 4648 §7).
fn base32(hash: &[u8; nsec3::HASH_OCTETS]) -> String {
    let digits = hash.chunks(5).flat_map(|five| {
        let word = five.iter().fold(0_u64, |word, octet| word << 8 | u64::from(*octet));
        (0..8).rev().map(move |digit| char::from_digit((word >> (5 * digit)) as u32 & 31, 32).expect("below 32"))
    });
    digits.collect()
}
