//! `ringdns ctl`: asks the server that runs through its control plane, or tells it to do something.
//!
//! [`exchange`] carries one request and its answer, [`show`] writes answers for people. Where the server is, and the
//! token for changes, come from [control] of its configuration; the Unix socket is preferred, for it needs no token.
//!
//! # Exit status
//! | status | when |
//! |---|---|
//! | 0 | done |
//! | 1 | the configuration given here, or the one that was to be loaded, has mistakes |
//! | 2 | the words are wrong |
//! | 3 | no server answers, or it does not let this be done |

#![allow(rustdoc::broken_intra_doc_links, reason = "tables are called as the file writes them, in brackets")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use ringdns_control::config::{Source, Token, TokenFile};
use ringdns_shard::wire::name::Name;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::print;

use exchange::{Answer, Place, Request};

mod exchange;
mod show;

/// The command line of `ringdns ctl`.
#[derive(Args)]
pub(crate) struct Ctl {
    /// The configuration file of the server: its [control] says where it is asked; without it, the built-in one
    #[arg(short, long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Where the server is asked instead: a loopback address with a port, or the path of a Unix socket
    #[arg(long, value_name = "ADDRESS", global = true, value_parser = place)]
    control: Option<Place>,
    /// The file with the token for changes, where the configuration file does not say
    #[arg(long, value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
    /// Answers with the JSON object of the server
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Says how the server does: cores, cache, upstream servers, zones.
    Status,
    /// Forgets what the cache holds for a name, so that it is asked for anew.
    Flush {
        /// The name, whatever the type.
        #[arg(value_parser = domain_name, required_unless_present = "all")]
        name: Option<Name>,
        /// The names below it, too.
        #[arg(long, requires = "name")]
        subtree: bool,
        /// The whole cache.
        #[arg(long, conflicts_with_all = ["name", "subtree"])]
        all: bool,
    },
    /// Has configuration and zones read anew, as SIGHUP does, and says what came of it.
    Reload,
}

/// How long the server may take to tell how it does.
const STATUS_LIMIT: Duration = Duration::from_secs(10);
/// … to flush.
const FLUSH_LIMIT: Duration = Duration::from_secs(40);
/// … to reload: millions of names may have to be read, at the lowest priority.
const RELOAD_LIMIT: Duration = Duration::from_secs(15 * 60);

impl Action {
    fn request(&self) -> Request {
        let (method, path, body, limit) = match self {
            Action::Status => ("GET", "/api/v1/status", Value::Null, STATUS_LIMIT),
            Action::Flush { name: Some(name), subtree, .. } => {
                let body = json!({ "name": name.to_string(), "subtree": subtree });
                ("POST", "/api/v1/cache/flush", body, FLUSH_LIMIT)
            }
            Action::Flush { name: None, .. } => ("POST", "/api/v1/cache/flush", json!({ "all": true }), FLUSH_LIMIT),
            Action::Reload => ("POST", "/api/v1/reload", Value::Null, RELOAD_LIMIT),
        };
        Request { method, path, body: if body.is_null() { String::new() } else { body.to_string() }, limit }
    }

    /// What came of it, for people.
    fn told(&self, object: &Value) -> String {
        match self {
            Action::Status => show::status(object),
            Action::Flush { .. } => show::flushed(object),
            Action::Reload => show::reloaded(object),
        }
    }
}

fn domain_name(text: &str) -> Result<Name, String> {
    text.parse::<Name>().map_err(|why| format!("it is no domain name: {}", why.0))
}

/// An address as `serve` tells it at start, or a path.
fn place(text: &str) -> Result<Place, String> {
    let address = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    match address.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(Place::Address(address)),
        Ok(_) => Err("the control plane is asked at loopback addresses only".to_owned()),
        Err(_) if text.contains('/') => Ok(Place::Socket(text.into())),
        Err(_) => Err("it is neither an address such as 127.0.0.1:8053 nor a path".to_owned()),
    }
}

/// Asks, prints, and says how it went.
pub(crate) fn run(ctl: Ctl) -> Result<ExitCode, Failure> {
    let (places, token) = whom(&ctl)?;
    let answer = exchange::exchange(&places, token.as_ref(), &ctl.action.request()).map_err(Failure::Environment)?;
    if ctl.json {
        print(&format!("{}\n", answer.object))?;
    }
    let Answer { status: 200, object } = answer else { return Err(refused(&answer)) };
    if !ctl.json {
        print(&ctl.action.told(&object))?;
    }
    match show::faults(&object) {
        faults if faults.is_empty() => Ok(ExitCode::SUCCESS),
        faults => Err(Failure::Input(faults)),
    }
}

/// Where to ask, in this order, and with which token.
fn whom(ctl: &Ctl) -> Result<(Vec<Place>, Option<Token>), Failure> {
    let given = ctl.token_file.as_deref().map(TokenFile::read).transpose().map_err(Failure::Input)?;
    let file = match (&ctl.config, &ctl.control) {
        (None, Some(_)) => None,
        (file, _) => Some(file.clone().map_or(Source::Embedded, Source::File)),
    };
    let control = file.as_ref().map(Source::control).transpose()?;
    let of_file = control.as_ref().and_then(|control| Option::clone(&control.token_file));
    let token = given.or(of_file).map(|file| file.token);
    if let Some(place) = &ctl.control {
        return Ok((vec![place.clone()], token));
    }
    let control = control.expect("it was read where no place is given");
    let socket = Option::clone(&control.socket).map(Place::Socket);
    let address = control.listen.filter(|address| address.port() != 0).map(Place::Address);
    let places: Vec<Place> = socket.into_iter().chain(address).collect();
    if places.is_empty() {
        let title = file.map_or_else(String::new, |source| source.title());
        let why = match *control.listen {
            Some(_) => {
                "`listen` in [control] is any free port; name the one that was told at start with --control ADDRESS"
            }
            None => "the control plane is turned off; set `socket` or `listen` in [control], and start the server anew",
        };
        return Err(Failure::Input(format!("{title}: {why}")));
    }
    Ok((places, token))
}

/// Why the server has not done it.
fn refused(answer: &Answer) -> Failure {
    let text = show::problem(answer.status, &answer.object);
    match answer.status {
        400 | 404 | 405 | 413 | 422 => Failure::Input(text),
        _ => Failure::Environment(text),
    }
}
