//! A reply written into the caller's buffer: names compressed, sections counted, taken back at RRset boundaries.
//!
//! Room for the OPT record is set aside before the first record, so that it always fits. What does not fit is the
//! caller's to decide: an RRset that must be there ends in [`Writer::truncate`], an optional one is left out.

use super::copy;
use super::edns::{self, OPT_OCTETS, ReplyOpt};
use super::message::{HEADER_OCTETS, Rcode, Section, flags};
use super::name::{self, HashKey, KeyedName};
use super::rdata;
use crate::limits::{COMPRESSION_NAMES_MAX, LABEL_OCTETS_MAX};

/// Offsets from here on cannot be pointed to (RFC 1035 §4.1.4: 14 bits).
pub(crate) const POINTER_END: usize = 0x4000;

/// Names of the message being written, suffix by suffix: where they stand, and their hashes. Lives in a shard.
#[derive(Clone, Debug)]
pub struct Compressor {
    hashes: [u32; COMPRESSION_NAMES_MAX],
    offsets: [u16; COMPRESSION_NAMES_MAX],
    length: usize,
    scratch: Box<KeyedName>,
}

impl Default for Compressor {
    fn default() -> Compressor {
        Compressor {
            hashes: [0; COMPRESSION_NAMES_MAX],
            offsets: [0; COMPRESSION_NAMES_MAX],
            length: 0,
            scratch: Box::default(),
        }
    }
}

impl Compressor {
    /// Remembers the suffixes of `name`, whose first label stands at `at`, down to that of `above` labels, which is
    /// known already. What cannot be pointed to, or is one too many, is not remembered.
    fn remember(&mut self, name: &KeyedName, at: usize, above: usize) {
        remember(&mut self.hashes, &mut self.offsets, &mut self.length, name, at, above);
    }
}

fn remember(hashes: &mut [u32], offsets: &mut [u16], length: &mut usize, name: &KeyedName, at: usize, above: usize) {
    for labels in (above + 1..=name.labels()).rev() {
        let offset = at + name.suffix_start(labels);
        if offset >= POINTER_END || *length == COMPRESSION_NAMES_MAX {
            return;
        }
        hashes[*length] = name.suffix_hash(labels) as u32;
        offsets[*length] = offset as u16;
        *length += 1;
    }
}

/// The owner of the records to be written.
#[derive(Clone, Copy, Debug)]
pub enum Owner<'a> {
    /// The name that stands at this offset of the message.
    At(u16),
    /// This uncompressed name.
    Name(&'a [u8]),
}

/// The offset of the question's name.
pub const QUESTION_NAME: Owner<'static> = Owner::At(HEADER_OCTETS as u16);

/// What was to be written does not fit; nothing of it stands in the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A message being written.
#[derive(Debug)]
pub struct Writer<'a> {
    buffer: &'a mut [u8],
    length: usize,
    /// Octets that records may fill.
    limit: usize,
    counts: [u16; 4],
    question_end: usize,
    compressor: &'a mut Compressor,
    key: HashKey,
    opt: Option<ReplyOpt<'a>>,
    class: u16,
    truncated: bool,
}

