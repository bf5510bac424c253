//! Batches of datagrams: what one `recvmmsg` brings and what one `sendmmsg` takes, in memory that is laid out once.
//!
//! A batch owns its buffers, addresses and control data in slabs that never move, and the headers that point into them;
//! the kernel reads and writes them during a call and keeps nothing afterwards. Control data carry the address that was
//! asked (IP_PKTINFO, RFC 3542 §6.1 for IPv6), where a socket has several; elsewhere there are none, so that the kernel does
//! for a datagram what it does for that of an echo, and nothing else.
//!
//! | module | owns |
//! |---|---|
//! | `layout` | memory as the kernel reads and writes it |
//! | `received` | what has come |
//! | `outgoing` | replies to the clients of a socket |
//! | `queries` | queries to upstreams, over many sockets |

mod layout;
mod outgoing;
mod queries;
mod received;

pub(crate) use outgoing::{Outgoing, Sent};
pub(crate) use queries::{Port, Queries};
pub(crate) use received::{Datagram, Received, Unusable};

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use crate::sockets;

    pub(super) const PATIENCE: Duration = Duration::from_secs(20);

    pub(super) fn listener(address: &str) -> UdpSocket {
        sockets::udp_listener(address.parse().unwrap()).unwrap().into()
    }
}
