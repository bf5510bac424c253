//! A random simulation in virtual time: thousands of clients, a network that loses, doubles and reorders, and three servers
//! that are honest, slow, silent, lying, failing or short of words by turns. Whatever happens, each client gets the
//! truth or an error, once, in time.
//!
//! `RINGDNS_SEED=N cargo test -p ringdns-shard --test simulation` repeats the run of seed N; a failing run prints its seed.

mod found;
mod packet;
mod random;
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
    ] {
        assert!(count > 20, "{what}: {count}");
    }
    assert!(sum.rcode_servfail * 4 < sum.replies, "most clients get an answer");
    run(RandomState::new().hash_one(0));
}

#[test]
fn a_seed_repeats_its_run() {
    assert_eq!(run(77), run(77));
}
