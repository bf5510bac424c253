//! What the data base needs beside rows: indexes on segments that are full, room, and a write-ahead log that does not grow.
//! Each call does a little of it, so that the queue of chunks bears the wait.

use std::fs;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rusqlite::{Row, TransactionBehavior};

use super::store::{BUSY_LIMIT, Fault, LATE_MAX, SEGMENT_ROWS, Segment, Store, WRITTEN, begin_segment, beside, keep};

/// The indexes of a closed segment, in the order in which they are made: questions want a client, a name and what is below
/// it, or what was blocked. Times are in the order of the rows.
pub(super) const INDEXES: [(&str, &str); 3] =
    [("client", "(client)"), ("name", "(name)"), ("blocked", "(blocked) WHERE blocked = 1")];
/// A segment is closed, too, when it is older than this part of what is kept: so much is rounded.
const KEEP_PARTS: u32 = 24;
/// Octets of the write-ahead log that are worth writing them into the file.
const WAL_OCTETS: u64 = 16 << 20;
/// Octets that it may have, or half of what the file may where that is more, before nothing is written any more: whoever
/// reads without end keeps all of it.
const WAL_OCTETS_MAX: u64 = 256 << 20;
/// How often those who read are asked to let go of it.
const FORCED_EVERY: Duration = Duration::from_secs(5);
/// Pages that are given back to the file system in a step.
const VACUUM_PAGES: u32 = 1_024;

/// What is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// The time of the day, in microseconds since 1970.
    pub(super) now: u64,
    /// How old a query may be.
    pub(super) keep: Duration,
    /// Whether those go that are older; not where the clock is in doubt.
    pub(super) expires: bool,
}

/// How much time a segment spans where queries are kept for so long, in microseconds.
pub(super) fn span_max(kept: Duration) -> u64 {
    (kept / KEEP_PARTS).as_micros() as u64
}

impl Store {
    /// Does what is due, a step of each.
    pub(super) fn tend(&mut self, bounds: Bounds) -> Result<(), Fault> {
        self.close_old_segment(bounds)?;
        self.make_indexes()?;
        self.make_room(bounds)?;
        self.give_back()?;
        self.checkpoint()
    }

    /// Closes the segment that is being written where it spans long enough.
    fn close_old_segment(&mut self, Bounds { now, keep: kept, .. }: Bounds) -> Result<(), Fault> {
        let oldest = now.saturating_sub(span_max(kept));
        match self.segments.last() {
            Some(segment) if segment.stage == WRITTEN && segment.rows > 0 && segment.first_time < oldest => {
                let segment = Segment { stage: 0, ..segment.clone() };
                self.change_last(segment)
            }
            _ => Ok(()),
        }
    }

    fn change_last(&mut self, segment: Segment) -> Result<(), Fault> {
        let change = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        keep(&change, &segment)?;
        change.commit()?;
        *self.segments.last_mut().expect("the caller has found one") = segment;
        Ok(())
    }

    /// Makes indexes of closed segments that lack some, the newest first: what is asked for most is what happened last.
    fn make_indexes(&mut self) -> Result<(), Fault> {
        let mut rows = 0;
        while rows < SEGMENT_ROWS {
            let lacks = |segment: &&mut Segment| (0..INDEXES.len() as i64).contains(&segment.stage);
            let Some(segment) = self.segments.iter_mut().rev().find(lacks) else { return Ok(()) };
            let (name, columns) = INDEXES[segment.stage as usize];
            let id = segment.id;
            let more = Segment { stage: segment.stage + 1, ..segment.clone() };
            let change = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            change.execute_batch(&format!("CREATE INDEX entries_{id}_{name} ON entries_{id} {columns}"))?;
            keep(&change, &more)?;
            change.commit()?;
            rows += more.rows.max(1);
            *segment = more;
        }
        Ok(())
    }

    /// Drops the segments that are too old, and the first ones where the file has too little room left.
    fn make_room(&mut self, bounds: Bounds) -> Result<(), Fault> {
        let mut rows = 0;
        while rows < 2 * SEGMENT_ROWS {
            let place = match self.expired_segment(bounds) {
                Some(place) => place,
                // An eighth is for what comes in between, and for indexes that are still to be made.
                None if self.octets_used()? > self.size / 8 * 7 => 0,
                None => break,
            };
            let Some(segment) = self.segments.get(place).filter(|segment| segment.stage != WRITTEN) else { break };
            rows += segment.rows.max(1);
            self.drop_segment(place)?;
        }
        Ok(())
    }

