//! How other threads reach the loop: bells that wake it, mailboxes that bring it something.
//!
//! One alarm for the whole loop. Whoever rings puts his key on a list, once until the loop has looked, and
//! sets off the alarm only if the loop sleeps: so the loop learns who rang in O(rings), a thousand rings cost one
//! system call, and those that come while it is awake cost none.
//!
//! The two sides meet as in Dekker's algorithm: the loop says that it sleeps and then looks at the list, the other
//! thread puts itself on the list and then looks whether the loop sleeps. In one order for all, so that one of the
//! two sees the other.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering, fence},
    },
};

use super::alarm::Alarm;
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
pub(crate) struct Doorbell {
    alarm: Alarm,
    state: AtomicU8,
    /// Whether there are keys on the list: outside the lock, because the loop asks every turn.
    any: AtomicBool,
    rung: Mutex<Rung>,
}

impl Doorbell {
    pub(crate) fn new(alarm: Alarm) -> Doorbell {
        let rung = Mutex::new(Rung { keys: Vec::new(), open: true });
        Doorbell { alarm, state: AtomicU8::new(ASLEEP), any: AtomicBool::new(false), rung }
    }

    pub(crate) fn alarm(&self) -> &Alarm {
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
        let change = (Ordering::SeqCst, Ordering::SeqCst);
        if self.state.compare_exchange(ASLEEP, ALARMED, change.0, change.1).is_ok() {
            self.alarm.ring();
        }
    }

    /// The loop is going to sleep. Says whether it may: nobody has rung.
    pub(crate) fn sleep(&self) -> bool {
        let change = (Ordering::SeqCst, Ordering::SeqCst);
        // Alarmed already, it does not sleep long.
        let _ = self.state.compare_exchange(AWAKE, ASLEEP, change.0, change.1);
        !self.any.load(Ordering::SeqCst)
    }

