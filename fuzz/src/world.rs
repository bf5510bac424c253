//! The images that `on_query` is fuzzed with: a zone of everything that a lookup must tell apart, pools of servers that
//! are asked in each way, routes that refuse, peers that may transfer zones and notify of them, and their keys.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ringdns_shard::Images;
use ringdns_shard::guard::{Acl, Network, cookie, rate, rrl};
use ringdns_shard::images::{Allowed, Bounds, CacheSettings, Listener, Recording, Zone, ZoneAbout};
use ringdns_shard::tsig::{Algorithm, Key};
use ringdns_shard::upstream::{Kind, Member, Pool, Protocol, Routes, Server, Strategy, Target};
use ringdns_shard::wire::name::{HashKey, Name};
use ringdns_shard::zone::difference::Difference;
use ringdns_shard::zone::journal::Journal;
use ringdns_shard::zone::{self, Builder, Image};

/// Sockets towards upstreams; it stays, whatever later images say.
pub const UDP_PORTS: u8 = 4;
/// Images that may be swapped in.
pub const VARIANTS: usize = 9;
/// Questions in flight, in the variant that allows the most.
pub const RESOLVES: usize = 6;
/// Clients that wait for a question, in the variant that allows the most.
pub const WAITERS: usize = 3;
/// How long the servers of `slow.test` are waited for: longer than a round of the shard's timers.
pub const TIMEOUT_SLOW: Duration = Duration::from_secs(10);
/// How long all other servers are waited for.
pub const TIMEOUT: Duration = Duration::from_millis(400);
/// Octets of the cache, in the variant that allows the most.
pub const CACHE_OCTETS: usize = 16_000;
/// The longest that an answer is found in the cache, fresh or stale.
pub const KEPT: Duration = Duration::from_secs(120 + 30);

/// Where most clients are: the listener allows them, and zones take them for peers.
pub const HOME: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 65);

/// Names that lead to each part of the images; a query's name is one of these, or a few labels below it.
pub const NAMES: &[&str] = &[
    "zone.test",
    "www.zone.test",
    "empty.zone.test",
    "a.empty.zone.test",
    "wild.zone.test",
    "*.wild.zone.test",
    "cut.zone.test",
    "ns.cut.zone.test",
    "dname.zone.test",
    "loop1.zone.test",
    "self.zone.test",
    "chain1.zone.test",
    "step1.zone.test",
    "away.zone.test",
    "many.zone.test",
    "signed.zone.test",
    "mail.zone.test",
    "all.wild2.zone.test",
    "sub.zone.test",
    "www.sub.zone.test",
    "out.zone.test",
    "inner.fwd.test",
    "gone.test",
    "refused.test",
    "nowhere.invalid",
    ".",
    "version.bind",
    "id.server",
];

/// Names that go to upstreams, in one way each.
pub const FORWARDED: &[&str] = &[
    "www.fwd.test",
    "fwd.test",
    "tcp.test",
    "face.test",
    "a.face.test",
    "b.a.face.test",
    "slow.test",
    "a.slow.test",
    "least.test",
    "all.test",
    "a.all.test",
    "share.test",
    "nobody.test",
];

