//! Requests with TSIG (RFC 8945): the signature is verified before anything else is looked at, and the reply signed,
//! whenever it is ready and whatever it says.
//!
//! A question that goes to upstreams keeps its signature while it waits: its answer is signed when it comes. Between us
//! and the upstream nothing is signed.

use std::sync::Arc;

use super::{Asker, Client, Outcome, Shard};
use crate::limits::UDP_PLAIN_OCTETS_MAX;
use crate::telemetry::Counters;
use crate::telemetry::log::{self, Policy};
use crate::time::Time;
use crate::tsig::{self, Checked, Fault, Key, Signed, Signer};
use crate::wire::message::{HEADER_OCTETS, Query, Rcode, flags};
use crate::wire::writer::Writer;

/// What a verified request leaves behind until its reply is signed.
#[derive(Debug)]
pub(super) struct Signature {
    /// The key it was signed with.
    pub(super) key: Arc<Key>,
    /// Signs the reply.
    pub(super) signer: Signer,
    /// Octets that the asker takes, TSIG included.
    limit: usize,
}

impl Shard {
    /// Verifies the signature of a request. Where it holds, [`Shard::signature`] is set, room for the reply's is taken
    /// from the asker's, and the request goes on its way; else what is to be answered is returned (RFC 8945 §5.2).
    #[cold]
    pub(super) fn verify(
        &mut self,
        (now, client): (Time, &Client),
        request: &[u8],
        query: &Query<'_>,
        asker: &mut Asker,
        reply: &mut [u8],
    ) -> Result<(), Outcome> {
        match tsig::check(request, &self.images.keys, self.unix_seconds) {
            // Who cannot sign has as little proven as who does not.
            Checked::Fault(_) | Checked::Unsigned if !self.is_within_rate(now, client) => {
                Err(self.silence(client, Policy::Rate))
            }
            Checked::Signed(Signed { key, signer, .. }) => {
                self.counters.tsig_verified += 1;
                let limit = usize::from(asker.limit);
                let room = limit.saturating_sub(signer.octets_needed());
                asker.limit = room.max(UDP_PLAIN_OCTETS_MAX) as u16;
                self.signature = Some(Box::new(Signature { key, signer, limit }));
                Ok(())
            }
            Checked::Fault(fault) => {
                self.note.by(log::Outcome::Refused, Policy::Signature);
                Err(self.refuse_signature(fault, query, *asker, reply))
            }
            // Its last record is a TSIG, so that it is not unsigned: nothing is answered that nobody verified.
            Checked::Unsigned => {
                self.counters.formerr += 1;
                self.note.by(log::Outcome::Refused, Policy::Signature);
                Err(self.bare(query.header, Rcode::FormErr, reply))
            }
        }
    }

    fn refuse_signature(&mut self, fault: Fault, query: &Query<'_>, asker: Asker, reply: &mut [u8]) -> Outcome {
        let Shard { images, compressor, counters, note, .. } = self;
        *match fault.error {
            None => &mut counters.formerr,
            Some(tsig::Error::BadKey) => &mut counters.tsig_unknown_key,
            Some(tsig::Error::BadSig) => &mut counters.tsig_bad_signature,
            Some(tsig::Error::BadTime) => &mut counters.tsig_bad_time,
            Some(tsig::Error::BadTrunc) => &mut counters.tsig_truncated,
        } += 1;
        note.replied(counters, fault.rcode as u16, false);
        let limit = asker.limit.into();
        let writer = Writer::new(reply, limit, query.question, asker.opt(images, None), compressor, images.hash_key);
        let octets = writer.finish(asker.id, asker.flags | flags::QR, fault.rcode);
        Outcome::Reply(match fault.signer {
            None => octets,
            Some(mut signer) => sign_or_strip(&mut signer, limit, self.unix_seconds, counters, reply, octets),
        })
    }

    /// Signs the reply that stands in the buffer, if there is one now; who answers later has taken the signature over.
    #[cold]
    pub(super) fn sign_outcome(
        &mut self,
        query: &Query<'_>,
        asker: &Asker,
        outcome: Outcome,
        reply: &mut [u8],
    ) -> Outcome {
        let (Outcome::Reply(octets), Some(mut signature)) = (outcome, self.signature.take()) else { return outcome };
        Outcome::Reply(self.sign(&mut signature, asker, query.question, reply, octets))
    }

    /// Signs the reply in the first `octets` of the buffer and returns its length then. Where it does not fit the asker
    /// with its signature it is cut short first (RFC 8945 §5.3).
    pub(super) fn sign(
        &mut self,
        signature: &mut Signature,
        asker: &Asker,
        question: &[u8],
        reply: &mut [u8],
        octets: usize,
    ) -> usize {
        let Signature { signer, limit, .. } = signature;
        let fits = octets + signer.octets_needed() <= *limit;
        let octets = if fits { octets } else { self.cut_short(asker, question, reply) };
        sign_or_strip(signer, *limit, self.unix_seconds, &mut self.counters, reply, octets)
    }
}

/// Signs a reply that is short already. Should it be too long for the asker all the same, which takes a key and a
/// question with names of great length, the header goes alone.
fn sign_or_strip(
    signer: &mut Signer,
    limit: usize,
    unix_seconds: u64,
    counters: &mut Counters,
    reply: &mut [u8],
    octets: usize,
) -> usize {
    if octets + signer.octets_needed() > limit {
        counters.tsig_no_room += 1;
        reply[4..HEADER_OCTETS].fill(0);
        return HEADER_OCTETS;
    }
    signer.sign(unix_seconds, reply, octets).expect("there is room for it")
}
