//! An open file: read and write at offsets, append, sync, close.

use std::{
    panic::Location,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Metadata, bytes, content, count, done, found, submit};
use crate::{
    Loop,
    backend::{
        Descriptor,
        job::{Job, Outcome},
    },
    error::{Error, Result},
    event_loop::{core::Core, kinds::Body, typed_handle},
    handle::{Handle, Kind, Request, request::Stage},
    payload::Payload,
};

/// The act of closing a file that was written to.
pub(crate) const CLOSE: &str = "close a file";

typed_handle! {
    /// An open file. Its name, until it is given another, is its path.
    ///
    /// It does not hold the loop by being open; the operations in flight do. Several may be in flight at
    /// a time, and they may be carried out in any order: start one in the callback of another where the
    /// order matters. [`close`](Self::close) cancels those that no worker has begun, and waits for the
    /// others before the file is closed.
    ///
    /// ```
    /// use ringback::{Loop, fs::File};
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("numbers");
    ///
    /// let mut lp = Loop::new()?;
    /// File::create(&mut lp, &path, |lp, _, file| {
    ///     let file = file?;
    ///     file.write_at(lp, 0, "0123456789", move |lp, _, written| {
    ///         assert_eq!(written?, 10);
    ///         file.read_at(lp, 2, Vec::with_capacity(4), move |lp, text, read| {
    ///             *text = String::from_utf8(read?)?;
    ///             file.close(lp);
    ///             Ok(())
    ///         })?;
    ///         Ok(())
    ///     })?;
    ///     Ok(())
    /// })?;
    /// let mut text = String::new();
    /// lp.run(&mut text)?;
    /// assert_eq!(text, "2345");
    /// # Ok::<(), ringback::Error>(())
    /// ```
    File
}

/// How a file is opened. Like [`std::fs::OpenOptions`], as plain data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) append: bool,
    pub(crate) truncate: bool,
    pub(crate) create: bool,
    pub(crate) create_new: bool,
    pub(crate) mode: u32,
}

impl Default for OpenOptions {
    fn default() -> OpenOptions {
        OpenOptions::new()
    }
}

