//! Files, by callback, never blocking the loop.
//!
//! Operations run on the loop's worker threads. On Linux, what the system holds in memory is found and read
//! without them: looking at a cached file, opening and reading it then costs a few system calls instead of a
//! thread's round trip. The callback is deferred either way. Buffers belong to the loop while they are in
//! flight. Every operation can be [cancelled](crate::Request::cancel) until a worker has begun it.
//!
//! ```
//! use ringback::{Loop, fs};
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("greeting");
//!
//! let mut lp = Loop::new()?;
//! let again = path.clone();
//! fs::write(&mut lp, &path, "hello", move |lp, _, written| {
//!     written?;
//!     fs::read(lp, &again, |_, text, bytes| {
//!         *text = String::from_utf8(bytes?)?;
//!         Ok(())
//!     })?;
//!     Ok(())
//! })?;
//! let mut text = String::new();
//! lp.run(&mut text)?;
//! assert_eq!(text, "hello");
//! # Ok::<(), ringback::Error>(())
//! ```

mod file;
mod metadata;

use std::{panic::Location, path::Path};

pub(crate) use file::{CLOSE, State as FileState, quiesced, release};
pub use file::{File, OpenOptions};
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) use metadata::time;
pub use metadata::{FileType, Metadata};

use crate::{
    Loop,
    backend::job::{Content, Job, Outcome},
    error::{Error, Result},
    handle::{Handle, Kind, Request},
    payload::Payload,
};

/// Reads a whole file. `callback` gets its bytes, in a deferred phase.
///
/// # Errors
///
/// [`Error::System`] only if no worker thread can be started; whatever else goes wrong (no such file, a
/// directory, …) goes to the callback, naming the path.
#[track_caller]
pub fn read<S>(
    lp: &mut Loop<S>,
    path: impl AsRef<Path>,
    callback: impl FnOnce(&mut Loop<S>, &mut S, Result<Vec<u8>>) -> Result + 'static,
) -> Result<Request> {
    let job = Job::ReadAll { path: path.as_ref().to_owned() };
    submit(lp, None, "read", job, bytes, callback, Location::caller())
}

/// Writes a whole file: makes it, or replaces what it held. `callback` is called in a deferred phase
/// once the system has everything (not necessarily the disk: see [`File::sync`]).
///
/// # Errors
///
/// As [`read`]. A disk that is full is told to the callback; what fitted is written by then.
#[track_caller]
pub fn write<'a, S>(
    lp: &mut Loop<S>,
    path: impl AsRef<Path>,
    contents: impl Into<Payload<'a>>,
    callback: impl FnOnce(&mut Loop<S>, &mut S, Result) -> Result + 'static,
) -> Result<Request> {
    let job = Job::WriteAll { path: path.as_ref().to_owned(), bytes: content(contents.into()) };
    submit(lp, None, "write", job, done, callback, Location::caller())
}

/// What the system knows about a path. Follows symbolic links.
///
/// # Errors
///
/// As [`read`].
#[track_caller]
pub fn metadata<S>(
    lp: &mut Loop<S>,
    path: impl AsRef<Path>,
    callback: impl FnOnce(&mut Loop<S>, &mut S, Result<Metadata>) -> Result + 'static,
) -> Result<Request> {
    let job = Job::Stat { path: path.as_ref().to_owned(), follow: true };
    submit(lp, None, "metadata", job, found, callback, Location::caller())
}

/// What the system knows about a path. Of a symbolic link, about the link itself.
///
/// # Errors
///
/// As [`read`].
#[track_caller]
pub fn symlink_metadata<S>(
    lp: &mut Loop<S>,
    path: impl AsRef<Path>,
    callback: impl FnOnce(&mut Loop<S>, &mut S, Result<Metadata>) -> Result + 'static,
) -> Result<Request> {
    let job = Job::Stat { path: path.as_ref().to_owned(), follow: false };
    submit(lp, None, "metadata", job, found, callback, Location::caller())
}

/// A request for a job: its callback gets what `convert` makes of the outcome.
fn submit<S, T: 'static>(
    lp: &mut Loop<S>,
    owner: Option<Handle>,
    op: &'static str,
    job: Job,
    convert: fn(Outcome) -> Option<T>,
    callback: impl FnOnce(&mut Loop<S>, &mut S, Result<T>) -> Result + 'static,
    started: &'static Location<'static>,
) -> Result<Request> {
    let request = lp.core.request(owner, Kind::FileOperation, op, started);
    lp.core.submit(request, job)?;
    if let Some(owner) = owner {
        file::note(&mut lp.core, owner, request);
    }
    lp.set_completion(
        request,
        Box::new(move |lp, state, result| {
            // Never `None`: the job and its conversion are named together.
            let result = result.and_then(|outcome| convert(outcome).ok_or(Error::Canceled { op }));
            let name = owner.and_then(|owner| lp.core.table.name(owner));
            let result = result.map_err(|error| error.with_subject(name.unwrap_or_default()));
            callback(lp, state, result)
        }),
    );
    Ok(request)
}

/// Copies only what cannot go to another thread as it is.
fn content(payload: Payload<'_>) -> Content {
    match payload {
        Payload::Owned(bytes) => Content::Owned(bytes),
        Payload::Arc(bytes) => Content::Shared(bytes),
        other => Content::Owned(other.as_bytes().to_vec()),
    }
}

fn done(outcome: Outcome) -> Option<()> {
    matches!(outcome, Outcome::Done).then_some(())
}

fn bytes(outcome: Outcome) -> Option<Vec<u8>> {
    if let Outcome::Bytes(bytes) = outcome { Some(bytes) } else { None }
}

fn count(outcome: Outcome) -> Option<usize> {
    if let Outcome::Count(count) = outcome { Some(count) } else { None }
}

fn found(outcome: Outcome) -> Option<Metadata> {
    if let Outcome::Metadata(metadata) = outcome { Some(metadata) } else { None }
}
