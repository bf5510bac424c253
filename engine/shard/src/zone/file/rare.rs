//! Record data seldom seen: types whose data is more than a row of fields, and fields that one type alone has.
//!
//! WKS (RFC 1035 §3.4.2), NSAP (RFC 1706), NXT (RFC 2535 §5.2), ATMA (ATM Forum AF-DANS-0152), A6 (RFC 2874 §3), APL
//! (RFC 3123 §4, §5), HIP (RFC 8005 §5, §6), AMTRELAY (RFC 8777 §4), and the locators of NID and L64 (RFC 6742 §2).

use std::net::{Ipv4Addr, Ipv6Addr};

use domain::base::scan::Scanner;
use domain::utils::{base16, base64};

use super::field::{decimal, name_octets};
use super::fields::Fields;
use super::flaw::{Flaw, shown};
use super::lexer::Token;
use super::rdata::type_named;

/// A type of which the whole data is read here.
#[derive(Clone, Copy)]
pub(super) enum Rare {
    Wks,
    Nsap,
    Nxt,
    Atma,
    A6,
    Apl,
    Hip,
    AmtRelay,
}

/// Octets of a bitmap of the types below 128.
const NXT_OCTETS_MAX: usize = 16;
/// Octets of a bitmap of all ports.
const PORTS_OCTETS_MAX: usize = 8_192;

/// Appends the data that the fields left in `fields` write.
pub(super) fn write(rare: Rare, fields: &mut Fields<'_>, wire: &mut Vec<u8>) -> Result<(), Flaw> {
    match rare {
        Rare::Wks => wks(fields, wire),
        Rare::Nsap => nsap(fields, wire),
        Rare::Nxt => nxt(fields, wire),
        Rare::Atma => atma(fields, wire),
        Rare::A6 => a6(fields, wire),
        Rare::Apl => apl(fields, wire),
        Rare::Hip => hip(fields, wire),
        Rare::AmtRelay => amt_relay(fields, wire),
    }
}

/// Whether `data` is data of the type on the wire.
pub(super) fn is_valid(rare: Rare, data: &[u8]) -> bool {
    let valid = match rare {
        Rare::Wks => Some(data.len() >= 5 && data.len() <= 5 + PORTS_OCTETS_MAX),
        Rare::Nsap => Some(!data.is_empty()),
        Rare::Nxt => name_octets(data).map(|octets| match &data[octets..] {
            // The first bit would announce another format.
            bitmap @ [first, .., last] => bitmap.len() <= NXT_OCTETS_MAX && first & 0x80 == 0 && *last != 0,
            [only] => only & 0x80 == 0 && *only != 0,
            [] => true,
        }),
        Rare::Atma => data.split_first().map(|(format, address)| match format {
            0 => !address.is_empty(),
            1 => !address.is_empty() && address.iter().all(u8::is_ascii_digit),
            _ => false,
        }),
        Rare::A6 => is_valid_a6(data),
        Rare::Apl => is_valid_apl(data),
        Rare::Hip => is_valid_hip(data),
        Rare::AmtRelay => data.split_at_checked(2).map(|(head, relay)| match head[1] & 0x7F {
            0 => relay.is_empty(),
            1 => relay.len() == 4,
            2 => relay.len() == 16,
            3 => name_octets(relay) == Some(relay.len()),
            _ => true,
        }),
    };
    valid == Some(true)
}

fn wrong(token: Token, octets: &[u8], expected: &str) -> Flaw {
    token.flaw(0, format!("{} is no {expected}", shown(octets)))
}

/// The names that stand for protocols and ports. Each system had a list of its own; these were in all of them.
const PROTOCOLS: [(&str, u32); 3] = [("icmp", 1), ("tcp", 6), ("udp", 17)];
const PORTS: [(&str, u32); 22] = [
    ("echo", 7),
    ("discard", 9),
    ("systat", 11),
    ("daytime", 13),
    ("chargen", 19),
    ("ftp-data", 20),
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("time", 37),
    ("whois", 43),
    ("domain", 53),
    ("tftp", 69),
    ("gopher", 70),
    ("finger", 79),
    ("http", 80),
    ("pop3", 110),
    ("sunrpc", 111),
    ("nntp", 119),
    ("ntp", 123),
    ("https", 443),
];

/// A number up to `max`, or one of `names`.
fn named(fields: &mut Fields<'_>, names: &[(&str, u32)], max: u32, expected: &str) -> Result<u32, Flaw> {
    let (token, octets) = fields.word()?;
    let known = names.iter().find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(octets));
    let number = known.map(|&(_, number)| number).or_else(|| decimal(octets)).filter(|&number| number <= max);
    number.ok_or_else(|| wrong(token, octets, expected))
}

