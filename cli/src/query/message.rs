//! DNS messages as the query command needs them: one question written, any reply read (RFC 1035 §4, RFC 6891 §6).
//!
//! Reading never fails past the header: what could be read is kept, and [`Message::problems`] says what could not.
//! Work and memory are bounded by the message's 65,535 octets: names by 255 octets and pointers that only go back.

use std::fmt::Write;

use domain::base::iana::{ExtendedErrorCode, Opcode, OptRcode, Rtype};

use super::rdata;
use super::text::{escape, hex, name_text, spaced_hex};
use super::words::Ask;

/// Octets of a message's header.
pub(super) const HEADER_BYTES: usize = 12;
/// Octets of a name in wire format (RFC 1035 §2.3.4).
const NAME_BYTES_MAX: usize = 255;
/// Pointers followed within one name: no more than a name has labels.
const POINTERS_MAX: usize = 127;
/// Texts kept in [`Message::problems`]; a hostile reply could cause thousands.
const PROBLEMS_MAX: usize = 20;

/// One entry of a question section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    /// Presentation format with the final dot, printable ASCII only.
    pub(super) name: String,
    pub(super) rtype: u16,
    pub(super) class: u16,
}

/// One record, OPT excepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Presentation format with the final dot, printable ASCII only.
    pub(super) name: String,
    pub(super) rtype: u16,
    pub(super) class: u16,
    /// Seconds, as sent.
    pub(super) ttl: u32,
    /// Presentation format, printable ASCII only.
    pub(super) rdata: String,
}

/// One EDNS option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EdnsOption {
    pub(super) code: u16,
    /// `None` where the option is unknown here.
    pub(super) name: Option<&'static str>,
    pub(super) data: Vec<u8>,
    /// The content in words; `None` where the option is unknown or its content unreadable. Printable ASCII only.
    pub(super) text: Option<String>,
}

/// The OPT record (RFC 6891 §6.1.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edns {
    pub(super) version: u8,
    /// Octets.
    pub(super) udp: u16,
    /// The 16 flag bits; DO is the highest.
    pub(super) flags: u16,
    pub(super) options: Vec<EdnsOption>,
}

impl Edns {
    /// Whether the DO bit is set.
    pub(super) fn dnssec_ok(&self) -> bool {
        self.flags & 0x8000 != 0
    }
}

/// A reply, as far as it could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) id: u16,
    pub(super) opcode: u8,
    /// The second 16 bits of the header.
    pub(super) bits: u16,
    /// The four section counts, as sent.
    pub(super) counts: [u16; 4],
    /// 12 bits where an OPT record extends it.
    pub(super) rcode: u16,
    pub(super) question: Vec<Question>,
    pub(super) answer: Vec<Record>,
    pub(super) authority: Vec<Record>,
    pub(super) additional: Vec<Record>,
    pub(super) edns: Option<Edns>,
    /// What is wrong with it, for people; at most [`PROBLEMS_MAX`], empty for a well-formed message.
    pub(super) problems: Vec<String>,
}

/// The header's flags with their bits, in the order `dig` shows them.
pub(super) const FLAGS: [(&str, u16); 7] =
    [("qr", 0x8000), ("aa", 0x0400), ("tc", 0x0200), ("rd", 0x0100), ("ra", 0x0080), ("ad", 0x0020), ("cd", 0x0010)];
const QR: u16 = 0x8000;
const TC: u16 = 0x0200;
const RD: u16 = 0x0100;
const AD: u16 = 0x0020;
const CD: u16 = 0x0010;

impl Message {
    /// Reads what can be read; octets too few for a header make an empty message with a problem.
    pub(super) fn read(octets: &[u8]) -> Message {
        let mut message = Message::default();
        let mut reader = Reader { octets, at: 0 };
        if let Err(problem) = message.read_header(&mut reader).and_then(|()| message.read_sections(&mut reader)) {
            message.problem(problem);
        } else if reader.at < octets.len() {
            message.problem(format!("{} octets after the last record", octets.len() - reader.at));
        }
        message
    }

    /// Whether the reply was cut short to fit a datagram.
    pub(super) fn is_truncated(octets: &[u8]) -> bool {
        octets.len() >= HEADER_BYTES && u16::from_be_bytes([octets[2], octets[3]]) & TC != 0
    }

