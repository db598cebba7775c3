//! Waiting with epoll: one system call a turn.
//!
//! epoll's defects, and what is done about each:
//! a) It reports errors and hang-ups regardless of the interest, so a paused source would spin. Interest in
//!    nothing therefore deletes the registration.
//! b) A registration belongs to the open file description, not to the descriptor. A duplicate elsewhere (in a
//!    forked child, until it execs) keeps it alive after `close`. So it is deleted before the descriptor is
//!    closed.
//! c) An event carries 64 bits of ours and nothing else. They contain a serial number, and the table of
//!    handles recognizes a stale event by it.
//! d) `epoll_wait` counts milliseconds. `epoll_pwait2` takes nanoseconds, but Linux before 5.11 lacks it and
//!    some seccomp filters refuse it. Then milliseconds are used, rounded up: a timer must not fire early.

use std::{
    io, mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    ptr,
};

use super::{
    super::{sys::cvt, wake::WakeFd},
    registrations::Change,
};
use crate::{
    backend::{Interest, Readiness},
    handle::Key,
    time::Nanos,
};

/// The most events that one call takes from the kernel. It reports the others by the next call.
const BATCH: usize = 1024;

#[derive(Debug)]
pub(crate) struct Selector {
    epoll: OwnedFd,
    events: Vec<libc::epoll_event>,
    /// Whether `epoll_pwait2` is available.
    nanoseconds: bool,
}

impl Selector {
    pub(crate) fn new() -> io::Result<Selector> {
        // SAFETY: `epoll_create1` takes no pointer, and the descriptor it returns is new and has no other
        // owner.
        let epoll = unsafe { OwnedFd::from_raw_fd(cvt(libc::epoll_create1(libc::EPOLL_CLOEXEC))?) };
        // On 32-bit targets the C library's timespec may differ from the kernel's.
        Ok(Selector {
            epoll,
            events: Vec::with_capacity(BATCH),
            nanoseconds: cfg!(target_pointer_width = "64"),
        })
    }

    /// Changes what is registered for a descriptor.
    pub(crate) fn apply(&mut self, fd: RawFd, change: Change) -> io::Result<()> {
        let (operation, key, interest) = match change {
            Change::Add { key, interest } => (libc::EPOLL_CTL_ADD, key, interest),
            Change::Modify { key, interest } => (libc::EPOLL_CTL_MOD, key, interest),
            Change::Delete => (libc::EPOLL_CTL_DEL, 0, Interest::NONE),
        };
        let mut event = libc::epoll_event { events: to_epoll(interest), u64: key };
        self.control(operation, fd, &mut event)
    }

    /// Registers the wake fd, edge-triggered: each wake-up is reported once, and the fd need not be read.
    pub(crate) fn watch_wake_fd(&mut self, wake_fd: BorrowedFd<'_>, key: Key) -> io::Result<()> {
        let mut event = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLET) as u32, u64: key.0 };
        self.control(libc::EPOLL_CTL_ADD, wake_fd.as_raw_fd(), &mut event)
    }

    fn control(&self, operation: i32, fd: RawFd, event: &mut libc::epoll_event) -> io::Result<()> {
        // SAFETY: `event` is valid for the call, and the kernel keeps no pointer to it. A number that is no
        // open descriptor is an error.
        cvt(unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, fd, event) })?;
        Ok(())
    }

    /// Makes the wake fd unreadable again: nothing to do, since its edge was consumed by the wait.
    pub(crate) fn drain_wake(&self, _: &WakeFd) {}

    /// Blocks until something is ready or `timeout` has passed; `None` blocks without a limit.
    pub(crate) fn select(
        &mut self,
        timeout: Option<Nanos>,
        mut ready: impl FnMut(Key, Readiness),
    ) -> io::Result<()> {
        self.events.clear();
        let count = match timeout {
            Some(0) => self.wait_milliseconds(0),
            None => self.wait_milliseconds(-1),
            Some(nanos) if self.nanoseconds => match self.wait_nanoseconds(nanos) {
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                    self.nanoseconds = false;
                    self.wait_milliseconds(round_up(nanos))
                }
                other => other,
            },
            Some(nanos) => self.wait_milliseconds(round_up(nanos)),
        };
        let count = match count {
            // A signal arrived. If the loop watches it, `Signals` is readable at the next wait.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            other => other?,
        };
        // SAFETY: the kernel has initialized the first `count` entries, and `count` is at most `BATCH`, the
        // capacity.
        unsafe { self.events.set_len(count) };
        for event in &self.events {
            ready(Key(event.u64), from_epoll(event.events));
        }
        Ok(())
    }

    fn wait_milliseconds(&mut self, timeout: i32) -> io::Result<usize> {
        let (events, room) = self.room();
        // SAFETY: `events` has a capacity of `room` entries, and the kernel writes at most that many.
        let count = unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), events, room, timeout) };
        Ok(cvt(count)? as usize)
    }

    fn wait_nanoseconds(&mut self, nanos: Nanos) -> io::Result<usize> {
        let (events, room) = self.room();
        // SAFETY: all zeroes is a valid timespec. (It has padding on some targets, so no literal.)
        let mut timeout: libc::timespec = unsafe { mem::zeroed() };
        timeout.tv_sec = (nanos / 1_000_000_000) as _;
        timeout.tv_nsec = (nanos % 1_000_000_000) as _;
        // By number, because not every C library has the function. The null mask leaves the signal mask
        // unchanged. SAFETY: `events` has a capacity of `room` entries, and the kernel writes at most that
        // many; `timeout` is valid for the call; a null mask is allowed.
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.epoll.as_raw_fd(),
                events,
                room,
                &timeout,
                ptr::null::<libc::sigset_t>(),
                0_usize,
            )
        };
        Ok(cvt(count as i32)? as usize)
    }

    fn room(&mut self) -> (*mut libc::epoll_event, i32) {
        (self.events.as_mut_ptr(), BATCH as i32)
    }
}

impl AsFd for Selector {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

fn round_up(nanos: Nanos) -> i32 {
    i32::try_from(nanos.div_ceil(1_000_000)).unwrap_or(i32::MAX)
}

fn to_epoll(interest: Interest) -> u32 {
    let flag = |bit, flag: i32| if interest.has(bit) { flag as u32 } else { 0 };
    flag(Interest::READ, libc::EPOLLIN)
        | flag(Interest::WRITE, libc::EPOLLOUT)
        | flag(Interest::PRIORITY, libc::EPOLLPRI)
        | flag(Interest::HANGUP, libc::EPOLLRDHUP)
}

fn from_epoll(events: u32) -> Readiness {
    let bit = |flags: i32, ready: Readiness| if events & flags as u32 != 0 { ready.0 } else { 0 };
    Readiness(
        bit(libc::EPOLLIN, Readiness::READ)
            | bit(libc::EPOLLOUT, Readiness::WRITE)
            | bit(libc::EPOLLPRI, Readiness::PRIORITY)
            | bit(libc::EPOLLRDHUP | libc::EPOLLHUP, Readiness::HANGUP)
            | bit(libc::EPOLLERR, Readiness::ERROR),
    )
}
