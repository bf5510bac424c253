//! What the caches hold, and forgetting it.

use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use ringdns_shard::cache::Cached;
use ringdns_shard::wire::name::Name;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::asked::{Asked, Body, Nothing, domain_name, limit, optional_name, value};
use super::figures::Cache;
use super::problem::Problem;
use super::records::{RecordView, rcode_text, shown, type_text};
use super::{Answer, Answered, flush};
use crate::cores::Cores;
use crate::http::{CORES_LIMIT, Pages};
use crate::orders::Order;

/// How long the cores may take to flush: each looks at all that it has, a little at a time.
const FLUSH_LIMIT: Duration = Duration::from_secs(30);
/// A list is cut after so long, and goes on with the next request.
const LIST_LIMIT: Duration = Duration::from_secs(2);
/// Between two parts a core has so long for its clients.
const LIST_PAUSE: Duration = Duration::from_millis(2);
/// Octets of records in what is told of a name: cores and types are many, and an answer is up to 64 KiB long.
const LOOKUP_OCTETS: usize = 1 << 20;
/// Entries of a list where nobody says how many.
const ENTRIES_DEFAULT: usize = 100;

/// An answer in the cache.
#[derive(Debug, Serialize, ToSchema)]
struct EntryView {
    /// The core whose cache it is in.
    core: usize,
    /// The name asked for.
    #[schema(example = "www.example.test.")]
    name: String,
    /// The type asked for.
    #[serde(rename = "type")]
    #[schema(example = "AAAA")]
    qtype: String,
    /// For those who asked for DNSSEC records (DO).
    dnssec_ok: bool,
    /// For those who asked not to check it (CD).
    checking_disabled: bool,
    /// The response code.
    #[schema(example = "NOERROR")]
    rcode: String,
    /// Seconds until it runs out; negative: so long ago it did.
    seconds_left: i64,
    /// Memory that it takes.
    octets: usize,
}

impl EntryView {
    fn of(core: usize, cached: &Cached) -> EntryView {
        EntryView {
            core,
            name: cached.name.to_string(),
            qtype: type_text(cached.qtype),
            dnssec_ok: cached.dnssec_ok,
            checking_disabled: cached.checking_disabled,
            rcode: rcode_text(cached.rcode),
            seconds_left: cached.seconds_left,
            octets: cached.octets,
        }
    }
}

/// Says what the caches hold, and what came of them.
#[utoipa::path(get, path = "/cache", tag = "cache", responses((status = 200, description = "The figures.", body = Cache)))]
pub(super) async fn figures(State(pages): State<Pages>, Asked(Nothing {}): Asked<Nothing>) -> Answered<Cache> {
    let figures = move || Cache::of(&pages.cores.snapshots(CORES_LIMIT), &pages.cores.statuses(CORES_LIMIT));
    Ok(Answer(pages.turns.brief(figures).await?))
}

/// Which part of a list of answers.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListAsked {
    /// Answers for this name and those below it; all where it is left out.
    below: Option<String>,
    /// `next` of the part before.
    cursor: Option<String>,
    /// So many at most.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
}

/// A part of a list of answers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Entries {
    entries: Vec<EntryView>,
    /// The cursor of the next part; none where there is no more. A part may be empty though others follow.
    next: Option<String>,
}

/// Lists answers, core by core, in no order.
#[utoipa::path(
    get, path = "/cache/entries", tag = "cache", params(ListAsked),
    responses((status = 200, description = "A part of the list.", body = Entries))
)]
pub(super) async fn list(State(pages): State<Pages>, Asked(asked): Asked<ListAsked>) -> Answered<Entries> {
    let below = optional_name("below", asked.below.as_deref())?.unwrap_or_else(Name::root);
    let limit = limit(asked.limit.as_deref(), ENTRIES_DEFAULT)?;
    let cursor = value("cursor", asked.cursor.as_deref(), "`next` of an answer", Cursor::read)?;
    let cores = pages.cores;
    let listed = move || entries(&*cores, &below, cursor.unwrap_or_default(), limit);
    Ok(Answer(pages.turns.long(listed).await??))
}

/// A place in a list: a core, a part of its cache, and how many answers of that part have been told already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cursor {
    core: usize,
    part: u64,
    told: usize,
}

