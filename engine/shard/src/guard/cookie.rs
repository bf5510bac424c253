//! DNS cookies towards clients (RFC 7873): who sends back what was sent to an address is at that address.
//!
//! Server cookies are those of RFC 9018 §4, so that servers of any make behind one address take each other's: a version
//! (1), three reserved octets, the time in seconds, and SipHash-2-4 over the client's part, these eight octets and the
//! client's address, under a secret of 16 octets. Nothing is remembered of a client.
//!
//! A cookie is never demanded, and BADCOOKIE never sent to a question: without a valid cookie a client is an unproven
//! address, and a reply that has the new cookie with it is what RFC 7873 §5.2.3 calls processing the request. What a valid
//! one is good for, [`rrl`](super::rrl) and [`rate`](super::rate) say.
//!
//! **How it is asked.** For a request with OPT, `check(edns.cookie(), …)`:
//! [`Cookie::Malformed`] is FORMERR; [`Cookie::reply`] goes to [`ReplyOpt::cookie`](crate::wire::edns::ReplyOpt::cookie)
//! of whatever is replied, also later; [`Cookie::is_proof`] makes the address proven. For a request that does not parse,
//! [`Secrets::answer_alone`] may have the whole reply: a question for nothing but a cookie.

use std::fmt;
use std::hash::Hasher as _;
use std::net::IpAddr;

use siphasher::sip::SipHasher24;

use crate::telemetry::Counters;
use crate::wire::edns::{self, Edns, ReplyOpt};
use crate::wire::message::{HEADER_OCTETS, Header, Rcode, flags, opcode};

/// Octets of the client's part.
const CLIENT_OCTETS: usize = 8;
/// Octets of a server's part that we make.
const SERVER_OCTETS: usize = 16;
/// Octets of both.
pub const COOKIE_OCTETS: usize = CLIENT_OCTETS + SERVER_OCTETS;
/// Octets of both where others make the server's part (RFC 7873 §4).
const ANY_OCTETS: std::ops::RangeInclusive<usize> = CLIENT_OCTETS + 8..=CLIENT_OCTETS + 32;
/// The version of RFC 9018.
const VERSION: u8 = 1;
/// Seconds for which a cookie is taken (RFC 9018 §4.3).
const AGE_SECONDS_MAX: i32 = 3_600;
/// Seconds that the clock of the server that made it may be ahead of ours (RFC 9018 §4.3).
const AHEAD_SECONDS_MAX: i32 = 300;
/// Seconds after which the client gets another one (RFC 9018 §4.3).
const FRESH_SECONDS_MAX: i32 = 1_800;

/// The secrets that cookies are made and checked with. The first makes them; each is taken, so that another secret can
/// take the first place on many servers, one after the other (RFC 9018 §5). Without any, cookies are passed over.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(Box<[[u8; 16]]>);

/// What a request's cookie says. The octets are what the option of the reply holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookie {
    /// There is none.
    None,
    /// The client has none of ours yet.
    ClientOnly([u8; COOKIE_OCTETS]),
    /// We, or another server with our secret, gave it to this address within the hour.
    Valid([u8; COOKIE_OCTETS]),
    /// It was made with another secret, for another address, or too long ago.
    Invalid([u8; COOKIE_OCTETS]),
    /// Its length is that of no cookie: FORMERR (RFC 7873 §5.2.2).
    Malformed,
}

impl Cookie {
    /// Whether the address is the asker's own.
    #[inline]
    pub fn is_proof(&self) -> bool {
        matches!(self, Cookie::Valid(_))
    }

    /// What the option of the reply holds; `None`: the reply has none.
    #[inline]
    pub fn reply(&self) -> Option<[u8; COOKIE_OCTETS]> {
        match *self {
            Cookie::ClientOnly(cookie) | Cookie::Valid(cookie) | Cookie::Invalid(cookie) => Some(cookie),
            Cookie::None | Cookie::Malformed => None,
        }
    }
}

impl fmt::Debug for Secrets {
    /// They are not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

impl FromIterator<[u8; 16]> for Secrets {
    fn from_iter<I: IntoIterator<Item = [u8; 16]>>(secrets: I) -> Secrets {
        Secrets(secrets.into_iter().collect())
    }
}

impl Secrets {
    /// Looks at the cookie option of a request from `peer`, where it has one. `unix_seconds` is the time of the day.
    #[inline]
    pub fn check(&self, option: Option<&[u8]>, peer: IpAddr, unix_seconds: u64, counters: &mut Counters) -> Cookie {
        let (Some(option), false) = (option, self.0.is_empty()) else { return Cookie::None };
        let cookie = self.judge(option, peer, unix_seconds as u32);
        match cookie {
            Cookie::None => {}
            Cookie::ClientOnly(_) => counters.cookies_first += 1,
            Cookie::Valid(_) => counters.cookies_valid += 1,
            Cookie::Invalid(_) => counters.cookies_invalid += 1,
            Cookie::Malformed => counters.cookies_malformed += 1,
        }
        cookie
    }

