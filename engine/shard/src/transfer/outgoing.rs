//! The answer to a transfer request: a sequence of messages, made one at a time (RFC 5936 §2.2, RFC 1995 §4).
//!
//! Between two messages an [`Outgoing`] is a few numbers: which owner of the image comes next, which record of it. So
//! a core makes a message when the connection has room for it, and answers others in between; the work for one message
//! is bounded by its octets.
//!
//! The first message alone has the question and, where the request had one, an OPT record (RFC 5936 §2.2.1, §2.2.5).
//! Every message has AA set (§2.2.1), and a TSIG record where the request was signed.

use std::sync::Arc;

use super::names::Names;
use crate::limits::{MESSAGE_OCTETS_MAX, TRANSFER_MESSAGE_OCTETS};
use crate::tsig::Signer;
use crate::wire::edns::{self, DNSSEC_OK, OPT_OCTETS};
use crate::wire::message::{HEADER_OCTETS, flags};
use crate::wire::name;
use crate::wire::rdata::{self, CLASS_IN};
use crate::wire::writer::Full;
use crate::zone::Image;
use crate::zone::difference::Difference;
use crate::zone::image::Record;

/// What the answer must know of the request.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Its id.
    pub id: u16,
    /// The second word of its header: RD is echoed.
    pub flags: u16,
    /// Name, type and class asked for, as they came.
    pub question: &'a [u8],
    /// Whether it had an OPT record, and then its DO bit.
    pub dnssec_ok: Option<bool>,
}

/// What the answer says.
#[derive(Clone, Debug)]
pub enum Content {
    /// Every record: AXFR, or IXFR whose asker is too far behind (RFC 1995 §4).
    Whole,
    /// What changed, step by step: each begins at the serial at which the one before ends, and the last one ends at the
    /// image's.
    Differences(Vec<Arc<Difference>>),
    /// The SOA alone: the asker of an IXFR is up to date, or must come again over TCP (RFC 1995 §2, §4).
    Current,
}

/// An answer on its way.
#[derive(Debug)]
pub struct Outgoing {
    id: u16,
    flags: u16,
    question: Box<[u8]>,
    dnssec_ok: Option<bool>,
    image: Arc<Image>,
    content: Content,
    signer: Option<Signer>,
    message_octets: usize,
    names: Names,
    next: Next,
    is_first: bool,
    has_failed: bool,
}

/// The record that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The SOA that comes before all else.
    FirstSoa,
    /// This record of this owner of the image.
    Record {
        owner: usize,
        record: usize,
    },
    /// The record at this position of this step.
    Change {
        step: usize,
        position: usize,
    },
    /// The SOA that ends the answer.
    LastSoa,
    Nothing,
}

impl Outgoing {
    /// The answer to `asked` from `image`. Its messages are signed by `signer`, where there is one.
    pub fn new(asked: &Asked<'_>, image: Arc<Image>, content: Content, signer: Option<Signer>) -> Outgoing {
        if let Content::Differences(steps) = &content {
            assert!(steps.windows(2).all(|pair| pair[0].to_serial() == pair[1].from_serial()));
            assert_eq!(steps.last().map(|step| step.to_serial()), Some(image.serial()));
        }
        Outgoing {
            id: asked.id,
            flags: flags::QR | flags::AA | asked.flags & flags::RD,
            question: asked.question.into(),
            dnssec_ok: asked.dnssec_ok,
            image,
            content,
            signer,
            message_octets: TRANSFER_MESSAGE_OCTETS,
            names: Names::new(),
            next: Next::FirstSoa,
            is_first: true,
            has_failed: false,
        }
    }

    /// Bounds the messages to `octets` instead of [`TRANSFER_MESSAGE_OCTETS`]: over UDP, and in tests. A message whose
    /// first record needs more is longer nonetheless, as far as the buffer goes.
    pub fn with_message_octets(self, octets: usize) -> Outgoing {
        Outgoing { message_octets: octets, ..self }
    }

    /// Writes the next message to `buffer`, which should hold 65,535 octets. Returns its length; `None` when the answer
    /// is over, or has failed: see [`Outgoing::has_failed`].
    pub fn next(&mut self, unix_seconds: u64, buffer: &mut [u8]) -> Option<usize> {
        if self.next == Next::Nothing || self.has_failed {
            return None;
        }
        let octets = self.message(unix_seconds, buffer);
        self.has_failed = octets.is_none();
        self.is_first = false;
        octets
    }

    /// Whether the answer was broken off, since a record of the zone fits no message. The connection is then to be
    /// closed: the asker must not take what it has for the zone.
    pub fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Whether the last message has been made.
    pub fn is_done(&self) -> bool {
        self.next == Next::Nothing
    }

    fn message(&mut self, unix_seconds: u64, buffer: &mut [u8]) -> Option<usize> {
        let question = if self.is_first { &*self.question } else { &[] };
        let opt = if self.is_first { self.dnssec_ok } else { None };
        let signature_octets = self.signer.as_ref().map_or(0, Signer::octets_needed);
        let tail = signature_octets + opt.map_or(0, |_| OPT_OCTETS);
        let buffer_octets = buffer.len().min(MESSAGE_OCTETS_MAX);
        let hard = buffer_octets.checked_sub(tail)?;
        let soft = self.message_octets.min(buffer_octets).saturating_sub(tail);
        let mut message = Message::begin(buffer, &mut self.names, question, soft, hard)?;
        let image = &*self.image;
        self.next = fill(&mut message, image, &self.content, self.next);
        if message.records == 0 {
            return None;
        }
        let counts = [u16::from(self.is_first), message.records, 0, u16::from(opt.is_some())];
        let mut octets = message.length;
        if let Some(dnssec_ok) = opt {
            let opt = edns::opt(0, if dnssec_ok { DNSSEC_OK } else { 0 });
            buffer[octets..octets + OPT_OCTETS].copy_from_slice(&opt);
            octets += OPT_OCTETS;
        }
        for (field, word) in
            buffer.as_chunks_mut::<2>().0.iter_mut().zip([self.id, self.flags].into_iter().chain(counts))
        {
            *field = word.to_be_bytes();
        }
        match &mut self.signer {
            None => Some(octets),
            Some(signer) => signer.sign(unix_seconds, buffer, octets),
        }
    }
}

