//! What the answers to a batch of requests will read, named before the first of them is answered: memory takes longer to
//! come than a request to be answered, and for a whole batch it comes at the same time.
//!
//! Nothing is decided here. What is wrong or missing costs time and changes no answer.

use super::Shard;
use crate::cache::Key;
use crate::limits::BATCH_AHEAD_MAX;
use crate::upstream::Target;
use crate::wire::edns::DNSSEC_OK;
use crate::wire::message::{HEADER_OCTETS, Header, flags};
use crate::wire::name::KeyedName;
use crate::wire::{rdata::rtype, u16_at};

/// Where the answer to a request will be looked up, and the hash it lies under.
#[derive(Clone, Copy, Debug)]
enum Place {
    Zone(u32, u64),
    Cache(u64),
}

impl Shard {
    /// The rim is about to hand over these requests, one by one, to [`Shard::on_query`]. Memory that their answers will
    /// read is handed to `fetch`, which may bring it near and must do nothing else; a second walk follows what the first
    /// one has brought. Of more than [`BATCH_AHEAD_MAX`] requests the first are looked at.
    ///
    /// It changes nothing and promises nothing: leaving it out costs time alone.
    pub fn look_ahead<'r>(&mut self, requests: impl Iterator<Item = &'r [u8]>, fetch: impl Fn(&[u8])) {
        let mut places = [Place::Cache(0); BATCH_AHEAD_MAX];
        let mut count = 0;
        for request in requests.take(BATCH_AHEAD_MAX) {
            let Some(place) = self.place_of(request) else { continue };
            match place {
                Place::Zone(zone, hash) => fetch(self.images.image(zone).map_or(&[], |image| image.ahead(hash))),
                Place::Cache(hash) => self.cache.ahead(hash, &fetch),
            }
            places[count] = place;
            count += 1;
        }
        for place in &places[..count] {
            match *place {
                Place::Zone(zone, hash) => fetch(self.images.image(zone).map_or(&[], |image| image.closer(hash))),
                Place::Cache(hash) => self.cache.closer(hash, &fetch),
            }
        }
    }

    /// Where the answer to a plain query will be looked up.
    #[inline]
    fn place_of(&mut self, request: &[u8]) -> Option<Place> {
        let header = Header::parse(request)?;
        if header.flags & (flags::QR | flags::OPCODE) != 0 || header.counts[0] != 1 {
            return None;
        }
        let Shard { images, other, era, .. } = self;
        let name: &mut KeyedName = other;
        let type_at = HEADER_OCTETS + name.set(&images.hash_key, &request[HEADER_OCTETS..])?;
        match images.routes.find(name, name.labels())?.0 {
            &Target::Zone(zone) => Some(Place::Zone(zone, name.name_hash())),
            Target::Pools(_) => {
                let qtype = u16_at(request, type_at)?;
                // Behind type and class stands the OPT record, where there is one: its owner, its type, its class, and two
                // octets before its flags.
                let is_opt = u16_at(request, type_at + 5) == Some(rtype::OPT);
                let dnssec_ok = is_opt && u16_at(request, type_at + 11)? & DNSSEC_OK != 0;
                let checking_disabled = header.has(flags::CD);
                let key = Key { qtype, dnssec_ok, checking_disabled, era: *era };
                Some(Place::Cache(key.hash(&images.hash_key, name)))
            }
            Target::Refuse => None,
        }
    }
}
