//! An engine with zones that are transferred, and peers that ask it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ringdns_shard::guard::{Acl, Network};
use ringdns_shard::images::{Allowed, Bounds, CacheSettings, Listener, Zone, ZoneAbout};
use ringdns_shard::limits::{MESSAGE_OCTETS_MAX, UDP_REPLY_OCTETS_MAX};
use ringdns_shard::transfer::{self, Ask, Fault, Incoming, Progress, Received};
use ringdns_shard::tsig::{Algorithm, Key};
use ringdns_shard::upstream::{Kind, Pool, Protocol, Routes, Server, Strategy, Target};
use ringdns_shard::wire::name::{HashKey, Name};
use ringdns_shard::wire::rdata::rtype;
use ringdns_shard::zone::difference::Difference;
use ringdns_shard::zone::journal::Journal;
use ringdns_shard::zone::{Builder, Image, Place};
use ringdns_shard::{Client, Images, Outcome, Shard, Time, TransferMessage, Transport};

pub(crate) const NOW: Time = Time::from_secs(1);
/// The time of the day.
pub(crate) const CLOCK: u64 = 1_700_000_000;
/// A peer that every list of this world allows by its address.
pub(crate) const LISTED: &str = "192.0.2.53:4000";
/// A peer that no list has, the listener's neither.
pub(crate) const STRANGER: &str = "198.51.100.1:4000";
/// Somebody who may ask at the listener.
pub(crate) const ASKER: &str = "127.0.0.1:4000";

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn hash_key() -> HashKey {
    HashKey::from_seed([8; 16])
}

/// The keys: `move` is in the lists, `other` in none.
pub(crate) fn key(text: &str) -> Arc<Key> {
    Arc::new(Key::new(&name(text), Algorithm::HmacSha256, format!("secret of {text}").as_bytes()))
}

/// A zone of this serial; each serial above 1 has brought hosts.
pub(crate) fn image(apex: &str, serial: u32, hosts: u32) -> Image {
    let apex = name(apex);
    let mut builder = Builder::new(apex.clone(), hash_key());
    let numbers = [serial, 60, 60, 60, 60].map(u32::to_be_bytes).concat();
    let soa = [apex.as_wire(), apex.as_wire(), &numbers].concat();
    let mut push = |owner: &Name, rtype: u16, data: &[u8]| {
        builder.push(owner.as_wire(), rtype, 60, data, Place::default()).unwrap();
    };
    push(&apex, rtype::SOA, &soa);
    push(&apex, rtype::NS, apex.as_wire());
    push(&apex, rtype::A, &[192, 0, 2, 1]);
    for i in 0..hosts {
        push(&name(&format!("h{i}.{apex}")), rtype::A, &[10, 0, (i >> 8) as u8, i as u8]);
    }
    builder.finish().unwrap()
}

fn allowed(network: Option<&str>, key: Option<&str>) -> Allowed {
    Allowed { network: network.map(|text| text.parse::<Network>().unwrap()), key: key.map(name) }
}

/// A zone that may be transferred by [`LISTED`] and with the key `move`, and is notified of by [`LISTED`] with that key.
pub(crate) fn shared(apex: &str, image: Option<Arc<Image>>, journal: Journal) -> Zone {
    let about = ZoneAbout {
        apex: name(apex),
        journal,
        allow_transfer: vec![allowed(Some("192.0.2.0/24"), None), allowed(None, Some("move"))],
        notify_from: vec![allowed(Some("192.0.2.0/24"), Some("move"))],
    };
    Zone { image, about: Arc::new(about) }
}

/// The images of `example.test` at serials 1 to 3, of 400, 402 and 500 hosts.
pub(crate) fn history() -> [Arc<Image>; 3] {
    [(1, 400), (2, 402), (3, 500)].map(|(serial, hosts)| Arc::new(image("example.test", serial, hosts)))
}

/// `example.test` at serial 3 with its journal, `expired.test` without records, `closed.test` for nobody, `up.test` at an
/// upstream.
pub(crate) fn images() -> Images {
    let [first, second, third] = history();
    let mut journal = Journal::default();
    for (old, new) in [(&first, &second), (&second, &third)] {
        journal.push(Arc::new(Difference::between(old, new).unwrap()));
    }
    let apexes = ["example.test", "expired.test", "closed.test"];
    let mut routes: Vec<_> = (0..).zip(apexes).map(|(i, apex)| (name(apex), Target::Zone(i))).collect();
    routes.push((name("up.test"), Target::Pools(vec![0])));
    let server = Server { protocol: Protocol::Udp, address: ([192, 0, 2, 200], 53).into() };
    Images {
        hash_key: hash_key(),
        listeners: vec![Listener { allow: Acl::local_and_private() }],
        identity: b"a-core".as_slice().into(),
        routes: Arc::new(Routes::new(&hash_key(), routes)),
        zones: vec![
            shared("example.test", Some(third), journal),
            shared("expired.test", None, Journal::default()),
            Zone::new(Arc::new(image("closed.test", 1, 0))),
        ],
        keys: Arc::new(["move", "other"].map(|text| Arc::unwrap_or_clone(key(text))).into_iter().collect()),
        pools: vec![Arc::new(Pool {
            name: "far".into(),
            servers: vec![server.into()],
            kind: Kind::Resolver,
            strategy: Strategy::Fallback,
            timeout: Duration::from_secs(2),
            spec: Box::default(),
        })],
        cache: CacheSettings {
            octets: 1 << 20,
            min_ttl: Duration::ZERO,
            max_ttl: Duration::from_secs(3600),
            negative_max_ttl: Duration::from_secs(3600),
            ..CacheSettings::PLAIN
        },
        bounds: Bounds {
            resolves: 10,
            waiters: 10,
            tcp_idle: Duration::from_secs(10),
            udp_ports: 1,
            ..Bounds::DEFAULT
        },
        ..Images::bare(hash_key())
    }
}

