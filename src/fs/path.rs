//! Operations on paths.

use std::{panic::Location, path::Path};

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

/// Reads a whole file, and passes its bytes to `callback`.
#[track_caller]
pub fn read<S>(
    lp: &mut Loop<S>,
    path: impl AsRef<Path>,
    callback: impl FnOnce(&mut Loop<S>, &mut S, Result<Vec<u8>>) -> Result + 'static,
) -> Result<Request> {
    let path = path.as_ref().to_owned();
    submit(lp, Op::read("read"), move |fs| fs.read(&path).on(&path), callback, Location::caller())
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
    let path = path.as_ref().to_owned();
    let run = move |fs: &mut dyn FileSystem| fs.metadata(&path, true).on(&path);
    submit(lp, Op::read("metadata"), run, callback, Location::caller())
}

/// Passes the metadata of a path to `callback`. Does not follow a symbolic link at the end of the path.
#[track_caller]
pub fn symlink_metadata<S>(
    lp: &mut Loop<S>,
    path: impl AsRef<Path>,
    callback: impl FnOnce(&mut Loop<S>, &mut S, Result<Metadata>) -> Result + 'static,
) -> Result<Request> {
    let path = path.as_ref().to_owned();
    let run = move |fs: &mut dyn FileSystem| fs.metadata(&path, false).on(&path);
    submit(lp, Op::read("metadata"), run, callback, Location::caller())
}
