//! Stands in for the loop's alarm, which is a descriptor: any number of rings until somebody waits are one.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use super::super::sync::{Condvar, Mutex};

#[derive(Debug)]
pub(crate) struct WakeFd {
    rung: Mutex<bool>,
    set_off: Condvar,
}

impl WakeFd {
    #[expect(clippy::unnecessary_wraps, reason = "as the descriptor's")]
    pub(crate) fn new() -> io::Result<WakeFd> {
        Ok(WakeFd { rung: Mutex::new(false), set_off: Condvar::new() })
    }

    pub(crate) fn ring(&self) {
        *self.rung.lock().expect("no thread panics") = true;
        self.set_off.notify_all();
    }

    /// Waits for a ring. If none comes and no other thread can go on either, loom calls it a deadlock.
    pub(crate) fn wait(&self) {
        let mut rung = self.rung.lock().expect("no thread panics");
        while !std::mem::take(&mut *rung) {
            rung = self.set_off.wait(rung).expect("no thread panics");
        }
    }

    /// Whether it has rung since it was asked last.
    pub(crate) fn take(&self) -> bool {
        std::mem::take(&mut self.rung.lock().expect("no thread panics"))
    }

    pub(crate) fn reset(&self) {
        self.take();
    }
}

impl AsFd for WakeFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        unreachable!("no model asks the system")
    }
}
