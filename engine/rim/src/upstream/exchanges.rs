//! Exchanges over TCP: which goes over which connection, and what becomes of it when that one breaks (RFC 7766 §6.2).
//!
//! Connections to a server are kept and shared: queries are pipelined, replies come in any order and are told apart by
//! their ids. A query whose id is on its way already takes another connection. Further connections are opened where
//! the ones that there are have enough to do, a few to each server. A connection that nobody needs is closed after a
//! while.
//!
//! A server may close a connection at any time. An exchange that had joined it late, or behind whose back others were
//! answered, begins anew on a fresh one, once, and nobody hears of it; on a fresh connection a break is a failure. A
//! server that closes after a few replies though more was asked gets no more than that over one connection for a while.
//!
//! An exchange that is given up leaves its id taken, so that its reply, should it still come, goes to nobody else. A
//! connection on which several are given up in a row without a reply to anything takes no further ones.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;

use ringdns_shard::Time;

use super::stream::Stream;
use crate::limits::{
    UPSTREAM_TCP_A_SERVER_MAX, UPSTREAM_TCP_BUSY, UPSTREAM_TCP_FEW_SERVER_MAX, UPSTREAM_TCP_FEW_SPAN,
    UPSTREAM_TCP_IDLE, UPSTREAM_TCP_MAX, UPSTREAM_TCP_PATIENCE, UPSTREAM_TCP_PIPELINE_MAX, UPSTREAM_TCP_SILENT_MAX,
};
use crate::runtime::Task;

/// The exchanges of a core and the connections that carry them. Connections have numbers that are never given twice.
#[derive(Default)]
pub(crate) struct Exchanges {
    exchanges: HashMap<u64, Exchange>,
    connections: HashMap<u64, Connection>,
    /// Those that there are connections to.
    servers: HashMap<SocketAddr, Server>,
    opened: u64,
    /// Connections with something to send.
    pub(super) dirty: Vec<u64>,
}

/// An exchange that is under way.
struct Exchange {
    server: SocketAddr,
    connection: u64,
    /// Framed.
    query: Box<[u8]>,
    deadline: Time,
    /// Whether the connection was established before.
    joined_late: bool,
    /// Whether its first connection broke.
    again: bool,
}

#[derive(Default)]
struct Server {
    connections: Vec<u64>,
    /// How many queries it answers over one connection, and until when that is believed.
    few: Option<(u64, Time)>,
}

/// A connection; dropped, its tasks end and it is closed.
pub(super) struct Connection {
    server: SocketAddr,
    /// `None` until it is established.
    pub(super) stream: Option<Rc<Stream>>,
    /// Connects, then reads.
    pub(super) reader: Option<Task>,
    /// Writes, while the stream takes no more at once.
    pub(super) writer: Option<Task>,
    /// Framed queries that wait to be written.
    pub(super) output: Vec<u8>,
    /// Queries since it was opened.
    queries: u64,
    asked: Vec<Asked>,
    /// How many of these are wanted.
    wanted: usize,
    /// Replies that have come.
    replies: u64,
    /// Exchanges given up since something came.
    given_up: u32,
    /// Since when nothing that was asked over it is wanted.
    idle_since: Option<Time>,
}

/// A query whose reply has not come.
struct Asked {
    id: u16,
    /// `None` once it is given up.
    exchange: Option<u64>,
}

/// The connection that carries an exchange, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    /// One that was there.
    Shared(u64),
    /// A new one, to be opened.
    New(u64),
}

impl Carrier {
    fn number(self) -> u64 {
        let (Carrier::Shared(number) | Carrier::New(number)) = self;
        number
    }
}

/// As many connections as allowed have as much to do as allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// What a reply is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// This exchange, which is over now.
    To(u64),
    /// An exchange that was given up.
    Late,
    /// Nothing that was asked over this connection.
    Unexpected,
}

/// What becomes of the exchanges of a connection that is gone, in the order in which they began.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    /// To begin anew, with [`Exchanges::again`].
    pub(super) again: Vec<u64>,
    /// Over.
    pub(super) failed: Vec<u64>,
}

