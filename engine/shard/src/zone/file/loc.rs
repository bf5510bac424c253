//! LOC record data: a place on the earth (RFC 1876 §2, §3).

use super::fields::Fields;
use super::flaw::{Flaw, shown};
use super::lexer::Token;

/// What is to be written, for messages.
pub(super) const SYNTAX: &str = "LOC DEGREES [MINUTES [SECONDS]] N|S DEGREES [MINUTES [SECONDS]] E|W \
                                 ALTITUDE[m] [SIZE[m] [HORIZONTAL[m] [VERTICAL[m]]]]";

/// Thousandths of a second of arc in a degree.
const DEGREE: u32 = 3_600_000;
/// The altitude, in centimetres, that is written as 0: 100 km below the reference spheroid.
const DEEPEST_CENTIMETRES: i64 = 10_000_000;
/// The largest size and precision: 9 · 10⁹ centimetres.
const SIZE_CENTIMETRES_MAX: u64 = 9_000_000_000;
/// Octets of the data.
const OCTETS: usize = 16;

/// Appends the data that the fields left in `fields` write.
pub(super) fn write(fields: &mut Fields<'_>, wire: &mut Vec<u8>) -> Result<(), Flaw> {
    let latitude = angle(fields, 90, [b'N', b'S'])?;
    let longitude = angle(fields, 180, [b'E', b'W'])?;
    let altitude = altitude(fields)?;
    let size = precision(fields, 0x12)?;
    let horizontal = precision(fields, 0x16)?;
    let vertical = precision(fields, 0x13)?;
    wire.extend_from_slice(&[0, size, horizontal, vertical]);
    wire.extend_from_slice(&latitude.to_be_bytes());
    wire.extend_from_slice(&longitude.to_be_bytes());
    wire.extend_from_slice(&altitude.to_be_bytes());
    Ok(())
}

/// Whether `data` is LOC record data on the wire: of version 0, since no other is defined.
pub(super) fn is_valid(data: &[u8]) -> bool {
    data.len() == OCTETS && data[0] == 0 && data[1..4].iter().all(|&octet| octet >> 4 <= 9 && octet & 0x0F <= 9)
}

/// Degrees, and perhaps minutes and seconds, and the half of the earth: `halves` are the positive and the negative one.
fn angle(fields: &mut Fields<'_>, degrees_max: u32, halves: [u8; 2]) -> Result<u32, Flaw> {
    let degrees = fields.number(degrees_max)?;
    let mut thousandths = degrees * DEGREE;
    let place = fields.last();
    if half(fields, halves).is_none() {
        thousandths += fields.number(59)? * 60_000;
    }
    if half(fields, halves).is_none() {
        let (token, octets) = fields.word()?;
        let seconds = fixed(octets, 3).filter(|&seconds| seconds < 60_000);
        thousandths += seconds.ok_or_else(|| wrong(token, octets, "number of seconds from 0 to 59.999"))? as u32;
    }
    let Some(negative) = half(fields, halves) else {
        let (token, octets) = fields.word()?;
        let [positive, negative] = halves.map(char::from);
        return Err(token.flaw(0, format!("{} is neither {positive} nor {negative}", shown(octets))));
    };
    fields.take()?;
    if thousandths > degrees_max * DEGREE {
        return Err(place.flaw(0, format!("an angle of more than {degrees_max} degrees")));
    }
    Ok(if negative { (1 << 31) - thousandths } else { (1 << 31) + thousandths })
}

/// Whether the next field names a half of the earth, and whether it is the negative one.
fn half(fields: &Fields<'_>, [positive, negative]: [u8; 2]) -> Option<bool> {
    let token = fields.peek()?;
    match fields.octets(token) {
        [letter] if letter.eq_ignore_ascii_case(&positive) => Some(false),
        [letter] if letter.eq_ignore_ascii_case(&negative) => Some(true),
        _ => None,
    }
}

fn altitude(fields: &mut Fields<'_>) -> Result<u32, Flaw> {
    let (token, octets) = fields.word()?;
    let metres = without_unit(octets);
    let (negative, digits) = match metres.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, metres),
    };
    fixed(digits, 2)
        .and_then(|centimetres| i64::try_from(centimetres).ok())
        .map(|centimetres| if negative { -centimetres } else { centimetres })
        .and_then(|centimetres| u32::try_from(centimetres + DEEPEST_CENTIMETRES).ok())
        .ok_or_else(|| wrong(token, octets, "altitude from -100000.00m to 42849672.95m"))
}

/// A size or a precision as an octet: a digit and a power of ten, in centimetres (RFC 1876 §2); `absent` if none is
/// left.
fn precision(fields: &mut Fields<'_>, absent: u8) -> Result<u8, Flaw> {
    if fields.peek().is_none() {
        return Ok(absent);
    }
    let (token, octets) = fields.word()?;
    let mut digit = fixed(without_unit(octets), 2)
        .filter(|&centimetres| centimetres <= SIZE_CENTIMETRES_MAX)
        .ok_or_else(|| wrong(token, octets, "size from 0m to 90000000.00m"))?;
    let mut power = 0;
    while digit > 9 {
        digit /= 10;
        power += 1;
    }
    Ok((digit as u8) << 4 | power)
}

fn without_unit(octets: &[u8]) -> &[u8] {
    octets.strip_suffix(b"m").or_else(|| octets.strip_suffix(b"M")).unwrap_or(octets)
}

fn wrong(token: Token, octets: &[u8], expected: &str) -> Flaw {
    token.flaw(0, format!("{} is no {expected}", shown(octets)))
}

/// A decimal number in units of 10^-`places`, which it may be as exact as; `None` when it is none or too long.
fn fixed(text: &[u8], places: usize) -> Option<u64> {
    let (whole, fraction) = match text.iter().position(|&octet| octet == b'.') {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &[][..]),
    };
    if whole.is_empty() || whole.len() > 12 || fraction.len() > places || text.ends_with(b".") {
        return None;
    }
    let digits = whole.iter().chain(fraction).copied().chain(std::iter::repeat_n(b'0', places - fraction.len()));
    digits.into_iter().try_fold(0u64, |value, octet| {
        let digit = octet.wrapping_sub(b'0');
        (digit <= 9).then(|| value * 10 + u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_point_numbers() {
        for (text, places, expected) in [
            ("0", 2, Some(0)),
            ("1.5", 2, Some(150)),
            ("59.999", 3, Some(59_999)),
            ("1.", 2, None),
            (".5", 2, None),
            ("1.234", 2, None),
            ("1x", 2, None),
            ("1.2.3", 3, None),
            ("", 2, None),
            ("9999999999999", 2, None),
        ] {
            assert_eq!(fixed(text.as_bytes(), places), expected, "{text}");
        }
    }

    #[test]
    fn the_wire_form_has_digits_and_powers_below_ten() {
        let mut data = [0; OCTETS];
        assert!(is_valid(&data));
        data[2] = 0x99;
        assert!(is_valid(&data));
        data[2] = 0xA0;
        assert!(!is_valid(&data));
        data[2] = 0x0A;
        assert!(!is_valid(&data));
        assert!(!is_valid(&data[..15]));
    }
}
