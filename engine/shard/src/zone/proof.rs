//! Which NSEC and NSEC3 records prove what a lookup says of names that the zone does not have: RFC 4035 §3.1.3 and
//! §3.1.4, RFC 5155 §7.2, RFC 7129. It finds their owners; writing is the caller's.
//!
//! The image knows the hashes of its own names and of the wildcards just below them. So the one name that is hashed here
//! is the next closer one (RFC 5155 §1.3) of a name that does not exist: at most once for each lookup.

use smallvec::SmallVec;

use super::image::{Denial, Image, Node, Nsec3Parameters};
use super::lookup::{Found, Outcome};
use crate::limits::NAME_OCTETS_MAX;
use crate::wire::name::KeyedName;
use crate::wire::rdata::rtype;

/// Records that one lookup needs at most: closest encloser, next closer name, wildcard.
const RECORDS_A_LOOKUP_MAX: usize = 3;

/// The owners of the NSEC and NSEC3 records of an answer, each once, in the order in which they were found.
#[derive(Debug, Default)]
pub struct Proof<'z> {
    owners: SmallVec<[Node<'z>; RECORDS_A_LOOKUP_MAX]>,
}

impl<'z> Proof<'z> {
    /// Whether nothing has to be proved.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    /// The owners.
    pub fn owners(&self) -> impl Iterator<Item = Node<'z>> {
        self.owners.iter().copied()
    }

    /// Owners of two zones may have one name and are two all the same.
    fn add(&mut self, owner: Node<'z>) {
        if !self.owners.iter().any(|known| std::ptr::eq(known.name(), owner.name())) {
            self.owners.push(owner);
        }
    }
}

impl Image {
    /// Adds what proves `found`, which a lookup of `name` gave: nothing where the answer speaks for itself, or the zone
    /// has neither NSEC nor NSEC3 records. Where a zone signed badly lacks a record it is missing here too.
    pub fn prove<'z>(&'z self, name: &KeyedName, found: &Found<'z>, proof: &mut Proof<'z>) {
        match &self.denial {
            Denial::None => {}
            Denial::Nsec => self.prove_by_nsec(name, found, proof),
            Denial::Nsec3(parameters) => Nsec3 { image: self, parameters, name }.prove(found, proof),
        }
    }

    fn prove_by_nsec<'z>(&'z self, name: &KeyedName, found: &Found<'z>, proof: &mut Proof<'z>) {
        let mut add = |name: &[u8]| {
            if let Some((owner, _)) = self.nsec_at_or_before(name) {
                proof.add(owner);
            }
        };
        if found.wildcard || matches!(found.outcome, Outcome::NxDomain) {
            // The name itself does not exist.
            add(name.as_wire());
        }
        match found.outcome {
            // Nor does the wildcard that would stand for it.
            Outcome::NxDomain => {
                let encloser = found.node.name();
                let mut wildcard = [0; NAME_OCTETS_MAX + 2];
                wildcard[..2].copy_from_slice(b"\x01*");
                wildcard[2..2 + encloser.len()].copy_from_slice(encloser);
                add(&wildcard[..2 + encloser.len()]);
            }
            // What the node has: not this type. An empty non-terminal lies between an NSEC and its next name.
            Outcome::NoData => add(found.node.name()),
            Outcome::Delegation(_) if found.node.rrset(rtype::DS).is_none() => add(found.node.name()),
            _ => {}
        }
    }
}

/// A lookup in a zone with NSEC3.
struct Nsec3<'z, 'n> {
    image: &'z Image,
    parameters: &'z Nsec3Parameters,
    name: &'n KeyedName,
}

