//! Which workers search, which are parked, and when to wake or spawn one.

use super::super::sync::{AtomicU64, Condvar, Mutex, MutexGuard, Ordering, PoisonError};

/// The most workers that can be counted.
pub(super) const WORKERS_MAX: usize = 1 << 20;

/// How many workers exist, how many are parked, and whether one is searching. At most one ever is.
///
/// One number, because the three change together. The invariant: while a job is queued, and a worker is
/// parked or can be spawned, a worker is searching. Three steps could break it: queueing a job, ending a
/// search, and parking. After each, its thread checks the other side behind a `SeqCst` fence, as in Dekker's
/// algorithm. The loop queues a job and then reads the counts; a worker changes the counts and then reads the
/// queue. At least one of them sees the other.
#[derive(Debug, Default)]
pub(super) struct WorkerCounts(AtomicU64);

const ONE_PARKED: u64 = 1;
const ONE_SEARCHING: u64 = 1 << 21;
const ONE_WORKER: u64 = 1 << 42;

fn parked(counts: u64) -> u64 {
    counts % ONE_SEARCHING
}

fn searching(counts: u64) -> u64 {
    counts % ONE_WORKER / ONE_SEARCHING
}

/// What must happen for a queued job to find a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wakeup {
    /// Nothing: a worker is searching, or all are running jobs.
    None,
    /// Unpark a worker. It is counted as searching already.
    Unpark,
    /// Spawn a worker. It is counted as searching already.
    Spawn,
}

impl WorkerCounts {
    /// Counts one more worker as searching if none is: a parked one, or a new one if there are fewer than
    /// `limit`.
    pub(super) fn claim_wakeup(&self, limit: usize) -> Wakeup {
        let mut wakeup = Wakeup::None;
        let _ = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |counts| {
            let may_spawn = counts / ONE_WORKER < limit as u64;
            let change;
            (wakeup, change) = match (searching(counts), parked(counts)) {
                (0, 0) if may_spawn => (Wakeup::Spawn, ONE_WORKER + ONE_SEARCHING),
                (0, 1..) => (Wakeup::Unpark, ONE_SEARCHING - ONE_PARKED),
                _ => (Wakeup::None, 0),
            };
            (wakeup != Wakeup::None).then_some(counts + change)
        });
        wakeup
    }

    /// Takes back a [`Wakeup::Spawn`] whose thread could not be spawned.
    pub(super) fn spawn_failed(&self) {
        self.0.fetch_sub(ONE_WORKER + ONE_SEARCHING, Ordering::SeqCst);
    }

    /// The searching worker found a job.
    pub(super) fn stop_searching(&self) {
        self.0.fetch_sub(ONE_SEARCHING, Ordering::SeqCst);
    }

    /// The searching worker found no job and parks.
    pub(super) fn park(&self) {
        self.0.fetch_sub(ONE_SEARCHING - ONE_PARKED, Ordering::SeqCst);
    }

    /// A worker that ran out of jobs searches if no other does, or parks. Returns whether it searches.
    pub(super) fn search_or_park(&self) -> bool {
        let choose = |counts| Some(counts + if searching(counts) == 0 { ONE_SEARCHING } else { ONE_PARKED });
        // Never an error: `choose` always returns a value.
        self.0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, choose)
            .is_ok_and(|counts| searching(counts) == 0)
    }

    pub(super) fn workers(&self) -> u64 {
        self.0.load(Ordering::SeqCst) / ONE_WORKER
    }
}

/// Where parked workers block.
pub(super) struct Parking {
    state: Mutex<ParkingState>,
    unparked: Condvar,
}

struct ParkingState {
    /// Wake-ups that no worker has consumed yet.
    wakeups: usize,
    open: bool,
}

impl Parking {
    pub(super) fn new() -> Parking {
        Parking { state: Mutex::new(ParkingState { wakeups: 0, open: true }), unparked: Condvar::new() }
    }

    /// Ignores poisoning: no job runs under this lock.
    fn state(&self) -> MutexGuard<'_, ParkingState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn unpark_one(&self) {
        self.state().wakeups += 1;
        self.unparked.notify_one();
    }

    /// Blocks until there is a wake-up, and consumes it. Returns false if the pool has closed.
    pub(super) fn wait(&self) -> bool {
        let mut state = self.state();
        while state.wakeups == 0 && state.open {
            state = self.unparked.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.wakeups = state.wakeups.saturating_sub(1);
        state.open
    }

    /// Unparks all workers, for good.
    pub(super) fn close(&self) {
        self.state().open = false;
        self.unparked.notify_all();
    }
}
