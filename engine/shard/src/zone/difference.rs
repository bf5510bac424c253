//! What changed in a zone from one serial to the next (RFC 1995): records removed and records added, as a transfer
//! brings them or as two images tell.
//!
//! Two records are the same one where owner, type and data are; names in data are compared without regard to case
//! (see [`rdata::order`]). A record whose TTL or spelling changes is removed and added.

use core::cmp::Ordering;
use core::fmt;

use super::build::check_record;
use super::image::{Image, Node, Record};
use super::update::Mismatch;
use crate::limits::NAME_OCTETS_MAX;
use crate::wire::name::{self, Name};
use crate::wire::rdata::{self, rtype};
use crate::wire::u32_at;

/// One step of a zone from a serial to another, as flat octets in one allocation.
///
/// First come the records removed, the former SOA ahead of them, then those added behind the new SOA. Each is: length
/// of the owner u8, type u16, TTL u32, length of the data u16 (little-endian), owner in lower case, data.
#[derive(Clone, PartialEq, Eq)]
pub struct Difference {
    octets: Box<[u8]>,
    /// Where the records added begin.
    added_at: usize,
    records: usize,
    from: u32,
    to: u32,
}

/// Octets of a record before its owner.
const HEADER_OCTETS: usize = 9;
/// Octets of an encoded difference before its records.
const ENCODED_OCTETS: usize = 16;

impl Difference {
    /// What leads from one image of a zone to another; `None` where they hold the same records. One walk over both.
    pub fn between(old: &Image, new: &Image) -> Option<Difference> {
        assert_eq!(old.apex(), new.apex(), "both are images of one zone");
        let mut changes = Changes::default();
        changes.removed.push(soa_of(old));
        changes.added.push(soa_of(new));
        let (old_soa, new_soa) = (changes.removed.octets.len(), changes.added.octets.len());
        changes.walk(old.nodes(), new.nodes());
        changes.walk(old.chain_nodes(), new.chain_nodes());
        let nothing = changes.removed.octets.len() == old_soa && changes.added.octets.len() == new_soa;
        if nothing && changes.removed.octets == changes.added.octets {
            return None;
        }
        Some(changes.finish())
    }

