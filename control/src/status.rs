//! What the control plane says of the process: which zones it serves, how reloads and transfers went.

use std::sync::{Arc, Mutex, PoisonError};

use crate::plane::Plane;
use crate::upstreams;
use crate::zones::{Figures, Source};

/// Zones with figures of their own; a server of many more would make a page that nobody reads.
pub(crate) const ZONES_SHOWN_MAX: usize = 1_000;

/// A zone that is served.
#[derive(Clone, Debug)]
pub(crate) struct Zone {
    pub(crate) name: Arc<str>,
    pub(crate) serial: u32,
    pub(crate) names: usize,
    pub(crate) records: usize,
    pub(crate) octets: usize,
    /// Of a copy: the seconds until it is given up, as of the last look.
    pub(crate) expires_in: Option<u64>,
}

/// Zones by what they are, and all of them together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Zones with records that are served.
    pub(crate) served: usize,
    pub(crate) records: usize,
    pub(crate) octets: usize,
    /// Zones of each kind, served or not.
    pub(crate) primaries: usize,
    pub(crate) secondaries: usize,
    pub(crate) catalogs_made: usize,
    /// Of the secondaries: those that come from a catalog.
    pub(crate) members: usize,
    /// Zones that have expired.
    pub(crate) expired: usize,
    /// Zones that have not been transferred yet, and of them those that no primary has been asked for to the end.
    pub(crate) absent: usize,
    pub(crate) untried: usize,
    /// Zones whose last attempt to refresh or transfer them failed.
    pub(crate) troubled: usize,
    /// Zones that are configured and cannot be loaded.
    pub(crate) missing: usize,
}

/// The state of the process as of the last look.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    /// The first zones that are served, up to [`ZONES_SHOWN_MAX`].
    pub(crate) zones: Vec<Zone>,
    pub(crate) totals: Totals,
    pub(crate) figures: Figures,
    pub(crate) names: upstreams::Figures,
    /// The cores are being given what they had before the start.
    pub(crate) is_restoring: bool,
    /// Files with a cache that were of no use.
    pub(crate) caches_refused: u64,
    /// The names of the upstream pools, in the order of the configuration.
    pub(crate) pools: Arc<[Box<str>]>,
    /// The server is about to stop: others should ask elsewhere.
    pub(crate) is_draining: bool,
    pub(crate) reloads: u64,
    pub(crate) reloads_failed: u64,
}

impl Status {
    /// Takes over what `plane` serves.
    pub(crate) fn serve(&mut self, plane: &Plane, figures: Figures) {
        let now = plane.now();
        let mut totals = Totals::default();
        self.zones.clear();
        for zone in plane.store.zones() {
            *match zone.wanted().source {
                Source::File { .. } => &mut totals.primaries,
                Source::Primaries { .. } => &mut totals.secondaries,
                Source::Listed { .. } => &mut totals.catalogs_made,
            } += 1;
            totals.members += usize::from(zone.wanted().member.is_some());
            totals.expired += usize::from(zone.is_expired());
            totals.troubled += usize::from(zone.is_troubled());
            totals.missing += usize::from(zone.is_missing());
            let Some(served) = zone.served() else {
                totals.absent += usize::from(zone.secondary().is_some());
                totals.untried += usize::from(zone.is_untried());
                continue;
            };
            let image = served.image();
            totals.served += usize::from(!zone.is_expired());
            totals.records += image.records();
            totals.octets += served.octets();
            if self.zones.len() < ZONES_SHOWN_MAX {
                self.zones.push(Zone {
                    name: Arc::clone(zone.title()),
                    serial: image.serial(),
                    names: image.names(),
                    records: image.records(),
                    octets: served.octets(),
                    expires_in: zone.secondary().and_then(|secondary| Some((secondary.expires()? - now).as_secs())),
                });
            }
        }
        let pools = || plane.settings().upstream.iter().map(|upstream| upstream.name.as_str());
        if !self.pools.iter().map(|name| &**name).eq(pools()) {
            self.pools = pools().map(Box::from).collect();
        }
        self.totals = totals;
        self.figures = figures;
    }
}

/// The current [`Status`], for readers on other threads.
#[derive(Debug, Default)]
pub(crate) struct Board(Mutex<Arc<Status>>);

impl Board {
    pub(crate) fn read(&self) -> Arc<Status> {
        // Nothing is ever half-written here: a writer that panicked left the old state whole.
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Status)) {
        let mut status = Status::clone(&self.read());
        change(&mut status);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(status);
    }
}
