//! Three servers, each in a mood that changes, and the network to them and back.

use std::net::SocketAddr;
use std::time::Duration;

use ringdns_shard::wire::message::{HEADER_OCTETS, flags};

use crate::packet;
use crate::random::Random;
use crate::truth::Question;
use crate::world::UDP_PORTS;

/// How a server treats those who ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Honest,
    Slow,
    Silent,
    /// Somebody near it sends forgeries, before the true reply or instead of it.
    Lying,
    Erroring,
    /// Over UDP it only says to come over TCP.
    Truncating,
    /// As before, and TCP does not work.
    TcpFailing,
}

const MOODS: [Mood; 12] = [
    Mood::Honest,
    Mood::Honest,
    Mood::Honest,
    Mood::Honest,
    Mood::Honest,
    Mood::Slow,
    Mood::Silent,
    Mood::Lying,
    Mood::Lying,
    Mood::Erroring,
    Mood::Truncating,
    Mood::TcpFailing,
];

/// A datagram that comes to the shard.
#[derive(Clone, Debug)]
pub(crate) struct Datagram {
    pub(crate) socket: u8,
    pub(crate) sender: SocketAddr,
    pub(crate) octets: Vec<u8>,
    /// The question that it answers, should it be the truth.
    pub(crate) truth_of: Option<Question>,
}

/// What comes of a TCP exchange: a reply, or its failure.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) octets: Option<Vec<u8>>,
    pub(crate) truth_of: Option<Question>,
}

pub(crate) struct Servers {
    pub(crate) addresses: [SocketAddr; 3],
    moods: [Mood; 3],
}

impl Servers {
    pub(crate) fn new() -> Servers {
        let address = |host| SocketAddr::from(([192, 0, 2, host], 53));
        Servers { addresses: [address(1), address(2), address(3)], moods: [Mood::Honest; 3] }
    }

    pub(crate) fn change_mood(&mut self, random: &mut Random) {
        self.moods[random.below(3) as usize] = MOODS[random.below(MOODS.len() as u64) as usize];
    }

    fn mood(&self, server: SocketAddr) -> Mood {
        let index = self.addresses.iter().position(|&address| address == server);
        self.moods[index.expect("the shard asks servers of its pool")]
    }

    /// A datagram was sent to `server`: what comes back, and after how long.
    pub(crate) fn on_datagram(
        &self,
        random: &mut Random,
        socket: u8,
        server: SocketAddr,
        query: &[u8],
    ) -> Vec<(Duration, Datagram)> {
        if random.percent(3) {
            return Vec::new();
        }
        let mood = self.mood(server);
        let (question, _) = packet::question(query);
        let mut octets = packet::reply(random, query, &question.truth());
        let mut truth_of = Some(question);
        let mut sent = Vec::new();
        match mood {
            Mood::Silent => return sent,
            Mood::Lying => {
                for _ in 0..random.between(1, 4) {
                    sent.push((delay(random, mood), self.forgery(random, socket, server, query)));
                }
                if random.percent(40) {
                    return sent;
                }
            }
            Mood::Erroring => {
                octets = error(random, query);
                truth_of = None;
            }
            // A server of its right mind cuts what is too long.
            _ if matches!(mood, Mood::Truncating | Mood::TcpFailing) || octets.len() > 1232 => {
                octets = cut_short(random, query, octets);
                truth_of = None;
            }
            Mood::Honest | Mood::Slow | Mood::Truncating | Mood::TcpFailing => {}
        }
        let datagram = Datagram { socket, sender: server, octets, truth_of };
        let copies = if random.percent(4) { 2 } else { 1 };
        for _ in 0..copies {
            if !random.percent(3) {
                sent.push((delay(random, mood), datagram.clone()));
            }
        }
        sent
    }

