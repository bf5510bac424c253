//! Messages as dnstap has them, in protocol buffers: the fields of its schema that are known here.

use std::net::{IpAddr, SocketAddr};

use prost::Message as _;
use ringdns_shard::Time;
use ringdns_shard::telemetry::Handed;
use ringdns_shard::telemetry::tap::{self, Kind};

use super::frames::Batch;

/// `Dnstap`, which carries everything.
#[derive(Clone, PartialEq, prost::Message)]
struct Envelope {
    #[prost(bytes = "vec", optional, tag = "1")]
    identity: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    version: Option<Vec<u8>>,
    #[prost(message, optional, tag = "14")]
    message: Option<Message>,
    /// `Type`.
    #[prost(int32, required, tag = "15")]
    kind: i32,
}

/// `Message`: one that came or went, with what surrounds it.
#[derive(Clone, PartialEq, prost::Message)]
struct Message {
    /// `Message.Type`.
    #[prost(int32, required, tag = "1")]
    kind: i32,
    #[prost(int32, optional, tag = "2")]
    socket_family: Option<i32>,
    #[prost(int32, optional, tag = "3")]
    socket_protocol: Option<i32>,
    /// Of whoever asks.
    #[prost(bytes = "vec", optional, tag = "4")]
    query_address: Option<Vec<u8>>,
    /// Of whoever is asked.
    #[prost(bytes = "vec", optional, tag = "5")]
    response_address: Option<Vec<u8>>,
    #[prost(uint32, optional, tag = "6")]
    query_port: Option<u32>,
    #[prost(uint32, optional, tag = "7")]
    response_port: Option<u32>,
    #[prost(uint64, optional, tag = "8")]
    query_time_sec: Option<u64>,
    #[prost(fixed32, optional, tag = "9")]
    query_time_nsec: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "10")]
    query_message: Option<Vec<u8>>,
    #[prost(uint64, optional, tag = "12")]
    response_time_sec: Option<u64>,
    #[prost(fixed32, optional, tag = "13")]
    response_time_nsec: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "14")]
    response_message: Option<Vec<u8>>,
}

/// `Dnstap.Type`: the only one there is.
const MESSAGE: i32 = 1;
/// `SocketFamily`.
const INET: i32 = 1;
const INET6: i32 = 2;
/// `SocketProtocol`.
const UDP: i32 = 1;
const TCP: i32 = 2;
/// `Message.Type`.
const RESOLVER_QUERY: i32 = 3;
const RESOLVER_RESPONSE: i32 = 4;
const CLIENT_QUERY: i32 = 5;
const CLIENT_RESPONSE: i32 = 6;
const FORWARDER_QUERY: i32 = 7;
const FORWARDER_RESPONSE: i32 = 8;

/// RD, in the third octet of a message.
const RECURSION_DESIRED: u8 = 0x01;

/// Writes messages.
#[derive(Debug)]
pub(super) struct Writer {
    envelope: Envelope,
    /// By listener.
    listeners: Vec<SocketAddr>,
}

/// What the clock of a core says in time of the day.
#[derive(Clone, Copy, Debug)]
struct Clock {
    now: Time,
    unix_micros: u64,
}

impl Writer {
    /// Messages of the server `identity`, where it has a name, which serves at `listeners`.
    pub(super) fn new(identity: &str, listeners: Vec<SocketAddr>) -> Writer {
        let identity = (!identity.is_empty()).then(|| identity.as_bytes().to_vec());
        let version = Some(concat!("ringdns ", env!("CARGO_PKG_VERSION")).as_bytes().to_vec());
        Writer { envelope: Envelope { identity, version, message: None, kind: MESSAGE }, listeners }
    }

    /// Appends a frame to `batch` for each message that was handed over.
    pub(super) fn write(&mut self, handed: &Handed<tap::Chunk>, batch: &mut Batch) {
        let clock = Clock { now: handed.now, unix_micros: handed.unix_micros };
        for tapped in handed.chunk.messages() {
            self.envelope.message = Some(self.message(&tapped, clock));
            batch.push(|out| self.envelope.encode(out).expect("memory grows as it must"));
        }
    }