    /// One difference that leads where `steps` lead, each of which begins where the one before it ends: what one adds
    /// and a later one removes is in it no more (RFC 1995 §5). There is at least one.
    ///
    /// # Errors
    /// The steps do not follow on each other.
    pub fn merge<'d>(steps: impl IntoIterator<Item = &'d Difference>) -> Result<Difference, Mismatch> {
        let steps: Vec<&Difference> = steps.into_iter().collect();
        for pair in steps.windows(2) {
            if pair[0].to != pair[1].from {
                return Err(Mismatch::Serial { have: pair[0].to, wanted: pair[1].from });
            }
            if pair[0].apex() != pair[1].apex() {
                return Err(Mismatch::Zone);
            }
        }
        let (first, last) = (steps[0], steps[steps.len() - 1]);
        let mut changes = Changes::default();
        changes.removed.push(first.removed().next().expect("the SOA comes first"));
        changes.added.push(last.added().next().expect("the SOA comes first"));
        let mut events = Vec::with_capacity(steps.iter().map(|step| step.records).sum());
        for step in &steps {
            events.extend(step.removed().skip(1).map(|record| Event { record, added: false }));
            events.extend(step.added().skip(1).map(|record| Event { record, added: true }));
        }
        events.sort_by(|a, b| record_order(&a.record, &b.record));
        for of_record in events.chunk_by(|a, b| record_order(&a.record, &b.record).is_eq()) {
            changes.condense(of_record)?;
        }
        Ok(changes.finish())
    }

    /// The serial that it leads from.
    pub fn from_serial(&self) -> u32 {
        self.from
    }

    /// The serial that it leads to.
    pub fn to_serial(&self) -> u32 {
        self.to
    }

    /// The zone's name, lower-case wire.
    pub fn apex(&self) -> &[u8] {
        self.record_at(0).expect("the SOA comes first").0.owner
    }

    /// The records removed, the former SOA first.
    pub fn removed(&self) -> impl Iterator<Item = Record<'_>> {
        records(&self.octets[..self.added_at])
    }

    /// The records added, the new SOA first.
    pub fn added(&self) -> impl Iterator<Item = Record<'_>> {
        records(&self.octets[self.added_at..])
    }

    /// The record at a position, and the position of the next one, so that a walk can stop and go on: zero is the first
    /// record removed, [`Difference::added_at`] the first one added. `None` behind the last. A position that was not
    /// given out gives nothing that makes sense.
    pub fn record_at(&self, position: usize) -> Option<(Record<'_>, usize)> {
        record_at(&self.octets, position)
    }

    /// The position of the first record added.
    pub fn added_at(&self) -> usize {
        self.added_at
    }

    /// Records removed and added, the SOAs among them.
    pub fn records(&self) -> usize {
        self.records
    }

    /// Octets of memory that it takes.
    pub fn octets(&self) -> usize {
        size_of::<Difference>() + self.octets.len()
    }

    /// Appends it as octets for [`Difference::decode`].
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend((self.added_at as u64).to_le_bytes());
        out.extend(((self.octets.len() - self.added_at) as u64).to_le_bytes());
        out.extend(&self.octets);
    }

    /// Reads what [`Difference::encode`] wrote, all of `octets`. Every record is checked as one that arrives.
    ///
    /// # Errors
    /// The octets are no difference.
    pub fn decode(octets: &[u8]) -> Result<Difference, Unfit> {
        let damaged = || Unfit::Malformed("the octets are no difference".into());
        let (header, octets) = octets.split_at_checked(ENCODED_OCTETS).ok_or_else(damaged)?;
        let length = |at: usize| u64::from_le_bytes(*header[at..].first_chunk().expect("16 octets hold two lengths"));
        let added_at = usize::try_from(length(0)).ok().filter(|&at| at <= octets.len()).ok_or_else(damaged)?;
        if length(8) != (octets.len() - added_at) as u64 {
            return Err(damaged());
        }
        let mut writer: Option<Writer> = None;
        let mut position = 0;
        while position < octets.len() {
            let (record, next) = record_at(octets, position).ok_or_else(damaged)?;
            let is_folded = !record.owner.iter().any(u8::is_ascii_uppercase);
            if !is_folded || (position < added_at && next > added_at) {
                return Err(damaged());
            }
            match &mut writer {
                None => writer = Some(Writer::begin(record, octets.len())?),
                Some(writer) if position == added_at => writer.begin_added(record)?,
                Some(writer) if position < added_at => writer.remove(record)?,
                Some(writer) => writer.add(record)?,
            }
            position = next;
        }
        writer.ok_or_else(damaged)?.finish()
    }
}

impl fmt::Debug for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (removed, added) = (self.removed().count(), self.added().count());
        write!(f, "Difference({} to {}: {removed} removed, {added} added)", self.from, self.to)
    }
}

/// Takes the records of a difference as a transfer brings them: the former SOA, what is removed, the new SOA, what is
/// added (RFC 1995 §4).
#[derive(Debug)]
pub struct Writer {
    apex: Name,
    octets: Records,
    octets_max: usize,
    added_at: Option<usize>,
    from: u32,
    to: u32,
}

/// Why records make no difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// There are more octets than were allowed.
    TooLarge,
    /// What is wrong with a record, or with what stands where.
    Malformed(String),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::TooLarge => f.write_str("the difference is larger than allowed"),
            Unfit::Malformed(what) => f.write_str(what),
        }
    }
}

impl core::error::Error for Unfit {}

impl Writer {
    /// Begins with the former SOA; its owner is the zone's name. The records may take up to `octets_max`.
    ///
    /// # Errors
    /// It is no SOA, or malformed.
    pub fn begin(soa: Record<'_>, octets_max: usize) -> Result<Writer, Unfit> {
        let apex = Name::from_wire(soa.owner).ok_or_else(|| Unfit::Malformed("the owner is no name".into()))?;
        let mut writer = Writer { apex, octets: Records::default(), octets_max, added_at: None, from: 0, to: 0 };
        writer.from = writer.soa(soa)?;
        Ok(writer)
    }

    /// Takes a record that is removed. Owner and names in data are uncompressed, in any case.
    ///
    /// # Errors
    /// The record is malformed, or belongs elsewhere; or there are too many octets.
    pub fn remove(&mut self, record: Record<'_>) -> Result<(), Unfit> {
        assert!(self.added_at.is_none(), "what is removed comes before what is added");
        self.push(record)
    }

