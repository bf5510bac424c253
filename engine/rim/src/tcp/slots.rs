//! The connections of a core, in slots, and who gives way when there are too many.

use std::net::{IpAddr, Shutdown};
use std::time::Duration;

use ringdns_shard::images::Bounds;

use super::clients::{Clients, cap, client_of};
use super::connection::{Connection, Worth};
use crate::limits::{SWEEP_MAX, SWEEP_MIN, SWEEPS_A_TIMEOUT, TCP_CLIENT_FEW, TCP_RECYCLE_LOOK};

/// The connections of a core. A connection's mark is its slot and the slot's generation, so that a late reply never
/// reaches the slot's next connection; no mark is zero.
pub(crate) struct Connections {
    slots: Vec<Slot>,
    free: Vec<u32>,
    clients: Clients,
    open_max: usize,
    /// The configured idle time-out.
    pub(super) idle_timeout: Duration,
    /// Marks of the connections with something to send, or whose task has something to look at.
    pub(super) dirty: Vec<u64>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    connection: Option<Connection>,
}

/// Whether there is room for one more connection of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// There is.
    Free,
    /// There is once this connection is closed, by its mark.
    InPlaceOf(u64),
    /// There is not.
    None,
}

impl Connections {
    /// None yet; at most as many as the bounds allow.
    pub(crate) fn new(bounds: &Bounds) -> Connections {
        let mut connections = Connections {
            slots: Vec::new(),
            free: Vec::new(),
            clients: Clients::default(),
            open_max: 0,
            idle_timeout: Duration::ZERO,
            dirty: Vec::new(),
        };
        connections.set_bounds(bounds);
        connections
    }

    /// Other bounds from now on. Where more connections are open than they allow, all stay, and each further one takes
    /// the place of another until enough have ended.
    pub(crate) fn set_bounds(&mut self, bounds: &Bounds) {
        assert!(bounds.tcp_connections > 0 && u32::try_from(bounds.tcp_connections).is_ok());
        (self.open_max, self.idle_timeout) = (bounds.tcp_connections, bounds.tcp_idle);
    }

