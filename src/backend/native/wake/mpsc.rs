//! A lock-free multi-producer, single-consumer queue of linked blocks, as crossbeam's [`SegQueue`].
//!
//! A push is one compare-and-swap on `state`, which holds the next index and two flags. The producer that
//! advances it owns the slot of that index: it writes the item, then sets the slot's ready flag. Items leave
//! the queue in the order of these exchanges. So a push that happens before another, in the same thread or
//! not, comes out before it.
//!
//! Each block takes `LAP` indices and has one slot fewer. The producer of a block's last slot links the next
//! block. Until it has done so, `state` holds the index in between, which names no slot, and producers that
//! read it wait.
//!
//! The differences from `SegQueue`: there is one consumer, so reading takes no atomic exchange; the queue can
//! be bounded and closed; and the IDLE flag tells a producer that it must notify the consumer.
//!
//! [`SegQueue`]: https://docs.rs/crossbeam-queue/latest/crossbeam_queue/struct.SegQueue.html

use std::{array, marker::PhantomData, mem::MaybeUninit, ptr};

use super::{
    super::{
        cache_padded::CachePadded,
        sync::{AtomicBool, AtomicPtr, AtomicU64, LAP, Mutex, Ordering, UnsafeCell},
    },
    backoff::Backoff,
};

/// How many bytes of empty blocks one queue keeps. Without them, a queue that grows and shrinks would make
/// the allocator return the same pages to the system, and request them, again and again.
const SPARE_BYTES_MAX: usize = 64 << 10;
/// Slots of a block. The last of its `LAP` indices names none.
const BLOCK_CAP: u64 = LAP - 1;

// ---- what `state` holds

/// The consumer has claimed every item and does not look again: the next producer must notify it.
const IDLE: u64 = 1;
/// The queue accepts no more items.
const CLOSED: u64 = 2;
/// The index is above the flags.
const ONE_INDEX: u64 = 4;

/// Returns the number of slots below this index.
fn slots_below(index: u64) -> u64 {
    index - index / LAP
}

/// Why an item was not pushed. Hands the item back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PushError<T> {
    Full(T),
    Closed(T),
}

struct Block<T> {
    items: [UnsafeCell<MaybeUninit<T>>; BLOCK_CAP as usize],
    /// Which items are written. An array of its own, because a flag beside each item would double the size of
    /// small items.
    ready: [AtomicBool; BLOCK_CAP as usize],
    next: AtomicPtr<Block<T>>,
}

impl<T> Block<T> {
    const SPARES_MAX: usize = SPARE_BYTES_MAX / size_of::<Block<T>>();

    fn new() -> Box<Block<T>> {
        let mut block = Box::<Block<T>>::new_uninit();
        let at = block.as_mut_ptr();
        // In place, because a block of large items would overflow the stack.
        // SAFETY: `at` is valid for writes. Every field is initialized here; what the cells hold need not be.
        unsafe {
            for offset in 0..BLOCK_CAP as usize {
                (&raw mut (*at).items[offset]).write(UnsafeCell::new(MaybeUninit::uninit()));
            }
            (&raw mut (*at).ready).write(array::from_fn(|_| AtomicBool::new(false)));
            (&raw mut (*at).next).write(AtomicPtr::new(ptr::null_mut()));
            block.assume_init()
        }
    }
}

/// What producers write.
struct Tail<T> {
    /// The index of the next slot, and the flags.
    state: AtomicU64,
    /// The block of that index, unless the index names no slot.
    block: AtomicPtr<Block<T>>,
    /// An earlier value of `Head::claimed`, so at most the present one.
    claimed_seen: AtomicU64,
}

/// What the consumer alone writes.
struct Head<T> {
    /// How many items the consumer has claimed since the queue was made. Items that are not claimed count
    /// against the limit. Alone on its lines, because producers that wait for room poll it while the consumer
    /// writes `index` for each item.
    claimed: CachePadded<AtomicU64>,
    /// The index of the slot to read next.
    index: AtomicU64,
    block: AtomicPtr<Block<T>>,
}

/// The queue. Its invariants:
///
/// 1. `slots_below(head.index) <= head.claimed <= slots_below(index in tail.state)`.
/// 2. Every slot from `head.index` up to the index in `tail.state` is ready, or being written by the producer
///    that advanced past it. None of them was read.
/// 3. A block is reached from `head.block` by `next` links until its last slot was read; then it is freed.
///    The last block is `tail.block`.
pub(super) struct MpscQueue<T> {
    tail: CachePadded<Tail<T>>,
    head: CachePadded<Head<T>>,
    /// Empty blocks, for both sides. A thread that does not get the lock at once uses the allocator instead.
    spares: Mutex<Vec<Box<Block<T>>>>,
    /// As a `Mutex<T>`, a queue is `Sync` if its items are `Send`.
    items: PhantomData<Mutex<T>>,
}