fn wks(fields: &mut Fields<'_>, wire: &mut Vec<u8>) -> Result<(), Flaw> {
    wire.extend_from_slice(&fields.address::<Ipv4Addr>("IPv4 address, such as 192.0.2.1")?.octets());
    wire.push(named(fields, &PROTOCOLS, 255, "protocol: a number from 0 to 255, or one of icmp, tcp, udp")? as u8);
    let start = wire.len();
    while fields.peek().is_some() {
        let port = named(fields, &PORTS, 65_535, "port: write its number, 0 to 65535")? as usize;
        set_bit(wire, start, port);
    }
    Ok(())
}

/// Sets bit `number`, counted from the upper bit of the octet at `start`.
fn set_bit(wire: &mut Vec<u8>, start: usize, number: usize) {
    let at = start + number / 8;
    if wire.len() <= at {
        wire.resize(at + 1, 0);
    }
    wire[at] |= 0x80 >> (number % 8);
}

fn nsap(fields: &mut Fields<'_>, wire: &mut Vec<u8>) -> Result<(), Flaw> {
    let (token, octets) = fields.word()?;
    let digits = octets.strip_prefix(b"0x").or_else(|| octets.strip_prefix(b"0X"));
    let address = digits.and_then(dotted_hex);
    wire.extend(address.ok_or_else(|| wrong(token, octets, "NSAP address: 0x, and pairs of hexadecimal digits"))?);
    Ok(())
}

/// Pairs of hexadecimal digits with dots anywhere; at least one pair.
fn dotted_hex(text: &[u8]) -> Option<Vec<u8>> {
    let mut digits = text.iter().filter(|&&octet| octet != b'.').map(|&octet| char::from(octet).to_digit(16));
    let mut octets = Vec::with_capacity(text.len() / 2);
    while let Some(high) = digits.next() {
        octets.push((high? << 4 | digits.next()??) as u8);
    }
    (!octets.is_empty()).then_some(octets)
}

fn nxt(fields: &mut Fields<'_>, wire: &mut Vec<u8>) -> Result<(), Flaw> {
    fields.name(wire)?;
    let start = wire.len();
    while fields.peek().is_some() {
        let (token, octets) = fields.word()?;
        let rtype = type_named(octets).filter(|rtype| (1..128).contains(rtype));
        set_bit(wire, start, usize::from(rtype.ok_or_else(|| wrong(token, octets, "type from 1 to 127"))?));
    }
    Ok(())
}

/// An E.164 number begins with a plus sign; an end system address is hexadecimal.
fn atma(fields: &mut Fields<'_>, wire: &mut Vec<u8>) -> Result<(), Flaw> {
    let (token, octets) = fields.word()?;
    let address = match octets.strip_prefix(b"+") {
        Some(number) => {
            let digits: Vec<u8> = number.iter().copied().filter(|&octet| octet != b'.').collect();
            wire.push(1);
            (!digits.is_empty() && digits.iter().all(u8::is_ascii_digit)).then_some(digits)
        }
        None => {
            wire.push(0);
            dotted_hex(octets)
        }
    };
    wire.extend(
        address.ok_or_else(|| wrong(token, octets, "ATM address: pairs of hexadecimal digits, or + and digits"))?,
    );
    Ok(())
}

/// Octets of the address in A6 data behind a prefix of so many bits.
fn a6_suffix_octets(prefix: usize) -> usize {
    16 - prefix / 8
}

fn a6(fields: &mut Fields<'_>, wire: &mut Vec<u8>) -> Result<(), Flaw> {
    let prefix = fields.number(128)? as usize;
    wire.push(prefix as u8);
    if prefix < 128 {
        let address = fields.address::<Ipv6Addr>("IPv6 address, such as 2001:db8::1")?;
        let suffix = u128::from(address) & (u128::MAX >> prefix);
        wire.extend_from_slice(&suffix.to_be_bytes()[16 - a6_suffix_octets(prefix)..]);
    }
    if prefix > 0 { fields.name(wire) } else { Ok(()) }
}

fn is_valid_a6(data: &[u8]) -> Option<bool> {
    let (&prefix, rest) = data.split_first()?;
    let prefix = usize::from(prefix);
    if prefix > 128 {
        return Some(false);
    }
    let (suffix, name) = rest.split_at_checked(a6_suffix_octets(prefix))?;
    // The bits of the first octet that belong to the prefix are zero.
    let padded = suffix.first().is_none_or(|first| u32::from(*first) << (prefix % 8) <= 255);
    let named = if prefix == 0 { name.is_empty() } else { name_octets(name) == Some(name.len()) };
    Some(padded && named)
}

/// `[!]FAMILY:ADDRESS/PREFIX`, any number of them; families 1 (IPv4) and 2 (IPv6).
fn apl(fields: &mut Fields<'_>, wire: &mut Vec<u8>) -> Result<(), Flaw> {
    while fields.peek().is_some() {
        let (token, octets) = fields.word()?;
        let item = str::from_utf8(octets).ok().and_then(apl_item);
        wire.extend(
            item.ok_or_else(|| wrong(token, octets, "item of a list such as 1:192.0.2.0/24 or !2:2001:db8::/32"))?,
        );
    }
    Ok(())
}