    fn judge(&self, option: &[u8], peer: IpAddr, seconds: u32) -> Cookie {
        let Some((&client, server)) = option.split_first_chunk::<CLIENT_OCTETS>() else { return Cookie::Malformed };
        let fresh = || self.made(client, peer, seconds);
        if server.is_empty() {
            return Cookie::ClientOnly(fresh());
        }
        if !ANY_OCTETS.contains(&option.len()) {
            return Cookie::Malformed;
        }
        match <&[u8; COOKIE_OCTETS]>::try_from(option) {
            Ok(whole) => match self.age(whole, peer, seconds) {
                Some(age) if age <= FRESH_SECONDS_MAX => Cookie::Valid(*whole),
                Some(_) => Cookie::Valid(fresh()),
                None => Cookie::Invalid(fresh()),
            },
            Err(_) => Cookie::Invalid(fresh()),
        }
    }

    /// How old a cookie is; `None` when it is not valid.
    fn age(&self, cookie: &[u8; COOKIE_OCTETS], peer: IpAddr, seconds: u32) -> Option<i32> {
        let (signed, hash) = cookie.split_last_chunk::<8>()?;
        let (head, &time) = signed.split_last_chunk::<4>()?;
        // Times are serial numbers (RFC 1982): they outlast the year 2106.
        let age = seconds.wrapping_sub(u32::from_be_bytes(time)) as i32;
        let in_time = (-AHEAD_SECONDS_MAX..=AGE_SECONDS_MAX).contains(&age);
        let known = |secret: &[u8; 16]| hashed(secret, signed, peer) == u64::from_le_bytes(*hash);
        (in_time && head[CLIENT_OCTETS] == VERSION && self.0.iter().any(known)).then_some(age)
    }

    /// The client's part and a new one of ours.
    ///
    /// # Panics
    /// Without secrets.
    fn made(&self, client: [u8; CLIENT_OCTETS], peer: IpAddr, seconds: u32) -> [u8; COOKIE_OCTETS] {
        let mut cookie = [0; COOKIE_OCTETS];
        cookie[..CLIENT_OCTETS].copy_from_slice(&client);
        cookie[CLIENT_OCTETS] = VERSION;
        cookie[CLIENT_OCTETS + 4..][..4].copy_from_slice(&seconds.to_be_bytes());
        let hash = hashed(&self.0[0], &cookie[..COOKIE_OCTETS - 8], peer);
        cookie[COOKIE_OCTETS - 8..].copy_from_slice(&hash.to_le_bytes());
        cookie
    }

