//! What all requests to other servers have in common: how they are written, and what is checked of every answer.

use std::fmt;

use crate::limits::NAME_OCTETS_MAX;
use crate::tsig::BadAnswer;
use crate::wire::message::{HEADER_OCTETS, Header, Section, flags};
use crate::wire::name::{self, Name};
use crate::wire::rdata::{self, CLASS_IN, rtype};
use crate::wire::{message, u16_at, u32_at};
use crate::zone::image::Record;

/// Why an answer is of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not parse.
    Malformed,
    /// It answers something else; the text says what differs. Over UDP it may be a forgery: the true one may yet come.
    NotOurs(&'static str),
    /// The server will not, or cannot: its response code. After FORMERR, NOTIMP or REFUSED to an IXFR, an AXFR may do.
    Refused(u16),
    /// It is not signed as the request was.
    Signature(BadAnswer),
    /// It is too long for UDP.
    NeedsTcp,
    /// It is no transfer: the text says which rule it breaks.
    Order(&'static str),
    /// A record in it can be in no zone, or not in this one; the text says which and why.
    Record(String),
    /// It is larger than [`Bounds`](super::Bounds) allow; the text says in what.
    Bound(&'static str),
    /// Messages came after the end, or after a fault.
    Over,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Malformed => f.write_str("the answer is malformed"),
            Fault::NotOurs(what) => write!(f, "the answer is not to our request: {what}"),
            Fault::Refused(rcode) => write!(f, "the server answers {}", Shown(*rcode)),
            Fault::Signature(bad) => bad.fmt(f),
            Fault::NeedsTcp => f.write_str("the answer is too long for UDP"),
            Fault::Order(what) => write!(f, "the transfer is faulty: {what}"),
            Fault::Record(what) => write!(f, "the transfer has a faulty record: {what}"),
            Fault::Bound(what) => write!(f, "the transfer has too many {what}"),
            Fault::Over => f.write_str("the transfer is over"),
        }
    }
}

impl std::error::Error for Fault {}

/// A response code in messages.
struct Shown(u16);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("FORMERR"),
            2 => f.write_str("SERVFAIL"),
            3 => f.write_str("NXDOMAIN"),
            4 => f.write_str("NOTIMP"),
            5 => f.write_str("REFUSED"),
            9 => f.write_str("NOTAUTH"),
            rcode => write!(f, "with response code {rcode}"),
        }
    }
}

/// Opcode QUERY.
pub(super) const QUERY: u16 = 0;
/// Opcode NOTIFY (RFC 1996 §3.3).
pub(super) const NOTIFY: u16 = 4;

/// A request for one zone, as far as its answer must fit it.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) zone: Name,
    pub(super) id: u16,
    pub(super) opcode: u16,
    pub(super) qtype: u16,
}

impl Request {
    /// Its octets, with the data of an SOA of the zone in `section`, where one is to be sent along.
    pub(super) fn to_vec(&self, header_flags: u16, soa: Option<(Section, &[u8])>) -> Vec<u8> {
        let zone = self.zone.as_wire();
        let mut out = Vec::with_capacity(HEADER_OCTETS + zone.len() + 4 + soa.map_or(0, |(_, data)| data.len() + 12));
        let mut counts = [1, 0, 0, 0];
        if let Some((section, _)) = soa {
            counts[section as usize] = 1;
        }
        out.extend(self.id.to_be_bytes());
        out.extend((self.opcode << 11 | header_flags).to_be_bytes());
        out.extend(counts.iter().flat_map(|count: &u16| count.to_be_bytes()));
        out.extend(zone);
        out.extend(self.qtype.to_be_bytes());
        out.extend(CLASS_IN.to_be_bytes());
        if let Some((_, data)) = soa {
            out.extend((0xc000 | HEADER_OCTETS as u16).to_be_bytes());
            out.extend(rtype::SOA.to_be_bytes());
            out.extend(CLASS_IN.to_be_bytes());
            out.extend([0; 4]);
            out.extend((data.len() as u16).to_be_bytes());
            out.extend(data);
        }
        out
    }

    /// Checks the header of an answer and its id before anything else is looked at.
    pub(super) fn check_header(&self, answer: &[u8]) -> Result<Header, Fault> {
        let header = Header::parse(answer).ok_or(Fault::Malformed)?;
        if !header.has(flags::QR) {
            return Err(Fault::NotOurs("it is no response"));
        }
        if header.id != self.id {
            return Err(Fault::NotOurs("the id differs"));
        }
        if header.opcode() != self.opcode {
            return Err(Fault::NotOurs("the opcode differs"));
        }
        Ok(header)
    }

