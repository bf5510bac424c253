//! What one ringdns core knows and decides.
//!
//! Bytes, time and seeds come in as arguments; bytes and actions go out. There is no I/O, no clock and no
//! randomness of its own in this crate, so that scenarios, simulation and fuzzing drive the code that ships.
//!
//! The modules, lowest first; a module imports only those above it, and the *parts* never import each other:
//!
//! | module | owns |
//! |---|---|
//! | [`limits`] | every maximum |
//! | [`time`] | the virtual time that callers pass in |
//! | [`transport`] | how requests come in |
//! | [`wire`] | messages: parsed in place, written in place |
//! | [`tsig`] | messages signed and signatures verified |
//! | [`telemetry`] | counters and histograms of a core, its query log, its messages for dnstap |
//! | *parts:* [`cache`], [`zone`], [`guard`], [`upstream`] | answers kept; zone images; who may ask, and how often; servers to ask |
//! | [`transfer`] | zone transfers and notices of change, octets in and octets out |
//! | [`images`] | what the control plane builds and a core only reads |
//! | [`resolve`] | questions in flight: ask, retry, coalesce |
//! | [`answer`] | [`Shard`]: the one door, and the only place that knows the order of the steps |
#![forbid(unsafe_code)]

pub mod answer;
pub mod cache;
pub mod guard;
pub mod images;
pub mod limits;
pub mod resolve;
pub mod telemetry;
pub mod time;
pub mod transfer;
pub mod transport;
pub mod tsig;
pub mod upstream;
pub mod wire;
pub mod zone;

pub use answer::{Action, Client, Outcome, Shard, TransferMessage};
pub use images::Images;
pub use time::Time;
pub use transport::Transport;
