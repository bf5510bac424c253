//! Cores under nothing but queries are alone with them: whatever way a query is answered at once, from its datagram to the
//! one that goes out nothing is taken from the heap, and no thread tells another anything. One test, alone in its
//! process, so that all that is counted is the cores'.

#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "sockets/common.rs"]
mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use ringdns_shard::images::Recording;
use ringdns_shard::upstream::Protocol;
use ringdns_shard::wire::name::{HashKey, Name};
use ringdns_shard::wire::rdata::rtype;
use ringdns_shard::zone::{Builder, Image, Place};

use common::{PATIENCE, REFUSED, Running, Setup, answer, query, rcode_of};

/// Different names that are asked for.
const NAMES: usize = 100;
/// Sockets that ask: the kernel spreads them over the cores.
const SOCKETS: usize = 16;
/// Queries that are sent before replies are waited for.
const FLIGHT: usize = 64;

/// The allocator of the process, which counts what the cores take.
struct Counting;

/// Blocks that threads have taken, but for those that say of themselves that they are part of the test.
static TAKEN: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static IS_OF_THE_TEST: Cell<bool> = const { Cell::new(false) };
}

fn count() {
    // A thread at its end has no such value any more; then it answers no queries either.
    if !IS_OF_THE_TEST.try_with(Cell::get).unwrap_or(true) {
        TAKEN.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: it is the system's allocator, which everything is passed on to as it comes.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: whoever calls keeps the promises of this function, which are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, octets: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, octets) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// `example.` with `h0` to `h99`.
fn zone() -> Arc<Image> {
    let apex: Name = "example".parse().unwrap();
    let mut builder = Builder::new(apex.clone(), HashKey::from_seed([9; 16]));
    let soa = [apex.as_wire(), apex.as_wire(), &[1u32, 60, 60, 60, 60].map(u32::to_be_bytes).concat()].concat();
    let mut push = |owner: &Name, rtype: u16, data: &[u8]| {
        builder.push(owner.as_wire(), rtype, 60, data, Place::default()).unwrap();
    };
    push(&apex, rtype::SOA, &soa);
    push(&apex, rtype::NS, apex.as_wire());
    for i in 0..NAMES as u32 {
        push(&format!("h{i}.example").parse().unwrap(), rtype::A, &i.to_be_bytes());
    }
    Arc::new(builder.finish().unwrap())
}

/// A server that the cores ask once for each name.
fn upstream() -> (Protocol, std::net::SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        IS_OF_THE_TEST.set(true);
        let mut octets = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut octets) {
            let _ = socket.send_to(&answer(&octets[..length], 0), from);
        }
    });
    (Protocol::Udp, address)
}

/// Asks all names in turn, on all sockets in turn, until so many queries are answered with this response code.
fn ask(sockets: &[UdpSocket], queries: &[Vec<u8>], count: usize, rcode: u8) {
    let mut reply = [0; 2048];
    for first in (0..count).step_by(FLIGHT) {
        let flight = || (first..count.min(first + FLIGHT)).map(|number| (number, &sockets[number % sockets.len()]));
        for (number, socket) in flight() {
            socket.send(&queries[number / sockets.len() % queries.len()]).unwrap();
        }
        for (_, socket) in flight() {
            let length = socket.recv(&mut reply).expect("a reply comes");
            assert_eq!(rcode_of(&reply[..length]), rcode);
        }
    }
}

/// Blocks that the cores take while so many queries are answered, and the batches in which those come.
fn blocks(server: &Running, sockets: &[UdpSocket], queries: &[Vec<u8>], count: usize, rcode: u8) -> (u64, u64) {
    let before = server.counters();
    let taken = TAKEN.load(Ordering::Relaxed);
    ask(sockets, queries, count, rcode);
    let taken = TAKEN.load(Ordering::Relaxed) - taken;
    let after = server.counters();
    assert_eq!(after.udp_received - before.udp_received, count as u64);
    // What the cores were told is to tell their counters, once each.
    assert_eq!(after.messages - before.messages, server.setup.cores as u64, "messages between threads");
    (taken, after.udp_batches - before.udp_batches)
}

#[test]
fn queries_that_are_answered_at_once_take_nothing_from_the_heap_and_tell_nobody() {
    IS_OF_THE_TEST.set(true);
    let queries: Vec<_> = (0..NAMES).map(|i| query(7, &format!("h{i}"))).collect();
    let cores = ringdns_rim::cpus_online().unwrap().len().min(2);
    let log = Recording { log_sample: 1, ..Recording::default() };
    let plain = || Setup { cores, ..Setup::default() };
    let setups = [
        ("zone", 0, Setup { zone: Some(zone()), ..plain() }),
        ("cache", 0, Setup { upstream: Some(upstream()), ..plain() }),
        ("refused", REFUSED, plain()),
        ("logged", 0, Setup { zone: Some(zone()), recording: log, ..plain() }),
    ];
    for (what, rcode, setup) in setups {
        let server = setup.start();
        let sockets: Vec<_> = (0..SOCKETS).map(|_| server.udp()).collect();
        // What lives in the cores finds its size, and every name its place in every cache.
        ask(&sockets, &queries, 4 * SOCKETS * NAMES, rcode);
        for count in [1_000, 11_000] {
            let (taken, batches) = blocks(&server, &sockets, &queries, count, rcode);
            eprintln!("{what}: {count} queries, {batches} batches, {taken} blocks");
        }
    }
}
