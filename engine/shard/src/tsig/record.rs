//! The TSIG record: found in a message, written behind one (RFC 8945 §4.2).

use crate::limits::{NAME_OCTETS_MAX, RECORDS_MAX};
use crate::wire::message::{HEADER_OCTETS, Header};
use crate::wire::name;
use crate::wire::rdata::{CLASS_ANY, rtype};
use crate::wire::{u16_at, u32_at};

/// Octets of a time.
pub(super) const TIME_OCTETS: usize = 6;

/// A TSIG record (RFC 8945 §4.2).
#[derive(Clone, Copy, Debug)]
pub(super) struct TsigRecord<'m> {
    /// The key's name.
    pub(super) owner: &'m [u8],
    pub(super) algorithm: &'m [u8],
    pub(super) time_signed: u64,
    pub(super) fudge: u16,
    pub(super) mac: &'m [u8],
    pub(super) original_id: u16,
    pub(super) error: u16,
    pub(super) other: &'m [u8],
}

impl TsigRecord<'_> {
    pub(super) fn to_vec(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.owner.len() + self.algorithm.len() + self.mac.len() + 40);
        out.extend(self.owner);
        out.extend(rtype::TSIG.to_be_bytes());
        out.extend(CLASS_ANY.to_be_bytes());
        out.extend([0; 4]);
        let data_octets = self.algorithm.len() + TIME_OCTETS + 10 + self.mac.len() + self.other.len();
        out.extend((data_octets as u16).to_be_bytes());
        out.extend(self.algorithm);
        out.extend(&self.time_signed.to_be_bytes()[2..]);
        out.extend(self.fudge.to_be_bytes());
        out.extend((self.mac.len() as u16).to_be_bytes());
        out.extend(self.mac);
        out.extend(self.original_id.to_be_bytes());
        out.extend(self.error.to_be_bytes());
        out.extend((self.other.len() as u16).to_be_bytes());
        out.extend(self.other);
        out
    }
}

/// What [`look`] finds.
pub(super) enum Look<'m> {
    /// No TSIG record as far as the message parses.
    None,
    /// One, in the last place of the message.
    Found(Found<'m>),
    /// One that is cut, or in another place.
    Malformed,
}

/// A TSIG record of a message.
pub(super) struct Found<'m> {
    /// Where it begins.
    pub(super) start: usize,
    /// The key's name, uncompressed.
    pub(super) owner: Vec<u8>,
    pub(super) algorithm: Vec<u8>,
    pub(super) time_signed: u64,
    pub(super) fudge: u16,
    pub(super) mac: &'m [u8],
    pub(super) error: u16,
}

impl Found<'_> {
    /// The record, but for what an answer has in its own way.
    pub(super) fn record(&self) -> TsigRecord<'_> {
        TsigRecord {
            owner: &self.owner,
            algorithm: &self.algorithm,
            time_signed: self.time_signed,
            fudge: self.fudge,
            mac: self.mac,
            original_id: 0,
            error: self.error,
            other: &[],
        }
    }
}

/// Looks for the TSIG record of a message. There may be one, as the last record of the additional section, and nothing
/// may stand behind it (RFC 8945 §5.1, §5.2).
pub(super) fn look(message: &[u8]) -> Look<'_> {
    look_for(message).unwrap_or(Look::None)
}

/// As [`look`]; `None` where the message does not parse.
fn look_for(message: &[u8]) -> Option<Look<'_>> {
    let header = Header::parse(message)?;
    let [questions, answers, authorities, additionals] = header.counts.map(usize::from);
    let mut at = HEADER_OCTETS;
    for _ in 0..questions {
        at = name::skip(message, at)? + 4;
    }
    let records = answers + authorities + additionals;
    if records > RECORDS_MAX {
        return None;
    }
    for i in 0..records {
        let type_at = name::skip(message, at)?;
        let end = type_at + 10 + usize::from(u16_at(message, type_at + 8)?);
        if u16_at(message, type_at)? == rtype::TSIG {
            let in_place = i + 1 == records && additionals > 0 && end == message.len();
            let found = if in_place { read(message, at, type_at) } else { None };
            return Some(found.map_or(Look::Malformed, Look::Found));
        }
        at = end;
    }
    Some(Look::None)
}

/// Reads the TSIG record that begins at `start` and ends with the message.
fn read(message: &[u8], start: usize, type_at: usize) -> Option<Found<'_>> {
    let mut scratch = [0; NAME_OCTETS_MAX];
    let (octets, _) = name::expand(message, start, &mut scratch)?;
    let owner = scratch[..octets].to_vec();
    if u16_at(message, type_at + 2)? != CLASS_ANY || u32_at(message, type_at + 4)? != 0 {
        return None;
    }
    let (octets, at) = name::expand(message, type_at + 10, &mut scratch)?;
    let algorithm = scratch[..octets].to_vec();
    let time_signed = u64::from(u16_at(message, at)?) << 32 | u64::from(u32_at(message, at + 2)?);
    let fudge = u16_at(message, at + 6)?;
    let mac_at = at + 10;
    let mac = message.get(mac_at..mac_at + usize::from(u16_at(message, at + 8)?))?;
    let rest = message.get(mac_at + mac.len()..)?;
    let (error, other_octets) = (u16_at(rest, 2)?, u16_at(rest, 4)?);
    (rest.len() == 6 + usize::from(other_octets)).then_some(Found {
        start,
        owner,
        algorithm,
        time_signed,
        fudge,
        mac,
        error,
    })
}

/// Appends a record to the additional section of a message.
pub(super) fn append(buffer: &mut [u8], octets: usize, record: &[u8]) -> Option<usize> {
    let end = octets + record.len();
    let additionals = u16_at(buffer.get(..octets)?, 10)?.checked_add(1)?;
    buffer.get_mut(octets..end)?.copy_from_slice(record);
    buffer[10..HEADER_OCTETS].copy_from_slice(&additionals.to_be_bytes());
    Some(end)
}
