//! What carries jobs to the workers and back without a lock: a queue out, a pile home.
//!
//! Both carry the same nodes, which the loop makes and gets back, so that it can use them again. The queue is a
//! ring for one that puts in (the loop) and many that take out (the workers), which begin jobs in the order in
//! which they were put in. What the ring has no room for waits behind it, under a lock. The pile is a stack that
//! anybody may put on, and the loop takes whole.

use std::{array, collections::VecDeque, ptr};

use super::super::{
    cache_padded::CachePadded,
    sync::{AtomicPtr, AtomicU64, AtomicUsize, Mutex, MutexGuard, Ordering, PoisonError, ROOM},
};

/// An item on its way.
#[derive(Debug)]
pub(super) struct Node<T> {
    /// The one below on the pile.
    next: *mut Node<T>,
    pub(super) item: T,
}

impl<T> Node<T> {
    pub(super) fn new(item: T) -> Box<Node<T>> {
        Box::new(Node { next: ptr::null_mut(), item })
    }
}

/// The way out: first in, first out.
///
/// 1. The item with number `n`, for `head <= n < tail`, is in `slots[n % ROOM]`, or `TAKEN_BACK` is.
/// 2. Whoever moves `head` past `n` empties that slot, and nobody else does.
/// 3. What is behind came after all that is in the ring.
#[derive(Debug)]
pub(super) struct Queue<T> {
    head: CachePadded<AtomicU64>,
    tail: CachePadded<AtomicU64>,
    slots: [AtomicPtr<Node<T>>; ROOM as usize],
    behind: Mutex<Behind<T>>,
    behind_len: AtomicUsize,
}

/// The item with number `n` is `items[n - first]`; `None` where it was taken back.
#[derive(Debug)]
struct Behind<T> {
    items: VecDeque<Option<BoxedNode<T>>>,
    first: u64,
}

/// What somebody found who looked behind the ring.
enum Behindhand<T> {
    Item(Box<Node<T>>),
    /// Nothing that may be taken before what is in the ring.
    Ring,
}

/// A node that may change threads. Its link is null while it is not on the pile.
#[derive(Debug)]
struct BoxedNode<T>(Box<Node<T>>);

// SAFETY: the link leads nowhere, so a node is no more than its item.
unsafe impl<T: Send> Send for BoxedNode<T> {}

/// Stands in a slot for an item that was taken back, until the head has passed: an empty slot may be filled again.
fn taken_back<T>() -> *mut Node<T> {
    ptr::dangling_mut()
}

impl<T: Send> Queue<T> {
    pub(super) fn new() -> Queue<T> {
        Queue {
            head: CachePadded(AtomicU64::new(0)),
            tail: CachePadded(AtomicU64::new(0)),
            slots: array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
            behind: Mutex::new(Behind { items: VecDeque::new(), first: 0 }),
            behind_len: AtomicUsize::new(0),
        }
    }

    fn slot(&self, number: u64) -> &AtomicPtr<Node<T>> {
        &self.slots[(number % ROOM) as usize]
    }

    /// Nothing of anybody else's is dropped or called under this lock, so a poisoned one is sound all the same.
    fn behind(&self) -> MutexGuard<'_, Behind<T>> {
        self.behind.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an item in. For one thread only: of two at once, one might lose its item. The ticket takes it back.
    pub(super) fn push(&self, node: Box<Node<T>>) -> u64 {
        let number = self.tail.0.load(Ordering::Relaxed);
        let slot = self.slot(number);
        // Occupied: the ring is full, or the one who took the item before has not emptied it yet.
        if self.behind_len.load(Ordering::Relaxed) == 0 && slot.load(Ordering::Acquire).is_null() {
            slot.store(Box::into_raw(node), Ordering::Release);
            self.tail.0.store(number + 1, Ordering::Release);
            return number << 1;
        }
        let mut behind = self.behind();
        behind.items.push_back(Some(BoxedNode(node)));
        self.behind_len.store(behind.items.len(), Ordering::Release);
        ((behind.first + behind.items.len() as u64 - 1) << 1) | 1
    }