/// A query for `owner` of opcode QUERY, without EDNS.
pub(crate) fn query(owner: &str, qtype: u16) -> Vec<u8> {
    let mut request = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    request.extend(name(owner).as_wire());
    request.extend(qtype.to_be_bytes());
    request.extend([0, 1]);
    request
}

/// A query that takes `payload` octets over UDP.
pub(crate) fn query_with_edns(owner: &str, qtype: u16, payload: u16) -> Vec<u8> {
    let mut request = query(owner, qtype);
    request[11] = 1;
    request.extend([0, 0, 41]);
    request.extend(payload.to_be_bytes());
    request.extend([0; 6]);
    request
}

pub(crate) fn rcode(reply: &[u8]) -> u8 {
    assert!(reply[2] & 0x80 != 0, "a reply has QR");
    reply[3] & 15
}

/// The info code of the extended error, where the OPT record ends the reply with one.
pub(crate) fn extended_error(reply: &[u8]) -> Option<u16> {
    let [.., 0, 15, 0, 2, high, low] = *reply else { return None };
    Some(u16::from_be_bytes([high, low]))
}

pub(crate) struct Engine {
    pub(crate) shard: Shard,
    pub(crate) buffer: Vec<u8>,
}

impl Default for Engine {
    fn default() -> Engine {
        Engine::with(images())
    }
}

impl Engine {
    pub(crate) fn with(images: Images) -> Engine {
        let mut shard = Shard::new(Arc::new(images), [3; 32]);
        shard.on_clock(CLOCK);
        Engine { shard, buffer: vec![0; MESSAGE_OCTETS_MAX] }
    }

    pub(crate) fn ask(&mut self, peer: &str, via: Transport, request: &[u8]) -> Outcome {
        let peer: SocketAddr = peer.parse().unwrap();
        let connection = u64::from(via == Transport::Tcp);
        let client = Client { peer, local: None, via, listener: 0, connection };
        let room = if via == Transport::Udp { UDP_REPLY_OCTETS_MAX } else { MESSAGE_OCTETS_MAX };
        self.shard.on_query(NOW, &client, request, &mut self.buffer[..room])
    }

    /// Asks what is answered at once.
    pub(crate) fn reply(&mut self, peer: &str, via: Transport, request: &[u8]) -> Vec<u8> {
        match self.ask(peer, via, request) {
            Outcome::Reply(octets) => self.buffer[..octets].to_vec(),
            outcome => panic!("{outcome:?}"),
        }
    }

    /// Every message of a transfer.
    pub(crate) fn messages(&mut self, number: u32) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        loop {
            match self.shard.transfer_message(number, &mut self.buffer) {
                TransferMessage::More(octets) => messages.push(self.buffer[..octets].to_vec()),
                TransferMessage::Last(octets) => {
                    messages.push(self.buffer[..octets].to_vec());
                    return messages;
                }
                TransferMessage::Failed => panic!("the transfer has failed after {} messages", messages.len()),
            }
        }
    }

    /// Transfers `zone` as a secondary does, with its reader of what comes. Returns how many messages came, too.
    pub(crate) fn transfer(
        &mut self,
        peer: &str,
        via: Transport,
        zone: &str,
        since: Option<&Image>,
        key: Option<&Arc<Key>>,
    ) -> Result<(Received, usize), Fault> {
        let zone = name(zone);
        let since = since.map(|image| image.soa().first());
        let ask = Ask { zone: &zone, since, id: 77, key, over_udp: via == Transport::Udp };
        let bounds = transfer::Bounds { records: 10_000, octets: 1 << 20 };
        let (mut incoming, request) = Incoming::begin(&ask, bounds, hash_key(), CLOCK);
        let messages = match self.ask(peer, via, &request) {
            Outcome::Transfer(number) => self.messages(number),
            Outcome::Reply(octets) => vec![self.buffer[..octets].to_vec()],
            outcome => panic!("{outcome:?}"),
        };
        let count = messages.len();
        for (i, mut message) in messages.into_iter().enumerate() {
            match incoming.take(CLOCK, &mut message)? {
                Progress::Done(received) => {
                    assert_eq!(i + 1, count, "nothing comes behind the end");
                    return Ok((received, count));
                }
                Progress::More => {}
            }
        }
        panic!("the transfer has no end");
    }
}
