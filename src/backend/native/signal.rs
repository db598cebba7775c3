//! Signals: one handler for the process, for any number of loops in any number of threads.
//!
//! A handler may only use atomics and `write`. So each loop that watches signals has a slot with a wake fd
//! and a counter for each signal, and the handler walks the list of slots. Since it may be in the middle of a
//! slot at any time, slots are never freed and their descriptors never closed: a slot whose loop is gone is
//! reused. There are never more slots than there were loops at once.
//!
//! The first watcher of a signal in the process installs the handler. The last one restores the previous
//! action.

use std::{
    io, mem,
    os::fd::{AsFd, BorrowedFd},
    ptr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering},
    },
};

use super::{sys::cvt, wake::WakeFd};

/// Linux has 64 signals, the BSDs up to 126. Higher numbers cannot be watched.
const SIGNALS: usize = 128;

/// Through which the handler notifies one loop.
#[derive(Debug)]
struct SignalSlot {
    wake_fd: WakeFd,
    in_use: AtomicBool,
    /// Which signals the loop watches, by number.
    watched: [AtomicBool; SIGNALS],
    /// How many times each has arrived since the loop took them.
    pending: [AtomicU32; SIGNALS],
    next: *const SignalSlot,
}

// SAFETY: `wake_fd`, `in_use`, `watched` and `pending` are `Sync` themselves. `next` is written before the
// slot is published and never again, and points to a slot that is never freed.
unsafe impl Sync for SignalSlot {}

/// The head of the list of slots.
static SLOTS: AtomicPtr<SignalSlot> = AtomicPtr::new(ptr::null_mut());

/// What is installed for each signal.
static INSTALLED: Mutex<[Option<Installed>; SIGNALS]> = Mutex::new([const { None }; SIGNALS]);

struct Installed {
    /// How many loops watch the signal.
    loops: usize,
    /// What to restore when none does.
    previous: libc::sigaction,
}

// SAFETY: a `sigaction` is a function's address, flags and a mask, valid in every thread of the process.
unsafe impl Send for Installed {}

fn installed() -> MutexGuard<'static, [Option<Installed>; SIGNALS]> {
    INSTALLED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn slots() -> impl Iterator<Item = &'static SignalSlot> {
    let mut next = SLOTS.load(Ordering::Acquire).cast_const();
    std::iter::from_fn(move || {
        // SAFETY: `next` is null, or a leaked box that was initialized before it was published with `AcqRel`.
        let slot = unsafe { next.as_ref() }?;
        next = slot.next;
        Some(slot)
    })
}

/// Runs on any thread, at any time. Atomics and `write` only.
extern "C" fn handler(signum: libc::c_int) {
    // `write` may change errno under the code that was interrupted.
    let saved = io::Error::last_os_error().raw_os_error().unwrap_or(0);
    for slot in slots() {
        if slot.watched[signum as usize].load(Ordering::Acquire) {
            slot.pending[signum as usize].fetch_add(1, Ordering::AcqRel);
            slot.wake_fd.wake();
        }
    }
    set_errno(saved);
}

fn set_errno(value: i32) {
    #[cfg(target_os = "linux")]
    let location = libc::__errno_location;
    #[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
    let location = libc::__error;
    #[cfg(any(target_os = "android", target_os = "netbsd", target_os = "openbsd"))]
    let location = libc::__errno;
    // SAFETY: the function returns the address of this thread's errno, an `int` that may be written to.
    unsafe { *location() = value };
}

/// The signals that one loop watches.
#[derive(Debug)]
pub(crate) struct Signals {
    slot: &'static SignalSlot,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Signals> {
        let claim = |slot: &&'static SignalSlot| !slot.in_use.swap(true, Ordering::AcqRel);
        if let Some(slot) = slots().find(claim) {
            return Ok(Signals { slot });
        }
        let slot = Box::leak(Box::new(SignalSlot {
            wake_fd: WakeFd::new()?,
            in_use: AtomicBool::new(true),
            watched: [const { AtomicBool::new(false) }; SIGNALS],
            pending: [const { AtomicU32::new(0) }; SIGNALS],
            next: ptr::null(),
        }));
        let mut head = SLOTS.load(Ordering::Acquire);
        loop {
            slot.next = head;
            match SLOTS.compare_exchange(head, slot, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(Signals { slot }),
                Err(now) => head = now,
            }
        }
    }

    /// Watches a signal. Idempotent.
    pub(crate) fn watch(&self, signum: i32) -> io::Result<()> {
        let index = index(signum)?;
        let mut installed = installed();
        if self.slot.watched[index].load(Ordering::Acquire) {
            return Ok(());
        }
        match &mut installed[index] {
            Some(installed) => installed.loops += 1,
            empty => *empty = Some(Installed { loops: 1, previous: install(signum)? }),
        }
        self.slot.pending[index].store(0, Ordering::Release);
        self.slot.watched[index].store(true, Ordering::Release);
        Ok(())
    }

    /// Stops watching a signal. Idempotent.
    pub(crate) fn forget(&self, signum: i32) {
        let Ok(index) = index(signum) else { return };
        let mut installed = installed();
        if !self.slot.watched[index].swap(false, Ordering::AcqRel) {
            return;
        }
        let Some(entry) = &mut installed[index] else { return };
        entry.loops -= 1;
        if entry.loops == 0 {
            // SAFETY: `previous` is what `sigaction` returned for this signal, so it is valid to set; null
            // discards what was set.
            unsafe { libc::sigaction(signum, &entry.previous, ptr::null_mut()) };
            installed[index] = None;
        }
    }

    /// Takes the signals that arrived since the last call, each number once.
    pub(crate) fn take(&self, mut each: impl FnMut(i32)) {
        self.slot.wake_fd.drain();
        for (index, count) in self.slot.pending.iter().enumerate() {
            // Most are zero, and a load is cheaper than a swap.
            if count.load(Ordering::Acquire) > 0 && count.swap(0, Ordering::AcqRel) > 0 {
                each(index as i32);
            }
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.slot.wake_fd.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for signum in 1..SIGNALS as i32 {
            self.forget(signum);
        }
        self.slot.wake_fd.drain();
        self.slot.in_use.store(false, Ordering::Release);
    }
}

/// Installs the handler. Returns the action that it replaces.
fn install(signum: i32) -> io::Result<libc::sigaction> {
    // SAFETY: all zeroes is a valid `sigaction`.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = handler as extern "C" fn(libc::c_int) as libc::sighandler_t;
    // On the alternative stack if the thread has one: its own may be small.
    action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
    // SAFETY: `sa_mask` is a signal set that may be written to.
    unsafe { libc::sigfillset(&mut action.sa_mask) };
    // SAFETY: all zeroes is a valid `sigaction`.
    let mut previous: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: both are valid for the call. `handler` is async-signal-safe: it uses atomics and `write`,
    // restores errno, and cannot panic, because `signum` is below `SIGNALS`.
    cvt(unsafe { libc::sigaction(signum, &action, &mut previous) })?;
    Ok(previous)
}

fn index(signum: i32) -> io::Result<usize> {
    match usize::try_from(signum) {
        Ok(index) if (1..SIGNALS).contains(&index) => Ok(index),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// The numbers of the signals that programs watch most.
pub(crate) mod numbers {
    pub(crate) use libc::{
        SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH,
    };
}
