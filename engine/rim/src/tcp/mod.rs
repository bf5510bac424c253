//! Connections of clients (RFC 7766): accepting them, reading their requests as they come, sending replies in whatever
//! order they are ready, and closing those that misbehave or have nothing more to say.
//!
//! A connection has one task, which reads; replies are written at once by whoever has them, and a second task exists
//! only while the socket takes no more, or a zone is transferred: that is a message a turn, made when the one before has
//! left for the socket, so that other requests of the connection and everybody else on the core have their turns in
//! between. Zones asked for over one connection go one after the other. What is bounded, with a counter for each bound:
//!
//! - connections of a core, and of a client: a client at its cap, which tightens as the slots fill, loses one of its
//!   own for each further one; where no slot is left and nobody has more than a few, one too many is closed at once;
//! - requests in flight, transfers among them, and octets of replies not yet taken: beyond either the connection is not
//!   read;
//! - time: an idle connection, a message that began and does not end, replies that the client does not take. All three
//!   have the configured idle time-out. A message has it as a whole, and so has each stretch of replies that wait, so
//!   that neither a trickle of octets nor a sip now and then keeps a connection open.
//!
//! Memory of an idle connection: its slot and its task, no buffer.
//!
//! | module | owns |
//! |---|---|
//! | `slots` | the connections of a core, and which of them gives way |
//! | `clients` | who has how many, and how many one may have |
//! | `connection`, `output` | what is under way on one connection; replies that wait to be written |
//! | `transfer` | zones that go out |

mod clients;
mod connection;
mod output;
mod slots;
mod transfer;

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::task::Poll;

use ringdns_shard::{Client, Outcome, Time, Transport};

use crate::clock;
use crate::engine::{Core, Shared};
use crate::frames::{Arrived, Input};
use crate::limits::{
    ACCEPT_PAUSE, ACCEPTS_A_TURN_MAX, TCP_IN_FLIGHT_PATIENCE, TCP_OUTPUT_OCTETS_MAX, TCP_OUTPUT_PAUSE_OCTETS,
};
use crate::runtime::{self, Readiness};
use crate::sockets;
use crate::telemetry::RimCounters;
use connection::Connection;
pub(crate) use slots::Connections;
use slots::Room;

/// How far the requests in an [`Input`] have been taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// All that are complete.
    All,
    /// Some wait until the connection has room again.
    Paused,
    /// Some wait until what the first have brought is sent and handed over, which it is: the next may be taken.
    Part,
    /// The connection is at its end.
    Closed,
}

/// The task of a listener: accepts connections for as long as the core runs.
pub(crate) async fn listen(shared: Rc<Shared>, listener: u16, socket: Rc<TcpListener>) {
    let ready = Readiness::new(socket);
    while ready.readable().await.is_ok() {
        if accept_waiting(&shared, listener, ready.descriptor()).is_err() {
            runtime::pause(ACCEPT_PAUSE).await;
        }
    }
}

/// Accepts what waits, a bounded number. An error means that there was no descriptor or memory for the next.
pub(crate) fn accept_waiting(shared: &Rc<Shared>, listener: u16, socket: &TcpListener) -> io::Result<()> {
    let mut core = shared.core.borrow_mut();
    let now = core.now();
    let accepted = core.accept_some(now, listener, socket);
    core.settle(now);
    accepted
}

/// The task of a connection. It reads before it waits for something to read: most clients have sent their first request
/// by the time their connection is accepted.
async fn serve(shared: Rc<Shared>, mark: u64, stream: Rc<TcpStream>) {
    let ready = Readiness::new(stream);
    let mut input = Input::default();
    loop {
        let arrived = input.read(&**ready.descriptor(), &mut shared.scratch.borrow_mut());
        match arrived {
            Arrived::More => {}
            Arrived::End => {
                // The client may have closed its side only: what it asked it shall have.
                wait_until(&shared, mark, Connection::is_drained).await;
                break;
            }
            Arrived::Error => {
                let mut core = shared.core.borrow_mut();
                if core.connections.of(mark).is_some_and(|connection| !connection.closing) {
                    core.counters.tcp_errors += 1;
                }
                break;
            }
        }
        let goes_on = input.is_empty() || take_all(&shared, mark, &mut input).await;
        if !goes_on || ready.readable().await.is_err() {
            break;
        }
    }
    shared.core.borrow_mut().end_connection(mark);
}

/// Hands all complete requests to the shard, as the connection has room for them; false when it is to end.
async fn take_all(shared: &Shared, mark: u64, input: &mut Input) -> bool {
    while wait_until(shared, mark, Connection::has_room).await {
        match take_requests(shared, mark, input) {
            Taken::All => return true,
            Taken::Paused | Taken::Part => {}
            Taken::Closed => return false,
        }
    }
    false
}

