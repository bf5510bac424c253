//! What the shard of a case records beside its counters: an entry a query, the messages, and how long clients waited. It is
//! held against what the shard counts after every step.

use std::collections::HashSet;
use std::net::SocketAddr;

use ringdns_shard::telemetry::log::Entry;
use ringdns_shard::telemetry::tap::Kind;
use ringdns_shard::{Shard, Time};

use crate::words::rcode_name;

/// What was taken from a shard so far.
#[derive(Default)]
pub(crate) struct Recorded {
    /// The newest entry of the query log, as `CHECK_LOGGED` has it.
    newest: String,
    entries: u64,
    messages: [u64; 4],
    /// Clients that have an entry: each asks from a port of its own.
    clients: HashSet<SocketAddr>,
}

impl Recorded {
    /// Takes what the shard has recorded by `now`, and holds it against what it has counted.
    pub(crate) fn take(&mut self, shard: &mut Shard, now: Time) -> Result<(), String> {
        shard.on_sent(now, now);
        while let Some(chunk) = shard.log().take() {
            let mut count = 0;
            for entry in chunk.entries() {
                count += 1;
                self.newest = show(&entry);
                if !self.clients.insert(entry.client) {
                    return Err(format!("{} has two entries in the query log", entry.client));
                }
            }
            if (count, chunk.sample) != (chunk.entries, 1) {
                return Err(format!("a chunk of {count} entries says that it has {}", chunk.entries));
            }
            self.entries += u64::from(count);
        }
        while let Some(chunk) = shard.tap().take() {
            chunk.messages().for_each(|message| self.messages[message.kind as usize] += 1);
        }
        self.compare(shard)
    }

    fn compare(&self, shard: &Shard) -> Result<(), String> {
        let (counters, telemetry) = (shard.counters(), shard.telemetry());
        let queries = counters.queries_udp + counters.queries_tcp;
        let waiters = shard.waiters() as u64;
        let waited: u64 = telemetry.waited.iter().map(|histogram| histogram.count()).sum();
        let at_once: u64 = telemetry.at_once.iter().map(|histogram| histogram.count()).sum();
        let round_trips: u64 = shard.server_states().iter().map(|state| state.round_trips).sum();
        let sent = counters.upstream_udp + counters.upstream_tcp;
        for (what, one, other) in [
            ("entries and queries", self.entries + waiters, queries),
            ("entries and `log_entries`", self.entries, counters.log_entries),
            ("spans and replies", at_once + waited, counters.replies),
            ("round trips", telemetry.round_trips.count(), round_trips),
            ("requests tapped", self.messages[Kind::ClientQuery as usize], queries),
            ("replies tapped", self.messages[Kind::ClientResponse as usize], counters.replies),
            ("queries tapped", self.messages[Kind::UpstreamQuery as usize], sent),
            ("messages tapped", self.messages.iter().sum(), counters.tap_messages),
        ] {
            if one != other {
                return Err(format!("{what}: {one} and {other} differ"));
            }
        }
        Ok(())
    }

    /// The newest entry says this.
    pub(crate) fn check(&self, expected: &str) -> Result<(), String> {
        match &*self.newest {
            newest if newest == expected => Ok(()),
            newest => Err(format!("the newest entry of the query log says `{newest}`, not `{expected}`")),
        }
    }
}

/// Outcome, policy, response code, and who answered where somebody was asked.
fn show(entry: &Entry<'_>) -> String {
    let rcode = entry.rcode.map_or_else(|| "none".to_owned(), rcode_name);
    let mut shown = format!("{} {} {rcode}", entry.outcome.name(), entry.policy.name());
    if let Some(asked) = entry.upstream {
        shown += &format!(" {} {}", asked.server, if asked.tcp { "tcp" } else { "udp" });
    }
    shown
}
