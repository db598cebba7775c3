//! Which of many owners is due next.
//!
//! An owner is a small integer, the index of a slot, and has at most one deadline. Deadlines that are not near are
//! in the wheel (`wheel.rs`), which costs O(1) and is exact to a tick. Those of the tick that has come are
//! exact: they leave the wheel together and are sorted into `run`, which costs next to nothing when they were
//! set in their order; those that are set for it afterwards are in `heap`, small as a rule, with four
//! children a node so that the entries that a sift compares lie in two cache lines.
//!
//! Equal deadlines come out in the order they went in. A cancelled one leaves nothing behind. Measured against a
//! heap alone, for ten million timers and for a million idle time-outs: see `docs/PERFORMANCE.md`.

use super::wheel::{Node, Place, TICK_BITS, Wheel};
use crate::time::Nanos;

const ARITY: usize = 4;
/// Up to so many deadlines, `next` is exact. Beyond, it may be early by one that was put off or cancelled, because
/// to find the next best would be a walk each time.
const EXACT_MAX: usize = 64;
/// Room that an empty run keeps, for the next tick.
const RUN_KEPT: usize = 16 << 10;

#[derive(Clone, Copy, Debug)]
struct Entry {
    deadline: Nanos,
    arrival: u64,
    owner: u32,
}

impl Entry {
    fn key(&self) -> (Nanos, u64) {
        (self.deadline, self.arrival)
    }

    fn before(&self, other: &Entry) -> bool {
        self.key() < other.key()
    }
}

/// The queue of deadlines.
///
/// 1. A deadline whose tick is after `far.elapsed()` is in `far`, any other in `run` or in `heap`.
/// 2. `nodes[owner].place` says where. An entry of `run` is dead if it is not its owner's latest arrival, or its
///    owner is elsewhere. The last entry of `run` is not dead.
/// 3. `run` is sorted, the first to be due at its end.
/// 4. `!heap[p].before(&heap[(p - 1) / 4])` for each `p > 0`.
#[derive(Default, Debug)]
pub(crate) struct Deadlines {
    nodes: Vec<Node>,
    run: Vec<Entry>,
    heap: Vec<Entry>,
    far: Wheel,
    len: usize,
    arrivals: u64,
    /// What `arrivals` was when `nodes` last gave its room back.
    emptied: u64,
}

impl Deadlines {
    /// Sets the deadline of `owner`, in place of the one that it had.
    pub(crate) fn set(&mut self, owner: u32, deadline: Nanos) {
        let index = owner as usize;
        if index >= self.nodes.len() {
            self.nodes.resize(index + 1, Node::ABSENT);
        }
        let arrival = self.arrivals;
        self.arrivals += 1;
        let place = self.nodes[index].place;
        if self.len > EXACT_MAX && self.far.may_stay(place, deadline) {
            (self.nodes[index].deadline, self.nodes[index].arrival) = (deadline, arrival);
            return;
        }
        let entry = Entry { deadline, arrival, owner };
        let is_near = deadline >> TICK_BITS <= self.far.elapsed();
        if let (Place::Near(position), true) = (place, is_near) {
            return self.settle(position as usize, entry);
        }
        if place != Place::Absent {
            self.take_out(owner);
        }
        self.len += 1;
        if is_near {
            self.heap.push(entry);
            self.sift_up(self.heap.len() - 1, entry);
        } else {
            (self.nodes[index].deadline, self.nodes[index].arrival) = (deadline, arrival);
            match place {
                Place::Far { .. } if self.len > EXACT_MAX => self.far.link_early(&mut self.nodes, owner),
                _ => self.far.link(&mut self.nodes, owner),
            }
        }
    }

    /// Takes the deadline of `owner` back. Says whether there was one.
    pub(crate) fn cancel(&mut self, owner: u32) -> bool {
        if self.get(owner).is_none() {
            return false;
        }
        self.take_out(owner);
        self.give_room_back();
        true
    }

    /// When `owner` is due.
    pub(crate) fn get(&self, owner: u32) -> Option<Nanos> {
        let node = self.nodes.get(owner as usize)?;
        (node.place != Place::Absent).then_some(node.deadline)
    }

