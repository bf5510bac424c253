//! Messages: from an entry to octets, from octets to a view that can be compared and shown.
//!
//! Built on the `domain` crate alone, so that nothing of the shard checks itself.

use std::fmt;

use domain::base::iana::{Class, Rtype};
use domain::base::name::ToLabelIter;
use domain::base::rdata::UnknownRecordData;
use domain::base::zonefile_fmt::{DisplayKind, ZonefileFmt};
use domain::base::{Message, Name, ParsedRecord, ToName};
use domain::rdata::AllRecordData;
use domain::zonefile::inplace;

use crate::model::{Conditions, Ede, EdeWord, Edns, Entry, Packet};
use crate::words::{FLAGS, flag_bit, opcode_code, opcode_name, rcode_code, rcode_name};

const HEADER_OCTETS: usize = 12;
/// Option code of an extended error (RFC 8914 §2).
const OPTION_EDE: u16 = 15;
/// Option code of a cookie (RFC 7873 §4).
const OPTION_COOKIE: u16 = 10;
/// Octets of its client's part.
const CLIENT_COOKIE_OCTETS: usize = 8;
/// The server's part of the cookie in replies that have one.
const SERVER_COOKIE: &[u8; 8] = b"biscuits";

/// The octets of a message with this id. `raw` stands for the whole message, its own id included.
pub(crate) fn encode(id: u16, packet: &Packet, edns: Option<&Edns>) -> Result<Vec<u8>, String> {
    if let Some(raw) = &packet.raw {
        return octets_of_hex(raw);
    }
    let rcode = rcode_code(&packet.rcode)?;
    if rcode > 15 && edns.is_none() {
        return Err(format!("the rcode {} needs EDNS", packet.rcode));
    }
    let mut flags = opcode_code(&packet.opcode)? << 11 | (rcode & 15);
    for flag in &packet.flags {
        flags |= flag_bit(flag)?;
    }
    let mut octets = Vec::new();
    let counts = [packet.question.len(), packet.answer.len(), packet.authority.len(), packet.additional.len()];
    for word in [usize::from(id), usize::from(flags), counts[0], counts[1], counts[2]] {
        octets.extend_from_slice(&(word as u16).to_be_bytes());
    }
    octets.extend_from_slice(&((counts[3] + usize::from(edns.is_some())) as u16).to_be_bytes());
    for question in &packet.question {
        octets.extend_from_slice(&encode_question(question)?);
    }
    // Owners spelled as the question are pointers to it, as servers write them.
    let question = octets.get(HEADER_OCTETS..).filter(|_| counts[0] == 1).and_then(|q| q.split_last_chunk::<4>());
    let name = question.map_or(Vec::new(), |(name, _)| name.to_vec());
    for record in packet.answer.iter().chain(&packet.authority).chain(&packet.additional) {
        let record = encode_record(record)?;
        match record.strip_prefix(&name[..]) {
            Some(rest) if !name.is_empty() => {
                octets.extend_from_slice(&[0xc0, HEADER_OCTETS as u8]);
                octets.extend_from_slice(rest);
            }
            _ => octets.extend_from_slice(&record),
        }
    }
    if let Some(edns) = edns {
        let data = octets_of_hex(&edns.data)?;
        octets.extend_from_slice(&[0, 0, 41]);
        octets.extend_from_slice(&edns.udp.to_be_bytes());
        octets.extend_from_slice(&[(rcode >> 4) as u8, edns.version, u8::from(edns.dnssec_ok) << 7, 0]);
        octets.extend_from_slice(&(data.len() as u16).to_be_bytes());
        octets.extend_from_slice(&data);
    }
    Ok(octets)
}

/// The OPT record's data with a cookie in it: the client's part, and the server's behind it.
pub(crate) fn with_cookie(edns: &Edns, client: &[u8]) -> Edns {
    let octets = [client, SERVER_COOKIE].concat();
    let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    Edns { data: format!("{}{OPTION_COOKIE:04x}{:04x}{hex}", edns.data, octets.len()), ..edns.clone() }
}

