//! Budgets of zones behind upstreams: how many questions for names of one zone go upstream.
//!
//! In a flood of random names below a victim's zone each name is new, so that the cache answers none of them and each
//! would be asked of the origin or of the resolver, until nothing is left for other zones. Here each such question
//! counts for its zone; the bound on how many are in flight at once is the resolver's
//! ([`Bounds::zone_resolves`](crate::images::Bounds::zone_resolves)), the one on how many there are a second stands here
//! ([`Bounds::zone_rate`](crate::images::Bounds::zone_rate)). Answers from the cache cost none of it.
//!
//! **The zone of a name** is the deepest apex that is known above it: the SOA of a negative answer tells where the
//! zone begins, so that the first answers of a flood of random names say what they are counted for. Until one is known it
//! is the suffix of as many labels as the route has, but two at least: a route of an origin is mostly a zone, and a
//! default route has all of them. So with an origin that answers nothing a flood is contained as well. What lies above
//! that suffix is never a zone here: else all names below a top level domain would share one budget.
//!
//! **Apexes are kept** in a fixed table, by their keyed hashes: lines of eight, in each the last one that was used first,
//! and the last gives way. An apex of a zone under attack is used all the time; to make it forgotten
//! an attacker would need eight apexes of one line between two of its questions. Who owns zones can make apexes of
//! them, and with each another budget, but only for names below its own.
//!
//! **How it is asked.** On a miss, and for nothing else:
//!
//! ```text
//! match zones.charge(now, name, suffix labels of the route, counters) {
//!     Some(zone) => begin the question, with `zone` (all that is in flight for it is bounded by the resolver),
//!     None => as with any other limit that is reached: stale where there is something, else REFUSED,
//! }
//! ```
//!
//! and when an answer has come that has no alias and tells its zone's apex: `zones.learn(name, apex labels)`.

use super::cells::{Cells, Rate};
use crate::limits::{APEX_LABELS_MAX, APEXES_MAX, ZONE_RATE_ENTRIES};
use crate::telemetry::Counters;
use crate::time::Time;
use crate::wire::name::KeyedName;

/// Apexes of a line.
const SLOTS: usize = 8;
/// Labels at least of what is taken for a zone that is not known.
const LABELS_MIN: usize = 2;

/// Hashes of apexes, the last used one first; zero: none.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Line([u64; SLOTS]);

const _: () = assert!(size_of::<Line>() == 64);
const _: () = assert!(APEXES_MAX.is_power_of_two() && APEXES_MAX >= SLOTS && APEX_LABELS_MAX < 32);

/// The zones behind the upstreams of one core.
#[derive(Debug)]
pub struct Zones {
    apexes: Box<[Line]>,
    /// Bit i: apexes of i labels have been learnt.
    depths: u32,
    rate: Option<(Rate, Cells)>,
    a_second: u32,
    seed: [u8; 16],
}

impl Zones {
    /// No apex known. `a_second` questions go upstream for each zone, and as many at once; 0: there is no bound. `seed`
    /// must be unpredictable to others.
    pub fn new(a_second: u32, seed: [u8; 16]) -> Zones {
        let apexes = vec![Line([0; SLOTS]); APEXES_MAX / SLOTS].into();
        let mut zones = Zones { apexes, depths: 0, rate: None, a_second: 0, seed };
        zones.set_rate(a_second);
        zones
    }

    /// Another rate, where it is another one: what was counted is forgotten.
    pub fn set_rate(&mut self, a_second: u32) {
        if a_second != self.a_second {
            let cells = || Cells::new(ZONE_RATE_ENTRIES, self.seed);
            self.rate = (a_second > 0).then(|| (Rate::new(a_second), cells()));
            self.a_second = a_second;
        }
    }

    /// The zone of a name that is to be asked for upstream, as a hash: its question is counted. `None`: the zone has had
    /// what it may have. `suffix_labels` are those of the route's suffix.
    #[inline]
    pub fn charge(
        &mut self,
        now: Time,
        name: &KeyedName,
        suffix_labels: usize,
        counters: &mut Counters,
    ) -> Option<u64> {
        let (zone, _) = self.zone_of(name, suffix_labels);
        if let Some((rate, cells)) = &mut self.rate
            && !cells.charge(now, cells.key().mix(!0, zone), *rate, &mut counters.zone_rate_forgotten)
        {
            counters.refused_zone_rate += 1;
            return None;
        }
        Some(zone)
    }

