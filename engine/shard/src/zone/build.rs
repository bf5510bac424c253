//! Records to an image: sorted into canonical order, checked, laid out (RFC 1034 §4.2, RFC 2181 §5, RFC 4034 §6.1).

use std::fmt;

use super::image::{Denial, Image, Link, NO_COVER, Nsec3Parameters, RRSET_OCTETS, node_flags};
use super::nsec3;
use crate::limits::{RRSETS_A_NAME_MAX, TTL_SECONDS_MAX};
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

/// Collects the records of a zone and lays out its image.
#[derive(Debug)]
pub struct Builder {
    apex: Name,
    key: HashKey,
    /// Sort key of each record's owner, then the record: see [`Entry`].
    octets: Vec<u8>,
    entries: Vec<Entry>,
}

/// A record, its octets in [`Builder::octets`]: sort key of the owner, then data. 32 octets.
#[derive(Clone, Copy, Debug)]
struct Entry {
    at: u64,
    key_octets: u16,
    data_octets: u16,
    /// The type; of an RRSIG the type that it covers, so that it sorts beside its set.
    set: u16,
    is_signature: bool,
    ttl: u32,
    place: Place,
}

const _: () = assert!(size_of::<Entry>() == 32);

/// The zone as a whole is faulty; the places are those of the records at fault.
pub type Faults = Vec<(Place, String)>;

/// Faults reported of one zone; more are left unsaid.
const FAULTS_MAX: usize = 10;

impl Builder {
    /// A builder for the zone `apex`, whose names are hashed under `key`.
    pub fn new(apex: Name, key: HashKey) -> Builder {
        Builder { apex, key, octets: Vec::new(), entries: Vec::new() }
    }

    /// Adds a record; `owner` and the names in `data` are uncompressed wire. The error says what is wrong with the
    /// record itself; it does not name the place.
    pub fn push(&mut self, owner: &[u8], rtype: u16, ttl: u32, data: &[u8], place: Place) -> Result<(), String> {
        let at = self.octets.len();
        if name::measure(owner) != Some(owner.len()) {
            return Err("the owner is no name".into());
        }
        let above = owner.len().checked_sub(self.apex.as_wire().len());
        if !above.is_some_and(|above| ends_at_label(owner, above) && name::same(&owner[above..], self.apex.as_wire())) {
            return Err(format!("{} is not in the zone {}", Shown(owner), self.apex));
        }
        if ttl > TTL_SECONDS_MAX {
            return Err(format!("the TTL {ttl} is above {TTL_SECONDS_MAX}"));
        }
        let data_octets = u16::try_from(data.len()).map_err(|_| "the data is longer than 65535 octets")?;
        check_data(rtype, data)?;
        let is_signature = rtype == rtype::RRSIG;
        let set = if is_signature { u16::from_be_bytes([data[0], data[1]]) } else { rtype };
        push_sort_key(owner, &mut self.octets);
        let key_octets = (self.octets.len() - at) as u16;
        self.octets.extend_from_slice(data);
        self.entries.push(Entry { at: at as u64, key_octets, data_octets, set, is_signature, ttl, place });
        Ok(())
    }

    /// Checks the zone as a whole and lays it out.
    pub fn finish(self) -> Result<Image, Faults> {
        let Builder { apex, key, octets, mut entries } = self;
        let view = View { octets: &octets };
        entries.sort_unstable_by(|a, b| view.order(a).cmp(&view.order(b)));
        entries.dedup_by(|b, a| view.order(a) == view.order(b));
        let mut layout = Layout::new(&apex, &view);
        layout.denial = layout.find_denial(&entries);
        for of_owner in entries.chunk_by(|a, b| view.key(a) == view.key(b)) {
            layout.owner(of_owner);
        }
        layout.finish(apex, key, entries.len())
    }
}

