//! Polling for a while before blocking: a core is spent so that the next event is seen at once.
//!
//! Only where it pays: when it has been in vain, the loop blocks, until a wait was short again. So a loop that has
//! nothing to do sleeps, whatever it was told.

use crate::time::Nanos;

#[derive(Debug, Default)]
pub(crate) struct BusyPoll {
    /// Zero for never.
    limit: Nanos,
    in_vain: bool,
}

impl BusyPoll {
    pub(crate) fn new(limit: Nanos) -> BusyPoll {
        BusyPoll { limit, in_vain: false }
    }

    /// How long to poll before this wait.
    pub(crate) fn limit(&self, timeout: Option<Nanos>) -> Nanos {
        if self.in_vain { 0 } else { timeout.map_or(self.limit, |timeout| timeout.min(self.limit)) }
    }

    /// A wait took this long, polling or not. To be woken takes a while by itself, hence the factor.
    pub(crate) fn waited(&mut self, nanos: Nanos) {
        self.in_vain = nanos > self.limit.saturating_mul(2);
    }

    pub(crate) fn is_off(&self) -> bool {
        self.limit == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polling_stops_when_it_was_in_vain_and_begins_again_after_a_short_wait() {
        let mut busy = BusyPoll::new(50);
        assert_eq!(busy.limit(None), 50);
        busy.waited(1000);
        assert_eq!(busy.limit(None), 0);
        busy.waited(80);
        assert_eq!(busy.limit(None), 50);
    }

    #[test]
    fn polling_does_not_go_on_beyond_a_deadline() {
        assert_eq!(BusyPoll::new(50).limit(Some(7)), 7);
        assert!(BusyPoll::default().is_off());
    }
}
