//! What a look into the cache will need, told before it is: most of what a hit costs in a large cache is waiting for the
//! slot of the table, then for the entry. While one request of a batch is answered, the memory of the others can come.

use super::Cache;

/// Octets of an entry that are told: head and message of a common answer.
const ENTRY_OCTETS: usize = 96;

impl Cache {
    /// Hands the octets of the table's slot for `hash`, which is [`Key::hash`](super::Key::hash), to `fetch`; they are not
    /// read. Nothing changes.
    #[inline]
    pub(crate) fn ahead(&self, hash: u64, fetch: &impl Fn(&[u8])) {
        if let Some(slot) = self.store.table().slot(hash) {
            fetch(slot);
        }
    }

    /// Hands the first octets of the entry for `hash`, where there seems to be one, to `fetch`; they are not read, but the
    /// slot is: [`Cache::ahead`] comes before, for all requests of a batch. Nothing changes.
    #[inline]
    pub(crate) fn closer(&self, hash: u64, fetch: &impl Fn(&[u8])) {
        if let Some(place) = self.store.table().first(hash) {
            let entry = self.store.entry(place);
            fetch(&entry[..entry.len().min(ENTRY_OCTETS)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::super::testing::*;
    use super::super::*;

    /// What is told of a hash, by both.
    fn told(cache: &Cache, hash: u64) -> [Vec<(usize, usize)>; 2] {
        let told = RefCell::new(Vec::new());
        let fetch = |octets: &[u8]| told.borrow_mut().push((octets.as_ptr().addr(), octets.len()));
        cache.ahead(hash, &fetch);
        let slots = told.take();
        cache.closer(hash, &fetch);
        [slots, told.take()]
    }

    #[test]
    fn what_a_look_reads_is_told_before() {
        let mut world = World::new(SETTINGS);
        let absent = KEY.hash(&hash_key(), &name("absent.test"));
        assert_eq!(told(&world.cache, absent), [vec![], vec![]], "nothing is kept");
        (0..200).for_each(|i| _ = world.keep_a(&format!("n{i}.test"), 60));
        let mut lines = 0;
        for i in 0..200 {
            let name = name(&format!("n{i}.test"));
            let hash = KEY.hash(&hash_key(), &name);
            let [slots, entries] = told(&world.cache, hash);
            assert_eq!((slots.len(), slots[0].1), (1, 8));
            let (_, head) = world.cache.store.find(hash, name.as_wire(), KEY).expect("it is kept");
            // A walk around the end of the table is left to the look itself.
            for (at, octets) in entries {
                let Found::Fresh(hit) = world.find(&name, KEY) else { panic!("it is kept") };
                let message = hit.answer.message();
                assert_eq!(at + 32, message.as_ptr().addr());
                assert!((head.size()..=96).contains(&octets), "{octets}");
                lines += 1;
            }
        }
        assert!(lines >= 195, "{lines}");
        let [slots, entries] = told(&world.cache, absent);
        assert_eq!((slots.len(), entries.len()), (1, 0));
    }
}
