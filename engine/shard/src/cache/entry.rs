//! How an answer lies in the cache's memory: thirty-two octets of what must be known of it, then its octets as
//! [`AnswerRef`] has them, rounded up to eight. The head is four words, which are read once and taken apart where a part is
//! wanted: who looks for an answer compares the first two and the name.
//!
//! | bits | word 0 | word 1 | word 2 | word 3 |
//! |---|---|---|---|---|
//! | 0–15 | [`Key::hash`] | type | octets of the message | lifetime in seconds |
//! | 16–23 | | DO, CD, facts of the answer | when it came, in units of 16 µs | |
//! | 24–31 | | [`Heat`] | | |
//! | 32–47 | | era | | places of TTLs |
//! | 48–55 | | octets of the name | | places of spellings |
//! | 56–63 | | octets of the first owner | | |
//!
//! An address of a name of common length takes 88 octets, of which a reply needs all: two cache lines or three.

use std::time::Duration;

use super::Key;
use super::answer::{About, AnswerRef, NO_LABELS};
use crate::time::Time;
use crate::wire::message::HEADER_OCTETS;

/// Octets before those of the answer.
pub(super) const HEAD_OCTETS: usize = 32;

/// Where times of entries begin, before the caller's epoch: an answer may have come before the process began, with
/// what was kept of an earlier one.
pub(super) const BEFORE: Duration = Duration::from_hours(24 * 366);

/// Answers that live shorter are not fetched anew before they run out: a tenth of their life would be no time at all.
const REFRESH_SECONDS_MIN: u32 = 10;

/// What stands before an answer's octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head([u64; 4]);

/// What an entry is told from all others by, as two words of a head have it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted(u64, u64);

/// Bits of the second word, the first of them those of [`Key::word`].
const DNSSEC_OK: u64 = 1 << 16;
const CHECKING_DISABLED: u64 = 1 << 17;
const FACTS_SHIFT: u32 = 18;
const HEAT_SHIFT: u32 = 24;
const ERA_SHIFT: u32 = 32;
const NAME_SHIFT: u32 = 48;
const OWNER_SHIFT: u32 = 56;
/// Type, DO, CD, era, octets of the name.
const WANTED: u64 = 0x00ff_ffff_0003_ffff;
/// The time is kept in units of 2^4 µs: a second has a whole number of them, and 48 bits last for 142 years.
const TIME_SHIFT: u32 = 4;
/// Bits of facts, once they are shifted.
const FACTS: u8 = 0x3f;

impl Wanted {
    /// The entry of a name of so many octets under `key`, `hash` being [`Key::hash`].
    #[inline]
    pub(super) fn new(hash: u64, key: Key, name_octets: usize) -> Wanted {
        Wanted(hash, key.word() | (name_octets as u64) << NAME_SHIFT)
    }
}

impl Head {
    /// That of an answer that came at `stored`, counted from [`BEFORE`], and is kept under `key`, `hash` being
    /// [`Key::hash`]. An answer that is kept has a response code of four bits and a message of at most 65,535 octets.
    pub(super) fn new(hash: u64, stored: Time, key: Key, answer: AnswerRef<'_>, heat: Heat) -> Head {
        let About { ttls, spellings, name_octets, owner_octets, extended_rcode, facts, zone_labels: _, lifetime } =
            answer.about();
        assert!(extended_rcode == 0 && answer.message().len() <= usize::from(u16::MAX));
        Head([
            hash,
            key.word()
                | u64::from(facts) << FACTS_SHIFT
                | u64::from(heat.0) << HEAT_SHIFT
                | u64::from(name_octets) << NAME_SHIFT
                | u64::from(owner_octets) << OWNER_SHIFT,
            answer.message().len() as u64 | stored.as_micros() >> TIME_SHIFT << 16,
            u64::from(lifetime) | u64::from(ttls) << 32 | u64::from(spellings) << 48,
        ])
    }

    /// Reads what [`Head::write`] has written.
    #[inline]
    pub(super) fn read(entry: &[u8]) -> Head {
        Head::from_octets(entry.first_chunk().expect("an entry begins with its head"))
    }

    /// The same, of an entry's first octets.
    #[inline]
    pub(super) fn from_octets(octets: &[u8; HEAD_OCTETS]) -> Head {
        let (words, _) = octets.as_chunks::<8>();
        Head([0, 1, 2, 3].map(|word| u64::from_le_bytes(words[word])))
    }

    /// Writes it to the start of `entry`.
    pub(super) fn write(&self, entry: &mut [u8]) {
        for (octets, word) in entry.as_chunks_mut::<8>().0.iter_mut().zip(self.0) {
            *octets = word.to_le_bytes();
        }
    }

