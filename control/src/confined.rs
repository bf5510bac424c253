//! What of the file system the server needs for as long as it runs, so that the kernel can keep it from the rest; and what
//! to tell people when a reload names something else.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::config::{Settings, Source, Zone, ZoneFile};
use crate::query_log;

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
/// How names of upstreams are looked up. Where they are links, what they point to is read as well.
const NAMES: &[&str] = &["/etc/gai.conf", "/etc/host.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/resolv.conf"];
/// Folders that are everybody's: who may write in one of them may change what has nothing to do with the server.
const SHARED: &[&str] = &["/etc", "/home", "/run", "/tmp", "/usr", "/var", "/var/lib", "/var/log", "/var/tmp"];
/// A rule for the root folder is one for every file there is: in it there are rules for single files alone.
const ROOT: &str = "/";

/// What the process is kept to, once it is.
static IN_FORCE: OnceLock<Kept> = OnceLock::new();

/// A place by device and inode: another folder of the same name is another one.
type Inode = (u64, u64);
type Inodes = HashSet<Inode>;

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
    /// What people should know of it: what was left out, and what reaches far.
    remarks: Vec<String>,
}

impl Reach {
    /// What a server needs that has these settings from this source, each place once. Makes the folders that it writes:
    /// what is not there when the process is kept to its reach cannot come to be there later. Where one cannot be made,
    /// those will say so who would have written it.
    pub fn of(source: &Source, settings: &Settings) -> Reach {
        Reach::below(Path::new(ROOT), source, settings)
    }

    fn below(root: &Path, source: &Source, settings: &Settings) -> Reach {
        let mut places = Places::new(root);
        SYSTEM.iter().for_each(|place| places.read(Path::new(place)));
        NAMES.iter().for_each(|file| places.read_file(Path::new(file)));
        if let Source::File(file) = source {
            places.read_file(&std::path::absolute(file).unwrap_or_else(|_| file.clone()));
            // What is built in writes nothing.
            places.write(&settings.server.state, "`state` in [server]");
            places.write_file(&query_log::Wanted::of(settings).file, "`file` in [query_log]");
        }
        settings.zone.iter().for_each(|zone| places.zone(zone));
        for key in &settings.key {
            key.secret_file.iter().for_each(|secret| places.read_file(&secret.path));
        }
        settings.control.token_file.iter().for_each(|token| places.read_file(&token.path));
        if let Some(folder) = settings.control.socket.as_deref().and_then(Path::parent) {
            places.socket(folder, "`socket` in [control]");
        }
        places.reach()
    }

    /// From now on the kernel keeps the process to this: a file that it refuses for that is told so. What people should
    /// know of it goes to the log.
    pub fn holds(&self) {
        self.remarks.iter().for_each(|remark| log::warn!("{remark}"));
        let kept = Kept {
            read: self.read.iter().chain(&self.write).filter_map(|place| inode(place)).collect(),
            write: self.write.iter().chain(&self.sockets).filter_map(|place| inode(place)).collect(),
        };
        // A process is kept in once.
        let _ = IN_FORCE.set(kept);
    }
}

/// Which file or folder this is, or what it is a link to.
fn inode(place: &Path) -> Option<Inode> {
    fs::metadata(place).ok().map(|place| (place.dev(), place.ino()))
}

/// What a path is a link to, over however many links; `None` where it is none, or leads nowhere.
fn target(path: &Path) -> Option<PathBuf> {
    let is_link = fs::symlink_metadata(path).is_ok_and(|path| path.is_symlink());
    is_link.then(|| path.canonicalize().ok()).flatten()
}

