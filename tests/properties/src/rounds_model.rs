//! `Rounds` against an ordered list.

use std::collections::VecDeque;

use crate::queue::rounds::Rounds;

#[derive(Clone, Debug)]
pub enum Operation {
    Join(u32),
    Leave(u32),
    /// A round. After each visit the callback makes a change; the round is interrupted after `visits` visits.
    Round {
        during: Vec<Change>,
        visits: usize,
    },
    /// Members that join and leave at once, enough for the list to be compacted.
    Churn(u32),
}

#[derive(Clone, Debug)]
pub enum Change {
    Nothing,
    Join(u32),
    Leave(u32),
    /// Leaves and joins again during the round.
    Rejoin(u32),
}

#[derive(Default)]
struct Model {
    /// In the order in which they joined.
    members: Vec<u32>,
    /// Members that the current or interrupted round has not visited.
    left: VecDeque<u32>,
    interrupted: bool,
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

/// Applies the operations to both. Panics where they differ.
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
            Operation::Churn(many) => {
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
    let resumed = std::mem::take(&mut model.interrupted);
    rounds.begin();
    rounds.verify();
    if model.left.is_empty() {
        // An interrupted round has no member left, if there was one. Then this is either the remainder of
        // that round, without members, or a new one: only a visit tells which.
        let mut changes = during.iter();
        if resumed && !model.members.is_empty() {
            let visited = rounds.visit();
            if visited.is_none() {
                return;
            }
            model.left = model.members.iter().copied().collect();
            assert_eq!(visited, model.left.pop_front());
            if visits <= 1 {
                model.interrupted = true;
                return;
            }
            apply(rounds, model, changes.next());
            return visit_all(rounds, model, changes, visits - 1);
        }
        model.left = model.members.iter().copied().collect();
    }
    visit_all(rounds, model, during.iter(), visits);
}

fn visit_all<'a>(
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
    model.interrupted = true;
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