    /// The loop has woken up.
    pub(crate) fn rise(&self) {
        let _ = self.state.compare_exchange(ASLEEP, AWAKE, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The loop stops running, and somebody else may wait for it: a ring that it has not answered is for him.
    pub(crate) fn leave(&self) {
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
    pub(crate) fn has_rung(&self) -> bool {
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
pub(crate) struct Bell {
    doorbell: Arc<Doorbell>,
    key: Key,
    pending: AtomicBool,
    closed: AtomicBool,
}

impl Bell {
    pub(crate) fn new(doorbell: Arc<Doorbell>, key: Key) -> Bell {
        Bell { doorbell, key, pending: AtomicBool::new(false), closed: AtomicBool::new(false) }
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
        self.doorbell.ring(self.key)
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

/// Why a mailbox did not take something, with that something.
#[derive(Debug)]
pub(crate) struct Rejected<T> {
    pub(crate) item: T,
    pub(crate) reason: Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The loop, or the handle, is gone.
    Gone,
    /// It holds as much as it may.
    Full {
        /// How much that is.
        limit: usize,
    },
}

struct Inbox<T> {
    items: VecDeque<T>,
    open: bool,
    /// Threads that wait for room.
    waiting: usize,
}

/// A queue from other threads to the loop.
pub(crate) struct Mailbox<T> {
    bell: Bell,
    inbox: Mutex<Inbox<T>>,
    room: Condvar,
    limit: usize,
    /// Outside the lock, because the loop asks once a turn.
    senders: AtomicUsize,
    /// The loop's own thread, which must never wait for itself.
    home: std::thread::ThreadId,
}

/// What the loop found when it looked for something to take.
#[derive(Debug)]
pub(crate) enum ReceiveError {
    /// Nothing yet.
    Empty,
    /// Nothing, and nobody is left to send.
    Abandoned,
}

impl<T> std::fmt::Debug for Mailbox<T> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Mailbox")
            .field("bell", &self.bell)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl<T> Mailbox<T> {
    pub(crate) fn new(bell: Bell, limit: usize) -> Mailbox<T> {
        let inbox = Inbox { items: VecDeque::new(), open: true, waiting: 0 };
        Mailbox {
            bell,
            inbox: Mutex::new(inbox),
            room: Condvar::new(),
            limit,
            senders: AtomicUsize::new(0),
            home: std::thread::current().id(),
        }
    }

    /// Puts something in, if there is room.
    pub(crate) fn try_send(&self, item: T) -> Result<(), Rejected<T>> {
        let inbox = lock(&self.inbox);
        self.put(inbox, item)
    }

    /// Puts something in, after waiting for room. On the loop's own thread it never waits.
    pub(crate) fn send(&self, item: T) -> Result<(), Rejected<T>> {
        let mut inbox = lock(&self.inbox);
        if std::thread::current().id() != self.home {
            while inbox.open && inbox.items.len() >= self.limit {
                inbox.waiting += 1;
                inbox = self.room.wait(inbox).unwrap_or_else(PoisonError::into_inner);
                inbox.waiting -= 1;
            }
        }
        self.put(inbox, item)
    }

    fn put(&self, mut inbox: MutexGuard<'_, Inbox<T>>, item: T) -> Result<(), Rejected<T>> {
        if !inbox.open {
            return Err(Rejected { item, reason: Refused::Gone });
        }
        if inbox.items.len() >= self.limit {
            return Err(Rejected { item, reason: Refused::Full { limit: self.limit } });
        }
        inbox.items.push_back(item);
        drop(inbox);
        // If the loop went away in between, its `close` has dropped the item with all the others: the
        // same as if this had come a moment earlier.
        self.bell.ring();
        Ok(())
    }

    /// The loop is about to look.
    pub(crate) fn hear(&self) {
        self.bell.hear();
    }

    /// Takes everything, in order.
    pub(crate) fn take_all(&self) -> VecDeque<T> {
        let mut inbox = lock(&self.inbox);
        if inbox.waiting > 0 {
            self.room.notify_all();
        }
        std::mem::take(&mut inbox.items)
    }

    /// Takes the first thing.
    pub(crate) fn take(&self) -> Result<T, ReceiveError> {
        // Before the lock: whoever left had put in all that he ever would.
        let abandoned = self.senders() == 0;
        let mut inbox = lock(&self.inbox);
        if inbox.waiting > 0 {
            self.room.notify_one();
        }
        inbox.items.pop_front().ok_or(if abandoned { ReceiveError::Abandoned } else { ReceiveError::Empty })
    }

    pub(crate) fn len(&self) -> usize {
        lock(&self.inbox).items.len()
    }

    /// Nothing comes in from now on; what is in is dropped, outside the lock.
    pub(crate) fn close(&self) {
        self.bell.close();
        let mut inbox = lock(&self.inbox);
        inbox.open = false;
        let left = std::mem::take(&mut inbox.items);
        self.room.notify_all();
        drop(inbox);
        drop(left);
    }

    /// How many senders there are: the loop may wait for them.
    pub(crate) fn senders(&self) -> usize {
        self.senders.load(Ordering::Acquire)
    }

    pub(crate) fn add_sender(&self) {
        self.senders.fetch_add(1, Ordering::AcqRel);
    }

    /// One sender less. The last one wakes the loop, which may have waited for him alone.
    pub(crate) fn remove_sender(&self) {
        if self.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.bell.ring();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox(limit: usize) -> Mailbox<u32> {
        let doorbell = Arc::new(Doorbell::new(Alarm::new().unwrap()));
        Mailbox::new(Bell::new(doorbell, Key::JOBS), limit)
    }

    #[test]
    fn rings_coalesce_until_they_are_heard() {
        let doorbell = Arc::new(Doorbell::new(Alarm::new().unwrap()));
        let bell = Bell::new(doorbell.clone(), Key::POSTS);
        let mut keys = Vec::new();
        assert!(bell.ring());
        assert!(bell.ring());
        doorbell.answer(&mut keys);
        assert_eq!(keys, [Key::POSTS]);
        bell.hear();
        assert!(bell.ring());
        doorbell.answer(&mut keys);
        assert_eq!(keys, [Key::POSTS; 2]);
    }

    #[test]
    fn a_bell_says_when_nobody_is_left_to_hear() {
        let doorbell = Arc::new(Doorbell::new(Alarm::new().unwrap()));
        let bell = Bell::new(doorbell.clone(), Key::POSTS);
        doorbell.close();
        assert!(!bell.ring());
    }

    #[test]
    fn a_full_mailbox_hands_the_item_back() {
        let mailbox = mailbox(1);
        mailbox.try_send(1).unwrap();
        let rejected = mailbox.try_send(2).unwrap_err();
        assert_eq!((rejected.item, rejected.reason), (2, Refused::Full { limit: 1 }));
    }

    #[test]
    fn a_sender_that_waits_for_room_gets_it_or_hears_that_the_loop_is_gone() {
        let mailbox = mailbox(1);
        mailbox.add_sender();
        mailbox.try_send(1).unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| mailbox.send(2));
            while lock(&mailbox.inbox).waiting == 0 {
                std::thread::yield_now();
            }
            assert_eq!(mailbox.take().unwrap(), 1);
            second.join().unwrap().unwrap();
            let third = scope.spawn(|| mailbox.send(3));
            while lock(&mailbox.inbox).waiting == 0 {
                std::thread::yield_now();
            }
            mailbox.close();
            assert_eq!(third.join().unwrap().unwrap_err().reason, Refused::Gone);
        });
    }

    #[test]
    fn the_loops_own_thread_never_waits_for_itself() {
        let mailbox = mailbox(1);
        mailbox.send(1).unwrap();
        assert_eq!(mailbox.send(2).unwrap_err().reason, Refused::Full { limit: 1 });
    }
}
