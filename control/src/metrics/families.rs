//! Where each counter of a core is shown: the families of the page, and the label value under which a counter stands in
//! its family.

use Counter::{Rim, Shard};

/// A counter of a core, by the name that the code has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Counter {
    /// One of [`Counters`](ringdns_shard::telemetry::Counters).
    Shard(&'static str),
    /// One of its sockets, in [`Snapshot::rim`](crate::cores::Snapshot::rim).
    Rim(&'static str),
}

/// Counters that are shown under one name.
#[derive(Debug)]
pub(super) struct Family {
    /// Without the suffix `_total`.
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    /// What tells the counters apart, beside the core; empty where there is one alone.
    pub(super) label: &'static str,
    /// The value of the label, and the counter.
    pub(super) counters: &'static [(&'static str, Counter)],
}

/// Where counters are shown that no family has: a mistake here hides no figure.
pub(super) const OTHER: (&str, &str) = ("ringdns_other", "Counters that belong to no family, by name.");

/// A family of one counter.
const fn alone(name: &'static str, help: &'static str, counter: &'static [(&'static str, Counter); 1]) -> Family {
    Family { name, help, label: "", counters: counter }
}

/// A family of several.
const fn by(
    label: &'static str,
    name: &'static str,
    help: &'static str,
    counters: &'static [(&'static str, Counter)],
) -> Family {
    Family { name, help, label, counters }
}

/// Every family of counters of a core, in the order of the page.
pub(super) const FAMILIES: &[&[Family]] = &[REQUESTS, LIMITS, ZONES, CACHE, UPSTREAMS, SOCKETS, RECORDED];

const REQUESTS: &[Family] = &[
    by(
        "transport",
        "ringdns_queries",
        "Requests whose header could be read, by how they came.",
        &[("udp", Shard("queries_udp")), ("tcp", Shard("queries_tcp"))],
    ),
    alone("ringdns_replies", "Replies written, whatever they say.", &[("", Shard("replies"))]),
    by(
        "rcode",
        "ringdns_responses",
        "Replies by response code.",
        &[
            ("NOERROR", Shard("rcode_noerror")),
            ("FORMERR", Shard("rcode_formerr")),
            ("SERVFAIL", Shard("rcode_servfail")),
            ("NXDOMAIN", Shard("rcode_nxdomain")),
            ("NOTIMP", Shard("rcode_notimp")),
            ("REFUSED", Shard("rcode_refused")),
            ("NOTAUTH", Shard("rcode_notauth")),
            ("other", Shard("rcode_other")),
        ],
    ),
    alone("ringdns_responses_truncated", "Replies cut short with TC set.", &[("", Shard("truncated"))]),
    by(
        "reason",
        "ringdns_request_errors",
        "Requests answered with an error that is the asker's: FORMERR, NOTIMP, BADVERS, or NOTAUTH for what is no zone here.",
        &[
            ("malformed", Shard("formerr")),
            ("opcode", Shard("notimp")),
            ("edns_version", Shard("badvers")),
            ("no_zone", Shard("notauth")),
        ],
    ),
    by(
        "reason",
        "ringdns_refused",
        "Requests that a list, a route, a type or a bound refuses.",
        &[
            ("acl", Shard("refused_acl")),
            ("route", Shard("refused_route")),
            ("class", Shard("refused_class")),
            ("type", Shard("refused_type")),
            ("transfer", Shard("transfers_refused")),
            ("notify", Shard("notifies_refused")),
            ("rate", Shard("rate_refused")),
            ("resolves", Shard("refused_resolves")),
            ("waiters", Shard("refused_waiters")),
            ("zone_resolves", Shard("refused_zone")),
            ("zone_rate", Shard("refused_zone_rate")),
        ],
    ),
    by(
        "reason",
        "ringdns_servfail",
        "Clients that got SERVFAIL: their zone is not loaded or expired, no server has an address, none had an answer.",
        &[
            ("zone", Shard("servfail_zone")),
            ("no_servers", Shard("servfail_no_servers")),
            ("upstreams", Shard("resolves_failed")),
        ],
    ),
    by(
        "reason",
        "ringdns_dropped",
        "Datagrams and replies that went nowhere: of clients, and (upstream_) of upstreams.",
        &[
            ("malformed", Shard("dropped_malformed")),
            ("rate", Shard("rate_dropped")),
            ("rrl", Shard("rrl_dropped")),
            ("oversize", Rim("udp_oversize")),
            ("bad_source", Rim("udp_bad_source")),
            ("unheard", Rim("udp_unheard")),
            ("kernel", Rim("udp_kernel_drops")),
            ("send_error", Rim("udp_send_errors")),
            ("send_queue", Rim("udp_send_dropped")),
            ("connection_gone", Rim("tcp_gone")),
            ("abandoned", Shard("waiters_abandoned")),
            ("upstream_oversize", Rim("upstream_oversize")),
            ("upstream_kernel", Rim("upstream_kernel_drops")),
        ],
    ),
];

