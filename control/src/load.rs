//! Zones from disk: master files, and the copies and journals in the state folder. Reads the files that the
//! configuration names and what they include, nothing else; of the state folder it writes what a changed file means for
//! the journal.

use std::fmt;
use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ringdns_shard::wire::name::{HashKey, Name};
use ringdns_shard::wire::serial::newer;
use ringdns_shard::zone::difference::Difference;
use ringdns_shard::zone::digest::{self, Verified};
use ringdns_shard::zone::journal::Journal;
use ringdns_shard::zone::{self, Builder, Image, Place};
use rustix::fs::OFlags;

use crate::config::ZoneFile;
use crate::confined::unreadable;
use crate::layout::Layout;
use crate::zones::{Keeping, Listing, Party, Source, Wanted, is_whole, journal_for};

/// Octets of a zone's files together.
const ZONE_OCTETS_MAX: u64 = 4 << 30;
/// Threads that read zones.
const THREADS_MAX: usize = 4;
/// Zones that one of them takes at a time, at most: of thousands several, and of few one, so that large ones are shared
/// out.
const JOBS_AT_A_TIME_MAX: usize = 16;
/// Faults of one zone that are shown; of the others the number is.
const FAULTS_SHOWN_MAX: usize = 20;
/// Loading that takes longer shows its progress on a terminal.
const PROGRESS_AFTER: Duration = Duration::from_millis(700);
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

const DEMONSTRATION: &[u8] = include_bytes!("demonstration.zone");

/// A version of a zone: served, or ready to be.
#[derive(Debug)]
pub struct Served {
    /// What the files were when they were read; another state of them means another zone. Empty for what was not read
    /// from a master file.
    stamps: Box<[Stamp]>,
    /// Those that the layout makes, at least one.
    copies: Box<[Arc<Image>]>,
    /// How the zone came to be what it is.
    journal: Journal,
}

impl Served {
    /// A version that did not come from a master file.
    pub(crate) fn new(copies: Box<[Arc<Image>]>, journal: Journal) -> Served {
        Served { stamps: Box::default(), copies, journal }
    }

    /// The name of the zone.
    pub fn name(&self) -> &Name {
        self.image().apex()
    }

    /// The zone as every core has it.
    pub fn image(&self) -> &Image {
        &self.copies[0]
    }

    /// The copies that the layout has made.
    pub(crate) fn copies(&self) -> &[Arc<Image>] {
        &self.copies
    }

    /// The differences that lead to it.
    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Octets of memory, all copies together.
    pub fn octets(&self) -> usize {
        self.copies.len() * self.image().octets()
    }

    /// The files that were read.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        self.stamps.iter().map(|stamp| &*stamp.path)
    }

    /// The files as they are now, where they are not what was read.
    pub(crate) fn changed_files(&self) -> Option<Vec<Option<Stamp>>> {
        let now: Vec<Option<Stamp>> = self.stamps.iter().map(|stamp| Stamp::of(&stamp.path).ok()).collect();
        now.iter().zip(&self.stamps).any(|(now, read)| now.as_ref() != Some(read)).then_some(now)
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
    pub(crate) wanted: Arc<Wanted>,
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
        image: Box<Image>,
        stamps: Vec<Stamp>,
        journal: Journal,
        age: Duration,
    },
    Absent,
}

type Outcome = Result<Read, ZoneFaults>;
/// What an image that has its copies still lacks to be served.
type Rest = (Vec<Stamp>, Journal, Duration);

/// How zones are loaded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner<'a> {
    pub(crate) key: HashKey,
    pub(crate) layout: &'a Layout,
    /// The cores are answering meanwhile: they come first.
    pub(crate) in_background: bool,
    /// What there is in the state folder; `None`: each file is looked for.
    pub(crate) listing: Option<&'a Listing>,
}

