//! Octets from the network as text that is safe on a terminal: printable ASCII only.

use std::fmt::Write;

/// Presentation format of an uncompressed name, with the final dot (RFC 1035 §5.1); printable ASCII only.
pub(super) fn name_text(wire: &[u8]) -> String {
    let mut text = String::with_capacity(wire.len());
    let mut rest = wire;
    while let Some((&length, after)) = rest.split_first() {
        let Some((label, after)) = after.split_at_checked(usize::from(length)) else { break };
        if label.is_empty() {
            break;
        }
        for &octet in label {
            match octet {
                b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$' => {
                    text.push('\\');
                    text.push(char::from(octet));
                }
                0x21..=0x7e => text.push(char::from(octet)),
                _ => {
                    let _ = write!(text, "\\{octet:03}");
                }
            }
        }
        text.push('.');
        rest = after;
    }
    if text.is_empty() {
        text.push('.');
    }
    text
}

/// Octets as the inside of a quoted text: `"` and `\` after a backslash, what is not printable as `\DDD`.
pub(super) fn escape(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len());
    for &octet in octets {
        match octet {
            b'"' | b'\\' => {
                text.push('\\');
                text.push(char::from(octet));
            }
            0x20..=0x7e => text.push(char::from(octet)),
            _ => {
                let _ = write!(text, "\\{octet:03}");
            }
        }
    }
    text
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::with_capacity(octets.len() * 2), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

/// Lower-case hexadecimal digits, a space between octets.
pub(super) fn spaced_hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_octet_comes_out_printable_and_distinct() {
        let mut seen = std::collections::HashSet::new();
        for octet in 0..=u8::MAX {
            let quoted = escape(&[octet]);
            let name = name_text(&[1, octet, 0]);
            for text in [&quoted, &name] {
                assert!(text.bytes().all(|shown| (0x20..0x7f).contains(&shown)), "{octet}: {text:?}");
            }
            assert!(seen.insert(format!("quoted {quoted}")) && seen.insert(format!("name {name}")), "{octet}");
        }
        assert_eq!(escape(b"a\"\\ \x00"), r#"a\"\\ \000"#);
        assert_eq!(name_text(b"\x04a.; \x00"), r"a\.\;\032.");
    }

    #[test]
    fn names_and_digits() {
        assert_eq!(name_text(b"\x00"), ".");
        assert_eq!(name_text(b"\x01a\x02bc\x00"), "a.bc.");
        assert_eq!((hex(b"\x01\xff"), spaced_hex(b"\x01\xff")), ("01ff".to_owned(), "01 ff".to_owned()));
    }
}
