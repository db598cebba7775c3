//! Work that would hold up the loop, done by its worker threads.

use std::{any::Any, mem, panic::Location};

use crate::{
    Loop,
    backend::job::{Job, Task},
    error::Result,
    handle::{Kind, Request},
};

/// Runs `job` on a worker thread and calls `callback` with what it returned, on the loop's thread, in
/// the deferred phase after polling.
///
/// Jobs are begun in the order of asking, as many at a time as the loop has
/// [workers](crate::Options::workers). A panic in the job arrives as [`Error::Panicked`]; one that is
/// [cancelled](Request::cancel) before it has begun, as [`Error::Canceled`]. A job in flight holds the
/// loop. An error that the callback returns is a failure without a handle.
///
/// ```
/// use ringback::{Loop, work};
///
/// let mut lp = Loop::new()?;
/// work::run(&mut lp, || (1..=20_u64).product::<u64>(), |_, answer, product| {
///     *answer = product?;
///     Ok(())
/// })?;
/// let mut answer = 0;
/// lp.run(&mut answer)?;
/// assert_eq!(answer, 2_432_902_008_176_640_000);
/// # Ok::<(), ringback::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::System`] if there is no worker thread and none can be started. Then neither closure is
/// called.
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
