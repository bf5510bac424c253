//! `ringdns serve`: puts control plane and cores together and runs them in the foreground.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use ringdns_control::config::{Protocol, Settings, Source, ZoneFile};
use ringdns_control::{
    ControlSocket, CoreStatus, Cores, Doors, Ended, NotLoaded, NotTaken, Notifier, Plane, Portion, Process, Reach,
    Recorder, Snapshot, notices, random, recordings, start_logs,
};
use ringdns_rim as rim;
use ringdns_shard::Images;
use ringdns_shard::cache::{Flush, Listed, Looked};
use ringdns_shard::wire::name::Name;

use crate::failure::Failure;

/// Zones, upstreams and the like that are named at start; of more only the number is.
const NAMED_MAX: usize = 5;

/// Serves until a signal or a failed core ends it.
pub(crate) fn serve(file: Option<PathBuf>) -> Result<ExitCode, Failure> {
    let source = file.map_or(Source::Embedded, Source::File);
    let read = rim::sparingly(|| source.read())?;
    let settings = &read.settings;
    start_logs(&settings.log);
    let process = Process::start().map_err(cannot_run)?;
    let cpus = settings.cpus(&rim::cpus_online()?, &source.title())?;
    rim::preflight(cpus.len())?;
    let bound = rim::bind(plan(settings, &cpus))?;
    let address = settings.control.listen.map(bind_pages).transpose()?;
    // Before anything that others wrote is read: zone files are parsed, and the cores run, without root's rights.
    if !settings.server.user.is_empty() {
        rim::drop_privileges(&settings.server.user)?;
    }
    let socket = settings.control.socket.as_deref().map(ControlSocket::bind);
    let doors = Doors { address, socket: socket.transpose().map_err(Failure::Environment)? };
    confine(&source, settings)?;
    let plane = rim::sparingly(|| Plane::open(source, read, &cpus)).map_err(|not_loaded| match not_loaded {
        NotLoaded::Folder(why) => Failure::Environment(why),
        NotLoaded::Zones(faults) => Failure::zones(&faults),
    })?;
    let addresses = bound.addresses();
    let (notifier, notices) = notices();
    let (recorder, recordings) = recordings(addresses.clone());
    let cores = bound.start(plane.images(), cpus.iter().map(|_| random()).collect(), events(notifier, recorder))?;
    let greeting = greeting(&plane, &cpus, &addresses, &doors);
    // What reading took is more than what came of it.
    rim::give_back();
    // The cores run: whatever this thread starts now stands back for them.
    rim::take_short_turns();
    let ready = || {
        // Where nobody reads standard output, the server serves all the same.
        let _ = io::stdout().write_all(greeting.as_bytes());
    };
    match process.run(plane, Arc::new(Running(cores)), notices, recordings, doors, ready).map_err(cannot_run)? {
        Ended::Stopped | Ended::Interrupted => Ok(ExitCode::SUCCESS),
        Ended::CoreFailed(why) => Err(Failure::Environment(format!("stopped, for {why}"))),
    }
}

/// Gives up what is not needed any more, while there is no thread but this.
fn confine(source: &Source, settings: &Settings) -> Result<(), Failure> {
    let reach = settings.server.sandbox.then(|| Reach::of(source, settings));
    let within = reach.as_ref().map(|Reach { read, write, sockets, .. }| rim::Reach {
        read: read.clone(),
        write: write.clone(),
        sockets: sockets.clone(),
    });
    if rim::confine(within.as_ref())? {
        reach.iter().for_each(Reach::holds);
    }
    Ok(())
}

/// What the cores hear that the control plane is to see to.
fn events(notifier: Notifier, recorder: Recorder) -> rim::Events {
    Arc::new(move |event| match event {
        rim::Event::Notified { apex, serial, peer } => notifier.notified(apex, serial, peer),
        rim::Event::Logged(chunk) => recorder.logged(chunk),
        rim::Event::Tapped(chunk) => recorder.tapped(chunk),
    })
}

