//! What the cores have recorded of queries, on its way to those who write it down: bounded queues that a core never waits
//! for. What finds a queue full is dropped and counted, to the entry; so is what nobody takes out of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

use ringdns_shard::telemetry::{Handed, log, tap};

/// Chunks of the query log that wait: a second at 200,000 queries a second.
pub(crate) const LOG_CHUNKS_MAX: usize = 256;
/// Octets of memory that they take: what so many full ones do.
const LOG_OCTETS_MAX: usize = 24 << 20;
/// Chunks of messages for dnstap that wait.
pub(crate) const TAP_CHUNKS_MAX: usize = 64;
/// Octets of memory that they take: what so many full ones do. Long messages make longer ones, of which fewer wait.
const TAP_OCTETS_MAX: usize = 20 << 20;

/// Where the cores put what they have recorded. Clones put it into the same queues.
#[derive(Clone, Debug)]
pub struct Recorder {
    log: Inlet<log::Chunk>,
    tap: Inlet<tap::Chunk>,
}

/// Where those get it who write it down.
#[derive(Debug)]
pub struct Recordings {
    pub(crate) log: Outlet<log::Chunk>,
    pub(crate) tap: Outlet<tap::Chunk>,
    pub(crate) losses: Arc<Losses>,
    /// The addresses of the listeners, in the order in which recorded messages count them.
    pub(crate) listeners: Vec<SocketAddr>,
}

/// What found a queue full, or was in it when its reader went.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    /// Entries of the query log that have been handed over, those among them that were lost.
    pub(crate) handed: AtomicU64,
    /// Entries of the query log.
    pub(crate) logged: AtomicU64,
    /// The queries that they stood for.
    pub(crate) queries: AtomicU64,
    /// Messages for dnstap.
    pub(crate) tapped: AtomicU64,
}

/// New queues, for a server that listens at these addresses.
pub fn recordings(listeners: Vec<SocketAddr>) -> (Recorder, Recordings) {
    let losses = Arc::new(Losses::default());
    let (log, logged) = queue(LOG_CHUNKS_MAX, LOG_OCTETS_MAX, &losses);
    let (tap, tapped) = queue(TAP_CHUNKS_MAX, TAP_OCTETS_MAX, &losses);
    (Recorder { log, tap }, Recordings { log: logged, tap: tapped, losses, listeners })
}

impl Recorder {
    /// A core hands over a chunk of its query log.
    pub fn logged(&self, handed: Handed<log::Chunk>) {
        self.log.books.losses.handed.fetch_add(handed.chunk.entries.into(), Ordering::Relaxed);
        self.log.put(handed);
    }

    /// A core hands over messages for dnstap.
    pub fn tapped(&self, handed: Handed<tap::Chunk>) {
        self.tap.put(handed);
    }
}

/// What a queue holds.
pub(crate) trait Recorded {
    /// Octets of memory that it takes.
    fn octets(&self) -> usize;
    /// Counts it as lost.
    fn lose(&self, losses: &Losses);
}

impl Recorded for log::Chunk {
    fn octets(&self) -> usize {
        log::Chunk::octets(self)
    }

    fn lose(&self, losses: &Losses) {
        let (entries, sample) = (u64::from(self.entries), u64::from(self.sample));
        losses.logged.fetch_add(entries, Ordering::Relaxed);
        losses.queries.fetch_add(entries * sample, Ordering::Relaxed);
    }
}

impl Recorded for tap::Chunk {
    fn octets(&self) -> usize {
        tap::Chunk::octets(self)
    }

    fn lose(&self, losses: &Losses) {
        losses.tapped.fetch_add(u64::from(self.messages), Ordering::Relaxed);
    }
}

/// A queue of so many chunks, and so many octets of memory, at most.
fn queue<C: Recorded>(chunks_max: usize, octets_max: usize, losses: &Arc<Losses>) -> (Inlet<C>, Outlet<C>) {
    let (chunks, taken) = sync_channel(chunks_max);
    let books = Arc::new(Books { octets: AtomicUsize::new(0), losses: Arc::clone(losses) });
    (Inlet { chunks, octets_max, books }, Outlet(taken))
}

/// What both ends of a queue know.
#[derive(Debug)]
struct Books {
    /// Octets of memory of what is in it.
    octets: AtomicUsize,
    losses: Arc<Losses>,
}

