//! Replies of servers: which of them are replies to a query of ours at all (RFC 5452 §4, RFC 7873 §5.3).
//!
//! What is not is no reason to give up waiting: whoever sends it may not be the server.

use super::Event;
use super::query::{self, CLIENT_COOKIE_OCTETS, Form};
use crate::limits::{NAME_OCTETS_MAX, RECORDS_MAX};
use crate::time::Time;
use crate::upstream::{Habits, ServerNumber};
use crate::wire::edns::{self, Edns};
use crate::wire::message::{HEADER_OCTETS, Header, flags};
use crate::wire::rdata::{CLASS_IN, rtype};
use crate::wire::{name, u16_at};

/// What a reply is held against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected<'a> {
    /// The name asked for, in lower case.
    pub name: &'a [u8],
    /// The type asked for.
    pub qtype: u16,
    /// How the query looked.
    pub form: Form,
    /// It went as a datagram: anybody may have sent the reply.
    pub datagram: bool,
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read<'m> {
    /// Not a response to a standard query, or its records do not add up.
    Malformed,
    /// It answers another question.
    Mismatched,
    /// It answers the question in letters of other case than it was asked in.
    OtherCase,
    /// The client cookie in it is not the one sent, or no cookie at all.
    OtherCookie,
    /// It came from the server, as far as can be told.
    Reply(Reply<'m>),
}

/// A reply to the question that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reply<'m> {
    /// The response code, all twelve bits of it.
    pub rcode: u16,
    /// TC: it is not whole.
    pub truncated: bool,
    /// There is an OPT record.
    pub edns: bool,
    /// The content of the cookie option: our cookie, and the server's where it makes any.
    pub cookie: Option<&'m [u8]>,
    /// Whether the capitals that were asked with came back; `None` where there were none, or there is no question.
    pub case: Option<bool>,
}

impl Reply<'_> {
    fn has_server_cookie(&self) -> bool {
        self.cookie.is_some_and(|cookie| cookie.len() > CLIENT_COOKIE_OCTETS)
    }
}

/// What is to be done with a message.
#[derive(Clone, Copy, Debug)]
pub(super) enum Taken<'m> {
    Reply(Reply<'m>),
    /// It may be the server's or a forgery.
    Doubted,
    /// It is counted, and nothing comes of it.
    Ignored,
}

/// Reads a message as [`read`] does, counts what is none of ours, and learns the server's habits from what is.
pub(super) fn take<'m>(
    event: &mut Event<'_>,
    server: ServerNumber,
    message: &'m [u8],
    header: Header,
    expected: &Expected<'_>,
) -> Taken<'m> {
    let Event { now, servers, counters, .. } = event;
    let ignored = match read(message, header, expected) {
        Read::Malformed => &mut counters.upstream_malformed,
        Read::Mismatched => &mut counters.upstream_mismatched,
        Read::OtherCookie => &mut counters.upstream_cookies_forged,
        Read::OtherCase => {
            counters.upstream_case_changed += 1;
            servers.habits_mut(server).into_iter().for_each(|habits| habits.case_changed(*now, false));
            return Taken::Doubted;
        }
        Read::Reply(reply) => {
            let bare = expected.form.client_cookie.is_some() && !reply.has_server_cookie();
            if bare && expected.datagram && servers.habits(server).has_server_cookie() {
                counters.upstream_cookies_missing += 1;
                return Taken::Doubted;
            }
            if let Some(habits) = servers.habits_mut(server) {
                learn(habits, *now, &reply, expected);
            }
            return Taken::Reply(reply);
        }
    };
    *ignored += 1;
    Taken::Ignored
}

fn learn(habits: &mut Habits, now: Time, reply: &Reply<'_>, expected: &Expected<'_>) {
    match reply.case {
        Some(true) => habits.case_kept(),
        Some(false) => habits.case_changed(now, !expected.datagram),
        None => {}
    }
    match reply.cookie {
        Some(cookie) if reply.has_server_cookie() => drop(habits.take_cookie(cookie)),
        // Over a connection nobody else leaves it out.
        _ if expected.form.client_cookie.is_some() && !expected.datagram => habits.forget_cookie(),
        _ => {}
    }
}

