//! Datagrams as they came, of clients and of upstreams alike.

use std::io;
use std::mem::size_of;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;
use std::ptr;

use ringdns_shard::limits::UDP_REQUEST_OCTETS_MAX;

use super::layout::{Address, CONTROL_OCTETS, Control, Parts, Slab, read_local};
use crate::limits::BATCH_DATAGRAMS;

/// Datagrams as they came. Memory: 64 buffers of 4,096 octets, of which short requests touch the first lines only.
pub(crate) struct Received {
    buffers: Slab<u8>,
    addresses: Slab<Address>,
    controls: Slab<Control>,
    /// The headers point to these.
    _slices: Slab<libc::iovec>,
    headers: Box<[libc::mmsghdr]>,
    count: usize,
    /// Whether the headers have control blocks.
    tells_local: bool,
}

/// One datagram of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Datagram<'a> {
    /// Who sent it.
    pub(crate) peer: SocketAddr,
    /// To which address of ours, where the socket reports it.
    pub(crate) local: Option<IpAddr>,
    /// What it says.
    pub(crate) octets: &'a [u8],
}

/// Why a datagram is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// It is longer than the buffer.
    Oversize,
    /// Its source is no address to reply to: port 0, or no address of the Internet.
    Source,
}

impl Received {
    /// An empty batch.
    pub(crate) fn new() -> Received {
        let Parts { buffers, addresses, slices, headers } = Parts::new(UDP_REQUEST_OCTETS_MAX);
        let controls = Slab::new(Control([0; CONTROL_OCTETS]), BATCH_DATAGRAMS);
        Received { buffers, addresses, controls, _slices: slices, headers, count: 0, tells_local: false }
    }

    /// Takes what waits at `socket`, at most [`BATCH_DATAGRAMS`], without blocking; returns how many came.
    /// `tells_local`: whether the socket reports to which address each was sent. The batch is empty after an error,
    /// [`io::ErrorKind::WouldBlock`] among them.
    pub(crate) fn receive(&mut self, socket: RawFd, tells_local: bool) -> io::Result<usize> {
        self.prepare(tells_local);
        // SAFETY: each header points to an address, one slice, which points to a buffer of the length it says, and a
        // control block or none: all in slabs that live as long as `self` and that nobody else touches during the call.
        let count = unsafe {
            libc::recvmmsg(
                socket,
                self.headers.as_mut_ptr(),
                BATCH_DATAGRAMS as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        if count < 0 {
            return Err(io::Error::last_os_error());
        }
        self.count = count as usize;
        Ok(self.count)
    }

    /// The datagram at `place`, below what [`Received::receive`] returned.
    #[inline(always)]
    pub(crate) fn datagram(&self, place: usize) -> Result<Datagram<'_>, Unusable> {
        assert!(place < self.count);
        let header = &self.headers[place];
        if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
            return Err(Unusable::Oversize);
        }
        let peer = self.addresses[place].decode(header.msg_hdr.msg_namelen as usize).ok_or(Unusable::Source)?;
        if peer.port() == 0 {
            return Err(Unusable::Source);
        }
        Ok(Datagram { peer, local: self.local(place), octets: self.octets(place) })
    }

    /// The octets of the datagram at `place`, whatever is wrong with it: at most as many as the buffer holds.
    #[inline]
    pub(crate) fn octets(&self, place: usize) -> &[u8] {
        assert!(place < self.count);
        let start = place * UDP_REQUEST_OCTETS_MAX;
        &self.buffers[start..start + self.headers[place].msg_len as usize]
    }

    /// Who sent the datagram at `place`, as the kernel has written it, and the octets of that.
    #[inline]
    pub(super) fn source(&self, place: usize) -> (&Address, libc::socklen_t) {
        (&self.addresses[place], self.headers[place].msg_hdr.msg_namelen)
    }

    /// To which address of ours the datagram at `place` was sent, where the socket reports it.
    #[inline]
    pub(super) fn local(&self, place: usize) -> Option<IpAddr> {
        // SAFETY: with `tells_local` each header of the batch has its control block, as long as the kernel has said.
        if self.tells_local { unsafe { read_local(&self.headers[place].msg_hdr) } } else { None }
    }

