//! Who has how many connections, and how many one client may have.
//!
//! A client is an IPv4 address, or the first 64 bits of an IPv6 address: whoever has one address of such a network has
//! all of them. The cap is generous while there is room for everybody and tightens as the slots fill, so that nobody
//! shuts the others out: not by opening connections, and not by keeping them.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};

use crate::limits::{TCP_CLIENT_FEW, TCP_CLIENT_SHARE};

/// The open connections by client, in the order of their opening. As many entries as there are clients connected, so at
/// most as many as connections.
#[derive(Debug, Default)]
pub(super) struct Clients {
    open: HashMap<IpAddr, Vec<u32>>,
    /// The same clients by how many they have.
    by_count: BTreeSet<(usize, IpAddr)>,
}

/// The client that an address belongs to.
pub(super) fn client_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & u128::MAX << 64)),
    }
}

/// How many connections one client may have while `open` of `open_max` are: a share of all up to one half, then evenly
/// fewer, a few when all are.
pub(super) fn cap(open: usize, open_max: usize) -> usize {
    let generous = (open_max / TCP_CLIENT_SHARE).max(TCP_CLIENT_FEW);
    let half = open_max / 2;
    if open <= half {
        return generous;
    }
    let left = open_max.saturating_sub(open);
    TCP_CLIENT_FEW + (generous - TCP_CLIENT_FEW) * left / (open_max - half)
}

impl Clients {
    /// The connection at `place` is open now.
    pub(super) fn insert(&mut self, client: IpAddr, place: u32) {
        let places = self.open.entry(client).or_default();
        self.by_count.remove(&(places.len(), client));
        places.push(place);
        self.by_count.insert((places.len(), client));
    }

    /// The connection at `place` is closed.
    pub(super) fn remove(&mut self, client: IpAddr, place: u32) {
        let places = self.open.get_mut(&client).expect("a client with a connection is known");
        self.by_count.remove(&(places.len(), client));
        let at = places.iter().position(|&other| other == place).expect("an open connection is its client's");
        places.remove(at);
        if places.is_empty() {
            self.open.remove(&client);
        } else {
            self.by_count.insert((places.len(), client));
        }
    }

    /// The connections of a client, the oldest first.
    pub(super) fn of(&self, client: IpAddr) -> &[u32] {
        self.open.get(&client).map_or(&[], Vec::as_slice)
    }

    /// The connections of a client that has the most.
    pub(super) fn most(&self) -> &[u32] {
        self.by_count.last().map_or(&[], |&(_, client)| self.of(client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cap_tightens_from_half_to_full() {
        let caps: Vec<usize> = [0, 250, 500, 501, 625, 750, 875, 1_000].map(|open| cap(open, 1_000)).into();
        assert_eq!(caps, [250, 250, 250, 249, 188, 127, 65, 4]);
        assert!((0..1_000).all(|open| cap(open, 1_000) >= cap(open + 1, 1_000)));
        // Where there are few slots the cap is what the slots leave.
        for open_max in 1..40 {
            assert!((0..=open_max).all(|open| cap(open, open_max) >= TCP_CLIENT_FEW), "{open_max}");
            assert_eq!(cap(open_max, open_max), TCP_CLIENT_FEW);
        }
    }

    #[test]
    fn a_network_of_64_bits_is_one_client() {
        let client = |text: &str| client_of(text.parse().unwrap());
        assert_eq!(client("2001:db8:1:2:3:4:5:6"), client("2001:db8:1:2::"));
        assert_ne!(client("2001:db8:1:2::1"), client("2001:db8:1:3::1"));
        assert_eq!(client("::ffff:192.0.2.1"), client("192.0.2.1"));
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
    }

    #[test]
    fn clients_are_known_while_they_have_connections() {
        let mut clients = Clients::default();
        let [one, two]: [IpAddr; 2] = ["192.0.2.1", "2001:db8::"].map(|text| text.parse().unwrap());
        assert_eq!(clients.most(), []);
        for place in [7, 3, 9] {
            clients.insert(one, place);
        }
        for place in [1, 2, 4, 8] {
            clients.insert(two, place);
        }
        assert_eq!((clients.of(one), clients.most()), (&[7, 3, 9][..], &[1, 2, 4, 8][..]));
        clients.remove(two, 2);
        clients.remove(two, 1);
        assert_eq!((clients.of(two), clients.most()), (&[4, 8][..], &[7, 3, 9][..]));
        for (client, place) in [(two, 4), (one, 7), (one, 9), (two, 8), (one, 3)] {
            clients.remove(client, place);
        }
        assert!(clients.open.is_empty() && clients.by_count.is_empty());
    }
}
