//! Name servers of others, as primaries and secondaries: NSD, Knot DNS and BIND, on a free port of loopback.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::dns::query;
use super::server::{ended, signal};
use super::{PATIENCE, free_port, needed};

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Nsd,
    Knot,
    Bind,
}

pub(crate) const KINDS: [Kind; 3] = [Kind::Nsd, Kind::Knot, Kind::Bind];

/// A TSIG key, hmac-sha256 unless told otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) algorithm: &'static str,
    /// Base64.
    pub(crate) secret: &'static str,
}

pub(crate) const KEY: Key =
    Key { name: "transfer", algorithm: "hmac-sha256", secret: "c2VjcmV0IG9mIHRoZSB0cmFuc2ZlciBrZXkgMzIgb2N0" };

/// A zone of a peer.
#[derive(Clone, Debug)]
pub(crate) struct PeerZone {
    pub(crate) name: String,
    /// The master file of a primary; `None` for a secondary.
    pub(crate) text: Option<String>,
    /// Where a secondary gets it.
    pub(crate) primary: Option<SocketAddr>,
    /// Who is told of changes.
    pub(crate) notify: Vec<SocketAddr>,
    /// Members of a catalog that Knot makes.
    pub(crate) member_of: Option<String>,
    /// The catalog itself, made by Knot.
    pub(crate) makes_catalog: bool,
    /// Signed by Knot, with keys of its own.
    pub(crate) signs: bool,
}

impl PeerZone {
    pub(crate) fn primary(name: &str, text: &str, notify: Option<SocketAddr>) -> PeerZone {
        PeerZone {
            name: name.to_owned(),
            text: Some(text.to_owned()),
            primary: None,
            notify: notify.into_iter().collect(),
            member_of: None,
            makes_catalog: false,
            signs: false,
        }
    }

    pub(crate) fn secondary(name: &str, primary: SocketAddr) -> PeerZone {
        PeerZone {
            name: name.to_owned(),
            text: None,
            primary: Some(primary),
            notify: Vec::new(),
            member_of: None,
            makes_catalog: false,
            signs: false,
        }
    }

    fn file(&self) -> String {
        format!("{}.zone", self.name)
    }
}

/// A running server; it ends with the test.
pub(crate) struct Peer {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    program: PathBuf,
    child: Option<Child>,
    folder: tempfile::TempDir,
}

impl Peer {
    /// `None`, and a word about it, where the server is not installed. `zones` is told the address beforehand, so that
    /// whoever is to be notified can be started first: see [`Peer::at`].
    pub(crate) fn start(kind: Kind, key: Option<Key>, zones: &[PeerZone]) -> Option<Peer> {
        Peer::at(kind, free_port(), key, zones)
    }

    pub(crate) fn at(kind: Kind, address: SocketAddr, key: Option<Key>, zones: &[PeerZone]) -> Option<Peer> {
        let program = match kind {
            Kind::Nsd => needed("nsd", "nsd"),
            Kind::Knot => needed("knotd", "knot"),
            Kind::Bind => needed("named", "bind9"),
        }?;
        let folder = tempfile::tempdir().expect("a folder");
        for zone in zones {
            if let Some(text) = &zone.text {
                fs::write(folder.path().join(zone.file()), text).expect("the file is written");
            }
        }
        let path = folder.path().display().to_string();
        let configuration = match kind {
            Kind::Nsd => nsd(&path, address, key, zones),
            Kind::Knot => knot(&path, address, key, zones),
            Kind::Bind => bind(&path, address, key, zones),
        };
        fs::write(folder.path().join("conf"), configuration).expect("the file is written");
        let mut peer = Peer { kind, address, program, child: None, folder };
        peer.run();
        Some(peer)
    }

