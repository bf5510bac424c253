//! What is in force: settings, zones, and what the cores get of them. Files are read and zones laid out elsewhere, and
//! put in force here. Knows nothing of sockets, signals or threads.

use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ringdns_shard::tsig::Keys;
use ringdns_shard::wire::name::{HashKey, Name};
use ringdns_shard::{Images, Time};

use crate::catalog::{Refused, Step};
use crate::config::{self, Print, Read, Settings, Source};
use crate::configuration::Configuration;
use crate::dump::Dump;
use crate::images::{Frame, Resolved};
use crate::layout::Layout;
use crate::load::{self, Job, Loaded, Manner, Served, ZoneFaults};
use crate::zones::{self, Folder, Gone, Listing, Owners, Place, Store, Wanted};

/// Members listed in vain that are named at once; of the others the number is.
const REFUSED_SHOWN_MAX: usize = 20;

/// Configuration and zones in force.
#[derive(Debug)]
pub struct Plane {
    source: Source,
    settings: Arc<Configuration>,
    /// What the settings were read from, where that is known.
    print: Option<Arc<Print>>,
    /// Keys of what was read whose values wait for a restart.
    waiting: Vec<&'static str>,
    layout: Layout,
    hash_key: HashKey,
    /// What cookies of clients are made with where the settings have no secret.
    cookie_secret: [u8; 16],
    /// Sockets that each core opened towards upstreams when it started.
    udp_ports: u8,
    /// The state folder, where something is kept in it.
    folder: Option<Folder>,
    /// The addresses of upstream servers that have names.
    resolved: Resolved,
    pub(crate) store: Store,
    frame: Frame,
    started: Instant,
    /// What catalogs list in vain, as it was logged.
    refused: HashSet<Refused>,
    owners: Option<Owners>,
}

/// What a reload wants, before zones are read.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// `None`: the configuration is what it was.
    configured: Option<Configured>,
    jobs: Vec<Job>,
    layout: Layout,
    hash_key: HashKey,
}

/// A configuration that is to be in force.
#[derive(Debug)]
struct Configured {
    read: Read,
    waiting: Vec<&'static str>,
    wanted: Vec<Arc<Wanted>>,
}

/// What a reload brings, once zones are read.
#[derive(Debug)]
pub(crate) struct Anew {
    prepared: Prepared,
    loaded: Vec<Result<Loaded, ZoneFaults>>,
}

/// What came of a reload.
#[derive(Debug, Default)]
pub(crate) struct Reloaded {
    /// Zones that could not be loaded; those that were served before still are, as they were.
    pub(crate) faults: Vec<ZoneFaults>,
    /// Keys whose new values wait for a restart.
    pub(crate) waiting: Vec<&'static str>,
    /// Zones read anew, and zones taken over unread.
    pub(crate) read: usize,
    pub(crate) unchanged: usize,
    /// Zones with another serial than before.
    pub(crate) changed: Vec<Name>,
    pub(crate) gone: Vec<Gone>,
}

/// Why nothing can be served.
#[derive(Debug)]
pub enum NotLoaded {
    /// The state folder cannot be used; why.
    Folder(String),
    /// Zones that could not be loaded.
    Zones(Vec<ZoneFaults>),
}

/// Why a reload changed nothing, or not everywhere.
#[derive(Debug)]
pub(crate) enum NotReloaded {
    Refused(config::Refused),
    /// New images were sent, and not every core took them in time.
    Cores(String),
    /// What was read made the control plane panic.
    Bug,
}

impl fmt::Display for NotReloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotReloaded::Refused(refused) => {
                write!(f, "nothing is changed, for the configuration cannot be used:\n{refused}")
            }
            NotReloaded::Bug => f.write_str("nothing is changed, for the reload met a bug in ringdns"),
            NotReloaded::Cores(why) => write!(f, "the cores did not all take what was loaded: {why}"),
        }
    }
}

impl Plane {
    /// Loads every zone of `settings`, for one core on each of `cpus`: master files, and the copies of zones that come from
    /// other servers, where there are some. Writes nothing.
    ///
    /// # Errors
    /// The faults of every zone that could not be loaded.
    ///
    /// # Panics
    /// When the kernel gives no random octets.
    pub fn load(source: Source, settings: Settings, cpus: &[usize]) -> Result<Plane, Vec<ZoneFaults>> {
        Plane::build(source, settings, None, cpus, None)
    }

