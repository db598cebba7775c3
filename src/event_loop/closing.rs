//! The end of handles: told once, in the closing phase, after everything else about them.

use std::panic::Location;

use super::{
    Loop,
    core::{Core, Deferred},
    dispatch::Answer,
    kinds,
};
use crate::{
    backend::job::Outcome,
    error::Result,
    handle::{Handle, Kind},
};

impl<S> Loop<S> {
    /// Tells the handles that are closed by now, in the order in which they were closed. Those that are
    /// closed in here wait for the next turn.
    pub(crate) fn closing(&mut self, state: &mut S) -> Result {
        let lp = self.core.lp;
        for _ in 0..self.core.closing.len() {
            let Some(&handle) = self.core.closing.front() else { break };
            // Taken out before the call, and the handle only after it: if this is broken off, the next
            // turn finds the handle without a callback, and goes on from there.
            match self.core.table.get(handle).and_then(|slot| kinds::last_words(&slot.body)) {
                Some(words) => self.call_last(state, handle, words)?,
                None => drop(self.take_callback(handle.index)),
            }
            if self.core.lp != lp {
                // The application has exchanged the loop for another inside the callback.
                return Ok(());
            }
            self.core.closing.pop_front();
            self.core.table.remove(handle);
            if let Some(slots) = self.core.table.shrink() {
                self.callbacks.truncate(slots);
                self.callbacks.shrink_to_fit();
            }
            if !self.core.close_waiters.is_empty() {
                self.tell_waiters(state, handle)?;
            }
        }
        Ok(())
    }

    /// Answers those who wait for the end of this handle: now, and first of all if that is broken off.
    fn tell_waiters(&mut self, state: &mut S, handle: Handle) -> Result {
        let lp = self.core.lp;
        let waiters = self.core.close_waiters.remove(&handle).unwrap_or_default();
        let count = waiters.len();
        for waiter in waiters.into_iter().rev() {
            self.core.pending.push_front(Deferred::Answer(waiter, Ok(Outcome::Done)));
        }
        for _ in 0..count {
            if self.core.lp != lp {
                return Ok(());
            }
            if let Some(Deferred::Answer(request, result)) = self.core.pending.pop_front() {
                self.answer(state, request, result)?;
            }
        }
        Ok(())
    }

    pub(crate) fn close_and_tell(
        &mut self,
        handle: Handle,
        started: &'static Location<'static>,
        answer: Answer<S>,
    ) {
        let request = self.core.request(None, Kind::Close, "close", started);
        self.set_completion(request, answer);
        if self.core.table.get(handle).is_some() {
            self.core.close_waiters.entry(handle).or_default().push(request);
            self.core.close(handle);
        } else {
            self.core.answer(request, Ok(Outcome::Done));
        }
    }
}

impl Core {
    /// Panics unless each closing handle without a request is on the list, once.
    pub(crate) fn verify_closing(&self) {
        for (handle, slot) in self.table.iter() {
            let listed = self.closing.iter().filter(|&&other| other == handle).count();
            let expected = slot.flags().closing && slot.requests == 0;
            assert_eq!(listed, usize::from(expected), "a closing handle is told once: {handle:?}");
        }
        assert!(self.closing.iter().all(|&handle| self.table.get(handle).is_some()), "what is told exists");
        assert!(
            self.close_waiters.keys().all(|&handle| self.table.get(handle).is_some()),
            "what is waited for exists"
        );
    }
}
