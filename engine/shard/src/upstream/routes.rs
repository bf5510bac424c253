//! Suffix to target: where names go.

use crate::limits::LABELS_MAX;
use crate::wire::index::NameIndex;
use crate::wire::is_same;
use crate::wire::name::{HashKey, KeyedName, Name};

/// Where a name goes.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    #[inline(always)] // Two callers on the path of every query.
    pub fn find(&self, name: &KeyedName, labels: usize) -> Option<(&Target, usize)> {
        let mut depth = self.depths[labels];
        while depth != NO_DEPTH {
            let labels = usize::from(depth);
            let suffix = name.suffix(labels);
            let entry = self.index.find_map(name.suffix_hash(labels), |i| {
                let entry = self.entries.get(i as usize)?;
                is_same(entry.0.as_wire(), suffix).then_some(entry)
            });
            if let Some((_, target)) = entry {
                return Some((target, labels));
            }
            depth = if depth == 0 { NO_DEPTH } else { self.depths[labels - 1] };
        }
        None
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
}
