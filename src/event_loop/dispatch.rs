//! The only place that calls a user's callback: take it out, call it, put it back or drop it.
//!
//! No callback runs inside another: only the phases of a turn come here, and a turn does not begin inside a
//! callback. So nothing of the loop is borrowed while the application has it.
//!
//! There are three ways: [`Loop::call`] for a handle's callback, [`Loop::call_final`] for its last call, and
//! [`Loop::call_once`] for closures that are not a handle's.

use std::{mem, time::Duration};

use super::{
    Loop,
    inspect::SlowCallback,
    kinds::{self, CallbackArg},
};
use crate::{
    backend::job::Job,
    error::{Error, Failure, Result},
    handle::{Callee, Handle, Request},
    time::Nanos,
};

/// A handle's callback, behind the wrapper that its kind has put around it.
pub(super) type Callback<S> = Box<dyn Call<S>>;

/// What a call returns. The error is boxed, because it is large, rare, and passed through several functions.
/// A result of one word saves a fifth of a call.
type CallResult = Result<(), Box<Error>>;

/// What can be called any number of times, and then a last time.
pub(super) trait Call<S> {
    fn call(&mut self, lp: &mut Loop<S>, state: &mut S, arg: CallbackArg<'_>) -> CallResult;

    /// Calls it with [`CallbackArg::NoArg`].
    fn call_no_arg(&mut self, lp: &mut Loop<S>, state: &mut S) -> CallResult {
        self.call(lp, state, CallbackArg::NoArg)
    }

    /// The last call, which consumes it.
    fn call_final(self: Box<Self>, lp: &mut Loop<S>, state: &mut S, arg: CallbackArg<'_>) -> CallResult;
}

impl<S, F: FnMut(&mut Loop<S>, &mut S, CallbackArg<'_>) -> Result> Call<S> for F {
    fn call(&mut self, lp: &mut Loop<S>, state: &mut S, arg: CallbackArg<'_>) -> CallResult {
        self(lp, state, arg).map_err(Box::new)
    }

    fn call_final(mut self: Box<Self>, lp: &mut Loop<S>, state: &mut S, arg: CallbackArg<'_>) -> CallResult {
        self(lp, state, arg).map_err(Box::new)
    }
}

/// A callback without an argument.
struct NoArg<F>(F);

impl<S, F: FnMut(&mut Loop<S>, &mut S) -> Result> Call<S> for NoArg<F> {
    fn call(&mut self, lp: &mut Loop<S>, state: &mut S, _: CallbackArg<'_>) -> CallResult {
        (self.0)(lp, state).map_err(Box::new)
    }

    fn call_no_arg(&mut self, lp: &mut Loop<S>, state: &mut S) -> CallResult {
        (self.0)(lp, state).map_err(Box::new)
    }

    fn call_final(mut self: Box<Self>, lp: &mut Loop<S>, state: &mut S, _: CallbackArg<'_>) -> CallResult {
        (self.0)(lp, state).map_err(Box::new)
    }
}

/// A callback that can be called once. Not an `Option` within an `FnMut`: ten million timers whose callbacks
/// capture nothing would take a heap block each.
struct CalledOnce<F>(F);

impl<S, F: FnOnce(&mut Loop<S>, &mut S) -> Result> Call<S> for CalledOnce<F> {
    fn call(&mut self, _: &mut Loop<S>, _: &mut S, _: CallbackArg<'_>) -> CallResult {
        unreachable!("a callback that can be called once gets its final call")
    }

    fn call_final(self: Box<Self>, lp: &mut Loop<S>, state: &mut S, _: CallbackArg<'_>) -> CallResult {
        (self.0)(lp, state).map_err(Box::new)
    }
}

/// What is called when a request is complete. If a job was run for it, that holds the result.
pub(crate) type Completion<S> = Box<dyn FnOnce(&mut Loop<S>, &mut S, Result<Option<Job>>) -> Result>;

/// The handler of [`Loop::on_failure`].
pub(super) type OnFailure<S> = Box<dyn FnMut(&mut Loop<S>, &mut S, Failure) -> Result>;

/// The handler of [`Loop::on_slow`].
pub(super) type OnSlow<S> = Box<dyn FnMut(&mut Loop<S>, &mut S, SlowCallback) -> Result>;

/// Puts a callback back after the call, also after a panic. A panic closes a handle, as an error does.
struct CallGuard<'a, S> {
    lp: &'a mut Loop<S>,
    /// The loop's id. The application may exchange the loop for another one inside the callback.
    id: u32,
    index: u32,
    /// The slot of the handle that a panic closes.
    close_on_panic: u32,
    callback: Option<Callback<S>>,
}

impl<S> CallGuard<'_, S> {
    /// A slot is reused only after the closing phase, so it is still the handle's own. It is empty unless the
    /// handle got another callback.
    #[inline(always)]
    fn put_back(&mut self) {
        if let Some(slot @ None) = self.lp.callbacks.get_mut(self.index as usize) {
            *slot = self.callback.take();
        }
        self.callback = None;
    }
}

