//! The tasks of connections to upstreams. Each has one that connects and then reads; queries are written at the end of
//! each event, all of one connection together, and a second task exists only while the stream takes no more.
//!
//! Memory of an idle connection: its entry and its task, no buffer.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::rc::Rc;

use ringdns_shard::Time;

use super::exchanges::{Carrier, Reply, id_of};
use super::stream::Stream;
use crate::engine::{Core, Shared};
use crate::frames::{Arrived, Input};
use crate::runtime::{self, Readiness};

/// What became of the queries that wait for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    /// They are written, or the connection is broken, which its reader will see.
    All,
    /// The stream takes no more for now.
    Blocked,
    /// The connection is gone.
    Gone,
}

impl Core {
    /// Begins an exchange over TCP with the query in the first `octets` of the buffer.
    pub(crate) fn ask_tcp(&mut self, now: Time, exchange: u64, server: SocketAddr, octets: usize) {
        match self.exchanges.begin(now, exchange, server, &self.buffer[..octets]) {
            Ok(Carrier::Shared(_)) => self.counters.upstream_tcp_reused += 1,
            Ok(Carrier::New(number)) => self.open_upstream(now, number, server),
            Err(_) => {
                self.counters.upstream_tcp_over_cap += 1;
                self.shard.on_failure_tcp(now, exchange);
            }
        }
    }

    /// The reply of an exchange is no longer wanted.
    pub(crate) fn end_tcp(&mut self, now: Time, exchange: u64) {
        self.counters.upstream_tcp_silent += u64::from(self.exchanges.give_up(now, exchange));
    }

    /// Gives up the exchanges that have taken too long, and closes connections that nobody needs.
    pub(crate) fn sweep_exchanges(&mut self, now: Time) {
        for exchange in self.exchanges.late(now) {
            self.counters.upstream_tcp_timeouts += 1;
            self.end_tcp(now, exchange);
            self.shard.on_failure_tcp(now, exchange);
            self.act(now);
        }
        self.counters.upstream_tcp_idle_closed += self.exchanges.close_idle(now) as u64;
    }

    /// Writes the queries that have piled up.
    pub(crate) fn flush_upstreams(&mut self) {
        let mut dirty = std::mem::take(&mut self.exchanges.dirty);
        for number in dirty.drain(..) {
            if self.write_upstream(number) == Written::Blocked {
                let me = self.me();
                let connection = self.exchanges.connection(number).expect("what blocks is there");
                if connection.writer.is_none() {
                    let stream = connection.stream.clone().expect("what blocks is established");
                    connection.writer = Some(runtime::spawn(write_rest(me, number, stream)));
                }
            }
        }
        // The memory is used again.
        self.exchanges.dirty = dirty;
    }

    fn open_upstream(&mut self, now: Time, number: u64, server: SocketAddr) {
        self.counters.upstream_tcp_opened += 1;
        let reader = runtime::spawn(run(self.me(), number, server));
        let connection = self.exchanges.connection(number).expect("it has just been made");
        connection.reader = Some(reader);
        self.sweep_soon(now);
    }

    fn write_upstream(&mut self, number: u64) -> Written {
        let Some(connection) = self.exchanges.connection(number) else { return Written::Gone };
        // Before it is established everything waits.
        let Some(stream) = &connection.stream else { return Written::All };
        let mut written = 0;
        let outcome = loop {
            if written == connection.output.len() {
                break Written::All;
            }
            match (&**stream).write(&connection.output[written..]) {
                Ok(octets) if octets > 0 => written += octets,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Written::Blocked,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => {
                    written = connection.output.len();
                    break Written::All;
                }
            }
        };
        if written == connection.output.len() {
            connection.output = Vec::new();
        } else {
            connection.output.drain(..written);
        }
        outcome
    }

    /// A connection is gone: its exchanges begin anew on a fresh one, or fail.
    fn lose_upstream(&mut self, now: Time, number: u64) {
        let lost = self.exchanges.lose(now, number);
        let mut failed = lost.failed;
        self.counters.upstream_tcp_errors += failed.len() as u64;
        for exchange in lost.again {
            match self.exchanges.again(now, exchange) {
                Ok(Carrier::Shared(_)) => self.counters.upstream_tcp_retried += 1,
                Ok(Carrier::New(number)) => {
                    self.counters.upstream_tcp_retried += 1;
                    let server = self.exchanges.connection(number).expect("it has just been made").server();
                    self.open_upstream(now, number, server);
                }
                Err(_) => {
                    self.counters.upstream_tcp_over_cap += 1;
                    failed.push(exchange);
                }
            }
        }
        for exchange in failed {
            self.shard.on_failure_tcp(now, exchange);
        }
        self.act(now);
    }
}

/// The task of a connection.
async fn run(shared: Rc<Shared>, number: u64, server: SocketAddr) {
    // Why it ended does not matter: what it leaves unanswered does.
    let _ = converse(&shared, number, server).await;
    let mut core = shared.core.borrow_mut();
    let now = core.now();
    core.lose_upstream(now, number);
    core.settle(now);
}

/// Connects, then takes replies until the connection ends.
async fn converse(shared: &Shared, number: u64, server: SocketAddr) -> io::Result<()> {
    let stream = Rc::new(Stream::connect(server).await?);
    {
        let mut core = shared.core.borrow_mut();
        let Some(connection) = core.exchanges.connection(number) else { return Ok(()) };
        connection.stream = Some(stream.clone());
        core.exchanges.dirty.push(number);
        core.flush_upstreams();
    }
    let ready = Readiness::new(stream);
    let mut input = Input::default();
    loop {
        ready.readable().await?;
        let arrived = input.read(&**ready.descriptor(), &mut shared.scratch.borrow_mut());
        if !take_replies(shared, number, &mut input) || arrived != Arrived::More {
            return Ok(());
        }
    }
}

/// Hands the complete replies to the shard; false when the connection is gone or is of no use any more.
fn take_replies(shared: &Shared, number: u64, input: &mut Input) -> bool {
    let mut core = shared.core.borrow_mut();
    let core = &mut *core;
    let now = core.now();
    let goes_on = loop {
        let Some(reply) = input.next_frame() else { break true };
        let Some(id) = id_of(reply) else {
            core.counters.upstream_tcp_unexpected += 1;
            break false;
        };
        match core.exchanges.reply(now, number, id) {
            Some(Reply::To(exchange)) => {
                core.shard.on_reply_tcp(now, exchange, reply);
                core.act(now);
            }
            Some(Reply::Late) => core.counters.upstream_tcp_late += 1,
            Some(Reply::Unexpected) => core.counters.upstream_tcp_unexpected += 1,
            None => break false,
        }
    };
    input.compact();
    core.settle(now);
    goes_on
}

/// Writes what waits for a connection whenever its stream takes more, until nothing is left.
async fn write_rest(shared: Rc<Shared>, number: u64, stream: Rc<Stream>) {
    let ready = Readiness::new(stream);
    while ready.writable().await.is_ok() {
        let mut core = shared.core.borrow_mut();
        if core.write_upstream(number) != Written::Blocked {
            if let Some(writer) = core.exchanges.connection(number).and_then(|connection| connection.writer.take()) {
                // This very task: not to be cancelled, it is about to end.
                writer.detach();
            }
            return;
        }
    }
}
