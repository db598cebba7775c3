//! Requests, and the jobs that complete them. Calls no callback.

use std::panic::Location;

use super::core::{Core, Deferred};
use crate::{
    backend::job::{Done, Job, Submitted},
    error::{Error, Result},
    handle::{
        Handle, Kind, Request,
        request::{RequestState, Stage},
    },
};

impl Core {
    /// Makes a request. Its owner's closing phase waits for it.
    pub(crate) fn request(
        &mut self,
        owner: Option<Handle>,
        kind: Kind,
        op: &'static str,
        started_at: &'static Location<'static>,
    ) -> Request {
        if let Some(slot) = owner.and_then(|owner| self.table.get_mut(owner)) {
            slot.requests += 1;
        }
        self.requests.insert(owner, kind, op, started_at)
    }

    /// Marks a request of the loop itself, whose completion calls no callback.
    pub(crate) fn set_internal(&mut self, request: Request) {
        if let Some(state) = self.requests.get_mut(request) {
            state.internal = true;
        }
    }

    /// Returns whether a request was given to the workers and is not complete.
    pub(crate) fn is_queued(&self, request: Request) -> bool {
        self.requests.get(request).is_some_and(|state| matches!(state.stage, Stage::Queued(_)))
    }

    /// Returns whether a request is not complete, or its callback has not been called.
    pub(crate) fn is_pending(&self, request: Request) -> bool {
        self.requests.get(request).is_some()
    }

    /// Removes a request that is complete, or could not be submitted. Its owner may close then.
    pub(super) fn finish(&mut self, request: Request) -> Option<RequestState> {
        let state = self.requests.remove(request)?;
        if let Some(owner) = state.owner {
            if let Some(slot) = self.table.get_mut(owner) {
                slot.requests -= 1;
            }
            self.close_if_quiet(owner);
        }
        Some(state)
    }

    /// Completes a request. Its callback runs in the next deferred phase.
    pub(crate) fn complete(&mut self, request: Request, result: Result) {
        self.complete_with(request, result.map(|()| None));
    }

    fn complete_with(&mut self, request: Request, result: Result<Option<Job>>) {
        if let Some(state) = self.requests.get_mut(request) {
            state.stage = Stage::Completed;
            self.deferred.push_back(Deferred::Completed(request, result));
        }
    }

    /// Submits the job of a request to the backend.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if a worker is needed and none can be spawned. The request is gone then.
    pub(crate) fn submit(&mut self, request: Request, job: Job) -> Result {
        let token = u64::from(request.index) | (request.serial.get() << 32);
        match self.backend.submit(token, job, self.deferred.len()) {
            Ok(Submitted::Finished(result)) => self.complete_with(request, result.map(Some)),
            Ok(Submitted::Queued(ticket)) => {
                if let Some(state) = self.requests.get_mut(request) {
                    state.stage = Stage::Queued(ticket);
                }
            }
            Err(error) => {
                self.finish(request);
                return Err(Error::system("start a worker thread", error));
            }
        }
        Ok(())
    }

    /// Takes completed jobs from the backend. Their callbacks run in the next deferred phase.
    pub(super) fn reap_completions(&mut self) {
        let Core { backend, requests, deferred, .. } = self;
        backend.drain_completions(|Done { token, result }| {
            if let Some(request) = requests.complete(token as u32, (token >> 32) as u32) {
                deferred.push_back(Deferred::Completed(request, result.map(Some)));
            }
        });
    }

    /// Cancels a request that has not been started.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyStarted`]; [`Error::Closed`] if it is complete; [`Error::WrongLoop`].
    pub(crate) fn cancel(&mut self, request: Request) -> Result {
        let lp = self.lp;
        let Some(state) = self.requests.get_mut(request) else {
            let op = "cancel";
            return Err(if request.lp == lp { Error::Closed { op } } else { Error::WrongLoop { op } });
        };
        let op = state.op;
        match state.stage {
            Stage::Queued(ticket) if self.backend.cancel(ticket) => {
                self.complete(request, Err(Error::Canceled { op }));
                Ok(())
            }
            // It stays listed: to search the list would make many cancellations quadratic. Dispatch checks
            // the mark.
            Stage::Completed if state.kind == Kind::Deferred && !state.canceled => {
                state.canceled = true;
                Ok(())
            }
            _ => Err(Error::AlreadyStarted { op: "cancel" }),
        }
    }
}
