//! What one query costs in the engine, `Shard::on_query` in process, without sockets; and how servers do, asked over
//! sockets.
//!
//! `ringdns-bench CASE [QUERIES]` asks QUERIES questions (one million unless told) over 100,000 names, in rounds, and
//! prints the median, least and greatest time a query of the rounds. `ringdns-bench CASE QUERIES once` asks them in one
//! round and prints nothing: two such runs of different length under `valgrind --tool=callgrind` differ by the
//! instructions of the queries between them, which is how `scripts/bench` counts.
//!
//! `ringdns-bench hit-rate [NAMES QUESTIONS]` asks the cache, and policies of the literature beside it, for the names of a
//! trace, 10,000,000 times for 1,000,000 names unless told, and prints how often they had them (`results/hit-rate.txt`).
//!
//! `ringdns-bench misses QUESTIONS` asks for so many names that the cache does not have, of a server that answers at once.
//!
//! `ringdns-bench fetch ADDRESS ZONE` fetches a zone by AXFR and prints messages, records, octets and seconds.
//! `ringdns-bench probe ADDRESS NAME SECONDS` asks for an address time and again, and prints how long answers took.
//!
//! `ringdns-bench versus [SCENARIO …]` measures servers side by side, which is what `scripts/bench` runs; `echo ADDRESS` and
//! `echo-glommio ADDRESS` are servers without data, the floor under all others.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use ringdns_bench::load::{CASES, Load};
use ringdns_bench::misses::Misses;
use ringdns_bench::versus::{self, Options, floor};
use ringdns_bench::{client, hit_rate};
use ringdns_shard::wire::name::Name;

const ROUNDS: usize = 11;
/// Between two queries of a probe.
const PROBE_PAUSE: Duration = Duration::from_micros(500);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["versus", ..] => versus::run(Options::parse_from(&arguments)),
        ["echo", address] => address.parse().map_or_else(|_| usage(), |address| told(echoed(floor::echo(address)))),
        ["echo-glommio", address] => {
            address.parse().map_or_else(|_| usage(), |address| told(echoed(floor::echo_glommio(address))))
        }
        ["fetch", address, zone] => match (address.parse(), zone.parse()) {
            (Ok(address), Ok(zone)) => told(fetch(address, &zone)),
            _ => usage(),
        },
        ["probe", address, name, seconds] => match (address.parse(), name.parse(), seconds.parse()) {
            (Ok(address), Ok(name), Ok(seconds)) => told(probe(address, &name, Duration::from_secs(seconds))),
            _ => usage(),
        },
        ["misses", queries] => queries.parse().map_or_else(|_| usage(), misses),
        ["hit-rate"] => hit_rates(1_000_000, 10_000_000),
        ["hit-rate", names, questions] => match (names.parse(), questions.parse()) {
            (Ok(names), Ok(questions)) => hit_rates(names, questions),
            _ => usage(),
        },
        [case] => engine(case, 1_000_000, false),
        [case, queries] => queries.parse().map_or_else(|_| usage(), |queries| engine(case, queries, false)),
        [case, queries, "once"] => queries.parse().map_or_else(|_| usage(), |queries| engine(case, queries, true)),
        _ => usage(),
    }
}

fn misses(queries: usize) -> ExitCode {
    let mut misses = Misses::new();
    let begin = Instant::now();
    misses.ask(queries);
    println!("misses {:.1} ns a question", begin.elapsed().as_nanos() as f64 / queries as f64);
    ExitCode::SUCCESS
}

fn hit_rates(names: usize, questions: usize) -> ExitCode {
    print!("{}", hit_rate::measure(names, questions));
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!(
        "usage: ringdns-bench CASE [QUERIES [once]] | misses QUESTIONS | hit-rate [NAMES QUESTIONS] | fetch ADDRESS ZONE | \
         probe ADDRESS NAME SECONDS | versus --help | echo ADDRESS | echo-glommio ADDRESS; the cases:"
    );
    for (name, what) in CASES {
        eprintln!("  {name:<12} {what}");
    }
    ExitCode::from(2)
}

/// Echoes end with an error alone.
fn echoed(result: io::Result<()>) -> io::Result<String> {
    result.map(|()| String::new())
}

fn told(result: io::Result<String>) -> ExitCode {
    match result {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("ringdns-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn fetch(address: SocketAddr, zone: &Name) -> io::Result<String> {
    let fetched = client::fetch(address, zone)?;
    Ok(format!(
        "messages {} records {} octets {} seconds {:.3}",
        fetched.messages,
        fetched.records,
        fetched.octets,
        fetched.took.as_secs_f64()
    ))
}

fn probe(address: SocketAddr, name: &Name, length: Duration) -> io::Result<String> {
    let probed = client::probe(address, name, PROBE_PAUSE, length)?;
    let at = |share: f64| {
        let last = probed.took.len().saturating_sub(1);
        probed.took.get((last as f64 * share) as usize).map_or(0.0, |took| took.as_secs_f64() * 1e3)
    };
    Ok(format!(
        "asked {} lost {} median_ms {:.3} p99_ms {:.3} p999_ms {:.3} slowest_ms {:.3}",
        probed.asked,
        probed.lost,
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    ))
}

fn engine(case: &str, queries: usize, once: bool) -> ExitCode {
    let Some(&(name, what)) = CASES.iter().find(|(name, _)| *name == case) else { return usage() };
    let mut load = Load::new(name);
    if once {
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
    println!("{name:<12} {median:7.1} ns a query (least {least:.1}, greatest {most:.1})   {what}");
    ExitCode::SUCCESS
}
