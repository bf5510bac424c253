//! Lists that the server tells part by part: zones, and what its cache holds.

use std::process::ExitCode;

use ringdns_shard::wire::name::Name;
use serde_json::Value;

use super::exchange::Request;
use super::show;
use super::table::{Column, Table};
use super::whom::Server;
use crate::failure::Failure;
use crate::print_part;

/// The most that is asked for at once.
pub(super) const PART_MAX: usize = 1_000;

/// Makes text of the next items.
type Told = Box<dyn FnMut(&[Value]) -> String>;

/// A list, and how its items are told to people.
pub(super) struct Listed {
    request: Request,
    /// The parameter that says where a part begins.
    cursor: &'static str,
    /// The member with the items.
    member: &'static str,
    /// How many items at most.
    limit: usize,
    told: Told,
    /// What is told where there is no item.
    nothing: &'static str,
}

/// A table of the items of all parts.
fn table<const N: usize>(columns: [Column; N], row: fn(&Value) -> [String; N]) -> Told {
    let mut table = Table::new(columns);
    Box::new(move |items| table.part(&items.iter().map(row).collect::<Vec<_>>()))
}

/// Zones, in the order of their names.
pub(super) fn zones(limit: usize) -> Listed {
    let told = table(show::ZONE_COLUMNS, show::zone_row);
    Listed { request: Request::look("/zones"), cursor: "after", member: "zones", limit, told, nothing: "no zones\n" }
}

/// Answers in the cache, of a name and those below it or all.
pub(super) fn cache(below: Option<&Name>, limit: usize) -> Listed {
    let request = Request::look("/cache/entries");
    let request = below.iter().fold(request, |request, name| request.with("below", &name.to_string()));
    let told = table(show::ENTRY_COLUMNS, show::entry_row);
    Listed { request, cursor: "cursor", member: "entries", limit, told, nothing: "nothing is kept\n" }
}

/// Queries in the log, newest first.
pub(super) fn queries(request: Request, limit: usize) -> Listed {
    let told = table(show::QUERY_COLUMNS, show::query_row);
    Listed { request, cursor: "cursor", member: "queries", limit, told, nothing: "no queries\n" }
}

/// Items as JSON, one a line.
pub(super) fn lines(items: &[Value]) -> String {
    items.iter().map(|item| format!("{item}\n")).collect()
}

impl Listed {
    /// Asks for part after part and prints each.
    pub(super) fn run(mut self, server: &Server, is_json: bool) -> Result<ExitCode, Failure> {
        let mut told = 0;
        let mut cursor: Option<String> = None;
        loop {
            let wanted = (self.limit - told).min(PART_MAX);
            let request = self.request.clone().with("limit", &wanted.to_string());
            let request = cursor.iter().fold(request, |request, cursor| request.with(self.cursor, cursor));
            let mut object = server.object(&request)?;
            let mut items = match object[self.member].take() {
                Value::Array(items) => items,
                _ => return Err(Failure::Environment(format!("the server's answer has no `{}`", self.member))),
            };
            // A part of the cache may have some more.
            items.truncate(self.limit - told);
            told += items.len();
            let text = match &items[..] {
                [] => String::new(),
                items if is_json => lines(items),
                items => (self.told)(items),
            };
            let next = object["next"].as_str().map(str::to_owned);
            if !print_part(&text)? {
                return Ok(ExitCode::SUCCESS);
            }
            match next {
                Some(next) if told < self.limit => {
                    if cursor.as_ref() == Some(&next) {
                        return Err(Failure::Environment("the server's list goes in circles; see its log".to_owned()));
                    }
                    cursor = Some(next);
                }
                next => return self.end(told, next.is_some(), is_json),
            }
        }
    }

    /// Says what people cannot see.
    fn end(&self, told: usize, has_more: bool, is_json: bool) -> Result<ExitCode, Failure> {
        let text = match (told, has_more) {
            _ if is_json => "",
            (0, _) => self.nothing,
            (_, true) => "and more; --limit COUNT shows them\n",
            (_, false) => "",
        };
        print_part(text).map(|_| ExitCode::SUCCESS)
    }
}
