//! Batches of datagrams: what one `recvmmsg` brings and what one `sendmmsg` takes, in memory that is laid out once.
//!
//! A batch owns its buffers, addresses and control data in slabs that never move, and the headers that point into them;
//! the kernel reads and writes them during a call and keeps nothing afterwards. The control data carry the
//! address that was asked (IP_PKTINFO, RFC 3542 §6.1 for IPv6) and how many datagrams the kernel dropped (SO_RXQ_OVFL).

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::ops::{Deref, DerefMut};
use std::os::fd::RawFd;
use std::ptr;

use ringdns_shard::limits::{UDP_REPLY_OCTETS_MAX, UDP_REQUEST_OCTETS_MAX};

use crate::limits::BATCH_DATAGRAMS;

/// Datagrams as they came. Memory: 64 buffers of 4,096 octets, of which short requests touch the first lines only.
pub(crate) struct Received {
    buffers: Slab<u8>,
    addresses: Slab<Address>,
    /// The headers point to these two.
    _controls: Slab<Control>,
    _slices: Slab<libc::iovec>,
    headers: Box<[libc::mmsghdr]>,
    count: usize,
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

/// A socket address as the kernel writes it. Both kinds begin with the family and the port.
#[repr(C)]
#[derive(Clone, Copy)]
union Address {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

/// Room for the packet information of either family and the drop counter, aligned as `cmsghdr` wants it.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL_OCTETS]);

const CONTROL_OCTETS: usize = 64;

// SAFETY: CMSG_SPACE only computes with its argument.
const _: () = assert!(
    unsafe { libc::CMSG_SPACE(size_of::<libc::in6_pktinfo>() as u32) + libc::CMSG_SPACE(size_of::<u32>() as u32) }
        as usize
        <= CONTROL_OCTETS
);

impl Received {
    /// An empty batch.
    pub(crate) fn new() -> Received {
        let Parts { buffers, addresses, controls, slices, headers } = Parts::new(UDP_REQUEST_OCTETS_MAX);
        Received { buffers, addresses, _controls: controls, _slices: slices, headers, count: 0 }
    }

    /// Takes what waits at `socket`, at most [`BATCH_DATAGRAMS`], without blocking; returns how many came. The batch is
    /// empty after an error, [`io::ErrorKind::WouldBlock`] among them.
    pub(crate) fn receive(&mut self, socket: RawFd) -> io::Result<usize> {
        // The kernel has shortened these in the last call.
        for header in &mut self.headers[..self.count] {
            header.msg_hdr.msg_namelen = size_of::<Address>() as libc::socklen_t;
            header.msg_hdr.msg_controllen = CONTROL_OCTETS as _;
        }
        self.count = 0;
        // SAFETY: each header points to an address, a control block and one slice, which points to a buffer of the
        // length it says: all in slabs that live as long as `self` and that nobody else touches during the call.
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
        let start = place * UDP_REQUEST_OCTETS_MAX;
        let octets = &self.buffers[start..start + header.msg_len as usize];
        Ok(Datagram { peer, local: self.control(place).local, octets })
    }

    /// How many datagrams the kernel has dropped at this socket since it was opened, as far as it says: a number of 32
    /// bits that wraps.
    pub(crate) fn dropped_by_kernel(&self) -> Option<u32> {
        self.control(self.count.checked_sub(1)?).dropped
    }

    fn control(&self, place: usize) -> ControlData {
        let header = &self.headers[place].msg_hdr;
        assert!(header.msg_controllen <= CONTROL_OCTETS as _);
        let mut data = ControlData::default();
        // SAFETY: `msg_control` points to the control block of this place, of which the kernel has filled the first
        // `msg_controllen` octets with whole control messages; the walk stays inside them, and each payload is read, as
        // plain octets of any alignment, only where its length is that of the type read.
        unsafe {
            let mut message = libc::CMSG_FIRSTHDR(header);
            while !message.is_null() {
                let payload = libc::CMSG_DATA(message);
                let length = (*message).cmsg_len as usize;
                match ((*message).cmsg_level, (*message).cmsg_type) {
                    (libc::IPPROTO_IP, libc::IP_PKTINFO) if length >= control_length::<libc::in_pktinfo>() => {
                        let info = payload.cast::<libc::in_pktinfo>().read_unaligned();
                        data.local = Some(IpAddr::V4(Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr))));
                    }
                    (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) if length >= control_length::<libc::in6_pktinfo>() => {
                        let info = payload.cast::<libc::in6_pktinfo>().read_unaligned();
                        data.local = Some(IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr)));
                    }
                    (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) if length >= control_length::<u32>() => {
                        data.dropped = Some(payload.cast::<u32>().read_unaligned());
                    }
                    _ => {}
                }
                message = libc::CMSG_NXTHDR(header, message);
            }
        }
        data
    }
}

#[derive(Default)]
struct ControlData {
    local: Option<IpAddr>,
    dropped: Option<u32>,
}

