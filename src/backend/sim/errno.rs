//! Errors of the system, by number.

use std::io;

pub(super) fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}
