//! The query log as a core writes it: one binary entry a query, of [`FIXED_OCTETS`] and its name, in chunks that another
//! thread reads.
//!
//! The core appends to memory of its own and never waits. A chunk that is full, or that somebody asked for, goes to the
//! reader as a whole: nothing is shared while it is written, and no query costs an atomic operation. Who has no room for
//! a chunk counts the entries in it.

use core::fmt;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::limits::LOG_CHUNK_OCTETS;
use crate::telemetry::words::words;
use crate::time::Time;
use crate::transport::Transport;

words! {
    /// What came of a query.
    Outcome {
        /// Answered from a zone of this server.
        Zone = "zone",
        /// Answered from the cache.
        Cache = "cache",
        /// Answered by what had run out.
        Stale = "stale",
        /// Answered by an upstream.
        Resolved = "resolved",
        /// SERVFAIL: no upstream had an answer, or the zone is not there to answer from.
        Failed = "failed",
        /// Answered by the server of itself: CHAOS names, ANY for a name of an origin, NOTIFY, cookies, and the empty replies
        /// that send an asker to TCP.
        Local = "local",
        /// A transfer was begun, or an IXFR answered with a datagram.
        Transfer = "transfer",
        /// An error was answered, for the request itself or by a policy.
        Refused = "refused",
        /// Nothing was sent.
        Dropped = "dropped",
    }
}

words! {
    /// What had its way, where a query was not simply answered.
    Policy {
        /// Nothing.
        None = "none",
        /// The asker is not in the listener's `allow`, or in the zone's list for transfers or NOTIFY.
        Acl = "acl",
        /// No route for the name, or one that refuses; for a transfer or NOTIFY, no zone of the name.
        Route = "route",
        /// A class or type that is not served, or not over this transport.
        Type = "type",
        /// The rate of the asker's network.
        Rate = "rate",
        /// The rate of equal responses.
        Rrl = "rrl",
        /// A bound on questions in flight, on those who wait, on a zone's questions, or on transfers.
        Bound = "bound",
        /// A signature or cookie that is none.
        Signature = "signature",
    }
}

/// Whom an upstream answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Over a connection, not as a datagram.
    pub tcp: bool,
    /// The server.
    pub server: SocketAddr,
}

/// A query and what came of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// When it came.
    pub at: Time,
    /// From when it came until its reply was sent, in microseconds; until it was given up, where it was waited for in vain.
    pub latency_micros: u32,
    /// Who asked.
    pub client: SocketAddr,
    /// How.
    pub transport: Transport,
    /// The name asked for, as it stands in messages, in lower case; empty where the request could not be read. Type and DO
    /// are zero then.
    pub name: &'a [u8],
    /// The type asked for.
    pub qtype: u16,
    /// The response code, all twelve bits; `None`: nothing was sent.
    pub rcode: Option<u16>,
    /// Octets of the reply.
    pub reply_octets: u16,
    /// Whether DNSSEC records were asked for (DO).
    pub dnssec_ok: bool,
    /// What came of it.
    pub outcome: Outcome,
    /// What had its way.
    pub policy: Policy,
    /// Whom the answer came from, where it was fetched for this query.
    pub upstream: Option<Asked>,
}

/// Octets of an entry before the name: one cache line.
///
/// | at | octets | |
/// |---|---|---|
/// | 0 | 8 | time, microseconds |
/// | 8 | 4 | latency, microseconds |
/// | 12 | 1 | octets of the name |
/// | 13 | 1 | transport |
/// | 14 | 1 | outcome |
/// | 15 | 1 | policy |
/// | 16 | 2 | type |
/// | 18 | 2 | response code, 0xffff where there is none |
/// | 20 | 2 | octets of the reply |
/// | 22 | 2 | flags |
/// | 24 | 2 + 2 | ports of client and upstream |
/// | 28 | 4 | unused |
/// | 32 | 16 + 16 | addresses of client and upstream, IPv4 mapped |
pub const FIXED_OCTETS: usize = 64;

