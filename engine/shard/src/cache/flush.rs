//! Removal by order: of everything, of a name, of a name and what is below it. What goes with a name is found by a walk over
//! the table, part by part, since its types have hashes of their own; a part is some thousand entries.

use super::Cache;
use super::table::Place;
use crate::telemetry::Counters;
use crate::wire::name::Name;

/// What is to be flushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Everything.
    All,
    /// What is kept for this name, whatever its type.
    Name(Name),
    /// What is kept for this name and those below it.
    Subtree(Name),
}

/// Entries that a step looks at, and those of the part that it ends in.
const STEP_ENTRIES: usize = 2_048;

impl Cache {
    /// Removes what is to be flushed, a bounded part of it a call. `cursor` is zero at first, then what the call before
    /// returned. Returns how many answers are gone, and where to go on; `None`: that was all. Denials of names above go as
    /// well, and all failures: what is flushed is asked for anew.
    pub fn flush_step(&mut self, what: &Flush, cursor: u64, counters: &mut Counters) -> (usize, Option<u64>) {
        if cursor == 0 {
            self.failures.clear();
        }
        let (gone, next) = match what {
            Flush::All => {
                let gone = self.store.entries();
                self.store.clear();
                (gone, None)
            }
            Flush::Name(_) | Flush::Subtree(_) => self.flush_parts(what, cursor as usize),
        };
        counters.cache_flushed += gone as u64;
        (gone, next)
    }

    /// Removes what is to be flushed, however long that takes.
    pub fn flush(&mut self, what: &Flush, counters: &mut Counters) -> usize {
        let (mut gone, mut cursor) = (0, Some(0));
        while let Some(at) = cursor {
            let (more, next) = self.flush_step(what, at, counters);
            (gone, cursor) = (gone + more, next);
        }
        gone
    }

    fn flush_parts(&mut self, what: &Flush, mut part: usize) -> (usize, Option<u64>) {
        let (mut looked_at, mut gone) = (0, 0);
        while part < self.store.table().parts() {
            if looked_at >= STEP_ENTRIES {
                return (gone, Some(part as u64));
            }
            let places = self.store.table().places(part, 0).map(|(_, place)| place);
            let meant: Vec<Place> =
                places.inspect(|_| looked_at += 1).filter(|&place| self.is_meant(what, place)).collect();
            meant.iter().for_each(|&place| self.store.remove(place));
            gone += meant.len();
            part += 1;
        }
        (gone, None)
    }

    fn is_meant(&self, what: &Flush, place: Place) -> bool {
        let answer = self.store.answer(place);
        let owner = answer.name();
        match what {
            Flush::All => true,
            Flush::Name(name) => owner == name.as_wire() || answer.cuts() && is_within(name.as_wire(), owner),
            Flush::Subtree(name) => {
                is_within(owner, name.as_wire()) || answer.cuts() && is_within(name.as_wire(), owner)
            }
        }
    }
}

/// Whether `name` is `suffix` or below it; both well-formed and in lower case.
pub(super) fn is_within(name: &[u8], suffix: &[u8]) -> bool {
    let mut rest = name;
    while rest.len() > suffix.len() {
        rest = &rest[usize::from(rest[0]) + 1..];
    }
    rest == suffix
}
