//! What other threads may ask of the cores: a bounded channel to each, and a bell that its executor waits for.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use nix::sys::eventfd::{EfdFlags, EventFd};
use ringdns_shard::Images;
use ringdns_shard::cache::{Flush, Listed, Looked};
use ringdns_shard::wire::message::Malformed;
use ringdns_shard::wire::name::Name;

use crate::bind::{Bound, check_files, files_beside_clients};
use crate::engine::Events;
use crate::limits::{MESSAGES_MAX, STOP_GRACE};
use crate::telemetry::{Portion, Snapshot, Status};
use crate::thread::{self, Beginning, Message};
use crate::trouble::{Trouble, Unresponsive};

/// The running cores. Clones are handles to the same cores; when the last one goes, the cores end.
///
/// Calls block the calling thread, each at most for the time it is given.
#[derive(Clone)]
pub struct Cores(Arc<Handles>);

struct Handles {
    links: Vec<Link>,
    failure: Failure,
    files_beside_clients: usize,
    /// Connections that the cores take in all, by their images.
    tcp_connections: AtomicUsize,
}

/// What keeps contact with one core.
struct Link {
    messages: Sender<Message>,
    bell: Arc<EventFd>,
    /// The core's last snapshot, when it has ended; disconnected when it ended otherwise.
    last: Receiver<Snapshot>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Why the first core to fail did.
type Failure = Arc<Mutex<Option<String>>>;

/// Hears once whether a core could begin.
type Started = Receiver<Result<(), String>>;

impl Bound {
    /// Starts the cores: `images` and `seeds` have one entry a core, and each image knows every listener of the plan.
    /// `events` hears on the cores' threads what others must see to. Returns when all cores answer; on trouble none runs.
    pub fn start(self, images: Vec<Arc<Images>>, seeds: Vec<[u8; 32]>, events: Events) -> Result<Cores, Trouble> {
        let count = self.plan.cpus.len();
        assert_eq!((images.len(), seeds.len()), (count, count));
        assert!(images.iter().all(|images| images.listeners.len() == self.plan.listens.len()));
        let mut handles = Handles {
            links: Vec::with_capacity(count),
            failure: Failure::default(),
            files_beside_clients: files_beside_clients(&self.plan),
            tcp_connections: AtomicUsize::new(tcp_connections(&images)),
        };
        let mut began = Vec::with_capacity(count);
        let mut listeners: Vec<_> =
            self.listeners.into_iter().map(|sockets| (sockets.udp.into_iter(), sockets.tcp.into_iter())).collect();
        for (((index, cpu), upstream), (images, seed)) in
            self.plan.cpus.iter().copied().enumerate().zip(self.upstream).zip(images.into_iter().zip(seeds))
        {
            let (sender, messages) = bounded(MESSAGES_MAX);
            let bell = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)
                .map_err(|error| Trouble::new(format!("cannot make an eventfd: {error}; raise LimitNOFILE")))?;
            let beginning = Beginning {
                index,
                cpu,
                spin: self.plan.spin,
                images,
                seed,
                udp: listeners.iter_mut().map(|(udp, _)| udp.next()).collect(),
                tcp: listeners.iter_mut().map(|(_, tcp)| tcp.next()).collect(),
                upstream_v4: upstream.v4,
                upstream_v6: upstream.v6,
                events: events.clone(),
                messages,
                bell: Arc::new(bell),
            };
            let (link, started) = spawn(beginning, sender, handles.failure.clone())?;
            handles.links.push(link);
            began.push(started);
        }
        let cores = Cores(Arc::new(handles));
        for (core, started) in began.into_iter().enumerate() {
            let why = match started.recv() {
                Ok(Ok(())) => continue,
                Ok(Err(why)) => why,
                Err(_) => cores.failed().unwrap_or_else(|| "its thread ended at once".to_owned()),
            };
            cores.stop(Duration::ZERO);
            return Err(Trouble::new(format!("core {core} cannot start: {why}")));
        }
        Ok(cores)
    }
}

impl Cores {
    /// Gives each core its new images, one entry a core in `images`, and returns when every core has taken them. The
    /// old ones are freed here, on the calling thread, where this is the last reference. After an error the cores that
    /// are not named have taken theirs.
    pub fn swap(&self, images: Vec<Arc<Images>>, limit: Duration) -> Result<(), Unresponsive> {
        assert_eq!(images.len(), self.0.links.len());
        self.warn_of_files(tcp_connections(&images));
        let mut images = images.into_iter();
        let old = self.ask_all(limit, |reply| Message::Swap(images.next().expect("there is one for each core"), reply));
        let cores: Vec<usize> = old.iter().enumerate().filter(|(_, old)| old.is_none()).map(|(core, _)| core).collect();
        if cores.is_empty() { Ok(()) } else { Err(Unresponsive { cores }) }
    }