impl<'a> Writer<'a> {
    /// Begins a reply of at most `limit` octets with one question (name, type, class, as they came), or none where it
    /// is empty. `buffer` must hold `limit` octets, and `limit` must be at least 512.
    #[inline]
    pub fn new(
        buffer: &'a mut [u8],
        limit: usize,
        question: &[u8],
        opt: Option<ReplyOpt<'a>>,
        compressor: &'a mut Compressor,
        key: HashKey,
    ) -> Writer<'a> {
        let question_end = HEADER_OCTETS + question.len();
        let opt_octets = opt.map_or(0, |opt| opt.octets());
        assert!(limit <= buffer.len() && question_end + opt_octets <= limit);
        buffer[HEADER_OCTETS..question_end].copy_from_slice(question);
        compressor.length = 0;
        Writer {
            buffer,
            length: question_end,
            limit: limit - opt_octets,
            counts: [u16::from(!question.is_empty()), 0, 0, 0],
            question_end,
            compressor,
            key,
            opt,
            class: rdata::CLASS_IN,
            truncated: false,
        }
    }

    /// Remembers the question's name for compression: call it with that name before the first name that may be
    /// compressed, and only then, so that replies without such names do not pay.
    pub fn remember_question(&mut self, name: &KeyedName) {
        if self.compressor.length == 0 && self.question_end > HEADER_OCTETS {
            self.compressor.remember(name, HEADER_OCTETS, 0);
        }
    }

    /// The class of the records to be written, where it is not IN.
    pub fn set_class(&mut self, class: u16) {
        self.class = class;
    }

    /// Writes an RRset: each of `records` is the data of one record, its names uncompressed. Returns where the data of
    /// the last one begins. On [`Full`] nothing of it stands in the message.
    #[inline]
    pub fn rrset<'r>(
        &mut self,
        section: Section,
        owner: Owner<'_>,
        rtype: u16,
        ttl: u32,
        records: impl Iterator<Item = &'r [u8]>,
    ) -> Result<usize, Full> {
        let mark = (self.length, self.counts, self.compressor.length);
        let layout = rdata::layout(rtype).filter(|layout| layout.compressible);
        let mut data_at = 0;
        for record in records {
            let written = match layout {
                None => self.record(section, owner, rtype, ttl, record),
                Some(layout) => self.record_with_names(section, owner, rtype, ttl, record, layout),
            };
            match written {
                Ok(at) => data_at = at,
                Err(full) => {
                    (self.length, self.counts, self.compressor.length) = mark;
                    return Err(full);
                }
            }
        }
        Ok(data_at)
    }

    /// Writes a record whose data goes out as it is.
    #[inline]
    fn record(&mut self, section: Section, owner: Owner<'_>, rtype: u16, ttl: u32, data: &[u8]) -> Result<usize, Full> {
        self.owner(owner)?;
        let data_at = self.length + 10;
        let end = data_at + data.len();
        if end > self.limit {
            return Err(Full);
        }
        self.fixed(rtype, ttl, data.len());
        self.buffer[data_at..end].copy_from_slice(data);
        self.length = end;
        self.counts[section as usize] += 1;
        Ok(data_at)
    }

    /// Writes a record of a type of RFC 1035 whose names may be compressed.
    fn record_with_names(
        &mut self,
        section: Section,
        owner: Owner<'_>,
        rtype: u16,
        ttl: u32,
        data: &[u8],
        layout: rdata::Layout,
    ) -> Result<usize, Full> {
        self.owner(owner)?;
        let fixed_at = self.length;
        let data_at = fixed_at + 10;
        if data_at > self.limit {
            return Err(Full);
        }
        self.length = data_at;
        let (before, mut rest) = data.split_at(layout.before);
        self.octets(before)?;
        for _ in 0..layout.names {
            let length = name::measure(rest).expect("names in the data of our records are whole");
            let (name, tail) = rest.split_at(length);
            self.name(name)?;
            rest = tail;
        }
        self.octets(rest)?;
        let end = self.length;
        self.length = fixed_at;
        self.fixed(rtype, ttl, end - data_at);
        self.length = end;
        self.counts[section as usize] += 1;
        Ok(data_at)
    }

    #[inline]
    fn owner(&mut self, owner: Owner<'_>) -> Result<(), Full> {
        match owner {
            Owner::At(offset) => self.octets(&(0xc000 | offset).to_be_bytes()),
            Owner::Name(name) => self.name(name),
        }
    }

    /// Writes type, class, TTL and length of data behind the owner.
    #[inline]
    fn fixed(&mut self, rtype: u16, ttl: u32, data_octets: usize) {
        let fixed: &mut [u8; 10] = (&mut self.buffer[self.length..self.length + 10]).try_into().expect("ten octets");
        fixed[..2].copy_from_slice(&rtype.to_be_bytes());
        fixed[2..4].copy_from_slice(&self.class.to_be_bytes());
        fixed[4..8].copy_from_slice(&ttl.to_be_bytes());
        fixed[8..].copy_from_slice(&(data_octets as u16).to_be_bytes());
    }

    #[inline]
    fn octets(&mut self, octets: &[u8]) -> Result<(), Full> {
        let end = self.length + octets.len();
        if end > self.limit {
            return Err(Full);
        }
        self.buffer[self.length..end].copy_from_slice(octets);
        self.length = end;
        Ok(())
    }

    /// Writes a name, its longest known suffix as a pointer.
    fn name(&mut self, wire: &[u8]) -> Result<(), Full> {
        let Compressor { hashes, offsets, length, scratch } = &mut *self.compressor;
        scratch.set(&self.key, wire).expect("names in zones and configuration are whole");
        let mut known = None;
        'suffix: for labels in (1..=scratch.labels()).rev() {
            let hash = scratch.suffix_hash(labels) as u32;
            for i in 0..*length {
                if hashes[i] == hash
                    && stands_at(&self.buffer[..self.length], offsets[i], scratch.suffix(labels), name::same)
                {
                    known = Some((labels, offsets[i]));
                    break 'suffix;
                }
            }
        }
        let at = self.length;
        let (above, new_octets) = match known {
            Some((labels, _)) => (labels, scratch.suffix_start(labels)),
            None => (0, wire.len()),
        };
        let end = at + new_octets + if known.is_some() { 2 } else { 0 };
        if end > self.limit {
            return Err(Full);
        }
        remember(hashes, offsets, length, scratch, at, above);
        self.buffer[at..at + new_octets].copy_from_slice(&wire[..new_octets]);
        if let Some((_, offset)) = known {
            self.buffer[end - 2..end].copy_from_slice(&(0xc000 | offset).to_be_bytes());
        }
        self.length = end;
        Ok(())
    }

    /// Takes back every record and sets TC: the shortest reply that makes the asker come again over TCP.
    pub fn truncate(&mut self) {
        self.length = self.question_end;
        self.counts[1..].fill(0);
        self.compressor.length = 0;
        self.truncated = true;
    }

    /// Whether [`Writer::truncate`] was called.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Entries written to a section so far.
    pub fn count(&self, section: Section) -> u16 {
        self.counts[section as usize]
    }

    /// Writes header and OPT record. `reply_flags` are QR, AA and the like; TC is added where it is due. Returns the
    /// length of the message.
    #[inline]
    pub fn finish(mut self, id: u16, reply_flags: u16, rcode: Rcode) -> usize {
        let code = rcode as u16;
        if let Some(mut opt) = self.opt {
            opt.extended_rcode = (code >> 4) as u8;
            let octets = opt.octets();
            self.length += opt.write(&mut self.buffer[self.length..self.length + octets]);
            self.counts[3] += 1;
        }
        let truncated = if self.truncated { flags::TC } else { 0 };
        let header: &mut [u8; HEADER_OCTETS] = self.buffer.first_chunk_mut().expect("the limit is above a header");
        header[..2].copy_from_slice(&id.to_be_bytes());
        header[2..4].copy_from_slice(&(reply_flags | truncated | (code & flags::RCODE)).to_be_bytes());
        for (field, count) in header[4..].as_chunks_mut::<2>().0.iter_mut().zip(self.counts) {
            *field = count.to_be_bytes();
        }
        self.length
    }
}

