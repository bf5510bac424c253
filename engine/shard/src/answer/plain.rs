//! The requests that most requests are: one question of class IN for records, and an OPT record without options, or none.
//!
//! What nobody sends but for a reason (signatures, cookies, other opcodes and classes, transfers, records where none
//! belong) is not plain and takes the long way, where every check has its place; so does whatever a check here would not
//! let pass. So a plain request is known by a few comparisons of whole words, and where an RRset, or the SOA record of a
//! denial, is all that it gets, that is copied at once. Measured: this takes a third of the instructions of the long way.

use super::ahead::NO_HINT;
use super::authoritative::{Form, copy_set, ready_set};
use super::record::Note;
use super::{Asker, Client, Event, Outcome, Refusal, Shard};
use crate::cache::{self, Key, Written};
use crate::images::Images;
use crate::limits::{MESSAGE_OCTETS_MAX, UDP_PLAIN_OCTETS_MAX};
use crate::telemetry::TypeClass;
use crate::telemetry::log::Policy;
use crate::transport::Transport;
use crate::upstream::Target;
use crate::wire;
use crate::wire::edns::{self, DNSSEC_OK, Edns, OPT_OCTETS};
use crate::wire::message::{HEADER_OCTETS, Header, Query, Rcode, flags};
use crate::wire::name::{HashKey, KeyedName};
use crate::wire::rdata::{CLASS_IN, rtype};
use crate::zone::Image;
use crate::zone::image::RrSet;

/// The counts of a header, where there is a question and nothing else.
const QUESTION_ALONE: u64 = 1 << 48;

/// What a plain request asks, beside the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(8))] // Copied in one word.
pub(super) struct Plain {
    pub(super) qtype: u16,
    pub(super) name_octets: u8,
    /// Whether it has an OPT record.
    has_opt: bool,
    pub(super) dnssec_ok: bool,
    /// Octets of a reply over UDP.
    udp_limit: u16,
}

/// Where a name goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// To a zone of ours.
    Zone(u32),
    /// To upstreams, or their cached answers.
    Upstream,
    /// Nowhere: it is refused.
    Nowhere,
}

impl Plain {
    /// Reads a request, and its name into `name`; `None`: it is not plain, or malformed.
    #[inline(never)] // Its registers are its own: inlined, it takes more instructions than a call.
    pub(super) fn read(request: &[u8], key: &HashKey, name: &mut KeyedName) -> Option<Plain> {
        const OTHERS: u16 = flags::QR | flags::OPCODE;
        let (&[_, _, f0, f1, ref counts @ ..], behind) = request.split_first_chunk::<HEADER_OCTETS>()?;
        let additionals = u64::from_be_bytes(*counts) ^ QUESTION_ALONE;
        if u16::from_be_bytes([f0, f1]) & OTHERS != 0 || additionals > 1 {
            return None;
        }
        let name_octets = name.take(key, behind)?;
        let (&[t0, t1, c0, c1], opt) = behind[name_octets..].split_first_chunk()?;
        let qtype = u16::from_be_bytes([t0, t1]);
        // Types that are no types of records; ANY is one that may be asked for.
        let is_meta = qtype == 0 || qtype == rtype::OPT || (rtype::TKEY..rtype::ANY).contains(&qtype);
        if u16::from_be_bytes([c0, c1]) != CLASS_IN || is_meta {
            return None;
        }
        let name_octets = name_octets as u8;
        if additionals == 0 {
            let udp_limit = UDP_PLAIN_OCTETS_MAX as u16;
            let plain = Plain { qtype, name_octets, has_opt: false, dnssec_ok: false, udp_limit };
            return opt.is_empty().then_some(plain);
        }
        let edns = Edns::plain(opt).filter(|edns| edns.version == edns::VERSION)?;
        let (dnssec_ok, udp_limit) = (edns.dnssec_ok, edns.udp_reply_octets() as u16);
        Some(Plain { qtype, name_octets, has_opt: true, dnssec_ok, udp_limit })
    }

    /// Octets of the question.
    #[inline(always)]
    fn question_octets(&self) -> usize {
        usize::from(self.name_octets) + 4
    }

    /// Octets that the reply may have.
    #[inline(always)]
    fn limit(&self, via: Transport) -> usize {
        match via {
            Transport::Tcp => MESSAGE_OCTETS_MAX,
            Transport::Udp => self.udp_limit.into(),
        }
    }

