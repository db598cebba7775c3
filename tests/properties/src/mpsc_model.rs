//! `MpscQueue` against a list, in one thread: which items are queued, which are claimed, who must be
//! notified.

use std::{collections::VecDeque, rc::Rc};

use super::mpsc::{MpscQueue, PushError};

#[derive(Clone, Debug)]
pub enum Operation {
    /// Pushes items one by one, each if fewer than `limit` are queued.
    Push {
        many: u32,
        limit: u64,
    },
    /// Claims the queued items, at most this number.
    Claim {
        most: u64,
    },
    /// Pops items, as far as they are claimed.
    Pop {
        many: u32,
    },
    GoIdle,
    Close,
}

struct World {
    queue: MpscQueue<(u64, Rc<()>)>,
    witness: Rc<()>,
    /// The queued items. The first `claimed` of them are claimed.
    items: VecDeque<u64>,
    claimed: u64,
    pushed: u64,
    idle: bool,
    closed: bool,
}

impl World {
    fn is_full(&self, limit: u64) -> bool {
        self.items.len() as u64 - self.claimed >= limit
    }

    fn push(&mut self, limit: u64) {
        assert_eq!(self.queue.is_full(limit), !self.closed && self.is_full(limit));
        let pushed =
            self.queue.push((self.pushed, self.witness.clone()), limit).map_err(|error| match error {
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

    fn claim(&mut self, most: u64) {
        let claimed = most.min(self.items.len() as u64).max(self.claimed);
        assert_eq!(self.queue.claim(most), claimed - self.claimed);
        self.claimed = claimed;
    }

    fn pop(&mut self) -> bool {
        if self.claimed == 0 {
            return false;
        }
        // SAFETY: there is one thread.
        let (ready, item) = unsafe { (self.queue.is_ready(), self.queue.pop()) };
        assert!(ready);
        assert_eq!(item.map(|(item, _)| item), self.items.pop_front());
        self.claimed -= 1;
        true
    }

    fn go_idle(&mut self) {
        let all_claimed = self.claimed == self.items.len() as u64;
        assert_eq!(self.queue.go_idle(), all_claimed);
        self.idle |= all_claimed;
    }

    fn check(&self) {
        assert_eq!((self.queue.len(), self.queue.claimed_len()), (self.items.len() as u64, self.claimed));
        assert_eq!(Rc::strong_count(&self.witness), 1 + self.items.len(), "each item is dropped once");
    }
}

/// Applies the operations to both. Panics where they differ.
pub fn run(operations: &[Operation]) {
    let mut world = World {
        queue: MpscQueue::new(),
        witness: Rc::new(()),
        items: VecDeque::new(),
        claimed: 0,
        pushed: 0,
        idle: true,
        closed: false,
    };
    for operation in operations {
        match *operation {
            Operation::Push { many, limit } => (0..many).for_each(|_| world.push(limit)),
            Operation::Claim { most } => world.claim(most),
            Operation::Pop { many } => _ = (0..many).all(|_| world.pop()),
            Operation::GoIdle => world.go_idle(),
            Operation::Close => {
                world.queue.close();
                world.closed = true;
            }
        }
        world.check();
    }
    let World { queue, witness, .. } = world;
    drop(queue);
    assert_eq!(Rc::strong_count(&witness), 1, "a dropped queue drops its items once");
}
