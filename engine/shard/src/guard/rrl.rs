//! Response rate limiting: how often equal responses go to one network over UDP, where an asker's address may be
//! somebody else's.
//!
//! Owns the table of what went where, and the verdict; writes nothing and knows no message. Over TCP, and with a valid
//! DNS cookie or TSIG, the address is the asker's own: then nobody asks here.
//!
//! **What counts as equal** is the client's prefix, the class of the response, and a name ([`Class`] says which): the
//! classes of NSD and BIND, fewer of them. Whatever an asker can invent endlessly must not make a new key: names that
//! do not exist fall to their zone, those that a wildcard answers to the wildcard, those below a cut to the cut, types
//! without data to the zone. Answers of existing names are told apart by name, so that a resolver that asks for much is
//! not taken for an attack; who knows many names of a zone gets as many times the rate, as from BIND and NSD, whereas
//! Knot DNS counts prefixes alone and so limits busy resolvers. ANY has no class of its own: its answer is one small
//! record. DNSKEY has none either: the apex is a name like others.
//!
//! **The bound and the table** are those of `cells`: in any span of `t` seconds at most `rate · (t + 1)`
//! responses go to a key, and a flood of invented prefixes costs nobody anything.

use std::net::IpAddr;

use super::Acl;
use super::cells::{Cells, Rate};
use crate::telemetry::Counters;
use crate::time::Time;

/// Settings of the limit, for one core.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Equal responses a second to one prefix, from one core; 0: no limit, and no table.
    pub rate: u32,
    /// Of the responses above the rate every so manieth, by chance, goes out truncated, so that a real asker comes
    /// again over TCP; 0: none does, 1: each does.
    pub slip: u8,
    /// Leading bits of an IPv4 address that make clients one.
    pub prefix4: u8,
    /// Leading bits of an IPv6 address that make clients one.
    pub prefix6: u8,
    /// Clients without a limit.
    pub exempt: Acl,
    /// Slots, eight octets each; taken up to a power of two, at most [`CELLS_MAX`](crate::limits::CELLS_MAX).
    pub entries: usize,
}

/// What a response says, and which name it is counted under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Records: the name asked for; where a wildcard answers, the wildcard's; below a DNAME, the owner of that.
    Answer,
    /// A referral: the name of the cut.
    Referral,
    /// The name has no such data: the zone's apex.
    NoData,
    /// No such name: the zone's apex.
    NxDomain,
    /// Any other response code: no name counts, one bucket holds them all.
    Error,
}

/// What becomes of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is sent.
    Send,
    /// It is sent without records and with TC: no longer than the query, and a real asker comes again over TCP.
    Slip,
    /// Nothing is sent.
    Drop,
}

/// The table of one core, and what it is asked with.
#[derive(Debug)]
pub struct Limiter {
    cells: Cells,
    rate: Rate,
    /// Responses above the rate so far: what chance is drawn from.
    limited: u64,
    slip: u8,
    mask4: u128,
    mask6: u128,
    exempt: Acl,
}

impl Limiter {
    /// An empty table; none where the rate is 0. `seed` must be unpredictable to others.
    pub fn new(settings: &Settings, seed: [u8; 16]) -> Option<Limiter> {
        if settings.rate == 0 {
            return None;
        }
        let mask = |bits: u8| u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
        Some(Limiter {
            cells: Cells::new(settings.entries, seed),
            rate: Rate::new(settings.rate),
            limited: 0,
            slip: settings.slip,
            // IPv4 addresses stand in the last 32 bits of their mapped form.
            mask4: mask(96 + settings.prefix4.min(32)),
            mask6: mask(settings.prefix6),
            exempt: settings.exempt.clone(),
        })
    }

