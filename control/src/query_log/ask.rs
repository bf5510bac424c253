//! Questions to the data base: each has a connection of its own that can only read, sees one state of the log from
//! beginning to end, and is cut off when it takes too long. Segments are asked one after the other, and what an answer needs
//! of memory does not depend on how many rows there are.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use domain::base::iana::{OptRcode, Rtype};
use ringdns_shard::telemetry::log::{Outcome, Policy};
use ringdns_shard::transport::Transport;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, Row as SqlRow, params_from_iter};

use super::question::{
    BUCKETS_MAX, Bucket, Cursor, Filter, Found, Logged, NotFound, PAGE_ROWS_MAX, Page, RANKS_MAX, Ranked, Ranking, Top,
};
use super::row::{self, Kept, Masks};
use super::store::Segment;

/// Steps of SQLite's machine between two looks at the clock: some tens of microseconds.
const STEPS: i32 = 4_096;
/// Keys that a ranking counts at a time.
const KEYS_MAX: usize = 1 << 17;
/// And octets of them: names may be as long as a thousand.
const KEY_OCTETS_MAX: usize = 16 << 20;

/// A connection that reads.
#[derive(Debug)]
pub(super) struct Reader {
    connection: Connection,
    segments: Vec<Segment>,
}

impl From<rusqlite::Error> for NotFound {
    fn from(error: rusqlite::Error) -> NotFound {
        match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => NotFound::TooLong,
            _ => NotFound::Failed(error.to_string()),
        }
    }
}

/// Conditions on rows of a segment.
#[derive(Default)]
struct Conditions {
    text: String,
    values: Vec<Value>,
    columns: Vec<&'static str>,
}

impl Conditions {
    fn new(filter: &Filter, segment: &Segment) -> Conditions {
        let mut all = Conditions::default();
        let time = |micros: u64| Value::from(i64::try_from(micros).unwrap_or(i64::MAX));
        if let Some(from) = filter.from.filter(|&from| segment.first_time < from) {
            all.and("time", "time >= ?", [time(from)]);
        }
        if let Some(to) = filter.to.filter(|&to| segment.last_time >= to) {
            all.and("time", "time < ?", [time(to)]);
        }
        if let Some(network) = filter.client {
            let whole = Masks::new(32, 128);
            let (first, last) = network.ends();
            let (lowest, highest) = match (whole.of(first), whole.of(last), last) {
                // IPv4-mapped addresses lie at its end: they stand there as IPv4, of which it has none.
                (lowest @ Kept::V6(_), Kept::V4(_), IpAddr::V6(last)) => (lowest, Kept::V6(last.octets())),
                (lowest, highest, _) => (lowest, highest),
            };
            let octets = |kept: Kept| Value::from(kept.octets().to_vec());
            if lowest == highest {
                all.and("client", "client = ?", [octets(lowest)]);
            } else {
                let length = Value::from(lowest.octets().len() as i64);
                let between = "client BETWEEN ? AND ? AND length(client) = ?";
                all.and("client", between, [octets(lowest), octets(highest), length]);
            }
        }
        if let Some(name) = &filter.name {
            all.and("name", "name = ?", [Value::from(row::path(name))]);
        }
        if let Some(name) = &filter.subtree {
            let path = row::path(name);
            match path.strip_suffix('.') {
                // What begins with `test.example.` ends before `test.example/`, the next character.
                Some(stem) => {
                    let end = format!("{stem}/");
                    all.and("name", "name >= ? AND name < ?", [Value::from(path), Value::from(end)]);
                }
                None => all.and("name", "name IS NOT NULL", []),
            }
        }
        let mut number = |column, condition, value: Option<i64>| {
            if let Some(value) = value {
                all.and(column, condition, [Value::from(value)]);
            }
        };
        number("qtype", "qtype = ?", filter.qtype.map(i64::from));
        number("rcode", "rcode = ?", filter.rcode.map(i64::from));
        number("transport", "transport = ?", filter.transport.map(|transport| transport as i64));
        number("outcome", "outcome = ?", filter.outcome.map(|outcome| outcome as i64));
        number("policy", "policy = ?", filter.policy.map(|policy| policy as i64));
        number("latency", "latency >= ?", filter.min_latency_micros.map(i64::from));
        match filter.blocked {
            // As it stands in the index, for a parameter would not be known to imply it.
            Some(true) => all.and("blocked", "blocked = 1", []),
            Some(false) => all.and("blocked", "blocked = 0", []),
            None => (),
        }
        all
    }