    /// The same to serve it: the state folder is made where it is needed, held, and written.
    ///
    /// # Errors
    /// What the folder's trouble is, or the faults of every zone that could not be loaded.
    ///
    /// # Panics
    /// When the kernel gives no random octets.
    pub fn open(source: Source, read: Read, cpus: &[usize]) -> Result<Plane, NotLoaded> {
        let Read { settings, print } = read;
        let needs_folder = Wanted::of_settings(&settings).iter().any(|wanted| wanted.keeps_state());
        let folder = needs_folder.then(|| Folder::open(&settings.server.state)).transpose();
        let mut folder = folder.map_err(NotLoaded::Folder)?;
        if folder.is_none() && keeps_cache(&settings) {
            folder = folder_of_cache(&settings);
        }
        Plane::build(source, settings, Some(print), cpus, folder).map_err(NotLoaded::Zones)
    }

    fn build(
        source: Source,
        settings: Settings,
        print: Option<Print>,
        cpus: &[usize],
        folder: Option<Folder>,
    ) -> Result<Plane, Vec<ZoneFaults>> {
        let layout = Layout::new(cpus, *settings.server.replicas);
        let hash_key = HashKey::from_seed(random());
        let udp_ports = settings.udp_ports();
        let cookie_secret = random();
        let resolved = Resolved::new();
        let frame = Frame::new(&settings, &[], &layout, hash_key, cookie_secret, udp_ports, &resolved);
        let store = Store::new(u64::from_le_bytes(random()));
        let started = Instant::now();
        let refused = HashSet::new();
        let mut plane = Plane {
            source,
            settings: Arc::new(Configuration::new(settings)),
            print: print.map(Arc::new),
            waiting: Vec::new(),
            layout,
            hash_key,
            cookie_secret,
            udp_ports,
            folder,
            resolved,
            store,
            frame,
            started,
            refused,
            owners: None,
        };
        let wanted = Wanted::of_settings(&plane.settings);
        let faults = plane.begin(wanted);
        if !faults.is_empty() {
            return Err(faults);
        }
        // The catalogs are as they were when this server stopped: so are their members.
        let owners = plane.folder.is_some().then(|| Owners::open(&plane.settings.server.state));
        plane.store.set_members(owners.as_ref().map(Owners::members).unwrap_or_default());
        plane.owners = owners;
        let planned = plane.store.plan_members(&plane.settings);
        plane.complain(planned.refused);
        let wanted = plane.store.wanted_with(&plane.settings, &planned.members);
        plane.store.set_members(planned.members);
        if wanted.len() > plane.store.zones().len() {
            plane.begin(wanted);
        }
        plane.make_catalogs();
        plane.relay();
        Ok(plane)
    }

    /// Loads what of `wanted` is not here yet.
    fn begin(&mut self, wanted: Vec<Arc<Wanted>>) -> Vec<ZoneFaults> {
        let anew = HashSet::new();
        let place = Place { state: &self.settings.server.state, writes: self.folder.is_some(), anew: &anew };
        let jobs = self.store.jobs(&wanted, place, false);
        let listing = Listing::of(&self.settings.server.state);
        let manner =
            Manner { key: self.hash_key, layout: &self.layout, in_background: false, listing: listing.as_ref() };
        let loaded = load::zones(&jobs, manner);
        let now = Time::ZERO + self.started.elapsed();
        self.store.want(wanted, &jobs, place, now);
        let mut faults = Vec::new();
        for (job, loaded) in jobs.iter().zip(loaded) {
            match loaded {
                Ok(loaded) => drop(self.store.take(&job.wanted.apex, loaded, now)),
                Err(fault) => faults.push(fault),
            }
        }
        faults
    }

    /// Makes the catalogs that are made here, before the cores run.
    fn make_catalogs(&mut self) {
        for making in self.makings() {
            let apex = making.apex().clone();
            match making.make() {
                Ok(Some(served)) => drop(self.store.serve(&apex, served)),
                Ok(None) => {}
                Err(why) => log::error!("{why}"),
            }
        }
    }

    /// What is to be made of the catalogs that are made here.
    pub(crate) fn makings(&self) -> Vec<zones::Making> {
        let making = |zone: &zones::Zone| zones::Making {
            zone: zones::Scene {
                keeping: Arc::clone(zone.keeping()),
                before: zone.served().cloned(),
                layout: self.layout.clone(),
            },
            apex: zone.wanted().apex.clone(),
            listed: self.store.listed_in(&zone.wanted().apex),
            key: self.hash_key,
            unix_seconds: unix_seconds(),
        };
        self.store.made_here().map(making).collect()
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The same, for those who make a text of them.
    pub(crate) fn configuration(&self) -> Arc<Configuration> {
        Arc::clone(&self.settings)
    }

    /// The zones of which there are records.
    pub fn zones(&self) -> impl Iterator<Item = &Served> {
        self.store.zones().iter().filter_map(|zone| zone.served()).map(|served| &**served)
    }

    /// The names of zones that are configured and could not be loaded.
    pub fn missing(&self) -> impl Iterator<Item = &Name> {
        self.store.missing()
    }

    /// What each core reads.
    pub fn images(&self) -> Vec<Arc<Images>> {
        self.frame.images(self.store.zones(), &self.layout)
    }

    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn hash_key(&self) -> HashKey {
        self.hash_key
    }

    pub(crate) fn keys(&self) -> &Arc<Keys> {
        self.frame.keys()
    }

    /// Now, for the timers of zones.
    pub(crate) fn now(&self) -> Time {
        Time::ZERO + self.started.elapsed()
    }

    /// The moment of a timer.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        self.started + (time - Time::ZERO)
    }

