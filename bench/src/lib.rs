//! What ringdns costs: an engine with a zone and a warm cache, and questions for it, in process and without sockets; how
//! often its cache has what is asked for, beside other policies; a client that measures servers from outside; and ringdns
//! beside its peers, server by server (`versus`).

pub mod budget;
pub mod callgrind;
pub mod client;
pub mod growth;
pub mod hit_rate;
pub mod load;
pub mod misses;
pub mod versus;
