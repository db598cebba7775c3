//! A list that is walked in rounds, and changed by those who are called during a round.
//!
//! Hooks live here: each member is visited once a round, in the order of joining. One that joins
//! during a round waits for the next, so that two that keep starting each other cannot hold the
//! round open for ever. One that leaves is passed over at once, and costs O(1).
//!
//! A round that is broken off (an error, a panic) goes on where it stopped.

const ABSENT: u32 = u32::MAX;
/// Room that is kept when a crowd has left.
const KEPT: usize = 1024;

/// Members by small integer, each at most once.
///
/// 1. `places[m] == p  ⇔  list[p] == m`; `ABSENT` for who is no member, and for a hole in the list.
/// 2. `len` is the number of members; `cursor <= end <= list.len()`.
#[derive(Default, Debug)]
pub(crate) struct Rounds {
    list: Vec<u32>,
    places: Vec<u32>,
    len: usize,
    cursor: usize,
    end: usize,
}

impl Rounds {
    /// Adds a member at the end, unless it is there.
    pub(crate) fn join(&mut self, member: u32) {
        let index = member as usize;
        if index >= self.places.len() {
            self.places.resize(index + 1, ABSENT);
        }
        if self.places[index] == ABSENT {
            self.places[index] = self.list.len() as u32;
            self.list.push(member);
            self.len += 1;
        }
    }

    /// Removes a member, if it is there.
    pub(crate) fn leave(&mut self, member: u32) {
        if !self.is_member(member) {
            return;
        }
        let place = std::mem::replace(&mut self.places[member as usize], ABSENT);
        self.list[place as usize] = ABSENT;
        self.len -= 1;
        if self.len == 0 && self.places.len() > KEPT {
            // A crowd has left. (The list goes when the round begins that follows.)
            self.places = Vec::new();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether a round would do nothing at all, not even take out holes.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.list.is_empty()
    }

    /// Begins a round with those who are members now, or resumes one that was broken off.
    pub(crate) fn begin(&mut self) {
        if self.cursor < self.end || self.list.is_empty() {
            return;
        }
        // Holes are taken out between rounds, and only when they are many: the walk stays O(members).
        if self.len * 2 < self.list.len() {
            self.list.retain(|&member| member != ABSENT);
            if self.list.capacity() > KEPT {
                self.list.shrink_to(self.list.len() * 2);
            }
            for (place, &member) in self.list.iter().enumerate() {
                self.places[member as usize] = place as u32;
            }
        }
        self.cursor = 0;
        self.end = self.list.len();
    }

    /// The next member of this round.
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
        self.places.get(member as usize).is_some_and(|&place| place != ABSENT)
    }

    /// Panics unless both invariants hold.
    pub(crate) fn verify(&self) {
        assert!(self.cursor <= self.end && self.end <= self.list.len(), "a round lies within its list");
        let members = self.list.iter().filter(|&&member| member != ABSENT).count();
        assert_eq!(members, self.len, "members are counted");
        let placed = (0_u32..).zip(&self.places).filter(|(_, place)| **place != ABSENT);
        let found = placed.map(|(member, &place)| assert_eq!(self.list[place as usize], member)).count();
        assert_eq!(found, self.len, "each member has one place");
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
    fn one_that_joins_during_a_round_waits_for_the_next() {
        let mut rounds = Rounds::default();
        rounds.join(1);
        rounds.begin();
        assert_eq!(rounds.visit(), Some(1));
        rounds.join(2);
        assert_eq!(rounds.visit(), None);
        assert_eq!(round(&mut rounds), [1, 2]);
    }

    #[test]
    fn one_that_leaves_during_a_round_is_passed_over() {
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
    fn a_round_that_was_broken_off_goes_on_where_it_stopped() {
        let mut rounds = Rounds::default();
        rounds.join(1);
        rounds.join(2);
        rounds.begin();
        assert_eq!(rounds.visit(), Some(1));
        assert_eq!(round(&mut rounds), [2]);
        assert_eq!(round(&mut rounds), [1, 2]);
    }

    #[test]
    fn coming_and_going_does_not_grow_the_list() {
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
