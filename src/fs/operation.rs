//! Turns an operation on files into a job and a request.

use std::{any::Any, ops::Deref, panic::Location, sync::Arc};

use crate::{
    Loop,
    backend::{
        files::{FileError, FileSystem},
        job::{FileTask, Job},
    },
    error::Result,
    handle::{Handle, Kind, Request},
    payload::Payload,
};

/// The name of an operation, its file, and whether it only reads.
pub(super) struct Op {
    name: &'static str,
    owner: Option<Handle>,
    only_reads: bool,
}

impl Op {
    /// An operation that changes something: it always runs on a worker.
    pub(super) fn write(name: &'static str) -> Op {
        Op { name, owner: None, only_reads: false }
    }

    /// An operation that only reads. It is tried first with what is in memory, and may run again on a worker.
    pub(super) fn read(name: &'static str) -> Op {
        Op { name, owner: None, only_reads: true }
    }

    /// An operation that only reads, but never from memory: it always runs on a worker.
    pub(super) fn blocking(name: &'static str) -> Op {
        Op::write(name)
    }

    /// Sets the open file that it is on.
    pub(super) fn of(self, owner: Handle) -> Op {
        Op { owner: Some(owner), ..self }
    }
}

struct Operation<F, T> {
    name: &'static str,
    only_reads: bool,
    /// `None` once it has succeeded, so that what it owns, such as an open file, is released.
    run: Option<F>,
    result: Option<T>,
}

impl<F, T> FileTask for Operation<F, T>
where
    F: FnMut(&mut dyn FileSystem) -> Result<T, FileError> + Send,
    T: Send + 'static,
{
    fn op(&self) -> &'static str {
        self.name
    }

    fn only_reads(&self) -> bool {
        self.only_reads
    }

    fn run(&mut self, fs: &mut dyn FileSystem) -> Result<(), FileError> {
        if let Some(run) = &mut self.run {
            self.result = Some(run(fs)?);
            self.run = None;
        }
        Ok(())
    }

    fn take(&mut self, place: &mut dyn Any) {
        if let Some(place) = place.downcast_mut::<Option<T>>() {
            *place = self.result.take();
        }
    }
}

/// Makes the job of an operation.
pub(super) fn job<T: Send + 'static>(
    op: &Op,
    run: impl FnMut(&mut dyn FileSystem) -> Result<T, FileError> + Send + 'static,
) -> Job {
    Job::Files(Box::new(Operation { name: op.name, only_reads: op.only_reads, run: Some(run), result: None }))
}

/// Submits an operation. `run` carries it out, on a worker or here; `callback` gets its result, in a deferred
/// phase.
pub(super) fn submit<S, T: Send + 'static>(
    lp: &mut Loop<S>,
    op: Op,
    run: impl FnMut(&mut dyn FileSystem) -> Result<T, FileError> + Send + 'static,
    callback: impl FnOnce(&mut Loop<S>, &mut S, Result<T>) -> Result + 'static,
    started_at: &'static Location<'static>,
) -> Result<Request> {
    let owner = op.owner;
    let request = lp.core.request(owner, Kind::FileOperation, op.name, started_at);
    lp.core.submit(request, job(&op, run))?;
    if let Some(owner) = owner {
        super::file::note_queued(&mut lp.core, owner, request);
    }
    lp.set_completion(
        request,
        Box::new(move |lp, state, result| {
            let name = owner.and_then(|owner| lp.core.name(owner)).unwrap_or_default();
            let result = result.map(done).map_err(|error| error.with_subject(name));
            callback(lp, state, result)
        }),
    );
    Ok(request)
}

fn done<T: 'static>(job: Option<Job>) -> T {
    job.expect("a file operation completes with its job").into_result()
}

/// Bytes to write that can be sent to another thread.
pub(super) enum Content {
    Owned(Vec<u8>),
    Shared(Arc<[u8]>),
}

impl From<Payload<'_>> for Content {
    /// Copies the bytes only if they cannot be sent to another thread as they are.
    fn from(payload: Payload<'_>) -> Content {
        match payload {
            Payload::Owned(bytes) => Content::Owned(bytes),
            Payload::Arc(bytes) => Content::Shared(bytes),
            other => Content::Owned(other.as_bytes().to_vec()),
        }
    }
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