/// Runs if the callback has panicked, or the loop was exchanged.
impl<S> Drop for CallGuard<'_, S> {
    #[cold]
    fn drop(&mut self) {
        if self.lp.core.lp == self.id {
            self.put_back();
            self.lp.close_slot(self.close_on_panic);
        }
    }
}

/// The application has exchanged this loop for another one, inside a callback. What was left of this turn
/// belongs to the loop that is gone.
#[cold]
fn exchanged() -> Error {
    Error::invalid("run", "the loop was exchanged for another one inside a callback")
}

#[cold]
fn exchanged_boxed() -> Box<Error> {
    Box::new(exchanged())
}

// ---- setting callbacks

impl<S> Loop<S> {
    /// Sets the callback of a handle, in place of the one that it had.
    pub(crate) fn set_callback(
        &mut self,
        handle: Handle,
        callback: impl FnMut(&mut Loop<S>, &mut S, CallbackArg<'_>) -> Result + 'static,
    ) {
        self.put_callback(handle, Box::new(callback));
    }

    /// Sets a callback that takes no argument.
    pub(crate) fn set_callback_no_arg(
        &mut self,
        handle: Handle,
        callback: impl FnMut(&mut Loop<S>, &mut S) -> Result + 'static,
    ) {
        self.put_callback(handle, Box::new(NoArg(callback)));
    }

    /// Sets a callback that is called once, by [`call_final`](Self::call_final).
    pub(crate) fn set_callback_once(
        &mut self,
        handle: Handle,
        callback: impl FnOnce(&mut Loop<S>, &mut S) -> Result + 'static,
    ) {
        self.put_callback(handle, Box::new(CalledOnce(callback)));
    }

    fn put_callback(&mut self, handle: Handle, callback: Callback<S>) {
        let index = handle.index as usize;
        match self.callbacks.get_mut(index) {
            Some(slot) => *slot = Some(callback),
            None => {
                // The capacity of the table, so that both grow at the same time.
                self.callbacks.reserve_exact(self.core.table.capacity().saturating_sub(self.callbacks.len()));
                self.callbacks.resize_with(index, || None);
                self.callbacks.push(Some(callback));
            }
        }
    }

    pub(super) fn take_callback(&mut self, index: u32) -> Option<Callback<S>> {
        self.callbacks.get_mut(index as usize)?.take()
    }

    pub(crate) fn has_callback(&self, handle: Handle) -> bool {
        self.callbacks.get(handle.index as usize).is_some_and(Option::is_some)
    }

    /// Sets what is called when a request is complete.
    pub(crate) fn set_completion(&mut self, request: Request, completion: Completion<S>) {
        let index = request.index as usize;
        if index >= self.completions.len() {
            self.completions.resize_with(index + 1, || None);
        }
        self.completions[index] = Some(completion);
    }
}

// ---- calling

impl<S> Loop<S> {
    /// Calls a handle's callback, if it has one. An error that it returns closes the handle and is a failure.
    pub(crate) fn call(&mut self, state: &mut S, handle: Handle, arg: CallbackArg<'_>) -> Result {
        self.call_at(state, handle.index, handle.index, |callback, lp, state| callback.call(lp, state, arg))
    }

    /// Calls the callback of the handle in a slot, without an argument. By slot, because hooks are called too
    /// often for a lookup.
    #[inline(always)]
    pub(crate) fn call_no_arg(&mut self, state: &mut S, index: u32) -> Result {
        self.call_at(state, index, index, |callback, lp, state| callback.call_no_arg(lp, state))
    }

    /// Calls a handle's callback on behalf of another handle, which an error or a panic closes.
    pub(crate) fn call_for(
        &mut self,
        state: &mut S,
        handle: Handle,
        other: Handle,
        arg: CallbackArg<'_>,
    ) -> Result {
        self.call_at(state, handle.index, other.index, |callback, lp, state| callback.call(lp, state, arg))
    }

    #[inline(always)]
    fn call_at(
        &mut self,
        state: &mut S,
        index: u32,
        close_on_error: u32,
        how: impl FnOnce(&mut dyn Call<S>, &mut Loop<S>, &mut S) -> CallResult,
    ) -> Result {
        if self.on_slow.is_some() {
            return self.call_timed(state, index, close_on_error, how);
        }
        let Some(callback) = self.take_callback(index) else { return Ok(()) };
        let id = self.core.lp;
        match self.invoke(state, index, close_on_error, callback, how) {
            Ok(()) => Ok(()),
            Err(error) => self.call_failed(state, id, close_on_error, *error),
        }
    }

