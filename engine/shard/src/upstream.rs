//! Which servers are asked for which names, and in what order. Strategies and health beyond the two below come with
//! the edge cache.

use std::net::SocketAddr;
use std::time::Duration;

use smallvec::SmallVec;

use crate::limits::ROUTE_POOLS_MAX;
use crate::wire::index::NameIndex;
use crate::wire::name::{HashKey, KeyedName, Name};

/// What an upstream is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It resolves: asked with RD set.
    Resolver,
    /// It is authoritative and we are its public face: asked with RD clear, AA kept.
    Authoritative,
}

/// In which order the servers of a pool are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// A name keeps to one server; the others stand by.
    Uniform,
    /// The first server; the others stand by in the order given.
    Fallback,
}

/// How a server is asked first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Datagrams, and TCP where the reply is truncated.
    Udp,
    /// TCP always.
    Tcp,
}

/// A server of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// How it is asked.
    pub protocol: Protocol,
    /// Where it is asked.
    pub address: SocketAddr,
}

/// One `[[upstream]]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its name in the configuration.
    pub name: String,
    /// The servers, at least one.
    pub servers: Vec<Server>,
    /// What they are to us.
    pub kind: Kind,
    /// In which order they are asked.
    pub strategy: Strategy,
    /// The longest a client waits.
    pub timeout: Duration,
}

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

/// Suffix to target; the longest suffix wins.
#[derive(Clone, Debug)]
pub struct Routes {
    entries: Vec<(Name, Target)>,
    /// Places in `entries` by suffix.
    index: NameIndex,
    /// Bit i: there is a suffix of i labels.
    depths: u128,
}

impl Routes {
    /// Builds the table. Of two entries for the same suffix the later one wins.
    pub fn new(key: &HashKey, entries: Vec<(Name, Target)>) -> Routes {
        let mut sorted = entries;
        sorted.reverse();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        sorted.dedup_by(|b, a| a.0 == b.0);
        let mut routes = Routes { index: NameIndex::new(sorted.len()), entries: sorted, depths: 0 };
        for (i, (suffix, _)) in routes.entries.iter().enumerate() {
            let name = KeyedName::new(key, suffix.as_wire()).expect("a name of ours is whole");
            routes.depths |= 1 << name.labels();
            routes.index.insert(name.name_hash(), i as u32);
        }
        routes
    }

    /// The target of the longest suffix of `name` that has at most `labels` labels.
    #[inline]
    pub fn find(&self, name: &KeyedName, labels: usize) -> Option<&Target> {
        let mut depths = self.depths & (u128::MAX >> (127 - labels));
        while depths != 0 {
            let depth = 127 - depths.leading_zeros() as usize;
            let suffix = name.suffix(depth);
            let is_it = |i| self.entries[i as usize].0.as_wire() == suffix;
            if let Some(i) = self.index.find(name.suffix_hash(depth), is_it) {
                return Some(&self.entries[i as usize].1);
            }
            depths &= !(1 << depth);
        }
        None
    }

    /// Whether both send the same names to the same pools, as far as indices tell. Names that are ours or refused in one
    /// of them do not count: nothing of theirs is asked elsewhere.
    pub fn forward_alike(&self, other: &Routes) -> bool {
        self.forwarded().eq(other.forwarded())
    }

    fn forwarded(&self) -> impl Iterator<Item = &(Name, Target)> {
        self.entries.iter().filter(|(_, target)| matches!(target, Target::Pools(_)))
    }
}

/// A server to ask, out of one of the pools of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The server.
    pub server: Server,
    /// What it is to us.
    pub kind: Kind,
}

/// The servers of a route in the order in which they are asked for `name`.
pub fn candidates<'p>(pools: impl Iterator<Item = &'p Pool>, name: &[u8]) -> SmallVec<[Candidate; 4]> {
    let mut candidates = SmallVec::new();
    for pool in pools.take(ROUTE_POOLS_MAX) {
        let first = match pool.strategy {
            Strategy::Fallback => 0,
            Strategy::Uniform => jump_hash(stable_hash(name), pool.servers.len()),
        };
        let (before, from_first) = pool.servers.split_at(first);
        candidates.extend(from_first.iter().chain(before).map(|&server| Candidate { server, kind: pool.kind }));
    }
    candidates
}

/// Jump consistent hash (Lamping and Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm", 2014): where one more
/// bucket comes, only its share of the keys moves.
fn jump_hash(mut key: u64, buckets: usize) -> usize {
    let (mut bucket, mut next) = (0, 0);
    while next < buckets as u64 {
        bucket = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        next = ((bucket + 1) as f64 * ((1u64 << 31) as f64 / ((key >> 33) + 1) as f64)) as u64;
    }
    bucket as usize
}

/// FNV-1a: the same in every process, so that a name keeps to its server over restarts and across nodes.
fn stable_hash(octets: &[u8]) -> u64 {
    octets.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &octet| (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3))
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
            routes.find(&name, name.labels()).cloned()
        };
        assert_eq!(find("example.test"), Some(Target::Zone(0)));
        assert_eq!(find("a.b.example.test"), Some(Target::Zone(0)));
        assert_eq!(find("a.b.sub.example.test"), Some(Target::Pools(vec![1])));
        assert_eq!(find("xexample.test"), Some(Target::Refuse));
        assert_eq!(find("example"), None);
        assert_eq!(find("."), None);
        let with_root = Routes::new(&key, vec![(Name::root(), Target::Refuse)]);
        let longest = KeyedName::new(&key, &[[1, b'a'].repeat(127), vec![0]].concat()).unwrap();
        assert_eq!(with_root.find(&longest, 127), Some(&Target::Refuse));
    }

    fn pool(strategy: Strategy, ports: std::ops::Range<u16>) -> Pool {
        let server = |port| Server { protocol: Protocol::Udp, address: ([127, 0, 0, 1], port).into() };
        Pool {
            name: "pool".into(),
            servers: ports.map(server).collect(),
            kind: Kind::Resolver,
            strategy,
            timeout: Duration::from_secs(2),
        }
    }

    #[test]
    fn every_server_stands_by_once_in_the_order_of_pools() {
        let pools = [pool(Strategy::Fallback, 1..4), pool(Strategy::Uniform, 10..15)];
        for i in 0..50 {
            let order = candidates(pools.iter(), name(&format!("n{i}.test")).as_wire());
            let ports: Vec<u16> = order.iter().map(|c| c.server.address.port()).collect();
            assert_eq!(ports[..3], [1, 2, 3]);
            let mut rest = ports[3..].to_vec();
            rest.sort_unstable();
            assert_eq!(rest, [10, 11, 12, 13, 14]);
        }
    }

    #[test]
    fn one_more_server_moves_its_share_alone_and_all_are_used() {
        let keys: Vec<u64> = (0..10_000).map(|i| stable_hash(format!("name{i}").as_bytes())).collect();
        for servers in 1..10 {
            let moved = keys.iter().filter(|&&key| jump_hash(key, servers) != jump_hash(key, servers + 1));
            assert!(moved.clone().all(|&key| jump_hash(key, servers + 1) == servers));
            let share = keys.len() / (servers + 1);
            assert!(moved.count().abs_diff(share) < share / 5);
        }
    }
}
