//! The zones of this server, each with what is wanted of it, the version that is served, and what is on disk.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};

use ringdns_shard::Time;
use ringdns_shard::images::{self, ZoneAbout};
use ringdns_shard::wire::name::Name;
use ringdns_shard::zone::journal::Journal;

use super::graveyard::{Graveyard, Retired};
use super::keeping::Keeping;
use super::secondary::{Intervals, Random, Secondary};
use super::wanted::{Source, Wanted};
use crate::catalog::{self, Members, Owner, Plan, Step};
use crate::config::Settings;
use crate::layout::Layout;
use crate::load::{Job, Loaded, Served};

/// A zone.
#[derive(Debug)]
pub(crate) struct Zone {
    wanted: Arc<Wanted>,
    /// Its name for people.
    title: Arc<str>,
    /// The version that there is; one that has expired is kept until another comes.
    served: Option<Arc<Served>>,
    about: Arc<ZoneAbout>,
    keeping: Arc<Mutex<Keeping>>,
    /// Where it is transferred: when. In a box, since most zones of a primary's thousands have none.
    secondary: Option<Box<Secondary>>,
    /// Tells the zone from one of the same name that was here before.
    birth: u64,
    /// Why the last attempt with each primary failed, so that it is said once. Empty once one has succeeded.
    pub(super) troubles: Vec<(SocketAddr, String)>,
    /// Where it is transferred: a first round has come to its end, one way or the other.
    pub(super) is_tried: bool,
}

impl Zone {
    fn new(wanted: Arc<Wanted>, keeping: Arc<Mutex<Keeping>>, now: Time, birth: u64, seed: u64) -> Zone {
        let primaries = wanted.primaries().len();
        Zone {
            title: wanted.apex.to_string().into(),
            about: Arc::new(about(&wanted, &Journal::default())),
            served: None,
            keeping,
            secondary: (primaries > 0).then(|| Box::new(Secondary::new(now, primaries, seed))),
            wanted,
            birth,
            troubles: Vec::new(),
            is_tried: false,
        }
    }

    /// What loading it again takes.
    fn job(&self) -> Job {
        Job { wanted: Arc::clone(&self.wanted), kept: self.served.clone(), keeping: Arc::clone(&self.keeping) }
    }

    /// What is wanted of it.
    pub(crate) fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    pub(crate) fn title(&self) -> &Arc<str> {
        &self.title
    }

    /// The version that there is, expired or not.
    pub(crate) fn served(&self) -> Option<&Arc<Served>> {
        self.served.as_ref()
    }

    pub(crate) fn keeping(&self) -> &Arc<Mutex<Keeping>> {
        &self.keeping
    }

    pub(crate) fn secondary(&self) -> Option<&Secondary> {
        self.secondary.as_deref()
    }

    pub(super) fn secondary_mut(&mut self) -> Option<&mut Secondary> {
        self.secondary.as_deref_mut()
    }

    pub(super) fn birth(&self) -> u64 {
        self.birth
    }

    /// Whether its master file never could be read.
    pub(crate) fn is_missing(&self) -> bool {
        self.served.is_none() && matches!(self.wanted.source, Source::File { .. })
    }

    /// Whether its records are not to be served, for nobody knows whether they still hold.
    pub(crate) fn is_expired(&self) -> bool {
        self.secondary.as_deref().is_some_and(Secondary::is_expired)
    }

    /// Whether the last attempt to refresh or transfer it failed.
    pub(crate) fn is_troubled(&self) -> bool {
        !self.troubles.is_empty()
    }

    /// Whether it is to be transferred, and no primary has been asked to the end yet.
    pub(crate) fn is_untried(&self) -> bool {
        self.secondary.is_some() && !self.is_tried
    }

    /// What a core knows of it.
    pub(crate) fn of_core(&self, core: usize, layout: &Layout) -> images::Zone {
        let served = self.served.as_ref().filter(|_| !self.is_expired());
        let image = served.map(|served| Arc::clone(layout.of_core(core, served.copies())));
        images::Zone { image, about: Arc::clone(&self.about) }
    }

