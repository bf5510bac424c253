//! Cores to test against, and the few octets of DNS that the tests need.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringdns_rim::{Cores, Event, Events, Listen, Plan, RimCounters, bind, cpus_online, preflight};
use ringdns_shard::Images;
use ringdns_shard::guard::{Acl, Network};
use ringdns_shard::images::{Allowed, Bounds, CacheSettings, Listener, Recording, Zone, ZoneAbout};
use ringdns_shard::telemetry::Counters;
use ringdns_shard::upstream::{Kind, Pool, Protocol, Routes, Server, Strategy, Target};
use ringdns_shard::wire::name::{HashKey, Name};
use ringdns_shard::wire::rdata::rtype;
use ringdns_shard::zone::journal::Journal;
use ringdns_shard::zone::{Builder, Image, Place};

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// A time-out of the server's that a test waits for, and that no step before is to run into on a busy machine.
pub(crate) const SHORT: Duration = Duration::from_secs(2);
pub(crate) const HEADER: usize = 12;
pub(crate) const REFUSED: u8 = 5;
pub(crate) const SERVFAIL: u8 = 2;

/// Running cores; stopped when dropped.
pub(crate) struct Running {
    pub(crate) cores: Cores,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) setup: Setup,
    /// What the cores have told.
    pub(crate) events: Arc<Mutex<Vec<Event>>>,
}

/// What to run. The default is one core with UDP and TCP on 127.0.0.1, where every name is refused.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) cores: usize,
    pub(crate) listens: Vec<SocketAddr>,
    pub(crate) tcp_clients: usize,
    pub(crate) tcp_idle: Duration,
    pub(crate) upstream: Option<(Protocol, SocketAddr)>,
    pub(crate) timeout: Duration,
    /// A zone that everybody may transfer, and notify of.
    pub(crate) zone: Option<Arc<Image>>,
    pub(crate) recording: Recording,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            cores: 1,
            listens: vec!["127.0.0.1:0".parse().unwrap()],
            tcp_clients: 100,
            tcp_idle: PATIENCE,
            upstream: None,
            timeout: PATIENCE,
            zone: None,
            recording: Recording::default(),
        }
    }
}

impl Setup {
    pub(crate) fn start(self) -> Running {
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = events.clone();
        let mut running = self.start_with(Arc::new(move |event| heard.lock().unwrap().push(event)));
        running.events = events;
        running
    }

    /// The same where `hear` hears what the cores tell, and nobody else.
    pub(crate) fn start_with(self, hear: Events) -> Running {
        let mut cpus = cpus_online().unwrap();
        cpus.truncate(self.cores);
        preflight(cpus.len()).unwrap();
        let plan = Plan {
            cpus,
            listens: self.listens.iter().map(|&address| Listen { address, udp: true, tcp: true }).collect(),
            spin: Duration::ZERO,
            tcp_clients: self.tcp_clients,
            udp_ports: 2,
        };
        let count = plan.cpus.len();
        let bound = bind(plan).unwrap();
        let addresses = bound.addresses();
        let images = (0..count).map(|_| self.images()).collect();
        let cores = bound.start(images, vec![[7; 32]; count], hear).unwrap();
        Running { cores, addresses, setup: self, events: Arc::default() }
    }

    pub(crate) fn images(&self) -> Arc<Images> {
        self.images_with(HashKey::from_seed([9; 16]))
    }

    pub(crate) fn images_with(&self, hash_key: HashKey) -> Arc<Images> {
        let allow: Acl = ["0.0.0.0/0", "::/0"].iter().map(|text| text.parse::<Network>().unwrap()).collect();
        let pool = self.upstream.map(|(protocol, address)| {
            Arc::new(Pool {
                name: "test".to_owned(),
                servers: vec![Server { protocol, address }.into()],
                kind: Kind::Resolver,
                strategy: Strategy::Fallback,
                timeout: self.timeout,
                spec: Box::default(),
            })
        });
        let mut routes: Vec<_> = pool.iter().map(|_| (Name::root(), Target::Pools(vec![0]))).collect();
        routes.extend(self.zone.iter().map(|zone| (zone.apex().clone(), Target::Zone(0))));
        let anybody = vec![Allowed { network: None, key: None }];
        let zone = self.zone.iter().map(|image| {
            let (apex, journal) = (image.apex().clone(), Journal::default());
            let about = ZoneAbout { apex, journal, allow_transfer: anybody.clone(), notify_from: anybody.clone() };
            Zone { image: Some(image.clone()), about: Arc::new(about) }
        });
        Arc::new(Images {
            listeners: vec![Listener { allow }; self.listens.len()],
            routes: Arc::new(Routes::new(&hash_key, routes)),
            zones: zone.collect(),
            pools: pool.into_iter().collect(),
            cache: CacheSettings {
                octets: 1 << 20,
                min_ttl: Duration::ZERO,
                max_ttl: Duration::from_secs(60),
                negative_max_ttl: Duration::from_secs(60),
                ..CacheSettings::PLAIN
            },
            bounds: Bounds {
                resolves: 1_000,
                waiters: 1_000,
                tcp_connections: (self.tcp_clients / self.cores).max(1),
                tcp_idle: self.tcp_idle,
                udp_ports: 2,
                ..Bounds::DEFAULT
            },
            recording: self.recording,
            ..Images::bare(hash_key)
        })
    }
}

