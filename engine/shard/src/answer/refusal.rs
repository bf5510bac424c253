//! What is answered where nothing is: the reasons, each with its response code, its extended error (RFC 8914), its counter,
//! and what the query log says had its way.

use super::{Asker, Client, Outcome, Shard};
use crate::resolve;
use crate::telemetry::Counters;
use crate::telemetry::log::{self, Policy};
use crate::time::Time;
use crate::upstream::Kind;
use crate::wire::edns::ExtendedError;
use crate::wire::message::{Query, Rcode, flags};
use crate::wire::writer::Writer;

/// The reason of a refusal, and which counter holds it.
pub(super) struct Refusal {
    pub(super) rcode: Rcode,
    pub(super) error: Option<ExtendedError>,
    /// RA: a bound is reached, but recursion is available all the same.
    pub(super) recursion: u16,
    pub(super) policy: Policy,
    /// `None`: it is counted already.
    pub(super) counter: Option<fn(&mut Counters) -> &mut u64>,
}

impl Refusal {
    pub(super) fn formerr() -> Refusal {
        let counter: fn(&mut Counters) -> &mut u64 = |c| &mut c.formerr;
        Refusal { rcode: Rcode::FormErr, error: None, recursion: 0, policy: Policy::None, counter: Some(counter) }
    }

    /// The name is no zone of ours, as a transfer or NOTIFY would have it.
    pub(super) fn not_auth() -> Refusal {
        let counter: fn(&mut Counters) -> &mut u64 = |c| &mut c.notauth;
        Refusal { rcode: Rcode::NotAuth, error: None, recursion: 0, policy: Policy::Route, counter: Some(counter) }
    }

    pub(super) fn prohibited(policy: Policy, counter: fn(&mut Counters) -> &mut u64) -> Refusal {
        let error = Some(ExtendedError::Prohibited);
        Refusal { rcode: Rcode::Refused, error, recursion: 0, policy, counter: Some(counter) }
    }

    /// REFUSED; whoever found the reason has counted it.
    pub(super) fn counted(policy: Policy, error: ExtendedError) -> Refusal {
        Refusal { rcode: Rcode::Refused, error: Some(error), recursion: 0, policy, counter: None }
    }

    /// The question is not taken to upstreams of this kind.
    pub(super) fn limited(refused: Option<resolve::Refused>, kind: Kind) -> Refusal {
        let refusal = |counter| Refusal {
            rcode: Rcode::Refused,
            error: Some(ExtendedError::Other),
            recursion: kind.recursion(),
            policy: Policy::Bound,
            counter,
        };
        match refused {
            None => refusal(None),
            Some(resolve::Refused::Resolves) => refusal(Some(|c| &mut c.refused_resolves)),
            Some(resolve::Refused::Waiters) => refusal(Some(|c| &mut c.refused_waiters)),
            Some(resolve::Refused::Zone) => refusal(Some(|c| &mut c.refused_zone)),
            Some(resolve::Refused::Background) => unreachable!("somebody waits"),
            Some(resolve::Refused::NoServers) => Refusal {
                rcode: Rcode::ServFail,
                error: Some(ExtendedError::NoReachableAuthority),
                policy: Policy::None,
                ..refusal(Some(|c| &mut c.servfail_no_servers))
            },
        }
    }

    /// The zone is not loaded, or has expired: others may have it, and the asker shall go on to them.
    pub(super) fn not_ready() -> Refusal {
        let error = Some(ExtendedError::NotReady);
        let counter: fn(&mut Counters) -> &mut u64 = |c| &mut c.servfail_zone;
        Refusal { rcode: Rcode::ServFail, error, recursion: 0, policy: Policy::None, counter: Some(counter) }
    }
}

impl Shard {
    /// A reply without records.
    #[cold]
    pub(super) fn refuse(
        &mut self,
        now: Time,
        client: &Client,
        query: &Query<'_>,
        asker: Asker,
        refusal: Refusal,
        reply: &mut [u8],
    ) -> Outcome {
        if let Some(counter) = refusal.counter {
            *counter(&mut self.counters) += 1;
        }
        let outcome = match (refusal.rcode, refusal.policy) {
            (Rcode::ServFail, Policy::None) => log::Outcome::Failed,
            _ => log::Outcome::Refused,
        };
        self.note.by(outcome, refusal.policy);
        if self.limiter.is_some()
            && let Some(outcome) = self.limit_refusal(now, client, query, asker, reply)
        {
            return outcome;
        }
        let Shard { images, compressor, counters, note, .. } = self;
        let opt = asker.opt(images, refusal.error);
        let writer = Writer::new(reply, asker.limit.into(), query.question, opt, compressor, images.hash_key);
        note.replied(counters, refusal.rcode as u16, false);
        Outcome::Reply(writer.finish(asker.id, asker.flags | flags::QR | refusal.recursion, refusal.rcode))
    }
}