    fn and<const N: usize>(&mut self, column: &'static str, condition: &str, values: [Value; N]) {
        self.text.push_str(" AND ");
        self.text.push_str(condition);
        self.values.extend(values);
        self.columns.push(column);
    }
}

impl Reader {
    /// A reader that has so much time.
    pub(super) fn open(path: &Path, limit: Duration) -> Result<Reader, NotFound> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(limit)?;
        let end = Instant::now() + limit;
        connection.progress_handler(STEPS, Some(move || Instant::now() >= end))?;
        // What has been read first is what all of the question sees.
        connection.execute_batch(
            "PRAGMA query_only = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -4096; \
             PRAGMA trusted_schema = OFF; BEGIN",
        )?;
        let mut statement = connection.prepare(&format!("{} ORDER BY id DESC", Segment::SELECT))?;
        let segments = statement.query_map([], Segment::read)?.collect::<Result<_, _>>()?;
        drop(statement);
        Ok(Reader { connection, segments })
    }

    /// The segments with rows of the time that is meant, the newest first.
    fn segments(&self, filter: &Filter) -> impl Iterator<Item = &Segment> {
        let (from, to) = (filter.from.unwrap_or(0), filter.to.unwrap_or(u64::MAX));
        let meant = move |segment: &&Segment| segment.rows > 0 && segment.last_time >= from && segment.first_time < to;
        self.segments.iter().filter(meant)
    }

    /// A page of rows.
    pub(super) fn find(&self, filter: &Filter, page: Page) -> Result<Found, NotFound> {
        let limit = page.limit.min(PAGE_ROWS_MAX);
        let mut found = Found::default();
        let before = page.cursor.map_or(i64::MAX, |Cursor(before)| before);
        let mut looked = before;
        for segment in self.segments(filter).filter(|segment| segment.first_row < before) {
            match self.find_in(segment, filter, before, limit, &mut found.rows) {
                // What has been found so far is a page, and there may be more.
                Err(NotFound::TooLong) if looked < before || !found.rows.is_empty() => {
                    let last = found.rows.last().map(|row| row.id).filter(|&last| last < looked);
                    found.next = Some(Cursor(last.unwrap_or(looked)));
                    return Ok(found);
                }
                done => done?,
            }
            if found.rows.len() > limit {
                found.rows.truncate(limit);
                found.next = Some(Cursor(found.rows.last().map_or(before, |row| row.id)));
                return Ok(found);
            }
            looked = segment.first_row;
        }
        Ok(found)
    }

    /// Adds the rows of a segment, until there is one more than `limit`.
    fn find_in(
        &self,
        segment: &Segment,
        filter: &Filter,
        before: i64,
        limit: usize,
        rows: &mut Vec<Logged>,
    ) -> Result<(), NotFound> {
        let conditions = Conditions::new(filter, segment);
        let mut statement = self.connection.prepare(&format!(
            "SELECT id, time, core, client, name, qtype, rcode, transport, outcome, policy, latency, octets, upstream, \
             dnssec_ok, weight FROM entries_{} WHERE id < {before}{} ORDER BY id DESC LIMIT {}",
            segment.id,
            conditions.text,
            limit + 1 - rows.len()
        ))?;
        let mut found = statement.query(params_from_iter(conditions.values))?;
        while let Some(row) = found.next()? {
            rows.push(logged(row)?);
        }
        Ok(())
    }

    /// Counts by time.
    pub(super) fn series(&self, filter: &Filter, bucket_seconds: u32) -> Result<Vec<Bucket>, NotFound> {
        let width = u64::from(bucket_seconds.max(1)) * 1_000_000;
        let first = self.segments(filter).map(|segment| segment.first_time).min().unwrap_or(0);
        let last = self.segments(filter).map(|segment| segment.last_time).max().unwrap_or(0);
        let (first, last) = (first.max(filter.from.unwrap_or(0)), last.min(filter.to.unwrap_or(u64::MAX)));
        if (last / width).saturating_sub(first / width) >= BUCKETS_MAX {
            return Err(NotFound::TooManyBuckets);
        }
        let mut buckets = BTreeMap::<u64, Bucket>::new();
        for segment in self.segments(filter) {
            let conditions = Conditions::new(filter, segment);
            let mut statement = self.connection.prepare(&format!(
                "SELECT time, outcome, blocked, weight, latency FROM entries_{} WHERE 1{}",
                segment.id, conditions.text
            ))?;
            let mut rows = statement.query(params_from_iter(conditions.values))?;
            while let Some(row) = rows.next()? {
                let begin = row.get::<_, i64>(0)?.max(0).unsigned_abs() / width * width;
                let bucket =
                    buckets.entry(begin).or_insert(Bucket { unix_seconds: begin / 1_000_000, ..Bucket::default() });
                add(bucket, row)?;
            }
        }
        Ok(buckets.into_values().collect())
    }

    /// Counts by what `of` says.
    pub(super) fn top(&self, filter: &Filter, of: Top, limit: usize) -> Result<Ranking, NotFound> {
        let mut filter = filter.clone();
        if matches!(of, Top::BlockedNames | Top::BlockedClients) {
            if filter.blocked == Some(false) {
                return Ok(Ranking::default());
            }
            filter.blocked = Some(true);
        }
        let column = column(of);
        let mut counts = Counts::new(KEYS_MAX);
        for segment in self.segments(&filter) {
            let conditions = Conditions::new(&filter, segment);
            // Where an index has all that is asked for, it is counted there.
            let is_grouped = matches!(column, "name" | "client")
                && segment.is_indexed()
                && segment.least_weight == segment.most_weight
                && conditions.columns.iter().all(|&other| other == column);
            let what = if is_grouped { format!("count(*), {}", segment.most_weight) } else { "1, weight".to_owned() };
            let group = if is_grouped { format!(" GROUP BY {column}") } else { String::new() };
            let some = if of == Top::Upstreams { " AND upstream IS NOT NULL" } else { "" };
            let mut statement = self.connection.prepare(&format!(
                "SELECT {column}, {what} FROM entries_{} WHERE 1{}{some}{group}",
                segment.id, conditions.text
            ))?;
            let mut rows = statement.query(params_from_iter(conditions.values))?;
            while let Some(row) = rows.next()? {
                let (number, weight): (i64, i64) = (row.get(1)?, row.get(2)?);
                let number = number.max(0).unsigned_abs();
                counts.add(row.get_ref(0)?, number, number.saturating_mul(weight.max(0).unsigned_abs()));
            }
        }
        Ok(counts.ranking(of, limit.min(RANKS_MAX)))
    }
}