    /// The headers as the kernel wants them: it has shortened those that it used in the last call. Without a control
    /// block it spares itself the writing of control data.
    fn prepare(&mut self, tells_local: bool) {
        let room = if tells_local { CONTROL_OCTETS } else { 0 };
        let changed = if self.tells_local == tells_local { self.count } else { BATCH_DATAGRAMS };
        for (place, header) in self.headers[..changed].iter_mut().enumerate() {
            header.msg_hdr.msg_namelen = size_of::<Address>() as libc::socklen_t;
            header.msg_hdr.msg_control = if tells_local { self.controls.at(place).cast() } else { ptr::null_mut() };
            header.msg_hdr.msg_controllen = room as _;
        }
        (self.count, self.tells_local) = (0, tells_local);
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;
    use std::thread;
    use std::time::Instant;

    use super::*;
    use crate::datagrams::tests::{PATIENCE, listener};

    /// Waits for datagrams, as far as these tests have not waited for them otherwise.
    fn receive(batch: &mut Received, socket: &UdpSocket, tells_local: bool) -> usize {
        let end = Instant::now() + PATIENCE;
        loop {
            match batch.receive(socket.as_raw_fd(), tells_local) {
                Ok(count) => return count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < end => thread::yield_now(),
                Err(error) => panic!("nothing came: {error}"),
            }
        }
    }

    #[test]
    fn a_batch_brings_what_waits_with_both_addresses() {
        let socket = listener("0.0.0.0:0");
        let port = socket.local_addr().unwrap().port();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        for number in 0..70u8 {
            client.send_to(&[number; 30], ("127.0.0.9", port)).unwrap();
        }
        let mut batch = Received::new();
        for numbers in [0..64u8, 64..70] {
            assert_eq!(receive(&mut batch, &socket, true), numbers.len());
            for (place, number) in numbers.enumerate() {
                let expected = Datagram {
                    peer: client.local_addr().unwrap(),
                    local: Some("127.0.0.9".parse().unwrap()),
                    octets: &[number; 30],
                };
                assert_eq!(batch.datagram(place), Ok(expected));
            }
        }
        let nothing = batch.receive(socket.as_raw_fd(), true).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn one_batch_serves_sockets_of_every_kind() {
        let (every, one) = (listener("0.0.0.0:0"), listener("127.0.0.1:0"));
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let v6 = UdpSocket::bind("[::1]:0").map(|client| (listener("[::1]:0"), client));
        if v6.is_err() {
            eprintln!("skipped: this machine has no IPv6");
        }
        let mut batch = Received::new();
        for _ in 0..2 {
            for (socket, tells_local) in [(&one, false), (&every, true), (&one, false)] {
                for _ in 0..3 {
                    client.send_to(b"x", ("127.0.0.1", socket.local_addr().unwrap().port())).unwrap();
                }
                assert_eq!(receive(&mut batch, socket, tells_local), 3);
                for place in 0..3 {
                    let datagram = batch.datagram(place).unwrap();
                    assert_eq!(datagram.peer, client.local_addr().unwrap());
                    assert_eq!(datagram.local, tells_local.then(|| "127.0.0.1".parse().unwrap()));
                }
            }
            // A longer address than those before.
            if let Ok((socket, client)) = &v6 {
                client.send_to(b"x", socket.local_addr().unwrap()).unwrap();
                assert_eq!(receive(&mut batch, socket, false), 1);
                assert_eq!(batch.datagram(0).unwrap().peer, client.local_addr().unwrap());
            }
        }
    }

    #[test]
    fn what_is_longer_than_the_buffer_is_no_datagram() {
        let socket = listener("127.0.0.1:0");
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        for octets in [UDP_REQUEST_OCTETS_MAX + 1, UDP_REQUEST_OCTETS_MAX] {
            client.send_to(&vec![1; octets], socket.local_addr().unwrap()).unwrap();
        }
        let mut batch = Received::new();
        assert_eq!(receive(&mut batch, &socket, false), 2);
        assert_eq!(batch.datagram(0), Err(Unusable::Oversize));
        assert_eq!(batch.datagram(1).unwrap().octets.len(), UDP_REQUEST_OCTETS_MAX);
    }
}
