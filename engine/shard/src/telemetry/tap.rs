//! Whole messages for dnstap, as a core writes them: copied in chunks that another thread reads.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::log::{mapped, trim};
use crate::limits::TAP_CHUNK_OCTETS;
use crate::time::Time;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A request of a client.
    ClientQuery,
    /// The reply to one.
    ClientResponse,
    /// A query to an upstream.
    UpstreamQuery,
    /// A reply of an upstream.
    UpstreamResponse,
}

const KINDS: [Kind; 4] = [Kind::ClientQuery, Kind::ClientResponse, Kind::UpstreamQuery, Kind::UpstreamResponse];

/// A message that came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it is.
    pub kind: Kind,
    /// Over a connection, not as a datagram.
    pub tcp: bool,
    /// When the query came or went.
    pub asked: Time,
    /// When the response went or came; of a query, the same.
    pub at: Time,
    /// The other side: a client, or an upstream server.
    pub peer: SocketAddr,
    /// The address of ours that a client asked, where that is known.
    pub local: Option<IpAddr>,
    /// Index of the listener, of what comes from or goes to clients.
    pub listener: u16,
    /// The message, without a length prefix.
    pub octets: &'a [u8],
}

/// Octets of a record before the message: kind, TCP, listener, octets of the message (4), two times (16), port of the peer
/// (2), whether `local` is known (1), unused (1), addresses of the peer and of `local`.
const FIXED_OCTETS: usize = 60;
/// Where [`Message::at`] stands.
const WHEN_AT: usize = 16;

impl Message<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let mut fixed = [0; FIXED_OCTETS];
        fixed[0] = self.kind as u8;
        fixed[1] = self.tcp.into();
        fixed[2..4].copy_from_slice(&self.listener.to_le_bytes());
        fixed[4..8].copy_from_slice(&(self.octets.len() as u32).to_le_bytes());
        fixed[8..16].copy_from_slice(&self.asked.as_micros().to_le_bytes());
        fixed[WHEN_AT..24].copy_from_slice(&self.at.as_micros().to_le_bytes());
        fixed[24..26].copy_from_slice(&self.peer.port().to_le_bytes());
        fixed[26] = self.local.is_some().into();
        fixed[28..44].copy_from_slice(&mapped(self.peer.ip()));
        if let Some(local) = self.local {
            fixed[44..60].copy_from_slice(&mapped(local));
        }
        out.extend_from_slice(&fixed);
        out.extend_from_slice(self.octets);
    }

    fn read(octets: &[u8]) -> Option<(Message<'_>, &[u8])> {
        let (fixed, rest) = octets.split_first_chunk::<FIXED_OCTETS>()?;
        let u16_at = |at: usize| u16::from_le_bytes([fixed[at], fixed[at + 1]]);
        let time =
            |at: usize| Time::from_micros(u64::from_le_bytes(fixed[at..at + 8].try_into().expect("eight octets")));
        let address = |at: usize| {
            let octets: [u8; 16] = fixed[at..at + 16].try_into().expect("sixteen octets");
            Ipv6Addr::from(octets).to_canonical()
        };
        let length = u32::from_le_bytes(fixed[4..8].try_into().expect("four octets"));
        let (message, rest) = rest.split_at_checked(length as usize)?;
        let message = Message {
            kind: *KINDS.get(usize::from(fixed[0]))?,
            tcp: fixed[1] != 0,
            asked: time(8),
            at: time(WHEN_AT),
            peer: SocketAddr::new(address(28), u16_at(24)),
            local: (fixed[26] != 0).then(|| address(44)),
            listener: u16_at(2),
            octets: message,
        };
        Some((message, rest))
    }
}

/// Messages on their way to a reader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    octets: Vec<u8>,
    /// How many there are.
    pub messages: u32,
}

impl Chunk {
    /// Octets of memory that it takes.
    pub fn octets(&self) -> usize {
        self.octets.capacity()
    }

    /// The messages, in the order in which they were written.
    pub fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        let mut rest = &self.octets[..];
        core::iter::from_fn(move || {
            let (message, after) = Message::read(rest)?;
            rest = after;
            Some(message)
        })
    }
}

/// What a core's tap has taken since the last chunk.
#[derive(Debug, Default)]
pub struct Tap {
    chunk: Chunk,
    /// Where replies begin that have not been sent yet: those of the batch at hand.
    unsent: Vec<u32>,
}

impl Tap {
    /// Appends one.
    pub fn push(&mut self, message: &Message<'_>) {
        let Chunk { octets, messages } = &mut self.chunk;
        if octets.capacity() == 0 {
            octets.reserve_exact(TAP_CHUNK_OCTETS + TAP_CHUNK_OCTETS / 4);
        }
        message.write(octets);
        *messages += 1;
    }

