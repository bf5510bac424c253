//! Upstream servers that have names.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::dns::{NOERROR, NXDOMAIN, SERVFAIL, Via};
use crate::common::server::{LISTEN, Server};
use crate::common::upstream::{ANSWER, Upstream, address};
use crate::common::wait_until;

/// The address 127.0.0.1 for the name asked for.
fn loopback() -> Vec<u8> {
    [&b"\xc0\x0c\0\x01\0\x01"[..], &60u32.to_be_bytes(), &[0, 4, 127, 0, 0, 1]].concat()
}

/// Knows where origin.test is, once `knows` is set.
fn resolver(knows: &Arc<AtomicBool>) -> Upstream {
    let knows = Arc::clone(knows);
    Upstream::start(move |asked| {
        let is_it = asked.name().eq_ignore_ascii_case("origin.test");
        let wants_a = asked.octets[asked.octets.len() - 3] == 1;
        Some(match (knows.load(Ordering::SeqCst), is_it && wants_a) {
            (false, _) => asked.reply(ANSWER | SERVFAIL, &[]),
            (true, true) => asked.reply(ANSWER, &[loopback()]),
            (true, false) => asked.reply(ANSWER | if is_it { NOERROR } else { NXDOMAIN }, &[]),
        })
    })
}

fn serving(origin: &Upstream, resolver: &Upstream) -> Server {
    let configuration = format!(
        "[server]\ncores = 1\n{LISTEN}\
         [[upstream]]\nname = \"origin\"\nservers = [\"udp://Origin.Test:{}\"]\ntimeout = \"30s\"\n\
         [[upstream]]\nname = \"resolver\"\nservers = [\"udp://{}\"]\n\
         [[route]]\nsuffix = \".\"\nto = [\"origin\"]\n",
        origin.address.port(),
        resolver.address
    );
    Server::start(&configuration, &[])
}

fn origin() -> Upstream {
    Upstream::start(|asked| Some(asked.reply(ANSWER, &[address(300, 7)])))
}

#[test]
fn a_server_is_asked_where_its_name_leads() {
    let knows = Arc::new(AtomicBool::new(true));
    let (origin, resolver) = (origin(), resolver(&knows));
    let server = serving(&origin, &resolver);
    server.counts("upstream_names_unresolved", 0);
    wait_until("an answer", || server.answer("www.example.test", "A").rcode() == NOERROR);
    assert!(origin.count(Via::Udp) >= 1);
    let asked: Vec<String> = resolver.queries().iter().map(|asked| asked.name().to_ascii_lowercase()).collect();
    assert_eq!(asked, ["origin.test", "origin.test"], "A and AAAA, and nothing of the clients");
    assert!(server.log().contains("the upstream server origin.test. is at [127.0.0.1]"), "{}", server.log());
    assert_eq!(server.counter("upstream_names_failed"), 0);

    // A reload knows it still.
    assert!(server.reload());
    assert_eq!(server.answer("other.example.test", "A").rcode(), NOERROR);
    assert_eq!(resolver.count(Via::Udp), 2);
}

#[test]
fn until_the_name_is_known_there_is_no_server_and_that_is_tried_again() {
    let knows = Arc::new(AtomicBool::new(false));
    let (origin, resolver) = (origin(), resolver(&knows));
    let server = serving(&origin, &resolver);
    wait_until("the failure", || server.counter("upstream_names_failed") >= 1);
    assert_eq!(server.answer("www.example.test", "A").rcode(), SERVFAIL);
    assert_eq!((server.counter("upstream_names_unresolved"), origin.count(Via::Udp)), (1, 0));
    assert!(server.page("/health").starts_with("HTTP/1.1 200 "));
    knows.store(true, Ordering::SeqCst);
    wait_until("an answer", || server.answer("www.example.test", "A").rcode() == NOERROR);
    assert_eq!(server.counter("upstream_names_unresolved"), 0);
    let said = server.log().matches("cannot be looked up").count();
    assert_eq!(said, 1, "the same trouble is told once:\n{}", server.log());
}

#[test]
fn a_name_that_leads_back_here_is_no_server() {
    let knows = Arc::new(AtomicBool::new(true));
    let resolver = resolver(&knows);
    let port = crate::common::free_port().port();
    let configuration = format!(
        "[server]\ncores = 1\n[[listen]]\naddress = \"127.0.0.1:{port}\"\n\
         [[upstream]]\nname = \"self\"\nservers = [\"udp://origin.test:{port}\"]\ntimeout = \"30s\"\n\
         [[upstream]]\nname = \"resolver\"\nservers = [\"udp://{}\"]\n\
         [[route]]\nsuffix = \".\"\nto = [\"self\"]\n",
        resolver.address
    );
    let server = Server::start(&configuration, &[]);
    server.counts("upstream_names_unresolved", 0);
    wait_until("the swap", || server.counter("swaps") >= 1);
    assert_eq!(server.answer("www.example.test", "A").rcode(), SERVFAIL);
    assert_eq!(server.counter("upstream_queries{transport=udp}"), 0);
}
