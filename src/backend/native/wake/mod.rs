//! How other threads reach the loop: a wake-up, and queues that end in one.

mod mailbox;
mod mpsc;
mod notifier;
#[cfg_attr(all(test, loom), path = "../../../../tests/loom/wake_fd.rs")]
mod wake_fd;

pub(crate) use mailbox::{Inbox, Mailbox, Refused, Rejected};
pub(crate) use notifier::{Notifier, NotifyQueue};
pub(crate) use wake_fd::WakeFd;
