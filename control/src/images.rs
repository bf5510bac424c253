//! From settings and zones to what each core reads.

use std::collections::HashMap;
use std::sync::Arc;

use ringdns_shard::guard::Acl;
use ringdns_shard::images::{Bounds, CacheSettings, Images, Listener};
use ringdns_shard::upstream::{Pool, Routes, Target};
use ringdns_shard::wire::name::{HashKey, Name};

use crate::config::{Settings, Upstream};
use crate::layout::Layout;
use crate::load::Served;

/// The images of every core. `zones` stand in the order of the settings; where one is `None`, its names are refused:
/// they must not be asked elsewhere.
pub(crate) fn images(
    settings: &Settings,
    zones: &[Option<Arc<Served>>],
    layout: &Layout,
    hash_key: HashKey,
    udp_ports: u8,
) -> Vec<Arc<Images>> {
    assert_eq!(zones.len(), settings.zone.len());
    let served: Vec<&Arc<Served>> = zones.iter().flatten().collect();
    let pools: Vec<Arc<Pool>> = settings.upstream.iter().map(|upstream| Arc::new(pool(upstream))).collect();
    let routes = routes(settings, zones, &hash_key);
    let of_core = |core| {
        Arc::new(Images {
            hash_key,
            listeners: settings.listen.iter().map(|listen| Listener { allow: allowed(listen) }).collect(),
            identity: settings.server.identity.as_bytes().into(),
            version: settings.server.version.as_bytes().into(),
            routes: routes.clone(),
            zones: served.iter().map(|zone| Arc::clone(zone.copy(layout.group(core)))).collect(),
            pools: pools.clone(),
            cache: CacheSettings {
                octets: usize::try_from(*settings.cache.size).unwrap_or(usize::MAX) / layout.cores(),
                min_ttl: *settings.cache.min_ttl,
                max_ttl: *settings.cache.max_ttl,
                negative_max_ttl: *settings.cache.negative_max_ttl,
            },
            bounds: Bounds {
                resolves: *settings.limits.resolves as usize,
                waiters: *settings.limits.waiters as usize,
                tcp_idle: *settings.limits.tcp_idle,
                udp_ports,
            },
        })
    };
    (0..layout.cores()).map(of_core).collect()
}

fn allowed(listen: &crate::config::Listen) -> Acl {
    listen.allow.iter().map(|net| net.network).collect()
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

fn routes(settings: &Settings, zones: &[Option<Arc<Served>>], key: &HashKey) -> Routes {
    let mut entries = Vec::with_capacity(settings.zone.len() + settings.route.len());
    let mut index = 0;
    for (zone, served) in settings.zone.iter().zip(zones) {
        let target = match served {
            Some(_) => {
                index += 1;
                Target::Zone(index - 1)
            }
            None => Target::Refuse,
        };
        entries.push((Name::clone(&zone.name), target));
    }
    let pools: HashMap<&str, usize> =
        settings.upstream.iter().enumerate().map(|(index, upstream)| (upstream.name.as_str(), index)).collect();
    for route in &settings.route {
        let target = if route.refuses() {
            Target::Refuse
        } else {
            let mut to: Vec<usize> = route.to.iter().map(|name| pools[name.as_str()]).collect();
            to.sort_by_key(|index| *settings.upstream[*index].priority);
            Target::Pools(to.into_iter().map(|index| index as u32).collect())
        };
        entries.push((Name::clone(&route.suffix), target));
    }
    Routes::new(key, entries)
}
