//! Transfers, NOTIFY and TSIG at the door of the engine: who may, what is answered, what is counted.

mod limits;
mod notify;
mod signatures;
mod transfers;
mod world;
