//! From settings and zones to what each core reads.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ringdns_shard::guard::cookie::Secrets;
use ringdns_shard::guard::{Acl, rate, rrl};
use ringdns_shard::images::{Bounds, CacheSettings, Images, Listener, Recording};
use ringdns_shard::limits::{POOL_SERVERS_MAX, RATE_ENTRIES};
use ringdns_shard::tsig::{Key, Keys};
use ringdns_shard::upstream::{Member, Pool, Routes, Server, Target};
use ringdns_shard::wire::name::{HashKey, Name};

use crate::config::{self, At, Host, Route, Settings, TapMessages, Upstream, UpstreamServer};
use crate::layout::Layout;
use crate::zones::Zone;

/// The addresses of the names of upstream servers, as far as they are known.
pub(crate) type Resolved = HashMap<Name, Vec<IpAddr>>;

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
    rate: Option<rate::Settings>,
    cookies: Arc<Secrets>,
    recording: Recording,
}

impl Frame {
    /// The frame for these settings and zones. Cookies are made with `cookie_secret` where the settings have no secret.
    pub(crate) fn new(
        settings: &Settings,
        zones: &[Zone],
        layout: &Layout,
        hash_key: HashKey,
        cookie_secret: [u8; 16],
        udp_ports: u8,
        resolved: &Resolved,
    ) -> Frame {
        Frame {
            hash_key,
            listeners: settings.listen.iter().map(|listen| Listener { allow: allowed(listen) }).collect(),
            identity: settings.server.identity.as_bytes().into(),
            version: settings.server.version.as_bytes().into(),
            routes: Arc::new(routes(settings, zones, &hash_key)),
            pools: pools(settings, resolved),
            keys: Arc::new(settings.key.iter().map(|key| key_of(key)).collect()),
            cache: CacheSettings {
                octets: usize::try_from(*settings.cache.size).unwrap_or(usize::MAX) / layout.cores(),
                min_ttl: *settings.cache.min_ttl,
                max_ttl: *settings.cache.max_ttl,
                negative_max_ttl: *settings.cache.negative_max_ttl,
                failure_ttl: *settings.cache.failure_ttl,
                stale: *settings.cache.stale,
                stale_after: *settings.cache.stale_after,
                prefetch: *settings.cache.prefetch,
            },
            bounds: Bounds {
                resolves: *settings.limits.resolves as usize,
                waiters: *settings.limits.waiters as usize,
                tcp_connections: (*settings.limits.tcp_clients as usize / layout.cores()).max(1),
                tcp_idle: *settings.limits.tcp_idle,
                udp_ports,
                zone_resolves: *settings.limits.zone_resolves as usize,
                zone_rate: of_one_core(*settings.limits.zone_rate, layout.cores()),
            },
            rrl: rate_limit(&settings.limits.rrl, layout.cores()),
            rate: rates(&settings.limits, layout.cores()),
            cookies: Arc::new(cookie_secrets(&settings.server.cookie_secrets, cookie_secret)),
            recording: recording(settings),
        }
    }

    /// Takes over what addresses the servers of `settings` have now.
    pub(crate) fn resolve(&mut self, settings: &Settings, resolved: &Resolved) {
        self.pools = pools(settings, resolved);
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
                rate: self.rate.clone(),
                cookies: Arc::clone(&self.cookies),
                recording: self.recording,
            })
        };
        (0..layout.cores()).map(of_core).collect()
    }
}

fn allowed(listen: &config::Listen) -> Acl {
    listen.allow.iter().map(|net| net.network).collect()
}

/// What the cores record of queries.
fn recording(settings: &Settings) -> Recording {
    let log = &settings.query_log;
    let tap = &settings.dnstap;
    let taps = |messages| tap.to.is_some() && tap.messages.iter().any(|wanted| **wanted == messages);
    Recording {
        log_sample: if *log.enabled { *log.sample } else { 0 },
        tap_clients: taps(TapMessages::Client),
        tap_upstreams: taps(TapMessages::Resolver),
    }
}

/// The part that each core has of the whole server's rate: the kernel spreads the packets of one network over all cores, for
/// their ports are many.
fn of_one_core(rate: u32, cores: usize) -> u32 {
    rate.div_ceil(cores as u32)
}

/// How often the clients of one network may ask one core.
fn rates(limits: &config::Limits, cores: usize) -> Option<rate::Settings> {
    (!limits.rate.is_empty()).then(|| rate::Settings {
        prefixes: limits
            .rate
            .iter()
            .map(|rate| rate::Prefix { family: rate.family, bits: rate.prefix, qps: of_one_core(rate.qps, cores) })
            .collect(),
        action: *limits.rate_action,
        dry_run: *limits.rate_dry_run,
        exempt: limits.rate_exempt.iter().map(|net| net.network).collect(),
        entries: RATE_ENTRIES,
    })
}

/// The secrets of the settings, or else the process's own.
fn cookie_secrets(secrets: &[At<config::CookieSecret>], own: [u8; 16]) -> Secrets {
    match secrets {
        [] => [own].into_iter().collect(),
        secrets => secrets.iter().map(|secret| secret.octets()).collect(),
    }
}

