//! What is served, and how it is replaced: configuration and zones are read anew off the cores, and swapped in whole.
//! Knows nothing of sockets, signals or threads.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ringdns_shard::Images;
use ringdns_shard::wire::name::{HashKey, Name};

use crate::config::{Refused, Settings, Source, ZoneFile};
use crate::cores::Cores;
use crate::images::images;
use crate::layout::Layout;
use crate::load::{self, Served, ZoneFaults};

/// How long the cores may take to take new images.
const SWAP_LIMIT: Duration = Duration::from_secs(10);

/// Configuration and zones in force.
#[derive(Clone, Debug)]
pub struct Plane {
    source: Source,
    settings: Settings,
    /// In the order of the settings; `None` for a zone that could not be loaded when it came with a reload.
    zones: Vec<Option<Arc<Served>>>,
    layout: Layout,
    hash_key: HashKey,
    /// Sockets that each core opened towards upstreams when it started.
    udp_ports: u8,
}

/// What came of a reload.
#[derive(Debug)]
pub(crate) struct Reloaded {
    /// What is in force now.
    pub(crate) plane: Plane,
    /// Zones that could not be loaded; those that were served before still are, as they were.
    pub(crate) faults: Vec<ZoneFaults>,
    /// Keys whose new values wait for a restart.
    pub(crate) waiting: Vec<&'static str>,
    /// Zones read anew, and zones taken over unread.
    pub(crate) read: usize,
    pub(crate) unchanged: usize,
}

/// Why a reload changed nothing, or not everywhere.
#[derive(Debug)]
pub(crate) enum NotReloaded {
    Refused(Refused),
    /// New images were sent, and not every core took them in time.
    Cores(String),
}

impl fmt::Display for NotReloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotReloaded::Refused(refused) => {
                write!(f, "nothing is changed, for the configuration cannot be used:\n{refused}")
            }
            NotReloaded::Cores(why) => write!(f, "the cores did not all take what was loaded: {why}"),
        }
    }
}

impl Plane {
    /// Loads every zone of `settings`, for one core on each of `cpus`.
    ///
    /// # Errors
    /// The faults of every zone that could not be loaded.
    ///
    /// # Panics
    /// When the kernel gives no random octets.
    pub fn load(source: Source, settings: Settings, cpus: &[usize]) -> Result<Plane, Vec<ZoneFaults>> {
        let layout = Layout::new(cpus, *settings.server.replicas);
        let hash_key = HashKey::from_seed(random());
        let mut faults = Vec::new();
        let zones = load::zones(&wanted(&settings), hash_key, &layout, &HashMap::new());
        let zones = zones.into_iter().map(|zone| zone.map_err(|fault| faults.push(fault)).ok()).collect();
        let udp_ports = settings.udp_ports();
        if faults.is_empty() { Ok(Plane { source, settings, zones, layout, hash_key, udp_ports }) } else { Err(faults) }
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The zones that are served.
    pub fn zones(&self) -> impl Iterator<Item = &Served> {
        self.zones.iter().flatten().map(|zone| &**zone)
    }

    /// The names of zones that are configured and not served.
    pub fn missing(&self) -> impl Iterator<Item = &Name> {
        let missing = self.settings.zone.iter().zip(&self.zones).filter(|(_, served)| served.is_none());
        missing.map(|(zone, _)| &*zone.name)
    }

    /// What each core reads.
    pub fn images(&self) -> Vec<Arc<Images>> {
        images(&self.settings, &self.zones, &self.layout, self.hash_key, self.udp_ports)
    }

    /// Reads configuration and zones anew and hands them to the cores. What has mistakes leaves in place what was
    /// there: a configuration as a whole, a zone by itself.
    pub(crate) fn reload(&self, cores: &dyn Cores) -> Result<Reloaded, NotReloaded> {
        let mut settings = self.source.read().map_err(NotReloaded::Refused)?;
        let mut waiting = keep_until_restart(&self.settings, &mut settings);
        if settings.udp_ports() != self.udp_ports {
            waiting.push("`udp_ports` in [[upstream]]");
        }
        let kept: HashMap<Name, Arc<Served>> =
            self.zones.iter().flatten().map(|zone| (zone.name().clone(), Arc::clone(zone))).collect();
        let results = load::zones(&wanted(&settings), self.hash_key, &self.layout, &kept);
        let mut faults = Vec::new();
        let (mut read, mut unchanged) = (0, 0);
        let mut zones = Vec::with_capacity(results.len());
        for (zone, result) in settings.zone.iter().zip(results) {
            let before = kept.get(&*zone.name);
            zones.push(match result {
                Ok(served) => {
                    let same = before.is_some_and(|before| Arc::ptr_eq(before, &served));
                    *(if same { &mut unchanged } else { &mut read }) += 1;
                    Some(served)
                }
                Err(fault) => {
                    faults.push(fault);
                    before.map(Arc::clone)
                }
            });
        }
        let plane = Plane { settings, zones, ..self.clone() };
        cores.swap(plane.images(), SWAP_LIMIT).map_err(NotReloaded::Cores)?;
        Ok(Reloaded { plane, faults, waiting, read, unchanged })
    }
}

fn wanted(settings: &Settings) -> Vec<(&Name, &ZoneFile)> {
    settings.zone.iter().map(|zone| (&*zone.name, &*zone.file)).collect()
}

/// Octets that nobody can foresee.
///
/// # Panics
/// When the kernel gives none: a server that others can foresee must not run.
pub fn random<const N: usize>() -> [u8; N] {
    let mut octets = [0; N];
    getrandom::fill(&mut octets).expect("the kernel gives random octets");
    octets
}

/// Puts the values of `running` that are bound to sockets and threads into `new`, and names those that differ.
fn keep_until_restart(running: &Settings, new: &mut Settings) -> Vec<&'static str> {
    let mut waiting = Vec::new();
    macro_rules! keep {
        ($($table:ident.$key:ident as $title:literal),+) => {$(
            if running.$table.$key != new.$table.$key {
                waiting.push($title);
                new.$table.$key = running.$table.$key.clone();
            }
        )+};
    }
    keep!(
        server.cores as "`cores` in [server]",
        server.user as "`user` in [server]",
        server.replicas as "`replicas` in [server]",
        limits.tcp_clients as "`tcp_clients` in [limits]",
        control.listen as "`listen` in [control]"
    );
    if keep_listeners(running, new) {
        waiting.push("`address` and `protocols` in [[listen]]");
    }
    waiting
}

/// Listeners stay as they are, each with the `allow` that the new settings have for its address. Returns whether the
/// new settings want other ones.
fn keep_listeners(running: &Settings, new: &mut Settings) -> bool {
    let facts = |settings: &Settings| -> Vec<(SocketAddr, Vec<crate::config::Protocol>)> {
        settings.listen.iter().map(|l| (*l.address, l.protocols.iter().map(|p| **p).collect())).collect()
    };
    let differ = facts(running) != facts(new);
    let mut listen = running.listen.clone();
    for (index, kept) in listen.iter_mut().enumerate() {
        let of_address = |other: &&crate::config::At<crate::config::Listen>| *other.address == *kept.address;
        let nth = running.listen[..index].iter().filter(of_address).count();
        if let Some(now) = new.listen.iter().filter(of_address).nth(nth) {
            kept.allow = now.allow.clone();
        }
    }
    new.listen = listen;
    differ
}

#[cfg(test)]
mod tests;