    /// What each core tells about itself; `None` for one that did not answer in time.
    pub fn snapshots(&self, limit: Duration) -> Vec<Option<Snapshot>> {
        self.ask_all(limit, Message::Snapshot)
    }

    /// Whether every core answered a question of its own in time ([`Shard::probe`](ringdns_shard::Shard::probe)): what a
    /// watchdog wants to know.
    pub fn probe(&self, limit: Duration) -> bool {
        self.ask_all(limit, Message::Probe).iter().all(Option::is_some)
    }

    /// How many cores there are.
    pub fn count(&self) -> usize {
        self.0.links.len()
    }

    /// What each core tells of its upstreams and of its cache; `None` for one that did not answer in time.
    pub fn statuses(&self, limit: Duration) -> Vec<Option<Status>> {
        self.ask_all(limit, Message::Status)
    }

    /// Flushes the caches of all cores, a small part of each at a time, so that no core stops answering for it. Returns
    /// how many answers went. After an error those cores that are not named have flushed all of it.
    pub fn flush(&self, what: &Flush, limit: Duration) -> Result<u64, Unresponsive> {
        let deadline = Instant::now() + limit;
        let what = Arc::new(what.clone());
        let mut gone = 0;
        let mut unresponsive = Vec::new();
        let mut rest: Vec<(usize, u64)> = (0..self.count()).map(|core| (core, 0)).collect();
        while !rest.is_empty() {
            let asked: Vec<_> = rest
                .drain(..)
                .map(|(core, cursor)| {
                    (core, self.send(core, deadline, |reply| Message::Flush(what.clone(), cursor, reply)))
                })
                .collect();
            for (core, answer) in asked {
                match answer.recv_deadline(deadline) {
                    Ok((some, next)) => {
                        gone += some as u64;
                        rest.extend(next.map(|cursor| (core, cursor)));
                    }
                    Err(_) => unresponsive.push(core),
                }
            }
        }
        if unresponsive.is_empty() { Ok(gone) } else { Err(Unresponsive { cores: unresponsive }) }
    }

    /// What each core's cache has for a name, of every type; `None` for one that did not answer in time.
    pub fn cache_look(&self, name: &Name, limit: Duration) -> Vec<Option<Looked>> {
        let name = Arc::new(name.clone());
        self.ask_all(limit, |reply| Message::CacheLook(name.clone(), reply))
    }

    /// A part of what a core's cache has at and below a name, from `cursor` on, which is 0 at first. `core` is below
    /// [`Cores::count`].
    pub fn cache_list(&self, core: usize, below: &Name, cursor: u64, limit: Duration) -> Result<Listed, Unresponsive> {
        self.ask(core, limit, |reply| Message::CacheList(below.clone(), cursor, reply))
    }

    /// Has every core hand over what it has recorded so far, as [`Event::Logged`](crate::Event::Logged) and
    /// [`Event::Tapped`](crate::Event::Tapped); false where one did not in time.
    pub fn hand_over(&self, limit: Duration) -> bool {
        self.ask_all(limit, Message::HandOver).iter().all(Option::is_some)
    }

    /// The part of a core's cache from `cursor` on, which is 0 at first. `core` is below [`Cores::count`].
    pub fn cache_out(&self, core: usize, cursor: u64, limit: Duration) -> Result<Portion, Unresponsive> {
        self.ask(core, limit, |reply| Message::CacheOut(cursor, reply))
    }

    /// Gives a core a part of a cache, whichever core it came from, here or in a former process. Returns how many answers
    /// the core has kept of it; of a part that is malformed none. `core` is below [`Cores::count`].
    pub fn cache_in(
        &self,
        core: usize,
        portion: Vec<u8>,
        limit: Duration,
    ) -> Result<Result<usize, Malformed>, Unresponsive> {
        self.ask(core, limit, |reply| Message::CacheIn(portion, reply))
    }

