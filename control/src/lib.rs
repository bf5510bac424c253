//! The control plane of ringdns: what runs beside the cores and never in a query's path.
//!
//! It reads the configuration and the zones, builds what the cores read, replaces it while they serve, and tells people
//! and machines how the process does. It reaches the cores through [`Cores`] alone.
//!
//! | module | owns |
//! |---|---|
//! | [`config`] | the configuration file: every setting, declared once |
//! | `layout` | which core reads which copy of a zone |
//! | `load` | zone files into images |
//! | `images` | settings and zones into what a core reads |
//! | `plane` | what is in force, and reloads |
//! | `cores` | what is asked of the cores |
//! | `status`, `metrics`, `http` | what is told to others: zones, figures, pages |
//! | `logs` | what the process says of itself |
//! | `server` | the life of the process: signals, reloads, systemd |
#![forbid(unsafe_code)]

pub mod config;
mod cores;
mod http;
mod images;
mod layout;
mod load;
mod logs;
mod metrics;
mod plane;
mod server;
mod status;

pub use cores::{Cores, Figure, Snapshot};
pub use load::{Served, ZoneFaults};
pub use logs::start as start_logs;
pub use plane::{Plane, random};
pub use server::{Ended, Process};
