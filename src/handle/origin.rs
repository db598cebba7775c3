//! Where a callback comes from: what failures, slow callbacks and listings name.

use std::{fmt, panic::Location};

use super::{Handle, Kind};

/// A handle or request, as reports name it: its kind, its name, and the line that started it.
///
/// Part of [`Failure`](crate::Failure), [`SlowCallback`](crate::SlowCallback) and
/// [`HandleInfo`](crate::HandleInfo). Its `Display` is `tcp stream "peer 7" started at src/main.rs:12`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin {
    /// The handle. `None` for a request without one: work, a file operation on a path, a posted or deferred
    /// closure.
    pub handle: Option<Handle>,
    /// The kind of the handle or request.
    pub kind: Kind,
    /// The name that `set_name` gave the handle, if any.
    pub name: Option<String>,
    /// The line of the program that started it.
    pub started_at: &'static Location<'static>,
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.kind)?;
        if let Some(name) = &self.name {
            write!(out, " {name:?}")?;
        }
        write!(out, " started at {}:{}", self.started_at.file(), self.started_at.line())
    }
}

/// An [`Origin`] without its name. Every call of a callback carries one, so it is a plain copy.
#[derive(Clone, Copy)]
pub(crate) struct Callee {
    pub(crate) handle: Option<Handle>,
    pub(crate) kind: Kind,
    pub(crate) started_at: &'static Location<'static>,
}

impl Callee {
    pub(crate) const UNKNOWN: Callee =
        Callee { handle: None, kind: Kind::Deferred, started_at: Location::caller() };

    pub(crate) fn named(self, name: Option<String>) -> Origin {
        let Callee { handle, kind, started_at } = self;
        Origin { handle, kind, name, started_at }
    }
}
