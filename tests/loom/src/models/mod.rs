//! The models, and what they have in common.

mod bell;
mod blocks;
mod ferry;
mod mailbox;
mod pool;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use super::{
    alarm::WakeFd,
    bell::{Notifier, NotifyQueue},
    sync,
};
use crate::handle::Key;

/// A model, and how often a thread may be interrupted that could go on. Without a bound the larger ones take days; and
/// what is wrong shows with two interruptions, if it shows at all, as a rule.
struct Model {
    name: &'static str,
    preemptions: usize,
    run: fn(),
}

macro_rules! models {
    ($($file:ident: $($name:ident $preemptions:literal),* $(,)?;)*) => {
        &[$($(Model {
            name: concat!(stringify!($file), "::", stringify!($name)),
            preemptions: $preemptions,
            run: $file::$name,
        }),*),*]
    };
}

const MODELS: &[Model] = models! {
    bell:
        a_ring_reaches_a_loop_that_goes_to_sleep 3,
        rings_of_two_threads_are_one_or_two_but_what_came_before_is_seen 3,
        two_bells_are_both_heard 3,
        who_waits_on_the_descriptor_of_a_loop_that_has_left_hears_of_a_ring 3;
    blocks:
        each_item_comes_out_once_and_in_the_order_of_its_thread 4,
        the_first_since_the_reader_rested_is_told_so 2,
        the_bound_is_kept 4,
        what_meets_the_end_is_read_or_handed_back 3;
    mailbox:
        who_waits_for_room_gets_it 4,
        who_waits_for_room_hears_of_the_end 4,
        the_last_sender_wakes_the_loop_after_all_that_he_sent 3;
    ferry:
        each_item_is_taken_or_withdrawn_once_also_behind_the_ring 2,
        one_taker_sees_them_in_order 4,
        the_first_on_a_pile_tells_and_none_is_left 3;
    pool:
        a_job_finds_a_worker_that_lies_down 3,
        two_jobs_find_two_workers 2,
        jobs_for_two_find_those_that_have_worked 2,
        a_job_is_done_or_withdrawn 3,
        a_pool_ends_amid_its_work 3,
        jobs_are_done_by_those_that_could_be_made 3,
        a_job_without_workers_is_refused 3;
};

/// Runs those whose names have one of these words in them, or all.
pub(crate) fn run(arguments: impl Iterator<Item = String>) {
    let (long, words): (Vec<_>, Vec<_>) = arguments.partition(|argument| argument == "long");
    let mut count = 0;
    for model in MODELS {
        if words.is_empty() || words.iter().any(|word| model.name.contains(word)) {
            let preemptions = model.preemptions + long.len();
            let (runs, seconds) = explore(model, preemptions);
            println!("ok  {seconds:6.1} s  {runs:9} runs  {preemptions} preemptions  {}", model.name);
            count += 1;
        }
    }
    assert!(count > 0, "no model of that name");
}

fn explore(model: &Model, preemptions: usize) -> (usize, f64) {
    let begun = Instant::now();
    let runs = Arc::new(AtomicUsize::new(0));
    for fences_first in [true, false] {
        sync::put_fences_first(fences_first);
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.max_branches = 10_000;
        let (run, runs) = (model.run, runs.clone());
        builder.check(move || {
            runs.fetch_add(1, Ordering::Relaxed);
            run();
        });
    }
    (runs.load(Ordering::Relaxed), begun.elapsed().as_secs_f64())
}

/// An item. Whoever makes or drops it must be the only one who does at that time, and somebody must drop it: loom looks.
struct Item {
    thread: usize,
    number: usize,
    _existence: loom::alloc::Track<()>,
    contents: loom::cell::UnsafeCell<usize>,
    dropped: Arc<AtomicUsize>,
}

impl Item {
    fn new(thread: usize, number: usize, dropped: &Arc<AtomicUsize>) -> Item {
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
fn counter() -> Arc<AtomicUsize> {
    Arc::default()
}

/// A loop that watches nothing but its alarm. What `Backend` does with a doorbell, in the same order.
struct SmallLoop {
    doorbell: sync::Arc<NotifyQueue>,
    keys: Vec<Key>,
}

impl SmallLoop {
    /// One that runs: a new doorbell is that of a loop that does not.
    fn new() -> SmallLoop {
        let doorbell = sync::Arc::new(NotifyQueue::new(WakeFd::new()));
        doorbell.rise();
        SmallLoop { doorbell, keys: Vec::new() }
    }

    fn bell(&self, key: u64) -> Notifier {
        Notifier::new(self.doorbell.clone(), Key(key))
    }

    /// Sleeps unless somebody has rung, and takes the keys of who rang.
    fn turn(&mut self) -> Vec<Key> {
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
