//! Connections of clients (RFC 7766): accepting them, reading their requests as they come, sending replies in whatever
//! order they are ready, and closing those that misbehave or have nothing more to say.
//!
//! A connection has one task, which reads; replies are written at once by whoever has them, and a second task exists
//! only while the socket takes no more, or a zone is transferred: that is a message a turn, made when the one before has
//! left for the socket, so that other requests of the connection and everybody else on the core have their turns in
//! between. Zones asked for over one connection go one after the other. What is bounded, with a counter for each bound:
//!
//! - connections of a core: one too many is closed at once;
//! - requests in flight, transfers among them, and octets of replies not yet taken: beyond either the connection is not
//!   read;
//! - time: an idle connection, a message that began and does not end, replies that the client does not take. All three
//!   have the configured idle time-out. A message has it as a whole, and so has each stretch of replies that wait, so
//!   that neither a trickle of octets nor a sip now and then keeps a connection open.
//!
//! Memory of an idle connection: its slot and its task, no buffer.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use ringdns_shard::{Client, Outcome, Time, TransferMessage, Transport};
use socket2::SockRef;

use crate::clock;
use crate::engine::{Core, Shared};
use crate::limits::{
    ACCEPT_PAUSE, ACCEPTS_A_TURN_MAX, FRAME_OCTETS_MAX, SWEEP_MAX, SWEEP_MIN, SWEEPS_A_TIMEOUT, TCP_IN_FLIGHT_MAX,
    TCP_IN_FLIGHT_PATIENCE, TCP_OUTPUT_OCTETS_MAX, TCP_OUTPUT_PAUSE_OCTETS, TCP_READ_OCTETS, TCP_TRANSFERS_MAX,
};
use crate::runtime::{self, Readiness};
use crate::telemetry::RimCounters;

/// The connections of a core. A connection's mark is its slot and the slot's generation, so that a late reply never
/// reaches the slot's next connection; no mark is zero.
pub(crate) struct Connections {
    slots: Vec<Slot>,
    free: Vec<u32>,
    open_max: usize,
    /// The configured idle time-out.
    pub(crate) idle_timeout: Duration,
    /// Marks of the connections with something to send, or whose task has something to look at.
    dirty: Vec<u64>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    connection: Option<Connection>,
}

struct Connection {
    stream: Rc<TcpStream>,
    peer: SocketAddr,
    listener: u16,
    /// Requests whose replies are to come.
    in_flight: usize,
    /// Of these, the transfers, by the shard's numbers; the first is the one on its way.
    transfers: VecDeque<u32>,
    /// When the socket last took something, or the first of the transfers began.
    moved_at: Time,
    output: Output,
    /// When something useful happened last: a request came, a reply went.
    active_at: Time,
    /// When the message that is not yet complete began.
    frame_since: Option<Time>,
    /// Whether a task waits for the socket to take more.
    has_writer: bool,
    /// Set when the task is to end; the socket is shut down already.
    closing: bool,
    /// The connection's task, while it waits for room or for the last replies to leave.
    waiting: Option<Waker>,
}

/// Replies that wait to be written, framed.
#[derive(Default)]
struct Output {
    octets: Vec<u8>,
    /// Of these, already written.
    written: usize,
    /// So many octets must leave within the time-out that began at `owed_since`.
    owed: usize,
    owed_since: Time,
}

/// Octets read and not yet handed on.
#[derive(Default)]
struct Input {
    octets: Vec<u8>,
    /// Of these, already handed on.
    start: usize,
}

/// How far the requests in an [`Input`] have been taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// All that are complete.
    All,
    /// Some wait until the connection has room again.
    Paused,
    /// The connection is at its end.
    Closed,
}

/// What reading a connection brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrived {
    /// Octets, or nothing this time.
    More,
    /// The client sends no more.
    End,
    /// The connection is broken.
    Error,
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
    for _ in 0..ACCEPTS_A_TURN_MAX {
        match socket.accept() {
            Ok((stream, peer)) => admit(shared, listener, stream, peer),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => return Ok(()),
                // The client went away again.
                io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => {}
                _ => {
                    shared.core.borrow_mut().counters.tcp_accept_errors += 1;
                    return Err(error);
                }
            },
        }
    }
    Ok(())
}

