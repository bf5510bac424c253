//! What becomes of rows when the clock is set, of their numbers, of the write-ahead log when somebody reads on and on, and of
//! what is in the thread's hands when it fails or is to end.

use std::fs::OpenOptions;
use std::sync::atomic::Ordering;

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use super::*;

const HOUR: u64 = 3_600_000_000;

fn store(folder: &TempDir) -> Store {
    Store::open(&wanted(folder.path()).file, SMALLEST).unwrap()
}

fn bounds(now: u64) -> Bounds {
    Bounds { now, keep: KEEP, expires: true }
}

/// Writes a batch with a row of each of these times.
fn write(store: &mut Store, times: &[u64]) {
    let chunks: Vec<_> = times.iter().map(|&time| handed(0, time, 1, &[entry(0, b"\0")])).collect();
    store.write(&rows(&chunks), Masks::new(32, 128), KEEP).unwrap();
}

/// The numbers and the times of the rows that there are, the newest first.
fn found(store: &Store) -> Vec<(i64, u64)> {
    let found = Reader::open(&store.path, PATIENCE).unwrap().find(&Filter::default(), page(100)).unwrap();
    found.rows.iter().map(|row| (row.id, row.unix_micros)).collect()
}

/// Somebody who reads what there is now, and goes on with it.
fn somebody_who_reads(file: &Path) -> Connection {
    let reader = Connection::open(file).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    reader.query_row("SELECT count(*) FROM segment", [], |_| Ok(())).unwrap();
    reader
}

#[test]
fn a_clock_that_began_in_1970_costs_no_row_but_those_of_its_own() {
    for is_one_batch in [false, true] {
        let folder = TempDir::new().unwrap();
        let mut store = store(&folder);
        write(&mut store, &[DAY]);
        if is_one_batch {
            write(&mut store, &[5_000_000, DAY + 1, DAY + 2]);
        } else {
            write(&mut store, &[5_000_000]);
            write(&mut store, &[DAY + 1, DAY + 2]);
        }
        assert_eq!(tend(&mut store, bounds(DAY + 3)), 1);
        assert_eq!(found(&store), [(4, DAY + 2), (3, DAY + 1), (1, DAY)], "{:?}", store.segments);
        assert_eq!(tend(&mut store, bounds(DAY + 25 * HOUR)), 3);
    }
}

#[test]
fn rows_go_for_their_age_wherever_their_segment_stands() {
    let folder = TempDir::new().unwrap();
    let mut store = store(&folder);
    // For a while the clock was ten days ahead.
    write(&mut store, &[DAY + 240 * HOUR]);
    write(&mut store, &[DAY]);
    write(&mut store, &[DAY + 20 * HOUR]);
    assert_eq!(tend(&mut store, bounds(DAY + 21 * HOUR)), 0);
    // The first was written before the second, and is none of those to come.
    assert_eq!(tend(&mut store, bounds(DAY + 25 * HOUR)), 2);
    assert_eq!(found(&store), [(3, DAY + 20 * HOUR)]);
}

#[test]
fn nothing_goes_for_its_age_while_the_clock_is_in_doubt() {
    let folder = TempDir::new().unwrap();
    let mut store = store(&folder);
    write(&mut store, &[DAY, DAY + 1]);
    let late = bounds(DAY + 1_000 * HOUR);
    assert_eq!(tend(&mut store, Bounds { expires: false, ..late }), 0);
    assert_eq!(found(&store).len(), 2);
    assert_eq!(tend(&mut store, late), 2);
}

#[test]
fn a_clock_that_jumps_ahead_is_not_followed_at_once() {
    let folder = TempDir::new().unwrap();
    let (recorder, log) = started(wanted(folder.path()));
    hand_over(&recorder, 0, 7);
    stored(&log, 7);
    log.0.desk.ahead.store(4_000 * 24 * HOUR, Ordering::Relaxed);
    // Several turns of the thread.
    for first in 7..10 {
        hand_over(&recorder, first, 1);
        stored(&log, first + 1);
    }
    assert_eq!((log.figures().rows, log.figures().expired), (10, 0));
}

#[test]
fn seldom_queries_share_a_segment_as_long_as_it_spans() {
    let folder = TempDir::new().unwrap();
    let mut store = store(&folder);
    // Half an hour apart, cores late by half of that: of a day, a segment spans an hour.
    (1..6).for_each(|half| write(&mut store, &[DAY + half * HOUR / 2, DAY + half * HOUR / 2 - HOUR / 4]));
    assert_eq!(store.segments.len(), 1);
    write(&mut store, &[DAY + 9 * HOUR]);
    assert_eq!(store.segments.len(), 2);
}

#[test]
fn segments_are_no_larger_than_what_is_sorted_in_memory() {
    for (size, octets) in [(SMALLEST, 1 << 20), (1 << 30, 64 << 20), (1 << 40, 256 << 20)] {
        assert_eq!(super::super::store::segment_bounds(size).1, octets);
    }
}

