//! What master files say, and what is said of the mistakes in them. Record data by type: `tests/zonefile.rs`.

use super::*;

/// `OWNER TTL TYPE HEX @ FILE:LINE:COLUMN` for each record.
fn read_with(files: &[(&str, &[u8])]) -> (Vec<String>, Result<Summary, Vec<Fault>>) {
    let apex = Name::from_wire(b"\x07example\x00").unwrap();
    let mut records = Vec::new();
    let mut open = |path: &str, _: &str| {
        let found = files.iter().find(|(name, _)| *name == path);
        found.map(|(name, text)| ((*name).to_owned(), text.to_vec())).ok_or("no such file".to_owned())
    };
    let mut take = |record: Record<'_>| {
        let hex: String = record.rdata.iter().map(|octet| format!("{octet:02x}")).collect();
        let Place { file, line, column } = record.place;
        let owner = record.owner.escape_ascii();
        records.push(format!("{owner} {} {} {hex} @ {file}:{line}:{column}", record.ttl, record.rtype));
        if record.rdata == [9, 9, 9, 9] { Err("no nines".to_owned()) } else { Ok(()) }
    };
    let read = read(&apex, files[0].0, files[0].1, &mut open, &mut take);
    (records, read)
}

fn records(text: &str) -> Vec<String> {
    let (records, read) = read_with(&[("zone", text.as_bytes())]);
    assert_eq!(read.map(|summary| summary.records), Ok(records.len() as u64), "{text}");
    records
}

/// Owners and TTLs alone.
fn owners(text: &str) -> Vec<String> {
    let short = |record: String| record.split(' ').take(2).collect::<Vec<_>>().join(" ");
    records(text).into_iter().map(short).collect()
}

fn faults(text: &[u8]) -> Vec<String> {
    let (_, read) = read_with(&[("zone", text)]);
    read.expect_err("a mistake").iter().map(Fault::to_string).collect()
}

#[test]
fn a_record_is_owner_ttl_class_type_and_data() {
    let expected = [r"\x03www\x07example\x00 60 1 c0000201 @ 0:1:1"];
    for text in [
        "www 60 IN A 192.0.2.1\n",
        "www IN 60 A 192.0.2.1",
        "www 1m a 192.0.2.1\r\n",
        "www\t60\tClass1\tTYPE1\t\\# 4 C0 00 0201",
        "www.example. 60 in type1 192.0.2.1 ; a comment",
        "www ( 60\n IN ; a comment (\n A )\t192.0.2.1",
        "\u{FEFF}www 60 A 192.0.2.1",
    ] {
        assert_eq!(records(text), expected, "{text}");
    }
}

#[test]
fn owners_are_relative_absolute_the_origin_or_the_last_one() {
    let text = "$TTL 5\n@ A 192.0.2.1\n A 192.0.2.2\n\n ; nothing\nWww A 192.0.2.3\n\tA 192.0.2.4\n\
                a.b. A 192.0.2.5\n*._x A 192.0.2.6\n\\000\\. A 192.0.2.7\n\\$x A 192.0.2.8\n\
                (y) A 192.0.2.9\n. A 192.0.2.10\n";
    let expected = [
        r"\x07example\x00 5",
        r"\x07example\x00 5",
        r"\x03Www\x07example\x00 5",
        r"\x03Www\x07example\x00 5",
        r"\x01a\x01b\x00 5",
        r"\x01*\x02_x\x07example\x00 5",
        r"\x02\x00.\x07example\x00 5",
        r"\x02$x\x07example\x00 5",
        r"\x01y\x07example\x00 5",
        r"\x00 5",
    ];
    assert_eq!(owners(text), expected);
}

