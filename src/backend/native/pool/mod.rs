//! The worker threads: run jobs, send their outcomes to the loop.
//!
//! A pool belongs to one loop, so one loop's slow jobs never wait behind another's. Threads are made
//! when there is work and nobody idle, up to the limit, and end with the loop. A job that is running
//! when the loop is dropped is finished, and its outcome dropped.
//!
//! To wake a thread, or to make one, costs more than a small job, so one at a time is. On its way to the queue, and
//! while it looks into it, it is *searching*; who finds a job, and more behind it, calls the next before beginning his
//! own. So no job waits while a worker sleeps or could be made, and a stream of small jobs calls no more
//! workers than it takes.

mod job_queue;
#[cfg(all(test, loom))]
#[path = "../../../../tests/loom/models/pool.rs"]
mod models;

use std::io;

use self::job_queue::{Node, Pile, Queue};
use super::{
    fs::blocking,
    sync::{
        Arc, AtomicBool, AtomicU64, AtomicUsize, Condvar, Mutex, MutexGuard, Ordering, PoisonError, fence,
        pause, thread,
    },
    wake::Notifier,
};
use crate::{
    backend::job::{self, Done, Job, Outcome},
    error::Error,
};

/// How often a worker that has run out of jobs looks for one before it sleeps, at most and at least: 25 µs, which is
/// what it may take the loop to wake up and ask for the next; and next to nothing.
const LOOKS_MAX: usize = 1000;
const LOOKS_MIN: usize = 8;

/// How many nodes the loop keeps for later jobs.
const SPARE_MAX: usize = 128;

/// As many workers as can be counted.
const WORKERS_MAX: usize = 1 << 20;

/// A job on its way out, or what came of it on its way home.
struct Errand {
    token: u64,
    is_call: bool,
    load: Load,
}

enum Load {
    Job(Job),
    Result(Result<Outcome, Error>),
    Nothing,
}

/// How many workers there are, how many of them sleep, and whether one is searching (never more): in one number,
/// because they change together.
///
/// Whenever a job is queued, and a worker sleeps or one more may be made, one is searching. Three acts could
/// break that, and each looks afterwards whether it did: to queue a job, to stop searching, to lie down.
#[derive(Debug, Default)]
struct Crew(AtomicU64);

const ONE_ASLEEP: u64 = 1;
const ONE_SEARCHING: u64 = 1 << 21;
const ONE_WORKER: u64 = 1 << 42;

fn asleep(crew: u64) -> u64 {
    crew % ONE_SEARCHING
}

fn searching(crew: u64) -> u64 {
    crew % ONE_WORKER / ONE_SEARCHING
}

/// Who shall search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Roused {
    /// Somebody does already, or all have jobs.
    Nobody,
    /// One of those that sleep.
    Sleeper,
    /// One that is to be made.
    Recruit,
}

impl Crew {
    /// If none is searching, one shall: of those that sleep, or one more if there are fewer than `limit`.
    fn rouse(&self, limit: usize) -> Roused {
        let mut roused = Roused::Nobody;
        let _ = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |crew| {
            let recruits = crew / ONE_WORKER < limit as u64;
            let change;
            (roused, change) = match (searching(crew), asleep(crew)) {
                (0, 0) if recruits => (Roused::Recruit, ONE_WORKER + ONE_SEARCHING),
                (0, 1..) => (Roused::Sleeper, ONE_SEARCHING - ONE_ASLEEP),
                _ => (Roused::Nobody, 0),
            };
            (roused != Roused::Nobody).then_some(crew + change)
        });
        roused
    }

    /// The one that was to be made could not be.
    fn dismiss(&self) {
        self.0.fetch_sub(ONE_WORKER + ONE_SEARCHING, Ordering::SeqCst);
    }

    /// Nobody is searching any more.
    fn found(&self) {
        self.0.fetch_sub(ONE_SEARCHING, Ordering::SeqCst);
    }

    /// One that was searching lies down.
    fn lie_down(&self) {
        self.0.fetch_sub(ONE_SEARCHING - ONE_ASLEEP, Ordering::SeqCst);
    }

    /// One that had a job is searching, if nobody else is, or lies down. Says whether it is searching.
    fn search_or_lie_down(&self) -> bool {
        let choose = |crew| Some(crew + if searching(crew) == 0 { ONE_SEARCHING } else { ONE_ASLEEP });
        // Never an error: there is always a choice.
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, choose).is_ok_and(|crew| searching(crew) == 0)
    }

    fn workers(&self) -> u64 {
        self.0.load(Ordering::SeqCst) / ONE_WORKER
    }
}

