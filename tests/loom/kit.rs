//! Models of the parts that cross threads, under [loom](https://docs.rs/loom).
//!
//! loom runs a model again and again: in every order of the threads' steps that can matter, and with every
//! value that a load may return by the language's memory model, which is weaker than any processor's.
//!
//! ```text
//! export RUSTFLAGS='--cfg loom'
//! cargo test --profile models --target-dir target/loom --lib models::        all, as CI runs them
//! cargo test --profile models --target-dir target/loom --lib mpsc::models    one part
//! MORE_PREEMPTIONS=1 cargo test … -- --show-output                           longer, with figures
//! tests/loom/check                                                           all, and the mutations
//! ```
//!
//! With `--cfg loom` the library's tests use `tests/loom/sync.rs` in place of its `sync`, and
//! `tests/loom/wake_fd.rs` in place of its `wake_fd`. The models of a file are its submodule `models`. Run
//! only these: the unit tests of the same files panic, because loom's types work inside a model only.
//!
//! This file holds what the models share.

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

/// Runs a model in every order that matters, with up to `preemptions` preemptions of threads that could
/// continue.
///
/// Without that bound the larger models take days. What is wrong shows with two preemptions, as a rule, if at
/// all.
pub(super) fn explore(preemptions: usize, model: fn()) {
    let more = std::env::var("MORE_PREEMPTIONS").map_or(0, |more| more.parse().expect("a number"));
    let preemptions = preemptions + more;
    let start = Instant::now();
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
        start.elapsed().as_secs_f64(),
        runs.load(Ordering::Relaxed)
    );
}

/// An item. loom checks that it is made and dropped while no other thread accesses it, and that it is
/// dropped.
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
            // SAFETY: no other thread has the new cell.
            unsafe { *at = number };
        });
        Item { thread, number, _existence: loom::alloc::Track::new(()), contents, dropped: dropped.clone() }
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        // SAFETY: `&mut self`: no other thread has the cell. loom checks that this is so.
        self.contents.with_mut(|at| unsafe { *at += 1 });
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// Returns a counter of dropped items. The standard library's, so that counting is no step of the model.
pub(super) fn counter() -> Arc<AtomicUsize> {
    Arc::default()
}

/// A loop that watches its wake fd alone. Calls its `NotifyQueue` in the same order as `Backend` does.
pub(super) struct SmallLoop {
    pub(super) notify_queue: sync::Arc<NotifyQueue>,
    keys: Vec<Key>,
}

impl SmallLoop {
    /// Makes a loop that is running. (A new `NotifyQueue` is that of a loop that is not.)
    pub(super) fn new() -> SmallLoop {
        let wake_fd = WakeFd::new().expect("the stand-in never fails");
        let notify_queue = sync::Arc::new(NotifyQueue::new(wake_fd));
        notify_queue.unblock();
        SmallLoop { notify_queue, keys: Vec::new() }
    }

    pub(super) fn notifier(&self, key: u64) -> Notifier {
        Notifier::new(self.notify_queue.clone(), Key(key))
    }

    /// Blocks unless a notification is pending. Returns the keys of the notifications.
    pub(super) fn turn(&mut self) -> Vec<Key> {
        let queue = &self.notify_queue;
        if queue.prepare_to_block() {
            queue.wake_fd().wait();
            queue.acknowledge_wake();
            queue.unblock();
        } else {
            queue.unblock();
            if !queue.is_awake() && queue.wake_fd().take_wake() {
                queue.acknowledge_wake();
            }
        }
        if queue.has_pending() {
            queue.drain(&mut self.keys);
        }
        std::mem::take(&mut self.keys)
    }
}