    /// Whether it is that of the entry, as far as the name is not looked at.
    #[inline]
    pub(super) fn is(&self, wanted: Wanted) -> bool {
        self.0[0] == wanted.0 && self.0[1] & WANTED == wanted.1
    }

    /// [`Key::hash`] of what it is kept under.
    #[inline]
    pub(super) fn hash(&self) -> u64 {
        self.0[0]
    }

    /// What it is kept under beside the name.
    pub(super) fn key(&self) -> Key {
        let word = self.0[1];
        Key {
            qtype: word as u16,
            dnssec_ok: word & DNSSEC_OK != 0,
            checking_disabled: word & CHECKING_DISABLED != 0,
            era: (word >> ERA_SHIFT) as u16,
        }
    }

    /// How often it was asked for.
    #[inline]
    pub(super) fn heat(&self) -> Heat {
        Heat((self.0[1] >> HEAT_SHIFT) as u8)
    }

    /// The same, asked for so often.
    pub(super) fn with_heat(self, heat: Heat) -> Head {
        let [hash, word, message, counts] = self.0;
        Head([hash, word & !(0xff << HEAT_SHIFT) | u64::from(heat.0) << HEAT_SHIFT, message, counts])
    }

    /// The heat of an entry that is asked for once more, and whether it should be fetched anew: see
    /// [`Hit::refresh`](super::Hit::refresh); never without `prefetch`.
    #[inline(always)]
    pub(super) fn asked(&self, now: Time, prefetch: bool) -> (Heat, bool) {
        let heat = self.heat().asked();
        let refresh = heat.is_untold() && self.is_old(now) && self.lifetime() >= REFRESH_SECONDS_MIN && prefetch;
        (if refresh { heat.told() } else { heat }, refresh)
    }

    /// Octets of the message.
    #[inline]
    pub(super) fn message_octets(&self) -> usize {
        usize::from(self.0[2] as u16)
    }

    /// What is known of the answer beside its octets.
    #[inline]
    fn about(&self) -> About {
        let [_, word, _, counts] = self.0;
        About {
            ttls: (counts >> 32) as u16,
            spellings: (counts >> 48) as u16,
            name_octets: (word >> NAME_SHIFT) as u8,
            owner_octets: (word >> OWNER_SHIFT) as u8,
            extended_rcode: 0,
            facts: (word >> FACTS_SHIFT) as u8 & FACTS,
            zone_labels: NO_LABELS,
            lifetime: self.lifetime(),
        }
    }

    /// Octets that the entry takes.
    #[inline]
    pub(super) fn size(&self) -> usize {
        size(self.message_octets() + self.about().place_octets())
    }

    /// When it came, counted from [`BEFORE`]; a few microseconds early.
    #[inline]
    pub(super) fn stored(&self) -> Time {
        Time::from_micros(self.0[2] >> 16 << TIME_SHIFT)
    }

    /// How long it may be kept, in seconds.
    #[inline]
    pub(super) fn lifetime(&self) -> u32 {
        self.0[3] as u32
    }

    /// When its TTL has run out.
    #[inline]
    pub(super) fn expires(&self) -> Time {
        // 2^52 µs and 2^32 s are less than 2^63 µs.
        Time::from_micros(self.stored().as_micros() + u64::from(self.lifetime()) * 1_000_000)
    }

    /// Whole seconds since it came.
    #[inline]
    pub(super) fn age(&self, now: Time) -> Duration {
        Duration::from_secs(now.as_micros().saturating_sub(self.stored().as_micros()) / 1_000_000)
    }

    /// Whether less than a tenth of its life is left.
    #[inline]
    pub(super) fn is_old(&self, now: Time) -> bool {
        let left = self.expires().as_micros().saturating_sub(now.as_micros());
        left > 0 && left < u64::from(self.lifetime()) * 100_000
    }

    /// The answer, in an entry that begins with this head.
    pub(super) fn answer<'e>(&self, entry: &'e [u8]) -> AnswerRef<'e> {
        self.answer_in(&entry[HEAD_OCTETS..]).expect("an entry is whole")
    }

    /// The answer, whose octets are the first of `octets`, if there are so many.
    #[inline(always)]
    pub(super) fn answer_in<'e>(&self, octets: &'e [u8]) -> Option<AnswerRef<'e>> {
        AnswerRef::new(octets, self.message_octets(), self.about())
    }
}

/// Octets of an entry whose answer has so many.
#[inline]
pub(super) fn size(octets: usize) -> usize {
    (HEAD_OCTETS + octets).next_multiple_of(8)
}

