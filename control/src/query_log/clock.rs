//! Whether the time of the day says how old a query is: a clock that is set far ahead, by mistake or after it was far
//! behind, makes everything look old at once.

use std::time::{Duration, Instant};

/// So far the time of the day may run ahead of what has passed: it is how machines are set right as they go.
const JUMP: Duration = Duration::from_secs(3_600);
/// How long it is doubted after it ran further ahead. Whoever set it wrong has so long to set it right.
const DOUBT: Duration = Duration::from_secs(600);

/// The time of the day beside a clock that nobody sets.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// Both at the last look, the time of the day in microseconds since 1970.
    last: Option<(Instant, u64)>,
    doubted_until: Option<Instant>,
}

impl Clock {
    /// Whether queries may go for their age: it is `now` by the clock that nobody sets, and so many microseconds since 1970.
    pub(super) fn is_trusted(&mut self, now: Instant, unix_micros: u64) -> bool {
        if let Some((then, unix_then)) = self.last.replace((now, unix_micros)) {
            let passed = now.saturating_duration_since(then);
            let ahead = Duration::from_micros(unix_micros.saturating_sub(unix_then)).saturating_sub(passed);
            if ahead > JUMP {
                self.doubted_until = Some(now + DOUBT);
                log::warn!(
                    "the time of the day went {} s ahead at once: nothing in the query log goes for its age for {DOUBT:?}",
                    ahead.as_secs()
                );
            }
        }
        self.doubted_until.is_none_or(|until| now >= until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumped_ahead_is_doubted_for_a_while() {
        const DAY: u64 = 86_400_000_000;
        let begin = Instant::now();
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let mut clock = Clock::default();
        assert!(clock.is_trusted(at(0), DAY));
        // As fast as it should be, set right by less than an hour, and set back.
        assert!(clock.is_trusted(at(7_200), DAY + 7_200_000_000));
        assert!(clock.is_trusted(at(7_201), DAY + 10_800_000_000));
        assert!(clock.is_trusted(at(7_202), 0));
        // From 1970 to 2023.
        let now = 1_700_000_000_000_000;
        assert!(!clock.is_trusted(at(7_203), now));
        assert!(!clock.is_trusted(at(7_802), now + 599_000_000));
        assert!(clock.is_trusted(at(7_803), now + 600_000_000));
        assert!(!clock.is_trusted(at(7_804), now + 600_000_000 + DAY));
    }
}
