//! Catalogs (RFC 9432): members come and go with the list that a primary keeps.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{key_table, serial};
use crate::common::dns::{NOERROR, REFUSED};
use crate::common::peer::{KEY, Kind, Peer, PeerZone};
use crate::common::server::Server;
use crate::common::{PATIENCE, free_port};

const CATALOG: &str = "catalog.test";
/// Members of the large catalog.
const MEMBERS: u32 = 1000;
fn member(number: u32) -> String {
    format!("member{number}.test")
}

fn member_text(number: u32) -> String {
    format!("$TTL 60\n@ SOA ns h {} 3600 60 604800 60\n@ NS ns\nns A 192.0.2.1\nwww A 192.0.2.2\n", number + 1)
}

/// A catalog as a master file.
fn catalog_text(serial: u32, members: impl Iterator<Item = u32>) -> String {
    let mut text = format!("$ORIGIN {CATALOG}.\n$TTL 0\n@ SOA invalid. invalid. {serial} 3600 600 2147483646 0\n");
    text += "@ NS invalid.\nversion TXT \"2\"\n";
    for number in members {
        writeln!(text, "label{number}.zones PTR {}.", member(number)).expect("a string");
    }
    text
}

fn consumer(listen: SocketAddr, primary: SocketAddr) -> String {
    format!(
        "[[listen]]\naddress = \"{listen}\"\n{}[[zone]]\nname = \"{CATALOG}\"\nprimaries = [\"{primary} key=transfer.\"]\n\
         catalog = true\n[[template]]\ncatalog = \"{CATALOG}\"\nprimaries = [\"{primary} key=transfer.\"]\n",
        key_table(KEY)
    )
}

/// Waits until every member is served, and says how many are not where no more come.
#[track_caller]
fn serves(address: SocketAddr, members: impl Iterator<Item = u32>) {
    let mut end = Instant::now() + PATIENCE;
    let mut missing: Vec<u32> = members.collect();
    while !missing.is_empty() {
        let before = missing.len();
        missing.retain(|number| serial(address, &member(*number)) != Some(number + 1));
        if missing.len() < before {
            end = Instant::now() + PATIENCE;
        }
        assert!(Instant::now() < end, "{} members are not served, as {:?}", missing.len(), missing.first());
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[track_caller]
fn vanishes(server: &Server, number: u32) {
    crate::common::wait_until("a member to go", || server.answer(&member(number), "SOA").rcode() == REFUSED);
}

#[test]
fn the_members_of_a_catalog_of_bind_are_served() {
    let (listen, address) = (free_port(), free_port());
    let mut zones = vec![PeerZone::primary(CATALOG, &catalog_text(1, 0..MEMBERS), Some(listen))];
    zones.extend((0..MEMBERS).map(|number| PeerZone::primary(&member(number), &member_text(number), None)));
    let Some(peer) = Peer::at(Kind::Bind, address, Some(KEY), &zones) else { return };
    let server = Server::start(&consumer(listen, address), &[]);
    serves(server.address(), 0..MEMBERS);

    // Every tenth is taken out, and comes back.
    peer.replace(CATALOG, &catalog_text(2, (0..MEMBERS).filter(|number| number % 10 != 0)));
    vanishes(&server, 0);
    vanishes(&server, MEMBERS - 10);
    assert_eq!(server.answer(&member(1), "SOA").rcode(), NOERROR);
    peer.replace(CATALOG, &catalog_text(3, 0..MEMBERS));
    serves(server.address(), (0..MEMBERS).step_by(10));
}

#[test]
fn the_members_of_a_catalog_of_knot_are_served_after_a_restart_too() {
    let (listen, address) = (free_port(), free_port());
    let mut catalog = PeerZone::primary(CATALOG, "", Some(listen));
    (catalog.text, catalog.makes_catalog) = (None, true);
    let mut zones = vec![catalog];
    zones.extend((0..50).map(|number| PeerZone {
        member_of: Some(CATALOG.to_owned()),
        ..PeerZone::primary(&member(number), &member_text(number), Some(listen))
    }));
    let Some(mut peer) = Peer::at(Kind::Knot, address, Some(KEY), &zones) else { return };
    let mut server = Server::start(&consumer(listen, address), &[]);
    serves(server.address(), 0..50);
    peer.stop();
    server.restart();
    for number in 0..50 {
        assert_eq!(serial(server.address(), &member(number)), Some(number + 1), "{}", server.log());
    }
}

#[test]
fn a_catalog_made_here_is_followed_by_another_ringdns() {
    let (of_primary, of_secondary) = (free_port(), free_port());
    let zones = |numbers: &[u32]| {
        let mut text = format!(
            "[[listen]]\naddress = \"{of_primary}\"\n{}[[zone]]\nname = \"{CATALOG}\"\n\
             notify = [\"{of_secondary} key=transfer.\"]\nallow_transfer = [\"key=transfer.\"]\n",
            key_table(KEY)
        );
        for number in numbers {
            write!(
                text,
                "[[zone]]\nname = \"{}\"\nfile = \"{number}.zone\"\nmember_of = \"{CATALOG}\"\n\
                 allow_transfer = [\"key=transfer.\"]\nnotify = [\"{of_secondary} key=transfer.\"]\n",
                member(*number)
            )
            .expect("a string");
        }
        text
    };
    let files: Vec<(String, String)> = (0..5).map(|number| (format!("{number}.zone"), member_text(number))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(file, text)| (&**file, &**text)).collect();
    let primary = Server::start(&zones(&[0, 1, 2]), &files);
    let secondary = Server::start(&consumer(of_secondary, of_primary), &[]);
    serves(secondary.address(), 0..3);
    primary.replace("r.toml", &format!("{}[control]\nlisten = \"127.0.0.1:0\"\n", zones(&[1, 2, 3, 4])));
    assert!(primary.reload(), "{}", primary.log());
    serves(secondary.address(), 1..5);
    vanishes(&secondary, 0);
}

#[test]
fn a_catalog_that_is_none_takes_nothing_away() {
    let (listen, address) = (free_port(), free_port());
    let zones = [
        PeerZone::primary(CATALOG, &catalog_text(1, 0..2), Some(listen)),
        PeerZone::primary(&member(0), &member_text(0), None),
        PeerZone::primary(&member(1), &member_text(1), None),
    ];
    let Some(peer) = Peer::at(Kind::Bind, address, Some(KEY), &zones) else { return };
    let server = Server::start(&consumer(listen, address), &[]);
    serves(server.address(), 0..2);
    // Without a version it is no catalog that anybody should follow (RFC 9432 §4.2).
    peer.replace(CATALOG, &catalog_text(2, 0..1).replace("version TXT \"2\"\n", ""));
    super::has(server.address(), CATALOG, 2);
    crate::common::wait_until("a word about it", || server.log().contains("version"));
    serves(server.address(), 0..2);
    // Names of a catalog are not for everybody who asks for zones, but a zone like any other.
    assert_eq!(server.answer(CATALOG, "SOA").rcode(), NOERROR);
}