    /// Takes the first item out.
    pub(super) fn pop(&self) -> Option<Box<Node<T>>> {
        loop {
            let number = self.head.0.load(Ordering::Acquire);
            if number >= self.tail.0.load(Ordering::Acquire) {
                match self.pop_behind() {
                    Some(Behindhand::Item(node)) => return Some(node),
                    Some(Behindhand::Ring) => continue,
                    None => return None,
                }
            }
            let next = number + 1;
            if self.head.0.compare_exchange(number, next, Ordering::AcqRel, Ordering::Relaxed).is_err() {
                continue;
            }
            let node = self.slot(number).swap(ptr::null_mut(), Ordering::AcqRel);
            if node != taken_back() {
                // SAFETY: `push` put it there, out of a box; the swap gives it to nobody else. Not null: only
                // the one who moved the head past an item empties its slot, and that is this thread.
                return Some(unsafe { Box::from_raw(node) });
            }
        }
    }

    fn pop_behind(&self) -> Option<Behindhand<T>> {
        if self.behind_len.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut behind = self.behind();
        if self.head.0.load(Ordering::Acquire) < self.tail.0.load(Ordering::Acquire) {
            // The ring was filled since it was found empty: what is in it came first.
            return Some(Behindhand::Ring);
        }
        let found = loop {
            let Some(place) = behind.items.pop_front() else { break None };
            behind.first += 1;
            if place.is_some() {
                break place;
            }
        };
        self.behind_len.store(behind.items.len(), Ordering::Release);
        found.map(|node| Behindhand::Item(node.0))
    }

    /// Takes an item back that nobody has taken out. For the thread that put it in.
    pub(super) fn cancel(&self, ticket: u64) -> Option<Box<Node<T>>> {
        let number = ticket >> 1;
        if ticket & 1 == 1 {
            let mut behind = self.behind();
            let place = usize::try_from(number.checked_sub(behind.first)?).ok()?;
            let node = behind.items.get_mut(place)?.take()?;
            // The empty places at the end go now, the others when a worker comes to them.
            while let Some(None) = behind.items.back() {
                behind.items.pop_back();
            }
            self.behind_len.store(behind.items.len(), Ordering::Release);
            return Some(node.0);
        }
        // From then on the slot is another item's, or empty. The tail is this thread's own, so it cannot come
        // to that while this looks.
        if self.tail.0.load(Ordering::Relaxed) - number > ROOM {
            return None;
        }
        let slot = self.slot(number);
        let node = slot.load(Ordering::Acquire);
        if node.is_null() || node == taken_back() {
            return None;
        }
        slot.compare_exchange(node, taken_back(), Ordering::AcqRel, Ordering::Relaxed).ok()?;
        // SAFETY: `push` put it there, out of a box; the exchange gives it to nobody else.
        Some(unsafe { Box::from_raw(node) })
    }

    /// About how many there are, with those in the ring that were taken back.
    pub(super) fn len(&self) -> usize {
        let head = self.head.0.load(Ordering::SeqCst);
        let tail = self.tail.0.load(Ordering::SeqCst);
        tail.saturating_sub(head) as usize + self.behind_len.load(Ordering::SeqCst)
    }

    /// Whether there is none. Ordered with the fences of those who ask.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Drop for Queue<T> {
    fn drop(&mut self) {
        for slot in &mut self.slots {
            let node = *slot.get_mut();
            if !node.is_null() && node != taken_back() {
                // SAFETY: `push` put it there, out of a box, and nobody has taken it.
                drop(unsafe { Box::from_raw(node) });
            }
        }
    }
}

/// The way home: put on one by one, taken all at once.
#[derive(Debug)]
pub(super) struct Pile<T>(CachePadded<AtomicPtr<Node<T>>>);

impl<T: Send> Pile<T> {
    pub(super) fn new() -> Pile<T> {
        Pile(CachePadded(AtomicPtr::new(ptr::null_mut())))
    }

    /// Puts an item on. Says whether it is the first: then somebody should look.
    pub(super) fn push(&self, node: Box<Node<T>>) -> bool {
        let node = Box::into_raw(node);
        let mut top = self.0.0.load(Ordering::Relaxed);
        loop {
            // SAFETY: it is this thread's until the exchange below has put it on the pile.
            unsafe { (*node).next = top };
            match self.0.0.compare_exchange_weak(top, node, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return top.is_null(),
                Err(other) => top = other,
            }
        }
    }

