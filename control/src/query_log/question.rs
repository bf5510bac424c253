//! What can be asked of the query log, and what the answers look like.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ringdns_shard::guard::Network;
use ringdns_shard::telemetry::log::{Outcome, Policy};
use ringdns_shard::transport::Transport;
use ringdns_shard::wire::name::Name;

/// Rows that a page has at most; a longer limit is cut.
pub(crate) const PAGE_ROWS_MAX: usize = 1_000;
/// Places that a ranking has at most; a longer limit is cut.
pub(crate) const RANKS_MAX: usize = 1_000;
/// Buckets that a series has at most, empty ones counted.
pub(crate) const BUCKETS_MAX: u64 = 10_000;

/// Which queries are meant: those for which everything holds that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    /// They came at this time or later, in microseconds since the beginning of 1970.
    pub(crate) from: Option<u64>,
    /// They came before this time.
    pub(crate) to: Option<u64>,
    /// The client, as far as its address is kept, is in this network.
    pub(crate) client: Option<Network>,
    /// They ask for this name.
    pub(crate) name: Option<Name>,
    /// They ask for this name, or one below it.
    pub(crate) subtree: Option<Name>,
    pub(crate) qtype: Option<u16>,
    /// The response code, all twelve bits; where nothing was sent there is none.
    pub(crate) rcode: Option<u16>,
    pub(crate) transport: Option<Transport>,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) policy: Option<Policy>,
    /// Whether they were blocked: a policy had them refused or dropped.
    pub(crate) blocked: Option<bool>,
    /// The client waited so long at least.
    pub(crate) min_latency_micros: Option<u32>,
}

/// Which part of the answer is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    /// What follows here; `None`: the newest.
    pub(crate) cursor: Option<Cursor>,
    /// So many rows at most, [`PAGE_ROWS_MAX`] whatever it says.
    pub(crate) limit: usize,
}

/// A place in the log: what follows is older. Whoever asks hands back what was given, and need not know what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor(pub(super) i64);

/// Why a text is no [`Cursor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadCursor;

impl fmt::Display for BadCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is no cursor; send what an answer had as `next`")
    }
}

impl std::error::Error for BadCursor {}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "q{:x}", self.0)
    }
}

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Cursor, BadCursor> {
        let digits = text.strip_prefix('q').filter(|digits| digits.bytes().all(|octet| octet.is_ascii_hexdigit()));
        let id = digits.and_then(|digits| i64::from_str_radix(digits, 16).ok());
        id.map(Cursor).ok_or(BadCursor)
    }
}

/// A query in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Logged {
    /// Its number: later rows have higher ones.
    pub(crate) id: i64,
    /// When it came, in microseconds since the beginning of 1970.
    pub(crate) unix_micros: u64,
    /// The core that answered it.
    pub(crate) core: u16,
    /// Who asked, as far as it is kept.
    pub(crate) client: IpAddr,
    /// The name in presentation format, with its last dot; `None`: the request could not be read so far.
    pub(crate) name: Option<String>,
    pub(crate) qtype: u16,
    /// The response code, all twelve bits; `None`: nothing was sent.
    pub(crate) rcode: Option<u16>,
    pub(crate) transport: Transport,
    pub(crate) outcome: Outcome,
    pub(crate) policy: Policy,
    /// From when it came until its reply was sent.
    pub(crate) latency_micros: u32,
    pub(crate) reply_octets: u16,
    /// Whom the answer was fetched from for this query, as `udp://192.0.2.1:53`.
    pub(crate) upstream: Option<String>,
    pub(crate) dnssec_ok: bool,
    /// It stands for so many queries: the sample that was in force.
    pub(crate) weight: u32,
}

/// A page of rows, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) rows: Vec<Logged>,
    /// Where to go on; `None`: there is no more. Where little matches, a page may have fewer rows than its limit, or none,
    /// though there is more: the time for it was up.
    pub(crate) next: Option<Cursor>,
}

