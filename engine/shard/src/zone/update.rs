//! A difference applied to an image: the flat memory is copied, and what the difference touches is written anew in it.
//!
//! `touched` finds out what the owners that are touched hold afterwards, and refuses a difference that does not fit.
//! `patch` changes a copy of the image. Where that would be no cheaper, or where the zone comes to deny in another way, the
//! image is built anew from its records.
//!
//! Differences are taken strictly: a record to be removed must be there, and one to be added must not, unless the caller
//! takes it loosely. A sender whose differences do not fit would leave a copy that is not the zone, and nobody would
//! notice; a whole transfer mends it. Only the TTL of what is removed does not count, since an image keeps one TTL a set (RFC 2181 §5.2), nor does the case of
//! names in data.

mod patch;
#[cfg(test)]
pub(super) mod tests;
mod touched;

use std::fmt;

use self::touched::{Additions, Afterwards};
use super::build::{Faults, index};
use super::difference::Difference;
use super::image::{Denial, Image, NO_COVER, Node, Record};
use super::{Builder, Place};
use crate::wire::index::NameIndex;
use crate::wire::name;
use crate::wire::rdata::rtype;

/// Why a difference does not fit the image that it was to be applied to: the zone is to be transferred whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// It is of another zone.
    Zone,
    /// It begins at another serial.
    Serial {
        /// The serial that there is.
        have: u32,
        /// The serial that it begins at.
        wanted: u32,
    },
    /// A record to be removed is not there: its owner and type.
    NotThere(String),
    /// A record to be added is there already: its owner and type.
    There(String),
    /// What it leads to is no zone.
    Faulty(String),
}

impl Mismatch {
    pub(super) fn not_there(record: &Record<'_>) -> Mismatch {
        Mismatch::NotThere(shown(record))
    }

    /// What building says, without places: there is no file.
    fn of_faults(faults: Faults) -> Mismatch {
        let texts: Vec<String> = faults.into_iter().map(|(_, text)| text).collect();
        Mismatch::Faulty(texts.join("; "))
    }

    pub(super) fn there(record: &Record<'_>) -> Mismatch {
        Mismatch::There(shown(record))
    }
}

fn shown(record: &Record<'_>) -> String {
    let mut text = String::new();
    name::write_presentation(record.owner, &mut text).expect("a text takes everything");
    format!("{text} type {}", record.rtype)
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mismatch::Zone => f.write_str("the difference is of another zone"),
            Mismatch::Serial { have, wanted } => write!(f, "the difference begins at serial {wanted}, not at {have}"),
            Mismatch::NotThere(record) => write!(f, "a record to be removed is not there: {record}"),
            Mismatch::There(record) => write!(f, "a record to be added is there already: {record}"),
            Mismatch::Faulty(what) => f.write_str(what),
        }
    }
}

impl core::error::Error for Mismatch {}

/// More touched owners than the image has, divided by this, and it is built anew.
const TOUCHED_DIVISOR: usize = 3;
/// More garbage than the nodes have octets, divided by this, and the image is laid out anew.
const GARBAGE_DIVISOR: usize = 4;

impl Image {
    /// The image that a difference leads to. This one stays as it is. The cost is that of copying the memory once, and
    /// of what is touched.
    ///
    /// # Errors
    /// The difference does not fit: see [`Mismatch`].
    pub fn apply(&self, difference: &Difference) -> Result<Image, Mismatch> {
        self.apply_with(difference, Additions::AreNew)
    }

    /// The same for a difference that lists records among its additions that were there before: NSD 4.6 makes some. What
    /// has really changed is then told by [`Difference::between`].
    ///
    /// # Errors
    /// As [`Image::apply`], but for [`Mismatch::There`].
    pub fn apply_loosely(&self, difference: &Difference) -> Result<Image, Mismatch> {
        self.apply_with(difference, Additions::MayBeThere)
    }

