//! Zones read beside the cores: what that costs them, in time and memory.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::server::{LISTEN, Server};

const ZONES: &str = "[[zone]]\nname = \"a.test\"\nfile = \"a.zone\"\n";
/// Names of the zone whose memory is looked at.
const NAMES: u32 = 100_000;
/// How long threads may take to begin, and what has been freed may be on its way to the kernel.
const PATIENCE: Duration = Duration::from_secs(60);
/// `SCHED_OTHER` and `SCHED_IDLE` of sched(7).
const OTHER: &str = "0";
const IDLE: &str = "5";
/// The lowest priority.
const LOWEST: &str = "19";

fn zone(names: u32, serial: u32) -> String {
    let mut text = format!("$TTL 300\n@ SOA ns h {serial} 3600 900 604800 60\n@ NS ns\nns A 192.0.2.1\n");
    for name in 0..names {
        let [_, a, b, c] = name.to_be_bytes();
        text.push_str(&format!("h{name} A 10.{a}.{b}.{c}\n"));
    }
    text
}

/// Priority and scheduling policy of a server's threads whose names begin like this.
fn schedules(server: &Server, name: &str) -> Vec<[String; 2]> {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("the server runs");
    let schedule = |task: fs::DirEntry| {
        let stat = fs::read_to_string(task.path().join("stat")).ok()?;
        // `PID (NAME) STATE …`, the priority being the 19th field and the policy the 41st.
        let (before, behind) = stat.rsplit_once(") ")?;
        let is_named = before.split_once('(').is_some_and(|(_, of_task)| of_task.starts_with(name));
        is_named.then(|| [16, 38].map(|field| behind.split(' ').nth(field).expect("41 fields and more").to_owned()))
    };
    tasks.flatten().filter_map(schedule).collect()
}

/// Whether a server's threads may leave the idle class again.
fn may_come_forward(server: &Server) -> bool {
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.pid())).expect("the server runs");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max nice priority")).expect("the kernel tells");
    line.split_whitespace().next().expect("the soft limit") != "0"
}

#[test]
fn who_reads_zones_stands_aside_for_the_cores() {
    let server = Server::start(&format!("{LISTEN}{ZONES}"), &[("a.zone", &zone(1, 1))]);
    let end = Instant::now() + PATIENCE;
    let expected = [LOWEST, if may_come_forward(&server) { IDLE } else { OTHER }];
    // Each takes its place before its first work, which may be later than the first answer.
    loop {
        let readers = schedules(&server, "ringdns-zones");
        if !readers.is_empty() && readers.iter().all(|reader| *reader == expected) {
            break;
        }
        assert!(Instant::now() < end, "{readers:?}");
        thread::sleep(Duration::from_millis(10));
    }
    let cores = schedules(&server, "ringdns-core");
    assert!(!cores.is_empty() && cores.iter().all(|core| *core == ["0", OTHER]), "{cores:?}");
}

/// Octets of memory that the server has for itself.
fn resident(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("the server runs");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("the kernel tells");
    line.trim().split(' ').next().and_then(|text| text.parse::<u64>().ok()).expect("a number of kB") << 10
}

#[test]
fn what_reading_a_zone_took_is_given_back() {
    let small = Server::start(&format!("{LISTEN}{ZONES}"), &[("a.zone", &zone(1, 1))]);
    let without = resident(&small);
    drop(small);
    let server = Server::start(&format!("{LISTEN}{ZONES}"), &[("a.zone", &zone(NAMES, 1))]);
    for serial in 1..=3 {
        if serial > 1 {
            server.replace("a.zone", &zone(NAMES, serial));
            assert!(server.reload(), "{}", server.log());
        }
        let image = server.counter("zone_memory_bytes");
        assert!(image > u64::from(NAMES) * 40, "{image}");
        // Half of it, and what the allocator keeps at hand: a second version of the zone is more.
        let allowed = without + image + image / 2 + (4 << 20);
        let end = Instant::now() + PATIENCE;
        while resident(&server) > allowed {
            assert!(Instant::now() < end, "{} octets for {image} of zone, {without} without it", resident(&server));
            thread::sleep(Duration::from_millis(100));
        }
        eprintln!("serial {serial}: {} octets more than without the zone of {image}", resident(&server) - without);
    }
}
