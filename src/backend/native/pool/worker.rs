//! What a worker thread does: search for a job, run jobs while there are any, park.
//!
//! No other file of the pool looks into jobs or their results.

use std::{io, mem};

use super::{
    super::{
        fs::Blocking,
        sync::{Arc, Ordering, fence, pause, thread},
        tuning::{WORKER_MISSES_PER_RETRY, WORKER_SPINS_MIN},
    },
    Shared,
    node::Node,
    parking::Wakeup,
};
use crate::{
    backend::job::{Done, Job},
    error::Error,
};

/// A job on its way to a worker, or its result on the way back.
pub(super) struct JobSlot {
    token: u64,
    /// A closure of the application, which may take any time; otherwise a file job.
    pub(super) is_call: bool,
    state: JobState,
}

enum JobState {
    Queued(Job),
    Completed(Result<Job, Error>),
    /// Running, or consumed.
    Empty,
}

impl JobSlot {
    pub(super) const EMPTY: JobSlot = JobSlot { token: 0, is_call: false, state: JobState::Empty };

    pub(super) fn new(token: u64, job: Job) -> JobSlot {
        JobSlot { token, is_call: job.is_call(), state: JobState::Queued(job) }
    }

    fn run(&mut self) {
        if let JobState::Queued(mut job) = mem::replace(&mut self.state, JobState::Empty) {
            self.state = JobState::Completed(job.run(&mut Blocking).map(|()| job));
        }
    }

    #[inline]
    pub(super) fn take_completion(&mut self) -> Option<Done> {
        match mem::replace(&mut self.state, JobState::Empty) {
            JobState::Completed(result) => Some(Done { token: self.token, result }),
            JobState::Queued(_) | JobState::Empty => None,
        }
    }
}

// Some take `&Arc<Shared>` as an argument: only the standard library's `Arc` can be a receiver, and the
// models of `tests/loom` put another in its place.
impl Shared {
    /// Sees to it that a queued job finds a worker.
    ///
    /// An error means that no worker could be spawned. The job then waits for those that exist.
    pub(super) fn notify_worker(shared: &Arc<Shared>) -> io::Result<()> {
        // A worker that ends its search or parks changes the counts first and then checks the queue. Either
        // it sees this job, or the claim sees its change.
        fence(Ordering::SeqCst);
        match shared.counts.claim_wakeup(shared.limit.load(Ordering::Relaxed)) {
            Wakeup::None => Ok(()),
            Wakeup::Unpark => {
                shared.parking.unpark_one();
                Ok(())
            }
            Wakeup::Spawn => Shared::spawn_worker(shared),
        }
    }

    fn spawn_worker(shared: &Arc<Shared>) -> io::Result<()> {
        let theirs = shared.clone();
        let spawned =
            thread::Builder::new().name("ringback-worker".into()).spawn(move || worker_main(&theirs));
        if spawned.is_err() {
            shared.counts.spawn_failed();
            // Another worker may have parked meanwhile, because this one was counted as searching.
            if shared.counts.claim_wakeup(0) == Wakeup::Unpark {
                shared.parking.unpark_one();
            }
        }
        spawned.map(drop)
    }

    /// The searching worker found a job. If there are more, notifies the next worker.
    fn stop_searching(shared: &Arc<Shared>) {
        shared.counts.stop_searching();
        if !shared.queue.is_empty() {
            let _ = Shared::notify_worker(shared);
        }
    }

    /// Blocks a worker that is counted as parked until it is to search. Returns false if the pool has closed.
    fn wait_for_wakeup(&self) -> bool {
        fence(Ordering::SeqCst);
        if !self.queue.is_empty() && self.counts.claim_wakeup(0) == Wakeup::Unpark {
            // Any parked worker will do, and this one is awake: it consumes the wake-up itself.
            return true;
        }
        self.parking.wait()
    }

    /// Hands a completed job to the loop.
    fn complete(&self, node: Box<Node<JobSlot>>) {
        let was_empty = self.completions.push(node);
        if self.closed.load(Ordering::SeqCst) {
            // The pool is gone. A completion that its last drain missed is dropped here.
            drop(self.completions.drain());
        } else if was_empty {
            // Once for all completions that the loop will find when it drains.
            self.notifier.notify();
        }
    }
}

/// Runs until the pool closes. A new worker searches first: the claim that spawned it has counted it so.
fn worker_main(shared: &Arc<Shared>) {
    let mut budget = SpinBudget { spins: shared.spins_max, misses: 0 };
    loop {
        if let Some(node) = budget.spin_for_job(shared) {
            Shared::stop_searching(shared);
            run_jobs(shared, node);
            // One searching worker is enough: a second would see a job no sooner.
            if shared.counts.search_or_park() {
                continue;
            }
        } else {
            shared.counts.park();
        }
        if !shared.wait_for_wakeup() {
            return;
        }
    }
}

/// Runs one job after another while there are any.
fn run_jobs(shared: &Shared, mut node: Box<Node<JobSlot>>) {
    loop {
        node.item.run();
        shared.complete(node);
        match shared.queue.pop() {
            Some(next) => node = next,
            None => return,
        }
    }
}

/// How long a worker spins for a job before it parks, adapted to whether spinning pays.
///
/// If the loop runs on another processor and submits the next job soon, spinning saves two wake-ups. If the
/// loop needs this processor, it cannot submit before the worker parks. So the budget doubles after a spin
/// that found a job, and halves after one that did not. Now and then the maximum is tried again.
struct SpinBudget {
    spins: usize,
    /// How often spinning found no job.
    misses: usize,
}

impl SpinBudget {
    fn spin_for_job(&mut self, shared: &Shared) -> Option<Box<Node<JobSlot>>> {
        for spin in 0..self.spins {
            if !shared.queue.is_empty() {
                if spin > 0 {
                    self.spins = shared.spins_max.min(self.spins * 2);
                }
                break;
            }
            pause(1);
        }
        let found = shared.queue.pop();
        if found.is_none() {
            self.misses += 1;
            self.spins = match self.misses % WORKER_MISSES_PER_RETRY {
                0 => shared.spins_max,
                _ => shared.spins_max.min(WORKER_SPINS_MIN.max(self.spins / 2)),
            };
        }
        found
    }
}