fn add(bucket: &mut Bucket, row: &SqlRow<'_>) -> Result<(), NotFound> {
    let weight = u64::from(row.get::<_, u32>(3)?);
    bucket.rows += 1;
    bucket.queries = bucket.queries.saturating_add(weight);
    if row.get(2)? {
        bucket.blocked = bucket.blocked.saturating_add(weight);
    }
    if let Some(count) = bucket.outcomes.get_mut(usize::from(row.get::<_, u8>(1)?)) {
        *count = count.saturating_add(weight);
    }
    let latency = weight.saturating_mul(row.get::<_, u32>(4)?.into());
    bucket.latency_micros = bucket.latency_micros.saturating_add(latency);
    Ok(())
}

fn logged(row: &SqlRow<'_>) -> Result<Logged, NotFound> {
    let odd = |what| NotFound::Failed(format!("a row has {what} that is not known here"));
    Ok(Logged {
        id: row.get(0)?,
        unix_micros: row.get::<_, i64>(1)?.max(0).unsigned_abs(),
        core: row.get(2)?,
        client: row.get_ref(3)?.as_blob().ok().and_then(row::address).ok_or_else(|| odd("a client"))?,
        name: row.get::<_, Option<String>>(4)?.map(|path| row::presentation(&path)),
        qtype: row.get(5)?,
        rcode: row.get(6)?,
        transport: transport(row.get(7)?).ok_or_else(|| odd("a transport"))?,
        outcome: Outcome::from_number(row.get(8)?).ok_or_else(|| odd("an outcome"))?,
        policy: Policy::from_number(row.get(9)?).ok_or_else(|| odd("a policy"))?,
        latency_micros: row.get(10)?,
        reply_octets: row.get(11)?,
        upstream: row.get(12)?,
        dnssec_ok: row.get(13)?,
        weight: row.get(14)?,
    })
}

fn transport(number: u8) -> Option<Transport> {
    Transport::ALL.get(usize::from(number)).copied()
}