fn admit(shared: &Rc<Shared>, listener: u16, stream: TcpStream, peer: SocketAddr) {
    let mut core = shared.core.borrow_mut();
    let now = core.now();
    if stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true)).is_err() {
        core.counters.tcp_errors += 1;
        return;
    }
    let stream = Rc::new(stream);
    let connection = Connection {
        stream: stream.clone(),
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
    };
    let Some(mark) = core.connections.insert(connection) else {
        core.counters.tcp_over_cap += 1;
        return;
    };
    core.counters.tcp_accepted += 1;
    core.sweep_soon(now);
    core.settle(now);
    runtime::spawn(serve(shared.clone(), mark, stream)).detach();
}

/// The task of a connection.
async fn serve(shared: Rc<Shared>, mark: u64, stream: Rc<TcpStream>) {
    let ready = Readiness::new(stream);
    let mut input = Input::default();
    while wait_until(&shared, mark, Connection::has_room).await {
        match take_requests(&shared, mark, &mut input) {
            Taken::All => {}
            Taken::Paused => continue,
            Taken::Closed => break,
        }
        if ready.readable().await.is_err() {
            break;
        }
        match read(ready.descriptor(), &mut input) {
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
    }
    shared.core.borrow_mut().end_connection(mark);
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
            }
        }
    };
    input.compact();
    if let Some(connection) = core.connections.of(mark) {
        if requests > 0 {
            connection.active_at = now;
            connection.frame_since = None;
        }
        let incomplete = taken == Taken::All && !input.octets.is_empty();
        connection.frame_since = incomplete.then(|| connection.frame_since.unwrap_or(now));
    }
    core.settle(now);
    taken
}

fn read(mut stream: &TcpStream, input: &mut Input) -> Arrived {
    let have = input.octets.len();
    input.octets.resize(have + input.wanted(), 0);
    let read = stream.read(&mut input.octets[have..]);
    input.octets.truncate(have + read.as_ref().map_or(0, |read| *read));
    match read {
        Ok(0) => Arrived::End,
        Ok(_) => Arrived::More,
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Arrived::More,
        Err(_) => Arrived::Error,
    }
}