/// Writes records from `next` on until the message is full. Returns what comes next then.
fn fill(message: &mut Message<'_>, image: &Image, content: &Content, mut next: Next) -> Next {
    let soa = image.each_record().next().expect("an image has an SOA");
    loop {
        next = match next {
            Next::FirstSoa | Next::LastSoa => match (message.record(&soa), content) {
                (Err(Full), _) => return next,
                (Ok(()), _) if next == Next::LastSoa => Next::Nothing,
                (Ok(()), Content::Whole) => Next::Record { owner: 0, record: 1 },
                (Ok(()), Content::Differences(_)) => Next::Change { step: 0, position: 0 },
                (Ok(()), Content::Current) => Next::Nothing,
            },
            Next::Record { owner, record } => match image.records_of_owner(owner) {
                None => Next::LastSoa,
                Some(records) => match message.records(records.skip(record)) {
                    Err((Full, written)) => return Next::Record { owner, record: record + written },
                    Ok(()) => Next::Record { owner: owner + 1, record: 0 },
                },
            },
            Next::Change { step, position } => match content {
                Content::Differences(steps) => match steps.get(step).map(|changes| changes.record_at(position)) {
                    None => Next::LastSoa,
                    Some(None) => Next::Change { step: step + 1, position: 0 },
                    Some(Some((record, after))) => match message.record(&record) {
                        Err(Full) => return next,
                        Ok(()) => Next::Change { step, position: after },
                    },
                },
                Content::Whole | Content::Current => Next::LastSoa,
            },
            Next::Nothing => return Next::Nothing,
        };
    }
}

/// A message being filled with answers.
struct Message<'a> {
    buffer: &'a mut [u8],
    names: &'a mut Names,
    length: usize,
    records: u16,
    /// Octets that the records may fill, but for the first, which may fill `hard`.
    soft: usize,
    hard: usize,
}

impl<'a> Message<'a> {
    /// `None` where there is no room for the question.
    fn begin(
        buffer: &'a mut [u8],
        names: &'a mut Names,
        question: &[u8],
        soft: usize,
        hard: usize,
    ) -> Option<Message<'a>> {
        let length = HEADER_OCTETS + question.len();
        buffer
            .get_mut(HEADER_OCTETS..length.min(hard))
            .filter(|room| room.len() == question.len())?
            .copy_from_slice(question);
        names.clear();
        if let Some(name) = name::measure(question) {
            names.find(&[], &question[..name]);
            names.remember(HEADER_OCTETS, name);
        }
        Some(Message { buffer, names, length, records: 0, soft, hard })
    }

    /// Writes a record. On [`Full`] nothing of it stands in the message.
    fn record(&mut self, record: &Record<'_>) -> Result<(), Full> {
        let begin = self.length;
        let written = self.parts(record);
        match written {
            Ok(()) => self.records += 1,
            // What was remembered of it stands behind the end now; nothing is written to this message any more.
            Err(Full) => self.length = begin,
        }
        written
    }

    /// Writes records until one does not fit: then the error says how many did.
    fn records<'r>(&mut self, records: impl Iterator<Item = Record<'r>>) -> Result<(), (Full, usize)> {
        for (written, record) in records.enumerate() {
            self.record(&record).map_err(|full| (full, written))?;
        }
        Ok(())
    }

    fn parts(&mut self, record: &Record<'_>) -> Result<(), Full> {
        self.name(record.owner)?;
        let fixed_at = self.length;
        self.octets(&record.rtype.to_be_bytes())?;
        self.octets(&CLASS_IN.to_be_bytes())?;
        self.octets(&record.ttl.to_be_bytes())?;
        self.octets(&[0, 0])?;
        let mut rest = record.data;
        if let Some(layout) = rdata::layout(record.rtype).filter(|layout| layout.compressible) {
            let (before, names) = rest.split_at(layout.before);
            self.octets(before)?;
            rest = names;
            for _ in 0..layout.names {
                let (name, tail) =
                    rest.split_at(name::measure(rest).expect("names in the data of our records are whole"));
                self.name(name)?;
                rest = tail;
            }
        }
        self.octets(rest)?;
        let data_octets = (self.length - fixed_at - 10) as u16;
        self.buffer[fixed_at + 8..fixed_at + 10].copy_from_slice(&data_octets.to_be_bytes());
        Ok(())
    }

    fn name(&mut self, wire: &[u8]) -> Result<(), Full> {
        let at = self.length;
        let (octets, pointer) = self.names.find(&self.buffer[..at], wire);
        self.octets(&wire[..octets])?;
        if let Some(offset) = pointer {
            self.octets(&(0xc000 | offset).to_be_bytes())?;
        }
        self.names.remember(at, octets);
        Ok(())
    }

    fn octets(&mut self, octets: &[u8]) -> Result<(), Full> {
        let limit = if self.records == 0 { self.hard } else { self.soft };
        let end = self.length + octets.len();
        if end > limit {
            return Err(Full);
        }
        self.buffer[self.length..end].copy_from_slice(octets);
        self.length = end;
        Ok(())
    }
}
