//! `Rounds` against an ordered list.

use std::collections::VecDeque;

use crate::queue::rounds::Rounds;

#[derive(Clone, Debug)]
pub enum Operation {
    Join(u32),
    Leave(u32),
    /// A round: before each visit, something that a callback does; after so many visits it is broken off.
    Round {
        during: Vec<Change>,
        visits: usize,
    },
    /// So many come and go, one by one, that the list must be put in order.
    Traffic(u32),
}

#[derive(Clone, Debug)]
pub enum Change {
    Nothing,
    Join(u32),
    Leave(u32),
    /// Leaves, and is back before the round is over.
    Rejoin(u32),
}

#[derive(Default)]
struct Model {
    /// In the order of joining.
    members: Vec<u32>,
    /// Of the round that is going on or was broken off.
    left: VecDeque<u32>,
    broken_off: bool,
}

impl Model {
    fn join(&mut self, member: u32) {
        if !self.members.contains(&member) {
            self.members.push(member);
        }
    }

    fn leave(&mut self, member: u32) {
        self.members.retain(|&other| other != member);
        self.left.retain(|&other| other != member);
    }
}

/// Carries them out on both, and panics where they differ.
pub fn run(operations: &[Operation]) {
    let (mut rounds, mut model) = (Rounds::default(), Model::default());
    for operation in operations {
        match operation {
            Operation::Join(member) => {
                rounds.join(*member);
                model.join(*member);
            }
            Operation::Leave(member) => {
                rounds.leave(*member);
                model.leave(*member);
            }
            Operation::Traffic(many) => {
                for member in 100..100 + many {
                    rounds.join(member);
                    rounds.leave(member);
                    rounds.verify();
                }
            }
            Operation::Round { during, visits } => round(&mut rounds, &mut model, during, *visits),
        }
        rounds.verify();
        assert_eq!(rounds.is_empty(), model.members.is_empty());
        for member in 0..12 {
            assert_eq!(rounds.is_member(member), model.members.contains(&member));
        }
    }
}

fn round(rounds: &mut Rounds, model: &mut Model, during: &[Change], visits: usize) {
    let resumed = std::mem::take(&mut model.broken_off);
    rounds.begin();
    rounds.verify();
    if model.left.is_empty() {
        // Nobody is left of the round that was broken off, if one was: then this one is either the rest of
        // that, with nobody in it, or a new one. To tell them apart takes looking.
        let mut look = during.iter();
        if resumed && !model.members.is_empty() {
            let visited = rounds.visit();
            if visited.is_none() {
                return;
            }
            model.left = model.members.iter().copied().collect();
            assert_eq!(visited, model.left.pop_front());
            if visits <= 1 {
                model.broken_off = true;
                return;
            }
            apply(rounds, model, look.next());
            return rest(rounds, model, look, visits - 1);
        }
        model.left = model.members.iter().copied().collect();
    }
    rest(rounds, model, during.iter(), visits);
}

fn rest<'a>(
    rounds: &mut Rounds,
    model: &mut Model,
    mut during: impl Iterator<Item = &'a Change>,
    visits: usize,
) {
    for _ in 0..visits {
        let visited = rounds.visit();
        assert_eq!(visited, model.left.pop_front());
        if visited.is_none() {
            return;
        }
        apply(rounds, model, during.next());
        rounds.verify();
    }
    model.broken_off = true;
}

fn apply(rounds: &mut Rounds, model: &mut Model, change: Option<&Change>) {
    match change {
        None | Some(Change::Nothing) => {}
        Some(&Change::Join(member)) => {
            rounds.join(member);
            model.join(member);
        }
        Some(&Change::Leave(member)) => {
            rounds.leave(member);
            model.leave(member);
        }
        Some(&Change::Rejoin(member)) => {
            rounds.leave(member);
            rounds.join(member);
            model.leave(member);
            model.join(member);
        }
    }
}