    /// Serves another version; the one before.
    fn serve(&mut self, served: Arc<Served>) -> Option<Retired> {
        let about = Arc::new(about(&self.wanted, served.journal()));
        let about = std::mem::replace(&mut self.about, about);
        // What the new version still holds is not to be freed, and needs no grave.
        let first = Arc::clone(&served.copies()[0]);
        let before = self.served.replace(served).filter(|before| !Arc::ptr_eq(&before.copies()[0], &first));
        before.map(|served| Retired { served, about })
    }

    /// Wants something else of the same zone.
    fn want(&mut self, wanted: Arc<Wanted>, now: Time) {
        if wanted == self.wanted {
            return;
        }
        let primaries = wanted.primaries().len();
        if let Some(secondary) = self.secondary.as_mut().filter(|_| wanted.primaries() != self.wanted.primaries()) {
            secondary.change_primaries(now, primaries);
            self.troubles.clear();
        }
        let journal = self.served.as_ref().map(|served| served.journal().clone()).unwrap_or_default();
        self.about = Arc::new(about(&wanted, &journal));
        self.wanted = wanted;
    }
}

fn about(wanted: &Wanted, journal: &Journal) -> ZoneAbout {
    ZoneAbout {
        apex: wanted.apex.clone(),
        journal: journal.clone(),
        allow_transfer: wanted.allow_transfer.clone(),
        notify_from: wanted.notify_from(),
    }
}

/// Where zones are kept, and which of them begin anew although they are here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// The state folder.
    pub(crate) state: &'a Path,
    /// Whether it is written.
    pub(crate) writes: bool,
    pub(crate) anew: &'a HashSet<Name>,
}

/// All zones.
#[derive(Debug)]
pub(crate) struct Store {
    /// Those of the configuration file in its order, then the members of catalogs by name.
    zones: Vec<Zone>,
    index: HashMap<Name, usize>,
    members: Members,
    pub(super) graveyard: Graveyard,
    /// What is kept of members that are gone, until it is forgotten.
    leaving: HashMap<Name, Weak<Mutex<Keeping>>>,
    births: u64,
    random: Random,
}

impl Store {
    /// A store without zones; `seed` spreads the timers of those to come.
    pub(crate) fn new(seed: u64) -> Store {
        Store {
            zones: Vec::new(),
            index: HashMap::new(),
            members: Members::new(),
            graveyard: Graveyard::default(),
            leaving: HashMap::new(),
            births: 0,
            random: Random(seed),
        }
    }

    /// Every zone, in order.
    pub(crate) fn zones(&self) -> &[Zone] {
        &self.zones
    }

    pub(crate) fn zone(&self, apex: &Name) -> Option<&Zone> {
        self.index.get(apex).map(|index| &self.zones[*index])
    }

    pub(super) fn zone_mut(&mut self, apex: &Name) -> Option<&mut Zone> {
        self.index.get(apex).map(|index| &mut self.zones[*index])
    }

    /// What will be kept of a zone that is not here yet.
    fn keeping(&self, wanted: &Wanted, place: Place<'_>) -> Arc<Mutex<Keeping>> {
        let predecessor = self.leaving.get(&wanted.apex).and_then(Weak::upgrade);
        Arc::new(Mutex::new(Keeping::new(wanted, place.state, place.writes).after(predecessor)))
    }

    /// What loading `wanted` takes: zones that are not here yet, those in `anew`, and, with `again`, those that are read
    /// from a master file, in case that it has changed.
    pub(crate) fn jobs(&self, wanted: &[Arc<Wanted>], place: Place<'_>, again: bool) -> Vec<Job> {
        let job = |wanted: &Arc<Wanted>| {
            let here = self.zone(&wanted.apex).filter(|zone| is_same(&zone.wanted, wanted));
            let here = here.filter(|zone| !place.anew.contains(&zone.wanted.apex));
            if here.is_some() && (wanted.copy().is_some() || !again) {
                return None;
            }
            let keeping = here.map(|zone| Arc::clone(&zone.keeping));
            let keeping = keeping.unwrap_or_else(|| self.keeping(wanted, place));
            let kept = here.and_then(|zone| zone.served.clone());
            Some(Job { wanted: Arc::clone(wanted), kept, keeping })
        };
        wanted.iter().filter_map(job).collect()
    }

