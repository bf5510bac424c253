use super::*;
use crate::wire::name::HashKey;
use crate::wire::rdata::rtype;
use crate::zone::image::Node;
use crate::zone::{Builder, nsec3};

/// 15 January 2026.
const NOW: u32 = 1_768_435_200;
const BEGIN: &str = "20260101000000";
const END: &str = "20260301000000";
/// A key made for this, and its tag.
const KEY: &str = "256 3 13 BdotpSL/Cq99ke1JxYGjuj5x9N4USmU7WdXt+QrJA1m4HC/4Cp+Cxm8oune08UQ5pph+iFp27MzuBVL2M1DtBA==";
const TAG: u16 = 41_492;

/// A zone with nothing wrong.
const ZONE: &str = "\
$TTL 3600
@ SOA ns hostmaster 7 3600 600 86400 3600
@ NS ns
@ MX 10 mail
ns A 192.0.2.1
mail AAAA 2001:db8::1
a.ent TXT x
*.wild A 192.0.2.2
alias CNAME www.example.org.
away DNAME example.org.
signed NS ns.signed
signed DS 1 13 2 e2d523f654b9422a96c5a8f44607bbeee2d523f654b9422a96c5a8f44607bbee
ns.signed A 192.0.2.3
plain NS ns.example.org.
x.deep NS ns.example.org.
";

fn image(text: &str) -> Image {
    let apex: Name = "example.test".parse().unwrap();
    let mut builder = Builder::new(apex.clone(), HashKey::from_seed([9; 16]));
    let mut include = |_: &str, _: &str| Err("no file".to_owned());
    let mut take = |record: crate::zone::file::Record<'_>| {
        builder.push(record.owner, record.rtype, record.ttl, record.rdata, record.place)
    };
    crate::zone::file::read(&apex, "zone", text.as_bytes(), &mut include, &mut take).unwrap();
    builder.finish().unwrap()
}

fn found(text: &str) -> Vec<String> {
    check(&image(text), Some(NOW)).iter().map(ToString::to_string).collect()
}

/// Each case: what is added to a zone with nothing wrong, what is said of it, and what may be added without a word.
fn said_of_additions(cases: &[(&str, &str, &str)]) {
    assert_eq!(found(ZONE), [""; 0]);
    for (added, said, near_miss) in cases {
        let list = found(&format!("{ZONE}{added}\n"));
        assert!(list.len() == 1 && list[0].starts_with(said), "{added:?}: {list:#?}");
        assert_eq!(found(&format!("{ZONE}{near_miss}\n")), [""; 0], "{near_miss:?}");
    }
}

#[test]
fn name_servers_have_addresses_and_are_no_aliases() {
    said_of_additions(&[
        (
            "sub NS ns.sub",
            "error: sub.example.test.: the name server ns.sub.example.test. lies in the zone that it serves",
            "sub NS ns.sub\nns.sub AAAA 2001:db8::2",
        ),
        ("sub NS sub", "error: sub.example.test.: the name server sub.", "sub NS sub\nsub A 192.0.2.2"),
        (
            "sub NS b.signed",
            "warning: sub.example.test.: the name server b.signed.example.test. lies below the zone cut signed.",
            "sub NS b.signed\nb.signed A 192.0.2.9",
        ),
        ("sub NS none", "warning: sub.example.test.: the name server none.example.test. has no", "sub NS x.wild"),
        ("@ NS a.ent", "error: example.test.: the name server a.ent.example.test. has no address", "@ NS mail"),
        (
            "sub NS alias",
            "error: sub.example.test.: the name server alias.example.test. is an alias",
            "sub NS away.test.",
        ),
        (
            "sub NS x.away",
            "error: sub.example.test.: the name server x.away.example.test. lies below the DN",
            "sub NS ns",
        ),
    ]);
}

#[test]
fn mail_and_service_targets_have_addresses_and_are_no_aliases() {
    said_of_additions(&[
        ("m MX 1 none", "warning: m.example.test.: the target none.example.test. of an MX has no", "m MX 1 mail"),
        ("m MX 1 alias", "warning: m.example.test.: the target alias.example.test. of an MX is an alias", "m MX 0 ."),
        ("_x._tcp SRV 0 0 1 a.ent", "warning: _x._tcp.example.test.: the target a.ent.", "_x._tcp SRV 0 0 1 ."),
        ("m MX 1 x.away", "warning: m.example.test.: the target x.away.example.test. of an MX lies", "m MX 1 a.plain"),
    ]);
}

