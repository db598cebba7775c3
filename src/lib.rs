//! A callback event loop: timers, sockets, files, signals and threads behind one loop. No futures.
//!
//! One thread has one [`Loop`]. Things that happen by and by are *handles* ([`Timer`],
//! [`TcpStream`](net::TcpStream), [`Signal`], …); things with one answer are *requests* (a connection, a
//! file read, work on a thread). Each is given a callback, and [`Loop::run`] calls them, one at a time,
//! until nothing is left to wait for.
//!
//! ```
//! use std::time::Duration;
//! use ringback::{Loop, Timer, fs, work};
//!
//! #[derive(Default)]
//! struct App { log: Vec<String> }
//!
//! let mut lp = Loop::new()?;
//! Timer::after(&mut lp, Duration::from_millis(5), |_, app: &mut App| {
//!     app.log.push("five milliseconds".into());
//!     Ok(())
//! })?;
//! fs::read(&mut lp, "Cargo.toml", |_, app, text| {
//!     app.log.push(format!("{} bytes", text?.len()));
//!     Ok(())
//! })?;
//! work::run(&mut lp, || 6 * 7, |_, app, answer| {
//!     app.log.push(format!("the answer is {}", answer?));
//!     Ok(())
//! })?;
//! let mut app = App::default();
//! lp.run(&mut app)?;
//! assert_eq!(app.log.len(), 3);
//! # Ok::<(), ringback::Error>(())
//! ```
//!
//! # State
//!
//! The application owns its state and lends it to [`run`](Loop::run); every callback gets the loop, the
//! state, and what happened. Callbacks never meet on the stack, so there is nothing to share and nothing
//! to lock: no `Rc`, no `RefCell`. What belongs to one connection can live in that connection's closure.
//!
//! # Handles
//!
//! Handles are small copies, ids. Every method takes the loop. An id whose handle is gone answers
//! [`Error::Closed`]: never a panic, never another handle. The verbs are the same everywhere: make it,
//! `start` it with a callback, `stop` it, `close` it. Dropping the loop closes everything.
//!
//! # A turn
//!
//! 1. **Timers** that are due, in the order of their deadlines.
//! 2. **Deferred** callbacks: answers to requests, and [`Loop::defer`].
//! 3. **[`Idle`]** hooks.
//! 4. **[`Prepare`]** hooks.
//! 5. **Poll**: sends what was written, waits (not at all if there is an idle hook, something deferred or a
//!    handle to be closed; otherwise until the next timer), then calls whoever is ready, then [`Wake`]s,
//!    channels and posts, then [`Signal`]s.
//! 6. **Deferred** again, up to eight rounds.
//! 7. **[`Check`]** hooks.
//! 8. **Closing**: the ends of handles that were closed.
//!
//! A phase calls those who were there when it began; what they add waits for the next. No callback runs
//! before the function that asked for it has returned, and none inside another.
//!
//! # Errors
//!
//! Every callback returns a [`Result`], and no error is lost. One that a callback returns closes its handle
//! and becomes a [`Failure`] for [`Loop::on_failure`]; with none set, it ends `run`. A panic unwinds out of
//! `run` and leaves the loop usable.
//!
//! # Why is it still running?
//!
//! Ask it: [`Loop::why_alive`].
//!
//! # Platforms
//!
//! Linux, where it is at its best, macOS and the BSDs. On Linux waiting is one system call, and cached files
//! are read without a thread; elsewhere the `polling` crate waits. `--cfg ringback_portable` in `RUSTFLAGS`
//! takes that everywhere.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod backend;
pub mod channel;
mod error;
mod event_loop;
pub mod fs;
mod handle;
mod hook;
pub mod io;
pub mod net;
mod payload;
pub mod poll;
mod queue;
mod remote;
pub mod signal;
#[cfg(feature = "sim")]
pub mod sim;
mod stream;
mod time;
mod timer;
mod wake;
pub mod work;

// The public interface is:
pub use error::{Error, Failure, Result};
pub use event_loop::{HandleInfo, Histogram, Loop, Metrics, Options, SlowCallback, WhyAlive};
pub use handle::{Handle, Kind, Origin, Request};
pub use hook::{Check, Idle, Prepare};
pub use payload::Payload;
pub use poll::Poll;
pub use remote::Remote;
pub use signal::Signal;
pub use timer::Timer;
pub use wake::{Wake, Waker};

/// The README's programs are tests, too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
