//! Each decision about a record, by itself; names are spelt out unless compression is what a test is about.

use super::*;
use crate::limits::SCRUB_NAMES_MAX;

/// The suffix of the origin's route; the name asked is `www.example.test` unless a test says otherwise.
const SUFFIX_LABELS: usize = 2;
const ORIGIN: Source = Source { authoritative: true, suffix_labels: SUFFIX_LABELS };
const RESOLVER: Source = Source { authoritative: false, suffix_labels: 0 };

/// A record as it is written and read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rr {
    owner: Vec<u8>,
    rtype: u16,
    class: u16,
    ttl: u32,
    /// With names spelt out.
    data: Vec<u8>,
}

fn wire(text: &str) -> Vec<u8> {
    text.parse::<name::Name>().unwrap().as_wire().to_vec()
}

fn rr(owner: &str, rtype: u16, data: &[u8]) -> Rr {
    Rr { owner: wire(owner), rtype, class: CLASS_IN, ttl: 300, data: data.to_vec() }
}

fn a(owner: &str) -> Rr {
    rr(owner, rtype::A, &[192, 0, 2, 1])
}

fn cname(owner: &str, target: &str) -> Rr {
    rr(owner, rtype::CNAME, &wire(target))
}

fn dname(owner: &str, target: &str) -> Rr {
    rr(owner, rtype::DNAME, &wire(target))
}

fn ns(owner: &str, server: &str) -> Rr {
    rr(owner, rtype::NS, &wire(server))
}

fn mx(owner: &str, server: &str) -> Rr {
    rr(owner, rtype::MX, &[&[0, 10], &*wire(server)].concat())
}

fn soa(owner: &str) -> Rr {
    rr(owner, rtype::SOA, &[&*wire("ns.test"), &wire("host.test"), &[0, 0, 0, 60].repeat(5)].concat())
}

fn ds(owner: &str) -> Rr {
    rr(owner, rtype::DS, &[7; 36])
}

fn nsec(owner: &str) -> Rr {
    rr(owner, rtype::NSEC, &[&*wire("z.example.test"), &[0, 1, 0x40]].concat())
}

fn nsec3(owner: &str) -> Rr {
    rr(owner, rtype::NSEC3, &[&[1, 0, 0, 0, 0, 20][..], &[7; 20], &[0, 1, 0x40]].concat())
}

fn sig(owner: &str, covered: u16, labels: u8, signer: &str) -> Rr {
    let fixed = [&covered.to_be_bytes()[..], &[13, labels], &[0x51; 14]].concat();
    rr(owner, rtype::RRSIG, &[&fixed[..], &wire(signer), &[0x52; 64]].concat())
}

fn opt() -> Rr {
    Rr { owner: vec![0], rtype: rtype::OPT, class: 1232, ttl: 0x8000, data: b"\0\x0a\0\x08cookie!!".to_vec() }
}

/// A message of an upstream and what it was asked.
#[derive(Clone)]
struct Said {
    name: &'static str,
    qtype: u16,
    flags: u16,
    sections: [Vec<Rr>; 3],
}

fn said(answer: &[Rr], authority: &[Rr], additional: &[Rr]) -> Said {
    let sections = [answer.to_vec(), authority.to_vec(), additional.to_vec()];
    Said { name: "www.example.test", qtype: rtype::A, flags: flags::QR | flags::AA, sections }
}

impl Said {
    fn asked(self, name: &'static str, qtype: u16) -> Said {
        Said { name, qtype, ..self }
    }

    fn flags(self, flags: u16) -> Said {
        Said { flags: flags::QR | flags, ..self }
    }

    fn octets(&self) -> Vec<u8> {
        let counts = self.sections.each_ref().map(|section| section.len() as u16);
        let words = [7, self.flags, 1, counts[0], counts[1], counts[2]];
        let mut octets: Vec<u8> = words.iter().flat_map(|word: &u16| word.to_be_bytes()).collect();
        octets.extend(wire(self.name));
        octets.extend([self.qtype.to_be_bytes(), CLASS_IN.to_be_bytes()].concat());
        for rr in self.sections.iter().flatten() {
            octets.extend(&rr.owner);
            octets.extend([rr.rtype.to_be_bytes(), rr.class.to_be_bytes()].concat());
            octets.extend(rr.ttl.to_be_bytes());
            octets.extend((rr.data.len() as u16).to_be_bytes());
            octets.extend(&rr.data);
        }
        octets
    }

    #[track_caller]
    fn scrubbed(&self, source: Source) -> Result<Kept, Why> {
        scrub_octets(&self.octets(), self.name, self.qtype, source)
    }

