//! Record data, types and classes in presentation format.
//!
//! The `domain` crate parses and presents; this module adds what it writes otherwise than zone files do (the times of
//! RRSIG records, service parameters) and falls back on RFC 3597 §5 (`\# LENGTH HEX`) for what is unknown, does not
//! parse, or would put anything but printable ASCII on a terminal.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use domain::base::ParsedName;
use domain::base::iana::{Class, Rtype, SvcParamKey};
use domain::base::name::ToName;
use domain::base::rdata::ParseAnyRecordData;
use domain::base::zonefile_fmt::{DisplayKind, ZonefileFmt};
use domain::dep::octseq::Parser;
use domain::rdata::AllRecordData;
use domain::rdata::ipseckey::IpseckeyGateway;
use domain::rdata::svcb::SvcParams;
use domain::utils::base64;

use super::text::{escape, hex};
use super::utc::Utc;

/// The type's mnemonic, or `TYPE…` (RFC 3597 §5).
pub(super) fn type_text(rtype: u16) -> String {
    Rtype::from_int(rtype).to_mnemonic_str().map_or_else(|| format!("TYPE{rtype}"), str::to_owned)
}

/// The class's mnemonic, or `CLASS…` (RFC 3597 §5).
pub(super) fn class_text(class: u16) -> String {
    Class::from_int(class).to_mnemonic_str().map_or_else(|| format!("CLASS{class}"), str::to_owned)
}

/// The presentation format of the `length` octets at `start` of a message, in printable ASCII, and why they do not
/// parse as their type where they do not; names in them may be compressed.
///
/// The range must lie within the message.
pub(super) fn present(message: &[u8], start: usize, length: usize, rtype: u16, class: u16) -> (String, Option<String>) {
    let data = &message[start..start + length];
    let rtype = Rtype::from_int(rtype);
    if is_generic(rtype, class) {
        return (generic(data), None);
    }
    match parsed(message, start, length, rtype) {
        Ok(Some(text)) if !text.is_empty() && text.bytes().all(|octet| (0x20..0x7f).contains(&octet)) => (text, None),
        Ok(_) => (generic(data), None),
        Err(why) => (generic(data), Some(format!("{rtype} data: {why}"))),
    }
}

/// Whether the data has no other presentation here: types without one, and types that class IN alone defines.
fn is_generic(rtype: Rtype, class: u16) -> bool {
    const INTERNET_ONLY: [Rtype; 6] = [Rtype::A, Rtype::AAAA, Rtype::SRV, Rtype::NAPTR, Rtype::SVCB, Rtype::HTTPS];
    matches!(rtype, Rtype::OPT | Rtype::NULL) || (INTERNET_ONLY.contains(&rtype) && class != Class::IN.to_int())
}

/// `None` for a type unknown to `domain`.
fn parsed(message: &[u8], start: usize, length: usize, rtype: Rtype) -> Result<Option<String>, String> {
    let mut parser = Parser::with_range(message, start..start + length);
    let data = AllRecordData::<&[u8], ParsedName<&[u8]>>::parse_any_rdata(rtype, &mut parser)
        .map_err(|error| error.to_string())?;
    if parser.remaining() > 0 {
        return Err(format!("{} octets too many", parser.remaining()));
    }
    match &data {
        AllRecordData::Unknown(_) => Ok(None),
        // RFC 4025 §3.1 wants a dot for the gateway that is not there; `domain` leaves it out.
        AllRecordData::Ipseckey(data) if matches!(data.gateway(), IpseckeyGateway::None) => Ok(None),
        AllRecordData::Svcb(data) => service(data.priority(), data.target(), data.params()).map(Some),
        AllRecordData::Https(data) => service(data.priority(), data.target(), data.params()).map(Some),
        AllRecordData::Rrsig(data) => {
            // It parsed, so that its 18 fixed octets are there (RFC 4034 §3.1).
            let time = |at: usize| {
                let [a, b, c, d] = [0, 1, 2, 3].map(|octet| message[start + at + octet]);
                Utc::from_unix(u64::from(u32::from_be_bytes([a, b, c, d]))).compact()
            };
            Ok(Some(format!(
                "{} {} {} {} {} {} {} {} {}",
                type_text(data.type_covered().to_int()),
                data.algorithm().to_int(),
                data.labels(),
                data.original_ttl().as_secs(),
                time(8),
                time(12),
                data.key_tag(),
                data.signer_name().fmt_with_dot(),
                base64::encode_string(data.signature())
            )))
        }
        other => Ok(Some(other.display_zonefile(DisplayKind::Simple).to_string())),
    }
}

/// Unknown data (RFC 3597 §5).
fn generic(data: &[u8]) -> String {
    match data {
        [] => "\\# 0".to_owned(),
        _ => format!("\\# {} {}", data.len(), hex(data)),
    }
}

