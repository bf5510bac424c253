//! What the shard records, held against what clients asked and servers were sent: each request has one entry in the query
//! log, or none where chance did not draw it, and an entry says what is true.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use ringdns_shard::telemetry::log::{Entry, Outcome, Policy};
use ringdns_shard::telemetry::tap::Kind;
use ringdns_shard::telemetry::{Counters, Telemetry};
use ringdns_shard::{Client, Shard, Time};

use crate::truth::Question;

/// The longest that a batch takes to be sent.
pub(crate) const BATCH_MICROS_MAX: u64 = 400;

/// What was asked, and what was recorded of it.
#[derive(Default)]
pub(crate) struct Recorded {
    /// Requests without an entry: by whom and when.
    asked: HashMap<(SocketAddr, Time), Vec<(Client, Question)>>,
    outcomes: HashMap<(Outcome, Policy), u64>,
    entries: u64,
    /// What the entries stand for.
    represented: u64,
    messages: [u64; 4],
}

impl Recorded {
    pub(crate) fn ask(&mut self, now: Time, client: &Client, question: &Question) {
        self.asked.entry((client.peer, now)).or_default().push((*client, question.clone()));
    }

    /// Takes what was recorded up to now, `took` after the requests of the batch came.
    pub(crate) fn take(&mut self, shard: &mut Shard, now: Time, took: Duration, wait_max: Duration) {
        shard.on_sent(now, now + took);
        while let Some(chunk) = shard.log().take() {
            assert_eq!(chunk.entries().count(), chunk.entries as usize);
            self.entries += u64::from(chunk.entries);
            self.represented += u64::from(chunk.entries) * u64::from(chunk.sample);
            for entry in chunk.entries() {
                *self.outcomes.entry((entry.outcome, entry.policy)).or_default() += 1;
                self.check(&entry, took, wait_max);
            }
        }
        while let Some(chunk) = shard.tap().take() {
            for message in chunk.messages() {
                self.messages[message.kind as usize] += 1;
                assert!(message.asked <= message.at && message.at <= now + took, "{message:?}");
            }
        }
    }

    fn check(&mut self, entry: &Entry<'_>, took: Duration, wait_max: Duration) {
        let asked = self.asked.get_mut(&(entry.client, entry.at)).expect("somebody asked");
        let is_it = |(client, question): &(Client, Question)| {
            let said = (entry.transport, entry.name, entry.qtype, entry.dnssec_ok);
            said == (client.via, &question.name, question.qtype, question.dnssec_ok)
        };
        let place = asked.iter().position(is_it).unwrap_or_else(|| panic!("{entry:?} is of none of {asked:?}"));
        asked.swap_remove(place);
        let rcode = entry.rcode.expect("every request of a simulation has a reply");
        let is_bound = entry.policy == Policy::Bound;
        match entry.outcome {
            Outcome::Resolved | Outcome::Cache => assert!(!is_bound && matches!(rcode, 0 | 3), "{entry:?}"),
            Outcome::Stale => assert!(matches!(rcode, 0 | 3), "{entry:?}"),
            Outcome::Failed => assert!(!is_bound && rcode == 2, "{entry:?}"),
            Outcome::Refused => assert!(is_bound && rcode == 5, "{entry:?}"),
            other => panic!("nothing here comes to {other:?}"),
        }
        assert_eq!(entry.upstream.is_some(), entry.outcome == Outcome::Resolved, "{entry:?}");
        assert!(entry.reply_octets >= 12);
        let latency = Duration::from_micros(entry.latency_micros.into());
        assert!(latency == took || latency <= wait_max, "{entry:?} took {latency:?}");
    }

    /// What must hold when nobody waits any more; `all`: every request had to have its entry.
    pub(crate) fn end(&self, counters: &Counters, telemetry: &Telemetry, all: bool) {
        let queries = counters.queries_udp + counters.queries_tcp;
        assert_eq!((self.entries, self.entries + counters.log_sampled_out), (counters.log_entries, queries));
        assert_eq!(self.asked.values().map(|asked| asked.len() as u64).sum::<u64>(), counters.log_sampled_out);
        let of = |outcome, policy| self.outcomes.get(&(outcome, policy)).copied().unwrap_or(0);
        if all {
            assert_eq!(counters.log_sampled_out, 0);
            assert_eq!(of(Outcome::Cache, Policy::None), counters.cache_hits + counters.cache_cuts);
            let stale = counters.stale_down + counters.stale_slow + counters.stale_failed;
            assert_eq!(of(Outcome::Stale, Policy::None), stale);
            assert_eq!(of(Outcome::Stale, Policy::Bound), counters.stale_limited);
            assert_eq!(of(Outcome::Failed, Policy::None), counters.rcode_servfail);
            assert_eq!(of(Outcome::Refused, Policy::Bound), counters.rcode_refused);
        } else {
            assert!(counters.log_sampled_out > 0 && counters.log_entries > 0);
            let (told, true_count) = (self.represented as f64, queries as f64);
            assert!((told - true_count).abs() < true_count * 0.25, "{told} are told of {true_count}");
        }
        let spans =
            |histograms: &[ringdns_shard::telemetry::Histogram]| histograms.iter().map(|h| h.count()).sum::<u64>();
        assert_eq!(spans(&telemetry.at_once) + spans(&telemetry.waited), counters.replies);
        assert!(spans(&telemetry.waited) > 0 && spans(&telemetry.at_once) > 0);
        assert_eq!(telemetry.types.iter().sum::<u64>(), queries);
        assert_eq!(self.messages.iter().sum::<u64>(), counters.tap_messages);
        let of = |kind: Kind| self.messages[kind as usize];
        assert_eq!((of(Kind::ClientQuery), of(Kind::ClientResponse)), (queries, counters.replies));
        assert_eq!(of(Kind::UpstreamQuery), counters.upstream_udp + counters.upstream_tcp);
        assert!(of(Kind::UpstreamResponse) > 0);
    }
}