/// Refuses data that later code could not read: its callers must find whole names and fixed fields.
fn check_data(rtype: u16, data: &[u8]) -> Result<(), String> {
    match rtype {
        0 | rtype::OPT | 128..=255 => return Err(format!("type {rtype} does not belong in a zone")),
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
fn ends_at_label(owner: &[u8], at: usize) -> bool {
    let mut start = 0;
    while start < at {
        start += usize::from(owner[start]) + 1;
    }
    start == at
}

/// Appends octets whose plain order is the canonical order of names: labels from the right in lower case, each ended
/// by a zero octet; a zero or a one within a label is written as one and itself plus one.
fn push_sort_key(owner: &[u8], out: &mut Vec<u8>) {
    let mut labels = [&[][..]; crate::limits::LABELS_MAX];
    let mut count = 0;
    for label in name::labels(owner) {
        labels[count] = label;
        count += 1;
    }
    for label in labels[..count].iter().rev() {
        for &octet in *label {
            match octet {
                0 | 1 => out.extend([1, octet + 1]),
                _ => out.push(octet.to_ascii_lowercase()),
            }
        }
        out.push(0);
    }
}

/// Writes the name of a sort key as wire to `out`.
fn name_of_sort_key(key: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let labels = key.strip_suffix(&[0]).into_iter().flat_map(|labels| labels.rsplit(|&octet| octet == 0));
    for label in labels {
        let length_at = out.len();
        out.push(0);
        let mut octets = label.iter();
        while let Some(&octet) = octets.next() {
            let octet = if octet == 1 { octets.next().expect("an escape has a second octet") - 1 } else { octet };
            out.push(octet);
        }
        out[length_at] = (out.len() - length_at - 1) as u8;
    }
    out.push(0);
}

struct View<'a> {
    octets: &'a [u8],
}

impl<'a> View<'a> {
    fn key(&self, entry: &Entry) -> &'a [u8] {
        &self.octets[entry.at as usize..][..usize::from(entry.key_octets)]
    }

    fn data(&self, entry: &Entry) -> &'a [u8] {
        &self.octets[entry.at as usize + usize::from(entry.key_octets)..][..usize::from(entry.data_octets)]
    }

    fn order(&self, entry: &Entry) -> (&'a [u8], u16, bool, &'a [u8]) {
        (self.key(entry), entry.set, entry.is_signature, self.data(entry))
    }
}

/// A node on the path from the apex to the name being laid out.
struct Above<'a> {
    key: &'a [u8],
    number: u32,
    covered_by: Option<u32>,
}

struct Layout<'a> {
    view: &'a View<'a>,
    apex_key: Vec<u8>,
    path: Vec<Above<'a>>,
    wire: Vec<u8>,
    nodes: Vec<u8>,
    order: Vec<u32>,
    chain: Vec<Link>,
    denial: Denial,
    /// For the name of the wildcard below a node.
    wildcard: Vec<u8>,
    faults: Faults,
    soa: Option<(u32, [u8; 20])>,
}