#[test]
fn the_number_of_a_row_is_never_given_again() {
    let folder = TempDir::new().unwrap();
    let mut first = store(&folder);
    write(&mut first, &[DAY, DAY + 1, DAY + 2]);
    assert_eq!(tend(&mut first, bounds(DAY + 25 * HOUR)), 3);
    assert_eq!(found(&first), []);
    first.close().unwrap();
    let mut second = store(&folder);
    let later = DAY + 26 * HOUR;
    write(&mut second, &[later]);
    assert_eq!(found(&second), [(4, later)]);
    // Who has read as far as the third row finds nothing that is older.
    let reader = Reader::open(&second.path, PATIENCE).unwrap();
    let older = reader.find(&Filter::default(), Page { cursor: Some(Cursor(3)), limit: 10 }).unwrap();
    assert!(older.rows.is_empty(), "{older:?}");
    drop(reader);
    // Neither where the last goes and an earlier one stays.
    write(&mut second, &[0]);
    assert_eq!(tend(&mut second, bounds(later + 2 * HOUR)), 1);
    write(&mut second, &[later + 2 * HOUR]);
    assert_eq!(found(&second), [(6, later + 2 * HOUR), (4, later)]);
}

#[test]
fn a_log_without_rows_has_no_oldest_one() {
    let folder = TempDir::new().unwrap();
    let keep = Duration::from_secs(3_600);
    let (recorder, log) = started(Wanted { keep, ..wanted(folder.path()) });
    hand_over(&recorder, 0, 7);
    let figures = until(&log, |figures| figures.expired == 7 && figures.rows == 0);
    assert_eq!((figures.stored, figures.oldest, figures.newest), (7, None, None));
}

#[test]
fn what_made_room_is_counted_though_what_comes_next_fails() {
    let folder = TempDir::new().unwrap();
    let mut store = store(&folder);
    write(&mut store, &[DAY, DAY + 1]);
    tend(&mut store, bounds(DAY + 2 * HOUR));
    let refuse = |context: AuthContext<'_>| match context.action {
        AuthAction::Pragma { pragma_name: "page_size", .. } => Authorization::Deny,
        _ => Authorization::Allow,
    };
    store.connection.authorizer(Some(refuse)).unwrap();
    assert!(store.tend(bounds(DAY + 25 * HOUR)).is_err());
    assert_eq!((store.expired, store.rows()), (2, 0));
}

#[test]
fn who_writes_does_not_wait_for_who_reads() {
    let folder = TempDir::new().unwrap();
    let mut store = store(&folder);
    write(&mut store, &[DAY]);
    let reader = somebody_who_reads(&store.path);
    let fill = |store: &Store, table| {
        store.connection.execute_batch(&format!("CREATE TABLE {table} AS SELECT zeroblob(9000000)")).unwrap();
    };
    let octets = || fs::metadata(folder.path().join("queries.sqlite-wal")).unwrap().len();
    // More than four times what is worth writing back.
    fill(&store, "first");
    let begin = Instant::now();
    for _ in 0..20 {
        // Each time as if the last one were long ago.
        store.next_forced = begin;
        store.tend(bounds(DAY + 1)).unwrap();
    }
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert!(octets() > 8 << 20, "it reads still");
    drop(reader);
    // It is written back; what has been is not again, though nothing is written in between.
    store.tend(bounds(DAY + 1)).unwrap();
    store.tend(bounds(DAY + 1)).unwrap();
    assert_eq!(store.wal_pages.load(Ordering::Relaxed), 0);
    // Waiting is over when it is said to be, and then it begins anew.
    fill(&store, "second");
    store.next_forced = Instant::now() + PATIENCE;
    store.tend(bounds(DAY + 1)).unwrap();
    assert!(octets() > 8 << 20);
    fill(&store, "third");
    store.next_forced = Instant::now();
    store.tend(bounds(DAY + 1)).unwrap();
    assert_eq!(octets(), 0);
}

#[test]
fn a_write_ahead_log_without_end_is_told_counted_and_outlived() {
    let folder = TempDir::new().unwrap();
    let (recorder, log) = started(wanted(folder.path()));
    hand_over(&recorder, 0, 700);
    stored(&log, 700);
    let reader = somebody_who_reads(&log.file());
    hand_over(&recorder, 700, 700);
    stored(&log, 1_400);
    // As if as much as that had been written meanwhile.
    let wal = OpenOptions::new().write(true).open(folder.path().join("queries.sqlite-wal")).unwrap();
    wal.set_len(257 << 20).unwrap();
    hand_over(&recorder, 1_400, 700);
    let figures = until(&log, |figures| figures.dropped == 700);
    assert!(figures.trouble.as_ref().is_some_and(|why| why.contains("reads it for too long")), "{figures:?}");
    assert!(figures.put_aside == 0 && figures.failures >= 1);
    drop(reader);
    hand_over(&recorder, 2_100, 700);
    let figures = until(&log, |figures| figures.stored == 2_100 && figures.trouble.is_none());
    assert_eq!((figures.dropped, figures.rows), (700, 2_100));
}