/// What came in a span of time. Queries are counted by their weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// When it begins, in seconds since 1970: a multiple of its width.
    pub(crate) unix_seconds: u64,
    /// Rows of the log.
    pub(crate) rows: u64,
    /// The queries that they stand for.
    pub(crate) queries: u64,
    /// Those that were blocked.
    pub(crate) blocked: u64,
    /// By outcome, in the order of [`Outcome::ALL`].
    pub(crate) outcomes: [u64; Outcome::ALL.len()],
    /// The sum of what clients waited: divided by `queries`, the mean.
    pub(crate) latency_micros: u64,
}

/// What is ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Top {
    /// Names in presentation format.
    Names,
    /// The same of queries that were blocked.
    BlockedNames,
    /// Addresses of clients, as far as they are kept.
    Clients,
    /// The same of queries that were blocked.
    BlockedClients,
    /// Types asked for, by their mnemonics.
    Types,
    /// Response codes, by their mnemonics; `none` where nothing was sent.
    Rcodes,
    /// What came of the queries, by [`Outcome::name`].
    Outcomes,
    /// What had its way, by [`Policy::name`].
    Policies,
    /// How they came, by [`Transport::name`].
    Transports,
    /// Upstreams whose answers were fetched, as `udp://192.0.2.1:53`.
    Upstreams,
}

impl Top {
    /// Everything that can be ranked.
    pub(crate) const ALL: [Top; 10] = [
        Top::Names,
        Top::BlockedNames,
        Top::Clients,
        Top::BlockedClients,
        Top::Types,
        Top::Rcodes,
        Top::Outcomes,
        Top::Policies,
        Top::Transports,
        Top::Upstreams,
    ];

    /// What the ranking is called by those who ask for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Top::Names => "names",
            Top::BlockedNames => "blocked_names",
            Top::Clients => "clients",
            Top::BlockedClients => "blocked_clients",
            Top::Types => "types",
            Top::Rcodes => "rcodes",
            Top::Outcomes => "outcomes",
            Top::Policies => "policies",
            Top::Transports => "transports",
            Top::Upstreams => "upstreams",
        }
    }
}

/// A place in a ranking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ranked {
    /// What it is of; empty for the name of requests that could not be read.
    pub(crate) key: String,
    /// Rows of the log.
    pub(crate) rows: u64,
    /// The queries that they stand for.
    pub(crate) queries: u64,
}

/// A ranking, the most queries first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranking {
    pub(crate) places: Vec<Ranked>,
    /// Counts are too low by at most so many queries; 0: they are exact. Else there were more keys than are counted at a
    /// time, and those with the fewest queries were forgotten on the way.
    pub(crate) error: u64,
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotFound {
    /// No queries are logged: `enabled` of [query_log] is false.
    Off,
    /// The data base is not open; why.
    Trouble(String),
    /// As many questions as may be are being answered.
    Busy,
    /// It takes too long.
    TooLong,
    /// The series would have more than [`BUCKETS_MAX`] buckets.
    TooManyBuckets,
    /// The data base cannot be read; why.
    Failed(String),
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotFound::Off => f.write_str("no queries are logged; set `enabled = true` in [query_log]"),
            NotFound::Trouble(why) => write!(f, "the query log is not open: {why}"),
            NotFound::Busy => f.write_str("as many questions as may be are being answered; ask again"),
            NotFound::TooLong => f.write_str("it takes too long; ask for a shorter span of time, or for less"),
            NotFound::TooManyBuckets => {
                write!(f, "there would be more than {BUCKETS_MAX} buckets; ask for longer ones, or for a shorter span")
            }
            NotFound::Failed(why) => write!(f, "the query log cannot be read: {why}"),
        }
    }
}

impl std::error::Error for NotFound {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_was_given() {
        for id in [0, 1, 262_144, i64::MAX] {
            assert_eq!(Cursor(id).to_string().parse(), Ok(Cursor(id)));
        }
        for text in ["", "q", "1f", "q-1", "q+1", "q8000000000000000", "q1 ", "qg"] {
            assert_eq!(text.parse::<Cursor>(), Err(BadCursor), "{text}");
        }
    }
}
