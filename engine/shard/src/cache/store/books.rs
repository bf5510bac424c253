//! Whether the books of a store agree with what is in it.

use super::{State, Store};

impl Store {
    /// Octets that it takes already: ghosts have none before somebody is put out.
    pub(in crate::cache) fn taken(&self) -> usize {
        self.octets() - self.ghosts.octets()
    }

    /// Whether the books agree with what is there.
    pub(in crate::cache) fn check(&self) {
        let (mut live, mut held, mut entries, mut cuts) = (0, 0, 0, 0);
        let mut queues = [0, 0];
        for (number, segment) in self.segments.iter().enumerate() {
            let (mut at, mut live_here) = (0, 0);
            while at < segment.used as usize {
                let place = self.place(number as u32, at);
                let head = self.head(place);
                at += head.size();
                if head.heat().is_dead() {
                    continue;
                }
                live_here += head.size();
                entries += 1;
                cuts += usize::from(self.answer(place).cuts());
                assert_eq!(self.find(head.hash(), self.answer(place).name(), head.key()), Some((place, head)));
                assert!(segment.expires <= head.expires());
            }
            assert_eq!((at, live_here), (segment.used as usize, segment.live as usize));
            assert!(segment.state != State::Unused || segment.octets.is_empty());
            assert!(segment.state != State::Queued || segment.live > 0, "an empty segment is given up");
            live += live_here;
            held += segment.octets.len();
            queues[usize::from(segment.in_main)] += segment.octets.len();
        }
        let with_state = |state| self.segments.iter().filter(|segment| segment.state == state).count();
        assert_eq!((live, held, entries), (self.live, self.held, self.entries()));
        assert_eq!(queues, [self.small.octets, self.main.octets]);
        assert_eq!(with_state(State::Queued), self.small.full.len() + self.main.full.len());
        assert_eq!(with_state(State::Open), self.small.open.iter().chain(&self.main.open).count());
        assert_eq!(with_state(State::Victim), self.victim.iter().count());
        assert_eq!(with_state(State::Unused), self.unused.len());
        assert_eq!(self.depths.count(), cuts);
    }
}