    /// What loading again takes where the same zones are wanted: those that are read from a master file may have changed.
    pub(crate) fn jobs_again(&self) -> Vec<Job> {
        self.zones.iter().filter(|zone| zone.wanted.copy().is_none()).map(Zone::job).collect()
    }

    /// The same of one of those zones.
    pub(crate) fn job_again(&self, apex: &Name) -> Option<Job> {
        self.zone(apex).filter(|zone| zone.wanted.copy().is_none()).map(Zone::job)
    }

    /// Wants these zones and no others. Those that are here stay, with what is wanted of them now; those in `anew` begin
    /// anew. New ones get what is on disk of them from `jobs`, and have nothing to serve yet. Returns the zones that are
    /// gone.
    pub(crate) fn want(&mut self, wanted: Vec<Arc<Wanted>>, jobs: &[Job], place: Place<'_>, now: Time) -> Vec<Gone> {
        let keepings: HashMap<&Name, &Arc<Mutex<Keeping>>> =
            jobs.iter().map(|job| (&job.wanted.apex, &job.keeping)).collect();
        let mut before: HashMap<Name, Zone> =
            self.zones.drain(..).map(|zone| (zone.wanted.apex.clone(), zone)).collect();
        self.zones.reserve_exact(wanted.len());
        for wanted in wanted {
            let is_here = before
                .get(&wanted.apex)
                .is_some_and(|zone| is_same(&zone.wanted, &wanted) && !place.anew.contains(&wanted.apex));
            match before.remove(&wanted.apex).filter(|_| is_here) {
                Some(mut zone) => {
                    zone.want(wanted, now);
                    self.zones.push(zone);
                }
                None => {
                    let keeping = keepings.get(&wanted.apex).map(|keeping| Arc::clone(keeping));
                    let keeping = keeping.unwrap_or_else(|| self.keeping(&wanted, place));
                    self.births += 1;
                    self.zones.push(Zone::new(wanted, keeping, now, self.births, self.random.next()));
                }
            }
        }
        self.index = self.zones.iter().enumerate().map(|(at, zone)| (zone.wanted.apex.clone(), at)).collect();
        let gone = |zone: Zone| {
            let Zone { served, about, keeping, wanted, .. } = zone;
            self.graveyard.bury(served.map(|served| Retired { served, about }));
            Gone { apex: wanted.apex.clone(), is_member: wanted.member.is_some(), keeping }
        };
        let gone: Vec<Gone> = before.into_values().map(gone).collect();
        self.leaving.retain(|_, keeping| keeping.strong_count() > 0);
        let members = gone.iter().filter(|gone| gone.is_member);
        self.leaving.extend(members.map(|gone| (gone.apex.clone(), Arc::downgrade(&gone.keeping))));
        gone
    }

    /// Takes in what loading a zone gave. Returns whether its serial is another.
    pub(crate) fn take(&mut self, apex: &Name, loaded: Loaded, now: Time) -> bool {
        let Some(zone) = self.zone_mut(apex) else { return false };
        let Loaded::Fresh(served, age) = loaded else { return false };
        if let Some(secondary) = &mut zone.secondary {
            secondary.hold(now, served.image().serial(), Intervals::of_soa(served.image().soa().first()), age);
        }
        self.serve(apex, served)
    }

    /// Serves another version of a zone. Returns whether its serial is another.
    pub(crate) fn serve(&mut self, apex: &Name, served: Arc<Served>) -> bool {
        let Some(zone) = self.zone_mut(apex) else { return false };
        let serial = served.image().serial();
        let retired = zone.serve(served);
        let is_other = retired.as_ref().is_none_or(|retired| retired.served.image().serial() != serial);
        self.graveyard.bury(retired);
        is_other
    }