const ZONE: &str = r#"
$TTL 300
@        SOA   ns.zone.test. host.zone.test. 1 3600 600 86400 60
@        RRSIG SOA 13 2 300 20300101000000 20250101000000 1 zone.test. c2lnbmF0dXJlIG9mIHRoZSBTT0E=
@        NS    ns
@        NS    ns.cut
@        MX    10 mail
ns       A     192.0.2.1
ns       AAAA  2001:db8::1
www      A     192.0.2.2
a.b.c.empty TXT "below an empty non-terminal"
*.wild   A     192.0.2.3
*.wild   TXT   "whoever you are"
*.wild   RRSIG A 13 3 300 20300101000000 20250101000000 1 zone.test. c2lnbmF0dXJlIG9mIHRoZSB3aWxkY2FyZA==
*.wild2  CNAME www.wild
cut      NS    ns.cut
cut      NS    ns2.deep.cut
cut      NS    ns.elsewhere.invalid.
cut      DS    1 13 2 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
cut      RRSIG DS 13 3 300 20300101000000 20250101000000 1 zone.test. c2lnbmF0dXJlIG9mIHRoZSBEUw==
ns.cut   A     192.0.2.4
ns.cut   AAAA  2001:db8::4
ns2.deep.cut A 192.0.2.5
dname    DNAME www.zone.test.
longer   DNAME a-label-that-makes-names-longer.and-another-one.so-that-they-come-to-their-end.zone.test.
loop1    CNAME loop2
loop2    CNAME loop3.dname2
dname2   DNAME loops
loop3.loops CNAME loop1
self     CNAME self
chain1   CNAME chain2
chain2   CNAME chain3
chain3   CNAME www.wild
away     CNAME www.fwd.test.
out      CNAME www.sub
mail     A     192.0.2.6
mail     MX    0 mail
_s._tcp  SRV   0 0 53 ns
_s._tcp  SRV   0 1 53 mail
svc      HTTPS 1 ns alpn=h2
signed   A     192.0.2.7
signed   RRSIG A 13 3 300 20300101000000 20250101000000 1 zone.test. c2lnbmF0dXJlIG9mIHRoZSBBIHNldCwgYSBiaXQgbG9uZ2Vy
$GENERATE 1-120 many A 10.0.0.$
$GENERATE 1-40  many MX $ mx$
$GENERATE 1-40  mx$ A 10.0.1.$
$GENERATE 1-30  step$ CNAME step${1}
"#;

const SUB: &str = r#"
$TTL 60
@    SOA ns.zone.test. host.zone.test. 1 3600 600 86400 60
@    NS  ns.zone.test.
www  A   192.0.2.20
back CNAME www.zone.test.
"#;

const INNER: &str = r#"
$TTL 60
@    SOA ns host 1 3600 600 86400 60
@    NS  ns
ns   A   192.0.2.21
out  CNAME www.fwd.test.
"#;

/// The images of a variant below [`VARIANTS`]. They are built once a process.
pub fn images(variant: usize) -> Arc<Images> {
    static BUILT: OnceLock<[Arc<Images>; VARIANTS]> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let zones = zones();
        std::array::from_fn(|variant| Arc::new(build(variant, zones.to_vec())))
    });
    built[variant].clone()
}

/// Images of one zone, with the listeners and bounds of the others.
pub fn of_zone(image: Arc<Image>) -> Images {
    let shaped = images(0);
    Images {
        hash_key: key(),
        listeners: shaped.listeners.clone(),
        routes: Arc::new(Routes::new(&key(), vec![(image.apex().clone(), Target::Zone(0))])),
        zones: vec![Zone::new(image)],
        cache: shaped.cache,
        bounds: shaped.bounds,
        ..Images::bare(key())
    }
}

/// The zones: the first for peers of an address and for those with a key, with a difference to the serial before; the
/// second for a key; the third for nobody; the last one without records.
fn zones() -> [Zone; 4] {
    let loopback = Some("127.0.0.0/25".parse::<Network>().expect("a network of ours"));
    let [by_address, by_key] =
        [(loopback, None), (None, Some(key_names()[0].clone()))].map(|(network, key)| vec![Allowed { network, key }]);
    let whole = zone("zone.test", ZONE);
    let before = zone("zone.test", &ZONE.replacen("host.zone.test. 1 ", "host.zone.test. 0 ", 1));
    let mut journal = Journal::default();
    journal.push(Arc::new(Difference::between(&before, &whole).expect("the serials differ")));
    let shared = |apex: &str, image: Option<Image>, journal, allowed: &[&[Allowed]]| Zone {
        image: image.map(Arc::new),
        about: Arc::new(ZoneAbout {
            apex: name(apex),
            journal,
            allow_transfer: allowed.concat(),
            notify_from: allowed.concat(),
        }),
    };
    [
        shared("zone.test", Some(whole), journal, &[&by_address, &by_key]),
        shared("sub.zone.test", Some(zone("sub.zone.test", SUB)), Journal::default(), &[&by_key]),
        Zone::new(Arc::new(zone("inner.fwd.test", INNER))),
        shared("gone.test", None, Journal::default(), &[&by_address]),
    ]
}

