//! The runtime, behind a wall: the only module that names glommio, so that another io_uring runtime can take its place.
//!
//! What the rest of the crate may rely on: a task runs until it awaits; [`Readiness`] goes through the reactor every
//! time, also when the descriptor is ready already, so that a loop that awaits it lets timers, messages and other
//! sockets have their turn; [`spawn`] never runs the new task before the present one awaits.
//!
//! Timers are not taken from the runtime, except for rare pauses: a glommio timer that is polled again registers again,
//! and each turn of the reactor walks over all of them. The alarm of a core is a timerfd instead.

use std::future::Future;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use glommio::io::PollableFd;
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement, PoolPlacement, TaskQueueHandle};

use crate::limits::{IO_MEMORY_OCTETS, PREEMPT_AFTER};

/// A task; dropped, it is cancelled: its future is dropped at the executor's next turn.
pub(crate) struct Task(Option<glommio::Task<()>>);

/// The executor of the calling thread.
pub(crate) struct Executor(LocalExecutor);

/// Waits for a descriptor to be ready. Owns the descriptor, or a share in it, so that it cannot be closed meanwhile.
pub(crate) struct Readiness<T: AsRawFd>(PollableFd<T>);

impl Executor {
    /// Makes the executor. The thread must be pinned to `cpu` before: the runtime's memory is then near its CPU. Where
    /// there is nothing to do, it looks for work for the time `spin` before it sleeps. The runtime wants at least one
    /// thread of its own for blocking calls, which it never gets from us; that thread takes over the name and the pinning
    /// of the caller.
    pub(crate) fn new(cpu: usize, spin: Duration) -> Result<Executor, String> {
        // It takes no notice of the time where it has not pinned the thread itself, and for that it reads /sys.
        let placement = if spin.is_zero() { Placement::Unbound } else { Placement::Fixed(cpu) };
        LocalExecutorBuilder::new(placement)
            .io_memory(IO_MEMORY_OCTETS)
            .preempt_timer(PREEMPT_AFTER)
            .spin_before_park(spin)
            .blocking_thread_pool_placement(PoolPlacement::Unbound(1))
            .make()
            .map(Executor)
            .map_err(|error| error.to_string())
    }

    /// Runs until `future` ends. A panic of any task comes out here.
    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.0.run(future)
    }
}

/// Starts a task on this thread's executor, at its next turn.
pub(crate) fn spawn(future: impl Future<Output = ()> + 'static) -> Task {
    // Not `spawn_local`: that one polls the new task at once, inside the caller.
    let task = glommio::executor()
        .spawn_local_into(future, TaskQueueHandle::default())
        .expect("the default task queue is always there");
    Task(Some(task))
}

impl Task {
    /// Lets the task run on its own.
    pub(crate) fn detach(mut self) {
        if let Some(task) = self.0.take() {
            task.detach();
        }
    }

    /// Cancels the task and waits until its future has been dropped.
    pub(crate) async fn cancel(mut self) {
        if let Some(task) = self.0.take() {
            task.cancel().await;
        }
    }
}

impl<T: AsRawFd> Readiness<T> {
    /// Readiness of `descriptor`, on this thread's executor.
    pub(crate) fn new(descriptor: T) -> Readiness<T> {
        Readiness(PollableFd::new(descriptor).expect("taking a descriptor over does not fail"))
    }

    /// The descriptor has something to read, or an end or error to report.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.0.readable().await.map_err(io::Error::from)
    }

    /// The descriptor takes something to write, or has an error to report.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        self.0.writable().await.map_err(io::Error::from)
    }

    /// The descriptor, back.
    pub(crate) fn into_descriptor(self) -> T {
        self.0.into_inner()
    }

    /// The descriptor.
    pub(crate) fn descriptor(&self) -> &T {
        self.0.get_ref()
    }
}

/// Waits at least `span`. For rare pauses only, see the head of this module.
pub(crate) async fn pause(span: Duration) {
    glommio::timer::sleep(span).await;
}
