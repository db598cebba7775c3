//! `Deadlines` against a sorted map.

use std::collections::BTreeMap;

use crate::queue::deadlines::Deadlines;

#[derive(Clone, Debug)]
pub enum Operation {
    Set {
        owner: u32,
        deadline: u64,
    },
    Cancel {
        owner: u32,
    },
    Get {
        owner: u32,
    },
    /// One owner, if any is due before a mark taken so many arrivals ago.
    Pop {
        now: u64,
        age: u64,
    },
    /// Everybody who is due, as a turn does it; each one whose number divides by `again` sets itself again.
    Pass {
        now: u64,
        again: u32,
        delay: u64,
    },
    /// Many at once, so that room is given back when they leave.
    Crowd {
        first: u32,
        many: u32,
        deadline: u64,
    },
    /// All of them cancelled.
    Disperse,
}

#[derive(Default)]
struct Model {
    due: BTreeMap<(u64, u64), u32>,
    owners: BTreeMap<u32, (u64, u64)>,
    arrivals: u64,
}

impl Model {
    fn set(&mut self, owner: u32, deadline: u64) {
        self.cancel(owner);
        self.due.insert((deadline, self.arrivals), owner);
        self.owners.insert(owner, (deadline, self.arrivals));
        self.arrivals += 1;
    }

    fn cancel(&mut self, owner: u32) -> bool {
        self.owners.remove(&owner).is_some_and(|key| self.due.remove(&key).is_some())
    }

    fn pop_due(&mut self, now: u64, mark: u64) -> Option<u32> {
        let (&(deadline, arrival), &owner) = self.due.first_key_value()?;
        if deadline > now || arrival >= mark {
            return None;
        }
        self.cancel(owner);
        Some(owner)
    }

    fn check(&self, queue: &Deadlines) {
        // Early, perhaps, if there have been many; late never.
        let next = self.due.keys().next().map(|&(deadline, _)| deadline);
        assert_eq!(queue.next().is_some(), next.is_some());
        assert!(queue.next() <= next);
        // Only tests ask for it.
        #[cfg(test)]
        assert_eq!(queue.len(), self.due.len());
        assert_eq!(queue.next_seq(), self.arrivals);
    }
}

/// Carries them out on both, and panics where they differ.
pub fn run(operations: &[Operation]) {
    let (mut queue, mut model) = (Deadlines::default(), Model::default());
    for operation in operations {
        match *operation {
            Operation::Set { owner, deadline } => {
                queue.set(owner, deadline);
                model.set(owner, deadline);
            }
            Operation::Cancel { owner } => assert_eq!(queue.cancel(owner), model.cancel(owner)),
            Operation::Get { owner } => {
                assert_eq!(queue.get(owner), model.owners.get(&owner).map(|&(deadline, _)| deadline));
            }
            Operation::Pop { now, age } => {
                let mark = model.arrivals.saturating_sub(age);
                assert_eq!(queue.pop_due(now, mark), model.pop_due(now, mark));
            }
            Operation::Pass { now, again, delay } => {
                let mark = queue.next_seq();
                let mut steps = model.due.len();
                loop {
                    let popped = queue.pop_due(now, mark);
                    assert_eq!(popped, model.pop_due(now, mark));
                    let Some(owner) = popped else { break };
                    if owner % again == 0 {
                        queue.set(owner, now.saturating_add(delay));
                        model.set(owner, now.saturating_add(delay));
                    }
                    queue.verify();
                    assert!(steps > 0, "a pass ends, however often they set themselves again");
                    steps -= 1;
                }
            }
            Operation::Crowd { first, many, deadline } => {
                for owner in first..first + many {
                    queue.set(owner, deadline.saturating_sub(u64::from(owner % 7)));
                    model.set(owner, deadline.saturating_sub(u64::from(owner % 7)));
                }
            }
            Operation::Disperse => {
                // Not in their order, and with a check now and then: all the way down.
                let owners: Vec<u32> = model.owners.keys().copied().collect();
                for (count, owner) in owners.into_iter().rev().enumerate() {
                    assert!(queue.cancel(owner) && model.cancel(owner));
                    if count % 97 == 0 {
                        queue.verify();
                    }
                }
            }
        }
        queue.verify();
        model.check(&queue);
    }
    while let Some(owner) = model.pop_due(u64::MAX, u64::MAX) {
        assert_eq!(queue.pop_due(u64::MAX, u64::MAX), Some(owner));
    }
    assert_eq!(queue.pop_due(u64::MAX, u64::MAX), None);
    queue.verify();
}
