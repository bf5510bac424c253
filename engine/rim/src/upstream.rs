//! Traffic towards upstreams: a fixed set of UDP sockets, and one connection for each exchange over TCP.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::rc::Rc;

use ringdns_shard::Time;
use ringdns_shard::limits::MESSAGE_OCTETS_MAX;

use crate::datagrams::Unusable;
use crate::engine::{Core, Shared};
use crate::limits::{
    BATCH_DATAGRAMS, BATCH_ROUNDS_MAX, RECEIVE_PAUSE, TCP_READ_OCTETS, UPSTREAM_TCP_MAX, UPSTREAM_TCP_PATIENCE,
};
use crate::runtime::{self, Readiness, Task};
use crate::sockets;
use crate::udp::{Batch, kernel_drops_since, receive};

/// The UDP sockets of a core towards upstreams, by the index that the shard uses. A family that the machine does not
/// have has none, and queries to it are not sent.
#[derive(Default)]
pub(crate) struct Sockets {
    pub(crate) v4: Vec<Rc<UdpSocket>>,
    pub(crate) v6: Vec<Rc<UdpSocket>>,
}

/// An exchange over TCP that is under way; dropped, it ends.
pub(crate) struct Exchange {
    task: Task,
    deadline: Time,
}

impl Sockets {
    /// Sends a query from one of the sockets. One system call a query: the sockets are chosen at random, so that a
    /// batch would rarely hold two.
    pub(crate) fn send(&self, socket: u8, server: SocketAddr, query: &[u8]) -> io::Result<()> {
        let sockets = if server.is_ipv4() { &self.v4 } else { &self.v6 };
        let socket = sockets
            .get(usize::from(socket))
            .ok_or_else(|| io::Error::new(io::ErrorKind::AddrNotAvailable, "no socket of this address family"))?;
        socket.send_to(query, server).map(|_| ())
    }
}

/// The task of one UDP socket: hands what comes to the shard, for as long as the core runs. `index` is the shard's.
pub(crate) async fn listen(shared: Rc<Shared>, index: u8, socket: Rc<UdpSocket>) {
    let ready = Readiness::new(socket);
    let mut kernel_drops = 0;
    while ready.readable().await.is_ok() {
        for _ in 0..BATCH_ROUNDS_MAX {
            match take_batch(&shared, index, ready.descriptor(), &mut kernel_drops) {
                Batch::Full => {}
                Batch::Last | Batch::Blocked => break,
                Batch::Failed => {
                    runtime::pause(RECEIVE_PAUSE).await;
                    break;
                }
            }
        }
    }
}

fn take_batch(shared: &Shared, index: u8, socket: &UdpSocket, kernel_drops: &mut u32) -> Batch {
    let mut received = shared.received.borrow_mut();
    let mut core = shared.core.borrow_mut();
    let core = &mut *core;
    let count = match receive(&mut received, socket) {
        Ok(0) => return Batch::Last,
        Ok(count) => count,
        Err(_) => {
            core.counters.upstream_receive_errors += 1;
            return Batch::Failed;
        }
    };
    core.counters.upstream_kernel_drops += kernel_drops_since(kernel_drops, &received);
    core.counters.upstream_received += count as u64;
    let now = core.now();
    for place in 0..count {
        match received.datagram(place) {
            Ok(datagram) => {
                core.shard.on_reply_udp(now, index, datagram.peer, datagram.octets);
                core.act(now);
            }
            Err(Unusable::Oversize) => core.counters.upstream_oversize += 1,
            // No upstream of ours has such an address.
            Err(Unusable::Source) => {}
        }
    }
    core.settle(now);
    if count == BATCH_DATAGRAMS { Batch::Full } else { Batch::Last }
}

impl Core {
    /// Begins an exchange over TCP with the query in the first `octets` of the buffer.
    pub(crate) fn ask_tcp(&mut self, now: Time, exchange: u64, server: SocketAddr, octets: usize) {
        if self.exchanges.len() >= UPSTREAM_TCP_MAX {
            self.counters.upstream_tcp_over_cap += 1;
            self.shard.on_failure_tcp(now, exchange);
            return;
        }
        self.counters.upstream_tcp_opened += 1;
        let mut framed = Vec::with_capacity(octets + 2);
        framed.extend_from_slice(&u16::try_from(octets).expect("a message has a length of 16 bits").to_be_bytes());
        framed.extend_from_slice(&self.buffer[..octets]);
        let task = runtime::spawn(run_exchange(self.me(), exchange, server, framed));
        self.exchanges.insert(exchange, Exchange { task, deadline: now + UPSTREAM_TCP_PATIENCE });
        self.sweep_soon(now);
    }

    /// Ends the exchanges that have taken too long.
    pub(crate) fn sweep_exchanges(&mut self, now: Time) {
        let late: Vec<u64> = self.exchanges.iter().filter(|(_, e)| e.deadline <= now).map(|(id, _)| *id).collect();
        for exchange in late {
            self.exchanges.remove(&exchange);
            self.counters.upstream_tcp_timeouts += 1;
            self.shard.on_failure_tcp(now, exchange);
            self.act(now);
        }
    }
}

async fn run_exchange(shared: Rc<Shared>, exchange: u64, server: SocketAddr, query: Vec<u8>) {
    let reply = ask(server, &query).await;
    let mut core = shared.core.borrow_mut();
    let now = core.now();
    // Ended meanwhile: its reply is not wanted.
    let Some(Exchange { task, .. }) = core.exchanges.remove(&exchange) else { return };
    // This very task: not to be cancelled, it is about to end.
    task.detach();
    match reply {
        Ok(reply) => core.shard.on_reply_tcp(now, exchange, &reply),
        Err(_) => {
            core.counters.upstream_tcp_errors += 1;
            core.shard.on_failure_tcp(now, exchange);
        }
    }
    core.act(now);
    core.settle(now);
}

/// Connects, sends the framed query, reads one framed reply.
async fn ask(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let ready = Readiness::new(TcpStream::from(sockets::tcp_upstream(server)?));
    ready.writable().await?;
    if let Some(error) = ready.descriptor().take_error()? {
        return Err(error);
    }
    write_all(&ready, query).await?;
    let mut length = Vec::new();
    read_exactly(&ready, &mut length, 2).await?;
    let octets = usize::from(u16::from_be_bytes([length[0], length[1]]));
    let mut reply = Vec::new();
    read_exactly(&ready, &mut reply, octets).await?;
    Ok(reply)
}

async fn write_all(ready: &Readiness<TcpStream>, mut octets: &[u8]) -> io::Result<()> {
    while !octets.is_empty() {
        match ready.descriptor().write(octets) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => octets = &octets[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.writable().await?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Appends `octets` octets to `into`, which grows with what has come, not with what was announced.
async fn read_exactly(ready: &Readiness<TcpStream>, into: &mut Vec<u8>, octets: usize) -> io::Result<()> {
    assert!(octets <= MESSAGE_OCTETS_MAX);
    while into.len() < octets {
        let have = into.len();
        into.resize(octets.min(have + TCP_READ_OCTETS.max(have)), 0);
        let read = ready.descriptor().read(&mut into[have..]);
        into.truncate(have + read.as_ref().map_or(0, |read| *read));
        match read {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.readable().await?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
