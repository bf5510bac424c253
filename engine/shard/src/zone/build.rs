//! Records to an image: sorted into canonical order, checked, laid out (RFC 1034 §4.2, RFC 2181 §5, RFC 4034 §6.1).

use super::image::{Denial, HASHES_OCTETS, Image, Link, NODE_OCTETS, Nsec3Parameters, node_flags};
use super::layout::{Entry, Laid, Nodes, Shown, View, nsec3_entries};
use super::negative::Negative;
use super::nsec3;
use crate::limits::{LABELS_MAX, NSEC3_ITERATIONS_MAX, TTL_SECONDS_MAX};
use crate::wire::index::NameIndex;
use crate::wire::name::{self, HashKey, KeyedName, Name};
use crate::wire::rdata::{self, rtype};

/// A place in a master file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Index of the file among those read for the zone.
    pub file: u16,
    /// Column, from 1; 0 where only the line is known.
    pub column: u16,
    /// Line, from 1.
    pub line: u32,
}

/// Octets for which room is made with each record besides its data: those of a set of one.
const RECORD_OCTETS: usize = 18;

/// Collects the records of a zone and lays out its image.
#[derive(Debug)]
pub struct Builder {
    apex: Name,
    key: HashKey,
    /// Sort keys of owners and data of records, as they came.
    octets: Vec<u8>,
    entries: Vec<Entry>,
    /// Owners as they came, one for all records that came in a row: files are written owner by owner.
    owners: Vec<Owner>,
    /// The owner that came last, as it was written.
    last_owner: Vec<u8>,
}

/// An owner whose records came in a row. 24 octets.
#[derive(Clone, Copy, Debug)]
struct Owner {
    /// Its sort key in [`Builder::octets`].
    at: u64,
    key_octets: u16,
    /// Its entries.
    first: u32,
    count: u32,
}

const _: () = assert!(size_of::<Owner>() == 24);

impl Owner {
    fn key<'a>(&self, octets: &'a [u8]) -> &'a [u8] {
        &octets[self.at as usize..][..usize::from(self.key_octets)]
    }

    fn entries<'a>(&self, entries: &'a [Entry]) -> &'a [Entry] {
        &entries[self.first as usize..][..self.count as usize]
    }
}

/// The zone as a whole is faulty; the places are those of the records at fault.
pub type Faults = Vec<(Place, String)>;

impl Builder {
    /// A builder for the zone `apex`, whose names are hashed under `key`.
    pub fn new(apex: Name, key: HashKey) -> Builder {
        let (octets, entries, owners, last_owner) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Builder { apex, key, octets, entries, owners, last_owner }
    }

    /// Makes room for about so many records, whose owners and data come to so many octets: each time that there is none
    /// left, all that came so far is copied. Room that is not used costs no memory, and where there is none nothing is
    /// lost.
    pub fn reserve(&mut self, records: usize, octets: usize) {
        let _ = self.entries.try_reserve_exact(records);
        let _ = self.owners.try_reserve_exact(records);
        let _ = self.octets.try_reserve_exact(octets);
    }

    /// Adds a record; `owner` and the names in `data` are uncompressed wire. The error says what is wrong with the
    /// record itself; it does not name the place.
    pub fn push(&mut self, owner: &[u8], rtype: u16, ttl: u32, data: &[u8], place: Place) -> Result<(), String> {
        let is_last = !owner.is_empty() && owner == self.last_owner;
        if !is_last {
            check_owner(&self.apex, owner)?;
        }
        check_ttl_and_data(rtype, ttl, data)?;
        let first = u32::try_from(self.entries.len()).map_err(|_| "the zone has more than 4294967295 records")?;
        if !is_last {
            let at = self.octets.len();
            push_sort_key(&owner[..owner.len() - self.apex.as_wire().len()], &mut self.octets);
            let key_octets = (self.octets.len() - at) as u16;
            self.owners.push(Owner { at: at as u64, key_octets, first, count: 0 });
            self.last_owner.clear();
            self.last_owner.extend_from_slice(owner);
        }
        let (set, is_signature) = Entry::set_of(rtype, data);
        let (at, data_octets) = (self.octets.len() as u64, data.len() as u16);
        self.octets.extend_from_slice(data);
        self.entries.push(Entry { at, data_octets, set, is_signature, ttl, place });
        self.owners.last_mut().expect("an owner was added").count += 1;
        Ok(())
    }

