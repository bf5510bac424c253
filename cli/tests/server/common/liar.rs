//! A primary that says what a test tells it to, over UDP and TCP.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::dns::{framed, read_frame, wire};
use super::{PATIENCE, free_port};

/// What it does with a connection after the query: the query and the stream are given.
type Script = dyn Fn(&[u8], &mut TcpStream) + Send + Sync;

/// A lying primary; it ends with the test.
pub(crate) struct Liar {
    pub(crate) address: SocketAddr,
    /// The serial that it claims over UDP.
    pub(crate) serial: Arc<AtomicU32>,
    /// Transfers that were asked for.
    pub(crate) asked: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Liar {
    /// Claims `serial` for whatever zone it is asked about, and leaves transfers to `script`.
    pub(crate) fn start(serial: u32, script: impl Fn(&[u8], &mut TcpStream) + Send + Sync + 'static) -> Liar {
        let script: Arc<Script> = Arc::new(script);
        let (udp, tcp, address) = sockets();
        let (serial, asked) = (Arc::new(AtomicU32::new(serial)), Arc::new(AtomicU32::new(0)));
        let stop = Arc::new(AtomicBool::new(false));
        let over_udp = {
            let (serial, stop) = (Arc::clone(&serial), Arc::clone(&stop));
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while !stop.load(Ordering::SeqCst) {
                    if let Ok((length, from)) = udp.recv_from(&mut buffer) {
                        let query = &buffer[..length];
                        let soa = Record::soa(&question_name(query), serial.load(Ordering::SeqCst));
                        let _ = udp.send_to(&reply(query, &[soa]), from);
                    }
                }
            })
        };
        let over_tcp = {
            let (asked, stop) = (Arc::clone(&asked), Arc::clone(&stop));
            thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    match tcp.accept() {
                        Ok((mut stream, _)) => {
                            let _ = stream.set_nonblocking(false);
                            let _ = stream.set_read_timeout(Some(PATIENCE));
                            let _ = stream.set_write_timeout(Some(Duration::from_secs(5)));
                            let Some(query) = read_frame(&mut stream) else { continue };
                            asked.fetch_add(1, Ordering::SeqCst);
                            script(&query, &mut stream);
                        }
                        Err(_) => thread::sleep(Duration::from_millis(5)),
                    }
                }
            })
        };
        Liar { address, serial, asked, stop, threads: vec![over_udp, over_tcp] }
    }

    pub(crate) fn asked(&self) -> u32 {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn sockets() -> (UdpSocket, TcpListener, SocketAddr) {
    let address = free_port();
    let udp = UdpSocket::bind(address).expect("a port that is free");
    let tcp = TcpListener::bind(address).expect("a port that is free");
    udp.set_read_timeout(Some(Duration::from_millis(50))).expect("a time-out");
    tcp.set_nonblocking(true).expect("an option");
    (udp, tcp, address)
}

/// A record as it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    owner: Vec<u8>,
    rtype: u16,
    data: Vec<u8>,
}

impl Record {
    pub(crate) fn new(owner: &str, rtype: u16, data: &[u8]) -> Record {
        Record { owner: wire(owner), rtype, data: data.to_vec() }
    }

    pub(crate) fn address(owner: &str, last: u8) -> Record {
        Record::new(owner, 1, &[192, 0, 2, last])
    }

    pub(crate) fn soa(zone: &str, serial: u32) -> Record {
        let mut data = [wire("ns.example.test"), wire("hostmaster.example.test")].concat();
        for field in [serial, 3600, 1, 604_800, 60] {
            data.extend(field.to_be_bytes());
        }
        Record::new(zone, 6, &data)
    }

    pub(crate) fn ns(zone: &str) -> Record {
        Record::new(zone, 2, &wire("ns.example.test"))
    }
}

/// The name asked for in a query that the binary sent.
pub(crate) fn question_name(query: &[u8]) -> String {
    let mut name = String::new();
    let mut at = 12;
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        name += &String::from_utf8_lossy(&query[at + 1..end]);
        name.push('.');
        at = end;
    }
    name
}

/// A reply with these records in its answer section, and the question of the query.
pub(crate) fn reply(query: &[u8], records: &[Record]) -> Vec<u8> {
    let question_end = 12 + wire(&question_name(query)).len() + 4;
    let mut octets = query[..question_end].to_vec();
    octets[2..4].copy_from_slice(&[0x84, 0]);
    octets[4..12].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
    octets[6..8].copy_from_slice(&(records.len() as u16).to_be_bytes());
    for record in records {
        octets.extend(&record.owner);
        octets.extend(record.rtype.to_be_bytes());
        octets.extend([0, 1, 0, 0, 1, 44]);
        octets.extend((record.data.len() as u16).to_be_bytes());
        octets.extend(&record.data);
    }
    octets
}

/// Sends messages, each with its length.
pub(crate) fn send(stream: &mut TcpStream, messages: &[Vec<u8>]) {
    for message in messages {
        if stream.write_all(&framed(message)).is_err() {
            return;
        }
    }
}
