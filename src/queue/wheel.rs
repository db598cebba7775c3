//! A hierarchical timing wheel (Varghese and Lauck, 1987), as in the Linux kernel and in tokio.
//!
//! Level 0 has a slot for each tick, level 1 a slot for each 512 ticks, and so on. A deadline is on the
//! lowest level on which it is less than one revolution away. When its slot begins it cascades to a lower
//! level, or, if its tick has come, leaves the wheel. So setting, moving and cancelling cost the same for ten
//! timers and for ten million. A deadline moves once for each level between it and now: once for half a
//! second, twice for four minutes.
//!
//! A slot is a list linked through the nodes of its owners, which the caller keeps. The wheel orders
//! deadlines by slot only; `deadlines.rs` sorts them exactly when their tick begins.

use crate::time::Nanos;

/// A tick is 2²⁰ ns, a little more than a millisecond: fine enough that few deadlines share one by accident,
/// coarse enough that a level spans half a second.
pub(super) const TICK_BITS: u32 = 20;
const SLOT_BITS: u32 = 9;
/// Slots of a level.
const SLOTS: u64 = 1 << SLOT_BITS;
/// Enough for every tick in 64 bits of nanoseconds.
const LEVELS: usize = ((u64::BITS - TICK_BITS).div_ceil(SLOT_BITS)) as usize;
/// The end of a list.
const NIL: u32 = u32::MAX;

/// Where an owner's deadline is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Absent,
    Wheel {
        level: u8,
        slot: u16,
    },
    /// In the sorted run of the current tick.
    Run,
    /// At this position of the heap.
    Heap(u32),
}

/// One owner's deadline, and its links.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) deadline: Nanos,
    /// Counts calls of `set`, so that equal deadlines keep their order. 64 bits do not wrap in practice.
    pub(super) seq: u64,
    next: u32,
    previous: u32,
    pub(super) place: Place,
}

impl Node {
    pub(super) const ABSENT: Node =
        Node { deadline: 0, seq: 0, next: NIL, previous: NIL, place: Place::Absent };

    pub(super) fn tick(&self) -> u64 {
        self.deadline >> TICK_BITS
    }
}

/// A list of nodes. Meaningful only while its bit in `Level::occupied` is set.
#[derive(Clone, Copy, Debug)]
struct Slot {
    first: u32,
    last: u32,
    /// No deadline in this slot is earlier. Not exact after a deadline was cancelled or postponed.
    lower_bound: Nanos,
}

#[derive(Debug)]
struct Level {
    occupied: [u64; (SLOTS / 64) as usize],
    slots: Box<[Slot]>,
}

impl Level {
    fn new() -> Level {
        let slot = Slot { first: NIL, last: NIL, lower_bound: 0 };
        Level { occupied: [0; (SLOTS / 64) as usize], slots: vec![slot; SLOTS as usize].into() }
    }

    fn is_occupied(&self, slot: u16) -> bool {
        self.occupied[usize::from(slot / 64)] >> (slot % 64) & 1 == 1
    }

    fn set_occupied(&mut self, slot: u16, occupied: bool) {
        let (word, bit) = (&mut self.occupied[usize::from(slot / 64)], 1 << (slot % 64));
        if occupied { *word |= bit } else { *word &= !bit }
    }

    /// Returns the number of slots from `current` to the first occupied one, wrapping around.
    fn distance(&self, current: u64) -> Option<u64> {
        let start = (current % SLOTS) as usize;
        // The word of `current` is visited first for its upper bits, and last for its lower ones.
        for step in 0..=self.occupied.len() {
            let word = (start / 64 + step) % self.occupied.len();
            let mut bits = self.occupied[word];
            if step == 0 {
                bits &= u64::MAX << (start % 64);
            }
            if bits != 0 {
                let slot = word as u64 * 64 + u64::from(bits.trailing_zeros());
                return Some(slot.wrapping_sub(current) % SLOTS);
            }
        }
        None
    }
}

/// The wheel. Every node up to the tick `elapsed` has left it.
///
/// 1. The tick of each node is after `elapsed`. The node's slot begins after `elapsed`, not after the node's
///    tick, and less than one revolution of its level away.
/// 2. The lower bound of a slot is not after any deadline in it, and not after the slot's end. A deadline
///    that was postponed in place may be later than that end, and the slots that follow may hold earlier
///    ones.
#[derive(Debug, Default)]
pub(super) struct Wheel {
    elapsed: u64,
    /// Allocated when first used: most programs need two.
    levels: [Option<Box<Level>>; LEVELS],
}

