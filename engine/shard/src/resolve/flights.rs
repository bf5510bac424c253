//! Which attempt a reply belongs to: ids that are in use on UDP sockets, and numbers of TCP exchanges.

use hashbrown::HashTable;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::Rng;

use crate::limits::{ATTEMPTS_MAX, ID_TRIES_MAX, PROBES_MAX, RESOLVES_MAX};
use crate::telemetry::Counters;
use crate::upstream::Protocol;
use crate::wire::name::HashKey;

/// How a query goes to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// As a datagram from this socket, under this id.
    Udp { socket: u8, id: u16 },
    /// Over a connection.
    Tcp { id: u16 },
}

impl Over {
    pub(super) fn protocol(self) -> Protocol {
        match self {
            Over::Udp { .. } => Protocol::Udp,
            Over::Tcp { .. } => Protocol::Tcp,
        }
    }

    /// Counts a query.
    pub(super) fn count(self, counters: &mut Counters) {
        match self {
            Over::Udp { .. } => counters.upstream_udp += 1,
            Over::Tcp { .. } => counters.upstream_tcp += 1,
        }
    }

    pub(super) fn id(self) -> u16 {
        let (Over::Udp { id, .. } | Over::Tcp { id }) = self;
        id
    }
}

/// What a query belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// An attempt of the question in this slot.
    Attempt { slot: u32, attempt: u8 },
    /// A probe, by its place.
    Probe(u8),
}

/// What stands in an exchange number where attempts have theirs.
const PROBE_MARK: u8 = u8::MAX;

const _: () = assert!(ATTEMPTS_MAX < PROBE_MARK as usize && PROBES_MAX <= 1 << 8 && RESOLVES_MAX < 1 << 24);

impl Whose {
    /// The number of a TCP exchange: generation, slot, attempt.
    pub(super) fn exchange(self, generation: u32) -> u64 {
        let (slot, attempt) = match self {
            Whose::Attempt { slot, attempt } => (slot, attempt),
            Whose::Probe(place) => (place.into(), PROBE_MARK),
        };
        u64::from(generation) << 32 | u64::from(slot) << 8 | u64::from(attempt)
    }

    /// What a number of [`Whose::exchange`] stands for, and its generation.
    pub(super) fn of_exchange(exchange: u64) -> (Whose, u32) {
        let slot = (exchange >> 8) as u32 & 0x00ff_ffff;
        let whose = match exchange as u8 {
            PROBE_MARK => Whose::Probe(slot as u8),
            attempt => Whose::Attempt { slot, attempt },
        };
        (whose, (exchange >> 32) as u32)
    }
}

/// Ids in use.
#[derive(Debug)]
pub(super) struct Flights {
    hash_key: HashKey,
    table: HashTable<Flight>,
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    socket: u8,
    id: u16,
    whose: Whose,
}

impl Flights {
    pub(super) fn new(hash_key: HashKey) -> Flights {
        Flights { hash_key, table: HashTable::new() }
    }

    /// A random socket below `sockets` with a random id that is not in use there; `None` when [`ID_TRIES_MAX`] were.
    pub(super) fn choose(&self, random: &mut ChaCha12Rng, sockets: u8) -> Option<Over> {
        for _ in 0..ID_TRIES_MAX {
            let word = random.next_u64();
            let socket = ((word >> 32) % u64::from(sockets)) as u8;
            let id = word as u16;
            if self.find(socket, id).is_none() {
                return Some(Over::Udp { socket, id });
            }
        }
        None
    }

    /// A query goes out; where it goes is from [`Flights::choose`]. Nothing is to be kept of exchanges.
    pub(super) fn insert(&mut self, over: Over, whose: Whose) {
        let Over::Udp { socket, id } = over else { return };
        let Flights { hash_key, table } = self;
        let hash = hash(hash_key, socket, id);
        table
            .insert_unique(hash, Flight { socket, id, whose }, |flight| self::hash(hash_key, flight.socket, flight.id));
    }

    /// Its reply is no longer expected.
    pub(super) fn remove(&mut self, over: Over) {
        let Over::Udp { socket, id } = over else { return };
        let hash = hash(&self.hash_key, socket, id);
        let entry = self.table.find_entry(hash, |flight| flight.socket == socket && flight.id == id);
        entry.expect("what is expected is in the table").remove();
    }

    /// Whose reply is expected on this socket under this id.
    pub(super) fn find(&self, socket: u8, id: u16) -> Option<Whose> {
        let hash = hash(&self.hash_key, socket, id);
        self.table.find(hash, |flight| flight.socket == socket && flight.id == id).map(|flight| flight.whose)
    }

    /// How many are expected.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}

fn hash(key: &HashKey, socket: u8, id: u16) -> u64 {
    key.mix(u64::from(id), u64::from(socket) << 32 | 1 << 48)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_number_tells_whose_it_is() {
        for whose in [
            Whose::Attempt { slot: 0, attempt: 0 },
            Whose::Attempt { slot: RESOLVES_MAX as u32 - 1, attempt: ATTEMPTS_MAX as u8 },
            Whose::Probe(0),
            Whose::Probe((PROBES_MAX - 1) as u8),
        ] {
            for generation in [0, 1, u32::MAX] {
                assert_eq!(Whose::of_exchange(whose.exchange(generation)), (whose, generation));
            }
        }
    }
}
