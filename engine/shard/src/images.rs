//! What the control plane builds off the cores and a core only reads: settings, routes, zones, upstreams.
//!
//! An [`Images`] is immutable. A change is a new one, swapped in between two batches with
//! [`Shard::on_images`](crate::Shard::on_images).

use std::sync::Arc;
use std::time::Duration;

use crate::guard::Acl;
use crate::upstream::{Pool, Routes};
use crate::wire::name::HashKey;
use crate::zone;

/// Everything a core reads and never writes.
#[derive(Debug)]
pub struct Images {
    /// The key under which every name of this process is hashed; the same in every image of a process.
    pub hash_key: HashKey,
    /// Per listener, in the order of [`Client::listener`](crate::Client::listener).
    pub listeners: Vec<Listener>,
    /// Answer to NSID and to `id.server CH TXT`; empty: neither is answered.
    pub identity: Box<[u8]>,
    /// Answer to `version.bind` and `version.server CH TXT`; empty: refused.
    pub version: Box<[u8]>,
    /// Suffix to target.
    pub routes: Routes,
    /// The zones, by the index that routes name.
    pub zones: Vec<Arc<zone::Image>>,
    /// The upstream pools, by the index that routes name.
    pub pools: Vec<Arc<Pool>>,
    /// What the cache keeps and for how long.
    pub cache: CacheSettings,
    /// Bounds of a core.
    pub bounds: Bounds,
}

/// Settings of one `[[listen]]` table that the shard must know.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Who may ask; everybody else gets REFUSED.
    pub allow: Acl,
}

/// Settings of the cache, for one core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// Octets this core's share may use.
    pub octets: usize,
    /// Shortest time an answer is kept.
    pub min_ttl: Duration,
    /// Longest time an answer is kept.
    pub max_ttl: Duration,
    /// Longest time a negative answer is kept.
    pub negative_max_ttl: Duration,
}

/// Bounds of one core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Questions in flight towards upstreams.
    pub resolves: usize,
    /// Clients that wait for one question.
    pub waiters: usize,
    /// Time-out of idle TCP connections, told to clients that ask (RFC 7828).
    pub tcp_idle: Duration,
    /// UDP sockets towards upstreams, for each address family.
    pub udp_ports: u8,
}
