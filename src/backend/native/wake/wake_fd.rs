//! A descriptor that another thread, or a signal handler, makes readable.
//!
//! An eventfd where there is one, a pipe elsewhere. Waking is one `write`, which a signal handler may call.
//! Wakes coalesce until the loop has seen one.
//!
//! epoll watches it edge-triggered: each wake is an edge, so the loop need not drain it.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use super::super::sys::cvt;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
use super::super::sys::{set_cloexec, set_nonblocking};

#[derive(Debug)]
pub(crate) struct WakeFd {
    reader: OwnedFd,
    /// `None` for an eventfd, which is both ends.
    writer: Option<OwnedFd>,
}

impl WakeFd {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) fn new() -> io::Result<WakeFd> {
        // SAFETY: takes no pointer. The descriptor is new and has no other owner.
        let reader =
            unsafe { OwnedFd::from_raw_fd(cvt(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK))?) };
        Ok(WakeFd { reader, writer: None })
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(crate) fn new() -> io::Result<WakeFd> {
        let mut ends = [0; 2];
        // SAFETY: `ends` has room for the two descriptors, which are new and have no other owner.
        let (reader, writer) = unsafe {
            cvt(libc::pipe(ends.as_mut_ptr()))?;
            (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))
        };
        for end in [&reader, &writer] {
            set_cloexec(end.as_fd())?;
            set_nonblocking(end.as_fd(), true)?;
        }
        Ok(WakeFd { reader, writer: Some(writer) })
    }

    /// Makes the descriptor readable. Async-signal-safe.
    pub(crate) fn wake(&self) {
        let one = 1_u64.to_ne_bytes();
        let fd = self.writer.as_ref().unwrap_or(&self.reader).as_raw_fd();
        // Fails only if it is full of wakes that were not drained. Then it is readable already.
        // SAFETY: `one` has eight bytes to read; `write` is async-signal-safe.
        unsafe { libc::write(fd, one.as_ptr().cast(), one.len()) };
    }

    /// Reads everything, so that the descriptor is not readable any more.
    pub(crate) fn drain(&self) {
        let mut buffer = [0_u8; 512];
        loop {
            // SAFETY: `buffer` has room for as many bytes as are requested.
            let count =
                unsafe { libc::read(self.reader.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
            // An eventfd returns its eight bytes once; a pipe is empty after a short read.
            if count < buffer.len() as isize {
                return;
            }
        }
    }
}

impl AsFd for WakeFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}
