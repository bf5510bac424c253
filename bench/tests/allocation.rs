//! The paths that answer at once take nothing from the heap: no allocation a query, the look ahead over its batch included,
//! whatever the case; what is recorded of queries takes one a chunk, which goes away with it. A miss takes a few, for
//! what waits and for what is kept, and gives back what it does not keep.

use ringdns_bench::load::{CASES, Load};
use ringdns_bench::misses::Misses;

#[test]
fn answers_at_once_do_not_allocate() {
    for (case, _) in CASES {
        let mut load = Load::sized(case, 10_000);
        // The first round may size what lives in the shard.
        load.ask(640);
        let mut chunks = 0;
        let taken = allocation_counter::measure(|| chunks = load.ask(20_000));
        // Each chunk that was taken away leaves room for the next to be made, before the first query or behind the last.
        let one = u64::from(chunks > 0);
        assert!(taken.count_total.abs_diff(chunks as u64) <= one, "{case}: {chunks} chunks, {taken:?}");
        assert_eq!(chunks > 0, matches!(*case, "cache-log" | "cache-log-10" | "cache-tap"), "{case}: {chunks} chunks");
    }
}

#[test]
fn a_miss_allocates_a_few_times_and_leaves_nothing_behind() {
    let mut misses = Misses::new();
    let taken = allocation_counter::measure(|| misses.ask(10_000));
    eprintln!("{:.2} allocations a miss", taken.count_total as f64 / 10_000.0);
    assert!(taken.count_total < 8 * 10_000, "{taken:?}");
    assert!(taken.count_current.abs() < 100, "what is kept lies in the cache's own memory: {taken:?}");
}