    /// Open connections.
    pub(crate) fn open(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// How often the connections are to be looked at.
    pub(crate) fn sweep_interval(&self) -> Duration {
        (self.idle_timeout / SWEEPS_A_TIMEOUT).clamp(SWEEP_MIN, SWEEP_MAX)
    }

    /// Reads no more from any connection than has come already; their tasks end when all is answered.
    pub(crate) fn stop_reading(&self) {
        for connection in self.slots.iter().filter_map(|slot| slot.connection.as_ref()) {
            // A connection that is broken ends by itself.
            let _ = connection.stream.shutdown(Shutdown::Read);
        }
    }

    /// Ends all connections, whatever they wait for.
    pub(crate) fn close_all(&mut self) {
        self.each().for_each(Connection::close);
    }

    /// Whether there is room for one more connection from `address`. A client at its cap gives up one of its own;
    /// where no slot is free, the client with the most does, if it has more than a few.
    pub(super) fn room(&self, address: IpAddr) -> Room {
        let own = self.clients.of(client_of(address));
        if own.len() >= cap(self.open(), self.open_max) {
            return Room::InPlaceOf(self.least(own));
        }
        if self.open() < self.open_max {
            return Room::Free;
        }
        let most = self.clients.most();
        if most.len() > TCP_CLIENT_FEW { Room::InPlaceOf(self.least(most)) } else { Room::None }
    }

    /// The mark of that one of a client's connections of which the least is lost, the oldest of several. Only the oldest
    /// are looked at, so that a crowd of connections does not make each further one dear.
    fn least(&self, places: &[u32]) -> u64 {
        let worth = |place: u32| self.slots[place as usize].connection.as_ref().map_or(Worth::Idle, Connection::worth);
        let mut oldest = places.iter().copied().take(TCP_RECYCLE_LOOK);
        let first = oldest.next().expect("a client that must give way has a connection");
        let mut least = (worth(first), first);
        for place in oldest {
            if least.0 == Worth::Idle {
                break;
            }
            let other = worth(place);
            if other < least.0 {
                least = (other, place);
            }
        }
        self.mark(least.1)
    }

    /// Takes a connection in; there must be room, or the place of one that has gone for it. Returns its mark.
    pub(super) fn insert(&mut self, connection: Connection) -> u64 {
        assert!(self.open() < self.open_max || !self.free.is_empty());
        let place = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        });
        self.clients.insert(client_of(connection.peer.ip()), place);
        let slot = &mut self.slots[place as usize];
        // Never zero, so that no mark is.
        slot.generation = slot.generation.checked_add(1).unwrap_or(1);
        slot.connection = Some(connection);
        self.mark(place)
    }

    pub(super) fn remove(&mut self, mark: u64) -> Option<Connection> {
        self.of(mark)?;
        let place = mark as u32;
        let connection = self.slots[place as usize].connection.take()?;
        self.free.push(place);
        self.clients.remove(client_of(connection.peer.ip()), place);
        Some(connection)
    }

    pub(super) fn of(&mut self, mark: u64) -> Option<&mut Connection> {
        let slot = self.slots.get_mut(mark as u32 as usize)?;
        if u64::from(slot.generation) != mark >> 32 {
            return None;
        }
        slot.connection.as_mut()
    }

    /// All of them.
    pub(super) fn each(&mut self) -> impl Iterator<Item = &mut Connection> {
        self.slots.iter_mut().filter_map(|slot| slot.connection.as_mut())
    }

    fn mark(&self, place: u32) -> u64 {
        u64::from(self.slots[place as usize].generation) << 32 | u64::from(place)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::rc::Rc;

    use ringdns_shard::Time;

    use super::*;

    /// Connections over one real stream, which none of these tests writes to.
    struct Bench {
        connections: Connections,
        stream: Rc<TcpStream>,
        _listener: TcpListener,
    }

    impl Bench {
        fn new(open_max: usize) -> Bench {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let stream = Rc::new(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
            let bounds = Bounds { tcp_connections: open_max, ..Bounds::DEFAULT };
            Bench { connections: Connections::new(&bounds), stream, _listener: listener }
        }

        fn open(&mut self, address: &str) -> u64 {
            let peer = SocketAddr::new(address.parse().unwrap(), 5353);
            self.connections.insert(Connection::new(Time::ZERO, self.stream.clone(), peer, 0))
        }

        fn room(&self, address: &str) -> Room {
            self.connections.room(address.parse().unwrap())
        }
    }

    #[test]
    fn a_client_at_its_cap_gives_up_its_own() {
        let mut bench = Bench::new(100);
        let other = bench.open("192.0.2.9");
        let marks: Vec<u64> = (0..25).map(|_| bench.open("192.0.2.1")).collect();
        assert_eq!(bench.room("192.0.2.1"), Room::InPlaceOf(marks[0]), "the oldest");
        assert_eq!(bench.room("192.0.2.2"), Room::Free, "others have room");
        for (mark, what) in marks.iter().zip(["in flight", "half a message", "a transfer", "replies"]) {
            let connection = bench.connections.of(*mark).unwrap();
            match what {
                "in flight" => connection.in_flight = 1,
                "half a message" => connection.frame_since = Some(Time::ZERO),
                "a transfer" => connection.transfers.push_back(0),
                _ => connection.output.push(Time::ZERO, &[0; 12]),
            }
        }
        assert_eq!(bench.room("192.0.2.1"), Room::InPlaceOf(marks[4]), "the oldest that is idle");
        marks[4..].iter().for_each(|&mark| bench.connections.of(mark).unwrap().transfers.push_back(1));
        assert_eq!(bench.room("192.0.2.1"), Room::InPlaceOf(marks[0]), "the oldest without a transfer");
        bench.connections.each().for_each(|connection| connection.transfers.push_back(2));
        assert_eq!(bench.room("192.0.2.1"), Room::InPlaceOf(marks[0]), "the oldest");
        bench.connections.remove(marks[0]).unwrap();
        assert_eq!(bench.room("192.0.2.1"), Room::Free);
        assert!(bench.connections.of(other).is_some());
    }

    #[test]
    fn when_all_slots_are_taken_whoever_has_the_most_gives_way() {
        let mut bench = Bench::new(20);
        let first = bench.open("2001:db8:1:1::1");
        for host in 2..6 {
            bench.open(&format!("2001:db8:1:1::{host}"));
        }
        for network in 0..15 {
            bench.open(&format!("2001:db8:2:{network:x}::1"));
        }
        assert_eq!(bench.connections.open(), 20);
        assert_eq!(bench.room("2001:db8:9::1"), Room::InPlaceOf(first), "five from one network are more than a few");
        bench.connections.remove(first).unwrap();
        assert_eq!(bench.room("2001:db8:9::1"), Room::Free);
        bench.open("2001:db8:9::1");
        assert_eq!(bench.room("2001:db8:9::1"), Room::None, "nobody has more than a few");
        assert!(matches!(bench.room("2001:db8:1:1::7"), Room::InPlaceOf(_)), "four are all that one may have now");
    }

    #[test]
    fn lowered_bounds_are_for_those_who_come() {
        let mut bench = Bench::new(40);
        let mut marks: Vec<u64> = (0..10).map(|_| bench.open("192.0.2.1")).collect();
        marks.extend((0..10).map(|host| bench.open(&format!("198.51.100.{host}"))));
        let set = |bench: &mut Bench, tcp_connections| {
            bench.connections.set_bounds(&Bounds { tcp_connections, ..Bounds::DEFAULT });
        };
        set(&mut bench, 5);
        assert_eq!(bench.connections.open(), 20, "all stay");
        // Whoever has the most makes room, one for one, until it has a few.
        for (host, mark) in marks.drain(..6).enumerate() {
            assert_eq!(bench.room("203.0.113.1"), Room::InPlaceOf(mark));
            bench.connections.remove(mark).unwrap();
            bench.open(&format!("203.0.113.{}", host + 2));
        }
        assert_eq!((bench.connections.open(), bench.room("203.0.113.1")), (20, Room::None));
        assert!(matches!(bench.room("192.0.2.1"), Room::InPlaceOf(_)), "one of its own four");
        marks.drain(..).for_each(|mark| drop(bench.connections.remove(mark).unwrap()));
        assert_eq!((bench.connections.open(), bench.room("203.0.113.1")), (6, Room::None));
        bench.connections.each().for_each(|connection| connection.closing = true);
        set(&mut bench, 7);
        assert_eq!(bench.room("203.0.113.1"), Room::Free);
    }

    #[test]
    fn marks_are_never_given_twice() {
        let mut bench = Bench::new(2);
        let old = bench.open("192.0.2.1");
        bench.connections.remove(old).unwrap();
        let new = bench.open("192.0.2.1");
        assert!(old != new && old != 0 && new != 0);
        assert!(bench.connections.of(old).is_none() && bench.connections.remove(old).is_none());
        assert!(bench.connections.of(new).is_some());
    }
}
