//! Transfers, NOTIFY and TSIG at the door of the engine: who may, what is answered, what is counted and recorded.

mod limits;
mod notify;
mod recorded;
mod signatures;
mod transfers;
mod world;
