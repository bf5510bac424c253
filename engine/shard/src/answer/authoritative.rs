//! Answers from zones of ours: RFC 1034 §4.3.2 from step 2 on, with DNAME (RFC 6672), negative answers (RFC 2308),
//! glue (RFC 9471), ANY (RFC 8482), and for those who ask with DO signatures and proofs (RFC 4035 §3.1, RFC 5155 §7.2).
//!
//! A reply holds what the question needs and no more: no NS set beside a positive answer, glue where a referral needs
//! it, addresses of the names in an answer where they fit. CNAMEs come first, in the order of the chain. What proves an
//! answer belongs to it: where signatures or proofs do not fit the reply is cut short, but for those of additional
//! records (RFC 4035 §3.1.1).

use smallvec::SmallVec;

use super::{Asker, Outcome, Shard};
use crate::images::Images;
use crate::limits::{ADDITIONAL_TARGETS_MAX, CHAIN_STEPS_MAX, NAME_OCTETS_MAX};
use crate::telemetry::{Counters, log};
use crate::upstream::Target;
use crate::wire::message::{HEADER_OCTETS, Query, Rcode, Section, flags};
use crate::wire::name::{self, KeyedName};
use crate::wire::rdata::{self, rtype};
use crate::wire::writer::{Full, Owner, QUESTION_NAME, Ready, Writer};
use crate::zone::Image;
use crate::zone::image::{Denial, Node, RrSet};
use crate::zone::lookup::{Found, Outcome as ZoneSays, lookup, lookup_from};
use crate::zone::proof::Proof;

/// The data of the HINFO record that answers ANY (RFC 8482 §4.2): `RFC8482` and an empty text.
pub(super) const ANY_HINFO: &[u8] = b"\x07RFC8482\x00";
/// Its TTL in seconds.
pub(super) const ANY_TTL: u32 = 3600;

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
struct Steps<'s, 'w, 'b> {
    images: &'s Images,
    /// The name of this step: the question's, then each alias's target.
    name: &'s mut KeyedName,
    /// For the names of additional records.
    other: &'s mut KeyedName,
    chain: &'s mut Chain,
    counters: &'s mut Counters,
    writer: &'w mut Writer<'b>,
    qtype: u16,
    dnssec_ok: bool,
    /// What proves the steps so far, for those who ask with DO.
    proof: Proof<'s>,
    /// What is known of the end so far; it holds as well where the answer is cut short.
    ended: Ended,
}

impl Shard {
    /// The answer of a zone that is loaded.
    pub(super) fn answer_from_zone(
        &mut self,
        zone: u32,
        query: &Query<'_>,
        asker: &Asker,
        reply: &mut [u8],
    ) -> Outcome {
        if let Some(opt_flags) = asker.plain_opt() {
            let &Asker { id, flags, limit, .. } = asker;
            let (question, qtype, dnssec_ok) = (query.question, query.qtype, asker.dnssec_ok());
            let form = Form { id, flags, question, qtype, dnssec_ok, opt_flags, limit: limit.into() };
            if let Some(octets) = self.copy_from_zone(zone, form, reply) {
                return Outcome::Reply(octets);
            }
        }
        self.answer_by_steps(zone, query, asker, reply)
    }

    /// The commonest answers are copied as they lie in the image: an RRset without names in it, with its signatures where
    /// they are wanted, and the SOA record of a denial that nobody wants proved. Returns their length; `None`: there is
    /// more to do.
    pub(super) fn copy_from_zone(&mut self, zone: u32, form: Form<'_>, reply: &mut [u8]) -> Option<usize> {
        let Shard { images, name, counters, note, .. } = self;
        let image = images.image(zone)?;
        let node = image.node(name, name.labels());
        let (octets, rcode) = match node.and_then(|node| ready_set(node, form.qtype)) {
            Some(set) => (copy_set(RrSet::at(set), form, reply)?, Rcode::NoError),
            None => copy_denial(image, name, node, form, reply)?,
        };
        counters.zone_answers += 1;
        note.is(log::Outcome::Zone);
        note.replied(counters, rcode as u16, false);
        Some(octets)
    }

