//! The steps that led to a zone's image, kept for those who ask for what changed since (RFC 1995).

use std::sync::Arc;

use super::difference::Difference;
use crate::limits::JOURNAL_DIFFERENCES_MAX;
use crate::wire::serial;

/// Octets of differences that a journal keeps unless told otherwise.
pub const OCTETS_MAX_DEFAULT: usize = 1 << 20;

/// The last differences of a zone, each leading to where the next one begins. Cheap to clone: a reference and two numbers.
///
/// It is bounded in octets and in number. Where there are too many, the older half is condensed into one difference.
/// Where they take too much, it is too, if that halves its octets; or else the oldest are dropped, until a quarter of the
/// room is free. So condensing is paid for by the differences that come between two times. Who has a serial in the midst
/// of what was condensed has to ask for the whole zone.
#[derive(Clone, Debug)]
pub struct Journal {
    differences: Arc<[Arc<Difference>]>,
    octets: usize,
    octets_max: usize,
}

impl Default for Journal {
    fn default() -> Journal {
        Journal::new(OCTETS_MAX_DEFAULT)
    }
}

impl Journal {
    /// An empty one that may keep up to `octets_max`.
    pub fn new(octets_max: usize) -> Journal {
        Journal { differences: Arc::default(), octets: 0, octets_max }
    }

    /// Sets the bound; what is above it goes at once.
    pub fn set_octets_max(&mut self, octets_max: usize) {
        self.octets_max = octets_max;
        self.shorten(self.differences.to_vec());
    }

    /// Adds the step that was taken last. If it does not begin where the journal ends, what is there leads nowhere and
    /// goes; if it does not lead to a later serial (RFC 1982), nobody could ask for it, and it goes too. One that alone
    /// is above the bound empties the journal. Should it lead to a serial that was there before, round the circle, what led
    /// away from that one goes: a serial stands for one version.
    pub fn push(&mut self, difference: Arc<Difference>) {
        let mut differences = match self.last_serial() {
            Some(last) if last == difference.from_serial() => self.differences.to_vec(),
            _ => Vec::new(),
        };
        if serial::newer(difference.to_serial(), difference.from_serial()) {
            if let Some(at) = differences.iter().position(|step| step.from_serial() == difference.to_serial()) {
                differences.drain(..=at);
            }
            differences.push(difference);
        } else {
            differences.clear();
        }
        self.shorten(differences);
    }

    /// The differences that lead from a serial to [`Journal::last_serial`], the first one first; `None` where no
    /// difference begins at that serial. Never empty.
    pub fn since(&self, serial: u32) -> Option<&[Arc<Difference>]> {
        let at = self.differences.iter().position(|difference| difference.from_serial() == serial)?;
        Some(&self.differences[at..])
    }

    /// All of them, the oldest first.
    pub fn differences(&self) -> &[Arc<Difference>] {
        &self.differences
    }

    /// Octets of memory that the differences take.
    pub fn octets(&self) -> usize {
        self.octets
    }

    /// The earliest serial that a difference begins at.
    pub fn first_serial(&self) -> Option<u32> {
        self.differences.first().map(|difference| difference.from_serial())
    }

    /// The serial that the last difference leads to.
    pub fn last_serial(&self) -> Option<u32> {
        self.differences.last().map(|difference| difference.to_serial())
    }

