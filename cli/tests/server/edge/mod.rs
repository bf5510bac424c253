//! The edge cache as a site sees it: the binary in front of origins and of resolvers, real ones and scripted ones.

mod bounds;
mod misbehaviour;
mod origins;
mod outage;
mod resolver;
mod strategies;

use std::net::SocketAddr;
use std::time::Duration;

use crate::common::dns::{NOERROR, Reply, Via, ask, query};
use crate::common::peer::{Kind, Peer, PeerZone};
use crate::common::server::LISTEN;
use crate::common::wait_until;

/// The zone of the origins.
const ZONE: &str = "origin.test";

/// What is added to a bound on time, for a machine that is busy with other things.
const SLACK: Duration = Duration::from_secs(10);

/// Keys of a pool in front of which this server is the origin's public face.
const ORIGIN: &str = "kind = \"authoritative\"\ntimeout = \"30s\"\n";

/// Keys of a pool of resolvers, of which the first is asked first, with a time-out that no test runs into.
const IN_ORDER: &str = "strategy = \"fallback\"\ntimeout = \"30s\"\n";

/// The head of a configuration: one core, so that there is one cache to look into.
fn head() -> String {
    format!("[server]\ncores = 1\n{LISTEN}")
}

/// A pool of these servers, asked over UDP first, with further keys.
fn pool(name: &str, servers: &[SocketAddr], keys: &str) -> String {
    let servers: Vec<String> = servers.iter().map(|server| format!("\"udp://{server}\"")).collect();
    format!("[[upstream]]\nname = \"{name}\"\nservers = [{}]\n{keys}", servers.join(", "))
}

/// Names at and below `suffix` go to these pools.
fn route(suffix: &str, pools: &[&str]) -> String {
    format!("[[route]]\nsuffix = \"{suffix}\"\nto = {pools:?}\n")
}

/// Names at and below `suffix` go to these servers.
fn configuration(suffix: &str, servers: &[SocketAddr], keys: &str) -> String {
    head() + &pool("up", servers, keys) + &route(suffix, &["up"])
}

/// An origin that serves the zone. `None`, and a word about it, where that kind of server is not installed.
fn origin(kind: Kind, text: &str) -> Option<Peer> {
    let peer = Peer::start(kind, None, &[PeerZone::primary(ZONE, text, None)])?;
    serves(&peer);
    Some(peer)
}

/// Waits until an origin that was started serves the zone.
fn serves(peer: &Peer) {
    wait_until("the zone", || ask(peer.address, Via::Tcp, &query(ZONE, "SOA")).rcode() == NOERROR);
}

/// The last octet of the one address in an answer, by which servers are told apart.
#[track_caller]
fn last_octet(reply: &Reply) -> u8 {
    let answer = reply.answer();
    let last = |record: &String| record.rsplit_once(" IN A 192.0.2.").and_then(|(_, last)| last.parse().ok());
    match &answer[..] {
        [record] => last(record).unwrap_or_else(|| panic!("not an address of ours: {record}")),
        _ => panic!("rcode {}, EDE {:?}, not one address: {answer:?}", reply.rcode(), reply.ede()),
    }
}
