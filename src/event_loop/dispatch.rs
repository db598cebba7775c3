//! The only place that calls a user's callback: take it out, call it, put it back or drop it.
//!
//! No callback runs inside another: only the phases of a turn come here, and a turn does not begin
//! inside a callback. So nothing of the loop is borrowed while the application has it.

use super::{
    Loop,
    inspect::SlowCallback,
    kinds::{self, CallbackArg},
};
use crate::{
    backend::job::Outcome,
    error::{Error, Failure, Result},
    handle::{Callee, Handle, Kind, Request},
};

/// A handle's callback, behind the wrapper that its kind has put around it.
pub(crate) type Callback<S> = Box<dyn Call<S>>;

/// What a call gives back. The error is in a box, for it is large, seldom there, and handed on several times: an answer
/// of one word saves a fifth of a call.
type Called = Result<(), Box<Error>>;

/// What can be called, any number of times, and then once more.
pub(crate) trait Call<S> {
    fn call(&mut self, lp: &mut Loop<S>, state: &mut S, occurrence: CallbackArg<'_>) -> Called;

    /// The same where there is nothing to say but that the time has come.
    fn call_plainly(&mut self, lp: &mut Loop<S>, state: &mut S) -> Called {
        self.call(lp, state, CallbackArg::NoArg)
    }

    /// The last call, which consumes it.
    fn call_last(self: Box<Self>, lp: &mut Loop<S>, state: &mut S, occurrence: CallbackArg<'_>) -> Called;
}

impl<S, F: FnMut(&mut Loop<S>, &mut S, CallbackArg<'_>) -> Result> Call<S> for F {
    fn call(&mut self, lp: &mut Loop<S>, state: &mut S, occurrence: CallbackArg<'_>) -> Called {
        self(lp, state, occurrence).map_err(Box::new)
    }

    fn call_last(
        mut self: Box<Self>,
        lp: &mut Loop<S>,
        state: &mut S,
        occurrence: CallbackArg<'_>,
    ) -> Called {
        self(lp, state, occurrence).map_err(Box::new)
    }
}

/// What takes no occurrence.
struct Plain<F>(F);

impl<S, F: FnMut(&mut Loop<S>, &mut S) -> Result> Call<S> for Plain<F> {
    fn call(&mut self, lp: &mut Loop<S>, state: &mut S, _: CallbackArg<'_>) -> Called {
        (self.0)(lp, state).map_err(Box::new)
    }

    fn call_plainly(&mut self, lp: &mut Loop<S>, state: &mut S) -> Called {
        (self.0)(lp, state).map_err(Box::new)
    }

    fn call_last(mut self: Box<Self>, lp: &mut Loop<S>, state: &mut S, _: CallbackArg<'_>) -> Called {
        (self.0)(lp, state).map_err(Box::new)
    }
}

/// What can be called once. Not an `Option` in a closure that is called often: ten million timers whose callbacks
/// capture nothing would take a block of the heap each.
struct Once<F>(F);

impl<S, F: FnOnce(&mut Loop<S>, &mut S) -> Result> Call<S> for Once<F> {
    fn call(&mut self, _: &mut Loop<S>, _: &mut S, _: CallbackArg<'_>) -> Called {
        unreachable!("what can be called once is called last")
    }

    fn call_last(self: Box<Self>, lp: &mut Loop<S>, state: &mut S, _: CallbackArg<'_>) -> Called {
        (self.0)(lp, state).map_err(Box::new)
    }
}

/// What a request calls when it is answered.
pub(crate) type Answer<S> = Box<dyn FnOnce(&mut Loop<S>, &mut S, Result<Outcome>) -> Result>;

/// What [`Loop::on_failure`] was given.
pub(crate) type OnFailure<S> = Box<dyn FnMut(&mut Loop<S>, &mut S, Failure) -> Result>;

/// What [`Loop::on_slow`] was given.
pub(crate) type OnSlow<S> = Box<dyn FnMut(&mut Loop<S>, &mut S, SlowCallback) -> Result>;

/// Puts the callback back when the call is over, also by a panic. The handle of one that panicked is
/// closed, as that of one that failed is.
struct Calling<'a, S> {
    lp: &'a mut Loop<S>,
    /// Which loop it was: the application may exchange it for another inside the callback.
    id: u32,
    index: u32,
    /// The slot of whom a panic closes.
    victim: u32,
    callback: Option<Callback<S>>,
}

impl<S> Calling<'_, S> {
    /// No slot is given to another handle before the closing phase, so this is still the handle's own place;
    /// empty, unless it was given another callback.
    #[inline(always)]
    fn put_back(&mut self) {
        if self.lp.core.lp == self.id {
            if let Some(place @ None) = self.lp.callbacks.get_mut(self.index as usize) {
                *place = self.callback.take();
            }
        }
        self.callback = None;
    }
}

