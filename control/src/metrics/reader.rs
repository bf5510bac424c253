//! A reader of both formats of the page, as strict as their descriptions: what it takes, every reader takes.

use std::collections::{BTreeMap, BTreeSet};

use super::Format;

/// A page, read.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// Each family's type and meaning, by the name that its HELP and TYPE lines have.
    pub(crate) families: BTreeMap<String, (String, String)>,
    pub(crate) samples: Vec<Sample>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    /// The name on the sample's own line.
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// Reads a page; panics where it is malformed.
#[track_caller]
pub(crate) fn read(page: &str, format: Format) -> Page {
    let body = match format {
        Format::OpenMetrics => page.strip_suffix("# EOF\n").expect("the end is marked"),
        Format::Text => page,
    };
    assert!(body.ends_with('\n') && !body.contains('\r') && !body.contains("\n\n"), "whole lines");
    let mut read = Page::default();
    let (mut series, mut family, mut helped) = (BTreeSet::new(), (String::new(), String::new()), ("", ""));
    for line in body.lines() {
        if let Some(said) = line.strip_prefix("# HELP ") {
            let (name, help) = said.split_once(' ').unwrap_or_else(|| panic!("{line}"));
            assert!(is_name(name) && !help.is_empty() && !help.contains(['"', '\\']), "{line}");
            helped = (name, help);
        } else if let Some(said) = line.strip_prefix("# TYPE ") {
            let (name, kind) = said.split_once(' ').unwrap_or_else(|| panic!("{line}"));
            assert!(name == helped.0 && ["counter", "gauge", "histogram"].contains(&kind), "{line}");
            let before = read.families.insert(name.to_owned(), (kind.to_owned(), helped.1.to_owned()));
            assert_eq!(before, None, "a family in two places: {line}");
            family = (name.to_owned(), kind.to_owned());
        } else {
            assert!(!line.starts_with('#'), "no other comments: {line}");
            let sample = sample(line);
            let (name, kind) = (family.0.as_str(), family.1.as_str());
            let fits = match (kind, format) {
                ("counter", Format::OpenMetrics) => sample.name == format!("{name}_total"),
                ("counter", Format::Text) => sample.name == name && name.ends_with("_total"),
                ("histogram", _) => {
                    ["_bucket", "_sum", "_count"].iter().any(|end| sample.name == format!("{name}{end}"))
                }
                _ => sample.name == name,
            };
            assert!(fits, "{line} below {family:?}");
            assert!(kind == "gauge" || sample.value >= 0.0, "{line}");
            assert!(series.insert((sample.name.clone(), sample.labels.clone())), "twice: {line}");
            read.samples.push(sample);
        }
    }
    read.check_histograms();
    read
}

impl Page {
    /// Buckets add up, and the last has all.
    fn check_histograms(&self) {
        let of_kind = self.families.iter().filter(|(_, (kind, _))| kind == "histogram");
        for (family, _) in of_kind {
            let mut counts: BTreeMap<BTreeMap<String, String>, Vec<(f64, f64)>> = BTreeMap::new();
            for sample in self.samples.iter().filter(|sample| sample.name == format!("{family}_bucket")) {
                let mut labels = sample.labels.clone();
                let end = labels.remove("le").expect("a bucket has an end");
                let end = if end == "+Inf" { f64::INFINITY } else { end.parse().expect("a number") };
                counts.entry(labels).or_default().push((end, sample.value));
            }
            for (labels, buckets) in counts {
                assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{family} {labels:?} {buckets:?}");
                let last = buckets.last().copied();
                assert_eq!(last, Some((f64::INFINITY, self.value(&format!("{family}_count"), &labels))), "{family}");
            }
        }
    }

    /// The value of the sample that has these labels.
    #[track_caller]
    fn value(&self, name: &str, labels: &BTreeMap<String, String>) -> f64 {
        let found = self.samples.iter().find(|sample| sample.name == name && sample.labels == *labels);
        found.unwrap_or_else(|| panic!("no {name} with {labels:?}")).value
    }
}

#[track_caller]
fn sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("{line}"));
    let (name, rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest, line),
        None => (BTreeMap::new(), rest),
    };
    let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line}"));
    assert!(!value.contains(' '), "no times: {line}");
    Sample { name: name.to_owned(), labels, value: value.parse().unwrap_or_else(|_| panic!("{line}")) }
}

/// The labels that `rest` begins with, and what follows their brace.
#[track_caller]
fn labels<'r>(mut rest: &'r str, line: &str) -> (BTreeMap<String, String>, &'r str) {
    let mut labels = BTreeMap::new();
    loop {
        let (name, value) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
        assert!(is_name(name) && !name.contains(':') && !name.starts_with("__"), "{line}");
        let mut text = String::new();
        let mut characters = value.char_indices();
        let end = loop {
            match characters.next().unwrap_or_else(|| panic!("{line}")) {
                (at, '"') => break at + 1,
                (_, '\\') => text.push(match characters.next() {
                    Some((_, 'n')) => '\n',
                    Some((_, plain @ ('"' | '\\'))) => plain,
                    _ => panic!("{line}"),
                }),
                (_, plain) => text.push(plain),
            }
        };
        assert_eq!(labels.insert(name.to_owned(), text), None, "{line}");
        rest = match value[end..].strip_prefix(',') {
            Some(more) => more,
            None => return (labels, value[end..].strip_prefix('}').unwrap_or_else(|| panic!("{line}"))),
        };
    }
}

fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    name.chars().all(plain) && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}
