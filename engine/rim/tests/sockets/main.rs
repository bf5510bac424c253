//! The cores over real sockets on loopback, through the public interface alone.

mod common;
mod control;
mod tcp;
mod udp;
mod upstream;