    /// Takes the new SOA: what follows is added.
    ///
    /// # Errors
    /// As [`Writer::begin`].
    pub fn begin_added(&mut self, soa: Record<'_>) -> Result<(), Unfit> {
        assert!(self.added_at.is_none(), "there is one new SOA");
        self.added_at = Some(self.octets.octets.len());
        self.to = self.soa(soa)?;
        Ok(())
    }

    /// Takes a record that is added.
    ///
    /// # Errors
    /// As [`Writer::remove`].
    pub fn add(&mut self, record: Record<'_>) -> Result<(), Unfit> {
        assert!(self.added_at.is_some(), "the new SOA comes before what is added");
        self.push(record)
    }

    /// Serial that the difference leads from.
    pub fn from_serial(&self) -> u32 {
        self.from
    }

    /// The difference.
    ///
    /// # Errors
    /// There was no new SOA.
    pub fn finish(self) -> Result<Difference, Unfit> {
        let Some(added_at) = self.added_at else {
            return Err(Unfit::Malformed("the new SOA is missing".into()));
        };
        let Records { octets, count } = self.octets;
        Ok(Difference { octets: octets.into(), added_at, records: count, from: self.from, to: self.to })
    }

    /// Takes an SOA; gives its serial.
    fn soa(&mut self, record: Record<'_>) -> Result<u32, Unfit> {
        if record.rtype != rtype::SOA || !name::same(record.owner, self.apex.as_wire()) {
            return Err(Unfit::Malformed("an SOA of the zone is missing".into()));
        }
        self.check_and_push(record)?;
        Ok(serial_of(record.data))
    }

    fn push(&mut self, record: Record<'_>) -> Result<(), Unfit> {
        if record.rtype == rtype::SOA {
            return Err(Unfit::Malformed("an SOA stands among the records of a difference".into()));
        }
        self.check_and_push(record)
    }

    fn check_and_push(&mut self, record: Record<'_>) -> Result<(), Unfit> {
        check_record(&self.apex, record.owner, record.rtype, record.ttl, record.data).map_err(Unfit::Malformed)?;
        if self.octets.octets.len() + octets_of(&record) > self.octets_max {
            return Err(Unfit::TooLarge);
        }
        let mut lower = [0; NAME_OCTETS_MAX];
        let lower = &mut lower[..record.owner.len()];
        lower.copy_from_slice(record.owner);
        lower.make_ascii_lowercase();
        self.octets.push(Record { owner: lower, ..record });
        Ok(())
    }
}

/// Records as octets.
#[derive(Debug, Default)]
struct Records {
    octets: Vec<u8>,
    count: usize,
}

impl Records {
    fn push(&mut self, record: Record<'_>) {
        self.octets.push(record.owner.len() as u8);
        self.octets.extend(record.rtype.to_le_bytes());
        self.octets.extend(record.ttl.to_le_bytes());
        self.octets.extend((record.data.len() as u16).to_le_bytes());
        self.octets.extend(record.owner);
        self.octets.extend(record.data);
        self.count += 1;
    }
}

fn octets_of(record: &Record<'_>) -> usize {
    HEADER_OCTETS + record.owner.len() + record.data.len()
}

fn record_at(octets: &[u8], position: usize) -> Option<(Record<'_>, usize)> {
    let (header, rest) = octets.get(position..)?.split_first_chunk::<HEADER_OCTETS>()?;
    let &[owner_octets, t0, t1, l0, l1, l2, l3, d0, d1] = header;
    let (owner, rest) = rest.split_at_checked(usize::from(owner_octets))?;
    let (data, _) = rest.split_at_checked(usize::from(u16::from_le_bytes([d0, d1])))?;
    let (rtype, ttl) = (u16::from_le_bytes([t0, t1]), u32::from_le_bytes([l0, l1, l2, l3]));
    let record = Record { owner, rtype, ttl, data };
    Some((record, position + octets_of(&record)))
}

fn records(octets: &[u8]) -> impl Iterator<Item = Record<'_>> {
    let mut position = 0;
    core::iter::from_fn(move || {
        let (record, next) = record_at(octets, position)?;
        position = next;
        Some(record)
    })
}

