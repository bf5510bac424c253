//! A new version of a zone takes the place of the one before: what leads from one to the other is found and kept, and each
//! group of cores gets its copy. All of this takes long for a large zone, and runs where nobody waits.

use std::sync::{Arc, Mutex};

use ringdns_shard::wire::name::{HashKey, Name};
use ringdns_shard::wire::serial::newer;
use ringdns_shard::zone::difference::Difference;
use ringdns_shard::zone::journal::Journal;
use ringdns_shard::zone::{Builder, Image, Place};

use super::keeping::{Keeping, journal_for};
use crate::catalog;
use crate::layout::Layout;
use crate::load::Served;

/// The zone in which a version follows another.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) keeping: Arc<Mutex<Keeping>>,
    /// The version before, if there is one.
    pub(crate) before: Option<Arc<Served>>,
    pub(crate) layout: Layout,
}

impl Scene {
    /// `image` follows as a whole; what it differs in from the version before is found out.
    pub(crate) fn succeed(&self, image: Image) -> Arc<Served> {
        let before = self.before.as_deref().filter(|before| newer(image.serial(), before.image().serial()));
        match before {
            Some(before) => {
                let difference = Difference::between(before.image(), &image).expect("another serial is a difference");
                self.follow(image, before.journal().clone(), vec![Arc::new(difference)])
            }
            None => {
                let journal = journal_for(&image);
                self.keeping().replace(&image, &journal);
                self.spread(image, journal)
            }
        }
    }

    /// `image` follows, which is the version before changed by `differences`.
    pub(crate) fn succeed_by(&self, image: Image, differences: Vec<Arc<Difference>>) -> Arc<Served> {
        let journal = self.before.as_ref().map_or_else(|| journal_for(&image), |before| before.journal().clone());
        self.follow(image, journal, differences)
    }

    fn follow(&self, image: Image, mut journal: Journal, differences: Vec<Arc<Difference>>) -> Arc<Served> {
        for difference in &differences {
            journal.push(Arc::clone(difference));
        }
        self.keeping().append(&image, &differences, &journal);
        self.spread(image, journal)
    }

    fn spread(&self, image: Image, journal: Journal) -> Arc<Served> {
        let copies = self.layout.copies(vec![image]).remove(0);
        Arc::new(Served::new(copies, journal))
    }

    fn keeping(&self) -> std::sync::MutexGuard<'_, Keeping> {
        Keeping::lock(&self.keeping)
    }
}

/// A catalog that is to be made.
#[derive(Debug)]
pub(crate) struct Making {
    pub(crate) zone: Scene,
    pub(crate) apex: Name,
    /// The members and their groups.
    pub(crate) listed: Vec<(Name, String)>,
    pub(crate) key: HashKey,
    /// The serial, where it is later than the last one.
    pub(crate) unix_seconds: u64,
}

impl Making {
    /// The catalog's name.
    pub(crate) fn apex(&self) -> &Name {
        &self.apex
    }

    /// Makes the catalog; `None` where the last version lists the same.
    pub(crate) fn make(self) -> Result<Option<Arc<Served>>, String> {
        let before = self.zone.before.as_ref().map(|before| before.image());
        let Some(records) = catalog::produce(&self.apex, &self.listed, before, self.unix_seconds as u32)? else {
            return Ok(None);
        };
        let mut builder = Builder::new(self.apex.clone(), self.key);
        for record in &records {
            builder
                .push(record.owner.as_wire(), record.rtype, record.ttl, &record.data, Place::default())
                .map_err(|why| format!("the catalog {} cannot be made: {why}", self.apex))?;
        }
        let image =
            builder.finish().map_err(|faults| format!("the catalog {} cannot be made: {}", self.apex, faults[0].1))?;
        Ok(Some(self.zone.succeed(image)))
    }
}