fn rcode(number: u16) -> String {
    // Not `checked_from_int`, which in domain 0.12.3 takes 0 alone.
    let known = OptRcode::masked_from_int(number).to_mnemonic_str().filter(|_| number < 1 << 12);
    known.map_or_else(|| format!("RCODE{number}"), str::to_owned)
}

/// Where it stands what is ranked.
fn column(of: Top) -> &'static str {
    match of {
        Top::Names | Top::BlockedNames => "name",
        Top::Clients | Top::BlockedClients => "client",
        Top::Types => "qtype",
        Top::Rcodes => "rcode",
        Top::Outcomes => "outcome",
        Top::Policies => "policy",
        Top::Transports => "transport",
        Top::Upstreams => "upstream",
    }
}

/// A key for people; `None`: there was none. Numbers are in eight octets, as [`Counts`] has them.
fn text(of: Top, key: Option<&[u8]>) -> String {
    let Some(octets) = key else {
        return if of == Top::Rcodes { "none".to_owned() } else { String::new() };
    };
    match of {
        Top::Names | Top::BlockedNames => row::presentation(&String::from_utf8_lossy(octets)),
        Top::Clients | Top::BlockedClients => {
            row::address(octets).map_or_else(|| "?".to_owned(), |address| address.to_string())
        }
        Top::Upstreams => String::from_utf8_lossy(octets).into_owned(),
        Top::Types | Top::Rcodes | Top::Outcomes | Top::Policies | Top::Transports => {
            octets.try_into().map_or_else(|_| "?".to_owned(), |octets| word(of, i64::from_be_bytes(octets)))
        }
    }
}

/// What a number is called.
fn word(of: Top, number: i64) -> String {
    let small = u8::try_from(number).ok();
    let name = match of {
        Top::Types => u16::try_from(number).ok().map(|number| Rtype::from_int(number).to_string()),
        Top::Rcodes => u16::try_from(number).ok().map(rcode),
        Top::Outcomes => small.and_then(Outcome::from_number).map(|it| it.name().to_owned()),
        Top::Policies => small.and_then(Policy::from_number).map(|it| it.name().to_owned()),
        Top::Transports => small.and_then(transport).map(|it| it.name().to_owned()),
        _ => None,
    };
    name.unwrap_or_else(|| number.to_string())
}

/// Counts of keys, of which there may be more than are counted at a time: when there are too many, the half with the fewest
/// queries is forgotten, and how many the largest of them had (Manku and Motwani, "Approximate frequency counts over data
/// streams", 2002, with the bound on memory in place of the bound on the error).
struct Counts {
    /// Rows and queries.
    counts: HashMap<Box<[u8]>, (u64, u64)>,
    /// Those of rows without a key.
    none: (u64, u64),
    keys_max: usize,
    /// Octets of the keys.
    octets: usize,
    error: u64,
}

impl Counts {
    fn new(keys_max: usize) -> Counts {
        Counts { counts: HashMap::new(), none: (0, 0), keys_max, octets: 0, error: 0 }
    }

    fn add(&mut self, key: ValueRef<'_>, rows: u64, queries: u64) {
        let number;
        let key = match key {
            ValueRef::Integer(value) => {
                number = value.to_be_bytes();
                Some(&number[..])
            }
            ValueRef::Text(octets) | ValueRef::Blob(octets) => Some(octets),
            ValueRef::Null | ValueRef::Real(_) => None,
        };
        let count = match key {
            None => &mut self.none,
            // Most keys are there already, and looking for one needs no memory.
            Some(key) if self.counts.contains_key(key) => self.counts.get_mut(key).expect("it is there"),
            Some(key) => {
                self.octets += key.len();
                self.counts.entry(key.into()).or_default()
            }
        };
        *count = (count.0.saturating_add(rows), count.1.saturating_add(queries));
        while self.counts.len() > self.keys_max || self.octets > KEY_OCTETS_MAX {
            self.forget();
        }
    }

    fn forget(&mut self) {
        let mut queries: Vec<u64> = self.counts.values().map(|count| count.1).collect();
        let middle = queries.len() / 2;
        let (_, &mut least, _) = queries.select_nth_unstable(middle);
        // Of those with exactly as many, some must go as well: where all are equal there is no half with fewer.
        let mut equal = queries[..middle].iter().filter(|&&count| count == least).count() + 1;
        let octets = &mut self.octets;
        self.counts.retain(|key, count| {
            let stays = match count.1.cmp(&least) {
                std::cmp::Ordering::Less => false,
                std::cmp::Ordering::Equal if equal > 0 => {
                    equal -= 1;
                    false
                }
                _ => true,
            };
            *octets -= if stays { 0 } else { key.len() };
            stays
        });
        self.error = self.error.saturating_add(least);
    }

