//! Failures remembered for a short time (RFC 9520): while one is, nobody is asked the same again.
//!
//! The table has a fixed number of lines of four slots, keyed by the keyed hash of the question: a flood of failing names
//! pushes out other failures and takes no memory. In a full line the one that ends first gives way.

use std::time::Duration;

use crate::limits::{FAILURE_LINES_MAX, FAILURE_SECONDS_MAX};
use crate::time::Time;

/// Why a question got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No server could be reached, or none answered in time.
    Unreachable,
    /// A server answered, with an error, and nobody else had an answer.
    Errors,
}

/// A failure in the table; one that ended long ago, where there is none.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    hash: u64,
    /// From the upper bits down: milliseconds of the moment when it ends; 15 bits of the generation; one of the failure.
    word: u64,
}

impl Slot {
    fn new(hash: u64, until: Time, generation: u16, failure: Failure) -> Slot {
        let bits = u64::from(generation << 1) | u64::from(failure == Failure::Errors);
        Slot { hash, word: (until.as_micros() / 1000) << 16 | bits }
    }

    fn is_remembered(&self, now: Time, generation: u16) -> bool {
        self.word as u16 >> 1 == generation & 0x7fff && self.word >> 16 > now.as_micros() / 1000
    }
}

const SLOTS_A_LINE: usize = 4;
/// Octets of cache for each line of failures.
const CACHE_OCTETS_A_LINE: usize = 32 << 10;

const _: () = assert!(size_of::<[Slot; SLOTS_A_LINE]>() == 64);

/// The failures that one core remembers.
#[derive(Debug)]
pub(super) struct Failures {
    /// A power of two of them, or none before the first failure.
    lines: Box<[[Slot; SLOTS_A_LINE]]>,
    count: usize,
    /// Failures of another generation are forgotten.
    generation: u16,
}

impl Failures {
    /// A table beside a cache of so many octets: a failure for each eight kibibytes.
    pub(super) fn new(cache_octets: usize) -> Failures {
        let count = (cache_octets / CACHE_OCTETS_A_LINE).clamp(1, FAILURE_LINES_MAX);
        Failures { lines: Box::default(), count: 1 << count.ilog2(), generation: 0 }
    }

    /// Octets that the table takes once there is a failure.
    pub(super) fn octets_max(&self) -> usize {
        self.count * size_of::<[Slot; SLOTS_A_LINE]>()
    }

    /// Octets that the table takes.
    pub(super) fn octets(&self) -> usize {
        size_of_val(&*self.lines)
    }

    /// Remembers that the question with this hash failed, for `span`. Returns whether another one that has not ended had
    /// to give way.
    pub(super) fn insert(&mut self, now: Time, hash: u64, failure: Failure, span: Duration) -> bool {
        if self.lines.is_empty() {
            self.lines = vec![[Slot::default(); SLOTS_A_LINE]; self.count].into();
        }
        let until = now + span.min(Duration::from_secs(FAILURE_SECONDS_MAX));
        let line = &mut self.lines[hash as usize & (self.count - 1)];
        let same = line.iter_mut().find(|slot| slot.hash == hash);
        let is_same = same.is_some();
        let slot = match same {
            Some(slot) => slot,
            None => line
                .iter_mut()
                .min_by_key(|slot| (slot.is_remembered(now, self.generation), slot.word))
                .expect("a line has slots"),
        };
        let displaces = !is_same && slot.is_remembered(now, self.generation);
        *slot = Slot::new(hash, until, self.generation, failure);
        displaces
    }

    /// The failure of the question with this hash, where it is remembered.
    #[inline]
    pub(super) fn find(&self, now: Time, hash: u64) -> Option<Failure> {
        let line = self.lines.get(hash as usize & (self.count - 1))?;
        let slot = line.iter().find(|slot| slot.hash == hash && slot.is_remembered(now, self.generation))?;
        Some(if slot.word & 1 == 1 { Failure::Errors } else { Failure::Unreachable })
    }

    /// Forgets the failure of the question with this hash.
    pub(super) fn remove(&mut self, hash: u64) {
        if let Some(line) = self.lines.get_mut(hash as usize & (self.count - 1))
            && let Some(slot) = line.iter_mut().find(|slot| slot.hash == hash)
        {
            *slot = Slot::default();
        }
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_secs(5);

    fn at(millis: u64) -> Time {
        Time::from_micros(millis * 1000)
    }

    #[test]
    fn a_failure_is_remembered_for_its_span_and_no_longer_than_five_minutes() {
        let mut failures = Failures::new(1 << 20);
        assert_eq!((failures.find(at(0), 7), failures.octets()), (None, 0));
        assert!(!failures.insert(at(1_000), 7, Failure::Unreachable, SPAN));
        assert!(!failures.insert(at(1_000), 9, Failure::Errors, Duration::from_hours(1)));
        assert_eq!(failures.find(at(5_999), 7), Some(Failure::Unreachable));
        assert_eq!((failures.find(at(6_000), 7), failures.find(at(2_000), 8)), (None, None));
        assert_eq!(failures.find(at(300_999), 9), Some(Failure::Errors));
        assert_eq!(failures.find(at(301_000), 9), None, "RFC 9520 section 3.2");
        assert!(!failures.insert(at(301_000), 9, Failure::Unreachable, SPAN));
        assert_eq!(failures.find(at(301_001), 9), Some(Failure::Unreachable), "the later one counts");
    }

    #[test]
    fn failures_are_forgotten_one_or_all_and_can_come_again() {
        let mut failures = Failures::new(1 << 20);
        (0..3).for_each(|hash| _ = failures.insert(at(0), hash, Failure::Errors, SPAN));
        failures.remove(1);
        assert_eq!([0, 1, 2].map(|hash| failures.find(at(1), hash).is_some()), [true, false, true]);
        failures.clear();
        assert_eq!([0, 1, 2].map(|hash| failures.find(at(1), hash).is_some()), [false; 3]);
        assert!(!failures.insert(at(1), 0, Failure::Errors, SPAN));
        assert_eq!([0, 1, 2].map(|hash| failures.find(at(1), hash).is_some()), [true, false, false]);
    }

    #[test]
    fn a_flood_takes_no_memory_and_the_first_to_end_gives_way() {
        let mut failures = Failures::new(128 << 10);
        let octets = 4 * 64;
        // Hashes of one line.
        let displaced = (1..=6).filter(|&i| failures.insert(at(i), i * 4, Failure::Errors, SPAN)).count();
        assert_eq!(displaced, 2);
        assert_eq!([1, 2, 3, 6].map(|i| failures.find(at(10), i * 4).is_some()), [false, false, true, true]);
        (0..10_000).for_each(|i| _ = failures.insert(at(10), i * 0x9e37_79b9, Failure::Errors, SPAN));
        assert_eq!(failures.octets(), octets);
        let kept = (0..10_000).filter(|i| failures.find(at(11), i * 0x9e37_79b9).is_some()).count();
        assert_eq!(kept, 16);
    }
}
