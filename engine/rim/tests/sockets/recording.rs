//! What cores record of queries, handed over while they answer, when somebody asks for it, and at their end.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use ringdns_rim::{Event, Snapshot};
use ringdns_shard::Transport;
use ringdns_shard::images::Recording;
use ringdns_shard::limits::{MESSAGE_OCTETS_MAX, TAP_CHUNK_OCTETS};
use ringdns_shard::telemetry::log::Policy;
use ringdns_shard::telemetry::tap::Kind;
use ringdns_shard::telemetry::{Handed, log, tap};
use ringdns_shard::upstream::Protocol;

use crate::common::{PATIENCE, Running, Setup, answer, framed, id_of, query, read_frame, send_frame};

const LOG_ALL: Recording = Recording { log_sample: 1, tap_clients: false, tap_upstreams: false };
const TAP_ALL: Recording = Recording { log_sample: 0, tap_clients: true, tap_upstreams: true };

/// Asks as often, one query after the other, and waits for each reply.
fn ask(socket: &UdpSocket, label: &str, count: usize) {
    let mut octets = [0; 512];
    for id in 0..count as u16 {
        socket.send(&query(id, label)).unwrap();
        socket.recv(&mut octets).expect("no reply is lost");
        assert_eq!(id_of(&octets), id);
    }
}

/// The chunks of the query log that have been handed over since the last call.
fn logged(server: &Running) -> Vec<Handed<log::Chunk>> {
    let take = |event| if let Event::Logged(handed) = event { handed } else { panic!("{event:?}") };
    server.events.lock().unwrap().drain(..).map(take).collect()
}

fn entries(chunks: &[Handed<log::Chunk>]) -> u64 {
    chunks.iter().map(|handed| u64::from(handed.chunk.entries)).sum()
}

fn core(server: &Running) -> Snapshot {
    server.cores.snapshots(PATIENCE)[0].clone().expect("the core answers")
}

#[test]
fn what_is_answered_is_handed_over_while_queries_run_and_at_the_end() {
    const EACH: usize = 1_000;
    let server = Setup { cores: 2, recording: LOG_ALL, ..Setup::default() }.start();
    // Several sockets: the kernel spreads them over the cores.
    (0..4).for_each(|_| ask(&server.udp(), "Many", EACH));
    let mut stream = server.tcp();
    for id in 0..100 {
        send_frame(&mut stream, &query(id, "stream"));
        assert_eq!(id_of(&read_frame(&mut stream).unwrap()), id);
    }
    let mut chunks = logged(&server);
    assert!(entries(&chunks) > 0 && chunks.iter().all(|handed| handed.chunk.entries > 500), "full ones so far");
    let asked = 4 * EACH as u64 + 100;
    let last = server.cores.stop(PATIENCE);
    let counted: u64 = last.iter().map(|last| last.as_ref().unwrap().shard.log_entries).sum();
    chunks.extend(logged(&server));
    assert_eq!((entries(&chunks), counted), (asked, asked));

    let day = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros() as u64;
    let mut over_tcp = 0;
    for handed in &chunks {
        assert!(handed.core < last.len() && day.abs_diff(handed.unix_micros) < 600_000_000, "{}", handed.unix_micros);
        assert_eq!(handed.chunk.entries().count(), handed.chunk.entries as usize);
        let mut before = None;
        for entry in handed.chunk.entries() {
            let reply_sent = entry.at + Duration::from_micros(entry.latency_micros.into());
            assert!(before <= Some(entry.at) && reply_sent <= handed.now, "{entry:?}");
            before = Some(entry.at);
            let name: &[u8] =
                if entry.transport == Transport::Tcp { b"\x06stream\x07example\0" } else { b"\x04many\x07example\0" };
            assert_eq!((entry.name, entry.rcode, entry.policy), (name, Some(5), Policy::Route));
            over_tcp += u64::from(entry.transport == Transport::Tcp);
        }
    }
    assert_eq!(over_tcp, 100);
    let latencies = chunks.iter().flat_map(|handed| handed.chunk.entries().map(|entry| entry.latency_micros));
    assert!(latencies.filter(|&micros| micros > 0).count() > 1_000, "a system call takes its time");
}

#[test]
fn nothing_is_handed_over_where_nothing_is_recorded() {
    let server = Setup::default().start();
    ask(&server.udp(), "quiet", 2_000);
    assert!(server.cores.hand_over(PATIENCE));
    let last = server.cores.stop(PATIENCE).remove(0).unwrap();
    assert_eq!((last.shard.log_entries, last.shard.log_sampled_out, last.shard.tap_messages), (0, 0, 0));
    assert!(server.events.lock().unwrap().is_empty());
}

