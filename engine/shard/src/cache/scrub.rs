//! What of an upstream's message may be believed: the answer to the question asked, what proves it, and what is told on
//! the way of names that it names (RFC 2181 §5.4.1, RFC 5452 §6).
//!
//! Each record of a message is kept or dropped; nothing is ever made up:
//!
//! | section | what stays |
//! |---|---|
//! | answer | the aliases from the name asked to the last one, in that order, each beside the DNAME that made it; there the set asked for; signatures of what stays |
//! | authority | the first SOA, and the NS set (with DS), of a zone that the last name lies in; NSEC and NSEC3 that are signed by such a zone; signatures of what stays |
//! | additional | addresses and service bindings of names that records above lead to; their signatures; OPT |
//!
//! A message of which nothing must go is taken as it is. That is the common case, and it costs one walk and no copy, and
//! less than a walk where there are addresses of the name asked for alone. What
//! an origin says is believed within its route's suffix alone: aliases that lead out of it end there, with whatever was
//! said of their target. A resolver speaks of all names.
//!
//! Some messages are refused whole, for another server to be asked: those that answer something else, contradict
//! themselves, send us elsewhere, or say nothing.

mod names;

use smallvec::SmallVec;

use self::names::{ASKED, NameNumber, NameSet, Names, UNKNOWN, bit, lower, members};
use crate::limits::{CHAIN_STEPS_MAX, MESSAGE_OCTETS_MAX, NAME_OCTETS_MAX, RECORDS_MAX};
use crate::wire::edns;
use crate::wire::message::{self, HEADER_OCTETS, Header, Rcode, Record, Section, flags};
use crate::wire::name::{self, HashKey};
use crate::wire::rdata::{self, CLASS_IN, rtype};
use crate::wire::u16_at;
use crate::wire::writer::{Compressor, Owner, Writer};

/// Who sent a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// It is an origin whose public face we are; else a resolver.
    pub authoritative: bool,
    /// Labels of the suffix whose names go to it.
    pub suffix_labels: usize,
}

/// What is left of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scrubbed<'m> {
    /// All of it: the message itself.
    Clean(&'m [u8]),
    /// Not all: a message of what is left, the question in lower case.
    Rewritten(&'m [u8]),
    /// Nothing that could be used.
    Refused(Why),
}

/// Why a message is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It answers another question than the one asked, its aliases lead past the data that it has, or it contradicts
    /// itself.
    NotAnAnswer,
    /// It sends us to other servers: by a resolver, or by an origin from which we ought to have the answer.
    LameReferral,
    /// NOERROR, and nothing else: neither data nor the word of an authority that there is none.
    Empty,
    /// It does not parse, or would not fit a message any more.
    Malformed,
}

/// Looks through an upstream's message with NOERROR, NXDOMAIN or YXDOMAIN whose question is known to be the one asked:
/// `name` in lower case, `qtype`, class IN. A rewritten message lies in `scratch`.
pub fn scrub<'m>(
    message: &'m [u8],
    header: Header,
    name: &[u8],
    qtype: u16,
    source: &Source,
    scratch: &'m mut Vec<u8>,
) -> Scrubbed<'m> {
    let Some(rcode) = rcode(header) else { return Scrubbed::Refused(Why::NotAnAnswer) };
    let question_end = HEADER_OCTETS + name.len() + 4;
    if rcode == Rcode::NoError && has_addresses_alone(message, header, question_end, qtype) {
        return Scrubbed::Clean(message);
    }
    sift(message, header, rcode, name, qtype, source, scratch)
}

/// The same, record by record.
fn sift<'m>(
    message: &'m [u8],
    header: Header,
    rcode: Rcode,
    name: &[u8],
    qtype: u16,
    source: &Source,
    scratch: &'m mut Vec<u8>,
) -> Scrubbed<'m> {
    let question_end = HEADER_OCTETS + name.len() + 4;
    let Some(mut sieve) = Sieve::read(message, header, name).filter(|_| message.len() >= question_end) else {
        return Scrubbed::Refused(Why::Malformed);
    };
    let bailiwick = Bailiwick::new(source, name);
    let chain = match sieve.answer(qtype, rcode, bailiwick) {
        Ok(chain) => chain,
        Err(why) => return Scrubbed::Refused(why),
    };
    let has_soa = sieve.authority(chain, bailiwick);
    if let Err(why) = sieve.verdict(header, rcode, chain, has_soa, bailiwick) {
        return Scrubbed::Refused(why);
    }
    sieve.additional(bailiwick);
    // The code of a chain is that of its last name (RFC 6604 §3), which others answer for.
    let believed = if chain.end == End::Left { Rcode::NoError } else { rcode };
    if sieve.is_whole() && believed == rcode {
        return Scrubbed::Clean(message);
    }
    match sieve.write(header, believed, question_end, scratch) {
        Some(rewritten) => Scrubbed::Rewritten(rewritten),
        None => Scrubbed::Refused(Why::Malformed),
    }
}

