//! A core: its shard, and all that the shard's actions need. One thread owns it; tasks borrow it between two awaits and
//! never across one.
//!
//! Every event follows the same path: a task hands it to the shard ([`Shard::on_query`] and its siblings), then
//! [`Core::act`] does what the shard asks for, then [`Core::settle`] sends what has piled up, in batches, hands over what
//! has been recorded, and sets the alarm.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use ringdns_shard::cache::{Figures, Listed, Looked};
use ringdns_shard::limits::MESSAGE_OCTETS_MAX;
use ringdns_shard::telemetry::{Handed, log, tap};
use ringdns_shard::wire::message::Malformed;
use ringdns_shard::wire::name::Name;
use ringdns_shard::{Action, Client, Images, Outcome, Shard, Time, Transport};

use crate::clock;
use crate::datagrams::{Datagram, Queries, Received, Unusable};
use crate::limits::{ALARM_SLACK, CACHE_PORTION_OCTETS, KERNEL_DROPS_BATCHES, TCP_READ_OCTETS};
use crate::runtime::Readiness;
use crate::tcp::Connections;
use crate::telemetry::{Portion, RimCounters, Snapshot, Status};
use crate::udp;
use crate::upstream::{self, Exchanges};

/// Something that a core has heard and others must see to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A primary says that a secondary zone has changed (RFC 1996). It is one whose NOTIFY is heard.
    Notified {
        /// The zone.
        apex: Name,
        /// The serial that it tells, where it tells one.
        serial: Option<u32>,
        /// The primary.
        peer: IpAddr,
    },
    /// A chunk of the query log is full, or was asked for ([`Cores::hand_over`](crate::Cores::hand_over)).
    Logged(Handed<log::Chunk>),
    /// The same of the messages for dnstap.
    Tapped(Handed<tap::Chunk>),
}

/// Who is told of events. Called on the thread of a core, between two packets: it must not block, and not take long.
pub type Events = Arc<dyn Fn(Event) + Send + Sync>;

/// What the tasks of a core share.
pub(crate) struct Shared {
    /// The core itself.
    pub(crate) core: RefCell<Core>,
    /// The batch that every UDP socket of the core receives into: it is used up before the next await.
    pub(crate) received: RefCell<Received>,
    /// The octets that every connection of the core reads by way of: used up before the next await, too.
    pub(crate) scratch: RefCell<Box<[u8]>>,
}

/// One core.
pub(crate) struct Core {
    pub(crate) index: usize,
    pub(crate) cpu: usize,
    pub(crate) shard: Shard,
    pub(crate) counters: RimCounters,
    /// By listener; `None` where a listener has no UDP.
    pub(crate) udp: Vec<Option<udp::End>>,
    pub(crate) connections: Connections,
    pub(crate) upstream: upstream::Sockets,
    /// Queries that the event at hand has brought.
    queries: Queries,
    pub(crate) exchanges: Exchanges,
    /// Replies over TCP and the octets of actions, [`MESSAGE_OCTETS_MAX`] of them.
    pub(crate) buffer: Box<[u8]>,
    /// Whether a request of the event at hand has been answered at once.
    has_answered: bool,
    /// Batches received until the kernel is next asked what it has dropped.
    batches_left: u32,
    events: Events,
    alarm: Alarm,
    /// When the connections are looked at next; `None` while there are none.
    sweep_at: Option<Time>,
    me: Weak<Shared>,
}

/// What a core begins with.
pub(crate) struct Parts {
    pub(crate) index: usize,
    pub(crate) cpu: usize,
    pub(crate) images: Arc<Images>,
    pub(crate) seed: [u8; 32],
    pub(crate) udp: Vec<Option<udp::End>>,
    pub(crate) upstream: upstream::Sockets,
    pub(crate) events: Events,
}

impl Shared {
    /// A core with its shard, on the thread that will run it.
    pub(crate) fn new(parts: Parts) -> io::Result<Rc<Shared>> {
        let alarm = Alarm::new()?;
        let connections = Connections::new(&parts.images.bounds);
        let mut shard = Shard::new(parts.images, parts.seed);
        shard.on_clock(clock::unix_seconds());
        Ok(Rc::new_cyclic(|me| Shared {
            core: RefCell::new(Core {
                index: parts.index,
                cpu: parts.cpu,
                shard,
                counters: RimCounters::default(),
                udp: parts.udp,
                connections,
                upstream: parts.upstream,
                queries: Queries::new(),
                exchanges: Exchanges::default(),
                buffer: vec![0; MESSAGE_OCTETS_MAX].into_boxed_slice(),
                has_answered: false,
                batches_left: KERNEL_DROPS_BATCHES,
                events: parts.events,
                alarm,
                sweep_at: None,
                me: me.clone(),
            }),
            received: RefCell::new(Received::new()),
            scratch: RefCell::new(vec![0; TCP_READ_OCTETS].into_boxed_slice()),
        }))
    }
}

