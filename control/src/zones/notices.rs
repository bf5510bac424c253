//! NOTIFYs on their way from the cores: a bounded queue that a core never waits for.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ringdns_shard::wire::name::Name;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// NOTIFYs that wait; further ones are dropped and counted. A zone whose NOTIFY is lost is asked for at its next refresh.
const WAITING_MAX: usize = 4_096;

/// A primary says that a zone has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notified {
    pub(crate) apex: Name,
    /// The serial that it names.
    pub(crate) serial: Option<u32>,
    pub(crate) peer: IpAddr,
}

/// Where the cores put NOTIFYs. Clones put them into the same queue.
#[derive(Clone, Debug)]
pub struct Notifier {
    queue: Sender<Notified>,
    dropped: Arc<AtomicU64>,
}

/// Where the control plane gets them.
#[derive(Debug)]
pub struct Notices {
    queue: Receiver<Notified>,
    dropped: Arc<AtomicU64>,
}

/// A new queue.
pub fn notices() -> (Notifier, Notices) {
    let (sender, receiver) = channel(WAITING_MAX);
    let dropped = Arc::new(AtomicU64::new(0));
    (Notifier { queue: sender, dropped: Arc::clone(&dropped) }, Notices { queue: receiver, dropped })
}

impl Notifier {
    /// The primary `peer` has said that the zone `apex` has changed, and perhaps its new serial. Never waits.
    pub fn notified(&self, apex: Name, serial: Option<u32>, peer: IpAddr) {
        if self.queue.try_send(Notified { apex, serial, peer }).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Notices {
    /// The next one; never, where nobody can send one any more.
    pub(crate) async fn next(&mut self) -> Notified {
        match self.queue.recv().await {
            Some(notified) => notified,
            None => std::future::pending().await,
        }
    }

    /// NOTIFYs that found no room.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_counted_and_waits_for_nobody() {
        let (notifier, mut notices) = notices();
        let zone = |serial: usize| (Name::root(), Some(serial as u32), IpAddr::from([192, 0, 2, 1]));
        for serial in 0..WAITING_MAX + 3 {
            let (apex, serial, peer) = zone(serial);
            notifier.notified(apex, serial, peer);
        }
        assert_eq!(notices.dropped(), 3);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(notices.next()).serial, Some(0));
    }
}