    /// Takes what fits of `differences`.
    fn shorten(&mut self, mut differences: Vec<Arc<Difference>>) {
        let octets_of = |differences: &[Arc<Difference>]| differences.iter().map(|step| step.octets()).sum::<usize>();
        let mut octets = octets_of(&differences);
        if octets > self.octets_max || differences.len() > JOURNAL_DIFFERENCES_MAX {
            let half = differences.len() / 2;
            let (octets_of_half, too_many_alone) = (octets_of(&differences[..half]), octets <= self.octets_max);
            let condensed = (half > 1).then(|| Difference::merge(differences[..half].iter().map(|step| &**step)));
            match condensed {
                Some(Ok(condensed)) if too_many_alone || condensed.octets() <= octets_of_half / 2 => {
                    differences.splice(..half, [Arc::new(condensed)]);
                }
                _ => {}
            }
            octets = octets_of(&differences);
            let (octets_kept, kept) = (self.octets_max / 4 * 3, JOURNAL_DIFFERENCES_MAX / 4 * 3);
            let still_above = octets > self.octets_max || differences.len() > JOURNAL_DIFFERENCES_MAX;
            let mut dropped = 0;
            while still_above && dropped < differences.len() {
                let left = differences.len() - dropped;
                // The last one is kept if it fits at all.
                let fits = if left == 1 { octets <= self.octets_max } else { octets <= octets_kept && left <= kept };
                if fits {
                    break;
                }
                octets -= differences[dropped].octets();
                dropped += 1;
            }
            differences.drain(..dropped);
        }
        self.octets = octets;
        self.differences = differences.into();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::rdata::rtype;
    use crate::zone::difference::Writer;
    use crate::zone::image::Record;
    use crate::zone::update::tests::wire;

    /// A step that takes away some addresses and adds others, each named by a number.
    fn step(from: u32, to: u32, removed: &[u8], added: &[u8]) -> Arc<Difference> {
        let apex = wire("zone.test");
        let soa = |serial: u32| [vec![0, 0], serial.to_be_bytes().to_vec(), vec![0; 16]].concat();
        let (old, new) = (soa(from), soa(to));
        let soa = |data| Record { owner: &apex, rtype: rtype::SOA, ttl: 60, data };
        let mut writer = Writer::begin(soa(&old), usize::MAX).unwrap();
        for &number in removed {
            writer.remove(Record { rtype: rtype::A, data: &[192, 0, 2, number], ..soa(&old) }).unwrap();
        }
        writer.begin_added(soa(&new)).unwrap();
        for &number in added {
            writer.add(Record { rtype: rtype::A, data: &[192, 0, 2, number], ..soa(&new) }).unwrap();
        }
        Arc::new(writer.finish().unwrap())
    }

    fn steps(journal: &Journal) -> Vec<(u32, u32)> {
        journal.differences().iter().map(|step| (step.from_serial(), step.to_serial())).collect()
    }

    #[test]
    fn what_changed_since_a_serial_is_found() {
        let mut journal = Journal::default();
        assert!(journal.since(0).is_none() && journal.first_serial().is_none());
        for (from, to) in [(u32::MAX, 0), (0, 5), (5, 6)] {
            journal.push(step(from, to, &[], &[]));
        }
        assert_eq!((journal.first_serial(), journal.last_serial()), (Some(u32::MAX), Some(6)));
        assert_eq!(journal.since(0).unwrap().len(), 2);
        assert_eq!(journal.since(u32::MAX).unwrap().len(), 3);
        assert!(journal.since(6).is_none() && journal.since(3).is_none());
        let held = journal.clone();
        journal.push(step(6, 7, &[], &[]));
        assert_eq!((held.last_serial(), journal.last_serial()), (Some(6), Some(7)));
    }

    #[test]
    fn a_serial_that_comes_back_stands_for_the_newer_version() {
        let mut journal = Journal::default();
        for (from, to) in [(1, 2), (2, 5), (5, 0x8000_0000), (0x8000_0000, u32::MAX), (u32::MAX, 2), (2, 3)] {
            journal.push(step(from, to, &[], &[]));
        }
        assert_eq!(steps(&journal), [(5, 0x8000_0000), (0x8000_0000, u32::MAX), (u32::MAX, 2), (2, 3)]);
        assert_eq!(journal.since(2).unwrap().len(), 1);
        assert!(journal.since(1).is_none());
        assert_eq!(journal.octets(), journal.differences().iter().map(|step| step.octets()).sum::<usize>());
    }

    #[test]
    fn what_does_not_follow_begins_anew() {
        let mut journal = Journal::default();
        journal.push(step(1, 2, &[], &[]));
        journal.push(step(4, 5, &[], &[]));
        assert_eq!(steps(&journal), [(4, 5)]);
        journal.push(step(5, 4, &[], &[]));
        assert_eq!((steps(&journal), journal.octets()), (vec![], 0));
        journal.push(step(5, 5, &[], &[]));
        assert_eq!(steps(&journal), []);
    }

    #[test]
    fn old_steps_are_condensed_where_that_pays_or_else_go() {
        let one = step(0, 1, &[], &[1]).octets();
        // The same record comes and goes: condensing pays.
        let mut journal = Journal::new(10 * one);
        for serial in 0..100 {
            journal.push(if serial % 2 == 0 {
                step(serial, serial + 1, &[], &[1])
            } else {
                step(serial, serial + 1, &[1], &[])
            });
            assert!(journal.octets() <= 10 * one);
        }
        assert_eq!((journal.first_serial(), journal.last_serial()), (Some(0), Some(100)));
        // Each record comes to stay: it does not.
        let mut journal = Journal::new(10 * one);
        for serial in 0..100 {
            journal.push(step(serial, serial + 1, &[], &[serial as u8]));
            assert!(journal.octets() <= 10 * one);
        }
        assert!(journal.first_serial() > Some(80) && journal.last_serial() == Some(100), "{:?}", steps(&journal));
        // One that is too large leaves nothing, one that just fits is kept.
        journal.push(step(100, 101, &[], &(0..200).collect::<Vec<_>>()));
        assert_eq!((steps(&journal), journal.octets()), (vec![], 0));
        let mut journal = Journal::new(one);
        journal.push(step(0, 1, &[], &[1]));
        assert_eq!(steps(&journal), [(0, 1)]);
        journal.set_octets_max(one - 1);
        assert_eq!(steps(&journal), []);
    }

    #[test]
    fn the_number_of_steps_is_bounded() {
        let mut journal = Journal::new(usize::MAX);
        for serial in 0..1_000 {
            let address = [serial as u8];
            let added = if serial < 256 { &address[..] } else { &[] };
            journal.push(step(serial, serial + 1, &[], added));
            assert!(journal.differences().len() <= JOURNAL_DIFFERENCES_MAX);
        }
        assert_eq!((journal.first_serial(), journal.last_serial()), (Some(0), Some(1_000)));
    }

    proptest! {
        #[test]
        fn bounds_hold_and_steps_follow_on_each_other(
            octets_max in 0..5_000_usize,
            pushed in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..20), 1..3_u32, any::<bool>()), 1..100),
        ) {
            let mut journal = Journal::new(octets_max);
            let mut serial = u32::MAX - 50;
            for (added, by, gap) in pushed {
                serial = serial.wrapping_add(u32::from(gap && by == 2));
                let to = serial.wrapping_add(by);
                journal.push(step(serial, to, &[], &added));
                serial = to;
                prop_assert!(journal.octets() <= octets_max);
                let octets: usize = journal.differences().iter().map(|step| step.octets()).sum();
                prop_assert_eq!(octets, journal.octets());
                for pair in journal.differences().windows(2) {
                    prop_assert_eq!(pair[0].to_serial(), pair[1].from_serial());
                }
                prop_assert!(journal.last_serial().is_none_or(|last| last == serial));
            }
        }
    }
}
