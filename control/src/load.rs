//! Zones from disk: master files, and the copies and journals in the state folder. Reads the files that the
//! configuration names and what they include, nothing else; of the state folder it writes what a changed file means for
//! the journal.

use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ringdns_shard::wire::name::{HashKey, Name};
use ringdns_shard::wire::serial::newer;
use ringdns_shard::zone::difference::Difference;
use ringdns_shard::zone::journal::Journal;
use ringdns_shard::zone::{self, Builder, Image, Place};

use crate::config::ZoneFile;
use crate::layout::Layout;
use crate::zones::{Keeping, Source, Wanted, journal_for, stand_back};

/// Octets of a zone's files together.
const ZONE_OCTETS_MAX: u64 = 4 << 30;
/// Threads that read zones.
const THREADS_MAX: usize = 4;
/// Faults of one zone that are shown; of the others the number is.
const FAULTS_SHOWN_MAX: usize = 20;
/// Loading that takes longer shows its progress on a terminal.
const PROGRESS_AFTER: Duration = Duration::from_millis(700);
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

const DEMONSTRATION: &[u8] = include_bytes!("demonstration.zone");

/// A version of a zone: served, or ready to be.
#[derive(Debug)]
pub struct Served {
    name: Name,
    /// What the files were when they were read; another state of them means another zone. Empty for what was not read
    /// from a master file.
    stamps: Vec<Stamp>,
    /// One for each group of the layout, at least one.
    copies: Vec<Arc<Image>>,
    /// How the zone came to be what it is.
    journal: Journal,
}

impl Served {
    /// A version that did not come from a master file.
    pub(crate) fn new(copies: Vec<Arc<Image>>, journal: Journal) -> Served {
        Served { name: copies[0].apex().clone(), stamps: Vec::new(), copies, journal }
    }

    /// The name of the zone.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The zone as every group has it.
    pub fn image(&self) -> &Image {
        &self.copies[0]
    }

    /// The copies, one for each group of the layout.
    pub(crate) fn copies(&self) -> &[Arc<Image>] {
        &self.copies
    }

    /// The copy of a group of the layout.
    pub(crate) fn copy(&self, group: usize) -> &Arc<Image> {
        &self.copies[group]
    }

    /// The differences that lead to it.
    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Octets of memory, all copies together.
    pub fn octets(&self) -> usize {
        self.copies.len() * self.image().octets()
    }

    /// Whether reading its master file again would give the same.
    fn is_current(&self) -> bool {
        self.stamps.iter().all(|stamp| Stamp::of(&stamp.path).is_ok_and(|now| now == *stamp))
    }
}

/// Why a zone could not be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneFaults {
    /// The zone.
    pub zone: String,
    /// A line each, beginning with file, line and column where they are known.
    pub lines: Vec<String>,
}

impl fmt::Display for ZoneFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the zone {} is not loaded:", self.zone)?;
        for line in self.lines.iter().take(FAULTS_SHOWN_MAX) {
            write!(f, "\n{line}")?;
        }
        match self.lines.len().checked_sub(FAULTS_SHOWN_MAX) {
            Some(more @ 1..) => write!(f, "\nand {more} more"),
            _ => Ok(()),
        }
    }
}

/// A zone that is to be loaded.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) wanted: Wanted,
    /// What is served of the same file.
    pub(crate) kept: Option<Arc<Served>>,
    /// What is on disk of it.
    pub(crate) keeping: Arc<Mutex<Keeping>>,
}

/// What loading a zone gave.
#[derive(Debug)]
pub(crate) enum Loaded {
    /// What is kept is current still.
    Unchanged,
    /// A version, and how long ago it was last known fresh, where it is a copy.
    Fresh(Arc<Served>, Duration),
    /// There is no copy yet.
    Absent,
}

/// What reading a zone gave, before there is a copy for each group.
enum Read {
    Unchanged,
    /// Other files that say the same.
    Same(Arc<Served>, Vec<Stamp>),
    Fresh {
        image: Image,
        stamps: Vec<Stamp>,
        journal: Journal,
        age: Duration,
    },
    Absent,
}

type Outcome = Result<Read, ZoneFaults>;