impl Exchanges {
    /// Whether there is nothing whose time could come.
    pub(crate) fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Connections, and those that are being opened.
    pub(crate) fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Begins an exchange with the message `query`.
    pub(super) fn begin(
        &mut self,
        now: Time,
        exchange: u64,
        server: SocketAddr,
        query: &[u8],
    ) -> Result<Carrier, Full> {
        let length = u16::try_from(query.len()).expect("a message has a length of 16 bits");
        let framed = [&length.to_be_bytes(), query].concat().into_boxed_slice();
        let carrier = self.place(now, server, id_of(query).expect("a query of ours has an id"), false)?;
        let connection = carrier.number();
        let deadline = now + UPSTREAM_TCP_PATIENCE;
        let began = Exchange { server, connection, query: framed, deadline, joined_late: false, again: false };
        let former = self.exchanges.insert(exchange, began);
        assert!(former.is_none(), "the shard's marks of exchanges under way are unique");
        self.load(exchange, connection);
        Ok(carrier)
    }

    /// Begins an exchange anew that [`Exchanges::lose`] named, over a connection that has just been opened. After an
    /// error it is over.
    pub(super) fn again(&mut self, now: Time, exchange: u64) -> Result<Carrier, Full> {
        let moved = self.exchanges.get(&exchange).expect("an exchange that is to begin anew is under way");
        let id = id_of(&moved.query[2..]).expect("a query of ours has an id");
        let carrier =
            self.place(now, moved.server, id, true).inspect_err(|_| drop(self.exchanges.remove(&exchange)))?;
        let connection = carrier.number();
        let moved = self.exchanges.get_mut(&exchange).expect("it was there above");
        (moved.connection, moved.again) = (connection, true);
        self.load(exchange, connection);
        Ok(carrier)
    }

    /// Gives an exchange up, where it is under way: its reply is not wanted any more. True when that was the last that
    /// its connection was good for, which is closed.
    pub(super) fn give_up(&mut self, now: Time, exchange: u64) -> bool {
        let Some(Exchange { connection: number, .. }) = self.exchanges.remove(&exchange) else { return false };
        let connection = self.connections.get_mut(&number).expect("an exchange under way has a connection");
        let asked = connection.asked.iter_mut().find(|asked| asked.exchange == Some(exchange));
        asked.expect("its connection knows it").exchange = None;
        connection.given_up += 1;
        connection.less_wanted(now);
        let useless = connection.wanted == 0 && connection.is_silent();
        if useless {
            self.remove(number);
        }
        useless
    }

    /// A message with this id came over a connection; `None` where that is closed.
    pub(super) fn reply(&mut self, now: Time, number: u64, id: u16) -> Option<Reply> {
        let connection = self.connections.get_mut(&number)?;
        let Some(place) = connection.asked.iter().position(|asked| asked.id == id) else {
            return Some(Reply::Unexpected);
        };
        connection.replies += 1;
        connection.given_up = 0;
        let Some(exchange) = connection.asked.remove(place).exchange else { return Some(Reply::Late) };
        connection.less_wanted(now);
        let (server, spent) = (connection.server, connection.wanted == 0);
        let queries = connection.queries;
        self.exchanges.remove(&exchange).expect("an exchange that is wanted is under way");
        if spent && queries >= self.queries_max(now, server) {
            // It is good for nothing more.
            self.remove(number);
        }
        Some(Reply::To(exchange))
    }

