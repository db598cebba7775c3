//! Options of making a loop.

use std::time::Duration;

use super::{Loop, core::Core};
use crate::{
    backend::{Backend, Inbox},
    error::{Error, Result},
    handle::Key,
    time::nanos,
};

/// Configures a loop; [`Loop::new`] has the defaults.
///
/// ```
/// let lp: ringback::Loop = ringback::Options::new().workers(8).build()?;
/// # Ok::<(), ringback::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub(crate) workers: usize,
    read_buffer: usize,
    busy_poll: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options::new()
    }
}

impl Options {
    /// Returns the defaults: at most four worker threads, a read buffer of 64 KiB, no busy polling.
    pub fn new() -> Options {
        Options { workers: 4, read_buffer: 64 << 10, busy_poll: Duration::ZERO }
    }

    /// Sets the maximum number of worker threads, at least one. They are spawned on demand.
    pub fn workers(mut self, max: usize) -> Options {
        self.workers = max.max(1);
        self
    }

    /// Sets how many bytes are read from a stream at once, at least one. All streams of the loop share one
    /// buffer of this size.
    pub fn read_buffer(mut self, bytes: usize) -> Options {
        self.read_buffer = bytes.max(1);
        self
    }

    /// Polls for up to `limit` before blocking. An event that arrives meanwhile is seen without a context
    /// switch, at the cost of CPU time.
    ///
    /// After a poll that found nothing the loop blocks at once until waits are short again; an idle loop
    /// still sleeps. Zero (the default) turns it off; a few tens of microseconds cover a wake-up.
    pub fn busy_poll(mut self, limit: Duration) -> Options {
        self.busy_poll = limit;
        self
    }

    /// Makes the loop.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the process has no descriptors left.
    pub fn build<S>(self) -> Result<Loop<S>> {
        let backend = Backend::new(self.workers, nanos(self.busy_poll));
        Ok(self.build_on(backend.map_err(|error| Error::system("make a loop", error))?))
    }

    /// Makes a loop on this backend.
    pub(crate) fn build_on<S>(self, backend: Backend) -> Loop<S> {
        let core = Core::new(backend, self.read_buffer);
        let posts = Inbox::new(core.backend.notifier(Key::POSTS), usize::MAX);
        Loop { core, callbacks: Vec::new(), completions: Vec::new(), on_failure: None, on_slow: None, posts }
    }
}
