//! The configuration of each server for a task, and its command: one worker unless told otherwise, no limits that the others
//! do not have, nothing written but into the folder that it is given.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::namespace::SERVER;
use super::servers::{Found, Server};

/// What a server has to do.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its own, empty at first.
    pub folder: PathBuf,
    /// Where it listens, for UDP and TCP.
    pub port: u16,
    /// The CPUs that it may use, from 0 on, each with a worker.
    pub cores: usize,
    /// With what.
    pub role: Role,
}

/// With what a server answers.
#[derive(Clone, Debug)]
pub enum Role {
    /// Zones of its own.
    Zones(Vec<Zone>),
    /// A cache before an origin on the same address.
    Cache {
        /// The origin's port.
        origin: u16,
        /// Answers that there must be room for.
        entries: usize,
        /// Whether clients want signatures.
        dnssec_ok: bool,
    },
}

/// A zone and its master file.
#[derive(Clone, Debug)]
pub struct Zone {
    /// Without the last dot.
    pub name: String,
    /// The master file.
    pub file: PathBuf,
}

/// How a server is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Files to be written first, into the task's folder.
    pub files: Vec<(PathBuf, String)>,
    /// Behind the program.
    pub arguments: Vec<String>,
}

/// All names of benchmarks are below this one.
pub const TOP: &str = "test";
/// Bounds on TCP connections, the same for all.
const TCP_CLIENTS: usize = 1000;
/// What a cached answer may take at most, records and all, in octets.
const ENTRY_OCTETS: usize = 1024;
const PYTHON: &str = include_str!("answer.py");

/// What it takes to start a server for a task; `None` where it cannot do it.
#[must_use]
pub fn launch(found: &Found, task: &Task) -> Option<Launch> {
    let folder = task.folder.display();
    let conf = task.folder.join("conf");
    let text = match (found.server, &task.role) {
        (Server::Ringdns, _) => ringdns(task),
        (Server::Nsd, Role::Zones(zones)) => nsd(task, zones, &found.version),
        (Server::Knot, Role::Zones(zones)) => knot(task, zones),
        (Server::Unbound, Role::Cache { origin, entries, .. }) => unbound(task, *origin, *entries),
        (Server::Dnsdist, Role::Cache { origin, entries, .. }) => dnsdist(task, *origin, *entries),
        (Server::Dnspython | Server::Dnslib, Role::Zones(_)) => PYTHON.to_owned(),
        (Server::Recursor | Server::Dnsmasq, Role::Cache { .. }) | (Server::Floor | Server::FloorGlommio, _) => {
            String::new()
        }
        _ => return None,
    };
    let conf_text = conf.display();
    let line = match (found.server, &task.role) {
        (Server::Ringdns, _) => format!("serve -c {conf_text}"),
        (Server::Nsd, _) => format!("-d -c {conf_text}"),
        (Server::Knot, _) => format!("-c {conf_text}"),
        (Server::Unbound, _) => format!("-d -c {conf_text}"),
        (Server::Dnsdist, _) => format!("-C {conf_text} --supervised --disable-syslog"),
        (Server::Recursor, Role::Cache { origin, entries, dnssec_ok }) => {
            let dnssec = if *dnssec_ok { "process-no-validate" } else { "off" };
            format!(
                "--config-dir={folder} --socket-dir={folder} --local-address={SERVER} --local-port={port} \
                 --forward-zones-recurse={TOP}={SERVER}:{origin} --allow-from=0.0.0.0/0 --dont-query= --query-local-address={SERVER} \
                 --threads={threads} --distributor-threads=0 --pdns-distributes-queries=no --dnssec={dnssec} \
                 --max-cache-entries={entries} --max-packetcache-entries={entries} --max-tcp-clients={TCP_CLIENTS} \
                 --daemon=no --disable-syslog=yes --loglevel=3 --quiet=yes",
                port = task.port,
                threads = task.cores,
            )
        }
        (Server::Dnsmasq, Role::Cache { origin, entries, .. }) => format!(
            "-k -C /dev/null --no-resolv --no-hosts --port={port} --listen-address={SERVER} --bind-interfaces \
             --server={SERVER}#{origin} --cache-size={entries} -u root --dns-forward-max=10000 --pid-file={folder}/pid",
            port = task.port,
        ),
        (Server::Floor, _) => format!("echo {SERVER}:{}", task.port),
        (Server::FloorGlommio, _) => format!("echo-glommio {SERVER}:{}", task.port),
        (Server::Dnspython | Server::Dnslib, Role::Zones(zones)) => {
            let zone = &zones[0];
            let library = found.server.name();
            format!("{conf_text} {library} {SERVER} {} {} {}", task.port, zone.name, zone.file.display())
        }
        _ => return None,
    };
    let files = if text.is_empty() { Vec::new() } else { vec![(conf, text)] };
    // No path of ours has a space in it: they are made of numbers below TMPDIR, which `Scratch` has looked at.
    Some(Launch { files, arguments: line.split_whitespace().map(str::to_owned).collect() })
}

