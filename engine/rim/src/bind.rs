//! The plan of a process, and the sockets it needs: bound on the caller's thread, before any core runs and before
//! privileges are given up, in core order, so that the kernel numbers them alike in every SO_REUSEPORT group.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use ringdns_shard::limits::UPSTREAM_SOCKETS_MAX;
use socket2::{Socket, Type};

use crate::limits::{FILES_A_CORE, FILES_BASE, PORT_TRIES_MAX, PORT_WAIT, PORT_WAIT_MAX};
use crate::preflight::{cpus_online, files_max};
use crate::sockets;
use crate::trouble::Trouble;

/// What is to run where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The CPU of each core.
    pub cpus: Vec<usize>,
    /// Where clients are served; the index of each is [`Client::listener`](ringdns_shard::Client::listener).
    pub listens: Vec<Listen>,
    /// How long a core that has nothing to do looks for work before it sleeps; zero: not at all.
    pub spin: Duration,
    /// Connections of clients, in all over the cores, for which there must be descriptors. How many a core takes, its
    /// images say.
    pub tcp_clients: usize,
    /// Sockets that each core keeps towards upstreams, for each address family: 1 to [`UPSTREAM_SOCKETS_MAX`].
    pub udp_ports: u8,
}

/// An address at which clients are served. `[::]` is all addresses of IPv6 and not of IPv4, which is `0.0.0.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Address and port; with port 0 the kernel chooses a port that is free.
    pub address: SocketAddr,
    /// Whether datagrams are served.
    pub udp: bool,
    /// Whether TCP connections are served, at the same port.
    pub tcp: bool,
}

/// All sockets of a plan, bound; nothing is answered yet.
#[derive(Debug)]
pub struct Bound {
    pub(crate) plan: Plan,
    /// By listener, then by core.
    pub(crate) listeners: Vec<Sockets>,
    /// By core.
    pub(crate) upstream: Vec<Upstream>,
}

/// The sockets of one listener, one a core.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    pub(crate) udp: Vec<Socket>,
    pub(crate) tcp: Vec<Socket>,
}

/// The UDP sockets of one core towards upstreams.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) v4: Vec<Socket>,
    pub(crate) v6: Vec<Socket>,
}

/// Binds everything in the plan. On trouble nothing stays bound.
pub fn bind(plan: Plan) -> Result<Bound, Trouble> {
    check(&plan)?;
    // All addresses first, before a socket of ours takes one: listeners of ours may overlap, `0.0.0.0` and `127.0.0.1`.
    for listen in plan.listens.iter().filter(|listen| listen.address.port() != 0) {
        for (kind, name) in [(Type::DGRAM, "UDP"), (Type::STREAM, "TCP")] {
            if if kind == Type::DGRAM { listen.udp } else { listen.tcp } {
                probe_patiently(listen.address, kind).map_err(|error| not_bound(listen.address, name, &error))?;
            }
        }
    }
    let cores = plan.cpus.len();
    let mut plan = plan;
    let mut listeners = Vec::with_capacity(plan.listens.len());
    for listen in &mut plan.listens {
        let (port, sockets) = bind_listener(*listen, cores)?;
        listen.address.set_port(port);
        listeners.push(sockets);
    }
    let upstream = (0..cores).map(|_| bind_upstream(plan.udp_ports)).collect::<Result<_, _>>()?;
    Ok(Bound { plan, listeners, upstream })
}

/// Whether an address can be had. The kernel closes the sockets of a process with io_uring some time after it has ended, so
/// that a server that is started anew at once finds its ports taken still.
fn probe_patiently(address: SocketAddr, kind: Type) -> io::Result<()> {
    let deadline = Instant::now() + PORT_WAIT_MAX;
    loop {
        match sockets::probe(address, kind) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                thread::sleep(PORT_WAIT);
            }
            end => return end,
        }
    }
}

impl Bound {
    /// The address of each listener, with the port that the kernel has chosen where 0 was asked for: the same port on
    /// all cores, for datagrams and connections.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.plan.listens.iter().map(|listen| listen.address).collect()
    }
}

