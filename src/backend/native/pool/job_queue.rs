//! Jobs on their way to the workers: first in, first out, from one producer (the loop) to many consumers (the
//! workers).
//!
//! A lock-free ring buffer with an overflow list behind it, as the run queues of Go's and tokio's schedulers:
//! items that find the ring full wait in the list, under a lock. Unlike those, an item can be cancelled in
//! O(1): it leaves a tombstone, which consumers skip.

use std::{array, collections::VecDeque, ptr};

use super::{
    super::{
        cache_padded::CachePadded,
        sync::{AtomicPtr, AtomicU64, AtomicUsize, Mutex, MutexGuard, Ordering, PoisonError, RING_CAP},
    },
    node::{BoxedNode, Node},
};

/// 1. For `head <= n < tail`, `slots[n % RING_CAP]` holds item `n`, or `TOMBSTONE` if it was cancelled.
/// 2. The consumer that advances `head` past `n` empties that slot, and no other thread does.
/// 3. Every item in `overflow` is newer than every item in the ring.
#[derive(Debug)]
pub(super) struct JobQueue<T> {
    head: CachePadded<AtomicU64>,
    tail: CachePadded<AtomicU64>,
    slots: [AtomicPtr<Node<T>>; RING_CAP as usize],
    overflow: Mutex<Overflow<T>>,
    overflow_len: AtomicUsize,
}

/// Item `n`, by a count of its own, is `items[n - first]`; `None` if it was cancelled.
#[derive(Debug)]
struct Overflow<T> {
    items: VecDeque<Option<BoxedNode<T>>>,
    first: u64,
}

/// What a consumer found in the overflow list.
enum OverflowPop<T> {
    Item(Box<Node<T>>),
    /// The ring is no longer empty, and its items come first.
    RetryRing,
}

impl<T> JobQueue<T> {
    /// Stands in the slot of a cancelled item until `head` has passed it: an empty slot may be filled again.
    ///
    /// The address of no node, because a node is not zero-sized.
    const TOMBSTONE: *mut Node<T> = ptr::dangling_mut();
}

// An `AtomicPtr` is `Sync` whatever it points to, so the bound on `T` stands here.
impl<T: Send> JobQueue<T> {
    pub(super) fn new() -> JobQueue<T> {
        JobQueue {
            head: CachePadded(AtomicU64::new(0)),
            tail: CachePadded(AtomicU64::new(0)),
            slots: array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
            overflow: Mutex::new(Overflow { items: VecDeque::new(), first: 0 }),
            overflow_len: AtomicUsize::new(0),
        }
    }

    fn slot(&self, number: u64) -> &AtomicPtr<Node<T>> {
        &self.slots[(number % RING_CAP) as usize]
    }

    /// Ignores poisoning: no foreign code runs, and nothing is dropped, under this lock.
    fn overflow(&self) -> MutexGuard<'_, Overflow<T>> {
        self.overflow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends an item. Returns a ticket for [`cancel`](Self::cancel).
    ///
    /// For one thread only: of two concurrent pushes, one might lose its item.
    pub(super) fn push(&self, node: Box<Node<T>>) -> u64 {
        let number = self.tail.0.load(Ordering::Relaxed);
        let slot = self.slot(number);
        // An occupied slot: the ring is full, or the consumer of the previous item has not emptied it yet.
        if self.overflow_len.load(Ordering::Relaxed) == 0 && slot.load(Ordering::Acquire).is_null() {
            slot.store(Box::into_raw(node), Ordering::Release);
            self.tail.0.store(number + 1, Ordering::Release);
            return number << 1;
        }
        let mut overflow = self.overflow();
        overflow.items.push_back(Some(BoxedNode(node)));
        self.overflow_len.store(overflow.items.len(), Ordering::Release);
        // The lowest bit of a ticket tells the two counts apart.
        ((overflow.first + overflow.items.len() as u64 - 1) << 1) | 1
    }

    /// Removes the oldest item.
    pub(super) fn pop(&self) -> Option<Box<Node<T>>> {
        loop {
            let number = self.head.0.load(Ordering::Acquire);
            if number >= self.tail.0.load(Ordering::Acquire) {
                match self.pop_overflow() {
                    Some(OverflowPop::Item(node)) => return Some(node),
                    Some(OverflowPop::RetryRing) => continue,
                    None => return None,
                }
            }
            let next = number + 1;
            if self.head.0.compare_exchange(number, next, Ordering::AcqRel, Ordering::Relaxed).is_err() {
                continue;
            }
            let node = self.slot(number).swap(ptr::null_mut(), Ordering::AcqRel);
            if node != Self::TOMBSTONE {
                // SAFETY: `push` made the pointer from a box, and the swap gave it to this thread alone. It
                // is not null: only the consumer that advanced `head` past an item empties its slot, which is
                // this thread.
                return Some(unsafe { Box::from_raw(node) });
            }
        }
    }

