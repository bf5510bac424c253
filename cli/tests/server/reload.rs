//! SIGHUP while queries come.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::common::dns::{NOERROR, REFUSED, Reply, Via, query, receive, udp_socket};
use crate::common::server::{LISTEN, Server};
use crate::common::upstream::{ANSWER, Upstream, address};

const ZONES: &str = "[[zone]]\nname = \"a.test\"\nfile = \"a.zone\"\n";

/// Clients that ask one after the other for as long as it lives.
const ASKERS: usize = 4;
/// What each pauses between two queries.
const PAUSE: Duration = Duration::from_micros(500);

fn zone(serial: u32) -> String {
    format!("$TTL 60\n@ SOA ns h {serial} 60 60 60 60\n@ NS ns\nns A 192.0.2.1\nwww A 192.0.2.{serial}\n")
}

/// Asks for the serial's address without a pause to speak of; none may be lost, and none may go back to an older zone.
struct Load {
    stop: Arc<AtomicBool>,
    /// The oldest zone that may be seen by a query sent from now on.
    oldest: Arc<AtomicU32>,
    askers: Vec<JoinHandle<u32>>,
}

impl Load {
    fn on(server: &Server) -> Load {
        let (stop, oldest) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(1)));
        let asker = |_| {
            let (stop, oldest, address) = (Arc::clone(&stop), Arc::clone(&oldest), server.address());
            thread::spawn(move || {
                let socket = udp_socket(address);
                let mut asked = 0;
                while !stop.load(Ordering::SeqCst) {
                    let query = query("www.a.test", "A");
                    let at_least = oldest.load(Ordering::SeqCst);
                    socket.send(&query).expect("it is sent");
                    let octets = receive(&socket);
                    assert_eq!(octets[..2], query[..2]);
                    let reply = Reply::read(octets);
                    let serial = reply.answer()[0].rsplit('.').next().and_then(|last| last.parse::<u32>().ok());
                    assert!(serial.is_some_and(|serial| serial >= at_least), "{:?} < {at_least}", reply.answer());
                    asked += 1;
                    thread::sleep(PAUSE);
                }
                asked
            })
        };
        let askers = (0..ASKERS).map(asker).collect();
        Load { stop, oldest, askers }
    }

    /// Queries asked, every one of them answered.
    fn ended(self) -> u32 {
        self.stop.store(true, Ordering::SeqCst);
        self.askers.into_iter().map(|asker| asker.join().expect("every query is answered")).sum()
    }
}

#[test]
fn a_reload_under_load_loses_nothing_and_serves_what_is_new() {
    let server = Server::start(&format!("{LISTEN}{ZONES}"), &[("a.zone", &zone(1))]);
    let load = Load::on(&server);
    for serial in 2..=12 {
        server.replace("a.zone", &zone(serial));
        assert!(server.reload(), "{}", server.log());
        load.oldest.store(serial, Ordering::SeqCst);
        assert!(server.answer("a.test", "SOA").answer()[0].contains(&format!(" {serial} ")));
        assert_eq!(server.counter("zone_serial"), u64::from(serial));
    }
    let asked = load.ended();
    assert!(asked > 100, "{asked} queries are no load");
    assert_eq!(server.counter("dropped{reason=kernel}") + server.counter("dropped{reason=send_queue}"), 0);
}

#[test]
fn a_bad_file_keeps_the_old_zone_and_the_log_says_where() {
    let server = Server::start(&format!("{LISTEN}{ZONES}"), &[("a.zone", &zone(1))]);
    let load = Load::on(&server);
    let mut bad = zone(2);
    bad.push_str("broken  A 192.0.2.256\n");
    server.replace("a.zone", &bad);
    assert!(!server.reload());
    let place = format!("{}:6:11: ", server.folder().join("a.zone").display());
    let log = server.log();
    let line = log.lines().find(|line| line.contains(&place)).unwrap_or_else(|| panic!("{place} is not in\n{log}"));
    assert!(line.contains("192.0.2.256"), "it says what was found: {line}");
    assert!(server.answer("www.a.test", "A").answer()[0].ends_with("192.0.2.1"));

    server.replace("r.toml", &format!("{LISTEN}{ZONES}\n[cache]\nsize = 5\n"));
    assert!(!server.reload());
    let place = "r.toml:8:8: `size` in [cache]";
    assert!(server.log().contains(place), "{place} is not in\n{}", server.log());
    assert!(server.answer("www.a.test", "A").answer()[0].ends_with("192.0.2.1"));
    assert!(load.ended() > 0);
}

#[test]
fn routes_and_zones_come_and_go() {
    let upstream = Upstream::start(|asked| Some(asked.reply(ANSWER, &[address(60, 9)])));
    let server = Server::start(&format!("{LISTEN}{ZONES}"), &[("a.zone", &zone(1))]);
    assert_eq!(server.answer("www.b.test", "A").rcode(), REFUSED);
    let up = format!(
        "[[upstream]]\nname = \"up\"\nservers = [\"udp://{}\"]\n[[route]]\nsuffix = \"b.test\"\nto = [\"up\"]\n",
        upstream.address
    );
    let control = "[control]\nlisten = \"127.0.0.1:0\"\n";
    server.replace("r.toml", &format!("{LISTEN}{up}{control}"));
    assert!(server.reload(), "{}", server.log());
    assert_eq!(server.answer("www.b.test", "A").answer(), ["www.b.test. 60 IN A 192.0.2.9"]);
    assert_eq!(server.answer("www.a.test", "A").rcode(), REFUSED, "the zone is gone");
    server.replace("r.toml", &format!("{LISTEN}{ZONES}{control}"));
    assert!(server.reload(), "{}", server.log());
    assert_eq!(server.answer("www.a.test", "A").rcode(), NOERROR);
    assert_eq!(server.answer("www.b.test", "A").rcode(), REFUSED, "what was cached is not served without its route");
}

#[test]
fn a_question_in_flight_survives_a_reload() {
    let upstream =
        Upstream::start_late(|asked| vec![(Duration::from_millis(800), asked.reply(ANSWER, &[address(60, 9)]))]);
    let up = |zones: &str| {
        format!(
            "{LISTEN}{zones}[[upstream]]\nname = \"up\"\nservers = [\"udp://{}\"]\n[[route]]\nsuffix = \".\"\nto = [\"up\"]\n",
            upstream.address
        )
    };
    let server = Server::start(&up(""), &[("a.zone", &zone(1))]);
    let socket = udp_socket(server.address());
    socket.send(&query("b.test", "A")).expect("it is sent");
    crate::common::wait_until("the upstream is asked", || upstream.count(Via::Udp) == 1);
    server.replace("r.toml", &format!("{}[control]\nlisten = \"127.0.0.1:0\"\n", up(ZONES)));
    assert!(server.reload(), "{}", server.log());
    assert_eq!(Reply::read(receive(&socket)).answer(), ["b.test. 60 IN A 192.0.2.9"]);
}
