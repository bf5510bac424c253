//! One field's text to its octets: names, character-strings, numbers, times (RFC 1035 §5.1, §2.3.1).
//!
//! These functions know nothing of tokens: they say at which octet of the text they stumbled.

use std::borrow::Cow;

use crate::limits::{LABEL_OCTETS_MAX, NAME_OCTETS_MAX};

/// Where in a field's text something is wrong, and what.
pub(super) type Stumble = (usize, Cow<'static, str>);

/// Octets of a name that are written before it is found to be too long.
const WRITTEN_OCTETS_MAX: usize = NAME_OCTETS_MAX + LABEL_OCTETS_MAX;

fn stumble<T>(offset: usize, message: &'static str) -> Result<T, Stumble> {
    Err((offset, Cow::Borrowed(message)))
}

/// Appends the name `text` to `wire`, uncompressed, its letters as written; a relative one is put below `origin`.
pub(super) fn write_name(text: &[u8], origin: &[u8], wire: &mut Vec<u8>) -> Result<(), Stumble> {
    match text {
        b"@" => {
            wire.extend_from_slice(origin);
            return Ok(());
        }
        b"." => {
            wire.push(0);
            return Ok(());
        }
        _ => {}
    }
    let first = wire.len();
    let mut label = Label::open(wire, 0);
    let mut at = 0;
    while at < text.len() {
        // Nearly all that names are made of stands for itself, and is taken a label at a time.
        let rest = &text[at..text.len().min(at + WRITTEN_OCTETS_MAX + 1)];
        let plain = rest.iter().position(|&octet| !stands_for_itself(octet)).unwrap_or(rest.len());
        wire.extend_from_slice(&rest[..plain]);
        at += plain;
        if wire.len() - first > WRITTEN_OCTETS_MAX {
            return name_fits(wire.len() - first);
        }
        match text.get(at) {
            None => {}
            Some(b'.') => {
                label.close(wire, at)?;
                at += 1;
                if at == text.len() {
                    wire.push(0);
                    return name_fits(wire.len() - first);
                }
                label = Label::open(wire, at);
            }
            Some(b'\\') => {
                let (octet, next) = unescape(text, at)?;
                wire.push(octet);
                at = next;
            }
            Some(_) => {
                return stumble(
                    at,
                    "a character outside ASCII in a name: write the name's ASCII form (xn--…), or the octet as \\DDD",
                );
            }
        }
    }
    label.close(wire, at)?;
    wire.extend_from_slice(origin);
    name_fits(wire.len() - first)
}

/// Whether an octet of a name's text is an octet of the name.
#[inline]
fn stands_for_itself(octet: u8) -> bool {
    octet.is_ascii() && octet != b'.' && octet != b'\\'
}

/// A label being written.
struct Label {
    /// Where its length octet is.
    slot: usize,
    /// Where its text begins.
    start: usize,
}

impl Label {
    #[inline]
    fn open(wire: &mut Vec<u8>, start: usize) -> Label {
        wire.push(0);
        Label { slot: wire.len() - 1, start }
    }

    #[inline]
    fn close(self, wire: &mut [u8], end: usize) -> Result<(), Stumble> {
        match wire.len() - self.slot - 1 {
            0 => stumble(end, "an empty label: two dots in a row, or a dot in front"),
            octets if octets <= LABEL_OCTETS_MAX => {
                wire[self.slot] = octets as u8;
                Ok(())
            }
            octets => Err((self.start, format!("a label of {octets} octets: at most {LABEL_OCTETS_MAX} fit").into())),
        }
    }
}

fn name_fits(octets: usize) -> Result<(), Stumble> {
    if octets <= NAME_OCTETS_MAX {
        return Ok(());
    }
    Err((0, format!("a name of more than {NAME_OCTETS_MAX} octets, its origin included").into()))
}

/// The octet that the escape at `at` stands for, and where the text goes on.
fn unescape(text: &[u8], at: usize) -> Result<(u8, usize), Stumble> {
    match text.get(at + 1) {
        None => stumble(at, "a backslash with nothing behind it"),
        Some(digit) if digit.is_ascii_digit() => {
            let value = match text.get(at + 1..at + 4) {
                Some(digits) => decimal(digits).filter(|&value| value <= 255),
                None => None,
            };
            match value {
                Some(value) => Ok((value as u8, at + 4)),
                None => stumble(at, "a bad escape: \\DDD takes three decimal digits, 000 to 255"),
            }
        }
        Some(&octet) => Ok((octet, at + 2)),
    }
}

/// Appends the octets that `text` stands for.
pub(super) fn write_octets(text: &[u8], wire: &mut Vec<u8>) -> Result<(), Stumble> {
    let mut at = 0;
    while let Some(&octet) = text.get(at) {
        if octet == b'\\' {
            let (octet, next) = unescape(text, at)?;
            wire.push(octet);
            at = next;
        } else {
            wire.push(octet);
            at += 1;
        }
    }
    Ok(())
}

/// Appends `text` as a character-string: a length octet and up to 255 octets.
pub(super) fn write_string(text: &[u8], escaped: bool, wire: &mut Vec<u8>) -> Result<(), Stumble> {
    let slot = wire.len();
    wire.push(0);
    if escaped {
        write_octets(text, wire)?;
    } else {
        wire.extend_from_slice(text);
    }
    let octets = wire.len() - slot - 1;
    match u8::try_from(octets) {
        Ok(octets) => {
            wire[slot] = octets;
            Ok(())
        }
        Err(_) => Err((0, format!("a string of {octets} octets: at most 255 fit, so split it: \"…\" \"…\"").into())),
    }
}

/// A decimal number without a sign; `None` when `text` is none or the number does not fit.
pub(super) fn decimal(text: &[u8]) -> Option<u32> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u32, |value, octet| {
        let digit = octet.wrapping_sub(b'0');
        if digit > 9 { None } else { value.checked_mul(10)?.checked_add(u32::from(digit)) }
    })
}

