//! A client over UDP that knows what became of each of its queries: a window of them in flight, or so many a second
//! whatever the server does, so that a slow answer does not spare it the queries behind (an open loop).

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};

use super::batch::{BATCH, Batch};
use super::data::Messages;

/// A query without a reply for so long is lost.
pub const PATIENCE: Duration = Duration::from_secs(1);
/// How long a client with a window blocks before it looks at the time again.
const BLOCK: Duration = Duration::from_millis(10);
/// Room in the kernel for replies that wait for the client.
const RECEIVE_OCTETS: usize = 32 << 20;
const IDS: usize = 1 << 16;

/// How fast queries go out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// So many are in flight; at most a few thousand.
    Window(usize),
    /// So many a second.
    Rate(f64),
}

/// What came of the queries.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Sent.
    pub sent: u64,
    /// Answered as expected.
    pub answered: u64,
    /// Answered otherwise.
    pub wrong: u64,
    /// Not answered within [`PATIENCE`].
    pub lost: u64,
    /// Of a rate, queries that went out more than a millisecond late, for the client itself had no CPU.
    pub late: u64,
    /// From query to right answer, in nanoseconds, ascending.
    pub took: Vec<u32>,
    /// From the first query to the last answer.
    pub length: Duration,
}

impl Asked {
    /// The time within which this share of the answers came; microseconds.
    #[must_use]
    pub fn percentile(&self, share: f64) -> f64 {
        percentile(&self.took, share).map_or(f64::NAN, |took| f64::from(took) / 1e3)
    }
}

