//! Wake-ups from other threads.
//!
//! A notifier pushes its key on a list that all share, at most once until the loop drains it, and writes to
//! the wake fd only if the loop is asleep. So draining costs O(notifications), and to notify an awake loop
//! costs no system call; a thousand notifications to a sleeping one cost one.
//!
//! The two sides order a store and a load as in Dekker's algorithm: the loop sets ASLEEP and then checks the
//! list; a notifier pushes and then checks for ASLEEP. All four accesses are sequentially consistent, so at
//! least one side sees the other.

use super::{
    super::sync::{Arc, AtomicBool, AtomicU8, Mutex, MutexGuard, Ordering, PoisonError, fence},
    wake_fd::WakeFd,
};
use crate::handle::Key;

/// Locks. Nothing that can panic runs under these locks, so the data of a poisoned one is sound.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The keys of the notifiers that have notified the loop, and whether the loop still exists.
#[derive(Debug)]
struct Notified {
    keys: Vec<Key>,
    open: bool,
}

/// The loop runs callbacks. It checks the list before it blocks.
const AWAKE: u8 = 0;
/// The loop is blocked in the selector, or not running. Only the wake fd reaches it.
const ASLEEP: u8 = 1;
/// The wake fd was written, and the loop has not seen that yet.
const WOKEN: u8 = 2;

/// The loop's side: one for each loop.
#[derive(Debug)]
pub(crate) struct NotifyQueue {
    wake_fd: WakeFd,
    state: AtomicU8,
    /// Whether there are keys on the list. Outside the lock, because the loop reads it every turn.
    pending: AtomicBool,
    notified: Mutex<Notified>,
}

impl NotifyQueue {
    pub(crate) fn new(wake_fd: WakeFd) -> NotifyQueue {
        let notified = Mutex::new(Notified { keys: Vec::new(), open: true });
        NotifyQueue { wake_fd, state: AtomicU8::new(ASLEEP), pending: AtomicBool::new(false), notified }
    }

    pub(crate) fn wake_fd(&self) -> &WakeFd {
        &self.wake_fd
    }

    fn notify(&self, key: Key) -> bool {
        let mut notified = lock(&self.notified);
        if !notified.open {
            return false;
        }
        notified.keys.push(key);
        self.pending.store(true, Ordering::SeqCst);
        drop(notified);
        self.wake();
        true
    }

    /// Writes to the wake fd if the loop is asleep and the fd was not written since.
    fn wake(&self) {
        if self.state.compare_exchange(ASLEEP, WOKEN, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            self.wake_fd.wake();
        }
    }

    /// Announces that the loop is going to block. Returns whether it may: whether no notification is pending.
    pub(crate) fn prepare_to_block(&self) -> bool {
        // If the state is WOKEN, the wake fd is readable and the loop does not block for long.
        let _ = self.state.compare_exchange(AWAKE, ASLEEP, Ordering::SeqCst, Ordering::SeqCst);
        !self.pending.load(Ordering::SeqCst)
    }

    /// Announces that the loop does not block any more.
    pub(crate) fn unblock(&self) {
        let _ = self.state.compare_exchange(ASLEEP, AWAKE, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Announces that the loop stops running. Others may poll its descriptor from now on, so this writes to
    /// the wake fd if a notification is pending.
    pub(crate) fn detach(&self) {
        if !self.prepare_to_block() {
            self.wake();
        }
    }

    /// Must be called when the selector has reported the wake fd.
    pub(crate) fn acknowledge_wake(&self) {
        self.state.store(AWAKE, Ordering::Relaxed);
    }

    /// Returns whether the loop is awake. Then the wake fd was not written since the last acknowledgement.
    pub(crate) fn is_awake(&self) -> bool {
        self.state.load(Ordering::Relaxed) == AWAKE
    }

    /// Returns whether there are notifications to drain.
    pub(crate) fn has_pending(&self) -> bool {
        self.pending.load(Ordering::Acquire)
    }

    /// Moves the keys of the notifications to the end of `keys`.
    pub(crate) fn drain(&self, keys: &mut Vec<Key>) {
        let mut notified = lock(&self.notified);
        self.pending.store(false, Ordering::Relaxed);
        keys.append(&mut notified.keys);
    }

    /// Makes later notifications fail, because the loop is dropped.
    pub(crate) fn close(&self) {
        let mut notified = lock(&self.notified);
        notified.open = false;
        notified.keys = Vec::new();
    }
}

/// Notifies the loop, from any thread. Notifications coalesce until the loop acknowledges them.
#[derive(Debug)]
pub(crate) struct Notifier {
    notify_queue: Arc<NotifyQueue>,
    key: Key,
    pending: AtomicBool,
    closed: AtomicBool,
}

impl Notifier {
    pub(crate) fn new(notify_queue: Arc<NotifyQueue>, key: Key) -> Notifier {
        Notifier { notify_queue, key, pending: AtomicBool::new(false), closed: AtomicBool::new(false) }
    }

    /// Notifies the loop. Returns `false` if it, or the handle, is gone.
    ///
    /// What happens before this is visible to the loop after the next [`acknowledge`](Self::acknowledge),
    /// whether this notification coalesced with another or not.
    pub(crate) fn notify(&self) -> bool {
        if self.closed.load(Ordering::Acquire) {
            return false;
        }
        // With the fence in `acknowledge`: if the load sees a notification that is pending already, what
        // happened before this call is visible after the acknowledgement of that one. Loaded before it is
        // written to, because many notifiers at once would take the cache line from each other.
        fence(Ordering::SeqCst);
        if self.pending.load(Ordering::Relaxed) || self.pending.swap(true, Ordering::AcqRel) {
            return true;
        }
        self.notify_queue.notify(self.key)
    }

    /// Must be called before the loop looks for what it was notified of. Later notifications make a new
    /// event.
    pub(crate) fn acknowledge(&self) {
        self.pending.swap(false, Ordering::AcqRel);
        fence(Ordering::SeqCst);
    }

    /// Makes later notifications fail.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }
}

#[cfg(all(test, loom))]
#[path = "../../../../tests/loom/models/notifier.rs"]
mod models;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notifications_coalesce_until_they_are_acknowledged() {
        let notify_queue = Arc::new(NotifyQueue::new(WakeFd::new().unwrap()));
        let notifier = Notifier::new(notify_queue.clone(), Key::POSTS);
        let mut keys = Vec::new();
        assert!(notifier.notify());
        assert!(notifier.notify());
        notify_queue.drain(&mut keys);
        assert_eq!(keys, [Key::POSTS]);
        notifier.acknowledge();
        assert!(notifier.notify());
        notify_queue.drain(&mut keys);
        assert_eq!(keys, [Key::POSTS; 2]);
    }

    #[test]
    fn a_notification_fails_when_the_loop_is_gone() {
        let notify_queue = Arc::new(NotifyQueue::new(WakeFd::new().unwrap()));
        let notifier = Notifier::new(notify_queue.clone(), Key::POSTS);
        notify_queue.close();
        assert!(!notifier.notify());
    }
}