impl<'a> Layout<'a> {
    fn new(apex: &Name, view: &'a View<'a>) -> Layout<'a> {
        let mut apex_key = Vec::new();
        push_sort_key(apex.as_wire(), &mut apex_key);
        Layout {
            view,
            apex_key,
            path: Vec::new(),
            wire: Vec::new(),
            nodes: Vec::new(),
            order: Vec::new(),
            chain: Vec::new(),
            denial: Denial::None,
            wildcard: Vec::new(),
            faults: Vec::new(),
            soa: None,
        }
    }

    /// How the zone denies: by NSEC3 where the apex has an NSEC3PARAM that may be used (RFC 5155 §4.1.2: no flags) and
    /// there are records of it, else by NSEC where the apex has one.
    fn find_denial(&self, entries: &[Entry]) -> Denial {
        let at_apex = || entries.iter().take_while(|entry| self.view.key(entry) == self.apex_key);
        let is = |rtype: u16| move |entry: &&Entry| entry.set == rtype && !entry.is_signature;
        for entry in at_apex().filter(is(rtype::NSEC3PARAM)) {
            let data = self.view.data(entry);
            if let Some(parameters) = Nsec3Parameters::read(data).filter(|_| data[1] == 0)
                && entries.iter().filter(is(rtype::NSEC3)).any(|entry| parameters.are_those_of(self.view.data(entry)))
            {
                return Denial::Nsec3(parameters);
            }
        }
        if at_apex().any(|entry| is(rtype::NSEC)(&entry)) { Denial::Nsec } else { Denial::None }
    }

    fn fault(&mut self, place: Place, message: String) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push((place, message));
        }
    }

    /// Lays out one owner name. NSEC3 records stand apart from what else may be there.
    fn owner(&mut self, entries: &[Entry]) {
        let key = self.view.key(&entries[0]);
        let hash = key[self.apex_key.len()..].strip_suffix(&[0]).and_then(nsec3::of_label);
        let begin = entries.partition_point(|entry| entry.set < rtype::NSEC3);
        let end = entries.partition_point(|entry| entry.set <= rtype::NSEC3);
        match hash {
            Some(hash) if begin < end => {
                self.link(key, &hash, &entries[begin..end]);
                let others = [&entries[..begin], &entries[end..]].concat();
                if !others.is_empty() {
                    self.name(key, &others);
                }
            }
            _ => self.name(key, entries),
        }
    }

    /// Lays out an owner name and the empty non-terminals above it.
    fn name(&mut self, key: &'a [u8], entries: &[Entry]) {
        let is_apex = key.len() == self.apex_key.len();
        while self.path.last().is_some_and(|above| !key.starts_with(above.key)) {
            self.path.pop();
        }
        if self.order.is_empty() && !is_apex {
            self.fault(entries[0].place, "the zone has no records at its apex, so no SOA".into());
        }
        let mut known = self.path.last().map_or(self.apex_key.len(), |above| above.key.len());
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
        let mut wire = std::mem::take(&mut self.wire);
        name_of_sort_key(key, &mut wire);
        let is_apex = key.len() == self.apex_key.len();
        let Some(number) = self.next_number() else { return };
        let has = |set: u16| entries.iter().any(|entry| entry.set == set && !entry.is_signature);
        let is_cut = !is_apex && has(rtype::NS);
        let mut flags = 0;
        if is_cut {
            flags |= node_flags::CUT;
        }
        if has(rtype::DNAME) {
            flags |= node_flags::DNAME;
        }
        let above = self.path.last().and_then(|above| above.covered_by);
        if above.is_some() {
            flags |= node_flags::OCCLUDED;
        }
        let covered_by = above.or((flags & (node_flags::CUT | node_flags::DNAME) != 0).then_some(number));
        if wire.starts_with(b"\x01*")
            && let Some(parent) = self.path.last()
        {
            self.nodes[parent.number as usize * 4 + 4] |= node_flags::WILDCARD_BELOW;
        }
        let hashes = match &self.denial {
            Denial::Nsec3(parameters) if above.is_none() => {
                let own = parameters.hash(&wire);
                // No name below one of 254 octets or more can be asked for, and none is denied.
                self.wildcard.clear();
                self.wildcard.extend(b"\x01*");
                self.wildcard.extend(&wire);
                Some((own, parameters.hash(&self.wildcard)))
            }
            _ => None,
        };
        self.lay_out(number, covered_by, flags, hashes, &wire, entries);
        self.order.push(number);
        self.check_owner(&wire, is_apex, entries);
        self.path.push(Above { key, number, covered_by });
        self.wire = wire;
    }

    /// Lays out an NSEC3 owner.
    fn link(&mut self, key: &[u8], hash: &[u8; nsec3::HASH_OCTETS], entries: &[Entry]) {
        let mut wire = std::mem::take(&mut self.wire);
        name_of_sort_key(key, &mut wire);
        let Some(number) = self.next_number() else { return };
        let in_use = match &self.denial {
            Denial::Nsec3(parameters) => {
                entries.iter().all(|entry| entry.is_signature || parameters.are_those_of(self.view.data(entry)))
            }
            _ => false,
        };
        let flags = if in_use { 0 } else { node_flags::OTHER_CHAIN };
        let prefix = nsec3::prefix(hash);
        self.lay_out(number, None, flags, Some((prefix, prefix)), &wire, entries);
        self.chain.push(Link { prefix: (prefix >> 32) as u32, number });
        self.wire = wire;
    }

    /// The number of the node that is laid out next.
    fn next_number(&mut self) -> Option<u32> {
        let number = u32::try_from(self.nodes.len().div_ceil(4)).ok().filter(|&number| number < NO_COVER);
        if number.is_none() {
            self.fault(Place::default(), "the zone is larger than 16 GiB".into());
        }
        number
    }

    /// Writes a node.
    fn lay_out(
        &mut self,
        number: u32,
        cover: Option<u32>,
        flags: u8,
        hashes: Option<(u64, u64)>,
        wire: &[u8],
        entries: &[Entry],
    ) {
        let at = number as usize * 4;
        self.nodes.resize(at, 0);
        self.nodes.extend(cover.unwrap_or(NO_COVER).to_le_bytes());
        let flags = if hashes.is_some() { flags | node_flags::HASHED } else { flags };
        self.nodes.extend([flags, 0, wire.len() as u8, name::labels(wire).count() as u8]);
        if let Some((own, wildcard)) = hashes {
            self.nodes.extend(own.to_le_bytes());
            self.nodes.extend(wildcard.to_le_bytes());
        }
        self.nodes.extend(wire);
        self.nodes[at + 5] = self.rrsets(wire, entries);
    }

    /// Lays out the RRsets of an owner. Returns their number. Signatures that cover nothing become a set of their own:
    /// while a zone is signed anew, one may be there before its set or after it.
    fn rrsets(&mut self, owner: &[u8], entries: &[Entry]) -> u8 {
        let covers_nothing = |set: &&[Entry]| set.iter().all(|entry| entry.is_signature);
        let mut orphans: Vec<Entry> = Vec::new();
        for set in entries.chunk_by(|a, b| a.set == b.set).filter(covers_nothing) {
            orphans.extend(set.iter().map(|entry| Entry { set: rtype::RRSIG, is_signature: false, ..*entry }));
        }
        if orphans.is_empty() {
            return self.whole_rrsets(owner, entries);
        }
        orphans.sort_unstable_by(|a, b| self.view.order(a).cmp(&self.view.order(b)));
        let mut rest: Vec<Entry> =
            entries.chunk_by(|a, b| a.set == b.set).filter(|set| !covers_nothing(set)).flatten().copied().collect();
        let behind = rest.partition_point(|entry| entry.set < rtype::RRSIG);
        rest.splice(behind..behind, orphans);
        self.whole_rrsets(owner, &rest)
    }

    fn whole_rrsets(&mut self, owner: &[u8], entries: &[Entry]) -> u8 {
        let mut sets = 0;
        for set in entries.chunk_by(|a, b| a.set == b.set) {
            let signed = set.iter().take_while(|entry| !entry.is_signature).count();
            let (records, signatures) = set.split_at(signed);
            let Ok(count) = u16::try_from(records.len()) else {
                self.fault(set[0].place, format!("{} has more than 65535 records of one type", Shown(owner)));
                continue;
            };
            if sets == RRSETS_A_NAME_MAX {
                self.fault(set[0].place, format!("{} has more than {RRSETS_A_NAME_MAX} RRsets", Shown(owner)));
                break;
            }
            // RFC 2181 §5.2: the TTLs of a set should not differ; where they do, the least holds for all.
            let ttl = set.iter().map(|entry| entry.ttl).min().unwrap_or(0);
            let header = self.nodes.len();
            self.nodes.extend(set[0].set.to_le_bytes());
            self.nodes.extend(count.to_le_bytes());
            self.nodes.extend(ttl.to_le_bytes());
            self.nodes.extend([0; 8]);
            assert_eq!(self.nodes.len() - header, RRSET_OCTETS);
            for (field, part) in [(8, records), (12, signatures)] {
                let begin = self.nodes.len();
                for entry in part {
                    let data = self.view.data(entry);
                    self.nodes.extend((data.len() as u16).to_le_bytes());
                    self.nodes.extend(data);
                }
                let octets = (self.nodes.len() - begin) as u32;
                self.nodes[header + field..header + field + 4].copy_from_slice(&octets.to_le_bytes());
            }
            sets += 1;
        }
        sets as u8
    }

    /// Checks what may stand at one owner (RFC 1034 §3.6.2, RFC 2181 §10.1, RFC 6672 §2.4).
    fn check_owner(&mut self, owner: &[u8], is_apex: bool, entries: &[Entry]) {
        let count = |set: u16| entries.iter().filter(|entry| entry.set == set && !entry.is_signature).count();
        let place_of = |set: u16| entries.iter().find(|entry| entry.set == set).map_or(Place::default(), |e| e.place);
        let other = |allowed: &[u16]| {
            entries.iter().find(|entry| !entry.is_signature && !allowed.contains(&entry.set)).map(|e| e.place)
        };
        for (set, what) in [(rtype::CNAME, "CNAME"), (rtype::DNAME, "DNAME")] {
            if count(set) > 1 {
                self.fault(place_of(set), format!("{} has more than one {what}", Shown(owner)));
            }
        }
        if count(rtype::CNAME) > 0
            && let Some(place) = other(&[rtype::CNAME, rtype::NSEC, rtype::NXT])
        {
            self.fault(place, format!("{} has a CNAME and other data; a CNAME must stand alone", Shown(owner)));
        }
        match (is_apex, count(rtype::SOA)) {
            (true, 1) => {
                let soa = entries.iter().find(|e| e.set == rtype::SOA && !e.is_signature).expect("counted just now");
                let data = self.view.data(soa);
                self.soa = Some((soa.ttl, *data.last_chunk().expect("an SOA's data was checked")));
            }
            (true, 0) => self.fault(entries[0].place, format!("the zone has no SOA record at {}", Shown(owner))),
            (true, _) => self.fault(place_of(rtype::SOA), "the zone has more than one SOA record".into()),
            (false, 0) => {}
            (false, _) => {
                self.fault(place_of(rtype::SOA), format!("{} has an SOA record and is not the apex", Shown(owner)));
            }
        }
    }

    fn finish(mut self, apex: Name, key: HashKey, records: usize) -> Result<Image, Faults> {
        let Some((ttl, soa)) = self.soa else {
            if self.faults.is_empty() {
                self.fault(Place::default(), format!("the zone has no SOA record at {apex}"));
            }
            return Err(self.faults);
        };
        if !self.faults.is_empty() {
            return Err(self.faults);
        }
        let field = |at: usize| u32::from_be_bytes(*soa[at..].first_chunk().expect("20 octets"));
        self.nodes.shrink_to_fit();
        self.order.shrink_to_fit();
        self.chain.shrink_to_fit();
        let mut image = Image {
            index: NameIndex::new(0),
            key,
            apex,
            nodes: self.nodes,
            apex_number: self.order[0],
            order: self.order,
            chain: self.chain,
            denial: self.denial,
            records,
            serial: field(0),
            negative_ttl: ttl.min(field(16)),
        };
        image.index = index(&image);
        if image.apex_node().rrset(rtype::NS).is_none() {
            let place = Place::default();
            return Err(vec![(place, format!("the zone has no NS record at {}", image.apex))]);
        }
        Ok(image)
    }
}

/// The table over the nodes.
fn index(image: &Image) -> NameIndex {
    let mut index = NameIndex::new(image.names());
    let mut name = KeyedName::default();
    for node in image.nodes() {
        name.set(&image.key, node.name()).expect("names of our nodes are whole");
        index.insert(name.name_hash(), node.number());
    }
    index
}

/// A name in messages.
struct Shown<'a>(&'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        name::write_presentation(self.0, f)
    }
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
                push_sort_key(name, &mut key);
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
            name_of_sort_key(key, &mut back);
            assert_eq!(back, name.to_ascii_lowercase());
        }
        for odd in [&b"\x03\0\x01\x02\0"[..], b"\0", b"\x01\x01\x01\0\0"] {
            let mut key = Vec::new();
            push_sort_key(odd, &mut key);
            name_of_sort_key(&key, &mut back);
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
}