fn check(plan: &Plan) -> Result<(), Trouble> {
    assert!((1..=UPSTREAM_SOCKETS_MAX).contains(&usize::from(plan.udp_ports)));
    assert!(plan.listens.len() <= usize::from(u16::MAX));
    assert!(plan.listens.iter().all(|listen| listen.udp || listen.tcp));
    let online = cpus_online()?;
    if plan.cpus.is_empty() {
        return Err(Trouble::new("no CPU is given to run on: name at least one in [server] cores"));
    }
    for (place, cpu) in plan.cpus.iter().enumerate() {
        if !online.contains(cpu) {
            return Err(Trouble::new(format!(
                "CPU {cpu} is not one that this process may run on ({online:?}): change [server] cores, or the \
                 affinity or cpuset of the process"
            )));
        }
        if plan.cpus[..place].contains(cpu) {
            return Err(Trouble::new(format!("CPU {cpu} is named twice: name each CPU once in [server] cores")));
        }
    }
    check_files(files_beside_clients(plan), plan.tcp_clients)
}

/// Whether so many files may be open, and so many connections of clients.
pub(crate) fn check_files(beside_clients: usize, tcp_clients: usize) -> Result<(), Trouble> {
    let needed = beside_clients.saturating_add(tcp_clients) as u64;
    let allowed = files_max();
    if needed > allowed {
        return Err(Trouble::new(format!(
            "up to {needed} open files are needed and {allowed} are allowed: raise LimitNOFILE in the systemd unit or \
             `ulimit -n`, or lower [limits] tcp_clients"
        )));
    }
    Ok(())
}

/// Descriptors that a plan needs for all but connections of clients.
pub(crate) fn files_beside_clients(plan: &Plan) -> usize {
    let sockets = plan.listens.iter().map(|listen| usize::from(listen.udp) + usize::from(listen.tcp)).sum::<usize>();
    let a_core = FILES_A_CORE + sockets + 2 * usize::from(plan.udp_ports);
    FILES_BASE + plan.cpus.len() * a_core
}

fn bind_listener(listen: Listen, cores: usize) -> Result<(u16, Sockets), Trouble> {
    let mut tries = 0;
    loop {
        tries += 1;
        match try_listener(listen, cores) {
            Ok(bound) => return Ok(bound),
            // A port that the kernel has chosen for the one protocol can be taken in the other.
            Err((_, error))
                if listen.address.port() == 0 && error.kind() == io::ErrorKind::AddrInUse && tries < PORT_TRIES_MAX => {
            }
            Err((name, error)) => return Err(not_bound(listen.address, name, &error)),
        }
    }
}