const LIMITS: &[Family] = &[
    by(
        "limit",
        "ringdns_rate_truncated",
        "Replies sent empty with TC since a rate was passed: that of a client's queries, or that of equal responses.",
        &[("rate", Shard("rate_truncated")), ("rrl", Shard("rrl_slipped"))],
    ),
    alone(
        "ringdns_rate_dry_run",
        "Requests above the rate of their prefix that were answered all the same: rate_dry_run is set.",
        &[("", Shard("rate_dry_run"))],
    ),
    by(
        "limit",
        "ringdns_rate_forgotten",
        "Prefixes and zones forgotten before their second was over, for want of room in a table of rates.",
        &[
            ("rate", Shard("rate_forgotten")),
            ("rrl", Shard("rrl_forgotten")),
            ("zone_rate", Shard("zone_rate_forgotten")),
        ],
    ),
    by(
        "kind",
        "ringdns_cookies",
        "Requests with a cookie: the client's part alone, a valid one, one of another secret or address or too old, none that could be.",
        &[
            ("first", Shard("cookies_first")),
            ("valid", Shard("cookies_valid")),
            ("invalid", Shard("cookies_invalid")),
            ("malformed", Shard("cookies_malformed")),
        ],
    ),
    by(
        "result",
        "ringdns_tsig",
        "Signed requests, by what their signature is worth.",
        &[
            ("verified", Shard("tsig_verified")),
            ("unknown_key", Shard("tsig_unknown_key")),
            ("bad_signature", Shard("tsig_bad_signature")),
            ("bad_time", Shard("tsig_bad_time")),
            ("bad_truncation", Shard("tsig_truncated")),
        ],
    ),
    alone(
        "ringdns_tsig_no_room",
        "Signed replies of which the header alone was sent: with question and signature they did not fit the asker.",
        &[("", Shard("tsig_no_room"))],
    ),
];

const ZONES: &[Family] = &[
    alone("ringdns_zone_answers", "Answers from a zone of this server.", &[("", Shard("zone_answers"))]),
    by(
        "reason",
        "ringdns_answers_cut",
        "Answers from zones that are not whole: an alias chain too long, one in a circle, too much for the additional section.",
        &[
            ("chain_limit", Shard("chain_limit")),
            ("chain_loop", Shard("chain_loops")),
            ("additional_limit", Shard("additional_limit")),
        ],
    ),
    by(
        "type",
        "ringdns_transfers_out",
        "Transfers begun, and datagrams answered for IXFR.",
        &[("AXFR", Shard("transfers_axfr")), ("IXFR", Shard("transfers_ixfr"))],
    ),
    by(
        "reason",
        "ringdns_transfers_out_failed",
        "Transfers that came to nothing: too many under way, a record that fits no message, the connection ended.",
        &[
            ("over_limit", Shard("transfers_over_limit")),
            ("record_too_long", Shard("transfers_failed")),
            ("connection", Shard("transfers_cut")),
        ],
    ),
    alone("ringdns_transfers_out_messages", "Messages of transfers.", &[("", Shard("transfer_messages"))]),
    alone(
        "ringdns_transfers_out_bytes",
        "Octets of the messages of transfers over TCP.",
        &[("", Shard("transfer_octets"))],
    ),
    alone("ringdns_notifies_taken", "NOTIFY taken from a primary.", &[("", Shard("notifies"))]),
];

