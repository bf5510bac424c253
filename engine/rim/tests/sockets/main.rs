//! The cores over real sockets on loopback, through the public interface alone.

mod cache;
mod common;
mod control;
#[path = "../ports/mod.rs"]
mod ports;
mod recording;
mod slots;
mod tcp;
mod transfer;
mod udp;
mod upstream;
mod upstream_tcp;
