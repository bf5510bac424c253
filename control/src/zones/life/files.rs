//! Master files that change while the server runs: watched, looked at, and read by a reload.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use ringdns_shard::wire::name::Name;

use super::{Done, Life};
use crate::config::ZoneFile;
use crate::load::{Served, Stamp};
use crate::zones::Source;
use crate::zones::watch::State;

/// What a look at the master files has found.
#[derive(Debug)]
pub(crate) struct Look {
    /// Zones that are other than what is served.
    changed: HashMap<Name, State>,
    /// Whether the kernel tells of all changes to come; where not, why.
    watched: Result<(), String>,
}

/// A zone that is read from a master file.
enum Watched {
    Served(Arc<Served>),
    /// It could not be read yet.
    Missing(Name, ZoneFile),
}

impl Life {
    /// Whether master files have changed since this was asked for last, and rest: a reload will read them.
    pub(crate) fn files_have_changed(&mut self) -> bool {
        std::mem::take(&mut self.files_have_changed)
    }

    /// Settings or zones are others: so may be the files that are watched.
    pub(super) fn watch_anew(&mut self) {
        if *self.plane.settings().server.watch {
            self.watch.stirred(Instant::now());
        } else {
            self.blind = None;
            let watcher = Arc::clone(&self.watcher);
            self.critics.leave(move || watcher.lock().unwrap_or_else(PoisonError::into_inner).rest());
        }
    }

    pub(super) fn on_stirred(&mut self) {
        self.watch.stirred(Instant::now());
    }

    /// Has the master files of all zones watched and looked at, in this order, so that nothing is missed.
    pub(super) fn look(&mut self) {
        self.watch.look();
        if !*self.plane.settings().server.watch {
            self.watch.looked(Instant::now(), HashMap::new(), false);
            return;
        }
        let zones = self.plane.store.zones().iter().filter_map(|zone| match (&zone.wanted().source, zone.served()) {
            (Source::File { .. }, Some(served)) => Some(Watched::Served(Arc::clone(served))),
            (Source::File { file, .. }, None) => Some(Watched::Missing(zone.wanted().apex.clone(), file.clone())),
            _ => None,
        });
        let zones: Vec<Watched> = zones.collect();
        let (watcher, critics) = (Arc::clone(&self.watcher), self.critics.clone());
        let look = move || {
            let files = zones.iter().flat_map(Watched::files);
            let watched = watcher.lock().unwrap_or_else(PoisonError::into_inner).watch(files);
            Look { changed: zones.iter().filter_map(Watched::changed).collect(), watched }
        };
        self.tasks.spawn(async move { Done::Looked(critics.run(look).await) });
    }

    pub(super) fn on_looked(&mut self, look: Option<Look>) {
        let bug = || Look { changed: HashMap::new(), watched: Err("watching files met a bug in ringdns".to_owned()) };
        let Look { changed, watched } = look.unwrap_or_else(bug);
        let blind = watched.err();
        if blind != self.blind {
            match &blind {
                Some(why) => log::warn!("{why}"),
                None => log::info!("all master files are watched"),
            }
        }
        self.files_have_changed |= self.watch.looked(Instant::now(), changed, blind.is_some());
        self.blind = blind;
    }
}

impl Watched {
    /// The files that make the zone what it is.
    fn files(&self) -> impl Iterator<Item = &Path> {
        let (served, missing) = match self {
            Watched::Served(served) => (Some(served.files()), None),
            Watched::Missing(_, ZoneFile::Path(path)) => (None, Some(&**path)),
            Watched::Missing(..) => (None, None),
        };
        served.into_iter().flatten().chain(missing)
    }

    /// The zone and its files as they are now, where they are not what is served.
    fn changed(&self) -> Option<(Name, State)> {
        match self {
            Watched::Served(served) => Some((served.name().clone(), served.changed_files()?)),
            Watched::Missing(name, ZoneFile::Path(path)) => Some((name.clone(), vec![Stamp::of(path).ok()])),
            Watched::Missing(..) => None,
        }
    }
}
