//! A queue of deadlines, at most one for each owner: which owner is due next?
//!
//! An owner is a small integer, the index of a slot. A deadline in a future tick is in a hierarchical timing
//! wheel (`wheel.rs`): O(1) to set and to cancel, and exact to a tick. When its tick begins, all deadlines of
//! that tick leave the wheel together and are sorted into `run`; that is one pass if they were set in order.
//! Deadlines that are set for the current tick or earlier go to `heap`, which is small as a rule. The heap is
//! 4-ary, so that the children that a sift compares share two cache lines.
//!
//! Equal deadlines are due in the order in which they were set. A cancelled deadline leaves no tombstone,
//! except in `run`. `benches/README.md` compares this with a heap alone, for ten million timers and for a
//! million idle timeouts.

use super::wheel::{Node, Place, TICK_BITS, Wheel};
use crate::time::Nanos;

/// Children of a node of the heap.
const ARITY: usize = 4;
/// Up to this many deadlines, `next` is exact. With more it may return the time of a deadline that was
/// postponed or cancelled, because finding the next one would walk a slot of the wheel each time.
const EXACT_MAX: usize = 64;
/// Capacity that an empty run keeps for the next tick.
const RUN_KEPT: usize = 16 << 10;

#[derive(Clone, Copy, Debug)]
struct Entry {
    deadline: Nanos,
    seq: u64,
    owner: u32,
}

impl Entry {
    fn key(&self) -> (Nanos, u64) {
        (self.deadline, self.seq)
    }

    fn is_before(&self, other: &Entry) -> bool {
        self.key() < other.key()
    }
}

/// The queue.
///
/// 1. A deadline whose tick is after `wheel.elapsed()` is in `wheel`; any other is in `run` or in `heap`.
/// 2. `nodes[owner].place` is where the owner's deadline is. An entry of `run` is live if its owner's place
///    is `Run` and the sequence numbers are equal. The last entry of `run` is live.
/// 3. `run` is sorted, latest first.
/// 4. `!heap[i].is_before(&heap[(i - 1) / 4])` for each `i > 0`.
#[derive(Default, Debug)]
pub(crate) struct Deadlines {
    nodes: Vec<Node>,
    run: Vec<Entry>,
    heap: Vec<Entry>,
    wheel: Wheel,
    len: usize,
    next_seq: u64,
    /// The value of `next_seq` when `nodes` was last released.
    released_at: u64,
}

impl Deadlines {
    /// Sets the deadline of `owner`, replacing the one it has.
    pub(crate) fn set(&mut self, owner: u32, deadline: Nanos) {
        let index = owner as usize;
        if index >= self.nodes.len() {
            self.nodes.resize(index + 1, Node::ABSENT);
        }
        let seq = self.next_seq;
        self.next_seq += 1;
        let place = self.nodes[index].place;
        if self.len > EXACT_MAX && self.wheel.postpone_in_place(place, deadline) {
            (self.nodes[index].deadline, self.nodes[index].seq) = (deadline, seq);
            return;
        }
        let entry = Entry { deadline, seq, owner };
        let has_begun = deadline >> TICK_BITS <= self.wheel.elapsed();
        if let (Place::Heap(position), true) = (place, has_begun) {
            return self.sift(position as usize, entry);
        }
        if place != Place::Absent {
            self.remove(owner);
        }
        self.len += 1;
        if has_begun {
            self.heap.push(entry);
            self.sift_up(self.heap.len() - 1, entry);
        } else {
            (self.nodes[index].deadline, self.nodes[index].seq) = (deadline, seq);
            match place {
                Place::Wheel { .. } if self.len > EXACT_MAX => self.wheel.link_early(&mut self.nodes, owner),
                _ => self.wheel.link(&mut self.nodes, owner),
            }
        }
    }

    /// Cancels the deadline of `owner`. Returns whether there was one.
    pub(crate) fn cancel(&mut self, owner: u32) -> bool {
        if self.get(owner).is_none() {
            return false;
        }
        self.remove(owner);
        self.shrink();
        true
    }

    /// Returns the deadline of `owner`.
    pub(crate) fn get(&self, owner: u32) -> Option<Nanos> {
        let node = self.nodes.get(owner as usize)?;
        (node.place != Place::Absent).then_some(node.deadline)
    }

    /// Returns the first deadline. With more than `EXACT_MAX` deadlines it may be an earlier time, never a
    /// later one.
    pub(crate) fn next(&self) -> Option<Nanos> {
        match self.first() {
            Some((entry, _)) => Some(entry.deadline),
            None if self.len == 0 => None,
            None => self.wheel.lower_bound(),
        }
    }

