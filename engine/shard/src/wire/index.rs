//! Numbers by the hash of a name: an open-addressed table that is built once and then only read.
//!
//! A slot of eight octets holds the upper half of the hash and the number plus one; zero is empty. Probing is linear, and
//! at least a third of the slots are empty, so that a miss ends soon. The names themselves are the caller's to compare.

/// The table.
#[derive(Clone, Debug)]
pub struct NameIndex {
    /// A power of two of them.
    slots: Box<[u64]>,
}

impl NameIndex {
    /// A table for `count` numbers.
    pub fn new(count: usize) -> NameIndex {
        NameIndex { slots: vec![0; (count * 3 / 2 + 1).next_power_of_two()].into() }
    }

    /// Adds a number, below [`u32::MAX`], under a hash. No more may be added than the table was made for.
    pub fn insert(&mut self, hash: u64, number: u32) {
        assert!(number < u32::MAX);
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        while self.slots[slot] != 0 {
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = hash >> 32 << 32 | u64::from(number + 1);
    }

    /// The number under `hash` that `is_it`.
    #[inline]
    pub fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let entry = self.slots[slot & mask];
            if entry == 0 {
                return None;
            }
            let number = (entry as u32).wrapping_sub(1);
            if (entry ^ hash) >> 32 == 0 && is_it(number) {
                return Some(number);
            }
            slot += 1;
        }
    }

    /// Octets of memory that the table takes.
    pub fn octets(&self) -> usize {
        self.slots.len() * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_found_and_nothing_else() {
        for count in [0, 1, 2, 3, 1000] {
            // Hashes that all begin at the last slot, so that probing goes around.
            let hash = |i: u32| u64::from(i % 7) << 32 | 0xffff_ffff;
            let mut index = NameIndex::new(count as usize);
            for i in 0..count {
                index.insert(hash(i), i);
            }
            for i in 0..count {
                assert_eq!(index.find(hash(i), |number| number == i), Some(i), "{i} of {count}");
            }
            assert_eq!(index.find(hash(0), |number| number == count), None);
            assert_eq!(index.find(8 << 32, |_| true), None);
        }
    }
}
