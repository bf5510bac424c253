//! Making sockets, with the options that each kind needs.

use std::io;
use std::mem::{size_of, size_of_val};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::limits::{TCP_BACKLOG, UDP_RECEIVE_BUFFER_OCTETS};

/// Numbers that SO_MEMINFO tells (`SK_MEMINFO_VARS` of linux/sock_diag.h)…
const MEMINFO_FIGURES: usize = 9;
/// … of which this one is how many datagrams were dropped (`SK_MEMINFO_DROPS`).
const MEMINFO_DROPS: usize = 8;

/// A socket of one core for the datagrams of clients. `address` may have port 0.
pub(crate) fn udp_listener(address: SocketAddr) -> io::Result<Socket> {
    let socket = socket(address, Type::DGRAM)?;
    // A port that the kernel is to choose must be nobody's: to a socket that shares, it gives one that others share too.
    socket.set_reuse_port(address.port() != 0)?;
    datagram_options(&socket, address)?;
    if has_several_addresses(&address) {
        // Replies must come from the address that was asked.
        let (level, option) = if address.is_ipv4() {
            (libc::IPPROTO_IP, libc::IP_PKTINFO)
        } else {
            (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)
        };
        set_option(socket.as_raw_fd(), level, option, 1)?;
    }
    socket.bind(&address.into())?;
    socket.set_reuse_port(true)?;
    Ok(socket)
}

/// Whether a socket that is bound here answers under several addresses: then it says with each datagram which one was
/// asked.
pub(crate) fn has_several_addresses(bound: &SocketAddr) -> bool {
    bound.ip().is_unspecified()
}

/// A socket of one core for the connections of clients, listening. What it accepts inherits that small segments leave at once.
pub(crate) fn tcp_listener(address: SocketAddr) -> io::Result<Socket> {
    let socket = socket(address, Type::STREAM)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(TCP_BACKLOG)?;
    Ok(socket)
}

/// The next connection of a client, non-blocking and closed on exec: one system call, where the standard library takes
/// a second one.
pub(crate) fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    // SAFETY: the address has the room that its length says, and the kernel writes no more than that; a descriptor that
    // it returns is new, and nobody else's.
    let (stream, peer) = unsafe {
        SockAddr::try_init(|address, length| {
            let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
            match libc::accept4(listener.as_raw_fd(), address.cast(), length, flags) {
                -1 => Err(io::Error::last_os_error()),
                descriptor => Ok(OwnedFd::from_raw_fd(descriptor)),
            }
        })?
    };
    let peer = peer.as_socket().ok_or(io::ErrorKind::ConnectionAborted)?;
    Ok((stream.into(), peer))
}

/// How many datagrams the kernel has dropped at a socket since it was opened: a number of 32 bits that wraps. Asked for,
/// not told with each datagram (SO_RXQ_OVFL): in the profile of a flooded core 3.6 % of the time went there.
pub(crate) fn kernel_drops(socket: RawFd) -> io::Result<u32> {
    let mut figures = [0u32; MEMINFO_FIGURES];
    let mut length = size_of_val(&figures) as libc::socklen_t;
    // SAFETY: the kernel writes as many octets as `length` says at most, all of them ours.
    let result = unsafe {
        libc::getsockopt(socket, libc::SOL_SOCKET, libc::SO_MEMINFO, figures.as_mut_ptr().cast(), &raw mut length)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    if (length as usize) < (MEMINFO_DROPS + 1) * size_of::<u32>() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(figures[MEMINFO_DROPS])
}

/// Fails where another process has the address. The sockets of several cores share theirs with SO_REUSEPORT, and with
/// it a second server of the same user would slip in unnoticed and take half of the queries: so the address is bound
/// once without sharing, and let go again.
pub(crate) fn probe(address: SocketAddr, kind: Type) -> io::Result<()> {
    let socket = socket(address, kind)?;
    if kind == Type::STREAM {
        // Connections that linger from an earlier run do not matter; a listener still does.
        socket.set_reuse_address(true)?;
    }
    socket.bind(&address.into())
}

/// An unconnected socket towards upstreams, on a random port.
pub(crate) fn udp_upstream(v6: bool) -> io::Result<Socket> {
    let any =
        if v6 { SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)) } else { SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)) };
    let socket = socket(any, Type::DGRAM)?;
    datagram_options(&socket, any)?;
    socket.bind(&any.into())?;
    Ok(socket)
}

/// A socket for one exchange with an upstream, on its way to be connected.
pub(crate) fn tcp_upstream(server: SocketAddr) -> io::Result<Socket> {
    let socket = socket(server, Type::STREAM)?;
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&server.into()) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(socket),
        Err(error) => Err(error),
        Ok(()) => Ok(socket),
    }
}

/// Non-blocking, closed on exec. A socket for IPv6 is for IPv6 alone: `[::]` does not take IPv4 along, which keeps
/// access lists and packet information in one address family.
fn socket(address: SocketAddr, kind: Type) -> io::Result<Socket> {
    let protocol = if kind == Type::STREAM { Protocol::TCP } else { Protocol::UDP };
    let socket = Socket::new(Domain::for_address(address), kind.nonblocking(), Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

fn datagram_options(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    // Best effort: net.core.rmem_max caps it without an error.
    socket.set_recv_buffer_size(UDP_RECEIVE_BUFFER_OCTETS)?;
    // Path MTU news are neither believed nor sent along: a forged one could make replies arrive in fragments, and those
    // can be forged in turn. Our replies fit the smallest MTU of IPv6 as they are.
    if address.is_ipv4() {
        set_option(socket.as_raw_fd(), libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_OMIT)
    } else {
        set_option(socket.as_raw_fd(), libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_OMIT)
    }
}

fn set_option(socket: RawFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the kernel reads one int from memory that we own, and keeps no pointer to it.
    let result = unsafe {
        libc::setsockopt(socket, level, option, (&raw const value).cast(), size_of_val(&value) as libc::socklen_t)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::{Duration, Instant};

    use socket2::SockRef;

    use super::*;

    #[test]
    fn accepted_connections_neither_block_nor_wait_with_small_segments() {
        let listener: TcpListener = tcp_listener("127.0.0.1:0".parse().unwrap()).unwrap().into();
        let nothing = accept(&listener).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, peer) = loop {
            match accept(&listener) {
                Ok(accepted) => break accepted,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        };
        assert_eq!(peer, client.local_addr().unwrap());
        let socket = SockRef::from(&stream);
        assert!(socket.tcp_nodelay().unwrap() && socket.nonblocking().unwrap());
        let read = std::io::Read::read(&mut &stream, &mut [0]).unwrap_err();
        assert_eq!(read.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn the_kernel_tells_what_it_has_dropped() {
        let socket: UdpSocket = udp_listener("127.0.0.1:0".parse().unwrap()).unwrap().into();
        SockRef::from(&socket).set_recv_buffer_size(4_096).unwrap();
        assert_eq!(kernel_drops(socket.as_raw_fd()).unwrap(), 0);
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..100 {
            client.send_to(&[0; 100], socket.local_addr().unwrap()).unwrap();
        }
        // The rest comes, or has been dropped: loopback does it while it is sent, or soon.
        let (end, mut came) = (Instant::now() + Duration::from_secs(20), 0);
        while came + kernel_drops(socket.as_raw_fd()).unwrap() < 100 {
            came += u32::from(socket.recv(&mut [0; 128]).is_ok());
            assert!(Instant::now() < end);
        }
        assert!(came < 100, "the buffer is shorter than that");
        assert_eq!(kernel_drops(socket.as_raw_fd()).unwrap(), 100 - came);
    }
}