    fn apply_with(&self, difference: &Difference, additions: Additions) -> Result<Image, Mismatch> {
        if difference.apex() != self.apex.as_wire() {
            return Err(Mismatch::Zone);
        }
        if difference.from_serial() != self.serial {
            return Err(Mismatch::Serial { have: self.serial, wanted: difference.from_serial() });
        }
        let after = Afterwards::of(self, difference, additions)?;
        if after.owners() > (self.order.len() + self.chain.len()) / TOUCHED_DIVISOR {
            return self.built_anew(&after);
        }
        self.patched(&after)
    }

    /// The image after several differences, each of which begins where the one before it ends. There is at least one.
    ///
    /// # Errors
    /// A difference does not fit: see [`Mismatch`].
    pub fn apply_all<'d>(&self, differences: impl IntoIterator<Item = &'d Difference>) -> Result<Image, Mismatch> {
        let differences: Vec<&Difference> = differences.into_iter().collect();
        match differences[..] {
            [difference] => self.apply(difference),
            _ => self.apply(&Difference::merge(differences)?),
        }
    }

    fn patched(&self, after: &Afterwards<'_>) -> Result<Image, Mismatch> {
        if after.denial_changes {
            return self.built_anew(after);
        }
        let image = patch::patch(self, after)?;
        if !image.has_a_chain_in_use() {
            return self.built_anew(after);
        }
        let is_worn = image.garbage > image.nodes.len() / GARBAGE_DIVISOR;
        Ok(if is_worn { image.compacted() } else { image })
    }

    /// Whether records are there of the chain by which the zone denies, if it denies by NSEC3.
    fn has_a_chain_in_use(&self) -> bool {
        let Denial::Nsec3(parameters) = &self.denial else { return true };
        let mut sets = self.chain_nodes().filter_map(|node| node.rrset(rtype::NSEC3));
        sets.any(|set| set.records.iter().any(|data| parameters.are_those_of(data)))
    }

    /// The image from all its records.
    fn built_anew(&self, after: &Afterwards<'_>) -> Result<Image, Mismatch> {
        let mut builder = Builder::new(self.apex.clone(), self.key);
        let mut push = |record: Record<'_>| {
            let pushed = builder.push(record.owner, record.rtype, record.ttl, record.data, Place::default());
            pushed.map_err(Mismatch::Faulty)
        };
        let names = after.untouched(&after.names, self.nodes());
        let links = after.untouched(&after.links, self.chain_nodes());
        for node in names.chain(links) {
            for set in node.rrsets() {
                node.records_of(set).try_for_each(&mut push)?;
            }
        }
        after.records().try_for_each(&mut push)?;
        builder.finish().map_err(Mismatch::of_faults)
    }

    /// The image without its garbage: nodes in canonical order again.
    fn compacted(&self) -> Image {
        let mut nodes: Vec<u8> = Vec::with_capacity(self.nodes.len() - self.garbage);
        // A covered name follows on its cover, before the next one that covers itself.
        let mut last_cover = NO_COVER;
        let mut moved = |node: Node<'_>| {
            nodes.resize(nodes.len().next_multiple_of(4), 0);
            let at = nodes.len();
            let number = (at / 4) as u32;
            nodes.extend(node.whole());
            if let Some(cover) = node.cover() {
                if cover == node.number() {
                    last_cover = number;
                }
                nodes[at..at + 4].copy_from_slice(&last_cover.to_le_bytes());
            }
            number
        };
        let order: Vec<u32> = self.nodes().map(&mut moved).collect();
        let mut chain = self.chain.clone();
        for (link, node) in chain.iter_mut().zip(self.chain_nodes()) {
            link.number = moved(node);
        }
        let mut image = Image {
            key: self.key,
            apex: self.apex.clone(),
            index: NameIndex::new(0),
            nodes,
            garbage: 0,
            apex_number: order[0],
            order,
            chain,
            denial: self.denial.clone(),
            records: self.records,
            serial: self.serial,
            negative_ttl: self.negative_ttl,
            negative: self.negative.clone(),
        };
        image.index = index(&image, image.names());
        image
    }
}
