//! The SOA, targets and their addresses, glue, data that is never served, types at the wrong place.

use super::{Findings, Severity, Shown, type_name, type_names};
use crate::wire::name::{self, KeyedName};
use crate::wire::rdata::rtype;
use crate::zone::image::{Image, Node, RrSet};
use crate::zone::lookup::{Outcome, lookup};

/// Types that mean something at the apex alone.
const OF_APEX: [u16; 6] = [rtype::DNSKEY, rtype::NSEC3PARAM, rtype::CDS, rtype::CDNSKEY, rtype::CSYNC, rtype::ZONEMD];

/// Looks at every name of the zone.
pub(super) fn check(image: &Image, findings: &mut Findings) {
    let mut data = Data { image, findings, name: KeyedName::default(), glue: Vec::new() };
    data.soa();
    for node in image.nodes() {
        if node.is_occluded() {
            data.occluded(node);
        } else {
            data.served(node);
        }
    }
    data.unneeded_glue();
}

struct Data<'a, 'z> {
    image: &'z Image,
    findings: &'a mut Findings,
    /// The name that is looked up.
    name: KeyedName,
    /// The numbers of nodes at or below cuts that name servers are at.
    glue: Vec<u32>,
}

/// Where a name that data points to stands.
enum Target<'z> {
    /// In another zone, or nowhere (`.`): not our business.
    Elsewhere,
    /// It has an address here.
    Address,
    /// In this zone, without an address.
    NoAddress,
    /// It is a CNAME's owner.
    Alias,
    /// It lies below this DNAME's owner.
    BelowDname(Node<'z>),
    /// It lies at or below this cut, and this is its node if it has an address.
    Delegated { cut: Node<'z>, glue: Option<Node<'z>> },
}