    fn pop_overflow(&self) -> Option<OverflowPop<T>> {
        if self.overflow_len.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut overflow = self.overflow();
        if self.head.0.load(Ordering::Acquire) < self.tail.0.load(Ordering::Acquire) {
            // The ring was filled after it was found empty, and then overflowed: its items are older.
            return Some(OverflowPop::RetryRing);
        }
        let found = loop {
            let Some(item) = overflow.items.pop_front() else { break None };
            overflow.first += 1;
            if item.is_some() {
                break item;
            }
        };
        self.overflow_len.store(overflow.items.len(), Ordering::Release);
        found.map(|node| OverflowPop::Item(node.0))
    }

    /// Removes the item with this ticket, unless a consumer has it. For the thread that pushed it.
    pub(super) fn cancel(&self, ticket: u64) -> Option<Box<Node<T>>> {
        let number = ticket >> 1;
        if ticket & 1 == 1 {
            let mut overflow = self.overflow();
            let index = usize::try_from(number.checked_sub(overflow.first)?).ok()?;
            let node = overflow.items.get_mut(index)?.take()?;
            // Cancelled items at the end go now, the others when a consumer comes to them.
            while let Some(None) = overflow.items.back() {
                overflow.items.pop_back();
            }
            self.overflow_len.store(overflow.items.len(), Ordering::Release);
            return Some(node.0);
        }
        // Past this distance the slot is empty or holds a later item. Only this thread moves the tail, so the
        // distance does not change during this call.
        if self.tail.0.load(Ordering::Relaxed) - number > RING_CAP {
            return None;
        }
        let slot = self.slot(number);
        let node = slot.load(Ordering::Acquire);
        if node.is_null() || node == Self::TOMBSTONE {
            return None;
        }
        slot.compare_exchange(node, Self::TOMBSTONE, Ordering::AcqRel, Ordering::Relaxed).ok()?;
        // SAFETY: `push` made the pointer from a box, and the exchange gave it to this thread alone.
        Some(unsafe { Box::from_raw(node) })
    }

    /// Returns the approximate number of items; tombstones count.
    pub(super) fn len(&self) -> usize {
        let head = self.head.0.load(Ordering::SeqCst);
        let tail = self.tail.0.load(Ordering::SeqCst);
        tail.saturating_sub(head) as usize + self.overflow_len.load(Ordering::SeqCst)
    }

    /// Returns whether there is no item. The loads are `SeqCst`, so the caller's fences order them.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Drop for JobQueue<T> {
    fn drop(&mut self) {
        for slot in &mut self.slots {
            let node = *slot.get_mut();
            if !node.is_null() && node != Self::TOMBSTONE {
                // SAFETY: `push` made the pointer from a box, and no thread has taken it.
                drop(unsafe { Box::from_raw(node) });
            }
        }
    }
}

#[cfg(all(test, loom))]
#[path = "../../../../tests/loom/models/job_queue.rs"]
mod models;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn items_come_out_in_order_past_the_ring_capacity() {
        let queue = JobQueue::new();
        for round in 0..3 {
            for number in 0..RING_CAP + round * 100 {
                queue.push(Node::new(number));
            }
            for number in 0..RING_CAP + round * 100 {
                assert_eq!(queue.pop().unwrap().item, number);
            }
            assert!(queue.pop().is_none());
            assert!(queue.is_empty());
        }
    }

    #[test]
    fn a_cancelled_item_is_skipped_and_cannot_be_cancelled_twice() {
        let queue = JobQueue::new();
        let tickets: Vec<u64> = (0..600).map(|number| queue.push(Node::new(number))).collect();
        for (number, &ticket) in tickets.iter().enumerate().filter(|(number, _)| number % 3 > 0) {
            assert_eq!(queue.cancel(ticket).unwrap().item, number);
            assert!(queue.cancel(ticket).is_none());
        }
        for number in (0..600).step_by(3) {
            assert_eq!(queue.pop().unwrap().item, number);
            assert!(queue.cancel(tickets[number]).is_none());
        }
        assert!(queue.pop().is_none());
        assert!(tickets.iter().all(|&ticket| queue.cancel(ticket).is_none()));
    }

    #[test]
    fn items_left_in_the_queue_are_dropped_once() {
        let witness = Arc::new(());
        let queue = JobQueue::new();
        let tickets: Vec<u64> = (0..300).map(|_| queue.push(Node::new(witness.clone()))).collect();
        queue.cancel(tickets[7]);
        queue.cancel(tickets[299]);
        for _ in 0..20 {
            queue.pop().unwrap();
        }
        assert_eq!(Arc::strong_count(&witness), 1 + 300 - 22);
        drop(queue);
        assert_eq!(Arc::strong_count(&witness), 1);
    }
}
