//! Entries in memory of the cache's own: segments that are filled from front to back, emptied in the same order, and
//! used again.
//!
//! **Eviction** is S3-FIFO (Yang, Zhang, Qiu, Yue and Vinayak, *FIFO queues are all you need for cache eviction*, 2023): a
//! tenth of the memory is the *small* queue, where entries begin; what is asked for twice before it comes to the end of
//! it goes on to the *main* queue, everything else is put out and remembered as a ghost; ghosts that come back begin in the
//! main queue. At its end an entry begins again, counted down by one, as long as it was asked for. Names that are asked
//! for once, however many, pass through the small queue. Three bits count instead of the paper's two, which is worth a
//! quarter of a point on the trace of `bench/results/hit-rate.txt`.
//!
//! **Memory.** Both queues are rows of segments, as in a log-structured store: a new entry is written behind the last one of
//! its queue's open segment; to make room the oldest segment of a queue, the *victim*, is gone through entry by entry,
//! what stays is copied to the open segment of the main queue, and the victim is free as a whole. So there is nothing to
//! fragment: what the cache takes from the allocator are segments of one size, and it takes and returns them whole. An
//! entry longer than a quarter of a segment has one for itself, which changes queues without being copied.
//!
//! A victim is gone through a little with each insertion, before there is need of it, so that none of them waits long; one
//! segment is held in reserve for what is copied. Answers that are fetched again mostly have the length of the former ones
//! and take their place. What is removed leaves a hole, which `sweep` closes in time.

#[cfg(test)]
mod books;
mod sweep;

use std::collections::VecDeque;
use std::time::Duration;

use super::Key;
use super::answer::AnswerRef;
use super::denial::Depths;
use super::entry::{self, HEAD_OCTETS, HEAT_AT, Head, NAME_AT, Wanted};
use super::ghost::Ghosts;
use super::table::{Place, Table};
use crate::limits::CACHE_OCTETS_MAX;
use crate::telemetry::Counters;
use crate::time::Time;
use crate::wire::name;

/// The entries of one core.
#[derive(Debug)]
pub(super) struct Store {
    /// Octets that may be used.
    limit: usize,
    /// How long entries stay past their TTL.
    stale: Duration,
    /// A power of two.
    segment_octets: usize,
    /// Places count eight octets each: so many bits of them are the place in the segment, the others its number.
    place_bits: u32,
    table: Table,
    segments: Vec<Segment>,
    /// Numbers of segments that have no memory.
    unused: Vec<u32>,
    small: Queue,
    main: Queue,
    victim: Option<Victim>,
    /// Memory of segments that are not in use.
    spare: Vec<Box<[u8]>>,
    ghosts: Ghosts,
    depths: Depths,
    /// Octets of the segments in use.
    held: usize,
    /// Octets of the entries in them.
    live: usize,
    /// The segment where the next sweep begins.
    hand: usize,
}

#[derive(Debug, Default)]
struct Segment {
    octets: Box<[u8]>,
    /// Octets of the entries in it, dead ones as well.
    used: u32,
    /// Octets of those that live.
    live: u32,
    /// No entry's TTL runs out before.
    expires: Time,
    state: State,
    in_main: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Without memory.
    #[default]
    Unused,
    /// Entries are written to it.
    Open,
    /// It has its place in its queue.
    Queued,
    /// It is being emptied.
    Victim,
}

const _: () = assert!(size_of::<Segment>() == 40);

#[derive(Debug, Default)]
struct Queue {
    /// Full segments, the oldest first.
    full: VecDeque<u32>,
    open: Option<u32>,
    /// Octets of all of them.
    octets: usize,
}

/// The segment that is being emptied, and how far that has come.
#[derive(Clone, Copy, Debug)]
struct Victim {
    number: u32,
    at: usize,
}

/// Where a new entry begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// In the small queue, or in the main one where its ghost is known.
    New,
    /// In the main queue.
    Main,
}