/// Reads a message that came from the right server, to the right socket or exchange, under the right id.
pub(super) fn read<'m>(message: &'m [u8], header: Header, expected: &Expected<'_>) -> Read<'m> {
    if !header.has(flags::QR) || header.opcode() != 0 {
        return Read::Malformed;
    }
    let rcode = header.flags & flags::RCODE;
    // Servers that could not read our query say so without a question.
    if header.counts == [0; 4] && message.len() == HEADER_OCTETS && !is_answer(rcode) {
        let truncated = header.has(flags::TC);
        return Read::Reply(Reply { rcode, truncated, edns: false, cookie: None, case: None });
    }
    let Some(asked) = question(message, header, expected) else { return Read::Mismatched };
    let mut spelt = [0; NAME_OCTETS_MAX];
    let spelt = &mut spelt[..asked.len()];
    spelt.copy_from_slice(expected.name);
    query::vary_case(spelt, expected.form.case.unwrap_or(0));
    let case_kept = expected.form.case.map(|_| asked == spelt);
    if expected.datagram && case_kept == Some(false) {
        return Read::OtherCase;
    }
    let case = case_kept.filter(|_| spelt.iter().any(u8::is_ascii_uppercase));
    let truncated = header.has(flags::TC);
    let opt = match opt(message, header, HEADER_OCTETS + asked.len() + 4) {
        Ok(opt) => opt,
        // What is cut short may end anywhere.
        Err(Malformed) if truncated => None,
        Err(Malformed) => return Read::Malformed,
    };
    let cookie = opt.and_then(|opt| opt.cookie());
    if let (Some(ours), Some(cookie)) = (expected.form.client_cookie, cookie) {
        match cookie.split_first_chunk() {
            // A server that makes none may send ours back alone.
            Some((client, server)) if *client == ours && matches!(server.len(), 0 | 8..=32) => {}
            _ => return Read::OtherCookie,
        }
    }
    let upper = opt.map_or(0, |opt| u16::from(opt.extended_rcode) << 4);
    Read::Reply(Reply { rcode: upper | rcode, truncated, edns: opt.is_some(), cookie, case })
}

/// Whether a response code answers the question: NOERROR, NXDOMAIN, and YXDOMAIN where a DNAME made the name too long.
pub(super) fn is_answer(rcode: u16) -> bool {
    matches!(rcode, 0 | 3 | 6)
}

/// The name of the question, where it is the one asked but for case. It must stand there uncompressed: it is the first
/// of the message.
fn question<'m>(message: &'m [u8], header: Header, expected: &Expected<'_>) -> Option<&'m [u8]> {
    let end = HEADER_OCTETS + expected.name.len();
    let asked = message.get(HEADER_OCTETS..end)?;
    let is_it = header.counts[0] == 1
        && name::same(asked, expected.name)
        && u16_at(message, end) == Some(expected.qtype)
        && u16_at(message, end + 2) == Some(CLASS_IN);
    is_it.then_some(asked)
}

/// The records do not add up.
struct Malformed;

/// The OPT record of a message whose records begin at `at` (RFC 6891 §6.1.1: in the additional section, of the root, and
/// one at most). Nothing else is looked at.
fn opt(message: &[u8], header: Header, at: usize) -> Result<Option<Edns<'_>>, Malformed> {
    let [_, answers, authorities, additionals] = header.counts.map(usize::from);
    let before = answers + authorities;
    if before + additionals > RECORDS_MAX {
        return Err(Malformed);
    }
    let mut found = None;
    let mut at = at;
    for i in 0..before + additionals {
        let type_at = name::skip(message, at).ok_or(Malformed)?;
        let (class, ttl, data) = edns::fixed(message, type_at).ok_or(Malformed)?;
        let options = message.get(data.clone()).ok_or(Malformed)?;
        if u16_at(message, type_at) == Some(rtype::OPT) {
            if i < before || message[at] != 0 || found.is_some() {
                return Err(Malformed);
            }
            found = Some(Edns::parse(class, ttl, options).ok_or(Malformed)?);
        }
        at = data.end;
    }
    Ok(found)
}
