//! Answers beside those of a list in memory that is searched from end to end.

use std::collections::BTreeMap;

use ringdns_shard::telemetry::log::Asked;

use super::*;

/// What stands in the log, and what the answers are made from here.
struct Model {
    _folder: TempDir,
    file: PathBuf,
    /// As they are found: the newest first.
    rows: Vec<Logged>,
}

/// A sequence of numbers that looks like chance and is always the same.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

const NAMES: [&[u8]; 10] = [
    b"\x07example\x04test\0",
    b"\x03www\x07example\x04test\0",
    b"\x01a\x03www\x07example\x04test\0",
    b"\x08example2\x04test\0",
    b"\x08example-\x04test\0",
    b"\x03x.y\x07example\x04test\0",
    b"\x0cexample.test\x04test\0",
    b"\x04test\0",
    b"\x05it's\"\x04test\0",
    b"\0",
];

impl Model {
    /// Some segments with indexes and one without, at two samples, each with queries of a few seconds.
    fn new(rows: u64) -> Model {
        let folder = TempDir::new().unwrap();
        let file = wanted(folder.path()).file;
        let mut store = Store::open(&file, SMALLEST).unwrap();
        let mut chance = Chance(rows);
        let servers: [SocketAddr; 2] = ["192.0.2.53:53".parse().unwrap(), "[2001:db8::35]:53".parse().unwrap()];
        let clients =
            ["192.0.2.9:1", "192.0.2.200:1", "198.51.100.1:1", "[c000:209::1]:1", "[2001:db8::1]:1", "[::fffe:0:1]:1"];
        let mut written = 0;
        while written < rows {
            let mut entries = Vec::new();
            for _ in 0..1_000 {
                let asked = Asked { tcp: chance.below(2) == 1, server: chance.of(&servers) };
                entries.push(Entry {
                    at: ringdns_shard::Time::from_micros(chance.below(1_000_000)),
                    latency_micros: chance.below(500) as u32,
                    client: chance.of(&clients).parse().unwrap(),
                    name: if chance.below(50) == 0 { b"" } else { chance.of(&NAMES) },
                    qtype: chance.of(&[1, 28, 65, 65_280]),
                    rcode: chance.of(&[Some(0), Some(3), Some(23), None]),
                    transport: chance.of(&Transport::ALL),
                    outcome: chance.of(Outcome::ALL),
                    policy: if chance.below(4) == 0 { chance.of(Policy::ALL) } else { Policy::None },
                    upstream: (chance.below(5) == 0).then_some(asked),
                    ..entry(0, b"")
                });
            }
            let sample = if written < rows / 2 { 1 } else { 1 + chance.below(3) as u32 };
            store.write(&rows_of(written, sample, &entries), Masks::new(32, 128), KEEP).unwrap();
            written += 1_000;
            store.tend(Bounds { now: DAY, keep: KEEP, expires: true }).unwrap();
        }
        assert!(store.segments.len() > 2 && store.segments[1].is_indexed(), "{:?}", store.segments);
        assert_eq!(store.segments.last().map(|segment| segment.stage), Some(super::super::store::WRITTEN));
        store.close().unwrap();
        let mut model = Model { _folder: folder, file, rows: Vec::new() };
        model.rows = model.all(&Filter::default(), 1_000);
        assert_eq!(model.rows.len() as u64, rows);
        model
    }

    fn reader(&self) -> Reader {
        Reader::open(&self.file, PATIENCE).unwrap()
    }

    /// All that is found, page by page.
    fn all(&self, filter: &Filter, limit: usize) -> Vec<Logged> {
        let (mut all, mut cursor) = (Vec::new(), None);
        loop {
            let found = self.reader().find(filter, Page { cursor, limit }).unwrap();
            assert!(found.rows.len() == limit || found.next.is_none(), "a page is full but for the last");
            all.extend(found.rows);
            cursor = found.next;
            if cursor.is_none() {
                return all;
            }
        }
    }

    fn expected(&self, filter: &Filter) -> Vec<&Logged> {
        self.rows.iter().filter(|row| holds(filter, row)).collect()
    }
}

