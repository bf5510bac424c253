//! Under dnsperf, at a bounded rate: nothing may be lost but what the kernel drops because the machine is too busy for a
//! receiver to get its CPU in time; then it is tried again at a lower rate. `RINGDNS_LOAD_SECONDS` says for how long, 5
//! where it does not.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::common::nsd::Nsd;
use crate::common::server::{LISTEN, Server, other_build};
use crate::common::turn;
use crate::common::{needed, skipped};

const NAMES: u32 = 100_000;
/// Names in the order in which they are asked for.
const QUERIES: u32 = 20_000;
/// Queries a second.
const ZONE_RATE: u32 = 20_000;
const FORWARD_RATE: u32 = 5_000;
/// Sockets that dnsperf asks from: enough for the kernel to deal them out to every core.
const SOCKETS: &str = "24";

fn seconds() -> u32 {
    let seconds = std::env::var("RINGDNS_LOAD_SECONDS").ok();
    seconds.map_or(5, |seconds| seconds.parse().expect("RINGDNS_LOAD_SECONDS is a number of seconds"))
}

/// The share of a rate that a build can bear: one without optimisation gets less of it, for it is the engine's losses
/// that are looked at here, not its speed.
fn bearable(rate: u32) -> u32 {
    if cfg!(debug_assertions) && other_build().is_none() { rate * 2 / 5 } else { rate }
}

/// A zone of `names` names, the TTL and serial given.
fn zone(names: u32, ttl: u32, serial: u32) -> String {
    let mut text = format!("$TTL {ttl}\n@ SOA ns h {serial} 3600 900 604800 60\n@ NS ns\nns A 192.0.2.1\n");
    for name in 0..names {
        let [_, a, b, c] = name.to_be_bytes();
        text.push_str(&format!("h{name} A 10.{a}.{b}.{c}\n"));
    }
    text
}

/// Names of the zone in an order without order.
fn queries(zone: &str, names: u32) -> String {
    (0..QUERIES).map(|query| format!("h{}.{zone} A\n", u64::from(query) * 7_919 % u64::from(names))).collect()
}

/// What dnsperf has counted.
#[derive(Debug)]
struct Counted {
    sent: u64,
    completed: u64,
    lost: u64,
    noerror: u64,
    report: String,
}

impl Counted {
    fn read(report: String) -> Counted {
        let field = |title: &str| {
            let line = report.lines().find_map(|line| line.trim().strip_prefix(title));
            let number = line.and_then(|rest| rest.split_whitespace().next()).and_then(|word| word.parse().ok());
            number.unwrap_or_else(|| panic!("no {title} in\n{report}"))
        };
        let counted = (field("Queries sent:"), field("Queries completed:"), field("Queries lost:"));
        let noerror = field("Response codes:       NOERROR");
        Counted { sent: counted.0, completed: counted.1, lost: counted.2, noerror, report }
    }

    /// Every query was answered, and well.
    #[track_caller]
    fn nothing_lost(&self) {
        assert_eq!((self.lost, self.completed, self.noerror), (0, self.sent, self.sent), "{}", self.report);
    }
}

/// Datagrams that found the receive buffer of their socket full, of all sockets of this machine: the `RcvbufErrors` of
/// UDP.
fn dropped_by_kernel() -> u64 {
    let text = fs::read_to_string("/proc/net/snmp").expect("the kernel counts");
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp:")).map(str::split_whitespace);
    let (names, mut numbers) = (lines.next().expect("names"), lines.next().expect("numbers"));
    let at = names.into_iter().position(|name| name == "RcvbufErrors").expect("the count");
    numbers.nth(at).and_then(|number| number.parse().ok()).expect("a number")
}

/// Runs until nothing is lost, or more than the kernel has dropped: at `rate`, at half of it, and at a quarter. Half of the
/// queries are load enough where others have the machine, too; fewer are none.
#[track_caller]
fn loses_nothing(rate: u32, mut run: impl FnMut(u32) -> Counted) {
    for rate in [rate, rate / 2, rate / 4] {
        let before = dropped_by_kernel();
        let counted = run(rate);
        let dropped = dropped_by_kernel() - before;
        let is_load = counted.sent >= u64::from(rate) * u64::from(seconds()) / 2;
        if counted.lost > dropped || counted.lost == 0 && is_load {
            return counted.nothing_lost();
        }
    }
    skipped("the machine is too busy: dnsperf falls behind, or the kernel drops datagrams, at any rate");
}

