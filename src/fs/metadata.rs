//! Metadata of files, as plain data.

use std::{
    os::unix::fs::MetadataExt,
    time::{Duration, SystemTime},
};

/// The type of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileType {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A pipe, a socket, a device.
    Other,
}

/// What the system knows about a file.
///
/// From [`metadata`](super::metadata) and [`File::metadata`](super::File::metadata).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metadata {
    /// Its type.
    pub file_type: FileType,
    /// Its length in bytes.
    pub len: u64,
    /// The permission bits, such as `0o644`.
    pub mode: u32,
    /// The number of the device that it is on.
    pub device: u64,
    /// Its inode number on that device.
    pub inode: u64,
    /// The number of its hard links.
    pub links: u64,
    /// The id of the user that owns it.
    pub uid: u32,
    /// The id of the group that owns it.
    pub gid: u32,
    /// When its contents last changed.
    pub modified: SystemTime,
    /// When it was last read, as far as the system records that.
    pub accessed: SystemTime,
    /// When it was created, if the file system records that.
    pub created: Option<SystemTime>,
}

impl Metadata {
    /// Returns whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.file_type == FileType::File
    }

    /// Returns whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.file_type == FileType::Directory
    }
}

impl From<std::fs::Metadata> for Metadata {
    fn from(found: std::fs::Metadata) -> Metadata {
        let kind = found.file_type();
        let file_type = match () {
            () if kind.is_file() => FileType::File,
            () if kind.is_dir() => FileType::Directory,
            () if kind.is_symlink() => FileType::Symlink,
            () => FileType::Other,
        };
        Metadata {
            file_type,
            len: found.len(),
            mode: found.mode() & 0o7777,
            device: found.dev(),
            inode: found.ino(),
            links: found.nlink(),
            uid: found.uid(),
            gid: found.gid(),
            modified: time(found.mtime(), found.mtime_nsec()),
            accessed: time(found.atime(), found.atime_nsec()),
            created: found.created().ok(),
        }
    }
}

/// Converts a timestamp. One that `SystemTime` cannot hold becomes the epoch, rather than a panic.
pub(crate) fn time(seconds: i64, nanos: i64) -> SystemTime {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let base = if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(whole)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(whole)
    };
    base.and_then(|base| base.checked_add(Duration::from_nanos(nanos.clamp(0, 999_999_999) as u64)))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}
