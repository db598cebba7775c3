//! How other threads send items to the loop: they have the mailbox, the loop has the inbox.
//!
//! The queue is lock-free. Only the first push after the loop went idle notifies it. Tail and IDLE flag share
//! one word, so either the loop sees the item or the sender sees the flag: no wake-up is lost. Later senders
//! depend on that first one; if it is preempted before it notifies, their items wait with its own.

use std::{cell::Cell, marker::PhantomData};

use super::{
    super::{
        sync::{Arc, AtomicUsize, Condvar, Mutex, MutexGuard, Ordering, PoisonError, fence, pause, thread},
        tuning::{BURST_MIN, BURST_SPINS},
    },
    backoff::Backoff,
    mpsc::{MpscQueue, PushError},
    notifier::Notifier,
};

/// The senders' side, shared by all of them.
pub(crate) struct Mailbox<T> {
    queue: MpscQueue<T>,
    notifier: Notifier,
    limit: usize,
    senders: AtomicUsize,
    /// The loop's own thread, which must not wait for itself.
    loop_thread: thread::ThreadId,
    /// How many threads wait for room. Outside the lock, because the loop reads it whenever it claims.
    waiting: AtomicUsize,
    waiters: Mutex<()>,
    room: Condvar,
}

impl<T> std::fmt::Debug for Mailbox<T> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Mailbox")
            .field("notifier", &self.notifier)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl<T> Mailbox<T> {
    /// Sends an item, if there is room.
    pub(crate) fn try_send(&self, item: T) -> Result<(), PushError<T>> {
        if self.queue.push(item, self.limit as u64)? {
            // If the inbox was closed in between, that dropped the item with all others, as if the item had
            // come a moment earlier.
            self.notifier.notify();
        }
        Ok(())
    }

    /// Sends an item, after waiting for room. On the loop's own thread it does not wait.
    pub(crate) fn send(&self, item: T) -> Result<(), PushError<T>> {
        let mut sent = self.try_send(item);
        while let Err(PushError::Full(item)) = sent {
            if thread::current().id() == self.loop_thread {
                return Err(PushError::Full(item));
            }
            self.wait_for_room();
            sent = self.try_send(item);
        }
        sent
    }

    fn wait_for_room(&self) {
        let mut waiters = self.lock_waiters();
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // As in Dekker's algorithm: the loop makes room and then checks for waiting threads, a thread
        // announces that it waits and then checks for room. With both fences at least one sees the other.
        fence(Ordering::SeqCst);
        while self.queue.is_full(self.limit as u64) {
            waiters = self.room.wait(waiters).unwrap_or_else(PoisonError::into_inner);
        }
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    fn wake_waiters(&self) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) > 0 {
            // A thread that has just found no room holds the lock until it waits on the condition variable.
            drop(self.lock_waiters());
            self.room.notify_all();
        }
    }

    /// Locks. The lock guards no data, so a poisoned one is sound.
    fn lock_waiters(&self) -> MutexGuard<'_, ()> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how many items it holds at most, claimed ones not counted.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn add_sender(&self) {
        self.senders.fetch_add(1, Ordering::AcqRel);
    }

    /// Removes a sender. The last one notifies the loop, which may be waiting for that alone.
    pub(crate) fn remove_sender(&self) {
        if self.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.notifier.notify();
        }
    }
}

/// The loop's side of a mailbox. There is one, and it stays in its thread.
///
/// It claims items in batches, which makes room in the mailbox at once, and hands them out one by one.
/// Claimed items stay in the queue, so a loop that is interrupted finds them when it runs again.
pub(crate) struct Inbox<T> {
    mailbox: Arc<Mailbox<T>>,
    /// Neither `Send` nor `Sync`, so one thread at a time uses it.
    not_send: PhantomData<*mut T>,
    /// The last claim was large.
    in_burst: Cell<bool>,
}

impl<T> std::fmt::Debug for Inbox<T> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.mailbox.fmt(out)
    }
}

impl<T> Inbox<T> {
    /// Makes a mailbox that holds up to `limit` items that the loop has not claimed, and its inbox.
    pub(crate) fn new(notifier: Notifier, limit: usize) -> Inbox<T> {
        let mailbox = Mailbox {
            queue: MpscQueue::new(),
            notifier,
            limit,
            senders: AtomicUsize::new(0),
            loop_thread: thread::current().id(),
            waiting: AtomicUsize::new(0),
            waiters: Mutex::new(()),
            room: Condvar::new(),
        };
        Inbox { mailbox: Arc::new(mailbox), not_send: PhantomData, in_burst: Cell::new(false) }
    }

    pub(crate) fn mailbox(&self) -> &Arc<Mailbox<T>> {
        &self.mailbox
    }

