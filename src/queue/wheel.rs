//! The far future: deadlines by when they are due, in slots that widen with distance.
//!
//! A hierarchical timing wheel (Varghese and Lauck, 1987). Level 0 has a slot for each tick, level 1 one for
//! each 512 ticks, and so on; a deadline lies on the lowest level on which it is less than one round away. When
//! its slot begins it moves to a lower level, or, if its tick has come, out of the wheel. So setting, moving and
//! cancelling cost the same for ten timers and for ten million, and each deadline moves as often as there are
//! levels between it and now: once for half a second, twice for four minutes.
//!
//! The slots are lists through the nodes of their owners, which the caller keeps. A slot says no more than which
//! ticks its deadlines may have: what is exact is made so when they come near, in `deadlines.rs`.

use crate::time::Nanos;

/// A little more than a millisecond: fine enough that few deadlines share a tick by accident, coarse enough that
/// a level spans half a second.
pub(super) const TICK_BITS: u32 = 20;
const SLOT_BITS: u32 = 9;
const SLOTS: u64 = 1 << SLOT_BITS;
/// Enough for every tick that 64 bits of nanoseconds have.
const LEVELS: usize = ((u64::BITS - TICK_BITS).div_ceil(SLOT_BITS)) as usize;
const NOBODY: u32 = u32::MAX;

/// Where an owner's deadline is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Absent,
    /// In a slot of the wheel.
    Far {
        level: u8,
        slot: u16,
    },
    /// In the sorted run of the tick that has come.
    Run,
    /// At this position of the heap.
    Near(u32),
}

/// What is kept for each owner.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) deadline: Nanos,
    /// Counts arrivals, so that equal deadlines keep their order. Never wraps in practice: 2⁶⁴.
    pub(super) arrival: u64,
    next: u32,
    previous: u32,
    pub(super) place: Place,
}

impl Node {
    pub(super) const ABSENT: Node =
        Node { deadline: 0, arrival: 0, next: NOBODY, previous: NOBODY, place: Place::Absent };

    pub(super) fn tick(&self) -> u64 {
        self.deadline >> TICK_BITS
    }
}

/// Meaningful only while its bit is set.
#[derive(Clone, Copy, Debug)]
struct Slot {
    first: u32,
    last: u32,
    /// No deadline in here is before this. One that was cancelled or put off may have been the reason.
    bound: Nanos,
}

#[derive(Debug)]
struct Level {
    occupied: [u64; (SLOTS / 64) as usize],
    slots: Box<[Slot]>,
}

impl Level {
    fn new() -> Level {
        let slot = Slot { first: NOBODY, last: NOBODY, bound: 0 };
        Level { occupied: [0; (SLOTS / 64) as usize], slots: vec![slot; SLOTS as usize].into() }
    }

    fn is_occupied(&self, slot: u16) -> bool {
        self.occupied[usize::from(slot / 64)] >> (slot % 64) & 1 == 1
    }

    fn set_occupied(&mut self, slot: u16, occupied: bool) {
        let (word, bit) = (&mut self.occupied[usize::from(slot / 64)], 1 << (slot % 64));
        if occupied { *word |= bit } else { *word &= !bit }
    }

