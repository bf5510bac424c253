//! What the control plane builds off the cores and a core only reads: settings, routes, zones, upstreams.
//!
//! An [`Images`] is immutable. A change is a new one, swapped in between two batches with
//! [`Shard::on_images`](crate::Shard::on_images).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::guard::{Acl, Network, cookie, rate, rrl};
use crate::upstream::{Kind, Pool, Routes, Target};
use crate::wire::name::{HashKey, KeyedName, Name};
use crate::wire::rdata::rtype;
use crate::zone::journal::Journal;
use crate::{tsig, zone};

/// Everything a core reads and never writes.
#[derive(Debug)]
pub struct Images {
    /// The key under which every name of this process is hashed; the same in every image of a process.
    pub hash_key: HashKey,
    /// Per listener, in the order of [`Client::listener`](crate::Client::listener).
    pub listeners: Vec<Listener>,
    /// Answer to NSID and to `id.server CH TXT`; empty: neither is answered.
    pub identity: Box<[u8]>,
    /// Answer to `version.bind` and `version.server CH TXT`; empty: refused.
    pub version: Box<[u8]>,
    /// Suffix to target.
    pub routes: Arc<Routes>,
    /// The zones, by the index that routes name.
    pub zones: Vec<Zone>,
    /// The keys of TSIG.
    pub keys: Arc<tsig::Keys>,
    /// The upstream pools, by the index that routes name.
    pub pools: Vec<Arc<Pool>>,
    /// What the cache keeps and for how long.
    pub cache: CacheSettings,
    /// Bounds of a core.
    pub bounds: Bounds,
    /// How often equal responses of zones go to one network over UDP; `None`: as often as they are asked for.
    pub rrl: Option<rrl::Settings>,
    /// How often the clients of one network may ask; `None`: as often as they like.
    pub rate: Option<rate::Settings>,
    /// What cookies of clients are made and checked with; the cores share it.
    pub cookies: Arc<cookie::Secrets>,
    /// What is recorded of queries.
    pub recording: Recording,
}

impl Images {
    /// Images with nothing in them: whoever builds some says what differs.
    pub fn bare(hash_key: HashKey) -> Images {
        Images {
            hash_key,
            listeners: Vec::new(),
            identity: Box::default(),
            version: Box::default(),
            routes: Arc::new(Routes::new(&hash_key, Vec::new())),
            zones: Vec::new(),
            keys: Arc::default(),
            pools: Vec::new(),
            cache: CacheSettings::DEFAULT,
            bounds: Bounds::DEFAULT,
            rrl: None,
            rate: None,
            cookies: Arc::default(),
            recording: Recording::default(),
        }
    }

    /// The records of a zone, where it is loaded.
    #[inline]
    pub(crate) fn image(&self, zone: u32) -> Option<&zone::Image> {
        self.zones[zone as usize].image.as_deref()
    }

    /// The zone whose apex is `name`, by its index.
    pub(crate) fn zone_at(&self, name: &KeyedName) -> Option<u32> {
        match self.routes.find(name, name.labels()) {
            Some((&Target::Zone(zone), _)) if self.zones[zone as usize].about.apex.as_wire() == name.as_wire() => {
                Some(zone)
            }
            _ => None,
        }
    }

    /// Where `name` goes. DS records belong to the parent's side of a cut (RFC 4035 §3.1.4.1): at the apex of a zone of
    /// ours they are asked of whoever has the name above, where somebody has.
    #[inline(always)] // On the path of every query, and once more for each alias.
    pub(crate) fn route(&self, name: &KeyedName, qtype: u16) -> Option<&Target> {
        self.route_and_depth(name, qtype).map(|(target, _)| target)
    }

    /// The same with the labels of the route's suffix.
    #[inline(always)]
    fn route_and_depth(&self, name: &KeyedName, qtype: u16) -> Option<(&Target, usize)> {
        if qtype == rtype::DS {
            return self.route_and_depth_of_ds(name);
        }
        self.routes.find(name, name.labels())
    }

    #[inline(never)] // So that other types have a short way.
    fn route_and_depth_of_ds(&self, name: &KeyedName) -> Option<(&Target, usize)> {
        let found = self.routes.find(name, name.labels());
        if let Some((&Target::Zone(zone), _)) = found
            && self.zones[zone as usize].about.apex.labels() == name.labels()
            && let Some(above) = name.labels().checked_sub(1)
            && let Some(parent @ (Target::Zone(_) | Target::Pools(_), _)) = self.routes.find(name, above)
        {
            return Some(parent);
        }
        found
    }

    /// The pools to ask for `name`, which goes to upstreams, in their order, and the labels of the route's suffix.
    pub(crate) fn pools_of(&self, name: &KeyedName, qtype: u16) -> (&[u32], usize) {
        let Some((Target::Pools(pools), depth)) = self.route_and_depth(name, qtype) else {
            unreachable!("the caller has found the name to go to upstreams")
        };
        (pools, depth)
    }

    /// What the servers of a route are to us: as its first pool says.
    pub(crate) fn kind_of(&self, pools: &[u32]) -> Kind {
        pools.first().map_or(Kind::Resolver, |&pool| self.pools[pool as usize].kind)
    }

    /// How long an answer of a route may take: as its first pool says.
    pub(crate) fn timeout_of(&self, pools: &[u32]) -> Duration {
        pools.first().map_or(Duration::ZERO, |&pool| self.pools[pool as usize].timeout)
    }