    /// A connection is gone, or could not be had.
    pub(super) fn lose(&mut self, now: Time, number: u64) -> Lost {
        let mut lost = Lost::default();
        let Some(connection) = self.connections.get(&number) else { return lost };
        for exchange in connection.asked.iter().filter_map(|asked| asked.exchange) {
            let about = &self.exchanges[&exchange];
            if !about.again && (about.joined_late || connection.replies > 0) {
                lost.again.push(exchange);
            } else {
                lost.failed.push(exchange);
            }
        }
        let server = connection.server;
        let mut few = self.servers[&server].few;
        if connection.wanted > 0 && (1..UPSTREAM_TCP_PIPELINE_MAX as u64).contains(&connection.replies) {
            few = Some((connection.replies, now + UPSTREAM_TCP_FEW_SPAN));
        }
        for exchange in &lost.failed {
            self.exchanges.remove(exchange);
        }
        let gone = self.remove(number);
        if !lost.again.is_empty() {
            // While exchanges begin anew, what is known of the server is kept.
            self.servers.entry(server).or_default().few = few;
        }
        if let Some(reader) = gone.and_then(|connection| connection.reader) {
            // It may be the one that calls, and ends by itself in any case.
            reader.detach();
        }
        lost
    }

    /// The exchanges that have taken too long.
    pub(super) fn late(&self, now: Time) -> Vec<u64> {
        self.exchanges.iter().filter(|(_, exchange)| exchange.deadline <= now).map(|(number, _)| *number).collect()
    }

    /// Closes the connections that nobody has needed for a while; returns how many.
    pub(super) fn close_idle(&mut self, now: Time) -> usize {
        let is_idle =
            |connection: &Connection| connection.idle_since.is_some_and(|since| since + UPSTREAM_TCP_IDLE <= now);
        let idle: Vec<u64> =
            self.connections.iter().filter(|(_, connection)| is_idle(connection)).map(|(number, _)| *number).collect();
        idle.iter().for_each(|&number| drop(self.remove(number)));
        // Servers without a connection are forgotten, also those to which none could be opened anew.
        self.servers.retain(|_, server| !server.connections.is_empty());
        idle.len()
    }

    /// A connection, while it is there.
    pub(super) fn connection(&mut self, number: u64) -> Option<&mut Connection> {
        self.connections.get_mut(&number)
    }

    /// The connection that a query with this id goes over; `fresh`: one that is not established yet.
    fn place(&mut self, now: Time, server: SocketAddr, id: u16, fresh: bool) -> Result<Carrier, Full> {
        let queries_max = self.queries_max(now, server);
        let connections_max =
            if queries_max == u64::MAX { UPSTREAM_TCP_A_SERVER_MAX } else { UPSTREAM_TCP_FEW_SERVER_MAX };
        let connections = self.servers.get(&server).map_or(&[][..], |known| &known.connections);
        let may_open = connections.len() < connections_max;
        let least = connections
            .iter()
            .map(|number| (&self.connections[number], *number))
            .filter(|(connection, _)| {
                connection.asked.len() < UPSTREAM_TCP_PIPELINE_MAX
                    && connection.queries < queries_max
                    && !(fresh && connection.stream.is_some())
                    && !connection.is_silent()
                    && connection.asked.iter().all(|asked| asked.id != id)
            })
            .map(|(connection, number)| (connection.asked.len(), number))
            .min();
        match least {
            Some((load, number)) if load < UPSTREAM_TCP_BUSY => Ok(Carrier::Shared(number)),
            _ if may_open && self.has_room() => Ok(Carrier::New(self.open(server))),
            Some((_, number)) => Ok(Carrier::Shared(number)),
            None => Err(Full),
        }
    }

    /// How many queries one connection to a server may have.
    fn queries_max(&self, now: Time, server: SocketAddr) -> u64 {
        match self.servers.get(&server).and_then(|known| known.few) {
            Some((few, until)) if now < until => few,
            _ => u64::MAX,
        }
    }

    /// Whether one more connection may be opened; the one that has been idle longest is closed for it.
    fn has_room(&mut self) -> bool {
        if self.connections.len() < UPSTREAM_TCP_MAX {
            return true;
        }
        let idle = self.connections.iter().filter_map(|(number, connection)| Some((connection.idle_since?, *number)));
        let Some((_, number)) = idle.min() else { return false };
        self.remove(number);
        true
    }