/// Whether a message has nothing but addresses of the name asked for, of the type asked for, and an OPT record: what most
/// messages are, and what is seen with a tenth of the steps.
fn has_addresses_alone(message: &[u8], header: Header, question_end: usize, qtype: u16) -> bool {
    let octets: u8 = match qtype {
        rtype::A => 4,
        rtype::AAAA => 16,
        _ => return false,
    };
    let [_, answers, 0, additionals @ 0..=1] = header.counts else { return false };
    let [t0, t1] = qtype.to_be_bytes();
    let mut rest = message.get(question_end..).unwrap_or_default();
    for _ in 0..answers {
        let Some((&[0xc0, 12, a, b, 0, 1, _, _, _, _, 0, length], data)) = rest.split_first_chunk() else {
            return false;
        };
        if [a, b, length] != [t0, t1, octets] {
            return false;
        }
        let Some((_, behind)) = data.split_at_checked(octets.into()) else { return false };
        rest = behind;
    }
    let opt = &[0, 0, rtype::OPT as u8];
    const _: () = assert!(rtype::OPT < 256);
    let is_opt = additionals == 0
        || rest.starts_with(opt)
            && u16_at(rest, 9).is_some_and(|length| rest.len() >= edns::OPT_OCTETS + usize::from(length));
    answers > 0 && is_opt && usize::from(answers) + usize::from(additionals) <= RECORDS_MAX
}

/// The response code, where it is one that answers a question.
fn rcode(header: Header) -> Option<Rcode> {
    [Rcode::NoError, Rcode::NxDomain, Rcode::YxDomain]
        .into_iter()
        .find(|&rcode| header.flags & flags::RCODE == rcode as u16)
}

/// The suffix that a server's word counts in; `None`: all names.
#[derive(Clone, Copy)]
struct Bailiwick<'n>(Option<&'n [u8]>);

impl<'n> Bailiwick<'n> {
    fn new(source: &Source, name: &'n [u8]) -> Bailiwick<'n> {
        let above = labels(name).saturating_sub(source.suffix_labels);
        let start: usize = name::labels(name).take(above).map(|label| label.len() + 1).sum();
        Bailiwick(source.authoritative.then_some(&name[start..]))
    }

    fn contains(self, name: &[u8]) -> bool {
        self.0.is_none_or(|suffix| is_at_or_below(name, suffix))
    }
}

const _: () = assert!(CHAIN_STEPS_MAX < u8::MAX as usize);

/// A record, and what becomes of it.
struct Entry {
    record: Record,
    owner: NameNumber,
    /// Where an alias of the answer section leads.
    target: NameNumber,
    /// It is of class IN, and its data what its type demands.
    sound: bool,
    /// Zero: it is dropped. In the answer section the order of what is kept, otherwise one.
    rank: u8,
}

/// A message being looked through.
struct Sieve<'m> {
    message: &'m [u8],
    names: Names,
    entries: SmallVec<[Entry; 16]>,
}

/// Where the aliases lead.
#[derive(Clone, Copy)]
struct Chain {
    /// The names on the way whose word counts.
    names: NameSet,
    /// The last of them.
    last: NameNumber,
    end: End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The set asked for is there.
    Data,
    /// It is not.
    NoData,
    /// The last alias leads out of the suffix.
    Left,
}

