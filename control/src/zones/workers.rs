//! Threads for what takes long: zones read, built, compared, written. They run at the lowest priority, and where the
//! kernel lets them only while nobody else wants their CPU, so that the cores' answers never wait for them. So do the
//! threads that they start. A job that takes long all the same goes on as an ordinary thread of the lowest priority.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::gettid;
use tokio::sync::oneshot;

use crate::cores::Cores;

/// The priority of the threads: the lowest that Linux has for ordinary ones.
const NICE: i32 = 19;
/// How long a job stands aside. A million names are read within it where a CPU has time to spare; where it has none, the
/// few thousandths that those who stand aside get would make hours of it, in which a zone may expire.
const ASIDE_MAX: Duration = Duration::from_secs(5);

struct Work {
    /// When what it belongs to has begun; `None`: with itself.
    since: Option<Instant>,
    job: Box<dyn FnOnce() + Send>,
}

/// The threads. They end when the last clone is gone and the work is done.
#[derive(Clone)]
pub(crate) struct Workers {
    sender: Sender<Work>,
    /// `None`: they do not stand aside.
    pool: Option<Arc<Pool>>,
}

/// The threads that stand aside, those that they have started among them, as long as they have a job.
struct Pool {
    cores: Arc<dyn Cores>,
    busy: Mutex<Vec<Busy>>,
}

struct Busy {
    thread: i32,
    since: Instant,
    is_forward: bool,
}

thread_local! {
    /// What the thread works on.
    static PARTY: RefCell<Option<Party>> = const { RefCell::new(None) };
}

/// A job, for the threads that are started to do it.
#[derive(Clone)]
pub(crate) struct Party {
    pool: Arc<Pool>,
    since: Instant,
}

/// A thread is known to do a job, until this is dropped.
pub(crate) struct Joined {
    pool: Arc<Pool>,
    thread: i32,
}

impl Workers {
    /// Starts `count` threads, at least one, which stand aside as `cores` have it.
    pub(crate) fn start(count: usize, cores: Arc<dyn Cores>) -> std::io::Result<Workers> {
        let pool = Arc::new(Pool { cores, busy: Mutex::default() });
        Workers::start_in(count, "zones", Some(pool))
    }

    /// Starts a thread for short work for which somebody waits: it has the lowest priority, and does not stand aside.
    pub(crate) fn start_urgent() -> std::io::Result<Workers> {
        Workers::start_in(1, "soon", None)
    }

    fn start_in(count: usize, name: &str, pool: Option<Arc<Pool>>) -> std::io::Result<Workers> {
        let (sender, receiver) = channel::<Work>();
        let receiver = Arc::new(Mutex::new(receiver));
        for number in 0..count.max(1) {
            let (receiver, pool) = (Arc::clone(&receiver), pool.clone());
            let body = move || {
                stand_back();
                if let Some(pool) = &pool {
                    pool.cores.stand_aside();
                }
                work(&receiver, pool.as_ref());
            };
            thread::Builder::new().name(format!("ringdns-{name}-{number}")).spawn(body)?;
        }
        Ok(Workers { sender, pool })
    }

    /// Has `work` done by one of the threads; `None` when it panicked.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        self.run_since(None, work).await
    }

    /// The same, of a part of what has begun before: all parts together stand aside no longer than one job.
    pub(crate) async fn run_since<T: Send + 'static>(
        &self,
        since: impl Into<Option<Instant>>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (done, answer) = oneshot::channel();
        let job = move || {
            // Whoever asked may have gone away.
            let _ = done.send(work());
        };
        self.send(Work { since: since.into(), job: Box::new(job) });
        answer.await.ok()
    }

    /// Has `work` done without waiting for it.
    pub(crate) fn leave(&self, work: impl FnOnce() + Send + 'static) {
        self.send(Work { since: None, job: Box::new(work) });
    }

    fn send(&self, work: Work) {
        self.sender.send(work).expect("the threads live as long as this");
    }

    /// Has those come forward that have stood aside for too long at `now`; to be called once a second or so.
    pub(crate) fn hurry(&self, now: Instant) {
        let Some(pool) = &self.pool else { return };
        // As long as this is locked, each of the threads is there.
        let mut busy = pool.busy();
        let late = |busy: &&mut Busy| !busy.is_forward && now.saturating_duration_since(busy.since) >= ASIDE_MAX;
        busy.iter_mut().filter(late).for_each(|busy| {
            pool.cores.come_forward(busy.thread);
            busy.is_forward = true;
        });
    }
}

impl Pool {
    fn busy(&self) -> MutexGuard<'_, Vec<Busy>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does a job on this thread, and stands aside again where it came forward for it.
    fn party(self: &Arc<Pool>, since: Option<Instant>, job: impl FnOnce()) {
        let party = Party { pool: Arc::clone(self), since: since.unwrap_or_else(Instant::now) };
        let joined = party.join();
        PARTY.set(Some(party));
        job();
        PARTY.set(None);
        if joined.leave() {
            self.cores.stand_aside();
        }
    }
}

impl Party {
    /// That of this thread, where it has one.
    pub(crate) fn here() -> Option<Party> {
        PARTY.with_borrow(Clone::clone)
    }

