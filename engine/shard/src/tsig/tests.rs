use super::*;

const NOW: u64 = 1_700_000_000;
const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07example\x04test\0\0\xfc\0\x01";
const ANSWER: &[u8] = b"\x12\x34\x84\0\0\x01\0\0\0\0\0\0\x07example\x04test\0\0\xfc\0\x01";

fn key_of(name: &str, algorithm: Algorithm, secret: &[u8]) -> Arc<Key> {
    Arc::new(Key::new(&name.parse().unwrap(), algorithm, secret))
}

fn key() -> Arc<Key> {
    key_of("transfer.example.test", Algorithm::HmacSha256, b"0123456789abcdef")
}

fn keys(of: &[&Arc<Key>]) -> Keys {
    of.iter().map(|key| Key::clone(key)).collect()
}

fn signed_query(key: &Arc<Key>) -> (Transaction, Vec<u8>) {
    let mut query = QUERY.to_vec();
    let transaction = Transaction::sign(key, NOW, &mut query);
    (transaction, query)
}

fn signed(checked: Checked) -> Signed {
    match checked {
        Checked::Signed(signed) => signed,
        other => panic!("{other:?}"),
    }
}

fn fault(checked: Checked) -> Fault {
    match checked {
        Checked::Fault(fault) => fault,
        other => panic!("{other:?}"),
    }
}

/// The reply to a fault, as a client gets it.
fn reply(fault: Fault, unix_seconds: u64) -> Vec<u8> {
    let mut buffer = vec![0; 512];
    buffer[..ANSWER.len()].copy_from_slice(ANSWER);
    buffer[3] = fault.rcode as u8;
    let octets = match fault.signer {
        None => ANSWER.len(),
        Some(mut signer) => {
            let octets = signer.sign(unix_seconds, &mut buffer, ANSWER.len()).unwrap();
            assert_eq!(octets, ANSWER.len() + signer.octets_needed());
            octets
        }
    };
    buffer.truncate(octets);
    buffer
}

/// The record data of the TSIG record at the end of a message.
fn found(message: &[u8]) -> Found<'_> {
    match look(message) {
        Look::Found(found) => found,
        _ => panic!("no TSIG record in its place"),
    }
}

#[test]
fn a_signed_request_and_its_answer_hold_under_every_algorithm() {
    for algorithm in Algorithm::ALL {
        assert_eq!(algorithm.to_string().to_uppercase().parse(), Ok(algorithm));
        let key = key_of("K.example.test", algorithm, b"secret");
        let (transaction, query) = signed_query(&key);
        assert_eq!(query.len(), QUERY.len() + key.record_octets());
        let Signed { key: by, request, mut signer } = signed(check(&query, &keys(&[&key]), NOW + 299));
        assert_eq!((by.name(), by.algorithm(), &request[..]), (key.name(), algorithm, QUERY));
        let mut buffer = [0; 512];
        buffer[..ANSWER.len()].copy_from_slice(ANSWER);
        let octets = signer.sign(NOW + 1, &mut buffer, ANSWER.len()).unwrap();
        assert_eq!(octets, ANSWER.len() + key.record_octets());
        let mut answer = buffer[..octets].to_vec();
        transaction.verify(NOW + 2, &mut answer).unwrap();
        assert_eq!(answer, ANSWER);
    }
    assert!("hmac-md5".parse::<Algorithm>().is_err());
}

/// The same request with the same key at the same time, signed by dnspython, which compresses the name of the key.
#[test]
fn a_request_signed_elsewhere_holds_and_ours_has_the_same_signature() {
    let mac = b"\x4c\x2c\xad\xad\x64\xc2\x2c\x85\x66\xdb\x3b\x23\x36\xfa\xee\xd8\xbb\x2f\x4f\xd5\xd5\x5d\xca\xc3\x47\xd0\x1c\x42\x51\x92\xaf\x25";
    let record = TsigRecord {
        owner: b"\x08transfer\xc0\x0c",
        algorithm: b"\x0bhmac-sha256\0",
        time_signed: NOW,
        fudge: 300,
        mac,
        original_id: 0x1234,
        error: 0,
        other: &[],
    };
    let mut query = QUERY.to_vec();
    append_to(&mut query, &record.to_vec());
    assert_eq!(signed(check(&query, &keys(&[&key()]), NOW)).request, QUERY);
    assert_eq!(found(&signed_query(&key()).1).mac, mac);
}