    /// A connection to `server` was opened and a query sent: what comes of it, and after how long.
    pub(crate) fn on_stream(
        &self,
        random: &mut Random,
        server: SocketAddr,
        query: &[u8],
    ) -> Option<(Duration, Stream)> {
        let mood = self.mood(server);
        let (question, _) = packet::question(query);
        let truth = packet::reply(random, query, &question.truth());
        let (octets, truth_of) = match mood {
            Mood::Silent => return None,
            Mood::TcpFailing => (None, None),
            Mood::Lying => (Some(self.lie(random, Over::OwnPath, query)), None),
            Mood::Erroring => (Some(error(random, query)), None),
            Mood::Honest | Mood::Slow | Mood::Truncating => (Some(truth), Some(question)),
        };
        Some((delay(random, mood) * 2, Stream { octets, truth_of }))
    }

    /// A forgery that the shard can tell from a reply: over a connection, or as a datagram.
    fn lie(&self, random: &mut Random, over: Over, query: &[u8]) -> Vec<u8> {
        let (question, octets) = packet::question(query);
        // Whoever believes it is found out.
        let mut lie = question.truth();
        lie.rcode = if lie.rcode == 0 { 3 } else { 0 };
        lie.records.retain(|record| record.data.len() == 4);
        lie.records.iter_mut().for_each(|record| record.data[0] ^= 0xff);
        let mut forged = packet::reply(random, query, &lie);
        // Now and then it asks to come over TCP, which must not be believed either.
        if random.percent(20) {
            forged[2] |= (flags::TC >> 8) as u8;
        }
        let type_at = HEADER_OCTETS + octets.len() - 4;
        match random.below(7) {
            _ if over == Over::OtherPath => {}
            0 => forged[0] ^= random.between(1, 255) as u8,
            1 => forged[HEADER_OCTETS + 2] ^= 0x10,
            2 => forged[type_at] ^= 1,
            3 => forged[type_at + 3] ^= 2,
            4 => forged[2] &= 0x7f,
            5 => {
                forged = packet::reply(random, query, &question.truth());
                forged.truncate(random.below(forged.len() as u64) as usize);
            }
            _ => forged = (0..random.below(80)).map(|_| random.word() as u8).collect(),
        }
        forged
    }

    /// A forgery in a datagram: what it says is false, or where it comes from, or where it goes to.
    fn forgery(&self, random: &mut Random, socket: u8, server: SocketAddr, query: &[u8]) -> Datagram {
        let (socket, sender, over) = match random.below(9) {
            0 => (socket, SocketAddr::new(server.ip(), 54), Over::OtherPath),
            1 => ((socket + 1) % UDP_PORTS, server, Over::OtherPath),
            _ => (socket, server, Over::OwnPath),
        };
        Datagram { socket, sender, octets: self.lie(random, over, query), truth_of: None }
    }
}

/// The way that a forgery comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    /// That of the true reply: what it says must give it away.
    OwnPath,
    /// Another socket or sender: this alone must give it away.
    OtherPath,
}

fn delay(random: &mut Random, mood: Mood) -> Duration {
    Duration::from_micros(match mood {
        Mood::Slow => random.between(100_000, 1_500_000),
        _ if random.percent(2) => random.between(30_000, 800_000),
        _ => random.between(500, 30_000),
    })
}

/// SERVFAIL, REFUSED, NOTIMP or FORMERR, the last perhaps without a question.
fn error(random: &mut Random, query: &[u8]) -> Vec<u8> {
    let rcode = [2, 5, 4, 1][random.below(4) as usize];
    let (_, question) = packet::question(query);
    let header = |questions| [&query[..2], &[0x81, 0x80 | rcode, 0, questions, 0, 0, 0, 0, 0, 0]].concat();
    if rcode == 1 && random.percent(50) { header(0) } else { [&header(1), question].concat() }
}

/// TC is set, and the records are cut at some place or left out.
fn cut_short(random: &mut Random, query: &[u8], mut octets: Vec<u8>) -> Vec<u8> {
    let (_, question) = packet::question(query);
    let question_end = HEADER_OCTETS + question.len();
    octets[2] |= (flags::TC >> 8) as u8;
    let end = random.between(question_end as u64, octets.len() as u64);
    octets.truncate(end as usize);
    octets
}
