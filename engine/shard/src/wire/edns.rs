//! The OPT record (RFC 6891), its options, cookies among them (RFC 7873), and extended errors (RFC 8914).

use super::message::{HEADER_OCTETS, Header};
use super::rdata::rtype;
use super::{name, u16_at, u32_at};
use crate::limits::{UDP_PLAIN_OCTETS_MAX, UDP_REPLY_OCTETS_MAX};

/// The version of EDNS that we speak.
pub const VERSION: u8 = 0;
/// The DO bit among the flags.
pub const DNSSEC_OK: u16 = 0x8000;
/// Octets of an OPT record without options.
pub const OPT_OCTETS: usize = 11;

/// An OPT record, read in place.
#[derive(Clone, Copy, Debug)]
pub struct Edns<'a> {
    /// Octets of UDP payload that the sender takes.
    pub payload: u16,
    /// The upper eight bits of the response code.
    pub extended_rcode: u8,
    /// The sender's version.
    pub version: u8,
    /// DO: the sender wants DNSSEC records.
    pub dnssec_ok: bool,
    /// The options, known to be well-formed.
    options: &'a [u8],
}

/// An option of an OPT record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdnsOption<'a> {
    /// NSID (RFC 5001), code 3.
    Nsid(&'a [u8]),
    /// A cookie (RFC 7873 §4), code 10: the client's part, and the server's behind it, of whatever length they came.
    Cookie(&'a [u8]),
    /// edns-tcp-keepalive (RFC 7828), code 11: the time-out in tenths of a second, in replies.
    Keepalive(Option<u16>),
    /// An extended error (RFC 8914), code 15: info code and text.
    ExtendedError(u16, &'a [u8]),
    /// Any other, as it came.
    Unknown {
        /// Its code.
        code: u16,
        /// Its data.
        data: &'a [u8],
    },
}

/// Code of NSID.
pub const NSID: u16 = 3;
/// Code of client subnets (RFC 7871).
pub const CLIENT_SUBNET: u16 = 8;
/// Code of cookies.
pub const COOKIE: u16 = 10;
/// Code of edns-tcp-keepalive.
pub const KEEPALIVE: u16 = 11;
/// Code of extended errors.
pub const EXTENDED_ERROR: u16 = 15;

impl<'a> Edns<'a> {
    /// From the class, the TTL and the data of an OPT record (RFC 6891 §6.1.2). `None` when the options are malformed.
    pub fn parse(class: u16, ttl: u32, options: &'a [u8]) -> Option<Edns<'a>> {
        let mut rest = options;
        while !rest.is_empty() {
            let length = usize::from(u16_at(rest, 2)?);
            rest = rest.get(4 + length..)?;
        }
        Some(Edns {
            payload: class,
            extended_rcode: (ttl >> 24) as u8,
            version: (ttl >> 16) as u8,
            dnssec_ok: ttl as u16 & DNSSEC_OK != 0,
            options,
        })
    }

    /// The OPT record that fills `octets`, where it has no options: what most requests end in.
    #[inline(always)]
    pub(crate) fn plain(octets: &'a [u8]) -> Option<Edns<'a>> {
        const OPT: [u8; 2] = rtype::OPT.to_be_bytes();
        match *<&[u8; OPT_OCTETS]>::try_from(octets).ok()? {
            [0, t0, t1, p0, p1, extended_rcode, version, f0, f1, 0, 0] if [t0, t1] == OPT => Some(Edns {
                payload: u16::from_be_bytes([p0, p1]),
                extended_rcode,
                version,
                dnssec_ok: u16::from_be_bytes([f0, f1]) & DNSSEC_OK != 0,
                options: &[],
            }),
            _ => None,
        }
    }

    /// The options in order; those that this engine does not know are kept apart as [`EdnsOption::Unknown`].
    pub fn options(&self) -> impl Iterator<Item = EdnsOption<'a>> {
        let mut rest = self.options;
        core::iter::from_fn(move || {
            let code = u16_at(rest, 0)?;
            let length = usize::from(u16_at(rest, 2)?);
            let data = rest.get(4..4 + length)?;
            rest = &rest[4 + length..];
            Some(match (code, data.len()) {
                (NSID, _) => EdnsOption::Nsid(data),
                (COOKIE, _) => EdnsOption::Cookie(data),
                (KEEPALIVE, 0) => EdnsOption::Keepalive(None),
                (KEEPALIVE, 2) => EdnsOption::Keepalive(u16_at(data, 0)),
                (EXTENDED_ERROR, 2..) => EdnsOption::ExtendedError(u16::from_be_bytes([data[0], data[1]]), &data[2..]),
                _ => EdnsOption::Unknown { code, data },
            })
        })
    }

    /// The cookie, where there is one; a second one counts for nothing (RFC 7873 §5).
    #[inline]
    pub fn cookie(&self) -> Option<&'a [u8]> {
        self.options().find_map(|option| match option {
            EdnsOption::Cookie(data) => Some(data),
            _ => None,
        })
    }

    /// The OPT record of a message that has nothing else but a header (RFC 7873 §5.4); `None`: the message is another
    /// one, or malformed.
    pub fn alone(header: Header, message: &'a [u8]) -> Option<Edns<'a>> {
        let type_at = name::skip(message, HEADER_OCTETS)?;
        let (class, ttl, data) = fixed(message, type_at)?;
        let is_alone = header.counts == [0, 0, 0, 1]
            && message[HEADER_OCTETS] == 0
            && u16_at(message, type_at) == Some(rtype::OPT)
            && data.end == message.len();
        if is_alone { Edns::parse(class, ttl, &message[data]) } else { None }
    }

    /// Octets of a UDP reply that the sender takes and that we would send (RFC 6891 §6.2.3: below 512 means 512).
    #[inline]
    pub fn udp_reply_octets(&self) -> usize {
        usize::from(self.payload).clamp(UDP_PLAIN_OCTETS_MAX, UDP_REPLY_OCTETS_MAX)
    }
}

/// An extended error that we send (RFC 8914 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtendedError {
    /// 3: the answer has run out, and no other is to be had.
    StaleAnswer,
    /// 13: the servers had no answer a moment ago, and were not asked again.
    CachedError,
    /// 14: the zone is ours, but not loaded, or it has expired.
    NotReady,
    /// 18: the asker, or the name, is not served here.
    Prohibited,
    /// 19: the same as 3, for a name that did not exist.
    StaleNxDomain,
    /// 22: no server answered in time.
    NoReachableAuthority,
    /// 23: servers answered, with errors.
    NetworkError,
    /// 0: a bound of ours was reached.
    Other,
}

impl ExtendedError {
    /// The INFO-CODE.
    pub fn code(self) -> u16 {
        match self {
            ExtendedError::Other => 0,
            ExtendedError::StaleAnswer => 3,
            ExtendedError::CachedError => 13,
            ExtendedError::NotReady => 14,
            ExtendedError::Prohibited => 18,
            ExtendedError::StaleNxDomain => 19,
            ExtendedError::NoReachableAuthority => 22,
            ExtendedError::NetworkError => 23,
        }
    }
}

/// The OPT record of a reply: what it holds is settled before the reply is written, so that room is kept for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReplyOpt<'a> {
    /// The upper eight bits of the response code.
    pub extended_rcode: u8,
    /// DO, copied from the request (RFC 3225 §3).
    pub dnssec_ok: bool,
    /// NSID, where it was asked for and is configured.
    pub nsid: Option<&'a [u8]>,
    /// The client's cookie and ours behind it (RFC 7873 §4), where the asker sent its own.
    pub cookie: Option<[u8; 24]>,
    /// The idle time-out of TCP connections in tenths of a second, where it was asked for over TCP.
    pub keepalive: Option<u16>,
    /// Why the reply is no answer.
    pub error: Option<ExtendedError>,
}

impl ReplyOpt<'_> {
    /// Octets that the record takes.
    #[inline]
    pub fn octets(&self) -> usize {
        OPT_OCTETS
            + self.nsid.map_or(0, |text| 4 + text.len())
            + self.cookie.map_or(0, |cookie| 4 + cookie.len())
            + self.keepalive.map_or(0, |_| 6)
            + self.error.map_or(0, |_| 6)
    }

    /// Writes the record at the start of `out`, which holds [`ReplyOpt::octets`]. Returns its length.
    #[inline]
    pub fn write(&self, out: &mut [u8]) -> usize {
        let flags = if self.dnssec_ok { DNSSEC_OK } else { 0 };
        out[..OPT_OCTETS].copy_from_slice(&opt(self.extended_rcode, flags));
        let mut at = OPT_OCTETS;
        let mut option = |code: u16, data: &[u8]| {
            out[at..at + 2].copy_from_slice(&code.to_be_bytes());
            out[at + 2..at + 4].copy_from_slice(&(data.len() as u16).to_be_bytes());
            out[at + 4..at + 4 + data.len()].copy_from_slice(data);
            at += 4 + data.len();
        };
        if let Some(text) = self.nsid {
            option(NSID, text);
        }
        if let Some(cookie) = &self.cookie {
            option(COOKIE, cookie);
        }
        if let Some(tenths) = self.keepalive {
            option(KEEPALIVE, &tenths.to_be_bytes());
        }
        if let Some(error) = self.error {
            option(EXTENDED_ERROR, &error.code().to_be_bytes());
        }
        if at > OPT_OCTETS {
            out[9..11].copy_from_slice(&((at - OPT_OCTETS) as u16).to_be_bytes());
        }
        at
    }
}

