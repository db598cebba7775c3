//! Jobs: what may block. A worker runs them; the loop itself, if they need not block; or a world.
//!
//! A job is a closure. Its result stays where the closure was, so one allocation goes to the worker and back.

use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::files::{FileError, FileSystem};
use crate::error::Error;

/// What may block.
pub(crate) enum Job {
    /// A closure of the application.
    Call(Box<dyn Task>),
    /// An operation on files.
    Files(Box<dyn FileTask>),
}

/// A closure of the application, then its result.
pub(crate) trait Task: Send {
    /// Calls the closure and keeps its result. Called once.
    fn run(&mut self);

    /// Moves the result into `place`, an `Option` of its type.
    fn take(&mut self, place: &mut dyn Any);
}

/// An operation on files, then its result.
pub(crate) trait FileTask: Send {
    /// Returns the name of the operation, for errors and timelines.
    fn op(&self) -> &'static str;

    /// Returns whether it only reads. Then it may be tried with what is in memory first, and run again.
    fn only_reads(&self) -> bool;

    /// Runs the operation and keeps its result.
    fn run(&mut self, fs: &mut dyn FileSystem) -> Result<(), FileError>;

    /// Moves the result into `place`, an `Option` of its type.
    fn take(&mut self, place: &mut dyn Any);
}

impl Job {
    /// Returns the name of the operation.
    pub(crate) fn op(&self) -> &'static str {
        match self {
            Job::Call(_) => "work",
            Job::Files(task) => task.op(),
        }
    }

    /// Returns whether it is a closure of the application, which may take any time.
    pub(crate) fn is_call(&self) -> bool {
        matches!(self, Job::Call(_))
    }

    /// Runs the job, blocking as long as it takes.
    ///
    /// Catches a panic of the application's closure. That cannot reach anything of the loop, so it leaves
    /// nothing of the loop half done.
    pub(crate) fn run(&mut self, fs: &mut dyn FileSystem) -> Result<(), Error> {
        match self {
            Job::Call(task) => catch_unwind(AssertUnwindSafe(|| task.run()))
                .map_err(|panic| Error::Panicked { op: "work", message: panic_message(&*panic) }),
            Job::Files(task) => task.run(fs).map_err(|error| error.named(task.op())),
        }
    }

    /// Runs the job with what `cached` has in memory. Returns `None` if that would block; then another run
    /// continues from there.
    #[cfg_attr(ringback_portable, allow(dead_code))]
    pub(crate) fn try_run(&mut self, cached: &mut dyn FileSystem) -> Option<Result<(), Error>> {
        let Job::Files(task) = self else { return None };
        if !task.only_reads() {
            return None;
        }
        match task.run(cached) {
            Err(error) if error.would_block() => None,
            result => Some(result.map_err(|error| error.named(task.op()))),
        }
    }

    /// Returns the result of a job that has run. The caller knows its type, because it makes the job and its
    /// callback together.
    pub(crate) fn into_result<T: 'static>(mut self) -> T {
        let mut place: Option<T> = None;
        match &mut self {
            Job::Call(task) => task.take(&mut place),
            Job::Files(task) => task.take(&mut place),
        }
        place.expect("a job that is done holds a result of its callback's type")
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Job({})", self.op())
    }
}

/// The message of a panic, if it was a string.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a value that is not a string".to_owned())
}

/// A job that has run, on its way to the loop.
#[derive(Debug)]
pub(crate) struct Done {
    /// The token that it was submitted with.
    pub(crate) token: u64,
    /// The job, which holds its result.
    pub(crate) result: Result<Job, Error>,
}

/// What `submit` did with a job.
pub(crate) enum Submitted {
    /// It ran without blocking.
    Finished(Result<Job, Error>),
    /// It waits for a worker. The ticket cancels it until a worker starts it.
    Queued(u64),
}