/// Loads zones, and gives for each what came of it. What is kept and unchanged on disk is not read again.
pub(crate) fn zones(jobs: &[Job], manner: Manner<'_>) -> Vec<Result<Loaded, ZoneFaults>> {
    let (next, finished) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    // Half of the CPUs where the cores are serving already: they go on to.
    let cpus = if manner.in_background { cpus / 2 } else { cpus };
    let threads = cpus.clamp(1, THREADS_MAX).min(jobs.len());
    let at_a_time = (jobs.len() / 64).clamp(1, JOBS_AT_A_TIME_MAX);
    // They inherit the priority of the thread that this is.
    let work = || {
        let mut outcomes: Vec<(usize, Outcome)> = Vec::new();
        loop {
            let first = next.fetch_add(at_a_time, Ordering::Relaxed);
            let Some(rest) = jobs.get(first..).filter(|rest| !rest.is_empty()) else { return outcomes };
            let of_this = &rest[..at_a_time.min(rest.len())];
            outcomes.extend(of_this.iter().enumerate().map(|(at, job)| (first + at, zone(job, manner))));
            finished.fetch_add(of_this.len(), Ordering::Relaxed);
        }
    };
    let party = Party::here();
    let outcomes = std::thread::scope(|scope| {
        let (done, outcomes) = mpsc::channel();
        for _ in 0..threads {
            let (done, work, party) = (done.clone(), &work, &party);
            scope.spawn(move || {
                let _joined = party.as_ref().map(Party::join);
                done.send(work()).expect("the receiver waits for every thread");
            });
        }
        drop(done);
        collect(jobs.len(), &finished, &outcomes)
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
                let served = Served { stamps: stamps.into(), copies, journal };
                (Loaded::Fresh(Arc::new(served), Duration::ZERO), None)
            }
            Read::Fresh { image, stamps, journal, age } => {
                images.push(*image);
                (Loaded::Absent, Some((stamps, journal, age)))
            }
        })
    };
    let outcomes: Vec<Result<(Loaded, Option<Rest>), ZoneFaults>> = outcomes.into_iter().map(&mut strip).collect();
    let mut copies = layout.copies(images).into_iter();
    let finish = |outcome: Result<(Loaded, Option<Rest>), ZoneFaults>| {
        outcome.map(|(loaded, fresh)| match fresh {
            None => loaded,
            Some((stamps, journal, age)) => {
                let copies = copies.next().expect("each image has its copies");
                Loaded::Fresh(Arc::new(Served { stamps: stamps.into(), copies, journal }), age)
            }
        })
    };
    outcomes.into_iter().map(finish).collect()
}

