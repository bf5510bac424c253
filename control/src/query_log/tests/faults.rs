//! Files that are not as they should be, others that use them, and disks without room: the log says what is wrong, loses
//! nothing uncounted, and goes on when it can.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};

use rusqlite::Connection;

use super::*;

/// What each entry came to.
fn counted(figures: &Figures) -> u64 {
    figures.stored + figures.dropped
}

fn asides(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut asides: Vec<PathBuf> = paths.filter(|path| path.to_string_lossy().contains(".corrupt-")).collect();
    asides.sort();
    asides
}

#[test]
fn what_is_no_data_base_is_put_aside_and_kept() {
    let folder = TempDir::new().unwrap();
    let wanted = wanted(folder.path());
    let garbage = b"this is no data base, and somebody may want it".repeat(100);
    fs::write(&wanted.file, &garbage).unwrap();
    let (recorder, log) = started(wanted);
    hand_over(&recorder, 0, 700);
    let figures = until(&log, |figures| figures.stored == 700);
    assert_eq!((figures.put_aside, figures.failures, figures.dropped, figures.trouble), (1, 1, 0, None));
    let asides = asides(folder.path());
    assert_eq!(asides.len(), 1);
    assert_eq!(fs::read(&asides[0]).unwrap(), garbage);
}

#[test]
fn a_data_base_that_is_damaged_is_put_aside_whenever_that_is_found_out() {
    // Pages from 20 on are not read before room is made.
    for first in [1, 20] {
        let folder = TempDir::new().unwrap();
        let wanted = wanted(folder.path());
        let (recorder, log) = started(wanted.clone());
        hand_over(&recorder, 0, 70_000);
        assert_eq!(log.close(PATIENCE), Ok(()));
        let pages = OpenOptions::new().write(true).open(&wanted.file).unwrap();
        let octets = pages.metadata().unwrap().len();
        (first..octets / 4_096).for_each(|page| pages.write_all_at(&[0xee; 4_096], page * 4_096).unwrap());
        let (recorder, log) = started(Wanted { size: SMALLEST / 4, ..wanted });
        let figures = until(&log, |figures| figures.put_aside >= 1 && figures.is_open);
        assert_eq!((figures.put_aside, figures.failures, figures.rows), (1, 1, 0), "{figures:?}");
        hand_over(&recorder, 0, 7_000);
        let figures = until(&log, |figures| counted(figures) == 7_000);
        assert_eq!((figures.stored, figures.trouble), (7_000, None));
        let asides = asides(folder.path());
        assert_eq!(fs::metadata(&asides[0]).unwrap().len(), octets);
    }
}

#[test]
fn a_data_base_whose_tables_are_not_ours_any_more_is_put_aside() {
    for change in [
        "CREATE TABLE entries_2 (something)",
        "DROP TABLE segment",
        "UPDATE segment SET first_row = 'first'",
        "UPDATE segment SET most_weight = -1",
    ] {
        let folder = TempDir::new().unwrap();
        let wanted = wanted(folder.path());
        let (recorder, log) = started(wanted.clone());
        hand_over(&recorder, 0, 7);
        assert_eq!(log.close(PATIENCE), Ok(()));
        Connection::open(&wanted.file).unwrap().execute_batch(change).unwrap();
        let (recorder, log) = started(wanted);
        until(&log, |figures| figures.is_open || figures.trouble.is_some());
        hand_over(&recorder, 0, 7);
        until(&log, |figures| figures.put_aside == 1 && figures.is_open);
        hand_over(&recorder, 7, 7);
        let figures = until(&log, |figures| counted(figures) == 14 && figures.trouble.is_none());
        assert_eq!((figures.rows, figures.put_aside), (figures.stored, 1), "{change}: {figures:?}");
        assert_eq!(asides(folder.path()).len(), 1);
    }
}

