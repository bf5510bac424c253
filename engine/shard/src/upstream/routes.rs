//! Suffix to target: where names go.

use crate::limits::LABELS_MAX;
use crate::wire::index::NameIndex;
use crate::wire::name::{HashKey, KeyedName, Name};
use crate::wire::{is_same, is_same_name};

/// Where a name goes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(u32)] // A tag of its own is told in half the instructions that one within the vector takes.
pub enum Target {
    /// Index of a zone of ours.
    Zone(u32),
    /// Indices of pools, in the order in which they are tried.
    Pools(Vec<u32>),
    /// Nowhere: REFUSED.
    Refuse,
}

/// There is no suffix as short.
const NO_DEPTH: u8 = u8::MAX;

/// Suffix to target; the longest suffix wins.
#[derive(Clone, Debug)]
pub struct Routes {
    entries: Vec<(Name, Target)>,
    /// Places in `entries` by suffix.
    index: NameIndex,
    /// By labels of a name: how many labels the longest suffix has that such a name may have; [`NO_DEPTH`]: none.
    depths: [u8; LABELS_MAX + 1],
}

impl Routes {
    /// Builds the table. Of two entries for the same suffix the later one wins.
    pub fn new(key: &HashKey, entries: Vec<(Name, Target)>) -> Routes {
        let mut sorted = entries;
        sorted.reverse();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        sorted.dedup_by(|b, a| a.0 == b.0);
        let mut routes =
            Routes { index: NameIndex::new(sorted.len()), entries: sorted, depths: [NO_DEPTH; LABELS_MAX + 1] };
        for (i, (suffix, _)) in routes.entries.iter().enumerate() {
            let name = KeyedName::new(key, suffix.as_wire()).expect("a name of ours is whole");
            routes.depths[name.labels()] = name.labels() as u8;
            routes.index.insert(name.name_hash(), i as u32);
        }
        for labels in 1..=LABELS_MAX {
            if routes.depths[labels] == NO_DEPTH {
                routes.depths[labels] = routes.depths[labels - 1];
            }
        }
        routes
    }

    /// The target of the longest suffix of `name` that has at most `labels` labels, and how many it has.
    #[inline(always)] // On the path of every query.
    pub fn find(&self, name: &KeyedName, labels: usize) -> Option<(&Target, usize)> {
        let mut depth = self.depths[labels];
        while depth != NO_DEPTH {
            let labels = usize::from(depth);
            // A hash that is the same is nearly always the suffix's own, so that one comparison behind the walk is
            // enough.
            if let Some(i) = self.index.find(name.suffix_hash(labels), |_| true) {
                let (suffix, target) = &self.entries[i as usize];
                return match is_same_name(suffix.as_wire(), name.suffix(labels)) {
                    true => Some((target, labels)),
                    false => self.find_among_alike(name, depth),
                };
            }
            depth = self.depth_above(depth);
        }
        None
    }

    /// The same from a depth on where the suffix is long, or another one has much the same hash: each is compared.
    #[cold]
    #[inline(never)]
    fn find_among_alike(&self, name: &KeyedName, mut depth: u8) -> Option<(&Target, usize)> {
        while depth != NO_DEPTH {
            let labels = usize::from(depth);
            let suffix = name.suffix(labels);
            let is_it = |i: u32| is_same(self.entries[i as usize].0.as_wire(), suffix);
            if let Some(i) = self.index.find(name.suffix_hash(labels), is_it) {
                return Some((&self.entries[i as usize].1, labels));
            }
            depth = self.depth_above(depth);
        }
        None
    }

    /// The next depth above one that there is.
    #[inline(always)]
    fn depth_above(&self, depth: u8) -> u8 {
        usize::from(depth).checked_sub(1).map_or(NO_DEPTH, |labels| self.depths[labels])
    }

    /// Whether both send the same names to the same pools, as far as indices tell. Names that are ours or refused in
    /// one of them do not count: nothing of theirs is asked elsewhere.
    pub fn forward_alike(&self, other: &Routes) -> bool {
        self.forwarded().eq(other.forwarded())
    }