    /// Checks the zone as a whole and lays it out.
    pub fn finish(self) -> Result<Image, Faults> {
        let Builder { apex, key, octets, entries, mut owners, .. } = self;
        let view = View { octets: &octets };
        // Files are in order or nearly so; this sort takes what is in order as it is.
        owners.sort_by(|a, b| a.key(&octets).cmp(b.key(&octets)));
        let denial = find_denial(view, &owners, &entries);
        if let Denial::Nsec3(Nsec3Parameters { iterations, .. }) = denial
            && iterations > NSEC3_ITERATIONS_MAX
        {
            let fault = format!("NSEC3 with {iterations} iterations: more than {NSEC3_ITERATIONS_MAX} are not served");
            return Err(vec![(Place::default(), fault)]);
        }
        let mut layout = Layout::new(&apex, view, denial);
        layout.reserve(owners.len(), entries.len(), octets.len());
        let mut records = 0;
        let mut of_owner: Vec<Entry> = Vec::new();
        // Of those that are the same but for case or TTL, the first one stays: the one with the least TTL.
        let whole = |entry: &Entry| (entry.ttl, view.data(entry));
        for same in owners.chunk_by(|a, b| a.key(&octets) == b.key(&octets)) {
            of_owner.clear();
            same.iter().for_each(|owner| of_owner.extend(owner.entries(&entries)));
            of_owner.sort_unstable_by(|a, b| view.compare(a, b).then_with(|| whole(a).cmp(&whole(b))));
            of_owner.dedup_by(|b, a| view.compare(a, b).is_eq());
            records += of_owner.len();
            layout.owner(same[0].key(&octets), &of_owner);
        }
        layout.finish(key, records)
    }
}

/// Refuses a record that no zone `apex` can have.
pub(super) fn check_record(apex: &Name, owner: &[u8], rtype: u16, ttl: u32, data: &[u8]) -> Result<(), String> {
    check_owner(apex, owner)?;
    check_ttl_and_data(rtype, ttl, data)
}

fn check_owner(apex: &Name, owner: &[u8]) -> Result<(), String> {
    if name::measure(owner) != Some(owner.len()) {
        return Err("the owner is no name".into());
    }
    let is_within = owner.len().checked_sub(apex.as_wire().len()).is_some_and(|above| {
        let (labels, ending) = owner.split_at(above);
        // Most files write the zone's name as its operator does, in lower case.
        let is_same = ending == apex.as_wire() || name::same(ending, apex.as_wire());
        is_same && ends_at_label(owner, labels.len())
    });
    if is_within { Ok(()) } else { Err(format!("{} is not in the zone {apex}", Shown(owner))) }
}

fn check_ttl_and_data(rtype: u16, ttl: u32, data: &[u8]) -> Result<(), String> {
    if ttl > TTL_SECONDS_MAX {
        return Err(format!("the TTL {ttl} is above {TTL_SECONDS_MAX}"));
    }
    if data.len() > usize::from(u16::MAX) {
        return Err("the data is longer than 65535 octets".into());
    }
    check_data(rtype, data)
}

/// Refuses data that later code could not read: its callers must find whole names and fixed fields.
fn check_data(rtype: u16, data: &[u8]) -> Result<(), String> {
    match rtype {
        0 | rtype::OPT | 128..=255 | u16::MAX => return Err(format!("type {rtype} does not belong in a zone")),
        rtype::A if data.len() != 4 => return Err("the data of an A record is not 4 octets".into()),
        rtype::AAAA if data.len() != 16 => return Err("the data of an AAAA record is not 16 octets".into()),
        rtype::RRSIG if data.len() < 19 => {
            return Err("the data of an RRSIG record is shorter than its fixed part".into());
        }
        _ => {}
    }
    let Some(layout) = rdata::layout(rtype) else { return Ok(()) };
    let whole = (|| {
        let mut rest = data.get(layout.before..)?;
        for _ in 0..layout.names {
            rest = rest.get(name::measure(rest)?..)?;
        }
        Some(rest.len())
    })();
    let rest_fits = match rtype {
        rtype::SOA => whole == Some(20),
        rtype::SVCB | rtype::HTTPS => whole.is_some(),
        _ => whole == Some(0),
    };
    if rest_fits { Ok(()) } else { Err(format!("the data of this record of type {rtype} is malformed")) }
}

