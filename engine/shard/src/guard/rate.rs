//! Query rates: how often the clients of one network may ask, whatever they ask for.
//!
//! Owns the table of who asked, and the verdict; writes nothing and knows no message. Where [`rrl`](super::rrl) keeps
//! this server from being used against others, this keeps busy clients from taking it from the others. Each prefix length
//! that is configured for the asker's family is looked at, as dnsdist's dynamic blocks and Knot's table do, and a query
//! counts for all of them or, where one is at its bound, for none: so a network at its bound is answered at that bound,
//! and not silenced for as long as it goes on asking.
//!
//! **An address that anybody can write** counts apart from one that is the asker's own ([`Address`]): queries forged in
//! a network's name take nothing from those of its clients that come over TCP or with a valid DNS cookie. So a prefix
//! may have its rate twice, once for each.
//!
//! **What is told to those above the rate** is the [`Action`]. `Truncate` sends real clients to TCP, where their address is
//! proven; who has shown that already is refused, for another proof would change nothing: busy is who asks, not who
//! is forged.
//!
//! **How it is asked.** Once for every request, before anything is looked up for it:
//!
//! ```text
//! let address = if over TCP, or signed and verified, or cookie.is_proof() { Address::Proven } else { Address::Claimed };
//! match limiter.verdict(now, peer, address, counters) {
//!     Within => go on,
//!     Drop => silence,
//!     Truncate => the empty reply with TC (with the cookie, so that the client may stay with UDP next time),
//!     Refuse => REFUSED with the extended error Prohibited,
//! }
//! ```
//!
//! For a request that does not parse, [`Limiter::is_within`] is asked before FORMERR or NOTIMP is written. Nothing needs to be counted by the caller.

use std::net::IpAddr;

use smallvec::SmallVec;

use super::Acl;
use super::cells::{Cells, Rate};
use crate::telemetry::Counters;
use crate::time::Time;

/// Settings of the limit, for one core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What makes clients one, and how often those may ask.
    pub prefixes: Vec<Prefix>,
    /// What is told to those above a rate.
    pub action: Action,
    /// Everybody is answered, and who would not have been is counted.
    pub dry_run: bool,
    /// Clients that are not counted.
    pub exempt: Acl,
    /// Slots, eight octets each; taken up to a power of two, at most [`CELLS_MAX`](crate::limits::CELLS_MAX).
    pub entries: usize,
}

/// One prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// The addresses meant.
    pub family: Family,
    /// Leading bits of an address that make clients one.
    pub bits: u8,
    /// Queries a second to this core; as many at once.
    pub qps: u32,
}

/// A family of addresses. IPv4-mapped IPv6 addresses count as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the family of its name")]
pub enum Family {
    Ipv4,
    Ipv6,
}

/// What is told to those above a rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    #[default]
    Drop,
    /// To come again over TCP; REFUSED where the address is proven.
    Truncate,
    /// REFUSED.
    Refuse,
}

/// Whose an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// It stands in a datagram, and anybody may have written it.
    Claimed,
    /// The asker's own: it asks over TCP, with a valid cookie, or signed.
    Proven,
}

/// What becomes of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is answered.
    Within,
    /// Nothing is sent.
    Drop,
    /// The reply is empty and has TC.
    Truncate,
    /// The reply is REFUSED.
    Refuse,
}

/// A prefix length, made ready.
#[derive(Clone, Copy, Debug)]
struct Length {
    mask: u128,
    /// Tells the buckets of this length and family from others.
    mark: u64,
    rate: Rate,
}

type Lengths = SmallVec<[Length; 2]>;

/// The table of one core, and what it is asked with.
#[derive(Debug)]
pub struct Limiter {
    cells: Cells,
    v4: Lengths,
    v6: Lengths,
    action: Action,
    dry_run: bool,
    exempt: Acl,
}

impl Limiter {
    /// An empty table; none where there are no rates. `seed` must be unpredictable to others.
    pub fn new(settings: &Settings, seed: [u8; 16]) -> Option<Limiter> {
        if settings.prefixes.is_empty() {
            return None;
        }
        let of = |family: Family| {
            let prefixes = settings.prefixes.iter().filter(|prefix| prefix.family == family);
            prefixes.map(Length::new).collect()
        };
        Some(Limiter {
            cells: Cells::new(settings.entries, seed),
            v4: of(Family::Ipv4),
            v6: of(Family::Ipv6),
            action: settings.action,
            dry_run: settings.dry_run,
            exempt: settings.exempt.clone(),
        })
    }