impl<'m> Sieve<'m> {
    /// Reads the records; `None` when they do not parse, or an OPT or TSIG record is where none may be.
    fn read(message: &'m [u8], header: Header, name: &[u8]) -> Option<Sieve<'m>> {
        let mut names = Names::new(name);
        let mut entries = SmallVec::new();
        let mut has_opt = false;
        for record in message::records(message, header, HEADER_OCTETS + name.len() + 4) {
            let record = record.ok()?;
            let (mut owner, mut target, mut sound) = (UNKNOWN, UNKNOWN, true);
            match record.rtype {
                rtype::OPT if record.section != Section::Additional || has_opt || message[record.owner_at] != 0 => {
                    return None;
                }
                rtype::TSIG if record.section != Section::Additional => return None,
                rtype::OPT => has_opt = true,
                rtype::TSIG => {}
                _ => {
                    owner = names.number(message, record.owner_at)?;
                    sound = owner != UNKNOWN && is_sound(message, &record, names.wire(owner));
                }
            }
            let is_alias = matches!(record.rtype, rtype::CNAME | rtype::DNAME);
            if is_alias && record.section == Section::Answer {
                target = names.number(message, record.data.start)?;
            }
            entries.push(Entry { record, owner, target, sound, rank: 0 });
        }
        Some(Sieve { message, names, entries })
    }

    fn of(&self, section: Section) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.record.section == section)
    }

    /// Follows the aliases from the name asked, and keeps them and the data at their end.
    fn answer(&mut self, qtype: u16, rcode: Rcode, bailiwick: Bailiwick<'_>) -> Result<Chain, Why> {
        let mut chain = Chain { names: bit(ASKED), last: ASKED, end: End::NoData };
        for rank in 1..=CHAIN_STEPS_MAX as u8 + 1 {
            // A type that may stand beside an alias counts before it; so does any, where any was asked for.
            if self.keep_data(chain.last, qtype, rank) {
                chain.end = End::Data;
                break;
            }
            let Some(alias) = self.alias_of(chain.last) else {
                if rcode == Rcode::YxDomain {
                    self.keep_dname_above(chain.last, rank);
                }
                break;
            };
            let target = self.entries[alias].target;
            self.keep_dname_of(chain.last, target, rank)?;
            self.entries[alias].rank = rank;
            if target == UNKNOWN || chain.names & bit(target) != 0 {
                break;
            }
            if !bailiwick.contains(self.names.wire(target)) {
                chain.end = End::Left;
                break;
            }
            chain.names |= bit(target);
            chain.last = target;
        }
        self.keep_signatures(Section::Answer);
        Ok(chain)
    }

    fn keep_data(&mut self, owner: NameNumber, qtype: u16, rank: u8) -> bool {
        let mut found = false;
        for entry in sound_of(&mut self.entries, Section::Answer) {
            let is_asked_for = qtype == rtype::ANY || entry.record.rtype == qtype;
            if entry.owner == owner && is_asked_for {
                entry.rank = rank;
                found = true;
            }
        }
        found
    }

    /// The first CNAME of a name: there can be one alone (RFC 1034 §3.6.2).
    fn alias_of(&self, owner: NameNumber) -> Option<usize> {
        let is_it = |entry: &Entry| entry.record.rtype == rtype::CNAME && entry.sound && entry.owner == owner;
        self.entries.iter().take_while(|entry| entry.record.section == Section::Answer).position(is_it)
    }

    /// Keeps the DNAME that makes `name` an alias of `target` (RFC 6672 §2.2), where a DNAME stands above it. One that
    /// makes it an alias of something else and the CNAME cannot both be true.
    fn keep_dname_of(&mut self, name: NameNumber, target: NameNumber, rank: u8) -> Result<(), Why> {
        if target == UNKNOWN {
            return Ok(());
        }
        let (mut is_above, mut found) = (false, None);
        let (made_of, made) = (self.names.wire(name), self.names.wire(target));
        for (i, below) in self.dnames_above(made_of) {
            is_above = true;
            let new_suffix = self.entries[i].target;
            if new_suffix != UNKNOWN && made.strip_prefix(below) == Some(self.names.wire(new_suffix)) {
                found = Some(i);
                break;
            }
        }
        match found {
            Some(i) => self.entries[i].rank = rank,
            None if is_above => return Err(Why::NotAnAnswer),
            None => {}
        }
        Ok(())
    }

    /// Keeps the DNAME that makes `name` too long.
    fn keep_dname_above(&mut self, name: NameNumber, rank: u8) {
        let found = self.dnames_above(self.names.wire(name)).next().map(|(i, _)| i);
        if let Some(i) = found {
            self.entries[i].rank = rank;
        }
    }

    /// The DNAMEs above a name, and for each the labels of the name below its owner.
    fn dnames_above<'n>(&self, name: &'n [u8]) -> impl Iterator<Item = (usize, &'n [u8])> {
        self.of(Section::Answer).enumerate().filter_map(move |(i, entry)| {
            let is_dname = entry.record.rtype == rtype::DNAME && entry.sound;
            let below = is_dname.then(|| labels_below(name, self.names.wire(entry.owner))).flatten()?;
            (!below.is_empty()).then_some((i, below))
        })
    }

    /// Keeps what the authority section says of the zones of the chain. Returns whether an SOA is among it.
    fn authority(&mut self, chain: Chain, bailiwick: Bailiwick<'_>) -> bool {
        let proven = self.proven(chain);
        let Sieve { names, entries, .. } = self;
        let last = names.wire(chain.last);
        let (mut has_soa, mut cut) = (false, None);
        for entry in sound_of(entries, Section::Authority) {
            let owner = names.wire(entry.owner);
            let is_kept = match entry.record.rtype {
                // Routes may begin below the apex of the zone that their servers have.
                rtype::SOA if !has_soa && chain.end != End::Left => {
                    has_soa = is_at_or_below(last, owner);
                    has_soa
                }
                rtype::NS if cut.is_none_or(|cut| cut == entry.owner) => {
                    let is_theirs = is_at_or_below(last, owner) && bailiwick.contains(owner);
                    cut = cut.or(is_theirs.then_some(entry.owner));
                    is_theirs
                }
                rtype::NSEC => proven[0] & bit(entry.owner) != 0,
                rtype::NSEC3 => proven[1] & bit(entry.owner) != 0,
                _ => false,
            };
            entry.rank = is_kept.into();
        }
        for entry in sound_of(entries, Section::Authority) {
            if entry.record.rtype == rtype::DS && cut == Some(entry.owner) {
                entry.rank = 1;
            }
        }
        self.keep_signatures(Section::Authority);
        has_soa
    }

    /// The owners of NSEC, and those of NSEC3 records in the authority section that a zone has signed which a name of the
    /// chain lies in. Without a signature they prove nothing.
    fn proven(&self, chain: Chain) -> [NameSet; 2] {
        let mut proven = [0; 2];
        for entry in self.of(Section::Authority).filter(|entry| entry.sound && entry.record.rtype == rtype::RRSIG) {
            let Some(signature) = Signature::read(self.message, &entry.record) else { continue };
            let proof = match signature.covered {
                rtype::NSEC => &mut proven[0],
                rtype::NSEC3 => &mut proven[1],
                _ => continue,
            };
            if members(chain.names).any(|name| is_at_or_below(self.names.wire(name), signature.signer)) {
                *proof |= bit(entry.owner);
            }
        }
        proven
    }

    /// Whether what is kept answers the question.
    fn verdict(
        &self,
        header: Header,
        rcode: Rcode,
        chain: Chain,
        has_soa: bool,
        bailiwick: Bailiwick<'_>,
    ) -> Result<(), Why> {
        let answers = self.of(Section::Answer).any(|entry| entry.rank > 0);
        // Signatures may go without harm: whoever validates will see.
        let is_cut = self.of(Section::Answer).any(|entry| entry.rank == 0 && entry.record.rtype != rtype::RRSIG);
        let is_broken = match chain.end {
            End::Data => rcode == Rcode::NxDomain,
            End::NoData => is_cut || !answers && header.counts[1] > 0,
            End::Left => false,
        };
        if is_broken {
            return Err(Why::NotAnAnswer);
        }
        if answers || rcode != Rcode::NoError || has_soa || header.has(flags::AA) {
            return Ok(());
        }
        let is_ns = |entry: &&Entry| entry.record.rtype == rtype::NS;
        match self.of(Section::Authority).filter(is_ns).max_by_key(|entry| entry.rank) {
            None => Err(Why::Empty),
            // Below the suffix other servers may well have the names.
            Some(cut) if cut.rank > 0 && bailiwick.0.is_some_and(|suffix| self.names.wire(cut.owner) != suffix) => {
                Ok(())
            }
            Some(_) => Err(Why::LameReferral),
        }
    }

    /// Keeps OPT, and the addresses and service bindings of names that records above lead to.
    fn additional(&mut self, bailiwick: Bailiwick<'_>) {
        let is_between = |entry: &Entry| matches!(entry.record.rtype, rtype::OPT | rtype::TSIG);
        let has_more = self.of(Section::Additional).any(|entry| !is_between(entry));
        let named = if has_more { self.named() } else { 0 };
        for entry in sound_of(&mut self.entries, Section::Additional) {
            let is_kept = match entry.record.rtype {
                rtype::OPT | rtype::TSIG => true,
                rtype::A | rtype::AAAA | rtype::SVCB | rtype::HTTPS => {
                    named & bit(entry.owner) != 0 && bailiwick.contains(self.names.wire(entry.owner))
                }
                _ => false,
            };
            entry.rank = is_kept.into();
        }
        if has_more {
            self.keep_signatures(Section::Additional);
        }
    }

    /// The names that what is kept of answer and authority leads to.
    fn named(&self) -> NameSet {
        let mut named = 0;
        let mut octets = [0; NAME_OCTETS_MAX];
        for entry in self.entries.iter().filter(|entry| entry.rank > 0) {
            let Some(before) = rdata::additional_name(entry.record.rtype) else { continue };
            match lower(self.message, entry.record.data.start + before, &mut octets) {
                // The root means the owner itself (RFC 9460 §2.5).
                Some([0]) => named |= bit(entry.owner),
                Some(wire) => named |= self.names.find(wire).map_or(0, bit),
                None => {}
            }
        }
        named
    }

    /// Keeps the signatures of the sets kept in `section`.
    fn keep_signatures(&mut self, section: Section) {
        let is_open = |entry: &Entry| entry.record.rtype == rtype::RRSIG && entry.rank == 0;
        if !sound_of(&mut self.entries, section).any(|entry| is_open(entry)) {
            return;
        }
        let kept = self.of(section).filter(|entry| entry.rank > 0);
        let mut sets: SmallVec<[_; 8]> = kept.map(|entry| (entry.owner, entry.record.rtype, entry.rank)).collect();
        sets.sort_unstable();
        for entry in sound_of(&mut self.entries, section).filter(|entry| is_open(entry)) {
            let Some(covered) = u16_at(self.message, entry.record.data.start) else { continue };
            let first = sets.partition_point(|&(owner, rtype, _)| (owner, rtype) < (entry.owner, covered));
            let set = sets.get(first).filter(|&&(owner, rtype, _)| (owner, rtype) == (entry.owner, covered));
            entry.rank = set.map_or(0, |&(.., rank)| rank);
        }
    }

    /// Whether all records stay, where they are.
    fn is_whole(&self) -> bool {
        self.entries.iter().all(|entry| entry.rank > 0) && self.of(Section::Answer).map(|entry| entry.rank).is_sorted()
    }

    /// Writes what is kept, behind a copy of the message in `scratch`. `None` when it does not fit a message: names are
    /// spelt out once there are too many to remember, and those that senders must not compress anyway.
    fn write<'s>(
        &self,
        header: Header,
        rcode: Rcode,
        question_end: usize,
        scratch: &'s mut Vec<u8>,
    ) -> Option<&'s [u8]> {
        let message_octets = self.message.len();
        scratch.clear();
        scratch.extend_from_slice(self.message);
        // Our query's case must not be seen in names that point there.
        scratch[HEADER_OCTETS..question_end - 4].make_ascii_lowercase();
        scratch.resize(message_octets + MESSAGE_OCTETS_MAX, 0);
        let (source, target) = scratch.split_at_mut(message_octets);
        let opt = self.of(Section::Additional).find(|entry| entry.record.rtype == rtype::OPT);
        let opt = opt.map_or(0..0, |entry| entry.record.owner_at..entry.record.data.end);

        let mut kept: Vec<&Entry> = self.entries.iter().filter(|entry| entry.rank > 0).collect();
        kept.sort_by_key(|entry| (entry.record.section, entry.rank));
        let mut compressor = Compressor::default();
        // The key guards nothing here: what is remembered is little, and compared in full.
        let key = HashKey::from_seed([0; 16]);
        let question = &source[HEADER_OCTETS..question_end];
        let limit = MESSAGE_OCTETS_MAX - opt.len();
        let mut writer = Writer::new(target, limit, question, None, &mut compressor, key);
        writer.remember_question(&name::KeyedName::new(&key, question)?);
        let (mut owner, mut data) = ([0; NAME_OCTETS_MAX], Vec::new());
        for entry in kept {
            let Record { section, owner_at, rtype, ttl, .. } = entry.record;
            if matches!(rtype, rtype::OPT | rtype::TSIG) {
                continue;
            }
            let (octets, _) = name::expand(source, owner_at, &mut owner)?;
            expand_data(source, &entry.record, &mut data)?;
            let written = writer.rrset(section, Owner::Name(&owner[..octets]), rtype, ttl, [&*data].into_iter());
            match written {
                Ok(_) => {}
                Err(_) if section == Section::Additional => break,
                Err(_) => return None,
            }
        }
        let additionals = writer.count(Section::Additional) + u16::from(!opt.is_empty());
        let length = writer.finish(header.id, header.flags & !flags::RCODE, rcode);
        let end = length + opt.len();
        target[length..end].copy_from_slice(&source[opt]);
        target[10..12].copy_from_slice(&additionals.to_be_bytes());
        Some(&scratch[message_octets..message_octets + end])
    }
}

