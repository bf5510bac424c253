//! The paths that answer at once take nothing from the heap: no allocation a query, the look ahead over its batch included,
//! whatever the case; what is recorded of queries takes one a chunk, which goes away with it. A miss takes a few, for
//! what waits and for what is kept, and gives back what it does not keep.

use ringdns_bench::load::{CASES, Load, request};

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
fn a_miss_allocates_a_few_times_whatever_the_cache_holds() {
    let mut load = Load::sized("cache", 10_000);
    // What lives in the shard has its size; the cache goes on growing, by segments and parts of its table.
    let mut requests = (0..4_000).map(|i| request(&format!("miss{i}.cached.test"), false)).collect::<Vec<_>>();
    let later = requests.split_off(2_000);
    requests.iter().for_each(|request| load.fill(request));
    let taken = allocation_counter::measure(|| later.iter().for_each(|request| load.fill(request)));
    let (count, misses) = (taken.count_total, later.len() as u64);
    eprintln!("{:.2} allocations a miss", count as f64 / misses as f64);
    // The test's own answer, which grows twice as it is written, is in them.
    assert!(count > misses && count < 10 * misses, "{taken:?}");
    assert!(taken.count_current < 100, "what a miss leaves behind lies in the cache's own memory: {taken:?}");
}
