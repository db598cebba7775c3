//! An open file's descriptor, and the system calls on it.

use std::{
    fs::File,
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd},
};

use super::super::sys::{cvt, set_nonblocking};

/// An open file, owned.
#[derive(Debug)]
pub(crate) struct Descriptor {
    fd: OwnedFd,
    /// Opened with `O_NONBLOCK`, and with no other flag that can be changed.
    ///
    /// Regular files ignore it, so it is left set: to clear it would cost two calls for each file. It is
    /// cleared when the file is released, because its new owner may read the flags, and if a file system
    /// heeds it after all.
    nonblocking: bool,
}

impl Descriptor {
    pub(crate) fn from_file(file: File) -> Descriptor {
        Descriptor { fd: file.into(), nonblocking: false }
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn new(fd: OwnedFd, nonblocking: bool) -> Descriptor {
        Descriptor { fd, nonblocking }
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn raw(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    pub(crate) fn into_file(self) -> io::Result<File> {
        if self.nonblocking {
            // Cannot fail for an open descriptor.
            let _ = set_nonblocking(self.fd.as_fd(), false);
        }
        Ok(File::from(self.fd))
    }

    /// Returns whether the file was opened for appending.
    pub(crate) fn is_append(&self) -> io::Result<bool> {
        // SAFETY: takes no pointer; the descriptor is open, being borrowed.
        let flags = cvt(unsafe { libc::fcntl(self.fd.as_raw_fd(), libc::F_GETFL) })?;
        Ok(flags & libc::O_APPEND != 0)
    }

    /// Calls methods of the standard library, on a duplicate.
    pub(super) fn with_file<T>(&self, call: impl FnOnce(&File) -> io::Result<T>) -> io::Result<T> {
        call(&File::from(self.fd.try_clone()?))
    }

    /// Closes the file, and returns the error of `close`: a full disk, a server that is gone.
    pub(super) fn close(self) -> io::Result<()> {
        // SAFETY: the descriptor was owned here and is given up, whatever `close` returns.
        let result = unsafe { libc::close(self.fd.into_raw_fd()) };
        match cvt(result) {
            // Closed all the same: a second close would close another descriptor.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            other => other.map(drop),
        }
    }

    pub(super) fn pread(&self, room: &mut [MaybeUninit<u8>], offset: u64) -> io::Result<usize> {
        let offset = file_offset(offset)?;
        let (start, len) = (room.as_mut_ptr(), room.len());
        // SAFETY: `room` is `len` bytes that may be written; the descriptor is open, being borrowed.
        let read = || cvt(unsafe { libc::pread(self.fd.as_raw_fd(), start.cast(), len, offset) });
        let count = match read() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && self.nonblocking => {
                // A file system that heeds the flag.
                set_nonblocking(self.fd.as_fd(), false)?;
                read()
            }
            other => other,
        };
        Ok(count? as usize)
    }

    pub(super) fn pwrite(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let offset = file_offset(offset)?;
        // SAFETY: `bytes` is as many bytes as are named; the descriptor is open, being borrowed.
        let count = unsafe { libc::pwrite(self.fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), offset) };
        Ok(cvt(count)? as usize)
    }

    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        // SAFETY: `bytes` is as many bytes as are named; the descriptor is open, being borrowed.
        let count = unsafe { libc::write(self.fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
        Ok(cvt(count)? as usize)
    }
}

/// Without worlds, jobs name files by this type.
#[cfg(not(feature = "sim"))]
impl Descriptor {
    pub(super) fn for_jobs(self) -> Descriptor {
        self
    }

    pub(super) fn of_system(&self) -> &Descriptor {
        self
    }

    pub(super) fn into_system(self) -> Descriptor {
        self
    }
}

fn file_offset(offset: u64) -> io::Result<libc::off_t> {
    libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// Reads from `offset + buffer.len()` until the buffer's capacity is filled or the file ends. After an error
/// the buffer has what was read before.
pub(super) fn read_full(
    buffer: &mut Vec<u8>,
    offset: u64,
    mut read: impl FnMut(&mut [MaybeUninit<u8>], u64) -> io::Result<usize>,
) -> io::Result<()> {
    while buffer.len() < buffer.capacity() {
        let at = offset.saturating_add(buffer.len() as u64);
        let room = buffer.spare_capacity_mut();
        let room_len = room.len();
        let count = match read(room, at) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        assert!(count <= room_len, "a read returns no more bytes than there is room for");
        if count == 0 {
            return Ok(());
        }
        // SAFETY: `count` is within the capacity, by the assertion. `read` is one of the two in this folder,
        // and both return what `pread` or `preadv2` returned, which is how many bytes the kernel wrote at the
        // start.
        unsafe { buffer.set_len(buffer.len() + count) };
    }
    Ok(())
}
