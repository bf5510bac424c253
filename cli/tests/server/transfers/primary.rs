//! ringdns as the primary of others.

use super::{ZONE, alike, changes, has, key_table, whole, zone};
use crate::common::dns::{REFUSED, Via, query};
use crate::common::free_port;
use crate::common::peer::{KEY, KINDS, Key, Kind, Peer, PeerZone};
use crate::common::server::{LISTEN, Server};

fn primary_of(secondary: std::net::SocketAddr, text: &str) -> Server {
    let configuration = format!(
        "{LISTEN}{}[[zone]]\nname = \"{ZONE}\"\nfile = \"zone\"\nnotify = [\"{secondary} key=transfer.\"]\n\
         allow_transfer = [\"key=transfer.\"]\n",
        key_table(KEY)
    );
    Server::start(&configuration, &[("zone", text)])
}

fn follows(kind: Kind) {
    let address = free_port();
    let server = primary_of(address, &zone(1));
    let Some(mut peer) = Peer::at(kind, address, Some(KEY), &[PeerZone::secondary(ZONE, server.address())]) else {
        return;
    };
    has(peer.address, ZONE, 1);
    alike(server.address(), peer.address, ZONE);
    let changes = changes();
    for serial in 2..=changes {
        server.replace("zone", &zone(serial));
        assert!(server.reload(), "{}", server.log());
        has(peer.address, ZONE, serial);
    }
    alike(server.address(), peer.address, ZONE);
    assert!(
        server.counter("transfers_out{type=IXFR}") + 1 >= u64::from(changes - 1),
        "each change went as a difference"
    );

    // The secondary misses a few, and has them when it comes back.
    peer.stop();
    for serial in changes + 1..=changes + 3 {
        server.replace("zone", &zone(serial));
        assert!(server.reload(), "{}", server.log());
    }
    peer.run();
    has(peer.address, ZONE, changes + 3);
    alike(server.address(), peer.address, ZONE);
}

#[test]
fn nsd_follows() {
    follows(Kind::Nsd);
}

#[test]
fn knot_follows() {
    follows(Kind::Knot);
}

#[test]
fn bind_follows() {
    follows(Kind::Bind);
}

#[test]
fn who_is_not_allowed_gets_nothing() {
    let server = primary_of(free_port(), &zone(1));
    for via in [Via::Tcp, Via::Udp] {
        let reply = server.ask(via, &query(ZONE, "AXFR"));
        assert!(reply.answer().is_empty() && (via == Via::Udp || reply.rcode() == REFUSED), "{reply:?}");
    }
    let Some(records) = whole(server.address(), ZONE, None) else { return };
    assert!(records.is_empty(), "{records:?}");
    assert!(server.counter("refused{reason=transfer}") >= 2);
    // A key of that name with another secret, and one that nobody has told us of.
    for key in [Key { secret: "d3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jv", ..KEY }, Key { name: "other", ..KEY }] {
        let records = whole(server.address(), ZONE, Some(key)).expect("dig is there");
        assert!(records.is_empty(), "{records:?}");
    }
    let records = whole(server.address(), ZONE, Some(KEY)).expect("dig is there");
    assert!(records.len() > 40, "{records:?}");
}

#[test]
fn a_secondary_with_the_wrong_key_gets_nothing() {
    for kind in KINDS {
        let address = free_port();
        let server = primary_of(address, &zone(1));
        let wrong = Key { secret: "d3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jv", ..KEY };
        let zones = [PeerZone::secondary(ZONE, server.address())];
        let Some(peer) = Peer::at(kind, address, Some(wrong), &zones) else { continue };
        crate::common::wait_until("refused", || server.counter("tsig{result=bad_signature}") > 0);
        assert_eq!(super::serial(peer.address, ZONE), None, "{kind:?}");
    }
}

#[test]
fn every_algorithm_signs() {
    for algorithm in ["hmac-sha1", "hmac-sha256", "hmac-sha384", "hmac-sha512"] {
        let key = Key { algorithm, ..KEY };
        let configuration = format!(
            "{LISTEN}{}[[zone]]\nname = \"{ZONE}\"\nfile = \"zone\"\nallow_transfer = [\"key=transfer.\"]\n",
            key_table(key)
        );
        let server = Server::start(&configuration, &[("zone", &zone(1))]);
        let Some(records) = whole(server.address(), ZONE, Some(key)) else { return };
        assert!(records.len() > 40, "{algorithm}: {records:?}");
    }
}
