//! Waiting for the system: which descriptors it watches, and the call that waits.

pub(super) mod busy_poll;
pub(super) mod registrations;

// The fast wait where there is epoll, the portable one elsewhere; `--cfg ringback_portable` takes the
// portable one everywhere, so that it can be tested here.
#[cfg(all(any(target_os = "linux", target_os = "android"), not(ringback_portable)))]
#[path = "epoll.rs"]
mod waiter;
#[cfg(any(not(any(target_os = "linux", target_os = "android")), ringback_portable))]
#[path = "portable.rs"]
mod waiter;

pub(super) use waiter::Waiter;
