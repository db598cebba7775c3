//! The unit of the loop's clock.

use std::time::Duration;

/// Nanoseconds on the clock of one loop. 64 bits hold 584 years.
pub(crate) type Nanos = u64;

/// Converts a duration to nanoseconds. One that is too long becomes `Nanos::MAX`, which never comes.
pub(crate) fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}