    /// The hash and the labels of the zone that a name counts for.
    #[inline]
    pub fn zone_of(&mut self, name: &KeyedName, suffix_labels: usize) -> (u64, usize) {
        let least = suffix_labels.max(LABELS_MIN).min(name.labels());
        let most = name.labels().min(APEX_LABELS_MAX);
        let known = (least + 1..=most).rev().filter(|&labels| self.depths >> labels & 1 != 0);
        for labels in known {
            let hash = name.suffix_hash(labels);
            if touch(line(&mut self.apexes, hash), hash) {
                return (hash, labels);
            }
        }
        (name.suffix_hash(least), least)
    }

    /// The zone that `name` is in begins at its suffix of `apex_labels` labels.
    pub fn learn(&mut self, name: &KeyedName, apex_labels: usize) {
        if !(LABELS_MIN + 1..=APEX_LABELS_MAX.min(name.labels())).contains(&apex_labels) {
            return;
        }
        let hash = name.suffix_hash(apex_labels);
        let line = line(&mut self.apexes, hash);
        if !touch(line, hash) {
            line.0.rotate_right(1);
            line.0[0] = hash;
        }
        self.depths |= 1 << apex_labels;
    }
}

fn line(apexes: &mut [Line], hash: u64) -> &mut Line {
    let mask = apexes.len() - 1;
    &mut apexes[hash as usize & mask]
}

