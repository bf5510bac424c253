//! A transfer from another server: the request, and the reader of the messages that answer it (RFC 5936 §2.2, RFC 1995
//! §4, RFC 8945 §5.3.1).
//!
//! ```text
//! Incoming::begin ─▶ octets of the request
//! Incoming::take(message) ─▶ More │ Done(Current │ Whole │ Differences) │ Fault
//! ```
//!
//! Nothing is given out before the last message has come and, where a key is used, its signature has been verified: there is
//! no half zone. The form of the answer to an IXFR shows in its second record: an SOA begins differences, any other one
//! the whole zone (RFC 1995 §4).

use std::sync::Arc;

use super::exchange::{Expanded, Fault, QUERY, Request, check_rcode, same_soa, serial_of};
use crate::tsig::{Key, Sequence};
use crate::wire::message::{self, Header, Section, flags};
use crate::wire::name::{HashKey, Name};
use crate::wire::rdata::{CLASS_IN, rtype};
use crate::wire::serial::newer;
use crate::zone::difference::{Difference, Unfit, Writer};
use crate::zone::{Builder, Place};

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The zone.
    pub zone: &'a Name,
    /// The data of the SOA that we have, its names uncompressed: asks for the differences since (IXFR). `None` asks for the
    /// whole zone (AXFR).
    pub since: Option<&'a [u8]>,
    /// An unpredictable id.
    pub id: u16,
    /// Signs the request; then every answer must be signed.
    pub key: Option<&'a Arc<Key>>,
    /// Whether the request goes over UDP: its answer must be one message then. An AXFR must not (RFC 5936 §4.2).
    pub over_udp: bool,
}

/// How much is taken before a transfer is broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Records in all.
    pub records: u64,
    /// Octets of all records, their names uncompressed, and of the empty non-terminals above them: about what they take
    /// in memory.
    pub octets: u64,
}

/// Octets of a record beside owner and data.
const FIXED_OCTETS: u64 = 10;
/// Octets that an empty non-terminal takes in an image beside its name: header, hashes, places in index and order.
const EMPTY_NAME_OCTETS: usize = 48;

/// What has come so far.
#[derive(Debug)]
pub enum Progress {
    /// More messages are to come.
    More,
    /// That was the last one.
    Done(Received),
}

/// What a transfer has brought.
#[derive(Debug)]
pub enum Received {
    /// The server has nothing newer (RFC 1995 §2).
    Current {
        /// Its serial: ours, or an older one.
        serial: u32,
    },
    /// The whole zone.
    Whole {
        /// Its records, to be laid out where it may take long.
        builder: Builder,
        /// Its serial.
        serial: u32,
    },
    /// What has changed since the SOA that was sent along, step by step.
    Differences(Vec<Difference>),
}

/// A transfer under way.
#[derive(Debug)]
pub struct Incoming {
    request: Request,
    sequence: Option<Sequence>,
    /// Our serial, in an IXFR.
    since: Option<u32>,
    over_udp: bool,
    hash_key: HashKey,
    left: Bounds,
    is_first: bool,
    state: State,
    record: Expanded,
    /// The owner of the record before.
    last_owner: Vec<u8>,
}

/// What the next record must be.
#[derive(Debug)]
enum State {
    /// The first SOA.
    Begin,
    /// What tells the form of the answer to an IXFR.
    Form(Soa),
    /// Records of the zone, until the first SOA comes again.
    Whole(Soa, Builder),
    /// Records of differences.
    Differences(Steps),
    /// All is said.
    Over,
}

/// An SOA record that came.
#[derive(Debug)]
struct Soa {
    serial: u32,
    ttl: u32,
    data: Vec<u8>,
}

/// Differences so far.
#[derive(Debug)]
struct Steps {
    /// The SOA that ends them.
    last: Soa,
    done: Vec<Difference>,
    /// The step that is under way.
    current: Writer,
    /// The serial that it leads to, once its records are added and no longer removed.
    to: Option<u32>,
}