    /// Takes all, in the order in which they were put on.
    pub(super) fn take(&self) -> Taken<T> {
        let mut node = self.0.0.swap(ptr::null_mut(), Ordering::SeqCst);
        let mut first = ptr::null_mut();
        while !node.is_null() {
            // SAFETY: the swap gave the whole pile to this thread; each node came out of a box, by `push`.
            let below = unsafe { std::mem::replace(&mut (*node).next, first) };
            first = node;
            node = below;
        }
        Taken(first)
    }
}

impl<T> Drop for Pile<T> {
    fn drop(&mut self) {
        drop(Taken(*self.0.0.get_mut()));
    }
}

/// What was taken from a pile.
pub(super) struct Taken<T>(*mut Node<T>);

impl<T> Iterator for Taken<T> {
    type Item = Box<Node<T>>;

    fn next(&mut self) -> Option<Box<Node<T>>> {
        if self.0.is_null() {
            return None;
        }
        // SAFETY: it came out of a box, by `push`, and this list alone has it.
        let mut node = unsafe { Box::from_raw(self.0) };
        self.0 = std::mem::replace(&mut node.next, ptr::null_mut());
        Some(node)
    }
}

impl<T> Drop for Taken<T> {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}

#[cfg(all(test, loom))]
#[path = "../../../../tests/loom/models/ferry.rs"]
mod models;

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, atomic::AtomicBool},
        thread,
    };

    use super::*;

    #[test]
    fn the_first_in_is_the_first_out_also_of_more_than_the_ring_holds() {
        let queue = Queue::new();
        for round in 0..3 {
            for number in 0..ROOM + round * 100 {
                queue.push(Node::new(number));
            }
            for number in 0..ROOM + round * 100 {
                assert_eq!(queue.pop().unwrap().item, number);
            }
            assert!(queue.pop().is_none());
            assert!(queue.is_empty());
        }
    }

    #[test]
    fn what_is_taken_back_is_passed_over_and_taken_back_once() {
        let queue = Queue::new();
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
    fn what_is_left_is_dropped_once() {
        let witness = Arc::new(());
        let (queue, pile) = (Queue::new(), Pile::new());
        let tickets: Vec<u64> = (0..300).map(|_| queue.push(Node::new(witness.clone()))).collect();
        queue.cancel(tickets[7]);
        queue.cancel(tickets[299]);
        for _ in 0..10 {
            pile.push(queue.pop().unwrap());
        }
        let mut taken = pile.take();
        taken.next();
        for _ in 0..10 {
            pile.push(queue.pop().unwrap());
        }
        drop((queue, pile, taken));
        assert_eq!(Arc::strong_count(&witness), 1);
    }

    #[test]
    fn many_threads_take_each_item_once_and_bring_it_home_once() {
        const ITEMS: usize = if cfg!(miri) { 300 } else { 50_000 };
        let (queue, pile, over) = (Queue::new(), Pile::new(), AtomicBool::new(false));
        let mut seen = vec![0_u8; ITEMS];
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        match queue.pop() {
                            Some(node) => _ = pile.push(node),
                            None => thread::yield_now(),
                        }
                    }
                });
            }
            let mut home = 0;
            for item in 0..ITEMS {
                let ticket = queue.push(Node::new(item));
                let back = (item % 7 == 0).then(|| queue.cancel(ticket)).flatten();
                for node in back.into_iter().chain(pile.take()) {
                    seen[node.item] += 1;
                    home += 1;
                }
            }
            while home < ITEMS {
                for node in pile.take() {
                    seen[node.item] += 1;
                    home += 1;
                }
                thread::yield_now();
            }
            over.store(true, Ordering::Relaxed);
        });
        assert!(seen.iter().all(|&times| times == 1));
    }

    #[test]
    fn a_pile_says_who_was_first_and_keeps_the_order() {
        let pile = Pile::new();
        assert!(pile.push(Node::new(1)));
        assert!(!pile.push(Node::new(2)));
        assert!(!pile.push(Node::new(3)));
        assert_eq!(pile.take().map(|node| node.item).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(pile.push(Node::new(4)));
    }
}
