//! The closing phase: delivers the last events of closed handles, and removes them.

use std::panic::Location;

use super::{
    Loop,
    core::{Core, Deferred},
    dispatch::Completion,
};
use crate::{
    error::Result,
    handle::{Handle, Kind},
};

impl<S> Loop<S> {
    /// Delivers the final events of the handles that are closed by now, in closing order. Handles that are
    /// closed meanwhile wait for the next turn.
    pub(super) fn closing(&mut self, state: &mut S) -> Result {
        for _ in 0..self.core.closing.len() {
            let Some(&handle) = self.core.closing.front() else { break };
            // The callback is taken out before the call, the handle after it. If an error interrupts this,
            // the next turn finds the handle without a callback and continues from there.
            match self.core.body(handle).and_then(|body| body.final_event()) {
                Some(event) => self.call_final(state, handle, event)?,
                None => drop(self.take_callback(handle.index)),
            }
            self.core.closing.pop_front();
            self.core.table.remove(handle);
            if let Some(slots) = self.core.table.shrink() {
                self.callbacks.truncate(slots);
                self.callbacks.shrink_to_fit();
            }
            if !self.core.close_waiters.is_empty() {
                self.complete_waiters(state, handle)?;
            }
        }
        Ok(())
    }

    /// Calls what waits for the close of this handle. If an error interrupts this, the rest comes first in
    /// the next deferred phase.
    fn complete_waiters(&mut self, state: &mut S, handle: Handle) -> Result {
        let waiters = self.core.close_waiters.remove(&handle).unwrap_or_default();
        let count = waiters.len();
        for waiter in waiters.into_iter().rev() {
            self.core.deferred.push_front(Deferred::Completed(waiter, Ok(None)));
        }
        for _ in 0..count {
            if let Some(Deferred::Completed(request, result)) = self.core.deferred.pop_front() {
                self.call_completion(state, request, result)?;
            }
        }
        Ok(())
    }

    pub(super) fn close_with(
        &mut self,
        handle: Handle,
        started_at: &'static Location<'static>,
        completion: Completion<S>,
    ) {
        let request = self.core.request(None, Kind::Close, "close", started_at);
        self.set_completion(request, completion);
        if self.core.table.get(handle).is_some() {
            self.core.close_waiters.entry(handle).or_default().push(request);
            self.core.close(handle);
        } else {
            self.core.complete(request, Ok(()));
        }
    }
}

impl Core {
    /// Panics unless each closing handle without a request is listed, once.
    pub(super) fn verify_closing(&self) {
        for (handle, slot) in self.table.iter() {
            let listed = self.closing.iter().filter(|&&other| other == handle).count();
            let expected = slot.flags().closing && slot.requests == 0;
            assert_eq!(listed, usize::from(expected), "a closing handle is listed once: {handle:?}");
        }
        let exists = |handle: &Handle| self.table.get(*handle).is_some();
        assert!(self.closing.iter().all(exists), "a listed handle exists");
        assert!(self.close_waiters.keys().all(exists), "a handle whose close is waited for exists");
    }
}