    /// The same where the answer has names to be compressed, or is more than one RRset, or does not fit.
    #[inline(never)] // So that the commonest answers have a short way.
    pub(super) fn answer_by_steps(&mut self, zone: u32, query: &Query<'_>, asker: &Asker, reply: &mut [u8]) -> Outcome {
        let Shard { images, name, other, chain, compressor, counters, note, .. } = self;
        note.is(log::Outcome::Zone);
        counters.zone_answers += 1;
        let image = images.image(zone).expect("the caller has looked");
        let (qtype, dnssec_ok, proof) = (query.qtype, asker.dnssec_ok(), Proof::default());
        let opt = asker.opt(images, None);
        let mut writer = Writer::new(reply, asker.limit.into(), query.question, opt, compressor, images.hash_key);
        let found = lookup(image, name, qtype);
        chain.seen.clear();
        chain.dnames.clear();
        let ended = Ended { rcode: Rcode::NoError, authoritative: true };
        let (whole, ended) = {
            let writer = &mut writer;
            let mut steps = Steps { images, name, other, chain, counters, writer, qtype, dnssec_ok, proof, ended };
            (steps.run(image, found), steps.ended)
        };
        if whole == Err(Full) {
            writer.truncate();
        }
        note.replied(counters, ended.rcode as u16, writer.is_truncated());
        let authoritative = if ended.authoritative { flags::AA } else { 0 };
        Outcome::Reply(writer.finish(asker.id, asker.flags | flags::QR | authoritative, ended.rcode))
    }
}

/// The form of a reply whose answer is copied.
#[derive(Clone, Copy)]
pub(super) struct Form<'a> {
    pub(super) id: u16,
    /// Opcode, RD and CD, as asked.
    pub(super) flags: u16,
    pub(super) question: &'a [u8],
    pub(super) qtype: u16,
    pub(super) dnssec_ok: bool,
    /// The flags of its OPT record, where there is one; it has no options.
    pub(super) opt_flags: Option<u16>,
    /// Octets that the asker takes.
    pub(super) limit: usize,
}

impl Form<'_> {
    #[inline(always)] // Its fields are in registers where it is made.
    fn write(
        self,
        (section, count, records): (Section, u16, [&[u8]; 2]),
        rcode: Rcode,
        reply: &mut [u8],
    ) -> Option<usize> {
        let ready = Ready { question: self.question, section, count, records, opt_flags: self.opt_flags };
        ready.write(reply, self.limit, self.id, self.flags | flags::QR | flags::AA, rcode)
    }
}

/// Where the RRset of a name lies, where nothing covers that, and where the records can be copied from there.
#[inline(always)] // On the path of every hit.
pub(super) fn ready_set(node: Node<'_>, qtype: u16) -> Option<&[u8]> {
    // Signatures that are asked for by name are those of every set.
    let is_ready = node.has_no_cover() && qtype != rtype::RRSIG && rdata::is_opaque(qtype);
    if is_ready { node.rrset_at(qtype) } else { None }
}

/// Copies an RRset, with its signatures where they are wanted. Returns the length of the reply.
#[inline(always)] // On the path of every hit.
pub(super) fn copy_set(set: RrSet<'_>, form: Form<'_>, reply: &mut [u8]) -> Option<usize> {
    let records = set.records.octets();
    if !form.dnssec_ok || set.signatures.octets().is_empty() {
        return form.write((Section::Answer, set.count, [records, &[]]), Rcode::NoError, reply);
    }
    copy_signed(set, &form, reply)
}

#[inline(never)] // So that what has no signatures has a short way.
fn copy_signed(set: RrSet<'_>, form: &Form<'_>, reply: &mut [u8]) -> Option<usize> {
    let count = set.count.checked_add(u16::try_from(set.signatures.count()).ok()?)?;
    form.write((Section::Answer, count, [set.records.octets(), set.signatures.octets()]), Rcode::NoError, reply)
}

/// Copies the SOA record, where the name has no such RRset.
fn copy_denial(
    image: &Image,
    name: &KeyedName,
    node: Option<Node<'_>>,
    form: Form<'_>,
    reply: &mut [u8],
) -> Option<(usize, Rcode)> {
    // While a zone is being signed, it may have signatures and prove nothing yet.
    if form.dnssec_ok && (image.denial() != &Denial::None || image.soa().signatures.iter().next().is_some()) {
        return None;
    }
    let rcode = match lookup_from(image, name, node, form.qtype).outcome {
        ZoneSays::NoData => Rcode::NoError,
        ZoneSays::NxDomain => Rcode::NxDomain,
        _ => return None,
    };
    let octets = form.write((Section::Authority, 1, [image.negative().octets(name)?, &[]]), rcode, reply)?;
    image.negative().settle(reply, HEADER_OCTETS + form.question.len(), name);
    Some((octets, rcode))
}