    fn message(&self, tapped: &tap::Message<'_>, clock: Clock) -> Message {
        let octets = tapped.octets.to_vec();
        let is_response = matches!(tapped.kind, Kind::ClientResponse | Kind::UpstreamResponse);
        let (query_message, response_message) = if is_response { (None, Some(octets)) } else { (Some(octets), None) };
        let (asked, at) = (clock.of_day(tapped.asked), clock.of_day(tapped.at));
        let (address, port) = (Some(octets_of(tapped.peer.ip())), Some(u32::from(tapped.peer.port())));
        let mut message = Message {
            kind: kind(tapped),
            socket_family: Some(if tapped.peer.is_ipv4() { INET } else { INET6 }),
            socket_protocol: Some(if tapped.tcp { TCP } else { UDP }),
            query_time_sec: Some(asked.0),
            query_time_nsec: Some(asked.1),
            query_message,
            response_time_sec: is_response.then_some(at.0),
            response_time_nsec: is_response.then_some(at.1),
            response_message,
            ..Message::default()
        };
        if matches!(tapped.kind, Kind::ClientQuery | Kind::ClientResponse) {
            (message.query_address, message.query_port) = (address, port);
            let listener = self.listeners.get(usize::from(tapped.listener));
            let ours = tapped.local.or_else(|| Some(listener?.ip()).filter(|ip| !ip.is_unspecified()));
            message.response_address = ours.map(octets_of);
            message.response_port = listener.map(|listener| u32::from(listener.port())).filter(|&port| port != 0);
        } else {
            (message.response_address, message.response_port) = (address, port);
            message.query_address = tapped.local.map(octets_of);
        }
        message
    }
}

impl Clock {
    /// Seconds since the beginning of 1970, and nanoseconds.
    fn of_day(self, time: Time) -> (u64, u32) {
        let micros = if time > self.now {
            self.unix_micros.saturating_add(time.as_micros() - self.now.as_micros())
        } else {
            self.unix_micros.saturating_sub(self.now.as_micros() - time.as_micros())
        };
        (micros / 1_000_000, (micros % 1_000_000) as u32 * 1_000)
    }
}

/// `Message.Type`. Upstreams are asked with RD where they resolve for us, so that we are a forwarder to them, and without
/// it where they have the data; a response repeats it (RFC 1035 §4.1.1).
fn kind(tapped: &tap::Message<'_>) -> i32 {
    let forwards = tapped.octets.get(2).is_some_and(|flags| flags & RECURSION_DESIRED != 0);
    match tapped.kind {
        Kind::ClientQuery => CLIENT_QUERY,
        Kind::ClientResponse => CLIENT_RESPONSE,
        Kind::UpstreamQuery if forwards => FORWARDER_QUERY,
        Kind::UpstreamQuery => RESOLVER_QUERY,
        Kind::UpstreamResponse if forwards => FORWARDER_RESPONSE,
        Kind::UpstreamResponse => RESOLVER_RESPONSE,
    }
}