/// How badly room is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Haste {
    /// It will be needed.
    Ahead,
    /// It is needed for an entry that has come.
    Now,
    /// It is needed, and much was gone through without result: who comes to the end of a queue is put out.
    Ruthless,
}

/// Octets of a segment, but for caches where few of them would fit, or very many.
const SEGMENT_OCTETS: usize = 64 << 10;
const SEGMENT_OCTETS_MIN: usize = 64;
const SEGMENT_OCTETS_MAX: usize = 1 << 20;
/// Octets of cache for each part of the table: some two thousand slots.
const CACHE_OCTETS_A_PART: usize = 256 << 10;
const PARTS_MAX: usize = 1 << 15;
/// The small queue is this part of the memory.
const SMALL_PART: usize = 10;
/// Asked for so often, an entry leaves the small queue for the main one.
const OFTEN: u8 = 2;
/// Below this part of the limit, room is made ahead of need.
const AHEAD_PART: usize = 64;
/// Octets of the victim that are gone through ahead for each octet that comes in: of those in the main queue about one in
/// seven is put out, and few victims are from there.
const AHEAD_OCTETS: usize = 4;
/// Segments emptied for one insertion before entries are put out however often they were asked for; and before it is given
/// up.
const VICTIMS_GENTLY: usize = 32;
const VICTIMS_MAX: usize = 40;

impl Store {
    /// An empty one that may use `octets`, and has none to begin with but for the directory of its table.
    pub(super) fn new(octets: usize, stale: Duration) -> Store {
        let limit = octets.min(CACHE_OCTETS_MAX);
        let segment_octets = (limit / 64).min(SEGMENT_OCTETS).max(limit / 4096).max(1);
        let segment_octets = (1 << segment_octets.ilog2()).clamp(SEGMENT_OCTETS_MIN, SEGMENT_OCTETS_MAX);
        Store {
            limit,
            stale,
            segment_octets,
            place_bits: (segment_octets / 8).ilog2(),
            table: Table::new((limit / CACHE_OCTETS_A_PART).clamp(1, PARTS_MAX)),
            segments: Vec::new(),
            unused: Vec::new(),
            small: Queue::default(),
            main: Queue::default(),
            victim: None,
            spare: Vec::new(),
            ghosts: Ghosts::new(limit),
            depths: Depths::new(),
            held: 0,
            live: 0,
            hand: 0,
        }
    }

    /// May use so many octets from now on. What is beyond them goes with the next sweeps.
    pub(super) fn set_limit(&mut self, octets: usize, stale: Duration) {
        self.stale = stale;
        if octets.min(CACHE_OCTETS_MAX) != self.limit {
            self.limit = octets.min(CACHE_OCTETS_MAX);
            self.ghosts = Ghosts::new(self.limit);
        }
    }

    /// Octets that it takes from the allocator.
    pub(super) fn octets(&self) -> usize {
        let lists = self.unused.capacity() + self.small.full.capacity() + self.main.full.capacity();
        self.held
            + self.spare.len() * self.segment_octets
            + self.segments.capacity() * size_of::<Segment>()
            + lists * 4
            + self.table.octets()
            + self.ghosts.octets()
    }

    /// Entries held.
    pub(super) fn entries(&self) -> usize {
        self.table.len()
    }

    /// The table, to walk over all entries.
    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    /// Octets of the longest entry that is kept: more would put out too much of everything else.
    pub(super) fn entry_octets_max(&self) -> usize {
        self.limit / 4
    }

    #[inline]
    fn split(&self, place: Place) -> (usize, usize) {
        let place = place.0 as usize;
        (place >> self.place_bits, (place * 8) & (self.segment_octets - 1))
    }

    fn place(&self, number: u32, at: usize) -> Place {
        let place = ((number as usize) << self.place_bits) + at / 8;
        Place(u32::try_from(place).expect("the limit keeps places within 32 bits"))
    }

    /// The octets from an entry on, to the end of its segment.
    #[inline]
    pub(super) fn entry(&self, place: Place) -> &[u8] {
        let (number, at) = self.split(place);
        &self.segments[number].octets[at..]
    }