/// The rows of a batch of its own second.
fn rows_of<'a>(second: u64, sample: u32, entries: &[Entry<'a>]) -> Vec<super::super::row::Row<'a>> {
    let mut rows: Vec<_> = entries
        .iter()
        .map(|&entry| super::super::row::Row {
            unix_micros: DAY + second * 1_000 + entry.at.as_micros(),
            core: 0,
            weight: sample,
            entry,
        })
        .collect();
    rows.sort_by_key(|row| row.unix_micros);
    rows
}

fn is_blocked(row: &Logged) -> bool {
    row.policy != Policy::None && matches!(row.outcome, Outcome::Refused | Outcome::Dropped)
}

/// Whether a row is meant, by the words of [`Filter`].
fn holds(filter: &Filter, row: &Logged) -> bool {
    let name = || row.name.as_ref().map(|name| name.parse::<ringdns_shard::wire::name::Name>().unwrap());
    let is_below = |apex: &ringdns_shard::wire::name::Name| {
        name().is_some_and(|name| {
            let (name, apex) = (labels(&name), labels(apex));
            name.len() >= apex.len() && name[name.len() - apex.len()..] == apex[..]
        })
    };
    filter.from.is_none_or(|from| row.unix_micros >= from)
        && filter.to.is_none_or(|to| row.unix_micros < to)
        && filter.client.is_none_or(|network| network.contains(row.client))
        && filter.name.as_ref().is_none_or(|wanted| name().as_ref() == Some(wanted))
        && filter.subtree.as_ref().is_none_or(is_below)
        && filter.qtype.is_none_or(|qtype| row.qtype == qtype)
        && filter.rcode.is_none_or(|rcode| row.rcode == Some(rcode))
        && filter.transport.is_none_or(|transport| row.transport == transport)
        && filter.outcome.is_none_or(|outcome| row.outcome == outcome)
        && filter.policy.is_none_or(|policy| row.policy == policy)
        && filter.blocked.is_none_or(|blocked| is_blocked(row) == blocked)
        && filter.min_latency_micros.is_none_or(|least| row.latency_micros >= least)
}

fn labels(name: &ringdns_shard::wire::name::Name) -> Vec<Vec<u8>> {
    ringdns_shard::wire::name::labels(name.as_wire()).map(<[u8]>::to_vec).collect()
}