/// How zones are loaded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner<'a> {
    pub(crate) key: HashKey,
    pub(crate) layout: &'a Layout,
    /// The cores are answering meanwhile: they come first.
    pub(crate) in_background: bool,
}

/// Loads zones, and gives for each what came of it. What is kept and unchanged on disk is not read again.
pub(crate) fn zones(jobs: &[Job], manner: Manner<'_>) -> Vec<Result<Loaded, ZoneFaults>> {
    let next = AtomicUsize::new(0);
    let (done, outcomes) = mpsc::channel();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    // Half of the CPUs: where the cores are serving already, they go on to.
    let threads = (cpus / 2).clamp(1, THREADS_MAX).min(jobs.len());
    let outcomes = std::thread::scope(|scope| {
        for _ in 0..threads {
            let (next, done) = (&next, done.clone());
            scope.spawn(move || {
                if manner.in_background {
                    stand_back();
                }
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(index) else { return };
                    done.send((index, zone(job, manner.key))).expect("the receiver waits for every thread");
                }
            });
        }
        drop(done);
        collect(jobs.len(), &outcomes)
    });
    served(outcomes, manner.layout)
}

/// Makes the copies of what was read.
fn served(outcomes: Vec<Outcome>, layout: &Layout) -> Vec<Result<Loaded, ZoneFaults>> {
    let mut images = Vec::new();
    let mut strip = |outcome: Outcome| {
        outcome.map(|read| match read {
            Read::Unchanged => (Loaded::Unchanged, None),
            Read::Absent => (Loaded::Absent, None),
            Read::Same(kept, stamps) => {
                let (copies, journal) = (kept.copies.clone(), kept.journal.clone());
                let served = Served { name: kept.name.clone(), stamps, copies, journal };
                (Loaded::Fresh(Arc::new(served), Duration::ZERO), None)
            }
            Read::Fresh { image, stamps, journal, age } => {
                images.push(image);
                (Loaded::Absent, Some((stamps, journal, age)))
            }
        })
    };
    let outcomes: Vec<_> = outcomes.into_iter().map(&mut strip).collect();
    let mut copies = layout.copies(images).into_iter();
    let finish = |outcome: Result<_, ZoneFaults>| {
        outcome.map(|(loaded, fresh)| match fresh {
            None => loaded,
            Some((stamps, journal, age)) => {
                let copies = copies.next().expect("each image has its copies");
                let name = copies[0].apex().clone();
                Loaded::Fresh(Arc::new(Served { name, stamps, copies, journal }), age)
            }
        })
    };
    outcomes.into_iter().map(finish).collect()
}

