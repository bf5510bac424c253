//! The order of events in the life of all zones. See the parent module.
//!
//! Calling order: [`Life::happening`] waits for the next event, [`Life::on`] sees to it. A reload is begun by
//! [`Life::reload`] and ends with a [`Report`].

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringdns_shard::Time;
use ringdns_shard::wire::name::Name;
use ringdns_shard::zone::check;
use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::sleep_until;

use self::files::Look;
use super::exchange::{self, Ask, Outcome, PACE, Pace};
use super::keeping::{self, Keeping};
use super::notices::{Notices, Notified};
use super::notify;
use super::secondary::{Due, Intervals};
use super::slots::Slots;
use super::store::Gone;
use super::succession::Scene;
use super::telling::{Notice, Telling};
use super::wanted::Source;
use super::watch::Watch;
use super::watcher::Watcher;
use super::workers::Workers;
use crate::config::{Peer, Read, Refused};
use crate::cores::Cores;
use crate::images::Resolved;
use crate::load::Served;
use crate::orders::NotBegun;
use crate::plane::{Anew, NotReloaded, Plane, Reloaded, unix_seconds};

/// How long the cores may take to take new images.
const SWAP_LIMIT: Duration = Duration::from_secs(10);
/// From one swap to the next: what changes within it goes together.
const SWAP_EVERY: Duration = Duration::from_millis(20);
/// Primaries that are asked for their serial at once.
const REFRESHES_MAX: usize = 64;
/// … at one address, so that one that is silent holds up no others.
const REFRESHES_EACH_MAX: usize = 32;
/// Zones that are transferred at once.
const TRANSFERS_MAX: usize = 16;
/// … from one address, so that one that is slow holds up no others.
const TRANSFERS_EACH_MAX: usize = 8;
const _: () = assert!(REFRESHES_EACH_MAX < REFRESHES_MAX && TRANSFERS_EACH_MAX < TRANSFERS_MAX);
/// Threads that prepare zones.
const WORKERS: usize = 2;
/// Threads that look zones over for mistakes of their authors: nothing waits for them.
const CRITICS: usize = 1;

/// What has happened to zones since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Primaries found to have no newer version.
    pub(crate) refreshes_current: u64,
    /// Questions for a serial, and transfers, that failed.
    pub(crate) refreshes_failed: u64,
    /// Zones taken in as a whole.
    pub(crate) transfers_whole: u64,
    /// Zones taken in as differences.
    pub(crate) transfers_differences: u64,
    /// Transfers that were begun and changed nothing.
    pub(crate) transfers_failed: u64,
    /// Times that a zone expired.
    pub(crate) expired: u64,
    /// NOTIFYs heard, those that said nothing new, those that found the queue full.
    pub(crate) notices_in: u64,
    pub(crate) notices_in_idle: u64,
    pub(crate) notices_in_dropped: u64,
    /// NOTIFYs that were answered, and those that were given up.
    pub(crate) notices_out: u64,
    pub(crate) notices_out_failed: u64,
    /// Swaps of the cores' images.
    pub(crate) swaps: u64,
    /// Versions that are replaced and still held by a core, and notices that wait: as of now.
    pub(crate) retired: u64,
    pub(crate) notices_waiting: u64,
    /// Versions that could not be kept on disk.
    pub(crate) unwritten: u64,
}

/// What has begun with a zone that is to be read anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    /// Its primaries are being asked.
    Asking,
    /// It is being read.
    Reading,
}

/// How a reload went.
pub(crate) type Report = Result<Reloaded, NotReloaded>;

/// What a task has brought about.
#[derive(Debug)]
pub(crate) enum Done {
    /// The configuration has been read; it is none where it is what it was.
    Configured(Option<Result<Option<Box<Read>>, Refused>>),
    /// Zones have been read for a reload.
    Loaded(Option<Box<Anew>>),
    /// The cores have, or have not, taken images.
    Swapped(Result<(), String>),
    /// A primary has been asked.
    Asked { apex: Name, birth: u64, peer: Peer, outcome: Outcome },
    /// A server has been told.
    Told(Notice, Result<(), String>),
    /// Master files have been looked at: what is other than it is served.
    Looked(Option<Look>),
    /// A catalog has been made, or was as it should be.
    Made { apex: Name, birth: u64, made: Option<Result<Option<Arc<Served>>, String>> },
}