/// One of each condition, and some together.
fn filters() -> Vec<Filter> {
    let none = Filter::default;
    let name = |text: &str| Some(text.parse().unwrap());
    let (from, to) = (Some(DAY + 3_000_000), Some(DAY + 9_500_000));
    vec![
        none(),
        Filter { from, ..none() },
        Filter { to, ..none() },
        Filter { from, to, ..none() },
        Filter { from: Some(u64::MAX), ..none() },
        Filter { to: Some(0), ..none() },
        Filter { client: Some("192.0.2.9".parse().unwrap()), ..none() },
        Filter { client: Some("192.0.2.0/24".parse().unwrap()), ..none() },
        Filter { client: Some("0.0.0.0/0".parse().unwrap()), ..none() },
        Filter { client: Some("c000::/8".parse().unwrap()), ..none() },
        // They end with the IPv4-mapped addresses.
        Filter { client: Some("::fffe:0:0/95".parse().unwrap()), ..none() },
        Filter { client: Some("::/80".parse().unwrap()), ..none() },
        Filter { name: name("www.example.test"), ..none() },
        Filter { name: name("."), ..none() },
        Filter { name: name(r#"it's".test"#), ..none() },
        Filter { name: name("absent.test"), ..none() },
        Filter { subtree: name("example.test"), ..none() },
        Filter { subtree: name("test"), ..none() },
        Filter { subtree: name("."), ..none() },
        Filter { subtree: name("example.test"), name: name("example2.test"), ..none() },
        Filter { qtype: Some(28), ..none() },
        Filter { rcode: Some(23), ..none() },
        Filter { transport: Some(Transport::Tcp), ..none() },
        Filter { outcome: Some(Outcome::Stale), ..none() },
        Filter { policy: Some(Policy::Acl), ..none() },
        Filter { blocked: Some(true), ..none() },
        Filter { blocked: Some(false), ..none() },
        Filter { min_latency_micros: Some(480), ..none() },
        Filter { blocked: Some(true), subtree: name("example.test"), from, to, ..none() },
        Filter { client: Some("192.0.2.9".parse().unwrap()), qtype: Some(1), rcode: Some(0), to, ..none() },
    ]
}

#[test]
fn answers_are_those_of_a_search_from_end_to_end() {
    let model = Model::new(20_000);
    let reader = model.reader();
    for filter in filters() {
        let expected = model.expected(&filter);
        let found = model.all(&filter, 997);
        assert_eq!(found.len(), expected.len(), "{filter:?}");
        assert!(found.iter().eq(expected.iter().copied()), "{filter:?}");
        for width in [1, 7, 86_400] {
            assert_eq!(reader.series(&filter, width).unwrap(), series(&expected, width), "{filter:?}");
        }
        for of in Top::ALL {
            let ranking = reader.top(&filter, of, 4).unwrap();
            let places = ranking.places.iter().map(|place| (place.key.clone(), place.rows, place.queries));
            let mut counts = counts(&expected, of);
            // Of those with as many, any may be left out.
            counts.sort_by_key(|count| std::cmp::Reverse(count.2));
            let shown: Vec<_> = places.collect();
            let queries = |list: &[(String, u64, u64)]| list.iter().map(|place| place.2).collect::<Vec<_>>();
            assert_eq!(queries(&shown), queries(&counts[..counts.len().min(4)]), "{filter:?} {of:?}");
            assert!(shown.iter().all(|place| counts.contains(place)), "{filter:?} {of:?} {shown:?} {counts:?}");
            assert_eq!(ranking.error, 0);
        }
    }
}

fn series(rows: &[&Logged], width: u32) -> Vec<Bucket> {
    let mut buckets = BTreeMap::<u64, Bucket>::new();
    for row in rows {
        let begin = row.unix_micros / 1_000_000 / u64::from(width) * u64::from(width);
        let bucket = buckets.entry(begin).or_default();
        let weight = u64::from(row.weight);
        bucket.unix_seconds = begin;
        bucket.rows += 1;
        bucket.queries += weight;
        bucket.blocked += weight * u64::from(is_blocked(row));
        bucket.outcomes[row.outcome as usize] += weight;
        bucket.latency_micros += weight * u64::from(row.latency_micros);
    }
    buckets.into_values().collect()
}

fn counts(rows: &[&Logged], of: Top) -> Vec<(String, u64, u64)> {
    let mut counts = BTreeMap::<String, (u64, u64)>::new();
    for row in rows {
        let key = match of {
            Top::BlockedNames | Top::BlockedClients if !is_blocked(row) => continue,
            Top::Upstreams if row.upstream.is_none() => continue,
            Top::Names | Top::BlockedNames => row.name.clone().unwrap_or_default(),
            Top::Clients | Top::BlockedClients => row.client.to_string(),
            Top::Types => match row.qtype {
                1 => "A".to_owned(),
                28 => "AAAA".to_owned(),
                65 => "HTTPS".to_owned(),
                other => format!("TYPE{other}"),
            },
            Top::Rcodes => match row.rcode {
                None => "none".to_owned(),
                Some(0) => "NOERROR".to_owned(),
                Some(3) => "NXDOMAIN".to_owned(),
                Some(_) => "BADCOOKIE".to_owned(),
            },
            Top::Outcomes => row.outcome.name().to_owned(),
            Top::Policies => row.policy.name().to_owned(),
            Top::Transports => row.transport.name().to_owned(),
            Top::Upstreams => row.upstream.clone().unwrap_or_default(),
        };
        let count = counts.entry(key).or_default();
        *count = (count.0 + 1, count.1 + u64::from(row.weight));
    }
    counts.into_iter().map(|(key, (rows, queries))| (key, rows, queries)).collect()
}

#[test]
fn bounds_on_answers_hold_whatever_is_asked_for() {
    let model = Model::new(20_000);
    let reader = model.reader();
    let everything = Filter::default();
    assert_eq!(reader.find(&everything, page(usize::MAX)).unwrap().rows.len(), PAGE_ROWS_MAX);
    let found = reader.find(&everything, page(0)).unwrap();
    assert!(found.rows.is_empty());
    for (cursor, rows) in [(i64::MAX, 5), (i64::MIN, 0), (0, 0), (1, 0), (2, 1)] {
        let found = reader.find(&everything, Page { cursor: Some(Cursor(cursor)), limit: 5 }).unwrap();
        assert_eq!(found.rows.len(), rows, "{cursor}");
    }
    assert_eq!(reader.series(&everything, 0).unwrap(), reader.series(&everything, 1).unwrap());
    assert!(reader.top(&everything, Top::Names, usize::MAX).unwrap().places.len() <= RANKS_MAX);
    assert!(reader.top(&everything, Top::Names, 0).unwrap().places.is_empty());
}

#[test]
fn a_series_of_too_many_buckets_is_refused() {
    let folder = TempDir::new().unwrap();
    let (recorder, log) = started(wanted(folder.path()));
    recorder.logged(handed(0, DAY, 1, &[entry(0, b"\0")]));
    recorder.logged(handed(0, DAY + 20_000_000_000, 1, &[entry(0, b"\0")]));
    stored(&log, 2);
    assert_eq!(log.series(&Filter::default(), 1), Err(NotFound::TooManyBuckets));
    assert_eq!(log.series(&Filter::default(), 3).unwrap().len(), 2);
    let late = Filter { from: Some(DAY + 19_000_000_000), ..Filter::default() };
    assert_eq!(log.series(&late, 1).unwrap().len(), 1);
    assert_eq!(log.figures().questions_failed, 1);
}

#[test]
fn a_question_without_time_is_cut_off() {
    let model = Model::new(20_000);
    let cut = |steps: u64| {
        let mut reader = model.reader();
        let mut left = steps;
        reader.patience(move || {
            left = left.saturating_sub(1);
            left == 0
        });
        reader
    };
    let slow = Filter { min_latency_micros: Some(1_000), to: Some(DAY + 1_000_000), ..Filter::default() };
    assert_eq!(cut(1).find(&slow, page(10)), Err(NotFound::TooLong));
    assert_eq!(cut(1).series(&slow, 1), Err(NotFound::TooLong));
    assert_eq!(cut(1).top(&slow, Top::Names, 10), Err(NotFound::TooLong));
    // What has been looked at is not looked at again.
    let filter = Filter { min_latency_micros: Some(499), ..Filter::default() };
    let (mut found, mut cursor, mut pages) = (Vec::new(), None, 0);
    loop {
        let part = cut(10).find(&filter, Page { cursor, limit: 1_000 }).unwrap();
        found.extend(part.rows);
        pages += 1;
        assert!(pages < 100 && (part.next.is_none() || part.next != cursor));
        cursor = part.next;
        if cursor.is_none() {
            break;
        }
    }
    assert!(found.iter().eq(model.expected(&filter)) && pages > 1, "{pages}");
}

#[test]
fn as_many_questions_as_may_be_are_answered_at_a_time() {
    let asking = AtomicUsize::new(0);
    let mut places: Vec<_> = (0..QUESTIONS_MAX).map(|_| Asking::begin(&asking).unwrap()).collect();
    assert!(Asking::begin(&asking).is_none() && Asking::begin(&asking).is_none());
    places.pop();
    assert!(Asking::begin(&asking).is_some());
    let folder = TempDir::new().unwrap();
    let (_recorder, log) = started(wanted(folder.path()));
    stored(&log, 0);
    let others: Vec<_> = (0..QUESTIONS_MAX).map(|_| Asking::begin(&log.0.asking).unwrap()).collect();
    assert_eq!(log.find(&Filter::default(), page(1)), Err(NotFound::Busy));
    drop(others);
    assert_eq!(log.find(&Filter::default(), page(1)), Ok(Found::default()));
}

#[test]
fn a_reader_cannot_write() {
    let model = Model::new(20_000);
    let reader = model.reader();
    for sql in ["DELETE FROM segment", "CREATE TABLE x (y)", "PRAGMA user_version = 9", "CREATE TEMP TABLE x (y)"] {
        assert!(reader.run(sql).is_err(), "{sql}");
    }
}
