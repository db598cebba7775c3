//! The jobs of a machine.

use std::collections::VecDeque;

use crate::{
    backend::job::{Done, Job},
    time::Nanos,
};

/// How long jobs take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JobTiming {
    pub(crate) min: Nanos,
    pub(crate) max: Nanos,
    /// One file operation in so many completes within `submit`, as if the data were in the page cache.
    pub(crate) cached_one_in: u32,
}

impl Default for JobTiming {
    fn default() -> JobTiming {
        JobTiming { min: 20_000, max: 200_000, cached_one_in: 4 }
    }
}

pub(super) struct QueuedJob {
    pub(super) ticket: u64,
    pub(super) token: u64,
    pub(super) job: Job,
}

/// The jobs of one machine.
///
/// 1. At most `workers` are `running`; some are `waiting` only if all workers are busy.
#[derive(Default)]
pub(crate) struct Jobs {
    pub(super) workers: usize,
    pub(super) last_ticket: u64,
    pub(super) waiting: VecDeque<QueuedJob>,
    pub(super) running: Vec<QueuedJob>,
    pub(super) done: Vec<Done>,
    /// A job has completed since the loop last drained its notifications.
    pub(super) has_notifications: bool,
}

impl Jobs {
    /// Drops all jobs. Tickets are not reused, because completions of running jobs are still scheduled.
    pub(super) fn clear(&mut self) {
        *self = Jobs { last_ticket: self.last_ticket, workers: self.workers, ..Jobs::default() };
    }

    pub(super) fn cancel(&mut self, ticket: u64) -> bool {
        let Some(index) = self.waiting.iter().position(|queued| queued.ticket == ticket) else {
            return false;
        };
        self.waiting.remove(index).is_some()
    }
}
