//! The thread that sends: chunks in, frames out, a reader looked for while there is none.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use ringdns_shard::telemetry::{Handed, tap};

use super::frames::Batch;
use super::message::Writer;
use super::stream::{Patience, Stream};
use super::{Orders, Shared, Wanted};

/// More chunks than any queue from the cores has.
const QUEUED_MAX: usize = 1_000;

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
    /// How long the reader may take to say that it has everything, when another reader is wanted.
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
    messages: Receiver<Handed<tap::Chunk>>,
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
    pub(super) fn new(messages: Receiver<Handed<tap::Chunk>>, shared: Arc<Shared>, pace: Pace) -> Sender {
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
        }
    }

    /// Until everybody has gone who could send anything, or the end is ordered.
    pub(super) fn run(mut self) {
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
        let had_all = self.end();
        let Sender { messages, shared, .. } = self;
        // Whoever hands over something from here on hears that nobody takes it, and counts it.
        drop(messages);
        shared.orders().ended = Some(had_all);
        shared.has_ended.notify_all();
    }

    /// Sends what is still there, and ends the connection. Returns whether the reader has all of it.
    fn end(&mut self) -> bool {
        let until = self.shared.orders().close_by.unwrap_or_else(|| Instant::now() + self.pace.finish);
        let had_all = self.drain(until) & self.finish(until);
        // Where the time was over before the queue was empty.
        for handed in self.messages.try_iter().take(QUEUED_MAX) {
            count(&self.shared.counts.unread, handed.chunk.messages.into());
        }
        had_all
    }

    /// Does from now on what is wanted now. What was recorded before belongs to the reader that was wanted then.
    fn turn(&mut self) {
        let until = Instant::now() + self.pace.finish;
        if let Link::Up(..) = self.link {
            self.drain(until);
        }
        self.finish(until);
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
        while Instant::now() < until {
            let Ok(handed) = self.messages.try_recv() else { return had_all };
            self.send(&handed);
            had_all &= !matches!(self.link, Link::Down(_));
        }
        false
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

    /// Sends a chunk, or counts what of it is not sent.
    fn send(&mut self, handed: &Handed<tap::Chunk>) {
        let messages = u64::from(handed.chunk.messages);
        let Link::Up(stream, _) = &mut self.link else {
            self.missed += messages;
            count(&self.shared.counts.unread, messages);
            return;
        };
        self.batch.clear();
        self.writer.write(handed, &mut self.batch);
        let (shared, version) = (&self.shared, self.version);
        let goes_on = || is_wanted(shared, version);
        let patience = Patience { until: Instant::now() + self.pace.write, goes_on: &goes_on };
        let end = stream.write(self.batch.as_octets(), patience);
        let written = end.as_ref().map_or_else(|cut| cut.written, |()| self.batch.as_octets().len());
        let sent = self.batch.whole(written);
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

/// Whether it makes sense to go on waiting for a reader.
fn is_wanted(shared: &Shared, version: u64) -> bool {
    let orders = shared.orders();
    orders.version == version && is_time_left(&orders)
}

fn is_time_left(orders: &Orders) -> bool {
    orders.close_by.is_none_or(|by| Instant::now() < by)
}

fn count(counter: &AtomicU64, some: u64) {
    counter.fetch_add(some, Ordering::Relaxed);
}
