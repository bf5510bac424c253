//! Header, question and records of a message, read in place: no allocation, no copy (RFC 1035 §4.1).

use core::ops::Range;

use smallvec::SmallVec;

use super::edns::{self, Edns};
use super::name::{self, HashKey, KeyedName};
use super::rdata::{self, rtype};
use super::{u16_at, u32_at};
use crate::limits::{NAME_OCTETS_MAX, RECORDS_MAX};

/// Octets of a header.
pub const HEADER_OCTETS: usize = 12;

/// Bits of the second header word, and the fields within it.
pub mod flags {
    /// Response.
    pub const QR: u16 = 0x8000;
    /// The four bits of the opcode.
    pub const OPCODE: u16 = 0x7800;
    /// Authoritative answer.
    pub const AA: u16 = 0x0400;
    /// Truncated.
    pub const TC: u16 = 0x0200;
    /// Recursion desired.
    pub const RD: u16 = 0x0100;
    /// Recursion available.
    pub const RA: u16 = 0x0080;
    /// Authentic data (RFC 4035 §3.1.6).
    pub const AD: u16 = 0x0020;
    /// Checking disabled (RFC 4035 §3.1.6).
    pub const CD: u16 = 0x0010;
    /// The four bits of the response code.
    pub const RCODE: u16 = 0x000f;
}

/// Opcodes that are answered (RFC 1035 §4.1.1, RFC 1996 §3.1).
pub mod opcode {
    /// A standard query.
    pub const QUERY: u16 = 0;
    /// A primary says that a zone has changed.
    pub const NOTIFY: u16 = 4;
}

/// Response codes (RFC 1035 §4.1.1, RFC 2136 §2.2, RFC 6891 §9, RFC 7873 §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the code of its name")]
pub enum Rcode {
    NoError = 0,
    FormErr = 1,
    ServFail = 2,
    NxDomain = 3,
    NotImp = 4,
    Refused = 5,
    YxDomain = 6,
    NotAuth = 9,
    BadVers = 16,
    BadCookie = 23,
}

/// The id and flags of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Id.
    pub id: u16,
    /// The second word; see [`flags`].
    pub flags: u16,
    /// Entries of question, answer, authority and additional section, as claimed.
    pub counts: [u16; 4],
}

impl Header {
    /// Reads the header; `None` when the message is shorter than one.
    #[inline]
    pub fn parse(message: &[u8]) -> Option<Header> {
        let octets: &[u8; HEADER_OCTETS] = message.first_chunk()?;
        let word = |i: usize| u16::from_be_bytes([octets[2 * i], octets[2 * i + 1]]);
        Some(Header { id: word(0), flags: word(1), counts: [word(2), word(3), word(4), word(5)] })
    }

    /// Whether all bits of `mask` are set.
    #[inline]
    pub fn has(&self, mask: u16) -> bool {
        self.flags & mask == mask
    }

    /// The opcode; zero is QUERY.
    #[inline]
    pub fn opcode(&self) -> u16 {
        (self.flags & flags::OPCODE) >> 11
    }
}

/// A well-formed request of opcode QUERY or NOTIFY.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// Its header.
    pub header: Header,
    /// Name, type and class of the question, as they came.
    pub question: &'a [u8],
    /// Type asked for.
    pub qtype: u16,
    /// Class asked for.
    pub qclass: u16,
    /// Its OPT record.
    pub edns: Option<Edns<'a>>,
    /// Whether its last record is a TSIG record, which nobody has looked at (RFC 8945 §5.2).
    pub is_signed: bool,
}

