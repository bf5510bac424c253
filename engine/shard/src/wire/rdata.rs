//! Types, and where names stand in the data of a record.

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
    pub const PX: u16 = 26;
    pub const AAAA: u16 = 28;
    pub const NXT: u16 = 30;
    pub const SRV: u16 = 33;
    pub const NAPTR: u16 = 35;
    pub const KX: u16 = 36;
    pub const DNAME: u16 = 39;
    pub const OPT: u16 = 41;
    pub const DS: u16 = 43;
    pub const RRSIG: u16 = 46;
    pub const NSEC: u16 = 47;
    pub const DNSKEY: u16 = 48;
    pub const NSEC3: u16 = 50;
    pub const NSEC3PARAM: u16 = 51;
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
pub fn layout(rtype: u16) -> Option<Layout> {
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
