//! The addresses of upstream servers that have names: looked up when the server starts and whenever what was found runs
//! out, for as long as the process lives. Nothing waits for that: until a name has addresses its servers are not there.
//!
//! Names are asked of the servers of the configuration that have an IP address and belong to a pool of kind "resolver",
//! in the order of the file, and where there are none of the resolver of the system. What was found stays in
//! force until something else is found, however long nobody answers.
//!
//! Calling order: [`Names::want`] says which names; [`Names::change`] is waited for, again and again.

mod lookup;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ringdns_shard::upstream::{Kind, Server};
use ringdns_shard::wire::name::Name;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use self::lookup::{Found, Whom, look_up};
use crate::config::{Host, Settings};
use crate::images::Resolved;

/// Names that are looked up at once. The system's resolver holds a thread of the few that there are for each.
const LOOK_UPS_MAX: usize = 4;
/// Servers that are asked for one name, one after the other.
const SERVERS_MAX: usize = 8;

/// When names are looked up again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// What was found is taken to hold at least so long, …
    ttl_min: Duration,
    /// … and at most so long.
    ttl_max: Duration,
    /// After a failure.
    retry: Duration,
}

/// The pace of a server.
pub(crate) const PACE: Pace =
    Pace { ttl_min: Duration::from_secs(30), ttl_max: Duration::from_hours(1), retry: Duration::from_secs(5) };

/// How it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Names without any address: as of now.
    pub(crate) unresolved: u64,
    /// Look-ups, and those of them that failed for one address family or both.
    pub(crate) look_ups: u64,
    pub(crate) failures: u64,
}

/// The names of upstream servers, and what is known of them.
#[derive(Debug)]
pub(crate) struct Names {
    entries: BTreeMap<Name, Entry>,
    whom: Arc<Whom>,
    look_ups: JoinSet<(Name, Found)>,
    pace: Pace,
    figures: Figures,
}

#[derive(Debug)]
struct Entry {
    /// IPv4, then IPv6.
    addresses: [Vec<IpAddr>; 2],
    /// When it is looked up next; `None` while it is.
    due: Option<Instant>,
    /// Why the last look-up failed, as it was told.
    trouble: Option<String>,
}

impl Names {
    /// No names yet.
    pub(crate) fn new(pace: Pace) -> Names {
        Names {
            entries: BTreeMap::new(),
            whom: Arc::new(Whom::System),
            look_ups: JoinSet::new(),
            pace,
            figures: Figures::default(),
        }
    }

    /// Looks after the names of these settings from now on. What is known of those that stay is kept.
    pub(crate) fn want(&mut self, settings: &Settings) {
        let servers = settings.upstream.iter().flat_map(|upstream| upstream.servers.iter());
        let names: BTreeSet<&Name> = servers
            .filter_map(|server| match &server.host {
                Host::Name(name, _) => Some(name),
                Host::Address(_) => None,
            })
            .collect();
        self.entries.retain(|name, _| names.contains(name));
        let now = Instant::now();
        for name in names {
            let new = || Entry { addresses: [Vec::new(), Vec::new()], due: Some(now), trouble: None };
            self.entries.entry(name.clone()).or_insert_with(new);
        }
        self.whom = Arc::new(whom(settings));
    }

    /// How it goes.
    pub(crate) fn figures(&self) -> Figures {
        let unresolved = self.entries.values().filter(|entry| entry.addresses.iter().all(Vec::is_empty)).count();
        Figures { unresolved: unresolved as u64, ..self.figures }
    }

    /// Looks names up as they are due, until one has other addresses; all addresses there are. Nothing is lost when it
    /// is not waited for to the end. Must be called within a runtime.
    pub(crate) async fn change(&mut self) -> Resolved {
        loop {
            self.look_up_what_is_due();
            let next = self.next();
            tokio::select! {
                Some(done) = self.look_ups.join_next() => match done {
                    Ok((name, found)) => {
                        if self.take(&name, found) {
                            return self.resolved();
                        }
                    }
                    Err(error) => {
                        log::error!("looking up an upstream server met a bug in ringdns: {error}");
                        self.look_up_again();
                    }
                },
                () = until(next) => {}
            }
        }
    }

