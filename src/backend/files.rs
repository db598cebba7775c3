//! The contract of file operations, one method for each system call.
//!
//! Three types implement it: for workers, which may block (`native/fs/blocking.rs`); for the loop itself,
//! with what the kernel has in memory (`native/fs/cached.rs`), where
//! [`WouldBlock`](io::ErrorKind::WouldBlock) means "run it on a worker"; and for a simulated world.
//! Operations are closures over this trait, so one that takes several calls is written once.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use super::{Descriptor, unsupported::unsupported};
use crate::{
    error::Error,
    fs::{Metadata, OpenOptions},
};

/// A file system, in the words of `std::fs`. Every method may block, unless the implementation says
/// otherwise.
///
/// Methods with a default body are those that a world need not have: what it lacks is refused as
/// [`Unsupported`](io::ErrorKind::Unsupported).
pub(crate) trait FileSystem {
    fn open(&mut self, path: &Path, options: &OpenOptions) -> io::Result<Descriptor>;

    /// Closes a file, and returns the system's error: a full disk, a server that is gone.
    fn close(&mut self, file: Descriptor) -> io::Result<()>;

    /// Reads a whole file.
    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>>;

    /// Reads from `offset + buffer.len()` until the buffer's capacity is filled or the file ends. After an
    /// error the buffer has what was read before.
    fn read_at(&mut self, file: &Descriptor, buffer: &mut Vec<u8>, offset: u64) -> io::Result<()>;

    /// Writes all bytes at an offset.
    fn write_at(&mut self, file: &Descriptor, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Writes all bytes at the end of a file that was opened for appending.
    fn append(&mut self, file: &Descriptor, bytes: &[u8]) -> io::Result<()>;

    /// Waits until the data, and the metadata unless `data_only`, are on the disk.
    fn sync(&mut self, file: &Descriptor, data_only: bool) -> io::Result<()>;

    /// Truncates a file, or extends it with zeroes.
    fn set_len(&mut self, file: &Descriptor, len: u64) -> io::Result<()>;

    fn metadata(&mut self, path: &Path, follow: bool) -> io::Result<Metadata>;

    fn file_metadata(&mut self, file: &Descriptor) -> io::Result<Metadata>;

    /// Sets the permission bits of an open file, whatever the umask.
    fn set_mode(&mut self, _file: &Descriptor, _mode: u32) -> io::Result<()> {
        Err(unsupported("set permissions"))
    }

    /// Renames, and replaces what `to` names: a file by a file, an empty directory by a directory.
    fn rename(&mut self, _from: &Path, _to: &Path) -> io::Result<()> {
        Err(unsupported("rename"))
    }

    /// Removes the name of a file or of a symbolic link.
    fn remove_file(&mut self, _path: &Path) -> io::Result<()> {
        Err(unsupported("remove a file"))
    }

    /// Creates a directory with the mode 0o777, less the umask.
    fn create_dir(&mut self, _path: &Path) -> io::Result<()> {
        Err(unsupported("create a directory"))
    }

    /// Removes an empty directory.
    fn remove_dir(&mut self, _path: &Path) -> io::Result<()> {
        Err(unsupported("remove a directory"))
    }

    /// Gives `original` a second name. Of a symbolic link, the link itself.
    fn hard_link(&mut self, _original: &Path, _link: &Path) -> io::Result<()> {
        Err(unsupported("hard link"))
    }

    /// Creates a symbolic link that holds `original`, whether that exists or not.
    fn symlink(&mut self, _original: &Path, _link: &Path) -> io::Result<()> {
        Err(unsupported("symlink"))
    }

    fn read_link(&mut self, _path: &Path) -> io::Result<PathBuf> {
        Err(unsupported("read a link"))
    }

    /// Returns the absolute path without symbolic links, `.` and `..`.
    fn canonicalize(&mut self, _path: &Path) -> io::Result<PathBuf> {
        Err(unsupported("canonicalize"))
    }

    /// Waits until the names in a directory are on the disk.
    fn sync_dir(&mut self, _path: &Path) -> io::Result<()> {
        Err(unsupported("sync a directory"))
    }

    /// Returns a part of a file name that no other process and no other call uses at this time. A process
    /// that ended without cleaning up may have used it.
    fn unique_name(&mut self) -> io::Result<String> {
        Err(unsupported("unique names"))
    }
}

/// Why an operation on files failed.
#[derive(Debug)]
pub(crate) struct FileError {
    /// The path or paths. Empty if the operation was on an open file.
    subject: String,
    source: io::Error,
}

impl FileError {
    fn new(source: io::Error, subject: fmt::Arguments<'_>) -> FileError {
        // Not for a refusal that only means "run it on a worker".
        let is_final = source.kind() != io::ErrorKind::WouldBlock;
        FileError { subject: if is_final { subject.to_string() } else { String::new() }, source }
    }

    pub(crate) fn would_block(&self) -> bool {
        self.source.kind() == io::ErrorKind::WouldBlock
    }

    /// Returns the error of an operation of this name.
    pub(crate) fn named(self, op: &'static str) -> Error {
        Error::System { op, subject: self.subject, source: self.source }
    }
}

impl From<io::Error> for FileError {
    fn from(source: io::Error) -> FileError {
        FileError { subject: String::new(), source }
    }
}

/// Adds the subject of an operation to its error. Formats nothing unless the operation failed.
pub(crate) trait OnPath<T> {
    fn on(self, path: &Path) -> Result<T, FileError>;

    /// For an operation on two paths.
    fn on_both(self, from: &Path, to: &Path) -> Result<T, FileError>;
}

impl<T> OnPath<T> for io::Result<T> {
    fn on(self, path: &Path) -> Result<T, FileError> {
        self.map_err(|source| FileError::new(source, format_args!("{}", path.display())))
    }

    fn on_both(self, from: &Path, to: &Path) -> Result<T, FileError> {
        self.map_err(|source| FileError::new(source, format_args!("{} to {}", from.display(), to.display())))
    }
}