const CACHE: &[Family] = &[
    by(
        "outcome",
        "ringdns_cache_lookups",
        "Questions to the cache, by whether it had a fresh answer to the very name and type.",
        &[("hit", Shard("cache_hits")), ("miss", Shard("cache_misses"))],
    ),
    by(
        "by",
        "ringdns_cache_misses_spared",
        "Misses that asked no upstream: an ancestor does not exist, the question is in flight already, it failed a moment ago.",
        &[
            ("ancestor", Shard("cache_cuts")),
            ("in_flight", Shard("coalesced")),
            ("failure", Shard("failures_repeated")),
        ],
    ),
    by(
        "reason",
        "ringdns_stale_answers",
        "Answers served after they ran out: every server is down, none answered in time, the question failed, a bound.",
        &[
            ("down", Shard("stale_down")),
            ("slow", Shard("stale_slow")),
            ("failed", Shard("stale_failed")),
            ("limited", Shard("stale_limited")),
        ],
    ),
    by(
        "outcome",
        "ringdns_cache_refreshes",
        "Answers to be fetched before they run out, and whether a bound allowed it.",
        &[("asked", Shard("refreshes")), ("held_back", Shard("refreshes_held_back"))],
    ),
    alone("ringdns_cache_inserts", "Answers put into the cache.", &[("", Shard("cache_inserts"))]),
    alone("ringdns_cache_reloaded", "Answers taken in from an earlier run.", &[("", Shard("cache_reloaded"))]),
    by(
        "reason",
        "ringdns_cache_removals",
        "Answers that left the cache: for want of room, at their end, since later ones contradict them, by order.",
        &[
            ("evicted", Shard("cache_evictions")),
            ("expired", Shard("cache_expired")),
            ("superseded", Shard("cache_superseded")),
            ("flushed", Shard("cache_flushed")),
        ],
    ),
    by(
        "reason",
        "ringdns_cache_rejected",
        "Answers not kept: too long, or no room could be made.",
        &[("too_long", Shard("cache_too_long")), ("no_room", Shard("cache_no_room"))],
    ),
    alone(
        "ringdns_cache_failures_displaced",
        "Failures forgotten before their time, for want of room.",
        &[("", Shard("cache_failures_displaced"))],
    ),
];

const UPSTREAMS: &[Family] = &[
    by(
        "transport",
        "ringdns_upstream_queries",
        "Queries sent to upstreams.",
        &[("udp", Shard("upstream_udp")), ("tcp", Shard("upstream_tcp"))],
    ),
    by(
        "reason",
        "ringdns_upstream_failures",
        "Attempts at upstreams without an answer that could be used; another server, or another way, is tried.",
        &[
            ("timeout", Shard("upstream_timeouts")),
            ("exchange", Shard("upstream_failures")),
            ("rcode", Shard("upstream_errors")),
            ("useless", Shard("upstream_useless")),
            ("edns", Shard("upstream_edns_refused")),
            ("bad_cookie", Shard("upstream_bad_cookies")),
        ],
    ),
    by(
        "reason",
        "ringdns_upstream_ignored",
        "Packets that came as replies of upstreams and were not taken; forgeries are among them.",
        &[
            ("unexpected", Shard("upstream_unexpected")),
            ("mismatched", Shard("upstream_mismatched")),
            ("malformed", Shard("upstream_malformed")),
            ("case_changed", Shard("upstream_case_changed")),
            ("cookie_forged", Shard("upstream_cookies_forged")),
            ("cookie_missing", Shard("upstream_cookies_missing")),
            ("tcp_late", Rim("upstream_tcp_late")),
            ("tcp_unexpected", Rim("upstream_tcp_unexpected")),
        ],
    ),
    by(
        "limit",
        "ringdns_upstream_limited",
        "Queries to upstreams not sent: no free id, as many attempts as may be, as many probes as may be, no connection with room.",
        &[
            ("ids", Shard("upstream_ids_exhausted")),
            ("attempts", Shard("upstream_attempts_exhausted")),
            ("probes", Shard("upstream_probes_over_limit")),
            ("connections", Rim("upstream_tcp_over_cap")),
        ],
    ),
    alone(
        "ringdns_upstream_scrubbed",
        "Upstream answers of which not all was believed.",
        &[("", Shard("upstream_scrubbed"))],
    ),
    alone(
        "ringdns_upstream_probes",
        "Queries sent to servers that are down, to see whether they are back.",
        &[("", Shard("upstream_probes"))],
    ),
    by(
        "direction",
        "ringdns_upstream_datagrams",
        "Datagrams sent to upstreams, and received from them.",
        &[("sent", Rim("upstream_sent")), ("received", Rim("upstream_received"))],
    ),
    alone("ringdns_upstream_tcp_opened", "Connections opened towards upstreams.", &[("", Rim("upstream_tcp_opened"))]),
    by(
        "reason",
        "ringdns_upstream_tcp_closed",
        "Connections to upstreams closed: nobody had needed them for a while, or nothing came over them any more.",
        &[("idle", Rim("upstream_tcp_idle_closed")), ("silent", Rim("upstream_tcp_silent"))],
    ),
    by(
        "outcome",
        "ringdns_upstream_tcp_queries",
        "Queries over TCP: on a connection that was there, once more on a fresh one, failed with it, given up.",
        &[
            ("reused", Rim("upstream_tcp_reused")),
            ("retried", Rim("upstream_tcp_retried")),
            ("failed", Rim("upstream_tcp_errors")),
            ("timeout", Rim("upstream_tcp_timeouts")),
        ],
    ),
];