impl<'s> Steps<'s, '_, '_> {
    /// RFC 1034 §4.3.2, steps 2 to 4. Each round of the loop is a name: the question's, for which `found` was looked up,
    /// then the target of each alias that leads into a zone of ours. Not inlined: most answers do without.
    #[inline(never)]
    fn run(&mut self, first_zone: &'s Image, found: Found<'s>) -> Result<(), Full> {
        let images = self.images;
        let (mut zone, mut found) = (first_zone, found);
        loop {
            if self.dnssec_ok {
                zone.prove(self.name, &found, &mut self.proof);
            }
            let next = match found.outcome {
                ZoneSays::Answer(set) => return self.answer(zone, found.node, set),
                ZoneSays::Any => return self.any(zone, found.node),
                ZoneSays::Signatures => return self.signatures(found.node),
                ZoneSays::NoData => return self.negative(zone, Rcode::NoError),
                ZoneSays::NxDomain => return self.negative(zone, Rcode::NxDomain),
                ZoneSays::Delegation(servers) => return self.refer(zone, found.node, servers, found.wildcard),
                ZoneSays::Cname(_) | ZoneSays::Dname(_) if self.chain.seen.len() == CHAIN_STEPS_MAX => {
                    self.counters.chain_limit += 1;
                    return self.put_proof();
                }
                ZoneSays::Cname(set) => self.follow_cname(set)?,
                ZoneSays::Dname(set) => self.follow_dname(found.node, set)?,
            };
            // A zone that is not loaded ends the chain like one that is not ours.
            let Some(next) = next.and_then(|next| images.image(next)) else { return self.put_proof() };
            zone = next;
            found = lookup(zone, self.name, self.qtype);
        }
    }

    /// Step 3a: the RRset asked for, and addresses of the names in it where they fit.
    #[inline]
    fn answer(&mut self, zone: &Image, node: Node<'_>, set: RrSet<'_>) -> Result<(), Full> {
        if set.rtype == rtype::DNAME && self.chain.dnames.contains(&self.name.name_hash()) {
            return self.put_proof();
        }
        self.put(set)?;
        self.put_proof()?;
        if let Some(at) = rdata::additional_name(set.rtype) {
            self.counters.additional_limit += u64::from(usize::from(set.count) > ADDITIONAL_TARGETS_MAX);
            for (number, data) in set.records.iter().take(ADDITIONAL_TARGETS_MAX).enumerate() {
                let target = first_name(&data[at..]);
                if set.records.iter().take(number).all(|earlier| first_name(&earlier[at..]) != target) {
                    // An additional record that does not fit is left out (RFC 2181 §9).
                    let _ = self.put_additional(zone, node, set.rtype, data, target);
                }
            }
        }
        Ok(())
    }

    /// What comes along with one record of an answer, which leads to `target`.
    fn put_additional(
        &mut self,
        zone: &Image,
        node: Node<'_>,
        rtype: u16,
        data: &[u8],
        target: &[u8],
    ) -> Result<(), Full> {
        match rtype {
            // RFC 9460 §2.5.2: a target of `.` is the owner itself in ServiceMode. In AliasMode (priority 0) it says that
            // there is no service (§2.5.1).
            rtype::SVCB | rtype::HTTPS if target == [0] => match data {
                [0, 0, ..] => Ok(()),
                _ => [rtype::A, rtype::AAAA].into_iter().try_for_each(|rtype| match node.rrset(rtype) {
                    Some(set) => self.put_at_step(set),
                    None => Ok(()),
                }),
            },
            // RFC 9460 §4.1: in AliasMode the records that the target has of the same type too.
            rtype::SVCB | rtype::HTTPS if data[..2] == [0, 0] => {
                self.put_sets(zone, target, false, &[rtype::A, rtype::AAAA, rtype])
            }
            // Name servers may be known by glue alone; no other name that belongs to another zone is answered for.
            _ => self.put_sets(zone, target, rtype == rtype::NS, &[rtype::A, rtype::AAAA]),
        }
    }