    /// The form of the reply, whose answer is copied.
    #[inline(always)]
    fn form<'a>(&self, via: Transport, request: &'a [u8]) -> Option<Form<'a>> {
        let &[id0, id1, f0, f1, ..] = request.first_chunk::<HEADER_OCTETS>()?;
        Some(Form {
            id: u16::from_be_bytes([id0, id1]),
            flags: u16::from_be_bytes([f0, f1]) & (flags::RD | flags::CD),
            question: request.get(HEADER_OCTETS..HEADER_OCTETS + self.question_octets())?,
            qtype: self.qtype,
            dnssec_ok: self.dnssec_ok,
            opt_flags: self.has_opt.then_some(if self.dnssec_ok { DNSSEC_OK } else { 0 }),
            limit: self.limit(via),
        })
    }
}

impl Images {
    /// Where a question goes.
    #[inline(never)] // As above.
    pub(super) fn way(&self, name: &KeyedName, qtype: u16) -> Way {
        match self.route(name, qtype) {
            Some(&Target::Zone(zone)) => Way::Zone(zone),
            Some(Target::Pools(_)) => Way::Upstream,
            Some(Target::Refuse) | None => Way::Nowhere,
        }
    }

    /// Whether this client may ask at its listener.
    #[inline]
    fn allow(&self, client: &Client) -> bool {
        let listener = self.listeners.get(usize::from(client.listener));
        listener.is_some_and(|listener| listener.allow.contains(client.peer.ip()))
    }
}

impl Shard {
    /// Answers a request that is plain; any other, and one that a check wants a closer look at, goes the long way.
    #[inline(always)] // The one way in.
    pub(super) fn answer_plain(&mut self, event: &mut Event<'_>) -> Outcome {
        // Who asks how often is looked at on the long way.
        if self.is_limited {
            return self.on_any_message(event);
        }
        match self.ahead.recognise(event.request, &mut self.name) {
            Some((plain, way, hint)) => self.answer_known(event, plain, way, hint),
            None => self.answer_unseen(event),
        }
    }

    /// The same for a request that was not seen ahead.
    #[inline(never)] // What is known is in no common place with what was seen: that would take more instructions.
    fn answer_unseen(&mut self, event: &mut Event<'_>) -> Outcome {
        let Shard { images, name, .. } = self;
        match Plain::read(event.request, &images.hash_key, name) {
            Some(plain) => {
                let way = images.way(name, plain.qtype);
                self.answer_known(event, plain, way, NO_HINT)
            }
            None => self.on_any_message(event),
        }
    }

    /// The same where it is known what is asked, of the name at hand.
    #[inline(always)] // On the path of every hit.
    fn answer_known(&mut self, event: &mut Event<'_>, plain: Plain, way: Way, hint: u32) -> Outcome {
        let Shard { images, name, .. } = self;
        if !images.allow(event.client) {
            return self.on_any_message(event);
        }
        if let Way::Zone(zone) = way
            && let Some(image) = images.image(zone)
            && let Some(set) = ready_octets(image, name, hint, plain.qtype)
            && let Some(octets) = copy(event, &plain, set)
        {
            self.count(event.client, &plain);
            self.note = Note::copied(plain.question_octets() as u16, plain.dnssec_ok);
            self.counters.zone_answers += 1;
            self.counters.reply(Rcode::NoError as u16, false);
            return Outcome::Reply(octets);
        }
        match way {
            Way::Upstream => self.answer_from_cache(event, &plain),
            Way::Zone(_) | Way::Nowhere => self.answer_further(event, &plain, way),
        }
    }

    /// The same for a name that goes to upstreams: most answers are cached, and written as a whole.
    #[inline(never)] // As above.
    fn answer_from_cache(&mut self, event: &mut Event<'_>, plain: &Plain) -> Outcome {
        match self.copy_from_cache(event, plain) {
            Some((key, written)) => {
                self.count(event.client, plain);
                self.note = Note::asked(plain.question_octets() as u16, plain.dnssec_ok);
                self.is_hit(event.now, key, written)
            }
            None => self.answer_further(event, plain, Way::Upstream),
        }
    }

    /// Writes the reply that the cache has a fresh answer for, if it can be written as a whole.
    #[inline(always)] // A part of the above.
    fn copy_from_cache(&mut self, event: &mut Event<'_>, plain: &Plain) -> Option<(Key, Written)> {
        let &[_, _, _, f1, ..] = event.request.first_chunk::<HEADER_OCTETS>()?;
        let &Plain { qtype, dnssec_ok, .. } = plain;
        let key = Key { qtype, dnssec_ok, checking_disabled: f1 & flags::CD as u8 != 0, era: self.era };
        let hash = key.hash(&self.images.hash_key, &self.name);
        let hit = self.cache.find_plainly(event.now, hash, &self.name, key)?;
        let Form { id, flags, question, opt_flags, limit, .. } = plain.form(event.client.via, event.request)?;
        let written = hit.write(cache::Plain { id, flags, question, opt: opt_flags, limit }, event.reply)?;
        Some((key, written))
    }