/// What there is to see to.
#[derive(Debug)]
pub(crate) enum Happening {
    Done(Done),
    Notified(Notified),
    /// A timer has come to its end.
    Due,
    /// It is time to give the cores what has changed.
    SwapDue,
    /// Something has happened to master files.
    Stirred,
    /// It is time to look at them.
    LookDue,
}

/// Images on their way to the cores.
#[derive(Debug, Default)]
struct Swap {
    /// Something has changed that no core has.
    is_due: bool,
    is_out: bool,
    not_before: Option<Instant>,
    /// Zones with another serial: in the next swap, and in the one that is out.
    changed: Vec<Name>,
    changed_out: Vec<Name>,
    /// The reload that the next swap puts in force, and the one that is out.
    reload: Option<Reloaded>,
    reload_out: Option<Reloaded>,
}

/// Everything that happens to zones.
pub(crate) struct Life {
    plane: Plane,
    cores: Arc<dyn Cores>,
    workers: Workers,
    critics: Workers,
    /// For what is short and waited for: a configuration is read, memory is freed.
    urgent: Workers,
    tasks: JoinSet<Done>,
    timers: BTreeSet<(Time, Name)>,
    /// The timer of each zone that has one.
    planned: HashMap<Name, Time>,
    notices: Notices,
    telling: Telling,
    refreshes: Slots,
    transfers: Slots,
    /// How fast transfers must be.
    pace: Pace,
    swap: Swap,
    figures: Figures,
    /// The cores have something else than when this was asked for last.
    has_news: bool,
    watch: Watch,
    watcher: Arc<Mutex<Watcher>>,
    stirs: mpsc::Receiver<()>,
    /// Why the kernel does not tell of all changes, as it was logged.
    blind: Option<String>,
    files_have_changed: bool,
    /// Catalogs that are being made, and those of them that have changed since.
    making: HashSet<Name>,
    make_again: HashSet<Name>,
}

impl Life {
    /// Goes on with what `plane` has loaded and `cores` serve. Must be called within the runtime.
    pub(crate) fn new(plane: Plane, cores: Arc<dyn Cores>, notices: Notices) -> std::io::Result<Life> {
        let (sender, stirs) = mpsc::channel(1);
        let mut life = Life {
            plane,
            workers: Workers::start(WORKERS, Arc::clone(&cores))?,
            critics: Workers::start(CRITICS, Arc::clone(&cores))?,
            urgent: Workers::start_urgent()?,
            cores,
            tasks: JoinSet::new(),
            timers: BTreeSet::new(),
            planned: HashMap::new(),
            notices,
            telling: Telling::default(),
            refreshes: Slots::new(REFRESHES_MAX, REFRESHES_EACH_MAX),
            transfers: Slots::new(TRANSFERS_MAX, TRANSFERS_EACH_MAX),
            pace: PACE,
            swap: Swap::default(),
            figures: Figures::default(),
            has_news: false,
            watch: Watch::default(),
            watcher: Arc::new(Mutex::new(Watcher::new(sender))),
            stirs,
            blind: None,
            files_have_changed: false,
            making: HashSet::new(),
            make_again: HashSet::new(),
        };
        life.watch_anew();
        life.plan_all();
        // What changed while this process did not run is unknown to those who are to be told.
        let names: Vec<Name> = life.plane.zones().map(|zone| zone.name().clone()).collect();
        life.tell(&names);
        life.criticise(&names);
        Ok(life)
    }

    /// What is in force, but for what the cores have not taken yet.
    pub(crate) fn plane(&self) -> &Plane {
        &self.plane
    }

    /// What has happened so far.
    pub(crate) fn figures(&self) -> Figures {
        Figures {
            notices_in_dropped: self.notices.dropped(),
            retired: self.plane.store.graveyard.len() as u64,
            notices_waiting: self.telling.waiting() as u64,
            unwritten: keeping::unwritten(),
            ..self.figures
        }
    }

    /// Waits for what happens next. Nothing is lost when it is not waited for to the end.
    pub(crate) async fn happening(&mut self) -> Happening {
        let timer = self.timers.first().map(|(time, _)| self.plane.instant(*time));
        let swap = (self.swap.is_due && !self.swap.is_out).then(|| self.swap.not_before.unwrap_or_else(Instant::now));
        let look = self.watch.next();
        loop {
            tokio::select! {
                Some(done) = self.tasks.join_next() => match done {
                    Ok(done) => return Happening::Done(done),
                    Err(error) => log::error!("a task of the control plane met a bug in ringdns: {error}"),
                },
                notified = self.notices.next() => return Happening::Notified(notified),
                () = until(timer) => return Happening::Due,
                () = until(swap) => return Happening::SwapDue,
                Some(()) = self.stirs.recv() => return Happening::Stirred,
                () = until(look) => return Happening::LookDue,
            }
        }
    }

