//! When a secondary asks its primaries, which of them, and when it gives its zone up (RFC 1034 §4.3.5, RFC 1996).
//! Time and seeds are arguments; nothing is sent, read or logged here.
//!
//! Calling order: [`due`](Secondary::due) at [`next`](Secondary::next) and after every event, until it gives nothing.
//! After [`Due::Ask`] exactly one of `on_current`, `on_transferred`, `on_failure` follows.

use std::time::Duration;

use ringdns_shard::Time;
use ringdns_shard::wire::serial::newer;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

/// What zones may ask for. The lower bounds keep a zone with zeros from flooding its primary; the upper ones are those
/// that BIND has: a month, a fortnight, 24 weeks.
const REFRESH_SECONDS: (u64, u64) = (1, 28 * DAY);
const RETRY_SECONDS: (u64, u64) = (1, 14 * DAY);
const EXPIRE_SECONDS_MAX: u64 = 168 * DAY;

/// A zone that nobody has transferred yet is asked for after so long, twice as long after each failure, at most…
const FIRST_RETRY: Duration = SECOND;
/// … so long.
const FIRST_RETRY_MAX: Duration = Duration::from_secs(600);
/// A retry interval grows with each failure, up to this or to the refresh interval, whichever is less.
const RETRY_MAX: Duration = Duration::from_secs(HOUR);
/// A NOTIFY is not followed sooner after a refresh that brought nothing.
const QUIET: Duration = SECOND;
/// The copies that are on disk at start are all looked after within this time.
const START_SPREAD: Duration = SECOND;

/// The intervals of an SOA record, within bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Intervals {
    /// From one success to the next question.
    pub(crate) refresh: Duration,
    /// From a failure to the next question.
    pub(crate) retry: Duration,
    /// From the last success to the end; never less than refresh and retry together, so that a zone is asked for
    /// again before it is given up.
    pub(crate) expire: Duration,
}

impl Intervals {
    /// Those in the data of an SOA record, which ends in serial, refresh, retry, expire and minimum.
    pub(crate) fn of_soa(data: &[u8]) -> Intervals {
        let numbers: &[u8; 20] = data.last_chunk().expect("an SOA record of an image is whole");
        let number =
            |at: usize| u64::from(u32::from_be_bytes([numbers[at], numbers[at + 1], numbers[at + 2], numbers[at + 3]]));
        let refresh = number(4).clamp(REFRESH_SECONDS.0, REFRESH_SECONDS.1);
        let retry = number(8).clamp(RETRY_SECONDS.0, RETRY_SECONDS.1);
        let expire = number(12).min(EXPIRE_SECONDS_MAX).max(refresh + retry);
        Intervals {
            refresh: Duration::from_secs(refresh),
            retry: Duration::from_secs(retry),
            expire: Duration::from_secs(expire),
        }
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Ask the primary of this index for its serial, and for the zone where it is newer.
    Ask {
        /// Its place in the list of primaries.
        primary: usize,
    },
    /// Serve the zone no longer: it has not been known fresh for too long.
    Expire,
}

/// The life of one secondary zone.
#[derive(Clone, Debug)]
pub(crate) struct Secondary {
    primaries: usize,
    /// Asked first: the one that answered last, or that sent a NOTIFY.
    preferred: usize,
    holding: Option<Holding>,
    asking: Option<Asking>,
    /// Rounds in which no primary answered, since the last one in which one did.
    failures: u32,
    /// NOTIFY that came while a primary was being asked.
    wish: Option<Wish>,
    /// A NOTIFY is followed from here on.
    quiet_until: Time,
    /// When the next round begins; meaningless while one runs.
    next: Time,
    random: Random,
}

/// The copy that there is.
#[derive(Clone, Copy, Debug)]
struct Holding {
    serial: u32,
    intervals: Intervals,
    expires: Time,
    expired: bool,
}

/// A round: primaries asked one after the other.
#[derive(Clone, Copy, Debug)]
struct Asking {
    primary: usize,
    /// Primaries of this round that have failed.
    failed: usize,
    /// Whether the question is out.
    sent: bool,
}

/// What NOTIFYs asked for.
#[derive(Clone, Copy, Debug)]
struct Wish {
    /// The latest serial named; `None` when one of them named none.
    serial: Option<u32>,
}

impl Secondary {
    /// A zone of which there is no copy yet. `seed` differs from zone to zone, so that zones do not ask in step.
    ///
    /// # Panics
    /// When there are no primaries.
    pub(crate) fn new(now: Time, primaries: usize, seed: u64) -> Secondary {
        assert!(primaries > 0, "a secondary has a primary");
        Secondary {
            primaries,
            preferred: 0,
            holding: None,
            asking: None,
            failures: 0,
            wish: None,
            quiet_until: now,
            next: now,
            random: Random(seed),
        }
    }

