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
    /// Pops one owner, with the limit that was `next_seq` before the last `age` calls of `set`.
    Pop {
        now: u64,
        age: u64,
    },
    /// Pops all due owners, as a turn does. Each one divisible by `again` sets itself again.
    Pass {
        now: u64,
        again: u32,
        delay: u64,
    },
    /// Sets many deadlines, enough for memory to be released when they are gone.
    Burst {
        first: u32,
        many: u32,
        deadline: u64,
    },
    CancelAll,
}

#[derive(Default)]
struct Model {
    due: BTreeMap<(u64, u64), u32>,
    owners: BTreeMap<u32, (u64, u64)>,
    next_seq: u64,
}

impl Model {
    fn set(&mut self, owner: u32, deadline: u64) {
        self.cancel(owner);
        self.due.insert((deadline, self.next_seq), owner);
        self.owners.insert(owner, (deadline, self.next_seq));
        self.next_seq += 1;
    }

    fn cancel(&mut self, owner: u32) -> bool {
        self.owners.remove(&owner).is_some_and(|key| self.due.remove(&key).is_some())
    }

    fn pop_due(&mut self, now: u64, seq_end: u64) -> Option<u32> {
        let (&(deadline, seq), &owner) = self.due.first_key_value()?;
        if deadline > now || seq >= seq_end {
            return None;
        }
        self.cancel(owner);
        Some(owner)
    }

    fn check(&self, queue: &Deadlines) {
        let next = self.due.keys().next().map(|&(deadline, _)| deadline);
        assert_eq!(queue.next().is_some(), next.is_some());
        assert!(queue.next() <= next, "next may be early but never late");
        // Exists in tests only.
        #[cfg(test)]
        assert_eq!(queue.len(), self.due.len());
        assert_eq!(queue.next_seq(), self.next_seq);
    }
}

/// Applies the operations to both. Panics where they differ.
pub fn run(operations: &[Operation]) {
    let (mut queue, mut model) = (Deadlines::default(), Model::default());
    for operation in operations {
        apply(operation, &mut queue, &mut model);
        queue.verify();
        model.check(&queue);
    }
    while let Some(owner) = model.pop_due(u64::MAX, u64::MAX) {
        assert_eq!(queue.pop_due(u64::MAX, u64::MAX), Some(owner));
    }
    assert_eq!(queue.pop_due(u64::MAX, u64::MAX), None);
    queue.verify();
}

fn apply(operation: &Operation, queue: &mut Deadlines, model: &mut Model) {
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
            let seq_end = model.next_seq.saturating_sub(age);
            assert_eq!(queue.pop_due(now, seq_end), model.pop_due(now, seq_end));
        }
        Operation::Pass { now, again, delay } => {
            let seq_end = queue.next_seq();
            let mut steps = model.due.len();
            loop {
                let popped = queue.pop_due(now, seq_end);
                assert_eq!(popped, model.pop_due(now, seq_end));
                let Some(owner) = popped else { break };
                if owner % again == 0 {
                    queue.set(owner, now.saturating_add(delay));
                    model.set(owner, now.saturating_add(delay));
                }
                queue.verify();
                assert!(steps > 0, "a pass ends, however often owners set themselves again");
                steps -= 1;
            }
        }
        Operation::Burst { first, many, deadline } => {
            for owner in first..first + many {
                queue.set(owner, deadline.saturating_sub(u64::from(owner % 7)));
                model.set(owner, deadline.saturating_sub(u64::from(owner % 7)));
            }
        }
        Operation::CancelAll => {
            // Not in the order of the deadlines, and verified on the way down.
            let owners: Vec<u32> = model.owners.keys().copied().collect();
            for (count, owner) in owners.into_iter().rev().enumerate() {
                assert!(queue.cancel(owner) && model.cancel(owner));
                if count % 97 == 0 {
                    queue.verify();
                }
            }
        }
    }
}
