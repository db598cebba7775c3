//! A callback event loop: timers, sockets, files, signals and threads behind one loop. No futures.
//!
//! One thread has one [`Loop`]. A *handle* is a source of events (timer, connection, signal); a *request*
//! completes once (a connect, a file read, a job on a worker). Both take a callback. [`Loop::run`] calls
//! callbacks one at a time and returns when nothing is left to wait for.
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
//! The application owns its state and lends it to [`run`](Loop::run). Every callback gets the loop, the
//! state, and what happened. No callback runs inside another, so there is nothing to share and nothing to
//! lock: no `Rc`, no `RefCell`. What belongs to one connection can live in that connection's closure.
//!
//! # Handles
//!
//! A handle is a `Copy` id; every method takes the loop. Ids are never reused, so a stale one returns
//! [`Error::Closed`] and cannot reach another handle. The verbs are the same everywhere: make it, `start` it
//! with a callback, `stop` it, `close` it. Dropping the loop closes everything.
//!
//! # A turn
//!
//! 1. **Timers** that are due, in the order of their deadlines.
//! 2. **Deferred** callbacks: completions of requests, and [`Loop::defer`].
//! 3. **[`Idle`]** hooks.
//! 4. **[`Prepare`]** hooks.
//! 5. **Poll**: sends what was written and waits, then calls the callbacks of ready sources, then those of
//!    [`Wake`]s, channels and posts, then those of [`Signal`]s. It waits until the next timer is due; not at
//!    all if there is an idle hook, a deferred callback or a handle to be closed.
//! 6. **Deferred** again, up to eight rounds.
//! 7. **[`Check`]** hooks.
//! 8. **Closing**: the last events of handles that were closed.
//!
//! A phase runs the callbacks that were queued when it began; whatever they add waits for the next phase. No
//! callback runs before the function that requested it has returned.
//!
//! # Errors
//!
//! Every callback returns a [`Result`], and no error is lost. An error that a callback returns closes its
//! handle and becomes a [`Failure`] for [`Loop::on_failure`]. Without that handler, it ends `run`. A panic
//! unwinds out of `run`, closes the handle, and leaves the loop usable.
//!
//! [`Loop::why_alive`] explains why a loop is still running.
//!
//! # Coming from libuv
//!
//! | libuv | ringback |
//! |---|---|
//! | `uv_loop_t` | [`Loop`] |
//! | `uv_run` | [`Loop::run`], [`Loop::run_once`], [`Loop::poll_once`] |
//! | `uv_stop`, `uv_loop_alive` | [`Loop::stop`], [`Loop::is_alive`], [`Loop::why_alive`] |
//! | `uv_walk`, `uv_print_all_handles` | [`Loop::handles`] |
//! | `uv_now`, `uv_update_time` | [`Loop::now`], [`Loop::update_time`] |
//! | `uv_backend_fd`, `uv_backend_timeout` | `Loop` is [`AsFd`](std::os::fd::AsFd); [`Loop::poll_timeout`] |
//! | `uv_metrics_info` | [`Loop::metrics`] |
//! | `uv_handle_t`, `uv_req_t` | [`Handle`], [`Request`] |
//! | `uv_close`, `uv_is_active`, `uv_is_closing` | `close`, `is_active`, `is_open` of every handle |
//! | `uv_ref`, `uv_unref`, `uv_has_ref` | `re_ref`, `unref`, `has_ref` of every handle |
//! | `uv_cancel` | [`Request::cancel`] |
//! | `handle->data` | the state that [`Loop::run`] lends, and what the closure owns |
//! | `uv_timer_t` | [`Timer`] |
//! | `uv_idle_t`, `uv_prepare_t`, `uv_check_t` | [`Idle`], [`Prepare`], [`Check`] |
//! | `uv_async_t` | [`Wake`]; with a value [`channel`], with a closure [`Remote`] |
//! | `uv_poll_t` | [`Poll`] |
//! | `uv_signal_t` | [`Signal`] |
//! | `uv_stream_t` | [`io::Stream`], for any of the streams |
//! | `uv_tcp_t`, `uv_listen`, `uv_accept` | [`net::TcpStream`], [`net::TcpListener`] |
//! | `uv_pipe_t` | [`net::UnixStream`], [`net::UnixListener`] |
//! | `uv_read_start`, `uv_read_stop` | `start`, `stop` and `resume` of a stream |
//! | `uv_write`, `uv_try_write` | `write` and `write_then`, `try_write` of a stream |
//! | `uv_shutdown` | `shutdown` or `finish` of a stream |
//! | `uv_fs_*` | [`fs`], [`fs::File`] |
//! | `uv_queue_work` | [`work::run`] |
//!
//! No counterpart yet: `uv_udp_t`, `uv_tty_t`, `uv_process_t`, anonymous pipes, `uv_getaddrinfo`,
//! `uv_fs_event_t`, `uv_fs_poll_t`, listing directories, Windows.
//!
//! # Platforms
//!
//! Linux, where it is at its best, macOS and the BSDs. On Linux waiting is one system call, and cached files
//! are read without a thread. Elsewhere the `polling` crate waits; `--cfg ringback_portable` in `RUSTFLAGS`
//! selects it everywhere.
//!
//! # Testing
//!
//! With the feature `sim`, the same program runs in a simulated world, where time jumps, the network fails on
//! purpose, and a seed replays everything: see the module `sim`.

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
