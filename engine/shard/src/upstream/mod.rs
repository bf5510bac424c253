//! Which servers are asked for which names, in what order, and what one core knows of them.
//!
//! Owns the pools and routes of the configuration ([`Pool`], [`Routes`]), the strategies, and in [`Servers`] what
//! the core has learnt: who answers and how fast, who fails and when to look again, what a server's wire looks like. It
//! asks nobody itself: whoever does tells it what came of it, and asks its probes.
//!
//! | file | owns |
//! |---|---|
//! | `routes` | suffix to target |
//! | `order` | the strategies: in which order the servers of a pool are asked |
//! | `health` | round trips (RFC 6298), silence, loss; who fails, and when it is up again |
//! | `habits` | EDNS, case (0x20), cookies (RFC 7873) of a server |
//! | `probes` | what servers that fail are asked |
//! | `servers` | all of these together: [`Servers`] |

mod habits;
mod health;
mod order;
mod probes;
mod routes;
mod servers;

use std::net::SocketAddr;
use std::time::Duration;

use smallvec::SmallVec;

pub use habits::{CookieOption, Habits};
pub use probes::Probe;
pub use routes::{Routes, Target};
pub use servers::{ServerState, Servers};

use crate::wire::message::flags;

/// What an upstream is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It resolves: asked with RD set.
    Resolver,
    /// It is authoritative and we are its public face: asked with RD clear, AA kept.
    Authoritative,
}

/// In which order the servers of a pool are asked. Whatever it is, those that are down come last, and before them those
/// that are lossy ([`Standing`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// A zone's names keep to one server; while that is down, they are spread over the others.
    Uniform,
    /// The first server; the others stand by in the order given.
    Fallback,
    /// Of two servers drawn by chance the one with less to do, as far as questions in flight and round trips tell.
    Minload,
    /// Several servers at once; the first good answer counts.
    Parallel,
    /// By chance, each server as often as its weight says.
    Balanced,
}

/// How a server is asked first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// Datagrams, and TCP where the reply is truncated.
    Udp,
    /// TCP always.
    Tcp,
}

/// Where a server is, and how it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Server {
    /// How it is asked.
    pub protocol: Protocol,
    /// Where it is asked.
    pub address: SocketAddr,
}

/// A server of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The server.
    pub server: Server,
    /// Its share under [`Strategy::Balanced`], at least 1.
    pub weight: u16,
}

impl Kind {
    /// The flag of replies that says whether recursion is available.
    pub(crate) fn recursion(self) -> u16 {
        match self {
            Kind::Resolver => flags::RA,
            Kind::Authoritative => 0,
        }
    }
}

impl From<Server> for Member {
    /// A member of weight 1.
    fn from(server: Server) -> Member {
        Member { server, weight: 1 }
    }
}

/// One `[[upstream]]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its name in the configuration.
    pub name: String,
    /// The servers; none while their names are not resolved. Beyond
    /// [`POOL_SERVERS_MAX`](crate::limits::POOL_SERVERS_MAX) none is asked.
    pub servers: Vec<Member>,
    /// What they are to us.
    pub kind: Kind,
    /// In which order they are asked.
    pub strategy: Strategy,
    /// The longest a client waits.
    pub timeout: Duration,
    /// The servers as the configuration has them: where it has names, `servers` changes with their addresses, and this
    /// does not.
    pub spec: Box<str>,
}

impl Pool {
    /// Whether its answers are those of `other`.
    pub(crate) fn is_source_of_the_same(&self, other: &Pool) -> bool {
        self.kind == other.kind && self.spec == other.spec && (!self.spec.is_empty() || self.servers == other.servers)
    }
}

/// Whether a server answers, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It does, or nothing else is known.
    Up,
    /// It leaves most of what it is asked unanswered.
    Lossy,
    /// It has not answered at all for a while.
    Down,
}

/// The number of a server in [`Servers`]: the same for as long as the server is configured. A number whose server has
/// gone means nobody: what is told under it has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServerNumber {
    slot: u32,
    generation: u32,
}

/// A server to ask, out of one of the pools of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Under which number [`Servers`] hears of it.
    pub number: ServerNumber,
    /// The server.
    pub server: Server,
    /// What it is to us.
    pub kind: Kind,
}

/// Whom to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The servers in the order in which they are asked, each once, at most
    /// [`ATTEMPTS_MAX`](crate::limits::ATTEMPTS_MAX): first those that are up, pool by pool, then those that
    /// are lossy, then those that are down. None when all pools of the route are empty.
    pub candidates: SmallVec<[Candidate; 4]>,
    /// So many of them, the first ones, are asked together; at least 1.
    pub at_once: u8,
    /// Every server of the route is known to be down, or there is none.
    pub all_down: bool,
}

#[cfg(test)]
mod tests;
