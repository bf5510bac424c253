//! The control plane of ringdns: what runs beside the cores and never in a query's path.
//!
//! It reads the configuration and the zones, builds what the cores read, replaces it while they serve, and tells people
//! and machines how the process does. It reaches the cores through [`Cores`] alone.
//!
//! | module | owns |
//! |---|---|
//! | `api` | what programs and `ringdns ctl` may ask and change |
//! | [`catalog`] | catalog zones: read, compared with what is served, made |
//! | [`config`] | the configuration file: every setting, declared once |
//! | `layout` | which core reads which copy of a zone |
//! | `load` | files of zones into images |
//! | `images` | settings and zones into what a core reads |
//! | `plane` | what is in force |
//! | `cores` | what is asked of the cores |
//! | `upstreams` | the addresses of upstream servers that have names |
//! | `dump` | the cache over a restart |
//! | `status`, `metrics`, `http`, `socket` | what is told to others: zones, figures, pages; where they ask |
//! | `logs` | what the process says of itself |
//! | `zones` | the life of every zone: transfers, refresh, notices, catalogs, what is kept on disk |
//! | `server` | the life of the process: signals, reloads, systemd |
#![forbid(unsafe_code)]

mod api;
pub mod catalog;
pub mod config;
mod cores;
mod dump;
mod http;
mod images;
mod layout;
mod load;
mod logs;
mod metrics;
mod plane;
mod server;
mod socket;
mod status;
mod upstreams;
mod zones;

pub use cores::{CoreStatus, Cores, Figure, NotTaken, Portion, Snapshot};
pub use http::Doors;
pub use load::{Served, ZoneFaults};
pub use logs::start as start_logs;
pub use plane::{NotLoaded, Plane, random};
pub use server::{Ended, Process};
pub use socket::ControlSocket;
pub use zones::{Notices, Notifier, notices};