    /// Returns the sequence number of the next `set`: a limit for `pop_due`.
    pub(crate) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Removes the first owner that is due at `now`, unless its deadline was set at `seq_end` or later.
    ///
    /// One pass over the due timers takes `next_seq` before it starts and passes it each time. While `now`
    /// stands still, a deadline set during the pass is no earlier than those that were there. So the first
    /// one that is too recent ends the pass, and a timer that restarts itself without a delay waits for the
    /// next pass.
    pub(crate) fn pop_due(&mut self, now: Nanos, seq_end: u64) -> Option<u32> {
        if self.len == 0 {
            return None;
        }
        self.advance(now);
        let (entry, is_in_run) = self.first()?;
        if entry.deadline > now || entry.seq >= seq_end {
            return None;
        }
        if is_in_run {
            self.run.pop();
            self.nodes[entry.owner as usize].place = Place::Absent;
            self.len -= 1;
            self.prune_run();
        } else {
            self.remove(entry.owner);
        }
        self.shrink();
        Some(entry.owner)
    }

    /// Advances the wheel to the first deadline that may be due at `now`.
    ///
    /// Returns whether there are deadlines and none of them is due.
    pub(crate) fn advance(&mut self, now: Nanos) -> bool {
        while self.first().is_none() && self.fill_run(now) {}
        self.len > 0 && self.first().is_none_or(|(first, _)| first.deadline > now)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Panics unless the invariants hold.
    pub(crate) fn verify(&self) {
        let mut live = self.wheel.verify(&self.nodes) + self.heap.len();
        for (position, entry) in self.heap.iter().enumerate() {
            let node = &self.nodes[entry.owner as usize];
            assert_eq!(node.place, Place::Heap(position as u32), "a node has its position in the heap");
            assert_eq!((node.deadline, node.seq), entry.key(), "a node and its heap entry have one deadline");
            assert!(node.tick() <= self.wheel.elapsed(), "no future tick is in the heap");
            let parent = &self.heap[position.saturating_sub(1) / ARITY];
            assert!(position == 0 || !entry.is_before(parent), "a parent is due before its children");
        }
        assert!(self.run.is_sorted_by(|a, b| b.is_before(a)), "the run is sorted, latest first");
        assert!(self.run.last().is_none_or(|last| self.is_live(last)), "the last entry of the run is live");
        live += self.run.iter().filter(|entry| self.is_live(entry)).count();
        let present = self.nodes.iter().filter(|node| node.place != Place::Absent).count();
        assert_eq!((live, present), (self.len, self.len), "each deadline has one owner and one place");
    }

    /// Returns the first entry of `run` and `heap`, and whether it is in `run`.
    fn first(&self) -> Option<(Entry, bool)> {
        match (self.run.last(), self.heap.first()) {
            (Some(run), Some(heap)) if heap.is_before(run) => Some((*heap, false)),
            (Some(run), _) => Some((*run, true)),
            (None, heap) => heap.map(|entry| (*entry, false)),
        }
    }

    /// Advances the wheel by one occupied slot, up to `now`, and sorts the deadlines that leave it into
    /// `run`, which is empty. Returns whether there may be more.
    fn fill_run(&mut self, now: Nanos) -> bool {
        let Deadlines { nodes, run, wheel, .. } = self;
        let more = wheel.advance(nodes, now >> TICK_BITS, |owner, node| {
            node.place = Place::Run;
            run.push(Entry { deadline: node.deadline, seq: node.seq, owner });
        });
        // As a rule they are in reverse order already: the sort detects that in one pass.
        run.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.key()));
        more
    }

    fn is_live(&self, entry: &Entry) -> bool {
        let node = &self.nodes[entry.owner as usize];
        node.place == Place::Run && node.seq == entry.seq
    }

    /// Removes dead entries from the end of `run`.
    fn prune_run(&mut self) {
        while let Some(last) = self.run.last() {
            if self.is_live(last) {
                break;
            }
            self.run.pop();
        }
    }

    /// Removes a deadline from wherever it is.
    fn remove(&mut self, owner: u32) {
        self.len -= 1;
        let place = std::mem::replace(&mut self.nodes[owner as usize].place, Place::Absent);
        match place {
            Place::Absent => {}
            Place::Wheel { .. } => {
                self.nodes[owner as usize].place = place;
                self.wheel.unlink(&mut self.nodes, owner, self.len <= EXACT_MAX);
            }
            Place::Run => self.prune_run(),
            Place::Heap(position) => {
                // The last entry fills the hole, unless the hole was the last.
                let Some(last) = self.heap.pop() else { return };
                if (position as usize) < self.heap.len() {
                    self.sift(position as usize, last);
                }
            }
        }
    }

    /// Releases memory that a burst of deadlines left unused.
    fn shrink(&mut self) {
        if self.run.is_empty() && self.run.capacity() > RUN_KEPT {
            self.run = Vec::new();
        }
        if self.heap.len() * 8 < self.heap.capacity() && self.heap.capacity() > 1024 {
            self.heap.shrink_to(self.heap.len() * 2);
        }
        // Not whenever the queue is empty: at most once in as many calls of `set` as there are nodes.
        let set_since = self.next_seq - self.released_at;
        if self.len == 0 && self.nodes.len() > 1024 && set_since >= self.nodes.len() as u64 {
            self.nodes = Vec::new();
            self.released_at = self.next_seq;
        }
    }

    /// Moves `entry` from the hole at `position` to where it belongs in the heap.
    fn sift(&mut self, position: usize, entry: Entry) {
        if position > 0 && entry.is_before(&self.heap[(position - 1) / ARITY]) {
            self.sift_up(position, entry);
        } else {
            self.sift_down(position, entry);
        }
    }

    fn sift_up(&mut self, mut position: usize, entry: Entry) {
        while position > 0 {
            let parent = (position - 1) / ARITY;
            if !entry.is_before(&self.heap[parent]) {
                break;
            }
            self.put(position, self.heap[parent]);
            position = parent;
        }
        self.put(position, entry);
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
                if self.heap[child].is_before(&self.heap[least]) {
                    least = child;
                }
            }
            if !self.heap[least].is_before(&entry) {
                break;
            }
            self.put(position, self.heap[least]);
            position = least;
        }
        self.put(position, entry);
    }

    fn put(&mut self, position: usize, entry: Entry) {
        self.heap[position] = entry;
        let node = &mut self.nodes[entry.owner as usize];
        (node.deadline, node.seq) = entry.key();
        node.place = Place::Heap(position as u32);
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
    fn the_earliest_deadline_comes_first() {
        let mut queue = Deadlines::default();
        for (owner, deadline) in [(0, 50), (1, 10), (2, 40), (3, 20), (4, 30)] {
            queue.set(owner, deadline);
        }
        assert_eq!(queue.next(), Some(10));
        assert_eq!(drain(&mut queue, 100), [1, 3, 4, 2, 0]);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn equal_deadlines_are_due_in_the_order_they_were_set() {
        let mut queue = Deadlines::default();
        for owner in (0..100).rev() {
            queue.set(owner, 7);
        }
        let expected: Vec<u32> = (0..100).rev().collect();
        assert_eq!(drain(&mut queue, 7), expected);
    }

    #[test]
    fn setting_a_deadline_again_moves_it_behind_equal_ones() {
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
    fn a_deadline_set_during_a_pass_waits_for_the_next() {
        let mut queue = Deadlines::default();
        queue.set(0, 5);
        queue.set(1, 5);
        let seq_end = queue.next_seq();
        assert_eq!(queue.pop_due(5, seq_end), Some(0));
        queue.set(0, 5);
        assert_eq!(queue.pop_due(5, seq_end), Some(1));
        assert_eq!(queue.pop_due(5, seq_end), None);
        assert_eq!(queue.pop_due(5, queue.next_seq()), Some(0));
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
    fn memory_is_released_after_a_burst() {
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
    fn deadlines_at_every_distance_are_due_in_order() {
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
    fn a_deadline_postponed_many_times_is_due_at_the_last_time() {
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
    fn next_may_be_early_but_never_late() {
        let mut queue = Deadlines::default();
        for owner in 0..1000 {
            queue.set(owner, SECOND + u64::from(owner));
        }
        queue.cancel(0);
        queue.set(1, 3 * SECOND);
        assert!(queue.next() <= Some(SECOND + 2));
        // A pass at that time finds nothing due, and corrects it.
        assert_eq!(queue.pop_due(SECOND, u64::MAX), None);
        assert_eq!(queue.next(), Some(SECOND + 2));
    }

    #[test]
    fn a_deadline_postponed_in_place_does_not_hide_earlier_ones() {
        let mut queue = Deadlines::default();
        // More than `EXACT_MAX`, so that a postponed deadline stays in its slot; then few.
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