/// An OPT record without options.
#[inline]
pub fn opt(extended_rcode: u8, flags: u16) -> [u8; OPT_OCTETS] {
    let [payload_high, payload_low] = (UDP_REPLY_OCTETS_MAX as u16).to_be_bytes();
    let [flags_high, flags_low] = flags.to_be_bytes();
    [0, 0, 41, payload_high, payload_low, extended_rcode, VERSION, flags_high, flags_low, 0, 0]
}

/// Octets of an OPT record with the longest cookie that there is (RFC 7873 §4).
pub const OPT_WITH_COOKIE_OCTETS_MAX: usize = OPT_OCTETS + 4 + 40;

/// Writes the OPT record of a query of ours to the start of `out`, with `cookie` as its only option where that is not
/// empty: our part, and the server's behind it where we have one. Returns its length, at most
/// [`OPT_WITH_COOKIE_OCTETS_MAX`].
pub fn write_query_opt(out: &mut [u8], flags: u16, cookie: &[u8]) -> usize {
    assert!(cookie.is_empty() || (8..=40).contains(&cookie.len()), "the length is that of a cookie");
    out[..OPT_OCTETS].copy_from_slice(&opt(0, flags));
    if cookie.is_empty() {
        return OPT_OCTETS;
    }
    let (data_octets, octets) = (cookie.len() as u16 + 4, cookie.len() as u16);
    out[OPT_OCTETS - 2..OPT_OCTETS].copy_from_slice(&data_octets.to_be_bytes());
    out[OPT_OCTETS..OPT_OCTETS + 2].copy_from_slice(&COOKIE.to_be_bytes());
    out[OPT_OCTETS + 2..OPT_OCTETS + 4].copy_from_slice(&octets.to_be_bytes());
    out[OPT_OCTETS + 4..OPT_OCTETS + 4 + cookie.len()].copy_from_slice(cookie);
    OPT_OCTETS + usize::from(data_octets)
}