/// The records of `section` that may be kept.
fn sound_of(entries: &mut [Entry], section: Section) -> impl Iterator<Item = &mut Entry> {
    entries.iter_mut().filter(move |entry| entry.record.section == section && entry.sound)
}

/// Writes the data of a record to `data`, the names in it spelt out.
fn expand_data(message: &[u8], record: &Record, data: &mut Vec<u8>) -> Option<()> {
    data.clear();
    let mut at = record.data.start;
    if let Some(layout) = rdata::layout(record.rtype) {
        data.extend_from_slice(message.get(at..at + layout.before)?);
        at += layout.before;
        let mut octets = [0; NAME_OCTETS_MAX];
        for _ in 0..layout.names {
            let (length, end) = name::expand(message, at, &mut octets)?;
            data.extend_from_slice(&octets[..length]);
            at = end;
        }
    }
    data.extend_from_slice(message.get(at..record.data.end)?);
    Some(())
}

/// Whether a record is of class IN and its data what its type demands, as far as it is looked at.
fn is_sound(message: &[u8], record: &Record, owner: &[u8]) -> bool {
    let is_of_type = match record.rtype {
        rtype::A => record.data.len() == 4,
        rtype::AAAA => record.data.len() == 16,
        rtype::RRSIG => Signature::read(message, record).is_some_and(|signature| signature.can_cover(owner)),
        _ => true,
    };
    is_of_type && record.class == CLASS_IN
}