    /// How many slots after `current` the first occupied one is, going round.
    fn distance(&self, current: u64) -> Option<u64> {
        let start = (current % SLOTS) as usize;
        // The word of `current` comes first with its upper bits, and last with its lower ones.
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

/// The wheel. `elapsed` is the tick up to which everything has been taken out.
///
/// 1. Each node in it has a tick after `elapsed`, and lies in a slot that begins after `elapsed`, not after its
///    tick, and less than one round of its level away.
/// 2. The bound of a slot is not after any deadline in it, nor after the slot's end, beyond which a deadline that was
///    put off, and stayed, may be: slots that follow have deadlines before it.
#[derive(Debug, Default)]
pub(super) struct Wheel {
    elapsed: u64,
    /// Made when first needed: most programs need two.
    levels: [Option<Box<Level>>; LEVELS],
}

impl Wheel {
    pub(super) fn elapsed(&self) -> u64 {
        self.elapsed
    }

    /// Puts in a node whose tick is after `elapsed`.
    pub(super) fn link(&mut self, nodes: &mut [Node], owner: u32) {
        self.link_at(nodes, owner, nodes[owner as usize].tick());
    }

    /// The same for one whose deadline keeps being moved: half-way, so that it may stay there the next time, even
    /// if it is moved to a little earlier than now.
    pub(super) fn link_early(&mut self, nodes: &mut [Node], owner: u32) {
        let distance = nodes[owner as usize].tick() - self.elapsed;
        self.link_at(nodes, owner, self.elapsed + distance.div_ceil(2));
    }

    fn link_at(&mut self, nodes: &mut [Node], owner: u32, tick: u64) {
        let (level, slot) = self.place_of(tick);
        let bound = nodes[owner as usize].deadline.min(self.end_of(level, slot));
        let wheel = self.levels[usize::from(level)].get_or_insert_with(|| Box::new(Level::new()));
        let occupied = wheel.is_occupied(slot);
        wheel.set_occupied(slot, true);
        let list = &mut wheel.slots[usize::from(slot)];
        if !occupied {
            *list = Slot { first: owner, last: NOBODY, bound };
        }
        let node = &mut nodes[owner as usize];
        node.place = Place::Far { level, slot };
        (node.previous, node.next) = (list.last, NOBODY);
        if occupied {
            nodes[list.last as usize].next = owner;
        }
        list.last = owner;
        list.bound = list.bound.min(bound);
    }

    /// Takes a node out of its slot. `exactly` finds the slot's bound anew, at the cost of a walk.
    pub(super) fn unlink(&mut self, nodes: &mut [Node], owner: u32, exactly: bool) {
        let Node { next, previous, place, .. } = nodes[owner as usize];
        let Place::Far { level, slot } = place else { return };
        let end = self.end_of(level, slot);
        let Some(wheel) = &mut self.levels[usize::from(level)] else { return };
        nodes[owner as usize].place = Place::Absent;
        let list = &mut wheel.slots[usize::from(slot)];
        match previous {
            NOBODY => list.first = next,
            previous => nodes[previous as usize].next = next,
        }
        match next {
            NOBODY => list.last = previous,
            next => nodes[next as usize].previous = previous,
        }
        if list.first == NOBODY {
            wheel.set_occupied(slot, false);
        } else if exactly {
            list.bound = walk(nodes, list.first).map(|(_, node)| node.deadline).fold(end, Nanos::min);
        }
    }

    /// Whether a node may stay where it is with this deadline: its slot does not begin after it. It is found to
    /// be early when the slot begins, and moves then, once for however often it was put off.
    pub(super) fn may_stay(&mut self, place: Place, deadline: Nanos) -> bool {
        let Place::Far { level, slot } = place else { return false };
        let stays = deadline >> TICK_BITS >= self.start_of(level, slot);
        if let (true, Some(wheel)) = (stays, &mut self.levels[usize::from(level)]) {
            let bound = &mut wheel.slots[usize::from(slot)].bound;
            *bound = (*bound).min(deadline);
        }
        stays
    }

    /// A time that no deadline in here is before. Not exact if some were put off or cancelled.
    pub(super) fn bound(&self) -> Option<Nanos> {
        self.firsts().map(|(_, _, list)| list.bound).min()
    }

    /// The first occupied slot of each level that has one.
    fn firsts(&self) -> impl Iterator<Item = (u8, u16, &Slot)> {
        self.levels.iter().enumerate().filter_map(|(level, wheel)| {
            let (wheel, current) = (wheel.as_ref()?, self.elapsed >> (SLOT_BITS * level as u32));
            let slot = (current + wheel.distance(current)?) % SLOTS;
            Some((level as u8, slot as u16, &wheel.slots[slot as usize]))
        })
    }

    /// Goes on to the first tick at which a slot begins, if that is not after `tick`, and gives out what is due in
    /// it; the others move to lower levels. If there is none, goes on to `tick`, and says so.
    pub(super) fn advance(
        &mut self,
        nodes: &mut [Node],
        tick: u64,
        mut due: impl FnMut(u32, &mut Node),
    ) -> bool {
        let starts = self.firsts().map(|(level, slot, _)| self.start_of(level, slot));
        let Some(start) = starts.min().filter(|&start| start <= tick) else {
            self.elapsed = self.elapsed.max(tick);
            return false;
        };
        self.elapsed = start;
        // The highest level first: what is in there may be due in this very tick.
        for level in (0..LEVELS).rev() {
            let shift = SLOT_BITS * level as u32;
            if start & ((1 << shift) - 1) == 0 {
                self.empty(nodes, level, ((start >> shift) % SLOTS) as u16, &mut due);
            }
        }
        true
    }

    fn empty(&mut self, nodes: &mut [Node], level: usize, slot: u16, due: &mut impl FnMut(u32, &mut Node)) {
        let Some(wheel) = self.levels[level].as_mut().filter(|wheel| wheel.is_occupied(slot)) else { return };
        wheel.set_occupied(slot, false);
        let mut owner = wheel.slots[usize::from(slot)].first;
        while owner != NOBODY {
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

    /// The tick at which a slot begins that is not over.
    fn start_of(&self, level: u8, slot: u16) -> u64 {
        let shift = SLOT_BITS * u32::from(level);
        let current = self.elapsed >> shift;
        (current + u64::from(slot).wrapping_sub(current) % SLOTS) << shift
    }

    /// The first time that is after a slot. Slots after it may hold deadlines from there on.
    fn end_of(&self, level: u8, slot: u16) -> Nanos {
        let ticks = 1 << (SLOT_BITS * u32::from(level));
        let end = u128::from(self.start_of(level, slot) + ticks) << TICK_BITS;
        Nanos::try_from(end).unwrap_or(Nanos::MAX)
    }

    /// The level and the slot for a tick after `elapsed`.
    fn place_of(&self, tick: u64) -> (u8, u16) {
        let mut level = 0;
        let (mut tick, mut elapsed) = (tick, self.elapsed);
        while tick - elapsed >= SLOTS {
            level += 1;
            (tick, elapsed) = (tick >> SLOT_BITS, elapsed >> SLOT_BITS);
        }
        (level, (tick % SLOTS) as u16)
    }

    /// Panics unless both invariants hold. Says how many nodes there are.
    pub(super) fn verify(&self, nodes: &[Node]) -> usize {
        let mut count = 0;
        for (level, wheel) in self.levels.iter().enumerate() {
            let Some(wheel) = wheel else { continue };
            for slot in (0..SLOTS as u16).filter(|&slot| wheel.is_occupied(slot)) {
                let list = &wheel.slots[usize::from(slot)];
                let start = self.start_of(level as u8, slot);
                assert!(
                    list.bound <= self.end_of(level as u8, slot),
                    "a bound does not hide the slots that follow"
                );
                assert!(start > self.elapsed, "a slot begins in the future");
                let mut last = NOBODY;
                for (owner, node) in walk(nodes, list.first) {
                    assert_eq!(node.place, Place::Far { level: level as u8, slot }, "a node knows its place");
                    assert_eq!(node.previous, last, "a node knows the one before it");
                    assert!(node.tick() >= start, "no deadline is before its slot");
                    assert!(node.deadline >= list.bound, "no deadline is before the bound");
                    last = owner;
                    count += 1;
                }
                assert_eq!(last, list.last, "a list ends where it says");
            }
        }
        count
    }
}

fn walk(nodes: &[Node], first: u32) -> impl Iterator<Item = (u32, &Node)> {
    let node = |owner: u32| (owner != NOBODY).then(|| (owner, &nodes[owner as usize]));
    std::iter::successors(node(first), move |(_, last)| node(last.next))
}
