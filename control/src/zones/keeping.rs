//! What is on disk of one zone: the copy of a zone that came from elsewhere, as a master file, and the journal of
//! differences. The journal leads to the present version and may reach back before the copy:
//!
//! ```text
//! journal   3 → 4    4 → 5    5 → 6
//! copy                     5
//! ```
//! Loading takes the copy and applies what stands behind it. The modification time of the copy is when the zone was last
//! known fresh. What cannot be written is told in the log; the zone is served from memory all the same.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, SystemTime};

use ringdns_shard::wire::name::{HashKey, Name};
use ringdns_shard::zone::Image;
use ringdns_shard::zone::difference::Difference;
use ringdns_shard::zone::image::Record;
use ringdns_shard::zone::journal::Journal;

use super::disk::{self, Listing};
use super::journal_file::{Contents, JournalFile};
use super::text;
use super::wanted::Wanted;
use super::workers::Workers;
use crate::load::read_copy;

/// A journal on disk may be as long as the zone in memory before copy and journal are written anew, and this long in any
/// case. In memory it may always be this long too.
const JOURNAL_OCTETS_MIN: u64 = 1 << 20;
/// Octets of a journal in memory, however large its zone.
const JOURNAL_OCTETS_MAX: usize = 256 << 20;

/// Versions that could not be written, of any zone: whoever works on a zone has no other place to leave this.
static UNWRITTEN: AtomicU64 = AtomicU64::new(0);

/// How often something could not be kept on disk since the process began.
pub(crate) fn unwritten() -> u64 {
    UNWRITTEN.load(Ordering::Relaxed)
}

/// What is on disk of one zone.
#[derive(Debug)]
pub(crate) struct Keeping {
    apex: Name,
    /// `None` for a zone that is read from a master file.
    copy: Option<PathBuf>,
    /// `None` where nothing is kept.
    journal: Option<JournalFile>,
    /// Whether anything is written; where not, what is there is read all the same.
    writes: bool,
    /// What is on disk does not lead to what is served: the next version is written as a whole.
    is_behind: bool,
    /// The serials of the versions that are on disk, so that none of them is taken for another.
    serials: HashSet<u32>,
    /// What has been left for later.
    later: Option<Box<Later>>,
    /// What is kept of a zone of this name that is gone, and has the same files: it is to be forgotten first.
    predecessor: Option<Arc<Mutex<Keeping>>>,
}

/// Differences that lead to what is served, and are still to be written.
#[derive(Debug)]
struct Later {
    differences: Vec<Arc<Difference>>,
    /// How the zone has come to be what it is, and the octets that it has now.
    journal: Journal,
    octets: usize,
}

impl Keeping {
    /// That of a zone in the state folder `state`; it is written where `writes`.
    pub(crate) fn new(wanted: &Wanted, state: &Path, writes: bool) -> Keeping {
        let path = match wanted.copy() {
            Some(_) => disk::journal_path(state, &wanted.apex),
            None => disk::changes_path(state, &wanted.apex),
        };
        let journal = wanted.keeps_state().then(|| JournalFile::new(path, &wanted.apex));
        let copy = wanted.copy().map(Path::to_owned);
        Keeping {
            apex: wanted.apex.clone(),
            copy,
            journal,
            writes,
            is_behind: false,
            serials: HashSet::new(),
            later: None,
            predecessor: None,
        }
    }

    /// The same, after `predecessor`, which is to be forgotten.
    pub(crate) fn after(self, predecessor: Option<Arc<Mutex<Keeping>>>) -> Keeping {
        Keeping { predecessor, ..self }
    }