#[test]
fn what_there_is_is_handed_over_when_somebody_asks() {
    let server = Setup { recording: LOG_ALL, ..Setup::default() }.start();
    let socket = server.udp();
    for count in [3, 5] {
        ask(&socket, "few", count);
        assert!(logged(&server).is_empty());
        assert!(server.cores.hand_over(PATIENCE));
        assert_eq!(entries(&logged(&server)), count as u64);
        assert!(server.cores.hand_over(PATIENCE) && logged(&server).is_empty(), "it is there already");
    }
    server.cores.stop(Duration::ZERO);
    assert!(!server.cores.hand_over(Duration::from_secs(1)));
}

#[test]
fn asking_for_it_under_load_loses_and_doubles_nothing() {
    let server = Setup { cores: 2, recording: LOG_ALL, ..Setup::default() }.start();
    let over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (socket, over) = (server.udp(), over.clone());
            thread::spawn(move || {
                let mut asked = 0;
                while !over.load(Ordering::Relaxed) {
                    ask(&socket, "load", 10);
                    asked += 10;
                }
                asked
            })
        })
        .collect();
    let end = Instant::now() + PATIENCE;
    let (mut rounds, mut midway) = (0, 0);
    while rounds < 200 || midway == 0 {
        assert!(server.cores.hand_over(PATIENCE) && Instant::now() < end);
        (rounds, midway) = (rounds + 1, midway + entries(&logged(&server)));
    }
    over.store(true, Ordering::Relaxed);
    let asked: u64 = clients.into_iter().map(|client| client.join().unwrap()).sum();
    server.cores.stop(PATIENCE);
    assert_eq!(midway + entries(&logged(&server)), asked);
}

#[test]
fn a_reader_without_room_costs_entries_and_no_replies() {
    const ASKED: usize = 5_000;
    let (sender, receiver) = mpsc::sync_channel(1);
    let lost = Arc::new(Mutex::new(0u64));
    let losses = lost.clone();
    let hear = move |event| {
        let Event::Logged(handed) = event else { panic!("{event:?}") };
        let entries = u64::from(handed.chunk.entries);
        if sender.try_send(handed).is_err() {
            *losses.lock().unwrap() += entries;
        }
    };
    let server = Setup { recording: LOG_ALL, ..Setup::default() }.start_with(Arc::new(hear));
    ask(&server.udp(), "lost", ASKED);
    server.cores.stop(PATIENCE);
    let read: Vec<_> = receiver.try_iter().collect();
    assert_eq!(read.len(), 1);
    let lost = *lost.lock().unwrap();
    assert!(lost > 0);
    assert_eq!(entries(&read) + lost, ASKED as u64);
}

#[test]
fn a_chunk_has_entries_of_one_sample() {
    let server = Setup { recording: LOG_ALL, ..Setup::default() }.start();
    let socket = server.udp();
    ask(&socket, "sampled", 20);
    for log_sample in [4, 0, 1] {
        let recording = Recording { log_sample, ..Recording::default() };
        server.cores.swap(vec![Setup { recording, ..server.setup.clone() }.images()], PATIENCE).unwrap();
        ask(&socket, "sampled", 200);
    }
    let last = server.cores.stop(PATIENCE).remove(0).unwrap().shard;
    let chunks = logged(&server);
    let samples: Vec<u32> = chunks.iter().map(|handed| handed.chunk.sample).collect();
    assert_eq!(samples, [1, 4, 1]);
    let [first, sampled, third] = [0, 1, 2].map(|place| u64::from(chunks[place].chunk.entries));
    assert_eq!((first, third), (20, 200));
    assert!((1..200).contains(&sampled), "{sampled} of 200");
    assert_eq!((last.log_entries, last.log_sampled_out), (220 + sampled, 200 - sampled));
}

