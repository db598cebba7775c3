//! The operating system: all of libc, all unsafe code, all threads, the clock. One concern a file.

mod cache_padded;
mod clock;
mod fs;
#[cfg(all(test, loom))]
#[path = "../../../tests/loom/kit.rs"]
mod kit;
mod net;
mod pages;
mod pool;
mod signal;
#[cfg_attr(all(test, loom), path = "../../../tests/loom/sync.rs")]
mod sync;
mod sys;
mod tuning;
mod wait;
mod wake;

use std::{
    io, mem,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

#[cfg(feature = "sim")]
pub(crate) use self::wake::{NotifyQueue, WakeFd};
#[cfg(not(feature = "sim"))]
use self::wake::{NotifyQueue, WakeFd};
use self::{
    clock::Clock,
    fs::Cached,
    pool::Pool,
    signal::Signals,
    tuning::{COMPLETIONS_BUSY_MIN, FILE_JOBS_SHARED_MIN, NOTIFICATION_SPINS},
    wait::{
        Waiter,
        busy_poll::BusyPoll,
        registrations::{Change, Registrations},
    },
};
pub(crate) use self::{
    fs::Descriptor,
    net::{AcceptError, ListenConfig, PIECES_MAX, Socket, classify_accept_error},
    pages::PageBuf,
    signal::numbers as signal_numbers,
    sync::Arc,
    wake::{Inbox, Mailbox, Notifier, PushError},
};
use super::{
    Interest, Readiness,
    job::{Done, Job, Submitted},
};
use crate::{handle::Key, time::Nanos};

/// The system, to one loop.
pub(crate) struct Backend {
    // Before `waiter`, whose drop ends every registration: a pool's threads and bells touch none.
    /// Made for the first job that needs a worker.
    pool: Option<Pool>,
    workers: usize,
    clock: Clock,
    waiter: Waiter,
    interests: Registrations,
    notify_queue: Arc<NotifyQueue>,
    signals: Option<Signals>,
    busy: BusyPoll,
    /// A bell rang since the last wait.
    just_rang: bool,
    /// Registrations that the system refused, until the loop has told them.
    refused: Vec<(Key, io::Error)>,
}

impl Backend {
    pub(crate) fn new(workers: usize, busy_poll: Nanos) -> io::Result<Backend> {
        let mut waiter = Waiter::new()?;
        let notify_queue = Arc::new(NotifyQueue::new(WakeFd::new()?));
        waiter.watch_alarm(notify_queue.wake_fd().as_fd(), Key::WAKE_FD)?;
        Ok(Backend {
            pool: None,
            workers,
            clock: Clock::start(),
            waiter,
            interests: Registrations::default(),
            notify_queue,
            signals: None,
            busy: BusyPoll::new(busy_poll),
            just_rang: false,
            refused: Vec::new(),
        })
    }

    pub(crate) fn now(&self) -> Nanos {
        self.clock.now()
    }

    // ---- sockets

    /// A socket that listens.
    pub(crate) fn listen(&mut self, addr: SocketAddr, config: ListenConfig) -> io::Result<Socket> {
        Socket::listen(addr, config)
    }

    /// A socket that is connecting, or connected already.
    pub(crate) fn connect(&mut self, addr: SocketAddr) -> io::Result<(Socket, io::Result<bool>)> {
        Socket::connect(addr)
    }

    /// Takes a socket of the application's.
    pub(crate) fn adopt(&mut self, fd: OwnedFd) -> io::Result<Socket> {
        Socket::adopt(fd)
    }

    // ---- waiting

    /// Installs what changed and waits: until something is ready, or `timeout` has passed, or for ever.
    pub(crate) fn wait(
        &mut self,
        timeout: Option<Nanos>,
        mut ready: impl FnMut(Key, Readiness),
    ) -> io::Result<()> {
        self.apply_registrations();
        // Those whose registration was refused must hear of it now, and so must those who rang.
        let timeout = if self.refused.is_empty() { timeout } else { Some(0) };
        if !self.busy.is_off() && timeout != Some(0) {
            return self.poll_and_wait(timeout, ready);
        }
        self.sleep(timeout, &mut ready)
    }

    /// Polls for as long as may pay, and then waits for the rest of the time.
    fn poll_and_wait(
        &mut self,
        timeout: Option<Nanos>,
        mut ready: impl FnMut(Key, Readiness),
    ) -> io::Result<()> {
        self.notify_queue.unblock();
        let begun = self.clock.now();
        let limit = self.busy.limit(timeout);
        let mut spent = 0;
        let mut came = false;
        while spent < limit && !came && !self.notify_queue.has_pending() {
            self.wait_for_the_system(Some(0), &mut |key, readiness| {
                came = true;
                ready(key, readiness);
            })?;
            std::hint::spin_loop();
            spent = self.clock.now() - begun;
        }
        let rest = timeout.map(|timeout| timeout.saturating_sub(spent));
        let waited = if came { Ok(()) } else { self.sleep(rest, &mut ready) };
        self.busy.waited(self.clock.now() - begun);
        waited
    }

    fn sleep(&mut self, timeout: Option<Nanos>, ready: &mut impl FnMut(Key, Readiness)) -> io::Result<()> {
        if timeout == Some(0) || self.rings_again() || !self.notify_queue.prepare_to_block() {
            self.notify_queue.unblock();
            // Nothing is watched, so there is nothing that the system could say.
            if self.interests.is_empty() && self.notify_queue.is_awake() {
                return Ok(());
            }
            return self.wait_for_the_system(Some(0), ready);
        }
        let waited = self.wait_for_the_system(timeout, ready);
        self.notify_queue.unblock();
        waited
    }

    /// Whoever has just rung may be about to ring again: to wait for that for a microsecond costs less than to be
    /// woken, by a system call there and one here, and perhaps behind others that want this processor.
    fn rings_again(&mut self) -> bool {
        mem::take(&mut self.just_rang)
            && (0..NOTIFICATION_SPINS).any(|_| {
                std::hint::spin_loop();
                self.notify_queue.has_pending()
            })
    }

    fn wait_for_the_system(
        &mut self,
        timeout: Option<Nanos>,
        ready: &mut impl FnMut(Key, Readiness),
    ) -> io::Result<()> {
        let mut alarmed = false;
        let waited = self.waiter.wait(timeout, |key, readiness| match key {
            Key::WAKE_FD => alarmed = true,
            _ => ready(key, readiness),
        });
        // At once, not in its turn: the system says it once, and a batch may be broken off.
        if alarmed {
            self.waiter.hush(self.notify_queue.wake_fd());
            self.notify_queue.acknowledge_wake();
        }
        waited
    }

    /// The loop has stopped running: whoever waits on its descriptor shall hear of what comes meanwhile.
    pub(crate) fn detach(&mut self) {
        self.notify_queue.detach();
    }

    /// Installs what changed, so that the loop's descriptor is readable when something is ready.
    pub(crate) fn apply_registrations(&mut self) {
        while let Some((fd, change)) = self.interests.next_change() {
            // SAFETY: whoever closes a descriptor calls `forget` first, so one with a change is open.
            let source = unsafe { BorrowedFd::borrow_raw(fd) };
            if let Err(error) = self.waiter.apply(source, change) {
                let key = self.interests.refused(fd);
                self.refused.push((Key(key), error));
            }
        }
    }

    /// Takes one registration that the system refused.
    pub(crate) fn pop_failed_registration(&mut self) -> Option<(Key, io::Error)> {
        self.refused.pop()
    }

    /// Whom to tell about a source, and about what. Reaches the system with the next `wait`.
    pub(crate) fn watch(&mut self, socket: &Socket, key: Key, interest: Interest) {
        self.interests.want(socket.as_fd().as_raw_fd(), key.0, interest);
    }

    /// The same for a descriptor of the application's.
    pub(crate) fn watch_descriptor(&mut self, source: BorrowedFd<'_>, key: Key, interest: Interest) {
        self.interests.want(source.as_raw_fd(), key.0, interest);
    }

    /// Whether the system refused one.
    pub(crate) fn has_failed_registrations(&self) -> bool {
        !self.refused.is_empty()
    }

    /// The same at once, for sources that the system may refuse.
    pub(crate) fn watch_descriptor_now(
        &mut self,
        source: BorrowedFd<'_>,
        key: Key,
        interest: Interest,
    ) -> io::Result<()> {
        let waiting = self.refused.len();
        self.interests.want(source.as_raw_fd(), key.0, interest);
        self.apply_registrations();
        match self.refused.iter().skip(waiting).position(|(refused, _)| *refused == key) {
            Some(place) => Err(self.refused.remove(waiting + place).1),
            None => Ok(()),
        }
    }

    /// The source is about to be closed or given away.
    pub(crate) fn forget(&mut self, socket: &Socket) {
        self.forget_descriptor(socket.as_fd());
    }

    /// The same for a descriptor of the application's.
    pub(crate) fn forget_descriptor(&mut self, fd: BorrowedFd<'_>) {
        if self.interests.forget(fd.as_raw_fd()) {
            // It was watched a moment ago, so the system can only agree.
            let _ = self.waiter.apply(fd, Change::Delete);
        }
    }

    /// Closes a socket.
    pub(crate) fn close(&mut self, socket: Socket) {
        self.forget(&socket);
    }

    // ---- other threads

    /// A bell that tells this key.
    pub(crate) fn notifier(&self, key: Key) -> Notifier {
        Notifier::new(self.notify_queue.clone(), key)
    }

    /// Whether a bell has rung.
    pub(crate) fn has_notifications(&self) -> bool {
        self.notify_queue.has_pending()
    }

    /// Takes the keys of the bells that rang.
    pub(crate) fn drain_notifications(&mut self, keys: &mut Vec<Key>) {
        self.just_rang = true;
        self.notify_queue.drain(keys);
    }

    // ---- jobs

    /// How many worker threads there may be. Those that are there stay.
    pub(crate) fn set_workers(&mut self, limit: usize) {
        self.workers = limit;
        if let Some(pool) = &mut self.pool {
            pool.set_limit(limit);
        }
    }

    /// Does a job now if that cannot block, or gives it to a worker: also if there are many, of which `waiting` are done
    /// and not told yet.
    pub(crate) fn submit(&mut self, token: u64, mut job: Job, waiting: usize) -> io::Result<Submitted> {
        let with_workers = self.pool.as_ref().map_or(0, Pool::files);
        // Behind a closure of the application's, which may take any time, nothing waits that need not.
        let may_share = self.pool.as_ref().is_none_or(Pool::has_only_files);
        let shared =
            may_share && waiting >= COMPLETIONS_BUSY_MIN && with_workers + waiting >= FILE_JOBS_SHARED_MIN;
        if !shared {
            if let Some(result) = job.try_run(&mut Cached) {
                return Ok(Submitted::Finished(result.map(|()| job)));
            }
        }
        let Backend { pool, workers, notify_queue, .. } = self;
        let pool =
            pool.get_or_insert_with(|| Pool::new(*workers, Notifier::new(notify_queue.clone(), Key::JOBS)));
        pool.submit(token, job).map(Submitted::Queued)
    }

    /// Takes back a job that no worker has begun.
    pub(crate) fn cancel(&mut self, ticket: u64) -> bool {
        self.pool.as_mut().is_some_and(|pool| pool.cancel(ticket))
    }

    /// Takes the jobs that are done.
    pub(crate) fn drain_completions(&mut self, each: impl FnMut(Done)) {
        if let Some(pool) = &mut self.pool {
            pool.drain_completions(each);
        }
    }

    // ---- signals

    /// Wants to hear of a signal, under the key for signals.
    pub(crate) fn watch_signal(&mut self, signum: i32) -> io::Result<()> {
        if self.signals.is_none() {
            let signals = Signals::new()?;
            self.watch_descriptor_now(signals.as_fd(), Key::SIGNALS, Interest::READ)?;
            self.signals = Some(signals);
        }
        self.signals.as_ref().map_or(Ok(()), |signals| signals.watch(signum))
    }

    /// Wants to hear no more of it.
    pub(crate) fn forget_signal(&mut self, signum: i32) {
        if let Some(signals) = &self.signals {
            signals.forget(signum);
        }
    }

    /// Takes the signals that came.
    pub(crate) fn take_signals(&mut self, delivered: impl FnMut(i32)) {
        if let Some(signals) = &self.signals {
            signals.take(delivered);
        }
    }

    // ---- files

    /// Duplicates a descriptor of the application's, so that it may close its own at any time.
    pub(crate) fn duplicate(&self, source: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        source.try_clone_to_owned()
    }

    /// Panics unless the invariants below the loop hold.
    pub(crate) fn verify(&self) {
        self.interests.verify();
    }
}

impl AsFd for Backend {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.waiter.as_fd()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.notify_queue.close();
        // The alarm of the signals outlives this loop; its registration must not.
        if let Some(signals) = self.signals.take() {
            self.forget_descriptor(signals.as_fd());
        }
    }
}