/// A request that does not parse: FORMERR (RFC 1035 §4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl<'a> Query<'a> {
    /// Reads a request behind its header; the name asked for goes to `name`.
    ///
    /// Malformed are: other than one question; a name in it that is compressed or too long; sections that run past the
    /// end or stop before it; a second OPT, one with an owner name, or one outside the additional section; a TSIG that is
    /// not the last record of that section.
    #[inline]
    pub fn parse(
        header: Header,
        message: &'a [u8],
        key: &HashKey,
        name: &mut KeyedName,
    ) -> Result<Query<'a>, Malformed> {
        if header.counts[0] != 1 {
            return Err(Malformed);
        }
        let after_header = message.get(HEADER_OCTETS..).ok_or(Malformed)?;
        let name_octets = name.set(key, after_header).ok_or(Malformed)?;
        Query::parse_behind_name(header, message, name_octets)
    }

    /// The same, where the name of the one question is known to be one, of so many octets.
    #[inline]
    pub(crate) fn parse_behind_name(
        header: Header,
        message: &'a [u8],
        name_octets: usize,
    ) -> Result<Query<'a>, Malformed> {
        let after_header = message.get(HEADER_OCTETS..).ok_or(Malformed)?;
        let question = after_header.get(..name_octets + 4).ok_or(Malformed)?;
        let [.., t0, t1, c0, c1] = *question else { return Err(Malformed) };
        let mut query = Query {
            header,
            question,
            qtype: u16::from_be_bytes([t0, t1]),
            qclass: u16::from_be_bytes([c0, c1]),
            edns: None,
            is_signed: false,
        };
        let behind = &after_header[question.len()..];
        query.edns = match header.counts {
            [_, 0, 0, 1] => Edns::plain(behind),
            _ => None,
        };
        if query.edns.is_none() && (header.counts[1..] != [0; 3] || !behind.is_empty()) {
            query.parse_records(message)?;
        }
        Ok(query)
    }

    /// Reads what stands behind the question.
    #[inline(never)] // Most requests have nothing there, or a plain OPT record.
    fn parse_records(&mut self, message: &'a [u8]) -> Result<(), Malformed> {
        let query = self;
        let [_, answers, authorities, additionals] = query.header.counts;
        let mut at = HEADER_OCTETS + query.question.len();
        let before = usize::from(answers) + usize::from(authorities);
        let records = before + usize::from(additionals);
        if records > RECORDS_MAX {
            return Err(Malformed);
        }
        for i in 0..records {
            let type_at = name::skip(message, at).ok_or(Malformed)?;
            let (class, ttl, data) = edns::fixed(message, type_at).ok_or(Malformed)?;
            let options = message.get(data.clone()).ok_or(Malformed)?;
            match u16_at(message, type_at) {
                Some(rtype::OPT) => {
                    let misplaced = i < before || message[at] != 0 || query.edns.is_some();
                    if misplaced {
                        return Err(Malformed);
                    }
                    query.edns = Some(Edns::parse(class, ttl, options).ok_or(Malformed)?);
                }
                Some(rtype::TSIG) => {
                    let misplaced = i < before || i + 1 < records;
                    if misplaced {
                        return Err(Malformed);
                    }
                    query.is_signed = true;
                }
                _ => {}
            }
            at = data.end;
        }
        if at != message.len() {
            return Err(Malformed);
        }
        Ok(())
    }
}

/// Sections of records, in the order of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each is the section of its name")]
pub enum Section {
    Answer = 1,
    Authority = 2,
    Additional = 3,
}

/// A record of a message, read in place.
#[derive(Clone, Debug)]
pub struct Record {
    /// The section it stands in.
    pub section: Section,
    /// Where its owner name begins.
    pub owner_at: usize,
    /// Its type.
    pub rtype: u16,
    /// Its class.
    pub class: u16,
    /// Its TTL, as it came.
    pub ttl: u32,
    /// Where its TTL stands.
    pub ttl_at: usize,
    /// Where its data stands.
    pub data: Range<usize>,
}

/// Walks the records that begin at `at`. An `Err` is the last item: the rest of the message does not parse.
///
/// Owner names, and names in the data of the types whose names may be compressed (RFC 3597 §4), are checked to be whole,
/// and to stand neither in the header nor in the fixed fields of a record: those change while a message is passed on.
pub fn records(message: &[u8], header: Header, at: usize) -> impl Iterator<Item = Result<Record, Malformed>> {
    let [_, answers, authorities, additionals] = header.counts;
    let ends = [answers.into(), usize::from(answers) + usize::from(authorities)];
    let total = ends[1] + usize::from(additionals);
    let mut at = at;
    let mut i = 0;
    let mut failed = total > RECORDS_MAX;
    let mut report = failed;
    let mut fixed = FixedFields::default();
    core::iter::from_fn(move || {
        if core::mem::take(&mut report) {
            return Some(Err(Malformed));
        }
        if failed || i == total {
            return None;
        }
        let section = match i {
            i if i < ends[0] => Section::Answer,
            i if i < ends[1] => Section::Authority,
            _ => Section::Additional,
        };
        i += 1;
        let record = record(message, section, at, &mut fixed);
        match &record {
            Some(record) => at = record.data.end,
            None => failed = true,
        }
        Some(record.ok_or(Malformed))
    })
}