fn cannot_run(error: io::Error) -> Failure {
    Failure::Environment(format!("the control plane cannot run: {error}; allow epoll, eventfd and signals"))
}

fn plan(settings: &Settings, cpus: &[usize]) -> rim::Plan {
    let listens = settings.listen.iter().map(|listen| {
        let speaks = |protocol| listen.protocols.iter().any(|spoken| **spoken == protocol);
        rim::Listen { address: *listen.address, udp: speaks(Protocol::Udp), tcp: speaks(Protocol::Tcp) }
    });
    rim::Plan {
        cpus: cpus.to_vec(),
        listens: listens.collect(),
        spin: *settings.server.spin,
        tcp_clients: *settings.limits.tcp_clients as usize,
        udp_ports: settings.udp_ports(),
    }
}

fn bind_pages(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).map_err(|error| {
        Failure::Environment(format!(
            "the control plane cannot listen on {address}: {error}; choose another `listen` in [control], or \"\" for none"
        ))
    })
}

/// The running cores, as the control plane asks them.
struct Running(rim::Cores);

impl Cores for Running {
    fn swap(&self, images: Vec<Arc<Images>>, limit: Duration) -> Result<(), String> {
        self.0.swap(images, limit).map_err(|unresponsive| unresponsive.to_string())
    }

    fn snapshots(&self, limit: Duration) -> Vec<Option<Snapshot>> {
        let snapshot = |snapshot: rim::Snapshot| Snapshot {
            core: snapshot.core,
            cpu: snapshot.cpu,
            shard: snapshot.shard,
            telemetry: snapshot.telemetry,
            cpu_micros: snapshot.cpu_micros,
            rim: snapshot.rim.each().collect(),
            resolves: snapshot.resolves,
            waiters: snapshot.waiters,
            tcp_connections: snapshot.tcp_connections,
            upstream_connections: snapshot.upstream_connections,
            datagrams_waiting: snapshot.datagrams_waiting,
            messages_waiting: snapshot.messages_waiting,
            cache_entries: snapshot.cache_entries,
            cache_octets: snapshot.cache_octets,
        };
        self.0.snapshots(limit).into_iter().map(|answer| answer.map(snapshot)).collect()
    }

    fn statuses(&self, limit: Duration) -> Vec<Option<CoreStatus>> {
        let status = |status: rim::Status| {
            let rim::Status { core, now, servers, cache } = status;
            CoreStatus { core, now, servers, cache }
        };
        self.0.statuses(limit).into_iter().map(|answer| answer.map(status)).collect()
    }

    fn flush(&self, what: &Flush, limit: Duration) -> Result<u64, String> {
        self.0.flush(what, limit).map_err(|unresponsive| unresponsive.to_string())
    }

    fn cache_look(&self, name: &Name, limit: Duration) -> Vec<Option<Looked>> {
        self.0.cache_look(name, limit)
    }

    fn cache_list(&self, core: usize, below: &Name, cursor: u64, limit: Duration) -> Result<Listed, String> {
        self.0.cache_list(core, below, cursor, limit).map_err(|unresponsive| unresponsive.to_string())
    }

    fn hand_over(&self, limit: Duration) -> bool {
        self.0.hand_over(limit)
    }

    fn probe(&self, limit: Duration) -> bool {
        self.0.probe(limit)
    }

    fn cache_out(&self, core: usize, cursor: u64, limit: Duration) -> Result<Portion, String> {
        let portion = self.0.cache_out(core, cursor, limit).map_err(|unresponsive| unresponsive.to_string())?;
        Ok(Portion { octets: portion.octets, next: portion.next })
    }

