//! The benchmark against other servers, end to end in small: ringdns and the floor, one run of a second each.

use std::path::{Path, PathBuf};
use std::process::Command;

use ringdns_bench::versus::generator::Generator;
use ringdns_bench::versus::servers::find_program;

/// The ringdns that was built last beside this test.
fn ringdns() -> Option<PathBuf> {
    let built = Path::new(env!("CARGO_BIN_EXE_ringdns-bench")).parent()?.join("ringdns");
    built.is_file().then_some(built)
}

/// What is missing, if anything is.
fn missing() -> Option<&'static str> {
    if !nix::unistd::geteuid().is_root() {
        return Some("root");
    }
    if Generator::find(None).is_err() {
        return Some("kxdpgun or dnsperf");
    }
    if std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() < 2) {
        return Some("a second CPU");
    }
    let made = Command::new("unshare").args(["--net", "true"]).status();
    if !made.is_ok_and(|status| status.success()) || find_program("ip").is_none() || find_program("taskset").is_none() {
        return Some("network namespaces, ip and taskset");
    }
    if ringdns().is_none() { Some("the binary of ringdns") } else { None }
}

#[test]
fn ringdns_and_the_floor_are_measured_and_nothing_stays_behind() {
    if let Some(missing) = missing() {
        eprintln!("skipped: {missing} is not here");
        return;
    }
    let folder = std::env::temp_dir().join(format!("ringdns-bench-test-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringdns-bench"));
    command.args([
        "versus",
        "floor",
        "--runs",
        "1",
        "--seconds",
        "1",
        "--names",
        "1000",
        "--offered",
        "20000",
        "--json",
    ]);
    command.args(["--servers", "floor", "--ringdns"]).arg(ringdns().unwrap()).env("TMPDIR", &folder);
    let child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let number = child.id();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let servers = report["scenarios"][0]["cases"][0]["servers"].as_array().unwrap();
    let names: Vec<_> = servers.iter().map(|server| server["server"].as_str().unwrap()).collect();
    assert_eq!(names, ["floor", "ringdns"], "{said}");
    for server in servers {
        let replies = server["figures"][1]["median"].as_f64().unwrap();
        assert!(replies > 100.0, "{server}");
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    assert!(!Path::new(&format!("/run/netns/ringbench-{number}-s")).exists());
    std::fs::remove_dir_all(folder).unwrap();
}
