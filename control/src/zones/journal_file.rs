//! The file in which the differences between versions of a zone are kept: each is appended behind its length and
//! checksum, so that what a crash has torn is noticed and cut off.
//!
//! ```text
//! "ringdns journal 1\n"   18 octets: what it is, and the version of this layout
//! length u16, apex        the zone that it belongs to
//! entries, each:
//!   0  octets    u32
//!   4  checksum  u32  CRC-32 of the two fields' first and the octets
//!   8  octets
//! ```
//! Words are little-endian.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use ringdns_shard::wire::name::Name;

use super::disk;

const MAGIC: &[u8] = b"ringdns journal 1\n";
/// Octets before each entry.
const ENTRY_HEAD_OCTETS: usize = 8;
/// Octets of a file that is read.
const FILE_OCTETS_MAX: u64 = 4 << 30;

/// A journal on disk.
#[derive(Debug)]
pub(crate) struct JournalFile {
    path: PathBuf,
    apex: Name,
    /// Octets that are known to be good; what lies behind them is cut off before more is written. Zero: there is no
    /// file, or none that is of use.
    good: u64,
}

/// What a journal's file held.
#[derive(Debug)]
pub(crate) struct Contents {
    octets: Vec<u8>,
    entries: Vec<std::ops::Range<usize>>,
    /// What was wrong with the rest of it.
    pub(crate) damage: Option<&'static str>,
}

impl Contents {
    /// The entries, the oldest first.
    pub(crate) fn entries(&self) -> impl DoubleEndedIterator<Item = &[u8]> + ExactSizeIterator {
        self.entries.iter().map(|range| &self.octets[range.clone()])
    }
}

impl JournalFile {
    /// Reads the file at `path`, which belongs to the zone `apex`. That there is none is an empty journal.
    pub(crate) fn open(path: PathBuf, apex: &Name) -> io::Result<(JournalFile, Contents)> {
        let octets = match File::open(&path) {
            Ok(file) => {
                let mut octets = Vec::new();
                file.take(FILE_OCTETS_MAX).read_to_end(&mut octets)?;
                octets
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let head = head(apex);
        let (entries, good, damage) = match octets.strip_prefix(&*head) {
            Some(_) => split(&octets, head.len()),
            None => {
                (Vec::new(), 0, (!octets.is_empty()).then_some("it is no journal of this zone, or of a newer version"))
            }
        };
        let journal = JournalFile { path, apex: apex.clone(), good: good as u64 };
        Ok((journal, Contents { octets, entries, damage }))
    }

    /// A journal of which nothing is known yet to be on disk.
    pub(crate) fn new(path: PathBuf, apex: &Name) -> JournalFile {
        JournalFile { path, apex: apex.clone(), good: 0 }
    }

    /// Octets of the file.
    pub(crate) fn octets(&self) -> u64 {
        self.good
    }

    /// Adds entries behind those that are there: all of them, or on an error none that counts.
    pub(crate) fn append<'a>(&mut self, entries: impl IntoIterator<Item = &'a [u8]>) -> io::Result<()> {
        let mut octets = if self.good == 0 { head(&self.apex) } else { Vec::new() };
        entries.into_iter().try_for_each(|entry| push(entry, &mut octets))?;
        let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(&self.path)?;
        if file.metadata()?.len() != self.good {
            file.set_len(self.good)?;
        }
        io::Seek::seek(&mut file, io::SeekFrom::Start(self.good))?;
        // Nothing waits for the disk here: what a crash takes away is noticed, and had again from the primary or the file.
        file.write_all(&octets)?;
        self.good += octets.len() as u64;
        Ok(())
    }

    /// Replaces all entries by these.
    pub(crate) fn rewrite<'a>(&mut self, entries: impl IntoIterator<Item = &'a [u8]>) -> io::Result<()> {
        let mut octets = head(&self.apex);
        entries.into_iter().try_for_each(|entry| push(entry, &mut octets))?;
        disk::replace(&self.path, |out| out.write_all(&octets))?;
        self.good = octets.len() as u64;
        Ok(())
    }

