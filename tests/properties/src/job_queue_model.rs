//! `JobQueue` and `CompletionStack` against a list of where each job is, in one thread.

use std::{collections::BTreeMap, sync::Arc};

use super::{completions::CompletionStack, job_queue::JobQueue, node::Node};

#[derive(Clone, Debug)]
pub enum Operation {
    /// Pushes this number of jobs.
    Push { many: u32 },
    /// Pops jobs. Each is completed, or dropped.
    Pop { many: u32, complete: bool },
    /// Cancels jobs, pushed at any time: the one of number `from` and every `step`th after it.
    Cancel { from: u32, step: u32, many: u32 },
    /// Drains the completions, and stops after this number.
    Drain { most: u32 },
}

type Job = (u32, Arc<()>);

#[derive(Default)]
struct Model {
    /// The tickets of queued jobs.
    queued: BTreeMap<u32, u64>,
    /// The tickets of all jobs that were not cancelled. A ticket cancels its job once.
    tickets: BTreeMap<u32, u64>,
    completed: Vec<u32>,
    pushed: u32,
}

struct World {
    queue: JobQueue<Job>,
    completions: CompletionStack<Job>,
    witness: Arc<()>,
    model: Model,
}

impl World {
    fn push(&mut self) {
        let job = self.model.pushed;
        let ticket = self.queue.push(Node::new((job, self.witness.clone())));
        self.model.queued.insert(job, ticket);
        self.model.tickets.insert(job, ticket);
        self.model.pushed += 1;
    }

    fn pop(&mut self, complete: bool) {
        let node = self.queue.pop();
        let expected = self.model.queued.pop_first().map(|(job, _)| job);
        assert_eq!(node.as_ref().map(|node| node.item.0), expected, "jobs are popped in order");
        let (Some(node), true) = (node, complete) else { return };
        let job = node.item.0;
        let was_empty = self.model.completed.is_empty();
        assert_eq!(self.completions.push(node), was_empty, "the first push is reported");
        self.model.completed.push(job);
    }

    fn cancel(&mut self, job: u32) {
        let Some(&ticket) = self.model.tickets.get(&job) else { return };
        let node = self.queue.cancel(ticket);
        let expected = self.model.queued.remove(&job).map(|_| job);
        assert_eq!(node.map(|node| node.item.0), expected, "a job is cancelled while it is queued");
        if expected.is_some() {
            assert!(self.queue.cancel(ticket).is_none(), "a job is cancelled once");
            self.model.tickets.remove(&job);
        }
    }

    fn drain(&mut self, most: usize) {
        let drained: Vec<u32> = self.completions.drain().take(most).map(|node| node.item.0).collect();
        let mut expected = std::mem::take(&mut self.model.completed);
        expected.truncate(most);
        assert_eq!(drained, expected);
    }

    fn check(&self) {
        let queued = self.model.queued.len();
        assert!(self.queue.len() >= queued, "no queued job is overlooked");
        assert!(queued == 0 || !self.queue.is_empty(), "no queued job is overlooked");
        let alive = queued + self.model.completed.len();
        assert_eq!(Arc::strong_count(&self.witness), 1 + alive, "each job is dropped once");
    }
}

/// Applies the operations to both. Panics where they differ.
pub fn run(operations: &[Operation]) {
    let mut world = World {
        queue: JobQueue::new(),
        completions: CompletionStack::new(),
        witness: Arc::new(()),
        model: Model::default(),
    };
    for operation in operations {
        match *operation {
            Operation::Push { many } => (0..many).for_each(|_| world.push()),
            Operation::Pop { many, complete } => (0..many).for_each(|_| world.pop(complete)),
            Operation::Cancel { from, step, many } => {
                let pushed = world.model.pushed.max(1);
                (0..many).for_each(|n| world.cancel(from.wrapping_add(step.wrapping_mul(n)) % pushed));
            }
            Operation::Drain { most } => world.drain(most as usize),
        }
        world.check();
    }
    let World { queue, completions, witness, .. } = world;
    drop((queue, completions));
    assert_eq!(Arc::strong_count(&witness), 1, "dropped queues drop their jobs once");
}
