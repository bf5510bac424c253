//! What the data base needs beside rows: indexes on segments that are full, room, and a write-ahead log that does not grow.
//! Each call does a little of it, so that the queue of chunks bears the wait.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rusqlite::TransactionBehavior;

use super::store::{Fault, SEGMENT_ROWS, Segment, Store, WRITTEN, keep};

/// The indexes of a closed segment, in the order in which they are made: questions want a client, a name and what is below
/// it, or what was blocked. Times are in the order of the rows.
pub(super) const INDEXES: [(&str, &str); 3] =
    [("client", "(client)"), ("name", "(name)"), ("blocked", "(blocked) WHERE blocked = 1")];
/// A segment is closed, too, when it is older than this part of what is kept: so much is rounded.
const KEEP_PARTS: u32 = 24;
/// Octets of the write-ahead log that are worth writing them into the file.
const WAL_OCTETS: u64 = 16 << 20;
/// Pages that are given back to the file system in a step.
const VACUUM_PAGES: u32 = 1_024;

/// What is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// The time of the day, in microseconds since 1970.
    pub(super) now: u64,
    /// How old a query may be.
    pub(super) keep: Duration,
}

impl Store {
    /// Does what is due, a step of each; how many rows have made room.
    pub(super) fn tend(&mut self, bounds: Bounds) -> Result<u64, Fault> {
        self.close_old_segment(bounds)?;
        self.make_indexes()?;
        let expired = self.make_room(bounds)?;
        self.give_back()?;
        self.checkpoint()?;
        Ok(expired)
    }

    /// Closes the segment that is being written where it spans long enough.
    fn close_old_segment(&mut self, Bounds { now, keep: kept }: Bounds) -> Result<(), Fault> {
        let oldest = now.saturating_sub((kept / KEEP_PARTS).as_micros() as u64);
        match self.segments.last() {
            Some(segment) if segment.stage == WRITTEN && segment.first_time < oldest => {
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

    /// Drops the oldest segments where they are too old, or the file has too little room left; how many rows.
    fn make_room(&mut self, Bounds { now, keep: kept }: Bounds) -> Result<u64, Fault> {
        let mut rows = 0;
        while rows < 2 * SEGMENT_ROWS {
            let Some(oldest) = self.segments.first().filter(|oldest| oldest.stage != WRITTEN) else { break };
            let is_old = oldest.first_time < now.saturating_sub(kept.as_micros() as u64);
            // An eighth is for what comes in between, and for indexes that are still to be made.
            if !is_old && self.octets_used()? <= self.size / 8 * 7 {
                break;
            }
            rows += oldest.rows.max(1);
            let id = oldest.id;
            let change = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            change.execute_batch(&format!("DROP TABLE entries_{id}; DELETE FROM segment WHERE id = {id}"))?;
            change.commit()?;
            self.segments.remove(0);
        }
        Ok(rows)
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

    /// Writes the write-ahead log into the file where it has grown. Those who read hold it up, and are let finish unless it
    /// grows much longer.
    fn checkpoint(&self) -> Result<(), Fault> {
        let worth = WAL_OCTETS.min(self.size / 8);
        let octets = self.wal_pages.load(Ordering::Relaxed) * self.number("PRAGMA page_size")?;
        if octets > worth {
            let mode = if octets > 4 * worth { "TRUNCATE" } else { "PASSIVE" };
            self.connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))?;
        }
        Ok(())
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