/// Where workers sleep.
#[derive(Debug)]
struct Beds {
    /// How many were roused and have not got up yet.
    calls: usize,
    open: bool,
}

/// What the threads share.
struct Shared {
    queue: Queue<Errand>,
    crew: Crew,
    beds: Mutex<Beds>,
    called: Condvar,
    done: Pile<Errand>,
    bell: Notifier,
    closed: AtomicBool,
    looks_max: usize,
    limit: AtomicUsize,
}

impl Shared {
    /// No job runs under this lock, so a poisoned one is sound all the same.
    fn beds(&self) -> MutexGuard<'_, Beds> {
        self.beds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is a job: somebody shall come for it. An error means that one more worker could not be made; those
    /// that are there come to it later.
    fn call(shared: &Arc<Shared>) -> io::Result<()> {
        // Whoever stops searching, or lies down, looks into the queue afterwards. Either he sees this job, or
        // this sees him.
        fence(Ordering::SeqCst);
        match shared.crew.rouse(shared.limit.load(Ordering::Relaxed)) {
            Roused::Nobody => Ok(()),
            Roused::Sleeper => {
                shared.wake();
                Ok(())
            }
            Roused::Recruit => Shared::hire(shared),
        }
    }

    fn wake(&self) {
        self.beds().calls += 1;
        self.called.notify_one();
    }

    fn hire(shared: &Arc<Shared>) -> io::Result<()> {
        let theirs = shared.clone();
        let hired = thread::Builder::new().name("ringback-worker".into()).spawn(move || work(&theirs));
        if hired.is_err() {
            shared.crew.dismiss();
            // Somebody may have lain down meanwhile, believing in the recruit.
            if shared.crew.rouse(0) == Roused::Sleeper {
                shared.wake();
            }
        }
        hired.map(drop)
    }

    /// A worker that was searching has found something.
    fn found(shared: &Arc<Shared>) {
        shared.crew.found();
        if !shared.queue.is_empty() {
            let _ = Shared::call(shared);
        }
    }

    /// A worker that has lain down sleeps until it is to search. Says whether it is: not if the loop is gone.
    fn sleep(&self) -> bool {
        fence(Ordering::SeqCst);
        if !self.queue.is_empty() && self.crew.rouse(0) == Roused::Sleeper {
            // Whoever was roused is as good as another: this one, which is up.
            return true;
        }
        let mut beds = self.beds();
        while beds.calls == 0 && beds.open {
            beds = self.called.wait(beds).unwrap_or_else(PoisonError::into_inner);
        }
        beds.calls = beds.calls.saturating_sub(1);
        beds.open
    }

    /// Sends an outcome home.
    fn deliver(&self, node: Box<Node<Errand>>) {
        let first = self.done.push(node);
        if self.closed.load(Ordering::SeqCst) {
            // Nobody waits. What the loop did not see when it looked for the last time is dropped here.
            drop(self.done.take());
        } else if first {
            // Not for each: the loop takes all that is there when it looks.
            self.bell.notify();
        }
    }
}

pub(crate) struct Pool {
    shared: Arc<Shared>,
    // Boxes, because that is what travels.
    #[allow(clippy::vec_box)]
    spare: Vec<Box<Node<Errand>>>,
    /// How many file jobs, and closures of the application, are out: neither done nor taken back.
    files: usize,
    calls: usize,
}