#[test]
fn data_that_is_never_served_is_found() {
    said_of_additions(&[
        ("t.signed TXT x", "warning: t.signed.example.test.: TXT is never served: the name lies below", "t TXT x"),
        ("sub.signed NS ns", "warning: sub.signed.example.test.: NS is never served", "sub.signe NS ns"),
        ("signed MX 1 mail", "warning: signed.example.test.: MX is never served: the name is delegated", "b MX 1 mail"),
        ("x.away A 192.0.2.1", "error: x.away.example.test.: A is never served: nothing may exist", "away A 192.0.2.1"),
        ("b.signed A 192.0.2.9", "warning: b.signed.example.test.: the address is never served", "b A 192.0.2.9"),
        (
            "signed A 192.0.2.9",
            "warning: signed.example.test.: the address is never served",
            "signed A 192.0.2.9\nplain NS signed",
        ),
    ]);
}

#[test]
fn types_at_the_wrong_place_are_found() {
    let ds = format!("DS 1 13 2 {}", "ab".repeat(32));
    let (at_apex, alone, right) = (format!("@ {ds}"), format!("mail {ds}"), format!("plain {ds}"));
    let key = format!("mail DNSKEY {KEY}");
    said_of_additions(&[
        (&at_apex, "error: example.test.: a DS at the apex", &right),
        (&alone, "error: mail.example.test.: a DS without NS", &right),
        ("*.w NS ns", "warning: *.w.example.test.: a NS at a wildcard", "w NS ns"),
        ("*.w DNAME a.test.", "warning: *.w.example.test.: a DNAME at a wildcard", "w DNAME a.test."),
        (&key, "warning: mail.example.test.: a DNSKEY means nothing", "mail TXT x"),
        ("mail NSEC3PARAM 1 0 0 -", "warning: mail.example.test.: a NSEC3PARAM means", "@ NSEC3PARAM 1 0 0 -"),
    ]);
}

#[test]
fn the_soa_is_looked_at() {
    for (soa, said) in [
        ("none hostmaster 7 3600 600 86400 3600", "the SOA's first server none.example.test. has no address"),
        ("ns a@example.org. 7 3600 600 86400 3600", "the SOA's mailbox a\\@example.org. is none"),
        ("ns . 7 3600 600 86400 3600", "the SOA's mailbox . is none"),
        ("ns hostmaster 7 3600 600 4199 3600", "the SOA's expire 4199 is less than"),
        ("ns hostmaster 7 600 601 86400 3600", "the SOA's retry 601 is longer"),
        ("ns hostmaster 7 0 0 86400 3600", "the SOA's refresh or retry is 0"),
        ("ns hostmaster 7 3600 600 86400 86401", "the SOA's minimum 86401"),
    ] {
        let list = found(&ZONE.replace("ns hostmaster 7 3600 600 86400 3600", soa));
        assert!(list.len() == 1 && list[0].starts_with(&format!("warning: example.test.: {said}")), "{soa}: {list:#?}");
    }
    let near = ["x.example.org. hostmaster 7 3600 600 86400 3600", "ns hostmaster 7 600 600 1200 86400"];
    for soa in near {
        assert_eq!(found(&ZONE.replace("ns hostmaster 7 3600 600 86400 3600", soa)), [""; 0], "{soa}");
    }
}

#[test]
fn what_is_kept_is_bounded() {
    let many: String = (0..150).map(|at| format!("m{at} MX 1 none\nd{at} DS 1 13 2 {}\n", "ab".repeat(32))).collect();
    let findings = check(&image(&format!("{ZONE}{many}")), None);
    assert_eq!((findings.errors(), findings.warnings(), findings.left_out()), (150, 150, 100));
    let severities: Vec<Severity> = findings.iter().map(|finding| finding.severity).collect();
    assert_eq!(severities.len(), 2 * FINDINGS_MAX);
    assert!(severities.is_sorted());
}

