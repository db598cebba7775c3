//! Counters cheap enough to leave on.

use std::{fmt, time::Duration};

use crate::time::Nanos;

/// What a loop has done since it was made. From [`Loop::metrics`](crate::Loop::metrics).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// Turns of the loop.
    pub turns: u64,
    /// Readiness events that the system delivered.
    pub events: u64,
    /// Callbacks called, of every kind.
    pub callbacks: u64,
    /// Bytes read from streams.
    pub bytes_received: u64,
    /// Bytes that streams handed to the system.
    pub bytes_sent: u64,
    /// Time spent waiting for the system.
    pub blocked: Duration,
    /// Time spent in callbacks, and in the loop itself.
    pub busy: Duration,
    /// How long each turn kept the loop from polling, one entry a turn. An event may have waited that long
    /// for its callback.
    pub latency: Histogram,
}

/// A histogram of durations, in buckets that double. 64 counters, no allocation.
#[derive(Clone)]
pub struct Histogram {
    buckets: [u64; 64],
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { buckets: [0; 64] }
    }
}

impl Histogram {
    pub(crate) fn record(&mut self, nanos: Nanos) {
        // Bucket b holds [2^(b-1), 2^b) nanoseconds.
        self.buckets[(64 - nanos.leading_zeros()).min(63) as usize] += 1;
    }

    /// Returns the number of entries.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Returns a duration that the given share of all entries (0.0 to 1.0) did not exceed.
    ///
    /// Rounded up to a power of two, in nanoseconds. Zero if there are no entries.
    pub fn quantile(&self, share: f64) -> Duration {
        let wanted = (self.count() as f64 * share.clamp(0.0, 1.0)).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (limit, count) in self.buckets() {
            seen += count;
            if seen >= wanted {
                return limit;
            }
        }
        Duration::ZERO
    }

    /// Returns the buckets that hold entries: an upper bound of their durations, and their number.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let limit = |bucket: usize| Duration::from_nanos(1 << bucket);
        self.buckets
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .map(move |(bucket, count)| (limit(bucket), *count))
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_map().entries(self.buckets()).finish()
    }
}

/// The counters behind [`Metrics`]. Times are in the unit of the loop's clock, and filled in by
/// [`snapshot`](Counters::snapshot).
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) metrics: Metrics,
    pub(crate) blocked: Nanos,
    pub(crate) busy: Nanos,
    /// When the loop last returned from waiting. `None` outside of `run`, which is not the loop's time.
    pub(crate) awake_since: Option<Nanos>,
}

impl Counters {
    pub(crate) fn snapshot(&self) -> Metrics {
        let (blocked, busy) = (Duration::from_nanos(self.blocked), Duration::from_nanos(self.busy));
        Metrics { blocked, busy, ..self.metrics.clone() }
    }

    /// The loop stops working at this time, to wait or because `run` returns.
    pub(crate) fn rest(&mut self, now: Nanos) {
        if let Some(since) = self.awake_since.take() {
            let busy = now.saturating_sub(since);
            self.busy += busy;
            self.metrics.latency.record(busy);
        }
    }

    /// The loop works again.
    pub(crate) fn resume(&mut self, now: Nanos) {
        self.awake_since = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_not_below_what_was_recorded() {
        let mut histogram = Histogram::default();
        for nanos in [0, 1, 100, 1000, 1_000_000] {
            histogram.record(nanos);
        }
        assert_eq!(histogram.count(), 5);
        assert!(histogram.quantile(0.5) >= Duration::from_nanos(100));
        assert!(histogram.quantile(0.5) <= Duration::from_nanos(256));
        assert!(histogram.quantile(1.0) >= Duration::from_millis(1));
        histogram.record(u64::MAX);
        assert_eq!(Histogram::default().quantile(0.9), Duration::ZERO);
    }
}
