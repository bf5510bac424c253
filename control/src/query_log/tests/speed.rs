//! How many rows a second one thread writes, indexes and all. It measures, and is no test but of the counts:
//!
//! ```text
//! cargo test --release -p ringdns-control --lib -- --ignored --nocapture rows_a_second
//! ```

use super::*;

/// Rows of names that are asked for as names are: few often, many seldom.
const ROWS: u64 = 3_000_000;
const ENTRIES: u64 = 700;

#[test]
#[ignore = "measures, for half a minute"]
fn rows_a_second() {
    let folder = TempDir::new().unwrap();
    let (recorder, log) = started(Wanted { size: 1 << 30, ..wanted(folder.path()) });
    stored(&log, 0);
    let names: Vec<Vec<u8>> = (0..100_000).map(|number| [b"\x03www", &numbered(number)[..]].concat()).collect();
    let mut seed = 1u64;
    let mut chance = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed >> 40
    };
    let chunks: Vec<_> = (0..200)
        .map(|number| {
            let entries: Vec<Entry<'_>> = (0..ENTRIES)
                .map(|_| {
                    let name = &names[((chance() * chance()) >> 24) as usize % names.len()];
                    let client = SocketAddr::from(([192, 0, 2 + (chance() % 4) as u8, chance() as u8], 53));
                    let blocked = chance() % 50 == 0;
                    let (outcome, policy) =
                        if blocked { (Outcome::Refused, Policy::Acl) } else { (Outcome::Cache, Policy::None) };
                    Entry {
                        client,
                        outcome,
                        policy,
                        qtype: [1, 28][chance() as usize % 2],
                        ..entry(chance() % 3_000, name)
                    }
                })
                .collect();
            handed(number % 4, DAY + number as u64 * 3_500, 1, &entries)
        })
        .collect();
    let begin = Instant::now();
    let cpu = cpu_seconds();
    let mut sent = 0;
    while sent < ROWS {
        for chunk in &chunks {
            // Never more than the queue holds, so that every row is written.
            while sent > log.figures().stored + 150 * ENTRIES {
                std::thread::sleep(Duration::from_millis(2));
            }
            recorder.logged(chunk.clone());
            sent += ENTRIES;
        }
    }
    assert_eq!(log.close(PATIENCE), Ok(()));
    let (took, cpu) = (begin.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let figures = log.figures();
    assert_eq!((figures.stored, figures.dropped), (sent, 0));
    let octets = fs::metadata(wanted(folder.path()).file).unwrap().len();
    println!(
        "{sent} rows in {took:.2} s: {:.0} rows/s; {:.0} rows/s of CPU time; {} octets a row",
        sent as f64 / took,
        sent as f64 / cpu,
        octets / sent
    );
    let (_recorder, log) = started(Wanted { size: 1 << 30, ..wanted(folder.path()) });
    stored(&log, 0);
    let everything = Filter::default();
    let network = Filter { client: Some("192.0.2.7".parse().unwrap()), ..Filter::default() };
    let seldom = Filter { min_latency_micros: Some(1_000_000), ..Filter::default() };
    type Question<'a> = (&'a str, &'a dyn Fn() -> usize);
    let questions: [Question<'_>; 6] = [
        ("newest", &|| log.find(&everything, page(100)).unwrap().rows.len()),
        ("of a client", &|| log.find(&network, page(100)).unwrap().rows.len()),
        ("seldom, without an index", &|| log.find(&seldom, page(100)).unwrap().rows.len()),
        ("names", &|| log.top(&everything, Top::Names, 20).unwrap().places.len()),
        ("types", &|| log.top(&everything, Top::Types, 20).unwrap().places.len()),
        ("series", &|| log.series(&everything, 1).unwrap().len()),
    ];
    for (what, question) in questions {
        let begin = Instant::now();
        let found = question();
        println!("{what}: {found} in {:.1?}", begin.elapsed());
    }
}

/// CPU time of this process so far, by the kernel's clock ticks of 10 ms.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}