/// The task that wakes the shard at its deadlines and closes connections at theirs.
pub(crate) async fn alarms(shared: Rc<Shared>) {
    let ready = Readiness::new(shared.core.borrow().alarm.timer.clone());
    while ready.readable().await.is_ok() {
        shared.core.borrow_mut().on_alarm();
    }
}

impl Core {
    /// The time now, which begins an event. The shard is told the time of the day on the way.
    pub(crate) fn now(&mut self) -> Time {
        self.shard.on_clock(clock::unix_seconds());
        clock::now()
    }

    /// The datagram of a client at a place of the batch: its reply, if there is one at once, joins the listener's batch.
    /// What the shard asks for is the caller's to do, once for a batch.
    // Inlined, with what it calls: as functions, they moved addresses about for 90 instructions a datagram.
    #[inline(always)]
    pub(crate) fn on_datagram(&mut self, now: Time, listener: u16, received: &Received, place: usize) {
        let Datagram { peer, local, octets } = match received.datagram(place) {
            Ok(datagram) => datagram,
            Err(unusable) => {
                let RimCounters { udp_oversize, udp_bad_source, .. } = &mut self.counters;
                *if unusable == Unusable::Oversize { udp_oversize } else { udp_bad_source } += 1;
                return self.shard.leave_out();
            }
        };
        let end = self.udp[usize::from(listener)].as_mut().expect("a listener that receives has its end");
        let Some(slot) = end.outgoing.slot() else {
            self.counters.udp_unheard += 1;
            return self.shard.leave_out();
        };
        let client = Client { peer, local, via: Transport::Udp, listener, connection: 0 };
        let outcome = self.shard.on_query(now, &client, octets, slot);
        if let Outcome::Reply(octets) = outcome {
            end.outgoing.push_back(octets, received, place);
        }
        self.came_to(outcome);
    }

    /// What came of a request: an event in which one has been answered is timed at its end.
    pub(crate) fn came_to(&mut self, outcome: Outcome) {
        self.has_answered |= matches!(outcome, Outcome::Reply(_) | Outcome::Transfer(_));
    }

    /// Does what the shard asks for, until it asks for nothing more.
    pub(crate) fn act(&mut self, now: Time) {
        while let Some(action) = self.shard.poll_action(&mut self.buffer) {
            match action {
                Action::Reply { client, octets } if client.via == Transport::Udp => self.reply_udp(&client, octets),
                Action::Reply { client, octets } => self.reply_tcp(now, client.connection, octets),
                Action::AskUdp { socket, server, octets } => self.ask_udp(now, socket, server, octets),
                Action::AskTcp { exchange, server, octets } => self.ask_tcp(now, exchange, server, octets),
                Action::EndTcp { exchange } => self.end_tcp(now, exchange),
                Action::Notified { zone, serial, peer } => {
                    let apex = self.shard.images().zones[zone as usize].about.apex.clone();
                    (self.events)(Event::Notified { apex, serial, peer });
                }
            }
            // One answer may go to any number of clients that wait for it.
            if self.shard.log().cannot_wait() {
                self.hand_over_log();
            }
            if self.shard.tap().cannot_wait() {
                self.hand_over_tap();
            }
        }
    }

    /// Sends what has piled up, replies first, hands over what has been recorded, where that is enough, and sets the alarm.
    /// The end of every event, which began at `now`.
    pub(crate) fn settle(&mut self, now: Time) {
        self.flush_replies(now);
        // Where the kernel refuses one, the shard has another server asked, or gives up: an attempt less each time.
        while self.send_queries(now) {
            self.act(now);
            self.flush_replies(now);
        }
        self.flush_upstreams();
        if std::mem::take(&mut self.has_answered) {
            self.shard.on_sent(now, clock::now());
        }
        if self.shard.log().is_full() {
            self.hand_over_log();
        }
        if self.shard.tap().is_full() {
            self.hand_over_tap();
        }
        self.set_alarm(now);
    }

    fn flush_replies(&mut self, now: Time) {
        for listener in 0..self.udp.len() {
            if self.udp[listener].as_ref().is_some_and(|end| !end.outgoing.is_empty()) {
                self.flush_udp(listener);
            }
        }
        self.flush_connections(now);
    }

    /// A query to an upstream stands in the buffer: it leaves at the end of the event.
    fn ask_udp(&mut self, now: Time, socket: u8, server: SocketAddr, octets: usize) {
        if self.queries.is_full() {
            self.send_queries(now);
        }
        match self.upstream.port(socket, server) {
            Some(port) => self.queries.push(port, server, &self.buffer[..octets]),
            None => {
                self.counters.upstream_send_errors += 1;
                let id = u16::from_be_bytes([self.buffer[0], self.buffer[1]]);
                self.shard.on_failure_udp(now, socket, id);
            }
        }
    }

