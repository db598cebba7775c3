//! The ids of hosts, and what a host runs.

use std::{fmt, marker::PhantomData};

use super::program::Program;

/// A host of a world whose program has a state of type `S`. A `Copy` id, like those of handles.
pub struct Host<S> {
    pub(super) number: usize,
    pub(super) state: PhantomData<fn() -> S>,
}

impl<S> Clone for Host<S> {
    fn clone(&self) -> Host<S> {
        *self
    }
}

impl<S> Copy for Host<S> {}

impl<S> fmt::Debug for Host<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Host({})", self.number)
    }
}

/// A host of a world, whatever the type of its program's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AnyHost(pub(super) usize);

impl<S> From<Host<S>> for AnyHost {
    fn from(host: Host<S>) -> AnyHost {
        AnyHost(host.number)
    }
}

/// What a host runs.
pub(super) struct Slot {
    /// None before the program starts, and after it was killed.
    pub(super) program: Option<Box<dyn Program>>,
    /// The program gets no turns, as after SIGSTOP.
    pub(super) paused: bool,
}
