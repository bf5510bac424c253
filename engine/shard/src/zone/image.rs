//! A zone as flat memory: offsets, no pointers, nothing to follow but what a query needs.
//!
//! ```text
//! index   node numbers by the hash of the name (NameIndex)
//! nodes   one behind the other in canonical order (RFC 4034 §6.1), each beginning at a multiple of 4:
//!           0  cover    u32  node number of the cut or DNAME owner at or above this one, or NO_COVER
//!           4  flags    u8
//!           5  sets     u8   RRsets
//!           6  length   u8   octets of the name
//!           7  labels   u8
//!           8  name          lower case, uncompressed
//!           …  RRsets, each:
//!                0  type     u16
//!                2  records  u16
//!                4  ttl      u32
//!                8  octets   u32  of the records
//!               12  octets   u32  of the signatures
//!               16  records:    length u16, data
//!                …  signatures: length u16, data
//! order   node numbers in canonical order, for walks and for the name before a name
//! ```
//!
//! A node number is its offset divided by 4, so that 32 bits reach 16 GiB. A hit touches one line of the index and one or
//! two of the node, where name, RRset and data lie side by side. All words are little-endian, so that an image could
//! be mapped from a file.

use crate::wire::index::NameIndex;
use crate::wire::name::{HashKey, KeyedName, Name};
use crate::wire::rdata::rtype;

/// No cut and no DNAME at or above a node.
pub(super) const NO_COVER: u32 = u32::MAX;
/// Octets of a node before its name.
pub(super) const NODE_OCTETS: usize = 8;
/// Octets of an RRset before its records.
pub(super) const RRSET_OCTETS: usize = 16;

/// Bits of a node's flags.
pub(super) mod node_flags {
    /// NS records below the apex: a zone cut.
    pub(crate) const CUT: u8 = 1;
    /// A DNAME: names below do not exist here.
    pub(crate) const DNAME: u8 = 2;
    /// Below a cut or a DNAME: glue, or occluded.
    pub(crate) const OCCLUDED: u8 = 4;
    /// `*` exists just below.
    pub(crate) const WILDCARD_BELOW: u8 = 8;
}

/// A zone, immutable, as flat memory.
#[derive(Clone, Debug)]
pub struct Image {
    pub(super) key: HashKey,
    pub(super) apex: Name,
    pub(super) index: NameIndex,
    pub(super) nodes: Vec<u8>,
    pub(super) order: Vec<u32>,
    pub(super) records: usize,
    pub(super) serial: u32,
    /// The SOA's TTL in negative answers: the lesser of its TTL and its minimum (RFC 2308 §3).
    pub(super) negative_ttl: u32,
}

impl Image {
    /// The zone's name.
    pub fn apex(&self) -> &Name {
        &self.apex
    }

    /// The SOA's serial.
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// Seconds that negative answers may be kept.
    #[inline]
    pub fn negative_ttl(&self) -> u32 {
        self.negative_ttl
    }

    /// Names, empty non-terminals included.
    pub fn names(&self) -> usize {
        self.order.len()
    }

    /// Records.
    pub fn records(&self) -> usize {
        self.records
    }

    /// Octets of memory that the image takes.
    pub fn octets(&self) -> usize {
        size_of::<Image>() + self.index.octets() + self.nodes.len() + self.order.len() * 4 + self.apex.as_wire().len()
    }

    /// The node of the apex.
    #[inline]
    pub fn apex_node(&self) -> Node<'_> {
        self.at(0)
    }

    /// The SOA record set.
    #[inline]
    pub fn soa(&self) -> RrSet<'_> {
        self.apex_node().rrset(rtype::SOA).expect("an image is built with an SOA")
    }

    /// The node of the suffix of `labels` labels of `name`.
    #[inline]
    pub fn node(&self, name: &KeyedName, labels: usize) -> Option<Node<'_>> {
        let suffix = name.suffix(labels);
        self.index
            .find(name.suffix_hash(labels), |number| self.at(number).name() == suffix)
            .map(|number| self.at(number))
    }

    /// The node of the wildcard just below the suffix of `labels` labels of `name`.
    #[inline]
    pub(super) fn wildcard(&self, name: &KeyedName, labels: usize) -> Option<Node<'_>> {
        let is_it = |number| self.at(number).name().strip_prefix(b"\x01*") == Some(name.suffix(labels));
        self.index.find(name.wildcard_hash(&self.key, labels), is_it).map(|number| self.at(number))
    }

    #[inline]
    pub(super) fn at(&self, number: u32) -> Node<'_> {
        Node { octets: &self.nodes[number as usize * 4..], number }
    }

    /// Every node in canonical order.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = Node<'_>> {
        self.order.iter().map(|&number| self.at(number))
    }
}