/// Where the name in the question begins.
pub(super) const NAME_AT: usize = HEAD_OCTETS + HEADER_OCTETS;
/// Where the octet of an entry's [`Heat`] is.
pub(super) const HEAT_AT: usize = 8 + HEAT_SHIFT as usize / 8;

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

    /// Asked for once more: looked up, since counting took a dozen instructions of each hit.
    #[inline]
    pub(super) fn asked(self) -> Heat {
        const ASKED: [u8; 256] = {
            let mut asked = [0; 256];
            let mut heat = 0;
            while heat < 256 {
                let often = if heat as u8 & Heat::OFTEN == Heat::OFTEN { 0 } else { 1 };
                let since = if heat as u8 & Heat::SINCE == Heat::SINCE { 0 } else { Heat::SINCE_ONE };
                asked[heat] = heat as u8 + often + since;
                heat += 1;
            }
            asked
        };
        Heat(ASKED[usize::from(self.0)])
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
            ttls: 3,
            spellings: 1,
            name_octets: 255,
            owner_octets: 254,
            extended_rcode: 0,
            facts: 5,
            zone_labels: NO_LABELS,
            lifetime: 0x8765_4321,
        };
        let octets: Vec<u8> = (0..=255).cycle().take(65_535 + 6).collect();
        let answer = AnswerRef::new(&octets, 65_535, about).unwrap();
        let stored = Time::from_secs(4_000_000_000);
        for (dnssec_ok, checking_disabled) in [(false, false), (true, false), (false, true), (true, true)] {
            let key = Key { qtype: 0x1234, dnssec_ok, checking_disabled, era: 0xabcd };
            let head = Head::new(0x0123_4567_89ab_cdef, stored, key, answer, Heat(0x95));
            let mut entry = vec![0xee; head.size()];
            head.write(&mut entry);
            answer.put(&mut entry[HEAD_OCTETS..]);
            let read = Head::read(&entry);
            assert_eq!((read, entry[HEAT_AT], entry.len()), (head, 0x95, 32 + 65_544));
            assert_eq!((read.hash(), read.key(), read.heat()), (0x0123_4567_89ab_cdef, key, Heat(0x95)));
            assert_eq!((read.stored(), read.lifetime()), (stored, about.lifetime));
            assert_eq!(read.expires(), Time::from_secs(4_000_000_000 + 0x8765_4321));
            assert_eq!((read.answer(&entry).about(), read.answer(&entry).message()), (about, answer.message()));
            assert_eq!(&entry[NAME_AT..][..255], read.answer(&entry).name());
            assert!(read.is(Wanted::new(head.hash(), key, 255)) && !read.is(Wanted::new(head.hash(), key, 254)));
            assert!(!read.is(Wanted::new(1, key, 255)));
            for other in [
                Key { qtype: 0x1235, ..key },
                Key { dnssec_ok: !dnssec_ok, ..key },
                Key { checking_disabled: !checking_disabled, ..key },
                Key { era: 0x2bcd, ..key },
            ] {
                assert!(!read.is(Wanted::new(head.hash(), other, 255)), "{other:?}");
            }
            let cold = read.with_heat(Heat(0));
            assert_eq!((cold.heat(), cold.with_heat(Heat(0x95))), (Heat(0), read));
        }
        assert_eq!((size(0), size(1), size(8)), (32, 40, 40));
    }

    #[test]
    fn times_are_kept_to_a_few_microseconds() {
        let answer = AnswerRef::new(&[], 0, About { lifetime: 100, ..NO_RECORDS }).unwrap();
        let head = |micros| Head::new(1, Time::from_micros(micros), KEY, answer, Heat::default());
        assert_eq!(head(1_000_015).stored(), Time::from_secs(1));
        let head = head(1_000_000);
        assert_eq!(head.expires(), Time::from_secs(101));
        for (micros, seconds) in [(0, 0), (1_999_999, 0), (2_000_000, 1), (500_000_000, 499)] {
            assert_eq!(head.age(Time::from_micros(micros)), Duration::from_secs(seconds), "{micros}");
        }
        for (micros, is_old) in
            [(0, false), (91_000_000, false), (91_000_001, true), (100_999_999, true), (101_000_000, false)]
        {
            assert_eq!(head.is_old(Time::from_micros(micros)), is_old, "{micros}");
        }
    }

    const KEY: Key = Key { qtype: 1, dnssec_ok: false, checking_disabled: false, era: 0 };
    const NO_RECORDS: About = About {
        ttls: 0,
        spellings: 0,
        name_octets: 1,
        owner_octets: 0,
        extended_rcode: 0,
        facts: 0,
        zone_labels: NO_LABELS,
        lifetime: 0,
    };

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
