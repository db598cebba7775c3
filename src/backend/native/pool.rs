//! The worker threads: run jobs, send their outcomes to the loop.
//!
//! A pool belongs to one loop, so one loop's slow jobs never wait behind another's. Threads are made
//! when there is work and nobody idle, up to the limit, and end with the loop. A job that is running
//! when the loop is dropped is finished, and its outcome dropped.

use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use super::{Mailbox, file};
use crate::{
    backend::job::{Done, Job, Outcome},
    error::Error,
};

/// What the threads share.
///
/// 1. The job with ticket `t` is `jobs[t - first]`; `None` where it was withdrawn.
/// 2. `idle <= threads <= limit`.
struct State {
    jobs: VecDeque<Option<(u64, Job)>>,
    first: u64,
    /// Jobs in `jobs` that were not withdrawn.
    queued: usize,
    idle: usize,
    threads: usize,
    open: bool,
}

struct Shared {
    state: Mutex<State>,
    available: Condvar,
    done: Arc<Mailbox<Done>>,
}

pub(crate) struct Pool {
    shared: Arc<Shared>,
    limit: usize,
}

/// No job runs under this lock, so a poisoned one is sound all the same.
fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    shared.state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    pub(crate) fn new(limit: usize, done: Arc<Mailbox<Done>>) -> Pool {
        let state = State { jobs: VecDeque::new(), first: 0, queued: 0, idle: 0, threads: 0, open: true };
        Pool { shared: Arc::new(Shared { state: Mutex::new(state), available: Condvar::new(), done }), limit }
    }

    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Queues a job. Fails only if no thread can be made and there is none.
    pub(crate) fn submit(&mut self, token: u64, job: Job) -> io::Result<u64> {
        let mut state = lock(&self.shared);
        if state.idle <= state.queued && state.threads < self.limit {
            let shared = self.shared.clone();
            match thread::Builder::new().name("ringback-worker".into()).spawn(move || work(&shared)) {
                Ok(_) => state.threads += 1,
                // Those that are there will come to it.
                Err(_) if state.threads > 0 => {}
                Err(error) => return Err(error),
            }
        }
        let ticket = state.first + state.jobs.len() as u64;
        state.jobs.push_back(Some((token, job)));
        state.queued += 1;
        drop(state);
        self.shared.available.notify_one();
        Ok(ticket)
    }

    /// Takes a job back, if no worker has begun it.
    pub(crate) fn withdraw(&mut self, ticket: u64) -> Option<Job> {
        let mut state = lock(&self.shared);
        let place = usize::try_from(ticket.checked_sub(state.first)?).ok()?;
        let (_, job) = state.jobs.get_mut(place)?.take()?;
        state.queued -= 1;
        // The empty places at the end go now, the others when a worker comes to them.
        while let Some(None) = state.jobs.back() {
            state.jobs.pop_back();
        }
        Some(job)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = lock(&self.shared);
        state.open = false;
        let left = std::mem::take(&mut state.jobs);
        state.queued = 0;
        drop(state);
        self.shared.available.notify_all();
        // The application's closures are dropped outside the lock.
        drop(left);
    }
}

/// A worker's life.
fn work(shared: &Shared) {
    let mut state = lock(shared);
    loop {
        while let Some(place) = state.jobs.pop_front() {
            state.first += 1;
            let Some((token, job)) = place else { continue };
            state.queued -= 1;
            drop(state);
            let result = perform(job);
            // The loop may be gone. Then nobody waits.
            let _ = shared.done.try_send(Done { token, result });
            state = lock(shared);
        }
        if !state.open {
            return;
        }
        state.idle += 1;
        state = shared.available.wait(state).unwrap_or_else(PoisonError::into_inner);
        state.idle -= 1;
    }
}

fn perform(job: Job) -> Result<Outcome, Error> {
    match job {
        // Nothing of ours is seen by the closure, so nothing of ours can be left half done.
        Job::Call(call) => catch_unwind(AssertUnwindSafe(call)).map(Outcome::Value).map_err(|panic| {
            let message = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "a value that is not a string".to_owned());
            Error::Panicked { act: "work", message }
        }),
        other => file::perform(other),
    }
}