    /// Starts it, for the first time or again, and waits until it answers at all.
    pub(crate) fn run(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join("log"));
        let log = log.expect("a file");
        let mut command = Command::new(&self.program);
        match self.kind {
            Kind::Nsd => command.arg("-d").arg("-c").arg(self.folder.path().join("conf")),
            Kind::Knot => command.arg("-c").arg(self.folder.path().join("conf")),
            Kind::Bind => command.arg("-g").arg("-n").arg("1").arg("-c").arg(self.folder.path().join("conf")),
        };
        let child = command
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .expect("it runs");
        self.child = Some(child);
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a time-out");
        let end = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < end, "{:?} does not answer:\n{}", self.kind, self.log());
            let ended = self.child.as_mut().expect("it was started").try_wait();
            assert!(matches!(ended, Ok(None)), "{:?} has ended:\n{}", self.kind, self.log());
            let mut buffer = [0; 512];
            let asked = socket.send_to(&query("version.bind", "TXT"), self.address).is_ok();
            if asked && socket.recv(&mut buffer).is_ok() {
                return;
            }
        }
    }

    /// Ends it.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take()
            && matches!(child.try_wait(), Ok(None))
        {
            signal(child.id(), "TERM");
            ended(&mut child);
        }
    }

    /// Gives a zone of a primary another master file, and makes it read it.
    pub(crate) fn replace(&self, zone: &str, text: &str) {
        self.write(zone, text);
        signal(self.child.as_ref().expect("it runs").id(), "HUP");
    }

    /// Gives a zone of a primary another master file, for when it is started again.
    pub(crate) fn write(&self, zone: &str, text: &str) {
        let new = self.folder.path().join("new");
        fs::write(&new, text).expect("the file is written");
        fs::rename(&new, self.folder.path().join(format!("{zone}.zone"))).expect("the file is put in place");
    }

    /// What it says of itself.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            eprintln!("the end of the log of {:?}:", self.kind);
            tail.iter().rev().for_each(|line| eprintln!("  {line}"));
        }
    }
}

fn nsd(path: &str, address: SocketAddr, key: Option<Key>, zones: &[PeerZone]) -> String {
    let mut text = format!(
        "server:\n ip-address: {}@{}\n server-count: 1\n username: \"\"\n chroot: \"\"\n zonesdir: \"{path}\"\n \
         pidfile: \"{path}/pid\"\n xfrdfile: \"{path}/xfrd\"\n database: \"\"\n zonelistfile: \"{path}/list\"\n \
         xfrdir: \"{path}\"\n verbosity: 2\n xfrd-reload-timeout: 0\n rrl-ratelimit: 0\n \
         minimal-responses: yes\nremote-control:\n control-enable: no\n",
        address.ip(),
        address.port()
    );
    let with = key.map_or("NOKEY", |key| key.name);
    if let Some(key) = key {
        text += &format!("key:\n name: {}\n algorithm: {}\n secret: \"{}\"\n", key.name, key.algorithm, key.secret);
    }
    for zone in zones {
        text += &format!(
            "zone:\n name: {}\n zonefile: {}\n store-ixfr: yes\n ixfr-number: 1000\n provide-xfr: 127.0.0.1 {with}\n",
            zone.name,
            zone.file()
        );
        if zone.text.is_some() {
            text += " create-ixfr: yes\n";
        }
        if let Some(primary) = zone.primary {
            text += &format!(
                " request-xfr: {}@{} {with}\n allow-notify: 127.0.0.1 {with}\n min-refresh-time: 1\n \
                 max-retry-time: 2\n min-retry-time: 1\n",
                primary.ip(),
                primary.port()
            );
        }
        for target in &zone.notify {
            text += &format!(" notify: {}@{} {with}\n", target.ip(), target.port());
        }
    }
    text
}

