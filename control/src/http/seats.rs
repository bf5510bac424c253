//! Seats for those who are connected: a bounded number, and whoever keeps the server waiting longest makes room.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// For so long a connection has its seat whatever else comes: time enough to read what it has sent already. It bounds how
/// many may be put out in a second, and with it what a flood of connections costs.
const GRACE: Duration = Duration::from_millis(50);

/// The seats of a door.
#[derive(Debug)]
pub(super) struct Seats {
    max: usize,
    taken: Mutex<Vec<Arc<Seat>>>,
    /// Somebody waits for one.
    are_wanted: Arc<AtomicBool>,
    /// Somebody has left.
    left: Notify,
}

/// The seat of a connection.
#[derive(Debug)]
pub(crate) struct Seat {
    /// Since when the server has waited for the client: for a request, or for it to take its answer. `None` while the
    /// server has something to do.
    waits_since: Mutex<Option<Instant>>,
    put_out: Notify,
    /// As the door's.
    is_wanted: Arc<AtomicBool>,
}

/// A seat that is free again once this is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    seats: Arc<Seats>,
    seat: Arc<Seat>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is ever half-written here.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Seats {
    pub(super) fn new(max: usize) -> Arc<Seats> {
        Arc::new(Seats { max, taken: Mutex::default(), are_wanted: Arc::default(), left: Notify::new() })
    }

    /// Waits for a seat. Where none is free the connection that has kept the server waiting longest is put out, and
    /// `put_out` is told of it.
    pub(super) async fn take(self: &Arc<Self>, put_out: impl Fn()) -> Taken {
        loop {
            let taken = self.try_take(&put_out);
            self.are_wanted.store(taken.is_err(), Ordering::Relaxed);
            match taken {
                Ok(taken) => return taken,
                Err(look_again) => tokio::select! {
                    () = self.left.notified() => {}
                    () = sleep_until(look_again) => {}
                },
            }
        }
    }

    /// A seat, or when to look again.
    fn try_take(self: &Arc<Self>, put_out: impl Fn()) -> Result<Taken, Instant> {
        let mut taken = lock(&self.taken);
        let now = Instant::now();
        if taken.len() < self.max {
            let (waits_since, is_wanted) = (Mutex::new(Some(now)), Arc::clone(&self.are_wanted));
            let seat = Arc::new(Seat { waits_since, put_out: Notify::new(), is_wanted });
            taken.push(Arc::clone(&seat));
            return Ok(Taken { seats: Arc::clone(self), seat });
        }
        let waiting = taken.iter().filter_map(|seat| lock(&seat.waits_since).map(|since| (since, seat)));
        let longest = waiting.min_by_key(|(since, _)| *since);
        match longest {
            Some((since, seat)) if now >= since + GRACE => {
                seat.put_out.notify_one();
                seat.works();
                put_out();
                Err(now + GRACE)
            }
            Some((since, _)) => Err(since + GRACE),
            None => Err(now + GRACE),
        }
    }
}

impl Seat {
    /// The server has something to do for this client.
    pub(super) fn works(&self) {
        *lock(&self.waits_since) = None;
    }

    /// From now on the server waits for the client.
    pub(crate) fn waits(&self) {
        *lock(&self.waits_since) = Some(Instant::now());
    }

    /// Whether somebody waits for a seat.
    pub(super) fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Relaxed)
    }

    /// Ends when the client is to go: others need the seat, or it has kept the server waiting for `limit`.
    pub(super) async fn is_over(&self, limit: Duration) {
        loop {
            let now = Instant::now();
            let end = lock(&self.waits_since).unwrap_or(now) + limit;
            if end <= now {
                return;
            }
            tokio::select! {
                () = self.put_out.notified() => return,
                () = sleep_until(end) => {}
            }
        }
    }
}

impl Taken {
    pub(super) fn seat(&self) -> Arc<Seat> {
        Arc::clone(&self.seat)
    }
}

impl Deref for Taken {
    type Target = Seat;

    fn deref(&self) -> &Seat {
        &self.seat
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        lock(&self.seats.taken).retain(|seat| !Arc::ptr_eq(seat, &self.seat));
        self.seats.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn who_keeps_the_server_waiting_longest_makes_room() {
        run(async {
            let seats = Seats::new(3);
            let put_out = Cell::new(0);
            let take = async || seats.take(|| put_out.set(put_out.get() + 1)).await;
            let (busy, first, second) = (take().await, take().await, take().await);
            busy.works();
            first.waits();
            second.waits();
            first.waits();
            // The second has waited longest; it goes, and the seat is free once it has gone.
            let gone = async {
                second.is_over(LONG).await;
                drop(second);
            };
            let (fourth, ()) = tokio::join!(take(), gone);
            assert_eq!(put_out.get(), 1);
            // Those who are served stay.
            [&first, &fourth].into_iter().for_each(|taken| taken.works());
            assert!(tokio::time::timeout(4 * GRACE, take()).await.is_err());
            assert_eq!(put_out.get(), 1);
            drop(busy);
            take().await;
        });
    }

    #[test]
    fn a_client_that_takes_no_answer_is_over_after_the_limit() {
        run(async {
            let seats = Seats::new(1);
            let taken = seats.take(|| ()).await;
            taken.works();
            assert!(tokio::time::timeout(3 * GRACE, taken.is_over(GRACE)).await.is_err(), "it is served");
            taken.waits();
            let begun = Instant::now();
            taken.is_over(GRACE).await;
            assert!(begun.elapsed() >= GRACE);
        });
    }
}