    /// Claims items, so that up to `max` are claimed and not handed out. Acknowledges the notification.
    ///
    /// Returns whether all senders are gone: then nothing more comes than what is in the mailbox by now.
    pub(crate) fn claim(&self, max: usize) -> bool {
        if self.in_burst.get() && self.claimed_len() == 0 {
            pause(BURST_SPINS);
        }
        self.mailbox.notifier.acknowledge();
        // After the acknowledgement, because the notification of the last sender may have coalesced with an
        // earlier one. Before the claim, because a sender that is gone by now has sent all its items.
        let no_senders = self.senders() == 0;
        let claimed = self.mailbox.queue.claim(max as u64);
        self.in_burst.set(claimed >= BURST_MIN);
        if claimed > 0 && self.mailbox.limit < usize::MAX {
            self.mailbox.wake_waiters();
        }
        no_senders
    }

    /// Returns the number of items that are claimed and not handed out.
    pub(crate) fn claimed_len(&self) -> usize {
        self.mailbox.queue.claimed_len() as usize
    }

    /// Returns whether there is a claimed item and it is ready.
    ///
    /// It is not ready if its sender was preempted while it wrote the item. Then the loop should do other
    /// things first.
    pub(crate) fn is_ready(&self) -> bool {
        let mut backoff = Backoff::default();
        while self.claimed_len() > 0 {
            // SAFETY: there is one inbox, and it stays in its thread.
            if unsafe { self.mailbox.queue.is_ready() } {
                return true;
            }
            if backoff.is_completed() {
                backoff.snooze();
                return false;
            }
            backoff.snooze();
        }
        false
    }

    /// Hands out the next claimed item, if it is ready.
    pub(crate) fn next(&self) -> Option<T> {
        if self.claimed_len() == 0 {
            return None;
        }
        // SAFETY: as in `is_ready`.
        unsafe { self.mailbox.queue.pop() }
    }

    /// Goes idle if every item was claimed. Returns whether it did: then the next sender notifies the loop.
    ///
    /// In a burst it refuses, and the loop looks once more: a notification takes cache lines from both sides.
    pub(crate) fn go_idle(&self) -> bool {
        !self.in_burst.get() && self.mailbox.queue.go_idle()
    }

    /// Returns the number of items in the mailbox, claimed or not.
    pub(crate) fn len(&self) -> usize {
        self.mailbox.queue.len() as usize
    }

    /// Returns the number of senders, which keep the loop alive.
    pub(crate) fn senders(&self) -> usize {
        self.mailbox.senders.load(Ordering::Acquire)
    }

    /// Makes later sends fail, and drops all items.
    pub(crate) fn close(&self) {
        self.mailbox.notifier.close();
        self.mailbox.queue.close();
        self.mailbox.wake_waiters();
        self.mailbox.queue.claim(u64::MAX);
        let mut backoff = Backoff::default();
        while self.claimed_len() > 0 {
            match self.next() {
                Some(item) => drop(item),
                None => backoff.snooze(),
            }
        }
    }
}

impl<T> Drop for Inbox<T> {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(all(test, loom))]
#[path = "../../../../tests/loom/models/mailbox.rs"]
mod models;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        backend::native::wake::{notifier::NotifyQueue, wake_fd::WakeFd},
        handle::Key,
    };

    fn inbox(limit: usize) -> Inbox<u32> {
        let notify_queue = Arc::new(NotifyQueue::new(WakeFd::new().unwrap()));
        Inbox::new(Notifier::new(notify_queue, Key::JOBS), limit)
    }

    #[test]
    fn a_full_mailbox_hands_the_item_back() {
        let inbox = inbox(1);
        let mailbox = inbox.mailbox();
        mailbox.try_send(1).unwrap();
        assert_eq!(mailbox.try_send(2), Err(PushError::Full(2)));
    }

    #[test]
    fn a_waiting_sender_gets_room_or_learns_of_the_close() {
        let inbox = inbox(1);
        let mailbox = inbox.mailbox().clone();
        mailbox.try_send(1).unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| mailbox.send(2));
            while mailbox.waiting.load(Ordering::Relaxed) == 0 {
                std::thread::yield_now();
            }
            inbox.claim(1);
            assert_eq!(inbox.next(), Some(1));
            second.join().unwrap().unwrap();
            let third = scope.spawn(|| mailbox.send(3));
            while mailbox.waiting.load(Ordering::Relaxed) == 0 {
                std::thread::yield_now();
            }
            inbox.close();
            assert_eq!(third.join().unwrap(), Err(PushError::Closed(3)));
        });
    }

    #[test]
    fn the_loops_own_thread_does_not_wait_for_room() {
        let inbox = inbox(1);
        inbox.mailbox().send(1).unwrap();
        assert_eq!(inbox.mailbox().send(2), Err(PushError::Full(2)));
    }
}