    fn open(&mut self, server: SocketAddr) -> u64 {
        self.opened += 1;
        let connection = Connection {
            server,
            stream: None,
            reader: None,
            writer: None,
            output: Vec::new(),
            queries: 0,
            asked: Vec::new(),
            wanted: 0,
            replies: 0,
            given_up: 0,
            idle_since: None,
        };
        self.connections.insert(self.opened, connection);
        self.servers.entry(server).or_default().connections.push(self.opened);
        self.opened
    }

    /// Queues the query of an exchange on a connection.
    fn load(&mut self, number: u64, carrier: u64) {
        let exchange = self.exchanges.get_mut(&number).expect("the caller has put it there");
        let connection = self.connections.get_mut(&carrier).expect("the caller has found it");
        exchange.joined_late = connection.stream.is_some();
        let id = id_of(&exchange.query[2..]).expect("a query of ours has an id");
        connection.output.extend_from_slice(&exchange.query);
        connection.queries += 1;
        connection.asked.push(Asked { id, exchange: Some(number) });
        connection.wanted += 1;
        connection.idle_since = None;
        self.dirty.push(carrier);
    }

    fn remove(&mut self, number: u64) -> Option<Connection> {
        let connection = self.connections.remove(&number)?;
        let server = self.servers.get_mut(&connection.server).expect("a server with a connection is known");
        server.connections.retain(|&other| other != number);
        if server.connections.is_empty() {
            self.servers.remove(&connection.server);
        }
        Some(connection)
    }
}

impl Connection {
    /// Whom it leads to.
    pub(super) fn server(&self) -> SocketAddr {
        self.server
    }

    /// Whether so many exchanges have been given up since something came that nothing more is to be expected.
    fn is_silent(&self) -> bool {
        self.given_up >= UPSTREAM_TCP_SILENT_MAX
    }

    fn less_wanted(&mut self, now: Time) {
        self.wanted -= 1;
        if self.wanted == 0 {
            self.idle_since = Some(now);
        }
    }
}