impl<'z> Nsec3<'z, '_> {
    fn prove(&self, found: &Found<'z>, proof: &mut Proof<'z>) {
        let node = found.node;
        // The parent of a wildcard that stands in for the name is the closest encloser (RFC 4592 §3.3.1).
        let encloser = || node.labels() - 1;
        match found.outcome {
            // RFC 5155 §7.2.2.
            Outcome::NxDomain => {
                if let Some(provable) = self.closest_encloser(node.labels(), None, proof) {
                    self.add(provable.hashes().map(|(_, wildcard)| wildcard), proof);
                }
            }
            // §7.2.5.
            Outcome::NoData if found.wildcard => {
                self.closest_encloser(encloser(), None, proof);
                self.add(node.hashes().map(|(own, _)| own), proof);
            }
            // §7.2.3, §7.2.4.
            Outcome::NoData => self.at(node, proof),
            // §7.2.7. A wildcard may be a cut, and then both must be shown.
            Outcome::Delegation(_) if node.rrset(rtype::DS).is_none() => {
                if found.wildcard {
                    self.closest_encloser(encloser(), None, proof);
                }
                self.at(node, proof);
            }
            // §7.2.6: that the name does not exist; the labels of the signatures tell the closest encloser.
            _ if found.wildcard => self.add(Some(self.hash(encloser() + 1)), proof),
            _ => {}
        }
    }

    /// The record of a node; where opt-out left it without one, that which spans it (RFC 5155 §7.2.4, §7.2.7).
    fn at(&self, node: Node<'z>, proof: &mut Proof<'z>) {
        let Some((own, _)) = node.hashes() else { return };
        if let Some((owner, true)) = self.image.nsec3_at_or_before(own) {
            proof.add(owner);
        } else if let Some(above) = node.labels().checked_sub(1) {
            self.closest_encloser(above, Some(own), proof);
        }
    }

    /// The proof of the closest provable encloser (§7.2.1): the nearest name with a record from that of `labels` labels
    /// up, and what covers the name next closer to the one asked for, of hash `next_closer` if that is known. Returns
    /// the encloser.
    fn closest_encloser(&self, labels: usize, mut next_closer: Option<u64>, proof: &mut Proof<'z>) -> Option<Node<'z>> {
        let apex = self.image.apex_node().labels();
        for labels in (apex..=labels).rev() {
            let node = self.image.node(self.name, labels)?;
            let (own, _) = node.hashes()?;
            if let Some((owner, true)) = self.image.nsec3_at_or_before(own) {
                proof.add(owner);
                self.add(Some(next_closer.unwrap_or_else(|| self.hash(labels + 1))), proof);
                return Some(node);
            }
            next_closer = Some(own);
        }
        None
    }

    /// Adds the record at a hash, or that which covers it.
    fn add(&self, hash: Option<u64>, proof: &mut Proof<'z>) {
        if let Some((owner, _)) = hash.and_then(|hash| self.image.nsec3_at_or_before(hash)) {
            proof.add(owner);
        }
    }

    /// The hash of a suffix of the name asked for.
    fn hash(&self, labels: usize) -> u64 {
        self.parameters.hash(self.name.suffix(labels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::name::{HashKey, Name};
    use crate::zone::lookup::lookup;
    use crate::zone::{Builder, Place, nsec3};

    fn key() -> HashKey {
        HashKey::from_seed([9; 16])
    }

    fn wire(text: &str) -> Vec<u8> {
        text.parse::<Name>().unwrap().as_wire().to_vec()
    }

    fn zone(records: &[(&[u8], u16, &[u8])]) -> Image {
        let mut builder = Builder::new("example.test".parse().unwrap(), key());
        let (apex, soa) =
            (wire("example.test"), [wire("ns.example.test"), wire("host.example.test"), vec![0; 20]].concat());
        builder.push(&apex, rtype::SOA, 60, &soa, Place::default()).unwrap();
        builder.push(&apex, rtype::NS, 60, &wire("ns.example.test"), Place::default()).unwrap();
        for (owner, rtype, data) in records {
            builder.push(owner, *rtype, 60, data, Place::default()).unwrap();
        }
        builder.finish().unwrap()
    }

    /// The owners of what proves the answer to a question of type A.
    fn proved(image: &Image, name: &[u8]) -> Vec<Vec<u8>> {
        let name = KeyedName::new(&key(), name).unwrap();
        let mut proof = Proof::default();
        image.prove(&name, &lookup(image, &name, rtype::A), &mut proof);
        proof.owners().map(|owner| owner.name().to_vec()).collect()
    }

    /// The owner of the NSEC3 record of a name.
    fn hashed(name: &str) -> Vec<u8> {
        let hash = nsec3::hash(&wire(name), &[], 0);
        let digits = hash.chunks(5).flat_map(|five| {
            let word = five.iter().fold(0_u64, |word, octet| word << 8 | u64::from(*octet));
            (0..8).rev().map(move |digit| char::from_digit((word >> (5 * digit)) as u32 & 31, 32).unwrap())
        });
        wire(&format!("{}.example.test", digits.collect::<String>()))
    }

    const PARAMETERS: &[u8] = &[1, 0, 0, 0, 0];

    fn nsec3_data() -> Vec<u8> {
        [PARAMETERS, &[20], &[0; 20]].concat()
    }

    #[test]
    fn a_record_that_serves_twice_is_there_once() {
        let next = [wire("example.test"), vec![0, 1, 0x40]].concat();
        let by_nsec = zone(&[(&wire("example.test"), rtype::NSEC, &next)]);
        assert_eq!(proved(&by_nsec, &wire("none.example.test")), [wire("example.test")]);
        let (apex, data) = (wire("example.test"), nsec3_data());
        let owner = hashed("example.test");
        let by_nsec3 = zone(&[(&apex, rtype::NSEC3PARAM, PARAMETERS), (&owner, rtype::NSEC3, &data)]);
        assert_eq!(proved(&by_nsec3, &wire("none.example.test")), [owner]);
    }

    #[test]
    fn a_zone_that_is_not_signed_proves_nothing() {
        assert!(proved(&zone(&[]), &wire("none.example.test")).is_empty());
    }

    #[test]
    fn where_a_chain_lacks_records_so_does_the_proof() {
        let (apex, data, www) = (wire("example.test"), nsec3_data(), wire("www.example.test"));
        let elsewhere = hashed("elsewhere.example.test");
        let image = zone(&[
            (&apex, rtype::NSEC3PARAM, PARAMETERS),
            (&elsewhere, rtype::NSEC3, &data),
            (&www, rtype::TXT, b"\x01x"),
        ]);
        for name in ["none.example.test", "www.example.test", "x.www.example.test"] {
            assert!(proved(&image, &wire(name)).is_empty(), "{name}");
        }
    }

    #[test]
    fn the_longest_names_are_proved_not_to_be() {
        // Below 253 octets there is room for one label of one octet.
        let label = |octets: usize| [vec![octets as u8], vec![b'a'; octets]].concat();
        let name = [label(58), label(59), label(59), label(59), wire("example.test")].concat();
        assert_eq!(name.len(), 253);
        let next = [wire("example.test"), vec![0, 1, 0x40]].concat();
        let (apex, data) = (wire("example.test"), nsec3_data());
        let owner = hashed("example.test");
        let asked = [&[1, b'x'][..], &name].concat();
        let by_nsec = zone(&[(&apex, rtype::NSEC, &next), (&name, rtype::TXT, b"\x01x")]);
        assert_eq!(proved(&by_nsec, &asked), [wire("example.test")]);
        let by_nsec3 = zone(&[
            (&apex, rtype::NSEC3PARAM, PARAMETERS),
            (&owner, rtype::NSEC3, &data),
            (&name, rtype::TXT, b"\x01x"),
        ]);
        assert_eq!(proved(&by_nsec3, &asked), [owner]);
    }
}
