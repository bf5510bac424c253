//! Files written and read with cores that are none.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::Ordering;

use tempfile::TempDir;

use super::*;
use crate::config;
use crate::cores::fake::Fake;

const NOW: u64 = 1_700_000_000;
const LIMIT: Duration = Duration::from_secs(60);

const SETTINGS: &str = "[[upstream]]\nname = \"a\"\nservers = [\"udp://192.0.2.1:53\"]\n\
    [[upstream]]\nname = \"b\"\nkind = \"authoritative\"\nservers = [\"udp://dns.example.test:53\"]\n\
    [[route]]\nsuffix = \".\"\nto = [\"a\"]\n[[route]]\nsuffix = \"example.test\"\nto = [\"b\", \"a\"]\n\
    [[route]]\nsuffix = \"x.test\"\nto = [\"refuse\"]\n";

fn settings(text: &str) -> Settings {
    config::parse("a test", text, Path::new("/")).unwrap_or_else(|faults| panic!("{faults}"))
}

struct Scene {
    folder: TempDir,
    dump: Dump,
}

impl Scene {
    fn new(cores: usize) -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let dump = Dump::new(folder.path(), &settings(SETTINGS), cores);
        Scene { folder, dump }
    }

    /// A file of two portions of core 0 and one of core 1.
    fn written() -> Scene {
        let scene = Scene::new(2);
        assert_eq!(scene.dump.write(&cores([&["one", "two"], &["three"]]), NOW, LIMIT), Ok(11));
        scene
    }

    fn octets(&self) -> Vec<u8> {
        fs::read(&self.dump.path).unwrap()
    }

    fn is_there(&self) -> bool {
        self.dump.is_there()
    }

    fn is_aside(&self) -> bool {
        self.folder.path().join("cache.refused").exists()
    }
}

fn cores(caches: [&[&str]; 2]) -> Fake {
    let cores = Fake::default();
    for (cache, portions) in cores.caches.iter().zip(caches) {
        *cache.lock().unwrap() = portions.iter().map(|portion| portion.as_bytes().to_vec()).collect();
    }
    cores
}

fn held(cores: &Fake) -> [Vec<String>; 2] {
    [0, 1].map(|core: usize| {
        let cache = cores.caches[core].lock().unwrap();
        cache.iter().map(|portion| String::from_utf8_lossy(portion).into_owned()).collect()
    })
}

#[test]
fn every_core_gets_what_it_had() {
    let scene = Scene::written();
    assert_eq!(fs::metadata(&scene.dump.path).unwrap().permissions().mode() & 0o777, 0o600);
    let cores = Fake::default();
    assert_eq!(scene.dump.read(&cores, NOW + 60), End::Taken { answers: 11 });
    assert_eq!(held(&cores), [vec!["one".to_owned(), "two".to_owned()], vec!["three".to_owned()]]);
    assert!(scene.is_there() && !scene.is_aside(), "whoever reads it removes it");
    scene.dump.forget();
    assert_eq!(scene.dump.read(&cores, NOW), End::Absent);
    scene.dump.forget();
}

#[test]
fn other_cores_share_it() {
    let scene = Scene::written();
    let one = Dump { cores: 1, ..scene.dump.clone() };
    let cores = Fake::default();
    assert_eq!(one.read(&cores, NOW), End::Taken { answers: 11 });
    assert_eq!(held(&cores)[0].len(), 3, "one core has all");

    one.write(&super::tests::cores([&["a", "b", "c", "d"], &[]]), NOW, LIMIT).unwrap();
    let cores = Fake::default();
    assert_eq!(scene.dump.read(&cores, NOW), End::Taken { answers: 4 });
    assert_eq!(held(&cores).map(|cache| cache.len()), [2, 2]);
}

#[test]
fn an_empty_cache_is_a_file_too_and_empty_portions_are_left_out() {
    let scene = Scene::new(2);
    assert_eq!(scene.dump.write(&cores([&[], &["", "x", ""]]), NOW, LIMIT), Ok(1));
    let cores = Fake::default();
    assert_eq!(scene.dump.read(&cores, NOW), End::Taken { answers: 1 });
    assert_eq!(held(&cores), [vec![], vec!["x".to_owned()]]);
}

#[test]
fn no_octet_can_be_another_one_and_none_can_be_missing() {
    let scene = Scene::written();
    let whole = scene.octets();
    assert_eq!(whole.len(), HEAD_OCTETS + 4 * (BEFORE_OCTETS + CRC_OCTETS) + CRC_OCTETS + 11);
    let refused = |octets: &[u8], what: &str| {
        fs::write(&scene.dump.path, octets).unwrap();
        let cores = Fake::default();
        assert_eq!(scene.dump.read(&cores, NOW), End::Refused, "{what}");
        assert_eq!(held(&cores), [vec![], Vec::<String>::new()], "{what}: nothing is loaded");
        assert!(scene.is_aside() && !scene.is_there(), "{what}");
    };
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut other = whole.clone();
            other[at] ^= 1 << bit;
            refused(&other, &format!("bit {bit} of octet {at}"));
        }
        refused(&whole[..at], &format!("the first {at} octets"));
    }
    refused(&[&whole[..], b"x"].concat(), "one octet more");
    refused(b"", "nothing");
    let end = whole.len() - BEFORE_OCTETS - CRC_OCTETS;
    let last = end - BEFORE_OCTETS - CRC_OCTETS - 5;
    refused(&[&whole[..last], &whole[end..]].concat(), "a portion less");
    refused(&[&whole[..end], &whole[last..]].concat(), "a portion twice");
}

