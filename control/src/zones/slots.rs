//! How much is asked of others at once: in all, and of one address, so that an address that is slow or silent leaves room
//! for the others.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

/// The slots of all addresses.
#[derive(Debug)]
pub(super) struct Slots {
    all: Arc<Semaphore>,
    each: HashMap<IpAddr, Arc<Semaphore>>,
    each_max: usize,
}

/// The slots that one address may have.
#[derive(Debug)]
pub(super) struct Share {
    all: Arc<Semaphore>,
    own: Arc<Semaphore>,
}

impl Slots {
    /// So many in all, and for one address.
    pub(super) fn new(max: usize, each_max: usize) -> Slots {
        Slots { all: Arc::new(Semaphore::new(max)), each: HashMap::new(), each_max }
    }

    /// Those of an address.
    pub(super) fn of(&mut self, address: IpAddr) -> Share {
        let address = address.to_canonical();
        if !self.each.contains_key(&address) {
            // What nobody uses is made anew when somebody does: no more than what is in use is kept.
            self.each.retain(|_, own| Arc::strong_count(own) > 1);
        }
        let own = self.each.entry(address).or_insert_with(|| Arc::new(Semaphore::new(self.each_max)));
        Share { all: Arc::clone(&self.all), own: Arc::clone(own) }
    }
}

impl Share {
    /// Waits for a slot; it is free again when what this gives is dropped.
    pub(super) async fn take(&self) -> Slot<'_> {
        // First the address's own, so that those who wait for one take no room from others.
        let own = self.own.acquire().await.expect("it is never closed");
        let one = self.all.acquire().await.expect("it is never closed");
        Slot { _own: own, _one: one }
    }
}

/// What one who asks holds.
#[derive(Debug)]
pub(super) struct Slot<'a> {
    _own: SemaphorePermit<'a>,
    _one: SemaphorePermit<'a>,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_address_leaves_room_for_others() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut slots = Slots::new(3, 2);
            let address = |text: &str| -> IpAddr { text.parse().unwrap() };
            let (first, again) = (slots.of(address("192.0.2.1")), slots.of(address("::ffff:192.0.2.1")));
            let other = slots.of(address("192.0.2.2"));
            let comes =
                async |share: &Share| tokio::time::timeout(Duration::from_millis(20), share.take()).await.is_ok();
            let held = (first.take().await, again.take().await);
            assert!(!comes(&again).await, "an address has two");
            let third = other.take().await;
            assert!(!comes(&other).await, "there are three in all");
            drop(held);
            assert!(comes(&again).await);
            drop(third);
            drop((first, again, other));
            let _last = slots.of(address("192.0.2.3"));
            assert_eq!(slots.each.len(), 1, "what is not in use is not kept");
        });
    }
}