/// The end of a queue where chunks go in.
#[derive(Debug)]
struct Inlet<C: Recorded> {
    chunks: SyncSender<Waiting<C>>,
    octets_max: usize,
    books: Arc<Books>,
}

impl<C: Recorded> Clone for Inlet<C> {
    fn clone(&self) -> Inlet<C> {
        Inlet { chunks: self.chunks.clone(), octets_max: self.octets_max, books: Arc::clone(&self.books) }
    }
}

impl<C: Recorded> Inlet<C> {
    fn put(&self, handed: Handed<C>) {
        let Inlet { chunks, octets_max, books } = self;
        let octets = handed.chunk.octets();
        let more = |held: usize| held.checked_add(octets).filter(|held| held <= octets_max);
        if books.octets.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
            return handed.chunk.lose(&books.losses);
        }
        // What finds no room, or nobody who takes it, is dropped here, and so counted.
        let _ = chunks.try_send(Waiting { handed: Some(handed), octets, books: Arc::clone(books) });
    }
}

/// The end of a queue where chunks come out. Those that are in it when it is dropped are lost, and counted.
#[derive(Debug)]
pub(crate) struct Outlet<C: Recorded>(Receiver<Waiting<C>>);

impl<C: Recorded> Outlet<C> {
    /// The next chunk; waits for one for so long.
    ///
    /// # Errors
    /// None came, or none will.
    pub(crate) fn recv_timeout(&self, limit: Duration) -> Result<Handed<C>, RecvTimeoutError> {
        self.0.recv_timeout(limit).map(Waiting::take)
    }

    /// The next chunk, where there is one.
    ///
    /// # Errors
    /// There is none, or none will come.
    pub(crate) fn try_recv(&self) -> Result<Handed<C>, TryRecvError> {
        self.0.try_recv().map(Waiting::take)
    }
}

/// A chunk in a queue. Wherever it is dropped, its octets are none of the queue's any more, and where nobody has taken it
/// before, it is counted as lost.
#[derive(Debug)]
struct Waiting<C: Recorded> {
    handed: Option<Handed<C>>,
    octets: usize,
    books: Arc<Books>,
}

impl<C: Recorded> Waiting<C> {
    fn take(mut self) -> Handed<C> {
        self.handed.take().expect("it is taken once")
    }
}

impl<C: Recorded> Drop for Waiting<C> {
    fn drop(&mut self) {
        self.books.octets.fetch_sub(self.octets, Ordering::Relaxed);
        if let Some(handed) = &self.handed {
            handed.chunk.lose(&self.books.losses);
        }
    }
}

/// What cores record, for tests.
#[cfg(test)]
pub(crate) mod testing {
    use ringdns_shard::Time;
    use ringdns_shard::telemetry::tap::{Chunk, Kind, Message, Tap};

    /// A chunk of so many messages of so many octets each.
    pub(crate) fn messages(count: u32, octets: usize) -> Chunk {
        let mut tap = Tap::default();
        let message = Message {
            kind: Kind::ClientQuery,
            tcp: false,
            asked: Time::ZERO,
            at: Time::ZERO,
            peer: "192.0.2.7:4711".parse().unwrap(),
            local: None,
            listener: 0,
            octets: &vec![7; octets],
        };
        (0..count).for_each(|_| tap.push(&message));
        tap.take().unwrap()
    }
}

#[cfg(test)]
mod tests {
    use ringdns_shard::Time;

    use super::*;

    fn handed<C>(chunk: C) -> Handed<C> {
        Handed { core: 0, now: Time::ZERO, unix_micros: 0, chunk }
    }

    fn logged(entries: u32) -> Handed<log::Chunk> {
        let mut chunk = log::Chunk::default();
        (chunk.entries, chunk.sample) = (entries, 4);
        handed(chunk)
    }

    /// Messages of so many octets each.
    fn tapped(messages: u32, octets: usize) -> Handed<tap::Chunk> {
        handed(testing::messages(messages, octets))
    }

    fn lost(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }

    fn held(books: &Books) -> usize {
        books.octets.load(Ordering::Relaxed)
    }

    fn all<C: Recorded>(outlet: &Outlet<C>) -> Vec<Handed<C>> {
        std::iter::from_fn(|| outlet.try_recv().ok()).collect()
    }

