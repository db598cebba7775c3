//! Simulated workers: a job starts when a worker is free, takes a time drawn from the seed, and then runs on
//! the thread of the world.

use super::{
    TraceEvent, World,
    fs::Disk,
    jobs::{JobTiming, QueuedJob},
    world::{Event, Machine},
};
use crate::{
    backend::job::{Done, Job, Submitted},
    error::Error,
};

/// Returns the number of the system's error for the trace: zero for success, -1 for any other error.
fn error_number<T>(result: &Result<T, Error>) -> i32 {
    match result {
        Ok(_) => 0,
        Err(Error::System { source, .. }) => source.raw_os_error().unwrap_or(-1),
        Err(_) => -1,
    }
}

impl World {
    /// Completes a job at once, as if its data were in the page cache, or queues it for a worker.
    pub(super) fn submit(&mut self, host: usize, token: u64, job: Job) -> Submitted {
        if !job.is_call() && self.random.one_in(self.job_timing.cached_one_in) {
            let op = job.op();
            let result = self.perform(host, job);
            self.record(host, TraceEvent::CompletedInline(op, error_number(&result)));
            return Submitted::Finished(result);
        }
        let jobs = &mut self.machines[host].jobs;
        jobs.last_ticket += 1;
        let ticket = jobs.last_ticket;
        jobs.waiting.push_back(QueuedJob { ticket, token, job });
        self.start_jobs(host);
        Submitted::Queued(ticket)
    }

    fn perform(&mut self, host: usize, mut job: Job) -> Result<Job, Error> {
        let World { machines, random, now, .. } = self;
        let Machine { files, sockets, fd_limit, .. } = &mut machines[host];
        let descriptors = fd_limit.saturating_sub(*sockets);
        job.run(&mut Disk { tree: files, random, now: *now, descriptors }).map(|()| job)
    }

    pub(super) fn set_workers(&mut self, host: usize, limit: usize) {
        self.machines[host].jobs.workers = limit;
        self.start_jobs(host);
    }

    /// Moves waiting jobs to free workers.
    fn start_jobs(&mut self, host: usize) {
        loop {
            let jobs = &mut self.machines[host].jobs;
            if jobs.running.len() >= jobs.workers.max(1) {
                return;
            }
            let Some(queued) = jobs.waiting.pop_front() else { return };
            let (ticket, op) = (queued.ticket, queued.job.op());
            jobs.running.push(queued);
            let JobTiming { min, max, .. } = self.job_timing;
            let duration = min + self.random.below(max.saturating_sub(min) + 1);
            self.record(host, TraceEvent::JobStarted(ticket, op));
            self.schedule(self.now + duration, Event::JobDone { host, ticket });
        }
    }

    pub(super) fn complete_job(&mut self, host: usize, ticket: u64) {
        let jobs = &mut self.machines[host].jobs;
        // Gone if the machine has crashed since, or its program was killed.
        let Some(index) = jobs.running.iter().position(|queued| queued.ticket == ticket) else { return };
        let QueuedJob { token, job, .. } = jobs.running.swap_remove(index);
        let op = job.op();
        let result = self.perform(host, job);
        self.record(host, TraceEvent::JobCompleted(ticket, op, error_number(&result)));
        let jobs = &mut self.machines[host].jobs;
        jobs.done.push(Done { token, result });
        jobs.has_notifications = true;
        self.start_jobs(host);
    }
}
