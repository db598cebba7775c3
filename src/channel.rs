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

use std::{fmt, panic::Location, rc::Rc};

use crate::{
    Loop,
    backend::{Arc, Inbox, Mailbox, Refused, Rejected},
    error::{Error, Result},
    event_loop::kinds::Body,
    handle::{Handle, typed_handle},
};

/// Messages taken from one channel in one turn, so that a fast sender does not starve the others. They make room for
/// as many, so this is also how far a bounded channel may hold more than its capacity.
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
    /// [`Error::Disconnected`] if the channel or its loop is gone; [`Error::QueueFull`] if it holds as much as
    /// it may.
    pub error: Error,
}

/// What the loop does with a channel, whatever it carries.
trait Mail: fmt::Debug {
    fn take(&self, most: usize) -> bool;
    fn due(&self) -> usize;
    fn is_ready(&self) -> bool;
    fn rest(&self) -> bool;
    fn len(&self) -> usize;
    fn senders(&self) -> usize;
    fn close(&self);
}

impl<T> Mail for Inbox<T> {
    fn take(&self, most: usize) -> bool {
        Inbox::take(self, most)
    }

    fn due(&self) -> usize {
        Inbox::due(self)
    }

    fn is_ready(&self) -> bool {
        Inbox::is_ready(self)
    }

    fn rest(&self) -> bool {
        Inbox::rest(self)
    }

    fn len(&self) -> usize {
        Inbox::len(self)
    }

    fn senders(&self) -> usize {
        Inbox::senders(self)
    }

    fn close(&self) {
        Inbox::close(self);
    }
}

#[derive(Debug)]
pub(crate) struct State {
    mail: Rc<dyn Mail>,
}

impl State {
    pub(crate) fn release(&self) {
        self.mail.close();
    }

    pub(crate) fn describe(&self) -> String {
        format!("{} sender(s), {} message(s) waiting", self.mail.senders(), self.mail.len())
    }
}

/// A channel that holds up to `capacity` messages that the loop has not taken yet, at least one. The loop takes up to
/// 1024 at a time, when their turn has come, and delivers them one by one.
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
        let inbox = Rc::new(Inbox::new(lp.core.backend.notifier(handle.key()), capacity));
        made = Some(inbox.clone());
        Body::Channel(State { mail: inbox })
    });
    let inbox: Rc<Inbox<T>> = made.expect("an inbox is made with its handle");
    let mailbox = inbox.mailbox().clone();
    lp.core.set_active(handle, true);
    lp.set_callback_no_arg(handle, move |lp, state| {
        let mut next = inbox.next();
        while let Some(message) = next {
            callback(lp, state, message)?;
            next = lp.call_again(handle, || inbox.next());
        }
        Ok(())
    });
    mailbox.add_sender();
    (Channel(handle), Sender { mailbox })
}

pub(crate) fn rung<S>(lp: &mut Loop<S>, state: &mut S, handle: Handle) -> Result {
    let Some(mail) = mail(lp, handle) else { return Ok(()) };
    let abandoned = mail.take(MESSAGES_MAX);
    while mail.is_ready() {
        if !lp.has_callback(handle) {
            // It went with a loop that the application has exchanged for another inside of it.
            lp.core.close(handle);
        }
        if !lp.is_open(handle) {
            return Ok(());
        }
        lp.call_plainly(state, handle.index)?;
    }
    if !lp.is_open(handle) {
        return Ok(());
    }
    if mail.due() > 0 || !mail.rest() {
        // The rest has its turn after the others.
        lp.core.rung.push(handle.key());
    } else if abandoned {
        lp.core.close(handle);
    }
    Ok(())
}

fn mail<S>(lp: &Loop<S>, handle: Handle) -> Option<Rc<dyn Mail>> {
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
    let op = "send";
    let error = match rejected.reason {
        Refused::Gone => Error::Disconnected { op },
        Refused::Full { limit } => Error::QueueFull { op, queued: limit, limit },
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