    /// Waits for one that is shared, which may take as long as a zone is read or written. Whoever came before it in its
    /// files is forgotten by now.
    pub(crate) fn lock(shared: &Mutex<Keeping>) -> MutexGuard<'_, Keeping> {
        let mut keeping = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(predecessor) = keeping.predecessor.take() {
            Keeping::lock(&predecessor).forget();
        }
        keeping
    }

    /// Has `what` done by `urgent`, or where that would have to wait for somebody who reads or writes the zone, by
    /// `patient`.
    pub(crate) fn leave(shared: &Arc<Mutex<Keeping>>, urgent: &Workers, patient: &Workers, what: fn(&mut Keeping)) {
        let (shared, patient) = (Arc::clone(shared), patient.clone());
        urgent.leave(move || {
            match shared.try_lock() {
                Ok(mut keeping) if keeping.predecessor.is_none() => return what(&mut keeping),
                Err(TryLockError::Poisoned(poisoned)) if poisoned.get_ref().predecessor.is_none() => {
                    return what(&mut poisoned.into_inner());
                }
                _ => {}
            }
            patient.leave(move || what(&mut Keeping::lock(&shared)));
        });
    }

    /// That of a zone of which nothing is kept.
    #[cfg(test)]
    pub(crate) fn in_memory(wanted: &Wanted) -> Keeping {
        Keeping { copy: None, journal: None, ..Keeping::new(wanted, Path::new(""), false) }
    }

    /// The zone as it was served last, how it came to be so, and how long ago it was known to be fresh; `None` where there
    /// is no copy, or none that can be read.
    pub(crate) fn load(&mut self, key: HashKey) -> Option<(Image, Journal, Duration)> {
        let copy = self.copy.as_deref()?;
        let age = match File::open(copy).and_then(|file| file.metadata()) {
            // A time to come is as good as now.
            Ok(metadata) => metadata.modified().ok()?.elapsed().unwrap_or(Duration::ZERO),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => return self.unreadable(&error.to_string()),
        };
        let image = match read_copy(&self.apex, copy, key) {
            Ok(image) => image,
            Err(why) => return self.unreadable(&why),
        };
        let differences = self.differences();
        self.serials = serials(&differences).chain([image.serial()]).collect();
        match replay(image, differences) {
            Replayed::Whole(image, journal) => Some((image, journal, age)),
            Replayed::Cut(image, why) => {
                log::warn!("the journal of the zone {} is left aside: {why}", self.apex);
                self.is_behind = true;
                let journal = journal_for(&image);
                Some((image, journal, age))
            }
        }
    }

    fn unreadable<T>(&self, why: &str) -> Option<T> {
        let copy = self.copy.as_deref().unwrap_or(Path::new("")).display();
        log::error!("the copy {copy} of the zone {} cannot be used: {why}; the zone is transferred anew", self.apex);
        None
    }

    /// The differences that lead to a version that was read from a master file; none where the journal leads elsewhere.
    /// `listing` is what there is in the state folder, where that is known.
    pub(crate) fn restore(&mut self, image: &Image, listing: Option<&Listing>) -> Journal {
        let is_absent = |file: &JournalFile| listing.is_some_and(|listing| listing.lacks(file.path()));
        if self.journal.as_ref().is_none_or(is_absent) {
            return journal_for(image);
        }
        let differences = self.differences();
        if !differences.is_empty() && leads_to(&differences, image) {
            return journal_of(image, differences);
        }
        if !differences.is_empty() {
            log::info!(
                "the file of the zone {} has changed since it was served last; its journal begins anew",
                self.apex
            );
            self.break_off();
        }
        journal_for(image)
    }

    /// What the journal's file holds, each difference leading to the next.
    fn differences(&mut self) -> Vec<Arc<Difference>> {
        let Some(path) = self.journal.as_ref().map(|journal| journal.path().to_owned()) else { return Vec::new() };
        let (file, contents) = match JournalFile::open(path, &self.apex) {
            Ok(opened) => opened,
            Err(error) => {
                log::warn!("the journal of the zone {} cannot be read: {error}", self.apex);
                return Vec::new();
            }
        };
        if let Some(damage) = contents.damage {
            log::warn!("{}: {damage}; the rest of it is left aside", file.path().display());
        }
        let differences = decoded(&contents);
        if differences.len() < contents.entries().len() {
            log::warn!("{}: it holds what is no difference; it is left aside from there", file.path().display());
            self.is_behind = true;
        }
        self.journal = Some(file);
        differences
    }

    /// The zone has become `image` by `differences`.
    pub(crate) fn append(&mut self, image: &Image, differences: &[Arc<Difference>], journal: &Journal) {
        if !self.writes {
            return;
        }
        let Some(file) = &mut self.journal else { return };
        if self.copy.is_some() && !differences.iter().all(|step| self.serials.insert(step.to_serial())) {
            // Serials have gone round the circle, as when they are set back (RFC 1982 §3.1). The copy of another version
            // must not be taken for this one after a crash: rather there is none.
            self.discard();
            return self.replace(image, journal);
        }
        if self.is_behind || file.octets() > journal_bound(image.octets()) {
            return self.replace(image, journal);
        }
        let entries = encoded(differences);
        match file.append(entries.iter().map(|entry| &**entry)) {
            Ok(()) => {
                self.touch();
                if self.is_behind {
                    self.replace(image, journal);
                }
            }
            Err(error) => self.unwritten(&error),
        }
    }

    /// A zone that is read from a master file has become `image` by `difference`: [`Keeping::write_later`] is to follow.
    /// Whoever waits for the zone does not wait for the disk: a process that dies before has on disk what led to the
    /// version before, which is noticed when it starts again.
    pub(crate) fn append_later(&mut self, image: &Image, difference: Arc<Difference>, journal: &Journal) {
        assert!(self.copy.is_none(), "a copy is to be written as soon as it is there");
        if !self.writes || self.journal.is_none() {
            return;
        }
        let mut differences = self.later.take().map_or_else(Vec::new, |later| later.differences);
        differences.push(difference);
        self.later = Some(Box::new(Later { differences, journal: journal.clone(), octets: image.octets() }));
    }

    /// The same as [`Keeping::write_later`], of one that is shared.
    pub(crate) fn write_what_is_left(shared: &Arc<Mutex<Keeping>>) {
        Keeping::lock(shared).write_later();
    }

    /// Writes what was left for later, if anything was.
    pub(crate) fn write_later(&mut self) {
        let Some(later) = self.later.take() else { return };
        let Later { differences, journal, octets } = *later;
        let Some(file) = &mut self.journal else { return };
        let written = if self.is_behind || file.octets() > journal_bound(octets) {
            let entries = encoded(journal.differences());
            file.rewrite(entries.iter().map(|entry| &**entry))
        } else {
            let entries = encoded(&differences);
            file.append(entries.iter().map(|entry| &**entry))
        };
        match written {
            Ok(()) => self.is_behind = false,
            Err(error) => self.unwritten(&error),
        }
    }

    /// The zone is `image` now, to which `journal` leads: copy and journal are written anew.
    pub(crate) fn replace(&mut self, image: &Image, journal: &Journal) {
        if !self.writes {
            return;
        }
        let written = (|| {
            let entries = encoded(journal.differences());
            // A journal that does not lead to the new copy must not outlive the old one.
            if let Some(file) = self.journal.as_mut().filter(|_| entries.is_empty()) {
                file.remove()?;
            }
            if let Some(copy) = &self.copy {
                disk::replace(copy, |out| text::write(image, out))?;
            }
            match self.journal.as_mut().filter(|_| !entries.is_empty()) {
                Some(file) => file.rewrite(entries.iter().map(|entry| &**entry)),
                None => Ok(()),
            }
        })();
        match written {
            Ok(()) => {
                self.is_behind = false;
                self.serials = serials(journal.differences()).chain([image.serial()]).collect();
            }
            Err(error) => self.unwritten(&error),
        }
    }

    /// The zone is known to be fresh. Where somebody has removed the copy, the next version is written as a whole.
    pub(crate) fn touch(&mut self) {
        let Some(copy) = self.copy.as_deref().filter(|_| self.writes) else { return };
        let touched = File::options().write(true).open(copy).and_then(|file| file.set_modified(SystemTime::now()));
        if let Err(error) = touched {
            self.is_behind |= error.kind() == io::ErrorKind::NotFound;
            log::warn!("{}: that the zone is fresh cannot be noted: {error}", copy.display());
        }
    }

    /// Nothing leads from the versions before to the one that is served now.
    pub(crate) fn break_off(&mut self) {
        self.later = None;
        if let Some(file) = self.journal.as_mut().filter(|_| self.writes)
            && let Err(error) = file.remove()
        {
            self.unwritten(&error);
        }
    }

    /// The zone is no more: nothing of it stays on disk.
    pub(crate) fn forget(&mut self) {
        self.discard();
        // A transfer that is still under way must not bring it back.
        self.writes = false;
    }

    /// Removes what is on disk.
    fn discard(&mut self) {
        self.break_off();
        if let Some(copy) = self.copy.as_deref().filter(|_| self.writes)
            && let Err(error) = disk::remove(copy)
        {
            log::warn!("{} cannot be removed: {error}", copy.display());
        }
    }

    fn unwritten(&mut self, error: &io::Error) {
        self.is_behind = true;
        UNWRITTEN.fetch_add(1, Ordering::Relaxed);
        log::error!("the zone {} cannot be kept on disk: {error}; it is served from memory", self.apex);
    }
}