    /// The nearest deadline, or, if there are many, a time that is not after it.
    pub(crate) fn next(&self) -> Option<Nanos> {
        match self.nearest() {
            Some((entry, _)) => Some(entry.deadline),
            None if self.len == 0 => None,
            None => self.far.bound(),
        }
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
        if self.len == 0 {
            return None;
        }
        self.come_near(now);
        let (entry, from_run) = self.nearest()?;
        if entry.deadline > now || entry.arrival >= mark {
            return None;
        }
        if from_run {
            self.run.pop();
            self.nodes[entry.owner as usize].place = Place::Absent;
            self.len -= 1;
            self.drop_dead();
        } else {
            self.take_out(entry.owner);
        }
        self.give_room_back();
        Some(entry.owner)
    }

    /// The time has come to look closer at those who may be due. Says whether there are deadlines, but none that is
    /// due yet.
    pub(crate) fn come_near(&mut self, now: Nanos) -> bool {
        while self.nearest().is_none() && self.bring_near(now) {}
        self.len > 0 && self.nearest().is_none_or(|(first, _)| first.deadline > now)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Panics unless the invariants hold.
    pub(crate) fn verify(&self) {
        let mut alive = self.far.verify(&self.nodes) + self.heap.len();
        for (position, entry) in self.heap.iter().enumerate() {
            let node = &self.nodes[entry.owner as usize];
            assert_eq!(node.place, Place::Near(position as u32), "a deadline's owner finds it");
            assert_eq!((node.deadline, node.arrival), entry.key(), "an owner knows its deadline");
            assert!(node.tick() <= self.far.elapsed(), "what is near has come near");
            let parent = &self.heap[position.saturating_sub(1) / ARITY];
            assert!(position == 0 || !entry.before(parent), "a parent is due before its children");
        }
        assert!(self.run.is_sorted_by(|a, b| b.before(a)), "a run is in order");
        assert!(self.run.last().is_none_or(|last| self.is_alive(last)), "a run does not end with a dead one");
        alive += self.run.iter().filter(|entry| self.is_alive(entry)).count();
        let present = self.nodes.iter().filter(|node| node.place != Place::Absent).count();
        assert_eq!((alive, present), (self.len, self.len), "each deadline has one owner and one place");
    }

    /// The first of those that are near, and whether it is in the run.
    fn nearest(&self) -> Option<(Entry, bool)> {
        match (self.run.last(), self.heap.first()) {
            (Some(run), Some(heap)) if heap.before(run) => Some((*heap, false)),
            (Some(run), _) => Some((*run, true)),
            (None, heap) => heap.map(|entry| (*entry, false)),
        }
    }

    /// Nobody is near: brings nearer those who may be due by now. Says whether there may be more.
    fn bring_near(&mut self, now: Nanos) -> bool {
        let Deadlines { nodes, run, far, .. } = self;
        let more = far.advance(nodes, now >> TICK_BITS, |owner, node| {
            node.place = Place::Run;
            run.push(Entry { deadline: node.deadline, arrival: node.arrival, owner });
        });
        // In their order already, as a rule, if the other way round: one pass finds that.
        run.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.key()));
        more
    }

    fn is_alive(&self, entry: &Entry) -> bool {
        let node = &self.nodes[entry.owner as usize];
        node.place == Place::Run && node.arrival == entry.arrival
    }

    fn drop_dead(&mut self) {
        while let Some(last) = self.run.last() {
            if self.is_alive(last) {
                break;
            }
            self.run.pop();
        }
    }

    /// Takes out a deadline that is there, wherever it is.
    fn take_out(&mut self, owner: u32) {
        self.len -= 1;
        let place = std::mem::replace(&mut self.nodes[owner as usize].place, Place::Absent);
        match place {
            Place::Absent => {}
            Place::Far { .. } => {
                self.nodes[owner as usize].place = place;
                self.far.unlink(&mut self.nodes, owner, self.len <= EXACT_MAX);
            }
            Place::Run => self.drop_dead(),
            Place::Near(position) => {
                // The last entry fills the hole, unless the hole is the last.
                let Some(last) = self.heap.pop() else { return };
                if (position as usize) < self.heap.len() {
                    self.settle(position as usize, last);
                }
            }
        }
    }

    /// After ten million timers their room would stay taken for ever.
    fn give_room_back(&mut self) {
        if self.run.is_empty() && self.run.capacity() > RUN_KEPT {
            self.run = Vec::new();
        }
        if self.heap.len() * 8 < self.heap.capacity() && self.heap.capacity() > 1024 {
            self.heap.shrink_to(self.heap.len() * 2);
        }
        // Not each time that there is no deadline: once in as many arrivals as there were owners.
        let arrived = self.arrivals - self.emptied;
        if self.len == 0 && self.nodes.len() > 1024 && arrived >= self.nodes.len() as u64 {
            self.nodes = Vec::new();
            self.emptied = self.arrivals;
        }
    }

    /// Puts `entry` where it belongs in the heap, starting from the free place `position`.
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
        let node = &mut self.nodes[entry.owner as usize];
        (node.deadline, node.arrival) = entry.key();
        node.place = Place::Near(position as u32);
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
        assert!(queue.run.capacity() <= RUN_KEPT, "{}", queue.run.capacity());
        assert!(queue.heap.capacity() <= 2048, "{}", queue.heap.capacity());
        assert!(queue.nodes.capacity() <= 1024, "{}", queue.nodes.capacity());
    }

    const SECOND: Nanos = 1_000_000_000;

    #[test]
    fn the_far_future_comes_nearer_in_its_order() {
        let mut queue = Deadlines::default();
        let distances = [1, 1_000, 1_000_000, SECOND, 100 * SECOND, 100_000 * SECOND, 1 << 62, u64::MAX];
        for (owner, distance) in distances.into_iter().enumerate().rev() {
            queue.set(owner as u32, distance);
            queue.verify();
        }
        for (owner, distance) in distances.into_iter().enumerate() {
            assert_eq!(queue.next(), Some(distance));
            assert_eq!(queue.pop_due(distance - 1, u64::MAX), None);
            assert_eq!(queue.pop_due(distance, u64::MAX), Some(owner as u32));
            queue.verify();
        }
    }

    #[test]
    fn among_many_one_that_is_put_off_again_and_again_fires_when_it_was_last_put_off_to() {
        let mut queue = Deadlines::default();
        for owner in 0..1000 {
            queue.set(owner, SECOND);
        }
        for step in 0..100 {
            queue.set(7, 2 * SECOND + step);
        }
        assert_eq!(drain(&mut queue, SECOND).len(), 999);
        assert_eq!(queue.pop_due(2 * SECOND + 98, u64::MAX), None);
        assert_eq!(queue.pop_due(2 * SECOND + 99, u64::MAX), Some(7));
    }

    #[test]
    fn what_is_next_may_be_said_early_but_never_late() {
        let mut queue = Deadlines::default();
        for owner in 0..1000 {
            queue.set(owner, SECOND + u64::from(owner));
        }
        queue.cancel(0);
        queue.set(1, 3 * SECOND);
        assert!(queue.next() <= Some(SECOND + 2));
        // Whoever waits until then, and finds nobody, learns better.
        assert_eq!(queue.pop_due(SECOND, u64::MAX), None);
        assert_eq!(queue.next(), Some(SECOND + 2));
    }

    #[test]
    fn one_that_was_put_off_and_stayed_does_not_hide_those_that_are_due_before_it() {
        let mut queue = Deadlines::default();
        // Many, so that one which is put off stays where it is; then few.
        for owner in 0..100 {
            queue.set(owner, 10 * SECOND);
        }
        queue.set(100, 2 * SECOND);
        queue.set(101, 2 * SECOND + 1);
        queue.set(102, 5 * SECOND);
        queue.set(101, 40 * SECOND);
        for owner in 0..100 {
            queue.cancel(owner);
        }
        queue.cancel(100);
        queue.verify();
        assert!(queue.next() <= Some(5 * SECOND));
        assert_eq!(queue.pop_due(5 * SECOND, u64::MAX), Some(102));
    }
}