#[test]
fn no_octet_of_a_signed_request_may_change() {
    let (_, query) = signed_query(&key());
    for at in 0..query.len() {
        let mut bent = query.clone();
        bent[at] ^= 0x01;
        match check(&bent, &keys(&[&key()]), NOW) {
            Checked::Signed(signed) => {
                // The id is signed as the record tells it; the case of the key's name is not signed.
                assert!(at < 2, "octet {at}");
                assert_eq!(signed.request[..2], bent[..2]);
            }
            Checked::Unsigned | Checked::Fault(_) => assert!(at >= 2, "octet {at}"),
        }
    }
    for cut in 0..query.len() {
        assert!(!matches!(check(&query[..cut], &keys(&[&key()]), NOW), Checked::Signed(_)));
    }
}

#[test]
fn an_unsigned_request_is_told_as_such() {
    for request in [QUERY, b"", b"\x12", &QUERY[..20]] {
        assert!(matches!(check(request, &keys(&[&key()]), NOW), Checked::Unsigned));
    }
}

#[test]
fn unknown_keys_are_answered_badkey_without_a_signature() {
    let other_algorithm = key_of("transfer.example.test", Algorithm::HmacSha512, b"0123456789abcdef");
    for known in [keys(&[]), keys(&[&other_algorithm])] {
        let (transaction, query) = signed_query(&key());
        let fault = fault(check(&query, &known, NOW));
        assert_eq!((fault.rcode, fault.error), (Rcode::NotAuth, Some(Error::BadKey)));
        let mut answer = reply(fault, NOW);
        assert!(found(&answer).mac.is_empty());
        assert_eq!((found(&answer).owner, found(&answer).error), (key().name().as_wire().to_vec(), 17));
        assert_eq!(transaction.verify(NOW, &mut answer), Err(BadAnswer::PeerKey));
    }
    let (_, query) = signed_query(&key_of("transfer.example.test", Algorithm::HmacSha256, b"guessed"));
    let mut md5 = QUERY.to_vec();
    append_to(&mut md5, &{
        let found = found(&query);
        TsigRecord { algorithm: b"\x08hmac-md5\x07sig-alg\x03reg\x03int\0", ..found.record() }.to_vec()
    });
    assert_eq!(fault(check(&md5, &keys(&[&key()]), NOW)).error, Some(Error::BadKey));
}

/// As [`append`], to a message that grows.
fn append_to(message: &mut Vec<u8>, record: &[u8]) {
    let octets = message.len();
    message.resize(octets + record.len(), 0);
    append(message, octets, record).unwrap();
}

#[test]
fn a_wrong_secret_is_answered_badsig_without_a_signature() {
    let (transaction, query) = signed_query(&key_of("transfer.example.test", Algorithm::HmacSha256, b"guessed"));
    let fault = fault(check(&query, &keys(&[&key()]), NOW));
    assert_eq!((fault.rcode, fault.error), (Rcode::NotAuth, Some(Error::BadSig)));
    let mut answer = reply(fault, NOW);
    assert_eq!((found(&answer).mac.len(), found(&answer).error), (0, 16));
    assert_eq!(transaction.verify(NOW, &mut answer), Err(BadAnswer::PeerMac));
}

#[test]
fn another_time_is_answered_badtime_with_a_signature_and_our_time() {
    for now in [NOW - 301, NOW + 301, 0, u64::MAX] {
        let (transaction, query) = signed_query(&key());
        let fault = fault(check(&query, &keys(&[&key()]), now));
        assert_eq!((fault.rcode, fault.error), (Rcode::NotAuth, Some(Error::BadTime)));
        let mut answer = reply(fault, now);
        let asked = found(&query);
        let told = found(&answer);
        assert_eq!((told.time_signed, told.fudge, told.error), (NOW, 300, 18));
        let our_time = &now.min((1 << 48) - 1).to_be_bytes()[2..];
        assert!(answer.ends_with(&[&[0, 18, 0, 6][..], our_time].concat()));
        // RFC 8945 §5.3: signature of the request, the answer as it was before, the variables.
        let mut digest = vec![0, 32];
        digest.extend(asked.mac);
        digest.extend(&answer[..ANSWER.len()]);
        digest[34 + 11] = 0;
        digest.extend(b"\x08transfer\x07example\x04test\0\0\xff\0\0\0\0\x0bhmac-sha256\0");
        digest.extend(&NOW.to_be_bytes()[2..]);
        digest.extend([1, 44, 0, 18, 0, 6]);
        digest.extend(our_time);
        let secret = hmac::Key::new(hmac::HMAC_SHA256, b"0123456789abcdef");
        hmac::verify(&secret, &digest, told.mac).unwrap();
        assert_eq!(transaction.verify(now, &mut answer), Err(BadAnswer::PeerTime));
    }
    let (_, query) = signed_query(&key());
    signed(check(&query, &keys(&[&key()]), NOW - 300));
}