    /// ANY: one small record (RFC 8482 §4.2). A signed zone cannot sign what is made up here, so that it answers with one
    /// RRset that it has (§4.1).
    fn any(&mut self, zone: &Image, node: Node<'_>) -> Result<(), Full> {
        match (zone.denial(), node.rrsets().next()) {
            (Denial::Nsec | Denial::Nsec3(_), Some(set)) => self.put(set)?,
            _ => {
                self.remember_question();
                let hinfo = [ANY_HINFO].into_iter();
                self.writer.rrset(Section::Answer, self.chain.owner(), rtype::HINFO, ANY_TTL, hinfo)?;
            }
        }
        self.put_proof()
    }

    /// RRSIG asked for by name: those of every set.
    fn signatures(&mut self, node: Node<'_>) -> Result<(), Full> {
        self.remember_question();
        for set in node.rrsets() {
            let signatures = if set.rtype == rtype::RRSIG { set.records } else { set.signatures };
            let owner = self.chain.owner();
            self.writer.rrset(Section::Answer, owner, rtype::RRSIG, set.ttl, signatures.iter())?;
        }
        self.put_proof()
    }

    /// No such name, or no such data: the SOA says for how long (RFC 2308 §3).
    fn negative(&mut self, zone: &Image, rcode: Rcode) -> Result<(), Full> {
        self.ended.rcode = rcode;
        let owner = self.suffix_owner(zone.apex_node());
        self.put_at(Section::Authority, owner, RrSet { ttl: zone.negative_ttl(), ..zone.soa() })?;
        self.put_proof()
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
        // In a zone that is not signed a DS record means nothing.
        if self.dnssec_ok
            && zone.denial() != &Denial::None
            && let Some(ds) = cut.rrset(rtype::DS)
        {
            self.put_at(Section::Authority, owner, ds)?;
        }
        self.put_proof()?;
        // RFC 9471 §3: glue of servers within the delegated zone must be there, or TC is set; other glue where it fits.
        for in_domain in [true, false] {
            for server in servers.records.iter().filter(|server| is_within(server, cut.name()) == in_domain) {
                let fits = self.put_sets(zone, server, true, &[rtype::A, rtype::AAAA]);
                if in_domain {
                    fits?;
                }
            }
        }
        Ok(())
    }

    /// Adds the sets of these types that the zone has for `target`; those of a name below a cut if `glue` is wanted.
    fn put_sets(&mut self, zone: &Image, target: &[u8], glue: bool, rtypes: &[u16]) -> Result<(), Full> {
        if !is_within(target, zone.apex().as_wire()) {
            return Ok(());
        }
        self.other.set(&self.images.hash_key, target).expect("a measured name is whole");
        let Some(node) = zone.node(self.other, self.other.labels()) else { return Ok(()) };
        if !zone.may_be_added(node, glue) {
            return Ok(());
        }
        for set in rtypes.iter().filter_map(|&rtype| node.rrset(rtype)) {
            self.put_at(Section::Additional, Owner::Name(target), set)?;
        }
        Ok(())
    }

    /// Adds what was gathered to prove the answer.
    #[inline]
    fn put_proof(&mut self) -> Result<(), Full> {
        if self.proof.is_empty() { Ok(()) } else { self.put_whole_proof() }
    }

    #[cold]
    fn put_whole_proof(&mut self) -> Result<(), Full> {
        for owner in std::mem::take(&mut self.proof).owners() {
            let set = owner.rrset(rtype::NSEC).or_else(|| owner.rrset(rtype::NSEC3));
            if let Some(set) = set {
                self.put_at(Section::Authority, Owner::Name(owner.name()), set)?;
            }
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
        put(self.writer, Section::Answer, self.chain.owner(), set, self.dnssec_ok)
    }

    /// The same in the additional section.
    fn put_at_step(&mut self, set: RrSet<'_>) -> Result<(), Full> {
        self.remember_question();
        put(self.writer, Section::Additional, self.chain.owner(), set, self.dnssec_ok)
    }

    fn put_at(&mut self, section: Section, owner: Owner<'_>, set: RrSet<'_>) -> Result<(), Full> {
        self.remember_question();
        put(self.writer, section, owner, set, self.dnssec_ok)
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

/// The name at the start of `data`.
fn first_name(data: &[u8]) -> &[u8] {
    &data[..name::measure(data).expect("names in the data of our records are whole")]
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