/// Whether a label begins at `at`, or the root stands there.
pub(super) fn ends_at_label(owner: &[u8], at: usize) -> bool {
    let mut start = 0;
    while start < at {
        start += usize::from(owner[start]) + 1;
    }
    start == at
}

/// Appends octets whose plain order is the canonical order of names: labels from the right in lower case, each ended
/// by a zero octet; a zero or a one within a label is written as one and itself plus one. `labels` is a name without the
/// apex, which all names of a zone share.
fn push_sort_key(labels: &[u8], out: &mut Vec<u8>) {
    let mut starts = [0_u8; LABELS_MAX];
    let (mut count, mut at) = (0, 0);
    while at < labels.len() {
        starts[count] = at as u8;
        count += 1;
        at += usize::from(labels[at]) + 1;
    }
    for &start in starts[..count].iter().rev() {
        let start = usize::from(start);
        let label = &labels[start + 1..][..usize::from(labels[start])];
        if label.iter().all(|&octet| octet > 1) {
            let at = out.len();
            out.extend_from_slice(label);
            out[at..].make_ascii_lowercase();
        } else {
            for &octet in label {
                match octet {
                    0 | 1 => out.extend([1, octet + 1]),
                    _ => out.push(octet.to_ascii_lowercase()),
                }
            }
        }
        out.push(0);
    }
}

/// Writes the name of a sort key as wire to `out`.
fn name_of_sort_key(key: &[u8], apex: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let labels = key.strip_suffix(&[0]).into_iter().flat_map(|labels| labels.rsplit(|&octet| octet == 0));
    for label in labels {
        let length_at = out.len();
        out.push(0);
        if label.contains(&1) {
            let mut octets = label.iter();
            while let Some(&octet) = octets.next() {
                let octet = if octet == 1 { octets.next().expect("an escape has a second octet") - 1 } else { octet };
                out.push(octet);
            }
        } else {
            out.extend_from_slice(label);
        }
        out[length_at] = (out.len() - length_at - 1) as u8;
    }
    out.extend_from_slice(apex);
}

/// A node on the path from the apex to the name being laid out.
struct Above<'a> {
    key: &'a [u8],
    number: u32,
    cover: Option<u32>,
}

struct Layout<'a> {
    apex: &'a Name,
    nodes: Nodes<'a>,
    path: Vec<Above<'a>>,
    wire: Vec<u8>,
    order: Vec<u32>,
    chain: Vec<Link>,
}

