//! The thread that writes: chunks out of their queue, in batches into the data base, whatever happens to it. What goes wrong
//! is told once and tried again, at growing intervals; meanwhile chunks wait in their queue, and those that find it full are
//! counted there. No entry is stored or dropped without being counted as such.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ringdns_shard::limits::LOG_CHUNK_OCTETS;
use ringdns_shard::telemetry::Handed;
use ringdns_shard::telemetry::log::Chunk;

use super::clock::Clock;
use super::row::{Masks, rows};
use super::store::{Fault, Store, beside, put_aside};
use super::tend::Bounds;
use super::{Figures, Wanted};
use crate::recording::{LOG_CHUNKS_MAX, Outlet};
use crate::zones::stand_back;

/// Rows of a batch, but for the last chunk of it.
const BATCH_ROWS: u64 = 20_000;
/// How long a batch waits for more.
const BATCH_TIME: Duration = Duration::from_millis(250);
/// A batch takes so small a part of the file at most.
const BATCH_PART: u64 = 64;
/// In so much time a core hands over what it has, however little, while the log is open.
const HANDED_WITHIN: Duration = Duration::from_secs(2);
/// How often orders are looked for while nothing comes.
const TICK: Duration = Duration::from_millis(100);
/// How long the data base is left alone after a failure, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What the thread is asked for and what it has done.
#[derive(Debug)]
pub(super) struct Desk {
    orders: Mutex<Orders>,
    done: Condvar,
    figures: Mutex<Figures>,
    /// The next batch is to end in a panic.
    #[cfg(test)]
    pub(super) panics: std::sync::atomic::AtomicBool,
    /// So many microseconds the time of the day is to be ahead.
    #[cfg(test)]
    pub(super) ahead: std::sync::atomic::AtomicU64,
}

#[derive(Clone, Debug)]
struct Orders {
    wanted: Wanted,
    /// The log is to be closed for good.
    is_closing: bool,
    /// It is.
    is_closed: bool,
}