    /// A closed segment that is too old. Where the clock was set they are not in the order of their times; one of a time that
    /// has not come yet goes when one goes that was written after it.
    fn expired_segment(&self, Bounds { now, keep: kept, expires }: Bounds) -> Option<usize> {
        let oldest = now.saturating_sub(kept.as_micros() as u64);
        let is_old = |segment: &Segment| segment.stage != WRITTEN && segment.first_time < oldest;
        let last = self.segments.iter().rposition(is_old).filter(|_| expires)?;
        let is_ahead = |segment: &Segment| segment.first_time > now.saturating_add(LATE_MAX);
        self.segments[..=last].iter().position(|segment| is_old(segment) || is_ahead(segment))
    }

    /// Drops a segment. Where it is the last one, another takes its place, for rows to have numbers that none has had.
    fn drop_segment(&mut self, place: usize) -> Result<(), Fault> {
        let Segment { id, rows, .. } = self.segments[place];
        let next = (place + 1 == self.segments.len()).then(|| Segment::begin(id + 1, self.segments[place].next_row()));
        let change = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        change.execute_batch(&format!("DROP TABLE entries_{id}; DELETE FROM segment WHERE id = {id}"))?;
        if let Some(next) = &next {
            begin_segment(&change, next.id)?;
            keep(&change, next)?;
        }
        change.commit()?;
        self.segments.remove(place);
        self.segments.extend(next);
        self.expired += rows;
        Ok(())
    }

    /// Gives pages back to the file system where many lie idle, or the file is larger than it may be.
    fn give_back(&self) -> Result<(), Fault> {
        let page = self.number("PRAGMA page_size")?;
        let (pages, free) = (self.number("PRAGMA page_count")?, self.number("PRAGMA freelist_count")?);
        if free == 0 || (free * page <= self.size / 8 && pages * page <= self.size) {
            return Ok(());
        }
        // Each row of it is a page.
        let mut statement = self.connection.prepare(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
        let mut steps = statement.query([])?;
        while steps.next()?.is_some() {}
        Ok(())
    }

    /// Writes the write-ahead log into the file where it has grown. Those who read hold it up, and are let finish; where it
    /// grows much longer, it begins anew as soon as there is a moment without any.
    fn checkpoint(&mut self) -> Result<(), Fault> {
        let worth = WAL_OCTETS.min(self.size / 8);
        let octets = self.wal_pages.load(Ordering::Relaxed) * self.number("PRAGMA page_size")?;
        if octets > 4 * worth && Instant::now() >= self.next_forced {
            return self.force_checkpoint();
        }
        if octets > worth { self.run_checkpoint("PASSIVE") } else { Ok(()) }
    }

    /// Begins the write-ahead log anew if nobody reads at this moment. Waits for nobody: what comes meanwhile would be lost.
    fn force_checkpoint(&mut self) -> Result<(), Fault> {
        self.next_forced = Instant::now() + FORCED_EVERY;
        self.connection.busy_timeout(Duration::ZERO)?;
        let done = self.run_checkpoint("TRUNCATE");
        self.connection.busy_timeout(BUSY_LIMIT)?;
        done
    }

    fn run_checkpoint(&self, mode: &str) -> Result<(), Fault> {
        let pages = |row: &Row<'_>| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
        let (all, written) = self.connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], pages)?;
        // What is left; with the next transaction all of them count again.
        self.wal_pages.store(all.saturating_sub(written).max(0).unsigned_abs(), Ordering::Relaxed);
        Ok(())
    }

    /// Sees to it that the write-ahead log does not grow without end.
    ///
    /// # Errors
    /// It would, for somebody reads on and on.
    pub(super) fn bound_wal(&mut self) -> Result<(), Fault> {
        let octets = |store: &Store| fs::metadata(beside(&store.path, "-wal")).map_or(0, |about| about.len());
        let octets_max = WAL_OCTETS_MAX.max(self.size / 2);
        if octets(self) <= octets_max {
            return Ok(());
        }
        self.force_checkpoint()?;
        match octets(self) {
            left if left <= octets_max => Ok(()),
            left => Err(Fault::Other(format!(
                "somebody reads it for too long, and its write-ahead log has {} MiB; see which process has it open",
                left >> 20
            ))),
        }
    }

    /// Octets of the file that hold something.
    fn octets_used(&self) -> Result<u64, Fault> {
        let pages = self.number("PRAGMA page_count")?.saturating_sub(self.number("PRAGMA freelist_count")?);
        Ok(pages * self.number("PRAGMA page_size")?)
    }

    fn number(&self, pragma: &str) -> Result<u64, Fault> {
        let number: i64 = self.connection.query_row(pragma, [], |row| row.get(0))?;
        Ok(number.max(0).unsigned_abs())
    }
}
