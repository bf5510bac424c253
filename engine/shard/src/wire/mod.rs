//! DNS messages: parsed in place, written in place into the caller's buffer (RFC 1035 §4, RFC 2181, RFC 6891).
//!
//! | module | owns |
//! |---|---|
//! | [`name`] | names: folding, hashing, comparing, compression pointers read |
//! | [`index`] | tables by the hash of a name |
//! | [`message`] | header, question, records: read |
//! | [`edns`] | the OPT record, its options, extended errors |
//! | [`rdata`] | types, and where names stand in the data of a record |
//! | [`serial`] | which of two serials is the later one |
//! | [`writer`] | messages written, names compressed, cut at RRset boundaries |

pub mod edns;
pub mod index;
pub mod message;
pub mod name;
pub mod rdata;
pub mod serial;
pub mod writer;

/// Reads two octets at `at`.
#[inline]
pub(crate) fn u16_at(octets: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*octets.get(at..)?.first_chunk()?))
}

/// Reads four octets at `at`.
#[inline]
pub(crate) fn u32_at(octets: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*octets.get(at..)?.first_chunk()?))
}
