//! Datagrams of clients: one task a listener, in batches.
//!
//! A turn is: wait for readiness, then `recvmmsg` up to 64 datagrams, hand each to the core, `sendmmsg` the replies,
//! again while the batches are full, but at most [`BATCH_ROUNDS_MAX`] times; then back to waiting, which goes through
//! the reactor even if more is there, so that timers, TCP and messages have their turn under a flood.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::rc::Rc;

use crate::datagrams::{Outgoing, Received, Sent};
use crate::engine::Shared;
use crate::limits::{BATCH_DATAGRAMS, BATCH_ROUNDS_MAX, LOOK_AHEAD_MIN, RECEIVE_PAUSE};
use crate::near::bring_near;
use crate::runtime::{self, Readiness};
use crate::sockets;

/// The UDP side of a listener on one core.
pub(crate) struct End {
    pub(crate) socket: Rc<UdpSocket>,
    /// Replies on their way.
    pub(crate) outgoing: Outgoing,
    /// Whether a task waits for the socket to take more.
    pub(crate) has_sender: bool,
    /// Whether the socket has several addresses, and says which one was asked.
    tells_local: bool,
    /// What the kernel said last about the datagrams it has dropped here.
    kernel_drops: u32,
}

/// What one attempt at a batch brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Batch {
    /// As many as a batch holds: there may be more.
    Full,
    /// All that was there.
    Last,
    /// Nothing was read: replies of earlier batches still wait for the socket.
    Blocked,
    /// The receive call failed.
    Failed,
}

impl End {
    /// The end of a bound, non-blocking socket.
    pub(crate) fn new(socket: UdpSocket) -> End {
        let tells_local = socket.local_addr().as_ref().is_ok_and(sockets::has_several_addresses);
        End { socket: Rc::new(socket), outgoing: Outgoing::new(), has_sender: false, tells_local, kernel_drops: 0 }
    }

    /// How many datagrams the kernel has dropped at the socket since this was last called.
    pub(crate) fn kernel_drops(&mut self) -> u64 {
        kernel_drops_since(&mut self.kernel_drops, &self.socket)
    }

    pub(crate) fn flush(&mut self) -> Sent {
        self.outgoing.flush(self.socket.as_raw_fd())
    }
}

/// The task of a listener: answers datagrams for as long as the core runs.
pub(crate) async fn listen(shared: Rc<Shared>, listener: u16, socket: Rc<UdpSocket>) {
    let ready = Readiness::new(socket);
    while ready.readable().await.is_ok() {
        for _ in 0..BATCH_ROUNDS_MAX {
            match take_batch(&shared, listener) {
                Batch::Full => {}
                Batch::Last => break,
                Batch::Blocked => {
                    if ready.writable().await.is_err() {
                        return;
                    }
                    shared.core.borrow_mut().flush_udp(usize::from(listener));
                }
                Batch::Failed => {
                    runtime::pause(RECEIVE_PAUSE).await;
                    break;
                }
            }
        }
    }
}

/// Receives one batch and answers it.
pub(crate) fn take_batch(shared: &Shared, listener: u16) -> Batch {
    let mut received = shared.received.borrow_mut();
    let mut core = shared.core.borrow_mut();
    let core = &mut *core;
    let end = core.udp[usize::from(listener)].as_mut().expect("a listener that receives has its end");
    if !end.outgoing.is_empty() {
        return Batch::Blocked;
    }
    let count = match receive(&mut received, &end.socket, end.tells_local) {
        Ok(0) => return Batch::Last,
        Ok(count) => count,
        Err(_) => {
            core.counters.udp_receive_errors += 1;
            return Batch::Failed;
        }
    };
    core.counters.udp_batches += 1;
    core.counters.udp_received += count as u64;
    core.count_batch();
    let now = core.now();
    if count >= LOOK_AHEAD_MIN {
        core.shard.look_ahead((0..count).map(|place| received.octets(place)), bring_near);
    }
    for place in 0..count {
        core.on_datagram(now, listener, &received, place);
    }
    core.act(now);
    core.settle(now);
    if count == BATCH_DATAGRAMS { Batch::Full } else { Batch::Last }
}

/// Starts the task that sends what waits for the clients of a listener, once its socket takes it.
pub(crate) fn spawn_sender(shared: Rc<Shared>, listener: usize, socket: Rc<UdpSocket>) {
    let sender = async move {
        let ready = Readiness::new(socket);
        while ready.writable().await.is_ok() {
            let mut core = shared.core.borrow_mut();
            core.flush_udp(listener);
            if let Some(end) = core.udp[listener].as_mut()
                && end.outgoing.is_empty()
            {
                end.has_sender = false;
                return;
            }
        }
    };
    runtime::spawn(sender).detach();
}

/// How many datagrams came; none is no error.
pub(crate) fn receive(received: &mut Received, socket: &UdpSocket, tells_local: bool) -> io::Result<usize> {
    match received.receive(socket.as_raw_fd(), tells_local) {
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
        other => other,
    }
}

/// How many datagrams the kernel has dropped at a socket since it said `last`, which becomes what it says now.
pub(crate) fn kernel_drops_since(last: &mut u32, socket: &UdpSocket) -> u64 {
    // Every kernel with io_uring tells; where a sandbox forbids the question, the count stays what it is.
    let Ok(all) = sockets::kernel_drops(socket.as_raw_fd()) else { return 0 };
    since(last, all)
}

fn since(last: &mut u32, all: u32) -> u64 {
    u64::from(all.wrapping_sub(std::mem::replace(last, all)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_kernel_may_wrap() {
        let mut last = 0;
        let counted = [5, 5, u32::MAX, 0, 2].map(|all| since(&mut last, all));
        assert_eq!(counted, [5, 0, u64::from(u32::MAX) - 5, 1, 2]);
    }
}
