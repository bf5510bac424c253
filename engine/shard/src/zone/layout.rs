//! Owners written as nodes of an image, with the checks that hold for each: what building an image and changing one have
//! in common.

use std::cmp::Ordering;
use std::fmt;

use super::build::{Faults, Place};
use super::image::{Denial, LONG, Link, NO_COVER, OWNER, RECORD_OCTETS, node_flags};
use super::nsec3;
use crate::limits::RRSETS_A_NAME_MAX;
use crate::wire::name;
use crate::wire::rdata::{self, CLASS_IN, rtype};

/// Faults reported of one zone; more are left unsaid.
const FAULTS_MAX: usize = 10;

/// A record on its way into an image, its data in a [`View`]. 32 octets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) at: u64,
    pub(super) data_octets: u16,
    /// The type; of an RRSIG the type that it covers, so that it sorts beside its set.
    pub(super) set: u16,
    pub(super) is_signature: bool,
    pub(super) ttl: u32,
    pub(super) place: Place,
}

const _: () = assert!(size_of::<Entry>() == 32);

impl Entry {
    /// The type, and whether it is a signature, under which a record sorts.
    pub(super) fn set_of(rtype: u16, data: &[u8]) -> (u16, bool) {
        match data {
            [high, low, ..] if rtype == rtype::RRSIG => (u16::from_be_bytes([*high, *low]), true),
            _ => (rtype, false),
        }
    }
}

/// The octets that entries are made of.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) octets: &'a [u8],
}

impl<'a> View<'a> {
    pub(super) fn data(&self, entry: &Entry) -> &'a [u8] {
        &self.octets[entry.at as usize..][..usize::from(entry.data_octets)]
    }

    /// The order in which the entries of an owner are laid out; equal where they are the same record.
    pub(super) fn compare(&self, a: &Entry, b: &Entry) -> Ordering {
        let sets = (a.set, a.is_signature).cmp(&(b.set, b.is_signature));
        let rtype = if a.is_signature { rtype::RRSIG } else { a.set };
        sets.then_with(|| rdata::order(rtype, self.data(a), self.data(b)))
    }
}

/// Nodes being written, one behind the other.
pub(super) struct Nodes<'a> {
    pub(super) view: View<'a>,
    pub(super) octets: Vec<u8>,
    pub(super) denial: Denial,
    /// TTL and last 20 octets of the SOA that was laid out.
    pub(super) soa: Option<(u32, [u8; 20])>,
    pub(super) faults: Faults,
    /// For the name of the wildcard below a node.
    wildcard: Vec<u8>,
}

/// A node that was laid out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Laid {
    pub(super) number: u32,
    /// The cut or DNAME at or above it.
    pub(super) cover: Option<u32>,
}