impl Incoming {
    /// The request for a transfer, and its octets. Names of a whole zone will be hashed under `hash_key`.
    ///
    /// The request has no OPT record: an answer over TCP needs none, and some servers take offence at it.
    pub fn begin(ask: &Ask<'_>, bounds: Bounds, hash_key: HashKey, unix_seconds: u64) -> (Incoming, Vec<u8>) {
        let since = ask.since.and_then(serial_of);
        let qtype = if since.is_some() { rtype::IXFR } else { rtype::AXFR };
        let request = Request { zone: ask.zone.clone(), id: ask.id, opcode: QUERY, qtype };
        let soa = ask.since.filter(|_| since.is_some()).map(|data| (Section::Authority, data));
        let mut octets = request.to_vec(0, soa);
        let sequence = ask.key.map(|key| Sequence::sign(key, unix_seconds, &mut octets));
        let incoming = Incoming {
            request,
            sequence,
            since,
            over_udp: ask.over_udp,
            hash_key,
            left: bounds,
            is_first: true,
            state: State::Begin,
            record: Expanded::default(),
            last_owner: Vec::new(),
        };
        (incoming, octets)
    }

    /// Takes the next message. Its TSIG record is taken off. After [`Progress::Done`] and after a fault the transfer is
    /// over; what it had taken is gone after a fault.
    pub fn take(&mut self, unix_seconds: u64, message: &mut Vec<u8>) -> Result<Progress, Fault> {
        let progress = self.message(unix_seconds, message);
        if !matches!(progress, Ok(Progress::More)) {
            self.state = State::Over;
        }
        progress
    }

    fn message(&mut self, unix_seconds: u64, message: &mut Vec<u8>) -> Result<Progress, Fault> {
        if matches!(self.state, State::Over) {
            return Err(Fault::Over);
        }
        let header = self.request.check_header(message)?;
        let (has_question, at) = self.request.check_question(header, message)?;
        let verified = match &mut self.sequence {
            None => Ok(()),
            Some(sequence) => sequence.verify(unix_seconds, message),
        };
        check_rcode(header, verified)?;
        if self.over_udp && header.has(flags::TC) {
            return Err(Fault::NeedsTcp);
        }
        if std::mem::replace(&mut self.is_first, false) && !has_question {
            return Err(Fault::NotOurs("it has no question"));
        }
        if header.counts[Section::Answer as usize] == 0 {
            return Err(Fault::Order("a message has no records"));
        }
        // The TSIG record is gone, and counted no longer.
        let header = Header::parse(message).ok_or(Fault::Malformed)?;
        let mut received = None;
        for record in message::records(message, header, at) {
            let record = record.map_err(|_| Fault::Malformed)?;
            if record.section != Section::Answer {
                break;
            }
            match received {
                // What a server sends behind the news that there are none is not looked at.
                Some(Received::Current { .. }) => break,
                Some(_) => return Err(Fault::Order("records follow the last SOA")),
                None => {}
            }
            self.record.set(message, &record).ok_or(Fault::Malformed)?;
            received = self.record()?;
        }
        match received {
            None if self.over_udp => Err(Fault::NeedsTcp),
            None => Ok(Progress::More),
            Some(received) => {
                let last = self.sequence.take().map_or(Ok(()), Sequence::done);
                last.map_err(Fault::Signature)?;
                Ok(Progress::Done(received))
            }
        }
    }

    /// Takes the record that stands in `self.record`.
    fn record(&mut self) -> Result<Option<Received>, Fault> {
        let record = &self.record;
        if record.class != CLASS_IN {
            return Err(Fault::Record("its class is not IN".into()));
        }
        self.left.records = self.left.records.checked_sub(1).ok_or(Fault::Bound("records"))?;
        let above = empty_names_octets(record.owner(), &self.last_owner, self.request.zone.as_wire().len());
        let octets = FIXED_OCTETS + (record.owner().len() + record.data.len() + above) as u64;
        self.left.octets = self.left.octets.checked_sub(octets).ok_or(Fault::Bound("octets"))?;
        self.last_owner.clear();
        self.last_owner.extend_from_slice(record.owner());
        let serial = record.serial();
        if record.rtype == rtype::SOA && (serial.is_none() || record.owner() != self.request.zone.as_wire()) {
            return Err(Fault::Record("an SOA record that is malformed, or not of the zone".into()));
        }
        match std::mem::replace(&mut self.state, State::Over) {
            State::Begin => self.first(serial),
            State::Form(first) => self.second(first, serial),
            State::Whole(first, builder) => self.of_zone(first, builder, serial),
            State::Differences(steps) => self.of_difference(steps, serial),
            State::Over => Err(Fault::Over),
        }
    }