impl Outgoing {
    /// An empty batch.
    pub(crate) fn new() -> Outgoing {
        let Parts { buffers, addresses, controls, slices, headers } = Parts::new(UDP_REPLY_OCTETS_MAX);
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
        assert!(!self.is_full() && octets <= UDP_REPLY_OCTETS_MAX);
        let place = self.count;
        self.slices[place].iov_len = octets;
        self.addresses[place] = Address::encode(peer);
        let header = &mut self.headers[place].msg_hdr;
        header.msg_namelen = Address::length(peer) as libc::socklen_t;
        header.msg_controllen = write_source(&mut self.controls[place], local) as _;
        header.msg_control = if local.is_some() { self.controls.at(place).cast() } else { ptr::null_mut() };
        self.count += 1;
    }

    /// Sends what waits, without blocking. A datagram that the kernel refuses does not hold up those behind it.
    pub(crate) fn flush(&mut self, socket: RawFd) -> Sent {
        let mut outcome = Sent::default();
        while self.first < self.count {
            let rest = &mut self.headers[self.first..self.count];
            // SAFETY: as for `receive`: every header of the batch points into slabs of `self`, with the lengths that
            // `push` has set; the kernel only reads them.
            let sent = unsafe {
                libc::sendmmsg(socket, rest.as_mut_ptr(), rest.len() as libc::c_uint, libc::MSG_DONTWAIT as _)
            };
            if sent > 0 {
                outcome.sent += sent as usize;
                self.first += sent as usize;
                continue;
            }
            match io::Error::last_os_error().kind() {
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

/// What both kinds of batch are made of.
struct Parts {
    buffers: Slab<u8>,
    addresses: Slab<Address>,
    controls: Slab<Control>,
    slices: Slab<libc::iovec>,
    headers: Box<[libc::mmsghdr]>,
}

impl Parts {
    /// Each header points to its address, its control block and its slice, which points to `octets` of the buffers.
    fn new(octets: usize) -> Parts {
        let buffers = Slab::new(0u8, BATCH_DATAGRAMS * octets);
        // SAFETY: both kinds of address are plain numbers, for which all zero is a value.
        let addresses = Slab::new(unsafe { zeroed::<Address>() }, BATCH_DATAGRAMS);
        let controls = Slab::new(Control([0; CONTROL_OCTETS]), BATCH_DATAGRAMS);
        let mut slices = Slab::new(libc::iovec { iov_base: ptr::null_mut(), iov_len: octets }, BATCH_DATAGRAMS);
        for place in 0..BATCH_DATAGRAMS {
            slices[place].iov_base = buffers.at(place * octets).cast();
        }
        let headers = (0..BATCH_DATAGRAMS)
            .map(|place| {
                // SAFETY: a header is plain numbers and pointers, for which all zero is a value; on some platforms it
                // has padding fields that cannot be named.
                let mut header: libc::mmsghdr = unsafe { zeroed() };
                header.msg_hdr.msg_name = addresses.at(place).cast();
                header.msg_hdr.msg_namelen = size_of::<Address>() as libc::socklen_t;
                header.msg_hdr.msg_iov = slices.at(place);
                header.msg_hdr.msg_iovlen = 1;
                header.msg_hdr.msg_control = controls.at(place).cast();
                header.msg_hdr.msg_controllen = CONTROL_OCTETS as _;
                header
            })
            .collect();
        Parts { buffers, addresses, controls, slices, headers }
    }
}

/// Items that raw pointers may point to as well: a boxed slice would claim to be the only way to its items. Owned, and
/// freed, by this.
struct Slab<T: Copy>(ptr::NonNull<[T]>);

impl<T: Copy> Slab<T> {
    fn new(item: T, count: usize) -> Slab<T> {
        Slab(ptr::NonNull::from(Box::leak(vec![item; count].into_boxed_slice())))
    }

    /// A pointer for the kernel to the item at `place`.
    fn at(&self, place: usize) -> *mut T {
        assert!(place < self.0.len());
        // SAFETY: the place is inside the allocation.
        unsafe { self.0.cast::<T>().add(place).as_ptr() }
    }
}

impl<T: Copy> Deref for Slab<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: the allocation is ours; the kernel writes to it only during a call that borrows the batch for itself.
        unsafe { self.0.as_ref() }
    }
}

impl<T: Copy> DerefMut for Slab<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above.
        unsafe { self.0.as_mut() }
    }
}

impl<T: Copy> Drop for Slab<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer came from a leaked box in `new`, and nobody has freed it since.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

