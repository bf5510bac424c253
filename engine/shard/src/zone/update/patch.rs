//! A copy of an image changed in place: nodes of touched owners written anew, at the end where they do not fit into their
//! former room; index, order and chain patched; what lies below a cut or DNAME that comes, goes or moves marked anew.

use std::collections::BinaryHeap;
use std::ops::Range;

use super::Mismatch;
use super::touched::{Afterwards, Owner};
use crate::wire::index::NameIndex;
use crate::wire::name::{self, KeyedName};
use crate::wire::rdata::rtype;
use crate::zone::Place;
use crate::zone::build::{ends_at_label, index, serial_and_negative_ttl, without_ns};
use crate::zone::image::{
    Denial, HASHES_OCTETS, Image, Link, NO_COVER, NODE_OCTETS, Node, RECORD_OCTETS, RRSET_OCTETS, node_flags,
};
use crate::zone::layout::{Nodes, Shown};
use crate::zone::negative::Negative;

/// The image with everything in `after` in its place.
pub(super) fn patch(image: &Image, after: &Afterwards<'_>) -> Result<Image, Mismatch> {
    let names = events_of_names(image, after);
    let links = events_of_links(image, after);
    let mut patch = Patch::new(image, after, &names);
    names.iter().filter(|event| event.change == Change::Remove).for_each(|event| patch.remove(event.at));
    for fresh in patch.reorder(&names) {
        patch.lay_out(&fresh);
    }
    patch.relink(&links);
    patch.finish()
}

/// What happens at a place of the order or of the chain.
#[derive(Debug)]
struct Event<'a> {
    /// The place of the node, or of the one that a new node comes before.
    at: usize,
    change: Change,
    name: &'a [u8],
    /// What the owner holds.
    entries: Range<usize>,
}

/// In the order in which they happen at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Insert,
    Keep,
    Remove,
}

/// Names that come, empty non-terminals above them among them; names that stay and hold something else; names that go, with
/// the empty non-terminals that nothing needs any more. In the order of places.
fn events_of_names<'a>(image: &'a Image, after: &Afterwards<'a>) -> Vec<Event<'a>> {
    let mut events: Vec<Event<'a>> = Vec::with_capacity(after.names.len());
    let mut created: Vec<&'a [u8]> = Vec::new();
    let mut emptied = BinaryHeap::new();
    let mut keyed = KeyedName::default();
    let mut from = 0;
    for Owner { name, entries } in &after.names {
        let found = position(image, from, name);
        let (Ok(at) | Err(at)) = found;
        from = at;
        if found.is_ok() {
            if entries.is_empty() {
                emptied.push(at);
            } else {
                events.push(Event { at, change: Change::Keep, name, entries: entries.clone() });
            }
        } else if !entries.is_empty() {
            keyed.set(&image.key, name).expect("a difference holds whole names");
            for labels in image.apex.labels() + 1..keyed.labels() {
                let above = &name[name.len() - keyed.suffix(labels).len()..];
                // All that was created last lies below it, if it was created.
                let is_there = created.last().is_some_and(|last| *last == above || is_below(last, above));
                if !is_there && image.node(&keyed, labels).is_none() {
                    created.push(above);
                    events.push(Event { at, change: Change::Insert, name: above, entries: 0..0 });
                }
            }
            created.push(name);
            events.push(Event { at, change: Change::Insert, name, entries: entries.clone() });
        }
    }
    empty(image, after, emptied, &created, &mut events);
    events.sort_by_key(|event| (event.at, event.change));
    events
}

/// Takes away names without records, from the last to the first: one that has none below it goes, and with it perhaps the
/// empty non-terminal above; any other becomes an empty non-terminal.
fn empty<'a>(
    image: &'a Image,
    after: &Afterwards<'a>,
    mut emptied: BinaryHeap<usize>,
    created: &[&[u8]],
    events: &mut Vec<Event<'a>>,
) {
    // The places that go, as the beginning and the end of the run that was added to last.
    let mut run = 0..0;
    let mut last = None;
    while let Some(at) = emptied.pop() {
        if last.replace(at) == Some(at) {
            continue;
        }
        let node = image.at(image.order[at]);
        let name = node.name();
        let next = if run.start == at + 1 { run.end } else { at + 1 };
        let stays_above = image.order.get(next).is_some_and(|&number| is_below(image.at(number).name(), name));
        let behind = created.partition_point(|created| name::canonical_order(created, name).is_le());
        if stays_above || created.get(behind).is_some_and(|created| is_below(created, name)) {
            if !node.is_empty() {
                events.push(Event { at, change: Change::Keep, name, entries: 0..0 });
            }
            continue;
        }
        events.push(Event { at, change: Change::Remove, name, entries: 0..0 });
        run = at..next;
        let above = parent(name);
        if let Ok(at) = search(image, 0..at, above)
            && image.at(image.order[at]).is_empty()
            && !after.holds_something(above)
        {
            emptied.push(at);
        }
    }
}