/// Octets of the file of a journal, above which it is written anew, for a zone of so many octets.
fn journal_bound(octets: usize) -> u64 {
    (octets as u64).max(JOURNAL_OCTETS_MIN)
}

/// The differences, as far as each follows the one before.
fn decoded(contents: &Contents) -> Vec<Arc<Difference>> {
    let mut differences: Vec<Arc<Difference>> = Vec::with_capacity(contents.entries().len());
    for entry in contents.entries() {
        let Ok(difference) = Difference::decode(entry) else { break };
        if differences.last().is_some_and(|last| last.to_serial() != difference.from_serial()) {
            break;
        }
        differences.push(Arc::new(difference));
    }
    differences
}

/// The serials that differences lead from.
fn serials(differences: &[Arc<Difference>]) -> impl Iterator<Item = u32> {
    differences.iter().map(|step| step.from_serial())
}

/// Whether differences lead to `image`, as far as can be told without what they lead from: what they add is there, and
/// what they remove is not. A file that was changed without another serial is found out so where they touch.
fn leads_to(differences: &[Arc<Difference>], image: &Image) -> bool {
    let Ok(merged) = Difference::merge(differences.iter().map(|step| &**step)) else { return false };
    let mut added: HashSet<Record<'_>> = merged.added().collect();
    let removed: HashSet<Record<'_>> = merged.removed().collect();
    let none_removed = image.each_record().all(|record| {
        added.remove(&record);
        !removed.contains(&record)
    });
    merged.to_serial() == image.serial() && none_removed && added.is_empty()
}