impl Pool {
    /// `bell` rings when there is something for [`drain_completions`](Self::drain_completions).
    pub(crate) fn new(limit: usize, bell: Notifier) -> Pool {
        // With one processor, what a worker that looks waits for cannot happen.
        let alone = thread::available_parallelism().is_ok_and(|processors| processors.get() == 1);
        let shared = Shared {
            queue: Queue::new(),
            crew: Crew::default(),
            beds: Mutex::new(Beds { calls: 0, open: true }),
            called: Condvar::new(),
            done: Pile::new(),
            bell,
            closed: AtomicBool::new(false),
            looks_max: if alone { 0 } else { LOOKS_MAX },
            limit: AtomicUsize::new(limit.min(WORKERS_MAX)),
        };
        Pool { shared: Arc::new(shared), spare: Vec::new(), files: 0, calls: 0 }
    }

    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.shared.limit.store(limit.min(WORKERS_MAX), Ordering::Relaxed);
        if !self.shared.queue.is_empty() {
            // For those that wait already. If none can be made, those that are there will come to them.
            let _ = Shared::call(&self.shared);
        }
    }

    /// Queues a job. Fails only if no thread can be made and there is none.
    pub(crate) fn submit(&mut self, token: u64, job: Job) -> io::Result<u64> {
        let mut node = self
            .spare
            .pop()
            .unwrap_or_else(|| Node::new(Errand { token: 0, is_call: false, load: Load::Nothing }));
        let is_call = matches!(job, Job::Call(_));
        node.item = Errand { token, is_call, load: Load::Job(job) };
        *self.out(is_call) += 1;
        let ticket = self.shared.queue.push(node);
        match Shared::call(&self.shared) {
            Err(error) if self.shared.crew.workers() == 0 => {
                self.cancel(ticket);
                Err(error)
            }
            _ => Ok(ticket),
        }
    }

    /// Takes a job back, if no worker has begun it. Says whether; the job is dropped.
    pub(crate) fn cancel(&mut self, ticket: u64) -> bool {
        let Some(node) = self.shared.queue.cancel(ticket) else { return false };
        *self.out(node.item.is_call) -= 1;
        true
    }

    fn out(&mut self, is_call: bool) -> &mut usize {
        if is_call { &mut self.calls } else { &mut self.files }
    }

    /// How many file jobs are out.
    pub(crate) fn files(&self) -> usize {
        self.files
    }

    /// Whether no closure of the application's, which may take any time, is out.
    pub(crate) fn has_only_files(&self) -> bool {
        self.calls == 0
    }

    /// Takes the jobs that are done.
    pub(crate) fn drain_completions(&mut self, mut each: impl FnMut(Done)) {
        self.shared.bell.acknowledge();
        for mut node in self.shared.done.take() {
            *self.out(node.item.is_call) -= 1;
            if let Load::Result(result) = std::mem::replace(&mut node.item.load, Load::Nothing) {
                each(Done { token: node.item.token, result });
            }
            if self.spare.len() < SPARE_MAX {
                self.spare.push(node);
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let shared = &self.shared;
        shared.bell.close();
        shared.closed.store(true, Ordering::SeqCst);
        shared.beds().open = false;
        shared.called.notify_all();
        // What nobody has begun by now nobody shall. The application's closures are dropped outside the lock.
        while let Some(node) = shared.queue.pop() {
            drop(node);
        }
        drop(shared.done.take());
    }
}

/// A worker's life. It begins searching: whoever made it has said so.
fn work(shared: &Arc<Shared>) {
    let mut patience = Patience { looks: shared.looks_max, in_vain: 0 };
    loop {
        if let Some(node) = patience.look(shared) {
            Shared::found(shared);
            do_all(shared, node);
            // One that looks is enough, and sees a job as soon as a second one would.
            if shared.crew.search_or_lie_down() {
                continue;
            }
        } else {
            shared.crew.lie_down();
        }
        if !shared.sleep() {
            return;
        }
    }
}

/// How long it pays to look for a job. Where the loop is on another processor and soon has the next one, it saves
/// two wakes; where it is on this one, it can have none before this worker sleeps. So it is found out.
struct Patience {
    looks: usize,
    /// How often it has been for nothing since.
    in_vain: usize,
}

impl Patience {
    fn look(&mut self, shared: &Shared) -> Option<Box<Node<Errand>>> {
        for look in 0..self.looks {
            if !shared.queue.is_empty() {
                if look > 0 {
                    self.looks = shared.looks_max.min(self.looks * 2);
                }
                break;
            }
            pause(1);
        }
        let found = shared.queue.pop();
        if found.is_none() {
            self.in_vain += 1;
            self.looks = match self.in_vain % 32 {
                0 => shared.looks_max,
                _ => shared.looks_max.min(LOOKS_MIN.max(self.looks / 2)),
            };
        }
        found
    }
}

/// Does one job after another, while there are any.
fn do_all(shared: &Shared, mut node: Box<Node<Errand>>) {
    loop {
        if let Load::Job(job) = std::mem::replace(&mut node.item.load, Load::Nothing) {
            node.item.load = Load::Result(perform(job));
        }
        shared.deliver(node);
        match shared.queue.pop() {
            Some(next) => node = next,
            None => return,
        }
    }
}

fn perform(job: Job) -> Result<Outcome, Error> {
    match job {
        Job::Call(task) => job::call(task),
        other => blocking::perform(other),
    }
}
