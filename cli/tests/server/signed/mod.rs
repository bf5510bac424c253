//! Signed zones: the same questions to ringdns, NSD, Knot DNS and BIND, which serve the same files, and a validator
//! behind ringdns.
//!
//! Zones and questions are made up from a seed, which is printed; `RINGDNS_SEED` gives another. `RINGDNS_LONG=1` makes
//! zones of 10,000 names and asks 100,000 questions of each.
//!
//! What is compared: response code, AA, answer and authority as sets of records, TTLs included. Where NSD and Knot say
//! the same, ringdns must; where they do not, it must say what one of the three says. [`ALLOWED`] lists what may be
//! otherwise, and why.

mod client;
mod validator;
mod zone;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use client::{Question, Record, Reply, ask_all};
use domain::base::iana::Rtype;
use validator::validator;
use zone::{Denial, Dice, Signer, Signing, Zone};

use crate::common::dns::{Via, ask, query, wire};
use crate::common::peer::{KINDS, Kind, Peer, PeerZone};
use crate::common::server::{LISTEN, Server};
use crate::common::unbound::Unbound;
use crate::common::{needed, wait_until};

const CNAME: u16 = 5;
const SOA: u16 = 6;
const DNAME: u16 = 39;
const DS: u16 = 43;
const RRSIG: u16 = 46;
const NSEC: u16 = 47;
const NSEC3: u16 = 50;
const ANY: u16 = 255;
const NOERROR: u8 = 0;
const NXDOMAIN: u8 = 3;

/// Every kind of proof from both signers, with each algorithm more than once; and a zone that is not signed.
const KINDS_OF_ZONES: [Option<Signing>; 9] = [
    None,
    signing(Signer::Ldns, "ECDSAP256SHA256", Denial::Nsec),
    signing(Signer::Bind, "ED25519", Denial::Nsec),
    signing(Signer::Ldns, "RSASHA256", Denial::Nsec3("", 0, false)),
    signing(Signer::Bind, "ECDSAP256SHA256", Denial::Nsec3("", 0, false)),
    signing(Signer::Ldns, "ED25519", Denial::Nsec3("c0ffee", 5, false)),
    signing(Signer::Bind, "RSASHA256", Denial::Nsec3("ab", 12, false)),
    signing(Signer::Ldns, "ECDSAP256SHA256", Denial::Nsec3("", 0, true)),
    signing(Signer::Bind, "ED25519", Denial::Nsec3("c0ffee", 1, true)),
];

const fn signing(signer: Signer, algorithm: &'static str, denial: Denial) -> Option<Signing> {
    Some(Signing { signer, algorithm, denial })
}

/// What may be otherwise than at the others, and why.
const ALLOWED: &[Allowed] = &[
    ("ANY is answered with one set of records (RFC 8482 section 4); each server has a choice of its own", |asked| {
        let mut types: Vec<u16> = asked.ours.answer().iter().map(|record| record.rtype).collect();
        types.retain(|rtype| ![CNAME, DNAME, RRSIG].contains(rtype));
        types.dedup();
        asked.question.rtype == ANY && types.len() <= 1 && asked.theirs[0].rcode == asked.ours.rcode
    }),
    ("a chain of more aliases than NSD, Knot or BIND follow: NSD ends at its second pass over a DNAME", |asked| {
        let aliases = |reply: &Reply| reply.answer().iter().filter(|record| record.rtype == CNAME).count();
        aliases(asked.ours) > 5 && asked.theirs.iter().any(|reply| aliases(reply) != aliases(asked.ours))
    }),
    (
        "NSD leaves out a part of the proof of a name that an alias leads to, where no other server follows it",
        |asked| {
            let [nsd, ..] = asked.theirs;
            let lesser = nsd.authority().iter().all(|record| asked.ours.authority().contains(record));
            let aliases = asked.ours.answer().iter().any(|record| record.rtype == CNAME);
            aliases && lesser && nsd.rcode == asked.ours.rcode && nsd.answer() == asked.ours.answer()
        },
    ),
    (
        "Knot and BIND do not follow an alias for NSEC, and NSD proves too much or too little of what aliases lead to",
        |asked| {
            let [nsd, ..] = asked.theirs;
            let aliases = asked.ours.answer().iter().any(|record| record.rtype == CNAME);
            asked.question.rtype == NSEC
                && aliases
                && nsd.rcode == asked.ours.rcode
                && nsd.answer() == asked.ours.answer()
        },
    ),
    ("Knot and BIND do not go on in another zone of theirs, and NSD has no NSEC3 at an alias", |asked| {
        asked.question.rtype == NSEC3 && asked.ours.answer().iter().any(|record| record.rtype == CNAME)
    }),
];

