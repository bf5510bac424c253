//! The messages of a client, octet by octet, and replies read with the `domain` crate: nothing of the engine's own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

use domain::base::iana::Rtype;
use domain::base::opt::ExtendedError;
use domain::base::{Message, Name, ParsedName, Record};
use domain::rdata::AllRecordData;

use super::PATIENCE;

pub(crate) const NOERROR: u16 = 0;
pub(crate) const FORMERR: u16 = 1;
pub(crate) const SERVFAIL: u16 = 2;
pub(crate) const NXDOMAIN: u16 = 3;
pub(crate) const NOTIMP: u16 = 4;
pub(crate) const REFUSED: u16 = 5;
pub(crate) const NOTAUTH: u16 = 9;
pub(crate) const BADVERS: u16 = 16;

/// Extended DNS errors (RFC 8914 §4).
pub(crate) const EDE_STALE_ANSWER: u16 = 3;
pub(crate) const EDE_PROHIBITED: u16 = 18;
pub(crate) const EDE_NO_REACHABLE_AUTHORITY: u16 = 22;
pub(crate) const EDE_NETWORK_ERROR: u16 = 23;

/// Octets of a header.
pub(crate) const HEADER: usize = 12;

/// The two ways to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    Udp,
    Tcp,
}

pub(crate) const BOTH: [Via; 2] = [Via::Udp, Via::Tcp];

/// A question in class IN, with RD set and an id of its own.
pub(crate) fn query(name: &str, rtype: &str) -> Vec<u8> {
    static NEXT_ID: AtomicU16 = AtomicU16::new(1);
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let mut octets = vec![id[0], id[1], 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    octets.extend(wire(name));
    octets.extend(rtype.parse::<Rtype>().expect("a type").to_int().to_be_bytes());
    octets.extend([0, 1]);
    octets
}

/// The same with an OPT record of this version, 1,232 octets offered.
pub(crate) fn with_edns(mut query: Vec<u8>, version: u8) -> Vec<u8> {
    query[11] += 1;
    query.extend([0, 0, 41, 4, 208, 0, version, 0, 0, 0, 0]);
    query
}

/// A name on the wire.
pub(crate) fn wire(name: &str) -> Vec<u8> {
    name.parse::<Name<Vec<u8>>>().expect("a name").into_octets()
}

type ParsedRecord<'a> = Record<ParsedName<&'a [u8]>, AllRecordData<&'a [u8], ParsedName<&'a [u8]>>>;

/// A reply that was read whole.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) octets: Vec<u8>,
    message: Message<Vec<u8>>,
}

impl Reply {
    #[track_caller]
    pub(crate) fn read(octets: Vec<u8>) -> Reply {
        let message = Message::from_octets(octets.clone()).expect("a header");
        let reply = Reply { octets, message };
        // Whatever is not looked at below parses all the same.
        for section in 1..=3 {
            reply.records(section);
        }
        reply
    }

    /// With the upper bits from OPT.
    pub(crate) fn rcode(&self) -> u16 {
        self.message.opt_rcode().to_int()
    }

    pub(crate) fn opcode(&self) -> u8 {
        self.message.header().opcode().to_int()
    }

    pub(crate) fn is_authoritative(&self) -> bool {
        self.message.header().aa()
    }

    pub(crate) fn is_truncated(&self) -> bool {
        self.message.header().tc()
    }

    /// `NAME TYPE` of the question in the spelling that came, empty where there is none.
    pub(crate) fn question(&self) -> String {
        match self.message.first_question() {
            Some(question) => format!("{} {}", question.qname(), question.qtype()),
            None => String::new(),
        }
    }

    /// `OWNER TTL CLASS TYPE DATA` of the records in the answer section, in their order.
    pub(crate) fn answer(&self) -> Vec<String> {
        self.records(1)
    }

    pub(crate) fn authority(&self) -> Vec<String> {
        self.records(2)
    }

    /// Without OPT.
    pub(crate) fn additional(&self) -> Vec<String> {
        self.records(3)
    }

