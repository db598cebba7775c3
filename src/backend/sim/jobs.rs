//! Workers that are not threads: a job begins when one is free, takes as long as the seed says, and is done then.

use std::collections::VecDeque;

use super::{Happening, Machine, What, World, fs::Disk};
use crate::{
    backend::job::{Done, Job, Submitted},
    error::Error,
    time::Nanos,
};

/// What came of it, for the timeline.
fn error_number<T>(result: &Result<T, Error>) -> i32 {
    match result {
        Ok(_) => 0,
        Err(Error::System { source, .. }) => source.raw_os_error().unwrap_or(-1),
        Err(_) => -1,
    }
}

/// How long jobs take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) least: Nanos,
    pub(crate) most: Nanos,
    /// One in so many is done at once, as what the system has in memory is.
    pub(crate) at_once_one_in: u32,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { least: 20_000, most: 200_000, at_once_one_in: 4 }
    }
}

struct Errand {
    ticket: u64,
    token: u64,
    job: Job,
}

/// The jobs of one machine.
///
/// 1. No more than `workers` are `running`; some wait only if as many are.
#[derive(Default)]
pub(crate) struct Jobs {
    pub(super) workers: usize,
    tickets: u64,
    waiting: VecDeque<Errand>,
    running: Vec<Errand>,
    pub(super) done: Vec<Done>,
    /// Something is done that the loop has not heard of.
    pub(super) has_notifications: bool,
}

impl Jobs {
    /// Who asked is gone. No ticket is given again: the ends of jobs that run may still come.
    pub(super) fn forget_all(&mut self) {
        *self = Jobs { tickets: self.tickets, workers: self.workers, ..Jobs::default() };
    }

    pub(super) fn cancel(&mut self, ticket: u64) -> bool {
        let Some(place) = self.waiting.iter().position(|errand| errand.ticket == ticket) else {
            return false;
        };
        self.waiting.remove(place).is_some()
    }
}

impl World {
    /// Does a job now, as what the system has in memory, or gives it to a worker.
    pub(super) fn submit(&mut self, host: usize, token: u64, job: Job) -> Submitted {
        if !job.is_call() && self.random.one_in(self.jobs.at_once_one_in) {
            let op = job.op();
            let result = self.perform(host, job);
            self.note(host, What::DoneAtOnce(op, error_number(&result)));
            return Submitted::Finished(result);
        }
        let jobs = &mut self.machines[host].jobs;
        jobs.tickets += 1;
        let ticket = jobs.tickets;
        jobs.waiting.push_back(Errand { ticket, token, job });
        self.begin_jobs(host);
        Submitted::Queued(ticket)
    }

    fn perform(&mut self, host: usize, mut job: Job) -> Result<Job, Error> {
        let World { machines, random, now, .. } = self;
        let Machine { files, sockets, descriptors_max, .. } = &mut machines[host];
        let descriptors = descriptors_max.saturating_sub(*sockets);
        job.run(&mut Disk { tree: files, random, now: *now, descriptors }).map(|()| job)
    }

    pub(super) fn set_workers(&mut self, host: usize, limit: usize) {
        self.machines[host].jobs.workers = limit;
        self.begin_jobs(host);
    }

    /// Gives jobs that wait to workers that are free.
    fn begin_jobs(&mut self, host: usize) {
        loop {
            let jobs = &mut self.machines[host].jobs;
            if jobs.running.len() >= jobs.workers.max(1) {
                return;
            }
            let Some(errand) = jobs.waiting.pop_front() else { return };
            let (ticket, op) = (errand.ticket, errand.job.op());
            jobs.running.push(errand);
            let Pace { least, most, .. } = self.jobs;
            let took = least + self.random.below(most.saturating_sub(least) + 1);
            self.note(host, What::JobBegun(ticket, op));
            self.at(self.now + took, Happening::JobDone { host, ticket });
        }
    }

    pub(super) fn finish_job(&mut self, host: usize, ticket: u64) {
        let jobs = &mut self.machines[host].jobs;
        // Not if the machine has crashed since, or its program was killed.
        let Some(place) = jobs.running.iter().position(|errand| errand.ticket == ticket) else { return };
        let Errand { token, job, .. } = jobs.running.swap_remove(place);
        let op = job.op();
        let result = self.perform(host, job);
        self.note(host, What::JobDone(ticket, op, error_number(&result)));
        let jobs = &mut self.machines[host].jobs;
        jobs.done.push(Done { token, result });
        jobs.has_notifications = true;
        self.begin_jobs(host);
    }
}