impl Running {
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// A UDP socket that is connected to the first listener.
    pub(crate) fn udp(&self) -> UdpSocket {
        udp_to(self.address())
    }

    pub(crate) fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// The rim's counters of all cores.
    pub(crate) fn counters(&self) -> RimCounters {
        let mut sum = RimCounters::default();
        for snapshot in self.cores.snapshots(PATIENCE) {
            sum.add(&snapshot.expect("the core answers").rim);
        }
        sum
    }

    /// The shards' counters of all cores.
    pub(crate) fn shard_counters(&self) -> Counters {
        let mut sum = Counters::default();
        for snapshot in self.cores.snapshots(PATIENCE) {
            sum.add(&snapshot.expect("the core answers").shard);
        }
        sum
    }

    /// Waits until `condition` holds of the counters.
    pub(crate) fn wait_for(&self, what: &str, condition: impl Fn(&RimCounters) -> bool) {
        let end = Instant::now() + PATIENCE;
        loop {
            let counters = self.counters();
            if condition(&counters) {
                return;
            }
            assert!(Instant::now() < end, "waited for {what}: {counters:?} {:?}", self.shard_counters());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.cores.stop(Duration::ZERO);
    }
}

pub(crate) fn udp_to(server: SocketAddr) -> UdpSocket {
    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// A query for the addresses of `label`.example.
pub(crate) fn query(id: u16, label: &str) -> Vec<u8> {
    let mut message = Vec::new();
    for word in [id, 0x0100, 1, 0, 0, 0] {
        message.extend_from_slice(&word.to_be_bytes());
    }
    for label in [label, "example", ""] {
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 1, 0, 1]);
    message
}

/// What a server says to `query`: one address, or with `flags` of 0x0200 that the answer is truncated.
pub(crate) fn answer(query: &[u8], flags: u16) -> Vec<u8> {
    let mut message = query.to_vec();
    // The additional section of the query is not copied: its count goes, and the octets after the question.
    let question_end = HEADER + query[HEADER..].iter().position(|&octet| octet == 0).unwrap() + 5;
    message.truncate(question_end);
    message[2..4].copy_from_slice(&(0x8180 | flags).to_be_bytes());
    message[6..12].copy_from_slice(&[0, u8::from(flags == 0), 0, 0, 0, 0]);
    if flags == 0 {
        message.extend_from_slice(&[0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
    }
    message
}

pub(crate) fn id_of(message: &[u8]) -> u16 {
    u16::from_be_bytes([message[0], message[1]])
}

pub(crate) fn rcode_of(message: &[u8]) -> u8 {
    assert!(message[2] & 0x80 != 0, "a reply");
    message[3] & 15
}

pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let mut frame = (message.len() as u16).to_be_bytes().to_vec();
    frame.extend_from_slice(message);
    frame
}

pub(crate) fn send_frame(stream: &mut TcpStream, message: &[u8]) {
    stream.write_all(&framed(message)).unwrap();
}

/// The next message of the stream; `None` at its end.
pub(crate) fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    match stream.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return None,
        Err(error) => panic!("no message came: {error}"),
    }
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message).unwrap();
    Some(message)
}

/// Waits until the server has closed the connection, with or without a reset.
pub(crate) fn expect_closed(stream: &mut TcpStream) {
    let mut octets = [0; 4096];
    loop {
        match stream.read(&mut octets) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return,
            Err(error) => panic!("the connection stays open: {error}"),
        }
    }
}

/// The zone `apex` with `h0`, `h1` and so on, an address each.
pub(crate) fn zone_of(apex: &str, names: usize) -> Arc<Image> {
    let apex: Name = apex.parse().unwrap();
    let mut builder = Builder::new(apex.clone(), HashKey::from_seed([9; 16]));
    let soa = [apex.as_wire(), apex.as_wire(), &[1u32, 60, 60, 60, 60].map(u32::to_be_bytes).concat()].concat();
    let mut push = |owner: &Name, rtype: u16, data: &[u8]| {
        builder.push(owner.as_wire(), rtype, 60, data, Place::default()).unwrap();
    };
    push(&apex, rtype::SOA, &soa);
    push(&apex, rtype::NS, apex.as_wire());
    for i in 0..names as u32 {
        push(&format!("h{i}.{apex}").parse().unwrap(), rtype::A, &i.to_be_bytes());
    }
    Arc::new(builder.finish().unwrap())
}
