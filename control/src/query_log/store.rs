//! The data base of the query log: its file, its tables, and how rows get into them. [`super::tend`] sees to what they need
//! later.
//!
//! Rows lie in **segments**, each a table of its own, of which the newest is written. It has no index while it is: four
//! indexes over one large table bring every row four searches in pages that are not at hand, and 5 million rows in an index
//! already took ten times as long as without. A segment that is full is closed and gets its indexes, each in one go and
//! sorted. What is too old, or too much, goes with its whole segment. The table `segment` lists them:
//!
//! | column | |
//! |---|---|
//! | `id` | the number: rows are in the table `entries_<id>` |
//! | `first_row`, `rows` | numbers of rows follow each other without gaps within a segment, and rise from one to the next |
//! | `first_time`, `last_time` | of the earliest and the latest query, in microseconds since 1970 |
//! | `least_weight`, `most_weight` | of its rows |
//! | `octets` | about what it takes |
//! | `stage` | -1: it is being written; 0 to 3: it is closed and has so many of its indexes |
//!
//! Rows are in the order in which they were written, which is that of their times but for what cores hand over late. Where
//! the clock was set, a segment ends: the rows of one are of one time, so that it goes when all of them are too old. A number
//! is never given to a second row: the segment that has given the last one goes only when another has begun.
//! Outcomes, policies and transports are numbers, in the order in which the shard declares them.

use std::ffi::c_int;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::hooks::Wal;
use rusqlite::{Connection, ErrorCode, OpenFlags, Row as SqlRow, Transaction, TransactionBehavior, params};

use super::row::{Masks, Row, Upstreams, write_path};
use super::tend::{INDEXES, span_max};
use crate::confined::unwritable;

/// "RDNQ": the file is ours.
const APPLICATION_ID: i32 = 0x5244_4e51;
/// The version of the tables.
const VERSION: i32 = 1;
/// How long somebody else may hold the file before a batch is lost. The queue bears about a second.
pub(super) const BUSY_LIMIT: Duration = Duration::from_millis(500);
/// Rows of a segment: closing it, index by index, is over before the queue of chunks is full.
pub(super) const SEGMENT_ROWS: u64 = 1 << 17;
/// And of one in a large file, so that there are some thousands of segments at most.
const SEGMENT_ROWS_MAX: u64 = 1 << 21;
/// Octets of a row beside its name, which an index has once more.
const ROW_OCTETS: u64 = 80;
/// The file holds so many segments at least.
const SEGMENTS_MIN: u64 = 16;
/// Octets of a segment at most: an index is sorted in memory, and names may be as long as they can be.
const SEGMENT_OCTETS_MAX: u64 = 256 << 20;
/// How much earlier than the latest row of its segment a row may be, in microseconds: cores hand over some of them late.
pub(super) const LATE_MAX: u64 = 3_600_000_000;

/// Why the data base does not do what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is no data base, or is damaged.
    Corrupt(String),
    /// Anything else.
    Other(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Fault::Corrupt(why) | Fault::Other(why)) = self;
        f.write_str(why)
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Fault {
        use rusqlite::Error::{
            FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, SqlInputError, SqliteFailure,
        };
        let is_corrupt = match &error {
            // The last two say that the tables are not as this program has made them.
            SqliteFailure(failure, _) => matches!(
                failure.code,
                ErrorCode::DatabaseCorrupt
                    | ErrorCode::NotADatabase
                    | ErrorCode::ConstraintViolation
                    | ErrorCode::Unknown
            ),
            FromSqlConversionFailure(..)
            | IntegralValueOutOfRange(..)
            | InvalidColumnType(..)
            | SqlInputError { .. } => true,
            _ => false,
        };
        let why = match error {
            SqlInputError { msg, .. } => msg,
            error => error.to_string(),
        };
        if is_corrupt { Fault::Corrupt(why) } else { Fault::Other(why) }
    }
}

/// A segment, as the table of segments has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) id: i64,
    pub(super) first_row: i64,
    pub(super) rows: u64,
    pub(super) first_time: u64,
    pub(super) last_time: u64,
    pub(super) least_weight: u32,
    pub(super) most_weight: u32,
    pub(super) octets: u64,
    pub(super) stage: i64,
}

/// The stage of a segment that is being written.
pub(super) const WRITTEN: i64 = -1;