    /// Counts a plain request.
    #[inline(always)]
    fn count(&mut self, client: &Client, plain: &Plain) {
        match client.via {
            Transport::Udp => self.counters.queries_udp += 1,
            Transport::Tcp => self.counters.queries_tcp += 1,
        }
        self.record.telemetry.types[TypeClass::of(plain.qtype) as usize] += 1;
    }

    /// The same where more is to be done than to copy an RRset.
    #[inline(never)] // So that what is copied has a short way.
    fn answer_further(&mut self, event: &mut Event<'_>, plain: &Plain, way: Way) -> Outcome {
        let &mut Event { now, client, request, ref mut reply } = event;
        self.count(client, plain);
        self.note = Note::asked(plain.question_octets() as u16, plain.dnssec_ok);
        if let Way::Zone(zone) = way
            && let Some(form) = plain.form(client.via, request)
            && let Some(octets) = self.copy_from_zone(zone, form, reply)
        {
            return Outcome::Reply(octets);
        }
        let header = Header::parse(request).expect("a plain request has a header");
        let query = Query::parse_behind_name(header, request, plain.name_octets.into());
        let query = query.expect("a plain request is well-formed");
        let asker = Asker::new(client, &query);
        let answered = match way {
            Way::Zone(zone) if self.images.image(zone).is_none() => Err(Refusal::not_ready()),
            Way::Zone(zone) => Ok(self.answer_by_steps(zone, &query, &asker, reply)),
            Way::Upstream => self.answer_otherwise(now, client, &query, asker, reply),
            Way::Nowhere => Err(Refusal::prohibited(Policy::Route, |c| &mut c.refused_route)),
        };
        match answered {
            Ok(outcome) => outcome,
            Err(refusal) => self.refuse(now, client, &query, asker, refusal, reply),
        }
    }
}

/// Where the RRset of a name lies, if its records can be copied from there. `hint` may be the number of the name's node.
#[inline(never)] // As above.
fn ready_octets<'z>(image: &'z Image, name: &KeyedName, hint: u32, qtype: u16) -> Option<&'z [u8]> {
    match image.node_at(hint, name) {
        Some(node) => ready_set(node, qtype),
        None => ready_octets_unseen(image, name, qtype),
    }
}

/// The same where the node is not known.
#[inline(never)] // As above.
fn ready_octets_unseen<'z>(image: &'z Image, name: &KeyedName, qtype: u16) -> Option<&'z [u8]> {
    ready_set(image.node(name, name.labels())?, qtype)
}

/// Writes the reply that is the RRset at the start of `set`.
#[inline(never)] // As above.
fn copy(event: &mut Event<'_>, plain: &Plain, set: &[u8]) -> Option<usize> {
    // The id and the flags of the header.
    const AS_ASKED: u32 = 0xffff << 16 | (flags::RD | flags::CD) as u32;
    const SAID: u32 = (flags::QR | flags::AA) as u32;
    let Some((count, records)) = RrSet::records_alone(set, plain.dnssec_ok) else {
        return copy_whole(event, plain, set);
    };
    let records_at = HEADER_OCTETS + plain.question_octets();
    let end = records_at + (records.len() + if plain.has_opt { OPT_OCTETS } else { 0 });
    if end > plain.limit(event.client.via) {
        return None;
    }
    let (header, question) = event.request.get(..records_at)?.split_first_chunk::<HEADER_OCTETS>()?;
    let (out, behind) = event.reply.get_mut(..end)?.split_at_mut_checked(records_at)?;
    let (out_header, out_question) = out.split_first_chunk_mut::<HEADER_OCTETS>()?;
    let words = u32::from_be_bytes(*header.first_chunk()?) & AS_ASKED | SAID;
    let counts = QUESTION_ALONE | u64::from(count) << 32 | u64::from(plain.has_opt);
    out_header[..4].copy_from_slice(&words.to_be_bytes());
    out_header[4..].copy_from_slice(&counts.to_be_bytes());
    wire::copy(out_question, 0, question);
    wire::copy(behind, 0, records);
    if plain.has_opt {
        *behind.last_chunk_mut()? = edns::opt(0, if plain.dnssec_ok { DNSSEC_OK } else { 0 });
    }
    Some(end)
}

/// The same for a long RRset, and with signatures.
#[inline(never)] // So that what has none has a short way.
fn copy_whole(event: &mut Event<'_>, plain: &Plain, set: &[u8]) -> Option<usize> {
    copy_set(RrSet::at(set), plain.form(event.client.via, event.request)?, event.reply)
}
