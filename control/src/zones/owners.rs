//! To which catalog a member belongs that several catalogs list (RFC 9432 §5.2), kept on disk: else, after a restart, the
//! first of them would have it, and whoever makes that one could take over the zones of another by listing them and
//! waiting.
//!
//! What one catalog alone lists needs no note. A line a member: its name, a space, the catalog's name.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ringdns_shard::wire::name::Name;

use super::disk;
use crate::catalog::{Members, Owned, Owner, Refused};

/// The note.
#[derive(Debug)]
pub(crate) struct Owners {
    path: PathBuf,
    /// What it says.
    noted: BTreeMap<Name, Name>,
}

impl Owners {
    /// Reads the note in the state folder `state`.
    pub(crate) fn open(state: &Path) -> Owners {
        let path = state.join("owners");
        let noted = match fs::read_to_string(&path) {
            Ok(text) => read(&text).unwrap_or_else(|| {
                log::error!("{}: it is damaged; members that several catalogs list go to the first", path.display());
                BTreeMap::new()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => {
                log::error!("{}: it cannot be read: {error}", path.display());
                BTreeMap::new()
            }
        };
        Owners { path, noted }
    }

    /// The members of which there is a note. Their labels and groups are what the catalogs say.
    pub(crate) fn members(&self) -> Members {
        let owned = |catalog: &Name| Owned { catalog: catalog.clone(), label: Box::default(), groups: Vec::new() };
        self.noted.iter().map(|(member, catalog)| (member.clone(), owned(catalog))).collect()
    }

    /// Notes to whom those belong that other catalogs list in vain.
    pub(crate) fn note<'a>(&mut self, refused: impl Iterator<Item = &'a Refused>) {
        let noted: BTreeMap<Name, Name> = refused
            .filter_map(|refused| match &refused.owner {
                Owner::Catalog(catalog) => Some((refused.member.clone(), catalog.clone())),
                Owner::Zone | Owner::Route => None,
            })
            .collect();
        if noted == self.noted {
            return;
        }
        let write =
            |out: &mut dyn Write| noted.iter().try_for_each(|(member, catalog)| writeln!(out, "{member} {catalog}"));
        match disk::replace(&self.path, write) {
            Ok(()) => self.noted = noted,
            Err(error) => log::error!("{}: it cannot be written: {error}", self.path.display()),
        }
    }
}

fn read(text: &str) -> Option<BTreeMap<Name, Name>> {
    let line = |line: &str| {
        let (member, catalog) = line.split_once(' ')?;
        Some((member.parse().ok()?, catalog.parse().ok()?))
    };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn refused(member: &str, owner: Owner) -> Refused {
        Refused { catalog: name("c1.test"), member: name(member), owner }
    }

    #[test]
    fn owners_are_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut owners = Owners::open(folder.path());
        assert!(owners.members().is_empty());
        let odd = "a\\ b\\.\\010c.test";
        let catalog = Owner::Catalog(name("c\\ 2.test"));
        let list = [refused(odd, catalog.clone()), refused("z.test", Owner::Zone), refused("b.test", catalog)];
        owners.note(list.iter());
        let again = Owners::open(folder.path());
        assert_eq!(again.members().keys().cloned().collect::<Vec<_>>(), [name("b.test"), name(odd)]);
        assert!(again.members().values().all(|owned| owned.catalog == name("c\\ 2.test")));
        owners.note([].iter());
        assert!(Owners::open(folder.path()).members().is_empty());
        fs::write(folder.path().join("owners"), "nonsense\n").unwrap();
        assert!(Owners::open(folder.path()).members().is_empty());
    }
}
