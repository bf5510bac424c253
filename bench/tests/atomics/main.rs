//! What answers a query shares nothing with another core: the instructions of `Shard::on_query` are looked at one by one
//! as they are executed, and none of them is an atomic read-modify-write, which is what locks, reference counts and
//! counters between threads are made of, nor a call of the kernel.

#[cfg(target_arch = "x86_64")]
mod stepper;

#[cfg(not(target_arch = "x86_64"))]
#[test]
fn queries_execute_nothing_atomic() {
    eprintln!("skipped: atomic operations are looked for in the code of x86-64 alone");
}

#[cfg(target_arch = "x86_64")]
mod tests {
    use std::hint::black_box;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, Mutex};

    use ringdns_bench::load::{CASES, Load};

    use crate::stepper::{Walk, walk};

    /// Names of a zone or cache: as many as make the ordinary paths.
    const NAMES: u32 = 1_000;
    /// Queries looked at, which tests that are not optimised answer in a few ten thousand instructions each.
    const QUERIES: usize = 2;

    fn walked(region: impl FnOnce()) -> Option<Walk> {
        let walk = walk(region);
        if walk.is_none() {
            eprintln!("skipped: instructions cannot be looked at, for tracing (ptrace) is not permitted here");
        }
        walk
    }

    #[test]
    fn queries_execute_nothing_atomic() {
        for (case, _) in CASES {
            let mut load = Load::sized(case, NAMES);
            // Twice: a chunk of the query log that is full is handed over at the end of the first, and made anew in the next.
            load.ask(64);
            load.ask(64);
            let Some(walk) = walked(|| _ = load.ask(QUERIES)) else { return };
            let found: Vec<String> = walk.found.iter().map(ToString::to_string).collect();
            assert!(found.is_empty(), "{case}: {found:#?}");
            eprintln!("{case}: {} instructions a query, not optimised", walk.steps / QUERIES as u64);
            // No answer takes less: whoever walks has seen the queries.
            assert!(walk.steps > 150 * QUERIES as u64, "{case}: {} instructions", walk.steps);
        }
    }

    /// What the test looks for is seen where it is.
    #[test]
    fn an_atomic_operation_among_the_queries_is_found() {
        static SHARED: AtomicU64 = AtomicU64::new(0);
        let (lock, reference) = (Mutex::new(0), Arc::new(()));
        let mut load = Load::sized("auth", NAMES);
        load.ask(64);
        let mut with = |more: &dyn Fn()| {
            walked(|| {
                load.ask(1);
                more();
            })
            .map(|walk| walk.found.iter().map(|found| found.what).collect::<Vec<_>>())
        };
        let Some(nothing) = with(&|| SHARED.store(SHARED.load(Ordering::Acquire) + 1, Ordering::Release)) else {
            return;
        };
        assert!(nothing.is_empty(), "plain reads and writes are free to all: {nothing:?}");
        let found = with(&|| _ = SHARED.fetch_add(1, Ordering::Relaxed)).expect("as before");
        assert_eq!(found, ["LOCK"]);
        let found = with(&|| _ = black_box(SHARED.swap(1, Ordering::Relaxed))).expect("as before");
        assert_eq!(found, ["XCHG with memory"]);
        let found = with(&|| *lock.lock().expect("nobody panics") += 1).expect("as before");
        assert!(!found.is_empty(), "a lock");
        let found = with(&|| drop(black_box(reference.clone()))).expect("as before");
        assert_eq!(found, ["LOCK", "LOCK"], "a reference more and less");
        let found = with(&|| std::thread::yield_now()).expect("as before");
        assert_eq!(found, ["SYSCALL"]);
    }
}