/// The callback has panicked.
impl<S> Drop for Calling<'_, S> {
    fn drop(&mut self) {
        self.put_back();
        if self.lp.core.lp == self.id {
            self.lp.close_at(self.victim);
        }
    }
}

impl<S> Loop<S> {
    /// Gives a handle its callback, in place of the one that it had.
    pub(crate) fn set_callback(
        &mut self,
        handle: Handle,
        callback: impl FnMut(&mut Loop<S>, &mut S, CallbackArg<'_>) -> Result + 'static,
    ) {
        self.put_callback(handle, Box::new(callback));
    }

    /// The same with one that is told nothing but that its time has come.
    pub(crate) fn set_callback_no_arg(
        &mut self,
        handle: Handle,
        callback: impl FnMut(&mut Loop<S>, &mut S) -> Result + 'static,
    ) {
        self.put_callback(handle, Box::new(Plain(callback)));
    }

    /// The same with one for [`call_last`](Self::call_last) alone.
    pub(crate) fn set_callback_once(
        &mut self,
        handle: Handle,
        callback: impl FnOnce(&mut Loop<S>, &mut S) -> Result + 'static,
    ) {
        self.put_callback(handle, Box::new(Once(callback)));
    }

    fn put_callback(&mut self, handle: Handle, callback: Callback<S>) {
        let index = handle.index as usize;
        match self.callbacks.get_mut(index) {
            Some(place) => *place = Some(callback),
            None => {
                // As much room as the table has, so that both grow at a time.
                self.callbacks.reserve_exact(self.core.table.capacity().saturating_sub(self.callbacks.len()));
                self.callbacks.resize_with(index, || None);
                self.callbacks.push(Some(callback));
            }
        }
    }

    pub(crate) fn take_callback(&mut self, index: u32) -> Option<Callback<S>> {
        self.callbacks.get_mut(index as usize)?.take()
    }

    pub(crate) fn has_callback(&self, handle: Handle) -> bool {
        self.callbacks.get(handle.index as usize).is_some_and(Option::is_some)
    }

    /// Calls a handle's callback, if it has one. What it returns as an error closes the handle and is
    /// a failure.
    pub(crate) fn call(&mut self, state: &mut S, handle: Handle, occurrence: CallbackArg<'_>) -> Result {
        self.call_at(state, handle.index, |callback, lp, state| callback.call(lp, state, occurrence))
    }

    /// The same for the handle in a slot, with nothing to say: hooks are known by their slot, and called too often
    /// to look them up.
    #[inline(always)]
    pub(crate) fn call_plainly(&mut self, state: &mut S, index: u32) -> Result {
        self.call_at(state, index, |callback, lp, state| callback.call_plainly(lp, state))
    }

    #[inline(always)]
    fn call_at(
        &mut self,
        state: &mut S,
        index: u32,
        how: impl FnOnce(&mut dyn Call<S>, &mut Loop<S>, &mut S) -> Called,
    ) -> Result {
        match self.call_out(state, index, index, how) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => self.fail_at(state, index, *error),
            Err(error) => Err(*error),
        }
    }

    #[cold]
    fn fail_at(&mut self, state: &mut S, index: u32, error: Error) -> Result {
        match self.core.table.at(index) {
            Some(handle) => self.fail(state, handle, error),
            // Only if the application has exchanged the loop for another inside the callback.
            None => self.fail_as(state, Callee::UNKNOWN, error),
        }
    }

    /// The same, but a panic closes `victim`, and what the callback returned is given back.
    pub(crate) fn call_for(
        &mut self,
        state: &mut S,
        index: u32,
        victim: Handle,
        occurrence: CallbackArg<'_>,
    ) -> Result<Result> {
        let called = self
            .call_out(state, index, victim.index, |callback, lp, state| callback.call(lp, state, occurrence));
        called.map(|result| result.map_err(|error| *error)).map_err(|error| *error)
    }

