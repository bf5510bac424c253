//! TSIG: messages signed with a secret that two peers share (RFC 8945).
//!
//! The signatures are made and checked by `domain::tsig`. Here stands what joins it to messages that are written in
//! place: `written::Written` makes it add its record behind the octets of a message, without reading the message again.
//!
//! Three things are not left to it. Where a TSIG record stands is looked up first, since one that is not the last record
//! is FORMERR wherever it stands (§5.2), and since nothing behind it would be under the signature. A reply to a wrong
//! signature says BADSIG (§5.2.2), where `domain` 0.12 says FORMERR. And the reply BADTIME is signed here, since
//! `domain` 0.12 digests its other data as eight octets instead of six (§4.3.3), which no peer can verify.
//!
//! Signatures are taken at full length alone: who truncates them gets BADTRUNC (§5.2.2.1 leaves it to the policy). Time
//! is allowed to differ by the fudge that the sender names; ours is 300 seconds (§10).

mod record;
#[cfg(test)]
mod tests;
mod written;

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use domain::base::{Message, ToName};
use domain::dep::octseq::Array;
use domain::rdata::tsig::Time48;
use domain::tsig::{ClientSequence, ClientTransaction, ServerSequence, ValidationError};
use ring::hmac;

use self::record::{Found, Look, TIME_OCTETS, TsigRecord, append, look};
use self::written::{add, add_to_vec};
use crate::limits::NAME_OCTETS_MAX;
use crate::wire::message::{Header, Rcode};
use crate::wire::name::{self, Name};
use crate::wire::rdata::CLASS_ANY;
use crate::wire::u16_at;

/// The hash under a signature (RFC 8945 §6). HMAC-MD5 is not among them: it is to be given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the algorithm of its name")]
pub enum Algorithm {
    HmacSha1,
    HmacSha256,
    HmacSha384,
    HmacSha512,
}

impl Algorithm {
    const ALL: [Algorithm; 4] =
        [Algorithm::HmacSha1, Algorithm::HmacSha256, Algorithm::HmacSha384, Algorithm::HmacSha512];

    /// Its name, without the last dot.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::HmacSha1 => "hmac-sha1",
            Algorithm::HmacSha256 => "hmac-sha256",
            Algorithm::HmacSha384 => "hmac-sha384",
            Algorithm::HmacSha512 => "hmac-sha512",
        }
    }

    /// Octets of a whole signature.
    pub fn mac_octets(self) -> usize {
        self.of_domain().native_len()
    }

    fn of_domain(self) -> domain::tsig::Algorithm {
        match self {
            Algorithm::HmacSha1 => domain::tsig::Algorithm::Sha1,
            Algorithm::HmacSha256 => domain::tsig::Algorithm::Sha256,
            Algorithm::HmacSha384 => domain::tsig::Algorithm::Sha384,
            Algorithm::HmacSha512 => domain::tsig::Algorithm::Sha512,
        }
    }

    fn of_ring(self) -> hmac::Algorithm {
        match self {
            Algorithm::HmacSha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Algorithm::HmacSha256 => hmac::HMAC_SHA256,
            Algorithm::HmacSha384 => hmac::HMAC_SHA384,
            Algorithm::HmacSha512 => hmac::HMAC_SHA512,
        }
    }

    /// The algorithm of a name in wire format.
    fn of_wire(wire: &[u8]) -> Option<Algorithm> {
        let mut labels = name::labels(wire);
        let (label, None) = (labels.next()?, labels.next()) else { return None };
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.as_str().as_bytes().eq_ignore_ascii_case(label))
    }

    /// Appends its name in wire format.
    fn write_wire(self, out: &mut Vec<u8>) {
        out.push(self.as_str().len() as u8);
        out.extend(self.as_str().as_bytes());
        out.push(0);
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = ();

    /// As [`Algorithm::as_str`], in any case.
    fn from_str(text: &str) -> Result<Algorithm, ()> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(text)).ok_or(())
    }
}

