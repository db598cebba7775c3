//! The worker threads: they run jobs and send the results to the loop.
//!
//! A pool belongs to one loop, so jobs of one loop never wait behind another's. Workers are spawned on
//! demand, up to a limit, and end with the loop. A job that is running when the loop is dropped finishes, and
//! its result is discarded.
//!
//! Waking a thread costs more than a small job, so at most one worker is *searching* at a time, as in Go's
//! and tokio's schedulers. A worker that finds a job, and more behind it, wakes the next before it starts. No
//! job waits while a worker is parked or can be spawned, and a stream of small jobs wakes no more workers
//! than it needs.
//!
//! | file | what |
//! |---|---|
//! | `worker` | what a worker does: search, run jobs, park |
//! | `parking` | which workers search or are parked; where they block |
//! | `job_queue`, `completions` | jobs to the workers, results to the loop, without a lock |
//! | `node` | the allocation that carries both, reused |

mod completions;
mod job_queue;
#[cfg(all(test, loom))]
#[path = "../../../../tests/loom/models/pool.rs"]
mod models;
mod node;
mod parking;
mod worker;

use std::io;

use self::{
    completions::CompletionStack,
    job_queue::JobQueue,
    node::Node,
    parking::{Parking, WORKERS_MAX, WorkerCounts},
    worker::JobSlot,
};
use super::{
    sync::{Arc, AtomicBool, AtomicUsize, Ordering, thread},
    tuning::WORKER_SPINS_MAX,
    wake::Notifier,
};
use crate::backend::job::{Done, Job};

/// The most nodes that the loop keeps for later jobs.
const SPARE_NODES_MAX: usize = 128;

/// What the loop and its workers share.
struct Shared {
    queue: JobQueue<JobSlot>,
    counts: WorkerCounts,
    parking: Parking,
    completions: CompletionStack<JobSlot>,
    notifier: Notifier,
    closed: AtomicBool,
    spins_max: usize,
    limit: AtomicUsize,
}

pub(crate) struct Pool {
    shared: Arc<Shared>,
    // Boxes, because the queue and the stack carry boxes.
    #[allow(clippy::vec_box)]
    spare: Vec<Box<Node<JobSlot>>>,
    /// File jobs that are neither completed nor cancelled.
    files_in_flight: usize,
    /// Closures of the application that are neither completed nor cancelled.
    calls_in_flight: usize,
}

impl Pool {
    /// Creates a pool without threads.
    ///
    /// `notifier` notifies the loop when [`drain_completions`](Self::drain_completions) has something to
    /// take.
    pub(crate) fn new(limit: usize, notifier: Notifier) -> Pool {
        // On a single processor spinning is useless: the loop cannot submit a job while a worker spins.
        let one_processor = thread::available_parallelism().is_ok_and(|processors| processors.get() == 1);
        let shared = Shared {
            queue: JobQueue::new(),
            counts: WorkerCounts::default(),
            parking: Parking::new(),
            completions: CompletionStack::new(),
            notifier,
            closed: AtomicBool::new(false),
            spins_max: if one_processor { 0 } else { WORKER_SPINS_MAX },
            limit: AtomicUsize::new(limit.min(WORKERS_MAX)),
        };
        Pool { shared: Arc::new(shared), spare: Vec::new(), files_in_flight: 0, calls_in_flight: 0 }
    }

    /// Changes how many workers there may be. Those that exist stay.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.shared.limit.store(limit.min(WORKERS_MAX), Ordering::Relaxed);
        if !self.shared.queue.is_empty() {
            // For jobs that are queued already. If no worker can be spawned, they wait for those that exist.
            let _ = Shared::notify_worker(&self.shared);
        }
    }

    /// Queues a job. Returns a ticket for [`cancel`](Self::cancel).
    ///
    /// Fails only if there is no worker and none can be spawned.
    pub(crate) fn submit(&mut self, token: u64, job: Job) -> io::Result<u64> {
        let mut node = self.spare.pop().unwrap_or_else(|| Node::new(JobSlot::EMPTY));
        node.item = JobSlot::new(token, job);
        *self.in_flight(node.item.is_call) += 1;
        let ticket = self.shared.queue.push(node);
        match Shared::notify_worker(&self.shared) {
            Err(error) if self.shared.counts.workers() == 0 => {
                self.cancel(ticket);
                Err(error)
            }
            _ => Ok(ticket),
        }
    }

    /// Cancels a job that no worker has started, and drops it. Returns whether it did.
    pub(crate) fn cancel(&mut self, ticket: u64) -> bool {
        let Some(node) = self.shared.queue.cancel(ticket) else { return false };
        *self.in_flight(node.item.is_call) -= 1;
        true
    }

    fn in_flight(&mut self, is_call: bool) -> &mut usize {
        if is_call { &mut self.calls_in_flight } else { &mut self.files_in_flight }
    }

    /// Returns the number of file jobs in flight.
    pub(crate) fn files(&self) -> usize {
        self.files_in_flight
    }

    /// Returns whether no closure of the application, which may take any time, is in flight.
    pub(crate) fn has_only_files(&self) -> bool {
        self.calls_in_flight == 0
    }

    /// Takes the completed jobs, in the order of their completion.
    pub(crate) fn drain_completions(&mut self, mut each: impl FnMut(Done)) {
        // Before the drain, so that a completion pushed after it notifies again.
        self.shared.notifier.acknowledge();
        for mut node in self.shared.completions.drain() {
            *self.in_flight(node.item.is_call) -= 1;
            if let Some(done) = node.item.take_completion() {
                each(done);
            }
            if self.spare.len() < SPARE_NODES_MAX {
                self.spare.push(node);
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let shared = &self.shared;
        shared.notifier.close();
        shared.closed.store(true, Ordering::SeqCst);
        shared.parking.close();
        // Jobs that have not started never will. Each is dropped here, where no lock is held: a closure of
        // the application may do anything when it is dropped.
        while let Some(node) = shared.queue.pop() {
            drop(node);
        }
        drop(shared.completions.drain());
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    use super::{completions::CompletionStack, job_queue::JobQueue, node::Node};

    #[test]
    fn every_item_reaches_one_worker_and_returns_once() {
        const ITEMS: usize = if cfg!(miri) { 300 } else { 50_000 };
        let (queue, completions, is_over) = (JobQueue::new(), CompletionStack::new(), AtomicBool::new(false));
        let mut seen = vec![0_u8; ITEMS];
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        match queue.pop() {
                            Some(node) => _ = completions.push(node),
                            None => thread::yield_now(),
                        }
                    }
                });
            }
            let mut returned = 0;
            for item in 0..ITEMS {
                let ticket = queue.push(Node::new(item));
                let cancelled = (item % 7 == 0).then(|| queue.cancel(ticket)).flatten();
                for node in cancelled.into_iter().chain(completions.drain()) {
                    seen[node.item] += 1;
                    returned += 1;
                }
            }
            while returned < ITEMS {
                for node in completions.drain() {
                    seen[node.item] += 1;
                    returned += 1;
                }
                thread::yield_now();
            }
            is_over.store(true, Ordering::Relaxed);
        });
        assert!(seen.iter().all(|&times| times == 1));
    }
}
