//! Hooks: callbacks every turn, in one of three phases. One implementation for all three.

use std::panic::Location;

use crate::{
    Loop,
    error::Result,
    event_loop::{Core, HandleKind, Phase, typed_handle},
    handle::{Handle, Kind},
};

/// What a hook keeps in its slot: the phase that calls it.
///
/// 1. A hook is active if and only if its phase lists it.
#[derive(Debug)]
pub(crate) struct State(Phase);

macro_rules! hook {
    ($(#[$attribute:meta])* $name:ident) => {
        typed_handle! {
            $(#[$attribute])*
            ///
            /// An error that the callback returns closes the hook.
            ///
            /// # Errors
            ///
            /// Every method that returns a `Result` returns [`Error::Closed`](crate::Error::Closed) if the
            /// hook is closed or closing, and [`Error::WrongLoop`](crate::Error::WrongLoop) if it belongs to
            /// another loop.
            $name
        }

        impl $name {
            /// Makes a hook that is not started.
            #[track_caller]
            pub fn new<S>(lp: &mut Loop<S>) -> Result<$name> {
                Ok($name(lp.core.insert(State(Phase::$name), Location::caller())))
            }

            /// Makes a hook and starts it.
            #[track_caller]
            pub fn every_turn<S>(
                lp: &mut Loop<S>,
                callback: impl FnMut(&mut Loop<S>, &mut S) -> Result + 'static,
            ) -> Result<$name> {
                let hook = $name::new(lp)?;
                hook.start(lp, callback)?;
                Ok(hook)
            }

            /// Calls `callback` once every turn from now on.
            ///
            /// Hooks of one phase run in starting order. A hook that is started during its own phase first
            /// runs in the next turn. If it is started already, it gets this callback and keeps its position.
            #[track_caller]
            pub fn start<S>(
                self,
                lp: &mut Loop<S>,
                callback: impl FnMut(&mut Loop<S>, &mut S) -> Result + 'static,
            ) -> Result {
                lp.core.set_started_at(self.0, "start a hook", Location::caller())?;
                lp.set_callback_no_arg(self.0, callback);
                lp.core.join_phase(Phase::$name, self.0);
                lp.core.set_active(self.0, true);
                Ok(())
            }

            /// Stops the hook. It is not called any more, not even in the current phase. Idempotent.
            pub fn stop<S>(self, lp: &mut Loop<S>) -> Result {
                lp.core.require::<State>(self.0, "stop a hook")?;
                lp.core.leave_phase(Phase::$name, self.0);
                lp.core.set_active(self.0, false);
                Ok(())
            }
        }
    };
}

hook! {
    /// Called once per turn. While one is started, the loop does not block.
    ///
    /// Use it to do long work in small steps.
    ///
    /// ```
    /// use ringback::{Idle, Loop};
    ///
    /// let mut lp = Loop::new()?;
    /// let idle = Idle::new(&mut lp)?;
    /// idle.start(&mut lp, move |lp, left: &mut u32| {
    ///     *left -= 1;
    ///     if *left == 0 { idle.close(lp) }
    ///     Ok(())
    /// })?;
    /// let mut left = 100;
    /// lp.run(&mut left)?;
    /// assert_eq!(left, 0);
    /// # Ok::<(), ringback::Error>(())
    /// ```
    Idle
}

hook! {
    /// Called once per turn, just before the loop waits.
    ///
    /// Use it to prepare something for the wait, such as flushing the output of another library.
    Prepare
}

hook! {
    /// Called once per turn, after all events of the turn were dispatched.
    ///
    /// Use it for what is done once for all of them.
    Check
}

impl HandleKind for State {
    type Slot = State;

    fn kind(&self) -> Kind {
        match self.0 {
            Phase::Idle => Kind::Idle,
            Phase::Prepare => Kind::Prepare,
            Phase::Check => Kind::Check,
        }
    }

    fn status(&self, _: &Core, _: Handle) -> String {
        "runs every turn".into()
    }

    fn release(core: &mut Core, handle: Handle) {
        if let Some(&State(phase)) = core.peek(handle) {
            core.leave_phase(phase, handle);
        }
    }

    fn verify(&self, core: &Core, handle: Handle) {
        let active = core.flags(handle).is_some_and(|flags| flags.active);
        let member = core.is_in_phase(self.0, handle);
        assert_eq!(active, member, "an active hook is in its list: {handle:?}");
    }
}