#[test]
fn a_panic_loses_nothing_uncounted() {
    let folder = TempDir::new().unwrap();
    let (recorder, log) = started(wanted(folder.path()));
    hand_over(&recorder, 0, 7);
    stored(&log, 7);
    log.0.desk.panics.store(true, Ordering::Relaxed);
    recorder.logged(handed(0, DAY, 3, &[entry(0, b"\0"), entry(1, b"\0")]));
    let figures = until(&log, |figures| figures.dropped > 0);
    assert_eq!((figures.stored, figures.dropped, figures.dropped_queries, figures.failures), (7, 2, 6, 1));
    assert!(figures.trouble.is_some_and(|why| why.contains("failed")) && !figures.is_open);
    hand_over(&recorder, 9, 7);
    let figures = until(&log, |figures| figures.stored == 14 && figures.trouble.is_none());
    assert_eq!((figures.dropped, figures.rows), (2, 14));
    // While it is closed, too.
    log.0.desk.panics.store(true, Ordering::Relaxed);
    hand_over(&recorder, 16, 7);
    assert_eq!(log.close(PATIENCE), Ok(()));
    let figures = log.figures();
    assert_eq!((figures.stored, figures.dropped), (14, 9));
}

#[test]
fn what_is_missing_when_closing_takes_too_long_is_said() {
    let folder = TempDir::new().unwrap();
    let (recorder, log) = started(wanted(folder.path()));
    hand_over(&recorder, 0, 700);
    stored(&log, 700);
    let other = Connection::open(log.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    hand_over(&recorder, 700, 1_400);
    assert_eq!(log.close(Duration::ZERO), Err(1_400));
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(log.close(PATIENCE), Ok(()));
    let figures = log.figures();
    assert_eq!(figures.stored + figures.dropped, 2_100);
}

#[test]
fn a_log_that_is_closed_leaves_indexes_for_later() {
    let folder = TempDir::new().unwrap();
    let wanted = wanted(folder.path());
    let (recorder, recordings) = recordings(Vec::new());
    hand_over(&recorder, 0, 100 * 700);
    let log = QueryLog::start(recordings.log, recordings.losses, wanted.clone()).unwrap();
    assert_eq!(log.close(PATIENCE), Ok(()));
    assert_eq!((log.figures().stored, log.figures().dropped), (70_000, 0));
    let mut store = store(&folder);
    let closed = store.segments.len() - 2;
    assert_eq!(store.segments[closed].stage, 0, "{:?}", store.segments);
    store.tend(bounds(DAY)).unwrap();
    assert!(store.segments[closed].is_indexed());
}

#[test]
fn who_keeps_more_of_addresses_keeps_it_of_later_queries() {
    let folder = TempDir::new().unwrap();
    let few = Wanted { client_prefix_v4: 24, ..wanted(folder.path()) };
    let more = Wanted { client_prefix_v4: 32, ..few.clone() };
    let clients = |log: &QueryLog| {
        let found = log.find(&Filter::default(), page(1_000)).unwrap();
        found.rows.iter().map(|row| row.client.to_string()).collect::<Vec<_>>()
    };
    let (recorder, log) = started(few.clone());
    hand_over(&recorder, 0, 5);
    log.want(more.clone());
    // A core hands it over a little later.
    hand_over(&recorder, 5, 5);
    stored(&log, 10);
    assert_eq!(clients(&log), ["192.0.2.0"; 10]);
    let end = Instant::now() + PATIENCE;
    for first in 10.. {
        hand_over(&recorder, first, 1);
        stored(&log, first + 1);
        if clients(&log)[0] == "192.0.2.9" {
            break;
        }
        assert!(Instant::now() < end, "less than is wanted is kept for ever");
    }

    // What waits while there is trouble came before, however long it waits.
    let blocked = folder.path().join("blocked");
    fs::create_dir(&blocked).unwrap();
    let (recorder, log) = started(Wanted { file: blocked.clone(), ..few });
    hand_over(&recorder, 0, 5);
    until(&log, |figures| figures.trouble.is_some());
    log.want(Wanted { file: blocked.clone(), ..more });
    std::thread::sleep(Duration::from_millis(2_500));
    fs::remove_dir(&blocked).unwrap();
    stored(&log, 5);
    hand_over(&recorder, 5, 5);
    stored(&log, 10);
    assert_eq!(clients(&log), ["192.0.2.0"; 10]);
}
