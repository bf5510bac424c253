//! The query log: what is in it, newest first or as it comes; ranked, or counted by time.

use std::collections::HashMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::builder::PossibleValuesParser;
use clap::error::ErrorKind;
use clap::{Args, Subcommand, ValueEnum};
use ringdns_shard::Transport;
use ringdns_shard::telemetry::log::{Outcome, Policy};
use ringdns_shard::wire::name::Name;
use serde_json::Value;

use super::exchange::Request;
use super::table::Table;
use super::text::span_in_micros;
use super::whom::Server;
use super::{at_least_one, domain_name, pages, problem, show};
use crate::failure::Failure;
use crate::{print, print_part};

/// How many queries are shown where nobody says.
const LISTED: usize = 100;
/// How many of those that are there, before those that come.
const FOLLOWED: usize = 10;
/// How often it is asked what has come.
const FOLLOW_PAUSE: Duration = Duration::from_secs(1);
/// Cores hand over what they have logged when there is much of it, and now and then: what has happened by the time of
/// the newest query may still come for so many microseconds.
const LATE_MICROS: u64 = 10_000_000;
/// Parts of the log that are asked for at one look. What came beyond is left out, and that is said.
const PARTS_MAX: usize = 20;
/// How long the server may look for an answer.
const SEARCH_LIMIT: Duration = Duration::from_secs(30);