    /// What the catalogs that are here change of the members. Members whose catalog is in trouble stay as they are.
    pub(crate) fn plan_members(&self, settings: &Settings) -> Plan {
        let catalogs: Vec<(&Zone, Option<catalog::Catalog>)> = self
            .zones
            .iter()
            .filter(|zone| zone.wanted.is_catalog)
            .map(|zone| (zone, zone.served.as_ref().filter(|_| !zone.is_expired()).and_then(listed)))
            .collect();
        let sources: Vec<catalog::Source<'_>> = catalogs
            .iter()
            .map(|(zone, catalog)| catalog::Source { name: &zone.wanted.apex, catalog: catalog.as_ref() })
            .collect();
        if sources.is_empty() && self.members.is_empty() {
            return Plan::default();
        }
        // Of two, the zone is named, as elsewhere.
        let routes = settings.route.iter().map(|route| (&*route.suffix, Owner::Route));
        let zones = settings.zone.iter().map(|zone| (&*zone.name, Owner::Zone));
        let configured: HashMap<&Name, Owner> = routes.chain(zones).collect();
        catalog::plan(&self.members, &sources, |name| configured.get(name).cloned())
    }

    /// What is wanted with these members: the zones of the configuration as they are, and theirs.
    pub(crate) fn wanted_with(&self, settings: &Settings, members: &Members) -> Vec<Arc<Wanted>> {
        let configured = self.zones.iter().filter(|zone| zone.wanted.member.is_none());
        let configured = configured.map(|zone| Arc::clone(&zone.wanted));
        configured.chain(Wanted::of_members(settings, members)).collect()
    }

    /// The members from now on.
    pub(crate) fn set_members(&mut self, members: Members) {
        self.members = members;
    }

    /// The members of all catalogs.
    pub(crate) fn members(&self) -> &Members {
        &self.members
    }

    /// The zones that the catalog `apex`, made here, is to list, with their groups.
    pub(crate) fn listed_in(&self, apex: &Name) -> Vec<(Name, String)> {
        let zones = self.zones.iter().filter_map(|zone| {
            let (catalog, group) = zone.wanted.listed_in.as_ref()?;
            (catalog == apex).then(|| (zone.wanted.apex.clone(), group.clone()))
        });
        zones.collect()
    }

    /// The catalogs that are made here.
    pub(crate) fn made_here(&self) -> impl Iterator<Item = &Zone> {
        self.zones.iter().filter(|zone| matches!(zone.wanted.source, Source::Listed { .. }))
    }

    /// The zones whose master file never could be read.
    pub(crate) fn missing(&self) -> impl Iterator<Item = &Name> {
        self.zones.iter().filter(|zone| zone.is_missing()).map(|zone| &zone.wanted.apex)
    }
}

/// A zone that is here no more.
#[derive(Debug)]
pub(crate) struct Gone {
    pub(crate) apex: Name,
    /// It came from a catalog: what is on disk of it goes, too.
    pub(crate) is_member: bool,
    pub(crate) keeping: Arc<Mutex<Keeping>>,
}

/// What is to be forgotten of the members that `steps` end.
pub(crate) fn begins_anew(steps: &[(Name, Step)]) -> HashSet<Name> {
    steps.iter().filter(|(_, step)| *step == Step::Reset).map(|(name, _)| name.clone()).collect()
}

/// Whether what is served for the one may be served for the other.
fn is_same(a: &Wanted, b: &Wanted) -> bool {
    match (&a.source, &b.source) {
        (Source::File { .. }, Source::File { .. }) => a.source == b.source && a.keeps_state() == b.keeps_state(),
        (Source::Primaries { copy: a, .. }, Source::Primaries { copy: b, .. }) => a == b,
        (Source::Listed { copy: a }, Source::Listed { copy: b }) => a == b,
        _ => false,
    }
}

/// What a catalog lists; `None`, and a line in the log, where it is broken.
fn listed(served: &Arc<Served>) -> Option<catalog::Catalog> {
    catalog::read(served.image())
        .map_err(|faults| {
            log::error!(
                "the catalog {} is broken, and its members stay as they are: {}",
                served.name(),
                faults.join("; ")
            );
        })
        .ok()
}
