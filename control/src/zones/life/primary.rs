//! A primary for tests: answers SOA over UDP and TCP, AXFR and IXFR over TCP, on a thread of its own; lies on demand.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use ringdns_shard::transfer::{Asked, Content, Outgoing};
use ringdns_shard::wire::name::{HashKey, Name};
use ringdns_shard::zone::difference::Difference;
use ringdns_shard::zone::{Builder, Image, file};

/// What the primary does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Honest,
    /// Knows no IXFR.
    Old,
    /// Ends connections in the middle.
    Breaking,
    /// Sends differences that do not fit.
    Confused,
    /// Answers REFUSED to everything.
    Refusing,
    /// Over UDP, others send answers before it does.
    Forged,
    /// Over UDP, it says nothing.
    WithoutUdp,
    /// Over TCP, it sends an octet now and then.
    Slow,
}

#[derive(Debug)]
struct State {
    image: Arc<Image>,
    steps: Vec<Arc<Difference>>,
    mood: Mood,
    /// Types asked for.
    asked: Vec<u16>,
}

#[derive(Clone, Debug)]
pub(super) struct Primary {
    pub(super) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

/// The image of a zone from a master file.
pub(super) fn image(apex: &str, text: &str) -> Image {
    let apex: Name = apex.parse().unwrap();
    let mut builder = Builder::new(apex.clone(), HashKey::from_seed([7; 16]));
    let mut take =
        |record: file::Record<'_>| builder.push(record.owner, record.rtype, record.ttl, record.rdata, record.place);
    let mut open = |_: &str, _: &str| Err("nothing is included".to_owned());
    file::read(&apex, "zone", text.as_bytes(), &mut open, &mut take).unwrap();
    builder.finish().unwrap()
}

/// Sockets on one port that is free for both.
fn one_port() -> (UdpSocket, TcpListener) {
    let pair = || {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        Some((UdpSocket::bind(tcp.local_addr().unwrap()).ok()?, tcp))
    };
    // One that the kernel has chosen for the one protocol can be taken in the other.
    (0..50).find_map(|_| pair()).expect("a port for both")
}

impl Primary {
    /// Serves `text` as the zone `apex` for as long as the test's process lives.
    pub(super) fn start(apex: &str, text: &str) -> Primary {
        let (udp, tcp) = one_port();
        let address = tcp.local_addr().unwrap();
        let image = Arc::new(image(apex, text));
        let state = State { image, steps: Vec::new(), mood: Mood::Honest, asked: Vec::new() };
        let primary = Primary { address, state: Arc::new(Mutex::new(state)) };
        let of_udp = primary.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4_096];
            while let Ok((octets, from)) = udp.recv_from(&mut buffer) {
                let replies = of_udp.replies(&buffer[..octets]);
                let Some(reply) = replies.first() else { continue };
                match of_udp.mood() {
                    Mood::WithoutUdp => continue,
                    Mood::Forged => {
                        // Another id, another question, no message: each with a serial that there is not.
                        let mut forged = reply.clone();
                        let last = forged.len();
                        forged[last - 18] = 9;
                        for at in [0, 14] {
                            let mut other = forged.clone();
                            other[at] ^= 1;
                            let _ = udp.send_to(&other, from);
                        }
                        let _ = udp.send_to(&forged[..7], from);
                    }
                    _ => {}
                }
                let _ = udp.send_to(reply, from);
            }
        });
        let of_tcp = primary.clone();
        thread::spawn(move || {
            for stream in tcp.incoming().flatten() {
                let primary = of_tcp.clone();
                thread::spawn(move || primary.serve(stream));
            }
        });
        primary
    }

    /// Serves another version.
    pub(super) fn change(&self, text: &str) {
        let mut state = self.state.lock().unwrap();
        let apex = state.image.apex().to_string();
        let next = image(&apex, text);
        let step = Difference::between(&state.image, &next).map(Arc::new);
        state.steps.extend(step);
        state.image = Arc::new(next);
    }

    pub(super) fn be(&self, mood: Mood) {
        self.state.lock().unwrap().mood = mood;
    }

    fn mood(&self) -> Mood {
        self.state.lock().unwrap().mood
    }

    /// The types asked for so far.
    pub(super) fn asked(&self) -> Vec<u16> {
        self.state.lock().unwrap().asked.clone()
    }

    fn serve(&self, mut stream: TcpStream) {
        let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
        let mut length = [0; 2];
        while stream.read_exact(&mut length).is_ok() {
            let mut request = vec![0; usize::from(u16::from_be_bytes(length))];
            if stream.read_exact(&mut request).is_err() {
                return;
            }
            let mut replies = self.replies(&request);
            let is_breaking = self.mood() == Mood::Breaking;
            if is_breaking {
                replies.truncate(replies.len() / 2);
            }
            for reply in replies {
                let framed = [&(reply.len() as u16).to_be_bytes()[..], &reply].concat();
                let is_slow = self.mood() == Mood::Slow;
                for part in framed.chunks(if is_slow { 1 } else { framed.len() }) {
                    if stream.write_all(part).is_err() {
                        return;
                    }
                    thread::sleep(if is_slow { Duration::from_millis(10) } else { Duration::ZERO });
                }
            }
            if is_breaking {
                return;
            }
        }
    }

    fn replies(&self, request: &[u8]) -> Vec<Vec<u8>> {
        let mut state = self.state.lock().unwrap();
        let mut end = 12;
        while request[end] != 0 {
            end += usize::from(request[end]) + 1;
        }
        let question = &request[12..end + 5];
        let qtype = u16::from_be_bytes([request[end + 1], request[end + 2]]);
        state.asked.push(qtype);
        let refusal = |rcode: u8| {
            let mut reply = request[..end + 5].to_vec();
            reply[2..12].copy_from_slice(&[0x84, rcode, 0, 1, 0, 0, 0, 0, 0, 0]);
            vec![reply]
        };
        if state.mood == Mood::Refusing {
            return refusal(5);
        }
        let content = match qtype {
            6 => Content::Current,
            252 => Content::Whole,
            251 if state.mood == Mood::Old => return refusal(4),
            _ => {
                // The data of the SOA that came along ends the request: serial, and four numbers more.
                let serial = u32::from_be_bytes(*request[request.len() - 20..].first_chunk().unwrap());
                let from = state.steps.iter().position(|step| step.from_serial() == serial);
                let steps = from.map(|from| state.steps[from..].to_vec());
                steps.map_or(Content::Whole, Content::Differences)
            }
        };
        let asked = Asked { id: u16::from_be_bytes([request[0], request[1]]), flags: 0, question, dnssec_ok: None };
        let mut outgoing = Outgoing::new(&asked, Arc::clone(&state.image), content, None).with_message_octets(600);
        let mut buffer = vec![0; 65_535];
        let mut replies = Vec::new();
        while let Some(octets) = outgoing.next(0, &mut buffer) {
            let mut reply = buffer[..octets].to_vec();
            if state.mood == Mood::Confused && qtype == 251 {
                // The addresses in it are others.
                for at in 12..reply.len().saturating_sub(4) {
                    if reply[at..at + 3] == [192, 0, 2] {
                        reply[at + 3] ^= 0x40;
                    }
                }
            }
            replies.push(reply);
        }
        replies
    }
}