    fn look_up_what_is_due(&mut self) {
        let now = Instant::now();
        for (name, entry) in &mut self.entries {
            if self.look_ups.len() >= LOOK_UPS_MAX {
                return;
            }
            if entry.due.is_some_and(|due| due <= now) {
                entry.due = None;
                self.figures.look_ups += 1;
                let (name, whom) = (name.clone(), Arc::clone(&self.whom));
                self.look_ups.spawn(async move {
                    let found = look_up(&name, &whom).await;
                    (name, found)
                });
            }
        }
    }

    /// When the next look-up is due; `None` where an end of one must come first.
    fn next(&self) -> Option<Instant> {
        let may = self.look_ups.len() < LOOK_UPS_MAX;
        self.entries.values().filter_map(|entry| entry.due).min().filter(|_| may)
    }

    /// Which name a look-up that panicked was for is not known: each that waits for one is looked up again.
    fn look_up_again(&mut self) {
        self.figures.failures += 1;
        let due = Instant::now() + self.pace.retry;
        for entry in self.entries.values_mut() {
            entry.due.get_or_insert(due);
        }
    }

    /// Takes in what was found. Whether the name has other addresses now.
    fn take(&mut self, name: &Name, found: Found) -> bool {
        // It may not be wanted any more.
        let Some(entry) = self.entries.get_mut(name) else { return false };
        let (mut addresses, mut ttl, mut trouble) = (entry.addresses.clone(), Duration::MAX, None);
        for (known, found) in addresses.iter_mut().zip(found) {
            match found {
                Ok(answer) => {
                    if !answer.addresses.is_empty() {
                        ttl = ttl.min(answer.ttl);
                    }
                    *known = answer.addresses;
                }
                Err(why) => trouble = Some(why),
            }
        }
        if addresses.iter().all(Vec::is_empty) {
            trouble.get_or_insert_with(|| "it has no address".to_owned());
            addresses.clone_from(&entry.addresses);
        }
        let wait = if trouble.is_some() { self.pace.retry } else { ttl.clamp(self.pace.ttl_min, self.pace.ttl_max) };
        entry.due = Some(Instant::now() + wait);
        self.figures.failures += u64::from(trouble.is_some());
        let changed = entry.addresses != addresses;
        entry.addresses = addresses;
        entry.tell(name, trouble, changed);
        changed
    }

    fn resolved(&self) -> Resolved {
        self.entries.iter().map(|(name, entry)| (name.clone(), entry.addresses.concat())).collect()
    }
}

impl Entry {
    /// Says what is new.
    fn tell(&mut self, name: &Name, trouble: Option<String>, changed: bool) {
        let had = std::mem::replace(&mut self.trouble, trouble);
        let addresses = self.addresses.concat();
        match &self.trouble {
            Some(why) if had.as_ref() != Some(why) => {
                let meanwhile = if addresses.is_empty() { "is not asked" } else { "is asked where it was" };
                log::warn!("the upstream server {name} cannot be looked up, and {meanwhile}: {why}");
            }
            None if changed || had.is_some() => log::info!("the upstream server {name} is at {addresses:?}"),
            _ => {}
        }
    }
}

/// Who knows the addresses of upstream servers.
fn whom(settings: &Settings) -> Whom {
    let resolvers = settings.upstream.iter().filter(|upstream| *upstream.kind == Kind::Resolver);
    let servers = resolvers.flat_map(|upstream| upstream.servers.iter()).filter_map(|server| match server.host {
        Host::Address(address) => Some(Server { protocol: server.protocol, address }),
        Host::Name(..) => None,
    });
    let servers: Vec<Server> = servers.take(SERVERS_MAX).collect();
    if servers.is_empty() { Whom::System } else { Whom::Servers(servers) }
}

/// Waits until then; for ever where there is no time.
async fn until(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