/// Waits for `count` outcomes, showing how many there are when it takes long and somebody looks on.
fn collect(count: usize, outcomes: &mpsc::Receiver<(usize, Outcome)>) -> Vec<Outcome> {
    let mut collected: Vec<_> = (0..count).map(|_| None).collect();
    let bar = ProgressBar::with_draw_target(Some(count as u64), ProgressDrawTarget::hidden()).with_style(
        ProgressStyle::with_template("loading zones {bar:30} {pos}/{len}, {elapsed}").expect("a constant of ours"),
    );
    let mut patience = PROGRESS_AFTER;
    loop {
        match outcomes.recv_timeout(patience) {
            Ok((index, outcome)) => {
                collected[index] = Some(outcome);
                bar.inc(1);
            }
            Err(RecvTimeoutError::Timeout) => {
                if bar.is_hidden() {
                    // Draws nothing where standard error is no terminal.
                    bar.set_draw_target(ProgressDrawTarget::stderr());
                }
                bar.tick();
                patience = PROGRESS_EVERY;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    bar.finish_and_clear();
    collected.into_iter().map(|outcome| outcome.expect("each thread sends one for each zone it takes")).collect()
}

fn zone(job: &Job, key: HashKey) -> Outcome {
    let faults = |lines| ZoneFaults { zone: job.wanted.apex.to_string(), lines };
    let work = || {
        let mut keeping = job.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        match &job.wanted.source {
            Source::File { file, include } => of_file(job, file, include, key, &mut keeping),
            Source::Primaries { .. } | Source::Listed { .. } => Ok(of_copy(key, &mut keeping)),
        }
    };
    // A panic is a bug of ours, and still no reason for a running server to stop.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(read) => read.map_err(faults),
        Err(_) => Err(faults(vec!["reading it met a bug in ringdns".to_owned()])),
    }
}

fn of_copy(key: HashKey, keeping: &mut Keeping) -> Read {
    match keeping.load(key) {
        Some((image, journal, age)) => Read::Fresh { image, stamps: Vec::new(), journal, age },
        None => Read::Absent,
    }
}

/// Reads a master file, where it has changed, and finds out what that means for those who have the zone before.
fn of_file(
    job: &Job,
    file: &ZoneFile,
    include: &[PathBuf],
    key: HashKey,
    keeping: &mut Keeping,
) -> Result<Read, Vec<String>> {
    if job.kept.as_ref().is_some_and(|kept| kept.is_current()) {
        return Ok(Read::Unchanged);
    }
    let (image, stamps) = read(&job.wanted.apex, file, include, key)?;
    let age = Duration::ZERO;
    let Some(kept) = &job.kept else {
        let journal = keeping.restore(&image);
        return Ok(Read::Fresh { image, stamps, journal, age });
    };
    let before = kept.image();
    let Some(difference) = Difference::between(before, &image) else {
        return Ok(Read::Same(Arc::clone(kept), stamps));
    };
    let mut journal = kept.journal.clone();
    if newer(image.serial(), before.serial()) {
        let difference = Arc::new(difference);
        journal.push(Arc::clone(&difference));
        keeping.append(&image, &[difference], &journal);
    } else {
        // It is served all the same: whoever changed the file sees what is in it, as with other servers. But nothing leads
        // from the old version to this one.
        log::warn!(
            "the zone {} has changed and its serial {} does not follow {}: secondaries will not take it; raise the \
             serial (RFC 1982)",
            job.wanted.apex,
            image.serial(),
            before.serial()
        );
        journal = journal_for(&image);
        keeping.break_off();
    }
    Ok(Read::Fresh { image, stamps, journal, age })
}

fn title(file: &ZoneFile) -> String {
    match file {
        ZoneFile::Absent => "no file".to_owned(),
        ZoneFile::Demonstration => "the built-in demonstration zone".to_owned(),
        ZoneFile::Path(path) => path.display().to_string(),
    }
}

/// Reads a master file and lays out its image.
fn read(apex: &Name, file: &ZoneFile, include: &[PathBuf], key: HashKey) -> Result<(Image, Vec<Stamp>), Vec<String>> {
    let mut opened = Opened::default();
    let text = match file {
        ZoneFile::Absent => return Err(vec!["no master file is named".to_owned()]),
        ZoneFile::Demonstration => DEMONSTRATION.to_vec(),
        ZoneFile::Path(path) => {
            let unreadable = |error| vec![format!("{}: cannot be read: {error}", path.display())];
            let text = opened.read(path).map_err(unreadable)?;
            let whole = path.canonicalize().map_err(unreadable)?;
            opened.folders.extend(whole.parent().map(Path::to_owned));
            // One that is not there yet is of no use, and no harm.
            opened.folders.extend(include.iter().filter_map(|folder| folder.canonicalize().ok()));
            text
        }
    };
    let mut builder = Builder::new(apex.clone(), key);
    let mut include = |name: &str, from: &str| opened.include(name, from);
    let mut take = |record: zone::file::Record<'_>| {
        builder.push(record.owner, record.rtype, record.ttl, record.rdata, record.place)
    };
    let read = zone::file::read(apex, &title(file), &text, &mut include, &mut take);
    drop(text);
    let summary = read.map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    match builder.finish() {
        Ok(image) => Ok((image, opened.stamps)),
        Err(faults) => {
            Err(faults.iter().map(|(place, message)| format!("{}: {message}", shown(*place, &summary.files))).collect())
        }
    }
}

/// Reads a copy that this server has written: a master file that includes nothing.
pub(crate) fn read_copy(apex: &Name, path: &Path, key: HashKey) -> Result<Image, String> {
    let mut opened = Opened::default();
    let text = opened.read(path).map_err(|error| error.to_string())?;
    let mut builder = Builder::new(apex.clone(), key);
    let mut include = |_: &str, _: &str| Err("a copy includes nothing".to_owned());
    let mut take = |record: zone::file::Record<'_>| {
        builder.push(record.owner, record.rtype, record.ttl, record.rdata, record.place)
    };
    zone::file::read(apex, "", &text, &mut include, &mut take)
        .map_err(|faults| format!("line {}: {}", faults[0].line, faults[0].message))?;
    drop(text);
    builder.finish().map_err(|faults| faults[0].1.clone())
}