    /// The first record: the SOA of the zone that the server has.
    fn first(&mut self, serial: Option<u32>) -> Result<Option<Received>, Fault> {
        let serial = serial.ok_or(Fault::Order("its first record is no SOA"))?;
        let first = Soa { serial, ttl: self.record.ttl, data: self.record.data.clone() };
        self.state = match self.since {
            Some(since) if !newer(serial, since) => return Ok(Some(Received::Current { serial })),
            Some(_) => State::Form(first),
            None => self.whole(first)?,
        };
        Ok(None)
    }

    /// The second record of the answer to an IXFR.
    fn second(&mut self, first: Soa, serial: Option<u32>) -> Result<Option<Received>, Fault> {
        match serial {
            Some(serial) if Some(serial) == self.since => {
                let current = self.begin_difference()?;
                self.state = State::Differences(Steps { last: first, done: Vec::new(), current, to: None });
                Ok(None)
            }
            Some(serial) if serial != first.serial => {
                Err(Fault::Order("the differences do not begin at the serial that we have"))
            }
            _ => match self.whole(first)? {
                State::Whole(first, builder) => self.of_zone(first, builder, serial),
                _ => Err(Fault::Over),
            },
        }
    }

    /// Begins a whole zone.
    fn whole(&self, first: Soa) -> Result<State, Fault> {
        let mut builder = Builder::new(self.request.zone.clone(), self.hash_key);
        let owner = self.request.zone.as_wire();
        builder.push(owner, rtype::SOA, first.ttl, &first.data, Place::default()).map_err(Fault::Record)?;
        Ok(State::Whole(first, builder))
    }

    /// A record of a whole zone, or the SOA that ends it.
    fn of_zone(&mut self, first: Soa, mut builder: Builder, serial: Option<u32>) -> Result<Option<Received>, Fault> {
        let record = &self.record;
        if let Some(serial) = serial {
            if !same_soa(&first.data, &record.data) {
                return Err(Fault::Order("the last SOA is not the first one: the zone changed while it was sent"));
            }
            return Ok(Some(Received::Whole { builder, serial }));
        }
        builder
            .push(record.owner(), record.rtype, record.ttl, &record.data, Place::default())
            .map_err(Fault::Record)?;
        self.state = State::Whole(first, builder);
        Ok(None)
    }

    /// A record of the differences: SOA records part what is removed from what is added, and one step from the next.
    fn of_difference(&mut self, mut steps: Steps, serial: Option<u32>) -> Result<Option<Received>, Fault> {
        let record = self.record.as_record();
        match (serial, steps.to) {
            (None, None) => steps.current.remove(record)?,
            (None, Some(_)) => steps.current.add(record)?,
            (Some(serial), None) => {
                steps.current.begin_added(record)?;
                steps.to = Some(serial);
            }
            (Some(serial), Some(to)) if serial != to => {
                return Err(Fault::Order("a difference does not begin where the one before ends"));
            }
            (Some(serial), Some(_)) if serial == steps.last.serial => {
                if !same_soa(&steps.last.data, record.data) {
                    return Err(Fault::Order("the last SOA is not the first one"));
                }
                steps.done.push(steps.current.finish()?);
                return Ok(Some(Received::Differences(steps.done)));
            }
            (Some(_), Some(_)) => {
                let next = self.begin_difference()?;
                steps.done.push(std::mem::replace(&mut steps.current, next).finish()?);
                steps.to = None;
            }
        }
        self.state = State::Differences(steps);
        Ok(None)
    }

    /// Begins a step with the SOA that has just come. All octets were counted before they get here.
    fn begin_difference(&self) -> Result<Writer, Fault> {
        Ok(Writer::begin(self.record.as_record(), usize::MAX)?)
    }
}

/// Octets of the names between an owner and the apex, but for those that are above the owner before too: a zone comes in
/// order, and a name of many labels brings as many more to lay out.
fn empty_names_octets(owner: &[u8], before: &[u8], apex_octets: usize) -> usize {
    let (mut name, mut octets) = (owner, 0);
    while name.len() > apex_octets {
        name = &name[1 + usize::from(name[0])..];
        if name.len() <= apex_octets || before.ends_with(name) {
            break;
        }
        octets += EMPTY_NAME_OCTETS + name.len();
    }
    octets
}

impl From<Unfit> for Fault {
    fn from(unfit: Unfit) -> Fault {
        match unfit {
            Unfit::TooLarge => Fault::Bound("octets"),
            Unfit::Malformed(what) => Fault::Record(what),
        }
    }
}