fn ringdns(task: &Task) -> String {
    let cores: Vec<String> = (0..task.cores).map(|core| core.to_string()).collect();
    let mut text = format!(
        "[server]\ncores = [{}]\nstate = \"{}/state\"\n\n[control]\nlisten = \"\"\n\n[[listen]]\n\
         address = \"{SERVER}:{}\"\nallow = [\"0.0.0.0/0\"]\n\n[limits]\ntcp_clients = {TCP_CLIENTS}\n",
        cores.join(", "),
        task.folder.display(),
        task.port,
    );
    match &task.role {
        Role::Zones(zones) => {
            for Zone { name, file } in zones {
                let _ = write!(text, "\n[[zone]]\nname = \"{name}\"\nfile = \"{}\"\n", file.display());
            }
        }
        Role::Cache { origin, entries, .. } => {
            let _ = write!(
                text,
                "\n[[upstream]]\nname = \"origin\"\nkind = \"authoritative\"\nservers = [\"udp://{SERVER}:{origin}\"]\n\n\
                 [[route]]\nsuffix = \"{TOP}\"\nto = [\"origin\"]\n\n[cache]\nsize = \"{}MiB\"\npersist = false\n",
                room_mebibytes(*entries),
            );
        }
    }
    text
}

fn nsd(task: &Task, zones: &[Zone], version: &str) -> String {
    let folder = task.folder.display();
    let mut text = format!(
        "server:\n  ip-address: {SERVER}@{}\n  server-count: {}\n  username: \"\"\n  chroot: \"\"\n  zonesdir: \"{folder}\"\n  \
         pidfile: \"{folder}/pid\"\n  xfrdfile: \"{folder}/xfrd\"\n  xfrdir: \"{folder}\"\n  zonelistfile: \"{folder}/list\"\n  \
         reuseport: {}\n  rrl-ratelimit: 0\n  tcp-count: {TCP_CLIENTS}\n  zonefiles-check: yes\n{}remote-control:\n  \
         control-enable: no\n",
        task.port,
        task.cores,
        if task.cores > 1 { "yes" } else { "no" },
        // A data base on disk, which versions from 4.8 on do not know any more.
        if before(version, 4, 8) { "  database: \"\"\n" } else { "" },
    );
    for Zone { name, file } in zones {
        let _ = write!(text, "zone:\n  name: {name}\n  zonefile: {}\n", file.display());
    }
    text
}

fn knot(task: &Task, zones: &[Zone]) -> String {
    let folder = task.folder.display();
    let mut text = format!(
        "server:\n  rundir: {folder}\n  listen: {SERVER}@{}\n  udp-workers: {cores}\n  tcp-workers: {cores}\n  \
         background-workers: {cores}\n  tcp-max-clients: {TCP_CLIENTS}\n  tcp-reuseport: on\ndatabase:\n  storage: {folder}\nlog:\n  - target: stderr\n    any: \
         warning\ntemplate:\n  - id: default\n    zonefile-sync: -1\n    journal-content: none\nzone:\n",
        task.port,
        cores = task.cores,
    );
    for Zone { name, file } in zones {
        let _ = write!(text, "  - domain: {name}\n    file: {}\n", file.display());
    }
    text
}

