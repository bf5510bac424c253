//! Cores under nothing but queries are alone with them: whatever way a query is answered at once, from its datagram to the
//! one that goes out nothing is taken from the heap, and no thread tells another anything. The tests run one after the
//! other and alone in their process, so that all that is counted is the cores'.
//!
//! What the executor takes for a turn of its own is another matter: about nine blocks a turn with glommio-ng 0.12.0 (sources of
//! events, lists of timers), whether one query comes with it or a batch of 64.

#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "sockets/common.rs"]
mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ringdns_rim::Event;
use ringdns_shard::images::Recording;
use ringdns_shard::upstream::Protocol;
use ringdns_shard::wire::name::Name;

use common::{PATIENCE, REFUSED, Setup, answer, query, rcode_of, zone_of};

/// Different names that are asked for.
const NAMES: usize = 100;
/// Sockets that ask: the kernel spreads them over the cores.
const SOCKETS: usize = 16;
/// Queries that are sent before replies are waited for: few, and as many as a batch holds.
const FLIGHTS: [usize; 2] = [16, 64];
/// Flights that are counted.
const FLIGHTS_COUNTED: usize = 100;

/// The allocator of the process, which counts what the cores take.
struct Counting;

/// Blocks that threads have taken, but for those that say of themselves that they are part of the test.
static TAKEN: AtomicU64 = AtomicU64::new(0);

/// Lets one test at a time run.
static ALONE: Mutex<()> = Mutex::new(());

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

/// A server that the cores ask once for each name.
fn upstream() -> Option<(Protocol, SocketAddr)> {
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
    Some((Protocol::Udp, address))
}

/// The ways to an answer at once, and the response code that it has. Each has a zone for which NOTIFY is heard.
fn setups() -> [(&'static str, u8, Setup); 4] {
    let recording = Recording { log_sample: 1, ..Recording::default() };
    let elsewhere = || Some(zone_of("elsewhere.test", NAMES));
    [
        ("zone", 0, Setup { zone: Some(zone_of("example", NAMES)), ..Setup::default() }),
        ("cache", 0, Setup { zone: elsewhere(), upstream: upstream(), ..Setup::default() }),
        ("refused", REFUSED, Setup { zone: elsewhere(), ..Setup::default() }),
        ("logged", 0, Setup { zone: Some(zone_of("example", NAMES)), recording, ..Setup::default() }),
    ]
}

fn queries() -> Vec<Vec<u8>> {
    (0..NAMES).map(|i| query(7, &format!("h{i}"))).collect()
}

/// Asks all names in turn on all sockets, so many at a time, until `count` queries are answered with this response code.
/// `hold` is called before those that go at a time, and what it gives is dropped behind them.
fn ask<H>(sockets: &[UdpSocket], flight: usize, count: usize, rcode: u8, mut hold: impl FnMut() -> H) {
    let queries = queries();
    let mut reply = [0; 2048];
    for first in (0..count).step_by(flight) {
        let flight = || (first..count.min(first + flight)).map(|number| (number, &sockets[number % sockets.len()]));
        let held = hold();
        for (number, socket) in flight() {
            socket.send(&queries[number / sockets.len() % NAMES]).unwrap();
        }
        drop(held);
        for (_, socket) in flight() {
            let length = socket.recv(&mut reply).expect("a reply comes");
            assert_eq!(rcode_of(&reply[..length]), rcode);
        }
    }
}

/// A message that says that a zone has changed.
fn notify(apex: &Name) -> Vec<u8> {
    let mut message = vec![0, 9, 0x24, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend(apex.as_wire());
    message.extend([0, 6, 0, 1]);
    message
}

#[test]
fn queries_that_are_answered_at_once_take_nothing_from_the_heap() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    IS_OF_THE_TEST.set(true);
    for (what, rcode, setup) in setups() {
        // The core is held where it tells of a NOTIFY, so that what is sent meanwhile comes to it as one batch.
        let (gate, is_held) = (Arc::new(Mutex::new(())), Arc::new(AtomicBool::new(false)));
        let (barrier, holds) = (gate.clone(), is_held.clone());
        let notify = notify(setup.zone.as_ref().expect("each has one").apex());
        let server = setup.start_with(Arc::new(move |event| {
            if matches!(event, Event::Notified { .. }) {
                holds.store(true, Ordering::Release);
                drop(barrier.lock());
            }
        }));
        let hold = || {
            let held = gate.lock().unwrap();
            let notifier = server.udp();
            notifier.send(&notify).unwrap();
            let end = Instant::now() + PATIENCE;
            while !is_held.swap(false, Ordering::AcqRel) {
                assert!(Instant::now() < end, "the core tells of a NOTIFY");
                thread::sleep(Duration::from_micros(50));
            }
            (held, notifier)
        };
        let sockets = [server.udp()];
        // What lives in the core finds its size, and every name its place in the cache.
        ask(&sockets, FLIGHTS[1], 4 * NAMES, rcode, hold);
        let [few, many] = FLIGHTS.map(|flight| {
            let before = TAKEN.load(Ordering::Relaxed);
            ask(&sockets, flight, flight * FLIGHTS_COUNTED, rcode, hold);
            TAKEN.load(Ordering::Relaxed) - before
        });
        let more = (FLIGHTS[1] - FLIGHTS[0]) * FLIGHTS_COUNTED;
        assert!(many < few + more as u64 / 4, "{what}: {few} blocks, and {many} for {more} queries more");
        assert!(few < 100 * FLIGHTS_COUNTED as u64, "{what}: {few} blocks for {FLIGHTS_COUNTED} batches");
    }
}

#[test]
fn queries_make_no_messages_between_threads() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let cores = ringdns_rim::cpus_online().unwrap().len().min(2);
    for (what, rcode, setup) in setups() {
        let server = Setup { cores, ..setup }.start();
        let sockets: Vec<_> = (0..SOCKETS).map(|_| server.udp()).collect();
        let (before, heard) = (server.counters(), server.events.lock().unwrap().len());
        ask(&sockets, FLIGHTS[1], 2 * SOCKETS * NAMES, rcode, || ());
        let after = server.counters();
        assert_eq!(after.udp_received - before.udp_received, 2 * (SOCKETS * NAMES) as u64);
        // What the cores were told is to tell their counters, once each.
        assert_eq!(after.messages - before.messages, cores as u64, "{what}");
        // What they tell are chunks of the query log that are full, of seven hundred entries or so.
        let heard = server.events.lock().unwrap().len() - heard;
        assert_eq!(heard > 0, what == "logged", "{what}");
        assert!(heard < 2 * SOCKETS * NAMES / 256, "{what}: {heard}");
    }
}