/// Owners of NSEC3 records that come, stay and go, in the order of places.
fn events_of_links<'a>(image: &Image, after: &Afterwards<'a>) -> Vec<Event<'a>> {
    let event = |Owner { name, entries }: &Owner<'a>| {
        let hash = image.link_hash(name).expect("the owner was found to be a link");
        let (at, change) = match (image.link(&hash, name), entries.is_empty()) {
            (Ok(at), false) => (at, Change::Keep),
            (Ok(at), true) => (at, Change::Remove),
            (Err(at), _) => (at, Change::Insert),
        };
        Event { at, change, name, entries: entries.clone() }
    };
    after.links.iter().map(event).collect()
}

/// The place of a name in the order, or where it would be; it is not before `from`, and rather near than far.
fn position(image: &Image, from: usize, name: &[u8]) -> Result<usize, usize> {
    let (mut low, mut high, mut step) = (from, from, 1);
    while image.order.get(high).is_some_and(|&number| name::canonical_order(image.at(number).name(), name).is_lt()) {
        low = high + 1;
        high += step;
        step *= 2;
    }
    search(image, low..image.order.len().min(high + 1), name)
}

/// As [`position`], within a range of the order.
fn search(image: &Image, within: Range<usize>, name: &[u8]) -> Result<usize, usize> {
    let from = within.start;
    let found = image.order[within].binary_search_by(|&number| name::canonical_order(image.at(number).name(), name));
    found.map(|at| at + from).map_err(|at| at + from)
}

/// Whether a name lies below another, both in lower case.
fn is_below(name: &[u8], above: &[u8]) -> bool {
    name.len() > above.len() && name.ends_with(above) && ends_at_label(name, name.len() - above.len())
}

/// The name without its first label; it is not the root.
fn parent(name: &[u8]) -> &[u8] {
    &name[1 + usize::from(name[0])..]
}

/// Octets of memory that a node takes, up to where another one may begin.
fn room(node: Node<'_>) -> usize {
    node.whole().len().next_multiple_of(4)
}

/// In the order for a name that is not laid out yet.
const TO_COME: u32 = u32::MAX;

/// A name to be laid out, and its place in the new order.
struct Fresh<'a> {
    at: usize,
    name: &'a [u8],
    entries: Range<usize>,
}

struct Patch<'a> {
    image: &'a Image,
    after: &'a Afterwards<'a>,
    nodes: Nodes<'a>,
    index: NameIndex,
    order: Vec<u32>,
    chain: Vec<Link>,
    apex_number: u32,
    garbage: usize,
    keyed: KeyedName,
}

