//! Conformance of answers from zones: the cases of the Ferret data set (zones and queries with the responses that
//! BIND, NSD and Knot gave to them), scored by the program that lies beside them. Each zone has a shard of its own.
//!
//! The cases lie in `../shared/conformance/ferret` beside the project; `RINGDNS_FERRET` names other files
//! of them, separated by colons.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use ringdns_shard::guard::Acl;
use ringdns_shard::images::{Bounds, CacheSettings, Listener, Zone};
use ringdns_shard::limits::MESSAGE_OCTETS_MAX;
use ringdns_shard::upstream::{Routes, Target};
use ringdns_shard::wire::name::{HashKey, Name};
use ringdns_shard::zone::{Builder, Image, file};
use ringdns_shard::{Client, Images, Outcome, Shard, Time, Transport};
use serde::Deserialize;

/// A zone of a case file, with one query of its own (valid zones) or a list of them (invalid ones).
#[derive(Deserialize)]
struct Case {
    id: String,
    origin: String,
    zone: String,
    #[serde(flatten)]
    query: Option<Asked>,
    /// Which rule of zones is broken.
    condition: Option<u8>,
    #[serde(default)]
    queries: Vec<Asked>,
}

#[derive(Clone, Deserialize)]
struct Asked {
    qname: String,
    qtype: String,
}

impl Case {
    /// The queries with their ids.
    fn queries(&self) -> Vec<(String, Asked)> {
        let own = self.query.iter().map(|query| (self.id.clone(), query.clone()));
        let listed = self.queries.iter().enumerate().map(|(at, query)| (format!("{}/{at}", self.id), query.clone()));
        own.chain(listed).collect()
    }
}

/// What the refusal of a zone may say, by the rule of zones that it breaks. Zones that break another rule than these
/// are refused only where they have data outside their origin too.
fn faults_of(condition: u8) -> &'static [&'static str] {
    match condition {
        4 => &["has a CNAME and other data", "has more than one CNAME"],
        5 => &["has more than one DNAME"],
        _ => &["is not in the zone"],
    }
}

/// The share of responses that must be right, and of those that must be as the other servers' in every detail, in
/// ten-thousandths; for each class of cases, both. Of the cases in the shared folder none may differ.
const ACCEPTED_MIN: u64 = 10_000;
const STRICT_MIN: u64 = 9_950;
const CLASS_MIN: u64 = 9_900;

#[test]
fn answers_are_those_of_other_servers() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance/ferret");
    let others = std::env::var_os("RINGDNS_FERRET");
    let files = match &others {
        Some(others) => std::env::split_paths(others).collect(),
        None => vec![shared.join("valid.jsonl.gz"), shared.join("invalid.jsonl.gz")],
    };
    std::thread::scope(|scope| {
        for file in &files {
            let (shared, strict_min) = (&shared, if others.is_some() { STRICT_MIN } else { 10_000 });
            scope.spawn(move || check(file, shared, strict_min));
        }
    });
}

/// Answers the cases of `file` and judges the score; says what is missing where that cannot be done.
fn check(file: &Path, shared: &Path, strict_min: u64) {
    if !file.exists() {
        return eprintln!("skipped: {} is absent", file.display());
    }
    let beside = file.parent().unwrap_or(Path::new("."));
    let scorers = [beside, shared].map(|folder| folder.join("compare.py"));
    let Some(scorer) = scorers.iter().find(|scorer| scorer.exists()) else {
        return eprintln!("skipped: compare.py, which scores the responses, is absent");
    };
    let folder = Folder::new(&format!("ferret-{}", file.file_name().unwrap_or_default().display()));
    let responses = folder.0.join("responses.jsonl");
    respond(file, &responses);
    if let Some(report) = score(scorer, file, &responses) {
        judge(&report, strict_min).unwrap_or_else(|why| panic!("{}: {why}\n{report}", file.display()));
    }
}