/// A secret, its name, and the algorithm that it is for.
#[derive(Clone)]
pub struct Key {
    name: Name,
    algorithm: Algorithm,
    of_domain: domain::tsig::Key,
    of_ring: hmac::Key,
}

impl fmt::Debug for Key {
    /// The secret is not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} {})", self.name, self.algorithm)
    }
}

impl Key {
    /// A key from its secret, which may have any length (RFC 8945 §8 wants that of the algorithm's output at least).
    pub fn new(name: &Name, algorithm: Algorithm, secret: &[u8]) -> Key {
        let wire = domain::base::Name::from_octets(name.as_wire()).expect("a Name is a whole name");
        let wire = wire.try_to_name::<Array<NAME_OCTETS_MAX>>().expect("a name fits where names fit");
        let of_domain = domain::tsig::Key::new(algorithm.of_domain(), secret, wire, None, None)
            .expect("whole signatures are within every bound");
        Key { name: name.clone(), algorithm, of_domain, of_ring: hmac::Key::new(algorithm.of_ring(), secret) }
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Its algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Octets of a TSIG record with a signature of this key.
    pub fn record_octets(&self) -> usize {
        usize::from(self.of_domain.compose_len())
    }
}

/// Keys by name. Cheap to share behind an [`Arc`], cheap to ask.
#[derive(Clone, Debug, Default)]
pub struct Keys(HashMap<Name, Arc<Key>>);

impl Keys {
    /// The key of this name.
    pub fn find(&self, name: &Name) -> Option<&Arc<Key>> {
        self.0.get(name)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Key> for Keys {
    /// Of two keys of one name the later one stays.
    fn from_iter<I: IntoIterator<Item = Key>>(keys: I) -> Keys {
        Keys(keys.into_iter().map(|key| (key.name.clone(), Arc::new(key))).collect())
    }
}

/// A key as `domain` takes it.
#[derive(Clone, Debug)]
struct Shared(Arc<Key>);

impl AsRef<domain::tsig::Key> for Shared {
    fn as_ref(&self) -> &domain::tsig::Key {
        &self.0.of_domain
    }
}

/// Error codes of a TSIG record (RFC 8945 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// 16, BADSIG: the signature is wrong.
    BadSig = 16,
    /// 17, BADKEY: no such key here, or not for this algorithm.
    BadKey = 17,
    /// 18, BADTIME: the clocks are too far apart, or the request was played again.
    BadTime = 18,
    /// 22, BADTRUNC: the signature is cut shorter than we take.
    BadTrunc = 22,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::BadSig => "BADSIG",
            Error::BadKey => "BADKEY",
            Error::BadTime => "BADTIME",
            Error::BadTrunc => "BADTRUNC",
        })
    }
}

/// What TSIG says of a request.
#[derive(Debug)]
pub enum Checked {
    /// It has no TSIG record, or does not parse as far as one: for the reader of requests to judge.
    Unsigned,
    /// It is signed with a key of ours.
    Signed(Signed),
    /// It must not be answered but with this.
    Fault(Fault),
}

/// A request whose signature holds.
#[derive(Debug)]
pub struct Signed {
    /// The key it is signed with.
    pub key: Arc<Key>,
    /// The request without its TSIG record.
    pub request: Vec<u8>,
    /// Signs what is answered.
    pub signer: Signer,
}

/// A request whose signature does not hold.
#[derive(Debug)]
pub struct Fault {
    /// FORMERR, or NOTAUTH.
    pub rcode: Rcode,
    /// The error that the TSIG record of the reply names; none in a FORMERR.
    pub error: Option<Error>,
    /// Adds the TSIG record that the reply needs: without a signature for BADKEY, BADSIG and BADTRUNC, with one for
    /// BADTIME. A FORMERR needs none.
    pub signer: Option<Signer>,
}

