//! The query log in its data base (SQLite): what the cores have recorded is written by one thread, and read by whoever asks.
//!
//! | module | owns |
//! |---|---|
//! | `writer` | the thread: batches, trouble and how it ends, what is ordered |
//! | `row` | what becomes of an entry: times, names, addresses |
//! | `store` | the file and its tables |
//! | `tend` | indexes, retention, room, the write-ahead log |
//! | `clock` | whether the time of the day says how old something is |
//! | `question` | what can be asked |
//! | `ask` | how it is answered |

mod ask;
mod clock;
mod question;
mod row;
mod store;
mod tend;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use ringdns_shard::telemetry::log;

use crate::config::Settings;
use crate::recording::{Losses, Outlet};

use ask::Reader;
use writer::Desk;

pub(crate) use question::{Bucket, Filter, Found, Logged, NotFound, Page, Ranking, Top};

/// What is to be logged, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Whether anything is.
    pub(crate) enabled: bool,
    /// The data base.
    pub(crate) file: PathBuf,
    /// How long queries are kept.
    pub(crate) keep: Duration,
    /// How large the file may be, in octets.
    pub(crate) size: u64,
    /// So many bits of clients' addresses are kept.
    pub(crate) client_prefix_v4: u32,
    /// The same for IPv6.
    pub(crate) client_prefix_v6: u32,
}

impl Wanted {
    /// What the settings say.
    pub(crate) fn of(settings: &Settings) -> Wanted {
        let log = &settings.query_log;
        Wanted {
            enabled: *log.enabled,
            file: log.file.as_ref().cloned().unwrap_or_else(|| settings.server.state.join("queries.sqlite")),
            keep: *log.keep,
            size: *log.size,
            client_prefix_v4: *log.client_prefix_v4,
            client_prefix_v6: *log.client_prefix_v6,
        }
    }
}

/// How the query log does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Whether queries are to be logged.
    pub(crate) is_enabled: bool,
    /// Whether the data base is open and takes them.
    pub(crate) is_open: bool,
    /// Why not, or what went wrong last where that is not mended.
    pub(crate) trouble: Option<String>,
    /// Entries that have been written since the process started.
    pub(crate) stored: u64,
    /// The queries that they stand for.
    pub(crate) stored_queries: u64,
    /// Entries that have not been: the queue was full, or the data base did not take them.
    pub(crate) dropped: u64,
    /// The queries that they stood for.
    pub(crate) dropped_queries: u64,
    /// Transactions that have been written.
    pub(crate) batches: u64,
    /// Attempts to open or to write the data base that failed.
    pub(crate) failures: u64,
    /// Data bases that were corrupt, and are kept aside.
    pub(crate) put_aside: u64,
    /// Rows that made room, for their age or for the size of the file.
    pub(crate) expired: u64,
    /// Questions that were answered.
    pub(crate) questions: u64,
    /// Questions that had no answer.
    pub(crate) questions_failed: u64,
    /// Rows that there are.
    pub(crate) rows: u64,
    /// Octets of the data base.
    pub(crate) file_octets: u64,
    /// Octets of its write-ahead log.
    pub(crate) wal_octets: u64,
    /// When the oldest query came that there is, in microseconds since 1970.
    pub(crate) oldest: Option<u64>,
    /// When the newest came.
    pub(crate) newest: Option<u64>,
}

/// Questions that are answered at a time.
const QUESTIONS_MAX: usize = 4;
/// How long one may take.
const QUESTION_LIMIT: Duration = Duration::from_secs(5);

/// The query log. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct QueryLog(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    desk: Arc<Desk>,
    losses: Arc<Losses>,
    asking: AtomicUsize,
    answered: AtomicU64,
    unanswered: AtomicU64,
}