    /// Whether names go to the same servers as in `other`, as the configuration has them: what the addresses of their
    /// names are at the moment does not count.
    pub(crate) fn forwards_like(&self, other: &Images) -> bool {
        self.routes.forward_alike(&other.routes)
            && self.pools.len() == other.pools.len()
            && self.pools.iter().zip(&other.pools).all(|(pool, other)| pool.is_source_of_the_same(other))
    }
}

/// Settings of one `[[listen]]` table that the shard must know.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Who may ask; everybody else gets REFUSED.
    pub allow: Acl,
}

/// What a core records of queries, beside what it counts. The default is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// One query of so many is logged, drawn by chance; 0: none.
    pub log_sample: u32,
    /// Requests of clients and their replies go to dnstap.
    pub tap_clients: bool,
    /// Queries to upstreams and their replies go to dnstap.
    pub tap_upstreams: bool,
}

/// What a core knows of a zone.
#[derive(Clone, Debug)]
pub struct Zone {
    /// The zone's records; `None` where it is not loaded or has expired: its names are answered SERVFAIL.
    pub image: Option<Arc<zone::Image>>,
    /// What holds whatever the records are. The cores share it.
    pub about: Arc<ZoneAbout>,
}

/// What a core must know of a zone beside its records.
#[derive(Clone, Debug)]
pub struct ZoneAbout {
    /// Its name.
    pub apex: Name,
    /// The differences that lead to the records in force, for IXFR; empty where there are none.
    pub journal: Journal,
    /// Who may transfer it; nobody where it is empty. This list alone counts: the listener's `allow` is for questions.
    pub allow_transfer: Vec<Allowed>,
    /// Whose NOTIFY is heard; nobody's where it is empty, as for a zone that is no secondary. This list alone counts, too.
    pub notify_from: Vec<Allowed>,
}

/// One entry of a list of who may do something: where both are given, both must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// The peer's address is in this network; `None`: any address.
    pub network: Option<Network>,
    /// The request is signed with the key of this name; `None`: no key is asked for.
    pub key: Option<Name>,
}

impl Zone {
    /// A zone that is answered from, and neither transferred nor notified of.
    pub fn new(image: Arc<zone::Image>) -> Zone {
        let apex = image.apex().clone();
        let about =
            ZoneAbout { apex, journal: Journal::default(), allow_transfer: Vec::new(), notify_from: Vec::new() };
        Zone { image: Some(image), about: Arc::new(about) }
    }
}

impl Allowed {
    /// Whether the entry allows a peer at `address` whose request is signed with `key`.
    pub fn allows(&self, address: IpAddr, key: Option<&Name>) -> bool {
        self.network.is_none_or(|network| network.contains(address))
            && self.key.as_ref().is_none_or(|needed| key == Some(needed))
    }
}

/// Settings of the cache, for one core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// Octets this core's share may use.
    pub octets: usize,
    /// Shortest time an answer is kept.
    pub min_ttl: Duration,
    /// Longest time an answer is kept.
    pub max_ttl: Duration,
    /// Longest time a negative answer is kept.
    pub negative_max_ttl: Duration,
    /// How long a failure is remembered (RFC 9520); zero: not at all.
    pub failure_ttl: Duration,
    /// How long past its TTL an answer may still be served (RFC 8767); zero: not at all.
    pub stale: Duration,
    /// A client waits so long for a fresh answer before it gets a stale one.
    pub stale_after: Duration,
    /// Whether answers that are asked for often are fetched anew before they run out.
    pub prefetch: bool,
}

impl CacheSettings {
    /// What the configuration has where it says nothing, for a single core.
    pub const DEFAULT: CacheSettings = CacheSettings {
        octets: 256 << 20,
        min_ttl: Duration::ZERO,
        max_ttl: Duration::from_hours(24),
        negative_max_ttl: Duration::from_hours(1),
        failure_ttl: Duration::from_secs(5),
        stale: Duration::from_hours(24),
        stale_after: Duration::from_millis(1_800),
        prefetch: true,
    };

    /// Fresh answers alone, kept as long as their TTLs say.
    pub const PLAIN: CacheSettings =
        CacheSettings { failure_ttl: Duration::ZERO, stale: Duration::ZERO, prefetch: false, ..CacheSettings::DEFAULT };
}

/// Bounds of one core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Questions in flight towards upstreams.
    pub resolves: usize,
    /// Clients that wait for one question.
    pub waiters: usize,
    /// TCP connections of clients, at least one.
    pub tcp_connections: usize,
    /// Time-out of idle TCP connections, told to clients that ask (RFC 7828).
    pub tcp_idle: Duration,
    /// UDP sockets towards upstreams, for each address family.
    pub udp_ports: u8,
    /// Questions in flight towards upstreams for names of one zone.
    pub zone_resolves: usize,
    /// Questions a second towards upstreams for names of one zone; zero: as many as come.
    pub zone_rate: u32,
}

impl Bounds {
    /// What the configuration has where it says nothing.
    pub const DEFAULT: Bounds = Bounds {
        resolves: 10_000,
        waiters: 1_000,
        tcp_connections: 1_000,
        tcp_idle: Duration::from_secs(10),
        udp_ports: 8,
        zone_resolves: 1_000,
        zone_rate: 0,
    };
}
