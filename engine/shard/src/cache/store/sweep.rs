//! What is to be done from time to time, a little at a time: what has run out for good is removed, what is beyond a
//! lowered limit put out, holes closed, and memory that is free given back.

use std::time::Duration;

use super::{Haste, Queue, State, Store};
use crate::cache::denial::Depths;
use crate::telemetry::Counters;
use crate::time::Time;

/// Segments that a sweep looks through, empties, copies together, or gives back.
const SWEEP_SEGMENTS: usize = 2;
/// Until the next sweep, where there is more to do.
const SWEEP_PAUSE: Duration = Duration::from_millis(10);
/// Between sweeps otherwise, at least.
const SWEEP_REST: Duration = Duration::from_secs(1);

impl Store {
    /// Removes everything. Its memory goes with the next sweeps.
    pub(in crate::cache) fn clear(&mut self) {
        self.table.clear();
        self.ghosts.clear(self.limit);
        self.depths = Depths::new();
        (self.small, self.main, self.victim) = (Queue::default(), Queue::default(), None);
        let segments = std::mem::take(&mut self.segments).into_iter().map(|segment| segment.octets);
        self.spare.extend(segments.filter(|octets| octets.len() == self.segment_octets));
        self.unused = Vec::new();
        (self.held, self.live) = (0, 0);
    }

    /// Does some of what is to be done from time to time: what has run out for good is removed, what is beyond the limit
    /// put out, what is full of holes copied together, and memory that is free given back. Returns when to call
    /// again: soon where there is more to do.
    pub(in crate::cache) fn sweep(&mut self, now: Time, counters: &mut Counters) -> Option<Time> {
        let mut more = false;
        let mut soonest: Option<Time> = None;
        let (mut swept, mut holes, mut emptiest) = (0, 0, None);
        for i in 0..self.segments.len() {
            let number = (self.hand + i) % self.segments.len();
            if self.segments[number].live > 0 && self.segments[number].expires + self.stale <= now {
                if swept == SWEEP_SEGMENTS {
                    (more, self.hand) = (true, number);
                    break;
                }
                swept += 1;
                self.sweep_segment(now, number, counters);
            }
            let segment = &self.segments[number];
            if segment.live > 0 {
                let gone = segment.expires + self.stale;
                soonest = Some(soonest.map_or(gone, |soonest| soonest.min(gone)));
            }
            if segment.state == State::Queued && segment.octets.len() == self.segment_octets {
                holes += segment.octets.len() - segment.live as usize;
                if emptiest.is_none_or(|(live, _)| segment.live < live) {
                    emptiest = Some((segment.live, number));
                }
            }
        }
        if holes > self.held / 4
            && let Some((live, number)) = emptiest
            && live as usize <= self.segment_octets / 2
        {
            more |= self.empty(number);
        }
        more |= self.shrink(now, counters);
        if more {
            return Some(now + SWEEP_PAUSE);
        }
        soonest.map(|soonest| soonest.max(now + SWEEP_REST))
    }

    /// Puts out some of what is beyond the limit, and gives back some of what is not in use. Returns whether there is more.
    fn shrink(&mut self, now: Time, counters: &mut Counters) -> bool {
        for _ in 0..SWEEP_SEGMENTS {
            if self.room() >= 0 || !self.drain(now, usize::MAX, Haste::Ahead, counters) {
                break;
            }
        }
        if self.table.len() == 0 {
            let queued = self.small.octets + self.main.octets > 0;
            if queued || !self.segments.is_empty() {
                self.clear();
            }
        }
        // One is about to be used, where there is anything.
        let kept = usize::from(self.table.len() > 0);
        for _ in 0..2 * SWEEP_SEGMENTS {
            if self.spare.len() > kept {
                self.spare.pop();
            }
        }
        if self.spare.is_empty() {
            self.spare = Vec::new();
        }
        self.spare.len() > kept || self.room() < 0 && self.table.len() > 0
    }

    /// Removes what has run out for good from a segment.
    fn sweep_segment(&mut self, now: Time, number: usize, counters: &mut Counters) {
        let (mut at, mut soonest) = (0, Time::from_micros(u64::MAX));
        // A segment whose last entry goes has none left to look at.
        while at < self.segments[number].used as usize {
            let place = self.place(number as u32, at);
            let head = self.head(place);
            at += head.size();
            if head.heat().is_dead() {
                continue;
            }
            if head.expires() + self.stale <= now {
                counters.cache_expired += 1;
                self.remove(place);
            } else {
                soonest = soonest.min(head.expires());
            }
        }
        self.segments[number].expires = soonest;
    }

    /// Copies what is left in a full segment to the open one of its queue. Returns whether there was room.
    fn empty(&mut self, number: usize) -> bool {
        let in_main = self.segments[number].in_main;
        let mut at = 0;
        while at < self.segments[number].used as usize {
            let place = self.place(number as u32, at);
            let head = self.head(place);
            at += head.size();
            if !head.heat().is_dead() && !self.relocate(place, head, in_main, head.heat()) {
                return false;
            }
        }
        let full = &mut self.queue(in_main).full;
        let at = full.iter().position(|&other| other as usize == number).expect("it is in its queue");
        full.remove(at);
        self.release(number as u32);
        true
    }
}
