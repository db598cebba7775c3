//! Sends values to the loop from any thread, bounded or unbounded.
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
//! lp.run(&mut total)?; // returns when the sender is gone and every value was delivered
//! thread.join().unwrap().expect("the loop outlives the sender");
//! assert_eq!(total, 5050);
//! # Ok::<(), ringback::Error>(())
//! ```

use std::{fmt, panic::Location, rc::Rc};

use crate::{
    Loop,
    backend::{Arc, Inbox, Mailbox, PushError},
    error::{Error, Result},
    event_loop::{Core, HandleKind, typed_handle},
    handle::{Handle, Kind},
};

/// How many messages one channel delivers in one turn, so that a fast sender does not starve other handles.
///
/// The loop claims up to so many at once, which makes room for as many. So a bounded channel may hold this
/// many more than its capacity.
const MESSAGES_MAX: usize = 1024;

typed_handle! {
    /// The receiving side of a channel.
    ///
    /// Active from the start. Closes itself when the last [`Sender`] is gone and every message was delivered.
    Channel
}

/// The sending side of a channel, for any thread. Clones send to the same one.
pub struct Sender<T> {
    mailbox: Arc<Mailbox<T>>,
}

/// A value that could not be sent, and why.
pub struct SendError<T> {
    /// The value, handed back.
    pub value: T,
    /// [`Error::Disconnected`] if the channel or its loop is gone; [`Error::QueueFull`] if it is full.
    pub error: Error,
}

/// An [`Inbox`], whatever the type of its messages.
trait AnyInbox: fmt::Debug {
    fn claim(&self, max: usize) -> bool;
    fn claimed_len(&self) -> usize;
    fn is_ready(&self) -> bool;
    fn go_idle(&self) -> bool;
    fn len(&self) -> usize;
    fn senders(&self) -> usize;
    fn close(&self);
}

impl<T> AnyInbox for Inbox<T> {
    fn claim(&self, max: usize) -> bool {
        Inbox::claim(self, max)
    }

    fn claimed_len(&self) -> usize {
        Inbox::claimed_len(self)
    }

    fn is_ready(&self) -> bool {
        Inbox::is_ready(self)
    }

    fn go_idle(&self) -> bool {
        Inbox::go_idle(self)
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
    inbox: Rc<dyn AnyInbox>,
}

/// Makes a channel that holds up to `capacity` messages.
///
/// `callback` runs for each message, in the order of sending, in the poll phase. An error that it returns
/// closes the channel.
///
/// The loop takes up to 1024 messages at a time, when the channel's turn has come, and delivers them one by
/// one. They do not count against the capacity any more.
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

/// Makes a channel that holds any number of messages. Sending never waits; memory is the limit.
///
/// `callback` runs for each message, in the order of sending, in the poll phase. An error that it returns
/// closes the channel.
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
    started_at: &'static Location<'static>,
) -> (Channel, Sender<T>) {
    let mut made = None;
    let state = |_, notifier| {
        let inbox = Rc::new(Inbox::new(notifier, capacity));
        made = Some(inbox.clone());
        State { inbox }
    };
    let handle = lp.core.insert_notified(state, started_at);
    let inbox: Rc<Inbox<T>> = made.expect("the inbox is made with its handle");
    let mailbox = inbox.mailbox().clone();
    lp.core.set_active(handle, true);
    lp.set_callback_no_arg(handle, move |lp, state| {
        let mut next = inbox.next();
        while let Some(message) = next {
            callback(lp, state, message)?;
            next = lp.call_repeat(handle, || inbox.next());
        }
        Ok(())
    });
    mailbox.add_sender();
    (Channel(handle), Sender { mailbox })
}

impl HandleKind for State {
    type Slot = State;

    fn kind(&self) -> Kind {
        Kind::Channel
    }

    fn status(&self, _: &Core, _: Handle) -> String {
        format!("{} sender(s), {} message(s) waiting", self.inbox.senders(), self.inbox.len())
    }

    fn release(core: &mut Core, handle: Handle) {
        if let Some(state) = core.peek::<State>(handle) {
            state.disconnect();
        }
    }

    fn on_notify<S>(lp: &mut Loop<S>, state: &mut S, handle: Handle) -> Result {
        let Some(inbox) = lp.core.peek::<State>(handle).map(|state| state.inbox.clone()) else {
            return Ok(());
        };
        let no_senders = inbox.claim(MESSAGES_MAX);
        while inbox.is_ready() {
            if !lp.has_callback(handle) {
                // It was dropped when the application exchanged this loop inside of it. The loop is back by
                // now.
                lp.core.close(handle);
            }
            if !lp.is_open(handle) {
                return Ok(());
            }
            lp.call_no_arg(state, handle.index)?;
        }
        if !lp.is_open(handle) {
            return Ok(());
        }
        if inbox.claimed_len() > 0 || !inbox.go_idle() {
            // The other messages have their turn after the other handles.
            lp.core.notify_again(handle);
        } else if no_senders {
            lp.core.close(handle);
        }
        Ok(())
    }

    fn disconnect(&self) {
        self.inbox.close();
    }
}

impl<T> Sender<T> {
    /// Sends a value. Waits for room if the channel is full.
    ///
    /// On the loop's own thread it does not wait, because only the loop makes room: it returns
    /// [`Error::QueueFull`].
    ///
    /// # Errors
    ///
    /// [`SendError`], with the value.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.mailbox.send(value).map_err(|error| self.send_error(error))
    }

    /// Sends a value if there is room.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the value.
    pub fn try_send(&self, value: T) -> Result<(), SendError<T>> {
        self.mailbox.try_send(value).map_err(|error| self.send_error(error))
    }

    fn send_error(&self, error: PushError<T>) -> SendError<T> {
        let (op, limit) = ("send", self.mailbox.limit());
        match error {
            PushError::Full(value) => {
                SendError { value, error: Error::QueueFull { op, queued: limit, limit } }
            }
            PushError::Closed(value) => SendError { value, error: Error::Disconnected { op } },
        }
    }
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
