//! When questions in flight want to be looked at again: a timer wheel over the slots of a slab (Varghese and Lauck,
//! "Hashed and Hierarchical Timing Wheels", 1987). Setting, moving and taking off cost the same however many there are.

use crate::time::Time;

/// A tick is 2^10 microseconds: no time-out of ours needs to be finer than a millisecond.
const TICK_SHIFT: u32 = 10;
/// Ticks of a round: 4.2 s. A later moment is parked in the last tick of the round and set again when that comes.
const TICKS: usize = 4096;
const NONE: u32 = u32::MAX;

/// A wheel; entries are numbered by the caller from zero.
#[derive(Debug)]
pub(super) struct Timers {
    /// First entry of each tick of the round: 16 KiB.
    heads: Box<[u32; TICKS]>,
    /// Bit set: the tick has entries.
    occupied: [u64; TICKS / 64],
    entries: Vec<Entry>,
    /// Ticks before this one are past.
    current: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    next: u32,
    previous: u32,
    /// The tick it is due at, which may be beyond the round; [`UNSET`] when it is in no list.
    due: u64,
    /// Where in the wheel it stands.
    place: u16,
}

const UNSET: u64 = u64::MAX;

impl Timers {
    pub(super) fn new() -> Timers {
        Timers { heads: Box::new([NONE; TICKS]), occupied: [0; TICKS / 64], entries: Vec::new(), current: 0 }
    }

    /// The start of the tick that `when` lies in: what is set to `when` falls due then, at most a tick early.
    pub(super) fn floor(when: Time) -> Time {
        Time::from_micros(when.as_micros() >> TICK_SHIFT << TICK_SHIFT)
    }

    /// Sets entry `number` to [`Timers::floor`] of `when`, wherever it was before.
    pub(super) fn set(&mut self, number: u32, when: Time) {
        if self.entries.len() <= number as usize {
            self.entries.resize(number as usize + 1, Entry { next: NONE, previous: NONE, due: UNSET, place: 0 });
        }
        self.unset(number);
        self.place(number, when.as_micros() >> TICK_SHIFT, self.current);
    }

    /// Puts an entry into the tick it is due at, not before tick `earliest` and not beyond the round.
    fn place(&mut self, number: u32, due: u64, earliest: u64) {
        let tick = due.clamp(earliest, self.current + TICKS as u64 - 1);
        let place = (tick % TICKS as u64) as usize;
        let head = self.heads[place];
        self.entries[number as usize] = Entry { next: head, previous: NONE, due, place: place as u16 };
        if head != NONE {
            self.entries[head as usize].previous = number;
        }
        self.heads[place] = number;
        self.occupied[place / 64] |= 1 << (place % 64);
    }

    /// Takes an entry off.
    pub(super) fn unset(&mut self, number: u32) {
        let Some(&entry) = self.entries.get(number as usize).filter(|entry| entry.due != UNSET) else { return };
        match entry.previous {
            NONE => self.heads[usize::from(entry.place)] = entry.next,
            previous => self.entries[previous as usize].next = entry.next,
        }
        if entry.next != NONE {
            self.entries[entry.next as usize].previous = entry.previous;
        }
        self.entries[number as usize].due = UNSET;
        let place = usize::from(entry.place);
        if self.heads[place] == NONE {
            self.occupied[place / 64] &= !(1 << (place % 64));
        }
    }

    /// The next moment at which [`Timers::expired`] may have something.
    pub(super) fn next(&self) -> Option<Time> {
        let start = (self.current % TICKS as u64) as usize;
        let (first, bit) = (start / 64, start % 64);
        let words = self.occupied.len();
        // The first word is seen twice: its upper bits belong to the start of the round, its lower ones to the end.
        (0..=words).find_map(|i| {
            let mask = match i {
                0 => u64::MAX << bit,
                i if i == words => !(u64::MAX << bit),
                _ => u64::MAX,
            };
            let word = self.occupied[(first + i) % words] & mask;
            let ticks = (i * 64 + word.trailing_zeros() as usize).wrapping_sub(bit);
            (word != 0).then(|| Time::from_micros((self.current + ticks as u64) << TICK_SHIFT))
        })
    }

    /// Takes off an entry that is due, as long as there is one.
    pub(super) fn expired(&mut self, now: Time) -> Option<u32> {
        let tick = now.as_micros() >> TICK_SHIFT;
        // After a long sleep one round holds every entry there is.
        self.current = self.current.max((tick + 1).saturating_sub(TICKS as u64));
        while self.current <= tick {
            let place = (self.current % TICKS as u64) as usize;
            let number = self.heads[place];
            if number == NONE {
                self.current += 1;
                continue;
            }
            let due = self.entries[number as usize].due;
            self.unset(number);
            if due <= tick {
                return Some(number);
            }
            // It was parked: its own tick is still to come.
            self.place(number, due, self.current + 1);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Time {
        Time::from_micros(millis * 1000)
    }

    fn all(timers: &mut Timers, now: Time) -> Vec<u32> {
        let mut numbers: Vec<u32> = std::iter::from_fn(|| timers.expired(now)).collect();
        numbers.sort_unstable();
        numbers
    }

    #[test]
    fn entries_fall_due_in_their_tick() {
        let mut timers = Timers::new();
        for number in 0..2000 {
            timers.set(number, millis(u64::from(number) * 7));
        }
        let mut seen = 0;
        let mut now = Time::ZERO;
        while let Some(next) = timers.next() {
            assert!(next >= now);
            now = now.max(next);
            for number in all(&mut timers, now) {
                let due = millis(u64::from(number) * 7);
                assert_eq!(Timers::floor(due), Timers::floor(now), "{number}");
                seen += 1;
            }
        }
        assert_eq!(seen, 2000);
    }

    #[test]
    fn what_is_taken_off_or_moved_does_not_fall_due() {
        let mut timers = Timers::new();
        for number in 0..10 {
            timers.set(number, millis(50));
        }
        for number in (0..10).step_by(2) {
            timers.unset(number);
        }
        timers.set(1, millis(500));
        timers.unset(99);
        assert_eq!(all(&mut timers, millis(100)), [3, 5, 7, 9]);
        assert_eq!(all(&mut timers, millis(490)), []);
        assert_eq!(all(&mut timers, millis(520)), [1]);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn a_long_sleep_and_a_far_deadline_are_met() {
        let mut timers = Timers::new();
        timers.set(0, millis(3_600_000));
        timers.set(1, millis(10));
        assert_eq!(all(&mut timers, millis(3_000_000)), [1]);
        assert_eq!(all(&mut timers, millis(3_599_990)), []);
        assert!(timers.next().unwrap() <= millis(3_600_010));
        assert_eq!(all(&mut timers, millis(3_600_010)), [0]);
        timers.set(2, millis(5));
        assert_eq!(all(&mut timers, millis(3_600_020)), [2], "a moment past falls due at once");
    }
}