#[test]
fn shortened_signatures_are_not_taken() {
    let (_, query) = signed_query(&key());
    for (octets, error) in [(31, Some(Error::BadTrunc)), (16, Some(Error::BadTrunc)), (15, None), (0, None)] {
        let mut short = QUERY.to_vec();
        let found = found(&query);
        let record = TsigRecord { mac: &found.mac[..octets], original_id: 0x1234, ..found.record() };
        append_to(&mut short, &record.to_vec());
        let fault = fault(check(&short, &keys(&[&key()]), NOW));
        let rcode = if error.is_some() { Rcode::NotAuth } else { Rcode::FormErr };
        assert_eq!((fault.rcode, fault.error), (rcode, error), "{octets} octets");
        assert_eq!(reply(fault, NOW).len() > ANSWER.len(), error.is_some());
    }
    let mut long = QUERY.to_vec();
    let found = found(&query);
    let record = TsigRecord { mac: &[7; 33], original_id: 0x1234, ..found.record() };
    append_to(&mut long, &record.to_vec());
    assert_eq!(fault(check(&long, &keys(&[&key()]), NOW)).rcode, Rcode::FormErr);
}

#[test]
fn a_record_in_another_place_or_form_is_answered_formerr() {
    let (_, query) = signed_query(&key());
    let record = query[QUERY.len()..].to_vec();
    let opt = b"\0\0\x29\x04\xd0\0\0\0\0\0\0";
    let owner_octets = key().name().as_wire().len();
    let mut twice = query.clone();
    append_to(&mut twice, &record);
    let mut before_opt = query.clone();
    append_to(&mut before_opt, opt);
    let among_answers = {
        let mut message = query.clone();
        (message[7], message[11]) = (1, 0);
        message
    };
    let with = |at: usize, octet: u8| {
        let mut message = query.clone();
        message[QUERY.len() + owner_octets + at] = octet;
        message
    };
    for (what, message) in [
        ("twice", twice),
        ("before OPT", before_opt),
        ("among the answers", among_answers),
        ("octets behind it", [&query[..], b"x"].concat()),
        ("another class", with(3, 1)),
        ("a TTL", with(7, 1)),
        ("data longer than said", with(9, record[owner_octets + 9] - 1)),
        ("data shorter than said", with(9, record[owner_octets + 9] + 1)),
    ] {
        let fault = fault(check(&message, &keys(&[&key()]), NOW));
        assert_eq!((fault.rcode, fault.error, fault.signer.is_none()), (Rcode::FormErr, None, true), "{what}");
        let mut answer = message;
        let (transaction, _) = signed_query(&key());
        assert_eq!(transaction.verify(NOW, &mut answer), Err(BadAnswer::Malformed), "{what}");
    }
}

/// Messages of a sequence, signed by the server; each has its number as its id's last octet.
fn sequence(messages: u8) -> (Sequence, Vec<Vec<u8>>) {
    let mut query = QUERY.to_vec();
    let sequence = Sequence::sign(&key(), NOW, &mut query);
    let mut signer = signed(check(&query, &keys(&[&key()]), NOW)).signer;
    let messages = (0..messages).map(|number| {
        let mut buffer = [0; 512];
        buffer[..ANSWER.len()].copy_from_slice(ANSWER);
        buffer[3] = number << 4;
        let octets = signer.sign(NOW + u64::from(number), &mut buffer, ANSWER.len()).unwrap();
        buffer[..octets].to_vec()
    });
    let messages = messages.collect();
    (sequence, messages)
}

