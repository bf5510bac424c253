//! Pieces of answers, for people: what a server says is checked for what it is, and a `-` stands for what it leaves out.

use serde_json::Value;

/// What stands for a value that is not there, or is of another kind.
pub(crate) fn absent() -> String {
    "-".to_owned()
}

/// Text without what a terminal would obey.
pub(crate) fn words(value: &Value) -> String {
    value.as_str().map_or_else(absent, harmless)
}

/// Text in which nothing is left that a terminal would obey, or that turns the order of what stands around it.
pub(crate) fn harmless(text: &str) -> String {
    let turns =
        |character| matches!(character, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.replace(|character: char| character.is_control() || turns(character), "?")
}

/// A whole number.
pub(crate) fn figure(value: &Value) -> String {
    value.as_u64().map_or_else(absent, |figure| figure.to_string())
}

/// `yes` or `no`.
pub(crate) fn truth(value: &Value) -> String {
    value.as_bool().map_or_else(absent, |is| if is { "yes" } else { "no" }.to_owned())
}

/// The words of a list, with commas between them.
pub(crate) fn list(value: &Value) -> String {
    match value.as_array() {
        Some(all) if !all.is_empty() => all.iter().map(words).collect::<Vec<String>>().join(","),
        _ => absent(),
    }
}

/// Memory.
pub(crate) fn octets(value: &Value) -> String {
    value.as_u64().map_or_else(absent, octets_of)
}

/// Memory, in the unit that leaves few digits.
pub(crate) fn octets_of(octets: u64) -> String {
    const UNITS: [(&str, u32); 3] = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match UNITS.iter().find(|(_, bits)| octets >> bits > 0) {
        Some((unit, bits)) => format!("{:.1} {unit}", octets as f64 / (1u64 << bits) as f64),
        None => format!("{octets} B"),
    }
}

/// Seconds, in their two largest units.
pub(crate) fn seconds(value: &Value) -> String {
    value.as_u64().map_or_else(absent, span)
}

/// Seconds, in their two largest units.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// Microseconds, as seconds in their two largest units.
pub(crate) fn seconds_of(micros: u64) -> String {
    span(micros / 1_000_000)
}

/// Microseconds, in milliseconds with one digit.
pub(crate) fn milliseconds(value: &Value) -> String {
    value.as_u64().map_or_else(absent, |micros| format!("{:.1} ms", micros as f64 / 1_000.0))
}

/// Microseconds, in the unit that leaves three digits.
pub(crate) fn micros(value: &Value) -> String {
    value.as_u64().map_or_else(absent, micros_of)
}

/// Microseconds, in the unit that leaves three digits.
pub(crate) fn micros_of(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..10_000 => format!("{:.2} ms", micros as f64 / 1e3),
        10_000..100_000 => format!("{:.1} ms", micros as f64 / 1e3),
        100_000..1_000_000 => format!("{:.0} ms", micros as f64 / 1e3),
        1_000_000..10_000_000 => format!("{:.2} s", micros as f64 / 1e6),
        _ => format!("{:.0} s", micros as f64 / 1e6),
    }
}

/// The share that `part` has in `all`.
pub(crate) fn share(part: u64, all: u64) -> String {
    match all {
        0 => absent(),
        _ => format!("{:.1} %", part as f64 * 100.0 / all as f64),
    }
}

/// A span that people write, a whole number and its unit, in microseconds.
pub(crate) fn span_in_micros(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 6] =
        [("us", 1), ("ms", 1_000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000), ("d", 86_400_000_000)];
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = text.split_at(digits);
    let unit = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, micros)| micros);
    let span = count.parse::<u64>().ok().zip(unit).and_then(|(count, unit)| count.checked_mul(*unit));
    span.ok_or_else(|| "it is no span such as 250ms, 5s, 15m, 2h or 1d".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_not_repeated() {
        assert_eq!(words(&json!("a\u{1b}[2Jb\n\u{9b}c\u{202e}d")), "a?[2Jb??c?d");
        assert_eq!(words(&json!("äöü 日本")), "äöü 日本");
        assert_eq!(list(&json!(["a", 7, "b\r"])), "a,-,b?");
    }

    #[test]
    fn what_is_of_another_kind_is_absent() {
        for value in [json!(null), json!(-1), json!(1.5), json!("7"), json!(1e300), json!([7])] {
            assert_eq!((figure(&value), octets(&value), micros(&value)), (absent(), absent(), absent()), "{value}");
            assert_eq!((seconds(&value), truth(&value)), (absent(), absent()), "{value}");
        }
        assert_eq!((list(&json!([])), list(&json!("a")), words(&json!(7))), (absent(), absent(), absent()));
        assert_eq!((truth(&json!(true)), truth(&json!(false))), ("yes".to_owned(), "no".to_owned()));
    }

    #[test]
    fn figures_have_the_unit_that_suits_them() {
        for (value, told) in [(1_023, "1023 B"), (1_024, "1.0 KiB"), (256 << 20, "256.0 MiB"), (3 << 29, "1.5 GiB")] {
            assert_eq!(octets_of(value), told);
        }
        assert_eq!(octets_of(u64::MAX), "17179869184.0 GiB");
        for (value, told) in [
            (999, "999 µs"),
            (1_260, "1.26 ms"),
            (12_345, "12.3 ms"),
            (123_456, "123 ms"),
            (1_234_567, "1.23 s"),
            (134_000_000, "134 s"),
        ] {
            assert_eq!(micros_of(value), told);
        }
        for (value, told) in [(59, "59s"), (61, "1m01s"), (3_725, "1h02m"), (90_061, "1d01h")] {
            assert_eq!(span(value), told);
        }
        assert_eq!(
            (share(1, 3), share(0, 0), share(u64::MAX, u64::MAX)),
            ("33.3 %".into(), absent(), "100.0 %".into())
        );
    }

    #[test]
    fn a_span_is_a_whole_number_and_its_unit() {
        for (text, micros) in [("7us", 7), ("250ms", 250_000), ("5s", 5_000_000), ("2h", 7_200_000_000)] {
            assert_eq!(span_in_micros(text), Ok(micros));
        }
        for text in ["", "5", "s", "-1s", "1.5s", "5 s", "18446744073709551615d", "5é"] {
            assert!(span_in_micros(text).is_err(), "{text}");
        }
    }
}
