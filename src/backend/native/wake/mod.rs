//! How other threads reach the loop: wake-ups, and a queue whose senders wake it.

mod backoff;
mod mailbox;
mod mpsc;
mod notifier;
#[cfg_attr(all(test, loom), path = "../../../../tests/loom/wake_fd.rs")]
mod wake_fd;

pub(crate) use mailbox::{Inbox, Mailbox};
pub(crate) use mpsc::PushError;
pub(crate) use notifier::{Notifier, NotifyQueue};
pub(crate) use wake_fd::WakeFd;
