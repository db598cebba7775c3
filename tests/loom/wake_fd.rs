//! Stands in for the wake fd: a flag and a condition variable, in place of a descriptor.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use super::super::sync::{Condvar, Mutex, MutexGuard};

#[derive(Debug)]
pub(crate) struct WakeFd {
    woken: Mutex<bool>,
    became_readable: Condvar,
}

impl WakeFd {
    #[expect(clippy::unnecessary_wraps, reason = "as that of the descriptor")]
    pub(crate) fn new() -> io::Result<WakeFd> {
        Ok(WakeFd { woken: Mutex::new(false), became_readable: Condvar::new() })
    }

    pub(crate) fn wake(&self) {
        *self.lock() = true;
        self.became_readable.notify_all();
    }

    pub(crate) fn drain(&self) {
        self.take_wake();
    }

    /// Blocks until it was woken. If no other thread can wake it any more, loom reports a deadlock.
    pub(crate) fn wait(&self) {
        let mut woken = self.lock();
        while !std::mem::take(&mut *woken) {
            woken = self.became_readable.wait(woken).expect("no thread panics");
        }
    }

    /// Returns whether it was woken since the last call, as a poll that does not block.
    pub(crate) fn take_wake(&self) -> bool {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.woken.lock().expect("no thread panics")
    }
}

impl AsFd for WakeFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        unreachable!("no model waits on a descriptor")
    }
}
