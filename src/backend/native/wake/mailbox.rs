//! How other threads bring the loop something: they have the mailbox, the loop has the inbox.
//!
//! The queue itself is lock-free; who put something in rings only if it was the first since the loop has looked. That
//! loses no wake: the same word says where the end of the queue is and whether the loop has seen all of it, so
//! either the loop saw what was put in, or who put it in saw that he has to ring. Who is the second relies on the
//! first, who may have been put aside by the system before he came to ring: then both come when he goes on.

use std::{cell::Cell, marker::PhantomData};

use super::{
    super::sync::{
        Arc, AtomicUsize, Condvar, Mutex, MutexGuard, Ordering, PoisonError, fence, pause, thread,
    },
    mpsc::{Blocks, Patience, Refusal},
    notifier::Notifier,
};

/// So many at once are a stream: more are on their way.
const STREAM_MIN: u64 = 16;
/// How long the loop lets the senders of a stream get ahead before it looks again: half a microsecond or so. Each look
/// takes three lines of the cache from them, at the price of a dozen values each; right behind them it would find
/// hardly more than that.
const STREAM_SPINS: u32 = 32;

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

/// Where other threads put in what is for the loop.
pub(crate) struct Mailbox<T> {
    items: Blocks<T>,
    bell: Notifier,
    limit: usize,
    senders: AtomicUsize,
    /// The loop's own thread, which must never wait for itself.
    home: thread::ThreadId,
    /// Threads that wait for room. Outside the lock, because the loop asks whenever it takes.
    waiting: AtomicUsize,
    waiters: Mutex<()>,
    room: Condvar,
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
    /// Puts something in, if there is room.
    pub(crate) fn try_send(&self, item: T) -> Result<(), Rejected<T>> {
        match self.items.push(item, self.limit as u64) {
            Ok(false) => Ok(()),
            Ok(true) => {
                // If the loop went away in between, its `close` has dropped the item with all the others: the
                // same as if this had come a moment earlier.
                self.bell.ring();
                Ok(())
            }
            Err((item, Refusal::Closed)) => Err(Rejected { item, reason: Refused::Gone }),
            Err((item, Refusal::Full)) => Err(Rejected { item, reason: Refused::Full { limit: self.limit } }),
        }
    }

    /// Puts something in, after waiting for room. On the loop's own thread it never waits.
    pub(crate) fn send(&self, item: T) -> Result<(), Rejected<T>> {
        let mut sent = self.try_send(item);
        while let Err(Rejected { item, reason: Refused::Full { .. } }) = sent {
            if thread::current().id() == self.home {
                return Err(Rejected { item, reason: Refused::Full { limit: self.limit } });
            }
            self.wait_for_room();
            sent = self.try_send(item);
        }
        sent
    }

    fn wait_for_room(&self) {
        let mut waiters = self.lock_waiters();
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // The loop makes room and then looks for somebody waiting, this waits and then looks for room: one of
        // the two sees the other.
        fence(Ordering::SeqCst);
        while self.items.has_no_room(self.limit as u64) {
            waiters = self.room.wait(waiters).unwrap_or_else(PoisonError::into_inner);
        }
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    fn call_waiters(&self) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) > 0 {
            // Who has looked for room in vain waits by the time that the lock is free.
            drop(self.lock_waiters());
            self.room.notify_all();
        }
    }

    fn lock_waiters(&self) -> MutexGuard<'_, ()> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
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

/// The loop's end of a mailbox. There is one, and it stays in its thread.
///
/// What it takes on is due: it is handed out one by one, and makes room in the mailbox all at once. What is due when
/// the loop breaks off is due when it comes back.
pub(crate) struct Inbox<T> {
    mailbox: Arc<Mailbox<T>>,
    /// Neither sent nor shared, so one thread at a time uses it.
    in_one_thread: PhantomData<*mut T>,
    /// Many came when the loop looked last.
    is_stream: Cell<bool>,
}

impl<T> std::fmt::Debug for Inbox<T> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.mailbox.fmt(out)
    }
}

impl<T> Inbox<T> {
    /// The inbox of a new mailbox that holds up to `limit` things that were not taken on.
    pub(crate) fn new(bell: Notifier, limit: usize) -> Inbox<T> {
        let mailbox = Mailbox {
            items: Blocks::new(),
            bell,
            limit,
            senders: AtomicUsize::new(0),
            home: thread::current().id(),
            waiting: AtomicUsize::new(0),
            waiters: Mutex::new(()),
            room: Condvar::new(),
        };
        Inbox { mailbox: Arc::new(mailbox), in_one_thread: PhantomData, is_stream: Cell::new(false) }
    }