const NO_RCODE: u16 = u16::MAX;
const LATENCY_AT: usize = 8;
const DNSSEC_OK: u16 = 1;
const HAS_UPSTREAM: u16 = 2;
const UPSTREAM_TCP: u16 = 4;

impl fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Entry { client, name, qtype, rcode, outcome, policy, .. } = self;
        write!(f, "Entry({client} {name:02x?} {qtype} {rcode:?} {outcome:?} {policy:?})")
    }
}

impl Entry<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let mut fixed = [0; FIXED_OCTETS];
        let flag = |is_set: bool, flag| if is_set { flag } else { 0 };
        let flags = flag(self.dnssec_ok, DNSSEC_OK)
            | flag(self.upstream.is_some(), HAS_UPSTREAM)
            | flag(self.upstream.is_some_and(|asked| asked.tcp), UPSTREAM_TCP);
        fixed[..8].copy_from_slice(&self.at.as_micros().to_le_bytes());
        fixed[LATENCY_AT..12].copy_from_slice(&self.latency_micros.to_le_bytes());
        fixed[12..16].copy_from_slice(&[
            self.name.len() as u8,
            self.transport as u8,
            self.outcome as u8,
            self.policy as u8,
        ]);
        fixed[16..18].copy_from_slice(&self.qtype.to_le_bytes());
        fixed[18..20].copy_from_slice(&self.rcode.unwrap_or(NO_RCODE).to_le_bytes());
        fixed[20..22].copy_from_slice(&self.reply_octets.to_le_bytes());
        fixed[22..24].copy_from_slice(&flags.to_le_bytes());
        fixed[24..26].copy_from_slice(&self.client.port().to_le_bytes());
        fixed[32..48].copy_from_slice(&mapped(self.client.ip()));
        if let Some(Asked { server, .. }) = self.upstream {
            fixed[26..28].copy_from_slice(&server.port().to_le_bytes());
            fixed[48..].copy_from_slice(&mapped(server.ip()));
        }
        out.extend_from_slice(&fixed);
        out.extend_from_slice(self.name);
    }

    /// The entry at the beginning of `octets`, and what follows it; `None` at their end, or where they are none of ours.
    fn read(octets: &[u8]) -> Option<(Entry<'_>, &[u8])> {
        let (fixed, rest) = octets.split_first_chunk::<FIXED_OCTETS>()?;
        let (name, rest) = rest.split_at_checked(fixed[12].into())?;
        let u16_at = |at: usize| u16::from_le_bytes([fixed[at], fixed[at + 1]]);
        let address = |address_at: usize, port_at| {
            let octets: [u8; 16] = fixed[address_at..address_at + 16].try_into().expect("sixteen octets");
            SocketAddr::new(Ipv6Addr::from(octets).to_canonical(), u16_at(port_at))
        };
        let flags = u16_at(22);
        let asked = Asked { tcp: flags & UPSTREAM_TCP != 0, server: address(48, 26) };
        let entry = Entry {
            at: Time::from_micros(u64::from_le_bytes(fixed[..8].try_into().expect("eight octets"))),
            latency_micros: u32::from_le_bytes(fixed[LATENCY_AT..12].try_into().expect("four octets")),
            client: address(32, 24),
            transport: *Transport::ALL.get(usize::from(fixed[13]))?,
            name,
            qtype: u16_at(16),
            rcode: Some(u16_at(18)).filter(|&rcode| rcode != NO_RCODE),
            reply_octets: u16_at(20),
            dnssec_ok: flags & DNSSEC_OK != 0,
            outcome: Outcome::from_number(fixed[14])?,
            policy: Policy::from_number(fixed[15])?,
            upstream: (flags & HAS_UPSTREAM != 0).then_some(asked),
        };
        Some((entry, rest))
    }
}

pub(super) fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// Gives back the memory of a chunk that is far from full: as it waits for its reader it is to cost what it has.
pub(super) fn trim(octets: &mut Vec<u8>) {
    if octets.len() < octets.capacity() / 2 {
        octets.shrink_to_fit();
    }
}