impl Wheel {
    pub(super) fn elapsed(&self) -> u64 {
        self.elapsed
    }

    /// Links a node whose tick is after `elapsed`.
    pub(super) fn link(&mut self, nodes: &mut [Node], owner: u32) {
        self.link_at(nodes, owner, nodes[owner as usize].tick());
    }

    /// Links a node whose deadline keeps moving, half-way to its tick.
    ///
    /// So it can be postponed in place the next time, even if it moves to a time a little earlier than now.
    pub(super) fn link_early(&mut self, nodes: &mut [Node], owner: u32) {
        let distance = nodes[owner as usize].tick() - self.elapsed;
        self.link_at(nodes, owner, self.elapsed + distance.div_ceil(2));
    }

    fn link_at(&mut self, nodes: &mut [Node], owner: u32, tick: u64) {
        let (level, slot) = self.slot_for(tick);
        let lower_bound = nodes[owner as usize].deadline.min(self.end_of(level, slot));
        let place = Place::Wheel { level, slot };
        let level = self.levels[usize::from(level)].get_or_insert_with(|| Box::new(Level::new()));
        let occupied = level.is_occupied(slot);
        level.set_occupied(slot, true);
        let list = &mut level.slots[usize::from(slot)];
        if !occupied {
            *list = Slot { first: owner, last: NIL, lower_bound };
        }
        let node = &mut nodes[owner as usize];
        node.place = place;
        (node.previous, node.next) = (list.last, NIL);
        if occupied {
            nodes[list.last as usize].next = owner;
        }
        list.last = owner;
        list.lower_bound = list.lower_bound.min(lower_bound);
    }

    /// Unlinks a node. `exact` walks the slot to find its lower bound again.
    pub(super) fn unlink(&mut self, nodes: &mut [Node], owner: u32, exact: bool) {
        let Node { next, previous, place, .. } = nodes[owner as usize];
        let Place::Wheel { level, slot } = place else { return };
        let end = self.end_of(level, slot);
        let Some(level) = &mut self.levels[usize::from(level)] else { return };
        nodes[owner as usize].place = Place::Absent;
        let list = &mut level.slots[usize::from(slot)];
        match previous {
            NIL => list.first = next,
            previous => nodes[previous as usize].next = next,
        }
        match next {
            NIL => list.last = previous,
            next => nodes[next as usize].previous = previous,
        }
        if list.first == NIL {
            level.set_occupied(slot, false);
        } else if exact {
            list.lower_bound = walk(nodes, list.first).map(|(_, node)| node.deadline).fold(end, Nanos::min);
        }
    }

    /// Keeps a node in its slot for a new deadline, unless the slot begins after that. Returns whether it
    /// did.
    ///
    /// When the slot begins, the node turns out to be early and moves then: once, however often it was
    /// postponed.
    pub(super) fn postpone_in_place(&mut self, place: Place, deadline: Nanos) -> bool {
        let Place::Wheel { level, slot } = place else { return false };
        let stays = deadline >> TICK_BITS >= self.start_of(level, slot);
        if let (true, Some(level)) = (stays, &mut self.levels[usize::from(level)]) {
            let lower_bound = &mut level.slots[usize::from(slot)].lower_bound;
            *lower_bound = (*lower_bound).min(deadline);
        }
        stays
    }

    /// Returns a time that no deadline in the wheel is before. Not exact after one was cancelled or
    /// postponed.
    pub(super) fn lower_bound(&self) -> Option<Nanos> {
        self.first_slots().map(|(_, _, list)| list.lower_bound).min()
    }

    /// Returns the first occupied slot of each level that has one.
    fn first_slots(&self) -> impl Iterator<Item = (u8, u16, &Slot)> {
        self.levels.iter().enumerate().filter_map(|(number, level)| {
            let (level, current) = (level.as_ref()?, self.elapsed >> (SLOT_BITS * number as u32));
            let slot = (current + level.distance(current)?) % SLOTS;
            Some((number as u8, slot as u16, &level.slots[slot as usize]))
        })
    }