    /// What stands before the answer for `name` under `key`, and the octets from the entry on: if it is at the first place
    /// that its tag leads to, as nearly all are.
    #[inline(always)]
    pub(super) fn find_at_once(&mut self, hash: u64, name: &[u8], key: Key) -> Option<(Head, &mut [u8])> {
        let place = self.table.first(hash)?;
        let (number, at) = self.split(place);
        // Bounds that hold are looked at in this form, since each check that may fail keeps in memory what it would say.
        let entry = self.segments.get_mut(number)?.octets.get_mut(at..)?;
        let head = Head::from_octets(entry.first_chunk()?);
        let is_it =
            head.is(Wanted::new(hash, key, name.len())) && same(name, entry.get(NAME_AT..NAME_AT + name.len())?);
        if is_it { Some((head, entry)) } else { None }
    }

    /// The place of `name` under `key`, and what stands there before the answer.
    pub(super) fn find(&self, hash: u64, name: &[u8], key: Key) -> Option<(Place, Head)> {
        let wanted = Wanted::new(hash, key, name.len());
        self.table.find(hash, |place| {
            let entry = self.entry(place);
            let head = Head::read(entry);
            (head.is(wanted) && same(name, &entry[NAME_AT..][..name.len()])).then_some((place, head))
        })
    }

    /// What stands before the answer at `place`.
    #[inline]
    pub(super) fn head(&self, place: Place) -> Head {
        Head::read(self.entry(place))
    }

