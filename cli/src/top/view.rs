//! What is shown: the differences between what the server told at two moments, as rates.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::ctl::show::standing;
use crate::ctl::text::{list, words};

/// What the server told at one moment: `/stats` and `/status`.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) stats: Value,
    pub(super) status: Value,
}

/// A rate; `None` where there is nothing to compare with.
type PerSecond = Option<f64>;

/// Something that is counted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rate {
    pub(super) name: String,
    pub(super) per_second: PerSecond,
}

/// How long something took.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Latency {
    pub(super) name: &'static str,
    pub(super) per_second: PerSecond,
    /// Microseconds that the [`SHARES`] of all did not exceed.
    pub(super) micros: [Option<u64>; SHARES.len()],
}

/// The shares of what took a time that are shown.
pub(super) const SHARES: [f64; 4] = [0.5, 0.9, 0.99, 0.999];

/// A core.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Core {
    pub(super) core: Option<u64>,
    pub(super) answers: bool,
    pub(super) cpu: Option<u64>,
    /// The part of its CPU that it used.
    pub(super) busy: Option<f64>,
    pub(super) queries: PerSecond,
    pub(super) dropped: PerSecond,
}

/// The caches of all cores together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Cache {
    pub(super) entries: Option<u64>,
    pub(super) octets: Option<u64>,
    pub(super) octets_max: Option<u64>,
    /// The part of the lookups that found an answer.
    pub(super) hits: Option<f64>,
    pub(super) rates: Vec<Rate>,
}

/// A server that is asked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Upstream {
    pub(super) server: String,
    pub(super) pools: String,
    /// The worst that a core thinks of it, and how many do of how many.
    pub(super) standing: &'static str,
    pub(super) cores: (u64, u64),
    pub(super) round_trip_micros: Option<u64>,
    pub(super) loss_percent: Option<u64>,
    pub(super) asked: PerSecond,
    pub(super) silent: PerSecond,
    pub(super) in_flight: Option<u64>,
}

/// A page of figures.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    pub(super) version: String,
    pub(super) uptime_seconds: Option<u64>,
    /// How many cores answer, of how many.
    pub(super) answering: (usize, usize),
    /// What is out of the ordinary.
    pub(super) notes: Vec<String>,
    /// Between the two moments; `None`: there was none before, or the server has been started anew since.
    pub(super) span_micros: Option<u64>,
    /// By transport.
    pub(super) queries: Vec<Rate>,
    /// By response code.
    pub(super) replies: Vec<Rate>,
    /// By reason.
    pub(super) drops: Vec<Rate>,
    pub(super) latencies: Vec<Latency>,
    pub(super) in_flight: Option<u64>,
    pub(super) waiters: Option<u64>,
    pub(super) connections: Option<u64>,
    pub(super) cache: Cache,
    pub(super) cores: Vec<Core>,
    pub(super) upstreams: Vec<Upstream>,
    pub(super) upstreams_left_out: u64,
}

const TRANSPORTS: &[&str] = &["udp", "tcp"];
const RCODES: &[&str] = &["NOERROR", "NXDOMAIN", "SERVFAIL", "REFUSED", "FORMERR", "NOTIMP", "NOTAUTH", "other"];
const CACHE_RATES: &[&str] = &["misses", "stale", "coalesced", "inserts", "evictions", "expired", "refreshes"];
/// Counters of one kind that are shown.
const RATES_MAX: usize = 16;

/// Two moments, the earlier where there is one to compare with.
struct Pair<'s> {
    before: Option<&'s Value>,
    now: &'s Value,
    span_micros: Option<u64>,
}

