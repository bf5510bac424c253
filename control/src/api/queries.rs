//! The query log: rows, counts by spans of time, rankings.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use domain::base::iana::{OptRcode, Rtype};
use ringdns_shard::telemetry::log::{Outcome, Policy};
use ringdns_shard::transport::Transport;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::asked::{domain_name, limit, parameters, value};
use super::moment::{self, MICROS, Moment};
use super::problem::Problem;
use super::records::{rcode_text, type_text};
use super::{Answer, Answered};
use crate::http::Pages;
use crate::query_log::{Filter, Logged, NotFound, Page, QueryLog, Top};

/// Rows of a part where nobody says how many.
const ROWS_DEFAULT: usize = 100;
/// Places of a ranking where nobody says how many.
const RANKS_DEFAULT: usize = 10;
/// Seconds of a bucket where nobody says how many.
const BUCKET_DEFAULT: u32 = 60;
/// A bucket has so many seconds at most: a year.
const BUCKET_MAX: u32 = 366 * 86_400;

/// Which queries: those for which everything holds that is given.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct FilterAsked {
    /// They came at this time or later: RFC 3339, or seconds since 1970.
    from: Option<String>,
    /// They came before this time.
    to: Option<String>,
    /// The client's address, or a network such as 192.0.2.0/24.
    client: Option<String>,
    /// The name asked for.
    name: Option<String>,
    /// With `name`: names below it, too.
    #[param(value_type = Option<bool>)]
    subtree: Option<String>,
    /// The type asked for: AAAA, TYPE65280.
    #[serde(rename = "type")]
    #[param(rename = "type")]
    qtype: Option<String>,
    /// The response code: NXDOMAIN, 23.
    rcode: Option<String>,
    /// How they came: `udp` or `tcp`.
    transport: Option<String>,
    /// What came of them: `zone`, `cache`, `stale`, `resolved`, `failed`, `local`, `transfer`, `refused` or `dropped`.
    outcome: Option<String>,
    /// What had its way: `none`, `acl`, `route`, `type`, `rate`, `rrl`, `bound` or `signature`.
    policy: Option<String>,
    /// Whether a policy had them refused or dropped.
    #[param(value_type = Option<bool>)]
    blocked: Option<String>,
    /// The client waited so many microseconds at least.
    #[param(value_type = Option<u32>)]
    min_latency_us: Option<String>,
}

/// A word of a list, by its name.
fn word<T: Copy>(
    parameter: &str,
    text: Option<&str>,
    all: &[T],
    name: impl Fn(T) -> &'static str,
) -> Result<Option<T>, Problem> {
    let known: Vec<&str> = all.iter().map(|one| name(*one)).collect();
    value(parameter, text, &known.join(", "), |text| all.iter().copied().find(|one| name(*one) == text))
}

fn flag(parameter: &str, text: Option<&str>) -> Result<Option<bool>, Problem> {
    value(parameter, text, "true, false", |text| text.parse().ok())
}

impl FilterAsked {
    fn filter(&self) -> Result<Filter, Problem> {
        let time = |parameter, text: &Option<String>| value(parameter, text.as_deref(), moment::ACCEPTED, moment::read);
        let name = self.name.as_deref().map(|name| domain_name("`name`", name)).transpose()?;
        let subtree = flag("subtree", self.subtree.as_deref())?;
        if subtree.is_some() && name.is_none() {
            return Err(Problem::wrong("`subtree` is about `name`: say which"));
        }
        let (name, subtree) = if subtree == Some(true) { (None, name) } else { (name, None) };
        Ok(Filter {
            from: time("from", &self.from)?,
            to: time("to", &self.to)?,
            client: value(
                "client",
                self.client.as_deref(),
                "an address, or a network such as 192.0.2.0/24 or 2001:db8::/32",
                |text| text.parse().ok(),
            )?,
            name,
            subtree,
            qtype: value("type", self.qtype.as_deref(), "a type such as AAAA or TYPE65280", read_type)?,
            rcode: value("rcode", self.rcode.as_deref(), "a response code such as NXDOMAIN or 3", read_rcode)?,
            transport: word("transport", self.transport.as_deref(), &Transport::ALL, Transport::name)?,
            outcome: word("outcome", self.outcome.as_deref(), Outcome::ALL, Outcome::name)?,
            policy: word("policy", self.policy.as_deref(), Policy::ALL, Policy::name)?,
            blocked: flag("blocked", self.blocked.as_deref())?,
            min_latency_micros: value("min_latency_us", self.min_latency_us.as_deref(), "microseconds", |text| {
                text.parse().ok()
            })?,
        })
    }
}

