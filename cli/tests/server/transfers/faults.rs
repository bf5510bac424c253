//! Primaries that lie, break off or never end: nothing of what they say is served, what was served before still is.

use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{has, serial};
use crate::common::dns::SERVFAIL;
use crate::common::liar::{Liar, Record, question_name, reply, send};
use crate::common::server::{LISTEN, Server};
use crate::common::{PATIENCE, wait_until};

const ZONE: &str = "liar.test";

fn secondary_of(liar: &Liar, limits: &str) -> Server {
    Server::start(&format!("{LISTEN}{limits}[[zone]]\nname = \"{ZONE}\"\nprimaries = [\"{}\"]\n", liar.address), &[])
}

/// A zone as it should be.
fn whole(serial: u32) -> Vec<Record> {
    vec![
        Record::soa(ZONE, serial),
        Record::ns(ZONE),
        Record::address("www.liar.test", serial as u8),
        Record::soa(ZONE, serial),
    ]
}

/// Asks a liar that sends `messages` of a query; nothing of it may be served, before a good transfer and after one.
#[track_caller]
fn is_not_believed(what: &str, messages: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + Sync + 'static) {
    let liar = Liar::start(1, {
        let times = std::sync::atomic::AtomicU32::new(0);
        move |query: &[u8], stream: &mut TcpStream| {
            // At first it lies, then it tells the truth once, then it lies again.
            match times.fetch_add(1, Ordering::SeqCst) {
                2 => send(stream, &[reply(query, &whole(1))]),
                _ => send(stream, &messages(query)),
            }
        }
    });
    let server = secondary_of(&liar, "");
    wait_until(what, || liar.asked() >= 1);
    let rcode = server.answer(ZONE, "SOA").rcode();
    // Where the truth was told meanwhile, it may be served.
    if liar.asked() < 3 {
        assert_eq!(rcode, SERVFAIL, "{what}");
    }
    has(server.address(), ZONE, 1);
    let asked = liar.asked();
    liar.serial.store(2, Ordering::SeqCst);
    server.signal("HUP");
    notify(&server, 2);
    wait_until(what, || liar.asked() > asked);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(serial(server.address(), ZONE), Some(1), "{what}: {}", server.log());
    assert!(server.answer("www.liar.test", "A").answer()[0].ends_with("192.0.2.1"), "{what}");
}

/// Tells the secondary of a new serial, as its primary would.
fn notify(server: &Server, serial: u32) {
    let mut message = crate::common::dns::query(ZONE, "SOA");
    message[2] = 0x24;
    let _ = serial;
    let reply = server.ask(crate::common::dns::Via::Udp, &message);
    assert_eq!((reply.opcode(), reply.rcode()), (4, 0));
}

#[test]
fn a_transfer_that_is_cut_in_the_middle() {
    is_not_believed("cut", |query| vec![reply(query, &whole(2)[..3])]);
}

#[test]
fn a_transfer_that_ends_in_another_soa() {
    is_not_believed("another SOA", |query| {
        let mut records = whole(2);
        records[3] = Record::soa(ZONE, 3);
        vec![reply(query, &records)]
    });
}

#[test]
fn a_transfer_of_another_zone() {
    is_not_believed("another zone", |query| {
        let records = [Record::soa("other.test", 2), Record::ns("other.test"), Record::soa("other.test", 2)];
        vec![reply(query, &records)]
    });
}

#[test]
fn a_record_out_of_zone() {
    is_not_believed("out of zone", |query| {
        let mut records = whole(2);
        records.insert(2, Record::address("www.victim.test", 66));
        vec![reply(query, &records)]
    });
}

#[test]
fn a_zone_that_may_not_be() {
    is_not_believed("CNAME and other data", |query| {
        let mut records = whole(2);
        records.insert(2, Record::new("www.liar.test", 5, b"\x01x\0"));
        vec![reply(query, &records)]
    });
}

#[test]
fn a_reply_to_another_query() {
    is_not_believed("another id", |query| {
        let mut other = reply(query, &whole(2));
        other[0] ^= 1;
        vec![other]
    });
}

#[test]
fn octets_that_are_no_message() {
    is_not_believed("no message", |query| {
        let mut broken = reply(query, &whole(2));
        broken.truncate(broken.len() - 3);
        vec![broken]
    });
}

#[test]
fn an_endless_stream_is_cut() {
    let liar = Liar::start(1, |query, stream| {
        send(stream, &[reply(query, &[Record::soa(ZONE, 1), Record::ns(ZONE)])]);
        let begin = Instant::now();
        for i in 0_u32.. {
            let records: Vec<Record> =
                (0..200).map(|j| Record::address(&format!("h{}.liar.test", i * 200 + j), 1)).collect();
            let before = std::io::Write::write_all(stream, &crate::common::dns::framed(&reply(query, &records)));
            if before.is_err() || begin.elapsed() > PATIENCE {
                return;
            }
        }
    });
    let server = secondary_of(&liar, "[limits]\ntransfer = \"4MiB\"\n");
    wait_until("the cut", || server.log().contains("4 MiB") || server.log().contains("4194304"));
    assert_eq!(server.answer(ZONE, "SOA").rcode(), SERVFAIL);
}

#[test]
fn a_primary_that_says_nothing_is_left() {
    let liar = Liar::start(1, |_, _| std::thread::sleep(Duration::from_secs(12)));
    let server = secondary_of(&liar, "");
    wait_until("the query", || liar.asked() >= 1);
    wait_until("the time-out", || server.log().contains(&format!("{}", liar.address)));
    assert_eq!(server.answer(ZONE, "SOA").rcode(), SERVFAIL);
}

#[test]
fn notify_from_a_stranger_is_refused() {
    let liar = Liar::start(1, |query, stream| send(stream, &[reply(query, &whole(1))]));
    // The primary has another address than this client.
    let configuration = format!(
        "{LISTEN}[[zone]]\nname = \"{ZONE}\"\nprimaries = [\"{}\"]\n[[zone]]\nname = \"other.test\"\n\
         primaries = [\"127.0.0.9:1\"]\n",
        liar.address
    );
    let server = Server::start(&configuration, &[]);
    has(server.address(), ZONE, 1);
    for (zone, rcode) in [("other.test", 5), ("nobody.test", 9)] {
        let mut message = crate::common::dns::query(zone, "SOA");
        message[2] = 0x24;
        let reply = server.ask(crate::common::dns::Via::Udp, &message);
        assert_eq!((reply.opcode(), reply.rcode()), (4, rcode), "{zone}");
    }
    assert_eq!(question_name(&crate::common::dns::query(ZONE, "SOA")), format!("{ZONE}."));
}
