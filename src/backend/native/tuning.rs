//! Constants that were tuned by measuring: each with its reason, and the command that measures it.
//!
//! All were measured on one virtual machine with two processors.

/// How often a thread polls for the next step of another before it yields its processor.
///
/// The other thread is a few instructions away from that step, unless the system has preempted it. Then it
/// needs a processor to go on.
///
/// `benches/compare --only post`
pub(super) const SNOOZE_SPINS: u32 = 64;

/// How long a thread backs off at most after it lost a compare-and-swap: two to this power pauses.
///
/// It starts with one pause and doubles. Meanwhile one of many senders gets ahead by some items while the
/// line is in its processor's cache.
///
/// `benches/compare --only post`
pub(super) const BACKOFF_SPINS_LOG2_MAX: u32 = 6;

/// A mailbox is in a burst if the loop claims at least this many items at once: more are on their way.
///
/// `benches/compare --only post`
pub(super) const BURST_MIN: u64 = 16;

/// How many pauses the loop gives the senders of a burst before it claims again. About 0.5 µs.
///
/// Each claim takes three cache lines from the senders. Right behind them it would find a dozen items. With
/// these pauses an item costs 7.9 ns instead of 28 ns from one thread, and 12 ns instead of 19 ns from four.
/// The price is half a microsecond of latency, in a burst only.
///
/// `benches/compare --only post`
pub(super) const BURST_SPINS: u32 = 32;