/// A place as `file:line:column`, as far as it is known.
fn shown(place: Place, files: &[String]) -> String {
    let file = files.get(usize::from(place.file)).map_or("", String::as_str);
    match (place.line, place.column) {
        (0, _) => file.to_owned(),
        (line, 0) => format!("{file}:{line}"),
        (line, column) => format!("{file}:{line}:{column}"),
    }
}

/// The files of a zone.
#[derive(Default)]
struct Opened {
    stamps: Vec<Stamp>,
    octets: u64,
    /// Where included files may lie: the folder of the zone file first. None for a zone that includes nothing.
    folders: Vec<PathBuf>,
}

impl Opened {
    /// Reads a whole file, within what is left to the zone.
    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        // Asked before the file is opened: opening a pipe would wait for somebody to write into it.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        let mut file = File::open(path)?;
        self.stamps.push(Stamp::new(path, &file.metadata()?));
        let mut text = Vec::new();
        let left = ZONE_OCTETS_MAX - self.octets;
        self.octets += (&mut file).take(left).read_to_end(&mut text)? as u64;
        if file.read(&mut [0])? > 0 {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("the files of a zone are at most {ZONE_OCTETS_MAX} octets together"),
            ));
        }
        Ok(text)
    }

    /// Opens the file that `$INCLUDE` names in the file `from`: only in the folder of the zone file or below, or in those
    /// that the configuration names, so that whoever may write a zone cannot have other files of this machine read out.
    fn include(&mut self, name: &str, from: &str) -> Result<(String, Vec<u8>), String> {
        let own = self.folders.first().ok_or("the built-in zone includes nothing")?;
        let path = Path::new(from).parent().unwrap_or(Path::new("")).join(name);
        let whole = path.canonicalize().map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        if !self.folders.iter().any(|folder| whole.starts_with(folder)) {
            return Err(format!(
                "{} is outside {}; keep included files in the folder of the zone file, or name theirs in `include` of \
                 its [[zone]]",
                whole.display(),
                own.display()
            ));
        }
        let text = self.read(&path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        Ok((path.display().to_string(), text))
    }
}

