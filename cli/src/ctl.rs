//! `ringdns ctl`: asks the server that runs through its control plane, or tells it to do something.
//!
//! [`exchange`] carries one request and its answer, [`whom`] knows where the server is and which token it wants;
//! [`show`] and its neighbours write answers for people, [`pages`] and [`queries`] ask for what is told part by part.
//! With `--json` the server's own objects are printed: one, or of a list one a line.
//!
//! # Exit status
//! | status | when |
//! |---|---|
//! | 0 | done |
//! | 1 | the configuration given here, or the one that was to be loaded, has mistakes; there is no such zone |
//! | 2 | the words are wrong |
//! | 3 | no server answers, or it does not let this be done |

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use ringdns_shard::wire::name::Name;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::print;

use exchange::{Request, escaped};
use pages::Listed;
use whom::{Server, Whom};

pub(crate) mod exchange;
mod pages;
mod problem;
mod queries;
pub(crate) mod show;
pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod whom;

/// The command line of `ringdns ctl`.
#[derive(Args)]
pub(crate) struct Ctl {
    #[command(flatten)]
    whom: Whom,
    /// Answers with the JSON object of the server; of lists, with one a line
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Says how the server does: cores, cache, upstream servers, zones.
    Status,
    /// Says what each core does: queries, replies, latencies, what it dropped.
    Cores,
    /// Prints the configuration that the server goes by.
    Config,
    /// Has configuration and zones read anew, as SIGHUP does, and says what came of it.
    Reload,
    /// Lists the zones, shows one, has one read or transferred anew.
    Zones {
        #[command(subcommand)]
        action: Option<Zones>,
    },
    /// Says how each upstream server does.
    Upstreams,
    /// Says what the cache holds; looks a name up in it, lists it, flushes it, writes it to its file.
    Cache {
        #[command(subcommand)]
        action: Option<Cache>,
    },
    /// Forgets what the cache holds for a name, so that it is asked for anew.
    Flush(Flush),
    /// Has the server say that it is not ready, and stop after a while as SIGTERM does.
    Drain {
        /// The seconds until it stops, 3600 at most.
        #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=3_600))]
        seconds: u32,
    },
    /// Tells the level of the server's log, or sets it until the next reload.
    Log {
        /// The level.
        level: Option<Level>,
    },
    /// Searches the query log; `top` ranks what is in it, `series` counts it by time.
    Queries(Box<queries::Queries>),
}

#[derive(Subcommand)]
enum Zones {
    /// Lists them in the order of their names.
    List {
        /// How many at most; without it, all.
        #[arg(long, value_name = "COUNT", value_parser = at_least_one)]
        limit: Option<usize>,
    },
    /// Shows one.
    Show {
        /// Its name.
        #[arg(value_parser = domain_name)]
        name: Name,
    },
    /// Has one read anew from its file, or asks its primaries.
    Reload {
        /// Its name.
        #[arg(value_parser = domain_name)]
        name: Name,
    },
}

#[derive(Subcommand)]
enum Cache {
    /// Says what each core's part holds.
    Status,
    /// Shows the answers that are kept for a name.
    Lookup {
        /// The name, whatever the type.
        #[arg(value_parser = domain_name)]
        name: Name,
    },
    /// Lists what is kept.
    List {
        /// This name, and the names below it.
        #[arg(long, value_name = "NAME", value_parser = domain_name)]
        below: Option<Name>,
        /// How many at most.
        #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = at_least_one)]
        limit: usize,
    },
    /// Forgets what is kept for a name, so that it is asked for anew.
    Flush(Flush),
    /// Writes it to its file now.
    Dump,
}