type ListenerError = (&'static str, io::Error);

fn try_listener(listen: Listen, cores: usize) -> Result<(u16, Sockets), ListenerError> {
    let mut address = listen.address;
    let mut sockets = Sockets::default();
    if listen.udp {
        for _ in 0..cores {
            let socket = sockets::udp_listener(address).map_err(|error| ("UDP", error))?;
            address = bound_address(&socket).map_err(|error| ("UDP", error))?;
            sockets.udp.push(socket);
        }
    }
    if listen.tcp {
        if listen.address.port() == 0 && listen.udp {
            sockets::probe(address, Type::STREAM).map_err(|error| ("TCP", error))?;
        }
        for _ in 0..cores {
            let socket = sockets::tcp_listener(address).map_err(|error| ("TCP", error))?;
            address = bound_address(&socket).map_err(|error| ("TCP", error))?;
            sockets.tcp.push(socket);
        }
    }
    Ok((address.port(), sockets))
}

fn bound_address(socket: &Socket) -> io::Result<SocketAddr> {
    socket.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

fn bind_upstream(ports: u8) -> Result<Upstream, Trouble> {
    let family = |v6| (0..ports).map(|_| sockets::udp_upstream(v6)).collect::<io::Result<Vec<_>>>();
    let v4 = family(false)
        .map_err(|error| Trouble::new(format!("cannot open a UDP socket to ask other servers from: {error}")))?;
    let v6 = family(true).unwrap_or_else(|error| {
        log::info!("servers are not asked over IPv6: {error}");
        Vec::new()
    });
    Ok(Upstream { v4, v6 })
}

fn not_bound(address: SocketAddr, protocol: &str, error: &io::Error) -> Trouble {
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    let show = if protocol == "UDP" { "ss -lunp" } else { "ss -ltnp" };
    let why = match error.raw_os_error() {
        Some(libc::EADDRINUSE) => format!(
            "another program has this port: `{show} 'sport = :{}'` shows which; stop it, or change [[listen]] address",
            address.port()
        ),
        Some(libc::EACCES) => "ports below 1024 are for processes with CAP_NET_BIND_SERVICE: start from the systemd \
             unit, give it to the binary with `setcap cap_net_bind_service=+ep`, or choose a higher port"
            .to_owned(),
        Some(libc::EADDRNOTAVAIL) => format!(
            "no interface has the address {}: `ip address` shows those that there are",
            IpAddr::to_canonical(&address.ip())
        ),
        Some(libc::EAFNOSUPPORT) => {
            format!("{family} is switched off on this machine: switch it on, or remove this [[listen]] address")
        }
        Some(libc::EMFILE | libc::ENFILE) => "too many files are open: raise LimitNOFILE or `ulimit -n`".to_owned(),
        _ => error.to_string(),
    };
    Trouble::new(format!("cannot listen on {protocol} {address}: {why}"))
}

#[cfg(test)]
#[path = "../tests/ports/mod.rs"]
mod ports;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::{TcpListener, UdpSocket};

    use super::ports::free_port;
    use super::*;

    #[test]
    fn each_obstacle_has_its_mend() {
        for (errno, expected) in [
            (libc::EADDRINUSE, "ss -lunp 'sport = :53'"),
            (libc::EACCES, "CAP_NET_BIND_SERVICE"),
            (libc::EADDRNOTAVAIL, "ip address"),
            (libc::EAFNOSUPPORT, "IPv4 is switched off"),
            (libc::EMFILE, "LimitNOFILE"),
        ] {
            let line = not_bound("192.0.2.1:53".parse().unwrap(), "UDP", &io::Error::from_raw_os_error(errno));
            let line = line.to_string();
            assert!(line.starts_with("cannot listen on UDP 192.0.2.1:53: ") && line.contains(expected), "{line}");
            assert!(!line.contains('\n'), "{line}");
        }
    }

    #[test]
    fn a_port_that_becomes_free_is_waited_for() {
        let address = free_port();
        let before = UdpSocket::bind(address).unwrap();
        thread::scope(|scope| {
            scope.spawn(move || {
                thread::sleep(3 * PORT_WAIT);
                drop(before);
            });
            probe_patiently(address, Type::DGRAM).unwrap();
        });
        let _taken = UdpSocket::bind(address).unwrap();
        let begin = Instant::now();
        assert_eq!(probe_patiently(address, Type::DGRAM).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(begin.elapsed() >= PORT_WAIT_MAX, "but not for ever");
    }

    #[test]
    fn a_port_that_the_kernel_chooses_is_free_for_both_protocols() {
        // So many connections that some of the ports chosen for datagrams are theirs.
        let _taken: Vec<TcpListener> = (0..300).map(|_| TcpListener::bind("127.77.0.1:0").unwrap()).collect();
        let listen = Listen { address: "127.77.0.1:0".parse().unwrap(), udp: true, tcp: true };
        for _ in 0..500 {
            let (port, sockets) = bind_listener(listen, 2).unwrap();
            assert_eq!((sockets.udp.len(), sockets.tcp.len()), (2, 2));
            for socket in sockets.udp.iter().chain(&sockets.tcp) {
                assert_eq!(bound_address(socket).unwrap().port(), port);
            }
        }
    }

    #[test]
    fn a_port_that_the_kernel_chooses_is_shared_with_no_other_listener() {
        let listen = Listen { address: "127.0.0.1:0".parse().unwrap(), udp: true, tcp: false };
        let bound: Vec<(u16, Sockets)> = (0..500).map(|_| bind_listener(listen, 1).unwrap()).collect();
        let ports: HashSet<u16> = bound.iter().map(|(port, _)| *port).collect();
        assert_eq!(ports.len(), bound.len());
    }

    #[test]
    fn cpus_and_files_are_checked() {
        let online = cpus_online().unwrap();
        let plan = |cpus: Vec<usize>, tcp_clients| Plan {
            cpus,
            listens: Vec::new(),
            spin: Duration::ZERO,
            tcp_clients,
            udp_ports: 1,
        };
        let trouble = |plan| bind(plan).unwrap_err().to_string();
        assert!(trouble(plan(Vec::new(), 1)).contains("no CPU"));
        assert!(trouble(plan(vec![100_000], 1)).contains("CPU 100000"));
        assert!(trouble(plan(vec![online[0], online[0]], 1)).contains("twice"));
        assert!(trouble(plan(vec![online[0]], usize::MAX)).contains("tcp_clients"));
        bind(plan(vec![online[0]], 1)).unwrap();
    }
}
