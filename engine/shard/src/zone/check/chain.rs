//! The chain of NSEC or NSEC3 records of a signed zone: each name has one, each leads to the next, each lists what is
//! there.

use super::{Findings, Shown, type_names};
use crate::wire::name;
use crate::wire::rdata::rtype;
use crate::zone::image::{Denial, Image, Node, Nsec3Parameters};
use crate::zone::nsec3;

/// Iterations beyond which validators take a zone for unsigned (RFC 9276 §3.2).
const ITERATIONS_TRUSTED_MAX: u16 = 100;
/// The opt-out flag of an NSEC3 record (RFC 5155 §3.1.2.1).
const OPT_OUT: u8 = 1;

/// Looks at the chain of a signed zone.
pub(super) fn check(image: &Image, findings: &mut Findings) {
    let apex = image.apex_node().name();
    match image.denial() {
        Denial::None => findings.error(apex, || {
            "the zone is signed, and its apex has neither NSEC nor an NSEC3PARAM of a chain that is there".into()
        }),
        Denial::Nsec => nsec(image, findings),
        Denial::Nsec3(parameters) => {
            check_parameters(apex, parameters, findings);
            Hashed { image, findings }.check();
        }
    }
    let is_nsec3 = matches!(image.denial(), Denial::Nsec3(_));
    let is_in_use = |node: &Node<'_>| is_nsec3 && !node.is_of_other_chain();
    if let Some(node) = image.chain_nodes().find(|node| !is_in_use(node)) {
        findings.warning(node.name(), || "an NSEC3 record of a chain that no usable NSEC3PARAM names".into());
    }
    if is_nsec3 && let Some(node) = image.nodes().find(|node| node.rrset(rtype::NSEC).is_some()) {
        findings.warning(node.name(), || "an NSEC record in a zone that has NSEC3 records".into());
    }
}

/// The NSEC records: one at each name that has data and is not below a cut or a DNAME, each with the next name, the
/// last with the apex (RFC 4034 §4.1.1, RFC 4035 §2.3).
fn nsec(image: &Image, findings: &mut Findings) {
    for node in image.nodes().filter(|node| node.rrset(rtype::NSEC).is_some()) {
        if node.is_occluded() {
            findings.error(node.name(), || "an NSEC record at a name for which the zone does not answer".into());
        } else if node.rrsets().count() == 1 {
            findings.error(node.name(), || "an NSEC record at a name that has no other data".into());
        }
    }
    let mut owners = image.nodes().filter(|node| !node.is_occluded() && !node.is_empty()).peekable();
    while let Some(node) = owners.next() {
        let Some(set) = node.rrset(rtype::NSEC) else {
            findings.error(node.name(), || "has no NSEC record".into());
            continue;
        };
        if set.count > 1 {
            findings.error(node.name(), || "has more than one NSEC record".into());
            continue;
        }
        let data = set.first();
        let Some((next, bitmap)) = name::measure(data).map(|octets| data.split_at(octets)) else {
            findings.error(node.name(), || "its NSEC record is malformed".into());
            continue;
        };
        let expected = owners.peek().map_or(image.apex().as_wire(), Node::name);
        if !name::same(next, expected) {
            let text = || format!("its NSEC record leads to {}, the next name is {}", Shown(next), Shown(expected));
            findings.error(node.name(), text);
        }
        check_types(node, node.name(), bitmap, "NSEC", findings);
    }
}

/// The parameters of an NSEC3 chain (RFC 9276 §3.1).
fn check_parameters(apex: &[u8], parameters: &Nsec3Parameters, findings: &mut Findings) {
    match parameters.iterations {
        0 => {}
        iterations @ ..=ITERATIONS_TRUSTED_MAX => {
            findings.warning(apex, || format!("NSEC3 with {iterations} iterations; sign the zone with 0"));
        }
        iterations => findings.warning(apex, || {
            format!("NSEC3 with {iterations} iterations: validators take such a zone for unsigned; sign it with 0")
        }),
    }
    if !parameters.salt.is_empty() {
        findings.warning(apex, || "NSEC3 with a salt, which helps nobody; sign the zone without".into());
    }
}