/// An IPv4 address: four decimal numbers to 255, without zeros in front of them, between three dots.
pub(super) fn address_v4(text: &[u8]) -> Option<[u8; 4]> {
    let mut address = [0; 4];
    let (mut part, mut value, mut digits) = (0, 0_u16, 0);
    for &octet in text {
        let digit = octet.wrapping_sub(b'0');
        if digit <= 9 {
            if digits == 3 || (digits > 0 && value == 0) {
                return None;
            }
            value = value * 10 + u16::from(digit);
            digits += 1;
        } else {
            if octet != b'.' || digits == 0 || part == 3 {
                return None;
            }
            address[part] = u8::try_from(value).ok()?;
            (part, value, digits) = (part + 1, 0, 0);
        }
    }
    address[3] = u8::try_from(value).ok()?;
    (part == 3 && digits > 0).then_some(address)
}

/// A time in seconds: a number, or numbers with units as in `1h30m`.
pub(super) fn seconds(text: &[u8]) -> Result<u32, Stumble> {
    const EXPECTED: &str = "no time: expected seconds, or numbers with the units w d h m s, such as 1h30m";
    let mut total: u64 = 0;
    let mut number: Option<u64> = None;
    let mut units = false;
    for (at, &octet) in text.iter().enumerate() {
        if octet.is_ascii_digit() {
            let value = number.unwrap_or(0) * 10 + u64::from(octet - b'0');
            if value > u64::from(u32::MAX) {
                return stumble(0, "a time of more than 4,294,967,295 seconds");
            }
            number = Some(value);
            continue;
        }
        let (Some(value), Some(unit)) = (number.take(), unit_seconds(octet)) else {
            return stumble(at, EXPECTED);
        };
        units = true;
        // Bounded: value and total below 2^32, a unit below 2^20.
        total += value * unit;
        if total > u64::from(u32::MAX) {
            return stumble(0, "a time of more than 4,294,967,295 seconds");
        }
    }
    match number {
        Some(_) if units => stumble(text.len() - 1, "a number without a unit after one with a unit"),
        Some(value) => Ok(value as u32),
        None if units => Ok(total as u32),
        None => stumble(0, EXPECTED),
    }
}

fn unit_seconds(unit: u8) -> Option<u64> {
    Some(match unit.to_ascii_lowercase() {
        b's' => 1,
        b'm' => 60,
        b'h' => 3_600,
        b'd' => 86_400,
        b'w' => 604_800,
        _ => return None,
    })
}