    /// Why a core has ended without being told to, if one has: its thread panicked. The other cores run on, but this
    /// one's share of the clients gets no answers, so that the process had best end.
    pub fn failed(&self) -> Option<String> {
        self.0.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops the cores: no request is let in any more, those in flight are answered as far as `drain` allows, the
    /// threads end. Returns the last snapshots; `None` for a core that failed or did not end within `drain` and a grace
    /// of two seconds. A second call finds nothing to stop.
    pub fn stop(&self, drain: Duration) -> Vec<Option<Snapshot>> {
        let deadline = Instant::now() + drain + STOP_GRACE;
        for link in &self.0.links {
            link.send(Message::Stop(drain), deadline);
        }
        self.0.links.iter().map(|link| link.end(deadline)).collect()
    }

    /// Where more connections are to be taken now than there may be descriptors for, people should know: the rest is
    /// accepted when others have gone.
    fn warn_of_files(&self, tcp_connections: usize) {
        if self.0.tcp_connections.swap(tcp_connections, Ordering::Relaxed) != tcp_connections
            && let Err(trouble) = check_files(self.0.files_beside_clients, tcp_connections)
        {
            log::warn!("{trouble}");
        }
    }

    /// Sends a message to every core, then waits for the answers; `limit` is for all of it.
    fn ask_all<T>(&self, limit: Duration, mut message: impl FnMut(Sender<T>) -> Message) -> Vec<Option<T>> {
        let deadline = Instant::now() + limit;
        let asked: Vec<Receiver<T>> = (0..self.count()).map(|core| self.send(core, deadline, &mut message)).collect();
        asked.into_iter().map(|answer| answer.recv_deadline(deadline).ok()).collect()
    }

    /// Sends a message to one core and waits for the answer; `limit` is for both.
    fn ask<T>(
        &self,
        core: usize,
        limit: Duration,
        message: impl FnOnce(Sender<T>) -> Message,
    ) -> Result<T, Unresponsive> {
        let deadline = Instant::now() + limit;
        self.send(core, deadline, message).recv_deadline(deadline).map_err(|_| Unresponsive { cores: vec![core] })
    }

    /// Sends a message to a core; what is returned hears the answer.
    fn send<T>(&self, core: usize, deadline: Instant, message: impl FnOnce(Sender<T>) -> Message) -> Receiver<T> {
        let (reply, answer) = bounded(1);
        // A message that is not taken is dropped, and its reply channel with it.
        self.0.links[core].send(message(reply), deadline);
        answer
    }
}

impl std::fmt::Debug for Cores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cores").field("count", &self.0.links.len()).field("failed", &self.failed()).finish()
    }
}

impl Link {
    fn send(&self, message: Message, deadline: Instant) {
        if self.messages.send_deadline(message, deadline).is_ok() {
            // Fails only when the count in it is at its end, and then it rings anyway.
            let _ = self.bell.write(1);
        }
    }

    fn end(&self, deadline: Instant) -> Option<Snapshot> {
        let last = self.last.recv_deadline(deadline);
        let ended = !matches!(last, Err(crossbeam_channel::RecvTimeoutError::Timeout));
        if ended && let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // Its panics have been caught and told already.
            let _ = thread.join();
        }
        last.ok()
    }
}

impl Drop for Handles {
    fn drop(&mut self) {
        for link in &self.links {
            link.send(Message::Stop(Duration::ZERO), Instant::now());
        }
    }
}

fn spawn(beginning: Beginning, messages: Sender<Message>, failure: Failure) -> Result<(Link, Started), Trouble> {
    let (index, cpu, bell) = (beginning.index, beginning.cpu, beginning.bell.clone());
    let (last_sender, last) = bounded(1);
    let (started_sender, started) = bounded(1);
    let body = move || {
        match catch_unwind(AssertUnwindSafe(|| thread::run(beginning, &started_sender))) {
            // Nobody may be left to read it.
            Ok(Some(snapshot)) => drop(last_sender.send(snapshot)),
            Ok(None) => {}
            Err(panic) => {
                let why = format!("core {index} on CPU {cpu} has failed: {}", text_of(panic.as_ref()));
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
            }
        }
    };
    let thread = Builder::new()
        .name(thread::name(index))
        .spawn(body)
        .map_err(|error| Trouble::new(format!("cannot start the thread of core {index}: {error}; raise LimitNPROC")))?;
    Ok((Link { messages, bell, last, thread: Mutex::new(Some(thread)) }, started))
}

/// Connections of clients that cores with these images take in all.
fn tcp_connections(images: &[Arc<Images>]) -> usize {
    images.iter().map(|images| images.bounds.tcp_connections).sum()
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without words")
}
