//! A callback event loop: timers, sockets, files, signals and threads behind one loop. No futures.

mod backend;
pub mod channel;
mod error;
mod event_loop;
pub mod fs;
mod handle;
mod hook;
pub mod net;
pub mod poll;
mod queue;
mod remote;
pub mod signal;
mod timer;
mod wake;
pub mod work;

// The public interface is:
pub use error::{Error, Failure, Result};
pub use event_loop::{Entry, Histogram, Loop, Metrics, Options, SlowCallback, WhyAlive};
pub use handle::{Handle, Kind, Request};
pub use hook::{Check, Idle, Prepare};
pub use poll::Poll;
pub use remote::Remote;
pub use signal::Signal;
pub use timer::Timer;
pub use wake::{Wake, Waker};
