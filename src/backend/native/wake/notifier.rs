//! How other threads wake the loop: bells.
//!
//! One alarm for the whole loop. Whoever rings puts his key on a list, once until the loop has looked, and
//! sets off the alarm only if the loop sleeps: so the loop learns who rang in O(rings), a thousand rings cost one
//! system call, and those that come while it is awake cost none.
//!
//! The two sides meet as in Dekker's algorithm: the loop says that it sleeps and then looks at the list, the other
//! thread puts itself on the list and then looks whether the loop sleeps. In one order for all, so that one of the
//! two sees the other.

use super::{
    super::sync::{Arc, AtomicBool, AtomicU8, Mutex, MutexGuard, Ordering, PoisonError, fence},
    wake_fd::WakeFd,
};
use crate::handle::Key;

/// Nothing that can panic runs under these locks, so a poisoned one is sound all the same.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who rang, and whether anybody is still there to hear it.
#[derive(Debug)]
struct Rung {
    keys: Vec<Key>,
    open: bool,
}

/// The loop runs callbacks. It looks at the list before it sleeps.
const AWAKE: u8 = 0;
/// The loop waits for the system, or is not running: only the alarm wakes it.
const ASLEEP: u8 = 1;
/// Somebody has set off the alarm, and the loop has not heard it yet.
const ALARMED: u8 = 2;

/// The loop's side: one for each loop.
#[derive(Debug)]
pub(crate) struct NotifyQueue {
    alarm: WakeFd,
    state: AtomicU8,
    /// Whether there are keys on the list: outside the lock, because the loop asks every turn.
    any: AtomicBool,
    rung: Mutex<Rung>,
}

impl NotifyQueue {
    pub(crate) fn new(alarm: WakeFd) -> NotifyQueue {
        let rung = Mutex::new(Rung { keys: Vec::new(), open: true });
        NotifyQueue { alarm, state: AtomicU8::new(ASLEEP), any: AtomicBool::new(false), rung }
    }

    pub(crate) fn alarm(&self) -> &WakeFd {
        &self.alarm
    }

    fn ring(&self, key: Key) -> bool {
        let mut rung = lock(&self.rung);
        if !rung.open {
            return false;
        }
        rung.keys.push(key);
        self.any.store(true, Ordering::SeqCst);
        drop(rung);
        self.wake();
        true
    }

    fn wake(&self) {
        if self.state.compare_exchange(ASLEEP, ALARMED, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            self.alarm.ring();
        }
    }

    /// The loop is going to sleep. Says whether it may: nobody has rung.
    pub(crate) fn sleep(&self) -> bool {
        // Alarmed already, it does not sleep long.
        let _ = self.state.compare_exchange(AWAKE, ASLEEP, Ordering::SeqCst, Ordering::SeqCst);
        !self.any.load(Ordering::SeqCst)
    }

    /// The loop has woken up.
    pub(crate) fn rise(&self) {
        let _ = self.state.compare_exchange(ASLEEP, AWAKE, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The loop stops running, and somebody else may wait for it: a ring that it has not answered is for him.
    pub(crate) fn detach(&self) {
        if !self.sleep() {
            self.wake();
        }
    }

    /// The alarm was heard.
    pub(crate) fn hear(&self) {
        self.state.store(AWAKE, Ordering::Relaxed);
    }

    /// Whether the alarm cannot have been set off.
    pub(crate) fn is_quiet(&self) -> bool {
        self.state.load(Ordering::Relaxed) == AWAKE
    }

    /// Whether anybody has rung.
    pub(crate) fn has_notifications(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Takes the list of who rang.
    pub(crate) fn answer(&self, keys: &mut Vec<Key>) {
        let mut rung = lock(&self.rung);
        self.any.store(false, Ordering::Relaxed);
        keys.append(&mut rung.keys);
    }

    /// The loop is gone: from now on ringing says so.
    pub(crate) fn close(&self) {
        let mut rung = lock(&self.rung);
        rung.open = false;
        rung.keys = Vec::new();
    }
}

/// What another thread may ring. Rings coalesce until the loop has looked.
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

    /// Rings. Says whether somebody is there to hear it.
    pub(crate) fn ring(&self) -> bool {
        if self.closed.load(Ordering::Acquire) {
            return false;
        }
        // Everything before a ring is seen by the loop after `hear`, whichever ring got through: the fences see
        // to that. Looked at before it is written to, because many that ring at once would take the cache
        // line from one another.
        fence(Ordering::SeqCst);
        if self.pending.load(Ordering::Relaxed) || self.pending.swap(true, Ordering::AcqRel) {
            return true;
        }
        self.notify_queue.ring(self.key)
    }

    /// The loop is about to look: a ring from now on is a new one.
    pub(crate) fn hear(&self) {
        self.pending.swap(false, Ordering::AcqRel);
        fence(Ordering::SeqCst);
    }

    /// Nobody listens any more.
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
    fn rings_coalesce_until_they_are_heard() {
        let notify_queue = Arc::new(NotifyQueue::new(WakeFd::new().unwrap()));
        let bell = Notifier::new(notify_queue.clone(), Key::POSTS);
        let mut keys = Vec::new();
        assert!(bell.ring());
        assert!(bell.ring());
        notify_queue.answer(&mut keys);
        assert_eq!(keys, [Key::POSTS]);
        bell.hear();
        assert!(bell.ring());
        notify_queue.answer(&mut keys);
        assert_eq!(keys, [Key::POSTS; 2]);
    }

    #[test]
    fn a_bell_says_when_nobody_is_left_to_hear() {
        let notify_queue = Arc::new(NotifyQueue::new(WakeFd::new().unwrap()));
        let bell = Notifier::new(notify_queue.clone(), Key::POSTS);
        notify_queue.close();
        assert!(!bell.ring());
    }
}