/// An owner name of an image, with its RRsets.
#[derive(Clone, Copy)]
pub struct Node<'z> {
    /// From the node's first octet to the end of the image.
    octets: &'z [u8],
    number: u32,
}

impl std::fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        crate::wire::name::write_presentation(self.name(), f)
    }
}

impl<'z> Node<'z> {
    /// The owner name, in lower case.
    #[inline]
    pub fn name(&self) -> &'z [u8] {
        &self.octets[NODE_OCTETS..NODE_OCTETS + usize::from(self.octets[6])]
    }

    /// Labels of the name, the root not counted.
    #[inline]
    pub fn labels(&self) -> usize {
        usize::from(self.octets[7])
    }

    #[inline]
    fn flag(&self, flag: u8) -> bool {
        self.octets[4] & flag != 0
    }

    /// Whether the node is a zone cut: the zone below is delegated.
    #[inline]
    pub fn is_cut(&self) -> bool {
        self.flag(node_flags::CUT)
    }

    /// Whether the node owns a DNAME.
    #[inline]
    pub fn is_dname(&self) -> bool {
        self.flag(node_flags::DNAME)
    }

    /// Whether the node lies below a cut or a DNAME.
    #[inline]
    pub fn is_occluded(&self) -> bool {
        self.flag(node_flags::OCCLUDED)
    }

    /// Whether a wildcard lies just below.
    #[inline]
    pub(super) fn has_wildcard(&self) -> bool {
        self.flag(node_flags::WILDCARD_BELOW)
    }

    /// The number of the uppermost cut or DNAME owner at or above the node.
    #[inline]
    pub(super) fn cover(&self) -> Option<u32> {
        let cover = read_u32(self.octets, 0);
        (cover != NO_COVER).then_some(cover)
    }

    /// Whether the node owns no records: an empty non-terminal.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.octets[5] == 0
    }

    /// Whether two nodes of one image are the same.
    #[inline]
    pub fn is(&self, other: &Node<'_>) -> bool {
        self.number == other.number
    }

    /// The RRset of a type.
    #[inline]
    pub fn rrset(&self, rtype: u16) -> Option<RrSet<'z>> {
        self.rrsets().find(|set| set.rtype == rtype)
    }

    /// The RRsets, in ascending order of type.
    #[inline]
    pub fn rrsets(&self) -> RrSets<'z> {
        RrSets { rest: &self.octets[NODE_OCTETS + usize::from(self.octets[6])..], left: self.octets[5] }
    }
}

/// Walks the RRsets of a node.
#[derive(Clone, Debug)]
pub struct RrSets<'z> {
    rest: &'z [u8],
    left: u8,
}

impl<'z> Iterator for RrSets<'z> {
    type Item = RrSet<'z>;

    #[inline]
    fn next(&mut self) -> Option<RrSet<'z>> {
        self.left = self.left.checked_sub(1)?;
        let (header, rest) = self.rest.split_at(RRSET_OCTETS);
        let (records, rest) = rest.split_at(read_u32(header, 8) as usize);
        let (signatures, rest) = rest.split_at(read_u32(header, 12) as usize);
        self.rest = rest;
        let word = read_u32(header, 0);
        Some(RrSet {
            rtype: word as u16,
            count: (word >> 16) as u16,
            ttl: read_u32(header, 4),
            records: Data(records),
            signatures: Data(signatures),
        })
    }
}

/// An RRset of an image.
#[derive(Clone, Copy, Debug)]
pub struct RrSet<'z> {
    /// Its type.
    pub rtype: u16,
    /// Its records.
    pub count: u16,
    /// Its TTL in seconds.
    pub ttl: u32,
    /// The data of its records.
    pub records: Data<'z>,
    /// The data of the RRSIG records that cover it.
    pub signatures: Data<'z>,
}

impl<'z> RrSet<'z> {
    /// The data of the first record.
    #[inline]
    pub fn first(&self) -> &'z [u8] {
        self.records.iter().next().expect("an RRset has a record")
    }
}

/// Record data, one behind the other, each behind its length.
#[derive(Clone, Copy, Debug)]
pub struct Data<'z>(&'z [u8]);

impl<'z> Data<'z> {
    /// The data of each record; names in it are uncompressed.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = &'z [u8]> + use<'z> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let (length, tail) = rest.split_first_chunk::<2>()?;
            let (data, tail) = tail.split_at(usize::from(u16::from_le_bytes(*length)));
            rest = tail;
            Some(data)
        })
    }
}

#[inline]
fn read_u32(octets: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*octets[at..].first_chunk().expect("four octets of an image of ours"))
}