    /// Sections and codes, without what may differ between servers that say the same: id, TTL, order, letters' case.
    pub(crate) fn content(&self) -> (u16, Vec<String>, Vec<String>) {
        let bare = |records: Vec<String>| {
            let without_ttl = |record: String| {
                let mut fields: Vec<&str> = record.split(' ').collect();
                fields.remove(1);
                fields.join(" ").to_ascii_lowercase()
            };
            let mut records: Vec<String> = records.into_iter().map(without_ttl).collect();
            records.sort_unstable();
            records
        };
        (self.rcode(), bare(self.answer()), bare(self.authority()))
    }

    /// The TTL of the first record in the answer section.
    #[track_caller]
    pub(crate) fn ttl(&self) -> u32 {
        let answer = self.answer();
        let record = answer.first().expect("an answer");
        record.split(' ').nth(1).and_then(|ttl| ttl.parse().ok()).expect("a TTL")
    }

    /// Whether there is an OPT record, and its version.
    pub(crate) fn edns(&self) -> Option<u8> {
        self.message.opt().map(|opt| opt.version())
    }

    /// The extended error, where there is one.
    pub(crate) fn ede(&self) -> Option<u16> {
        let opt = self.message.opt()?;
        let mut errors = opt.opt().iter::<ExtendedError<_>>();
        errors.next().map(|error| error.expect("an option that parses").code().to_int())
    }

    #[track_caller]
    fn records(&self, section: usize) -> Vec<String> {
        let mut sections = self.message.answer().expect("a question that parses");
        for _ in 1..section {
            sections = sections.next_section().expect("records that parse").expect("another section");
        }
        let records = sections.limit_to::<AllRecordData<_, ParsedName<_>>>();
        let shown = |record: ParsedRecord<'_>| {
            let (owner, ttl, class) = (record.owner(), record.ttl().as_secs(), record.class());
            let dot = if owner.is_root() { "" } else { "." };
            format!("{owner}{dot} {ttl} {class} {} {}", record.rtype(), record.data())
        };
        let records = records.map(|record| record.expect("a record that parses"));
        records.filter(|record| record.rtype() != Rtype::OPT).map(shown).collect()
    }
}

/// A socket towards `server`, with time-outs.
pub(crate) fn udp_socket(server: SocketAddr) -> UdpSocket {
    let local: SocketAddr = if server.is_ipv4() { ([127, 0, 0, 1], 0).into() } else { "[::1]:0".parse().unwrap() };
    let socket = UdpSocket::bind(local).expect("a socket");
    socket.connect(server).expect("an address of this machine");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    socket
}

/// A connection to `server`, with time-outs.
pub(crate) fn connection(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&server, PATIENCE).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream.set_write_timeout(Some(PATIENCE)).expect("a time-out");
    stream.set_nodelay(true).expect("an option");
    stream
}

/// The reply to `query`, which must come.
#[track_caller]
pub(crate) fn ask(server: SocketAddr, via: Via, query: &[u8]) -> Reply {
    let octets = match via {
        Via::Udp => {
            let socket = udp_socket(server);
            socket.send(query).expect("it is sent");
            receive(&socket)
        }
        Via::Tcp => {
            let mut stream = connection(server);
            stream.write_all(&framed(query)).expect("it is sent");
            read_frame(&mut stream).expect("a reply before the end")
        }
    };
    let reply = Reply::read(octets);
    assert_eq!(reply.octets[..2], query[..2], "the reply is to another query");
    reply
}

#[track_caller]
pub(crate) fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 65_535];
    let length = socket.recv(&mut buffer).expect("a reply in time");
    buffer.truncate(length);
    buffer
}

/// With its length before it (RFC 1035 §4.2.2).
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes(), message].concat()
}

/// The next message of a connection; `None` at its end, however it ends.
#[track_caller]
pub(crate) fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    let mut message = Vec::new();
    let read = stream.read_exact(&mut length).and_then(|()| {
        message.resize(usize::from(u16::from_be_bytes(length)), 0);
        stream.read_exact(&mut message)
    });
    match read {
        Ok(()) => Some(message),
        Err(error) => {
            assert!(
                !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut),
                "neither a message nor the connection's end within {PATIENCE:?}"
            );
            None
        }
    }
}
