//! An open file: read and write at offsets, append, sync, close.

use std::{
    mem,
    panic::Location,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Metadata, OpenOptions,
    operation::{Content, Op, job, submit},
};
use crate::{
    Loop,
    backend::{
        Descriptor,
        files::{FileSystem, OnPath},
    },
    error::{Error, Result},
    event_loop::{Core, HandleKind, typed_handle},
    handle::{Handle, Kind, Request},
    payload::Payload,
};

typed_handle! {
    /// An open file. Its name is its path, until [`set_name`](Self::set_name) sets another.
    ///
    /// An open file does not keep the loop alive; operations in flight do. They may run in any order: to
    /// order two, start the second in the callback of the first. [`close`](Self::close) cancels the
    /// operations that no worker has started, and the file is closed when the others are complete.
    ///
    /// Callbacks run in a deferred phase. A callback gets [`Error::Canceled`] if its operation was cancelled,
    /// and [`Error::System`] with the file's name if it failed. An error that a callback returns closes the
    /// file.
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
    ///
    /// # Errors
    ///
    /// Every method that returns a `Result` returns [`Error::Closed`] if the file is closed or closing, and
    /// [`Error::WrongLoop`] if it belongs to another loop. Methods that take a callback return
    /// [`Error::System`] if a worker is needed and none can be spawned. `callback` is not called then.
    File
}

impl OpenOptions {
    /// Opens a file with these options. See [`File::open`].
    #[track_caller]
    pub fn open<S>(
        self,
        lp: &mut Loop<S>,
        path: impl AsRef<Path>,
        callback: impl FnOnce(&mut Loop<S>, &mut S, Result<File>) -> Result + 'static,
    ) -> Result<Request> {
        let started_at = Location::caller();
        let (writes, append) = (self.write || self.append, self.append);
        let op = if self.only_reads() { Op::read("open") } else { Op::write("open") };
        let mut path = path.as_ref().to_owned();
        let run = move |fs: &mut dyn FileSystem| {
            let file = fs.open(&path, &self).on(&path)?;
            Ok((file, mem::take(&mut path)))
        };
        let opened = move |lp: &mut Loop<S>, state: &mut S, result: Result<(Descriptor, PathBuf)>| {
            let (descriptor, path) = match result {
                Ok(opened) => opened,
                Err(error) => return callback(lp, state, Err(error)),
            };
            let file = File(lp.core.insert(State::new(descriptor, writes, append), started_at));
            // So that later errors name the file.
            let name = path.into_os_string().into_string();
            lp.core.set_name(file.0, name.unwrap_or_else(|name| name.to_string_lossy().into_owned()));
            // As with an accepted connection: if the callback fails, the file has no owner.
            callback(lp, state, Ok(file)).inspect_err(|_| file.close(lp))
        };
        submit(lp, op, run, opened, started_at)
    }
}

/// The state of a file.
#[derive(Debug)]
pub(crate) struct State {
    /// Shared with the jobs in flight. `None` once the job that closes it has it.
    descriptor: Option<Arc<Descriptor>>,
    writes: bool,
    append: bool,
    /// Requests that a worker may not have started, in the order of submission, and some that are complete by
    /// now.
    queued: Vec<Request>,
}

impl State {
    fn new(descriptor: Descriptor, writes: bool, append: bool) -> State {
        State { descriptor: Some(Arc::new(descriptor)), writes, append, queued: Vec::new() }
    }
}

/// Notes a request of this file, which is to be cancelled if the file is closed.
pub(super) fn note_queued(core: &mut Core, handle: Handle, request: Request) {
    if !core.is_queued(request) {
        return;
    }
    let in_flight = core.requests_of(handle);
    let Some(state) = core.peek_mut::<State>(handle) else { return };
    let mut queued = mem::take(&mut state.queued);
    // Complete requests are removed when they are as many as the others. That is amortized O(1) a request,
    // and nothing needs to be removed when one completes.
    if queued.len() >= 2 * in_flight {
        queued.retain(|&request| core.is_pending(request));
    }
    queued.push(request);
    if let Some(state) = core.peek_mut::<State>(handle) {
        state.queued = queued;
    }
}

impl File {
    /// Opens a file for reading, and passes it to `callback`.
    ///
    /// If `callback` returns an error, the file is closed.
    #[track_caller]
    pub fn open<S>(
        lp: &mut Loop<S>,
        path: impl AsRef<Path>,
        callback: impl FnOnce(&mut Loop<S>, &mut S, Result<File>) -> Result + 'static,
    ) -> Result<Request> {
        OpenOptions::new().read(true).open(lp, path, callback)
    }