    pub(crate) fn mailbox(&self) -> &Arc<Mailbox<T>> {
        &self.mailbox
    }

    /// The loop is about to look: takes on what there is, but so that no more than `most` are due. Says whether the
    /// senders have gone, so that no more comes than is in by now.
    pub(crate) fn take(&self, most: usize) -> bool {
        if self.is_stream.get() && self.due() == 0 {
            pause(STREAM_SPINS);
        }
        self.mailbox.bell.hear();
        // Not before the bell was heard: the last one might go with a ring that is one with those before. Before
        // anything is taken: whoever has gone by now had sent all that he ever would.
        let abandoned = self.senders() == 0;
        let taken = self.mailbox.items.take(most as u64);
        self.is_stream.set(taken >= STREAM_MIN);
        if taken > 0 && self.mailbox.limit < usize::MAX {
            self.mailbox.call_waiters();
        }
        abandoned
    }

    /// How many are due.
    pub(crate) fn due(&self) -> usize {
        self.mailbox.items.due() as usize
    }

    /// Whether something is due that can be handed out now. It cannot if the system has put its sender aside in
    /// the midst of writing: then the loop should go on with other things.
    pub(crate) fn is_ready(&self) -> bool {
        let mut patience = Patience::default();
        while self.due() > 0 {
            // SAFETY: there is one inbox, and it stays in its thread.
            if unsafe { self.mailbox.items.is_ready() } {
                return true;
            }
            if patience.is_over() {
                patience.wait();
                return false;
            }
            patience.wait();
        }
        false
    }

    /// Hands out what is due next, if it can be handed out now.
    pub(crate) fn next(&self) -> Option<T> {
        if self.due() == 0 {
            return None;
        }
        // SAFETY: as in `is_ready`.
        unsafe { self.mailbox.items.pop() }
    }

    /// The loop looks no more. Says whether it may: all that came is due or was handed out, and who sends next rings.
    /// Amid a stream it looks once more instead, because each ring takes lines of the cache from both sides.
    pub(crate) fn rest(&self) -> bool {
        !self.is_stream.get() && self.mailbox.items.rest()
    }

    /// How many things are in it, due or not.
    pub(crate) fn len(&self) -> usize {
        self.mailbox.items.len() as usize
    }

    /// How many senders there are: the loop may wait for them.
    pub(crate) fn senders(&self) -> usize {
        self.mailbox.senders.load(Ordering::Acquire)
    }

    /// Nothing comes in from now on; what is in is dropped.
    pub(crate) fn close(&self) {
        self.mailbox.bell.close();
        self.mailbox.items.close();
        self.mailbox.call_waiters();
        self.mailbox.items.take(u64::MAX);
        let mut patience = Patience::default();
        while self.due() > 0 {
            match self.next() {
                Some(item) => drop(item),
                None => patience.wait(),
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
        let rejected = mailbox.try_send(2).unwrap_err();
        assert_eq!((rejected.item, rejected.reason), (2, Refused::Full { limit: 1 }));
    }

    #[test]
    fn a_sender_that_waits_for_room_gets_it_or_hears_that_the_loop_is_gone() {
        let inbox = inbox(1);
        let mailbox = inbox.mailbox().clone();
        mailbox.try_send(1).unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| mailbox.send(2));
            while mailbox.waiting.load(Ordering::Relaxed) == 0 {
                std::thread::yield_now();
            }
            inbox.take(1);
            assert_eq!(inbox.next(), Some(1));
            second.join().unwrap().unwrap();
            let third = scope.spawn(|| mailbox.send(3));
            while mailbox.waiting.load(Ordering::Relaxed) == 0 {
                std::thread::yield_now();
            }
            inbox.close();
            assert_eq!(third.join().unwrap().unwrap_err().reason, Refused::Gone);
        });
    }

    #[test]
    fn the_loops_own_thread_never_waits_for_itself() {
        let inbox = inbox(1);
        inbox.mailbox().send(1).unwrap();
        let refused = inbox.mailbox().send(2).unwrap_err();
        assert_eq!(refused.reason, Refused::Full { limit: 1 });
    }
}