impl Segment {
    /// What reads it.
    pub(super) const SELECT: &'static str = "SELECT id, first_row, rows, first_time, last_time, least_weight, \
                                             most_weight, octets, stage FROM segment";

    pub(super) fn read(row: &SqlRow<'_>) -> rusqlite::Result<Segment> {
        let unsigned = |at| row.get::<_, i64>(at).map(|value| value.max(0).unsigned_abs());
        Ok(Segment {
            id: row.get(0)?,
            first_row: row.get(1)?,
            rows: unsigned(2)?,
            first_time: unsigned(3)?,
            last_time: unsigned(4)?,
            least_weight: row.get(5)?,
            most_weight: row.get(6)?,
            octets: unsigned(7)?,
            stage: row.get(8)?,
        })
    }

    pub(super) fn begin(id: i64, first_row: i64) -> Segment {
        Segment {
            id,
            first_row,
            rows: 0,
            first_time: 0,
            last_time: 0,
            least_weight: 0,
            most_weight: 0,
            octets: 0,
            stage: WRITTEN,
        }
    }

    /// Whether it has all of its indexes.
    pub(super) fn is_indexed(&self) -> bool {
        self.stage >= INDEXES.len() as i64
    }

    /// The number that the next row gets, here or in the segment that follows.
    pub(super) fn next_row(&self) -> i64 {
        self.first_row.saturating_add_unsigned(self.rows)
    }

    /// Whether the clock was set between its rows and this one, which follows more than so many microseconds later.
    fn is_of_another_time(&self, row: &Row<'_>, gap_max: u64) -> bool {
        let latest = self.last_time;
        let is_another =
            row.unix_micros < latest.saturating_sub(LATE_MAX) || row.unix_micros > latest.saturating_add(gap_max);
        self.rows > 0 && is_another
    }

    fn takes(&mut self, row: &Row<'_>, path_octets: usize) {
        self.first_time = if self.rows == 0 { row.unix_micros } else { self.first_time.min(row.unix_micros) };
        self.last_time = self.last_time.max(row.unix_micros);
        self.least_weight = if self.rows == 0 { row.weight } else { self.least_weight.min(row.weight) };
        self.most_weight = self.most_weight.max(row.weight);
        self.octets += ROW_OCTETS + 2 * path_octets as u64;
        self.rows += 1;
    }
}

/// An open data base.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    /// The oldest first; the last may be one that is being written.
    pub(super) segments: Vec<Segment>,
    upstreams: Upstreams,
    /// How large the file may be.
    pub(super) size: u64,
    /// Pages in the write-ahead log since it was last begun anew.
    pub(super) wal_pages: Arc<AtomicU64>,
    /// When readers are next asked to let go of the write-ahead log.
    pub(super) next_forced: Instant,
    /// Rows that have made room and that nobody has taken note of yet.
    pub(super) expired: u64,
    /// Held as long as the data base is open.
    _lock: File,
}

