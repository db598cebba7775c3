//! Operations on paths.

use std::{
    io,
    panic::Location,
    path::{Path, PathBuf},
};

use super::{
    Metadata, OpenOptions,
    operation::{Content, Op, submit},
};
use crate::{
    Loop,
    backend::files::{FileSystem, OnPath},
    error::Result,
    handle::Request,
    payload::Payload,
};

/// Submits an operation on a path, which its error names.
fn on_path<S, T: Send + 'static>(
    lp: &mut Loop<S>,
    op: Op,
    path: &Path,
    run: impl Fn(&mut dyn FileSystem, &Path) -> io::Result<T> + Send + 'static,
    callback: impl FnOnce(&mut Loop<S>, &mut S, Result<T>) -> Result + 'static,
    started_at: &'static Location<'static>,
) -> Result<Request> {
    let path = path.to_owned();
    submit(lp, op, move |fs| run(fs, &path).on(&path), callback, started_at)
}

/// Submits an operation on two paths. Its error names both.
fn on_both<S>(
    lp: &mut Loop<S>,
    op: Op,
    (from, to): (&Path, &Path),
    run: impl Fn(&mut dyn FileSystem, &Path, &Path) -> io::Result<()> + Send + 'static,
    callback: impl FnOnce(&mut Loop<S>, &mut S, Result) -> Result + 'static,
    started_at: &'static Location<'static>,
) -> Result<Request> {
    let (from, to) = (from.to_owned(), to.to_owned());
    submit(lp, op, move |fs| run(fs, &from, &to).on_both(&from, &to), callback, started_at)
}

/// Reads a whole file, and passes its bytes to `callback`.
#[track_caller]
pub fn read<S>(
    lp: &mut Loop<S>,
    path: impl AsRef<Path>,
    callback: impl FnOnce(&mut Loop<S>, &mut S, Result<Vec<u8>>) -> Result + 'static,
) -> Result<Request> {
    let run = |fs: &mut dyn FileSystem, path: &Path| fs.read(path);
    on_path(lp, Op::read("read"), path.as_ref(), run, callback, Location::caller())
}

/// Writes a whole file: creates it, or replaces its contents.
///
/// `callback` runs when the system has all bytes. For the disk to have them, see
/// [`File::sync`](super::File::sync). If the disk is full, `callback` gets the error, and some bytes may have
/// been written.
#[track_caller]
pub fn write<'a, S>(
    lp: &mut Loop<S>,
    path: impl AsRef<Path>,
    contents: impl Into<Payload<'a>>,
    callback: impl FnOnce(&mut Loop<S>, &mut S, Result) -> Result + 'static,
) -> Result<Request> {
    let (path, content) = (path.as_ref().to_owned(), Content::from(contents.into()));
    let options = OpenOptions::new().write(true).create(true).truncate(true);
    let run = move |fs: &mut dyn FileSystem| {
        let file = fs.open(&path, &options).on(&path)?;
        fs.write_at(&file, &content, 0).on(&path)?;
        fs.close(file).on(&path)
    };
    submit(lp, Op::write("write"), run, callback, Location::caller())
}

/// Passes the metadata of a path to `callback`. Follows symbolic links.
#[track_caller]
pub fn metadata<S>(
    lp: &mut Loop<S>,
    path: impl AsRef<Path>,
    callback: impl FnOnce(&mut Loop<S>, &mut S, Result<Metadata>) -> Result + 'static,
) -> Result<Request> {
    let run = |fs: &mut dyn FileSystem, path: &Path| fs.metadata(path, true);
    on_path(lp, Op::read("metadata"), path.as_ref(), run, callback, Location::caller())
}

/// Passes the metadata of a path to `callback`. Does not follow a symbolic link at the end of the path.
#[track_caller]
pub fn symlink_metadata<S>(
    lp: &mut Loop<S>,
    path: impl AsRef<Path>,
    callback: impl FnOnce(&mut Loop<S>, &mut S, Result<Metadata>) -> Result + 'static,
) -> Result<Request> {
    let run = |fs: &mut dyn FileSystem, path: &Path| fs.metadata(path, false);
    on_path(lp, Op::read("metadata"), path.as_ref(), run, callback, Location::caller())
}