    #[track_caller]
    fn is_clean(&self, source: Source) {
        let kept = self.scrubbed(source).unwrap();
        assert_eq!((kept.rewritten, &kept.sections), (false, &self.sections));
    }

    #[track_caller]
    fn becomes(&self, source: Source, sections: [&[Rr]; 3]) {
        let kept = self.scrubbed(source).unwrap();
        assert!(kept.rewritten);
        assert_eq!(kept.sections, sections.map(<[Rr]>::to_vec));
    }

    #[track_caller]
    fn is_refused(&self, source: Source, why: Why) {
        assert_eq!(self.scrubbed(source).unwrap_err(), why);
    }
}

/// What was left.
#[derive(Debug)]
struct Kept {
    rewritten: bool,
    rcode: u16,
    sections: [Vec<Rr>; 3],
}

/// Scrubs, and once more what is left: that must change nothing.
#[track_caller]
fn scrub_octets(message: &[u8], name: &str, qtype: u16, source: Source) -> Result<Kept, Why> {
    let (mut scratch, mut again) = (Vec::new(), Vec::new());
    let name = wire(name);
    let (left, rewritten) = match scrub(message, Header::parse(message).unwrap(), &name, qtype, &source, &mut scratch) {
        Scrubbed::Clean(left) => (left, false),
        Scrubbed::Rewritten(left) => (left, true),
        Scrubbed::Refused(why) => return Err(why),
    };
    let header = Header::parse(left).unwrap();
    assert_eq!(scrub(left, header, &name, qtype, &source, &mut again), Scrubbed::Clean(left));
    let mut sections = [const { Vec::new() }; 3];
    let mut end = HEADER_OCTETS + name.len() + 4;
    for record in message::records(left, header, end) {
        let record = record.unwrap();
        let (mut owner, mut data) = ([0; NAME_OCTETS_MAX], Vec::new());
        let (octets, _) = name::expand(left, record.owner_at, &mut owner).unwrap();
        expand_data(left, &record, &mut data).unwrap();
        let Record { section, rtype, class, ttl, .. } = record;
        sections[section as usize - 1].push(Rr { owner: owner[..octets].to_vec(), rtype, class, ttl, data });
        end = record.data.end;
    }
    assert_eq!(end, left.len());
    Ok(Kept { rewritten, rcode: header.flags & flags::RCODE, sections })
}

const NXDOMAIN: u16 = 3;
const YXDOMAIN: u16 = 6;
const WWW: &str = "www.example.test";

#[test]
fn plain_answers_stay_as_they_are() {
    for source in [ORIGIN, RESOLVER] {
        said(&[a(WWW), a(WWW)], &[], &[opt()]).is_clean(source);
        said(&[a(WWW)], &[ns("example.test", "ns.example.test")], &[a("ns.example.test"), opt()]).is_clean(source);
        said(&[], &[soa("example.test")], &[opt()]).is_clean(source);
        said(&[], &[soa("example.test")], &[]).flags(NXDOMAIN).is_clean(source);
        said(&[cname(WWW, "a.example.test"), a("a.example.test")], &[], &[]).is_clean(source);
        let mail = said(&[mx(WWW, "mail.example.test")], &[], &[a("mail.example.test")]);
        mail.asked(WWW, rtype::MX).is_clean(source);
    }
}

#[test]
fn a_signed_answer_stays_as_it_is() {
    let signed = |rr: Rr, labels| [rr.clone(), Rr { owner: rr.owner, ..sig(".", rr.rtype, labels, "example.test") }];
    let denial = [
        signed(soa("example.test"), 2).to_vec(),
        signed(nsec("a.example.test"), 3).to_vec(),
        signed(nsec("example.test"), 2).to_vec(),
    ]
    .concat();
    said(&[], &denial, &[opt()]).flags(NXDOMAIN).is_clean(ORIGIN);
    let hashed =
        [soa("example.test"), nsec3("abc.example.test"), sig("abc.example.test", rtype::NSEC3, 3, "example.test")];
    said(&[], &hashed, &[]).is_clean(RESOLVER);
    // A wildcard's answer comes with the proof that the name itself is not there.
    let proof = signed(nsec("a.example.test"), 3);
    said(&signed(a(WWW), 2), &proof, &[]).is_clean(ORIGIN);
    // All sets first, their signatures behind them.
    let [one, one_sig] = signed(cname(WWW, "a.example.test"), 3);
    let [two, two_sig] = signed(a("a.example.test"), 3);
    said(&[one.clone(), one_sig.clone(), two_sig.clone(), two.clone()], &[], &[]).is_clean(ORIGIN);
    said(&[one.clone(), two.clone(), one_sig.clone(), two_sig.clone()], &[], &[])
        .becomes(ORIGIN, [&[one, one_sig, two, two_sig], &[], &[]]);
}

