//! ringdns as the secondary of others.

use std::net::SocketAddr;

use super::{ZONE, alike, changes, has, key_table, serial, zone};
use crate::common::dns::SERVFAIL;
use crate::common::peer::{KEY, KINDS, Key, Kind, Peer, PeerZone};
use crate::common::server::Server;
use crate::common::{free_port, wait_until};

fn configuration(listen: SocketAddr, primaries: &[SocketAddr], key: Key) -> String {
    let primaries: Vec<String> = primaries.iter().map(|primary| format!("\"{primary} key=transfer.\"")).collect();
    format!(
        "[[listen]]\naddress = \"{listen}\"\n{}[[zone]]\nname = \"{ZONE}\"\nprimaries = [{}]\n\
         allow_transfer = [\"key=transfer.\"]\n",
        key_table(key),
        primaries.join(", ")
    )
}

fn follows(kind: Kind) {
    let (listen, address) = (free_port(), free_port());
    let zones = [PeerZone::primary(ZONE, &zone(1), Some(listen))];
    let Some(mut peer) = Peer::at(kind, address, Some(KEY), &zones) else { return };
    let server = Server::start(&configuration(listen, &[address], KEY), &[]);
    has(server.address(), ZONE, 1);
    alike(server.address(), peer.address, ZONE);
    let changes = changes();
    for serial in 2..=changes {
        peer.replace(ZONE, &zone(serial));
        has(server.address(), ZONE, serial);
    }
    alike(server.address(), peer.address, ZONE);
    assert_eq!(
        server.counter("transfers_in{outcome=ixfr}"),
        u64::from(changes - 1),
        "each change came as a difference"
    );

    // The primary goes away: its secondary serves on, and follows again when it is back.
    peer.stop();
    assert_eq!(serial(server.address(), ZONE), Some(changes));
    peer.run();
    peer.replace(ZONE, &zone(changes + 1));
    has(server.address(), ZONE, changes + 1);
    alike(server.address(), peer.address, ZONE);
}

#[test]
fn nsd_is_followed() {
    follows(Kind::Nsd);
}

#[test]
fn knot_is_followed() {
    follows(Kind::Knot);
}

#[test]
fn bind_is_followed() {
    follows(Kind::Bind);
}

#[test]
fn the_wrong_key_gets_nothing_and_the_zone_answers_servfail() {
    for kind in KINDS {
        let (listen, address) = (free_port(), free_port());
        let Some(_peer) = Peer::at(kind, address, Some(KEY), &[PeerZone::primary(ZONE, &zone(1), None)]) else {
            continue;
        };
        let wrong = Key { secret: "d3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jv", ..KEY };
        let server = Server::start(&configuration(listen, &[address], wrong), &[]);
        wait_until("the refusal", || server.log().contains(ZONE));
        assert_eq!(server.answer(ZONE, "SOA").rcode(), SERVFAIL, "{kind:?}");
    }
}

#[test]
fn the_next_primary_is_asked_where_the_first_is_silent() {
    let (listen, address, nobody) = (free_port(), free_port(), free_port());
    let zones = [PeerZone::primary(ZONE, &zone(7), None)];
    let Some(_peer) = Peer::at(Kind::Nsd, address, Some(KEY), &zones) else { return };
    let server = Server::start(&configuration(listen, &[nobody, address], KEY), &[]);
    has(server.address(), ZONE, 7);
}

#[test]
fn a_copy_is_served_at_once_after_a_restart_without_the_primary() {
    let (listen, address) = (free_port(), free_port());
    let zones = [PeerZone::primary(ZONE, &zone(1), Some(listen))];
    let Some(mut peer) = Peer::at(Kind::Knot, address, Some(KEY), &zones) else { return };
    let mut server = Server::start(&configuration(listen, &[address], KEY), &[]);
    has(server.address(), ZONE, 1);
    for serial in 2..=4 {
        peer.replace(ZONE, &zone(serial));
        has(server.address(), ZONE, serial);
    }
    let before = super::whole(server.address(), ZONE, Some(KEY));
    peer.stop();
    server.restart();
    assert_eq!(serial(server.address(), ZONE), Some(4), "{}", server.log());
    assert_eq!(super::whole(server.address(), ZONE, Some(KEY)), before);
    // What was learnt before is there for others who are behind.
    peer.run();
    peer.replace(ZONE, &zone(5));
    has(server.address(), ZONE, 5);
    alike(server.address(), peer.address, ZONE);
}