/// Reads the fixed fields of an OPT record whose type stands at `at`: class, TTL, and where its data begins and ends.
pub(crate) fn fixed(message: &[u8], at: usize) -> Option<(u16, u32, core::ops::Range<usize>)> {
    let class = u16_at(message, at + 2)?;
    let ttl = u32_at(message, at + 4)?;
    let length = usize::from(u16_at(message, at + 8)?);
    Some((class, ttl, at + 10..at + 10 + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_told_apart_and_unknown_ones_kept() {
        let data = b"\0\x03\0\0\0\x0b\0\0\xff\xfe\0\x02hi\0\x0f\0\x04\0\x12no\0\x0b\0\x01x";
        let edns = Edns::parse(4096, 0x0102_8000, data).unwrap();
        assert_eq!((edns.payload, edns.extended_rcode, edns.version, edns.dnssec_ok), (4096, 1, 2, true));
        let options: Vec<_> = edns.options().collect();
        assert_eq!(
            options,
            [
                EdnsOption::Nsid(b""),
                EdnsOption::Keepalive(None),
                EdnsOption::Unknown { code: 0xfffe, data: b"hi" },
                EdnsOption::ExtendedError(18, b"no"),
                EdnsOption::Unknown { code: 11, data: b"x" },
            ]
        );
        for cut in 1..data.len() {
            // A cut between two options is well-formed; each other one is not.
            let whole = [4, 8, 14, 22].contains(&cut);
            assert_eq!(Edns::parse(512, 0, &data[..cut]).is_some(), whole, "{cut}");
        }
    }

    #[test]
    fn a_record_without_options_is_read_as_any_other() {
        let octets = [0, 0, 41, 4, 208, 1, 2, 0x80, 1, 0, 0];
        let (class, ttl, data) = fixed(&octets, 1).unwrap();
        let other = Edns::parse(class, ttl, &octets[data]).unwrap();
        let plain = Edns::plain(&octets).unwrap();
        let fields = |edns: &Edns<'_>| (edns.payload, edns.extended_rcode, edns.version, edns.dnssec_ok);
        assert_eq!((fields(&plain), plain.options), (fields(&other), other.options));
        for (at, octet) in [(0, 1), (1, 1), (2, 42), (9, 1), (10, 1)] {
            let mut octets = octets;
            octets[at] = octet;
            assert!(Edns::plain(&octets).is_none(), "{at}");
        }
        assert!(Edns::plain(&octets[..10]).is_none() && Edns::plain(&[0; 12]).is_none());
    }

    #[test]
    fn the_payload_is_kept_within_what_we_send() {
        for (offered, meant) in [(0, 512), (511, 512), (700, 700), (1232, 1232), (65535, 1232)] {
            assert_eq!(Edns::parse(offered, 0, b"").unwrap().udp_reply_octets(), meant);
        }
    }

    #[test]
    fn what_is_written_is_as_long_as_said_and_reads_back() {
        let reply = ReplyOpt {
            extended_rcode: 1,
            dnssec_ok: true,
            nsid: Some(b"edge-7"),
            cookie: Some(*b"client--server's part---"),
            keepalive: Some(100),
            error: Some(ExtendedError::Prohibited),
        };
        let mut out = [0xaa; 128];
        let length = reply.write(&mut out);
        assert_eq!(length, reply.octets());
        let (class, ttl, data) = fixed(&out, 1).unwrap();
        assert_eq!(data.end, length);
        let edns = Edns::parse(class, ttl, &out[data]).unwrap();
        assert_eq!((edns.payload, edns.extended_rcode, edns.dnssec_ok), (1232, 1, true));
        let options: Vec<_> = edns.options().collect();
        assert_eq!(
            options,
            [
                EdnsOption::Nsid(b"edge-7"),
                EdnsOption::Cookie(b"client--server's part---"),
                EdnsOption::Keepalive(Some(100)),
                EdnsOption::ExtendedError(18, b""),
            ]
        );
        assert_eq!(ReplyOpt::default().write(&mut out), OPT_OCTETS);
        assert_eq!(out[..OPT_OCTETS], opt(0, 0));
    }

    #[test]
    fn the_first_cookie_counts() {
        let edns = Edns::parse(512, 0, b"\0\x03\0\0\0\x0a\0\x02ab\0\x0a\0\x01c").unwrap();
        assert_eq!(edns.cookie(), Some(&b"ab"[..]));
        assert_eq!(Edns::parse(512, 0, b"\0\x03\0\0").unwrap().cookie(), None);
    }

    #[test]
    fn the_record_of_a_query_of_ours_holds_the_cookie() {
        let whole = [7; 40];
        for octets in [0, 8, 16, 24, 40] {
            let mut out = [0xaa; OPT_WITH_COOKIE_OCTETS_MAX];
            let length = write_query_opt(&mut out, DNSSEC_OK, &whole[..octets]);
            let (class, ttl, data) = fixed(&out, 1).unwrap();
            assert_eq!(data.end, length);
            let edns = Edns::parse(class, ttl, &out[data]).unwrap();
            assert!(edns.dnssec_ok && edns.payload == 1232);
            assert_eq!(edns.cookie(), Some(&whole[..octets]).filter(|cookie| !cookie.is_empty()));
            assert!(out[length..].iter().all(|&octet| octet == 0xaa));
        }
    }
}
