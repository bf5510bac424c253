//! How often something may happen for each of endlessly many keys, counted in a fixed table.
//!
//! **The bound** is a token bucket of one second's worth: in any span of `t` seconds at most `rate · (t + 1)` events of a
//! key are admitted. It is kept as one number, the moment when the bucket is full again (the generic cell rate
//! algorithm, ITU-T I.371): nothing has to be counted down, and a key's load is how far that moment lies ahead. Loads of
//! keys with different rates compare, since every full bucket is a second.
//!
//! **The table** has a fixed number of lines of eight slots of eight octets. A key has two lines, chosen by a keyed
//! hash that nobody outside can aim with, and lies in one of their sixteen slots (with two choices the fullest line is
//! hardly fuller than the mean: Azar, Broder, Karlin and Upfal, *Balanced allocations*, 1994). A key that is in neither
//! takes the slot with the least load. It does not take over that load, as it would in Space-Saving (Metwally, Agrawal
//! and El Abbadi, 2005) and in Knot's table: there a flood of invented keys fills everybody's counters. Here it
//! costs nobody anything: a new key begins with a full bucket, and a key under attack stays, since its load is the
//! highest of its lines. What a flood can do is to make keys of little load forgotten: with `F` keys a second invented,
//! a key whose events come less often than `F / entries` times a second may go unnoticed.

use crate::limits::CELLS_MAX;
use crate::time::Time;
use crate::wire::name::HashKey;

/// Slots of a line.
pub(super) const SLOTS: usize = 8;

/// A cache line of slots: the upper 24 bits are the key's tag, the lower 40 the moment when its bucket is full again,
/// in eighths of a microsecond (they turn over after 38 hours). A slot of which that moment has passed is free.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Line([u64; SLOTS]);

const _: () = assert!(size_of::<Line>() == 64);

const MOMENT_BITS: u32 = 40;
const MOMENTS: u64 = (1 << MOMENT_BITS) - 1;
const MOMENTS_A_MICROSECOND: u64 = 8;
const MOMENTS_A_SECOND: u64 = 1_000_000 * MOMENTS_A_MICROSECOND;
/// Events a second at most: what is said to be more is as much.
const RATE_MAX: u64 = 1_000_000;
/// No charge leads further ahead than a full bucket, whatever its rate.
const LOAD_MAX: u64 = MOMENTS_A_SECOND + RATE_MAX;

/// Events a second that one key is admitted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// What an event costs: the time in which the bucket gains as much again, in eighths of a microsecond.
    cost: u64,
    /// What a full bucket holds: one second's worth of events.
    burst: u64,
}

impl Rate {
    /// So many a second, one at least.
    pub(super) fn new(a_second: u32) -> Rate {
        let rate = u64::from(a_second).clamp(1, RATE_MAX);
        // Taken up, so that rounding never lets more through.
        let cost = MOMENTS_A_SECOND.div_ceil(rate);
        Rate { cost, burst: cost * rate }
    }
}

/// Where a key lies, or may lie: line and slot.
type Place = (usize, usize);

/// The table.
#[derive(Debug)]
pub(super) struct Cells {
    lines: Box<[Line]>,
    key: HashKey,
}

impl Cells {
    /// An empty table of at least `entries` slots, taken up to a power of two, at most [`CELLS_MAX`]. `seed` must be
    /// unpredictable to others.
    pub(super) fn new(entries: usize, seed: [u8; 16]) -> Cells {
        // Two lines at least: a key has two.
        let slots = entries.clamp(2 * SLOTS, CELLS_MAX).next_power_of_two();
        Cells { lines: vec![Line([0; SLOTS]); slots / SLOTS].into(), key: HashKey::from_seed(seed) }
    }

    /// Under which the hashes of keys are to be made.
    #[inline]
    pub(super) fn key(&self) -> &HashKey {
        &self.key
    }

    /// Slots of the table.
    #[cfg(test)]
    pub(super) fn slots(&self) -> usize {
        self.lines.len() * SLOTS
    }

    /// Whether the bucket of `hash` would admit an event.
    #[inline]
    pub(super) fn holds(&self, now: Time, hash: u64, rate: Rate) -> bool {
        let now = moment(now);
        match self.find(hash) {
            Ok((line, slot)) => load(self.lines[line].0[slot], now, rate.burst) + rate.cost <= rate.burst,
            Err(_) => true,
        }
    }