/// How a zone denies.
#[derive(Clone, Copy, PartialEq)]
enum Chain {
    Nsec,
    Nsec3 { opt_out: bool },
}

/// The lines of `ZONE`, with `added` ones, signed as a signer would, but for the signatures' octets.
fn signed(added: &str, chain: Chain) -> Vec<String> {
    let parameters = if chain == Chain::Nsec { "" } else { "@ NSEC3PARAM 1 0 0 -\n" };
    let text = format!("{ZONE}@ DNSKEY {KEY}\n{parameters}{added}");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let image = image(&text);
    let signature = |node: &Node<'_>, rtype: &dyn fmt::Display, labels: usize| {
        let labels = labels - usize::from(node.name().starts_with(b"\x01*"));
        format!("{node:?} RRSIG {rtype} 13 {labels} 3600 {END} {BEGIN} {TAG} example.test. AAAA")
    };
    let names: Vec<Node<'_>> = image.nodes().filter(|node| !node.is_occluded()).collect();
    let mut links: Vec<(String, Node<'_>, String)> = Vec::new();
    for node in &names {
        let mut types: Vec<u16> = node.rrsets().map(|set| set.rtype).collect();
        types.retain(|rtype| !node.is_cut() || matches!(*rtype, rtype::NS | rtype::DS));
        let answered = types.iter().filter(|rtype| !node.is_cut() || **rtype == rtype::DS);
        let signatures: Vec<String> =
            answered.map(|rtype| signature(node, &Rtype::from_int(*rtype), node.labels())).collect();
        if !signatures.is_empty() {
            types.push(rtype::RRSIG);
        }
        lines.extend(signatures);
        let types: String = types.iter().map(|rtype| format!(" {}", Rtype::from_int(*rtype))).collect();
        links.push((base32(&nsec3::hash(node.name(), &[], 0)), *node, types));
    }
    match chain {
        Chain::Nsec => {
            links.retain(|(_, node, _)| !node.is_empty());
            for (at, (_, node, types)) in links.iter().enumerate() {
                let (_, next, _) = &links[(at + 1) % links.len()];
                let types = types.replace(" RRSIG", "");
                lines.push(format!("{node:?} NSEC {next:?}{types} RRSIG NSEC"));
                lines.push(signature(node, &"NSEC", node.labels()));
            }
        }
        Chain::Nsec3 { opt_out } => {
            let insecure = ["plain", "x.deep", "deep"].map(|name| format!("{name}.example.test."));
            links.retain(|(_, node, _)| !opt_out || !insecure.contains(&format!("{node:?}")));
            links.sort_by(|a, b| a.0.cmp(&b.0));
            for (at, (hash, node, types)) in links.iter().enumerate() {
                let (next, ..) = &links[(at + 1) % links.len()];
                lines.push(format!("{hash}.example.test. NSEC3 1 {} 0 - {next}{types} ; {node:?}", u8::from(opt_out)));
                lines.push(format!(
                    "{hash}.example.test. RRSIG NSEC3 13 3 3600 {END} {BEGIN} {TAG} example.test. AAAA ; {node:?}"
                ));
            }
        }
    }
    lines
}

fn base32(octets: &[u8]) -> String {
    let bit = |at: usize| octets[at / 8] >> (7 - at % 8) & 1;
    let digit = |at: usize| (0..5).fold(0, |digit, i| digit << 1 | u32::from(bit(at + i)));
    (0..octets.len() * 8).step_by(5).map(|at| char::from_digit(digit(at), 32).unwrap()).collect()
}

/// The lines with `from` replaced by `to` in the one line that begins with `begin`.
fn edited(lines: &[String], begin: &str, from: &str, to: &str) -> String {
    let mut hits = 0;
    let mut text = String::new();
    for line in lines {
        let is_it = line.starts_with(begin) && line.contains(from);
        hits += usize::from(is_it);
        text += &if is_it { line.replacen(from, to, 1) } else { line.clone() };
        text.push('\n');
    }
    assert_eq!(hits, 1, "{begin} … {from}");
    text
}

