//! The paths that answer at once take nothing from the heap: no allocation a query, whatever the case.

use ringdns_bench::load::{CASES, Load};

#[test]
fn answers_at_once_do_not_allocate() {
    for (case, _) in CASES {
        let mut load = Load::new(case);
        // The first round may size what lives in the shard.
        load.ask(100);
        let taken = allocation_counter::measure(|| load.ask(20_000));
        assert_eq!((taken.count_total, taken.bytes_total), (0, 0), "{case}: {taken:?}");
    }
}