/// `owner [class] type`, in wire format.
pub(crate) fn encode_question(text: &str) -> Result<Vec<u8>, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (owner, class, rtype) = match words[..] {
        [owner, class, rtype] => (owner, class, rtype),
        [owner, rtype] => (owner, "IN", rtype),
        _ => return Err(format!("`{text}` is no question: write `owner class type`")),
    };
    let bad = |what: &str, why: &dyn fmt::Display| format!("question `{text}`: the {what} does not parse: {why}");
    let name: Name<Vec<u8>> = owner.parse().map_err(|e| bad("name", &e))?;
    let class: Class = known_class(class).parse().map_err(|e| bad("class", &e))?;
    let rtype: Rtype = rtype.parse().map_err(|e| bad("type", &e))?;
    let mut octets = name.as_octets().clone();
    octets.extend_from_slice(&rtype.to_int().to_be_bytes());
    octets.extend_from_slice(&class.to_int().to_be_bytes());
    Ok(octets)
}

/// The word by which `domain` knows a class: it has none for ANY.
fn known_class(word: &str) -> &str {
    if word == "ANY" { "CLASS255" } else { word }
}

/// `owner [ttl] [class] type rdata`, in wire format without compression; the TTL is 3600 and the class IN where not
/// said, and names are absolute.
pub(crate) fn encode_record(text: &str) -> Result<Vec<u8>, String> {
    let mut parts: Vec<&str> = text.splitn(4, ' ').collect();
    if let [_, _, class, _] = &mut parts[..] {
        *class = known_class(class);
    }
    let mut file = inplace::Zonefile::from(format!("{}\n", parts.join(" ")).as_str()).allow_invalid();
    file.set_origin(Name::root());
    file.set_default_class(Class::IN);
    let bad = |why: String| format!("record `{text}`: {why}");
    let mut octets = Vec::new();
    while let Some(entry) = file.next_entry().map_err(|e| bad(e.to_string()))? {
        let inplace::Entry::Record(record) = entry else { return Err(bad("a directive is no record".into())) };
        if !octets.is_empty() {
            return Err(bad("two records on a line".into()));
        }
        let Ok(()) = record.compose(&mut octets);
    }
    if octets.is_empty() { Err(bad("nothing there".into())) } else { Ok(octets) }
}

/// The octets that hexadecimal digits stand for; spaces between them are ignored.
pub(crate) fn octets_of_hex(digits: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<char> = digits.chars().filter(|c| !c.is_whitespace()).collect();
    if !digits.len().is_multiple_of(2) {
        return Err("an odd number of hexadecimal digits".into());
    }
    let octet = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16);
    digits.chunks(2).map(|pair| octet(pair).map_err(|_| format!("`{pair:?}` are no hexadecimal digits"))).collect()
}

/// A message taken apart.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) id: u16,
    /// The second word of the header.
    flags: u16,
    /// With the upper bits of an OPT record.
    pub(crate) rcode: u16,
    pub(crate) questions: Vec<QuestionView>,
    /// Answer, authority, additional without OPT.
    sections: [Vec<RecordView>; 3],
    pub(crate) edns: Option<EdnsView>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QuestionView {
    /// In the letters of the message.
    pub(crate) name: String,
    class: u16,
    rtype: u16,
}

#[derive(Clone, Debug)]
struct RecordView {
    /// In the letters of the message.
    owner: String,
    /// Owner in lower case, class, type, rdata in canonical form (RFC 4034 §6.2).
    key: (String, u16, u16, Vec<u8>),
    ttl: u32,
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EdnsView {
    version: u8,
    pub(crate) udp: u16,
    dnssec_ok: bool,
    /// Code and data, in order.
    options: Vec<(u16, Vec<u8>)>,
}

impl View {
    /// Takes `octets` apart; the error says what does not parse.
    pub(crate) fn new(octets: &[u8]) -> Result<View, String> {
        let bad = |what: &str, why: &dyn fmt::Display| format!("{what}: {why}");
        let message = Message::from_slice(octets).map_err(|e| bad("header", &e))?;
        let mut questions = Vec::new();
        for question in message.question() {
            let question = question.map_err(|e| bad("question", &e))?;
            let (class, rtype) = (question.qclass().to_int(), question.qtype().to_int());
            questions.push(QuestionView { name: dotted(question.qname()), class, rtype });
        }
        let word = |at: usize| u16::from_be_bytes([octets[at], octets[at + 1]]);
        let mut view = View {
            id: word(0),
            flags: word(2),
            rcode: word(2) & 15,
            questions,
            sections: [Vec::new(), Vec::new(), Vec::new()],
            edns: None,
        };
        let sections = [message.answer(), message.authority(), message.additional()];
        for (index, section) in sections.into_iter().enumerate() {
            for record in section.map_err(|e| bad("section", &e))? {
                let record = record.map_err(|e| bad("record", &e))?;
                if record.rtype() == Rtype::OPT {
                    view.take_opt(&record)?;
                } else {
                    view.sections[index].push(RecordView::new(&record)?);
                }
            }
        }
        Ok(view)
    }