impl Store {
    /// Opens a data base, or makes one where there is none.
    ///
    /// # Errors
    /// What to tell people.
    pub(super) fn open(path: &Path, size: u64) -> Result<Store, Fault> {
        let lock = prepare(path).map_err(|error| Fault::Other(unwritable(path, error).to_string()))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_LIMIT)?;
        // No folder for files of the moment is needed: the process may be kept from all of them.
        connection.execute_batch("PRAGMA temp_store = MEMORY")?;
        if is_new(&connection)? {
            // An attempt that was cut short may have left a file without tables that cannot be vacuumed by steps.
            connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL; VACUUM")?;
        }
        let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        if mode != "wal" {
            return Err(Fault::Other(format!("its file system does not allow a write-ahead log ({mode})")));
        }
        connection.execute_batch(
            "PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 33554432; \
             PRAGMA cache_size = -16384; PRAGMA trusted_schema = OFF",
        )?;
        let wal_pages = Arc::new(AtomicU64::new(0));
        let told = Arc::clone(&wal_pages);
        connection.wal_hook(Some(move |_: &mut Wal, pages: c_int| {
            told.store(u64::try_from(pages).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))?;
        let mut store = Store {
            connection,
            path: path.to_owned(),
            segments: Vec::new(),
            upstreams: Upstreams::default(),
            size,
            wal_pages,
            next_forced: Instant::now(),
            expired: 0,
            _lock: lock,
        };
        if is_new(&store.connection)? {
            store.make_tables()?;
        } else {
            // Says what it said before: a file that cannot be written is found out before any rows are lost.
            store.connection.execute_batch(&format!("PRAGMA user_version = {VERSION}"))?;
        }
        let mut statement = store.connection.prepare(&format!("{} ORDER BY id", Segment::SELECT))?;
        store.segments = statement.query_map([], Segment::read)?.collect::<Result<_, _>>()?;
        drop(statement);
        Ok(store)
    }

    fn make_tables(&mut self) -> Result<(), Fault> {
        let tables = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tables.execute_batch(&format!(
            "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; \
             CREATE TABLE segment (id INTEGER PRIMARY KEY, first_row INTEGER NOT NULL, rows INTEGER NOT NULL, \
             first_time INTEGER NOT NULL, last_time INTEGER NOT NULL, least_weight INTEGER NOT NULL, \
             most_weight INTEGER NOT NULL, octets INTEGER NOT NULL, stage INTEGER NOT NULL)"
        ))?;
        Ok(tables.commit()?)
    }

    /// Writes rows, which are in the order of their times and kept for so long, in one transaction: all of them or, where it
    /// fails, none.
    pub(super) fn write(&mut self, rows: &[Row<'_>], masks: Masks, kept: Duration) -> Result<(), Fault> {
        self.bound_wal()?;
        let (rows_max, octets_max) = segment_bounds(self.size);
        let gap_max = span_max(kept);
        let batch = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let before = self.segments.last();
        let next_row = before.map_or(1, Segment::next_row);
        let next_id = before.map_or(1, |segment| segment.id + 1);
        let open = before.filter(|segment| segment.stage == WRITTEN).cloned();
        let unchanged = self.segments.len() - usize::from(open.is_some());
        let mut changed: Vec<Segment> = open.into_iter().collect();
        let ends = |segment: &Segment, row: &Row<'_>| {
            segment.rows >= rows_max || segment.octets >= octets_max || segment.is_of_another_time(row, gap_max)
        };
        let mut rest = rows;
        while let Some(first) = rest.first() {
            if changed.last().is_none_or(|segment| ends(segment, first)) {
                let (id, first_row) = match changed.last_mut() {
                    Some(segment) => {
                        segment.stage = 0;
                        (segment.id + 1, segment.next_row())
                    }
                    None => (next_id, next_row),
                };
                begin_segment(&batch, id)?;
                changed.push(Segment::begin(id, first_row));
            }
            let segment = changed.last_mut().expect("one has been begun where there was none");
            rest = insert(&batch, segment, rest, masks, &mut self.upstreams, ends)?;
        }
        for segment in &changed {
            keep(&batch, segment)?;
        }
        batch.commit()?;
        self.segments.truncate(unchanged);
        self.segments.append(&mut changed);
        Ok(())
    }

    /// Closes the data base, with everything in its main file if that can be.
    pub(super) fn close(self) -> Result<(), Fault> {
        let checkpoint = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        self.connection.close().map_err(|(_, error)| error)?;
        Ok(checkpoint?)
    }

    /// Rows that there are.
    pub(super) fn rows(&self) -> u64 {
        self.segments.iter().map(|segment| segment.rows).sum()
    }
}

/// Makes the file, for its owner alone, where there is none, and takes hold of it.
fn prepare(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let lock = beside(path, ".lock");
    let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(lock)?;
    match lock.try_lock() {
        Ok(()) => (),
        Err(fs::TryLockError::WouldBlock) => return Err(io::Error::other("another process has it")),
        Err(fs::TryLockError::Error(error)) => return Err(error),
    }
    match fs::metadata(path) {
        Ok(about) if !about.is_file() => return Err(io::Error::other("it is no regular file")),
        Ok(_) => (),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
        }
        Err(error) => return Err(error),
    }
    Ok(lock)
}

/// The path of a file that belongs to the one at `path`.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(ending);
    PathBuf::from(beside)
}

/// Whether nothing has been made of the data base yet.
///
/// # Errors
/// It is another program's, or of a version that came later.
fn is_new(connection: &Connection) -> Result<bool, Fault> {
    let number = |pragma: &str| connection.query_row(pragma, [], |row| row.get::<_, i32>(0));
    let (application, version) = (number("PRAGMA application_id")?, number("PRAGMA user_version")?);
    if application == APPLICATION_ID {
        return match version {
            VERSION => Ok(false),
            other => Err(Fault::Other(format!("its tables have version {other}, and {VERSION} is known here"))),
        };
    }
    match (application, version, number("SELECT count(*) FROM sqlite_schema")?) {
        (0, 0, 0) => Ok(true),
        _ => Err(Fault::Other("it is the data base of another program".to_owned())),
    }
}

