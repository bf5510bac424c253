//! Moments as people and programs write them: RFC 3339, or seconds since the beginning of 1970.

use serde::Serialize;
use utoipa::ToSchema;

use crate::calendar::{date, days};

/// Microseconds of a second.
pub(super) const MICROS: u64 = 1_000_000;
const DAY_SECONDS: u64 = 86_400;
/// Seconds at the end of the year 9999.
const SECONDS_MAX: u64 = 253_402_300_799;

/// What is accepted where a moment is asked for.
pub(super) const ACCEPTED: &str =
    "a time such as 2026-11-21T19:46:38Z or 2026-11-21T20:46:38.5+01:00 (with the `+` as %2B), or seconds since 1970";

/// A moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Moment {
    /// RFC 3339 in UTC, to the microsecond.
    #[schema(format = DateTime)]
    time: String,
    /// Microseconds since the beginning of 1970.
    unix_us: u64,
}

impl Moment {
    /// The moment so many microseconds after the beginning of 1970.
    pub(super) fn at(unix_us: u64) -> Moment {
        let (seconds, micros) = (unix_us / MICROS, unix_us % MICROS);
        let (days, second) = (seconds / DAY_SECONDS, seconds % DAY_SECONDS);
        let (year, month, day) = date(days);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        let time = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z");
        Moment { time, unix_us }
    }
}

/// Microseconds since the beginning of 1970; `None` for what is neither form, and for years before 1970 and after 9999.
pub(super) fn read(text: &str) -> Option<u64> {
    read_seconds(text).or_else(|| read_rfc3339(text))
}

fn read_seconds(text: &str) -> Option<u64> {
    let (seconds, micros) = match text.split_once('.') {
        Some((seconds, fraction)) => (seconds, read_fraction(fraction)?),
        None => (text, 0),
    };
    let seconds = digits(seconds).filter(|seconds| *seconds <= SECONDS_MAX)?;
    Some(seconds * MICROS + micros)
}

/// The `date-time` of RFC 3339 §5.6. A leap second is the one that follows it.
fn read_rfc3339(text: &str) -> Option<u64> {
    let (date, rest) = text.split_at_checked(10)?;
    let (year, month, day) = (digits(date.get(..4)?)?, digits(date.get(5..7)?)?, digits(date.get(8..)?)?);
    let (clock, rest) = rest.strip_prefix(['T', 't', ' '])?.split_at_checked(8)?;
    let (hour, minute, second) = (digits(clock.get(..2)?)?, digits(clock.get(3..5)?)?, digits(clock.get(6..)?)?);
    let separators = [date.as_bytes()[4], date.as_bytes()[7], clock.as_bytes()[2], clock.as_bytes()[5]];
    if separators != *b"--::" || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (micros, zone) = match rest.strip_prefix('.') {
        Some(rest) => {
            let end = rest.find(|character: char| !character.is_ascii_digit())?;
            (read_fraction(&rest[..end])?, &rest[end..])
        }
        None => (0, rest),
    };
    let seconds = days(year, month, day)? * DAY_SECONDS + hour * 3_600 + minute * 60 + second;
    let seconds = read_zone(zone)?.checked_add_unsigned(seconds)?;
    u64::try_from(seconds).ok().filter(|seconds| *seconds <= SECONDS_MAX).map(|seconds| seconds * MICROS + micros)
}

/// What is to be added to a local time for UTC, in seconds.
fn read_zone(text: &str) -> Option<i64> {
    if let "Z" | "z" = text {
        return Some(0);
    }
    let (is_ahead, offset) = match text.split_at_checked(1)? {
        ("+", offset) => (true, offset),
        ("-", offset) => (false, offset),
        _ => return None,
    };
    let (hours, minutes) = offset.split_once(':')?;
    let two = |text: &str| digits(text).filter(|_| text.len() == 2);
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    let seconds = (hours < 24 && minutes < 60).then_some((hours * 3_600 + minutes * 60) as i64)?;
    Some(if is_ahead { -seconds } else { seconds })
}

/// Microseconds behind a point; what is finer is left out.
fn read_fraction(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    let digits = text.bytes().chain(std::iter::repeat(b'0')).take(6);
    is_number.then(|| digits.fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

/// A number of decimal digits and nothing else.
fn digits(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn moments_are_read_in_either_form() {
        for (text, micros) in [
            ("0", 0),
            ("1763754398", 1_763_754_398_000_000),
            ("1763754398.25", 1_763_754_398_250_000),
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T01:00:00+01:00", 0),
            ("1970-01-01T00:30:00-00:30", 3_600_000_000),
            ("2000-02-29T12:00:00.000001Z", 951_825_600_000_001),
            ("2000-02-29 12:00:00.1234567890z", 951_825_600_123_456),
            ("2016-12-31t23:59:60Z", 1_483_228_800_000_000),
            ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999),
        ] {
            assert_eq!(read(text), Some(micros), "{text}");
        }
        for text in [
            "",
            "-1",
            "+1",
            "1e3",
            "1.",
            ".5",
            "1.x",
            "1.1234567x",
            "253402300800",
            "99999999999999999999999",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01",
            "2026-01-01T00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:61Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00.5",
            "2026-01-01T00:00:00+1:00",
            "2026-01-01T00:00:00+24:00",
            "2026-01-01T00:00:00é",
            "2026-01-01é00:00:00Z",
            "é026-01-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "1969-12-31T23:30:00-00:30",
            "1970-01-01T00:00:00+00:01",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_moment_is_shown_in_both_forms() {
        let shown = Moment::at(951_825_600_000_001);
        assert_eq!(shown, Moment { time: "2000-02-29T12:00:00.000001Z".to_owned(), unix_us: 951_825_600_000_001 });
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_as_the_same_moment(micros in 0..(SECONDS_MAX + 1) * MICROS) {
            prop_assert_eq!(read(&Moment::at(micros).time), Some(micros));
        }

        #[test]
        fn any_text_is_read_or_not(text in "[0-9TZ:.+é-]{0,30}") {
            let _ = read(&text);
        }
    }
}