/// Places that are being gathered.
#[derive(Debug)]
struct Places {
    root: Option<Inode>,
    shared: Vec<(Inode, &'static str)>,
    read: HashSet<PathBuf>,
    write: HashSet<PathBuf>,
    sockets: HashSet<PathBuf>,
    /// A line for each key of the configuration and kind of place, however many zones there are.
    remarks: BTreeSet<String>,
}

impl Places {
    fn new(root: &Path) -> Places {
        Places {
            root: inode(root),
            shared: SHARED.iter().filter_map(|&folder| Some((inode(Path::new(folder))?, folder))).collect(),
            read: HashSet::new(),
            write: HashSet::new(),
            sockets: HashSet::new(),
            remarks: BTreeSet::new(),
        }
    }

    /// Whatever it is called, and however it is reached.
    fn is_root(&self, folder: &Path) -> bool {
        self.root.is_some() && inode(folder) == self.root
    }

    fn read(&mut self, place: &Path) {
        if !self.read.contains(place) {
            self.read.insert(place.to_owned());
        }
    }

    /// A file is replaced by another of its name: its folder is read, and the one to which it is a link.
    fn read_file(&mut self, file: &Path) {
        self.read_beside(file);
        target(file).iter().for_each(|target| self.read_beside(target));
    }

    fn read_beside(&mut self, file: &Path) {
        let Some(folder) = file.parent().filter(|folder| !self.read.contains(*folder)) else { return };
        let place = if self.is_root(folder) { file } else { folder };
        self.read(place);
    }

    fn include(&mut self, folder: &Path) {
        if self.is_root(folder) {
            let line =
                "`include` of a [[zone]] names /: the server may read whatever its user may; name folders below it";
            self.remarks.insert(line.to_owned());
        }
        self.read(folder);
    }

    fn write(&mut self, folder: &Path, key: &str) {
        if !self.write.contains(folder) {
            let _ = fs::create_dir_all(folder);
            if self.may_change(folder, key) {
                self.write.insert(folder.to_owned());
            }
        }
    }

    /// A file that is written in its place, with others beside it: where it is a link, so is what it points to.
    fn write_file(&mut self, file: &Path, key: &str) {
        file.parent().into_iter().for_each(|folder| self.write(folder, key));
        target(file).as_deref().and_then(Path::parent).into_iter().for_each(|folder| self.write(folder, key));
    }

    fn socket(&mut self, folder: &Path, key: &str) {
        if self.may_change(folder, key) {
            self.sockets.insert(folder.to_owned());
        }
    }

    /// Whether files may be made and removed in this folder, which `key` of the configuration names.
    fn may_change(&mut self, folder: &Path, key: &str) -> bool {
        let inode = inode(folder);
        if self.root.is_some() && inode == self.root {
            self.remarks.insert(format!(
                "{key} is kept out of reach: it lies in / itself, and who may write there may write everywhere; choose a \
                 folder below, or `sandbox = false` in [server]"
            ));
            return false;
        }
        if let Some((_, shared)) = self.shared.iter().find(|(shared, _)| Some(*shared) == inode) {
            self.remarks.insert(format!(
                "{key} lets the server change or remove what others have in {shared}, as far as its user may; choose a \
                 folder of its own"
            ));
        }
        true
    }

    fn zone(&mut self, zone: &Zone) {
        let ZoneFile::Path(file) = &*zone.file else { return };
        match file.parent() {
            // A copy is replaced as a whole: in the place of a link comes a file.
            Some(folder) if !zone.primaries.is_empty() => {
                self.write(folder, "`file` of a [[zone]] with `primaries`");
                if self.is_root(folder) {
                    self.read(file);
                }
                target(file).iter().for_each(|target| self.read_beside(target));
            }
            _ => self.read_file(file),
        }
        zone.include.iter().for_each(|folder| self.include(folder));
    }