/// The lines without those that begin with one of `begins`.
fn without(lines: &[String], begins: &[&str]) -> String {
    let kept: Vec<&str> =
        lines.iter().map(String::as_str).filter(|line| !begins.iter().any(|begin| line.starts_with(begin))).collect();
    assert!(kept.len() < lines.len(), "{begins:?}");
    kept.join("\n")
}

#[test]
fn well_signed_zones_have_no_findings() {
    for chain in [Chain::Nsec, Chain::Nsec3 { opt_out: false }, Chain::Nsec3 { opt_out: true }] {
        assert_eq!(found(&signed("", chain).join("\n")), [""; 0]);
    }
}

#[test]
fn signatures_that_are_of_no_use_are_found() {
    let lines = signed("", Chain::Nsec);
    let ns = "ns.example.test. RRSIG A ";
    let at = "error: ns.example.test.: the signature over A ";
    for (from, to, said) in [
        (END, "20260110000000", "ended 5 days ago"),
        (BEGIN, "20260115060000", "begins only in 6 hours"),
        ("41492", "41493", "is by key 41493 of algorithm 13, of which there is no DNSKEY"),
        ("A 13", "A 8", "is by key 41492 of algorithm 8"),
        ("example.test. AAAA", "test. AAAA", "is by test., which is not the zone"),
        ("13 3", "13 4", "is for 4 labels, and the owner has 3"),
        ("13 3", "13 2", "is for 2 labels, and the owner has 3"),
    ] {
        let list = found(&edited(&lines, ns, from, to));
        assert!(list.len() == 1 && list[0].starts_with(&format!("{at}{said}")), "{to}: {list:#?}");
        // Beside a good one it is a leftover.
        let good = lines.iter().find(|line| line.starts_with(ns)).unwrap();
        let list = found(&format!("{}{good}\n", edited(&lines, ns, from, to)));
        let at = at.replace("error", "warning");
        assert!(list.len() == 1 && list[0].starts_with(&format!("{at}{said}")), "{to}: {list:#?}");
    }
    let missing = found(&without(&lines, &[ns]));
    assert!(missing.contains(&"error: ns.example.test.: the A has no signature".to_owned()), "{missing:#?}");
    // Without a time, times are not looked at.
    let ended = image(&edited(&lines, ns, END, "20260110000000"));
    assert_eq!(check(&ended, None).iter().count(), 0);
}

#[test]
fn signatures_that_end_soon_are_told_once() {
    let text = signed("", Chain::Nsec).join("\n").replace(END, "20260121000000");
    let list = found(&text);
    assert_eq!(list.len(), 1, "{list:#?}");
    assert!(list[0].contains("ends in 6 days, the first of ") && list[0].starts_with("warning: "), "{list:#?}");
    assert_eq!(found(&text.replace("20260121000000", "20260122000001")), [""; 0]);
    let one = edited(&signed("", Chain::Nsec), "ns.example.test. RRSIG A ", END, "20260115010000");
    assert_eq!(found(&one), ["warning: ns.example.test.: the signature over A ends in 60 minutes; sign the zone anew"]);
}

#[test]
fn signatures_at_the_wrong_place_are_found() {
    let lines = signed("", Chain::Nsec);
    let signature = |owner: &str, rtype: &str, labels: u8| {
        let text = lines.join("\n");
        let line = format!("{owner} RRSIG {rtype} 13 {labels} 3600 {END} {BEGIN} {TAG} example.test. AAAA");
        found(&format!("{text}\n{line}\n"))
    };
    let not_ours = "for which the zone does not answer";
    for (owner, rtype, labels) in [("signed", "NS", 3), ("ns.signed", "A", 4)] {
        let list = signature(owner, rtype, labels);
        let expected = format!("warning: {owner}.example.test.: a signature over {rtype}, {not_ours}");
        assert_eq!(list, [expected]);
    }
    assert_eq!(signature("ns", "TXT", 3), ["warning: ns.example.test.: a signature over TXT, which is not there"]);
    let list = found(&edited(&lines, "ns.example.test. RRSIG A ", "3 3600", "3 7200"));
    assert_eq!(list, ["warning: ns.example.test.: the TTL of the A is 3600, and was 7200 when it was signed"]);
    let list = found(&without(&lines, &["@ DNSKEY", "example.test. RRSIG DNSKEY"]));
    assert_eq!(list, ["error: example.test.: a signature, and the zone has no DNSKEY at its apex to verify it"]);
    let list = found(&format!("{ZONE}@ DNSKEY {KEY}\n"));
    assert_eq!(list, ["warning: example.test.: the zone has a DNSKEY and is not signed"]);
}

