//! What the fuzz targets share.
//!
//! | module | owns |
//! |---|---|
//! | [`reply`] | what every reply of the engine must be, whatever was asked |
//! | [`world`] | the images that `on_query` is fuzzed with |
//! | `recorded` | what a shard must record of a run, and what it shows of its cache |
//! | [`records`] | records of zones made from arbitrary octets |
//! | [`request`] | queries made from arbitrary octets |
//! | [`response`] | upstreams' messages made from arbitrary octets |
//! | [`manner`] | upstreams' messages as they should be |
//! | [`script`] | a run of a shard: clients, upstreams and clock, and what must hold after each step |

pub mod manner;
mod recorded;
pub mod records;
pub mod reply;
pub mod request;
pub mod response;
pub mod script;
pub mod world;