    fn take_opt(&mut self, record: &ParsedRecord<'_, [u8]>) -> Result<(), String> {
        if self.edns.is_some() {
            return Err("two OPT records".into());
        }
        let record = record.to_record::<UnknownRecordData<&[u8]>>().map_err(|e| e.to_string())?;
        let record = record.ok_or("an OPT record without data")?;
        let [extended, version, flags, _] = record.ttl().as_secs().to_be_bytes();
        let mut options = Vec::new();
        let mut data: &[u8] = record.data().data();
        while !data.is_empty() {
            let [a, b, c, d, rest @ ..] = data else { return Err("an EDNS option cut short".into()) };
            let length = usize::from(u16::from_be_bytes([*c, *d]));
            let value = rest.get(..length).ok_or("an EDNS option cut short")?;
            options.push((u16::from_be_bytes([*a, *b]), value.to_vec()));
            data = &rest[length..];
        }
        self.rcode |= u16::from(extended) << 4;
        self.edns = Some(EdnsView { version, udp: record.class().to_int(), dnssec_ok: flags & 0x80 != 0, options });
        Ok(())
    }

    /// Opcode and the flag words, without the rcode.
    fn flag_words(&self) -> Vec<&'static str> {
        FLAGS.iter().filter(|(_, bit)| self.flags & bit != 0).map(|(name, _)| *name).collect()
    }

    pub(crate) fn opcode(&self) -> u16 {
        self.flags >> 11 & 15
    }

    /// The content of the cookie option.
    pub(crate) fn cookie(&self) -> Option<&[u8]> {
        let mut options = self.edns.iter().flat_map(|edns| &edns.options);
        options.find(|option| option.0 == OPTION_COOKIE).map(|option| &*option.1)
    }

    /// The codes of the extended errors.
    fn extended_errors(&self) -> Vec<u16> {
        let options = self.edns.iter().flat_map(|edns| &edns.options);
        options.filter(|o| o.0 == OPTION_EDE && o.1.len() >= 2).map(|o| u16::from_be_bytes([o.1[0], o.1[1]])).collect()
    }
}

impl RecordView {
    /// Data that its type does not allow is kept as it stands: cases about bad records have some.
    fn new(record: &ParsedRecord<'_, [u8]>) -> Result<RecordView, String> {
        let owner = dotted(&record.owner());
        let mut composed = Vec::new();
        let text = match record.to_any_record::<AllRecordData<_, _>>() {
            Ok(full) => {
                let Ok(()) = full.compose_canonical(&mut composed);
                full.display_zonefile(DisplayKind::Simple).to_string()
            }
            Err(_) => {
                let plain = record.to_record::<UnknownRecordData<&[u8]>>().map_err(|e| format!("{owner}: {e}"))?;
                let plain = plain.expect("any data is unknown data");
                let Ok(()) = plain.compose_canonical(&mut composed);
                plain.display_zonefile(DisplayKind::Simple).to_string()
            }
        };
        let rdata = composed.split_off(usize::from(record.owner().compose_len()) + 10);
        Ok(RecordView {
            key: (owner.to_ascii_lowercase(), record.class().to_int(), record.rtype().to_int(), rdata),
            owner,
            ttl: record.ttl().as_secs(),
            text,
        })
    }
}

fn dotted(name: &impl ToName) -> String {
    let text = name.to_vec().to_string();
    if text.ends_with('.') { text } else { text + "." }
}

/// How strictly two messages are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bar {
    /// All that the entry names.
    Exact,
    /// The same without the order of records.
    Strict,
    /// rcode, AD, TC, answer; authority where the answer is empty.
    Portable,
}