/// Waits until `condition` holds; false when the connection is to end instead.
async fn wait_until(shared: &Shared, mark: u64, condition: impl Fn(&Connection) -> bool) -> bool {
    poll_fn(|context| {
        let mut core = shared.core.borrow_mut();
        match core.connections.of(mark) {
            None => Poll::Ready(false),
            Some(connection) if connection.closing => Poll::Ready(false),
            Some(connection) if condition(connection) => Poll::Ready(true),
            Some(connection) => {
                connection.waiting = Some(context.waker().clone());
                Poll::Pending
            }
        }
    })
    .await
}

/// Hands the complete requests to the shard while the connection has room.
fn take_requests(shared: &Shared, mark: u64, input: &mut Input) -> Taken {
    let mut core = shared.core.borrow_mut();
    let now = core.now();
    let mut requests = 0;
    let taken = loop {
        let pause = core.why_pause(mark);
        if let Some(counter) = pause {
            *counter(&mut core.counters) += 1;
            break Taken::Paused;
        }
        match input.next_frame() {
            None => break Taken::All,
            Some([]) => {
                core.counters.tcp_zero_length += 1;
                break Taken::Closed;
            }
            Some(request) => {
                requests += 1;
                if !core.on_frame(now, mark, request) {
                    break Taken::Closed;
                }
                // Requests of a few octets may have replies of many.
                if core.shard.tap().is_full() {
                    break Taken::Part;
                }
            }
        }
    };
    input.compact();
    if let Some(connection) = core.connections.of(mark) {
        if requests > 0 {
            connection.active_at = now;
            connection.frame_since = None;
        }
        let incomplete = taken == Taken::All && !input.is_empty();
        connection.frame_since = incomplete.then(|| connection.frame_since.unwrap_or(now));
    }
    core.settle(now);
    taken
}

