//! What servers that are not up are asked, so that their return is seen.
//!
//! Each is asked at once when it fails, every second for ten seconds, then every two seconds, give or take a
//! fifth, by chance, so that the cores do not ask together. Two questions take turns: the one that was last left
//! unanswered, and the root's name servers. The first tells that the server answers again what it could not; the
//! second, which any server answers somehow, that it is there, even where the first is one that it never answers. A
//! question that is answered is asked again, soon, as long as more replies are wanted.

use std::time::Duration;

use smallvec::SmallVec;

use super::Candidate;
use crate::time::Time;
use crate::wire::rdata::rtype;

/// A question to a server that is not up. What comes of it is told to [`Servers`](super::Servers) as of any attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Whom to ask.
    pub candidate: Candidate,
    /// The name, in lower case.
    pub name: SmallVec<[u8; 64]>,
    /// The type.
    pub qtype: u16,
    /// How long to wait for the reply.
    pub patience: Duration,
}

/// How long the reply to a probe is waited for: longer than any patience of a server that is fit for use.
pub(super) const PROBE_PATIENCE: Duration = Duration::from_millis(1_500);
/// Between two probes of a core, whichever servers they go to.
pub(super) const PROBE_GAP: Duration = Duration::from_millis(5);

/// Between two probes of a server, in microseconds: at first, later, and when it answers but more replies are wanted.
const EARLY_MICROS: u64 = 1_000_000;
const LATER_MICROS: u64 = 2_000_000;
const ANSWERED: Duration = Duration::from_millis(250);
/// For how long it is asked as at first.
const EARLY: Duration = Duration::from_secs(10);

/// What one server is to be probed with.
#[derive(Clone, Debug, Default)]
pub(super) struct Question {
    /// The question last left unanswered; empty: none was.
    name: Vec<u8>,
    qtype: u16,
    /// The next probe asks for it.
    turn: bool,
    /// Since the last probe a reply came.
    answered: bool,
}

impl Question {
    /// Remembers a question that was left unanswered.
    pub(super) fn set(&mut self, name: &[u8], qtype: u16) {
        // Not what is asked anyway.
        if name != ROOT {
            self.name.clear();
            self.name.extend_from_slice(name);
            self.qtype = qtype;
        }
    }

    /// A reply came. When to ask again, should more be wanted.
    pub(super) fn answered(&mut self, now: Time) -> Time {
        self.answered = true;
        now + ANSWERED
    }

    /// The question to ask now.
    pub(super) fn next(&mut self) -> (SmallVec<[u8; 64]>, u16) {
        if !self.answered {
            self.turn = !self.turn;
        }
        self.answered = false;
        match self.name.as_slice() {
            name if self.turn && !name.is_empty() => (SmallVec::from_slice(name), self.qtype),
            _ => (SmallVec::from_slice(ROOT), rtype::NS),
        }
    }
}

const ROOT: &[u8] = &[0];

/// When a server that has not been up for `failing` is asked next. `random` is any number.
pub(super) fn next_time(now: Time, failing: Duration, random: u32) -> Time {
    let interval = if failing < EARLY { EARLY_MICROS } else { LATER_MICROS };
    // Four fifths and up to two more of them.
    let part = (interval * 2 / 5 * u64::from(random)) >> 32;
    now + Duration::from_micros(interval * 4 / 5 + part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &[u8] = b"\x03www\x07example\x04test\0";

    #[test]
    fn two_questions_take_turns_and_what_is_answered_stays() {
        let mut question = Question::default();
        let asked = |question: &mut Question| question.next().1;
        assert_eq!([(); 3].map(|()| asked(&mut question)), [rtype::NS; 3]);
        question = Question::default();
        question.set(NAME, rtype::A);
        question.set(ROOT, rtype::NS);
        let turns = [(); 4].map(|()| asked(&mut question));
        assert!(turns == [rtype::A, rtype::NS, rtype::A, rtype::NS], "{turns:?}");
        assert_eq!(question.answered(Time::ZERO), Time::ZERO + ANSWERED);
        assert_eq!([asked(&mut question), asked(&mut question)], [rtype::NS, rtype::A]);
        question.answered(Time::ZERO);
        assert_eq!(question.next(), (SmallVec::from_slice(NAME), rtype::A));
    }

    #[test]
    fn probes_come_every_second_then_every_two_give_or_take_a_fifth() {
        for (failing, least, most) in [(0, 800, 1_200), (9_999, 800, 1_200), (10_000, 1_600, 2_400)] {
            for (random, expected) in [(0, least), (u32::MAX, most)] {
                let next = next_time(Time::ZERO, Duration::from_millis(failing), random);
                assert!(next.as_micros().abs_diff(expected * 1_000) <= 1, "{next:?}");
            }
        }
    }
}
