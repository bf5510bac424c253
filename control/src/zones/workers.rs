//! Threads for what takes long: zones read, built, compared, written. They run at the lowest priority, and where the
//! kernel lets them only while nobody else wants their CPU, so that the cores' answers never wait for them. So do the
//! threads that they start.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::oneshot;

/// The priority of the threads: the lowest that Linux has for ordinary ones.
const NICE: i32 = 19;

type Work = Box<dyn FnOnce() + Send>;

/// The threads. They end when the last clone is gone and the work is done.
#[derive(Clone, Debug)]
pub(crate) struct Workers(Sender<Work>);

impl Workers {
    /// Starts `count` threads, at least one; each calls `stand_aside` before anything else.
    pub(crate) fn start(count: usize, stand_aside: impl Fn() + Clone + Send + 'static) -> std::io::Result<Workers> {
        let (sender, receiver) = channel::<Work>();
        let receiver = Arc::new(Mutex::new(receiver));
        for number in 0..count.max(1) {
            let (receiver, stand_aside) = (Arc::clone(&receiver), stand_aside.clone());
            let body = move || {
                stand_back();
                stand_aside();
                work(&receiver);
            };
            thread::Builder::new().name(format!("ringdns-zones-{number}")).spawn(body)?;
        }
        Ok(Workers(sender))
    }

    /// Has `work` done by one of the threads; `None` when it panicked.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (done, answer) = oneshot::channel();
        self.leave(move || {
            // Whoever asked may have gone away.
            let _ = done.send(work());
        });
        answer.await.ok()
    }

    /// Has `work` done without waiting for it.
    pub(crate) fn leave(&self, work: impl FnOnce() + Send + 'static) {
        self.0.send(Box::new(work)).expect("the threads live as long as this");
    }
}

/// Lowers the priority of the calling thread, for good.
pub(crate) fn stand_back() {
    // On Linux this is of the calling thread alone. Where it is forbidden, work goes on at the old priority.
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        log::debug!("zones are prepared at full priority: {error}");
    }
}

fn work(receiver: &Mutex<Receiver<Work>>) {
    loop {
        let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(work) = next else { return };
        // A panic is a bug of ours, and no reason for the next work not to be done; the panic hook has told of it.
        let _ = catch_unwind(AssertUnwindSafe(work));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn work_is_done_at_the_lowest_priority() {
        let (begun, beginning) = channel();
        let workers = Workers::start(2, move || begun.send(thread::current().id()).unwrap()).unwrap();
        let priority = || rustix::process::getpriority_process(None).unwrap();
        let of_worker = block_on(workers.run(move || (priority(), thread::spawn(priority).join().unwrap())));
        assert_eq!(of_worker, Some((NICE, NICE)), "and of the threads that it starts");
        let (first, second) = (beginning.recv().unwrap(), beginning.recv().unwrap());
        assert!(
            first != second
                && block_on(workers.run(|| thread::current().id())).is_some_and(|id| id == first || id == second)
        );
        assert_ne!(rustix::process::getpriority_process(None).unwrap(), NICE, "the caller keeps its own");
    }

    #[test]
    fn a_panic_is_told_and_the_next_work_is_done() {
        let workers = Workers::start(1, || {}).unwrap();
        assert_eq!(block_on(workers.run(|| -> u8 { panic!("as the test wants") })), None);
        assert_eq!(block_on(workers.run(|| 5)), Some(5));
    }
}
