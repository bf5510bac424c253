//! The thread that sends: chunks in, frames out, a reader looked for while there is none.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use ringdns_shard::telemetry::{Handed, tap};

use super::frames::Batch;
use super::message::Writer;
use super::stream::{Patience, Stream};
use super::{Orders, Shared, Wanted};
use crate::recording::{Outlet, TAP_CHUNKS_MAX};

/// Times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// How often orders are looked for, and whether the reader is still there.
    pub(super) tick: Duration,
    /// How soon a reader that was lost or is not there is looked for again, at first; then twice as late each time.
    pub(super) pause: Duration,
    /// And at the latest.
    pub(super) pause_max: Duration,
    /// A connection that has lasted so long was a good one: the next pause is the first again.
    pub(super) steady: Duration,
    /// How long a connection may take to come about.
    pub(super) open: Duration,
    /// How long the reader may take for a chunk.
    pub(super) write: Duration,
    /// How long the reader may take for what has come for it when another one is wanted, and then to say that it has it.
    pub(super) finish: Duration,
}

impl Pace {
    pub(super) const DEFAULT: Pace = Pace {
        tick: Duration::from_millis(200),
        pause: Duration::from_secs(1),
        pause_max: Duration::from_secs(30),
        steady: Duration::from_secs(30),
        open: Duration::from_secs(3),
        write: Duration::from_secs(10),
        finish: Duration::from_secs(2),
    };
}

/// The thread's own.
#[derive(Debug)]
pub(super) struct Sender {
    messages: Outlet<tap::Chunk>,
    shared: Arc<Shared>,
    pace: Pace,
    wanted: Wanted,
    /// The version of `wanted`.
    version: u64,
    writer: Writer,
    batch: Batch,
    link: Link,
    /// How long the next pause is.
    pause: Duration,
    /// It has been told that there is no reader.
    is_told: bool,
    /// Messages dropped for want of a reader since there was one.
    missed: u64,
    /// Messages of the chunk at hand that are neither sent nor counted as dropped yet.
    at_hand: u64,
}

/// Whether there is a reader.
#[derive(Debug)]
enum Link {
    /// None is wanted.
    Off,
    /// There is none, and from then on one is looked for.
    Down(Instant),
    /// There is one since then.
    Up(Stream, Instant),
}

impl Sender {
    pub(super) fn new(messages: Outlet<tap::Chunk>, shared: Arc<Shared>, pace: Pace) -> Sender {
        Sender {
            messages,
            shared,
            pace,
            wanted: Wanted::default(),
            version: 0,
            writer: Writer::new("", Vec::new()),
            batch: Batch::default(),
            link: Link::Off,
            pause: pace.pause,
            is_told: false,
            missed: 0,
            at_hand: 0,
        }
    }

    /// Until everybody has gone who could send anything, or the end is ordered.
    pub(super) fn run(mut self) {
        // A panic is a bug of ours, of which its hook has told: nobody waits for a thread that is gone.
        let had_all = catch_unwind(AssertUnwindSafe(|| self.work())).unwrap_or_else(|_| {
            self.fail();
            false
        });
        let Sender { messages, shared, .. } = self;
        // What is still there, and what is handed over from here on, counts as dropped by the queue.
        drop(messages);
        shared.orders().ended = Some(had_all);
        shared.has_ended.notify_all();
    }