impl Fault {
    fn malformed() -> Fault {
        Fault { rcode: Rcode::FormErr, error: None, signer: None }
    }

    fn new(error: Error, role: Role) -> Fault {
        Fault { rcode: Rcode::NotAuth, error: Some(error), signer: Some(Signer(role)) }
    }

    fn unsigned(error: Error, found: &Found<'_>, id: u16) -> Fault {
        let record = TsigRecord { mac: &[], original_id: id, error: error as u16, other: &[], ..found.record() };
        Fault::new(error, Role::Ready(record.to_vec()))
    }
}

/// Checks the signature of a request. Costs a walk over its records where it is unsigned, and allocates nothing then.
///
/// Order of the checks: place and form of the record, key, signature, time (RFC 8945 §5.2).
pub fn check(request: &[u8], keys: &Keys, unix_seconds: u64) -> Checked {
    let (found, header) = match (look(request), Header::parse(request)) {
        (Look::Found(found), Some(header)) => (found, header),
        (Look::Malformed, _) => return Checked::Fault(Fault::malformed()),
        _ => return Checked::Unsigned,
    };
    let Some(key) = Name::from_wire(&found.owner)
        .and_then(|name| keys.find(&name))
        .filter(|key| Algorithm::of_wire(&found.algorithm) == Some(key.algorithm))
    else {
        return Checked::Fault(Fault::unsigned(Error::BadKey, &found, header.id));
    };
    let whole = key.algorithm.mac_octets();
    if !(10.max(whole / 2)..=whole).contains(&found.mac.len()) {
        return Checked::Fault(Fault::malformed());
    }
    let Ok(mut message) = Message::from_octets(request.to_vec()) else {
        return Checked::Fault(Fault::malformed());
    };
    match ServerSequence::request(&Shared(key.clone()), &mut message, time(unix_seconds)) {
        Ok(Some(sequence)) => {
            let mut request = message.into_octets();
            request.truncate(found.start);
            // The record names the id that was signed; the reply goes to whoever asked, with the id that came.
            request[..2].copy_from_slice(&header.id.to_be_bytes());
            Checked::Signed(Signed { key: key.clone(), request, signer: Signer(Role::Sequence(Box::new(sequence))) })
        }
        // Nothing that was looked at above is missing for it.
        Ok(None) => Checked::Fault(Fault::malformed()),
        Err(error) => Checked::Fault(fault(&error, key, &found, header.id)),
    }
}

/// What is to be answered where `domain` refuses a signature that is well-formed.
fn fault(error: &domain::tsig::ServerError<Shared>, key: &Arc<Key>, found: &Found<'_>, id: u16) -> Fault {
    use domain::base::iana::TsigRcode;
    match error.error() {
        TsigRcode::BADTIME => {
            let (time_signed, fudge) = (found.time_signed, found.fudge);
            let late = BadTime { key: key.clone(), request_mac: found.mac.to_vec(), time_signed, fudge };
            Fault::new(Error::BadTime, Role::BadTime(late))
        }
        TsigRcode::BADTRUNC => Fault::unsigned(Error::BadTrunc, found, id),
        TsigRcode::BADKEY => Fault::unsigned(Error::BadKey, found, id),
        _ => Fault::unsigned(Error::BadSig, found, id),
    }
}

/// Signs the answer to a request, or each message of it in turn (RFC 8945 §5.3.1).
#[derive(Debug)]
pub struct Signer(Role);

#[derive(Debug)]
enum Role {
    Sequence(Box<ServerSequence<Shared>>),
    BadTime(BadTime),
    /// A record without a signature.
    Ready(Vec<u8>),
}

impl Signer {
    /// Octets that [`Signer::sign`] adds to a message.
    pub fn octets_needed(&self) -> usize {
        match &self.0 {
            Role::Sequence(sequence) => usize::from(sequence.key().compose_len()),
            Role::BadTime(late) => late.key.record_octets() + TIME_OCTETS,
            Role::Ready(record) => record.len(),
        }
    }

