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
//!           8  hashes   16   in a zone with NSEC3, where flagged: the first 64 bits of the hash of the name and of the
//!                        wildcard just below it
//!           …  name          lower case, uncompressed
//!           …  RRsets, each:
//!                0  octets   u16  of the records, or LONG: then two u64 stand ahead of the records, octets of the records
//!                                 and of the signatures
//!                2  records  u16
//!                4  octets   u16  of the signatures
//!                6  records, as they go out: 0xc00c, type, class, TTL, length, data with names uncompressed
//!                …  signatures, the same way
//! order   node numbers in canonical order, for walks and for the name before a name
//! chain   the owners of NSEC3 records by their hash: nodes too, but neither in the index nor in the order, since their
//!         names are no names of the zone (RFC 5155 §7.2.8)
//! ```
//!
//! A node number is its offset divided by 4, so that 32 bits reach 16 GiB. A hit touches one line of the index and one or
//! two of the node, where name, RRset and data lie side by side. Records whose data has no names are copied into the
//! answer as they stand: their owner is the pointer to the question's name. All other words are little-endian, so that an
//! image could be mapped from a file.

use super::negative::Negative;
use super::nsec3;
use crate::wire::index::NameIndex;
use crate::wire::message::HEADER_OCTETS;
use crate::wire::name::{HashKey, KeyedName, Name};
use crate::wire::rdata::rtype;
use crate::wire::{is_same, is_same_name};

/// No cut and no DNAME at or above a node.
pub(super) const NO_COVER: u32 = u32::MAX;
/// Octets of a node before its hashes, where it has them, or its name.
pub(super) const NODE_OCTETS: usize = 8;
/// Octets of a node's hashes.
pub(super) const HASHES_OCTETS: usize = 16;
/// Octets of an RRset before its records.
pub(super) const RRSET_OCTETS: usize = 6;
/// In the place of the octets of an RRset whose records or signatures have more than fit there.
pub(super) const LONG: u16 = u16::MAX;
/// Octets of a record before its data.
pub(super) const RECORD_OCTETS: usize = 12;
/// The pointer to the question's name, which is the owner of every record.
pub(super) const OWNER: [u8; 2] = (0xc000 | HEADER_OCTETS as u16).to_be_bytes();

/// Octets of a node that are fetched ahead: most nodes are no longer.
const AHEAD_OCTETS: usize = 96;

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
    /// The node carries its hashes. The bit is their length.
    pub(crate) const HASHED: u8 = 16;
    /// An NSEC3 owner of a chain other than the one that is in use.
    pub(crate) const OTHER_CHAIN: u8 = 32;
}

const _: () = assert!(node_flags::HASHED as usize == HASHES_OCTETS);

/// A zone, immutable, as flat memory.
#[derive(Clone, Debug)]
pub struct Image {
    pub(super) key: HashKey,
    pub(super) apex: Name,
    pub(super) index: NameIndex,
    pub(super) nodes: Vec<u8>,
    /// Octets of the nodes that nothing refers to any more, since the image was made from another one.
    pub(super) garbage: usize,
    pub(super) order: Vec<u32>,
    /// The node of the apex: the first of the order.
    pub(super) apex_number: u32,
    pub(super) chain: Vec<Link>,
    pub(super) denial: Denial,
    pub(super) records: usize,
    pub(super) serial: u32,
    /// The SOA's TTL in negative answers: the lesser of its TTL and its minimum (RFC 2308 §3).
    pub(super) negative_ttl: u32,
    /// That record of negative answers, ready to be copied.
    pub(super) negative: Negative,
}

/// How a zone proves that something does not exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Denial {
    /// Not at all: it is not signed.
    #[default]
    None,
    /// By NSEC (RFC 4034 §4).
    Nsec,
    /// By NSEC3 (RFC 5155), with the parameters of its NSEC3PARAM.
    Nsec3(Nsec3Parameters),
}

/// What goes into an NSEC3 hash besides the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nsec3Parameters {
    /// The salt.
    pub salt: Box<[u8]>,
    /// Further rounds of the hash.
    pub iterations: u16,
}

impl Nsec3Parameters {
    /// The parameters in the data of an NSEC3PARAM or NSEC3 record (RFC 5155 §3.2, §4.2); `None` where the data is
    /// malformed or the hash algorithm unknown.
    pub fn read(data: &[u8]) -> Option<Nsec3Parameters> {
        let &[nsec3::SHA1, _, high, low, salt_octets, ref rest @ ..] = data else { return None };
        let salt = rest.get(..usize::from(salt_octets))?;
        Some(Nsec3Parameters { salt: salt.into(), iterations: u16::from_be_bytes([high, low]) })
    }