impl QueryLog {
    /// Starts the thread that writes: it takes `chunks` for as long as somebody hands some over, whatever the settings.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn start(chunks: Outlet<log::Chunk>, losses: Arc<Losses>, wanted: Wanted) -> io::Result<QueryLog> {
        let desk = Arc::new(Desk::new(wanted));
        writer::start(chunks, Arc::clone(&desk))?;
        Ok(QueryLog(Arc::new(Shared {
            desk,
            losses,
            asking: AtomicUsize::new(0),
            answered: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
        })))
    }

    /// From now on something else is wanted. What has been handed over before goes to the file where it was to go. What is
    /// handed over while nothing is wanted is dropped and counted.
    pub(crate) fn want(&self, wanted: Wanted) {
        self.0.desk.want(wanted);
    }

    /// Writes what has been handed over and closes the data base. Blocks. What is handed over later is dropped and counted.
    ///
    /// # Errors
    /// That was not done within `limit`: so many entries are neither written nor counted as dropped.
    pub(crate) fn close(&self, limit: Duration) -> Result<(), u64> {
        if self.0.desk.close(limit) {
            return Ok(());
        }
        let Figures { stored, dropped, .. } = self.figures();
        Err(self.0.losses.handed.load(Ordering::Relaxed).saturating_sub(stored + dropped))
    }

    /// How it does.
    pub(crate) fn figures(&self) -> Figures {
        let mut figures = self.0.desk.figures();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        figures.dropped += count(&self.0.losses.logged);
        figures.dropped_queries += count(&self.0.losses.queries);
        figures.questions = count(&self.0.answered);
        figures.questions_failed = count(&self.0.unanswered);
        figures
    }

    /// Where the data base is.
    pub(crate) fn file(&self) -> PathBuf {
        self.0.desk.wanted().file
    }

    /// A page of rows, the newest first. Blocks, for some seconds at most, as the other questions do.
    ///
    /// # Errors
    /// See [`NotFound`].
    pub(crate) fn find(&self, filter: &Filter, page: Page) -> Result<Found, NotFound> {
        self.ask(|reader| reader.find(filter, page))
    }

    /// How many queries there were, by spans of `bucket_seconds` (at least 1), the earliest first; spans without any are left
    /// out.
    ///
    /// # Errors
    /// See [`NotFound`].
    pub(crate) fn series(&self, filter: &Filter, bucket_seconds: u32) -> Result<Vec<Bucket>, NotFound> {
        self.ask(|reader| reader.series(filter, bucket_seconds))
    }

    /// What was asked for most, or who asked most, or whatever `of` says.
    ///
    /// # Errors
    /// See [`NotFound`].
    pub(crate) fn top(&self, filter: &Filter, of: Top, limit: usize) -> Result<Ranking, NotFound> {
        self.ask(|reader| reader.top(filter, of, limit))
    }

    /// Has a question answered, if it may be asked now.
    fn ask<T>(&self, question: impl FnOnce(&Reader) -> Result<T, NotFound>) -> Result<T, NotFound> {
        let asking = Asking::begin(&self.0.asking);
        let answer = match (&asking, self.0.desk.figures()) {
            (None, _) => Err(NotFound::Busy),
            (_, Figures { is_enabled: false, .. }) => Err(NotFound::Off),
            (_, Figures { is_open: false, trouble, .. }) => {
                Err(NotFound::Trouble(trouble.unwrap_or_else(|| "it is being opened".to_owned())))
            }
            _ => Reader::open(&self.file(), QUESTION_LIMIT).and_then(|reader| question(&reader)),
        };
        let counter = if answer.is_ok() { &self.0.answered } else { &self.0.unanswered };
        counter.fetch_add(1, Ordering::Relaxed);
        answer
    }
}

/// The place of a question among those that are answered.
struct Asking<'a>(&'a AtomicUsize);

impl Asking<'_> {
    fn begin(asking: &AtomicUsize) -> Option<Asking<'_>> {
        let another = |asking| (asking < QUESTIONS_MAX).then_some(asking + 1);
        asking.fetch_update(Ordering::Relaxed, Ordering::Relaxed, another).is_ok().then(|| Asking(asking))
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
