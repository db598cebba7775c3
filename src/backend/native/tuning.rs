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

/// How often a worker that has run out of jobs polls the queue before it parks, at most. About 25 µs.
///
/// That is what the loop may take to wake up and submit the next job. Spinning for half a microsecond was too
/// short: each job then cost two wake-ups of 10 µs. With one job in flight a job took 23 to 26 µs; now it
/// takes 8 to 9 µs.
///
/// `benches/compare --only queue_work`
pub(super) const WORKER_SPINS_MAX: usize = 1000;

/// How often it polls at least, where spinning does not pay. Costs next to nothing.
///
/// `benches/compare --only queue_work`
pub(super) const WORKER_SPINS_MIN: usize = 8;

/// After every 32nd spin that found no job, a worker tries the maximum again: the loop may run elsewhere now.
///
/// `benches/compare --only queue_work`
pub(super) const WORKER_MISSES_PER_RETRY: usize = 32;

/// With this many file jobs in flight, the workers share those that the loop could do without blocking.
///
/// With 32 in flight, sharing reads twice as many files, at the same processor time for each. With 18 it
/// reads no more, and takes 50 % more processor time: waking a worker then costs more than it saves.
///
/// `benches/compare --only read_files --only fs_stat`
pub(super) const FILE_JOBS_SHARED_MIN: usize = 24;

/// While fewer completions than this wait to be delivered, the loop does a file job itself. It has nothing
/// else to do.
///
/// `benches/compare --only read_files --only fs_stat`
pub(super) const COMPLETIONS_BUSY_MIN: usize = 2;

/// How often the loop checks for another notification before it blocks, if it has just had one. About 1 µs.
///
/// A wake-up costs a system call on either side and about 10 µs, and milliseconds where spinning threads want
/// the processor. With four threads on two processors a callback took 38 µs without this, and 2.6 µs with it.
///
/// `benches/compare --only async_pummel --only queue_work`
pub(super) const NOTIFICATION_SPINS: u32 = 64;

/// Cached files up to this size are read by the loop itself.
///
/// Copying more would hold up the loop for longer than a worker's round trip takes, which is 6 µs and more.
///
/// `benches/compare --only read_files`
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) const CACHED_READ_MAX: usize = 256 << 10;