struct Hashed<'a, 'z> {
    image: &'z Image,
    findings: &'a mut Findings,
}

/// A name that should have an NSEC3 record.
struct Wanted<'z> {
    /// The first 64 bits of its hash.
    hash: u64,
    node: Node<'z>,
    /// It leads to unsigned delegations alone: an opt-out record may cover it instead.
    may_opt_out: bool,
}

/// An NSEC3 record of the chain in use.
struct Link<'z> {
    hash: [u8; nsec3::HASH_OCTETS],
    node: Node<'z>,
    flags: u8,
    next: &'z [u8],
    bitmap: &'z [u8],
}

impl<'z> Hashed<'_, 'z> {
    /// The NSEC3 records (RFC 5155 §7.1).
    fn check(&mut self) {
        let links = self.links();
        self.closed(&links);
        self.matched(&links, &self.wanted());
    }

    /// The links of the chain in use, by their hashes.
    fn links(&mut self) -> Vec<Link<'z>> {
        let mut links = Vec::new();
        for node in self.image.chain_nodes().filter(|node| !node.is_of_other_chain()) {
            let Some(set) = node.rrset(rtype::NSEC3) else { continue };
            if set.count > 1 {
                self.findings.error(node.name(), || "has more than one NSEC3 record".into());
            }
            match Link::read(node, set.first()) {
                Some(link) => links.push(link),
                None => self.findings.error(node.name(), || "its NSEC3 record is malformed".into()),
            }
        }
        links
    }

    /// Each link leads to the next, the last to the first.
    fn closed(&mut self, links: &[Link<'z>]) {
        let followers = links.iter().cycle().skip(1);
        for (link, follower) in links.iter().zip(followers) {
            if link.next != follower.hash {
                let text = || format!("its NSEC3 record does not lead to the next one, which is {:?}", follower.node);
                self.findings.error(link.node.name(), text);
            }
            if link.flags & !OPT_OUT != 0 {
                self.findings.error(link.node.name(), || format!("its NSEC3 record has unknown flags {}", link.flags));
            }
        }
    }

    /// The names that should have a record, by their hashes: all that the zone answers for, empty non-terminals too.
    fn wanted(&self) -> Vec<Wanted<'z>> {
        // From the last name to the first, so that what lies below an empty non-terminal is known before it.
        let nodes: Vec<Node<'z>> = self.image.nodes().filter(|node| !node.is_occluded()).collect();
        let mut signed_below: Option<Node<'z>> = None;
        let mut wanted = Vec::with_capacity(nodes.len());
        for node in nodes.into_iter().rev() {
            let may_opt_out = match (node.is_cut(), node.is_empty()) {
                (true, _) => node.rrset(rtype::DS).is_none(),
                (_, true) => !signed_below.is_some_and(|below| is_below(below, node)),
                _ => false,
            };
            if !may_opt_out {
                signed_below = Some(node);
            }
            if let Some((hash, _)) = node.hashes() {
                wanted.push(Wanted { hash, node, may_opt_out });
            }
        }
        wanted.sort_unstable_by_key(|wanted| wanted.hash);
        wanted
    }

    /// Each name has its record, and each record its name.
    fn matched(&mut self, links: &[Link<'z>], wanted: &[Wanted<'z>]) {
        let mut rest = links.iter().enumerate().peekable();
        for name in wanted {
            while let Some((_, stray)) = rest.next_if(|(_, link)| link.prefix() < name.hash) {
                self.stray(stray);
            }
            match rest.next_if(|(_, link)| link.prefix() == name.hash) {
                Some((_, link)) => check_types(name.node, name.node.name(), link.bitmap, "NSEC3", self.findings),
                None => {
                    let behind = rest.peek().map_or(links.len(), |(at, _)| *at);
                    let before = links[..behind].last().or(links.last());
                    let opted_out = before.is_some_and(|link| link.flags & OPT_OUT != 0);
                    if !(name.may_opt_out && opted_out) {
                        self.findings.error(name.node.name(), || "has no NSEC3 record".into());
                    }
                }
            }
        }
        for (_, stray) in rest {
            self.stray(stray);
        }
    }

    fn stray(&mut self, link: &Link<'z>) {
        self.findings.error(link.node.name(), || "an NSEC3 record whose hash is that of no name".into());
    }
}

