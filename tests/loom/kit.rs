//! Models of the parts that cross threads, under [loom](https://docs.rs/loom). loom runs a model again and again: in every
//! order of the threads' steps that can matter, and with every value that a load may return by the memory model of the
//! language, which is weaker than any processor's.
//!
//! ```text
//! export RUSTFLAGS='--cfg loom'
//! cargo test --profile models --target-dir target/loom --lib models::                   as CI does
//! cargo test --profile models --target-dir target/loom --lib mpsc::models               one part
//! MORE_PREEMPTIONS=1 cargo test … -- --show-output                                      longer, with figures
//! tests/loom/check                                                                      all, and what they notice
//! ```
//!
//! With `--cfg loom` the crate's tests are built on `tests/loom/sync.rs` in place of the crate's own `sync`, and on
//! `tests/loom/wake_fd.rs`. The models of a file are its submodule `models`. Only they run under loom: other tests of the
//! library that use these parts panic outside of a model.
//!
//! This file is what the models have in common.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use super::{
    sync,
    wake::{Notifier, NotifyQueue, WakeFd},
};
use crate::handle::Key;

/// Runs a model in every order that matters, in which a thread that could go on is interrupted up to `preemptions` times.
/// Without that bound the larger ones take days; and what is wrong shows with two interruptions, if it shows at all,
/// as a rule.
pub(super) fn explore(preemptions: usize, model: fn()) {
    let more = std::env::var("MORE_PREEMPTIONS").map_or(0, |more| more.parse().expect("a number"));
    let preemptions = preemptions + more;
    let begun = Instant::now();
    let runs = Arc::new(AtomicUsize::new(0));
    for fences_first in [true, false] {
        sync::put_fences_first(fences_first);
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.max_branches = 10_000;
        let runs = runs.clone();
        builder.check(move || {
            runs.fetch_add(1, Ordering::Relaxed);
            model();
        });
    }
    println!(
        "{:.1} s, {} runs, {preemptions} preemptions",
        begun.elapsed().as_secs_f64(),
        runs.load(Ordering::Relaxed)
    );
}

/// An item. Whoever makes or drops it must be the only one who does at that time, and somebody must drop it: loom looks.
pub(super) struct Item {
    pub(super) thread: usize,
    pub(super) number: usize,
    _existence: loom::alloc::Track<()>,
    contents: loom::cell::UnsafeCell<usize>,
    dropped: Arc<AtomicUsize>,
}

impl Item {
    pub(super) fn new(thread: usize, number: usize, dropped: &Arc<AtomicUsize>) -> Item {
        let contents = loom::cell::UnsafeCell::new(0);
        contents.with_mut(|at| {
            // SAFETY: nobody else has it.
            unsafe { *at = number };
        });
        Item { thread, number, _existence: loom::alloc::Track::new(()), contents, dropped: dropped.clone() }
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        // SAFETY: as above; loom looks whether it is so.
        self.contents.with_mut(|at| unsafe { *at += 1 });
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// How many items were dropped. Outside of the model: to count is no step of any thread's.
pub(super) fn counter() -> Arc<AtomicUsize> {
    Arc::default()
}

/// A loop that watches nothing but its alarm. What `Backend` does with a doorbell, in the same order.
pub(super) struct SmallLoop {
    pub(super) doorbell: sync::Arc<NotifyQueue>,
    keys: Vec<Key>,
}

impl SmallLoop {
    /// One that runs: a new doorbell is that of a loop that does not.
    pub(super) fn new() -> SmallLoop {
        let doorbell = sync::Arc::new(NotifyQueue::new(WakeFd::new().expect("it is no descriptor")));
        doorbell.rise();
        SmallLoop { doorbell, keys: Vec::new() }
    }

    pub(super) fn bell(&self, key: u64) -> Notifier {
        Notifier::new(self.doorbell.clone(), Key(key))
    }

    /// Sleeps unless somebody has rung, and takes the keys of who rang.
    pub(super) fn turn(&mut self) -> Vec<Key> {
        if self.doorbell.sleep() {
            self.doorbell.alarm().wait();
            self.doorbell.hear();
            self.doorbell.rise();
        } else {
            self.doorbell.rise();
            if !self.doorbell.is_quiet() && self.doorbell.alarm().take() {
                self.doorbell.hear();
            }
        }
        if self.doorbell.has_notifications() {
            self.doorbell.answer(&mut self.keys);
        }
        std::mem::take(&mut self.keys)
    }
}
