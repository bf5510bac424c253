//! The paths that answer at once take nothing from the heap: no allocation a query, whatever the case; what is recorded
//! of queries takes one a chunk, which goes away with it.

use ringdns_bench::load::{CASES, Load};

#[test]
fn answers_at_once_do_not_allocate() {
    for (case, _) in CASES {
        let mut load = Load::new(case);
        // The first round may size what lives in the shard.
        load.ask(640);
        let mut chunks = 0;
        let taken = allocation_counter::measure(|| chunks = load.ask(20_000));
        // Each chunk that was taken away leaves room for the next to be made; the first was there.
        assert_eq!(taken.count_total, chunks as u64, "{case}: {taken:?}");
        assert_eq!(chunks > 0, matches!(*case, "cache-log" | "cache-log-10" | "cache-tap"), "{case}: {chunks} chunks");
    }
}
