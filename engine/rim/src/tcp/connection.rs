//! One connection of a client: what is under way on it, and what waits to be written.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use ringdns_shard::Time;
use socket2::SockRef;

use super::output::Output;
use crate::limits::{TCP_IN_FLIGHT_MAX, TCP_OUTPUT_PAUSE_OCTETS, TCP_TRANSFERS_MAX};

pub(super) struct Connection {
    pub(super) stream: Rc<TcpStream>,
    pub(super) peer: SocketAddr,
    pub(super) listener: u16,
    /// Requests whose replies are to come.
    pub(super) in_flight: usize,
    /// Of these, the transfers, by the shard's numbers; the first is the one on its way.
    pub(super) transfers: VecDeque<u32>,
    /// When the socket last took something, or the first of the transfers began.
    pub(super) moved_at: Time,
    pub(super) output: Output,
    /// When something useful happened last: a request came, a reply went.
    pub(super) active_at: Time,
    /// When the message that is not yet complete began.
    pub(super) frame_since: Option<Time>,
    /// Whether a task waits for the socket to take more.
    pub(super) has_writer: bool,
    /// Set when the task is to end; the socket is shut down already.
    pub(super) closing: bool,
    /// The connection's task, while it waits for room or for the last replies to leave.
    pub(super) waiting: Option<Waker>,
}

/// What would be lost with a connection; the least is lost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Worth {
    /// Nothing: the client would not notice before its next request.
    Idle,
    /// Requests that have come in part, or replies.
    Busy,
    /// A transfer that would begin anew.
    Transfer,
}

impl Connection {
    /// A connection that has just been accepted.
    pub(super) fn new(now: Time, stream: Rc<TcpStream>, peer: SocketAddr, listener: u16) -> Connection {
        Connection {
            stream,
            peer,
            listener,
            in_flight: 0,
            transfers: VecDeque::new(),
            moved_at: now,
            output: Output::default(),
            active_at: now,
            frame_since: None,
            has_writer: false,
            closing: false,
            waiting: None,
        }
    }

    pub(super) fn has_room(&self) -> bool {
        !self.is_full() && self.output.waiting() < TCP_OUTPUT_PAUSE_OCTETS
    }

    /// Whether as many requests are in flight as one connection may have.
    pub(super) fn is_full(&self) -> bool {
        self.in_flight >= TCP_IN_FLIGHT_MAX || self.transfers.len() >= TCP_TRANSFERS_MAX
    }

    /// Whether there is something to write, now or once the socket takes more.
    pub(super) fn has_more(&self) -> bool {
        self.output.waiting() > 0 || !self.transfers.is_empty()
    }

    /// Whether the client does not take what is there for it. A transfer makes no message before the socket takes one:
    /// while none waits, it is the socket that has taken nothing for so long.
    pub(super) fn is_stalled(&self, now: Time, limit: Duration) -> bool {
        self.output.owed_since().is_some_and(|since| since + limit <= now)
            || (!self.transfers.is_empty() && self.output.waiting() == 0 && self.moved_at + limit <= now)
    }

    pub(super) fn is_drained(&self) -> bool {
        self.closing || (self.in_flight == 0 && self.output.waiting() == 0)
    }

    /// What would be lost if it were closed now.
    pub(super) fn worth(&self) -> Worth {
        if self.closing {
            Worth::Idle
        } else if !self.transfers.is_empty() {
            Worth::Transfer
        } else if self.in_flight > 0 || self.output.waiting() > 0 || self.frame_since.is_some() {
            Worth::Busy
        } else {
            Worth::Idle
        }
    }

    /// Writes what the socket takes; whether that was all.
    pub(super) fn write(&mut self, now: Time) -> io::Result<bool> {
        while self.output.waiting() > 0 {
            match (&*self.stream).write(self.output.rest()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(octets) => {
                    self.active_at = now;
                    self.moved_at = now;
                    self.output.wrote(now, octets);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Ends the connection: whatever its tasks wait for has come, and they see that it is closing.
    pub(super) fn close(&mut self) {
        self.closing = true;
        // Fails only where the connection is broken already.
        let _ = self.stream.shutdown(Shutdown::Both);
        if let Some(task) = self.waiting.take() {
            task.wake();
        }
    }

    /// The same for a client that does not take its replies: they are thrown away with a reset, or the kernel would keep
    /// them for minutes.
    pub(super) fn close_hard(&mut self) {
        let _ = SockRef::from(&*self.stream).set_linger(Some(Duration::ZERO));
        self.close();
    }
}