/// A reason, and whether it holds of a reply.
type Allowed = (&'static str, fn(&Asked<'_>) -> bool);

/// A question and what came of it.
struct Asked<'a> {
    question: &'a Question,
    ours: &'a Reply,
    /// Of NSD, Knot and BIND, in this order.
    theirs: [&'a Reply; 3],
}

/// Answers that are asked for, the names of a zone and the number of questions about it.
fn size() -> (usize, usize) {
    if std::env::var_os("RINGDNS_LONG").is_some() { (10_000, 100_000) } else { (120, 3_000) }
}

fn seed() -> u64 {
    let given = std::env::var("RINGDNS_SEED").ok();
    let seed = match given {
        Some(seed) => seed.parse().expect("RINGDNS_SEED is a whole number"),
        None => SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_nanos() as u64,
    };
    eprintln!("RINGDNS_SEED={seed}");
    seed
}

#[test]
fn signed_zones_are_answered_as_by_others_and_validate() {
    for (tool, package) in [
        ("ldns-signzone", "ldnsutils"),
        ("ldns-keygen", "ldnsutils"),
        ("dnssec-signzone", "bind9-utils"),
        ("dnssec-keygen", "bind9-utils"),
        ("dnssec-dsfromkey", "bind9-utils"),
    ] {
        if needed(tool, package).is_none() {
            return;
        }
    }
    let (names, questions) = size();
    let mut dice = Dice::new(seed());
    let zones: Vec<Zone> = (KINDS_OF_ZONES.iter().enumerate())
        .flat_map(|(number, &signing)| {
            let folder = tempfile::tempdir().expect("a folder");
            Zone::make(&mut dice, &format!("z{number}.test"), names, signing, folder.path())
        })
        .collect();
    let of_peers: Vec<PeerZone> = zones.iter().map(|zone| PeerZone::primary(&zone.apex, &zone.text, None)).collect();
    let started = thread::scope(|scope| {
        let of_peers = &of_peers;
        let start = |kind| scope.spawn(move || Peer::start(kind, None, of_peers));
        KINDS.map(start).map(|peer| peer.join().expect("it starts"))
    });
    let [Some(nsd), Some(knot), Some(bind)] = started else { return };
    let ours = serve(&zones);
    let servers = [ours.address(), nsd.address, knot.address, bind.address];
    for server in servers {
        for zone in &zones {
            wait_until(&format!("{} at {server}", zone.apex), || {
                u8::try_from(ask(server, Via::Udp, &query(&zone.apex, "SOA")).rcode()) == Ok(NOERROR)
            });
        }
    }
    let mut report = Report::default();
    let validator = validator(ours.address(), &zones);
    for zones in zones.chunks(2) {
        let questions = make_up(&mut dice, zones, questions);
        let replies = replies_of(servers, &questions);
        for (question, [ours, theirs @ ..]) in questions.iter().zip(&replies) {
            report.add(Asked { question, ours, theirs: theirs.each_ref() });
        }
        if let (Some(validator), Some(_)) = (&validator, zones[0].signing) {
            let sample: Vec<(&Question, &Reply)> = questions.iter().zip(replies.iter().map(|of| &of[0])).collect();
            report.validate(validator, &sample);
        }
    }
    report.judge();
}

fn serve(zones: &[Zone]) -> Server {
    let mut configuration = LISTEN.to_owned();
    for zone in zones {
        configuration += &format!("[[zone]]\nname = \"{0}\"\nfile = \"{0}.zone\"\n", zone.apex);
    }
    let files: Vec<(String, &str)> = zones.iter().map(|zone| (format!("{}.zone", zone.apex), &*zone.text)).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(file, text)| (&**file, *text)).collect();
    Server::start(&configuration, &files)
}

