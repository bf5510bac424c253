//! What a zone says of a name and a type: steps 3 and 4 of RFC 1034 §4.3.2, with wildcards as in RFC 4592 and DNAMEs
//! as in RFC 6672. It finds; writing and going on from an alias are the caller's.

use super::image::{Image, Node, RrSet};
use crate::wire::name::KeyedName;
use crate::wire::rdata::rtype;

/// What was found, and how.
#[derive(Clone, Copy, Debug)]
pub struct Found<'z> {
    /// The outcome, in the words of the RFCs.
    pub outcome: Outcome<'z>,
    /// The owner that matched: the name itself, the wildcard that stands for it, the cut, the DNAME's owner; for
    /// [`Outcome::NxDomain`] the closest encloser.
    pub node: Node<'z>,
    /// The node is a wildcard, and the answer's owner is the name asked for (RFC 4592 §3.3.1).
    pub wildcard: bool,
}

/// The outcome of a lookup.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'z> {
    /// The RRset asked for.
    Answer(RrSet<'z>),
    /// Every type was asked for, and there is one.
    Any,
    /// Signatures were asked for, and there are some.
    Signatures,
    /// The name is an alias.
    Cname(RrSet<'z>),
    /// The name lies below a DNAME.
    Dname(RrSet<'z>),
    /// The name lies at or below a zone cut.
    Delegation(RrSet<'z>),
    /// The name exists and has no such records.
    NoData,
    /// The name does not exist.
    NxDomain,
}

/// Looks up `name`, which lies in the zone of `image`.
pub fn lookup<'z>(image: &'z Image, name: &KeyedName, qtype: u16) -> Found<'z> {
    lookup_from(image, name, image.node(name, name.labels()), qtype)
}

/// The same where the node of the name itself is known, if there is one.
pub fn lookup_from<'z>(image: &'z Image, name: &KeyedName, node: Option<Node<'z>>, qtype: u16) -> Found<'z> {
    match node {
        Some(node) => match node.cover().map(|cover| image.at(cover)) {
            None => at_owner(node, qtype, false),
            Some(cover) if cover.is(&node) => at_cover(node, qtype),
            Some(cover) => below(cover),
        },
        None => not_there(image, name, qtype),
    }
}

/// The name exists, outside of cuts, or stands in for the one asked for.
#[inline]
fn at_owner(node: Node<'_>, qtype: u16, wildcard: bool) -> Found<'_> {
    let outcome = match qtype {
        rtype::ANY if !node.is_empty() => Outcome::Any,
        rtype::RRSIG if node.rrsets().any(has_signatures) => Outcome::Signatures,
        _ => match node.rrset(qtype) {
            Some(set) => Outcome::Answer(set),
            None => node.rrset(rtype::CNAME).map_or(Outcome::NoData, Outcome::Cname),
        },
    };
    Found { outcome, node, wildcard }
}

/// Whether signatures cover the set, or it is made of those that cover nothing.
fn has_signatures(set: RrSet<'_>) -> bool {
    set.rtype == rtype::RRSIG || set.signatures.iter().next().is_some()
}

/// The name is itself a cut or a DNAME's owner. DS belongs to the parent's side of a cut (RFC 4035 §3.1.4.1), and a
/// DNAME does not cover its own name (RFC 6672 §2.3).
fn at_cover(node: Node<'_>, qtype: u16) -> Found<'_> {
    if node.is_cut() && qtype != rtype::DS { below(node) } else { at_owner(node, qtype, false) }
}

/// The name lies below a cut or a DNAME, or is the cut.
fn below(cover: Node<'_>) -> Found<'_> {
    let outcome = match (cover.is_cut(), cover.rrset(rtype::NS), cover.rrset(rtype::DNAME)) {
        (true, Some(servers), _) => Outcome::Delegation(servers),
        (_, _, Some(dname)) => Outcome::Dname(dname),
        _ => unreachable!("a cover has NS or DNAME records"),
    };
    Found { outcome, node: cover, wildcard: false }
}

/// The name does not exist: find the closest encloser, from the apex down.
fn not_there<'z>(image: &'z Image, name: &KeyedName, qtype: u16) -> Found<'z> {
    let apex = image.apex_node();
    let mut encloser = apex;
    for labels in apex.labels() + 1..name.labels() {
        match image.node(name, labels) {
            Some(node) => encloser = node,
            None => break,
        }
    }
    if let Some(cover) = encloser.cover() {
        return below(image.at(cover));
    }
    if encloser.has_wildcard()
        && let Some(wildcard) = image.wildcard(name, encloser.labels())
    {
        return if wildcard.is_cut() && qtype != rtype::DS {
            Found { wildcard: true, ..below(wildcard) }
        } else {
            at_owner(wildcard, qtype, true)
        };
    }
    Found { outcome: Outcome::NxDomain, node: encloser, wildcard: false }
}

impl Image {
    /// Whether records of `node` may stand in an additional section: its own, not those that a DNAME occludes; those
    /// that belong to a zone below as `glue` alone.
    pub fn may_be_added(&self, node: Node<'_>, glue: bool) -> bool {
        match node.cover().map(|cover| self.at(cover)) {
            None => true,
            Some(cover) if cover.is_cut() => glue,
            Some(cover) => cover.is(&node),
        }
    }
}