/// The limit of one core on equal responses; forged packets come from many ports, too.
fn rate_limit(rrl: &config::Rrl, cores: usize) -> Option<rrl::Settings> {
    (rrl.rate > 0).then(|| rrl::Settings {
        rate: of_one_core(rrl.rate, cores),
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

/// The pools of the settings. A name that leads here is no server: its queries would come back for ever.
fn pools(settings: &Settings, resolved: &Resolved) -> Vec<Arc<Pool>> {
    let is_here =
        |server: &Server| settings.listen.iter().any(|listen| config::reaches(server.address, *listen.address));
    let of = |upstream: &At<Upstream>| {
        let mut pool = pool(upstream, resolved);
        pool.servers.retain(|member| !is_here(&member.server));
        Arc::new(pool)
    };
    settings.upstream.iter().map(of).collect()
}

fn pool(upstream: &Upstream, resolved: &Resolved) -> Pool {
    let spec: Vec<String> = upstream.servers.iter().map(|server| server.to_string()).collect();
    Pool {
        name: String::clone(&upstream.name),
        servers: members(upstream, resolved),
        kind: *upstream.kind,
        strategy: *upstream.strategy,
        timeout: *upstream.timeout,
        spec: spec.join(" ").into(),
    }
}

/// The servers of a pool in the order of the file; behind a name those of all its addresses, none while it is not
/// resolved. A server that comes twice counts once, and no more than [`POOL_SERVERS_MAX`] do.
pub(crate) fn members(upstream: &Upstream, resolved: &Resolved) -> Vec<Member> {
    let mut members: Vec<Member> = Vec::new();
    for UpstreamServer { protocol, host, weight } in upstream.servers.iter().map(|server| &**server) {
        let addresses = match host {
            Host::Address(address) => vec![*address],
            Host::Name(name, port) => {
                // As for addresses in the file: to these nothing can be sent.
                let fit = |ip: &&IpAddr| !ip.is_unspecified() && !ip.is_multicast();
                resolved.get(name).into_iter().flatten().filter(fit).map(|ip| SocketAddr::new(*ip, *port)).collect()
            }
        };
        for server in addresses.into_iter().map(|address| Server { protocol: *protocol, address }) {
            if members.len() < POOL_SERVERS_MAX && members.iter().all(|member| member.server != server) {
                members.push(Member { server, weight: weight.unwrap_or(1) });
            }
        }
    }
    members
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ringdns_shard::upstream::Strategy;

    use super::*;

    fn upstream(servers: &str) -> Upstream {
        let text = format!("[[upstream]]\nname = \"up\"\nstrategy = \"balanced\"\nservers = [{servers}]\n");
        let settings = config::parse("a test", &text, Path::new("/")).unwrap_or_else(|faults| panic!("{faults}"));
        Upstream::clone(&settings.upstream[0])
    }

    fn listed(upstream: &Upstream, resolved: &Resolved) -> Vec<String> {
        let text = |Member { server: Server { protocol, address }, weight }: Member| {
            format!("{protocol:?} {address} {weight}")
        };
        members(upstream, resolved).into_iter().map(text).collect()
    }

    #[test]
    fn a_pool_has_the_servers_of_the_file_and_of_the_names_that_are_resolved() {
        let mut up = upstream("\"udp://192.0.2.1:53 weight=7\", \"tcp://[2001:db8::1]:5353\", \"udp://192.0.2.9:54\"");
        let none = Resolved::new();
        assert_eq!(listed(&up, &none), ["Udp 192.0.2.1:53 7", "Tcp [2001:db8::1]:5353 1", "Udp 192.0.2.9:54 1"]);
        assert_eq!(*pool(&up, &none).spec, *"udp://192.0.2.1:53 weight=7 tcp://[2001:db8::1]:5353 udp://192.0.2.9:54");
        assert_eq!(pool(&up, &none).strategy, Strategy::Balanced);

        let name: Name = "dns.example.test".parse().expect("a name");
        up.servers[2].host = Host::Name(name.clone(), 54);
        up.servers[2].weight = Some(3);
        assert_eq!(listed(&up, &none), ["Udp 192.0.2.1:53 7", "Tcp [2001:db8::1]:5353 1"], "not resolved yet");
        let spec = pool(&up, &none).spec;
        let mut resolved = Resolved::new();
        let addresses = ["2001:db8::9", "192.0.2.1", "192.0.2.8", "192.0.2.8", "0.0.0.0", "ff02::1"];
        resolved.insert(name.clone(), addresses.map(|text| text.parse().expect("an address")).to_vec());
        assert_eq!(
            listed(&up, &resolved)[2..],
            ["Udp [2001:db8::9]:54 3", "Udp 192.0.2.1:54 3", "Udp 192.0.2.8:54 3"],
            "each once, and none that nothing can be sent to"
        );
        assert_eq!(pool(&up, &resolved).spec, spec, "the same whatever the addresses are");

        let many = (1..=254).map(|host| IpAddr::from([192, 0, 2, host]));
        resolved.insert(name, many.collect());
        assert_eq!(members(&up, &resolved).len(), POOL_SERVERS_MAX);
    }
}
