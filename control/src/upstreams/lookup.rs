//! Asks for the addresses of a name: servers of the configuration, or the resolver of the system. What a server says is
//! believed as far as the cache believes an upstream ([`scrub`]).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ringdns_shard::cache::scrub::{Scrubbed, Source, Why, scrub};
use ringdns_shard::limits::POOL_SERVERS_MAX;
use ringdns_shard::upstream::{Kind, Protocol, Server};
use ringdns_shard::wire::message::{HEADER_OCTETS, Header, Section, flags, records};
use ringdns_shard::wire::name::Name;
use ringdns_shard::wire::rdata::{CLASS_IN, rtype};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};

use crate::plane::random;
use crate::zones::udp_socket;

/// How long an answer over UDP may take, try by try.
const UDP_TRIES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];
/// How long an answer over TCP may take, the connection counted.
const TCP_LIMIT: Duration = Duration::from_secs(5);
/// How long all servers together may take.
const ALL_LIMIT: Duration = Duration::from_secs(15);
/// The resolver of the system does not say how long an answer holds.
const SYSTEM_TTL: Duration = Duration::from_secs(60);

/// Who is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    /// These servers, in this order: the first that knows the answer.
    Servers(Vec<Server>),
    /// Whatever the system has.
    System,
}

/// The addresses of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// In ascending order; none where the name has none.
    pub(super) addresses: Vec<IpAddr>,
    /// How long that holds.
    pub(super) ttl: Duration,
}

/// What a look-up has brought for IPv4 and for IPv6; the error is what to tell people.
pub(super) type Found = [Result<Answer, String>; 2];

/// Looks a name up.
pub(super) async fn look_up(name: &Name, whom: &Whom) -> Found {
    match whom {
        Whom::System => of_the_system(name).await,
        Whom::Servers(servers) => {
            let (v4, v6) = tokio::join!(of_any(servers, name, rtype::A), of_any(servers, name, rtype::AAAA));
            [v4, v6]
        }
    }
}

async fn of_the_system(name: &Name) -> Found {
    let text = name.to_string();
    match lookup_host((text.trim_end_matches('.'), 0)).await {
        Ok(found) => {
            let (v4, v6) = found.map(|socket| socket.ip()).partition(IpAddr::is_ipv4);
            [v4, v6].map(|addresses| Ok(answer(addresses, SYSTEM_TTL)))
        }
        Err(error) => {
            let why = format!(
                "the system's resolver says: {error}; an [[upstream]] of kind \"resolver\" with an IP address would be \
                 asked in its place"
            );
            [Err(why.clone()), Err(why)]
        }
    }
}

fn answer(mut addresses: Vec<IpAddr>, ttl: Duration) -> Answer {
    addresses.sort_unstable();
    addresses.dedup();
    // More than a pool takes.
    addresses.truncate(POOL_SERVERS_MAX);
    Answer { addresses, ttl }
}

async fn of_any(servers: &[Server], name: &Name, qtype: u16) -> Result<Answer, String> {
    let one_by_one = async {
        let mut last = "no server is there to be asked".to_owned();
        for server in servers {
            match of_server(*server, name, qtype).await {
                Ok(answer) => return Ok(answer),
                Err(why) => last = format!("{} {why}", server.address),
            }
        }
        Err(last)
    };
    let late = |_| Err(format!("no server answers within {} seconds", ALL_LIMIT.as_secs()));
    timeout(ALL_LIMIT, one_by_one).await.unwrap_or_else(late)
}

async fn of_server(server: Server, name: &Name, qtype: u16) -> Result<Answer, String> {
    let unreachable = |error: io::Error| format!("cannot be asked: {error}");
    if server.protocol == Protocol::Udp {
        for limit in UDP_TRIES {
            let query = Query::new(name, qtype);
            let Some(reply) = over_udp(server, &query, limit).await.map_err(unreachable)? else { continue };
            match query.read(&reply) {
                Err(Unusable::Truncated) => return of_server(Server { protocol: Protocol::Tcp, ..server }, name, qtype).await_tcp().await,
                read => return read.map_err(|unusable| unusable.text()),
            }
        }
        return Err("does not answer".to_owned());
    }
    let query = Query::new(name, qtype);
    let reply = timeout(TCP_LIMIT, over_tcp(server, &query)).await.map_err(|_| "does not answer".to_owned())?;
    query.read(&reply.map_err(unreachable)?).map_err(|unusable| unusable.text())
}
