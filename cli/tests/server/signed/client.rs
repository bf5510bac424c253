//! Asks servers many questions at a time, over UDP and TCP, and reads the replies into what can be compared.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::common::PATIENCE;
use crate::common::dns::{HEADER, Via, connection, framed, read_frame, udp_socket};

/// Questions on the way at a time.
const WINDOW: usize = 64;

/// A question, and how it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    /// Wire, in any case of letters.
    pub(super) name: Vec<u8>,
    pub(super) rtype: u16,
    /// With an OPT record, and DO in it.
    pub(super) edns: Option<bool>,
    pub(super) via: Via,
}

impl Question {
    pub(super) fn wants_dnssec(&self) -> bool {
        self.edns == Some(true)
    }

    /// Octets that a reply may have.
    pub(super) fn room(&self) -> usize {
        match (self.via, self.edns) {
            (Via::Tcp, _) => 65_535,
            (Via::Udp, Some(_)) => 1_232,
            (Via::Udp, None) => 512,
        }
    }

    fn message(&self, id: u16) -> Vec<u8> {
        // RD is for a validator in between; others pass over it.
        let mut octets = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(self.edns.is_some())];
        octets[..2].copy_from_slice(&id.to_be_bytes());
        octets.extend(&self.name);
        octets.extend(self.rtype.to_be_bytes());
        octets.extend([0, 1]);
        if let Some(dnssec_ok) = self.edns {
            octets.extend([0, 0, 41, 4, 208, 0, 0, if dnssec_ok { 0x80 } else { 0 }, 0, 0, 0]);
        }
        octets
    }
}

/// The replies of a server to questions, in their order.
pub(super) fn ask_all(server: SocketAddr, questions: &[Question]) -> Vec<Vec<u8>> {
    let mut replies = vec![Vec::new(); questions.len()];
    let udp = udp_socket(server);
    udp.set_read_timeout(Some(Duration::from_millis(500))).expect("a time-out");
    let mut tcp = None;
    for (at, window) in questions.chunks(WINDOW).enumerate() {
        let replies = &mut replies[at * WINDOW..at * WINDOW + window.len()];
        over_udp(&udp, window, replies);
        over_tcp(&mut tcp, server, window, replies);
    }
    replies
}

/// The place of a question in its window is the id that it is asked with.
fn keep(replies: &mut [Vec<u8>], questions: &[Question], via: Via, octets: &[u8]) {
    let id = octets.first_chunk().map_or(usize::MAX, |id| usize::from(u16::from_be_bytes(*id)));
    if let Some(question) = questions.get(id)
        && question.via == via
        && octets.len() >= HEADER
        && octets[HEADER..].get(..question.name.len()).is_some_and(|name| name.eq_ignore_ascii_case(&question.name))
    {
        replies[id] = octets.to_vec();
    }
}

fn over_udp(socket: &UdpSocket, questions: &[Question], replies: &mut [Vec<u8>]) {
    let end = Instant::now() + PATIENCE;
    let open = |replies: &[Vec<u8>]| -> Vec<usize> {
        (0..questions.len()).filter(|&at| questions[at].via == Via::Udp && replies[at].is_empty()).collect()
    };
    let mut buffer = vec![0; 65_535];
    loop {
        let mut left = open(replies);
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "no answer to {:?}", questions[left[0]]);
        for &at in &left {
            socket.send(&questions[at].message(at as u16)).expect("it is sent");
        }
        while !left.is_empty() {
            let Ok(octets) = socket.recv(&mut buffer) else { break };
            keep(replies, questions, Via::Udp, &buffer[..octets]);
            left = open(replies);
        }
    }
}

fn over_tcp(stream: &mut Option<TcpStream>, server: SocketAddr, questions: &[Question], replies: &mut [Vec<u8>]) {
    for at in (0..questions.len()).filter(|&at| questions[at].via == Via::Tcp) {
        // One after the other: servers that write reply by reply would wait for late acknowledgements. A server may close
        // a connection after so many questions.
        for _ in 0..3 {
            let open = stream.get_or_insert_with(|| connection(server));
            let sent = open.write_all(&framed(&questions[at].message(at as u16))).is_ok();
            match read_frame(open).filter(|_| sent) {
                Some(reply) => {
                    keep(replies, questions, Via::Tcp, &reply);
                    break;
                }
                None => *stream = None,
            }
        }
        assert!(!replies[at].is_empty(), "no answer to {:?}", questions[at]);
    }
}