/// The id of a message; `None` where it is too short for one.
pub(super) fn id_of(message: &[u8]) -> Option<u16> {
    message.first_chunk().map(|id| u16::from_be_bytes(*id))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;

    const NOW: Time = Time::from_secs(100);

    /// Exchanges whose connections are established over one real stream, which none of these tests writes to.
    struct Bench {
        exchanges: Exchanges,
        stream: Rc<Stream>,
        _listener: TcpListener,
    }

    fn server(host: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, host as u8], 53 + (host >> 8)))
    }

    fn query(id: u16) -> [u8; 12] {
        let mut query = [0; 12];
        query[..2].copy_from_slice(&id.to_be_bytes());
        query
    }

    impl Bench {
        fn new() -> Bench {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            Bench { exchanges: Exchanges::default(), stream: Rc::new(Stream::over(socket)), _listener: listener }
        }

        /// Begins exchange `number` with the server of this host, its id being the number.
        fn begin(&mut self, host: u16, number: u16) -> Result<Carrier, Full> {
            self.exchanges.begin(NOW, number.into(), server(host), &query(number))
        }

        /// The same, where it must open a connection; the connection's number.
        fn open(&mut self, host: u16, number: u16) -> u64 {
            match self.begin(host, number) {
                Ok(Carrier::New(connection)) => connection,
                other => panic!("no new connection: {other:?}"),
            }
        }

        fn establish(&mut self, connection: u64) {
            self.exchanges.connection(connection).unwrap().stream = Some(self.stream.clone());
        }

        fn reply(&mut self, connection: u64, id: u16) -> Option<Reply> {
            self.exchanges.reply(NOW, connection, id)
        }

        fn check_empty(&self) {
            let Exchanges { exchanges, connections, servers, .. } = &self.exchanges;
            assert_eq!((exchanges.len(), connections.len(), servers.len()), (0, 0, 0));
        }
    }

    #[test]
    fn queries_share_connections_up_to_what_each_may_carry() {
        let mut bench = Bench::new();
        let first = bench.open(1, 0);
        for number in 1..UPSTREAM_TCP_BUSY as u16 {
            assert_eq!(bench.begin(1, number), Ok(Carrier::Shared(first)));
        }
        // Busy connections get company, as long as there may be more.
        let mut number = UPSTREAM_TCP_BUSY as u16;
        let mut opened = 1;
        let full = loop {
            match bench.begin(1, number) {
                Ok(Carrier::New(_)) => opened += 1,
                Ok(Carrier::Shared(_)) => {}
                Err(Full) => break usize::from(number),
            }
            number += 1;
        };
        assert_eq!((opened, full), (UPSTREAM_TCP_A_SERVER_MAX, UPSTREAM_TCP_A_SERVER_MAX * UPSTREAM_TCP_PIPELINE_MAX));
        assert!(bench.exchanges.connections.values().all(|connection| {
            connection.asked.len() == UPSTREAM_TCP_PIPELINE_MAX
                && connection.output.len() == UPSTREAM_TCP_PIPELINE_MAX * 14
                && connection.output[..2] == [0, 12]
        }));
        assert_eq!(bench.exchanges.exchanges.len(), full, "one that is refused leaves nothing");
        // A reply makes room, and another server has its own.
        assert_eq!(bench.reply(first, 3), Some(Reply::To(3)));
        assert_eq!(bench.begin(1, number), Ok(Carrier::Shared(first)));
        bench.open(2, number + 1);
    }

    #[test]
    fn an_id_that_is_on_its_way_takes_another_connection() {
        let mut bench = Bench::new();
        let first = bench.open(1, 7);
        let begin = |bench: &mut Bench, exchange| bench.exchanges.begin(NOW, exchange, server(1), &query(7));
        let Ok(Carrier::New(second)) = begin(&mut bench, 100) else { panic!("the id is taken") };
        assert_eq!(bench.reply(second, 7), Some(Reply::To(100)));
        assert_eq!(bench.reply(first, 7), Some(Reply::To(7)));
        for exchange in 200..200 + UPSTREAM_TCP_A_SERVER_MAX as u64 {
            assert!(begin(&mut bench, exchange).is_ok());
        }
        assert_eq!(begin(&mut bench, 300), Err(Full), "as many connections as ids alike");
    }

    #[test]
    fn a_reply_goes_to_its_exchange_and_to_no_other() {
        let mut bench = Bench::new();
        let connection = bench.open(1, 1);
        bench.establish(connection);
        bench.begin(1, 2).unwrap();
        assert_eq!(bench.reply(connection, 3), Some(Reply::Unexpected));
        assert!(!bench.exchanges.give_up(NOW, 1));
        assert!(!bench.exchanges.give_up(NOW, 1), "it is over");
        // The id of the one that was given up is not given out before its reply has come.
        assert!(matches!(bench.exchanges.begin(NOW, 9, server(1), &query(1)), Ok(Carrier::New(_))));
        assert_eq!(bench.reply(connection, 1), Some(Reply::Late));
        assert_eq!(bench.reply(connection, 1), Some(Reply::Unexpected));
        assert_eq!(bench.reply(connection, 2), Some(Reply::To(2)));
        assert_eq!(bench.reply(connection, 2), Some(Reply::Unexpected), "once");
        assert_eq!(bench.exchanges.lose(NOW, connection), Lost::default(), "nobody waits");
        assert_eq!(bench.reply(connection, 2), None);
    }

    #[test]
    fn a_connection_that_stays_silent_is_not_used_again() {
        let mut bench = Bench::new();
        let connection = bench.open(1, 1);
        bench.establish(connection);
        (2..=5).for_each(|number| assert_eq!(bench.begin(1, number), Ok(Carrier::Shared(connection))));
        bench.exchanges.give_up(NOW, 1);
        bench.exchanges.give_up(NOW, 2);
        assert_eq!(bench.reply(connection, 5), Some(Reply::To(5)), "one reply makes up for all that went before");
        bench.exchanges.give_up(NOW, 3);
        bench.begin(1, 6).unwrap();
        bench.begin(1, 7).unwrap();
        bench.exchanges.give_up(NOW, 6);
        assert_eq!(bench.begin(1, 8), Ok(Carrier::Shared(connection)), "twice is not enough");
        bench.exchanges.give_up(NOW, 8);
        let other = bench.open(1, 9);
        // It stays for those who still wait on it, and no longer.
        assert!(!bench.exchanges.give_up(NOW, 7));
        assert!(bench.exchanges.give_up(NOW, 4));
        assert!(bench.exchanges.connection(connection).is_none());
        assert!(bench.exchanges.connection(other).is_some());
    }

    #[test]
    fn an_exchange_begins_anew_once_where_a_connection_in_use_breaks() {
        let mut bench = Bench::new();
        let first = bench.open(1, 1);
        assert_eq!(
            bench.exchanges.lose(NOW, first),
            Lost { again: vec![], failed: vec![1] },
            "it could not be had at all"
        );
        bench.check_empty();

        let used = bench.open(1, 2);
        bench.establish(used);
        assert_eq!(bench.reply(used, 2), Some(Reply::To(2)));
        bench.begin(1, 3).unwrap();
        bench.begin(1, 4).unwrap();
        let other = bench.exchanges.begin(NOW, 5, server(1), &query(3)).unwrap();
        let Carrier::New(other) = other else { panic!("the id is taken") };
        bench.establish(other);
        assert_eq!(bench.exchanges.lose(NOW, used), Lost { again: vec![3, 4], failed: vec![] });
        let Ok(Carrier::New(fresh)) = bench.exchanges.again(NOW, 3) else { panic!("none but a fresh one") };
        assert_eq!(
            bench.exchanges.again(NOW, 4),
            Ok(Carrier::New(fresh + 1)),
            "this server is asked one at a time now"
        );
        assert_eq!(bench.exchanges.connection(fresh).unwrap().output, [&[0, 12], &query(3)[..]].concat());
        bench.establish(fresh);
        assert_eq!(bench.reply(fresh, 3), Some(Reply::To(3)));
        assert_eq!(bench.exchanges.lose(NOW, fresh + 1), Lost { again: vec![], failed: vec![4] }, "once");
        assert_eq!(bench.exchanges.lose(NOW, other), Lost { again: vec![], failed: vec![5] }, "nothing came over it");
    }

    #[test]
    fn one_that_joined_late_is_not_lost_with_a_connection_that_never_answered() {
        let mut bench = Bench::new();
        let connection = bench.open(1, 1);
        bench.establish(connection);
        bench.begin(1, 2).unwrap();
        assert_eq!(bench.exchanges.lose(NOW, connection), Lost { again: vec![2], failed: vec![1] });
        let fresh = bench.exchanges.again(NOW, 2).unwrap();
        assert_eq!(bench.begin(1, 3), Ok(Carrier::Shared(fresh.number())), "several share the fresh one");
        bench.exchanges.give_up(NOW, 2);
        assert_eq!(bench.exchanges.lose(NOW, fresh.number()), Lost { again: vec![], failed: vec![3] });
        bench.check_empty();
    }

    #[test]
    fn a_server_that_closes_early_gets_few_queries_a_connection() {
        let mut bench = Bench::new();
        let connection = bench.open(1, 0);
        bench.establish(connection);
        (1..10).for_each(|number| assert_eq!(bench.begin(1, number), Ok(Carrier::Shared(connection))));
        (0..3).for_each(|id| assert_eq!(bench.reply(connection, id), Some(Reply::To(id.into()))));
        let lost = bench.exchanges.lose(NOW, connection);
        assert_eq!(lost.again, (3..10).collect::<Vec<_>>());
        let carriers: Vec<_> =
            lost.again.into_iter().map(|number| bench.exchanges.again(NOW, number).unwrap()).collect();
        let opened: Vec<u64> = (1..=3).map(|number| connection + number).collect();
        let expected = [(0, true), (0, false), (0, false), (1, true), (1, false), (1, false), (2, true)]
            .map(|(place, new)| if new { Carrier::New(opened[place]) } else { Carrier::Shared(opened[place]) });
        assert_eq!(carriers, expected, "three each");
        // The last of its queries answered, a connection is closed: this server would do so, too.
        (3..6).for_each(|id| assert_eq!(bench.reply(opened[0], id), Some(Reply::To(id.into()))));
        assert!(bench.exchanges.connection(opened[0]).is_none() && bench.exchanges.connection(opened[1]).is_some());
        // It is not believed for ever.
        let later = NOW + UPSTREAM_TCP_FEW_SPAN;
        (10..20).for_each(|number| {
            let carrier = bench.exchanges.begin(later, number, server(1), &query(number as u16)).unwrap();
            assert!(matches!(carrier, Carrier::Shared(_)));
        });
    }

    #[test]
    fn a_server_that_closes_after_each_reply_gets_one_query_a_connection() {
        let mut bench = Bench::new();
        let connection = bench.open(1, 0);
        bench.establish(connection);
        (1..10).for_each(|number| assert_eq!(bench.begin(1, number), Ok(Carrier::Shared(connection))));
        assert_eq!(bench.reply(connection, 0), Some(Reply::To(0)));
        let lost = bench.exchanges.lose(NOW, connection);
        assert_eq!(lost.again, (1..10).collect::<Vec<_>>());
        for exchange in lost.again {
            assert!(matches!(bench.exchanges.again(NOW, exchange), Ok(Carrier::New(_))));
        }
        let more = (10..=UPSTREAM_TCP_FEW_SERVER_MAX as u16)
            .all(|number| matches!(bench.begin(1, number), Ok(Carrier::New(_))));
        assert!(more);
        assert_eq!(bench.begin(1, 1_000), Err(Full));
        let connections: Vec<u64> = bench.exchanges.connections.keys().copied().collect();
        for connection in connections {
            bench.exchanges.lose(NOW, connection);
        }
        bench.check_empty();
    }

    #[test]
    fn where_all_connections_are_taken_an_idle_one_gives_way() {
        let mut bench = Bench::new();
        let connections: Vec<u64> = (0..UPSTREAM_TCP_MAX as u16).map(|host| bench.open(host, host)).collect();
        assert_eq!(bench.begin(1_000, 1_000), Err(Full));
        for (seconds, place) in [(2, 9), (1, 5), (3, 7)] {
            let now = NOW + Duration::from_secs(seconds);
            assert_eq!(bench.exchanges.reply(now, connections[place], place as u16), Some(Reply::To(place as u64)));
        }
        bench.open(1_001, 1_001);
        assert!(bench.exchanges.connection(connections[5]).is_none(), "the one that has been idle longest");
        assert_eq!(bench.exchanges.connections(), UPSTREAM_TCP_MAX);
        bench.open(1_002, 1_002);
        bench.open(1_003, 1_003);
        assert_eq!(bench.begin(1_004, 1_004), Err(Full));
        assert_eq!(bench.exchanges.servers.len(), UPSTREAM_TCP_MAX);
    }

    #[test]
    fn time_ends_exchanges_and_closes_connections() {
        let mut bench = Bench::new();
        let connection = bench.open(1, 1);
        bench.establish(connection);
        let late = NOW + UPSTREAM_TCP_PATIENCE;
        let early = NOW + (UPSTREAM_TCP_PATIENCE - Duration::from_millis(1));
        assert_eq!((bench.exchanges.late(early), bench.exchanges.late(late)), (vec![], vec![1]));
        assert_eq!(bench.exchanges.close_idle(late), 0, "somebody waits");
        bench.exchanges.give_up(late, 1);
        assert_eq!(bench.exchanges.close_idle(late + (UPSTREAM_TCP_IDLE - Duration::from_millis(1))), 0);
        assert_eq!(bench.exchanges.close_idle(late + UPSTREAM_TCP_IDLE), 1);
        assert!(bench.exchanges.is_empty());
        bench.check_empty();
    }
}
