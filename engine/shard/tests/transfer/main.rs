//! Zone transfers, SOA questions and notices, both sides of each: what one writes the other reads, and what is bent on the
//! way is told.

mod common;
mod faults;
mod notices;
mod outgoing;
mod roundtrip;
