//! What the answers to a batch of requests will read, named before the first of them is answered: memory takes longer to
//! come than a request to be answered, and for a whole batch it comes at the same time.
//!
//! What was read of a request on the way is kept, and taken when the same octets come to [`Shard::on_query`] in their
//! turn, so that nothing is done twice. What is wrong or missing here costs time and changes no answer.

use super::Shard;
use super::plain::{Plain, Way};
use crate::cache::Key;
use crate::limits::BATCH_AHEAD_MAX;
use crate::wire::message::{HEADER_OCTETS, flags};
use crate::wire::name::KeyedName;
use crate::wire::{copy, is_same};

/// No node has this number.
pub(super) const NO_HINT: u32 = u32::MAX;

/// Octets of a request that are kept: longer ones are read again.
const KEPT_OCTETS: usize = 80;
/// The id, of which nothing depends.
const ID_OCTETS: usize = 2;

/// What was seen of the requests of a batch, in their order.
#[derive(Debug)]
pub(super) struct Ahead {
    seen: Box<[Seen]>,
    count: usize,
    /// Whose turn it is.
    next: usize,
}

/// What was seen of a request.
#[derive(Clone, Debug)]
struct Seen {
    /// What is known of it, where it is plain.
    plain: Option<(Plain, Way)>,
    /// The number that the index has for the hash of its name, in its zone.
    hint: u32,
    /// The hash that its answer is cached under.
    hash: u64,
    octets: usize,
    kept: [u8; KEPT_OCTETS],
    name: Box<KeyedName>,
}

impl Default for Ahead {
    fn default() -> Ahead {
        let (hint, name) = (NO_HINT, Box::default());
        let seen = Seen { plain: None, hint, hash: 0, octets: 0, kept: [0; KEPT_OCTETS], name };
        Ahead { seen: vec![seen; BATCH_AHEAD_MAX].into(), count: 0, next: 0 }
    }
}

impl Ahead {
    /// Forgets everything: it is no longer true.
    pub(super) fn clear(&mut self) {
        self.count = 0;
    }

    /// What is known of the request whose turn it is, where that is this one. Its name takes the place of `name`.
    #[inline]
    pub(super) fn recognise(&mut self, request: &[u8], name: &mut Box<KeyedName>) -> Option<(Plain, Way, u32)> {
        if self.next >= self.count {
            return None;
        }
        let seen = self.seen.get_mut(self.next)?;
        self.next += 1;
        let (plain, way) = seen.plain?;
        if !is_same(seen.kept.get(..seen.octets)?, request.get(ID_OCTETS..)?) {
            return None;
        }
        std::mem::swap(name, &mut seen.name);
        // Its name is another one now.
        seen.plain = None;
        Some((plain, way, seen.hint))
    }
}

impl Shard {
    /// The rim is about to hand over these requests, one by one, to [`Shard::on_query`]. Memory that their answers will
    /// read is handed to `fetch`, which may bring it near and must do nothing else; a second walk follows what the first
    /// one has brought. Of more than [`BATCH_AHEAD_MAX`] requests the first are looked at.
    ///
    /// No answer depends on it: leaving it out costs time alone.
    pub fn look_ahead<'r>(&mut self, requests: impl Iterator<Item = &'r [u8]>, fetch: impl Fn(&[u8])) {
        let Shard { images, cache, era, ahead: Ahead { seen, count, next }, .. } = self;
        (*count, *next) = (0, 0);
        for (seen, request) in seen.iter_mut().zip(requests) {
            *count += 1;
            seen.plain = None;
            let kept = request.get(ID_OCTETS..).unwrap_or(&[]);
            if kept.len() > KEPT_OCTETS {
                continue;
            }
            let Some(plain) = Plain::read(request, &images.hash_key, &mut seen.name) else { continue };
            copy(&mut seen.kept, 0, kept);
            seen.octets = kept.len();
            let way = images.way(&seen.name, plain.qtype);
            match way {
                Way::Zone(zone) => {
                    if let Some(image) = images.image(zone) {
                        fetch(image.ahead(seen.name.name_hash()));
                    }
                }
                Way::Upstream => {
                    let checking_disabled = request[ID_OCTETS + 1] & flags::CD as u8 != 0;
                    let Plain { qtype, dnssec_ok, .. } = plain;
                    let key = Key { qtype, dnssec_ok, checking_disabled, era: *era };
                    seen.hash = key.hash(&images.hash_key, &seen.name);
                    cache.ahead(seen.hash, &fetch);
                }
                Way::Nowhere => {}
            }
            seen.plain = Some((plain, way));
        }
        for seen in seen.iter_mut().take(*count) {
            match seen.plain {
                Some((_, Way::Zone(zone))) => {
                    let closer = images.image(zone).and_then(|image| image.closer(seen.name.name_hash()));
                    seen.hint = closer.map_or(NO_HINT, |(number, _)| number);
                    if let Some((_, octets)) = closer {
                        fetch(octets);
                    }
                }
                Some((_, Way::Upstream)) => cache.closer(seen.hash, &fetch),
                Some((_, Way::Nowhere)) | None => {}
            }
        }
    }
}

const _: () = assert!(KEPT_OCTETS + ID_OCTETS > HEADER_OCTETS);
