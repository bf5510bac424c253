//! What a query costs as zones and caches grow: instructions, and how often it waits for memory. Names are asked for
//! uniformly at random, which is the worst case for caches of CPUs: nothing is hot but what every query touches.

use std::fmt;
use std::io;

use crate::callgrind::{self, Counts, counted};
use crate::load::{Load, request};

/// Names of the zones.
const ZONES: [u32; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// Answers in the caches.
const CACHES: [u32; 3] = [10_000, 100_000, 1_000_000];
/// The same where there is time for it.
const CACHE_LARGE: u32 = 5_000_000;
/// Questions before counting begins, that fill the simulated caches: what they touch of a million names exceeds 32 MiB.
const WARM: u32 = 400_000;
/// Questions that are counted.
const COUNTED: u32 = 200_000;
/// Questions of a batch: they lie in the memory of a batch, as the datagrams of a socket do.
const BATCH: u32 = 64;

/// What a query cost at each size.
pub struct Table(Vec<Row>);

struct Row {
    case: &'static str,
    names: u32,
    counts: Counts,
}

/// Counts at every size, `large` with the one that takes as long as all the others, and tells `progress` of each before.
///
/// # Errors
/// As [`callgrind::misses`].
pub fn measure(large: bool, mut progress: impl FnMut(&str)) -> io::Result<Table> {
    let zones = ZONES.map(|names| ("auth", names));
    let caches = CACHES.into_iter().chain(large.then_some(CACHE_LARGE)).map(|names| ("cache", names));
    let counted = zones.into_iter().chain(caches).map(|(case, names)| {
        progress(&format!("{case}, {names} names"));
        Ok(Row { case, names, counts: callgrind::misses(&["grown", case, &names.to_string()])? })
    });
    counted.collect::<io::Result<_>>().map(Table)
}

/// What runs under callgrind.
///
/// # Errors
/// When nobody counts.
pub fn ask(case: &str, names: u32) -> io::Result<()> {
    let zone = if case == "auth" { "example.com" } else { "cached.test" };
    let mut load = Load::sized(case, names);
    let mut random = 1u64;
    let mut batch = |load: &mut Load| {
        load.requests.clear();
        load.requests.extend((0..BATCH).map(|_| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            request(&format!("h{}.{zone}", (random >> 33) % u64::from(names)), false)
        }));
    };
    callgrind::ready()?;
    for _ in 0..WARM / BATCH {
        batch(&mut load);
        load.ask(BATCH as usize);
    }
    for _ in 0..COUNTED / BATCH {
        batch(&mut load);
        counted(|| load.ask(BATCH as usize));
    }
    Ok(())
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "case       names  instructions  first-level misses  last-level misses   a query")?;
        for Row { case, names, counts } in &self.0 {
            let a_query = |count: u64| count as f64 / f64::from(COUNTED / BATCH * BATCH);
            let [instructions, first, last] =
                [counts.instructions, counts.first_level_misses, counts.last_level_misses].map(a_query);
            writeln!(f, "{case:<6} {names:>9}  {instructions:>12.0}  {first:>18.2}  {last:>17.2}")?;
        }
        Ok(())
    }
}
