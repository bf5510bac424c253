//! Places by keyed hash: an open-addressed table in many parts, so that it grows and shrinks in small steps.
//!
//! The upper bits of the hash choose the part. A slot of eight octets holds the lower half of the hash, the *tag*, and the
//! place plus one; zero is empty. Tags lie in ascending order but for collisions, since a slot's home is its tag scaled to
//! the length of the part, which therefore may be any. Probing is linear; at least a quarter of the slots are empty.
//! Growing a part needs nothing but its tags: no entry is touched.

/// Where an entry lies: see [`Store`](super::store::Store).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(pub(super) u32);

/// The table.
#[derive(Debug)]
pub(super) struct Table {
    /// A power of two of them.
    parts: Box<[Part]>,
    /// The hash shifted right by this is the part.
    shift: u32,
    count: usize,
    slots: usize,
}

#[derive(Debug, Default)]
struct Part {
    slots: Box<[u64]>,
    count: u32,
}

/// The fewest slots of a part that has any.
const SLOTS_MIN: usize = 4;

fn slot_of(hash: u64, place: Place) -> u64 {
    hash << 32 | u64::from(place.0 + 1)
}

impl Table {
    /// An empty table whose `parts`, rounded up to a power of two, share what there is to be held.
    pub(super) fn new(parts: usize) -> Table {
        let parts = parts.next_power_of_two();
        Table {
            parts: (0..parts).map(|_| Part::default()).collect(),
            // One part takes all: shifting by 63 leaves one bit, and that one is taken off in `part`.
            shift: 63_u32.saturating_sub(parts.ilog2().saturating_sub(1)),
            count: 0,
            slots: 0,
        }
    }

    /// Places held.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Octets of the slots and of what leads to them.
    pub(super) fn octets(&self) -> usize {
        self.slots * 8 + self.parts.len() * size_of::<Part>()
    }

    /// How many parts there are.
    pub(super) fn parts(&self) -> usize {
        self.parts.len()
    }

    /// The places of a part, each with the number of its slot, from the slot `from` on.
    pub(super) fn places(&self, part: usize, from: usize) -> impl Iterator<Item = (usize, Place)> {
        let slots = self.parts[part].slots.iter().enumerate().skip(from);
        slots.filter(|(_, slot)| **slot != 0).map(|(i, &slot)| (i, Place(slot as u32 - 1)))
    }

    #[inline]
    fn part(&self, hash: u64) -> usize {
        (hash >> self.shift) as usize & (self.parts.len() - 1)
    }

    /// What `look` finds at the first place under `hash` where it finds something. It is asked about places of other hashes,
    /// too, if seldom.
    #[inline]
    pub(super) fn find<T>(&self, hash: u64, mut look: impl FnMut(Place) -> Option<T>) -> Option<T> {
        let slots = &*self.parts[self.part(hash)].slots;
        if slots.is_empty() {
            return None;
        }
        let mut at = home(hash as u32, slots.len());
        loop {
            // Going around at the end is rare, and looked for where there is nothing else to do.
            let Some(&slot) = slots.get(at) else {
                at = 0;
                continue;
            };
            if (slot >> 32) as u32 == hash as u32
                && slot != 0
                && let Some(found) = look(Place((slot as u32).wrapping_sub(1)))
            {
                return Some(found);
            }
            if slot == 0 {
                return None;
            }
            at += 1;
        }
    }

    /// Octets that it grows by when a place is added under `hash`.
    pub(super) fn growth(&self, hash: u64) -> usize {
        let part = &self.parts[self.part(hash)];
        if part.is_full() { (larger(part.slots.len()) - part.slots.len()) * 8 } else { 0 }
    }

    /// Adds a place under `hash`.
    pub(super) fn insert(&mut self, hash: u64, place: Place) {
        assert!(place.0 < u32::MAX);
        let number = self.part(hash);
        let part = &mut self.parts[number];
        if part.is_full() {
            self.slots -= part.slots.len();
            part.resize(larger(part.slots.len()));
            self.slots += part.slots.len();
        }
        put(&mut part.slots, slot_of(hash, place));
        part.count += 1;
        self.count += 1;
    }

    /// What lay at `old` under `hash` lies at `new`.
    pub(super) fn replace(&mut self, hash: u64, old: Place, new: Place) {
        let part = &mut self.parts[self.part(hash)];
        let at = part.slot_at(hash, old);
        part.slots[at] = slot_of(hash, new);
    }

    /// Takes out a place, which is there. What stands behind it moves up, each as far as its own home lets it, so that
    /// no walk ends too early.
    pub(super) fn remove(&mut self, hash: u64, place: Place) {
        let number = self.part(hash);
        let part = &mut self.parts[number];
        let mut hole = part.slot_at(hash, place);
        let slots = &mut part.slots;
        let length = slots.len();
        let mut at = hole;
        loop {
            at = if at + 1 == length { 0 } else { at + 1 };
            let slot = slots[at];
            if slot == 0 {
                break;
            }
            let home = home((slot >> 32) as u32, length);
            let (walked, to_hole) = ((at + length - home) % length, (at + length - hole) % length);
            if walked >= to_hole {
                slots[hole] = slot;
                hole = at;
            }
        }
        slots[hole] = 0;
        part.count -= 1;
        self.count -= 1;
        if (part.count as usize) < part.slots.len() / 4 {
            self.slots -= part.slots.len();
            part.resize(if part.count == 0 { 0 } else { fitting(part.count as usize * 2) });
            self.slots += part.slots.len();
        }
    }

