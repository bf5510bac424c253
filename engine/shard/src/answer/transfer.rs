//! Transfers of zones of ours to others: AXFR (RFC 5936) and IXFR (RFC 1995), each zone to those in its
//! [`allow_transfer`](crate::images::ZoneAbout::allow_transfer).
//!
//! Over TCP an answer is a sequence of messages. The door settles what it will be and keeps it under a number
//! ([`Outcome::Transfer`]); the rim asks for one message at a time ([`Shard::transfer_message`]) whenever the connection
//! has room, so that a transfer costs the core one message's worth of work and memory at a time.
//!
//! A transfer holds the image that it began with. When it ends that image may be an old one, and a core must not free a
//! zone: whoever swaps images in keeps the old ones until nobody else holds them.

use std::sync::Arc;

use super::{Asker, Client, Outcome, Refusal, Shard, Transport};
use crate::images::{Allowed, ZoneAbout};
use crate::limits::{NAME_OCTETS_MAX, TRANSFERS_MAX};
use crate::telemetry::Counters;
use crate::telemetry::log::{self, Policy};
use crate::transfer::outgoing::Asked;
use crate::transfer::{Content, Outgoing};
use crate::wire::edns::ExtendedError;
use crate::wire::message::{HEADER_OCTETS, Query, Rcode, Section, records};
use crate::wire::name::{self, KeyedName};
use crate::wire::rdata::{CLASS_IN, rtype};
use crate::wire::serial::newer;
use crate::wire::u32_at;
use crate::zone::Image;

/// The transfers of a core that are under way, by number.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    slots: Vec<Option<Outgoing>>,
    free: Vec<u32>,
}

impl Transfers {
    pub(super) fn open(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    fn insert(&mut self, transfer: Outgoing) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.slots[number as usize] = Some(transfer);
        number
    }

    fn remove(&mut self, number: u32) {
        self.slots[number as usize] = None;
        self.free.push(number);
    }
}

impl Shard {
    /// AXFR and IXFR.
    #[cold]
    pub(super) fn answer_transfer(
        &mut self,
        client: &Client,
        request: &[u8],
        query: &Query<'_>,
        asker: Asker,
        reply: &mut [u8],
    ) -> Result<Outcome, Refusal> {
        // Undefined over UDP (RFC 5936 §4.2); NSD and Knot DNS answer the same.
        if query.qtype == rtype::AXFR && client.via == Transport::Udp {
            let counter: fn(&mut Counters) -> &mut u64 = |c| &mut c.notimp;
            let (policy, counter) = (Policy::Type, Some(counter));
            return Err(Refusal { rcode: Rcode::NotImp, error: None, recursion: 0, policy, counter });
        }
        let zone = self.images.zone_at(&self.name).ok_or_else(Refusal::not_auth)?;
        let zone = &self.images.zones[zone as usize];
        if !self.is_allowed(&zone.about.allow_transfer, client) {
            return Err(Refusal::prohibited(Policy::Acl, |c| &mut c.transfers_refused));
        }
        let image = zone.image.as_ref().ok_or_else(Refusal::not_ready)?;
        let content = match query.qtype {
            rtype::AXFR => Content::Whole,
            _ => {
                let serial = serial_in(Section::Authority, request, query, &self.name).ok_or_else(Refusal::formerr)?;
                incremental(image, &zone.about, serial)
            }
        };
        let image = Arc::clone(image);
        match client.via {
            Transport::Udp => self.transfer_at_once(image, content, query, asker, reply),
            Transport::Tcp => self.begin_transfer(image, content, query, asker),
        }
    }

    /// Whether this is the question for a zone's serial from somebody who may transfer the zone: without its answer a
    /// secondary would have the zone once and never again.
    #[cold]
    pub(super) fn is_refresh(&self, client: &Client, query: &Query<'_>) -> bool {
        let is_soa = query.qclass == CLASS_IN && query.qtype == rtype::SOA;
        let zone = is_soa.then(|| self.images.zone_at(&self.name)).flatten();
        zone.is_some_and(|zone| self.is_allowed(&self.images.zones[zone as usize].about.allow_transfer, client))
    }

    /// Whether one of `entries` allows the client of this request what they are about.
    pub(super) fn is_allowed(&self, entries: &[Allowed], client: &Client) -> bool {
        let key = self.signature.as_ref().map(|signature| signature.key.name());
        entries.iter().any(|entry| entry.allows(client.peer.ip(), key))
    }

    /// IXFR over UDP: the whole answer where it fits a datagram, else the SOA alone, which makes the asker come again
    /// over TCP (RFC 1995 §2).
    fn transfer_at_once(
        &mut self,
        image: Arc<Image>,
        content: Content,
        query: &Query<'_>,
        asker: Asker,
        reply: &mut [u8],
    ) -> Result<Outcome, Refusal> {
        let room = usize::from(asker.limit);
        // The signature comes behind, like that of every datagram.
        let mut write = |content| {
            let mut answer = Outgoing::new(&asker.asked(query), image.clone(), content, None).with_message_octets(room);
            answer.next(self.unix_seconds, &mut reply[..room]).filter(|_| answer.is_done())
        };
        let octets = write(content).or_else(|| write(Content::Current));
        self.counters.transfers_ixfr += 1;
        self.note.is(log::Outcome::Transfer);
        self.note.replied(&mut self.counters, Rcode::NoError as u16, false);
        match octets {
            Some(octets) => {
                self.counters.transfer_messages += 1;
                Ok(Outcome::Reply(octets))
            }
            // The SOA of a zone with names of great length.
            None => Ok(Outcome::Reply(self.cut_short(&asker, query.question, reply))),
        }
    }

