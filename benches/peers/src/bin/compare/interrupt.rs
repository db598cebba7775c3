//! Ctrl-C and the like: nothing more is started, and what was made is removed.

use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_: libc::c_int) {
    ASKED.store(true, Ordering::Relaxed);
}

/// From now on an interrupt is only noted. Those that were started get the terminal's too, and end.
pub fn listen() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: what is called does nothing but store to an atomic.
        unsafe { libc::signal(signal, note as *const () as libc::sighandler_t) };
    }
}

pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}