/// Writes the responses to all cases of `file`, and for each faulty zone whether it was loaded.
fn respond(file: &Path, responses: &Path) {
    let opened = File::open(file).expect("the case file opens");
    let opened: Box<dyn Read> = match file.extension().is_some_and(|extension| extension == "gz") {
        true => Box::new(MultiGzDecoder::new(opened)),
        false => Box::new(opened),
    };
    let mut out = BufWriter::new(File::create(responses).expect("a file for the responses"));
    let mut buffer = vec![0; MESSAGE_OCTETS_MAX];
    for line in BufReader::new(opened).lines() {
        let case: Case = serde_json::from_str(&line.expect("a line of text")).expect("a case");
        let image = match (load(&case), case.condition) {
            (Ok(image), condition) => {
                if condition.is_some() {
                    write(&mut out, &serde_json::json!({ "id": case.id, "load": "accept" }));
                }
                image
            }
            (Err(message), Some(condition)) => {
                let named = faults_of(condition).iter().any(|fault| message.contains(fault));
                assert!(named, "{}: {message}", case.id);
                write(&mut out, &serde_json::json!({ "id": case.id, "load": "reject" }));
                continue;
            }
            (Err(message), None) => panic!("{}: {message}", case.id),
        };
        let mut shard = shard(image);
        for (id, asked) in case.queries() {
            let reply = ask(&mut shard, &asked, &mut buffer);
            let wire: String = reply.iter().map(|octet| format!("{octet:02x}")).collect();
            write(&mut out, &serde_json::json!({ "id": id, "wire": wire }));
        }
    }
    out.flush().expect("the responses are written");
}

fn write(out: &mut impl Write, line: &serde_json::Value) {
    writeln!(out, "{line}").expect("a response is written");
}

const KEY: [u8; 16] = [5; 16];

fn load(case: &Case) -> Result<Image, String> {
    let apex: Name = case.origin.parse().expect("an origin");
    let mut builder = Builder::new(apex.clone(), HashKey::from_seed(KEY));
    let mut open = |_: &str, _: &str| Err("no file".to_owned());
    let mut take =
        |record: file::Record<'_>| builder.push(record.owner, record.rtype, record.ttl, record.rdata, record.place);
    file::read(&apex, &case.id, case.zone.as_bytes(), &mut open, &mut take)
        .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    builder.finish().map_err(|faults| format!("{faults:?}"))
}

/// A shard that serves one zone and nothing else.
fn shard(image: Image) -> Shard {
    let hash_key = HashKey::from_seed(KEY);
    let routes = Routes::new(&hash_key, vec![(image.apex().clone(), Target::Zone(0))]);
    let images = Images {
        listeners: vec![Listener { allow: Acl::local_and_private() }],
        routes: Arc::new(routes),
        zones: vec![Zone::new(Arc::new(image))],
        cache: CacheSettings {
            octets: 4_096,
            min_ttl: Duration::ZERO,
            max_ttl: Duration::from_secs(3_600),
            negative_max_ttl: Duration::from_secs(3_600),
            ..CacheSettings::PLAIN
        },
        bounds: Bounds { resolves: 1, waiters: 1, tcp_idle: Duration::from_secs(10), udp_ports: 1, ..Bounds::DEFAULT },
        ..Images::bare(hash_key)
    };
    Shard::new(Arc::new(images), [3; 32])
}

/// Asks as the other servers were asked: over UDP, without EDNS, all flags clear.
fn ask<'b>(shard: &mut Shard, asked: &Asked, buffer: &'b mut [u8]) -> &'b [u8] {
    let name: Name = asked.qname.parse().expect("a name");
    let rtype: u16 = match asked.qtype.as_str() {
        "A" => 1,
        "NS" => 2,
        "CNAME" => 5,
        "SOA" => 6,
        "MX" => 15,
        "TXT" => 16,
        "AAAA" => 28,
        "DNAME" => 39,
        other => panic!("a query for the type {other}"),
    };
    let mut request = vec![0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    request.extend_from_slice(name.as_wire());
    request.extend_from_slice(&rtype.to_be_bytes());
    request.extend_from_slice(&[0, 1]);
    let peer = (IpAddr::V4(Ipv4Addr::LOCALHOST), 4000).into();
    let client = Client { peer, local: None, via: Transport::Udp, listener: 0, connection: 0 };
    match shard.on_query(Time::from_secs(1), &client, &request, buffer) {
        Outcome::Reply(octets) => &buffer[..octets],
        other => panic!("{} {}: {other:?}", asked.qname, asked.qtype),
    }
}

