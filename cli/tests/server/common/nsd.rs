//! A real authoritative server for ringdns to ask.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::dns::query;
use super::server::{ended, signal};
use super::{PATIENCE, free_port, needed};

/// NSD in the foreground on a free port, with one zone; it ends with the test.
pub(crate) struct Nsd {
    child: Child,
    pub(crate) address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Nsd {
    /// `None`, and a word about it, where NSD is not installed.
    pub(crate) fn start(zone: &str, text: &str) -> Option<Nsd> {
        let program = needed("nsd", "nsd")?;
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
        let mut nsd = Nsd { child, address, folder };
        assert!(nsd.answers(zone), "nsd does not answer:\n{}", nsd.log());
        Some(nsd)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
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
