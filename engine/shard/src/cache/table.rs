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
    count: usize,
    slots: usize,
}

#[derive(Debug, Default)]
struct Part {
    slots: Box<[Slot]>,
    count: u32,
}

/// From the upper bits down: the tag, the place plus one. As octets, so that those of a slot can be told without reading it.
type Slot = [u8; 8];

const EMPTY: Slot = [0; 8];

/// The fewest slots of a part that has any.
const SLOTS_MIN: usize = 4;

fn slot_of(hash: u64, place: Place) -> Slot {
    (hash << 32 | u64::from(place.0 + 1)).to_ne_bytes()
}

#[inline]
fn tag(slot: Slot) -> u32 {
    (u64::from_ne_bytes(slot) >> 32) as u32
}

/// The place in a slot that is not empty.
#[inline]
fn place(slot: Slot) -> Place {
    Place((u64::from_ne_bytes(slot) as u32).wrapping_sub(1))
}

impl Table {
    /// An empty table whose `parts`, rounded up to a power of two, share what there is to be held.
    pub(super) fn new(parts: usize) -> Table {
        let parts = parts.next_power_of_two();
        Table { parts: (0..parts).map(|_| Part::default()).collect(), count: 0, slots: 0 }
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
        slots.filter(|(_, slot)| **slot != EMPTY).map(|(i, &slot)| (i, place(slot)))
    }

    #[inline]
    fn part(&self, hash: u64) -> usize {
        home((hash >> 32) as u32, self.parts.len())
    }

    /// The slot where a search for `hash` begins, and those behind it; none where the part has none.
    #[inline(always)]
    fn slots(&self, hash: u64) -> Option<&[Slot]> {
        let slots = &*self.parts.get(self.part(hash))?.slots;
        slots.get(home(hash as u32, slots.len())..)
    }

    /// The octets of the slot where a search for `hash` begins, which are not read.
    #[inline]
    pub(super) fn slot(&self, hash: u64) -> Option<&Slot> {
        self.slots(hash)?.first()
    }

    /// The first place whose tag is that of `hash`. It is the right one, if there is any, but for one search in a
    /// thousand million, and for those that go around at the end of a part: [`Table::find`] finds these.
    #[inline(always)]
    pub(super) fn first(&self, hash: u64) -> Option<Place> {
        let &slot = self.slots(hash)?.iter().find(|&&slot| tag(slot) == hash as u32 || slot == EMPTY)?;
        if slot == EMPTY { None } else { Some(place(slot)) }
    }

    /// What `look` finds at the first place under `hash` where it finds something. It is asked about places of other hashes,
    /// too, if seldom.
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
            if slot == EMPTY {
                return None;
            }
            if tag(slot) == hash as u32
                && let Some(found) = look(place(slot))
            {
                return Some(found);
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
            if slot == EMPTY {
                break;
            }
            let home = home(tag(slot), length);
            let (walked, to_hole) = ((at + length - home) % length, (at + length - hole) % length);
            if walked >= to_hole {
                slots[hole] = slot;
                hole = at;
            }
        }
        slots[hole] = EMPTY;
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
            assert!(self.slots[at] != EMPTY, "the place is in the table");
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
        at
    }

    #[cold]
    fn resize(&mut self, length: usize) {
        let old = std::mem::replace(&mut self.slots, vec![EMPTY; length].into());
        old.iter().filter(|&&slot| slot != EMPTY).for_each(|&slot| put(&mut self.slots, slot));
    }
}

/// Where the search for a tag begins: the tag scaled to the length.
#[inline]
fn home(tag: u32, length: usize) -> usize {
    ((u64::from(tag) * length as u64) >> 32) as usize
}

fn put(slots: &mut [Slot], slot: Slot) {
    let mut at = home(tag(slot), slots.len());
    while slots[at] != EMPTY {
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
        // What is found at first is among what is found at all.
        assert!(
            table.first(hash).is_none_or(|first| table.find(hash, |found| (found == first).then_some(())).is_some())
        );
        table.find(hash, |found| (found == Place(place)).then_some(())).is_some()
    }

    #[test]
    fn the_first_place_of_a_tag_is_found_at_once_but_around_the_end() {
        let mut table = Table::new(1);
        assert_eq!((table.first(hash(0, 7)), table.slot(hash(0, 7))), (None, None));
        (0..3).for_each(|i| table.insert(hash(0, 7), Place(i)));
        assert_eq!((table.first(hash(0, 7)), table.first(hash(0, 8))), (Some(Place(0)), None));
        assert_eq!(table.slot(hash(0, 7)), Some(&slot_of(7, Place(0))));
        table.insert(hash(0, u32::MAX - 1), Place(3));
        table.insert(hash(0, u32::MAX), Place(4));
        assert_eq!(table.first(hash(0, u32::MAX - 1)), Some(Place(3)));
        assert_eq!(table.first(hash(0, u32::MAX)), None, "it stands at the begin of the part");
        assert!(find(&table, hash(0, u32::MAX), 4));
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
