//! One turn, on one screen.
//!
//! 1. timers that are due  2. deferred  3. idle  4. prepare  5. poll: wait, then what is ready, then
//!    bells and posts, then signals  6. deferred  7. check  8. closing
//!
//! Each phase takes what is there when it begins, one by one, from a list in the loop: what is added
//! meanwhile waits for the next time, and what is broken off goes on then.

use super::{Loop, core::Deferred, kinds};
use crate::{
    error::{Error, Result},
    handle::{Callee, Key, Kind},
    hook::Phase,
    net::stream,
    time::Nanos,
};

/// How many times the deferred phase after poll looks again: a write, its callback, the next write, …
/// may go this far within one turn. Eight, as in libuv.
const DEFERRED_ROUNDS: usize = 8;

/// How long a turn may wait for the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Block {
    /// Not at all.
    Never,
    /// Until something happens.
    Forever,
    /// Until something happens, unless a callback has run already in this turn.
    Once,
    /// Until something happens, or this time has come.
    Until(Nanos),
}

impl<S> Loop<S> {
    pub(crate) fn turn(&mut self, state: &mut S, block: Block) -> Result {
        self.core.counters.turns += 1;
        let before = self.core.counters.callbacks;
        self.core.read_clock();
        if self.core.counters.awake_since.is_none() {
            self.core.counters.resume(self.core.now);
        }
        self.timers(state)?;
        self.deferred(state, 1)?;
        self.hooks(state, Phase::Idle)?;
        let progress = self.core.counters.callbacks != before;
        self.hooks(state, Phase::Prepare)?;
        self.poll(state, block, progress)?;
        self.deferred(state, DEFERRED_ROUNDS)?;
        self.hooks(state, Phase::Check)?;
        self.closing(state)?;
        if block == Block::Once && self.core.counters.callbacks == before {
            // It waited for a timer, and shall not return without having called it.
            self.timers(state)?;
            self.deferred(state, 1)?;
        }
        Ok(())
    }

    fn timers(&mut self, state: &mut S) -> Result {
        let pass = self.core.deadlines.arrivals();
        while let Some(index) = self.core.deadlines.pop_due(self.core.now, pass) {
            if let Some(handle) = self.core.table.at(index) {
                kinds::timed_out(self, state, handle)?;
            }
        }
        Ok(())
    }

    fn deferred(&mut self, state: &mut S, rounds: usize) -> Result {
        for _ in 0..rounds {
            if self.core.pending.is_empty() {
                break;
            }
            for _ in 0..self.core.pending.len() {
                match self.core.pending.pop_front() {
                    Some(Deferred::Answer(request, result)) => self.answer(state, request, result)?,
                    Some(Deferred::Stream(handle)) => stream::told(self, state, handle)?,
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
            self.call_plainly(state, index)?;
        }
        Ok(())
    }

    fn poll(&mut self, state: &mut S, block: Block, progress: bool) -> Result {
        stream::flush_unsent(&mut self.core);
        loop {
            let timeout = self.how_long_to_block(block, progress);
            self.wait(timeout)?;
            if timeout == Some(0) || !self.woke_early(block) {
                break;
            }
        }
        self.ready(state)?;
        self.bells(state)?;
        self.posts(state)?;
        while let Some((signum, handle)) = self.core.delivered.pop_front() {
            crate::signal::deliver(self, state, handle, signum)?;
        }
        stream::flush_unsent(&mut self.core);
        Ok(())
    }

    fn wait(&mut self, timeout: Option<Nanos>) -> Result {
        let core = &mut self.core;
        // Those of a batch that was broken off are still ready, and come again.
        core.ready.clear();
        core.ready_done = 0;
        if timeout != Some(0) {
            let now = core.backend.now();
            core.counters.rest(now);
            core.now = now;
        }
        let ready = &mut core.ready;
        let waited = core.backend.wait(timeout, |key, readiness| ready.push((key, readiness)));
        let asleep_since = core.now;
        core.read_clock();
        if core.counters.awake_since.is_none() {
            core.counters.blocked += core.now - asleep_since;
        } else {
            core.counters.rest(core.now);
        }
        core.counters.resume(core.now);
        core.counters.events += core.ready.len() as u64;
        waited.map_err(|error| Error::system("wait for events", error))
    }

    /// Nothing has come, and no deadline either: the one that was waited for was put off or cancelled.
    fn woke_early(&mut self, block: Block) -> bool {
        let core = &mut self.core;
        let limit_has_come = matches!(block, Block::Until(limit) if core.now >= limit);
        let nothing_came = core.ready.is_empty() && !core.backend.has_notifications();
        nothing_came && !limit_has_come && core.deadlines.come_near(core.now)
    }

    fn ready(&mut self, state: &mut S) -> Result {
        while let Some((key, error)) = self.core.backend.pop_failed_registration() {
            if let Some(handle) = self.core.table.resolve(key) {
                kinds::refused(self, state, handle, error)?;
            }
        }
        while let Some(&(key, readiness)) = self.core.ready.get(self.core.ready_done) {
            self.core.ready_done += 1;
            match key {
                Key::SIGNALS => crate::signal::collect(&mut self.core),
                // A handle that is gone, or whose slot is another's by now, is not found.
                _ => {
                    if let Some(handle) = self.core.table.resolve(key) {
                        kinds::ready(self, state, handle, readiness)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn bells(&mut self, state: &mut S) -> Result {
        let lp = self.core.lp;
        if self.core.backend.has_notifications() {
            self.core.backend.drain_notifications(&mut self.core.rung);
        }
        // Those that ring themselves again meanwhile have their turn in the next one.
        for _ in self.core.rung_done..self.core.rung.len() {
            let key = self.core.rung[self.core.rung_done];
            match key {
                Key::JOBS => self.core.collect_done(),
                Key::POSTS => self.collect_posts(),
                _ => {
                    if let Some(handle) = self.core.table.resolve(key) {
                        kinds::rung(self, state, handle)?;
                    }
                }
            }
            if self.core.lp != lp {
                // The application has exchanged the loop for another inside the callback.
                return Ok(());
            }
            // After the call: what is broken off is looked at again.
            self.core.rung_done += 1;
        }
        self.core.rung.drain(..self.core.rung_done);
        self.core.rung_done = 0;
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

    /// The rule for how long a turn waits. Reads the loop; changes nothing.
    pub(crate) fn how_long_to_block(&self, block: Block, progress: bool) -> Option<Nanos> {
        let core = &self.core;
        let nothing_to_wait_for = core.stopping || !self.is_alive();
        let something_to_do = core.has_work() || self.posts.claimed_len() > 0;
        if nothing_to_wait_for
            || something_to_do
            || block == Block::Never
            || (block == Block::Once && progress)
        {
            return Some(0);
        }
        let due = core.deadlines.next();
        let until = match block {
            Block::Until(limit) => Some(due.map_or(limit, |due| due.min(limit))),
            _ => due,
        };
        // From the clock, not from the turn's time: prepare hooks may have taken a while.
        until.map(|until| until.saturating_sub(core.backend.now()))
    }
}
