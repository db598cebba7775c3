//! What can go wrong, in terms that a caller can act on.
//!
//! An error names the operation that failed and keeps the cause. It is returned by the function that was
//! called, or delivered to a callback later, never both. An error that a callback returns becomes a
//! [`Failure`].

use std::{error, fmt, io, time::Duration};

use crate::handle::{Origin, table::NotOpen};

/// The result of most functions of this crate, and of every callback.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// Why an operation failed.
///
/// Its `Debug` output equals its `Display` output, because a `main` that returns an error prints `Debug`.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The handle is closed, or closing. The operation did nothing.
    ///
    /// Ids are copies that can outlive their handle, so this happens in correct programs. Ignore it where
    /// that is expected: see [`Error::is_closed`].
    #[error("{op}: the handle is closed")]
    Closed {
        /// The operation.
        op: &'static str,
    },

    /// The id belongs to another loop: pass the loop that created it.
    #[error("{op}: the handle belongs to another loop")]
    WrongLoop {
        /// The operation.
        op: &'static str,
    },

    /// The request was cancelled, or its handle was closed before it completed.
    #[error("{op}: cancelled")]
    Canceled {
        /// The operation that was cancelled.
        op: &'static str,
    },

    /// The operation did not finish within its time limit.
    #[error("{op}: timed out after {limit:?}")]
    TimedOut {
        /// The operation.
        op: &'static str,
        /// The time limit.
        limit: Duration,
    },

    /// The request cannot be cancelled, because it is running or its result is on the way. Its callback gets
    /// that result.
    #[error("{op}: the request was started already")]
    AlreadyStarted {
        /// The operation.
        op: &'static str,
    },

    /// The handle cannot be converted now: operations are in flight or bytes are queued. It is unchanged; try
    /// again when they have completed.
    #[error("{op}: in use: operations are in flight or bytes are queued")]
    InUse {
        /// The operation.
        op: &'static str,
    },

    /// The queue is at its limit. Nothing was queued; wait until it has drained.
    #[error("{op}: the queue holds {queued}, its limit is {limit}")]
    QueueFull {
        /// The operation.
        op: &'static str,
        /// What the queue holds: bytes for a stream, messages for a channel.
        queued: usize,
        /// The limit of the queue, in the same unit.
        limit: usize,
    },

    /// `run` was called inside a callback. Return from the callback instead: the loop continues.
    #[error("{op}: the loop is already running")]
    Reentrant {
        /// The method that was called.
        op: &'static str,
    },

    /// An argument is invalid, or the handle is in the wrong state for the operation.
    #[error("{op}: {reason}")]
    Invalid {
        /// The operation.
        op: &'static str,
        /// What is wrong.
        reason: String,
    },

    /// The operating system returned an error.
    #[error("{op}{}{subject}: {source}", if .subject.is_empty() { "" } else { " " })]
    System {
        /// The operation.
        op: &'static str,
        /// What it was applied to: a path or an address. Empty if there is nothing to add.
        subject: String,
        /// The error of the system.
        source: io::Error,
    },

    /// The closure that a worker ran panicked. The worker survives.
    #[error("{op}: panicked: {message}")]
    Panicked {
        /// The operation.
        op: &'static str,
        /// The panic's message, if it was a string.
        message: String,
    },

    /// The handle or the loop that should receive this is gone.
    #[error("{op}: the receiver is gone")]
    Disconnected {
        /// The operation.
        op: &'static str,
    },

    /// A callback failed, and the loop had no [`on_failure`](crate::Loop::on_failure) handler.
    #[error(transparent)]
    Failure(Box<Failure>),

    /// An error of the application's own, from a callback. See [`Error::other`].
    #[error(transparent)]
    Other(Box<dyn error::Error + Send + Sync>),
}

impl Error {
    /// Wraps any error, or a message, for a callback to return.
    ///
    /// ```
    /// let error = ringback::Error::other("no such room");
    /// assert_eq!(error.to_string(), "no such room");
    /// ```
    pub fn other(error: impl Into<Box<dyn error::Error + Send + Sync>>) -> Error {
        Error::Other(error.into())
    }

    /// Returns the kind of the [`io::Error`] behind this error.
    ///
    /// Looks into [`System`](Error::System), [`Failure`](Error::Failure) and [`Other`](Error::Other).
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Error::System { source, .. } => Some(source.kind()),
            Error::Failure(failure) => failure.error.io_kind(),
            Error::Other(error) => error.downcast_ref::<io::Error>().map(io::Error::kind),
            _ => None,
        }
    }

    /// Returns whether this is [`Error::Closed`].
    pub fn is_closed(&self) -> bool {
        matches!(self, Error::Closed { .. })
    }

    /// Returns whether this is [`Error::Canceled`].
    pub fn is_canceled(&self) -> bool {
        matches!(self, Error::Canceled { .. })
    }

    pub(crate) fn invalid(op: &'static str, reason: impl Into<String>) -> Error {
        Error::Invalid { op, reason: reason.into() }
    }

    pub(crate) fn system(op: &'static str, source: io::Error) -> Error {
        Error::System { op, subject: String::new(), source }
    }

    /// Adds the subject of a [`System`](Error::System) error that has none.
    pub(crate) fn with_subject(mut self, what: impl fmt::Display) -> Error {
        if let Error::System { subject, .. } = &mut self {
            if subject.is_empty() {
                *subject = what.to_string();
            }
        }
        self
    }

    pub(crate) fn system_on(op: &'static str, subject: impl fmt::Display, source: io::Error) -> Error {
        Error::System { op, subject: subject.to_string(), source }
    }
}

macro_rules! from_foreign_errors {
    ($($error:ty),* $(,)?) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Error {
                Error::Other(error.into())
            }
        }
    )*};
}

// The errors that `?` converts in callbacks. A blanket impl would conflict with `From<Error> for Error`.
from_foreign_errors!(
    io::Error,
    fmt::Error,
    std::str::Utf8Error,
    std::string::FromUtf8Error,
    std::num::ParseIntError,
    std::num::ParseFloatError,
    std::net::AddrParseError,
    Box<dyn error::Error + Send + Sync>,
    String,
    &str,
);

impl fmt::Debug for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        Error::Failure(Box::new(failure))
    }
}

impl From<NotOpen> for Error {
    fn from(reason: NotOpen) -> Error {
        match reason {
            NotOpen::Closed { op } => Error::Closed { op },
            NotOpen::WrongLoop { op } => Error::WrongLoop { op },
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        match error {
            Error::System { source, op, subject } if op.is_empty() && subject.is_empty() => source,
            Error::TimedOut { .. } => io::Error::new(io::ErrorKind::TimedOut, error),
            Error::Invalid { .. } => io::Error::new(io::ErrorKind::InvalidInput, error),
            _ => {
                let kind = error.io_kind().unwrap_or(io::ErrorKind::Other);
                io::Error::new(kind, error)
            }
        }
    }
}

/// An error that a callback returned, or one that no callback was there to receive, and where it comes from.
///
/// Passed to [`Loop::on_failure`](crate::Loop::on_failure). The handle, if there is one, is closing; only a
/// listener that failed to accept stays open.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The handle or request that failed.
    pub origin: Origin,
    /// The error.
    pub error: Error,
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.origin, self.error)
    }
}

impl error::Error for Failure {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.error)
    }
}