impl<'z> Data<'_, 'z> {
    /// The SOA (RFC 1035 §3.3.13, RFC 1912 §2.2, RFC 2308 §5).
    fn soa(&mut self) {
        let apex = self.image.apex_node().name();
        let data = self.image.soa().first();
        let (Some(server), Some((rest, numbers))) = (name::measure(data), data.split_last_chunk::<20>()) else {
            return;
        };
        let (server, mailbox) = rest.split_at(server);
        let number = |at: usize| u32::from_be_bytes([numbers[at], numbers[at + 1], numbers[at + 2], numbers[at + 3]]);
        let (refresh, retry, expire, minimum) = (number(4), number(8), number(12), number(16));
        if matches!(self.target(server), Target::NoAddress) {
            self.findings.warning(apex, || format!("the SOA's first server {} has no address", Shown(server)));
        }
        if mailbox == [0] || name::labels(mailbox).any(|label| label.contains(&b'@')) {
            let text = || format!("the SOA's mailbox {} is none; write a@b as a.b", Shown(mailbox));
            self.findings.warning(apex, text);
        }
        if u64::from(expire) < u64::from(refresh) + u64::from(retry) {
            let text = format!(
                "the SOA's expire {expire} is less than refresh {refresh} and retry {retry} together: secondary servers \
                 would drop the zone after one failed transfer"
            );
            self.findings.warning(apex, || text);
        }
        if retry > refresh {
            self.findings.warning(apex, || format!("the SOA's retry {retry} is longer than its refresh {refresh}"));
        }
        if refresh == 0 || retry == 0 {
            self.findings
                .warning(apex, || "the SOA's refresh or retry is 0: secondary servers would ask all the time".into());
        }
        if minimum > 86_400 {
            let text = || format!("the SOA's minimum {minimum} keeps it for more than a day that a name did not exist");
            self.findings.warning(apex, text);
        }
    }

    /// A name that is not below a cut or a DNAME.
    fn served(&mut self, node: Node<'z>) {
        let owner = node.name();
        let is_apex = node.is(&self.image.apex_node());
        if is_apex || node.is_cut() {
            self.servers(node, is_apex);
        }
        if node.is_cut() {
            self.at_cut(node);
        }
        if node.rrset(rtype::DS).is_some() && !node.is_cut() {
            self.findings.error(owner, || match is_apex {
                true => "a DS at the apex; it belongs in the zone above".into(),
                false => "a DS without NS; nothing is delegated here".into(),
            });
        }
        if owner.starts_with(b"\x01*") && (node.is_cut() || node.is_dname()) {
            let rtype = if node.is_cut() { rtype::NS } else { rtype::DNAME };
            let text = || format!("a {} at a wildcard is not understood alike by all servers", type_name(rtype));
            self.findings.warning(owner, text);
        }
        for set in node.rrsets().filter(|_| !node.is_cut()) {
            match set.rtype {
                rtype::MX => self.targets(owner, set, 2),
                rtype::SRV => self.targets(owner, set, 6),
                other if !is_apex && OF_APEX.contains(&other) => {
                    let text = || format!("a {} means nothing but at the apex", type_name(other));
                    self.findings.warning(owner, text);
                }
                _ => {}
            }
        }
    }

    /// The name servers of the zone or of a delegation.
    fn servers(&mut self, node: Node<'z>, is_apex: bool) {
        let owner = node.name();
        let Some(servers) = node.rrset(rtype::NS) else { return };
        let missing = if is_apex { Severity::Error } else { Severity::Warning };
        for server in servers.records.iter() {
            let (severity, what) = match self.target(server) {
                Target::Elsewhere | Target::Address => continue,
                Target::Delegated { glue: Some(glue), .. } => {
                    self.glue.push(glue.number());
                    continue;
                }
                Target::Delegated { cut, glue: None } if cut.is(&node) => (
                    Severity::Error,
                    "lies in the zone that it serves and has no glue; add its A or AAAA here".to_owned(),
                ),
                Target::Delegated { cut, glue: None } => (
                    Severity::Warning,
                    format!("lies below the zone cut {cut:?} and has no glue; add its A or AAAA here"),
                ),
                Target::NoAddress => (missing, "has no address; add its A or AAAA".to_owned()),
                Target::Alias => (Severity::Error, "is an alias; name the name that it stands for".to_owned()),
                Target::BelowDname(dname) => (Severity::Error, format!("lies below the DNAME at {dname:?}")),
            };
            self.findings.add(severity, owner, || format!("the name server {} {what}", Shown(server)));
        }
    }

    /// What stands beside the NS records of a delegation.
    fn at_cut(&mut self, node: Node<'z>) {
        let is_served =
            |rtype: u16| matches!(rtype, rtype::NS | rtype::DS | rtype::NSEC | rtype::RRSIG | rtype::A | rtype::AAAA);
        let types: Vec<u16> = node.rrsets().map(|set| set.rtype).filter(|&rtype| !is_served(rtype)).collect();
        if !types.is_empty() {
            let text = || format!("{} is never served: the name is delegated", type_names(&types));
            self.findings.warning(node.name(), text);
        }
    }

    /// The targets of MX and SRV records, which begin at an offset in the data.
    fn targets(&mut self, owner: &[u8], set: RrSet<'z>, at: usize) {
        for target in set.records.iter().filter_map(|data| data.get(at..)) {
            let what = match self.target(target) {
                Target::Elsewhere | Target::Address | Target::Delegated { .. } => continue,
                Target::NoAddress => "has no address",
                Target::Alias => "is an alias; name the name that it stands for",
                Target::BelowDname(_) => "lies below a DNAME; name the name that it stands for",
            };
            let text = || format!("the target {} of an {} {what}", Shown(target), type_name(set.rtype));
            self.findings.warning(owner, text);
        }
    }

    /// A name below a cut or a DNAME.
    fn occluded(&mut self, node: Node<'z>) {
        let Some(cover) = node.cover().map(|number| self.image.at(number)) else { return };
        let is_glue = |rtype: u16| cover.is_cut() && matches!(rtype, rtype::A | rtype::AAAA);
        let types: Vec<u16> = node.rrsets().map(|set| set.rtype).filter(|&rtype| !is_glue(rtype)).collect();
        if types.is_empty() {
            return;
        }
        let (severity, what) = if cover.is_cut() {
            (Severity::Warning, "is never served: the name lies below the zone cut")
        } else {
            (Severity::Error, "is never served: nothing may exist below the DNAME at")
        };
        self.findings.add(severity, node.name(), || format!("{} {what} {cover:?}", type_names(&types)));
    }

    /// Addresses at and below cuts at which no name server is.
    fn unneeded_glue(&mut self) {
        self.glue.sort_unstable();
        for node in self.image.nodes() {
            let Some(cover) = node.cover().map(|number| self.image.at(number)).filter(Node::is_cut) else { continue };
            let has_address = node.rrset(rtype::A).is_some() || node.rrset(rtype::AAAA).is_some();
            if has_address && self.glue.binary_search(&node.number()).is_err() {
                let text =
                    || format!("the address is never served: it lies in the delegated zone {cover:?} and is no glue");
                self.findings.warning(node.name(), text);
            }
        }
    }

    /// Where the name `target` stands.
    fn target(&mut self, target: &[u8]) -> Target<'z> {
        let apex = self.image.apex_node();
        let name = &mut self.name;
        if target == [0] || name.set(&self.image.key, target).is_none() {
            return Target::Elsewhere;
        }
        if name.labels() < apex.labels() || name.suffix(apex.labels()) != apex.name() {
            return Target::Elsewhere;
        }
        let found = lookup(self.image, name, rtype::A);
        match found.outcome {
            Outcome::Answer(_) => Target::Address,
            Outcome::Cname(_) => Target::Alias,
            Outcome::Dname(_) => Target::BelowDname(found.node),
            Outcome::Delegation(_) => {
                let has_address = |node: &Node<'_>| node.rrset(rtype::A).is_some() || node.rrset(rtype::AAAA).is_some();
                let glue = self.image.node(name, name.labels()).filter(has_address);
                Target::Delegated { cut: found.node, glue }
            }
            _ => match lookup(self.image, name, rtype::AAAA).outcome {
                Outcome::Answer(_) => Target::Address,
                _ => Target::NoAddress,
            },
        }
    }
}