    /// The mnemonic of the rcode.
    pub(super) fn rcode_text(&self) -> String {
        match OptRcode::masked_from_int(self.rcode).to_mnemonic_str() {
            Some(mnemonic) => mnemonic.to_owned(),
            None => format!("RCODE{}", self.rcode),
        }
    }

    /// The mnemonic of the opcode.
    pub(super) fn opcode_text(&self) -> String {
        match Opcode::from_int(self.opcode).to_mnemonic_str() {
            Some(mnemonic) => mnemonic.to_owned(),
            None => format!("OPCODE{}", self.opcode),
        }
    }

    fn read_header(&mut self, reader: &mut Reader<'_>) -> Result<(), String> {
        self.id = reader.u16("the header")?;
        self.bits = reader.u16("the header")?;
        self.opcode = (self.bits >> 11) as u8 & 15;
        self.rcode = self.bits & 15;
        for count in &mut self.counts {
            *count = reader.u16("the header")?;
        }
        Ok(())
    }

    fn read_sections(&mut self, reader: &mut Reader<'_>) -> Result<(), String> {
        for index in 0..self.counts[0] {
            let question = reader.question().map_err(|why| {
                format!("question {} of {}, at octet {}: {why}", index + 1, self.counts[0], reader.at)
            })?;
            self.question.push(question);
        }
        for (section, name) in [(1, "answer"), (2, "authority"), (3, "additional")] {
            for index in 0..self.counts[section] {
                let start = reader.at;
                let place = format!("{name} record {} of {}, at octet {start}", index + 1, self.counts[section]);
                self.read_record(section, reader, &place).map_err(|why| format!("{place}: {why}"))?;
            }
        }
        Ok(())
    }

    /// Reads one record into its section. An error means that the next one's place is unknown.
    fn read_record(&mut self, section: usize, reader: &mut Reader<'_>, place: &str) -> Result<(), String> {
        let owner = reader.name()?;
        let rtype = reader.u16("its type")?;
        let class = reader.u16("its class")?;
        let ttl = reader.u32("its TTL")?;
        let length = usize::from(reader.u16("its data length")?);
        let start = reader.at;
        let data = reader.take(length, "its data")?;
        if section == 3 && Rtype::from_int(rtype) == Rtype::OPT {
            if owner != [0] {
                self.problem(format!("{place}: the OPT record's owner is not the root"));
            }
            self.read_opt(class, ttl, data, place);
            return Ok(());
        }
        let (rdata, why) = rdata::present(reader.octets, start, length, rtype, class);
        if let Some(why) = why {
            self.problem(format!("{place}: {why}"));
        }
        let record = Record { name: name_text(&owner), rtype, class, ttl, rdata };
        match section {
            1 => self.answer.push(record),
            2 => self.authority.push(record),
            _ => self.additional.push(record),
        }
        Ok(())
    }

    fn read_opt(&mut self, udp: u16, ttl: u32, data: &[u8], place: &str) {
        if self.edns.is_some() {
            self.problem(format!("{place}: a second OPT record"));
            return;
        }
        let [high_rcode, version, flags @ ..] = ttl.to_be_bytes();
        self.rcode |= u16::from(high_rcode) << 4;
        let mut edns = Edns { version, udp, flags: u16::from_be_bytes(flags), options: Vec::new() };
        let mut reader = Reader { octets: data, at: 0 };
        while reader.at < data.len() {
            match reader.option() {
                Ok(option) => {
                    if option.name.is_some() && option.text.is_none() {
                        self.problem(format!("{place}: option {} has a content it may not have", option.code));
                    }
                    edns.options.push(option);
                }
                Err(why) => {
                    self.problem(format!("{place}: EDNS options: {why}"));
                    break;
                }
            }
        }
        self.edns = Some(edns);
    }

    fn problem(&mut self, text: String) {
        if self.problems.len() < PROBLEMS_MAX - 1 {
            self.problems.push(text);
        } else if self.problems.len() < PROBLEMS_MAX {
            self.problems.push("more is wrong than is listed here".to_owned());
        }
    }
}

