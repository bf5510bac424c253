//! What of the file system the server needs for as long as it runs, so that the kernel can keep it from the rest; and what
//! to tell people when a reload names something else.

use std::collections::HashSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::config::{Settings, Source, Zone, ZoneFile};

/// What the process reads whatever its configuration says: how names of upstreams are looked up, which CPUs there are and
/// how much of them is ours, what the kernel says of the process, where SQLite has its randomness from, and the libraries
/// that the C library loads when it looks names up. Folders, for files in them are replaced as a whole.
const SYSTEM: &[&str] = &[
    "/etc",
    "/proc",
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
    "/sys/fs/cgroup",
    "/dev/urandom",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
];
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// What the process is kept to, once it is.
static IN_FORCE: OnceLock<Kept> = OnceLock::new();

/// Places by device and inode: another folder of the same name is another one.
type Inodes = HashSet<(u64, u64)>;

#[derive(Debug)]
struct Kept {
    read: Inodes,
    write: Inodes,
}

/// The part of the file system that a server needs: what is named here and what is below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Folders and files that it reads.
    pub read: Vec<PathBuf>,
    /// Folders that it reads and writes.
    pub write: Vec<PathBuf>,
    /// Folders in which it makes and removes a Unix socket.
    pub sockets: Vec<PathBuf>,
}

impl Reach {
    /// What a server needs that has these settings from this source, each place once. Makes the folders that it writes:
    /// what is not there when the process is kept to its reach cannot come to be there later. Where one cannot be made,
    /// those will say so who would have written it.
    pub fn of(source: &Source, settings: &Settings) -> Reach {
        let mut places = Places::default();
        SYSTEM.iter().for_each(|place| places.read(Path::new(place)));
        places.read_file(Path::new(RESOLV_CONF));
        if let Source::File(file) = source {
            places.read_file(&std::path::absolute(file).unwrap_or_else(|_| file.clone()));
            // What is built in writes nothing.
            places.write(&settings.server.state);
        }
        settings.zone.iter().for_each(|zone| places.zone(zone));
        for key in &settings.key {
            key.secret_file.iter().for_each(|secret| places.read_file(&secret.path));
        }
        settings.control.token_file.iter().for_each(|token| places.read_file(&token.path));
        if let Some(folder) = settings.query_log.file.as_deref().and_then(Path::parent) {
            places.write(folder);
        }
        if let Some(folder) = settings.control.socket.as_deref().and_then(Path::parent) {
            places.sockets.insert(folder.to_owned());
        }
        places.reach()
    }

    /// From now on the kernel keeps the process to this: a file that it refuses for that is told so.
    pub fn holds(&self) {
        let inode = |place: &PathBuf| fs::metadata(place).ok().map(|place| (place.dev(), place.ino()));
        let kept = Kept {
            read: self.read.iter().chain(&self.write).filter_map(inode).collect(),
            write: self.write.iter().chain(&self.sockets).filter_map(inode).collect(),
        };
        // A process is kept in once.
        let _ = IN_FORCE.set(kept);
    }
}

/// Places that are being gathered.
#[derive(Debug, Default)]
struct Places {
    read: HashSet<PathBuf>,
    write: HashSet<PathBuf>,
    sockets: HashSet<PathBuf>,
}

impl Places {
    fn read(&mut self, place: &Path) {
        if !self.read.contains(place) {
            self.read.insert(place.to_owned());
        }
    }

    /// A file is replaced by another of its name: its folder is read, and the one to which it is a link.
    fn read_file(&mut self, file: &Path) {
        file.parent().into_iter().for_each(|folder| self.read(folder));
        let is_link = fs::symlink_metadata(file).is_ok_and(|file| file.is_symlink());
        let target = is_link.then(|| file.canonicalize().ok()).flatten();
        target.as_deref().and_then(Path::parent).into_iter().for_each(|folder| self.read(folder));
    }

    fn write(&mut self, folder: &Path) {
        if !self.write.contains(folder) {
            let _ = fs::create_dir_all(folder);
            self.write.insert(folder.to_owned());
        }
    }

    fn zone(&mut self, zone: &Zone) {
        let ZoneFile::Path(file) = &*zone.file else { return };
        match file.parent() {
            Some(folder) if !zone.primaries.is_empty() => self.write(folder),
            _ => self.read_file(file),
        }
        zone.include.iter().for_each(|folder| self.read(folder));
    }

    fn reach(self) -> Reach {
        let list = |places: HashSet<PathBuf>| {
            let mut list: Vec<PathBuf> = places.into_iter().collect();
            list.sort_unstable();
            list
        };
        Reach { read: list(self.read), write: list(self.write), sockets: list(self.sockets) }
    }
}

/// The error that reading `path` gave, and why, where the kernel has refused it for what the process is kept to.
pub(crate) fn unreadable(path: &Path, error: io::Error) -> io::Error {
    match IN_FORCE.get() {
        Some(kept) => explained(path, error, &kept.read, "named"),
        None => error,
    }
}

/// The same for an error that writing `path` gave, or making or removing it.
pub(crate) fn unwritable(path: &Path, error: io::Error) -> io::Error {
    match IN_FORCE.get() {
        Some(kept) => explained(path, error, &kept.write, "had it write"),
        None => error,
    }
}

