//! What was measured: samples of the servers of a case, medians, ratios, bars, and the table as text.

use std::fmt::Write as _;

use super::servers::{Kind, Server};

/// Which of two values is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// The lower.
    Lower,
    /// The higher.
    Higher,
}

/// A quantity that is measured of each server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figure {
    /// With its unit.
    pub name: &'static str,
    /// Which value is better.
    pub better: Better,
    /// Places behind the point.
    pub digits: usize,
}

impl Figure {
    /// A figure of which less is better.
    #[must_use]
    pub const fn lower(name: &'static str, digits: usize) -> Figure {
        Figure { name, better: Better::Lower, digits }
    }

    /// A figure of which more is better.
    #[must_use]
    pub const fn higher(name: &'static str, digits: usize) -> Figure {
        Figure { name, better: Better::Higher, digits }
    }
}

/// The servers of one case, measured in turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// What was asked of what.
    pub title: String,
    /// What was measured; the first is what a plot shows.
    pub figures: Vec<Figure>,
    /// One a server.
    pub rows: Vec<Row>,
    /// What ringdns is to reach.
    pub bars: Vec<Bar>,
}

/// What was measured of one server.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Which.
    pub server: Server,
    /// A run, then a figure.
    pub runs: Vec<Vec<f64>>,
}

/// What ringdns is to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bar {
    /// The place of the figure in [`Case::figures`].
    pub figure: usize,
    /// Beside whom.
    pub against: Against,
    /// A ratio, or a value; at most or at least, as is better.
    pub limit: f64,
}

/// Beside whom a bar is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    /// The peer with the best median.
    BestPeer,
    /// One server.
    One(Server),
    /// Nobody: the limit is the value itself.
    Nobody,
}

/// Whether a bar is reached.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What is compared, in words.
    pub what: String,
    /// Where ringdns is.
    pub value: f64,
    /// Where it is to be.
    pub limit: f64,
    /// Whether it is.
    pub met: bool,
}

impl Row {
    /// The samples of a figure, in the order of the runs.
    #[must_use]
    pub fn samples(&self, figure: usize) -> Vec<f64> {
        self.runs.iter().filter_map(|run| run.get(figure).copied()).collect()
    }

    /// Their median.
    #[must_use]
    pub fn median(&self, figure: usize) -> f64 {
        median(&self.samples(figure))
    }

    /// The least and the greatest.
    #[must_use]
    pub fn range(&self, figure: usize) -> (f64, f64) {
        let samples = self.samples(figure);
        (samples.iter().copied().fold(f64::NAN, f64::min), samples.iter().copied().fold(f64::NAN, f64::max))
    }
}

/// The middle one, or the mean of the two in the middle; not a number where there is none.
#[must_use]
pub fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count => (sorted[count / 2 - 1] + sorted[count / 2]) / 2.0,
    }
}

impl Case {
    /// The row of a server.
    #[must_use]
    pub fn row(&self, server: Server) -> Option<&Row> {
        self.rows.iter().find(|row| row.server == server)
    }

    /// The peer with the best median of a figure.
    #[must_use]
    pub fn best_peer(&self, figure: usize) -> Option<&Row> {
        let better = self.figures[figure].better;
        let peers = self.rows.iter().filter(|row| row.server.kind() == Kind::Peer && row.median(figure).is_finite());
        peers.min_by(|one, other| {
            let order = one.median(figure).total_cmp(&other.median(figure));
            if better == Better::Lower { order } else { order.reverse() }
        })
    }

    /// How much one row has of what the other has: the median over the runs of the ratio within each, since what disturbs a
    /// machine disturbs neighbours in time alike.
    #[must_use]
    pub fn ratio(&self, row: &Row, to: &Row, figure: usize) -> f64 {
        let pairs = row.samples(figure).into_iter().zip(to.samples(figure));
        median(&pairs.map(|(one, other)| one / other).collect::<Vec<_>>())
    }

    /// The bars that can be judged: both sides of them were measured.
    #[must_use]
    pub fn verdicts(&self) -> Vec<Verdict> {
        let Some(own) = self.row(Server::Ringdns) else { return Vec::new() };
        let judged = self.bars.iter().filter_map(|bar| {
            let figure = self.figures[bar.figure];
            let (value, against) = match bar.against {
                Against::Nobody => (own.median(bar.figure), String::new()),
                Against::BestPeer => {
                    let peer = self.best_peer(bar.figure)?;
                    let name = peer.server.name();
                    (self.ratio(own, peer, bar.figure), format!(" against {name}, the best peer"))
                }
                Against::One(server) => {
                    (self.ratio(own, self.row(server)?, bar.figure), format!(" against {}", server.name()))
                }
            };
            let met = match figure.better {
                Better::Lower => value <= bar.limit,
                Better::Higher => value >= bar.limit,
            };
            Some(Verdict { what: format!("{}{against}", figure.name), value, limit: bar.limit, met })
        });
        judged.collect()
    }

