//! Datagrams towards upstreams, over a fixed set of sockets.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;

use crate::datagrams::{Port, Unusable};
use crate::engine::Shared;
use crate::limits::{BATCH_DATAGRAMS, BATCH_ROUNDS_MAX, RECEIVE_PAUSE};
use crate::runtime::{self, Readiness};
use crate::udp::{Batch, kernel_drops_since, receive};

/// The UDP sockets of a core towards upstreams, by the index that the shard uses. A family that the machine does not
/// have has none, and queries to it are not sent.
#[derive(Default)]
pub(crate) struct Sockets {
    v4: Vec<Socket>,
    v6: Vec<Socket>,
}

struct Socket {
    socket: Rc<UdpSocket>,
    /// What the kernel said last about the datagrams it has dropped here.
    kernel_drops: u32,
}

impl Sockets {
    /// These.
    pub(crate) fn new(v4: Vec<socket2::Socket>, v6: Vec<socket2::Socket>) -> Sockets {
        let family = |sockets: Vec<socket2::Socket>| {
            sockets.into_iter().map(|socket| Socket { socket: Rc::new(socket.into()), kernel_drops: 0 }).collect()
        };
        Sockets { v4: family(v4), v6: family(v6) }
    }

    /// Each of them, with the index that the shard uses.
    pub(crate) fn each(&self) -> impl Iterator<Item = (u8, &Rc<UdpSocket>)> {
        let each = self.v4.iter().enumerate().chain(self.v6.iter().enumerate());
        each.map(|(index, socket)| (index as u8, &socket.socket))
    }

    /// The one that a query to a server goes over; `None` where there is none of its address family.
    pub(crate) fn port(&self, index: u8, server: SocketAddr) -> Option<Port> {
        let port = Port { v6: server.is_ipv6(), index };
        (usize::from(index) < self.family(port.v6).len()).then_some(port)
    }

    /// How many datagrams the kernel has dropped at all of them since this was last called.
    pub(crate) fn kernel_drops(&mut self) -> u64 {
        let each = self.v4.iter_mut().chain(&mut self.v6);
        each.map(|socket| kernel_drops_since(&mut socket.kernel_drops, &socket.socket)).sum()
    }

    /// The descriptor of one that [`Sockets::port`] has named.
    pub(crate) fn descriptor(&self, port: Port) -> RawFd {
        self.family(port.v6)[usize::from(port.index)].socket.as_raw_fd()
    }

    fn family(&self, v6: bool) -> &[Socket] {
        if v6 { &self.v6 } else { &self.v4 }
    }
}

/// The task of one UDP socket: hands what comes to the shard, for as long as the core runs. `index` is the shard's.
pub(crate) async fn listen(shared: Rc<Shared>, index: u8, socket: Rc<UdpSocket>) {
    let ready = Readiness::new(socket);
    while ready.readable().await.is_ok() {
        for _ in 0..BATCH_ROUNDS_MAX {
            match take_batch(&shared, index, ready.descriptor()) {
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

fn take_batch(shared: &Shared, index: u8, socket: &UdpSocket) -> Batch {
    let mut received = shared.received.borrow_mut();
    let mut core = shared.core.borrow_mut();
    let core = &mut *core;
    let count = match receive(&mut received, socket, false) {
        Ok(0) => return Batch::Last,
        Ok(count) => count,
        Err(_) => {
            core.counters.upstream_receive_errors += 1;
            return Batch::Failed;
        }
    };
    core.counters.upstream_received += count as u64;
    core.count_batch();
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