fn explained(path: &Path, error: io::Error, places: &Inodes, named: &str) -> io::Error {
    if error.kind() != ErrorKind::PermissionDenied || is_within(path, places) {
        return error;
    }
    let why = format!(
        "{error}: it lies outside of the folders that the configuration {named} when the server started, and the server \
         is kept to those; a restart takes it in, or `sandbox = false` in [server] does without"
    );
    io::Error::new(ErrorKind::PermissionDenied, why)
}

/// Whether a path, or what of it there is, is one of `places` or below one.
fn is_within(path: &Path, places: &Inodes) -> bool {
    let Some(whole) = path.ancestors().find_map(|part| part.canonicalize().ok()) else { return true };
    let is_place = |part: &Path| fs::metadata(part).is_ok_and(|part| places.contains(&(part.dev(), part.ino())));
    whole.ancestors().any(is_place)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::config::parse;

    const CONFIGURATION: &str = "\
        [server]\nstate = \"kept/state\"\n\
        [control]\nsocket = \"run/socket\"\ntoken_file = \"secrets/token\"\n\
        [query_log]\nfile = \"log/queries.sqlite\"\n\
        [[key]]\nname = \"k.\"\nsecret_file = \"secrets/more/key\"\n\
        [[zone]]\nname = \"a.test\"\nfile = \"zones/a.zone\"\ninclude = [\"parts\"]\n\
        [[zone]]\nname = \"b.test\"\nfile = \"copies/b.zone\"\nprimaries = [\"192.0.2.1:53\"]\n\
        [[zone]]\nname = \"c.test\"\nfile = \"zones/c.zone\"\n\
        [[zone]]\nname = \"d.test\"\nprimaries = [\"192.0.2.1:53\"]\n\
        [[zone]]\nname = \"e.test\"\nfile = \"builtin:demonstration\"\n";

    #[test]
    fn a_server_reaches_what_its_configuration_names_and_the_folders_that_it_writes_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let whole = folder.path().canonicalize().unwrap();
        for below in ["secrets/more", "zones", "elsewhere", "parts"] {
            fs::create_dir_all(whole.join(below)).unwrap();
        }
        fs::write(whole.join("secrets/token"), "0123456789abcdef0123456789abcdef").unwrap();
        fs::write(whole.join("secrets/more/key"), "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0ISE=").unwrap();
        fs::write(whole.join("elsewhere/c.zone"), "").unwrap();
        symlink(whole.join("elsewhere/c.zone"), whole.join("zones/c.zone")).unwrap();
        let settings = parse("r.toml", CONFIGURATION, &whole).unwrap_or_else(|faults| panic!("{faults}"));
        let Reach { read, write, sockets } = Reach::of(&Source::File(whole.join("r.toml")), &settings);
        let below = |list: Vec<PathBuf>| -> Vec<String> {
            let below = list.iter().filter_map(|place| place.strip_prefix(&whole).ok());
            below.map(|place| place.display().to_string()).collect()
        };
        assert!(SYSTEM.iter().all(|place| read.contains(&PathBuf::from(place))), "{read:?}");
        assert_eq!(below(read), ["", "elsewhere", "parts", "secrets", "secrets/more", "zones"]);
        assert!(write.iter().all(|place| place.is_dir()), "{write:?}");
        assert_eq!(below(write), ["copies", "kept/state", "log"]);
        assert_eq!(below(sockets), ["run"]);
    }

    #[test]
    fn what_is_built_in_writes_nothing() {
        let settings = parse("r.toml", "", Path::new("/nonexistent")).unwrap();
        let reach = Reach::of(&Source::Embedded, &settings);
        assert_eq!((reach.write, reach.sockets), (Vec::new(), Vec::new()));
    }

    #[test]
    fn what_lies_outside_is_told_from_what_is_not_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |below: &str| folder.path().join(below);
        fs::create_dir_all(path("in/deep")).unwrap();
        fs::create_dir_all(path("out")).unwrap();
        symlink(path("out"), path("in/link")).unwrap();
        let inside = fs::metadata(path("in")).unwrap();
        let places = HashSet::from([(inside.dev(), inside.ino())]);
        for (below, expected) in [
            ("in", true),
            ("in/deep", true),
            ("in/deep/absent/file", true),
            ("in/deep/../file", true),
            ("out", false),
            ("out/file", false),
            ("in/link/file", false),
            ("in/../out/file", false),
        ] {
            assert_eq!(is_within(&path(below), &places), expected, "{below}");
        }
        // Another folder of the same name is another folder.
        fs::rename(path("in"), path("old")).unwrap();
        fs::create_dir(path("in")).unwrap();
        assert!(is_within(&path("old/file"), &places) && !is_within(&path("in/file"), &places));
        let denied = || io::Error::from(ErrorKind::PermissionDenied);
        let told = explained(&path("out/file"), denied(), &places, "named");
        assert!(told.to_string().starts_with("permission denied: it lies outside of the folders that "), "{told}");
        assert_eq!(told.kind(), ErrorKind::PermissionDenied);
        for (below, error) in [("old/file", denied()), ("out/file", ErrorKind::NotFound.into())] {
            assert_eq!(explained(&path(below), error, &places, "named").get_ref().map(ToString::to_string), None);
        }
        assert!(unreadable(&path("out"), denied()).get_ref().is_none(), "nothing is in force here");
    }
}
