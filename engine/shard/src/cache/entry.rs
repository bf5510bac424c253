//! How an answer lies in the cache's memory: forty octets of what must be known of it, then its octets, rounded up to eight.

use std::time::Duration;

use super::Key;
use super::answer::{About, AnswerRef};
use crate::time::Time;

/// Octets before those of the answer.
pub(super) const HEAD_OCTETS: usize = 40;

/// Where times of entries begin, before the caller's epoch: an answer may have come before the process began, with
/// what was kept of an earlier one.
pub(super) const BEFORE: Duration = Duration::from_hours(24 * 366);

/// What stands before an answer's octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// [`Key::hash`] of what it is kept under.
    pub(super) hash: u64,
    /// When it came, counted from [`BEFORE`].
    pub(super) stored: Time,
    /// Octets of the answer.
    pub(super) octets: u32,
    /// What it is kept under beside the name.
    pub(super) key: Key,
    /// What is known of the answer.
    pub(super) about: About,
    /// How often it was asked for.
    pub(super) heat: Heat,
}

/// Bits beside the facts of [`About`], in their octet.
const DNSSEC_OK: u8 = 0x40;
const CHECKING_DISABLED: u8 = 0x80;

impl Head {
    /// Reads what [`Head::write`] has written.
    #[inline]
    pub(super) fn read(octets: &[u8]) -> Head {
        let octets: &[u8; HEAD_OCTETS] = octets.first_chunk().expect("an entry begins with its head");
        let two = |at| u16::from_ne_bytes(field(octets, at));
        let four = |at| u32::from_ne_bytes(field(octets, at));
        let eight = |at| u64::from_ne_bytes(field(octets, at));
        let bits = octets[36];
        Head {
            hash: eight(0),
            stored: Time::from_micros(eight(8)),
            octets: four(20),
            key: Key {
                qtype: two(26),
                dnssec_ok: bits & DNSSEC_OK != 0,
                checking_disabled: bits & CHECKING_DISABLED != 0,
                era: two(24),
            },
            about: About {
                ttls: two(28),
                spellings: two(30),
                additional_at: two(32),
                name_octets: octets[34],
                extended_rcode: octets[35],
                facts: bits & !(DNSSEC_OK | CHECKING_DISABLED),
                zone_labels: octets[37],
                lifetime: four(16),
            },
            heat: Heat(octets[HEAT_AT]),
        }
    }

    /// Writes it to the start of `out`.
    pub(super) fn write(&self, out: &mut [u8]) {
        let Head { hash, stored, octets, key, about, heat } = self;
        let bit = |is, bit| if is { bit } else { 0 };
        let bits = about.facts | bit(key.dnssec_ok, DNSSEC_OK) | bit(key.checking_disabled, CHECKING_DISABLED);
        let mut rest = out;
        let mut put = |field: &[u8]| {
            let (here, behind) = std::mem::take(&mut rest).split_at_mut(field.len());
            here.copy_from_slice(field);
            rest = behind;
        };
        put(&hash.to_ne_bytes());
        put(&stored.as_micros().to_ne_bytes());
        put(&about.lifetime.to_ne_bytes());
        put(&octets.to_ne_bytes());
        for field in [key.era, key.qtype, about.ttls, about.spellings, about.additional_at] {
            put(&field.to_ne_bytes());
        }
        put(&[about.name_octets, about.extended_rcode, bits, about.zone_labels, heat.0, 0]);
    }

    /// Octets that the entry takes.
    #[inline]
    pub(super) fn size(&self) -> usize {
        size(self.octets as usize)
    }

    /// When its TTL has run out.
    #[inline]
    pub(super) fn expires(&self) -> Time {
        Time::from_micros(self.stored.as_micros().saturating_add(u64::from(self.about.lifetime) * 1_000_000))
    }

    /// The answer, in an entry that begins with this head.
    #[inline]
    pub(super) fn answer<'e>(&self, entry: &'e [u8]) -> AnswerRef<'e> {
        AnswerRef::new(&entry[HEAD_OCTETS..HEAD_OCTETS + self.octets as usize], self.about)
    }
}

