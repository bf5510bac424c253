//! A view as lines of text: what stands above, and panes of rows that can be scrolled.

use super::names::Names;
use super::view::{Latency, Rate, View};
use crate::ctl::table::Column::{self, Figures, Words};
use crate::ctl::table::Table;
use crate::ctl::text::{absent, micros_of, octets_of, span};

/// How much a line is to stand out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    Plain,
    Title,
    Warning,
    Fault,
}

pub(super) type Line = (Weight, String);

/// A column as wide as any rate: so that what stands beside it stays where it is.
const RATE: Column = Figures("   /S");
/// Columns between what stands side by side.
const GAP: usize = 4;

fn plain(text: String) -> Line {
    (Weight::Plain, text)
}

/// A rate in few digits.
fn rate(per_second: Option<f64>) -> String {
    match per_second {
        None => absent(),
        Some(rate) if rate < 0.05 => "0".to_owned(),
        Some(rate) if rate < 9.95 => format!("{rate:.1}"),
        Some(rate) if rate < 99_999.5 => format!("{rate:.0}"),
        Some(rate) if rate < 9_999_500.0 => format!("{:.0}k", rate / 1e3),
        Some(rate) => format!("{:.1}M", rate / 1e6),
    }
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(absent, |share| format!("{:.1} %", share * 100.0))
}

fn figure(figure: Option<u64>) -> String {
    figure.map_or_else(absent, |figure| figure.to_string())
}

/// What the server is and how it does: one line, and one for each note.
pub(super) fn head(view: &View, place: &str) -> Vec<Line> {
    let (answering, cores) = view.answering;
    let line = format!(
        "ringdns {} at {place}, up for {}; {answering} of {cores} cores answer",
        view.version,
        view.uptime_seconds.map_or_else(absent, span)
    );
    let notes = view.notes.iter().map(|note| (Weight::Warning, note.clone()));
    let state = if answering < cores { Weight::Fault } else { Weight::Title };
    std::iter::once((state, line)).chain(notes).collect()
}

/// Rates and latencies, side by side as far as `width` columns take it, and the cache.
pub(super) fn summary(view: &View, width: usize) -> Vec<Line> {
    let blocks = [queries(view), replies(view), latencies(&view.latencies), dropped(view)];
    let mut lines = Vec::new();
    let mut row: Vec<Vec<String>> = Vec::new();
    for block in blocks.into_iter().filter(|block| !block.is_empty()) {
        let columns: usize = row.iter().chain([&block]).map(|block| wide(block) + GAP).sum();
        if !row.is_empty() && columns > width + GAP {
            lines.extend(beside(&row));
            row.clear();
        }
        row.push(block);
    }
    lines.extend(beside(&row));
    lines.extend(cache(view));
    lines
}

/// The width of a block of lines.
fn wide(block: &[String]) -> usize {
    block.iter().map(|line| line.chars().count()).max().unwrap_or(0)
}

/// Blocks of lines side by side; their first lines are titles.
fn beside(blocks: &[Vec<String>]) -> Vec<Line> {
    let height = blocks.iter().map(Vec::len).max().unwrap_or(0);
    let line = |at: usize| {
        let cells = blocks.iter().map(|block| {
            let (cell, width) = (block.get(at).map_or("", String::as_str), wide(block) + GAP);
            format!("{cell:<width$}")
        });
        let text = cells.collect::<String>().trim_end().to_owned();
        (if at == 0 { Weight::Title } else { Weight::Plain }, text)
    };
    (0..height).map(line).collect()
}

fn block<const N: usize>(columns: [Column; N], rows: &[[String; N]]) -> Vec<String> {
    Table::whole(columns, rows).lines().map(str::to_owned).collect()
}

fn queries(view: &View) -> Vec<String> {
    let mut rows: Vec<[String; 2]> =
        view.queries.iter().map(|queries| [queries.name.clone(), rate(queries.per_second)]).collect();
    let dropped: Option<f64> = view.drops.iter().map(|reason| reason.per_second).sum();
    rows.extend([["all".to_owned(), rate(view.all_queries())], ["dropped".to_owned(), rate(dropped)]]);
    for (title, count) in [("in flight", view.in_flight), ("waiting", view.waiters), ("TCP open", view.connections)] {
        rows.push([title.to_owned(), figure(count)]);
    }
    block([Words("QUERIES"), RATE], &rows)
}

/// The response codes that there are, and the usual ones.
fn replies(view: &View) -> Vec<String> {
    const USUAL: [&str; 4] = ["NOERROR", "NXDOMAIN", "SERVFAIL", "REFUSED"];
    let is_shown =
        |reply: &&Rate| USUAL.contains(&reply.name.as_str()) || reply.per_second.is_some_and(|rate| rate > 0.0);
    let all: Option<f64> = view.replies.iter().map(|reply| reply.per_second).sum();
    let rows: Vec<[String; 3]> = view
        .replies
        .iter()
        .filter(is_shown)
        .map(|reply| {
            let share = reply.per_second.zip(all.filter(|&all| all > 0.0)).map(|(rate, all)| rate / all);
            [reply.name.clone(), rate(reply.per_second), percent(share)]
        })
        .collect();
    block([Words("REPLIES"), RATE, Figures(" OF ALL")], &rows)
}

