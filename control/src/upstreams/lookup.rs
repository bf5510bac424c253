//! Asks for the addresses of a name: servers of the configuration, or the resolver of the system. What a server says is
//! believed as far as the cache believes an upstream ([`scrub`]).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ringdns_shard::cache::scrub::{Scrubbed, Source, Why, scrub};
use ringdns_shard::limits::POOL_SERVERS_MAX;
use ringdns_shard::upstream::{Protocol, Server};
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
/// Octets of a datagram without EDNS (RFC 1035 §4.2.1), and what others send all the same.
const UDP_OCTETS_MAX: usize = 4_096;
const NOERROR: u16 = 0;
const NXDOMAIN: u16 = 3;
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
    let query = Query::new(name, qtype);
    if server.protocol == Protocol::Tcp {
        return over_tcp(server, &query).await;
    }
    for limit in UDP_TRIES {
        match over_udp(server, &query, limit).await {
            Ok(None) => {}
            Ok(Some(reply)) if reply.is_truncated() => return over_tcp(server, &Query::new(name, qtype)).await,
            Ok(Some(reply)) => return reply.answer(&query),
            Err(error) => return Err(format!("cannot be asked: {error}")),
        }
    }
    Err("does not answer".to_owned())
}

/// Asks once, from a port of its own; `None` where no reply comes in time. What is no reply to the query is passed over:
/// it may be a forgery, and the true one may yet come.
async fn over_udp(server: Server, query: &Query<'_>, limit: Duration) -> io::Result<Option<Reply>> {
    let socket = udp_socket(server.address).await?;
    socket.send(&query.octets).await?;
    let deadline = Instant::now() + limit;
    let mut buffer = vec![0; UDP_OCTETS_MAX];
    loop {
        let Ok(received) = timeout_at(deadline, socket.recv(&mut buffer)).await else { return Ok(None) };
        let reply = query.reply(buffer[..received?].to_vec());
        if reply.is_some() {
            return Ok(reply);
        }
    }
}

async fn over_tcp(server: Server, query: &Query<'_>) -> Result<Answer, String> {
    let exchange = async {
        let mut stream = TcpStream::connect(server.address).await?;
        stream.write_all(&[&(query.octets.len() as u16).to_be_bytes()[..], &query.octets].concat()).await?;
        let mut reply = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut reply).await?;
        io::Result::Ok(reply)
    };
    let late = |_| Err(io::Error::from(io::ErrorKind::TimedOut));
    let reply = timeout(TCP_LIMIT, exchange).await.unwrap_or_else(late);
    let reply = reply.map_err(|error| format!("cannot be asked over TCP: {error}"))?;
    query.reply(reply).ok_or_else(|| "answers something else".to_owned())?.answer(query)
}

/// A question, as it is sent.
struct Query<'n> {
    name: &'n Name,
    qtype: u16,
    octets: Vec<u8>,
}

impl Query<'_> {
    /// A question with a random id and RD.
    fn new(name: &Name, qtype: u16) -> Query<'_> {
        let mut octets = Vec::with_capacity(HEADER_OCTETS + name.as_wire().len() + 4);
        octets.extend(random::<2>());
        octets.extend(flags::RD.to_be_bytes());
        octets.extend([0, 1, 0, 0, 0, 0, 0, 0]);
        octets.extend(name.as_wire());
        octets.extend(qtype.to_be_bytes());
        octets.extend(CLASS_IN.to_be_bytes());
        Query { name, qtype, octets }
    }

    /// A message that came, where it is a reply to this.
    fn reply(&self, octets: Vec<u8>) -> Option<Reply> {
        let header = Header::parse(&octets)?;
        let is_reply = header.has(flags::QR) && header.opcode() == 0 && header.counts[0] == 1;
        let question = octets.get(HEADER_OCTETS..self.octets.len())?;
        let is_it = is_reply && octets[..2] == self.octets[..2] && *question == self.octets[HEADER_OCTETS..];
        is_it.then_some(Reply { header, octets })
    }
}

/// A message with the id and the question of a query.
struct Reply {
    header: Header,
    octets: Vec<u8>,
}

impl Reply {
    fn is_truncated(&self) -> bool {
        self.header.has(flags::TC)
    }

    /// The addresses in it; the error says what it has in their place.
    fn answer(&self, query: &Query<'_>) -> Result<Answer, String> {
        let rcode = self.header.flags & flags::RCODE;
        if !matches!(rcode, NOERROR | NXDOMAIN) {
            return Err(format!("answers with response code {rcode}"));
        }
        if self.is_truncated() {
            return Err("answers with half of it".to_owned());
        }
        let (name, mut scratch) = (query.name.as_wire(), Vec::new());
        let source = Source { authoritative: false, suffix_labels: 0 };
        match scrub(&self.octets, self.header, name, query.qtype, &source, &mut scratch) {
            Scrubbed::Clean(message) | Scrubbed::Rewritten(message) => {
                addresses(message, query).ok_or_else(|| "answers with what is no address".to_owned())
            }
            Scrubbed::Refused(Why::Empty) => Ok(answer(Vec::new(), Duration::MAX)),
            Scrubbed::Refused(why) => Err(format!("answers with what is of no use: {why:?}")),
        }
    }
}

/// The addresses in a message that holds nothing but the answer to `query`.
fn addresses(message: &[u8], query: &Query<'_>) -> Option<Answer> {
    let (mut addresses, mut ttl) = (Vec::new(), u32::MAX);
    let all = records(message, Header::parse(message)?, query.octets.len());
    for record in all.take_while(|record| record.as_ref().is_ok_and(|record| record.section == Section::Answer)) {
        let record = record.ok()?;
        // An alias that runs out may lead elsewhere then.
        ttl = ttl.min(record.ttl);
        let data = message.get(record.data.clone())?;
        match record.rtype {
            rtype::A if query.qtype == rtype::A => {
                addresses.push(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).into());
            }
            rtype::AAAA if query.qtype == rtype::AAAA => {
                addresses.push(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).into());
            }
            _ => {}
        }
    }
    Some(answer(addresses, Duration::from_secs(ttl.into())))
}

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
