//! Every bound of the rim, the unit last in the name. Settings of a user arrive in [`Plan`](crate::Plan) and
//! in the images instead.

use std::time::Duration;

use ringdns_shard::limits::{MESSAGE_OCTETS_MAX, UDP_REPLY_OCTETS_MAX, UDP_REQUEST_OCTETS_MAX};

/// Datagrams taken or sent with one system call.
pub(crate) const BATCH_DATAGRAMS: usize = 64;
/// Batches that one socket may take before the reactor runs: 512 datagrams, a millisecond or two of work.
pub(crate) const BATCH_ROUNDS_MAX: usize = 8;
/// Datagrams of a batch from which on the memory that their answers will read is fetched ahead: fewer are answered
/// before it comes.
pub(crate) const LOOK_AHEAD_MIN: usize = 4;
/// Batches after which the kernel is asked what it has dropped, also where nobody wants to know: its numbers of 32 bits
/// must not wrap in between. Four million datagrams are received meanwhile at most.
pub(crate) const KERNEL_DROPS_BATCHES: u32 = 1 << 16;
/// Receive buffer that is asked for on every UDP socket; the kernel caps it at `net.core.rmem_max`.
pub(crate) const UDP_RECEIVE_BUFFER_OCTETS: usize = 4 << 20;
/// Connections that may wait to be accepted, on each core.
pub(crate) const TCP_BACKLOG: i32 = 1_024;
/// Connections accepted before the reactor runs.
pub(crate) const ACCEPTS_A_TURN_MAX: usize = 16;
/// Pause after an accept that failed for want of descriptors or memory.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Pause after a receive that failed for another reason than an empty socket.
pub(crate) const RECEIVE_PAUSE: Duration = Duration::from_millis(10);
/// Requests of one connection that wait for an upstream; beyond, the connection is not read.
pub(crate) const TCP_IN_FLIGHT_MAX: usize = 128;
/// Transfers of one connection; beyond, it is not read, so that no peer takes all that a core allows with one connection.
pub(crate) const TCP_TRANSFERS_MAX: usize = 8;
/// Unsent output of one connection beyond which it is not read.
pub(crate) const TCP_OUTPUT_PAUSE_OCTETS: usize = 64 << 10;
/// Unsent output of one connection beyond which it is closed: replies to requests in flight come on top of the above.
pub(crate) const TCP_OUTPUT_OCTETS_MAX: usize = 1 << 20;
/// Octets read from a connection at a time: some hundred requests.
pub(crate) const TCP_READ_OCTETS: usize = 16 << 10;
/// Memory that the first reply which waits on a connection takes: enough for a dozen small ones.
pub(crate) const TCP_OUTPUT_OCTETS_MIN: usize = 1 << 10;
/// How long a connection may wait for replies of ours when nothing else happens on it.
pub(crate) const TCP_IN_FLIGHT_PATIENCE: Duration = Duration::from_secs(60);
/// The part of a core's connections that one client may have while at least half of them are free: a quarter, so that
/// resolvers behind one address are served however many they are, and four such clients leave the other half alone.
pub(crate) const TCP_CLIENT_SHARE: usize = 4;
/// Connections that one client may have whatever happens: RFC 7766 §6.2.2 wants one for queries and one for each
/// transfer under way.
pub(crate) const TCP_CLIENT_FEW: usize = 4;
/// Connections of a client looked at, from the oldest, when one of them must give way.
pub(crate) const TCP_RECYCLE_LOOK: usize = 64;
/// Connections that a core keeps open towards upstreams.
pub(crate) const UPSTREAM_TCP_MAX: usize = 256;
/// Connections to one server.
pub(crate) const UPSTREAM_TCP_A_SERVER_MAX: usize = 4;
/// Connections to one server that answers few queries over each.
pub(crate) const UPSTREAM_TCP_FEW_SERVER_MAX: usize = 64;
/// A server that has closed a connection after a few replies is believed to do so always for so long.
pub(crate) const UPSTREAM_TCP_FEW_SPAN: Duration = Duration::from_secs(60);
/// Queries on their way over one connection.
pub(crate) const UPSTREAM_TCP_PIPELINE_MAX: usize = 64;
/// Queries on their way over each connection to a server beyond which a further one is opened.
pub(crate) const UPSTREAM_TCP_BUSY: usize = 16;
/// Exchanges given up on a connection, without a reply to anything in between, after which it takes no more of them.
pub(crate) const UPSTREAM_TCP_SILENT_MAX: u32 = 3;
/// A connection to an upstream that nobody has needed for so long is closed.
pub(crate) const UPSTREAM_TCP_IDLE: Duration = Duration::from_secs(10);
/// How long an exchange over TCP with an upstream may take in all; the shard usually ends it earlier.
pub(crate) const UPSTREAM_TCP_PATIENCE: Duration = Duration::from_secs(30);
/// Deadlines closer than this wait for it, so that a crowd of them costs one wake-up.
pub(crate) const ALARM_SLACK: Duration = Duration::from_millis(1);
/// Time between two looks at the deadlines of connections: a fraction of the idle time-out, within these bounds.
pub(crate) const SWEEP_MIN: Duration = Duration::from_millis(5);
/// See [`SWEEP_MIN`].
pub(crate) const SWEEP_MAX: Duration = Duration::from_secs(1);
/// Looks a connection gets within one idle time-out.
pub(crate) const SWEEPS_A_TIMEOUT: u32 = 8;
/// A part of its cache that a core hands out ends where it is so long: some hundred answers, well below a millisecond of
/// work.
pub(crate) const CACHE_PORTION_OCTETS: usize = 64 << 10;
/// Messages from other threads that wait for a core.
pub(crate) const MESSAGES_MAX: usize = 64;
/// How often a draining core looks whether all is answered.
pub(crate) const DRAIN_LOOK: Duration = Duration::from_millis(2);
/// How much longer than its drain time a core may take to end.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(2);
/// Ports tried until one is free for UDP and for TCP, where the port asked for is 0.
pub(crate) const PORT_TRIES_MAX: usize = 16;
/// A port that is taken when the server starts is tried again after so long…
pub(crate) const PORT_WAIT: Duration = Duration::from_millis(50);
/// … for so long: the time in which the kernel closes what a process before has left.
pub(crate) const PORT_WAIT_MAX: Duration = Duration::from_secs(2);
/// Memory that the runtime registers with each ring of a core, for file I/O that is never done here: its minimum.
pub(crate) const IO_MEMORY_OCTETS: usize = 64 << 10;
/// When the runtime takes a task queue off the CPU for another one: never, for there is one queue, and its tasks wait for
/// readiness often. Where this time has passed before the first task runs, because the thread did not get its CPU, the
/// runtime takes the queue for empty and goes to sleep over tasks that are ready, until something else happens.
pub(crate) const PREEMPT_AFTER: Duration = Duration::from_secs(3_600);
/// Locked memory without which the runtime refuses to start.
pub(crate) const MEMLOCK_OCTETS_MIN: u64 = 512 << 10;
/// Descriptors that a process needs whatever the plan says: standard streams, control plane, zone files.
pub(crate) const FILES_BASE: usize = 64;
/// Descriptors of a core beside its sockets: rings, bell, alarm.
pub(crate) const FILES_A_CORE: usize = 8;

/// The longest frame: a message and its length.
pub(crate) const FRAME_OCTETS_MAX: usize = MESSAGE_OCTETS_MAX + 2;

const _: () = assert!(UDP_REPLY_OCTETS_MAX <= UDP_REQUEST_OCTETS_MAX);
const _: () = assert!(TCP_READ_OCTETS < FRAME_OCTETS_MAX);
const _: () = assert!(TCP_CLIENT_SHARE > 1 && TCP_CLIENT_FEW > 0 && TCP_RECYCLE_LOOK > 0);
const _: () = assert!(UPSTREAM_TCP_BUSY < UPSTREAM_TCP_PIPELINE_MAX);
const _: () = assert!(
    UPSTREAM_TCP_A_SERVER_MAX <= UPSTREAM_TCP_FEW_SERVER_MAX && UPSTREAM_TCP_FEW_SERVER_MAX <= UPSTREAM_TCP_MAX
);
const _: () = assert!(TCP_OUTPUT_PAUSE_OCTETS + FRAME_OCTETS_MAX <= TCP_OUTPUT_OCTETS_MAX);
