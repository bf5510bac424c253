//! The question that a process asks of its own cores: whether they answer, and not only run.

use std::net::{Ipv6Addr, SocketAddr};

use super::{Asker, Client, Outcome, Shard};
use crate::limits::{NAME_OCTETS_MAX, UDP_REPLY_OCTETS_MAX};
use crate::transport::Transport;
use crate::wire::message::{HEADER_OCTETS, Header, Query, Rcode, flags};
use crate::wire::rdata::{CLASS_CHAOS, CLASS_IN, rtype};

/// What is asked where no zone is loaded.
const SERVER: &[u8] = b"\x02id\x06server\0";

impl Shard {
    /// Whether this engine answers: it is asked for the SOA of a zone that is loaded, or, where there is none, for the
    /// name of the server in class CHAOS, which is an answer or a refusal. The question is read, looked up and answered as
    /// a client's is. It is nobody's, though: no list and no rate holds it up, and it is neither counted nor recorded.
    pub fn probe(&mut self) -> bool {
        let loaded = self.images.zones.iter().position(|zone| zone.image.is_some());
        let request = match loaded {
            Some(zone) => question(self.images.zones[zone].about.apex.as_wire(), rtype::SOA, CLASS_IN),
            None => question(SERVER, rtype::TXT, CLASS_CHAOS),
        };
        let (counters, note) = (self.counters.clone(), self.note);
        let mut reply = [0; UDP_REPLY_OCTETS_MAX];
        let octets = self.answer_own(loaded, &request, &mut reply);
        (self.counters, self.note) = (counters, note);
        let Some(header) = octets.and_then(|octets| Header::parse(&reply[..octets])) else { return false };
        let rcode = header.flags & flags::RCODE;
        let is_answered = match loaded {
            // What the record holds may be too long for a datagram.
            Some(_) => rcode == Rcode::NoError as u16 && (header.counts[1] > 0 || header.has(flags::TC)),
            None => rcode == Rcode::NoError as u16 || rcode == Rcode::Refused as u16,
        };
        header.has(flags::QR) && is_answered
    }

    /// Writes the reply to a question of ours, which is for this zone; its length.
    fn answer_own(&mut self, zone: Option<usize>, request: &[u8], reply: &mut [u8]) -> Option<usize> {
        let header = Header::parse(request)?;
        let query = Query::parse(header, request, &self.images.hash_key, &mut self.name).ok()?;
        let peer = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
        let client = Client { peer, local: None, via: Transport::Udp, listener: 0, connection: 0 };
        let asker = Asker::new(&client, &query);
        let outcome = match zone {
            Some(zone) => self.answer_from_zone(zone as u32, &query, &asker, reply),
            None => match self.answer_chaos(&query, asker, reply) {
                Ok(outcome) => outcome,
                Err(refusal) => self.bare(header, refusal.rcode, reply),
            },
        };
        match outcome {
            Outcome::Reply(octets) => Some(octets),
            _ => None,
        }
    }
}

/// A request with one question, as it stands in messages.
fn question(name: &[u8], qtype: u16, class: u16) -> Vec<u8> {
    let mut request = Vec::with_capacity(HEADER_OCTETS + NAME_OCTETS_MAX + 4);
    request.extend([0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    request.extend_from_slice(name);
    request.extend([qtype.to_be_bytes(), class.to_be_bytes()].as_flattened());
    request
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::images::{Images, Zone};
    use crate::telemetry::Counters;
    use crate::wire::name::{HashKey, Name};
    use crate::zone::{Builder, Place};

    const KEY: [u8; 16] = *b"a key for names!";

    fn zone(apex: &str) -> Zone {
        let (apex, key): (Name, _) = (apex.parse().unwrap(), HashKey::from_seed(KEY));
        let soa = [apex.as_wire(), apex.as_wire(), &[0; 20]].concat();
        let mut builder = Builder::new(apex.clone(), key);
        builder.push(apex.as_wire(), rtype::SOA, 60, &soa, Place::default()).unwrap();
        builder.push(apex.as_wire(), rtype::NS, 60, apex.as_wire(), Place::default()).unwrap();
        Zone::new(Arc::new(builder.finish().unwrap()))
    }

    fn shard(zones: Vec<Zone>, identity: &str) -> Shard {
        let images = Images::bare(HashKey::from_seed(KEY));
        Shard::new(Arc::new(Images { zones, identity: identity.as_bytes().into(), ..images }), [3; 32])
    }

    #[test]
    fn an_engine_answers_itself_and_counts_nothing_of_it() {
        let long = format!("{0}.{0}.{0}.{1}.test", "a".repeat(63), "b".repeat(50));
        let unloaded = || Zone { image: None, ..zone("gone.test") };
        for zones in [vec![zone("ours.test")], vec![unloaded(), zone(&long)], vec![unloaded()], vec![]] {
            for identity in ["", "edge-1"] {
                let mut shard = shard(zones.clone(), identity);
                assert!(shard.probe() && shard.probe());
                assert_eq!(shard.counters(), &Counters::default());
                assert!(shard.is_idle());
            }
        }
    }

    #[test]
    fn what_is_no_answer_fails_the_probe() {
        // Another zone's records stand under the apex: its SOA is not found there.
        let about = zone("other.test").about;
        assert!(!shard(vec![Zone { about, ..zone("ours.test") }], "").probe());
    }
}