    /// Takes over a copy from disk that was last known fresh `age` ago. Primaries are asked soon: what happened while
    /// this process did not run is unknown.
    pub(crate) fn hold(&mut self, now: Time, serial: u32, intervals: Intervals, age: Duration) {
        let expires = now + intervals.expire.saturating_sub(age);
        self.holding = Some(Holding { serial, intervals, expires, expired: false });
        self.next = now + self.random.up_to(START_SPREAD);
    }

    /// Takes over another number of primaries; a round that runs goes on with what it knows.
    pub(crate) fn change_primaries(&mut self, now: Time, primaries: usize) {
        assert!(primaries > 0, "a secondary has a primary");
        self.primaries = primaries;
        self.preferred %= primaries;
        self.next = self.next.min(now);
    }

    /// When [`due`](Secondary::due) must be called again, if nothing happens before.
    pub(crate) fn next(&self) -> Option<Time> {
        let ask = match self.asking {
            None => Some(self.next),
            Some(Asking { sent: false, .. }) => Some(Time::ZERO),
            Some(_) => None,
        };
        let expire = self.holding.filter(|holding| !holding.expired).map(|holding| holding.expires);
        [ask, expire].into_iter().flatten().min()
    }

    /// What is to be done now, one thing a call.
    pub(crate) fn due(&mut self, now: Time) -> Option<Due> {
        if let Some(holding) = &mut self.holding
            && !holding.expired
            && holding.expires <= now
        {
            holding.expired = true;
            return Some(Due::Expire);
        }
        if self.asking.is_none() && self.next <= now {
            self.asking = Some(Asking { primary: self.preferred, failed: 0, sent: false });
        }
        let asking = self.asking.as_mut().filter(|asking| !asking.sent)?;
        asking.sent = true;
        // The list may have become shorter since the round began.
        asking.primary %= self.primaries;
        Some(Due::Ask { primary: asking.primary })
    }

    /// A NOTIFY has come, with the serial that it named, from the primary of index `from` where it is known. Returns
    /// whether it changes anything.
    pub(crate) fn on_notify(&mut self, now: Time, serial: Option<u32>, from: Option<usize>) -> bool {
        let known = self.holding.filter(|holding| !holding.expired).map(|holding| holding.serial);
        if let (Some(told), Some(known)) = (serial, known)
            && !newer(told, known)
        {
            return false;
        }
        if let Some(from) = from.filter(|from| *from < self.primaries) {
            self.preferred = from;
        }
        if self.asking.is_some() {
            let merged = match (self.wish, serial) {
                (None, serial) => serial,
                (Some(Wish { serial: Some(before) }), Some(told)) => {
                    Some(if newer(told, before) { told } else { before })
                }
                (Some(_), _) => None,
            };
            self.wish = Some(Wish { serial: merged });
        } else {
            self.next = self.next.min(now.max(self.quiet_until));
        }
        true
    }

    /// The primary has the serial that we hold. Returns whether this makes an expired zone fresh again.
    pub(crate) fn on_current(&mut self, now: Time) -> bool {
        let Some(asking) = self.asking.take() else { return false };
        self.preferred = asking.primary;
        self.failures = 0;
        self.quiet_until = now + QUIET;
        let Some(holding) = &mut self.holding else {
            // Nothing is held, so nothing can be current: asked again as after a failure.
            self.plan_after_failure(now);
            return false;
        };
        let revived = std::mem::take(&mut holding.expired);
        holding.expires = now + holding.intervals.expire;
        self.plan_after_success(now);
        revived
    }

    /// The zone has been transferred.
    pub(crate) fn on_transferred(&mut self, now: Time, serial: u32, intervals: Intervals) {
        if let Some(asking) = self.asking.take() {
            self.preferred = asking.primary;
        }
        self.failures = 0;
        let expires = now + intervals.expire;
        self.holding = Some(Holding { serial, intervals, expires, expired: false });
        self.plan_after_success(now);
    }