    fn ranking(self, of: Top, limit: usize) -> Ranking {
        let counts = self.counts.into_iter().map(|(key, count)| (Some(key), count));
        let mut counts: Vec<_> = counts.chain((self.none.0 > 0).then_some((None, self.none))).collect();
        let order = |(a_key, a): &Counted, (b_key, b): &Counted| b.1.cmp(&a.1).then_with(|| a_key.cmp(b_key));
        if counts.len() > limit {
            counts.select_nth_unstable_by(limit, order);
            counts.truncate(limit);
        }
        counts.sort_unstable_by(order);
        let place = |(key, (rows, queries)): Counted| Ranked { key: text(of, key.as_deref()), rows, queries };
        Ranking { places: counts.into_iter().map(place).collect(), error: self.error }
    }
}

/// A key with its rows and queries.
type Counted = (Option<Box<[u8]>>, (u64, u64));

#[cfg(test)]
impl Reader {
    /// Asks at every step whether to go on.
    pub(super) fn patience(&mut self, is_over: impl FnMut() -> bool + Send + 'static) {
        self.connection.progress_handler(STEPS, Some(is_over)).unwrap();
    }

    pub(super) fn run(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.execute_batch(sql)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_beyond_what_is_counted_cost_the_least_of_them() {
        let mut counts = Counts::new(100);
        let count = |counts: &mut Counts, key: i64, queries| counts.add(ValueRef::Integer(key), 1, queries);
        for round in 0..1_000 {
            count(&mut counts, 1, 10);
            count(&mut counts, 2, 5);
            count(&mut counts, 1_000 + round, 1);
            assert!(counts.counts.len() <= 100);
        }
        let ranking = counts.ranking(Top::Types, 2);
        assert!((15..100).contains(&ranking.error), "{}", ranking.error);
        let place = |key: &str, queries| Ranked { key: key.to_owned(), rows: 1_000, queries };
        assert_eq!(ranking.places, [place("A", 10_000), place("NS", 5_000)]);
    }

    #[test]
    fn equal_counts_are_forgotten_by_halves() {
        let mut counts = Counts::new(9);
        (0..10).for_each(|key| counts.add(ValueRef::Integer(key), 1, 1));
        assert_eq!((counts.counts.len(), counts.error), (4, 1));
    }

    #[test]
    fn long_keys_are_counted_in_bounded_memory() {
        let mut counts = Counts::new(KEYS_MAX);
        let key = |number: usize| format!("{number:01000}");
        for number in 0..40_000 {
            counts.add(ValueRef::Text(key(number % 39_000).as_bytes()), 1, 1);
            counts.add(ValueRef::Text(b"often"), 1, 1);
            assert!(counts.octets <= KEY_OCTETS_MAX, "{number}");
        }
        assert_eq!(counts.octets, counts.counts.keys().map(|key| key.len()).sum::<usize>());
        let ranking = counts.ranking(Top::Upstreams, 1);
        assert_eq!(ranking.places, [Ranked { key: "often".to_owned(), rows: 40_000, queries: 40_000 }]);
        assert!(ranking.error > 0);
    }

    #[test]
    fn keys_have_names() {
        let text = |of, number: i64| super::text(of, Some(&number.to_be_bytes()));
        assert_eq!((text(Top::Types, 28), text(Top::Types, 65_280)), ("AAAA".to_owned(), "TYPE65280".to_owned()));
        assert_eq!((text(Top::Rcodes, 3), super::text(Top::Rcodes, None)), ("NXDOMAIN".to_owned(), "none".to_owned()));
        assert_eq!((text(Top::Rcodes, 99), text(Top::Rcodes, 4_099)), ("RCODE99".to_owned(), "RCODE4099".to_owned()));
        assert_eq!((text(Top::Outcomes, 1), text(Top::Outcomes, 99)), ("cache".to_owned(), "99".to_owned()));
        assert_eq!((text(Top::Types, 70_000), text(Top::Types, -1)), ("70000".to_owned(), "-1".to_owned()));
        assert_eq!(super::text(Top::Clients, Some(&[9; 3])), "?");
    }
}