    /// Charges the bucket of `hash` for an event; `false`, and nothing is charged, when it does not hold as much. A key
    /// that has to give way before its bucket is full again is counted in `forgotten`.
    #[inline]
    pub(super) fn charge(&mut self, now: Time, hash: u64, rate: Rate, forgotten: &mut u64) -> bool {
        let now = moment(now);
        let ((line, slot), before) = match self.find(hash) {
            Ok((line, slot)) => {
                let before = load(self.lines[line].0[slot], now, rate.burst);
                if before + rate.cost > rate.burst {
                    return false;
                }
                ((line, slot), before)
            }
            Err(lines) => {
                let (least, place) = self.least(lines, now);
                *forgotten += u64::from(least > 0);
                (place, 0)
            }
        };
        self.lines[line].0[slot] = tag(hash) << MOMENT_BITS | (now + before + rate.cost) & MOMENTS;
        true
    }

    /// Where `hash` lies; otherwise the two lines where it may.
    #[inline]
    fn find(&self, hash: u64) -> Result<Place, [usize; 2]> {
        let tag = tag(hash);
        let mask = self.lines.len() - 1;
        let first = hash as usize & mask;
        // Another one than the first.
        let second = first ^ (self.key.mix(hash, tag) as usize & mask).max(1);
        for line in [first, second] {
            if let Some(slot) = self.lines[line].0.iter().position(|word| word >> MOMENT_BITS == tag) {
                return Ok((line, slot));
            }
        }
        Err([first, second])
    }

    /// The slot of these lines with the least load.
    #[inline]
    fn least(&self, lines: [usize; 2], now: u64) -> (u64, Place) {
        let least_of = |line: usize| {
            let loads = self.lines[line].0.iter().map(|&word| load(word, now, LOAD_MAX));
            loads.zip(0..SLOTS).min().map_or((0, (line, 0)), |(load, slot)| (load, (line, slot)))
        };
        least_of(lines[0]).min(least_of(lines[1]))
    }
}

#[inline]
fn tag(hash: u64) -> u64 {
    hash >> MOMENT_BITS
}

#[inline]
fn moment(now: Time) -> u64 {
    now.as_micros().wrapping_mul(MOMENTS_A_MICROSECOND) & MOMENTS
}

/// How far ahead of `now` the moment of a slot lies. What seems to lie further ahead than `most`, as no charge leads, has
/// passed, or the clock went back; then the bucket counts as full.
#[inline]
fn load(word: u64, now: u64, most: u64) -> u64 {
    let ahead = word.wrapping_sub(now) & MOMENTS;
    if ahead <= most { ahead } else { 0 }
}

// A full bucket at any rate is less than a quarter of a turn of the moments.
const _: () = assert!(LOAD_MAX < MOMENTS / 4);
const _: () = assert!(CELLS_MAX.is_power_of_two() && CELLS_MAX >= 2 * SLOTS);

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;

    /// Random numbers that are the same in every run.
    pub(in crate::guard) struct Random(pub(in crate::guard) u64);

    impl Random {
        pub(in crate::guard) fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ mixed >> 31
        }
    }

    #[test]
    fn the_table_is_a_power_of_two_within_its_bounds() {
        for (entries, slots) in [(0, 16), (17, 32), (65_536, 65_536), (usize::MAX, CELLS_MAX)] {
            assert_eq!(Cells::new(entries, [1; 16]).slots(), slots, "{entries}");
        }
    }

    #[test]
    fn to_look_costs_nothing() {
        let (mut cells, mut forgotten) = (Cells::new(16, [1; 16]), 0);
        let (now, rate) = (Time::from_secs(9), Rate::new(2));
        for charged in [false, true, true] {
            if charged {
                assert!(cells.charge(now, 77, rate, &mut forgotten));
            }
            let before = format!("{cells:?}");
            assert_eq!(cells.holds(now, 77, rate), cells.holds(now, 77, rate));
            assert_eq!(format!("{cells:?}"), before);
        }
        assert!(!cells.holds(now, 77, rate) && !cells.charge(now, 77, rate, &mut forgotten));
        assert!(cells.holds(now + Duration::from_millis(500), 77, rate));
        assert_eq!(forgotten, 0);
    }

    /// One second's worth is the same load at every rate: a key at its bound stays, however slow it is, and one that has
    /// just come goes.
    #[test]
    fn keys_of_different_rates_compare() {
        let (mut cells, mut forgotten) = (Cells::new(16, [1; 16]), 0);
        let now = Time::from_secs(9);
        let (slow, fast) = (Rate::new(5), Rate::new(1_000_000));
        for _ in 0..5 {
            assert!(cells.charge(now, 1 << 60, slow, &mut forgotten));
        }
        for key in 1..10_000 {
            assert!(cells.charge(now, key << 41 | key, fast, &mut forgotten), "a new key has a full bucket");
        }
        assert!(forgotten > 9_000);
        assert!(!cells.holds(now, 1 << 60, slow), "what is at its bound is not forgotten");
    }
}
