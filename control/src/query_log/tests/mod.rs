//! The log as a whole: from chunks that cores hand over to answers, and what happens on the way.

mod answers;
mod faults;
mod speed;
mod tending;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use ringdns_shard::telemetry::log::{Entry, Outcome, Policy};
use ringdns_shard::transport::Transport;
use tempfile::TempDir;

use super::ask::Reader;
use super::question::{Cursor, PAGE_ROWS_MAX, RANKS_MAX};
use super::row::Masks;
use super::row::rows;
use super::row::tests::{entry, handed};
use super::store::Store;
use super::tend::Bounds;
use super::*;
use crate::recording::{Recorder, recordings};

/// How long anything may take here: the thread has the lowest priority, and the machine other work.
const PATIENCE: Duration = Duration::from_secs(60);
/// The smallest file that can be configured: its segments are short.
const SMALLEST: u64 = 16 << 20;
/// The time of the day of tests, in microseconds.
const DAY: u64 = 1_700_000_000_000_000;
/// How long queries are kept where nothing else is said.
const KEEP: Duration = Duration::from_secs(86_400);

fn wanted(folder: &Path) -> Wanted {
    Wanted {
        enabled: true,
        file: folder.join("queries.sqlite"),
        keep: Duration::from_secs(3_650 * 86_400),
        size: SMALLEST,
        client_prefix_v4: 32,
        client_prefix_v6: 128,
    }
}

fn started(wanted: Wanted) -> (Recorder, QueryLog) {
    let (recorder, recordings) = recordings(Vec::new());
    let log = QueryLog::start(recordings.log, recordings.losses, wanted).unwrap();
    (recorder, log)
}

/// Waits until the log is open and has written so many entries.
fn stored(log: &QueryLog, entries: u64) {
    until(log, |figures| figures.is_open && figures.stored == entries);
}

