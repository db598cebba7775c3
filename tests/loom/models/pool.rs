//! The workers. A job that waits while a worker sleeps, and a worker that does not end, are deadlocks.

use std::{any::Any, sync::atomic::Ordering};

use loom::sync::{Arc, Condvar, Mutex};

use super::Pool;
use crate::backend::{
    job::{Job, Task},
    native::{
        kit::{Item, SmallLoop, counter, explore},
        sync,
    },
};

fn pool(small: &SmallLoop, limit: usize) -> Pool {
    Pool::new(limit, small.notifier(0))
}

/// A closure that returns nothing.
struct Closure<F>(Option<F>);

impl<F: FnOnce() + Send> Task for Closure<F> {
    fn perform(&mut self) {
        self.0.take().expect("it is called once")();
    }

    fn give(&mut self, _: &mut dyn Any) {}
}

fn job(op: impl FnOnce() + Send + 'static) -> Job {
    Job::Call(Box::new(Closure(Some(op))))
}

fn submit(pool: &mut Pool, token: u64, op: impl FnOnce() + Send + 'static) -> u64 {
    pool.submit(token, job(op)).expect("there is a worker, or can be")
}

/// Sleeps and takes what is done, until so many are.
fn wait_for(small: &mut SmallLoop, pool: &mut Pool, count: usize) -> Vec<u64> {
    let mut done = Vec::new();
    while done.len() < count {
        if !small.turn().is_empty() {
            pool.drain_completions(|job| {
                job.result.expect("no job panics");
                done.push(job.token);
            });
        }
    }
    done.sort_unstable();
    done
}

/// Two jobs that wait for each other: with two workers they are both done, with one never.
fn submit_meeting(pool: &mut Pool) {
    let met = Arc::new((Mutex::new(0), Condvar::new()));
    for token in 0..2 {
        let met = met.clone();
        submit(pool, token, move || {
            let mut count = met.0.lock().expect("no job panics");
            *count += 1;
            met.1.notify_all();
            while *count < 2 {
                count = met.1.wait(count).expect("no job panics");
            }
        });
    }
}

/// The second comes when the worker has just run out of jobs.
#[test]
fn a_job_finds_a_worker_that_lies_down() {
    explore(3, || {
        let dropped = counter();
        let mut small = SmallLoop::new();
        let mut pool = pool(&small, 1);
        for token in 0..2 {
            let item = Item::new(0, 0, &dropped);
            submit(&mut pool, token, move || drop(item));
            assert_eq!(wait_for(&mut small, &mut pool, 1), [token]);
        }
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
    });
}

#[test]
fn two_jobs_find_two_workers() {
    explore(2, || {
        let mut small = SmallLoop::new();
        let mut pool = pool(&small, 2);
        submit_meeting(&mut pool);
        assert_eq!(wait_for(&mut small, &mut pool, 2), [0, 1]);
    });
}

/// One worker has just done something when two are needed.
#[test]
fn jobs_for_two_find_those_that_have_worked() {
    explore(2, || {
        let mut small = SmallLoop::new();
        let mut pool = pool(&small, 2);
        submit(&mut pool, 7, || ());
        assert_eq!(wait_for(&mut small, &mut pool, 1), [7]);
        submit_meeting(&mut pool);
        assert_eq!(wait_for(&mut small, &mut pool, 2), [0, 1]);
    });
}

#[test]
fn a_job_is_done_or_withdrawn() {
    explore(3, || {
        let dropped = counter();
        let mut small = SmallLoop::new();
        let mut pool = pool(&small, 1);
        let tickets = [0, 1].map(|token| {
            let item = Item::new(0, 0, &dropped);
            submit(&mut pool, token, move || drop(item))
        });
        let withdrawn = pool.cancel(tickets[1]);
        let done = wait_for(&mut small, &mut pool, if withdrawn { 1 } else { 2 });
        assert_eq!(done.len(), done.iter().max().map_or(0, |&last| last as usize + 1));
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
        assert!(pool.has_only_files());
    });
}

/// What the one worker has begun when the pool goes is finished; the rest is dropped.
#[test]
fn a_pool_ends_amid_its_work() {
    explore(3, || {
        let dropped = counter();
        // Not the model's: to look is no step.
        let (gone, late) = (counter(), counter());
        let small = SmallLoop::new();
        let mut pool = pool(&small, 1);
        for token in 0..3 {
            let (item, gone, late) = (Item::new(0, 0, &dropped), gone.clone(), late.clone());
            submit(&mut pool, token, move || {
                let begun_late = late.fetch_add(gone.load(Ordering::Relaxed), Ordering::Relaxed);
                assert_eq!(begun_late, 0, "more than one was begun when the pool had gone");
                drop(item);
            });
        }
        drop(pool);
        gone.store(1, Ordering::Relaxed);
    });
}

/// A second worker cannot be made, so the first does both.
#[test]
fn jobs_are_done_by_those_that_could_be_made() {
    explore(3, || {
        let mut small = SmallLoop::new();
        let mut pool = pool(&small, 2);
        submit(&mut pool, 0, || ());
        sync::refuse_threads(u32::MAX);
        submit(&mut pool, 1, || ());
        let done = wait_for(&mut small, &mut pool, 2);
        sync::refuse_threads(0);
        assert_eq!(done, [0, 1]);
    });
}

#[test]
fn a_job_without_workers_is_refused() {
    explore(3, || {
        let dropped = counter();
        let small = SmallLoop::new();
        let mut pool = pool(&small, 1);
        sync::refuse_threads(1);
        let item = Item::new(0, 0, &dropped);
        assert!(pool.submit(0, job(move || drop(item))).is_err());
        assert_eq!(dropped.load(Ordering::Relaxed), 1);
        assert!(pool.has_only_files());
    });
}