impl Desk {
    pub(super) fn new(wanted: Wanted) -> Desk {
        let figures = Figures { is_enabled: wanted.enabled, ..Figures::default() };
        let orders = Orders { wanted, is_closing: false, is_closed: false };
        Desk {
            orders: Mutex::new(orders),
            done: Condvar::new(),
            figures: Mutex::new(figures),
            #[cfg(test)]
            panics: false.into(),
            #[cfg(test)]
            ahead: 0.into(),
        }
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wanted(&self) -> Wanted {
        self.orders().wanted.clone()
    }

    pub(super) fn want(&self, wanted: Wanted) {
        self.orders().wanted = wanted;
    }

    /// What the thread has counted; what found the queue full is not in it.
    pub(super) fn figures(&self) -> Figures {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has the log closed; whether it was, in time.
    pub(super) fn close(&self, limit: Duration) -> bool {
        let mut orders = self.orders();
        orders.is_closing = true;
        let waited = self.done.wait_timeout_while(orders, limit, |orders| !orders.is_closed);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_closed
    }
}

/// The thread's own.
#[derive(Debug)]
pub(super) struct Writer {
    chunks: Outlet<Chunk>,
    desk: Arc<Desk>,
    wanted: Wanted,
    store: Option<Store>,
    /// When opening is tried again, and how long after that.
    retry: Instant,
    pause: Duration,
    figures: Figures,
    /// So many bits of addresses are kept of the queries that wait: fewer than are wanted where more are since they came.
    prefixes: (u32, u32),
    /// When other bits were wanted, or the data base was opened: until then, cores may have held queries back.
    changed: Instant,
    /// When nothing was left in the queue.
    drained: Instant,
    /// Entries that came out of the queue, and the queries that they stand for.
    taken: (u64, u64),
    clock: Clock,
    /// Nobody hands over chunks any more.
    is_alone: bool,
}

/// Starts the thread.
pub(super) fn start(chunks: Outlet<Chunk>, desk: Arc<Desk>) -> std::io::Result<()> {
    let wanted = desk.wanted();
    let figures = desk.figures();
    let prefixes = prefixes(&wanted);
    let mut writer = Writer {
        chunks,
        desk: Arc::clone(&desk),
        wanted,
        store: None,
        retry: Instant::now(),
        pause: PAUSES.0,
        figures,
        prefixes,
        changed: Instant::now(),
        drained: Instant::now(),
        taken: (0, 0),
        clock: Clock::default(),
        is_alone: false,
    };
    let body = move || {
        stand_back();
        loop {
            match catch_unwind(AssertUnwindSafe(|| writer.turn())) {
                Ok(true) => (),
                Ok(false) => break,
                Err(_) => writer.recover(),
            }
        }
        writer.store = None;
        writer.tell();
        desk.orders().is_closed = true;
        desk.done.notify_all();
    };
    thread::Builder::new().name("ringdns-qlog".to_owned()).spawn(body).map(|_| ())
}

/// Bits of addresses that are kept.
fn prefixes(wanted: &Wanted) -> (u32, u32) {
    (wanted.client_prefix_v4, wanted.client_prefix_v6)
}

/// As many of them as both say.
fn least(one: (u32, u32), other: (u32, u32)) -> (u32, u32) {
    (one.0.min(other.0), one.1.min(other.1))
}

/// What is in a chunk: entries, and the queries that they stand for.
fn contents(chunk: &Chunk) -> (u64, u64) {
    let entries = u64::from(chunk.entries);
    (entries, entries * u64::from(chunk.sample.max(1)))
}

impl Writer {
    /// Waits for a batch and writes it, does what the data base needs, and follows orders; false at the end.
    fn turn(&mut self) -> bool {
        let orders = self.desk.orders().clone();
        let is_hurried = (orders.is_closing && !orders.is_closed) || orders.wanted != self.wanted;
        if self.is_ready() {
            match self.log(is_hurried) {
                // That it could be opened says nothing yet: a full disk takes the little that opening writes.
                Ok(true) => self.mended(),
                Ok(false) => (),
                Err(fault) => self.fail(fault),
            }
        } else if self.wanted.enabled && !orders.is_closing && !self.is_alone {
            // What comes waits in its queue.
            if !is_hurried {
                thread::sleep(self.retry.saturating_duration_since(Instant::now()).min(TICK));
            }
        } else {
            self.discard(is_hurried);
        }
        let goes_on = !self.is_alone;
        self.follow(orders);
        goes_on
    }

    /// Whether the data base is open; opens it where it is due.
    fn is_ready(&mut self) -> bool {
        if self.wanted.enabled && self.store.is_none() && Instant::now() >= self.retry {
            match Store::open(&self.wanted.file, self.wanted.size) {
                Ok(store) => (self.store, self.changed) = (Some(store), Instant::now()),
                Err(fault) => self.fail(fault),
            }
        }
        self.store.is_some()
    }

    /// Writes a batch, or where it is hurried all that waits; whether there was something.
    fn log(&mut self, is_hurried: bool) -> Result<bool, Fault> {
        let mut taken = 0;
        loop {
            let chunks = self.collect(is_hurried);
            taken += chunks.len();
            let is_empty = chunks.is_empty();
            self.write(&chunks)?;
            if is_hurried {
                // Somebody waits for the end of it, and may ask how far it is: the rest is done when there is time.
                self.tell();
            } else {
                self.tend()?;
            }
            // What comes while it is written is none of what was meant.
            if !is_hurried || is_empty || taken > LOG_CHUNKS_MAX {
                return Ok(taken > 0);
            }
        }
    }

    /// Chunks for a batch.
    fn collect(&mut self, is_hurried: bool) -> Vec<Handed<Chunk>> {
        if self.drained > self.changed + HANDED_WITHIN {
            self.prefixes = prefixes(&self.wanted);
        }
        let mut chunks = Vec::new();
        let chunks_max = self.wanted.size / BATCH_PART / (2 * LOG_CHUNK_OCTETS as u64);
        let (mut entries, mut end) = (0, None);
        while entries < BATCH_ROWS && chunks.len() as u64 <= chunks_max {
            let wait = match end {
                _ if is_hurried => Duration::ZERO,
                None => TICK,
                Some(end) => Instant::saturating_duration_since(&end, Instant::now()),
            };
            match self.chunks.recv_timeout(wait) {
                Ok(handed) => {
                    let (more, queries) = contents(&handed.chunk);
                    self.taken = (self.taken.0 + more, self.taken.1 + queries);
                    entries += more;
                    chunks.push(handed);
                    end.get_or_insert_with(|| Instant::now() + BATCH_TIME);
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.drained = Instant::now();
                    break;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.is_alone = chunks.is_empty();
                    break;
                }
            }
        }
        chunks
    }

    fn write(&mut self, chunks: &[Handed<Chunk>]) -> Result<(), Fault> {
        if chunks.is_empty() {
            return Ok(());
        }
        #[cfg(test)]
        assert!(!self.desk.panics.swap(false, std::sync::atomic::Ordering::Relaxed), "a test wants it");
        let Some(store) = &mut self.store else { unreachable!("the caller has found it open") };
        let rows = rows(chunks);
        // Who wants less of addresses kept wants it at once; who wants more, of queries that come from now on.
        let (v4, v6) = least(self.prefixes, prefixes(&self.desk.wanted()));
        let written = store.write(&rows, Masks::new(v4, v6), self.wanted.keep);
        let (mut stored, mut queries) = (0, 0);
        if written.is_ok() {
            (stored, queries) = (rows.len() as u64, rows.iter().map(|row| u64::from(row.weight)).sum());
            self.figures.batches += 1;
            self.figures.stored += stored;
            self.figures.stored_queries += queries;
        }
        self.drop_all_but(chunks, stored, queries);
        written
    }

    /// Counts what is in chunks as dropped, but for so many entries that stand for so many queries.
    fn drop_all_but(&mut self, chunks: &[Handed<Chunk>], stored: u64, queries: u64) {
        let handed = chunks.iter().map(|Handed { chunk, .. }| contents(chunk));
        let (entries, all) = handed.fold((0, 0), |(entries, all), some| (entries + some.0, all + some.1));
        self.figures.dropped += entries.saturating_sub(stored);
        self.figures.dropped_queries += all.saturating_sub(queries);
    }

    fn tend(&mut self) -> Result<(), Fault> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
        #[cfg(test)]
        let now = now + self.desk.ahead.load(std::sync::atomic::Ordering::Relaxed);
        let Some(store) = &mut self.store else { return Ok(()) };
        let expires = self.clock.is_trusted(Instant::now(), now);
        let done = store.tend(Bounds { now, keep: self.wanted.keep, expires });
        // Some have made room though what came after it failed.
        self.figures.expired += std::mem::take(&mut store.expired);
        done
    }

    /// Goes on after a panic. That is a bug of ours, of which its hook has told; what was at hand is lost, and counted.
    fn recover(&mut self) {
        let Figures { stored, stored_queries, dropped, dropped_queries, .. } = self.figures;
        self.figures.dropped += self.taken.0.saturating_sub(stored + dropped);
        self.figures.dropped_queries += self.taken.1.saturating_sub(stored_queries + dropped_queries);
        self.fail(Fault::Other("its thread has failed, which is a bug".to_owned()));
        self.tell();
        // Whatever it was may be there again at once.
        thread::sleep(TICK);
    }

    /// Drops what comes, or where it is hurried all that waits: nothing is to be logged, or nothing can be any more.
    fn discard(&mut self, is_hurried: bool) {
        let mut taken = 0;
        loop {
            let chunks = self.collect(is_hurried);
            taken += chunks.len();
            self.drop_all_but(&chunks, 0, 0);
            if !is_hurried || chunks.is_empty() || taken > LOG_CHUNKS_MAX {
                return;
            }
        }
    }

    /// Closes the data base for a while, puts it aside where it is corrupt, and tells of it where that is news.
    fn fail(&mut self, fault: Fault) {
        self.store = None;
        self.figures.failures += 1;
        let mut trouble = fault.to_string();
        if matches!(fault, Fault::Corrupt(_)) {
            let unix_seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
            match put_aside(&self.wanted.file, unix_seconds) {
                Ok(aside) => {
                    self.figures.put_aside += 1;
                    trouble += &format!("; it is kept as {}, and another is begun", aside.display());
                }
                Err(error) => trouble += &format!("; it cannot be put aside: {error}"),
            }
        }
        if self.figures.trouble.as_ref() != Some(&trouble) {
            log::warn!("the query log {} is not written: {trouble}", self.wanted.file.display());
            self.figures.trouble = Some(trouble);
        }
        self.retry = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(PAUSES.1);
    }

    fn mended(&mut self) {
        self.pause = PAUSES.0;
        if self.figures.trouble.take().is_some() {
            let Figures { dropped, .. } = self.figures;
            log::info!("the query log {} is written again; {dropped} entries are lost", self.wanted.file.display());
        }
    }

    /// Does what was ordered when the turn began.
    fn follow(&mut self, orders: Orders) {
        if orders.wanted != self.wanted {
            if orders.wanted.file != self.wanted.file || !orders.wanted.enabled {
                self.close();
            }
            if let Some(store) = &mut self.store {
                store.size = orders.wanted.size;
            }
            self.prefixes = least(self.prefixes, prefixes(&orders.wanted));
            self.changed = Instant::now();
            self.wanted = orders.wanted;
            (self.retry, self.pause) = (Instant::now(), PAUSES.0);
        }
        if orders.is_closing {
            self.close();
            self.wanted.enabled = false;
        }
        // Who asked for it finds it open.
        self.is_ready();
        self.tell();
        if orders.is_closing {
            let mut now = self.desk.orders();
            (now.is_closed, now.wanted.enabled) = (true, false);
            self.desk.done.notify_all();
        }
    }

    fn close(&mut self) {
        self.figures.trouble = None;
        if let Some(store) = self.store.take()
            && let Err(fault) = store.close()
        {
            self.figures.failures += 1;
            log::warn!("the query log {} is closed with something left to do: {fault}", self.wanted.file.display());
        }
    }

    /// Puts the figures where others read them.
    fn tell(&mut self) {
        let size = |path: &Path| path.metadata().map_or(0, |about| about.len());
        let figures = &mut self.figures;
        (figures.is_enabled, figures.is_open) = (self.wanted.enabled, self.store.is_some());
        if let Some(store) = &self.store {
            figures.rows = store.rows();
            figures.file_octets = size(&store.path);
            figures.wal_octets = size(&beside(&store.path, "-wal"));
            let filled = || store.segments.iter().filter(|segment| segment.rows > 0);
            figures.oldest = filled().map(|segment| segment.first_time).min();
            figures.newest = filled().map(|segment| segment.last_time).max();
        } else {
            (figures.rows, figures.file_octets, figures.wal_octets) = (0, 0, 0);
            (figures.oldest, figures.newest) = (None, None);
        }
        *self.desk.figures.lock().unwrap_or_else(PoisonError::into_inner) = figures.clone();
    }
}