/// A reply made of octets that are ready: the question, records of one section whose names need no compression, and an
/// OPT record without options.
#[derive(Clone, Copy, Debug)]
pub struct Ready<'a> {
    /// Name, type and class, as they came.
    pub question: &'a [u8],
    /// Where the records stand.
    pub section: Section,
    /// How many they are.
    pub count: u16,
    /// The records, in two parts.
    pub records: [&'a [u8]; 2],
    /// The flags of the OPT record, where there is one.
    pub opt_flags: Option<u16>,
}

impl Ready<'_> {
    /// Writes it to the start of `buffer`, without looking at a name. Returns its length; `None`, and nothing is written,
    /// where that is more than `limit`, which `buffer` must hold.
    #[inline(always)] // Its fields are in registers where it is made.
    pub fn write(self, buffer: &mut [u8], limit: usize, id: u16, reply_flags: u16, rcode: Rcode) -> Option<usize> {
        let records_at = HEADER_OCTETS + self.question.len();
        let between = records_at + self.records[0].len();
        let opt_at = between + self.records[1].len();
        let end = opt_at + self.opt_flags.map_or(0, |_| OPT_OCTETS);
        if end > limit {
            return None;
        }
        let out = &mut buffer[..end];
        let counts = 1 << 48
            | u64::from(self.count) << (16 * (Section::Additional as u32 - self.section as u32))
            | u64::from(self.opt_flags.is_some());
        let header: &mut [u8; HEADER_OCTETS] = out.first_chunk_mut()?;
        let words = u32::from(id) << 16 | u32::from(reply_flags | (rcode as u16 & flags::RCODE));
        header[..4].copy_from_slice(&words.to_be_bytes());
        header[4..].copy_from_slice(&counts.to_be_bytes());
        copy(out, HEADER_OCTETS, self.question);
        copy(out, records_at, self.records[0]);
        if !self.records[1].is_empty() {
            copy(out, between, self.records[1]);
        }
        if let Some(opt_flags) = self.opt_flags {
            *out.last_chunk_mut()? = edns::opt((rcode as u16 >> 4) as u8, opt_flags);
        }
        Some(end)
    }
}

