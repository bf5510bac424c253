//! What ringdns costs: an engine with a zone and a warm cache, and questions for it, in process and without sockets; and
//! a client that measures servers from outside.

pub mod client;
pub mod load;