    /// The primary that was asked last is of no use: no answer, a refusal, an older serial, a broken transfer.
    pub(crate) fn on_failure(&mut self, now: Time) {
        let Some(mut asking) = self.asking.take() else { return };
        asking.failed += 1;
        if asking.failed < self.primaries {
            asking.primary = (asking.primary + 1) % self.primaries;
            asking.sent = false;
            self.asking = Some(asking);
            return;
        }
        self.plan_after_failure(now);
    }

    /// Whether a round runs: a primary is asked, or the next one is to be.
    pub(crate) fn is_asking(&self) -> bool {
        self.asking.is_some()
    }

    /// Whether there was a copy and it is too old to be served.
    pub(crate) fn is_expired(&self) -> bool {
        self.holding.is_some_and(|holding| holding.expired)
    }

    /// When the copy is given up, unless a primary is heard before.
    pub(crate) fn expires(&self) -> Option<Time> {
        self.holding.map(|holding| holding.expires)
    }

    fn plan_after_success(&mut self, now: Time) {
        let holding = self.holding.expect("a success leaves a copy");
        self.next = now + self.random.less_a_quarter(holding.intervals.refresh);
        // A wish that the transfer has fulfilled is none any more.
        if let Some(Wish { serial }) = self.wish.take()
            && serial.is_none_or(|serial| newer(serial, holding.serial))
        {
            self.next = now.max(self.quiet_until);
        }
    }