/// A record, in a form in which equal ones are equal: names whole and in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Record {
    pub(super) owner: Vec<u8>,
    pub(super) rtype: u16,
    pub(super) data: Vec<u8>,
    pub(super) ttl: u32,
}

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) rcode: u8,
    pub(super) authoritative: bool,
    pub(super) authentic: bool,
    pub(super) truncated: bool,
    pub(super) octets: usize,
    /// Answer, authority, additional without OPT; each sorted.
    pub(super) sections: [Vec<Record>; 3],
}

impl Reply {
    /// `None` where the message is malformed.
    pub(super) fn read(octets: &[u8]) -> Option<Reply> {
        let count = |at: usize| usize::from(u16::from_be_bytes([octets[at], octets[at + 1]]));
        let mut at = HEADER;
        for _ in 0..count(4) {
            at = name(octets, at, &mut Vec::new())? + 4;
        }
        let mut sections = [Vec::new(), Vec::new(), Vec::new()];
        for (section, records) in sections.iter_mut().enumerate() {
            for _ in 0..count(6 + 2 * section) {
                let mut owner = Vec::new();
                at = name(octets, at, &mut owner)?;
                let fixed = octets.get(at..at + 10)?;
                let rtype = u16::from_be_bytes([fixed[0], fixed[1]]);
                let ttl = u32::from_be_bytes(*fixed[4..].first_chunk()?);
                let length = usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
                at += 10;
                let data = data(octets, at, length, rtype)?;
                at += length;
                if rtype != 41 {
                    records.push(Record { owner, rtype, data, ttl });
                }
            }
            records.sort();
        }
        (at == octets.len()).then_some(Reply {
            rcode: octets[3] & 15,
            authoritative: octets[2] & 4 != 0,
            authentic: octets[3] & 0x20 != 0,
            truncated: octets[2] & 2 != 0,
            octets: octets.len(),
            sections,
        })
    }

    pub(super) fn answer(&self) -> &[Record] {
        &self.sections[0]
    }

    pub(super) fn authority(&self) -> &[Record] {
        &self.sections[1]
    }

    /// The same without TTLs.
    pub(super) fn without_ttls(mut self) -> Reply {
        for records in &mut self.sections {
            records.iter_mut().for_each(|record| record.ttl = 0);
            records.sort();
        }
        self
    }
}

/// Expands the name at `at` into `out`, in lower case. Returns where it ends.
fn name(octets: &[u8], mut at: usize, out: &mut Vec<u8>) -> Option<usize> {
    let mut end = None;
    loop {
        let length = usize::from(*octets.get(at)?);
        if length >= 0xc0 {
            end = end.or(Some(at + 2));
            let target = (length & 0x3f) << 8 | usize::from(*octets.get(at + 1)?);
            at = Some(target).filter(|&target| target < at)?;
            continue;
        }
        out.extend(octets.get(at..=at + length)?.to_ascii_lowercase());
        at += length + 1;
        if length == 0 {
            return Some(end.unwrap_or(at));
        }
    }
}

/// The data of a record with the names in it whole.
fn data(octets: &[u8], at: usize, length: usize, rtype: u16) -> Option<Vec<u8>> {
    let whole = octets.get(at..at + length)?;
    let (before, names) = match rtype {
        2 | 5 | 12 | 39 => (0, 1),
        6 => (0, 2),
        15 => (2, 1),
        33 => (6, 1),
        _ => return Some(whole.to_vec()),
    };
    let mut out = whole.get(..before)?.to_vec();
    let mut next = at + before;
    for _ in 0..names {
        next = name(octets, next, &mut out)?;
    }
    out.extend(octets.get(next..at + length)?);
    Some(out)
}
