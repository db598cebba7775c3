//! A program on a host: a loop and its state, behind a trait that hides the state's type.

use std::{any::Any, time::Duration};

use crate::{Loop, error::Result};

pub(super) struct Running<S> {
    pub(super) lp: Loop<S>,
    pub(super) state: S,
    /// The program has stopped its loop, or failed without an `on_failure`.
    pub(super) ended: bool,
}

pub(super) trait Program {
    /// Runs one turn, without waiting.
    fn turn(&mut self) -> Result;
    /// Returns how long the loop would wait, or None if no deadline is set.
    fn timeout(&mut self) -> Option<Duration>;
    fn is_alive(&self) -> bool;
    fn verify(&self);
    fn as_any(&self) -> &dyn Any;
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

impl<S: 'static> Program for Running<S> {
    fn turn(&mut self) -> Result {
        let turn = self.lp.step(&mut self.state);
        self.ended = *turn.as_ref().unwrap_or(&true);
        turn.map(drop)
    }

    fn timeout(&mut self) -> Option<Duration> {
        self.lp.poll_timeout()
    }

    fn is_alive(&self) -> bool {
        !self.ended && self.lp.is_alive()
    }

    fn verify(&self) {
        self.lp.verify();
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}
