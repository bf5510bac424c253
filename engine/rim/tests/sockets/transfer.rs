//! Zones transferred to readers of every kind, and NOTIFY, over real sockets.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use ringdns_rim::Event;
use ringdns_shard::wire::name::Name;
use ringdns_shard::wire::rdata::rtype;
use ringdns_shard::zone::Image;
use socket2::SockRef;

use crate::common::{
    PATIENCE, Running, SHORT, Setup, expect_closed, framed, id_of, query, rcode_of, read_frame, send_frame, zone_of,
};

const NAMES: usize = 100_000;
/// The SOA at both ends, the NS set, an address for each name.
const RECORDS: usize = NAMES + 3;

/// `example.` with 100,000 names.
fn zone() -> Arc<Image> {
    static ZONE: OnceLock<Arc<Image>> = OnceLock::new();
    ZONE.get_or_init(|| zone_of("example", NAMES)).clone()
}

fn server(tcp_idle: Duration) -> Running {
    Setup { tcp_idle, zone: Some(zone()), ..Setup::default() }.start()
}

/// A request for the zone.
fn axfr(id: u16) -> Vec<u8> {
    let mut message = query(id, "");
    // The empty label of `query` ended the name: write the apex.
    message.truncate(12);
    message.extend_from_slice(b"\x07example\0\0\xfc\0\x01");
    message
}

fn answers(message: &[u8]) -> usize {
    assert_eq!(rcode_of(message), 0);
    usize::from(u16::from_be_bytes([message[6], message[7]]))
}

/// Reads messages until `records` records have come for `id`; `other` sees the messages with other ids.
fn read_records(stream: &mut TcpStream, id: u16, records: usize, mut other: impl FnMut(&[u8])) {
    let mut left = records;
    while left > 0 {
        let message = read_frame(stream).expect("the transfer is not over");
        if id_of(&message) == id {
            left = left.checked_sub(answers(&message)).expect("no more records than there are");
        } else {
            other(&message);
        }
    }
}

#[test]
fn a_large_zone_comes_whole_while_the_connection_answers_other_requests() {
    let server = server(PATIENCE);
    let mut stream = server.tcp();
    // In one piece: the server must not be done with the transfer before the rest is sent.
    let others = (2..102).flat_map(|id| framed(&query(id, &format!("h{id}"))));
    stream.write_all(&framed(&axfr(1)).into_iter().chain(others).collect::<Vec<_>>()).unwrap();
    let mut others = Vec::new();
    read_records(&mut stream, 1, RECORDS, |message| others.push((id_of(message), answers(message))));
    others.sort_unstable();
    assert_eq!(others, (2..102).map(|id| (id, 1)).collect::<Vec<_>>(), "all within the time of the transfer");
    let counters = server.shard_counters();
    assert_eq!((counters.transfers_axfr, counters.transfers_cut), (1, 0));
    assert!(counters.transfer_messages > 50);
    // And the connection goes on.
    send_frame(&mut stream, &query(200, "h7"));
    assert_eq!(id_of(&read_frame(&mut stream).unwrap()), 200);
}

#[test]
fn zones_asked_for_over_one_connection_come_one_after_the_other() {
    let server = server(PATIENCE);
    let mut stream = server.tcp();
    for id in [1, 2, 3] {
        send_frame(&mut stream, &axfr(id));
    }
    for id in [1, 2, 3] {
        read_records(&mut stream, id, RECORDS, |message| panic!("{} is not asked for yet", id_of(message)));
    }
    // One whose client sends no more is finished as well, and then the connection ends.
    send_frame(&mut stream, &axfr(4));
    stream.shutdown(Shutdown::Write).unwrap();
    read_records(&mut stream, 4, RECORDS, |_| ());
    assert_eq!(read_frame(&mut stream), None);
    assert_eq!(server.shard_counters().transfers_axfr, 4);
}