    /// Sends the queries that wait, if any; whether the shard has heard of one that the kernel refused.
    fn send_queries(&mut self, now: Time) -> bool {
        if self.queries.is_empty() {
            return false;
        }
        let Core { queries, upstream, shard, counters, .. } = self;
        let errors = counters.upstream_send_errors;
        let sent = queries.send(
            |port| upstream.descriptor(port),
            |port, id| {
                counters.upstream_send_errors += 1;
                shard.on_failure_udp(now, port.index, id);
            },
        );
        counters.upstream_sent += sent as u64;
        counters.upstream_send_errors > errors
    }

    /// A batch of datagrams has come.
    pub(crate) fn count_batch(&mut self) {
        self.batches_left -= 1;
        if self.batches_left == 0 {
            self.count_kernel_drops();
        }
    }

    /// Adds up what the kernel has dropped at the sockets.
    fn count_kernel_drops(&mut self) {
        self.batches_left = KERNEL_DROPS_BATCHES;
        self.counters.udp_kernel_drops += self.udp.iter_mut().flatten().map(udp::End::kernel_drops).sum::<u64>();
        self.counters.upstream_kernel_drops += self.upstream.kernel_drops();
    }

    /// Hands over what has been recorded so far. Between two events: what is not sent yet has no latency.
    pub(crate) fn hand_over(&mut self) {
        self.hand_over_log();
        self.hand_over_tap();
    }

    fn hand_over_log(&mut self) {
        while let Some(chunk) = self.shard.log().take() {
            (self.events)(Event::Logged(self.handed(chunk)));
        }
    }

    fn hand_over_tap(&mut self) {
        if let Some(chunk) = self.shard.tap().take() {
            (self.events)(Event::Tapped(self.handed(chunk)));
        }
    }

    fn handed<C>(&self, chunk: C) -> Handed<C> {
        Handed { core: self.index, now: clock::now(), unix_micros: clock::unix_micros(), chunk }
    }

    /// Sends what waits for the clients of a listener. Where its socket takes no more, a task sends the rest when it
    /// does again.
    pub(crate) fn flush_udp(&mut self, listener: usize) {
        let Some(end) = self.udp[listener].as_mut() else { return };
        let sent = end.flush();
        self.counters.udp_sent += sent.sent as u64;
        self.counters.udp_send_errors += sent.refused as u64;
        if sent.blocked {
            self.counters.udp_send_blocked += 1;
            if !end.has_sender {
                end.has_sender = true;
                let socket = end.socket.clone();
                udp::spawn_sender(self.me(), listener, socket);
            }
        }
    }

    /// Looks at the deadlines of connections soon, now that there is one.
    pub(crate) fn sweep_soon(&mut self, now: Time) {
        if self.sweep_at.is_none() {
            self.sweep_at = Some(now + self.connections.sweep_interval());
        }
    }

    /// New images take the place of the old ones, which are returned for another thread to free.
    pub(crate) fn swap(&mut self, images: Arc<Images>) -> Arc<Images> {
        let now = self.now();
        self.connections.set_bounds(&images.bounds);
        if images.recording != self.shard.images().recording {
            // Nobody asks for the rest of what is no longer recorded.
            self.hand_over();
        }
        let old = self.shard.on_images(now, images);
        self.act(now);
        self.settle(now);
        old
    }

    /// What this core tells about itself, and how many messages wait for it.
    pub(crate) fn snapshot(&mut self, messages_waiting: usize) -> Snapshot {
        self.count_kernel_drops();
        let Figures { entries: cache_entries, octets: cache_octets, .. } = self.shard.cache_figures();
        Snapshot {
            core: self.index,
            cpu: self.cpu,
            shard: self.shard.counters().clone(),
            telemetry: Box::new(self.shard.telemetry().clone()),
            cpu_micros: clock::cpu_micros(),
            rim: self.counters.clone(),
            resolves: self.shard.resolves_in_flight(),
            waiters: self.shard.waiters(),
            tcp_connections: self.connections.open(),
            upstream_connections: self.exchanges.connections(),
            datagrams_waiting: self.udp.iter().flatten().map(|end| end.outgoing.waiting()).sum(),
            messages_waiting,
            cache_entries,
            cache_octets,
        }
    }