    /// Takes a callback out, calls it, and puts it back; if there is one. Gives back what it returned.
    #[inline(always)]
    fn call_out(
        &mut self,
        state: &mut S,
        index: u32,
        victim: u32,
        how: impl FnOnce(&mut dyn Call<S>, &mut Loop<S>, &mut S) -> Called,
    ) -> Result<Called, Box<Error>> {
        if self.on_slow.is_some() {
            return self.call_timed(state, index, victim, how);
        }
        let Some(callback) = self.take_callback(index) else { return Ok(Ok(())) };
        Ok(self.call_taken(state, index, victim, callback, how))
    }

    #[inline(always)]
    fn call_taken(
        &mut self,
        state: &mut S,
        index: u32,
        victim: u32,
        callback: Callback<S>,
        how: impl FnOnce(&mut dyn Call<S>, &mut Loop<S>, &mut S) -> Called,
    ) -> Called {
        self.core.note_call_at(index);
        let id = self.core.lp;
        let mut calling = Calling { lp: self, id, index, victim, callback: Some(callback) };
        let result = match &mut calling.callback {
            Some(callback) => how(&mut **callback, calling.lp, state),
            None => Ok(()),
        };
        calling.put_back();
        // There is nothing left to drop, but to find that out would take a third of the whole call.
        std::mem::forget(calling);
        result
    }

    /// The same between two looks at the clock, which are taken only if somebody wants to know.
    #[cold]
    fn call_timed(
        &mut self,
        state: &mut S,
        index: u32,
        victim: u32,
        how: impl FnOnce(&mut dyn Call<S>, &mut Loop<S>, &mut S) -> Called,
    ) -> Result<Called, Box<Error>> {
        let Some(callback) = self.take_callback(index) else { return Ok(Ok(())) };
        let begun = self.core.backend.now();
        let result = self.call_taken(state, index, victim, callback, how);
        let callee = self.core.table.at(index).map_or(Callee::UNKNOWN, |handle| self.callee(handle));
        if let Err(stopped) = self.end_call(state, callee, begun) {
            // The callback's own error is not lost for that of the reporter.
            if let Err(error) = result {
                self.fail_at(state, victim, *error)?;
            }
            return Err(Box::new(stopped));
        }
        Ok(result)
    }

    /// What a handle's wrapper calls the user's callback with once more, before it returns: the same to everybody as
    /// another call, without taking the callback out and putting it back. Not if the callback has closed the handle,
    /// or exchanged the loop; and not if calls are timed, for each has a time of its own.
    #[inline]
    pub(crate) fn call_again<T>(&mut self, handle: Handle, next: impl FnOnce() -> Option<T>) -> Option<T> {
        if self.on_slow.is_some() || !self.is_open(handle) {
            return None;
        }
        let next = next()?;
        self.core.note_call_at(handle.index);
        Some(next)
    }

    fn close_at(&mut self, index: u32) {
        if let Some(handle) = self.core.table.at(index) {
            self.core.close(handle);
        }
    }

    /// Calls a handle's callback for the last time. The handle is closing.
    pub(crate) fn call_last(&mut self, state: &mut S, handle: Handle, occurrence: CallbackArg<'_>) -> Result {
        let Some(callback) = self.take_callback(handle.index) else { return Ok(()) };
        self.core.note_call_at(handle.index);
        let begun = self.begin_call();
        // A panic in here needs nobody to close the handle.
        let result = callback.call_last(self, state, occurrence).map_err(|error| *error);
        if result.is_ok() && begun.is_none() {
            return Ok(());
        }
        let callee = self.callee(handle);
        self.after_last_call(state, callee, begun, result)
    }

    /// Reports what was called for the last time: its error, and that it was slow.
    fn after_last_call(
        &mut self,
        state: &mut S,
        callee: Callee,
        begun: Option<u64>,
        result: Result,
    ) -> Result {
        let reported = begun.map_or(Ok(()), |begun| self.end_call(state, callee, begun));
        if let Err(error) = result {
            if let Some(handle) = callee.handle {
                self.core.close(handle);
            }
            self.fail_as(state, callee, error)?;
        }
        reported
    }

