//! Replies that wait to be written.

use ringdns_shard::Time;

use crate::limits::{TCP_OUTPUT_OCTETS_MIN, TCP_OUTPUT_PAUSE_OCTETS};

/// Replies that wait to be written, framed.
#[derive(Default)]
pub(super) struct Output {
    octets: Vec<u8>,
    /// Of these, already written.
    written: usize,
    /// So many octets must leave within the time-out that began at `owed_since`.
    owed: usize,
    owed_since: Time,
}

impl Output {
    /// How many octets wait.
    pub(super) fn waiting(&self) -> usize {
        self.octets.len() - self.written
    }

    /// What waits.
    pub(super) fn rest(&self) -> &[u8] {
        &self.octets[self.written..]
    }

    /// Since when the client owes us to take something, where it does.
    pub(super) fn owed_since(&self) -> Option<Time> {
        (self.owed > 0).then_some(self.owed_since)
    }

    /// Adds a reply behind the others.
    pub(super) fn push(&mut self, now: Time, reply: &[u8]) {
        let length = u16::try_from(reply.len()).expect("a message has a length of 16 bits");
        if self.octets.capacity() == 0 {
            self.octets.reserve(TCP_OUTPUT_OCTETS_MIN.max(reply.len() + 2));
        }
        self.octets.extend_from_slice(&length.to_be_bytes());
        self.octets.extend_from_slice(reply);
        if self.owed == 0 {
            self.owe(now);
        }
    }

    /// So many octets of [`Output::rest`] have left.
    pub(super) fn wrote(&mut self, now: Time, octets: usize) {
        self.written += octets;
        self.owed = self.owed.saturating_sub(octets);
        if self.owed == 0 {
            self.owe(now);
        }
        if self.waiting() == 0 {
            *self = Output::default();
        } else if self.written > self.octets.len() / 2 {
            self.octets.drain(..self.written);
            self.written = 0;
        }
    }

    /// Begins a stretch: a bounded one, so that a slow line is not asked for more than a certain rate.
    fn owe(&mut self, now: Time) {
        (self.owed, self.owed_since) = (self.waiting().min(TCP_OUTPUT_PAUSE_OCTETS), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_owed_as_a_whole() {
        let mut output = Output::default();
        output.push(Time::from_secs(1), &[0; 98]);
        output.push(Time::from_secs(2), &[0; 98]);
        assert_eq!((output.waiting(), output.owed, output.owed_since), (200, 100, Time::from_secs(1)));
        output.wrote(Time::from_secs(3), 99);
        assert_eq!((output.owed, output.owed_since()), (1, Some(Time::from_secs(1))), "a sip buys no time");
        output.wrote(Time::from_secs(4), 1);
        assert_eq!((output.owed, output.owed_since()), (100, Some(Time::from_secs(4))));
        output.wrote(Time::from_secs(5), 100);
        assert_eq!((output.waiting(), output.owed_since(), output.octets.capacity()), (0, None, 0));
    }
}
