//! What is wrong with a text, and where: a [`Fault`](super::Fault) before its file's name is known.

use std::fmt;

use domain::base::scan::ScannerError;

/// Octets of the user's text that a message quotes.
const SHOWN_OCTETS_MAX: usize = 40;

/// A mistake in a master file. Boxed, so that what succeeds stays small.
#[derive(Debug)]
pub(super) struct Flaw(Box<Body>);

#[derive(Debug)]
struct Body {
    /// Line and column, from 1; `None` while only the caller knows them.
    place: Option<(u32, u32)>,
    message: String,
    /// The message says what was expected.
    expecting: bool,
}

impl Flaw {
    /// A mistake at `line` and `column`.
    pub(super) fn at(line: u32, column: u32, message: impl Into<String>) -> Flaw {
        Flaw(Box::new(Body { place: Some((line, column)), message: message.into(), expecting: false }))
    }

    /// Line and column; `None` while only the caller knows them.
    pub(super) fn place(&self) -> Option<(u32, u32)> {
        self.0.place
    }

    /// What is wrong.
    pub(super) fn message(&self) -> &str {
        &self.0.message
    }

    /// Says what was expected, unless that is said already.
    pub(super) fn expecting(mut self, expected: &str) -> Flaw {
        if !self.0.expecting {
            self.0.message.push_str("; expected ");
            self.0.message.push_str(expected);
            self.0.expecting = true;
        }
        self
    }

    /// Adds `more` to the message.
    pub(super) fn and(mut self, more: &str) -> Flaw {
        self.0.message.push_str(more);
        self
    }

    /// Gives a mistake without a place this one.
    pub(super) fn or_at(mut self, line: u32, column: u32) -> Flaw {
        self.0.place.get_or_insert((line, column));
        self
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Flaw {}

/// The way `domain` reports mistakes: without a place, which the scanner knows.
impl ScannerError for Flaw {
    fn custom(message: &'static str) -> Self {
        Flaw(Box::new(Body { place: None, message: message.to_owned(), expecting: false }))
    }

    fn end_of_entry() -> Self {
        Self::custom("a field is missing")
    }

    fn short_buf() -> Self {
        Self::custom("more than 65,535 octets of record data")
    }

    fn trailing_tokens() -> Self {
        Self::custom("a field too many")
    }
}

/// The user's octets, fit for a message: printable, and not too many.
pub(super) fn shown(octets: &[u8]) -> String {
    let cut = octets.len() > SHOWN_OCTETS_MAX;
    let text = String::from_utf8_lossy(if cut { &octets[..SHOWN_OCTETS_MAX] } else { octets });
    let mut shown = String::with_capacity(text.len() + 8);
    shown.push('`');
    for character in text.chars() {
        match character {
            '\\' | '"' | '\'' => shown.push(character),
            _ => shown.extend(character.escape_debug()),
        }
    }
    shown.push_str(if cut { "…`" } else { "`" });
    shown
}
