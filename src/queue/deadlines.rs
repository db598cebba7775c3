//! Which of many owners is due next.
//!
//! A 4-ary min-heap of (deadline, order of arrival, owner). An owner is a small integer, the index
//! of a slot, and has at most one deadline; `positions` finds it in the heap, so that cancelling is
//! O(log n) and leaves nothing behind. Equal deadlines come out in the order they went in.
//!
//! Four children a node, because a sift then touches half the levels, and the four entries that it
//! compares lie in two cache lines.

/// Nanoseconds on the loop's clock.
pub(crate) type Nanos = u64;

const ARITY: usize = 4;
const ABSENT: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Entry {
    deadline: Nanos,
    /// Counts arrivals, so that equal deadlines keep their order. Never wraps in practice: 2⁶⁴.
    arrival: u64,
    owner: u32,
}

impl Entry {
    fn before(&self, other: &Entry) -> bool {
        (self.deadline, self.arrival) < (other.deadline, other.arrival)
    }
}

/// The queue of deadlines.
///
/// 1. `positions[e.owner] == p  ⇔  heap[p].owner == e.owner`; `ABSENT` for every other owner.
/// 2. `!heap[p].before(&heap[(p - 1) / 4])` for each `p > 0`.
#[derive(Default, Debug)]
pub(crate) struct Deadlines {
    heap: Vec<Entry>,
    positions: Vec<u32>,
    arrivals: u64,
    /// What `arrivals` was when `positions` last gave its room back.
    emptied: u64,
}

impl Deadlines {
    /// Sets the deadline of `owner`, in place of the one that it had.
    pub(crate) fn set(&mut self, owner: u32, deadline: Nanos) {
        let entry = Entry { deadline, arrival: self.arrivals, owner };
        self.arrivals += 1;
        let index = owner as usize;
        if index >= self.positions.len() {
            self.positions.resize(index + 1, ABSENT);
        }
        match self.positions[index] {
            ABSENT => {
                self.heap.push(entry);
                self.sift_up(self.heap.len() - 1, entry);
            }
            position => self.settle(position as usize, entry),
        }
    }

    /// Takes the deadline of `owner` back. Says whether there was one.
    pub(crate) fn cancel(&mut self, owner: u32) -> bool {
        let Some(&position) = self.positions.get(owner as usize) else { return false };
        if position == ABSENT {
            return false;
        }
        self.remove_at(position as usize);
        true
    }

    /// When `owner` is due.
    pub(crate) fn get(&self, owner: u32) -> Option<Nanos> {
        match *self.positions.get(owner as usize)? {
            ABSENT => None,
            position => Some(self.heap[position as usize].deadline),
        }
    }

    /// The nearest deadline.
    pub(crate) fn next(&self) -> Option<Nanos> {
        self.heap.first().map(|entry| entry.deadline)
    }

    /// How many deadlines were ever set: a mark, for `pop_due`.
    pub(crate) fn arrivals(&self) -> u64 {
        self.arrivals
    }