enum Replayed {
    Whole(Image, Journal),
    Cut(Image, String),
}

/// Applies what stands behind the version of the copy.
fn replay(copy: Image, differences: Vec<Arc<Difference>>) -> Replayed {
    let Some(last) = differences.last() else {
        let journal = journal_for(&copy);
        return Replayed::Whole(copy, journal);
    };
    let from = if last.to_serial() == copy.serial() {
        differences.len()
    } else {
        match differences.iter().rposition(|difference| difference.from_serial() == copy.serial()) {
            Some(from) => from,
            None => return Replayed::Cut(copy, "it does not lead to or from the copy".to_owned()),
        }
    };
    let image = match &differences[from..] {
        [] => copy,
        behind => match Difference::merge(behind.iter().map(|step| &**step)).and_then(|merged| copy.apply(&merged)) {
            Ok(image) => image,
            Err(mismatch) => return Replayed::Cut(copy, format!("it does not fit the copy: {mismatch}")),
        },
    };
    let journal = journal_of(&image, differences);
    Replayed::Whole(image, journal)
}

fn encoded(differences: &[Arc<Difference>]) -> Vec<Vec<u8>> {
    let encode = |difference: &Arc<Difference>| {
        let mut octets = Vec::with_capacity(difference.octets());
        difference.encode(&mut octets);
        octets
    };
    differences.iter().map(encode).collect()
}

/// An empty journal for a zone: it may grow to a quarter of the zone, and some in any case.
pub(crate) fn journal_for(image: &Image) -> Journal {
    Journal::new((image.octets() / 4).clamp(JOURNAL_OCTETS_MIN as usize, JOURNAL_OCTETS_MAX))
}

