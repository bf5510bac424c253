//! One question sent, one reply received, over UDP or TCP. The command's only user of sockets for DNS.
//!
//! UDP: the servers are asked in turn, each sending from a fresh port and under a fresh id, as often as the words
//! say; a server that the network reports as unreachable is not asked again. A datagram that does not match is
//! ignored and noted, and the wait goes on. A truncated reply leads to the same server over TCP (RFC 7766 §5).
//! TCP: each server once. Every wait ends at a deadline.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use super::message::{Message, compose, mismatch};
use super::words::Ask;

/// The most a datagram, or a message over TCP, can carry.
const MESSAGE_BYTES_MAX: usize = 65_535;
/// Notes kept; a flood of strange datagrams must not fill the terminal.
const NOTES_MAX: usize = 10;

/// How a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
        })
    }
}

/// What came back, and how.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    /// The message, at least a header.
    pub(super) octets: Vec<u8>,
    pub(super) server: SocketAddr,
    pub(super) transport: Transport,
    /// From the sending that was answered, or from the start of its TCP connection.
    pub(super) elapsed: Duration,
    /// What was noticed on the way, for people, in printable ASCII.
    pub(super) notes: Vec<String>,
}

/// Asks the servers until one replies.
///
/// # Errors
/// A text for the user, several lines where several servers failed.
pub(super) fn exchange(servers: &[SocketAddr], ask: &Ask) -> Result<Reply, String> {
    let mut notes = Notes::default();
    let rounds = if ask.tcp { 1 } else { ask.tries };
    let mut failed: Vec<Option<String>> = vec![None; servers.len()];
    for _ in 0..rounds {
        for (&server, failed) in servers.iter().zip(&mut failed) {
            if failed.is_some() {
                continue;
            }
            match attempt(server, ask, &mut notes) {
                Ok((octets, transport, elapsed)) => {
                    return Ok(Reply { octets, server, transport, elapsed, notes: notes.finish() });
                }
                Err(Failure::Silence(transport)) => notes.add(format!(
                    "{}: no reply over {transport} within {} s",
                    place(server),
                    ask.timeout.as_secs()
                )),
                Err(Failure::Network(why)) => *failed = Some(format!("{}: {why}", place(server))),
            }
        }
    }
    let lines: Vec<String> = notes.finish().into_iter().chain(failed.into_iter().flatten()).collect();
    Err(format!(
        "no reply\n  {}\nIs a DNS server listening there? Name another with @ADDRESS[:PORT], or wait longer with \
         +timeout=SECONDS.",
        lines.join("\n  ")
    ))
}

/// Why one attempt brought nothing.
enum Failure {
    /// The time ran out.
    Silence(Transport),
    /// The network or the server refused; asking again would not help.
    Network(String),
}

type Attempt = Result<(Vec<u8>, Transport, Duration), Failure>;

/// One sending to one server, and TCP after it where the reply is truncated.
fn attempt(server: SocketAddr, ask: &Ask, notes: &mut Notes) -> Attempt {
    if !ask.tcp {
        let (octets, elapsed) = over_udp(server, ask, notes)?;
        if ask.ignore || !Message::is_truncated(&octets) {
            return Ok((octets, Transport::Udp, elapsed));
        }
        notes.add("truncated over UDP, asking again over TCP".to_owned());
    }
    match over_tcp(server, ask, notes) {
        Ok((octets, elapsed)) => Ok((octets, Transport::Tcp, elapsed)),
        Err(Failure::Network(why)) if !ask.tcp => {
            Err(Failure::Network(format!("{why}; +ignore shows the truncated reply")))
        }
        Err(failure) => Err(failure),
    }
}

