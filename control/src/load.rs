//! Zone files into zone images. Reads the files that the configuration names and what they include, nothing else.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ringdns_shard::wire::name::{HashKey, Name};
use ringdns_shard::zone::{self, Builder, Image, Place};

use crate::config::ZoneFile;
use crate::layout::Layout;

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

/// A zone that is served, or ready to be.
#[derive(Debug)]
pub struct Served {
    name: Name,
    file: ZoneFile,
    /// What the files were when they were read; another state of them means another zone.
    stamps: Vec<Stamp>,
    /// One for each group of the layout, at least one.
    copies: Vec<Arc<Image>>,
}

impl Served {
    /// The name of the zone.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The zone as every group has it.
    pub fn image(&self) -> &Image {
        &self.copies[0]
    }

    /// The copy of a group of the layout.
    pub(crate) fn copy(&self, group: usize) -> &Arc<Image> {
        &self.copies[group]
    }

    /// Octets of memory, all copies together.
    pub fn octets(&self) -> usize {
        self.copies.len() * self.image().octets()
    }

    /// Whether reading the zone again would give the same.
    fn is_current(&self, file: &ZoneFile) -> bool {
        self.file == *file && self.stamps.iter().all(|stamp| Stamp::of(&stamp.path).is_ok_and(|now| now == *stamp))
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

/// What reading a zone gave.
enum Read {
    /// Nothing has changed.
    Kept(Arc<Served>),
    Fresh(Image, Vec<Stamp>),
}

type Outcome = Result<Read, ZoneFaults>;

/// Loads `wanted`, and gives for each what came of it. What is in `kept` and unchanged on disk is taken from there.
pub(crate) fn zones(
    wanted: &[(&Name, &ZoneFile)],
    key: HashKey,
    layout: &Layout,
    kept: &HashMap<Name, Arc<Served>>,
) -> Vec<Result<Arc<Served>, ZoneFaults>> {
    let next = AtomicUsize::new(0);
    let (done, outcomes) = mpsc::channel();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    // Half of the CPUs: where the cores are serving already, they go on to.
    let threads = (cpus / 2).clamp(1, THREADS_MAX).min(wanted.len());
    let outcomes = std::thread::scope(|scope| {
        for _ in 0..threads {
            let (next, done) = (&next, done.clone());
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some((name, file)) = wanted.get(index) else { return };
                    let outcome = zone(name, file, key, kept.get(*name));
                    done.send((index, outcome)).expect("the receiver waits for every thread");
                }
            });
        }
        drop(done);
        collect(wanted.len(), &outcomes)
    });
    served(wanted, outcomes, layout)
}

/// Makes the copies of what was read.
fn served(
    wanted: &[(&Name, &ZoneFile)],
    outcomes: Vec<Outcome>,
    layout: &Layout,
) -> Vec<Result<Arc<Served>, ZoneFaults>> {
    let fresh: Vec<&Image> = outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            Ok(Read::Fresh(image, _)) => Some(image),
            _ => None,
        })
        .collect();
    // One group needs no copy: it takes the image itself.
    let copies: Vec<Vec<Arc<Image>>> = match layout.groups() {
        1 => Vec::new(),
        _ => layout.on_each_node(|| fresh.iter().map(|image| Arc::new(Image::clone(image))).collect()),
    };
    let mut copies: Vec<_> = copies.into_iter().map(Vec::into_iter).collect();
    let served = |((name, file), outcome): (&(&Name, &ZoneFile), Outcome)| match outcome? {
        Read::Kept(served) => Ok(served),
        Read::Fresh(image, stamps) => {
            let mut copies: Vec<Arc<Image>> =
                copies.iter_mut().map(|group| group.next().expect("each group has each image")).collect();
            if copies.is_empty() {
                copies.push(Arc::new(image));
            }
            Ok(Arc::new(Served { name: Name::clone(name), file: ZoneFile::clone(file), stamps, copies }))
        }
    };
    wanted.iter().zip(outcomes).map(served).collect()
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

fn zone(name: &Name, file: &ZoneFile, key: HashKey, kept: Option<&Arc<Served>>) -> Outcome {
    if let Some(kept) = kept.filter(|kept| kept.is_current(file)) {
        return Ok(Read::Kept(Arc::clone(kept)));
    }
    let faults = |lines| ZoneFaults { zone: name.to_string(), lines };
    // A panic is a bug of ours, and still no reason for a running server to stop.
    match catch_unwind(AssertUnwindSafe(|| read(name, file, key))) {
        Ok(read) => read.map(|(image, stamps)| Read::Fresh(image, stamps)).map_err(faults),
        Err(_) => Err(faults(vec![format!("{}: reading it met a bug in ringdns", title(file))])),
    }
}

fn title(file: &ZoneFile) -> String {
    match file {
        ZoneFile::Demonstration => "the built-in demonstration zone".to_owned(),
        ZoneFile::Path(path) => path.display().to_string(),
    }
}

