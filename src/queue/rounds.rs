//! A list that is visited in rounds and may change during a round.
//!
//! Hooks are kept here. A round visits each member once, in the order in which they joined. A member that
//! joins during a round waits for the next, so two hooks that keep starting each other cannot keep a round
//! going for ever. A member that leaves is skipped at once. Joining and leaving are O(1).
//!
//! A round that is interrupted by an error or a panic resumes where it stopped.

const ABSENT: u32 = u32::MAX;
/// Capacity that is kept after a burst.
const CAPACITY_KEPT: usize = 1024;

/// Members, each a small integer.
///
/// 1. `positions[m] == p  ⇔  list[p] == m`. `ABSENT` marks an integer that is no member, and a hole in the
///    list.
/// 2. `len` is the number of members; `cursor <= end <= list.len()`.
#[derive(Default, Debug)]
pub(crate) struct Rounds {
    list: Vec<u32>,
    positions: Vec<u32>,
    len: usize,
    cursor: usize,
    end: usize,
}

impl Rounds {
    /// Appends a member. Does nothing if it is a member already.
    pub(crate) fn join(&mut self, member: u32) {
        let index = member as usize;
        if index >= self.positions.len() {
            self.positions.resize(index + 1, ABSENT);
        }
        if self.positions[index] == ABSENT {
            self.positions[index] = self.list.len() as u32;
            self.list.push(member);
            self.len += 1;
        }
    }

    /// Removes a member. Does nothing if it is none.
    pub(crate) fn leave(&mut self, member: u32) {
        if !self.is_member(member) {
            return;
        }
        let position = std::mem::replace(&mut self.positions[member as usize], ABSENT);
        self.list[position as usize] = ABSENT;
        self.len -= 1;
        if self.len == 0 && self.positions.len() > CAPACITY_KEPT {
            // `begin` releases the list, because a round may be under way.
            self.positions = Vec::new();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns whether a round would do nothing, not even remove holes.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.list.is_empty()
    }

    /// Begins a round of the present members, or resumes one that was interrupted.
    pub(crate) fn begin(&mut self) {
        if self.cursor < self.end || self.list.is_empty() {
            return;
        }
        // Holes are removed between rounds, once they outnumber the members: a round stays O(members).
        if self.len * 2 < self.list.len() {
            self.list.retain(|&member| member != ABSENT);
            if self.list.capacity() > CAPACITY_KEPT {
                self.list.shrink_to(self.list.len() * 2);
            }
            for (position, &member) in self.list.iter().enumerate() {
                self.positions[member as usize] = position as u32;
            }
        }
        self.cursor = 0;
        self.end = self.list.len();
    }

    /// Returns the next member of this round.
    pub(crate) fn visit(&mut self) -> Option<u32> {
        while self.cursor < self.end {
            self.cursor += 1;
            let member = self.list[self.cursor - 1];
            if member != ABSENT {
                return Some(member);
            }
        }
        None
    }

    pub(crate) fn is_member(&self, member: u32) -> bool {
        self.positions.get(member as usize).is_some_and(|&position| position != ABSENT)
    }

    /// Panics unless both invariants hold.
    pub(crate) fn verify(&self) {
        assert!(self.cursor <= self.end && self.end <= self.list.len(), "a round lies within its list");
        let members = self.list.iter().filter(|&&member| member != ABSENT).count();
        assert_eq!(members, self.len, "members are counted");
        let listed = (0_u32..).zip(&self.positions).filter(|(_, position)| **position != ABSENT);
        let found =
            listed.map(|(member, &position)| assert_eq!(self.list[position as usize], member)).count();
        assert_eq!(found, self.len, "each member has one position");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(rounds: &mut Rounds) -> Vec<u32> {
        rounds.begin();
        rounds.verify();
        std::iter::from_fn(|| rounds.visit()).collect()
    }

    #[test]
    fn members_are_visited_in_the_order_they_joined() {
        let mut rounds = Rounds::default();
        for member in [4, 2, 9] {
            rounds.join(member);
            rounds.join(member);
        }
        assert_eq!(round(&mut rounds), [4, 2, 9]);
        assert_eq!(round(&mut rounds), [4, 2, 9]);
    }

    #[test]
    fn a_member_that_joins_during_a_round_waits_for_the_next() {
        let mut rounds = Rounds::default();
        rounds.join(1);
        rounds.begin();
        assert_eq!(rounds.visit(), Some(1));
        rounds.join(2);
        assert_eq!(rounds.visit(), None);
        assert_eq!(round(&mut rounds), [1, 2]);
    }

    #[test]
    fn a_member_that_leaves_during_a_round_is_skipped() {
        let mut rounds = Rounds::default();
        rounds.join(1);
        rounds.join(2);
        rounds.join(3);
        rounds.begin();
        assert_eq!(rounds.visit(), Some(1));
        rounds.leave(2);
        assert_eq!(rounds.visit(), Some(3));
        assert_eq!(rounds.visit(), None);
    }

    #[test]
    fn an_interrupted_round_resumes_where_it_stopped() {
        let mut rounds = Rounds::default();
        rounds.join(1);
        rounds.join(2);
        rounds.begin();
        assert_eq!(rounds.visit(), Some(1));
        assert_eq!(round(&mut rounds), [2]);
        assert_eq!(round(&mut rounds), [1, 2]);
    }

    #[test]
    fn joining_and_leaving_does_not_grow_the_list() {
        let mut rounds = Rounds::default();
        for member in 0..10_000 {
            rounds.join(member);
            assert_eq!(round(&mut rounds), [member]);
            rounds.leave(member);
        }
        rounds.verify();
        assert!(rounds.list.len() < 10, "{}", rounds.list.len());
        assert!(rounds.is_empty());
    }
}
