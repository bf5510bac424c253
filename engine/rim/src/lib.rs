//! What touches the kernel: executors and their pinning, sockets, timers, messages between threads.
//!
//! A process uses it in this order: [`preflight`](fn@preflight) → [`bind`](fn@bind) → [`drop_privileges`]
//! → [`confine`] → [`Bound::start`] → [`Cores`].
//! Each core is one pinned OS thread with one io_uring executor and one [`Shard`](ringdns_shard::Shard); nothing in a
//! query's path is shared between cores.
//!
//! | module | owns |
//! |---|---|
//! | `limits` | every bound of the rim |
//! | `trouble` | what to tell people when the environment is at fault |
//! | `preflight`, `privileges` | io_uring, resource limits, CPUs; giving up root |
//! | `sandbox` | giving up capabilities and, by Landlock, most of the file system |
//! | `telemetry` | counters of the rim, snapshots of a core |
//! | `runtime`, `clock` | the only users of glommio, and of the clock |
//! | `sockets`, `bind` | making sockets, with their options; the plan of a process |
//! | `datagrams` | batches for `recvmmsg` and `sendmmsg` |
//! | `near` | having memory come into the cache before it is read |
//! | `frames` | messages as they come over a stream |
//! | `engine` | a core: the shard and everything its actions need; never borrowed across an await |
//! | `udp`, `tcp`, `upstream` | the tasks that move bytes between sockets and the core |
//! | `memory` | the allocator of the process, huge pages, giving memory back |
//! | `turns` | short turns for the threads beside the cores |
//! | `thread` | the life of a core's thread |
//! | `cores` | what other threads may ask of the cores |
//!
//! This is the only crate of the workspace with `unsafe`, and in it these modules alone: `datagrams`, `near`, `sockets`,
//! `preflight`, `memory` and `turns`.
#![deny(unsafe_code)]

mod bind;
mod clock;
mod cores;
#[allow(unsafe_code)]
mod datagrams;
mod engine;
mod frames;
mod limits;
#[allow(unsafe_code)]
mod memory;
#[allow(unsafe_code)]
mod near;
#[allow(unsafe_code)]
mod preflight;
mod privileges;
mod runtime;
mod sandbox;
#[allow(unsafe_code)]
mod sockets;
mod tcp;
mod telemetry;
mod thread;
mod trouble;
#[allow(unsafe_code)]
mod turns;
mod udp;
mod upstream;

pub use bind::{Bound, Listen, Plan, bind};
pub use cores::Cores;
pub use engine::{Event, Events};
pub use memory::{Memory, give_back, sparingly};
pub use preflight::{cpus_online, preflight};
pub use privileges::drop_privileges;
pub use sandbox::{Reach, confine};
pub use telemetry::{Portion, RimCounters, Snapshot, Status};
pub use trouble::{Trouble, Unresponsive};
pub use turns::{come_forward, stand_aside, take_short_turns};
