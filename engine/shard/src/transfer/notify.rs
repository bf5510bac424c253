//! NOTIFY: a primary tells its secondaries that a zone has changed (RFC 1996).

use std::sync::Arc;

use super::exchange::{Fault, NOTIFY, Request, check_rcode, first_soa};
use crate::tsig::{Key, Transaction};
use crate::wire::edns;
use crate::wire::message::{HEADER_OCTETS, Header, Malformed, Query, Rcode, Section, flags};
use crate::wire::name::Name;
use crate::wire::rdata::{CLASS_IN, rtype};

/// The opcode of a NOTIFY request and of its reply (RFC 1996 §3.3).
pub const OPCODE: u16 = NOTIFY;

/// A NOTIFY of ours in flight.
#[derive(Debug)]
pub struct Notice {
    request: Request,
    transaction: Option<Transaction>,
}

impl Notice {
    /// The notice that `zone` has changed, and its octets, signed with `key` where there is one. `soa` is the data of the
    /// new SOA, its names uncompressed: a hint that saves the secondary a question (RFC 1996 §3.7).
    pub fn begin(
        zone: &Name,
        soa: Option<&[u8]>,
        id: u16,
        key: Option<&Arc<Key>>,
        unix_seconds: u64,
    ) -> (Notice, Vec<u8>) {
        let request = Request { zone: zone.clone(), id, opcode: NOTIFY, qtype: rtype::SOA };
        let mut octets = request.to_vec(flags::AA, soa.map(|data| (Section::Answer, data)));
        let transaction = key.map(|key| Transaction::sign(key, unix_seconds, &mut octets));
        (Notice { request, transaction }, octets)
    }

    /// Reads a reply: `Ok` ends the repetition of the notice. [`Fault::Refused`] ends it too: the secondary has heard,
    /// and will not (RFC 1996 §3.6 takes any response for one). A reply may leave the question out.
    pub fn take(&self, unix_seconds: u64, reply: &mut Vec<u8>) -> Result<(), Fault> {
        let header = self.request.check_header(reply)?;
        self.request.check_question(header, reply)?;
        let verified = match &self.transaction {
            None => Ok(()),
            Some(transaction) => transaction.verify(unix_seconds, reply),
        };
        check_rcode(header, verified)
    }
}

/// What a NOTIFY request says beside the zone's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The serial of the SOA that came along, which nothing proves (RFC 1996 §3.7).
    pub serial: Option<u32>,
}

/// Reads a NOTIFY request for `zone`, whose header and question stand in `query` already. Malformed are another type than
/// SOA, another class than IN, the QR bit, and records that do not parse.
pub fn read(query: &Query<'_>, zone: &Name, request: &[u8]) -> Result<Heard, Malformed> {
    let header = query.header;
    if header.opcode() != NOTIFY || header.has(flags::QR) || (query.qtype, query.qclass) != (rtype::SOA, CLASS_IN) {
        return Err(Malformed);
    }
    let serial = first_soa(zone, header, request, HEADER_OCTETS + query.question.len()).map_err(|_| Malformed)?;
    Ok(Heard { serial })
}

/// Writes the reply to a NOTIFY request: its header and question with QR and AA set (RFC 1996 §4.7), and an OPT record where
/// the request had one. Returns its octets; 512 are enough for it.
pub fn reply(query: &Query<'_>, rcode: Rcode, buffer: &mut [u8]) -> Option<usize> {
    let opt = query.edns.map(|edns| edns::opt(0, if edns.dnssec_ok { edns::DNSSEC_OK } else { 0 }));
    let Header { id, flags: asked, .. } = query.header;
    let words = [
        id,
        flags::QR | flags::AA | asked & (flags::OPCODE | flags::RD) | rcode as u16 & flags::RCODE,
        1,
        0,
        0,
        u16::from(opt.is_some()),
    ];
    let opt = opt.as_ref().map_or(&[][..], |opt| opt);
    let header = words.map(u16::to_be_bytes);
    let reply = [header.as_flattened(), query.question, opt].concat();
    buffer.get_mut(..reply.len())?.copy_from_slice(&reply);
    Some(reply.len())
}
