//! Every setting, declared once. Names and meanings are a contract with operators and packages.

#![allow(rustdoc::broken_intra_doc_links, reason = "tables are called as the file writes them, in brackets")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;
use ringdns_shard::guard::rate::Action;
use ringdns_shard::limits;
use ringdns_shard::tsig::Algorithm;
use ringdns_shard::upstream::{Kind, Strategy};
use ringdns_shard::wire::name::Name;
use toml::de::DeTable;

use super::control::{SocketPathForm, TokenFile, TokenFileForm};
use super::cookie::{CookieSecret, CookieSecretsForm};
use super::fault::{At, Place};
use super::files::{FileForm, FolderForm, ZoneFile};
use super::form::{
    Choice, Cores, CoresForm, Count, Destination, Flag, Form, List, NameForm, Net, NetForm, Octets, OptionalName,
    OptionalSocket, PoolName, Socket, Span, Text,
};
use super::pieces::Root;
use super::rate::{Rate, RatesForm};
use super::recording::{OptionalFile, TapTarget, TapTargetForm};
use super::rrl::{Rrl, RrlForm};
use super::schema::{KeyDescription, Reader, Table, TableDescription, settings};
use super::transfer::{Allow, AllowForm, Peer, PeerForm, Secret, SecretFile, SecretFileForm, SecretForm};
use super::upstream::{ServerForm, UpstreamServer};

/// Which core gets a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steering {
    /// The kernel's hash of addresses and ports decides.
    Flow,
}

/// How many copies of a zone there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replicas {
    /// One a core.
    Core,
    /// One a NUMA node.
    Node,
}

/// A protocol of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// DNS over UDP.
    Udp,
    /// DNS over TCP.
    Tcp,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Whose messages go to dnstap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TapMessages {
    /// Those of clients and the replies to them.
    Client,
    /// Those to upstreams and theirs.
    Resolver,
}

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

const SECOND: Duration = Duration::from_secs(1);

const fn ttl(max_seconds: u64) -> Span {
    Span { min: Duration::ZERO, max: Duration::from_secs(max_seconds), step: SECOND }
}

const fn span(min_millis: u64, max_millis: u64) -> Span {
    let step = Duration::from_millis(1);
    Span { min: Duration::from_millis(min_millis), max: Duration::from_millis(max_millis), step }
}

/// Listeners, each with sockets on every core.
const LISTENERS_MAX: usize = 64;
/// The protocols of the documented contract, so that a list with some that are not available yet is told of each.
const PROTOCOLS_MAX: usize = 7;
const ZONES_MAX: usize = 100_000;
const UPSTREAMS_MAX: usize = 1_024;
const ROUTES_MAX: usize = 100_000;
pub(super) const NETWORKS_MAX: usize = 1_024;
const KEYS_MAX: usize = 1_024;
const TEMPLATES_MAX: usize = 1_024;
const WITHIN_MAX: usize = 1_024;
const FOLDERS_MAX: usize = 16;
const PRIMARIES_MAX: usize = 16;
const NOTIFY_MAX: usize = 64;
const ALLOW_TRANSFER_MAX: usize = 64;
/// Octets of the one string of a TXT record (RFC 1035 §3.3.14).
const GROUP_OCTETS_MAX: usize = 255;

const fn peers(min: usize, max: usize) -> List<PeerForm> {
    List { of: PeerForm, min, max }
}

const ALLOW_TRANSFER: List<AllowForm> = List { of: AllowForm, min: 0, max: ALLOW_TRANSFER_MAX };
const USER_OCTETS_MAX: usize = 32;
const HOSTS_MAX: usize = 64;

/// Tables of the documented contract that this version does not have.
pub(super) const TABLES_LATER: &[&str] =
    &["auth", "certificate", "dnssec", "filter", "fleet", "group", "list", "record", "resolver"];

