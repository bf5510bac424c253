//! What the cores have recorded of queries, on its way to those who write it down: bounded queues that a core never waits
//! for. What finds a queue full is dropped and counted, to the entry.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use ringdns_shard::telemetry::{Handed, log, tap};

/// Chunks of the query log that wait: some 24 MiB, and a second at 200,000 queries a second.
pub(crate) const LOG_CHUNKS_MAX: usize = 256;
/// Chunks of messages for dnstap that wait: some 20 MiB.
const TAP_CHUNKS_MAX: usize = 64;

/// Where the cores put what they have recorded. Clones put it into the same queues.
#[derive(Clone, Debug)]
pub struct Recorder {
    log: SyncSender<Handed<log::Chunk>>,
    tap: SyncSender<Handed<tap::Chunk>>,
    losses: Arc<Losses>,
}

/// Where those get it who write it down.
#[derive(Debug)]
pub struct Recordings {
    pub(crate) log: Receiver<Handed<log::Chunk>>,
    pub(crate) tap: Receiver<Handed<tap::Chunk>>,
    pub(crate) losses: Arc<Losses>,
    /// The addresses of the listeners, in the order in which recorded messages count them.
    pub(crate) listeners: Vec<SocketAddr>,
}

/// What found a queue full.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    /// Entries of the query log.
    pub(crate) logged: AtomicU64,
    /// The queries that they stood for.
    pub(crate) queries: AtomicU64,
    /// Messages for dnstap.
    pub(crate) tapped: AtomicU64,
}

/// New queues, for a server that listens at these addresses.
pub fn recordings(listeners: Vec<SocketAddr>) -> (Recorder, Recordings) {
    let (log, logged) = sync_channel(LOG_CHUNKS_MAX);
    let (tap, tapped) = sync_channel(TAP_CHUNKS_MAX);
    let losses = Arc::new(Losses::default());
    (Recorder { log, tap, losses: Arc::clone(&losses) }, Recordings { log: logged, tap: tapped, losses, listeners })
}

impl Recorder {
    /// A core hands over a chunk of its query log.
    pub fn logged(&self, handed: Handed<log::Chunk>) {
        let (entries, sample) = (u64::from(handed.chunk.entries), u64::from(handed.chunk.sample));
        if self.log.try_send(handed).is_err() {
            self.losses.logged.fetch_add(entries, Ordering::Relaxed);
            self.losses.queries.fetch_add(entries * sample, Ordering::Relaxed);
        }
    }

    /// A core hands over messages for dnstap.
    pub fn tapped(&self, handed: Handed<tap::Chunk>) {
        let messages = u64::from(handed.chunk.messages);
        if self.tap.try_send(handed).is_err() {
            self.losses.tapped.fetch_add(messages, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use ringdns_shard::Time;

    use super::*;

    #[test]
    fn what_finds_no_room_is_counted_to_the_entry() {
        let (recorder, recordings) = recordings(Vec::new());
        let handed = |entries| {
            let mut chunk = log::Chunk::default();
            (chunk.entries, chunk.sample) = (entries, 4);
            Handed { core: 0, now: Time::ZERO, unix_micros: 0, chunk }
        };
        (0..LOG_CHUNKS_MAX + 2).for_each(|_| recorder.logged(handed(700)));
        let lost = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        assert_eq!((lost(&recordings.losses.logged), lost(&recordings.losses.queries)), (1_400, 5_600));
        assert_eq!(recordings.log.try_iter().count(), LOG_CHUNKS_MAX);
        recorder.logged(handed(1));
        assert_eq!((recordings.log.try_iter().count(), lost(&recordings.losses.logged)), (1, 1_400));
        let mut chunk = tap::Chunk::default();
        chunk.messages = 3;
        let tapped = Handed { core: 0, now: Time::ZERO, unix_micros: 0, chunk };
        (0..TAP_CHUNKS_MAX + 1).for_each(|_| recorder.tapped(tapped.clone()));
        assert_eq!(lost(&recordings.losses.tapped), 3);
    }
}
