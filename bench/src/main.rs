//! What one query costs in the engine: `Shard::on_query` in process, without sockets.
//!
//! `ringdns-bench CASE [QUERIES]` asks QUERIES questions (one million unless told) over 100,000 names, in rounds, and
//! prints the median, least and greatest time a query of the rounds. `ringdns-bench CASE QUERIES once` asks them in one
//! round and prints nothing: two such runs of different length under `valgrind --tool=callgrind` differ by the
//! instructions of the queries between them, which is how `scripts/bench` counts.

use std::process::ExitCode;
use std::time::Instant;

use ringdns_bench::load::{CASES, Load};

const ROUNDS: usize = 11;
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let case = arguments.first().map_or("", String::as_str);
    let queries = arguments.get(1).map_or(Ok(1_000_000), |text| text.parse::<usize>());
    let once = arguments.get(2).map(String::as_str);
    let (Some(&(name, what)), Ok(queries), None | Some("once")) =
        (CASES.iter().find(|(name, _)| *name == case), queries, once)
    else {
        eprintln!("usage: ringdns-bench CASE [QUERIES [once]]; the cases:");
        for (name, what) in CASES {
            eprintln!("  {name:<10} {what}");
        }
        return ExitCode::from(2);
    };
    let mut load = Load::new(name);
    if once.is_some() {
        load.ask(queries);
        return ExitCode::SUCCESS;
    }
    load.ask(queries / ROUNDS);
    let mut nanoseconds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begin = Instant::now();
            load.ask(queries / ROUNDS);
            begin.elapsed().as_nanos() as f64 / (queries / ROUNDS) as f64
        })
        .collect();
    nanoseconds.sort_unstable_by(f64::total_cmp);
    let (least, median, most) = (nanoseconds[0], nanoseconds[ROUNDS / 2], nanoseconds[ROUNDS - 1]);
    println!("{name:<10} {median:7.1} ns a query (least {least:.1}, greatest {most:.1})   {what}");
    ExitCode::SUCCESS
}