settings! {
    /// The process as a whole.
    single(0) server: Server {
        /// The CPUs that serve, one pinned thread each.
        /// Changes need a restart.
        cores: Cores = CoresForm, default r#""all""#;
        /// The user whose rights the process keeps once its ports are bound; empty: the one that started it.
        /// Changes need a restart.
        user: String = Text { octets_max: USER_OCTETS_MAX }, default r#""""#;
        /// Which core gets a request: with "flow", the kernel's hash of addresses and ports decides.
        steering: Steering = Choice { words: &[("flow", Steering::Flow)], later: &["cpu", "question"] }, default r#""flow""#;
        /// Copies of each zone in memory: one a "core" (fastest), or one a NUMA "node" (for zones too large to copy).
        /// Zones of up to 64 KiB have one a node in any case. Changes need a restart.
        replicas: Replicas = Choice { words: &[("core", Replicas::Core), ("node", Replicas::Node)], later: &[] }, default r#""core""#;
        /// How long a core that has run out of work looks for more before it sleeps. A core that sleeps takes a few
        /// microseconds to wake up, which the next reply comes later; one that looks uses its CPU all that time, for each
        /// time it is woken. With "0s" it sleeps at once, and an idle server uses no CPU. Changes need a restart.
        spin: Duration = Span { min: Duration::ZERO, max: SECOND, step: Duration::from_micros(1) }, default r#""0s""#;
        /// What NSID and id.server (class CH, type TXT) answer; empty: neither is answered.
        identity: String = Text { octets_max: limits::IDENTITY_OCTETS_MAX }, default r#""""#;
        /// What version.bind and version.server (class CH, type TXT) answer; empty: refused.
        version: String = Text { octets_max: limits::IDENTITY_OCTETS_MAX }, default r#""""#;
        /// What DNS cookies (RFC 7873, RFC 9018) are made with, so that servers behind one address take each other's:
        /// the first secret makes them, each is taken. To change a secret, put the new one second on all servers, then
        /// first, then drop the old one. Empty: one that is made at each start. `ringdns config` does not print them.
        cookie_secrets: Vec<At<CookieSecret>> = CookieSecretsForm, default "[]";
        /// The folder for what this server keeps: the copies of zones that name no file, and the differences between
        /// versions of zones. Changes need a restart.
        state: PathBuf = FolderForm, default r#""state""#;
        /// Whether the master files of zones are watched, and what they include: what has changed, and rests, is read as
        /// with SIGHUP. The kernel tells of changes (inotify); where it cannot, files are looked at every 5 seconds.
        watch: bool = Flag, default "false";
        /// Whether the process gives up, once its ports are bound, what it does not need: capabilities, and by Landlock (where
        /// the kernel has it) all of the file system but the folders that this file names. A reload cannot read what lies
        /// outside of them then. Changes need a restart.
        sandbox: bool = Flag, default "true";
        later: [];
    }

    /// Where clients ask, a table for each address. A file without any has one with the defaults.
    several(LISTENERS_MAX) listen: Listen {
        /// The address and port; port 0 is a free one, told at start. Changes need a restart.
        address: SocketAddr = Socket, default r#""127.0.0.1:5300""#;
        /// What is spoken there. Changes need a restart.
        protocols: Vec<At<Protocol>> = List {
            of: Choice {
                words: &[("udp", Protocol::Udp), ("tcp", Protocol::Tcp)],
                later: &["tls", "https", "http", "quic", "h3"],
            },
            min: 1,
            max: PROTOCOLS_MAX,
        }, default r#"["udp", "tcp"]"#;
        /// The networks whose queries are answered; all others get REFUSED. The default is this machine and the
        /// private networks.
        allow: Vec<At<Net>> = List { of: NetForm, min: 1, max: NETWORKS_MAX }, default r#"["127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "::1/128", "fc00::/7", "fe80::/10"]"#;
        later: ["certificate", "proxies", "paths"];
    }

    /// A key that two servers share, with which they sign messages to each other (TSIG, RFC 8945). Exactly one of
    /// `secret` and `secret_file` is given.
    several(KEYS_MAX) key: Key {
        /// The name of the key, the same on both servers.
        name: Name = NameForm, example r#""transfer.""#;
        /// How messages are signed.
        algorithm: Algorithm = Choice {
            words: &[
                ("hmac-sha1", Algorithm::HmacSha1),
                ("hmac-sha256", Algorithm::HmacSha256),
                ("hmac-sha384", Algorithm::HmacSha384),
                ("hmac-sha512", Algorithm::HmacSha512),
            ],
            later: &[],
        }, default r#""hmac-sha256""#;
        /// What the two servers share. It ought to be random and as long as what the algorithm gives, 32 octets for
        /// "hmac-sha256", as `openssl rand -base64 32` makes it. `ringdns config` does not print it.
        secret: Option<Secret> = SecretForm, default r#""""#;
        /// A file that holds the secret and nothing else, read whenever this file is. Nobody but the `user` of
        /// [server] need be able to read it.
        secret_file: Option<SecretFile> = SecretFileForm, optional r#""transfer.key""#;
        later: [];
    }

    /// A zone that this server is authoritative for. Each is a route of its own. A zone with `primaries` is a copy of
    /// theirs. One that others are `member_of` is a catalog that is made here (RFC 9432). All others are read from
    /// their `file`.
    several(ZONES_MAX) zone: Zone {
        /// The name of the zone.
        name: Name = NameForm, example r#""example.com""#;
        /// Its master file (RFC 1035 §5), relative to the folder of this file. With `primaries`, the file in which the
        /// copy is kept; without a name, it is kept in `state` of [server]. A catalog that is made here has none.
        file: ZoneFile = FileForm, optional r#""example.com.zone""#;
        /// The folders from which $INCLUDE may read, beside the folder of `file` and what is below it.
        include: Vec<At<PathBuf>> = List { of: FolderForm, min: 0, max: FOLDERS_MAX }, default "[]";
        /// The servers from which the zone is transferred, in the order in which they are asked. Their NOTIFY messages
        /// are heeded.
        primaries: Vec<At<Peer>> = peers(0, PRIMARIES_MAX), default "[]";
        /// The servers that are told of changes (RFC 1996).
        notify: Vec<At<Peer>> = peers(0, NOTIFY_MAX), default "[]";
        /// Who may transfer the zone; all others get REFUSED.
        allow_transfer: Vec<At<Allow>> = ALLOW_TRANSFER, default "[]";
        /// Whether the zone is a catalog whose members are served here (RFC 9432). What they get stands in a
        /// [[template]].
        catalog: bool = Flag, default "false";
        /// The catalog made here that lists this zone: the name of a [[zone]] without `file`, `primaries` and `catalog`.
        member_of: Option<Name> = OptionalName, default r#""""#;
        /// The zone's `group` in that catalog; empty: none.
        group: String = Text { octets_max: GROUP_OCTETS_MAX }, default r#""""#;
        later: [];
    }

    /// What the members of a catalog get (RFC 9432). Their copies are kept in `state` of [server].
    several(TEMPLATES_MAX) template: Template {
        /// The catalog: the name of a [[zone]] with `catalog = true`.
        catalog: Name = NameForm, example r#""catalog.example""#;
        /// The members with this `group` in the catalog. Empty: those without any, or with none that another
        /// [[template]] of the catalog has.
        group: String = Text { octets_max: GROUP_OCTETS_MAX }, default r#""""#;
        /// The names that members may have: these and what is below them. Others are not served, so that whoever makes
        /// the catalog has no say in other names. The default is every name.
        within: Vec<At<Name>> = List { of: NameForm, min: 1, max: WITHIN_MAX }, default r#"["."]"#;
        /// The servers from which members are transferred, as in [[zone]].
        primaries: Vec<At<Peer>> = peers(1, PRIMARIES_MAX), example r#"["192.0.2.1:53 key=transfer."]"#;
        /// The servers that are told of changes, as in [[zone]].
        notify: Vec<At<Peer>> = peers(0, NOTIFY_MAX), default "[]";
        /// Who may transfer members, as in [[zone]].
        allow_transfer: Vec<At<Allow>> = ALLOW_TRANSFER, default "[]";
        /// The catalog made here that lists the members in turn, as in [[zone]], with the group of this
        /// template.
        member_of: Option<Name> = OptionalName, default r#""""#;
        later: [];
    }

    /// A pool of servers to which queries are forwarded.
    several(UPSTREAMS_MAX) upstream: Upstream {
        /// The name by which routes call it.
        name: String = PoolName, example r#""origin""#;
        /// The servers. With "udp://", truncated answers are fetched again over TCP. A server that stops answering is
        /// passed over until it is seen to answer again: it is asked in the background, every second or two. In a pool
        /// with the strategy "balanced" each may have a weight, 1 where it says none.
        servers: Vec<At<UpstreamServer>> = List { of: ServerForm, min: 1, max: limits::POOL_SERVERS_MAX }, example r#"["udp://192.0.2.53:53"]"#;
        /// A "resolver" is asked to recurse; an "authoritative" server is the origin of which this server is the
        /// public face: what it says of names outside of the route's suffix is not believed, and ANY is answered
        /// without asking it.
        kind: Kind = Choice { words: &[("resolver", Kind::Resolver), ("authoritative", Kind::Authoritative)], later: &[] }, default r#""resolver""#;
        /// Which server is asked first, of those that answer; the others stand by. With "uniform" each zone's names
        /// keep to one server, and while that is down they are spread over the others; add servers at the end of the
        /// list and replace them in their place, so that few names move. With "fallback" it is the first in the list,
        /// with "minload" the one of two drawn by chance that has less to do and is faster. With "parallel" up to four
        /// are asked at once, and the first good answer counts. With "balanced" chance decides, by the weights in
        /// `servers`.
        strategy: Strategy = Choice {
            words: &[
                ("uniform", Strategy::Uniform),
                ("fallback", Strategy::Fallback),
                ("minload", Strategy::Minload),
                ("parallel", Strategy::Parallel),
                ("balanced", Strategy::Balanced),
            ],
            later: &[],
        }, default r#""uniform""#;
        /// The pools of one route are tried in this order, the lowest number first.
        priority: u32 = Count { min: 1, max: 1_000 }, default "1";
        /// UDP sockets that a core keeps open towards upstreams, for each address family. The sockets belong to the
        /// core, not to the pool: the largest number among all pools counts. Changes need a restart.
        udp_ports: u32 = Count { min: 1, max: limits::UPSTREAM_SOCKETS_MAX as u32 }, default "8";
        /// The longest a client waits for a fresh answer.
        timeout: Duration = span(100, 60_000), default r#""2s""#;
        later: ["tls_ca"];
    }

    /// Where the names below a suffix are looked up. The longest suffix wins; names outside every route and zone get
    /// REFUSED.
    several(ROUTES_MAX) route: Route {
        /// The suffix; "." is every name.
        suffix: Name = NameForm, example r#"".""#;
        /// Names of upstreams, or "refuse" alone.
        to: Vec<At<String>> = List { of: Destination, min: 1, max: limits::ROUTE_POOLS_MAX }, example r#"["origin"]"#;
        later: [];
    }

    /// Answers of upstreams, kept in memory.
    single(0) cache: Cache {
        /// Memory in all, divided evenly over the cores.
        size: u64 = Octets { min: 1 << 20, max: 1 << 40 }, default r#""256MiB""#;
        /// Answers are kept at least so long, whatever their TTL.
        min_ttl: Duration = ttl(DAY), default r#""0s""#;
        /// Answers are kept at most so long, whatever their TTL.
        max_ttl: Duration = ttl(7 * DAY), default r#""1d""#;
        /// Negative answers (NXDOMAIN, no data) are kept at most so long.
        negative_max_ttl: Duration = ttl(DAY), default r#""1h""#;
        /// A question that failed is not asked again for so long (RFC 9520); "0s": it is asked each time.
        failure_ttl: Duration = ttl(300), default r#""5s""#;
        /// How long past its TTL an answer may still be served where no fresh one is to be had (RFC 8767); "0s" turns it
        /// off.
        stale: Duration = ttl(30 * DAY), default r#""1d""#;
        /// A client waits so long for a fresh answer before it gets one that is past its TTL.
        stale_after: Duration = span(0, 60_000), default r#""1800ms""#;
        /// Whether answers that are asked for often are fetched anew before their TTL has passed.
        prefetch: bool = Flag, default "true";
        /// Whether the cache outlives a restart: it is written to the file `cache` in `state` of [server] when the server
        /// is stopped by SIGTERM or SIGINT, and read when it starts. What is asked of whom must be the same by then.
        persist: bool = Flag, default "true";
        later: [];
    }

    /// Bounds on what clients can take up.
    single(0) limits: Limits {
        /// TCP connections of clients at once, in all: each core has an equal part.
        tcp_clients: u32 = Count { min: 1, max: 1_000_000 }, default "1000";
        /// A TCP connection on which nothing happens is closed after so long.
        tcp_idle: Duration = span(100, HOUR * 1_000), default r#""10s""#;
        /// Questions in flight towards upstreams, on each core.
        resolves: u32 = Count { min: 1, max: 65_536 }, default "10000";
        /// Clients that wait for the same question, on each core.
        waiters: u32 = Count { min: 1, max: limits::WAITERS_MAX as u32 }, default "1000";
        /// Questions in flight towards upstreams for names of one zone, on each core. The SOA records of negative answers
        /// tell where zones begin; until one has come, it is the suffix of the route, but two labels at least.
        zone_resolves: u32 = Count { min: 1, max: 65_536 }, default "1000";
        /// Questions a second that go to upstreams for names of one zone, as they do in floods of random names: answers
        /// from the cache are not counted. As many may come at once. The rate is that of the whole server: each core has an
        /// equal part of it, rounded up. 0: there is no limit.
        zone_rate: u32 = Count { min: 0, max: 1_000_000 }, default "0";
        /// How often the clients of one network may ask, whatever they ask for; as many queries may come at once. A query
        /// counts for each of the prefix lengths that its address has a rate for. The rate is that of the whole server:
        /// each core has an equal part of it, rounded up, so that a client that always asks from one port has only that
        /// of one core. Clients whose address is certain, as over TCP or with a DNS cookie, are counted apart from those
        /// that may be forged.
        rate: Vec<At<Rate>> = RatesForm, default "[]";
        /// What is told to clients above a `rate`: with "drop" nothing, with "truncate" to ask again over TCP (and
        /// REFUSED to those whose address is certain), with "refuse" REFUSED.
        rate_action: Action = Choice {
            words: &[("drop", Action::Drop), ("truncate", Action::Truncate), ("refuse", Action::Refuse)],
            later: &[],
        }, default r#""drop""#;
        /// Whether clients above a `rate` are answered all the same, and only counted: the metrics page says how
        /// many it would have met.
        rate_dry_run: bool = Flag, default "false";
        /// Networks whose clients have no `rate`.
        rate_exempt: Vec<At<Net>> = List { of: NetForm, min: 0, max: NETWORKS_MAX }, default "[]";
        /// Records of a zone that is transferred from its primaries, in all; a transfer that brings more is broken off.
        transfer: u64 = Octets { min: 1 << 16, max: 1 << 40 }, default r#""1GiB""#;
        /// Response rate limiting for zones that this server is authoritative for, so that it is of no use in attacks
        /// with forged addresses: only so many equal responses a second go to one network. The rate is that of the
        /// whole server: each core has an equal part of it, rounded up. Clients whose address is certain, as over TCP, are
        /// not limited.
        rrl: Rrl = RrlForm, default "{}";
        later: [];
    }

    /// What the program says of itself, on standard error.
    single(0) log: Log {
        /// How much is said.
        level: LevelFilter = Choice {
            words: &[
                ("error", LevelFilter::Error),
                ("warn", LevelFilter::Warn),
                ("info", LevelFilter::Info),
                ("debug", LevelFilter::Debug),
                ("trace", LevelFilter::Trace),
            ],
            later: &[],
        }, default r#""info""#;
        /// Lines for people, or one JSON object a line.
        format: LogFormat = Choice { words: &[("text", LogFormat::Text), ("json", LogFormat::Json)], later: &[] }, default r#""text""#;
        later: [];
    }

    /// The query log: who asked for what, and what came of it, in a data base (SQLite) that `ringdns ctl queries` and
    /// the interface for programs ask.
    single(0) query_log: QueryLog {
        /// Whether queries are logged.
        enabled: bool = Flag, default "false";
        /// The file of the data base; empty: `queries.sqlite` in `state` of [server].
        file: Option<PathBuf> = OptionalFile, default r#""""#;
        /// One query of so many is logged, drawn by chance. What is logged says so, and totals are counted up accordingly.
        sample: u32 = Count { min: 1, max: 1_000_000 }, default "1";
        /// How long queries are kept.
        keep: Duration = Span { min: Duration::from_secs(HOUR), max: Duration::from_secs(3_650 * DAY), step: SECOND }, default r#""7d""#;
        /// How large the file may be; the oldest queries make room.
        size: u64 = Octets { min: 16 << 20, max: 1 << 40 }, default r#""1GiB""#;
        /// So many bits of a client's IPv4 address are kept; with 24 the last octet is not.
        client_prefix_v4: u32 = Count { min: 0, max: 32 }, default "32";
        /// So many bits of a client's IPv6 address are kept.
        client_prefix_v6: u32 = Count { min: 0, max: 128 }, default "128";
        later: [];
    }

    /// Whole messages for others to read, as dnstap has them: over Frame Streams to one reader, without waiting for it.
    single(0) dnstap: Dnstap {
        /// Where the reader listens: "unix:PATH", or "tcp:ADDRESS:PORT"; empty: none.
        to: Option<TapTarget> = TapTargetForm, optional r#""unix:/run/dnstap.sock""#;
        /// Whose messages: of the "client", of the "resolver" that this server is to its upstreams, or both.
        messages: Vec<At<TapMessages>> = List {
            of: Choice { words: &[("client", TapMessages::Client), ("resolver", TapMessages::Resolver)], later: &[] },
            min: 1,
            max: 2,
        }, default r#"["client", "resolver"]"#;
        later: [];
    }

    /// The control plane: health, figures and state of the server over HTTP, and what `ringdns ctl` asks for.
    single(0) control: Control {
        /// Where it is asked; port 0 is a free one, told at start; empty turns it off. Anything but a loopback address needs
        /// a `token_file`, and who asks there must send the token for everything.
        listen: Option<SocketAddr> = OptionalSocket, default r#""127.0.0.1:8053""#;
        /// A Unix socket for the same, at which changes need no token: only root and the user whose rights the process
        /// keeps may use it. `ringdns ctl` prefers it.
        socket: Option<PathBuf> = SocketPathForm, default r#""""#;
        /// A file that holds a token and nothing else, as `openssl rand -hex 32` makes it, read whenever this file is.
        /// Who asks at `listen` for a change (flushing the cache, reloading) must send it, as `ringdns ctl` does. Without
        /// one, changes are for those who ask at `socket`.
        token_file: Option<TokenFile> = TokenFileForm, optional r#""control.token""#;
        /// Names by which `listen` is asked, beside IP addresses and `localhost`: what comes under another name is refused,
        /// so that a web page cannot have a browser ask here.
        hosts: Vec<At<Name>> = List { of: NameForm, min: 0, max: HOSTS_MAX }, default "[]";
        later: [];
    }
}
