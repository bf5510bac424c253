//! How many lines of the log trouble with other servers may take.

use std::time::{Duration, Instant};

/// Keeps the log readable when a primary of thousands of zones is gone: a few are named, the others counted.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    since: Option<Instant>,
    said: u32,
    unsaid: u32,
}

impl Complaints {
    /// Lines within [`Complaints::SPAN`].
    const SAID_MAX: u32 = 20;
    const SPAN: Duration = Duration::from_secs(10);

    /// Whether another one may be said; where not, it is counted.
    pub(super) fn may_say(&mut self, now: Instant) -> bool {
        self.since.get_or_insert(now);
        let may = self.said < Complaints::SAID_MAX;
        *(if may { &mut self.said } else { &mut self.unsaid }) += 1;
        may
    }

    /// Says how many were not said, once the span is over.
    pub(super) fn sum_up(&mut self, now: Instant) {
        if self.since.is_some_and(|since| now - since >= Complaints::SPAN) {
            if self.unsaid > 0 {
                log::warn!("{} more like these within {} seconds", self.unsaid, Complaints::SPAN.as_secs());
            }
            *self = Complaints::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_complaints_are_said_and_the_others_counted() {
        let (mut complaints, begin) = (Complaints::default(), Instant::now());
        let said = (0..1_000).filter(|_| complaints.may_say(begin)).count();
        assert_eq!((said, complaints.unsaid), (20, 980));
        complaints.sum_up(begin + Duration::from_secs(9));
        assert!(!complaints.may_say(begin));
        complaints.sum_up(begin + Duration::from_secs(10));
        assert!(complaints.may_say(begin + Duration::from_secs(10)));
    }
}
