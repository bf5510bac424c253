//! Mistakes that only show when values are seen together.

use std::collections::HashSet;
use std::hash::Hash;
use std::net::SocketAddr;

use ringdns_shard::upstream::Strategy;

use super::fault::{At, Collector};
use super::keys::Settings;
use super::schema::meant;
use super::upstream::{Host, UpstreamServer};
use super::zones;

/// The word in `to` of a route for names that are refused.
pub(super) const REFUSE: &str = "refuse";

/// Puts what is wrong with `settings` into `faults`.
pub(super) fn check(settings: &Settings, faults: &mut Collector) {
    listeners(settings, faults);
    control(settings, faults);
    names(settings, faults);
    routes(settings, faults);
    loops(settings, faults);
    servers_twice(settings, faults);
    weights(settings, faults);
    zones::check(settings, faults);
    if *settings.cache.min_ttl > *settings.cache.max_ttl {
        let message = "`min_ttl` in [cache] is above `max_ttl`; lower the one or raise the other".to_owned();
        faults.push(settings.cache.min_ttl.place().max(settings.cache.max_ttl.place()), message);
    }
}

fn listeners(settings: &Settings, faults: &mut Collector) {
    for (index, listen) in settings.listen.iter().enumerate() {
        if listen.address.port() == 0 {
            continue;
        }
        let taken = settings.listen[..index].iter().any(|earlier| {
            *earlier.address == *listen.address && earlier.protocols.iter().any(|p| listen.protocols.contains(p))
        });
        if taken {
            let message = format!("{} is in another [[listen]] already; remove one of them", *listen.address);
            faults.push(listen.address.place(), message);
        }
        if *settings.control.listen == Some(*listen.address)
            && listen.protocols.iter().any(|p| **p == super::Protocol::Tcp)
        {
            let message = format!("{} is `listen` of [control] too; choose another port for one", *listen.address);
            faults.push(listen.address.place(), message);
        }
    }
}

/// Who asks from elsewhere must be told apart.
fn control(settings: &Settings, faults: &mut Collector) {
    if let Some(address) = *settings.control.listen
        && !address.ip().is_loopback()
        && settings.control.token_file.is_none()
    {
        let message = format!(
            "`listen` in [control]: {address} is not a loopback address, and without `token_file` nobody can be told \
             apart there; set `token_file`, or use 127.0.0.1 or [::1]"
        );
        faults.push(settings.control.listen.place(), message);
    }
}

/// Reports every value that an earlier one equals.
pub(super) fn unique<'a, T: Hash + Eq + 'a>(
    values: impl Iterator<Item = &'a At<T>>,
    faults: &mut Collector,
    message: impl Fn(&T) -> String,
) {
    let mut seen: HashSet<&T> = HashSet::new();
    for value in values {
        if !seen.insert(value) {
            faults.push(value.place(), message(value));
        }
    }
}

fn names(settings: &Settings, faults: &mut Collector) {
    unique(settings.zone.iter().map(|zone| &zone.name), faults, |name| {
        format!("the zone `{name}` is in another [[zone]] already; remove one of them")
    });
    unique(settings.upstream.iter().map(|upstream| &upstream.name), faults, |name| {
        format!("another [[upstream]] has the name `{name}` already; choose another")
    });
    let zones: HashSet<_> = settings.zone.iter().map(|zone| &*zone.name).collect();
    for route in settings.route.iter().filter(|route| zones.contains(&*route.suffix)) {
        let suffix = &*route.suffix;
        faults.push(route.suffix.place(), format!("`{suffix}` is a [[zone]], which is a route of its own; remove one"));
    }
    unique(settings.route.iter().map(|route| &route.suffix), faults, |suffix| {
        format!("the suffix `{suffix}` has another [[route]] already; name all its upstreams in one `to`")
    });
}

fn routes(settings: &Settings, faults: &mut Collector) {
    let pools: Vec<&str> = settings.upstream.iter().map(|upstream| upstream.name.as_str()).collect();
    for route in &settings.route {
        for to in route.to.iter() {
            if to.as_str() == REFUSE {
                if route.to.len() > 1 {
                    faults
                        .push(to.place(), "`to` in [[route]]: \"refuse\" stands alone; remove the other items".into());
                }
            } else if !pools.contains(&to.as_str()) {
                let hint = meant(to, &pools);
                faults.push(to.place(), format!("`to` in [[route]]: no [[upstream]] has the name `{}`{hint}", **to));
            }
        }
    }
}

/// Upstream servers that are this server itself.
fn loops(settings: &Settings, faults: &mut Collector) {
    for server in settings.upstream.iter().flat_map(|upstream| upstream.servers.iter()) {
        if let Host::Address(address) = server.host
            && settings.listen.iter().any(|listen| reaches(address, *listen.address))
        {
            let message = format!("`servers` in [[upstream]]: {address} is where this server listens itself");
            faults.push(server.place(), message);
        }
    }
}

/// The same server with another weight.
fn servers_twice(settings: &Settings, faults: &mut Collector) {
    for upstream in &settings.upstream {
        for (index, server) in upstream.servers.iter().enumerate() {
            let same = |earlier: &UpstreamServer| {
                let is_it = (&earlier.host, earlier.protocol) == (&server.host, server.protocol);
                is_it && earlier.weight != server.weight
            };
            if upstream.servers[..index].iter().any(|earlier| same(earlier)) {
                let plain = UpstreamServer { weight: None, ..UpstreamServer::clone(server) };
                let message = format!("`servers` in [[upstream]]: `{plain}` stands in the list twice; remove one");
                faults.push(server.place(), message);
            }
        }
    }
}

/// Weights that nothing looks at.
fn weights(settings: &Settings, faults: &mut Collector) {
    for upstream in settings.upstream.iter().filter(|upstream| *upstream.strategy != Strategy::Balanced) {
        if let Some(server) = upstream.servers.iter().find(|server| server.weight.is_some()) {
            let message = "`servers` in [[upstream]]: a weight counts with `strategy = \"balanced\"` alone; remove it, or choose that";
            faults.push(server.place(), message.to_owned());
        }
    }
}

/// Whether what is sent to `server` arrives at a listener on `listen`, as far as the addresses tell.
pub(crate) fn reaches(server: SocketAddr, listen: SocketAddr) -> bool {
    server.port() == listen.port()
        && server.is_ipv4() == listen.is_ipv4()
        && (server.ip() == listen.ip() || (listen.ip().is_unspecified() && server.ip().is_loopback()))
}
