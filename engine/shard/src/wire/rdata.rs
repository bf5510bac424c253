//! Types, where names stand in the data of a record, and when the data of two is the same.

use core::cmp::Ordering;

use super::name;

/// Types that the engine treats in a way of their own (IANA "Resource Record (RR) TYPEs").
pub mod rtype {
    #![allow(missing_docs, reason = "each is the type of its name")]
    pub const A: u16 = 1;
    pub const NS: u16 = 2;
    pub const MD: u16 = 3;
    pub const MF: u16 = 4;
    pub const CNAME: u16 = 5;
    pub const SOA: u16 = 6;
    pub const MB: u16 = 7;
    pub const MG: u16 = 8;
    pub const MR: u16 = 9;
    pub const PTR: u16 = 12;
    pub const HINFO: u16 = 13;
    pub const MINFO: u16 = 14;
    pub const MX: u16 = 15;
    pub const TXT: u16 = 16;
    pub const RP: u16 = 17;
    pub const AFSDB: u16 = 18;
    pub const RT: u16 = 21;
    pub const SIG: u16 = 24;
    pub const PX: u16 = 26;
    pub const AAAA: u16 = 28;
    pub const NXT: u16 = 30;
    pub const SRV: u16 = 33;
    pub const NAPTR: u16 = 35;
    pub const KX: u16 = 36;
    pub const A6: u16 = 38;
    pub const DNAME: u16 = 39;
    pub const OPT: u16 = 41;
    pub const DS: u16 = 43;
    pub const RRSIG: u16 = 46;
    pub const NSEC: u16 = 47;
    pub const DNSKEY: u16 = 48;
    pub const NSEC3: u16 = 50;
    pub const NSEC3PARAM: u16 = 51;
    pub const CDS: u16 = 59;
    pub const CDNSKEY: u16 = 60;
    pub const CSYNC: u16 = 62;
    pub const ZONEMD: u16 = 63;
    pub const SVCB: u16 = 64;
    pub const HTTPS: u16 = 65;
    pub const TKEY: u16 = 249;
    pub const TSIG: u16 = 250;
    pub const IXFR: u16 = 251;
    pub const AXFR: u16 = 252;
    pub const MAILB: u16 = 253;
    pub const MAILA: u16 = 254;
    pub const ANY: u16 = 255;
}

/// Class IN.
pub const CLASS_IN: u16 = 1;
/// Class CHAOS.
pub const CLASS_CHAOS: u16 = 3;
/// Class ANY, of questions and of TSIG records.
pub const CLASS_ANY: u16 = 255;

/// How the data of a record begins: octets to pass over, then names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Octets before the first name.
    pub before: usize,
    /// Names, one behind the other.
    pub names: usize,
    /// Whether a sender may compress these names: the types of RFC 1035 alone (RFC 3597 §4).
    pub compressible: bool,
}

/// Where names stand in the data of `rtype`, for the types in which a received name may be compressed (RFC 3597 §4) or
/// that lead to additional records. `None`: no names, or none that we must know of.
#[inline]
pub const fn layout(rtype: u16) -> Option<Layout> {
    let (before, names, compressible) = match rtype {
        rtype::NS | rtype::CNAME | rtype::PTR | rtype::MB | rtype::MD | rtype::MF | rtype::MG | rtype::MR => {
            (0, 1, true)
        }
        rtype::SOA | rtype::MINFO => (0, 2, true),
        rtype::MX => (2, 1, true),
        rtype::DNAME => (0, 1, false),
        rtype::RP => (0, 2, false),
        rtype::AFSDB | rtype::RT | rtype::KX => (2, 1, false),
        rtype::PX => (2, 2, false),
        rtype::SRV => (6, 1, false),
        rtype::SVCB | rtype::HTTPS => (2, 1, false),
        _ => return None,
    };
    Some(Layout { before, names, compressible })
}

/// Whether the data of `rtype` has neither names that a sender may compress nor names that lead to additional records: as
/// [`layout`] has it.
#[inline(always)]
pub fn is_opaque(rtype: u16) -> bool {
    const WITH_NAMES: u128 = {
        let (mut types, mut rtype) = (0, 0);
        while rtype < 128 {
            if layout(rtype).is_some() {
                types |= 1 << rtype;
            }
            rtype += 1;
        }
        types
    };
    match rtype {
        0..64 => (WITH_NAMES as u64) >> rtype & 1 == 0,
        64..128 => ((WITH_NAMES >> 64) as u64) >> (rtype - 64) & 1 == 0,
        _ => true,
    }
}

/// Where the name stands in the data of `rtype` whose addresses are worth adding (RFC 1035 §3.3.9 and §3.3.11,
/// RFC 2782, RFC 9460 §4.1).
#[inline]
pub fn additional_name(rtype: u16) -> Option<usize> {
    match rtype {
        rtype::NS => Some(0),
        rtype::MX | rtype::SVCB | rtype::HTTPS => Some(2),
        rtype::SRV => Some(6),
        _ => None,
    }
}

/// The order of the data of two records of one type; equal where they are the same record: names in data are compared
/// without regard to case (RFC 4034 §6.2, RFC 4343 §3), since whoever compressed them may have changed it.
pub fn order(rtype: u16, a: &[u8], b: &[u8]) -> Ordering {
    let Some(layout) = layout(rtype) else { return a.cmp(b) };
    let ((a_begin, a_names, a_end), (b_begin, b_names, b_end)) = (parts(&layout, a), parts(&layout, b));
    let folded = |names: &'_ [u8]| names.to_ascii_lowercase();
    let names = if a_names == b_names { Ordering::Equal } else { folded(a_names).cmp(&folded(b_names)) };
    a_begin.cmp(b_begin).then(names).then_with(|| a_end.cmp(b_end))
}

/// What stands before the names in data, the names, and what stands behind them.
fn parts<'d>(layout: &Layout, data: &'d [u8]) -> (&'d [u8], &'d [u8], &'d [u8]) {
    let (before, rest) = data.split_at(layout.before.min(data.len()));
    let mut names = 0;
    for _ in 0..layout.names {
        names += name::measure(&rest[names..]).unwrap_or(0);
    }
    let (names, behind) = rest.split_at(names);
    (before, names, behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opaque_is_what_has_no_layout() {
        assert!((0..=u16::MAX).all(|rtype| is_opaque(rtype) == layout(rtype).is_none()));
    }

    #[test]
    fn case_does_not_tell_names_in_data_apart() {
        let mx = |name: &[u8]| [&[0, 5], name].concat();
        assert_eq!(order(rtype::MX, &mx(b"\x01a\x04test\0"), &mx(b"\x01A\x04TEST\0")), Ordering::Equal);
        assert_eq!(order(rtype::MX, &mx(b"\x01B\0"), &mx(b"\x01a\0")), Ordering::Greater);
        assert_eq!(order(rtype::MX, &[0, 65, 0], &[0, 97, 0]), Ordering::Less, "a number is no name");
        assert_eq!(order(rtype::TXT, b"\x01A", b"\x01a"), Ordering::Less, "a text is no name");
        let svcb = |name: &[u8], rest: &[u8]| [&[0, 1], name, rest].concat();
        assert_eq!(order(rtype::SVCB, &svcb(b"\x01a\0", b"A"), &svcb(b"\x01A\0", b"a")), Ordering::Less);
        assert_eq!(order(rtype::MX, &[0], &[0, 1]), Ordering::Less, "whatever the octets");
    }
}