impl<'z> Link<'z> {
    /// Reads the data of an NSEC3 record (RFC 5155 §3.2).
    fn read(node: Node<'z>, data: &'z [u8]) -> Option<Link<'z>> {
        let hash = nsec3::of_label(name::labels(node.name()).next()?)?;
        let &[_, flags, _, _, salt_octets, ref rest @ ..] = data else { return None };
        let (&next_octets, rest) = rest.get(usize::from(salt_octets)..)?.split_first()?;
        let (next, bitmap) = rest.split_at_checked(usize::from(next_octets))?;
        Some(Link { hash, node, flags, next, bitmap })
    }

    fn prefix(&self) -> u64 {
        nsec3::prefix(&self.hash)
    }
}

/// Whether a node's name lies below that of another.
fn is_below(node: Node<'_>, above: Node<'_>) -> bool {
    let Some(deeper) = node.labels().checked_sub(above.labels()) else { return false };
    let octets: usize = name::labels(node.name()).take(deeper).map(|label| label.len() + 1).sum();
    deeper > 0 && &node.name()[octets..] == above.name()
}

/// Compares the types that a record lists with those at its name.
fn check_types(node: Node<'_>, owner: &[u8], bitmap: &[u8], record: &str, findings: &mut Findings) {
    let Some(listed) = types_of(bitmap) else {
        findings.error(owner, || format!("the types of its {record} record are malformed"));
        return;
    };
    let there = types_at(node);
    if listed == there {
        return;
    }
    let lacking: Vec<u16> = there.iter().filter(|rtype| listed.binary_search(rtype).is_err()).copied().collect();
    let surplus: Vec<u16> = listed.iter().filter(|rtype| there.binary_search(rtype).is_err()).copied().collect();
    if !lacking.is_empty() {
        findings.error(owner, || format!("its {record} record does not list {}, which is there", type_names(&lacking)));
    }
    if !surplus.is_empty() {
        findings.error(owner, || format!("its {record} record lists {}, which is not there", type_names(&surplus)));
    }
}

/// The types at a name, ascending: at a cut those for which the zone answers, and NS (RFC 4035 §2.3).
fn types_at(node: Node<'_>) -> Vec<u16> {
    let counts = |rtype: u16| !node.is_cut() || matches!(rtype, rtype::NS | rtype::DS | rtype::NSEC);
    let sets = || node.rrsets().filter(|set| counts(set.rtype));
    let mut types: Vec<u16> = sets().map(|set| set.rtype).collect();
    if sets().any(|set| set.signatures.iter().next().is_some())
        && let Err(at) = types.binary_search(&rtype::RRSIG)
    {
        types.insert(at, rtype::RRSIG);
    }
    types
}

/// The types of a bitmap, ascending (RFC 4034 §4.1.2).
fn types_of(mut bitmap: &[u8]) -> Option<Vec<u16>> {
    let mut types = Vec::new();
    let mut last = None;
    while let [window, octets @ 1..=32, rest @ ..] = bitmap {
        let (map, rest) = rest.split_at_checked(usize::from(*octets))?;
        if last.replace(*window).is_some_and(|last| last >= *window) {
            return None;
        }
        for (at, octet) in map.iter().enumerate() {
            let bits = (0..8).filter(|bit| octet & (0x80 >> bit) != 0);
            types.extend(bits.map(|bit| u16::from(*window) << 8 | (at as u16 * 8 + bit)));
        }
        bitmap = rest;
    }
    bitmap.is_empty().then_some(types)
}
