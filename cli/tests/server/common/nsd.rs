//! A real authoritative server for ringdns to ask.

use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::dns::query;
use super::server::{ended, signal};
use super::{PATIENCE, needed};

/// NSD in the foreground on a free port, with one zone; it ends with the test.
pub(crate) struct Nsd {
    child: Child,
    pub(crate) address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Nsd {
    /// `None`, and a word about it, where NSD is not installed.
    pub(crate) fn start(zone: &str, text: &str) -> Option<Nsd> {
        let program = needed("nsd", "nsd")?;
        // Between looking for a free port and its use somebody else may take it.
        for _ in 0..5 {
            let folder = tempfile::tempdir().expect("a folder");
            let address = free_port();
            let path = folder.path().display();
            let configuration = format!(
                "server:\n ip-address: {}\n port: {}\n server-count: 1\n username: \"\"\n chroot: \"\"\n \
                 zonesdir: \"{path}\"\n pidfile: \"{path}/pid\"\n xfrdfile: \"{path}/xfrd\"\n database: \"\"\n \
                 logfile: \"{path}/log\"\n zonelistfile: \"{path}/list\"\n xfrdir: \"{path}\"\nremote-control:\n \
                 control-enable: no\nzone:\n name: {zone}\n zonefile: zone\n",
                address.ip(),
                address.port()
            );
            fs::write(folder.path().join("nsd.conf"), configuration).expect("the file is written");
            fs::write(folder.path().join("zone"), text).expect("the file is written");
            let child = Command::new(&program)
                .arg("-c")
                .arg(folder.path().join("nsd.conf"))
                .arg("-d")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("nsd runs");
            let mut nsd = Nsd { child, address, _folder: folder };
            if nsd.answers(zone) {
                return Some(nsd);
            }
        }
        panic!("nsd does not answer");
    }

    /// Whether it serves its zone in time.
    fn answers(&mut self, zone: &str) -> bool {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a time-out");
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end && matches!(self.child.try_wait(), Ok(None)) {
            let mut buffer = [0; 512];
            let asked = socket.send_to(&query(zone, "SOA"), self.address).is_ok();
            if asked && socket.recv(&mut buffer).is_ok() && buffer[3] & 15 == 0 {
                return true;
            }
        }
        false
    }
}

impl Drop for Nsd {
    fn drop(&mut self) {
        // Its children end when it is told to end, not when it is killed.
        if matches!(self.child.try_wait(), Ok(None)) {
            signal(self.child.id(), "TERM");
            ended(&mut self.child);
        }
    }
}

/// A port of loopback that is free for UDP and TCP right now.
pub(crate) fn free_port() -> SocketAddr {
    for _ in 0..50 {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let address = socket.local_addr().expect("an address");
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port is free for both UDP and TCP in 50 attempts");
}