    /// Adds the TSIG record to the message that stands in the first `octets` of `buffer`, which is complete but for
    /// it. Returns the octets of the message then; `None` where there is no room: the message goes out unsigned by no
    /// means, and the signer is not to be used again.
    pub fn sign(&mut self, unix_seconds: u64, buffer: &mut [u8], octets: usize) -> Option<usize> {
        match &mut self.0 {
            Role::Sequence(sequence) => {
                add(buffer, octets, |message| sequence.answer(message, time(unix_seconds)).ok()).map(|(_, end)| end)
            }
            Role::BadTime(late) => {
                let record = late.record(unix_seconds, buffer.get(..octets)?);
                append(buffer, octets, &record)
            }
            Role::Ready(record) => append(buffer, octets, record),
        }
    }
}

/// What the reply BADTIME is made of: the times of the request as they came, and ours as other data (RFC 8945 §5.2.3).
#[derive(Debug)]
struct BadTime {
    key: Arc<Key>,
    request_mac: Vec<u8>,
    time_signed: u64,
    fudge: u16,
}

impl BadTime {
    fn record(&self, unix_seconds: u64, message: &[u8]) -> Vec<u8> {
        let mut algorithm = Vec::new();
        self.key.algorithm.write_wire(&mut algorithm);
        let now = time(unix_seconds).into_octets();
        let error = Error::BadTime as u16;
        // RFC 8945 §4.3 and §5.3: the request's signature, the message, the variables.
        let mut digest = hmac::Context::with_key(&self.key.of_ring);
        digest.update(&(self.request_mac.len() as u16).to_be_bytes());
        digest.update(&self.request_mac);
        digest.update(message);
        digest.update(self.key.name.as_wire());
        digest.update(&CLASS_ANY.to_be_bytes());
        digest.update(&[0; 4]);
        digest.update(&algorithm);
        digest.update(&self.time_signed.to_be_bytes()[2..]);
        digest.update(&self.fudge.to_be_bytes());
        digest.update(&error.to_be_bytes());
        digest.update(&(now.len() as u16).to_be_bytes());
        digest.update(&now);
        let mac = digest.sign();
        let record = TsigRecord {
            owner: self.key.name.as_wire(),
            algorithm: &algorithm,
            time_signed: self.time_signed,
            fudge: self.fudge,
            mac: mac.as_ref(),
            original_id: u16_at(message, 0).unwrap_or(0),
            error,
            other: &now,
        };
        record.to_vec()
    }
}

/// Why an answer is not taken for one that the peer signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadAnswer {
    /// It has no TSIG record.
    Unsigned,
    /// More than 99 messages in a row have none, or the last one has none (RFC 8945 §5.3.1).
    ManyUnsigned,
    /// It does not parse, or its TSIG record is not the last one.
    Malformed,
    /// It is signed with another key than the request.
    Key,
    /// The signature is wrong.
    Mac,
    /// The signature holds, but for another time.
    Time,
    /// The peer says that it does not know our key. Nothing proves that it was the peer; so for the next two.
    PeerKey,
    /// The peer says that our signature is wrong.
    PeerMac,
    /// The peer says that its clock and ours are too far apart.
    PeerTime,
}

impl fmt::Display for BadAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadAnswer::Unsigned => "the answer is not signed",
            BadAnswer::ManyUnsigned => "too many messages in a row, or the last one, are not signed",
            BadAnswer::Malformed => "the answer or its TSIG record is malformed",
            BadAnswer::Key => "the answer is signed with another key",
            BadAnswer::Mac => "the signature of the answer is wrong",
            BadAnswer::Time => "the answer was signed at another time: played again, or the clocks differ",
            BadAnswer::PeerKey => "the peer does not know the key (BADKEY)",
            BadAnswer::PeerMac => "the peer finds our signature wrong (BADSIG): do the secrets differ?",
            BadAnswer::PeerTime => "the peer's clock and ours differ (BADTIME)",
        })
    }
}