    /// This thread does the job, too, until what this gives is dropped: it comes forward when the job takes long.
    pub(crate) fn join(&self) -> Joined {
        let thread = gettid().as_raw();
        let is_forward = self.since.elapsed() >= ASIDE_MAX;
        if is_forward {
            self.pool.cores.come_forward(thread);
        }
        self.pool.busy().push(Busy { thread, since: self.since, is_forward });
        Joined { pool: Arc::clone(&self.pool), thread }
    }
}

impl Joined {
    /// Ends it, and tells whether the thread has come forward.
    fn leave(&self) -> bool {
        let mut busy = self.pool.busy();
        let at = busy.iter().position(|busy| busy.thread == self.thread);
        at.is_some_and(|at| busy.swap_remove(at).is_forward)
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Lowers the priority of the calling thread, for good.
pub(crate) fn stand_back() {
    // On Linux this is of the calling thread alone. Where it is forbidden, work goes on at the old priority.
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        log::debug!("zones are prepared at full priority: {error}");
    }
}

fn work(receiver: &Mutex<Receiver<Work>>, pool: Option<&Arc<Pool>>) {
    loop {
        let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Work { since, job }) = next else { return };
        // A panic is a bug of ours, and no reason for the next work not to be done; the panic hook has told of it.
        let job = || drop(catch_unwind(AssertUnwindSafe(job)));
        match pool {
            Some(pool) => pool.party(since, job),
            None => job(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::cores::fake::Fake;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn work_is_done_at_the_lowest_priority() {
        let cores = Arc::new(Fake::default());
        let workers = Workers::start(2, Arc::clone(&cores) as Arc<dyn Cores>).unwrap();
        let priority = || rustix::process::getpriority_process(None).unwrap();
        let of_worker = block_on(workers.run(move || (priority(), thread::spawn(priority).join().unwrap())));
        assert_eq!(of_worker, Some((NICE, NICE)), "and of the threads that it starts");
        let both = Arc::new(Barrier::new(2));
        let other = Arc::clone(&both);
        workers.leave(move || {
            other.wait();
        });
        block_on(workers.run(move || both.wait().is_leader())).unwrap();
        assert_eq!(cores.aside.load(Ordering::Relaxed), 2, "each of them stands aside");
        assert_eq!(block_on(Workers::start_urgent().unwrap().run(priority)), Some(NICE));
        assert_eq!(cores.aside.load(Ordering::Relaxed), 2);
        assert_ne!(rustix::process::getpriority_process(None).unwrap(), NICE, "the caller keeps its own");
    }

    #[test]
    fn a_panic_is_told_and_the_next_work_is_done() {
        let workers = Workers::start(1, Arc::new(Fake::default())).unwrap();
        assert_eq!(block_on(workers.run(|| -> u8 { panic!("as the test wants") })), None);
        assert_eq!(block_on(workers.run(|| 5)), Some(5));
    }

    #[test]
    fn a_job_that_takes_long_comes_forward_with_the_threads_that_do_it() {
        let cores = Arc::new(Fake::default());
        let workers = Workers::start(1, Arc::clone(&cores) as Arc<dyn Cores>).unwrap();
        let ((told, telling), (go_on, going_on)) = (channel(), channel::<()>());
        workers.leave(move || {
            let party = Party::here().expect("it has a job");
            thread::scope(|scope| {
                let (party, also_told) = (&party, told.clone());
                scope.spawn(move || {
                    let _joined = party.join();
                    also_told.send(gettid().as_raw()).unwrap();
                    going_on.recv().unwrap();
                });
                told.send(gettid().as_raw()).unwrap();
            });
        });
        let mut threads = [telling.recv().unwrap(), telling.recv().unwrap()];
        threads.sort_unstable();
        workers.hurry(Instant::now());
        assert!(cores.forward.lock().unwrap().is_empty(), "it has just begun");
        let later = Instant::now() + ASIDE_MAX;
        workers.hurry(later);
        workers.hurry(later);
        let mut forward = std::mem::take(&mut *cores.forward.lock().unwrap());
        forward.sort_unstable();
        assert_eq!(forward, threads, "each once");
        go_on.send(()).unwrap();
        // The next job begins aside, and nobody is forgotten in the list.
        assert_eq!(block_on(workers.run(|| Party::here().unwrap().pool.busy().len())), Some(1));
        assert_eq!(cores.aside.load(Ordering::Relaxed), 2);
        assert!(cores.forward.lock().unwrap().is_empty());
    }

    #[test]
    fn a_part_of_what_has_taken_long_begins_forward() {
        let cores = Arc::new(Fake::default());
        let workers = Workers::start(1, Arc::clone(&cores) as Arc<dyn Cores>).unwrap();
        let Some(before) = Instant::now().checked_sub(ASIDE_MAX) else { return eprintln!("skipped: just booted") };
        let thread = block_on(workers.run_since(before, || gettid().as_raw())).unwrap();
        assert_eq!(*cores.forward.lock().unwrap(), [thread]);
        assert_eq!(block_on(workers.run(|| ())), Some(()));
        assert_eq!(*cores.forward.lock().unwrap(), [thread], "the next one does not");
        assert_eq!(cores.aside.load(Ordering::Relaxed), 2);
    }
}
