//! Zone transfers and notices of change: AXFR (RFC 5936), IXFR (RFC 1995), NOTIFY (RFC 1996), signed with TSIG where a
//! key is given (RFC 8945).
//!
//! | module | owns |
//! |---|---|
//! | [`outgoing`] | the answer to a transfer request, message by message |
//! | [`incoming`] | the request for a transfer, and the reader of what comes back |
//! | [`refresh`] | the question for a primary's SOA, and the reader of its answer |
//! | [`notify`] | NOTIFY: sent and its reply read, received and its reply written |
//!
//! Octets in, octets out: connections, clocks, ids and retries are the caller's. Messages come and go without the two
//! octets of length that TCP puts before them.

mod exchange;
pub mod incoming;
mod names;
pub mod notify;
pub mod outgoing;
pub mod refresh;

pub use exchange::Fault;
pub use incoming::{Ask, Bounds, Incoming, Progress, Received};
pub use notify::Notice;
pub use outgoing::{Asked, Content, Outgoing};
pub use refresh::SoaQuery;