/// Questions about the names of zones, what is near them, and what is not there.
fn make_up(dice: &mut Dice, zones: &[Zone], count: usize) -> Vec<Question> {
    const TYPES: [u16; 24] = [1, 1, 1, 1, 28, 28, 2, 2, 5, 6, 12, 15, 16, 16, 33, 39, 43, 43, 43, 46, 47, 48, 50, 51];
    const MORE_TYPES: [u16; 6] = [64, 65, 257, 65_280, 59, ANY];
    let one = |dice: &mut Dice| {
        let zone = &zones[usize::from(dice.percent(15))];
        let apex = wire(&zone.apex);
        let mut name = wire(dice.pick::<String>(&zone.names));
        if !name.ends_with(&apex) {
            name = apex.clone();
        }
        let mut labels = labels_of(&name[..name.len() - apex.len()]);
        mutate(dice, &mut labels);
        let mut name: Vec<u8> = labels.iter().flat_map(|label| [&[label.len() as u8][..], label].concat()).collect();
        name.extend(apex);
        if name.len() > 255 {
            name.drain(..name.len() - wire(&zone.apex).len());
        }
        if dice.percent(5) {
            name.make_ascii_uppercase();
        }
        let rtype = if dice.percent(75) { *dice.pick(&TYPES) } else { *dice.pick(&MORE_TYPES) };
        let edns = *dice.pick(&[None, Some(false), Some(true), Some(true), Some(true), Some(true), Some(true)]);
        let via = if dice.percent(25) { Via::Tcp } else { Via::Udp };
        Question { name, rtype, edns, via }
    };
    (0..count).map(|_| one(dice)).collect()
}

fn labels_of(mut octets: &[u8]) -> Vec<Vec<u8>> {
    let mut labels = Vec::new();
    while let Some((&length, rest)) = octets.split_first() {
        let (label, rest) = rest.split_at(usize::from(length));
        labels.push(label.to_vec());
        octets = rest;
    }
    labels
}

fn mutate(dice: &mut Dice, labels: &mut Vec<Vec<u8>>) {
    let word = |dice: &mut Dice| -> Vec<u8> {
        let length = 1 + dice.below(6);
        (0..length).map(|_| *dice.pick(b"abcdhnwx0189-_")).collect()
    };
    match dice.below(20) {
        0..10 => {}
        10 | 11 => labels.insert(0, word(dice)),
        12 => {
            labels.insert(0, word(dice));
            labels.insert(0, word(dice));
        }
        13 | 14 if !labels.is_empty() => drop(labels.remove(0)),
        15 if !labels.is_empty() => labels[0] = b"*".to_vec(),
        16 => labels.insert(0, b"*".to_vec()),
        17 => {
            let hash = (0..32).map(|_| *dice.pick(b"0123456789abcdefghijklmnopqrstuv")).collect();
            labels.insert(0, hash);
        }
        _ if !labels.is_empty() => {
            let (label, octet) = (&mut labels[0], *dice.pick(b"\0az!~\xff0"));
            let at = dice.below(label.len() + 1);
            label.insert(at, octet);
            label.truncate(63);
        }
        _ => {}
    }
}

/// The replies of every server to every question. What was cut short is asked for again over TCP.
fn replies_of(servers: [SocketAddr; 4], questions: &[Question]) -> Vec<[Reply; 4]> {
    let read = |octets: Vec<u8>, question: &Question| {
        Reply::read(&octets).unwrap_or_else(|| panic!("a malformed reply to {question:?}: {octets:?}"))
    };
    let of_one = |server: SocketAddr| -> Vec<Reply> {
        let replies = ask_all(server, questions);
        let mut replies: Vec<Reply> = replies.into_iter().zip(questions).map(|(octets, of)| read(octets, of)).collect();
        let cut: Vec<usize> = (0..replies.len()).filter(|&at| replies[at].truncated).collect();
        let again: Vec<Question> = cut.iter().map(|&at| Question { via: Via::Tcp, ..questions[at].clone() }).collect();
        for ((at, octets), question) in cut.into_iter().zip(ask_all(server, &again)).zip(&again) {
            replies[at] = Reply { truncated: true, ..read(octets, question) };
        }
        replies
    };
    let [a, b, c, d] = thread::scope(|scope| {
        let of_one = &of_one;
        servers.map(|server| scope.spawn(move || of_one(server))).map(|replies| replies.join().expect("all replies"))
    });
    a.into_iter().zip(b).zip(c).zip(d).map(|(((a, b), c), d)| [a, b, c, d]).collect()
}

