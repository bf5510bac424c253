//! The state folder: which file is whose, one process at a time, files replaced as a whole.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ringdns_shard::wire::name::{self, Name};

use crate::confined::unwritable;

/// Octets of one component of a path; file systems take 255, of which endings need some.
const COMPONENT_OCTETS_MAX: usize = 200;
/// What the file name of the root zone is. An escape of no other name looks like it.
const ROOT: &str = "%root";
/// Ends a folder that holds what is too long for one component. No zone's file name ends so.
const LONG: &str = "%+";

/// The folder, held by this process as long as it lives.
#[derive(Debug)]
pub(crate) struct Folder {
    /// Holds the lock.
    _lock: File,
}

impl Folder {
    /// Makes the folder where it is not there, and takes hold of it.
    ///
    /// # Errors
    /// What to tell people: it cannot be made or written, or another process has it.
    pub(crate) fn open(path: &Path) -> Result<Folder, String> {
        let unusable = |error: io::Error| {
            let error = unwritable(path, error);
            format!(
                "the folder {} cannot be used: {error}; `state` in [server] names it, and the server must be allowed to \
                 write there",
                path.display()
            )
        };
        fs::create_dir_all(path.join("zones")).map_err(unusable)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path.join("lock"));
        let lock = lock.map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Folder { _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => Err(format!(
                "another process uses the folder {}; give each server a `state` of its own in [server]",
                path.display()
            )),
            Err(fs::TryLockError::Error(error)) => Err(unusable(error)),
        }
    }
}

/// What there is in a state folder, so that files of thousands of zones that are not there are not looked for one by one.
#[derive(Debug)]
pub(crate) struct Listing {
    folder: PathBuf,
    names: HashSet<OsString>,
}

impl Listing {
    /// What there is now; `None` where the folder cannot be listed.
    pub(crate) fn of(state: &Path) -> Option<Listing> {
        let folder = state.join("zones");
        let names = fs::read_dir(&folder).ok()?.map(|entry| Ok(entry?.file_name()));
        let names = names.collect::<io::Result<HashSet<OsString>>>().ok()?;
        Some(Listing { folder, names })
    }

    /// Whether a file is not there. Of files elsewhere nothing is known.
    pub(crate) fn lacks(&self, path: &Path) -> bool {
        path.parent() == Some(&*self.folder) && path.file_name().is_some_and(|name| !self.names.contains(name))
    }
}

/// Where the copy of a zone is kept in the state folder `state`, unless the configuration names another file.
pub(crate) fn copy_path(state: &Path, apex: &Name) -> PathBuf {
    zone_path(state, apex, ".zone")
}

/// Where the differences that lead to the present copy are kept.
pub(crate) fn journal_path(state: &Path, apex: &Name) -> PathBuf {
    zone_path(state, apex, ".journal")
}

/// Where the differences are kept that lead to the present state of a master file. Those of a copy of the same name are
/// others: a zone may be the one, then the other, and neither may be taken for what led to the other.
pub(crate) fn changes_path(state: &Path, apex: &Name) -> PathBuf {
    zone_path(state, apex, ".changes")
}

fn zone_path(state: &Path, apex: &Name, ending: &str) -> PathBuf {
    let mut path = state.join("zones");
    let mut rest = &*file_name(apex);
    while rest.len() > COMPONENT_OCTETS_MAX {
        let (piece, tail) = rest.split_at(COMPONENT_OCTETS_MAX);
        path.push(format!("{piece}{LONG}"));
        rest = tail;
    }
    path.push(format!("{rest}{ending}"));
    path
}

/// A name as text that is a good file name and belongs to no other name: letters, digits, `-` and `_` stand for
/// themselves, labels are parted by dots, everything else is `%` and two hexadecimal digits.
fn file_name(apex: &Name) -> String {
    let mut text = String::new();
    for label in name::labels(apex.as_wire()) {
        if !text.is_empty() {
            text.push('.');
        }
        for &octet in label {
            match octet {
                b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => text.push(char::from(octet)),
                _ => text.push_str(&format!("%{octet:02X}")),
            }
        }
    }
    if text.is_empty() { ROOT.to_owned() } else { text }
}