#[inline]
fn field<const N: usize>(head: &[u8; HEAD_OCTETS], at: usize) -> [u8; N] {
    *head[at..].first_chunk().expect("fields lie within the head")
}

/// Octets of an entry whose answer has so many.
#[inline]
pub(super) fn size(octets: usize) -> usize {
    (HEAD_OCTETS + octets).next_multiple_of(8)
}

/// Where the octet of an entry's [`Heat`] is.
pub(super) const HEAT_AT: usize = 38;

/// How often an entry was asked for: three bits for eviction, which counts them down; two for those since it came, for
/// fetching anew; one that this was said; one that the entry is no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heat(pub(super) u8);

impl Heat {
    const OFTEN: u8 = 0x07;
    const SINCE: u8 = 0x18;
    const SINCE_ONE: u8 = 0x08;
    const TOLD: u8 = 0x20;
    const DEAD: u8 = 0x40;

    /// How often it was asked for, as eviction counts.
    #[inline]
    pub(super) fn often(self) -> u8 {
        self.0 & Heat::OFTEN
    }

    /// The same, counted so often.
    pub(super) fn with_often(self, often: u8) -> Heat {
        Heat(self.0 & !Heat::OFTEN | often.min(Heat::OFTEN))
    }

    /// Asked for once more.
    #[inline]
    pub(super) fn asked(self) -> Heat {
        let often = u8::from(self.0 & Heat::OFTEN != Heat::OFTEN);
        let since = if self.0 & Heat::SINCE == Heat::SINCE { 0 } else { Heat::SINCE_ONE };
        Heat(self.0 + often + since)
    }

    /// Asked for at least three times since it came, and nobody was told so far.
    #[inline]
    pub(super) fn is_untold(self) -> bool {
        self.0 & (Heat::SINCE | Heat::TOLD) == Heat::SINCE
    }

    /// Somebody was told.
    pub(super) fn told(self) -> Heat {
        Heat(self.0 | Heat::TOLD)
    }

    /// The entry is no more.
    pub(super) fn dead(self) -> Heat {
        Heat(self.0 | Heat::DEAD)
    }

    /// Whether the entry is no more.
    #[inline]
    pub(super) fn is_dead(self) -> bool {
        self.0 & Heat::DEAD != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let about = About {
            ttls: 0x0102,
            spellings: 0x0304,
            additional_at: 0xfedc,
            name_octets: 255,
            extended_rcode: 7,
            facts: 5,
            zone_labels: 127,
            lifetime: 0x8765_4321,
        };
        for (dnssec_ok, checking_disabled) in [(false, false), (true, false), (false, true), (true, true)] {
            let head = Head {
                hash: 0x0123_4567_89ab_cdef,
                stored: Time::from_micros(0xfedc_ba98_7654_3210),
                octets: 0x0001_86a0,
                key: Key { qtype: 0x1234, dnssec_ok, checking_disabled, era: 0xabcd },
                about,
                heat: Heat(0x15),
            };
            let mut octets = [0xee; HEAD_OCTETS + 1];
            head.write(&mut octets);
            assert_eq!((Head::read(&octets), octets[HEAD_OCTETS], octets[HEAT_AT]), (head, 0xee, 0x15));
        }
        assert_eq!((size(0), size(1), size(8)), (40, 48, 48));
    }

    #[test]
    fn heat_is_counted_up_to_its_bounds() {
        let mut heat = Heat::default();
        let counted: Vec<(u8, bool)> = (0..9)
            .map(|_| {
                heat = heat.asked();
                (heat.often(), heat.is_untold())
            })
            .collect();
        let expected =
            [(1, false), (2, false), (3, true), (4, true), (5, true), (6, true), (7, true), (7, true), (7, true)];
        assert_eq!(counted, expected);
        assert!(!heat.told().is_untold() && !heat.told().is_dead() && heat.dead().is_dead());
        assert_eq!(heat.with_often(0).often(), 0);
        assert!(heat.with_often(0).is_untold());
    }
}
