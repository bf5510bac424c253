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

const ZONE: &str = "$TTL 60\n@ SOA ns h 7 60 60 600 60\n@ NS ns\nns A 192.0.2.1\n";

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
fn check_says_what_is_wrong_with_zones_that_load() {
    let of_zone = "[[zone]]\nname = \"a.test\"\nfile = \"a.zone\"\n";
    let checked = |added: &str| {
        let folder = folder(&[("r.toml", of_zone), ("a.zone", &format!("{ZONE}{added}"))]);
        let (status, out, err) = told(folder.path(), &["check", "-c", "r.toml"]);
        let (as_json, object, _) = told(folder.path(), &["check", "-c", "r.toml", "--json"]);
        assert_eq!((status, err.as_str()), (as_json, ""), "{out}");
        (status, out, serde_json::from_str::<serde_json::Value>(&object).expect("one JSON object"))
    };
    let (status, out, object) = checked("");
    assert_eq!((status, &object["zones"][0]["findings"]), (Some(0), &serde_json::json!([])));
    assert!(out.ends_with(", ZONEMD absent\n"), "{out}");

    let (status, out, object) = checked("m MX 1 none\n");
    assert_eq!((status, &object["ok"], &object["zones"][0]["warnings"]), (Some(0), &true.into(), &1.into()));
    assert!(out.starts_with("ok; ") && out.lines().next().is_some_and(|line| line.ends_with(", warnings: 1")), "{out}");
    assert!(out.ends_with("\n    warning  m.a.test.  the target none.a.test. of an MX has no address\n"), "{out}");

    let (status, out, object) = checked("m MX 1 none\nsub NS ns.sub\n");
    let finding = &object["zones"][0]["findings"][0];
    assert_eq!((status, &object["ok"], &finding["severity"]), (Some(1), &false.into(), &"error".into()));
    assert_eq!(finding["owner"], "sub.a.test.");
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].starts_with("faulty; ") && lines[0].ends_with(", errors: 1, warnings: 1"), "{out}");
    assert!(lines[2].starts_with("    error    sub.a.test.  the name server ns.sub.a.test. lies in the zone"), "{out}");
    assert!(lines[3].starts_with("    warning  m.a.test.    the target none.a.test. of an MX has no"), "{out}");
}

#[test]
fn check_verifies_the_digest_of_a_zone() {
    let zone = |digest: &str| {
        let example = "@ 86400 SOA ns1 admin 2018031900 1800 900 604800 86400\n@ 86400 NS ns1\n@ 86400 NS ns2\n\
                       ns1 3600 A 203.0.113.63\nns2 3600 AAAA 2001:db8::63\n";
        let folder = folder(&[
            ("r.toml", "[[zone]]\nname = \"example\"\nfile = \"a.zone\"\n"),
            ("a.zone", &format!("{example}@ 86400 ZONEMD 2018031900 1 1 {digest}\n")),
        ]);
        let (status, out, err) = told(folder.path(), &["check", "-c", "r.toml"]);
        (status, out + &err)
    };
    // The digest of RFC 8976 appendix A.1.
    let good = "c68090d90a7aed716bc459f9340e3d7c1370d4d24b7e2fc3a1ddc0b9a87153b9a9713b3c9ae5cc27777f98b8e730044c";
    let (status, said) = zone(good);
    assert!(status == Some(0) && said.ends_with(", ZONEMD good (SHA-384)\n"), "{said}");
    let (status, said) = zone(&good.replace("c680", "c681"));
    assert!(status == Some(1) && said.contains("the SHA-384 digest of the ZONEMD is not that of the zone"), "{said}");
}

#[test]
fn check_names_every_mistake_and_ends_with_1() {
    let folder = folder(&[
        ("r.toml", "[server]\ncores = 0\n[[listen]]\nproxies = []\n"),
        ("z.toml", "[[zone]]\nname = \"a.test\"\nfile = \"a.zone\"\n[[zone]]\nname = \"b.test\"\nfile = \"b.zone\"\n"),
        ("a.zone", "@ 60 A 192.0.2.999\n"),
    ]);
    let (status, out, err) = told(folder.path(), &["check", "-c", "r.toml"]);
    assert_eq!((status, out.as_str(), err.lines().count()), (Some(1), "", 2), "{err}");
    assert!(err.contains("r.toml:2:9: `cores` in [server]: found the number `0`"), "{err}");
    assert!(err.contains("r.toml:4:1: `proxies` in [[listen]] is not available in this version; remove it"), "{err}");

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
