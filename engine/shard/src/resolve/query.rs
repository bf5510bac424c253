//! Queries to servers: how each one looks, and how it is written.
//!
//! A query differs from the next to the same server in what a forger would have to guess: id and socket (RFC 5452 §9.2),
//! the case of the letters of the name (draft-vixie-dnsext-dns0x20), and a cookie (RFC 7873).

use crate::cache::Key;
use crate::limits::NAME_OCTETS_MAX;
use crate::upstream::{CookieOption, Kind};
use crate::wire::edns::{self, OPT_WITH_COOKIE_OCTETS_MAX};
use crate::wire::message::{HEADER_OCTETS, flags};
use crate::wire::rdata::CLASS_IN;

/// Octets of a client cookie (RFC 7873 §4).
pub(super) const CLIENT_COOKIE_OCTETS: usize = 8;
/// Octets of the longest query.
const QUERY_OCTETS_MAX: usize = HEADER_OCTETS + NAME_OCTETS_MAX + 4 + OPT_WITH_COOKIE_OCTETS_MAX;

const _: () = assert!(QUERY_OCTETS_MAX <= crate::limits::UDP_PLAIN_OCTETS_MAX);

/// How a query looks, so that its reply is known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    /// Letter n of the name is a capital where bit n modulo 64 is set; `None`: all are small, and those of the reply do
    /// not matter.
    pub case: Option<u64>,
    /// With an OPT record.
    pub edns: bool,
    /// The client cookie in it.
    pub client_cookie: Option<[u8; CLIENT_COOKIE_OCTETS]>,
}

/// What a query asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// The name, in lower case.
    pub name: &'a [u8],
    /// Type and bits.
    pub key: Key,
    /// What the server is to us.
    pub kind: Kind,
}

/// Writes a query to the start of `out`, which holds 512 octets. Returns its length. `server_cookie` is what the
/// server sent last; it goes with the client cookie.
pub(super) fn write(asked: &Asked<'_>, form: &Form, id: u16, server_cookie: &[u8], out: &mut [u8]) -> usize {
    let recursion = if asked.kind == Kind::Resolver { flags::RD } else { 0 };
    let checking = if asked.key.checking_disabled { flags::CD } else { 0 };
    let words = [id, recursion | checking, 1, 0, 0, u16::from(form.edns)];
    for (field, word) in out[..HEADER_OCTETS].as_chunks_mut::<2>().0.iter_mut().zip(words) {
        *field = word.to_be_bytes();
    }
    let name_end = HEADER_OCTETS + asked.name.len();
    out[HEADER_OCTETS..name_end].copy_from_slice(asked.name);
    out[name_end..name_end + 2].copy_from_slice(&asked.key.qtype.to_be_bytes());
    out[name_end + 2..name_end + 4].copy_from_slice(&CLASS_IN.to_be_bytes());
    let mut end = name_end + 4;
    if form.edns {
        let flags = if asked.key.dnssec_ok { edns::DNSSEC_OK } else { 0 };
        let mut cookie = CookieOption::new();
        if let Some(client) = form.client_cookie {
            cookie.extend_from_slice(&client);
            cookie.extend_from_slice(server_cookie);
        }
        end += edns::write_query_opt(&mut out[end..], flags, &cookie);
    }
    if let Some(bits) = form.case {
        vary_case(&mut out[HEADER_OCTETS..name_end], bits);
    }
    end
}

/// Makes capitals of the letters whose bit is set. Lengths of labels are below the letters.
pub(super) fn vary_case(lower: &mut [u8], bits: u64) {
    let letters = lower.iter_mut().filter(|octet| octet.is_ascii_lowercase());
    for (n, letter) in letters.enumerate() {
        if bits >> (n % 64) & 1 == 1 {
            letter.make_ascii_uppercase();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::message::Header;
    use crate::wire::message::Query;
    use crate::wire::name::{HashKey, KeyedName};
    use crate::wire::rdata::rtype;

    const KEY: Key = Key { qtype: rtype::AAAA, dnssec_ok: true, checking_disabled: true, era: 7 };

    fn written(kind: Kind, form: Form, server_cookie: &[u8]) -> Vec<u8> {
        let mut out = [0xaa; 512];
        let asked = Asked { name: b"\x03www\x04test\0", key: KEY, kind };
        let length = write(&asked, &form, 0x1234, server_cookie, &mut out);
        out[..length].to_vec()
    }

    #[test]
    fn a_query_reads_as_it_was_meant() {
        let form = Form { case: Some(0b1010), edns: true, client_cookie: Some([9; 8]) };
        let octets = written(Kind::Resolver, form, &[7; 32]);
        let header = Header::parse(&octets).unwrap();
        let key = HashKey::from_seed([1; 16]);
        let query = Query::parse(header, &octets, &key, &mut KeyedName::default()).unwrap();
        assert_eq!((query.header.id, query.header.flags), (0x1234, flags::RD | flags::CD));
        assert_eq!((&query.question[..10], query.qtype), (&b"\x03wWw\x04Test\0"[..], rtype::AAAA));
        assert!(query.edns.unwrap().dnssec_ok);
        let cookie = [&[0, 10, 0, 40][..], &[9; 8], &[7; 32]].concat();
        assert!(octets.ends_with(&cookie));
    }

    #[test]
    fn without_edns_there_is_nothing_behind_the_question() {
        let form = Form { case: None, edns: false, client_cookie: None };
        let octets = written(Kind::Authoritative, form, &[]);
        assert_eq!(octets, b"\x12\x34\0\x10\0\x01\0\0\0\0\0\0\x03www\x04test\0\0\x1c\0\x01");
        let octets = written(Kind::Authoritative, Form { edns: true, ..form }, &[]);
        assert!(octets.ends_with(&[0, 0, 41, 0x04, 0xd0, 0, 0, 0x80, 0, 0, 0]));
    }

    #[test]
    fn each_letter_has_its_bit_and_nothing_else_changes() {
        let mut name = *b"\x05a1b-c\x01z\0";
        vary_case(&mut name, 0b1001);
        assert_eq!(&name, b"\x05A1b-c\x01Z\0");
        // Label lengths that could be taken for letters there are none of: the longest is 63, and `A` is 65.
        let mut long = [&[63; 1][..], &[b'a'; 63], &[63; 1], &[b'b'; 63], &[0]].concat();
        vary_case(&mut long, u64::MAX);
        assert_eq!((long[0], long[64], long[1], long[127]), (63, 63, b'A', b'B'));
    }
}
