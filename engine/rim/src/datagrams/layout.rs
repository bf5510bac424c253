//! Memory as the kernel reads and writes it: headers of messages, and the slabs that they point into.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::ops::{Deref, DerefMut};
use std::os::fd::RawFd;
use std::ptr;

use crate::limits::BATCH_DATAGRAMS;

/// What every kind of batch is made of.
pub(super) struct Parts {
    pub(super) buffers: Slab<u8>,
    pub(super) addresses: Slab<Address>,
    pub(super) slices: Slab<libc::iovec>,
    pub(super) headers: Box<[libc::mmsghdr]>,
}

impl Parts {
    /// Each header points to its address and its slice, which points to `octets` of the buffers; none has control data.
    pub(super) fn new(octets: usize) -> Parts {
        let buffers = Slab::new(0u8, BATCH_DATAGRAMS * octets);
        // SAFETY: both kinds of address are plain numbers, for which all zero is a value.
        let addresses = Slab::new(unsafe { zeroed::<Address>() }, BATCH_DATAGRAMS);
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
                header
            })
            .collect();
        Parts { buffers, addresses, slices, headers }
    }
}

/// Sends some of the messages, without blocking; returns how many the kernel has taken, from the first on, at least one.
/// An error is about the first alone.
///
/// # Safety
///
/// Every header points to an address, one slice of octets, and control data or none, that live through the call, with the
/// lengths it says.
pub(super) unsafe fn send(socket: RawFd, headers: &mut [libc::mmsghdr]) -> io::Result<usize> {
    assert!(!headers.is_empty());
    if let [header] = headers
        && header.msg_hdr.msg_control.is_null()
    {
        // One alone: measured on loopback, a twelfth less CPU time than the same by `sendmmsg`.
        let header = &header.msg_hdr;
        // SAFETY: address and octets are there, with their lengths, as the caller says; the kernel only reads them.
        let sent = unsafe {
            let octets = &*header.msg_iov;
            let flags = libc::MSG_DONTWAIT as _;
            libc::sendto(socket, octets.iov_base, octets.iov_len, flags, header.msg_name.cast(), header.msg_namelen)
        };
        return if sent >= 0 { Ok(1) } else { Err(io::Error::last_os_error()) };
    }
    // SAFETY: the headers are as many as said, and what they point to is there as the caller says; the kernel only reads
    // it, and keeps no pointer.
    let sent =
        unsafe { libc::sendmmsg(socket, headers.as_mut_ptr(), headers.len() as libc::c_uint, libc::MSG_DONTWAIT as _) };
    if sent > 0 { Ok(sent as usize) } else { Err(io::Error::last_os_error()) }
}

/// Items that raw pointers may point to as well: a boxed slice would claim to be the only way to its items. Owned, and
/// freed, by this.
pub(super) struct Slab<T: Copy>(ptr::NonNull<[T]>);

impl<T: Copy> Slab<T> {
    pub(super) fn new(item: T, count: usize) -> Slab<T> {
        Slab(ptr::NonNull::from(Box::leak(vec![item; count].into_boxed_slice())))
    }

    /// A pointer for the kernel to the item at `place`.
    pub(super) fn at(&self, place: usize) -> *mut T {
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

/// A socket address as the kernel writes it. Both kinds begin with the family and the port.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) union Address {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl Address {
    /// The address in the kernel's form, of which the first [`Address::length`] octets count.
    #[inline]
    pub(super) fn encode(address: SocketAddr) -> Address {
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

    /// The octets of an address in the kernel's form.
    #[inline]
    pub(super) fn length(address: SocketAddr) -> usize {
        if address.is_ipv4() { size_of::<libc::sockaddr_in>() } else { size_of::<libc::sockaddr_in6>() }
    }

    /// The address in the first `length` octets; `None` for what is no address of the Internet.
    #[inline(always)]
    pub(super) fn decode(&self, length: usize) -> Option<SocketAddr> {
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

/// Room for the packet information of either family, aligned as `cmsghdr` wants it.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(super) struct Control(pub(super) [u8; CONTROL_OCTETS]);

pub(super) const CONTROL_OCTETS: usize = 64;

// SAFETY: CMSG_SPACE only computes with its argument.
const _: () = assert!(unsafe { libc::CMSG_SPACE(size_of::<libc::in6_pktinfo>() as u32) } as usize <= CONTROL_OCTETS);

/// The address of ours that a datagram was sent to, by its packet information.
///
/// # Safety
///
/// `msg_control` of the header points to a control block, of which the kernel has filled the first `msg_controllen` octets
/// with whole control messages.
pub(super) unsafe fn read_local(header: &libc::msghdr) -> Option<IpAddr> {
    assert!(header.msg_controllen <= CONTROL_OCTETS as _);
    // SAFETY: the walk stays inside of what the kernel has filled, and each payload is read, as plain octets of any
    // alignment, only where its length is that of the type read.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while !message.is_null() {
            let payload = libc::CMSG_DATA(message);
            let length = (*message).cmsg_len as usize;
            match ((*message).cmsg_level, (*message).cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) if length >= control_length::<libc::in_pktinfo>() => {
                    let info = payload.cast::<libc::in_pktinfo>().read_unaligned();
                    return Some(IpAddr::V4(Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr))));
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) if length >= control_length::<libc::in6_pktinfo>() => {
                    let info = payload.cast::<libc::in6_pktinfo>().read_unaligned();
                    return Some(IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr)));
                }
                _ => message = libc::CMSG_NXTHDR(header, message),
            }
        }
    }
    None
}

/// Writes the source address as packet information; returns the octets of control data.
pub(super) fn write_source(control: &mut Control, local: Option<IpAddr>) -> usize {
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
    use super::*;

    #[test]
    fn addresses_survive_the_kernel_form() {
        for text in ["192.0.2.1:53", "[2001:db8::1]:5353", "[fe80::1%7]:9"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(Address::encode(address).decode(Address::length(address)), Some(address));
            assert_eq!(Address::encode(address).decode(8), None, "cut short");
        }
    }
}
