//! From the configuration of a case to the images of a shard.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ringdns_shard::Images;
use ringdns_shard::guard::{Acl, Network, cookie, rate};
use ringdns_shard::images::{Bounds, CacheSettings, Listener, Recording, Zone};
use ringdns_shard::upstream::{Kind, Pool, Protocol, Routes, Server, Strategy, Target};
use ringdns_shard::wire::name::{HashKey, Name};
use ringdns_shard::zone;

use crate::model::{AuthZone, Config, ZoneClause};
use crate::packet;

/// The images; the error says which setting is at fault.
pub(crate) fn images(config: &Config) -> Result<Arc<Images>, String> {
    let hash_key = HashKey::from_seed([7; 16]);
    let mut targets: Vec<(Name, Target)> = Vec::new();
    let mut zones = Vec::new();
    for clause in &config.auth_zones {
        let AuthZone::Clause(clause) = clause else { return Err("a zone without a name".into()) };
        let file = clause.file.as_deref().and_then(|file| file.strip_prefix("@file:")).unwrap_or("");
        let text = config.files.get(file).ok_or_else(|| format!("zone {}: no file `{file}`", clause.name))?;
        targets.push((name(&clause.name)?, Target::Zone(zones.len() as u32)));
        zones.push(Zone::new(Arc::new(zone_image(&name(&clause.name)?, hash_key, text)?)));
    }
    let mut pools = Vec::new();
    for clause in &config.forward_zones {
        let (name, index) = (name(&clause.name)?, pools.len() as u32);
        pools.push(Arc::new(pool(clause)?));
        match targets.iter_mut().find(|(known, _)| *known == name) {
            Some((_, Target::Pools(pools))) => pools.push(index),
            _ => targets.push((name, Target::Pools(vec![index]))),
        }
    }
    for words in &config.local_zones {
        targets.push((name(&words[0])?, Target::Refuse));
    }
    Ok(Arc::new(Images {
        listeners: vec![Listener { allow: allowed(config)? }],
        identity: setting(config, "identity").unwrap_or("").as_bytes().into(),
        version: setting(config, "version").unwrap_or("").as_bytes().into(),
        routes: Arc::new(Routes::new(&hash_key, targets)),
        zones,
        pools,
        cache: CacheSettings {
            octets: count(config, "cache-octets", 1 << 20)?,
            min_ttl: ttl(config, "min", 0),
            max_ttl: ttl(config, "max", 86_400),
            negative_max_ttl: ttl(config, "max_negative", 3_600),
            failure_ttl: Duration::from_secs(count(config, "cache-fail-ttl", 0)? as u64),
            stale: Duration::from_secs(count(config, "serve-expired-ttl", 0)? as u64),
            stale_after: Duration::from_millis(count(config, "serve-expired-client-timeout", 1_800)? as u64),
            prefetch: setting(config, "prefetch") == Some("yes"),
        },
        bounds: Bounds {
            resolves: count(config, "num-queries-per-thread", 1_000)?,
            waiters: count(config, "waiters-per-name", 1_000)?,
            tcp_connections: 1,
            tcp_idle: Duration::from_secs(10),
            udp_ports: 8,
            zone_resolves: count(config, "zone-queries", 1_000)?,
            zone_rate: count(config, "zone-ratelimit", 0)? as u32,
        },
        rate: rate(config)?,
        cookies: Arc::new(cookies(config)?),
        recording: Recording { log_sample: 1, tap_clients: true, tap_upstreams: true },
        ..Images::bare(hash_key)
    }))
}

/// An address, with port 53 where none is said after an `@`.
pub(crate) fn server_address(text: &str) -> Result<SocketAddr, String> {
    let (address, port) = text.split_once('@').unwrap_or((text, "53"));
    let bad = || format!("`{text}` is no server: write 192.0.2.1 or 192.0.2.1@5353");
    let address: IpAddr = address.parse().map_err(|_| bad())?;
    Ok(SocketAddr::new(address, port.parse().map_err(|_| bad())?))
}

fn name(text: &str) -> Result<Name, String> {
    text.parse().map_err(|e| format!("`{text}` is no name: {e:?}"))
}

fn setting<'a>(config: &'a Config, key: &str) -> Option<&'a str> {
    config.other.get(key)?.last()?.first().map(String::as_str)
}

fn count(config: &Config, key: &str, default: usize) -> Result<usize, String> {
    let parse = |text: &str| text.parse().map_err(|_| format!("{key}: `{text}` is no count"));
    setting(config, key).map_or(Ok(default), parse)
}