impl From<ValidationError> for BadAnswer {
    fn from(error: ValidationError) -> BadAnswer {
        match error {
            ValidationError::ServerUnsigned => BadAnswer::Unsigned,
            ValidationError::TooManyUnsigned => BadAnswer::ManyUnsigned,
            ValidationError::BadKey | ValidationError::BadAlg => BadAnswer::Key,
            ValidationError::BadSig | ValidationError::BadTrunc => BadAnswer::Mac,
            ValidationError::BadTime => BadAnswer::Time,
            ValidationError::ServerBadKey => BadAnswer::PeerKey,
            ValidationError::ServerBadSig => BadAnswer::PeerMac,
            ValidationError::ServerBadTime { .. } => BadAnswer::PeerTime,
            ValidationError::BadOther | ValidationError::FormErr => BadAnswer::Malformed,
        }
    }
}

/// A signed request that has one message as its answer.
#[derive(Debug)]
pub struct Transaction(ClientTransaction<Shared>);

impl Transaction {
    /// Signs a request.
    pub fn sign(key: &Arc<Key>, unix_seconds: u64, request: &mut Vec<u8>) -> Transaction {
        Transaction(add_to_vec(key, request, |message| {
            ClientTransaction::request(Shared(key.clone()), message, time(unix_seconds)).ok()
        }))
    }

    /// Verifies an answer and takes its TSIG record off. One that is not the peer's leaves no trace: another may follow.
    pub fn verify(&self, unix_seconds: u64, answer: &mut Vec<u8>) -> Result<(), BadAnswer> {
        verify(answer, |message| self.0.answer(message, time(unix_seconds)))
    }
}

/// A signed request that has a sequence of messages as its answer.
#[derive(Debug)]
pub struct Sequence(ClientSequence<Shared>);

impl Sequence {
    /// Signs a request.
    pub fn sign(key: &Arc<Key>, unix_seconds: u64, request: &mut Vec<u8>) -> Sequence {
        Sequence(add_to_vec(key, request, |message| {
            ClientSequence::request(Shared(key.clone()), message, time(unix_seconds)).ok()
        }))
    }

    /// Verifies the next message and takes its TSIG record off. Messages after the first may be unsigned, at most 99 in a
    /// row; what they say holds only once [`Sequence::done`] says so. After an error the sequence is spoilt.
    pub fn verify(&mut self, unix_seconds: u64, answer: &mut Vec<u8>) -> Result<(), BadAnswer> {
        verify(answer, |message| self.0.answer(message, time(unix_seconds)))
    }

    /// Whether the sequence may end here: its last message was signed.
    pub fn done(self) -> Result<(), BadAnswer> {
        Ok(self.0.done()?)
    }
}

fn verify(
    answer: &mut Vec<u8>,
    check: impl FnOnce(&mut Message<Vec<u8>>) -> Result<(), ValidationError>,
) -> Result<(), BadAnswer> {
    let (end, peer_time) = match look(answer) {
        Look::Malformed => return Err(BadAnswer::Malformed),
        Look::Found(found) => (found.start, found.error == Error::BadTime as u16),
        Look::None => (answer.len(), false),
    };
    let mut message = Message::from_octets(std::mem::take(answer)).map_err(|_| BadAnswer::Malformed)?;
    let verdict = check(&mut message).map_err(BadAnswer::from);
    *answer = message.into_octets();
    answer.truncate(end);
    match verdict {
        // `domain` 0.12 digests the other data of BADTIME in a way of its own: the signature never fits.
        Err(BadAnswer::Mac) if peer_time => Err(BadAnswer::PeerTime),
        verdict => verdict,
    }
}

/// The time as TSIG has it: 48 bits.
fn time(unix_seconds: u64) -> Time48 {
    Time48::from_u64(unix_seconds.min((1 << 48) - 1))
}
