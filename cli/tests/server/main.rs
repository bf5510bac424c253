//! The built binary over real sockets on loopback: answers, bad input, forwarding, reloads, load, and what is shipped
//! around it.

mod answers;
mod bad_input;
mod common;
mod connections;
mod ctl;
mod defaults;
mod edge;
mod forwarding;
mod guard;
mod load;
mod names;
#[path = "../../../engine/rim/tests/ports/mod.rs"]
mod ports;
mod process;
mod reload;
mod restart;
mod shipped;
mod signed;
mod transfers;