#[test]
fn an_answer_to_something_else_is_refused() {
    for source in [ORIGIN, RESOLVER] {
        said(&[a("other.example.test")], &[], &[]).is_refused(source, Why::NotAnAnswer);
        said(&[a("other.example.test")], &[soa("example.test")], &[]).is_refused(source, Why::NotAnAnswer);
        said(&[a("other.example.test")], &[], &[]).flags(NXDOMAIN).is_refused(source, Why::NotAnAnswer);
        said(&[rr(WWW, rtype::TXT, b"\x01x")], &[], &[]).is_refused(source, Why::NotAnAnswer);
        said(&[sig(WWW, rtype::A, 3, "example.test")], &[], &[]).is_refused(source, Why::NotAnAnswer);
        said(&[Rr { class: 3, ..a(WWW) }], &[], &[]).is_refused(source, Why::NotAnAnswer);
        said(&[a(WWW)], &[], &[]).flags(NXDOMAIN).is_refused(source, Why::NotAnAnswer);
        said(&[a(WWW)], &[], &[]).flags(2).is_refused(source, Why::NotAnAnswer);
    }
}

#[test]
fn unrelated_records_of_the_answer_go() {
    let unrelated =
        [a("bank.test"), rr(WWW, rtype::TXT, b"\x01x"), ns("example.test", "evil.test"), soa("example.test")];
    let answer = [&unrelated[..], &[a(WWW)], &unrelated].concat();
    for source in [ORIGIN, RESOLVER] {
        said(&answer, &[], &[]).becomes(source, [&[a(WWW)], &[], &[]]);
    }
    let classes = [a(WWW), Rr { class: 3, ..a(WWW) }];
    said(&classes, &[], &[]).becomes(RESOLVER, [&[a(WWW)], &[], &[]]);
    let lengths = [a(WWW), rr(WWW, rtype::A, &[192, 0, 2]), rr(WWW, rtype::A, &[])];
    said(&lengths, &[], &[]).becomes(RESOLVER, [&[a(WWW)], &[], &[]]);
    let long = [rr(WWW, rtype::AAAA, &[1; 17])];
    said(&long, &[], &[]).asked(WWW, rtype::AAAA).is_refused(RESOLVER, Why::NotAnAnswer);
}

#[test]
fn aliases_come_in_the_order_of_the_chain() {
    let chain = [cname(WWW, "b.example.test"), cname("b.example.test", "c.example.test"), a("c.example.test")];
    said(&chain, &[], &[]).is_clean(RESOLVER);
    for order in [[2, 1, 0], [2, 0, 1], [1, 0, 2]] {
        let shuffled = order.map(|i: usize| chain[i].clone());
        said(&shuffled, &[], &[]).becomes(RESOLVER, [&chain, &[], &[]]);
    }
}

#[test]
fn a_chain_that_does_not_reach_its_data_is_refused() {
    let apart = [cname(WWW, "b.example.test"), a("c.example.test")];
    for source in [ORIGIN, RESOLVER] {
        said(&apart, &[], &[]).is_refused(source, Why::NotAnAnswer);
        said(&apart, &[soa("example.test")], &[]).flags(NXDOMAIN).is_refused(source, Why::NotAnAnswer);
        // Without any data it says that there is none.
        said(&apart[..1], &[soa("example.test")], &[]).is_clean(source);
        said(&apart[..1], &[soa("example.test")], &[]).flags(NXDOMAIN).is_clean(source);
        said(&apart[..1], &[], &[]).is_clean(source);
    }
}

#[test]
fn one_alias_a_name_and_none_beside_data() {
    let two = [cname(WWW, "b.example.test"), cname(WWW, "c.example.test"), a("b.example.test"), a("c.example.test")];
    said(&two, &[], &[]).becomes(RESOLVER, [&[two[0].clone(), two[2].clone()], &[], &[]]);
    let beside = [cname(WWW, "b.example.test"), a("b.example.test"), a(WWW)];
    said(&beside, &[], &[]).becomes(RESOLVER, [&[a(WWW)], &[], &[]]);
    let asked = said(&beside[..1], &[], &[]).asked(WWW, rtype::CNAME);
    asked.is_clean(ORIGIN);
    let any = [cname(WWW, "b.example.test"), sig(WWW, rtype::CNAME, 3, "example.test"), nsec(WWW)];
    said(&any, &[], &[]).asked(WWW, rtype::ANY).is_clean(RESOLVER);
    said(&[&any[..], &[a("b.example.test")]].concat(), &[], &[])
        .asked(WWW, rtype::ANY)
        .becomes(RESOLVER, [&any, &[], &[]]);
}