impl Cursor {
    fn read(text: &str) -> Option<Cursor> {
        let mut numbers = text.split('-').map(|text| {
            let is_number = text.bytes().all(|octet| octet.is_ascii_digit());
            text.parse::<u64>().ok().filter(|_| is_number)
        });
        let mut next = || numbers.next().flatten();
        let (core, part, told) = (next()?, next()?, next()?);
        let cursor = Cursor { core: core.try_into().ok()?, part, told: told.try_into().ok()? };
        numbers.next().is_none().then_some(cursor)
    }

    fn text(self) -> String {
        format!("{}-{}-{}", self.core, self.part, self.told)
    }
}

fn entries(cores: &dyn Cores, below: &Name, from: Cursor, limit: usize) -> Result<Entries, Problem> {
    let end = Instant::now() + LIST_LIMIT;
    let count = cores.snapshots(CORES_LIMIT).len();
    if from.core >= count {
        return Err(Problem::wrong(format!("`cursor`: there is no core {}; send `next` of an answer", from.core)));
    }
    let (mut entries, mut cursor) = (Vec::new(), from);
    loop {
        let part = cores.cache_list(cursor.core, below, cursor.part, CORES_LIMIT);
        let part = part.map_err(|why| Problem::unavailable(format!("the cache cannot be listed: {why}; ask again")))?;
        let wanted = part.answers.iter().skip(cursor.told).take(limit - entries.len());
        let before = entries.len();
        entries.extend(wanted.map(|cached| EntryView::of(cursor.core, cached)));
        let told = cursor.told + entries.len() - before;
        cursor = match part.next {
            _ if told < part.answers.len() => Cursor { told, ..cursor },
            Some(next) => Cursor { part: next, told: 0, ..cursor },
            None if cursor.core + 1 < count => Cursor { core: cursor.core + 1, part: 0, told: 0 },
            None => return Ok(Entries { entries, next: None }),
        };
        if entries.len() == limit || Instant::now() >= end {
            return Ok(Entries { entries, next: Some(cursor.text()) });
        }
        std::thread::sleep(LIST_PAUSE);
    }
}

/// Which name is looked up.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LookupAsked {
    /// The name, in presentation format.
    #[param(required = true, value_type = String, example = "www.example.test")]
    name: Option<String>,
}

/// What the caches have for a name.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Lookup {
    /// The name asked for.
    name: String,
    /// Answers of every type, core by core.
    entries: Vec<FullEntry>,
    /// Further answers that are not shown: a core shows 64, and no more than 256 KiB.
    entries_left_out: usize,
    /// Cores that did not answer in time.
    cores_silent: Vec<usize>,
}

/// An answer in the cache, with its records.
#[derive(Debug, Serialize, ToSchema)]
struct FullEntry {
    #[serde(flatten)]
    entry: EntryView,
    /// The records, each with what is left of its TTL.
    records: Vec<RecordView>,
    /// Further records that are not shown: of an answer the first 200 are, of all answers those that take no more than
    /// 1 MiB.
    records_left_out: usize,
}

/// Shows what each core has for a name, of every type.
#[utoipa::path(
    get, path = "/cache/lookup", tag = "cache", params(LookupAsked),
    responses((status = 200, description = "What there is.", body = Lookup))
)]
pub(super) async fn look_up(State(pages): State<Pages>, Asked(asked): Asked<LookupAsked>) -> Answered<Lookup> {
    let text = asked.name.ok_or_else(|| Problem::wrong("`name` is missing: say which is to be looked up"))?;
    let name = domain_name("`name`", &text)?;
    let turns = pages.turns.clone();
    Ok(Answer(turns.long(move || Lookup::of(&*pages.cores, &name)).await?))
}

impl Lookup {
    fn of(cores: &dyn Cores, name: &Name) -> Lookup {
        let (mut entries, mut entries_left_out, mut cores_silent) = (Vec::new(), 0, Vec::new());
        let mut room = LOOKUP_OCTETS;
        for (core, found) in cores.cache_look(name, CORES_LIMIT).into_iter().enumerate() {
            match found {
                Some(found) => {
                    entries.extend(found.answers.iter().map(|cached| FullEntry::of(core, cached, &mut room)));
                    entries_left_out += found.left_out;
                }
                None => cores_silent.push(core),
            }
        }
        Lookup { name: name.to_string(), entries, entries_left_out, cores_silent }
    }
}

