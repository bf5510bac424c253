//! What a shard records of a run beside its counters, held against them; and what it shows of its cache.

use std::time::Duration;

use ringdns_shard::telemetry::{log, tap};
use ringdns_shard::wire::message::{self, HEADER_OCTETS, Header, flags};
use ringdns_shard::wire::name::Name;
use ringdns_shard::{Shard, Time};

/// Parts of a list beyond which it is taken to go round in circles.
const PARTS_MAX: usize = 1_000;

/// What was taken so far.
#[derive(Default)]
pub(crate) struct Recorded {
    /// Transfers begun.
    pub(crate) begun: u64,
    /// Entries of the query log.
    logged: u64,
    /// Messages for dnstap, by kind.
    tapped: [u64; 4],
}

impl Recorded {
    /// Takes what was logged and tapped up to now; the replies were sent `took` later.
    pub(crate) fn take(&mut self, shard: &mut Shard, now: Time, took: Duration) {
        shard.on_sent(now, now + took);
        while let Some(chunk) = shard.log().take() {
            for entry in chunk.entries() {
                self.logged += 1;
                assert!(entry.at <= now && (entry.name.is_empty() || Name::from_wire(entry.name).is_some()));
                assert_eq!(entry.outcome == log::Outcome::Dropped, entry.rcode.is_none(), "{entry:?}");
            }
        }
        while let Some(chunk) = shard.tap().take() {
            for message in chunk.messages() {
                self.tapped[message.kind as usize] += 1;
                assert!(message.asked <= message.at && message.at <= now + took);
            }
        }
    }

    /// What was recorded is what was counted: of so many requests, and so many queries to upstreams.
    pub(crate) fn check(&self, shard: &Shard, requests: u64, sent: u64) {
        let (counters, telemetry) = (shard.counters(), shard.telemetry());
        assert_eq!(self.logged, counters.log_entries);
        assert_eq!(self.logged + counters.log_sampled_out + shard.waiters() as u64, requests);
        let spans: u64 = telemetry.at_once.iter().chain(&telemetry.waited).map(|histogram| histogram.count()).sum();
        assert_eq!(spans, counters.replies);
        assert!(telemetry.types.iter().sum::<u64>() <= requests);
        let of = |kind: tap::Kind| self.tapped[kind as usize];
        assert_eq!(of(tap::Kind::ClientQuery), requests);
        assert_eq!(of(tap::Kind::ClientResponse) + self.begun, counters.replies);
        assert_eq!(of(tap::Kind::UpstreamQuery), sent);
        assert_eq!(self.tapped.iter().sum::<u64>(), counters.tap_messages);
    }
}

/// What is shown of a name is in the list of it and what is below, and the replies can be read.
pub(crate) fn look(shard: &Shard, now: Time, name: &Name) {
    let (mut cursor, mut listed) = (Some(0), Vec::new());
    for _ in 0..PARTS_MAX {
        let Some(at) = cursor else { break };
        let part = shard.cache_list(now, name, at);
        listed.extend(part.answers);
        cursor = part.next;
    }
    assert_eq!(cursor, None);
    assert!(listed.len() <= shard.cache_figures().entries);
    for mut shown in shard.cache_look(now, name).answers {
        let message = std::mem::take(&mut shown.message);
        assert!(shown.name == *name && listed.contains(&shown), "{shown:?}");
        let header = Header::parse(&message).expect("a header");
        let end = HEADER_OCTETS + name.as_wire().len() + 4;
        assert!(message.len() >= end && header.has(flags::QR) && header.counts[0] == 1);
        assert!(message::records(&message, header, end).all(|record| record.is_ok()));
    }
}
