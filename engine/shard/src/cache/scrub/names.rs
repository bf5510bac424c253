//! The names of a message, each once and by a number, so that records of one owner are told by comparing numbers.

use smallvec::SmallVec;

use crate::limits::{NAME_OCTETS_MAX, SCRUB_NAMES_MAX};
use crate::wire::message::HEADER_OCTETS;
use crate::wire::name;
use crate::wire::u16_at;

/// The number of a name in the table of a message's names. The name asked is the first.
pub(super) type NameNumber = u8;

pub(super) const ASKED: NameNumber = 0;
/// A name for which the table had no room: nothing is known of it, and nothing of it kept.
pub(super) const UNKNOWN: NameNumber = u8::MAX;

/// A set of names of the table, a bit each.
pub(super) type NameSet = u64;

const _: () = assert!(SCRUB_NAMES_MAX <= NameSet::BITS as usize && SCRUB_NAMES_MAX < UNKNOWN as usize);
const _: () = assert!(SCRUB_NAMES_MAX * NAME_OCTETS_MAX <= u16::MAX as usize);

pub(super) fn bit(name: NameNumber) -> NameSet {
    if name == UNKNOWN { 0 } else { 1 << name }
}

/// The names that own records of a message or that aliases lead to, each once, in lower case.
pub(super) struct Names {
    octets: SmallVec<[u8; 256]>,
    ends: SmallVec<[u16; 8]>,
    /// The pointer that was read last, and its name: the records of a set mostly have the same.
    latest: (u16, NameNumber),
}

/// The octets of a pointer, and of one to the name of the question.
const POINTER: u16 = 0xc000;
const POINTER_TO_QUESTION: u16 = POINTER | HEADER_OCTETS as u16;

impl Names {
    pub(super) fn new(asked: &[u8]) -> Names {
        Names {
            octets: asked.into(),
            ends: smallvec::smallvec![asked.len() as u16],
            latest: (POINTER_TO_QUESTION, ASKED),
        }
    }

    pub(super) fn wire(&self, number: NameNumber) -> &[u8] {
        let number = usize::from(number);
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before].into());
        &self.octets[start..self.ends[number].into()]
    }

    pub(super) fn find(&self, wire: &[u8]) -> Option<NameNumber> {
        (0..self.ends.len() as NameNumber).find(|&number| self.wire(number) == wire)
    }

    /// The number of the name that begins at `at`; `None` where there is none.
    pub(super) fn number(&mut self, message: &[u8], at: usize) -> Option<NameNumber> {
        let pointer = u16_at(message, at).filter(|&word| word >= POINTER);
        if pointer == Some(self.latest.0) {
            return Some(self.latest.1);
        }
        let mut octets = [0; NAME_OCTETS_MAX];
        let wire = lower(message, at, &mut octets)?;
        let number = match self.find(wire) {
            Some(number) => number,
            None if self.ends.len() == SCRUB_NAMES_MAX => UNKNOWN,
            None => {
                self.octets.extend_from_slice(wire);
                self.ends.push(self.octets.len() as u16);
                (self.ends.len() - 1) as NameNumber
            }
        };
        if let Some(pointer) = pointer {
            self.latest = (pointer, number);
        }
        Some(number)
    }
}

/// The names of a set.
pub(super) fn members(set: NameSet) -> impl Iterator<Item = NameNumber> {
    (0..NameSet::BITS as NameNumber).filter(move |&number| set & bit(number) != 0)
}

/// Reads the name at `at` in lower case into `octets`.
pub(super) fn lower<'o>(message: &[u8], at: usize, octets: &'o mut [u8; NAME_OCTETS_MAX]) -> Option<&'o [u8]> {
    let (length, _) = name::expand(message, at, octets)?;
    octets[..length].make_ascii_lowercase();
    Some(&octets[..length])
}