    /// What becomes of a query from `peer`; it is counted.
    #[inline]
    pub fn verdict(&mut self, now: Time, peer: IpAddr, address: Address, counters: &mut Counters) -> Verdict {
        if self.lets_pass(now, peer, address, counters) {
            return Verdict::Within;
        }
        let (verdict, counter) = match (self.action, address) {
            (Action::Drop, _) => (Verdict::Drop, &mut counters.rate_dropped),
            (Action::Truncate, Address::Claimed) => (Verdict::Truncate, &mut counters.rate_truncated),
            (Action::Truncate, Address::Proven) | (Action::Refuse, _) => (Verdict::Refuse, &mut counters.rate_refused),
        };
        *counter += 1;
        verdict
    }

    /// Whether there is a reply to what does not parse: there is none above the rate, whatever the action.
    pub fn is_within(&mut self, now: Time, peer: IpAddr, address: Address, counters: &mut Counters) -> bool {
        let within = self.lets_pass(now, peer, address, counters);
        counters.rate_dropped += u64::from(!within);
        within
    }

    #[inline]
    fn lets_pass(&mut self, now: Time, peer: IpAddr, address: Address, counters: &mut Counters) -> bool {
        if self.exempt.contains(peer) || self.admits(now, peer, address, counters) {
            return true;
        }
        counters.rate_dry_run += u64::from(self.dry_run);
        self.dry_run
    }

    /// Charges the buckets of all lengths, or none where one of them does not hold as much.
    #[inline]
    fn admits(&mut self, now: Time, peer: IpAddr, address: Address, counters: &mut Counters) -> bool {
        let Limiter { cells, v4, v6, .. } = self;
        let (lengths, octets) = match peer.to_canonical() {
            IpAddr::V4(peer) => (v4, u128::from(peer.to_ipv6_mapped())),
            IpAddr::V6(peer) => (v6, u128::from(peer)),
        };
        let Some((last, others)) = lengths.split_last() else { return true };
        let forgotten = &mut counters.rate_forgotten;
        let hash = |cells: &Cells, length: &Length| length.hash(cells, octets, address);
        let admitted = others.iter().all(|length| cells.holds(now, hash(cells, length), length.rate))
            && cells.charge(now, hash(cells, last), last.rate, forgotten);
        if admitted {
            for length in others {
                cells.charge(now, hash(cells, length), length.rate, forgotten);
            }
        }
        admitted
    }
}

impl Length {
    fn new(prefix: &Prefix) -> Length {
        // IPv4 addresses stand in the last 32 bits of their mapped form.
        let (before, family, bits_max) = match prefix.family {
            Family::Ipv4 => (96, 4, 32),
            Family::Ipv6 => (0, 6, 128),
        };
        let bits = u32::from(prefix.bits).min(bits_max);
        Length {
            mask: u128::MAX.checked_shl(128 - before - bits).unwrap_or(0),
            mark: u64::from(bits) << 16 | family << 8,
            rate: Rate::new(prefix.qps),
        }
    }