/// The length of the uncompressed name at the start of `wire`; `None` when there is none.
pub(super) fn name_octets(wire: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let octets = usize::from(*wire.get(at)?);
        at += 1 + octets;
        if octets > LABEL_OCTETS_MAX || at > NAME_OCTETS_MAX {
            return None;
        }
        if octets == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Result<Vec<u8>, Stumble> {
        let mut wire = Vec::new();
        write_name(text.as_bytes(), b"\x07example\x00", &mut wire).map(|()| wire)
    }

    #[test]
    fn names_are_put_below_the_origin_unless_they_end_in_a_dot() {
        assert_eq!(name("www").unwrap(), b"\x03www\x07example\x00");
        assert_eq!(name("www.").unwrap(), b"\x03www\x00");
        assert_eq!(name("@").unwrap(), b"\x07example\x00");
        assert_eq!(name(".").unwrap(), b"\x00");
        assert_eq!(name("A.*._b").unwrap(), b"\x01A\x01*\x02_b\x07example\x00");
        assert_eq!(name("\\@").unwrap(), b"\x01@\x07example\x00");
        assert_eq!(name("a\\.b.").unwrap(), b"\x03a.b\x00");
        assert_eq!(name("a\\000\\255.").unwrap(), b"\x03a\x00\xFF\x00");
    }

    #[test]
    fn bad_names_are_refused_where_they_go_wrong() {
        assert_eq!(name("a..b").unwrap_err().0, 2);
        assert_eq!(name(".a").unwrap_err().0, 0);
        assert_eq!(name("a.\\256").unwrap_err().0, 2);
        assert_eq!(name("a\\25").unwrap_err().0, 1);
        assert_eq!(name("a\\").unwrap_err().0, 1);
        assert_eq!(name("bücher").unwrap_err().0, 1);
        assert_eq!(name(&format!("a.{}", "x".repeat(64))).unwrap_err().0, 2);
        assert!(name(&"x".repeat(63)).is_ok());
    }

    #[test]
    fn a_name_of_255_octets_fits_and_one_of_256_does_not() {
        let label = format!("{}.", "x".repeat(63));
        let longest = format!("{}{}.", label.repeat(3), "y".repeat(61));
        assert_eq!(name(&longest).unwrap().len(), 255);
        assert_eq!(name(&format!("{}{}.", label.repeat(3), "y".repeat(62))).unwrap_err().0, 0);
        // The origin counts: 246 octets and the nine of `example.`.
        assert_eq!(name(&format!("{}{}", label.repeat(3), "y".repeat(53))).unwrap().len(), 255);
        assert!(name(&format!("{}{}", label.repeat(3), "y".repeat(54))).is_err());
        assert!(name(&"x".repeat(100_000)).is_err());
    }

    #[test]
    fn times_take_units() {
        for (text, expected) in [
            ("0", 0),
            ("3600", 3_600),
            ("1h30m", 5_400),
            ("2W", 1_209_600),
            ("1w2D3h4M5s", 788_645),
            ("4294967295", u32::MAX),
            ("10m10m", 1_200),
        ] {
            assert_eq!(seconds(text.as_bytes()), Ok(expected), "{text}");
        }
        for (text, offset) in
            [("", 0), ("h", 0), ("1x", 1), ("1h30", 3), ("1hh", 2), ("-1", 0), ("4294967296", 0), ("8000w", 0)]
        {
            assert_eq!(seconds(text.as_bytes()).unwrap_err().0, offset, "{text}");
        }
    }

    #[test]
    fn strings_have_a_length_octet() {
        let mut wire = Vec::new();
        write_string(b"a\\\"\\065", true, &mut wire).unwrap();
        assert_eq!(wire, b"\x03a\"A");
        wire.clear();
        write_string(&[b'x'; 255], false, &mut wire).unwrap();
        assert_eq!(wire.len(), 256);
        assert!(write_string(&[b'x'; 256], false, &mut wire).is_err());
    }

    #[test]
    fn addresses_are_those_of_the_standard_library() {
        let parts = [
            "0", "1", "9", "10", "99", "100", "255", "256", "300", "00", "01", "001", "1000", "", "+1", "-1", "a",
            " 1", "1 ",
        ];
        let agrees = |text: &str| {
            let expected = text.parse::<std::net::Ipv4Addr>().ok().map(|address| address.octets());
            assert_eq!(address_v4(text.as_bytes()), expected, "{text}");
        };
        for a in parts {
            for b in parts {
                agrees(&format!("192.{a}.{b}.1"));
                agrees(&format!("{a}.0.2.{b}"));
            }
            for text in ["", ".", "1.2.3", "1.2.3.4.", "1.2.3.4.5", ".1.2.3.4", "1..2.3"] {
                agrees(&format!("{text}{a}"));
            }
        }
    }

    #[test]
    fn names_are_read_alike_whole_and_octet_by_octet() {
        // Each octet written as itself and as an escape, in short and long labels.
        for octet in (0..=0x7f_u8).filter(|octet| !b".\\".contains(octet)) {
            for ahead in [0, 1, 30] {
                let (ahead, itself) = ("x".repeat(ahead), [octet]);
                let text = [ahead.as_bytes(), &itself, b"y.z"].concat();
                let escaped = format!("{ahead}\\{octet:03}y.z");
                let mut wire = Vec::new();
                write_name(&text, b"\0", &mut wire).unwrap();
                assert_eq!(wire, name_at_root(&escaped), "{octet}");
            }
        }
    }

    fn name_at_root(text: &str) -> Vec<u8> {
        let mut wire = Vec::new();
        write_name(text.as_bytes(), b"\0", &mut wire).unwrap();
        wire
    }
}
