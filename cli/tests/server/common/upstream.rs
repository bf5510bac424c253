//! A server for ringdns to ask, whose replies the test writes.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::dns::{HEADER, Reply, Via, framed};
use super::{PATIENCE, free_port};

/// How long the threads wait before they look whether to end.
const PAUSE: Duration = Duration::from_millis(20);

/// A query that came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) octets: Vec<u8>,
    pub(crate) via: Via,
}

impl Asked {
    /// The name in the spelling that came.
    pub(crate) fn name(&self) -> String {
        Reply::read(self.octets.clone()).question().split(' ').next().unwrap_or_default().to_owned()
    }

    /// A reply to it with these flags and records for the answer section.
    pub(crate) fn reply(&self, flags: u16, records: &[Vec<u8>]) -> Vec<u8> {
        reply(&self.octets, flags, records)
    }
}

/// Flags of a reply: QR, RA, and a response code.
pub(crate) const ANSWER: u16 = 0x8180;
pub(crate) const TRUNCATED: u16 = 0x8380;

/// A reply to `query` with these flags and records for the answer section; of OPT nothing is repeated.
pub(crate) fn reply(query: &[u8], flags: u16, records: &[Vec<u8>]) -> Vec<u8> {
    let mut end = HEADER;
    while query[end] != 0 {
        end += 1 + usize::from(query[end]);
    }
    let mut reply = query[..end + 5].to_vec();
    reply[2..4].copy_from_slice(&flags.to_be_bytes());
    reply[4..HEADER].copy_from_slice(&[0, 1, 0, records.len() as u8, 0, 0, 0, 0]);
    reply.extend(records.concat());
    reply
}

/// An address of the name asked for.
pub(crate) fn address(ttl: u32, last: u8) -> Vec<u8> {
    [&b"\xc0\x0c\0\x01\0\x01"[..], &ttl.to_be_bytes(), &[0, 4, 192, 0, 2, last]].concat()
}

type Script = dyn Fn(&Asked) -> Vec<(Duration, Vec<u8>)> + Send + Sync;

/// One port for UDP and TCP, on threads that end when it is dropped.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    stop: AtomicBool,
    udp: AtomicUsize,
    tcp: AtomicUsize,
    queries: Mutex<Vec<Asked>>,
    script: Box<Script>,
}

impl Upstream {
    /// Answers with what `script` makes of a query; nothing is silence.
    pub(crate) fn start(script: impl Fn(&Asked) -> Option<Vec<u8>> + Send + Sync + 'static) -> Upstream {
        Upstream::start_late(move |asked| script(asked).map(|reply| (Duration::ZERO, reply)).into_iter().collect())
    }

    /// The same with several replies, each after its delay. Delays are for UDP.
    pub(crate) fn start_late(script: impl Fn(&Asked) -> Vec<(Duration, Vec<u8>)> + Send + Sync + 'static) -> Upstream {
        let (socket, listener) = one_port();
        let address = socket.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            udp: AtomicUsize::new(0),
            tcp: AtomicUsize::new(0),
            queries: Mutex::default(),
            script: Box::new(script),
        });
        let threads = vec![
            thread::spawn({
                let shared = Arc::clone(&shared);
                move || shared.serve_udp(&Arc::new(socket))
            }),
            thread::spawn({
                let shared = Arc::clone(&shared);
                move || shared.serve_tcp(&listener)
            }),
        ];
        Upstream { address, shared, threads }
    }

    /// Queries that came, one way and the other.
    pub(crate) fn count(&self, via: Via) -> usize {
        match via {
            Via::Udp => self.shared.udp.load(Ordering::SeqCst),
            Via::Tcp => self.shared.tcp.load(Ordering::SeqCst),
        }
    }

    pub(crate) fn queries(&self) -> Vec<Asked> {
        self.shared.queries.lock().expect("no thread panicked").clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "the scripted server panicked");
        }
    }
}

impl Shared {
    fn asked(&self, octets: &[u8], via: Via) -> Vec<(Duration, Vec<u8>)> {
        let counter = if via == Via::Udp { &self.udp } else { &self.tcp };
        let asked = Asked { octets: octets.to_vec(), via };
        self.queries.lock().expect("no thread panicked").push(asked.clone());
        counter.fetch_add(1, Ordering::SeqCst);
        (self.script)(&asked)
    }

    fn serve_udp(&self, socket: &Arc<UdpSocket>) {
        let mut buffer = [0; 65_535];
        while !self.stop.load(Ordering::SeqCst) {
            let Ok((length, client)) = socket.recv_from(&mut buffer) else { continue };
            for (delay, reply) in self.asked(&buffer[..length], Via::Udp) {
                if delay.is_zero() {
                    socket.send_to(&reply, client).expect("it is sent");
                } else {
                    let socket = Arc::clone(socket);
                    thread::spawn(move || {
                        thread::sleep(delay);
                        socket.send_to(&reply, client).expect("it is sent");
                    });
                }
            }
        }
    }

    fn serve_tcp(&self, listener: &TcpListener) {
        while !self.stop.load(Ordering::SeqCst) {
            match listener.accept() {
                // The other side may hang up at any time; that ends its connection only.
                Ok((stream, _)) => drop(self.serve_connection(stream)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(PAUSE),
                Err(error) => panic!("accept: {error}"),
            }
        }
    }

    fn serve_connection(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut query)?;
        for (_, reply) in self.asked(&query, Via::Tcp) {
            stream.write_all(&framed(&reply))?;
        }
        Ok(())
    }
}

/// A UDP socket and a TCP listener on the same port.
fn one_port() -> (UdpSocket, TcpListener) {
    let address = free_port();
    let socket = UdpSocket::bind(address).expect("a port that is free");
    let listener = TcpListener::bind(address).expect("a port that is free");
    socket.set_read_timeout(Some(PAUSE)).expect("a time-out");
    listener.set_nonblocking(true).expect("an option");
    (socket, listener)
}
