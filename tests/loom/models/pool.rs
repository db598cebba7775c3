//! Models of the pool. A job that waits while a worker is parked, and a worker that never ends, are
//! deadlocks.

use std::{any::Any, cell::Cell, sync::atomic::Ordering};

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

thread_local! {
    /// Jobs that have started and not returned. loom runs all threads of a model on one thread of the system.
    static RUNNING: Cell<u32> = const { Cell::new(0) };
}

/// A closure that returns nothing.
struct Closure<F>(Option<F>);

impl<F: FnOnce() + Send> Task for Closure<F> {
    fn perform(&mut self) {
        RUNNING.set(RUNNING.get() + 1);
        self.0.take().expect("a closure is called once")();
        RUNNING.set(RUNNING.get() - 1);
    }

    fn give(&mut self, _: &mut dyn Any) {}
}

fn job(closure: impl FnOnce() + Send + 'static) -> Job {
    Job::Call(Box::new(Closure(Some(closure))))
}

fn submit(pool: &mut Pool, token: u64, closure: impl FnOnce() + Send + 'static) -> u64 {
    pool.submit(token, job(closure)).expect("there is a worker, or one can be spawned")
}

/// Runs turns until `count` jobs have completed. Returns their tokens, sorted.
fn wait_for(small: &mut SmallLoop, pool: &mut Pool, count: usize) -> Vec<u64> {
    let mut completed = Vec::new();
    while completed.len() < count {
        if !small.turn().is_empty() {
            pool.drain_completions(|job| {
                job.result.expect("no job panics");
                completed.push(job.token);
            });
        }
    }
    completed.sort_unstable();
    completed
}

/// Submits two jobs that wait for each other. They complete only if two workers run them at the same time.
fn submit_two_that_meet(pool: &mut Pool) {
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

/// The loop submits the second job when the worker has just run out of jobs.
#[test]
fn a_job_wakes_a_worker_that_is_about_to_park() {
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
fn two_jobs_spawn_two_workers() {
    explore(2, || {
        let mut small = SmallLoop::new();
        let mut pool = pool(&small, 2);
        submit_two_that_meet(&mut pool);
        assert_eq!(wait_for(&mut small, &mut pool, 2), [0, 1]);
    });
}

/// One worker has just completed a job when two are needed.
#[test]
fn two_jobs_find_a_worker_that_ran_before_and_a_new_one() {
    explore(2, || {
        let mut small = SmallLoop::new();
        let mut pool = pool(&small, 2);
        submit(&mut pool, 7, || ());
        assert_eq!(wait_for(&mut small, &mut pool, 1), [7]);
        submit_two_that_meet(&mut pool);
        assert_eq!(wait_for(&mut small, &mut pool, 2), [0, 1]);
    });
}

#[test]
fn a_job_completes_or_is_cancelled() {
    explore(3, || {
        let dropped = counter();
        let mut small = SmallLoop::new();
        let mut pool = pool(&small, 1);
        let tickets = [0, 1].map(|token| {
            let item = Item::new(0, 0, &dropped);
            submit(&mut pool, token, move || drop(item))
        });
        let is_cancelled = pool.cancel(tickets[1]);
        let completed = wait_for(&mut small, &mut pool, if is_cancelled { 1 } else { 2 });
        assert_eq!(completed.len(), completed.iter().max().map_or(0, |&last| last as usize + 1));
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
        assert!(pool.has_only_files());
    });
}

/// The job that the one worker has started when the pool is dropped completes; the others are dropped.
#[test]
fn a_dropped_pool_finishes_the_running_job_and_starts_no_other() {
    explore(3, || {
        let dropped = counter();
        // Not loom's: reading them is no step of the model.
        let (pool_is_gone, started_late) = (counter(), counter());
        let small = SmallLoop::new();
        let mut pool = pool(&small, 1);
        for token in 0..3 {
            let item = Item::new(0, 0, &dropped);
            let (pool_is_gone, started_late) = (pool_is_gone.clone(), started_late.clone());
            submit(&mut pool, token, move || {
                let before = started_late.fetch_add(pool_is_gone.load(Ordering::Relaxed), Ordering::Relaxed);
                assert_eq!(before, 0, "a second job started after the pool was dropped");
                drop(item);
            });
        }
        drop(pool);
        pool_is_gone.store(1, Ordering::Relaxed);
    });
    // The pool catches panics, and here it discards the results that would show them.
    assert_eq!(RUNNING.get(), 0, "a job panicked");
}

/// A second worker cannot be spawned, so the first runs both jobs.
#[test]
fn jobs_run_on_the_workers_that_could_be_spawned() {
    explore(3, || {
        let mut small = SmallLoop::new();
        let mut pool = pool(&small, 2);
        submit(&mut pool, 0, || ());
        sync::refuse_threads(u32::MAX);
        submit(&mut pool, 1, || ());
        let completed = wait_for(&mut small, &mut pool, 2);
        sync::refuse_threads(0);
        assert_eq!(completed, [0, 1]);
    });
}

#[test]
fn submit_fails_without_a_worker_and_drops_the_job() {
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