/// Rows and octets of a segment in a file that may be so large.
pub(super) fn segment_bounds(size: u64) -> (u64, u64) {
    ((size >> 19).clamp(SEGMENT_ROWS, SEGMENT_ROWS_MAX), (size / SEGMENTS_MIN).min(SEGMENT_OCTETS_MAX))
}

/// Makes the table of a segment.
pub(super) fn begin_segment(batch: &Transaction<'_>, id: i64) -> rusqlite::Result<()> {
    batch.execute_batch(&format!(
        "CREATE TABLE entries_{id} (id INTEGER PRIMARY KEY, time INTEGER NOT NULL, core INTEGER NOT NULL, \
         client BLOB NOT NULL, name TEXT, qtype INTEGER NOT NULL, rcode INTEGER, transport INTEGER NOT NULL, \
         outcome INTEGER NOT NULL, policy INTEGER NOT NULL, blocked INTEGER NOT NULL, latency INTEGER NOT NULL, \
         octets INTEGER NOT NULL, upstream TEXT, dnssec_ok INTEGER NOT NULL, weight INTEGER NOT NULL)"
    ))
}

/// Inserts rows until the segment ends; those that are left.
fn insert<'a, 'b>(
    batch: &Transaction<'_>,
    segment: &mut Segment,
    rows: &'a [Row<'b>],
    masks: Masks,
    upstreams: &mut Upstreams,
    ends: impl Fn(&Segment, &Row<'_>) -> bool,
) -> rusqlite::Result<&'a [Row<'b>]> {
    let mut statement = batch.prepare(&format!(
        "INSERT INTO entries_{} VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        segment.id
    ))?;
    let mut path = String::new();
    for (done, row) in rows.iter().enumerate() {
        if ends(segment, row) {
            return Ok(&rows[done..]);
        }
        let entry = &row.entry;
        let is_named = write_path(entry.name, &mut path);
        statement.execute(params![
            segment.next_row(),
            row.unix_micros.min(i64::MAX as u64) as i64,
            row.core,
            masks.of(entry.client.ip()).octets(),
            is_named.then_some(path.as_str()),
            entry.qtype,
            entry.rcode,
            entry.transport as u8,
            entry.outcome as u8,
            entry.policy as u8,
            row.is_blocked(),
            entry.latency_micros,
            entry.reply_octets,
            entry.upstream.map(|asked| upstreams.text(asked)),
            entry.dnssec_ok,
            row.weight,
        ])?;
        segment.takes(row, path.len());
    }
    Ok(&[])
}

/// Puts a segment into the table of segments, or what has changed of it.
pub(super) fn keep(batch: &Transaction<'_>, segment: &Segment) -> rusqlite::Result<()> {
    let signed = |value: u64| value.min(i64::MAX as u64) as i64;
    batch.execute(
        "INSERT OR REPLACE INTO segment VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            segment.id,
            segment.first_row,
            signed(segment.rows),
            signed(segment.first_time),
            signed(segment.last_time),
            segment.least_weight,
            segment.most_weight,
            signed(segment.octets),
            segment.stage
        ],
    )?;
    Ok(())
}

/// Puts a data base that is corrupt aside, with what belongs to it; where it is now. The connections to it are closed.
///
/// # Errors
/// It stays where it is.
pub(super) fn put_aside(path: &Path, unix_seconds: u64) -> io::Result<PathBuf> {
    // The lock keeps two processes from doing this at once; a name that is taken is never written over.
    let free = |number: u32| {
        let ending = if number == 0 { String::new() } else { format!("-{number}") };
        let aside = beside(path, &format!(".corrupt-{unix_seconds}{ending}"));
        (!aside.exists()).then_some(aside)
    };
    let aside = (0..1_000).find_map(free).ok_or_else(|| io::Error::other("there are a thousand others aside"))?;
    fs::rename(path, &aside)?;
    for ending in ["-wal", "-shm"] {
        match fs::rename(beside(path, ending), beside(&aside, ending)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => (),
        }
    }
    Ok(aside)
}