/// `ip-ratelimit: "24 10 truncate"`: bits of an IPv4 prefix, queries a second, what becomes of more.
fn rate(config: &Config) -> Result<Option<rate::Settings>, String> {
    let Some(text) = setting(config, "ip-ratelimit") else { return Ok(None) };
    let bad =
        || format!("ip-ratelimit: `{text}`: bits, queries a second and drop, truncate, refuse or dry were expected");
    let [bits, qps, action] = text.split(' ').collect::<Vec<_>>()[..] else { return Err(bad()) };
    let prefix = rate::Prefix {
        family: rate::Family::Ipv4,
        bits: bits.parse().map_err(|_| bad())?,
        qps: qps.parse().map_err(|_| bad())?,
    };
    Ok(Some(rate::Settings {
        prefixes: vec![prefix],
        action: match action {
            "drop" | "dry" => rate::Action::Drop,
            "truncate" => rate::Action::Truncate,
            "refuse" => rate::Action::Refuse,
            _ => return Err(bad()),
        },
        dry_run: action == "dry",
        exempt: Acl::default(),
        entries: 1 << 10,
    }))
}

/// `cookie-secret`: 32 hexadecimal digits.
fn cookies(config: &Config) -> Result<cookie::Secrets, String> {
    let Some(text) = setting(config, "cookie-secret") else { return Ok(cookie::Secrets::default()) };
    let octets = packet::octets_of_hex(text)?;
    let secret = octets.try_into().map_err(|_| format!("cookie-secret: `{text}` are not 16 octets"))?;
    Ok([secret].into_iter().collect())
}

fn ttl(config: &Config, key: &str, default: u64) -> Duration {
    Duration::from_secs(config.ttl.get(key).copied().unwrap_or(default))
}

fn allowed(config: &Config) -> Result<Acl, String> {
    if config.access_control.is_empty() {
        return Ok(Acl::local_and_private());
    }
    let networks = config.access_control.iter().map(|words| words[0].parse::<Network>().map_err(|e| e.to_string()));
    networks.collect()
}

fn pool(clause: &ZoneClause) -> Result<Pool, String> {
    let option = |key: &str| clause.options.get(key).and_then(|values| values.last()).map(String::as_str);
    let unknown = |key: &str, value: &str| format!("forward-zone {}: {key}: `{value}` is not known", clause.name);
    let protocol = match option("forward-tcp-upstream") {
        None | Some("no") => Protocol::Udp,
        Some("yes") => Protocol::Tcp,
        Some(other) => return Err(unknown("forward-tcp-upstream", other)),
    };
    let kind = match option("kind") {
        None | Some("resolver") => Kind::Resolver,
        Some("authoritative") => Kind::Authoritative,
        Some(other) => return Err(unknown("kind", other)),
    };
    let strategy = match option("strategy") {
        None | Some("fallback") => Strategy::Fallback,
        Some("uniform") => Strategy::Uniform,
        Some("minload") => Strategy::Minload,
        Some("parallel") => Strategy::Parallel,
        Some("balanced") => Strategy::Balanced,
        Some(other) => return Err(unknown("strategy", other)),
    };
    let timeout = option("timeout").unwrap_or("2");
    let timeout = timeout.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let servers = clause.addresses.iter().map(|text| Ok(Server { protocol, address: server_address(text)? }.into()));
    Ok(Pool {
        name: clause.name.clone(),
        servers: servers.collect::<Result<_, String>>()?,
        kind,
        strategy,
        timeout: timeout.ok_or_else(|| unknown("timeout", option("timeout").unwrap_or("")))?,
        spec: Box::default(),
    })
}

fn zone_image(apex: &Name, key: HashKey, text: &str) -> Result<zone::Image, String> {
    let mut builder = zone::Builder::new(apex.clone(), key);
    let mut open = |_: &str, path: &str| Err(format!("a zone inside a scenario cannot include `{path}`"));
    let mut take = |record: zone::file::Record<'_>| {
        builder.push(record.owner, record.rtype, record.ttl, record.rdata, record.place)
    };
    zone::file::read(apex, "zone", text.as_bytes(), &mut open, &mut take)
        .map_err(|faults| format!("zone {apex}: {faults:?}"))?;
    builder.finish().map_err(|faults| format!("zone {apex}: {faults:?}"))
}
