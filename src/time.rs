//! The unit of the loop's clock.

use std::time::Duration;

/// Nanoseconds, on the clock of one loop. 2⁶⁴ of them are 584 years.
pub(crate) type Nanos = u64;

/// A duration in nanoseconds. One too long to count never ends.
pub(crate) fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}