    fn forwarded(&self) -> impl Iterator<Item = &(Name, Target)> {
        self.entries.iter().filter(|(_, target)| matches!(target, Target::Pools(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn the_longest_suffix_wins_and_of_equal_ones_the_later() {
        let key = HashKey::from_seed([1; 16]);
        let routes = Routes::new(
            &key,
            vec![
                (name("example.test"), Target::Zone(9)),
                (name("sub.example.test"), Target::Pools(vec![1])),
                (name("test"), Target::Refuse),
                (name("EXAMPLE.test"), Target::Zone(0)),
            ],
        );
        let find = |text: &str| {
            let name = KeyedName::new(&key, name(text).as_wire()).unwrap();
            routes.find(&name, name.labels()).map(|(target, _)| target.clone())
        };
        assert_eq!(find("example.test"), Some(Target::Zone(0)));
        assert_eq!(find("a.b.example.test"), Some(Target::Zone(0)));
        assert_eq!(find("a.b.sub.example.test"), Some(Target::Pools(vec![1])));
        assert_eq!(find("xexample.test"), Some(Target::Refuse));
        assert_eq!(find("example"), None);
        assert_eq!(find("."), None);
        let with_root = Routes::new(&key, vec![(Name::root(), Target::Refuse)]);
        let longest = KeyedName::new(&key, &[[1, b'a'].repeat(127), vec![0]].concat()).unwrap();
        assert_eq!(with_root.find(&longest, 127), Some((&Target::Refuse, 0)));
    }

    #[test]
    fn a_hash_that_is_much_the_same_is_no_other_suffix() {
        let key = HashKey::from_seed([1; 16]);
        let keyed = |i: u32| KeyedName::new(&key, name(&format!("n{i}.test")).as_wire()).unwrap();
        // Of the table of one entry a hash sees the upper half and the lowest bit.
        let mut hashes: Vec<(u64, u32)> = (0..400_000).map(|i| (keyed(i).name_hash(), i)).collect();
        let seen = |hash: u64| hash & (u64::MAX << 32 | 1);
        hashes.sort_unstable_by_key(|(hash, _)| seen(*hash));
        let alike = hashes.windows(2).find(|two| seen(two[0].0) == seen(two[1].0)).expect("2 of 400,000 are alike");
        let (one, other) = (name(&format!("n{}.test", alike[0].1)), keyed(alike[1].1));
        let alone = Routes::new(&key, vec![(one.clone(), Target::Zone(1))]);
        assert_eq!(alone.find(&other, 2), None);
        assert_eq!(alone.find(&keyed(alike[0].1), 2), Some((&Target::Zone(1), 2)));
        let below = Routes::new(&key, vec![(one, Target::Zone(1)), (name("test"), Target::Zone(0))]);
        assert_eq!(below.find(&other, 2), Some((&Target::Zone(0), 1)));
    }

    #[test]
    fn suffixes_of_every_length_are_found() {
        let key = HashKey::from_seed([1; 16]);
        for octets in 1..=63 {
            let suffix = name(&"a".repeat(octets));
            let routes = Routes::new(&key, vec![(suffix.clone(), Target::Zone(0))]);
            let below = KeyedName::new(&key, &[b"\x01b", suffix.as_wire()].concat()).unwrap();
            assert_eq!(routes.find(&below, 2), Some((&Target::Zone(0), 1)), "{octets}");
            let other = KeyedName::new(&key, &[b"\x01b", name(&"b".repeat(octets)).as_wire()].concat()).unwrap();
            assert_eq!(routes.find(&other, 2), None, "{octets}");
        }
        let root = Routes::new(&key, vec![(Name::root(), Target::Zone(0))]);
        let test = KeyedName::new(&key, name("test").as_wire()).unwrap();
        assert_eq!(root.find(&test, 1), Some((&Target::Zone(0), 0)));
    }
}