#[test]
fn gaps_and_lies_of_an_nsec_chain_are_found() {
    let lines = signed("", Chain::Nsec);
    let one = |text: &str, said: &str| {
        let list = found(text);
        assert!(list.len() == 1 && list[0].starts_with(said), "{said}: {list:#?}");
    };
    let mail = "mail.example.test.";
    one(
        &edited(&lines, "mail.example.test. NSEC", "ns.example.test.", "nt.example.test."),
        "error: mail.example.test.: its NSEC record leads to nt.example.test., the next name is ns.example.test.",
    );
    one(
        &edited(&lines, "*.wild.example.test. NSEC", "example.test. A", "mail.example.test. A"),
        "error: *.wild.example.test.: its NSEC record leads to mail.example.test., the next name is example.test.",
    );
    one(
        &edited(&lines, "mail.example.test. NSEC", "AAAA ", "A AAAA "),
        "error: mail.example.test.: its NSEC record lists A, which is not there",
    );
    one(
        &edited(&lines, "mail.example.test. NSEC", "AAAA ", ""),
        "error: mail.example.test.: its NSEC record does not list AAAA, which is there",
    );
    one(
        &edited(&lines, "signed.example.test. NSEC", "NS DS", "NS DS TXT"),
        "error: signed.example.test.: its NSEC record lists TXT, which is not there",
    );
    let gone = without(&lines, &[&format!("{mail} NSEC"), &format!("{mail} RRSIG NSEC")]);
    one(&gone, "error: mail.example.test.: has no NSEC record");
    one(
        &format!("{}\n{mail} NSEC ns.example.test. TXT\n", lines.join("\n")),
        "error: mail.example.test.: has more than one NSEC record",
    );
    let nsec = |owner: &str, labels: u8| {
        let signature = format!("{owner} RRSIG NSEC 13 {labels} 3600 {END} {BEGIN} {TAG} example.test. AAAA");
        found(&format!("{}\n{owner} NSEC example.test. RRSIG NSEC\n{signature}\n", lines.join("\n")))
    };
    let expected = "error: ns.signed.example.test.: an NSEC record at a name for which the zone does not answer";
    assert!(nsec("ns.signed", 4).contains(&expected.to_owned()));
    let expected = "error: ent.example.test.: an NSEC record at a name that has no other data";
    assert!(nsec("ent", 3).contains(&expected.to_owned()));
    let apex = without(&lines, &["example.test. NSEC", "example.test. RRSIG NSEC"]);
    one(&apex, "error: example.test.: the zone is signed, and its apex has neither NSEC nor");
}