#[test]
fn origins_are_absolute_or_relative_to_the_one_before() {
    let text =
        "$ttl 5\n$ORIGIN a\nw A 192.0.2.1\n$Origin b ; c\n@ A 192.0.2.1\n$ORIGIN c.\nw A 192.0.2.1\n A 192.0.2.1\n";
    let expected =
        [r"\x01w\x01a\x07example\x00 5", r"\x01b\x01a\x07example\x00 5", r"\x01w\x01c\x00 5", r"\x01w\x01c\x00 5"];
    assert_eq!(owners(text), expected);
}

#[test]
fn a_missing_ttl_is_the_default_then_the_last_then_the_minimum() {
    let ttls = |text: &str| -> Vec<String> {
        owners(text).iter().map(|record| record.split(' ').next_back().unwrap().to_owned()).collect()
    };
    let soa = "SOA a b 1 2h 3 4 1d";
    assert_eq!(
        ttls("a 1h A 192.0.2.1\na A 192.0.2.2\na 2h30m A 192.0.2.3\na A 192.0.2.4"),
        ["3600", "3600", "9000", "9000"]
    );
    assert_eq!(
        ttls("a 7 A 192.0.2.1\n$TTL 1W\na A 192.0.2.2\na 9 A 192.0.2.3\na A 192.0.2.4"),
        ["7", "604800", "9", "604800"]
    );
    assert_eq!(ttls(&format!("@ {soa}\na A 192.0.2.1\na 5 A 192.0.2.1\na A 192.0.2.1")), ["86400", "86400", "5", "5"]);
    assert_eq!(ttls(&format!("@ 8 {soa}\na A 192.0.2.1")), ["8", "8"]);
    assert_eq!(ttls("a 2147483647 A 192.0.2.1\na 0 A 192.0.2.2"), ["2147483647", "0"]);
}

#[test]
fn included_files_have_an_origin_and_an_owner_of_their_own() {
    let zone =
        b"$TTL 1\na A 192.0.2.1\n$INCLUDE \"sub file\" below ; c\n A 192.0.2.4\nb A 192.0.2.5\n$INCLUDE sub\\ file";
    let sub = b" A 192.0.2.2\n$ORIGIN x.\n$TTL 2\nc A 192.0.2.3";
    let (records, read) = read_with(&[("zone", zone), ("sub file", sub)]);
    let expected = [
        r"\x01a\x07example\x00 1 1 c0000201 @ 0:2:1",
        r"\x01a\x07example\x00 1 1 c0000202 @ 1:1:2",
        r"\x01c\x01x\x00 2 1 c0000203 @ 1:4:1",
        r"\x01a\x07example\x00 2 1 c0000204 @ 0:4:2",
        r"\x01b\x07example\x00 2 1 c0000205 @ 0:5:1",
        r"\x01b\x07example\x00 2 1 c0000202 @ 1:1:2",
        r"\x01c\x01x\x00 2 1 c0000203 @ 1:4:1",
    ];
    assert_eq!(records, expected);
    assert_eq!(read.unwrap().files, ["zone", "sub file"]);
}

#[test]
fn the_origin_of_an_include_holds_in_the_included_file() {
    let (records, _) = read_with(&[("zone", b"$TTL 1\n$INCLUDE f sub\nb A 192.0.2.5"), ("f", b"c A 192.0.2.3\n")]);
    assert_eq!(records[0], r"\x01c\x03sub\x07example\x00 1 1 c0000203 @ 1:1:1");
    assert_eq!(records[1], r"\x01b\x07example\x00 1 1 c0000205 @ 0:3:1");
}

