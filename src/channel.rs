//! Sending values to the loop from any thread, bounded or not.
//!
//! ```
//! use ringback::{Loop, channel};
//!
//! let mut lp = Loop::new()?;
//! let (_channel, sender) = channel::bounded(&mut lp, 16, |_, total: &mut u64, number: u64| {
//!     *total += number;
//!     Ok(())
//! })?;
//! let thread = std::thread::spawn(move || (1..=100).try_for_each(|number| sender.send(number)));
//! let mut total = 0;
//! lp.run(&mut total)?; // ends when the sender is gone and everything has arrived
//! thread.join().unwrap().expect("the loop was there");
//! assert_eq!(total, 5050);
//! # Ok::<(), ringback::Error>(())
//! ```

use std::{fmt, panic::Location, sync::Arc};

use crate::{
    Loop,
    backend::{Mailbox, ReceiveError, Refused, Rejected},
    error::{Error, Result},
    event_loop::body::{Body, Occurrence},
    handle::{Handle, typed_handle},
};

/// Messages delivered to one channel in one turn, so that a fast sender does not starve the others.
const MESSAGES_MAX: usize = 1024;

typed_handle! {
    /// The loop's end of a channel. Active from the start; closes itself when the last [`Sender`] is
    /// gone and every message was delivered.
    Channel
}

/// The other end of a channel, for any thread. Clones send to the same one.
pub struct Sender<T> {
    mailbox: Arc<Mailbox<T>>,
}

/// A value that could not be sent, and why.
pub struct SendError<T> {
    /// The value, handed back.
    pub value: T,
    /// [`Error::LoopGone`] if the channel or its loop is gone; [`Error::QueueFull`] if it holds as much as
    /// it may.
    pub error: Error,
}

/// What the loop does with a channel, whatever it carries.
trait Mail: fmt::Debug {
    fn hear(&self);
    fn len(&self) -> usize;
    fn senders(&self) -> usize;
    fn close(&self);
}

impl<T> Mail for Mailbox<T> {
    fn hear(&self) {
        Mailbox::hear(self);
    }

    fn len(&self) -> usize {
        Mailbox::len(self)
    }

    fn senders(&self) -> usize {
        Mailbox::senders(self)
    }

    fn close(&self) {
        Mailbox::close(self);
    }
}

#[derive(Debug)]
pub(crate) struct State {
    mail: Arc<dyn Mail>,
}

impl State {
    pub(crate) fn release(&self) {
        self.mail.close();
    }

    pub(crate) fn describe(&self) -> String {
        format!("{} sender(s), {} message(s) waiting", self.mail.senders(), self.mail.len())
    }
}

/// A channel that holds up to `capacity` messages that the loop has not taken yet, at least one.
///
/// `callback` is called with each message, in the order of sending, in the poll phase. An error that
/// it returns closes the channel.
///
/// # Errors
///
/// [`Error::Invalid`] if the capacity is zero.
#[track_caller]
pub fn bounded<S, T: Send + 'static>(
    lp: &mut Loop<S>,
    capacity: usize,
    callback: impl FnMut(&mut Loop<S>, &mut S, T) -> Result + 'static,
) -> Result<(Channel, Sender<T>)> {
    if capacity == 0 {
        return Err(Error::invalid("make a channel", "a capacity of zero holds nothing"));
    }
    Ok(make(lp, capacity, callback, Location::caller()))
}

/// A channel that holds any number of messages. Sending never waits; memory is the limit.
///
/// `callback` is called with each message, in the order of sending, in the poll phase. An error that
/// it returns closes the channel.
#[track_caller]
pub fn unbounded<S, T: Send + 'static>(
    lp: &mut Loop<S>,
    callback: impl FnMut(&mut Loop<S>, &mut S, T) -> Result + 'static,
) -> Result<(Channel, Sender<T>)> {
    Ok(make(lp, usize::MAX, callback, Location::caller()))
}

fn make<S, T: Send + 'static>(
    lp: &mut Loop<S>,
    capacity: usize,
    mut callback: impl FnMut(&mut Loop<S>, &mut S, T) -> Result + 'static,
    started: &'static Location<'static>,
) -> (Channel, Sender<T>) {
    let mut made = None;
    let handle = lp.core.table.insert_with(started, |handle| {
        let mailbox = Arc::new(Mailbox::new(lp.core.backend.bell(handle.key()), capacity));
        made = Some(mailbox.clone());
        Body::Channel(State { mail: mailbox })
    });
    let mailbox: Arc<Mailbox<T>> = made.expect("a mailbox is made with its handle");
    lp.core.set_active(handle, true);
    let inbox = mailbox.clone();
    lp.install(handle, move |lp, state, _| match inbox.take() {
        Ok(message) => callback(lp, state, message),
        Err(ReceiveError::Empty | ReceiveError::Abandoned) => Ok(()),
    });
    mailbox.add_sender();
    (Channel(handle), Sender { mailbox })
}

pub(crate) fn rung<S>(lp: &mut Loop<S>, state: &mut S, handle: Handle) -> Result {
    let Some(mail) = mail(lp, handle) else { return Ok(()) };
    mail.hear();
    // Before the messages are counted: whoever has left by now had sent all that he ever would.
    let abandoned = mail.senders() == 0;
    for _ in 0..mail.len().min(MESSAGES_MAX) {
        if !lp.is_open(handle) {
            return Ok(());
        }
        lp.call(state, handle, Occurrence::Plain)?;
    }
    if mail.len() > 0 {
        // The rest has its turn after the others.
        lp.core.rung.push(handle.key());
    } else if abandoned {
        lp.core.close(handle);
    }
    Ok(())
}

fn mail<S>(lp: &Loop<S>, handle: Handle) -> Option<Arc<dyn Mail>> {
    match &lp.core.table.get(handle)?.body {
        Body::Channel(state) => Some(state.mail.clone()),
        _ => None,
    }
}

impl<T> Sender<T> {
    /// Sends a value, and waits for room if the channel is full. On the loop's own thread it does not
    /// wait, for nobody would make room: it answers [`Error::QueueFull`].
    ///
    /// # Errors
    ///
    /// [`SendError`], with the value.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.mailbox.send(value).map_err(rejected)
    }

    /// Sends a value if there is room.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the value.
    pub fn try_send(&self, value: T) -> Result<(), SendError<T>> {
        self.mailbox.try_send(value).map_err(rejected)
    }
}

fn rejected<T>(rejected: Rejected<T>) -> SendError<T> {
    let act = "send";
    let error = match rejected.reason {
        Refused::Gone => Error::LoopGone { act },
        Refused::Full { limit } => Error::QueueFull { act, queued: limit, limit },
    };
    SendError { value: rejected.item, error }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.mailbox.add_sender();
        Sender { mailbox: self.mailbox.clone() }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.mailbox.remove_sender();
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SendError").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(out)
    }
}

impl<T> std::error::Error for SendError<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl<T> From<SendError<T>> for Error {
    fn from(error: SendError<T>) -> Error {
        error.error
    }
}
