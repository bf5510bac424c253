//! What every reply of the engine must be, whatever was asked.

use ringdns_shard::Transport;
use ringdns_shard::limits::{MESSAGE_OCTETS_MAX, STALE_TTL_SECONDS, TTL_SECONDS_MAX, UDP_PLAIN_OCTETS_MAX};
use ringdns_shard::wire::edns::{Edns, EdnsOption, ExtendedError};
use ringdns_shard::wire::message::{HEADER_OCTETS, Header, Query, flags, opcode, records};
use ringdns_shard::wire::name::{HashKey, KeyedName};
use ringdns_shard::wire::rdata::rtype;

/// Whether a request gets a reply at all: it has a header and is not itself a reply.
pub fn is_answerable(request: &[u8]) -> bool {
    Header::parse(request).is_some_and(|header| !header.has(flags::QR))
}

/// The request behind its header, where it is a well-formed query or NOTIFY.
pub fn query<'r>(request: &'r [u8], key: &HashKey, name: &mut KeyedName) -> Option<Query<'r>> {
    let header = Header::parse(request).filter(|header| is_served(*header))?;
    Query::parse(header, request, key, name).ok()
}

fn is_served(header: Header) -> bool {
    matches!(header.opcode(), opcode::QUERY | opcode::NOTIFY)
}

/// Panics where `reply` is no reply to `request`, is longer than the asker takes, or does not parse.
pub fn check(request: &[u8], via: Transport, reply: &[u8]) {
    let asked = Header::parse(request).expect("what has no header gets no reply");
    let header = Header::parse(reply).expect("a reply has a header");
    assert_eq!(header.id, asked.id);
    assert!(header.has(flags::QR));
    assert_eq!(header.opcode(), asked.opcode());
    assert_eq!(header.flags & flags::RD, asked.flags & flags::RD);
    assert!(!header.has(flags::AD), "nothing was validated");
    let key = HashKey::from_seed([1; 16]);
    let Some(query) = query(request, &key, &mut KeyedName::default()) else {
        let opt = Edns::alone(asked, request).filter(|_| asked.opcode() == opcode::QUERY);
        if opt.is_some_and(|opt| opt.cookie().is_some()) && reply.len() > HEADER_OCTETS {
            // It asked for a cookie and nothing else.
            let opt = Edns::alone(header, reply).expect("the reply is an OPT record alone");
            assert_eq!(opt.cookie().map(<[u8]>::len), Some(24));
            return;
        }
        let rcode = if is_served(asked) { 1 } else { 4 };
        assert_eq!((header.flags & flags::RCODE, header.counts, reply.len()), (rcode, [0; 4], HEADER_OCTETS));
        return;
    };
    assert!(reply.len() <= limit(&query, via), "{} octets are more than the asker takes", reply.len());
    if query.is_signed && reply.len() == HEADER_OCTETS {
        // It has room for nothing else beside its signature.
        assert_eq!(header.counts, [0; 4]);
        return;
    }
    assert_eq!(header.counts[0], 1);
    let question_end = HEADER_OCTETS + query.question.len();
    assert_eq!(&reply[HEADER_OCTETS..question_end], query.question);
    if asked.opcode() == opcode::QUERY && query.qtype != rtype::IXFR {
        assert_eq!(header.flags & flags::CD, asked.flags & flags::CD);
    }
    if header.has(flags::TC) {
        assert_eq!(header.counts[1..3], [0, 0], "a reply cut short holds no part of the answer");
    }
    let opts = check_records(reply, header, question_end);
    assert_eq!(opts, usize::from(query.edns.is_some()), "OPT goes to those who sent one");
}

/// Panics where `message` is no message of a transfer that `request` asked for: `is_first` has the question.
pub fn check_transfer(request: &[u8], is_first: bool, message: &[u8]) {
    let asked = Header::parse(request).expect("what has no header gets no reply");
    let header = Header::parse(message).expect("a message has a header");
    assert_eq!((header.id, header.flags & flags::RCODE), (asked.id, 0));
    assert!(header.has(flags::QR | flags::AA) && !header.has(flags::TC));
    let query = query(request, &HashKey::from_seed([1; 16]), &mut KeyedName::default()).expect("it was understood");
    let question = if is_first { query.question } else { &[] };
    assert_eq!((header.counts[0], header.counts[2]), (u16::from(is_first), 0));
    assert!(header.counts[1] > 0);
    assert_eq!(&message[HEADER_OCTETS..HEADER_OCTETS + question.len()], question);
    let opts = check_records(message, header, HEADER_OCTETS + question.len());
    assert_eq!(opts, usize::from(is_first && query.edns.is_some()));
}

/// The octets that the asker takes.
fn limit(query: &Query<'_>, via: Transport) -> usize {
    match (via, &query.edns) {
        (Transport::Tcp, _) => MESSAGE_OCTETS_MAX,
        (Transport::Udp, None) => UDP_PLAIN_OCTETS_MAX,
        (Transport::Udp, Some(edns)) => edns.udp_reply_octets(),
    }
}

/// Walks the records, which must fill the message. Returns the number of OPT records.
fn check_records(message: &[u8], header: Header, at: usize) -> usize {
    let mut end = at;
    let mut opts = 0;
    let (mut longest, mut is_stale) = (0, false);
    for record in records(message, header, at) {
        let record = record.unwrap_or_else(|_| panic!("the record at {end} does not parse: {message:02x?}"));
        assert_eq!(record.owner_at, end);
        end = record.data.end;
        if record.rtype == rtype::OPT {
            opts += 1;
            let options = &message[record.data.clone()];
            let edns = Edns::parse(record.class, record.ttl, options).expect("the options parse");
            let stale = [ExtendedError::StaleAnswer, ExtendedError::StaleNxDomain].map(ExtendedError::code);
            is_stale = edns
                .options()
                .any(|option| matches!(option, EdnsOption::ExtendedError(code, _) if stale.contains(&code)));
        } else if record.rtype != rtype::TSIG {
            assert!(record.ttl <= TTL_SECONDS_MAX);
            longest = longest.max(record.ttl);
        }
    }
    assert!(!is_stale || longest <= STALE_TTL_SECONDS, "an answer that has run out is kept for {longest} s");
    assert_eq!(end, message.len(), "nothing stands behind the last record");
    opts
}