fn read_type(text: &str) -> Option<u16> {
    text.parse::<Rtype>().ok().map(Rtype::to_int)
}

/// A mnemonic, a number of twelve bits, or `RCODE` and the number, as answers write it.
fn read_rcode(text: &str) -> Option<u16> {
    let number = text.strip_prefix("RCODE").unwrap_or(text);
    match number.bytes().all(|octet| octet.is_ascii_digit()) {
        true => number.parse().ok().filter(|rcode| *rcode < 1 << 12),
        false => text.to_ascii_uppercase().parse::<OptRcode>().ok().map(OptRcode::to_int),
    }
}

impl From<NotFound> for Problem {
    fn from(why: NotFound) -> Problem {
        let status = match why {
            NotFound::Off => StatusCode::CONFLICT,
            NotFound::TooManyBuckets => StatusCode::BAD_REQUEST,
            NotFound::Trouble(_) | NotFound::Busy | NotFound::TooLong | NotFound::Failed(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        Problem::new(status, why.to_string())
    }
}

/// Asks the query log.
async fn asked<T: Send + 'static>(
    pages: Pages,
    question: impl FnOnce(&QueryLog) -> Result<T, NotFound> + Send + 'static,
) -> Result<T, Problem> {
    let log = pages.query_log.ok_or(NotFound::Off)?;
    Ok(pages.turns.long(move || question(&log)).await??)
}

/// Which part of the rows.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PartAsked {
    /// `next` of the part before.
    cursor: Option<String>,
    /// So many rows at most.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
}

/// A part of the rows, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Queries {
    queries: Vec<QueryView>,
    /// The cursor of the next part; none where there is no more. A part may be short, or empty, though others follow.
    next: Option<String>,
}

/// A query and what came of it.
#[derive(Debug, Serialize, ToSchema)]
struct QueryView {
    /// When it came.
    #[serde(flatten)]
    at: Moment,
    /// The core that answered.
    core: u16,
    /// Who asked, as far as it is kept.
    #[schema(example = "192.0.2.1")]
    client: String,
    /// The name asked for; none where the request could not be read.
    #[schema(example = "www.example.test.")]
    name: Option<String>,
    /// The type asked for.
    #[serde(rename = "type")]
    #[schema(example = "AAAA")]
    qtype: String,
    /// The response code; none where nothing was sent.
    #[schema(example = "NOERROR")]
    rcode: Option<String>,
    /// `udp` or `tcp`.
    transport: &'static str,
    /// What came of it.
    #[schema(example = "cache")]
    outcome: &'static str,
    /// What had its way.
    #[schema(example = "none")]
    policy: &'static str,
    /// From when it came until its reply was sent, in microseconds.
    latency_us: u32,
    /// Octets of the reply.
    reply_octets: u16,
    /// Whether DNSSEC records were asked for (DO).
    dnssec_ok: bool,
    /// Whom the answer was fetched from for it.
    #[schema(example = "udp://192.0.2.1:53")]
    upstream: Option<String>,
    /// It stands for so many queries: the sample that was in force.
    sample: u32,
}

impl From<Logged> for QueryView {
    fn from(logged: Logged) -> QueryView {
        QueryView {
            at: Moment::at(logged.unix_micros),
            core: logged.core,
            client: logged.client.to_string(),
            name: logged.name,
            qtype: type_text(logged.qtype),
            rcode: logged.rcode.map(rcode_text),
            transport: logged.transport.name(),
            outcome: logged.outcome.name(),
            policy: logged.policy.name(),
            latency_us: logged.latency_micros,
            reply_octets: logged.reply_octets,
            dnssec_ok: logged.dnssec_ok,
            upstream: logged.upstream,
            sample: logged.weight,
        }
    }
}