#[test]
fn files_of_others_are_left_alone() {
    let make = |sql: &'static str| move |file: &Path| Connection::open(file).unwrap().execute_batch(sql).unwrap();
    type Make = Box<dyn Fn(&Path)>;
    let cases: [(&str, Make); 4] = [
        ("another program", Box::new(make("CREATE TABLE bookmarks (url TEXT)"))),
        ("another program", Box::new(make("PRAGMA application_id = 7"))),
        ("version 99", Box::new(make("PRAGMA application_id = 0x52444e51; PRAGMA user_version = 99"))),
        ("no regular file", Box::new(|file: &Path| fs::create_dir(file).unwrap())),
    ];
    for (why, make) in cases {
        let folder = TempDir::new().unwrap();
        let wanted = wanted(folder.path());
        make(&wanted.file);
        let before = fs::read(&wanted.file).ok();
        let (recorder, log) = started(wanted.clone());
        hand_over(&recorder, 0, 700);
        let figures = until(&log, |figures| figures.failures >= 1);
        assert!(figures.trouble.as_ref().is_some_and(|trouble| trouble.contains(why)), "{figures:?}");
        assert!(matches!(log.find(&Filter::default(), page(1)), Err(NotFound::Trouble(told)) if told.contains(why)));
        assert_eq!(fs::read(&wanted.file).ok(), before);
        // What came waits, and is written where it can be.
        log.want(Wanted { file: folder.path().join("mine.sqlite"), ..wanted });
        let figures = until(&log, |figures| figures.stored == 700);
        assert_eq!((figures.dropped, figures.put_aside, figures.trouble), (0, 0, None));
    }
}

#[test]
fn one_process_has_the_file() {
    let folder = TempDir::new().unwrap();
    let wanted = wanted(folder.path());
    let store = Store::open(&wanted.file, SMALLEST).unwrap();
    let (recorder, log) = started(wanted);
    hand_over(&recorder, 0, 7);
    let figures = until(&log, |figures| figures.failures >= 1);
    assert!(figures.trouble.as_ref().is_some_and(|why| why.contains("another process")), "{figures:?}");
    store.close().unwrap();
    let figures = until(&log, |figures| figures.stored == 7);
    assert_eq!((figures.dropped, figures.trouble), (0, None));
}

#[test]
fn entries_that_find_no_room_while_somebody_holds_the_data_base_are_counted() {
    let folder = TempDir::new().unwrap();
    let wanted = wanted(folder.path());
    let (recorder, log) = started(wanted.clone());
    hand_over(&recorder, 0, 7_000);
    stored(&log, 7_000);
    let other = Connection::open(&wanted.file).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    // More than the queue holds.
    hand_over(&recorder, 7_000, 400 * 700);
    let figures = until(&log, |figures| figures.trouble.is_some());
    assert!(figures.failures >= 1 && figures.stored == 7_000 && !figures.is_open, "{figures:?}");
    assert!(figures.dropped >= 100 * 700, "{figures:?}");
    other.execute_batch("ROLLBACK").unwrap();
    let figures = until(&log, |figures| counted(figures) == 7_000 + 400 * 700);
    assert_eq!((figures.dropped_queries, figures.trouble), (figures.dropped, None));
    assert!(figures.stored > 7_000, "what waited in the queue is written");
    assert_eq!(figures.rows + figures.expired, figures.stored);
}

#[test]
fn a_log_in_trouble_counts_what_it_was_handed_when_it_is_closed() {
    let folder = TempDir::new().unwrap();
    let wanted = wanted(folder.path());
    fs::create_dir(&wanted.file).unwrap();
    let (recorder, log) = started(wanted);
    hand_over(&recorder, 0, 1_400);
    until(&log, |figures| figures.trouble.is_some());
    assert_eq!(log.close(PATIENCE), Ok(()));
    until(&log, |figures| figures.dropped == 1_400 && figures.stored == 0);
}

/// Where the next test finds a disk that is nearly full.
const SMALL_DISK: &str = "RINGDNS_TEST_SMALL_DISK";

