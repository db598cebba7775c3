//! What can go wrong, in terms a caller can act on.
//!
//! An error names the act that failed and keeps its cause. It is either returned by the function
//! that was asked or delivered to a callback later, never both. What a callback returns as an
//! error becomes a [`Failure`].

use std::{error, fmt, io, time::Duration};

use crate::handle::{Origin, table::NotOpen};

/// The result of most functions here, and of every callback.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// Why an act did not succeed.
///
/// Its `Debug` form is its `Display` form, because that is what a `main` that returns it prints.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The handle is closed, or closing. Ids are copies, so this happens in correct programs.
    #[error("{op}: the handle is closed")]
    Closed {
        /// What was asked of the handle.
        op: &'static str,
    },

    /// The id belongs to another loop.
    #[error("{op}: the handle belongs to another loop")]
    WrongLoop {
        /// What was asked of the handle.
        op: &'static str,
    },

    /// The request was cancelled, or its handle was closed before it was done.
    #[error("{op}: cancelled")]
    Canceled {
        /// What had been asked for.
        op: &'static str,
    },

    /// The time that was set for this has passed.
    #[error("{op}: timed out after {limit:?}")]
    TimedOut {
        /// What took too long.
        op: &'static str,
        /// The time it was given.
        limit: Duration,
    },

    /// The request has been started, or its result is on the way: it can no longer be cancelled.
    #[error("{op}: the request was started already")]
    AlreadyStarted {
        /// The operation.
        op: &'static str,
    },

    /// The handle cannot be given away now: operations are in flight or bytes are queued. It is unchanged.
    #[error("{op}: in use: operations are in flight or bytes are queued")]
    InUse {
        /// The operation.
        op: &'static str,
    },

    /// The queue holds more than its limit. Nothing was queued.
    #[error("{op}: the queue holds {queued}, its limit is {limit}")]
    QueueFull {
        /// What was asked for.
        op: &'static str,
        /// What the queue holds: bytes for a stream, messages for a channel.
        queued: usize,
        /// The limit set for it, in the same unit.
        limit: usize,
    },

    /// `run` was called inside a callback. Return from the callback instead: the loop goes on.
    #[error("{op}: the loop is already running")]
    Reentrant {
        /// What was called.
        op: &'static str,
    },

    /// An argument cannot be used, or the handle is not in a state for this.
    #[error("{op}: {reason}")]
    Invalid {
        /// What was asked for.
        op: &'static str,
        /// What is wrong.
        reason: String,
    },

    /// The system refused.
    #[error("{op}{}{subject}: {source}", if .subject.is_empty() { "" } else { " " })]
    System {
        /// What was attempted.
        op: &'static str,
        /// On what: a path, an address; empty if there is nothing to add.
        subject: String,
        /// What the system said.
        source: io::Error,
    },

    /// The closure given to a worker panicked. The worker lives on.
    #[error("{op}: panicked: {message}")]
    Panicked {
        /// What was being done.
        op: &'static str,
        /// The panic's message, if it was a string.
        message: String,
    },

    /// The loop on the other side was dropped.
    #[error("{op}: the loop is gone")]
    Disconnected {
        /// What was asked for.
        op: &'static str,
    },

    /// A callback failed and no [`on_failure`](crate::Loop::on_failure) was there to take it.
    #[error(transparent)]
    Failure(Box<Failure>),

    /// An error of the application's own, from a callback.
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

    /// The kind of the system's error behind this one, if there is one.
    ///
    /// Looks through [`Failure`](Error::Failure), and at an [`Other`](Error::Other) that is an
    /// [`io::Error`].
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Error::System { source, .. } => Some(source.kind()),
            Error::Failure(failure) => failure.error.io_kind(),
            Error::Other(error) => error.downcast_ref::<io::Error>().map(io::Error::kind),
            _ => None,
        }
    }

    /// Whether this says that a handle is closed.
    pub fn is_closed(&self) -> bool {
        matches!(self, Error::Closed { .. })
    }

    /// Whether this says that a request was cancelled.
    pub fn is_canceled(&self) -> bool {
        matches!(self, Error::Canceled { .. })
    }

    pub(crate) fn invalid(op: &'static str, reason: impl Into<String>) -> Error {
        Error::Invalid { op, reason: reason.into() }
    }

    pub(crate) fn system(op: &'static str, source: io::Error) -> Error {
        Error::System { op, subject: String::new(), source }
    }

    /// Adds what was acted on, if nothing was said of it.
    pub(crate) fn with_subject(mut self, on: impl fmt::Display) -> Error {
        if let Error::System { subject, .. } = &mut self {
            if subject.is_empty() {
                *subject = on.to_string();
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

// The errors that `?` meets in callbacks. A blanket impl would collide with `From<Error> for Error`.
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

/// An error that a callback returned or that nobody was there to take, and whose it was.
///
/// Goes to [`Loop::on_failure`](crate::Loop::on_failure). The handle, if there is one, is being
/// closed, but for a listener that failed to accept: that one goes on.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure {
    /// Whose callback it was.
    pub origin: Origin,
    /// What went wrong.
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