fn apl_item(text: &str) -> Option<Vec<u8>> {
    let (negated, text) = text.strip_prefix('!').map_or((0, text), |text| (0x80, text));
    let (family, text) = text.split_once(':')?;
    let (address, prefix) = text.split_once('/')?;
    let (family, mut address, longest) = match family {
        "1" => (1, address.parse::<Ipv4Addr>().ok()?.octets().to_vec(), 32),
        "2" => (2, address.parse::<Ipv6Addr>().ok()?.octets().to_vec(), 128),
        _ => return None,
    };
    let prefix = decimal(prefix.as_bytes()).filter(|&prefix| prefix <= longest)?;
    // Trailing zeros are left out (RFC 3123 §4.1, §4.2).
    address.truncate(address.iter().rposition(|&octet| octet != 0).map_or(0, |last| last + 1));
    let mut item = vec![0, family, prefix as u8, negated | address.len() as u8];
    item.append(&mut address);
    Some(item)
}

fn is_valid_apl(mut data: &[u8]) -> Option<bool> {
    while !data.is_empty() {
        let (&[family, family2, prefix, length], rest) = data.split_first_chunk::<4>()?;
        let (address, rest) = rest.split_at_checked(usize::from(length & 0x7F))?;
        let (octets_max, prefix_max) = match u16::from_be_bytes([family, family2]) {
            1 => (4, 32),
            2 => (16, 128),
            _ => (127, 255),
        };
        if address.len() > octets_max || prefix > prefix_max || address.last() == Some(&0) {
            return Some(false);
        }
        data = rest;
    }
    Some(true)
}

/// Algorithm, tag, key, servers; on the wire lengths come first.
fn hip(fields: &mut Fields<'_>, wire: &mut Vec<u8>) -> Result<(), Flaw> {
    let algorithm = fields.number(255)? as u8;
    let tag = fields.convert_token(base16::SymbolConverter::new())?;
    let tag_octets = u8::try_from(tag.len()).ok().filter(|&octets| octets > 0);
    let tag_octets = tag_octets.ok_or_else(|| fields.last().flaw(0, "an identity tag has 1 to 255 octets"))?;
    let key = fields.convert_token(base64::SymbolConverter::new())?;
    let key_octets = u16::try_from(key.len()).ok().filter(|&octets| octets > 0);
    let key_octets = key_octets.ok_or_else(|| fields.last().flaw(0, "a key has 1 to 65,535 octets"))?;
    wire.extend_from_slice(&[tag_octets, algorithm]);
    wire.extend_from_slice(&key_octets.to_be_bytes());
    wire.extend_from_slice(&tag);
    wire.extend_from_slice(&key);
    while fields.peek().is_some() {
        fields.name(wire)?;
    }
    Ok(())
}

fn is_valid_hip(data: &[u8]) -> Option<bool> {
    let (&[tag, _, key, key2], rest) = data.split_first_chunk::<4>()?;
    let key = usize::from(u16::from_be_bytes([key, key2]));
    let mut servers = rest.get(usize::from(tag) + key..)?;
    while !servers.is_empty() {
        servers = &servers[name_octets(servers)?..];
    }
    Some(tag > 0 && key > 0)
}

/// Precedence, discovery optional, kind of the relay, the relay.
fn amt_relay(fields: &mut Fields<'_>, wire: &mut Vec<u8>) -> Result<(), Flaw> {
    let precedence = fields.number(255)? as u8;
    let optional = fields.number(1)? as u8;
    let kind = fields.number(3)? as u8;
    wire.extend_from_slice(&[precedence, optional << 7 | kind]);
    match kind {
        0 => match fields.word()? {
            (_, b".") => Ok(()),
            (token, octets) => Err(wrong(token, octets, "relay of kind 0, which is written as a dot")),
        },
        1 => {
            wire.extend_from_slice(&fields.address::<Ipv4Addr>("IPv4 address, such as 192.0.2.1")?.octets());
            Ok(())
        }
        2 => {
            wire.extend_from_slice(&fields.address::<Ipv6Addr>("IPv6 address, such as 2001:db8::1")?.octets());
            Ok(())
        }
        _ => fields.name(wire),
    }
}

/// Appends 64 bits that are written as four groups of hexadecimal digits with colons.
pub(super) fn locator(fields: &mut Fields<'_>, wire: &mut Vec<u8>) -> Result<(), Flaw> {
    let (token, octets) = fields.word()?;
    let group = |digits: &[u8]| {
        let plain = (1..=4).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
        let text = str::from_utf8(digits).ok().filter(|_| plain)?;
        u16::from_str_radix(text, 16).ok()
    };
    let groups: Option<Vec<u16>> = octets.split(|&octet| octet == b':').map(group).collect();
    match groups.as_deref() {
        Some(groups @ [_, _, _, _]) => {
            wire.extend(groups.iter().flat_map(|group| group.to_be_bytes()));
            Ok(())
        }
        _ => Err(wrong(token, octets, "row of four groups of hexadecimal digits, such as 2001:db8:0:1")),
    }
}