    /// The table as text, a line a server: median, least and greatest of each figure, and the ratio to the best peer.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", self.title);
        let places: Vec<usize> = (0..self.figures.len()).collect();
        // Two figures beside each other are as wide as a page.
        for pair in places.chunks(2) {
            text.push_str(&self.columns_of(pair));
        }
        for Verdict { what, value, limit, met } in self.verdicts() {
            let met = if met { "reached" } else { "missed" };
            let _ = writeln!(
                text,
                "  bar: {what}: {} where {} is to be reached: {met}",
                number(value, 3),
                number(limit, 2)
            );
        }
        text
    }

    /// Some of the figures, a line a server.
    fn columns_of(&self, places: &[usize]) -> String {
        let mut head = vec![String::new()];
        for &place in places {
            head.extend([self.figures[place].name.to_owned(), "least .. greatest".to_owned(), "x best".to_owned()]);
        }
        let mut lines = vec![head];
        for row in &self.rows {
            let mut line = vec![row.server.name().to_owned()];
            for &place in places {
                let digits = self.figures[place].digits;
                let (least, greatest) = row.range(place);
                line.push(number(row.median(place), digits));
                line.push(format!("{} .. {}", number(least, digits), number(greatest, digits)));
                let best = self.best_peer(place);
                line.push(best.map_or("-".to_owned(), |best| number(self.ratio(row, best, place), 2)));
            }
            lines.push(line);
        }
        columns(&lines)
    }
}

/// Lines of words as columns, the first to the left and the others to the right.
#[must_use]
pub fn columns(lines: &[Vec<String>]) -> String {
    let count = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|word| word.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for line in lines {
        let mut row = String::new();
        for (column, (word, &width)) in line.iter().zip(&widths).enumerate() {
            let pad = " ".repeat(width - word.chars().count());
            let _ = if column == 0 { write!(row, "  {word}{pad}") } else { write!(row, "  {pad}{word}") };
        }
        let _ = writeln!(text, "{}", row.trim_end());
    }
    text
}

/// A number with so many places behind the point; a dash where there is none.
#[must_use]
pub fn number(value: f64, digits: usize) -> String {
    if value.is_finite() { format!("{value:.digits$}") } else { "-".to_owned() }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn case() -> Case {
        let row = |server, samples: &[f64]| Row {
            server,
            runs: samples.iter().map(|&sample| vec![sample, 1e6 / sample]).collect(),
        };
        Case {
            title: "100,000 names".to_owned(),
            figures: vec![Figure::lower("CPU us a reply", 2), Figure::higher("replies/s", 0)],
            rows: vec![
                row(Server::Ringdns, &[2.4, 2.6, 2.5]),
                row(Server::Nsd, &[3.0, 5.2, 3.4]),
                row(Server::Knot, &[3.6, 3.5, 3.7]),
                row(Server::Floor, &[2.0, 2.2, 2.1]),
            ],
            bars: vec![
                Bar { figure: 0, against: Against::BestPeer, limit: 0.74 },
                Bar { figure: 0, against: Against::One(Server::Floor), limit: 1.08 },
                Bar { figure: 1, against: Against::BestPeer, limit: 1.3 },
                Bar { figure: 0, against: Against::Nobody, limit: 2.5 },
                Bar { figure: 0, against: Against::One(Server::Unbound), limit: 1.0 },
            ],
        }
    }

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn the_best_peer_is_no_limit_and_not_ringdns() {
        assert_eq!(case().best_peer(0).unwrap().server, Server::Nsd);
        assert_eq!(case().best_peer(1).unwrap().server, Server::Nsd);
    }

    #[test]
    fn ratios_are_within_a_run() {
        let case = case();
        // 0.80, 0.50 and 0.74: the disturbed second run does not count for more than one.
        let ratio = case.ratio(case.row(Server::Ringdns).unwrap(), case.row(Server::Nsd).unwrap(), 0);
        assert!((ratio - 2.5 / 3.4).abs() < 1e-9, "{ratio}");
    }

    #[test]
    fn bars_are_judged_where_both_sides_are_there() {
        let met: Vec<bool> = case().verdicts().iter().map(|verdict| verdict.met).collect();
        assert_eq!(met, [true, false, true, true]);
        let without = Case { rows: case().rows.split_off(1), ..case() };
        assert!(without.verdicts().is_empty());
    }

    #[test]
    fn the_table_has_a_line_a_server() {
        let text = case().text();
        let nsd = text.lines().find(|line| line.contains("nsd")).unwrap();
        assert!(nsd.contains("3.40") && nsd.contains("3.00 .. 5.20") && nsd.contains("1.00"), "{text}");
        assert_eq!(text.matches("reached\n").count(), 3, "{text}");
        assert_eq!(text.matches("missed\n").count(), 1, "{text}");
        let widths: Vec<usize> = text.lines().skip(1).take(5).map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|&width| width == widths[0]), "{text}");
    }
}
