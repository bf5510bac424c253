//! Mistakes in a configuration file, each with its place, and values that remember where they stood.

use std::fmt;
use std::ops::{Deref, DerefMut};

/// A place in a configuration file: line, and column in characters, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The character of the line.
    pub column: u32,
}

/// A value and where it was found: the place of the value, or for a default that of its table's heading. Two are
/// equal when the values are.
#[derive(Clone, Copy, Debug)]
pub struct At<T> {
    value: T,
    place: Place,
}

impl<T> At<T> {
    pub(super) fn new(value: T, place: Place) -> At<T> {
        At { value, place }
    }

    /// Where the value was found.
    pub fn place(&self) -> Place {
        self.place
    }
}

impl<T> Deref for At<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for At<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: PartialEq> PartialEq for At<T> {
    fn eq(&self, other: &At<T>) -> bool {
        self.value == other.value
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where it is.
    pub place: Place,
    /// What was found there, and what is accepted.
    pub message: String,
}

/// Everything that is wrong with a configuration file, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    /// The file, as the user named it.
    pub file: String,
    /// At least one mistake.
    pub list: Vec<Fault>,
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Fault { place, message }) in self.list.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{}:{}:{}: {message}", self.file, place.line, place.column)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// Collects mistakes in any order.
#[derive(Debug, Default)]
pub(super) struct Collector {
    found: Vec<Fault>,
}

impl Collector {
    pub(super) fn push(&mut self, place: Place, message: String) {
        self.found.push(Fault { place, message });
    }

    /// The mistakes in the order of the file, or `None` when there are none.
    pub(super) fn finish(self, file: &str) -> Option<Faults> {
        let mut list = self.found;
        list.sort_by_key(|fault| fault.place);
        (!list.is_empty()).then(|| Faults { file: file.to_owned(), list })
    }
}

/// A text and where its lines begin.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a str) -> Lines<'a> {
        let after_newlines = text.bytes().enumerate().filter(|(_, octet)| *octet == b'\n').map(|(at, _)| at + 1);
        Lines { text, starts: std::iter::once(0).chain(after_newlines).collect() }
    }

    /// The text between two offsets.
    pub(super) fn part(&self, range: std::ops::Range<usize>) -> &'a str {
        self.text.get(range).unwrap_or_default()
    }

    pub(super) fn place(&self, offset: usize) -> Place {
        let offset = self.text.floor_char_boundary(offset);
        let line = self.starts.partition_point(|start| *start <= offset);
        let column = self.text[self.starts[line - 1]..offset].chars().count() + 1;
        Place { line: line as u32, column: column as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let lines = Lines::new("ä = 1\n\nb = 2");
        for (offset, line, column) in [(0, 1, 1), (2, 1, 2), (3, 1, 3), (7, 2, 1), (8, 3, 1), (12, 3, 5), (99, 3, 6)] {
            assert_eq!(lines.place(offset), Place { line, column }, "{offset}");
        }
        assert_eq!(Lines::new("").place(0), Place { line: 1, column: 1 });
    }
}
