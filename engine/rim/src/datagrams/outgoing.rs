//! Replies on their way to the clients of one socket.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;
use std::ptr;

use ringdns_shard::limits::UDP_REPLY_OCTETS_MAX;

use super::Received;
use super::layout::{self, Address, CONTROL_OCTETS, Control, Parts, Slab, write_source};
use crate::limits::BATCH_DATAGRAMS;

/// Datagrams on their way out. Memory: 64 buffers of 1,232 octets.
pub(crate) struct Outgoing {
    buffers: Slab<u8>,
    addresses: Slab<Address>,
    controls: Slab<Control>,
    slices: Slab<libc::iovec>,
    headers: Box<[libc::mmsghdr]>,
    /// Those before this one are sent.
    first: usize,
    count: usize,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Datagrams the kernel took.
    pub(crate) sent: usize,
    /// Datagrams the kernel refused, each for a reason of its own; they are gone.
    pub(crate) refused: usize,
    /// The socket takes no more for now; the rest of the batch waits for the next call.
    pub(crate) blocked: bool,
}

impl Outgoing {
    /// An empty batch.
    pub(crate) fn new() -> Outgoing {
        let Parts { buffers, addresses, slices, headers } = Parts::new(UDP_REPLY_OCTETS_MAX);
        let controls = Slab::new(Control([0; CONTROL_OCTETS]), BATCH_DATAGRAMS);
        Outgoing { buffers, addresses, controls, slices, headers, first: 0, count: 0 }
    }

    /// Whether nothing waits to be sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many datagrams wait to be sent.
    pub(crate) fn waiting(&self) -> usize {
        self.count - self.first
    }

    /// Whether [`Outgoing::slot`] has no room.
    pub(crate) fn is_full(&self) -> bool {
        self.count == BATCH_DATAGRAMS
    }

    /// The buffer of the next datagram, of [`UDP_REPLY_OCTETS_MAX`] octets; `None` when the batch is full.
    pub(crate) fn slot(&mut self) -> Option<&mut [u8]> {
        if self.is_full() {
            return None;
        }
        let start = self.count * UDP_REPLY_OCTETS_MAX;
        Some(&mut self.buffers[start..start + UDP_REPLY_OCTETS_MAX])
    }

    /// Adds the datagram that stands in the first `octets` of [`Outgoing::slot`], to be sent to `peer`, from the address
    /// `local` where the socket has several.
    pub(crate) fn push(&mut self, octets: usize, peer: SocketAddr, local: Option<IpAddr>) {
        self.add(octets, &Address::encode(peer), Address::length(peer) as libc::socklen_t, local);
    }

    /// The same for the reply to a datagram that has just come: back to where it came from, from where it came to.
    #[inline]
    pub(crate) fn push_back(&mut self, octets: usize, received: &Received, place: usize) {
        let (peer, length) = received.source(place);
        self.add(octets, peer, length, received.local(place));
    }

    #[inline(always)]
    fn add(&mut self, octets: usize, peer: &Address, length: libc::socklen_t, local: Option<IpAddr>) {
        assert!(!self.is_full() && octets <= UDP_REPLY_OCTETS_MAX);
        let place = self.count;
        self.slices[place].iov_len = octets;
        self.addresses[place] = *peer;
        let header = &mut self.headers[place].msg_hdr;
        header.msg_namelen = length;
        (header.msg_control, header.msg_controllen) = (ptr::null_mut(), 0);
        if local.is_some() {
            header.msg_controllen = write_source(&mut self.controls[place], local) as _;
            header.msg_control = self.controls.at(place).cast();
        }
        self.count += 1;
    }

