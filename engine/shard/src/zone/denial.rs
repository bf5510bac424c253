//! Which NSEC or NSEC3 record stands at a place in the zone's order, or last before it. What a proof is made of is the
//! answer's business.

use std::cmp::Ordering;

use super::image::{Image, Node};
use crate::limits::LABELS_MAX;
use crate::wire::name;
use crate::wire::rdata::rtype;

/// Nodes without NSEC records that are passed over: empty non-terminals, of which there is one a label. More of them in
/// a row are a zone that is signed badly.
const WITHOUT_NSEC_MAX: usize = LABELS_MAX;

impl Image {
    /// The owner of the NSEC record at `name` or last before it in canonical order (RFC 4034 §6.1); whether it is
    /// `name` itself. `name` lies in the zone, in lower-case wire form. `None` where a zone signed badly has none there.
    pub fn nsec_at_or_before(&self, name: &[u8]) -> Option<(Node<'_>, bool)> {
        let before = self.order.partition_point(|&number| name::canonical_order(self.at(number).name(), name).is_le());
        for &number in self.order[..before].iter().rev().take(WITHOUT_NSEC_MAX) {
            let node = self.at(number);
            // Below a cut or a DNAME nothing has an NSEC; the cut and the DNAME's owner have.
            let node = if node.is_occluded() { node.cover().map_or(node, |cover| self.at(cover)) } else { node };
            if node.rrset(rtype::NSEC).is_some() {
                return Some((node, node.name() == name));
            }
        }
        None
    }

    /// The owner of the NSEC3 record whose hash begins with `hash`, or of the one that covers it: the last before it, the
    /// first hash following on the last (RFC 5155 §3.1.7); whether it matches. `None` where there is no such chain.
    pub fn nsec3_at_or_before(&self, hash: u64) -> Option<(Node<'_>, bool)> {
        let behind = self.behind(hash);
        let around = self.chain[..behind].iter().rev().chain(self.chain[behind..].iter().rev());
        let node = around.map(|link| self.at(link.number)).find(|node| !node.is_of_other_chain())?;
        Some((node, node.hashes().is_some_and(|(own, _)| own == hash)))
    }