    fn plan_after_failure(&mut self, now: Time) {
        let (first, max) = match self.holding.filter(|holding| !holding.expired) {
            Some(Holding { intervals, .. }) => (intervals.retry, intervals.retry.max(RETRY_MAX.min(intervals.refresh))),
            None => (FIRST_RETRY, FIRST_RETRY_MAX),
        };
        let delay = first.saturating_mul(1 << self.failures.min(20)).min(max);
        self.failures = self.failures.saturating_add(1);
        self.next = now + self.random.less_a_quarter(delay);
        self.quiet_until = now + QUIET;
        if self.wish.take().is_some() {
            self.next = self.next.min(self.quiet_until);
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough to spread timers, and no secret.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn up_to(&mut self, span: Duration) -> Duration {
        let micros = span.as_micros() as u64;
        Duration::from_micros(self.next() % (micros + 1))
    }

    /// `span`, or up to a quarter less.
    pub(crate) fn less_a_quarter(&mut self, span: Duration) -> Duration {
        span - self.up_to(span / 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVALS: Intervals = Intervals {
        refresh: Duration::from_secs(100),
        retry: Duration::from_secs(10),
        expire: Duration::from_secs(500),
    };

    fn at(seconds: u64) -> Time {
        Time::from_secs(seconds)
    }

    /// A zone with a copy of serial 5, fresh at 0.
    fn held(primaries: usize) -> Secondary {
        let mut zone = Secondary::new(at(0), primaries, 7);
        assert_eq!(zone.due(at(0)), Some(Due::Ask { primary: 0 }));
        zone.on_transferred(at(0), 5, INTERVALS);
        zone
    }

    fn soa(numbers: [u32; 5]) -> Vec<u8> {
        [0, 0].into_iter().chain(numbers.into_iter().flat_map(u32::to_be_bytes)).collect()
    }

    #[test]
    fn intervals_are_kept_within_bounds() {
        let none = Intervals::of_soa(&soa([1, 0, 0, 0, 0]));
        assert_eq!((none.refresh, none.retry, none.expire), (SECOND, SECOND, 2 * SECOND));
        let much = Intervals::of_soa(&soa([1, u32::MAX, u32::MAX, u32::MAX, 0]));
        assert_eq!(much.refresh.as_secs(), 28 * DAY);
        assert_eq!((much.retry.as_secs(), much.expire.as_secs()), (14 * DAY, 168 * DAY));
        let short = Intervals::of_soa(&soa([1, 100, 10, 20, 0]));
        assert_eq!(short.expire.as_secs(), 110, "it is asked for again before it expires");
    }

    #[test]
    fn a_zone_without_a_copy_is_asked_for_at_once_and_ever_more_rarely() {
        let mut zone = Secondary::new(at(3), 1, 1);
        let mut now = at(3);
        let mut last = Duration::ZERO;
        for round in 0..15 {
            assert_eq!(zone.next(), Some(now));
            assert_eq!(zone.due(now), Some(Due::Ask { primary: 0 }));
            assert_eq!((zone.due(now), zone.next()), (None, None));
            zone.on_failure(now);
            let delay = zone.next().unwrap() - now;
            let whole = FIRST_RETRY.saturating_mul(1 << round).min(FIRST_RETRY_MAX);
            assert!(delay <= whole && delay >= whole * 3 / 4, "{delay:?} {whole:?}");
            assert!(delay + delay / 3 + SECOND >= last);
            (last, now) = (delay, zone.next().unwrap());
        }
    }

    #[test]
    fn a_zone_is_refreshed_before_its_interval_ends_and_not_much_before() {
        let mut zone = held(1);
        let next = zone.next().unwrap();
        assert!(next >= at(75) && next <= at(100), "{next:?}");
        assert_eq!(zone.due(at(74)), None);
        assert_eq!(zone.due(at(100)), Some(Due::Ask { primary: 0 }));
        assert!(!zone.on_current(at(100)));
        assert!(zone.next().unwrap() >= at(175));
        assert_eq!(zone.expires(), Some(at(600)));
    }

    #[test]
    fn zones_with_other_seeds_ask_at_other_times() {
        let mut times: Vec<Time> = (0..1000)
            .map(|seed| {
                let mut zone = Secondary::new(at(0), 1, seed);
                zone.hold(at(0), 1, INTERVALS, Duration::ZERO);
                zone.next().unwrap()
            })
            .collect();
        times.sort();
        assert!(times[0] < Time::from_micros(50_000) && times[999] > Time::from_micros(950_000));
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] < Duration::from_millis(50)));
    }

    #[test]
    fn each_primary_is_tried_and_the_one_that_works_is_kept() {
        let mut zone = held(3);
        let asked = |zone: &mut Secondary, now| match zone.due(now) {
            Some(Due::Ask { primary }) => primary,
            other => panic!("{other:?}"),
        };
        assert_eq!(asked(&mut zone, at(100)), 0);
        zone.on_failure(at(101));
        assert_eq!(asked(&mut zone, at(101)), 1, "the next one at once");
        zone.on_current(at(102));
        assert_eq!(asked(&mut zone, at(300)), 1);
        for primary in [2, 0] {
            zone.on_failure(at(300));
            assert_eq!(asked(&mut zone, at(300)), primary);
        }
        zone.on_failure(at(301));
        assert_eq!(zone.due(at(301)), None, "all have been tried");
        let next = zone.next().unwrap();
        assert!(next >= at(308) && next <= at(311), "{next:?}");
    }

    #[test]
    fn a_zone_expires_when_nobody_is_heard_and_lives_again_when_somebody_is() {
        let mut zone = held(1);
        let mut now = at(0);
        let expired = loop {
            now = zone.next().unwrap().max(now);
            match zone.due(now) {
                Some(Due::Expire) => break now,
                Some(Due::Ask { .. }) => zone.on_failure(now),
                None => panic!("something is due"),
            }
        };
        assert_eq!(expired, at(500));
        assert!(zone.is_expired());
        let mut now = expired;
        while zone.due(now).is_none() {
            now = zone.next().unwrap();
        }
        assert!(zone.on_current(now), "the copy was as good as the primary's all the time");
        assert!(!zone.is_expired());
        assert_eq!(zone.expires(), Some(now + INTERVALS.expire));
    }

    #[test]
    fn a_copy_from_disk_expires_by_its_age() {
        let mut zone = Secondary::new(at(10), 1, 1);
        zone.hold(at(10), 5, INTERVALS, Duration::from_secs(450));
        assert_eq!(zone.expires(), Some(at(60)));
        let mut old = Secondary::new(at(10), 1, 1);
        old.hold(at(10), 5, INTERVALS, Duration::from_secs(1_000_000));
        assert_eq!(old.due(at(10)), Some(Due::Expire));
    }

    #[test]
    fn a_notify_makes_it_ask_at_once_where_it_brings_news() {
        let mut zone = held(2);
        assert!(!zone.on_notify(at(1), Some(5), None) && !zone.on_notify(at(1), Some(4), None));
        assert_eq!(zone.due(at(1)), None);
        assert!(zone.on_notify(at(1), Some(6), Some(1)));
        assert_eq!(zone.due(at(1)), Some(Due::Ask { primary: 1 }), "the one that sent it");
        zone.on_transferred(at(1), 6, INTERVALS);
        assert!(zone.on_notify(at(1), Some(7), None));
        assert_eq!(zone.due(at(1)), Some(Due::Ask { primary: 1 }), "a change follows a change without a pause");
    }

    #[test]
    fn notifies_during_a_round_are_one_round_more_and_only_where_they_bring_news() {
        let mut zone = held(1);
        zone.on_notify(at(1), Some(6), None);
        assert!(zone.due(at(1)).is_some());
        for serial in [6, 8, 7] {
            zone.on_notify(at(1), Some(serial), None);
        }
        assert_eq!(zone.due(at(1)), None, "one question at a time");
        zone.on_transferred(at(2), 8, INTERVALS);
        assert_eq!(zone.due(at(2)), None, "the transfer brought it all");
        zone.on_notify(at(3), Some(9), None);
        assert!(zone.due(at(3)).is_some());
        zone.on_notify(at(3), Some(11), None);
        zone.on_transferred(at(4), 10, INTERVALS);
        assert!(zone.due(at(4)).is_some(), "11 is there to be had");
    }

    #[test]
    fn a_flood_of_notifies_without_a_serial_asks_once_a_second() {
        let mut zone = held(1);
        let mut asked = 0;
        for millis in 0..10_000 {
            let now = Time::from_micros(millis * 1_000);
            zone.on_notify(now, None, None);
            if let Some(Due::Ask { .. }) = zone.due(now) {
                asked += 1;
                zone.on_current(now);
            }
        }
        assert_eq!(asked, 10);
    }

    #[test]
    fn another_list_of_primaries_is_asked_at_once() {
        let mut zone = held(3);
        zone.preferred = 2;
        zone.change_primaries(at(1), 1);
        assert_eq!(zone.due(at(1)), Some(Due::Ask { primary: 0 }));
        zone.change_primaries(at(1), 2);
        zone.on_failure(at(1));
        assert_eq!(zone.due(at(1)), Some(Due::Ask { primary: 1 }));
    }

    /// Random lives: whatever happens, one question is out at a time, something is always planned, a zone expires exactly
    /// when nobody was heard for its time, and questions do not come thick.
    #[test]
    fn a_random_life_keeps_the_rules() {
        for seed in 0..2_000 {
            life(seed);
        }
    }

    fn life(seed: u64) {
        let mut random = Random(seed);
        let primaries = 1 + (random.next() % 3) as usize;
        let mut zone = Secondary::new(at(0), primaries, random.next());
        let (mut now, mut out, mut asked, mut serial) = (at(0), false, 0u32, 0u32);
        let mut fresh: Option<(Time, Duration)> = None;
        for _ in 0..300 {
            while let Some(due) = zone.due(now) {
                match due {
                    Due::Ask { primary } => {
                        assert!(primary < primaries && !out, "seed {seed}");
                        (out, asked) = (true, asked + 1);
                    }
                    Due::Expire => {
                        let (since, expire) = fresh.expect("only a copy expires");
                        assert!(now - since >= expire, "seed {seed}");
                    }
                }
            }
            let expired = fresh.is_some_and(|(since, expire)| now - since >= expire);
            assert_eq!(zone.is_expired(), expired, "seed {seed}");
            assert!(out || zone.next().is_some_and(|next| next > now), "seed {seed}: nothing is planned");
            match random.next() % 5 {
                0 => {
                    zone.on_notify(now, random.next().is_multiple_of(2).then_some(serial.wrapping_add(1)), None);
                }
                1 if out => {
                    serial = serial.wrapping_add((random.next() % (1 << 31)) as u32);
                    let numbers = [serial, 50, 5, 200 + (random.next() % 50) as u32, 0];
                    let intervals = Intervals::of_soa(&soa(numbers));
                    zone.on_transferred(now, serial, intervals);
                    (out, fresh) = (false, Some((now, intervals.expire)));
                }
                2 if out => {
                    zone.on_current(now);
                    fresh = fresh.map(|(_, expire)| (now, expire));
                    out = false;
                }
                3 if out => {
                    zone.on_failure(now);
                    out = false;
                }
                _ => {
                    let pause = Duration::from_millis(random.next() % 20_000);
                    let until = now + pause;
                    now = zone.next().filter(|next| *next > now).map_or(until, |next| next.min(until));
                }
            }
        }
        // A round asks each primary at most once, and rounds are a second apart unless a transfer or a NOTIFY calls.
        assert!(asked <= 300, "seed {seed}: {asked}");
    }
}