    /// Sends what waits, without blocking. A datagram that the kernel refuses does not hold up those behind it.
    pub(crate) fn flush(&mut self, socket: RawFd) -> Sent {
        let mut outcome = Sent::default();
        while self.first < self.count {
            // SAFETY: every header points into slabs of `self`, with the lengths that `push` has set.
            let error = match unsafe { layout::send(socket, &mut self.headers[self.first..self.count]) } {
                Ok(sent) => {
                    outcome.sent += sent;
                    self.first += sent;
                    continue;
                }
                Err(error) => error,
            };
            match error.kind() {
                io::ErrorKind::WouldBlock => {
                    outcome.blocked = true;
                    return outcome;
                }
                io::ErrorKind::Interrupted => {}
                // About the first of the rest alone.
                _ => {
                    outcome.refused += 1;
                    self.first += 1;
                }
            }
        }
        (self.first, self.count) = (0, 0);
        outcome
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsRawFd;
    use std::thread;
    use std::time::Instant;

    use super::*;
    use crate::datagrams::tests::{PATIENCE, listener};

    fn push(batch: &mut Outgoing, text: &[u8], peer: SocketAddr, local: Option<IpAddr>) {
        batch.slot().unwrap()[..text.len()].copy_from_slice(text);
        batch.push(text.len(), peer, local);
    }

    #[test]
    fn one_that_is_refused_does_not_hold_up_the_rest() {
        let socket = listener("127.0.0.1:0");
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let good = client.local_addr().unwrap();
        // Broadcast is for sockets that have asked for it.
        let bad: SocketAddr = "255.255.255.255:53".parse().unwrap();
        let mut batch = Outgoing::new();
        for (text, peer) in [(b"a", bad), (b"b", good), (b"c", bad), (b"d", bad), (b"e", good), (b"f", bad)] {
            push(&mut batch, text, peer, None);
        }
        assert_eq!(batch.flush(socket.as_raw_fd()), Sent { sent: 2, refused: 4, blocked: false });
        assert!(batch.is_empty());
        let mut octets = [0; 8];
        for text in [b"b", b"e"] {
            assert_eq!(client.recv(&mut octets).unwrap(), 1);
            assert_eq!(octets[0], text[0]);
        }
    }

    #[test]
    fn a_source_address_is_taken_and_forgotten() {
        let socket = listener("0.0.0.0:0");
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut batch = Outgoing::new();
        let mut octets = [0; 8];
        for local in [Some("127.0.0.7"), None, Some("127.0.0.8")] {
            let local: Option<IpAddr> = local.map(|local| local.parse().unwrap());
            push(&mut batch, b"x", client.local_addr().unwrap(), local);
            assert_eq!(batch.flush(socket.as_raw_fd()).sent, 1);
            let (_, from) = client.recv_from(&mut octets).unwrap();
            assert_eq!(from.ip(), local.unwrap_or("127.0.0.1".parse().unwrap()));
        }
    }

    #[test]
    fn what_a_socket_does_not_take_waits() {
        // A stream stands in for a socket whose buffer is full: datagrams on loopback never fill theirs.
        let peer = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(peer.local_addr().unwrap()).unwrap();
        let (mut reader, _) = peer.accept().unwrap();
        let mut batch = Outgoing::new();
        let mut sent = 0;
        let end = Instant::now() + PATIENCE;
        let blocked = loop {
            while !batch.is_full() {
                batch.push(UDP_REPLY_OCTETS_MAX, peer.local_addr().unwrap(), None);
            }
            assert!(batch.slot().is_none());
            let outcome = batch.flush(socket.as_raw_fd());
            sent += outcome.sent;
            let waiting = if outcome.blocked { BATCH_DATAGRAMS - outcome.sent } else { 0 };
            assert_eq!((outcome.refused, batch.waiting()), (0, waiting));
            if outcome.blocked {
                break outcome;
            }
            assert!(Instant::now() < end);
        };
        assert!(!batch.is_empty());
        let again = batch.flush(socket.as_raw_fd());
        assert!(again.blocked, "{again:?} after {blocked:?}");
        sent += again.sent;
        let drain = thread::spawn(move || {
            reader.set_read_timeout(Some(PATIENCE)).unwrap();
            while reader.read(&mut [0; 65_536]).unwrap() > 0 {}
        });
        while !batch.is_empty() {
            sent += batch.flush(socket.as_raw_fd()).sent;
            assert!(Instant::now() < end);
            thread::yield_now();
        }
        assert_eq!(sent % BATCH_DATAGRAMS, 0, "every datagram went once");
        drop(socket);
        drain.join().unwrap();
    }
}