fn key_names() -> [Name; 3] {
    ["a-key.test", "b-key.test", "strange.test"].map(name)
}

/// The keys that peers sign with: two that are known, one that is not.
pub fn tsig_keys() -> [Arc<Key>; 3] {
    let algorithms = [Algorithm::HmacSha256, Algorithm::HmacSha1, Algorithm::HmacSha512];
    let mut algorithms = algorithms.into_iter();
    key_names().map(|name| Arc::new(Key::new(&name, algorithms.next().expect("one for each"), b"a secret")))
}

fn build(variant: usize, zones: Vec<Zone>) -> Images {
    let hash_key = key();
    let mut routes = vec![
        (name("zone.test"), Target::Zone(0)),
        (name("sub.zone.test"), Target::Zone(1)),
        (name("inner.fwd.test"), Target::Zone(2)),
        (name("gone.test"), Target::Zone(3)),
        (name("fwd.test"), Target::Pools(vec![0, 1])),
        (name("tcp.test"), Target::Pools(vec![1])),
        (name("face.test"), Target::Pools(vec![2])),
        (name("slow.test"), Target::Pools(vec![3])),
        (name("least.test"), Target::Pools(vec![4])),
        (name("all.test"), Target::Pools(vec![5])),
        (name("share.test"), Target::Pools(vec![6, 0])),
        (name("nobody.test"), Target::Pools(vec![7])),
        (name("refused.test"), Target::Refuse),
    ];
    match variant {
        2 => routes.push((name("fwd.test"), Target::Pools(vec![2]))),
        3 => routes.push((name("face.test"), Target::Refuse)),
        _ => {}
    }
    Images {
        hash_key,
        listeners: vec![Listener { allow: Acl::local_and_private() }, Listener { allow: Acl::default() }],
        identity: b"one of the nodes".as_slice().into(),
        version: b"fuzz".as_slice().into(),
        routes: Arc::new(Routes::new(&hash_key, routes)),
        zones,
        keys: Arc::new(tsig_keys().into_iter().take(2).map(Arc::unwrap_or_clone).collect()),
        pools: pools(variant),
        cache: cache(variant),
        rrl: (variant == 4).then(|| rrl::Settings {
            rate: 1,
            slip: 2,
            prefix4: 24,
            prefix6: 56,
            entries: 16,
            ..rrl::Settings::default()
        }),
        rate: matches!(variant, 3 | 8).then(|| rate::Settings {
            prefixes: vec![rate::Prefix { family: rate::Family::Ipv4, bits: 24, qps: 2 }],
            action: if variant == 3 { rate::Action::Truncate } else { rate::Action::Drop },
            dry_run: false,
            exempt: Acl::default(),
            entries: 16,
        }),
        cookies: Arc::new(cookies()),
        recording: Recording { log_sample: 1 + variant as u32 % 3, tap_clients: true, tap_upstreams: true },
        bounds: Bounds {
            resolves: if variant == 1 { 2 } else { RESOLVES },
            waiters: if variant == 1 { 1 } else { WAITERS },
            tcp_connections: 1,
            tcp_idle: Duration::from_secs(10),
            udp_ports: UDP_PORTS,
            zone_resolves: if variant == 5 { 1 } else { RESOLVES },
            zone_rate: if variant == 2 { 1 } else { 0 },
        },
    }
}

/// What cookies of clients are made with.
pub fn cookies() -> cookie::Secrets {
    [[7; 16]].into_iter().collect()
}

