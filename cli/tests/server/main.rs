//! The built binary over real sockets on loopback: answers, bad input, forwarding, reloads, load, and what is shipped
//! around it.

mod answers;
mod api;
mod bad_input;
mod common;
mod connections;
mod ctl;
mod defaults;
mod drain;
mod edge;
mod faults;
mod forwarding;
mod guard;
mod load;
mod loading;
mod logs;
mod metrics;
mod names;
#[path = "../../../engine/rim/tests/ports/mod.rs"]
mod ports;
mod process;
mod query_log;
mod reload;
mod restart;
mod sandbox;
mod shipped;
mod signed;
mod tapped;
mod top;
mod transfers;
