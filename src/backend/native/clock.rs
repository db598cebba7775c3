//! The only reading of the clock.

use std::time::Instant;

use crate::queue::deadlines::Nanos;

/// Nanoseconds since the loop began, on the system's monotonic clock.
#[derive(Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn start() -> Clock {
        Clock { origin: Instant::now() }
    }

    pub(crate) fn now(&self) -> Nanos {
        // 2⁶⁴ ns are 584 years.
        self.origin.elapsed().as_nanos() as Nanos
    }
}