/// A service binding (RFC 9460 §2.1).
fn service(priority: u16, target: &impl ToName, params: &SvcParams<&[u8]>) -> Result<String, String> {
    let mut text = format!("{priority} {}", target.fmt_with_dot());
    for param in params.iter_raw() {
        let key = key_text(param.key().to_int());
        let value = param_value(param.key(), param.as_slice()).ok_or_else(|| format!("bad value of {key}"))?;
        text.push(' ');
        text.push_str(&key);
        if !value.is_empty() {
            text.push('=');
            text.push_str(&value);
        }
    }
    Ok(text)
}

/// The key's name in lower case, or `key…` (RFC 9460 §2.1).
fn key_text(key: u16) -> String {
    SvcParamKey::from_int(key).to_mnemonic_str().map_or_else(|| format!("key{key}"), str::to_ascii_lowercase)
}

/// What stands after the `=` of a service parameter, empty where nothing does; `None` for a value that its key
/// does not allow (RFC 9460 §7 and §8, RFC 9461 §5).
fn param_value(key: SvcParamKey, value: &[u8]) -> Option<String> {
    match key {
        SvcParamKey::MANDATORY => list(value, |key: [u8; 2]| key_text(u16::from_be_bytes(key))),
        SvcParamKey::ALPN => alpn(value),
        SvcParamKey::NO_DEFAULT_ALPN | SvcParamKey::OHTTP => value.is_empty().then(String::new),
        SvcParamKey::PORT => Some(u16::from_be_bytes(value.try_into().ok()?).to_string()),
        SvcParamKey::IPV4HINT => list(value, |address: [u8; 4]| Ipv4Addr::from(address).to_string()),
        SvcParamKey::IPV6HINT => list(value, |address: [u8; 16]| Ipv6Addr::from(address).to_string()),
        SvcParamKey::ECH => (!value.is_empty()).then(|| base64::encode_string(value)),
        SvcParamKey::TLS_SUPPORTED_GROUPS => list(value, |group: [u8; 2]| u16::from_be_bytes(group).to_string()),
        _ if value.is_empty() => Some(String::new()),
        _ => Some(format!("\"{}\"", escape(value))),
    }
}

/// Values of N octets each, at least one, with commas between.
fn list<const N: usize>(value: &[u8], show: impl Fn([u8; N]) -> String) -> Option<String> {
    let (items, rest) = value.as_chunks::<N>();
    let shown: Vec<String> = items.iter().map(|&item| show(item)).collect();
    (!shown.is_empty() && rest.is_empty()).then(|| shown.join(","))
}

