//! A world in memory that replaces the system: hosts, a network, files, workers, and a clock that jumps.
//!
//! One seed decides everything that a real system leaves unspecified. Each loop in a world has a [`Host`] as
//! its backend; all hosts share one [`World`]. `wait` advances the world's clock to the next event, up to its
//! timeout. `crate::sim::World` gives it a timeout of zero, so that several loops can take turns.

mod errno;
mod fs;
mod jobs;
mod net;
mod random;
mod trace;
mod workers;
mod world;

use std::{
    io,
    net::SocketAddr,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::SocketAddr as UnixAddr,
    },
};

pub use fs::FileOp;
pub(crate) use fs::{OpenFile, Tree};
pub(crate) use net::{Link, Socket, SocketFile};
pub(crate) use trace::{TraceEntry, TraceEvent};
pub(crate) use world::{Shared, World};

use self::errno::errno;
use super::{
    ListenConfig, Notifier, Readiness,
    job::{Done, Job, Submitted},
    native::{Arc, NotifyQueue, WakeFd},
};
use crate::{handle::Key, time::Nanos};

/// The backend of a loop in a world.
pub(crate) struct Host {
    world: Shared,
    /// The index of its machine.
    host: usize,
    /// Its descriptor is the loop's. Other threads make it readable; events of the world never do.
    notify_queue: Arc<NotifyQueue>,
}

impl Host {
    pub(crate) fn new(world: &Shared, host: usize, workers: usize) -> io::Result<Host> {
        let notify_queue = Arc::new(NotifyQueue::new(WakeFd::new()?));
        world.borrow_mut().machines[host].jobs.workers = workers;
        Ok(Host { world: world.clone(), host, notify_queue })
    }

    pub(crate) fn now(&self) -> Nanos {
        self.world.borrow().now
    }

    /// The index of its machine.
    pub(crate) fn number(&self) -> usize {
        self.host
    }

    // ---- sockets

    pub(crate) fn listen(&mut self, addr: SocketAddr, config: ListenConfig) -> io::Result<Socket> {
        let backlog = usize::try_from(config.backlog).unwrap_or(0);
        let end = self.world.borrow_mut().listen(self.host, addr, backlog)?;
        Ok(Socket::new(&self.world, end))
    }

    pub(crate) fn connect(&mut self, addr: SocketAddr) -> io::Result<Socket> {
        let end = self.world.borrow_mut().connect(self.host, addr)?;
        Ok(Socket::new(&self.world, end))
    }

    pub(crate) fn listen_unix(
        &mut self,
        addr: &UnixAddr,
        backlog: i32,
    ) -> io::Result<(Socket, Option<SocketFile>)> {
        let backlog = usize::try_from(backlog).unwrap_or(0);
        let (end, file) = World::listen_unix(&self.world, self.host, addr, backlog)?;
        Ok((Socket::new(&self.world, end), file))
    }

    pub(crate) fn connect_unix(&mut self, addr: &UnixAddr) -> io::Result<(Socket, io::Result<bool>)> {
        let (end, connected) = self.world.borrow_mut().connect_unix(self.host, addr)?;
        Ok((Socket::new(&self.world, end), connected))
    }

    pub(crate) fn pair(&mut self) -> io::Result<(Socket, Socket)> {
        let (one, other) = self.world.borrow_mut().unix_pair(self.host)?;
        Ok((Socket::new(&self.world, one), Socket::new(&self.world, other)))
    }

    // ---- waiting

    pub(crate) fn wait(
        &mut self,
        timeout: Option<Nanos>,
        mut report: impl FnMut(Key, Readiness),
    ) -> io::Result<()> {
        let mut world = self.world.borrow_mut();
        // The time that the callbacks since the last wait took.
        let turn_max = world.turn_max;
        let start = world.now + world.random.below(turn_max);
        world.advance_to(start);
        let end = timeout.map(|timeout| start.saturating_add(timeout));
        loop {
            let any = world.report_ready(self.host, &mut report);
            if any || world.now >= end.unwrap_or(Nanos::MAX) || self.notify_queue.has_pending() {
                return Ok(());
            }
            if world.machines[self.host].jobs.has_notifications {
                return Ok(());
            }
            let next = match (world.next_event(), end) {
                (Some(next), Some(end)) => next.min(end),
                (Some(next), None) | (None, Some(next)) => next,
                (None, None) => {
                    let message = "nothing will ever happen in this world again";
                    return Err(io::Error::new(io::ErrorKind::TimedOut, message));
                }
            };
            world.advance_to(next);
        }
    }

    pub(crate) fn detach(&mut self) {}

    pub(crate) fn apply_registrations(&mut self) {}

    pub(crate) fn pop_failed_registration(&mut self) -> Option<(Key, io::Error)> {
        None
    }

    pub(crate) fn has_failed_registrations(&self) -> bool {
        false
    }

    // ---- other threads

    pub(crate) fn notifier(&self, key: Key) -> Notifier {
        Notifier::new(self.notify_queue.clone(), key)
    }

    pub(crate) fn has_notifications(&self) -> bool {
        self.notify_queue.has_pending() || self.world.borrow().machines[self.host].jobs.has_notifications
    }

    pub(crate) fn drain_notifications(&mut self, keys: &mut Vec<Key>) {
        self.notify_queue.drain(keys);
        let jobs = &mut self.world.borrow_mut().machines[self.host].jobs;
        if std::mem::take(&mut jobs.has_notifications) {
            keys.push(Key::JOBS);
        }
    }

    // ---- jobs

    pub(crate) fn set_workers(&mut self, limit: usize) {
        self.world.borrow_mut().set_workers(self.host, limit);
    }

    pub(crate) fn submit(&mut self, token: u64, job: Job, _waiting: usize) -> io::Result<Submitted> {
        Ok(self.world.borrow_mut().submit(self.host, token, job))
    }

    pub(crate) fn cancel(&mut self, ticket: u64) -> bool {
        self.world.borrow_mut().machines[self.host].jobs.cancel(ticket)
    }

    pub(crate) fn drain_completions(&mut self, each: impl FnMut(Done)) {
        let done = std::mem::take(&mut self.world.borrow_mut().machines[self.host].jobs.done);
        done.into_iter().for_each(each);
    }

    // ---- signals

    pub(crate) fn watch_signal(&mut self, signum: i32) -> io::Result<()> {
        if !(1..=64).contains(&signum) || signum == libc::SIGKILL || signum == libc::SIGSTOP {
            return Err(errno(libc::EINVAL));
        }
        self.world.borrow_mut().machines[self.host].watched_signals.insert(signum);
        Ok(())
    }

    pub(crate) fn forget_signal(&mut self, signum: i32) {
        self.world.borrow_mut().machines[self.host].watched_signals.remove(&signum);
    }

    pub(crate) fn take_signals(&mut self, deliver: impl FnMut(i32)) {
        let signals = std::mem::take(&mut self.world.borrow_mut().machines[self.host].signals);
        signals.into_iter().for_each(deliver);
    }

    /// Records that a callback is about to be called.
    pub(crate) fn trace_call(&self, event: TraceEvent) {
        self.world.borrow_mut().record(self.host, event);
    }

    pub(crate) fn verify(&self) {
        self.world.borrow().verify_network(self.host);
    }
}

impl AsFd for Host {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.notify_queue.wake_fd().as_fd()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.notify_queue.close();
    }
}