    /// Those in the data of an NSEC3PARAM record that a server may use: without flags (RFC 5155 §4.1.2).
    pub(super) fn usable(data: &[u8]) -> Option<Nsec3Parameters> {
        Nsec3Parameters::read(data).filter(|_| data[1] == 0)
    }

    /// Whether the data of an NSEC3 record has these parameters.
    pub fn are_those_of(&self, data: &[u8]) -> bool {
        let &[nsec3::SHA1, _, high, low, salt_octets, ref rest @ ..] = data else { return false };
        self.iterations == u16::from_be_bytes([high, low]) && rest.get(..usize::from(salt_octets)) == Some(&*self.salt)
    }

    /// The first 64 bits of the hash of a name in lower-case wire form.
    #[inline]
    pub fn hash(&self, name: &[u8]) -> u64 {
        nsec3::prefix(&nsec3::hash(name, &self.salt, self.iterations))
    }
}

/// An NSEC3 owner in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// The first 32 bits of its hash.
    pub(super) prefix: u32,
    /// Its node.
    pub(super) number: u32,
}

/// A record of a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Record<'z> {
    /// Its owner, lower-case wire.
    pub owner: &'z [u8],
    /// Its type.
    pub rtype: u16,
    /// Its TTL in seconds.
    pub ttl: u32,
    /// Its data; names in it are uncompressed.
    pub data: &'z [u8],
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

    /// The SOA record of negative answers, ready to be copied.
    #[inline]
    pub fn negative(&self) -> &Negative {
        &self.negative
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
        size_of::<Image>()
            + self.index.octets()
            + self.nodes.len()
            + self.order.len() * 4
            + self.chain.len() * size_of::<Link>()
            + self.apex.as_wire().len()
    }

    /// How the zone proves that something does not exist.
    #[inline]
    pub fn denial(&self) -> &Denial {
        &self.denial
    }

    /// The node of the apex.
    #[inline]
    pub fn apex_node(&self) -> Node<'_> {
        self.at(self.apex_number)
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
        self.index.find_map(name.suffix_hash(labels), |number| {
            let node = self.at(number);
            is_same(node.name(), suffix).then_some(node)
        })
    }

    /// The node of `name` where it has this number, which may be any, and the name is of usual length.
    #[inline(always)]
    pub(crate) fn node_at(&self, number: u32, name: &KeyedName) -> Option<Node<'_>> {
        let octets = self.nodes.get(number as usize * 4..)?;
        octets.first_chunk::<NODE_OCTETS>()?;
        let node = Node { octets, number };
        let own = octets.get(node.name_at()..)?.get(..usize::from(octets[6]))?;
        is_same_name(own, name.as_wire()).then_some(node)
    }

    /// The node of the wildcard just below the suffix of `labels` labels of `name`.
    #[inline]
    pub(super) fn wildcard(&self, name: &KeyedName, labels: usize) -> Option<Node<'_>> {
        let is_it = |number| self.at(number).name().strip_prefix(b"\x01*") == Some(name.suffix(labels));
        self.index.find(name.wildcard_hash(&self.key, labels), is_it).map(|number| self.at(number))
    }

    /// The octets of the index that a lookup of a name of this hash reads first.
    #[inline]
    pub(crate) fn ahead(&self, hash: u64) -> &[u8] {
        self.index.home(hash)
    }

    /// The number and the octets of the node that it reads next, or those of another one whose hash is much the same;
    /// `None` where there is no such name.
    #[inline]
    pub(crate) fn closer(&self, hash: u64) -> Option<(u32, &[u8])> {
        let number = self.index.find(hash, |_| true)?;
        let octets = self.at(number).octets;
        Some((number, &octets[..octets.len().min(AHEAD_OCTETS)]))
    }

    #[inline]
    pub(super) fn at(&self, number: u32) -> Node<'_> {
        Node::at(&self.nodes, number)
    }

    /// Every node in canonical order, but for the owners of NSEC3 records.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = Node<'_>> {
        self.order.iter().map(|&number| self.at(number))
    }

    /// The owners of NSEC3 records in the order of their hashes, each with its NSEC3 set alone.
    pub fn chain_nodes(&self) -> impl ExactSizeIterator<Item = Node<'_>> {
        self.chain.iter().map(|link| self.at(link.number))
    }

    /// Every record once: the SOA first, then owner by owner in canonical order, the NSEC3 records last. Signatures come
    /// behind the set that they cover.
    pub fn each_record(&self) -> impl Iterator<Item = Record<'_>> {
        let apex = self.apex_node();
        let soa = apex.records_of(self.soa());
        let others = apex.rrsets().filter(|set| set.rtype != rtype::SOA).flat_map(move |set| apex.records_of(set));
        let names = self.nodes().skip(1).chain(self.chain_nodes());
        soa.chain(others).chain(names.flat_map(|node| node.rrsets().flat_map(move |set| node.records_of(set))))
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
    /// The node of a number among all of them.
    #[inline]
    pub(super) fn at(nodes: &'z [u8], number: u32) -> Node<'z> {
        Node { octets: &nodes[number as usize * 4..], number }
    }

    /// The owner name, in lower case.
    #[inline]
    pub fn name(&self) -> &'z [u8] {
        let at = self.name_at();
        &self.octets[at..at + usize::from(self.octets[6])]
    }

    /// Behind the hashes, where there are some.
    #[inline]
    fn name_at(&self) -> usize {
        NODE_OCTETS + usize::from(self.octets[4] & node_flags::HASHED)
    }

    /// The first 64 bits of the NSEC3 hash of the name, and of the wildcard just below it. An NSEC3 owner has its own
    /// hash twice.
    #[inline]
    pub(super) fn hashes(&self) -> Option<(u64, u64)> {
        self.flag(node_flags::HASHED).then(|| {
            let word = |at: usize| u64::from_le_bytes(*self.octets[at..].first_chunk().expect("eight octets of ours"));
            (word(NODE_OCTETS), word(NODE_OCTETS + 8))
        })
    }

    /// Whether the node is an NSEC3 owner of a chain that is not in use.
    #[inline]
    pub(super) fn is_of_other_chain(&self) -> bool {
        self.flag(node_flags::OTHER_CHAIN)
    }

    /// The records of one of the node's sets, then the signatures that cover it.
    pub fn records_of(&self, set: RrSet<'z>) -> impl Iterator<Item = Record<'z>> + use<'z> {
        let owner = self.name();
        let record = move |rtype: u16| move |data: &'z [u8]| Record { owner, rtype, ttl: set.ttl, data };
        set.records.iter().map(record(set.rtype)).chain(set.signatures.iter().map(record(rtype::RRSIG)))
    }

    /// Its number in the image.
    #[inline]
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Labels of the name, the root not counted.
    #[inline]
    pub fn labels(&self) -> usize {
        usize::from(self.octets[7])
    }

    #[inline]
    pub(super) fn flag(&self, flag: u8) -> bool {
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

    /// Whether there is no cut and no DNAME at or above the node.
    #[inline]
    pub fn has_no_cover(&self) -> bool {
        read_u32(self.octets, 0) == NO_COVER
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
        self.rrset_at(rtype).map(RrSet::at)
    }

    /// Where the RRset of a type begins: for [`RrSet::at`].
    #[inline(always)] // On the path of every hit.
    pub(crate) fn rrset_at(&self, rtype: u16) -> Option<&'z [u8]> {
        let sets = self.rrsets();
        // Nearly always it is the first, and then its type is all that is read here.
        if sets.left != 0
            && let Some(&[l0, l1, .., t0, t1]) = sets.rest.first_chunk::<{ RRSET_OCTETS + 4 }>()
            && [l0, l1] != LONG.to_le_bytes()
            && [t0, t1] == rtype.to_be_bytes()
        {
            return Some(sets.rest);
        }
        sets.begin_of(rtype)
    }

    /// The RRsets, in ascending order of type.
    #[inline(always)]
    pub fn rrsets(&self) -> RrSets<'z> {
        RrSets { rest: &self.octets[self.name_at() + usize::from(self.octets[6])..], left: self.octets[5] }
    }

    /// All octets of the node.
    pub(super) fn whole(&self) -> &'z [u8] {
        &self.octets[..self.name_at() + usize::from(self.octets[6]) + self.rrset_octets().len()]
    }

    /// All octets of its RRsets: where two nodes have the same, they hold the same records.
    pub(super) fn rrset_octets(&self) -> &'z [u8] {
        let mut sets = self.rrsets();
        let begin = sets.rest;
        sets.by_ref().for_each(drop);
        &begin[..begin.len() - sets.rest.len()]
    }
}

