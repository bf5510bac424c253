//! The cores over real sockets on loopback, through the public interface alone.

mod common;
mod control;
mod tcp;
mod transfer;
mod udp;
mod upstream;
