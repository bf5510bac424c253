//! What a scenario has measured, for people and for programs: text, JSON, and a page with its plot.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::machine::Machine;
use super::plot::{self, Curve};
use super::table::{Better, Case, Row};

/// What one scenario has measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Its name on the command line.
    pub scenario: &'static str,
    /// What it measures and how, in a paragraph.
    pub about: String,
    /// In the order in which they were measured.
    pub cases: Vec<Case>,
    /// Beside the cases.
    pub curves: Vec<Curve>,
    /// What was skipped, and why.
    pub notes: Vec<String>,
    /// What was run, for each server and the generator.
    pub commands: Vec<String>,
}

impl Report {
    /// Tables and notes as text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{}: {}\n", self.scenario, self.about);
        for case in &self.cases {
            text.push('\n');
            text.push_str(&case.text());
        }
        for note in &self.notes {
            text.push_str(&format!("\n{note}"));
        }
        if !self.notes.is_empty() {
            text.push('\n');
        }
        text
    }

    /// Every sample, as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "scenario": self.scenario,
            "about": self.about,
            "cases": self.cases.iter().map(case).collect::<Vec<_>>(),
            "curves": self.curves.iter().map(curve).collect::<Vec<_>>(),
            "notes": self.notes,
            "commands": self.commands,
        })
    }

    /// Writes `SCENARIO.md` and `SCENARIO.svg` into a folder; the page's path.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&self, folder: &Path, machine: &Machine, command: &str) -> io::Result<PathBuf> {
        fs::create_dir_all(folder)?;
        let page = folder.join(format!("{}.md", self.scenario));
        fs::write(folder.join(format!("{}.svg", self.scenario)), plot::svg(&self.cases, &self.curves))?;
        fs::write(&page, self.page(machine, command))?;
        Ok(page)
    }

    fn page(&self, machine: &Machine, command: &str) -> String {
        let tables: Vec<String> = self.cases.iter().map(Case::text).collect();
        let mut page = format!(
            "# {name}\n\n{about}\n\n    {command}\n\n```\n{machine}```\n\n![{name}]({name}.svg)\n\n```\n{tables}```\n",
            name = self.scenario,
            about = self.about,
            machine = machine.text(),
            tables = tables.join("\n"),
        );
        if !self.notes.is_empty() {
            page.push_str(&format!("\n{}\n", self.notes.join("  \n")));
        }
        page.push_str(&format!(
            "\nWhat was run, with the configurations in `bench/src/versus/configuration.rs`:\n\n```\n{}\n```\n",
            self.commands.join("\n")
        ));
        page
    }
}

fn case(case: &Case) -> Value {
    let figures = case.figures.iter().map(|figure| {
        json!({ "name": figure.name, "better": if figure.better == Better::Lower { "lower" } else { "higher" } })
    });
    let verdicts = case.verdicts();
    let bars = verdicts.iter().map(
        |verdict| json!({ "what": verdict.what, "value": verdict.value, "limit": verdict.limit, "met": verdict.met }),
    );
    json!({
        "title": case.title,
        "figures": figures.collect::<Vec<_>>(),
        "servers": case.rows.iter().map(|found| row(case, found)).collect::<Vec<_>>(),
        "bars": bars.collect::<Vec<_>>(),
    })
}

fn row(case: &Case, row: &Row) -> Value {
    let figures = (0..case.figures.len()).map(|figure| {
        let (least, greatest) = row.range(figure);
        let ratio = case.best_peer(figure).map(|best| case.ratio(row, best, figure));
        json!({
            "name": case.figures[figure].name,
            "median": row.median(figure),
            "least": least,
            "greatest": greatest,
            "ratio_to_best_peer": ratio,
            "samples": row.samples(figure),
        })
    });
    json!({ "server": row.server.name(), "figures": figures.collect::<Vec<_>>() })
}

fn curve(curve: &Curve) -> Value {
    let lines = curve.lines.iter().map(|(name, points)| json!({ "server": name, "points": points }));
    json!({ "title": curve.title, "over": curve.over, "what": curve.what, "lines": lines.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::versus::table::tests::case;

    fn report() -> Report {
        Report {
            scenario: "auth",
            about: "what a reply costs".to_owned(),
            cases: vec![case()],
            notes: vec!["dnsmasq: not installed".to_owned()],
            commands: vec!["nsd -d".to_owned()],
            ..Report::default()
        }
    }

    #[test]
    fn json_has_every_sample() {
        let value = report().json();
        let nsd = &value["cases"][0]["servers"][1];
        assert_eq!(nsd["server"], "nsd");
        assert_eq!(nsd["figures"][0]["samples"], json!([3.0, 5.2, 3.4]));
        assert_eq!(nsd["figures"][0]["median"], 3.4);
        assert_eq!(value["cases"][0]["bars"][0]["met"], true);
        let ratio = value["cases"][0]["servers"][0]["figures"][0]["ratio_to_best_peer"].as_f64().unwrap();
        assert!((ratio - 2.5 / 3.4).abs() < 1e-9);
    }

    #[test]
    fn a_page_names_machine_commands_and_plot() {
        let folder = std::env::temp_dir().join(format!("ringdns-bench-page-{}", std::process::id()));
        let machine = Machine { processor: "Some CPU".to_owned(), ..Machine::default() };
        let page = fs::read_to_string(report().write(&folder, &machine, "scripts/bench auth").unwrap()).unwrap();
        for words in ["Some CPU", "scripts/bench auth", "nsd -d", "(auth.svg)", "x best", "dnsmasq: not installed"] {
            assert!(page.contains(words), "{words}: {page}");
        }
        assert!(fs::read_to_string(folder.join("auth.svg")).unwrap().contains("<svg"));
        fs::remove_dir_all(folder).unwrap();
    }
}
