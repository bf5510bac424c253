//! Numbers by the hash of a name: an open-addressed table that is built, or changed as a copy, and then only read.
//!
//! A slot of eight octets holds the upper half of the hash and the number plus one; zero is empty. Probing is linear, and
//! at least a third of the slots are empty, so that a miss ends soon. The names themselves are the caller's to compare.

use core::hint::black_box;

/// The table.
#[derive(Clone, Debug)]
pub struct NameIndex {
    /// A power of two of them, little-endian: as octets, so that a slot can be fetched ahead.
    slots: Box<[[u8; 8]]>,
}

/// A slot that holds nothing.
const EMPTY: [u8; 8] = [0; 8];

/// What the slot of a number holds.
fn entry(hash: u64, number: u32) -> [u8; 8] {
    (hash >> 32 << 32 | u64::from(number + 1)).to_le_bytes()
}

/// The number in a slot that is not empty.
fn number_of(slot: [u8; 8]) -> u32 {
    u64::from_le_bytes(slot) as u32 - 1
}

impl NameIndex {
    /// A table for `count` numbers.
    pub fn new(count: usize) -> NameIndex {
        NameIndex { slots: vec![[0; 8]; NameIndex::slots_for(count)].into() }
    }

    fn slots_for(count: usize) -> usize {
        (count * 3 / 2 + 1).next_power_of_two()
    }

    /// Whether the table may hold `count` numbers.
    pub fn has_room_for(&self, count: usize) -> bool {
        NameIndex::slots_for(count) <= self.slots.len()
    }

    /// Adds a number, below [`u32::MAX`], under a hash. No more may be added than the table was made for.
    pub fn insert(&mut self, hash: u64, number: u32) {
        assert!(number < u32::MAX);
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        while self.slots[slot] != EMPTY {
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = entry(hash, number);
    }

    /// Adds many numbers, each under its hash, as [`NameIndex::insert`] would one by one. The slots of a few of them are
    /// read ahead, none of which waits for another: in a table larger than the caches each insertion is a miss, and one
    /// after the other those were a quarter of the time that a zone of 1,000,000 names took to load.
    pub fn insert_each(&mut self, entries: impl IntoIterator<Item = (u64, u32)>) {
        let mut batch = [(0, 0); 32];
        let mut waiting = 0;
        for entry in entries {
            batch[waiting] = entry;
            waiting += 1;
            if waiting == batch.len() {
                self.insert_batch(&batch);
                waiting = 0;
            }
        }
        self.insert_batch(&batch[..waiting]);
    }

    fn insert_batch(&mut self, batch: &[(u64, u32)]) {
        let mask = self.slots.len() - 1;
        for (hash, _) in batch {
            let _ = black_box(self.slots[*hash as usize & mask]);
        }
        batch.iter().for_each(|(hash, number)| self.insert(*hash, *number));
    }

    /// The number under `hash` that `is_it`.
    #[inline]
    pub fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.find_map(hash, |number| is_it(number).then_some(number))
    }

    /// What `look` finds at the first number under `hash` where it finds something.
    #[inline(always)] // Each caller looks in its own way, and mostly once.
    pub fn find_map<T>(&self, hash: u64, look: impl Fn(u32) -> Option<T>) -> Option<T> {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let entry = u64::from_le_bytes(self.slots[slot & mask]);
            if entry == 0 {
                return None;
            }
            let number = (entry as u32).wrapping_sub(1);
            if (entry ^ hash) >> 32 == 0
                && let Some(found) = look(number)
            {
                return Some(found);
            }
            slot += 1;
        }
    }

    /// The octets that [`NameIndex::find`] looks at first.
    #[inline]
    pub(crate) fn home(&self, hash: u64) -> &[u8] {
        &self.slots[hash as usize & (self.slots.len() - 1)]
    }

    /// Puts the number `new` in the place of `old`, which is there, under the same hash.
    pub fn replace(&mut self, hash: u64, old: u32, new: u32) {
        assert!(new < u32::MAX);
        let slot = self.slot_of(hash, old);
        self.slots[slot] = entry(hash, new);
    }

    /// Takes out a number, which is there. What stands behind it moves up, each as far as its own hash lets it, so that
    /// no walk ends too early; `hash_of` gives the hash of another number of the table.
    pub fn remove(&mut self, hash: u64, number: u32, mut hash_of: impl FnMut(u32) -> u64) {
        let mask = self.slots.len() - 1;
        let mut hole = self.slot_of(hash, number);
        let mut slot = hole;
        loop {
            slot = (slot + 1) & mask;
            let entry = self.slots[slot];
            if entry == EMPTY {
                break;
            }
            let home = hash_of(number_of(entry)) as usize & mask;
            let (walked, to_hole) = (slot.wrapping_sub(home) & mask, slot.wrapping_sub(hole) & mask);
            if walked >= to_hole {
                self.slots[hole] = entry;
                hole = slot;
            }
        }
        self.slots[hole] = EMPTY;
    }

    fn slot_of(&self, hash: u64, number: u32) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        while self.slots[slot] == EMPTY || number_of(self.slots[slot]) != number {
            assert!(self.slots[slot] != EMPTY, "the number is in the table");
            slot = (slot + 1) & mask;
        }
        slot
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

    #[test]
    fn many_are_put_in_as_one_by_one() {
        for count in [0, 1, 31, 32, 33, 64, 1000] {
            let hash = |i: u32| u64::from(i % 13) << 32 | u64::from(i.wrapping_mul(0x9e37_79b9));
            let (mut each, mut one) = (NameIndex::new(count as usize), NameIndex::new(count as usize));
            each.insert_each((0..count).map(|i| (hash(i), i)));
            (0..count).for_each(|i| one.insert(hash(i), i));
            assert_eq!(each.slots, one.slots, "{count}");
        }
    }

    #[test]
    fn what_is_taken_out_hides_nothing() {
        // Homes close to each other and around the end, in every pattern of removals.
        let hash = |i: u32| u64::from(i) << 32 | u64::from(i.wrapping_mul(7) % 5).wrapping_sub(2);
        let count = 10;
        for pattern in 0..1_u32 << count {
            let mut index = NameIndex::new(count as usize);
            (0..count).for_each(|i| index.insert(hash(i), i));
            let is_out = |i: u32| pattern >> i & 1 == 1;
            (0..count).filter(|&i| is_out(i)).for_each(|i| index.remove(hash(i), i, hash));
            for i in 0..count {
                assert_eq!(index.find(hash(i), |number| number == i).is_none(), is_out(i), "{i} of {pattern:b}");
            }
        }
    }

    #[test]
    fn a_number_takes_the_place_of_another() {
        let mut index = NameIndex::new(3);
        (0..3).for_each(|i| index.insert(5, i));
        index.replace(5, 1, 9);
        assert_eq!([0, 1, 2, 9].map(|i| index.find(5, |number| number == i)), [Some(0), None, Some(2), Some(9)]);
        assert!(index.has_room_for(4) && !index.has_room_for(100));
    }
}
