//! The end of the process: what is in flight is answered and what was recorded is kept, within a bound. On threads of its
//! own, so that whatever else blocks does not hold it up.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout_at;

use crate::cores::Cores;
use crate::dnstap::Dnstap;
use crate::dump::Dump;
use crate::plane::unix_seconds;
use crate::query_log::QueryLog;
use crate::zones::Keeping;

/// How long what is in flight may take.
const DRAIN: Duration = Duration::from_secs(5);
/// How long the end may take in all: less than the ten seconds that container runtimes allow.
const LIMIT: Duration = Duration::from_millis(9_500);
/// How long writing the cache may take. What it takes beyond a second, what is in flight has less.
const DUMP_LIMIT: Duration = Duration::from_secs(5);
/// How long writing the query log to its end may take, and telling the reader of dnstap.
const RECORDED_LIMIT: Duration = Duration::from_millis(1_500);
/// What is left after what is in flight: two seconds in which the cores end, and the recordings.
const AFTER_DRAIN: Duration = Duration::from_millis(3_500);
/// How long the cores may take to hand over what they have recorded where one of them has failed.
const HAND_OVER_LIMIT: Duration = Duration::from_millis(500);
const _: () = assert!(
    DUMP_LIMIT.as_millis() + AFTER_DRAIN.as_millis() < LIMIT.as_millis()
        && RECORDED_LIMIT.as_millis() + 2_000 <= AFTER_DRAIN.as_millis()
        && DRAIN.as_millis() + AFTER_DRAIN.as_millis() < LIMIT.as_millis()
);

/// What must come to its end.
pub(crate) struct Ending {
    pub(crate) cores: Arc<dyn Cores>,
    pub(crate) query_log: QueryLog,
    pub(crate) dnstap: Dnstap,
    /// The file of the cache, where there is to be one.
    pub(crate) dump: Option<Dump>,
    /// Zones of which something may be left to be written.
    pub(crate) keepings: Vec<Arc<Mutex<Keeping>>>,
}

impl Ending {
    /// Ends everything, or leaves it where it is when the time is over.
    pub(crate) async fn run(self) {
        let end = Instant::now() + LIMIT;
        let all = move || {
            let Ending { cores, query_log, dnstap, dump, keepings } = self;
            let journals = thread::spawn(move || keepings.iter().for_each(Keeping::write_what_is_left));
            if let Some(dump) = dump {
                // How it went, it has said.
                let _ = dump.write(&*cores, unix_seconds(), DUMP_LIMIT);
            }
            let left = end.saturating_duration_since(Instant::now()).saturating_sub(AFTER_DRAIN);
            cores.stop(left.min(DRAIN));
            // The cores have handed over the last of what they have recorded.
            close(&query_log, dnstap);
            let _ = journals.join();
        };
        within(end, all).await;
    }

    /// A core has failed: what the others have recorded is kept.
    pub(crate) async fn keep_recordings(cores: Arc<dyn Cores>, query_log: QueryLog, dnstap: Dnstap) {
        let end = Instant::now() + HAND_OVER_LIMIT + 2 * RECORDED_LIMIT;
        let keep = move || {
            cores.hand_over(HAND_OVER_LIMIT);
            close(&query_log, dnstap);
        };
        within(end, keep).await;
    }
}

/// Does `work` on a thread of its own, and waits for it until `end`.
async fn within(end: Instant, work: impl FnOnce() + Send + 'static) {
    let (done, is_done) = oneshot::channel();
    thread::spawn(move || {
        work();
        // Nobody may wait any more.
        let _ = done.send(());
    });
    if timeout_at(end.into(), is_done).await.is_err() {
        log::warn!("the end took too long: what is left is left");
    }
}

/// Ends what is recorded, both kinds at once. Blocks.
fn close(query_log: &QueryLog, dnstap: Dnstap) {
    let told = thread::spawn(move || dnstap.close(RECORDED_LIMIT));
    if let Err(missing) = query_log.close(RECORDED_LIMIT) {
        log::warn!("the query log was not written to its end within {RECORDED_LIMIT:?}: {missing} entries are missing");
    }
    // A reader that has not said that it has all has been logged.
    let _ = told.join();
}