    /// The answer at `place`.
    #[inline]
    pub(super) fn answer(&self, place: Place) -> AnswerRef<'_> {
        self.answer_behind(place, &self.head(place))
    }

    /// The answer at `place`, where `head` stands before it.
    #[inline]
    pub(super) fn answer_behind(&self, place: Place, head: &Head) -> AnswerRef<'_> {
        head.answer(self.entry(place))
    }

    /// Sets how often the entry at `place` was asked for.
    #[inline]
    pub(super) fn set_heat(&mut self, place: Place, heat: entry::Heat) {
        let (number, at) = self.split(place);
        self.segments[number].octets[at + HEAT_AT] = heat.0;
    }

    /// Whether the entry at `place` has been asked for again.
    pub(super) fn is_in_main(&self, place: Place) -> bool {
        self.segments[self.split(place).0].in_main
    }

    /// The depths that have denials that hold below.
    pub(super) fn depths(&self) -> &Depths {
        &self.depths
    }

    /// Puts an entry in the place of the one that is kept under the same key, where there is one; otherwise at its start.
    /// Returns whether there was room.
    pub(super) fn insert(
        &mut self,
        now: Time,
        mut head: Head,
        answer: AnswerRef<'_>,
        start: Start,
        counters: &mut Counters,
    ) -> bool {
        let mut in_main = start == Start::Main;
        if let Some((place, old)) = self.find(head.hash(), answer.name(), head.key()) {
            head = head.with_heat(head.heat().with_often(old.heat().often()));
            if old.size() == head.size() {
                self.count_cut(place, false);
                self.write(place, &head, answer);
                return true;
            }
            in_main |= self.segments[self.split(place).0].in_main;
            self.remove(place);
        } else {
            in_main |= self.ghosts.take(head.hash());
        }
        let size = head.size();
        if self.room() < self.ahead() {
            self.drain(now, AHEAD_OCTETS * size, Haste::Ahead, counters);
        }
        let Some(place) = self.make_place(now, in_main, size, head.hash(), counters) else { return false };
        self.live += size;
        let (number, _) = self.split(place);
        self.segments[number].live += size as u32;
        self.write(place, &head, answer);
        self.table.insert(head.hash(), place);
        self.trim();
        true
    }

    fn write(&mut self, place: Place, head: &Head, answer: AnswerRef<'_>) {
        let (number, at) = self.split(place);
        let segment = &mut self.segments[number];
        let entry = &mut segment.octets[at..at + head.size()];
        head.write(entry);
        answer.put(&mut entry[HEAD_OCTETS..]);
        segment.expires = segment.expires.min(head.expires());
        self.count_cut(place, true);
    }

    /// Removes the entry at `place`.
    pub(super) fn remove(&mut self, place: Place) {
        self.count_cut(place, false);
        let head = self.head(place);
        self.table.remove(head.hash(), place);
        self.bury(place, head);
        let number = self.split(place).0 as u32;
        let Segment { live: 0, state, in_main, .. } = self.segments[number as usize] else { return };
        match state {
            State::Queued => {
                let full = &mut self.queue(in_main).full;
                let at = full.iter().position(|&other| other == number).expect("it is in its queue");
                full.remove(at);
                self.release(number);
            }
            State::Open => self.segments[number as usize].used = 0,
            State::Unused | State::Victim => {}
        }
    }

    /// The entry at `place` is no more; the table knows it already.
    fn bury(&mut self, place: Place, head: Head) {
        self.set_heat(place, head.heat().dead());
        self.live -= head.size();
        let (number, _) = self.split(place);
        self.segments[number].live -= head.size() as u32;
    }

    /// Counts the entry at `place` among the denials that hold below, or no longer.
    fn count_cut(&mut self, place: Place, is_there: bool) {
        let answer = self.answer(place);
        if !answer.cuts() {
            return;
        }
        let labels = name::labels(answer.name()).count();
        match is_there {
            true => self.depths.add(labels),
            false => self.depths.remove(labels),
        }
    }

    fn queue(&mut self, in_main: bool) -> &mut Queue {
        if in_main { &mut self.main } else { &mut self.small }
    }

    /// Octets that may still be used; spare segments are among them.
    fn room(&self) -> isize {
        self.limit as isize + (self.spare.len() * self.segment_octets) as isize - self.octets() as isize
    }

    /// With less room than this, some more is made.
    fn ahead(&self) -> isize {
        (2 * self.segment_octets).max(self.limit / AHEAD_PART) as isize
    }

    /// Whether an entry of this size lies in a segment of its own.
    fn has_own_segment(&self, size: usize) -> bool {
        size > self.segment_octets / 4
    }

    /// Room for an entry at the open end of a queue; others are put out for it. `None`: there is none to be had.
    fn make_place(
        &mut self,
        now: Time,
        in_main: bool,
        size: usize,
        hash: u64,
        counters: &mut Counters,
    ) -> Option<Place> {
        for victims in 0..VICTIMS_MAX {
            let is_open = self.has_open_room(in_main, size);
            let needed = match is_open {
                true => 0,
                false if self.has_own_segment(size) => allocated(size),
                false => self.segment_octets,
            };
            // What was put out, or moved, may have changed what grows.
            let growth = self.table.growth(hash) + self.list_growth();
            // Where the limit was lowered, memory that is there may be used again, and no other.
            let again = self.room() < 0 && (is_open || needed == self.segment_octets && self.spare.len() >= 2);
            if again || self.room() >= (needed + growth + self.segment_octets) as isize {
                if self.list_growth() > 0 && !again {
                    self.grow_lists();
                }
                return Some(self.take_place(in_main, size));
            }
            let haste = if victims < VICTIMS_GENTLY { Haste::Now } else { Haste::Ruthless };
            if !self.drain(now, usize::MAX, haste, counters) {
                return None;
            }
        }
        None
    }

    /// Octets that the lists grow by before there is one segment more: one number is held in reserve, like a segment,
    /// for what is copied.
    fn list_growth(&self) -> usize {
        let numbers = self.unused.len() + self.segments.capacity() - self.segments.len();
        if numbers < 2 { self.more_segments() * (size_of::<Segment>() + 3 * 4) } else { 0 }
    }

    /// Makes room for more segments in the list of them, and for the number of each in each list, so that these grow with
    /// no other.
    fn grow_lists(&mut self) {
        let count = self.segments.capacity() + self.more_segments();
        self.segments.reserve_exact(count - self.segments.len());
        for list in [&mut self.small.full, &mut self.main.full] {
            list.reserve_exact(count - list.len());
        }
        self.unused.reserve_exact(count - self.unused.len());
    }

    /// How many segments the list of them makes room for at once.
    fn more_segments(&self) -> usize {
        (self.segments.len() / 8).max(4)
    }

    /// Whether the open segment of a queue has room for an entry.
    fn has_open_room(&self, in_main: bool, size: usize) -> bool {
        let open = if in_main { self.main.open } else { self.small.open };
        let is_room = |number: u32| {
            let segment = &self.segments[number as usize];
            segment.used as usize + size <= segment.octets.len()
        };
        !self.has_own_segment(size) && open.is_some_and(is_room)
    }

    /// The next place of a queue, in its open segment or a new one.
    fn take_place(&mut self, in_main: bool, size: usize) -> Place {
        let open = self.queue(in_main).open;
        match open.filter(|_| self.has_open_room(in_main, size)) {
            Some(number) => {
                let segment = &mut self.segments[number as usize];
                let at = segment.used as usize;
                segment.used += size as u32;
                self.place(number, at)
            }
            None => self.open(in_main, size),
        }
    }

    /// Opens a segment for an entry.
    fn open(&mut self, in_main: bool, size: usize) -> Place {
        let own = self.has_own_segment(size);
        let length = if own { allocated(size) } else { self.segment_octets };
        // Spare segments count as room: as many are given back as are in the way.
        while own && !self.spare.is_empty() && self.octets() + length > self.limit {
            self.spare.pop();
        }
        let octets = self.spare.pop_if(|_| !own).unwrap_or_else(|| vec![0; length].into());
        self.held += octets.len();
        let number = self.unused.pop().unwrap_or_else(|| {
            if self.segments.len() == self.segments.capacity() {
                self.grow_lists();
            }
            self.segments.push(Segment::default());
            (self.segments.len() - 1) as u32
        });
        let queue = self.queue(in_main);
        queue.octets += octets.len();
        let full = if own { Some(number) } else { queue.open.replace(number) };
        queue.full.extend(full);
        if let Some(full) = full.filter(|_| !own) {
            self.segments[full as usize].state = State::Queued;
        }
        self.segments[number as usize] = Segment {
            octets,
            used: size as u32,
            live: 0,
            expires: Time::from_micros(u64::MAX),
            state: if own { State::Queued } else { State::Open },
            in_main,
        };
        self.place(number, 0)
    }

    /// Goes through so many octets of the victim. Returns whether there was one.
    fn drain(&mut self, now: Time, octets: usize, haste: Haste, counters: &mut Counters) -> bool {
        let Some(mut victim) = self.victim.take().or_else(|| self.choose(haste)) else { return false };
        let mut spent = 0;
        while spent < octets && victim.at < self.segments[victim.number as usize].used as usize {
            let place = self.place(victim.number, victim.at);
            let head = self.head(place);
            if !head.heat().is_dead() && self.judge(now, place, head, haste, counters) {
                return true;
            }
            victim.at += head.size();
            spent += head.size();
        }
        if victim.at < self.segments[victim.number as usize].used as usize {
            self.victim = Some(victim);
        } else {
            self.release(victim.number);
        }
        true
    }

    /// The oldest segment of the queue that has more than its part; in haste of the small queue, where it has one, since
    /// more of it is put out.
    fn choose(&mut self, haste: Haste) -> Option<Victim> {
        let within_part = match haste {
            Haste::Ahead => self.small.octets <= self.limit / SMALL_PART,
            Haste::Now | Haste::Ruthless => self.small.full.is_empty(),
        };
        let from_main = within_part && self.main.octets > 0 || self.small.octets == 0;
        let queue = self.queue(from_main);
        let number = queue.full.pop_front().or_else(|| queue.open.take())?;
        self.segments[number as usize].state = State::Victim;
        Some(Victim { number, at: 0 })
    }

    /// An entry has come to the end of its queue: it goes on in the main queue, or is put out. Returns whether its segment
    /// has gone on with it.
    fn judge(&mut self, now: Time, place: Place, head: Head, haste: Haste, counters: &mut Counters) -> bool {
        let number = self.split(place).0;
        let in_main = self.segments[number].in_main;
        let often = head.heat().often();
        let asked = if in_main { often > 0 } else { often >= OFTEN };
        let fresh = now < head.expires();
        if asked && haste != Haste::Ruthless && now < head.expires() + self.stale {
            let heat = head.heat().with_often(if in_main { often - 1 } else { often });
            if self.has_own_segment(head.size()) {
                self.requeue(number, place, heat);
                return true;
            }
            if self.relocate(place, head, true, heat) {
                return false;
            }
        }
        if !in_main {
            self.ghosts.insert(head.hash());
        }
        match fresh {
            true => counters.cache_evictions += 1,
            false => counters.cache_expired += 1,
        }
        self.remove(place);
        false
    }

    /// Puts a segment that is an entry's own behind the others of the main queue.
    fn requeue(&mut self, number: usize, place: Place, heat: entry::Heat) {
        let octets = self.segments[number].octets.len();
        let in_main = self.segments[number].in_main;
        self.queue(in_main).octets -= octets;
        self.main.octets += octets;
        self.main.full.push_back(number as u32);
        let segment = &mut self.segments[number];
        (segment.state, segment.in_main) = (State::Queued, true);
        self.set_heat(place, heat);
    }

    /// Copies an entry to the open end of a queue. Returns whether there was room, be it the reserve.
    fn relocate(&mut self, place: Place, head: Head, in_main: bool, heat: entry::Heat) -> bool {
        let size = head.size();
        let is_reserve = !self.spare.is_empty() || self.room() >= self.segment_octets as isize;
        if !is_reserve && !self.has_open_room(in_main, size) {
            return false;
        }
        let new = self.take_place(in_main, size);
        let ((from, from_at), (to, to_at)) = (self.split(place), self.split(new));
        let Ok([source, target]) = self.segments.get_disjoint_mut([from, to]) else {
            unreachable!("what is being emptied is not open")
        };
        target.octets[to_at..to_at + size].copy_from_slice(&source.octets[from_at..from_at + size]);
        target.expires = target.expires.min(head.expires());
        target.live += size as u32;
        self.live += size;
        self.set_heat(new, heat);
        self.table.replace(head.hash(), place, new);
        self.bury(place, head);
        true
    }

    /// Takes a segment without entries out of use; it is in no queue's row any more.
    fn release(&mut self, number: u32) {
        let Segment { octets, live, in_main, .. } = std::mem::take(&mut self.segments[number as usize]);
        assert_eq!(live, 0, "what has entries stays");
        self.held -= octets.len();
        self.queue(in_main).octets -= octets.len();
        self.unused.push(number);
        if octets.len() == self.segment_octets {
            self.spare.push(octets);
        }
        self.trim();
    }

    /// Gives back spare segments, where table and lists need their room.
    fn trim(&mut self) {
        while self.octets() > self.limit && self.room() >= 0 && self.spare.pop().is_some() {}
    }
}

/// Whether octets are the same: names of common length by two words that may overlap, in place of a call.
#[inline(always)]
fn same(a: &[u8], b: &[u8]) -> bool {
    match a.len() {
        8..=16 => same_ends::<8>(a, b),
        17..=32 => same_ends::<16>(a, b),
        _ => a == b,
    }
}

/// Whether first and last octets, which are all there are, are the same.
#[inline(always)]
fn same_ends<const N: usize>(a: &[u8], b: &[u8]) -> bool {
    a.first_chunk::<N>() == b.first_chunk() && a.last_chunk::<N>() == b.last_chunk()
}

/// Octets that an allocation of so many takes: allocators have four classes for each power of two.
fn allocated(octets: usize) -> usize {
    octets.next_multiple_of((octets.next_power_of_two() / 8).max(8))
}
