//! The folders of master files, watched by the kernel (inotify): one watch a folder, whatever the number of files in it.
//! Word that something has happened goes out by a channel that holds one; what has happened, the receiver finds out.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf, absolute};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Config, ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc::Sender;

use super::watch::BLIND_EVERY;

/// Links that are followed on the way to one file; the kernel follows 40.
const WAYS_MAX: usize = 64;
/// What the kernel has refused to watch is tried again after so long.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// What the kernel tells.
#[derive(Debug)]
pub(super) struct Watcher {
    stirs: Sender<()>,
    active: Option<Active>,
}

/// Watches that are set.
#[derive(Debug)]
struct Active {
    /// Ends them when it goes.
    _watcher: RecommendedWatcher,
    places: Arc<Places>,
    /// A folder has gone, or has another name: its watch may be gone with it.
    is_stale: Arc<AtomicBool>,
    /// What could not be watched, and since when.
    trouble: Option<(String, Instant)>,
}

impl Watcher {
    /// Watches nothing yet; `stirs` will hear of what happens.
    pub(super) fn new(stirs: Sender<()>) -> Watcher {
        Watcher { stirs, active: None }
    }

    /// Watches the folders of these files from now on, and those of all links on the way to them; no others.
    ///
    /// # Errors
    /// What cannot be watched, and what to do. The others are.
    pub(super) fn watch<'a>(&mut self, files: impl Iterator<Item = &'a Path>) -> Result<(), String> {
        let places = Places::of(files);
        let is_current = |active: &Active| {
            let is_settled = active.trouble.as_ref().is_none_or(|(_, since)| since.elapsed() < AGAIN_AFTER);
            is_settled && !active.is_stale.load(Ordering::Relaxed) && *active.places == places
        };
        if !self.active.as_ref().is_some_and(is_current) {
            // All of it anew: how the library's list of watches fares when folders come, go and change names is hard to tell.
            self.active = None;
            self.active = Some(self.set(Arc::new(places))?);
        }
        let active = self.active.as_ref().expect("it is set");
        match (&active.trouble, active.places.missing.first()) {
            (Some((trouble, _)), _) => Err(trouble.clone()),
            (None, Some(folder)) => Err(trouble(folder, "it is not there")),
            (None, None) => Ok(()),
        }
    }

    /// Watches nothing.
    pub(super) fn rest(&mut self) {
        self.active = None;
    }

    fn set(&self, places: Arc<Places>) -> Result<Active, String> {
        let is_stale = Arc::new(AtomicBool::new(false));
        let (stirs, of_event, goes_stale) = (self.stirs.clone(), Arc::clone(&places), Arc::clone(&is_stale));
        let on_event = move |event: notify::Result<Event>| {
            let word = event.map_or(Word::Stirred, |event| of_event.word(&event));
            if word == Word::Unsettled {
                goes_stale.store(true, Ordering::Relaxed);
            }
            if word != Word::Nothing {
                // Where one waits already, a second would say no more.
                let _ = stirs.try_send(());
            }
        };
        let watcher = RecommendedWatcher::new(on_event, Config::default());
        let mut watcher = watcher.map_err(|error| {
            format!(
                "master files cannot be watched: {error}; they are looked at every {} seconds; raise \
                 fs.inotify.max_user_instances, or turn `watch` in [server] off and send SIGHUP",
                BLIND_EVERY.as_secs()
            )
        })?;
        let mut first = None;
        for folder in places.folders.keys() {
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                let why = match &error.kind {
                    ErrorKind::MaxFilesWatch => {
                        "too many folders are watched on this machine (fs.inotify.max_user_watches)".to_owned()
                    }
                    ErrorKind::Io(error) => error.to_string(),
                    _ => error.to_string(),
                };
                first.get_or_insert_with(|| (trouble(folder, &why), Instant::now()));
                if matches!(error.kind, ErrorKind::MaxFilesWatch) {
                    break;
                }
            }
        }
        Ok(Active { _watcher: watcher, places, is_stale, trouble: first })
    }
}

fn trouble(folder: &Path, why: &str) -> String {
    format!(
        "the folder {} cannot be watched: {why}; its files are looked at every {} seconds; mend that, or turn `watch` \
         in [server] off and send SIGHUP",
        folder.display(),
        BLIND_EVERY.as_secs()
    )
}

/// What an event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Nothing,
    /// Something has happened to a file.
    Stirred,
    /// Something has happened to a folder that is watched.
    Unsettled,
}

/// Where something may happen that changes what a path leads to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Places {
    /// Folders, each once, by device and inode: two paths to one folder have one watch.
    folders: BTreeMap<PathBuf, (u64, u64)>,
    /// Names of files and links in them, in whichever.
    names: HashSet<OsString>,
    /// Folders that are not there.
    missing: Vec<PathBuf>,
}

