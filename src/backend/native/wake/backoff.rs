//! How a thread waits for another that is about to be done.

use super::super::{
    sync::{pause, thread},
    tuning::{BACKOFF_SPINS_LOG2_MAX, SNOOZE_SPINS},
};

/// A count of attempts that decides how long the next wait is, as crossbeam's `Backoff`.
#[derive(Default)]
pub(super) struct Backoff {
    step: u32,
}

impl Backoff {
    /// Waits after a lost compare-and-swap: twice as long each time, up to a limit.
    ///
    /// Retrying at once would make all threads take the cache line from each other at every attempt.
    pub(super) fn spin(&mut self) {
        pause(1 << self.step);
        self.step = (self.step + 1).min(BACKOFF_SPINS_LOG2_MAX);
    }

    /// Waits for the next step of another thread, which is a few instructions away unless it was preempted.
    ///
    /// Pauses once a call at first, so that the caller sees the step early; then yields the processor.
    pub(super) fn snooze(&mut self) {
        if self.is_completed() {
            thread::yield_now();
        } else {
            self.step += 1;
            pause(1);
        }
    }

    /// Returns whether `snooze` yields by now: the other thread was probably preempted.
    pub(super) fn is_completed(&self) -> bool {
        self.step >= SNOOZE_SPINS
    }
}