    #[inline]
    fn hash(&self, cells: &Cells, octets: u128, address: Address) -> u64 {
        let (key, prefix) = (cells.key(), octets & self.mask);
        // A step of its own for what an asker does not choose freely.
        let hash = key.mix(!0, self.mark | u64::from(address == Address::Proven));
        key.mix(key.mix(hash, (prefix >> 64) as u64), prefix as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::time::Duration;

    use super::*;
    use crate::guard::Network;
    use crate::guard::cells::tests::Random;

    const SEED: [u8; 16] = *b"a seed for tests";

    fn v4(bits: u8, qps: u32) -> Prefix {
        Prefix { family: Family::Ipv4, bits, qps }
    }

    fn v6(bits: u8, qps: u32) -> Prefix {
        Prefix { family: Family::Ipv6, bits, qps }
    }

    fn settings(prefixes: &[Prefix]) -> Settings {
        Settings {
            prefixes: prefixes.to_vec(),
            action: Action::Drop,
            dry_run: false,
            exempt: Acl::default(),
            entries: 65_536,
        }
    }

    /// A limiter with its counters.
    struct Asked(Limiter, Counters);

    impl Asked {
        fn new(settings: &Settings) -> Asked {
            Asked(Limiter::new(settings, SEED).expect("a limit"), Counters::default())
        }

        fn verdict(&mut self, now: Time, peer: impl Into<IpAddr>, address: Address) -> Verdict {
            self.0.verdict(now, peer.into(), address, &mut self.1)
        }

        /// How many of `count` queries at once are answered.
        fn answered(&mut self, now: Time, peer: &str, address: Address, count: usize) -> usize {
            let peer: IpAddr = peer.parse().unwrap();
            (0..count).filter(|_| self.verdict(now, peer, address) == Verdict::Within).count()
        }
    }

    #[test]
    fn without_rates_there_is_no_table() {
        assert!(Limiter::new(&settings(&[]), SEED).is_none());
        let mut asked = Asked::new(&settings(&[v4(24, 1)]));
        assert_eq!(asked.answered(Time::ZERO, "2001:db8::1", Address::Claimed, 50), 50, "IPv6 has no rate");
        assert_eq!(asked.answered(Time::ZERO, "::ffff:192.0.2.1", Address::Claimed, 50), 1);
    }

    #[test]
    fn every_length_of_the_family_counts() {
        let mut asked = Asked::new(&settings(&[v4(32, 3), v4(24, 5), v4(16, 100), v6(64, 2), v6(48, 3)]));
        let now = Time::from_secs(5);
        for (peer, answered) in [
            ("192.0.2.1", 3),
            ("192.0.2.2", 2),
            ("192.0.2.3", 0),
            ("192.0.3.1", 3),
            ("2001:db8:1:1::1", 2),
            ("2001:db8:1:2::1", 1),
            ("2001:db8:1:3::1", 0),
            ("2001:db8:2::1", 2),
        ] {
            assert_eq!(asked.answered(now, peer, Address::Claimed, 9), answered, "{peer}");
        }
        assert_eq!((asked.1.rate_dropped, asked.1.rate_forgotten), (8 * 9 - 13, 0));
    }

    /// A query that one length refuses is not charged to the others.
    #[test]
    fn what_is_refused_costs_nothing() {
        for prefixes in [[v4(32, 1), v4(24, 10)], [v4(24, 10), v4(32, 1)]] {
            let mut asked = Asked::new(&settings(&prefixes));
            let now = Time::from_secs(5);
            assert_eq!(asked.answered(now, "192.0.2.1", Address::Claimed, 1_000), 1);
            for host in 2..=10 {
                assert_eq!(asked.answered(now, &format!("192.0.2.{host}"), Address::Claimed, 9), 1, "{host}");
            }
            assert_eq!(asked.answered(now, "192.0.2.11", Address::Claimed, 9), 0, "the network has had its ten");
        }
    }

    #[test]
    fn forged_queries_take_nothing_from_those_who_have_shown_their_address() {
        let mut asked = Asked::new(&settings(&[v4(24, 7)]));
        let now = Time::from_secs(5);
        assert_eq!(asked.answered(now, "192.0.2.1", Address::Claimed, 10_000), 7);
        assert_eq!(asked.answered(now, "192.0.2.1", Address::Proven, 20), 7);
        assert_eq!(asked.answered(now, "192.0.2.99", Address::Proven, 20), 0);
    }

    #[test]
    fn who_is_above_the_rate_is_told_what_is_configured() {
        let exempt: Acl = ["192.0.2.128/25".parse::<Network>().unwrap()].into_iter().collect();
        for (action, claimed, proven) in [
            (Action::Drop, Verdict::Drop, Verdict::Drop),
            (Action::Truncate, Verdict::Truncate, Verdict::Refuse),
            (Action::Refuse, Verdict::Refuse, Verdict::Refuse),
        ] {
            for dry_run in [false, true] {
                let settings = Settings { action, dry_run, exempt: exempt.clone(), ..settings(&[v4(24, 1)]) };
                let mut asked = Asked::new(&settings);
                let peer = Ipv4Addr::new(192, 0, 2, 1);
                let now = Time::from_secs(5);
                for (address, verdict) in [(Address::Claimed, claimed), (Address::Proven, proven)] {
                    assert_eq!(asked.answered(now, "192.0.2.200", address, 9), 9, "exempt, and not counted");
                    assert_eq!(asked.verdict(now, peer, address), Verdict::Within);
                    let verdict = if dry_run { Verdict::Within } else { verdict };
                    assert_eq!(asked.verdict(now, peer, address), verdict, "{action:?} {address:?} {dry_run}");
                }
                let counters = &asked.1;
                let counted =
                    [counters.rate_dropped, counters.rate_truncated, counters.rate_refused, counters.rate_dry_run];
                let expected = match (dry_run, action) {
                    (true, _) => [0, 0, 0, 2],
                    (false, Action::Drop) => [2, 0, 0, 0],
                    (false, Action::Truncate) => [0, 1, 1, 0],
                    (false, Action::Refuse) => [0, 0, 2, 0],
                };
                assert_eq!(counted, expected, "{action:?}");
            }
        }
    }

    #[test]
    fn lengths_of_any_number_of_bits_are_taken() {
        for (bits, same) in [(0, true), (32, false), (128, false), (255, false)] {
            let mut asked = Asked::new(&settings(&[v4(bits, 1), v6(bits, 1)]));
            for (one, other) in [("192.0.2.1", "192.0.2.0"), ("2001:db8::1", "2001:db9::")] {
                assert_eq!(asked.answered(Time::ZERO, one, Address::Claimed, 2), 1);
                assert_eq!(asked.answered(Time::ZERO, other, Address::Claimed, 2) == 0, same, "{bits} {other}");
            }
        }
    }

    /// A million networks a second that are never seen again, one that asks far more than it may, and a thousand others
    /// that ask for four fifths of it: those lose nothing, and the one gets no more than it may.
    #[test]
    fn a_flood_of_invented_networks_hurts_nobody_else() {
        const SECONDS: u64 = 1;
        let mut asked = Asked::new(&settings(&[v4(24, 20), v6(48, 20), v6(64, 10)]));
        let mut random = Random(1);
        let busy = Ipv4Addr::new(198, 51, 100, 1);
        let (mut of_busy, mut others, mut lost) = (0, 0, 0);
        for micros in 0..SECONDS * 1_000_000 {
            let now = Time::from_micros(1_000_000_000 + micros);
            let invented = Ipv6Addr::from(u128::from(random.next()) << 64 | 1 << 127);
            assert_eq!(asked.verdict(now, invented, Address::Claimed), Verdict::Within);
            if micros % 100 == 0 {
                of_busy += u64::from(asked.verdict(now, busy, Address::Claimed) == Verdict::Within);
            }
            if micros % 62 == 0 {
                let other = Ipv4Addr::from(0xcb00_0000 | ((micros / 62 % 1_000) as u32) << 8);
                others += 1;
                lost += u64::from(asked.verdict(now, other, Address::Claimed) != Verdict::Within);
            }
        }
        assert_eq!(lost, 0, "of {others}");
        assert!((20 * SECONDS..=20 * (SECONDS + 1)).contains(&of_busy), "{of_busy}");
        assert!(asked.1.rate_forgotten > 0, "the flood does not fit the table");
    }

    /// In a minute of asking ten times as much as it may, a network gets what it may, evenly, and a pause of a second
    /// gives it a second's worth again.
    #[test]
    fn a_busy_network_keeps_its_rate() {
        let mut asked = Asked::new(&settings(&[v4(24, 50), v4(32, 50)]));
        let peer = Ipv4Addr::new(192, 0, 2, 1);
        for second in 0..60u64 {
            let answered = (0..500u64)
                .filter(|nth| {
                    let now = Time::from_secs(100 + second) + Duration::from_millis(nth * 2);
                    asked.verdict(now, peer, Address::Claimed) == Verdict::Within
                })
                .count();
            let expected = if second == 0 { 99..=100 } else { 49..=51 };
            assert!(expected.contains(&answered), "{answered} in second {second}");
        }
        assert_eq!(asked.answered(Time::from_secs(162), "192.0.2.1", Address::Claimed, 500), 50);
    }
}
