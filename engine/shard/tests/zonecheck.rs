//! Zones that are faulty, and zones that other programs have signed: what `zone::check` and `zone::digest` say of them
//! beside what the tools of other servers say.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringdns_shard::wire::name::{HashKey, Name};
use ringdns_shard::zone::check::{FINDINGS_MAX, check};
use ringdns_shard::zone::digest::{Algorithm, Verified, verify};
use ringdns_shard::zone::file::{Record, read};
use ringdns_shard::zone::{Builder, Image};

const HEAD: &str = "$TTL 3600\n@ SOA ns hostmaster 7 3600 600 86400 3600\n@ NS ns\nns A 192.0.2.1\n";

fn image(text: &str) -> Image {
    let apex: Name = "example.test".parse().unwrap();
    let mut builder = Builder::new(apex.clone(), HashKey::from_seed([9; 16]));
    let mut include = |_: &str, _: &str| Err("no file".to_owned());
    let mut take =
        |record: Record<'_>| builder.push(record.owner, record.rtype, record.ttl, record.rdata, record.place);
    read(&apex, "zone", text.as_bytes(), &mut include, &mut take).unwrap_or_else(|faults| panic!("{faults:?}\n{text}"));
    builder.finish().unwrap()
}

fn found(text: &str) -> Vec<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as u32;
    check(&image(text), Some(now)).iter().map(ToString::to_string).collect()
}