/// Entries on their way to a reader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    octets: Vec<u8>,
    /// How many there are.
    pub entries: u32,
    /// Each stands for so many queries.
    pub sample: u32,
}

impl Chunk {
    /// Octets of memory that it takes.
    pub fn octets(&self) -> usize {
        self.octets.capacity()
    }

    /// The entries, in the order in which they were written.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut rest = &self.octets[..];
        core::iter::from_fn(move || {
            let (entry, after) = Entry::read(rest)?;
            rest = after;
            Some(entry)
        })
    }
}

/// The log of one core.
#[derive(Debug, Default)]
pub struct Log {
    chunk: Chunk,
    /// What was written under another sample, and has not been taken yet: one chunk a change.
    former: VecDeque<Chunk>,
    /// Where entries begin whose replies have not been sent yet: those of the batch at hand.
    unsent: Vec<u32>,
}

impl Log {
    /// Appends an entry, which stands for `sample` queries. The reply of an `unsent` one goes out with the batch at hand.
    pub fn push(&mut self, entry: &Entry<'_>, unsent: bool) {
        let octets = &mut self.chunk.octets;
        if octets.capacity() == 0 {
            octets.reserve_exact(LOG_CHUNK_OCTETS + LOG_CHUNK_OCTETS / 2);
        }
        if unsent {
            self.unsent.push(octets.len() as u32);
        }
        entry.write(octets);
        self.chunk.entries += 1;
    }

    /// From now on each entry stands for so many queries. What was written before, where that was otherwise, is a chunk of
    /// its own.
    pub(crate) fn set_sample(&mut self, sample: u32) {
        if self.chunk.sample != sample && self.chunk.entries > 0 {
            self.unsent.clear();
            trim(&mut self.chunk.octets);
            self.former.push_back(std::mem::take(&mut self.chunk));
        }
        self.chunk.sample = sample;
    }

    /// The replies of the batch at hand have been sent, so long after their requests came.
    pub(crate) fn sent(&mut self, latency_micros: u32) {
        for at in self.unsent.drain(..) {
            let at = at as usize + LATENCY_AT;
            self.chunk.octets[at..at + 4].copy_from_slice(&latency_micros.to_le_bytes());
        }
    }

    /// Whether there is enough for a chunk.
    pub fn is_full(&self) -> bool {
        self.chunk.octets.len() >= LOG_CHUNK_OCTETS || !self.former.is_empty()
    }

    /// Whether there is so much that a chunk is taken in the midst of an event, and not at the end of its batch: as soon as
    /// it is full, where no reply in it is still to be sent, and otherwise at four times as much.
    pub fn cannot_wait(&self) -> bool {
        let octets = self.chunk.octets.len();
        octets >= LOG_CHUNK_OCTETS && (self.unsent.is_empty() || octets >= 4 * LOG_CHUNK_OCTETS)
    }

