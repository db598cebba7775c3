//! What several files here need of a system call.

use std::{io, os::fd::BorrowedFd};

/// Turns the answer of a system call into a result.
pub(super) fn cvt<T: Copy + PartialEq + From<i8>>(answer: T) -> io::Result<T> {
    if answer == T::from(-1) { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

pub(super) fn set_nonblocking(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    socket2::SockRef::from(&fd).set_nonblocking(on)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn set_cloexec(fd: BorrowedFd<'_>) -> io::Result<()> {
    socket2::SockRef::from(&fd).set_cloexec(true)
}