#[derive(Args)]
struct Flush {
    /// The name, whatever the type.
    #[arg(value_parser = domain_name, required_unless_present = "all")]
    name: Option<Name>,
    /// The names below it, too.
    #[arg(long, requires = "name")]
    subtree: bool,
    /// The whole cache.
    #[arg(long, conflicts_with_all = ["name", "subtree"])]
    all: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// How long the server may take to flush.
const FLUSH_LIMIT: Duration = Duration::from_secs(40);
/// … to write its cache.
const DUMP_LIMIT: Duration = Duration::from_secs(5 * 60);
/// … to reload: millions of names may have to be read, at the lowest priority.
const RELOAD_LIMIT: Duration = Duration::from_secs(15 * 60);

/// What is asked, and how the answer is told to people.
struct Errand {
    request: Request,
    told: fn(&Value) -> String,
}

fn errand(request: Request, told: fn(&Value) -> String) -> Work {
    Work::Errand(Errand { request, told })
}

/// What an action comes to.
enum Work {
    Errand(Errand),
    List(Listed),
    Queries(Box<queries::Queries>),
}

impl Action {
    fn work(self) -> Work {
        match self {
            Action::Status => errand(Request::look("/status"), show::status),
            Action::Cores => errand(Request::look("/cores"), show::cores),
            Action::Config => errand(Request::look("/config"), show::config),
            Action::Reload => {
                errand(Request::change("POST", "/reload", &Value::Null).within(RELOAD_LIMIT), show::reloaded)
            }
            Action::Zones { action } => action.unwrap_or(Zones::List { limit: None }).work(),
            Action::Upstreams => errand(Request::look("/upstreams"), show::upstreams),
            Action::Cache { action } => action.unwrap_or(Cache::Status).work(),
            Action::Flush(flush) => flush.work(),
            Action::Drain { seconds } => {
                errand(Request::change("POST", "/drain", &json!({ "seconds": seconds })), show::draining)
            }
            Action::Log { level: None } => errand(Request::look("/log"), show::level),
            Action::Log { level: Some(level) } => {
                let word = format!("{level:?}").to_ascii_lowercase();
                errand(Request::change("PUT", "/log", &json!({ "level": word })), show::level)
            }
            Action::Queries(queries) => Work::Queries(queries),
        }
    }
}

impl Zones {
    fn work(self) -> Work {
        let one = |name: &Name| format!("/zones/{}", escaped(&name.to_string()));
        match self {
            Zones::List { limit } => Work::List(pages::zones(limit.unwrap_or(usize::MAX))),
            Zones::Show { name } => errand(Request::look(one(&name)), show::zone),
            Zones::Reload { name } => {
                let request = Request::change("POST", one(&name) + "/reload", &Value::Null);
                errand(request.within(RELOAD_LIMIT), show::zone_reloaded)
            }
        }
    }
}

impl Cache {
    fn work(self) -> Work {
        match self {
            Cache::Status => errand(Request::look("/cache"), show::cache),
            Cache::Lookup { name } => {
                errand(Request::look("/cache/lookup").with("name", &name.to_string()), show::looked_up)
            }
            Cache::List { below, limit } => Work::List(pages::cache(below.as_ref(), limit)),
            Cache::Flush(flush) => flush.work(),
            Cache::Dump => {
                errand(Request::change("POST", "/cache/dump", &Value::Null).within(DUMP_LIMIT), show::dumped)
            }
        }
    }
}

impl Flush {
    fn work(self) -> Work {
        let body = match self.name {
            Some(name) => json!({ "name": name.to_string(), "subtree": self.subtree }),
            None => json!({ "all": true }),
        };
        errand(Request::change("POST", "/cache/flush", &body).within(FLUSH_LIMIT), show::flushed)
    }
}

fn domain_name(text: &str) -> Result<Name, String> {
    text.parse::<Name>().map_err(|why| format!("it is no domain name: {}", why.0))
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("it is no number from 1 on".to_owned()),
        Ok(count) => Ok(count),
    }
}

/// Asks, prints, and says how it went.
pub(crate) fn run(ctl: Ctl) -> Result<ExitCode, Failure> {
    let server = ctl.whom.server()?;
    match ctl.action.work() {
        Work::Errand(errand) => run_errand(&server, &errand, ctl.json),
        Work::List(list) => list.run(&server, ctl.json),
        Work::Queries(queries) => queries.run(&server, ctl.json),
    }
}

fn run_errand(server: &Server, errand: &Errand, is_json: bool) -> Result<ExitCode, Failure> {
    let answer = server.ask(&errand.request)?;
    if is_json {
        print(&format!("{}\n", answer.object))?;
    }
    if !answer.is_well() {
        return Err(problem::refused(&answer));
    }
    if !is_json {
        print(&(errand.told)(&answer.object))?;
    }
    match problem::faults(&answer.object) {
        faults if faults.is_empty() => Ok(ExitCode::SUCCESS),
        faults => Err(Failure::Input(faults)),
    }
}