    /// Returns whether the reader has everything.
    fn work(&mut self) -> bool {
        loop {
            let (version, close_by) = {
                let orders = self.shared.orders();
                (orders.version, orders.close_by)
            };
            if version != self.version {
                self.turn();
            }
            self.connect();
            if close_by.is_some() {
                break;
            }
            match self.messages.recv_timeout(self.pace.tick) {
                Ok(handed) => self.send(&handed),
                Err(RecvTimeoutError::Timeout) => self.look(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        // What is still there is sent, and the connection ends.
        let until = self.shared.orders().close_by.unwrap_or_else(|| Instant::now() + self.pace.finish);
        self.drain(until) & self.finish(until)
    }

    /// There is nobody any more who sends anything.
    fn fail(&mut self) {
        self.link = Link::Off;
        count(&self.shared.counts.cut, std::mem::take(&mut self.at_hand));
        self.shared.counts.is_connected.store(false, Ordering::Relaxed);
        self.shared.set_trouble(Some("its thread has failed".to_owned()));
    }

    /// Does from now on what is wanted now. What was recorded before belongs to the reader that was wanted then.
    fn turn(&mut self) {
        let changed_at = self.shared.orders().changed_at.unwrap_or_else(Instant::now);
        // Where none was wanted, what has come is for the first that is.
        if !matches!(self.link, Link::Off) {
            self.drain(changed_at + self.pace.finish);
        }
        self.finish(Instant::now() + self.pace.finish);
        {
            let orders = self.shared.orders();
            (self.wanted, self.version) = (orders.wanted.clone(), orders.version);
        }
        self.writer = Writer::new(&self.wanted.identity, self.wanted.listeners.clone());
        self.link = if self.wanted.to.is_some() { Link::Down(Instant::now()) } else { Link::Off };
        (self.pause, self.is_told, self.missed) = (self.pace.pause, false, 0);
        self.shared.set_trouble(None);
    }

    /// Sends what has come already, or counts it. Returns whether the reader was there for all of it.
    fn drain(&mut self, until: Instant) -> bool {
        let mut had_all = true;
        // No more than that can have been there.
        for _ in 0..TAP_CHUNKS_MAX {
            let Ok(handed) = self.messages.try_recv() else { break };
            let is_time_left = Instant::now() < until;
            if is_time_left {
                self.send(&handed);
            } else {
                self.miss(&handed);
            }
            had_all &= is_time_left && !matches!(self.link, Link::Down(_));
        }
        had_all
    }

    /// Looks for a reader, where it is time for that.
    fn connect(&mut self) {
        let (Some(to), Link::Down(from)) = (&self.wanted.to, &self.link) else { return };
        let now = Instant::now();
        if now < *from {
            return;
        }
        let (shared, version) = (&self.shared, self.version);
        let goes_on = || is_wanted(shared, version);
        let patience = Patience { until: now + self.pace.open, goes_on: &goes_on };
        match Stream::open(to, self.pace.open, patience) {
            Ok(stream) => {
                let missed = std::mem::take(&mut self.missed);
                if std::mem::take(&mut self.is_told) {
                    log::info!("dnstap: there is a reader at {to} again; {missed} messages were dropped meanwhile");
                } else {
                    log::info!("dnstap: messages go to {to}");
                }
                count(&self.shared.counts.connections, 1);
                self.shared.counts.is_connected.store(true, Ordering::Relaxed);
                self.shared.set_trouble(None);
                self.link = Link::Up(stream, Instant::now());
            }
            Err(why) => self.lose(why),
        }
    }

    /// There is no reader, or no more: says so once, and looks for one later.
    fn lose(&mut self, why: String) {
        let Some(to) = &self.wanted.to else { return };
        if !std::mem::replace(&mut self.is_told, true) {
            log::warn!("dnstap: there is no reader at {to}: {why}; messages are dropped until there is one");
        }
        if matches!(&self.link, Link::Up(_, since) if since.elapsed() >= self.pace.steady) {
            self.pause = self.pace.pause;
        }
        self.link = Link::Down(Instant::now() + self.pause);
        self.pause = self.pace.pause_max.min(self.pause * 2);
        self.shared.counts.is_connected.store(false, Ordering::Relaxed);
        self.shared.set_trouble(Some(why));
    }

    /// Counts a chunk that there is no reader for.
    fn miss(&mut self, handed: &Handed<tap::Chunk>) {
        let messages = u64::from(handed.chunk.messages);
        self.missed += messages;
        count(&self.shared.counts.unread, messages);
    }

    /// Sends a chunk, or counts what of it is not sent.
    fn send(&mut self, handed: &Handed<tap::Chunk>) {
        let Link::Up(stream, _) = &mut self.link else { return self.miss(handed) };
        let messages = u64::from(handed.chunk.messages);
        self.at_hand = messages;
        self.batch.clear();
        self.writer.write(handed, &mut self.batch);
        let (shared, version, finish) = (&self.shared, self.version, self.pace.finish);
        let goes_on = || may_take(&shared.orders(), version, finish);
        let patience = Patience { until: Instant::now() + self.pace.write, goes_on: &goes_on };
        let end = stream.write(self.batch.as_octets(), patience);
        let written = end.as_ref().map_or_else(|cut| cut.written, |()| self.batch.as_octets().len());
        let sent = self.batch.whole(written);
        self.at_hand = 0;
        count(&self.shared.counts.sent, sent);
        if let Err(cut) = end {
            count(&self.shared.counts.cut, messages.saturating_sub(sent));
            self.lose(cut.why);
        }
    }

    /// Whether the reader is still there, while there is nothing to send.
    fn look(&mut self) {
        if let Link::Up(stream, _) = &self.link
            && let Err(why) = stream.look()
        {
            self.lose(why);
        }
    }

    /// Ends the connection, if there is one. Returns whether the reader has said that it has everything.
    fn finish(&mut self, until: Instant) -> bool {
        let Link::Up(stream, _) = std::mem::replace(&mut self.link, Link::Off) else { return true };
        self.shared.counts.is_connected.store(false, Ordering::Relaxed);
        let shared = &self.shared;
        // The end may be ordered while the reader is waited for, and then by another time.
        let goes_on = || is_time_left(&shared.orders());
        let end = stream.finish(Patience { until, goes_on: &goes_on });
        if let (Err(why), Some(to)) = (&end, &self.wanted.to) {
            log::warn!("dnstap: whether the reader at {to} has all messages is not sure: {why}");
        }
        end.is_ok()
    }
}

/// Whether it makes sense to go on looking for a reader.
fn is_wanted(shared: &Shared, version: u64) -> bool {
    let orders = shared.orders();
    orders.version == version && is_time_left(&orders)
}

/// Whether a reader has time for what has come for it, also when meanwhile another one is wanted.
fn may_take(orders: &Orders, version: u64, finish: Duration) -> bool {
    let is_in_time = orders.version == version || orders.changed_at.is_some_and(|at| at.elapsed() < finish);
    is_in_time && is_time_left(orders)
}

fn is_time_left(orders: &Orders) -> bool {
    orders.close_by.is_none_or(|by| Instant::now() < by)
}

fn count(counter: &AtomicU64, some: u64) {
    counter.fetch_add(some, Ordering::Relaxed);
}
