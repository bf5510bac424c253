//! The control plane of ringdns: what runs beside the cores and never in a query's path.
//!
//! It reads the configuration and the zones, builds what the cores read, replaces it while they serve, and tells people
//! and machines how the process does. It reaches the cores through [`Cores`] alone.
//!
//! | module | owns |
//! |---|---|
//! | `api` | what programs and `ringdns ctl` may ask and change |
//! | [`calendar`] | dates |
//! | [`catalog`] | catalog zones: read, compared with what is served, made |
//! | [`config`] | the configuration file: every setting, declared once |
//! | `confined` | what of the file system is needed |
//! | `layout` | which core reads which copy of a zone |
//! | `load` | files of zones into images |
//! | `images` | settings and zones into what a core reads |
//! | `plane` | what is in force |
//! | `orders` | what the interface asks of the process |
//! | `cores` | what is asked of the cores |
//! | `upstreams` | the addresses of upstream servers that have names |
//! | `dump` | the cache over a restart |
//! | `status`, `metrics`, `http`, `socket` | what is told to others: zones, figures, pages; where they ask |
//! | `recording` | what the cores record of queries, on its way |
//! | `query_log` | the query log in its data base |
//! | `dnstap` | messages for readers of dnstap |
//! | `logs` | what the process says of itself |
//! | `zones` | the life of every zone: transfers, refresh, notices, catalogs, what is kept on disk |
//! | `ending` | the end of the process, within a bound |
//! | `server` | the life of the process: signals, reloads, systemd |
#![forbid(unsafe_code)]

mod api;
pub mod calendar;
pub mod catalog;
pub mod config;
mod configuration;
mod confined;
mod cores;
mod dnstap;
mod dump;
mod ending;
mod http;
mod images;
mod layout;
mod load;
mod logs;
mod metrics;
mod orders;
mod plane;
mod query_log;
mod recording;
mod server;
mod socket;
mod status;
mod upstreams;
mod zones;

pub use confined::Reach;
pub use cores::{CoreStatus, Cores, Figure, NotTaken, Portion, Snapshot};
pub use http::Doors;
pub use load::{Served, ZoneFaults};
pub use logs::start as start_logs;
pub use plane::{NotLoaded, Plane, random};
pub use recording::{Recorder, Recordings, recordings};
pub use server::{Ended, Process};
pub use socket::ControlSocket;
pub use zones::{Notices, Notifier, notices};
