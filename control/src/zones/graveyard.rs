//! What has been replaced and is perhaps still read: a core that streams a transfer holds the image that it began with.
//! The last reference is let go here, never on a core, where freeing a large zone would hold up answers.

use std::sync::Arc;

use ringdns_shard::images::ZoneAbout;

use crate::load::Served;

/// A version of a zone that is served no more, and what was known of it.
#[derive(Debug)]
pub(crate) struct Retired {
    pub(crate) served: Arc<Served>,
    pub(crate) about: Arc<ZoneAbout>,
}

impl Retired {
    /// Whether nobody else holds any of it. The differences of the journal are held together with an image.
    fn is_free(&self) -> bool {
        let mut copies = self.served.copies().iter();
        Arc::strong_count(&self.about) == 1
            && Arc::strong_count(&self.served) == 1
            && copies.all(|copy| Arc::strong_count(copy) == 1)
    }
}

/// Replaced states that may still be held.
#[derive(Debug, Default)]
pub(crate) struct Graveyard(Vec<Retired>);

impl Graveyard {
    /// Takes in what has been replaced.
    pub(crate) fn bury(&mut self, retired: Option<Retired>) {
        self.0.extend(retired);
    }

    /// What nobody holds any more, for the caller to drop where it harms nobody.
    pub(crate) fn free(&mut self) -> Vec<Retired> {
        self.0.extract_if(.., |retired| retired.is_free()).collect()
    }

    /// States that are still held.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
