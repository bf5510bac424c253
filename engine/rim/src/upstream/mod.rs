//! Traffic towards upstreams: a fixed set of UDP sockets, and connections over TCP that many questions share.
//!
//! | module | owns |
//! |---|---|
//! | `udp` | the sockets for datagrams |
//! | `stream` | a connection as a stream of octets: the one place that knows what carries it |
//! | `exchanges` | which question goes over which connection, and what happens to it when that one breaks |
//! | `tcp` | the tasks that move the octets |

mod exchanges;
mod stream;
mod tcp;
mod udp;

pub(crate) use exchanges::Exchanges;
pub(crate) use udp::{Sockets, listen};
