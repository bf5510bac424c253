//! RRSIG records: whether each set has one that a validator could use, by all that can be seen without verifying it.

use core::fmt;

use super::{Findings, Severity, Shown, type_name};
use crate::wire::name;
use crate::wire::rdata::rtype;
use crate::zone::image::{Denial, Image, Node, RrSet};

/// Signatures that end sooner are worth a warning.
const SOON_SECONDS: u32 = 7 * 86_400;

/// Looks at every signature. Returns whether the zone is signed.
pub(super) fn check(image: &Image, now: Option<u32>, findings: &mut Findings) -> bool {
    let apex = image.apex_node();
    let Some(keys) = apex.rrset(rtype::DNSKEY) else {
        let is_signed = |set: RrSet<'_>| set.rtype == rtype::RRSIG || set.signatures.iter().next().is_some();
        if let Some(node) = image.nodes().find(|node| node.rrsets().any(is_signed)) {
            findings.error(node.name(), || "a signature, and the zone has no DNSKEY at its apex to verify it".into());
        }
        return false;
    };
    if image.soa().signatures.iter().next().is_none() && *image.denial() == Denial::None {
        findings.warning(apex.name(), || "the zone has a DNSKEY and is not signed".into());
        return false;
    }
    let mut keys: Vec<(u16, u8)> = keys.records.iter().filter_map(key).collect();
    keys.sort_unstable();
    let mut signatures = Signatures { image, now, findings, keys, ending: None };
    for node in image.nodes().chain(image.chain_nodes()) {
        signatures.node(node);
    }
    signatures.soon();
    true
}

/// Tag and algorithm of a DNSKEY that may sign a zone (RFC 4034 §2.1).
fn key(data: &[u8]) -> Option<(u16, u8)> {
    let &[high, _, 3, algorithm, ..] = data else { return None };
    (high & 1 != 0).then(|| (tag(data, algorithm), algorithm))
}

/// The tag of a DNSKEY (RFC 4034 appendix B).
fn tag(data: &[u8], algorithm: u8) -> u16 {
    if let (1, [.., high, low, _]) = (algorithm, data) {
        return u16::from_be_bytes([*high, *low]);
    }
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    let sum: u32 = data.chunks(2).map(word).sum();
    (sum + (sum >> 16)) as u16
}

struct Signatures<'a, 'z> {
    image: &'z Image,
    now: Option<u32>,
    findings: &'a mut Findings,
    /// Tags and algorithms of the zone's keys, sorted.
    keys: Vec<(u16, u8)>,
    /// Of the sets whose last signature ends soon.
    ending: Option<Ending<'z>>,
}

struct Ending<'z> {
    sets: usize,
    /// The one that ends first, and in how many seconds.
    first: (u32, &'z [u8], u16),
}

/// Why a signature is of no use.
#[derive(Clone, Copy)]
enum Flaw<'z> {
    Malformed,
    Signer(&'z [u8]),
    Key(u16, u8),
    Labels(u8, u8),
    Ended(u32),
    Begins(u32),
}

impl fmt::Display for Flaw<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Flaw::Malformed => f.write_str("is malformed"),
            Flaw::Signer(signer) => write!(f, "is by {}, which is not the zone", Shown(signer)),
            Flaw::Key(tag, algorithm) => {
                write!(f, "is by key {tag} of algorithm {algorithm}, of which there is no DNSKEY")
            }
            Flaw::Labels(said, are) => write!(f, "is for {said} labels, and the owner has {are}"),
            Flaw::Ended(ago) => write!(f, "ended {} ago", Span(ago)),
            Flaw::Begins(ahead) => write!(f, "begins only in {}", Span(ahead)),
        }
    }
}