impl<'a> Patch<'a> {
    fn new(image: &'a Image, after: &'a Afterwards<'a>, names: &[Event<'_>]) -> Patch<'a> {
        let fixed = |events: usize| events * (NODE_OCTETS + HASHES_OCTETS + crate::limits::NAME_OCTETS_MAX + 4);
        let data: usize =
            after.entries.iter().map(|entry| RRSET_OCTETS + RECORD_OCTETS + usize::from(entry.data_octets)).sum();
        let mut octets = Vec::with_capacity(image.nodes.len() + 4 + fixed(names.len() + after.links.len()) + data);
        octets.extend_from_slice(&image.nodes);
        octets.resize(octets.len().next_multiple_of(4), 0);
        let count = |change: Change| names.iter().filter(|event| event.change == change).count();
        let names_afterwards = image.order.len() + count(Change::Insert) - count(Change::Remove);
        let has_room = image.index.has_room_for(names_afterwards);
        let index = if has_room { image.index.clone() } else { index(image, names_afterwards) };
        Patch {
            image,
            after,
            nodes: Nodes::new(after.view(), octets, image.denial.clone()),
            index,
            order: Vec::new(),
            chain: Vec::new(),
            apex_number: image.apex_number,
            garbage: image.garbage,
            keyed: KeyedName::default(),
        }
    }

    fn node(&self, number: u32) -> Node<'_> {
        Node::at(&self.nodes.octets, number)
    }

    /// The number of a name that is laid out; `keyed` holds it.
    fn find(&self, labels: usize) -> Option<u32> {
        let name = self.keyed.suffix(labels);
        self.index.find(self.keyed.suffix_hash(labels), |number| self.node(number).name() == name)
    }

    fn set_name(&mut self, name: &[u8]) {
        self.keyed.set(&self.image.key, name).expect("names of nodes are whole");
    }

    fn flags(&mut self, number: u32) -> &mut u8 {
        &mut self.nodes.octets[number as usize * 4 + 4]
    }

    fn set_flag(&mut self, number: u32, flag: u8, on: bool) {
        let flags = self.flags(number);
        *flags = if on { *flags | flag } else { *flags & !flag };
    }

    fn set_cover(&mut self, number: u32, cover: Option<u32>) {
        let at = number as usize * 4;
        self.nodes.octets[at..at + 4].copy_from_slice(&cover.unwrap_or(NO_COVER).to_le_bytes());
    }

    /// Takes the name at a place of the former order out of the index.
    fn remove(&mut self, at: usize) {
        let number = self.image.order[at];
        let node = self.image.at(number);
        self.garbage += room(node);
        self.set_name(node.name());
        let hash = self.keyed.name_hash();
        if node.name().starts_with(b"\x01*")
            && let Some(parent) = self.find(node.labels() - 1)
        {
            self.set_flag(parent, node_flags::WILDCARD_BELOW, false);
        }
        let (keyed, nodes, key) = (&mut self.keyed, &self.nodes.octets, &self.image.key);
        self.index.remove(hash, number, |number| {
            keyed.set(key, Node::at(nodes, number).name()).expect("names of nodes are whole");
            keyed.name_hash()
        });
    }

    /// Makes the new order. Gives what is to be laid out, from the first to the last.
    fn reorder<'e>(&mut self, events: &[Event<'e>]) -> Vec<Fresh<'e>> {
        let former = &self.image.order;
        let mut order = Vec::with_capacity(former.len() + events.len());
        let mut fresh = Vec::with_capacity(events.len());
        let mut from = 0;
        for Event { at, change, name, entries } in events {
            order.extend_from_slice(&former[from..*at]);
            from = *at;
            match change {
                Change::Insert => {
                    fresh.push(Fresh { at: order.len(), name, entries: entries.clone() });
                    order.push(TO_COME);
                }
                Change::Keep => fresh.push(Fresh { at: order.len(), name, entries: entries.clone() }),
                Change::Remove => from += 1,
            }
        }
        order.extend_from_slice(&former[from..]);
        self.order = order;
        fresh
    }

    /// Lays out a name that comes or that holds something else. Those before it in the order are done.
    fn lay_out(&mut self, fresh: &Fresh<'_>) {
        let name = fresh.name;
        self.set_name(name);
        let labels = self.keyed.labels();
        let is_apex = labels == self.image.apex.labels();
        let parent = if is_apex { None } else { self.find(labels - 1) };
        let above = parent.and_then(|parent| self.node(parent).cover());
        let Some(laid) = self.nodes.name(name, is_apex, above, &self.after.entries[fresh.entries.clone()]) else {
            return;
        };
        let hash = self.keyed.name_hash();
        let old = self.order[fresh.at];
        if old == TO_COME {
            self.index.insert(hash, laid.number);
            self.order[fresh.at] = laid.number;
            if let Some(parent) = parent.filter(|_| name.starts_with(b"\x01*")) {
                self.set_flag(parent, node_flags::WILDCARD_BELOW, true);
            }
            return;
        }
        let before = self.node(old);
        let (cover_before, has_wildcard) = (before.cover(), before.has_wildcard());
        self.set_flag(laid.number, node_flags::WILDCARD_BELOW, has_wildcard);
        let number = self.settle(old, laid.number);
        self.moved(fresh.at, hash, old, number);
        let cover = if laid.cover == Some(laid.number) { Some(number) } else { laid.cover };
        self.set_cover(number, cover);
        if cover != cover_before {
            self.mark_below(fresh.at, cover);
        }
    }

    /// Moves the node that was laid out last into the room of its former self, if it fits. Gives its number.
    fn settle(&mut self, old: u32, new: u32) -> u32 {
        let (has, needs) = (room(self.node(old)), room(self.node(new)));
        if needs > has {
            self.garbage += has;
            return new;
        }
        self.garbage += has - needs;
        let (from, to) = (new as usize * 4, old as usize * 4);
        self.nodes.octets.copy_within(from.., to);
        self.nodes.octets.truncate(from);
        old
    }

    /// Notes that the node at a place of the new order has another number.
    fn moved(&mut self, at: usize, hash: u64, old: u32, new: u32) {
        if old == new {
            return;
        }
        self.index.replace(hash, old, new);
        self.order[at] = new;
        if old == self.apex_number {
            self.apex_number = new;
        }
    }

    /// Marks the names below a place of the order, where `cover` is the cut or DNAME at or above it. What is covered no
    /// more may be a cut or DNAME itself.
    fn mark_below(&mut self, at: usize, cover: Option<u32>) {
        let name = self.node(self.order[at]).name().to_vec();
        let mut nested: Option<(u32, Vec<u8>)> = None;
        for at in at + 1..self.order.len() {
            let number = self.order[at];
            if number == TO_COME {
                continue;
            }
            let below = self.node(number).name();
            if !is_below(below, &name) {
                return;
            }
            nested = nested.filter(|(_, name)| is_below(below, name));
            let above = cover.or(nested.as_ref().map(|(number, _)| *number));
            let number = self.mark(at, above);
            let node = self.node(number);
            if above.is_none() && node.cover().is_some() {
                nested = Some((number, node.name().to_vec()));
            }
        }
    }

    /// Marks a name that lies below `above`, or below no cut nor DNAME. Gives its number, which may be another one.
    fn mark(&mut self, at: usize, above: Option<u32>) -> u32 {
        let mut number = self.order[at];
        let node = self.node(number);
        let covers = node.is_cut() || node.is_dname();
        let is_hashed = node.flag(node_flags::HASHED);
        match (is_hashed, above) {
            (true, Some(_)) => self.strip_hashes(number),
            (false, None) if matches!(self.nodes.denial, Denial::Nsec3(_)) => number = self.add_hashes(at),
            _ => {}
        }
        self.set_flag(number, node_flags::OCCLUDED, above.is_some());
        self.set_cover(number, above.or(covers.then_some(number)));
        number
    }

    /// Takes the hashes off a node, where it stands.
    fn strip_hashes(&mut self, number: u32) {
        let node = self.node(number);
        let (at, length) = (number as usize * 4, node.whole().len());
        self.garbage += HASHES_OCTETS;
        self.nodes.octets.copy_within(at + NODE_OCTETS + HASHES_OCTETS..at + length, at + NODE_OCTETS);
        self.set_flag(number, node_flags::HASHED, false);
    }

    /// Writes the node at a place of the order anew, with hashes. Gives its new number.
    fn add_hashes(&mut self, at: usize) -> u32 {
        let old = self.order[at];
        let whole = self.node(old).whole().to_vec();
        let name = self.node(old).name().to_vec();
        let (Some(new), Some((own, wildcard))) = (self.nodes.next_number(), self.nodes.hashes(&name)) else {
            return old;
        };
        let octets = &mut self.nodes.octets;
        octets.resize(new as usize * 4, 0);
        octets.extend(&whole[..NODE_OCTETS]);
        octets.extend(own.to_le_bytes());
        octets.extend(wildcard.to_le_bytes());
        octets.extend(&whole[NODE_OCTETS..]);
        self.set_flag(new, node_flags::HASHED, true);
        let number = self.settle(old, new);
        self.set_name(&name);
        let hash = self.keyed.name_hash();
        self.moved(at, hash, old, number);
        number
    }

    /// Makes the new chain, and lays out its owners that come or hold something else.
    fn relink(&mut self, events: &[Event<'_>]) {
        let former = &self.image.chain;
        let mut chain = Vec::with_capacity(former.len() + events.len());
        let mut from = 0;
        for Event { at, change, name, entries } in events {
            chain.extend_from_slice(&former[from..*at]);
            from = *at;
            if *change == Change::Remove {
                self.garbage += room(self.node(former[*at].number));
                from += 1;
                continue;
            }
            let hash = self.image.link_hash(name).expect("the owner was found to be a link");
            let Some(mut link) = self.nodes.link(name, &hash, &self.after.entries[entries.clone()]) else { return };
            if *change == Change::Keep {
                link.number = self.settle(former[*at].number, link.number);
                from += 1;
            }
            chain.push(link);
        }
        chain.extend_from_slice(&former[from..]);
        self.chain = chain;
    }

    fn finish(mut self) -> Result<Image, Mismatch> {
        let Some((ttl, soa)) = self.nodes.soa.filter(|_| self.nodes.faults.is_empty()) else {
            if self.nodes.faults.is_empty() {
                let apex = Shown(self.image.apex.as_wire()).to_string();
                self.nodes.fault(Place::default(), format!("the zone has no SOA record at {apex}"));
            }
            return Err(Mismatch::of_faults(self.nodes.faults));
        };
        if self.node(self.apex_number).rrset(rtype::NS).is_none() {
            return Err(Mismatch::Faulty(without_ns(&self.image.apex)));
        }
        let (serial, negative_ttl) = serial_and_negative_ttl(ttl, &soa);
        let mut image = Image {
            key: self.image.key,
            apex: self.image.apex.clone(),
            index: self.index,
            nodes: self.nodes.octets,
            garbage: self.garbage,
            order: self.order,
            apex_number: self.apex_number,
            chain: self.chain,
            denial: self.nodes.denial,
            records: self.after.records,
            serial,
            negative_ttl,
            negative: Negative::default(),
        };
        image.negative = Negative::of(&image);
        Ok(image)
    }
}