/// The serial in the data of an SOA that was checked.
fn serial_of(soa: &[u8]) -> u32 {
    u32_at(soa, soa.len() - 20).expect("an SOA ends in five numbers")
}

fn soa_of(image: &Image) -> Record<'_> {
    image.each_record().next().expect("an image has an SOA")
}

/// Records by owner in canonical order, type and data; equal where they are the same record.
pub(super) fn record_order(a: &Record<'_>, b: &Record<'_>) -> Ordering {
    let owners = if a.owner == b.owner { Ordering::Equal } else { name::canonical_order(a.owner, b.owner) };
    owners.then(a.rtype.cmp(&b.rtype)).then_with(|| rdata::order(a.rtype, a.data, b.data))
}

/// A record that one of several steps removes or adds.
struct Event<'d> {
    record: Record<'d>,
    added: bool,
}

/// What is found to be removed and added.
#[derive(Default)]
struct Changes {
    removed: Records,
    added: Records,
}

impl Changes {
    /// Walks over the nodes of two images in the order of their names.
    fn walk<'z>(&mut self, old: impl Iterator<Item = Node<'z>>, new: impl Iterator<Item = Node<'z>>) {
        let (mut old, mut new) = (old.peekable(), new.peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => return,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) if a.name() == b.name() => Ordering::Equal,
                (Some(a), Some(b)) => name::canonical_order(a.name(), b.name()),
            };
            let former = if order.is_le() { old.next() } else { None };
            let later = if order.is_ge() { new.next() } else { None };
            match (former, later) {
                (Some(a), Some(b)) if a.rrset_octets() == b.rrset_octets() => {}
                (a, b) => self.compare(&records_of_node(a), &records_of_node(b)),
            }
        }
    }

    /// Compares the records of one owner, both in the order of [`record_order`].
    fn compare(&mut self, mut old: &[Record<'_>], mut new: &[Record<'_>]) {
        loop {
            let order = match (old, new) {
                ([], []) => return,
                (_, []) => Ordering::Less,
                ([], _) => Ordering::Greater,
                ([a, ..], [b, ..]) => record_order(a, b),
            };
            let changed = order.is_ne() || (old[0].ttl, old[0].data) != (new[0].ttl, new[0].data);
            if order.is_le() {
                if changed {
                    self.removed.push(old[0]);
                }
                old = &old[1..];
            }
            if order.is_ge() {
                if changed {
                    self.added.push(new[0]);
                }
                new = &new[1..];
            }
        }
    }

    /// What happens to one record in all.
    fn condense(&mut self, events: &[Event<'_>]) -> Result<(), Mismatch> {
        if let Some(pair) = events.windows(2).find(|pair| pair[0].added == pair[1].added) {
            let record = &pair[1].record;
            return Err(if pair[1].added { Mismatch::there(record) } else { Mismatch::not_there(record) });
        }
        let (first, last) = (&events[0], &events[events.len() - 1]);
        let was = (!first.added).then_some(first.record);
        let is = last.added.then_some(last.record);
        if was != is {
            was.into_iter().for_each(|record| self.removed.push(record));
            is.into_iter().for_each(|record| self.added.push(record));
        }
        Ok(())
    }

    fn finish(self) -> Difference {
        let (removed, added) = (self.removed, self.added);
        let soa = |records: &Records| serial_of(record_at(&records.octets, 0).expect("the SOA comes first").0.data);
        let (from, to) = (soa(&removed), soa(&added));
        let added_at = removed.octets.len();
        let mut octets = removed.octets;
        octets.reserve_exact(added.octets.len());
        octets.extend(added.octets);
        Difference { octets: octets.into(), added_at, records: removed.count + added.count, from, to }
    }
}