/// What was found.
#[derive(Default)]
struct Report {
    asked: usize,
    /// NSD and Knot said the same.
    agreed: usize,
    /// They did not, and ringdns said what NSD, else Knot, else BIND said.
    sided: [usize; 3],
    /// Replies of ours that were cut short.
    truncated: usize,
    allowed: BTreeMap<&'static str, usize>,
    differences: Vec<String>,
    /// Replies that a validator took for secure and for insecure.
    secure: usize,
    insecure: usize,
}

impl Report {
    fn add(&mut self, asked: Asked<'_>) {
        self.asked += 1;
        let Asked { question, ours, theirs: [nsd, knot, bind] } = &asked;
        let mut wrong = Vec::new();
        if ours.authentic {
            wrong.push("AD is set");
        }
        if ours.truncated {
            self.truncated += 1;
            if ours.octets <= question.room() {
                wrong.push("TC, and the reply would have fitted");
            }
        }
        if same(nsd, knot) {
            self.agreed += 1;
            if !same(ours, nsd) {
                wrong.push("otherwise than NSD and Knot");
            } else if same_ttls(nsd, knot) && !same_ttls(ours, nsd) {
                wrong.push("TTLs otherwise than NSD's and Knot's");
            }
        } else if let Some(sides) = [nsd, knot, bind].iter().position(|reply| same(ours, reply)) {
            self.sided[sides] += 1;
        } else {
            wrong.push("otherwise than each of NSD, Knot and BIND");
        }
        if wrong.is_empty() {
            return;
        }
        match ALLOWED.iter().find(|(_, holds)| holds(&asked)) {
            Some((reason, _)) => *self.allowed.entry(reason).or_default() += 1,
            None => self.differences.push(asked.shown(&wrong)),
        }
    }

    /// Asks a validator some of the questions whose whole answer lies in the zone.
    fn validate(&mut self, validator: &Unbound, asked: &[(&Question, &Reply)]) {
        let in_zone = |(question, reply): &&(&Question, &Reply)| {
            let aliases = reply.answer().iter().any(|record| record.rtype == CNAME);
            // Unbound does not count an asterisk at the front of a name among the labels, also where a wildcard stands for
            // the name; it does not ask the zone itself for the DS records of an apex, and does not take a CNAME made from
            // a DNAME beside what was asked for; nor NSEC for a wildcard that is an empty non-terminal.
            let is_odd = question.name.starts_with(b"\x01*")
                || question.rtype == DS && (aliases || labels_of(&question.name).len() == 3)
                || question.rtype == DNAME && aliases
                || reply.authority().iter().any(|record| record.rtype == NSEC && has_wildcard_above(&record.owner));
            question.wants_dnssec()
                && !is_odd
                && !matches!(question.rtype, ANY | RRSIG)
                && reply.authoritative
                && matches!(reply.rcode, NOERROR | NXDOMAIN)
                && ends_here(question, reply)
        };
        let sample: Vec<&(&Question, &Reply)> = asked.iter().filter(in_zone).take(400).collect();
        let questions: Vec<Question> =
            sample.iter().map(|(question, _)| Question { via: Via::Udp, ..(*question).clone() }).collect();
        for ((question, ours), octets) in sample.into_iter().zip(ask_all(validator.address, &questions)) {
            let reply = Reply::read(&octets).expect("a reply that parses");
            // What opt-out spans may exist, unsigned (RFC 5155 §9.2).
            let opts_out = |record: &Record| record.rtype == NSEC3 && record.data[1] & 1 != 0;
            let proved = reply.authentic || ours.authority().iter().any(opts_out);
            if reply.rcode != ours.rcode || !proved {
                let named = name_shown(&question.name);
                let log = validator.log();
                let lines: Vec<&str> = log.lines().filter(|line| line.contains(&named)).collect();
                let says = format!("validator: rcode {} AD {}\n{}", reply.rcode, reply.authentic, lines.join("\n"));
                self.differences.push(format!("{} {}\n{}\n{says}", named, shown_type(question.rtype), ours.shown()));
            }
            if reply.authentic { self.secure += 1 } else { self.insecure += 1 }
        }
    }

