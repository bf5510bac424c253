//! Master files from outside: record data of every type against its octets, the same text read by other servers'
//! tools, and text that nobody meant.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use ringdns_shard::wire::name::Name;
use ringdns_shard::zone::file::{FAULTS_MAX, Fault, Record, Summary, read};

/// A row of `zonefile/records.txt`.
struct Row {
    text: &'static str,
    octets: Vec<u8>,
    /// Tools that do not read it.
    without: &'static str,
}

fn rows() -> Vec<Row> {
    let lines = include_str!("zonefile/records.txt").lines().filter(|line| !line.starts_with('#'));
    let rows: Vec<Row> = lines
        .map(|line| {
            let mut parts = line.split(" => ");
            let (text, hex) = (parts.next().unwrap(), parts.next().unwrap());
            let octets = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
            Row { text, octets: octets.collect(), without: parts.next().unwrap_or_default() }
        })
        .collect();
    assert!(rows.len() > 80, "the table is there");
    rows
}

/// The zone that has one name for each row that `tool` reads: `r0`, `r1`, …
fn zone(rows: &[Row], tool: &str) -> String {
    let mut zone = "$ORIGIN example.\n$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n".to_owned();
    for (at, row) in rows.iter().enumerate() {
        if !row.without.split(' ').any(|without| without == tool) {
            zone.push_str(&format!("r{at} 60 IN {}\n", row.text));
        }
    }
    zone
}