/// What keeps `got` (which came over `transport`) from being what `entry` asks for; `None`: nothing.
pub(crate) fn mismatch(entry: &Entry, got: &View, transport: &str, bar: Bar) -> Option<String> {
    let expected = encode(got.id, &entry.packet, entry.edns.as_ref()).and_then(|octets| View::new(&octets));
    let expected = match expected {
        Ok(expected) => expected,
        Err(why) => return Some(format!("line {}: the expected message itself: {why}", entry.line)),
    };
    let ttl = bar != Bar::Portable && entry.compare.iter().any(|word| word == "ttl");
    let same_section = |index: usize| same_set(&got.sections[index], &expected.sections[index], ttl);
    for word in &entry.compare {
        let same = match (bar, word.as_str()) {
            (_, "ttl" | "id") => true,
            (Bar::Portable, "opcode" | "additional" | "edns" | "ednsdata" | "ownercase") => true,
            (Bar::Portable, "flags") => (got.flags ^ expected.flags) & (AD | TC) == 0,
            (Bar::Portable, "authority") if !got.sections[0].is_empty() => true,
            (Bar::Portable | Bar::Strict, "order") => true,
            (_, "opcode") => got.opcode() == expected.opcode(),
            (_, "rcode") => got.rcode == expected.rcode,
            (_, "flags") => got.flag_words() == expected.flag_words(),
            (_, "qname") => names(got, true).eq(names(&expected, true)),
            (_, "qcase") => names(got, false).eq(names(&expected, false)),
            (_, "qtype") => types(got).eq(types(&expected)),
            (_, "subdomain") => is_below(names(got, true).next(), names(&expected, true).next()),
            (_, "answer") => same_section(0),
            (_, "authority") => same_section(1),
            (_, "additional") => same_section(2),
            (_, "order") => (0..3).all(|index| keys(got, index).eq(keys(&expected, index))),
            (_, "ownercase") => owners(got).eq(owners(&expected)),
            (_, "edns") => edns_shape(got) == edns_shape(&expected),
            (_, "ednsdata") => other_options(got).eq(other_options(&expected)),
            (_, other) => return Some(format!("line {}: cannot compare `{other}`", entry.line)),
        };
        if !same {
            return Some(format!("{word} differs\n  expected:\n{expected}\n  got:\n{got}"));
        }
    }
    unmet_condition(&entry.conditions, got, transport).map(|why| format!("{why}\n  got:\n{got}"))
}

const AD: u16 = 0x0020;
const TC: u16 = 0x0200;

fn names(view: &View, lower: bool) -> impl Iterator<Item = String> {
    view.questions.iter().map(move |q| if lower { q.name.to_ascii_lowercase() } else { q.name.clone() })
}

fn types(view: &View) -> impl Iterator<Item = (u16, u16)> {
    view.questions.iter().map(|q| (q.class, q.rtype))
}

fn keys(view: &View, section: usize) -> impl Iterator<Item = &(String, u16, u16, Vec<u8>)> {
    view.sections[section].iter().map(|record| &record.key)
}

fn owners(view: &View) -> impl Iterator<Item = &String> {
    view.sections.iter().flatten().map(|record| &record.owner)
}

fn edns_shape(view: &View) -> Option<(u8, bool)> {
    view.edns.as_ref().map(|edns| (edns.version, edns.dnssec_ok))
}

/// The EDNS options other than extended errors, which have a condition of their own.
fn other_options(view: &View) -> impl Iterator<Item = &(u16, Vec<u8>)> {
    view.edns.iter().flat_map(|edns| &edns.options).filter(|option| option.0 != OPTION_EDE)
}

fn is_below(name: Option<String>, suffix: Option<String>) -> bool {
    let (Some(name), Some(suffix)) = (name, suffix) else { return false };
    name == suffix || suffix == "." || name.ends_with(&format!(".{suffix}"))
}

fn same_set(got: &[RecordView], expected: &[RecordView], ttl: bool) -> bool {
    let sorted = |records: &[RecordView]| {
        let mut keys: Vec<_> = records.iter().map(|r| (r.key.clone(), if ttl { r.ttl } else { 0 })).collect();
        keys.sort();
        keys
    };
    sorted(got) == sorted(expected)
}

