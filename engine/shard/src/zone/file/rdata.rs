//! Record data from its fields, and the check of record data that was written in hexadecimal.
//!
//! Types whose data is a plain row of numbers, names and strings are in a table and are read here: they are what zones
//! are full of, and some of them `domain` has no text form for. `domain` reads those with a structure (DNSSEC, CAA,
//! NAPTR, TLSA, …). SVCB, HTTPS and LOC have modules of their own, and so have the types seldom seen.

use std::net::Ipv6Addr;

use domain::base::iana::{Rtype, SecurityAlgorithm};
use domain::base::name::ParsedName;
use domain::base::rdata::{ComposeRecordData, ParseRecordData};
use domain::base::scan::{Scanner, ScannerError};
use domain::dep::octseq::Parser;
use domain::rdata::ZoneRecordData;
use domain::rdata::dnssec::{RtypeBitmap, Timestamp};
use domain::utils::{base16, base64};

use super::field::{address_v4, decimal, name_octets, seconds};
use super::fields::{Fields, placed};
use super::flaw::{Flaw, shown};
use super::rare::{self, Rare};
use super::{loc, svcb};

/// Octets of a record's data (RFC 1035 §3.2.1).
pub(super) const RDATA_OCTETS_MAX: usize = 65_535;

/// One field of record data.
#[derive(Clone, Copy)]
enum Field {
    U8,
    U16,
    U32,
    /// 32 bits of seconds, written with or without units.
    Seconds,
    V4,
    V6,
    Name,
    /// A character-string.
    Text,
    /// A character-string, or nothing.
    OptionalText,
    /// Character-strings to the end; at least one.
    Texts,
    /// One field without a length, to the end of the data; not empty.
    Octets,
    /// Hexadecimal to the end; not empty.
    Hex,
    /// Base 64 to the end; not empty.
    Base64,
    /// Base 64 to the end; may be empty.
    Base64OrNothing,
    /// Base 64 to the end; a hyphen where it is empty.
    Base64OrHyphen,
    /// A type, by mnemonic or as TYPEnnn.
    Type,
    /// A bitmap of types to the end (RFC 4034 §4.1.2).
    Types,
    /// So many octets, in hexadecimal with hyphens (RFC 7043).
    Eui(u8),
    /// A DNSSEC algorithm, by number or mnemonic (RFC 4034 appendix A.1).
    Algorithm,
    /// A time of a signature: seconds, or YYYYMMDDHHmmSS (RFC 4034 §3.2).
    Time,
    /// 64 bits as four groups of hexadecimal digits (RFC 6742 §2.1.2, §2.3.2).
    Locator,
    /// 64 bits as a decimal number.
    U64,
    /// A way of notifying, by number or mnemonic (RFC 9859 §2.2).
    Notification,
    /// A kind of certificate, by number or mnemonic (RFC 4398 §2.1).
    Certificate,
}

