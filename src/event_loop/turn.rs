//! One turn, on one screen.
//!
//! 1. timers that are due  2. deferred  3. idle  4. prepare  5. poll: wait, then ready sources, then
//!    notifications and posts, then what comes last  6. deferred  7. check  8. closing
//!
//! Each phase takes the entries that were listed when it began, one by one, from a list in the loop. Entries
//! added meanwhile wait for the next time. If an error or a panic interrupts a phase, it resumes then.

use super::{
    Loop,
    core::{Core, Deferred},
    kinds,
};
use crate::{
    error::{Error, Result},
    handle::{Callee, Key, Kind},
    time::Nanos,
};

/// Rounds of the deferred phase after poll: a write, its callback, the next write, … may go this far within
/// one turn. Eight, as in libuv.
const DEFERRED_ROUNDS: usize = 8;

/// A phase of the turn that calls hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Idle = 0,
    Prepare = 1,
    Check = 2,
}

/// How long a turn may wait for the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PollMode {
    /// Not at all.
    NoWait,
    /// Until something happens.
    Forever,
    /// Until something happens, unless a callback has run already in this turn.
    Once,
    /// Until something happens, or until this time.
    Until(Nanos),
}

impl<S> Loop<S> {
    pub(super) fn turn(&mut self, state: &mut S, mode: PollMode) -> Result {
        let before = self.core.begin_turn();
        self.timers(state)?;
        self.deferred(state, 1)?;
        self.hooks(state, Phase::Idle)?;
        let ran_callbacks = self.core.counters.metrics.callbacks != before;
        self.hooks(state, Phase::Prepare)?;
        self.poll(state, mode, ran_callbacks)?;
        self.deferred(state, DEFERRED_ROUNDS)?;
        self.hooks(state, Phase::Check)?;
        if !self.core.closing.is_empty() {
            self.closing(state)?;
        }
        if mode == PollMode::Once && self.core.counters.metrics.callbacks == before {
            // It waited for a timer, and must not return before it has called it.
            self.timers(state)?;
            self.deferred(state, 1)?;
        }
        Ok(())
    }

    fn timers(&mut self, state: &mut S) -> Result {
        let pass = self.core.deadlines.next_seq();
        while let Some(index) = self.core.deadlines.pop_due(self.core.now, pass) {
            kinds::on_deadline(self, state, index)?;
        }
        Ok(())
    }

    fn deferred(&mut self, state: &mut S, rounds: usize) -> Result {
        for _ in 0..rounds {
            if self.core.deferred.is_empty() {
                break;
            }
            for _ in 0..self.core.deferred.len() {
                match self.core.deferred.pop_front() {
                    Some(Deferred::Completed(request, result)) => {
                        self.call_completion(state, request, result)?
                    }
                    Some(Deferred::Handle(handle)) => kinds::on_deferred(self, state, handle)?,
                    None => break,
                }
            }
        }
        Ok(())
    }

    #[inline]
    fn hooks(&mut self, state: &mut S, phase: Phase) -> Result {
        if self.core.hooks[phase as usize].is_at_rest() { Ok(()) } else { self.round(state, phase) }
    }

    #[inline(never)]
    fn round(&mut self, state: &mut S, phase: Phase) -> Result {
        self.core.hooks[phase as usize].begin();
        while let Some(index) = self.core.hooks[phase as usize].visit() {
            self.call_no_arg(state, index)?;
        }
        Ok(())
    }

    fn poll(&mut self, state: &mut S, mode: PollMode, ran_callbacks: bool) -> Result {
        self.core.flush_listed();
        loop {
            let timeout = self.poll_timeout_for(mode, ran_callbacks);
            self.core.wait(timeout)?;
            if timeout == Some(0) || !self.core.woke_early(mode) {
                break;
            }
        }
        self.ready(state)?;
        self.notifications(state)?;
        self.posts(state)?;
        while let Some(handle) = self.core.last.pop_front() {
            kinds::on_last(self, state, handle)?;
        }
        self.core.flush_listed();
        Ok(())
    }

