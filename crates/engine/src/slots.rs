//! Slots for which runs wait: the highest priority goes first, and users take turns.

use crate::fair::{FairQueue, Place, Slots};
use crate::ledger::Owner;
use anabranch_model::Priority;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

type Queue = FairQueue<Owner, (), (Owner, oneshot::Sender<Slot>)>;

/// A number of slots. Who waits for them is bounded by who asks: runs that have begun.
pub(crate) struct FairSlots {
    queue: Mutex<Queue>,
    asked: AtomicI64,
}

/// A slot, given back when dropped.
pub(crate) struct Slot {
    slots: Arc<FairSlots>,
    owner: Owner,
}

/// Someone who waits, and gives up when dropped.
struct Waiting<'a> {
    slots: &'a FairSlots,
    place: Place<Owner, ()>,
}

impl FairSlots {
    pub(crate) fn new(count: usize) -> Arc<Self> {
        Arc::new(Self { queue: Mutex::new(FairQueue::new(count.max(1))), asked: AtomicI64::new(0) })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many slots are taken.
    pub(crate) fn taken(&self) -> usize {
        self.queue().running()
    }

    /// A slot, once it is this owner's turn among those of this priority and none of a higher one waits. Cancel-safe.
    pub(crate) async fn acquire(self: &Arc<Self>, owner: Owner, priority: Priority) -> Slot {
        let (sender, receiver) = oneshot::channel();
        let sequence = self.asked.fetch_add(1, Ordering::Relaxed);
        let place = Place { owner: owner.clone(), process: (), priority, sequence };
        let all = Slots { owner: usize::MAX, process: usize::MAX };
        self.queue().push(place.clone(), all, (owner, sender));
        let _until_then = Waiting { slots: self, place };
        self.hand_out();
        match receiver.await {
            Ok(slot) => slot,
            // Whoever takes the sender out of the queue sends by it.
            Err(_never) => std::future::pending().await,
        }
    }

    /// Gives slots that are free to those whose turn it is.
    fn hand_out(self: &Arc<Self>) {
        loop {
            // Not held while it is sent: who has given up meanwhile gives the slot back, and takes the lock for that.
            let next = self.queue().pop();
            let Some((owner, sender)) = next else { return };
            let _given_up = sender.send(Slot { slots: Arc::clone(self), owner });
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.slots.queue().remove(&self.place);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.queue().ended(&self.owner, &());
        self.slots.hand_out();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anabranch_model::UserName;
    use futures_util::FutureExt as _;

    fn user(name: &str) -> Owner {
        Some(UserName::new(name).unwrap())
    }

    #[tokio::test]
    async fn users_take_turns_and_who_gives_up_loses_nothing() {
        let slots = FairSlots::new(1);
        let first = slots.acquire(user("anna"), Priority::Normal).await;
        let mut annas: Vec<_> =
            (0..100).map(|_| Box::pin(slots.acquire(user("anna"), Priority::Normal))).collect();
        assert!(annas.iter_mut().all(|waiting| waiting.as_mut().now_or_never().is_none()));
        let mut bens = Box::pin(slots.acquire(user("ben"), Priority::Normal));
        assert!(bens.as_mut().now_or_never().is_none());
        drop(first);
        let slot = bens.as_mut().now_or_never().expect("ben is next");
        // Handed over, but never taken: the slot goes on to the next.
        drop(slot);
        drop(annas.remove(0));
        let slot = annas.remove(0).await;
        drop(annas);
        drop(slot);
        assert!(slots.acquire(None, Priority::Normal).now_or_never().is_some());
        let queue = slots.queue();
        assert_eq!((queue.waiting(), queue.running()), (0, 0));
    }

    #[tokio::test]
    async fn a_higher_priority_goes_first_and_one_that_gave_up_is_not_waited_for() {
        let slots = FairSlots::new(1);
        let mut held = Some(slots.acquire(None, Priority::Normal).await);
        let wishes = [
            ("anna", Priority::Low),
            ("anna", Priority::Normal),
            ("ben", Priority::High),
            ("ben", Priority::Normal),
            ("cleo", Priority::High),
            ("cleo", Priority::Low),
        ];
        let mut waiting: Vec<_> = wishes
            .map(|(name, priority)| (name, priority, Box::pin(slots.acquire(user(name), priority))))
            .into();
        assert!(waiting.iter_mut().all(|(_, _, slot)| slot.as_mut().now_or_never().is_none()));
        // The one who would be next gives up.
        drop(waiting.remove(2));
        let mut order = Vec::new();
        while !waiting.is_empty() {
            drop(held.take());
            let mut given = waiting.iter_mut().map(|(_, _, slot)| slot.as_mut().now_or_never());
            let (at, slot) = given.by_ref().enumerate().find_map(|(at, slot)| Some((at, slot?))).unwrap();
            assert!(given.all(|slot| slot.is_none()));
            held = Some(slot);
            let (name, priority, _) = waiting.remove(at);
            order.push((name, priority));
        }
        let expected = [
            ("cleo", Priority::High),
            ("anna", Priority::Normal),
            ("ben", Priority::Normal),
            // She was served before anna was.
            ("cleo", Priority::Low),
            ("anna", Priority::Low),
        ];
        assert_eq!(order, expected);
    }
}