    /// What the settings in force were read from, where that is known.
    pub(crate) fn print(&self) -> Option<Arc<Print>> {
        self.print.clone()
    }

    /// Where the cache is kept over a restart, where it is.
    pub(crate) fn dump(&self) -> Option<Dump> {
        let keeps = self.folder.is_some() && keeps_cache(&self.settings);
        keeps.then(|| Dump::new(&self.settings.server.state, &self.settings, self.layout.cores()))
    }

    /// Upstream servers that have names have these addresses from now on.
    pub(crate) fn resolve(&mut self, resolved: Resolved) {
        self.resolved = resolved;
        self.frame.resolve(&self.settings, &self.resolved);
    }

    /// What a configuration wants, or the one in force where `read` is none; zones are to be read by [`Prepared::load`],
    /// anywhere. Takes hold of the state folder where it is needed for the first time.
    pub(crate) fn prepare(&mut self, read: Option<Read>) -> Prepared {
        let Some(Read { mut settings, print }) = read else {
            let jobs = self.store.jobs_again();
            return Prepared { configured: None, jobs, layout: self.layout.clone(), hash_key: self.hash_key };
        };
        let mut waiting = keep_until_restart(&self.settings, &mut settings);
        if settings.udp_ports() != self.udp_ports {
            waiting.push("`udp_ports` in [[upstream]]");
        }
        let wanted = Wanted::of_settings(&settings);
        if self.folder.is_none() && wanted.iter().any(|wanted| wanted.keeps_state()) {
            match Folder::open(&settings.server.state) {
                Ok(folder) => {
                    self.folder = Some(folder);
                    self.owners = Some(Owners::open(&settings.server.state));
                }
                // As long as it is so, each reload reads the configuration and tries again.
                Err(why) => log::error!("zones are served from memory alone: {why}"),
            }
        }
        if self.folder.is_none() && keeps_cache(&settings) {
            self.folder = folder_of_cache(&settings);
            self.owners = self.folder.is_some().then(|| Owners::open(&settings.server.state));
        }
        let anew = HashSet::new();
        let place = Place { state: &settings.server.state, writes: self.folder.is_some(), anew: &anew };
        let jobs = self.store.jobs(&wanted, place, true);
        let configured = Configured { read: Read { settings, print }, waiting, wanted };
        Prepared { configured: Some(configured), jobs, layout: self.layout.clone(), hash_key: self.hash_key }
    }

    /// The same for one zone of a master file.
    pub(crate) fn prepare_zone(&self, apex: &Name) -> Prepared {
        let jobs = self.store.job_again(apex).into_iter().collect();
        Prepared { configured: None, jobs, layout: self.layout.clone(), hash_key: self.hash_key }
    }

    /// Puts a reload in force, but for the cores. What has mistakes leaves in place what was there.
    pub(crate) fn take(&mut self, anew: Anew) -> Reloaded {
        let Anew { prepared: Prepared { configured, jobs, .. }, loaded } = anew;
        let mut reloaded = Reloaded::default();
        let is_other = configured.is_some();
        if let Some(configured) = configured {
            reloaded.gone = self.configure(configured, &jobs);
        }
        reloaded.waiting.clone_from(&self.waiting);
        let now = self.now();
        for (job, loaded) in jobs.iter().zip(loaded) {
            let apex = &job.wanted.apex;
            match loaded {
                Err(fault) => reloaded.faults.push(fault),
                Ok(Loaded::Unchanged) => reloaded.unchanged += 1,
                Ok(loaded) => {
                    reloaded.read += usize::from(matches!(loaded, Loaded::Fresh(..)));
                    if self.store.take(apex, loaded, now) {
                        reloaded.changed.push(apex.clone());
                    }
                }
            }
        }
        if is_other {
            self.relay();
        }
        reloaded
    }

