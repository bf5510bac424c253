//! Unbound, as the tests configure it.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::dns::{query, udp_socket};
use super::server::{ended, signal};
use super::{PATIENCE, free_port, needed};

/// Unbound in the foreground on a free port; it ends with the test.
pub(crate) struct Unbound {
    child: Child,
    pub(crate) address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Unbound {
    /// A resolver that asks nobody: it knows these records, which are all of `zone`, and refuses whatever lies outside.
    /// `None`, and a word about it, where Unbound is not installed.
    pub(crate) fn start(zone: &str, records: &[String]) -> Option<Unbound> {
        let mut options = format!(
            " module-config: \"iterator\"\n local-zone: \".\" refuse\n local-zone: \"test.\" nodefault\n \
             local-zone: \"{zone}.\" static\n"
        );
        for record in records {
            options += &format!(" local-data: '{record}'\n");
        }
        Unbound::configured(&options, zone, &[])
    }

    /// The same with these lines of the section `server`, and whatever sections follow; `files` lie in its folder, by
    /// their names. It is there when it answers for `zone`.
    pub(crate) fn configured(options: &str, zone: &str, files: &[(&str, &str)]) -> Option<Unbound> {
        let program = needed("unbound", "unbound")?;
        let folder = tempfile::tempdir().expect("a folder");
        let address = free_port();
        let path = folder.path().display();
        let text = format!(
            "remote-control:\n control-enable: no\nserver:\n interface: {}@{}\n username: \"\"\n chroot: \"\"\n \
             directory: \"{path}\"\n pidfile: \"\"\n use-syslog: no\n num-threads: 1\n do-ip6: no\n{options}",
            address.ip(),
            address.port()
        );
        for (name, content) in files {
            fs::write(folder.path().join(name), content).expect("the file is written");
        }
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
        let mut unbound = Unbound { child, address, folder };
        let socket = udp_socket(address);
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a time-out");
        let end = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < end, "unbound does not answer:\n{}", unbound.log());
            assert!(matches!(unbound.child.try_wait(), Ok(None)), "unbound has ended:\n{}", unbound.log());
            let asked = socket.send(&query(zone, "SOA")).is_ok();
            if asked && socket.recv(&mut [0; 4096]).is_ok() {
                return Some(unbound);
            }
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Unbound {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            signal(self.child.id(), "TERM");
            ended(&mut self.child);
        }
    }
}