/// What a variant keeps: everything that the cache can do, or answers as long as they are fresh.
fn cache(variant: usize) -> CacheSettings {
    let all = CacheSettings {
        octets: CACHE_OCTETS,
        min_ttl: Duration::ZERO,
        max_ttl: Duration::from_secs(120),
        negative_max_ttl: Duration::from_secs(60),
        failure_ttl: Duration::from_secs(2),
        stale: Duration::from_secs(30),
        stale_after: Duration::from_millis(150),
        prefetch: true,
    };
    match variant {
        3 => CacheSettings { octets: 6_000, ..all },
        5 => CacheSettings { failure_ttl: Duration::ZERO, stale: Duration::ZERO, prefetch: false, ..all },
        7 => CacheSettings { octets: 1_200, stale_after: Duration::ZERO, ..all },
        8 => CacheSettings { min_ttl: Duration::from_secs(20), ..all },
        _ => all,
    }
}

/// Every server of the pools, of all variants.
pub fn servers() -> Vec<SocketAddr> {
    let pools = (0..VARIANTS).flat_map(pools);
    let mut servers: Vec<_> =
        pools.flat_map(|pool| pool.servers.iter().map(|member| member.server.address).collect::<Vec<_>>()).collect();
    servers.sort();
    servers.dedup();
    servers
}

/// The key of names in all images.
pub fn key() -> HashKey {
    HashKey::from_seed(*b"sixteen  octets.")
}

/// Reads a name of ours.
pub fn name(text: &str) -> Name {
    text.parse().expect("a name of ours")
}

/// The pools. In variant 6 names of servers have come to mean other addresses; in variant 7 other servers are configured.
fn pools(variant: usize) -> Vec<Arc<Pool>> {
    let v4 = |host| SocketAddr::from((Ipv4Addr::new(192, 0, 2, host), 53));
    let v6 = SocketAddr::from((Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9), 53));
    let spec = if variant == 7 { "others" } else { "servers" };
    let pool = |name: &str, protocol, kind, strategy, timeout, addresses: &[SocketAddr]| {
        let server = |(weight, &address)| Member { server: Server { protocol, address }, weight };
        let mut servers: Vec<Member> = (1..).zip(addresses).map(server).collect();
        if variant == 6 {
            // The first has gone, the others stay.
            servers.drain(..servers.len().min(1));
            servers.push(Member { server: Server { protocol, address: v4(60) }, weight: 1 });
        }
        Arc::new(Pool { name: name.into(), servers, kind, strategy, timeout, spec: spec.into() })
    };
    use {Kind::*, Protocol::*, Strategy::*};
    vec![
        pool("fwd", Udp, Resolver, Uniform, TIMEOUT, &[v4(53), v4(54), v6]),
        pool("tcp", Tcp, Resolver, Fallback, TIMEOUT, &[v4(55), v4(56)]),
        pool("face", Udp, Authoritative, Fallback, TIMEOUT, &[v4(57), v4(53)]),
        pool("slow", Udp, Resolver, Fallback, TIMEOUT_SLOW, &[v4(58), v4(59)]),
        pool("least", Udp, Resolver, Minload, TIMEOUT, &[v4(53), v4(57), v4(58)]),
        pool("all", Udp, Resolver, Parallel, TIMEOUT, &[v4(53), v4(54), v4(57)]),
        pool("share", Udp, Resolver, Balanced, TIMEOUT, &[v4(54), v4(59)]),
        pool("nobody", Udp, Resolver, Uniform, TIMEOUT, &[]),
    ]
}

fn zone(apex: &str, text: &str) -> Image {
    let apex = name(apex);
    let mut builder = Builder::new(apex.clone(), key());
    let mut open = |_: &str, _: &str| Err("nothing is included".into());
    let mut take = |record: zone::file::Record<'_>| {
        builder.push(record.owner, record.rtype, record.ttl, record.rdata, record.place)
    };
    zone::file::read(&apex, "a zone of ours", text.as_bytes(), &mut open, &mut take).expect("a zone of ours reads");
    builder.finish().expect("a zone of ours is whole")
}
