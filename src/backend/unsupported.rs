//! How a part of the contract that an implementation lacks is refused.

use std::io;

/// The error of an operation that a system, or a world, does not have.
pub(crate) fn unsupported(op: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("{op} is not supported here"))
}