/// Reads a master file and lays out its image.
fn read(apex: &Name, file: &ZoneFile, key: HashKey) -> Result<(Image, Vec<Stamp>), Vec<String>> {
    let mut opened = Opened::default();
    let (folder, text) = match file {
        ZoneFile::Demonstration => (None, DEMONSTRATION.to_vec()),
        ZoneFile::Path(path) => {
            let unreadable = |error| vec![format!("{}: cannot be read: {error}", path.display())];
            let text = opened.read(path).map_err(unreadable)?;
            let whole = path.canonicalize().map_err(unreadable)?;
            (whole.parent().map(Path::to_owned), text)
        }
    };
    let mut builder = Builder::new(apex.clone(), key);
    let mut include = |name: &str, from: &str| opened.include(folder.as_deref(), name, from);
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

    /// Opens the file that `$INCLUDE` names in the file `from`: only in the folder of the zone file or below, so that
    /// whoever may write a zone cannot have other files of this machine read out.
    fn include(&mut self, folder: Option<&Path>, name: &str, from: &str) -> Result<(String, Vec<u8>), String> {
        let folder = folder.ok_or("the built-in zone includes nothing")?;
        let path = Path::new(from).parent().unwrap_or(Path::new("")).join(name);
        let whole = path.canonicalize().map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        if !whole.starts_with(folder) {
            return Err(format!(
                "{} is outside {}; keep included files in the folder of the zone file",
                whole.display(),
                folder.display()
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

    fn load(file: &Path, cores: usize, kept: &HashMap<Name, Arc<Served>>) -> Result<Arc<Served>, ZoneFaults> {
        let layout = Layout::new(&(0..cores).collect::<Vec<_>>(), Replicas::Core);
        let (apex, file) = (name("a.test"), ZoneFile::Path(file.to_owned()));
        let mut results = zones(&[(&apex, &file)], HashKey::from_seed([7; 16]), &layout, kept);
        assert_eq!(results.len(), 1);
        results.remove(0)
    }

    /// Writes `files` into a folder and loads the first; what came of it, with the folder's name left out.
    fn loaded(files: &[(&str, &str)]) -> Result<usize, String> {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let result = load(&folder.path().join(files[0].0), 1, &HashMap::new());
        let shorten = |text: String| text.replace(&format!("{}/", folder.path().display()), "");
        result.map(|served| served.image().records()).map_err(|faults| shorten(faults.to_string()))
    }

    #[test]
    fn a_zone_file_is_loaded() {
        assert_eq!(loaded(&[("a.zone", HEAD)]), Ok(3));
    }

    #[test]
    fn the_demonstration_zone_fits_any_apex() {
        let layout = Layout::new(&[0], Replicas::Core);
        for apex in ["example.test", "a.b.c"] {
            let (apex, file) = (name(apex), ZoneFile::Demonstration);
            let result = zones(&[(&apex, &file)], HashKey::from_seed([7; 16]), &layout, &HashMap::new()).remove(0);
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
        let faults = load(&zones.join("a.zone"), 1, &HashMap::new()).unwrap_err().to_string();
        assert!(faults.contains("is outside"), "{faults}");
    }

    #[test]
    fn what_is_no_file_is_refused() {
        for path in ["/dev/null", "/", "/nonexistent"] {
            let faults = load(Path::new(path), 1, &HashMap::new()).unwrap_err().to_string();
            assert!(faults.contains(&format!("\n{path}: cannot be read: ")), "{faults}");
        }
    }

    #[test]
    fn a_zone_is_read_again_only_when_a_file_of_it_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let (zone, part) = (folder.path().join("a.zone"), folder.path().join("part"));
        fs::write(&zone, format!("{HEAD}$INCLUDE part\n")).unwrap();
        fs::write(&part, "x A 192.0.2.1\n").unwrap();
        let first = load(&zone, 2, &HashMap::new()).unwrap();
        assert!(!Arc::ptr_eq(first.copy(0), first.copy(1)), "each core has a copy of its own");
        let kept = HashMap::from([(name("a.test"), Arc::clone(&first))]);
        assert!(Arc::ptr_eq(&first, &load(&zone, 2, &kept).unwrap()));
        fs::write(&part, "x A 192.0.2.1\ny A 192.0.2.2\n").unwrap();
        let second = load(&zone, 2, &kept).unwrap();
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
        let file = ZoneFile::Demonstration;
        let wanted: Vec<_> = names.iter().map(|name| (name, &file)).collect();
        let layout = Layout::new(&[0], Replicas::Core);
        let results = zones(&wanted, HashKey::from_seed([7; 16]), &layout, &HashMap::new());
        let loaded: Vec<Name> = results.into_iter().map(|result| result.unwrap().name().clone()).collect();
        assert_eq!(loaded, names);
    }
}