/// Walks the RRsets of a node.
#[derive(Clone, Debug)]
pub struct RrSets<'z> {
    rest: &'z [u8],
    left: u8,
}

impl<'z> RrSets<'z> {
    /// Where the RRset of a type begins.
    #[inline(never)] // So that the first one has a short way.
    fn begin_of(self, rtype: u16) -> Option<&'z [u8]> {
        let RrSets { mut rest, left } = self;
        for _ in 0..left {
            let (set, behind) = RrSet::read(rest);
            if set.rtype == rtype {
                return Some(rest);
            }
            rest = behind;
        }
        None
    }
}

impl<'z> Iterator for RrSets<'z> {
    type Item = RrSet<'z>;

    #[inline]
    fn next(&mut self) -> Option<RrSet<'z>> {
        self.left = self.left.checked_sub(1)?;
        let (set, rest) = RrSet::read(self.rest);
        self.rest = rest;
        Some(set)
    }
}

/// Octets of the records and of the signatures of an RRset of many, and what stands behind them.
#[cold]
fn long(rest: &[u8]) -> (usize, usize, &[u8]) {
    let (octets, rest) = rest.split_first_chunk().expect("an RRset of ours is whole");
    let (of_signatures, rest) = rest.split_first_chunk().expect("an RRset of ours is whole");
    (u64::from_le_bytes(*octets) as usize, u64::from_le_bytes(*of_signatures) as usize, rest)
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
    /// The data of the RRSIG records that cover it. Signatures that cover nothing are a set of type RRSIG.
    pub signatures: Data<'z>,
}