    /// Removes the file.
    pub(crate) fn remove(&mut self) -> io::Result<()> {
        self.good = 0;
        disk::remove(&self.path)
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn head(apex: &Name) -> Vec<u8> {
    let apex = apex.as_wire();
    [MAGIC, &(apex.len() as u16).to_le_bytes(), apex].concat()
}

fn push(entry: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let octets = u32::try_from(entry.len()).map_err(|_| io::Error::other("a difference of 4 GiB or more"))?;
    out.extend(octets.to_le_bytes());
    out.extend(checksum(octets, entry).to_le_bytes());
    out.extend(entry);
    Ok(())
}

fn checksum(octets: u32, entry: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&octets.to_le_bytes());
    hasher.update(entry);
    hasher.finalize()
}

/// The entries from `at` on, where they end, and what is wrong behind that.
fn split(octets: &[u8], mut at: usize) -> (Vec<std::ops::Range<usize>>, usize, Option<&'static str>) {
    let mut entries = Vec::new();
    while at < octets.len() {
        let Some(head) = octets[at..].first_chunk::<ENTRY_HEAD_OCTETS>() else {
            return (entries, at, Some("its end is torn"));
        };
        let word = |from: usize| u32::from_le_bytes([head[from], head[from + 1], head[from + 2], head[from + 3]]);
        let begin = at + ENTRY_HEAD_OCTETS;
        let Some(entry) = octets[begin..].get(..word(0) as usize) else {
            return (entries, at, Some("its end is torn"));
        };
        if checksum(word(0), entry) != word(4) {
            return (entries, at, Some("a checksum does not fit"));
        }
        entries.push(begin..begin + entry.len());
        at = begin + entry.len();
    }
    (entries, at, None)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn apex() -> Name {
        "a.test".parse().unwrap()
    }

    struct Scene {
        _folder: tempfile::TempDir,
        path: PathBuf,
    }

    fn scene() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        Scene { path: folder.path().join("j"), _folder: folder }
    }

    impl Scene {
        fn open(&self) -> (JournalFile, Vec<Vec<u8>>, Option<&'static str>) {
            let (file, contents) = JournalFile::open(self.path.clone(), &apex()).unwrap();
            let entries = contents.entries().map(<[u8]>::to_vec).collect();
            (file, entries, contents.damage)
        }
    }

    const ENTRIES: [&[u8]; 3] = [b"one", b"", b"three"];

    #[test]
    fn entries_are_kept_in_order() {
        let scene = scene();
        let (mut file, entries, damage) = scene.open();
        assert!(entries.is_empty() && damage.is_none() && file.octets() == 0);
        file.append(ENTRIES).unwrap();
        file.append([&b"four"[..]]).unwrap();
        let (mut file, entries, damage) = scene.open();
        assert_eq!((entries.len(), damage), (4, None));
        assert_eq!((&*entries[0], &*entries[3]), (&b"one"[..], &b"four"[..]));
        assert_eq!(file.octets(), fs::metadata(&scene.path).unwrap().len());
        file.rewrite([&b"last"[..]]).unwrap();
        file.append([&b"more"[..]]).unwrap();
        assert_eq!(scene.open().1, [b"last".to_vec(), b"more".to_vec()]);
        file.remove().unwrap();
        assert!(scene.open().1.is_empty());
    }

    #[test]
    fn every_torn_end_is_cut_off_and_written_over() {
        let scene = scene();
        scene.open().0.append(ENTRIES).unwrap();
        let whole = fs::read(&scene.path).unwrap();
        let ends = [8 + 3, 8, 8 + 5];
        let begin = whole.len() - ends.iter().sum::<usize>();
        for length in 0..whole.len() {
            fs::write(&scene.path, &whole[..length]).unwrap();
            let (mut file, entries, damage) = scene.open();
            let mut end = begin;
            let complete = ends.iter().take_while(|octets| {
                end += **octets;
                end <= length
            });
            let complete = complete.count();
            assert_eq!(entries, ENTRIES[..complete], "{length}");
            let cleanly = length == 0 || length == begin + ends[..complete].iter().sum::<usize>();
            assert_eq!(damage.is_none(), cleanly, "{length}");
            file.append([&b"next"[..]]).unwrap();
            let (_, entries, damage) = scene.open();
            assert_eq!((entries.len(), damage), (complete + 1, None), "{length}");
        }
    }

    #[test]
    fn no_changed_octet_goes_unnoticed() {
        let scene = scene();
        scene.open().0.append(ENTRIES).unwrap();
        let whole = fs::read(&scene.path).unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            fs::write(&scene.path, &changed).unwrap();
            let (_, entries, damage) = scene.open();
            assert!(damage.is_some() && entries.len() < 3, "{at}");
            assert!(ENTRIES.starts_with(&entries.iter().map(|entry| &**entry).collect::<Vec<_>>()), "{at}");
        }
    }

    #[test]
    fn a_journal_of_another_zone_is_not_taken() {
        let scene = scene();
        scene.open().0.append(ENTRIES).unwrap();
        let (file, contents) = JournalFile::open(scene.path.clone(), &"b.test".parse().unwrap()).unwrap();
        assert!(contents.damage.is_some() && contents.entries().len() == 0 && file.octets() == 0);
    }

    #[test]
    fn what_cannot_be_written_does_not_count() {
        let scene = scene();
        let (mut file, ..) = scene.open();
        fs::create_dir(&scene.path).unwrap();
        assert!(file.append(ENTRIES).is_err());
        assert_eq!(file.octets(), 0);
    }
}