    /// Appends a reply that goes out with the batch at hand.
    pub(crate) fn push_unsent(&mut self, message: &Message<'_>) {
        self.unsent.push(self.chunk.octets.len() as u32);
        self.push(message);
    }

    /// The replies of the batch at hand have been sent.
    pub(crate) fn sent(&mut self, now: Time) {
        for at in self.unsent.drain(..) {
            let at = at as usize + WHEN_AT;
            self.chunk.octets[at..at + 8].copy_from_slice(&now.as_micros().to_le_bytes());
        }
    }

    /// Whether there is enough for a chunk.
    pub fn is_full(&self) -> bool {
        self.chunk.octets.len() >= TAP_CHUNK_OCTETS
    }

    /// Whether there is so much that a chunk is taken in the midst of an event, and not at the end of its batch: as soon as
    /// it is full, where no reply in it is still to be sent, and otherwise at four times as much.
    pub fn cannot_wait(&self) -> bool {
        self.is_full() && (self.unsent.is_empty() || self.chunk.octets.len() >= 4 * TAP_CHUNK_OCTETS)
    }

    /// What has been taken since the last time, if anything. Between two batches: what is not sent yet has the time of its
    /// request.
    pub fn take(&mut self) -> Option<Chunk> {
        self.unsent.clear();
        trim(&mut self.chunk.octets);
        (self.chunk.messages > 0).then(|| core::mem::take(&mut self.chunk))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_as_they_went_in() {
        let first = Message {
            kind: Kind::ClientResponse,
            tcp: true,
            asked: Time::from_micros(5),
            at: Time::from_micros(9),
            peer: "[2001:db8::7]:1053".parse().unwrap(),
            local: Some("192.0.2.1".parse().unwrap()),
            listener: 3,
            octets: &[7; 300],
        };
        let second = Message { kind: Kind::UpstreamQuery, tcp: false, local: None, octets: b"", ..first };
        let mut tap = Tap::default();
        assert_eq!(tap.take(), None);
        tap.push(&first);
        tap.push(&second);
        let chunk = tap.take().unwrap();
        assert_eq!((chunk.messages, chunk.messages().collect::<Vec<_>>()), (2, vec![first, second]));
        assert_eq!(tap.take(), None);
        tap.push_unsent(&first);
        tap.push(&second);
        tap.sent(Time::from_micros(50));
        let sent = tap.take().unwrap();
        let expected = [Message { at: Time::from_micros(50), ..first }, second];
        assert_eq!(sent.messages().collect::<Vec<_>>(), expected);
        for cut in 0..FIXED_OCTETS + 300 {
            let chunk = Chunk { octets: chunk.octets[..cut].to_vec(), messages: 2 };
            assert_eq!(chunk.messages().count(), 0, "{cut}");
        }
    }

    fn of_octets(octets: &[u8]) -> Message<'_> {
        Message {
            kind: Kind::ClientResponse,
            tcp: true,
            asked: Time::ZERO,
            at: Time::ZERO,
            peer: "192.0.2.7:4711".parse().unwrap(),
            local: None,
            listener: 0,
            octets,
        }
    }

    #[test]
    fn a_full_chunk_waits_for_replies_that_are_to_be_sent_and_not_for_ever() {
        let octets = [7; 60_000];
        let long = of_octets(&octets);
        let mut tap = Tap::default();
        while !tap.is_full() {
            assert!(!tap.cannot_wait());
            tap.push(&long);
        }
        assert!(tap.cannot_wait(), "nobody waits for it to be sent");
        assert_eq!(tap.take().unwrap().messages, 5);
        tap.push_unsent(&long);
        let mut messages = 1;
        while !tap.cannot_wait() {
            tap.push(&long);
            messages += 1;
        }
        assert_eq!(messages, 4 * TAP_CHUNK_OCTETS / 60_060 + 1);
        tap.sent(Time::from_micros(5));
        let chunk = tap.take().unwrap();
        assert_eq!(chunk.messages().next().map(|first| first.at), Some(Time::from_micros(5)));
        assert!(!tap.is_full() && !tap.cannot_wait());
    }

    #[test]
    fn a_chunk_that_is_far_from_full_holds_no_memory_for_more() {
        let mut tap = Tap::default();
        tap.push(&of_octets(&[7; 300]));
        let chunk = tap.take().unwrap();
        assert!((FIXED_OCTETS + 300..2 * (FIXED_OCTETS + 300)).contains(&chunk.octets()), "{}", chunk.octets());
        while !tap.is_full() {
            tap.push(&of_octets(&[7; 300]));
        }
        assert_eq!(tap.take().unwrap().octets(), TAP_CHUNK_OCTETS + TAP_CHUNK_OCTETS / 4, "a full one is not moved");
    }
}
