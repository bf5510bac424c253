//! Denials that hold for names below (RFC 8020): how many there are at each depth, so that a look for one costs nothing
//! where there is none.

use crate::limits::LABELS_MAX;

/// Denials by the labels of the name that does not exist.
#[derive(Debug)]
pub(super) struct Depths {
    counts: [u32; LABELS_MAX + 1],
    /// Bit set: there is one of so many labels.
    mask: u128,
}

const _: () = assert!(LABELS_MAX < 128);

impl Depths {
    pub(super) fn new() -> Depths {
        Depths { counts: [0; LABELS_MAX + 1], mask: 0 }
    }

    /// There is one more.
    pub(super) fn add(&mut self, labels: usize) {
        self.counts[labels] += 1;
        self.mask |= 1 << labels;
    }

    /// There is one less.
    pub(super) fn remove(&mut self, labels: usize) {
        self.counts[labels] -= 1;
        if self.counts[labels] == 0 {
            self.mask &= !(1 << labels);
        }
    }

    /// The depths that have any, more than `above` and less than `below` labels.
    #[inline]
    pub(super) fn between(&self, above: usize, below: usize) -> impl Iterator<Item = usize> + use<> {
        // Both are at most 127 labels.
        let mut left = self.mask & (u128::MAX << above << 1) & ((1 << below) - 1);
        core::iter::from_fn(move || {
            let labels = left.trailing_zeros() as usize;
            left &= left.wrapping_sub(1);
            (labels < 128).then_some(labels)
        })
    }
}

#[cfg(test)]
impl Depths {
    /// All of them.
    pub(super) fn count(&self) -> usize {
        self.counts.iter().map(|&count| count as usize).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depths_are_those_that_have_any() {
        let mut depths = Depths::new();
        let between = |depths: &Depths, above, below| depths.between(above, below).collect::<Vec<_>>();
        assert_eq!(between(&depths, 0, 127), []);
        [1, 3, 3, 126, 127].into_iter().for_each(|labels| depths.add(labels));
        assert_eq!(between(&depths, 0, 127), [1, 3, 126]);
        assert_eq!(between(&depths, 1, 126), [3]);
        assert_eq!(between(&depths, 3, 3), []);
        assert_eq!(between(&depths, 127, 127), []);
        depths.remove(3);
        assert_eq!(between(&depths, 1, 126), [3]);
        depths.remove(3);
        assert_eq!(between(&depths, 1, 126), []);
    }
}
