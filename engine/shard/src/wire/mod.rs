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

/// Octets from which a call of the library's copy or comparison costs less than steps in place.
const SHORT_OCTETS: usize = 96;
/// Octets of such a step.
const STEP: usize = 16;

/// Copies `octets` to `at` of `out`, where there must be room. For the few octets that names and records have this takes
/// half of the instructions of a call: steps of 16, the last of which overlaps the one before.
#[inline]
pub(crate) fn copy(out: &mut [u8], at: usize, octets: &[u8]) {
    let out = &mut out[at..at + octets.len()];
    if octets.len() > SHORT_OCTETS {
        out.copy_from_slice(octets);
    } else if let (Some(last), Some(out_last)) = (octets.last_chunk::<STEP>(), out.last_chunk_mut()) {
        *out_last = *last;
        for (to, from) in out.as_chunks_mut::<STEP>().0.iter_mut().zip(octets.as_chunks().0) {
            *to = *from;
        }
    } else if let (Some(first), Some(last)) = (octets.first_chunk::<8>(), octets.last_chunk::<8>()) {
        *out.first_chunk_mut().expect("as long as the octets") = *first;
        *out.last_chunk_mut().expect("as long as the octets") = *last;
    } else {
        for (to, from) in out.iter_mut().zip(octets) {
            *to = *from;
        }
    }
}

/// Whether both are the same octets: names, in as few steps.
#[inline]
pub(crate) fn is_same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let word = |octets: &[u8; STEP]| u128::from_le_bytes(*octets);
    match (a.last_chunk::<STEP>(), b.last_chunk::<STEP>()) {
        (Some(a_last), Some(b_last)) => {
            let steps = a.as_chunks::<STEP>().0.iter().zip(b.as_chunks().0);
            word(a_last) == word(b_last) && steps.into_iter().all(|(a, b)| word(a) == word(b))
        }
        _ => match (a.first_chunk(), b.first_chunk(), a.last_chunk(), b.last_chunk()) {
            (Some(a_first), Some(b_first), Some(a_last), Some(b_last)) => {
                let word = |octets: &[u8; 8]| u64::from_le_bytes(*octets);
                word(a_first) == word(b_first) && word(a_last) == word(b_last)
            }
            _ => a.iter().zip(b).all(|(a, b)| a == b),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_whole_and_touch_nothing_else() {
        let octets: Vec<u8> = (0..200).collect();
        for length in 0..octets.len() {
            let mut out = [0xee; 240];
            copy(&mut out, 20, &octets[..length]);
            assert_eq!(out[20..20 + length], octets[..length]);
            assert!(out[..20].iter().chain(&out[20 + length..]).all(|&octet| octet == 0xee), "{length}");
        }
    }

    #[test]
    fn every_octet_counts_in_a_comparison() {
        let octets: Vec<u8> = (0..100).collect();
        for length in 0..octets.len() {
            let mut other = octets[..length].to_vec();
            assert!(is_same(&octets[..length], &other));
            assert!(!is_same(&octets[..length + 1], &other));
            for at in 0..length {
                other[at] ^= 0x80;
                assert!(!is_same(&octets[..length], &other), "{at} of {length}");
                other[at] ^= 0x80;
            }
        }
    }
}
