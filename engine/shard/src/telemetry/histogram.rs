//! Spans counted in buckets whose width grows with them: four to each power of two, so that what is read from them is
//! at most a fifth off.

use core::time::Duration;

/// Buckets of an octave, as a power of two.
const FINE_BITS: u32 = 2;
const FINE: usize = 1 << FINE_BITS;
/// The highest bit that is told apart: longer spans (above two minutes) share the last bucket.
const HIGHEST_BIT: u32 = 26;
const BUCKETS: usize = FINE + (HIGHEST_BIT - FINE_BITS + 1) as usize * FINE;

/// Spans in microseconds, log-scaled. 840 octets; recording touches one cache line and the sum's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    buckets: [u64; BUCKETS],
    /// Microseconds of all spans together.
    sum: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { buckets: [0; BUCKETS], sum: 0 }
    }
}

impl Histogram {
    /// Counts a span of so many microseconds.
    #[inline]
    pub fn record(&mut self, micros: u64) {
        self.record_many(micros, 1);
    }

    /// Counts the same span `count` times.
    #[inline]
    pub fn record_many(&mut self, micros: u64, count: u64) {
        self.buckets[bucket(micros)] += count;
        self.sum = self.sum.saturating_add(micros.saturating_mul(count));
    }

    /// Adds another core's figures to these.
    pub fn add(&mut self, other: &Histogram) {
        self.buckets.iter_mut().zip(&other.buckets).for_each(|(ours, theirs)| *ours += theirs);
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// Takes away what was there `before`: what is left is what came since.
    #[must_use]
    pub fn since(&self, before: &Histogram) -> Histogram {
        let mut since = Histogram { sum: self.sum.saturating_sub(before.sum), ..Histogram::default() };
        for (index, left) in since.buckets.iter_mut().enumerate() {
            *left = self.buckets[index].saturating_sub(before.buckets[index]);
        }
        since
    }

    /// How many spans were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// All spans together, in microseconds.
    pub fn sum_micros(&self) -> u64 {
        self.sum
    }

    /// How many spans were of at most `micros` microseconds, where that is the end of a bucket: a power of two less one.
    pub fn up_to(&self, micros: u64) -> u64 {
        self.buckets[..=bucket(micros)].iter().sum()
    }

    /// The buckets that have something in them, in order: the longest span of each in microseconds, and how many there are.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        let filled = self.buckets.iter().enumerate().filter(|(_, count)| **count > 0);
        filled.map(|(index, count)| (upper(index), *count))
    }

    /// The span that a share of all (0.0 to 1.0) does not exceed, as the upper end of its bucket; `None` where nothing was
    /// counted.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let count = self.count();
        let rank = ((count as f64 * share).ceil() as u64).clamp(1, count.max(1));
        let mut below = 0;
        let index = self.buckets.iter().position(|&bucket| {
            below += bucket;
            below >= rank
        })?;
        Some(Duration::from_micros(upper(index)))
    }
}

#[inline]
fn bucket(micros: u64) -> usize {
    if micros < FINE as u64 {
        return micros as usize;
    }
    let highest = micros.ilog2();
    if highest > HIGHEST_BIT {
        return BUCKETS - 1;
    }
    let octave = (highest - FINE_BITS) as usize;
    let fine = (micros >> (highest - FINE_BITS)) as usize & (FINE - 1);
    FINE + octave * FINE + fine
}

/// The longest span of a bucket, in microseconds.
fn upper(index: usize) -> u64 {
    match index.checked_sub(FINE) {
        None => index as u64,
        Some(above) => {
            let (octave, fine) = (above / FINE, above % FINE);
            ((FINE + fine + 1) as u64) << octave
        }
        .saturating_sub(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_span_is_in_the_bucket_that_ends_at_or_above_it() {
        let mut last = 0;
        for micros in (0..4_096).chain((12..27).flat_map(|bit| [(1u64 << bit) - 1, 1 << bit, (1 << bit) + 1])) {
            let index = bucket(micros);
            assert!(index >= last, "{micros}");
            last = index;
            assert!(upper(index) >= micros, "{micros} above {}", upper(index));
            assert!(index == 0 || upper(index - 1) < micros, "{micros} belongs below");
            assert!(upper(index) - micros <= micros / 4, "{micros} is told as {}", upper(index));
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_and_sums_are_of_what_was_recorded() {
        let mut histogram = Histogram::default();
        assert_eq!((histogram.quantile(0.5), histogram.count()), (None, 0));
        histogram.record_many(3, 98);
        histogram.record(1_000);
        let before = histogram.clone();
        histogram.record(1_000_000);
        assert_eq!((histogram.count(), histogram.sum_micros()), (100, 98 * 3 + 1_000 + 1_000_000));
        assert_eq!(histogram.quantile(0.5), Some(Duration::from_micros(3)));
        assert_eq!(histogram.quantile(0.99), Some(Duration::from_micros(1_023)));
        assert_eq!(histogram.quantile(1.0), Some(Duration::from_micros(1_048_575)));
        assert_eq!((histogram.up_to(3), histogram.up_to(1_023), histogram.up_to((1 << 26) - 1)), (98, 99, 100));
        let buckets: Vec<_> = histogram.buckets().collect();
        assert_eq!(buckets, [(3, 98), (1_023, 1), (1_048_575, 1)]);
        let since = histogram.since(&before);
        assert_eq!((since.count(), since.sum_micros()), (1, 1_000_000));
        let mut sum = before;
        sum.add(&since);
        assert_eq!(sum, histogram);
    }
}
