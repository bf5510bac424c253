//! Who may ask, who has shown to be where it says, and how often: a network is answered, asks, or has a zone asked for.

pub mod budget;
mod cells;
pub mod cookie;
pub mod rate;
pub mod rrl;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A list of networks. IPv4-mapped IPv6 addresses count as IPv4.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acl {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

/// A network: an address and the number of leading bits that matter, as in `192.0.2.0/24`. An address alone is a
/// network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// Why a text is no network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadNetwork(String);

impl fmt::Display for BadNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadNetwork {}

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Network, BadNetwork> {
        let bad =
            |why: &str| BadNetwork(format!("`{text}` is no network: {why}; write it as 192.0.2.0/24 or 2001:db8::/32"));
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| bad("the address does not parse"))?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => longest,
            Some(bits) => match bits.parse::<u8>() {
                Ok(bits) if bits <= longest => bits,
                _ => return Err(bad(&format!("the prefix length must be 0 to {longest}"))),
            },
        };
        let network = Network { address, bits };
        if network.host_bits_set() {
            return Err(bad("it has bits set beyond the prefix length"));
        }
        Ok(network)
    }
}

impl fmt::Display for Network {
    /// A network of one address is written as the address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let longest = if self.address.is_ipv4() { 32 } else { 128 };
        match self.bits {
            bits if bits == longest => self.address.fmt(f),
            bits => write!(f, "{}/{bits}", self.address),
        }
    }
}

impl Network {
    /// Whether `address` is in the network. IPv4-mapped IPv6 addresses count as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => u32::from(address) & mask_v4(self.bits) == u32::from(network),
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                u128::from(address) & mask_v6(self.bits) == u128::from(network)
            }
            _ => false,
        }
    }

    /// The lowest and the highest address in it.
    pub fn ends(&self) -> (IpAddr, IpAddr) {
        let highest = match self.address {
            IpAddr::V4(address) => IpAddr::from((u32::from(address) | !mask_v4(self.bits)).to_be_bytes()),
            IpAddr::V6(address) => IpAddr::from((u128::from(address) | !mask_v6(self.bits)).to_be_bytes()),
        };
        (self.address, highest)
    }

    fn host_bits_set(&self) -> bool {
        match self.address {
            IpAddr::V4(address) => u32::from(address) & !mask_v4(self.bits) != 0,
            IpAddr::V6(address) => u128::from(address) & !mask_v6(self.bits) != 0,
        }
    }
}

fn mask_v4(bits: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0)
}

fn mask_v6(bits: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}

impl FromIterator<Network> for Acl {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Acl {
        let mut acl = Acl::default();
        for network in networks {
            match network.address {
                IpAddr::V4(address) => acl.v4.push((u32::from(address), mask_v4(network.bits))),
                IpAddr::V6(address) => acl.v6.push((u128::from(address), mask_v6(network.bits))),
            }
        }
        acl
    }
}

impl Acl {
    /// Loopback and the private networks: IPv4 loopback, RFC 1918 and link-local; IPv6 loopback, unique local
    /// (RFC 4193) and link-local.
    pub fn local_and_private() -> Acl {
        [
            "127.0.0.0/8",
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "169.254.0.0/16",
            "::1/128",
            "fc00::/7",
            "fe80::/10",
        ]
        .into_iter()
        .map(|text| text.parse::<Network>().expect("a constant of ours parses"))
        .collect()
    }

    /// Whether `address` is in one of the networks.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let address = u32::from(address);
                self.v4.iter().any(|&(network, mask)| address & mask == network)
            }
            IpAddr::V6(address) => {
                let address = u128::from(address);
                self.v6.iter().any(|&(network, mask)| address & mask == network)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_what_they_say() {
        let acl: Acl =
            ["192.0.2.0/25", "2001:db8::/33", "198.51.100.7"].iter().map(|t| t.parse::<Network>().unwrap()).collect();
        for (address, inside) in [
            ("192.0.2.127", true),
            ("192.0.2.128", false),
            ("::ffff:192.0.2.1", true),
            ("198.51.100.7", true),
            ("198.51.100.8", false),
            ("2001:db8:7fff::1", true),
            ("2001:db8:8000::1", false),
        ] {
            assert_eq!(acl.contains(address.parse().unwrap()), inside, "{address}");
            let alone = ["192.0.2.0/25", "2001:db8::/33", "198.51.100.7"].map(|t| t.parse::<Network>().unwrap());
            assert_eq!(alone.iter().any(|n| n.contains(address.parse().unwrap())), inside, "{address}");
        }
        let all: Acl = ["0.0.0.0/0", "::/0"].iter().map(|t| t.parse::<Network>().unwrap()).collect();
        assert!(all.contains("203.0.113.9".parse().unwrap()) && all.contains("2001:db8::9".parse().unwrap()));
        assert!(!Acl::default().contains("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn a_network_has_two_ends() {
        for (network, first, last) in [
            ("192.0.2.0/25", "192.0.2.0", "192.0.2.127"),
            ("198.51.100.7", "198.51.100.7", "198.51.100.7"),
            ("0.0.0.0/0", "0.0.0.0", "255.255.255.255"),
            ("2001:db8::/33", "2001:db8::", "2001:db8:7fff:ffff:ffff:ffff:ffff:ffff"),
        ] {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.ends(), (first.parse().unwrap(), last.parse().unwrap()));
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "192.0.2.1/33", "192.0.2.1/24", "::1/129", "host", "192.0.2.0/x", "2001:db8::1/32"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
