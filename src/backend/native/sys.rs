//! Helpers for system calls that several files share.

use std::{io, os::fd::BorrowedFd};

/// Converts what a system call returned: -1 becomes the error in errno.
pub(super) fn cvt<T: Copy + PartialEq + From<i8>>(value: T) -> io::Result<T> {
    if value == T::from(-1) { Err(io::Error::last_os_error()) } else { Ok(value) }
}

pub(super) fn set_nonblocking(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    socket2::SockRef::from(&fd).set_nonblocking(on)
}

/// Where a descriptor cannot be created with the flag.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn set_cloexec(fd: BorrowedFd<'_>) -> io::Result<()> {
    socket2::SockRef::from(&fd).set_cloexec(true)
}