/// Renames a file or a directory, within one file system.
///
/// A file replaces the file that `to` names, a directory an empty directory. To every other process the
/// replacement is a single step: it finds the old file or the new one. Symbolic links are renamed and
/// replaced themselves. The error names both paths.
///
/// ```
/// use ringback::{Loop, fs};
/// # let dir = tempfile::tempdir().unwrap();
/// # let (from, to) = (dir.path().join("from"), dir.path().join("to"));
/// # std::fs::write(&from, "text").unwrap();
///
/// let mut lp = Loop::new()?;
/// fs::rename(&mut lp, &from, &to, |_, _, renamed| renamed)?;
/// lp.run(&mut ())?;
/// # assert!(to.exists() && !from.exists());
/// # Ok::<(), ringback::Error>(())
/// ```
#[track_caller]
pub fn rename<S>(
    lp: &mut Loop<S>,
    from: impl AsRef<Path>,
    to: impl AsRef<Path>,
    callback: impl FnOnce(&mut Loop<S>, &mut S, Result) -> Result + 'static,
) -> Result<Request> {
    let run = |fs: &mut dyn FileSystem, from: &Path, to: &Path| fs.rename(from, to);
    on_both(lp, Op::write("rename"), (from.as_ref(), to.as_ref()), run, callback, Location::caller())
}

/// Removes a file. Of a symbolic link, the link itself.
///
/// What another name leads to, or an open [`File`](super::File), stays until that is gone, too.
///
/// ```
/// use ringback::{Loop, fs};
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("old");
/// # std::fs::write(&path, "text").unwrap();
///
/// let mut lp = Loop::new()?;
/// fs::remove_file(&mut lp, &path, |_, _, removed| removed)?;
/// lp.run(&mut ())?;
/// # assert!(!path.exists());
/// # Ok::<(), ringback::Error>(())
/// ```
#[track_caller]
pub fn remove_file<S>(
    lp: &mut Loop<S>,
    path: impl AsRef<Path>,
    callback: impl FnOnce(&mut Loop<S>, &mut S, Result) -> Result + 'static,
) -> Result<Request> {
    let run = |fs: &mut dyn FileSystem, path: &Path| fs.remove_file(path);
    on_path(lp, Op::write("remove file"), path.as_ref(), run, callback, Location::caller())
}

/// Creates a directory, with the permission bits 0o777 less the process's umask.
///
/// The directory above it must exist, and the path itself must not.
///
/// ```
/// use ringback::{Loop, fs};
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("new");
///
/// let mut lp = Loop::new()?;
/// fs::create_dir(&mut lp, &path, |_, _, created| created)?;
/// lp.run(&mut ())?;
/// # assert!(path.is_dir());
/// # Ok::<(), ringback::Error>(())
/// ```
#[track_caller]
pub fn create_dir<S>(
    lp: &mut Loop<S>,
    path: impl AsRef<Path>,
    callback: impl FnOnce(&mut Loop<S>, &mut S, Result) -> Result + 'static,
) -> Result<Request> {
    let run = |fs: &mut dyn FileSystem, path: &Path| fs.create_dir(path);
    on_path(lp, Op::write("create directory"), path.as_ref(), run, callback, Location::caller())
}

/// Removes a directory, which must be empty.
///
/// ```
/// use ringback::{Loop, fs};
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("old");
/// # std::fs::create_dir(&path).unwrap();
///
/// let mut lp = Loop::new()?;
/// fs::remove_dir(&mut lp, &path, |_, _, removed| removed)?;
/// lp.run(&mut ())?;
/// # assert!(!path.exists());
/// # Ok::<(), ringback::Error>(())
/// ```
#[track_caller]
pub fn remove_dir<S>(
    lp: &mut Loop<S>,
    path: impl AsRef<Path>,
    callback: impl FnOnce(&mut Loop<S>, &mut S, Result) -> Result + 'static,
) -> Result<Request> {
    let run = |fs: &mut dyn FileSystem, path: &Path| fs.remove_dir(path);
    on_path(lp, Op::write("remove directory"), path.as_ref(), run, callback, Location::caller())
}