/// Puts a file in the place of `path` as a whole: whoever reads it, and whatever happens meanwhile, finds the old one
/// or the new one.
pub(crate) fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    replace_as(path, 0o666, write)
}

/// The same with a file whose permissions are no more than `mode`.
pub(crate) fn replace_as(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|error| unwritable(folder, error))?;
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let written = (|| {
        // What an attempt that was cut short left there may have other permissions.
        remove(&new)?;
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
        let mut writer = BufWriter::with_capacity(1 << 16, file);
        write(&mut writer)?;
        writer.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        // A crash that undoes this leaves the old file, which is as good.
        fs::rename(&new, path)
    })();
    if written.is_err() {
        // What is left of an attempt is in nobody's way but the disk's.
        let _ = fs::remove_file(&new);
    }
    written.map_err(|error| unwritable(path, error))
}

/// Removes a file; that it is not there is as good.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(path: &Path) -> String {
        path.display().to_string()
    }

    #[test]
    fn each_name_has_a_file_of_its_own_that_stays_in_the_folder() {
        let path = |text: &str| shown(&copy_path(Path::new("/s"), &text.parse().unwrap()));
        assert_eq!(path("a-b_c.example.test"), "/s/zones/a-b_c.example.test.zone");
        assert_eq!(path("."), "/s/zones/%root.zone");
        assert_eq!(path("0/25.2.0.192.in-addr.arpa"), "/s/zones/0%2F25.2.0.192.in-addr.arpa.zone");
        assert_eq!(path("\\.\\.\\/x.\\000\\255"), "/s/zones/%2E%2E%2Fx.%00%FF.zone");
        assert_eq!(path("EXAMPLE"), "/s/zones/example.zone");
        let journal = journal_path(Path::new("/s"), &"a.test".parse().unwrap());
        assert_eq!(shown(&journal), "/s/zones/a.test.journal");
        let names = ["a.b", "a\\.b", "a%2eb", "\\%root", ".", "root", "a\\%", "%00", "\\000"];
        let files: HashSet<String> = names.iter().map(|name| path(name)).collect();
        assert_eq!(files.len(), names.len());
    }

    #[test]
    fn the_longest_name_fits_a_file_system() {
        let mut wire = Vec::new();
        for octets in [63, 63, 63, 61] {
            wire.push(octets);
            wire.extend(std::iter::repeat_n(0xff, usize::from(octets)));
        }
        wire.push(0);
        let folder = tempfile::tempdir().unwrap();
        let path = copy_path(folder.path(), &Name::from_wire(&wire).unwrap());
        assert!(path.components().all(|part| part.as_os_str().len() <= 255), "{path:?}");
        replace(&path, |out| out.write_all(b"x")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"x");
    }

    #[test]
    fn two_processes_do_not_share_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/state");
        let first = Folder::open(&path).unwrap();
        let refused = Folder::open(&path).unwrap_err();
        assert!(refused.contains("another process uses the folder") && refused.contains("new/state"), "{refused}");
        drop(first);
        assert!(Folder::open(&path).is_ok());
        assert!(Folder::open(Path::new("/proc/nonexistent")).unwrap_err().contains("/proc/nonexistent"));
    }

    #[test]
    fn a_listing_knows_what_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Listing::of(folder.path()).is_none(), "there is no folder to be listed");
        let path = |text: &str| changes_path(folder.path(), &text.parse().unwrap());
        let long = [["x"; 60].concat(), ["y"; 60].concat(), ["z"; 60].concat(), ["w"; 40].concat()].join(".");
        for name in ["a.test", &long] {
            replace(&path(name), |out| out.write_all(b"x")).unwrap();
        }
        let listing = Listing::of(folder.path()).unwrap();
        assert!(listing.lacks(&path("b.test")) && listing.lacks(&copy_path(folder.path(), &"a.test".parse().unwrap())));
        assert!(!listing.lacks(&path("a.test")) && !listing.lacks(&path(&long)));
        assert!(!listing.lacks(Path::new("/nonexistent")), "nobody has looked there");
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub/file");
        replace(&path, |out| out.write_all(b"old")).unwrap();
        let failed = replace(&path, |out| {
            out.write_all(b"half")?;
            Err(io::Error::other("the disk is full"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "the disk is full");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left behind");
        remove(&path).unwrap();
        remove(&path).unwrap();
    }
}