fn over_udp(server: SocketAddr, ask: &Ask, notes: &mut Notes) -> Result<(Vec<u8>, Duration), Failure> {
    let network = |error: io::Error| Failure::Network(format!("UDP: {error}"));
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).map_err(network)?;
    // Connected: the kernel lets nothing in from another sender, and reports an unreachable one.
    socket.connect(server).map_err(network)?;
    let id = fresh_id();
    let start = Instant::now();
    socket.send(&compose(ask, id)).map_err(network)?;
    let mut buffer = vec![0; MESSAGE_BYTES_MAX];
    loop {
        let left = time_left(start, ask.timeout).ok_or(Failure::Silence(Transport::Udp))?;
        socket.set_read_timeout(Some(left)).map_err(network)?;
        match socket.recv(&mut buffer) {
            Ok(length) => match mismatch(&buffer[..length], ask, id) {
                None => {
                    buffer.truncate(length);
                    return Ok((buffer, start.elapsed()));
                }
                Some(why) => notes.ignored(server, &why),
            },
            Err(error) if is_waiting(&error) => {}
            Err(error) => return Err(network(error)),
        }
    }
}

fn over_tcp(server: SocketAddr, ask: &Ask, notes: &mut Notes) -> Result<(Vec<u8>, Duration), Failure> {
    let failure = |error: io::Error| match error.kind() {
        io::ErrorKind::TimedOut => Failure::Silence(Transport::Tcp),
        io::ErrorKind::UnexpectedEof => {
            Failure::Network("TCP: the server closed the connection without a reply".to_owned())
        }
        _ => Failure::Network(format!("TCP: {error}")),
    };
    let id = fresh_id();
    let start = Instant::now();
    let mut stream = TcpStream::connect_timeout(&server, ask.timeout).map_err(failure)?;
    // Length and message leave in one segment (RFC 7766 §8).
    let query = compose(ask, id);
    let mut framed = (query.len() as u16).to_be_bytes().to_vec();
    framed.extend(query);
    stream.set_write_timeout(Some(ask.timeout)).map_err(failure)?;
    stream.write_all(&framed).map_err(failure)?;
    loop {
        let mut length = [0; 2];
        read_full(&mut stream, &mut length, start, ask.timeout).map_err(failure)?;
        let mut octets = vec![0; usize::from(u16::from_be_bytes(length))];
        read_full(&mut stream, &mut octets, start, ask.timeout).map_err(failure)?;
        match mismatch(&octets, ask, id) {
            None => return Ok((octets, start.elapsed())),
            Some(why) => notes.ignored(server, &why),
        }
    }
}

/// Fills the buffer before the time is up.
fn read_full(stream: &mut TcpStream, buffer: &mut [u8], start: Instant, timeout: Duration) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        let left = time_left(start, timeout).ok_or(io::ErrorKind::TimedOut)?;
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if is_waiting(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// `None` once the time is up; never zero, which sockets take for "for ever".
fn time_left(start: Instant, timeout: Duration) -> Option<Duration> {
    timeout.checked_sub(start.elapsed()).filter(|left| !left.is_zero())
}

fn is_waiting(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// Unpredictable to a forger: SipHash of nothing under keys that the standard library draws from the system.
fn fresh_id() -> u16 {
    RandomState::new().build_hasher().finish() as u16
}

/// As `dig` writes an address.
fn place(server: SocketAddr) -> String {
    format!("{}#{}", server.ip(), server.port())
}

/// What is noticed on the way, at most [`NOTES_MAX`] texts.
#[derive(Default)]
struct Notes {
    texts: Vec<String>,
    left_out: usize,
}

impl Notes {
    fn add(&mut self, text: String) {
        if self.texts.len() < NOTES_MAX {
            self.texts.push(text);
        } else {
            self.left_out += 1;
        }
    }

    fn ignored(&mut self, server: SocketAddr, why: &str) {
        self.add(format!("ignored a message from {}: {why}", place(server)));
    }

    fn finish(self) -> Vec<String> {
        let mut texts = self.texts;
        if self.left_out > 0 {
            texts.push(format!("{} more such notes left out", self.left_out));
        }
        texts
    }
}