    /// Advances to the first tick at which an occupied slot begins, but not beyond `tick`.
    ///
    /// Nodes of the slots that begin there are passed to `due` if their tick has come, and move to a lower
    /// level otherwise. Returns whether there was such a slot.
    pub(super) fn advance(
        &mut self,
        nodes: &mut [Node],
        tick: u64,
        mut due: impl FnMut(u32, &mut Node),
    ) -> bool {
        let starts = self.first_slots().map(|(level, slot, _)| self.start_of(level, slot));
        let Some(start) = starts.min().filter(|&start| start <= tick) else {
            self.elapsed = self.elapsed.max(tick);
            return false;
        };
        self.elapsed = start;
        // The highest level first: its nodes may be due in this very tick.
        for level in (0..LEVELS).rev() {
            let shift = SLOT_BITS * level as u32;
            if start & ((1 << shift) - 1) == 0 {
                self.cascade(nodes, level, ((start >> shift) % SLOTS) as u16, &mut due);
            }
        }
        true
    }

    /// Empties a slot that begins now: due nodes leave the wheel, the others move to a lower level.
    fn cascade(&mut self, nodes: &mut [Node], level: usize, slot: u16, due: &mut impl FnMut(u32, &mut Node)) {
        let Some(level) = self.levels[level].as_mut().filter(|level| level.is_occupied(slot)) else { return };
        level.set_occupied(slot, false);
        let mut owner = level.slots[usize::from(slot)].first;
        while owner != NIL {
            let node = &mut nodes[owner as usize];
            let next = node.next;
            if node.tick() <= self.elapsed {
                due(owner, node);
            } else {
                self.link(nodes, owner);
            }
            owner = next;
        }
    }

    /// Returns the tick at which a slot begins, now or in the future.
    fn start_of(&self, level: u8, slot: u16) -> u64 {
        let shift = SLOT_BITS * u32::from(level);
        let current = self.elapsed >> shift;
        (current + u64::from(slot).wrapping_sub(current) % SLOTS) << shift
    }

    /// Returns the first time after a slot. The slots that follow may hold deadlines from then on.
    fn end_of(&self, level: u8, slot: u16) -> Nanos {
        let ticks = 1 << (SLOT_BITS * u32::from(level));
        let end = u128::from(self.start_of(level, slot) + ticks) << TICK_BITS;
        Nanos::try_from(end).unwrap_or(Nanos::MAX)
    }

    /// Returns the level and the slot for a tick after `elapsed`.
    fn slot_for(&self, tick: u64) -> (u8, u16) {
        let mut level = 0;
        let (mut tick, mut elapsed) = (tick, self.elapsed);
        while tick - elapsed >= SLOTS {
            level += 1;
            (tick, elapsed) = (tick >> SLOT_BITS, elapsed >> SLOT_BITS);
        }
        (level, (tick % SLOTS) as u16)
    }

    /// Panics unless both invariants hold. Returns the number of nodes.
    pub(super) fn verify(&self, nodes: &[Node]) -> usize {
        let mut count = 0;
        for (number, level) in (0_u8..).zip(&self.levels) {
            let Some(level) = level else { continue };
            for slot in (0..SLOTS as u16).filter(|&slot| level.is_occupied(slot)) {
                let list = &level.slots[usize::from(slot)];
                let (start, end) = (self.start_of(number, slot), self.end_of(number, slot));
                assert!(list.lower_bound <= end, "a lower bound is not after its slot");
                assert!(start > self.elapsed, "an occupied slot begins in the future");
                let mut last = NIL;
                for (owner, node) in walk(nodes, list.first) {
                    assert_eq!(node.place, Place::Wheel { level: number, slot }, "a node has its slot");
                    assert_eq!(node.previous, last, "a node links to the one before it");
                    assert!(node.tick() >= start, "no deadline is before its slot");
                    assert!(
                        node.deadline >= list.lower_bound,
                        "no deadline is before its slot's lower bound"
                    );
                    last = owner;
                    count += 1;
                }
                assert_eq!(last, list.last, "a list ends at its last node");
            }
        }
        count
    }
}

fn walk(nodes: &[Node], first: u32) -> impl Iterator<Item = (u32, &Node)> {
    let node = |owner: u32| (owner != NIL).then(|| (owner, &nodes[owner as usize]));
    std::iter::successors(node(first), move |(_, last)| node(last.next))
}
