//! A client over TCP: some connections that stay, each with a number of queries in flight (RFC 7766 §6.2.1.1).

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::data::Messages;

/// What is asked of whom.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// The server.
    pub server: SocketAddr,
    /// The rcode that is right.
    pub rcode: u8,
    /// Connections, all opened before the first query.
    pub connections: usize,
    /// Queries in flight on each; at most 65,536.
    pub pipelined: usize,
    /// For so long.
    pub length: Duration,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Streamed {
    /// Answered as expected.
    pub answered: u64,
    /// Answered otherwise.
    pub wrong: u64,
    /// Connections that the server has closed; others took their place.
    pub closed: u64,
    /// How long it took.
    pub length: Duration,
}

/// Connections that a server may close before it counts as one that does not let them stay.
const CLOSED_MAX: u64 = 1000;
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a wait lasts before the time is looked at again, in milliseconds.
const WAIT: u8 = 20;

/// Asks, again and again, all through the messages.
///
/// # Errors
/// When connections cannot be opened or do not stay; and what `check` returns, which is asked time and again.
pub fn ask(order: Order, messages: &Messages, check: impl Fn() -> io::Result<()>) -> io::Result<Streamed> {
    let mut connections = (0..order.connections).map(|_| Connection::open(&order)).collect::<io::Result<Vec<_>>>()?;
    let mut streamed = Streamed::default();
    let mut next = 0;
    let mut buffer = vec![0; 1 << 16];
    let begin = Instant::now();
    while begin.elapsed() < order.length {
        check()?;
        for connection in &mut connections {
            connection.fill(messages, &mut next);
            let alive = connection.write().and_then(|()| connection.read(&mut buffer, order.rcode, &mut streamed));
            match alive {
                Ok(()) => {}
                Err(_) if streamed.closed < CLOSED_MAX => {
                    streamed.closed += 1;
                    *connection = Connection::open(&order)?;
                }
                Err(error) => return Err(io::Error::other(format!("connections do not stay: {error}"))),
            }
        }
        let mut waiting: Vec<PollFd> = connections.iter().map(Connection::interest).collect();
        poll(&mut waiting, PollTimeout::from(WAIT)).map_err(io::Error::from)?;
    }
    streamed.length = begin.elapsed();
    Ok(streamed)
}

struct Connection {
    stream: TcpStream,
    /// What the socket has not taken yet.
    outgoing: Vec<u8>,
    /// What has come and is no whole message yet.
    incoming: Vec<u8>,
    /// Ids that may be used, and for each whether a query with it is in flight.
    free: Vec<u16>,
    in_flight: Vec<bool>,
}

impl Connection {
    fn open(order: &Order) -> io::Result<Connection> {
        let stream = TcpStream::connect_timeout(&order.server, PATIENCE)?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Connection {
            stream,
            outgoing: Vec::new(),
            incoming: Vec::new(),
            free: (0..order.pipelined).map(|id| id as u16).collect(),
            in_flight: vec![false; order.pipelined],
        })
    }

    fn interest(&self) -> PollFd<'_> {
        let writes = if self.outgoing.is_empty() { PollFlags::empty() } else { PollFlags::POLLOUT };
        PollFd::new(self.stream.as_fd(), PollFlags::POLLIN | writes)
    }

    /// Queries for all ids that are free.
    fn fill(&mut self, messages: &Messages, next: &mut usize) {
        while let Some(id) = self.free.pop() {
            let message = messages.at(*next % messages.count());
            *next += 1;
            self.in_flight[usize::from(id)] = true;
            self.outgoing.extend((message.len() as u16).to_be_bytes());
            self.outgoing.extend(id.to_be_bytes());
            self.outgoing.extend(&message[2..]);
        }
    }

    fn write(&mut self) -> io::Result<()> {
        while !self.outgoing.is_empty() {
            match self.stream.write(&self.outgoing) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(octets) => drop(self.outgoing.drain(..octets)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8], rcode: u8, streamed: &mut Streamed) -> io::Result<()> {
        match self.stream.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(octets) => self.incoming.extend(&buffer[..octets]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
        let mut at = 0;
        while let Some(&[high, low]) = self.incoming.get(at..at + 2) {
            let octets = usize::from(u16::from_be_bytes([high, low]));
            let Some(reply) = self.incoming.get(at + 2..at + 2 + octets) else { break };
            at += 2 + octets;
            if reply.len() < 12 {
                return Err(ErrorKind::InvalidData.into());
            }
            let id = u16::from_be_bytes([reply[0], reply[1]]);
            let expected = self.in_flight.get(usize::from(id)) == Some(&true);
            if !expected {
                return Err(ErrorKind::InvalidData.into());
            }
            self.in_flight[usize::from(id)] = false;
            self.free.push(id);
            if reply[3] & 15 == rcode {
                streamed.answered += 1;
            } else {
                streamed.wrong += 1;
            }
        }
        self.incoming.drain(..at);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::versus::data::Questions;
    use std::net::TcpListener;

    /// A server that answers everything on `connections` connections, or closes each after `most` queries.
    fn server(connections: usize, most: usize) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().take(connections) {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || {
                    for _ in 0..most {
                        let mut length = [0; 2];
                        if stream.read_exact(&mut length).is_err() {
                            return;
                        }
                        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
                        stream.read_exact(&mut message).unwrap();
                        message[2] |= 0x80;
                        let _ = stream.write_all(&[&length[..], &message].concat());
                    }
                });
            }
        });
        address
    }

    fn order(server: SocketAddr) -> Order {
        Order { server, rcode: 0, connections: 3, pipelined: 20, length: Duration::from_millis(200) }
    }

    #[test]
    fn connections_stay_and_queries_are_pipelined() {
        let messages = Questions::unique("h", "bench.test", 7).messages();
        let streamed = ask(order(server(3, usize::MAX)), &messages, || Ok(())).unwrap();
        assert!(streamed.answered > 100, "{streamed:?}");
        assert_eq!((streamed.wrong, streamed.closed), (0, 0));
    }

    #[test]
    fn connections_that_are_closed_are_counted_and_opened_again() {
        let messages = Questions::unique("h", "bench.test", 7).messages();
        match ask(order(server(usize::MAX, 30)), &messages, || Ok(())) {
            Ok(streamed) => assert!(streamed.closed > 0 && streamed.answered > 0, "{streamed:?}"),
            Err(error) => assert!(error.to_string().contains("do not stay"), "{error}"),
        }
    }
}
