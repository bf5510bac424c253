//! Batches of datagrams, `recvmmsg` and `sendmmsg` bare: what the echo and the client of ours stand on, so that what they
//! cost is the kernel's. The only module of the crate with `unsafe`.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::ptr;

/// Datagrams of a batch.
pub const BATCH: usize = 64;
/// Room for one datagram.
pub const DATAGRAM_OCTETS: usize = 2048;

/// Up to [`BATCH`] datagrams, each with its buffer and, where the socket is not connected, its peer.
pub struct Batch {
    buffers: Box<[[u8; DATAGRAM_OCTETS]]>,
    lengths: [usize; BATCH],
    /// The headers point into these two and into the buffers; all of them are on the heap and never move.
    _addresses: Box<[libc::sockaddr_in6]>,
    slices: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
}

impl Batch {
    /// An empty batch; with `addressed`, peers are kept, so that what came can be sent back.
    #[must_use]
    pub fn new(addressed: bool) -> Batch {
        let mut buffers = vec![[0; DATAGRAM_OCTETS]; BATCH].into_boxed_slice();
        // SAFETY: addresses of the kernel's are plain numbers, for which zeroes are a value.
        let mut addresses: Box<[libc::sockaddr_in6]> = (0..BATCH).map(|_| unsafe { zeroed() }).collect();
        let mut slices: Box<[libc::iovec]> = buffers
            .iter_mut()
            .map(|buffer| libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: DATAGRAM_OCTETS })
            .collect();
        let headers = (0..BATCH)
            .map(|place| {
                // SAFETY: a header is plain numbers and pointers, for which zeroes are a value.
                let mut header: libc::mmsghdr = unsafe { zeroed() };
                header.msg_hdr.msg_iov = &mut slices[place];
                header.msg_hdr.msg_iovlen = 1;
                if addressed {
                    header.msg_hdr.msg_name = ptr::from_mut(&mut addresses[place]).cast();
                    header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
                }
                header
            })
            .collect();
        Batch { buffers, lengths: [0; BATCH], _addresses: addresses, slices, headers }
    }

    /// Receives what is there, with `wait` at least one datagram, or none when the socket's time-out passes first.
    ///
    /// # Errors
    /// The socket's, but for being interrupted or having nothing, which is no datagram. A peer that refused an
    /// earlier datagram (its port is closed) is no datagram either.
    pub fn receive(&mut self, socket: &UdpSocket, wait: bool) -> io::Result<usize> {
        for place in 0..BATCH {
            let header = &mut self.headers[place].msg_hdr;
            if !header.msg_name.is_null() {
                header.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
            }
            self.slices[place].iov_len = DATAGRAM_OCTETS;
        }
        let flags = if wait { libc::MSG_WAITFORONE } else { libc::MSG_DONTWAIT };
        // SAFETY: every header points to one slice, which points to a buffer of the length that it says, and to an
        // address or to none; all live as long as `self`, and nobody else touches them during the call.
        let count = unsafe {
            libc::recvmmsg(socket.as_raw_fd(), self.headers.as_mut_ptr(), BATCH as _, flags as _, ptr::null_mut())
        };
        if count < 0 {
            return passing(io::Error::last_os_error());
        }
        let count = count as usize;
        for place in 0..count {
            self.lengths[place] = self.headers[place].msg_len as usize;
        }
        Ok(count)
    }

    /// The octets of the datagram at `place`, as received or as set.
    #[must_use]
    pub fn datagram(&self, place: usize) -> &[u8] {
        &self.buffers[place][..self.lengths[place]]
    }

    /// The whole buffer at `place`, to be written before [`Batch::set_length`].
    pub fn buffer(&mut self, place: usize) -> &mut [u8; DATAGRAM_OCTETS] {
        &mut self.buffers[place]
    }

    /// Says how many octets of the buffer at `place` are the datagram.
    pub fn set_length(&mut self, place: usize, octets: usize) {
        assert!(octets <= DATAGRAM_OCTETS);
        self.lengths[place] = octets;
    }

    /// Sends the first `count` datagrams, those that were received to where they came from; how many the kernel took.
    ///
    /// # Errors
    /// The socket's, but for those that pass: then none was taken.
    pub fn send(&mut self, socket: &UdpSocket, count: usize) -> io::Result<usize> {
        assert!(count <= BATCH);
        for place in 0..count {
            self.slices[place].iov_len = self.lengths[place];
        }
        // SAFETY: as in `receive`; the kernel reads only the octets that `set_length` and `receive` have bounded.
        let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), self.headers.as_mut_ptr(), count as _, 0) };
        if sent < 0 { passing(io::Error::last_os_error()) } else { Ok(sent as usize) }
    }
}

/// Nothing now; or an error that does not pass.
fn passing(error: io::Error) -> io::Result<usize> {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::ConnectionRefused => Ok(0),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_goes_back_to_where_it_came_from() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(server.local_addr().unwrap()).unwrap();
        let (mut batch, mut echo) = (Batch::new(false), Batch::new(true));
        for place in 0..3 {
            batch.buffer(place)[0] = place as u8;
            batch.set_length(place, place + 1);
        }
        assert_eq!(batch.send(&client, 3).unwrap(), 3);
        assert_eq!(echo.receive(&server, true).unwrap(), 3);
        assert_eq!(echo.datagram(2), [2, 0, 0]);
        echo.set_length(2, 1);
        assert_eq!(echo.send(&server, 3).unwrap(), 3);
        assert_eq!(batch.receive(&client, true).unwrap(), 3);
        assert_eq!((batch.datagram(0), batch.datagram(1), batch.datagram(2)), (&[0][..], &[1, 0][..], &[2][..]));
        assert_eq!(batch.receive(&client, false).unwrap(), 0);
    }
}