const SOCKETS: &[Family] = &[
    alone("ringdns_udp_batches", "Batches of datagrams received from clients.", &[("", Rim("udp_batches"))]),
    by(
        "direction",
        "ringdns_udp_datagrams",
        "Datagrams received from clients, and sent to them.",
        &[("received", Rim("udp_received")), ("sent", Rim("udp_sent"))],
    ),
    alone(
        "ringdns_udp_send_blocked",
        "Times a client socket could take no more replies.",
        &[("", Rim("udp_send_blocked"))],
    ),
    by(
        "operation",
        "ringdns_socket_errors",
        "Calls on sockets that failed.",
        &[
            ("udp_receive", Rim("udp_receive_errors")),
            ("tcp_accept", Rim("tcp_accept_errors")),
            ("upstream_receive", Rim("upstream_receive_errors")),
            ("upstream_send", Rim("upstream_send_errors")),
        ],
    ),
    alone("ringdns_tcp_accepted", "Connections accepted from clients.", &[("", Rim("tcp_accepted"))]),
    by(
        "reason",
        "ringdns_tcp_closed",
        "Connections of clients that the server closed, or that broke.",
        &[
            ("over_cap", Rim("tcp_over_cap")),
            ("recycled", Rim("tcp_recycled")),
            ("idle", Rim("tcp_idle_closed")),
            ("zero_length", Rim("tcp_zero_length")),
            ("frame_timeout", Rim("tcp_frame_timeouts")),
            ("stalled", Rim("tcp_stalled")),
            ("output_overflow", Rim("tcp_output_overflow")),
            ("unanswered", Rim("tcp_unanswered")),
            ("error", Rim("tcp_errors")),
        ],
    ),
    by(
        "reason",
        "ringdns_tcp_pauses",
        "Times a connection was not read: too many of its requests in flight, too many octets of replies waiting for it.",
        &[("in_flight", Rim("tcp_in_flight_pauses")), ("output", Rim("tcp_output_pauses"))],
    ),
    alone("ringdns_core_alarms", "Times the core's alarm went off.", &[("", Rim("alarms"))]),
    alone("ringdns_core_messages", "Messages from other threads handled.", &[("", Rim("messages"))]),
];

const RECORDED: &[Family] = &[
    alone("ringdns_query_log_entries", "Queries written to the query log by a core.", &[("", Shard("log_entries"))]),
    alone(
        "ringdns_query_log_sampled_out",
        "Queries that the query log leaves out, for others stand for them.",
        &[("", Shard("log_sampled_out"))],
    ),
    alone("ringdns_dnstap_messages", "Messages for dnstap written by a core.", &[("", Shard("tap_messages"))]),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use ringdns_shard::telemetry::Counters;

    use super::*;

    #[test]
    fn every_counter_of_a_shard_is_shown_once_and_nothing_else_is() {
        let shown: Vec<Counter> = FAMILIES
            .iter()
            .copied()
            .flatten()
            .flat_map(|family| family.counters)
            .map(|&(_, counter)| counter)
            .collect();
        let mut once = HashSet::new();
        for counter in &shown {
            assert!(once.insert(counter), "{counter:?} is shown twice");
        }
        let counters = Counters::default();
        for (name, _, _) in counters.each() {
            assert!(once.contains(&Shard(name)), "{name} is not shown: give it a family");
        }
        let known: HashSet<&str> = counters.each().map(|(name, _, _)| name).collect();
        for counter in shown {
            assert!(!matches!(counter, Shard(name) if !known.contains(name)), "{counter:?} is no counter");
        }
    }

    #[test]
    fn families_have_names_of_their_own_and_label_values_once() {
        let mut names = HashSet::new();
        for family in FAMILIES.iter().copied().flatten() {
            let Family { name, help, label, counters } = family;
            assert!(names.insert(name), "{name} twice");
            assert!(name.starts_with("ringdns_") && !name.ends_with("_total"), "{name}");
            assert!(help.ends_with('.') && !help.contains(['"', '\\', '\n']), "{name}: {help}");
            assert_eq!(label.is_empty(), counters.iter().all(|(value, _)| value.is_empty()), "{name}");
            let values: HashSet<&str> = counters.iter().map(|&(value, _)| value).collect();
            assert_eq!(values.len(), counters.len(), "{name}: a value twice");
            assert!(label != &"core", "{name}: every sample has that label already");
        }
    }
}
