//! Master files that change while the server runs: when they are looked at, and which of them are read. What is looked
//! at is what a stat tells. A file that has changed is read once two looks have found it the same, so that nobody serves
//! half of a file that is being written. Pure: who looks, and what the kernel tells, is the caller's business.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ringdns_shard::wire::name::Name;

use crate::load::Stamp;

/// From word of a change to the look, and from one look to the next, until two agree.
pub(super) const REST: Duration = Duration::from_millis(200);
/// From one look to the next where the kernel tells of no changes.
pub(super) const BLIND_EVERY: Duration = Duration::from_secs(5);

/// The files of a zone as they are now; `None` for one that is not there.
pub(crate) type State = Vec<Option<Stamp>>;

/// What the last look found, what has been read, and when the next look is.
#[derive(Debug, Default)]
pub(super) struct Watch {
    seen: HashMap<Name, State>,
    tried: HashMap<Name, State>,
    look_at: Option<Instant>,
    is_looking: bool,
}

impl Watch {
    /// When the next look is due; `None`: when something stirs, or the one that is under way has ended.
    pub(super) fn next(&self) -> Option<Instant> {
        self.look_at.filter(|_| !self.is_looking)
    }

    /// Something has happened to files, or may have.
    pub(super) fn stirred(&mut self, now: Instant) {
        self.look_at_latest(now + REST);
    }

    fn look_at_latest(&mut self, latest: Instant) {
        self.look_at = Some(self.look_at.map_or(latest, |at| at.min(latest)));
    }

    /// A look begins; [`looked`](Watch::looked) follows.
    pub(super) fn look(&mut self) {
        self.look_at = None;
        self.is_looking = true;
    }

    /// A look has found these zones to be other than what is served. Where `is_blind`, the kernel does not tell of all
    /// changes. Returns whether a zone is to be read: it was the same at the look before, and has not been read like this.
    /// One whose file has mistakes is read once.
    pub(super) fn looked(&mut self, now: Instant, changed: HashMap<Name, State>, is_blind: bool) -> bool {
        self.is_looking = false;
        self.tried.retain(|zone, _| changed.contains_key(zone));
        let (mut all_rest, mut is_due) = (true, false);
        for (zone, state) in &changed {
            if self.seen.get(zone) != Some(state) {
                all_rest = false;
            } else if self.tried.get(zone) != Some(state) {
                is_due = true;
                self.tried.insert(zone.clone(), state.clone());
            }
        }
        self.seen = changed;
        if !all_rest {
            self.look_at_latest(now + REST);
        } else if is_blind {
            self.look_at_latest(now + BLIND_EVERY);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn look(path: &Path) -> HashMap<Name, State> {
        HashMap::from([("a.test".parse().unwrap(), vec![Stamp::of(path).ok()])])
    }

    #[test]
    fn a_file_is_read_once_it_rests_and_once_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let mut watch = Watch::default();
        let mut looked = |changed| watch.looked(Instant::now(), changed, false);
        fs::write(&path, "1").unwrap();
        assert!(!looked(look(&path)), "it may still be written");
        fs::write(&path, "12").unwrap();
        assert!(!looked(look(&path)), "it was");
        assert!(looked(look(&path)));
        assert!(!looked(look(&path)), "it was read, and had mistakes");
        fs::write(&path, "123").unwrap();
        assert!(!looked(look(&path)));
        assert!(looked(look(&path)));
        // It is served now, and changes back.
        assert!(!looked(HashMap::new()));
        fs::remove_file(&path).unwrap();
        assert!(!looked(look(&path)));
        assert!(looked(look(&path)), "that there is none is to be told once");
        assert!(!looked(look(&path)));
    }

    #[test]
    fn looks_end_once_two_agree_unless_the_kernel_is_silent() {
        let path = Path::new("/nonexistent");
        let (now, mut watch) = (Instant::now(), Watch::default());
        assert_eq!(watch.next(), None);
        watch.stirred(now);
        watch.stirred(now + REST / 2);
        assert_eq!(watch.next(), Some(now + REST), "a file that is written without end is looked at all the same");
        watch.look();
        assert_eq!(watch.next(), None);
        assert!(!watch.looked(now, look(path), false));
        assert_eq!(watch.next(), Some(now + REST));
        watch.look();
        assert!(watch.looked(now, look(path), false));
        assert_eq!(watch.next(), None, "nothing is looked at while nothing happens");
        watch.stirred(now);
        watch.look();
        watch.stirred(now);
        watch.looked(now, HashMap::new(), true);
        assert_eq!(watch.next(), Some(now + REST), "what happens during a look calls for another");
        watch.look();
        watch.looked(now, HashMap::new(), true);
        assert_eq!(watch.next(), Some(now + BLIND_EVERY));
    }
}