/// What the scorer says of the responses; `None` where it cannot run.
fn score(scorer: &Path, cases: &Path, responses: &Path) -> Option<String> {
    let run = |python: &str, arguments: &[&OsStr]| {
        Command::new(python).args(arguments).stdin(Stdio::null()).output().map_err(|error| error.to_string())
    };
    // The distribution's own interpreter is the one that finds the distribution's modules.
    let has_modules = |python: &&str| {
        run(python, &["-c".as_ref(), "import dns.message".as_ref()]).is_ok_and(|output| output.status.success())
    };
    let Some(python) = ["python3", "/usr/bin/python3"].into_iter().find(has_modules) else {
        eprintln!("skipped: python3 with dnspython, which scores the responses, is not installed");
        return None;
    };
    let scored = [scorer.as_ref(), "score".as_ref(), cases.as_ref(), responses.as_ref()];
    let output = run(python, &scored).expect("the scorer runs");
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{report}");
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    Some(report)
}

/// Holds the scorer's report against what must be reached: the totals `accept N/N … strict N/N`, where there are
/// faulty zones `load N/N`, and a row `CLASS CASES ACCEPTED STRICT-CASES STRICT` for each class.
fn judge(report: &str, strict_min: u64) -> Result<(), String> {
    let reaches = |what: &str, got: u64, of: u64, min: u64| match got * 10_000 >= of * min {
        true => Ok(()),
        false => Err(format!("{what}: {got} of {of}")),
    };
    let mut totals = 0;
    let mut classes = 0;
    for line in report.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["accept", accepted, _, "strict", strict, ..] => {
                let (accepted, strict) = (ratio(accepted)?, ratio(strict)?);
                reaches("accepted", accepted.0, accepted.1, ACCEPTED_MIN)?;
                reaches("strict", strict.0, strict.1, strict_min)?;
                totals += accepted.1;
            }
            ["load", loads, ..] => {
                let (right, of) = ratio(loads)?;
                reaches("loads", right, of, 10_000)?;
            }
            [class, cases, accepted, strict_cases, strict] => {
                let numbers: Result<Vec<u64>, _> =
                    [cases, accepted, strict_cases, strict].iter().map(|number| number.parse()).collect();
                let Ok([cases, accepted, strict_cases, strict]) = numbers.as_deref() else { continue };
                reaches(class, *accepted, *cases, CLASS_MIN)?;
                reaches(class, *strict, *strict_cases, CLASS_MIN)?;
                classes += cases;
            }
            _ => {}
        }
    }
    match totals > 0 && totals == classes {
        true => Ok(()),
        false => Err(format!("no whole report: {totals} cases in all, {classes} in classes")),
    }
}

/// `N/N`.
fn ratio(text: &str) -> Result<(u64, u64), String> {
    let parts = text.split_once('/').and_then(|(part, of)| Some((part.parse().ok()?, of.parse().ok()?)));
    parts.ok_or_else(|| format!("`{text}` is no share"))
}

#[test]
fn a_score_that_is_too_low_is_noticed() {
    let report = |accepted: u64, strict: u64, class: u64| {
        format!(
            "accept {accepted}/1000 (x%)   strict {strict}/1000 (x%)\nload   2/2 (100.00%)   accept, said accept: 2\n\
             answer   {class}  {class}  {class}  {class}\nnodata   50  50  49  49\n"
        )
    };
    assert_eq!(judge(&report(1_000, 1_000, 950), 10_000), Ok(()));
    assert_eq!(judge(&report(1_000, 995, 950), STRICT_MIN), Ok(()));
    assert!(judge(&report(999, 1_000, 950), STRICT_MIN).is_err());
    assert!(judge(&report(1_000, 994, 950), STRICT_MIN).is_err());
    assert!(judge(&report(1_000, 1_000, 949), STRICT_MIN).is_err(), "a class is missing");
    assert!(judge(&report(1_000, 1_000, 950).replace("49  49", "50  49"), STRICT_MIN).is_err());
    assert!(judge(&report(1_000, 1_000, 950).replace("2/2", "1/2"), STRICT_MIN).is_err());
    assert!(judge("", STRICT_MIN).is_err());
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