#[test]
fn includes_are_bounded_and_loops_are_named() {
    let (_, read) = read_with(&[("zone", b"$INCLUDE a"), ("a", b"\n$INCLUDE b"), ("b", b" $X\n$INCLUDE a")]);
    let faults: Vec<String> = read.unwrap_err().iter().map(Fault::to_string).collect();
    assert!(faults[0].starts_with("b:1:2: white space before a directive"), "{faults:?}");
    assert_eq!(faults[1], "b:2:10: an include loop: a includes b includes a; expected $INCLUDE FILE [ORIGIN]");

    let names: Vec<String> = (0..20).map(|at| at.to_string()).collect();
    let texts: Vec<String> = (1..21).map(|at| format!("$INCLUDE {at}")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(String::as_str).zip(texts.iter().map(String::as_bytes)).collect();
    let (_, read) = read_with(&files);
    let faults = read.unwrap_err();
    assert_eq!((faults[0].file.as_str(), faults.len()), ("15", 1));
    assert!(faults[0].message.contains("16 deep"), "{}", faults[0]);

    let many = "$INCLUDE f\n".repeat(INCLUDES_MAX + 1);
    let (_, read) = read_with(&[("zone", many.as_bytes()), ("f", b"")]);
    let faults = read.unwrap_err();
    assert_eq!((faults[0].line as usize, faults.len()), (INCLUDES_MAX + 1, 1));
    assert!(faults[0].message.contains("more than 1024 files"), "{}", faults[0]);
}

#[test]
fn generate_repeats_a_record() {
    let text = "$TTL 9\n$GENERATE 1-5/2 host$ A 192.0.2.$\n$generate 0-1 ${8,2,x}.r 60 IN CNAME $.host\n\
                $GENERATE 3-3 m MX \"1$ mail\\\"$\"\n$GENERATE 1-1 t TXT \"\\\"a $\\\" b\"\n\
                $GENERATE 2-2 t TXT \"a $\" \"b\"";
    let expected = [
        r"\x05host1\x07example\x00 9 1 c0000201 @ 0:2:17",
        r"\x05host3\x07example\x00 9 1 c0000203 @ 0:2:17",
        r"\x05host5\x07example\x00 9 1 c0000205 @ 0:2:17",
        r"\x0208\x01r\x07example\x00 60 5 013004686f7374076578616d706c6500 @ 0:3:15",
        r"\x0209\x01r\x07example\x00 60 5 013104686f7374076578616d706c6500 @ 0:3:15",
    ];
    let (records, read) = read_with(&[("zone", text.as_bytes())]);
    assert_eq!(records[..5], expected);
    // `\"` in a quoted row of fields is a quote: this one opens a string that nothing closes.
    assert!(read.unwrap_err()[0].message.contains("quote"));
    assert_eq!(records[5], r"\x01t\x07example\x00 9 16 036120310162 @ 0:5:15");
    assert_eq!(records[6], r"\x01t\x07example\x00 9 16 036120320162 @ 0:6:15");
}

#[test]
fn generate_is_bounded() {
    assert!(faults(b"$GENERATE 0-65536 a$ 1 A 192.0.2.1")[0].contains(":1:11: more than 65536 records"));
    assert_eq!(records("$GENERATE 0-131070/2 a$ 1 A 192.0.2.1").len(), 65_536);
    let long = format!("$GENERATE 1-2 a$ 1 TXT {}", "x".repeat(5_000));
    assert!(faults(long.as_bytes())[0].contains("more than 4096 octets"));
    let wide = format!("$GENERATE 1-2 a$ 1 TXT {}", "${0,255}".repeat(400));
    assert!(faults(wide.as_bytes())[0].contains("65,535"));
}

#[test]
fn unknown_types_and_hexadecimal_data() {
    assert_eq!(records("a 1 TYPE65400 \\# 0"), [r"\x01a\x07example\x00 1 65400  @ 0:1:1"]);
    assert_eq!(records("a 1 type65400 \\# 3 aB cdef"), [r"\x01a\x07example\x00 1 65400 abcdef @ 0:1:1"]);
    assert_eq!(records("a 1 MX \\# 5 000a016100"), [r"\x01a\x07example\x00 1 15 000a016100 @ 0:1:1"]);
    assert_eq!(records("a 1 TYPE15 10 a."), [r"\x01a\x07example\x00 1 15 000a016100 @ 0:1:1"]);
}

/// A text, and the faults that it has: the line and the column of each, and something its message says.
const MISTAKES: &[(&str, &[(&str, &str)])] = &[
    (
        "www 60 IN A 192.0.2.256",
        &[("1:13", "`192.0.2.256` is no IPv4 address, such as 192.0.2.1; expected A IPV4-ADDRESS")],
    ),
    ("\n\nwww 60 IN A", &[("3:12", "a field is missing; expected A IPV4-ADDRESS")]),
    ("www 60 A 192.0.2.1 x", &[("1:20", "a field too many: `x`")]),
    ("www 60 A \"192.0.2.1\"", &[("1:10", "quoted")]),
    ("www 60 A 192.0.2.01", &[("1:10", "no IPv4")]),
    ("www 60 AAAA 2001:db8::g", &[("1:13", "no IPv6")]),
    ("www 60 IN", &[("1:10", "no type: expected OWNER [TTL] [CLASS] TYPE DATA")]),
    ("www", &[("1:4", "no type")]),
    ("www 60 IN FOO x", &[("1:11", "`FOO` is no record type")]),
    ("www 60 TYPE65536 x", &[("1:8", "no record type")]),
    ("www 60 IN 60 A 192.0.2.1", &[("1:11", "a second TTL")]),
    ("www IN 60 IN A 192.0.2.1", &[("1:11", "a second class")]),
    ("www 60 CH A 192.0.2.1", &[("1:8", "only IN")]),
    ("www 60 CLASS3 A 192.0.2.1", &[("1:8", "only IN")]),
    ("www 60 ANY x", &[("1:8", "belongs to messages")]),
    ("www 60 TYPE41 \\# 0", &[("1:8", "belongs to messages")]),
    ("www 2147483648 A 192.0.2.1", &[("1:5", "a TTL of more than 2147483647")]),
    ("www 1h3 A 192.0.2.1", &[("1:7", "a number without a unit")]),
    ("www 1x A 192.0.2.1", &[("1:6", "no time")]),
    ("www A 192.0.2.1\nb A 192.0.2.1", &[("1:5", "no TTL: write $TTL")]),
    ("@ SOA a b 1 2 3 4 2147483648", &[("1:3", "the minimum is no TTL")]),
    ("@ 1 SOA a b 1 2 3 4", &[("1:20", "expected SOA PRIMARY MAILBOX SERIAL REFRESH RETRY EXPIRE MINIMUM")]),
    ("@ 1 SOA a b 1d 2 3 4 5", &[("1:13", "`1d` is no number")]),
    ("@ 1 SOA a b (1 2\n 3 4w9 5)", &[("2:6", "a number without a unit")]),
    (" 60 A 192.0.2.1", &[("1:2", "no owner")]),
    ("a..b 60 A 192.0.2.1", &[("1:3", "an empty label")]),
    ("b\u{FC}cher 60 A 192.0.2.1", &[("1:2", "xn--")]),
    ("a\\25x 60 A 192.0.2.1", &[("1:2", "three decimal digits")]),
    ("a\\", &[("1:2", "a backslash with nothing behind it")]),
    ("\"www\" 60 A 192.0.2.1", &[("1:1", "quoted")]),
    ("www 60 MX 70000 a", &[("1:11", "`70000` is no number from 0 to 65535")]),
    ("www 60 MX +1 a", &[("1:11", "no number")]),
    ("www 60 MX 1 a..", &[("1:15", "an empty label")]),
    ("www 60 TXT", &[("1:11", "a field is missing; expected TXT")]),
    ("www 60 TXT \"a", &[("1:12", "not closed on its line")]),
    ("www 60 TXT (\"a\nb)\nc 60 A x", &[("1:13", "not closed"), ("3:8", "no IPv4")]),
    ("www 60 TXT a\"b\"", &[("1:13", "without white space between")]),
    ("www 60 TXT \"b\"a", &[("1:15", "without white space between")]),
    ("www 60 TXT \"\\300\"", &[("1:12", "three decimal digits")]),
    ("www 60 TXT a\0b", &[("1:13", "a NUL octet")]),
    ("www 60 TXT \"a\0b\"", &[("1:14", "a NUL octet")]),
    ("www 60 TXT a\u{1}b", &[("1:13", "a control character")]),
    ("www 60 TXT a\rb", &[("1:13", "a carriage return")]),
    ("a 1 A (\n 192.0.2.1\nb 1 A 192.0.2.2", &[("1:7", "this parenthesis is never closed")]),
    ("a 1 A 192.0.2.1 )\nb 1 A x", &[("1:17", "`)` without a `(`"), ("2:7", "no IPv4")]),
    ("a 1 TYPE65400 x", &[("1:15", "write `TYPE65400 \\# LENGTH HEX`")]),
    ("a 1 NULL", &[("1:9", "write `NULL \\# LENGTH HEX`")]),
    ("a 1 TYPE65400 \\# 3 abcd", &[("1:18", "says 3 octets, and 2 follow")]),
    ("a 1 TYPE65400 \\# 2 abcx", &[("1:23", "expected \\# LENGTH HEX")]),
    ("a 1 TYPE65400 \\# 65536 ab", &[("1:18", "no number from 0 to 65535")]),
    ("a 1 TYPE65400 \\#", &[("1:17", "a field is missing")]),
    ("a 1 A \\# 3 c00002", &[("1:7", "no data of type A")]),
    ("a 1 NS \\# 3 036100", &[("1:8", "no data of type NS")]),
    ("a 1 NS \\# 2 c000", &[("1:8", "no data of type NS")]),
    ("a 1 NS \\# 4 01610000", &[("1:8", "no data of type NS")]),
    ("a 1 RRSIG \\# 1 00", &[("1:11", "no data of type RRSIG")]),
    ("a 1 HTTPS \\# 4 00010000", &[("1:11", "no data of type HTTPS")]),
    ("a 1 DS 1 13 2 abc", &[("1:15", "expected DS KEY-TAG")]),
    ("a 1 DS 1 13 2 xy", &[("1:15", "expected DS KEY-TAG")]),
    ("a 1 DS 1 13 2", &[("1:14", "a field is missing")]),
    ("a 1 DS 1 FOO 2 ab", &[("1:10", "found `FOO`")]),
    ("a 1 DNSKEY 257 3 13 !", &[("1:21", "expected DNSKEY FLAGS")]),
    ("a 1 DNSKEY 257 3 13 AQ", &[("1:21", "ncomplete")]),
    ("a 1 NSEC a FOO", &[("1:12", "found `FOO`")]),
    ("a 1 RRSIG A 8 2 60 20300101000000 2029010100000 1 a AQ==", &[("1:35", "signature time")]),
    ("a 1 CAA 0 is-sue x", &[("1:11", "expected CAA FLAGS TAG")]),
    ("a 1 LOC 91 N 0 E 0", &[("1:9", "no number from 0 to 90")]),
    ("a 1 LOC 90 1 N 0 E 0", &[("1:9", "more than 90 degrees")]),
    ("a 1 LOC 9 1 60 N 0 E 0", &[("1:13", "59.999")]),
    ("a 1 LOC 9 1 2 X 0 E 0", &[("1:15", "neither N nor S")]),
    ("a 1 LOC 9 N 0 E -100000.01", &[("1:17", "no altitude")]),
    ("a 1 LOC 9 N 0 E 0 90000001", &[("1:19", "no size")]),
    ("a 1 EUI48 00-00-5e-00-53", &[("1:11", "6 pairs")]),
    ("a 1 EUI48 00-00-5e-00-53_2a", &[("1:11", "6 pairs")]),
    ("a 1 URI 1 2 \"\"", &[("1:13", "an empty string")]),
    ("a 1 CERT FOO 0 0 AQ==", &[("1:10", "no kind of certificate")]),
    ("a 1 WKS 192.0.2.1 6x", &[("1:19", "`6x` is no protocol")]),
    ("a 1 WKS 192.0.2.1 tcp 65536", &[("1:23", "no port")]),
    ("a 1 WKS 192.0.2.1", &[("1:18", "expected WKS IPV4-ADDRESS PROTOCOL PORT…")]),
    ("a 1 NSAP 4700", &[("1:10", "no NSAP address")]),
    ("a 1 NSAP 0x470", &[("1:10", "no NSAP address")]),
    ("a 1 NSAP 0x.", &[("1:10", "no NSAP address")]),
    ("a 1 NXT b TYPE128", &[("1:11", "no type from 1 to 127")]),
    ("a 1 NXT b FOO", &[("1:11", "no type from 1 to 127")]),
    ("a 1 NXT \\# 2 0080", &[("1:9", "no data of type NXT")]),
    ("a 1 NXT \\# 3 004000", &[("1:9", "no data of type NXT")]),
    ("a 1 ATMA +61x", &[("1:10", "no ATM address")]),
    ("a 1 ATMA +", &[("1:10", "no ATM address")]),
    ("a 1 ATMA \\# 2 0200", &[("1:10", "no data of type ATMA")]),
    ("a 1 A6 129 b", &[("1:8", "no number from 0 to 128")]),
    ("a 1 A6 64 ::1", &[("1:14", "a field is missing")]),
    ("a 1 A6 0 ::1 b", &[("1:14", "a field too many")]),
    ("a 1 A6 \\# 3 800000", &[("1:8", "no data of type A6")]),
    ("a 1 A6 \\# 3 79ff00", &[("1:8", "no data of type A6")]),
    ("a 1 APL 192.0.2.0/24", &[("1:9", "no item of a list")]),
    ("a 1 APL 1:192.0.2.0", &[("1:9", "no item of a list")]),
    ("a 1 APL 1:192.0.2.0/33", &[("1:9", "no item of a list")]),
    ("a 1 APL 1:192.0.2.0/24 !2:192.0.2.0/24", &[("1:24", "no item of a list")]),
    ("a 1 APL \\# 5 0001080100", &[("1:9", "no data of type APL")]),
    ("a 1 APL \\# 5 0001210101", &[("1:9", "no data of type APL")]),
    ("a 1 APL \\# 5 0001080201", &[("1:9", "no data of type APL")]),
    ("a 1 HIP 2 abc AQID", &[("1:11", "expected HIP ALGORITHM")]),
    ("a 1 HIP 2 ab", &[("1:13", "a field is missing")]),
    ("a 1 HIP \\# 5 0001000101", &[("1:9", "no data of type HIP")]),
    ("a 1 HIP \\# 7 01010001010101", &[("1:9", "no data of type HIP")]),
    ("a 1 AMTRELAY 1 0 0 a", &[("1:20", "written as a dot")]),
    ("a 1 AMTRELAY 1 2 1 192.0.2.1", &[("1:16", "no number from 0 to 1")]),
    ("a 1 AMTRELAY 1 0 1 ::1", &[("1:20", "no IPv4 address")]),
    ("a 1 AMTRELAY 1 0 4 a", &[("1:18", "no number from 0 to 3")]),
    ("a 1 AMTRELAY \\# 3 000001", &[("1:14", "no data of type AMTRELAY")]),
    ("a 1 NID 1 1:2:3", &[("1:11", "four groups")]),
    ("a 1 L64 1 1:2::3", &[("1:11", "four groups")]),
    ("a 1 L64 1 1:2:3:+4", &[("1:11", "four groups")]),
    ("a 1 L64 1 1:2:3:12345", &[("1:11", "four groups")]),
    ("a 1 DSYNC FOO NOTIFY 53 a", &[("1:11", "`FOO` is no type")]),
    ("a 1 DSYNC CDS 256 53 a", &[("1:15", "no number from 0 to 255")]),
    ("a 1 DOA 1 2 3 \"\"", &[("1:17", "a field is missing")]),
    ("a 1 IPN 18446744073709551616", &[("1:9", "no number of 64 bits")]),
    ("a 1 IPN +1", &[("1:9", "no number of 64 bits")]),
    ("a 1 SIG A 8 2 60 2030010100000 20290101000000 1 b AQ==", &[("1:18", "signature time")]),
    ("a 1 SVCB 1 . foo=1", &[("1:14", "`foo` is no parameter")]),
    ("a 1 SVCB 1 . port=x", &[("1:19", "port")]),
    ("a 1 SVCB 1 . port=1 port=2", &[("1:21", "second time")]),
    ("a 1 SVCB 1 . Port=1", &[("1:14", "no parameter")]),
    ("a 1 SVCB 1 . key65535=1", &[("1:14", "no parameter")]),
    ("a 1 SVCB 1 . alpn=\"\"", &[("1:19", "alpn")]),
    ("a 1 SVCB 1 . alpn=h2,,h3", &[("1:19", "alpn")]),
    ("a 1 SVCB 1 . no-default-alpn", &[("1:14", "calls for alpn")]),
    ("a 1 SVCB 1 . mandatory=port", &[("1:14", "key3 is mandatory")]),
    ("a 1 SVCB 1 . ipv4hint=::1", &[("1:23", "address")]),
    ("a 1 SVCB 1 . alpn=\"h2\"port=1", &[("1:23", "white space between")]),
    ("a 1 SVCB 1 . alpn\"h2\"", &[("1:18", "a quote in the middle")]),
    ("$ORIGIN", &[("1:8", "a field is missing; expected $ORIGIN NAME")]),
    ("$ORIGIN a b", &[("1:11", "a field too many")]),
    (
        "$ORIGIN a..\na 1 A 192.0.2.1\n$ORIGIN a\nb 1 A 9.9.9.9\n$ORIGIN b.\nb 1 A 9.9.9.9",
        &[("1:11", "an empty label"), ("6:1", "no nines")],
    ),
    ("$TTL 3000000000", &[("1:6", "a TTL of more than")]),
    ("$TTL x", &[("1:6", "no time")]),
    ("$FOO 1", &[("1:1", "`$FOO` is no directive; expected $ORIGIN, $TTL, $INCLUDE or $GENERATE")]),
    (" $TTL 1", &[("1:2", "begins in the first column")]),
    ("$INCLUDE missing", &[("1:10", "`missing`: no such file")]),
    ("$INCLUDE \"\"", &[("1:10", "no path")]),
    ("$INCLUDE", &[("1:9", "a field is missing")]),
    ("$GENERATE 5-1 a 1 A 192.0.2.1", &[("1:11", "no range")]),
    ("$GENERATE 1-5/0 a 1 A 192.0.2.1", &[("1:11", "no range")]),
    ("$GENERATE 1-5 a", &[("1:16", "a field is missing")]),
    ("$GENERATE 1-5 a A", &[("1:17", "a field is missing; expected A IPV4-ADDRESS (where $ is 1)")]),
    (
        "$GENERATE 254-258 a$ 1 A 192.0.2.$",
        &[("1:26", "`192.0.2.256` is no IPv4 address, such as 192.0.2.1; expected A IPV4-ADDRESS (where $ is 256)")],
    ),
    ("$GENERATE 1-5 a$ 1 A 192.0.2.${-9}", &[("1:30", "below 0")]),
    ("a 1 A 9.9.9.9\n\n (b) 1 A 192.0.2.1", &[("1:1", "no nines"), ("3:3", "no record type")]),
    // Records whose owner is in doubt are checked and not given; the next owner ends the doubt.
    (
        "a 1 A 192.0.2.1\nb.. 1 A 192.0.2.1\n 1 A 9.9.9.9\n 1 A x\nc 1 A 9.9.9.9",
        &[("2:3", "empty"), ("4:6", "IPv4"), ("5:1", "nines")],
    ),
];

#[test]
fn mistakes_have_their_place() {
    let mut wrong = Vec::new();
    for (text, expected) in MISTAKES {
        let found = faults(text.as_bytes());
        let as_expected = |(found, (place, message)): (&String, &(&str, &str))| {
            found.starts_with(&format!("zone:{place}: ")) && found.contains(message)
        };
        if found.len() != expected.len() || !found.iter().zip(*expected).all(as_expected) {
            wrong.push(format!("{text:?}: {found:#?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn other_encodings_and_octets_outside_utf8() {
    assert!(faults(b"\xFF\xFEw\0w\0w\0")[0].contains("1:1: a file in UTF-16"));
    assert!(faults(b"w\xFFw 1 A 192.0.2.1")[0].starts_with("zone:1:2: "));
    let (records, _) = read_with(&[("zone", b"w 1 TXT \xFF \"\xC3\xBC\"")]);
    assert_eq!(records, [r"\x01w\x07example\x00 1 16 01ff02c3bc @ 0:1:1"]);
}

#[test]
fn reading_stops_at_the_tenth_mistake() {
    assert_eq!(faults("a 1 A x\n".repeat(50).as_bytes()).len(), FAULTS_MAX);
    assert_eq!(
        faults(b"a 1 A x\nb 1 A y\nc 1 A 192.0.2.1")[1..],
        ["zone:2:7: `y` is no IPv4 address, such as 192.0.2.1; expected A IPV4-ADDRESS"]
    );
}

#[test]
fn long_names_labels_and_strings_are_refused() {
    let label = "x".repeat(64);
    assert!(faults(format!("{label} 1 A 192.0.2.1").as_bytes())[0].contains("1:1: a label of 64 octets"));
    assert!(faults(format!("a.{label} 1 A 192.0.2.1").as_bytes())[0].starts_with("zone:1:3: "));
    let name = ["x".repeat(60).as_str(); 5].join(".");
    assert!(faults(format!("a 1 NS {name}").as_bytes())[0].contains("1:8: a name of more than 255 octets"));
    assert!(faults(format!("a 1 TXT {}", "x".repeat(256)).as_bytes())[0].contains("1:9: a string of 256 octets"));
    let strings = format!("{} ", "x".repeat(255)).repeat(256);
    assert!(faults(format!("a 1 TXT {strings}").as_bytes())[0].contains("more than 65,535 octets"));
    assert_eq!(records(&format!("a 1 TXT {} {}", strings[256..].trim(), "y".repeat(254))).len(), 1);
    let fields = "x ".repeat(lexer::LINE_TOKENS_MAX);
    assert!(faults(format!("a 1 TXT {fields}").as_bytes())[0].contains("fields"));
}

#[test]
fn messages_show_nothing_unprintable_and_nothing_long() {
    let fault = &faults(b"a 1 \x1b[31m 192.0.2.1")[0];
    assert!(fault.contains("control character") && !fault.contains('\x1b'), "{fault}");
    let fault = &faults(format!("a 1 {} x", "y".repeat(5_000)).as_bytes())[0];
    assert!(fault.len() < 200, "{fault}");
}

#[test]
fn a_copy_takes_octets_as_they_are() {
    let apex = Name::from_wire(b"\x07example\x00").unwrap();
    let read_copy = |text: &str| {
        let mut data = Vec::new();
        let mut take = |record: Record<'_>| {
            data.push(record.rdata.to_vec());
            Ok(())
        };
        read_copy(&apex, text.as_bytes(), &mut take).map(|_| data)
    };
    let text = "a 1 TXT \\# 2 0561\na 1 HINFO \\# 0\na 1 A 192.0.2.1";
    assert_eq!(faults(text.as_bytes()).len(), 2);
    assert_eq!(read_copy(text).unwrap(), [&[5, b'a'][..], &[], &[192, 0, 2, 1]]);
    assert_eq!(read_copy("a 1 TXT \\# 2 05").unwrap_err().len(), 1, "what is torn is no copy");
    assert!(read_copy("$INCLUDE other").unwrap_err()[0].message.contains("a copy includes nothing"));
}