    #[inline(always)]
    fn invoke(
        &mut self,
        state: &mut S,
        index: u32,
        close_on_panic: u32,
        callback: Callback<S>,
        how: impl FnOnce(&mut dyn Call<S>, &mut Loop<S>, &mut S) -> CallResult,
    ) -> CallResult {
        self.core.trace_call_at(index);
        let id = self.core.lp;
        let mut guard = CallGuard { lp: self, id, index, close_on_panic, callback: Some(callback) };
        let result = match &mut guard.callback {
            Some(callback) => how(&mut **callback, guard.lp, state),
            None => Ok(()),
        };
        if guard.lp.core.lp != id {
            drop(guard);
            return Err(exchanged_boxed());
        }
        guard.put_back();
        // Forgotten, not dropped: nothing is left to drop, and the check costs a third of the call.
        mem::forget(guard);
        result
    }

    /// Calls a callback between two readings of the clock. Only if [`Loop::on_slow`] is set.
    #[cold]
    fn call_timed(
        &mut self,
        state: &mut S,
        index: u32,
        close_on_error: u32,
        how: impl FnOnce(&mut dyn Call<S>, &mut Loop<S>, &mut S) -> CallResult,
    ) -> Result {
        let Some(callback) = self.take_callback(index) else { return Ok(()) };
        let callee = self.core.table.at(index).map_or(Callee::UNKNOWN, |handle| self.callee(handle));
        let (id, began) = (self.core.lp, self.core.backend.now());
        let result = self.invoke(state, index, close_on_error, callback, how);
        let reported = if self.core.lp == id { self.report_if_slow(state, callee, began) } else { Ok(()) };
        // An error of the callback takes precedence over one of the reporter.
        if let Err(error) = result {
            self.call_failed(state, id, close_on_error, *error)?;
        }
        reported
    }

    #[cold]
    fn call_failed(&mut self, state: &mut S, id: u32, index: u32, error: Error) -> Result {
        match self.core.table.at(index) {
            Some(handle) if self.core.lp == id => self.fail(state, handle, error),
            _ => Err(error),
        }
    }

    /// Returns the next item, with which a handle's wrapper calls the user's callback again before it
    /// returns.
    ///
    /// To the user that is one more call, without the cost of taking the callback out and putting it back.
    /// Returns `None` if the callback has closed the handle or exchanged the loop. Also if calls are timed,
    /// because each is timed by itself.
    #[inline]
    pub(crate) fn call_repeat<T>(&mut self, handle: Handle, next: impl FnOnce() -> Option<T>) -> Option<T> {
        if self.on_slow.is_some() || !self.is_open(handle) {
            return None;
        }
        let next = next()?;
        self.core.trace_call_at(handle.index);
        Some(next)
    }

    /// Calls a handle's callback for the last time. The handle is closing.
    pub(crate) fn call_final(&mut self, state: &mut S, handle: Handle, arg: CallbackArg<'_>) -> Result {
        let Some(callback) = self.take_callback(handle.index) else { return Ok(()) };
        self.core.trace_call_at(handle.index);
        let (id, began) = (self.core.lp, self.begin_call());
        // A panic in here need not close the handle: it is closing.
        let result = callback.call_final(self, state, arg).map_err(|error| *error);
        if result.is_ok() && began.is_none() && self.core.lp == id {
            return Ok(());
        }
        self.after_last_call(state, id, self.callee(handle), began, result)
    }

