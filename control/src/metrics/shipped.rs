//! The dashboard, the alerts and the page of the manual speak of metrics that there are.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::reader::{self, Page};
use super::{Format, page, trial};

/// Labels whose values are the deployment's.
const FREE: [&str; 7] = ["job", "instance", "core", "zone", "server", "le", "cpu"];

fn path(file: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/")).join(file)
}

#[track_caller]
fn text(file: &str) -> String {
    fs::read_to_string(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn read() -> Page {
    reader::read(&page(trial::figures(), Format::Text).unwrap(), Format::Text)
}

/// The names of metrics in a text, with the octet behind each.
fn names(text: &str) -> Vec<(&str, usize)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(begin) = text[at..].find(is_word).map(|begin| at + begin) {
        let end = text[begin..].find(|c| !is_word(c)).map_or(text.len(), |length| begin + length);
        let word = &text[begin..end];
        if word.starts_with("ringdns_") || word.starts_with("process_") {
            found.push((word, end));
        }
        at = end;
    }
    found
}

/// The matchers in the braces that `rest` begins with: labels, and the values that each has, or has not.
fn matchers(rest: &str) -> Vec<(&str, Vec<&str>)> {
    let Some((inside, _)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) else { return Vec::new() };
    inside
        .split(',')
        .map(|one| {
            let at = one.find(['=', '!']).unwrap_or_else(|| panic!("{one}"));
            let (label, rest) = one.split_at(at);
            let values = rest.trim_start_matches(['=', '!', '~']).trim_matches('"');
            (label.trim(), values.split('|').collect())
        })
        .collect()
}

/// Each metric that a text names is on the page, with the label values that it names.
#[track_caller]
fn check(what: &str, text: &str, page: &Page) -> usize {
    let names = names(text);
    for &(name, end) in &names {
        let samples: Vec<_> = page.samples.iter().filter(|sample| sample.name == name).collect();
        assert!(!samples.is_empty(), "{what} names {name}, which is no metric");
        for (label, values) in matchers(&text[end..]) {
            if ["job", "instance"].contains(&label) {
                continue;
            }
            assert!(samples.iter().all(|sample| sample.labels.contains_key(label)), "{what}: {name} has no {label}");
            for value in values.into_iter().filter(|_| !FREE.contains(&label)) {
                let is_there = samples.iter().any(|sample| sample.labels[label] == value);
                assert!(is_there, "{what}: no {name} has {label} {value}");
            }
        }
    }
    names.len()
}

/// Every text under a key, however deep.
fn all<'v>(value: &'v Value, key: &str, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text) if name == key => found.push(text),
                    _ => all(member, key, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| all(value, key, found)),
        _ => {}
    }
}

fn expressions(dashboard: &Value) -> Vec<&str> {
    let mut expressions = Vec::new();
    all(dashboard, "expr", &mut expressions);
    expressions
}

#[test]
fn the_dashboard_shows_metrics_that_there_are() {
    let (page, dashboard): (_, Value) = (read(), serde_json::from_str(&text("grafana/ringdns.json")).unwrap());
    let shown: usize = expressions(&dashboard).iter().map(|expression| check("the dashboard", expression, &page)).sum();
    assert!(shown > 80, "{shown}");
    let mut queries = Vec::new();
    all(&dashboard, "definition", &mut queries);
    assert_eq!(queries.iter().map(|query| check("a variable", query, &page)).sum::<usize>(), 2);
    let mut seen = BTreeSet::new();
    let mut titles = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(seen.insert(panel["id"].as_u64().unwrap()), "an id twice");
        if panel["type"] == "row" {
            titles.push(panel["title"].as_str().unwrap());
        } else {
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
            assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{}", panel["title"]);
        }
    }
    assert_eq!(
        titles,
        ["Overview", "Traffic", "Latency", "Cache", "Upstreams", "Zones", "Cores", "Query log and dnstap", "Process"]
    );
}

#[test]
fn the_alerts_and_their_tests_watch_metrics_that_there_are() {
    let page = read();
    assert!(check("alerts.yml", &text("prometheus/alerts.yml"), &page) > 30);
    // Series of rules' results belong to Prometheus.
    assert!(check("alerts_test.yml", &text("prometheus/alerts_test.yml"), &page) > 30);
}