/// Gives the file `original` a second name, `link`, in the same file system.
///
/// If `original` is a symbolic link, Linux links that link itself; other systems may follow it. The error
/// names both paths.
///
/// ```
/// use ringback::{Loop, fs};
/// # let dir = tempfile::tempdir().unwrap();
/// # let (original, link) = (dir.path().join("original"), dir.path().join("link"));
/// # std::fs::write(&original, "text").unwrap();
///
/// let mut lp = Loop::new()?;
/// fs::hard_link(&mut lp, &original, &link, |_, _, linked| linked)?;
/// lp.run(&mut ())?;
/// # assert_eq!(std::fs::read(&link).unwrap(), b"text");
/// # Ok::<(), ringback::Error>(())
/// ```
#[track_caller]
pub fn hard_link<S>(
    lp: &mut Loop<S>,
    original: impl AsRef<Path>,
    link: impl AsRef<Path>,
    callback: impl FnOnce(&mut Loop<S>, &mut S, Result) -> Result + 'static,
) -> Result<Request> {
    let run = |fs: &mut dyn FileSystem, original: &Path, link: &Path| fs.hard_link(original, link);
    on_both(lp, Op::write("hard link"), (original.as_ref(), link.as_ref()), run, callback, Location::caller())
}

/// Creates the symbolic link `link`, which leads to `original`.
///
/// `original` is kept as it is given, and need not exist. A relative one is looked up from the directory of
/// the link. The error names both paths.
///
/// ```
/// use ringback::{Loop, fs};
/// # let dir = tempfile::tempdir().unwrap();
/// # let link = dir.path().join("current");
///
/// let mut lp = Loop::new()?;
/// fs::symlink(&mut lp, "release-2", &link, |_, _, linked| linked)?;
/// lp.run(&mut ())?;
/// # assert_eq!(std::fs::read_link(&link).unwrap(), std::path::Path::new("release-2"));
/// # Ok::<(), ringback::Error>(())
/// ```
#[track_caller]
pub fn symlink<S>(
    lp: &mut Loop<S>,
    original: impl AsRef<Path>,
    link: impl AsRef<Path>,
    callback: impl FnOnce(&mut Loop<S>, &mut S, Result) -> Result + 'static,
) -> Result<Request> {
    let run = |fs: &mut dyn FileSystem, original: &Path, link: &Path| fs.symlink(original, link);
    on_both(lp, Op::write("symlink"), (original.as_ref(), link.as_ref()), run, callback, Location::caller())
}

/// Reads a symbolic link. `callback` gets the path that it holds, which may be relative to the link's
/// directory.
///
/// ```
/// use ringback::{Loop, fs};
/// # let dir = tempfile::tempdir().unwrap();
/// # let link = dir.path().join("current");
/// # std::os::unix::fs::symlink("release-2", &link).unwrap();
///
/// let mut lp = Loop::new()?;
/// fs::read_link(&mut lp, &link, |_, _, original| {
///     assert_eq!(original?, std::path::Path::new("release-2"));
///     Ok(())
/// })?;
/// lp.run(&mut ())?;
/// # Ok::<(), ringback::Error>(())
/// ```
#[track_caller]
pub fn read_link<S>(
    lp: &mut Loop<S>,
    path: impl AsRef<Path>,
    callback: impl FnOnce(&mut Loop<S>, &mut S, Result<PathBuf>) -> Result + 'static,
) -> Result<Request> {
    let run = |fs: &mut dyn FileSystem, path: &Path| fs.read_link(path);
    on_path(lp, Op::blocking("read link"), path.as_ref(), run, callback, Location::caller())
}

/// Resolves a path. `callback` gets it absolute, and without symbolic links, `.` and `..`.
///
/// The path must exist.
///
/// ```
/// use ringback::{Loop, fs};
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("file");
/// # std::fs::write(&path, "text").unwrap();
/// # let roundabout = dir.path().join(".").join("file");
/// # let expected = std::fs::canonicalize(&path).unwrap();
///
/// let mut lp = Loop::new()?;
/// fs::canonicalize(&mut lp, &roundabout, move |_, _, path| {
///     assert_eq!(path?, expected);
///     Ok(())
/// })?;
/// lp.run(&mut ())?;
/// # Ok::<(), ringback::Error>(())
/// ```
#[track_caller]
pub fn canonicalize<S>(
    lp: &mut Loop<S>,
    path: impl AsRef<Path>,
    callback: impl FnOnce(&mut Loop<S>, &mut S, Result<PathBuf>) -> Result + 'static,
) -> Result<Request> {
    let run = |fs: &mut dyn FileSystem, path: &Path| fs.canonicalize(path);
    on_path(lp, Op::blocking("canonicalize"), path.as_ref(), run, callback, Location::caller())
}