    /// How many links of the chain have a hash up to `hash`. Hashes are spread evenly, so that the search begins where
    /// the hash would be and looks at a few neighbours (interpolation, then galloping).
    fn behind(&self, hash: u64) -> usize {
        let prefix = (hash >> 32) as u32;
        let compare = |at: usize| {
            let link = self.chain[at];
            link.prefix.cmp(&prefix).then_with(|| {
                let (own, _) = self.at(link.number).hashes().expect("an NSEC3 owner has its hash");
                own.cmp(&hash)
            })
        };
        let is_up_to = |at: usize| compare(at) != Ordering::Greater;
        let length = self.chain.len();
        if length == 0 {
            return 0;
        }
        let guess = ((u64::from(prefix) * length as u64) >> 32) as usize;
        let (mut low, mut high) = (guess, guess);
        let mut step = 1;
        if is_up_to(guess) {
            while high < length && is_up_to(high) {
                low = high + 1;
                high += step;
                step *= 2;
            }
            high = high.min(length);
        } else {
            while low > 0 && !is_up_to(low) {
                high = low;
                low = low.saturating_sub(step);
                step *= 2;
            }
        }
        // Everything before `low` is up to the hash, unless `low` is 0; nothing from `high` on is.
        while low < high {
            let middle = low + (high - low) / 2;
            if is_up_to(middle) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::super::image::Link;
    use super::*;
    use crate::wire::name::{HashKey, Name};
    use crate::zone::image::Denial;
    use crate::zone::{Builder, Place};

    fn wire(text: &str) -> Vec<u8> {
        text.parse::<Name>().unwrap().as_wire().to_vec()
    }

    fn zone(records: &[(&str, u16, Vec<u8>)]) -> Image {
        let mut builder = Builder::new("example.test".parse().unwrap(), HashKey::from_seed([9; 16]));
        let soa = [wire("ns.example.test"), wire("host.example.test"), vec![0; 20]].concat();
        let apex = [("example.test", rtype::SOA, soa), ("example.test", rtype::NS, wire("ns.example.test"))];
        for (owner, rtype, data) in apex.iter().chain(records) {
            builder.push(&wire(owner), *rtype, 60, data, Place::default()).unwrap();
        }
        builder.finish().unwrap()
    }

    #[test]
    fn the_nsec_before_a_name_is_found() {
        let nsec = |next: &str| [wire(next), vec![0, 1, 0x40]].concat();
        let zone = zone(&[
            ("example.test", rtype::NSEC, nsec("a.example.test")),
            ("a.example.test", rtype::NSEC, nsec("x.ent.example.test")),
            ("x.ent.example.test", rtype::NSEC, nsec("sub.example.test")),
            ("sub.example.test", rtype::NSEC, nsec("example.test")),
            ("sub.example.test", rtype::NS, wire("ns.sub.example.test")),
            ("ns.sub.example.test", rtype::A, vec![192, 0, 2, 1]),
        ]);
        assert_eq!(*zone.denial(), Denial::Nsec);
        for (name, owner, is_it) in [
            ("example.test", "example.test", true),
            ("*.example.test", "example.test", false),
            ("a.example.test", "a.example.test", true),
            ("b.a.example.test", "a.example.test", false),
            ("ent.example.test", "a.example.test", false),
            ("y.ent.example.test", "x.ent.example.test", false),
            ("f.example.test", "x.ent.example.test", false),
            ("sub.example.test", "sub.example.test", true),
            ("zz.example.test", "sub.example.test", false),
        ] {
            let (found, matches) = zone.nsec_at_or_before(&wire(name)).unwrap();
            assert_eq!((found.name(), matches), (&wire(owner)[..], is_it), "{name}");
        }
    }

    #[test]
    fn the_nsec3_before_a_hash_is_found_in_any_spread() {
        let parameters = vec![1, 0, 0, 0, 0];
        let records_of = |hashes: &[u64]| {
            let mut records = vec![("example.test".to_owned(), rtype::NSEC3PARAM, parameters.clone())];
            for hash in hashes {
                let mut label = String::new();
                let octets = [&hash.to_be_bytes()[..], &[0; 12]].concat();
                for five in octets.chunks(5) {
                    let word = five.iter().fold(0_u64, |word, octet| word << 8 | u64::from(*octet));
                    for digit in (0..8).rev() {
                        label.push(char::from_digit((word >> (5 * digit)) as u32 & 31, 32).unwrap());
                    }
                }
                let data = [parameters.clone(), vec![20], vec![0; 20]].concat();
                records.push((format!("{label}.example.test"), rtype::NSEC3, data));
            }
            records
        };
        let spreads: [&[u64]; 5] = [
            &[],
            &[7 << 60],
            &[1, 2, 3, 4, 5, 6, 7, u64::MAX],
            &[0, 1 << 62, 1 << 63, 3 << 62],
            &[u64::MAX - 3, u64::MAX - 2, u64::MAX - 1],
        ];
        for hashes in spreads {
            let records = records_of(hashes);
            let records: Vec<_> = records.iter().map(|(owner, rtype, data)| (&**owner, *rtype, data.clone())).collect();
            let zone = zone(&records);
            assert_eq!(zone.names(), 1, "NSEC3 owners are no names");
            assert_eq!(zone.chain.iter().map(|Link { prefix, .. }| *prefix).collect::<Vec<_>>(), {
                hashes.iter().map(|hash| (hash >> 32) as u32).collect::<Vec<_>>()
            });
            let probes = hashes.iter().flat_map(|hash| [hash.wrapping_sub(1), *hash, hash.wrapping_add(1)]);
            for probe in probes.chain([0, 1 << 40, 1 << 61, u64::MAX]) {
                let found = zone.nsec3_at_or_before(probe).map(|(node, is_it)| (node.hashes().unwrap().0, is_it));
                let expected = hashes.iter().rev().find(|hash| **hash <= probe).or(hashes.last());
                assert_eq!(found, expected.map(|hash| (*hash, *hash == probe)), "{probe:x} in {hashes:x?}");
            }
        }
    }
}
