//! Blocking or long work, run on the loop's worker threads.

use std::{any::Any, mem, panic::Location};

use crate::{
    Loop,
    backend::job::{Job, Task},
    error::Result,
    handle::{Kind, Request},
};

/// Runs `job` on a worker thread, and then `callback` with its result on the loop's thread.
///
/// The callback runs in the deferred phase that follows the poll phase. It gets what the job returned,
/// [`Error::Panicked`](crate::Error::Panicked) if the job panicked, or
/// [`Error::Canceled`](crate::Error::Canceled) if it was [cancelled](Request::cancel) before a worker started
/// it. A running job cannot be cancelled. An error that the callback returns becomes a
/// [`Failure`](crate::Failure) without a handle.
///
/// Jobs start in the order in which they were submitted, as many at a time as the loop has
/// [workers](crate::Options::workers). A job in flight keeps the loop alive. If the loop is dropped, jobs
/// that have not started are dropped with it. A running job finishes, and its result is discarded.
///
/// ```
/// use ringback::{Loop, work};
///
/// let mut lp = Loop::new()?;
/// work::run(&mut lp, || (1..=20_u64).product::<u64>(), |_, product, result| {
///     *product = result?;
///     Ok(())
/// })?;
/// let mut product = 0;
/// lp.run(&mut product)?;
/// assert_eq!(product, 2_432_902_008_176_640_000);
/// # Ok::<(), ringback::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::System`](crate::Error::System) if there is no worker thread and none can be spawned. Neither
/// closure is called then.
#[track_caller]
pub fn run<S, T: Send + 'static>(
    lp: &mut Loop<S>,
    job: impl FnOnce() -> T + Send + 'static,
    callback: impl FnOnce(&mut Loop<S>, &mut S, Result<T>) -> Result + 'static,
) -> Result<Request> {
    let request = lp.core.request(None, Kind::Work, "work", Location::caller());
    lp.core.submit(request, Job::Call(Box::new(Work::Closure(job))))?;
    lp.set_completion(request, Box::new(move |lp, state, result| callback(lp, state, result.map(value))));
    Ok(request)
}

/// The closure, then its value.
enum Work<F, T> {
    Closure(F),
    Value(T),
    /// The closure is running, or has panicked; or the value was taken.
    Empty,
}

impl<T: Send + 'static, F: FnOnce() -> T + Send> Task for Work<F, T> {
    fn run(&mut self) {
        if let Work::Closure(job) = mem::replace(self, Work::Empty) {
            *self = Work::Value(job());
        }
    }

    fn take(&mut self, place: &mut dyn Any) {
        if let Some(place) = place.downcast_mut::<Option<T>>() {
            if let Work::Value(value) = mem::replace(self, Work::Empty) {
                *place = Some(value);
            }
        }
    }
}

fn value<T: 'static>(job: Option<Job>) -> T {
    job.expect("work completes with its job").into_result()
}
