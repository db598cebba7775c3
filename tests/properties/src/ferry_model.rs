//! `Queue` and `Pile` against a list of who is where, in one thread.

use std::{collections::BTreeMap, sync::Arc};

use super::job_queue::{Node, Pile, Queue};

#[derive(Clone, Debug)]
pub enum Operation {
    /// So many jobs go out.
    Push { many: u32 },
    /// So many are taken out; each comes home, or is lost.
    Pop { many: u32, home: bool },
    /// So many are taken back, from one of those that ever went out, each so many after the one before.
    Withdraw { from: u32, step: u32, many: u32 },
    /// The loop looks at what came home, and breaks off after so many.
    Take { most: u32 },
}

type Item = (u32, Arc<()>);

#[derive(Default)]
struct Model {
    /// The tickets of those that are out.
    out: BTreeMap<u32, u64>,
    /// Those of all that were not taken back. A ticket is good for one withdrawal that succeeds.
    tickets: BTreeMap<u32, u64>,
    home: Vec<u32>,
    pushed: u32,
}

struct World {
    queue: Queue<Item>,
    pile: Pile<Item>,
    witness: Arc<()>,
    model: Model,
}

impl World {
    fn push(&mut self) {
        let item = self.model.pushed;
        let ticket = self.queue.push(Node::new((item, self.witness.clone())));
        self.model.out.insert(item, ticket);
        self.model.tickets.insert(item, ticket);
        self.model.pushed += 1;
    }

    fn pop(&mut self, home: bool) {
        let node = self.queue.pop();
        let expected = self.model.out.pop_first().map(|(item, _)| item);
        assert_eq!(node.as_ref().map(|node| node.item.0), expected, "the first in is the first out");
        let (Some(node), true) = (node, home) else { return };
        let item = node.item.0;
        assert_eq!(self.pile.push(node), self.model.home.is_empty(), "the first one says so");
        self.model.home.push(item);
    }

    fn withdraw(&mut self, item: u32) {
        let Some(&ticket) = self.model.tickets.get(&item) else { return };
        let node = self.queue.cancel(ticket);
        let expected = self.model.out.remove(&item).map(|_| item);
        assert_eq!(node.map(|node| node.item.0), expected, "taken back if nobody has taken it out");
        if expected.is_some() {
            assert!(self.queue.cancel(ticket).is_none(), "taken back once");
            self.model.tickets.remove(&item);
        }
    }

    fn take(&mut self, most: usize) {
        let taken: Vec<u32> = self.pile.take().take(most).map(|node| node.item.0).collect();
        let mut expected = std::mem::take(&mut self.model.home);
        expected.truncate(most);
        assert_eq!(taken, expected);
    }

    fn check(&self) {
        let out = self.model.out.len();
        assert!(
            self.queue.len() >= out && (out == 0 || !self.queue.is_empty()),
            "nobody who waits is overlooked"
        );
        let alive = out + self.model.home.len();
        assert_eq!(Arc::strong_count(&self.witness), 1 + alive, "each is dropped once");
    }
}

/// Carries them out on both, and panics where they differ.
pub fn run(operations: &[Operation]) {
    let mut world =
        World { queue: Queue::new(), pile: Pile::new(), witness: Arc::new(()), model: Model::default() };
    for operation in operations {
        match *operation {
            Operation::Push { many } => (0..many).for_each(|_| world.push()),
            Operation::Pop { many, home } => (0..many).for_each(|_| world.pop(home)),
            Operation::Withdraw { from, step, many } => {
                let pushed = world.model.pushed.max(1);
                (0..many).for_each(|n| world.withdraw(from.wrapping_add(step.wrapping_mul(n)) % pushed));
            }
            Operation::Take { most } => world.take(most as usize),
        }
        world.check();
    }
    let World { queue, pile, witness, .. } = world;
    drop((queue, pile));
    assert_eq!(Arc::strong_count(&witness), 1, "what is left is dropped once");
}