/// The query message of `ask` under `id`.
pub(super) fn compose(ask: &Ask, id: u16) -> Vec<u8> {
    let mut bits = 0;
    for (on, bit) in [(ask.rd, RD), (ask.ad, AD), (ask.cd, CD)] {
        bits |= if on { bit } else { 0 };
    }
    let mut octets = Vec::with_capacity(HEADER_BYTES + ask.name.len() + 19);
    for word in [id, bits, 1, 0, 0, u16::from(ask.edns.is_some())] {
        octets.extend(word.to_be_bytes());
    }
    octets.extend(&ask.name);
    octets.extend(ask.rtype.to_int().to_be_bytes());
    octets.extend(ask.class.to_int().to_be_bytes());
    if let Some(edns) = ask.edns {
        octets.push(0);
        octets.extend(Rtype::OPT.to_int().to_be_bytes());
        octets.extend(edns.bufsize.to_be_bytes());
        octets.extend([0, edns.version, if edns.dnssec { 0x80 } else { 0 }, 0]);
        let options: &[u8] = if edns.nsid { &[0, 3, 0, 0] } else { &[] };
        octets.extend((options.len() as u16).to_be_bytes());
        octets.extend(options);
    }
    octets
}

/// Why these octets are no reply to `ask` under `id`; `None` where they are one.
///
/// An error reply may leave the question out, as a server does that could not read it.
pub(super) fn mismatch(octets: &[u8], ask: &Ask, id: u16) -> Option<String> {
    if octets.len() < HEADER_BYTES {
        return Some(format!("{} octets, too few for a header", octets.len()));
    }
    let word = |at: usize| u16::from_be_bytes([octets[at], octets[at + 1]]);
    if word(0) != id {
        return Some(format!("id {} instead of {id}", word(0)));
    }
    if word(2) & QR == 0 {
        return Some("a query, not a response".to_owned());
    }
    if word(4) == 0 {
        return (word(2) & 15 == 0).then(|| "no question, yet no error".to_owned());
    }
    let mut reader = Reader { octets, at: HEADER_BYTES };
    let read = |reader: &mut Reader<'_>| Ok((reader.name()?, reader.u16("its type")?, reader.u16("its class")?));
    match read(&mut reader) {
        Ok((name, rtype, class)) => {
            // Length octets are below 64 and so no letters: the whole of the wire format can be folded.
            let same =
                name.eq_ignore_ascii_case(&ask.name) && rtype == ask.rtype.to_int() && class == ask.class.to_int();
            (!same).then(|| {
                let (class, rtype) = (rdata::class_text(class), rdata::type_text(rtype));
                format!("the question is {} {class} {rtype}", name_text(&name))
            })
        }
        Err::<_, String>(why) => Some(format!("unreadable question: {why}")),
    }
}

/// Reads forward through a message.
struct Reader<'a> {
    octets: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize, what: &str) -> Result<&'a [u8], String> {
        let rest = self.octets.get(self.at..).unwrap_or_default();
        match rest.get(..count) {
            Some(taken) => {
                self.at += count;
                Ok(taken)
            }
            None => Err(format!("the message ends within {what}")),
        }
    }

    fn u16(&mut self, what: &str) -> Result<u16, String> {
        let taken = self.take(2, what)?;
        Ok(u16::from_be_bytes([taken[0], taken[1]]))
    }

    fn u32(&mut self, what: &str) -> Result<u32, String> {
        Ok(u32::from(self.u16(what)?) << 16 | u32::from(self.u16(what)?))
    }

    fn question(&mut self) -> Result<Question, String> {
        let name = name_text(&self.name()?);
        Ok(Question { name, rtype: self.u16("its type")?, class: self.u16("its class")? })
    }

    /// A name, uncompressed. A pointer must go back before the labels it follows, so that no chain is endless.
    fn name(&mut self) -> Result<Vec<u8>, String> {
        let mut name = Vec::with_capacity(32);
        let mut floor = self.at;
        let mut pointers = 0;
        let mut after_pointer = None;
        loop {
            let length = self.take(1, "a name")?[0];
            match length {
                0 => {
                    name.push(0);
                    self.at = after_pointer.unwrap_or(self.at);
                    return Ok(name);
                }
                1..=63 => {
                    let label = self.take(usize::from(length), "a name")?;
                    if name.len() + 1 + label.len() + 1 > NAME_BYTES_MAX {
                        return Err("a name longer than 255 octets".to_owned());
                    }
                    name.push(length);
                    name.extend(label);
                }
                192..=255 => {
                    let low = self.take(1, "a name")?[0];
                    let target = usize::from(length & 63) << 8 | usize::from(low);
                    after_pointer.get_or_insert(self.at);
                    pointers += 1;
                    if pointers > POINTERS_MAX {
                        return Err(format!("a name of more than {POINTERS_MAX} compression pointers"));
                    }
                    if target >= floor {
                        return Err("a compression pointer that does not go back".to_owned());
                    }
                    floor = target;
                    self.at = target;
                }
                _ => return Err(format!("a label of unknown kind ({length:#04x})")),
            }
        }
    }

    fn option(&mut self) -> Result<EdnsOption, String> {
        let code = self.u16("an option's code")?;
        let length = usize::from(self.u16("an option's length")?);
        let data = self.take(length, "an option's content")?;
        let (name, text) = option_text(code, data);
        Ok(EdnsOption { code, name, data: data.to_vec(), text })
    }
}