/// How the data of a type is read.
#[derive(Clone, Copy)]
enum Form {
    Fields(&'static [Field]),
    /// By `domain`; the index of the field that holds a DNSSEC algorithm, if one does.
    Domain(Option<u8>),
    Svcb,
    Loc,
    Rare(Rare),
}

/// A type whose data can be written in fields.
struct Kind {
    rtype: u16,
    form: Form,
    /// What is to be written, for messages.
    syntax: &'static str,
}

const fn kind(rtype: u16, fields: &'static [Field], syntax: &'static str) -> Kind {
    Kind { rtype, form: Form::Fields(fields), syntax }
}

const fn by_domain(rtype: u16, algorithm: Option<u8>, syntax: &'static str) -> Kind {
    Kind { rtype, form: Form::Domain(algorithm), syntax }
}

const fn seldom(rtype: u16, rare: Rare, syntax: &'static str) -> Kind {
    Kind { rtype, form: Form::Rare(rare), syntax }
}

use Field::*;

static KINDS: &[Kind] = &[
    kind(1, &[V4], "A IPV4-ADDRESS"),
    kind(2, &[Name], "NS NAME"),
    kind(3, &[Name], "MD NAME"),
    kind(4, &[Name], "MF NAME"),
    kind(5, &[Name], "CNAME NAME"),
    kind(
        6,
        &[Name, Name, U32, Seconds, Seconds, Seconds, Seconds],
        "SOA PRIMARY MAILBOX SERIAL REFRESH RETRY EXPIRE MINIMUM",
    ),
    kind(7, &[Name], "MB NAME"),
    kind(8, &[Name], "MG NAME"),
    kind(9, &[Name], "MR NAME"),
    seldom(11, Rare::Wks, "WKS IPV4-ADDRESS PROTOCOL PORT…"),
    kind(12, &[Name], "PTR NAME"),
    kind(13, &[Text, Text], "HINFO CPU SYSTEM"),
    kind(14, &[Name, Name], "MINFO MAILBOX ERRORS-MAILBOX"),
    kind(15, &[U16, Name], "MX PREFERENCE NAME"),
    kind(16, &[Texts], "TXT \"STRING\"…"),
    kind(17, &[Name, Name], "RP MAILBOX TXT-NAME"),
    kind(18, &[U16, Name], "AFSDB SUBTYPE NAME"),
    kind(19, &[Text], "X25 ADDRESS"),
    kind(20, &[Text, OptionalText], "ISDN ADDRESS [SUBADDRESS]"),
    kind(21, &[U16, Name], "RT PREFERENCE NAME"),
    seldom(22, Rare::Nsap, "NSAP 0xHEX"),
    kind(23, &[Name], "NSAP-PTR NAME"),
    kind(
        24,
        &[Type, Algorithm, U8, Seconds, Time, Time, U16, Name, Base64],
        "SIG TYPE ALGORITHM LABELS TTL EXPIRATION INCEPTION KEY-TAG SIGNER BASE64-SIGNATURE, times as YYYYMMDDHHmmSS",
    ),
    kind(25, &[U16, U8, Algorithm, Base64], "KEY FLAGS PROTOCOL ALGORITHM BASE64-KEY"),
    kind(26, &[U16, Name, Name], "PX PREFERENCE NAME NAME"),
    kind(27, &[Text, Text, Text], "GPOS LONGITUDE LATITUDE ALTITUDE"),
    kind(28, &[V6], "AAAA IPV6-ADDRESS"),
    Kind { rtype: 29, form: Form::Loc, syntax: loc::SYNTAX },
    seldom(30, Rare::Nxt, "NXT NEXT-NAME TYPE…"),
    kind(31, &[Hex], "EID HEX"),
    kind(32, &[Hex], "NIMLOC HEX"),
    kind(33, &[U16, U16, U16, Name], "SRV PRIORITY WEIGHT PORT NAME"),
    seldom(34, Rare::Atma, "ATMA HEX, or +DIGITS"),
    by_domain(35, None, "NAPTR ORDER PREFERENCE \"FLAGS\" \"SERVICES\" \"REGEXP\" NAME"),
    kind(36, &[U16, Name], "KX PREFERENCE NAME"),
    kind(37, &[Certificate, U16, Algorithm, Base64], "CERT KIND KEY-TAG ALGORITHM BASE64-CERTIFICATE"),
    seldom(38, Rare::A6, "A6 PREFIX-LENGTH [IPV6-ADDRESS] [PREFIX-NAME]"),
    kind(39, &[Name], "DNAME NAME"),
    kind(40, &[U8, U8, U8, Base64OrNothing], "SINK MEANING CODING SUBCODING [BASE64-DATA]"),
    seldom(42, Rare::Apl, "APL [!]FAMILY:ADDRESS/PREFIX…"),
    by_domain(43, Some(1), "DS KEY-TAG ALGORITHM DIGEST-TYPE HEX-DIGEST"),
    by_domain(44, None, "SSHFP ALGORITHM FINGERPRINT-TYPE HEX-FINGERPRINT"),
    by_domain(45, None, "IPSECKEY PRECEDENCE GATEWAY-TYPE ALGORITHM GATEWAY BASE64-KEY"),
    by_domain(
        46,
        Some(1),
        "RRSIG TYPE ALGORITHM LABELS TTL EXPIRATION INCEPTION KEY-TAG SIGNER BASE64-SIGNATURE, times as YYYYMMDDHHmmSS",
    ),
    by_domain(47, None, "NSEC NEXT-NAME TYPE…"),
    by_domain(48, Some(2), "DNSKEY FLAGS PROTOCOL ALGORITHM BASE64-KEY"),
    kind(49, &[Base64], "DHCID BASE64-DIGEST"),
    by_domain(50, None, "NSEC3 HASH-ALGORITHM FLAGS ITERATIONS HEX-SALT BASE32-NEXT-HASH TYPE…"),
    by_domain(51, None, "NSEC3PARAM HASH-ALGORITHM FLAGS ITERATIONS HEX-SALT"),
    by_domain(52, None, "TLSA USAGE SELECTOR MATCHING-TYPE HEX-DATA"),
    kind(53, &[U8, U8, U8, Hex], "SMIMEA USAGE SELECTOR MATCHING-TYPE HEX-DATA"),
    seldom(55, Rare::Hip, "HIP ALGORITHM HEX-TAG BASE64-KEY SERVER…"),
    kind(56, &[Texts], "NINFO \"STRING\"…"),
    kind(57, &[U16, U8, Algorithm, Base64], "RKEY FLAGS PROTOCOL ALGORITHM BASE64-KEY"),
    kind(58, &[Name, Name], "TALINK PREVIOUS-NAME NEXT-NAME"),
    by_domain(59, Some(1), "CDS KEY-TAG ALGORITHM DIGEST-TYPE HEX-DIGEST"),
    by_domain(60, Some(2), "CDNSKEY FLAGS PROTOCOL ALGORITHM BASE64-KEY"),
    by_domain(61, None, "OPENPGPKEY BASE64-KEY"),
    kind(62, &[U32, U16, Types], "CSYNC SERIAL FLAGS TYPE…"),
    by_domain(63, None, "ZONEMD SERIAL SCHEME HASH-ALGORITHM HEX-DIGEST"),
    Kind { rtype: 64, form: Form::Svcb, syntax: "SVCB PRIORITY TARGET KEY=VALUE…" },
    Kind { rtype: 65, form: Form::Svcb, syntax: "HTTPS PRIORITY TARGET KEY=VALUE…" },
    kind(66, &[Type, Notification, U16, Name], "DSYNC TYPE SCHEME PORT NAME"),
    kind(67, &[Base64], "HHIT BASE64-DATA"),
    kind(68, &[Base64], "BRID BASE64-DATA"),
    kind(99, &[Texts], "SPF \"STRING\"…"),
    kind(104, &[U16, Locator], "NID PREFERENCE NODE-ID"),
    kind(105, &[U16, V4], "L32 PREFERENCE LOCATOR"),
    kind(106, &[U16, Locator], "L64 PREFERENCE LOCATOR"),
    kind(107, &[U16, Name], "LP PREFERENCE NAME"),
    kind(108, &[Eui(6)], "EUI48 xx-xx-xx-xx-xx-xx"),
    kind(109, &[Eui(8)], "EUI64 xx-xx-xx-xx-xx-xx-xx-xx"),
    kind(256, &[U16, U16, Octets], "URI PRIORITY WEIGHT \"TARGET\""),
    by_domain(257, None, "CAA FLAGS TAG \"VALUE\""),
    kind(258, &[Texts], "AVC \"STRING\"…"),
    kind(259, &[U32, U32, U8, Text, Base64OrHyphen], "DOA ENTERPRISE TYPE LOCATION \"MEDIA-TYPE\" BASE64-DATA"),
    seldom(260, Rare::AmtRelay, "AMTRELAY PRECEDENCE DISCOVERY-OPTIONAL KIND RELAY"),
    kind(261, &[Texts], "RESINFO \"KEY=VALUE\"…"),
    kind(262, &[Texts], "WALLET \"STRING\"…"),
    kind(263, &[Texts], "CLA \"STRING\"…"),
    kind(264, &[U64], "IPN NODE-NUMBER"),
    kind(32_768, &[U16, Algorithm, U8, Hex], "TA KEY-TAG ALGORITHM DIGEST-TYPE HEX-DIGEST"),
    kind(32_769, &[U16, Algorithm, U8, Hex], "DLV KEY-TAG ALGORITHM DIGEST-TYPE HEX-DIGEST"),
];

/// Where a type stands in the table, for types up to 264; the few above stand at its end.
static INDEX: [u8; 265] = {
    let mut index = [u8::MAX; 265];
    let mut at = 0;
    while at < KINDS.len() {
        if (KINDS[at].rtype as usize) < index.len() {
            index[KINDS[at].rtype as usize] = at as u8;
        }
        at += 1;
    }
    index
};

fn find(rtype: u16) -> Option<&'static Kind> {
    match INDEX.get(usize::from(rtype)) {
        Some(&at) => KINDS.get(usize::from(at)),
        None => {
            KINDS.iter().rev().take_while(|kind| kind.rtype as usize >= INDEX.len()).find(|kind| kind.rtype == rtype)
        }
    }
}

