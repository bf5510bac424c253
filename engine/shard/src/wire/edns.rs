//! The OPT record (RFC 6891), its options, and extended errors (RFC 8914).

use super::{u16_at, u32_at};
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
                (KEEPALIVE, 0) => EdnsOption::Keepalive(None),
                (KEEPALIVE, 2) => EdnsOption::Keepalive(u16_at(data, 0)),
                (EXTENDED_ERROR, 2..) => EdnsOption::ExtendedError(u16::from_be_bytes([data[0], data[1]]), &data[2..]),
                _ => EdnsOption::Unknown { code, data },
            })
        })
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
    /// 14: the zone is ours, but not loaded, or it has expired.
    NotReady,
    /// 18: the asker, or the name, is not served here.
    Prohibited,
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
            ExtendedError::NotReady => 14,
            ExtendedError::Prohibited => 18,
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

/// Reads the fixed fields of an OPT record whose type stands at `at`: class, TTL, and where its data begins and ends.
pub(super) fn fixed(message: &[u8], at: usize) -> Option<(u16, u32, core::ops::Range<usize>)> {
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
            keepalive: Some(100),
            error: Some(ExtendedError::Prohibited),
        };
        let mut out = [0xaa; 64];
        let length = reply.write(&mut out);
        assert_eq!(length, reply.octets());
        let (class, ttl, data) = fixed(&out, 1).unwrap();
        assert_eq!(data.end, length);
        let edns = Edns::parse(class, ttl, &out[data]).unwrap();
        assert_eq!((edns.payload, edns.extended_rcode, edns.dnssec_ok), (1232, 1, true));
        let options: Vec<_> = edns.options().collect();
        assert_eq!(
            options,
            [EdnsOption::Nsid(b"edge-7"), EdnsOption::Keepalive(Some(100)), EdnsOption::ExtendedError(18, b"")]
        );
        assert_eq!(ReplyOpt::default().write(&mut out), OPT_OCTETS);
        assert_eq!(out[..OPT_OCTETS], opt(0, 0));
    }
}
