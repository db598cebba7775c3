//! An open file's descriptor.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
};

/// An open file, owned.
#[derive(Debug)]
pub(crate) struct Descriptor {
    pub(in super::super) fd: OwnedFd,
    /// Was opened with `O_NONBLOCK`, and with no other flag that can be changed.
    ///
    /// Regular files take no notice of it, so it is left on: to take it off would cost two calls for each file.
    /// It is taken off when the file is given away, to somebody who may look at it, and should a file system
    /// take notice all the same.
    pub(super) nonblocking: bool,
}

impl Descriptor {
    pub(crate) fn from_file(file: File) -> Descriptor {
        Descriptor { fd: file.into(), nonblocking: false }
    }

    pub(crate) fn into_file(self) -> io::Result<File> {
        if self.nonblocking {
            // A descriptor that is open cannot refuse.
            let _ = super::super::sys::set_nonblocking(self.fd.as_fd(), false);
        }
        Ok(File::from(self.fd))
    }
}

/// What jobs name files by, where there are no others.
#[cfg(not(feature = "sim"))]
impl Descriptor {
    pub(crate) fn for_jobs(self) -> Descriptor {
        self
    }

    pub(crate) fn of_system(&self) -> &Descriptor {
        self
    }

    pub(crate) fn into_system(self) -> Descriptor {
        self
    }
}
