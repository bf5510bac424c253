//! The life of a core's thread: pinned, named, an executor with the core's tasks, messages from other threads until one
//! of them says stop, then the last replies.

use std::ffi::CString;
use std::net::{TcpListener, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError};
use nix::sys::eventfd::EventFd;
use ringdns_shard::Images;
use ringdns_shard::cache::{Flush, Listed, Looked};
use ringdns_shard::wire::message::Malformed;
use ringdns_shard::wire::name::Name;
use socket2::Socket;

use crate::clock;
use crate::engine::{self, Events, Parts, Shared};
use crate::limits::{BATCH_ROUNDS_MAX, DRAIN_LOOK};
use crate::runtime::{self, Executor, Readiness, Task};
use crate::tcp;
use crate::telemetry::{Portion, Snapshot, Status};
use crate::udp::{self, Batch};
use crate::upstream;

/// What another thread asks of a core.
pub(crate) enum Message {
    /// Take these images; the old ones go back.
    Swap(Arc<Images>, Sender<Arc<Images>>),
    /// Tell about yourself.
    Snapshot(Sender<Snapshot>),
    /// Say that you are there, and answer questions.
    Probe(Sender<()>),
    /// Tell of upstreams and the cache.
    Status(Sender<Status>),
    /// Flush a part of the cache, from a cursor on; how many answers went, and where to go on.
    Flush(Arc<Flush>, u64, Sender<(usize, Option<u64>)>),
    /// Tell what the cache has for a name.
    CacheLook(Arc<Name>, Sender<Looked>),
    /// List a part of the cache at and below a name, from a cursor on.
    CacheList(Name, u64, Sender<Listed>),
    /// Hand over what has been recorded so far.
    HandOver(Sender<()>),
    /// Hand out a part of the cache, from a cursor on.
    CacheOut(u64, Sender<Portion>),
    /// Take such a part in; how many answers were kept of it.
    CacheIn(Vec<u8>, Sender<Result<usize, Malformed>>),
    /// Answer what is in flight, within this time, and end.
    Stop(Duration),
}

/// What a core's thread starts with.
pub(crate) struct Beginning {
    pub(crate) index: usize,
    pub(crate) cpu: usize,
    pub(crate) spin: Duration,
    pub(crate) images: Arc<Images>,
    pub(crate) seed: [u8; 32],
    /// By listener.
    pub(crate) udp: Vec<Option<Socket>>,
    /// By listener.
    pub(crate) tcp: Vec<Option<Socket>>,
    pub(crate) upstream_v4: Vec<Socket>,
    pub(crate) upstream_v6: Vec<Socket>,
    pub(crate) events: Events,
    pub(crate) messages: Receiver<Message>,
    /// Rung after each message.
    pub(crate) bell: Arc<EventFd>,
}

/// The name of a core's thread. The kernel keeps fifteen characters of it.
pub(crate) fn name(core: usize) -> String {
    format!("ringdns-core-{core}")
}

/// Runs a core on the calling thread until it is told to stop. `started` hears once whether it could begin.
pub(crate) fn run(beginning: Beginning, started: &Sender<Result<(), String>>) -> Option<Snapshot> {
    let executor = match executor(beginning.index, beginning.cpu, beginning.spin) {
        Ok(executor) => executor,
        Err(why) => {
            let _ = started.send(Err(why));
            return None;
        }
    };
    Some(executor.run(life(beginning, started.clone())))
}

fn executor(core: usize, cpu: usize, spin: Duration) -> Result<Executor, String> {
    if !core_affinity::set_for_current(core_affinity::CoreId { id: cpu }) {
        return Err(format!("cannot be pinned to CPU {cpu}: allow the system call sched_setaffinity"));
    }
    // The runtime's own thread takes over the name that this thread has while the executor is made.
    set_thread_name(&format!("ringdns-aux-{core}"));
    let executor = Executor::new(cpu, spin)
        .map_err(|error| format!("its io_uring executor does not start: {}", error.replace('\n', " ")));
    set_thread_name(&name(core));
    executor
}

fn set_thread_name(name: &str) {
    let name = CString::new(name).expect("a name of ours has no zero octet");
    // A name that cannot be set is missed in `ps` and nowhere else.
    let _ = nix::sys::prctl::set_name(&name);
}

