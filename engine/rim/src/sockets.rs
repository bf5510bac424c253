//! Making sockets, with the options that each kind needs.

use std::io;
use std::mem::size_of_val;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};

use socket2::{Domain, Protocol, Socket, Type};

use crate::limits::{TCP_BACKLOG, UDP_RECEIVE_BUFFER_OCTETS};

/// A socket of one core for the datagrams of clients. `address` may have port 0.
pub(crate) fn udp_listener(address: SocketAddr) -> io::Result<Socket> {
    let socket = socket(address, Type::DGRAM)?;
    // A port that the kernel is to choose must be nobody's: to a socket that shares, it gives one that others share too.
    socket.set_reuse_port(address.port() != 0)?;
    datagram_options(&socket, address)?;
    if address.ip().is_unspecified() {
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

/// A socket of one core for the connections of clients, listening.
pub(crate) fn tcp_listener(address: SocketAddr) -> io::Result<Socket> {
    let socket = socket(address, Type::STREAM)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(TCP_BACKLOG)?;
    Ok(socket)
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
    // The kernel tells with each datagram how many it has dropped before.
    set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)?;
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
