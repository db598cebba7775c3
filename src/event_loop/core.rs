//! Everything of a loop that calls no callback, and so is not generic over the application's state.

use std::{
    collections::{BTreeMap, VecDeque},
    panic::Location,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use super::{
    kinds::{self, Body},
    metrics::Counters,
};
use crate::{
    backend::{
        Backend, Readiness,
        job::{Done, Job, Outcome, Submitted},
    },
    error::{Error, Result},
    handle::{
        Callee, Handle, Key, Kind, Request,
        request::{Requests, Stage},
        table::{Slot, Table},
    },
    queue::{deadlines::Deadlines, rounds::Rounds, send_queue::BufferPool},
    signal,
    time::{Nanos, nanos},
};

static LOOPS: AtomicU32 = AtomicU32::new(0);

/// Something that waits for the next deferred phase.
#[derive(Debug)]
pub(crate) enum Deferred {
    /// The answer to a request.
    Answer(Request, Result<Outcome>),
    /// A stream has something to tell its callback.
    Stream(Handle),
}

/// A loop, but for its callbacks.
///
/// 1. What is dispatched is kept here until it is, one by one: a phase that is broken off, by an error
///    or a panic, goes on where it stopped. Only `ready` may be dropped: the system says it again.
/// 2. `slot.requests` is the number of requests that have the handle as owner.
/// 3. Each closing handle is in `closing` once it has no request left, and only then.
pub(crate) struct Core {
    pub(crate) lp: u32,
    pub(crate) backend: Backend,
    pub(crate) table: Table<Body>,
    pub(crate) requests: Requests,
    pub(crate) deadlines: Deadlines,
    pub(crate) hooks: [Rounds; 3],
    pub(crate) signals: signal::Watchers,
    /// The loop's time. Read at named points of the turn only.
    pub(crate) now: Nanos,
    pub(crate) pending: VecDeque<Deferred>,
    pub(crate) closing: VecDeque<Handle>,
    /// Who waits for a handle to be closed.
    pub(crate) close_waiters: BTreeMap<Handle, Vec<Request>>,
    pub(crate) ready: Vec<(Key, Readiness)>,
    /// How many of `ready` were dispatched.
    pub(crate) ready_done: usize,
    pub(crate) rung: Vec<Key>,
    /// How many of `rung` were dispatched.
    pub(crate) rung_done: usize,
    pub(crate) delivered: VecDeque<(i32, Handle)>,
    /// Streams with bytes that another handle's callback wrote, to be sent once for all.
    pub(crate) unsent: Vec<Handle>,
    /// The stream whose callback is running: it is flushed when that returns.
    pub(crate) delivering: Option<Handle>,
    pub(crate) stock: BufferPool,
    /// What is read is read into here, and lent to the callback. Empty while it is lent.
    pub(crate) buffer: Vec<u8>,
    pub(crate) buffer_size: usize,
    pub(crate) counters: Counters,
    pub(crate) stopping: bool,
    pub(crate) running: bool,
}

impl Core {
    pub(crate) fn new(backend: Backend, buffer_size: usize) -> Core {
        let lp = LOOPS.fetch_add(1, Ordering::Relaxed);
        let now = backend.now();
        Core {
            lp,
            backend,
            table: Table::new(lp),
            requests: Requests::new(lp),
            deadlines: Deadlines::default(),
            hooks: Default::default(),
            signals: signal::Watchers::default(),
            now,
            pending: VecDeque::new(),
            closing: VecDeque::new(),
            close_waiters: BTreeMap::new(),
            ready: Vec::new(),
            ready_done: 0,
            rung: Vec::new(),
            rung_done: 0,
            delivered: VecDeque::new(),
            unsent: Vec::new(),
            delivering: None,
            stock: BufferPool::default(),
            buffer: Vec::new(),
            buffer_size,
            counters: Counters::default(),
            stopping: false,
            running: false,
        }
    }

    // ---- time

    pub(crate) fn read_clock(&mut self) {
        self.now = self.backend.now();
    }

    /// When something that starts now and takes `delay` is due. Outside of `run` nobody refreshes the
    /// time, so it is read; inside, it is that of the turn. Beyond 584 years is never.
    pub(crate) fn deadline(&mut self, delay: Duration) -> Nanos {
        if !self.running {
            self.read_clock();
        }
        self.now.saturating_add(nanos(delay))
    }

    // ---- handles

    pub(crate) fn insert(&mut self, body: Body, started: &'static Location<'static>) -> Handle {
        self.table.insert_with(started, |_| body)
    }

    /// The slot of an open handle.
    pub(crate) fn require(&mut self, handle: Handle, op: &'static str) -> Result<&mut Slot<Body>> {
        Ok(self.table.require(handle, op)?)
    }

    pub(crate) fn set_active(&mut self, handle: Handle, active: bool) {
        self.table.update(handle, |state| state.active = active);
    }

    /// Closes a handle: what it has of the system goes now, the rest in the closing phase.
    pub(crate) fn close(&mut self, handle: Handle) {
        if self.table.get_open(handle).is_none() {
            return;
        }
        kinds::release(self, handle);
        self.deadlines.cancel(handle.index);
        self.begin_closing(handle);
    }

    /// The same for an open handle that has nothing to release, and no deadline.
    pub(crate) fn begin_closing(&mut self, handle: Handle) {
        self.table.update(handle, |state| {
            state.closing = true;
            state.active = false;
            state.outstanding = false;
        });
        self.close_if_quiet(handle);
    }

    fn close_if_quiet(&mut self, handle: Handle) {
        let Some(slot) = self.table.get(handle) else { return };
        if slot.flags().closing && slot.requests == 0 && kinds::quiesced(self, handle) {
            self.closing.push_back(handle);
        }
    }

    // ---- callbacks

    /// A callback is about to be called.
    #[inline(always)]
    #[cfg_attr(not(feature = "sim"), expect(unused_variables, reason = "only a world keeps a trace"))]
    pub(crate) fn note_call(&mut self, callee: Callee) {
        self.counters.callbacks += 1;
        #[cfg(feature = "sim")]
        self.backend.note_call(callee);
    }

    /// The same for that of the handle in a slot.
    #[inline(always)]
    #[cfg_attr(not(feature = "sim"), expect(unused_variables, reason = "only a world keeps a trace"))]
    pub(crate) fn note_call_at(&mut self, index: u32) {
        self.counters.callbacks += 1;
        #[cfg(feature = "sim")]
        if self.backend.is_simulated() {
            let Some(handle) = self.table.at(index) else { return };
            let Some(slot) = self.table.get(handle) else { return };
            let (kind, started_at) = (slot.body.kind(), slot.started_at);
            self.backend.note_call(Callee { handle: Some(handle), kind, started_at });
        }
    }

    // ---- requests

    /// A request, which its owner's end will wait for.
    pub(crate) fn request(
        &mut self,
        owner: Option<Handle>,
        kind: Kind,
        op: &'static str,
        started: &'static Location<'static>,
    ) -> Request {
        if let Some(slot) = owner.and_then(|owner| self.table.get_mut(owner)) {
            slot.requests += 1;
        }
        self.requests.insert(owner, kind, op, started)
    }

    /// A request is answered, or was never made: its owner waits for one less.
    pub(crate) fn finish(&mut self, request: Request) -> Option<crate::handle::request::RequestState> {
        let pending = self.requests.remove(request)?;
        if let Some(owner) = pending.owner {
            if let Some(slot) = self.table.get_mut(owner) {
                slot.requests -= 1;
            }
            self.close_if_quiet(owner);
        }
        Some(pending)
    }

    /// Queues the answer to a request.
    pub(crate) fn answer(&mut self, request: Request, result: Result<Outcome>) {
        if let Some(pending) = self.requests.get_mut(request) {
            pending.stage = Stage::Completed;
            self.pending.push_back(Deferred::Answer(request, result));
        }
    }

    /// Gives a job to the backend. An error means that the request was not made.
    pub(crate) fn submit(&mut self, request: Request, job: Job) -> Result {
        let token = u64::from(request.index) | (request.serial.get() << 32);
        match self.backend.submit(token, job, self.pending.len()) {
            Ok(Submitted::Finished(result)) => self.answer(request, result),
            Ok(Submitted::Queued(ticket)) => {
                if let Some(pending) = self.requests.get_mut(request) {
                    pending.stage = Stage::Queued(ticket);
                }
            }
            Err(error) => {
                self.finish(request);
                return Err(Error::system("start a worker thread", error));
            }
        }
        Ok(())
    }

    /// Jobs are done: their answers are due in the next deferred phase.
    pub(crate) fn collect_done(&mut self) {
        let Core { backend, requests, pending, .. } = self;
        backend.drain_completions(|Done { token, result }| {
            if let Some(request) = requests.complete(token as u32, (token >> 32) as u32) {
                pending.push_back(Deferred::Answer(request, result));
            }
        });
    }

    pub(crate) fn cancel(&mut self, request: Request) -> Result {
        let lp = self.lp;
        let Some(pending) = self.requests.get_mut(request) else {
            let op = "cancel";
            return Err(if request.lp == lp { Error::Closed { op } } else { Error::WrongLoop { op } });
        };
        let op = pending.op;
        match pending.stage {
            Stage::Queued(ticket) if self.backend.cancel(ticket) => {
                self.answer(request, Err(Error::Canceled { op }));
                Ok(())
            }
            Stage::Completed if pending.kind == Kind::Deferred => {
                // Its answer is queued, but only to run it: take it back.
                let queued = self.pending.iter_mut().find_map(|pending| match pending {
                    Deferred::Answer(other, result) if *other == request => Some(result),
                    _ => None,
                });
                match queued {
                    Some(result) if result.is_ok() => {
                        *result = Err(Error::Canceled { op });
                        Ok(())
                    }
                    _ => Err(Error::AlreadyStarted { op: "cancel" }),
                }
            }
            _ => Err(Error::AlreadyStarted { op: "cancel" }),
        }
    }

    /// Whether anything keeps the loop running, but for those who post from other threads.
    pub(crate) fn is_alive(&self) -> bool {
        self.table.alive() > 0 || self.requests.len() > 0 || !self.pending.is_empty()
    }

    /// Whether something waits that needs no event.
    pub(crate) fn has_work(&self) -> bool {
        !self.pending.is_empty()
            || !self.closing.is_empty()
            || self.rung_done < self.rung.len()
            || self.backend.has_notifications()
            || !self.delivered.is_empty()
            || !self.unsent.is_empty()
            || !self.hooks[crate::hook::Phase::Idle as usize].is_empty()
    }
}

impl Drop for Core {
    /// Those who wait in other threads for room or for an ear must hear that there is none.
    fn drop(&mut self) {
        for (_, slot) in self.table.iter() {
            match &slot.body {
                Body::Wake(state) => state.release(),
                Body::Channel(state) => state.release(),
                _ => {}
            }
        }
    }
}
