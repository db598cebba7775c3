//! The contract between the crate and the system.
//!
//! The contract is operations, not readiness. A kind asks for an operation (accept, receive, send, open, run
//! a job) and gets its result now, or "not now". In that case it registers its key, and is notified when to
//! try again. Nothing above this folder names a system call, a descriptor's number, a thread or a clock. So a
//! simulated world can take the system's place, and no kind is changed for it.
//!
//! * `now`: the only reading of the clock, in nanoseconds since the loop was made.
//! * `wait`: applies changed registrations, blocks, and lists ready sources. It may list one too often,
//!   except a socket that is connecting; never too late. Level-triggered: a source is listed again while it
//!   is ready.
//! * `listen`, `connect`, `adopt`, and their like for Unix sockets: make sockets.
//! * `watch`, `forget`: set what a socket or descriptor is watched for, and under which key. Cheap to call
//!   any number of times a turn, because the next `wait` applies only the difference.
//! * [`Socket`]: `accept`, `receive`, `send`, `shut_down`. `Ok(None)` means "not now".
//! * `submit`, `cancel`: jobs, for workers or done at once if that cannot block. The notifier of
//!   [`Key::JOBS`](crate::handle::Key) reports completions; `drain_completions` takes them.
//! * `notifier`, [`Mailbox`]: how other threads reach the loop. Items of a mailbox arrive in its [`Inbox`].
//! * `watch_signal`, `forget_signal`, `take_signals`: the signals that this loop watches.
//! * [`SocketOptions`] and [`FileSystem`](files::FileSystem): the cold part, a trait for each concern.
//!
//! A backend does not know what a handle is: it stores keys, and returns them.

pub(crate) mod files;
pub(crate) mod job;
mod options;
mod readiness;
mod unsupported;

#[allow(unsafe_code)]
mod native;

// Without the feature the system's own types are used, and nothing is chosen at run time.
#[cfg(feature = "sim")]
mod either;
#[cfg(feature = "sim")]
pub(crate) mod sim;

#[cfg(feature = "sim")]
pub(crate) use either::{Backend, Descriptor, Socket, SocketFile};
pub(crate) use native::{
    AcceptError, Arc, Inbox, ListenConfig, Mailbox, Notifier, PIECES_MAX, PageBuf, PushError,
    classify_accept_error, signal_numbers,
};
#[cfg(not(feature = "sim"))]
pub(crate) use native::{Backend, Descriptor, Socket, SocketFile};
pub(crate) use options::SocketOptions;
pub(crate) use readiness::{Interest, Readiness};