/// Where the fixed fields of the records begin that were walked so far, in ascending order.
#[derive(Default)]
struct FixedFields(SmallVec<[u16; 16]>);

/// Octets of type, class, TTL and length of data.
const FIXED_OCTETS: usize = 10;

impl FixedFields {
    /// Whether a name may stand in this stretch of the message.
    fn leave_out(&self, stretch: Range<usize>) -> bool {
        let behind = self.0.partition_point(|&at| usize::from(at) + FIXED_OCTETS <= stretch.start);
        let next = self.0.get(behind).map_or(usize::MAX, |&at| at.into());
        HEADER_OCTETS <= stretch.start && stretch.end <= next
    }
}

/// Reads and checks the record at `at`.
fn record(message: &[u8], section: Section, at: usize, fixed: &mut FixedFields) -> Option<Record> {
    let mut scratch = [0; NAME_OCTETS_MAX];
    let (_, type_at) = name::walk(message, at, &mut scratch, |stretch| fixed.leave_out(stretch))?;
    fixed.0.push(u16::try_from(type_at).ok()?);
    let data_at = type_at + FIXED_OCTETS;
    let length = usize::from(u16_at(message, type_at + 8)?);
    let record = Record {
        section,
        owner_at: at,
        rtype: u16_at(message, type_at)?,
        class: u16_at(message, type_at + 2)?,
        ttl: u32_at(message, type_at + 4)?,
        ttl_at: type_at + 4,
        data: data_at..data_at + length,
    };
    if record.data.end > message.len() {
        return None;
    }
    if let Some(layout) = rdata::layout(record.rtype) {
        let mut name_at = data_at + layout.before;
        for _ in 0..layout.names {
            (_, name_at) = name::walk(message, name_at, &mut scratch, |stretch| fixed.leave_out(stretch))?;
        }
        let fixed_tail = if record.rtype == rtype::SOA { 20 } else { 0 };
        let open_ended = matches!(record.rtype, rtype::SVCB | rtype::HTTPS);
        let fits = if open_ended { name_at <= record.data.end } else { name_at + fixed_tail == record.data.end };
        if !fits {
            return None;
        }
    }
    Some(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> HashKey {
        HashKey::from_seed([7; 16])
    }

    fn parse(message: &[u8]) -> Result<Query<'_>, Malformed> {
        Query::parse(Header::parse(message).unwrap(), message, &key(), &mut KeyedName::default())
    }

    const HEADER: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0";
    const QUESTION: &[u8] = b"\x03wWw\x04test\0\0\x01\0\x01";
    const OPT: &[u8] = b"\0\0\x29\x04\xd0\0\0\x80\0\0\0";
    const TSIG: &[u8] = b"\x03key\0\0\xfa\0\xff\0\0\0\0\0\x03abc";

    fn message(counts: [u8; 4], parts: &[&[u8]]) -> Vec<u8> {
        let mut message = HEADER.to_vec();
        for (i, count) in counts.into_iter().enumerate() {
            message[5 + 2 * i] = count;
        }
        message.extend(parts.concat());
        message
    }

    #[test]
    fn a_plain_and_an_edns_query_are_read() {
        let plain = message([1, 0, 0, 0], &[QUESTION]);
        let mut name = KeyedName::default();
        let query = Query::parse(Header::parse(&plain).unwrap(), &plain, &key(), &mut name).unwrap();
        assert_eq!((query.header.id, query.qtype, query.qclass), (0x1234, 1, 1));
        assert_eq!((query.question, name.as_wire()), (QUESTION, &b"\x03www\x04test\0"[..]));
        assert!(query.edns.is_none());
        let with_opt = message([1, 0, 0, 1], &[QUESTION, OPT]);
        let edns = parse(&with_opt).unwrap().edns.unwrap();
        assert_eq!((edns.payload, edns.dnssec_ok), (1232, true));
        let signed = message([1, 0, 0, 2], &[QUESTION, OPT, TSIG]);
        let signed = parse(&signed).unwrap();
        assert!(signed.is_signed && signed.edns.is_some() && !parse(&with_opt).unwrap().is_signed);
        let other = b"\xc0\x0c\0\x01\0\x01\0\0\0\0\0\0";
        assert!(parse(&message([1, 1, 0, 2], &[QUESTION, other, other, OPT])).unwrap().edns.is_some());
    }

    #[test]
    fn malformed_requests_are_told() {
        let named_opt = b"\x01a\0\0\x29\x04\xd0\0\0\0\0\0\0";
        for (what, message) in [
            ("no question", message([0, 0, 0, 0], &[])),
            ("two questions", message([2, 0, 0, 0], &[QUESTION, QUESTION])),
            ("no question octets", message([1, 0, 0, 0], &[])),
            ("name cut", message([1, 0, 0, 0], &[b"\x03ww"])),
            ("class cut", message([1, 0, 0, 0], &[b"\x03www\0\0\x01\0"])),
            ("compressed name", message([1, 0, 0, 0], &[b"\xc0\x0c\0\x01\0\x01"])),
            ("two OPT", message([1, 0, 0, 2], &[QUESTION, OPT, OPT])),
            ("OPT with a name", message([1, 0, 0, 1], &[QUESTION, named_opt])),
            ("OPT among the answers", message([1, 1, 0, 0], &[QUESTION, OPT])),
            ("counts past the end", message([1, 0, 0, 2], &[QUESTION, OPT])),
            ("TSIG before OPT", message([1, 0, 0, 2], &[QUESTION, TSIG, OPT])),
            ("two TSIG", message([1, 0, 0, 2], &[QUESTION, TSIG, TSIG])),
            ("TSIG among the authorities", message([1, 0, 1, 0], &[QUESTION, TSIG])),
            ("rest behind the last record", message([1, 0, 0, 1], &[QUESTION, OPT, b"x"])),
            ("option past the end", message([1, 0, 0, 1], &[QUESTION, b"\0\0\x29\x04\xd0\0\0\0\0\0\x04\0\x03\0\x01"])),
            ("data past the end", message([1, 0, 0, 1], &[QUESTION, b"\0\0\x29\x04\xd0\0\0\0\0\0\x04"])),
        ] {
            assert_eq!(parse(&message).unwrap_err(), Malformed, "{what}");
        }
        let mut many = message([1, 0, 0, 0], &[QUESTION]);
        many[6..8].copy_from_slice(&u16::MAX.to_be_bytes());
        assert!(parse(&many).is_err());
        assert!(Header::parse(&HEADER[..11]).is_none());
    }

    #[test]
    fn records_are_walked_and_their_names_checked() {
        let cname = b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x04\x01a\xc0\x10";
        let a = b"\xc0\x26\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01";
        let good = message([1, 2, 0, 1], &[QUESTION, cname, a, OPT]);
        let header = Header::parse(&good).unwrap();
        let walked: Vec<_> = records(&good, header, 26).map(|r| r.unwrap()).collect();
        assert_eq!(
            walked.iter().map(|r| (r.section, r.rtype, r.ttl)).collect::<Vec<_>>()[..2],
            [(Section::Answer, 5, 60), (Section::Answer, 1, 60),]
        );
        assert_eq!(&good[walked[1].data.clone()], [192, 0, 2, 1]);
        for (what, record) in [
            ("rdata name loops", &b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x02\xc0\x26"[..]),
            ("rdata name runs over", b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x01\x01a\0"),
            ("rest behind rdata name", b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x03\xc0\x0c\0"),
            ("short SOA", b"\xc0\x0c\0\x06\0\x01\0\0\0\x3c\0\x04\xc0\x0c\xc0\x0c"),
            ("owner points forward", b"\xc0\x40\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01"),
            ("data past the end", b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02"),
        ] {
            let bad = message([1, 1, 0, 0], &[QUESTION, record]);
            let walked: Vec<_> = records(&bad, Header::parse(&bad).unwrap(), 26).collect();
            assert!(matches!(walked[..], [Err(Malformed)]), "{what}");
        }
    }
}