#[test]
fn the_manual_tells_of_every_metric_and_every_alert() {
    let (page, manual) = (read(), text("../docs/MONITORING.md"));
    check("MONITORING.md", &manual.replace("_bucket", ""), &Page { samples: bare(&page), ..Page::default() });
    let lines: BTreeSet<&str> = manual.lines().collect();
    for family in page.families.keys() {
        let row = row(&page, family);
        assert!(lines.contains(row.as_str()), "MONITORING.md lacks the line\n{row}");
    }
    let rules = text("prometheus/alerts.yml");
    let alerts = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    for alert in alerts {
        assert!(manual.contains(&format!("`{alert}`")), "MONITORING.md does not tell of {alert}");
    }
}

/// What the manual's table says of a family: its name, its labels with the values that are words of ours, its meaning.
fn row(page: &Page, family: &str) -> String {
    let mut labels: Vec<(&str, Vec<&str>)> = Vec::new();
    let named = |name: &str| name.strip_prefix(family).is_some_and(|end| ["", "_bucket"].contains(&end));
    for sample in page.samples.iter().filter(|sample| named(&sample.name)) {
        for (label, value) in sample.labels.iter().filter(|(label, _)| *label != "le") {
            let at = labels.iter().position(|(known, _)| known == label).unwrap_or(labels.len());
            if at == labels.len() {
                labels.push((label, Vec::new()));
            }
            if ![&FREE[..], &["version", "counter"]].concat().contains(&label.as_str())
                && !labels[at].1.contains(&value.as_str())
            {
                labels[at].1.push(value);
            }
        }
    }
    let label = |(label, values): (&str, Vec<&str>)| match values.is_empty() {
        true => format!("`{label}`"),
        false => format!("`{label}`: {}", values.join(", ")),
    };
    let labels: Vec<String> = labels.into_iter().map(label).collect();
    format!("| `{family}` | {} | {} |", labels.join("; "), page.families[family].1)
}

/// The samples, and one with the bare name of each family.
fn bare(page: &Page) -> Vec<reader::Sample> {
    let families =
        page.families.keys().map(|name| reader::Sample { name: name.clone(), labels: Default::default(), value: 0.0 });
    page.samples.iter().cloned().chain(families).collect()
}

/// Runs `promtool`; false where it is not installed.
#[track_caller]
fn promtool(arguments: &[&str], input: &str) -> bool {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("input"), input).unwrap();
    let input = fs::File::open(folder.path().join("input")).unwrap();
    let run = Command::new("promtool").args(arguments).current_dir(path("prometheus")).stdin(input).output();
    match run {
        Err(_) => false,
        Ok(output) => {
            let said = [output.stdout, output.stderr].concat();
            assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said));
            true
        }
    }
}

#[test]
fn promtool_finds_nothing_amiss() {
    let page = page(trial::figures(), Format::Text).unwrap();
    if !promtool(&["check", "metrics"], &page) {
        // Past the capture of test output, so that nobody takes a test that did not run for one that passed.
        let _ = writeln!(std::io::stderr(), "skipped: promtool is not installed (apt package prometheus)");
        return;
    }
    for arguments in [
        &["check", "rules", "--lint=all", "alerts.yml"][..],
        &["check", "config", "prometheus.yml"],
        &["test", "rules", "alerts_test.yml"],
    ] {
        assert!(promtool(arguments, ""));
    }
    // The dashboard's expressions, as rules.
    let dashboard: Value = serde_json::from_str(&text("grafana/ringdns.json")).unwrap();
    let rules = expressions(&dashboard).into_iter().enumerate().map(|(index, expression)| {
        let plain = expression.replace("$__rate_interval", "5m").replace('$', "");
        serde_json::json!({ "record": format!("panel:{index}"), "expr": plain })
    });
    let rules = serde_json::json!({ "groups": [{ "name": "panels", "rules": rules.collect::<Vec<_>>() }] });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("panels.yml");
    fs::write(&file, rules.to_string()).unwrap();
    assert!(promtool(&["check", "rules", file.to_str().unwrap()], ""));
}
