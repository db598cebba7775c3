//! A queue from many threads to one that costs who puts something in a single atomic exchange.
//!
//! All that the threads compete for is one word, `tail`: the number of the next place, and two flags. Who moves it
//! on by one owns the place that it named, writes there, and says so in a flag of that place. So the order in the
//! queue is that in which places were claimed, for one thread and across threads: what happened before, comes before.
//!
//! Places are in blocks, each linked to the next. Who claims the last place of a block puts up the next one, and the
//! last number of each block stands for that moment: it names no place, and whoever sees it waits for the new block.

use std::{array, marker::PhantomData, mem::MaybeUninit, ptr};

use super::super::{
    cache_padded::Apart,
    sync::{AtomicBool, AtomicPtr, AtomicU64, Mutex, Ordering, SPAN, UnsafeCell, pause, thread},
};

/// What is kept of empty blocks, in one queue: without it, a queue that grows and shrinks would have the system give and
/// take the same pages again and again.
const SPARE_BYTES_MAX: usize = 64 << 10;
/// Places that a block has: the last number names none.
const PLACES: u64 = SPAN - 1;

// ---- what `tail` holds

/// Nobody has put anything in since the reader has looked: who does has to tell him.
const IDLE: u64 = 1;
/// Nothing comes in any more.
const CLOSED: u64 = 2;
/// The numbers are above the flags.
const STEP: u64 = 4;

/// How many places there are before this number.
fn places_before(number: u64) -> u64 {
    number - number / SPAN
}

struct Block<T> {
    items: [UnsafeCell<MaybeUninit<T>>; PLACES as usize],
    /// Which of them are written. Apart from them, for a flag beside each would double what a small one takes.
    written: [AtomicBool; PLACES as usize],
    next: AtomicPtr<Block<T>>,
}

impl<T> Block<T> {
    /// How many are kept for another time.
    const SPARES_MAX: usize = SPARE_BYTES_MAX / size_of::<Block<T>>();

    fn new() -> Box<Block<T>> {
        let mut block = Box::<Block<T>>::new_uninit();
        let at = block.as_mut_ptr();
        // In place: one for large items would overflow the stack.
        // SAFETY: all of its fields are initialized here; what the cells hold need not be.
        unsafe {
            for place in 0..PLACES as usize {
                (&raw mut (*at).items[place]).write(UnsafeCell::new(MaybeUninit::uninit()));
            }
            (&raw mut (*at).written).write(array::from_fn(|_| AtomicBool::new(false)));
            (&raw mut (*at).next).write(AtomicPtr::new(ptr::null_mut()));
            block.assume_init()
        }
    }
}

/// What those who put in write to.
struct Tail<T> {
    word: AtomicU64,
    /// The block that the number in `word` is of, unless it is the last of a block.
    block: AtomicPtr<Block<T>>,
    /// What `Head::taken` was when somebody looked last: at most what it is.
    taken_seen: AtomicU64,
}

/// What the reader alone writes to.
struct Head<T> {
    /// How many he has taken on: there is room for as many more. Apart from the others, which he writes to for each
    /// item: those who wait for room look at it again and again.
    taken: Apart<AtomicU64>,
    /// The number of the place that he reads next.
    number: AtomicU64,
    block: AtomicPtr<Block<T>>,
}

/// 1. `places_before(head.number) <= head.taken <= places_before(tail number)`.
/// 2. Every place from `head.number` up to that of `tail` is written, or being written by who claimed it. What is
///    written was not read.
/// 3. A block is reached from `head.block` by `next` until its last place was read, and then freed. The last one is
///    `tail.block`.
pub(super) struct Blocks<T> {
    tail: Apart<Tail<T>>,
    head: Apart<Head<T>>,
    /// Empty blocks, for both sides. Nobody waits for the lock: who does not get it uses the allocator.
    spares: Mutex<Vec<Box<Block<T>>>>,
    /// For other threads what a mutex is: they may share it if what is in it may move between them.
    items: PhantomData<Mutex<T>>,
}

/// Why nothing was put in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Closed,
    Full,
}

impl<T> Blocks<T> {
    pub(super) fn new() -> Blocks<T> {
        let block = Box::into_raw(Block::new());
        let tail =
            Tail { word: AtomicU64::new(IDLE), block: AtomicPtr::new(block), taken_seen: AtomicU64::new(0) };
        let head =
            Head { taken: Apart(AtomicU64::new(0)), number: AtomicU64::new(0), block: AtomicPtr::new(block) };
        Blocks { tail: Apart(tail), head: Apart(head), spares: Mutex::default(), items: PhantomData }
    }