/// Name and content of an EDNS option, each where known.
fn option_text(code: u16, data: &[u8]) -> (Option<&'static str>, Option<String>) {
    match code {
        // RFC 5001
        3 => (Some("NSID"), Some(format!("{} (\"{}\")", spaced_hex(data), escape(data)))),
        // RFC 7873 §4: 8 octets from the client, then none or 8 to 32 from the server
        10 => (Some("COOKIE"), matches!(data.len(), 8 | 16..=40).then(|| hex(data))),
        // RFC 7828 §3.1: units of 100 ms; the empty form is a client's
        11 => (
            Some("TCP-KEEPALIVE"),
            match *data {
                [] => Some("no time given".to_owned()),
                [high, low] => {
                    let tenths = u16::from_be_bytes([high, low]);
                    Some(format!("{}.{} secs", tenths / 10, tenths % 10))
                }
                _ => None,
            },
        ),
        // RFC 7830
        12 => (Some("PADDING"), Some(format!("{} octets", data.len()))),
        // RFC 8914 §2
        15 => (
            Some("EDE"),
            data.split_at_checked(2).map(|(code, text)| {
                let code = u16::from_be_bytes([code[0], code[1]]);
                let meaning = ExtendedErrorCode::from_int(code).to_mnemonic_str();
                let mut shown = format!("{code} ({})", meaning.unwrap_or("unassigned"));
                // Some senders end the text with a NUL, which the RFC asks to bear with.
                let text = text.strip_suffix(&[0]).unwrap_or(text);
                if !text.is_empty() {
                    let _ = write!(shown, ": ({})", escape(text));
                }
                shown
            }),
        ),
        _ => (None, None),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An ask made of words.
    pub(in super::super) fn ask(line: &str) -> Ask {
        Ask::from_words(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).unwrap()
    }

    /// A reply to `www.example.test. A` with every section, an OPT record with options, and compressed names.
    pub(in super::super) fn sample(id: u16) -> Vec<u8> {
        let mut octets = id.to_be_bytes().to_vec();
        octets.extend(b"\x85\x00\x00\x01\x00\x02\x00\x01\x00\x02");
        octets.extend(b"\x03www\x07example\x04test\x00\x00\x01\x00\x01");
        octets.extend(b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x01\x2c\x00\x07\x04host\xc0\x10");
        octets.extend(b"\xc0\x2e\x00\x01\x00\x01\x00\x00\x01\x2c\x00\x04\xc0\x00\x02\x01");
        octets.extend(b"\xc0\x10\x00\x02\x00\x01\x00\x00\x0e\x10\x00\x05\x02ns\xc0\x10");
        octets.extend(b"\xc0\x51\x00\x01\x00\x01\x00\x00\x0e\x10\x00\x04\xc0\x00\x02\x35");
        octets.extend(b"\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x31");
        octets.extend(b"\x00\x03\x00\x03gp\x1b");
        octets.extend(b"\x00\x0f\x00\x07\x00\x12n\xc3\xb6\"\x00");
        octets.extend(b"\x00\x0a\x00\x08\x01\x02\x03\x04\x05\x06\x07\x08");
        octets.extend(b"\x00\x0b\x00\x02\x00\x65");
        octets.extend(b"\x00\x0c\x00\x02\x00\x00");
        octets.extend(b"\xfd\xe9\x00\x03x\x00\x7f");
        octets
    }

    /// A header with these bits and counts.
    fn header(bits: u16, counts: [u16; 4]) -> Vec<u8> {
        [7, bits].into_iter().chain(counts).flat_map(u16::to_be_bytes).collect()
    }

    #[test]
    fn the_query_written_is_the_query_read() {
        let octets = compose(&ask("Www.example.test MX +dnssec +nsid +cd +ad +norec +bufsize=4096 +edns=3"), 7);
        assert_eq!(octets.len(), 12 + 22 + 11 + 4);
        let read = Message::read(&octets);
        assert_eq!((read.id, read.bits, read.opcode, read.rcode), (7, 0x0030, 0, 0));
        assert_eq!(read.question, [Question { name: "Www.example.test.".into(), rtype: 15, class: 1 }]);
        let edns = read.edns.unwrap();
        assert_eq!((edns.version, edns.udp, edns.flags, edns.options.len()), (3, 4096, 0x8000, 1));
        assert_eq!(read.problems, [""; 0]);

        let bare = compose(&ask("a. +noedns"), 7);
        assert_eq!(bare, b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01");
    }

    #[test]
    fn a_reply_is_read_whole() {
        let read = Message::read(&sample(4711));
        assert_eq!(read.problems, [""; 0]);
        assert_eq!((read.id, read.rcode_text(), read.opcode_text()), (4711, "NOERROR".into(), "QUERY".into()));
        let texts = |records: &[Record]| -> Vec<String> {
            records.iter().map(|record| format!("{} {} {}", record.name, record.ttl, record.rdata)).collect()
        };
        assert_eq!(
            texts(&read.answer),
            ["www.example.test. 300 host.example.test.", "host.example.test. 300 192.0.2.1"]
        );
        assert_eq!(texts(&read.authority), ["example.test. 3600 ns.example.test."]);
        assert_eq!(texts(&read.additional), ["ns.example.test. 3600 192.0.2.53"]);
        let options: Vec<Option<String>> = read.edns.unwrap().options.into_iter().map(|option| option.text).collect();
        let texts = options.iter().map(|text| text.as_deref()).collect::<Vec<_>>();
        assert_eq!(
            texts,
            [
                Some(r#"67 70 1b ("gp\027")"#),
                Some(r#"18 (Prohibited): (n\195\182\")"#),
                Some("0102030405060708"),
                Some("10.1 secs"),
                Some("2 octets"),
                None
            ]
        );
    }

    #[test]
    fn the_opt_record_extends_the_rcode() {
        let mut octets = header(0x8000, [0, 0, 0, 1]);
        octets.extend(b"\x00\x00\x29\x04\xd0\x01\x00\x00\x00\x00\x00");
        assert_eq!(Message::read(&octets).rcode_text(), "BADVERS");
        octets[17] = 0xff;
        assert_eq!(Message::read(&octets).rcode_text(), "RCODE4080");
    }

    #[test]
    fn what_is_malformed_is_named_and_the_rest_kept() {
        let whole = sample(1);
        for length in 0..whole.len() {
            let read = Message::read(&whole[..length]);
            assert_eq!(read.problems.len(), 1, "{length}: {:?}", read.problems);
        }
        let cut = Message::read(&whole[..60]);
        assert_eq!(cut.answer.len(), 1);
        assert_eq!(cut.problems, ["answer record 2 of 2, at octet 53: the message ends within its TTL"]);

        let mut long = whole.clone();
        long.extend(b"xyz");
        assert_eq!(Message::read(&long).problems, ["3 octets after the last record"]);

        let mut two_opts = whole.clone();
        two_opts[11] = 3;
        two_opts.extend(b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00");
        assert!(Message::read(&two_opts).problems[0].ends_with("a second OPT record"));
    }

    #[test]
    fn malformed_options_and_opt_owners() {
        let opt = |rest: &[u8]| {
            let mut octets = header(0x8000, [0, 0, 0, 1]);
            octets.extend(rest);
            Message::read(&octets)
        };
        let keepalive = opt(b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x05\x00\x0b\x00\x01\x05");
        assert!(keepalive.problems[0].contains("option 11"), "{:?}", keepalive.problems);
        let cookie = opt(b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x05\x00\x0a\x00\x01\x05");
        assert!(cookie.problems[0].contains("option 10"), "{:?}", cookie.problems);
        let ede = opt(b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x05\x00\x0f\x00\x01\x05");
        assert!(ede.problems[0].contains("option 15"), "{:?}", ede.problems);
        let overrun = opt(b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x04\x00\x0b\x00\x09");
        assert!(overrun.problems[0].contains("EDNS options"), "{:?}", overrun.problems);
        let owned = opt(b"\x01a\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00");
        assert!(owned.problems[0].contains("not the root"), "{:?}", owned.problems);
    }

    #[test]
    fn hostile_names_end() {
        let question = |name: &[u8]| {
            let mut octets = header(0x8000, [1, 0, 0, 0]);
            octets.extend(name);
            octets.extend(b"\x00\x01\x00\x01");
            Message::read(&octets)
        };
        for (name, why) in [
            (&b"\xc0\x0c"[..], "does not go back"),
            (b"\x01a\xc0\x0c", "does not go back"),
            (b"\xc0\xff", "does not go back"),
            (b"\x40", "unknown kind"),
            (b"\x80", "unknown kind"),
            (&[1, b'a'].repeat(128), "longer than 255"),
            (b"\x3fabc", "ends within a name"),
        ] {
            let read = question(name);
            assert!(read.problems.len() == 1 && read.problems[0].contains(why), "{name:x?}: {:?}", read.problems);
        }
        let mut longest = [1, b'a'].repeat(127);
        longest.extend(b"\x00");
        assert_eq!(question(&longest).problems, [""; 0]);
        assert_eq!(question(b"\x04a.\x1b \x02\"(\x00").question[0].name, r#"a\.\027\032.\"\(."#);

        // A chain of pointers, each to the one before it, the first to the root in the header's id.
        let mut octets = header(0x8000, [200, 0, 0, 0]);
        octets[0] = 0;
        let mut target = 0_u16;
        for _ in 0..200 {
            let at = octets.len() as u16;
            octets.extend((0xc000 | target).to_be_bytes());
            octets.extend(b"\x00\x01\x00\x01");
            target = at;
        }
        let read = Message::read(&octets);
        assert_eq!(read.question.len(), POINTERS_MAX);
        assert!(read.problems[0].contains("127 compression pointers"), "{:?}", read.problems);
    }

    #[test]
    fn problems_are_bounded() {
        let mut octets = header(0x8000, [0, 100, 0, 0]);
        for _ in 0..100 {
            octets.extend(b"\x00\x00\x01\x00\x01\x00\x00\x00\x00\x00\x00");
        }
        let read = Message::read(&octets);
        assert_eq!((read.answer.len(), read.problems.len()), (100, PROBLEMS_MAX));
        assert!(read.problems[PROBLEMS_MAX - 1].contains("more"));
    }

    #[test]
    fn only_the_reply_to_the_question_matches() {
        let asked = ask("wWw.example.test");
        assert_eq!(mismatch(&sample(9), &asked, 9), None);
        let why = |octets: &[u8]| mismatch(octets, &asked, 9).unwrap();
        assert_eq!(why(&sample(8)), "id 8 instead of 9");
        assert_eq!(why(b""), "0 octets, too few for a header");
        assert_eq!(why(&sample(9)[..11]), "11 octets, too few for a header");
        assert_eq!(why(&compose(&asked, 9)), "a query, not a response");
        assert!(why(&sample(9)[..20]).starts_with("unreadable question"));
        assert_eq!(
            mismatch(&sample(9), &ask("www.example.test MX"), 9).unwrap(),
            "the question is www.example.test. IN A"
        );
        assert!(mismatch(&sample(9), &ask("www.example.test CH"), 9).is_some());
        assert!(mismatch(&sample(9), &ask("ww.example.test"), 9).is_some());
        // Without a question only an error will do.
        let mut bare = sample(9)[..12].to_vec();
        bare[5] = 0;
        assert_eq!(why(&bare), "no question, yet no error");
        bare[3] |= 1;
        assert_eq!(mismatch(&bare, &asked, 9), None);
    }
}
