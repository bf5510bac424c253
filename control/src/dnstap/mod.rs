//! Messages for a reader of dnstap: what the cores have recorded, over Frame Streams to one Unix socket or TCP port.
//!
//! One thread has it all: it takes chunks out of the cores' queue, which is bounded, writes their messages as dnstap has
//! them, and gives them to the kernel. It waits for the reader, so that no core does. While there is none, or it takes too
//! little, messages are dropped; each message that was handed over is sent or counted as dropped.
//!
//! | module | owns |
//! |---|---|
//! | `sender` | the thread: what is done in which order, and when the reader is looked for again |
//! | `stream` | a connection to a reader: sockets and times |
//! | `frames` | Frame Streams: pure |
//! | `message` | the protocol buffers of dnstap: pure |

mod frames;
mod message;
mod sender;
mod stream;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ringdns_shard::telemetry::tap;
use serde::Serialize;
use utoipa::ToSchema;

use crate::config::{Settings, TapTarget};
use crate::recording::{Losses, Outlet};
use sender::{Pace, Sender};

/// So much earlier than whoever waits for the end the thread gives up, so that it can say so.
const END_TOLD: Duration = Duration::from_millis(400);

/// Where messages go, and what they say of this server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Where the reader listens; `None`: nothing is sent.
    to: Option<TapTarget>,
    /// The server's name; empty: it has none.
    identity: String,
    /// Where clients ask, by listener.
    listeners: Vec<SocketAddr>,
}

impl Wanted {
    /// As the configuration says; `listeners` are the addresses that its listeners really have, in their order.
    pub(crate) fn of(settings: &Settings, listeners: &[SocketAddr]) -> Wanted {
        let (to, identity) = ((*settings.dnstap.to).clone(), (*settings.server.identity).clone());
        Wanted { to, identity, listeners: listeners.to_vec() }
    }
}

/// How it does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Figures {
    /// Messages given to the kernel for the reader.
    pub(crate) sent: u64,
    /// Messages dropped: the queue from the cores was full, or has come to its end.
    pub(crate) dropped_queue: u64,
    /// Messages dropped: there was no reader, or no time left for it.
    pub(crate) dropped_unread: u64,
    /// Messages dropped: the reader went away, or was too slow, in the midst of them.
    pub(crate) dropped_cut: u64,
    /// Connections that came about.
    pub(crate) connections: u64,
    /// Where the reader listens; none where nothing is sent.
    pub(crate) to: Option<String>,
    /// Whether there is a reader.
    pub(crate) is_connected: bool,
    /// Why there is none.
    pub(crate) trouble: Option<String>,
}

/// A handle to the thread that sends.
#[derive(Clone, Debug)]
pub(crate) struct Dnstap(Arc<Shared>);

/// What the thread and its handles share.
#[derive(Debug)]
struct Shared {
    orders: Mutex<Orders>,
    has_ended: Condvar,
    losses: Arc<Losses>,
    counts: Counts,
    trouble: Mutex<Option<String>>,
}

#[derive(Debug, Default)]
struct Orders {
    wanted: Wanted,
    /// Counts the changes of `wanted`.
    version: u64,
    /// When the last of them was.
    changed_at: Option<Instant>,
    /// The thread is to end by then.
    close_by: Option<Instant>,
    /// What is to be said of the end: whether everything was sent.
    ended: Option<bool>,
}

#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    unread: AtomicU64,
    cut: AtomicU64,
    connections: AtomicU64,
    is_connected: AtomicBool,
}

impl Dnstap {
    /// Starts the thread. It takes what comes for as long as there are cores, whatever is wanted, until [`Dnstap::close`].
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(crate) fn start(messages: Outlet<tap::Chunk>, losses: Arc<Losses>, wanted: Wanted) -> io::Result<Dnstap> {
        Dnstap::start_at(messages, losses, wanted, Pace::DEFAULT)
    }

    fn start_at(messages: Outlet<tap::Chunk>, losses: Arc<Losses>, wanted: Wanted, pace: Pace) -> io::Result<Dnstap> {
        let orders = Orders { wanted, version: 1, ..Orders::default() };
        let shared = Arc::new(Shared {
            orders: Mutex::new(orders),
            has_ended: Condvar::new(),
            losses,
            counts: Counts::default(),
            trouble: Mutex::default(),
        });
        let sender = Sender::new(messages, Arc::clone(&shared), pace);
        std::thread::Builder::new().name("ringdns-dnstap".to_owned()).spawn(move || sender.run())?;
        Ok(Dnstap(shared))
    }

    /// From now on this is wanted: what has changed ends the connection and begins another.
    pub(crate) fn want(&self, wanted: Wanted) {
        let mut orders = self.0.orders();
        if orders.wanted != wanted {
            orders.wanted = wanted;
            orders.version += 1;
            orders.changed_at = Some(Instant::now());
        }
    }

    /// Sends what has come, tells the reader that there is no more, and ends the thread. Returns whether the reader has
    /// all of it, at the latest after `limit`; nothing is lost without being counted either way.
    pub(crate) fn close(&self, limit: Duration) -> bool {
        let by = Instant::now() + limit - END_TOLD.min(limit / 2);
        let mut orders = self.0.orders();
        orders.close_by.get_or_insert(by);
        let (orders, _) = self
            .0
            .has_ended
            .wait_timeout_while(orders, limit, |orders| orders.ended.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        orders.ended == Some(true)
    }

    /// How it does.
    pub(crate) fn figures(&self) -> Figures {
        let Shared { losses, counts, trouble, .. } = &*self.0;
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Figures {
            sent: value(&counts.sent),
            dropped_queue: value(&losses.tapped),
            dropped_unread: value(&counts.unread),
            dropped_cut: value(&counts.cut),
            connections: value(&counts.connections),
            to: self.0.orders().wanted.to.as_ref().map(TapTarget::to_string),
            is_connected: counts.is_connected.load(Ordering::Relaxed),
            trouble: trouble.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

impl Shared {
    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

#[cfg(test)]
mod tests;