    // ---- for all threads

    /// Puts something in, if fewer than `limit` are in that the reader has not taken on. Says whether he has to be
    /// told: whether this is the first since he has looked.
    pub(super) fn push(&self, item: T, limit: u64) -> Result<bool, (T, Refusal)> {
        let tail = &self.tail.0;
        let mut spare = None;
        let mut patience = Patience::default();
        let mut deference = Deference::default();
        let mut word = tail.word.load(Ordering::Acquire);
        loop {
            let number = word / STEP;
            if word & CLOSED != 0 {
                return Err((item, Refusal::Closed));
            }
            if number % SPAN == PLACES {
                // Another thread is between claiming the last place and putting up the next block.
                patience.wait();
                word = tail.word.load(Ordering::Acquire);
                continue;
            }
            if self.is_full(number, limit) {
                return Err((item, Refusal::Full));
            }
            if number % SPAN == PLACES - 1 && spare.is_none() {
                // Before the place is claimed, so that nobody ever waits for the allocator of another.
                spare = Some(self.spare());
            }
            let block = tail.block.load(Ordering::Acquire);
            let claimed = (word + STEP) & !IDLE;
            match tail.word.compare_exchange_weak(word, claimed, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    // SAFETY: the word was still `word`, so nobody put up another block in between and `block` is
                    // that of the place, which is this thread's alone by the exchange. The reader frees the
                    // block when he has read the last place, and reads no place before it is written.
                    unsafe { self.write(block, number, item, spare) };
                    return Ok(word & IDLE != 0);
                }
                Err(_) => {
                    deference.wait();
                    word = tail.word.load(Ordering::Acquire);
                }
            }
        }
    }

    /// # Safety
    ///
    /// The caller has claimed `number`, which is a place of `block`.
    unsafe fn write(&self, block: *mut Block<T>, number: u64, item: T, spare: Option<Box<Block<T>>>) {
        // SAFETY: the block is not freed before its last place is written, which this one is or precedes.
        let block = unsafe { &*block };
        if number % SPAN == PLACES - 1 {
            let next = Box::into_raw(spare.unwrap_or_else(Block::new));
            block.next.store(next, Ordering::Release);
            self.tail.0.block.store(next, Ordering::Release);
            // Only now does the word name a place again, and that of the new block.
            self.tail.0.word.fetch_add(STEP, Ordering::Release);
        }
        let place = (number % SPAN) as usize;
        // SAFETY: the place is the caller's, and the reader looks at it only once it is written.
        block.items[place].with_mut(|at| _ = unsafe { (*at).write(item) });
        // The last that is done with the block.
        block.written[place].store(true, Ordering::Release);
    }

    fn spare(&self) -> Box<Block<T>> {
        self.spares.try_lock().ok().and_then(|mut spares| spares.pop()).unwrap_or_else(Block::new)
    }

    fn keep(&self, mut block: Box<Block<T>>) {
        if let Ok(mut spares) = self.spares.try_lock() {
            if spares.len() < Block::<T>::SPARES_MAX {
                block.written = array::from_fn(|_| AtomicBool::new(false));
                *block.next.get_mut() = ptr::null_mut();
                spares.push(block);
            }
        }
    }

    fn is_full(&self, number: u64, limit: u64) -> bool {
        let tail = &self.tail.0;
        let is_full = |taken: u64| places_before(number).saturating_sub(taken) >= limit;
        if !is_full(tail.taken_seen.load(Ordering::Relaxed)) {
            return false;
        }
        // The reader's line is fetched only when it may matter.
        let taken = self.head.0.taken.0.load(Ordering::Acquire);
        tail.taken_seen.store(taken, Ordering::Relaxed);
        is_full(taken)
    }

    /// Whether it would be refused as full.
    pub(super) fn has_no_room(&self, limit: u64) -> bool {
        let word = self.tail.0.word.load(Ordering::Acquire);
        word & CLOSED == 0 && self.is_full(word / STEP, limit)
    }

    /// Nothing comes in any more. What is in stays in.
    pub(super) fn close(&self) {
        self.tail.0.word.fetch_or(CLOSED, Ordering::AcqRel);
    }

    /// How many are in, read by none.
    pub(super) fn len(&self) -> u64 {
        let read = places_before(self.head.0.number.load(Ordering::Relaxed));
        self.pushed().saturating_sub(read)
    }

    fn pushed(&self) -> u64 {
        places_before(self.tail.0.word.load(Ordering::Acquire) / STEP)
    }

    // ---- for the reader

    /// Takes on what is in, but so that no more than `most` are due. Says how many he has taken on now.
    pub(super) fn take(&self, most: u64) -> u64 {
        let head = &self.head.0;
        let before = head.taken.0.load(Ordering::Relaxed);
        let read = places_before(head.number.load(Ordering::Relaxed));
        let taken = self.pushed().min(read.saturating_add(most)).max(before);
        head.taken.0.store(taken, Ordering::Release);
        taken - before
    }

    /// How many were taken on and not read.
    pub(super) fn due(&self) -> u64 {
        let head = &self.head.0;
        head.taken.0.load(Ordering::Relaxed) - places_before(head.number.load(Ordering::Relaxed))
    }

    /// Whether everything was taken on. If so, who puts in the next one will be told that it is the first.
    pub(super) fn rest(&self) -> bool {
        let word = self.tail.0.word.load(Ordering::Acquire);
        if places_before(word / STEP) != self.head.0.taken.0.load(Ordering::Relaxed) {
            return false;
        }
        let idle = word | IDLE;
        word == idle
            || self.tail.0.word.compare_exchange(word, idle, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Whether the next one is there. One that was claimed may not be written yet.
    ///
    /// # Safety
    ///
    /// Only one thread at a time reads: `is_ready` and `pop`.
    pub(super) unsafe fn is_ready(&self) -> bool {
        let head = &self.head.0;
        let place = head.number.load(Ordering::Relaxed) % SPAN;
        // SAFETY: this block is freed by `pop` alone, which this thread does not call meanwhile.
        let block = unsafe { &*head.block.load(Ordering::Relaxed) };
        block.written[place as usize].load(Ordering::Acquire)
    }

    /// Reads the next one, if it is there.
    ///
    /// # Safety
    ///
    /// As [`is_ready`](Self::is_ready).
    pub(super) unsafe fn pop(&self) -> Option<T> {
        let head = &self.head.0;
        let number = head.number.load(Ordering::Relaxed);
        let place = (number % SPAN) as usize;
        let at = head.block.load(Ordering::Relaxed);
        // SAFETY: as in `is_ready`.
        let block = unsafe { &*at };
        if !block.written[place].load(Ordering::Acquire) {
            return None;
        }
        // SAFETY: it is written, and the number moves on below, so it is read once.
        let item = block.items[place].with(|at| unsafe { (*at).assume_init_read() });
        if number % SPAN == PLACES - 1 {
            // SAFETY: the last place is written, so its writer has put up the next block before, and nobody will
            // touch this one again.
            let block = unsafe { Box::from_raw(at) };
            head.block.store(block.next.load(Ordering::Acquire), Ordering::Relaxed);
            head.number.store(number + 2, Ordering::Relaxed);
            self.keep(block);
        } else {
            head.number.store(number + 1, Ordering::Relaxed);
        }
        Some(item)
    }
}

impl<T> Drop for Blocks<T> {
    fn drop(&mut self) {
        struct Last<T>(*mut Block<T>);
        impl<T> Drop for Last<T> {
            fn drop(&mut self) {
                // SAFETY: the block is the last one, and what uses it is gone.
                drop(unsafe { Box::from_raw(self.0) });
            }
        }
        // Also if dropping an item panics: then the items that are left leak, and the blocks before the last.
        let _last = Last(*self.tail.0.block.get_mut());
        // SAFETY: no other thread has it any more, so none reads and everything claimed is written.
        while let Some(item) = unsafe { self.pop() } {
            drop(item);
        }
    }
}

/// Waiting for another thread to do its next few instructions: it is at it, unless the system has put it aside,
/// and then it needs the processor.
#[derive(Default)]
pub(super) struct Patience(u32);

impl Patience {
    const SPINS_MAX: u32 = 64;

    pub(super) fn wait(&mut self) {
        if self.0 < Patience::SPINS_MAX {
            self.0 += 1;
            pause(1);
        } else {
            thread::yield_now();
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.0 == Patience::SPINS_MAX
    }
}

/// Stepping back for those who were faster: for longer each time, so that one of many gets ahead by some steps while
/// the word is in its processor's cache, where all at once would take it from one another at each step.
#[derive(Default)]
struct Deference(u32);

impl Deference {
    const SPINS_MAX_LOG2: u32 = 6;

    fn wait(&mut self) {
        pause(1 << self.0);
        self.0 = (self.0 + 1).min(Deference::SPINS_MAX_LOG2);
    }
}

#[cfg(all(test, loom))]
#[path = "../../../../tests/loom/models/mpsc.rs"]
mod models;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// What the inbox does. In one thread, in each test.
    fn next<T>(blocks: &Blocks<T>) -> Option<T> {
        // SAFETY: as said above.
        if blocks.due() > 0 { unsafe { blocks.pop() } } else { None }
    }

    fn read<T>(blocks: &Blocks<T>) -> Vec<T> {
        blocks.take(u64::MAX);
        std::iter::from_fn(|| next(blocks)).collect()
    }

    #[test]
    fn what_is_put_in_comes_out_once_and_in_order_across_blocks() {
        let blocks = Blocks::new();
        let mut next = 0;
        for round in 0..300 {
            (0..round).for_each(|number| _ = blocks.push(next + number, u64::MAX).unwrap());
            assert_eq!(blocks.len(), round);
            assert_eq!(read(&blocks), (next..next + round).collect::<Vec<_>>());
            next += round;
        }
        assert_eq!((blocks.len(), blocks.due()), (0, 0));
    }

    #[test]
    fn the_bound_is_exact_wherever_a_block_ends() {
        for offset in 0..2 * SPAN {
            let blocks = Blocks::new();
            (0..offset).for_each(|number| _ = blocks.push(number, u64::MAX).unwrap());
            read(&blocks);
            for limit in 1..2 * SPAN {
                while blocks.len() < limit {
                    blocks.push(0, limit).unwrap();
                }
                assert_eq!(blocks.push(7, limit), Err((7, Refusal::Full)));
            }
            blocks.take(1);
            assert!(blocks.push(7, 2 * SPAN - 1).is_ok(), "what was taken on makes room");
        }
    }

    #[test]
    fn only_the_first_after_a_look_has_to_tell() {
        let blocks = Blocks::new();
        assert_eq!(blocks.push(1, u64::MAX), Ok(true));
        assert_eq!(blocks.push(2, u64::MAX), Ok(false));
        assert!(!blocks.rest(), "there are two to take on");
        blocks.take(1);
        assert!(!blocks.rest());
        blocks.take(2);
        assert!(blocks.rest());
        assert_eq!(blocks.push(3, u64::MAX), Ok(true));
    }

    #[test]
    fn what_is_left_is_dropped_once() {
        for count in [0, 1, 62, 63, 64, 127, 500] {
            let item = Arc::new(());
            let blocks = Blocks::new();
            (0..count).for_each(|_| _ = blocks.push(item.clone(), u64::MAX).unwrap());
            blocks.take(1);
            drop(next(&blocks));
            blocks.close();
            assert_eq!(blocks.push(item.clone(), u64::MAX).unwrap_err().1, Refusal::Closed);
            drop(blocks);
            assert_eq!(Arc::strong_count(&item), 1);
        }
    }

    #[test]
    fn nothing_of_many_threads_is_lost_or_doubled_or_told_too_late() {
        const THREADS: usize = 4;
        const EACH: u64 = 40_000;
        let blocks = Blocks::new();
        let rings = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (blocks, rings) = (&blocks, &rings);
                scope.spawn(move || {
                    for number in 0..EACH {
                        let mut item = (thread, Box::new(number));
                        while let Err((back, _)) = blocks
                            .push(item, 100)
                            .map(|first| rings.fetch_add(u64::from(first), Ordering::AcqRel))
                        {
                            item = back;
                            std::thread::yield_now();
                        }
                    }
                });
            }
            let (mut heard, mut expected) = (0, [0; THREADS]);
            while expected != [EACH; THREADS] {
                // Sleeps like the loop: until somebody rings.
                while rings.load(Ordering::Acquire) == heard {
                    std::thread::yield_now();
                }
                heard += 1;
                while !blocks.rest() || blocks.due() > 0 {
                    blocks.take(30);
                    while let Some((thread, number)) = next(&blocks) {
                        assert_eq!(*number, expected[thread]);
                        expected[thread] += 1;
                    }
                }
            }
        });
    }
}