    /// Creates a file, or truncates the one that exists, for reading and writing. See [`File::open`].
    #[track_caller]
    pub fn create<S>(
        lp: &mut Loop<S>,
        path: impl AsRef<Path>,
        callback: impl FnOnce(&mut Loop<S>, &mut S, Result<File>) -> Result + 'static,
    ) -> Result<Request> {
        OpenOptions::new().read(true).write(true).create(true).truncate(true).open(lp, path, callback)
    }

    /// Reads at an offset, until the buffer's capacity is filled or the file ends.
    ///
    /// `callback` gets the buffer with the bytes read and nothing else. It is shorter than its capacity only
    /// at the end of the file, and empty beyond it.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a buffer without capacity.
    #[track_caller]
    pub fn read_at<S>(
        self,
        lp: &mut Loop<S>,
        offset: u64,
        mut buffer: Vec<u8>,
        callback: impl FnOnce(&mut Loop<S>, &mut S, Result<Vec<u8>>) -> Result + 'static,
    ) -> Result<Request> {
        let op = Op::read("read").of(self.0);
        let file = self.descriptor(lp, "read")?;
        if buffer.capacity() == 0 {
            return Err(Error::invalid(
                "read",
                "the buffer has no capacity: pass one made by Vec::with_capacity",
            ));
        }
        buffer.clear();
        let run = move |fs: &mut dyn FileSystem| {
            fs.read_at(&file, &mut buffer, offset)?;
            Ok(mem::take(&mut buffer))
        };
        submit(lp, op, run, callback, Location::caller())
    }

    /// Writes all bytes at an offset. `callback` gets their number.
    ///
    /// If the disk is full, it gets the error, and some bytes may have been written.
    #[track_caller]
    pub fn write_at<'a, S>(
        self,
        lp: &mut Loop<S>,
        offset: u64,
        payload: impl Into<Payload<'a>>,
        callback: impl FnOnce(&mut Loop<S>, &mut S, Result<usize>) -> Result + 'static,
    ) -> Result<Request> {
        let (file, content) = (self.descriptor(lp, "write")?, Content::from(payload.into()));
        let run = move |fs: &mut dyn FileSystem| {
            fs.write_at(&file, &content, offset)?;
            Ok(content.len())
        };
        submit(lp, Op::write("write").of(self.0), run, callback, Location::caller())
    }

    /// Writes all bytes at the end of the file. `callback` gets their number.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the file was not opened with [`OpenOptions::append`].
    #[track_caller]
    pub fn append<'a, S>(
        self,
        lp: &mut Loop<S>,
        payload: impl Into<Payload<'a>>,
        callback: impl FnOnce(&mut Loop<S>, &mut S, Result<usize>) -> Result + 'static,
    ) -> Result<Request> {
        let (file, content) = (self.descriptor(lp, "append")?, Content::from(payload.into()));
        if !lp.core.require::<State>(self.0, "append")?.append {
            return Err(Error::invalid("append", "the file was not opened for appending"));
        }
        let run = move |fs: &mut dyn FileSystem| {
            fs.append(&file, &content)?;
            Ok(content.len())
        };
        submit(lp, Op::write("append").of(self.0), run, callback, Location::caller())
    }

    /// Calls `callback` when everything written is on the disk, data and metadata (`fsync`).
    #[track_caller]
    pub fn sync<S>(
        self,
        lp: &mut Loop<S>,
        callback: impl FnOnce(&mut Loop<S>, &mut S, Result) -> Result + 'static,
    ) -> Result<Request> {
        let file = self.descriptor(lp, "sync")?;
        let run = move |fs: &mut dyn FileSystem| Ok(fs.sync(&file, false)?);
        submit(lp, Op::write("sync").of(self.0), run, callback, Location::caller())
    }

    /// Calls `callback` when the data is on the disk, with what is needed to read it back (`fdatasync`).
    ///
    /// Other metadata, such as times, may be missing.
    #[track_caller]
    pub fn sync_data<S>(
        self,
        lp: &mut Loop<S>,
        callback: impl FnOnce(&mut Loop<S>, &mut S, Result) -> Result + 'static,
    ) -> Result<Request> {
        let file = self.descriptor(lp, "sync")?;
        let run = move |fs: &mut dyn FileSystem| Ok(fs.sync(&file, true)?);
        submit(lp, Op::write("sync").of(self.0), run, callback, Location::caller())
    }

    /// Truncates the file to `len` bytes, or extends it with zeroes.
    #[track_caller]
    pub fn set_len<S>(
        self,
        lp: &mut Loop<S>,
        len: u64,
        callback: impl FnOnce(&mut Loop<S>, &mut S, Result) -> Result + 'static,
    ) -> Result<Request> {
        let file = self.descriptor(lp, "set length")?;
        let run = move |fs: &mut dyn FileSystem| Ok(fs.set_len(&file, len)?);
        submit(lp, Op::write("set length").of(self.0), run, callback, Location::caller())
    }

    /// Passes the file's metadata to `callback`.
    #[track_caller]
    pub fn metadata<S>(
        self,
        lp: &mut Loop<S>,
        callback: impl FnOnce(&mut Loop<S>, &mut S, Result<Metadata>) -> Result + 'static,
    ) -> Result<Request> {
        let file = self.descriptor(lp, "metadata")?;
        let run = move |fs: &mut dyn FileSystem| Ok(fs.file_metadata(&file)?);
        submit(lp, Op::read("metadata").of(self.0), run, callback, Location::caller())
    }

    /// Takes over a file of the standard library.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if its flags cannot be read.
    #[track_caller]
    pub fn from_std<S>(lp: &mut Loop<S>, file: std::fs::File) -> Result<File> {
        let descriptor = Descriptor::from_file(file);
        let append = descriptor.is_append().map_err(|error| Error::system("adopt a file", error))?;
        Ok(File(lp.core.insert(State::new(descriptor, true, append), Location::caller())))
    }

    /// Returns the file as one of the standard library, and closes the handle.
    ///
    /// # Errors
    ///
    /// [`Error::InUse`] while operations are in flight. The handle is unchanged then.
    pub fn into_std<S>(self, lp: &mut Loop<S>) -> Result<std::fs::File> {
        let op = "give a file back";
        let state = lp.core.require::<State>(self.0, op)?;
        let shared = state.descriptor.take().ok_or(Error::Closed { op })?;
        match Arc::try_unwrap(shared) {
            Ok(descriptor) => {
                self.close(lp);
                descriptor.into_file().map_err(|error| Error::system(op, error))
            }
            Err(shared) => {
                state.descriptor = Some(shared);
                Err(Error::InUse { op })
            }
        }
    }

    fn descriptor<S>(self, lp: &mut Loop<S>, op: &'static str) -> Result<Arc<Descriptor>> {
        lp.core.require::<State>(self.0, op)?.descriptor.clone().ok_or(Error::Closed { op })
    }
}

