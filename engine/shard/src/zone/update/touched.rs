//! What the owners that a difference touches hold afterwards.

use std::ops::Range;

use super::Mismatch;
use crate::wire::name::{self, KeyedName};
use crate::wire::rdata::rtype;
use crate::zone::Place;
use crate::zone::difference::{Difference, record_order};
use crate::zone::image::{Denial, Image, Node, Nsec3Parameters, Record};
use crate::zone::layout::{Entry, View, nsec3_entries};
use crate::zone::nsec3;

/// Everything that touched owners hold afterwards.
pub(super) struct Afterwards<'a> {
    octets: Vec<u8>,
    pub(super) entries: Vec<Entry>,
    /// Names of the zone, in canonical order. One that is not there before nor afterwards may be among them.
    pub(super) names: Vec<Owner<'a>>,
    /// Owners of NSEC3 records, in the order of their hashes.
    pub(super) links: Vec<Owner<'a>>,
    /// Records of the whole zone.
    pub(super) records: usize,
    /// The zone may come to deny in another way.
    pub(super) denial_changes: bool,
}

/// An owner, and which of the entries are what it holds afterwards: none where it goes.
#[derive(Clone)]
pub(super) struct Owner<'a> {
    pub(super) name: &'a [u8],
    pub(super) entries: Range<usize>,
}

/// What is made of the addition of a record that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Additions {
    /// It is a mismatch.
    AreNew,
    /// It changes nothing.
    MayBeThere,
}

/// A record removed or added.
struct Edit<'a> {
    record: Record<'a>,
    added: bool,
}

impl<'a> Afterwards<'a> {
    /// Applies a difference to the owners that it touches. Additions of what is there are passed over, or refused.
    pub(super) fn of(
        image: &Image,
        difference: &'a Difference,
        additions: Additions,
    ) -> Result<Afterwards<'a>, Mismatch> {
        let mut edits = Vec::with_capacity(difference.records());
        edits.extend(difference.removed().map(|record| Edit { record, added: false }));
        edits.extend(difference.added().map(|record| Edit { record, added: true }));
        // Stable, so that of one record the removal comes first.
        edits.sort_by(|a, b| record_order(&a.record, &b.record));
        let mut after = Afterwards {
            octets: Vec::new(),
            entries: Vec::new(),
            names: Vec::new(),
            links: Vec::new(),
            records: image.records,
            denial_changes: false,
        };
        let mut name = KeyedName::default();
        for of_owner in edits.chunk_by(|a, b| a.record.owner == b.record.owner) {
            name.set(&image.key, of_owner[0].record.owner).expect("a difference holds whole names");
            after.owner(image, &name, of_owner, additions)?;
        }
        Ok(after)
    }

    fn owner(
        &mut self,
        image: &Image,
        name: &KeyedName,
        edits: &[Edit<'a>],
        additions: Additions,
    ) -> Result<(), Mismatch> {
        let owner = edits[0].record.owner;
        let node = image.node(name, name.labels());
        let hash = image.link_hash(owner);
        let link = hash.and_then(|hash| image.link(&hash, owner).ok()).map(|at| image.at(image.chain[at].number));
        let mut existing: Vec<Record<'_>> = [node, link]
            .into_iter()
            .flatten()
            .flat_map(|node| node.rrsets().flat_map(move |set| node.records_of(set)))
            .collect();
        existing.sort_by(record_order);
        self.denial_changes |= edits.iter().any(|edit| touches_denial(image, edit, hash.is_some()));
        let begin = self.entries.len();
        self.merge(&existing, edits, additions)?;
        if owner == image.apex.as_wire() {
            let has_nsec = self.entries[begin..].iter().any(|entry| entry.set == rtype::NSEC && !entry.is_signature);
            self.denial_changes |= has_nsec != image.apex_node().rrset(rtype::NSEC).is_some();
        }
        self.records = self.records - existing.len() + (self.entries.len() - begin);
        let view = View { octets: &self.octets };
        self.entries[begin..].sort_unstable_by(|a, b| view.compare(a, b));
        let end = self.entries.len();
        let mut names_end = end;
        if hash.is_some() {
            let apart = nsec3_entries(&self.entries[begin..]);
            names_end -= apart.len();
            self.entries[begin + apart.start..].rotate_left(apart.len());
            if link.is_some() || names_end < end {
                self.links.push(Owner { name: owner, entries: names_end..end });
            }
        }
        if node.is_some() || begin < names_end {
            self.names.push(Owner { name: owner, entries: begin..names_end });
        }
        Ok(())
    }

    /// Takes what an owner holds afterwards. Both are in the order of [`record_order`].
    fn merge(&mut self, existing: &[Record<'_>], edits: &[Edit<'_>], additions: Additions) -> Result<(), Mismatch> {
        let mut existing = existing.iter().peekable();
        for of_record in edits.chunk_by(|a, b| record_order(&a.record, &b.record).is_eq()) {
            let edited = &of_record[0].record;
            while let Some(before) = existing.next_if(|record| record_order(record, edited).is_lt()) {
                self.push(before);
            }
            let mut record = existing.next_if(|record| record_order(record, edited).is_eq());
            for edit in of_record {
                record = match (record, edit.added) {
                    (Some(_), false) => None,
                    (None, true) => Some(&edit.record),
                    (None, false) => return Err(Mismatch::not_there(&edit.record)),
                    (Some(there), true) if additions == Additions::MayBeThere => Some(there),
                    (Some(_), true) => return Err(Mismatch::there(&edit.record)),
                };
            }
            record.into_iter().for_each(|record| self.push(record));
        }
        existing.for_each(|record| self.push(record));
        Ok(())
    }

    fn push(&mut self, record: &Record<'_>) {
        let (set, is_signature) = Entry::set_of(record.rtype, record.data);
        self.entries.push(Entry {
            at: self.octets.len() as u64,
            data_octets: record.data.len() as u16,
            set,
            is_signature,
            ttl: record.ttl,
            place: Place::default(),
        });
        self.octets.extend(record.data);
    }

    /// The octets that the entries are made of.
    pub(super) fn view(&self) -> View<'_> {
        View { octets: &self.octets }
    }

    /// Touched owners.
    pub(super) fn owners(&self) -> usize {
        self.names.len() + self.links.len()
    }

    /// Whether a name is touched and holds something afterwards.
    pub(super) fn holds_something(&self, name: &[u8]) -> bool {
        let found = self.names.binary_search_by(|owner| name::canonical_order(owner.name, name));
        found.is_ok_and(|at| !self.names[at].entries.is_empty())
    }

    /// What touched owners hold, record by record.
    pub(super) fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.names.iter().chain(&self.links).flat_map(|owner| {
            self.entries[owner.entries.clone()].iter().map(|entry| Record {
                owner: owner.name,
                rtype: if entry.is_signature { rtype::RRSIG } else { entry.set },
                ttl: entry.ttl,
                data: self.view().data(entry),
            })
        })
    }

    /// Those of `nodes` that are not among `touched`, both in one order.
    pub(super) fn untouched<'z>(
        &self,
        touched: &[Owner<'_>],
        nodes: impl Iterator<Item = Node<'z>>,
    ) -> impl Iterator<Item = Node<'z>> {
        let mut touched = touched.iter().peekable();
        nodes.filter(move |node| {
            while touched.next_if(|owner| name::canonical_order(owner.name, node.name()).is_lt()).is_some() {}
            touched.peek().is_none_or(|owner| owner.name != node.name())
        })
    }
}