#[test]
fn loops_end_and_long_chains_are_cut() {
    let round = [cname(WWW, "b.example.test"), cname("b.example.test", WWW)];
    said(&round, &[], &[]).is_clean(RESOLVER);
    said(&[cname(WWW, WWW)], &[], &[]).is_clean(RESOLVER);
    let link = |i: usize| if i == 0 { WWW.to_owned() } else { format!("n{i}.example.test") };
    let chain = |steps: usize| {
        let mut chain: Vec<Rr> = (0..steps).map(|i| cname(&link(i), &link(i + 1))).collect();
        chain.push(a(&link(steps)));
        chain
    };
    said(&chain(CHAIN_STEPS_MAX), &[], &[]).is_clean(RESOLVER);
    said(&chain(CHAIN_STEPS_MAX + 1), &[], &[]).is_refused(RESOLVER, Why::NotAnAnswer);
}

#[test]
fn a_dname_stays_with_the_alias_that_it_makes() {
    let dname_and_alias = [
        dname("example.test", "example.invalid"),
        sig("example.test", rtype::DNAME, 2, "example.test"),
        cname(WWW, "www.example.invalid"),
        a("www.example.invalid"),
    ];
    said(&dname_and_alias, &[], &[]).is_clean(RESOLVER);
    let behind = [2, 0, 1, 3].map(|i: usize| dname_and_alias[i].clone());
    said(&behind, &[], &[]).is_clean(RESOLVER);
    let mut wrong = dname_and_alias.clone();
    wrong[0] = dname("example.test", "elsewhere.invalid");
    said(&wrong, &[], &[]).is_refused(RESOLVER, Why::NotAnAnswer);
    // One that stands above another and made nothing goes, as does one that is not above the name.
    let more =
        [&[dname("test", "invalid2"), dname("b.example.test", "invalid"), dname(WWW, "invalid")], &dname_and_alias[..]]
            .concat();
    said(&more, &[], &[]).becomes(RESOLVER, [&dname_and_alias, &[], &[]]);
    // One at the very name makes nothing of it.
    let beside = [dname(WWW, "example.invalid"), cname(WWW, "a.example.test"), a("a.example.test")];
    said(&beside, &[], &[]).becomes(RESOLVER, [&beside[1..], &[], &[]]);
    // It does not stand for the alias.
    said(&[dname_and_alias[0].clone(), a("www.example.invalid")], &[], &[]).is_refused(RESOLVER, Why::NotAnAnswer);
    let itself = said(&dname_and_alias[..2], &[], &[]).asked("example.test", rtype::DNAME);
    itself.is_clean(ORIGIN);
}

#[test]
fn a_dname_that_makes_the_name_too_long_is_the_answer() {
    let too_long = said(&[dname("example.test", "long.test")], &[], &[]).flags(YXDOMAIN);
    too_long.is_clean(ORIGIN);
    assert_eq!(too_long.scrubbed(ORIGIN).unwrap().rcode, YXDOMAIN);
    said(&[dname("other.test", "long.test")], &[], &[]).flags(YXDOMAIN).is_refused(ORIGIN, Why::NotAnAnswer);
}

#[test]
fn an_origins_word_ends_at_its_suffix() {
    let leaving = [cname(WWW, "a.example.test"), cname("a.example.test", "www.bank.test"), a("www.bank.test")];
    said(&leaving, &[], &[]).is_clean(RESOLVER);
    said(&leaving, &[], &[]).becomes(ORIGIN, [&leaving[..2], &[], &[]]);
    // Nor can it deny the name outside.
    let denied = said(&leaving[..2], &[soa("bank.test")], &[]).flags(NXDOMAIN);
    denied.is_clean(RESOLVER);
    denied.becomes(ORIGIN, [&leaving[..2], &[], &[]]);
    assert_eq!(denied.scrubbed(ORIGIN).unwrap().rcode, 0);
    let without_soa = said(&leaving[..2], &[], &[]).flags(NXDOMAIN);
    without_soa.becomes(ORIGIN, [&leaving[..2], &[], &[]]);
    said(&leaving[..2], &[soa("test")], &[]).becomes(ORIGIN, [&leaving[..2], &[], &[]]);
    let beside = said(&leaving[..2], &[ns("example.test", "ns.example.test")], &[]);
    beside.is_clean(ORIGIN);
}

