//! Whether a server answers, and how fast.
//!
//! **Round trips** are smoothed as RFC 6298 §2 has it. Karn's rule (§3) is not needed: every attempt has an id of its
//! own, so that no reply is mistaken for that of another attempt.
//!
//! **Down** is a server
//! - that left [`SILENCES`] attempts unanswered, and has sent nothing since the first of them was asked, [`SILENT`] ago
//!   or longer;
//! - that could not be reached so many times, one after the other.
//!
//! **Lossy** is one that answers less than a third of what it is asked ([`LOSS_MAX`]). It is asked after those that are
//! up. It does not count as down: a resolver looks just so to whoever asks it for many names whose own servers are
//! dead, and then all of a pool do.
//!
//! **Up again** it is with its first reply, whatever that says. One that was lossy, or that fails soon after it was up
//! again, must answer several times in a row, the more the oftener that happens: a server that answers every tenth
//! question is so of no use for long.

use std::time::Duration;

use super::Standing;
use crate::time::Time;

/// Attempts without a reply, one after the other, that make a server suspect.
const SILENCES: u32 = 3;
/// For how long such a server must have sent nothing.
const SILENT: Duration = Duration::from_secs(1);
/// How long the first attempt at a server is waited for.
const FIRST_PATIENCE: Duration = Duration::from_millis(376);
/// A server that goes down so soon after it came back has a relapse.
const RELAPSE: Duration = Duration::from_secs(60);
/// Replies in a row that bring a server back after its first relapse, or after too much was lost; each further relapse
/// doubles them, up to the second number.
const REPLIES_IN_A_ROW: (u32, u32) = (3, 12);
/// A round trip that was not measured for so long counts half, so that a server that was slow once is tried again.
const FORGETTING: Duration = Duration::from_secs(10);

/// Shares of loss are numbers up to this one.
const WHOLE: u32 = 1 << 16;
/// The share of attempts without a reply above which a server is lossy: two thirds.
const LOSS_MAX: u32 = WHOLE / 3 * 2;
/// About so many of the last attempts count for it.
const LOSS_SPAN: u32 = 32;

/// What is known of one server.
#[derive(Clone, Debug)]
pub(super) struct Health {
    /// Smoothed round trip and its variation, in microseconds.
    round_trip: Option<(u32, u32)>,
    /// When the round trip was last measured.
    measured: Time,
    /// Share of attempts without a reply, out of [`WHOLE`], smoothed over [`LOSS_SPAN`] attempts.
    loss: u32,
    /// Attempts without a reply since the last one.
    silences: u32,
    /// About when the first of these was asked.
    silent_from: Time,
    /// Times in a row that it could not be reached.
    refusals: u32,
    standing: Standing,
    /// When the standing last changed.
    since: Time,
    /// Replies in a row that are wanted before it is up again.
    replies_missing: u32,
    /// What `replies_missing` begins from anew when one does not come.
    replies_needed: u32,
    /// Times in a row that it failed soon after it was up again.
    relapses: u32,
    /// Times it failed: went down, or became lossy.
    failures: u64,
    /// Times it went down.
    pub(super) outages: u64,
}

impl Health {
    /// Of a server that nothing is known of: it is taken to be up.
    pub(super) fn new(now: Time) -> Health {
        Health {
            round_trip: None,
            measured: now,
            loss: 0,
            silences: 0,
            silent_from: now,
            refusals: 0,
            standing: Standing::Up,
            since: now,
            replies_missing: 0,
            replies_needed: 0,
            relapses: 0,
            failures: 0,
            outages: 0,
        }
    }

    pub(super) fn standing(&self) -> Standing {
        self.standing
    }

    pub(super) fn is_down(&self) -> bool {
        self.standing == Standing::Down
    }

    /// Since when it has its standing.
    pub(super) fn since(&self) -> Time {
        self.since
    }

