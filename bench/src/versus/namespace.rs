//! Two network namespaces with a cable between them: servers live in one, whoever asks in the other, and nothing else does.
//! Their names carry the process's number, so that several may run at a time.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sched::{CloneFlags, setns};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::process;

/// Where servers listen; RFC 2544 gives these networks to benchmarks.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);

/// The namespaces; they go, with all who live in them, when this is dropped.
pub struct Namespaces {
    /// The one of the servers.
    pub server: String,
    /// The one of those who ask.
    pub client: String,
    stop: Arc<AtomicBool>,
}

impl Namespaces {
    /// Makes both, and the cable.
    ///
    /// # Errors
    /// Without the rights, or without iproute2.
    pub fn new() -> io::Result<Namespaces> {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, stop.clone())?;
        }
        let own = std::process::id();
        let made = Namespaces { server: format!("ringbench-{own}-s"), client: format!("ringbench-{own}-c"), stop };
        let (server, client) = (&made.server, &made.client);
        for line in [
            format!("netns add {server}"),
            format!("netns add {client}"),
            format!("link add client netns {client} type veth peer name server netns {server}"),
            format!("-n {client} address add {CLIENT}/30 dev client"),
            format!("-n {client} link set client up"),
            format!("-n {server} address add {SERVER}/30 dev server"),
            format!("-n {server} link set server up"),
            format!("-n {server} link set lo up"),
        ] {
            ip(&line)?;
        }
        Ok(made)
    }

    /// Moves the calling thread, and all threads and processes that it starts from now on, to those who ask.
    ///
    /// # Errors
    /// Without the rights.
    pub fn enter(&self) -> io::Result<()> {
        enter(&self.client)
    }

    /// Whether nobody has a port among the servers.
    #[must_use]
    pub fn is_free(&self, port: u16) -> bool {
        let namespace = self.server.clone();
        // A thread of its own, for it does not come back.
        let looked = thread::spawn(move || {
            enter(&namespace)?;
            UdpSocket::bind((SERVER, port))?;
            TcpListener::bind((SERVER, port)).map(drop)
        });
        matches!(looked.join(), Ok(Ok(())))
    }

    /// A command that will run among the servers, on these CPUs alone.
    #[must_use]
    pub fn among_servers(&self, cpus: &str, program: &str) -> Command {
        inside(&self.server, cpus, program)
    }

    /// A command that will run among those who ask.
    #[must_use]
    pub fn among_clients(&self, cpus: &str, program: &str) -> Command {
        inside(&self.client, cpus, program)
    }

    /// Fails once somebody has asked for the end, by Ctrl-C or SIGTERM.
    ///
    /// # Errors
    /// Then.
    pub fn carry_on(&self) -> io::Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "stopped by a signal"));
        }
        Ok(())
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for namespace in [&self.server, &self.client] {
            // Whoever is still there was started here: nobody else knows the namespace. This process is in one of them.
            let others = process::in_namespace(namespace, &[std::process::id()]);
            for process in others {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(process as i32), nix::sys::signal::SIGKILL);
            }
            let _ = ip(&format!("netns delete {namespace}"));
        }
    }
}

fn enter(namespace: &str) -> io::Result<()> {
    setns(File::open(format!("/run/netns/{namespace}"))?, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)
}

fn inside(namespace: &str, cpus: &str, program: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace, "taskset", "-c", cpus, program]);
    command.stdin(Stdio::null());
    command
}

fn ip(line: &str) -> io::Result<()> {
    let output = Command::new("ip").args(line.split(' ')).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("ip {line}: {}", String::from_utf8_lossy(&output.stderr).trim())))
}