/// The least of `sorted` that is not below this share of them (the nearest rank).
#[must_use]
pub fn percentile(sorted: &[u32], share: f64) -> Option<u32> {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

/// Asks for as long as `carry_on` with what has been sent and how long ago it began, and waits for the answers.
///
/// # Errors
/// The socket's, and what `carry_on` returns.
pub fn ask(
    server: SocketAddr,
    messages: &Messages,
    rcode: u8,
    pace: Pace,
    mut carry_on: impl FnMut(u64, Duration) -> io::Result<bool>,
) -> io::Result<Asked> {
    let mut asker = Asker::new(server, rcode)?;
    let begin = Instant::now();
    let mut answered_at = begin;
    while carry_on(asker.asked.sent, begin.elapsed())? {
        let now = Instant::now();
        asker.expire(now);
        let wanted = match pace {
            Pace::Window(window) => window.saturating_sub(asker.outstanding),
            Pace::Rate(rate) => {
                let due = ((now - begin).as_secs_f64() * rate) as u64;
                let behind = due.saturating_sub(asker.asked.sent);
                if behind as f64 > rate / 1e3 {
                    asker.asked.late += behind.min(BATCH as u64);
                }
                behind as usize
            }
        };
        asker.send(messages, wanted.min(BATCH), now)?;
        // A window that is full blocks and leaves the CPU to others; a rate never does.
        let wait = matches!(pace, Pace::Window(window) if asker.outstanding >= window);
        if asker.receive(wait)? > 0 {
            answered_at = Instant::now();
        }
    }
    let end = Instant::now() + PATIENCE;
    while asker.outstanding > 0 && Instant::now() < end {
        if asker.receive(true)? > 0 {
            answered_at = Instant::now();
        }
        asker.expire(Instant::now());
    }
    asker.asked.lost += asker.outstanding as u64;
    asker.asked.length = answered_at - begin;
    asker.asked.took.sort_unstable();
    Ok(asker.asked)
}

/// Asks each question once, in a window; an error unless all are answered as expected.
///
/// # Errors
/// The socket's; or in words, how many were not.
pub fn ask_all(
    server: SocketAddr,
    messages: &Messages,
    rcode: u8,
    check: impl Fn() -> io::Result<()>,
) -> io::Result<Asked> {
    let count = messages.count() as u64;
    let asked = ask(server, messages, rcode, Pace::Window(200), |sent, _| check().map(|()| sent < count))?;
    // A few datagrams may get lost in buffers; more would be a server that does not do what is measured.
    if asked.lost + asked.wrong > count / 100 {
        return Err(io::Error::other(format!(
            "of {} queries {} were lost and {} answered wrongly",
            asked.sent, asked.lost, asked.wrong
        )));
    }
    Ok(asked)
}

struct Asker {
    socket: UdpSocket,
    rcode: u8,
    outgoing: Batch,
    incoming: Batch,
    /// When the query with this id was sent; none where none waits.
    sent_at: Vec<Option<Instant>>,
    /// The ids in the order in which they were sent, with the answered ones until they come to the front.
    order: VecDeque<(u16, Instant)>,
    outstanding: usize,
    asked: Asked,
}

impl Asker {
    fn new(server: SocketAddr, rcode: u8) -> io::Result<Asker> {
        let socket = UdpSocket::bind(("0.0.0.0", 0))?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(BLOCK))?;
        // What the client has no room for would count as lost: beyond the system's limit where that is allowed, to root.
        setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_OCTETS)
            .or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_OCTETS))?;
        Ok(Asker {
            socket,
            rcode,
            outgoing: Batch::new(false),
            incoming: Batch::new(false),
            sent_at: vec![None; IDS],
            order: VecDeque::new(),
            outstanding: 0,
            asked: Asked::default(),
        })
    }

    fn send(&mut self, messages: &Messages, count: usize, now: Instant) -> io::Result<()> {
        for place in 0..count {
            let number = self.asked.sent as usize + place;
            let message = messages.at(number % messages.count());
            let buffer = self.outgoing.buffer(place);
            buffer[..message.len()].copy_from_slice(message);
            buffer[..2].copy_from_slice(&(number as u16).to_be_bytes());
            self.outgoing.set_length(place, message.len());
        }
        let taken = if count > 0 { self.outgoing.send(&self.socket, count)? } else { 0 };
        for _ in 0..taken {
            let id = self.asked.sent as u16;
            if self.sent_at[usize::from(id)].replace(now).is_some() {
                // All ids have been used since, and still no reply.
                self.asked.lost += 1;
                self.outstanding -= 1;
            }
            self.order.push_back((id, now));
            self.outstanding += 1;
            self.asked.sent += 1;
        }
        Ok(())
    }

    fn receive(&mut self, wait: bool) -> io::Result<usize> {
        let count = self.incoming.receive(&self.socket, wait)?;
        if count == 0 {
            return Ok(0);
        }
        let now = Instant::now();
        for place in 0..count {
            let reply = self.incoming.datagram(place);
            if reply.len() < 12 || reply[2] & 0x80 == 0 {
                continue;
            }
            let id = usize::from(u16::from_be_bytes([reply[0], reply[1]]));
            // None: a reply that came too late, or twice.
            let Some(sent_at) = self.sent_at[id].take() else { continue };
            self.outstanding -= 1;
            if reply[3] & 15 == self.rcode {
                self.asked.answered += 1;
                self.asked.took.push((now - sent_at).as_nanos() as u32);
            } else {
                self.asked.wrong += 1;
            }
        }
        Ok(count)
    }

    /// Gives up what has waited too long.
    fn expire(&mut self, now: Instant) {
        while let Some(&(id, sent_at)) = self.order.front() {
            let waits = self.sent_at[usize::from(id)] == Some(sent_at);
            if waits && now - sent_at < PATIENCE {
                return;
            }
            if waits {
                self.sent_at[usize::from(id)] = None;
                self.outstanding -= 1;
                self.asked.lost += 1;
            }
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::versus::data::Questions;

    /// A server that answers all but each `lost`th query, with an rcode; it ends with a datagram without a header.
    fn server(lost: u64, rcode: u8) -> (SocketAddr, std::thread::JoinHandle<()>) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 512];
            for number in 1.. {
                let (octets, peer) = socket.recv_from(&mut buffer).unwrap();
                if octets < 12 {
                    return;
                }
                if number % lost != 0 {
                    buffer[2] |= 0x80;
                    buffer[3] |= rcode;
                    socket.send_to(&buffer[..octets], peer).unwrap();
                }
            }
        });
        (address, thread)
    }

    fn end(address: SocketAddr, thread: std::thread::JoinHandle<()>) {
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"", address).unwrap();
        thread.join().unwrap();
    }

    #[test]
    fn every_query_is_answered_lost_or_wrong() {
        let messages = Questions::unique("h", "bench.test", 100).messages();
        let (address, thread) = server(10, 0);
        let asked = ask(address, &messages, 0, Pace::Window(8), |sent, _| Ok(sent < 50)).unwrap();
        assert_eq!(asked.sent, asked.answered + asked.lost + asked.wrong);
        assert!(asked.lost >= 5 && asked.answered >= 45, "{asked:?}");
        assert_eq!(asked.took.len() as u64, asked.answered);
        end(address, thread);

        let (address, thread) = server(1000, 2);
        assert!(ask_all(address, &messages, 0, || Ok(())).unwrap_err().to_string().contains("wrongly"));
        end(address, thread);
    }

    #[test]
    fn a_rate_is_kept() {
        let messages = Questions::unique("h", "bench.test", 3).messages();
        let (address, thread) = server(u64::MAX, 0);
        let length = Duration::from_millis(300);
        let asked = ask(address, &messages, 0, Pace::Rate(1000.0), |_, elapsed| Ok(elapsed < length)).unwrap();
        assert!((100..=300).contains(&asked.sent), "{}", asked.sent);
        end(address, thread);
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let sorted: Vec<u32> = (1..=1000).collect();
        assert_eq!(percentile(&sorted, 0.5), Some(500));
        assert_eq!(percentile(&sorted, 0.999), Some(999));
        assert_eq!(percentile(&sorted, 1.0), Some(1000));
        assert_eq!(percentile(&sorted, 0.0), Some(1));
        assert_eq!(percentile(&[], 0.5), None);
        assert!(Asked::default().percentile(0.5).is_nan());
    }
}
