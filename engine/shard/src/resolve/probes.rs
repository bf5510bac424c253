//! Probes: questions to servers that are down, asked to see whether they are back. Nobody waits for them, they take no
//! place of a client's question, and what they bring is told to [`Servers`](crate::upstream::Servers) alone.

use super::flights::{Over, Whose};
use super::query::Form;
use super::reply::{self, Expected, Taken};
use super::timers::Timers;
use super::{Asking, Event, Order, Resolver};
use crate::limits::PROBES_MAX;
use crate::time::Time;
use crate::upstream::{Candidate, Probe, Protocol};
use crate::wire::message::Header;

/// The probes of a core, [`PROBES_MAX`] at most: few enough to be looked through.
#[derive(Debug, Default)]
pub(super) struct Probes {
    places: Vec<Place>,
    /// How many are out.
    out: usize,
}

#[derive(Debug, Default)]
struct Place {
    /// Counted up when the place is given up.
    generation: u32,
    probing: Option<Probing>,
}

/// A probe that is out.
#[derive(Debug)]
pub(super) struct Probing {
    pub probe: Probe,
    pub over: Over,
    pub form: Form,
    sent: Time,
    until: Time,
}

/// What became of a probe.
enum Verdict {
    Answered,
    Silent,
    Unreachable,
}

impl Probes {
    /// When the next one has waited long enough.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.out().map(|probing| probing.until).min()
    }

    /// The probe in this place.
    pub(super) fn at(&self, place: u8) -> Option<&Probing> {
        self.places.get(usize::from(place))?.probing.as_ref()
    }

    /// The same, where it is of this generation.
    pub(super) fn of(&self, place: u8, generation: u32) -> Option<&Probing> {
        self.places.get(usize::from(place)).filter(|place| place.generation == generation)?.probing.as_ref()
    }

    /// Whether none is out.
    pub(super) fn is_empty(&self) -> bool {
        self.out == 0
    }

    fn out(&self) -> impl Iterator<Item = &Probing> {
        self.places.iter().filter_map(|place| place.probing.as_ref()).take(self.out)
    }

    /// A free place, as long as there may be more.
    fn vacancy(&mut self) -> Option<u8> {
        if let Some(free) = self.places.iter().position(|place| place.probing.is_none()) {
            return Some(free as u8);
        }
        let place = self.places.len();
        (place < PROBES_MAX).then(|| {
            self.places.push(Place::default());
            place as u8
        })
    }
}

impl<W> Resolver<W> {
    /// Asks a server that is down. When its reply comes, or does not come, `event.servers` is told.
    pub fn probe(&mut self, event: &mut Event<'_>, probe: Probe) {
        let Some(place) = self.probes.vacancy() else {
            event.counters.upstream_probes_over_limit += 1;
            return;
        };
        let Candidate { number, server, .. } = probe.candidate;
        let over = match server.protocol {
            Protocol::Udp => self.flights.choose(&mut self.random, self.bounds.udp_ports),
            Protocol::Tcp => Some(Over::Tcp { id: self.random_id() }),
        };
        let Some(over) = over else {
            event.counters.upstream_ids_exhausted += 1;
            return;
        };
        event.counters.upstream_probes += 1;
        over.count(event.counters);
        event.servers.asked(event.now, number);
        let form = self.form(event, number, true);
        let whose = Whose::Probe(place);
        self.flights.insert(over, whose);
        let until = Timers::floor(event.now + probe.patience);
        let Place { generation, probing } = &mut self.probes.places[usize::from(place)];
        *probing = Some(Probing { probe, over, form, sent: event.now, until });
        self.probes.out += 1;
        (event.orders)(Order::Ask(Asking { whose, generation: *generation }));
    }

    /// A message came for a probe that is out, from the right server under the right id.
    pub(super) fn on_probe_message(&mut self, event: &mut Event<'_>, place: u8, header: Header, message: &[u8]) {
        let probing = self.probes.at(place).expect("the caller has found it");
        let Probing { probe, over, form, sent, .. } = probing;
        event.heard(probe.candidate.server.address, *over, *sent, message);
        let datagram = matches!(over, Over::Udp { .. });
        let expected = Expected { name: &probe.name, qtype: probe.qtype, form: *form, datagram };
        match reply::take(event, probe.candidate.number, message, header, &expected) {
            // Whether it is there is all that is asked. What it answers is not believed.
            Taken::Reply(_) | Taken::Doubted => self.end_probe(event, place, Verdict::Answered),
            Taken::Ignored => {}
        }
    }

    /// A probe did not reach its server.
    pub(super) fn on_probe_failure(&mut self, event: &mut Event<'_>, place: u8) {
        self.end_probe(event, place, Verdict::Unreachable);
    }

    /// Ends the probes that have waited long enough.
    pub(super) fn expire_probes(&mut self, event: &mut Event<'_>) {
        let places = if self.probes.is_empty() { 0 } else { self.probes.places.len() as u8 };
        for place in 0..places {
            if self.probes.at(place).is_some_and(|probing| probing.until <= event.now) {
                event.counters.upstream_timeouts += 1;
                self.end_probe(event, place, Verdict::Silent);
            }
        }
    }

    fn end_probe(&mut self, event: &mut Event<'_>, place: u8, verdict: Verdict) {
        let Place { generation, probing } = &mut self.probes.places[usize::from(place)];
        let Probing { probe, over, sent, .. } = probing.take().expect("the caller has found it");
        let exchange = Whose::Probe(place).exchange(*generation);
        *generation = generation.wrapping_add(1);
        self.probes.out -= 1;
        self.flights.remove(over);
        let Probe { candidate: Candidate { number, .. }, name, qtype, .. } = &probe;
        match verdict {
            Verdict::Answered => {
                if event.answered(*number, sent) {
                    self.back.push(*number);
                }
            }
            Verdict::Unreachable => event.servers.unreachable(event.now, *number),
            Verdict::Silent => {
                event.servers.silent(event.now, *number, (name, *qtype));
                event.servers.released(*number);
                if matches!(over, Over::Tcp { .. }) {
                    (event.orders)(Order::EndTcp(exchange));
                }
            }
        }
    }
}