impl HandleKind for State {
    type Slot = Box<State>;

    fn kind(&self) -> Kind {
        Kind::File
    }

    fn status(&self, _: &Core, _: Handle) -> String {
        "open".into()
    }

    /// Cancels the requests that no worker has started. The file is closed when the others are complete.
    fn release(core: &mut Core, handle: Handle) {
        let Some(state) = core.peek_mut::<State>(handle) else { return };
        for request in mem::take(&mut state.queued) {
            // One that has started completes with its result; one that is complete is gone.
            let _ = core.cancel(request);
        }
    }

    /// Closes the file: no operation is in flight.
    ///
    /// Closing a file that was written to may take time and may fail (a slow network, a full disk). So a
    /// worker closes it, and an error is a failure, because the application assumes that its data is safe.
    fn finish_close(core: &mut Core, handle: Handle) -> bool {
        let Some(started_at) = core.started_at(handle) else { return true };
        let Some(state) = core.peek_mut::<State>(handle) else { return true };
        let writes = state.writes;
        let Some(descriptor) = state.descriptor.take().filter(|_| writes) else { return true };
        let op = Op::write("close a file").of(handle);
        let mut descriptor = Arc::into_inner(descriptor);
        let close = move |fs: &mut dyn FileSystem| match descriptor.take() {
            Some(descriptor) => Ok(fs.close(descriptor)?),
            // Unreachable: the close of a file waits for its other jobs.
            None => Ok(()),
        };
        let request = core.request(Some(handle), Kind::FileOperation, "close a file", started_at);
        core.set_internal(request);
        // Without a worker the file is closed here, when the job is dropped, and the request is finished. In
        // both cases the loop calls this again.
        let _ = core.submit(request, job(&op, close));
        false
    }
}