impl Core {
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
        match outcome {
            Outcome::Reply(octets) => self.queue_reply(now, mark, octets),
            Outcome::Pending => self.connections.of(mark).expect("it was there above").in_flight += 1,
            Outcome::Transfer(number) => self.begin_transfer(now, mark, number),
            Outcome::Silence => {}
        }
        self.act(now);
        true
    }

    fn begin_transfer(&mut self, now: Time, mark: u64, number: u32) {
        let connection = self.connections.of(mark).expect("the caller has looked");
        connection.in_flight += 1;
        if connection.transfers.is_empty() {
            connection.moved_at = now;
        }
        connection.transfers.push_back(number);
        self.write_on(mark);
    }

    /// Makes the next message of the connection's transfers, once what was written before has left.
    fn continue_transfer(&mut self, now: Time, mark: u64) {
        let ready = |connection: &&mut Connection| !connection.closing && connection.output.waiting() == 0;
        let Some(connection) = self.connections.of(mark).filter(ready) else { return };
        let Some(&number) = connection.transfers.front() else { return };
        let message = self.shard.transfer_message(number, &mut self.buffer);
        let connection = self.connections.of(mark).expect("it was there above");
        if !matches!(message, TransferMessage::More(_)) {
            connection.transfers.pop_front();
            connection.in_flight -= 1;
        }
        match message {
            TransferMessage::More(octets) | TransferMessage::Last(octets) => {
                self.queue_reply(now, mark, octets);
                self.flush_connection(now, mark);
            }
            TransferMessage::Failed => connection.close(),
        }
    }

    /// Forgets a connection that is at its end.
    fn end_connection(&mut self, mark: u64) {
        if let Some(connection) = self.connections.remove(mark) {
            connection.transfers.into_iter().for_each(|number| self.shard.end_transfer(number));
        }
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
        self.connections.dirty.push(mark);
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
        for slot in &mut self.connections.slots {
            let Some(connection) = slot.connection.as_mut().filter(|connection| !connection.closing) else { continue };
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

impl Connections {
    /// Room for `open_max` connections.
    pub(crate) fn new(open_max: usize, idle_timeout: Duration) -> Connections {
        assert!(open_max > 0 && u32::try_from(open_max).is_ok());
        Connections { slots: Vec::new(), free: Vec::new(), open_max, idle_timeout, dirty: Vec::new() }
    }

    /// Open connections.
    pub(crate) fn open(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// How often the connections are to be looked at.
    pub(crate) fn sweep_interval(&self) -> Duration {
        (self.idle_timeout / SWEEPS_A_TIMEOUT).clamp(SWEEP_MIN, SWEEP_MAX)
    }

    /// Reads no more from any connection than has come already; their tasks end when all is answered.
    pub(crate) fn stop_reading(&self) {
        for connection in self.slots.iter().filter_map(|slot| slot.connection.as_ref()) {
            // A connection that is broken ends by itself.
            let _ = connection.stream.shutdown(Shutdown::Read);
        }
    }

    /// Ends all connections, whatever they wait for.
    pub(crate) fn close_all(&mut self) {
        for connection in self.slots.iter_mut().filter_map(|slot| slot.connection.as_mut()) {
            connection.close();
        }
    }

    fn insert(&mut self, connection: Connection) -> Option<u64> {
        if self.open() == self.open_max {
            return None;
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[place as usize];
        // Never zero, so that no mark is.
        slot.generation = slot.generation.checked_add(1).unwrap_or(1);
        slot.connection = Some(connection);
        Some(u64::from(slot.generation) << 32 | u64::from(place))
    }

    fn remove(&mut self, mark: u64) -> Option<Connection> {
        self.of(mark)?;
        let place = mark as u32;
        self.free.push(place);
        self.slots[place as usize].connection.take()
    }

    fn of(&mut self, mark: u64) -> Option<&mut Connection> {
        let slot = self.slots.get_mut(mark as u32 as usize)?;
        if u64::from(slot.generation) != mark >> 32 {
            return None;
        }
        slot.connection.as_mut()
    }
}

impl Connection {
    fn has_room(&self) -> bool {
        !self.is_full() && self.output.waiting() < TCP_OUTPUT_PAUSE_OCTETS
    }

    /// Whether as many requests are in flight as one connection may have.
    fn is_full(&self) -> bool {
        self.in_flight >= TCP_IN_FLIGHT_MAX || self.transfers.len() >= TCP_TRANSFERS_MAX
    }

    /// Whether there is something to write, now or once the socket takes more.
    fn has_more(&self) -> bool {
        self.output.waiting() > 0 || !self.transfers.is_empty()
    }

    /// Whether the client does not take what is there for it. A transfer makes no message before the socket takes one:
    /// while none waits, it is the socket that has taken nothing for so long.
    fn is_stalled(&self, now: Time, limit: Duration) -> bool {
        let Output { owed, owed_since, .. } = self.output;
        (owed > 0 && owed_since + limit <= now)
            || (!self.transfers.is_empty() && self.output.waiting() == 0 && self.moved_at + limit <= now)
    }

    fn is_drained(&self) -> bool {
        self.closing || (self.in_flight == 0 && self.output.waiting() == 0)
    }

    /// Writes what the socket takes; whether that was all.
    fn write(&mut self, now: Time) -> io::Result<bool> {
        while self.output.waiting() > 0 {
            match (&*self.stream).write(&self.output.octets[self.output.written..]) {
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
    fn close(&mut self) {
        self.closing = true;
        // Fails only where the connection is broken already.
        let _ = self.stream.shutdown(Shutdown::Both);
        if let Some(task) = self.waiting.take() {
            task.wake();
        }
    }

    /// The same for a client that does not take its replies: they are thrown away with a reset, or the kernel would keep
    /// them for minutes.
    fn close_hard(&mut self) {
        let _ = SockRef::from(&*self.stream).set_linger(Some(Duration::ZERO));
        self.close();
    }
}

impl Output {
    fn waiting(&self) -> usize {
        self.octets.len() - self.written
    }

    fn push(&mut self, now: Time, reply: &[u8]) {
        let length = u16::try_from(reply.len()).expect("a message has a length of 16 bits");
        self.octets.extend_from_slice(&length.to_be_bytes());
        self.octets.extend_from_slice(reply);
        if self.owed == 0 {
            self.owe(now);
        }
    }

    fn wrote(&mut self, now: Time, octets: usize) {
        self.written += octets;
        self.owed = self.owed.saturating_sub(octets);
        if self.owed == 0 {
            self.owe(now);
        }
        if self.waiting() == 0 {
            *self = Output::default();
        } else if self.written > self.octets.len() / 2 {
            self.octets.drain(..self.written);
            self.written = 0;
        }
    }

    /// Begins a stretch: a bounded one, so that a slow line is not asked for more than a certain rate.
    fn owe(&mut self, now: Time) {
        (self.owed, self.owed_since) = (self.waiting().min(TCP_OUTPUT_PAUSE_OCTETS), now);
    }
}

impl Input {
    /// The next complete message, without its length; `None` where there is none.
    fn next_frame(&mut self) -> Option<&[u8]> {
        let length = self.frame_length()?;
        let from = self.start + 2;
        let to = from + length;
        if to > self.octets.len() {
            return None;
        }
        self.start = to;
        Some(&self.octets[from..to])
    }

    /// Forgets what has been handed on, and with the last octet the memory.
    fn compact(&mut self) {
        if self.start == self.octets.len() {
            *self = Input::default();
        } else {
            self.octets.drain(..self.start);
            self.start = 0;
        }
    }

    /// How many octets to read: the rest of the message that has begun, but no more than there are already, so that
    /// memory grows with what has come and not with what was announced; and never less than a handful of requests.
    fn wanted(&self) -> usize {
        assert!(self.start == 0 && self.octets.len() < FRAME_OCTETS_MAX);
        let missing = self.frame_length().map_or(0, |length| (length + 2).saturating_sub(self.octets.len()));
        missing.min(self.octets.len()).max(TCP_READ_OCTETS)
    }

    fn frame_length(&self) -> Option<usize> {
        match self.octets[self.start..] {
            [high, low, ..] => Some(usize::from(u16::from_be_bytes([high, low]))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_whole_however_they_are_cut() {
        let mut stream = Vec::new();
        for length in [1usize, 2, 300, 5_000, 65_535, 12] {
            stream.extend_from_slice(&(length as u16).to_be_bytes());
            stream.extend((0..length).map(|octet| octet as u8));
        }
        for step in [1, 3, 1_000, 70_000] {
            let mut input = Input::default();
            let mut lengths = Vec::new();
            let mut rest = &stream[..];
            while !rest.is_empty() {
                let octets = step.min(input.wanted()).min(rest.len());
                input.octets.extend_from_slice(&rest[..octets]);
                rest = &rest[octets..];
                while let Some(frame) = input.next_frame() {
                    assert!(frame.iter().enumerate().all(|(place, octet)| *octet == place as u8));
                    lengths.push(frame.len());
                }
                input.compact();
            }
            assert_eq!(lengths, [1, 2, 300, 5_000, 65_535, 12], "in steps of {step}");
            assert_eq!(input.octets.capacity(), 0, "no memory while idle");
        }
    }

    #[test]
    fn memory_grows_with_what_came() {
        let mut input = Input::default();
        input.octets.extend_from_slice(&[0xFF, 0xFF, 0]);
        assert_eq!(input.wanted(), TCP_READ_OCTETS);
        input.octets.resize(20_000, 0);
        assert_eq!(input.wanted(), 20_000);
        input.octets.resize(60_000, 0);
        assert_eq!(input.wanted(), FRAME_OCTETS_MAX - 60_000);
    }

    #[test]
    fn replies_are_owed_as_a_whole() {
        let mut output = Output::default();
        output.push(Time::from_secs(1), &[0; 98]);
        output.push(Time::from_secs(2), &[0; 98]);
        assert_eq!((output.waiting(), output.owed, output.owed_since), (200, 100, Time::from_secs(1)));
        output.wrote(Time::from_secs(3), 99);
        assert_eq!((output.owed, output.owed_since), (1, Time::from_secs(1)), "a sip buys no time");
        output.wrote(Time::from_secs(4), 1);
        assert_eq!((output.owed, output.owed_since), (100, Time::from_secs(4)));
        output.wrote(Time::from_secs(5), 100);
        assert_eq!((output.waiting(), output.owed, output.octets.capacity()), (0, 0, 0));
    }
}
