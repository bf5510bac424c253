//! The commands that serve nothing: what they print, and their exit statuses.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn ringdns(folder: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringdns")).current_dir(folder).args(words).output().expect("the binary runs")
}

/// Exit status, standard output, standard error.
fn told(folder: &Path, words: &[&str]) -> (Option<i32>, String, String) {
    let output = ringdns(folder, words);
    let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).expect("the output is text");
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

const ZONE: &str = "$TTL 60\n@ SOA ns h 7 60 60 60 60\n@ NS ns\nns A 192.0.2.1\n";

/// A folder with `files` in it.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (file, text) in files {
        fs::write(folder.path().join(file), text).expect("the file is written");
    }
    folder
}

#[test]
fn check_says_what_would_be_served() {
    let folder = folder(&[("r.toml", "[[zone]]\nname = \"a.test\"\nfile = \"a.zone\"\n"), ("a.zone", ZONE)]);
    let (status, out, err) = told(folder.path(), &["check", "-c", "r.toml"]);
    assert_eq!((status, err.as_str()), (Some(0), ""));
    assert!(out.starts_with("ok; zones: 1, records: 3"), "{out}");
    assert!(out.contains("\n  a.test.: serial 7, 2 names, 3 records, "), "{out}");
    let (status, out, _) = told(folder.path(), &["check", "-c", "r.toml", "--json"]);
    let object: serde_json::Value = serde_json::from_str(&out).expect("one JSON object");
    assert_eq!((status, &object["ok"], &object["zones"][0]["serial"]), (Some(0), &true.into(), &7.into()));
}

#[test]
fn check_names_every_mistake_and_ends_with_1() {
    let folder = folder(&[
        ("r.toml", "[server]\ncores = 0\n[cache]\nstale = \"1d\"\n"),
        ("z.toml", "[[zone]]\nname = \"a.test\"\nfile = \"a.zone\"\n[[zone]]\nname = \"b.test\"\nfile = \"b.zone\"\n"),
        ("a.zone", "@ 60 A 192.0.2.999\n"),
    ]);
    let (status, out, err) = told(folder.path(), &["check", "-c", "r.toml"]);
    assert_eq!((status, out.as_str(), err.lines().count()), (Some(1), "", 2), "{err}");
    assert!(err.contains("r.toml:2:9: `cores` in [server]: found the number `0`"), "{err}");
    assert!(err.contains("r.toml:4:1: `stale` in [cache] is not available in this version; remove it"), "{err}");

    let (status, out, _) = told(folder.path(), &["check", "--json", "-c", "r.toml"]);
    let object: serde_json::Value = serde_json::from_str(&out).expect("one JSON object");
    assert_eq!((status, &object["ok"], &object["faults"][1]["line"]), (Some(1), &false.into(), &4.into()));

    let (status, _, err) = told(folder.path(), &["check", "-c", "z.toml"]);
    assert_eq!(status, Some(1));
    assert!(err.contains("/a.zone:1:8: ") && err.contains("/b.zone: cannot be read"), "{err}");

    for command in ["check", "config", "serve"] {
        let (status, _, err) = told(folder.path(), &[command, "-c", "none.toml"]);
        assert_eq!(status, Some(1), "{command}");
        assert!(err.starts_with("none.toml: cannot be read: "), "{err}");
    }
}

#[test]
fn serve_refuses_what_check_refuses() {
    let folder = folder(&[("r.toml", "[server]\ncores = 0\n"), ("u.toml", "[server]\ncores = [1023]\n")]);
    let (status, _, err) = told(folder.path(), &["serve", "-c", "r.toml"]);
    assert_eq!(status, Some(1));
    assert!(err.starts_with("r.toml:2:9: `cores` in [server]"), "{err}");
    let (status, _, err) = told(folder.path(), &["serve", "-c", "u.toml"]);
    assert_eq!(status, Some(1));
    assert!(err.starts_with("u.toml:2:9: `cores` in [server]: this process may not use CPU 1023"), "{err}");
}

#[test]
fn the_printed_configurations_load() {
    let folder = folder(&[]);
    for (file, words) in [("default.toml", &["config", "--default"][..]), ("force.toml", &["config"])] {
        let (status, out, _) = told(folder.path(), words);
        assert_eq!(status, Some(0));
        fs::write(folder.path().join(file), &out).expect("the file is written");
        let (status, again, err) = told(folder.path(), &["config", "-c", file]);
        assert_eq!(status, Some(0), "{err}");
        assert!(words.len() == 2 || again == out, "{again}\ndiffers from\n{out}");
    }
    let (status, out, _) = told(folder.path(), &["check", "-c", "force.toml"]);
    assert_eq!(status, Some(0));
    assert!(out.contains("example.test."), "{out}");
}

#[test]
fn wrong_usage_ends_with_2() {
    let folder = folder(&[]);
    for words in [&["bogus"][..], &["serve", "--fast"], &["config", "--default", "-c", "x"], &["check", "-c"], &[]] {
        let (status, out, err) = told(folder.path(), words);
        assert_eq!((status, out.as_str()), (Some(2), ""), "{words:?}");
        assert!(err.contains("--help"), "{err}");
    }
}

#[test]
fn version_help_completions_and_manual_are_printed() {
    let folder = folder(&[]);
    let version = format!("ringdns {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(told(folder.path(), &["--version"]), (Some(0), version, String::new()));
    for (words, part) in [
        (&["--help"][..], "Exit status"),
        (&["completions", "bash"], "complete "),
        (&["completions", "zsh"], "#compdef ringdns"),
        (&["completions", "fish"], "complete -c ringdns"),
        (&["man"], ".TH ringdns"),
        (&["config", "--reference"], "## `[[zone]]`"),
    ] {
        let (status, out, err) = told(folder.path(), words);
        assert_eq!((status, err.as_str()), (Some(0), ""), "{words:?}");
        assert!(out.contains(part), "{words:?}\n{out}");
    }
    assert_eq!(told(folder.path(), &["man", "."]).0, Some(0));
    assert!(folder.path().join("ringdns-serve.1").exists() && folder.path().join("ringdns.1").exists());
    assert_eq!(told(folder.path(), &["man", "none/below"]).0, Some(3));
}
