//! Waiting with epoll: one system call a turn.
//!
//! What epoll gets wrong, so that the code needs no excuse:
//! a) Errors and hang-ups are reported whatever the interest, so a source that nobody reads would
//!    spin. Interest in nothing therefore means deletion.
//! b) The registration belongs to the open file, not to the descriptor. A duplicate elsewhere (a
//!    forked child, for a moment) keeps it alive after `close`, so it is deleted before.
//! c) Its events carry 64 bits of ours and nothing else: a serial number is in them, and the table
//!    decides whether the event is stale.
//! d) `epoll_wait` counts milliseconds. `epoll_pwait2` takes nanoseconds but is missing before Linux
//!    5.11 and behind some filters: then milliseconds, rounded up, because never early matters more.

use std::{
    io, mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
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

/// Events taken from the kernel at once. What does not fit is reported by the next wait.
const BATCH: usize = 1024;

#[derive(Debug)]
pub(crate) struct Waiter {
    epoll: OwnedFd,
    events: Vec<libc::epoll_event>,
    /// Whether `epoll_pwait2` answers.
    nanoseconds: bool,
}

impl Waiter {
    pub(crate) fn new() -> io::Result<Waiter> {
        // SAFETY: takes no pointer. The descriptor is new and has no other owner.
        let epoll = unsafe { OwnedFd::from_raw_fd(cvt(libc::epoll_create1(libc::EPOLL_CLOEXEC))?) };
        // Where a pointer has 32 bits the C library and the kernel may disagree about a timespec.
        Ok(Waiter {
            epoll,
            events: Vec::with_capacity(BATCH),
            nanoseconds: cfg!(target_pointer_width = "64"),
        })
    }

    pub(crate) fn apply(&mut self, fd: BorrowedFd<'_>, change: Change) -> io::Result<()> {
        let (operation, key, interest) = match change {
            Change::Add { key, interest } => (libc::EPOLL_CTL_ADD, key, interest),
            Change::Modify { key, interest } => (libc::EPOLL_CTL_MOD, key, interest),
            Change::Delete => (libc::EPOLL_CTL_DEL, 0, Interest::NONE),
        };
        let mut event = libc::epoll_event { events: to_epoll(interest), u64: key };
        // SAFETY: `event` lives through the call; both descriptors are open, being borrowed.
        cvt(unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, fd.as_raw_fd(), &mut event) })?;
        Ok(())
    }

    /// Watches the alarm: for edges, so that it says each ring once and need not be read.
    pub(crate) fn watch_alarm(&mut self, alarm: BorrowedFd<'_>, key: Key) -> io::Result<()> {
        let mut event = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLET) as u32, u64: key.0 };
        let epoll = self.epoll.as_raw_fd();
        // SAFETY: `event` lives through the call; both descriptors are open, being borrowed.
        cvt(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, alarm.as_raw_fd(), &mut event) })?;
        Ok(())
    }

    /// The alarm has been heard.
    pub(crate) fn hush(&self, _: &WakeFd) {}

    /// Waits until something is ready or `timeout` has passed; `None` waits for ever.
    pub(crate) fn wait(
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
            // A signal came. The loop goes round, and finds it.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            other => other?,
        };
        // SAFETY: the kernel wrote `count` entries, at most the capacity it was told.
        unsafe { self.events.set_len(count) };
        for event in &self.events {
            ready(Key(event.u64), from_epoll(event.events));
        }
        Ok(())
    }

    fn wait_milliseconds(&mut self, timeout: i32) -> io::Result<usize> {
        let (events, room) = self.room();
        // SAFETY: `events` has room for `room` entries, and the kernel writes at most that many.
        let count = unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), events, room, timeout) };
        Ok(cvt(count)? as usize)
    }

    fn wait_nanoseconds(&mut self, nanos: Nanos) -> io::Result<usize> {
        let (events, room) = self.room();
        // SAFETY: all zeroes is a valid timespec. (It has padding on some targets, so no literal.)
        let mut timeout: libc::timespec = unsafe { mem::zeroed() };
        timeout.tv_sec = (nanos / 1_000_000_000) as _;
        timeout.tv_nsec = (nanos % 1_000_000_000) as _;
        // By number, because not every C library has it. The null mask leaves signals alone.
        // SAFETY: `events` as above; `timeout` lives through the call; the mask is null.
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

impl AsFd for Waiter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

fn round_up(nanos: Nanos) -> i32 {
    i32::try_from(nanos.div_ceil(1_000_000)).unwrap_or(i32::MAX)
}

fn to_epoll(interest: Interest) -> u32 {
    let flag = |wish, flag: i32| if interest.has(wish) { flag as u32 } else { 0 };
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