/// What is looked at of a signature (RFC 4034 §3.1).
struct Signature<'m> {
    covered: u16,
    labels: usize,
    /// In the case that it came in.
    signer: &'m [u8],
}

/// Octets of an RRSIG's data before the name of the signer.
const SIGNATURE_FIXED_OCTETS: usize = 18;

impl<'m> Signature<'m> {
    /// Reads the data of an RRSIG; `None` where it is too short, or the signer's name compressed (§3.1.7).
    fn read(message: &'m [u8], record: &Record) -> Option<Signature<'m>> {
        let data = message.get(record.data.clone())?;
        let signer = data.get(SIGNATURE_FIXED_OCTETS..)?;
        let signer = signer.get(..name::measure(signer)?)?;
        Some(Signature { covered: u16_at(data, 0)?, labels: usize::from(data[3]), signer })
    }

    /// Whether it can be one of a set of `owner`: the zone that signs lies at or above it, and so does the wildcard that it
    /// was made from, which lies in the zone. Otherwise one name's signature could be another's.
    fn can_cover(&self, owner: &[u8]) -> bool {
        let wildcard = usize::from(owner.starts_with(b"\x01*"));
        is_at_or_below(owner, self.signer) && (labels(self.signer)..=labels(owner) - wildcard).contains(&self.labels)
    }
}

fn labels(wire: &[u8]) -> usize {
    name::labels(wire).count()
}

/// The labels of `name` below `ancestor`: none where they are the same, `None` where it does not lie there.
fn labels_below<'n>(name: &'n [u8], ancestor: &[u8]) -> Option<&'n [u8]> {
    let mut at = 0;
    while at + ancestor.len() < name.len() {
        at += usize::from(name[at]) + 1;
    }
    name::same(name.get(at..)?, ancestor).then_some(&name[..at])
}

fn is_at_or_below(name: &[u8], ancestor: &[u8]) -> bool {
    labels_below(name, ancestor).is_some()
}

#[cfg(test)]
mod tests;