impl Places {
    fn of<'a>(files: impl Iterator<Item = &'a Path>) -> Places {
        let (mut places, mut walked, mut inodes) = (Places::default(), HashSet::new(), HashSet::new());
        for file in files {
            let mut ways: Vec<PathBuf> = absolute(file).into_iter().collect();
            for _ in 0..WAYS_MAX {
                let Some(way) = ways.pop() else { break };
                let (Some(folder), Some(name)) = (way.parent(), way.file_name()) else { continue };
                if !places.names.contains(name) {
                    places.names.insert(name.to_owned());
                }
                ways.extend(fs::read_link(&way).map(|target| folder.join(target)));
                if !walked.contains(folder) {
                    walked.insert(folder.to_owned());
                    places.add(folder, &mut inodes);
                    // A link among the folders above leads elsewhere when it is replaced.
                    ways.extend(folder.ancestors().filter(|folder| folder.is_symlink()).map(Path::to_owned));
                }
            }
        }
        places
    }

    fn add(&mut self, folder: &Path, inodes: &mut HashSet<(u64, u64)>) {
        match fs::metadata(folder) {
            Ok(metadata) if metadata.is_dir() => {
                let inode = (metadata.dev(), metadata.ino());
                if inodes.insert(inode) {
                    self.folders.insert(folder.to_owned(), inode);
                }
            }
            _ => self.missing.push(folder.to_owned()),
        }
    }

    /// What an event says. That files are opened and read is nothing: the server does it.
    fn word(&self, event: &Event) -> Word {
        let is_change = match event.kind {
            EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
            _ => true,
        };
        let moves = matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)));
        if moves && event.paths.iter().any(|path| self.folders.contains_key(path)) {
            return Word::Unsettled;
        }
        let is_named = |path: &PathBuf| path.file_name().is_some_and(|name| self.names.contains(name));
        let tells = event.need_rescan() || is_change && event.paths.iter().any(is_named);
        if tells { Word::Stirred } else { Word::Nothing }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::thread::sleep;

    use tokio::sync::mpsc::{Receiver, channel};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);
    const QUIET: Duration = Duration::from_millis(150);

    struct Scene {
        folder: tempfile::TempDir,
        watcher: Watcher,
        stirs: Receiver<()>,
    }

    impl Scene {
        fn new() -> Scene {
            let (sender, stirs) = channel(1);
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir(folder.path().join("zones")).unwrap();
            fs::write(folder.path().join("zones/a"), "1").unwrap();
            Scene { folder, watcher: Watcher::new(sender), stirs }
        }

        fn path(&self, path: &str) -> PathBuf {
            self.folder.path().join(path)
        }

        fn watch(&mut self, file: &str) -> Result<(), String> {
            let path = self.path(file);
            self.watcher.watch([&*path].into_iter())
        }

        /// Whether word comes of what `act` does, and nothing more once it is over.
        fn tells_of(&mut self, act: impl FnOnce(&Path)) -> bool {
            act(self.folder.path());
            let end = Instant::now() + PATIENCE;
            while self.stirs.try_recv().is_err() {
                if Instant::now() > end {
                    return false;
                }
                sleep(QUIET / 10);
            }
            while Instant::now() < end {
                sleep(QUIET);
                if self.stirs.try_recv().is_err() {
                    return true;
                }
            }
            panic!("word comes without end");
        }

        /// Whether no word comes of what `act` does.
        fn is_silent_about(&mut self, act: impl FnOnce(&Path)) -> bool {
            act(self.folder.path());
            sleep(QUIET);
            self.stirs.try_recv().is_err()
        }
    }

    #[test]
    fn every_way_to_change_a_file_is_told() {
        let mut scene = Scene::new();
        scene.watch("zones/a").unwrap();
        assert!(scene.tells_of(|base| fs::write(base.join("zones/a"), "22").unwrap()));
        assert!(scene.tells_of(|base| {
            fs::write(base.join("zones/a.new"), "333").unwrap();
            fs::rename(base.join("zones/a.new"), base.join("zones/a")).unwrap();
        }));
        assert!(scene.tells_of(|base| fs::remove_file(base.join("zones/a")).unwrap()));
        assert!(scene.tells_of(|base| fs::write(base.join("zones/a"), "1").unwrap()));
        let touch = |base: &Path| {
            let file = fs::File::options().write(true).open(base.join("zones/a")).unwrap();
            file.set_modified(std::time::UNIX_EPOCH).unwrap();
        };
        assert!(scene.tells_of(touch));
    }

    #[test]
    fn reading_and_other_files_are_nothing() {
        let mut scene = Scene::new();
        scene.watch("zones/a").unwrap();
        assert!(scene.is_silent_about(|base| drop(fs::read(base.join("zones/a")).unwrap())));
        assert!(scene.is_silent_about(|base| fs::write(base.join("zones/other"), "1").unwrap()));
        scene.watch("zones/a").unwrap();
        scene.watcher.rest();
        assert!(scene.is_silent_about(|base| fs::write(base.join("zones/a"), "22").unwrap()));
    }

    #[test]
    fn many_files_of_one_folder_are_one_watch() {
        let scene = Scene::new();
        let files: Vec<PathBuf> = (0..1_000).map(|number| scene.path(&format!("zones/{number}"))).collect();
        let places = Places::of(files.iter().map(|file| &**file));
        assert!(places.folders.keys().eq([&scene.path("zones")]), "{:?}", places.folders);
        assert_eq!((places.names.len(), places.missing.len()), (1_000, 0));
    }

    #[test]
    fn links_are_watched_where_they_are_and_where_they_lead() {
        let mut scene = Scene::new();
        symlink("zones", scene.path("link")).unwrap();
        symlink("../zones/a", scene.path("zones/b")).unwrap();
        fs::create_dir(scene.path("elsewhere")).unwrap();
        fs::write(scene.path("elsewhere/b"), "5").unwrap();
        scene.watch("link/b").unwrap();
        assert!(scene.tells_of(|base| fs::write(base.join("zones/a"), "22").unwrap()), "what the link leads to");
        assert!(scene.tells_of(|base| {
            symlink("../elsewhere/b", base.join("zones/new")).unwrap();
            fs::rename(base.join("zones/new"), base.join("zones/b")).unwrap();
        }));
        scene.watch("link/b").unwrap();
        assert!(scene.tells_of(|base| fs::write(base.join("elsewhere/b"), "66").unwrap()), "where it leads now");
        let replace = |base: &Path| {
            symlink("elsewhere", base.join("new")).unwrap();
            fs::rename(base.join("new"), base.join("link")).unwrap();
        };
        assert!(scene.tells_of(replace), "a link among the folders");
        // Links in a circle end.
        symlink("../circle/x", scene.path("zones/circle")).unwrap();
        symlink("zones/circle", scene.path("circle")).unwrap();
        let _ = scene.watch("circle/x");
    }

    #[test]
    fn a_folder_that_goes_and_comes_is_watched_again() {
        let mut scene = Scene::new();
        scene.watch("zones/a").unwrap();
        assert!(scene.tells_of(|base| fs::remove_dir_all(base.join("zones")).unwrap()));
        let refused = scene.watch("zones/a").unwrap_err();
        assert!(
            refused.contains("zones cannot be watched: it is not there; ") && refused.contains("SIGHUP"),
            "{refused}"
        );
        fs::create_dir(scene.path("zones")).unwrap();
        scene.watch("zones/a").unwrap();
        assert!(scene.tells_of(|base| fs::write(base.join("zones/a"), "1").unwrap()));
        // It goes away and comes back as it is.
        assert!(scene.tells_of(|base| {
            fs::rename(base.join("zones"), base.join("away")).unwrap();
            fs::rename(base.join("away"), base.join("zones")).unwrap();
        }));
        scene.watch("zones/a").unwrap();
        assert!(scene.tells_of(|base| fs::write(base.join("zones/a"), "22").unwrap()));
        // Another takes its place.
        assert!(scene.tells_of(|base| {
            fs::rename(base.join("zones"), base.join("away")).unwrap();
            fs::create_dir(base.join("zones")).unwrap();
        }));
        scene.watch("zones/a").unwrap();
        assert!(scene.tells_of(|base| fs::write(base.join("zones/a"), "333").unwrap()));
    }

    #[test]
    fn a_folder_within_a_watched_one_that_goes_and_comes_is_watched_again() {
        let mut scene = Scene::new();
        fs::create_dir(scene.path("zones/sub")).unwrap();
        let files = [scene.path("zones/a"), scene.path("zones/sub/b")];
        scene.watcher.watch(files.iter().map(|file| &**file)).unwrap();
        assert!(scene.tells_of(|base| {
            fs::rename(base.join("zones/sub"), base.join("zones/away")).unwrap();
            fs::rename(base.join("zones/away"), base.join("zones/sub")).unwrap();
        }));
        scene.watcher.watch(files.iter().map(|file| &**file)).unwrap();
        assert!(scene.tells_of(|base| fs::write(base.join("zones/sub/b"), "1").unwrap()));
    }
}