#[test]
fn a_sequence_holds_in_its_order_alone() {
    let verify = |order: &[usize], bend: Option<usize>| {
        let (mut sequence, messages) = sequence(4);
        for &number in order {
            let mut message = messages[number].clone();
            if bend == Some(number) {
                message[3] ^= 0x80;
            }
            sequence.verify(NOW, &mut message)?;
            assert_eq!((message.len(), message[11]), (ANSWER.len(), 0));
        }
        sequence.done()
    };
    assert_eq!(verify(&[0, 1, 2, 3], None), Ok(()));
    assert_eq!(verify(&[0, 1, 2, 3], Some(2)), Err(BadAnswer::Mac));
    for order in [&[1][..], &[0, 2], &[0, 0], &[0, 1, 1], &[0, 1, 3, 2], &[3, 2, 1, 0]] {
        assert_eq!(verify(order, None), Err(BadAnswer::Mac), "{order:?}");
    }
    let (mut late, messages) = sequence(1);
    assert_eq!(late.verify(NOW + 301, &mut messages[0].clone()), Err(BadAnswer::Time));
}

#[test]
fn unsigned_messages_are_borne_within_bounds() {
    let (mut first_unsigned, _) = sequence(1);
    assert_eq!(first_unsigned.verify(NOW, &mut ANSWER.to_vec()), Err(BadAnswer::Unsigned));
    for (unsigned, verdict) in [(1, Ok(())), (99, Ok(())), (100, Err(BadAnswer::ManyUnsigned))] {
        let (mut sequence, messages) = sequence(1);
        sequence.verify(NOW, &mut messages[0].clone()).unwrap();
        let last = (0..unsigned).map(|_| sequence.verify(NOW, &mut ANSWER.to_vec())).last().unwrap();
        assert_eq!(last, verdict);
        assert_eq!(sequence.done(), Err(BadAnswer::ManyUnsigned), "the last message was not signed");
    }
}

#[test]
fn an_answer_signed_with_another_key_is_not_taken_and_the_true_one_still_is() {
    let other = key_of("other.example.test", Algorithm::HmacSha256, b"0123456789abcdef");
    let (transaction, query) = signed_query(&key());
    let answer = |query: &[u8], key: &Arc<Key>| {
        let mut buffer = [0; 512];
        buffer[..ANSWER.len()].copy_from_slice(ANSWER);
        let octets = signed(check(query, &keys(&[key]), NOW)).signer.sign(NOW, &mut buffer, ANSWER.len()).unwrap();
        buffer[..octets].to_vec()
    };
    let mut forged = answer(&signed_query(&other).1, &other);
    assert_eq!(transaction.verify(NOW, &mut forged), Err(BadAnswer::Key));
    let mut bent = answer(&query, &key());
    bent[3] ^= 1;
    assert_eq!(transaction.verify(NOW, &mut bent), Err(BadAnswer::Mac));
    assert_eq!(transaction.verify(NOW, &mut Vec::new()), Err(BadAnswer::Malformed));
    assert_eq!(transaction.verify(NOW, &mut ANSWER.to_vec()), Err(BadAnswer::Unsigned));
    assert_eq!(transaction.verify(NOW, &mut answer(&query, &key())), Ok(()));
}

#[test]
fn a_signature_goes_where_there_is_room_for_all_of_it() {
    let (_, query) = signed_query(&key());
    let needed = signed(check(&query, &keys(&[&key()]), NOW)).signer.octets_needed();
    for (room, fits) in [(needed, true), (needed - 1, false), (0, false)] {
        let mut signer = signed(check(&query, &keys(&[&key()]), NOW)).signer;
        let mut buffer = [ANSWER, &vec![0; room]].concat();
        assert_eq!(signer.sign(NOW, &mut buffer, ANSWER.len()), fits.then_some(ANSWER.len() + room));
        let mut late = fault(check(&query, &keys(&[&key()]), 0)).signer.unwrap();
        let mut buffer = [ANSWER, &vec![0; room + TIME_OCTETS]].concat();
        assert_eq!(late.octets_needed(), needed + TIME_OCTETS);
        assert_eq!(late.sign(NOW, &mut buffer, ANSWER.len()).is_some(), fits);
    }
    let mut signer = signed(check(&query, &keys(&[&key()]), NOW)).signer;
    assert_eq!(signer.sign(NOW, &mut [0; 512], 11), None, "no header to count the record in");
    assert_eq!(signer.sign(NOW, &mut [0; 10], 20), None);
}

#[test]
fn the_secret_is_not_shown() {
    assert_eq!(format!("{:?}", key()), "Key(transfer.example.test. hmac-sha256)");
    assert!(keys(&[]).is_empty() && keys(&[&key()]).find(&"other.test".parse().unwrap()).is_none());
}