/// The command line of `ringdns ctl queries`.
#[derive(Args)]
pub(super) struct Queries {
    #[command(flatten)]
    filter: Filter,
    /// How many at most: 100, or 10 of those that are ranked or that came before those that follow
    #[arg(long, value_name = "COUNT", global = true, value_parser = at_least_one)]
    limit: Option<usize>,
    /// Shows those that come, too, until it is interrupted; oldest first
    #[arg(long)]
    follow: bool,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Ranks names, clients and others by the number of queries.
    Top {
        /// What is ranked.
        #[arg(default_value = "names")]
        of: Ranked,
    },
    /// Counts queries by time.
    Series {
        /// The seconds that are counted together.
        #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
        bucket: u32,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Ranked {
    Names,
    BlockedNames,
    Clients,
    BlockedClients,
    Types,
    Rcodes,
    Outcomes,
    Policies,
    Transports,
    Upstreams,
}

fn outcomes() -> PossibleValuesParser {
    PossibleValuesParser::new(Outcome::ALL.iter().map(|outcome| outcome.name()))
}

fn policies() -> PossibleValuesParser {
    PossibleValuesParser::new(Policy::ALL.iter().map(|policy| policy.name()))
}

fn transports() -> PossibleValuesParser {
    PossibleValuesParser::new(Transport::ALL.iter().map(|transport| transport.name()))
}

/// Which queries.
#[derive(Args)]
struct Filter {
    /// From then on: as 2026-11-20T12:00:00Z, in seconds since 1970, or how long ago, as 15m or 2h
    #[arg(long, value_name = "TIME", global = true)]
    from: Option<String>,
    /// Before then
    #[arg(long, value_name = "TIME", global = true)]
    to: Option<String>,
    /// Of this client, or of this network, as 192.0.2.0/24
    #[arg(long, value_name = "ADDRESS", global = true)]
    client: Option<String>,
    /// For this name
    #[arg(long, value_name = "NAME", global = true, value_parser = domain_name)]
    name: Option<Name>,
    /// For the names below it, too
    #[arg(long, global = true)]
    subtree: bool,
    /// For this type
    #[arg(long = "type", value_name = "TYPE", global = true)]
    rtype: Option<String>,
    /// Answered with this response code
    #[arg(long, value_name = "RCODE", global = true)]
    rcode: Option<String>,
    /// That came so
    #[arg(long, global = true, value_parser = transports())]
    transport: Option<String>,
    /// Of which this came
    #[arg(long, global = true, value_parser = outcomes())]
    outcome: Option<String>,
    /// For which this was the reason
    #[arg(long, global = true, value_parser = policies())]
    policy: Option<String>,
    /// Refused or dropped by a policy; `--blocked=false`: all others
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    blocked: Option<bool>,
    /// Answered after so long or later, as 5ms
    #[arg(long, value_name = "SPAN", global = true, value_parser = span_in_micros)]
    min_latency: Option<u64>,
}

/// A time as the server takes it: of a span, that long before `now`, both in microseconds.
fn moment(text: &str, now: u64) -> String {
    match span_in_micros(text) {
        Ok(ago) => {
            let then = now.saturating_sub(ago);
            format!("{}.{:06}", then / 1_000_000, then % 1_000_000)
        }
        Err(_) => text.to_owned(),
    }
}

/// Microseconds since the beginning of 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

impl Filter {
    /// The parameters of a request.
    fn parameters(&self, now: u64) -> Vec<(&'static str, String)> {
        let parameters = [
            ("from", self.from.as_ref().map(|text| moment(text, now))),
            ("to", self.to.as_ref().map(|text| moment(text, now))),
            ("client", self.client.clone()),
            ("name", self.name.as_ref().map(ToString::to_string)),
            ("subtree", self.subtree.then(|| "true".to_owned())),
            ("type", self.rtype.clone()),
            ("rcode", self.rcode.clone()),
            ("transport", self.transport.clone()),
            ("outcome", self.outcome.clone()),
            ("policy", self.policy.clone()),
            ("blocked", self.blocked.map(|is| is.to_string())),
            ("min_latency_us", self.min_latency.map(|micros| micros.to_string())),
        ];
        parameters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// A request for what is at `path` and passes.
    fn request(&self, path: &str) -> Request {
        let request = Request::look(path).within(SEARCH_LIMIT);
        self.parameters(now()).iter().fold(request, |request, (name, value)| request.with(name, value))
    }
}

impl Queries {
    pub(super) fn run(self, server: &Server, is_json: bool) -> Result<ExitCode, Failure> {
        let is_bounded = self.filter.from.is_some() || self.filter.to.is_some();
        if self.follow && (self.action.is_some() || is_bounded) {
            let why = "--follow cannot be used with `top`, `series`, --from or --to\n";
            clap::Error::raw(ErrorKind::ArgumentConflict, why).exit();
        }
        if self.filter.subtree && self.filter.name.is_none() {
            clap::Error::raw(ErrorKind::MissingRequiredArgument, "--subtree needs --name NAME\n").exit();
        }
        match self.action {
            Some(Action::Top { of }) => {
                let of = of.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
                let request = self.filter.request("/queries/top").with("of", &of);
                let limit = self.limit.map(|limit| limit.to_string());
                let request = limit.iter().fold(request, |request, limit| request.with("limit", limit));
                tell(server, &request, show::ranked, is_json)
            }
            Some(Action::Series { bucket }) => {
                let request = self.filter.request("/queries/series").with("bucket", &bucket.to_string());
                tell(server, &request, show::series, is_json)
            }
            None if self.follow => follow(server, &self.filter, self.limit.unwrap_or(FOLLOWED), is_json),
            None => pages::queries(self.filter.request("/queries"), self.limit.unwrap_or(LISTED)).run(server, is_json),
        }
    }
}

fn tell(server: &Server, request: &Request, told: fn(&Value) -> String, is_json: bool) -> Result<ExitCode, Failure> {
    let answer = server.ask(request)?;
    if is_json {
        print(&format!("{}\n", answer.object))?;
    }
    match answer.is_well() {
        false => Err(problem::refused(&answer)),
        true if is_json => Ok(ExitCode::SUCCESS),
        true => print(&told(&answer.object)),
    }
}

/// Shows the last queries, then those that come, for as long as somebody reads.
fn follow(server: &Server, filter: &Filter, count: usize, is_json: bool) -> Result<ExitCode, Failure> {
    let mut table = Table::new(show::QUERY_COLUMNS);
    let mut tell = |queries: &[Value]| match is_json {
        true => print_part(&pages::lines(queries)),
        false => print_part(&table.part(&queries.iter().map(show::query_row).collect::<Vec<_>>())),
    };
    let request = filter.request("/queries");
    let mut seen = Seen::default();
    let (mut queries, _) = parts(server, &request, count)?;
    if let Some(from) = Seen::of(&queries).from() {
        // All that is there of the time for which something may still come.
        let (recent, _) = parts(server, &since(&request, from), usize::MAX)?;
        queries.retain(|query| moment_of(query) < from);
        seen = Seen::of(&recent);
        queries = recent.into_iter().chain(queries).take(count).collect();
    }
    queries.reverse();
    let mut is_read = tell(&queries)?;
    while is_read {
        thread::sleep(FOLLOW_PAUSE);
        let request = seen.from().map_or_else(|| request.clone(), |from| since(&request, from));
        let (recent, has_more) = parts(server, &request, usize::MAX)?;
        if has_more {
            // Where nobody reads it, those that are shown still tell.
            let _ = writeln!(io::stderr(), "more queries came than are asked for at once: some are left out");
        }
        let fresh = seen.fresh(recent);
        is_read = fresh.is_empty() || tell(&fresh)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The same, from so many microseconds since the beginning of 1970 on.
fn since(request: &Request, from: u64) -> Request {
    request.clone().with("from", &format!("{}.{:06}", from / 1_000_000, from % 1_000_000))
}

/// The newest queries that a request is for, newest first: `count` of them, or as many as are asked for at once, and
/// whether there are more.
fn parts(server: &Server, request: &Request, count: usize) -> Result<(Vec<Value>, bool), Failure> {
    let mut queries = Vec::new();
    let mut cursor: Option<String> = None;
    for _ in 0..PARTS_MAX {
        let wanted = (count - queries.len()).min(pages::PART_MAX);
        let part = request.clone().with("limit", &wanted.to_string());
        let part = cursor.iter().fold(part, |part, cursor| part.with("cursor", cursor));
        let mut object = server.object(&part)?;
        if let Value::Array(items) = object["queries"].take() {
            queries.extend(items.into_iter().take(wanted));
        }
        cursor = object["next"].as_str().map(str::to_owned);
        if cursor.is_none() || queries.len() >= count {
            break;
        }
    }
    Ok((queries, cursor.is_some()))
}

fn moment_of(query: &Value) -> u64 {
    query["unix_us"].as_u64().unwrap_or(0)
}

/// Queries that have been shown: how many of each, for two may be the same to the last octet.
#[derive(Debug, Default)]
struct Seen {
    queries: HashMap<String, usize>,
    /// The time of the newest, in microseconds since the beginning of 1970.
    newest: Option<u64>,
}

impl Seen {
    fn of(queries: &[Value]) -> Seen {
        let mut seen = Seen::default();
        for query in queries {
            *seen.queries.entry(query.to_string()).or_default() += 1;
            seen.newest = seen.newest.max(Some(moment_of(query)));
        }
        seen
    }

    /// From when on something may still come that has not been seen.
    fn from(&self) -> Option<u64> {
        self.newest.map(|newest| newest.saturating_sub(LATE_MICROS))
    }

    /// Those of `recent`, which are all from [`Seen::from`] on and newest first, that have not been seen; oldest first.
    fn fresh(&mut self, mut recent: Vec<Value>) -> Vec<Value> {
        let mut before = std::mem::replace(self, Seen::of(&recent));
        self.newest = self.newest.max(before.newest);
        let mut is_fresh = |query: &Value| match before.queries.get_mut(&query.to_string()) {
            Some(count @ 1..) => {
                *count -= 1;
                false
            }
            _ => true,
        };
        // Oldest first: what was seen of several that are the same is the older.
        recent.reverse();
        recent.retain(|query| is_fresh(query));
        recent
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn query(unix_us: u64, name: &str) -> Value {
        json!({ "unix_us": unix_us, "name": name })
    }

    #[test]
    fn a_time_may_be_how_long_ago_it_was() {
        let now = 1_700_000_000_500_000;
        for (text, told) in [
            ("15m", "1699999100.500000"),
            ("250ms", "1700000000.250000"),
            ("99999d", "0.000000"),
            ("1700000000", "1700000000"),
            ("2026-11-20T12:00:00Z", "2026-11-20T12:00:00Z"),
            ("", ""),
        ] {
            assert_eq!(moment(text, now), told);
        }
    }

    #[test]
    fn what_has_been_seen_is_not_fresh_and_what_comes_late_is() {
        let mut seen = Seen::of(&[query(20_000_000, "b"), query(19_000_000, "a")]);
        assert_eq!(seen.from(), Some(10_000_000));
        // The same query twice in a microsecond, and one that came late.
        let recent =
            vec![query(20_000_000, "b"), query(20_000_000, "b"), query(19_500_000, "late"), query(19_000_000, "a")];
        assert_eq!(seen.fresh(recent.clone()), [query(19_500_000, "late"), query(20_000_000, "b")]);
        assert_eq!(seen.fresh(recent), [] as [Value; 0]);
        assert_eq!(seen.fresh(vec![query(40_000_000, "c")]), [query(40_000_000, "c")]);
        assert_eq!(seen.from(), Some(30_000_000));
        assert_eq!(seen.fresh(Vec::new()), [] as [Value; 0]);
        assert_eq!((seen.from(), Seen::default().from()), (Some(30_000_000), None));
    }
}
