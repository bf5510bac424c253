//! The binary `ringdns`: the command line, and the place where control plane and cores are put together.
#![forbid(unsafe_code)]

mod check;
mod ctl;
mod failure;
mod query;
mod serve;
mod top;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use ringdns_control::config::{self, Source};

use crate::failure::Failure;

#[global_allocator]
static ALLOCATOR: ringdns_rim::Memory = ringdns_rim::Memory;

/// A DNS engine for Linux: one pinned io_uring executor a CPU core, nothing shared between them.
#[derive(Parser)]
#[command(name = "ringdns", version, arg_required_else_help = true, after_help = EXIT_STATUS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_STATUS: &str = "Exit status: 0 well; 1 the input was at fault; 2 wrong usage; 3 the environment was at fault \
                           (port taken, io_uring forbidden, no permission).";

#[derive(Subcommand)]
enum Command {
    /// Runs the server in the foreground; SIGHUP reloads, SIGTERM and SIGINT drain and stop.
    Serve(File),
    /// Loads configuration and zones, and says what is wrong with them.
    Check {
        #[command(flatten)]
        file: File,
        /// Answers with one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Prints the configuration in force, defaults filled in.
    Config {
        #[command(flatten)]
        file: File,
        /// Prints a commented file with every default instead.
        #[arg(long, conflicts_with = "config")]
        default: bool,
        /// Prints the reference page instead.
        #[arg(long, hide = true, conflicts_with_all = ["config", "default"])]
        reference: bool,
    },
    /// Asks the server that runs how it does, flushes its cache, has it reload, searches its query log.
    Ctl(ctl::Ctl),
    /// Shows what the server that runs is doing: rates, latencies, cores, cache, upstream servers.
    Top(top::Top),
    /// Asks a DNS server and shows the answer, as dig does.
    Query(query::Args),
    /// Prints the completions for a shell.
    #[command(hide = true)]
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Prints the manual page, or writes the pages of all commands into a folder.
    #[command(hide = true)]
    Man {
        /// The folder; it must exist.
        folder: Option<PathBuf>,
    },
}

#[derive(Args)]
struct File {
    /// The configuration file; without it, the built-in configuration.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve(file) => serve::serve(file.config),
        Command::Check { file, json } => check::check(file.config, json),
        Command::Config { default: true, .. } => print(&config::default_file()),
        Command::Config { reference: true, .. } => print(&config::reference()),
        Command::Config { file, .. } => in_force(file.config).and_then(|text| print(&text)),
        Command::Ctl(ctl) => ctl::run(ctl),
        Command::Top(top) => top::run(&top),
        Command::Query(args) => Ok(query::run(args)),
        Command::Completions { shell } => print(&completions(shell)),
        Command::Man { folder: None } => manual().and_then(|text| print(&text)),
        Command::Man { folder: Some(folder) } => write_manual(&folder),
    };
    done.unwrap_or_else(|failure| failure.report())
}

fn in_force(file: Option<PathBuf>) -> Result<String, Failure> {
    Ok(file.map_or(Source::Embedded, Source::File).read()?.settings.to_toml())
}

/// Writes to standard output. A reader that has gone away, as `head` does, has read enough.
fn print(text: &str) -> Result<ExitCode, Failure> {
    print_part(text).map(|_| ExitCode::SUCCESS)
}

/// Writes a part of more to standard output, at once; whether anybody reads on.
fn print_part(text: &str) -> Result<bool, Failure> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::Environment(format!("standard output cannot be written: {error}"))),
    }
}

fn completions(shell: Shell) -> String {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ringdns", &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn manual() -> Result<String, Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command())
        .render(&mut page)
        .map_err(|error| Failure::Environment(format!("the manual page cannot be made: {error}")))?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

fn write_manual(folder: &Path) -> Result<ExitCode, Failure> {
    clap_mangen::generate_to(Cli::command(), folder)
        .map_err(|error| Failure::Environment(format!("{} cannot be written: {error}", folder.display())))?;
    Ok(ExitCode::SUCCESS)
}
