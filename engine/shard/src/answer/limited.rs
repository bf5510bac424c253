//! How often equal responses go to one network over UDP ([`rrl`](crate::guard::rrl)): answers from zones of ours, and
//! refusals. The verdict falls before the reply is written, so that a flood costs no more than looking up its names.
//!
//! Not limited is who has shown that the address is the asker's own: over TCP, or with a signature. Nor are answers of
//! upstreams: those are for the clients that a listener allows.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::{Asker, Client, Outcome, Shard, Transport};
use crate::guard::rrl::{Class, Verdict};
use crate::time::Time;
use crate::wire::message::{HEADER_OCTETS, Query, flags};
use crate::zone::lookup::{Outcome as Of, lookup};

/// The limiter's share of a shard's seed: a stream of numbers of its own, so that it tells nothing of the others.
pub(super) fn seed(seed: [u8; 32]) -> [u8; 16] {
    let mut random = ChaCha12Rng::from_seed(seed);
    random.set_stream(1);
    let mut seed = [0; 16];
    random.fill_bytes(&mut seed);
    seed
}

impl Shard {
    /// What comes of a question for a zone that is limited; `None`: it is answered.
    pub(super) fn limit_answer(
        &mut self,
        now: Time,
        client: &Client,
        zone: u32,
        query: &Query<'_>,
        asker: Asker,
        reply: &mut [u8],
    ) -> Option<Outcome> {
        let (name, image) = (&self.name, self.images.image(zone)?);
        let found = lookup(image, name, query.qtype);
        let apex = image.apex_node().labels();
        let class = match found.outcome {
            Of::NxDomain => Class::NxDomain,
            Of::NoData => Class::NoData,
            Of::Delegation(..) => Class::Referral,
            Of::Answer(_) | Of::Any | Of::Signatures | Of::Cname(_) | Of::Dname(_) => Class::Answer,
        };
        let name_hash = match class {
            Class::NxDomain | Class::NoData => name.suffix_hash(apex),
            // A wildcard lies in a zone, so that it has a label above which there is the one that it stands in for.
            _ if found.wildcard => name.wildcard_hash(&self.images.hash_key, found.node.labels() - 1),
            _ => name.suffix_hash(found.node.labels()),
        };
        self.limit(now, client, (class, name_hash), query, asker, reply)
    }

    /// The same for a request that is refused.
    pub(super) fn limit_refusal(
        &mut self,
        now: Time,
        client: &Client,
        query: &Query<'_>,
        asker: Asker,
        reply: &mut [u8],
    ) -> Option<Outcome> {
        self.limit(now, client, (Class::Error, 0), query, asker, reply)
    }

    fn limit(
        &mut self,
        now: Time,
        client: &Client,
        (class, name_hash): (Class, u64),
        query: &Query<'_>,
        asker: Asker,
        reply: &mut [u8],
    ) -> Option<Outcome> {
        if client.via != Transport::Udp || self.signature.is_some() {
            return None;
        }
        match self.limiter.as_mut()?.verdict(now, client.peer.ip(), class, name_hash, &mut self.counters) {
            Verdict::Send => None,
            Verdict::Drop => Some(Outcome::Silence),
            Verdict::Slip => {
                reply[2..HEADER_OCTETS].fill(0);
                let octets = self.cut_short(&asker, query.question, reply);
                reply[2..4].copy_from_slice(&(asker.flags | flags::QR | flags::TC).to_be_bytes());
                self.counters.reply(0, false);
                Some(Outcome::Reply(octets))
            }
        }
    }
}