/// Whether an edit may lead to another way of denying, other than by taking away the whole chain.
fn touches_denial(image: &Image, edit: &Edit<'_>, is_link: bool) -> bool {
    let Record { owner, rtype, data, .. } = edit.record;
    match rtype {
        rtype::NSEC3PARAM => owner == image.apex.as_wire(),
        rtype::NSEC3 if is_link && edit.added => {
            let is_used = matches!(&image.denial, Denial::Nsec3(parameters) if parameters.are_those_of(data));
            let parameters = image.apex_node().rrset(rtype::NSEC3PARAM);
            let mut usable = parameters.iter().flat_map(|set| set.records.iter()).filter_map(Nsec3Parameters::usable);
            !is_used && usable.any(|parameters| parameters.are_those_of(data))
        }
        _ => false,
    }
}

impl Image {
    /// The hash that an owner stands for, if it is one that an NSEC3 record may have.
    pub(super) fn link_hash(&self, owner: &[u8]) -> Option<[u8; nsec3::HASH_OCTETS]> {
        let (label, above) = owner.split_first_chunk::<{ 1 + nsec3::LABEL_OCTETS }>()?;
        if usize::from(label[0]) != nsec3::LABEL_OCTETS || above != self.apex.as_wire() {
            return None;
        }
        nsec3::of_label(&label[1..])
    }

    /// The place of an NSEC3 owner in the chain, or where it would be.
    pub(super) fn link(&self, hash: &[u8; nsec3::HASH_OCTETS], owner: &[u8]) -> Result<usize, usize> {
        let prefix = (nsec3::prefix(hash) >> 32) as u32;
        // The digits of a hash sort as the hash does.
        self.chain
            .binary_search_by(|link| link.prefix.cmp(&prefix).then_with(|| self.at(link.number).name().cmp(owner)))
    }
}
