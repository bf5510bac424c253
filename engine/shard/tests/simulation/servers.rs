//! Five servers, each with a nature of its own and a mood that changes, and the network to them and back.

use std::net::SocketAddr;
use std::time::Duration;

use ringdns_shard::Time;
use ringdns_shard::wire::message::{HEADER_OCTETS, Section, flags};

use crate::packet::{self, CLIENT_COOKIE_OCTETS, Manners, Query};
use crate::random::{Random, scramble};
use crate::truth::Question;
use crate::world::UDP_PORTS;

/// Servers.
pub(crate) const SERVERS: usize = 5;
/// Addresses of names change so often.
const EDITION: Duration = Duration::from_secs(3);

/// What a server is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nature {
    Plain,
    /// It makes cookies.
    Cookies,
    /// It makes them, changes them often, and insists on its own over UDP.
    StrictCookies,
    /// It answers in small letters.
    FoldsCase,
    /// It does not know EDNS.
    NoEdns,
}

const NATURES: [Nature; SERVERS] =
    [Nature::Plain, Nature::Cookies, Nature::StrictCookies, Nature::FoldsCase, Nature::NoEdns];

/// How a server treats those who ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Honest,
    Slow,
    Silent,
    /// Somebody near it sends forgeries, before the true reply or instead of it.
    Lying,
    /// The truth, and what nobody has asked for.
    Poisoning,
    /// It answers something else than what it was asked.
    Rambling,
    Erroring,
    /// Over UDP it only says to come over TCP.
    Truncating,
    /// As before, and TCP does not work.
    TcpFailing,
}

const MOODS: [Mood; 16] = [
    Mood::Honest,
    Mood::Honest,
    Mood::Honest,
    Mood::Honest,
    Mood::Honest,
    Mood::Honest,
    Mood::Slow,
    Mood::Silent,
    Mood::Silent,
    Mood::Lying,
    Mood::Lying,
    Mood::Poisoning,
    Mood::Rambling,
    Mood::Erroring,
    Mood::Truncating,
    Mood::TcpFailing,
];

/// A question that was answered by the truth, in this edition.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) question: Question,
    pub(crate) edition: u64,
}

/// A datagram that comes to the shard.
#[derive(Clone, Debug)]
pub(crate) struct Datagram {
    pub(crate) socket: u8,
    pub(crate) sender: SocketAddr,
    pub(crate) octets: Vec<u8>,
    /// What it tells, should it be the truth.
    pub(crate) told: Option<Told>,
}

/// What comes of a TCP exchange: a reply, or its failure.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) octets: Option<Vec<u8>>,
    pub(crate) told: Option<Told>,
}

pub(crate) struct Servers {
    pub(crate) addresses: [SocketAddr; SERVERS],
    moods: [Mood; SERVERS],
}

/// The edition of the truth at a time.
pub(crate) fn edition(now: Time) -> u64 {
    now.as_micros() / EDITION.as_micros() as u64
}

impl Servers {
    pub(crate) fn new() -> Servers {
        let address = |host: usize| SocketAddr::from(([192, 0, 2, host as u8 + 1], 53));
        Servers { addresses: std::array::from_fn(address), moods: [Mood::Honest; SERVERS] }
    }

    pub(crate) fn change_mood(&mut self, random: &mut Random) {
        self.moods[random.below(SERVERS as u64) as usize] = MOODS[random.below(MOODS.len() as u64) as usize];
    }

    /// All of them change their mood.
    pub(crate) fn all_are(&mut self, mood: Mood) {
        self.moods = [mood; SERVERS];
    }

    fn character(&self, server: SocketAddr) -> (Nature, Mood) {
        let index = self.addresses.iter().position(|&address| address == server);
        let index = index.expect("the shard asks servers of its pools");
        (NATURES[index], self.moods[index])
    }