#[test]
fn gaps_and_lies_of_an_nsec3_chain_are_found() {
    let lines = signed("", Chain::Nsec3 { opt_out: false });
    let owner_of = |name: &str| {
        let wire = name.parse::<Name>().unwrap();
        format!("{}.example.test.", base32(&nsec3::hash(wire.as_wire(), &[], 0)))
    };
    let has = |text: &str, severity: &str, owner: &str, said: &str| {
        let list = found(text);
        let expected = format!("{severity}: {owner}: {said}");
        assert!(list.iter().any(|finding| finding.starts_with(&expected)), "{expected}: {list:#?}");
    };
    for name in ["mail.example.test.", "ent.example.test.", "deep.example.test.", "plain.example.test."] {
        let owner = owner_of(name);
        let gone = without(&lines, &[&owner]);
        has(&gone, "error", name, "has no NSEC3 record");
        assert_eq!(found(&gone).len(), 2, "and the one before leads nowhere");
    }
    let mail = owner_of("mail.example.test.");
    has(
        &edited(&lines, &format!("{mail} NSEC3"), " AAAA", " A"),
        "error",
        "mail.example.test.",
        "its NSEC3 record does not list AAAA, which is there",
    );
    has(
        &edited(&lines, &format!("{} NSEC3", owner_of("ent.example.test.")), " ;", " TXT ;"),
        "error",
        "ent.example.test.",
        "its NSEC3 record lists TXT, which is not there",
    );
    has(
        &edited(&lines, &format!("{mail} NSEC3"), "1 0 0", "1 2 0"),
        "error",
        &mail,
        "its NSEC3 record has unknown flags 2",
    );
    let stray = owner_of("nobody.example.test.");
    let text = format!("{}\n{stray} NSEC3 1 0 0 - {} A RRSIG\n", lines.join("\n"), base32(&[0; 20]));
    has(&text, "error", &stray, "an NSEC3 record whose hash is that of no name");
    has(&text, "error", &stray, "its NSEC3 record does not lead to the next one");
    has(&text, "error", &stray, "the NSEC3 has no signature");
    let other = format!("{}\n{stray} NSEC3 1 0 5 - {} A RRSIG\n", lines.join("\n"), base32(&[0; 20]));
    has(&other, "warning", &stray, "an NSEC3 record of a chain that no usable NSEC3PARAM names");
    let both = format!("{}\nmail NSEC ns AAAA RRSIG NSEC\n", lines.join("\n"));
    has(&both, "warning", "mail.example.test.", "an NSEC record in a zone that has NSEC3 records");
}

#[test]
fn opt_out_covers_unsigned_delegations_alone() {
    let lines = signed("", Chain::Nsec3 { opt_out: true });
    let mail = base32(&nsec3::hash("mail.example.test.".parse::<Name>().unwrap().as_wire(), &[], 0));
    let list = found(&without(&lines, &[&mail]));
    assert!(list.contains(&"error: mail.example.test.: has no NSEC3 record".to_owned()), "{list:#?}");
    let list = found(&lines.join("\n").replace(" NSEC3 1 1 ", " NSEC3 1 0 "));
    let names = ["deep", "x.deep", "plain"];
    assert_eq!(list.len(), names.len(), "{list:#?}");
    for name in names {
        assert!(list.contains(&format!("error: {name}.example.test.: has no NSEC3 record")), "{list:#?}");
    }
}

#[test]
fn iterations_and_salt_are_warned_of() {
    let apex = "example.test".parse::<Name>().unwrap();
    for (parameters, said) in [
        ("1 0 1 -", vec!["NSEC3 with 1 iterations; sign"]),
        ("1 0 101 -", vec!["NSEC3 with 101 iterations: validators"]),
        ("1 0 0 AB", vec!["NSEC3 with a salt"]),
        ("1 0 100 AB", vec!["NSEC3 with 100 iterations; sign", "NSEC3 with a salt"]),
    ] {
        let iterations: u16 = parameters.split(' ').nth(2).unwrap().parse().unwrap();
        let salt: &[u8] = if parameters.ends_with('-') { &[] } else { &[0xab] };
        let hash = base32(&nsec3::hash(apex.as_wire(), salt, iterations));
        let sign = |owner: &str, rtype: &str, labels: u8| {
            format!("{owner} RRSIG {rtype} 13 {labels} 3600 {END} {BEGIN} {TAG} example.test. AAAA\n")
        };
        let mut text = format!(
            "$TTL 3600\n@ SOA a.test. h 1 3600 600 86400 60\n@ NS ns.test.\n@ DNSKEY {KEY}\n@ NSEC3PARAM {parameters}\n\
             {hash} NSEC3 {parameters} {hash} NS SOA RRSIG DNSKEY NSEC3PARAM\n"
        );
        for rtype in ["SOA", "NS", "DNSKEY", "NSEC3PARAM"] {
            text += &sign("@", rtype, 2);
        }
        text += &sign(&hash, "NSEC3", 3);
        let list = found(&text);
        assert_eq!(list.len(), said.len(), "{list:#?}");
        for (finding, said) in list.iter().zip(said) {
            assert!(finding.starts_with(&format!("warning: example.test.: {said}")), "{finding}");
        }
    }
}