#[test]
fn the_tap_has_what_came_and_went_to_the_octet() {
    let upstream = UdpSocket::bind("127.0.0.1:0").unwrap();
    upstream.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = upstream.local_addr().unwrap();
    let setup = Setup { recording: TAP_ALL, upstream: Some((Protocol::Udp, address)), ..Setup::default() };
    let server = setup.start();
    let (socket, mut stream) = (server.udp(), server.tcp());
    let mut octets = [0; 512];
    let question = query(1, "tapped");
    socket.send(&question).unwrap();
    let (length, from) = upstream.recv_from(&mut octets).unwrap();
    let (asked, told) = (octets[..length].to_vec(), answer(&octets[..length], 0));
    upstream.send_to(&told, from).unwrap();
    let length = socket.recv(&mut octets).unwrap();
    let over_udp = octets[..length].to_vec();
    let again = query(2, "tapped");
    send_frame(&mut stream, &again);
    let over_tcp = read_frame(&mut stream).unwrap();
    let last = server.cores.stop(PATIENCE).remove(0).unwrap();

    let events = std::mem::take(&mut *server.events.lock().unwrap());
    let [Event::Tapped(Handed { now, chunk, .. })] = &events[..] else { panic!("{events:?}") };
    let messages: Vec<tap::Message<'_>> = chunk.messages().collect();
    let seen: Vec<_> =
        messages.iter().map(|message| (message.kind, message.tcp, message.peer, message.octets)).collect();
    let [udp, tcp]: [SocketAddr; 2] = [socket.local_addr().unwrap(), stream.local_addr().unwrap()];
    let udp = SocketAddr::new("127.0.0.1".parse().unwrap(), udp.port());
    let expected: [(Kind, bool, SocketAddr, &[u8]); 6] = [
        (Kind::ClientQuery, false, udp, &question),
        (Kind::UpstreamQuery, false, address, &asked),
        (Kind::UpstreamResponse, false, address, &told),
        (Kind::ClientResponse, false, udp, &over_udp),
        (Kind::ClientQuery, true, tcp, &again),
        (Kind::ClientResponse, true, tcp, &over_tcp),
    ];
    assert_eq!((seen, last.shard.tap_messages), (expected.to_vec(), 6));
    assert!(messages.iter().all(|message| message.asked <= message.at && message.at <= *now));
}

/// A query for the texts of `label`.example.
fn query_texts(id: u16, label: &str) -> Vec<u8> {
    let mut query = query(id, label);
    let qtype = query.len() - 3;
    query[qtype] = 16;
    query
}

/// What a server says to such a query: some sixty thousand octets.
fn long_answer(query: &[u8]) -> Vec<u8> {
    let mut message = answer(query, 0);
    // In place of the address that is in it.
    message.truncate(message.len() - 16);
    let text = [&[255][..], &[b'x'; 255]].concat().repeat(16);
    for number in 0..14 {
        message.extend_from_slice(&[0xC0, 12, 0, 16, 0, 1, 0, 0, 0, 60]);
        message.extend_from_slice(&(text.len() as u16 + 2).to_be_bytes());
        message.extend_from_slice(&text);
        message.extend_from_slice(&[1, number]);
    }
    message[6..8].copy_from_slice(&[0, 14]);
    message
}

/// How many messages there are in the chunks that have been handed over, of which none takes more than it may.
#[track_caller]
fn tapped_in_chunks(server: &Running) -> u64 {
    let events = std::mem::take(&mut *server.events.lock().unwrap());
    let mut messages = 0;
    for event in events {
        let Event::Tapped(Handed { chunk, .. }) = event else { panic!("{event:?}") };
        let octets: usize = chunk.messages().map(|message| message.octets.len()).sum();
        assert!(octets < TAP_CHUNK_OCTETS + 2 * MESSAGE_OCTETS_MAX, "{octets} octets in {} messages", chunk.messages);
        assert!(chunk.octets() < 3 * TAP_CHUNK_OCTETS, "{}", chunk.octets());
        messages += u64::from(chunk.messages);
    }
    messages
}

#[test]
fn long_replies_to_many_clients_and_to_many_requests_of_one_are_tapped_in_chunks_of_bounded_length() {
    const CLIENTS: usize = 60;
    const REQUESTS: u16 = 120;
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = upstream.local_addr().unwrap();
    let upstream_at = Some((Protocol::Tcp, address));
    let server = Setup { recording: TAP_ALL, upstream: upstream_at, tcp_clients: 400, ..Setup::default() }.start();
    // All of them wait for one answer.
    let mut clients: Vec<TcpStream> = (0..CLIENTS).map(|_| server.tcp()).collect();
    clients.iter_mut().for_each(|client| send_frame(client, &query_texts(1, "long")));
    let end = Instant::now() + PATIENCE;
    while core(&server).waiters < CLIENTS {
        assert!(Instant::now() < end, "{}", core(&server).waiters);
        thread::sleep(Duration::from_millis(5));
    }
    let (mut stream, _) = upstream.accept().unwrap();
    let asked = read_frame(&mut stream).unwrap();
    send_frame(&mut stream, &long_answer(&asked));
    for client in &mut clients {
        assert!(read_frame(client).unwrap().len() > 50_000);
    }
    assert!(server.cores.hand_over(PATIENCE));
    assert_eq!(tapped_in_chunks(&server), 2 + 2 * CLIENTS as u64);

    // Now that it is known, one asks for it as often as fits what is read at once.
    let requests: Vec<u8> = (0..REQUESTS).flat_map(|id| framed(&query_texts(id, "long"))).collect();
    assert!(requests.len() < 4_096);
    let mut client = clients.remove(0);
    client.write_all(&requests).unwrap();
    for id in 0..REQUESTS {
        assert_eq!(id_of(&read_frame(&mut client).unwrap()), id);
    }
    assert!(server.cores.hand_over(PATIENCE));
    assert_eq!(tapped_in_chunks(&server), 2 * u64::from(REQUESTS));
}