/// What tells one state of a file from another without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    path: PathBuf,
    device: u64,
    inode: u64,
    octets: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn new(path: &Path, metadata: &Metadata) -> Stamp {
        Stamp {
            path: path.to_owned(),
            device: metadata.dev(),
            inode: metadata.ino(),
            octets: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn of(path: &Path) -> io::Result<Stamp> {
        Ok(Stamp::new(path, &fs::metadata(path)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Replicas;

    const HEAD: &str = "$TTL 60\n@ SOA ns h 1 60 60 60 60\n@ NS ns\nns A 192.0.2.1\n";

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn job(apex: Name, file: ZoneFile, include: &[PathBuf], kept: Option<Arc<Served>>) -> Job {
        let source = Source::File { file, include: include.to_vec() };
        let wanted = Wanted {
            apex: apex.clone(),
            source,
            notify: Vec::new(),
            allow_transfer: Vec::new(),
            is_catalog: false,
            listed_in: None,
            member: None,
        };
        let keeping = Arc::new(Mutex::new(Keeping::in_memory(&wanted)));
        Job { wanted, kept, keeping }
    }

    fn all(jobs: &[Job], cores: usize) -> Vec<Result<Arc<Served>, ZoneFaults>> {
        let layout = Layout::new(&(0..cores).collect::<Vec<_>>(), Replicas::Core);
        let manner = Manner { key: HashKey::from_seed([7; 16]), layout: &layout, in_background: false };
        let served = |(job, loaded): (&Job, Result<Loaded, ZoneFaults>)| match loaded? {
            Loaded::Unchanged => Ok(Arc::clone(job.kept.as_ref().unwrap())),
            Loaded::Fresh(served, _) => Ok(served),
            Loaded::Absent => panic!("a master file is there or is not"),
        };
        jobs.iter().zip(zones(jobs, manner)).map(served).collect()
    }

    fn load(file: &Path, cores: usize, kept: Option<&Arc<Served>>) -> Result<Arc<Served>, ZoneFaults> {
        let file = ZoneFile::Path(file.to_owned());
        all(&[job(name("a.test"), file, &[], kept.cloned())], cores).remove(0)
    }

    /// Writes `files` into a folder and loads the first; what came of it, with the folder's name left out.
    fn loaded(files: &[(&str, &str)]) -> Result<usize, String> {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let result = load(&folder.path().join(files[0].0), 1, None);
        let shorten = |text: String| text.replace(&format!("{}/", folder.path().display()), "");
        result.map(|served| served.image().records()).map_err(|faults| shorten(faults.to_string()))
    }

    #[test]
    fn a_zone_file_is_loaded() {
        assert_eq!(loaded(&[("a.zone", HEAD)]), Ok(3));
    }

    #[test]
    fn the_demonstration_zone_fits_any_apex() {
        for apex in ["example.test", "a.b.c"] {
            let result = all(&[job(name(apex), ZoneFile::Demonstration, &[], None)], 1).remove(0);
            assert!(result.is_ok_and(|served| served.image().records() > 10));
        }
    }

    #[test]
    fn mistakes_are_named_with_file_line_and_column() {
        let faults = loaded(&[("a.zone", &format!("{HEAD}www A 192.0.2.300\n"))]).unwrap_err();
        assert!(faults.starts_with("the zone a.test. is not loaded:\na.zone:5:7: "), "{faults}");
        let faults = loaded(&[("a.zone", "@ 60 A 192.0.2.1\n")]).unwrap_err();
        assert!(faults.contains("SOA"), "{faults}");
        let faults = loaded(&[("a.zone", &format!("{HEAD}www.b.test. A 192.0.2.3\n"))]).unwrap_err();
        assert!(faults.contains("\na.zone:5:"), "{faults}");
    }

    #[test]
    fn included_files_are_read_from_the_folder_of_the_zone_or_below() {
        let zone = format!("{HEAD}$INCLUDE more/b.zone\n");
        assert_eq!(
            loaded(&[
                ("a.zone", &zone),
                ("more/b.zone", "$INCLUDE c.zone\nx A 192.0.2.1\n"),
                ("more/c.zone", "y A 192.0.2.2\n")
            ]),
            Ok(5)
        );
        let faults = loaded(&[("a.zone", &zone), ("more/b.zone", "x A 192.0.2.1\ny B 1\n")]).unwrap_err();
        assert!(faults.contains("\nmore/b.zone:2:"), "{faults}");
        let faults = loaded(&[("zones/a.zone", &format!("{HEAD}$INCLUDE ../secret\n")), ("secret", "x A 192.0.2.1\n")]);
        let faults = faults.unwrap_err();
        assert!(faults.contains("zones/a.zone:5:") && faults.contains("secret is outside"), "{faults}");
        let faults = loaded(&[("a.zone", &format!("{HEAD}$INCLUDE /etc/passwd\n"))]).unwrap_err();
        assert!(faults.contains("a.zone:5:") && faults.contains("/etc/passwd is outside"), "{faults}");
        let faults = loaded(&[("a.zone", &format!("{HEAD}$INCLUDE none.zone\n"))]).unwrap_err();
        assert!(faults.contains("a.zone:5:") && faults.contains("cannot be read"), "{faults}");
    }

    #[test]
    fn a_link_does_not_lead_out_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let zones = folder.path().join("zones");
        fs::create_dir(&zones).unwrap();
        fs::write(folder.path().join("secret"), "x A 192.0.2.1\n").unwrap();
        std::os::unix::fs::symlink("../secret", zones.join("link")).unwrap();
        fs::write(zones.join("a.zone"), format!("{HEAD}$INCLUDE link\n")).unwrap();
        let faults = load(&zones.join("a.zone"), 1, None).unwrap_err().to_string();
        assert!(faults.contains("is outside"), "{faults}");
    }

    #[test]
    fn what_is_no_file_is_refused() {
        for path in ["/dev/null", "/", "/nonexistent"] {
            let faults = load(Path::new(path), 1, None).unwrap_err().to_string();
            assert!(faults.contains(&format!("\n{path}: cannot be read: ")), "{faults}");
        }
    }

    #[test]
    fn a_zone_is_read_again_only_when_a_file_of_it_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let (zone, part) = (folder.path().join("a.zone"), folder.path().join("part"));
        fs::write(&zone, format!("{HEAD}$INCLUDE part\n")).unwrap();
        fs::write(&part, "x A 192.0.2.1\n").unwrap();
        let first = load(&zone, 2, None).unwrap();
        assert!(!Arc::ptr_eq(first.copy(0), first.copy(1)), "each core has a copy of its own");
        assert!(Arc::ptr_eq(&first, &load(&zone, 2, Some(&first)).unwrap()));
        fs::write(&part, "x A 192.0.2.1\ny A 192.0.2.2\n").unwrap();
        let second = load(&zone, 2, Some(&first)).unwrap();
        assert_eq!((first.image().records(), second.image().records()), (4, 5));
    }

    #[test]
    fn only_so_many_faults_are_shown() {
        let lines = (0..FAULTS_SHOWN_MAX + 3).map(|line| line.to_string()).collect();
        let text = ZoneFaults { zone: "a.test.".to_owned(), lines }.to_string();
        assert_eq!(text.lines().count(), FAULTS_SHOWN_MAX + 2);
        assert!(text.ends_with("\nand 3 more"), "{text}");
    }

    #[test]
    fn many_zones_come_back_in_order() {
        let names: Vec<Name> = (0..50).map(|number| name(&format!("z{number}.test"))).collect();
        let jobs: Vec<Job> = names.iter().map(|name| job(name.clone(), ZoneFile::Demonstration, &[], None)).collect();
        let loaded: Vec<Name> = all(&jobs, 1).into_iter().map(|result| result.unwrap().name().clone()).collect();
        assert_eq!(loaded, names);
    }

    #[test]
    fn other_folders_are_read_from_where_the_configuration_names_them() {
        let folder = tempfile::tempdir().unwrap();
        let (zones, shared) = (folder.path().join("zones"), folder.path().join("shared"));
        fs::create_dir(&zones).unwrap();
        fs::create_dir(&shared).unwrap();
        fs::write(shared.join("part"), "x A 192.0.2.1\n").unwrap();
        fs::write(zones.join("a.zone"), format!("{HEAD}$INCLUDE ../shared/part\n")).unwrap();
        let file = ZoneFile::Path(zones.join("a.zone"));
        let with = |include: &[PathBuf]| all(&[job(name("a.test"), file.clone(), include, None)], 1).remove(0);
        assert!(with(&[]).unwrap_err().to_string().contains("`include`"));
        assert!(with(&[folder.path().join("none")]).is_err());
        assert_eq!(with(&[shared]).unwrap().image().records(), 4);
    }

    #[test]
    fn a_change_is_a_difference_where_the_serial_moves_forward_and_a_break_where_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.zone");
        let write = |serial: u32, more: &str| {
            fs::write(&file, format!("{}{more}", HEAD.replace(" 1 60", &format!(" {serial} 60")))).unwrap();
        };
        let next = |kept: &Arc<Served>| load(&file, 1, Some(kept)).unwrap();
        let since = |served: &Served, serial| served.journal().since(serial).map(<[_]>::len);
        write(1, "");
        let first = load(&file, 1, None).unwrap();
        write(2, "x A 192.0.2.1\n");
        let second = next(&first);
        write(3, "");
        let third = next(&second);
        assert_eq!((since(&third, 1), since(&third, 2)), (Some(2), Some(1)));
        // The same records in other words are the same zone.
        write(3, "; nothing\n");
        let same = next(&third);
        assert!(Arc::ptr_eq(same.copy(0), third.copy(0)) && !Arc::ptr_eq(&same, &third));
        assert!(Arc::ptr_eq(&same, &next(&same)));
        write(3, "y A 192.0.2.1\n");
        let stuck = next(&same);
        assert_eq!((stuck.image().records(), since(&stuck, 1), since(&stuck, 2)), (4, None, None));
    }
}
