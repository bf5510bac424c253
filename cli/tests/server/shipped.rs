//! What is shipped around the binary, and the rules of its parts.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::server::{binary, program, project};
use crate::common::{needed, skipped};

/// Names of crates that bring sockets, a runtime, or the system calls for either; a final `*` is any ending.
const IO_CRATES: &[&str] = &[
    "async-*",
    "compio*",
    "embassy*",
    "futures*",
    "glommio*",
    "h2",
    "h3*",
    "hyper*",
    "io-uring",
    "libc",
    "mio",
    "monoio",
    "nix",
    "polling",
    "quinn*",
    "reqwest",
    "rustix",
    "smol",
    "socket2",
    "tokio*",
    "uring*",
    "windows-sys",
];

/// The crates that `package` is built from, itself among them.
fn dependencies(package: &str) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "tree",
            "--locked",
            "--offline",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
            // It asks through libc what the processor can do, and opens nothing.
            "--prune",
            "ring",
            "-p",
            package,
        ])
        .current_dir(project())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("cargo writes text");
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

fn matches(name: &str, pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == pattern,
    }
}

#[test]
fn the_shard_has_no_socket_and_no_runtime_in_its_tree() {
    let shard = dependencies("ringdns-shard");
    assert!(shard.contains("ringdns-shard") && shard.contains("hashbrown"), "{shard:?}");
    let found: Vec<&String> =
        shard.iter().filter(|name| IO_CRATES.iter().any(|pattern| matches(name, pattern))).collect();
    assert!(found.is_empty(), "the shard does no I/O, and depends on {found:?}");
    // The list means something: the rim's tree is full of it.
    let rim = dependencies("ringdns-rim");
    let caught = ["glommio-ng", "socket2", "libc"];
    assert!(caught.iter().all(|name| rim.contains(*name) && IO_CRATES.iter().any(|pattern| matches(name, pattern))));
}

#[test]
fn control_and_rim_do_not_know_each_other() {
    let rim = dependencies("ringdns-rim");
    assert!(!rim.iter().any(|name| matches(name, "tokio*") || name == "ringdns-control"), "{rim:?}");
    let control = dependencies("ringdns-control");
    assert!(!control.iter().any(|name| matches(name, "glommio*") || name == "ringdns-rim"), "{control:?}");
}

fn read(file: &str) -> String {
    fs::read_to_string(project().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[test]
fn the_rim_alone_may_be_unsafe() {
    for crate_root in ["engine/shard/src/lib.rs", "control/src/lib.rs", "cli/src/main.rs"] {
        assert!(read(crate_root).contains("#![forbid(unsafe_code)]"), "{crate_root}");
    }
}

/// The system calls that docker/seccomp.json allows.
pub(crate) fn allowed_calls() -> BTreeSet<String> {
    let profile: serde_json::Value = serde_json::from_str(&read("docker/seccomp.json")).expect("JSON");
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    let rules = profile["syscalls"].as_array().expect("a list of rules");
    let allowing = rules.iter().filter(|rule| rule["action"] == "SCMP_ACT_ALLOW");
    let names = allowing.flat_map(|rule| rule["names"].as_array().expect("a list of names"));
    names.map(|name| name.as_str().expect("a name").to_owned()).collect()
}

#[test]
fn the_seccomp_profile_permits_io_uring_and_nothing_that_reaches_further() {
    let allowed = allowed_calls();
    for name in ["io_uring_setup", "io_uring_enter", "io_uring_register"] {
        assert!(allowed.contains(name), "{name} is not allowed");
    }
    for name in ["ptrace", "mount", "bpf", "keyctl", "init_module", "unshare", "kexec_load", "perf_event_open"] {
        assert!(!allowed.contains(name), "{name} is allowed");
    }
}

/// The service's unit with the binary under test in it, in a folder.
fn unit(folder: &Path) -> PathBuf {
    let file = folder.join("ringdns.service");
    let unit = read("systemd/ringdns.service").replace("/usr/bin/ringdns", &program().display().to_string());
    fs::write(&file, unit).expect("the file is written");
    file
}

#[test]
fn systemd_takes_the_unit_as_it_is() {
    let Some(analyze) = needed("systemd-analyze", "systemd") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let output = Command::new(analyze).args(["verify", "--man=no"]).arg(unit(folder.path())).output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !told.contains("ringdns"), "{told}");
}

#[test]
fn the_unit_leaves_little_exposed() {
    let Some(analyze) = needed("systemd-analyze", "systemd") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(analyze);
    // In tenths: 100 is a service without any bounds, the network's part alone is 8.
    command.args(["security", "--offline=true", "--no-pager", "--threshold=20"]).arg(unit(folder.path()));
    let output = command.output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stdout);
    if told.is_empty() {
        return skipped("this systemd-analyze cannot look at a unit that is not installed (systemd 250 can)");
    }
    assert!(output.status.success() && told.contains("Overall exposure level"), "{told}");
}

#[test]
fn the_unit_permits_what_the_process_gives_up_by() {
    let unit = read("systemd/ringdns.service");
    let filters: Vec<&str> = unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")).collect();
    let at = |word: &str| filters.iter().position(|filter| filter.split(' ').any(|name| name == word));
    // Lists add up in their order, and one that begins with ~ takes away.
    let taken_away = at("~@privileged").expect("it is there");
    for call in ["capset", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"] {
        assert!(at(call).is_some_and(|added| added > taken_away), "{call}: {filters:?}");
    }
}

#[test]
fn the_image_runs_without_root_and_asks_a_name_for_its_health() {
    let file = read("Dockerfile");
    let last_stage = file.rsplit("\nFROM ").next().expect("a stage");
    assert!(last_stage.starts_with("gcr.io/distroless/"), "{last_stage}");
    assert!(last_stage.contains("USER 65532"), "{last_stage}");
    let check = last_stage.lines().find(|line| line.trim_start().starts_with("CMD [\"/usr/bin/ringdns\", \"query\""));
    assert!(check.is_some_and(|check| check.contains("+check")), "{last_stage}");
}

#[test]
fn what_the_image_serves_loads() {
    let file = project().join("docker/ringdns.toml");
    let output = binary().arg("check").arg("-c").arg(file).output().expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn scripts_explain_themselves() {
    let scripts =
        ["scripts/serve", "scripts/test", "scripts/bench", "scripts/bench-engine", "scripts/flamegraph", ".ci/run"];
    for script in scripts {
        let output = Command::new(project().join(script)).arg("-h").output().expect("it is executable");
        let out = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && out.contains(&format!("usage: {script}")), "{script}: {out}");
    }
}