    /// A datagram was sent to `server`: what comes back, and after how long.
    pub(crate) fn on_datagram(
        &self,
        random: &mut Random,
        now: Time,
        (socket, server): (u8, SocketAddr),
        octets: &[u8],
    ) -> Vec<(Duration, Datagram)> {
        if random.percent(3) {
            return Vec::new();
        }
        let query = packet::read(octets);
        let (nature, mood) = self.character(server);
        let mut sent = Vec::new();
        if mood == Mood::Silent {
            return sent;
        }
        if mood == Mood::Lying {
            for _ in 0..random.between(1, 4) {
                sent.push((delay(random, mood), self.forgery(random, now, (socket, server), &query)));
            }
            if random.percent(40) {
                return sent;
            }
        }
        let (octets, told) = match mood {
            Mood::Erroring => (error(random, &query), None),
            Mood::Rambling => (rambling(random, now, nature, &query), None),
            _ => match proper(random, now, nature, mood, &query, true) {
                (octets, Some(_)) if octets.len() > 1232 || matches!(mood, Mood::Truncating | Mood::TcpFailing) => {
                    (cut_short(random, &query, octets), None)
                }
                proper => proper,
            },
        };
        let datagram = Datagram { socket, sender: server, octets, told };
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
        now: Time,
        server: SocketAddr,
        octets: &[u8],
    ) -> Option<(Duration, Stream)> {
        let query = packet::read(octets);
        let (nature, mood) = self.character(server);
        let (octets, told) = match mood {
            Mood::Silent => return None,
            Mood::TcpFailing => (None, None),
            Mood::Lying => (Some(lie(random, now, Over::OwnPath, &query)), None),
            Mood::Erroring => (Some(error(random, &query)), None),
            Mood::Rambling => (Some(rambling(random, now, nature, &query)), None),
            Mood::Honest | Mood::Slow | Mood::Truncating | Mood::Poisoning => {
                let (octets, told) = proper(random, now, nature, mood, &query, false);
                (Some(octets), told)
            }
        };
        Some((delay(random, mood) * 2, Stream { octets, told }))
    }

    /// A forgery in a datagram: what it says is false, or where it comes from, or where it goes to.
    fn forgery(
        &self,
        random: &mut Random,
        now: Time,
        (socket, server): (u8, SocketAddr),
        query: &Query<'_>,
    ) -> Datagram {
        let (socket, sender, over) = match random.below(9) {
            0 => (socket, SocketAddr::new(server.ip(), 54), Over::OtherPath),
            1 => ((socket + 1) % UDP_PORTS, server, Over::OtherPath),
            _ => (socket, server, Over::OwnPath),
        };
        Datagram { socket, sender, octets: lie(random, now, over, query), told: None }
    }
}

/// The reply of a server in its right mind, as its nature is.
fn proper(
    random: &mut Random,
    now: Time,
    nature: Nature,
    mood: Mood,
    query: &Query<'_>,
    over_udp: bool,
) -> (Vec<u8>, Option<Told>) {
    if nature == Nature::NoEdns && query.edns {
        return (coded(query, 1), None);
    }
    let client = query.cookie.and_then(|cookie| cookie.split_first_chunk::<CLIENT_COOKIE_OCTETS>());
    let cookie = match (nature, client) {
        (Nature::Cookies | Nature::StrictCookies, Some((client, server))) => {
            let own = scramble(u64::from_be_bytes(*client) ^ edition(now)).to_be_bytes();
            let whole = [&client[..], &own].concat();
            if nature == Nature::StrictCookies && over_udp && server != own {
                // BADCOOKIE (RFC 7873 §8): 23, in two parts.
                let mut octets = coded(query, 23 & 15);
                packet::put_opt(&mut octets, 23 >> 4, query.question.dnssec_ok, Some(&whole));
                return (octets, None);
            }
            Some(whole)
        }
        _ => None,
    };
    let told = Told { question: query.question.clone(), edition: edition(now) };
    let truth = told.question.truth(told.edition);
    let poisons = mood == Mood::Poisoning;
    let manners = Manners { folds_case: nature == Nature::FoldsCase, cookie: cookie.as_deref(), poisons };
    (packet::reply(random, query, &truth, &manners), Some(told))
}