fn read_zone(text: &[u8], take: &mut dyn FnMut(Record<'_>)) -> Result<Summary, Vec<Fault>> {
    let apex = Name::from_wire(b"\x07example\x00").expect("a name");
    let mut open = |_: &str, _: &str| Err("no file".to_owned());
    read(&apex, "zone", text, &mut open, &mut |record| {
        take(record);
        Ok(())
    })
}

/// Owner, type and data of each record, in one order.
type Contents = Vec<(Vec<u8>, u16, Vec<u8>)>;

fn ours(zone: &str) -> Contents {
    let mut contents = Vec::new();
    read_zone(zone.as_bytes(), &mut |record| {
        contents.push((record.owner.to_vec(), record.rtype, record.rdata.to_vec()))
    })
    .expect("a zone without mistakes");
    contents.sort();
    contents
}

#[test]
fn record_data_is_what_the_table_says() {
    let rows = rows();
    let mut wrong = Vec::new();
    for row in &rows {
        let mut found = None;
        let read =
            read_zone(format!("r 60 IN {}", row.text).as_bytes(), &mut |record| found = Some(record.rdata.to_vec()));
        if found.as_ref() != Some(&row.octets) {
            wrong.push(format!("{}: {read:?}, {found:02x?}", row.text));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Types whose data has an end of its own.
const WITH_AN_END: [&str; 19] = [
    "A",
    "AAAA",
    "NS",
    "MX",
    "SOA",
    "SRV",
    "LOC",
    "NAPTR",
    "EUI48",
    "RP",
    "NSEC3PARAM",
    "HINFO",
    "A6",
    "AMTRELAY",
    "DSYNC",
    "IPN",
    "L64",
    "NID",
    "TALINK",
];

/// The table's octets written in hexadecimal are accepted for the types they are of, and one octet fewer or more is
/// not, where the data has an end of its own.
#[test]
fn record_data_in_hexadecimal_is_checked() {
    for row in rows() {
        let rtype = row.text.split(' ').next().unwrap();
        let accepts = |octets: &[u8]| {
            let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
            read_zone(format!("r 60 {rtype} \\# {} {hex}", octets.len()).as_bytes(), &mut |_| {}).is_ok()
        };
        assert!(accepts(&row.octets), "{}", row.text);
        if WITH_AN_END.contains(&rtype) {
            assert!(!accepts(&row.octets[..row.octets.len() - 1]), "{} cut", row.text);
            assert!(!accepts(&[&row.octets[..], &[0]].concat()), "{} lengthened", row.text);
        }
    }
}

/// Runs `tool` with `arguments`, its output in `output`; `false` when it is not installed.
fn run(tool: &str, arguments: &[&str], output: &Path) -> bool {
    let file = File::create(output).expect("a file for the output");
    let errors = file.try_clone().expect("the same file");
    let spawned = Command::new(tool).args(arguments).stdin(Stdio::null()).stdout(file).stderr(errors).spawn();
    let Ok(mut child) = spawned else {
        eprintln!("skipped: {tool} is not installed");
        return false;
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    let status = loop {
        if let Some(status) = child.try_wait().expect("the tool's status") {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().expect("the tool ends");
            child.wait().expect("the tool ends");
            panic!("{tool} takes more than a minute");
        }
        sleep(Duration::from_millis(10));
    };
    let said = || String::from_utf8_lossy(&fs::read(output).unwrap_or_default()).into_owned();
    assert!(status.success(), "{tool}: {}", said());
    true
}

/// A folder that goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("ringdns-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Compares two contents record by record, for messages that can be read.
fn assert_same(ours: &Contents, theirs: &Contents) {
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_eq!(ours, theirs, "owner {}", ours.0.escape_ascii());
    }
    assert_eq!(ours.len(), theirs.len());
}

/// BIND's raw zone format, version 1: a header of 24 octets; RRsets, each with its length, class, type, covered type,
/// TTL, count, owner and records.
fn from_raw(raw: &[u8]) -> Contents {
    let number = |at: usize, octets: usize| {
        raw[at..at + octets].iter().fold(0usize, |value, &octet| value << 8 | usize::from(octet))
    };
    let mut contents = Contents::new();
    let mut at = 24;
    while at < raw.len() {
        let (rtype, count, octets) = (number(at + 6, 2), number(at + 14, 4), number(at + 18, 2));
        at += 20;
        let owner = &raw[at..at + octets];
        at += octets;
        for _ in 0..count {
            let octets = number(at, 2);
            at += 2;
            contents.push((owner.to_vec(), rtype as u16, raw[at..at + octets].to_vec()));
            at += octets;
        }
    }
    contents.sort();
    contents
}

#[test]
fn bind_reads_the_same() {
    let folder = Folder::new("zonefile-bind");
    let (text, raw, log) = (folder.0.join("zone"), folder.0.join("raw"), folder.0.join("log"));
    let zone = zone(&rows(), "bind");
    fs::write(&text, &zone).unwrap();
    let mut arguments: Vec<&str> = "-i none -k ignore -n ignore -r ignore -m ignore -F raw=1 -o".split(' ').collect();
    arguments.extend([raw.to_str().unwrap(), "example", text.to_str().unwrap()]);
    if run("named-compilezone", &arguments, &log) {
        assert_same(&ours(&zone), &from_raw(&fs::read(&raw).unwrap()));
    }
}

#[test]
fn ldns_reads_the_same() {
    let folder = Folder::new("zonefile-ldns");
    let (text, output) = (folder.0.join("zone"), folder.0.join("output"));
    let zone = zone(&rows(), "ldns");
    fs::write(&text, &zone).unwrap();
    // Every type but SOA in the form for unknown types, which we read back without knowing the type.
    if run("ldns-read-zone", &["-U", "SOA", text.to_str().unwrap()], &output) {
        assert_same(&ours(&zone), &ours(&fs::read_to_string(&output).unwrap()));
    }
}

/// Reads anything: no panic, at most so many faults, each in the text.
fn check(text: &[u8]) -> Result<(), TestCaseError> {
    let mut given = 0;
    let lines = text.iter().filter(|&&octet| octet == b'\n').count() as u32 + 1;
    let mut sound = true;
    let result = read_zone(text, &mut |record| {
        given += 1;
        sound &= record.owner.len() <= 255 && record.rdata.len() <= 65_535 && record.ttl <= i32::MAX as u32;
        sound &= Name::from_wire(record.owner).is_some() && (1..=lines).contains(&record.place.line);
    });
    prop_assert!(sound);
    match result {
        Ok(summary) => prop_assert_eq!(summary.records, given),
        Err(faults) => {
            prop_assert!((1..=FAULTS_MAX).contains(&faults.len()));
            for fault in faults {
                prop_assert!((1..=lines).contains(&fault.line) && fault.column >= 1, "{}", fault);
                let line = text.split(|&octet| octet == b'\n').nth(fault.line as usize - 1).unwrap_or_default();
                prop_assert!(fault.column as usize <= line.len() + 1, "{}", fault);
            }
        }
    }
    Ok(())
}

/// Pieces of which master files are made, the odd ones too.
const PIECES: &[&str] = &[
    " ",
    "\t",
    "\n",
    "\r\n",
    "\r",
    "(",
    ")",
    ";",
    "\"",
    "\\",
    "\\#",
    "\\\"",
    "\\000",
    "\\256",
    "$",
    "$$",
    "${",
    "}",
    "${0,3,x}",
    "@",
    ".",
    "..",
    "-",
    "+",
    "+1",
    "=",
    ",",
    "/",
    "0",
    "1",
    "60",
    "1h30m",
    "65535",
    "65536",
    "4294967296",
    "IN",
    "CH",
    "CLASS1",
    "A",
    "AAAA",
    "SOA",
    "NS",
    "MX",
    "TXT",
    "RRSIG",
    "NSEC",
    "NSEC3",
    "DS",
    "SVCB",
    "HTTPS",
    "LOC",
    "CAA",
    "NAPTR",
    "IPSECKEY",
    "A6",
    "AMTRELAY",
    "APL",
    "ATMA",
    "DOA",
    "HIP",
    "L64",
    "NSAP",
    "NXT",
    "WKS",
    "!1:192.0.2.0/24",
    "2:::/0",
    "0x47.00",
    "+61",
    "1:2:3:4",
    "TYPE65400",
    "TYPE1",
    "192.0.2.1",
    "2001:db8::1",
    "example.",
    "www",
    "*",
    "alpn=",
    "alpn=h2",
    "mandatory=port",
    "key9=",
    "AQID",
    "==",
    "abcd",
    "20300101000000",
    "99999999999999",
    "N",
    "E",
    "-1.5m",
    "$ORIGIN ",
    "$TTL ",
    "$INCLUDE ",
    "$GENERATE ",
    "1-3",
    "0-9/3",
    "\u{FC}",
    "\0",
    "\u{FEFF}",
];

/// A piece of a row's text replaced, removed or doubled.
fn mutate(text: &str, at: usize, how: usize, piece: &str) -> String {
    let fields: Vec<&str> = text.split(' ').collect();
    let at = at % fields.len();
    let mut mutated: Vec<String> = fields.iter().map(|&field| field.to_owned()).collect();
    match how % 5 {
        0 => mutated[at] = piece.to_owned(),
        1 => drop(mutated.remove(at)),
        2 => mutated.insert(at, piece.to_owned()),
        3 => mutated[at].push_str(piece),
        _ => mutated[at].insert_str(0, piece),
    }
    mutated.join(" ")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn any_octets_are_survived(text in proptest::collection::vec(any::<u8>(), 0..300)) {
        check(&text)?;
    }

    #[test]
    fn any_row_of_pieces_is_survived(pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..40)) {
        check(pieces.concat().as_bytes())?;
        check(pieces.join(" ").as_bytes())?;
    }

    #[test]
    fn any_change_to_good_data_is_survived(
        changes in proptest::collection::vec(
            (any::<usize>(), any::<usize>(), any::<usize>(), proptest::sample::select(PIECES)),
            1..6,
        )
    ) {
        let table = rows_once();
        let mut text = "$TTL 1\n".to_owned();
        for (row, at, how, piece) in changes {
            text.push_str(&format!("r {}\n", mutate(table[row % table.len()].text, at, how, piece)));
        }
        check(text.as_bytes())?;
    }

    #[test]
    fn any_change_of_octets_is_survived(
        row in any::<usize>(),
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..4)
    ) {
        let table = rows_once();
        let mut text = format!("r 1 {}\n", table[row % table.len()].text).into_bytes();
        for (at, octet) in changes {
            let at = at % text.len();
            text[at] = octet;
        }
        check(&text)?;
    }
}

fn rows_once() -> &'static [Row] {
    static ROWS: std::sync::OnceLock<Vec<Row>> = std::sync::OnceLock::new();
    ROWS.get_or_init(rows)
}
