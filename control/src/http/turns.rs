//! Turns: a few requests are worked on at once, a few more wait, and others are told to ask again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::BOUNDS;

/// Requests for what is quickly said, at once: each holds a thread, and reloads and the watchdog need some, too.
const BRIEF_MAX: usize = 2;
/// The same for those who ask whether the server is ready.
const READY_MAX: usize = 1;
/// The same for those that may take seconds: they must not keep out who asks whether the server is ready.
const LONG_MAX: usize = 2;
/// For so long a turn is taken at least, though the answer goes out before: it bounds how often the cores are asked, and
/// with it what those take from them who ask without end.
const BRIEF_PACE: Duration = Duration::from_millis(2);
/// The same for what costs a core more than a glance.
const LONG_PACE: Duration = Duration::from_millis(20);
/// How long a request may wait for its turn.
const TURN_LIMIT: Duration = Duration::from_secs(5);
/// Requests of a door that wait for one kind of turn; more are turned away at once. Who waits keeps a seat, and of those
/// there must be some for others.
const WAITING_MAX: usize = 16;
const _: () = assert!(3 * WAITING_MAX + BRIEF_MAX + LONG_MAX < BOUNDS.connections);

/// Whose turn it is to hold a thread, or to have the control plane's own.
#[derive(Clone, Debug)]
pub(crate) struct Turns {
    brief: Queue,
    long: Queue,
    ready: Queue,
    ordered: Queue,
}

/// Those who wait for turns of one kind, whichever door they came in by, and those who have one.
#[derive(Clone, Debug)]
struct Queue {
    turns: Arc<Semaphore>,
    /// Where those of this door wait.
    places: Arc<Semaphore>,
    pace: Duration,
}

impl Default for Turns {
    fn default() -> Turns {
        Turns {
            brief: Queue::new(BRIEF_MAX, BRIEF_PACE),
            long: Queue::new(LONG_MAX, LONG_PACE),
            ready: Queue::new(READY_MAX, BRIEF_PACE),
            ordered: Queue::new(1, LONG_PACE),
        }
    }
}

/// Why nothing came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoTurn {
    /// Others took too long.
    Busy,
    /// It met a bug in ringdns.
    Bug,
}

impl Turns {
    /// Asks the cores what they can say at once, off the runtime's thread.
    pub(crate) async fn brief<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NoTurn> {
        self.brief.blocking(work).await
    }

    /// Goes through a cache or the query log, off the runtime's thread.
    pub(crate) async fn long<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, NoTurn> {
        self.long.blocking(work).await
    }

    /// Asks the cores whether they answer, off the runtime's thread.
    pub(super) async fn ready<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NoTurn> {
        self.ready.blocking(work).await
    }

    /// Asks the process for what takes its one thread more than a glance.
    pub(crate) async fn ordered<T: Send + 'static>(
        &self,
        order: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, NoTurn> {
        self.ordered.turn(order).await
    }

    /// The same turns, and places of its own to wait for them: one door does not turn away who comes in by another.
    pub(super) fn of_door(&self) -> Turns {
        let Turns { brief, long, ready, ordered } = self;
        // However many ask whether the server is ready, its answer is not that others ask, too: the seats bound them.
        let ready = Queue { places: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)), ..ready.clone() };
        Turns { brief: brief.of_door(), long: long.of_door(), ready, ordered: ordered.of_door() }
    }
}

impl Queue {
    fn new(turns: usize, pace: Duration) -> Queue {
        Queue { turns: Arc::new(Semaphore::new(turns)), places: Arc::new(Semaphore::new(WAITING_MAX)), pace }
    }

    fn of_door(&self) -> Queue {
        Queue { places: Arc::new(Semaphore::new(WAITING_MAX)), ..self.clone() }
    }

    /// Work that takes a thread.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, NoTurn> {
        self.turn(async { spawn_blocking(work).await }).await?.map_err(|_| NoTurn::Bug)
    }

    async fn turn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<T, NoTurn> {
        let place = self.places.try_acquire().map_err(|_| NoTurn::Busy)?;
        let turn = timeout(TURN_LIMIT, Arc::clone(&self.turns).acquire_owned()).await.map_err(|_| NoTurn::Busy)?;
        let turn = turn.expect("nobody closes it");
        drop(place);
        let (told, made) = oneshot::channel();
        let pace = self.pace;
        // The work keeps the turn, whether or not somebody still waits for what comes of it.
        tokio::spawn(async move {
            let _ = told.send(work.await);
            sleep(pace).await;
            drop(turn);
        });
        made.await.map_err(|_| NoTurn::Bug)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn what_takes_long_leaves_turns_for_what_does_not() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let turns = Turns::default();
            assert_eq!(turns.brief(|| panic!("a bug, for this test")).await, Err::<(), _>(NoTurn::Bug));
            let (release, held) = std::sync::mpsc::channel::<()>();
            let held = Arc::new(std::sync::Mutex::new(held));
            let long = || {
                let held = Arc::clone(&held);
                turns.long(move || {
                    let _ = held.lock().unwrap().recv();
                })
            };
            // Those who asked have gone away; what they asked for goes on.
            for _ in 0..LONG_MAX {
                assert!(timeout(Duration::from_millis(50), long()).await.is_err());
            }
            let begun = Instant::now();
            assert_eq!(long().await, Err(NoTurn::Busy));
            assert!(begun.elapsed() >= TURN_LIMIT);
            assert_eq!(turns.brief(|| 7).await, Ok(7));
            // Who would have to wait with many is told so at once; who comes in by another door waits with few.
            let mut waiting: Vec<_> = (0..WAITING_MAX).map(|_| Box::pin(long())).collect();
            for waiting in &mut waiting {
                assert!(timeout(Duration::from_millis(1), waiting).await.is_err());
            }
            let begun = Instant::now();
            assert_eq!(long().await, Err(NoTurn::Busy));
            assert!(begun.elapsed() < TURN_LIMIT / 2);
            let elsewhere = turns.of_door();
            assert!(timeout(Duration::from_millis(1), elsewhere.long(|| ())).await.is_err());
            drop((release, waiting));
            assert_eq!(long().await, Ok(()));
        });
    }
}