/// Puts a hash of the line to its front; `false`: it is not there.
fn touch(line: &mut Line, hash: u64) -> bool {
    let place = line.0.iter().position(|&other| other == hash);
    if let Some(place) = place {
        line.0[..=place].rotate_right(1);
    }
    place.is_some()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::guard::cells::tests::Random;
    use crate::wire::name::{HashKey, Name};

    const SEED: [u8; 16] = *b"a seed for tests";

    fn name(text: &str) -> KeyedName {
        let wire: Name = text.parse().unwrap();
        KeyedName::new(&HashKey::from_seed(*b"another seed for"), wire.as_wire()).unwrap()
    }

    /// Charges a question; whether it may go upstream.
    fn goes(zones: &mut Zones, now: Time, text: &str, counters: &mut Counters) -> bool {
        zones.charge(now, &name(text), 0, counters).is_some()
    }

    #[test]
    fn the_zone_is_the_deepest_apex_known_or_the_suffix_of_the_route() {
        let mut zones = Zones::new(0, SEED);
        let www = name("www.shop.example.co.test");
        for (suffix_labels, labels) in [(0, 2), (1, 2), (2, 2), (3, 3), (5, 5)] {
            assert_eq!(zones.zone_of(&www, suffix_labels), (www.suffix_hash(labels), labels), "{suffix_labels}");
        }
        for (text, labels) in [(".", 0), ("test", 1)] {
            assert_eq!(zones.zone_of(&name(text), 0).1, labels, "{text}");
        }
        // What lies above the suffix is no zone.
        for apex in [0, 1, 2] {
            zones.learn(&www, apex);
            assert_eq!(zones.zone_of(&www, 0).1, 2);
        }
        zones.learn(&www, 3);
        assert_eq!(zones.zone_of(&www, 0), (www.suffix_hash(3), 3));
        assert_eq!(zones.zone_of(&name("example.co.test"), 0), (www.suffix_hash(3), 3), "the apex itself");
        assert_eq!(zones.zone_of(&name("random.example.co.test"), 0), (www.suffix_hash(3), 3));
        assert_eq!(zones.zone_of(&name("www.other.co.test"), 0).1, 2);
        zones.learn(&www, 4);
        assert_eq!(zones.zone_of(&www, 0), (www.suffix_hash(4), 4));
        assert_eq!(zones.zone_of(&www, 5).1, 5, "the route's suffix is deeper");
        zones.learn(&www, 6);
        assert_eq!(zones.zone_of(&www, 0).1, 4, "no apex is below the name");
    }

    #[test]
    fn names_of_many_labels_cost_no_more_than_the_bound() {
        let mut zones = Zones::new(0, SEED);
        let deep = name(&"a.".repeat(127));
        for labels in 0..=127 {
            zones.learn(&deep, labels);
        }
        assert_eq!(zones.zone_of(&deep, 0), (deep.suffix_hash(APEX_LABELS_MAX), APEX_LABELS_MAX));
        assert_eq!(zones.zone_of(&deep, 60).1, 60);
    }

    #[test]
    fn a_flood_of_random_names_is_contained_and_others_go_on() {
        let (mut zones, mut counters) = (Zones::new(100, SEED), Counters::default());
        let start = Time::from_secs(50);
        let mut random = Random(2);
        let (mut flood, mut others) = (0, 0);
        for nth in 0..100_000u64 {
            let now = start + Duration::from_micros(nth * 50);
            let victim = format!("x{:x}.victim.co.test", random.next());
            if goes(&mut zones, now, &victim, &mut counters) {
                flood += 1;
                // The first answer tells what zone it is.
                zones.learn(&name(&victim), 3);
            }
            if nth % 200 == 0 {
                others += u64::from(goes(&mut zones, now, &format!("w{nth}.other.co.test"), &mut counters));
            }
        }
        assert!((500..=601).contains(&flood), "{flood} in five seconds at 100 a second");
        assert_eq!(others, 500, "the neighbours of the victim lose nothing");
        assert_eq!(counters.refused_zone_rate, 100_000 - flood);
    }

    /// Somebody with zones of his own makes a hundred thousand apexes known: that of the flood's victim stays, for its
    /// names are asked for.
    #[test]
    fn an_apex_in_use_is_not_pushed_out() {
        let mut zones = Zones::new(0, SEED);
        let victim = name("www.victim.co.test");
        zones.learn(&victim, 3);
        let mut random = Random(3);
        for nth in 0..100_000 {
            let invented = name(&format!("a.z{:x}.evil.test", random.next()));
            zones.learn(&invented, 3);
            if nth % 1_000 == 0 {
                assert_eq!(zones.zone_of(&victim, 0).1, 3, "after {nth}");
            }
        }
        let idle = name("www.idle.co.test");
        zones.learn(&idle, 3);
        for _ in 0..100_000 {
            zones.learn(&name(&format!("a.z{:x}.evil.test", random.next())), 3);
        }
        assert_eq!(zones.zone_of(&idle, 0).1, 2, "what nobody asks for gives way");
    }

    #[test]
    fn the_rate_can_be_changed_and_taken_off() {
        let (mut zones, mut counters) = (Zones::new(0, SEED), Counters::default());
        let now = Time::from_secs(50);
        let mut gone = |zones: &mut Zones| (0..50).filter(|_| goes(zones, now, "a.b.test", &mut counters)).count();
        assert_eq!(gone(&mut zones), 50);
        zones.set_rate(7);
        assert_eq!(gone(&mut zones), 7);
        zones.set_rate(7);
        assert_eq!(gone(&mut zones), 0, "the same rate goes on counting");
        zones.set_rate(0);
        assert_eq!(gone(&mut zones), 50);
        assert_eq!(counters.refused_zone_rate, 43 + 50);
    }

    /// More zones than the table of rates has slots, each asked for once: some are forgotten, and counted. One that is
    /// taken for another is a matter of a millionth.
    #[test]
    fn zones_forgotten_for_want_of_room_are_counted() {
        let (mut zones, mut counters) = (Zones::new(1, SEED), Counters::default());
        let zones_asked = 2 * ZONE_RATE_ENTRIES;
        let mut gone = |nth: &usize| goes(&mut zones, Time::from_secs(50), &format!("z{nth}.test"), &mut counters);
        assert!((0..zones_asked).filter(&mut gone).count() >= zones_asked - 1);
        assert!(counters.zone_rate_forgotten > 0 && counters.refused_zone_rate <= 1);
    }
}