impl Address {
    fn encode(address: SocketAddr) -> Address {
        match address {
            SocketAddr::V4(address) => Address {
                v4: libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: address.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from(*address.ip()).to_be() },
                    sin_zero: [0; 8],
                },
            },
            SocketAddr::V6(address) => Address {
                v6: libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: address.port().to_be(),
                    sin6_flowinfo: 0,
                    sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                    sin6_scope_id: address.scope_id(),
                },
            },
        }
    }

    fn length(address: SocketAddr) -> usize {
        if address.is_ipv4() { size_of::<libc::sockaddr_in>() } else { size_of::<libc::sockaddr_in6>() }
    }

    /// `None` for what is no address of the Internet.
    fn decode(&self, length: usize) -> Option<SocketAddr> {
        // SAFETY: both kinds are plain numbers without invalid values and begin with the family; all octets are
        // initialised, since the memory starts out as zero.
        unsafe {
            match libc::c_int::from(self.v4.sin_family) {
                libc::AF_INET if length >= size_of::<libc::sockaddr_in>() => {
                    let ip = Ipv4Addr::from(u32::from_be(self.v4.sin_addr.s_addr));
                    Some(SocketAddrV4::new(ip, u16::from_be(self.v4.sin_port)).into())
                }
                libc::AF_INET6 if length >= size_of::<libc::sockaddr_in6>() => {
                    let ip = Ipv6Addr::from(self.v6.sin6_addr.s6_addr);
                    Some(SocketAddrV6::new(ip, u16::from_be(self.v6.sin6_port), 0, self.v6.sin6_scope_id).into())
                }
                _ => None,
            }
        }
    }
}

/// Writes the source address as packet information; returns the octets of control data.
fn write_source(control: &mut Control, local: Option<IpAddr>) -> usize {
    match local {
        None => 0,
        Some(IpAddr::V4(ip)) => {
            let source = libc::in_addr { s_addr: u32::from(ip).to_be() };
            let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: libc::in_addr { s_addr: 0 } };
            write_control(control, libc::IPPROTO_IP, libc::IP_PKTINFO, info)
        }
        Some(IpAddr::V6(ip)) => {
            let info = libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: ip.octets() }, ipi6_ifindex: 0 };
            write_control(control, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info)
        }
    }
}

fn write_control<T: Copy>(control: &mut Control, level: libc::c_int, kind: libc::c_int, payload: T) -> usize {
    // SAFETY: these only compute with their argument.
    let space = unsafe { libc::CMSG_SPACE(size_of::<T>() as u32) } as usize;
    assert!(space <= CONTROL_OCTETS);
    // SAFETY: the block is aligned for `cmsghdr` and holds `space` octets, header and padded payload; the payload is
    // written as plain octets of any alignment.
    unsafe {
        let message = control.0.as_mut_ptr().cast::<libc::cmsghdr>();
        (*message).cmsg_len = control_length::<T>() as _;
        (*message).cmsg_level = level;
        (*message).cmsg_type = kind;
        libc::CMSG_DATA(message).cast::<T>().write_unaligned(payload);
    }
    space
}

fn control_length<T>() -> usize {
    // SAFETY: CMSG_LEN only computes with its argument.
    unsafe { libc::CMSG_LEN(size_of::<T>() as u32) as usize }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsRawFd;
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::sockets;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn listener(address: &str) -> UdpSocket {
        sockets::udp_listener(address.parse().unwrap()).unwrap().into()
    }

    /// Waits for datagrams, as far as these tests have not waited for them otherwise.
    fn receive(batch: &mut Received, socket: &UdpSocket) -> usize {
        let end = Instant::now() + PATIENCE;
        loop {
            match batch.receive(socket.as_raw_fd()) {
                Ok(count) => return count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < end => thread::yield_now(),
                Err(error) => panic!("nothing came: {error}"),
            }
        }
    }

    fn push(batch: &mut Outgoing, text: &[u8], peer: SocketAddr, local: Option<IpAddr>) {
        batch.slot().unwrap()[..text.len()].copy_from_slice(text);
        batch.push(text.len(), peer, local);
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
            assert_eq!(receive(&mut batch, &socket), numbers.len());
            for (place, number) in numbers.enumerate() {
                let expected = Datagram {
                    peer: client.local_addr().unwrap(),
                    local: Some("127.0.0.9".parse().unwrap()),
                    octets: &[number; 30],
                };
                assert_eq!(batch.datagram(place), Ok(expected));
            }
        }
        let nothing = batch.receive(socket.as_raw_fd()).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(batch.dropped_by_kernel(), None);
    }

    #[test]
    fn addresses_survive_the_kernel_form() {
        for text in ["192.0.2.1:53", "[2001:db8::1]:5353", "[fe80::1%7]:9"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(Address::encode(address).decode(Address::length(address)), Some(address));
            assert_eq!(Address::encode(address).decode(8), None, "cut short");
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
        assert_eq!(receive(&mut batch, &socket), 2);
        assert_eq!(batch.datagram(0), Err(Unusable::Oversize));
        assert_eq!(batch.datagram(1).unwrap().octets.len(), UDP_REQUEST_OCTETS_MAX);
    }

    #[test]
    fn the_kernel_tells_what_it_dropped() {
        let socket = listener("127.0.0.1:0");
        socket2::SockRef::from(&socket).set_recv_buffer_size(4_096).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let flood = || {
            for _ in 0..100 {
                client.send_to(&[0; 100], socket.local_addr().unwrap()).unwrap();
            }
        };
        let mut batch = Received::new();
        flood();
        let first = receive(&mut batch, &socket);
        // Told with the datagrams that come after the drop.
        flood();
        receive(&mut batch, &socket);
        let dropped = batch.dropped_by_kernel().expect("some were dropped");
        assert!(dropped as usize >= 100 - first, "{dropped} dropped, {first} came");
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
