//! Answers from zones of ours: RFC 1034 §4.3.2 from step 2 on, with DNAME (RFC 6672), negative answers (RFC 2308),
//! glue (RFC 9471) and ANY (RFC 8482).
//!
//! A reply holds what the question needs and no more: no NS set beside a positive answer, glue where a referral needs
//! it, addresses of the names in an answer where they fit. CNAMEs come first, in the order of the chain.

use smallvec::SmallVec;

use super::{Asker, Outcome, Shard};
use crate::images::Images;
use crate::limits::{CHAIN_STEPS_MAX, NAME_OCTETS_MAX};
use crate::telemetry::Counters;
use crate::upstream::Target;
use crate::wire::message::{HEADER_OCTETS, Query, Rcode, Section, flags};
use crate::wire::name::{self, KeyedName};
use crate::wire::rdata::{self, rtype};
use crate::wire::writer::{Full, Owner, QUESTION_NAME, Writer};
use crate::zone::Image;
use crate::zone::image::{Node, RrSet};
use crate::zone::lookup::{Outcome as Found, lookup};

/// The data of the HINFO record that answers ANY (RFC 8482 §4.2): `RFC8482` and an empty text.
const ANY_HINFO: &[u8] = b"\x07RFC8482\x00";
/// Its TTL in seconds.
const ANY_TTL: u32 = 3600;

/// How an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ended {
    rcode: Rcode,
    /// The first owner of the answer is ours, not delegated (RFC 1034 §4.1.1: AA).
    authoritative: bool,
}

/// The names that aliases lead through. Lives in a shard: most answers have none.
#[derive(Debug)]
pub(super) struct Chain {
    /// The name of this step as its alias spells it.
    target: [u8; NAME_OCTETS_MAX],
    target_octets: usize,
    /// Hashes of the names of the steps before, so that a chain that comes back to one ends there.
    seen: SmallVec<[u64; CHAIN_STEPS_MAX]>,
    /// Hashes of the owners of the DNAMEs written: each is written once, however often it applies.
    dnames: SmallVec<[u64; CHAIN_STEPS_MAX]>,
}

impl Default for Chain {
    fn default() -> Chain {
        Chain { target: [0; NAME_OCTETS_MAX], target_octets: 0, seen: SmallVec::new(), dnames: SmallVec::new() }
    }
}

impl Chain {
    /// The owner of what is written at the name of this step.
    #[inline]
    fn owner(&self) -> Owner<'_> {
        if self.seen.is_empty() { QUESTION_NAME } else { Owner::Name(&self.target[..self.target_octets]) }
    }
}

/// What the steps of one answer work on.
struct Steps<'s, 'w> {
    images: &'s Images,
    /// The name of this step: the question's, then each alias's target.
    name: &'s mut KeyedName,
    /// For the names of additional records.
    other: &'s mut KeyedName,
    chain: &'s mut Chain,
    counters: &'s mut Counters,
    writer: Writer<'w>,
    qtype: u16,
    dnssec_ok: bool,
    /// What is known of the end so far; it holds as well where the answer is cut short.
    ended: Ended,
}

impl Shard {
    pub(super) fn answer_from_zone(&mut self, zone: u32, query: &Query<'_>, asker: Asker, reply: &mut [u8]) -> Outcome {
        let Shard { images, name, other, chain, compressor, counters, .. } = self;
        counters.zone_answers += 1;
        chain.seen.clear();
        chain.dnames.clear();
        let opt = asker.opt(images, None);
        let mut steps = Steps {
            images,
            name,
            other,
            chain,
            counters,
            writer: Writer::new(reply, asker.limit.into(), query.question, opt, compressor, images.hash_key),
            qtype: query.qtype,
            dnssec_ok: asker.edns.is_some_and(|edns| edns.dnssec_ok),
            ended: Ended { rcode: Rcode::NoError, authoritative: true },
        };
        if steps.run(zone) == Err(Full) {
            steps.writer.truncate();
        }
        let Steps { writer, counters, ended, .. } = steps;
        counters.reply(ended.rcode as u16, writer.is_truncated());
        let authoritative = if ended.authoritative { flags::AA } else { 0 };
        Outcome::Reply(writer.finish(asker.id, asker.flags | flags::QR | authoritative, ended.rcode))
    }
}