    fn reach(self) -> Reach {
        let list = |places: HashSet<PathBuf>| {
            let mut list: Vec<PathBuf> = places.into_iter().collect();
            list.sort_unstable();
            list
        };
        let remarks = self.remarks.into_iter().collect();
        Reach { read: list(self.read), write: list(self.write), sockets: list(self.sockets), remarks }
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
    let root = inode(Path::new(ROOT));
    let is_in_root = [Some(path), path.parent()].into_iter().flatten().any(|part| inode(part) == root);
    let of_root = if is_in_root { " (of / itself, files to be read alone)" } else { "" };
    let why = format!(
        "{error}: it lies outside of the folders that the configuration {named} when the server started, and the server \
         is kept to those; a restart takes it in{of_root}, or `sandbox = false` in [server] does without"
    );
    io::Error::new(ErrorKind::PermissionDenied, why)
}

/// Whether a path, or what of it there is, is one of `places` or below one.
fn is_within(path: &Path, places: &Inodes) -> bool {
    let Some(whole) = path.ancestors().find_map(|part| part.canonicalize().ok()) else { return true };
    let is_place = |part: &Path| inode(part).is_some_and(|inode| places.contains(&inode));
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
        let Reach { read, write, sockets, remarks } = Reach::of(&Source::File(whole.join("r.toml")), &settings);
        let below = |list: Vec<PathBuf>| -> Vec<String> {
            let below = list.iter().filter_map(|place| place.strip_prefix(&whole).ok());
            below.map(|place| place.display().to_string()).collect()
        };
        assert!(SYSTEM.iter().all(|place| read.contains(&PathBuf::from(place))), "{read:?}");
        assert_eq!(below(read), ["", "elsewhere", "parts", "secrets", "secrets/more", "zones"]);
        assert!(write.iter().all(|place| place.is_dir()), "{write:?}");
        assert_eq!(below(write), ["copies", "kept/state", "log"]);
        assert_eq!(below(sockets), ["run"]);
        assert_eq!(remarks, Vec::<String>::new());
    }