/// Writes to a disk without room until it is told so, makes room, and goes on. Run by the test below.
#[test]
#[ignore = "needs a disk of its own, which the test below makes"]
fn on_a_small_disk() {
    let folder = PathBuf::from(std::env::var_os(SMALL_DISK).expect("the caller says where"));
    let ballast = folder.join("ballast");
    let (recorder, log) = started(wanted(&folder));
    hand_over(&recorder, 0, 7_000);
    stored(&log, 7_000);
    let mut handed = 7_000;
    while log.figures().failures == 0 {
        assert!(handed < 1_000_000, "the disk is never full");
        hand_over(&recorder, handed, 7_000);
        handed += 7_000;
        std::thread::sleep(Duration::from_millis(50));
    }
    let figures = until(&log, |figures| figures.trouble.is_some());
    eprintln!("in trouble: {figures:?}");
    assert!(figures.trouble.as_ref().is_some_and(|why| why.contains("full")) && figures.put_aside == 0);
    fs::remove_file(&ballast).unwrap();
    let figures = until(&log, |figures| figures.is_open && figures.trouble.is_none() && counted(figures) == handed);
    eprintln!("mended: {figures:?}");
    hand_over(&recorder, handed, 700);
    let figures = until(&log, |figures| counted(figures) == handed + 700);
    assert_eq!(figures.rows + figures.expired, figures.stored);
    let last = log.find(&Filter::default(), page(1)).unwrap().rows.remove(0);
    assert_eq!(last.name, Some(format!("h{}.example.test.", handed + 699)));
}

#[test]
fn a_full_disk_is_told_and_outlived() {
    let folder = TempDir::new().unwrap();
    let test = std::env::current_exe().unwrap();
    // A file system of its own, seen by this process alone, most of it taken.
    let script = format!(
        "mount -t tmpfs -o size=24m tmpfs {folder} || exit 77; head -c 20m /dev/zero > {folder}/ballast; \
         {test} --exact --ignored --nocapture query_log::tests::faults::on_a_small_disk",
        folder = folder.path().display(),
        test = test.display()
    );
    let ran = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
        .env(SMALL_DISK, folder.path())
        .stdin(Stdio::null())
        .output();
    let output = match ran {
        Ok(output) if output.status.code() != Some(77) && !output.stderr.starts_with(b"unshare:") => output,
        _ => {
            eprintln!("skipped: a full disk, for no file system can be mounted here");
            return;
        }
    };
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{told}", String::from_utf8_lossy(&output.stdout));
    assert!(told.contains("in trouble") && told.contains("mended"), "{told}");
}

#[test]
fn files_that_must_not_grow_are_told_and_outlived() {
    let folder = TempDir::new().unwrap();
    let test = std::env::current_exe().unwrap();
    // Without room for more than 4 MiB in a file; writing more is an error where the signal is ignored.
    let script = format!(
        "trap '' XFSZ; ulimit -f 8192; exec {} --exact --ignored --nocapture query_log::tests::faults::with_short_files",
        test.display()
    );
    let output = Command::new("sh").args(["-c", &script]).env(SMALL_DISK, folder.path()).output().unwrap();
    let (out, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "{out}\n{told}");
}

/// Run by the test above.
#[test]
#[ignore = "needs a limit on files, which the test above sets"]
fn with_short_files() {
    let folder = PathBuf::from(std::env::var_os(SMALL_DISK).expect("the caller says where"));
    let (recorder, log) = started(wanted(&folder));
    let mut handed = 0;
    while log.figures().failures == 0 {
        assert!(handed < 1_000_000, "files grow without end");
        hand_over(&recorder, handed, 7_000);
        handed += 7_000;
        std::thread::sleep(Duration::from_millis(50));
    }
    until(&log, |figures| figures.trouble.is_some());
    // It may have failed when all that came before had been written.
    hand_over(&recorder, handed, 700);
    handed += 700;
    assert_eq!(log.close(PATIENCE), Ok(()));
    let figures = until(&log, |figures| counted(figures) == handed);
    assert!(figures.stored > 0 && figures.dropped > 0 && figures.put_aside == 0, "{figures:?}");
}
