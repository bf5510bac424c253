//! How many instructions each case may take a query: the file `benches/instructions.txt`, and how counts compare with it.
//!
//! A line of the file is a case, the instructions that a query was counted to take, and where there is one the limit that
//! it must stay below whatever was counted. A `#` begins a remark; the one that begins with `made with` names compiler and
//! C library.

use std::fmt::Write;

/// Part of a hundred that a count may lie above what the file says.
const TOLERANCE: u64 = 3;
/// The same where compiler or C library are not those of the file: other code by itself.
const TOLERANCE_ELSEWHERE: u64 = 15;
/// Remark before the names of compiler and C library.
const MADE_WITH: &str = "# made with ";

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Compiler and C library, and valgrind.
    made_with: String,
    cases: Vec<Case>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Case {
    name: String,
    counted: u64,
    limit: Option<u64>,
}

/// What comes of a count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As the file says, within the tolerance.
    AsBefore,
    /// So much below what the file says that the file should be lowered, lest that much come back unseen.
    Below,
    /// Above the tolerance, above the limit, or not in the file.
    Above(String),
}

impl Budget {
    /// Reads the file. `Err`: the line that cannot be read.
    pub fn read(text: &str) -> Result<Budget, String> {
        let mut budget = Budget::default();
        for line in text.lines() {
            if let Some(made_with) = line.strip_prefix(MADE_WITH) {
                budget.made_with = made_with.to_owned();
            }
            let figures = line.split('#').next().unwrap_or_default();
            let mut words = figures.split_whitespace();
            let Some(name) = words.next() else { continue };
            let mut number = || words.next().map(|word| word.parse().map_err(|_| line.to_owned())).transpose();
            let counted = number()?.ok_or(line)?;
            budget.cases.push(Case { name: name.to_owned(), counted, limit: number()? });
        }
        Ok(budget)
    }

    /// How a count compares, with this compiler and C library.
    pub fn judge(&self, case: &str, instructions: u64, made_with: &str) -> Verdict {
        let Some(Case { counted, limit, .. }) = self.cases.iter().find(|known| known.name == case) else {
            return Verdict::Above("the file does not have this case".to_owned());
        };
        if let Some(limit) = limit.filter(|&limit| instructions > limit) {
            return Verdict::Above(format!("the limit is {limit}"));
        }
        let (tolerance, why) = match made_with == self.made_with {
            true => (TOLERANCE, String::new()),
            false => (TOLERANCE_ELSEWHERE, format!(", with {}, and this is {made_with}", self.made_with)),
        };
        if instructions * 100 > counted * (100 + tolerance) {
            Verdict::Above(format!("it took {counted}, and may take {tolerance} % more{why}"))
        } else if instructions * 100 < counted * (100 - tolerance) {
            Verdict::Below
        } else {
            Verdict::AsBefore
        }
    }

    /// The file for these counts; limits stay.
    pub fn rewritten(&self, counts: &[(&str, u64)], made_with: &str) -> String {
        let mut text = String::from(
            "# Instructions a query, as callgrind counts them (scripts/bench-engine): case, count, limit where there is one.\n\
             # Rewritten by: scripts/bench-engine --write\n",
        );
        _ = writeln!(text, "{MADE_WITH}{made_with}");
        for (name, instructions) in counts {
            let limit = self.cases.iter().find(|known| known.name == *name).and_then(|known| known.limit);
            let limit = limit.map_or_else(String::new, |limit| format!(" {limit:>6}"));
            _ = writeln!(text, "{name:<20} {instructions:>6}{limit}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# made with a compiler\nauth 500 600 # a remark\ncache 1000\n";

    #[test]
    fn more_than_the_tolerance_is_too_much_and_so_is_the_limit() {
        let budget = Budget::read(FILE).unwrap();
        assert_eq!(budget.judge("cache", 1030, "a compiler"), Verdict::AsBefore);
        assert!(matches!(budget.judge("cache", 1031, "a compiler"), Verdict::Above(_)));
        assert_eq!(budget.judge("cache", 970, "a compiler"), Verdict::AsBefore);
        assert_eq!(budget.judge("cache", 969, "a compiler"), Verdict::Below);
        // The limit holds whoever compiled.
        assert_eq!(budget.judge("auth", 560, "another"), Verdict::AsBefore);
        assert!(matches!(budget.judge("auth", 601, "another"), Verdict::Above(_)));
        assert!(matches!(budget.judge("cache", 1151, "another"), Verdict::Above(_)));
        assert!(matches!(budget.judge("unheard", 1, "a compiler"), Verdict::Above(_)));
    }

    #[test]
    fn the_file_is_rewritten_as_it_is_read_and_limits_stay() {
        let budget = Budget::read(FILE).unwrap();
        let text = budget.rewritten(&[("auth", 480), ("nodata", 700)], "another");
        let rewritten = Budget::read(&text).unwrap();
        assert_eq!(rewritten.rewritten(&[("auth", 480), ("nodata", 700)], "another"), text);
        assert_eq!(
            rewritten.judge("auth", 495, "another"),
            Verdict::Above("it took 480, and may take 3 % more".into())
        );
        assert!(matches!(rewritten.judge("auth", 601, "x"), Verdict::Above(why) if why.contains("600")));
        assert!(matches!(rewritten.judge("cache", 1, "another"), Verdict::Above(_)));
        assert_eq!(Budget::read("auth\n"), Err("auth".to_owned()));
        assert_eq!(Budget::read("auth many\n"), Err("auth many".to_owned()));
    }
}