    fn cache_in(&self, core: usize, portion: Vec<u8>, limit: Duration) -> Result<usize, NotTaken> {
        match self.0.cache_in(core, portion, limit) {
            Ok(taken) => taken.map_err(|_| NotTaken::Malformed),
            Err(unresponsive) => Err(NotTaken::Unresponsive(unresponsive.to_string())),
        }
    }

    fn failed(&self) -> Option<String> {
        self.0.failed()
    }

    fn give_back(&self) {
        rim::give_back();
    }

    fn stand_aside(&self) {
        rim::stand_aside();
    }

    fn come_forward(&self, thread: i32) {
        rim::come_forward(thread);
    }

    fn stop(&self, drain: Duration) {
        for (core, _) in self.0.stop(drain).iter().enumerate().filter(|(_, last)| last.is_none()) {
            log::warn!("core {core} did not end in time");
        }
    }
}

/// What is served, and how to try it.
fn greeting(plane: &Plane, cpus: &[usize], addresses: &[SocketAddr], doors: &Doors) -> String {
    let settings = plane.settings();
    let mut lines: Vec<(&str, String)> = Vec::new();
    for (listen, address) in settings.listen.iter().zip(addresses) {
        let protocols: Vec<&str> = listen.protocols.iter().map(|protocol| spoken(**protocol)).collect();
        lines.push(("listening", format!("{address} ({})", protocols.join(", "))));
    }
    for zone in plane.zones().take(NAMED_MAX) {
        lines.push(("zone", format!("{}, {} records", zone.name(), zone.image().records())));
    }
    more(&mut lines, "zone", settings.zone.len());
    for route in settings.route.iter().take(NAMED_MAX) {
        let to: Vec<&str> = route.to.iter().map(|to| to.as_str()).collect();
        lines.push(("route", format!("{} to {}", *route.suffix, to.join(", "))));
    }
    more(&mut lines, "route", settings.route.len());
    for upstream in settings.upstream.iter().take(NAMED_MAX) {
        let servers: Vec<String> = upstream.servers.iter().map(|server| server.to_string()).collect();
        lines.push(("upstream", format!("{} ({})", *upstream.name, servers.join(", "))));
    }
    more(&mut lines, "upstream", settings.upstream.len());
    if let Some(address) = doors.address.as_ref().and_then(|listener| listener.local_addr().ok()) {
        lines.push(("control", format!("http://{address} (/health, /ready, /metrics, /api/v1/status)")));
    }
    if let Some(socket) = &doors.socket {
        lines.push(("socket", socket.path().display().to_string()));
    }
    lines.extend(trial(settings, addresses).map(|command| ("try", command)));
    let cores = if cpus.len() == 1 { "core" } else { "cores" };
    let mut text = format!("ringdns {} serves on {} {cores}\n", env!("CARGO_PKG_VERSION"), cpus.len());
    for (title, line) in lines {
        writeln!(text, "  {title:10} {line}").expect("a string takes every write");
    }
    text
}

fn more(lines: &mut Vec<(&str, String)>, title: &'static str, count: usize) {
    if count > NAMED_MAX {
        lines.push((title, format!("and {} more", count - NAMED_MAX)));
    }
}

fn spoken(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Udp => "UDP",
        Protocol::Tcp => "TCP",
    }
}

/// A command that gets an answer from here, where there is one to get.
fn trial(settings: &Settings, addresses: &[SocketAddr]) -> Option<String> {
    let (listen, address) = settings.listen.iter().zip(addresses).next()?;
    let tcp = if listen.protocols.iter().any(|protocol| **protocol == Protocol::Udp) { "" } else { " +tcp" };
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let question = match settings.zone.first() {
        Some(zone) if *zone.file == ZoneFile::Demonstration => format!("www.{}", *zone.name),
        Some(zone) => format!("{} SOA", *zone.name),
        None => format!("{} NS", *settings.route.iter().find(|route| !route.refuses())?.suffix),
    };
    Some(format!("dig @{ip} -p {}{tcp} {question}", address.port()))
}
