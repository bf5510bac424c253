//! What the control plane says of the process: which zones it serves, how reloads went.

use std::sync::{Arc, Mutex, PoisonError};

use crate::plane::Plane;

/// A zone that is served.
#[derive(Clone, Debug)]
pub(crate) struct Zone {
    pub(crate) name: String,
    pub(crate) serial: u32,
    pub(crate) names: usize,
    pub(crate) records: usize,
    pub(crate) octets: usize,
}

/// The state of the process as of its last load.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    pub(crate) zones: Vec<Zone>,
    /// Zones that are configured and not served.
    pub(crate) missing: usize,
    pub(crate) reloads: u64,
    pub(crate) reloads_failed: u64,
}

impl Status {
    /// Takes over what `plane` serves.
    pub(crate) fn serve(&mut self, plane: &Plane) {
        let zones = plane.zones().map(|zone| Zone {
            name: zone.name().to_string(),
            serial: zone.image().serial(),
            names: zone.image().names(),
            records: zone.image().records(),
            octets: zone.octets(),
        });
        self.zones = zones.collect();
        self.missing = plane.missing().count();
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
