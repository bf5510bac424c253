//! NOTIFY (RFC 1996): a primary says that a zone has changed. It is heard for the zones that have it in their
//! [`notify_from`](crate::images::ZoneAbout::notify_from), whoever else may ask at the listener, and only handed on:
//! whether the zone is asked for, and when, is decided elsewhere.

use super::{Client, Outcome, Queued, Refusal, Shard};
use crate::telemetry::log::{self, Policy};
use crate::transfer::notify;
use crate::wire::message::{Query, Rcode};
use crate::wire::rdata::CLASS_IN;

impl Shard {
    /// A NOTIFY. Nothing is answered that an attacker could make more of, so that it needs no limit of its own.
    #[cold]
    pub(super) fn on_notify(
        &mut self,
        client: &Client,
        request: &[u8],
        query: &Query<'_>,
        reply: &mut [u8],
    ) -> Result<Outcome, Refusal> {
        let zone = match query.qclass {
            CLASS_IN => self.images.zone_at(&self.name),
            _ => None,
        };
        let zone = zone.ok_or_else(Refusal::not_auth)?;
        let about = &self.images.zones[zone as usize].about;
        if !self.is_allowed(&about.notify_from, client) {
            return Err(Refusal::prohibited(Policy::Acl, |c| &mut c.notifies_refused));
        }
        let heard = notify::read(query, &about.apex, request).map_err(|_| Refusal::formerr())?;
        self.counters.notifies += 1;
        self.queue.push_back(Queued::Notified { zone, serial: heard.serial, peer: client.peer.ip() });
        let octets = notify::reply(query, Rcode::NoError, reply).expect("a header, a question and an OPT record fit");
        self.note.is(log::Outcome::Local);
        self.note.replied(&mut self.counters, Rcode::NoError as u16, false);
        Ok(Outcome::Reply(octets))
    }
}
