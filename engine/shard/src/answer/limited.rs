//! How often equal responses go to one network over UDP ([`rrl`](crate::guard::rrl)): answers from zones of ours, and
//! refusals. The verdict falls before the reply is written, so that a flood costs no more than looking up its names.
//!
//! Not limited is who has shown that the address is the asker's own: over TCP, or with a signature. Nor are answers of
//! upstreams: those are for the clients that a listener allows.

use super::{Asker, Client, Outcome, Refusal, Shard, Transport};
use crate::guard::rate::{self, Address};
use crate::guard::rrl::{Class, Verdict};
use crate::telemetry::log::{self, Policy};
use crate::time::Time;
use crate::wire::edns::ExtendedError;
use crate::wire::message::{HEADER_OCTETS, Query, flags};
use crate::zone::lookup::{Outcome as Of, lookup};

impl Shard {
    /// What comes of a request whose network asks too often; `None`: it is answered.
    #[inline]
    pub(super) fn limit_rate(
        &mut self,
        now: Time,
        client: &Client,
        query: &Query<'_>,
        asker: Asker,
        reply: &mut [u8],
    ) -> Option<Result<Outcome, Refusal>> {
        match self.rate.as_mut()?.verdict(now, client.peer.ip(), asker.address, &mut self.counters) {
            rate::Verdict::Within => None,
            rate::Verdict::Drop => Some(Ok(self.silence(client, Policy::Rate))),
            rate::Verdict::Truncate => Some(Ok(self.truncate(Policy::Rate, &asker, query, reply))),
            rate::Verdict::Refuse => Some(Err(Refusal::counted(Policy::Rate, ExtendedError::Prohibited))),
        }
    }

    /// The same for a request that does not parse: whether it may be answered.
    pub(super) fn is_within_rate(&mut self, now: Time, client: &Client) -> bool {
        let address = if client.via == Transport::Tcp { Address::Proven } else { Address::Claimed };
        let counters = &mut self.counters;
        self.rate.as_mut().is_none_or(|rate| rate.is_within(now, client.peer.ip(), address, counters))
    }

    /// Nothing is sent, by this policy.
    pub(super) fn silence(&mut self, client: &Client, policy: Policy) -> Outcome {
        self.note.policy = policy;
        self.record.later(client);
        Outcome::Silence
    }

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
        if client.via != Transport::Udp || asker.address == Address::Proven {
            return None;
        }
        match self.limiter.as_mut()?.verdict(now, client.peer.ip(), class, name_hash, &mut self.counters) {
            Verdict::Send => None,
            Verdict::Drop => Some(self.silence(client, Policy::Rrl)),
            Verdict::Slip => Some(self.truncate(Policy::Rrl, &asker, query, reply)),
        }
    }

    /// A reply without records that sends the asker to TCP, by this policy.
    fn truncate(&mut self, policy: Policy, asker: &Asker, query: &Query<'_>, reply: &mut [u8]) -> Outcome {
        self.note.by(log::Outcome::Local, policy);
        reply[2..HEADER_OCTETS].fill(0);
        let octets = self.cut_short(asker, query.question, reply);
        reply[2..4].copy_from_slice(&(asker.flags | flags::QR | flags::TC).to_be_bytes());
        self.note.replied(&mut self.counters, 0, false);
        Outcome::Reply(octets)
    }
}