    /// The end: whoever waits waits in vain, what has been recorded is handed over, and connections are closed. Returns
    /// the last snapshot.
    pub(crate) fn end(&mut self, messages_waiting: usize) -> Snapshot {
        let waiters = self.shard.waiters();
        let now = self.now();
        self.shard.abandon_waiters(now);
        self.hand_over();
        let last = Snapshot { waiters, ..self.snapshot(messages_waiting) };
        self.connections.close_all();
        self.exchanges = Exchanges::default();
        last
    }

    /// What this core tells of its upstreams and of its cache.
    pub(crate) fn status(&self) -> Status {
        Status {
            core: self.index,
            now: clock::now(),
            servers: self.shard.server_states(),
            cache: self.shard.cache_figures(),
        }
    }

    /// What the cache has for a name.
    pub(crate) fn cache_look(&self, name: &Name) -> Looked {
        self.shard.cache_look(clock::now(), name)
    }

    /// The part of the cache's list at and below a name that begins at a cursor.
    pub(crate) fn cache_list(&self, below: &Name, cursor: u64) -> Listed {
        self.shard.cache_list(clock::now(), below, cursor)
    }

    /// The part of the cache that begins at a cursor.
    pub(crate) fn cache_out(&mut self, cursor: u64) -> Portion {
        let now = self.now();
        let mut octets = Vec::new();
        let next = self.shard.cache_out(now, cursor, CACHE_PORTION_OCTETS, &mut octets);
        Portion { octets, next }
    }

    /// Takes a part of a cache in.
    pub(crate) fn cache_in(&mut self, portion: &[u8]) -> Result<usize, Malformed> {
        let now = self.now();
        let kept = self.shard.cache_in(now, portion);
        self.settle(now);
        kept
    }

    /// Whether every client has what it is to get, once the doors are closed and connections are read no more.
    pub(crate) fn is_drained(&self) -> bool {
        self.shard.waiters() == 0
            && self.connections.open() == 0
            && self.udp.iter().flatten().all(|end| end.outgoing.is_empty())
    }

    /// The tasks' share of this core, for a new task.
    pub(crate) fn me(&self) -> Rc<Shared> {
        self.me.upgrade().expect("the core is borrowed, so it is there")
    }

    fn reply_udp(&mut self, client: &Client, octets: usize) {
        let listener = usize::from(client.listener);
        let full = |core: &Core| core.udp[listener].as_ref().is_some_and(|end| end.outgoing.is_full());
        if full(self) {
            self.flush_udp(listener);
        }
        let end = self.udp[listener].as_mut().expect("a client that came over UDP has its listener's end");
        match end.outgoing.slot() {
            Some(slot) => {
                slot[..octets].copy_from_slice(&self.buffer[..octets]);
                end.outgoing.push(octets, client.peer, client.local);
            }
            None => self.counters.udp_send_dropped += 1,
        }
    }

    fn on_alarm(&mut self) {
        self.alarm.acknowledge();
        self.counters.alarms += 1;
        let now = self.now();
        if self.shard.deadline().is_some_and(|deadline| deadline <= now) {
            self.shard.on_deadline(now);
            self.act(now);
        }
        if self.sweep_at.is_some_and(|at| at <= now) {
            self.sweep_connections(now);
            self.sweep_exchanges(now);
            let busy = self.connections.open() > 0 || !self.exchanges.is_empty();
            self.sweep_at = busy.then(|| now + self.connections.sweep_interval());
        }
        self.settle(now);
    }

    fn set_alarm(&mut self, now: Time) {
        if let Some(at) = self.shard.deadline().into_iter().chain(self.sweep_at).min() {
            self.alarm.set(at.max(now + ALARM_SLACK));
        }
    }
}

/// A timer of the kernel's, on the clock that [`clock::now`] reads.
struct Alarm {
    timer: Rc<Timer>,
    set_for: Option<Time>,
}

pub(crate) struct Timer(TimerFd);

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Alarm {
    fn new() -> io::Result<Alarm> {
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        Ok(Alarm { timer: Rc::new(Timer(timer)), set_for: None })
    }

    /// Lets the alarm go off at `at`, unless it does so earlier: going off for nothing is cheaper than setting it anew
    /// for each deadline that has moved away.
    fn set(&mut self, at: Time) {
        if self.set_for.is_some_and(|earlier| earlier <= at) {
            return;
        }
        let moment = TimeSpec::from_duration(Duration::from_micros(at.as_micros()));
        self.timer
            .0
            .set(Expiration::OneShot(moment), TimerSetTimeFlags::TFD_TIMER_ABSTIME)
            .expect("a time after the machine's start is a valid one");
        self.set_for = Some(at);
    }

    /// It has gone off.
    fn acknowledge(&mut self) {
        self.set_for = None;
        // Once: the descriptor is non-blocking, and what this reads is only how often it went off.
        let _ = nix::unistd::read(self.timer.0.as_fd(), &mut [0; 8]);
    }
}