impl<'z> RrSet<'z> {
    /// The RRset at the start of `octets`.
    #[inline(always)]
    pub(crate) fn at(octets: &'z [u8]) -> RrSet<'z> {
        RrSet::read(octets).0
    }

    /// How many records the RRset at the start of `octets` has, and their octets; `None` where it is long, or where it
    /// has signatures and they are wanted.
    #[inline(always)] // On the path of every hit.
    pub(crate) fn records_alone(octets: &'z [u8], with_signatures: bool) -> Option<(u16, &'z [u8])> {
        let (&[r0, r1, c0, c1, s0, s1], rest) = octets.split_first_chunk::<RRSET_OCTETS>()?;
        let [octets, count, of_signatures] = [[r0, r1], [c0, c1], [s0, s1]].map(u16::from_le_bytes);
        if octets == LONG || with_signatures && of_signatures != 0 {
            return None;
        }
        Some((count, rest.get(..octets.into())?))
    }

    /// Reads the RRset at the start of `octets`; what stands behind it.
    #[inline(always)] // Most of what is read is not used by most callers.
    fn read(octets: &'z [u8]) -> (RrSet<'z>, &'z [u8]) {
        let (&[r0, r1, c0, c1, s0, s1], rest) =
            octets.split_first_chunk::<RRSET_OCTETS>().expect("an RRset of ours is whole");
        let [octets, count, of_signatures] = [[r0, r1], [c0, c1], [s0, s1]].map(u16::from_le_bytes);
        let (octets, of_signatures, rest) = match octets {
            LONG => long(rest),
            _ => (octets.into(), of_signatures.into(), rest),
        };
        let (records, rest) = rest.split_at(octets);
        let (signatures, rest) = rest.split_at(of_signatures);
        let &[_, _, t0, t1, _, _, l0, l1, l2, l3, ..] =
            records.first_chunk::<RECORD_OCTETS>().expect("an RRset has a record");
        let rtype = u16::from_be_bytes([t0, t1]);
        let ttl = u32::from_be_bytes([l0, l1, l2, l3]);
        (RrSet { rtype, count, ttl, records: Data(records), signatures: Data(signatures) }, rest)
    }

    /// The data of the first record.
    #[inline]
    pub fn first(&self) -> &'z [u8] {
        self.records.iter().next().expect("an RRset has a record")
    }
}

/// Records, one behind the other, as they go out where the question's name is their owner.
#[derive(Clone, Copy, Debug)]
pub struct Data<'z>(&'z [u8]);

impl<'z> Data<'z> {
    /// The records as octets of a message: the pointer to the question's name, type, class, TTL, length and data of
    /// each. Names in the data are uncompressed.
    #[inline]
    pub fn octets(&self) -> &'z [u8] {
        self.0
    }

    /// How many they are.
    #[inline]
    pub fn count(&self) -> usize {
        self.iter().count()
    }

    /// The data of each record; names in it are uncompressed.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = &'z [u8]> + use<'z> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let (&[.., high, low], tail) = rest.split_first_chunk::<RECORD_OCTETS>()?;
            let (data, tail) = tail.split_at(usize::from(u16::from_be_bytes([high, low])));
            rest = tail;
            Some(data)
        })
    }
}

#[inline]
fn read_u32(octets: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*octets[at..].first_chunk().expect("four octets of an image of ours"))
}

impl Image {
    /// The records of one owner, so that a walk can stop and go on: numbers from zero on give the records of
    /// [`Image::each_record`] in its order, owner by owner. An empty non-terminal has none. `None`: there is no owner of
    /// this number, nor of any later one.
    pub fn records_of_owner(&self, number: usize) -> Option<impl Iterator<Item = Record<'_>>> {
        let behind = |past: usize| self.chain.get(past).map(|link| link.number);
        let at = self.order.get(number).copied().or_else(|| behind(number - self.order.len()))?;
        let node = self.at(at);
        let is_apex = number == 0;
        let soa = is_apex.then(|| self.soa());
        let others = node.rrsets().filter(move |set| !is_apex || set.rtype != rtype::SOA);
        Some(soa.into_iter().chain(others).flat_map(move |set| node.records_of(set)))
    }
}