/// The type that `text` names, by mnemonic or as TYPEnnn (RFC 3597 §5), in any case.
pub(super) fn type_named(text: &[u8]) -> Option<u16> {
    common_type(text).or_else(|| match text.split_at_checked(4) {
        Some((prefix, digits)) if prefix.eq_ignore_ascii_case(b"TYPE") => u16::try_from(decimal(digits)?).ok(),
        _ => Some(Rtype::from_mnemonic(text)?.to_int()),
    })
}

/// The type that `text` names, if it is one of those that zones are full of, in the letters that they are written in.
pub(super) fn common_type(text: &[u8]) -> Option<u16> {
    Some(match text {
        b"A" => 1,
        b"NS" => 2,
        b"CNAME" => 5,
        b"SOA" => 6,
        b"PTR" => 12,
        b"MX" => 15,
        b"TXT" => 16,
        b"AAAA" => 28,
        b"SRV" => 33,
        b"DS" => 43,
        b"RRSIG" => 46,
        b"NSEC" => 47,
        b"DNSKEY" => 48,
        b"NSEC3" => 50,
        b"NSAP-PTR" => 23,
        _ => return None,
    })
}

/// The mnemonic of a type, or TYPEnnn.
pub(super) fn type_name(rtype: u16) -> String {
    Rtype::from_int(rtype).to_string()
}