fn journal_of(image: &Image, differences: Vec<Arc<Difference>>) -> Journal {
    let mut journal = journal_for(image);
    differences.into_iter().for_each(|difference| journal.push(difference));
    journal
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ringdns_shard::zone::{Builder, file};

    use super::*;
    use crate::zones::Source;

    const KEY: [u8; 16] = [7; 16];

    fn key() -> HashKey {
        HashKey::from_seed(KEY)
    }

    fn version(serial: u32) -> Image {
        version_with(serial, serial)
    }

    fn version_with(serial: u32, address: u32) -> Image {
        let apex: Name = "a.test".parse().unwrap();
        let text =
            format!("$TTL 60\n@ SOA ns h {serial} 60 60 60 60\n@ NS ns\nns A 192.0.2.1\nw A 192.0.2.{address}\n");
        let mut builder = Builder::new(apex.clone(), key());
        let mut take =
            |record: file::Record<'_>| builder.push(record.owner, record.rtype, record.ttl, record.rdata, record.place);
        let mut open = |_: &str, _: &str| Err("nothing is included".to_owned());
        file::read(&apex, "zone", text.as_bytes(), &mut open, &mut take).unwrap();
        builder.finish().unwrap()
    }

    struct Scene {
        folder: tempfile::TempDir,
        wanted: Wanted,
    }

    /// A zone with copies of its own, or one from a file.
    fn scene(is_copy: bool) -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("a.copy");
        let source = if is_copy {
            Source::Primaries { primaries: Vec::new(), copy }
        } else {
            Source::File { file: crate::config::ZoneFile::Demonstration, include: Vec::new() }
        };
        let everybody = ringdns_shard::images::Allowed { network: None, key: None };
        let wanted = Wanted {
            apex: "a.test".parse().unwrap(),
            source,
            notify: Vec::new(),
            allow_transfer: vec![everybody],
            is_catalog: false,
            listed_in: None,
            member: None,
        };
        Scene { folder, wanted }
    }

    impl Scene {
        fn keeping(&self, writes: bool) -> Keeping {
            fs::create_dir_all(self.folder.path().join("zones")).unwrap();
            Keeping::new(&self.wanted, self.folder.path(), writes)
        }

        fn journal_path(&self) -> PathBuf {
            let of_source = if self.wanted.copy().is_some() { disk::journal_path } else { disk::changes_path };
            of_source(self.folder.path(), &self.wanted.apex)
        }

        /// Serial and journal's beginning, as a process that starts would find them.
        fn found(&self) -> Option<(u32, Option<u32>)> {
            let (image, journal, _) = self.keeping(false).load(key())?;
            assert!(image.each_record().eq(version(image.serial()).each_record()));
            Some((image.serial(), journal.first_serial()))
        }
    }

    fn step(from: u32, to: u32) -> Arc<Difference> {
        Arc::new(Difference::between(&version(from), &version(to)).unwrap())
    }

    fn journal(serials: std::ops::RangeInclusive<u32>) -> Journal {
        let mut journal = journal_for(&version(1));
        serials.clone().zip(serials.skip(1)).for_each(|(from, to)| journal.push(step(from, to)));
        journal
    }

    /// Keeps versions 1 to `last`, each after the one before.
    fn keep_up_to(scene: &Scene, last: u32) -> Keeping {
        let mut keeping = scene.keeping(true);
        keeping.replace(&version(1), &journal_for(&version(1)));
        for serial in 2..=last {
            keeping.append(&version(serial), &[step(serial - 1, serial)], &journal(1..=serial));
        }
        keeping
    }

    #[test]
    fn a_copy_and_what_came_after_it_are_the_zone() {
        let scene = scene(true);
        assert_eq!(scene.found(), None);
        drop(keep_up_to(&scene, 1));
        assert_eq!(scene.found(), Some((1, None)));
        drop(keep_up_to(&scene, 4));
        assert_eq!(scene.found(), Some((4, Some(1))));
    }

    #[test]
    fn serials_that_go_round_the_circle_do_not_mix_versions() {
        let scene = scene(true);
        let mut keeping = keep_up_to(&scene, 2);
        // Back to the copy's serial, with other records.
        let rounds = [(2, 0x8000_0000), (0x8000_0000, u32::MAX), (u32::MAX, 1), (1, 3)];
        let of = |serial: u32, first: bool| version_with(serial, if first { serial } else { 200 + serial % 50 });
        let mut journal = journal(1..=2);
        let mut before = of(2, true);
        for (from, to) in rounds {
            assert_eq!(before.serial(), from);
            let image = of(to, false);
            let difference = Arc::new(Difference::between(&before, &image).unwrap());
            journal.push(Arc::clone(&difference));
            keeping.append(&image, &[difference], &journal);
            let (found, found_journal, _) = scene.keeping(false).load(key()).unwrap();
            assert!(found.serial() == to && found.each_record().eq(image.each_record()), "{to}");
            assert_eq!(found_journal.differences(), journal.differences());
            before = image;
        }
        assert_eq!(journal.first_serial(), Some(2), "what led to the first version 1 and from it is gone");
    }

    #[test]
    fn a_copy_that_somebody_removes_is_written_anew() {
        let scene = scene(true);
        let mut keeping = keep_up_to(&scene, 3);
        fs::remove_file(scene.folder.path().join("a.copy")).unwrap();
        keeping.append(&version(4), &[step(3, 4)], &journal(1..=4));
        assert_eq!(scene.found(), Some((4, Some(1))));
        fs::remove_file(scene.folder.path().join("a.copy")).unwrap();
        keeping.touch();
        keeping.append(&version(5), &[step(4, 5)], &journal(1..=5));
        assert_eq!(scene.found(), Some((5, Some(1))));
    }

    #[test]
    fn a_damaged_copy_is_not_taken_for_the_zone() {
        let scene = scene(true);
        drop(keep_up_to(&scene, 1));
        let copy = scene.folder.path().join("a.copy");
        let octets = fs::read(&copy).unwrap();
        for cut in 11..octets.len() {
            fs::write(&copy, &octets[..cut]).unwrap();
            assert_eq!(scene.found(), None, "cut to {cut} of {}", octets.len());
        }
        for at in 11..octets.len() {
            let mut damaged = octets.clone();
            damaged[at] ^= 1;
            fs::write(&copy, damaged).unwrap();
            assert_eq!(scene.found(), None, "octet {at}");
        }
        // One that somebody else wrote has no checksum.
        let text = octets.split(|octet| *octet == b'\n').skip(1).collect::<Vec<_>>().join(&b'\n');
        fs::write(&copy, text).unwrap();
        assert_eq!(scene.found(), Some((1, None)));
    }

    #[test]
    fn a_copy_may_stand_anywhere_in_its_journal() {
        let scene = scene(true);
        drop(keep_up_to(&scene, 5));
        let copy = scene.folder.path().join("a.copy");
        for serial in 1..=5 {
            disk::replace(&copy, |out| text::write(&version(serial), out)).unwrap();
            assert_eq!(scene.found(), Some((5, Some(1))), "{serial}");
        }
        // Nothing leads from there to anywhere.
        disk::replace(&copy, |out| text::write(&version(9), out)).unwrap();
        let mut keeping = scene.keeping(true);
        let (image, journal, _) = keeping.load(key()).unwrap();
        assert_eq!((image.serial(), journal.first_serial()), (9, None));
        // What comes next is written as a whole, so that it is found again.
        let mut after = journal_for(&version(9));
        after.push(step(9, 10));
        keeping.append(&version(10), &[step(9, 10)], &after);
        assert_eq!(scene.found(), Some((10, Some(9))));
    }

    #[test]
    fn a_journal_longer_than_its_zone_is_condensed_into_the_copy() {
        let scene = scene(true);
        let mut keeping = keep_up_to(&scene, 3);
        // As if it were long.
        let octets = fs::read(scene.journal_path()).unwrap();
        let file = keeping.journal.as_mut().unwrap();
        while file.octets() <= JOURNAL_OCTETS_MIN {
            file.append([&octets[..]]).unwrap();
        }
        keeping.append(&version(4), &[step(3, 4)], &journal(2..=4));
        assert!(fs::metadata(scene.journal_path()).unwrap().len() < 10_000);
        assert!(fs::read_to_string(scene.folder.path().join("a.copy")).unwrap().contains(" 4 60 60 60 60"));
        assert_eq!(scene.found(), Some((4, Some(2))));
    }

    #[test]
    fn what_fails_to_be_written_is_made_good_with_the_next_version() {
        let scene = scene(true);
        let mut keeping = keep_up_to(&scene, 2);
        let path = scene.journal_path();
        fs::rename(&path, scene.folder.path().join("away")).unwrap();
        fs::create_dir(&path).unwrap();
        keeping.append(&version(3), &[step(2, 3)], &journal(1..=3));
        assert!(keeping.is_behind && unwritten() > 0);
        fs::remove_dir(&path).unwrap();
        keeping.append(&version(4), &[step(3, 4)], &journal(1..=4));
        assert_eq!(scene.found(), Some((4, Some(1))));
    }

    #[test]
    fn who_only_looks_writes_nothing() {
        let scene = scene(true);
        drop(keep_up_to(&scene, 2));
        let path = scene.journal_path();
        let octets = fs::read(&path).unwrap();
        fs::write(&path, &octets[..octets.len() - 1]).unwrap();
        let mut keeping = scene.keeping(false);
        assert_eq!(keeping.load(key()).unwrap().0.serial(), 1);
        keeping.append(&version(2), &[step(1, 2)], &journal(1..=2));
        keeping.replace(&version(3), &journal(1..=3));
        keeping.forget();
        keeping.touch();
        assert_eq!(fs::read(&path).unwrap().len(), octets.len() - 1);
        assert_eq!(scene.found(), Some((1, None)));
    }

    #[test]
    fn a_zone_that_is_gone_leaves_nothing_and_does_not_come_back() {
        let scene = scene(true);
        let mut keeping = keep_up_to(&scene, 3);
        keeping.forget();
        assert!(!scene.journal_path().exists() && scene.found().is_none());
        keeping.replace(&version(4), &journal(1..=4));
        assert!(scene.found().is_none());
    }

    #[test]
    fn a_zone_that_comes_again_at_once_is_not_taken_for_the_one_that_is_gone() {
        let scene = scene(true);
        let gone = Arc::new(Mutex::new(keep_up_to(&scene, 3)));
        let again = Mutex::new(scene.keeping(true).after(Some(Arc::clone(&gone))));
        assert!(Keeping::lock(&again).load(key()).is_none(), "nobody has forgotten the other one yet");
        Keeping::lock(&again).replace(&version(9), &journal_for(&version(9)));
        Keeping::lock(&gone).forget();
        assert_eq!(scene.found(), Some((9, None)), "and this one stays when somebody does");
    }

    #[test]
    fn what_is_urgent_does_not_wait_for_whoever_reads_the_zone() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let cores = || Arc::new(crate::cores::fake::Fake::default());
        let (urgent, patient) = (Workers::start_urgent().unwrap(), Workers::start(1, cores()).unwrap());
        let scene = scene(true);
        let shared = Arc::new(Mutex::new(keep_up_to(&scene, 1)));
        let held = shared.lock().unwrap();
        Keeping::leave(&shared, &urgent, &patient, Keeping::forget);
        assert_eq!(runtime.block_on(urgent.run(|| 5)), Some(5), "the next work is done meanwhile");
        assert!(scene.found().is_some());
        drop(held);
        runtime.block_on(patient.run(|| ()));
        assert!(scene.found().is_none(), "it is forgotten in the end");
    }

    #[test]
    fn a_zone_from_a_file_has_its_journal_as_long_as_it_leads_there() {
        let scene = scene(false);
        let mut keeping = scene.keeping(true);
        assert_eq!(keeping.restore(&version(1), None).first_serial(), None);
        keeping.append(&version(2), &[step(1, 2)], &journal(1..=2));
        keeping.append(&version(3), &[step(2, 3)], &journal(1..=3));
        assert_eq!(scene.keeping(true).restore(&version(3), None).first_serial(), Some(1));
        assert_eq!(scene.keeping(true).restore(&version(7), None).first_serial(), None);
        assert!(!scene.journal_path().exists(), "and it is never asked for again");
        // Another zone of the same serial is not where it leads.
        keeping.replace(&version(3), &journal(1..=3));
        assert_eq!(scene.keeping(true).restore(&version_with(3, 9), None).first_serial(), None);
    }

    #[test]
    fn the_age_of_a_copy_is_that_of_its_last_success() {
        let scene = scene(true);
        let mut keeping = keep_up_to(&scene, 1);
        let copy = scene.folder.path().join("a.copy");
        let set = |time| File::options().write(true).open(&copy).unwrap().set_modified(time).unwrap();
        let age = || scene.keeping(false).load(key()).unwrap().2;
        set(SystemTime::now() - Duration::from_secs(1_000));
        assert!(age() >= Duration::from_secs(1_000));
        keeping.touch();
        assert!(age() < Duration::from_secs(100));
        set(SystemTime::now() + Duration::from_secs(1_000));
        assert_eq!(age(), Duration::ZERO, "a clock that was set back");
    }
}