fn unbound(task: &Task, origin: u16, entries: usize) -> String {
    let room = room_mebibytes(entries);
    format!(
        "server:\n  interface: {SERVER}@{}\n  num-threads: {}\n  username: \"\"\n  chroot: \"\"\n  directory: \"{folder}\"\n  \
         pidfile: \"\"\n  do-daemonize: no\n  use-syslog: no\n  msg-cache-size: {room}m\n  rrset-cache-size: {room}m\n  \
         module-config: \"iterator\"\n  do-not-query-localhost: no\n  access-control: 0.0.0.0/0 allow\n  \
         local-zone: \"{TOP}.\" nodefault\n  outgoing-range: 4096\n  num-queries-per-thread: 2048\n  \
         incoming-num-tcp: {TCP_CLIENTS}\nremote-control:\n  control-enable: no\nforward-zone:\n  name: \"{TOP}\"\n  \
         forward-addr: {SERVER}@{origin}\n",
        task.port,
        task.cores,
        folder = task.folder.display(),
    )
}

fn dnsdist(task: &Task, origin: u16, entries: usize) -> String {
    let listener = format!("\"{SERVER}:{}\", {{reusePort=true, maxConcurrentTCPConnections={TCP_CLIENTS}}}", task.port);
    let mut text = format!("setLocal({listener})\n");
    for _ in 1..task.cores {
        let _ = writeln!(text, "addLocal({listener})");
    }
    let _ = write!(
        text,
        "setACL({{'0.0.0.0/0'}})\nnewServer({{address=\"{SERVER}:{origin}\", checkInterval=60, healthCheckMode=\"up\"}})\n\
         getPool(\"\"):setCache(newPacketCache({}, {{maxTTL=86400}}))\nsetVerboseHealthChecks(false)\n",
        // Full at this number, in shards that fill unevenly.
        entries * 5 / 4,
    );
    text
}

fn room_mebibytes(entries: usize) -> usize {
    (entries * ENTRY_OCTETS / (1 << 20)).max(256)
}

/// Whether a version is before `major.minor`.
fn before(version: &str, major: u32, minor: u32) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < (major, minor)
}

/// What was started, as one line that names no folder of this run.
#[must_use]
pub fn command_line(found: &Found, launch: &Launch, folder: &Path) -> String {
    let program = found.program.file_name().unwrap_or_default().to_string_lossy();
    [program.as_ref(), &launch.arguments.join(" ")].join(" ").replace(&folder.display().to_string(), "FOLDER")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::versus::servers;

    fn found(server: Server, version: &str) -> Found {
        Found { server, program: server.name().into(), version: version.to_owned() }
    }

    fn task(role: Role) -> Task {
        Task { folder: "/scratch/1".into(), port: 5300, cores: 2, role }
    }

    fn zones() -> Role {
        Role::Zones(vec![Zone { name: "bench.test".into(), file: "/scratch/bench.zone".into() }])
    }

    fn cache() -> Role {
        Role::Cache { origin: 5301, entries: 1_000_000, dnssec_ok: false }
    }

    #[test]
    fn every_server_has_a_role_and_listens_where_it_is_told() {
        for server in servers::ALL {
            let launches: Vec<Launch> =
                [zones(), cache()].into_iter().filter_map(|role| launch(&found(server, "1.0"), &task(role))).collect();
            assert!(!launches.is_empty(), "{}", server.name());
            for launch in launches {
                let all = format!("{:?} {:?}", launch.files, launch.arguments);
                assert!(all.contains("5300") && all.contains("198.18.0.2"), "{all}");
            }
        }
        assert!(launch(&found(Server::Nsd, "4.6.1"), &task(cache())).is_none());
        assert!(launch(&found(Server::Unbound, "1.17.1"), &task(zones())).is_none());
    }

    #[test]
    fn old_nsd_gets_no_data_base_on_disk() {
        let text = |version| launch(&found(Server::Nsd, version), &task(zones())).unwrap().files[0].1.clone();
        assert!(text("4.6.1").contains("database"));
        assert!(!text("4.8.0").contains("database"));
        assert!(!text("4.10.1").contains("database"));
    }

    #[test]
    fn ringdns_takes_what_is_configured() {
        let text = launch(&found(Server::Ringdns, ""), &task(cache())).unwrap().files[0].1.clone();
        assert!(text.contains("cores = [0, 1]") && text.contains("size = \"976MiB\""), "{text}");
    }

    #[test]
    fn a_command_names_no_folder() {
        let found = found(Server::Nsd, "4.6.1");
        let launch = launch(&found, &task(zones())).unwrap();
        assert_eq!(command_line(&found, &launch, Path::new("/scratch/1")), "nsd -d -c FOLDER/conf");
    }
}
