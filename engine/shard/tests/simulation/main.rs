//! A random simulation in virtual time: thousands of clients, a network that loses, doubles and reorders, and five servers
//! of different natures (with cookies and without, without EDNS, with letters of their own) that are honest, slow, silent,
//! lying, poisoning, failing or short of words by turns, asked in every order that there is. Whatever happens, each client
//! gets the truth, as it is or was, or an error, once, in time; and nothing is left over.
//!
//! `RINGDNS_SEED=N cargo test -p ringdns-shard --test simulation` repeats the run of seed N; a failing run prints its seed.

mod found;
mod packet;
mod random;
mod recorded;
mod servers;
mod truth;
mod world;

use std::hash::{BuildHasher, RandomState};

use ringdns_shard::telemetry::Counters;
use world::World;

/// Seeds that are always run.
const SEEDS: [u64; 4] = [1, 2, 3, 4];

/// Runs one seed to its end.
fn run(seed: u64) -> Counters {
    eprintln!("RINGDNS_SEED={seed}");
    let mut world = World::new(seed);
    world.run();
    world.end()
}

#[test]
fn whatever_servers_and_network_do_clients_get_the_truth_or_an_error_in_time() {
    if let Ok(seed) = std::env::var("RINGDNS_SEED") {
        run(seed.parse().expect("RINGDNS_SEED must be a whole number"));
        return;
    }
    let mut sum = Counters::default();
    SEEDS.iter().for_each(|&seed| sum.add(&run(seed)));
    // What never happened was not tested.
    for (what, count) in [
        ("queries over UDP", sum.queries_udp),
        ("queries over TCP", sum.queries_tcp),
        ("NOERROR", sum.rcode_noerror),
        ("NXDOMAIN", sum.rcode_nxdomain),
        ("SERVFAIL", sum.rcode_servfail),
        ("replies cut short", sum.truncated),
        ("cache hits", sum.cache_hits),
        ("evictions", sum.cache_evictions),
        ("expired answers", sum.cache_expired),
        ("questions joined", sum.coalesced),
        ("refusals for questions in flight", sum.refused_resolves),
        ("refusals for waiters", sum.refused_waiters),
        ("queries to upstreams over TCP", sum.upstream_tcp),
        ("silence", sum.upstream_timeouts),
        ("failed connections", sum.upstream_failures),
        ("errors of upstreams", sum.upstream_errors),
        ("replies with a wrong id or sender", sum.upstream_unexpected),
        ("replies to another question", sum.upstream_mismatched),
        ("garbage", sum.upstream_malformed),
        ("answers to something else", sum.upstream_useless),
        ("letters of another case", sum.upstream_case_changed),
        ("forged cookies", sum.upstream_cookies_forged),
        ("cookies that were not wanted", sum.upstream_bad_cookies),
        ("servers without EDNS", sum.upstream_edns_refused),
        ("probes", sum.upstream_probes),
        ("names below others that do not exist", sum.cache_cuts),
        ("failures remembered", sum.failures_repeated),
        ("refreshes", sum.refreshes),
        ("stale answers with all servers down", sum.stale_down),
        ("stale answers in time", sum.stale_slow),
        ("stale answers after failures", sum.stale_failed),
        ("stale answers at a bound", sum.stale_limited),
        ("refusals for a zone", sum.refused_zone),
    ] {
        assert!(count > 5, "{what}: {count}");
    }
    assert!(sum.rcode_servfail * 4 < sum.replies, "most clients get an answer");
    run(RandomState::new().hash_one(0));
}

#[test]
fn a_seed_repeats_its_run() {
    assert_eq!(run(77), run(77));
}