    /// What has been written since the last time, if anything: until it returns `None`, since each change of the sample
    /// begins a chunk. Between two batches: what is not sent yet has no latency.
    pub fn take(&mut self) -> Option<Chunk> {
        if let Some(former) = self.former.pop_front() {
            return Some(former);
        }
        self.unsent.clear();
        if self.chunk.entries == 0 {
            return None;
        }
        trim(&mut self.chunk.octets);
        let sample = self.chunk.sample;
        Some(core::mem::replace(&mut self.chunk, Chunk { sample, ..Chunk::default() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &[u8]) -> Entry<'_> {
        Entry {
            at: Time::from_micros(77),
            latency_micros: 0,
            client: "192.0.2.9:4711".parse().unwrap(),
            transport: Transport::Tcp,
            name,
            qtype: 28,
            rcode: Some(23),
            reply_octets: 120,
            dnssec_ok: true,
            outcome: Outcome::Resolved,
            policy: Policy::None,
            upstream: Some(Asked { tcp: true, server: "[2001:db8::1]:53".parse().unwrap() }),
        }
    }

    #[test]
    fn entries_come_out_as_they_went_in() {
        let mut log = Log::default();
        log.set_sample(4);
        let first = entry(b"\x01a\x00");
        let second = Entry { rcode: None, upstream: None, dnssec_ok: false, name: b"", ..entry(b"") };
        let third = Entry { upstream: Some(Asked { tcp: false, ..first.upstream.unwrap() }), ..first };
        log.push(&first, true);
        log.push(&second, false);
        log.push(&third, true);
        log.sent(900);
        let chunk = log.take().unwrap();
        assert_eq!((chunk.entries, chunk.sample, log.take()), (3, 4, None));
        let sent = |entry| Entry { latency_micros: 900, ..entry };
        assert_eq!(chunk.entries().collect::<Vec<_>>(), [sent(first), second, sent(third)]);
    }

    #[test]
    fn each_sample_has_chunks_of_its_own() {
        let mut log = Log::default();
        for (sample, entries) in [(4, 2), (5, 0), (5, 1), (4, 1)] {
            log.set_sample(sample);
            (0..entries).for_each(|_| log.push(&entry(b"\x01a\x00"), true));
            // Nothing that was sent before is told a time.
            log.set_sample(sample);
        }
        log.sent(7);
        assert!(log.is_full());
        let chunks: Vec<Chunk> = core::iter::from_fn(|| log.take()).collect();
        let told: Vec<(u32, u32)> = chunks.iter().map(|chunk| (chunk.sample, chunk.entries)).collect();
        assert_eq!(told, [(4, 2), (5, 1), (4, 1)]);
        let latencies = chunks.iter().flat_map(|chunk| chunk.entries().map(|entry| entry.latency_micros));
        assert_eq!(latencies.collect::<Vec<_>>(), [0, 0, 0, 7]);
        assert!(!log.is_full());
    }

    #[test]
    fn octets_that_are_no_entries_end_the_reading() {
        let mut log = Log::default();
        log.push(&entry(b"\x01a\x00"), false);
        let whole = log.take().unwrap();
        for cut in 0..whole.octets.len() {
            let chunk = Chunk { octets: whole.octets[..cut].to_vec(), ..whole.clone() };
            assert_eq!(chunk.entries().count(), 0, "{cut}");
        }
        for at in 13..16 {
            let mut chunk = whole.clone();
            chunk.octets[at] = 200;
            assert_eq!(chunk.entries().count(), 0, "{at}");
        }
    }

    #[test]
    fn a_chunk_is_full_at_its_bound() {
        let mut log = Log::default();
        while !log.is_full() {
            log.push(&entry(&[1; 255]), false);
        }
        let capacity = log.chunk.octets.capacity();
        assert!(log.chunk.octets.len() < LOG_CHUNK_OCTETS + FIXED_OCTETS + 255);
        assert!(capacity >= LOG_CHUNK_OCTETS + 64 * (FIXED_OCTETS + 255), "a batch beyond it does not move it");
        assert_eq!(log.take().unwrap().octets(), capacity, "nor does taking it");
    }

    #[test]
    fn a_full_chunk_waits_for_replies_that_are_to_be_sent_and_not_for_ever() {
        let mut log = Log::default();
        let mut entries = 0;
        for (unsent, octets) in [(false, LOG_CHUNK_OCTETS), (true, 4 * LOG_CHUNK_OCTETS)] {
            log.push(&entry(&[1; 255]), unsent);
            while !log.cannot_wait() {
                log.push(&entry(&[1; 255]), false);
            }
            entries = log.take().unwrap().entries as usize;
            assert_eq!(entries, octets.div_ceil(FIXED_OCTETS + 255));
        }
        assert!(entries > 0 && !log.cannot_wait());
    }

    #[test]
    fn a_chunk_that_is_far_from_full_holds_no_memory_for_more() {
        let mut log = Log::default();
        for sample in [1, 2] {
            log.set_sample(sample);
            log.push(&entry(b"\x01a\x00"), false);
        }
        let chunks: Vec<Chunk> = core::iter::from_fn(|| log.take()).collect();
        assert_eq!(chunks.len(), 2);
        assert!(chunks.iter().all(|chunk| chunk.octets() < 2 * (FIXED_OCTETS + 3)), "{chunks:?}");
    }
}