impl Steps<'_, '_> {
    /// RFC 1034 §4.3.2, steps 2 to 4. Each round of the loop is a name: the question's, then the target of each alias
    /// that leads into a zone of ours.
    #[inline]
    fn run(&mut self, first_zone: u32) -> Result<(), Full> {
        let images = self.images;
        let mut zone = &*images.zones[first_zone as usize];
        loop {
            let found = lookup(zone, self.name, self.qtype);
            let next = match found.outcome {
                Found::Answer(set) => return self.answer(zone, set),
                Found::Any => return self.any(),
                Found::Signatures => return self.signatures(found.node),
                Found::NoData => return self.negative(zone, Rcode::NoError),
                Found::NxDomain => return self.negative(zone, Rcode::NxDomain),
                Found::Delegation(servers) => return self.refer(zone, found.node, servers, found.wildcard),
                Found::Cname(_) | Found::Dname(_) if self.chain.seen.len() == CHAIN_STEPS_MAX => {
                    self.counters.chain_limit += 1;
                    return Ok(());
                }
                Found::Cname(set) => self.follow_cname(set)?,
                Found::Dname(set) => self.follow_dname(found.node, set)?,
            };
            let Some(next) = next else { return Ok(()) };
            zone = &images.zones[next as usize];
        }
    }

    /// Step 3a: the RRset asked for, and addresses of the names in it where they fit.
    #[inline]
    fn answer(&mut self, zone: &Image, set: RrSet<'_>) -> Result<(), Full> {
        if set.rtype == rtype::DNAME && self.chain.dnames.contains(&self.name.name_hash()) {
            return Ok(());
        }
        self.put(set)?;
        if let Some(at) = rdata::additional_name(set.rtype) {
            for data in set.records.iter() {
                // An additional record that does not fit is left out (RFC 2181 §9).
                let _ = self.put_addresses(zone, &data[at..]);
            }
        }
        Ok(())
    }

    /// ANY: one small record (RFC 8482 §4.2).
    fn any(&mut self) -> Result<(), Full> {
        self.remember_question();
        let hinfo = [ANY_HINFO].into_iter();
        self.writer.rrset(Section::Answer, self.chain.owner(), rtype::HINFO, ANY_TTL, hinfo).map(|_| ())
    }

    /// RRSIG asked for by name: those of every set.
    fn signatures(&mut self, node: Node<'_>) -> Result<(), Full> {
        self.remember_question();
        node.rrsets().try_for_each(|set| put_signatures(&mut self.writer, Section::Answer, self.chain.owner(), set))
    }

    /// No such name, or no such data: the SOA says for how long (RFC 2308 §3).
    fn negative(&mut self, zone: &Image, rcode: Rcode) -> Result<(), Full> {
        self.ended.rcode = rcode;
        let owner = self.suffix_owner(zone.apex_node());
        self.put_at(Section::Authority, owner, RrSet { ttl: zone.negative_ttl(), ..zone.soa() })
    }

    /// Step 3b: the zone ends here; who serves the next one, and where they are found.
    fn refer(&mut self, zone: &Image, cut: Node<'_>, servers: RrSet<'_>, wildcard: bool) -> Result<(), Full> {
        self.ended.authoritative = !self.chain.seen.is_empty();
        let owner = match wildcard {
            false => self.suffix_owner(cut),
            true if self.chain.seen.is_empty() => QUESTION_NAME,
            true => Owner::Name(cut.name()),
        };
        self.put_at(Section::Authority, owner, servers)?;
        if self.dnssec_ok
            && let Some(ds) = cut.rrset(rtype::DS)
        {
            self.put_at(Section::Authority, owner, ds)?;
        }
        // RFC 9471 §3: glue of servers within the delegated zone must be there, or TC is set; other glue where it fits.
        for in_domain in [true, false] {
            for server in servers.records.iter().filter(|server| is_within(server, cut.name()) == in_domain) {
                let fits = self.put_addresses(zone, server);
                if in_domain {
                    fits?;
                }
            }
        }
        Ok(())
    }

    /// Adds the addresses that the zone has for the name at the start of `target`.
    fn put_addresses(&mut self, zone: &Image, target: &[u8]) -> Result<(), Full> {
        let octets = name::measure(target).expect("names in the data of our records are whole");
        let target = &target[..octets];
        if !is_within(target, zone.apex().as_wire()) {
            return Ok(());
        }
        self.other.set(&self.images.hash_key, target).expect("a measured name is whole");
        let Some(node) = zone.node(self.other, self.other.labels()) else { return Ok(()) };
        for set in [node.rrset(rtype::A), node.rrset(rtype::AAAA)].into_iter().flatten() {
            self.put_at(Section::Additional, Owner::Name(target), set)?;
        }
        Ok(())
    }