impl FullEntry {
    fn of(core: usize, cached: &Cached, room: &mut usize) -> FullEntry {
        let (records, records_left_out) = shown(&cached.message, room);
        FullEntry { entry: EntryView::of(core, cached), records, records_left_out }
    }
}

/// What has been forgotten.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Flushed {
    /// Answers.
    flushed: u64,
}

/// Forgets answers: of a name, of a name and those below it, or all.
#[utoipa::path(
    post, path = "/cache/flush", tag = "cache", request_body = flush::Wish,
    responses((status = 200, description = "What was forgotten.", body = Flushed))
)]
pub(super) async fn forget(
    State(pages): State<Pages>,
    Asked(Nothing {}): Asked<Nothing>,
    Body(body): Body,
) -> Answered<Flushed> {
    let what = flush::wanted(&body).map_err(Problem::wrong)?;
    if pages.board.read().is_restoring {
        // What is flushed now could come back with what is still to be read.
        return Err(Problem::unavailable("the cache is being read from its file; ask again in a moment"));
    }
    // Nor may it come back after a restart.
    pages.orders.ask(Order::ForgetDump).await.ok_or_else(Problem::stopping)?;
    let flushed = pages.turns.long(move || pages.cores.flush(&what, FLUSH_LIMIT)).await?;
    let not_all = |why| Problem::unavailable(format!("not all is flushed: {why}; ask again"));
    Ok(Answer(Flushed { flushed: flushed.map_err(not_all)? }))
}

/// What has been written.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Dumped {
    /// Octets of answers in the file.
    octets: u64,
}

/// Writes the caches to their file now, as it is done when the server stops.
#[utoipa::path(
    post, path = "/cache/dump", tag = "cache",
    responses(
        (status = 200, description = "It is written.", body = Dumped),
        (status = 409, description = "There is no file for it, or it cannot be written.", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub(super) async fn dump(
    State(pages): State<Pages>,
    Asked(Nothing {}): Asked<Nothing>,
    body: Body,
) -> Answered<Dumped> {
    body.nothing()?;
    let dumped = pages.orders.ask(Order::DumpCache).await.ok_or_else(Problem::stopping)?;
    let not_written = |why| Problem::new(StatusCode::CONFLICT, format!("the cache is not written: {why}"));
    Ok(Answer(Dumped { octets: dumped.map_err(not_written)? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_was_given() {
        let far = Cursor { core: 3, part: u64::MAX, told: 77 };
        for cursor in [Cursor::default(), far] {
            assert_eq!(Cursor::read(&cursor.text()), Some(cursor));
        }
        for text in
            ["", "1", "--", "1-", "1-1", "-1-1", "1--1", "+1-1-1", "1-1-1-1", "1-18446744073709551616-1", "a-b-c"]
        {
            assert_eq!(Cursor::read(text), None, "{text}");
        }
    }

    #[test]
    fn a_list_is_told_once_and_whole_whatever_the_limit() {
        let cores = crate::cores::fake::Fake::default();
        let below = Name::root();
        // Two cores, three parts each, one answer a part.
        for limit in 1..8 {
            let (mut cursor, mut parts) = (Cursor::default(), Vec::new());
            loop {
                let part = entries(&cores, &below, cursor, limit).unwrap();
                assert!(part.entries.len() <= limit);
                parts.push(part.entries.len());
                let Some(next) = part.next else { break };
                cursor = Cursor::read(&next).unwrap();
                assert!(parts.len() < 10, "it comes to an end");
            }
            assert_eq!(parts.iter().sum::<usize>(), 6, "{limit}: {parts:?}");
        }
        // What a part has beyond the limit comes with the next.
        let told = Cursor { told: 1, ..Cursor::default() };
        let part = entries(&cores, &below, told, 1).unwrap();
        assert_eq!((part.entries.len(), part.next.as_deref()), (1, Some("0-2-0")));
    }
}