/// Why something was dropped; nothing where nothing was.
fn dropped(view: &View) -> Vec<String> {
    let lost = view.drops.iter().filter(|reason| reason.per_second.is_some_and(|rate| rate > 0.0));
    let rows: Vec<[String; 2]> = lost.map(|reason| [reason.name.clone(), rate(reason.per_second)]).collect();
    if rows.is_empty() { Vec::new() } else { block([Words("DROPPED"), RATE], &rows) }
}

fn latencies(latencies: &[Latency]) -> Vec<String> {
    let rows: Vec<[String; 6]> = latencies
        .iter()
        .map(|latency| {
            let [p50, p90, p99, p999] = latency.micros.map(|micros| micros.map_or_else(absent, micros_of));
            [latency.name.to_owned(), rate(latency.per_second), p50, p90, p99, p999]
        })
        .collect();
    let columns =
        [Words("LATENCY"), RATE, Figures("    P50"), Figures("    P90"), Figures("    P99"), Figures("  P99.9")];
    block(columns, &rows)
}

fn cache(view: &View) -> [Line; 3] {
    let cache = &view.cache;
    let octets = |octets: Option<u64>| octets.map_or_else(absent, octets_of);
    let rates: Vec<String> =
        cache.rates.iter().map(|counted| format!("{} {}", counted.name, rate(counted.per_second))).collect();
    let line = format!(
        "{} answers, {} of {}; {} hits",
        figure(cache.entries),
        octets(cache.octets),
        octets(cache.octets_max),
        percent(cache.hits),
    );
    let rates = format!("per second: {}", rates.join(", "));
    [(Weight::Title, "CACHE".to_owned()), plain(line), plain(rates)]
}

/// A table with a title of its own. Its rows can be scrolled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pane {
    pub(super) title: String,
    pub(super) rows: Vec<Line>,
}

impl Pane {
    fn table<const N: usize>(columns: [Column; N], rows: Vec<(Weight, [String; N])>) -> Pane {
        let (weights, rows): (Vec<Weight>, Vec<[String; N]>) = rows.into_iter().unzip();
        let mut lines = block(columns, &rows).into_iter();
        let title = lines.next().unwrap_or_default();
        Pane { title, rows: weights.into_iter().zip(lines).collect() }
    }
}

/// How many panes there are.
pub(super) const PANES: usize = 3;

/// Cores, upstream servers, names.
pub(super) fn panes(view: &View, names: &Names) -> [Pane; PANES] {
    [cores(view), upstreams(view), ranked(names)]
}

fn cores(view: &View) -> Pane {
    let row = |core: &super::view::Core| {
        let weight = if core.answers { Weight::Plain } else { Weight::Fault };
        let state = if core.answers { "answers" } else { "silent" }.to_owned();
        let cells =
            [figure(core.core), state, figure(core.cpu), percent(core.busy), rate(core.queries), rate(core.dropped)];
        (weight, cells)
    };
    let columns =
        [Words("CORE"), Words("STATE"), Figures("CPU"), Figures("BUSY"), Figures("QUERIES/S"), Figures("DROPPED/S")];
    Pane::table(columns, view.cores.iter().map(row).collect())
}

fn upstreams(view: &View) -> Pane {
    let row = |upstream: &super::view::Upstream| {
        let weight = match upstream.standing {
            "down" => Weight::Fault,
            "lossy" => Weight::Warning,
            _ => Weight::Plain,
        };
        let (cores, all) = upstream.cores;
        let cells = [
            upstream.server.clone(),
            upstream.pools.clone(),
            format!("{} on {cores} of {all}", upstream.standing),
            upstream.round_trip_micros.map_or_else(absent, micros_of),
            upstream.loss_percent.map_or_else(absent, |loss| format!("{loss} %")),
            rate(upstream.asked),
            rate(upstream.silent),
            figure(upstream.in_flight),
        ];
        (weight, cells)
    };
    let columns = [
        Words("UPSTREAM"),
        Words("POOLS"),
        Words("CORES"),
        Figures("ROUND TRIP"),
        Figures("LOSS"),
        Figures("ASKED/S"),
        Figures("SILENT/S"),
        Figures("IN FLIGHT"),
    ];
    let mut pane = Pane::table(columns, view.upstreams.iter().map(row).collect());
    if view.upstreams_left_out > 0 {
        pane.rows.push(plain(format!("and {} more", view.upstreams_left_out)));
    }
    if pane.rows.is_empty() {
        pane.rows.push(plain("nobody is asked".to_owned()));
    }
    pane
}