#[test]
fn the_authority_section_speaks_of_zones_above_the_last_name() {
    let others = [
        soa("bank.test"),
        ns("bank.test", "evil.test"),
        a("www.bank.test"),
        cname("www.bank.test", "evil.test"),
        ds("example.test"),
        nsec("a.example.test"),
        nsec3("abc.example.test"),
        sig("www.bank.test", rtype::A, 3, "bank.test"),
        rr("example.test", rtype::TXT, b"\x01x"),
    ];
    let soa_alone = [soa("example.test")];
    for source in [ORIGIN, RESOLVER] {
        said(&[], &[&others[..], &soa_alone].concat(), &[]).becomes(source, [&[], &soa_alone, &[]]);
        said(&[a(WWW)], &others, &[]).becomes(source, [&[a(WWW)], &[], &[]]);
        // The SOA is that of the last name's zone, not of the first one's.
        let chain = [cname(WWW, "a.sub.example.test")];
        said(&chain, &[soa("sub.example.test")], &[]).is_clean(source);
        said(&chain, &[soa(WWW)], &[]).becomes(source, [&chain, &[], &[]]);
        said(&[], &[soa("example.test"), soa("test")], &[]).becomes(source, [&[], &soa_alone, &[]]);
    }
    let servers = [ns("example.test", "ns.example.test"), ns("test", "ns.test")];
    said(&[a(WWW)], &servers, &[]).becomes(RESOLVER, [&[a(WWW)], &servers[..1], &[]]);
    let above = [ns("test", "ns.test")];
    said(&[a(WWW)], &above, &[]).is_clean(RESOLVER);
    said(&[a(WWW)], &above, &[]).becomes(ORIGIN, [&[a(WWW)], &[], &[]]);
}

#[test]
fn a_route_may_begin_below_the_apex_of_its_zone() {
    let below = Source { suffix_labels: 3, ..ORIGIN };
    let denial = [soa("example.test"), nsec("a.example.test"), sig("a.example.test", rtype::NSEC, 3, "example.test")];
    said(&[], &denial, &[]).flags(NXDOMAIN).is_clean(below);
}

#[test]
fn proofs_are_those_of_zones_of_the_chain() {
    let proof = |signer: &str| [nsec("a.example.test"), sig("a.example.test", rtype::NSEC, 3, signer)];
    said(&[a(WWW)], &proof("example.test"), &[]).is_clean(ORIGIN);
    said(&[a(WWW)], &proof("bank.test"), &[]).becomes(ORIGIN, [&[a(WWW)], &[], &[]]);
    let elsewhere = [nsec("a.bank.test"), sig("a.bank.test", rtype::NSEC, 3, "bank.test")];
    said(&[a(WWW)], &elsewhere, &[]).becomes(RESOLVER, [&[a(WWW)], &[], &[]]);
    // A chain through two zones has the proofs of both.
    let chain = [cname(WWW, "www.bank.test"), a("www.bank.test")];
    said(&chain, &[&proof("example.test")[..], &elsewhere].concat(), &[]).is_clean(RESOLVER);
}

#[test]
fn signatures_fit_the_set_that_they_stand_for() {
    let clean = |signature: Rr| said(&[a(WWW), signature], &[], &[]);
    clean(sig(WWW, rtype::A, 3, "example.test")).is_clean(RESOLVER);
    clean(sig(WWW, rtype::A, 2, "example.test")).is_clean(RESOLVER);
    for (what, bad) in [
        ("more labels than the name", sig(WWW, rtype::A, 4, "example.test")),
        ("a wildcard above the zone", sig(WWW, rtype::A, 1, "example.test")),
        ("another zone", sig(WWW, rtype::A, 3, "bank.test")),
        ("a zone below the name", sig(WWW, rtype::A, 4, "a.www.example.test")),
        ("another type", sig(WWW, rtype::AAAA, 3, "example.test")),
        ("another name", sig("a.example.test", rtype::A, 3, "example.test")),
        ("no signer", rr(WWW, rtype::RRSIG, &[0, 1, 13, 3])),
        ("a compressed signer", rr(WWW, rtype::RRSIG, &[&[0, 1, 13, 3][..], &[0; 14], &[0xc0, 12]].concat())),
    ] {
        let kept = clean(bad).scrubbed(RESOLVER).unwrap();
        assert_eq!((kept.rewritten, &kept.sections[0][..]), (true, &[a(WWW)][..]), "{what}");
    }
    let asterisk = "*.example.test";
    let owner = |labels| said(&[a(asterisk), sig(asterisk, rtype::A, labels, "example.test")], &[], &[]);
    owner(2).asked("*.example.test", rtype::A).is_clean(RESOLVER);
    owner(3).asked("*.example.test", rtype::A).becomes(RESOLVER, [&[a(asterisk)], &[], &[]]);
    let asked = said(&[sig(WWW, rtype::A, 3, "example.test"), sig(WWW, rtype::TXT, 3, "example.test")], &[], &[]);
    asked.asked(WWW, rtype::RRSIG).is_clean(RESOLVER);
}