/// Waits for `count` outcomes, showing how many are `finished` when it takes long and somebody looks on.
fn collect(count: usize, finished: &AtomicUsize, outcomes: &mpsc::Receiver<Vec<(usize, Outcome)>>) -> Vec<Outcome> {
    let mut collected: Vec<_> = (0..count).map(|_| None).collect();
    let bar = ProgressBar::with_draw_target(Some(count as u64), ProgressDrawTarget::hidden()).with_style(
        ProgressStyle::with_template("loading zones {bar:30} {pos}/{len}, {elapsed}").expect("a constant of ours"),
    );
    let mut patience = PROGRESS_AFTER;
    loop {
        match outcomes.recv_timeout(patience) {
            Ok(of_thread) => of_thread.into_iter().for_each(|(at, outcome)| collected[at] = Some(outcome)),
            Err(RecvTimeoutError::Timeout) => {
                if bar.is_hidden() {
                    // Draws nothing where standard error is no terminal.
                    bar.set_draw_target(ProgressDrawTarget::stderr());
                }
                bar.set_position(finished.load(Ordering::Relaxed) as u64);
                patience = PROGRESS_EVERY;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    bar.finish_and_clear();
    collected
        .into_iter()
        .map(|outcome| outcome.expect("each zone is taken by a thread, which gives what came of it"))
        .collect()
}

fn zone(job: &Job, manner: Manner<'_>) -> Outcome {
    let faults = |lines| ZoneFaults { zone: job.wanted.apex.to_string(), lines };
    let work = || {
        let mut keeping = Keeping::lock(&job.keeping);
        match &job.wanted.source {
            Source::File { file, include } => of_file(job, file, include, manner, &mut keeping),
            Source::Primaries { .. } | Source::Listed { .. } => Ok(of_copy(manner.key, &mut keeping)),
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
        Some((image, journal, age)) => match verify(&image) {
            Ok(()) => Read::Fresh { image: Box::new(image), stamps: Vec::new(), journal, age },
            Err(why) => {
                log::error!("the copy of the zone {} cannot be used: {why}; it is transferred anew", image.apex());
                Read::Absent
            }
        },
        None => Read::Absent,
    }
}

/// Reads a master file, where it has changed, and finds out what that means for those who have the zone before.
fn of_file(
    job: &Job,
    file: &ZoneFile,
    include: &[PathBuf],
    manner: Manner<'_>,
    keeping: &mut Keeping,
) -> Result<Read, Vec<String>> {
    if job.kept.as_ref().is_some_and(|kept| kept.is_current()) {
        return Ok(Read::Unchanged);
    }
    let (image, stamps) = read(&job.wanted.apex, file, include, manner.key)?;
    let image = Box::new(image);
    let age = Duration::ZERO;
    let Some(kept) = &job.kept else {
        let journal = keeping.restore(&image, manner.listing);
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
        keeping.append_later(&image, difference, &journal);
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
            opened.read(path).map_err(unreadable)?
        }
    };
    let mut builder = builder_for(apex, key, &text);
    let mut include = |name: &str, from: &str| {
        // Most zones include nothing, and never ask where they are.
        if opened.folders.is_empty() {
            opened.folders = folders(file, include)?;
        }
        opened.include(name, from)
    };
    let mut take = |record: zone::file::Record<'_>| {
        builder.push(record.owner, record.rtype, record.ttl, record.rdata, record.place)
    };
    let read = zone::file::read(apex, &title(file), &text, &mut include, &mut take);
    drop(text);
    let summary = read.map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let image = builder.finish().map_err(|faults| -> Vec<String> {
        faults.iter().map(|(place, message)| format!("{}: {message}", shown(*place, &summary.files))).collect()
    })?;
    verify(&image).map_err(|wrong| vec![format!("{}: {wrong}", title(file))])?;
    Ok((image, opened.stamps))
}

/// A builder with room for what a master file is likely to hold: a record takes a line, which has seldom less than ten
/// octets.
fn builder_for(apex: &Name, key: HashKey, text: &[u8]) -> Builder {
    let lines = text.iter().filter(|octet| **octet == b'\n').count() + 1;
    let mut builder = Builder::new(apex.clone(), key);
    builder.reserve(lines.min(text.len() / 10), text.len());
    builder
}

/// Refuses a zone that is not what its digest was taken of (RFC 8976 §4).
pub(crate) fn verify(image: &Image) -> Result<(), String> {
    match digest::verify(image) {
        Ok(Verified::Unsupported) => {
            log::warn!(
                "the ZONEMD of the zone {} is not verified: its schemes and hash algorithms are not supported",
                image.apex()
            );
            Ok(())
        }
        Ok(Verified::Absent | Verified::Good(_)) => Ok(()),
        Err(wrong) => Err(format!("the zone is not what its digest says: {wrong}")),
    }
}

/// Reads a copy that this server has written: a master file that includes nothing.
pub(crate) fn read_copy(apex: &Name, path: &Path, key: HashKey) -> Result<Image, String> {
    let mut opened = Opened::default();
    let text = opened.read(path).map_err(|error| error.to_string())?;
    if !is_whole(&text) {
        return Err("it is damaged: it does not end in the checksum of what stands in it".to_owned());
    }
    let mut builder = builder_for(apex, key, &text);
    let mut take = |record: zone::file::Record<'_>| {
        builder.push(record.owner, record.rtype, record.ttl, record.rdata, record.place)
    };
    zone::file::read_copy(apex, &text, &mut take)
        .map_err(|faults| format!("line {}: {}", faults[0].line, faults[0].message))?;
    drop(text);
    builder.finish().map_err(|faults| faults[0].1.clone())
}

/// The folders from which a zone's file may include others: its own, and those that are named; one that is not there yet
/// is of no use, and no harm.
fn folders(file: &ZoneFile, include: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let ZoneFile::Path(path) = file else { return Err("the built-in zone includes nothing".to_owned()) };
    let whole = path.canonicalize().map_err(|error| format!("{} cannot be found: {error}", path.display()))?;
    let named = include.iter().filter_map(|folder| folder.canonicalize().ok());
    Ok(whole.parent().map(Path::to_owned).into_iter().chain(named).collect())
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
        // Without waiting: opening a pipe would go on until somebody writes into it.
        let opened = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path);
        let file = opened.map_err(|error| unreadable(path, error))?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        self.stamps.push(Stamp::new(path, &metadata));
        let left = ZONE_OCTETS_MAX - self.octets;
        // Room for all of it and the end, so that it is read at once.
        let mut text = Vec::with_capacity(metadata.len().min(left) as usize + 1);
        self.octets += file.take(left + 1).read_to_end(&mut text)? as u64;
        if self.octets > ZONE_OCTETS_MAX {
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
        let own = self.folders.first().ok_or("the folder of the zone file is not known")?;
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
pub(crate) struct Stamp {
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

    /// The state of a file now.
    pub(crate) fn of(path: &Path) -> io::Result<Stamp> {
        Ok(Stamp::new(path, &fs::metadata(path)?))
    }
}

#[cfg(test)]
mod tests;
