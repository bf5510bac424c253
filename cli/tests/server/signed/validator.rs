//! Unbound as a validator of what a server answers.

use std::net::SocketAddr;

use super::zone::Zone;
use crate::common::unbound::Unbound;

/// Unbound with the keys of zones as its trust anchors, asking `server` alone. `None`, and a word about it, where it is not
/// installed.
pub(super) fn validator(server: SocketAddr, zones: &[Zone]) -> Option<Unbound> {
    let mut options = " do-not-query-localhost: no\n local-zone: \"test.\" nodefault\n qname-minimisation: no\n \
                       aggressive-nsec: no\n module-config: \"validator iterator\"\n trust-anchor-file: \"anchors\"\n \
                       val-log-level: 2\n"
        .to_owned();
    for zone in zones {
        let (name, ip, port) = (&zone.apex, server.ip(), server.port());
        options += &format!("stub-zone:\n name: {name}\n stub-addr: {ip}@{port}\n stub-prime: no\n");
    }
    // Keys of the zones that lie below others are reached through DS records.
    let anchors: String =
        zones.iter().filter(|zone| !zone.apex.starts_with("held.")).map(|zone| format!("{}\n", zone.anchor)).collect();
    Unbound::configured(&options, &zones[0].apex, &[("anchors", &anchors)])
}