#[test]
fn additional_records_belong_to_names_that_are_led_to() {
    let mail = [mx(WWW, "mail.example.test"), mx(WWW, "mail.bank.test")];
    let poison = [
        a("www.bank.test"),
        a(WWW),
        rr("mail.example.test", rtype::TXT, b"\x01x"),
        cname("mail.example.test", "evil.test"),
        ns("mail.example.test", "evil.test"),
        sig("www.bank.test", rtype::A, 3, "bank.test"),
    ];
    let good = [a("mail.example.test"), sig("mail.example.test", rtype::A, 3, "example.test")];
    let both = [&good[..], &[a("mail.bank.test")]].concat();
    let asked = |additional: &[Rr]| said(&mail, &[], additional).asked(WWW, rtype::MX);
    asked(&both).is_clean(RESOLVER);
    asked(&both).becomes(ORIGIN, [&mail, &[], &good]);
    asked(&[&poison[..], &both].concat()).becomes(RESOLVER, [&mail, &[], &both]);
    // What was dropped leads nowhere.
    let dropped = [ns("bank.test", "ns.bank.test")];
    said(&[a(WWW)], &dropped, &[a("ns.bank.test")]).becomes(RESOLVER, [&[a(WWW)], &[], &[]]);
    // A service binding with the root for a target is about its owner.
    let binding = rr(WWW, rtype::HTTPS, &[0, 1, 0]);
    said(&[binding], &[], &[a(WWW)]).asked(WWW, rtype::HTTPS).is_clean(ORIGIN);
}

#[test]
fn opt_stays_and_goes_last() {
    let twice = said(&[a(WWW)], &[], &[opt(), opt()]);
    twice.is_refused(RESOLVER, Why::Malformed);
    said(&[a(WWW), opt()], &[], &[]).is_refused(RESOLVER, Why::Malformed);
    said(&[a(WWW)], &[], &[Rr { owner: wire("test"), ..opt() }]).is_refused(RESOLVER, Why::Malformed);
    let key = Rr { class: 255, ttl: 0, ..rr("key.test", rtype::TSIG, b"x") };
    said(&[a(WWW)], std::slice::from_ref(&key), &[]).is_refused(RESOLVER, Why::Malformed);
    let servers = [ns("example.test", "ns.example.test")];
    let glue = a("ns.example.test");
    said(&[a(WWW)], &servers, &[opt(), glue.clone(), a("bank.test"), key])
        .becomes(ORIGIN, [&[a(WWW)], &servers, &[glue, opt()]]);
}

#[test]
fn referrals_are_an_origins_to_cuts_below_its_suffix() {
    let cut =
        [ns("sub.example.test", "ns.sub.example.test"), ns("sub.example.test", "ns.bank.test"), ds("sub.example.test")];
    let glue = [a("ns.sub.example.test")];
    let referral = said(&[], &cut, &glue).asked("www.sub.example.test", rtype::A).flags(0);
    referral.is_clean(ORIGIN);
    referral.is_refused(RESOLVER, Why::LameReferral);
    referral.clone().flags(flags::RA).is_refused(RESOLVER, Why::LameReferral);
    let more = said(&[], &cut, &[&glue[..], &[a("ns.bank.test"), a("evil.sub.example.test")]].concat());
    more.asked("www.sub.example.test", rtype::A).flags(0).becomes(ORIGIN, [&[], &cut, &glue]);
    for (what, owner) in
        [("itself", "example.test"), ("above", "test"), ("the root", "."), ("beside", "sub.example.test")]
    {
        let lame = said(&[], &[ns(owner, "ns.example.test")], &[]).flags(0);
        assert_eq!(lame.scrubbed(ORIGIN).unwrap_err(), Why::LameReferral, "{what}");
    }
    // With AA it says that there is no data (RFC 2308 §2.2).
    said(&[], &[ns("example.test", "ns.example.test")], &[]).is_clean(ORIGIN);
}