    /// Answers a request: calls what waited for it, once.
    pub(crate) fn answer(&mut self, state: &mut S, request: Request, result: Result<Outcome>) -> Result {
        let Some(pending) = self.core.finish(request) else { return Ok(()) };
        let owner = pending.owner;
        let answer = self.answers.get_mut(request.index as usize).and_then(Option::take);
        if let Some(slots) = self.core.requests.shrink() {
            self.answers.truncate(slots);
            self.answers.shrink_to_fit();
        }
        let Some(answer) = answer else {
            // Nobody asked to be told. What went wrong is told all the same, but for a cancellation.
            return match result {
                Err(error) if !error.is_canceled() => {
                    let callee = Callee { handle: owner, kind: pending.kind, started_at: pending.started_at };
                    self.fail_as(state, callee, error)
                }
                _ => Ok(()),
            };
        };
        if pending.kind == Kind::Deferred && result.is_err() {
            return Ok(());
        }
        let callee = Callee { handle: owner, kind: pending.kind, started_at: pending.started_at };
        self.call_once(state, callee, |lp, state| answer(lp, state, result))?;
        if let Some(owner) = owner {
            kinds::answered(&mut self.core, owner);
        }
        Ok(())
    }

    /// Calls something that is called once. What it returns as an error is a failure.
    pub(crate) fn call_once(
        &mut self,
        state: &mut S,
        callee: Callee,
        callback: impl FnOnce(&mut Loop<S>, &mut S) -> Result,
    ) -> Result {
        struct Once<'a, S>(&'a mut Loop<S>, Option<Handle>);
        impl<S> Drop for Once<'_, S> {
            fn drop(&mut self) {
                if let Some(victim) = self.1 {
                    self.0.core.close(victim);
                }
            }
        }
        self.core.note_call(callee);
        let begun = self.begin_call();
        let result = {
            let mut once = Once(self, callee.handle);
            let result = callback(once.0, state);
            once.1 = None;
            result
        };
        self.after_last_call(state, callee, begun, result)
    }

    /// Closes a handle and reports why.
    pub(crate) fn fail(&mut self, state: &mut S, handle: Handle, error: Error) -> Result {
        let callee = self.callee(handle);
        let name = self.core.table.name(handle).map(str::to_owned);
        self.core.close(handle);
        self.report(state, callee, name, error)
    }

    /// Reports what went wrong, and closes nothing.
    pub(crate) fn fail_as(&mut self, state: &mut S, callee: Callee, error: Error) -> Result {
        let name = callee.handle.and_then(|handle| self.core.table.name(handle)).map(str::to_owned);
        self.report(state, callee, name, error)
    }

    /// Whose callback this handle's is.
    pub(crate) fn callee(&self, handle: Handle) -> Callee {
        match self.core.table.get(handle) {
            Some(slot) => {
                Callee { handle: Some(handle), kind: slot.body.kind(), started_at: slot.started_at }
            }
            // Only if the application has exchanged the loop for another inside the callback.
            None => Callee::UNKNOWN,
        }
    }

    /// Gives a failure to `on_failure`; with none set, `run` ends with it.
    fn report(&mut self, state: &mut S, callee: Callee, name: Option<String>, error: Error) -> Result {
        let failure = Failure { origin: callee.named(name), error };
        let Some(on_failure) = self.on_failure.take() else { return Err(failure.into()) };
        struct Reporting<'a, S>(&'a mut Loop<S>, Option<OnFailure<S>>);
        impl<S> Drop for Reporting<'_, S> {
            fn drop(&mut self) {
                if self.0.on_failure.is_none() {
                    self.0.on_failure = self.1.take();
                }
            }
        }
        self.core.note_call(callee);
        let mut reporting = Reporting(self, Some(on_failure));
        match &mut reporting.1 {
            Some(on_failure) => on_failure(reporting.0, state, failure),
            None => Ok(()),
        }
    }

    fn begin_call(&self) -> Option<u64> {
        // The clock is read around each callback only if somebody wants to know.
        self.on_slow.as_ref().map(|_| self.core.backend.now())
    }

    fn end_call(&mut self, state: &mut S, callee: Callee, begun: u64) -> Result {
        let took = self.core.backend.now().saturating_sub(begun);
        let Some((limit, _)) = &self.on_slow else { return Ok(()) };
        if took < *limit {
            return Ok(());
        }
        let Some((limit, mut on_slow)) = self.on_slow.take() else { return Ok(()) };
        let slow = SlowCallback {
            origin: callee
                .named(callee.handle.and_then(|handle| self.core.table.name(handle)).map(str::to_owned)),
            took: std::time::Duration::from_nanos(took),
        };
        // A panic in here loses the reporter, and nothing else.
        let result = on_slow(self, state, slow);
        if self.on_slow.is_none() {
            self.on_slow = Some((limit, on_slow));
        }
        result
    }
}
