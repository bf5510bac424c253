//! What a query costs in the engine, as callgrind counts it: `scripts/bench-engine`, which knows the arguments.
//!
//! It runs itself under callgrind, so that nothing needs to be installed but valgrind, and compares with a file of the
//! repository rather than with a run before: what has crept in since any commit is seen.

use std::io;
use std::num::NonZeroUsize;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use ringdns_bench::budget::{Budget, Verdict};
use ringdns_bench::callgrind::{self, counted};
use ringdns_bench::growth;
use ringdns_bench::load::{CASES, Load};
use ringdns_bench::misses::Misses;

/// What was counted before.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.txt");
/// The case beside those of [`Load`].
const MISS: (&str, &str) = ("miss", "a name that the cache does not have, asked of a server");
/// Questions before counting begins: the first of them size what lives in the shard.
const WARM: usize = 640;
/// Questions that are counted: all of a case once.
const COUNTED: usize = 20_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        // These three run under callgrind.
        ["asked", "miss"] => {
            let mut misses = Misses::new();
            counted(|| misses.ask(COUNTED));
            Ok(ExitCode::SUCCESS)
        }
        ["asked", case] => {
            let mut load = Load::new(case);
            load.ask(WARM);
            counted(|| load.ask(COUNTED));
            Ok(ExitCode::SUCCESS)
        }
        ["grown", case, names] => {
            growth::ask(case, names.parse().expect("a number of ours")).map(|()| ExitCode::SUCCESS)
        }
        [] | ["--write"] | ["growth"] | ["growth", "--large"] if !callgrind::is_installed() => {
            eprintln!(
                "skipped: instructions of a query are not counted, for valgrind is not installed (apt package valgrind)"
            );
            Ok(ExitCode::SUCCESS)
        }
        [] | ["--write"] if !cfg!(all(target_arch = "x86_64", target_env = "gnu")) => {
            eprintln!("skipped: instructions of a query are known for x86-64 and the GNU C library alone");
            Ok(ExitCode::SUCCESS)
        }
        [] => compare(),
        ["--write"] => write(),
        ["growth"] => grow(false),
        ["growth", "--large"] => grow(true),
        _ => {
            eprintln!("usage: cargo bench -p ringdns-bench --bench engine -- [--write | growth [--large]]");
            Ok(ExitCode::from(2))
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("bench engine: {error}");
        ExitCode::FAILURE
    })
}

/// Counts every case and compares with the file.
fn compare() -> io::Result<ExitCode> {
    let budget = budget()?;
    let made_with = made_with();
    let (mut above, mut below) = (0, 0);
    for ((case, what), instructions) in cases().zip(instructions()?) {
        let verdict = match budget.judge(case, instructions, &made_with) {
            Verdict::AsBefore => String::new(),
            Verdict::Below => {
                below += 1;
                "   LESS than before".to_owned()
            }
            Verdict::Above(why) => {
                above += 1;
                format!("   TOO MANY: {why}")
            }
        };
        println!("{case:<20} {instructions:>6} instructions a query   {what}{verdict}");
    }
    if below > 0 {
        println!("{below} cases take less than {FILE} says: scripts/bench-engine --write keeps it that way");
    }
    if above > 0 {
        println!("{above} cases take more than they may; where that is meant, scripts/bench-engine --write");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Counts every case and writes the file anew.
fn write() -> io::Result<ExitCode> {
    let counts: Vec<_> = cases().map(|(case, _)| case).zip(instructions()?).collect();
    let text = budget()?.rewritten(&counts, &made_with());
    std::fs::write(FILE, &text)?;
    print!("{text}");
    Ok(ExitCode::SUCCESS)
}

fn grow(large: bool) -> io::Result<ExitCode> {
    print!("{}", growth::measure(large, |what| eprintln!("counting: {what}"))?);
    Ok(ExitCode::SUCCESS)
}

/// Every case, and what it asks for.
fn cases() -> impl Iterator<Item = (&'static str, &'static str)> {
    CASES.iter().copied().chain([MISS])
}

/// Instructions a query of every case, counted on all CPUs: counts do not mind.
fn instructions() -> io::Result<Vec<u64>> {
    let next = AtomicUsize::new(0);
    let count = || {
        let case = |place| cases().nth(place).map(|(case, _)| (place, callgrind::instructions(&["asked", case])));
        std::iter::from_fn(|| case(next.fetch_add(1, Ordering::Relaxed))).collect::<Vec<_>>()
    };
    let mut counts: Vec<_> = thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let counting: Vec<_> = (0..threads).map(|_| scope.spawn(count)).collect();
        counting.into_iter().flat_map(|thread| thread.join().expect("it does not panic")).collect()
    });
    counts.sort_unstable_by_key(|&(place, _)| place);
    counts.into_iter().map(|(_, counts)| Ok(counts?.instructions / COUNTED as u64)).collect()
}

fn budget() -> io::Result<Budget> {
    let text = std::fs::read_to_string(FILE)?;
    Budget::read(&text).map_err(|line| io::Error::other(format!("{FILE}: cannot be read: {line}")))
}

/// Compiler, C library and valgrind.
fn made_with() -> String {
    let first_line = |program: &str| {
        let output = Command::new(program).arg("--version").output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_owned())
    };
    let library = first_line("ldd").unwrap_or_default();
    let library = library.rsplit(' ').next().unwrap_or_default();
    let valgrind = callgrind::version().unwrap_or_default();
    format!("{}, glibc {library}, {valgrind}", first_line("rustc").unwrap_or_default())
}