fn octets_of(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use ringdns_shard::telemetry::tap::Tap;

    use super::*;

    /// A header alone: id 1, these flags in the first of their octets.
    fn header(flags: u8) -> [u8; 12] {
        [0, 1, flags, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    }

    fn tapped(octets: &[u8]) -> tap::Message<'_> {
        tap::Message {
            kind: Kind::ClientResponse,
            tcp: false,
            asked: Time::from_micros(10_000_000),
            at: Time::from_micros(10_250_000),
            peer: "192.0.2.7:4711".parse().unwrap(),
            local: None,
            listener: 1,
            octets,
        }
    }

    fn written(messages: &[tap::Message<'_>], listeners: &[&str]) -> Vec<Envelope> {
        let mut tap = Tap::default();
        messages.iter().for_each(|message| tap.push(message));
        let handed = Handed {
            core: 0,
            now: Time::from_micros(11_000_000),
            unix_micros: 1_700_000_000_500_000,
            chunk: tap.take().unwrap(),
        };
        let mut batch = Batch::default();
        let listeners = listeners.iter().map(|address| address.parse().unwrap()).collect();
        Writer::new("ns1", listeners).write(&handed, &mut batch);
        let mut rest = batch.as_octets();
        let mut envelopes = Vec::new();
        while let Some((length, after)) = rest.split_first_chunk() {
            let (frame, after) = after.split_at(u32::from_be_bytes(*length) as usize);
            envelopes.push(Envelope::decode(frame).unwrap());
            rest = after;
        }
        envelopes
    }

    #[test]
    fn a_response_to_a_client_tells_both_sides_and_both_times() {
        let octets = header(0x81);
        let [envelope] = &written(&[tapped(&octets)], &["192.0.2.1:53", "192.0.2.1:5353"])[..] else { panic!() };
        assert_eq!((envelope.kind, envelope.identity.as_deref()), (MESSAGE, Some(&b"ns1"[..])));
        assert!(envelope.version.as_ref().unwrap().starts_with(b"ringdns "));
        let expected = Message {
            kind: CLIENT_RESPONSE,
            socket_family: Some(INET),
            socket_protocol: Some(UDP),
            query_address: Some(vec![192, 0, 2, 7]),
            query_port: Some(4711),
            response_address: Some(vec![192, 0, 2, 1]),
            response_port: Some(5353),
            query_time_sec: Some(1_699_999_999),
            query_time_nsec: Some(500_000_000),
            query_message: None,
            response_time_sec: Some(1_699_999_999),
            response_time_nsec: Some(750_000_000),
            response_message: Some(octets.to_vec()),
        };
        assert_eq!(envelope.message.as_ref(), Some(&expected));
    }

    #[test]
    fn the_address_asked_is_the_packets_where_the_listener_has_all() {
        let octets = header(0x01);
        let local = Some("2001:db8::1".parse().unwrap());
        let peer = "[2001:db8::7]:4711".parse().unwrap();
        let query = tap::Message { kind: Kind::ClientQuery, tcp: true, local, peer, ..tapped(&octets) };
        let unknown = tap::Message { local: None, ..query };
        let stranger = tap::Message { listener: 9, local: None, ..query };
        let envelopes = written(&[query, unknown, stranger], &["[::]:0", "[::]:53"]);
        let messages: Vec<&Message> = envelopes.iter().map(|envelope| envelope.message.as_ref().unwrap()).collect();
        let first = messages[0];
        assert_eq!((first.kind, first.socket_family, first.socket_protocol), (CLIENT_QUERY, Some(INET6), Some(TCP)));
        assert_eq!(first.response_address.as_ref().map(|address| address[15]), Some(1));
        assert_eq!((first.query_message.as_deref(), &first.response_message), (Some(&octets[..]), &None));
        assert_eq!((first.response_time_sec, first.response_port), (None, Some(53)));
        assert_eq!((&messages[1].response_address, messages[1].response_port), (&None, Some(53)));
        assert_eq!((&messages[2].response_address, messages[2].response_port), (&None, None));
    }

    #[test]
    fn what_we_are_to_an_upstream_says_recursion_desired() {
        let (with, without) = (header(0x01), header(0x80));
        let message = |kind, octets| tap::Message { kind, ..tapped(octets) };
        let messages = [
            message(Kind::UpstreamQuery, &with[..]),
            message(Kind::UpstreamResponse, &with[..]),
            message(Kind::UpstreamQuery, &without[..]),
            message(Kind::UpstreamResponse, &without[..]),
            message(Kind::UpstreamResponse, b""),
        ];
        let envelopes = written(&messages, &["192.0.2.1:53", "192.0.2.1:53"]);
        let kinds: Vec<i32> = envelopes.iter().map(|envelope| envelope.message.as_ref().unwrap().kind).collect();
        assert_eq!(kinds, [FORWARDER_QUERY, FORWARDER_RESPONSE, RESOLVER_QUERY, RESOLVER_RESPONSE, RESOLVER_RESPONSE]);
        let first = envelopes[0].message.as_ref().unwrap();
        assert_eq!((first.response_port, &first.query_address, first.query_port), (Some(4711), &None, None));
    }

    #[test]
    fn times_before_the_beginning_and_beyond_now_are_none_that_overflow() {
        let clock = Clock { now: Time::from_micros(5), unix_micros: 3 };
        assert_eq!(clock.of_day(Time::ZERO), (0, 0));
        assert_eq!(clock.of_day(Time::from_micros(6)), (0, 4_000));
        assert_eq!(
            Clock { unix_micros: u64::MAX, ..clock }.of_day(Time::from_micros(u64::MAX)).0,
            u64::MAX / 1_000_000
        );
    }
}
