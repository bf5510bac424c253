//! Zones, keys and messages for the tests.

use std::sync::Arc;

use ringdns_shard::transfer::{Ask, Asked, Bounds, Content, Fault, Incoming, Outgoing, Progress, Received};
use ringdns_shard::tsig::{self, Algorithm, Checked, Key, Keys, Signer};
use ringdns_shard::wire::message::Header;
use ringdns_shard::wire::name::{HashKey, Name};
use ringdns_shard::wire::rdata::rtype;
use ringdns_shard::zone::image::Record;
use ringdns_shard::zone::{Builder, Image, Place};

pub(crate) const NOW: u64 = 1_700_000_000;
pub(crate) const ID: u16 = 0x5aa5;
pub(crate) const PLENTY: Bounds = Bounds { records: 1 << 20, octets: 1 << 30 };

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn wire(text: &str) -> Vec<u8> {
    name(text).as_wire().to_vec()
}

pub(crate) fn hash_key() -> HashKey {
    HashKey::from_seed([4; 16])
}

pub(crate) fn apex() -> Name {
    name("example.test")
}

pub(crate) fn key() -> Arc<Key> {
    Arc::new(Key::new(&name("transfer.example.test"), Algorithm::HmacSha256, b"0123456789abcdef"))
}

pub(crate) fn soa(serial: u32) -> Vec<u8> {
    let numbers = [serial, 3600, 600, 86_400, 60].map(u32::to_be_bytes);
    [wire("ns.example.test"), wire("host.example.test"), numbers.concat()].concat()
}

/// A record that a test makes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Made {
    pub(crate) owner: Vec<u8>,
    pub(crate) rtype: u16,
    pub(crate) ttl: u32,
    pub(crate) data: Vec<u8>,
}

pub(crate) fn made(owner: &str, rtype: u16, data: &[u8]) -> Made {
    Made { owner: wire(owner), rtype, ttl: 300, data: data.to_vec() }
}

pub(crate) fn made_soa(serial: u32) -> Made {
    made("example.test", rtype::SOA, &soa(serial))
}

pub(crate) fn a(owner: &str, last: u8) -> Made {
    made(owner, rtype::A, &[192, 0, 2, last])
}

impl From<Record<'_>> for Made {
    fn from(record: Record<'_>) -> Made {
        let Record { owner, rtype, ttl, data } = record;
        Made { owner: owner.to_vec(), rtype, ttl, data: data.to_vec() }
    }
}

/// The zone of a serial with an SOA, an NS, and these records.
pub(crate) fn zone(serial: u32, records: &[Made]) -> Arc<Image> {
    let mut builder = Builder::new(apex(), hash_key());
    let first = [made_soa(serial), made("example.test", rtype::NS, &wire("ns.example.test"))];
    for record in first.iter().chain(records) {
        builder.push(&record.owner, record.rtype, record.ttl, &record.data, Place::default()).unwrap();
    }
    Arc::new(builder.finish().unwrap())
}

pub(crate) fn records(image: &Image) -> Vec<Made> {
    image.each_record().map(Made::from).collect()
}

/// A request for a transfer, and its octets.
pub(crate) fn ask(since: Option<&[u8]>, key: Option<&Arc<Key>>, over_udp: bool) -> (Incoming, Vec<u8>) {
    let ask = Ask { zone: &apex(), since, id: ID, key, over_udp };
    Incoming::begin(&ask, PLENTY, hash_key(), NOW)
}

/// The signer of the answer to a signed request.
pub(crate) fn signer(request: &[u8], key: &Key) -> Signer {
    match tsig::check(request, &[key.clone()].into_iter().collect::<Keys>(), NOW) {
        Checked::Signed(signed) => signed.signer,
        other => panic!("{other:?}"),
    }
}

/// The question of a request of ours.
pub(crate) fn question(request: &[u8]) -> &[u8] {
    &request[12..12 + apex().as_wire().len() + 4]
}

pub(crate) fn asked(request: &[u8]) -> Asked<'_> {
    let header = Header::parse(request).unwrap();
    Asked { id: header.id, flags: header.flags, question: question(request), dnssec_ok: None }
}

/// All messages of an answer.
pub(crate) fn drain(mut outgoing: Outgoing) -> Vec<Vec<u8>> {
    let mut buffer = vec![0; 65_535];
    let mut messages = Vec::new();
    while let Some(octets) = outgoing.next(NOW, &mut buffer) {
        messages.push(buffer[..octets].to_vec());
    }
    assert!(outgoing.is_done() && !outgoing.has_failed());
    messages
}

/// The answer to a request of ours.
pub(crate) fn answer(
    request: &[u8],
    image: &Arc<Image>,
    content: Content,
    key: Option<&Key>,
    octets: usize,
) -> Vec<Vec<u8>> {
    let signer = key.map(|key| signer(request, key));
    drain(Outgoing::new(&asked(request), image.clone(), content, signer).with_message_octets(octets))
}

/// Feeds messages until the transfer is over. A fault, or `None` where more were expected.
pub(crate) fn feed(incoming: &mut Incoming, messages: &[Vec<u8>]) -> Result<Option<Received>, Fault> {
    for message in messages {
        if let Progress::Done(received) = incoming.take(NOW, &mut message.clone())? {
            return Ok(Some(received));
        }
    }
    Ok(None)
}

/// A message written by hand: header, question, answers; names as they come, so that they may be compressed.
pub(crate) fn message(qtype: Option<u16>, answers: &[Made]) -> Vec<u8> {
    let mut out = ID.to_be_bytes().to_vec();
    out.extend([0x84, 0, 0, u8::from(qtype.is_some())]);
    out.extend((answers.len() as u16).to_be_bytes());
    out.extend([0; 4]);
    if let Some(qtype) = qtype {
        out.extend([apex().as_wire(), &qtype.to_be_bytes(), &[0, 1]].concat());
    }
    for Made { owner, rtype, ttl, data } in answers {
        out.extend(owner);
        out.extend([&rtype.to_be_bytes()[..], &[0, 1], &ttl.to_be_bytes()].concat());
        out.extend((data.len() as u16).to_be_bytes());
        out.extend(data);
    }
    out
}
