//! `MpscQueue` against a list, in one thread: what was put in, what was taken on, who has to be told.

use std::{collections::VecDeque, rc::Rc};

use super::wake::mpsc::{MpscQueue, PushError};

#[derive(Clone, Debug)]
pub enum Operation {
    /// So many, one by one, each if fewer than `limit` are in.
    Push {
        many: u32,
        limit: u64,
    },
    Take {
        most: u64,
    },
    /// So many, if they were taken on.
    Pop {
        many: u32,
    },
    Rest,
    Close,
}

struct World {
    blocks: MpscQueue<(u64, Rc<()>)>,
    witness: Rc<()>,
    /// What is in, and how many of them were taken on.
    items: VecDeque<u64>,
    due: u64,
    pushed: u64,
    idle: bool,
    closed: bool,
}

impl World {
    fn is_full(&self, limit: u64) -> bool {
        self.items.len() as u64 - self.due >= limit
    }

    fn push(&mut self, limit: u64) {
        assert_eq!(self.blocks.is_full(limit), !self.closed && self.is_full(limit));
        let pushed =
            self.blocks.push((self.pushed, self.witness.clone()), limit).map_err(|error| match error {
                PushError::Full((item, _)) => PushError::Full(item),
                PushError::Closed((item, _)) => PushError::Closed(item),
            });
        let expected = match () {
            () if self.closed => Err(PushError::Closed(self.pushed)),
            () if self.is_full(limit) => Err(PushError::Full(self.pushed)),
            () => Ok(std::mem::take(&mut self.idle)),
        };
        assert_eq!(pushed, expected);
        if pushed.is_ok() {
            self.items.push_back(self.pushed);
            self.pushed += 1;
        }
    }

    fn take(&mut self, most: u64) {
        let due = most.min(self.items.len() as u64).max(self.due);
        assert_eq!(self.blocks.claim(most), due - self.due);
        self.due = due;
    }

    fn pop(&mut self) -> bool {
        if self.due == 0 {
            return false;
        }
        // SAFETY: there is one thread.
        let (ready, item) = unsafe { (self.blocks.is_ready(), self.blocks.pop()) };
        assert!(ready);
        assert_eq!(item.map(|(item, _)| item), self.items.pop_front());
        self.due -= 1;
        true
    }

    fn rest(&mut self) {
        let all = self.due == self.items.len() as u64;
        assert_eq!(self.blocks.go_idle(), all);
        self.idle |= all;
    }

    fn check(&self) {
        assert_eq!((self.blocks.len(), self.blocks.claimed_len()), (self.items.len() as u64, self.due));
        assert_eq!(Rc::strong_count(&self.witness), 1 + self.items.len(), "each is dropped once");
    }
}

/// Carries them out on both, and panics where they differ.
pub fn run(operations: &[Operation]) {
    let mut world = World {
        blocks: MpscQueue::new(),
        witness: Rc::new(()),
        items: VecDeque::new(),
        due: 0,
        pushed: 0,
        idle: true,
        closed: false,
    };
    for operation in operations {
        match *operation {
            Operation::Push { many, limit } => (0..many).for_each(|_| world.push(limit)),
            Operation::Take { most } => world.take(most),
            Operation::Pop { many } => _ = (0..many).all(|_| world.pop()),
            Operation::Rest => world.rest(),
            Operation::Close => {
                world.blocks.close();
                world.closed = true;
            }
        }
        world.check();
    }
    let World { blocks, witness, .. } = world;
    drop(blocks);
    assert_eq!(Rc::strong_count(&witness), 1, "what is left is dropped once");
}
