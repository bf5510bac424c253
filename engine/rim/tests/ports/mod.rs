//! Ports of loopback for what is bound later, by a server under test or by one of another make.
//!
//! The kernel gives a port that it has chosen to the next socket as soon as it is let go of, so that between looking for
//! one and its use any connection that a test opens beside may get it. Ports from here lie outside the range that
//! the kernel chooses from, and are claimed for as long as the process lives: neither the kernel nor another process that
//! takes its ports from here gives them to anybody.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::ops::RangeInclusive;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram};
use std::process;
use std::sync::{Mutex, PoisonError};

/// Lower ones are those that servers on this machine are likely to be started on.
const PORT_MIN: u16 = 10_000;

/// Ports that a process tries before it comes to those with which one started after it begins.
const STRIDE: usize = 97;

/// What is given out so far: how many ports were looked at, and the claims on those given.
static GIVEN: Mutex<(usize, Vec<UnixDatagram>)> = Mutex::new((0, Vec::new()));

/// A port of 127.0.0.1 on which nobody listens, with UDP or TCP, on any address of the machine; each call gives another.
pub(crate) fn free_port() -> SocketAddr {
    let chosen_by_kernel = chosen_by_kernel();
    let outside: Vec<u16> = (PORT_MIN..=u16::MAX).filter(|port| !chosen_by_kernel.contains(port)).collect();
    assert!(!outside.is_empty(), "the kernel chooses from all ports: narrow net.ipv4.ip_local_port_range");
    let begin = process::id() as usize * STRIDE;
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..outside.len() {
        let port = outside[(begin + given.0) % outside.len()];
        given.0 += 1;
        if let Some(claim) = claim(port)
            && is_free(port)
        {
            given.1.push(claim);
            return (Ipv4Addr::LOCALHOST, port).into();
        }
    }
    panic!("all {} ports outside the kernel's range are taken", outside.len());
}

/// The ports that sockets get who ask for none.
fn chosen_by_kernel() -> RangeInclusive<u16> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").expect("the kernel tells its range");
    let mut ends = text.split_whitespace().map(|end| end.parse().expect("a port"));
    let mut end = || ends.next().expect("the first and the last port");
    end()..=end()
}

/// A name that one process at a time may have, in the same network namespace as the port.
fn claim(port: u16) -> Option<UnixDatagram> {
    let name = UnixAddress::from_abstract_name(format!("ringdns-test-port-{port}")).expect("a short name");
    UnixDatagram::bind_addr(&name).ok()
}

fn is_free(port: u16) -> bool {
    let v4 = (Ipv4Addr::UNSPECIFIED, port);
    let v6 = (Ipv6Addr::UNSPECIFIED, port);
    let has_v6 = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok();
    // One after the other: a socket for IPv6 takes IPv4 along.
    UdpSocket::bind(v4).is_ok()
        && TcpListener::bind(v4).is_ok()
        && (!has_v6 || UdpSocket::bind(v6).is_ok() && TcpListener::bind(v6).is_ok())
}
