//! ringdns beside its peers: servers in a network namespace of their own, on one CPU, flooded from another one, in turn;
//! replies counted by whoever asks, CPU time exact from the kernel.
//!
//! A scenario (`scenario`) is some cases, each with the servers that can do it (`servers`, `configuration`). The servers of a
//! case run one after the other, several times around (`session`), so that what disturbs the machine disturbs all alike, and
//! ratios (`table`) are taken within a round. Floods come from `kxdpgun` or `dnsperf` (`generator`); where each
//! query must be followed, from clients of ours (`asker`, `stream`). `floor` is the least that anybody pays.

pub mod asker;
pub mod batch;
pub mod configuration;
pub mod data;
pub mod floor;
pub mod generator;
pub mod machine;
pub mod namespace;
pub mod plot;
pub mod process;
pub mod report;
pub mod scenario;
pub mod servers;
pub mod session;
pub mod stream;
pub mod table;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use generator::Generator;
use machine::Machine;
use session::Session;

/// Measures ringdns beside the servers that are installed here. Needs root, for network namespaces; dnsperf or, better,
/// kxdpgun (knot-dnsutils); iproute2, and taskset.
#[derive(Clone, Debug, Parser)]
#[command(name = "scripts/bench")]
pub struct Options {
    /// What to measure; all of it unless told.
    #[arg(value_enum)]
    pub scenarios: Vec<Scenario>,
    /// Runs of each server in a case, in turn.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub runs: u64,
    /// Seconds of a run.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub seconds: u64,
    /// Queries a second that a flood offers.
    #[arg(long, default_value_t = 700_000, value_parser = clap::value_parser!(u64).range(1000..=10_000_000))]
    pub offered: u64,
    /// Names of a zone.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1000..=1_000_000))]
    pub names: u32,
    /// Names of a large zone, and cuts of a zone of delegations.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1000..=10_000_000))]
    pub many: u32,
    /// Also what takes long and much memory: a cache of 5,000,000 answers.
    #[arg(long)]
    pub large: bool,
    /// These servers alone, beside ringdns.
    #[arg(long, value_delimiter = ',')]
    pub servers: Vec<String>,
    /// Who floods; kxdpgun unless told, or dnsperf where it is not installed.
    #[arg(long, value_enum)]
    pub generator: Option<Generator>,
    /// The ringdns to measure.
    #[arg(long, default_value = "target/release/ringdns")]
    pub ringdns: PathBuf,
    /// Prints JSON with every sample in place of tables.
    #[arg(long)]
    pub json: bool,
    /// Writes a page and a plot of each scenario to bench/results.
    #[arg(long)]
    pub write: bool,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Zones under flood: names, many names, delegations, proofs of absence.
    Auth,
    /// Cached answers under flood, with DO and without.
    Cache,
    /// Questions that no cache has, before an origin.
    Miss,
    /// TCP: connections that stay, with pipelining, and one for each query.
    Tcp,
    /// Loading and reloading zones.
    Load,
    /// What the kernel's UDP path costs, whatever a server does.
    Floor,
    /// Answerers in Python.
    Python,
    /// Times of replies at half of saturation; CPU time without queries.
    Latency,
    /// One CPU and two; small and large zones and caches.
    Scaling,
    /// Octets a name of a zone and an answer in a cache.
    Memory,
}

/// Measures, and tells what came of it.
#[must_use]
pub fn run(options: Options) -> ExitCode {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("scripts/bench needs root, for network namespaces");
        return ExitCode::from(2);
    }
    match measure(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("scripts/bench: {error}");
            ExitCode::from(3)
        }
    }
}

fn measure(options: &Options) -> io::Result<()> {
    let scenarios = if options.scenarios.is_empty() { Scenario::value_variants() } else { &options.scenarios };
    let mut session = Session::new(options.clone(), scenarios)?;
    let machine = Machine::here(session.programs());
    if !options.json {
        print!("{}", machine.text());
    }
    let mut values = Vec::new();
    for scenario in scenarios {
        let report = scenario::measure(*scenario, &mut session)?;
        if options.json {
            values.push(report.json());
        } else {
            print!("\n{}", report.text());
        }
        if options.write {
            let page = report.write(&PathBuf::from("bench/results"), &machine, &command(options, report.scenario))?;
            eprintln!("{}", page.display());
        }
    }
    if options.json {
        println!("{}", serde_json::json!({ "machine": machine.json(), "scenarios": values }));
    }
    Ok(())
}

/// The command that measures one scenario like this.
fn command(options: &Options, scenario: &str) -> String {
    let mut command = format!("scripts/bench {scenario} --runs {} --seconds {}", options.runs, options.seconds);
    for (name, value, default) in [
        ("offered", options.offered, 700_000),
        ("names", u64::from(options.names), 100_000),
        ("many", u64::from(options.many), 1_000_000),
    ] {
        if value != default {
            command.push_str(&format!(" --{name} {value}"));
        }
    }
    if let Some(generator) = options.generator.and_then(|generator| generator.to_possible_value()) {
        command.push_str(&format!(" --generator {}", generator.get_name()));
    }
    if options.large {
        command.push_str(" --large");
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn options_are_read() {
        Options::command().debug_assert();
        let options = Options::parse_from(["bench", "auth", "cache", "--runs", "2", "--servers", "nsd,knot"]);
        assert_eq!(options.scenarios, [Scenario::Auth, Scenario::Cache]);
        assert_eq!((options.runs, options.seconds, options.servers.len()), (2, 4, 2));
        assert!(Options::try_parse_from(["bench", "nothing"]).is_err());
        assert!(Options::try_parse_from(["bench", "--runs", "0"]).is_err());
    }

    #[test]
    fn a_page_says_how_it_was_made() {
        let options = Options::parse_from(["bench", "auth", "--runs", "2", "--names", "5000"]);
        assert_eq!(command(&options, "auth"), "scripts/bench auth --runs 2 --seconds 4 --names 5000");
    }
}