#[test]
fn a_snapshot_tells_how_long_clients_waited() {
    let upstream = UdpSocket::bind("127.0.0.1:0").unwrap();
    upstream.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = Some((Protocol::Udp, upstream.local_addr().unwrap()));
    let server = Setup { upstream: address, ..Setup::default() }.start();
    let (socket, mut stream) = (server.udp(), server.tcp());
    let mut octets = [0; 512];
    send_frame(&mut stream, &query(1, "waited"));
    let (length, from) = upstream.recv_from(&mut octets).unwrap();
    thread::sleep(Duration::from_millis(20));
    upstream.send_to(&answer(&octets[..length], 0), from).unwrap();
    read_frame(&mut stream).unwrap();
    ask(&socket, "waited", 50);
    let snapshot = core(&server);
    let telemetry = &snapshot.telemetry;
    let [udp, tcp] = [Transport::Udp, Transport::Tcp].map(|transport| transport as usize);
    let count =
        |histograms: &[ringdns_shard::telemetry::Histogram; 2]| [histograms[udp].count(), histograms[tcp].count()];
    assert_eq!((count(&telemetry.at_once), count(&telemetry.waited)), ([50, 0], [0, 1]));
    assert!(telemetry.waited[tcp].sum_micros() >= 20_000 && telemetry.at_once[udp].sum_micros() > 0);
    assert_eq!((telemetry.round_trips.count(), telemetry.types.iter().sum::<u64>()), (1, 51));
    assert!(telemetry.round_trips.sum_micros() >= 20_000);
    assert!(snapshot.cpu_micros > 0 && core(&server).cpu_micros >= snapshot.cpu_micros);
    assert_eq!(snapshot.datagrams_waiting, 0);
}

#[test]
fn a_snapshot_tells_what_waits_for_the_core() {
    // Whoever hears of the core's events holds it up until this is dropped.
    let (release, held) = mpsc::channel::<()>();
    let (reached, reaches) = mpsc::channel();
    let held = Mutex::new(held);
    let hear = move |_| {
        let _ = reached.send(());
        let _ = held.lock().unwrap().recv();
    };
    let server = Setup { recording: LOG_ALL, ..Setup::default() }.start_with(Arc::new(hear));
    ask(&server.udp(), "held", 1);
    let cores = server.cores.clone();
    let holding = thread::spawn(move || cores.hand_over(PATIENCE));
    reaches.recv_timeout(PATIENCE).unwrap();
    let begun = Arc::new(Barrier::new(5));
    let asking: Vec<_> = (0..4)
        .map(|_| {
            let (cores, begun) = (server.cores.clone(), begun.clone());
            thread::spawn(move || {
                begun.wait();
                cores.snapshots(PATIENCE)[0].clone().unwrap().messages_waiting
            })
        })
        .collect();
    begun.wait();
    // As long as the core is held up, nothing of it can be asked: all four have their time to send what they ask.
    thread::sleep(Duration::from_millis(500));
    assert!(asking.iter().all(|asking| !asking.is_finished()));
    drop(release);
    assert!(holding.join().unwrap());
    let mut waiting: Vec<usize> = asking.into_iter().map(|asking| asking.join().unwrap()).collect();
    waiting.sort_unstable();
    assert_eq!(waiting, [0, 1, 2, 3]);
    assert_eq!(core(&server).messages_waiting, 0);
}

#[test]
fn who_still_waits_when_a_core_ends_has_an_entry_too() {
    let upstream = UdpSocket::bind("127.0.0.1:0").unwrap();
    upstream.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = Some((Protocol::Udp, upstream.local_addr().unwrap()));
    let server = Setup { recording: LOG_ALL, upstream: address, ..Setup::default() }.start();
    server.udp().send(&query(1, "vain")).unwrap();
    upstream.recv(&mut [0; 512]).unwrap();
    let last = server.cores.stop(Duration::from_millis(50)).remove(0).unwrap();
    let chunks = logged(&server);
    let found: Vec<_> = chunks.iter().flat_map(|handed| handed.chunk.entries()).collect();
    let [entry] = &found[..] else { panic!("{found:?}") };
    assert_eq!((entry.rcode, entry.outcome, last.waiters), (None, log::Outcome::Dropped, 1));
    assert_eq!((last.shard.log_entries, last.shard.waiters_abandoned), (1, 1));
    assert!(entry.latency_micros >= 50_000, "{}", entry.latency_micros);
}
