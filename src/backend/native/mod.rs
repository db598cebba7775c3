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
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::net::SocketAddr as UnixAddr,
    },
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
        Selector,
        busy_poll::BusyPoll,
        registrations::{Change, Registrations},
    },
};
pub(crate) use self::{
    fs::Descriptor,
    net::{AcceptError, ListenConfig, PIECES_MAX, Socket, SocketFile, classify_accept_error},
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

/// The system, as one loop uses it.
pub(crate) struct Backend {
    // Dropped before `selector`, whose drop ends all registrations: the threads and notifiers of a pool use
    // none.
    /// Made for the first job that needs a worker.
    pool: Option<Pool>,
    workers: usize,
    clock: Clock,
    selector: Selector,
    registrations: Registrations,
    notify_queue: Arc<NotifyQueue>,
    signals: Option<Signals>,
    busy: BusyPoll,
    /// Notifications were drained since the last wait.
    just_notified: bool,
    /// Registrations that the system refused, until the loop has reported them.
    failed_registrations: Vec<(Key, io::Error)>,
}

impl Backend {
    pub(crate) fn new(workers: usize, busy_poll: Nanos) -> io::Result<Backend> {
        let mut selector = Selector::new()?;
        let notify_queue = Arc::new(NotifyQueue::new(WakeFd::new()?));
        selector.watch_wake_fd(notify_queue.wake_fd().as_fd(), Key::WAKE_FD)?;
        Ok(Backend {
            pool: None,
            workers,
            clock: Clock::start(),
            selector,
            registrations: Registrations::default(),
            notify_queue,
            signals: None,
            busy: BusyPoll::new(busy_poll),
            just_notified: false,
            failed_registrations: Vec::new(),
        })
    }

    pub(crate) fn now(&self) -> Nanos {
        self.clock.now()
    }

    // ---- sockets

    /// Makes a socket that listens.
    pub(crate) fn listen(&mut self, addr: SocketAddr, config: ListenConfig) -> io::Result<Socket> {
        Socket::listen(addr, config)
    }

    /// Makes a socket that connects. Returns whether it is connected already.
    pub(crate) fn connect(&mut self, addr: SocketAddr) -> io::Result<(Socket, io::Result<bool>)> {
        Socket::connect(addr)
    }

    /// Makes a Unix socket that listens. Also returns its file, if it has one.
    pub(crate) fn listen_unix(
        &mut self,
        addr: &UnixAddr,
        backlog: i32,
    ) -> io::Result<(Socket, Option<SocketFile>)> {
        Socket::listen_unix(addr, backlog)
    }

    /// Makes a Unix socket that connects. Returns whether it is connected already.
    pub(crate) fn connect_unix(&mut self, addr: &UnixAddr) -> io::Result<(Socket, io::Result<bool>)> {
        Socket::connect_unix(addr)
    }

    /// Makes two Unix sockets that are connected to each other.
    pub(crate) fn pair(&mut self) -> io::Result<(Socket, Socket)> {
        Socket::pair()
    }

    /// Takes over a socket of the application.
    pub(crate) fn adopt(&mut self, fd: OwnedFd) -> io::Result<Socket> {
        Socket::adopt(fd)
    }

    // ---- waiting

    /// Applies changed registrations and waits until a source is ready or `timeout` has passed.
    pub(crate) fn wait(
        &mut self,
        timeout: Option<Nanos>,
        mut ready: impl FnMut(Key, Readiness),
    ) -> io::Result<()> {
        self.apply_registrations();
        // Failed registrations must be reported now.
        let timeout = if self.failed_registrations.is_empty() { timeout } else { Some(0) };
        if !self.busy.is_off() && timeout != Some(0) {
            return self.busy_poll(timeout, ready);
        }
        self.block(timeout, &mut ready)
    }

    /// Polls for as long as is likely to pay, then blocks for the rest of the time.
    fn busy_poll(&mut self, timeout: Option<Nanos>, mut ready: impl FnMut(Key, Readiness)) -> io::Result<()> {
        self.notify_queue.unblock();
        let begun = self.clock.now();
        let limit = self.busy.limit(timeout);
        let mut spent = 0;
        let mut came = false;
        while spent < limit && !came && !self.notify_queue.has_pending() {
            self.select(Some(0), &mut |key, readiness| {
                came = true;
                ready(key, readiness);
            })?;
            std::hint::spin_loop();
            spent = self.clock.now() - begun;
        }
        let rest = timeout.map(|timeout| timeout.saturating_sub(spent));
        let waited = if came { Ok(()) } else { self.block(rest, &mut ready) };
        self.busy.record_wait(self.clock.now() - begun);
        waited
    }

    fn block(&mut self, timeout: Option<Nanos>, ready: &mut impl FnMut(Key, Readiness)) -> io::Result<()> {
        if timeout == Some(0) || self.spin_for_notification() || !self.notify_queue.prepare_to_block() {
            self.notify_queue.unblock();
            // No descriptor is registered, so the system has nothing to report.
            if self.registrations.is_empty() && self.notify_queue.is_awake() {
                return Ok(());
            }
            return self.select(Some(0), ready);
        }
        let waited = self.select(timeout, ready);
        self.notify_queue.unblock();
        waited
    }

    /// Spins for about a microsecond if the loop was just notified. Returns whether it was notified again.
    ///
    /// A wake-up costs more: a system call on either side, and the wait for a processor that other threads
    /// want.
    fn spin_for_notification(&mut self) -> bool {
        mem::take(&mut self.just_notified)
            && (0..NOTIFICATION_SPINS).any(|_| {
                std::hint::spin_loop();
                self.notify_queue.has_pending()
            })
    }

    fn select(&mut self, timeout: Option<Nanos>, ready: &mut impl FnMut(Key, Readiness)) -> io::Result<()> {
        let mut woken = false;
        let waited = self.selector.select(timeout, |key, readiness| match key {
            Key::WAKE_FD => woken = true,
            _ => ready(key, readiness),
        });
        // At once, not in its turn of the batch: the edge is reported once, and a batch may be interrupted.
        if woken {
            self.selector.drain_wake(self.notify_queue.wake_fd());
            self.notify_queue.acknowledge_wake();
        }
        waited
    }

    /// The loop has stopped running. Notifications now write to the wake fd, for whatever polls the loop's
    /// descriptor.
    pub(crate) fn detach(&mut self) {
        self.notify_queue.detach();
    }

    /// Applies changed registrations, so that the loop's descriptor is readable when a source is ready.
    pub(crate) fn apply_registrations(&mut self) {
        while let Some((fd, change)) = self.registrations.next_change() {
            if let Err(error) = self.selector.apply(fd, change) {
                let key = self.registrations.registration_failed(fd);
                self.failed_registrations.push((Key(key), error));
            }
        }
    }

    /// Takes one registration that the system refused.
    pub(crate) fn pop_failed_registration(&mut self) -> Option<(Key, io::Error)> {
        self.failed_registrations.pop()
    }

    /// Sets what a socket is watched for, and its key. Applied by the next `wait`.
    pub(crate) fn watch(&mut self, socket: &Socket, key: Key, interest: Interest) {
        self.registrations.set(socket.as_fd().as_raw_fd(), key.0, interest);
    }

    /// Sets what a descriptor of the application is watched for, and its key. Applied by the next `wait`.
    pub(crate) fn watch_descriptor(&mut self, source: BorrowedFd<'_>, key: Key, interest: Interest) {
        self.registrations.set(source.as_raw_fd(), key.0, interest);
    }

    /// Returns whether there are failed registrations.
    pub(crate) fn has_failed_registrations(&self) -> bool {
        !self.failed_registrations.is_empty()
    }

    /// Registers a descriptor at once. For sources that the system may refuse.
    pub(crate) fn watch_descriptor_now(
        &mut self,
        source: BorrowedFd<'_>,
        key: Key,
        interest: Interest,
    ) -> io::Result<()> {
        let waiting = self.failed_registrations.len();
        self.registrations.set(source.as_raw_fd(), key.0, interest);
        self.apply_registrations();
        match self.failed_registrations.iter().skip(waiting).position(|(failed, _)| *failed == key) {
            Some(place) => Err(self.failed_registrations.remove(waiting + place).1),
            None => Ok(()),
        }
    }

    /// Removes the registration of a socket that is about to be closed or released.
    pub(crate) fn forget(&mut self, socket: &Socket) {
        self.forget_descriptor(socket.as_fd());
    }

    /// Removes the registration of a descriptor of the application.
    pub(crate) fn forget_descriptor(&mut self, fd: BorrowedFd<'_>) {
        if self.registrations.forget(fd.as_raw_fd()) {
            // It is registered and open, so this cannot fail.
            let _ = self.selector.apply(fd.as_raw_fd(), Change::Delete);
        }
    }

    /// Removes a socket's registration, and closes it by dropping it.
    pub(crate) fn close(&mut self, socket: Socket) {
        self.forget(&socket);
    }

    // ---- other threads

    /// Makes a notifier of this key.
    pub(crate) fn notifier(&self, key: Key) -> Notifier {
        Notifier::new(self.notify_queue.clone(), key)
    }

    /// Returns whether there are notifications to drain.
    pub(crate) fn has_notifications(&self) -> bool {
        self.notify_queue.has_pending()
    }

    /// Takes the keys that were notified.
    pub(crate) fn drain_notifications(&mut self, keys: &mut Vec<Key>) {
        self.just_notified = true;
        self.notify_queue.drain(keys);
    }

    // ---- jobs

    /// Sets the maximum number of workers. Workers above a lower maximum keep running.
    pub(crate) fn set_workers(&mut self, limit: usize) {
        self.workers = limit;
        if let Some(pool) = &mut self.pool {
            pool.set_limit(limit);
        }
    }

    /// Runs a job now if it need not block, or queues it for a worker.
    ///
    /// `waiting` completions have not been delivered. If there are many, workers share the jobs that the loop
    /// could run.
    pub(crate) fn submit(&mut self, token: u64, mut job: Job, waiting: usize) -> io::Result<Submitted> {
        let with_workers = self.pool.as_ref().map_or(0, Pool::files);
        // Not behind a closure of the application, which may take any time.
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

    /// Cancels a job that no worker has started. Returns whether it did.
    pub(crate) fn cancel(&mut self, ticket: u64) -> bool {
        self.pool.as_mut().is_some_and(|pool| pool.cancel(ticket))
    }

    /// Takes the jobs that have run.
    pub(crate) fn drain_completions(&mut self, each: impl FnMut(Done)) {
        if let Some(pool) = &mut self.pool {
            pool.drain_completions(each);
        }
    }

    // ---- signals

    /// Watches a signal, under [`Key::SIGNALS`].
    pub(crate) fn watch_signal(&mut self, signum: i32) -> io::Result<()> {
        if self.signals.is_none() {
            let signals = Signals::new()?;
            self.watch_descriptor_now(signals.as_fd(), Key::SIGNALS, Interest::READ)?;
            self.signals = Some(signals);
        }
        self.signals.as_ref().map_or(Ok(()), |signals| signals.watch(signum))
    }

    /// Stops watching a signal.
    pub(crate) fn forget_signal(&mut self, signum: i32) {
        if let Some(signals) = &self.signals {
            signals.forget(signum);
        }
    }

    /// Takes the signals that arrived.
    pub(crate) fn take_signals(&mut self, delivered: impl FnMut(i32)) {
        if let Some(signals) = &self.signals {
            signals.take(delivered);
        }
    }

    // ---- files

    /// Duplicates a descriptor of the application, which may then close its own at any time.
    pub(crate) fn duplicate(&self, source: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        source.try_clone_to_owned()
    }

    /// Panics unless the invariants below the loop hold.
    pub(crate) fn verify(&self) {
        self.registrations.verify();
    }
}

impl AsFd for Backend {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.selector.as_fd()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.notify_queue.close();
        // The wake fd of the signals outlives this loop; its registration must not.
        if let Some(signals) = self.signals.take() {
            self.forget_descriptor(signals.as_fd());
        }
    }
}