/// Protocol names, each after its length; a comma or backslash in one is escaped once for the list and once more for
/// the quotes around it (RFC 9460 §7.1.1 and appendix A.1).
fn alpn(value: &[u8]) -> Option<String> {
    let mut text = String::from("\"");
    let mut rest = value;
    while let Some((&length, after)) = rest.split_first() {
        let (id, after) = after.split_at_checked(usize::from(length))?;
        if id.is_empty() {
            return None;
        }
        if text.len() > 1 {
            text.push(',');
        }
        for &octet in id {
            match octet {
                b',' => text.push_str("\\\\,"),
                b'\\' => text.push_str("\\\\\\\\"),
                _ => {
                    let _ = write!(text, "{}", escape(&[octet]));
                }
            }
        }
        rest = after;
    }
    text.push('"');
    (!value.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Presents data that stands alone, with `example.test.` at octet 0 for compressed names.
    fn shown(rtype: Rtype, data: &[u8]) -> (String, Option<String>) {
        let mut message = b"\x07example\x04test\x00".to_vec();
        let start = message.len();
        message.extend(data);
        present(&message, start, data.len(), rtype.to_int(), 1)
    }

    #[track_caller]
    fn is(rtype: Rtype, data: &[u8], text: &str) {
        assert_eq!(shown(rtype, data), (text.to_owned(), None));
    }

    #[track_caller]
    fn malformed(rtype: Rtype, data: &[u8]) {
        let (text, why) = shown(rtype, data);
        assert!(text.starts_with("\\# "), "{text}");
        assert!(why.is_some_and(|why| why.starts_with(&rtype.to_string())), "{text}");
    }

    #[test]
    fn common_types() {
        is(Rtype::A, &[192, 0, 2, 1], "192.0.2.1");
        is(Rtype::AAAA, &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], "2001:db8::1");
        is(Rtype::NS, b"\x02ns\xc0\x00", "ns.example.test.");
        is(Rtype::CNAME, b"\x00", ".");
        is(Rtype::MX, b"\x00\x0a\x04mail\xc0\x00", "10 mail.example.test.");
        is(Rtype::TXT, b"\x05a\"b\\c\x02\x1b[\x00", r#""a\"b\\c" "\027[" """#);
        is(
            Rtype::SOA,
            b"\x02ns\xc0\x00\x03who\xc0\x00\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x05",
            "ns.example.test. who.example.test. 1 2 3 4 5",
        );
        is(Rtype::SRV, b"\0\x01\0\x02\0\x35\xc0\x00", "1 2 53 example.test.");
        is(Rtype::CAA, b"\x80\x05issueca;x", "128 issue \"ca;x\"");
        is(Rtype::DS, b"\x12\x34\x0d\x02\xab\xcd", "4660 13 2 ABCD");
        is(Rtype::DNSKEY, b"\x01\x01\x03\x0dabc", "257 3 13 YWJj");
        is(Rtype::IPSECKEY, b"\x0a\x03\x02\xc0\x00abc", "10 3 2 example.test. YWJj");
        is(Rtype::IPSECKEY, b"\x0a\x00\x02abc", "\\# 6 0a0002616263");
        is(Rtype::NSEC, b"\xc0\x00\x00\x01\x40", "example.test. A");
    }

    #[test]
    fn signatures_carry_their_times_as_dates() {
        let mut data = b"\x00\x01\x0d\x02\x00\x00\x01\x2c".to_vec();
        data.extend(1_795_178_035_u32.to_be_bytes());
        data.extend(951_782_400_u32.to_be_bytes());
        data.extend(b"\x12\x34\xc0\x00sig");
        is(Rtype::RRSIG, &data, "A 13 2 300 20261120123355 20000229000000 4660 example.test. c2ln");
    }

    #[test]
    fn service_bindings() {
        is(Rtype::HTTPS, b"\x00\x01\x00", "1 .");
        is(Rtype::SVCB, b"\x00\x00\xc0\x00", "0 example.test.");
        let mut data = b"\x00\x01\x00".to_vec();
        for (key, value) in [
            (0_u16, &b"\x00\x01\xff\x00"[..]),
            (1, b"\x02h2\x04a,\\\x1b"),
            (2, b""),
            (3, b"\x01\xbb"),
            (4, &[192, 0, 2, 1, 192, 0, 2, 2]),
            (5, b"abc"),
            (6, &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
            (7, b"/q\x1b{?dns}"),
            (65280, b"x\xff"),
            (65281, b""),
        ] {
            data.extend(key.to_be_bytes());
            data.extend((value.len() as u16).to_be_bytes());
            data.extend(value);
        }
        is(
            Rtype::HTTPS,
            &data,
            r#"1 . mandatory=alpn,key65280 alpn="h2,a\\,\\\\\027" no-default-alpn port=443 ipv4hint=192.0.2.1,192.0.2.2 ech=YWJj ipv6hint=2001:db8::1 dohpath="/q\027{?dns}" key65280="x\255" key65281"#,
        );
        for bad in [
            &b"\x00\x01\x00\x00\x03\x00\x01\x50"[..],
            b"\x00\x01\x00\x00\x01\x00\x02\x00\x00",
            b"\x00\x01\x00\x00\x01\x00\x02\x05a",
            b"\x00\x01\x00\x00\x04\x00\x00",
            b"\x00\x01\x00\x00\x02\x00\x01x",
            b"\x00\x01\x00\x00\x04\x00\x00\x00\x01\x00\x00",
            b"\x00\x01\x00\x00\x01\x00\x09h2",
        ] {
            malformed(Rtype::HTTPS, bad);
        }
    }

    #[test]
    fn unknown_and_unreadable_data_is_shown_as_octets() {
        is(Rtype::from_int(65280), b"\x01\xff", "\\# 2 01ff");
        is(Rtype::from_int(65280), b"", "\\# 0");
        is(Rtype::TXT, b"", "\\# 0");
        is(Rtype::NULL, b"x", "\\# 1 78");
        malformed(Rtype::A, b"\x01\x02\x03");
        malformed(Rtype::A, b"\x01\x02\x03\x04\x05");
        malformed(Rtype::MX, b"\x00\x0a\xc0\xff");
        malformed(Rtype::TXT, b"\x05a");
        malformed(Rtype::CNAME, b"\x80");
        malformed(Rtype::NSEC3, b"\x01\x00\x00\x01\xffx");
        // In another class an A record is something else: no address, and no mistake.
        assert_eq!(present(b"\0\0\x01", 0, 3, 1, 3), ("\\# 3 000001".to_owned(), None));
    }

    #[test]
    fn types_and_classes_have_names() {
        assert_eq!((type_text(1), type_text(65), type_text(65280)), ("A".into(), "HTTPS".into(), "TYPE65280".into()));
        assert_eq!((class_text(1), class_text(3), class_text(77)), ("IN".into(), "CH".into(), "CLASS77".into()));
    }
}
