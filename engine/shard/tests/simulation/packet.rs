//! Messages: queries of clients and replies of servers written, replies of the shard read.

use ringdns_shard::limits::NAME_OCTETS_MAX;
use ringdns_shard::wire::message::{HEADER_OCTETS, Header, Section, flags, records};
use ringdns_shard::wire::name;
use ringdns_shard::wire::rdata::{self, rtype};

use crate::random::Random;
use crate::truth::{Question, Record, Truth};

/// How a client asks, beside its question.
#[derive(Clone, Debug)]
pub(crate) struct Asking {
    pub(crate) id: u16,
    pub(crate) recursion_desired: bool,
    /// UDP payload, where it speaks EDNS.
    pub(crate) edns: Option<u16>,
    /// The question as the client spells it.
    pub(crate) spelt: Vec<u8>,
}

/// A client's query.
pub(crate) fn query(asking: &Asking, question: &Question) -> Vec<u8> {
    let flags =
        if asking.recursion_desired { flags::RD } else { 0 } | if question.checking_disabled { flags::CD } else { 0 };
    let opts = u8::from(asking.edns.is_some());
    let mut octets = [&asking.id.to_be_bytes()[..], &flags.to_be_bytes(), &[0, 1, 0, 0, 0, 0, 0, opts]].concat();
    octets.extend(&asking.spelt);
    if let Some(payload) = asking.edns {
        octets.extend([0, 0, 41]);
        octets.extend(payload.to_be_bytes());
        octets.extend([0, 0, u8::from(question.dnssec_ok) << 7, 0, 0, 0]);
    }
    octets
}

/// One of the shard's queries, read.
pub(crate) struct Query<'q> {
    pub(crate) question: Question,
    /// The question as it stands there, in letters of random case.
    pub(crate) octets: &'q [u8],
    pub(crate) id: [u8; 2],
    pub(crate) recursion_desired: bool,
    pub(crate) edns: bool,
    /// The cookie in it, where there is one.
    pub(crate) cookie: Option<&'q [u8]>,
}

/// Octets of the client's part of a cookie.
pub(crate) const CLIENT_COOKIE_OCTETS: usize = 8;

/// Reads one of the shard's queries.
pub(crate) fn read(query: &[u8]) -> Query<'_> {
    let header = Header::parse(query).expect("a query has a header");
    let edns = header.counts[3] == 1;
    assert_eq!(header.flags & !(flags::RD | flags::CD), 0);
    assert_eq!(header.counts, [1, 0, 0, u16::from(edns)]);
    let name_octets = name::measure(&query[HEADER_OCTETS..]).expect("a query has a name");
    let octets = &query[HEADER_OCTETS..HEADER_OCTETS + name_octets + 4];
    let [.., t0, t1, 0, 1] = *octets else { panic!("a query is of class IN") };
    let opt = &query[HEADER_OCTETS + octets.len()..];
    let cookie = match opt {
        [] => None,
        [0, 0, 41, _, _, 0, 0, _, 0, 0, 0] => None,
        [0, 0, 41, _, _, 0, 0, _, 0, 0, all, 0, 10, 0, own, cookie @ ..] => {
            assert_eq!((usize::from(*all), usize::from(*own)), (cookie.len() + 4, cookie.len()));
            assert!(cookie.len() == CLIENT_COOKIE_OCTETS || (16..=40).contains(&cookie.len()));
            Some(cookie)
        }
        _ => panic!("a query ends in its OPT record, and that holds a cookie at most"),
    };
    assert_eq!(edns, !opt.is_empty());
    let question = Question {
        name: octets[..name_octets].to_ascii_lowercase(),
        qtype: u16::from_be_bytes([t0, t1]),
        dnssec_ok: edns && opt[7] & 0x80 != 0,
        checking_disabled: header.has(flags::CD),
    };
    let id = [query[0], query[1]];
    Query { question, octets, id, recursion_desired: header.has(flags::RD), edns, cookie }
}

/// What a server says beside the truth.
pub(crate) struct Manners<'m> {
    /// The question comes back in small letters.
    pub(crate) folds_case: bool,
    /// The cookie of the reply.
    pub(crate) cookie: Option<&'m [u8]>,
    /// Records that nobody has asked for are among the others.
    pub(crate) poisons: bool,
}