impl<'a> Nodes<'a> {
    pub(super) fn new(view: View<'a>, octets: Vec<u8>, denial: Denial) -> Nodes<'a> {
        Nodes { view, octets, denial, soa: None, faults: Vec::new(), wildcard: Vec::new() }
    }

    pub(super) fn fault(&mut self, place: Place, message: String) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push((place, message));
        }
    }

    /// Lays out a node below `above`, the cut or DNAME that covers it; without entries it is an empty non-terminal.
    /// `None`: the zone is too large, which is a fault.
    pub(super) fn name(&mut self, wire: &[u8], is_apex: bool, above: Option<u32>, entries: &[Entry]) -> Option<Laid> {
        let number = self.next_number()?;
        let has = |set: u16| entries.iter().any(|entry| entry.set == set && !entry.is_signature);
        let mut flags = 0;
        if !is_apex && has(rtype::NS) {
            flags |= node_flags::CUT;
        }
        if has(rtype::DNAME) {
            flags |= node_flags::DNAME;
        }
        if above.is_some() {
            flags |= node_flags::OCCLUDED;
        }
        let cover = above.or((flags & (node_flags::CUT | node_flags::DNAME) != 0).then_some(number));
        let hashes = if above.is_none() { self.hashes(wire) } else { None };
        self.lay_out(number, cover, flags, hashes, wire, entries);
        self.check_owner(wire, is_apex, entries);
        Some(Laid { number, cover })
    }

    /// The hashes that an authoritative node of a zone with NSEC3 carries: of its name, and of the wildcard below it.
    pub(super) fn hashes(&mut self, wire: &[u8]) -> Option<(u64, u64)> {
        let Denial::Nsec3(parameters) = &self.denial else { return None };
        // No name below one of 254 octets or more can be asked for, and none is denied.
        self.wildcard.clear();
        self.wildcard.extend(b"\x01*");
        self.wildcard.extend(wire);
        Some((parameters.hash(wire), parameters.hash(&self.wildcard)))
    }

    /// Lays out an NSEC3 owner. `None`: the zone is too large, which is a fault.
    pub(super) fn link(&mut self, wire: &[u8], hash: &[u8; nsec3::HASH_OCTETS], entries: &[Entry]) -> Option<Link> {
        let number = self.next_number()?;
        let in_use = match &self.denial {
            Denial::Nsec3(parameters) => {
                // Signatures alone are no link: they are there while the zone is signed anew.
                !entries[0].is_signature
                    && entries.iter().all(|entry| entry.is_signature || parameters.are_those_of(self.view.data(entry)))
            }
            _ => false,
        };
        let flags = if in_use { 0 } else { node_flags::OTHER_CHAIN };
        let prefix = nsec3::prefix(hash);
        self.lay_out(number, None, flags, Some((prefix, prefix)), wire, entries);
        Some(Link { prefix: (prefix >> 32) as u32, number })
    }

    /// The number of the node that is laid out next.
    pub(super) fn next_number(&mut self) -> Option<u32> {
        let number = u32::try_from(self.octets.len().div_ceil(4)).ok().filter(|&number| number < NO_COVER);
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
        self.octets.resize(at, 0);
        self.octets.extend(cover.unwrap_or(NO_COVER).to_le_bytes());
        let flags = if hashes.is_some() { flags | node_flags::HASHED } else { flags };
        self.octets.extend([flags, 0, wire.len() as u8, name::labels(wire).count() as u8]);
        if let Some((own, wildcard)) = hashes {
            self.octets.extend(own.to_le_bytes());
            self.octets.extend(wildcard.to_le_bytes());
        }
        self.octets.extend(wire);
        self.octets[at + 5] = self.rrsets(wire, entries);
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
        orphans.sort_unstable_by(|a, b| self.view.compare(a, b));
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
            let (Ok(count), Ok(_)) = (u16::try_from(records.len()), u16::try_from(signatures.len())) else {
                self.fault(set[0].place, format!("{} has more than 65535 records of one type", Shown(owner)));
                continue;
            };
            if sets == RRSETS_A_NAME_MAX {
                self.fault(set[0].place, format!("{} has more than {RRSETS_A_NAME_MAX} RRsets", Shown(owner)));
                break;
            }
            // RFC 2181 §5.2: the TTLs of a set should not differ; where they do, the least holds for all.
            let ttl = set.iter().map(|entry| entry.ttl).min().unwrap_or(0);
            self.rrset((set[0].set, count), ttl, records, signatures);
            sets += 1;
        }
        sets as u8
    }

    /// Lays out one RRset.
    fn rrset(&mut self, (rtype, count): (u16, u16), ttl: u32, records: &[Entry], signatures: &[Entry]) {
        let octets =
            |part: &[Entry]| -> usize { part.iter().map(|entry| RECORD_OCTETS + usize::from(entry.data_octets)).sum() };
        let (octets, of_signatures) = (octets(records), octets(signatures));
        let short = |octets: usize| u16::try_from(octets).ok().filter(|&octets| octets != LONG);
        match (short(octets), short(of_signatures)) {
            (Some(octets), Some(of_signatures)) => {
                [octets, count, of_signatures].into_iter().for_each(|word| self.octets.extend(word.to_le_bytes()));
            }
            _ => {
                [LONG, count, 0].into_iter().for_each(|word| self.octets.extend(word.to_le_bytes()));
                self.octets.extend((octets as u64).to_le_bytes());
                self.octets.extend((of_signatures as u64).to_le_bytes());
            }
        }
        for (rtype, part) in [(rtype, records), (rtype::RRSIG, signatures)] {
            for entry in part {
                self.octets.extend(OWNER);
                self.octets.extend(rtype.to_be_bytes());
                self.octets.extend(CLASS_IN.to_be_bytes());
                self.octets.extend(ttl.to_be_bytes());
                self.octets.extend(entry.data_octets.to_be_bytes());
                self.octets.extend(self.view.data(entry));
            }
        }
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
}

/// The entries of a set of NSEC3 records with their signatures, which stand apart, among those of one owner.
pub(super) fn nsec3_entries(entries: &[Entry]) -> std::ops::Range<usize> {
    entries.partition_point(|entry| entry.set < rtype::NSEC3)
        ..entries.partition_point(|entry| entry.set <= rtype::NSEC3)
}

/// A name in messages.
pub(super) struct Shown<'a>(pub(super) &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        name::write_presentation(self.0, f)
    }
}