/// Lists logged queries, the newest first.
#[utoipa::path(
    get, path = "/queries", tag = "queries", params(FilterAsked, PartAsked),
    responses(
        (status = 200, description = "A part of the rows.", body = Queries),
        (status = 409, description = "No queries are logged.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(State(pages): State<Pages>, uri: Uri) -> Answered<Queries> {
    let (of, part): (FilterAsked, PartAsked) = parameters(&uri, &["cursor", "limit"])?;
    let filter = of.filter()?;
    let cursor = value("cursor", part.cursor.as_deref(), "`next` of an answer", |text| text.parse().ok())?;
    let page = Page { cursor, limit: limit(part.limit.as_deref(), ROWS_DEFAULT)? };
    let found = asked(pages, move |log| log.find(&filter, page)).await?;
    let queries = found.rows.into_iter().map(QueryView::from).collect();
    Ok(Answer(Queries { queries, next: found.next.map(|next| next.to_string()) }))
}

/// How long the spans of a series are.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct BucketAsked {
    /// Seconds.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 31622400, default = 60)]
    bucket: Option<String>,
}

/// How many queries there were, by spans of time.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Series {
    /// Seconds of a span.
    bucket_seconds: u32,
    /// The spans, the earliest first; those without queries are left out.
    buckets: Vec<BucketView>,
}

/// A span of time. Queries are counted up by the sample that was in force.
#[derive(Debug, Serialize, ToSchema)]
struct BucketView {
    /// When it begins.
    #[serde(flatten)]
    at: Moment,
    queries: u64,
    /// Those that a policy had refused or dropped.
    blocked: u64,
    /// By what came of them; what never did is left out.
    outcomes: BTreeMap<&'static str, u64>,
    /// What clients waited on average, in microseconds.
    mean_latency_us: u64,
}

/// Counts logged queries by spans of time.
#[utoipa::path(
    get, path = "/queries/series", tag = "queries", params(FilterAsked, BucketAsked),
    responses(
        (status = 200, description = "The spans.", body = Series),
        (status = 409, description = "No queries are logged.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn series(State(pages): State<Pages>, uri: Uri) -> Answered<Series> {
    let (of, bucket): (FilterAsked, BucketAsked) = parameters(&uri, &["bucket"])?;
    let filter = of.filter()?;
    let in_range = |text: &str| text.parse().ok().filter(|seconds| (1..=BUCKET_MAX).contains(seconds));
    let accepted = format!("seconds, from 1 to {BUCKET_MAX}");
    let bucket_seconds = value("bucket", bucket.bucket.as_deref(), &accepted, in_range)?.unwrap_or(BUCKET_DEFAULT);
    let buckets = asked(pages, move |log| log.series(&filter, bucket_seconds)).await?;
    let buckets = buckets.into_iter().map(|bucket| BucketView {
        at: Moment::at(bucket.unix_seconds.saturating_mul(MICROS)),
        queries: bucket.queries,
        blocked: bucket.blocked,
        outcomes: Outcome::ALL
            .iter()
            .zip(bucket.outcomes)
            .filter(|(_, count)| *count > 0)
            .map(|(outcome, count)| (outcome.name(), count))
            .collect(),
        mean_latency_us: bucket.latency_micros.checked_div(bucket.queries).unwrap_or(0),
    });
    Ok(Answer(Series { bucket_seconds, buckets: buckets.collect() }))
}

/// What is ranked.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TopAsked {
    /// `names`, `blocked_names`, `clients`, `blocked_clients`, `types`, `rcodes`, `outcomes`, `policies`, `transports` or
    /// `upstreams`.
    #[param(default = "names")]
    of: Option<String>,
    /// So many places at most.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 10)]
    limit: Option<String>,
}

/// A ranking, the most queries first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ranking {
    /// What is ranked.
    of: &'static str,
    ranked: Vec<Place>,
    /// What is left out may have so many queries more than the last place: 0 where the ranking is exact.
    error: u64,
}

/// A place in a ranking. Queries are counted up by the sample that was in force.
#[derive(Debug, Serialize, ToSchema)]
struct Place {
    /// What it is of; empty for the name of requests that could not be read.
    #[schema(example = "www.example.test.")]
    value: String,
    queries: u64,
}

