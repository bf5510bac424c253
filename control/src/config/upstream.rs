//! The forms of what an `[[upstream]]` is made of: its servers.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use ringdns_shard::upstream::Protocol;
use ringdns_shard::wire::name::{self, Name};

use super::form::{Form, quoted};
use super::schema::{Found, Reader};

/// A server of an `[[upstream]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamServer {
    /// How it is asked.
    pub protocol: Protocol,
    /// Where it is.
    pub host: Host,
    /// Its share where the strategy is "balanced", as far as the file says: 1 otherwise.
    pub weight: Option<u16>,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// At this address.
    Address(SocketAddr),
    /// At the addresses of this name, on this port.
    Name(Name, u16),
}

impl fmt::Display for UpstreamServer {
    /// As the file has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.protocol {
            Protocol::Udp => "udp",
            Protocol::Tcp => "tcp",
        };
        match &self.host {
            Host::Address(address) => write!(f, "{scheme}://{address}")?,
            Host::Name(name, port) => {
                let name = name.to_string();
                write!(f, "{scheme}://{}:{port}", name.trim_end_matches('.'))?;
            }
        }
        self.weight.map_or(Ok(()), |weight| write!(f, " weight={weight}"))
    }
}

/// The form of [`UpstreamServer`].
pub(super) struct ServerForm;

/// Schemes of the documented contract that this version does not have.
const SCHEMES_LATER: [&str; 4] = ["tls", "https", "quic", "h3"];
const WEIGHT_MAX: u16 = 1_000;

impl Form for ServerForm {
    type Value = UpstreamServer;

    fn read(&self, reader: &mut Reader<'_>, found: Found<'_>) -> Option<UpstreamServer> {
        let Some((scheme, rest)) = found.get_ref().as_str().and_then(|text| text.split_once("://")) else {
            return reader.wrong(found, &self.accepts());
        };
        let protocol = match scheme {
            "udp" => Protocol::Udp,
            "tcp" => Protocol::Tcp,
            later if SCHEMES_LATER.contains(&later) => {
                return reader.later(found, &quoted(&format!("{later}://")), &self.accepts());
            }
            _ => return reader.wrong(found, &self.accepts()),
        };
        let mut words = rest.split_ascii_whitespace();
        let host = words.next().and_then(host);
        let weight = words.next().map(weight);
        match (host, weight, words.next()) {
            (Some(host), None, None) => Some(UpstreamServer { protocol, host, weight: None }),
            (Some(host), Some(Some(weight)), None) => Some(UpstreamServer { protocol, host, weight: Some(weight) }),
            _ => reader.wrong(found, &self.accepts()),
        }
    }

    fn accepts(&self) -> String {
        format!(
            "\"udp://\" or \"tcp://\" and an IP address or a host name with a port, as \"udp://192.0.2.1:53\", \
             \"tcp://[2001:db8::1]:53\" or \"udp://dns.example:53\", and behind it where the strategy is \"balanced\" a \
             weight from 1 to {WEIGHT_MAX}, as \"udp://192.0.2.1:53 weight=3\""
        )
    }

    fn write(&self, value: &UpstreamServer) -> String {
        quoted(&value.to_string())
    }
}

/// An address or a name, with a port.
fn host(text: &str) -> Option<Host> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        let ip = address.ip();
        return (address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast()).then_some(Host::Address(address));
    }
    let (name, port) = text.rsplit_once(':')?;
    // `u16` alone would take a sign.
    let port = Some(port).filter(|port| port.bytes().all(|octet| octet.is_ascii_digit()))?.parse::<u16>().ok()?;
    let name = host_name(name).filter(|_| port != 0)?;
    Some(Host::Name(name, port))
}

/// A name of letters, digits, hyphens and underscores that nobody can take for an address: its last label is no number
/// (RFC 1123 §2.1).
fn host_name(text: &str) -> Option<Name> {
    if text.parse::<Ipv4Addr>().is_ok() || text.parse::<Ipv6Addr>().is_ok() {
        return None;
    }
    let name = text.parse::<Name>().ok()?;
    let plain = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
    let labels = || name::labels(name.as_wire());
    let last = labels().last()?;
    (labels().all(|label| label.iter().all(plain)) && !last.iter().all(u8::is_ascii_digit)).then_some(name)
}

/// The weight in `weight=N`.
fn weight(word: &str) -> Option<u16> {
    let digits = word.strip_prefix("weight=")?;
    let weight = Some(digits).filter(|digits| digits.bytes().all(|octet| octet.is_ascii_digit()))?.parse().ok()?;
    (1..=WEIGHT_MAX).contains(&weight).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_addresses() {
        for (text, wire) in [
            ("dns.example:53", &b"\x03dns\x07example\0"[..]),
            ("DNS.Example.:53", b"\x03dns\x07example\0"),
            ("localhost:5353", b"\x09localhost\0"),
            ("8_ns-1.example:1", b"\x068_ns-1\x07example\0"),
        ] {
            let Some(Host::Name(name, port)) = host(text) else { panic!("{text}") };
            assert_eq!((name.as_wire(), text.ends_with(&format!(":{port}"))), (wire, true));
        }
        for text in ["192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%2]:53"] {
            assert!(matches!(host(text), Some(Host::Address(_))), "{text}");
        }
    }

    #[test]
    fn what_is_neither_is_refused() {
        for text in [
            "",
            ":53",
            ".:53",
            "dns.example",
            "dns.example:",
            "dns.example:0",
            "dns.example:65536",
            "dns.example:+53",
            "192.0.2.1",
            "192.0.2.1:0",
            "192.0.2.256:53",
            "192.0.2:53",
            "0.0.0.0:53",
            "[::]:53",
            "224.0.0.1:53",
            "2001:db8::1",
            "2001:db8::1:53",
            "[2001:db8::1]",
            "[dns.example]:53",
            "a..b:53",
            "dns/example:53",
            "dns\\046example:53",
            "a@dns.example:53",
            "dns.example:53:53",
            "\u{fc}.example:53",
        ] {
            assert_eq!(host(text), None, "{text}");
        }
        for word in ["weight=0", "weight=1001", "weight=", "weight=+1", "weight=1.5", "weight=99999", "Weight=1", "1"] {
            assert_eq!(weight(word), None, "{word}");
        }
        assert_eq!((weight("weight=1"), weight("weight=1000")), (Some(1), Some(1_000)));
    }

    #[test]
    fn what_is_written_reads_back() {
        for text in ["udp://192.0.2.1:53", "tcp://[2001:db8::1]:53 weight=1000", "udp://dns.example:53 weight=1"] {
            let (scheme, rest) = text.split_once("://").unwrap();
            let protocol = if scheme == "udp" { Protocol::Udp } else { Protocol::Tcp };
            let mut words = rest.split(' ');
            let server = UpstreamServer {
                protocol,
                host: host(words.next().unwrap()).unwrap(),
                weight: words.next().map(|word| weight(word).unwrap()),
            };
            assert_eq!(server.to_string(), text);
        }
    }
}