/// The records of a node in the order of [`record_order`], without the SOA, but with its signatures.
fn records_of_node<'z>(node: Option<Node<'z>>) -> Vec<Record<'z>> {
    let all = node.into_iter().flat_map(|node| node.rrsets().flat_map(move |set| node.records_of(set)));
    let mut records: Vec<Record<'_>> = all.filter(|record| record.rtype != rtype::SOA).collect();
    records.sort_by(record_order);
    records
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::name::HashKey;
    use crate::zone::update::tests::{Model, Toggle, toggle, wire};
    use crate::zone::{Builder, Place};

    fn soa(serial: u32) -> Vec<u8> {
        [wire("ns.zone.test"), wire("host.zone.test"), serial.to_be_bytes().to_vec(), vec![0; 16]].concat()
    }

    fn soa_record(data: &[u8]) -> Record<'_> {
        Record { owner: b"\x04zone\x04test\0", rtype: rtype::SOA, ttl: 300, data }
    }

    fn a_record(owner: &[u8]) -> Record<'_> {
        Record { owner, rtype: rtype::A, ttl: 60, data: &[192, 0, 2, 1] }
    }

    /// A difference between serials that removes and adds addresses at owners.
    fn step(from: u32, to: u32, removed: &[&str], added: &[&str]) -> Difference {
        let (old, new) = (soa(from), soa(to));
        let mut writer = Writer::begin(soa_record(&old), 10_000).unwrap();
        removed.iter().for_each(|owner| writer.remove(a_record(&wire(owner))).unwrap());
        writer.begin_added(soa_record(&new)).unwrap();
        added.iter().for_each(|owner| writer.add(a_record(&wire(owner))).unwrap());
        writer.finish().unwrap()
    }

    fn owners<'d>(records: impl Iterator<Item = Record<'d>>) -> Vec<String> {
        let text = |record: Record<'_>| Name::from_wire(record.owner).unwrap().to_string();
        records.skip(1).map(text).collect()
    }

    #[test]
    fn what_was_written_is_read_from_any_position() {
        let difference = step(1, 2, &["A.zone.test"], &["b.zone.test", "c.b.zone.test"]);
        assert_eq!((difference.from_serial(), difference.to_serial(), difference.records()), (1, 2, 5));
        assert_eq!(owners(difference.removed()), ["a.zone.test."]);
        assert_eq!(owners(difference.added()), ["b.zone.test.", "c.b.zone.test."]);
        assert_eq!(difference.apex(), wire("zone.test"));
        let mut position = 0;
        let mut records = Vec::new();
        while let Some((record, next)) = difference.record_at(position) {
            assert_eq!(record.rtype == rtype::SOA, position == 0 || position == difference.added_at());
            records.push(record);
            position = next;
        }
        assert_eq!(records, difference.removed().chain(difference.added()).collect::<Vec<_>>());
        assert_eq!(format!("{difference:?}"), "Difference(1 to 2: 2 removed, 3 added)");
    }

    #[test]
    fn equal_images_have_no_difference_and_a_changed_soa_is_one() {
        let a = Toggle::address("a.zone.test");
        let one = Model::new(1, std::slice::from_ref(&a)).build().unwrap();
        assert!(Difference::between(&one, &one.clone()).is_none());
        let two = Model::new(2, &[a]).build().unwrap();
        let difference = Difference::between(&one, &two).unwrap();
        assert_eq!((difference.removed().count(), difference.added().count()), (1, 1));
        let same_serial = Model::new(1, &[]).build().unwrap();
        let difference = Difference::between(&one, &same_serial).unwrap();
        assert_eq!((difference.from_serial(), difference.to_serial(), difference.records()), (1, 1, 3));
    }

    #[test]
    fn signatures_of_the_soa_change_with_it() {
        let signature = |octet: u8| [&rtype::SOA.to_be_bytes()[..], &[octet; 16], &wire("zone.test")].concat();
        let signed = |serial: u32| {
            let (apex, place) = (wire("zone.test"), Place::default());
            let mut builder = Builder::new("zone.test".parse().unwrap(), HashKey::from_seed([3; 16]));
            for (rtype, data) in
                [(rtype::SOA, soa(serial)), (rtype::NS, apex.clone()), (rtype::RRSIG, signature(serial as u8))]
            {
                builder.push(&apex, rtype, 60, &data, place).unwrap();
            }
            builder.finish().unwrap()
        };
        let (one, two) = (signed(1), signed(2));
        let difference = Difference::between(&one, &two).unwrap();
        let signatures = |records: Vec<Record<'_>>| {
            let of_type = records.into_iter().filter(|record| record.rtype == rtype::RRSIG);
            of_type.map(|record| record.data.to_vec()).collect::<Vec<_>>()
        };
        assert_eq!(signatures(difference.removed().collect()), [signature(1)]);
        assert_eq!(signatures(difference.added().collect()), [signature(2)]);
        assert!(one.apply(&difference).unwrap().each_record().eq(two.each_record()));
    }

    #[test]
    fn merged_steps_hold_what_remains() {
        let (a, b, c) = ("a.zone.test", "b.zone.test", "c.zone.test");
        let merged =
            Difference::merge(&[step(1, 2, &[a], &[b]), step(2, 3, &[b], &[c]), step(3, 9, &[], &[a])]).unwrap();
        assert_eq!((merged.from_serial(), merged.to_serial()), (1, 9));
        assert_eq!((owners(merged.removed()), owners(merged.added())), (vec![], vec!["c.zone.test.".to_owned()]));
        let gap = Difference::merge(&[step(1, 2, &[a], &[]), step(3, 4, &[], &[])]);
        assert_eq!(gap, Err(Mismatch::Serial { have: 2, wanted: 3 }));
        let twice = Difference::merge(&[step(1, 2, &[a], &[]), step(2, 3, &[a], &[])]);
        assert_eq!(twice, Err(Mismatch::NotThere("a.zone.test. type 1".into())));
        let twice = Difference::merge(&[step(1, 2, &[], &[a]), step(2, 3, &[], &[a])]);
        assert_eq!(twice, Err(Mismatch::There("a.zone.test. type 1".into())));
    }

    #[test]
    fn a_writer_refuses_what_no_difference_has() {
        let (old, new) = (soa(1), soa(2));
        let begin = || Writer::begin(soa_record(&old), 1_000).unwrap();
        let malformed = |result: Result<(), Unfit>| assert!(matches!(result, Err(Unfit::Malformed(_))), "{result:?}");
        malformed(Writer::begin(a_record(b"\0"), 1_000).map(drop));
        malformed(Writer::begin(soa_record(&old[1..]), 1_000).map(drop));
        malformed(Writer::begin(Record { owner: b"\x04zone", ..soa_record(&old) }, 1_000).map(drop));
        malformed(begin().remove(soa_record(&new)));
        malformed(begin().remove(a_record(&wire("other.test"))));
        malformed(begin().remove(Record { data: &[1], ..a_record(&wire("a.zone.test")) }));
        malformed(begin().begin_added(a_record(&wire("zone.test"))));
        malformed(begin().begin_added(Record { owner: &wire("a.zone.test"), ..soa_record(&new) }));
        malformed(begin().finish().map(drop));
        let mut full = begin();
        let mut taken = 0;
        while full.remove(a_record(&wire("a.zone.test"))).is_ok() {
            taken += 1;
        }
        assert_eq!(taken, (1_000 - octets_of(&soa_record(&old))) / octets_of(&a_record(&wire("a.zone.test"))));
        assert_eq!(full.remove(a_record(&wire("a.zone.test"))), Err(Unfit::TooLarge));
    }

    proptest! {
        #[test]
        fn a_damaged_difference_is_refused_or_harmless(
            begin in prop::collection::vec(toggle(), 0..20),
            changes in prop::collection::vec(toggle(), 0..10),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let model = Model::new(1, &begin);
            let old = model.build().unwrap();
            let new = Model::new(2, &changes).build().unwrap();
            let difference = Difference::between(&old, &new).unwrap();
            let mut octets = Vec::new();
            difference.encode(&mut octets);
            prop_assert_eq!(Difference::decode(&octets), Ok(difference));
            for (at, octet) in damage {
                let at = at.index(octets.len());
                octets[at] = octet;
            }
            if let Some(cut) = cut {
                octets.truncate(cut.index(octets.len()));
            }
            if let Ok(damaged) = Difference::decode(&octets) {
                let mut again = Vec::new();
                damaged.encode(&mut again);
                prop_assert_eq!(&again, &octets);
                prop_assert_eq!(damaged.removed().count() + damaged.added().count(), damaged.records());
                let _ = Difference::merge([&damaged]);
                if let Ok(image) = old.apply(&damaged) {
                    prop_assert_eq!(image.serial(), damaged.to_serial());
                }
            }
        }

        #[test]
        fn whatever_octets_are_no_difference(octets in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(Difference::decode(&octets).is_err());
        }
    }
}