fn knot(path: &str, address: SocketAddr, key: Option<Key>, zones: &[PeerZone]) -> String {
    let mut text = format!(
        "server:\n    rundir: \"{path}\"\n    listen: {}@{}\n    udp-workers: 1\n    tcp-workers: 1\n    \
         background-workers: 1\nlog:\n  - target: stdout\n    any: info\ndatabase:\n    storage: \"{path}\"\n    \
         journal-db-max-size: 64M\n    kasp-db-max-size: 64M\n    timer-db-max-size: 64M\n    \
         catalog-db-max-size: 64M\n",
        address.ip(),
        address.port()
    );
    if let Some(key) = key {
        text += &format!("key:\n  - id: {}\n    algorithm: {}\n    secret: {}\n", key.name, key.algorithm, key.secret);
    }
    let with = key.map_or(String::new(), |key| format!("    key: {}\n", key.name));
    let mut remotes: Vec<SocketAddr> = Vec::new();
    for remote in zones.iter().flat_map(|zone| zone.notify.iter().chain(&zone.primary)) {
        if !remotes.contains(remote) {
            remotes.push(*remote);
        }
    }
    if !remotes.is_empty() {
        text += "remote:\n";
    }
    for remote in &remotes {
        text += &format!("  - id: r{}\n    address: {}@{}\n{with}", remote.port(), remote.ip(), remote.port());
    }
    text += &format!(
        "acl:\n  - id: out\n    address: 127.0.0.1\n    action: transfer\n{with}  - id: in\n    address: 127.0.0.1\n    \
         action: notify\n{with}zone:\n"
    );
    for zone in zones {
        text += &format!("  - domain: {}\n    storage: \"{path}\"\n    file: {}\n", zone.name, zone.file());
        text += "    acl: [out, in]\n    journal-max-depth: 1000\n";
        if zone.makes_catalog {
            text += "    catalog-role: generate\n";
        } else if zone.text.is_some() {
            text += "    zonefile-sync: -1\n    zonefile-load: difference\n    journal-content: changes\n";
        }
        if zone.signs {
            text += "    dnssec-signing: on\n";
        }
        if let Some(catalog) = &zone.member_of {
            text += &format!("    catalog-role: member\n    catalog-zone: {catalog}\n");
        }
        if let Some(primary) = zone.primary {
            text += &format!(
                "    master: r{}\n    refresh-min-interval: 2\n    retry-min-interval: 1\n    retry-max-interval: 2\n",
                primary.port()
            );
        }
        for target in &zone.notify {
            text += &format!("    notify: r{}\n", target.port());
        }
    }
    text
}

fn bind(path: &str, address: SocketAddr, key: Option<Key>, zones: &[PeerZone]) -> String {
    let with = key.map_or(String::new(), |key| format!(" key \"{}\"", key.name));
    let allowed = key.map_or("127.0.0.1;".to_owned(), |key| format!("key \"{}\";", key.name));
    let mut text = format!(
        "options {{\n directory \"{path}\";\n pid-file \"{path}/pid\";\n session-keyfile \"{path}/session\";\n \
         listen-on port {} {{ {}; }};\n listen-on-v6 {{ none; }};\n recursion no;\n dnssec-validation no;\n \
         allow-transfer {{ {allowed} }};\n ixfr-from-differences yes;\n min-refresh-time 1;\n min-retry-time 1;\n \
         max-retry-time 2;\n notify explicit;\n notify-delay 0;\n notify-rate 1000;\n serial-query-rate 1000;\n \
         transfers-in 50;\n transfers-per-ns 50;\n startup-notify-rate 1000;\n max-records 0;\n \
         minimal-responses yes;\n max-ixfr-ratio unlimited;\n check-names primary ignore;\n}};\ncontrols {{ }};\n",
        address.port(),
        address.ip()
    );
    if let Some(key) = key {
        text += &format!("key \"{}\" {{ algorithm {}; secret \"{}\"; }};\n", key.name, key.algorithm, key.secret);
    }
    for zone in zones {
        let list = |targets: &[SocketAddr]| -> String {
            targets.iter().map(|target| format!("{} port {}{with};", target.ip(), target.port())).collect()
        };
        text += &format!("zone \"{}\" {{\n file \"{path}/{}\";\n", zone.name, zone.file());
        match zone.primary {
            None => text += " type primary;\n",
            Some(primary) => {
                text += &format!(
                    " type secondary;\n masterfile-format text;\n primaries {{ {} }};\n allow-notify {{ 127.0.0.1; }};\n",
                    list(&[primary])
                );
            }
        }
        if !zone.notify.is_empty() {
            text += &format!(" also-notify {{ {} }};\n", list(&zone.notify));
        }
        text += "};\n";
    }
    text
}