impl<'a> Layout<'a> {
    fn new(apex: &'a Name, view: View<'a>, denial: Denial) -> Layout<'a> {
        Layout {
            apex,
            nodes: Nodes::new(view, Vec::new(), denial),
            path: Vec::new(),
            wire: Vec::new(),
            order: Vec::new(),
            chain: Vec::new(),
        }
    }

    /// Makes room for all nodes, or nearly: empty non-terminals are found as they come. `octets` are those of sort keys and
    /// data together.
    fn reserve(&mut self, owners: usize, records: usize, octets: usize) {
        let hashes = if matches!(self.nodes.denial, Denial::Nsec3(_)) { HASHES_OCTETS } else { 0 };
        // A name takes an octet less than its sort key and the apex, and up to three behind it, before the next node.
        let of_owner = NODE_OCTETS + hashes + self.apex.as_wire().len() + 2;
        let _ = self.nodes.octets.try_reserve_exact(owners * of_owner + records * RECORD_OCTETS + octets);
        let _ = self.order.try_reserve_exact(owners);
    }

    /// Lays out one owner name. NSEC3 records stand apart from what else may be there.
    fn owner(&mut self, key: &'a [u8], entries: &[Entry]) {
        let apart = nsec3_entries(entries);
        match hash_of_key(key) {
            Some(hash) if !apart.is_empty() => {
                name_of_sort_key(key, self.apex.as_wire(), &mut self.wire);
                self.chain.extend(self.nodes.link(&self.wire, &hash, &entries[apart.clone()]));
                let others = [&entries[..apart.start], &entries[apart.end..]].concat();
                if !others.is_empty() {
                    self.name(key, &others);
                }
            }
            _ => self.name(key, entries),
        }
    }

    /// Lays out an owner name and the empty non-terminals above it.
    fn name(&mut self, key: &'a [u8], entries: &[Entry]) {
        let is_apex = key.is_empty();
        while self.path.last().is_some_and(|above| !key.starts_with(above.key)) {
            self.path.pop();
        }
        if self.order.is_empty() && !is_apex {
            self.nodes.fault(entries[0].place, "the zone has no records at its apex, so no SOA".into());
        }
        let mut known = self.path.last().map_or(0, |above| above.key.len());
        while known < key.len() {
            let label = key[known..].iter().position(|&octet| octet == 0).expect("a sort key ends in a zero") + 1;
            known += label;
            if known < key.len() {
                self.node(&key[..known], &[]);
            }
        }
        self.node(key, entries);
    }

    /// Lays out a node; without entries it is an empty non-terminal.
    fn node(&mut self, key: &'a [u8], entries: &[Entry]) {
        name_of_sort_key(key, self.apex.as_wire(), &mut self.wire);
        let is_apex = key.is_empty();
        let parent = self.path.last();
        let above = parent.and_then(|parent| parent.cover);
        if self.wire.starts_with(b"\x01*")
            && let Some(parent) = parent
        {
            self.nodes.octets[parent.number as usize * 4 + 4] |= node_flags::WILDCARD_BELOW;
        }
        let Some(Laid { number, cover }) = self.nodes.name(&self.wire, is_apex, above, entries) else { return };
        self.order.push(number);
        self.path.push(Above { key, number, cover });
    }

    fn finish(self, key: HashKey, records: usize) -> Result<Image, Faults> {
        let Layout { apex, nodes, mut order, mut chain, .. } = self;
        let Nodes { mut octets, denial, soa, mut faults, .. } = nodes;
        let Some((ttl, soa)) = soa else {
            if faults.is_empty() {
                faults.push((Place::default(), format!("the zone has no SOA record at {apex}")));
            }
            return Err(faults);
        };
        if !faults.is_empty() {
            return Err(faults);
        }
        let (serial, negative_ttl) = serial_and_negative_ttl(ttl, &soa);
        octets.shrink_to_fit();
        order.shrink_to_fit();
        chain.shrink_to_fit();
        let mut image = Image {
            index: NameIndex::new(0),
            key,
            apex: apex.clone(),
            nodes: octets,
            garbage: 0,
            apex_number: order[0],
            order,
            chain,
            denial,
            records,
            serial,
            negative_ttl,
            negative: Negative::default(),
        };
        if image.apex_node().rrset(rtype::NS).is_none() {
            return Err(vec![(Place::default(), without_ns(&image.apex))]);
        }
        image.index = index(&image, image.names());
        image.negative = Negative::of(&image);
        Ok(image)
    }
}

/// How the zone denies: by NSEC3 where the apex has an NSEC3PARAM that may be used (RFC 5155 §4.1.2: no flags) and
/// there are records of it, else by NSEC where the apex has one.
fn find_denial(view: View<'_>, owners: &[Owner], entries: &[Entry]) -> Denial {
    let apex = owners.iter().take_while(|owner| owner.key_octets == 0).flat_map(|owner| owner.entries(entries));
    let is = |rtype: u16| move |entry: &&Entry| entry.set == rtype && !entry.is_signature;
    let mut usable: Vec<&[u8]> = apex.clone().filter(is(rtype::NSEC3PARAM)).map(|entry| view.data(entry)).collect();
    usable.sort_unstable();
    for parameters in usable.into_iter().filter_map(Nsec3Parameters::usable) {
        let links = owners.iter().filter(|owner| hash_of_key(owner.key(view.octets)).is_some());
        let mut records = links.flat_map(|owner| owner.entries(entries)).filter(is(rtype::NSEC3));
        if records.any(|entry| parameters.are_those_of(view.data(entry))) {
            return Denial::Nsec3(parameters);
        }
    }
    if apex.clone().any(|entry| is(rtype::NSEC)(&entry)) { Denial::Nsec } else { Denial::None }
}