/// dnsperf under way; what it asks for is in a file of the folder.
fn load(dnsperf: &Path, folder: &Path, server: SocketAddr, queries: &str, rate: u32) -> Child {
    let file = folder.join("queries");
    fs::write(&file, queries).expect("the file is written");
    Command::new(dnsperf)
        .args(["-s", &server.ip().to_string(), "-p", &server.port().to_string(), "-c", SOCKETS])
        .args(["-l", &seconds().to_string(), "-Q", &rate.to_string(), "-d"])
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("dnsperf runs")
}

fn counted(dnsperf: Child) -> Counted {
    let output = dnsperf.wait_with_output().expect("dnsperf ends");
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{report}{}", String::from_utf8_lossy(&output.stderr));
    println!("{report}");
    Counted::read(report)
}

/// Every core answered some.
fn all_cores_served(server: &Server) {
    let served = server.values("queries{transport=udp}");
    assert_eq!(served.len(), thread::available_parallelism().expect("a number").get());
    assert!(served.iter().all(|queries| *queries > 0), "{served:?}");
}

const ZONES: &str = "[[zone]]\nname = \"big.test\"\nfile = \"big.zone\"\n";

#[test]
fn a_zone_of_a_hundred_thousand_names_loses_nothing() {
    let Some(dnsperf) = needed("dnsperf", "dnsperf") else { return };
    let _alone = turn::alone();
    let server = Server::start(&format!("{LISTEN}{ZONES}"), &[("big.zone", &zone(NAMES, 300, 1))]);
    loses_nothing(bearable(ZONE_RATE), |rate| {
        counted(load(&dnsperf, server.folder(), server.address(), &queries("big.test", NAMES), rate))
    });
    all_cores_served(&server);
}

#[test]
fn forwarding_to_nsd_loses_nothing() {
    let Some(dnsperf) = needed("dnsperf", "dnsperf") else { return };
    let _alone = turn::alone();
    // A TTL of a second, so that questions go upstream for as long as it lasts.
    let Some(nsd) = Nsd::start("big.test", &zone(QUERIES, 1, 1)) else { return };
    let configuration = format!(
        "{LISTEN}[[upstream]]\nname = \"nsd\"\ntimeout = \"5s\"\nservers = [\"udp://{}\"]\n[[route]]\nsuffix = \".\"\nto = [\"nsd\"]\n",
        nsd.address
    );
    let server = Server::start(&configuration, &[]);
    let rate = bearable(FORWARD_RATE);
    loses_nothing(rate, |rate| {
        counted(load(&dnsperf, server.folder(), server.address(), &queries("big.test", QUERIES), rate))
    });
    all_cores_served(&server);
    assert!(server.counter("upstream_queries{transport=udp}") >= u64::from(rate), "it is NSD that was asked");
}

#[test]
fn a_reload_of_a_large_zone_under_load_loses_nothing() {
    let Some(dnsperf) = needed("dnsperf", "dnsperf") else { return };
    let _alone = turn::alone();
    let server = Server::start(&format!("{LISTEN}{ZONES}"), &[("big.zone", &zone(NAMES, 300, 1))]);
    let mut serial = 1;
    loses_nothing(bearable(ZONE_RATE / 2), |rate| {
        let mut load = load(&dnsperf, server.folder(), server.address(), &queries("big.test", NAMES), rate);
        let before = serial;
        // At least one, and further ones for as long as the load lasts.
        while serial == before || load.try_wait().expect("it can be waited for").is_none() {
            serial += 1;
            server.replace("big.zone", &zone(NAMES, 300, serial));
            assert!(server.reload(), "{}", server.log());
            assert_eq!(server.counter("zone_serial"), u64::from(serial));
            thread::sleep(Duration::from_millis(200));
        }
        counted(load)
    });
    assert!(server.answer("big.test", "SOA").answer()[0].contains(&format!(" {serial} 3600 ")));
}