/// Whether the name at `offset` of what is written so far is `wire`, as `same` compares labels.
pub(crate) fn stands_at(message: &[u8], offset: u16, wire: &[u8], same: impl Fn(&[u8], &[u8]) -> bool) -> bool {
    let mut at = usize::from(offset);
    let mut rest = wire;
    loop {
        let octet = usize::from(message[at]);
        if octet > LABEL_OCTETS_MAX {
            let target = (octet & 0x3f) << 8 | usize::from(message[at + 1]);
            assert!(target < at, "pointers of ours lead back");
            at = target;
            continue;
        }
        let (label, tail) = match rest.split_at_checked(octet + 1) {
            Some((label, tail)) if same(&message[at..at + octet + 1], label) => (label, tail),
            _ => return false,
        };
        if tail.is_empty() {
            return true;
        }
        at += label.len();
        rest = tail;
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{Header, records};
    use super::super::rdata::rtype;
    use super::*;
    use crate::limits::NAME_OCTETS_MAX;

    const QUESTION: &[u8] = b"\x03wWw\x07exaMple\x04test\0\0\x01\0\x01";

    fn key() -> HashKey {
        HashKey::from_seed([3; 16])
    }

    fn question_name() -> KeyedName {
        KeyedName::new(&key(), QUESTION).unwrap()
    }

    fn wire(text: &str) -> Vec<u8> {
        text.parse::<super::super::name::Name>().unwrap().as_wire().to_vec()
    }

    #[test]
    fn names_are_compressed_against_the_question_and_each_other() {
        let mut buffer = [0; 512];
        let mut compressor = Compressor::default();
        let mut writer = Writer::new(&mut buffer, 512, QUESTION, None, &mut compressor, key());
        writer.remember_question(&question_name());
        let mx = [&[0, 10][..], &wire("mail.example.test.")].concat();
        writer.rrset(Section::Answer, QUESTION_NAME, rtype::MX, 60, [&mx[..]].into_iter()).unwrap();
        let mail = wire("MAIL.example.test.");
        writer.rrset(Section::Additional, Owner::Name(&mail), rtype::A, 60, [&[192, 0, 2, 1][..]].into_iter()).unwrap();
        let length = writer.finish(7, flags::QR, Rcode::NoError);
        let message = &buffer[..length];
        let header = Header::parse(message).unwrap();
        assert_eq!(header.counts, [1, 1, 0, 1]);
        assert_eq!(&message[12..12 + QUESTION.len()], QUESTION);
        let walked: Vec<_> = records(message, header, 12 + QUESTION.len()).map(|r| r.unwrap()).collect();
        assert_eq!(&message[walked[0].data.clone()], b"\0\x0a\x04mail\xc0\x10");
        let mail_at = walked[0].data.start as u8 + 2;
        assert_eq!(message[walked[1].owner_at..][..2], [0xc0, mail_at]);
    }

    #[test]
    fn an_rrset_that_does_not_fit_leaves_nothing_behind() {
        let mut buffer = [0; 512];
        let mut compressor = Compressor::default();
        let opt = Some(ReplyOpt::default());
        let mut writer = Writer::new(&mut buffer, 512, QUESTION, opt, &mut compressor, key());
        let text = [&[255][..], &[b'x'; 255]].concat();
        writer.rrset(Section::Answer, QUESTION_NAME, rtype::TXT, 60, [&text[..]].into_iter()).unwrap();
        let before = writer.length;
        let two = [&text[..60], &text[..]];
        assert_eq!(writer.rrset(Section::Answer, QUESTION_NAME, rtype::TXT, 60, two.into_iter()), Err(Full));
        assert_eq!((writer.length, writer.count(Section::Answer)), (before, 1));
        writer.truncate();
        let length = writer.finish(7, flags::QR, Rcode::NoError);
        assert_eq!(length, 12 + QUESTION.len() + 11);
        let header = Header::parse(&buffer).unwrap();
        assert!(header.has(flags::TC | flags::QR));
        assert_eq!(header.counts, [1, 0, 0, 1]);
    }

    #[test]
    fn the_last_octet_is_used_and_no_more() {
        for limit in 512..=600 {
            let mut buffer = vec![0xee; limit + 8];
            let mut compressor = Compressor::default();
            let opt = Some(ReplyOpt::default());
            let mut writer = Writer::new(&mut buffer, limit, QUESTION, opt, &mut compressor, key());
            while writer.rrset(Section::Answer, QUESTION_NAME, rtype::A, 1, [&[1, 2, 3, 4][..]].into_iter()).is_ok() {}
            let length = writer.finish(7, flags::QR, Rcode::NoError);
            assert!(length <= limit && length + 16 > limit, "{length} of {limit}");
            assert!(buffer[limit..].iter().all(|&octet| octet == 0xee));
        }
    }

    #[test]
    fn many_names_overflow_the_memory_of_names_without_harm() {
        let mut buffer = vec![0; 65_535];
        let mut compressor = Compressor::default();
        let mut writer = Writer::new(&mut buffer, 65_535, QUESTION, None, &mut compressor, key());
        writer.remember_question(&question_name());
        let names: Vec<_> = (0..1000).map(|i| wire(&format!("host{i}.sub{i}.example.test."))).collect();
        writer.rrset(Section::Answer, QUESTION_NAME, rtype::NS, 1, names.iter().map(|n| &n[..])).unwrap();
        let length = writer.finish(7, flags::QR, Rcode::NoError);
        let header = Header::parse(&buffer).unwrap();
        let mut out = [0; NAME_OCTETS_MAX];
        for (record, name) in records(&buffer[..length], header, 12 + QUESTION.len()).zip(&names) {
            let (octets, _) = name::expand(&buffer[..length], record.unwrap().data.start, &mut out).unwrap();
            assert!(name::same(&out[..octets], name));
        }
    }

    #[test]
    fn what_is_ready_is_written_as_by_the_writer() {
        let (one, two) = (&[192, 0, 2, 1][..], &[192, 0, 2, 2][..]);
        let record = |data: &[u8]| [&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4][..], data].concat();
        for (section, opt) in
            [(Section::Answer, None), (Section::Authority, Some(false)), (Section::Additional, Some(true))]
        {
            let opt = opt.map(|dnssec_ok| ReplyOpt { dnssec_ok, ..ReplyOpt::default() });
            let mut written = [0; 512];
            let mut compressor = Compressor::default();
            let mut writer = Writer::new(&mut written, 512, QUESTION, opt, &mut compressor, key());
            writer.rrset(section, QUESTION_NAME, rtype::A, 60, [one, two].into_iter()).unwrap();
            let length = writer.finish(7, flags::QR | flags::AA, Rcode::NxDomain);
            let (first, second) = (record(one), record(two));
            let ready = Ready {
                question: QUESTION,
                section,
                count: 2,
                records: [&first, &second],
                opt_flags: opt.map(|opt| if opt.dnssec_ok { edns::DNSSEC_OK } else { 0 }),
            };
            let mut copied = [0xee; 512];
            assert_eq!(ready.write(&mut copied, length, 7, flags::QR | flags::AA, Rcode::NxDomain), Some(length));
            assert_eq!(copied[..length], written[..length]);
            assert!(copied[length..].iter().all(|&octet| octet == 0xee));
            let mut untouched = [0xee; 512];
            assert_eq!(ready.write(&mut untouched, length - 1, 7, 0, Rcode::NoError), None);
            assert!(untouched.iter().all(|&octet| octet == 0xee));
        }
    }

    #[test]
    fn the_extended_rcode_is_split() {
        let mut buffer = [0; 512];
        let mut compressor = Compressor::default();
        let writer = Writer::new(&mut buffer, 512, QUESTION, Some(ReplyOpt::default()), &mut compressor, key());
        let length = writer.finish(7, flags::QR, Rcode::BadVers);
        assert_eq!(buffer[3] & 0x0f, 0);
        assert_eq!(buffer[length - 6], 1);
    }
}
