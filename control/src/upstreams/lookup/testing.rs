//! A resolver for tests, on a free port of loopback.

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use std::io::{Read, Write};

/// A query that came.
pub(crate) struct Asked {
    pub(crate) octets: Vec<u8>,
    pub(crate) over_tcp: bool,
}

impl Asked {
    fn qtype(&self) -> u16 {
        let at = self.octets.len() - 4;
        u16::from_be_bytes([self.octets[at], self.octets[at + 1]])
    }

    /// A reply with these flags and records.
    pub(crate) fn reply(&self, flags: u16, records: &[Vec<u8>]) -> Vec<u8> {
        let mut reply = self.octets.clone();
        reply[2..4].copy_from_slice(&flags.to_be_bytes());
        reply[6..8].copy_from_slice(&(records.len() as u16).to_be_bytes());
        reply.extend(records.concat());
        reply
    }

    /// A reply with those of the addresses that are asked for.
    pub(crate) fn with(&self, addresses: &[IpAddr], ttl: u32) -> Vec<u8> {
        let records: Vec<Vec<u8>> = addresses
            .iter()
            .filter(|ip| if ip.is_ipv4() { self.qtype() == 1 } else { self.qtype() == 28 })
            .map(|ip| address(b"\xc0\x0c", ttl, *ip))
            .collect();
        self.reply(0x8180, &records)
    }
}

/// An address of `owner`.
pub(crate) fn address(owner: &[u8], ttl: u32, ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => record(owner, 1, ttl, &ip.octets()),
        IpAddr::V6(ip) => record(owner, 28, ttl, &ip.octets()),
    }
}

pub(crate) fn record(owner: &[u8], rtype: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let fixed = [&rtype.to_be_bytes()[..], &[0, 1], &ttl.to_be_bytes(), &(data.len() as u16).to_be_bytes()].concat();
    [owner, &fixed, data].concat()
}

/// Answers on threads that end when it is dropped.
pub(crate) struct Resolver {
    pub(crate) address: SocketAddr,
    pub(crate) asked: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Resolver {
    /// Answers with what `script` makes of a query; nothing is silence.
    pub(crate) fn start(script: impl Fn(&Asked) -> Option<Vec<u8>> + Send + Sync + 'static) -> Resolver {
        let (socket, listener) = one_port();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let (stop, asked, script) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(script));
        let udp = {
            let (stop, asked, script) = (Arc::clone(&stop), Arc::clone(&asked), Arc::clone(&script));
            move || {
                let mut buffer = [0; 4_096];
                while !stop.load(Ordering::SeqCst) {
                    let Ok((octets, client)) = socket.recv_from(&mut buffer) else { continue };
                    asked.fetch_add(1, Ordering::SeqCst);
                    let query = Asked { octets: buffer[..octets].to_vec(), over_tcp: false };
                    if let Some(reply) = script(&query) {
                        // Whoever asked may not wait any more.
                        let _ = socket.send_to(&reply, client);
                    }
                }
            }
        };
        let tcp = {
            let stop = Arc::clone(&stop);
            move || {
                while !stop.load(Ordering::SeqCst) {
                    let Ok((mut stream, _)) = listener.accept() else {
                        thread::sleep(Duration::from_millis(5));
                        continue;
                    };
                    stream.set_nonblocking(false).unwrap();
                    let mut length = [0; 2];
                    stream.read_exact(&mut length).unwrap();
                    let mut octets = vec![0; usize::from(u16::from_be_bytes(length))];
                    stream.read_exact(&mut octets).unwrap();
                    if let Some(reply) = script(&Asked { octets, over_tcp: true }) {
                        let _ = stream.write_all(&[&(reply.len() as u16).to_be_bytes()[..], &reply].concat());
                    }
                }
            }
        };
        let threads = vec![thread::spawn(udp), thread::spawn(tcp)];
        Resolver { address, asked, stop, threads }
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            assert!(thread.join().is_ok() || thread::panicking(), "the scripted resolver panicked");
        }
    }
}

/// A UDP socket and a TCP listener on the same port.
fn one_port() -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        if let Ok(listener) = TcpListener::bind(socket.local_addr().unwrap()) {
            return (socket, listener);
        }
    }
    panic!("no port is free for both");
}