#[test]
fn a_portion_that_claims_to_be_huge_is_not_made_room_for() {
    let scene = Scene::written();
    let mut octets = scene.octets();
    octets.truncate(HEAD_OCTETS + CRC_OCTETS);
    octets.extend([PORTION, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    fs::write(&scene.dump.path, &octets).unwrap();
    let mut reader = Reader { file: BufReader::new(File::open(&scene.dump.path).unwrap()), portions: 0 };
    reader.head().unwrap();
    let mut portion = Vec::new();
    assert!(matches!(reader.next(&mut portion), Err(Refused::Damaged("a portion is too long"))));
    assert_eq!(portion.capacity(), 0);
}

#[test]
fn what_was_written_for_others_or_later_is_refused() {
    let scene = Scene::written();
    let whole = scene.octets();
    let why = |octets: &[u8], fingerprint: u64, now: u64| {
        let mut reader = Reader { file: BufReader::new(octets), portions: 0 };
        let dump = Dump { fingerprint, ..scene.dump.clone() };
        reader.head().and_then(|head| dump.check_head(head, now)).map_err(|refused| refused.to_string())
    };
    let own = scene.dump.fingerprint;
    assert_eq!(why(&whole, own, NOW), Ok(2));
    assert_eq!(why(&whole, own, NOW - CLOCK_SLACK), Ok(2));
    assert_eq!(
        why(&whole, own, NOW - CLOCK_SLACK - 1).unwrap_err(),
        "the clock has been put back since it was written"
    );
    assert_eq!(why(&whole, 1, NOW).unwrap_err(), "routes or upstreams have been changed since it was written");
    let mut later = whole.clone();
    later[9] += 1;
    assert_eq!(why(&later, own, NOW).unwrap_err(), "its format has version 2, and 1 is known here");
    assert_eq!(why(&[b'#'; 100], own, NOW).unwrap_err(), "it is no cache of ringdns");
    assert_eq!(why(b"RDNC", own, NOW).unwrap_err(), "it is damaged: it ends too early");
}

#[test]
fn what_a_core_does_not_understand_ends_the_reading() {
    let scene = Scene::new(2);
    scene.dump.write(&cores([&["one", "!", "two"], &[]]), NOW, LIMIT).unwrap();
    let cores = Fake::default();
    assert_eq!(scene.dump.read(&cores, NOW), End::Refused);
    assert_eq!(held(&cores)[0], ["one"]);
    assert!(scene.is_aside());
}

#[test]
fn cores_that_do_not_answer_are_not_the_files_fault() {
    let scene = Scene::written();
    let silent = Fake::default();
    silent.awake.store(false, Ordering::Relaxed);
    assert_eq!(scene.dump.read(&silent, NOW), End::Left);
    assert!(scene.is_there() && !scene.is_aside());

    // A cache that cannot be had whole is not written: what was there stays.
    let before = scene.octets();
    assert!(scene.dump.write(&silent, NOW, LIMIT).unwrap_err().contains("no answer in time from core 0"));
    assert!(scene.dump.write(&cores([&["other"], &[]]), NOW, Duration::ZERO).unwrap_err().contains("too long"));
    scene.dump.cancel();
    assert!(scene.dump.write(&cores([&["other"], &[]]), NOW, LIMIT).unwrap_err().contains("any more"));
    assert_eq!(scene.octets(), before);
    assert_eq!(fs::read_dir(scene.folder.path()).unwrap().count(), 1, "nothing is left behind");
}

#[test]
fn only_what_decides_who_is_asked_makes_another_fingerprint() {
    let of = |text: &str| fingerprint(&settings(text));
    let own = of(SETTINGS);
    for (from, to) in [
        ("192.0.2.1", "192.0.2.2"),
        ("udp://192.0.2.1", "tcp://192.0.2.1"),
        ("dns.example", "dns2.example"),
        ("kind = \"authoritative\"\n", ""),
        ("suffix = \"example.test\"", "suffix = \"example2.test\""),
        ("to = [\"b\", \"a\"]", "to = [\"b\"]"),
        ("to = [\"b\", \"a\"]", "to = [\"a\", \"b\"]"),
        ("name = \"b\"\n", "name = \"b\"\npriority = 7\n"),
    ] {
        assert_ne!(of(&SETTINGS.replacen(from, to, 1)), own, "{from} to {to}");
    }
    for (from, to) in [
        ("x.test", "y.test"),
        ("name = \"a\"\n", "name = \"a\"\npriority = 7\n"),
        ("name = \"a\"\n", "name = \"a\"\nstrategy = \"fallback\"\ntimeout = \"1s\"\n"),
        (
            "[[upstream]]\nname = \"a\"",
            "[[upstream]]\nname = \"c\"\nservers = [\"udp://192.0.2.9:53\"]\n[[upstream]]\nname = \"a\"",
        ),
    ] {
        assert_eq!(of(&SETTINGS.replacen(from, to, 1)), own, "{from} to {to}");
    }
    // In every process, on every machine.
    assert_eq!(own, FINGERPRINT);
}

/// That of [`SETTINGS`].
const FINGERPRINT: u64 = 0xdda3_33f1_fbab_3062;