impl<'z> Signatures<'_, 'z> {
    fn node(&mut self, node: Node<'z>) {
        for set in node.rrsets() {
            let is_signed = set.signatures.iter().next().is_some();
            let authoritative = !node.is_occluded() && (!node.is_cut() || matches!(set.rtype, rtype::DS | rtype::NSEC));
            match (authoritative, is_signed) {
                (_, _) if set.rtype == rtype::RRSIG => {
                    let covered = set.first().first_chunk().map_or(0, |covered| u16::from_be_bytes(*covered));
                    let text = || format!("a signature over {}, which is not there", type_name(covered));
                    self.findings.warning(node.name(), text);
                }
                (true, true) => self.set(node, set),
                (true, false) => {
                    self.findings.error(node.name(), || format!("the {} has no signature", type_name(set.rtype)));
                }
                (false, true) => {
                    let text =
                        || format!("a signature over {}, for which the zone does not answer", type_name(set.rtype));
                    self.findings.warning(node.name(), text);
                }
                (false, false) => {}
            }
        }
    }

    /// A set that has signatures: one of them must be of use.
    fn set(&mut self, node: Node<'z>, set: RrSet<'z>) {
        let owner = node.name();
        let left = set.signatures.iter().filter_map(|data| self.of_use(node, data).ok()).max();
        let severity = if left.is_none() { Severity::Error } else { Severity::Warning };
        for data in set.signatures.iter() {
            if let Err(flaw) = self.of_use(node, data) {
                self.findings.add(severity, owner, || format!("the signature over {} {flaw}", type_name(set.rtype)));
            }
        }
        let original = |data: &[u8]| data.get(4..8).and_then(<[u8]>::first_chunk).map(|ttl| u32::from_be_bytes(*ttl));
        if let Some(ttl) = set.signatures.iter().filter_map(original).find(|ttl| *ttl != set.ttl) {
            let text =
                || format!("the TTL of the {} is {}, and was {ttl} when it was signed", type_name(set.rtype), set.ttl);
            self.findings.warning(owner, text);
        }
        if let Some(left) = left.filter(|left| *left < SOON_SECONDS) {
            let first = (left, owner, set.rtype);
            self.ending = Some(match self.ending.take() {
                Some(ending) => Ending { sets: ending.sets + 1, first: ending.first.min(first) },
                None => Ending { sets: 1, first },
            });
        }
    }

    /// Seconds that a signature is still of use, where time matters; or why it is of none (RFC 4035 §5.3.1).
    fn of_use(&self, node: Node<'z>, data: &'z [u8]) -> Result<u32, Flaw<'z>> {
        let &[_, _, algorithm, labels, _, _, _, _, e0, e1, e2, e3, i0, i1, i2, i3, t0, t1, ref rest @ ..] = data else {
            return Err(Flaw::Malformed);
        };
        let signer = name::measure(rest).map(|octets| &rest[..octets]).ok_or(Flaw::Malformed)?;
        let tag = u16::from_be_bytes([t0, t1]);
        let is_wildcard = node.name().starts_with(b"\x01*");
        let owner_labels = node.labels() as u8 - u8::from(is_wildcard);
        if !name::same(signer, self.image.apex().as_wire()) {
            return Err(Flaw::Signer(signer));
        }
        if self.keys.binary_search(&(tag, algorithm)).is_err() {
            return Err(Flaw::Key(tag, algorithm));
        }
        if labels != owner_labels {
            return Err(Flaw::Labels(labels, owner_labels));
        }
        let Some(now) = self.now else { return Ok(u32::MAX) };
        // Serial numbers, which wrap (RFC 4034 §3.1.5).
        let until_end = u32::from_be_bytes([e0, e1, e2, e3]).wrapping_sub(now).cast_signed();
        let until_begin = u32::from_be_bytes([i0, i1, i2, i3]).wrapping_sub(now).cast_signed();
        match (until_end, until_begin) {
            (..0, _) => Err(Flaw::Ended(until_end.unsigned_abs())),
            (_, 1..) => Err(Flaw::Begins(until_begin.unsigned_abs())),
            _ => Ok(until_end.unsigned_abs()),
        }
    }

    /// Says once of all sets that their signatures end soon.
    fn soon(&mut self) {
        let Some(Ending { sets, first: (left, owner, rtype) }) = self.ending else { return };
        self.findings.warning(owner, || {
            let others = match sets {
                1 => String::new(),
                _ => format!(", the first of {sets} sets that end within {}", Span(SOON_SECONDS)),
            };
            format!("the signature over {} ends in {}{others}; sign the zone anew", type_name(rtype), Span(left))
        });
    }
}

/// A span of seconds in words.
struct Span(u32);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, unit) = match self.0 {
            seconds @ 0..120 => (seconds, "second"),
            seconds @ 120..7_200 => (seconds / 60, "minute"),
            seconds @ 7_200..172_800 => (seconds / 3_600, "hour"),
            seconds => (seconds / 86_400, "day"),
        };
        write!(f, "{count} {unit}{}", if count == 1 { "" } else { "s" })
    }
}