/// Why no zone can hold records of the type: it belongs to questions or to messages (RFC 6895 §3.1).
pub(super) fn not_data(rtype: u16) -> bool {
    matches!(rtype, 0 | 41 | 128..=255 | u16::MAX)
}

/// Appends the data of a record of type `rtype` that the fields left in `fields` write. In a copy, octets are taken as
/// they are.
pub(super) fn write(rtype: u16, is_copy: bool, fields: &mut Fields<'_>, wire: &mut Vec<u8>) -> Result<(), Flaw> {
    if fields.peek().is_some_and(|token| !token.quoted && fields.octets(token) == b"\\#") {
        return write_unknown(rtype, is_copy, fields, wire);
    }
    let Some(kind) = find(rtype) else {
        let message = format!(
            "the data of type {0} has no text form here: write `{0} \\# LENGTH HEX` (RFC 3597)",
            type_name(rtype)
        );
        return Err(fields.peek().map_or_else(|| fields.last().flaw_behind(&message), |token| token.flaw(0, &message)));
    };
    write_known(kind, fields, wire).map_err(|flaw| fields.locate(flaw).expecting(kind.syntax))
}

fn write_known(kind: &Kind, fields: &mut Fields<'_>, wire: &mut Vec<u8>) -> Result<(), Flaw> {
    let start = wire.len();
    if !matches!(kind.form, Form::Svcb) {
        no_glue(fields)?;
    }
    match kind.form {
        Form::Fields(row) => {
            for field in row {
                write_field(*field, fields, wire)?;
            }
        }
        Form::Domain(algorithm) => {
            let rtype = Rtype::from_int(kind.rtype);
            if let Some(at) = algorithm {
                fields.expect_algorithm(usize::from(at));
            }
            fields.allow_empty_rest(rtype == Rtype::IPSECKEY);
            let data = ZoneRecordData::<Vec<u8>, domain::base::Name<Vec<u8>>>::scan(rtype, fields)?;
            data.compose_rdata(wire).map_err(|_| Flaw::short_buf())?;
        }
        Form::Svcb => svcb::write(fields, wire)?,
        Form::Loc => loc::write(fields, wire)?,
        Form::Rare(rare) => rare::write(rare, fields, wire)?,
    }
    fields.finish()?;
    if wire.len() - start > RDATA_OCTETS_MAX {
        return Err(Flaw::short_buf());
    }
    Ok(())
}

/// A word and a string that touch are a forgotten space or a forgotten escape.
fn no_glue(fields: &Fields<'_>) -> Result<(), Flaw> {
    let mut before_quoted = false;
    for token in fields.rest() {
        if token.glued && token.quoted != before_quoted {
            return Err(token.flaw(0, "a word and a quoted string without white space between them"));
        }
        before_quoted = token.quoted;
    }
    Ok(())
}

