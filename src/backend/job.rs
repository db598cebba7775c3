//! Jobs and their outcomes: plain data that can go to a thread, to a ring, or to a world in memory.

use std::{
    any::Any,
    io,
    ops::Deref,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::Descriptor;
use crate::{
    error::Error,
    fs::{Metadata, OpenOptions},
};

/// Something that may block, to be done elsewhere.
pub(crate) enum Job {
    /// A closure of the application.
    Call(Box<dyn Task>),
    /// Open a file.
    Open { path: PathBuf, options: OpenOptions },
    /// Open, read to the end, close.
    ReadAll { path: PathBuf },
    /// Create or truncate, write everything, close.
    WriteAll { path: PathBuf, bytes: Content },
    /// What the system knows about a path.
    Stat { path: PathBuf, follow: bool },
    /// What the system knows about an open file.
    StatFile { file: Arc<Descriptor> },
    /// Read into the buffer's room, once, at an offset.
    ReadAt { file: Arc<Descriptor>, buffer: Vec<u8>, offset: u64 },
    /// Write everything at an offset.
    WriteAt { file: Arc<Descriptor>, bytes: Content, offset: u64 },
    /// Write everything at the end.
    Append { file: Arc<Descriptor>, bytes: Content },
    /// Wait until the data, and the metadata if asked for, are on the disk.
    Sync { file: Arc<Descriptor>, data_only: bool },
    /// Cut or extend.
    SetLen { file: Arc<Descriptor>, len: u64 },
    /// Close what may take time to close, and say how it went.
    Close { file: Arc<Descriptor> },
}

/// What is to be written: bytes that may go to another thread.
#[derive(Debug)]
pub(crate) enum Content {
    Owned(Vec<u8>),
    Shared(Arc<[u8]>),
}

impl Deref for Content {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Content::Owned(bytes) => bytes,
            Content::Shared(bytes) => bytes,
        }
    }
}

/// A closure of the application, then what it returned: in one place, so that one block of memory goes to the
/// worker and back.
pub(crate) trait Task: Send {
    /// Calls the closure and keeps what it returns. Once.
    fn perform(&mut self);

    /// Puts the value into `place`, which is an `Option` of its type.
    fn give(&mut self, place: &mut dyn Any);
}

impl std::fmt::Debug for dyn Task {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Task")
    }
}

/// Calls a closure of the application's. Nothing of ours is seen by it, so nothing of ours can be left half done
/// when it panics.
pub(crate) fn call(mut task: Box<dyn Task>) -> Result<Outcome, Error> {
    match catch_unwind(AssertUnwindSafe(|| task.perform())) {
        Ok(()) => Ok(Outcome::Value(task)),
        Err(panic) => Err(Error::Panicked { op: "work", message: said(&*panic) }),
    }
}

/// What was said with a panic.
pub(crate) fn said(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a value that is not a string".to_owned())
}

/// What a job's error is made of: the act, and the path if it was given one. Nothing is formatted unless it failed.
pub(crate) fn failed_on(op: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::system_on(op, path.display(), source)
}

pub(crate) fn failed(op: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::system(op, source)
}

/// What came of a job, or of any request.
#[derive(Debug)]
pub(crate) enum Outcome {
    Done,
    Count(usize),
    Bytes(Vec<u8>),
    Metadata(Metadata),
    /// An open file, and its path.
    File(Descriptor, PathBuf),
    /// A task that was performed.
    Value(Box<dyn Task>),
}

/// A finished job, on its way to the loop.
#[derive(Debug)]
pub(crate) struct Done {
    /// What the job was submitted as.
    pub(crate) token: u64,
    pub(crate) result: Result<Outcome, Error>,
}

/// What became of a job that was submitted.
pub(crate) enum Submitted {
    /// It could be done without blocking, and was.
    Finished(Result<Outcome, Error>),
    /// It waits for a worker. The ticket can withdraw it until one takes it.
    Queued(u64),
}
