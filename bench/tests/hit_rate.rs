//! The cache has what is asked for about as often as the best policy of its size, and a scan does not empty it.

use ringdns_bench::hit_rate::{Rates, measure};

#[test]
fn the_cache_is_as_good_as_the_best_and_a_scan_passes_through() {
    let table = measure(100_000, 600_000);
    let (ours, others) = table.rates.split_last().expect("ringdns is the last");
    let best = others.iter().map(|other| other.zipf).fold(0.0, f64::max);
    assert!(ours.zipf > best - 1.0 && ours.zipf < table.perfect, "{table}");
    let least_recently_used: &Rates = &others[0];
    assert!(ours.zipf > least_recently_used.zipf + 4.0, "{table}");
    let [before, during] = ours.scan;
    assert!(before - during < 5.0, "{table}");
    assert!(table.answers > table.trace[0] / 25, "{table}");
}