#[inline]
fn write_field(field: Field, fields: &mut Fields<'_>, wire: &mut Vec<u8>) -> Result<(), Flaw> {
    match field {
        U8 => wire.push(fields.number(u32::from(u8::MAX))? as u8),
        U16 => wire.extend_from_slice(&(fields.number(u32::from(u16::MAX))? as u16).to_be_bytes()),
        U32 => wire.extend_from_slice(&fields.number(u32::MAX)?.to_be_bytes()),
        Seconds => {
            let (token, octets) = fields.word()?;
            wire.extend_from_slice(&seconds(octets).map_err(|stumble| placed(token, stumble))?.to_be_bytes());
        }
        V4 => {
            let (token, octets) = fields.word()?;
            let address = address_v4(octets)
                .ok_or_else(|| token.flaw(0, format!("{} is no IPv4 address, such as 192.0.2.1", shown(octets))))?;
            wire.extend_from_slice(&address);
        }
        V6 => wire.extend_from_slice(&fields.address::<Ipv6Addr>("IPv6 address, such as 2001:db8::1")?.octets()),
        Name => fields.name(wire)?,
        Text => fields.string(wire)?,
        OptionalText => {
            if fields.peek().is_some() {
                fields.string(wire)?;
            }
        }
        Texts => {
            fields.string(wire)?;
            while fields.peek().is_some() {
                fields.string(wire)?;
            }
        }
        Octets => {
            let start = wire.len();
            let token = fields.unescaped(wire)?;
            if wire.len() == start {
                return Err(token.flaw(0, "an empty string"));
            }
        }
        other => return write_encoded(other, fields, wire),
    }
    Ok(())
}

/// As [`write_field`], for the fields that zones are not full of.
fn write_encoded(field: Field, fields: &mut Fields<'_>, wire: &mut Vec<u8>) -> Result<(), Flaw> {
    match field {
        Hex => wire.extend_from_slice(&fields.convert_entry(base16::SymbolConverter::new())?),
        Base64 => wire.extend_from_slice(&fields.convert_entry(base64::SymbolConverter::new())?),
        Base64OrNothing if fields.peek().is_none() => {}
        Base64OrHyphen if fields.peek().is_some_and(|token| fields.octets(token) == b"-") => {
            fields.word()?;
        }
        Base64OrNothing | Base64OrHyphen => return write_encoded(Base64, fields, wire),
        Type => {
            let (token, octets) = fields.word()?;
            let number = type_named(octets).ok_or_else(|| token.flaw(0, format!("{} is no type", shown(octets))))?;
            wire.extend_from_slice(&number.to_be_bytes());
        }
        Time => wire.extend_from_slice(&Timestamp::scan(fields)?.into_int().to_be_bytes()),
        Locator => rare::locator(fields, wire)?,
        U64 => {
            let (token, octets) = fields.word()?;
            let digits = str::from_utf8(octets).ok().filter(|text| text.bytes().all(|octet| octet.is_ascii_digit()));
            let number = digits.and_then(|digits| digits.parse::<u64>().ok());
            let number = number.ok_or_else(|| token.flaw(0, format!("{} is no number of 64 bits", shown(octets))))?;
            wire.extend_from_slice(&number.to_be_bytes());
        }
        Notification => match fields.peek() {
            Some(token) if fields.octets(token).eq_ignore_ascii_case(b"NOTIFY") => {
                fields.word()?;
                wire.push(1);
            }
            _ => return write_field(U8, fields, wire),
        },
        Types => wire.extend_from_slice(RtypeBitmap::scan(fields)?.as_slice()),
        Eui(octets) => eui(octets, fields, wire)?,
        Algorithm => {
            let named = |octets: &[u8]| SecurityAlgorithm::from_mnemonic(octets).map(|algorithm| algorithm.to_int());
            let (token, octets) = fields.word()?;
            let number = named(octets).or_else(|| u8::try_from(decimal(octets)?).ok());
            wire.push(number.ok_or_else(|| token.flaw(0, format!("{} is no algorithm", shown(octets))))?);
        }
        Certificate => {
            let (token, octets) = fields.word()?;
            let number = certificate(octets).or_else(|| u16::try_from(decimal(octets)?).ok());
            let number = number.ok_or_else(|| token.flaw(0, format!("{} is no kind of certificate", shown(octets))))?;
            wire.extend_from_slice(&number.to_be_bytes());
        }
        U8 | U16 | U32 | Seconds | V4 | V6 | Name | Text | OptionalText | Texts | Octets => {
            return write_field(field, fields, wire);
        }
    }
    Ok(())
}

