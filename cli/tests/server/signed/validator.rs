//! Unbound as a validator of what a server answers.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::zone::Zone;
use crate::common::dns::{query, udp_socket};
use crate::common::server::{ended, signal};
use crate::common::{PATIENCE, free_port, needed};

/// Unbound with the keys of zones as its trust anchors, asking one server alone; it ends with the test.
pub(super) struct Validator {
    child: Child,
    pub(super) address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Validator {
    /// `None`, and a word about it, where Unbound is not installed.
    pub(super) fn start(server: SocketAddr, zones: &[Zone]) -> Option<Validator> {
        let program = needed("unbound", "unbound")?;
        let folder = tempfile::tempdir().expect("a folder");
        let address = free_port();
        let path = folder.path().display();
        let mut text = format!(
            "server:\n interface: {}@{}\n username: \"\"\n chroot: \"\"\n directory: \"{path}\"\n pidfile: \"\"\n \
             use-syslog: no\n num-threads: 1\n do-not-query-localhost: no\n do-ip6: no\n local-zone: \"test.\" nodefault\n \
             qname-minimisation: no\n aggressive-nsec: no\n module-config: \"validator iterator\"\n \
             trust-anchor-file: \"anchors\"\n val-log-level: 2\nremote-control:\n control-enable: no\n",
            address.ip(),
            address.port()
        );
        for zone in zones {
            text += &format!(
                "stub-zone:\n name: {}\n stub-addr: {}@{}\n stub-prime: no\n",
                zone.apex,
                server.ip(),
                server.port()
            );
        }
        // Keys of the zones that lie below others are reached through DS records.
        let anchors: String = zones
            .iter()
            .filter(|zone| !zone.apex.starts_with("held."))
            .map(|zone| format!("{}\n", zone.anchor))
            .collect();
        fs::write(folder.path().join("anchors"), anchors).expect("the file is written");
        fs::write(folder.path().join("conf"), text).expect("the file is written");
        let log = fs::File::create(folder.path().join("log")).expect("a file");
        let child = Command::new(program)
            .args(["-d", "-c"])
            .arg(folder.path().join("conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("it runs");
        let mut validator = Validator { child, address, folder };
        let socket = udp_socket(address);
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a time-out");
        let end = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < end, "unbound does not answer:\n{}", validator.log());
            assert!(matches!(validator.child.try_wait(), Ok(None)), "unbound has ended:\n{}", validator.log());
            let asked = socket.send(&query(&zones[0].apex, "SOA")).is_ok();
            if asked && socket.recv(&mut [0; 4096]).is_ok() {
                return Some(validator);
            }
        }
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Validator {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            signal(self.child.id(), "TERM");
            ended(&mut self.child);
        }
    }
}