    #[test]
    fn what_finds_no_room_is_counted_to_the_entry() {
        let (recorder, recordings) = recordings(Vec::new());
        (0..LOG_CHUNKS_MAX + 2).for_each(|_| recorder.logged(logged(700)));
        assert_eq!((lost(&recordings.losses.logged), lost(&recordings.losses.queries)), (1_400, 5_600));
        assert_eq!(all(&recordings.log).len(), LOG_CHUNKS_MAX);
        recorder.logged(logged(1));
        assert_eq!((all(&recordings.log).len(), lost(&recordings.losses.logged)), (1, 1_400));
        (0..TAP_CHUNKS_MAX + 1).for_each(|_| recorder.tapped(tapped(3, 100)));
        assert_eq!(lost(&recordings.losses.tapped), 3);
    }

    #[test]
    fn messages_take_no_more_memory_than_the_queue_has_however_long_they_are() {
        let (recorder, recordings) = recordings(Vec::new());
        let long = || tapped(17, 65_535);
        let octets = long().chunk.octets();
        assert!(octets > 1 << 20);
        (0..TAP_CHUNKS_MAX).for_each(|_| recorder.tapped(long()));
        let fit = TAP_OCTETS_MAX / octets;
        assert!((5..TAP_CHUNKS_MAX / 2).contains(&fit), "{fit}");
        let dropped = |chunks: usize| 17 * chunks as u64;
        assert_eq!(lost(&recordings.losses.tapped), dropped(TAP_CHUNKS_MAX - fit));
        assert_eq!(held(&recorder.tap.books), fit * octets);
        recordings.tap.recv_timeout(Duration::ZERO).unwrap();
        recorder.tapped(long());
        assert_eq!(lost(&recordings.losses.tapped), dropped(TAP_CHUNKS_MAX - fit), "there is room again");
        assert_eq!(all(&recordings.tap).len(), fit);
        assert_eq!(held(&recorder.tap.books), 0);
    }

    #[test]
    fn as_many_full_chunks_as_the_queue_has_places_fit_its_memory() {
        let (recorder, recordings) = recordings(Vec::new());
        (0..TAP_CHUNKS_MAX).for_each(|_| recorder.tapped(tapped(525, 440)));
        let held = held(&recorder.tap.books);
        assert_eq!((held, lost(&recordings.losses.tapped)), (TAP_OCTETS_MAX, 0));
        assert_eq!(all(&recordings.tap).len(), TAP_CHUNKS_MAX);
    }

    #[test]
    fn what_is_in_a_queue_when_its_reader_goes_is_counted_and_so_is_what_comes_then() {
        let (recorder, Recordings { log, tap, losses, .. }) = recordings(Vec::new());
        (0..3).for_each(|_| recorder.tapped(tapped(5, 100)));
        (0..3).for_each(|_| recorder.logged(logged(2)));
        assert_eq!((tap.try_recv().unwrap().chunk.messages, log.try_recv().unwrap().chunk.entries), (5, 2));
        drop((log, tap));
        assert_eq!((lost(&losses.tapped), lost(&losses.logged), lost(&losses.queries)), (10, 4, 16));
        recorder.tapped(tapped(1, 100));
        recorder.logged(logged(1));
        assert_eq!((lost(&losses.tapped), lost(&losses.logged), lost(&losses.queries)), (11, 5, 20));
        assert_eq!((held(&recorder.tap.books), held(&recorder.log.books)), (0, 0));
    }

    #[test]
    fn a_reader_that_goes_while_cores_hand_over_loses_no_count() {
        for _ in 0..50 {
            let (recorder, Recordings { tap, losses, .. }) = recordings(Vec::new());
            let cores: Vec<_> = (0..4)
                .map(|_| {
                    let recorder = recorder.clone();
                    std::thread::spawn(move || (0..200).for_each(|_| recorder.tapped(tapped(1, 20))))
                })
                .collect();
            let taken = (0..20).filter(|_| tap.recv_timeout(Duration::from_secs(60)).is_ok()).count() as u64;
            drop(tap);
            cores.into_iter().for_each(|core| core.join().unwrap());
            assert_eq!(taken + lost(&losses.tapped), 800);
            assert_eq!(held(&recorder.tap.books), 0);
        }
    }
}