    fn begin_transfer(
        &mut self,
        image: Arc<Image>,
        content: Content,
        query: &Query<'_>,
        asker: Asker,
    ) -> Result<Outcome, Refusal> {
        if self.transfers.open() >= TRANSFERS_MAX {
            // Not REFUSED: it is worth another try.
            let counter: fn(&mut Counters) -> &mut u64 = |c| &mut c.transfers_over_limit;
            return Err(Refusal {
                rcode: Rcode::ServFail,
                error: Some(ExtendedError::Other),
                recursion: 0,
                policy: Policy::Bound,
                counter: Some(counter),
            });
        }
        *match query.qtype {
            rtype::AXFR => &mut self.counters.transfers_axfr,
            _ => &mut self.counters.transfers_ixfr,
        } += 1;
        // Counted as one reply, however many messages it takes.
        self.note.is(log::Outcome::Transfer);
        self.note.replied(&mut self.counters, Rcode::NoError as u16, false);
        let signer = self.signature.take().map(|signature| signature.signer);
        let transfer = Outgoing::new(&asker.asked(query), image, content, signer);
        Ok(Outcome::Transfer(self.transfers.insert(transfer)))
    }

    /// Writes the next message of a transfer to `buffer`, which must hold
    /// [`MESSAGE_OCTETS_MAX`](crate::limits::MESSAGE_OCTETS_MAX) octets.
    ///
    /// # Panics
    /// When no transfer of this number is under way.
    pub fn transfer_message(&mut self, number: u32, buffer: &mut [u8]) -> TransferMessage {
        let transfer = self.transfers.slots[number as usize].as_mut().expect("the transfer is under way");
        let message = transfer.next(self.unix_seconds, buffer);
        let is_last = transfer.is_done();
        match message {
            Some(octets) => {
                self.counters.transfer_messages += 1;
                self.counters.transfer_octets += octets as u64;
                if !is_last {
                    return TransferMessage::More(octets);
                }
                self.transfers.remove(number);
                TransferMessage::Last(octets)
            }
            None => {
                self.counters.transfers_failed += 1;
                self.transfers.remove(number);
                TransferMessage::Failed
            }
        }
    }

    /// The connection of a transfer that is under way is gone: nobody takes its messages any more.
    ///
    /// # Panics
    /// When no transfer of this number is under way.
    pub fn end_transfer(&mut self, number: u32) {
        assert!(self.transfers.slots[number as usize].is_some());
        self.counters.transfers_cut += 1;
        self.transfers.remove(number);
    }

    /// Transfers under way.
    pub fn transfers(&self) -> usize {
        self.transfers.open()
    }
}

/// What [`Shard::transfer_message`] has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferMessage {
    /// A message of so many octets; there are more.
    More(usize),
    /// The last message, of so many octets. The transfer is over, its number no longer known.
    Last(usize),
    /// None: a record fits no message. The transfer is over; the connection must be closed, so that the peer does not
    /// take what it has for the zone.
    Failed,
}

/// What answers an IXFR of somebody who has `serial`: the SOA alone where that is the zone's or a newer one (RFC 1995
/// §2), the differences where the journal has them and they are fewer records than the zone, else the whole zone (§4).
fn incremental(image: &Image, about: &ZoneAbout, serial: u32) -> Content {
    if serial == image.serial() || newer(serial, image.serial()) {
        return Content::Current;
    }
    let steps = about.journal.since(serial).unwrap_or_default();
    let records: usize = steps.iter().map(|step| step.records()).sum();
    let leads_here = steps.last().is_some_and(|last| last.to_serial() == image.serial());
    if leads_here && records < image.records() { Content::Differences(steps.to_vec()) } else { Content::Whole }
}

/// The serial of the zone's SOA that a request has in a section: in an IXFR among the authorities (RFC 1995 §3), in a
/// NOTIFY among the answers (RFC 1996 §3.7). `None` where there is none, or something else comes first.
pub(super) fn serial_in(section: Section, request: &[u8], query: &Query<'_>, apex: &KeyedName) -> Option<u32> {
    let mut records = records(request, query.header, HEADER_OCTETS + query.question.len());
    let record = records.find(|record| record.as_ref().map_or(true, |record| record.section >= section))?.ok()?;
    let mut owner = [0; NAME_OCTETS_MAX];
    let (octets, _) = name::expand(request, record.owner_at, &mut owner)?;
    let is_soa = record.section == section && record.rtype == rtype::SOA && record.class == CLASS_IN;
    if !is_soa || !name::same(&owner[..octets], apex.as_wire()) {
        return None;
    }
    // The serial and four more numbers end the data.
    u32_at(request, record.data.end - 20)
}

impl Asker {
    fn asked<'q>(&self, query: &Query<'q>) -> Asked<'q> {
        let dnssec_ok = self.edns.map(|edns| edns.dnssec_ok);
        Asked { id: self.id, flags: self.flags, question: query.question, dnssec_ok }
    }
}
