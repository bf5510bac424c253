//! Master files that change while the server runs. They are looked at every so often, by what a stat tells; one that has
//! changed is read once two looks have found it the same, so that nobody serves half of a file that is being written.
//! Pure: who looks, and when, is the caller's business.

use std::collections::HashMap;

use ringdns_shard::wire::name::Name;

use crate::load::Stamp;

/// The files of a zone as they are now; `None` for one that is not there.
pub(crate) type State = Vec<Option<Stamp>>;

/// What the last look found, and what has been read.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    seen: HashMap<Name, State>,
    tried: HashMap<Name, State>,
}

impl Watch {
    /// A look has found these zones to be other than what is served. Returns whether one of them is to be read: it was the
    /// same at the look before, and has not been read like this. One whose file has mistakes is read once.
    pub(crate) fn looked(&mut self, changed: HashMap<Name, State>) -> bool {
        self.tried.retain(|zone, _| changed.contains_key(zone));
        let is_due =
            |zone: &Name, state: &State| self.seen.get(zone) == Some(state) && self.tried.get(zone) != Some(state);
        let due: Vec<Name> =
            changed.iter().filter(|(zone, state)| is_due(zone, state)).map(|(zone, _)| zone.clone()).collect();
        for zone in &due {
            self.tried.insert(zone.clone(), changed[zone].clone());
        }
        self.seen = changed;
        !due.is_empty()
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
        fs::write(&path, "1").unwrap();
        assert!(!watch.looked(look(&path)), "it may still be written");
        fs::write(&path, "12").unwrap();
        assert!(!watch.looked(look(&path)), "it was");
        assert!(watch.looked(look(&path)));
        assert!(!watch.looked(look(&path)), "it was read, and had mistakes");
        fs::write(&path, "123").unwrap();
        assert!(!watch.looked(look(&path)));
        assert!(watch.looked(look(&path)));
        // It is served now, and changes back.
        assert!(!watch.looked(HashMap::new()));
        fs::remove_file(&path).unwrap();
        assert!(!watch.looked(look(&path)));
        assert!(watch.looked(look(&path)), "that there is none is to be told once");
        assert!(!watch.looked(look(&path)));
    }
}