#[test]
fn slow_readers_get_everything_and_keep_nobody_waiting() {
    let server = server(PATIENCE);
    let goes_on = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..4u16)
        .map(|id| {
            let (mut stream, goes_on) = (server.tcp(), goes_on.clone());
            SockRef::from(&stream).set_recv_buffer_size(16_384).unwrap();
            send_frame(&mut stream, &axfr(id));
            thread::spawn(move || {
                let mut left = RECORDS;
                while left > 0 {
                    left -= answers(&read_frame(&mut stream).unwrap());
                    thread::sleep(Duration::from_millis(2));
                    // So that it is on its way for as long as it is looked at.
                    while left < RECORDS / 10 * 9 && !goes_on.load(Ordering::Relaxed) {
                        thread::sleep(Duration::from_millis(2));
                    }
                }
                stream
            })
        })
        .collect();
    server.wait_for("the transfers to be on their way", |_| server.shard_counters().transfer_messages > 20);
    let (mut tcp, udp) = (server.tcp(), server.udp());
    for _ in 0..100 {
        assert!(readers.iter().all(|reader| !reader.is_finished()));
        send_frame(&mut tcp, &query(9, "h9"));
        assert_eq!(answers(&read_frame(&mut tcp).unwrap()), 1);
        udp.send(&query(10, "h10")).unwrap();
        let mut reply = [0; 512];
        let octets = udp.recv(&mut reply).unwrap();
        assert_eq!(answers(&reply[..octets]), 1);
        thread::sleep(Duration::from_millis(1));
    }
    goes_on.store(true, Ordering::Relaxed);
    drop(readers.into_iter().map(|reader| reader.join().unwrap()).collect::<Vec<_>>());
    let counters = server.shard_counters();
    assert_eq!((counters.transfers_axfr, counters.transfers_cut), (4, 0));
    assert_eq!(server.counters().tcp_stalled, 0);
}

#[test]
fn a_reader_that_stalls_is_closed_and_its_transfers_end() {
    let server = server(SHORT);
    let mut stalled = server.tcp();
    SockRef::from(&stalled).set_recv_buffer_size(4_096).unwrap();
    // More than the buffers of any kernel hold.
    for id in 0..20 {
        send_frame(&mut stalled, &axfr(id));
    }
    server.wait_for("the stalled reader to be noticed", |counters| counters.tcp_stalled == 1);
    server.wait_for("its transfers to end", |_| server.shard_counters().transfers_cut > 0);
    let counters = server.shard_counters();
    // Eight are what a connection may have at once, and few of them fit the buffers: it was not read to the end.
    assert!((8..20).contains(&counters.transfers_axfr), "{}", counters.transfers_axfr);
    assert!(server.counters().tcp_in_flight_pauses > 0);
    expect_closed(&mut stalled);
    // Others are served.
    let mut stream = server.tcp();
    send_frame(&mut stream, &axfr(1));
    read_records(&mut stream, 1, RECORDS, |_| ());
}

#[test]
fn a_reader_that_goes_away_ends_its_transfer() {
    let server = server(PATIENCE);
    for _ in 0..3 {
        let before = server.shard_counters().transfers_cut;
        let mut stream = server.tcp();
        // Four in one piece: the buffers of the kernel hold one, and never two.
        stream.write_all(&(0..4).flat_map(|id| framed(&axfr(id))).collect::<Vec<_>>()).unwrap();
        read_frame(&mut stream).unwrap();
        drop(stream);
        server.wait_for("the transfers to end", |_| server.shard_counters().transfers_cut >= before + 2);
    }
}

#[test]
fn a_transfer_on_its_way_has_the_drain_time() {
    let server = server(PATIENCE);
    let mut stream = server.tcp();
    SockRef::from(&stream).set_recv_buffer_size(16_384).unwrap();
    send_frame(&mut stream, &axfr(1));
    let first = answers(&read_frame(&mut stream).unwrap());
    let cores = server.cores.clone();
    let stopping = thread::spawn(move || cores.stop(PATIENCE));
    read_records(&mut stream, 1, RECORDS - first, |_| ());
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, []);
    let last = stopping.join().unwrap().remove(0).expect("the core has ended in time");
    assert_eq!((last.shard.transfers_axfr, last.shard.transfers_cut), (1, 0));
}

#[test]
fn a_notice_is_answered_and_told() {
    let server = server(PATIENCE);
    let mut notice = axfr(5);
    notice[2] = 4 << 3;
    let type_at = notice.len() - 3;
    notice[type_at] = rtype::SOA as u8;
    let udp = server.udp();
    udp.send(&notice).unwrap();
    let mut reply = [0; 512];
    let octets = udp.recv(&mut reply).unwrap();
    assert_eq!((rcode_of(&reply[..octets]), reply[2] & 0x78), (0, 4 << 3));
    let mut tcp = server.tcp();
    send_frame(&mut tcp, &notice);
    assert_eq!(rcode_of(&read_frame(&mut tcp).unwrap()), 0);
    let apex: Name = "example".parse().unwrap();
    let told = Event::Notified { apex, serial: None, peer: [127, 0, 0, 1].into() };
    assert_eq!(*server.events.lock().unwrap(), [told.clone(), told]);
}
