//! The error of operations that an implementation of the contract lacks.

use std::io;

/// Returns the error of an operation that the system, or a world, does not support.
pub(crate) fn unsupported(op: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("{op} is not supported here"))
}