    /// Takes out everything.
    pub(super) fn clear(&mut self) {
        *self = Table::new(self.parts.len());
    }
}

impl Part {
    /// Whether it must grow before there can be one more.
    fn is_full(&self) -> bool {
        (self.count as usize + 1) * 4 > self.slots.len() * 3
    }

    fn slot_at(&self, hash: u64, place: Place) -> usize {
        let mut at = home(hash as u32, self.slots.len());
        while self.slots[at] != slot_of(hash, place) {
            assert!(self.slots[at] != 0, "the place is in the table");
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
        at
    }

    #[cold]
    fn resize(&mut self, length: usize) {
        let old = std::mem::replace(&mut self.slots, vec![0; length].into());
        old.iter().filter(|&&slot| slot != 0).for_each(|&slot| put(&mut self.slots, slot));
    }
}

/// Where the search for a tag begins: the tag scaled to the length.
#[inline]
fn home(tag: u32, length: usize) -> usize {
    ((u64::from(tag) * length as u64) >> 32) as usize
}

fn put(slots: &mut [u64], slot: u64) {
    let mut at = home((slot >> 32) as u32, slots.len());
    while slots[at] != 0 {
        at = if at + 1 == slots.len() { 0 } else { at + 1 };
    }
    slots[at] = slot;
}

/// The next length: powers of two, and what lies midway between two of them, which allocators have a class for.
fn larger(length: usize) -> usize {
    if length.is_power_of_two() { length + length / 2 } else { (length + 1).next_power_of_two().max(SLOTS_MIN) }
}

/// The least of those lengths that holds `slots`.
fn fitting(slots: usize) -> usize {
    let power = slots.next_power_of_two().max(SLOTS_MIN);
    if power / 4 * 3 >= slots.max(SLOTS_MIN) { power / 4 * 3 } else { power }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hash whose tag and part are told.
    fn hash(part: u64, tag: u32) -> u64 {
        part << 61 | u64::from(tag)
    }

    fn find(table: &Table, hash: u64, place: u32) -> bool {
        table.find(hash, |found| (found == Place(place)).then_some(())).is_some()
    }

    #[test]
    fn what_was_put_in_is_found_and_nothing_else() {
        for parts in [1, 2, 8] {
            let mut table = Table::new(parts);
            // Tags close to the end, so that probing goes around.
            let hash = |i: u32| hash(u64::from(i % 8), u32::MAX - i % 5);
            (0..1000).for_each(|i| table.insert(hash(i), Place(i)));
            assert!((0..1000).all(|i| find(&table, hash(i), i)));
            assert!(!find(&table, hash(1000), 1000));
            assert_eq!((table.len(), table.parts()), (1000, parts));
            assert_eq!((0..parts).map(|part| table.places(part, 0).count()).sum::<usize>(), 1000);
            table.replace(hash(7), Place(7), Place(5_000));
            assert!(find(&table, hash(7), 5_000) && !find(&table, hash(7), 7));
        }
    }

    #[test]
    fn what_is_taken_out_hides_nothing() {
        let tag = |i: u32| [3 << 30, 3 << 30, u32::MAX, 0, 1 << 31, u32::MAX, 3 << 30, 5, 0, 1 << 30][i as usize];
        for pattern in 0..1_u32 << 10 {
            let mut table = Table::new(1);
            (0..10).for_each(|i| table.insert(hash(0, tag(i)), Place(i)));
            let goes = |i: &u32| pattern & 1 << i != 0;
            (0..10).filter(goes).for_each(|i| table.remove(hash(0, tag(i)), Place(i)));
            assert!((0..10).all(|i| find(&table, hash(0, tag(i)), i) != goes(&i)), "{pattern:b}");
        }
    }

    #[test]
    fn it_grows_and_shrinks_with_what_is_in_it() {
        let mut table = Table::new(4);
        let empty = table.octets();
        let hash = |i: u32| u64::from(i).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for i in 0..10_000 {
            table.insert(hash(i), Place(i));
            let slots = (table.octets() - empty) / 8;
            assert!(slots * 3 >= table.len() * 4 && slots <= table.len() * 2 + 4 * 2 * SLOTS_MIN, "{i}: {slots}");
        }
        for i in 0..10_000 {
            table.remove(hash(i), Place(i));
            assert!((table.octets() - empty) / 8 <= table.len() * 5 + 4 * SLOTS_MIN);
        }
        assert_eq!((table.len(), table.octets()), (0, empty));
        table.insert(hash(1), Place(1));
        table.clear();
        assert_eq!((table.len(), table.octets()), (0, empty));
    }
}
