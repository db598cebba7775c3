//! Everything of a loop that calls no callback, and so is not generic over the application's state.
//!
//! Its fields are private to the loop. Kinds use the verbs below.

use std::{
    cell::Cell,
    collections::{BTreeMap, VecDeque},
    panic::Location,
    rc::Rc,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use super::{
    kinds::{self, Body, HandleKind, Shared},
    metrics::Counters,
    turn::Phase,
};
use crate::{
    backend::{Backend, Notifier, Readiness, job::Job},
    error::{Error, Result},
    handle::{Callee, Handle, Key, Request, flags::Flags, request::Requests, table::Table},
    queue::{deadlines::Deadlines, rounds::Rounds},
    time::{Nanos, nanos},
};

static LOOPS: AtomicU32 = AtomicU32::new(0);

/// Something that waits for the next deferred phase.
#[derive(Debug)]
pub(super) enum Deferred {
    /// A request is complete. The job that was done for it, if any, holds its result.
    Completed(Request, Result<Option<Job>>),
    /// A handle asked for it.
    Handle(Handle),
}

/// A loop, except its callbacks.
///
/// 1. Events are kept here until they are dispatched, one by one: a phase that an error or a panic
///    interrupts resumes where it stopped. Only `ready` may be dropped: the system reports it again.
/// 2. `slot.requests` is the number of requests that have the handle as owner.
/// 3. Each closing handle is in `closing` once it has no request left, and only then.
pub(crate) struct Core {
    pub(super) lp: u32,
    pub(super) backend: Backend,
    pub(super) table: Table<Body>,
    pub(super) requests: Requests,
    pub(super) deadlines: Deadlines,
    /// The hooks of each phase.
    pub(super) hooks: [Rounds; 3],
    pub(super) shared: Shared,
    /// The loop's time. Read at named points of the turn only.
    pub(super) now: Nanos,
    pub(super) deferred: VecDeque<Deferred>,
    pub(super) closing: VecDeque<Handle>,
    /// Requests that complete when a handle is closed.
    pub(super) close_waiters: BTreeMap<Handle, Vec<Request>>,
    pub(super) ready: Vec<(Key, Readiness)>,
    /// The number of entries of `ready` that were dispatched.
    pub(super) ready_done: usize,
    /// Keys that were notified, by other threads or by a handle itself.
    pub(super) notified: Vec<Key>,
    /// The number of entries of `notified` that were dispatched.
    pub(super) notified_done: usize,
    /// Handles whose event comes after all others of the poll phase.
    pub(super) last: VecDeque<Handle>,
    /// Handles with something to send. Each is listed once, however often it was written to.
    pub(super) to_flush: Vec<Handle>,
    pub(super) counters: Counters,
    pub(super) stopping: bool,
    /// Shared with the guard of `run`, which the application may separate from its loop by exchanging that.
    pub(super) running: Rc<Cell<bool>>,
}

/// The state of an open handle, and what its kind may use beside it.
pub(crate) struct Parts<'a, K> {
    pub(crate) state: &'a mut K,
    pub(crate) flags: Flags,
    pub(crate) shared: &'a mut Shared,
    pub(crate) backend: &'a mut Backend,
    pub(crate) counters: &'a mut Counters,
    pub(crate) now: Nanos,
}

impl Core {
    pub(super) fn new(backend: Backend, read_buffer: usize) -> Core {
        let lp = LOOPS.fetch_add(1, Ordering::Relaxed);
        let now = backend.now();
        Core {
            lp,
            backend,
            table: Table::new(lp),
            requests: Requests::new(lp),
            deadlines: Deadlines::default(),
            hooks: Default::default(),
            shared: Shared::new(read_buffer),
            now,
            deferred: VecDeque::new(),
            closing: VecDeque::new(),
            close_waiters: BTreeMap::new(),
            ready: Vec::new(),
            ready_done: 0,
            notified: Vec::new(),
            notified_done: 0,
            last: VecDeque::new(),
            to_flush: Vec::new(),
            counters: Counters::default(),
            stopping: false,
            running: Rc::default(),
        }
    }