    #[test]
    fn of_the_root_folder_single_files_are_read_and_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("links")).unwrap();
        // Whatever the root folder is called.
        symlink("..", root.join("links/up")).unwrap();
        for file in ["c.zone", "d.zone"] {
            fs::write(root.join(file), "").unwrap();
            symlink(root.join(file), root.join("links").join(file)).unwrap();
        }
        let configuration = "\
            [server]\nstate = \".\"\n\
            [control]\nsocket = \"links/../socket\"\n\
            [query_log]\nfile = \"links/up/queries.sqlite\"\n\
            [[zone]]\nname = \"a.test\"\nfile = \"a.zone\"\n\
            [[zone]]\nname = \"b.test\"\nfile = \"b.zone\"\nprimaries = [\"192.0.2.1:53\"]\n\
            [[zone]]\nname = \"c.test\"\nfile = \"links/c.zone\"\n\
            [[zone]]\nname = \"d.test\"\nfile = \"d.zone\"\ninclude = [\".\"]\n";
        let settings = parse("r.toml", configuration, &root).unwrap_or_else(|faults| panic!("{faults}"));
        let reach = Reach::below(&root, &Source::File(root.join("r.toml")), &settings);
        let mut read: Vec<&Path> = reach.read.iter().filter_map(|place| place.strip_prefix(&root).ok()).collect();
        // What `include` names is named in so many words.
        assert_eq!(read.remove(0), Path::new(""), "{read:?}");
        assert_eq!(read, ["a.zone", "b.zone", "c.zone", "d.zone", "links", "r.toml"].map(Path::new));
        assert_eq!((reach.write, reach.sockets), (Vec::new(), Vec::new()));
        let told: Vec<&str> = reach.remarks.iter().map(|line| line.split(": ").next().unwrap()).collect();
        let out = |key: &str| format!("{key} is kept out of reach");
        let expected = [
            out("`file` in [query_log]"),
            out("`file` of a [[zone]] with `primaries`"),
            "`include` of a [[zone]] names /".to_owned(),
            out("`socket` in [control]"),
            out("`state` in [server]"),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn what_reaches_into_folders_of_others_is_told() {
        let configuration = "\
            [control]\nsocket = \"/tmp/../tmp/socket\"\n\
            [query_log]\nfile = \"/etc/queries.sqlite\"\n";
        let settings = parse("r.toml", configuration, Path::new("/nonexistent")).unwrap();
        let mut places = Places::new(Path::new(ROOT));
        places.socket(settings.control.socket.as_deref().and_then(Path::parent).unwrap(), "`socket`");
        places.write(settings.query_log.file.as_deref().and_then(Path::parent).unwrap(), "`file`");
        let Reach { write, sockets, remarks, .. } = places.reach();
        assert_eq!((write, sockets), (vec![PathBuf::from("/etc")], vec![PathBuf::from("/tmp/../tmp")]));
        assert_eq!(remarks.len(), 2, "{remarks:?}");
        let told = ["`file` lets the server change or remove what others have in /etc,", "`socket` lets the server"];
        assert!(remarks.iter().zip(told).all(|(remark, told)| remark.starts_with(told)), "{remarks:?}");
        assert!(remarks[1].contains(" in /tmp, "), "{remarks:?}");
    }

    #[test]
    fn what_links_point_to_is_within_reach() {
        let folder = tempfile::tempdir().unwrap();
        let whole = folder.path().canonicalize().unwrap();
        for below in ["disk/log", "disk/copies", "disk/more", "state", "copies", "log"] {
            fs::create_dir_all(whole.join(below)).unwrap();
        }
        for (link, target) in [
            ("log/queries.sqlite", "disk/more/queries.sqlite"),
            ("state/queries.sqlite", "disk/log/queries.sqlite"),
            ("copies/b.zone", "disk/copies/b.zone"),
        ] {
            fs::write(whole.join(target), "").unwrap();
            symlink(whole.join(target), whole.join(link)).unwrap();
        }
        // One that is a link to a link.
        symlink(whole.join("log/queries.sqlite"), whole.join("again.sqlite")).unwrap();
        let zone = "[[zone]]\nname = \"b.test\"\nfile = \"copies/b.zone\"\nprimaries = [\"192.0.2.1:53\"]\n";
        let reach = |query_log: &str| {
            let settings = parse("r.toml", &format!("{query_log}{zone}"), &whole).unwrap();
            let reach = Reach::of(&Source::File(whole.join("r.toml")), &settings);
            let below = |list: Vec<PathBuf>| -> Vec<String> {
                let below = list.iter().filter_map(|place| place.strip_prefix(&whole).ok());
                below.map(|place| place.display().to_string()).collect()
            };
            (below(reach.read), below(reach.write))
        };
        // A copy is read where it is, and then replaced where the link is.
        assert_eq!(reach("").0, ["", "disk/copies"]);
        assert_eq!(reach("").1, ["copies", "disk/log", "state"]);
        assert_eq!(reach("[query_log]\nfile = \"again.sqlite\"\n").1, ["", "copies", "disk/more", "state"]);
        let read: HashSet<PathBuf> =
            Reach::of(&Source::Embedded, &parse("r.toml", "", &whole).unwrap()).read.into_iter().collect();
        for target in NAMES.iter().filter_map(|file| target(Path::new(file))) {
            assert!(read.contains(target.parent().unwrap()), "{target:?}");
        }
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
        assert!(told.to_string().contains("; a restart takes it in, or "), "{told}");
        for root in ["/", "/nonexistent", "/../nonexistent"] {
            let told = explained(Path::new(root), denied(), &places, "had it write").to_string();
            assert!(told.contains("; a restart takes it in (of / itself, files to be read alone), or "), "{told}");
        }
        for (below, error) in [("old/file", denied()), ("out/file", ErrorKind::NotFound.into())] {
            assert_eq!(explained(&path(below), error, &places, "named").get_ref().map(ToString::to_string), None);
        }
        assert!(unreadable(&path("out"), denied()).get_ref().is_none(), "nothing is in force here");
    }
}