    fn ready(&mut self, state: &mut S) -> Result {
        while let Some((key, error)) = self.core.backend.pop_failed_registration() {
            kinds::on_registration_error(self, state, key, error)?;
        }
        while let Some(&(key, readiness)) = self.core.ready.get(self.core.ready_done) {
            self.core.ready_done += 1;
            match key {
                Key::SIGNALS => kinds::signals_arrived(&mut self.core),
                _ => kinds::on_ready(self, state, key, readiness)?,
            }
        }
        Ok(())
    }

    fn notifications(&mut self, state: &mut S) -> Result {
        if self.core.backend.has_notifications() {
            self.core.backend.drain_notifications(&mut self.core.notified);
        }
        // Handles that notify themselves again wait for the next turn.
        for _ in self.core.notified_done..self.core.notified.len() {
            let key = self.core.notified[self.core.notified_done];
            match key {
                Key::JOBS => self.core.reap_completions(),
                Key::POSTS => self.collect_posts(),
                _ => kinds::on_notify(self, state, key)?,
            }
            // After the call: if it was interrupted, the next turn calls it again.
            self.core.notified_done += 1;
        }
        if self.core.notified_done > 0 {
            self.core.notified.drain(..self.core.notified_done);
            self.core.notified_done = 0;
        }
        Ok(())
    }

    fn posts(&mut self, state: &mut S) -> Result {
        while self.posts.is_ready() {
            let Some(post) = self.posts.next() else { break };
            let callee = Callee { handle: None, kind: Kind::Post, started_at: post.started };
            self.call_once(state, callee, post.closure)?;
        }
        Ok(())
    }

    /// Returns how long a turn waits for the system, at most. Pure: reads the loop and the clock.
    pub(super) fn poll_timeout_for(&self, mode: PollMode, ran_callbacks: bool) -> Option<Nanos> {
        let core = &self.core;
        let nothing_to_wait_for = core.stopping || !self.is_alive();
        let something_to_do = core.has_work() || self.posts.claimed_len() > 0;
        if nothing_to_wait_for
            || something_to_do
            || mode == PollMode::NoWait
            || (mode == PollMode::Once && ran_callbacks)
        {
            return Some(0);
        }
        let due = core.deadlines.next();
        let until = match mode {
            PollMode::Until(limit) => Some(due.map_or(limit, |due| due.min(limit))),
            _ => due,
        };
        // From the clock, not from the turn's time: prepare hooks may have taken a while.
        until.map(|until| until.saturating_sub(core.backend.now()))
    }
}

impl Core {
    /// Returns the number of callbacks called before this turn.
    fn begin_turn(&mut self) -> u64 {
        self.counters.metrics.turns += 1;
        self.read_clock();
        if self.counters.awake_since.is_none() {
            self.counters.resume(self.now);
        }
        self.counters.metrics.callbacks
    }

    fn wait(&mut self, timeout: Option<Nanos>) -> Result {
        // What an interrupted batch left is still ready, and is reported again.
        self.ready.clear();
        self.ready_done = 0;
        if timeout != Some(0) {
            let now = self.backend.now();
            self.counters.rest(now);
            self.now = now;
        }
        let ready = &mut self.ready;
        let waited = self.backend.wait(timeout, |key, readiness| ready.push((key, readiness)));
        let asleep_since = self.now;
        self.read_clock();
        if self.counters.awake_since.is_none() {
            self.counters.blocked += self.now.saturating_sub(asleep_since);
        } else {
            self.counters.rest(self.now);
        }
        self.counters.resume(self.now);
        self.counters.metrics.events += self.ready.len() as u64;
        waited.map_err(|error| Error::system("wait for events", error))
    }

    /// Returns whether the wait ended without an event or a due deadline: the one that it waited for was
    /// postponed or cancelled.
    fn woke_early(&mut self, mode: PollMode) -> bool {
        let limit_has_come = matches!(mode, PollMode::Until(limit) if self.now >= limit);
        let nothing_came = self.ready.is_empty() && !self.backend.has_notifications();
        nothing_came && !limit_has_come && self.deadlines.advance(self.now)
    }
}
