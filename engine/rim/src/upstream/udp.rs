//! Datagrams towards upstreams, over a fixed set of sockets.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;

use crate::datagrams::Unusable;
use crate::engine::Shared;
use crate::limits::{BATCH_DATAGRAMS, BATCH_ROUNDS_MAX, RECEIVE_PAUSE};
use crate::runtime::{self, Readiness};
use crate::udp::{Batch, kernel_drops_since, receive};

/// The UDP sockets of a core towards upstreams, by the index that the shard uses. A family that the machine does not
/// have has none, and queries to it are not sent.
#[derive(Default)]
pub(crate) struct Sockets {
    pub(crate) v4: Vec<Rc<UdpSocket>>,
    pub(crate) v6: Vec<Rc<UdpSocket>>,
}

impl Sockets {
    /// Sends a query from one of the sockets. One system call a query: the sockets are chosen at random, so that a batch
    /// would rarely hold more than two, which saves 4 % of the sending (eight save 15 %), and which query the kernel has
    /// refused would be known later.
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
