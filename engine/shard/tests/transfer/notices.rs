//! SOA questions and notices of change.

use ringdns_shard::transfer::{Fault, Notice, SoaQuery, notify};
use ringdns_shard::tsig::BadAnswer;
use ringdns_shard::wire::message::{Header, Query, Rcode};
use ringdns_shard::wire::name::KeyedName;
use ringdns_shard::wire::rdata::rtype;

use super::common::*;

fn parse(request: &[u8]) -> Query<'_> {
    Query::parse(Header::parse(request).unwrap(), request, &hash_key(), &mut KeyedName::default()).unwrap()
}

/// With one octet changed.
fn with(mut message: Vec<u8>, at: usize, octet: u8) -> Vec<u8> {
    message[at] = octet;
    message
}

#[test]
fn the_serial_of_a_primary_is_read() {
    let (query, request) = SoaQuery::begin(&apex(), ID, None, NOW);
    assert_eq!(request.len(), 12 + apex().as_wire().len() + 4);
    let good = message(Some(rtype::SOA), &[made_soa(42)]);
    assert_eq!(query.take(NOW, &mut good.clone()), Ok(42));
    let other_zone = made("sub.example.test", rtype::SOA, &soa(1));
    for (fault, mut answer) in [
        (Fault::NotOurs("the id differs"), with(good.clone(), 0, 0)),
        (Fault::NotOurs("it is no response"), with(good.clone(), 2, 4)),
        (Fault::NotOurs("the question differs"), with(good.clone(), 13, b'x')),
        (Fault::NotOurs("it has no question"), message(None, &[made_soa(42)])),
        (Fault::Refused(5), with(good.clone(), 3, 5)),
        (Fault::NeedsTcp, with(good.clone(), 2, 0x86)),
        (Fault::Order("the server is no authority for the zone"), with(good.clone(), 2, 0x80)),
        (Fault::Order("the answer has no SOA record of the zone"), message(Some(rtype::SOA), &[])),
        (Fault::Order("the answer has no SOA record of the zone"), message(Some(rtype::SOA), &[other_zone])),
        (Fault::Order("the answer has no SOA record of the zone"), with(with(good.clone(), 7, 0), 9, 1)),
        (Fault::Malformed, good[..good.len() - 1].to_vec()),
        (Fault::Malformed, Vec::new()),
    ] {
        assert_eq!(query.take(NOW, &mut answer), Err(fault));
    }
    assert_eq!(query.take(NOW, &mut good.clone()), Ok(42), "a forged answer spoils nothing");
}

#[test]
fn a_signed_serial_is_taken_from_the_key_alone() {
    let (query, request) = SoaQuery::begin(&apex(), ID, Some(&key()), NOW);
    let good = message(Some(rtype::SOA), &[made_soa(42)]);
    let mut buffer = [&good[..], &[0; 200]].concat();
    let octets = signer(&request, &key()).sign(NOW, &mut buffer, good.len()).unwrap();
    buffer.truncate(octets);
    assert_eq!(query.take(NOW, &mut good.clone()), Err(Fault::Signature(BadAnswer::Unsigned)));
    let serial_at = good.len() - 17;
    assert_eq!(query.take(NOW, &mut with(buffer.clone(), serial_at, 43)), Err(Fault::Signature(BadAnswer::Mac)));
    assert_eq!(query.take(NOW, &mut buffer), Ok(42));
}

#[test]
fn a_notice_is_read_and_its_reply_ends_it() {
    for (soa, serial) in [(Some(soa(9)), Some(9)), (None, None)] {
        for key in [None, Some(key())] {
            let (notice, request) = Notice::begin(&apex(), soa.as_deref(), ID, key.as_ref(), NOW);
            assert_eq!(request[2..4], [0x24, 0], "opcode NOTIFY, AA");
            let query = parse(&request);
            assert_eq!(notify::read(&query, &apex(), &request).unwrap().serial, serial);
            let mut buffer = vec![0; 512];
            let mut octets = notify::reply(&query, Rcode::NoError, &mut buffer).unwrap();
            assert_eq!(buffer[..octets], [&[0x5a, 0xa5, 0xa4, 0, 0, 1, 0, 0, 0, 0, 0, 0], question(&request)].concat());
            if let Some(key) = &key {
                let unsigned = notice.take(NOW, &mut buffer[..octets].to_vec());
                assert_eq!(unsigned, Err(Fault::Signature(BadAnswer::Unsigned)));
                octets = signer(&request, key).sign(NOW, &mut buffer, octets).unwrap();
            }
            buffer.truncate(octets);
            assert_eq!(notice.take(NOW, &mut with(buffer.clone(), 1, 0)), Err(Fault::NotOurs("the id differs")));
            assert_eq!(notice.take(NOW, &mut with(buffer.clone(), 2, 0x84)), Err(Fault::NotOurs("the opcode differs")));
            assert_eq!(notice.take(NOW, &mut buffer), Ok(()));
        }
    }
    let (notice, request) = Notice::begin(&apex(), None, ID, None, NOW);
    let mut buffer = [0; 512];
    let octets = notify::reply(&parse(&request), Rcode::Refused, &mut buffer).unwrap();
    assert_eq!(notice.take(NOW, &mut buffer[..octets].to_vec()), Err(Fault::Refused(5)));
    assert_eq!(notify::reply(&parse(&request), Rcode::NoError, &mut buffer[..octets - 1]), None);
    assert_eq!(notice.take(NOW, &mut b"\x5a\xa5\xa4\0\0\0\0\0\0\0\0\0".to_vec()), Ok(()), "without its question");
}

#[test]
fn a_notice_that_is_none_is_malformed() {
    let (_, request) = Notice::begin(&apex(), Some(&soa(9)), ID, None, NOW);
    let qtype_at = 12 + apex().as_wire().len() + 1;
    let read = |request: Vec<u8>| notify::read(&parse(&request), &apex(), &request).map(|heard| heard.serial);
    assert_eq!(read(request.clone()), Ok(Some(9)));
    for (at, octet) in [(2, 0x04), (2, 0xa4), (qtype_at, 1), (qtype_at + 2, 3)] {
        assert!(read(with(request.clone(), at, octet)).is_err(), "{at}");
    }
    // An SOA of another zone, in another class or section is no hint, and no mistake.
    assert_eq!(read(with(request.clone(), qtype_at + 7, 1)), Ok(None));
    assert_eq!(read(with(with(request.clone(), 7, 0), 9, 1)), Ok(None));
    let mut cut = request;
    let at = cut.len() - soa(9).len() - 1;
    cut[at] -= 1;
    cut.pop();
    assert!(read(cut).is_err(), "an SOA whose data is short");
}

#[test]
fn the_reply_to_a_notice_with_edns_has_edns() {
    let (_, mut request) = Notice::begin(&apex(), None, ID, None, NOW);
    request[11] = 1;
    request.extend(b"\0\0\x29\x04\xd0\0\0\x80\0\0\0");
    let mut buffer = [0; 512];
    let octets = notify::reply(&parse(&request), Rcode::NoError, &mut buffer).unwrap();
    assert_eq!((octets, buffer[11]), (request.len(), 1));
    assert_eq!(buffer[octets - 11..octets], request[octets - 11..]);
}
