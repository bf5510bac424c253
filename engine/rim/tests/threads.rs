//! The threads of the cores as the kernel sees them. One test, alone in its process, so that no other test's threads
//! are there to be mistaken for these.

use std::fs;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringdns_rim::{Cores, Listen, Plan, bind, cpus_online, preflight};
use ringdns_shard::Images;
use ringdns_shard::guard::Acl;
use ringdns_shard::images::{Bounds, CacheSettings, Listener};
use ringdns_shard::wire::name::HashKey;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// One listener, and no names.
fn images() -> Arc<Images> {
    let hash_key = HashKey::from_seed([9; 16]);
    let minute = Duration::from_secs(60);
    Arc::new(Images {
        listeners: vec![Listener { allow: Acl::local_and_private() }],
        cache: CacheSettings {
            octets: 1 << 20,
            min_ttl: Duration::ZERO,
            max_ttl: minute,
            negative_max_ttl: minute,
            ..CacheSettings::PLAIN
        },
        bounds: Bounds { resolves: 10, waiters: 10, tcp_idle: minute, udp_ports: 1, ..Bounds::DEFAULT },
        ..Images::bare(hash_key)
    })
}

/// The threads of this process whose name begins with `prefix`, with their folders in /proc.
fn threads(prefix: &str) -> Vec<(String, PathBuf)> {
    let mut found: Vec<_> = fs::read_dir("/proc/self/task")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter_map(|path| Some((fs::read_to_string(path.join("comm")).ok()?.trim().to_owned(), path)))
        .filter(|(name, _)| name.starts_with(prefix))
        .collect();
    found.sort();
    found
}

fn cpu_time(path: &Path) -> Duration {
    let figures = fs::read_to_string(path.join("schedstat")).unwrap();
    Duration::from_nanos(figures.split_whitespace().next().unwrap().parse().unwrap())
}

/// Cores that look for work for the time `spin` before they sleep, and where they listen.
fn start(cpus: &[usize], spin: Duration) -> (Cores, SocketAddr) {
    preflight(cpus.len()).unwrap();
    let listens = vec![Listen { address: "127.0.0.1:0".parse().unwrap(), udp: true, tcp: true }];
    let bound = bind(Plan { cpus: cpus.to_vec(), listens, spin, tcp_clients: 10, udp_ports: 1 }).unwrap();
    let address = bound.addresses()[0];
    let images = cpus.iter().map(|_| images()).collect();
    (bound.start(images, vec![[7; 32]; cpus.len()], Arc::new(|_| ())).unwrap(), address)
}

#[test]
fn each_core_has_one_thread_that_is_pinned_and_idle_without_work() {
    let cpus = cpus_online().unwrap();
    let (running, address) = start(&cpus, Duration::ZERO);

    let cores = threads("ringdns-core-");
    let mut names: Vec<_> = cores.iter().map(|(name, _)| name.clone()).collect();
    let mut expected: Vec<_> = (0..cpus.len()).map(|core| format!("ringdns-core-{core}")).collect();
    names.sort();
    expected.sort();
    assert_eq!(names, expected);
    for (name, path) in &cores {
        let status = fs::read_to_string(path.join("status")).unwrap();
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
        let core: usize = name.strip_prefix("ringdns-core-").unwrap().parse().unwrap();
        assert_eq!(allowed, cpus[core].to_string(), "{name}");
    }

    // A connection that is open and does nothing costs next to nothing either. On a busy machine the work of starting may
    // last into the first seconds.
    let _connection = TcpStream::connect(address).unwrap();
    within_patience("an idle second", || is_idle(&cores));
    running.stop(Duration::ZERO);
    // A thread that has been waited for stays in the kernel's list for a moment.
    within_patience("the end of the threads", || threads("ringdns-core-").is_empty());

    // A core that is to look for work does so after each datagram, on its CPU still, and sleeps after a while all the same.
    let (running, address) = start(&cpus[..1], Duration::from_millis(20));
    let cores = threads("ringdns-core-");
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    within_patience("a core that looks for work", || {
        let before = cpu_time(&cores[0].1);
        for _ in 0..20 {
            client.send_to(&[0; 12], address).unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
        cpu_time(&cores[0].1) - before > Duration::from_millis(30)
    });
    within_patience("an idle second after it", || is_idle(&cores));
    running.stop(Duration::ZERO);
}

/// Whether these threads use next to no CPU time for a second.
fn is_idle(threads: &[(String, PathBuf)]) -> bool {
    let before: Vec<_> = threads.iter().map(|(_, path)| cpu_time(path)).collect();
    std::thread::sleep(Duration::from_secs(1));
    threads.iter().zip(before).all(|((_, path), before)| cpu_time(path) - before < Duration::from_millis(20))
}

#[track_caller]
fn within_patience(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