impl Pair<'_> {
    /// By how much a counter has grown; `None` where it cannot be said.
    fn growth(&self, pointer: &str) -> Option<u64> {
        let (before, now) = (self.before?.pointer(pointer)?.as_u64()?, self.now.pointer(pointer)?.as_u64()?);
        Some(now.saturating_sub(before))
    }

    fn per_second(&self, pointer: &str) -> PerSecond {
        Some(self.growth(pointer)? as f64 * 1e6 / self.span_micros? as f64)
    }

    /// The counters of an object, those of `order` first.
    fn rates(&self, pointer: &str, order: &[&str]) -> Vec<Rate> {
        let members = self.now.pointer(pointer).and_then(Value::as_object);
        let mut names: Vec<&String> = members.into_iter().flatten().map(|(name, _)| name).collect();
        names.sort_by_key(|name| order.iter().position(|known| known == name).unwrap_or(order.len()));
        let rate = |name: &String| {
            // In pointers both have a meaning (RFC 6901 §3).
            let member = name.replace('~', "~0").replace('/', "~1");
            let per_second = self.per_second(&format!("{pointer}/{member}"));
            Rate { name: words(&Value::String(name.clone())), per_second }
        };
        names.into_iter().take(RATES_MAX).map(rate).collect()
    }

    fn latency(&self, name: &'static str, pointer: &str) -> Latency {
        let now = buckets(self.now.pointer(pointer));
        let Some(before) = self.before.filter(|_| self.span_micros.is_some()) else {
            return Latency { name, per_second: None, micros: [None; SHARES.len()] };
        };
        let mut since = now;
        for (upper, count) in buckets(before.pointer(pointer)) {
            since.entry(upper).and_modify(|now| *now = now.saturating_sub(count));
        }
        let count = since.values().fold(0, |all: u64, &count| all.saturating_add(count));
        let micros = SHARES.map(|share| quantile(&since, count, share));
        Latency { name, per_second: self.span_micros.map(|span| count as f64 * 1e6 / span as f64), micros }
    }
}

/// The buckets of a histogram, by the longest span in each.
fn buckets(histogram: Option<&Value>) -> BTreeMap<u64, u64> {
    let buckets = histogram.and_then(|histogram| histogram["buckets"].as_array()).into_iter().flatten();
    buckets.filter_map(|bucket| Some((bucket.get(0)?.as_u64()?, bucket.get(1)?.as_u64()?))).collect()
}

/// The span that a share of `count` does not exceed.
fn quantile(buckets: &BTreeMap<u64, u64>, count: u64, share: f64) -> Option<u64> {
    let rank = ((count as f64 * share).ceil() as u64).clamp(1, count.max(1));
    let mut below = 0u64;
    buckets.iter().find_map(|(&upper, &count)| {
        below = below.saturating_add(count);
        (below >= rank).then_some(upper)
    })
}

/// The cores that answer, by number.
fn answering(stats: &Value) -> Vec<Option<u64>> {
    let cores = stats["cores"].as_array().into_iter().flatten();
    cores.filter(|core| core["answers"] == true).map(|core| core["core"].as_u64()).collect()
}

impl View {
    /// What `now` shows, and the rates since `before`.
    pub(super) fn between(before: Option<&Sample>, now: &Sample) -> View {
        let (stats, status) = (&now.stats, &now.status);
        let is_earlier = |before: &&Sample| before.stats["now_us"].as_u64() < stats["now_us"].as_u64();
        let before = before.filter(is_earlier);
        let span_micros =
            before.and_then(|before| stats["now_us"].as_u64()?.checked_sub(before.stats["now_us"].as_u64()?));
        // Sums over different cores say nothing about each other.
        let alike = before.filter(|before| answering(&before.stats) == answering(stats));
        let pair = Pair { before: alike.map(|before| &before.stats), now: stats, span_micros };
        let figure = |pointer: &str| stats.pointer(pointer).and_then(Value::as_u64);
        View {
            version: words(&status["version"]),
            uptime_seconds: figure("/uptime_seconds"),
            answering: (answering(stats).len(), stats["cores"].as_array().map_or(0, Vec::len)),
            notes: notes(status),
            span_micros,
            queries: pair.rates("/queries", TRANSPORTS),
            replies: pair.rates("/replies", RCODES),
            drops: pair.rates("/drops", &[]),
            latencies: vec![
                pair.latency("udp, at once", "/latency/udp/at_once"),
                pair.latency("udp, waited", "/latency/udp/waited"),
                pair.latency("tcp, at once", "/latency/tcp/at_once"),
                pair.latency("tcp, waited", "/latency/tcp/waited"),
                pair.latency("upstreams", "/round_trips"),
            ],
            in_flight: figure("/queues/questions_in_flight"),
            waiters: figure("/queues/waiters"),
            connections: figure("/queues/tcp_connections"),
            cache: cache(&pair),
            cores: cores(before, stats, span_micros),
            upstreams: upstreams(before, status, span_micros),
            upstreams_left_out: status["upstreams_left_out"].as_u64().unwrap_or(0),
        }
    }