fn unmet_condition(conditions: &Conditions, got: &View, transport: &str) -> Option<String> {
    let Conditions { transport: over, ede, cookie, serial, noedns, set, any_answer, extra_packets } = conditions;
    if serial.is_some() || *any_answer || *extra_packets {
        return Some("conditions on serials and packet sequences cannot be checked yet".into());
    }
    let octets = got.cookie().map_or(0, <[u8]>::len);
    match cookie.as_deref() {
        None => {}
        Some("none") if octets == 0 => {}
        Some("client") if octets == CLIENT_COOKIE_OCTETS => {}
        Some("both") if octets > CLIENT_COOKIE_OCTETS => {}
        Some("none" | "client" | "both") => return Some(format!("has a cookie of {octets} octets")),
        Some(_) => return Some("such a condition on cookies cannot be checked yet".into()),
    }
    if over.as_deref().is_some_and(|over| over != transport) {
        return Some(format!("came over {transport}"));
    }
    if *noedns && got.edns.is_some() {
        return Some("has an OPT record".into());
    }
    let flags = got.flag_words();
    let dnssec_ok = got.edns.as_ref().is_some_and(|edns| edns.dnssec_ok);
    let is_set = |flag: &String| if flag == "DO" { dnssec_ok } else { flags.contains(&flag.as_str()) };
    if let Some(missing) = set.iter().find(|flag| !is_set(flag)) {
        return Some(format!("{missing} is not set"));
    }
    let errors = got.extended_errors();
    let fits = match ede {
        None => true,
        Some(Ede::Code(code)) => errors.contains(code),
        Some(Ede::Word(EdeWord::Any)) => !errors.is_empty(),
        Some(Ede::Word(EdeWord::None)) => errors.is_empty(),
    };
    if fits { None } else { Some(format!("extended errors {errors:?} where {ede:?} was asked for")) }
}

