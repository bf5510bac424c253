//! The strategies: in which order the servers of a pool are asked. An order is a permutation of the places of the
//! pool's list; who is down is not known here, and taken out of its place afterwards.

use smallvec::SmallVec;

use crate::limits::POOL_SERVERS_MAX;

/// Places in the list of a pool's servers, each once.
pub(super) type Order = SmallVec<[u8; POOL_SERVERS_MAX]>;

const _: () = assert!(POOL_SERVERS_MAX <= u8::MAX as usize);

/// As the list has them.
pub(super) fn listed(servers: usize) -> Order {
    (0..servers as u8).collect()
}

/// For `key` always the same: a row of jump hashes, each with the one before as its salt. The first place of the row
/// that is up has the key. A server that is lost so gives its own keys away, evenly, and no key of another server
/// moves; when it is back, it gets them again.
pub(super) fn uniform(mut key: u64, servers: usize) -> Order {
    let mut order = Order::new();
    // Draws repeat places that came already. After so many the places that are still missing follow the last drawn.
    for _ in 0..4 * servers {
        let place = jump_hash(key, servers) as u8;
        if !order.contains(&place) {
            order.push(place);
            if order.len() == servers {
                return order;
            }
        }
        key = salted(key);
    }
    let last = order.last().map_or(0, |&place| usize::from(place));
    for place in (1..servers).map(|step| ((last + step) % servers) as u8) {
        if !order.contains(&place) {
            order.push(place);
        }
    }
    order
}

/// By chance, all orders alike (Fisher and Yates). `below` draws a number below its argument, at least 1.
pub(super) fn shuffled(servers: usize, mut below: impl FnMut(u32) -> u32) -> Order {
    let mut order = listed(servers);
    for place in (1..servers).rev() {
        order.swap(place, below(place as u32 + 1) as usize);
    }
    order
}

/// By chance, each place before the others as often as its weight among theirs says: drawn one after the other,
/// without putting back. Weights are at least 1.
pub(super) fn weighted(weights: &[u16], mut below: impl FnMut(u32) -> u32) -> Order {
    let mut order = listed(weights.len());
    let mut total: u32 = weights.iter().map(|&weight| u32::from(weight.max(1))).sum();
    for place in 0..order.len() {
        let mut drawn = below(total);
        let mut at = place;
        loop {
            let weight = u32::from(weights[usize::from(order[at])].max(1));
            if drawn < weight {
                total -= weight;
                break;
            }
            drawn -= weight;
            at += 1;
        }
        order.swap(place, at);
    }
    order
}

/// Jump consistent hash (Lamping and Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm", 2014,
/// arXiv:1406.2294): evenly spread, and where one more bucket comes at the end, only its share of the keys moves, all
/// of it there. Zero when there are no buckets.
fn jump_hash(mut key: u64, buckets: usize) -> usize {
    let (mut bucket, mut next) = (0, 0);
    while next < buckets as u64 {
        bucket = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        next = ((bucket + 1) as f64 * ((1u64 << 31) as f64 / ((key >> 33) + 1) as f64)) as u64;
    }
    bucket as usize
}

/// Another key out of `key`, as if by chance: a step of SplitMix64 (Steele, Lea and Flood, 2014).
fn salted(key: u64) -> u64 {
    let mixed = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The key of a name or suffix for [`uniform`], by FNV-1a: the same in every process, so that a name keeps to its
/// server over restarts and across nodes.
pub(super) fn stable_hash(octets: &[u8]) -> u64 {
    octets.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &octet| (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_bucket_takes_its_share_alone() {
        let keys: Vec<u64> = (0..10_000).map(|i| stable_hash(format!("name{i}").as_bytes())).collect();
        for buckets in 1..10 {
            let moved = keys.iter().filter(|&&key| jump_hash(key, buckets) != jump_hash(key, buckets + 1));
            assert!(moved.clone().all(|&key| jump_hash(key, buckets + 1) == buckets));
            let share = keys.len() / (buckets + 1);
            assert!(moved.count().abs_diff(share) < share / 5);
        }
        assert_eq!(jump_hash(1, 0), 0);
    }

    #[test]
    fn every_order_has_every_place_once() {
        let mut state = 7;
        let mut below = |bound: u32| {
            state = salted(state);
            (state % u64::from(bound)) as u32
        };
        for servers in 0..=POOL_SERVERS_MAX {
            let weights: Vec<u16> = (0..servers as u16).map(|place| place % 5).collect();
            for key in 0..50 {
                let orders = [
                    listed(servers),
                    uniform(stable_hash(&[key]), servers),
                    shuffled(servers, &mut below),
                    weighted(&weights, &mut below),
                ];
                for mut order in orders {
                    order.sort_unstable();
                    assert_eq!(order, listed(servers));
                }
            }
        }
    }

    #[test]
    fn weights_are_shares() {
        let mut state = 1;
        let mut below = |bound: u32| {
            state = salted(state);
            ((u128::from(state) * u128::from(bound)) >> 64) as u32
        };
        let mut firsts = [0u32; 3];
        let mut seconds_behind_the_last = [0u32; 3];
        for _ in 0..60_000 {
            let order = weighted(&[1, 2, 3], &mut below);
            firsts[usize::from(order[0])] += 1;
            if order[0] == 2 {
                seconds_behind_the_last[usize::from(order[1])] += 1;
            }
        }
        for (first, share) in firsts.iter().zip([10_000, 20_000, 30_000]) {
            assert!(first.abs_diff(share) < 600, "{firsts:?}");
        }
        let [one, two, none] = seconds_behind_the_last;
        assert!(none == 0 && two.abs_diff(2 * one) < 1_200, "those that are left keep their shares: {one} {two}");
    }

    #[test]
    fn all_shuffles_are_alike() {
        let mut state = 3;
        let mut below = |bound: u32| {
            state = salted(state);
            ((u128::from(state) * u128::from(bound)) >> 64) as u32
        };
        let mut seen = std::collections::HashMap::new();
        for _ in 0..24_000 {
            *seen.entry(shuffled(4, &mut below).to_vec()).or_insert(0u32) += 1;
        }
        assert_eq!(seen.len(), 24);
        assert!(seen.values().all(|&times| times.abs_diff(1_000) < 200), "{seen:?}");
    }
}