async fn life(beginning: Beginning, started: Sender<Result<(), String>>) -> Snapshot {
    let Beginning { messages, bell, tcp, .. } = beginning;
    let listeners: Vec<(u16, Rc<TcpListener>)> =
        numbered(tcp).map(|(listener, socket)| (listener, Rc::new(TcpListener::from(socket)))).collect();
    let parts = Parts {
        index: beginning.index,
        cpu: beginning.cpu,
        images: beginning.images,
        seed: beginning.seed,
        udp: beginning.udp.into_iter().map(|socket| Some(udp::End::new(UdpSocket::from(socket?)))).collect(),
        upstream: upstream::Sockets::new(beginning.upstream_v4, beginning.upstream_v6),
        events: beginning.events,
    };
    let shared = Shared::new(parts).expect("a timer and memory for the core");
    let (doors, others) = spawn_tasks(&shared, &listeners);
    let _ = started.send(Ok(()));
    drop(started);

    let ready = Readiness::new(bell);
    let drain = loop {
        // Before the first wait too: a message may have come before this thread.
        if let Some(drain) = handle_messages(&shared, &messages) {
            break drain;
        }
        ready.readable().await.expect("a descriptor of ours can be waited for");
        // Once, whatever it says: the messages are what counts, and the descriptor is non-blocking.
        let _ = ready.descriptor().read();
    };

    take_what_waits(&shared, &listeners);
    drop(listeners);
    for task in doors {
        task.cancel().await;
    }
    shared.core.borrow().connections.stop_reading();
    let end = clock::now() + drain;
    while !shared.core.borrow().is_drained() && clock::now() < end {
        runtime::pause(DRAIN_LOOK).await;
        handle_messages(&shared, &messages);
    }
    for task in others {
        task.cancel().await;
    }
    shared.core.borrow_mut().end(messages.len())
}

/// The tasks that let requests in, and the others of a core.
fn spawn_tasks(shared: &Rc<Shared>, listeners: &[(u16, Rc<TcpListener>)]) -> (Vec<Task>, Vec<Task>) {
    let core = shared.core.borrow();
    let mut doors = Vec::new();
    for (listener, end) in core.udp.iter().enumerate() {
        if let Some(end) = end {
            doors.push(runtime::spawn(udp::listen(shared.clone(), listener as u16, end.socket.clone())));
        }
    }
    for (listener, socket) in listeners {
        doors.push(runtime::spawn(tcp::listen(shared.clone(), *listener, socket.clone())));
    }
    let mut others = vec![runtime::spawn(engine::alarms(shared.clone()))];
    for (index, socket) in core.upstream.each() {
        others.push(runtime::spawn(upstream::listen(shared.clone(), index, socket.clone())));
    }
    (doors, others)
}

/// Does what the messages say that have come; the drain time when one of them said stop. To the last one, since the bell
/// has been silenced: those who send wait for their answers, so that there is an end.
fn handle_messages(shared: &Shared, messages: &Receiver<Message>) -> Option<Duration> {
    loop {
        let message = match messages.try_recv() {
            Ok(message) => message,
            Err(TryRecvError::Empty) => return None,
            // Nobody is left who could say stop.
            Err(TryRecvError::Disconnected) => return Some(Duration::ZERO),
        };
        let mut core = shared.core.borrow_mut();
        core.counters.messages += 1;
        // Whoever asked may have given up waiting; then nobody misses the answer.
        match message {
            Message::Swap(images, reply) => drop(reply.send(core.swap(images))),
            Message::Snapshot(reply) => drop(reply.send(core.snapshot(messages.len()))),
            // Who gets no answer of its own engine gives none.
            Message::Probe(reply) if core.shard.probe() => drop(reply.send(())),
            Message::Probe(_) => {}
            Message::Status(reply) => drop(reply.send(core.status())),
            Message::Flush(what, cursor, reply) => drop(reply.send(core.shard.flush_step(&what, cursor))),
            Message::CacheLook(name, reply) => drop(reply.send(core.cache_look(&name))),
            Message::CacheList(below, cursor, reply) => drop(reply.send(core.cache_list(&below, cursor))),
            Message::HandOver(reply) => {
                core.hand_over();
                let _ = reply.send(());
            }
            Message::CacheOut(cursor, reply) => drop(reply.send(core.cache_out(cursor))),
            Message::CacheIn(portion, reply) => drop(reply.send(core.cache_in(&portion))),
            Message::Stop(drain) => return Some(drain),
        }
    }
}

/// Takes in the requests that have reached this machine before the doors close.
fn take_what_waits(shared: &Rc<Shared>, listeners: &[(u16, Rc<TcpListener>)]) {
    for (listener, socket) in listeners {
        // One that cannot be accepted now is told so by the closing of the listener.
        let _ = tcp::accept_waiting(shared, *listener, socket);
    }
    let count = shared.core.borrow().udp.len();
    for listener in 0..count {
        if shared.core.borrow().udp[listener].is_none() {
            continue;
        }
        for _ in 0..BATCH_ROUNDS_MAX {
            if udp::take_batch(shared, listener as u16) != Batch::Full {
                break;
            }
        }
    }
}

fn numbered(sockets: Vec<Option<Socket>>) -> impl Iterator<Item = (u16, Socket)> {
    sockets.into_iter().enumerate().filter_map(|(listener, socket)| Some((listener as u16, socket?)))
}