    /// Calls a closure that is called once. An error that it returns is a failure, and closes the callee's
    /// handle, if any.
    pub(super) fn call_once(
        &mut self,
        state: &mut S,
        callee: Callee,
        callback: impl FnOnce(&mut Loop<S>, &mut S) -> Result,
    ) -> Result {
        /// Closes the handle if the callback panics.
        struct OnceGuard<'a, S>(&'a mut Loop<S>, u32, Option<Handle>);
        impl<S> Drop for OnceGuard<'_, S> {
            fn drop(&mut self) {
                if let Some(handle) = self.2.filter(|_| self.0.core.lp == self.1) {
                    self.0.core.close(handle);
                }
            }
        }
        self.core.trace_call(callee);
        let (id, began) = (self.core.lp, self.begin_call());
        let result = {
            let mut guard = OnceGuard(self, id, callee.handle);
            let result = callback(guard.0, state);
            guard.2 = None;
            result
        };
        self.after_last_call(state, id, callee, began, result)
    }

    /// Reports the error of a last call, and whether it was slow.
    fn after_last_call(
        &mut self,
        state: &mut S,
        id: u32,
        callee: Callee,
        began: Option<Nanos>,
        result: Result,
    ) -> Result {
        if self.core.lp != id {
            return Err(result.err().unwrap_or_else(exchanged));
        }
        let reported = began.map_or(Ok(()), |began| self.report_if_slow(state, callee, began));
        if let Err(error) = result {
            if let Some(handle) = callee.handle {
                self.core.close(handle);
            }
            self.fail_as(state, callee, error)?;
        }
        reported
    }

    /// Calls the completion of a request, once.
    pub(super) fn call_completion(
        &mut self,
        state: &mut S,
        request: Request,
        result: Result<Option<Job>>,
    ) -> Result {
        let Some(finished) = self.core.finish(request) else { return Ok(()) };
        let completion = self.completions.get_mut(request.index as usize).and_then(Option::take);
        if let Some(slots) = self.core.requests.shrink() {
            self.completions.truncate(slots);
            self.completions.shrink_to_fit();
        }
        if finished.canceled {
            return Ok(());
        }
        let callee = Callee { handle: finished.owner, kind: finished.kind, started_at: finished.started_at };
        let Some(completion) = completion else {
            // It has no callback. An error is reported all the same, except a cancellation.
            return match result {
                Err(error) if !error.is_canceled() => self.fail_as(state, callee, error),
                _ => Ok(()),
            };
        };
        self.call_once(state, callee, |lp, state| completion(lp, state, result))?;
        if let Some(owner) = finished.owner {
            kinds::on_request_done(&mut self.core, owner);
        }
        Ok(())
    }

    fn close_slot(&mut self, index: u32) {
        if let Some(handle) = self.core.table.at(index) {
            self.core.close(handle);
        }
    }
}

// ---- reports

impl<S> Loop<S> {
    /// Closes a handle and reports why.
    pub(crate) fn fail(&mut self, state: &mut S, handle: Handle, error: Error) -> Result {
        let callee = self.callee(handle);
        let name = self.core.name(handle).map(str::to_owned);
        self.core.close(handle);
        self.report(state, callee, name, error)
    }

    /// Reports an error, and closes nothing.
    pub(crate) fn fail_as(&mut self, state: &mut S, callee: Callee, error: Error) -> Result {
        let name = self.name_of(callee);
        self.report(state, callee, name, error)
    }

    /// Returns the handle as a callee, for reports.
    pub(crate) fn callee(&self, handle: Handle) -> Callee {
        self.core.table.get(handle).map_or(Callee::UNKNOWN, |slot| Callee {
            handle: Some(handle),
            kind: slot.body.kind(),
            started_at: slot.started_at,
        })
    }

    fn name_of(&self, callee: Callee) -> Option<String> {
        callee.handle.and_then(|handle| self.core.name(handle)).map(str::to_owned)
    }

    /// Passes a failure to `on_failure`. Without a handler, `run` ends with it.
    fn report(&mut self, state: &mut S, callee: Callee, name: Option<String>, error: Error) -> Result {
        let failure = Failure { origin: callee.named(name), error };
        let Some(on_failure) = self.on_failure.take() else { return Err(failure.into()) };
        /// Puts the handler back after the call, also after a panic.
        struct ReportGuard<'a, S>(&'a mut Loop<S>, u32, Option<OnFailure<S>>);
        impl<S> Drop for ReportGuard<'_, S> {
            fn drop(&mut self) {
                if self.0.on_failure.is_none() && self.0.core.lp == self.1 {
                    self.0.on_failure = self.2.take();
                }
            }
        }
        self.core.trace_call(callee);
        let id = self.core.lp;
        let mut guard = ReportGuard(self, id, Some(on_failure));
        let result = match &mut guard.2 {
            Some(on_failure) => on_failure(guard.0, state, failure),
            None => Ok(()),
        };
        drop(guard);
        if self.core.lp == id { result } else { Err(exchanged()) }
    }

    /// Returns when the call began, if [`Loop::on_slow`] is set. Otherwise the clock is not read.
    fn begin_call(&self) -> Option<Nanos> {
        self.on_slow.as_ref().map(|_| self.core.backend.now())
    }

    fn report_if_slow(&mut self, state: &mut S, callee: Callee, began: Nanos) -> Result {
        let took = self.core.backend.now().saturating_sub(began);
        if self.on_slow.as_ref().is_none_or(|(limit, _)| took < *limit) {
            return Ok(());
        }
        let Some((limit, mut on_slow)) = self.on_slow.take() else { return Ok(()) };
        let slow =
            SlowCallback { origin: callee.named(self.name_of(callee)), took: Duration::from_nanos(took) };
        let id = self.core.lp;
        // A panic in here loses the reporter, and nothing else.
        let result = on_slow(self, state, slow);
        if self.core.lp != id {
            return Err(exchanged());
        }
        if self.on_slow.is_none() {
            self.on_slow = Some((limit, on_slow));
        }
        result
    }
}
