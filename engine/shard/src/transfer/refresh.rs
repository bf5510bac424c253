//! The question of a secondary whether its primary has a newer zone: SOA (RFC 1034 §4.3.5).

use std::sync::Arc;

use super::exchange::{Fault, QUERY, Request, check_rcode, first_soa};
use crate::tsig::{Key, Transaction};
use crate::wire::message::flags;
use crate::wire::name::Name;
use crate::wire::rdata::rtype;

/// A question for a zone's SOA in flight.
#[derive(Debug)]
pub struct SoaQuery {
    request: Request,
    transaction: Option<Transaction>,
}

impl SoaQuery {
    /// The question for the SOA of `zone`, and its octets, signed with `key` where there is one. `id` must be
    /// unpredictable where it goes over UDP.
    pub fn begin(zone: &Name, id: u16, key: Option<&Arc<Key>>, unix_seconds: u64) -> (SoaQuery, Vec<u8>) {
        let request = Request { zone: zone.clone(), id, opcode: QUERY, qtype: rtype::SOA };
        let mut octets = request.to_vec(0, None);
        let transaction = key.map(|key| Transaction::sign(key, unix_seconds, &mut octets));
        (SoaQuery { request, transaction }, octets)
    }

    /// Reads an answer: the serial of the primary. Its TSIG record is taken off. After a [`Fault::NotOurs`] or
    /// [`Fault::Signature`] over UDP the true answer may yet come.
    ///
    /// It must have AA set: a server that is no authority for the zone has no serial to tell.
    pub fn take(&self, unix_seconds: u64, answer: &mut Vec<u8>) -> Result<u32, Fault> {
        let header = self.request.check_header(answer)?;
        let (has_question, at) = self.request.check_question(header, answer)?;
        let verified = match &self.transaction {
            None => Ok(()),
            Some(transaction) => transaction.verify(unix_seconds, answer),
        };
        check_rcode(header, verified)?;
        if header.has(flags::TC) {
            return Err(Fault::NeedsTcp);
        }
        if !has_question {
            return Err(Fault::NotOurs("it has no question"));
        }
        if !header.has(flags::AA) {
            return Err(Fault::Order("the server is no authority for the zone"));
        }
        let serial = first_soa(&self.request.zone, header, answer, at)?;
        serial.ok_or(Fault::Order("the answer has no SOA record of the zone"))
    }
}
