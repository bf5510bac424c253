//! What must be known of an asker to write the reply, whenever that is.

use std::time::Duration;

use super::{Client, Transport};
use crate::cache::Reply;
use crate::guard::cookie::{COOKIE_OCTETS, Cookie};
use crate::guard::rate::Address;
use crate::images::Images;
use crate::limits::{MESSAGE_OCTETS_MAX, UDP_PLAIN_OCTETS_MAX};
use crate::wire::edns::{DNSSEC_OK, Edns, EdnsOption, ExtendedError, ReplyOpt};
use crate::wire::message::{Query, flags};

/// What must be known of an asker to write the reply, whenever that is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    pub(super) id: u16,
    /// Opcode, RD and CD, as asked: they are copied (RFC 1035 §4.1.1, RFC 4035 §3.2.2).
    pub(super) flags: u16,
    /// Octets that it takes.
    pub(super) limit: u16,
    pub(super) edns: Option<AskerEdns>,
    /// What the cookie option of the reply holds (RFC 7873), where it has one.
    pub(super) cookie: Option<[u8; COOKIE_OCTETS]>,
    /// It has shown that the address is its own: over TCP, by a signature, or by a cookie.
    pub(super) address: Address,
}

/// What an asker's OPT record means for the reply's.
#[derive(Clone, Copy, Debug)]
pub(super) struct AskerEdns {
    pub(super) dnssec_ok: bool,
    nsid: bool,
    keepalive: bool,
}

impl Asker {
    #[inline]
    pub(super) fn new(client: &Client, query: &Query<'_>) -> Asker {
        let edns = query.edns.as_ref();
        let limit = match client.via {
            Transport::Tcp => MESSAGE_OCTETS_MAX,
            Transport::Udp => edns.map_or(UDP_PLAIN_OCTETS_MAX, Edns::udp_reply_octets),
        };
        Asker {
            id: query.header.id,
            flags: query.header.flags & (flags::OPCODE | flags::RD | flags::CD),
            limit: limit as u16,
            edns: edns.map(|edns| AskerEdns::new(edns, client.via)),
            cookie: None,
            address: if client.via == Transport::Tcp { Address::Proven } else { Address::Claimed },
        }
    }

    /// What its cookie says; false where it is malformed.
    #[inline]
    pub(super) fn take_cookie(&mut self, cookie: Cookie) -> bool {
        self.cookie = cookie.reply();
        if cookie.is_proof() {
            self.address = Address::Proven;
        }
        cookie != Cookie::Malformed
    }

    /// The form of a reply that is made of an answer.
    #[inline]
    pub(super) fn reply<'a>(&self, images: &'a Images, question: &'a [u8], error: Option<ExtendedError>) -> Reply<'a> {
        Reply {
            id: self.id,
            flags: self.flags,
            question,
            opt: self.opt(images, error),
            limit: self.limit.into(),
            stale: false,
        }
    }

    /// Whether the asker wants signatures and proofs (RFC 4035 §3.2.1).
    #[inline]
    pub(super) fn dnssec_ok(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec_ok)
    }

    /// The flags of the reply's OPT record, if there is one; `None` where that may have options.
    #[inline]
    pub(super) fn plain_opt(&self) -> Option<Option<u16>> {
        match self.edns {
            None => Some(None),
            Some(AskerEdns { dnssec_ok, nsid: false, keepalive: false }) if self.cookie.is_none() => {
                Some(Some(if dnssec_ok { DNSSEC_OK } else { 0 }))
            }
            Some(_) => None,
        }
    }

    /// The OPT record of the reply: none where the asker sent none (RFC 6891 §7).
    #[inline]
    pub(super) fn opt<'a>(&self, images: &'a Images, error: Option<ExtendedError>) -> Option<ReplyOpt<'a>> {
        self.edns.map(|edns| ReplyOpt {
            extended_rcode: 0,
            dnssec_ok: edns.dnssec_ok,
            nsid: (edns.nsid && !images.identity.is_empty()).then_some(&*images.identity),
            cookie: self.cookie,
            keepalive: edns.keepalive.then(|| tenths(images.bounds.tcp_idle)),
            error,
        })
    }
}

impl AskerEdns {
    #[inline]
    fn new(edns: &Edns<'_>, via: Transport) -> AskerEdns {
        let mut asker = AskerEdns { dnssec_ok: edns.dnssec_ok, nsid: false, keepalive: false };
        for option in edns.options() {
            match option {
                EdnsOption::Nsid(_) => asker.nsid = true,
                // Over UDP it means nothing (RFC 7828 §3.2.1).
                EdnsOption::Keepalive(_) => asker.keepalive = via == Transport::Tcp,
                EdnsOption::Cookie(_) | EdnsOption::ExtendedError(..) | EdnsOption::Unknown { .. } => {}
            }
        }
        asker
    }
}

/// A span in tenths of a second, as edns-tcp-keepalive has it.
fn tenths(span: Duration) -> u16 {
    u16::try_from(span.as_millis() / 100).unwrap_or(u16::MAX)
}