    fn judge(self) {
        let Report {
            asked,
            agreed,
            sided: [as_nsd, as_knot, as_bind],
            truncated,
            allowed,
            differences,
            secure,
            insecure,
        } = self;
        eprintln!("{asked} questions; NSD and Knot agreed on {agreed}; {truncated} replies of ours were cut short");
        eprintln!("where they did not: {as_nsd} as NSD, {as_knot} as Knot, {as_bind} as BIND");
        eprintln!("{secure} replies were validated as secure, {insecure} as insecure");
        for (reason, count) in allowed {
            eprintln!("{count} otherwise: {reason}");
        }
        let count = differences.len();
        let first: Vec<String> = differences.into_iter().take(20).collect();
        assert!(count == 0, "{count} differences; the first:\n{}", first.join("\n"));
        assert!(truncated > 0, "no reply was too long for UDP");
    }
}

/// Whether a wildcard stands above a name.
fn has_wildcard_above(name: &[u8]) -> bool {
    labels_of(name).iter().skip(1).any(|label| label == b"*")
}

/// Whether the chain of aliases in a reply ends in its zone: in an answer or a proof that there is none.
fn ends_here(question: &Question, reply: &Reply) -> bool {
    let has = |records: &[Record], rtype: u16| records.iter().any(|record| record.rtype == rtype);
    // A CNAME made from a DNAME may lead on.
    let leads_on = question.rtype == CNAME && has(reply.answer(), DNAME);
    has(reply.authority(), SOA) || has(reply.answer(), question.rtype) && !leads_on
}

fn same(a: &Reply, b: &Reply) -> bool {
    same_ttls(&a.clone().without_ttls(), &b.clone().without_ttls())
}

fn same_ttls(a: &Reply, b: &Reply) -> bool {
    (a.rcode, a.authoritative, a.answer(), a.authority()) == (b.rcode, b.authoritative, b.answer(), b.authority())
}

impl Asked<'_> {
    fn shown(&self, wrong: &[&str]) -> String {
        let Asked { question, ours, theirs } = self;
        let how = format!("{:?} {:?}", question.via, question.edns);
        let mut text =
            format!("\n{} {} {how}: {}\n", name_shown(&question.name), shown_type(question.rtype), wrong.join("; "));
        let named = KINDS.map(|kind| match kind {
            Kind::Nsd => "NSD",
            Kind::Knot => "Knot",
            Kind::Bind => "BIND",
        });
        for (who, reply) in [("ringdns", *ours)].into_iter().chain(named.into_iter().zip(theirs.iter().copied())) {
            let said = reply.shown();
            let _ = writeln!(text, " {who}: {said}");
        }
        text
    }
}

impl Reply {
    fn shown(&self) -> String {
        let mut text = format!("rcode {}{}", self.rcode, if self.authoritative { " AA" } else { "" });
        if self.truncated {
            text += " TC";
        }
        for (section, records) in ["answer", "authority"].iter().zip(&self.sections) {
            for record in records {
                let (owner, rtype) = (name_shown(&record.owner), shown_type(record.rtype));
                let data = record.data.escape_ascii().to_string();
                let data: String = data.chars().take(60).collect();
                let _ = write!(text, "\n   {section}: {owner} {} {rtype} {data}", record.ttl);
            }
        }
        text
    }
}

fn name_shown(name: &[u8]) -> String {
    domain::base::Name::from_octets(name).map_or_else(|_| format!("{name:?}"), |name| name.to_string())
}

fn shown_type(rtype: u16) -> String {
    Rtype::from_int(rtype).to_string()
}