impl fmt::Display for QuestionView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.name, Class::from_int(self.class), Rtype::from_int(self.rtype))
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (opcode, rcode) = (opcode_name(self.opcode()), rcode_name(self.rcode));
        writeln!(f, "    {opcode} {rcode} {} id {:#06x}", self.flag_words().join(" "), self.id)?;
        if let Some(edns) = &self.edns {
            let dnssec_ok = if edns.dnssec_ok { " DO" } else { "" };
            write!(f, "    EDNS version {} size {}{dnssec_ok}", edns.version, edns.udp)?;
            for (code, data) in &edns.options {
                write!(f, " option {code}: {}", data.escape_ascii())?;
            }
            writeln!(f)?;
        }
        for question in &self.questions {
            writeln!(f, "    question: {question}")?;
        }
        for (title, section) in ["answer", "authority", "additional"].iter().zip(&self.sections) {
            for record in section {
                writeln!(f, "    {title}: {}", record.text)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet() -> Packet {
        Packet {
            question: vec!["wWw.example.test. IN A".into()],
            answer: vec!["WWW.example.test. 60 IN CNAME A.example.test.".into(), "a.example.test. A 192.0.2.1".into()],
            opcode: "QUERY".into(),
            rcode: "BADVERS".into(),
            flags: vec!["QR".into(), "AA".into()],
            ..Packet::default()
        }
    }

    fn edns(data: &str) -> Edns {
        Edns { version: 0, udp: 1232, dnssec_ok: true, data: data.into() }
    }

    fn entry(compare: &[&str]) -> Entry {
        let compare = compare.iter().map(|word| word.to_string()).collect();
        Entry { packet: packet(), edns: Some(edns("")), compare, ..Entry::default() }
    }

    fn view() -> View {
        let octets = encode(7, &packet(), Some(&edns("000f 0002 0012"))).unwrap();
        View::new(&octets).unwrap()
    }

    #[test]
    fn what_is_encoded_is_seen_again() {
        let view = view();
        assert_eq!((view.id, view.rcode, view.opcode()), (7, 16, 0));
        assert_eq!(view.flag_words(), ["QR", "AA"]);
        assert_eq!(view.questions[0].name, "wWw.example.test.");
        assert_eq!(view.extended_errors(), [18]);
        let owners: Vec<_> = owners(&view).map(String::as_str).collect();
        assert_eq!(owners, ["WWW.example.test.", "a.example.test."]);
        assert_eq!(view.sections[0].iter().map(|r| r.ttl).collect::<Vec<_>>(), [60, 3600]);
        assert!(view.to_string().contains("a.example.test. 3600 IN A 192.0.2.1"), "{view}");
    }

    #[test]
    fn each_compared_word_tells_a_difference() {
        let whole = entry(&[
            "opcode",
            "rcode",
            "flags",
            "qname",
            "qcase",
            "qtype",
            "answer",
            "authority",
            "additional",
            "ttl",
            "order",
            "edns",
            "ednsdata",
            "ownercase",
        ]);
        assert_eq!(mismatch(&whole, &view(), "udp", Bar::Exact), None);
        type Change = fn(&mut Packet);
        let changes: [(&str, Change); 12] = [
            ("opcode", |p| p.opcode = "STATUS".into()),
            ("rcode", |p| p.rcode = "REFUSED".into()),
            ("flags", |p| p.flags.push("RA".into())),
            ("qname", |p| p.question = vec!["x.example.test. IN A".into()]),
            ("qcase", |p| p.question = vec!["www.example.test. IN A".into()]),
            ("qtype", |p| p.question = vec!["wWw.example.test. IN AAAA".into()]),
            ("qtype", |p| p.question = vec!["wWw.example.test. CH A".into()]),
            ("answer", |p| drop(p.answer.pop())),
            ("ownercase", |p| p.answer[1] = "A.example.test. A 192.0.2.1".into()),
            ("order", |p| p.answer.reverse()),
            ("authority", |p| p.authority.push("example.test. NS ns.example.test.".into())),
            ("additional", |p| p.additional.push("ns.example.test. A 192.0.2.2".into())),
        ];
        for (word, change) in changes {
            let mut one = entry(&[word]);
            assert_eq!(mismatch(&one, &view(), "udp", Bar::Exact), None, "{word}");
            change(&mut one.packet);
            let found = mismatch(&one, &view(), "udp", Bar::Exact);
            assert!(found.is_some_and(|why| why.starts_with(word)), "{word}");
        }
        let mut ttl = entry(&["answer", "ttl"]);
        ttl.packet.answer[0] = "www.example.test. 61 IN CNAME a.example.test.".into();
        assert!(mismatch(&ttl, &view(), "udp", Bar::Exact).is_some());
        assert_eq!(mismatch(&ttl, &view(), "udp", Bar::Portable), None);
    }

    #[test]
    fn conditions_hold_or_are_told() {
        let met = |conditions: Conditions| unmet_condition(&conditions, &view(), "udp").is_none();
        assert!(met(Conditions { ede: Some(Ede::Code(18)), ..Conditions::default() }));
        assert!(!met(Conditions { ede: Some(Ede::Code(22)), ..Conditions::default() }));
        assert!(!met(Conditions { ede: Some(Ede::Word(EdeWord::None)), ..Conditions::default() }));
        assert!(met(Conditions { set: vec!["DO".into(), "AA".into()], ..Conditions::default() }));
        assert!(!met(Conditions { set: vec!["CD".into()], ..Conditions::default() }));
        assert!(!met(Conditions { noedns: true, ..Conditions::default() }));
        assert!(!met(Conditions { transport: Some("tcp".into()), ..Conditions::default() }));
        assert!(!met(Conditions { serial: Some(1), ..Conditions::default() }));
    }

    #[test]
    fn subdomains_end_at_label_borders() {
        let below = |name: &str, suffix: &str| is_below(Some(name.into()), Some(suffix.into()));
        assert!(below("a.example.", "example.") && below("example.", "example.") && below("a.", "."));
        assert!(!below("anexample.", "example.") && !below("example.", "a.example."));
    }

    #[test]
    fn bad_text_is_refused() {
        for text in [
            "",
            "a.test. IN",
            "a.test. IN A 192.0.2",
            "a.test. NS b.test.
b.test. NS c.test.",
            "$TTL 5",
        ] {
            assert!(encode_record(text).is_err(), "{text}");
        }
        for text in ["", "a.test.", "a.test. IN NOTYPE", "a..test. IN A", "a.test. IN A A"] {
            assert!(encode_question(text).is_err(), "{text}");
        }
        assert!(octets_of_hex("0").is_err() && octets_of_hex("0g").is_err());
        assert_eq!(octets_of_hex(" 00 fF1 0").unwrap(), [0, 255, 16]);
    }
}