    /// Sees to what has happened. Gives the end of a reload.
    pub(crate) fn on(&mut self, happening: Happening) -> Option<Report> {
        match happening {
            Happening::Notified(notified) => self.on_notified(&notified),
            Happening::Due => self.on_due(),
            Happening::SwapDue => self.send_swap(),
            Happening::Stirred => self.on_stirred(),
            Happening::LookDue => self.look(),
            Happening::Done(Done::Configured(read)) => return self.on_configured(read),
            Happening::Done(Done::Loaded(anew)) => return self.on_loaded(anew),
            Happening::Done(Done::Swapped(result)) => return self.on_swapped(result),
            Happening::Done(Done::Asked { apex, birth, peer, outcome }) => {
                self.on_asked(&apex, birth, &peer, outcome);
            }
            Happening::Done(Done::Looked(look)) => self.on_looked(look),
            Happening::Done(Done::Told(notice, result)) => self.on_told(&notice, result),
            Happening::Done(Done::Made { apex, birth, made }) => self.on_made(&apex, birth, made),
        }
        None
    }

    /// Whether the cores have been given something since this was asked for last.
    pub(crate) fn has_news(&mut self) -> bool {
        std::mem::take(&mut self.has_news)
    }

    /// Looks after what nothing else calls for, once a second or so.
    pub(crate) fn tick(&mut self) {
        let free = self.plane.store.graveyard.free();
        if !free.is_empty() {
            self.urgent.leave(move || drop(free));
        }
        let now = Instant::now();
        self.workers.hurry(now);
        self.critics.hurry(now);
    }

    /// Has the cores ask upstream servers that have names at these addresses.
    pub(crate) fn resolve(&mut self, resolved: Resolved) {
        self.plane.resolve(resolved);
        self.swap.is_due = true;
    }

    // --- reloads ---

    /// Begins to read configuration and zones anew; one reload at a time.
    pub(crate) fn reload(&mut self) {
        let (source, before, urgent) = (self.plane.source().clone(), self.plane.print(), self.urgent.clone());
        let read = move || match before {
            Some(before) => Ok(source.read_anew(&before)?.map(Box::new)),
            None => Ok(Some(Box::new(source.read()?))),
        };
        self.tasks.spawn(async move { Done::Configured(urgent.run(read).await) });
    }

    /// Begins to read one zone anew; to be called as [`Life::reload`] is, which gives the same report in the end. A copy is
    /// none that is read: its primaries are asked at once, and there is no report.
    pub(crate) fn reload_zone(&mut self, apex: &Name) -> Result<Begun, NotBegun> {
        let now = self.plane.now();
        let zone = self.plane.store.zone_mut(apex).ok_or(NotBegun::Unknown)?;
        if let Some(secondary) = zone.secondary_mut() {
            secondary.on_notify(now, None, None);
            self.look_after(apex, now);
            return Ok(Begun::Asking);
        }
        if zone.wanted().copy().is_some() {
            return Err(NotBegun::Impossible(
                "the catalog is made here, of the zones that it lists: reload one of them",
            ));
        }
        let (prepared, workers) = (self.plane.prepare_zone(apex), self.workers.clone());
        self.tasks.spawn(async move { Done::Loaded(workers.run(move || Box::new(prepared.load())).await) });
        Ok(Begun::Reading)
    }

    fn on_configured(&mut self, read: Option<Result<Option<Box<Read>>, Refused>>) -> Option<Report> {
        let read = match read {
            Some(Ok(read)) => read,
            Some(Err(refused)) => return Some(Err(NotReloaded::Refused(refused))),
            None => return Some(Err(NotReloaded::Bug)),
        };
        let (prepared, workers) = (self.plane.prepare(read.map(|read| *read)), self.workers.clone());
        self.tasks.spawn(async move { Done::Loaded(workers.run(move || Box::new(prepared.load())).await) });
        None
    }