    // ---- time

    pub(super) fn read_clock(&mut self) {
        self.now = self.backend.now();
    }

    /// Returns the loop's time.
    pub(crate) fn now(&self) -> Nanos {
        self.now
    }

    /// Returns when something that starts now and takes `delay` is due.
    ///
    /// Inside `run` it counts from the turn's time. Outside, no turn updates the time, so the clock is read.
    /// Beyond 584 years is never.
    pub(crate) fn deadline_after(&mut self, delay: Duration) -> Nanos {
        if !self.running.get() {
            self.read_clock();
        }
        self.now.saturating_add(nanos(delay))
    }

    pub(crate) fn set_deadline(&mut self, handle: Handle, deadline: Nanos) {
        self.deadlines.set(handle.index, deadline);
    }

    pub(crate) fn clear_deadline(&mut self, handle: Handle) {
        self.deadlines.cancel(handle.index);
    }

    pub(crate) fn deadline_of(&self, handle: Handle) -> Option<Nanos> {
        self.table.get(handle)?;
        self.deadlines.get(handle.index)
    }

    // ---- handles

    /// Makes a handle of a kind.
    pub(crate) fn insert<K: HandleKind>(
        &mut self,
        state: K,
        started_at: &'static Location<'static>,
    ) -> Handle {
        self.table.insert_with(started_at, |_| state.into_body())
    }

    /// Makes a handle that other threads can notify.
    pub(crate) fn insert_notified<K: HandleKind>(
        &mut self,
        state: impl FnOnce(Handle, Notifier) -> K,
        started_at: &'static Location<'static>,
    ) -> Handle {
        let Core { table, backend, .. } = self;
        table.insert_with(started_at, |handle| state(handle, backend.notifier(handle.key())).into_body())
    }

    /// Returns the state of an open handle, if it is of this kind.
    #[inline(always)]
    pub(crate) fn get<K: HandleKind>(&mut self, handle: Handle) -> Option<&mut K> {
        K::of_mut(&mut self.table.get_open(handle)?.body)
    }

    /// Returns the state of a handle, open or closing, if it is of this kind.
    pub(crate) fn peek<K: HandleKind>(&self, handle: Handle) -> Option<&K> {
        K::of(&self.table.get(handle)?.body)
    }

    /// Returns the state of a handle, open or closing, if it is of this kind.
    pub(crate) fn peek_mut<K: HandleKind>(&mut self, handle: Handle) -> Option<&mut K> {
        K::of_mut(&mut self.table.get_mut(handle)?.body)
    }

    /// Returns the state of an open handle, or an error that names `op`.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], [`Error::WrongLoop`].
    pub(crate) fn require<K: HandleKind>(&mut self, handle: Handle, op: &'static str) -> Result<&mut K> {
        K::of_mut(&mut self.table.require(handle, op)?.body).ok_or(Error::Closed { op })
    }

