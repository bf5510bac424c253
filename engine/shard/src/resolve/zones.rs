//! How many questions are in flight for names of one zone, so that a flood of random names below one does not take the
//! places of all others.

use hashbrown::HashTable;

/// Counts by zone; a zone without questions has no entry.
#[derive(Debug, Default)]
pub(super) struct ZoneCounts {
    counts: HashTable<ZoneCount>,
}

#[derive(Debug)]
struct ZoneCount {
    /// A keyed hash of the zone's name: it is a hash for the table as well.
    zone: u64,
    questions: u32,
}

impl ZoneCounts {
    /// Questions in flight for this zone.
    pub(super) fn of(&self, zone: u64) -> usize {
        self.counts.find(zone, |count| count.zone == zone).map_or(0, |count| count.questions as usize)
    }

    /// One more.
    pub(super) fn add(&mut self, zone: u64) {
        let entry = self.counts.entry(zone, |count| count.zone == zone, |count| count.zone);
        entry.or_insert(ZoneCount { zone, questions: 0 }).get_mut().questions += 1;
    }

    /// One less.
    pub(super) fn remove(&mut self, zone: u64) {
        let entry = self.counts.find_entry(zone, |count| count.zone == zone);
        let mut entry = entry.expect("a zone of a question in flight is counted");
        match entry.get().questions {
            1 => drop(entry.remove()),
            _ => entry.get_mut().questions -= 1,
        }
    }

    /// Whether there is nothing to count.
    pub(super) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_counted_apart_and_forgotten_when_empty() {
        let mut zones = ZoneCounts::default();
        for zone in [1, 2, 1, 1] {
            zones.add(zone);
        }
        assert_eq!((zones.of(1), zones.of(2), zones.of(3)), (3, 1, 0));
        for zone in [1, 1, 2, 1] {
            assert!(!zones.is_empty());
            zones.remove(zone);
        }
        assert!(zones.is_empty() && zones.of(1) == 0);
    }
}