    fn on_loaded(&mut self, anew: Option<Box<Anew>>) -> Option<Report> {
        let Some(anew) = anew else { return Some(Err(NotReloaded::Bug)) };
        let mut reloaded = self.plane.take(*anew);
        self.gone(std::mem::take(&mut reloaded.gone));
        self.criticise(&reloaded.changed);
        self.swap.changed.append(&mut reloaded.changed);
        self.swap.reload = Some(reloaded);
        self.settle();
        self.plan_all();
        self.make();
        self.watch_anew();
        self.swap.is_due = true;
        None
    }

    /// Has zones that were read from a file looked over, and says what their authors should know.
    fn criticise(&self, names: &[Name]) {
        let zones = names.iter().filter_map(|apex| self.plane.store.zone(apex));
        let of_files = zones.filter(|zone| matches!(zone.wanted().source, Source::File { .. }));
        let versions: Vec<Arc<Served>> = of_files.filter_map(|zone| zone.served().cloned()).collect();
        if !versions.is_empty() {
            let cores = Arc::clone(&self.cores);
            self.critics.leave(move || {
                versions.iter().for_each(|version| critique(version));
                drop(versions);
                cores.give_back();
            });
        }
    }

    // --- swaps ---

    fn send_swap(&mut self) {
        let (images, cores) = (self.plane.images(), Arc::clone(&self.cores));
        self.swap.is_due = false;
        self.swap.is_out = true;
        self.swap.changed_out = std::mem::take(&mut self.swap.changed);
        self.swap.reload_out = self.swap.reload.take();
        self.figures.swaps += 1;
        self.tasks.spawn(async move {
            let swapped = spawn_blocking(move || cores.swap(images, SWAP_LIMIT)).await;
            Done::Swapped(swapped.unwrap_or_else(|error| Err(error.to_string())))
        });
    }

    fn on_swapped(&mut self, result: Result<(), String>) -> Option<Report> {
        self.swap.is_out = false;
        self.swap.not_before = Some(Instant::now() + SWAP_EVERY);
        let changed = std::mem::take(&mut self.swap.changed_out);
        let reloaded = self.swap.reload_out.take();
        if let Err(why) = &result {
            log::error!("zones have changed, and not every core has taken it: {why}");
        }
        self.tell(&changed);
        self.keep(&changed);
        self.tick();
        self.has_news = true;
        let reloaded = reloaded?;
        let cores = Arc::clone(&self.cores);
        self.urgent.leave(move || cores.give_back());
        Some(result.map(|()| reloaded).map_err(NotReloaded::Cores))
    }

    /// Has written what was left for when the cores have these zones.
    fn keep(&self, changed: &[Name]) {
        let zones = changed.iter().filter_map(|apex| self.plane.store.zone(apex));
        let keepings: Vec<Arc<Mutex<Keeping>>> = zones.map(|zone| Arc::clone(zone.keeping())).collect();
        if !keepings.is_empty() {
            self.workers.leave(move || keepings.iter().for_each(Keeping::write_what_is_left));
        }
    }

    /// What is kept of every zone: the process ends, and something may be left to be written.
    pub(crate) fn keepings(&self) -> Vec<Arc<Mutex<Keeping>>> {
        self.plane.store.zones().iter().map(|zone| Arc::clone(zone.keeping())).collect()
    }

    // --- secondaries ---

    /// Sets every zone's timer.
    fn plan_all(&mut self) {
        let names: Vec<Name> = self
            .plane
            .store
            .zones()
            .iter()
            .filter(|zone| zone.secondary().is_some())
            .map(|zone| zone.wanted().apex.clone())
            .collect();
        names.iter().for_each(|name| self.plan(name));
    }

    /// Sets a zone's timer to what the zone waits for next.
    fn plan(&mut self, apex: &Name) {
        let next = self.plane.store.zone(apex).and_then(|zone| zone.secondary()?.next());
        let before = match next {
            Some(next) => self.planned.insert(apex.clone(), next),
            None => self.planned.remove(apex),
        };
        if before != next {
            if let Some(before) = before {
                self.timers.remove(&(before, apex.clone()));
            }
            self.timers.extend(next.map(|next| (next, apex.clone())));
        }
    }

    fn on_due(&mut self) {
        let now = self.plane.now();
        while let Some((_, apex)) = self.timers.first().filter(|(time, _)| *time <= now).cloned() {
            self.look_after(&apex, now);
        }
    }

