//! Operations that are several calls of a file system. Written once, for workers and for worlds.

use std::{
    io,
    panic::Location,
    path::{Path, PathBuf},
};

use super::{
    FileType, Metadata, OpenOptions,
    operation::{Content, Op, submit},
};
use crate::{
    Loop,
    backend::{
        Descriptor,
        files::{FileSystem, OnPath},
    },
    error::Result,
    handle::Request,
    payload::Payload,
};

/// The most symbolic links that are followed from the last name of a path, as on Linux.
const LINKS_MAX: usize = 40;
/// The most names that are tried for a temporary file. A process that crashed may have left files with its
/// names.
const NAMES_MAX: usize = 10_000;
/// How much of a file's name is kept in that of its temporary file, in bytes: most systems have names of 255.
const NAME_KEPT: usize = 180;

/// Replaces a whole file, or creates it, in a single step: every reader finds the old contents or the new.
///
/// After a crash, too, the file holds the old contents or the new: never a part, and never nothing. Once
/// `callback` is called without an error, it is the new ones. For that a worker
///
/// 1. creates a temporary file in the same directory, named `.NAME.PID-COUNTER.tmp`,
/// 2. writes the contents to it, and waits until they are on the disk,
/// 3. renames it, and waits until the directory is on the disk.
///
/// It takes two waits for the disk, so [`write`](super::write) is quicker. If anything fails, the temporary
/// file is removed, and the error names the path. If only the last wait fails, the new contents are in place,
/// but a crash may bring back the old ones. A crash or a kill may leave the temporary file.
///
/// A symbolic link is followed: the file that it leads to is replaced or created, and the link stays.
///
/// The new file has the permission bits of the old one, or 0o666 less the process's umask. Its owner is that
/// of the process, and other hard links keep the old contents. The process must be able to write to the
/// directory; whether it could write to the file does not matter.
///
/// # Errors
///
/// As for [`write`](super::write). Through `callback`, also [`io::ErrorKind::InvalidInput`] for a device, a
/// pipe or a socket, because the rename would remove it.
///
/// ```
/// use ringback::{Loop, fs};
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("settings");
///
/// let mut lp = Loop::new()?;
/// fs::write_atomic(&mut lp, &path, "volume = 11", |_, _, written| written)?;
/// lp.run(&mut ())?;
/// # assert_eq!(std::fs::read(&path).unwrap(), b"volume = 11");
/// # Ok::<(), ringback::Error>(())
/// ```
#[track_caller]
pub fn write_atomic<'a, S>(
    lp: &mut Loop<S>,
    path: impl AsRef<Path>,
    contents: impl Into<Payload<'a>>,
    callback: impl FnOnce(&mut Loop<S>, &mut S, Result) -> Result + 'static,
) -> Result<Request> {
    let (path, content) = (path.as_ref().to_owned(), Content::from(contents.into()));
    let run = move |fs: &mut dyn FileSystem| replace(fs, &path, &content).on(&path);
    submit(lp, Op::write("write atomically"), run, callback, Location::caller())
}

fn replace(fs: &mut dyn FileSystem, path: &Path, content: &[u8]) -> io::Result<()> {
    let Target { path, dir, name, mode } = find_target(fs, path)?;
    let (file, temporary) = create_temporary(fs, &dir, &name, mode.unwrap_or(0o666))?;
    let renamed = fill(fs, file, content, mode).and_then(|()| fs.rename(&temporary, &path));
    if let Err(error) = renamed {
        // The first error is the one to report.
        let _ = fs.remove_file(&temporary);
        return Err(error);
    }
    fs.sync_dir(&dir)
}

/// The file to replace.
struct Target {
    path: PathBuf,
    dir: PathBuf,
    name: String,
    /// Its permission bits, if it exists.
    mode: Option<u32>,
}

fn find_target(fs: &mut dyn FileSystem, path: &Path) -> io::Result<Target> {
    let (path, found) = follow(fs, path)?;
    let mode = match found {
        Some(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Some(found) if !found.is_file() => {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        found => found.map(|found| found.mode),
    };
    let Some(name) = path.file_name() else {
        // Nothing, or `..` of a directory that does not exist: the system has its own error for this.
        fs.metadata(&path, true)?;
        return Err(io::ErrorKind::IsADirectory.into());
    };
    // A slash or a dot at the end, which `file_name` leaves out, means a directory.
    if !path.as_os_str().as_encoded_bytes().ends_with(name.as_encoded_bytes()) {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let name = name.to_string_lossy().into_owned();
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
        _ => PathBuf::from("."),
    };
    Ok(Target { path, dir, name, mode })
}

/// Follows the symbolic links at the end of a path. The kernel follows those before it. What the last one
/// leads to need not exist.
fn follow(fs: &mut dyn FileSystem, path: &Path) -> io::Result<(PathBuf, Option<Metadata>)> {
    let mut at = path.to_owned();
    for _ in 0..LINKS_MAX {
        match fs.metadata(&at, false) {
            Ok(found) if found.file_type == FileType::Symlink => {
                let original = fs.read_link(&at)?;
                at.pop();
                at.push(original);
            }
            Ok(found) => return Ok((at, Some(found))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((at, None)),
            Err(error) => return Err(error),
        }
    }
    // The system has its own error for this.
    fs.metadata(path, true)?;
    Err(io::Error::other("too many symbolic links"))
}

/// Creates an empty file in a directory, under a name that nothing has.
fn create_temporary(
    fs: &mut dyn FileSystem,
    dir: &Path,
    name: &str,
    mode: u32,
) -> io::Result<(Descriptor, PathBuf)> {
    let options = OpenOptions::new().write(true).create_new(true).mode(mode);
    let kept = (0..=NAME_KEPT.min(name.len())).rev().find(|&len| name.is_char_boundary(len)).unwrap_or(0);
    let name = &name[..kept];
    for _ in 0..NAMES_MAX {
        let path = dir.join(format!(".{name}.{}.tmp", fs.unique_name()?));
        match fs.open(&path, &options) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            opened => return opened.map(|file| (file, path)),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "no free name for a temporary file"))
}

/// Writes a file to the disk, and closes it.
fn fill(fs: &mut dyn FileSystem, file: Descriptor, content: &[u8], mode: Option<u32>) -> io::Result<()> {
    if let Some(mode) = mode {
        // The umask does not apply to a file that exists.
        fs.set_mode(&file, mode)?;
    }
    fs.write_at(&file, content, 0)?;
    fs.sync(&file, false)?;
    fs.close(file)
}
