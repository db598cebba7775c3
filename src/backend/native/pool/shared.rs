//! What the loop and its workers share, and what travels between them.
//!
//! No other file of the pool looks into jobs or their results.

use std::mem;

use super::{
    super::{
        fs::Blocking,
        sync::{AtomicBool, AtomicUsize},
        wake::Notifier,
    },
    completions::CompletionStack,
    job_queue::JobQueue,
    parking::{Parking, WorkerCounts},
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

    pub(super) fn run(&mut self) {
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

/// What the loop and its workers share.
pub(super) struct Shared {
    pub(super) queue: JobQueue<JobSlot>,
    pub(super) counts: WorkerCounts,
    pub(super) parking: Parking,
    pub(super) completions: CompletionStack<JobSlot>,
    pub(super) notifier: Notifier,
    pub(super) closed: AtomicBool,
    pub(super) spins_max: usize,
    pub(super) limit: AtomicUsize,
}
