//! Posting closures to the loop from any thread.

use std::{fmt, panic::Location};

use crate::{
    Loop,
    backend::{Arc, Mailbox},
    error::{Error, Result},
};

type Closure<S> = Box<dyn FnOnce(&mut Loop<S>, &mut S) -> Result + Send>;

/// A closure on its way to the loop.
pub(crate) struct Post<S> {
    pub(crate) closure: Closure<S>,
    pub(crate) started: &'static Location<'static>,
}

/// Posts closures to a loop, from any thread. Made by [`Loop::remote`].
///
/// Each remote keeps the loop alive, because it may still post: `run` returns once the last remote is dropped
/// and every posted closure has run. [`unref`](Self::unref) makes a remote that does not.
///
/// ```
/// use ringback::Loop;
///
/// let mut lp = Loop::new()?;
/// let remote = lp.remote();
/// let thread = std::thread::spawn(move || remote.post(|_, news: &mut Vec<&str>| {
///     news.push("from another thread");
///     Ok(())
/// }));
/// let mut news = Vec::new();
/// lp.run(&mut news)?;
/// thread.join().unwrap()?;
/// assert_eq!(news, ["from another thread"]);
/// # Ok::<(), ringback::Error>(())
/// ```
pub struct Remote<S> {
    mailbox: Arc<Mailbox<Post<S>>>,
    keeps_alive: bool,
}

impl<S> Remote<S> {
    pub(crate) fn new(mailbox: Arc<Mailbox<Post<S>>>) -> Remote<S> {
        mailbox.add_sender();
        Remote { mailbox, keeps_alive: true }
    }

    /// Runs `closure` on the loop's thread, in the poll phase of a later turn, after those posted before it.
    ///
    /// It runs exactly once, unless the loop is dropped first. An error that it returns is a
    /// [`Failure`](crate::Failure) of the loop. Posting never blocks.
    ///
    /// # Errors
    ///
    /// [`Error::Disconnected`] if the loop was dropped. The closure is dropped, too.
    #[track_caller]
    pub fn post(&self, closure: impl FnOnce(&mut Loop<S>, &mut S) -> Result + Send + 'static) -> Result {
        let post = Post { closure: Box::new(closure), started: Location::caller() };
        self.mailbox.send(post).map_err(|_| Error::Disconnected { op: "post" })
    }

    /// Returns a remote that does not keep the loop alive. What it posts runs if the loop is still running.
    pub fn unref(mut self) -> Remote<S> {
        if std::mem::take(&mut self.keeps_alive) {
            self.mailbox.remove_sender();
        }
        self
    }
}

impl<S> Clone for Remote<S> {
    fn clone(&self) -> Remote<S> {
        if self.keeps_alive {
            self.mailbox.add_sender();
        }
        Remote { mailbox: self.mailbox.clone(), keeps_alive: self.keeps_alive }
    }
}

impl<S> Drop for Remote<S> {
    fn drop(&mut self) {
        if self.keeps_alive {
            self.mailbox.remove_sender();
        }
    }
}

impl<S> fmt::Debug for Remote<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Remote").field("keeps_alive", &self.keeps_alive).finish_non_exhaustive()
    }
}
