//! Messages as they come over a stream, each behind its length (RFC 1035 §4.2.2), from clients and from upstreams alike.

use std::io::{self, Read};

use crate::limits::FRAME_OCTETS_MAX;

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
    /// Reads once, without waiting, by way of `scratch`. All messages that are there must have been taken before, and
    /// [`Input::compact`] called.
    pub(crate) fn read(&mut self, mut stream: impl Read, scratch: &mut [u8]) -> Arrived {
        assert!(self.start == 0 && self.octets.len() < FRAME_OCTETS_MAX);
        match stream.read(scratch) {
            Ok(0) => Arrived::End,
            Ok(octets) => {
                self.octets.extend_from_slice(&scratch[..octets]);
                Arrived::More
            }
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
    use crate::limits::TCP_READ_OCTETS;

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
            let mut scratch = vec![0; TCP_READ_OCTETS].into_boxed_slice();
            let mut input = Input::default();
            let mut lengths = Vec::new();
            let mut rest = &stream[..];
            while !rest.is_empty() {
                let octets = step.min(rest.len());
                let mut piece = &rest[..octets];
                assert_eq!(input.read(&mut piece, &mut scratch), Arrived::More);
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
            assert_eq!(input.read(rest, &mut scratch), Arrived::End);
            assert_eq!(input.octets.capacity(), 0);
        }
    }

    #[test]
    fn memory_grows_with_what_came() {
        let mut scratch = vec![0; TCP_READ_OCTETS].into_boxed_slice();
        let mut input = Input::default();
        // The longest message is announced, and one octet of it comes.
        assert_eq!(input.read(&[0xFF, 0xFF, 0][..], &mut scratch), Arrived::More);
        assert!(input.next_frame().is_none() && !input.is_empty());
        assert!(input.octets.capacity() < 64, "{}", input.octets.capacity());
        // Whatever is there, one read takes a bounded part of it.
        assert_eq!(input.read(&vec![0; 1 << 20][..], &mut scratch), Arrived::More);
        assert_eq!(input.octets.len(), 3 + TCP_READ_OCTETS);
        assert!(input.octets.capacity() <= 2 * input.octets.len());
    }
}
