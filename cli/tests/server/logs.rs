//! What the process says of itself when others give it much to say.

use std::collections::HashSet;
use std::time::Instant;

use crate::common::server::{LISTEN, Server, binary};
use crate::common::{free_port, wait_until};

#[test]
fn trouble_with_many_zones_is_a_few_lines_of_json() {
    const ZONES: u64 = 300;
    let nobody = free_port();
    let zone = |number| format!("[[zone]]\nname = \"z{number}.test\"\nprimaries = [\"{nobody}\"]\n");
    let zones: String = (0..ZONES).map(zone).collect();
    let began = Instant::now();
    let server = Server::start(
        &format!("[server]\ncores = 1\nstate = \"state\"\n[log]\nformat = \"json\"\n{LISTEN}{zones}"),
        &[],
    );
    wait_until("every zone has met its trouble", || server.counter("zones_troubled") == ZONES);
    wait_until("it is summed up", || server.log().contains("more lines of a kind were left out"));
    let log = server.log();
    let said = log.lines().filter(|line| line.contains("cannot be had from")).count() as u64;
    assert!(said <= 20 + began.elapsed().as_secs() + 2, "{said} lines");
    assert!(server.counter("log_lines_left_out") >= ZONES - said);
    let mut members = HashSet::new();
    for line in log.lines() {
        let object: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        members.extend(object.as_object().expect("an object").keys().cloned());
    }
    assert_eq!(members, ["time", "level", "target", "message"].map(str::to_owned).into());
}

#[test]
fn the_level_changes_at_once_and_a_reload_brings_back_what_the_file_says() {
    let server = Server::start(
        &format!(
            "[server]\ncores = 1\n[log]\nlevel = \"warn\"\n{LISTEN}[control]\nlisten = \"127.0.0.1:0\"\nsocket = \"ctl.sock\"\n"
        ),
        &[],
    );
    let says = |what: &str| server.log().lines().filter(|line| line.contains(what)).count();
    assert!(server.reload());
    assert_eq!((says("reading configuration"), says("reloaded:")), (0, 0), "{}", server.log());
    let told = binary()
        .args(["ctl", "log", "info", "-c", "r.toml"])
        .current_dir(server.folder())
        .output()
        .expect("the binary runs");
    assert!(told.status.success(), "{told:?}");
    assert!(server.reload());
    // The level of the file holds again before the end of the reload is told.
    assert_eq!((says("reading configuration"), says("reloaded:")), (1, 0), "{}", server.log());
}
