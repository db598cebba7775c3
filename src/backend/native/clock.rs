//! The only reading of the clock.

use crate::time::Nanos;

/// Nanoseconds since the loop began, on the system's monotonic clock.
#[derive(Debug)]
pub(crate) struct Clock {
    origin: Nanos,
}

impl Clock {
    pub(crate) fn start() -> Clock {
        Clock { origin: monotonic() }
    }

    pub(crate) fn now(&self) -> Nanos {
        // Saturating, should the system's clock not keep its promise.
        monotonic().saturating_sub(self.origin)
    }
}

/// Straight from the system: it is read three times a turn, and `Instant` would take it apart and put it together
/// again each time. 2⁶⁴ ns are 584 years.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn monotonic() -> Nanos {
    // SAFETY: all zeroes is a valid timespec.
    let mut time: libc::timespec = unsafe { std::mem::zeroed() };
    // It cannot fail: there is such a clock, and a place for the answer.
    // SAFETY: `time` has room for the answer.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as Nanos * 1_000_000_000 + time.tv_nsec as Nanos
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn monotonic() -> Nanos {
    use std::{sync::LazyLock, time::Instant};

    static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
    FIRST.elapsed().as_nanos() as Nanos
}
