//! Messages of other servers are taken for a transfer, for an SOA and for the reply to a notice; and requests are checked for
//! their signature. What arrives as a zone goes out again and arrives as the same zone.
//!
//! The input is one octet of [`bits`], then messages, each behind its length as over TCP.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use ringdns_shard::transfer::{
    Ask, Asked, Bounds, Content, Incoming, Notice, Outgoing, Progress, Received, SoaQuery, notify,
};
use ringdns_shard::tsig::{self, Algorithm, Checked, Key, Keys, Signer};
use ringdns_shard::wire::message::{HEADER_OCTETS, Header, Query, Rcode};
use ringdns_shard::wire::name::{HashKey, KeyedName, Name};
use ringdns_shard::wire::serial::newer;
use ringdns_shard::zone::Image;
use ringdns_shard::zone::difference::Difference;

/// What the first octet says.
mod bits {
    /// The differences are asked for, not the whole zone.
    pub(crate) const INCREMENTAL: u8 = 1;
    /// The request is signed, and so is every message.
    pub(crate) const SIGNED: u8 = 2;
    /// The request goes over UDP.
    pub(crate) const UDP: u8 = 4;
    /// Headers stay as they came. Else they are made to fit the request, so that more is read behind them.
    pub(crate) const RAW: u8 = 8;
}

const NOW: u64 = 1_700_000_000;
const ID: u16 = 0x5aa5;
const BOUNDS: Bounds = Bounds { records: 4_096, octets: 1 << 20 };
const MESSAGES_MAX: usize = 64;

fuzz_target!(|input: &[u8]| {
    let Some((&how, mut rest)) = input.split_first() else { return };
    let mut messages = Vec::new();
    while let Some((octets, tail)) = rest.split_first_chunk::<2>()
        && messages.len() < MESSAGES_MAX
    {
        let (message, tail) = tail.split_at(tail.len().min(u16::from_be_bytes(*octets).into()));
        messages.push(message);
        rest = tail;
    }
    for message in &messages {
        as_request(message);
        as_answer(message);
    }
    incoming(how, &messages);
});

fn apex() -> Name {
    "example.test".parse().expect("it is a name")
}

fn hash_key() -> HashKey {
    HashKey::from_seed([3; 16])
}

fn key() -> Arc<Key> {
    let name = "key.example.test".parse().expect("it is a name");
    Arc::new(Key::new(&name, Algorithm::HmacSha256, b"secret"))
}

fn keys() -> Keys {
    [Key::clone(&key())].into_iter().collect()
}

/// The data of an SOA with this serial.
fn soa(serial: u32) -> Vec<u8> {
    let apex = apex();
    [apex.as_wire(), apex.as_wire(), &serial.to_be_bytes(), &[0; 16]].concat()
}

/// The message as a request of somebody.
fn as_request(message: &[u8]) {
    let signer = match tsig::check(message, &keys(), NOW) {
        Checked::Unsigned => None,
        Checked::Signed(signed) => {
            assert!(signed.request.len() < message.len() && signed.request[..2] == message[..2]);
            Some(signed.signer)
        }
        Checked::Fault(fault) => {
            assert!(matches!(fault.rcode, Rcode::FormErr | Rcode::NotAuth));
            assert_eq!(
                (fault.error.is_none(), fault.signer.is_none()),
                (fault.rcode == Rcode::FormErr, fault.error.is_none())
            );
            fault.signer
        }
    };
    let Some(header) = Header::parse(message) else { return };
    let Ok(query) = Query::parse(header, message, &hash_key(), &mut KeyedName::default()) else { return };
    let _ = notify::read(&query, &apex(), message);
    let mut buffer = [0; 2_048];
    let octets = notify::reply(&query, Rcode::NoError, &mut buffer).expect("2,048 octets are enough for it");
    if let Some(mut signer) = signer {
        let signed = signer.sign(NOW, &mut buffer, octets).expect("and for a signature");
        assert_eq!(signed, octets + signer.octets_needed());
    }
}

/// The message as the answer to a question and to a notice.
fn as_answer(message: &[u8]) {
    for key in [None, Some(key())] {
        let (query, _) = SoaQuery::begin(&apex(), ID, key.as_ref(), NOW);
        let _ = query.take(NOW, &mut message.to_vec());
        let (notice, _) = Notice::begin(&apex(), None, ID, key.as_ref(), NOW);
        let _ = notice.take(NOW, &mut message.to_vec());
    }
}

/// The signer of the answer to a request of ours.
fn signer(request: &[u8]) -> Option<Signer> {
    match tsig::check(request, &keys(), NOW) {
        Checked::Signed(signed) => Some(signed.signer),
        Checked::Unsigned => None,
        Checked::Fault(fault) => panic!("a request of ours is in order: {fault:?}"),
    }
}

