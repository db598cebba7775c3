//! A descriptor that becomes readable when another thread, or a signal handler, rings it.
//!
//! An eventfd where there is one, a pipe elsewhere. Ringing is one `write`, which is all that a signal
//! handler may do; any number of rings before the loop looks are one.
//!
//! Where epoll waits it is watched for edges: each ring is one, so it need not be read to be quiet again.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use super::super::sys::cvt;

#[derive(Debug)]
pub(crate) struct WakeFd {
    reader: OwnedFd,
    /// `None` where one descriptor serves both ends.
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
            super::super::sys::set_cloexec(end.as_fd())?;
            super::super::sys::set_nonblocking(end.as_fd(), true)?;
        }
        Ok(WakeFd { reader, writer: Some(writer) })
    }

    /// Makes the descriptor readable. May be called from a signal handler.
    pub(crate) fn ring(&self) {
        let one = 1_u64.to_ne_bytes();
        let fd = self.writer.as_ref().unwrap_or(&self.reader).as_raw_fd();
        // Refused only when it is full of rings that nobody has looked at: then it is readable.
        // SAFETY: `one` has eight bytes to read; `write` may be called from a signal handler.
        unsafe { libc::write(fd, one.as_ptr().cast(), one.len()) };
    }

    /// Makes the descriptor quiet again.
    pub(crate) fn reset(&self) {
        let mut rings = [0_u8; 512];
        loop {
            // SAFETY: `rings` has room for as many bytes as are asked for.
            let count =
                unsafe { libc::read(self.reader.as_raw_fd(), rings.as_mut_ptr().cast(), rings.len()) };
            // An eventfd gives its eight bytes once; a pipe is empty after a short read.
            if count < rings.len() as isize {
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