/// The hash that the owner of a sort key stands for, if it is one that an NSEC3 record may have.
fn hash_of_key(key: &[u8]) -> Option<[u8; nsec3::HASH_OCTETS]> {
    key.strip_suffix(&[0]).and_then(nsec3::of_label)
}

/// The serial, and the TTL of negative answers (RFC 2308 §3), from an SOA's TTL and the last 20 octets of its data.
pub(super) fn serial_and_negative_ttl(ttl: u32, soa: &[u8; 20]) -> (u32, u32) {
    let field = |at: usize| u32::from_be_bytes(*soa[at..].first_chunk().expect("20 octets"));
    (field(0), ttl.min(field(16)))
}

pub(super) fn without_ns(apex: &Name) -> String {
    format!("the zone has no NS record at {apex}")
}

/// The table over the nodes, with room for `count` of them.
pub(super) fn index(image: &Image, count: usize) -> NameIndex {
    let mut index = NameIndex::new(count);
    let mut name = KeyedName::default();
    index.insert_each(image.nodes().map(|node| {
        name.set(&image.key, node.name()).expect("names of our nodes are whole");
        (name.name_hash(), node.number())
    }));
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(text: &str) -> Vec<u8> {
        text.parse::<Name>().unwrap().as_wire().to_vec()
    }

    fn builder() -> Builder {
        Builder::new("example.test".parse().unwrap(), HashKey::from_seed([9; 16]))
    }

    fn at(line: u32) -> Place {
        Place { line, ..Place::default() }
    }

    fn soa() -> Vec<u8> {
        [
            wire("ns.example.test"),
            wire("host.example.test"),
            [0, 0, 0, 7, 0, 0, 14, 16].to_vec(),
            vec![0; 8],
            vec![0, 0, 0, 60],
        ]
        .concat()
    }

    fn with_apex() -> Builder {
        let mut builder = builder();
        builder.push(&wire("example.test"), rtype::SOA, 300, &soa(), at(1)).unwrap();
        builder.push(&wire("example.test"), rtype::NS, 300, &wire("ns.example.test"), at(2)).unwrap();
        builder
    }

    #[test]
    fn room_that_is_not_there_is_no_loss() {
        let zone = |records, octets| {
            let mut builder = with_apex();
            builder.reserve(records, octets);
            builder.push(&wire("a.example.test"), rtype::A, 300, &[192, 0, 2, 1], at(3)).unwrap();
            builder.finish().unwrap()
        };
        let (none, some, too_much) = (zone(0, 0), zone(100, 10_000), zone(usize::MAX, usize::MAX));
        assert_eq!(none.octets(), some.octets(), "and what is too much is given back");
        assert!(none.each_record().eq(some.each_record()) && none.each_record().eq(too_much.each_record()));
    }

    #[test]
    fn canonical_order_is_that_of_the_rfc() {
        // The example of RFC 4034 §6.1.
        let names = [
            &b"\x07example\0"[..],
            b"\x01a\x07example\0",
            b"\x08yljkjljk\x01a\x07example\0",
            b"\x01Z\x01a\x07example\0",
            b"\x04zABC\x01a\x07EXAMPLE\0",
            b"\x01z\x07example\0",
            b"\x01\x01\x01z\x07example\0",
            b"\x01*\x01z\x07example\0",
            b"\x01\xc8\x01z\x07example\0",
        ];
        let keys: Vec<Vec<u8>> = names
            .iter()
            .map(|name| {
                let mut key = Vec::new();
                push_sort_key(&name[..name.len() - 1], &mut key);
                key
            })
            .collect();
        assert!(keys.is_sorted());
        let folded = names.map(<[u8]>::to_ascii_lowercase);
        for (i, a) in folded.iter().enumerate() {
            for (j, b) in folded.iter().enumerate() {
                assert_eq!(name::canonical_order(a, b), i.cmp(&j));
            }
        }
        let mut back = Vec::new();
        for (key, name) in keys.iter().zip(names) {
            name_of_sort_key(key, &[0], &mut back);
            assert_eq!(back, name.to_ascii_lowercase());
        }
        for odd in [&b"\x03\0\x01\x02\0"[..], b"\0", b"\x01\x01\x01\0\0"] {
            let mut key = Vec::new();
            push_sort_key(&odd[..odd.len() - 1], &mut key);
            name_of_sort_key(&key, &[0], &mut back);
            assert_eq!(back, odd);
        }
    }

    #[test]
    fn empty_non_terminals_and_covers_are_laid_out() {
        let mut zone = with_apex();
        for (owner, rtype, data) in [
            ("a.b.c.example.test", rtype::A, vec![192, 0, 2, 1]),
            ("sub.example.test", rtype::NS, wire("ns.sub.example.test")),
            ("ns.sub.example.test", rtype::A, vec![192, 0, 2, 2]),
            ("*.wild.example.test", rtype::TXT, b"\x01x".to_vec()),
        ] {
            zone.push(&wire(owner), rtype, 60, &data, at(3)).unwrap();
        }
        let image = zone.finish().unwrap();
        let shown: Vec<_> =
            image.nodes().map(|n| (format!("{n:?}"), n.is_empty(), n.is_cut(), n.is_occluded())).collect();
        let expected = [
            ("example.test.", false, false, false),
            ("c.example.test.", true, false, false),
            ("b.c.example.test.", true, false, false),
            ("a.b.c.example.test.", false, false, false),
            ("sub.example.test.", false, true, false),
            ("ns.sub.example.test.", false, false, true),
            ("wild.example.test.", true, false, false),
            ("*.wild.example.test.", false, false, false),
        ];
        assert_eq!(shown, expected.map(|(n, e, c, o)| (n.to_string(), e, c, o)));
        assert_eq!((image.serial(), image.negative_ttl(), image.records(), image.names()), (7, 60, 6, 8));
        let name = KeyedName::new(&image.key, &wire("a.b.c.example.test")).unwrap();
        for labels in 2..=5 {
            assert_eq!(image.node(&name, labels).unwrap().name(), name.suffix(labels));
        }
    }

    #[test]
    fn sets_are_merged_sorted_and_carry_their_signatures() {
        let mut zone = with_apex();
        let www = wire("www.example.test");
        let sig: Vec<u8> = [vec![0, 1], vec![0; 16], wire("example.test")].concat();
        zone.push(&www, rtype::RRSIG, 60, &sig, at(3)).unwrap();
        for (ttl, last) in [(60, 2), (50, 1), (60, 2)] {
            zone.push(&www, rtype::A, ttl, &[192, 0, 2, last], at(4)).unwrap();
        }
        let image = zone.finish().unwrap();
        let name = KeyedName::new(&image.key, &www).unwrap();
        let set = image.node(&name, 3).unwrap().rrset(rtype::A).unwrap();
        assert_eq!((set.count, set.ttl), (2, 50));
        assert_eq!(set.records.iter().collect::<Vec<_>>(), [[192, 0, 2, 1], [192, 0, 2, 2]]);
        assert_eq!(set.signatures.iter().collect::<Vec<_>>(), [&sig[..]]);
    }

    #[test]
    fn faulty_records_are_refused_at_once() {
        let mut zone = builder();
        for (owner, rtype, data, message) in [
            ("other.test", rtype::A, vec![1, 2, 3, 4], "not in the zone"),
            ("xexample.test", rtype::A, vec![1, 2, 3, 4], "not in the zone"),
            ("test", rtype::A, vec![1, 2, 3, 4], "not in the zone"),
            ("www.example.test", rtype::A, vec![1, 2, 3], "not 4 octets"),
            ("www.example.test", rtype::AAAA, vec![0; 15], "not 16 octets"),
            ("www.example.test", rtype::MX, vec![0, 1], "malformed"),
            ("www.example.test", rtype::NS, vec![0, 0], "malformed"),
            ("www.example.test", rtype::SOA, vec![0; 21], "malformed"),
            ("www.example.test", rtype::RRSIG, vec![0; 18], "RRSIG"),
            ("www.example.test", rtype::ANY, vec![], "does not belong"),
            ("www.example.test", rtype::OPT, vec![], "does not belong"),
            ("www.example.test", u16::MAX, vec![], "does not belong"),
        ] {
            let error = zone.push(&wire(owner), rtype, 60, &data, at(1)).unwrap_err();
            assert!(error.contains(message), "{owner} {rtype}: {error}");
        }
        assert!(zone.push(&wire("example.test"), rtype::A, 1 << 31, &[0; 4], at(1)).is_err());
    }

    #[test]
    fn faulty_zones_are_refused_with_the_place() {
        let a = vec![1, 2, 3, 4];
        for (records, line, message) in [
            (
                vec![("www.example.test", rtype::CNAME, wire("x.test")), ("www.example.test", rtype::A, a.clone())],
                10,
                "CNAME and other",
            ),
            (
                vec![
                    ("www.example.test", rtype::CNAME, wire("x.test")),
                    ("www.example.test", rtype::CNAME, wire("y.test")),
                ],
                10,
                "more than one CNAME",
            ),
            (vec![("www.example.test", rtype::SOA, soa())], 10, "not the apex"),
            (vec![("example.test", rtype::SOA, [&wire("x.test")[..], &soa()[17..]].concat())], 1, "more than one SOA"),
            (
                vec![
                    ("d.example.test", rtype::DNAME, wire("x.test")),
                    ("d.example.test", rtype::DNAME, wire("y.test")),
                ],
                10,
                "more than one DNAME",
            ),
        ] {
            let mut zone = with_apex();
            for (i, (owner, rtype, data)) in records.into_iter().enumerate() {
                zone.push(&wire(owner), rtype, 60, &data, at(10 + i as u32)).unwrap();
            }
            let faults = zone.finish().unwrap_err();
            assert!(faults[0].1.contains(message), "{message}: {faults:?}");
            assert!(faults[0].0.line >= line, "{faults:?}");
        }
        let mut no_soa = builder();
        no_soa.push(&wire("example.test"), rtype::NS, 60, &wire("x.test"), at(4)).unwrap();
        assert!(no_soa.finish().unwrap_err()[0].1.contains("no SOA"));
        let mut no_ns = builder();
        no_ns.push(&wire("example.test"), rtype::SOA, 60, &soa(), at(4)).unwrap();
        assert!(no_ns.finish().unwrap_err()[0].1.contains("no NS"));
        let mut no_apex = builder();
        no_apex.push(&wire("www.example.test"), rtype::A, 60, &a, at(4)).unwrap();
        assert!(no_apex.finish().unwrap_err()[0].1.contains("no SOA"));
        assert!(builder().finish().unwrap_err()[0].1.contains("no SOA"));
    }

    #[test]
    fn more_rounds_of_nsec3_than_anybody_takes_are_refused() {
        let owner = [&[32][..], &[b'0'; 32], &wire("example.test")].concat();
        let parameters = |iterations: u16| [&[1, 0][..], &iterations.to_be_bytes(), &[0]].concat();
        let zone = |iterations: u16, of_chain: u16| {
            let mut zone = with_apex();
            zone.push(&wire("example.test"), rtype::NSEC3PARAM, 0, &parameters(iterations), at(3)).unwrap();
            let link = [&parameters(of_chain)[..], &[20], &[0; 20]].concat();
            zone.push(&owner, rtype::NSEC3, 60, &link, at(4)).unwrap();
            zone.finish()
        };
        let (most, more) = (NSEC3_ITERATIONS_MAX, NSEC3_ITERATIONS_MAX + 1);
        assert!(matches!(zone(most, most).unwrap().denial(), Denial::Nsec3(used) if used.iterations == most));
        assert!(zone(more, more).unwrap_err()[0].1.contains("501 iterations"));
        assert_eq!(*zone(more, most).unwrap().denial(), Denial::None, "a chain that is not used costs nothing");
    }

    #[test]
    fn no_more_records_or_signatures_of_a_type_are_taken_than_are_counted() {
        // What a signature covers, the rest of its fixed part, and what tells it from others.
        for (rtype, before) in [(rtype::A, &[][..]), (rtype::RRSIG, &[&[0, 1][..], &[0; 16]].concat())] {
            let zone = |count: u32| {
                let mut zone = with_apex();
                let www = wire("www.example.test");
                zone.push(&www, rtype::A, 60, &[0; 4], at(3)).unwrap();
                for number in 0..count {
                    zone.push(&www, rtype, 60, &[before, &number.to_be_bytes()].concat(), at(4)).unwrap();
                }
                zone.finish()
            };
            assert!(zone(65_535).is_ok());
            assert!(zone(65_536).unwrap_err()[0].1.contains("more than 65535"), "{rtype}");
        }
    }
}
