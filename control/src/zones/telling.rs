//! Who is still to be told of which zone: coalesced, bounded, fair between servers. Sends nothing itself.

use std::collections::{HashMap, VecDeque};

use ringdns_shard::wire::name::Name;

use crate::config::Peer;

/// NOTIFYs that wait for an answer at once.
pub(crate) const TELLING_MAX: usize = 128;
/// Of those, to one server: one that is silent holds up no other.
const TELLING_PEER_MAX: usize = 16;

/// A zone and a server that is to be told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) zone: Name,
    pub(crate) peer: Peer,
}

/// Who is still to be told.
#[derive(Debug, Default)]
pub(crate) struct Telling {
    peers: Vec<Queue>,
    in_flight: usize,
    /// The queue that is looked at first.
    turn: usize,
}

/// What one server is to be told of.
#[derive(Debug)]
struct Queue {
    peer: Peer,
    waiting: VecDeque<Name>,
    states: HashMap<Name, State>,
    in_flight: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    InFlight,
    /// The zone has changed since it was told of.
    Again,
}

impl Telling {
    /// A zone has changed: each of `peers` is to be told. One that is still to be told of it is told once.
    pub(crate) fn tell(&mut self, zone: &Name, peers: &[Peer]) {
        for peer in peers {
            let index = self.peers.iter().position(|queue| queue.peer == *peer).unwrap_or_else(|| {
                let (waiting, states) = (VecDeque::new(), HashMap::new());
                self.peers.push(Queue { peer: peer.clone(), waiting, states, in_flight: 0 });
                self.peers.len() - 1
            });
            let queue = &mut self.peers[index];
            match queue.states.get_mut(zone) {
                None => {
                    queue.states.insert(zone.clone(), State::Waiting);
                    queue.waiting.push_back(zone.clone());
                }
                Some(state @ State::InFlight) => *state = State::Again,
                Some(State::Waiting | State::Again) => {}
            }
        }
    }

    /// The next to be sent now, each server in turn; [`Telling::done`] must follow.
    pub(crate) fn next(&mut self) -> Option<Notice> {
        if self.in_flight == TELLING_MAX {
            return None;
        }
        let count = self.peers.len();
        let is_free = |queue: &Queue| queue.in_flight < TELLING_PEER_MAX && !queue.waiting.is_empty();
        let index = (0..count).map(|step| (self.turn + step) % count).find(|index| is_free(&self.peers[*index]))?;
        self.turn = index + 1;
        let queue = &mut self.peers[index];
        let zone = queue.waiting.pop_front()?;
        queue.states.insert(zone.clone(), State::InFlight);
        queue.in_flight += 1;
        self.in_flight += 1;
        Some(Notice { zone, peer: queue.peer.clone() })
    }

    /// One that was given by [`Telling::next`] has been answered, or given up.
    pub(crate) fn done(&mut self, notice: &Notice) {
        let Some(index) = self.peers.iter().position(|queue| queue.peer == notice.peer) else { return };
        let queue = &mut self.peers[index];
        match queue.states.get_mut(&notice.zone) {
            Some(state @ State::Again) => {
                *state = State::Waiting;
                queue.waiting.push_back(notice.zone.clone());
            }
            Some(State::InFlight) => drop(queue.states.remove(&notice.zone)),
            Some(State::Waiting) | None => return,
        }
        queue.in_flight -= 1;
        self.in_flight -= 1;
        if queue.states.is_empty() {
            self.peers.swap_remove(index);
        }
    }

    /// Notices that wait to be sent.
    pub(crate) fn waiting(&self) -> usize {
        self.peers.iter().map(|queue| queue.waiting.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(port: u16) -> Peer {
        Peer { address: ([192, 0, 2, 1], port).into(), key: None }
    }

    fn zone(number: usize) -> Name {
        format!("z{number}.test").parse().unwrap()
    }

    #[test]
    fn changes_of_a_zone_are_told_once_while_they_wait_and_once_more_when_they_come_late() {
        let mut telling = Telling::default();
        for _ in 0..3 {
            telling.tell(&zone(1), &[peer(1)]);
        }
        let first = telling.next().unwrap();
        assert_eq!((first.zone.clone(), telling.next()), (zone(1), None));
        for _ in 0..3 {
            telling.tell(&zone(1), &[peer(1)]);
        }
        assert_eq!(telling.next(), None, "not twice at once");
        telling.done(&first);
        assert_eq!(telling.next(), Some(first.clone()));
        telling.done(&first);
        assert_eq!((telling.next(), telling.waiting(), telling.peers.len()), (None, 0, 0));
    }

    #[test]
    fn a_silent_server_holds_up_no_other() {
        let mut telling = Telling::default();
        for number in 0..1_000 {
            telling.tell(&zone(number), &[peer(1), peer(2)]);
        }
        let mut told = HashMap::new();
        for _ in 0..2_000 {
            let Some(notice) = telling.next() else { break };
            *told.entry(notice.peer.address.port()).or_insert(0) += 1;
            if notice.peer == peer(2) {
                telling.done(&notice);
            }
        }
        assert_eq!(told, HashMap::from([(1, TELLING_PEER_MAX), (2, 1_000)]));
    }

    #[test]
    fn only_so_many_are_out_at_once() {
        let mut telling = Telling::default();
        let peers: Vec<Peer> = (0..1_000).map(peer).collect();
        telling.tell(&zone(1), &peers);
        let out: Vec<Notice> = std::iter::from_fn(|| telling.next()).collect();
        assert_eq!((out.len(), telling.waiting()), (TELLING_MAX, 1_000 - TELLING_MAX));
        telling.done(&out[0]);
        assert!(telling.next().is_some() && telling.next().is_none());
    }
}