    /// The smoothed round trip, where there is one.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.round_trip.map(|(smoothed, _)| Duration::from_micros(smoothed.into()))
    }

    /// Percent of attempts without a reply, of late.
    pub(super) fn loss_percent(&self) -> u8 {
        (self.loss * 100 / WHOLE) as u8
    }

    /// How long a reply is waited for before another attempt is made, without bounds.
    pub(super) fn patience(&self) -> Duration {
        let micros = |(smoothed, variation): (u32, u32)| u64::from(smoothed) + 4 * u64::from(variation);
        self.round_trip.map_or(FIRST_PATIENCE, |round_trip| Duration::from_micros(micros(round_trip)))
    }

    /// What an attempt may be expected to cost beside `in_flight` others, in no unit: round trip and what a lost
    /// attempt costs, times those who wait. A server that was never measured seems fast, so that it gets known.
    pub(super) fn cost(&self, now: Time, in_flight: u32) -> u64 {
        const UNKNOWN_MICROS: u64 = 1_000;
        let halvings = ((now - self.measured).as_secs() / FORGETTING.as_secs()).min(20);
        let round_trip = self.round_trip.map_or(UNKNOWN_MICROS, |(smoothed, _)| u64::from(smoothed) >> halvings);
        let lost = self.patience().as_micros() as u64 * u64::from(self.loss) / u64::from(WHOLE);
        (round_trip + lost).max(1) * (u64::from(in_flight) + 1)
    }

    /// A reply came, `after` its attempt. Whether the server was down and is up again.
    pub(super) fn answered(&mut self, now: Time, after: Duration) -> bool {
        self.measure(now, after);
        (self.silences, self.refusals) = (0, 0);
        if self.standing == Standing::Up {
            self.loss -= self.loss / LOSS_SPAN;
            return false;
        }
        self.replies_missing -= 1;
        if self.replies_missing > 0 {
            return false;
        }
        let back = self.is_down();
        self.loss = 0;
        self.stands(now, Standing::Up);
        back
    }

    /// An attempt is without a reply as long as was to be waited. Whether the server has failed by that: see
    /// [`Health::standing`].
    pub(super) fn silent(&mut self, now: Time) -> bool {
        if self.silences == 0 {
            let patience = self.patience().as_micros() as u64;
            self.silent_from = Time::from_micros(now.as_micros().saturating_sub(patience));
        }
        self.silences += 1;
        self.missed(now, self.silences + self.refusals >= SILENCES && now - self.silent_from >= SILENT)
    }

    /// The server could not be reached. Whether it has failed by that.
    pub(super) fn unreachable(&mut self, now: Time) -> bool {
        self.refusals += 1;
        self.missed(now, self.refusals >= SILENCES)
    }

    /// An attempt brought nothing; `dead`: and by now that means down.
    fn missed(&mut self, now: Time, dead: bool) -> bool {
        if self.standing != Standing::Up {
            self.replies_missing = self.replies_needed;
            let falls = dead && self.standing == Standing::Lossy;
            if falls {
                self.stands(now, Standing::Down);
            }
            return falls;
        }
        self.loss += (WHOLE - self.loss) / LOSS_SPAN;
        let lossy = self.loss > LOSS_MAX;
        if !dead && !lossy {
            return false;
        }
        self.fails(now, lossy);
        self.stands(now, if dead { Standing::Down } else { Standing::Lossy });
        true
    }

    /// Decides how many replies in a row are wanted.
    fn fails(&mut self, now: Time, lossy: bool) {
        let relapse = self.failures > 0 && now - self.since < RELAPSE;
        self.relapses = if relapse { self.relapses + 1 } else { 0 };
        self.failures += 1;
        let (fewest, most) = REPLIES_IN_A_ROW;
        self.replies_needed = match self.relapses {
            0 if !lossy => 1,
            0 => fewest,
            relapses => most.min(fewest << (relapses - 1).min(8)),
        };
        self.replies_missing = self.replies_needed;
    }

    fn stands(&mut self, now: Time, standing: Standing) {
        (self.standing, self.since) = (standing, now);
        self.outages += u64::from(standing == Standing::Down);
    }

    fn measure(&mut self, now: Time, after: Duration) {
        // A minute is more than any attempt is waited for.
        let sample = after.as_micros().min(60_000_000) as u32;
        self.measured = now;
        self.round_trip = Some(match self.round_trip {
            None => (sample, sample / 2),
            Some((smoothed, variation)) => {
                let variation = variation - variation / 4 + smoothed.abs_diff(sample) / 4;
                (smoothed - smoothed / 8 + sample / 8, variation)
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Time {
        Time::from_micros(millis * 1_000)
    }

    fn span(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn round_trips_are_smoothed_as_rfc_6298_has_it() {
        let mut health = Health::new(Time::ZERO);
        assert_eq!((health.patience(), health.round_trip()), (FIRST_PATIENCE, None));
        health.answered(millis(1), span(80));
        // SRTT 80, RTTVAR 40: 80 + 4 · 40.
        assert_eq!((health.patience(), health.round_trip()), (span(240), Some(span(80))));
        health.answered(millis(2), span(160));
        // RTTVAR 3/4 · 40 + 1/4 · 80 = 50, SRTT 7/8 · 80 + 1/8 · 160 = 90.
        assert_eq!((health.patience(), health.round_trip()), (span(290), Some(span(90))));
        for i in 0..100 {
            health.answered(millis(10 + i), span(20));
        }
        assert!(health.patience() < span(25) && health.patience() >= span(20));
        health.answered(millis(200), Duration::MAX);
        assert!(health.patience() < Duration::from_secs(100), "no sample overflows");
    }

    #[test]
    fn three_silences_and_a_second_make_it_down_and_one_reply_up() {
        let mut health = Health::new(Time::ZERO);
        health.answered(millis(0), span(10));
        for at in [30, 60, 90, 500, 999] {
            assert!(!health.silent(millis(at)), "silent for less than a second: {at}");
        }
        assert!(health.silent(millis(1_000)) && health.is_down(), "a second after the first was asked");
        assert_eq!(health.since(), millis(1_000));
        assert!(!health.silent(millis(1_040)), "it is down already");
        assert!(health.answered(millis(5_000), span(10)) && !health.is_down());
        assert_eq!((health.since(), health.outages), (millis(5_000), 1));
        for at in [6_000, 8_000] {
            assert!(!health.silent(millis(at)), "two are not enough");
        }
        assert!(!health.answered(millis(8_100), span(10)), "it was not down");
        for at in [9_000, 10_000] {
            assert!(!health.silent(millis(at)), "a reply begins the count anew");
        }
    }

    #[test]
    fn what_cannot_be_reached_is_down_at_once() {
        let mut health = Health::new(Time::ZERO);
        let now = millis(7);
        assert!(!health.unreachable(now) && !health.unreachable(now));
        assert!(health.unreachable(now) && health.is_down());
        assert!(health.answered(millis(8), span(1)));
    }

    #[test]
    fn what_loses_most_is_lossy_and_must_answer_three_times_in_a_row() {
        let mut health = Health::new(Time::ZERO);
        let mut failed_at = None;
        for i in 0..200 {
            let failed = if i % 10 == 9 {
                health.answered(millis(i), span(1));
                false
            } else {
                health.silent(millis(i))
            };
            if failed {
                failed_at = Some(i);
                break;
            }
        }
        let at = failed_at.expect("nine of ten are lost");
        assert!((30..100).contains(&at) && health.standing() == Standing::Lossy, "{at}");
        for reply in [true, true, false, true, true] {
            match reply {
                true => assert!(!health.answered(millis(at + 1), span(1))),
                false => assert!(!health.silent(millis(at + 1))),
            }
            assert_eq!(health.standing(), Standing::Lossy);
        }
        assert!(!health.answered(millis(at + 1), span(1)), "it was lossy, not down");
        assert_eq!((health.standing(), health.loss_percent(), health.outages), (Standing::Up, 0, 0));
    }

    #[test]
    fn a_third_lost_is_borne() {
        let mut health = Health::new(Time::ZERO);
        for i in 0..3_000 {
            match i % 3 {
                0 => assert!(!health.silent(millis(i * 10))),
                _ => assert!(!health.answered(millis(i * 10), span(1))),
            }
        }
        assert!((25..45).contains(&health.loss_percent()), "{}", health.loss_percent());
    }

    #[test]
    fn relapses_ask_for_more_replies_until_it_has_been_up_for_a_minute() {
        let mut health = Health::new(Time::ZERO);
        let mut now = 0;
        let mut replies = || {
            for _ in 0..3 {
                now += 600;
                health.silent(millis(now));
            }
            assert!(health.is_down());
            let mut replies = 1;
            while !health.answered(millis(now), span(1)) {
                replies += 1;
            }
            if replies == 12 {
                now += 60_000;
            }
            replies
        };
        assert_eq!([(); 7].map(|()| replies()), [1, 3, 6, 12, 1, 3, 6]);
    }

    #[test]
    fn cost_grows_with_load_and_loss_and_is_forgotten() {
        let mut slow = Health::new(Time::ZERO);
        let mut fast = Health::new(Time::ZERO);
        assert!(slow.cost(Time::ZERO, 0) < slow.cost(Time::ZERO, 1));
        slow.answered(Time::ZERO, span(200));
        fast.answered(Time::ZERO, span(20));
        assert!(fast.cost(Time::ZERO, 8) < slow.cost(Time::ZERO, 0));
        assert!(fast.cost(Time::ZERO, 10) > slow.cost(Time::ZERO, 0));
        let before = fast.cost(Time::ZERO, 0);
        fast.silent(Time::ZERO);
        assert!(fast.cost(Time::ZERO, 0) > before);
        fast.answered(Time::from_secs(60), span(20));
        assert!(slow.cost(Time::from_secs(60), 0) < fast.cost(Time::from_secs(60), 0), "it is tried again");
        assert!(slow.cost(Time::from_secs(u64::MAX / 2_000_000), 3) > 0);
    }
}
