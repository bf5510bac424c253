//! A client that measures servers from outside: whole zones fetched, and the slowest answer of a while.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use ringdns_shard::wire::message::Header;
use ringdns_shard::wire::name::Name;
use ringdns_shard::wire::rdata::{CLASS_IN, rtype};

/// How long a server may be silent.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a fetched zone came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fetched {
    /// Messages.
    pub messages: u64,
    /// Octets, without the lengths.
    pub octets: u64,
    /// Records, the SOA twice.
    pub records: u64,
    /// From the query to the last message.
    pub took: Duration,
}

/// Fetches a zone by AXFR (RFC 5936) and counts what comes; it ends with the message whose last record is an SOA.
///
/// # Errors
/// When the connection fails, the server refuses, or closes before the end.
pub fn fetch(server: SocketAddr, zone: &Name) -> io::Result<Fetched> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let query = query(1, zone, rtype::AXFR);
    let begin = Instant::now();
    stream.write_all(&(query.len() as u16).to_be_bytes())?;
    stream.write_all(&query)?;
    let mut reader = BufReader::with_capacity(1 << 18, stream);
    let mut fetched = Fetched::default();
    let mut message = Vec::new();
    // The last message ends in the SOA; as the first record of the first it comes too, and then it is not the end.
    let mut soas = 0;
    while soas < 2 {
        let mut length = [0; 2];
        reader.read_exact(&mut length)?;
        message.resize(usize::from(u16::from_be_bytes(length)), 0);
        reader.read_exact(&mut message)?;
        let malformed = || io::Error::new(io::ErrorKind::InvalidData, "the message does not parse");
        let header = Header::parse(&message).ok_or_else(malformed)?;
        if header.flags & 15 != 0 || header.counts[1] == 0 {
            return Err(io::Error::other(format!("the server refuses with rcode {}", header.flags & 15)));
        }
        fetched.messages += 1;
        fetched.octets += message.len() as u64;
        fetched.records += u64::from(header.counts[1]);
        soas += answer_types(&message, header).ok_or_else(malformed)?.filter(|rtype| *rtype == rtype::SOA).count();
    }
    fetched.took = begin.elapsed();
    Ok(fetched)
}

/// The types of the answer's first and last record: an SOA stands nowhere else.
fn answer_types(message: &[u8], header: Header) -> Option<impl Iterator<Item = u16>> {
    let mut at = 12;
    for _ in 0..header.counts[0] {
        at = skip(message, at)? + 4;
    }
    let (mut first, mut last) = (None, None);
    for i in 0..header.counts[1] {
        let type_at = skip(message, at)?;
        let word = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
        let rtype = word(type_at)?;
        if i == 0 {
            first = Some(rtype);
        } else {
            last = Some(rtype);
        }
        at = type_at + 10 + usize::from(word(type_at + 8)?);
    }
    Some(first.into_iter().chain(last))
}

/// Where a name ends.
fn skip(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match usize::from(*message.get(at)?) {
            0 => return Some(at + 1),
            octets if octets >= 0xc0 => return Some(at + 2),
            octets => at += octets + 1,
        }
    }
}

/// What a while of asking came to.
#[derive(Clone, Debug, Default)]
pub struct Probed {
    /// Queries sent.
    pub asked: u64,
    /// Of these, not answered within a second.
    pub lost: u64,
    /// Times of the answers, ascending.
    pub took: Vec<Duration>,
}

/// Asks for one record over UDP, one query after the other with a pause between, for as long as told; the times of the
/// answers.
///
/// # Errors
/// When there is no socket.
pub fn probe(server: SocketAddr, name: &Name, pause: Duration, length: Duration) -> io::Result<Probed> {
    let local: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0; 8], 0).into() };
    let socket = UdpSocket::bind(local)?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut probed = Probed::default();
    let end = Instant::now() + length;
    let mut buffer = [0; 4096];
    while Instant::now() < end {
        probed.asked += 1;
        let id = probed.asked as u16;
        let begin = Instant::now();
        socket.send(&query(id, name, rtype::A))?;
        loop {
            match socket.recv(&mut buffer) {
                Ok(octets) if octets >= 12 && buffer[..2] == id.to_be_bytes() => {
                    probed.took.push(begin.elapsed());
                    break;
                }
                // A late answer to an earlier query.
                Ok(_) => {}
                Err(_) => {
                    probed.lost += 1;
                    break;
                }
            }
        }
        std::thread::sleep(pause);
    }
    probed.took.sort_unstable();
    Ok(probed)
}

fn query(id: u16, name: &Name, rtype: u16) -> Vec<u8> {
    let mut octets = [&id.to_be_bytes()[..], &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0], name.as_wire()].concat();
    octets.extend(rtype.to_be_bytes());
    octets.extend(CLASS_IN.to_be_bytes());
    octets
}