/// What a server says, in one of the many forms that mean the same.
pub(crate) fn reply(random: &mut Random, query: &Query<'_>, truth: &Truth, manners: &Manners<'_>) -> Vec<u8> {
    let mut octets = query.octets.to_vec();
    if manners.folds_case {
        let name_end = octets.len() - 4;
        octets[..name_end].make_ascii_lowercase();
    }
    // An origin has AA set, a resolver RA and, where it has validated, AD.
    let of_server = match query.recursion_desired {
        true if random.percent(50) => flags::RD | flags::RA | flags::AD,
        true => flags::RD | flags::RA,
        false => flags::AA,
    };
    let word = flags::QR | of_server | truth.rcode;
    let mut message = [&query.id[..], &word.to_be_bytes(), &[0, 1, 0, 0, 0, 0, 0, 0], &octets].concat();
    let mut records = truth.records.clone();
    if manners.poisons {
        poison(random, &mut records, truth);
    }
    for record in &records {
        message[5 + 2 * record.section as usize] += 1;
        put_name(random, &mut message, &record.owner, &query.question.name);
        message.extend(record.rtype.to_be_bytes());
        message.extend([0, 1]);
        message.extend(record.ttl.to_be_bytes());
        let length_at = message.len();
        message.extend([0, 0]);
        put_data(random, &mut message, record, &query.question.name);
        let length = (message.len() - length_at - 2) as u16;
        message[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    }
    if query.edns {
        put_opt(&mut message, 0, query.question.dnssec_ok, manners.cookie);
    }
    message
}

/// Adds an OPT record, with the upper bits of the response code.
pub(crate) fn put_opt(message: &mut Vec<u8>, upper: u8, dnssec_ok: bool, cookie: Option<&[u8]>) {
    message[11] += 1;
    message.extend([0, 0, 41, 4, 208, upper, 0, u8::from(dnssec_ok) << 7, 0]);
    match cookie {
        None => message.extend([0, 0]),
        Some(cookie) => {
            message.extend([0, cookie.len() as u8 + 4, 0, 10, 0, cookie.len() as u8]);
            message.extend(cookie);
        }
    }
}

/// Puts records among the others that nobody has asked for: of other names, or of types that have no business there. In an
/// answer that has none there is no place for them: it would be another answer.
fn poison(random: &mut Random, records: &mut Vec<Record>, truth: &Truth) {
    let has_answer = truth.records.iter().any(|record| record.section == Section::Answer);
    let mut put = |section, owner: &[u8], rtype, data: &[u8]| {
        let end = records.iter().filter(|record| record.section <= section).count();
        let record = Record { section, owner: owner.into(), rtype, ttl: 9999, data: data.into() };
        records.insert(end, record);
    };
    let bank = b"\x04bank\x04test\0";
    if has_answer && truth.rcode == 0 && random.percent(60) {
        put(Section::Answer, bank, rtype::A, &[6; 4]);
    }
    if random.percent(60) {
        put(Section::Authority, bank, rtype::NS, b"\x02ns\x04evil\0");
        put(Section::Authority, bank, rtype::A, &[6; 4]);
    }
    put(Section::Additional, b"\x02ns\x04evil\0", rtype::A, &[6; 4]);
}

/// Writes a name: compressed, where it ends in the name asked for, or not.
fn put_name(random: &mut Random, message: &mut Vec<u8>, name: &[u8], asked: &[u8]) {
    match name.strip_suffix(asked) {
        Some(before) if random.percent(60) => message.extend([before, &[0xc0, HEADER_OCTETS as u8]].concat()),
        _ if random.percent(20) => message.extend(random.spelt(name)),
        _ => message.extend(name),
    }
}

fn put_data(random: &mut Random, message: &mut Vec<u8>, record: &Record, asked: &[u8]) {
    let Some(layout) = rdata::layout(record.rtype) else { return message.extend(&record.data) };
    let (before, mut rest) = record.data.split_at(layout.before);
    message.extend(before);
    for _ in 0..layout.names {
        let (name, after) = rest.split_at(name::measure(rest).expect("a name of ours"));
        put_name(random, message, name, asked);
        rest = after;
    }
    message.extend(rest);
}

/// A reply of the shard, read.
pub(crate) struct View {
    pub(crate) header: Header,
    /// Those that are not OPT; names in lower case.
    pub(crate) records: Vec<Record>,
    /// The DO bit of the OPT record, where there is one.
    pub(crate) opt: Option<bool>,
    /// The extended error in it.
    pub(crate) error: Option<u16>,
}

/// Reads a reply to a question that was spelt so. Panics where it does not parse or spells the name in another way.
pub(crate) fn view(message: &[u8], spelt: &[u8]) -> View {
    let header = Header::parse(message).expect("a reply has a header");
    let at = HEADER_OCTETS + spelt.len();
    assert_eq!(&message[HEADER_OCTETS..at], spelt, "the question comes back as it was asked");
    let mut view = View { header, records: Vec::new(), opt: None, error: None };
    let asked = &spelt[..spelt.len() - 4];
    let mut end = at;
    for record in records(message, header, at) {
        let record = record.expect("a reply parses");
        end = record.data.end;
        if record.rtype == rtype::OPT {
            assert!(view.opt.is_none(), "there is one OPT record");
            view.opt = Some(record.ttl & 0x8000 != 0);
            view.error = match message[record.data] {
                [] => None,
                [0, 15, 0, 2, high, low] => Some(u16::from_be_bytes([high, low])),
                ref other => panic!("nobody asked for these options: {other:02x?}"),
            };
            continue;
        }
        let owner = expand(message, record.owner_at).0;
        assert!(owner == asked || !name::same(&owner, asked), "an owner is spelt as it was asked");
        view.records.push(Record {
            section: record.section,
            owner: owner.to_ascii_lowercase(),
            rtype: record.rtype,
            ttl: record.ttl,
            data: data(message, record.rtype, record.data),
        });
    }
    assert_eq!(end, message.len(), "nothing stands behind the last record");
    view
}

/// Data with its names uncompressed, in lower case.
fn data(message: &[u8], rtype: u16, range: std::ops::Range<usize>) -> Vec<u8> {
    let Some(layout) = rdata::layout(rtype) else { return message[range].to_vec() };
    let mut at = range.start + layout.before;
    let mut data = message[range.start..at].to_vec();
    for _ in 0..layout.names {
        let (name, end) = expand(message, at);
        data.extend(name.to_ascii_lowercase());
        at = end;
    }
    data.extend(&message[at..range.end]);
    data
}

fn expand(message: &[u8], at: usize) -> (Vec<u8>, usize) {
    let mut out = [0; NAME_OCTETS_MAX];
    let (length, end) = name::expand(message, at, &mut out).expect("names of a reply are whole");
    (out[..length].to_vec(), end)
}

/// Whether a section holds what it must: `said` is a part of the truth, or all of it.
pub(crate) fn section(records: &[Record], section: Section) -> Vec<(&[u8], u16, &[u8])> {
    let of_it = records.iter().filter(|record| record.section == section);
    of_it.map(|record| (&*record.owner, record.rtype, &*record.data)).collect()
}