    /// Takes out the first owner whose deadline is not after `now` and was set before the mark.
    ///
    /// While time stands still, what is set after the mark is due no earlier than what was there, so
    /// the first one that is too young ends the pass: a timer that starts itself with no delay waits
    /// for the next.
    pub(crate) fn pop_due(&mut self, now: Nanos, mark: u64) -> Option<u32> {
        let first = *self.heap.first()?;
        if first.deadline > now || first.arrival >= mark {
            return None;
        }
        self.remove_at(0);
        Some(first.owner)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Panics unless both invariants hold.
    pub(crate) fn verify(&self) {
        for (position, entry) in self.heap.iter().enumerate() {
            assert_eq!(
                self.positions[entry.owner as usize] as usize, position,
                "a deadline's owner finds it"
            );
            if position > 0 {
                assert!(
                    !entry.before(&self.heap[(position - 1) / ARITY]),
                    "a parent is due before its children"
                );
            }
        }
        let present = self.positions.iter().filter(|&&position| position != ABSENT).count();
        assert_eq!(present, self.heap.len(), "each deadline has one owner");
    }

    fn remove_at(&mut self, position: usize) {
        self.positions[self.heap[position].owner as usize] = ABSENT;
        // The last entry fills the hole, unless the hole is the last.
        let Some(last) = self.heap.pop() else { return };
        if position < self.heap.len() {
            self.settle(position, last);
        }
        // After ten million timers their room would stay taken for ever.
        if self.heap.len() * 8 < self.heap.capacity() && self.heap.capacity() > 1024 {
            self.heap.shrink_to(self.heap.len() * 2);
        }
        // Not each time that the heap is empty: once in as many arrivals as there were owners.
        let arrived = self.arrivals - self.emptied;
        if self.heap.is_empty() && self.positions.len() > 1024 && arrived >= self.positions.len() as u64 {
            self.positions = Vec::new();
            self.emptied = self.arrivals;
        }
    }

    /// Puts `entry` where it belongs, starting from the free place `position`.
    fn settle(&mut self, position: usize, entry: Entry) {
        if position > 0 && entry.before(&self.heap[(position - 1) / ARITY]) {
            self.sift_up(position, entry);
        } else {
            self.sift_down(position, entry);
        }
    }

    fn sift_up(&mut self, mut position: usize, entry: Entry) {
        while position > 0 {
            let parent = (position - 1) / ARITY;
            if !entry.before(&self.heap[parent]) {
                break;
            }
            self.place(position, self.heap[parent]);
            position = parent;
        }
        self.place(position, entry);
    }

    fn sift_down(&mut self, mut position: usize, entry: Entry) {
        loop {
            let first = position * ARITY + 1;
            if first >= self.heap.len() {
                break;
            }
            let last = (first + ARITY).min(self.heap.len());
            let mut least = first;
            for child in first + 1..last {
                if self.heap[child].before(&self.heap[least]) {
                    least = child;
                }
            }
            if !self.heap[least].before(&entry) {
                break;
            }
            self.place(position, self.heap[least]);
            position = least;
        }
        self.place(position, entry);
    }

    fn place(&mut self, position: usize, entry: Entry) {
        self.heap[position] = entry;
        self.positions[entry.owner as usize] = position as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(queue: &mut Deadlines, now: Nanos) -> Vec<u32> {
        std::iter::from_fn(|| {
            queue.verify();
            queue.pop_due(now, u64::MAX)
        })
        .collect()
    }

    #[test]
    fn the_nearest_deadline_comes_first() {
        let mut queue = Deadlines::default();
        for (owner, deadline) in [(0, 50), (1, 10), (2, 40), (3, 20), (4, 30)] {
            queue.set(owner, deadline);
        }
        assert_eq!(queue.next(), Some(10));
        assert_eq!(drain(&mut queue, 100), [1, 3, 4, 2, 0]);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn equal_deadlines_come_out_in_the_order_they_went_in() {
        let mut queue = Deadlines::default();
        for owner in (0..100).rev() {
            queue.set(owner, 7);
        }
        let expected: Vec<u32> = (0..100).rev().collect();
        assert_eq!(drain(&mut queue, 7), expected);
    }

    #[test]
    fn a_deadline_that_is_set_again_counts_as_the_latest_arrival() {
        let mut queue = Deadlines::default();
        queue.set(0, 5);
        queue.set(1, 5);
        queue.set(0, 5);
        assert_eq!(drain(&mut queue, 5), [1, 0]);
    }

    #[test]
    fn nothing_is_due_before_its_deadline() {
        let mut queue = Deadlines::default();
        queue.set(3, 10);
        assert_eq!(queue.pop_due(9, u64::MAX), None);
        assert_eq!(queue.pop_due(10, u64::MAX), Some(3));
    }

    #[test]
    fn what_is_set_after_the_mark_waits_for_the_next_pass() {
        let mut queue = Deadlines::default();
        queue.set(0, 5);
        queue.set(1, 5);
        let mark = queue.arrivals();
        assert_eq!(queue.pop_due(5, mark), Some(0));
        queue.set(0, 5);
        assert_eq!(queue.pop_due(5, mark), Some(1));
        assert_eq!(queue.pop_due(5, mark), None);
        assert_eq!(queue.pop_due(5, queue.arrivals()), Some(0));
    }

    #[test]
    fn a_cancelled_deadline_leaves_nothing_behind() {
        let mut queue = Deadlines::default();
        for owner in 0..1000 {
            queue.set(owner, u64::from(owner * 7919 % 1000));
        }
        for owner in (0..1000).step_by(2) {
            assert!(queue.cancel(owner));
            assert!(!queue.cancel(owner));
        }
        queue.verify();
        assert_eq!(queue.len(), 500);
        assert!(drain(&mut queue, 1000).iter().all(|owner| owner % 2 == 1));
    }

    #[test]
    fn memory_returns_after_a_crowd_has_left() {
        let mut queue = Deadlines::default();
        for owner in 0..100_000 {
            queue.set(owner, 1);
        }
        while queue.pop_due(1, u64::MAX).is_some() {}
        assert!(queue.heap.capacity() <= 2048, "{}", queue.heap.capacity());
        assert!(queue.positions.capacity() <= 1024, "{}", queue.positions.capacity());
    }
}