/// Ranks what logged queries were about.
#[utoipa::path(
    get, path = "/queries/top", tag = "queries", params(FilterAsked, TopAsked),
    responses(
        (status = 200, description = "The ranking.", body = Ranking),
        (status = 409, description = "No queries are logged.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn top(State(pages): State<Pages>, uri: Uri) -> Answered<Ranking> {
    let (filter, top): (FilterAsked, TopAsked) = parameters(&uri, &["of", "limit"])?;
    let filter = filter.filter()?;
    let of = word("of", top.of.as_deref(), &Top::ALL, Top::name)?.unwrap_or(Top::Names);
    let limit = limit(top.limit.as_deref(), RANKS_DEFAULT)?;
    let ranking = asked(pages, move |log| log.top(&filter, of, limit)).await?;
    let ranked = ranking.places.into_iter().map(|place| Place { value: place.key, queries: place.queries }).collect();
    Ok(Answer(Ranking { of: of.name(), ranked, error: ranking.error }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(query: &str) -> Result<Filter, String> {
        let uri = format!("/queries?{query}").parse().unwrap();
        let (of, _): (FilterAsked, PartAsked) = parameters(&uri, &["cursor", "limit"]).map_err(|p| format!("{p:?}"))?;
        of.filter().map_err(|problem| format!("{problem:?}"))
    }

    #[test]
    fn a_filter_says_what_is_meant() {
        assert_eq!(filter("").unwrap(), Filter::default());
        let all = "from=1&to=1970-01-01T00:00:02Z&client=192.0.2.0/24&name=A.example.test&type=aaaa&rcode=NXDOMAIN\
                   &transport=tcp&outcome=resolved&policy=rate&blocked=true&min_latency_us=7&cursor=q1&limit=5";
        let expected = Filter {
            from: Some(1_000_000),
            to: Some(2_000_000),
            client: Some("192.0.2.0/24".parse().unwrap()),
            name: Some("a.example.test".parse().unwrap()),
            subtree: None,
            qtype: Some(28),
            rcode: Some(3),
            transport: Some(Transport::Tcp),
            outcome: Some(Outcome::Resolved),
            policy: Some(Policy::Rate),
            blocked: Some(true),
            min_latency_micros: Some(7),
        };
        assert_eq!(filter(all).unwrap(), expected);
        let below = filter("name=example.test&subtree=true").unwrap();
        assert_eq!((below.name, below.subtree), (None, Some("example.test".parse().unwrap())));
        let at = filter("name=example.test&subtree=false").unwrap();
        assert_eq!((at.name, at.subtree), (Some("example.test".parse().unwrap()), None));
        for (text, rcode) in [("rcode=0", 0), ("rcode=badvers", 16), ("rcode=RCODE23", 23), ("rcode=4095", 4_095)] {
            assert_eq!(filter(text).unwrap().rcode, Some(rcode), "{text}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused_by_name() {
        for (query, part) in [
            ("nam=a", "unknown field `nam`, expected one of `from`"),
            ("name=a&name=b", "duplicate field `name`"),
            ("cursor=q1&cursor=q2", "duplicate field `cursor`"),
            ("from=yesterday", "`from`: found `yesterday`; accepted: a time such as"),
            ("to=-1", "`to`: found `-1`"),
            ("client=192.0.2.1/24", "`client`: found `192.0.2.1/24`"),
            ("name=a..b", "`name`: `a..b` is no domain name: a label is empty"),
            ("subtree=true", "`subtree` is about `name`"),
            ("name=a&subtree=yes", "`subtree`: found `yes`; accepted: true, false"),
            ("type=TYPE65536", "`type`: found `TYPE65536`"),
            ("rcode=4096", "`rcode`: found `4096`"),
            ("rcode=", "`rcode`: found ``"),
            ("transport=quic", "`transport`: found `quic`; accepted: udp, tcp"),
            ("outcome=x", "`outcome`: found `x`; accepted: zone, cache, stale"),
            ("policy=x", "accepted: none, acl, route"),
            ("blocked=1", "accepted: true, false"),
            ("min_latency_us=-1", "`min_latency_us`: found `-1`"),
            ("min_latency_us=4294967296", "`min_latency_us`"),
        ] {
            let said = filter(query).unwrap_err();
            assert!(said.contains(part), "{query}: {said}");
        }
    }

    #[test]
    fn what_answers_call_a_code_or_type_filters_take() {
        for rcode in 0..1 << 12 {
            assert_eq!(read_rcode(&rcode_text(rcode)), Some(rcode));
        }
        for qtype in (0..=300).chain(32_760..32_780).chain(65_270..=u16::MAX) {
            assert_eq!(read_type(&type_text(qtype)), Some(qtype));
        }
    }

    #[test]
    fn every_ranking_has_a_name_of_its_own() {
        for top in Top::ALL {
            assert_eq!(Top::ALL.iter().filter(|other| other.name() == top.name()).count(), 1);
        }
    }
}
