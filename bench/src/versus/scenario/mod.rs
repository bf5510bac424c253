//! What is measured: one module a kind of measurement.

mod flood;
mod latency;
mod load;
mod memory;
mod miss;
mod scaling;
mod tcp;

use std::io;

use super::report::Report;
use super::session::Session;
use super::{Scenario, servers::Server};

/// Servers with zones, and the least that anybody pays.
const AUTHORITATIVE: [Server; 3] = [Server::Ringdns, Server::Nsd, Server::Knot];
/// Servers with caches.
const CACHES: [Server; 5] = [Server::Ringdns, Server::Unbound, Server::Dnsdist, Server::Recursor, Server::Dnsmasq];

/// Measures one scenario.
///
/// # Errors
/// When a signal has asked for the end, or data cannot be written.
pub fn measure(scenario: Scenario, session: &mut Session) -> io::Result<Report> {
    let mut report = match scenario {
        Scenario::Auth => flood::auth(session),
        Scenario::Cache => flood::cache(session),
        Scenario::Floor => flood::floor(session),
        Scenario::Python => flood::python(session),
        Scenario::Miss => miss::measure(session),
        Scenario::Tcp => tcp::measure(session),
        Scenario::Load => load::measure(session),
        Scenario::Latency => latency::measure(session),
        Scenario::Scaling => scaling::measure(session),
        Scenario::Memory => memory::measure(session),
    }?;
    (report.notes, report.commands) = session.take_notes();
    Ok(report)
}
