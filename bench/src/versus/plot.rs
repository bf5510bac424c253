//! Plots as SVG: bars of a case, with what lies between the least and the greatest sample, and lines over a logarithmic scale.

use std::fmt::Write as _;

use super::servers::Kind;
use super::table::{Case, number};

/// A quantity over another, a line a server.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// What is shown.
    pub title: String,
    /// What the horizontal scale says; it is logarithmic.
    pub over: String,
    /// What the vertical scale says; it begins at 0.
    pub what: String,
    /// Name, and points from left to right.
    pub lines: Vec<(String, Vec<(f64, f64)>)>,
}

const WIDTH: f64 = 760.0;
const LEFT: f64 = 130.0;
const RIGHT: f64 = 90.0;
const ROW: f64 = 24.0;
const HEAD: f64 = 44.0;
const CURVE: f64 = 240.0;
const OWN: &str = "#1b6ca8";
const COLOURS: [&str; 5] = [OWN, "#c8553d", "#588157", "#8e6c8a", "#6c757d"];

/// One picture with all cases and curves, one below the other.
#[must_use]
pub fn svg(cases: &[Case], curves: &[Curve]) -> String {
    let height: f64 = cases.iter().map(case_height).sum::<f64>() + curves.len() as f64 * (CURVE + HEAD + ROW);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let mut top = 0.0;
    for case in cases {
        bars(&mut out, case, top);
        top += case_height(case);
    }
    for curve in curves {
        lines(&mut out, curve, top);
        top += CURVE + HEAD + ROW;
    }
    out.push_str("</svg>\n");
    out
}

fn case_height(case: &Case) -> f64 {
    HEAD + case.rows.len() as f64 * ROW + 10.0
}

fn bars(out: &mut String, case: &Case, top: f64) {
    let figure = case.figures[0];
    text(out, 10.0, top + 18.0, "start", true, &case.title);
    text(out, 10.0, top + 34.0, "start", false, figure.name);
    let greatest = case.rows.iter().map(|row| row.range(0).1).fold(0.0, f64::max);
    let room = WIDTH - LEFT - RIGHT;
    let scale = |value: f64| if greatest > 0.0 && value.is_finite() { value / greatest * room } else { 0.0 };
    for (place, row) in case.rows.iter().enumerate() {
        let y = top + HEAD + place as f64 * ROW;
        let colour = match row.server.kind() {
            Kind::Own => OWN,
            Kind::Peer => "#b0b7be",
            Kind::Limit => "#e3d5a8",
        };
        let (median, (least, most)) = (row.median(0), row.range(0));
        text(out, LEFT - 8.0, y + 14.0, "end", false, row.server.name());
        let _ = writeln!(
            out,
            "<rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"16\" fill=\"{colour}\"/>",
            y + 2.0,
            scale(median)
        );
        let middle = y + 10.0;
        stroke(out, &[(LEFT + scale(least), middle), (LEFT + scale(most), middle)], "black");
        text(out, LEFT + scale(most) + 6.0, y + 14.0, "start", false, &number(median, figure.digits));
    }
}

fn lines(out: &mut String, curve: &Curve, top: f64) {
    text(out, 10.0, top + 18.0, "start", true, &curve.title);
    text(out, 10.0, top + 34.0, "start", false, &curve.what);
    let points = || curve.lines.iter().flat_map(|(_, points)| points);
    let (first, last) = points().fold((f64::MAX, 1.0_f64), |(first, last), &(x, _)| (first.min(x), last.max(x)));
    let greatest = points().map(|&(_, y)| y).fold(0.0, f64::max);
    if points().next().is_none() || greatest <= 0.0 {
        return;
    }
    let span = (last / first).log10().max(f64::MIN_POSITIVE);
    let base = top + HEAD + CURVE - 30.0;
    let x = |value: f64| LEFT + (value / first).log10() / span * (WIDTH - LEFT - RIGHT - 60.0);
    let y = |value: f64| base - value / greatest * (CURVE - 50.0);
    for tick in [0.0, 0.5, 1.0] {
        stroke(out, &[(LEFT, y(greatest * tick)), (WIDTH - RIGHT - 60.0, y(greatest * tick))], "#d5d9dd");
        text(out, LEFT - 8.0, y(greatest * tick) + 4.0, "end", false, &number(greatest * tick, 2));
    }
    let mut names: Vec<(f64, f64, &str)> = Vec::new();
    for (place, (name, points)) in curve.lines.iter().enumerate() {
        let colour = COLOURS[place % COLOURS.len()];
        let drawn: Vec<(f64, f64)> = points.iter().map(|&(over, value)| (x(over), y(value))).collect();
        stroke(out, &drawn, colour);
        for &(x, y) in &drawn {
            let _ = writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
        }
        names.extend(drawn.last().map(|&(x, y)| (y, x, name.as_str())));
    }
    names.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
    let mut above = f64::MIN;
    for (y, x, name) in names {
        // Lines that end close together have their names one below the other.
        above = y.max(above + 13.0);
        text(out, x + 8.0, above + 4.0, "start", false, name);
    }
    if let Some((_, points)) = curve.lines.first() {
        for &(over, _) in points {
            text(out, x(over), base + 18.0, "middle", false, &short(over));
        }
    }
    text(out, WIDTH / 2.0, base + 36.0, "middle", false, &curve.over);
}

/// Thousands and millions in short.
fn short(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{} M", value / 1e6),
        value if value >= 1e3 => format!("{} k", value / 1e3),
        value => format!("{value}"),
    }
}

fn stroke(out: &mut String, points: &[(f64, f64)], colour: &str) {
    let list: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(
        out,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>",
        list.join(" ")
    );
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, bold: bool, words: &str) {
    let weight = if bold { " font-weight=\"bold\"" } else { "" };
    let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"{weight}>{words}</text>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::versus::table::tests::case;

    #[test]
    fn bars_are_as_long_as_the_medians() {
        let picture = svg(&[case()], &[]);
        // The greatest sample, 5.2, fills the room of 540.
        let width = |median: f64| format!("width=\"{:.1}\"", median / 5.2 * 540.0);
        assert!(picture.contains(&width(2.5)) && picture.contains(&width(3.4)), "{picture}");
        assert!(picture.contains(">nsd<") && picture.ends_with("</svg>\n"));
    }

    #[test]
    fn a_curve_has_a_point_for_each_value() {
        let curve = Curve {
            title: "a < b".to_owned(),
            over: "names".to_owned(),
            what: "CPU µs".to_owned(),
            lines: vec![("ringdns".to_owned(), vec![(1e3, 2.0), (1e4, 2.1), (1e6, 4.0)]), ("nsd".to_owned(), vec![])],
        };
        let picture = svg(&[], std::slice::from_ref(&curve));
        assert_eq!(picture.matches("<circle").count(), 3);
        assert!(picture.contains("a &lt; b") && picture.contains(">10 k<") && picture.contains(">1 M<"), "{picture}");
        assert!(!picture.contains("NaN") && !picture.contains("inf"));
        let empty = svg(&[], &[Curve { lines: Vec::new(), ..curve }]);
        assert!(!empty.contains("NaN") && !empty.contains("inf"));
    }
}