impl<T> MpscQueue<T> {
    pub(super) fn new() -> MpscQueue<T> {
        let block = Box::into_raw(Block::new());
        let tail = Tail {
            state: AtomicU64::new(IDLE),
            block: AtomicPtr::new(block),
            claimed_seen: AtomicU64::new(0),
        };
        let head = Head {
            claimed: CachePadded(AtomicU64::new(0)),
            index: AtomicU64::new(0),
            block: AtomicPtr::new(block),
        };
        MpscQueue {
            tail: CachePadded(tail),
            head: CachePadded(head),
            spares: Mutex::default(),
            items: PhantomData,
        }
    }

    // ---- for producers

    /// Pushes an item, if fewer than `limit` are in the queue that the consumer has not claimed.
    ///
    /// Returns whether the consumer was idle: then the caller must notify it.
    pub(super) fn push(&self, item: T, limit: u64) -> Result<bool, PushError<T>> {
        let tail = &self.tail.0;
        let mut spare = None;
        let mut linking = Backoff::default();
        let mut contention = Backoff::default();
        let mut state = tail.state.load(Ordering::Acquire);
        loop {
            let index = state / ONE_INDEX;
            if state & CLOSED != 0 {
                return Err(PushError::Closed(item));
            }
            if index % LAP == BLOCK_CAP {
                // Another producer has taken the last slot and is about to link the next block.
                linking.snooze();
                state = tail.state.load(Ordering::Acquire);
                continue;
            }
            if self.is_full_at(index, limit) {
                return Err(PushError::Full(item));
            }
            if index % LAP == BLOCK_CAP - 1 && spare.is_none() {
                // Before the exchange, so that no producer waits while another one allocates.
                spare = Some(self.take_spare());
            }
            let block = tail.block.load(Ordering::Acquire);
            let advanced = (state + ONE_INDEX) & !IDLE;
            match tail.state.compare_exchange_weak(state, advanced, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    // SAFETY: `state` was unchanged, so no block was linked in between and `block` holds the
                    // slot of `index`, which is this thread's alone by the exchange.
                    unsafe { self.write(block, index, item, spare) };
                    return Ok(state & IDLE != 0);
                }
                Err(_) => {
                    contention.spin();
                    state = tail.state.load(Ordering::Acquire);
                }
            }
        }
    }

    /// Writes an item into its slot. If that is the last of the block, links the next block first.
    ///
    /// # Safety
    ///
    /// The caller has advanced `state` past `index`, whose slot is in `block`.
    unsafe fn write(&self, block: *mut Block<T>, index: u64, item: T, spare: Option<Box<Block<T>>>) {
        // SAFETY: the consumer reads slots in order and frees a block after its last slot. So it does not
        // free this one before the slot of `index` is ready.
        let block = unsafe { &*block };
        if index % LAP == BLOCK_CAP - 1 {
            let next = Box::into_raw(spare.unwrap_or_else(Block::new));
            block.next.store(next, Ordering::Release);
            self.tail.0.block.store(next, Ordering::Release);
            // From here on `state` names a slot again, the first of the new block.
            self.tail.0.state.fetch_add(ONE_INDEX, Ordering::Release);
        }
        let offset = (index % LAP) as usize;
        // SAFETY: the slot is the caller's, and the consumer does not access it before it is ready.
        block.items[offset].with_mut(|at| _ = unsafe { (*at).write(item) });
        // The last access. The consumer may free the block while `store` still has its reference to the flag:
        // sound, because what is inside an `UnsafeCell`, as an atomic is, may be deallocated during the
        // lifetime of a shared reference, after the last use (documentation of `UnsafeCell`, "Aliasing
        // rules"; rust-lang/rust#98017).
        block.ready[offset].store(true, Ordering::Release);
    }

    fn take_spare(&self) -> Box<Block<T>> {
        self.spares.try_lock().ok().and_then(|mut spares| spares.pop()).unwrap_or_else(Block::new)
    }

    fn recycle(&self, mut block: Box<Block<T>>) {
        if let Ok(mut spares) = self.spares.try_lock() {
            if spares.len() < Block::<T>::SPARES_MAX {
                block.ready = array::from_fn(|_| AtomicBool::new(false));
                *block.next.get_mut() = ptr::null_mut();
                spares.push(block);
            }
        }
    }

    fn is_full_at(&self, index: u64, limit: u64) -> bool {
        let tail = &self.tail.0;
        let is_full = |claimed: u64| slots_below(index).saturating_sub(claimed) >= limit;
        if !is_full(tail.claimed_seen.load(Ordering::Relaxed)) {
            return false;
        }
        // The consumer's cache line is read only when it may matter.
        let claimed = self.head.0.claimed.0.load(Ordering::Acquire);
        tail.claimed_seen.store(claimed, Ordering::Relaxed);
        is_full(claimed)
    }

    /// Returns whether `push` would return `Full`.
    pub(super) fn is_full(&self, limit: u64) -> bool {
        let state = self.tail.0.state.load(Ordering::Acquire);
        state & CLOSED == 0 && self.is_full_at(state / ONE_INDEX, limit)
    }

    /// Makes later pushes fail. The items in the queue stay.
    pub(super) fn close(&self) {
        self.tail.0.state.fetch_or(CLOSED, Ordering::AcqRel);
    }

    /// Returns the number of items that were pushed and not read.
    pub(super) fn len(&self) -> u64 {
        let read = slots_below(self.head.0.index.load(Ordering::Relaxed));
        self.pushed().saturating_sub(read)
    }

    fn pushed(&self) -> u64 {
        slots_below(self.tail.0.state.load(Ordering::Acquire) / ONE_INDEX)
    }

    // ---- for the consumer

    /// Claims items, so that up to `max` are claimed and not read. Returns how many it claimed now.
    ///
    /// Claimed items make room for as many pushes.
    pub(super) fn claim(&self, max: u64) -> u64 {
        let head = &self.head.0;
        let before = head.claimed.0.load(Ordering::Relaxed);
        let read = slots_below(head.index.load(Ordering::Relaxed));
        let claimed = self.pushed().min(read.saturating_add(max)).max(before);
        head.claimed.0.store(claimed, Ordering::Release);
        claimed - before
    }

    /// Returns the number of items that are claimed and not read.
    pub(super) fn claimed_len(&self) -> u64 {
        let head = &self.head.0;
        head.claimed.0.load(Ordering::Relaxed) - slots_below(head.index.load(Ordering::Relaxed))
    }

    /// Sets IDLE, unless there are items that are not claimed. Returns whether it is set: then the next push
    /// returns `true`.
    pub(super) fn go_idle(&self) -> bool {
        let state = self.tail.0.state.load(Ordering::Acquire);
        if slots_below(state / ONE_INDEX) != self.head.0.claimed.0.load(Ordering::Relaxed) {
            return false;
        }
        let idle = state | IDLE;
        state == idle
            || self.tail.0.state.compare_exchange(state, idle, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Returns whether the next item can be read. Its producer may not have written it yet.
    ///
    /// # Safety
    ///
    /// One thread at a time calls `is_ready` and `pop`.
    pub(super) unsafe fn is_ready(&self) -> bool {
        let head = &self.head.0;
        let offset = head.index.load(Ordering::Relaxed) % LAP;
        // SAFETY: `pop` alone frees this block, and by the contract it does not run meanwhile.
        let block = unsafe { &*head.block.load(Ordering::Relaxed) };
        block.ready[offset as usize].load(Ordering::Acquire)
    }

    /// Reads the next item, if it is ready.
    ///
    /// # Safety
    ///
    /// As [`is_ready`](Self::is_ready).
    pub(super) unsafe fn pop(&self) -> Option<T> {
        let head = &self.head.0;
        let index = head.index.load(Ordering::Relaxed);
        let offset = (index % LAP) as usize;
        let at = head.block.load(Ordering::Relaxed);
        // SAFETY: as in `is_ready`.
        let block = unsafe { &*at };
        if !block.ready[offset].load(Ordering::Acquire) {
            return None;
        }
        // SAFETY: the item is written, and read once, because the index advances below.
        let item = block.items[offset].with(|at| unsafe { (*at).assume_init_read() });
        if index % LAP == BLOCK_CAP - 1 {
            // SAFETY: the block came from a box. Its last slot is ready, so all its producers have had their
            // last access, and the next block is linked.
            let block = unsafe { Box::from_raw(at) };
            head.block.store(block.next.load(Ordering::Acquire), Ordering::Relaxed);
            head.index.store(index + 2, Ordering::Relaxed);
            self.recycle(block);
        } else {
            head.index.store(index + 1, Ordering::Relaxed);
        }
        Some(item)
    }
}

impl<T> Drop for MpscQueue<T> {
    fn drop(&mut self) {
        struct LastBlock<T>(*mut Block<T>);
        impl<T> Drop for LastBlock<T> {
            fn drop(&mut self) {
                // SAFETY: the block came from a box, and the queue that used it is being dropped.
                drop(unsafe { Box::from_raw(self.0) });
            }
        }
        // A guard, because dropping an item may panic. Then the items behind it leak, with their blocks.
        let _last = LastBlock(*self.tail.0.block.get_mut());
        // SAFETY: `&mut self`: no other thread reads, and every slot that was taken is ready.
        while let Some(item) = unsafe { self.pop() } {
            drop(item);
        }
    }
}

#[cfg(all(test, loom))]
#[path = "../../../../tests/loom/models/mpsc.rs"]
mod models;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Reads as the inbox does. Each test calls it in one thread.
    fn next<T>(queue: &MpscQueue<T>) -> Option<T> {
        // SAFETY: one thread reads.
        if queue.claimed_len() > 0 { unsafe { queue.pop() } } else { None }
    }

    fn read<T>(queue: &MpscQueue<T>) -> Vec<T> {
        queue.claim(u64::MAX);
        std::iter::from_fn(|| next(queue)).collect()
    }

    #[test]
    fn items_come_out_once_and_in_order_across_blocks() {
        let queue = MpscQueue::new();
        let mut next = 0;
        for round in 0..300 {
            (0..round).for_each(|number| _ = queue.push(next + number, u64::MAX).unwrap());
            assert_eq!(queue.len(), round);
            assert_eq!(read(&queue), (next..next + round).collect::<Vec<_>>());
            next += round;
        }
        assert_eq!((queue.len(), queue.claimed_len()), (0, 0));
    }

    #[test]
    fn the_limit_is_exact_at_every_offset() {
        for offset in 0..2 * LAP {
            let queue = MpscQueue::new();
            (0..offset).for_each(|number| _ = queue.push(number, u64::MAX).unwrap());
            read(&queue);
            for limit in 1..2 * LAP {
                while queue.len() < limit {
                    queue.push(0, limit).unwrap();
                }
                assert_eq!(queue.push(7, limit), Err(PushError::Full(7)));
            }
            queue.claim(1);
            assert!(queue.push(7, 2 * LAP - 1).is_ok(), "a claimed item makes room");
        }
    }

    #[test]
    fn only_the_first_push_after_going_idle_must_notify() {
        let queue = MpscQueue::new();
        assert_eq!(queue.push(1, u64::MAX), Ok(true));
        assert_eq!(queue.push(2, u64::MAX), Ok(false));
        assert!(!queue.go_idle(), "two items are not claimed");
        queue.claim(1);
        assert!(!queue.go_idle());
        queue.claim(2);
        assert!(queue.go_idle());
        assert_eq!(queue.push(3, u64::MAX), Ok(true));
    }

    #[test]
    fn dropping_the_queue_drops_each_item_once() {
        for count in [0, 1, 62, 63, 64, 127, 500] {
            let item = Arc::new(());
            let queue = MpscQueue::new();
            (0..count).for_each(|_| _ = queue.push(item.clone(), u64::MAX).unwrap());
            queue.claim(1);
            drop(next(&queue));
            queue.close();
            assert!(matches!(queue.push(item.clone(), u64::MAX), Err(PushError::Closed(_))));
            drop(queue);
            assert_eq!(Arc::strong_count(&item), 1);
        }
    }

    #[test]
    fn many_producers_lose_no_item_and_no_notification() {
        const THREADS: usize = 4;
        const EACH: u64 = 40_000;
        let queue = MpscQueue::new();
        let notifications = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (queue, notifications) = (&queue, &notifications);
                scope.spawn(move || {
                    for number in 0..EACH {
                        let mut item = (thread, Box::new(number));
                        while let Err(error) = queue
                            .push(item, 100)
                            .map(|first| notifications.fetch_add(u64::from(first), Ordering::AcqRel))
                        {
                            let (PushError::Full(back) | PushError::Closed(back)) = error;
                            item = back;
                            std::thread::yield_now();
                        }
                    }
                });
            }
            let (mut seen, mut expected) = (0, [0; THREADS]);
            while expected != [EACH; THREADS] {
                // Blocks as the loop does: until the next notification.
                while notifications.load(Ordering::Acquire) == seen {
                    std::thread::yield_now();
                }
                seen += 1;
                while !queue.go_idle() || queue.claimed_len() > 0 {
                    queue.claim(30);
                    while let Some((thread, number)) = next(&queue) {
                        assert_eq!(*number, expected[thread]);
                        expected[thread] += 1;
                    }
                }
            }
        });
    }
}