    /// Wants what a configuration says. Returns the zones that are gone.
    fn configure(&mut self, configured: Configured, jobs: &[Job]) -> Vec<Gone> {
        let Configured { read: Read { settings, print }, waiting, mut wanted } = configured;
        self.settings = Arc::new(Configuration::new(settings));
        self.waiting = waiting;
        let is_whole = self.folder.is_some() || !wanted.iter().any(|wanted| wanted.keeps_state());
        self.print = is_whole.then(|| Arc::new(print));
        wanted.extend(Wanted::of_members(&self.settings, self.store.members()));
        // A member that is in the configuration file now is there once: as that says.
        let mut names = HashSet::new();
        wanted.retain(|wanted| names.insert(wanted.apex.clone()));
        let anew = HashSet::new();
        let place = Place { state: &self.settings.server.state, writes: self.folder.is_some(), anew: &anew };
        let now = Time::ZERO + self.started.elapsed();
        self.store.want(wanted, jobs, place, now)
    }

    /// Adds and removes members as the catalogs that are here say. Returns the new ones, and the zones that are gone.
    pub(crate) fn settle_members(&mut self) -> (Vec<Name>, Vec<Gone>) {
        let planned = self.store.plan_members(&self.settings);
        self.complain(planned.refused);
        if planned.changes.is_empty() {
            return (Vec::new(), Vec::new());
        }
        let anew = zones::begins_anew(&planned.changes);
        let wanted = self.store.wanted_with(&self.settings, &planned.members);
        let place = Place { state: &self.settings.server.state, writes: self.folder.is_some(), anew: &anew };
        let jobs = self.store.jobs(&wanted, place, false);
        let now = Time::ZERO + self.started.elapsed();
        self.store.set_members(planned.members);
        let gone = self.store.want(wanted, &jobs, place, now);
        self.relay();
        log_steps(&planned.changes);
        let unserved = self.store.members().keys().filter(|member| self.store.zone(member).is_none()).count();
        if unserved > 0 {
            log::warn!("{unserved} members of catalogs are not served, for no [[template]] is for them");
        }
        (jobs.into_iter().map(|job| job.wanted.apex.clone()).collect(), gone)
    }

    /// Says what catalogs list in vain, where it was not said before, and notes whose it is.
    fn complain(&mut self, refused: Vec<Refused>) {
        let news: Vec<&Refused> = refused.iter().filter(|refused| !self.refused.contains(refused)).collect();
        news.iter().take(REFUSED_SHOWN_MAX).for_each(|refused| log::warn!("{refused}"));
        if let Some(more @ 1..) = news.len().checked_sub(REFUSED_SHOWN_MAX) {
            log::warn!("and {more} more members of catalogs belong to others");
        }
        self.refused = refused.into_iter().collect();
        if let Some(owners) = &mut self.owners {
            owners.note(self.refused.iter());
        }
    }

    /// Makes anew what the images have besides records.
    fn relay(&mut self) {
        let Plane { settings, store, layout, hash_key, cookie_secret, udp_ports, resolved, .. } = self;
        self.frame = Frame::new(settings, store.zones(), layout, *hash_key, *cookie_secret, *udp_ports, resolved);
    }
}

impl Prepared {
    /// Reads what is to be read; blocks.
    pub(crate) fn load(self) -> Anew {
        let manner = Manner { key: self.hash_key, layout: &self.layout, in_background: true, listing: None };
        let loaded = load::zones(&self.jobs, manner);
        Anew { prepared: self, loaded }
    }
}

/// Whether there is a cache, and it is to outlive a restart.
fn keeps_cache(settings: &Settings) -> bool {
    *settings.cache.persist && settings.route.iter().any(|route| !route.refuses())
}

/// The state folder where nothing but the cache is kept in it: a server does without rather than not at all.
fn folder_of_cache(settings: &Settings) -> Option<Folder> {
    Folder::open(&settings.server.state)
        .inspect_err(|why| log::warn!("the cache will not outlive a restart (`persist` in [cache]): {why}"))
        .ok()
}

/// A line for each kind of change, and the names as far as they are few.
fn log_steps(steps: &[(Name, Step)]) {
    const NAMED_MAX: usize = 5;
    for (kind, words) in [
        (Step::Added, "added"),
        (Step::Removed, "removed"),
        (Step::Reset, "begun anew"),
        (Step::Regrouped, "regrouped"),
    ] {
        let names: Vec<String> =
            steps.iter().filter(|(_, step)| *step == kind).map(|(name, _)| name.to_string()).collect();
        if !names.is_empty() {
            let more = if names.len() > NAMED_MAX { ", …" } else { "" };
            log::info!(
                "members of catalogs {words}: {} ({}{more})",
                names.len(),
                names[..names.len().min(NAMED_MAX)].join(", ")
            );
        }
    }
}

/// The wall clock, for serials and signatures.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
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
        server.spin as "`spin` in [server]",
        server.state as "`state` in [server]",
        server.sandbox as "`sandbox` in [server]"
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