    /// Does what is due for a zone, and sets its timer.
    fn look_after(&mut self, apex: &Name, now: Time) {
        while let Some(due) = self.plane.store.zone_mut(apex).and_then(|zone| zone.secondary_mut()?.due(now)) {
            match due {
                Due::Ask { primary } => self.ask(apex, primary),
                Due::Expire => {
                    log::error!(
                        "the zone {apex} has expired: no primary could be asked for too long; its names get SERVFAIL"
                    );
                    self.figures.expired += 1;
                    self.swap.is_due = true;
                }
            }
        }
        self.plan(apex);
    }

    fn ask(&mut self, apex: &Name, primary: usize) {
        let Some(zone) = self.plane.store.zone(apex) else { return };
        let peer = zone.wanted().primaries()[primary].clone();
        let scene = Scene {
            keeping: Arc::clone(zone.keeping()),
            before: zone.served().cloned(),
            layout: self.plane.layout().clone(),
        };
        let ask = Ask {
            apex: apex.clone(),
            primary: peer.address,
            key: peer.key.as_ref().and_then(|key| self.plane.keys().find(key)).cloned(),
            scene,
            hash_key: self.plane.hash_key(),
            octets_max: *self.plane.settings().limits.transfer,
            workers: self.workers.clone(),
            urgent: self.urgent.clone(),
            refreshes: self.refreshes.of(peer.address.ip()),
            transfers: self.transfers.of(peer.address.ip()),
            pace: self.pace,
        };
        let (apex, birth) = (apex.clone(), zone.birth());
        self.tasks.spawn(async move {
            // On a task of its own, so that a bug in it is a failure of this zone and no more.
            let outcome = tokio::spawn(exchange::refresh(ask)).await;
            let outcome = outcome.unwrap_or_else(|_| Outcome::bug());
            Done::Asked { apex, birth, peer, outcome }
        });
    }

    fn on_asked(&mut self, apex: &Name, birth: u64, peer: &Peer, outcome: Outcome) {
        let now = self.plane.now();
        // The zone may have gone, and another come.
        let Some(zone) = self.plane.store.zone_mut(apex).filter(|zone| zone.birth() == birth) else { return };
        match outcome {
            Outcome::Current => {
                self.figures.refreshes_current += 1;
                zone.troubles.clear();
                zone.is_tried = true;
                if zone.secondary_mut().is_some_and(|secondary| secondary.on_current(now)) {
                    log::info!("the zone {apex} is current again: {} has the same serial", peer.address);
                    self.swap.is_due = true;
                }
            }
            Outcome::Transferred { served, differences } => {
                let image = served.image();
                let (serial, records) = (image.serial(), image.records());
                *(if differences {
                    &mut self.figures.transfers_differences
                } else {
                    &mut self.figures.transfers_whole
                }) += 1;
                let way = if differences { "IXFR" } else { "AXFR" };
                log::info!(
                    "the zone {apex} is transferred from {}: {way}, serial {serial}, {records} records",
                    peer.address
                );
                zone.troubles.clear();
                zone.is_tried = true;
                if let Some(secondary) = zone.secondary_mut() {
                    secondary.on_transferred(now, serial, Intervals::of_soa(image.soa().first()));
                }
                self.on_version(apex, served);
            }
            Outcome::Failed { why, in_transfer } => {
                self.figures.refreshes_failed += 1;
                self.figures.transfers_failed += u64::from(in_transfer);
                let before = zone.troubles.iter().position(|(with, _)| *with == peer.address);
                if before.is_none_or(|at| zone.troubles[at].1 != why) {
                    log::warn!("the zone {apex} cannot be had from {}: {why}", peer.address);
                }
                match before {
                    Some(at) => zone.troubles[at].1 = why,
                    None => zone.troubles.push((peer.address, why)),
                }
                if let Some(secondary) = zone.secondary_mut() {
                    secondary.on_failure(now);
                    zone.is_tried |= !zone.secondary().is_some_and(super::secondary::Secondary::is_asking);
                }
            }
        }
        self.look_after(apex, now);
    }

    fn on_notified(&mut self, notified: &Notified) {
        self.figures.notices_in += 1;
        let now = self.plane.now();
        let Some(zone) = self.plane.store.zone_mut(&notified.apex) else { return };
        let from = zone.wanted().primary_at(notified.peer);
        if !zone.secondary_mut().is_some_and(|secondary| secondary.on_notify(now, notified.serial, from)) {
            self.figures.notices_in_idle += 1;
            return;
        }
        self.look_after(&notified.apex, now);
    }