    /// Checks the question of an answer. Returns whether there is one, and where the records begin.
    pub(super) fn check_question(&self, header: Header, answer: &[u8]) -> Result<(bool, usize), Fault> {
        match header.counts[0] {
            0 => return Ok((false, HEADER_OCTETS)),
            1 => {}
            _ => return Err(Fault::Malformed),
        }
        let mut scratch = [0; NAME_OCTETS_MAX];
        let (octets, at) = name::expand(answer, HEADER_OCTETS, &mut scratch).ok_or(Fault::Malformed)?;
        let (qtype, qclass) = (u16_at(answer, at), u16_at(answer, at + 2));
        if !name::same(&scratch[..octets], self.zone.as_wire()) || (qtype, qclass) != (Some(self.qtype), Some(CLASS_IN))
        {
            return Err(Fault::NotOurs("the question differs"));
        }
        Ok((true, at + 4))
    }
}

/// Judges the response code of an answer beside the verdict on its signature. An error that is not signed at all is told as
/// the error that it is: the server may not know the key, and nothing is taken from it.
pub(super) fn check_rcode(header: Header, verified: Result<(), BadAnswer>) -> Result<(), Fault> {
    let rcode = header.flags & flags::RCODE;
    match verified {
        Ok(()) | Err(BadAnswer::Unsigned) if rcode != 0 => Err(Fault::Refused(rcode)),
        verified => verified.map_err(Fault::Signature),
    }
}

/// A record of an answer, its names uncompressed, its owner in lower case. One is filled again and again.
#[derive(Debug)]
pub(super) struct Expanded {
    owner: [u8; NAME_OCTETS_MAX],
    owner_octets: usize,
    pub(super) rtype: u16,
    pub(super) class: u16,
    pub(super) ttl: u32,
    pub(super) data: Vec<u8>,
}

impl Default for Expanded {
    fn default() -> Expanded {
        Expanded { owner: [0; NAME_OCTETS_MAX], owner_octets: 1, rtype: 0, class: 0, ttl: 0, data: Vec::new() }
    }
}

impl Expanded {
    pub(super) fn owner(&self) -> &[u8] {
        &self.owner[..self.owner_octets]
    }

    /// Takes the record from its message; `None` where names in it are malformed.
    pub(super) fn set(&mut self, answer: &[u8], record: &message::Record) -> Option<()> {
        (self.owner_octets, _) = name::expand(answer, record.owner_at, &mut self.owner)?;
        self.owner[..self.owner_octets].make_ascii_lowercase();
        (self.rtype, self.class, self.ttl) = (record.rtype, record.class, record.ttl);
        self.data.clear();
        let (before, names) = match rdata::layout(record.rtype) {
            Some(layout) => (layout.before, layout.names),
            // A sender may not compress this one (RFC 3597 §4); who receives it compressed is to expand it all the same.
            None if record.rtype == rtype::NAPTR => (naptr_octets(answer.get(record.data.clone())?)?, 1),
            None => (0, 0),
        };
        let mut at = record.data.start + before;
        self.data.extend_from_slice(answer.get(record.data.start..at)?);
        let mut scratch = [0; NAME_OCTETS_MAX];
        for _ in 0..names {
            let (octets, end) = name::expand(answer, at, &mut scratch)?;
            self.data.extend_from_slice(&scratch[..octets]);
            at = end;
        }
        self.data.extend_from_slice(answer.get(at..record.data.end)?);
        Some(())
    }

    pub(super) fn as_record(&self) -> Record<'_> {
        Record { owner: self.owner(), rtype: self.rtype, ttl: self.ttl, data: &self.data }
    }

    /// The serial, where the record is an SOA.
    pub(super) fn serial(&self) -> Option<u32> {
        (self.rtype == rtype::SOA).then(|| serial_of(&self.data)).flatten()
    }
}

/// Octets of a NAPTR's data before its name: order, preference, and three texts (RFC 3403 §4.1).
fn naptr_octets(data: &[u8]) -> Option<usize> {
    (0..3).try_fold(4, |at, _| Some(at + 1 + usize::from(*data.get(at)?)))
}

/// The serial in the data of an SOA whose names are uncompressed.
pub(super) fn serial_of(data: &[u8]) -> Option<u32> {
    u32_at(data, data.len().checked_sub(20)?)
}

/// Whether the data of two SOA records is the same, but for the case of names: compression may change it.
pub(super) fn same_soa(a: &[u8], b: &[u8]) -> bool {
    match (a.split_last_chunk::<20>(), b.split_last_chunk::<20>()) {
        (Some((a_names, a_rest)), Some((b_names, b_rest))) => name::same(a_names, b_names) && a_rest == b_rest,
        _ => false,
    }
}

/// The SOA of the zone in the answer section of an answer, if its first record is one.
pub(super) fn first_soa(zone: &Name, header: Header, answer: &[u8], at: usize) -> Result<Option<u32>, Fault> {
    let Some(record) = message::records(answer, header, at).next() else { return Ok(None) };
    let record = record.map_err(|_| Fault::Malformed)?;
    if record.section != Section::Answer {
        return Ok(None);
    }
    let mut expanded = Expanded::default();
    expanded.set(answer, &record).ok_or(Fault::Malformed)?;
    let is_of_zone = expanded.class == CLASS_IN && expanded.owner() == zone.as_wire();
    Ok(expanded.serial().filter(|_| is_of_zone))
}