macro_rules! switches {
    ($($(#[$attribute:meta])* $name:ident),* $(,)?) => {$(
        $(#[$attribute])*
        pub fn $name(mut self, on: bool) -> OpenOptions {
            self.$name = on;
            self
        }
    )*};
}

impl OpenOptions {
    /// Neither for reading nor for writing: say at least one.
    pub fn new() -> OpenOptions {
        OpenOptions {
            read: false,
            write: false,
            append: false,
            truncate: false,
            create: false,
            create_new: false,
            mode: 0o666,
        }
    }

    switches! {
        /// For reading.
        read,
        /// For writing.
        write,
        /// For writing at the end, wherever that is by then.
        append,
        /// Empties the file.
        truncate,
        /// Makes the file if it is not there.
        create,
        /// Makes the file, and fails if it is there.
        create_new,
    }

    /// The permission bits of a file that is made, less the process's mask. 0o666 by default.
    pub fn mode(mut self, mode: u32) -> OpenOptions {
        self.mode = mode;
        self
    }

    /// Opens the file. See [`File::open`].
    ///
    /// # Errors
    ///
    /// As [`read`](super::read).
    #[track_caller]
    pub fn open<S>(
        self,
        lp: &mut Loop<S>,
        path: impl AsRef<Path>,
        callback: impl FnOnce(&mut Loop<S>, &mut S, Result<File>) -> Result + 'static,
    ) -> Result<Request> {
        let started = Location::caller();
        let writes = self.write || self.append;
        let job = Job::Open { path: path.as_ref().to_owned(), options: self };
        let opened =
            |outcome| if let Outcome::File(file, path) = outcome { Some((file, path)) } else { None };
        let adopt = move |lp: &mut Loop<S>, state: &mut S, opened: Result<(Descriptor, PathBuf)>| match opened
        {
            Ok((file, path)) => {
                let body = Body::File(State::new(file, writes));
                let file = File(lp.core.insert(body, started));
                // So that what goes wrong with it later says which file that was.
                let name = path.into_os_string().into_string();
                let name = name.unwrap_or_else(|name| name.to_string_lossy().into_owned());
                lp.core.table.set_name(file.0, name);
                // As with a connection that was accepted: if the callback fails, nobody has the file.
                callback(lp, state, Ok(file)).inspect_err(|_| file.close(lp))
            }
            Err(error) => callback(lp, state, Err(error)),
        };
        submit(lp, None, "open", job, opened, adopt, started)
    }

    /// Whether opening can change nothing: then it may be tried without a worker.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) fn only_reads(&self) -> bool {
        let OpenOptions { read, write, append, truncate, create, create_new, mode: _ } = *self;
        read && !(write || append || truncate || create || create_new)
    }
}

/// What a file keeps in its slot.
#[derive(Debug)]
pub(crate) struct State {
    /// Shared with the jobs in flight. `None` once it was given to the job that closes it.
    file: Option<Arc<Descriptor>>,
    writes: bool,
    /// The requests that a worker may not have begun, in the order of asking; and some that are answered by now.
    /// Behind a pointer, because what every kind keeps is as large as the largest.
    pooled: Option<Box<Pooled>>,
}

#[derive(Debug, Default)]
struct Pooled(Vec<Request>);

impl State {
    fn new(file: Descriptor, writes: bool) -> State {
        State { file: Some(Arc::new(file)), writes, pooled: None }
    }
}

/// A request of this file was asked of the backend: it is to be cancelled if the file is closed.
pub(super) fn note(core: &mut Core, handle: Handle, request: Request) {
    let Core { table, requests, .. } = core;
    if !requests.get(request).is_some_and(|pending| matches!(pending.stage, Stage::Queued(_))) {
        return;
    }
    let Some(slot) = table.get_mut(handle) else { return };
    let Body::File(state) = &mut slot.body else { return };
    // Those that are answered go when they are as many as the others: O(1) a request in the long run, and
    // nobody need strike one out when it is answered.
    let Pooled(pooled) = &mut **state.pooled.get_or_insert_default();
    if pooled.len() >= 2 * slot.requests as usize {
        pooled.retain(|&request| requests.get(request).is_some());
    }
    pooled.push(request);
}

impl File {
    /// Opens a file for reading. `callback` gets it in a deferred phase. If the callback returns an error,
    /// the file is closed.
    ///
    /// # Errors
    ///
    /// As [`read`](super::read).
    #[track_caller]
    pub fn open<S>(
        lp: &mut Loop<S>,
        path: impl AsRef<Path>,
        callback: impl FnOnce(&mut Loop<S>, &mut S, Result<File>) -> Result + 'static,
    ) -> Result<Request> {
        OpenOptions::new().read(true).open(lp, path, callback)
    }

    /// Makes a file, or empties the one that is there, for writing and reading. See [`File::open`].
    ///
    /// # Errors
    ///
    /// As [`read`](super::read).
    #[track_caller]
    pub fn create<S>(
        lp: &mut Loop<S>,
        path: impl AsRef<Path>,
        callback: impl FnOnce(&mut Loop<S>, &mut S, Result<File>) -> Result + 'static,
    ) -> Result<Request> {
        OpenOptions::new().read(true).write(true).create(true).truncate(true).open(lp, path, callback)
    }

    /// Reads at an offset, until the buffer's capacity is filled or the file ends. `callback` gets the
    /// buffer, holding what was read and nothing else: shorter than its capacity only at the end of the
    /// file, empty beyond it.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`]; [`Error::Invalid`] for a buffer without capacity; otherwise as
    /// [`read`](super::read).
    #[track_caller]
    pub fn read_at<S>(
        self,
        lp: &mut Loop<S>,
        offset: u64,
        mut buffer: Vec<u8>,
        callback: impl FnOnce(&mut Loop<S>, &mut S, Result<Vec<u8>>) -> Result + 'static,
    ) -> Result<Request> {
        let file = self.file(lp, "read")?;
        if buffer.capacity() == 0 {
            return Err(Error::invalid(
                "read",
                "the buffer has no capacity: give one made by Vec::with_capacity",
            ));
        }
        buffer.clear();
        let job = Job::ReadAt { file, buffer, offset };
        submit(lp, Some(self.0), "read", job, bytes, callback, Location::caller())
    }

    /// Writes everything at an offset. `callback` gets the number of bytes. If the disk is full, it gets
    /// an error, and part may have been written.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`]; otherwise as [`read`](super::read).
    #[track_caller]
    pub fn write_at<'a, S>(
        self,
        lp: &mut Loop<S>,
        offset: u64,
        payload: impl Into<Payload<'a>>,
        callback: impl FnOnce(&mut Loop<S>, &mut S, Result<usize>) -> Result + 'static,
    ) -> Result<Request> {
        let job = Job::WriteAt { file: self.file(lp, "write")?, bytes: content(payload.into()), offset };
        submit(lp, Some(self.0), "write", job, count, callback, Location::caller())
    }

    /// Writes everything at the end of a file that was opened with [`OpenOptions::append`] (for another,
    /// where it was last written). `callback` gets the number of bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`]; otherwise as [`read`](super::read).
    #[track_caller]
    pub fn append<'a, S>(
        self,
        lp: &mut Loop<S>,
        payload: impl Into<Payload<'a>>,
        callback: impl FnOnce(&mut Loop<S>, &mut S, Result<usize>) -> Result + 'static,
    ) -> Result<Request> {
        let job = Job::Append { file: self.file(lp, "append")?, bytes: content(payload.into()) };
        submit(lp, Some(self.0), "append", job, count, callback, Location::caller())
    }

    /// Waits until everything written is on the disk, with what is needed to find it again.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`]; otherwise as [`read`](super::read).
    #[track_caller]
    pub fn sync<S>(
        self,
        lp: &mut Loop<S>,
        callback: impl FnOnce(&mut Loop<S>, &mut S, Result) -> Result + 'static,
    ) -> Result<Request> {
        let job = Job::Sync { file: self.file(lp, "sync")?, data_only: false };
        submit(lp, Some(self.0), "sync", job, done, callback, Location::caller())
    }

    /// The same without what is only about the file, such as its times.
    ///
    /// # Errors
    ///
    /// As [`sync`](Self::sync).
    #[track_caller]
    pub fn sync_data<S>(
        self,
        lp: &mut Loop<S>,
        callback: impl FnOnce(&mut Loop<S>, &mut S, Result) -> Result + 'static,
    ) -> Result<Request> {
        let job = Job::Sync { file: self.file(lp, "sync")?, data_only: true };
        submit(lp, Some(self.0), "sync", job, done, callback, Location::caller())
    }

    /// Cuts the file, or extends it with zeroes.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`]; otherwise as [`read`](super::read).
    #[track_caller]
    pub fn set_len<S>(
        self,
        lp: &mut Loop<S>,
        len: u64,
        callback: impl FnOnce(&mut Loop<S>, &mut S, Result) -> Result + 'static,
    ) -> Result<Request> {
        let job = Job::SetLen { file: self.file(lp, "set length")?, len };
        submit(lp, Some(self.0), "set length", job, done, callback, Location::caller())
    }

    /// What the system knows about the file.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`]; otherwise as [`read`](super::read).
    #[track_caller]
    pub fn metadata<S>(
        self,
        lp: &mut Loop<S>,
        callback: impl FnOnce(&mut Loop<S>, &mut S, Result<Metadata>) -> Result + 'static,
    ) -> Result<Request> {
        let job = Job::StatFile { file: self.file(lp, "metadata")? };
        submit(lp, Some(self.0), "metadata", job, found, callback, Location::caller())
    }

    /// Takes over a file of the standard library's.
    #[track_caller]
    pub fn from_std<S>(lp: &mut Loop<S>, file: std::fs::File) -> Result<File> {
        let body = Body::File(State::new(Descriptor::from_file(file), true));
        Ok(File(lp.core.insert(body, Location::caller())))
    }

    /// Gives the file back, and closes the handle.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`]; [`Error::InUse`] while operations are in flight: the file then stays here.
    pub fn into_std<S>(self, lp: &mut Loop<S>) -> Result<std::fs::File> {
        let op = "give a file back";
        let state = state_mut(&mut lp.core, self.0, op)?;
        let file = state.file.take().ok_or(Error::Closed { op })?;
        match Arc::try_unwrap(file) {
            Ok(file) => {
                self.close(lp);
                file.into_file().map_err(|error| Error::system(op, error))
            }
            Err(shared) => {
                state_mut(&mut lp.core, self.0, op)?.file = Some(shared);
                Err(Error::InUse { op })
            }
        }
    }

    fn file<S>(self, lp: &mut Loop<S>, op: &'static str) -> Result<Arc<Descriptor>> {
        state_mut(&mut lp.core, self.0, op)?.file.clone().ok_or(Error::Closed { op })
    }
}