/// A folder of this test, empty.
fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("zonecheck-{test}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Whether a tool ended well, and what it wrote; `None` where it is not installed. All of them end by themselves.
fn run(folder: &Path, tool: &str, arguments: &[&str]) -> Option<(bool, String)> {
    let output = Command::new(tool).args(arguments).current_dir(folder).stdin(Stdio::null()).output();
    let Ok(output) = output else {
        eprintln!("skipped: {tool} is not installed");
        return None;
    };
    let text = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

/// Faults, the same without the fault, and the tools that know of it: `n`amed-checkzone, `k`zonecheck.
const FAULTS: [(&str, &str, &str); 12] = [
    ("sub NS ns.sub", "sub NS ns.sub\nns.sub A 192.0.2.2", "nk"),
    ("sub NS ns.other\nother NS ns.test.", "sub NS ns.other\nother NS ns.test.\nns.other A 192.0.2.2", "n"),
    ("sub NS none", "sub NS wild.w\n*.w A 192.0.2.1", "nk"),
    ("@ NS none", "@ NS none\nnone AAAA 2001:db8::1", "nk"),
    ("sub NS alias\nalias CNAME ns", "sub NS ns\nalias CNAME ns", "nk"),
    ("m MX 1 none", "m MX 1 ns", "n"),
    ("m MX 1 alias\nalias CNAME ns", "m MX 1 ns\nalias CNAME ns", "n"),
    ("_x._tcp SRV 0 0 1 none", "_x._tcp SRV 0 0 1 ns", "n"),
    ("_x._tcp SRV 0 0 1 alias\nalias CNAME ns", "_x._tcp SRV 0 0 1 ns", "n"),
    ("d DNAME a.test.\nx.d A 192.0.2.1", "d DNAME a.test.\nxd A 192.0.2.1", "k"),
    (
        "@ DS 1 13 2 e2d523f654b9422a96c5a8f44607bbeee2d523f654b9422a96c5a8f44607bbee",
        "sub NS ns\nsub DS 1 13 2 e2d523f654b9422a96c5a8f44607bbeee2d523f654b9422a96c5a8f44607bbee",
        "n",
    ),
    ("*.w NS ns", "w NS ns", "n"),
];

#[test]
fn faults_are_seen_as_other_tools_see_them() {
    let folder = folder("faults");
    for (fault, near_miss, tools) in FAULTS {
        for (added, is_fault) in [(fault, true), (near_miss, false)] {
            let text = format!("{HEAD}{added}\n");
            assert_eq!(!found(&text).is_empty(), is_fault, "{added}: {:#?}", found(&text));
            fs::write(folder.join("a.zone"), &text).unwrap();
            if tools.contains('n')
                && let Some((well, said)) = run(&folder, "named-checkzone", &["-i", "local", "example.test", "a.zone"])
            {
                let quiet = said.lines().all(|line| line == "OK" || line.contains("loaded serial"));
                assert_eq!(well && quiet, !is_fault, "named-checkzone: {added}: {said}");
            }
            if tools.contains('k')
                && let Some((well, said)) = run(&folder, "kzonecheck", &["-o", "example.test", "a.zone"])
            {
                assert_eq!(well, !is_fault, "kzonecheck: {added}: {said}");
            }
        }
    }
    fs::remove_dir_all(folder).unwrap();
}

/// A zone with everything that a chain has to do with.
const TO_SIGN: &str = "\
@ MX 10 mail
mail AAAA 2001:db8::1
a.b.ent TXT \"x\"
*.wild A 192.0.2.2
alias CNAME ns
away DNAME example.org.
safe NS ns.safe
safe DS 1 13 2 e2d523f654b9422a96c5a8f44607bbeee2d523f654b9422a96c5a8f44607bbee
ns.safe A 192.0.2.3
plain NS ns.example.org.
x.deep NS NS.Example.Org.
y.both NS ns.example.org.
both.both TXT \"y\"
phone NAPTR 10 20 \"u\" \"E2U+sip\" \"!^.*$!sip:a@example.org!\" Replaced.Example.
RP RP Host.Example. Text.Example.
";

/// The zone signed by BIND's signer, one record a line.
fn signed_by_bind(folder: &Path, options: &[&str]) -> Option<String> {
    fs::write(folder.join("a.zone"), format!("{HEAD}{TO_SIGN}")).unwrap();
    for flags in [&["-f", "KSK"][..], &[]] {
        let words = [&["-a", "ECDSAP256SHA256"], flags, &["example.test"]].concat();
        run(folder, "dnssec-keygen", &words)?;
    }
    let words = [&["-S", "-O", "full", "-o", "example.test", "-f", "signed.zone"], options, &["a.zone"]].concat();
    let (well, said) = run(folder, "dnssec-signzone", &words)?;
    assert!(well, "dnssec-signzone {options:?}: {said}");
    Some(fs::read_to_string(folder.join("signed.zone")).unwrap())
}

/// What is done to a signed zone, the lines that go, and whether ldns sees that they are gone.
type Damage<'a> = (&'a str, &'a dyn Fn(&str) -> bool, bool);

#[test]
fn zones_that_bind_has_signed_have_no_findings_until_they_are_damaged() {
    for (at, options) in [&[][..], &["-3", "-"], &["-3", "-", "-A"]].into_iter().enumerate() {
        let folder = folder(&format!("bind{at}"));
        let Some(zone) = signed_by_bind(&folder, options) else { return };
        assert_eq!(found(&zone), [""; 0], "{options:?}\n{zone}");
        let field = |line: &str, at: usize| line.split_ascii_whitespace().nth(at).unwrap_or_default().to_owned();
        let is_of_mail = |line: &str, rtype: &str| field(line, 0) == "mail.example.test." && field(line, 3) == rtype;
        let damages: [Damage<'_>; 4] = [
            ("keys", &|line| field(line, 3) == "DNSKEY", true),
            ("a signature", &|line| is_of_mail(line, "RRSIG") && field(line, 4) == "AAAA", true),
            ("the chain", &|line| field(line, 3) == "NSEC" || field(line, 3) == "NSEC3", true),
            (
                "a listed set",
                &|line| is_of_mail(line, "AAAA") || is_of_mail(line, "RRSIG") && field(line, 4) == "AAAA",
                false,
            ),
        ];
        for (what, goes, ldns_sees) in damages {
            let damaged: Vec<&str> = zone.lines().filter(|line| !goes(line)).collect();
            assert!(damaged.len() < zone.lines().count(), "{what}");
            let damaged = damaged.join("\n") + "\n";
            let list = found(&damaged);
            assert!(list.iter().any(|finding| finding.starts_with("error: ")), "{what}: {list:#?}");
            fs::write(folder.join("damaged.zone"), &damaged).unwrap();
            if let Some((well, said)) = run(&folder, "dnssec-verify", &["-o", "example.test", "damaged.zone"]) {
                assert!(!well, "dnssec-verify: {what}: {said}");
            }
            if ldns_sees && let Some((well, said)) = run(&folder, "ldns-verify-zone", &["damaged.zone"]) {
                assert!(!well, "ldns-verify-zone: {what}: {said}");
            }
        }
        fs::remove_dir_all(folder).unwrap();
    }
}

/// What the digest in a zone of another program says: good as it is, wrong with one octet changed.
fn digest_agrees(tool: &str, zone: &str, algorithm: Algorithm) {
    assert_eq!(verify(&image(zone)), Ok(Verified::Good(algorithm)), "{tool}\n{zone}");
    let changed = zone.replacen("192.0.2.2", "192.0.2.22", 1);
    assert_ne!(changed, zone);
    assert!(verify(&image(&changed)).is_err(), "{tool}");
}

#[test]
fn digests_of_ldns_are_verified() {
    let folder = folder("ldns");
    fs::write(folder.join("a.zone"), format!("$ORIGIN example.test.\n{HEAD}{TO_SIGN}")).unwrap();
    let Some((well, key)) = run(&folder, "ldns-keygen", &["-a", "ECDSAP256SHA256", "example.test"]) else { return };
    assert!(well, "{key}");
    for denial in [&[][..], &["-n"], &["-n", "-p"]] {
        for (number, algorithm) in [("1", Algorithm::Sha384), ("2", Algorithm::Sha512)] {
            let words =
                [denial, &["-z", number, "-o", "example.test", "-f", "signed.zone", "a.zone", key.trim()]].concat();
            let Some((well, said)) = run(&folder, "ldns-signzone", &words) else { return };
            assert!(well, "{words:?}: {said}");
            let zone = fs::read_to_string(folder.join("signed.zone")).unwrap();
            digest_agrees("ldns-signzone", &zone, algorithm);
            let errors: Vec<String> = found(&zone).into_iter().filter(|text| text.starts_with("error")).collect();
            assert_eq!(errors, [""; 0], "{words:?}\n{zone}");
        }
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn digests_of_knot_are_verified() {
    let folder = folder("knot");
    fs::write(folder.join("a.zone"), format!("{HEAD}{TO_SIGN}")).unwrap();
    for (nsec3, hash, algorithm) in
        [("off", "zonemd-sha384", Algorithm::Sha384), ("on", "zonemd-sha512", Algorithm::Sha512)]
    {
        let at = folder.display();
        let configuration = format!(
            "server:\n  rundir: {at}\ndatabase:\n  storage: {at}/{nsec3}\npolicy:\n  - id: p\n    nsec3: {nsec3}\n    \
             nsec3-opt-out: {nsec3}\nzone:\n  - domain: example.test\n    storage: {at}\n    file: a.zone\n    \
             dnssec-signing: on\n    dnssec-policy: p\n    zonemd-generate: {hash}\n"
        );
        fs::write(folder.join("knot.conf"), configuration).unwrap();
        for new in [nsec3, &format!("out-{nsec3}")] {
            fs::create_dir_all(folder.join(new)).unwrap();
        }
        let out = format!("out-{nsec3}");
        let Some((well, said)) = run(&folder, "kzonesign", &["-c", "knot.conf", "-o", &out, "example.test"]) else {
            return;
        };
        assert!(well, "{said}");
        let zone = fs::read_to_string(folder.join(out).join("a.zone")).unwrap();
        digest_agrees("kzonesign", &zone, algorithm);
        let errors: Vec<String> = found(&zone).into_iter().filter(|text| text.starts_with("error")).collect();
        assert_eq!(errors, [""; 0], "{nsec3}\n{zone}");
    }
    fs::remove_dir_all(folder).unwrap();
}

/// What this thread has had of a CPU: other than time, it does not depend on what else the machine does.
fn cpu_time() -> Duration {
    let figures = fs::read_to_string("/proc/thread-self/schedstat").expect("the kernel counts");
    Duration::from_nanos(figures.split_whitespace().next().and_then(|first| first.parse().ok()).expect("a number"))
}

/// Large zones are checked in no time to speak of, also where all of them is faulty. The limit is far away, but not so
/// far that anything quadratic would keep it.
#[test]
fn large_zones_are_checked_in_time() {
    const NAMES: usize = 40_000;
    const LIMIT: Duration = Duration::from_secs(20);
    for faulty in [false, true] {
        let mut text = HEAD.to_owned();
        for at in 0..NAMES {
            let target = if faulty { "none" } else { "ns" };
            text += &format!("h{at} A 192.0.2.{}\nm{at} MX 1 {target}\nd{at} NS ns.d{at}\n", at % 250);
            if !faulty {
                text += &format!("ns.d{at} A 192.0.2.1\n");
            }
        }
        let image = image(&text);
        let begin = cpu_time();
        let found = check(&image, None);
        let took = cpu_time() - begin;
        eprintln!("{} names checked in {took:?}", image.names());
        let expected = if faulty { (NAMES, NAMES, 2 * FINDINGS_MAX) } else { (0, 0, 0) };
        assert_eq!((found.errors(), found.warnings(), found.iter().count()), expected);
        assert!(took < LIMIT, "{took:?}");
    }
}
