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

/// Copies `octets` to `at` of `out`, where there must be room. For the few octets that names and records have this takes
/// a third of the instructions of a call: two steps of a size that overlap.
#[inline(always)] // A call would cost as much as it spares.
pub(crate) fn copy(out: &mut [u8], at: usize, octets: &[u8]) {
    let out = &mut out[at..at + octets.len()];
    match octets.len() {
        16..=32 => copy_ends::<16>(out, octets),
        33..=64 => copy_ends::<32>(out, octets),
        8..=15 => copy_ends::<8>(out, octets),
        _ => out.copy_from_slice(octets),
    }
}

/// Copies the first and the last `N` octets, which are all that there are.
#[inline(always)]
fn copy_ends<const N: usize>(out: &mut [u8], octets: &[u8]) {
    if let (Some(first), Some(last)) = (octets.first_chunk::<N>(), octets.last_chunk::<N>())
        && let Some(out_first) = out.first_chunk_mut()
    {
        *out_first = *first;
        if let Some(out_last) = out.last_chunk_mut() {
            *out_last = *last;
        }
    }
}

/// Whether both are the same octets: names and requests, in as few steps.
#[inline(always)]
pub(crate) fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len()
        && match is_same_of_usual_length(a, b) {
            Some(is_same) => is_same,
            None => a == b,
        }
}

/// Whether both are the same name of usual length; another one is left to the caller. So nothing is called, and a
/// function whose short way has this saves no registers for it.
#[inline(always)]
pub(crate) fn is_same_name(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && is_same_of_usual_length(a, b) == Some(true)
}

/// Whether as many octets are the same; `None`: they are too many, or too few, to be told in a few steps.
#[inline(always)]
fn is_same_of_usual_length(a: &[u8], b: &[u8]) -> Option<bool> {
    // One after the other: a match of these ranges takes more steps.
    if a.len() >= 16 {
        if a.len() <= 32 {
            Some(has_same_ends::<16>(a, b))
        } else if a.len() <= 48 {
            Some(a.first_chunk::<16>() == b.first_chunk::<16>() && has_same_ends::<16>(&a[16..], &b[16..]))
        } else {
            None
        }
    } else if a.len() >= 8 {
        Some(has_same_ends::<8>(a, b))
    } else if a.len() >= 4 {
        Some(has_same_ends::<4>(a, b))
    } else {
        // A name of one octet is the root.
        if a.len() == 1 { Some(a[0] == b[0]) } else { None }
    }
}

/// Whether the first and the last `N` octets are the same.
#[inline(always)]
fn has_same_ends<const N: usize>(a: &[u8], b: &[u8]) -> bool {
    match (a.first_chunk::<N>(), b.first_chunk::<N>(), a.last_chunk::<N>(), b.last_chunk::<N>()) {
        (Some(a_first), Some(b_first), Some(a_last), Some(b_last)) => a_first == b_first && a_last == b_last,
        _ => false,
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