fn state_mut<'a>(core: &'a mut Core, handle: Handle, op: &'static str) -> Result<&'a mut State> {
    match &mut core.require(handle, op)?.body {
        Body::File(state) => Ok(state),
        _ => Err(Error::Closed { op }),
    }
}

/// Cancels what no worker has begun. The file itself is closed when the rest is done.
pub(crate) fn release(core: &mut Core, handle: Handle) {
    let Some(slot) = core.table.get_mut(handle) else { return };
    let Body::File(state) = &mut slot.body else { return };
    let pooled = state.pooled.take().unwrap_or_default();
    for request in pooled.0 {
        // One that has begun is answered with what comes of it; one that was answered is gone.
        let _ = core.cancel(request);
    }
}

/// No operation is in flight: closes the file. One that was written to may take time to close (a network
/// that is slow, a disk that is full), and may fail: that is a worker's business, and a failure if it
/// fails, for somebody believes that his data is safe.
pub(crate) fn quiesced(core: &mut Core, handle: Handle) -> bool {
    let Some(slot) = core.table.get_mut(handle) else { return true };
    let Body::File(state) = &mut slot.body else { return true };
    let started = slot.started_at;
    match state.file.take() {
        Some(file) if state.writes => {
            let request = core.request(Some(handle), Kind::FileOperation, CLOSE, started);
            // Without a worker it is closed here, when the job is dropped, and the request is over: either
            // way this handle is looked at again.
            let _ = core.submit(request, Job::Close { file });
            false
        }
        _ => true,
    }
}