/// The messages as a transfer.
fn incoming(how: u8, messages: &[&[u8]]) {
    let has = |bit: u8| how & bit != 0;
    let since = has(bits::INCREMENTAL).then(|| soa(5));
    let key = has(bits::SIGNED).then(key);
    let ask = Ask { zone: &apex(), since: since.as_deref(), id: ID, key: key.as_ref(), over_udp: has(bits::UDP) };
    let (mut incoming, request) = Incoming::begin(&ask, BOUNDS, hash_key(), NOW);
    let mut signer = signer(&request);
    assert_eq!(signer.is_some(), key.is_some());
    for message in messages {
        let mut message = message.to_vec();
        if !has(bits::RAW) && message.len() >= HEADER_OCTETS {
            message[..2].copy_from_slice(&ID.to_be_bytes());
            message[2] = 0x84;
            message[3] &= 0xf0;
        }
        if let Some(signer) = &mut signer {
            let octets = message.len();
            message.resize(octets + signer.octets_needed(), 0);
            match signer.sign(NOW, &mut message, octets) {
                Some(octets) => message.truncate(octets),
                None => return,
            }
        }
        match incoming.take(NOW, &mut message) {
            Ok(Progress::More) => {}
            Ok(Progress::Done(received)) => return arrived(received),
            Err(_) => return assert!(incoming.take(NOW, &mut message).is_err()),
        }
    }
}

fn arrived(received: Received) {
    match received {
        Received::Current { serial } => assert!(!newer(serial, 5)),
        Received::Whole { builder, serial } => {
            let Ok(image) = builder.finish() else { return };
            assert_eq!(image.serial(), serial);
            let Received::Whole { builder, .. } = again(Arc::new(image.clone()), Content::Whole, None) else {
                panic!("a whole zone arrives as one")
            };
            let copy = builder.finish().expect("what was built once is built again");
            assert!(copy.each_record().eq(image.each_record()));
        }
        Received::Differences(steps) => {
            assert!(
                steps[0].from_serial() == 5
                    && steps.windows(2).all(|pair| pair[0].to_serial() == pair[1].from_serial())
            );
            differences(steps);
        }
    }
}

/// Differences go out again and arrive as they were.
fn differences(steps: Vec<Difference>) {
    let last = &steps[steps.len() - 1];
    let soa = last.added().next().expect("the SOA comes first");
    let newest = image(soa.ttl, soa.data);
    let steps: Vec<_> = steps.into_iter().map(Arc::new).collect();
    let sent = Content::Differences(steps.clone());
    match (newest, steps[0].from_serial()) {
        (Some(newest), from) if newer(newest.serial(), from) => {
            let Received::Differences(got) = again(Arc::new(newest), sent, Some(from)) else {
                panic!("differences arrive as such")
            };
            assert!(got.iter().eq(steps.iter().map(|step| &**step)));
        }
        _ => {}
    }
}

/// A zone of an SOA and an NS.
fn image(ttl: u32, soa: &[u8]) -> Option<Image> {
    use ringdns_shard::wire::rdata::rtype;
    use ringdns_shard::zone::{Builder, Place};
    let apex = apex();
    let mut builder = Builder::new(apex.clone(), hash_key());
    builder.push(apex.as_wire(), rtype::SOA, ttl, soa, Place::default()).ok()?;
    builder.push(apex.as_wire(), rtype::NS, ttl, apex.as_wire(), Place::default()).ok()?;
    builder.finish().ok()
}

/// Sends and takes what has arrived.
fn again(image: Arc<Image>, content: Content, since: Option<u32>) -> Received {
    let since = since.map(soa);
    let ask = Ask { zone: &apex(), since: since.as_deref(), id: ID, key: None, over_udp: false };
    // What came in full may go out as more records: the SOA twice.
    let bounds = Bounds { records: 2 * BOUNDS.records, octets: 2 * BOUNDS.octets };
    let (mut incoming, request) = Incoming::begin(&ask, bounds, hash_key(), NOW);
    let question = &request[HEADER_OCTETS..][..apex().as_wire().len() + 4];
    let asked = Asked { id: ID, flags: 0, question, dnssec_ok: Some(true) };
    let mut outgoing = Outgoing::new(&asked, image, content, None).with_message_octets(600);
    let mut buffer = vec![0; 65_535];
    loop {
        let octets = outgoing.next(NOW, &mut buffer).expect("every record came in a message, and goes out in one");
        match incoming.take(NOW, &mut buffer[..octets].to_vec()) {
            Ok(Progress::More) => {}
            Ok(Progress::Done(received)) => return received,
            Err(fault) => panic!("what we send we take: {fault}"),
        }
    }
}