    /// What becomes of a response of `class` that would go to `peer` now. `name_hash` is the hash of the name that
    /// `class` calls for, the same for the same name as long as the limiter lives.
    #[inline]
    pub fn verdict(
        &mut self,
        now: Time,
        peer: IpAddr,
        class: Class,
        name_hash: u64,
        counters: &mut Counters,
    ) -> Verdict {
        let hash = self.hash(peer, class, name_hash);
        // The list is looked through only for those who would be limited.
        if self.cells.charge(now, hash, self.rate, &mut counters.rrl_forgotten) || self.exempt.contains(peer) {
            return Verdict::Send;
        }
        self.limited = self.limited.wrapping_add(1);
        // A share by chance: where it went by turns, an attacker could see to it that others' turns never come.
        let key = self.cells.key();
        let chance = key.mix(key.mix(hash, self.limited), self.limited);
        if self.slip > 0 && (u128::from(chance) * u128::from(self.slip)) >> 64 == 0 {
            counters.rrl_slipped += 1;
            return Verdict::Slip;
        }
        counters.rrl_dropped += 1;
        Verdict::Drop
    }

    #[inline]
    fn hash(&self, peer: IpAddr, class: Class, name_hash: u64) -> u64 {
        let (prefix, family) = match peer.to_canonical() {
            IpAddr::V4(address) => (u128::from(address.to_ipv6_mapped()) & self.mask4, 4),
            IpAddr::V6(address) => (u128::from(address) & self.mask6, 6),
        };
        let (class, name_hash) = match class {
            Class::Answer => (1, name_hash),
            Class::Referral => (2, name_hash),
            Class::NoData => (3, name_hash),
            Class::NxDomain => (4, name_hash),
            Class::Error => (5, 0),
        };
        // A step of its own for what an asker does not choose freely, so that no address cancels a class.
        let key = self.cells.key();
        let hash = key.mix(!0, class << 8 | family);
        let hash = key.mix(hash, (prefix >> 64) as u64);
        let hash = key.mix(hash, prefix as u64);
        key.mix(hash, name_hash)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::guard::Network;
    use crate::guard::cells::tests::Random;

    const SEED: [u8; 16] = *b"a seed for tests";

    fn settings(rate: u32) -> Settings {
        Settings { rate, slip: 0, prefix4: 24, prefix6: 56, exempt: Acl::default(), entries: 65_536 }
    }

    fn limiter(settings: &Settings) -> Limiter {
        Limiter::new(settings, SEED).expect("a limit")
    }

    /// A limiter with its counters, asked for answers of one name.
    struct Asked(Limiter, Counters);

    impl Asked {
        fn new(settings: &Settings) -> Asked {
            Asked(limiter(settings), Counters::default())
        }

        fn answer(&mut self, now: Time, peer: impl Into<IpAddr>) -> Verdict {
            self.0.verdict(now, peer.into(), Class::Answer, 7, &mut self.1)
        }

        /// How many of `count` answers at once are sent.
        fn sent(&mut self, now: Time, peer: &str, class: Class, name_hash: u64, count: usize) -> usize {
            let peer = peer.parse().unwrap();
            let verdicts = (0..count).map(|_| self.0.verdict(now, peer, class, name_hash, &mut self.1));
            verdicts.filter(|&verdict| verdict == Verdict::Send).count()
        }
    }

    #[test]
    fn without_a_rate_there_is_no_table() {
        assert!(Limiter::new(&settings(0), SEED).is_none());
        assert_eq!(limiter(&Settings { entries: 17, ..settings(1) }).cells.slots(), 32);
    }

    #[test]
    fn prefixes_classes_and_names_have_buckets_of_their_own() {
        let now = Time::from_secs(100);
        let mut asked = Asked::new(&settings(5));
        assert_eq!(asked.sent(now, "192.0.2.1", Class::Answer, 1, 9), 5);
        for (peer, class, name, sent) in [
            ("192.0.2.254", Class::Answer, 1, 0),
            ("::ffff:192.0.2.7", Class::Answer, 1, 0),
            ("192.0.3.1", Class::Answer, 1, 5),
            ("192.0.2.1", Class::Answer, 2, 5),
            ("192.0.2.1", Class::Referral, 1, 5),
            ("192.0.2.1", Class::NoData, 1, 5),
            ("192.0.2.1", Class::NxDomain, 1, 5),
            ("192.0.2.1", Class::Error, 1, 5),
            ("192.0.2.1", Class::Error, 2, 0),
            ("2001:db8:0:1ff::1", Class::Answer, 1, 5),
            ("2001:db8:0:100::1", Class::Answer, 1, 0),
            ("2001:db8:0:200::1", Class::Answer, 1, 5),
            // The octets of the IPv4 prefix above, at the start of an IPv6 address.
            ("c000:200::1", Class::Answer, 1, 5),
        ] {
            assert_eq!(asked.sent(now, peer, class, name, 9), sent, "{peer} {class:?} {name}");
        }
        assert_eq!((asked.1.rrl_slipped, asked.1.rrl_forgotten), (0, 0));
        assert_eq!(asked.1.rrl_dropped, 9 * 4 + 4 * 10);
    }

    #[test]
    fn prefixes_of_any_length_are_taken() {
        for (prefix4, prefix6, same) in [(0, 0, true), (32, 128, false), (255, 255, false)] {
            let mut asked = Asked::new(&Settings { prefix4, prefix6, ..settings(1) });
            for (one, other) in [("192.0.2.1", "192.0.2.0"), ("2001:db8::1", "2001:db8::")] {
                assert_eq!(asked.sent(Time::ZERO, one, Class::Answer, 1, 2), 1);
                assert_eq!(asked.sent(Time::ZERO, other, Class::Answer, 1, 2) == 0, same, "{prefix4} {other}");
            }
        }
    }

    #[test]
    fn who_is_exempt_is_not_limited() {
        let exempt = ["192.0.2.128/25", "2001:db8::/32"].iter().map(|text| text.parse::<Network>().unwrap()).collect();
        let mut asked = Asked::new(&Settings { exempt, ..settings(2) });
        for (peer, sent) in [("192.0.2.1", 2), ("192.0.2.200", 9), ("2001:db8::1", 9), ("2001:db9::1", 2)] {
            assert_eq!(asked.sent(Time::from_secs(1), peer, Class::Answer, 1, 9), sent, "{peer}");
        }
    }

    #[test]
    fn the_slip_is_a_share_of_what_is_limited() {
        for (slip, expected) in [(0, 0.0), (1, 1.0), (2, 0.5), (3, 1.0 / 3.0), (10, 0.1), (255, 1.0 / 255.0)] {
            let mut asked = Asked::new(&Settings { slip, ..settings(1) });
            let verdicts = (0..100_001).map(|_| asked.answer(Time::ZERO, Ipv4Addr::LOCALHOST));
            let slipped = verdicts.filter(|&verdict| verdict == Verdict::Slip).count() as u64;
            let share = slipped as f64 / 100_000.0;
            assert!((share - expected).abs() < 0.006 && (expected > 0.0 || slipped == 0), "{slip}: {share}");
            assert_eq!((asked.1.rrl_slipped, asked.1.rrl_dropped), (slipped, 100_000 - slipped));
        }
    }

    #[test]
    fn a_clock_that_goes_back_or_jumps_far_ahead_blocks_nobody() {
        let mut asked = Asked::new(&settings(3));
        let peer = Ipv4Addr::new(192, 0, 2, 1);
        let far = Duration::from_secs(u64::MAX / 2_000_000);
        let mut now = Time::from_secs(1_000_000);
        // Spans on both sides of the moments' turn: 2^40 eighths of a microsecond.
        let turn = Duration::from_micros(1 << 37);
        for span in
            [Duration::from_secs(2), turn / 2, turn + Duration::from_secs(2), turn * 3 - Duration::from_secs(2), far]
        {
            now = now + span;
            let sent = (0..9).filter(|_| asked.answer(now, peer) == Verdict::Send).count();
            assert_eq!(sent, 3, "after {span:?}");
        }
        for back in [Time::from_secs(10), Time::ZERO] {
            let sent = (0..9).filter(|_| asked.answer(back, peer) == Verdict::Send).count();
            assert_eq!(sent, 3, "back at {back:?}");
        }
        asked.answer(Time::from_micros(u64::MAX), peer);
        // A little back: no more is sent than without, and a second later all is well.
        let mut asked = Asked::new(&settings(3));
        let now = Time::from_secs(50);
        assert_eq!((0..9).filter(|_| asked.answer(now, peer) == Verdict::Send).count(), 3);
        let sent = (0..9).filter(|_| asked.answer(Time::from_micros(49_900_000), peer) == Verdict::Send).count();
        assert!(sent <= 3);
        assert_eq!((0..9).filter(|_| asked.answer(Time::from_secs(51), peer) == Verdict::Send).count(), 3);
    }

    /// A million prefixes a second that are never seen again, an attack on one prefix, and a thousand others that each
    /// ask for four fifths of the rate: those lose nothing, and the attacked one gets no more than it may.
    #[test]
    fn a_flood_of_invented_prefixes_hurts_nobody_else() {
        const SECONDS: u64 = 3;
        let mut asked = Asked::new(&settings(20));
        let mut random = Random(1);
        let attacked = Ipv4Addr::new(198, 51, 100, 1);
        let (mut attack, mut others, mut lost) = (0, 0, 0);
        for micros in 0..SECONDS * 1_000_000 {
            let now = Time::from_micros(1_000_000_000 + micros);
            let invented = Ipv6Addr::from(u128::from(random.next()) << 64 | 1 << 127);
            assert_eq!(asked.answer(now, invented), Verdict::Send, "a first answer is sent");
            // 10,000 a second for the one, 16 a second for each of the thousand.
            if micros % 100 == 0 {
                attack += u64::from(asked.answer(now, attacked) == Verdict::Send);
            }
            if micros % 62 == 0 {
                let other = Ipv4Addr::from(0xcb00_0000 | ((micros / 62 % 1_000) as u32) << 8);
                others += 1;
                lost += u64::from(asked.answer(now, other) != Verdict::Send);
            }
        }
        assert_eq!(lost, 0, "of {others}");
        assert!((20 * SECONDS..=20 * (SECONDS + 1)).contains(&attack), "{attack}");
        assert!(asked.1.rrl_forgotten > 0, "the flood does not fit the table");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

        /// In no span does one key get more than the rate and one second's worth; and what is asked for evenly below
        /// the rate is all sent.
        #[test]
        fn no_span_has_more_than_the_rate_and_a_burst(
            rate in prop_oneof![1u32..50, 50u32..100_000],
            gaps in proptest::collection::vec(
                prop_oneof![3 => Just(0u64), 3 => 0u64..1_000, 2 => 0u64..300_000, 1 => 0u64..3_000_000],
                1..400,
            ),
        ) {
            let mut asked = Asked::new(&settings(rate));
            let mut now = Time::from_secs(7);
            let mut sent: Vec<Time> = Vec::new();
            for gap in gaps {
                now = now + Duration::from_micros(gap);
                if asked.answer(now, Ipv4Addr::LOCALHOST) == Verdict::Send {
                    sent.push(now);
                }
            }
            prop_assert!(!sent.is_empty());
            for (i, &from) in sent.iter().enumerate() {
                for (j, &to) in sent.iter().enumerate().skip(i) {
                    let allowed = f64::from(rate) * ((to - from).as_secs_f64() + 1.0);
                    prop_assert!((j - i + 1) as f64 <= allowed + 1e-6, "{} in {:?} at {rate}", j - i + 1, to - from);
                }
            }
            let even = Duration::from_secs(1) / rate + Duration::from_micros(1);
            let mut asked = Asked::new(&settings(rate));
            for _ in 0..1_000 {
                now = now + even;
                prop_assert_eq!(asked.answer(now, Ipv4Addr::LOCALHOST), Verdict::Send);
            }
        }
    }
}
