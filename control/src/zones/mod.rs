//! The life of every zone of a running server: read from a file, transferred from primaries, listed by a catalog or
//! made as one; kept on disk, refreshed, expired, told to others.
//!
//! [`Life`] owns all of it and runs on the control plane's thread. What takes long is done by [`Workers`] at the lowest
//! priority, what waits for other servers by tasks; both hand back values, which `Life` puts in force. Changes reach the
//! cores coalesced: one swap at a time, and the next one takes along whatever has changed meanwhile.
//!
//! | module | owns |
//! |---|---|
//! | `wanted` | what settings and catalogs want of each zone |
//! | `store` | the zones, and what is served of each |
//! | `life` | the order of events: timers, transfers, swaps, reloads, notices |
//! | `secondary` | when primaries are asked, when a zone expires: pure |
//! | `exchange` | the questions and transfers themselves |
//! | `slots` | how many of them there are at once |
//! | `telling`, `notify` | who is still to be told of a change: pure; the telling itself |
//! | `succession` | one version after another; catalogs made here |
//! | `keeping`, `journal_file`, `text`, `disk` | what is on disk |
//! | `owners` | whose a member is that several catalogs list |
//! | `graveyard` | what may still be read by a core |
//! | `watch`, `watcher` | master files that change by themselves: pure; what the kernel tells of them |
//! | `workers` | threads at the lowest priority |

mod disk;
mod exchange;
mod graveyard;
mod journal_file;
mod keeping;
mod life;
mod notices;
mod notify;
mod owners;
mod secondary;
mod slots;
mod store;
mod succession;
mod telling;
mod text;
mod wanted;
mod watch;
mod watcher;
mod workers;

pub use notices::{Notices, Notifier, notices};

pub(crate) use disk::{Folder, Listing, remove, replace_as};
pub(crate) use exchange::udp_socket;
pub(crate) use keeping::{Keeping, journal_for};
pub(crate) use life::{Begun, Figures, Life, Report};
pub(crate) use owners::Owners;
pub(crate) use store::{Gone, Place, Store, Zone, begins_anew};
pub(crate) use succession::{Making, Scene};
pub(crate) use text::is_whole;
pub(crate) use wanted::{Source, Wanted};
pub(crate) use workers::{Party, stand_back};