fn eui(count: u8, fields: &mut Fields<'_>, wire: &mut Vec<u8>) -> Result<(), Flaw> {
    let (token, octets) = fields.word()?;
    let bad = || token.flaw(0, format!("{} is not {count} pairs of hexadecimal digits with hyphens", shown(octets)));
    if octets.len() != usize::from(count) * 3 - 1 {
        return Err(bad());
    }
    for chunk in octets.chunks(3) {
        let digit = |at: usize| char::from(chunk[at]).to_digit(16);
        match (digit(0), digit(1), chunk.get(2)) {
            (Some(high), Some(low), None | Some(b'-')) => wire.push((high << 4 | low) as u8),
            _ => return Err(bad()),
        }
    }
    Ok(())
}

fn certificate(text: &[u8]) -> Option<u16> {
    const NAMES: [(&str, u16); 10] = [
        ("PKIX", 1),
        ("SPKI", 2),
        ("PGP", 3),
        ("IPKIX", 4),
        ("ISPKI", 5),
        ("IPGP", 6),
        ("ACPKIX", 7),
        ("IACPKIX", 8),
        ("URI", 253),
        ("OID", 254),
    ];
    NAMES.iter().find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(text)).map(|&(_, number)| number)
}

/// `\# LENGTH HEX` (RFC 3597 §5); for a type that we know, the data must be what that type has, but in a copy.
fn write_unknown(rtype: u16, is_copy: bool, fields: &mut Fields<'_>, wire: &mut Vec<u8>) -> Result<(), Flaw> {
    let (marker, _) = fields.word()?;
    let expected = "\\# LENGTH HEX";
    let octets = fields.number(RDATA_OCTETS_MAX as u32).map_err(|flaw| flaw.expecting(expected))? as usize;
    let length = fields.last();
    fields.allow_empty_rest(true);
    let data = fields.convert_entry(base16::SymbolConverter::new());
    let data = data.map_err(|flaw| fields.locate(flaw).expecting(expected))?;
    if data.len() != octets {
        return Err(length.flaw(0, format!("the length says {octets} octets, and {} follow", data.len())));
    }
    if !is_copy && !is_valid(rtype, &data) {
        return Err(marker.flaw(0, format!("these octets are no data of type {}", type_name(rtype))));
    }
    wire.extend_from_slice(&data);
    Ok(())
}

/// Whether `data` is what records of type `rtype` hold; anything will do for a type that we do not know.
fn is_valid(rtype: u16, data: &[u8]) -> bool {
    match find(rtype).map(|kind| kind.form) {
        None => true,
        Some(Form::Fields(row)) => {
            let rest = row.iter().try_fold(data, |data, field| skip_field(*field, data));
            rest.is_some_and(<[u8]>::is_empty)
        }
        Some(Form::Domain(_)) => is_valid_to_domain(rtype, data),
        Some(Form::Svcb) => svcb::is_valid(data),
        Some(Form::Loc) => loc::is_valid(data),
        Some(Form::Rare(rare)) => rare::is_valid(rare, data),
    }
}

/// What `domain` reads, and writes back unchanged: a compressed name is not written back as it was.
fn is_valid_to_domain(rtype: u16, data: &[u8]) -> bool {
    let mut parser = Parser::from_ref(data);
    let parsed = ZoneRecordData::<&[u8], ParsedName<&[u8]>>::parse_rdata(Rtype::from_int(rtype), &mut parser);
    let mut back = Vec::with_capacity(data.len());
    match parsed {
        Ok(Some(parsed)) => parsed.compose_rdata(&mut back).is_ok() && parser.remaining() == 0 && back == data,
        _ => false,
    }
}

/// What follows a field in data on the wire; `None` when it does not hold the field.
fn skip_field(field: Field, data: &[u8]) -> Option<&[u8]> {
    const END: &[u8] = &[];
    let octets = match field {
        U8 | Algorithm | Notification => 1,
        U16 | Certificate | Type => 2,
        U32 | Seconds | Time | V4 => 4,
        U64 | Locator => 8,
        V6 => 16,
        Eui(octets) => usize::from(octets),
        Name => name_octets(data)?,
        Text => usize::from(*data.first()?) + 1,
        OptionalText if data.is_empty() => 0,
        OptionalText => usize::from(*data.first()?) + 1,
        Texts => {
            let mut rest = skip_field(Text, data)?;
            while !rest.is_empty() {
                rest = skip_field(Text, rest)?;
            }
            return Some(rest);
        }
        Octets | Hex | Base64 => return if data.is_empty() { None } else { Some(END) },
        Base64OrNothing | Base64OrHyphen => return Some(END),
        Types => return RtypeBitmap::from_octets(data).is_ok().then_some(END),
    };
    data.get(octets..)
}