impl Core {
    fn accept_some(&mut self, now: Time, listener: u16, socket: &TcpListener) -> io::Result<()> {
        for _ in 0..ACCEPTS_A_TURN_MAX {
            match sockets::accept(socket) {
                Ok((stream, peer)) => self.admit(now, listener, stream, peer),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(()),
                    // The client went away again.
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => {}
                    _ => {
                        self.counters.tcp_accept_errors += 1;
                        return Err(error);
                    }
                },
            }
        }
        Ok(())
    }

    fn admit(&mut self, now: Time, listener: u16, stream: TcpStream, peer: SocketAddr) {
        match self.connections.room(peer.ip()) {
            Room::Free => {}
            Room::InPlaceOf(mark) => self.recycle(mark),
            Room::None => {
                self.counters.tcp_over_cap += 1;
                return;
            }
        }
        let stream = Rc::new(stream);
        let mark = self.connections.insert(Connection::new(now, stream.clone(), peer, listener));
        self.counters.tcp_accepted += 1;
        self.sweep_soon(now);
        runtime::spawn(serve(self.me(), mark, stream)).detach();
    }

    /// A request came over a connection; false when the connection is gone or at its end.
    fn on_frame(&mut self, now: Time, mark: u64, request: &[u8]) -> bool {
        let Some(connection) = self.connections.of(mark).filter(|connection| !connection.closing) else {
            return false;
        };
        let client = Client {
            peer: connection.peer,
            local: None,
            via: Transport::Tcp,
            listener: connection.listener,
            connection: mark,
        };
        let outcome = self.shard.on_query(now, &client, request, &mut self.buffer);
        self.came_to(outcome);
        match outcome {
            Outcome::Reply(octets) => self.queue_reply(now, mark, octets),
            Outcome::Pending => self.connections.of(mark).expect("it was there above").in_flight += 1,
            Outcome::Transfer(number) => self.begin_transfer(now, mark, number),
            Outcome::Silence => {}
        }
        self.act(now);
        true
    }

    /// Forgets a connection that is at its end.
    fn end_connection(&mut self, mark: u64) {
        if let Some(connection) = self.connections.remove(mark) {
            connection.transfers.into_iter().for_each(|number| self.shard.end_transfer(number));
        }
    }

    /// Closes a connection to make room for another; its task sees that it is gone.
    fn recycle(&mut self, mark: u64) {
        self.counters.tcp_recycled += 1;
        if let Some(connection) = self.connections.of(mark) {
            connection.close();
        }
        self.end_connection(mark);
    }

    /// The reply to a request that was in flight stands in the buffer.
    pub(crate) fn reply_tcp(&mut self, now: Time, mark: u64, octets: usize) {
        match self.connections.of(mark) {
            Some(connection) => {
                connection.in_flight =
                    connection.in_flight.checked_sub(1).expect("a reply answers one request that was in flight");
                self.queue_reply(now, mark, octets);
            }
            None => self.counters.tcp_gone += 1,
        }
    }

    fn queue_reply(&mut self, now: Time, mark: u64, octets: usize) {
        let connection = self.connections.of(mark).expect("the caller has looked");
        connection.active_at = now;
        connection.output.push(now, &self.buffer[..octets]);
        if connection.output.waiting() > TCP_OUTPUT_OCTETS_MAX && !connection.closing {
            self.counters.tcp_output_overflow += 1;
            connection.close_hard();
        }
        // Requests that came together have their replies together.
        if self.connections.dirty.last() != Some(&mark) {
            self.connections.dirty.push(mark);
        }
    }

    /// Which counter says why the connection may not be read on, if so. What waits to be sent is sent first.
    fn why_pause(&mut self, mark: u64) -> Option<fn(&mut RimCounters) -> &mut u64> {
        let connection = self.connections.of(mark)?;
        if connection.is_full() {
            return Some(|counters| &mut counters.tcp_in_flight_pauses);
        }
        if connection.output.waiting() < TCP_OUTPUT_PAUSE_OCTETS {
            return None;
        }
        self.flush_connection(clock::now(), mark);
        let connection = self.connections.of(mark)?;
        if connection.has_room() { None } else { Some(|counters| &mut counters.tcp_output_pauses) }
    }

    /// Writes to the connections that have something to be written, and wakes the tasks that wait for it.
    pub(crate) fn flush_connections(&mut self, now: Time) {
        let mut dirty = std::mem::take(&mut self.connections.dirty);
        for mark in dirty.drain(..) {
            self.flush_connection(now, mark);
        }
        // The memory is used again.
        self.connections.dirty = dirty;
    }

    fn flush_connection(&mut self, now: Time, mark: u64) {
        let Some(connection) = self.connections.of(mark) else { return };
        match connection.write(now) {
            Ok(true) => {}
            Ok(false) => self.write_on(mark),
            Err(_) if connection.closing => {}
            Err(_) => {
                self.counters.tcp_errors += 1;
                connection.close();
            }
        }
        if let Some(connection) = self.connections.of(mark)
            && let Some(task) = connection.waiting.take()
        {
            task.wake();
        }
    }

    /// Starts the task that writes when the socket takes more, where there is none.
    fn write_on(&mut self, mark: u64) {
        let connection = self.connections.of(mark).expect("the caller has looked");
        if !std::mem::replace(&mut connection.has_writer, true) {
            let stream = connection.stream.clone();
            runtime::spawn(write_rest(self.me(), mark, stream)).detach();
        }
    }

    /// Closes the connections whose time is over.
    pub(crate) fn sweep_connections(&mut self, now: Time) {
        let idle_timeout = self.connections.idle_timeout;
        for connection in self.connections.each().filter(|connection| !connection.closing) {
            if connection.is_stalled(now, idle_timeout) {
                self.counters.tcp_stalled += 1;
                connection.close_hard();
            } else if let Some(since) = connection.frame_since {
                // It began after whatever happened last: its own time counts.
                if since + idle_timeout <= now {
                    self.counters.tcp_frame_timeouts += 1;
                    connection.close();
                }
            } else if connection.in_flight > 0 {
                if connection.active_at + idle_timeout.max(TCP_IN_FLIGHT_PATIENCE) <= now {
                    self.counters.tcp_unanswered += 1;
                    connection.close();
                }
            } else if connection.output.waiting() == 0 && connection.active_at + idle_timeout <= now {
                self.counters.tcp_idle_closed += 1;
                connection.close();
            }
        }
    }
}

/// Writes what waits for a connection, and the next message of its transfers, whenever its socket takes more, until
/// nothing is left. Waiting for the socket lets everybody else have their turn, also where it takes more at once.
async fn write_rest(shared: Rc<Shared>, mark: u64, stream: Rc<TcpStream>) {
    let ready = Readiness::new(stream);
    while ready.writable().await.is_ok() {
        let mut core = shared.core.borrow_mut();
        let now = core.now();
        core.flush_connection(now, mark);
        core.continue_transfer(now, mark);
        match core.connections.of(mark) {
            Some(connection) if !connection.closing && connection.has_more() => {}
            Some(connection) => {
                connection.has_writer = false;
                return;
            }
            None => return,
        }
    }
}