/// Octets that the shard can tell from a reply.
fn lie(random: &mut Random, now: Time, over: Over, query: &Query<'_>) -> Vec<u8> {
    // Whoever believes it is found out.
    let truth = query.question.truth(edition(now));
    let mut lie = truth.clone();
    lie.rcode = if lie.rcode == 0 { 3 } else { 0 };
    lie.records.retain(|record| record.data.len() == 4);
    lie.records.iter_mut().for_each(|record| record.data[0] ^= 0xff);
    let other: Option<Vec<u8>> = query.cookie.map(|cookie| cookie.iter().map(|octet| !octet).collect());
    let manners = Manners { folds_case: false, cookie: None, poisons: false };
    let mut forged = packet::reply(random, query, &lie, &manners);
    // Now and then it asks to come over TCP, which must not be believed either.
    if random.percent(20) {
        forged[2] |= (flags::TC >> 8) as u8;
    }
    let type_at = HEADER_OCTETS + query.octets.len() - 4;
    match random.below(8) {
        _ if over == Over::OtherPath => {}
        0 => forged[0] ^= random.between(1, 255) as u8,
        1 => forged[HEADER_OCTETS + 2] ^= 0x10,
        2 => forged[type_at] ^= 1,
        3 => forged[type_at + 3] ^= 2,
        4 => forged[2] &= 0x7f,
        5 => {
            forged = packet::reply(random, query, &truth, &manners);
            forged.truncate(random.below(forged.len() as u64) as usize);
        }
        6 if other.is_some() => {
            forged = packet::reply(random, query, &lie, &Manners { cookie: other.as_deref(), ..manners });
        }
        _ => forged = (0..random.below(80)).map(|_| random.word() as u8).collect(),
    }
    forged
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

/// A reply to the question, with the answer of another name.
fn rambling(random: &mut Random, now: Time, nature: Nature, query: &Query<'_>) -> Vec<u8> {
    let name = [b"\x05other", &*query.question.name].concat();
    let mut truth = Question { name, ..query.question.clone() }.truth(edition(now));
    truth.rcode = 0;
    truth.records.retain(|record| record.section == Section::Answer);
    if truth.records.is_empty() {
        return error(random, query);
    }
    let manners = Manners { folds_case: nature == Nature::FoldsCase, cookie: None, poisons: false };
    let mut octets = packet::reply(random, query, &truth, &manners);
    // No authority that says that there is nothing.
    octets[2] &= !((flags::AA >> 8) as u8);
    octets
}

/// SERVFAIL, REFUSED, NOTIMP or FORMERR, the last perhaps without a question.
fn error(random: &mut Random, query: &Query<'_>) -> Vec<u8> {
    let rcode = [2, 5, 4, 1][random.below(4) as usize];
    let mut octets = coded(query, rcode);
    if rcode == 1 && random.percent(50) {
        octets.truncate(HEADER_OCTETS);
        octets[5] = 0;
    }
    octets
}

/// A reply that has nothing but its code.
fn coded(query: &Query<'_>, rcode: u8) -> Vec<u8> {
    [&query.id[..], &[0x81, 0x80 | rcode, 0, 1, 0, 0, 0, 0, 0, 0], query.octets].concat()
}

/// TC is set, and the records are cut at some place or left out.
fn cut_short(random: &mut Random, query: &Query<'_>, mut octets: Vec<u8>) -> Vec<u8> {
    let question_end = HEADER_OCTETS + query.octets.len();
    octets[2] |= (flags::TC >> 8) as u8;
    let end = random.between(question_end as u64, octets.len() as u64);
    octets.truncate(end as usize);
    octets
}