#[test]
fn an_empty_message_is_the_word_of_an_authority_or_none() {
    for source in [ORIGIN, RESOLVER] {
        said(&[], &[], &[opt()]).flags(flags::RA).is_refused(source, Why::Empty);
        said(&[], &[soa("bank.test")], &[]).flags(flags::RA).is_refused(source, Why::Empty);
        said(&[], &[], &[opt()]).flags(flags::AA).is_clean(source);
        said(&[], &[], &[opt()]).flags(NXDOMAIN).is_clean(source);
    }
}

#[test]
fn names_are_spelt_out_where_they_pointed_and_the_questions_case_is_not_seen() {
    // The owner and the end of the target point to the question; what is dropped stands between.
    let header = b"\0\x07\x84\0\0\x01\0\x03\0\0\0\0";
    let question = b"\x03wWw\x07eXample\x04Test\0\0\x01\0\x01";
    let alias = b"\xc0\x0c\0\x05\0\x01\0\0\x01\x2c\0\x04\x01B\xc0\x10";
    let other = b"\x01x\xc0\x10\0\x01\0\x01\0\0\x01\x2c\0\x04\xc0\0\x02\x02";
    let address = b"\xc0\x2e\0\x01\0\x01\0\0\x01\x2c\0\x04\xc0\0\x02\x01";
    let message = [&header[..], question, alias, other, address].concat();
    let kept = scrub_octets(&message, WWW, rtype::A, ORIGIN).unwrap();
    assert!(kept.rewritten);
    let b = Rr { owner: b"\x01B\x07example\x04test\0".to_vec(), ..a(".") };
    let alias = Rr { data: b.owner.clone(), ..cname(WWW, ".") };
    assert_eq!(kept.sections, [vec![alias, b], vec![], vec![]]);
    let mut scratch = Vec::new();
    let header = Header::parse(&message).unwrap();
    let left = scrub(&message, header, &wire(WWW), rtype::A, &ORIGIN, &mut scratch);
    let Scrubbed::Rewritten(left) = left else { panic!("{left:?}") };
    assert!(left.len() < message.len(), "names are compressed again");
    assert_eq!(left[HEADER_OCTETS..][..question.len()], question.to_ascii_lowercase());
}

#[test]
fn beyond_its_bounds_a_message_loses_records() {
    // Names that nobody asked for fill the table: the answer behind them is not seen.
    let mut crowd: Vec<Rr> = (1..SCRUB_NAMES_MAX).map(|i| a(&format!("n{i}.example.test"))).collect();
    let chain = [cname(WWW, "b.example.test"), a("b.example.test")];
    crowd.extend(chain.clone());
    said(&crowd, &[], &[]).is_refused(RESOLVER, Why::NotAnAnswer);
    crowd.remove(0);
    said(&crowd, &[], &[]).becomes(RESOLVER, [&chain, &[], &[]]);
}

/// A message that is longer when it is rewritten: records of `rtype` in `section` after `said`, with data of `before` octets and
/// a name of 220, spelt out in the first of them, and pointed to in the others, as no sender may do with this type.
fn swelling(said: &Said, section: usize, count: u16, (rtype, before): (u16, usize)) -> Vec<u8> {
    let long = [&[63][..], &[b'x'; 63], &[63], &[b'y'; 63], &[63], &[b'z'; 63], &wire("example.test")].concat();
    let mut octets = said.octets();
    let mut target = long;
    for i in 0..count {
        let data = [&vec![0; before][..], &target].concat();
        if i == 0 {
            let at = octets.len() + 12 + before;
            target = (0xc000 | at as u16).to_be_bytes().to_vec();
        }
        octets.extend([0xc0, HEADER_OCTETS as u8]);
        octets.extend([rtype.to_be_bytes(), CLASS_IN.to_be_bytes(), [0; 2], [60; 2]].concat());
        octets.extend((data.len() as u16).to_be_bytes());
        octets.extend(data);
    }
    let counts = octets[6 + 2 * section..][..2].first_chunk_mut::<2>().unwrap();
    *counts = (u16::from_be_bytes(*counts) + count).to_be_bytes();
    octets
}

