//! Messages as they come over a stream, each behind its length (RFC 1035 §4.2.2), from clients and from upstreams alike.

use std::io::{self, Read};

use crate::limits::{FRAME_OCTETS_MAX, TCP_READ_OCTETS};

/// Octets read and not yet handed on.
#[derive(Default)]
pub(crate) struct Input {
    octets: Vec<u8>,
    /// Of these, already handed on.
    start: usize,
}

/// What reading a stream brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrived {
    /// Octets, or nothing this time.
    More,
    /// The peer sends no more.
    End,
    /// The connection is broken.
    Error,
}

impl Input {
    /// Reads once, without waiting. All messages that are there must have been taken before, and [`Input::compact`]
    /// called.
    pub(crate) fn read(&mut self, mut stream: impl Read) -> Arrived {
        let have = self.octets.len();
        self.octets.resize(have + self.wanted(), 0);
        let read = stream.read(&mut self.octets[have..]);
        self.octets.truncate(have + read.as_ref().map_or(0, |read| *read));
        if self.octets.is_empty() {
            *self = Input::default();
        }
        match read {
            Ok(0) => Arrived::End,
            Ok(_) => Arrived::More,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Arrived::More
            }
            Err(_) => Arrived::Error,
        }
    }

    /// The next complete message, without its length; `None` where there is none.
    pub(crate) fn next_frame(&mut self) -> Option<&[u8]> {
        let length = self.frame_length()?;
        let from = self.start + 2;
        let to = from + length;
        if to > self.octets.len() {
            return None;
        }
        self.start = to;
        Some(&self.octets[from..to])
    }

    /// Forgets what has been handed on, and with the last octet the memory.
    pub(crate) fn compact(&mut self) {
        if self.start == self.octets.len() {
            *self = Input::default();
        } else {
            self.octets.drain(..self.start);
            self.start = 0;
        }
    }

    /// Whether nothing waits to be handed on.
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.octets.len()
    }

    /// How many octets to read: the rest of the message that has begun, but no more than there are already, so that
    /// memory grows with what has come and not with what was announced; and never less than a handful of messages.
    fn wanted(&self) -> usize {
        assert!(self.start == 0 && self.octets.len() < FRAME_OCTETS_MAX);
        let missing = self.frame_length().map_or(0, |length| (length + 2).saturating_sub(self.octets.len()));
        missing.min(self.octets.len()).max(TCP_READ_OCTETS)
    }

    fn frame_length(&self) -> Option<usize> {
        match self.octets[self.start..] {
            [high, low, ..] => Some(usize::from(u16::from_be_bytes([high, low]))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_whole_however_they_are_cut() {
        let short = &[1, 2, 300, 5_000, 12][..];
        let long = &[1, 2, 300, 5_000, 65_535, 12][..];
        for (step, expected) in [(1, short), (3, short), (1_000, long), (70_000, long)] {
            let mut stream = Vec::new();
            for &length in expected {
                stream.extend_from_slice(&(length as u16).to_be_bytes());
                stream.extend((0..length).map(|octet| octet as u8));
            }
            let mut input = Input::default();
            let mut lengths = Vec::new();
            let mut rest = &stream[..];
            while !rest.is_empty() {
                let octets = step.min(rest.len());
                let mut piece = &rest[..octets];
                assert_eq!(input.read(&mut piece), Arrived::More);
                rest = &rest[octets - piece.len()..];
                while let Some(frame) = input.next_frame() {
                    assert!(frame.iter().enumerate().all(|(place, octet)| *octet == place as u8));
                    lengths.push(frame.len());
                }
                input.compact();
            }
            assert_eq!(lengths, expected, "in steps of {step}");
            assert!(input.is_empty());
            assert_eq!(input.octets.capacity(), 0, "no memory while idle");
            assert_eq!(input.read(rest), Arrived::End);
            assert_eq!(input.octets.capacity(), 0);
        }
    }

    #[test]
    fn memory_grows_with_what_came() {
        let mut input = Input::default();
        input.octets.extend_from_slice(&[0xFF, 0xFF, 0]);
        assert_eq!(input.wanted(), TCP_READ_OCTETS);
        input.octets.resize(20_000, 0);
        assert_eq!(input.wanted(), 20_000);
        input.octets.resize(60_000, 0);
        assert_eq!(input.wanted(), FRAME_OCTETS_MAX - 60_000);
    }
}