    /// Returns the state of an open handle, and what its kind may use beside it.
    #[inline(always)]
    pub(crate) fn parts<K: HandleKind>(&mut self, handle: Handle) -> Option<Parts<'_, K>> {
        let Core { table, shared, backend, counters, now, .. } = self;
        let slot = table.get_open(handle)?;
        let flags = slot.flags();
        let state = K::of_mut(&mut slot.body)?;
        Some(Parts { state, flags, shared, backend, counters, now: *now })
    }

    /// Records where an open handle was started, for reports.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], [`Error::WrongLoop`].
    pub(crate) fn set_started_at(
        &mut self,
        handle: Handle,
        op: &'static str,
        started_at: &'static Location<'static>,
    ) -> Result {
        self.table.require(handle, op)?.started_at = started_at;
        Ok(())
    }

    pub(crate) fn started_at(&self, handle: Handle) -> Option<&'static Location<'static>> {
        Some(self.table.get(handle)?.started_at)
    }

    /// Returns the flags of a handle, open or closing.
    pub(crate) fn flags(&self, handle: Handle) -> Option<Flags> {
        Some(self.table.get(handle)?.flags())
    }

    /// Returns the number of requests of the handle that are not complete.
    pub(crate) fn requests_of(&self, handle: Handle) -> usize {
        self.table.get(handle).map_or(0, |slot| slot.requests as usize)
    }

    pub(crate) fn set_active(&mut self, handle: Handle, active: bool) {
        self.table.update(handle, |flags| flags.active = active);
    }

    /// Sets whether the handle has outstanding work, which keeps the loop alive even when unreferenced.
    pub(crate) fn set_outstanding(&mut self, handle: Handle, outstanding: bool) {
        self.table.update(handle, |flags| flags.outstanding = outstanding);
    }

    pub(crate) fn set_activity(&mut self, handle: Handle, active: bool, outstanding: bool) {
        self.table.update(handle, |flags| {
            flags.active = active;
            flags.outstanding = outstanding;
        });
    }

    pub(crate) fn set_name(&mut self, handle: Handle, name: String) {
        self.table.set_name(handle, name);
    }

    pub(crate) fn name(&self, handle: Handle) -> Option<&str> {
        self.table.name(handle)
    }

    /// Returns what the slot of a handle holds, open or closing.
    #[inline(always)]
    pub(super) fn body(&self, handle: Handle) -> Option<&Body> {
        Some(&self.table.get(handle)?.body)
    }

    /// Returns the open handle that a key was made from, and what its slot holds.
    #[inline(always)]
    pub(super) fn resolve(&self, key: Key) -> Option<(Handle, &Body)> {
        self.table.resolve(key).map(|(handle, slot)| (handle, &slot.body))
    }

    /// Returns the handle in a slot, open or closing, and what the slot holds.
    #[inline(always)]
    pub(super) fn body_at(&self, index: u32) -> Option<(Handle, &Body)> {
        self.table.slot_at(index).map(|(handle, slot)| (handle, &slot.body))
    }

    /// Closes a handle. Releases its descriptors now; the rest follows in the closing phase.
    pub(crate) fn close(&mut self, handle: Handle) {
        if self.table.get_open(handle).is_none() {
            return;
        }
        kinds::release(self, handle);
        self.deadlines.cancel(handle.index);
        self.begin_closing(handle);
    }

    /// Closes an open handle that has nothing to release, and no deadline.
    pub(crate) fn begin_closing(&mut self, handle: Handle) {
        self.table.update(handle, |flags| {
            flags.closing = true;
            flags.active = false;
            flags.outstanding = false;
        });
        self.close_if_quiet(handle);
    }

    pub(super) fn close_if_quiet(&mut self, handle: Handle) {
        let Some(slot) = self.table.get(handle) else { return };
        if slot.flags().closing && slot.requests == 0 && kinds::finish_close(self, handle) {
            self.closing.push_back(handle);
        }
    }

    // ---- events to come

    /// Calls [`HandleKind::on_deferred`] in the next deferred phase, once for each call of this.
    pub(crate) fn defer_to(&mut self, handle: Handle) {
        self.deferred.push_back(Deferred::Handle(handle));
    }

    /// Calls [`HandleKind::flush`] at the end of the poll batch, once for each call of this. The kind lists a
    /// handle only once.
    pub(crate) fn flush_later(&mut self, handle: Handle) {
        self.to_flush.push(handle);
    }

    /// Calls [`HandleKind::on_ready`] in this batch, as if the system had reported it.
    pub(crate) fn mark_ready(&mut self, handle: Handle, readiness: Readiness) {
        self.ready.push((handle.key(), readiness));
    }

    /// Calls [`HandleKind::on_notify`] in the next turn, for a handle that has more to do after all others.
    pub(crate) fn notify_again(&mut self, handle: Handle) {
        self.notified.push(handle.key());
    }

    /// Calls [`HandleKind::on_last`] after every other event of this poll phase.
    pub(crate) fn deliver_last(&mut self, handle: Handle) {
        self.last.push_back(handle);
    }

    /// Returns how often the handle is listed for [`HandleKind::on_deferred`] and for
    /// [`HandleKind::flush`]. For `verify`.
    pub(crate) fn times_listed(&self, handle: Handle) -> (usize, usize) {
        let is_it = |deferred: &&Deferred| matches!(deferred, Deferred::Handle(other) if *other == handle);
        let to_flush = self.to_flush.iter().filter(|&&other| other == handle).count();
        (self.deferred.iter().filter(is_it).count(), to_flush)
    }

    /// Flushes the handles that asked for it.
    #[inline]
    pub(super) fn flush_listed(&mut self) {
        if !self.to_flush.is_empty() {
            self.flush_all();
        }
    }

    #[inline(never)]
    fn flush_all(&mut self) {
        let mut listed = std::mem::take(&mut self.to_flush);
        for handle in listed.drain(..) {
            kinds::flush(self, handle);
        }
        // Keeps its capacity. Nothing was added meanwhile, because flushing calls no callback.
        self.to_flush = listed;
    }

    // ---- hooks

    pub(crate) fn join_phase(&mut self, phase: Phase, handle: Handle) {
        self.hooks[phase as usize].join(handle.index);
    }

    pub(crate) fn leave_phase(&mut self, phase: Phase, handle: Handle) {
        self.hooks[phase as usize].leave(handle.index);
    }

    pub(crate) fn is_in_phase(&self, phase: Phase, handle: Handle) -> bool {
        self.hooks[phase as usize].is_member(handle.index)
    }

    // ---- the system

    pub(crate) fn backend(&mut self) -> &mut Backend {
        &mut self.backend
    }

    pub(crate) fn shared(&mut self) -> &mut Shared {
        &mut self.shared
    }

    pub(crate) fn shared_ref(&self) -> &Shared {
        &self.shared
    }

    // ---- callbacks

    /// Records that a callback is about to be called.
    #[inline(always)]
    #[cfg_attr(not(feature = "sim"), expect(unused_variables, reason = "only a world keeps a trace"))]
    pub(super) fn trace_call(&mut self, callee: Callee) {
        self.counters.metrics.callbacks += 1;
        #[cfg(feature = "sim")]
        self.backend.trace_call(callee);
    }

    /// Records that the callback of the handle in a slot is about to be called.
    #[inline(always)]
    #[cfg_attr(not(feature = "sim"), expect(unused_variables, reason = "only a world keeps a trace"))]
    pub(super) fn trace_call_at(&mut self, index: u32) {
        self.counters.metrics.callbacks += 1;
        #[cfg(feature = "sim")]
        if self.backend.is_simulated() {
            let Some(handle) = self.table.at(index) else { return };
            let Some(slot) = self.table.get(handle) else { return };
            let (kind, started_at) = (slot.body.kind(), slot.started_at);
            self.backend.trace_call(Callee { handle: Some(handle), kind, started_at });
        }
    }

    // ---- alive

    /// Returns whether anything keeps the loop alive, except senders in other threads.
    pub(super) fn is_alive(&self) -> bool {
        self.table.alive() > 0 || self.requests.len() > 0 || !self.deferred.is_empty()
    }

    /// Returns whether there is something to do without waiting for an event.
    pub(super) fn has_work(&self) -> bool {
        !self.deferred.is_empty()
            || !self.closing.is_empty()
            || self.notified_done < self.notified.len()
            || self.backend.has_notifications()
            || !self.last.is_empty()
            || !self.to_flush.is_empty()
            || !self.hooks[Phase::Idle as usize].is_empty()
    }
}

impl Drop for Core {
    /// Threads that wait for room in a channel learn that the loop is gone.
    fn drop(&mut self) {
        for (_, slot) in self.table.iter() {
            slot.body.disconnect();
        }
    }
}
