//! Waiting for the system: the set of registered descriptors, and the call that blocks.

pub(super) mod busy_poll;
pub(super) mod registrations;

// epoll where there is one, the `polling` crate elsewhere. `--cfg ringback_portable` selects `polling`
// everywhere, so that it can be tested on Linux.
#[cfg(all(any(target_os = "linux", target_os = "android"), not(ringback_portable)))]
#[path = "epoll.rs"]
mod selector;
#[cfg(not(all(any(target_os = "linux", target_os = "android"), not(ringback_portable))))]
#[path = "portable.rs"]
mod selector;

pub(super) use selector::Selector;