/// Waits for the figures to be so.
fn until(log: &QueryLog, is_so: impl Fn(&Figures) -> bool) -> Figures {
    let end = Instant::now() + PATIENCE;
    loop {
        let figures = log.figures();
        if is_so(&figures) {
            return figures;
        }
        assert!(Instant::now() < end, "{figures:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// `count` entries of a core that asks for one name a query, from the `first` on.
fn hand_over(recorder: &Recorder, first: u64, count: u64) {
    let names: Vec<Vec<u8>> = (first..first + count).map(numbered).collect();
    let entries: Vec<Entry<'_>> = names.iter().map(|name| entry(0, name)).collect();
    entries.chunks(700).zip(0..).for_each(|(some, number)| recorder.logged(handed(0, DAY + first + number, 1, some)));
}

/// `h<number>.example.test` as it stands in messages.
fn numbered(number: u64) -> Vec<u8> {
    let label = format!("h{number}");
    [&[label.len() as u8], label.as_bytes(), b"\x07example\x04test\0"].concat()
}

fn page(limit: usize) -> Page {
    Page { cursor: None, limit }
}

#[test]
fn the_file_is_in_the_state_folder_unless_it_is_named() {
    let settings = |text: &str| crate::config::parse("test", text, Path::new("/etc/ringdns")).unwrap();
    let log = Wanted::of(&settings("[server]\nstate = \"/var/lib/ringdns\"\n"));
    assert_eq!((log.enabled, log.file), (false, PathBuf::from("/var/lib/ringdns/queries.sqlite")));
    let log =
        Wanted::of(&settings("[query_log]\nenabled = true\nfile = \"/srv/q.db\"\nkeep = \"2h\"\nsize = \"1GiB\"\n"));
    assert_eq!((log.enabled, log.file), (true, PathBuf::from("/srv/q.db")));
    assert_eq!((log.keep, log.size), (Duration::from_secs(7_200), 1 << 30));
}

#[test]
fn what_was_handed_over_is_found_as_it_was() {
    let folder = TempDir::new().unwrap();
    let (recorder, log) = started(wanted(folder.path()));
    let server: SocketAddr = "[2001:db8::35]:853".parse().unwrap();
    let entries = [
        Entry { qtype: 28, rcode: Some(3), dnssec_ok: true, outcome: Outcome::Zone, ..entry(1, b"\x01a\x04test\0") },
        Entry {
            upstream: Some(ringdns_shard::telemetry::log::Asked { tcp: true, server }),
            client: "[2001:db8::9]:9".parse().unwrap(),
            outcome: Outcome::Resolved,
            ..entry(2, b"\x03a.b\x04test\0")
        },
        Entry { outcome: Outcome::Dropped, policy: Policy::Rrl, rcode: None, reply_octets: 0, ..entry(3, b"\0") },
        Entry {
            transport: Transport::Tcp,
            outcome: Outcome::Refused,
            rcode: Some(1),
            latency_micros: 9,
            ..entry(4, b"")
        },
    ];
    recorder.logged(handed(3, DAY, 5, &entries));
    stored(&log, 4);
    let found = log.find(&Filter::default(), page(10)).unwrap();
    assert_eq!(found.next, None);
    let plain = Logged {
        id: 1,
        unix_micros: DAY + 1,
        core: 3,
        client: "192.0.2.9".parse().unwrap(),
        name: Some("a.test.".to_owned()),
        qtype: 28,
        rcode: Some(3),
        transport: Transport::Udp,
        outcome: Outcome::Zone,
        policy: Policy::None,
        latency_micros: 250,
        reply_octets: 90,
        upstream: None,
        dnssec_ok: true,
        weight: 5,
    };
    let expected = [
        Logged {
            id: 4,
            unix_micros: DAY + 4,
            name: None,
            qtype: 1,
            rcode: Some(1),
            transport: Transport::Tcp,
            outcome: Outcome::Refused,
            latency_micros: 9,
            dnssec_ok: false,
            ..plain.clone()
        },
        Logged {
            id: 3,
            unix_micros: DAY + 3,
            name: Some(".".to_owned()),
            qtype: 1,
            rcode: None,
            outcome: Outcome::Dropped,
            policy: Policy::Rrl,
            reply_octets: 0,
            dnssec_ok: false,
            ..plain.clone()
        },
        Logged {
            id: 2,
            unix_micros: DAY + 2,
            client: "2001:db8::9".parse().unwrap(),
            name: Some(r"a\.b.test.".to_owned()),
            qtype: 1,
            rcode: Some(0),
            outcome: Outcome::Resolved,
            upstream: Some("tcp://[2001:db8::35]:853".to_owned()),
            dnssec_ok: false,
            ..plain.clone()
        },
        plain,
    ];
    assert_eq!(found.rows, expected);
    let figures = log.figures();
    assert_eq!((figures.stored, figures.stored_queries, figures.dropped, figures.batches), (4, 20, 0, 1));
    assert_eq!((figures.rows, figures.oldest, figures.newest), (4, Some(DAY + 1), Some(DAY + 4)));
    assert!(figures.is_open && figures.is_enabled && figures.wal_octets > 0 && figures.failures == 0);
    assert_eq!((figures.questions, figures.questions_failed), (1, 0));
}

#[test]
fn only_the_owner_may_read_the_files() {
    let folder = TempDir::new().unwrap();
    let (recorder, log) = started(wanted(&folder.path().join("made")));
    hand_over(&recorder, 0, 1);
    stored(&log, 1);
    let files: Vec<_> = fs::read_dir(folder.path().join("made")).unwrap().map(Result::unwrap).collect();
    assert_eq!(files.len(), 4, "{files:?}");
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}

#[test]
fn the_log_goes_on_where_it_was_closed() {
    let folder = TempDir::new().unwrap();
    let (recorder, log) = started(wanted(folder.path()));
    hand_over(&recorder, 0, 1_400);
    assert_eq!((log.close(PATIENCE), log.close(PATIENCE)), (Ok(()), Ok(())));
    assert!(!wanted(folder.path()).file.with_extension("sqlite-wal").exists(), "all of it is in one file");
    assert_eq!(log.figures().stored, 1_400);
    hand_over(&recorder, 1_400, 700);
    let figures = until(&log, |figures| figures.dropped == 700);
    assert!(!figures.is_open && !figures.is_enabled && figures.trouble.is_none());
    assert_eq!(log.find(&Filter::default(), page(1)), Err(NotFound::Off));

    let (recorder, log) = started(wanted(folder.path()));
    hand_over(&recorder, 2_100, 700);
    stored(&log, 700);
    let all = log.find(&Filter::default(), page(1_000)).unwrap();
    assert_eq!((all.rows[0].id, all.rows[700].id, all.rows[999].id), (2_100, 1_400, 1_101));
    assert_eq!(log.figures().rows, 2_100);
}

#[test]
fn a_thread_that_nobody_hands_anything_closes_the_log() {
    let folder = TempDir::new().unwrap();
    let (recorder, log) = started(wanted(folder.path()));
    hand_over(&recorder, 0, 7);
    drop(recorder);
    until(&log, |figures| figures.stored == 7 && !figures.is_open);
    assert_eq!(log.close(PATIENCE), Ok(()));
}

#[test]
fn what_a_crash_left_is_read_from_the_write_ahead_log() {
    let folder = TempDir::new().unwrap();
    let (recorder, log) = started(wanted(folder.path()));
    hand_over(&recorder, 0, 1_400);
    stored(&log, 1_400);
    // As it lies on the disk while the log is open.
    let crashed = folder.path().join("crashed");
    fs::create_dir(&crashed).unwrap();
    for ending in ["", "-wal"] {
        let name = format!("queries.sqlite{ending}");
        fs::copy(folder.path().join(&name), crashed.join(&name)).unwrap();
    }
    let (recorder, log) = started(wanted(&crashed));
    hand_over(&recorder, 1_400, 700);
    stored(&log, 700);
    assert_eq!((log.figures().rows, log.figures().put_aside), (2_100, 0));
}

#[test]
fn a_reload_changes_the_file_the_addresses_and_whether_there_is_a_log() {
    let folder = TempDir::new().unwrap();
    let first = wanted(folder.path());
    let (recorder, log) = started(first.clone());
    hand_over(&recorder, 0, 10);
    let second = Wanted { file: folder.path().join("other.sqlite"), client_prefix_v4: 24, ..first.clone() };
    log.want(second.clone());
    until(&log, |figures| figures.stored == 10 && figures.rows == 0);
    hand_over(&recorder, 10, 5);
    stored(&log, 15);
    assert_eq!(log.file(), second.file);
    let found = log.find(&Filter::default(), page(10)).unwrap();
    assert_eq!((found.rows.len(), found.rows[0].client.to_string()), (5, "192.0.2.0".to_owned()));

    log.want(Wanted { enabled: false, ..second.clone() });
    until(&log, |figures| !figures.is_enabled);
    hand_over(&recorder, 15, 3);
    let figures = until(&log, |figures| figures.dropped == 3);
    assert_eq!((figures.stored, figures.failures, figures.trouble), (15, 0, None));
    assert_eq!(log.find(&Filter::default(), page(10)), Err(NotFound::Off));

    log.want(first);
    until(&log, |figures| figures.is_open);
    assert_eq!(log.find(&Filter::default(), page(100)).unwrap().rows.len(), 10);
}

/// Octets of the file once everything is written back.
fn octets(store: &Store) -> u64 {
    let number = |pragma: &str| store.connection.query_row(pragma, [], |row| row.get::<_, i64>(0)).unwrap() as u64;
    number("PRAGMA page_count") * number("PRAGMA page_size")
}

/// Tends until nothing is left to do; how many rows have made room.
fn tend(store: &mut Store, bounds: Bounds) -> u64 {
    let mut expired = 0;
    for _ in 0..1_000 {
        let before = (store.segments.clone(), octets(store));
        store.tend(bounds).unwrap();
        expired += std::mem::take(&mut store.expired);
        if before == (store.segments.clone(), octets(store)) {
            return expired;
        }
    }
    panic!("there is no end of it");
}

#[test]
fn what_is_too_much_makes_room_segment_by_segment() {
    let folder = TempDir::new().unwrap();
    let path = wanted(folder.path()).file;
    let mut store = Store::open(&path, SMALLEST).unwrap();
    let bounds = Bounds { now: DAY, keep: KEEP, expires: true };
    // Binary names take four octets each in presentation format.
    let names: Vec<Vec<u8>> =
        (0..200u8).map(|octet| [&[60][..], &[octet | 0x80; 60], b"\x04test\0"].concat()).collect();
    let entries: Vec<Entry<'_>> = names.iter().cycle().take(1_000).map(|name| entry(0, name)).collect();
    let (mut written, mut expired) = (0, 0);
    for number in 0..100 {
        store.write(&rows(&[handed(0, DAY + number, 1, &entries)]), Masks::new(32, 128), KEEP).unwrap();
        written += 1_000;
        store.tend(bounds).unwrap();
        expired += std::mem::take(&mut store.expired);
        assert!(octets(&store) <= SMALLEST, "{} octets after {written} rows", octets(&store));
        assert_eq!(store.rows(), written - expired);
    }
    assert!(expired > 0 && octets(&store) > SMALLEST / 2, "{expired}");
    assert!(store.segments.iter().rev().skip(1).all(|segment| segment.is_indexed()), "{:?}", store.segments);
    let first = store.segments[0].first_row;
    assert_eq!(first, 1 + expired as i64);

    // A file that may be no longer so large is made smaller.
    let before = octets(&store);
    store.size = SMALLEST / 4;
    expired += tend(&mut store, bounds);
    store.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let after = fs::metadata(&path).unwrap().len();
    assert!(after <= SMALLEST / 4 && after < before, "{before} {after}");
    assert_eq!(store.rows(), written - expired);
    let check: String = store.connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

#[test]
fn what_is_too_old_is_gone_though_nothing_comes() {
    let folder = TempDir::new().unwrap();
    let mut store = Store::open(&wanted(folder.path()).file, SMALLEST).unwrap();
    let keep = Duration::from_secs(3_600);
    let at = |seconds: u64| Bounds { now: DAY + seconds * 1_000_000, keep, expires: true };
    for minute in 0..4 {
        let row = handed(0, DAY + minute * 60_000_000, 1, &[entry(0, b"\0")]);
        store.write(&rows(&[row]), Masks::new(32, 128), KEEP).unwrap();
        assert_eq!(tend(&mut store, at(minute * 60)), 0);
    }
    // A segment spans a part of what is kept: three minutes are one too many for an hour.
    assert_eq!(store.segments.iter().map(|segment| segment.rows).collect::<Vec<_>>(), [4]);
    assert!(store.segments[0].is_indexed());
    assert_eq!(tend(&mut store, at(3_600)), 0);
    assert_eq!(tend(&mut store, at(3_601)), 4);
    assert_eq!((store.rows(), store.segments.len()), (0, 1));
    store.write(&rows(&[handed(0, DAY, 1, &[entry(0, b"\0")])]), Masks::new(32, 128), KEEP).unwrap();
    assert_eq!(store.rows(), 1);
}

#[test]
fn the_write_ahead_log_is_written_back() {
    let folder = TempDir::new().unwrap();
    let mut store = Store::open(&wanted(folder.path()).file, SMALLEST).unwrap();
    let names: Vec<Vec<u8>> = (0..2_000).map(numbered).collect();
    let entries: Vec<Entry<'_>> = names.iter().map(|name| entry(0, name)).collect();
    let bounds = Bounds { now: DAY, keep: KEEP, expires: true };
    let mut most = 0;
    for number in 0..60 {
        store.write(&rows(&[handed(0, DAY + number, 1, &entries)]), Masks::new(32, 128), KEEP).unwrap();
        store.tend(bounds).unwrap();
        most = most.max(fs::metadata(folder.path().join("queries.sqlite-wal")).unwrap().len());
    }
    assert!((SMALLEST / 8..SMALLEST / 2).contains(&most), "{most}");
}

#[test]
fn numbers_in_files_keep_their_meaning() {
    // Whoever changes one of these must give the tables another version.
    let names = |all: Vec<&'static str>| all.join(" ");
    assert_eq!(
        names(Outcome::ALL.iter().map(|outcome| outcome.name()).collect()),
        "zone cache stale resolved failed local transfer refused dropped"
    );
    assert_eq!(
        names(Policy::ALL.iter().map(|policy| policy.name()).collect()),
        "none acl route type rate rrl bound signature"
    );
    assert_eq!(names(Transport::ALL.iter().map(|transport| transport.name()).collect()), "udp tcp");
}
