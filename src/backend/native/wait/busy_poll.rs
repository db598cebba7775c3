//! Busy polling: polls for a while before blocking. An event that arrives meanwhile is seen without a context
//! switch, at the cost of processor time.
//!
//! After a wait that was longer than polling could cover, the loop blocks at once until a wait is short
//! again. An idle loop therefore sleeps, whatever the limit is.

use crate::time::Nanos;

#[derive(Debug, Default)]
pub(crate) struct BusyPoll {
    /// Zero turns it off.
    limit: Nanos,
    /// The last wait was too long for polling to pay.
    paused: bool,
}

impl BusyPoll {
    pub(crate) fn new(limit: Nanos) -> BusyPoll {
        BusyPoll { limit, paused: false }
    }

    pub(crate) fn is_off(&self) -> bool {
        self.limit == 0
    }

    /// Returns how long to poll before blocking, never beyond the timeout.
    pub(crate) fn limit(&self, timeout: Option<Nanos>) -> Nanos {
        if self.paused { 0 } else { timeout.map_or(self.limit, |timeout| timeout.min(self.limit)) }
    }

    /// Records how long a wait took, polling or not. A wake-up takes a while itself, hence the factor of two.
    pub(crate) fn record_wait(&mut self, nanos: Nanos) {
        self.paused = nanos > self.limit.saturating_mul(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polling_pauses_after_a_long_wait_and_resumes_after_a_short_one() {
        let mut busy = BusyPoll::new(50);
        assert_eq!(busy.limit(None), 50);
        busy.record_wait(1000);
        assert_eq!(busy.limit(None), 0);
        busy.record_wait(80);
        assert_eq!(busy.limit(None), 50);
    }

    #[test]
    fn polling_ends_at_the_timeout() {
        assert_eq!(BusyPoll::new(50).limit(Some(7)), 7);
        assert!(BusyPoll::default().is_off());
    }
}
