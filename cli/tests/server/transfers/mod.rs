//! Zones on their way between servers: ringdns as primary and as secondary of NSD, Knot DNS and BIND, and of primaries
//! that lie.

mod catalog;
mod faults;
mod primary;
mod secondary;

use std::net::SocketAddr;
use std::process::Command;
use std::time::Instant;

use crate::common::dns::{NOERROR, Reply, Via, ask, query, with_edns};
use crate::common::needed;
use crate::common::peer::{KEY, Key};

/// The zone of most tests.
const ZONE: &str = "moving.test";

/// Changes that a secondary follows one by one. A long run is what a zone goes through in a month.
fn changes() -> u32 {
    if std::env::var_os("RINGDNS_LONG").is_some() { 500 } else { 25 }
}

/// A zone of which every serial has something that the one before has not, and the other way round: names come and
/// go, sets grow and shrink, a delegation and a wildcard move.
fn zone(serial: u32) -> String {
    let mut text = format!(
        "$ORIGIN {ZONE}.\n$TTL 300\n@ SOA ns hostmaster {serial} 3600 1 604800 60\n@ NS ns\nns A 192.0.2.1\n\
         serial TXT \"{serial}\"\nfixed 60 MX 10 mail\nmail AAAA 2001:db8::1\n"
    );
    for i in serial..serial + 40 {
        text += &format!("h{i} A 192.0.2.{}\n", i % 250);
    }
    for i in 0..serial % 5 + 1 {
        text += &format!("many TXT \"number {i}\"\n");
    }
    text += &format!("sub{} NS ns.sub{}\nns.sub{} A 192.0.2.3\n", serial % 3, serial % 3, serial % 3);
    text += &format!("*.w{}.below TXT \"wild\"\n", serial % 4);
    text += "alias CNAME fixed\nother TYPE65280 \\# 3 010203\nweb HTTPS 1 . alpn=h2 ipv4hint=192.0.2.9\n";
    text
}

/// The [[key]] table of a key.
fn key_table(key: Key) -> String {
    format!("[[key]]\nname = \"{}.\"\nalgorithm = \"{}\"\nsecret = \"{}\"\n", key.name, key.algorithm, key.secret)
}

/// The serial that a server has now; `None` where it does not answer with one.
fn serial(server: SocketAddr, zone: &str) -> Option<u32> {
    let reply: Reply = ask(server, Via::Udp, &with_edns(query(zone, "SOA"), 0));
    let record = reply.answer().into_iter().next().filter(|_| reply.rcode() == NOERROR)?;
    record.split(' ').nth(6)?.parse().ok()
}

/// Waits until a server has a serial; how long it took.
#[track_caller]
fn has(server: SocketAddr, zone: &str, wanted: u32) {
    let end = Instant::now() + crate::common::PATIENCE;
    loop {
        let now = serial(server, zone);
        if now == Some(wanted) {
            return;
        }
        assert!(Instant::now() < end, "{zone} has serial {now:?}, not {wanted}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// The whole of a zone as a server gives it out by AXFR, a line a record, sorted; `None` where `dig` is not installed.
/// Nothing in it where the server refuses.
#[track_caller]
fn whole(server: SocketAddr, zone: &str, key: Option<Key>) -> Option<Vec<String>> {
    let mut command = Command::new(needed("dig", "bind9-dnsutils")?);
    command.args([&format!("@{}", server.ip()), "-p", &server.port().to_string()]);
    if let Some(key) = key {
        command.args(["-y", &format!("{}:{}:{}", key.algorithm, key.name, key.secret)]);
    }
    let output = command.args(["+noall", "+answer", "+onesoa", "+time=20", zone, "AXFR"]).output().expect("dig runs");
    let text = String::from_utf8(output.stdout).expect("text").to_ascii_lowercase();
    let mut lines: Vec<String> = text
        .lines()
        .filter(|line| !line.starts_with(';') && !line.is_empty())
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    lines.sort();
    Some(lines)
}

/// Two servers have the same zone, and not an empty one.
#[track_caller]
fn alike(one: SocketAddr, other: SocketAddr, zone: &str) {
    let (Some(one), Some(other)) = (whole(one, zone, Some(KEY)), whole(other, zone, Some(KEY))) else { return };
    assert!(one.len() > 10, "{one:?}");
    let only = |a: &[String], b: &[String]| a.iter().filter(|line| !b.contains(line)).cloned().collect::<Vec<_>>();
    assert_eq!(one, other, "only here: {:?}; only there: {:?}", only(&one, &other), only(&other, &one));
}
