//! The system, as the rest of the crate may see it.
//!
//! The contract is operations, not readiness. A kind asks for something (accept, receive, send, open,
//! run a job) and gets it now, or is told "not now" and then asks to hear, by its key, when to try
//! again. Nothing above this folder names a system call, a descriptor's number, a thread or a clock:
//! so that a world in memory can stand in for the system, or completions for readiness, without
//! touching a kind.
//!
//! * `now`: the only reading of the clock, in nanoseconds since the loop began.
//! * `wait`: installs the changes of interest, blocks, and lists who is ready. May say so too often
//!   (but not that a socket has connected), never too late; every level-triggered source says it again while it is true.
//! * `listen`, `connect`, `adopt`: sockets.
//! * `watch`, `forget`: whom to tell about a socket or descriptor, and about what. Cheap to change any
//!   number of times a turn: only the difference reaches the system, at the next `wait`.
//! * [`Socket`]: `accept`, `receive`, `send`, `shut_down`. `Ok(None)` is "not now".
//! * `submit`, `withdraw`: jobs for worker threads, or done at once when the system can do them without
//!   blocking. The bell of [`Key::JOBS`](crate::handle::Key) says that some are `Done`.
//! * `bell`, [`Mailbox`]: how other threads reach the loop. What they bring comes through its [`Inbox`].
//! * `watch_signal`, `forget_signal`: which signals this loop wants to hear of.
//!
//! A backend does not know what a handle is: it keeps keys, and gives them back.

pub(crate) mod files;
pub(crate) mod job;
mod options;
mod readiness;

#[allow(unsafe_code)]
mod native;

// Either of two, only where there are two: without the feature the system's own types are used, and nothing is
// chosen at run time.
#[cfg(feature = "sim")]
mod either;
#[cfg(feature = "sim")]
pub(crate) mod sim;

#[cfg(feature = "sim")]
pub(crate) use either::{Backend, Descriptor, Socket};
pub(crate) use native::{
    AcceptError, Arc, Inbox, ListenConfig, Mailbox, Notifier, PIECES_MAX, PageBuf, PushError,
    classify_accept_error, signal_numbers,
};
#[cfg(not(feature = "sim"))]
pub(crate) use native::{Backend, Descriptor, Socket};
pub(crate) use options::SocketOptions;
pub(crate) use readiness::{Interest, Readiness};