    /// Step 3a, with an alias: go on with its target, in the zone of ours that has it.
    fn follow_cname(&mut self, set: RrSet<'_>) -> Result<Option<u32>, Full> {
        self.put(set)?;
        Ok(self.go_on(set.first()))
    }

    /// Step 3c, with a DNAME: go on with the alias that it makes of the name of this step (RFC 6672 §3.1). Where the new
    /// name would be too long the answer ends in YXDOMAIN (§2.2).
    fn follow_dname(&mut self, owner: Node<'_>, set: RrSet<'_>) -> Result<Option<u32>, Full> {
        let owner_hash = self.name.suffix_hash(owner.labels());
        if !self.chain.dnames.contains(&owner_hash) {
            self.chain.dnames.push(owner_hash);
            let at = self.suffix_owner(owner);
            self.put_at(Section::Answer, at, set)?;
        }
        let asked = self.name.as_wire();
        let prefix = &asked[..asked.len() - owner.name().len()];
        let target = set.first();
        let length = prefix.len() + target.len();
        if length > NAME_OCTETS_MAX {
            self.ended.rcode = Rcode::YxDomain;
            return Ok(None);
        }
        let mut alias = [0; NAME_OCTETS_MAX];
        alias[..prefix.len()].copy_from_slice(prefix);
        alias[prefix.len()..length].copy_from_slice(target);
        let alias = &alias[..length];
        self.remember_question();
        self.writer.rrset(Section::Answer, self.chain.owner(), rtype::CNAME, set.ttl, [alias].into_iter())?;
        // Where CNAME was asked for, this one is the answer.
        Ok(if self.qtype == rtype::CNAME { None } else { self.go_on(alias) })
    }

    /// Makes `target` the name of the next step. Returns the zone of ours that has it, if any; none for a name that was
    /// a step already.
    fn go_on(&mut self, target: &[u8]) -> Option<u32> {
        self.chain.seen.push(self.name.name_hash());
        self.name.set(&self.images.hash_key, target).expect("names in the data of our records are whole");
        self.chain.target[..target.len()].copy_from_slice(target);
        self.chain.target_octets = target.len();
        if self.chain.seen.contains(&self.name.name_hash()) {
            self.counters.chain_loops += 1;
            return None;
        }
        match self.images.route(self.name, self.qtype) {
            Some(&Target::Zone(zone)) => Some(zone),
            _ => None,
        }
    }

    /// Writes an RRset at the name of this step, with its signatures where they are wanted.
    #[inline]
    fn put(&mut self, set: RrSet<'_>) -> Result<(), Full> {
        if rdata::layout(set.rtype).is_some_and(|layout| layout.compressible) {
            self.remember_question();
        }
        put(&mut self.writer, Section::Answer, self.chain.owner(), set, self.dnssec_ok)
    }

    fn put_at(&mut self, section: Section, owner: Owner<'_>, set: RrSet<'_>) -> Result<(), Full> {
        self.remember_question();
        put(&mut self.writer, section, owner, set, self.dnssec_ok)
    }

    /// The owner of records at a node that encloses the name of this step.
    fn suffix_owner<'n>(&self, node: Node<'n>) -> Owner<'n> {
        if self.chain.seen.is_empty() {
            Owner::At((HEADER_OCTETS + self.name.suffix_start(node.labels())) as u16)
        } else {
            Owner::Name(node.name())
        }
    }

    /// Before the first name that may be compressed. The question's name is that of the first step only, and no step
    /// is left without a name written.
    fn remember_question(&mut self) {
        if self.chain.seen.is_empty() {
            self.writer.remember_question(self.name);
        }
    }
}

#[inline]
fn put(
    writer: &mut Writer<'_>,
    section: Section,
    owner: Owner<'_>,
    set: RrSet<'_>,
    with_signatures: bool,
) -> Result<(), Full> {
    writer.rrset(section, owner, set.rtype, set.ttl, set.records.iter())?;
    if with_signatures { put_signatures(writer, section, owner, set) } else { Ok(()) }
}

fn put_signatures(writer: &mut Writer<'_>, section: Section, owner: Owner<'_>, set: RrSet<'_>) -> Result<(), Full> {
    writer.rrset(section, owner, rtype::RRSIG, set.ttl, set.signatures.iter()).map(|_| ())
}

/// Whether the uncompressed name at the start of `wire` is `parent` or below it.
fn is_within(wire: &[u8], parent: &[u8]) -> bool {
    let Some(length) = name::measure(wire) else { return false };
    let mut at = 0;
    while length - at > parent.len() {
        at += usize::from(wire[at]) + 1;
    }
    name::same(&wire[at..length], parent)
}
