//! From settings and zones to what each core reads.

use std::collections::HashMap;
use std::sync::Arc;

use ringdns_shard::guard::{Acl, rrl};
use ringdns_shard::images::{Bounds, CacheSettings, Images, Listener};
use ringdns_shard::tsig::{Key, Keys};
use ringdns_shard::upstream::{Pool, Routes, Target};
use ringdns_shard::wire::name::{HashKey, Name};

use crate::config::{self, At, Route, Settings, Upstream};
use crate::layout::Layout;
use crate::zones::Zone;

/// What images are made of besides the zones' records: it changes with settings and with the names of zones, and every
/// version of every zone is put into it.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    hash_key: HashKey,
    listeners: Vec<Listener>,
    identity: Box<[u8]>,
    version: Box<[u8]>,
    routes: Arc<Routes>,
    pools: Vec<Arc<Pool>>,
    keys: Arc<Keys>,
    cache: CacheSettings,
    bounds: Bounds,
    rrl: Option<rrl::Settings>,
}

impl Frame {
    /// The frame for these settings and zones.
    pub(crate) fn new(settings: &Settings, zones: &[Zone], layout: &Layout, hash_key: HashKey, udp_ports: u8) -> Frame {
        Frame {
            hash_key,
            listeners: settings.listen.iter().map(|listen| Listener { allow: allowed(listen) }).collect(),
            identity: settings.server.identity.as_bytes().into(),
            version: settings.server.version.as_bytes().into(),
            routes: Arc::new(routes(settings, zones, &hash_key)),
            pools: settings.upstream.iter().map(|upstream| Arc::new(pool(upstream))).collect(),
            keys: Arc::new(settings.key.iter().map(|key| key_of(key)).collect()),
            cache: CacheSettings {
                octets: usize::try_from(*settings.cache.size).unwrap_or(usize::MAX) / layout.cores(),
                min_ttl: *settings.cache.min_ttl,
                max_ttl: *settings.cache.max_ttl,
                negative_max_ttl: *settings.cache.negative_max_ttl,
                ..CacheSettings::DEFAULT
            },
            bounds: Bounds {
                resolves: *settings.limits.resolves as usize,
                waiters: *settings.limits.waiters as usize,
                tcp_idle: *settings.limits.tcp_idle,
                udp_ports,
                ..Bounds::DEFAULT
            },
            rrl: rate_limit(&settings.limits.rrl, layout.cores()),
        }
    }

    /// The keys of the settings.
    pub(crate) fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    /// The images of every core. `zones` are those that the frame was made for.
    pub(crate) fn images(&self, zones: &[Zone], layout: &Layout) -> Vec<Arc<Images>> {
        let of_core = |core| {
            Arc::new(Images {
                hash_key: self.hash_key,
                listeners: self.listeners.clone(),
                identity: self.identity.clone(),
                version: self.version.clone(),
                routes: Arc::clone(&self.routes),
                zones: zones.iter().map(|zone| zone.of_core(core, layout)).collect(),
                pools: self.pools.clone(),
                keys: Arc::clone(&self.keys),
                cache: self.cache,
                bounds: self.bounds,
                rrl: self.rrl.clone(),
                ..Images::bare(self.hash_key)
            })
        };
        (0..layout.cores()).map(of_core).collect()
    }
}

fn allowed(listen: &config::Listen) -> Acl {
    listen.allow.iter().map(|net| net.network).collect()
}

/// The limit of one core. The kernel spreads the forged packets of one network over all cores, for their ports are many:
/// each has its part of the rate.
fn rate_limit(rrl: &config::Rrl, cores: usize) -> Option<rrl::Settings> {
    (rrl.rate > 0).then(|| rrl::Settings {
        rate: rrl.rate.div_ceil(cores as u32),
        slip: rrl.slip,
        prefix4: rrl.prefix4,
        prefix6: rrl.prefix6,
        exempt: rrl.exempt.iter().map(|net| net.network).collect(),
        entries: rrl.entries as usize,
    })
}

fn key_of(key: &config::Key) -> Key {
    use ringdns_shard::tsig::Algorithm;
    let algorithm = match *key.algorithm {
        config::Algorithm::HmacSha1 => Algorithm::HmacSha1,
        config::Algorithm::HmacSha256 => Algorithm::HmacSha256,
        config::Algorithm::HmacSha384 => Algorithm::HmacSha384,
        config::Algorithm::HmacSha512 => Algorithm::HmacSha512,
    };
    Key::new(&key.name, algorithm, key.octets())
}

fn pool(upstream: &Upstream) -> Pool {
    Pool {
        name: String::clone(&upstream.name),
        servers: upstream.servers.iter().map(|server| **server).collect(),
        kind: *upstream.kind,
        strategy: *upstream.strategy,
        timeout: *upstream.timeout,
    }
}

fn routes(settings: &Settings, zones: &[Zone], key: &HashKey) -> Routes {
    let pools: HashMap<&str, usize> =
        settings.upstream.iter().enumerate().map(|(index, upstream)| (upstream.name.as_str(), index)).collect();
    let of_route = |route: &At<Route>| {
        let target = if route.refuses() {
            Target::Refuse
        } else {
            let mut to: Vec<usize> = route.to.iter().map(|name| pools[name.as_str()]).collect();
            to.sort_by_key(|index| *settings.upstream[*index].priority);
            Target::Pools(to.into_iter().map(|index| index as u32).collect())
        };
        (Name::clone(&route.suffix), target)
    };
    let of_zone = |(index, zone): (usize, &Zone)| (zone.wanted().apex.clone(), Target::Zone(index as u32));
    let routes = settings.route.iter().map(of_route);
    Routes::new(key, routes.chain(zones.iter().enumerate().map(of_zone)).collect())
}