#[test]
fn what_no_longer_fits_a_message_is_refused_or_left_out() {
    let asked = said(&[a("bank.test")], &[], &[]).asked(WWW, rtype::SRV);
    let message = swelling(&asked, 0, 300, (rtype::SRV, 6));
    assert!(message.len() < 8_000);
    assert_eq!(scrub_octets(&message, WWW, rtype::SRV, RESOLVER).unwrap_err(), Why::Malformed);
    // What is only a courtesy is left out, and OPT has its place all the same.
    let binding = rr(WWW, rtype::HTTPS, &[0, 1, 0]);
    let long_opt = Rr { data: [&[0xff, 0xfe, 1, 0xf4][..], &[7; 500]].concat(), ..opt() };
    let asked = said(&[binding], &[], &[long_opt.clone(), a("bank.test")]).asked(WWW, rtype::HTTPS);
    let message = swelling(&asked, 2, 300, (rtype::HTTPS, 2));
    let kept = scrub_octets(&message, WWW, rtype::HTTPS, RESOLVER).unwrap();
    let [.., last] = &kept.sections[2][..] else { panic!("nothing is left") };
    assert_eq!(*last, long_opt);
    assert!((200..300).contains(&kept.sections[2].len()), "{}", kept.sections[2].len());
}

#[test]
fn octets_that_are_no_message_are_refused() {
    let whole = said(&[a(WWW)], &[ns("example.test", "ns.example.test")], &[a("bank.test"), opt()]).octets();
    let header = Header::parse(&whole).unwrap();
    let mut scratch = Vec::new();
    for cut in 0..whole.len() {
        let left = scrub(&whole[..cut], header, &wire(WWW), rtype::A, &RESOLVER, &mut scratch);
        assert_eq!(left, Scrubbed::Refused(Why::Malformed), "{cut}");
    }
    let without_records = said(&[], &[], &[]).octets();
    let header = Header::parse(&without_records).unwrap();
    let short = &without_records[..without_records.len() - 1];
    let left = scrub(short, header, &wire(WWW), rtype::A, &RESOLVER, &mut scratch);
    assert_eq!(left, Scrubbed::Refused(Why::Malformed));
}

/// Addresses of the name asked for, with pointers to it, and an OPT record.
fn addresses(qtype: u16, count: u16, with_opt: bool) -> Vec<u8> {
    let octets: u8 = if qtype == rtype::A { 4 } else { 16 };
    let mut message = Said { qtype, ..said(&[], &[], &[]) }.octets();
    for _ in 0..count {
        message
            .extend([&[0xc0, 12, 0, qtype as u8, 0, 1, 0, 0, 1, 44, 0, octets][..], &vec![7; octets.into()]].concat());
    }
    message[7] = count as u8;
    if with_opt {
        message.extend(b"\0\0\x29\x04\xd0\0\0\0\0\0\x06\0\x0f\0\x02\0\0");
        message[11] = 1;
    }
    message
}

#[test]
fn addresses_alone_are_seen_at_once_and_taken_as_the_walk_would() {
    let name = wire("www.example.test");
    let question_end = HEADER_OCTETS + name.len() + 4;
    let at_once = |message: &[u8], qtype| {
        let header = Header::parse(message).unwrap();
        let at_once =
            rcode(header) == Some(Rcode::NoError) && has_addresses_alone(message, header, question_end, qtype);
        for source in [ORIGIN, RESOLVER].iter().filter(|_| at_once) {
            let (mut scratch, code) = (Vec::new(), Rcode::NoError);
            let sifted = sift(message, header, code, &name, qtype, source, &mut scratch);
            assert_eq!(sifted, Scrubbed::Clean(message), "{message:?}");
        }
        at_once
    };
    for (qtype, count, with_opt) in [(rtype::A, 1, true), (rtype::A, 3, false), (rtype::AAAA, 2, true)] {
        let message = addresses(qtype, count, with_opt);
        assert!(at_once(&message, qtype));
        assert!(!at_once(&message, rtype::TXT) && !at_once(&message, rtype::A + rtype::AAAA - qtype));
        let mut same = 0;
        for at in (2..HEADER_OCTETS).chain(question_end..message.len()) {
            for octet in [0, 1, 2, 4, 5, 12, 13, 16, 28, 41, 46, 0x80, 0xc0, 0xff] {
                let mut other = message.clone();
                other[at] = octet;
                same += usize::from(at_once(&other, qtype));
            }
        }
        assert!(same > 200, "TTLs, addresses and options may be any: {same}");
        for end in question_end..message.len() {
            assert!(!at_once(&message[..end], qtype), "{end}");
        }
        assert!(at_once(&[&message[..], b"more"].concat(), qtype), "what follows the records is nobody's");
    }
    assert!(!at_once(&addresses(rtype::A, 0, true), rtype::A), "without data it is a denial, or nothing");
}