    /// Serves a new version of a zone, and does what follows from it.
    fn on_version(&mut self, apex: &Name, served: Arc<Served>) {
        if self.plane.store.serve(apex, served) {
            self.swap.changed.push(apex.clone());
        }
        self.swap.is_due = true;
        if self.plane.store.zone(apex).is_some_and(|zone| zone.wanted().is_catalog) {
            self.settle();
        }
    }

    // --- catalogs ---

    /// Adds and removes members as catalogs say.
    fn settle(&mut self) {
        let (added, gone) = self.plane.settle_members();
        if added.is_empty() && gone.is_empty() {
            return;
        }
        self.swap.is_due = true;
        self.gone(gone);
        added.iter().for_each(|apex| self.plan(apex));
        self.make();
    }

    fn gone(&mut self, gone: Vec<Gone>) {
        for gone in gone {
            self.plan(&gone.apex);
            if gone.is_member {
                Keeping::leave(&gone.keeping, &self.urgent, &self.workers, Keeping::forget);
            }
        }
    }

    /// Makes the catalogs that are made here, where they are not as they should be.
    fn make(&mut self) {
        for making in self.plane.makings() {
            let apex = making.apex().clone();
            if !self.making.insert(apex.clone()) {
                self.make_again.insert(apex);
                continue;
            }
            let birth = self.plane.store.zone(&apex).map_or(0, super::store::Zone::birth);
            let workers = self.workers.clone();
            self.tasks.spawn(async move {
                let made = workers.run(move || making.make()).await;
                Done::Made { apex, birth, made }
            });
        }
    }

    fn on_made(&mut self, apex: &Name, birth: u64, made: Option<Result<Option<Arc<Served>>, String>>) {
        self.making.remove(apex);
        match made {
            Some(Ok(Some(served))) if self.plane.store.zone(apex).is_some_and(|zone| zone.birth() == birth) => {
                log::info!("the catalog {apex} is made: serial {}", served.image().serial());
                self.on_version(apex, served);
            }
            Some(Ok(_)) => {}
            Some(Err(why)) => log::error!("{why}"),
            None => log::error!("the catalog {apex} is not made, for that met a bug in ringdns"),
        }
        if self.make_again.remove(apex) {
            self.make();
        }
    }

    // --- notices to others ---

    /// Tells those who are to be told that these zones have changed.
    fn tell(&mut self, changed: &[Name]) {
        for apex in changed {
            let Some(zone) = self.plane.store.zone(apex) else { continue };
            self.telling.tell(apex, &zone.wanted().notify);
        }
        self.send_notices();
    }

    fn send_notices(&mut self) {
        while let Some(notice) = self.telling.next() {
            let zone = self.plane.store.zone(&notice.zone).filter(|zone| !zone.is_expired());
            let Some(served) = zone.and_then(|zone| zone.served()).cloned() else {
                self.telling.done(&notice);
                continue;
            };
            let key = notice.peer.key.as_ref().and_then(|key| self.plane.keys().find(key)).cloned();
            self.tasks.spawn(async move {
                let told = tokio::spawn(notify::tell(notice.clone(), key, served)).await;
                Done::Told(notice, told.unwrap_or_else(|_| Err("it met a bug in ringdns".to_owned())))
            });
        }
    }

    fn on_told(&mut self, notice: &Notice, result: Result<(), String>) {
        match result {
            Ok(()) => self.figures.notices_out += 1,
            Err(why) => {
                self.figures.notices_out_failed += 1;
                log::warn!("{} is not told that the zone {} has changed: {why}", notice.peer.address, notice.zone);
            }
        }
        self.telling.done(notice);
        self.send_notices();
    }
}

/// One line for all errors of a zone.
fn critique(served: &Served) {
    let now = u32::try_from(unix_seconds()).ok();
    let findings = check::check(served.image(), now);
    if let Some(first) = findings.iter().find(|finding| finding.severity == check::Severity::Error) {
        let errors = findings.errors();
        log::warn!(
            "the zone {} is served and has {errors} mistakes, which `ringdns check` shows; the first: {}: {}",
            served.name(),
            first.owner,
            first.text
        );
    }
}

/// Waits until then; for ever where there is no time.
async fn until(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when.into()).await,
        None => std::future::pending().await,
    }
}

mod files;
#[cfg(test)]
mod primary;
#[cfg(test)]
mod tests;