    /// All transports together.
    pub(super) fn all_queries(&self) -> PerSecond {
        self.queries.iter().map(|rate| rate.per_second).sum()
    }

    /// All of it for programs.
    pub(super) fn to_json(&self) -> Value {
        let rates = |rates: &[Rate]| -> Value {
            rates
                .iter()
                .map(|rate| (rate.name.clone(), json!(rate.per_second)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        let latency = |latency: &Latency| {
            let [p50, p90, p99, p999] = latency.micros;
            json!({ "of": latency.name, "per_second": latency.per_second, "p50_us": p50, "p90_us": p90, "p99_us": p99,
                "p999_us": p999 })
        };
        let core = |core: &Core| {
            json!({ "core": core.core, "answers": core.answers, "cpu": core.cpu, "busy": core.busy,
                "queries_per_second": core.queries, "dropped_per_second": core.dropped })
        };
        let upstream = |upstream: &Upstream| {
            json!({ "server": upstream.server, "pools": upstream.pools, "standing": upstream.standing,
                "round_trip_us": upstream.round_trip_micros, "loss_percent": upstream.loss_percent,
                "asked_per_second": upstream.asked, "silent_per_second": upstream.silent,
                "in_flight": upstream.in_flight })
        };
        json!({
            "version": self.version,
            "uptime_seconds": self.uptime_seconds,
            "cores_answering": self.answering.0,
            "notes": self.notes,
            "interval_us": self.span_micros,
            "queries_per_second": rates(&self.queries),
            "replies_per_second": rates(&self.replies),
            "dropped_per_second": rates(&self.drops),
            "latencies": self.latencies.iter().map(latency).collect::<Vec<_>>(),
            "questions_in_flight": self.in_flight,
            "waiters": self.waiters,
            "tcp_connections": self.connections,
            "cache": {
                "entries": self.cache.entries,
                "octets": self.cache.octets,
                "octets_max": self.cache.octets_max,
                "hits": self.cache.hits,
                "per_second": rates(&self.cache.rates),
            },
            "cores": self.cores.iter().map(core).collect::<Vec<_>>(),
            "upstreams": self.upstreams.iter().map(upstream).collect::<Vec<_>>(),
            "upstreams_left_out": self.upstreams_left_out,
        })
    }
}

/// What is out of the ordinary.
fn notes(status: &Value) -> Vec<String> {
    let mut notes = Vec::new();
    if status["draining"] == true {
        notes.push("draining".to_owned());
    }
    if status["restoring"] == true {
        notes.push("the cache is being read from its file".to_owned());
    }
    for (member, title) in [("query_log", "query log"), ("dnstap", "dnstap")] {
        if let Value::String(_) = status[member]["trouble"] {
            notes.push(format!("{title}: {}", words(&status[member]["trouble"])));
        }
    }
    notes
}

fn cache(pair: &Pair<'_>) -> Cache {
    let figure = |member: &str| pair.now["cache"][member].as_u64();
    let lookups = pair.growth("/cache/hits").zip(pair.growth("/cache/misses"));
    let hits = lookups.and_then(|(hits, misses)| match hits.saturating_add(misses) {
        0 => None,
        all => Some(hits as f64 / all as f64),
    });
    let rate = |name: &&str| Rate { name: (*name).to_owned(), per_second: pair.per_second(&format!("/cache/{name}")) };
    Cache {
        entries: figure("entries"),
        octets: figure("octets"),
        octets_max: figure("octets_max"),
        hits,
        rates: CACHE_RATES.iter().map(rate).collect(),
    }
}

/// The member of a list that is the same thing as `item`.
fn same<'v>(all: Option<&'v Value>, list: &str, key: &str, item: &Value) -> Option<&'v Value> {
    all?[list].as_array()?.iter().find(|other| other[key] == item[key] && !item[key].is_null())
}

fn cores(before: Option<&Sample>, stats: &Value, span_micros: Option<u64>) -> Vec<Core> {
    let core = |core: &Value| {
        let before = same(before.map(|before| &before.stats), "cores", "core", core);
        let pair = Pair { before, now: core, span_micros };
        let busy = pair.per_second("/cpu_us").map(|micros| (micros / 1e6).min(1.0));
        Core {
            core: core["core"].as_u64(),
            answers: core["answers"] == true,
            cpu: core["cpu"].as_u64(),
            busy,
            queries: pair.per_second("/queries"),
            dropped: pair.per_second("/dropped"),
        }
    };
    stats["cores"].as_array().into_iter().flatten().map(core).collect()
}

fn upstreams(before: Option<&Sample>, status: &Value, span_micros: Option<u64>) -> Vec<Upstream> {
    let before: BTreeMap<&str, &Value> = before
        .and_then(|before| before.status["upstreams"].as_array())
        .into_iter()
        .flatten()
        .filter_map(|server| Some((server["server"].as_str()?, server)))
        .collect();
    let upstream = |server: &Value| {
        let before = server["server"].as_str().and_then(|name| before.get(name).copied());
        let pair = Pair { before, now: server, span_micros };
        let (standing, cores, all) = standing(server);
        Upstream {
            server: words(&server["server"]),
            pools: list(&server["pools"]),
            standing,
            cores: (cores, all),
            round_trip_micros: server["round_trip_us"].as_u64(),
            loss_percent: server["loss_percent"].as_u64(),
            asked: pair.per_second("/asked"),
            silent: pair.per_second("/silent"),
            in_flight: server["in_flight"].as_u64(),
        }
    };
    status["upstreams"].as_array().into_iter().flatten().map(upstream).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What a server with two cores tells after `seconds`, having had 100 queries a second.
    pub(in crate::top) fn sample(seconds: u64) -> Sample {
        let fast =
            json!({ "count": 0, "sum_us": 0, "buckets": [[3, 89 * seconds], [7, 10 * seconds], [1_023, seconds]] });
        let none = json!({ "count": 0, "sum_us": 0, "buckets": [] });
        let core = |core: u64| {
            json!({ "core": core, "answers": true, "cpu": core + 4, "cpu_us": (core + 1) * 250_000 * seconds,
                "queries": 50 * seconds, "dropped": core * seconds })
        };
        let stats = json!({
            "now_us": seconds * 1_000_000, "unix_us": 0, "uptime_seconds": seconds, "cores_answering": 2,
            "cores": [core(0), core(1)],
            "queries": { "tcp": 2 * seconds, "udp": 98 * seconds },
            "replies": { "NOERROR": 90 * seconds, "NXDOMAIN": 9 * seconds, "other": 0 },
            "drops": { "malformed": seconds, "rate": 0 },
            "latency": { "udp": { "at_once": fast, "waited": none }, "tcp": { "at_once": none, "waited": none } },
            "round_trips": none,
            "queues": { "questions_in_flight": 3, "waiters": 2, "tcp_connections": 1 },
            "cache": { "entries": 1_000, "octets": 1 << 20, "octets_max": 1 << 28, "hits": 75 * seconds,
                "misses": 25 * seconds, "stale": 0, "inserts": 25 * seconds },
        });
        let server = |address: &str, up: u64, down: u64| {
            json!({ "server": address, "pools": ["origin"], "cores_up": up, "cores_lossy": 0, "cores_down": down,
                "round_trip_us": 1_260, "loss_percent": 5, "in_flight": 1, "asked": 25 * seconds, "silent": seconds })
        };
        let status = json!({
            "version": "0.1.0", "draining": false, "restoring": false,
            "query_log": { "enabled": true, "trouble": null },
            "upstreams": [server("udp://192.0.2.1:53", 2, 0), server("udp://192.0.2.2:53", 0, 2)],
            "upstreams_left_out": 0,
        });
        Sample { stats, status }
    }

    fn per_second(rates: &[Rate], name: &str) -> PerSecond {
        rates.iter().find(|rate| rate.name == name).unwrap_or_else(|| panic!("no {name}")).per_second
    }

    #[test]
    fn rates_are_what_came_between_two_moments() {
        let view = View::between(Some(&sample(10)), &sample(12));
        assert_eq!(view.span_micros, Some(2_000_000));
        assert_eq!(view.queries[0], Rate { name: "udp".to_owned(), per_second: Some(98.0) });
        assert_eq!((per_second(&view.queries, "tcp"), view.all_queries()), (Some(2.0), Some(100.0)));
        assert_eq!(
            (per_second(&view.replies, "NXDOMAIN"), per_second(&view.drops, "malformed")),
            (Some(9.0), Some(1.0))
        );
        assert_eq!((view.cache.hits, per_second(&view.cache.rates, "misses")), (Some(0.75), Some(25.0)));
        assert_eq!(per_second(&view.cache.rates, "expired"), None, "the server does not tell it");
        assert_eq!(
            (view.cores[0].busy, view.cores[1].busy, view.cores[1].queries),
            (Some(0.25), Some(0.5), Some(50.0))
        );
        assert_eq!((view.upstreams[0].asked, view.upstreams[1].standing), (Some(25.0), "down"));
        let latency = &view.latencies[0];
        assert_eq!((latency.per_second, latency.micros), (Some(100.0), [Some(3), Some(7), Some(7), Some(1_023)]));
        assert_eq!((view.latencies[1].per_second, view.latencies[1].micros), (Some(0.0), [None; 4]));
        assert_eq!(view.to_json()["queries_per_second"], json!({ "udp": 98.0, "tcp": 2.0 }));
        assert_eq!(view.to_json()["latencies"][0]["p999_us"], 1_023);
    }

    #[test]
    fn there_are_no_rates_where_nothing_can_be_compared() {
        let restarted = View::between(Some(&sample(10)), &sample(1));
        let first = View::between(None, &sample(1));
        assert_eq!(restarted, first);
        assert_eq!((first.span_micros, first.all_queries(), first.cores[0].busy), (None, None, None));
        assert_eq!((first.latencies[0].per_second, first.cache.hits), (None, None));
        assert_eq!((first.cache.entries, first.waiters), (Some(1_000), Some(2)));
        // A core that is silent takes its figures out of the sums.
        let mut silent = sample(12);
        silent.stats["cores"][1] = json!({ "core": 1, "answers": false });
        silent.stats["queries"] = json!({ "udp": 5, "tcp": 1 });
        for (before, now) in [(sample(10), silent.clone()), (silent, sample(14))] {
            let view = View::between(Some(&before), &now);
            assert_eq!((view.all_queries(), view.latencies[0].per_second), (None, None));
            assert_eq!((view.cores[0].queries, view.cores[1].queries), (Some(50.0), None));
        }
    }

    #[test]
    fn what_is_out_of_the_ordinary_is_noted() {
        let mut odd = sample(1);
        odd.status["draining"] = json!(true);
        odd.status["query_log"]["trouble"] = json!("disk\u{1b} full");
        assert_eq!(View::between(None, &odd).notes, ["draining", "query log: disk? full"]);
    }

    #[test]
    fn answers_of_any_shape_are_taken() {
        let odd = json!({
            "now_us": u64::MAX, "cores": [7, null, { "core": "x", "answers": true, "cpu_us": -1 }, { "answers": true }],
            "queries": { "udp": u64::MAX, "a/b~c\u{1b}": 1, "tcp": -1 }, "replies": [1], "drops": 7,
            "latency": { "udp": { "at_once": { "buckets": [[1], 7, [2, u64::MAX], [3, u64::MAX], ["a", 1]] } } },
            "cache": "none", "queues": null,
        });
        let before =
            Sample { stats: json!({ "now_us": 1, "queries": { "udp": 5, "a/b~c\u{1b}": 0 } }), status: json!(null) };
        let now = Sample {
            stats: odd.clone(),
            status: json!({ "upstreams": [7, { "server": 1, "cores_up": u64::MAX, "cores_down": u64::MAX }] }),
        };
        let view = View::between(Some(&before), &now);
        assert_eq!((view.cores.len(), view.upstreams.len(), view.queries.len()), (4, 2, 3));
        let mut same = now.clone();
        same.stats["now_us"] = json!(2);
        let mut earlier = same.clone();
        earlier.stats["now_us"] = json!(1);
        let view = View::between(Some(&earlier), &same);
        assert_eq!(per_second(&view.queries, "a/b~c?"), Some(0.0));
        for stats in [json!(null), json!([]), json!({ "now_us": "x" })] {
            let view = View::between(Some(&now), &Sample { stats, status: json!(7) });
            assert_eq!((view.version.as_str(), view.span_micros), ("-", None));
        }
    }
}
