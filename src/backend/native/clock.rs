//! The loop's clock: the only place that reads the system's.

use std::cell::Cell;

use crate::time::Nanos;

/// Nanoseconds since the loop was made, on the system's monotonic clock.
///
/// `last <= now()`, always: differences of two times of the loop cannot overflow. Should the system's clock
/// step back (faulty hypervisors and clock sources have done so), it counts as not having moved.
#[derive(Debug)]
pub(crate) struct Clock {
    origin: i64,
    /// The latest time that was returned. Never below zero.
    last: Cell<i64>,
}

impl Clock {
    pub(crate) fn start() -> Clock {
        Clock { origin: monotonic(), last: Cell::new(0) }
    }

    pub(crate) fn now(&self) -> Nanos {
        let now = monotonic().wrapping_sub(self.origin).max(self.last.get());
        self.last.set(now);
        now as Nanos
    }
}

/// The clock that `Instant` reads, too. On Apple's systems the other one counts microseconds.
#[cfg(target_vendor = "apple")]
const CLOCK: libc::clockid_t = libc::CLOCK_UPTIME_RAW;
#[cfg(not(target_vendor = "apple"))]
const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC;

/// Returns the clock's reading in nanoseconds. It wraps instead of overflowing: the difference of two
/// readings is right if they are less than 2⁶³ ns (292 years) apart, wherever the clock's zero is.
///
/// Read with `clock_gettime`, because a turn reads it up to four times: `Instant` would take the reading
/// apart and put it together again.
fn monotonic() -> i64 {
    // SAFETY: all zeroes is a valid timespec.
    let mut time: libc::timespec = unsafe { std::mem::zeroed() };
    // Cannot fail: the system has this clock, and the address is valid.
    // SAFETY: `time` is a timespec that the call may write to.
    unsafe { libc::clock_gettime(CLOCK, &mut time) };
    (time.tv_sec as i64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock that was started so many nanoseconds ago.
    fn clock(nanos_ago: i64, last: i64) -> Clock {
        Clock { origin: monotonic().wrapping_sub(nanos_ago), last: Cell::new(last) }
    }

    #[test]
    fn time_is_counted_from_the_start() {
        assert!(clock(1_000, 0).now() >= 1_000);
    }

    #[test]
    fn a_clock_that_steps_back_returns_the_last_reading() {
        assert_eq!(clock(0, i64::MAX).now(), i64::MAX as Nanos);
        assert_eq!(clock(i64::MIN / 2, 7).now(), 7);
    }
}