    /// The whole reply to a query without a question that asks for a cookie (RFC 7873 §5.4), written to the start of
    /// `reply`, and its response code; `None`: the message is none.
    ///
    /// To be asked of a message that is no [`Query`](crate::wire::message::Query), before FORMERR is sent.
    #[cold]
    pub fn answer_alone(
        &self,
        header: Header,
        request: &[u8],
        peer: IpAddr,
        unix_seconds: u64,
        reply: &mut [u8],
        counters: &mut Counters,
    ) -> Option<(usize, Rcode)> {
        let edns = Edns::alone(header, request).filter(|_| header.opcode() == opcode::QUERY)?;
        let cookie = self.check(edns.cookie(), peer, unix_seconds, counters);
        let made = cookie.reply()?;
        let rcode = match cookie {
            _ if edns.version > edns::VERSION => Rcode::BadVers,
            Cookie::Invalid(_) => Rcode::BadCookie,
            _ => Rcode::NoError,
        };
        let code = rcode as u16;
        let opt = ReplyOpt {
            extended_rcode: (code >> 4) as u8,
            dnssec_ok: edns.dnssec_ok,
            cookie: Some(made),
            ..ReplyOpt::default()
        };
        let word = flags::QR | header.flags & (flags::RD | flags::CD) | code & flags::RCODE;
        let words = [header.id, word, 0, 0, 0, 1];
        for (field, word) in reply[..HEADER_OCTETS].as_chunks_mut::<2>().0.iter_mut().zip(words) {
            *field = word.to_be_bytes();
        }
        Some((HEADER_OCTETS + opt.write(&mut reply[HEADER_OCTETS..]), rcode))
    }
}

/// SipHash-2-4 over what is signed: the client's part, version, reserved octets and time; and over the client's address.
/// The hash is written with the least octet first, as the reference code of SipHash has it.
fn hashed(secret: &[u8; 16], signed: &[u8], peer: IpAddr) -> u64 {
    let mut hasher = SipHasher24::new_with_key(secret);
    hasher.write(signed);
    match peer.to_canonical() {
        IpAddr::V4(address) => hasher.write(&address.octets()),
        IpAddr::V6(address) => hasher.write(&address.octets()),
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets<const N: usize>(hex: &str) -> [u8; N] {
        assert_eq!(hex.len(), 2 * N);
        std::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
    }

    fn secrets(hex: &[&str]) -> Secrets {
        hex.iter().map(|secret| octets(secret)).collect()
    }

    fn check(secrets: &Secrets, option: &[u8], peer: &str, seconds: u64) -> Cookie {
        secrets.check(Some(option), peer.parse().unwrap(), seconds, &mut Counters::default())
    }

    const SECRET: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf";
    const PEER: &str = "198.51.100.100";
    const MADE: u64 = 1_559_731_985;

    /// The cookies of RFC 9018, Appendix A.
    #[test]
    fn cookies_are_those_of_the_standard() {
        let ours = secrets(&[SECRET]);
        let first: [u8; 24] = octets("2464c4abcf10c957010000005cf79f111f8130c3eee29480");
        assert_eq!(check(&ours, &first[..8], PEER, MADE), Cookie::ClientOnly(first));
        let renewed = octets("2464c4abcf10c957010000005cf7a871d4a564a1442aca77");
        assert_eq!(check(&ours, &first, PEER, 1_559_734_385), Cookie::Valid(renewed));
        // The reserved octets need not be zero.
        let other: [u8; 24] = octets("fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5");
        let age = ours.age(&other, "203.0.113.203".parse().unwrap(), 1_559_728_000);
        assert_eq!(age, Some(15));
        let renewed = octets("fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e");
        assert_eq!(check(&ours, &other, "203.0.113.203", 1_559_734_700), Cookie::Invalid(renewed));
        // A new secret that makes, while the old one is taken still.
        let (old, new) = ("dd3bdf9344b678b185a6f5cb60fca715", "445536bcd2513298075a5d379663c962");
        let of_old = octets::<24>("22681ab97d52c298010000005cf7c57926556bd0934c72f8");
        let of_new = octets("22681ab97d52c298010000005cf7c609a6bb79d16625507a");
        let peer = "2001:db8:220:1:59de:d0f4:8769:82b8";
        let late = 1_559_741_961;
        assert_eq!(check(&secrets(&[new]), &of_old, peer, late), Cookie::Invalid(of_new));
        assert_eq!(check(&secrets(&[new, old]), &of_old, peer, late), Cookie::Valid(of_old), "it is young");
        assert_eq!(secrets(&[new, old]).made(octets("22681ab97d52c298"), peer.parse().unwrap(), late as u32), of_new);
    }

    #[test]
    fn cookies_are_taken_for_an_hour_and_renewed_after_half_of_it() {
        let ours = secrets(&[SECRET]);
        let whole = ours.made(*b"client--", PEER.parse().unwrap(), MADE as u32);
        for (age, valid, fresh) in [
            (-301, false, true),
            (-300, true, false),
            (0, true, false),
            (1_800, true, false),
            (1_801, true, true),
            (3_600, true, true),
            (3_601, false, true),
            (1 << 31, false, true),
        ] {
            let now = MADE.wrapping_add_signed(age);
            let cookie = check(&ours, &whole, PEER, now);
            assert_eq!(cookie.is_proof(), valid, "{age}");
            let reply = cookie.reply().unwrap();
            let expected = if fresh { ours.made(*b"client--", PEER.parse().unwrap(), now as u32) } else { whole };
            assert_eq!(reply, expected, "{age}");
        }
        // Over the turn of the 32 bits.
        let before = ours.made(*b"client--", PEER.parse().unwrap(), u32::MAX - 10);
        assert!(check(&ours, &before, PEER, (1 << 32) + 10).is_proof());
    }

    #[test]
    fn a_cookie_is_of_one_address_one_client_and_one_secret() {
        let ours = secrets(&[SECRET]);
        let whole = ours.made(*b"client--", PEER.parse().unwrap(), MADE as u32);
        assert!(check(&ours, &whole, PEER, MADE).is_proof());
        assert!(check(&ours, &whole, "::ffff:198.51.100.100", MADE).is_proof(), "the same address, written otherwise");
        assert!(!check(&ours, &whole, "198.51.100.101", MADE).is_proof());
        assert!(!check(&secrets(&["00112233445566778899aabbccddeeff"]), &whole, PEER, MADE).is_proof());
        for bit in 0..whole.len() * 8 {
            let mut changed = whole;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!check(&ours, &changed, PEER, MADE).is_proof(), "bit {bit}");
        }
    }

    #[test]
    fn what_is_no_cookie_is_told_and_all_is_counted() {
        let ours = secrets(&[SECRET]);
        let whole = ours.made(*b"client--", PEER.parse().unwrap(), MADE as u32);
        let long = [whole.as_slice(), &[0; 64]].concat();
        let mut counters = Counters::default();
        for octets in 0..long.len() {
            let cookie = ours.check(Some(&long[..octets]), PEER.parse().unwrap(), MADE, &mut counters);
            let expected = match octets {
                8 => matches!(cookie, Cookie::ClientOnly(_)),
                24 => cookie == Cookie::Valid(whole),
                16..=40 => matches!(cookie, Cookie::Invalid(_)),
                _ => cookie == Cookie::Malformed && cookie.reply().is_none(),
            };
            assert!(expected, "{octets}: {cookie:?}");
        }
        let Counters { cookies_first, cookies_valid, cookies_invalid, cookies_malformed, .. } = counters;
        let malformed = long.len() as u64 - 26;
        assert_eq!((cookies_first, cookies_valid, cookies_invalid, cookies_malformed), (1, 1, 24, malformed));
        let peer = PEER.parse().unwrap();
        assert_eq!(ours.check(None, peer, MADE, &mut counters), Cookie::None);
        assert_eq!(Secrets::default().check(Some(&long), peer, MADE, &mut counters), Cookie::None, "cookies are off");
        assert_eq!(counters.cookies_malformed, malformed);
        assert_eq!(format!("{ours:?}"), "1 secrets", "no secret is shown");
    }

    /// A message with an OPT record alone that holds these options.
    fn alone(flags: u16, version: u8, options: &[&[u8]]) -> Vec<u8> {
        let mut message = b"\x12\x34\0\0\0\0\0\0\0\0\0\x01\0\0\x29\x04\xd0\0\0\0\0".to_vec();
        message[2..4].copy_from_slice(&flags.to_be_bytes());
        message[18] = version;
        let data: Vec<u8> = options
            .iter()
            .flat_map(|option| [b"\0\x0a\0".as_slice(), &[option.len() as u8], option].concat())
            .collect();
        message.extend((data.len() as u16).to_be_bytes());
        message.extend(data);
        message
    }

    fn answered(secrets: &Secrets, message: &[u8]) -> Option<(Vec<u8>, Rcode)> {
        let mut reply = [0xaa; 512];
        let header = Header::parse(message).unwrap();
        let (octets, rcode) =
            secrets.answer_alone(header, message, PEER.parse().unwrap(), MADE, &mut reply, &mut Counters::default())?;
        Some((reply[..octets].to_vec(), rcode))
    }

    #[test]
    fn a_question_for_nothing_but_a_cookie_is_answered() {
        let ours = secrets(&[SECRET]);
        let whole = ours.made(*b"client--", PEER.parse().unwrap(), MADE as u32);
        let stale = ours.made(*b"client--", PEER.parse().unwrap(), MADE as u32 - 7_200);
        for (option, version, rcode) in [
            (&whole[..8], 0, Rcode::NoError),
            (&whole[..], 0, Rcode::NoError),
            (&stale[..], 0, Rcode::BadCookie),
            (&whole[..], 1, Rcode::BadVers),
        ] {
            let (reply, code) = answered(&ours, &alone(flags::RD, version, &[option, b"a second one"])).unwrap();
            assert_eq!(code, rcode);
            let header = Header::parse(&reply).unwrap();
            let word = flags::QR | flags::RD | rcode as u16 & flags::RCODE;
            assert_eq!((header.id, header.flags, header.counts), (0x1234, word, [0, 0, 0, 1]));
            let edns = Edns::alone(header, &reply).expect("the reply is an OPT record alone");
            assert_eq!(u16::from(edns.extended_rcode), rcode as u16 >> 4);
            assert_eq!(edns.cookie(), Some(&whole[..]), "the reply has a valid cookie");
        }
    }

    #[test]
    fn other_messages_without_a_question_are_not() {
        let ours = secrets(&[SECRET]);
        let good = alone(0, 0, &[b"client--"]);
        assert!(answered(&ours, &good).is_some() && answered(&Secrets::default(), &good).is_none());
        let notify = 4 << 11;
        for (what, message) in [
            ("no option", alone(0, 0, &[])),
            ("a cookie too short", alone(0, 0, &[b"client-"])),
            ("another opcode", alone(notify, 0, &[b"client--"])),
            ("octets behind", [good.as_slice(), b"x"].concat()),
            ("a record more", [&good[..11], b"\x02", &good[12..], &good[12..]].concat()),
            ("an owner name", [&good[..12], b"\x01a", &good[12..]].concat()),
            ("no OPT", [&good[..14], b"\x01", &good[15..]].concat()),
        ] {
            assert!(answered(&ours, &message).is_none(), "{what}");
        }
        for cut in HEADER_OCTETS..good.len() {
            assert!(answered(&ours, &good[..cut]).is_none(), "cut at {cut}");
        }
    }
}