fn ranked(names: &Names) -> Pane {
    let title = || format!("NAMES of the last {} minutes", super::names::WINDOW_MINUTES);
    match names {
        Names::Unknown => Pane { title: title(), rows: vec![plain("not told yet".to_owned())] },
        Names::Off => Pane { title: title(), rows: vec![plain("the query log is off".to_owned())] },
        Names::Trouble(why) => Pane { title: title(), rows: vec![(Weight::Warning, why.clone())] },
        Names::Ranked(ranked) if ranked.is_empty() => {
            Pane { title: title(), rows: vec![plain("no queries".to_owned())] }
        }
        Names::Ranked(ranked) => {
            let row = |(name, queries): &(String, Option<u64>)| (Weight::Plain, [figure(*queries), name.clone()]);
            let pane = Pane::table([Figures("QUERIES"), Words("")], ranked.iter().map(row).collect());
            Pane { title: format!("{}  {}", pane.title, title()), rows: pane.rows }
        }
    }
}

/// The whole page as text: what a terminal would show that is long enough.
pub(super) fn text(view: &View, names: &Names, place: &str, width: usize) -> String {
    let mut parts = vec![head(view, place), summary(view, width)];
    for Pane { title, rows } in panes(view, names) {
        parts.push(std::iter::once((Weight::Title, title)).chain(rows).collect());
    }
    let part = |lines: Vec<Line>| lines.into_iter().map(|(_, text)| text + "\n").collect::<String>();
    parts.into_iter().map(part).collect::<Vec<String>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::sample;
    use super::*;

    fn ranked() -> Names {
        Names::Ranked(vec![("www.example.test.".to_owned(), Some(1_200)), ("b.test.".to_owned(), Some(7))])
    }

    #[test]
    fn a_page_has_all_figures() {
        let view = View::between(Some(&sample(10)), &sample(12));
        let told = "\
ringdns 0.1.0 at 127.0.0.1:8053, up for 12s; 2 of 2 cores answer

QUERIES       /S    REPLIES      /S   OF ALL    LATENCY          /S      P50      P90      P99    P99.9    DROPPED       /S
udp           98    NOERROR      90   90.9 %    udp, at once    100     3 µs     7 µs     7 µs  1.02 ms    malformed    1.0
tcp          2.0    NXDOMAIN    9.0    9.1 %    udp, waited       0        -        -        -        -
all          100                                tcp, at once      0        -        -        -        -
dropped      1.0                                tcp, waited       0        -        -        -        -
in flight      3                                upstreams         0        -        -        -        -
waiting        2
TCP open       1
CACHE
1000 answers, 1.0 MiB of 256.0 MiB; 75.0 % hits
per second: misses 25, stale 0, coalesced -, inserts 25, evictions -, expired -, refreshes -

CORE  STATE    CPU    BUSY  QUERIES/S  DROPPED/S
0     answers    4  25.0 %         50          0
1     answers    5  50.0 %         50        1.0

UPSTREAM            POOLS   CORES           ROUND TRIP  LOSS  ASKED/S  SILENT/S  IN FLIGHT
udp://192.0.2.1:53  origin  up on 2 of 2       1.26 ms   5 %       25       1.0          1
udp://192.0.2.2:53  origin  down on 2 of 2     1.26 ms   5 %       25       1.0          1

QUERIES  NAMES of the last 5 minutes
   1200  www.example.test.
      7  b.test.
";
        assert_eq!(text(&view, &ranked(), "127.0.0.1:8053", 130), told);
    }

    #[test]
    fn what_does_not_fit_beside_stands_below() {
        let view = View::between(None, &sample(1));
        let narrow = summary(&view, 50);
        assert!(narrow.iter().all(|(_, line)| !line.contains("QUERIES") || !line.contains("LATENCY")), "{narrow:?}");
        assert_eq!(narrow.iter().filter(|(weight, _)| *weight == Weight::Title).count(), 3, "{narrow:?}");
        assert!(summary(&view, 0).len() > narrow.len());
    }

    #[test]
    fn what_is_wrong_stands_out() {
        let mut silent = sample(12);
        silent.stats["cores"][1] = serde_json::json!({ "core": 1, "answers": false });
        silent.status["draining"] = serde_json::json!(true);
        let view = View::between(Some(&sample(10)), &silent);
        let head = head(&view, "x");
        assert_eq!((head[0].0, &head[1]), (Weight::Fault, &(Weight::Warning, "draining".to_owned())));
        let panes = panes(&view, &Names::Trouble("why".to_owned()));
        assert_eq!((panes[0].rows[0].0, panes[0].rows[1].0), (Weight::Plain, Weight::Fault));
        assert_eq!((panes[1].rows[0].0, panes[1].rows[1].0), (Weight::Plain, Weight::Fault));
        assert_eq!(panes[2].rows, [(Weight::Warning, "why".to_owned())]);
    }

    #[test]
    fn rates_have_few_digits() {
        for (per_second, told) in [
            (0.0, "0"),
            (0.06, "0.1"),
            (9.94, "9.9"),
            (9.96, "10"),
            (99_999.0, "99999"),
            (123_456.0, "123k"),
            (2e7, "20.0M"),
        ] {
            assert_eq!(rate(Some(per_second)), told);
        }
        assert_eq!(rate(None), "-");
    }
}
